//! CAPWAP between an access point and its controller (RFC 5415): data messages that DTLS does not hide, whole or fragmented.

use super::fragments::{Carried, Fragment};
use super::state::DecodeState;
use super::{DecodeError, Decoded, NetworkHeader, TunnelKind, link, wifi};

/// A data message (RFC 5415 §4.3): an Ethernet or an 802.11 frame, or a fragment of one.
pub(super) fn data_message<'a>(
    (source_port, _): (u16, u16),
    data: &'a [u8],
    state: &mut DecodeState,
) -> Result<Decoded<'a>, DecodeError> {
    const NATIVE_FRAME: u8 = 0x01;
    const FRAGMENT: u8 = 0x80;
    const LAST: u8 = 0x40;
    let Some(&[preamble, length, binding, flags, i0, i1, o0, o1]) = data.first_chunk() else {
        return Err(DecodeError::TunnelTruncated);
    };
    let header_length = usize::from(length >> 3) * 4;
    if preamble != 0 || header_length < 8 {
        return Err(DecodeError::TunnelMalformed);
    }
    let payload = data.get(header_length..).ok_or(DecodeError::TunnelTruncated)?;
    let is_wifi = binding & NATIVE_FRAME != 0;
    if flags & FRAGMENT == 0 {
        return payload_of(is_wifi, payload, state);
    }
    let (source, destination) = state.outer.ok_or(DecodeError::TunnelMalformed)?;
    Ok(Decoded::Fragment(Fragment {
        source,
        destination,
        // Access points behind one address differ by their ports.
        identification: u32::from_be_bytes([source_port.to_be_bytes()[0], source_port.to_be_bytes()[1], i0, i1]),
        carried: Carried::Capwap { is_wifi },
        offset: u32::from(u16::from_be_bytes([o0, o1]) & !7),
        more: flags & LAST == 0,
        truncated: state.truncated,
        payload,
        encapsulation: state.encapsulation(),
        depth: state.depth,
        network: NetworkHeader::default(),
    }))
}

/// The frame in a data message.
pub(super) fn payload_of<'a>(
    is_wifi: bool,
    payload: &'a [u8],
    state: &mut DecodeState,
) -> Result<Decoded<'a>, DecodeError> {
    state.enter_tunnel(TunnelKind::Capwap)?;
    if is_wifi { wifi::frame(payload, state) } else { link::ethernet(payload, state) }
}
