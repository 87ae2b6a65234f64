//! One conversation between a client and a server, packet by packet: first its planned opening, then data, then its end.

use std::collections::VecDeque;
use std::net::Ipv4Addr;

use super::packet::{self, ACK, Ends, FIN, PUSH, SYN, Segment};
use super::random::Random;

/// What a reader finds in a packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Content {
    pub hello_tls: bool,
    pub hello_quic: bool,
    pub post_quantum: bool,
    pub dns_answer: bool,
    pub http_host: bool,
    /// A hello or request for a banned name.
    pub banned: bool,
}

/// A packet to be sent.
#[derive(Clone, Debug, Default)]
pub(super) struct PlannedPacket {
    pub from_client: bool,
    /// TCP flags.
    pub flags: u8,
    pub payload: Vec<u8>,
    pub content: Content,
    /// Another segment or datagram of the same hello follows.
    pub is_piece: bool,
}

impl PlannedPacket {
    pub(super) fn client(payload: Vec<u8>) -> Self {
        Self { from_client: true, flags: ACK | PUSH, payload, ..Self::default() }
    }

    pub(super) fn server(payload: Vec<u8>) -> Self {
        Self { flags: ACK | PUSH, payload, ..Self::default() }
    }
}

/// The transport protocol, and what data looks like.
#[derive(Clone, Debug)]
pub(super) enum Transport {
    /// Sequence numbers of client and server; whether data is in TLS records.
    Tcp { sequences: [u32; 2], is_tls: bool },
    /// QUIC connection ids of client and server.
    Quic { ids: [Vec<u8>; 2] },
    /// Planned datagrams only.
    Udp,
    /// ICMP echo; the client's port is the identifier.
    Echo { number: u16 },
    /// ARP requests of a client.
    Arp(Ipv4Addr),
}

/// A conversation.
#[derive(Clone, Debug)]
pub(super) struct Conversation {
    ends: Ends,
    transport: Transport,
    planned: VecDeque<PlannedPacket>,
    data_packets: usize,
    is_closed: bool,
    is_hello_unfinished: bool,
}

impl Conversation {
    pub(super) fn new(ends: Ends, transport: Transport, planned: Vec<PlannedPacket>, data_packets: usize) -> Self {
        let is_closed = !matches!(transport, Transport::Tcp { .. });
        Self { ends, transport, planned: planned.into(), data_packets, is_closed, is_hello_unfinished: false }
    }

    /// Whether nothing is left to send.
    pub(super) fn is_over(&self) -> bool {
        self.is_closed && self.planned.is_empty() && self.data_packets == 0
    }

    /// Whether planned packets are left.
    pub(super) fn is_opening(&self) -> bool {
        !self.planned.is_empty()
    }

    /// Whether a part of a hello was sent and the rest was not.
    pub(super) const fn is_hello_unfinished(&self) -> bool {
        self.is_hello_unfinished
    }

    /// Drops the data that was not sent yet.
    pub(super) fn end(&mut self) {
        self.data_packets = 0;
    }

    /// Writes the next frame.
    pub(super) fn next(&mut self, now_ns: u64, random: &mut Random, frame: &mut Vec<u8>) -> Content {
        let planned = match self.planned.pop_front() {
            Some(planned) => planned,
            None if self.data_packets > 0 => {
                self.data_packets -= 1;
                self.data(random)
            }
            None => {
                let end = PlannedPacket { flags: ACK | FIN, ..PlannedPacket::default() };
                self.is_closed = true;
                self.planned.push_back(end.clone());
                self.planned.push_back(PlannedPacket { from_client: true, flags: ACK, ..PlannedPacket::default() });
                PlannedPacket { from_client: true, ..end }
            }
        };
        self.is_hello_unfinished = planned.is_piece;
        self.write(&planned, now_ns, frame);
        planned.content
    }

    fn write(&mut self, planned: &PlannedPacket, now_ns: u64, frame: &mut Vec<u8>) {
        let PlannedPacket { from_client, flags, payload, .. } = planned;
        match &mut self.transport {
            Transport::Tcp { sequences: [client, server], .. } => {
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
            Transport::Quic { .. } | Transport::Udp => packet::udp(frame, &self.ends, *from_client, payload),
            Transport::Echo { number } => {
                packet::echo(frame, &self.ends, *from_client, *number, payload);
                *number = number.wrapping_add(u16::from(!*from_client));
            }
            Transport::Arp(client) => packet::arp(frame, *client),
        }
    }

    /// A packet of data, or often one that only acknowledges.
    fn data(&self, random: &mut Random) -> PlannedPacket {
        let kind = random.below(100);
        match &self.transport {
            Transport::Tcp { is_tls, .. } => {
                let (from_client, bytes) = match kind {
                    0..42 => return PlannedPacket { from_client: kind < 38, flags: ACK, ..PlannedPacket::default() },
                    // One request is all that clear HTTP sends.
                    42..48 if *is_tls => (true, random.within(60..700)),
                    42..62 => (false, random.within(40..1_448)),
                    _ => (false, 1_448),
                };
                let payload = if *is_tls { record(23, bytes - 5, random) } else { noise(bytes, random) };
                PlannedPacket { from_client, flags: ACK, payload, ..PlannedPacket::default() }
            }
            Transport::Quic { ids } => {
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
                PlannedPacket { from_client, payload, ..PlannedPacket::default() }
            }
            Transport::Udp | Transport::Echo { .. } | Transport::Arp(_) => PlannedPacket::default(),
        }
    }
}

/// A TLS record with noise in it.
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
