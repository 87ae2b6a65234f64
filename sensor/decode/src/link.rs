//! Ethernet: EtherTypes, tags, and LLC.

use etherparse::Ethernet2HeaderSlice;

use vigie_wire::Cursor;

use super::state::DecodeState;
use super::{DecodeError, Decoded, ip, shim};

const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;

/// An Ethernet frame.
#[inline]
pub(super) fn ethernet<'a>(bytes: &'a [u8], state: &mut DecodeState) -> Result<Decoded<'a>, DecodeError> {
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
    state: &mut DecodeState,
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
            // High-availability seamless redundancy (IEC 62439-3): path and size, sequence number.
            0x892f => cursor.skip(4).and_then(|()| cursor.u16()),
            // Cisco TTag: a time stamp of 48 bits.
            0x8988 => cursor.skip(6).and_then(|()| cursor.u16()),
            0xd28b => shim::arista(&mut cursor)?,
            0x88e5 => shim::integrity_only_macsec(&mut cursor)?,
            other => return by_shim(other, cursor.rest(), state),
        };
        ethertype = next.ok_or(DecodeError::ShimTruncated)?;
    }
}

/// EtherTypes other than IP and tags.
fn by_shim<'a>(ethertype: u16, payload: &'a [u8], state: &mut DecodeState) -> Result<Decoded<'a>, DecodeError> {
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
pub(super) const LENGTH_MAX: u16 = 1500;
const TYPE_MIN: u16 = LENGTH_MAX + 1;

/// IEEE 802.2 LLC, with or without SNAP.
pub(super) fn llc<'a>(bytes: &'a [u8], state: &mut DecodeState) -> Result<Decoded<'a>, DecodeError> {
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

/// The EtherType that is next, and its payload.
pub(super) fn ethertype_next<'a>(mut cursor: Cursor<'a>, state: &mut DecodeState) -> Result<Decoded<'a>, DecodeError> {
    match cursor.u16().ok_or(DecodeError::LinkTruncated)? {
        0..=LENGTH_MAX => Err(DecodeError::NotIp),
        ethertype => by_ethertype(ethertype, cursor.rest(), state),
    }
}
