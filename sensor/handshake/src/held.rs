//! Segments of a client with a wrong checksum. A server drops such a segment, so it is a decoy; or the capture damaged it,
//! and the server acknowledges it although no other segment brought these bytes. Until that is known the segments are held.

use vigie_decode::Segment;

use super::Limits;

/// Segments with a wrong checksum, in the order in which they came.
#[derive(Debug, Default)]
pub(crate) struct HeldSegments {
    segments: Vec<HeldSegment>,
    bytes: usize,
}

/// The payload of a segment, and its sequence number.
#[derive(Debug)]
pub struct HeldSegment {
    sequence: u32,
    payload: Box<[u8]>,
}

impl HeldSegment {
    /// The segment, with as much of its header as is still needed.
    pub fn segment(&self) -> Segment<'_> {
        Segment::without_header(self.sequence, Segment::ACK, &self.payload)
    }

    fn end(&self) -> u32 {
        self.sequence.wrapping_add(self.payload.len() as u32)
    }
}

impl HeldSegments {
    /// Bytes of memory held, those of the struct itself among them.
    pub(crate) fn memory_bytes(&self) -> usize {
        size_of::<Self>() + self.segments.capacity() * size_of::<HeldSegment>() + self.bytes
    }

    /// How many segments are held.
    pub(crate) fn count(&self) -> u64 {
        self.segments.len() as u64
    }

    /// Holds a segment. False if there are too many, or too many bytes.
    pub(crate) fn hold(&mut self, segment: &Segment<'_>, limits: &Limits) -> bool {
        let bytes = self.bytes + segment.payload.len();
        if bytes > limits.stream_bytes_max || self.segments.len() >= limits.stream_versions_max {
            return false;
        }
        self.bytes = bytes;
        self.segments.push(HeldSegment { sequence: segment.sequence, payload: segment.payload.into() });
        true
    }

    /// Whether a segment has a byte at the place of a held one.
    pub(crate) fn overlaps(&self, segment: &Segment<'_>) -> bool {
        let length = segment.payload.len() as u32;
        self.segments.iter().any(|held| {
            segment.sequence.wrapping_sub(held.sequence) < held.payload.len() as u32
                || held.sequence.wrapping_sub(segment.sequence) < length
        })
    }

    /// Whether all are acknowledged by this number (RFC 9293 §3.4).
    pub(crate) fn are_acknowledged(&self, number: u32) -> bool {
        self.segments.iter().all(|held| number.wrapping_sub(held.end()) as i32 >= 0)
    }

    /// The segments.
    pub(crate) fn into_segments(self) -> Vec<HeldSegment> {
        self.segments
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequence_numbers_wrap() {
        let limits = Limits::default();
        let at = |sequence, payload| Segment::without_header(sequence, Segment::ACK, payload);
        let mut held = HeldSegments::default();
        assert!(held.hold(&at(u32::MAX - 1, b"abcd"), &limits));
        for (sequence, overlaps) in [(u32::MAX - 3, false), (u32::MAX - 2, true), (0, true), (1, true), (2, false)] {
            assert_eq!(held.overlaps(&at(sequence, b"xy")), overlaps, "{sequence}");
        }
        for (number, is_acknowledged) in [(u32::MAX - 1, false), (1, false), (2, true), (1_000, true)] {
            assert_eq!(held.are_acknowledged(number), is_acknowledged, "{number}");
        }
    }

    #[test]
    fn segments_and_bytes_are_bounded() {
        let limits = Limits { stream_bytes_max: 100, stream_versions_max: 3, ..Limits::default() };
        let mut held = HeldSegments::default();
        let outcomes = [60, 60, 30, 10, 1]
            .map(|length| held.hold(&Segment::without_header(7, Segment::ACK, &vec![0; length]), &limits));
        assert_eq!(outcomes, [true, false, true, true, false]);
        assert_eq!(held.count(), 3);
        assert!(held.memory_bytes() >= 100);
    }
}
