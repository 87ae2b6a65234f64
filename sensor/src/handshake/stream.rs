//! One direction of a TCP connection as far as its hello: bytes are put in order, clear text in front is passed over,
//! and the hello is read as soon as its bytes are there.
//!
//! Where the connection's opening was not seen the first piece may be any piece. Then the stream floats: earlier pieces
//! move its beginning, until a hello shows where it really begins. A hole at the start, where a segment was lost, is
//! passed over if a hello stands behind it.

use super::prelude::{self, Match, Place, Prelude};
use super::tls::{self, ClientHello, HelloStep, HelloStream};
use super::{Counts, Evidence, Limits};
use crate::assembly::{Assembly, Refused};
use crate::decode::Segment;

/// How far the beginning of a floating stream may move.
const FLOAT_BYTES: u32 = 8_192;
/// Pieces after the name's that bring no more of the hello before it is told without its tail; and pieces of a floating
/// stream that tell nothing before it is left alone.
const PATIENCE: u8 = 8;

/// What a piece brought to light.
#[derive(Debug, Default)]
pub struct Heard<'a> {
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
    hello: Option<(usize, Box<HelloStream>)>,
    /// How much of the view was there when it was last listened to.
    view_bytes: usize,
}

/// One direction of a TCP connection.
#[derive(Debug)]
pub struct Stream {
    /// Sequence number of offset 0.
    origin: u32,
    is_begun: bool,
    is_floating: bool,
    /// How much earlier a floating stream may yet begin.
    float_bytes: u32,
    /// None until the first piece.
    stage: Option<Stage>,
    is_over: bool,
    assembly: Assembly,
    patience: u8,
}

impl Default for Stream {
    fn default() -> Self {
        Self {
            origin: 0,
            is_begun: false,
            is_floating: false,
            float_bytes: FLOAT_BYTES,
            stage: None,
            is_over: false,
            assembly: Assembly::default(),
            patience: PATIENCE,
        }
    }
}

impl Stream {
    /// Bytes of memory held.
    pub fn capacity(&self) -> usize {
        self.assembly.capacity()
    }

    /// Forgets all, keeps the memory.
    pub fn reset(&mut self) {
        let mut assembly = std::mem::take(&mut self.assembly);
        assembly.clear();
        *self = Self { assembly, ..Self::default() };
    }

    /// Whether nothing is expected any more.
    pub const fn is_over(&self) -> bool {
        self.is_over
    }

    /// Whether anything was said.
    pub fn is_silent(&self) -> bool {
        self.assembly.is_empty()
    }

    /// The stream begins with the byte of this sequence number, as a SYN said. What came before the SYN stays, if it is
    /// near; another number than before is another connection.
    pub fn begin(&mut self, first_byte: u32) {
        if self.is_begun && !self.is_floating && self.origin == first_byte {
            return;
        }
        let earlier = self.origin.wrapping_sub(first_byte);
        if self.is_begun && self.is_floating && earlier <= self.float_bytes {
            if earlier > 0 {
                self.begin_earlier(earlier);
            }
            (self.is_floating, self.is_over, self.patience) = (false, false, PATIENCE);
            return;
        }
        self.reset();
        self.is_begun = true;
        self.origin = first_byte;
    }

    /// Takes a segment with payload.
    pub fn segment<'a>(&'a mut self, segment: &Segment<'a>, limits: &Limits, counts: &mut Counts) -> Heard<'a> {
        if self.is_over {
            return Heard::default();
        }
        let sequence = segment.sequence.wrapping_add(u32::from(segment.flags & Segment::SYN != 0));
        let mut payload = segment.payload;
        if !self.is_begun && !self.begin_at_piece(sequence, payload) {
            return Heard::default();
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
                _ => return Heard::default(),
            },
        };
        if offset == 0
            && self.assembly.is_empty()
            && let Some(hello) = tls::hello_in_one_record(payload)
        {
            self.is_over = true;
            return Heard { hello: Some(hello), name: None };
        }
        match self.assembly.insert(offset, payload, limits.stream_bytes_max) {
            Ok(_) => {}
            Err(Refused::TooFar) => counts.stream_too_long += 1,
            Err(Refused::TooManyIslands) => counts.stream_too_torn += 1,
        }
        self.find_the_start(offset);
        self.listen(limits)
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
    }

    fn lose_patience(&mut self) {
        self.patience = self.patience.saturating_sub(1);
        if self.patience == 0 {
            self.is_over = true;
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
    fn listen(&mut self, limits: &Limits) -> Heard<'_> {
        let view = self.assembly.contiguous();
        if view.is_empty() {
            return Heard::default();
        }
        let stage = self.stage.get_or_insert_with(|| Stage {
            prelude: Prelude::new(limits.prelude_bytes_max),
            hello: None,
            view_bytes: 0,
        });
        let is_longer = view.len() > std::mem::replace(&mut stage.view_bytes, view.len());
        let mut name = None;
        let state = loop {
            if let Some((at, hello)) = &mut stage.hello {
                match State::of(hello.advance(view.get(*at..).unwrap_or_default(), limits.hello_bytes_max)) {
                    State::Lost => stage.hello = None,
                    state => break state,
                }
            }
            match stage.prelude.advance(view) {
                prelude::Step::NeedMore => break State::More,
                prelude::Step::Name { evidence, name: range, .. } => {
                    name = name.or_else(|| Some((evidence, view.get(range)?)));
                }
                prelude::Step::Hello { offset } => stage.hello = Some((offset, Box::default())),
                prelude::Step::GiveUp => break State::Lost,
            }
        };
        let tell = match state {
            State::More => false,
            // Another piece may show that the stream begins earlier.
            State::Lost if self.is_floating => {
                self.patience = self.patience.saturating_sub(1);
                self.is_over = self.patience == 0;
                false
            }
            State::Lost => {
                self.is_over = true;
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
        self.is_over |= tell;
        let hello = if tell { current(self.stage.as_mut(), view, limits) } else { None };
        Heard { name, hello }
    }

    /// Whether [`conclude`](Self::conclude) may have something to tell.
    pub fn may_tell(&self) -> bool {
        !self.is_over && self.stage.as_ref().is_some_and(|stage| stage.hello.is_some())
    }

    /// The hello without its tail, if its name is there and was not told yet; for when nothing more will come. Without
    /// a name the stream goes on: what looked like the end may have been forged, or have overtaken the rest.
    pub fn conclude(&mut self, limits: &Limits) -> Option<ClientHello<'_>> {
        if self.is_over {
            return None;
        }
        let view = self.assembly.contiguous();
        let hello = current(self.stage.as_mut(), view, limits).filter(|hello| hello.server_name().is_some());
        self.is_over = hello.is_some();
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
    match hello.advance(view.get(*at..)?, limits.hello_bytes_max) {
        HelloStep::Hello(hello) => Some(hello),
        HelloStep::More | HelloStep::Stopped(_) => None,
    }
}
