//! Mirroring over UDP: copies of packets that switches and routers send to a sensor.

use vigie_wire::{Cursor, LinkType};

use super::state::DecodeState;
use super::{DecodeError, Decoded, TunnelKind, ip, link, link_type, shim};

/// TaZmen sniffer protocol: version, type, what it carries; tags; the frame.
pub(super) fn tzsp<'a>(data: &'a [u8], state: &mut DecodeState) -> Result<Decoded<'a>, DecodeError> {
    const RECEIVED: u8 = 0;
    const TO_BE_SENT: u8 = 1;
    let Some((&[version, kind, c0, c1], rest)) = data.split_first_chunk() else {
        return Err(DecodeError::TunnelTruncated);
    };
    if version != 1 || !matches!(kind, RECEIVED | TO_BE_SENT) {
        return Err(DecodeError::TunnelMalformed);
    }
    let mut cursor = Cursor::new(rest);
    tzsp_tags(&mut cursor).ok_or(DecodeError::TunnelTruncated)?;
    state.enter_tunnel(TunnelKind::Tzsp)?;
    let link_type = match u16::from_be_bytes([c0, c1]) {
        1 => LinkType::ETHERNET,
        2 => LinkType::TOKEN_RING,
        4 => LinkType::PPP,
        5 => LinkType::FDDI,
        7 => LinkType::RAW,
        18 => LinkType::IEEE802_11,
        119 => LinkType::IEEE802_11_PRISM,
        127 => LinkType::IEEE802_11_AVS,
        _ => return Err(DecodeError::TunnelUnsupported),
    };
    link_type::decode(link_type, cursor.rest(), state)
}

/// Tags up to the one that ends them; that and padding have no length.
fn tzsp_tags(cursor: &mut Cursor<'_>) -> Option<()> {
    const PADDING: u8 = 0;
    const END: u8 = 1;
    loop {
        match cursor.u8()? {
            PADDING => {}
            END => return Some(()),
            _ => {
                cursor.vector8()?;
            }
        }
    }
}

/// Juniper's packet mirroring: mirror and session identifiers, then IP or PPP.
pub(super) fn juniper<'a>(data: &'a [u8], state: &mut DecodeState) -> Result<Decoded<'a>, DecodeError> {
    let payload = data.get(8..).ok_or(DecodeError::TunnelTruncated)?;
    state.enter_tunnel(TunnelKind::JMirror)?;
    match payload {
        [0xff, 3, ..] => shim::ppp(payload, state),
        _ => state.try_either(|state| ip::any(payload, state), |state| link::ethernet(payload, state)),
    }
}

/// Remote mirroring of Hewlett-Packard's switches: twelve bytes, then an Ethernet frame.
pub(super) fn hewlett_packard<'a>(data: &'a [u8], state: &mut DecodeState) -> Result<Decoded<'a>, DecodeError> {
    let frame = data.get(12..).ok_or(DecodeError::TunnelTruncated)?;
    state.enter_tunnel(TunnelKind::HpErm)?;
    link::ethernet(frame, state)
}
