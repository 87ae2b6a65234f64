//! One direction of a TCP connection as far as its hello: bytes are put in order, clear text in front is passed over,
//! and the hello is read as soon as its bytes are there.
//!
//! Where the connection's opening was not seen the first piece may be any piece. Then the stream floats: earlier pieces
//! move its beginning, until a hello shows where it really begins. A hole at the start, where a segment was lost, is
//! passed over if a hello stands behind it.

use super::prelude::{self, Match, Place, Prelude};
use super::tls::{self, ClientHello, HelloStep, HelloStream};
use super::{Counts, Evidence, Limits};
use vigie_decode::Segment;
use vigie_wire::assembly::{Assembly, InsertError};

/// How far the beginning of a floating stream may move.
const FLOAT_BYTES: u32 = 8_192;
/// Pieces after the name's that bring no more of the hello before it is told without its tail; and pieces of a floating
/// stream that tell nothing before it is left alone.
const PATIENCE: u8 = 8;

/// What a piece brought to light.
#[derive(Debug, Default)]
pub struct Findings<'a> {
    /// A name in clear text before the hello.
    pub name: Option<(Evidence, &'a [u8])>,
    /// The hello, complete or as much of it as will come.
    pub hello: Option<ClientHello<'a>>,
}

/// How far a stream is understood.
#[derive(Debug)]
struct Stage {
    prelude: Prelude,
    /// A hello begins at this offset of the view, or may.
    hello: Option<(u32, Box<HelloStream>)>,
    /// How much of the view was there when it was last listened to.
    view_bytes: u32,
}

impl Stage {
    /// Bytes of memory held, besides those of the struct itself.
    #[inline]
    fn memory_bytes(&self) -> usize {
        self.prelude.memory_bytes() + self.hello.as_ref().map_or(0, |(_, hello)| hello.memory_bytes())
    }
}

/// One direction of a TCP connection.
#[derive(Debug)]
pub struct Stream {
    /// Sequence number of offset 0.
    origin: u32,
    /// Bytes before that, back to the stream's first, that were searched in vain.
    forgotten: u32,
    is_begun: bool,
    is_floating: bool,
    /// How much earlier a floating stream may yet begin.
    float_bytes: u32,
    /// None until the first piece.
    stage: Option<Stage>,
    is_done: bool,
    /// What was said leads to no hello, whatever follows: nothing of it is kept. Only a floating stream may yet show that it
    /// begins earlier.
    is_lost: bool,
    assembly: Assembly,
    patience: u8,
}

impl Default for Stream {
    fn default() -> Self {
        Self {
            origin: 0,
            forgotten: 0,
            is_begun: false,
            is_floating: false,
            float_bytes: FLOAT_BYTES,
            stage: None,
            is_done: false,
            is_lost: false,
            assembly: Assembly::default(),
            patience: PATIENCE,
        }
    }
}

impl Stream {
    /// Bytes of memory held, besides those of the struct itself.
    #[inline]
    pub fn memory_bytes(&self) -> usize {
        self.assembly.capacity() + self.stage.as_ref().map_or(0, Stage::memory_bytes)
    }

    /// Forgets all, keeps the memory.
    pub fn reset(&mut self) {
        let mut assembly = std::mem::take(&mut self.assembly);
        assembly.clear();
        *self = Self { assembly, ..Self::default() };
    }

    /// Forgets all, and gives the memory back.
    pub fn release(&mut self) {
        *self = Self::default();
    }

    /// Whether nothing is expected any more.
    pub const fn is_done(&self) -> bool {
        self.is_done
    }

    /// Whether anything was said.
    pub fn is_empty(&self) -> bool {
        self.assembly.is_empty() && !self.is_lost
    }

    /// Gives back the memory that nothing is expected of any more. What was [heard](Findings) last is told by now.
    #[inline]
    pub fn free_unused(&mut self) {
        if !(self.is_done || self.is_lost) {
            self.forget();
        } else if self.memory_bytes() > 0 {
            self.stage = None;
            self.assembly.release();
        }
    }

    /// The stream begins with the byte of this sequence number, as a SYN said. What came before the SYN stays, if it is
    /// near; another number than before is another connection.
    pub fn begin(&mut self, first_byte: u32) {
        if self.is_begun && !self.is_floating && self.origin.wrapping_sub(self.forgotten) == first_byte {
            return;
        }
        let earlier = self.origin.wrapping_sub(first_byte);
        if self.is_begun && self.is_floating && earlier <= self.float_bytes {
            if earlier > 0 {
                self.begin_earlier(earlier);
            }
            (self.is_floating, self.is_done, self.patience) = (false, false, PATIENCE);
            return;
        }
        self.reset();
        self.is_begun = true;
        self.origin = first_byte;
    }

    /// Takes a segment with payload.
    pub fn segment<'a>(&'a mut self, segment: &Segment<'a>, limits: &Limits, counts: &mut Counts) -> Findings<'a> {
        if self.is_done {
            return Findings::default();
        }
        let sequence = segment.sequence.wrapping_add(u32::from(segment.flags & Segment::SYN != 0));
        let mut payload = segment.payload;
        if !self.is_begun && !self.begin_at_piece(sequence, payload) {
            return Findings::default();
        }
        // Distances of half the sequence space and more are backwards (RFC 9293 §3.4).
        let distance = sequence.wrapping_sub(self.origin) as i32;
        let offset = match usize::try_from(distance) {
            Ok(offset) => offset,
            Err(_) if self.is_floating && distance.unsigned_abs() <= self.float_bytes => {
                self.begin_earlier(distance.unsigned_abs());
                0
            }
            Err(_) => match payload.get(distance.unsigned_abs() as usize..) {
                Some(rest) if !rest.is_empty() => {
                    payload = rest;
                    0
                }
                _ => return Findings::default(),
            },
        };
        if self.is_lost {
            self.go_on_lost();
            return Findings::default();
        }
        if offset == 0
            && self.assembly.is_empty()
            && let Some(hello) = tls::hello_in_one_record(payload)
        {
            self.is_done = true;
            return Findings { hello: Some(hello), name: None };
        }
        match self.assembly.insert(offset, payload, limits.stream_bytes_max) {
            Ok(_) => {}
            Err(InsertError::BeyondLimit) => counts.stream_too_long += 1,
            Err(InsertError::TooManyIslands) => counts.stream_too_many_gaps += 1,
        }
        self.find_the_start(offset);
        self.listen(limits)
    }

    /// Gives up what was searched already and is not needed any more.
    #[inline]
    fn forget(&mut self) {
        let Some(stage) = self.stage.as_mut().filter(|stage| stage.hello.is_none() && !self.is_floating) else {
            return;
        };
        let bytes = stage.prelude.forgettable();
        if bytes > 0 {
            stage.prelude.forget(bytes);
            stage.view_bytes = stage.view_bytes.saturating_sub(bytes as u32);
            self.assembly.rebase(bytes);
            self.origin = self.origin.wrapping_add(bytes as u32);
            self.forgotten = self.forgotten.wrapping_add(bytes as u32);
            self.assembly.trim();
        }
    }

    /// Lets a stream begin whose opening was not seen. False if the piece is of encrypted records: the hello went by
    /// long before.
    fn begin_at_piece(&mut self, sequence: u32, payload: &[u8]) -> bool {
        if let [0x17, 3, 0..=4, ..] = *payload {
            self.lose_patience();
            return false;
        }
        self.is_begun = true;
        self.is_floating = prelude::client_hello_at(payload, 0, Place::Boundary) != Match::Yes;
        self.origin = sequence;
        true
    }

    /// An earlier piece of a floating stream came later.
    fn begin_earlier(&mut self, bytes: u32) {
        self.float_bytes -= bytes;
        self.origin = self.origin.wrapping_sub(bytes);
        self.assembly.shift(bytes as usize);
        self.stage = None;
        self.is_lost = false;
    }

    /// Another piece of a stream that leads to no hello. Of a floating one a later piece may show that it begins earlier.
    fn go_on_lost(&mut self) {
        self.patience = self.patience.saturating_sub(1);
        self.is_done = !self.is_floating || self.patience == 0;
    }

    fn lose_patience(&mut self) {
        self.patience = self.patience.saturating_sub(1);
        if self.patience == 0 {
            self.is_done = true;
        }
    }

    /// Where bytes before the known ones are missing: begins at the island around `offset`, if a hello begins there that
    /// cannot be mistaken. In records of one byte nearly any place looks like a hello's start.
    fn find_the_start(&mut self, offset: usize) {
        if !self.assembly.contiguous().is_empty() {
            return;
        }
        let Some((start, bytes)) = self.assembly.island(offset) else { return };
        if prelude::client_hello_at(bytes, 0, Place::Anywhere) == Match::Yes {
            self.assembly.rebase(start);
            self.origin = self.origin.wrapping_add(start as u32);
            self.is_floating = false;
            self.stage = None;
        }
    }

    /// Goes on over what is known from the start.
    fn listen(&mut self, limits: &Limits) -> Findings<'_> {
        let view = self.assembly.contiguous();
        if view.is_empty() {
            return Findings::default();
        }
        let stage = self.stage.get_or_insert_with(|| Stage {
            prelude: Prelude::new(limits.prelude_bytes_max),
            hello: None,
            view_bytes: 0,
        });
        // Streams are bounded by less than fits.
        let view_bytes = view.len() as u32;
        let is_longer = view_bytes > std::mem::replace(&mut stage.view_bytes, view_bytes);
        let mut name = None;
        let state = loop {
            if let Some((at, hello)) = &mut stage.hello {
                match State::of(hello.advance(view.get(*at as usize..).unwrap_or_default(), limits.hello_bytes_max)) {
                    State::Lost => stage.hello = None,
                    state => break state,
                }
            }
            match stage.prelude.advance(view) {
                prelude::Step::NeedMore => break State::More,
                prelude::Step::Name { evidence, name: range, .. } => {
                    name = name.or_else(|| Some((evidence, view.get(range)?)));
                }
                prelude::Step::Hello { offset } => stage.hello = Some((offset as u32, Box::default())),
                prelude::Step::GiveUp => break State::Lost,
            }
        };
        let tell = match state {
            State::More => false,
            State::Lost => {
                self.is_lost = true;
                self.patience = self.patience.saturating_sub(1);
                // Another piece may show that the stream begins earlier.
                self.is_done = !self.is_floating || self.patience == 0;
                false
            }
            // The tail is on its way.
            State::Named if is_longer => false,
            State::Named => {
                self.patience = self.patience.saturating_sub(1);
                self.patience == 0
            }
            State::Complete => true,
        };
        self.is_done |= tell;
        let hello = if tell { current(self.stage.as_mut(), view, limits) } else { None };
        Findings { name, hello }
    }

    /// Whether [`take_partial_hello`](Self::take_partial_hello) may have something to tell.
    pub fn has_partial_hello(&self) -> bool {
        !self.is_done && self.stage.as_ref().is_some_and(|stage| stage.hello.is_some())
    }

    /// The hello without its tail, if its name is there and was not told yet; for when nothing more will come. Without
    /// a name the stream goes on: what looked like the end may have been forged, or have overtaken the rest.
    pub fn take_partial_hello(&mut self, limits: &Limits) -> Option<ClientHello<'_>> {
        if self.is_done {
            return None;
        }
        let view = self.assembly.contiguous();
        let hello = current(self.stage.as_mut(), view, limits).filter(|hello| hello.server_name().is_some());
        self.is_done = hello.is_some();
        hello
    }
}

/// How far the hello is there.
enum State {
    More,
    /// Its name is there, its end is not.
    Named,
    Complete,
    /// There is none.
    Lost,
}

impl State {
    fn of(step: HelloStep<'_>) -> Self {
        match step {
            HelloStep::More => Self::More,
            HelloStep::Stopped(_) => Self::Lost,
            HelloStep::Hello(hello) if hello.is_complete() => Self::Complete,
            HelloStep::Hello(hello) if hello.server_name().is_some() => Self::Named,
            HelloStep::Hello(_) => Self::More,
        }
    }
}

/// The hello as far as it is there; looking twice at the same bytes costs next to nothing.
fn current<'a>(stage: Option<&'a mut Stage>, view: &'a [u8], limits: &Limits) -> Option<ClientHello<'a>> {
    let (at, hello) = stage?.hello.as_mut()?;
    match hello.advance(view.get(*at as usize..)?, limits.hello_bytes_max) {
        HelloStep::Hello(hello) => Some(hello),
        HelloStep::More | HelloStep::Stopped(_) => None,
    }
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
        let limits = Limits {
            stream_bytes_max: 49_152,
            hello_bytes_max: 32_768,
            prelude_bytes_max: 8_192,
            undecided_segments_max: 16_384,
            undecided_datagrams_max: 48,
            quic: crate::quic::QuicLimits::default(),
        };
        let heard = stream.segment(&segment, &limits, &mut Counts::default());
        let name = heard.hello.and_then(|hello| Some(String::from_utf8_lossy(hello.server_name()?).into_owned()));
        stream.free_unused();
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
