//! Tunnels over UDP. A port number alone proves nothing (a QUIC client may well send from port 4789): header and inner
//! packet have to be valid, else the datagram is ordinary UDP.

use vigie_wire::Cursor;

use super::ip::{self, IpHeader};
use super::state::DecodeState;
use super::{DecodeError, Decoded, TunnelKind, capwap, gre, link, mirror, shim, tunnel};

const L2TP: u16 = 1701;
const GTP_U: u16 = 2152;
const TEREDO: u16 = 3544;
const LISP: u16 = 4341;
const GRE: u16 = 4754;
const VXLAN: u16 = 4789;
const VXLAN_GPE: u16 = 4790;
const AYIYA: u16 = 5072;
const CAPWAP: u16 = 5247;
const GUE: u16 = 6080;
const GENEVE: u16 = 6081;
const MPLS: u16 = 6635;
const HP_ERM: u16 = 7932;
const VXLAN_LINUX: u16 = 8472;
const JMIRROR: u16 = 30_030;
const TZSP: u16 = 37_008;

/// A cheap first test whether a datagram can be a tunnel.
#[inline]
pub(super) fn may_be((source, destination): (u16, u16), data: &[u8]) -> bool {
    may_be_tunnel_port(source, destination) || fills_like_ipv6(data)
}

/// Whether a datagram between these ports may be a tunnel's whatever it carries. The destination port names the tunnel; some
/// senders send from that port, too, and to another one.
#[inline]
pub fn may_be_tunnel_port(source: u16, destination: u16) -> bool {
    const PORTS: [u16; 16] = [
        L2TP,
        GTP_U,
        TEREDO,
        LISP,
        GRE,
        VXLAN,
        VXLAN_GPE,
        AYIYA,
        CAPWAP,
        GUE,
        GENEVE,
        MPLS,
        HP_ERM,
        VXLAN_LINUX,
        JMIRROR,
        TZSP,
    ];
    // All are compared without branches, which would be mispredicted: clients choose their ports at random.
    PORTS.iter().fold(false, |found, &port| found | (port == destination) | (port == source))
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
    state: &mut DecodeState,
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

/// Reads the tunnel of the destination port, else that of the source port.
fn by_port<'a>(ports: (u16, u16), data: &'a [u8], state: &mut DecodeState) -> Result<Decoded<'a>, DecodeError> {
    let (source, destination) = ports;
    let before = *state;
    match of_port(destination, ports, data, state) {
        Some(Err(error)) if error != DecodeError::TooDeep => {
            state.restore(&before);
            of_port(source, ports, data, state).unwrap_or(Err(error))
        }
        Some(done) => done,
        None => of_port(source, ports, data, state).unwrap_or_else(|| teredo_between_peers(data, state)),
    }
}

fn of_port<'a>(
    port: u16,
    ports: (u16, u16),
    data: &'a [u8],
    state: &mut DecodeState,
) -> Option<Result<Decoded<'a>, DecodeError>> {
    Some(match port {
        VXLAN | VXLAN_LINUX => vxlan(data, state),
        VXLAN_GPE => vxlan_gpe(data, state),
        GENEVE => geneve(data, state),
        MPLS => shim::mpls(data, state),
        GUE => gue(data, state),
        GRE => gre::open(data, state),
        GTP_U => gtp_u(data, state),
        L2TP => l2tp(data, state),
        CAPWAP => capwap::data_message(ports, data, state),
        TEREDO => teredo(data, state),
        LISP => lisp(data, state),
        AYIYA => ayiya(data, state),
        TZSP => mirror::tzsp(data, state),
        JMIRROR => mirror::juniper(data, state),
        HP_ERM => mirror::hewlett_packard(data, state),
        _ => return None,
    })
}

/// VXLAN (RFC 7348 §5): reserved bits are ignored. A next-protocol bit makes it the generic form, unless that does not fit.
fn vxlan<'a>(data: &'a [u8], state: &mut DecodeState) -> Result<Decoded<'a>, DecodeError> {
    const NEXT_PROTOCOL: u8 = 0x04;
    const IDENTIFIER: u8 = 0x08;
    let Some((&[flags, _, _, _, v0, v1, v2, _], frame)) = data.split_first_chunk() else {
        return Err(DecodeError::TunnelTruncated);
    };
    let plain = |state: &mut DecodeState| {
        state.enter_tunnel(TunnelKind::Vxlan)?;
        if flags & IDENTIFIER != 0 {
            state.add_network(TunnelKind::Vxlan, u32::from_be_bytes([0, v0, v1, v2]));
        }
        link::ethernet(frame, state)
    };
    if flags & NEXT_PROTOCOL == 0 { plain(state) } else { state.try_either(|state| vxlan_gpe(data, state), plain) }
}

/// The generic form of VXLAN (draft-ietf-nvo3-vxlan-gpe §3): reserved bits are ignored.
fn vxlan_gpe<'a>(data: &'a [u8], state: &mut DecodeState) -> Result<Decoded<'a>, DecodeError> {
    const INSTANCE: u8 = 0x08;
    const NEXT_PROTOCOL: u8 = 0x04;
    const VERSION: u8 = 0x30;
    const ETHERNET: u8 = 3;
    let Some((&[flags, _, _, next, v0, v1, v2, _], payload)) = data.split_first_chunk() else {
        return Err(DecodeError::TunnelTruncated);
    };
    if flags & VERSION != 0 {
        return Err(DecodeError::TunnelUnsupported);
    }
    state.enter_tunnel(TunnelKind::VxlanGpe)?;
    if flags & INSTANCE != 0 {
        state.add_network(TunnelKind::Vxlan, u32::from_be_bytes([0, v0, v1, v2]));
    }
    shim::by_next_protocol(if flags & NEXT_PROTOCOL == 0 { ETHERNET } else { next }, payload, state)
}

/// GENEVE (RFC 8926 §3.4): reserved bits are ignored.
fn geneve<'a>(data: &'a [u8], state: &mut DecodeState) -> Result<Decoded<'a>, DecodeError> {
    let Some((&[length, _, p0, p1, v0, v1, v2, _], rest)) = data.split_first_chunk() else {
        return Err(DecodeError::TunnelTruncated);
    };
    let version = length >> 6;
    if version != 0 {
        return Err(DecodeError::TunnelUnsupported);
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
fn gtp_u<'a>(data: &'a [u8], state: &mut DecodeState) -> Result<Decoded<'a>, DecodeError> {
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
fn teredo<'a>(data: &'a [u8], state: &mut DecodeState) -> Result<Decoded<'a>, DecodeError> {
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
fn teredo_between_peers<'a>(data: &'a [u8], state: &mut DecodeState) -> Result<Decoded<'a>, DecodeError> {
    const PREFIX: [u8; 4] = [0x20, 0x01, 0, 0];
    let has_prefix = |at: usize| data.get(at..).is_some_and(|address| address.starts_with(&PREFIX));
    if !has_prefix(8) && !has_prefix(24) {
        return Err(DecodeError::TunnelMalformed);
    }
    state.enter_tunnel(TunnelKind::Teredo)?;
    ip::v6(data, state)
}

/// A data message of L2TPv2 (RFC 2661 §3.1), or of L2TPv3 over UDP (RFC 3931 §4.1.2.1).
fn l2tp<'a>(data: &'a [u8], state: &mut DecodeState) -> Result<Decoded<'a>, DecodeError> {
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

/// LISP (RFC 9300 §5.1) and its generic extension (RFC 9305 §3): flags, nonce or next protocol, instance or locator bits.
fn lisp<'a>(data: &'a [u8], state: &mut DecodeState) -> Result<Decoded<'a>, DecodeError> {
    const INSTANCE: u8 = 0x08;
    const NEXT_PROTOCOL: u8 = 0x04;
    let Some((&[flags, _, _, next, i0, i1, i2, _], payload)) = data.split_first_chunk() else {
        return Err(DecodeError::TunnelTruncated);
    };
    state.enter_tunnel(TunnelKind::Lisp)?;
    if flags & INSTANCE != 0 {
        state.add_network(TunnelKind::Lisp, u32::from_be_bytes([0, i0, i1, i2]));
    }
    if flags & NEXT_PROTOCOL == 0 { ip::any(payload, state) } else { shim::by_next_protocol(next, payload, state) }
}

/// Generic UDP encapsulation (draft-ietf-intarea-gue §3): a header with an IP protocol number, or bare IP.
fn gue<'a>(data: &'a [u8], state: &mut DecodeState) -> Result<Decoded<'a>, DecodeError> {
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

/// Anything in anything (draft-massar-v6ops-ayiya §4): lengths of identity and signature, operation, next header, time,
/// identity, signature; then IP.
fn ayiya<'a>(data: &'a [u8], state: &mut DecodeState) -> Result<Decoded<'a>, DecodeError> {
    const NO_OPERATION: u8 = 0;
    let Some((&[identity, signature, operation, _, ..], rest)) = data.split_first_chunk::<8>() else {
        return Err(DecodeError::TunnelTruncated);
    };
    if operation & 0x0f == NO_OPERATION {
        return Err(DecodeError::NotIp);
    }
    let length = (1 << (identity >> 4)) + usize::from(signature >> 4) * 4;
    let packet = rest.get(length..).ok_or(DecodeError::TunnelTruncated)?;
    state.enter_tunnel(TunnelKind::Ayiya)?;
    ip::any(packet, state)
}
