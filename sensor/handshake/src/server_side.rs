//! The server's side of a TCP connection after a hello without a usable name, read for the server's certificate.
//!
//! The client's hello acknowledges all that the server sent before, so the server's records begin at that number. Where it
//! is not known, they begin at the first segment that looks like a ServerHello.

use memchr::memmem;

use super::Limits;
use super::tls::{ServerStep, ServerStream};
use vigie_decode::Segment;
use vigie_flow::Side;
use vigie_wire::assembly::Assembly;

/// Segments of the server in a row that bring nothing new, after which its certificate is given up.
const STALLED_SEGMENTS_MAX: u8 = 64;

/// The result of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Certificate<'a> {
    /// It may still come.
    Awaited,
    /// The server's own certificate, in DER.
    Found(&'a [u8]),
    /// The server shows none.
    None,
}

/// The server's side of a connection.
#[derive(Debug)]
pub(super) struct ServerSide {
    client: Side,
    /// Sequence number of the server's first record.
    origin: Option<u32>,
    stream: ServerStream,
    assembly: Assembly,
    segments: u32,
    stalled_segments: u8,
    /// Bytes of clear text in front of the records that were searched for their start.
    searched: usize,
    /// Memory that the caller keeps for this flow until the certificate is there.
    caller_bytes: usize,
}

impl ServerSide {
    /// For the server of this client, whose records begin at `origin` if that is known.
    pub(super) fn new(client: Side, origin: Option<u32>, caller_bytes: usize) -> Self {
        Self {
            client,
            origin,
            stream: ServerStream::default(),
            assembly: Assembly::default(),
            segments: 0,
            stalled_segments: 0,
            searched: 0,
            caller_bytes,
        }
    }

    /// Bytes of memory held, those of the struct itself among them.
    pub(super) fn memory_bytes(&self) -> usize {
        size_of::<Self>() + self.caller_bytes + self.stream.memory_bytes() + self.assembly.capacity()
    }

    /// Whether a segment of the server was taken.
    pub(super) const fn has_begun(&self) -> bool {
        self.segments > 0
    }

    /// Takes a segment of either side.
    pub(super) fn segment(&mut self, side: Side, segment: &Segment<'_>, limits: &Limits) -> Certificate<'_> {
        if side == self.client {
            return Certificate::Awaited;
        }
        self.segments += 1;
        let has_new_bytes = self.insert(segment, limits);
        self.stalled_segments = if has_new_bytes { 0 } else { self.stalled_segments + 1 };
        if self.stalled_segments >= STALLED_SEGMENTS_MAX || self.segments as usize > limits.undecided_segments_max {
            return Certificate::None;
        }
        if !has_new_bytes || !self.is_at_records() {
            return Certificate::Awaited;
        }
        let (view, bytes_max) = (self.assembly.contiguous(), limits.stream_bytes_max);
        while matches!(self.stream.advance(view, bytes_max), ServerStep::Hello(_)) {}
        match self.stream.advance(view, bytes_max) {
            ServerStep::Hello(_) | ServerStep::More => Certificate::Awaited,
            ServerStep::Certificate(der) => Certificate::Found(der),
            ServerStep::Stopped(_) => Certificate::None,
        }
    }

    /// Puts a segment in order. False if it brings nothing new, or nothing that can be held.
    fn insert(&mut self, segment: &Segment<'_>, limits: &Limits) -> bool {
        let origin = match self.origin {
            Some(origin) => origin,
            None if is_server_hello(segment.payload) => *self.origin.insert(segment.sequence),
            None => return false,
        };
        let distance = segment.sequence.wrapping_sub(origin) as i32;
        let skipped = if distance < 0 { distance.unsigned_abs() as usize } else { 0 };
        let Some(payload) = segment.payload.get(skipped..) else { return false };
        let offset = usize::try_from(distance).unwrap_or(0);
        let is_known = offset + payload.len() <= self.assembly.contiguous().len();
        self.assembly.insert(offset, payload, limits.stream_bytes_max).is_ok() && !is_known
    }

    /// Skips what the server says in clear text in front of its records: the answer to STARTTLS, if the client did not wait
    /// for it. False while there is nothing else.
    fn is_at_records(&mut self) -> bool {
        let view = self.assembly.contiguous();
        if matches!(view.first(), Some(20..=22)) {
            return true;
        }
        // The last bytes may be the beginning of a record's header.
        let from = self.searched.saturating_sub(SERVER_HELLO_BYTES);
        let unsearched = view.get(from..).unwrap_or_default();
        self.searched = view.len();
        let mut found = memmem::find_iter(unsearched, &[22, 3]).map(|at| from + at);
        let Some(start) = found.find(|&at| is_server_hello(view.get(at..).unwrap_or_default())) else { return false };
        self.assembly.rebase(start);
        self.origin = self.origin.map(|origin| origin.wrapping_add(start as u32));
        true
    }
}

/// The random of a ServerHello that asks for another hello (RFC 8446 §4.1.3).
const HELLO_RETRY_REQUEST: [u8; 32] = [
    0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91, 0xc2, 0xa2, 0x11,
    0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
];

/// Whether a server's payload begins with a HelloRetryRequest in one record.
pub fn is_hello_retry_request(payload: &[u8]) -> bool {
    // Record and message headers and the version precede the random.
    is_server_hello(payload) && payload.get(11..).is_some_and(|rest| rest.starts_with(&HELLO_RETRY_REQUEST))
}

/// How many bytes tell a record with a ServerHello.
const SERVER_HELLO_BYTES: usize = 6;

/// Whether a record with a ServerHello begins here.
const fn is_server_hello(bytes: &[u8]) -> bool {
    matches!(bytes, [22, 3, _, _, _, 2, ..])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tls::build::unhex;
    use crate::tls::certificate::for_each_name;

    const START: u32 = u32::MAX - 700;

    fn recorded() -> Vec<u8> {
        unhex(include_str!("tls/testdata/openssl_server_tls12.hex"))
    }

    /// The names that pieces of a server's stream show, each with its offset.
    fn names<'a>(origin: Option<u32>, pieces: impl IntoIterator<Item = (usize, &'a [u8])>) -> Option<Vec<String>> {
        let mut server = ServerSide::new(Side::Low, origin, 0);
        for (offset, payload) in pieces {
            let segment = Segment::without_header(START.wrapping_add(offset as u32), Segment::ACK, payload);
            assert_eq!(server.segment(Side::Low, &segment, &Limits::default()), Certificate::Awaited);
            match server.segment(Side::High, &segment, &Limits::default()) {
                Certificate::Awaited => {}
                Certificate::None => return None,
                Certificate::Found(der) => {
                    let mut names = Vec::new();
                    for_each_name(der, |name| names.push(name.to_owned()));
                    return Some(names);
                }
            }
        }
        Some(Vec::new())
    }

    fn expected() -> Option<Vec<String>> {
        Some(["www.example.org", "*.cdn.example.org"].map(str::to_owned).to_vec())
    }

    #[test]
    fn small_pieces_in_any_direction() {
        let stream = recorded();
        for size in [1, 2, 7, 200, 9999] {
            let pieces: Vec<_> =
                stream.chunks(size).enumerate().map(|(number, piece)| (number * size, piece)).collect();
            assert_eq!(names(Some(START), pieces.iter().copied()), expected(), "{size}");
            assert_eq!(names(Some(START), pieces.iter().rev().copied()), expected(), "{size}, backwards");
        }
    }

    #[test]
    fn without_an_origin_the_first_record_is_looked_for() {
        let stream = recorded();
        let pieces: Vec<_> = stream.chunks(300).enumerate().map(|(number, piece)| (number * 300, piece)).collect();
        assert_eq!(names(None, pieces.iter().copied()), expected());
        let with_text = [b"220 go ahead\r\n", &stream[..]].concat();
        assert_eq!(names(Some(START), [(0, &with_text[..])]), expected(), "an answer to STARTTLS in front");
        assert_eq!(names(Some(START), [(0, &with_text[..5]), (5, &with_text[5..])]), expected());
        // The first bytes again, with more behind.
        assert_eq!(names(Some(START + 100), [(100, &stream[100..200]), (0, &stream[..])]), Some(vec![]));
    }

    #[test]
    fn a_server_that_shows_none_is_given_up() {
        assert_eq!(names(Some(START), [(0, &[21, 3, 3, 0, 2, 2, 40, b'x'][..]); 1]), None);
        let noise = [(0, &b"text"[..]); STALLED_SEGMENTS_MAX as usize + 2];
        assert_eq!(names(Some(START), noise), None);
    }

    proptest! {
        #[test]
        fn no_order_hides_the_names(cuts in proptest::collection::vec(1_usize..400, 1..12), seed in any::<u64>()) {
            let stream = recorded();
            let (mut pieces, mut from) = (Vec::new(), 0);
            for cut in cuts.iter().cycle() {
                let to = (from + cut).min(stream.len());
                pieces.push((from, &stream[from..to]));
                from = to;
                if from == stream.len() || pieces.len() > 50 {
                    break;
                }
            }
            pieces.push((from, &stream[from..]));
            pieces.sort_by_key(|(offset, _)| (*offset as u64 + 1).wrapping_mul(seed | 1) >> 7);
            prop_assert_eq!(names(Some(START), pieces), expected());
        }
    }
}
