//! Segments of the client with a wrong checksum, which the server drops, unless the capture damaged them.

use vigie_decode::Segment;
use vigie_flow::Side;

use super::{HeldSegment, TcpInspector};
use crate::opening::Desync;
use crate::{Counts, Limits};

impl TcpInspector {
    /// Whether the server drops the segment that showed a hello, for its checksum. Then that side is read anew.
    pub fn is_void_hello(&mut self, side: Side, segment: &Segment<'_>, limits: &Limits, counts: &mut Counts) -> bool {
        let Some(opening) = self.opening.as_mut().filter(|opening| opening.client() == side) else { return false };
        let is_void = opening.is_void_for_its_checksum(segment);
        if is_void {
            self.restart(side);
            self.hold(side, segment, limits, counts);
        }
        is_void
    }

    /// Holds a segment of the client with a wrong checksum, unless another one brought some of its bytes.
    pub fn hold(&mut self, client: Side, segment: &Segment<'_>, limits: &Limits, counts: &mut Counts) {
        let stream = self.stream(client);
        let has_room = !stream.is_done()
            && !stream.has_bytes_of(segment)
            && self.held.get_or_insert_default().hold(segment, limits);
        if !has_room {
            counts.count_void(Desync::CHECKSUM);
        }
    }

    /// The segments that were held, if this segment of the server acknowledges them: the capture is at fault, not the
    /// client.
    pub fn take_acknowledged(&mut self, side: Side, segment: &Segment<'_>) -> Option<Vec<HeldSegment>> {
        let (held, opening) = (self.held.as_ref()?, self.opening.as_mut()?);
        let is_acknowledged =
            side != opening.client() && segment.acknowledgment().is_some_and(|number| held.are_acknowledged(number));
        if !is_acknowledged {
            return None;
        }
        opening.forget_checksum();
        self.held.take().map(|held| held.into_segments())
    }

    /// Drops the segments that were held, as the server did.
    pub fn drop_held(&mut self, counts: &mut Counts) {
        if let Some(held) = self.held.take() {
            (0..held.count()).for_each(|_| counts.count_void(Desync::CHECKSUM));
        }
    }
}
