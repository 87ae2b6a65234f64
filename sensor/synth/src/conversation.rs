//! One conversation between a client and a server, packet by packet: first what was planned (its opening, with all that
//! it tells), then data as long as it lasts, then its end.

use std::collections::VecDeque;
use std::net::Ipv4Addr;

use super::packet::{self, ACK, Ends, FIN, PUSH, SYN, Segment};
use super::random::Random;

/// What a reader learns from a packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tells {
    pub hello_tls: bool,
    pub hello_quic: bool,
    pub post_quantum: bool,
    pub dns_answer: bool,
    pub http_host: bool,
    /// The name is under ban, and is told by the one who contacts it.
    pub banned: bool,
}

/// A packet that will be sent.
#[derive(Clone, Debug, Default)]
pub(super) struct Planned {
    pub from_client: bool,
    /// TCP's.
    pub flags: u8,
    pub payload: Vec<u8>,
    pub tells: Tells,
    /// Another piece of the same hello follows.
    pub is_piece: bool,
}

impl Planned {
    pub(super) fn client(payload: Vec<u8>) -> Self {
        Self { from_client: true, flags: ACK | PUSH, payload, ..Self::default() }
    }

    pub(super) fn server(payload: Vec<u8>) -> Self {
        Self { flags: ACK | PUSH, payload, ..Self::default() }
    }
}

/// How packets are wrapped, and what data looks like.
#[derive(Clone, Debug)]
pub(super) enum Wrapping {
    /// Sequence numbers of client and server; whether data stands in records of TLS.
    Tcp { sequences: [u32; 2], is_tls: bool },
    /// QUIC's connection ids of client and server.
    Quic { ids: [Vec<u8>; 2] },
    /// Datagrams that were all planned.
    Udp,
    /// Echo requests and replies, the client's port being their identifier.
    Echo { number: u16 },
    /// Requests of a client.
    Arp(Ipv4Addr),
}

/// A conversation.
#[derive(Clone, Debug)]
pub(super) struct Conversation {
    ends: Ends,
    wrapping: Wrapping,
    planned: VecDeque<Planned>,
    data_packets: usize,
    is_closed: bool,
    is_half_told: bool,
}

impl Conversation {
    pub(super) fn new(ends: Ends, wrapping: Wrapping, planned: Vec<Planned>, data_packets: usize) -> Self {
        let is_closed = !matches!(wrapping, Wrapping::Tcp { .. });
        Self { ends, wrapping, planned: planned.into(), data_packets, is_closed, is_half_told: false }
    }

    /// Whether nothing is left to be sent.
    pub(super) fn is_over(&self) -> bool {
        self.is_closed && self.planned.is_empty() && self.data_packets == 0
    }

    /// Whether it is still opening.
    pub(super) fn is_opening(&self) -> bool {
        !self.planned.is_empty()
    }

    /// Whether a piece of a hello was sent and the last one was not.
    pub(super) const fn is_half_told(&self) -> bool {
        self.is_half_told
    }

    /// Leaves out the data that was not sent.
    pub(super) fn end(&mut self) {
        self.data_packets = 0;
    }

    /// Writes the next frame.
    pub(super) fn next(&mut self, now_ns: u64, random: &mut Random, frame: &mut Vec<u8>) -> Tells {
        let planned = match self.planned.pop_front() {
            Some(planned) => planned,
            None if self.data_packets > 0 => {
                self.data_packets -= 1;
                self.data(random)
            }
            None => {
                let end = Planned { flags: ACK | FIN, ..Planned::default() };
                self.is_closed = true;
                self.planned.push_back(end.clone());
                self.planned.push_back(Planned { from_client: true, flags: ACK, ..Planned::default() });
                Planned { from_client: true, ..end }
            }
        };
        self.is_half_told = planned.is_piece;
        self.wrap(&planned, now_ns, frame);
        planned.tells
    }

    fn wrap(&mut self, planned: &Planned, now_ns: u64, frame: &mut Vec<u8>) {
        let Planned { from_client, flags, payload, .. } = planned;
        match &mut self.wrapping {
            Wrapping::Tcp { sequences: [client, server], .. } => {
                let (own, other) = if *from_client { (client, &*server) } else { (server, &*client) };
                let first = *flags & (SYN | ACK) == SYN;
                let segment = Segment {
                    sequence: *own,
                    acknowledged: if first { 0 } else { *other },
                    flags: *flags,
                    clock: (now_ns / 1_000_000) as u32,
                };
                *own = own.wrapping_add(payload.len() as u32 + u32::from(flags & (SYN | FIN) != 0));
                packet::tcp(frame, &self.ends, *from_client, &segment, payload);
            }
            Wrapping::Quic { .. } | Wrapping::Udp => packet::udp(frame, &self.ends, *from_client, payload),
            Wrapping::Echo { number } => {
                packet::echo(frame, &self.ends, *from_client, *number, payload);
                *number = number.wrapping_add(u16::from(!*from_client));
            }
            Wrapping::Arp(client) => packet::arp(frame, *client),
        }
    }

    /// A packet of data or, as often as not, one that only acknowledges.
    fn data(&self, random: &mut Random) -> Planned {
        let kind = random.below(100);
        match &self.wrapping {
            Wrapping::Tcp { is_tls, .. } => {
                let (from_client, bytes) = match kind {
                    0..42 => return Planned { from_client: kind < 38, flags: ACK, ..Planned::default() },
                    // One request is all that clear HTTP sends.
                    42..48 if *is_tls => (true, random.within(60..700)),
                    42..62 => (false, random.within(40..1_448)),
                    _ => (false, 1_448),
                };
                let payload = if *is_tls { record(23, bytes - 5, random) } else { noise(bytes, random) };
                Planned { from_client, flags: ACK, payload, ..Planned::default() }
            }
            Wrapping::Quic { ids } => {
                let (from_client, bytes) = match kind {
                    0..34 => (true, random.within(21..40)),
                    34..40 => (true, random.within(100..1_200)),
                    40..52 => (false, random.within(40..1_200)),
                    _ => (false, 1_250),
                };
                let [client, server] = ids;
                // A short header: fixed bit, spin bit, protected bits, the receiver's id (RFC 9000 §17.3).
                let mut payload = vec![0x40 | (random.number() as u8 & 0x3f)];
                payload.extend(if from_client { server } else { client });
                random.noise(bytes, &mut payload);
                Planned { from_client, payload, ..Planned::default() }
            }
            Wrapping::Udp | Wrapping::Echo { .. } | Wrapping::Arp(_) => Planned::default(),
        }
    }
}

/// A record of TLS with noise in it.
pub(super) fn record(kind: u8, bytes: usize, random: &mut Random) -> Vec<u8> {
    let mut record = vec![kind, 3, 3];
    record.extend((bytes as u16).to_be_bytes());
    random.noise(bytes, &mut record);
    record
}

fn noise(bytes: usize, random: &mut Random) -> Vec<u8> {
    let mut noise = Vec::with_capacity(bytes);
    random.noise(bytes, &mut noise);
    noise
}
