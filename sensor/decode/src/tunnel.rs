//! Tunnels with an IP protocol number of their own, and the transports that are not decoded.

use vigie_wire::Cursor;

use super::ip::IpHeader;
use super::state::DecodeState;
use super::{DecodeError, Decoded, TunnelKind, gre, ip, link, shim, transport};

/// A protocol above IP that is neither TCP nor UDP nor an extension header.
pub(super) fn by_protocol<'a>(
    protocol: u8,
    payload: &'a [u8],
    ip_header: &IpHeader<'a>,
    state: &mut DecodeState,
) -> Result<Decoded<'a>, DecodeError> {
    const IPV4: u8 = 4;
    const IPV6: u8 = 41;
    const GRE: u8 = 47;
    const IPIP: u8 = 94;
    const ETHERIP: u8 = 97;
    const L2TP: u8 = 115;
    const MPLS: u8 = 137;
    const ETHERNET: u8 = 143;
    let outer = state.outer;
    state.outer = Some((ip_header.source, ip_header.destination));
    match protocol {
        IPV4 | IPV6 | IPIP => {
            state.enter_tunnel(match (ip_header.is_v6, payload.first().map(|byte| byte >> 4)) {
                (false, Some(6)) => TunnelKind::SixInFour,
                (true, Some(4)) => TunnelKind::FourInSix,
                _ => TunnelKind::Ipip,
            })?;
            ip::any(payload, state)
        }
        GRE if gre::carries_a_packet(payload) => {
            let before = *state;
            match gre::open(payload, state) {
                // Other protocols, and kinds of packets that are not decoded.
                Err(DecodeError::NotIp | DecodeError::TunnelUnsupported | DecodeError::Encrypted) => {
                    state.restore(&before);
                    state.outer = outer;
                    Ok(transport::other(protocol, payload, ip_header, state))
                }
                done => done,
            }
        }
        ETHERIP => etherip(payload, state),
        MPLS => shim::mpls(payload, state),
        // RFC 8986 §9: an Ethernet frame behind a segment routing header.
        ETHERNET if ip_header.is_v6 => {
            state.enter_tunnel(TunnelKind::EtherIp)?;
            link::ethernet(payload, state)
        }
        L2TP => {
            let before = *state;
            match l2tp_v3(payload, state) {
                // Control messages, and pseudo-wires of other kinds.
                Err(error) if error != DecodeError::TooDeep => {
                    state.restore(&before);
                    state.outer = outer;
                    Ok(transport::other(protocol, payload, ip_header, state))
                }
                done => done,
            }
        }
        _ => {
            state.outer = outer;
            Ok(transport::other(protocol, payload, ip_header, state))
        }
    }
}

/// Ethernet in IP (RFC 3378): version 3, twelve reserved bits.
fn etherip<'a>(payload: &'a [u8], state: &mut DecodeState) -> Result<Decoded<'a>, DecodeError> {
    let Some((&[version, _], frame)) = payload.split_first_chunk() else {
        return Err(DecodeError::TunnelTruncated);
    };
    // Early systems wrote the version into the low nibble.
    if version != 0x30 && version != 0x03 {
        return Err(DecodeError::TunnelMalformed);
    }
    state.enter_tunnel(TunnelKind::EtherIp)?;
    link::ethernet(frame, state)
}

/// An L2TPv3 data message from its session identifier on (RFC 3931 §4.1). The lengths of cookie and sublayer were
/// negotiated when the session was set up: each is tried, and the inner frame has to be plausible.
pub(super) fn l2tp_v3<'a>(payload: &'a [u8], state: &mut DecodeState) -> Result<Decoded<'a>, DecodeError> {
    let mut cursor = Cursor::new(payload);
    match cursor.u32() {
        Some(0) => return Err(DecodeError::NotIp),
        None => return Err(DecodeError::TunnelTruncated),
        Some(_) => {}
    }
    state.enter_tunnel(TunnelKind::L2tp)?;
    state.strict = true;
    let frame = |skip: usize| cursor.rest().get(skip..).unwrap_or_default();
    // Cookie of 0, 4 or 8 bytes, sublayer of 0 or 4.
    state.try_either(
        |state| l2_frame(frame(0), state),
        |state| {
            state.try_either(
                |state| l2_frame(frame(4), state),
                |state| state.try_either(|state| l2_frame(frame(8), state), |state| l2_frame(frame(12), state)),
            )
        },
    )
}

fn l2_frame<'a>(bytes: &'a [u8], state: &mut DecodeState) -> Result<Decoded<'a>, DecodeError> {
    if bytes.starts_with(&[0xff, 3]) { shim::ppp(bytes, state) } else { link::ethernet(bytes, state) }
}
