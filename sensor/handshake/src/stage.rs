//! How far the bytes of a stream are parsed: clear text in front, then the hello. It is the same for a stream as it comes
//! and for another reading of it.

use super::opening::Desync;
use super::prelude::{self, Prelude};
use super::tls::{ClientHello, HelloStep, HelloStream};
use super::{Evidence, Limits};

/// What a segment completed.
#[derive(Debug, Default)]
pub struct Findings<'a> {
    /// A name in clear text before the hello.
    pub name: Option<(Evidence, &'a [u8])>,
    /// More of them: a CONNECT has a target and a Host header, and one segment may have several messages.
    pub other_names: Vec<(Evidence, &'a [u8])>,
    /// The hello: complete, or as much of it as will come.
    pub hello: Option<ClientHello<'a>>,
    /// Why other bytes of the stream contradict these.
    pub desync: Desync,
}

impl<'a> Findings<'a> {
    /// Whether nothing was found.
    pub const fn is_empty(&self) -> bool {
        self.name.is_none() && self.other_names.is_empty() && self.hello.is_none()
    }

    /// All names, that of the hello first.
    pub(crate) fn names(&self) -> impl Iterator<Item = &'a [u8]> {
        let of_hello = self.hello.as_ref().and_then(|hello| hello.server_name());
        of_hello.into_iter().chain(self.clear_names().map(|(_, name)| name))
    }

    /// All names in clear text, in their order.
    pub fn clear_names(&self) -> impl Iterator<Item = (Evidence, &'a [u8])> {
        self.name.iter().chain(&self.other_names).copied()
    }
}

/// Names in clear text: the first, and the others.
pub(crate) type ClearNames<'a> = (Option<(Evidence, &'a [u8])>, Vec<(Evidence, &'a [u8])>);

/// How far a stream is parsed.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) prelude: Prelude,
    /// A hello begins, or may begin, at this offset of the contiguous bytes.
    pub(crate) hello: Option<(u32, Box<HelloStream>)>,
    /// Contiguous bytes at the last call of `parse`.
    pub(crate) parsed_bytes: u32,
}

impl Stage {
    /// Bytes of memory held, besides those of the struct itself.
    #[inline]
    pub(crate) fn memory_bytes(&self) -> usize {
        self.prelude.memory_bytes() + self.hello.as_ref().map_or(0, |(_, hello)| hello.memory_bytes())
    }

    /// Nothing is parsed yet.
    pub(crate) fn new(limits: &Limits) -> Self {
        Self::inside(limits, false)
    }

    /// The same for a stream that may have begun before its first byte that is known.
    pub(crate) fn inside(limits: &Limits, may_begin_inside: bool) -> Self {
        let prelude = Prelude::new(limits.prelude_bytes_max).inside(may_begin_inside);
        Self { prelude, hello: None, parsed_bytes: 0 }
    }

    /// Parses `view`, the contiguous bytes, from where the last call stopped: how much of the hello is there, and the names
    /// in clear text before it.
    pub(crate) fn advance<'a>(&mut self, view: &'a [u8], limits: &Limits) -> (State, ClearNames<'a>) {
        let (mut first, mut others) = (None, Vec::new());
        let state = loop {
            if let Some((at, hello)) = &mut self.hello {
                match State::of(hello.advance(view.get(*at as usize..).unwrap_or_default(), limits.hello_bytes_max)) {
                    State::None => self.hello = None,
                    state => break state,
                }
            }
            match self.prelude.advance(view, &limits.http) {
                prelude::Step::NeedMore => break State::More,
                prelude::Step::Name { evidence, name, .. } => match view.get(name) {
                    Some(name) if evidence == Evidence::HttpConnect && !self.prelude.is_new_name(name) => {}
                    Some(name) if first.is_none() => first = Some((evidence, name)),
                    Some(name) => others.push((evidence, name)),
                    None => {}
                },
                prelude::Step::Hello { offset } => self.hello = Some((offset as u32, Box::default())),
                prelude::Step::GiveUp => break State::None,
            }
        };
        (state, (first, others))
    }

    /// Whether a hello or the head of a request has begun.
    pub(crate) fn is_amid_message(&self) -> bool {
        self.hello.is_some() || self.prelude.is_in_head()
    }

    /// All that `bytes` show, when no more of them come.
    pub(crate) fn read_all<'a>(&'a mut self, bytes: &'a [u8], limits: &Limits) -> Findings<'a> {
        let (state, (name, other_names)) = self.advance(bytes, limits);
        let hello = match state {
            State::Named | State::Complete => current(Some(self), bytes, limits),
            State::More | State::None => None,
        };
        Findings { name, other_names, hello, desync: Desync::default() }
    }
}

/// How much of the hello has arrived.
pub(crate) enum State {
    More,
    /// Its name has arrived, its end has not.
    Named,
    Complete,
    /// There is none.
    None,
}

impl State {
    fn of(step: HelloStep<'_>) -> Self {
        match step {
            HelloStep::More => Self::More,
            HelloStep::Stopped(_) => Self::None,
            HelloStep::Hello(hello) if hello.is_complete() => Self::Complete,
            HelloStep::Hello(hello) if hello.server_name().is_some() => Self::Named,
            HelloStep::Hello(_) => Self::More,
        }
    }
}

/// The hello as far as it has arrived. A second call on the same bytes costs next to nothing.
pub(crate) fn current<'a>(stage: Option<&'a mut Stage>, view: &'a [u8], limits: &Limits) -> Option<ClientHello<'a>> {
    let (at, hello) = stage?.hello.as_mut()?;
    match hello.advance(view.get(*at as usize..)?, limits.hello_bytes_max) {
        HelloStep::Hello(hello) => Some(hello),
        HelloStep::More | HelloStep::Stopped(_) => None,
    }
}
