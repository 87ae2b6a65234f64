//! Frames of settled flows, one after the other in a big buffer as in a capture ring: each frame's headers on lines of
//! their own, at uneven distances, so that no processor guesses where the next one is, and out of the caches when
//! their turn comes again. Only headers are there, as if each frame had been cut behind them; the path of a settled
//! packet reads no further.
//!
//! Three flows of four are TCP, the others QUIC; one of five is IPv6. Flow `n` has the same addresses in every ring.

use crate::random::{Random, mix};
use vigie_wire::{Frame, LinkType};

/// Bytes from one frame to the next, on average.
pub const STRIDE: usize = 256;
/// Captured bytes of a frame.
pub const CAPTURED: usize = 96;
/// When all frames are seen.
pub const NOW_NS: u64 = 1_795_000_000_000_000_000;

const CACHE_LINE: usize = 64;
const ETHERNET_BYTES: usize = 14;

/// Which flows there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// TCP and QUIC, IPv4 and IPv6.
    Mixed,
    /// TCP over IPv4 only.
    TcpV4,
}

/// How often each flow has its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// All the same.
    Uniform,
    /// The flow of rank `r` in proportion to `1/r` (Zipf).
    Skewed,
}

/// Frames in memory.
#[derive(Debug)]
pub struct Ring {
    memory: Vec<u8>,
    start: usize,
    places: Vec<Place>,
}

/// Where a frame stands, and how long it was on the wire.
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    start: u32,
    wire_length: u32,
}

impl Ring {
    /// Memory for `frames` frames, not filled yet.
    pub fn new(frames: usize) -> Self {
        let memory = vec![0; frames * STRIDE + CACHE_LINE];
        let start = memory.as_ptr().align_offset(CACHE_LINE);
        Self { memory, start, places: vec![Place::default(); frames] }
    }

    /// How many frames there are.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Fills all frames with packets of `flows` flows.
    pub fn fill(&mut self, flows: u32, access: Access, kind: Kind) {
        let mut random = Random(0x5eed);
        let memory = self.memory.get_mut(self.start..).unwrap_or_default().chunks_exact_mut(STRIDE);
        for (number, (memory, place)) in memory.zip(&mut self.places).enumerate() {
            // None, one or two cache lines behind the start of its share.
            let offset = random.below(3) as usize * CACHE_LINE;
            place.start = (number * STRIDE + offset) as u32;
            let flow = match access {
                Access::Uniform => random.below(flows),
                Access::Skewed => (f64::from(flows).powf(random.unit()) - 1.0) as u32 % flows,
            };
            // Two of five packets carry next to nothing; the others are full: some 840 bytes on average.
            let is_small = random.below(5) < 2;
            let headers = headers_bytes(flow, kind) as u32;
            place.wire_length = if is_small { headers + random.below(60) } else { 1_200 + random.below(250) };
            let bytes = memory.get_mut(offset..).unwrap_or_default();
            write_frame(bytes, flow, random.below(5) < 3, place.wire_length, kind);
        }
    }

    /// The frame at a place.
    #[inline]
    pub fn frame(&self, number: usize) -> Frame<'_> {
        let place = self.places.get(number).copied().unwrap_or_default();
        let start = self.start + place.start as usize;
        Frame {
            timestamp_ns: NOW_NS,
            number: number as u64 + 1,
            wire_length: place.wire_length,
            link_type: LinkType::ETHERNET,
            interface: 0,
            data: self.memory.get(start..start + CAPTURED).unwrap_or_default(),
        }
    }
}

/// A frame that settles flow `flow`: a whole hello over TCP or DTLS, of a name that no rule knows.
pub fn settling_frame(flow: u32, kind: Kind) -> Vec<u8> {
    let is_tcp = is_tcp(flow, kind);
    let hello = hello_message(is_tcp);
    let payload = match is_tcp {
        true => [&[22, 3, 1][..], &(hello.len() as u16).to_be_bytes(), &hello].concat(),
        false => [&[22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0][..], &(hello.len() as u16).to_be_bytes(), &hello].concat(),
    };
    let mut frame = vec![0; CAPTURED];
    let headers = headers_bytes(flow, kind);
    write_frame(&mut frame, flow, true, (headers + payload.len()) as u32, kind);
    frame.truncate(headers);
    frame.extend(payload);
    frame
}

fn hello_message(is_tcp: bool) -> Vec<u8> {
    const NAME: &[u8] = b"www.example.org";
    let mut body = if is_tcp { vec![3, 3] } else { vec![0xfe, 0xfd] };
    body.extend([0x61; 32]);
    body.push(0);
    if !is_tcp {
        body.push(0);
    }
    body.extend([0, 2, 0x13, 1, 1, 0]);
    let name = NAME.len() as u8;
    body.extend([0, name + 9, 0, 0, 0, name + 5, 0, name + 3, 0, 0, name]);
    body.extend(NAME);
    let length = body.len() as u8;
    let mut message = vec![1, 0, 0, length];
    if !is_tcp {
        message.extend([0, 0, 0, 0, 0, 0, 0, length]);
    }
    message.extend(body);
    message
}

const fn is_tcp(flow: u32, kind: Kind) -> bool {
    matches!(kind, Kind::TcpV4) || flow % 4 != 3
}

const fn is_v4(flow: u32, kind: Kind) -> bool {
    matches!(kind, Kind::TcpV4) || flow % 5 != 4
}

const fn headers_bytes(flow: u32, kind: Kind) -> usize {
    let network = if is_v4(flow, kind) { 20 } else { 40 };
    // TCP's with the time stamp option, as nearly all have it.
    let transport = if is_tcp(flow, kind) { 32 } else { 8 };
    ETHERNET_BYTES + network + transport
}

/// Writes Ethernet, IP and transport headers, and the first byte of a QUIC packet with a short header behind UDP's.
fn write_frame(frame: &mut [u8], flow: u32, from_client: bool, wire_length: u32, kind: Kind) {
    let (is_tcp, is_v4) = (is_tcp(flow, kind), is_v4(flow, kind));
    let mut bytes = Vec::with_capacity(CAPTURED);
    bytes.extend([2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2]);
    bytes.extend(if is_v4 { [8, 0] } else { [0x86, 0xdd] });
    let client = 0x0a00_0000 | flow;
    let server = (mix(u64::from(flow)) as u32 & 0x3fff_ffff) | 0x4000_0000;
    let packet_length = wire_length as u16 - ETHERNET_BYTES as u16;
    let protocol = if is_tcp { 6 } else { 17 };
    let ends = if from_client { [client, server] } else { [server, client] };
    if is_v4 {
        bytes.extend([0x45, 0]);
        bytes.extend(packet_length.to_be_bytes());
        bytes.extend([0, 0, 0x40, 0, 64, protocol, 0, 0]);
        ends.iter().for_each(|end| bytes.extend(end.to_be_bytes()));
    } else {
        bytes.extend([0x60, 0, 0, 0]);
        bytes.extend((packet_length - 40).to_be_bytes());
        bytes.extend([protocol, 64]);
        for end in ends {
            bytes.extend([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0]);
            bytes.extend(end.to_be_bytes());
        }
    }
    let client_port = 32_768 + (mix(u64::from(flow) ^ 0xff) as u16 & 0x7fff);
    let ports = if from_client { [client_port, 443] } else { [443, client_port] };
    ports.iter().for_each(|port| bytes.extend(port.to_be_bytes()));
    if is_tcp {
        bytes.extend([1, 2, 3, 4, 5, 6, 7, 8, 0x80, 0x10, 1, 0, 0, 0, 0, 0]);
        bytes.extend([1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2]);
    } else {
        let transport_length = packet_length - if is_v4 { 20 } else { 40 };
        bytes.extend(transport_length.to_be_bytes());
        bytes.extend([0, 0, 0x45]);
    }
    bytes.resize(CAPTURED, 0xa5);
    if let Some(place) = frame.first_chunk_mut::<CAPTURED>() {
        place.iter_mut().zip(bytes).for_each(|(place, byte)| *place = byte);
    }
}
