//! Encapsulations between link layer and IP: MPLS, PPPoE and PPP, provider backbone bridges, service function chains,
//! TRILL; and MACsec without encryption.

use vigie_wire::Cursor;

use super::state::DecodeState;
use super::{DecodeError, Decoded, TunnelKind, ip, link};

/// An MPLS label stack (RFC 3032). It has no type field: the payload is IP by its first nibble, else a pseudowire
/// (RFC 4385, RFC 4448) with or without control word.
pub(super) fn mpls<'a>(bytes: &'a [u8], state: &mut DecodeState) -> Result<Decoded<'a>, DecodeError> {
    state.enter_tunnel(TunnelKind::Mpls)?;
    let mut cursor = Cursor::new(bytes);
    loop {
        state.count_tag()?;
        let label = cursor.u32().ok_or(DecodeError::ShimTruncated)?;
        if label & 0x100 != 0 {
            break;
        }
    }
    let payload = cursor.rest();
    match cursor.peek().ok_or(DecodeError::ShimTruncated)? >> 4 {
        4 | 6 => state.try_either(
            |state| {
                state.try_either(|state| ip::any_if_plausible(payload, state), |state| link::ethernet(payload, state))
            },
            |state| ip::any(payload, state),
        ),
        0 => state.try_either(
            |state| link::ethernet(payload.get(4..).unwrap_or_default(), state),
            |state| link::ethernet(payload, state),
        ),
        _ => link::ethernet(payload, state),
    }
}

/// A PPPoE session (RFC 2516 §4). Its length field is not used: the packet inside has its own.
pub(super) fn pppoe<'a>(bytes: &'a [u8], state: &mut DecodeState) -> Result<Decoded<'a>, DecodeError> {
    let mut cursor = Cursor::new(bytes);
    let (Some(version_and_type), Some(code), Some(_)) = (cursor.u8(), cursor.u8(), cursor.u32()) else {
        return Err(DecodeError::ShimTruncated);
    };
    match (version_and_type, code) {
        (0x11, 0) => {}
        (0x11, _) => return Err(DecodeError::NotIp),
        _ => return Err(DecodeError::ShimMalformed),
    }
    state.enter_tunnel(TunnelKind::Pppoe)?;
    ppp(cursor.rest(), state)
}

/// A PPP frame (RFC 1661, RFC 1662), with or without address and control bytes and the high byte of the protocol.
pub(super) fn ppp<'a>(bytes: &'a [u8], state: &mut DecodeState) -> Result<Decoded<'a>, DecodeError> {
    let mut cursor = Cursor::new(bytes);
    loop {
        state.count_tag()?;
        if cursor.rest().starts_with(&[0xff, 3]) {
            cursor.skip(2);
        }
        match ppp_protocol(&mut cursor).ok_or(DecodeError::ShimTruncated)? {
            0x0021 => return ip::v4(cursor.rest(), state),
            0x0057 => return ip::v6(cursor.rest(), state),
            // Bridging control protocol (RFC 3518 §4.2): flags, MAC type 1, an Ethernet frame.
            0x0031 => match cursor.array() {
                Some([_, 1]) => return link::ethernet(cursor.rest(), state),
                Some(_) => return Err(DecodeError::NotIp),
                None => return Err(DecodeError::ShimTruncated),
            },
            // Multilink (RFC 1990 §3): only packets in one fragment are read.
            0x003d => {
                if cursor.u32().ok_or(DecodeError::ShimTruncated)? >> 30 != 3 {
                    return Err(DecodeError::NotIp);
                }
            }
            0x0281 | 0x0283 => return mpls(cursor.rest(), state),
            0x0053 | 0x0055 => return Err(DecodeError::Encrypted),
            _ => return Err(DecodeError::NotIp),
        }
    }
}

/// The protocol field: one byte if that is odd, else two (RFC 1661 §2, §6.5).
fn ppp_protocol(cursor: &mut Cursor<'_>) -> Option<u16> {
    match cursor.peek()? {
        odd if odd & 1 == 1 => cursor.u8().map(u16::from),
        _ => cursor.u16(),
    }
}

/// A provider backbone bridge's service tag (802.1Q §9.7) and the customer's frame.
pub(super) fn pbb<'a>(bytes: &'a [u8], state: &mut DecodeState) -> Result<Decoded<'a>, DecodeError> {
    let mut cursor = Cursor::new(bytes);
    let tag = cursor.u32().ok_or(DecodeError::ShimTruncated)?;
    state.enter_tunnel(TunnelKind::Pbb)?;
    state.add_network(TunnelKind::Pbb, tag & 0x00ff_ffff);
    link::ethernet(cursor.rest(), state)
}

/// A network service header (RFC 8300 §2.2).
pub(super) fn nsh<'a>(bytes: &'a [u8], state: &mut DecodeState) -> Result<Decoded<'a>, DecodeError> {
    let Some(&[version, length, _, next]) = bytes.first_chunk() else {
        return Err(DecodeError::ShimTruncated);
    };
    let length = usize::from(length & 0x3f) * 4;
    if version >> 6 != 0 || length < 8 {
        return Err(DecodeError::ShimMalformed);
    }
    let payload = bytes.get(length..).ok_or(DecodeError::ShimTruncated)?;
    state.enter_tunnel(TunnelKind::Nsh)?;
    by_next_protocol(next, payload, state)
}

/// The payload by its next-protocol number, which NSH and VXLAN-GPE share.
pub(super) fn by_next_protocol<'a>(
    next: u8,
    payload: &'a [u8],
    state: &mut DecodeState,
) -> Result<Decoded<'a>, DecodeError> {
    match next {
        1 => ip::v4(payload, state),
        2 => ip::v6(payload, state),
        3 => link::ethernet(payload, state),
        4 => nsh(payload, state),
        5 => mpls(payload, state),
        _ => Err(DecodeError::TunnelUnsupported),
    }
}

/// A TRILL header (RFC 6325 §3) and the frame behind it.
pub(super) fn trill<'a>(bytes: &'a [u8], state: &mut DecodeState) -> Result<Decoded<'a>, DecodeError> {
    let mut cursor = Cursor::new(bytes);
    let flags = cursor.u16().ok_or(DecodeError::ShimTruncated)?;
    if flags >> 14 != 0 {
        return Err(DecodeError::ShimMalformed);
    }
    let options = usize::from(flags >> 6 & 0x1f) * 4;
    cursor.skip(4 + options).ok_or(DecodeError::ShimTruncated)?;
    state.enter_tunnel(TunnelKind::Trill)?;
    link::ethernet(cursor.rest(), state)
}

/// A time stamp of Arista's tap aggregation; gives the EtherType that follows.
pub(super) fn arista(cursor: &mut Cursor<'_>) -> Result<Option<u16>, DecodeError> {
    const TIME_STAMP: u16 = 1;
    let (Some(TIME_STAMP), Some([_, format])) = (cursor.u16(), cursor.array()) else {
        return Err(DecodeError::NotIp);
    };
    let length = match format >> 4 {
        1 => 8,
        2 => 6,
        _ => return Err(DecodeError::ShimMalformed),
    };
    Ok(cursor.skip(length).and_then(|()| cursor.u16()))
}

/// A MACsec tag (802.1AE §9) of a frame that is authenticated but not encrypted; gives the EtherType that follows. The
/// integrity check value at the end of the frame lies beyond the packet's own length.
pub(super) fn integrity_only_macsec(cursor: &mut Cursor<'_>) -> Result<Option<u16>, DecodeError> {
    const CHANNEL_IDENTIFIER: u8 = 0x20;
    const ENCRYPTED_OR_CHANGED: u8 = 0x0c;
    let flags = cursor.u8().ok_or(DecodeError::ShimTruncated)?;
    if flags & ENCRYPTED_OR_CHANGED != 0 {
        return Err(DecodeError::Encrypted);
    }
    let rest = if flags & CHANNEL_IDENTIFIER != 0 { 13 } else { 5 };
    Ok(cursor.skip(rest).and_then(|()| cursor.u16()))
}
