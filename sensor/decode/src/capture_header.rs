//! Headers that capture tools and cards put in front of the link layer, or of IP.

use vigie_wire::{Cursor, LinkType};

use super::state::DecodeState;
use super::{Address, DecodeError, Decoded, Segment, Transport, UdpDatagram, ip, link, link_type, shim, transport};

/// A frame with a capture header.
pub(super) fn decode<'a>(
    link_type: LinkType,
    bytes: &'a [u8],
    state: &mut DecodeState,
) -> Result<Decoded<'a>, DecodeError> {
    let skip = |count: usize| bytes.get(count..).ok_or(DecodeError::LinkTruncated);
    match link_type {
        LinkType::PPI => per_packet_information(bytes, state),
        LinkType::PKTAP | LinkType::USER2 => pktap(bytes, state),
        LinkType::PFLOG => pflog(bytes, state),
        LinkType::IPNET => ip::any(skip(24)?, state),
        LinkType::NFLOG => nflog(bytes, state),
        LinkType::NETANALYZER => link::ethernet(skip(4)?, state),
        // The preamble stands behind the header.
        LinkType::NETANALYZER_TRANSPARENT => link::ethernet(skip(4 + 8)?, state),
        LinkType::SYMANTEC_FIREWALL => symantec(bytes, state),
        LinkType::ERF => extensible_record(bytes, state),
        LinkType::UPPER_PDU => upper_pdu(bytes, state),
        LinkType::JUNIPER_PPPOE
        | LinkType::JUNIPER_PPPOE_ATM
        | LinkType::JUNIPER_ETHER
        | LinkType::JUNIPER_PPP
        | LinkType::JUNIPER_FRAME_RELAY
        | LinkType::JUNIPER_CHDLC => juniper(link_type, bytes, state),
        _ => Err(DecodeError::LinkUnsupported),
    }
}

/// A frame of the link type that a capture header names.
fn nested<'a>(link_type: u32, bytes: &'a [u8], state: &mut DecodeState) -> Result<Decoded<'a>, DecodeError> {
    // Headers that name each other are bounded as tags are.
    state.count_tag()?;
    match u16::try_from(link_type) {
        Ok(number) => link_type::decode(LinkType::from_file(number.into()), bytes, state),
        Err(_) => Err(DecodeError::LinkUnsupported),
    }
}

/// Per-packet information: a little-endian length, and the link type of the frame behind.
fn per_packet_information<'a>(bytes: &'a [u8], state: &mut DecodeState) -> Result<Decoded<'a>, DecodeError> {
    let Some(&[_, _, l0, l1, t0, t1, t2, t3]) = bytes.first_chunk() else {
        return Err(DecodeError::LinkTruncated);
    };
    let length = usize::from(u16::from_le_bytes([l0, l1]));
    let payload = bytes.get(length.max(8)..).ok_or(DecodeError::LinkTruncated)?;
    nested(u32::from_le_bytes([t0, t1, t2, t3]), payload, state)
}

/// PKTAP of macOS: the header's length, 1 if a frame follows, and its link type, in the byte order of the capturing machine.
fn pktap<'a>(bytes: &'a [u8], state: &mut DecodeState) -> Result<Decoded<'a>, DecodeError> {
    const HEADER_LENGTH_MIN: u32 = 44;
    const HEADER_LENGTH_MAX: u32 = 4096;
    const FRAME: u32 = 1;
    let mut cursor = Cursor::new(bytes);
    let (Some(length), Some(next), Some(link_type)) = (cursor.u32(), cursor.u32(), cursor.u32()) else {
        return Err(DecodeError::LinkTruncated);
    };
    let is_length = |length: u32| (HEADER_LENGTH_MIN..=HEADER_LENGTH_MAX).contains(&length);
    let (length, next, link_type) = match (is_length(length.swap_bytes()), is_length(length)) {
        (true, _) => (length.swap_bytes(), next.swap_bytes(), link_type.swap_bytes()),
        (false, true) => (length, next, link_type),
        // Others use the same number for other headers.
        (false, false) => return Err(DecodeError::LinkUnsupported),
    };
    if next != FRAME {
        return Err(DecodeError::NotIp);
    }
    nested(link_type, bytes.get(length as usize..).ok_or(DecodeError::LinkTruncated)?, state)
}

/// The packet filter's log: a length that is rounded up to words, and an address family.
fn pflog<'a>(bytes: &'a [u8], state: &mut DecodeState) -> Result<Decoded<'a>, DecodeError> {
    let length = usize::from(*bytes.first().ok_or(DecodeError::LinkTruncated)?);
    ip::any(bytes.get(length.next_multiple_of(4)..).ok_or(DecodeError::LinkTruncated)?, state)
}

/// The firewall's header has 44 or 56 bytes, by where its EtherType stands; the other place is zero.
fn symantec<'a>(bytes: &'a [u8], state: &mut DecodeState) -> Result<Decoded<'a>, DecodeError> {
    let mut cursor = Cursor::new(bytes);
    let (Some(_), Some(old), Some(_), Some(new)) = (cursor.skip(6), cursor.u16(), cursor.skip(2), cursor.u16()) else {
        return Err(DecodeError::LinkTruncated);
    };
    let (ethertype, length) = match (old, new) {
        (0, 0) => return Err(DecodeError::LinkMalformed),
        (0, ethertype) => (ethertype, 56),
        (ethertype, _) => (ethertype, 44),
    };
    link::by_ethertype(ethertype, bytes.get(length..).ok_or(DecodeError::LinkTruncated)?, state)
}

/// A record of an Endace card: time stamp, type, flags, lengths, loss counter; extension headers while bits say so.
fn extensible_record<'a>(bytes: &'a [u8], state: &mut DecodeState) -> Result<Decoded<'a>, DecodeError> {
    const MORE: u8 = 0x80;
    let mut cursor = Cursor::new(bytes);
    let (Some(_), Some(kind), Some(_)) = (cursor.skip(8), cursor.u8(), cursor.skip(7)) else {
        return Err(DecodeError::LinkTruncated);
    };
    let mut more = kind;
    while more & MORE != 0 {
        more = cursor.u8().ok_or(DecodeError::LinkTruncated)?;
        cursor.skip(7).ok_or(DecodeError::LinkTruncated)?;
    }
    match kind & !MORE {
        // Packet over SONET: PPP, Cisco HDLC, or Frame Relay; the multi-channel kinds have a header of their own.
        1 | 10 | 15 | 19 => link_type::ppp_or_hdlc(cursor.rest(), state),
        5 | 17 => link_type::ppp_or_hdlc(cursor.rest().get(4..).ok_or(DecodeError::LinkTruncated)?, state),
        // Ethernet behind offset and padding.
        2 | 11 | 16 | 20 => link::ethernet(cursor.rest().get(2..).ok_or(DecodeError::LinkTruncated)?, state),
        // AAL5 behind its ATM header.
        4 => link::llc(cursor.rest().get(4..).ok_or(DecodeError::LinkTruncated)?, state),
        22 => ip::v4(cursor.rest(), state),
        23 => ip::v6(cursor.rest(), state),
        _ => Err(DecodeError::NotIp),
    }
}

/// Juniper's header: a magic number, flags, extensions if flagged; then the frame, or a bare packet behind its family.
fn juniper<'a>(link_type: LinkType, bytes: &'a [u8], state: &mut DecodeState) -> Result<Decoded<'a>, DecodeError> {
    const MAGIC: [u8; 3] = [0x4d, 0x47, 0x43];
    const WITHOUT_LINK_HEADER: u8 = 0x02;
    const EXTENSIONS: u8 = 0x80;
    let mut cursor = Cursor::new(bytes);
    let (Some(magic), Some(flags)) = (cursor.array::<3>(), cursor.u8()) else {
        return Err(DecodeError::LinkTruncated);
    };
    if magic != MAGIC {
        return Err(DecodeError::LinkMalformed);
    }
    if flags & EXTENSIONS != 0 {
        cursor.vector16().ok_or(DecodeError::LinkTruncated)?;
    }
    if flags & WITHOUT_LINK_HEADER != 0 {
        return ip::any(cursor.rest().get(4..).ok_or(DecodeError::LinkTruncated)?, state);
    }
    let frame = cursor.rest();
    match link_type {
        LinkType::JUNIPER_PPP => shim::ppp(frame, state),
        LinkType::JUNIPER_CHDLC => link_type::cisco_hdlc(frame, state),
        LinkType::JUNIPER_FRAME_RELAY => link_type::frame_relay(frame, state),
        LinkType::JUNIPER_PPPOE_ATM => link::ethertype_next(cursor, state),
        _ => link::ethernet(frame, state),
    }
}

/// Netfilter log: attributes with lengths in the byte order of the capturing machine; one of them is the packet.
fn nflog<'a>(bytes: &'a [u8], state: &mut DecodeState) -> Result<Decoded<'a>, DecodeError> {
    const PAYLOAD: u16 = 9;
    const HEADER_LENGTH: usize = 4;
    let mut cursor = Cursor::new(bytes);
    cursor.skip(HEADER_LENGTH).ok_or(DecodeError::LinkTruncated)?;
    while let (Some(length), Some(kind)) = (cursor.array::<2>(), cursor.array::<2>()) {
        // There are few attribute types: a big one was written by a big-endian machine.
        let (length, kind) = match (u16::from_le_bytes(length), u16::from_le_bytes(kind)) {
            (length, kind) if kind & 0x7fff > 0xff => (length.swap_bytes(), kind.swap_bytes()),
            little => little,
        };
        let length = usize::from(length).checked_sub(HEADER_LENGTH).ok_or(DecodeError::LinkMalformed)?;
        if kind & 0x7fff == PAYLOAD {
            let rest = cursor.rest();
            return ip::any(rest.get(..length).unwrap_or(rest), state);
        }
        cursor.skip(length.next_multiple_of(4)).ok_or(DecodeError::LinkTruncated)?;
    }
    Err(DecodeError::NotIp)
}

/// What the tags of an exported data unit say.
#[derive(Default)]
struct PduTags<'a> {
    dissector: &'a [u8],
    source: Option<Address>,
    destination: Option<Address>,
    port_type: u32,
    source_port: u16,
    destination_port: u16,
    is_v6: bool,
}

/// A data unit that Wireshark exported: tags that name its dissector and the packet that it was in, then the data unit.
fn upper_pdu<'a>(bytes: &'a [u8], state: &mut DecodeState) -> Result<Decoded<'a>, DecodeError> {
    const TCP_PORTS: u32 = 2;
    const UDP_PORTS: u32 = 3;
    let mut cursor = Cursor::new(bytes);
    let tags = pdu_tags(&mut cursor)?;
    let payload = cursor.rest();
    match tags.dissector {
        b"ip" | b"ipv4" | b"ipv6" => return ip::any(payload, state),
        b"eth" | b"eth_withfcs" | b"eth_withoutfcs" | b"eth_maybefcs" => return link::ethernet(payload, state),
        _ => {}
    }
    let is_tcp = match (tags.port_type, tags.dissector) {
        (TCP_PORTS, _) => true,
        (UDP_PORTS, _) => false,
        (_, b"tls" | b"ssl" | b"http" | b"socks") => true,
        (_, b"quic" | b"dtls" | b"dns" | b"gquic") => false,
        _ => return Err(DecodeError::NotIp),
    };
    let (Some(source), Some(destination)) = (tags.source, tags.destination) else {
        return Err(DecodeError::NotIp);
    };
    let ip_header = ip::IpHeader::without_bytes(source, destination, tags.is_v6, payload.len());
    let ports = (tags.source_port, tags.destination_port);
    // The unit's place in its stream is not known: each is read as the first.
    Ok(if is_tcp {
        let segment = Segment::without_header(0, Segment::ACK, payload);
        transport::packet(transport::TCP, ports, Transport::Tcp(segment), &ip_header, state)
    } else {
        let datagram = UdpDatagram::new(&[], payload, ip_header.network);
        transport::packet(transport::UDP, ports, Transport::Udp(datagram), &ip_header, state)
    })
}

fn pdu_tags<'a>(cursor: &mut Cursor<'a>) -> Result<PduTags<'a>, DecodeError> {
    let mut tags = PduTags::default();
    loop {
        let (Some(tag), Some(value)) = (cursor.u16(), cursor.vector16()) else {
            return Err(DecodeError::LinkTruncated);
        };
        // Values are padded to words; most writers count the padding.
        let padding = value.len().next_multiple_of(4) - value.len();
        cursor.skip(padding).ok_or(DecodeError::LinkTruncated)?;
        let number = || value.first_chunk().map_or(0, |&bytes| u32::from_be_bytes(bytes));
        let v4 = || value.first_chunk().map(|&bytes| Address::v4(bytes));
        let v6 = || value.first_chunk().map(|&bytes| Address::v6(bytes));
        match tag {
            0 => return Ok(tags),
            12 | 13 => tags.dissector = value.split(|&byte| byte == 0).next().unwrap_or_default(),
            20 => tags.source = v4(),
            21 => tags.destination = v4(),
            22 => (tags.source, tags.is_v6) = (v6(), true),
            23 => (tags.destination, tags.is_v6) = (v6(), true),
            24 => tags.port_type = number(),
            25 => tags.source_port = number() as u16,
            26 => tags.destination_port = number() as u16,
            _ => {}
        }
    }
}
