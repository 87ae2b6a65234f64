//! The flow of a common packet, told at one look: Ethernet with one VLAN tag at most, IP without options or extension
//! headers and no fragment of it, TCP or UDP with its whole header in the frame. Whatever else there is takes the way
//! through [`decode`](crate::decode::decode), which also is the reference: it finds the same flow for every packet
//! that a glance is enough for.

use super::key::{self, FlowKey, Side};
use crate::capture::{Frame, LinkType};
use crate::decode::{self, Address, Packet, Segment, Transport};

const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const VLAN: u16 = 0x8100;
const TCP: u8 = 6;
const UDP: u8 = 17;

/// What a packet may have to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// Nothing: a TCP segment without payload that neither opens nor ends a connection.
    Nothing,
    /// It may open a connection: a SYN, or what begins as a QUIC long header (RFC 9000 §17.2).
    Opening,
    /// Anything else.
    Other,
}

/// A packet's flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Glance {
    /// What tells the flow.
    pub key: FlowKey,
    /// From which end of it the packet came.
    pub side: Side,
    /// What the packet may have to tell.
    pub content: Content,
}

impl Glance {
    /// At what is no packet: the key of no flow.
    pub const NOTHING: Self = Self {
        key: FlowKey { low: Address(0), high: Address(0), low_port: 0, high_port: 0, network: 0, protocol: u8::MAX },
        side: Side::Low,
        content: Content::Opening,
    };

    /// At a frame; `None` if it takes more than a glance.
    #[inline]
    pub fn at(frame: &Frame<'_>) -> Option<Self> {
        if frame.link_type != LinkType::ETHERNET {
            return None;
        }
        let (ethernet, packet) = frame.data.split_first_chunk::<14>()?;
        match u16::from_be_bytes([ethernet[12], ethernet[13]]) {
            IPV4 => v4(packet, 0),
            IPV6 => v6(packet, 0),
            VLAN => tagged(packet),
            _ => None,
        }
    }

    /// At a decoded packet.
    #[inline]
    pub fn of(packet: &Packet<'_>) -> Self {
        let (key, side) = FlowKey::of(packet);
        let content = match packet.transport {
            Transport::Tcp(segment) => of_segment(segment.flags, segment.payload.is_empty()),
            Transport::Udp(payload) => payload.first().map_or(Content::Other, |&first| of_datagram(first)),
            Transport::Other => Content::Opening,
        };
        Self { key, side, content }
    }
}

#[inline]
const fn of_segment(flags: u8, is_empty: bool) -> Content {
    match flags & (Segment::SYN | Segment::ACK) {
        Segment::SYN => Content::Opening,
        Segment::ACK if is_empty && flags & (Segment::FIN | Segment::RST) == 0 => Content::Nothing,
        _ => Content::Other,
    }
}

#[inline]
const fn of_datagram(first: u8) -> Content {
    if first & 0xc0 == 0xc0 { Content::Opening } else { Content::Other }
}

/// Behind a tag of 802.1Q.
#[inline]
fn tagged(bytes: &[u8]) -> Option<Glance> {
    let (&[t0, t1, e0, e1], packet) = bytes.split_first_chunk::<4>()?;
    let network = match u16::from_be_bytes([t0, t1]) & 0x0fff {
        0 => 0,
        id => key::network_of_vlans([id, 0, 0]),
    };
    match u16::from_be_bytes([e0, e1]) {
        IPV4 => v4(packet, network),
        IPV6 => v6(packet, network),
        _ => None,
    }
}

#[inline]
fn v4(bytes: &[u8], network: u32) -> Option<Glance> {
    const PLAIN: u8 = 0x45;
    /// More fragments, and the offset (RFC 791 §3.1).
    const FRAGMENT: u16 = 0x3fff;
    let (header, rest) = bytes.split_first_chunk::<20>()?;
    let announced = usize::from(u16::from_be_bytes([header[2], header[3]])).checked_sub(20)?;
    if header[0] != PLAIN || u16::from_be_bytes([header[6], header[7]]) & FRAGMENT != 0 {
        return None;
    }
    let upper = Upper::read(header[9], rest.get(..announced).unwrap_or(rest))?;
    let source = u32::from_be_bytes([header[12], header[13], header[14], header[15]]);
    let destination = u32::from_be_bytes([header[16], header[17], header[18], header[19]]);
    // Address and port in one number: which end is the low one is told without a branch that nobody can foresee.
    let from = u64::from(source) << 16 | u64::from(upper.source_port);
    let to = u64::from(destination) << 16 | u64::from(upper.destination_port);
    let (low, high) = (from.min(to), from.max(to));
    let address = |end: u64| Address(0xffff_0000_0000 | u128::from(end >> 16));
    let key = FlowKey {
        low: address(low),
        high: address(high),
        low_port: low as u16,
        high_port: high as u16,
        network,
        protocol: header[9],
    };
    Some(Glance { key, side: if from <= to { Side::Low } else { Side::High }, content: upper.content })
}

#[inline]
fn v6(bytes: &[u8], network: u32) -> Option<Glance> {
    let (header, rest) = bytes.split_first_chunk::<40>()?;
    let announced = usize::from(u16::from_be_bytes([header[4], header[5]]));
    if header[0] >> 4 != 6 || announced == 0 {
        return None;
    }
    let upper = Upper::read(header[6], rest.get(..announced).unwrap_or(rest))?;
    let (addresses, _) = header.get(8..)?.split_first_chunk::<32>()?;
    let (source, destination) = addresses.split_at(16);
    let source = Address(u128::from_be_bytes(source.try_into().ok()?));
    let destination = Address(u128::from_be_bytes(destination.try_into().ok()?));
    let ends = (source, upper.source_port, destination, upper.destination_port);
    let (key, side) = FlowKey::between(ends, network, header[6]);
    Some(Glance { key, side, content: upper.content })
}

/// What stands above IP.
struct Upper {
    source_port: u16,
    destination_port: u16,
    content: Content,
}

impl Upper {
    #[inline]
    fn read(protocol: u8, payload: &[u8]) -> Option<Self> {
        match protocol {
            TCP => Self::tcp(payload),
            UDP => Self::udp(payload),
            _ => None,
        }
    }

    #[inline]
    fn tcp(payload: &[u8]) -> Option<Self> {
        let header = payload.first_chunk::<20>()?;
        let header_length = usize::from(header[12] >> 4) * 4;
        if header_length < 20 || header_length > payload.len() {
            return None;
        }
        Some(Self {
            source_port: u16::from_be_bytes([header[0], header[1]]),
            destination_port: u16::from_be_bytes([header[2], header[3]]),
            content: of_segment(header[13], header_length == payload.len()),
        })
    }

    /// A datagram with a byte at least, that can be no tunnel.
    #[inline]
    fn udp(payload: &[u8]) -> Option<Self> {
        let header = payload.first_chunk::<9>()?;
        let source_port = u16::from_be_bytes([header[0], header[1]]);
        let destination_port = u16::from_be_bytes([header[2], header[3]]);
        let is_short = u16::from_be_bytes([header[4], header[5]]) < 9;
        // What begins as an IPv6 packet may be one, from any port.
        if is_short || header[8] >> 4 == 6 || decode::may_be_tunnel_port(source_port, destination_port) {
            return None;
        }
        Some(Self { source_port, destination_port, content: of_datagram(header[8]) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::{DecodeLimits, Decoded};
    use proptest::prelude::*;

    fn frame(data: &[u8]) -> Frame<'_> {
        let wire_length = data.len() as u32;
        Frame { timestamp_ns: 1, number: 1, wire_length, link_type: LinkType::ETHERNET, interface: 0, data }
    }

    fn decoded(data: &[u8]) -> Option<Glance> {
        match decode::decode(&frame(data), &DecodeLimits::default()) {
            Ok(Decoded::Packet(packet)) => Some(Glance::of(&packet)),
            _ => None,
        }
    }

    /// A frame of each common kind: VLAN or not, IPv4 or IPv6, TCP or UDP.
    fn plain(is_tagged: bool, is_v6: bool, is_tcp: bool, payload: &[u8]) -> Vec<u8> {
        let mut upper = vec![0x9c, 0x40, 1, 0xbb];
        if is_tcp {
            upper.extend([0, 0, 0, 1, 0, 0, 0, 2, 0x50, 0x18, 1, 0, 0, 0, 0, 0]);
        } else {
            upper.extend((8 + payload.len() as u16).to_be_bytes());
            upper.extend([0, 0]);
        }
        upper.extend(payload);
        let protocol = if is_tcp { TCP } else { UDP };
        let mut bytes = vec![2; 12];
        if is_tagged {
            bytes.extend([0x81, 0, 0x60, 42]);
        }
        if is_v6 {
            bytes.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
            bytes.extend((upper.len() as u16).to_be_bytes());
            bytes.extend([protocol, 64]);
            bytes.extend([0x20; 16]);
            bytes.extend([0x10; 16]);
        } else {
            bytes.extend([8, 0, 0x45, 0]);
            bytes.extend((20 + upper.len() as u16).to_be_bytes());
            bytes.extend([0, 1, 0x40, 0, 64, protocol, 0, 0, 10, 0, 0, 9, 10, 0, 0, 7]);
        }
        [bytes, upper].concat()
    }

    #[test]
    fn a_glance_is_enough_for_common_packets() {
        for number in 0..8 {
            let bytes = plain(number & 1 != 0, number & 2 != 0, number & 4 != 0, b"payload");
            let glance = Glance::at(&frame(&bytes));
            assert!(
                glance.is_some_and(|glance| glance.content == Content::Other && glance.side == Side::High),
                "{number}"
            );
            assert_eq!(glance, decoded(&bytes));
            assert_eq!(glance.map(|glance| glance.key.network != 0), Some(number & 1 != 0));
        }
        let empty = plain(true, true, true, b"");
        assert_eq!(Glance::at(&frame(&empty)).map(|glance| glance.content), Some(Content::Nothing));
        let mut syn = plain(false, false, true, b"");
        syn[14 + 20 + 13] = Segment::SYN;
        let initial = plain(false, true, false, &[0xc3; 40]);
        for opening in [syn, initial] {
            assert_eq!(Glance::at(&frame(&opening)).map(|glance| glance.content), Some(Content::Opening));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]
        #[test]
        fn what_a_glance_tells_decoding_tells_too(
            kind in 0..8_u8,
            payload in proptest::collection::vec(any::<u8>(), 0..64),
            changes in proptest::collection::vec((0..100_usize, any::<u8>()), 0..4),
            kept in 0..160_usize,
        ) {
            let mut bytes = plain(kind & 1 != 0, kind & 2 != 0, kind & 4 != 0, &payload);
            for (place, value) in changes {
                if let Some(byte) = bytes.get_mut(place) {
                    *byte = value;
                }
            }
            bytes.truncate(kept);
            if let Some(glance) = Glance::at(&frame(&bytes)) {
                prop_assert_eq!(Some(glance), decoded(&bytes));
            }
        }
    }
}
