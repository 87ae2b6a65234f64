//! Openings of flows, cut out of made-up traffic: all frames of a flow up to the one that tells what it is for.

use std::collections::HashMap;

use vigie_decode::{DecodeLimits, Decoded, Packet, Transport};
use vigie_flow::{FlowKey, HashKey};
use vigie_synth::{Profile, Settings, Traffic};
use vigie_wire::{Frame, LinkType};

/// What an opening tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A short hello over TCP, in one segment.
    Tls,
    /// A post-quantum hello over TCP, in two segments.
    TlsPostQuantum,
    /// A short hello over QUIC, in one datagram.
    Quic,
    /// A post-quantum hello over QUIC, in two datagrams.
    QuicTwo,
    /// The same in three.
    QuicThree,
    /// A query for a name, and the answer.
    Dns,
}

/// A frame of its own.
#[derive(Clone, Debug)]
pub struct Sample {
    /// When it was seen.
    pub timestamp_ns: u64,
    /// From the link header on.
    pub data: Vec<u8>,
}

impl Sample {
    /// As a source would show it.
    pub fn frame(&self) -> Frame<'_> {
        Frame {
            timestamp_ns: self.timestamp_ns,
            number: 1,
            wire_length: self.data.len() as u32,
            link_type: LinkType::ETHERNET,
            interface: 0,
            data: &self.data,
        }
    }

    /// What it comes down to; `None` for what is no whole packet.
    pub fn packet(&self) -> Option<Packet<'_>> {
        match vigie_decode::decode(&self.frame(), &DecodeLimits::default()) {
            Ok(Decoded::Packet(packet)) => Some(packet),
            _ => None,
        }
    }
}

/// The frames of a flow's opening.
pub type Opening = Vec<Sample>;

/// `count` openings of one kind, of as many flows; `banned_one_in` of them for a name under ban (0 for none).
pub fn openings(kind: Kind, count: usize, banned_one_in: usize) -> Vec<Opening> {
    let settings = Settings { seed: 11, profile: Profile::Handshakes, flows: 1, banned_one_in };
    let mut traffic = Traffic::new(settings);
    let mut begun: HashMap<u64, Opening> = HashMap::new();
    let (mut found, mut data) = (Vec::new(), Vec::new());
    while found.len() < count {
        let before = *traffic.counts();
        let timestamp_ns = traffic.frame(&mut data);
        let made = traffic.counts();
        let sample = Sample { timestamp_ns, data: data.clone() };
        let Some(key) = sample.packet().map(|packet| FlowKey::of(&packet).0.hash(&HashKey::REPLAY)) else { continue };
        let opening = begun.entry(key).or_default();
        // More than any opening has: only data comes now.
        if opening.len() > 16 {
            continue;
        }
        opening.push(sample);
        let tells = made.hellos_tls != before.hellos_tls
            || made.hellos_quic != before.hellos_quic
            || made.dns_answers != before.dns_answers;
        if !tells {
            continue;
        }
        let pieces = opening.iter().filter(|sample| is_from_client(sample)).count();
        let is_post_quantum = made.hellos_post_quantum != before.hellos_post_quantum;
        let is_tls = made.hellos_tls != before.hellos_tls;
        let told = match (is_tls, is_post_quantum, pieces) {
            _ if made.dns_answers != before.dns_answers => Some(Kind::Dns),
            (true, false, 1) => Some(Kind::Tls),
            (true, true, 2) => Some(Kind::TlsPostQuantum),
            (false, false, 1) => Some(Kind::Quic),
            (false, true, 2) => Some(Kind::QuicTwo),
            (false, true, 3) => Some(Kind::QuicThree),
            _ => None,
        };
        if told == Some(kind) {
            found.push(std::mem::take(opening));
        }
    }
    found
}

/// Whether it carries something from a client.
fn is_from_client(sample: &Sample) -> bool {
    let Some(packet) = sample.packet() else { return false };
    let carries = match packet.transport {
        Transport::Tcp(segment) => !segment.payload.is_empty(),
        Transport::Udp(datagram) => !datagram.payload.is_empty(),
        Transport::Other => false,
    };
    carries && packet.source_port > packet.destination_port
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn openings_end_with_what_they_tell() {
        for (kind, frames) in
            [(Kind::Tls, 4), (Kind::TlsPostQuantum, 5), (Kind::Quic, 1), (Kind::QuicThree, 3), (Kind::Dns, 2)]
        {
            let openings = openings(kind, 20, 0);
            assert_eq!(openings.len(), 20);
            assert!(openings.iter().all(|opening| opening.len() == frames), "{kind:?}");
        }
    }
}
