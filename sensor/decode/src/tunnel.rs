//! Tunnels named by an IP protocol number, and the transports that are not followed.

use vigie_wire::Cursor;

use super::descent::Descent;
use super::ip::Ends;
use super::{DecodeError, Decoded, TunnelKind, gre, ip, link, shim, transport};

/// What stands above IP and is neither TCP nor UDP nor an extension header.
pub(super) fn by_protocol<'a>(
    protocol: u8,
    payload: &'a [u8],
    ends: &Ends,
    descent: &mut Descent<'_>,
) -> Result<Decoded<'a>, DecodeError> {
    const IPV4: u8 = 4;
    const IPV6: u8 = 41;
    const GRE: u8 = 47;
    const IPIP: u8 = 94;
    const ETHERIP: u8 = 97;
    const L2TP: u8 = 115;
    const MPLS: u8 = 137;
    const ETHERNET: u8 = 143;
    let outer = descent.outer;
    descent.outer = Some((ends.source, ends.destination));
    match protocol {
        IPV4 | IPV6 | IPIP => {
            descent.open(match (ends.v6, payload.first().map(|byte| byte >> 4)) {
                (false, Some(6)) => TunnelKind::SixInFour,
                (true, Some(4)) => TunnelKind::FourInSix,
                _ => TunnelKind::Ipip,
            })?;
            ip::any(payload, descent)
        }
        GRE if gre::carries_a_packet(payload) => gre::open(payload, descent),
        ETHERIP => etherip(payload, descent),
        MPLS => shim::mpls(payload, descent),
        // RFC 8986 §9: an Ethernet frame behind a segment routing header.
        ETHERNET if ends.v6 => {
            descent.open(TunnelKind::EtherIp)?;
            link::ethernet(payload, descent)
        }
        L2TP => {
            let before = *descent;
            match l2tp_v3(payload, descent) {
                // Control messages, and pseudo-wires of other kinds.
                Err(error) if error != DecodeError::TooDeep => {
                    descent.back_to(&before);
                    descent.outer = outer;
                    Ok(transport::other(protocol, payload, ends, descent))
                }
                done => done,
            }
        }
        _ => {
            descent.outer = outer;
            Ok(transport::other(protocol, payload, ends, descent))
        }
    }
}

/// Ethernet in IP (RFC 3378): version 3, twelve reserved bits.
fn etherip<'a>(payload: &'a [u8], descent: &mut Descent<'_>) -> Result<Decoded<'a>, DecodeError> {
    let Some((&[version, _], frame)) = payload.split_first_chunk() else {
        return Err(DecodeError::TunnelTruncated);
    };
    // Early systems wrote the version into the low nibble.
    if version != 0x30 && version != 0x03 {
        return Err(DecodeError::TunnelMalformed);
    }
    descent.open(TunnelKind::EtherIp)?;
    link::ethernet(frame, descent)
}

/// An L2TPv3 data message from its session identifier on (RFC 3931 §4.1). How long cookie and sublayer are was
/// said when the session was set up; the frame inside has to tell.
pub(super) fn l2tp_v3<'a>(payload: &'a [u8], descent: &mut Descent<'_>) -> Result<Decoded<'a>, DecodeError> {
    let mut cursor = Cursor::new(payload);
    match cursor.u32() {
        Some(0) => return Err(DecodeError::NotIp),
        None => return Err(DecodeError::TunnelTruncated),
        Some(_) => {}
    }
    descent.open(TunnelKind::L2tp)?;
    descent.strict = true;
    let frame = |skip: usize| cursor.rest().get(skip..).unwrap_or_default();
    // Cookie of 0, 4 or 8 bytes, sublayer of 0 or 4.
    descent.either(
        |descent| l2_frame(frame(0), descent),
        |descent| {
            descent.either(
                |descent| l2_frame(frame(4), descent),
                |descent| descent.either(|descent| l2_frame(frame(8), descent), |descent| l2_frame(frame(12), descent)),
            )
        },
    )
}

fn l2_frame<'a>(bytes: &'a [u8], descent: &mut Descent<'_>) -> Result<Decoded<'a>, DecodeError> {
    if bytes.starts_with(&[0xff, 3]) { shim::ppp(bytes, descent) } else { link::ethernet(bytes, descent) }
}
