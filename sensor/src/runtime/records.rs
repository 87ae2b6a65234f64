//! Records of the flows that are worth more than a line in the table: handshakes being followed, and flows that
//! matched. A slab of bounded size; when it is full the stalest record gives way.

use std::sync::Arc;

use vigie_signatures::Rule;

use crate::alert::Hello;
use crate::decode::{Address, Envelope, Tunnel, TunnelKind, VLANS_MAX};
use crate::flow::memory::prefetch_whole;
use crate::flow::{Side, Slot};
use crate::handshake::tcp::TcpDialogue;
use crate::handshake::udp::UdpDialogue;

/// How many records a search for the stalest looks at.
const CANDIDATES: usize = 16;

/// By how much a connection on which nothing was said counts as longer without a packet than it is. So a flood of
/// openings displaces itself, and openings displace only what fell silent.
const UNSAID_HANDICAP_NS: u64 = 30_000_000_000;

/// What is being followed on a flow.
#[derive(Debug, Default)]
pub enum Dialogue {
    /// Nothing (any more).
    #[default]
    Over,
    /// Nothing was said yet: a TCP connection that is being opened; the sequence number of its first byte.
    Opening(Side, u32),
    /// TCP.
    Tcp(Box<TcpDialogue>),
    /// UDP.
    Udp(Box<UdpDialogue>),
}

impl Dialogue {
    /// Whether a part of a hello may have come that was not told.
    pub fn may_tell(&self) -> bool {
        match self {
            Self::Over | Self::Opening(..) => false,
            Self::Tcp(dialogue) => dialogue.may_tell(),
            Self::Udp(dialogue) => dialogue.may_tell(),
        }
    }
}

/// An envelope in less room: for as long as the flow is followed.
#[derive(Clone, Copy, Debug)]
pub struct KeptEnvelope {
    vlans: [u16; VLANS_MAX],
    vlan_count: u8,
    tunnel_depth: u8,
    network: u32,
    tunnel: Option<TunnelKind>,
    has_source: bool,
    has_destination: bool,
    source: [u8; 16],
    destination: [u8; 16],
}

impl From<Envelope> for KeptEnvelope {
    fn from(envelope: Envelope) -> Self {
        let Envelope { vlans, vlan_count, tunnel_depth, tunnel, network } = envelope;
        let source = tunnel.and_then(|tunnel| tunnel.source);
        let destination = tunnel.and_then(|tunnel| tunnel.destination);
        let bytes = |address: Option<Address>| address.map_or([0; 16], |address| address.0.to_ne_bytes());
        Self {
            vlans,
            vlan_count,
            tunnel_depth,
            network,
            tunnel: tunnel.map(|tunnel| tunnel.kind),
            has_source: source.is_some(),
            has_destination: destination.is_some(),
            source: bytes(source),
            destination: bytes(destination),
        }
    }
}

impl From<KeptEnvelope> for Envelope {
    fn from(kept: KeptEnvelope) -> Self {
        let address = |known: bool, bytes| known.then_some(Address(u128::from_ne_bytes(bytes)));
        Self {
            vlans: kept.vlans,
            vlan_count: kept.vlan_count,
            tunnel_depth: kept.tunnel_depth,
            tunnel: kept.tunnel.map(|kind| Tunnel {
                kind,
                source: address(kept.has_source, kept.source),
                destination: address(kept.has_destination, kept.destination),
            }),
            network: kept.network,
        }
    }
}

/// A flow under observation.
#[derive(Debug)]
pub struct Record {
    /// Where the flow stands in the table.
    pub slot: Slot,
    /// First packet.
    pub first_seen_ns: u64,
    /// Last packet.
    pub last_seen_ns: u64,
    /// Last packet's frame.
    pub last_frame: u64,
    /// Interface of the first packet.
    pub interface: u16,
    /// What stood around the first packet.
    pub envelope: KeptEnvelope,
    /// Packets and bytes taken over from the table's small counters: low end, high end.
    pub spilled: [(u64, u64); 2],
    /// Handshake under way.
    pub dialogue: Dialogue,
    /// A hello that named nobody, while the server's certificate is awaited.
    pub nameless: Option<Box<Hello>>,
    /// The rule that the flow matched and alerted under.
    pub rule: Option<Arc<Rule>>,
}

const _: () = assert!(size_of::<Record>() <= 144);

/// The records of one worker.
#[derive(Debug)]
pub struct Records {
    records: Vec<Option<Record>>,
    free: Vec<u32>,
    records_max: usize,
    hand: usize,
}

/// What became of a wish for a record.
#[derive(Debug)]
pub enum Placed {
    /// It stands at this number.
    At(u32),
    /// It stands at this number, where the stalest record had to go.
    Instead(u32, Box<Record>),
    /// No record could give way.
    Full,
}

impl Records {
    /// Room for `records_max` records: addresses, for which memory is taken as it is needed.
    pub fn new(records_max: usize) -> Self {
        Self { records: Vec::with_capacity(records_max), free: Vec::new(), records_max, hand: 0 }
    }

    /// The record at a number, as the table keeps it: one above the place, 0 for none.
    #[inline]
    pub fn get_mut(&mut self, number: u32) -> Option<&mut Record> {
        self.records.get_mut((number as usize).checked_sub(1)?)?.as_mut()
    }

    /// The record at a number.
    pub fn get(&self, number: u32) -> Option<&Record> {
        self.records.get((number as usize).checked_sub(1)?)?.as_ref()
    }

    /// Has a record fetched that is wanted soon.
    #[inline]
    pub fn fetch(&self, number: u32) {
        let place = (number as usize).wrapping_sub(1);
        prefetch_whole(&self.records, place);
    }

    /// Adds a record.
    #[inline]
    pub fn add(&mut self, record: Record) -> Placed {
        let mut old = None;
        let number = match self.free.pop() {
            Some(number) => number,
            None if self.records.len() < self.records_max => {
                self.records.push(None);
                self.records.len() as u32
            }
            None => {
                let Some(number) = self.stalest(|_| true) else { return Placed::Full };
                old = self.remove(number).map(Box::new);
                self.free.pop();
                number
            }
        };
        let Some(place) = self.records.get_mut((number as usize).wrapping_sub(1)) else { return Placed::Full };
        *place = Some(record);
        old.map_or(Placed::At(number), |old| Placed::Instead(number, old))
    }

    /// Takes a record out.
    pub fn remove(&mut self, number: u32) -> Option<Record> {
        let record = self.records.get_mut((number as usize).checked_sub(1)?)?.take();
        if record.is_some() {
            self.free.push(number);
        }
        record
    }

    /// Drops a record; what was being followed comes back.
    pub fn discard(&mut self, number: u32) -> Dialogue {
        let Some(place) = (number as usize).checked_sub(1).and_then(|place| self.records.get_mut(place)) else {
            return Dialogue::Over;
        };
        let dialogue = place.as_mut().map(|record| std::mem::take(&mut record.dialogue));
        if dialogue.is_some() {
            *place = None;
            self.free.push(number);
        }
        dialogue.unwrap_or_default()
    }

    /// The stalest of the records whose dialogue holds bytes.
    pub fn stalest_holder(&mut self) -> Option<u32> {
        self.stalest(|record| matches!(record.dialogue, Dialogue::Tcp(_) | Dialogue::Udp(_)))
    }

    /// Among the next records in turn that may go, the one longest without a packet, where a connection on which nothing
    /// was said counts as stale early. Flows that matched go too when they are the stalest, or a flood of matches would
    /// leave no room for what comes after.
    #[cold]
    fn stalest(&mut self, may_go: impl Fn(&Record) -> bool) -> Option<u32> {
        let mut best: Option<(u64, usize)> = None;
        for step in 0..self.records.len().min(CANDIDATES * 64) {
            if step >= CANDIDATES && best.is_some() {
                break;
            }
            let place = self.hand;
            self.hand = if place + 1 < self.records.len() { place + 1 } else { 0 };
            let Some(Some(record)) = self.records.get(place) else { continue };
            if !may_go(record) {
                continue;
            }
            let handicap_ns = if matches!(record.dialogue, Dialogue::Opening(..)) { UNSAID_HANDICAP_NS } else { 0 };
            let candidate = (record.last_seen_ns.saturating_sub(handicap_ns), place);
            if best.is_none_or(|best| candidate < best) {
                best = Some(candidate);
            }
        }
        best.map(|(_, place)| place as u32 + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tunnelled(source: Option<Address>, destination: Option<Address>) -> Envelope {
        let tunnel = Some(Tunnel { kind: TunnelKind::Vxlan, source, destination });
        Envelope { vlans: [100, 7, 0], vlan_count: 2, tunnel_depth: 1, tunnel, network: 42 }
    }

    #[test]
    fn an_envelope_comes_back_as_it_was_kept() {
        let (near, far) = (Address::v4([192, 0, 2, 1]), Address::v6([0x20; 16]));
        let cases = [
            Envelope::default(),
            tunnelled(Some(near), Some(far)),
            tunnelled(None, Some(near)),
            tunnelled(Some(far), None),
            tunnelled(None, None),
        ];
        for envelope in cases {
            assert_eq!(Envelope::from(KeptEnvelope::from(envelope)), envelope);
        }
    }
}
