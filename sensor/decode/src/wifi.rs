//! Unencrypted data frames of 802.11, and the capture headers in front of them.

use vigie_wire::Cursor;

use super::aggregate::Aggregate;
use super::state::DecodeState;
use super::{DecodeError, Decoded, link};

/// A radiotap header (radiotap.org), little-endian, then the frame.
pub(super) fn radiotap<'a>(bytes: &'a [u8], state: &mut DecodeState) -> Result<Decoded<'a>, DecodeError> {
    let Some(&[0, _, low, high]) = bytes.first_chunk() else {
        return Err(DecodeError::LinkTruncated);
    };
    let length = usize::from(u16::from_le_bytes([low, high]));
    let (header, frame) = bytes.split_at_checked(length).ok_or(DecodeError::LinkTruncated)?;
    if length < 8 {
        return Err(DecodeError::LinkMalformed);
    }
    self::data(frame, radiotap_says_padded(header), state)
}

/// Whether the flags field says that the 802.11 header was padded to a multiple of four bytes.
fn radiotap_says_padded(header: &[u8]) -> bool {
    const TIMER: u8 = 1;
    const FLAGS: u8 = 2;
    const ANOTHER_WORD: u8 = 0x80;
    const PADDED: u8 = 0x20;
    let Some(&[present, ..]) = header.get(4..) else {
        return false;
    };
    let mut at = 8;
    while let Some(&last) = header.get(at - 1)
        && last & ANOTHER_WORD != 0
    {
        at += 4;
    }
    if present & TIMER != 0 {
        at = at.next_multiple_of(8) + 8;
    }
    present & FLAGS != 0 && header.get(at).is_some_and(|flags| flags & PADDED != 0)
}

/// A Prism header of fixed length, or an AVS header, which some drivers write under the same number.
pub(super) fn prism<'a>(bytes: &'a [u8], state: &mut DecodeState) -> Result<Decoded<'a>, DecodeError> {
    const PRISM_LENGTH: usize = 144;
    match bytes {
        [0x80, 0x21, 0x10, _, ..] => avs(bytes, state),
        _ => frame(bytes.get(PRISM_LENGTH..).ok_or(DecodeError::LinkTruncated)?, state),
    }
}

/// An AVS header: its length stands in its second word.
pub(super) fn avs<'a>(bytes: &'a [u8], state: &mut DecodeState) -> Result<Decoded<'a>, DecodeError> {
    let mut cursor = Cursor::new(bytes);
    let (Some(_), Some(length)) = (cursor.u32(), cursor.u32()) else {
        return Err(DecodeError::LinkTruncated);
    };
    frame(bytes.get(length.max(8) as usize..).ok_or(DecodeError::LinkTruncated)?, state)
}

/// A frame without capture header.
pub(super) fn frame<'a>(bytes: &'a [u8], state: &mut DecodeState) -> Result<Decoded<'a>, DecodeError> {
    data(bytes, false, state)
}

/// A data frame (802.11 §9.3.2): addresses by direction, QoS and HT control by flags, then LLC.
fn data<'a>(bytes: &'a [u8], padded: bool, state: &mut DecodeState) -> Result<Decoded<'a>, DecodeError> {
    const TYPE_AND_VERSION: u8 = 0x0f;
    const DATA: u8 = 0x08;
    const QOS_DATA: u8 = 0x88;
    const WITHOUT_BODY: u8 = 0x40;
    const QOS: u8 = 0x80;
    const BOTH_SYSTEMS: u8 = 0x03;
    const PROTECTED: u8 = 0x40;
    const ORDER: u8 = 0x80;
    const AGGREGATE: u8 = 0x80;
    let Some(&[first, second]) = bytes.first_chunk() else {
        return Err(DecodeError::LinkTruncated);
    };
    // Some access points send frame control and sequence control the other way round in CAPWAP.
    let (kind, flags, fragment_place) = match (first, second) {
        (_, DATA | QOS_DATA) if first & TYPE_AND_VERSION != DATA => (second, first, 23),
        _ => (first, second, 22),
    };
    if kind & TYPE_AND_VERSION != DATA || kind & WITHOUT_BODY != 0 {
        return Err(DecodeError::NotIp);
    }
    if flags & PROTECTED != 0 {
        return Err(DecodeError::Encrypted);
    }
    let mut header_length = if flags & BOTH_SYSTEMS == BOTH_SYSTEMS { 30 } else { 24 };
    let mut aggregate = false;
    if kind & QOS != 0 {
        let control = bytes.get(header_length).ok_or(DecodeError::LinkTruncated)?;
        aggregate = control & AGGREGATE != 0;
        header_length += if flags & ORDER != 0 { 6 } else { 2 };
    }
    let not_the_first_fragment = bytes.get(fragment_place).is_some_and(|sequence| sequence & 0x0f != 0);
    if not_the_first_fragment {
        return Err(DecodeError::NotIp);
    }
    if padded {
        header_length = header_length.next_multiple_of(4);
    }
    let body = bytes.get(header_length..).ok_or(DecodeError::LinkTruncated)?;
    if !aggregate {
        return link::llc(body, state);
    }
    Aggregate::decode(body, state)
}
