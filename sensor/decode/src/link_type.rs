//! The first header of a frame, by the capture's link type: link layers other than Ethernet. Headers that capture tools put in
//! front of a link layer are in `capture_header`.

use vigie_wire::{Cursor, LinkType};

use super::state::DecodeState;
use super::{DecodeError, Decoded, capture_header, ip, link, shim, wifi};

/// A frame of any link type.
#[inline(never)]
pub(super) fn decode<'a>(
    link_type: LinkType,
    bytes: &'a [u8],
    state: &mut DecodeState,
) -> Result<Decoded<'a>, DecodeError> {
    let skip = |count: usize| bytes.get(count..).ok_or(DecodeError::LinkTruncated);
    match link_type {
        LinkType::ETHERNET => link::ethernet(bytes, state),
        // 12 and 14 are the numbers of raw IP on BSD systems.
        LinkType::RAW | LinkType(12 | 14) => ip::any(bytes, state),
        LinkType::IPV4 => ip::v4(bytes, state),
        LinkType::IPV6 => ip::v6(bytes, state),
        LinkType::NULL | LinkType::LOOP => loopback(bytes, 4, state),
        LinkType::ENC => loopback(bytes, 12, state),
        LinkType::LINUX_SLL => cooked(bytes, state),
        LinkType::LINUX_SLL2 => cooked2(bytes, state),
        LinkType::PPP | LinkType::PPP_HDLC => ppp_or_hdlc(bytes, state),
        LinkType::PPP_WITH_DIRECTION => ppp_or_hdlc(skip(1)?, state),
        LinkType::PPPOE => shim::pppoe(bytes, state),
        LinkType::C_HDLC => cisco_hdlc(bytes, state),
        LinkType::C_HDLC_WITH_DIRECTION => cisco_hdlc(skip(1)?, state),
        LinkType::FRAME_RELAY => frame_relay(bytes, state),
        LinkType::FRAME_RELAY_WITH_DIRECTION => frame_relay(skip(1)?, state),
        LinkType::TOKEN_RING => token_ring(bytes, state),
        LinkType::FDDI => link::llc(skip(13)?, state),
        LinkType::ATM_RFC1483 => link::llc(bytes, state),
        LinkType::SUNATM => sun_atm(bytes, state),
        // RFC 2625 §3: two network addresses of eight bytes.
        LinkType::IP_OVER_FC => link::llc(skip(16)?, state),
        LinkType::IP_OVER_IEEE1394 => link::ethertype_next(Cursor::new(skip(16)?), state),
        LinkType::IP_OVER_INFINIBAND => infiniband(bytes, state),
        LinkType::ARCNET_BSD => arcnet(skip(2)?, state),
        LinkType::ARCNET_LINUX => arcnet(skip(4)?, state),
        LinkType::EPON => link::ethernet(skip(8)?, state),
        LinkType::ETHERNET_MPACKET => mpacket(bytes, state),
        LinkType::IEEE802_11 => wifi::frame(bytes, state),
        LinkType::IEEE802_11_PRISM => wifi::prism(bytes, state),
        LinkType::IEEE802_11_RADIOTAP => wifi::radiotap(bytes, state),
        LinkType::IEEE802_11_AVS => wifi::avs(bytes, state),
        LinkType::MPLS => shim::mpls(bytes, state),
        _ => capture_header::decode(link_type, bytes, state),
    }
}

/// BSD loopback: an address family in whichever byte order the capturing machine had.
fn loopback<'a>(bytes: &'a [u8], header: usize, state: &mut DecodeState) -> Result<Decoded<'a>, DecodeError> {
    let family = Cursor::new(bytes).u32().ok_or(DecodeError::LinkTruncated)?;
    let family = if family > 0xffff { family.swap_bytes() } else { family };
    let payload = bytes.get(header..).ok_or(DecodeError::LinkTruncated)?;
    match family {
        2 => ip::v4(payload, state),
        // AF_INET6 of Linux, Windows, NetBSD and OpenBSD, FreeBSD, and macOS.
        10 | 23 | 24 | 28 | 30 => ip::v6(payload, state),
        // Some drivers write other numbers.
        _ => ip::any_if_plausible(payload, state).map_err(|_| DecodeError::NotIp),
    }
}

/// Linux cooked capture v1: a header of sixteen bytes with the type field at its end.
fn cooked<'a>(bytes: &'a [u8], state: &mut DecodeState) -> Result<Decoded<'a>, DecodeError> {
    let mut cursor = Cursor::new(bytes);
    let (Some(_), Some(hardware), Some(_), Some(ethertype)) =
        (cursor.u16(), cursor.u16(), cursor.skip(10), cursor.u16())
    else {
        return Err(DecodeError::LinkTruncated);
    };
    cooked_payload(hardware, ethertype, cursor.rest(), state)
}

/// Linux cooked capture v2: a header of twenty bytes with the type field at its start.
fn cooked2<'a>(bytes: &'a [u8], state: &mut DecodeState) -> Result<Decoded<'a>, DecodeError> {
    let mut cursor = Cursor::new(bytes);
    let (Some(ethertype), Some(_), Some(hardware), Some(_)) =
        (cursor.u16(), cursor.skip(6), cursor.u16(), cursor.skip(10))
    else {
        return Err(DecodeError::LinkTruncated);
    };
    cooked_payload(hardware, ethertype, cursor.rest(), state)
}

fn cooked_payload<'a>(
    hardware: u16,
    ethertype: u16,
    payload: &'a [u8],
    state: &mut DecodeState,
) -> Result<Decoded<'a>, DecodeError> {
    const ARPHRD_IEEE80211_RADIOTAP: u16 = 803;
    const ETH_P_802_2: u16 = 4;
    match (hardware, ethertype) {
        (ARPHRD_IEEE80211_RADIOTAP, _) => wifi::radiotap(payload, state),
        (_, ETH_P_802_2) => link::llc(payload, state),
        (_, 0..=link::LENGTH_MAX) => Err(DecodeError::NotIp),
        _ => link::by_ethertype(ethertype, payload, state),
    }
}

/// PPP, or Cisco HDLC where its address byte tells so.
pub(super) fn ppp_or_hdlc<'a>(bytes: &'a [u8], state: &mut DecodeState) -> Result<Decoded<'a>, DecodeError> {
    match bytes.first() {
        Some(0x0f | 0x8f) => cisco_hdlc(bytes, state),
        _ => shim::ppp(bytes, state),
    }
}

/// Cisco HDLC: address, control, EtherType.
pub(super) fn cisco_hdlc<'a>(bytes: &'a [u8], state: &mut DecodeState) -> Result<Decoded<'a>, DecodeError> {
    let mut cursor = Cursor::new(bytes);
    cursor.skip(2).ok_or(DecodeError::LinkTruncated)?;
    link::ethertype_next(cursor, state)
}

/// Frame relay (RFC 2427): Q.922 address of two to four bytes, then control and network layer protocol identifier,
/// or, as Cisco does it, an EtherType.
pub(super) fn frame_relay<'a>(bytes: &'a [u8], state: &mut DecodeState) -> Result<Decoded<'a>, DecodeError> {
    let address_ends = bytes.iter().take(4).position(|byte| byte & 1 == 1).ok_or(DecodeError::LinkMalformed)?;
    let mut cursor = Cursor::new(bytes.get(address_ends + 1..).unwrap_or_default());
    let cisco = cursor;
    if cursor.u8() != Some(3) {
        return link::ethertype_next(cisco, state);
    }
    if cursor.peek() == Some(0) {
        cursor.u8();
    }
    match cursor.u8() {
        Some(0xcc | 0x8e) => ip::any(cursor.rest(), state),
        Some(0x80) => match (cursor.u24(), cursor.u16()) {
            (Some(0), Some(ethertype)) => link::by_ethertype(ethertype, cursor.rest(), state),
            (Some(0x80c2), Some(7)) => link::ethernet(cursor.rest(), state),
            (_, Some(_)) => Err(DecodeError::NotIp),
            _ => Err(DecodeError::LinkTruncated),
        },
        Some(0xcf) => shim::ppp(cursor.rest(), state),
        Some(_) => Err(DecodeError::NotIp),
        None => Err(DecodeError::LinkTruncated),
    }
}

/// Token Ring (IEEE 802.5): access and frame control, addresses, and the route if the source address says that there is one.
fn token_ring<'a>(bytes: &'a [u8], state: &mut DecodeState) -> Result<Decoded<'a>, DecodeError> {
    const LLC_FRAME: u8 = 0x40;
    const ROUTED: u8 = 0x80;
    const ROUTE_LENGTH: u8 = 0x1f;
    let mut cursor = Cursor::new(bytes);
    let (Some([_, control]), Some(_), Some([source, ..])) = (cursor.array(), cursor.skip(6), cursor.array::<6>())
    else {
        return Err(DecodeError::LinkTruncated);
    };
    if control & 0xc0 != LLC_FRAME {
        return Err(DecodeError::NotIp);
    }
    if source & ROUTED != 0 {
        let route = cursor.peek().ok_or(DecodeError::LinkTruncated)? & ROUTE_LENGTH;
        cursor.skip(route.into()).ok_or(DecodeError::LinkTruncated)?;
    }
    link::llc(cursor.rest(), state)
}

/// SunATM: traffic type, VPI, VCI, then LLC or an Ethernet frame of LAN emulation behind its client's identifier.
fn sun_atm<'a>(bytes: &'a [u8], state: &mut DecodeState) -> Result<Decoded<'a>, DecodeError> {
    const LAN_EMULATION: u8 = 1;
    const LLC: u8 = 2;
    let Some((&[traffic, ..], payload)) = bytes.split_first_chunk::<4>() else {
        return Err(DecodeError::LinkTruncated);
    };
    match traffic & 0x0f {
        LAN_EMULATION => link::ethernet(payload.get(2..).ok_or(DecodeError::LinkTruncated)?, state),
        LLC => link::llc(payload, state),
        _ => Err(DecodeError::NotIp),
    }
}

/// IP over InfiniBand (RFC 4391 §6): EtherType and a reserved field, behind a pseudo-header of forty bytes or not.
fn infiniband<'a>(bytes: &'a [u8], state: &mut DecodeState) -> Result<Decoded<'a>, DecodeError> {
    const PSEUDO_HEADER_LENGTH: usize = 40;
    let header = match bytes {
        [0x08, 0x00, 0, 0, ..] | [0x86, 0xdd, 0, 0, ..] => bytes,
        _ => bytes.get(PSEUDO_HEADER_LENGTH..).ok_or(DecodeError::LinkTruncated)?,
    };
    match header.split_first_chunk() {
        Some((&[t0, t1, _, _], payload)) => link::by_ethertype(u16::from_be_bytes([t0, t1]), payload, state),
        None => Err(DecodeError::LinkTruncated),
    }
}

/// ARCNET from its protocol byte on (RFC 1201, RFC 1051, RFC 2497). Of a split packet the first part is read.
fn arcnet<'a>(bytes: &'a [u8], state: &mut DecodeState) -> Result<Decoded<'a>, DecodeError> {
    const IP_RFC1051: u8 = 240;
    const IP_RFC1201: u8 = 212;
    const IPV6: u8 = 196;
    const EXCEPTION: u8 = 0xff;
    let mut cursor = Cursor::new(bytes);
    match cursor.u8().ok_or(DecodeError::LinkTruncated)? {
        IP_RFC1051 => return ip::any(cursor.rest(), state),
        IP_RFC1201 | IPV6 => {}
        _ => return Err(DecodeError::NotIp),
    }
    let mut split = cursor.u8().ok_or(DecodeError::LinkTruncated)?;
    if split == EXCEPTION {
        // Two bytes of padding and the protocol again, so that the frame has no forbidden length.
        cursor.skip(3).ok_or(DecodeError::LinkTruncated)?;
        split = cursor.u8().ok_or(DecodeError::LinkTruncated)?;
    }
    cursor.skip(2).ok_or(DecodeError::LinkTruncated)?;
    match split {
        0 => ip::any(cursor.rest(), state),
        first if first & 1 == 1 => {
            state.truncated = true;
            ip::any(cursor.rest(), state)
        }
        _ => Err(DecodeError::NotIp),
    }
}

/// An mPacket (IEEE 802.3 §99.3): preamble, start delimiter, an Ethernet frame or the first part of one.
fn mpacket<'a>(bytes: &'a [u8], state: &mut DecodeState) -> Result<Decoded<'a>, DecodeError> {
    const PREAMBLE: u8 = 0x55;
    const EXPRESS: u8 = 0xd5;
    const PREEMPTABLE: [u8; 4] = [0xe6, 0x4c, 0x7f, 0xb3];
    let start = bytes.iter().take(8).position(|&byte| byte != PREAMBLE).ok_or(DecodeError::LinkMalformed)?;
    let (&delimiter, frame) = bytes.get(start..).and_then(<[u8]>::split_first).ok_or(DecodeError::LinkTruncated)?;
    match delimiter {
        EXPRESS => link::ethernet(frame, state),
        start if PREEMPTABLE.contains(&start) => {
            // The rest may come in later mPackets.
            state.truncated = true;
            link::ethernet(frame, state)
        }
        _ => Err(DecodeError::NotIp),
    }
}
