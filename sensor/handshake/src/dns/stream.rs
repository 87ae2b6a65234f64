//! One direction of a DNS connection over TCP (RFC 1035 §4.2.2, RFC 7766): segments in any order, messages with their
//! length in front.

use vigie_decode::Segment;
use vigie_wire::assembly::Assembly;

use super::{Message, is_message, tcp_messages};

/// How much earlier than its first segment seen a stream may begin.
const START_SHIFT_BYTES_MAX: u32 = 8_192;

/// One direction of a connection.
#[derive(Debug, Default)]
pub(crate) struct DnsStream {
    /// Sequence number of the first byte of the next message.
    origin: Option<u32>,
    /// The origin is that of a segment which may not have been the first.
    is_start_provisional: bool,
    assembly: Assembly,
}

impl DnsStream {
    /// A stream that begins at this sequence number, if that is known, with the bytes that came there.
    pub(crate) fn new(first_byte: Option<u32>, bytes: &[u8]) -> Self {
        let mut assembly = Assembly::default();
        // Two bytes fit.
        let _ = assembly.insert(0, bytes, bytes.len());
        Self { origin: first_byte, is_start_provisional: first_byte.is_none(), assembly }
    }

    /// Bytes of memory held, those of the struct itself among them.
    pub(crate) fn memory_bytes(&self) -> usize {
        size_of::<Self>() + self.assembly.capacity()
    }

    /// Takes a segment and visits the messages that it completes.
    pub(crate) fn segment(&mut self, segment: &Segment<'_>, bytes_max: usize, mut visit: impl FnMut(&Message<'_>)) {
        if self.assembly.is_empty() && is_message(segment.payload) {
            // Its length came in a segment of its own, which was not seen or not known as DNS.
            Message::parse(segment.payload).iter().for_each(visit);
            self.origin = Some(segment.sequence.wrapping_add(segment.payload.len() as u32));
            return;
        }
        let Some(offset) = self.offset_of(segment) else { return };
        if self.assembly.insert(offset, segment.payload, bytes_max).is_err() {
            // A segment was lost: start over at the next one.
            self.assembly.clear();
            (self.origin, self.is_start_provisional) = (None, true);
            return;
        }
        let (messages, consumed) = tcp_messages(self.assembly.contiguous());
        for message in messages.filter_map(Message::parse) {
            visit(&message);
        }
        if consumed > 0 {
            self.is_start_provisional = false;
            self.assembly.rebase(consumed);
            self.origin = self.origin.map(|origin| origin.wrapping_add(consumed as u32));
        }
    }

    /// Where in the stream a segment belongs; moves a provisional start to one that is earlier.
    fn offset_of(&mut self, segment: &Segment<'_>) -> Option<usize> {
        let origin = *self.origin.get_or_insert(segment.sequence);
        let distance = segment.sequence.wrapping_sub(origin) as i32;
        if distance < 0 && self.is_start_provisional && distance.unsigned_abs() <= START_SHIFT_BYTES_MAX {
            self.assembly.shift(distance.unsigned_abs() as usize);
            self.origin = Some(segment.sequence);
            return Some(0);
        }
        usize::try_from(distance).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUERY: &[u8] = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x03www\x07example\x03org\0\0\x01\0\x01";

    /// The ids of the messages in some pieces of a stream, each with its offset.
    fn ids<'a>(first_byte: Option<u32>, pieces: impl IntoIterator<Item = (u32, &'a [u8])>) -> Vec<u16> {
        let mut stream = DnsStream::new(first_byte, b"");
        let mut ids = Vec::new();
        for (offset, payload) in pieces {
            let segment = Segment::without_header(u32::MAX.wrapping_add(offset), Segment::ACK, payload);
            stream.segment(&segment, 4096, |message| ids.push(message.id()));
        }
        ids
    }

    #[test]
    fn segments_in_any_order() {
        let mut stream = Vec::new();
        for id in 1..=3_u8 {
            stream.extend((QUERY.len() as u16).to_be_bytes());
            stream.push(id);
            stream.extend(&QUERY[1..]);
        }
        for size in [1, 2, 5, 40, 999] {
            let pieces: Vec<_> =
                stream.chunks(size).enumerate().map(|(at, piece)| ((at * size) as u32, piece)).collect();
            for first_byte in [None, Some(u32::MAX)] {
                let forward = ids(first_byte, pieces.iter().copied());
                assert_eq!(forward, [0x0134, 0x0234, 0x0334], "{size}");
                // Backwards the first pieces may look like whole messages, if nobody knows where the stream begins.
                if first_byte.is_some() {
                    assert_eq!(ids(first_byte, pieces.iter().rev().copied()), forward, "{size}, backwards");
                }
            }
        }
        let (length, message) = (&stream[..2], &stream[2..2 + QUERY.len()]);
        assert_eq!(ids(None, [(2, message), (0, length)]), [0x0134], "the length comes late");
    }

    #[test]
    fn a_message_whose_length_was_not_seen_is_read() {
        let length = (QUERY.len() as u16).to_be_bytes();
        let end = QUERY.len() as u32;
        let behind =
            [(2, QUERY), (2 + end, &length[..]), (4 + end, QUERY), (4 + 2 * end, &length), (6 + 2 * end, QUERY)];
        for first_byte in [None, Some(u32::MAX)] {
            assert_eq!(ids(first_byte, behind), [0x1234; 3], "{first_byte:?}");
        }
        let without_lengths = behind.into_iter().filter(|(_, piece)| piece.len() > 2);
        assert_eq!(ids(None, without_lengths), [0x1234; 3]);
    }

    #[test]
    fn after_a_lost_segment_the_next_message_is_read() {
        let framed = [&(QUERY.len() as u16).to_be_bytes()[..], QUERY].concat();
        assert_eq!(ids(Some(u32::MAX), [(5000, &framed[..]), (5100, &framed[..])]), [0x1234]);
    }
}
