//! The fast path: reads a common packet's flow from headers at fixed places, without decoding the frame. Common is
//! Ethernet with at most one VLAN tag, unfragmented IP without options or extension headers, TCP or UDP with its whole
//! header in the frame.
//!
//! All other frames go through [`decode`](vigie_decode::decode()), which is also the reference: for every frame that
//! the fast path reads, decoding gives the same flow, payload and encapsulation.

use super::key::{self, FlowKey, Side};
use vigie_decode::{Address, Encapsulation, NetworkHeader, Packet, Segment, Transport, UdpDatagram};
use vigie_wire::{Frame, LinkType};

const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const VLAN: u16 = 0x8100;
/// Version 4, a header without options (RFC 791 §3.1).
const PLAIN_V4: u8 = 0x45;
const ETHERNET_LENGTH: usize = 14;
const TAG_LENGTH: usize = 4;
const V4_LENGTH: usize = 20;
const V6_LENGTH: usize = 40;
/// Where the transport header begins, by IP version and VLAN tag.
const V4_TRANSPORT: usize = ETHERNET_LENGTH + V4_LENGTH;
const V4_TAGGED_TRANSPORT: usize = V4_TRANSPORT + TAG_LENGTH;
const V6_TRANSPORT: usize = ETHERNET_LENGTH + V6_LENGTH;
const V6_TAGGED_TRANSPORT: usize = V6_TRANSPORT + TAG_LENGTH;
const TCP: u8 = 6;
const UDP: u8 = 17;

/// What kind of packet this is for its flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PacketKind {
    /// A TCP segment without payload that neither opens nor ends a connection.
    PureAck,
    /// It may open a connection: a SYN, or what begins as a QUIC long header or a DTLS handshake record.
    MayOpen,
    /// Anything else.
    Other,
}

/// What a packet's headers say of its flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PacketHeaders {
    /// Key of the flow.
    pub key: FlowKey,
    /// From which end of it the packet came.
    pub side: Side,
    /// What kind of packet this is for its flow.
    pub kind: PacketKind,
    /// Offset in the frame of the TCP or UDP header; set by the fast path only.
    transport_start: u16,
    /// Offset in the frame of the IP packet's end; set by the fast path only.
    packet_end: u32,
}

impl PacketHeaders {
    /// Those of a frame without a packet: the key is no flow's.
    pub const NONE: Self = Self {
        key: FlowKey { low: Address(0), high: Address(0), ports_and_network: 0, protocol: u8::MAX },
        side: Side::Low,
        kind: PacketKind::MayOpen,
        transport_start: 0,
        packet_end: 0,
    };

    /// Reads a frame's headers; `None` if the frame has to be decoded.
    pub fn parse(frame: &Frame<'_>) -> Option<Self> {
        let mut headers = Self::NONE;
        headers.read(frame).then_some(headers)
    }

    /// Reads a frame's headers; false if the frame has to be decoded.
    // Two loops over frames call this; neither must pay for calls.
    #[inline(always)]
    pub fn read(&mut self, frame: &Frame<'_>) -> bool {
        // The values are written in place: they are too big to be handed from function to function.
        self.read_frame(frame).is_some()
    }

    #[inline(always)]
    fn read_frame(&mut self, frame: &Frame<'_>) -> Option<()> {
        if frame.link_type != LinkType::ETHERNET {
            return None;
        }
        // The most common first.
        if let Some((headers, rest)) = frame.data.split_first_chunk::<V4_TRANSPORT>()
            && u16::from_be_bytes([headers[12], headers[13]]) == IPV4
            && headers[14] == PLAIN_V4
        {
            return self.read_v4(headers.last_chunk()?, rest, V4_TRANSPORT, 0);
        }
        let (ethernet, packet) = frame.data.split_first_chunk::<14>()?;
        match u16::from_be_bytes([ethernet[12], ethernet[13]]) {
            IPV6 => self.read_v6(packet, V6_TRANSPORT, 0),
            VLAN => self.read_tagged(packet),
            _ => None,
        }
    }

    /// The headers of a decoded packet.
    #[inline]
    pub fn of_packet(packet: &Packet<'_>) -> Self {
        let (key, side) = FlowKey::of(packet);
        let kind = match packet.transport {
            Transport::Tcp(segment) => kind_of_segment(segment.flags, segment.payload.is_empty()),
            Transport::Udp(datagram) => {
                datagram.payload.first().map_or(PacketKind::Other, |&first| kind_of_datagram(first))
            }
            Transport::Other => PacketKind::Other,
        };
        Self { key, side, kind, transport_start: 0, packet_end: 0 }
    }

    /// The TCP segment or UDP datagram of the frame that this was [read](Self::read) from.
    #[inline]
    pub fn transport<'a>(&self, frame: &Frame<'a>) -> Option<Transport<'a>> {
        let transport_start = usize::from(self.transport_start);
        let bytes = frame.data.get(transport_start..self.packet_end as usize)?;
        let (network, length) = match transport_start {
            V4_TRANSPORT | V4_TAGGED_TRANSPORT => {
                let header = frame.data.get(..transport_start)?.last_chunk::<V4_LENGTH>()?;
                (&header[..], u16::from_be_bytes([header[2], header[3]]).checked_sub(V4_LENGTH as u16)?)
            }
            _ => {
                let header = frame.data.get(..transport_start)?.last_chunk::<V6_LENGTH>()?;
                (&header[..], u16::from_be_bytes([header[4], header[5]]))
            }
        };
        let network = NetworkHeader::new(network);
        if self.key.protocol == TCP {
            Segment::parse(bytes, length.into(), network).map(Transport::Tcp)
        } else {
            let header = bytes.first_chunk::<8>()?;
            let length = usize::from(u16::from_be_bytes([header[4], header[5]]));
            let payload = bytes.get(8..length.min(bytes.len()))?;
            Some(Transport::Udp(UdpDatagram::new(header, payload, network)))
        }
    }

    /// The payload of the frame that this was [read](Self::read) from; what follows a datagram in its packet included.
    #[inline]
    pub fn payload<'a>(&self, frame: &Frame<'a>) -> &'a [u8] {
        let bytes = frame.data.get(usize::from(self.transport_start)..self.packet_end as usize).unwrap_or_default();
        let header_length = match bytes.get(12) {
            Some(offset) if self.key.protocol == TCP => usize::from(offset >> 4) * 4,
            _ => 8,
        };
        bytes.get(header_length..).unwrap_or_default()
    }

    /// The encapsulation of a frame that the fast path reads.
    pub fn encapsulation(frame: &Frame<'_>) -> Encapsulation {
        let mut encapsulation = Encapsulation::default();
        if let Some(&[e0, e1, t0, t1]) = frame.data.get(12..16)
            && u16::from_be_bytes([e0, e1]) == VLAN
        {
            let id = vlan_id([t0, t1]);
            encapsulation.vlans = [id, 0, 0];
            encapsulation.vlan_count = u8::from(id != 0);
        }
        encapsulation
    }

    /// Reads on behind an 802.1Q tag.
    #[inline(never)]
    fn read_tagged(&mut self, bytes: &[u8]) -> Option<()> {
        let (&[t0, t1, e0, e1], packet) = bytes.split_first_chunk::<4>()?;
        let network = match vlan_id([t0, t1]) {
            0 => 0,
            id => key::network_of_vlans([id, 0, 0]),
        };
        match u16::from_be_bytes([e0, e1]) {
            IPV4 => {
                let (header, rest) = packet.split_first_chunk::<20>().filter(|(header, _)| header[0] == PLAIN_V4)?;
                self.read_v4(header, rest, V4_TAGGED_TRANSPORT, network)
            }
            IPV6 => self.read_v6(packet, V6_TAGGED_TRANSPORT, network),
            _ => None,
        }
    }

    #[inline(always)]
    fn read_v4(&mut self, header: &[u8; 20], rest: &[u8], transport_start: usize, network: u32) -> Option<()> {
        /// More fragments, and the offset (RFC 791 §3.1).
        const FRAGMENT: u16 = 0x3fff;
        let announced = usize::from(u16::from_be_bytes([header[2], header[3]])).checked_sub(20)?;
        if u16::from_be_bytes([header[6], header[7]]) & FRAGMENT != 0 {
            return None;
        }
        let carried = rest.get(..announced).unwrap_or(rest);
        let upper = Upper::read(header[9], carried)?;
        let source = u32::from_be_bytes([header[12], header[13], header[14], header[15]]);
        let destination = u32::from_be_bytes([header[16], header[17], header[18], header[19]]);
        // Address and port in one number: the low end is found without a branch, which would be mispredicted.
        let from = u64::from(source) << 16 | u64::from(upper.source_port);
        let to = u64::from(destination) << 16 | u64::from(upper.destination_port);
        let (low, high) = (from.min(to), from.max(to));
        let address = |end: u64| Address(u128::from(0xffff_0000_0000 | end >> 16));
        self.key = FlowKey {
            low: address(low),
            high: address(high),
            ports_and_network: key::join(low as u16, high as u16, network),
            protocol: header[9],
        };
        self.side = if from <= to { Side::Low } else { Side::High };
        self.kind = upper.kind;
        self.transport_start = transport_start as u16;
        self.packet_end = u32::from(self.transport_start) + carried.len() as u32;
        Some(())
    }

    #[inline]
    fn read_v6(&mut self, bytes: &[u8], transport_start: usize, network: u32) -> Option<()> {
        let (header, rest) = bytes.split_first_chunk::<40>()?;
        let announced = usize::from(u16::from_be_bytes([header[4], header[5]]));
        if header[0] >> 4 != 6 || announced == 0 {
            return None;
        }
        let carried = rest.get(..announced).unwrap_or(rest);
        let upper = Upper::read(header[6], carried)?;
        let (addresses, _) = header.get(8..)?.split_first_chunk::<32>()?;
        let (source, destination) = addresses.split_at(16);
        let source = Address(u128::from_be_bytes(source.try_into().ok()?));
        let destination = Address(u128::from_be_bytes(destination.try_into().ok()?));
        let ends = (source, upper.source_port, destination, upper.destination_port);
        (self.key, self.side) = FlowKey::between(ends, network, header[6]);
        self.kind = upper.kind;
        self.transport_start = transport_start as u16;
        self.packet_end = u32::from(self.transport_start) + carried.len() as u32;
        Some(())
    }
}

/// The VLAN of a tag; 0, a priority tag, names none (802.1Q §9.6).
#[inline]
const fn vlan_id(tag: [u8; 2]) -> u16 {
    u16::from_be_bytes(tag) & 0x0fff
}

#[inline]
const fn kind_of_segment(flags: u8, is_empty: bool) -> PacketKind {
    match flags & (Segment::SYN | Segment::ACK) {
        Segment::SYN => PacketKind::MayOpen,
        Segment::ACK if is_empty && flags & (Segment::FIN | Segment::RST) == 0 => PacketKind::PureAck,
        _ => PacketKind::Other,
    }
}

#[inline]
const fn kind_of_datagram(first: u8) -> PacketKind {
    if may_open(first) { PacketKind::MayOpen } else { PacketKind::Other }
}

/// Whether a datagram that begins with this byte may open a connection: a QUIC long header (RFC 9000 §17.2), or a handshake
/// record of DTLS (RFC 6347 §4.1).
#[inline]
pub const fn may_open(first: u8) -> bool {
    first >= 0xc0 || first == 22
}

/// What the TCP or UDP header says.
struct Upper {
    source_port: u16,
    destination_port: u16,
    kind: PacketKind,
}

impl Upper {
    #[inline(always)]
    fn read(protocol: u8, payload: &[u8]) -> Option<Self> {
        match protocol {
            TCP => Self::tcp(payload),
            UDP => Self::udp(payload),
            _ => None,
        }
    }

    #[inline(always)]
    fn tcp(payload: &[u8]) -> Option<Self> {
        let header = payload.first_chunk::<20>()?;
        let header_length = usize::from(header[12] >> 4) * 4;
        if header_length < 20 || header_length > payload.len() {
            return None;
        }
        Some(Self {
            source_port: u16::from_be_bytes([header[0], header[1]]),
            destination_port: u16::from_be_bytes([header[2], header[3]]),
            kind: kind_of_segment(header[13], header_length == payload.len()),
        })
    }

    /// A datagram that has payload and cannot be a tunnel.
    #[inline(always)]
    fn udp(payload: &[u8]) -> Option<Self> {
        let header = payload.first_chunk::<9>()?;
        let source_port = u16::from_be_bytes([header[0], header[1]]);
        let destination_port = u16::from_be_bytes([header[2], header[3]]);
        let is_short = u16::from_be_bytes([header[4], header[5]]) < 9;
        // A payload that begins as an IPv6 packet may be Teredo, from any port.
        if is_short || header[8] >> 4 == 6 || vigie_decode::may_be_tunnel_port(source_port, destination_port) {
            return None;
        }
        Some(Self { source_port, destination_port, kind: kind_of_datagram(header[8]) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use vigie_decode::{DecodeLimits, Decoded};

    fn frame(data: &[u8]) -> Frame<'_> {
        let wire_length = data.len() as u32;
        Frame { timestamp_ns: 1, number: 1, wire_length, link_type: LinkType::ETHERNET, interface: 0, data }
    }

    /// Key, side, kind, and the payload and encapsulation as text.
    type Read = (FlowKey, Side, PacketKind, String);

    fn by_decoding(data: &[u8]) -> Option<Read> {
        match vigie_decode::decode(&frame(data), &DecodeLimits::default()) {
            Ok(Decoded::Packet(packet)) => {
                let PacketHeaders { key, side, kind, .. } = PacketHeaders::of_packet(&packet);
                Some((key, side, kind, format!("{:?} in {:?}", packet.transport, packet.encapsulation)))
            }
            _ => None,
        }
    }

    fn by_fast_path(data: &[u8]) -> Option<Read> {
        let frame = frame(data);
        let headers = PacketHeaders::parse(&frame)?;
        let carried = format!("{:?} in {:?}", headers.transport(&frame).unwrap(), PacketHeaders::encapsulation(&frame));
        Some((headers.key, headers.side, headers.kind, carried))
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
    fn common_packets_are_read_as_decoding_reads_them() {
        for number in 0..8 {
            let bytes = plain(number & 1 != 0, number & 2 != 0, number & 4 != 0, b"payload");
            let read = by_fast_path(&bytes);
            assert_eq!(read, by_decoding(&bytes));
            let (key, side, kind, _) = read.unwrap();
            assert_eq!((kind, side), (PacketKind::Other, Side::High), "{number}");
            assert_eq!(key.ports_and_network >> 32 != 0, number & 1 != 0);
        }
        let empty = plain(true, true, true, b"");
        assert_eq!(PacketHeaders::parse(&frame(&empty)).map(|headers| headers.kind), Some(PacketKind::PureAck));
        let mut syn = plain(false, false, true, b"");
        syn[14 + 20 + 13] = Segment::SYN;
        let initial = plain(false, true, false, &[0xc3; 40]);
        for opening in [syn, initial] {
            assert_eq!(PacketHeaders::parse(&frame(&opening)).map(|headers| headers.kind), Some(PacketKind::MayOpen));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]
        #[test]
        fn decoding_gives_what_the_fast_path_reads(
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
            if let Some(read) = by_fast_path(&bytes) {
                prop_assert_eq!(Some(read), by_decoding(&bytes));
            }
        }
    }
}
