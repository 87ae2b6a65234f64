//! Link layers: the first header of a frame, by the capture's link type, and the EtherTypes.

use etherparse::Ethernet2HeaderSlice;

use vigie_wire::Cursor;
use vigie_wire::LinkType;

use super::state::DecodeState;
use super::{DecodeError, Decoded, ip, shim, wifi};

const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;

/// An Ethernet frame.
#[inline]
pub(super) fn ethernet<'a>(bytes: &'a [u8], state: &mut DecodeState<'_>) -> Result<Decoded<'a>, DecodeError> {
    let header = Ethernet2HeaderSlice::from_slice(bytes).map_err(|_| DecodeError::LinkTruncated)?;
    let payload = bytes.get(header.slice().len()..).unwrap_or_default();
    match header.ether_type().0 {
        IPV4 => ip::v4(payload, state),
        IPV6 => ip::v6(payload, state),
        other => by_ethertype(other, payload, state),
    }
}

/// The payload of an EtherType. Tags are skipped; those of VLANs become part of the encapsulation.
#[cold]
#[inline(never)]
pub(super) fn by_ethertype<'a>(
    mut ethertype: u16,
    payload: &'a [u8],
    state: &mut DecodeState<'_>,
) -> Result<Decoded<'a>, DecodeError> {
    let mut cursor = Cursor::new(payload);
    loop {
        state.count_tag()?;
        let next = match ethertype {
            IPV4 => return ip::v4(cursor.rest(), state),
            IPV6 => return ip::v6(cursor.rest(), state),
            // 802.1Q, 802.1ad, and the ones used before it.
            0x8100 | 0x88a8 | 0x9100 | 0x9200 | 0x9300 => cursor.u16().and_then(|tag| {
                state.add_vlan(tag);
                cursor.u16()
            }),
            // Cisco MetaData (security group tag): version, length in words of four bytes, options, EtherType.
            0x8909 => cursor.skip(1).and_then(|()| cursor.u8()).and_then(|words| {
                cursor.skip(usize::from(words) * 4)?;
                cursor.u16()
            }),
            // VN-Tag, and the E-tag of 802.1BR.
            0x8926 => cursor.skip(4).and_then(|()| cursor.u16()),
            0x893f => cursor.skip(6).and_then(|()| cursor.u16()),
            0x88e5 => shim::integrity_only_macsec(&mut cursor)?,
            other => return by_shim(other, cursor.rest(), state),
        };
        ethertype = next.ok_or(DecodeError::ShimTruncated)?;
    }
}

/// EtherTypes other than IP and tags.
fn by_shim<'a>(ethertype: u16, payload: &'a [u8], state: &mut DecodeState<'_>) -> Result<Decoded<'a>, DecodeError> {
    match ethertype {
        0..=LENGTH_MAX => llc(payload.get(..usize::from(ethertype)).unwrap_or(payload), state),
        0x8870 => llc(payload, state),
        0x8847 | 0x8848 => shim::mpls(payload, state),
        0x8864 => shim::pppoe(payload, state),
        0x880b => shim::ppp(payload, state),
        0x88e7 => shim::pbb(payload, state),
        0x894f => shim::nsh(payload, state),
        0x22f3 => shim::trill(payload, state),
        0x8903 => ethernet(payload.get(2..).ok_or(DecodeError::ShimTruncated)?, state),
        0x6558 => ethernet(payload, state),
        _ => Err(DecodeError::NotIp),
    }
}

/// A type field up to this is a length (802.3 §3.2.6).
const LENGTH_MAX: u16 = 1500;
const TYPE_MIN: u16 = LENGTH_MAX + 1;

/// IEEE 802.2 LLC, with or without SNAP.
pub(super) fn llc<'a>(bytes: &'a [u8], state: &mut DecodeState<'_>) -> Result<Decoded<'a>, DecodeError> {
    let mut cursor = Cursor::new(bytes);
    let header = cursor.array::<3>().ok_or(DecodeError::LinkTruncated)?;
    match header {
        [0xaa, 0xaa, 3] => {
            let (Some(organisation), Some(protocol)) = (cursor.u24(), cursor.u16()) else {
                return Err(DecodeError::LinkTruncated);
            };
            match (organisation, protocol) {
                // RFC 1042, and the bridge-tunnel encapsulation of 802.1H.
                (0 | 0xf8, TYPE_MIN..) => by_ethertype(protocol, cursor.rest(), state),
                // RFC 2684 §5.2: bridged Ethernet, without frame check sequence behind it.
                (0x80c2, 7) => ethernet(cursor.rest(), state),
                _ => Err(DecodeError::NotIp),
            }
        }
        [6, 6, 3] => ip::any(cursor.rest(), state),
        // ISO network layer protocol identifier of IP.
        [0xfe, 0xfe, 3] if cursor.u8() == Some(0xcc) => ip::any(cursor.rest(), state),
        _ => Err(DecodeError::NotIp),
    }
}

/// The link layers other than Ethernet.
#[inline(never)]
pub(super) fn non_ethernet<'a>(
    link_type: LinkType,
    bytes: &'a [u8],
    state: &mut DecodeState<'_>,
) -> Result<Decoded<'a>, DecodeError> {
    let skip = |count: usize| bytes.get(count..).ok_or(DecodeError::LinkTruncated);
    match link_type {
        LinkType::ETHERNET => ethernet(bytes, state),
        // 12 and 14 are what BSD systems write for raw IP.
        LinkType::RAW | LinkType(12 | 14) => ip::any(bytes, state),
        LinkType::IPV4 => ip::v4(bytes, state),
        LinkType::IPV6 => ip::v6(bytes, state),
        LinkType::NULL | LinkType::LOOP => loopback(bytes, 4, state),
        ENC => loopback(bytes, 12, state),
        LinkType::LINUX_SLL => cooked(bytes, state),
        LinkType::LINUX_SLL2 => cooked2(bytes, state),
        LinkType::PPP | LinkType::PPP_HDLC => match bytes.first() {
            Some(0x0f | 0x8f) => cisco_hdlc(bytes, state),
            _ => shim::ppp(bytes, state),
        },
        PPP_WITH_DIRECTION => shim::ppp(skip(1)?, state),
        LinkType::PPPOE => shim::pppoe(bytes, state),
        LinkType::C_HDLC => cisco_hdlc(bytes, state),
        FRAME_RELAY => frame_relay(bytes, state),
        FDDI => llc(skip(13)?, state),
        ATM_RFC1483 => llc(bytes, state),
        WIFI => wifi::frame(bytes, state),
        WIFI_PRISM => wifi::frame(skip(144)?, state),
        WIFI_RADIOTAP => wifi::radiotap(bytes, state),
        WIFI_AVS => wifi::avs(bytes, state),
        PPI => per_packet_information(bytes, state),
        MPLS => shim::mpls(bytes, state),
        IPNET => ip::any(skip(24)?, state),
        NFLOG => nflog(bytes, state),
        NETANALYZER => ethernet(skip(4)?, state),
        _ => Err(DecodeError::LinkUnsupported),
    }
}

const FDDI: LinkType = LinkType(10);
const ATM_RFC1483: LinkType = LinkType(100);
const WIFI: LinkType = LinkType(105);
const FRAME_RELAY: LinkType = LinkType(107);
const ENC: LinkType = LinkType(109);
const WIFI_PRISM: LinkType = LinkType(119);
const WIFI_RADIOTAP: LinkType = LinkType(127);
const WIFI_AVS: LinkType = LinkType(163);
const PPI: LinkType = LinkType(192);
const PPP_WITH_DIRECTION: LinkType = LinkType(204);
const MPLS: LinkType = LinkType(219);
const IPNET: LinkType = LinkType(226);
const NFLOG: LinkType = LinkType(239);
const NETANALYZER: LinkType = LinkType(240);

/// BSD loopback: an address family in whichever byte order the capturing machine had.
fn loopback<'a>(bytes: &'a [u8], header: usize, state: &mut DecodeState<'_>) -> Result<Decoded<'a>, DecodeError> {
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
fn cooked<'a>(bytes: &'a [u8], state: &mut DecodeState<'_>) -> Result<Decoded<'a>, DecodeError> {
    let mut cursor = Cursor::new(bytes);
    let (Some(_), Some(hardware), Some(_), Some(ethertype)) =
        (cursor.u16(), cursor.u16(), cursor.skip(10), cursor.u16())
    else {
        return Err(DecodeError::LinkTruncated);
    };
    cooked_payload(hardware, ethertype, cursor.rest(), state)
}

/// Linux cooked capture v2: a header of twenty bytes with the type field at its start.
fn cooked2<'a>(bytes: &'a [u8], state: &mut DecodeState<'_>) -> Result<Decoded<'a>, DecodeError> {
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
    state: &mut DecodeState<'_>,
) -> Result<Decoded<'a>, DecodeError> {
    const ARPHRD_IEEE80211_RADIOTAP: u16 = 803;
    const ETH_P_802_2: u16 = 4;
    match (hardware, ethertype) {
        (ARPHRD_IEEE80211_RADIOTAP, _) => wifi::radiotap(payload, state),
        (_, ETH_P_802_2) => llc(payload, state),
        (_, 0..=LENGTH_MAX) => Err(DecodeError::NotIp),
        _ => by_ethertype(ethertype, payload, state),
    }
}

/// Cisco HDLC: address, control, EtherType.
fn cisco_hdlc<'a>(bytes: &'a [u8], state: &mut DecodeState<'_>) -> Result<Decoded<'a>, DecodeError> {
    let mut cursor = Cursor::new(bytes);
    cursor.skip(2).ok_or(DecodeError::LinkTruncated)?;
    ethertype_next(cursor, state)
}

/// Frame relay (RFC 2427): Q.922 address of two to four bytes, then control and network layer protocol identifier,
/// or, as Cisco does it, an EtherType.
pub(super) fn frame_relay<'a>(bytes: &'a [u8], state: &mut DecodeState<'_>) -> Result<Decoded<'a>, DecodeError> {
    let address_ends = bytes.iter().take(4).position(|byte| byte & 1 == 1).ok_or(DecodeError::LinkMalformed)?;
    let mut cursor = Cursor::new(bytes.get(address_ends + 1..).unwrap_or_default());
    let cisco = cursor;
    if cursor.u8() != Some(3) {
        return ethertype_next(cisco, state);
    }
    if cursor.peek() == Some(0) {
        cursor.u8();
    }
    match cursor.u8() {
        Some(0xcc | 0x8e) => ip::any(cursor.rest(), state),
        Some(0x80) => match (cursor.u24(), cursor.u16()) {
            (Some(0), Some(ethertype)) => by_ethertype(ethertype, cursor.rest(), state),
            (Some(0x80c2), Some(7)) => ethernet(cursor.rest(), state),
            (_, Some(_)) => Err(DecodeError::NotIp),
            _ => Err(DecodeError::LinkTruncated),
        },
        Some(0xcf) => shim::ppp(cursor.rest(), state),
        Some(_) => Err(DecodeError::NotIp),
        None => Err(DecodeError::LinkTruncated),
    }
}

fn ethertype_next<'a>(mut cursor: Cursor<'a>, state: &mut DecodeState<'_>) -> Result<Decoded<'a>, DecodeError> {
    match cursor.u16().ok_or(DecodeError::LinkTruncated)? {
        0..=LENGTH_MAX => Err(DecodeError::NotIp),
        ethertype => by_ethertype(ethertype, cursor.rest(), state),
    }
}

/// Per-packet information: a little-endian length, and the link type of what follows.
fn per_packet_information<'a>(bytes: &'a [u8], state: &mut DecodeState<'_>) -> Result<Decoded<'a>, DecodeError> {
    let Some(&[_, _, l0, l1, t0, t1, t2, t3]) = bytes.first_chunk() else {
        return Err(DecodeError::LinkTruncated);
    };
    let length = usize::from(u16::from_le_bytes([l0, l1]));
    let payload = bytes.get(length.max(8)..).ok_or(DecodeError::LinkTruncated)?;
    match u16::try_from(u32::from_le_bytes([t0, t1, t2, t3])).map(LinkType) {
        // Real captures do not nest it, and nesting it would make the recursion unbounded.
        Ok(PPI) | Err(_) => Err(DecodeError::LinkUnsupported),
        Ok(link_type) => non_ethernet(link_type, payload, state),
    }
}

/// Netfilter log: attributes with lengths in the byte order of the capturing machine; one of them is the packet.
fn nflog<'a>(bytes: &'a [u8], state: &mut DecodeState<'_>) -> Result<Decoded<'a>, DecodeError> {
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
