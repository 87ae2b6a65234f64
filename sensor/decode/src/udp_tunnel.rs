//! Tunnels over UDP. A port number alone proves nothing (a QUIC client may well send from port 4789): header and inner
//! packet have to be valid, else the datagram is ordinary UDP.

use vigie_wire::Cursor;

use super::ip::{self, IpHeader};
use super::state::DecodeState;
use super::{DecodeError, Decoded, TunnelKind, link, shim, tunnel, wifi};

const L2TP: u16 = 1701;
const GTP_U: u16 = 2152;
const TEREDO: u16 = 3544;
const VXLAN: u16 = 4789;
const VXLAN_GPE: u16 = 4790;
const CAPWAP: u16 = 5247;
const GUE: u16 = 6080;
const GENEVE: u16 = 6081;
const MPLS: u16 = 6635;
const VXLAN_LINUX: u16 = 8472;

/// A cheap first test whether a datagram can be a tunnel.
#[inline]
pub(super) fn may_be((source, destination): (u16, u16), data: &[u8]) -> bool {
    may_be_tunnel_port(source, destination) || fills_like_ipv6(data)
}

/// Whether a datagram between these ports may be a tunnel's whatever it carries.
#[inline]
pub fn may_be_tunnel_port(source: u16, destination: u16) -> bool {
    // The destination port names the tunnel. The source port counts only for protocols that answer from their own port.
    const TO: [u16; 10] = [L2TP, GTP_U, TEREDO, VXLAN, VXLAN_GPE, CAPWAP, GUE, GENEVE, MPLS, VXLAN_LINUX];
    const FROM: [u16; 4] = [L2TP, GTP_U, TEREDO, CAPWAP];
    // All are compared without branches, which would be mispredicted: clients choose their ports at random.
    TO.iter().fold(false, |found, &port| found | (port == destination))
        | FROM.iter().fold(false, |found, &port| found | (port == source))
}

/// Teredo peers talk to each other from any port (RFC 4380 §5.2.4).
#[inline]
fn fills_like_ipv6(data: &[u8]) -> bool {
    const HEADER_LENGTH: usize = 40;
    match data {
        &[0x60..=0x6f, _, _, _, high, low, ..] => {
            usize::from(u16::from_be_bytes([high, low])) + HEADER_LENGTH == data.len()
        }
        _ => false,
    }
}

/// Decodes the tunnel in a datagram; `None` if it is no tunnel that can be decoded.
#[cold]
#[inline(never)]
pub(super) fn open<'a>(
    ports: (u16, u16),
    data: &'a [u8],
    ip_header: &IpHeader<'a>,
    state: &mut DecodeState<'_>,
) -> Option<Result<Decoded<'a>, DecodeError>> {
    let before = *state;
    state.outer = Some((ip_header.source, ip_header.destination));
    state.strict = true;
    match by_port(ports, data, state) {
        Err(error) if error != DecodeError::TooDeep => {
            state.restore(&before);
            None
        }
        opened => Some(opened),
    }
}

fn by_port<'a>(
    (source, destination): (u16, u16),
    data: &'a [u8],
    state: &mut DecodeState<'_>,
) -> Result<Decoded<'a>, DecodeError> {
    match destination {
        VXLAN | VXLAN_LINUX => vxlan(data, state),
        VXLAN_GPE => vxlan_gpe(data, state),
        GENEVE => geneve(data, state),
        MPLS => shim::mpls(data, state),
        GUE => gue(data, state),
        GTP_U => gtp_u(data, state),
        L2TP => l2tp(data, state),
        CAPWAP => capwap(data, state),
        TEREDO => teredo(data, state),
        _ => match source {
            GTP_U => gtp_u(data, state),
            L2TP => l2tp(data, state),
            CAPWAP => capwap(data, state),
            TEREDO => teredo(data, state),
            _ => teredo_between_peers(data, state),
        },
    }
}

/// RFC 7348 §5, with the group policy extension; a next-protocol bit makes it the generic form.
fn vxlan<'a>(data: &'a [u8], state: &mut DecodeState<'_>) -> Result<Decoded<'a>, DecodeError> {
    const GROUP_POLICY: u8 = 0x80;
    const NEXT_PROTOCOL: u8 = 0x04;
    const IDENTIFIER: u8 = 0x08;
    let Some((&[flags, policy, group_high, group_low, v0, v1, v2, reserved], frame)) = data.split_first_chunk() else {
        return Err(DecodeError::TunnelTruncated);
    };
    if flags & NEXT_PROTOCOL != 0 {
        return vxlan_gpe(data, state);
    }
    let grouped = flags & GROUP_POLICY != 0;
    if flags & !GROUP_POLICY != IDENTIFIER || reserved != 0 || (!grouped && [policy, group_high, group_low] != [0; 3]) {
        return Err(DecodeError::TunnelMalformed);
    }
    state.enter_tunnel(TunnelKind::Vxlan)?;
    state.add_network(TunnelKind::Vxlan, u32::from_be_bytes([0, v0, v1, v2]));
    link::ethernet(frame, state)
}

/// draft-ietf-nvo3-vxlan-gpe §3: version, instance, next protocol and OAM bits.
fn vxlan_gpe<'a>(data: &'a [u8], state: &mut DecodeState<'_>) -> Result<Decoded<'a>, DecodeError> {
    const INSTANCE: u8 = 0x08;
    const NEXT_PROTOCOL: u8 = 0x04;
    let Some((&[flags, 0, 0, next, v0, v1, v2, 0], payload)) = data.split_first_chunk() else {
        return Err(DecodeError::TunnelMalformed);
    };
    if flags & !(INSTANCE | NEXT_PROTOCOL) != 0 || flags & INSTANCE == 0 {
        return Err(DecodeError::TunnelMalformed);
    }
    state.enter_tunnel(TunnelKind::VxlanGpe)?;
    state.add_network(TunnelKind::Vxlan, u32::from_be_bytes([0, v0, v1, v2]));
    let next = if flags & NEXT_PROTOCOL == 0 { 3 } else { next };
    shim::by_next_protocol(next, payload, state)
}

/// RFC 8926 §3.4.
fn geneve<'a>(data: &'a [u8], state: &mut DecodeState<'_>) -> Result<Decoded<'a>, DecodeError> {
    let Some((&[length, flags, p0, p1, v0, v1, v2, reserved], rest)) = data.split_first_chunk() else {
        return Err(DecodeError::TunnelTruncated);
    };
    let version = length >> 6;
    if version != 0 || flags & 0x3f != 0 || reserved != 0 {
        return Err(DecodeError::TunnelMalformed);
    }
    let payload = rest.get(usize::from(length & 0x3f) * 4..).ok_or(DecodeError::TunnelTruncated)?;
    state.enter_tunnel(TunnelKind::Geneve)?;
    state.add_network(TunnelKind::Geneve, u32::from_be_bytes([0, v0, v1, v2]));
    match u16::from_be_bytes([p0, p1]) {
        0x6558 => link::ethernet(payload, state),
        protocol => link::by_ethertype(protocol, payload, state),
    }
}

/// A T-PDU of GTP-U (3GPP TS 29.281 §5.1); extension headers are skipped. The tunnel endpoint identifier differs by
/// direction.
fn gtp_u<'a>(data: &'a [u8], state: &mut DecodeState<'_>) -> Result<Decoded<'a>, DecodeError> {
    const VERSION_1_GTP: u8 = 0x30;
    const ANY_OPTION: u8 = 0x07;
    const T_PDU: u8 = 255;
    let mut cursor = Cursor::new(data);
    let (Some(flags), Some(kind), Some(length), Some(_)) = (cursor.u8(), cursor.u8(), cursor.u16(), cursor.u32())
    else {
        return Err(DecodeError::TunnelTruncated);
    };
    let is_short = usize::from(length) > cursor.remaining();
    if flags & !ANY_OPTION != VERSION_1_GTP || kind != T_PDU || (is_short && !state.truncated) {
        return Err(DecodeError::TunnelMalformed);
    }
    if !is_short {
        cursor = Cursor::new(cursor.take(usize::from(length)).unwrap_or_default());
    }
    if flags & ANY_OPTION != 0 {
        gtp_options(flags, &mut cursor).ok_or(DecodeError::TunnelTruncated)?;
    }
    state.enter_tunnel(TunnelKind::GtpU)?;
    let payload = cursor.rest();
    match cursor.peek().map(|byte| byte >> 4) {
        // A 5G session may carry Ethernet, with an address that begins like IP.
        Some(4 | 6) => state.try_either(|state| ip::any(payload, state), |state| link::ethernet(payload, state)),
        _ => link::ethernet(payload, state),
    }
}

/// Sequence number, N-PDU number, and a chain of extension headers, lengths in words of four bytes.
fn gtp_options(flags: u8, cursor: &mut Cursor<'_>) -> Option<()> {
    const EXTENSION: u8 = 0x04;
    cursor.skip(3)?;
    let mut next = cursor.u8()?;
    while flags & EXTENSION != 0 && next != 0 {
        let content = (usize::from(cursor.u8()?) * 4).checked_sub(2)?;
        cursor.skip(content)?;
        next = cursor.u8()?;
    }
    Some(())
}

/// Authentication and origin indication (RFC 4380 §5.1.1), then IPv6.
fn teredo<'a>(data: &'a [u8], state: &mut DecodeState<'_>) -> Result<Decoded<'a>, DecodeError> {
    let mut cursor = Cursor::new(data);
    if cursor.rest().starts_with(&[0, 1]) {
        teredo_authentication(&mut cursor).ok_or(DecodeError::TunnelTruncated)?;
    }
    if cursor.rest().starts_with(&[0, 0]) {
        cursor.skip(8).ok_or(DecodeError::TunnelTruncated)?;
    }
    state.enter_tunnel(TunnelKind::Teredo)?;
    ip::v6(cursor.rest(), state)
}

fn teredo_authentication(cursor: &mut Cursor<'_>) -> Option<()> {
    const NONCE_AND_CONFIRMATION: usize = 9;
    cursor.skip(2)?;
    let (client, value) = (cursor.u8()?, cursor.u8()?);
    cursor.skip(usize::from(client) + usize::from(value) + NONCE_AND_CONFIRMATION)
}

/// On any port, one of the addresses inside has to be Teredo's own (RFC 4380 §2.6).
fn teredo_between_peers<'a>(data: &'a [u8], state: &mut DecodeState<'_>) -> Result<Decoded<'a>, DecodeError> {
    const PREFIX: [u8; 4] = [0x20, 0x01, 0, 0];
    let has_prefix = |at: usize| data.get(at..).is_some_and(|address| address.starts_with(&PREFIX));
    if !has_prefix(8) && !has_prefix(24) {
        return Err(DecodeError::TunnelMalformed);
    }
    state.enter_tunnel(TunnelKind::Teredo)?;
    ip::v6(data, state)
}

/// A data message of L2TPv2 (RFC 2661 §3.1), or of L2TPv3 over UDP (RFC 3931 §4.1.2.1).
fn l2tp<'a>(data: &'a [u8], state: &mut DecodeState<'_>) -> Result<Decoded<'a>, DecodeError> {
    const CONTROL: u16 = 0x8000;
    const LENGTH: u16 = 0x4000;
    const SEQUENCE: u16 = 0x0800;
    const OFFSET: u16 = 0x0200;
    const RESERVED: u16 = 0x34f0;
    let mut cursor = Cursor::new(data);
    let flags = cursor.u16().ok_or(DecodeError::TunnelTruncated)?;
    if flags & (CONTROL | RESERVED) != 0 {
        return Err(DecodeError::TunnelMalformed);
    }
    match flags & 0xf {
        2 => {}
        3 if flags == 3 && cursor.u16() == Some(0) => return tunnel::l2tp_v3(cursor.rest(), state),
        _ => return Err(DecodeError::TunnelUnsupported),
    }
    if flags & LENGTH != 0 {
        let length = usize::from(cursor.u16().ok_or(DecodeError::TunnelTruncated)?);
        match length.checked_sub(4).and_then(|rest| cursor.take(rest)) {
            Some(rest) => cursor = Cursor::new(rest),
            None if state.truncated => {}
            None => return Err(DecodeError::TunnelMalformed),
        }
    }
    let sequence = if flags & SEQUENCE != 0 { 4 } else { 0 };
    cursor.skip(4 + sequence).ok_or(DecodeError::TunnelTruncated)?;
    if flags & OFFSET != 0 {
        cursor.vector16().ok_or(DecodeError::TunnelTruncated)?;
    }
    state.enter_tunnel(TunnelKind::L2tp)?;
    shim::ppp(cursor.rest(), state)
}

/// A data message of CAPWAP that DTLS does not hide (RFC 5415 §4.3), whole: an Ethernet or an 802.11 frame.
fn capwap<'a>(data: &'a [u8], state: &mut DecodeState<'_>) -> Result<Decoded<'a>, DecodeError> {
    const NATIVE_FRAME: u8 = 0x01;
    const FRAGMENT: u8 = 0x80;
    let Some(&[preamble, length, binding, flags]) = data.first_chunk() else {
        return Err(DecodeError::TunnelTruncated);
    };
    let header_length = usize::from(length >> 3) * 4;
    if preamble != 0 || header_length < 8 {
        return Err(DecodeError::TunnelMalformed);
    }
    if flags & FRAGMENT != 0 {
        return Err(DecodeError::TunnelUnsupported);
    }
    let payload = data.get(header_length..).ok_or(DecodeError::TunnelTruncated)?;
    state.enter_tunnel(TunnelKind::Capwap)?;
    if binding & NATIVE_FRAME == 0 { link::ethernet(payload, state) } else { wifi::frame(payload, state) }
}

/// Generic UDP encapsulation (draft-ietf-intarea-gue §3): a header with an IP protocol number, or bare IP.
fn gue<'a>(data: &'a [u8], state: &mut DecodeState<'_>) -> Result<Decoded<'a>, DecodeError> {
    const CONTROL: u8 = 0x20;
    let Some(&[first, protocol, _, _]) = data.first_chunk() else {
        return Err(DecodeError::TunnelTruncated);
    };
    let payload = match first >> 6 {
        0 if first & CONTROL == 0 => data.get(usize::from(first & 0x1f) * 4 + 4..),
        1 => Some(data),
        _ => None,
    };
    let payload = payload.ok_or(DecodeError::TunnelMalformed)?;
    state.enter_tunnel(TunnelKind::Gue)?;
    match (first >> 6, protocol) {
        (1, _) => ip::any(payload, state),
        (_, 4) => ip::v4(payload, state),
        (_, 41) => ip::v6(payload, state),
        (_, 137) => shim::mpls(payload, state),
        _ => Err(DecodeError::TunnelUnsupported),
    }
}
