//! From where a stream is read: its known beginning, or another place where a request or a hello begins.

use vigie_decode::Segment;
use vigie_wire::assembly::Assembly;

use super::Stream;
use crate::opening::Desync;
use crate::versions::Versions;
use crate::{Counts, Limits, http, prelude};

impl Stream {
    /// Reads on at a segment that begins with a request.
    #[cold]
    pub(super) fn go_to_request(
        &mut self,
        segment: &Segment<'_>,
        has_other_hop_limit: bool,
        limits: &Limits,
        counts: &mut Counts,
    ) {
        // A stream whose known beginning was not left before has none.
        let mut left = self.take_left();
        if let Some(left) = &mut left {
            left.hold(segment, has_other_hop_limit, limits, counts);
        }
        self.reset();
        (self.has_start, self.origin, self.versions) = (true, segment.sequence, left.map(Versions::behind));
    }

    /// Reads on at an island, where a hello begins.
    #[cold]
    pub(super) fn go_to_island(&mut self, start: usize) {
        let (origin, desync) = (self.origin.wrapping_add(start as u32), self.desync);
        let island = self.assembly.island(start).map(|(_, bytes)| bytes.to_vec()).unwrap_or_default();
        let left = self.leave();
        if let Some(left) = &left {
            *self = Self { has_start: true, has_other_hop_limit: left.has_other_hop_limit, desync, ..Self::default() };
            self.assembly = Assembly::of(island);
        } else {
            self.assembly.rebase(start);
        }
        self.versions = left.map(Versions::behind);
        (self.origin, self.is_start_provisional, self.stage) = (origin, true, None);
    }

    /// All that is known of the stream from its known beginning, before it is read from another place.
    fn leave(&mut self) -> Option<Box<Self>> {
        if let Some(left) = self.take_left() {
            return Some(left);
        }
        let is_known = self.has_start && !self.is_start_provisional && self.dropped_bytes == 0;
        is_known.then(|| Box::new(std::mem::take(self)))
    }

    /// Whether the stream from its known beginning was left.
    #[inline]
    pub(crate) fn has_left(&self) -> bool {
        self.versions.as_ref().is_some_and(|versions| versions.left.is_some())
    }

    /// The stream from its known beginning, which is to be read on for its [readings](Self::hold) alone.
    pub(crate) fn take_left(&mut self) -> Option<Box<Self>> {
        self.versions.as_mut()?.left.take()
    }

    /// Whether a segment begins a hello where earlier bytes were no hello, and were dropped.
    pub(super) fn begins_a_hello_anew(&self, segment: &Segment<'_>) -> bool {
        let first_byte = self.origin.wrapping_sub(self.dropped_bytes);
        self.has_start
            && !self.is_start_provisional
            && (!self.holds_bytes() || self.dropped_bytes > 0)
            && self.reported_name == 0
            && segment.sequence == first_byte
            && matches!(segment.payload, [prelude::HANDSHAKE_RECORD] | [prelude::HANDSHAKE_RECORD, 3, ..])
    }

    /// Whether a segment behind unknown bytes begins with an HTTP request: the stream may have begun before the capture.
    pub(super) fn begins_a_request(&self, segment: &Segment<'_>) -> bool {
        let is_unknown = match &self.stage {
            Some(stage) => stage.hello.is_none() && stage.prelude.is_unknown(),
            None => self.has_no_hello,
        };
        is_unknown
            && self.is_start_provisional
            && self.reported_name == 0
            && (segment.sequence.wrapping_sub(self.origin) as i32) > 0
            && http::begins_request(segment.payload)
    }

    /// Forgets what was read, and begins at the same byte.
    pub(super) fn begin_anew(&mut self, desync: Desync) {
        let first_byte = self.origin.wrapping_sub(self.dropped_bytes);
        self.reset();
        (self.has_start, self.origin) = (true, first_byte);
        self.desync = desync;
    }
}
