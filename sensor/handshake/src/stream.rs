//! One direction of a TCP connection up to its hello: puts segments in order, skips clear text in front of the hello, and
//! reads the hello as soon as its bytes are there.
//!
//! If the SYN was not seen, the first segment may be any segment of the stream. The start then stays provisional:
//! earlier segments move it, until a hello shows where the stream begins. A gap at the start, left by a lost segment, is
//! skipped if a hello follows it.

mod partial;
mod place;
mod readings;

use super::name_hash::name_hash;
use super::opening::Desync;
use super::prelude::{self, Match, Place};
pub use super::stage::Findings;
use super::stage::{Stage, State, current};
use super::tls;
use super::versions::Versions;
use super::{Counts, Limits, http};
use arrayvec::ArrayVec;
use vigie_decode::Segment;
use vigie_wire::assembly::{Assembly, InsertError};

/// How far a provisional start may move towards earlier bytes.
const START_SHIFT_BYTES_MAX: u32 = 8_192;
/// Bytes that are searched without a place among those that are held: a segment, and the end of those before it.
const SEARCHED_BYTES_MAX: usize = 2_048;
/// Segments without progress after which a hello is reported without its tail, or a stream whose start is provisional is
/// given up.
const STALLED_SEGMENTS_MAX: u8 = 8;

/// One direction of a TCP connection.
#[derive(Debug)]
pub struct Stream {
    /// Sequence number of offset 0.
    origin: u32,
    /// Bytes before offset 0 that were searched without a find and dropped.
    dropped_bytes: u32,
    has_start: bool,
    is_start_provisional: bool,
    /// How much earlier a provisional start may still move.
    start_shift_bytes: u32,
    /// None until the first segment.
    stage: Option<Stage>,
    is_done: bool,
    /// The bytes seen lead to no hello, so none are kept. Only an earlier segment, which moves a provisional start, can
    /// change that.
    has_no_hello: bool,
    assembly: Assembly,
    stalls_left: u8,
    /// A segment came with another hop limit than the SYN.
    has_other_hop_limit: bool,
    /// Why earlier bytes contradict these.
    desync: Desync,
    /// Hash of the name that was reported; 0 for none.
    reported_name: u32,
    versions: Option<Box<Versions>>,
}

impl Default for Stream {
    fn default() -> Self {
        Self {
            origin: 0,
            dropped_bytes: 0,
            has_start: false,
            is_start_provisional: false,
            start_shift_bytes: START_SHIFT_BYTES_MAX,
            stage: None,
            is_done: false,
            has_no_hello: false,
            assembly: Assembly::default(),
            stalls_left: STALLED_SEGMENTS_MAX,
            has_other_hop_limit: false,
            desync: Desync::default(),
            reported_name: 0,
            versions: None,
        }
    }
}

impl Stream {
    /// Bytes of memory held, besides those of the struct itself.
    #[inline]
    pub fn memory_bytes(&self) -> usize {
        self.assembly.capacity()
            + self.stage.as_ref().map_or(0, Stage::memory_bytes)
            + self.versions.as_ref().map_or(0, |versions| versions.memory_bytes())
    }

    /// Starts over and keeps the memory.
    #[inline]
    pub fn reset(&mut self) {
        // Field by field: that costs a third of another stream in the place of this one.
        let Self {
            origin,
            dropped_bytes,
            has_start,
            is_start_provisional,
            start_shift_bytes,
            stage,
            is_done,
            has_no_hello,
            assembly,
            stalls_left,
            has_other_hop_limit,
            desync,
            reported_name,
            versions,
        } = self;
        assembly.clear();
        (*stage, *versions) = (None, None);
        (*origin, *dropped_bytes, *start_shift_bytes) = (0, 0, START_SHIFT_BYTES_MAX);
        (*has_start, *is_start_provisional, *is_done, *has_no_hello) = (false, false, false, false);
        (*stalls_left, *has_other_hop_limit) = (STALLED_SEGMENTS_MAX, false);
        (*desync, *reported_name) = (Desync::default(), 0);
    }

    /// Starts over and frees the memory.
    pub fn release(&mut self) {
        *self = Self::default();
    }

    /// Whether no hello is expected any more.
    pub const fn is_done(&self) -> bool {
        self.is_done
    }

    /// Whether no payload has come yet.
    pub fn is_empty(&self) -> bool {
        self.assembly.is_empty() && !self.has_no_hello
    }

    /// Frees memory that is not needed any more. Call it after the last [`Findings`] were used. `keeps_beginning` if decoys may
    /// have come behind the first bytes.
    #[inline]
    pub fn free_unused(&mut self, keeps_beginning: bool) {
        if self.may_be_contradicted() || keeps_beginning && self.may_have_begun_well() {
            return;
        }
        if !(self.is_done || self.has_no_hello) {
            self.drop_searched();
        } else if self.memory_bytes() > 0 {
            self.stage = None;
            self.assembly.release();
        }
    }

    /// Sets the stream's start, as a SYN told it. Segments that overtook the SYN are kept if they are near; a start that
    /// differs from the one before belongs to another connection.
    pub fn begin(&mut self, first_byte: u32) {
        if self.has_start && !self.is_start_provisional && self.origin.wrapping_sub(self.dropped_bytes) == first_byte {
            return;
        }
        let earlier = self.origin.wrapping_sub(first_byte);
        if self.has_start && self.is_start_provisional && earlier <= self.start_shift_bytes {
            if earlier > 0 {
                self.begin_earlier(earlier);
            }
            (self.is_start_provisional, self.is_done, self.stalls_left) = (false, false, STALLED_SEGMENTS_MAX);
            return;
        }
        self.reset();
        self.has_start = true;
        self.origin = first_byte;
    }

    /// Takes a segment with payload; `has_other_hop_limit` if it came with another hop limit than the SYN.
    pub fn segment<'a>(
        &'a mut self,
        segment: &Segment<'a>,
        has_other_hop_limit: bool,
        limits: &Limits,
        counts: &mut Counts,
    ) -> Findings<'a> {
        if self.begins_a_request(segment) {
            self.go_to_request(segment, has_other_hop_limit, limits, counts);
        }
        if (self.is_done || self.has_no_hello || self.dropped_bytes > 0) && self.begins_a_hello_anew(segment) {
            self.begin_anew(Desync::OVERLAP);
        }
        if self.is_done {
            if self.holds_bytes() {
                self.late_segment(segment, has_other_hop_limit, limits, counts);
            }
            return Findings::default();
        }
        let Some((offset, payload)) = self.place(segment) else { return Findings::default() };
        if self.has_no_hello {
            if self.holds_bytes() {
                self.late_segment(segment, has_other_hop_limit, limits, counts);
            }
            self.segment_without_hello();
            return Findings::default();
        }
        if offset == 0
            && self.assembly.is_empty()
            && segment.flags & Segment::URG == 0
            && let Some(hello) = tls::hello_in_one_record(payload)
        {
            self.is_done = true;
            return Findings { hello: Some(hello), desync: self.desync, ..Findings::default() };
        }
        if self.search_on(offset, payload, segment, limits) {
            self.has_other_hop_limit |= has_other_hop_limit;
            return Findings { desync: self.desync, ..Findings::default() };
        }
        self.note_versions(offset, payload, segment, has_other_hop_limit, limits, counts);
        match self.assembly.insert(offset, payload, limits.stream_bytes_max) {
            Ok(_) => {}
            Err(InsertError::BeyondLimit) => counts.stream_too_long += 1,
            Err(InsertError::TooManyIslands) => counts.stream_too_many_gaps += 1,
        }
        self.skip_gap_at_start(offset);
        self.parse(limits)
    }

    /// Takes a segment that comes after the hello was reported: it may hold another version of the hello's bytes.
    pub fn late_segment(
        &mut self,
        segment: &Segment<'_>,
        has_other_hop_limit: bool,
        limits: &Limits,
        counts: &mut Counts,
    ) {
        let Some((offset, payload)) = self.place(segment) else { return };
        self.note_versions(offset, payload, segment, has_other_hop_limit, limits, counts);
        let _ = self.assembly.insert(offset, payload, limits.stream_bytes_max);
    }

    /// Whether bytes contradict each other, so that there are other readings.
    pub const fn has_versions(&self) -> bool {
        self.versions.is_some()
    }

    /// Whether an HTTP request was found, and no hello is expected.
    pub fn is_http(&self) -> bool {
        self.stage.as_ref().is_some_and(|stage| stage.prelude.is_http())
    }

    /// The bytes from the first HTTP request on, with the sequence number where they begin, and a reader that has read some
    /// of them.
    pub(crate) fn http(&self) -> Option<(http::HttpReader, &[u8], u32)> {
        let (base, reader) = self.stage.as_ref()?.prelude.http()?;
        Some((reader, self.assembly.contiguous().get(base..)?, self.origin.wrapping_add(base as u32)))
    }

    /// Sequence number of the stream's first byte, if the opening told it.
    pub fn known_start(&self) -> Option<u32> {
        self.first_byte().filter(|_| !self.is_start_provisional)
    }

    /// Sequence number of the first byte, if the stream has begun.
    pub fn first_byte(&self) -> Option<u32> {
        self.has_start.then(|| self.origin.wrapping_sub(self.dropped_bytes))
    }

    /// Frees all but the bytes, and the state of HTTP.
    pub fn keep_bytes(&mut self) {
        if !self.is_http() {
            self.stage = None;
        }
    }

    /// All bytes that came, if they are held and have no gap.
    pub(crate) fn only_bytes(&self) -> Option<&[u8]> {
        let bytes = self.assembly.contiguous();
        (self.dropped_bytes == 0 && !bytes.is_empty() && self.assembly.length() == bytes.len()).then_some(bytes)
    }

    /// Whether other segments brought some of a segment's bytes.
    pub(crate) fn has_bytes_of(&self, segment: &Segment<'_>) -> bool {
        if !self.has_start {
            return false;
        }
        let distance = segment.sequence.wrapping_sub(self.origin) as i32;
        let before = if distance < 0 { distance.unsigned_abs() as usize } else { 0 };
        let offset = usize::try_from(distance).unwrap_or(0);
        before > 0 && self.dropped_bytes > 0
            || self.assembly.overlaps(offset, segment.payload.len().saturating_sub(before))
    }

    /// Whether a segment lies within the bytes that came without a gap, or right behind them.
    pub fn is_reached_by(&self, sequence: u32) -> bool {
        let known = self.assembly.contiguous().len();
        known > 0 && sequence.wrapping_sub(self.origin) as usize <= known
    }

    /// Whether a message has begun of which more may come.
    pub fn is_amid_message(&self) -> bool {
        self.holds_bytes() && !self.is_done && !self.has_no_hello
    }

    /// Offset behind the last byte that is held.
    pub(crate) fn length(&self) -> usize {
        self.assembly.length()
    }

    /// Whether the stream holds bytes that a later segment could contradict.
    pub fn holds_bytes(&self) -> bool {
        !self.assembly.is_empty()
    }

    /// Where a segment's payload stands in the stream, without what stands before the stream's start.
    fn place<'a>(&mut self, segment: &Segment<'a>) -> Option<(usize, &'a [u8])> {
        let sequence = segment.sequence.wrapping_add(u32::from(segment.flags & Segment::SYN != 0));
        let payload = segment.payload;
        if !self.has_start && !self.begin_at_piece(sequence, payload) {
            return None;
        }
        // Sequence numbers wrap: distances of half the space and more point backwards (RFC 9293 §3.4).
        let distance = sequence.wrapping_sub(self.origin) as i32;
        match usize::try_from(distance) {
            Ok(offset) => Some((offset, payload)),
            Err(_) if distance == -1 && self.assembly.is_empty() && begins_at_syn(payload) => {
                self.origin = sequence;
                Some((0, payload))
            }
            Err(_) if self.is_start_provisional && distance.unsigned_abs() <= self.start_shift_bytes => {
                self.begin_earlier(distance.unsigned_abs());
                Some((0, payload))
            }
            Err(_) => {
                payload.get(distance.unsigned_abs() as usize..).filter(|rest| !rest.is_empty()).map(|rest| (0, rest))
            }
        }
    }

    /// Keeps a segment that contradicts bytes that are known, and notes urgent bytes.
    #[inline]
    fn note_versions(
        &mut self,
        offset: usize,
        payload: &[u8],
        segment: &Segment<'_>,
        has_other_hop_limit: bool,
        limits: &Limits,
        counts: &mut Counts,
    ) {
        if segment.flags & Segment::URG != 0
            && let Some(pointer) = segment.urgent_pointer()
        {
            self.versions.get_or_insert_default().add_urgent(offset.saturating_add(pointer.into()));
        }
        // What the client says itself may agree with a decoy that came first, and contradict another one.
        let contradicts_pieces = !has_other_hop_limit
            && self.versions.as_ref().is_some_and(|versions| versions.contradicts(offset, payload));
        if contradicts_pieces || self.assembly.contradicts(offset, payload) {
            let mut desync = Desync::OVERLAP;
            if has_other_hop_limit || self.has_other_hop_limit {
                desync.add(Desync::TTL);
            }
            let (versions, base) = (self.versions.get_or_insert_default(), self.assembly.contiguous());
            let is_full = versions.add(offset, payload, has_other_hop_limit, desync, base, limits);
            counts.stream_versions += u64::from(is_full);
        }
        self.has_other_hop_limit |= has_other_hop_limit;
        if let Some(versions) = &mut self.versions {
            versions.note_growth();
        }
    }

    /// The other side has answered what came so far.
    #[inline]
    pub(crate) const fn note_answer(&mut self) {
        if let Some(stage) = &mut self.stage {
            stage.prelude.note_answer();
        }
    }

    /// Whether anything has come.
    pub(crate) const fn has_begun(&self) -> bool {
        self.stage.is_some() || self.has_no_hello || self.is_done
    }

    /// Whether the stream holds the bytes of a segment from their first on, or would.
    #[inline]
    pub(crate) fn may_begin_with(&self, segment: &Segment<'_>) -> bool {
        self.origin == segment.sequence
            && self.dropped_bytes == 0
            && (self.holds_bytes() || !self.has_begun())
            && !self.assembly.contradicts(0, segment.payload)
    }

    /// Whether the first byte may be a message's, though what follows it may not.
    fn may_have_begun_well(&self) -> bool {
        let first = self.assembly.contiguous().first();
        self.dropped_bytes == 0 && first.is_some_and(|first| prelude::may_begin(std::slice::from_ref(first)))
    }

    /// Whether the bytes may be a hello's of which a decoy took the place of a part.
    fn may_be_contradicted(&self) -> bool {
        self.versions.is_some()
            || self.dropped_bytes == 0 && self.assembly.contiguous().first() == Some(&prelude::HANDSHAKE_RECORD)
    }

    /// Searches a segment that goes on in unknown bytes of which the first were dropped, and holds only those that the search
    /// may need again. False if the segment has to be taken like any other.
    #[inline]
    fn search_on(&mut self, offset: usize, payload: &[u8], segment: &Segment<'_>, limits: &Limits) -> bool {
        let held = self.assembly.contiguous();
        let end = offset.saturating_add(payload.len());
        if self.dropped_bytes == 0
            || self.is_start_provisional
            || self.versions.is_some()
            || segment.flags & Segment::URG != 0
            || (offset, offset) != (held.len(), self.assembly.length())
            || end > SEARCHED_BYTES_MAX.min(limits.stream_bytes_max)
        {
            return false;
        }
        let Some(stage) = self.stage.as_mut().filter(|stage| stage.hello.is_none()) else { return false };
        let mut view = ArrayVec::<u8, SEARCHED_BYTES_MAX>::new();
        let fits = view.try_extend_from_slice(held).and_then(|()| view.try_extend_from_slice(payload));
        if fits.is_err() || !stage.prelude.finds_nothing(&view) {
            return false;
        }
        let bytes = stage.prelude.forgettable();
        stage.prelude.forget(bytes);
        let rest = view.get(bytes..).unwrap_or_default();
        stage.parsed_bytes = rest.len() as u32;
        self.assembly.replace(rest);
        self.assembly.trim();
        self.origin = self.origin.wrapping_add(bytes as u32);
        self.dropped_bytes = self.dropped_bytes.wrapping_add(bytes as u32);
        true
    }

    /// Drops bytes that were searched and are not needed any more.
    #[inline]
    fn drop_searched(&mut self) {
        let Some(stage) = self.stage.as_mut().filter(|stage| stage.hello.is_none() && !self.is_start_provisional)
        else {
            return;
        };
        let bytes = stage.prelude.forgettable();
        if bytes > 0 {
            stage.prelude.forget(bytes);
            stage.parsed_bytes = stage.parsed_bytes.saturating_sub(bytes as u32);
            self.assembly.rebase(bytes);
            self.versions = None;
            self.origin = self.origin.wrapping_add(bytes as u32);
            self.dropped_bytes = self.dropped_bytes.wrapping_add(bytes as u32);
            self.assembly.trim();
        }
    }

    /// Starts a stream whose SYN was not seen. False if the segment holds encrypted records: the hello has passed long
    /// before.
    fn begin_at_piece(&mut self, sequence: u32, payload: &[u8]) -> bool {
        if let [0x17, 3, 0..=4, ..] = *payload {
            self.note_stall();
            return false;
        }
        self.has_start = true;
        self.is_start_provisional = prelude::client_hello_at(payload, 0, Place::Boundary) != Match::Yes;
        self.origin = sequence;
        true
    }

    /// Moves a provisional start to an earlier segment that came later.
    fn begin_earlier(&mut self, bytes: u32) {
        self.start_shift_bytes -= bytes;
        self.origin = self.origin.wrapping_sub(bytes);
        self.assembly.shift(bytes as usize);
        self.versions = None;
        self.stage = None;
        self.has_no_hello = false;
    }

    /// Counts another segment of a stream that leads to no hello.
    fn segment_without_hello(&mut self) {
        self.stalls_left = self.stalls_left.saturating_sub(1);
        self.is_done = !self.is_start_provisional || self.stalls_left == 0;
    }

    fn note_stall(&mut self) {
        self.stalls_left = self.stalls_left.saturating_sub(1);
        if self.stalls_left == 0 {
            self.is_done = true;
        }
    }

    /// If the stream's first bytes are missing, starts at the segment around `offset` if an unmistakable hello begins
    /// there. In records of one byte nearly any place looks like a hello's start, so those do not count. The bytes may be a
    /// decoy's: then the first ones are still to come.
    fn skip_gap_at_start(&mut self, offset: usize) {
        if !self.assembly.contiguous().is_empty() {
            return;
        }
        let Some((start, bytes)) = self.assembly.island(offset) else { return };
        if prelude::client_hello_at(bytes, 0, Place::Anywhere) == Match::Yes {
            self.go_to_island(start);
        }
    }

    /// Parses the contiguous bytes, from where the last call stopped.
    fn parse(&mut self, limits: &Limits) -> Findings<'_> {
        let view = self.assembly.contiguous();
        if view.is_empty() {
            return Findings::default();
        }
        let stage = self.stage.get_or_insert_with(|| Stage::inside(limits, self.is_start_provisional));
        // `stream_bytes_max` keeps it below 2^32.
        let parsed_bytes = view.len() as u32;
        let is_longer = parsed_bytes > std::mem::replace(&mut stage.parsed_bytes, parsed_bytes);
        let (state, (name, other_names)) = stage.advance(view, limits);
        let report = match state {
            State::More => false,
            State::None => {
                self.has_no_hello = true;
                self.stalls_left = self.stalls_left.saturating_sub(1);
                // An earlier segment may still move the start.
                self.is_done = !self.is_start_provisional || self.stalls_left == 0 || stage.prelude.is_http();
                false
            }
            // The tail is still coming.
            State::Named if is_longer => false,
            State::Named => {
                self.stalls_left = self.stalls_left.saturating_sub(1);
                self.stalls_left == 0
            }
            State::Complete => true,
        };
        self.is_done |= report;
        let hello = if report { current(self.stage.as_mut(), view, limits) } else { None };
        let mut desync = self.desync;
        if let Some(versions) = &mut self.versions {
            desync.add(versions.desync());
            let of_hello = hello.as_ref().and_then(|hello| hello.server_name());
            let in_clear = name.iter().chain(&other_names).map(|(_, name)| *name);
            in_clear.chain(of_hello).for_each(|name| versions.mark_reported(name));
        }
        if let Some(name) = hello.as_ref().and_then(|hello| hello.server_name()) {
            self.reported_name = name_hash(name);
        }
        Findings { name, other_names, hello, desync }
    }
}

/// Whether data that stands at the number of the SYN begins there, as in made-up captures, and not behind a byte that the server
/// drops. In front of a request such a byte does no harm.
fn begins_at_syn(payload: &[u8]) -> bool {
    payload.len() > 1 && payload.get(1) != Some(&prelude::HANDSHAKE_RECORD) && prelude::may_begin(payload)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FIRST_BYTE: u32 = u32::MAX - 1000;

    /// A record with a hello for `www.example.org`.
    fn hello() -> Vec<u8> {
        let mut body = [&[3, 3][..], &[0x61; 32], &[0, 0, 2, 0x13, 1, 1, 0]].concat();
        body.extend([0, 24, 0, 0, 0, 20, 0, 18, 0, 0, 15]);
        body.extend(b"www.example.org");
        let length = body.len() as u8;
        [&[0x16, 3, 1, 0, length + 4, 1, 0, 0, length][..], &body].concat()
    }

    /// Says a piece that begins so far from the first byte; the name of the hello that it completes.
    fn say(stream: &mut Stream, offset: usize, payload: &[u8]) -> Option<String> {
        let sequence = FIRST_BYTE.wrapping_add(offset as u32);
        let segment = Segment::without_header(sequence, Segment::ACK, payload);
        let heard = stream.segment(&segment, false, &Limits::default(), &mut Counts::default());
        let name = heard.hello.and_then(|hello| Some(String::from_utf8_lossy(hello.server_name()?).into_owned()));
        stream.free_unused(false);
        name
    }

    #[test]
    fn what_was_searched_in_vain_is_not_kept() {
        let text: Vec<u8> = b"* 1 FETCH (FLAGS (Seen))\r\n".iter().copied().cycle().take(7_000).collect();
        let spoken = [&text[..], b"a1 STARTTLS\r\n", &hello()].concat();
        let mut stream = Stream::default();
        stream.begin(FIRST_BYTE);
        let mut name = None;
        for (number, piece) in spoken.chunks(600).enumerate() {
            name = name.or(say(&mut stream, number * 600, piece));
            assert!(stream.memory_bytes() < 2_000, "{}", stream.memory_bytes());
            // The opening, and a piece long past, come again: nothing new.
            stream.begin(FIRST_BYTE);
            assert_eq!(say(&mut stream, 0, &spoken[..600]), None);
        }
        assert_eq!(name.as_deref(), Some("www.example.org"));
    }

    #[test]
    fn another_connection_begins_anew_behind_what_was_forgotten() {
        let mut stream = Stream::default();
        stream.begin(FIRST_BYTE);
        for number in 0..5 {
            assert_eq!(say(&mut stream, number * 500, &[b'.'; 500]), None);
        }
        stream.begin(FIRST_BYTE.wrapping_add(2_500));
        assert_eq!(say(&mut stream, 2_500, &hello()).as_deref(), Some("www.example.org"));
    }

    proptest! {
        #[test]
        fn however_it_is_cut_the_hello_behind_a_text_is_found(
            text in proptest::collection::vec(any::<u8>(), 1..6_000),
            cuts in proptest::collection::vec(1_usize..900, 1..40),
            is_asked_for in any::<bool>(),
        ) {
            // What begins as nothing known is searched.
            let request: &[u8] = if is_asked_for { b"STARTTLS\r\n" } else { b"" };
            let spoken = [b"~", &text[..], request, &hello()].concat();
            let mut whole = Stream::default();
            whole.begin(FIRST_BYTE);
            let expected = say(&mut whole, 0, &spoken);
            let mut stream = Stream::default();
            stream.begin(FIRST_BYTE);
            let (mut name, mut from) = (None, 0);
            for cut in cuts.iter().cycle() {
                let to = (from + cut).min(spoken.len());
                name = name.or(say(&mut stream, from, &spoken[from..to]));
                from = to;
                if from == spoken.len() {
                    break;
                }
            }
            prop_assert_eq!(&name, &expected);
            prop_assert!(!is_asked_for || name.is_some());
        }
    }
}
