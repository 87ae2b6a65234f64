//! Generic routing encapsulation (RFC 2784, RFC 2890), its enhanced form for PPTP (RFC 2637), and the tunnels that are
//! named by its protocol field: ERSPAN, WCCP, MikroTik's Ethernet over IP.

use vigie_wire::Cursor;

use super::state::DecodeState;
use super::{DecodeError, Decoded, TunnelKind, ip, link, link_type, shim, wifi};

const CHECKSUM: u16 = 0x8000;
const ROUTING: u16 = 0x4000;
const KEY: u16 = 0x2000;
const SEQUENCE: u16 = 0x1000;
const ACKNOWLEDGMENT: u16 = 0x0080;
const VERSION: u16 = 0x0007;

const WCCP: u16 = 0x883e;
const PPP: u16 = 0x880b;
const ERSPAN: u16 = 0x88be;
const ERSPAN_III: u16 = 0x22eb;
const EOIP: u16 = 0x6400;
const FRAME_RELAY: u16 = 0x6559;
/// Access points of Aruba send the frames of one radio or queue under each of these numbers.
const ARUBA: std::ops::RangeInclusive<u16> = 0x8200..=0x83ff;
const ARUBA_LAST: u16 = 0x9000;

/// Whether there is a payload: PPTP sends bare acknowledgements, routers send empty keep-alives.
pub(super) fn carries_a_packet(payload: &[u8]) -> bool {
    let mut cursor = Cursor::new(payload);
    match (cursor.u16(), cursor.u16()) {
        (Some(flags), Some(PPP)) if flags & VERSION == 1 => flags & SEQUENCE != 0,
        (Some(_), Some(0)) => false,
        _ => true,
    }
}

/// Opens a GRE packet.
pub(super) fn open<'a>(payload: &'a [u8], state: &mut DecodeState) -> Result<Decoded<'a>, DecodeError> {
    let mut cursor = Cursor::new(payload);
    let (Some(flags), Some(protocol)) = (cursor.u16(), cursor.u16()) else {
        return Err(DecodeError::TunnelTruncated);
    };
    match (flags & VERSION, protocol) {
        (0, _) => plain(flags, protocol, cursor, state),
        (1, PPP) => pptp(flags, cursor, state),
        (1, EOIP) => eoip(cursor, state),
        _ => Err(DecodeError::TunnelUnsupported),
    }
}

fn plain<'a>(
    flags: u16,
    protocol: u16,
    mut cursor: Cursor<'a>,
    state: &mut DecodeState,
) -> Result<Decoded<'a>, DecodeError> {
    state.enter_tunnel(match protocol {
        ERSPAN | ERSPAN_III => TunnelKind::Erspan,
        WCCP => TunnelKind::Wccp,
        _ => TunnelKind::Gre,
    })?;
    optional_fields(flags, &mut cursor, state).ok_or(DecodeError::TunnelTruncated)?;
    let payload = cursor.rest();
    match protocol {
        ERSPAN | ERSPAN_III => erspan(protocol, flags, payload, state),
        ARUBA_LAST => wifi::frame(payload, state),
        aruba if ARUBA.contains(&aruba) => wifi::frame(payload, state),
        WCCP => wccp(payload, state),
        FRAME_RELAY => link_type::frame_relay(payload, state),
        PPP => shim::ppp(payload, state),
        _ => link::by_ethertype(protocol, payload, state),
    }
}

/// Checksum, key, sequence and source routes (RFC 1701).
fn optional_fields(flags: u16, cursor: &mut Cursor<'_>, state: &mut DecodeState) -> Option<()> {
    if flags & (CHECKSUM | ROUTING) != 0 {
        cursor.skip(4)?;
    }
    if flags & KEY != 0 {
        let key = cursor.u32()?;
        state.add_network(TunnelKind::Gre, key);
    }
    if flags & SEQUENCE != 0 {
        cursor.skip(4)?;
    }
    if flags & ROUTING != 0 {
        // Entries of family, offset, length; a null entry is the last.
        loop {
            let (family, _, length) = (cursor.u16()?, cursor.u8()?, cursor.u8()?);
            if family == 0 && length == 0 {
                break;
            }
            cursor.skip(usize::from(length))?;
        }
    }
    Some(())
}

/// A mirrored frame: type I has no header, type II eight bytes, type III twelve and perhaps eight more. Types II and III
/// should come with a sequence number (draft-foschiano-erspan §4), but some devices leave it out.
fn erspan<'a>(
    protocol: u16,
    flags: u16,
    payload: &'a [u8],
    state: &mut DecodeState,
) -> Result<Decoded<'a>, DecodeError> {
    let version = payload.first().ok_or(DecodeError::TunnelTruncated)? >> 4;
    match (protocol, version) {
        (ERSPAN_III, 2) => erspan_iii(payload, state),
        (ERSPAN, _) if flags & SEQUENCE == 0 => match version {
            1 => state.try_either(|state| link::ethernet(payload, state), |state| erspan_ii(payload, state)),
            _ => link::ethernet(payload, state),
        },
        (ERSPAN, 1) => erspan_ii(payload, state),
        (ERSPAN, 2) => erspan_iii(payload, state),
        _ => link::ethernet(payload, state),
    }
}

fn erspan_ii<'a>(payload: &'a [u8], state: &mut DecodeState) -> Result<Decoded<'a>, DecodeError> {
    link::ethernet(payload.get(8..).ok_or(DecodeError::TunnelTruncated)?, state)
}

fn erspan_iii<'a>(payload: &'a [u8], state: &mut DecodeState) -> Result<Decoded<'a>, DecodeError> {
    const IP_FRAME: u8 = 2;
    let mut cursor = Cursor::new(payload);
    let (Some(_), Some([kind, options])) = (cursor.skip(10), cursor.array()) else {
        return Err(DecodeError::TunnelTruncated);
    };
    if options & 1 == 1 {
        cursor.skip(8).ok_or(DecodeError::TunnelTruncated)?;
    }
    match kind >> 2 & 0x1f {
        IP_FRAME => ip::any(cursor.rest(), state),
        _ => link::ethernet(cursor.rest(), state),
    }
}

/// A redirected packet; version 2 of the protocol puts four bytes in front.
fn wccp<'a>(payload: &'a [u8], state: &mut DecodeState) -> Result<Decoded<'a>, DecodeError> {
    match payload.first().map(|byte| byte >> 4) {
        Some(4 | 6) => state
            .try_either(|state| ip::any(payload, state), |state| ip::any(payload.get(4..).unwrap_or_default(), state)),
        _ => ip::any(payload.get(4..).ok_or(DecodeError::TunnelTruncated)?, state),
    }
}

/// RFC 2637 §4.1: payload length and call, then sequence and acknowledgement as flagged. The call identifier differs by
/// direction.
fn pptp<'a>(flags: u16, mut cursor: Cursor<'a>, state: &mut DecodeState) -> Result<Decoded<'a>, DecodeError> {
    let acknowledgment = if flags & ACKNOWLEDGMENT != 0 { 4 } else { 0 };
    let sequence = if flags & SEQUENCE != 0 { 4 } else { 0 };
    cursor.skip(4 + sequence + acknowledgment).ok_or(DecodeError::TunnelTruncated)?;
    state.enter_tunnel(TunnelKind::Gre)?;
    shim::ppp(cursor.rest(), state)
}

/// MikroTik's Ethernet over IP: length, and the tunnel's little-endian identifier, which is the same in both directions.
fn eoip<'a>(mut cursor: Cursor<'a>, state: &mut DecodeState) -> Result<Decoded<'a>, DecodeError> {
    let (Some(_), Some(tunnel)) = (cursor.u16(), cursor.array()) else {
        return Err(DecodeError::TunnelTruncated);
    };
    state.enter_tunnel(TunnelKind::EoIp)?;
    state.add_network(TunnelKind::EoIp, u32::from(u16::from_le_bytes(tunnel)));
    link::ethernet(cursor.rest(), state)
}
