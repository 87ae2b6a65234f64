//! Several packets in one frame: an aggregate of 802.11 (A-MSDU, IEEE 802.11 §9.3.2.2).

use vigie_wire::Cursor;

use super::state::DecodeState;
use super::{DecodeError, Decoded, link};

/// Packets that share a frame. Each is decoded when asked for.
#[derive(Clone, Copy, Debug)]
pub struct Aggregate<'a> {
    rest: &'a [u8],
    state: DecodeState,
}

/// One packet of an aggregate.
#[derive(Debug)]
pub struct Subframe<'a> {
    /// The packet.
    pub decoded: Result<Decoded<'a>, DecodeError>,
    /// Its length on the wire with the header that the aggregate puts in front.
    pub wire_length: u32,
}

impl<'a> Aggregate<'a> {
    /// Decodes the body of an aggregate. One packet that can be decoded is given as such.
    pub(super) fn decode(body: &'a [u8], state: &mut DecodeState) -> Result<Decoded<'a>, DecodeError> {
        let aggregate = Self { rest: body, state: *state };
        let mut good = aggregate.filter(|subframe| subframe.decoded.is_ok());
        match (good.next(), good.next()) {
            (Some(_), Some(_)) => Ok(Decoded::Aggregate(aggregate)),
            (Some(only), None) => only.decoded,
            (None, _) => match { aggregate }.next() {
                Some(Subframe { decoded: Err(error), .. }) => Err(error),
                _ => Err(DecodeError::LinkTruncated),
            },
        }
    }
}

impl<'a> Iterator for Aggregate<'a> {
    type Item = Subframe<'a>;

    /// The next packet: addresses, length, LLC; padded to a multiple of four bytes unless it is the last.
    fn next(&mut self) -> Option<Subframe<'a>> {
        const HEADER_LENGTH: usize = 14;
        let mut cursor = Cursor::new(self.rest);
        let length = cursor.skip(12).and_then(|()| cursor.u16()).map(usize::from);
        let Some(length) = length.filter(|&length| length > 0) else {
            self.rest = &[];
            return None;
        };
        let frame = cursor.rest();
        let padded = (HEADER_LENGTH + length).next_multiple_of(4) - HEADER_LENGTH;
        self.rest = frame.get(padded..).unwrap_or_default();
        let decoded = link::llc(frame.get(..length).unwrap_or(frame), &mut { self.state });
        Some(Subframe { decoded, wire_length: (HEADER_LENGTH + length) as u32 })
    }
}
