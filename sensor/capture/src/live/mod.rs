//! Frames from interfaces as they pass. Each worker has one [`Live`], which joins all interfaces by time; the kernel
//! chooses the worker. How many frames went through is exact: what the kernel let pass is either given or counted as
//! dropped.
//!
//! The kernel writes frames into rings, and they are visited where they lie (`ring`, `rings`); `tap` opens the rings of
//! an interface, again whenever it is made anew, and `link` knows its state. libpcap is the other backend (`libpcap`).
//! Privileges are needed by [`open`] only. What frames mean is not decided here.

mod libpcap;
mod link;
pub mod options;
mod program;
mod ring;
mod rings;
mod system;
mod tap;

pub mod interfaces;

use std::collections::VecDeque;
use std::os::fd::RawFd;

pub use options::{Backend, Fanout, LiveOptions, Timestamps};

use self::libpcap::Libpcap;
use self::rings::Rings;
use super::{CaptureError, Position, Source, SourceStatistics};
use vigie_wire::Frame;

/// How many changes of state are kept until they are fetched; the oldest give way.
pub const CHANGES_MAX: usize = 64;

/// What is known of an interface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// There is none of that name. It is listened to as soon as there is.
    #[default]
    Missing,
    /// It was not set up, or was set down.
    Down,
    /// It is up, but nothing is at its other end.
    NoCarrier,
    /// It is listened to.
    Up,
    /// It exists but cannot be listened to.
    Refused,
}

impl State {
    /// The state in a word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Down => "down",
            Self::NoCarrier => "no-carrier",
            Self::Up => "up",
            Self::Refused => "refused",
        }
    }
}

/// What a worker saw of an interface. Added up over the workers, these are the interface's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InterfaceCounts {
    /// Its name.
    pub name: String,
    /// How it is, the same for all workers but for the time at which they notice.
    pub state: State,
    /// Frames given.
    pub frames: u64,
    /// Their bytes on the wire.
    pub bytes: u64,
    /// Frames that the kernel dropped because the worker was too slow.
    pub dropped: u64,
    /// How often the worker's ring stood still, all its blocks being taken.
    pub freezes: u64,
    /// Frames of which not all was captured.
    pub truncated: u64,
    /// Frames without a timestamp of the network card, if that was asked for; they have the kernel's.
    pub without_hardware_time: u64,
    /// Frames in the ring that made no sense; always 0 unless the kernel is defective.
    pub damaged: u64,
    /// How often it was opened again because it was made anew.
    pub reopened: u64,
    /// Frames that the interface itself dropped before the kernel gave them to anybody, since the start; counted by
    /// the first worker only.
    pub interface_dropped: u64,
    /// Frames that the network card dropped because the system was too slow to fetch them; as above.
    pub interface_missed: u64,
    /// How often it can still be opened again without privileges.
    pub spares: usize,
}

/// An interface changed its state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Which.
    pub interface: String,
    /// How it is now.
    pub state: State,
    /// One line for people; it says why, if that is known.
    pub what: String,
}

/// The frames of one worker, from all interfaces.
#[derive(Debug)]
pub struct Live {
    backend: Opened,
}

#[derive(Debug)]
enum Opened {
    Rings(Box<Rings>),
    Libpcap(Box<Libpcap>),
}

/// Opens the interfaces for so many workers. The result has one source for each of them, to be moved to its thread.
///
/// # Errors
/// An option makes no sense, the filter cannot be compiled, an interface cannot be listened to, or one is missing or
/// down and [`LiveOptions::wait_for_interfaces`] is not set.
pub fn open(options: &LiveOptions, workers: usize) -> Result<Vec<Live>, CaptureError> {
    options.check(workers)?;
    match options.backend {
        Backend::Ring => Ok(Rings::open(options, workers)?.into_iter().map(Live::rings).collect()),
        Backend::Pcap => Ok(vec![Live { backend: Opened::Libpcap(Box::new(Libpcap::open(options)?)) }]),
    }
}

/// How many sources [`open`] gives for so many workers.
pub const fn sources(options: &LiveOptions, workers: usize) -> usize {
    match options.backend {
        Backend::Ring => workers,
        Backend::Pcap => 1,
    }
}

impl Live {
    fn rings(rings: Rings) -> Self {
        Self { backend: Opened::Rings(Box::new(rings)) }
    }

    /// What was seen of each interface, in the order in which they were given. The kernel's own counts and the states
    /// are as of at most a quarter of a second ago.
    pub fn counts(&self) -> &[InterfaceCounts] {
        match &self.backend {
            Opened::Rings(rings) => rings.counts(),
            Opened::Libpcap(libpcap) => libpcap.counts(),
        }
    }

    /// Asks the kernel for its counts and the state of the interfaces now.
    pub fn refresh(&mut self) {
        match &mut self.backend {
            Opened::Rings(rings) => rings.look_after(true),
            Opened::Libpcap(libpcap) => libpcap.look_after(),
        }
    }

    /// The sockets on which frames come, spare ones too: nothing is to be sent on them.
    pub fn descriptors(&self) -> Vec<RawFd> {
        match &self.backend {
            Opened::Rings(rings) => rings.descriptors(),
            Opened::Libpcap(_) => Vec::new(),
        }
    }

    /// The oldest change of state that was not fetched yet. Every worker notices changes by itself: those of one are
    /// enough to be told. The first are the states at the start.
    pub fn next_change(&mut self) -> Option<Change> {
        match &mut self.backend {
            Opened::Rings(rings) => rings.changes().pop(),
            Opened::Libpcap(libpcap) => libpcap.changes().pop(),
        }
    }
}

impl Source for Live {
    /// As everywhere; it never ends, and after `wait_ms` without a frame it gives none. An interface that goes away is no error:
    /// its state tells.
    fn next_batch(&mut self, visit: &mut dyn FnMut(&[Frame<'_>])) -> Result<bool, CaptureError> {
        match &mut self.backend {
            Opened::Rings(rings) => rings.next_batch(visit),
            Opened::Libpcap(libpcap) => libpcap.next_batch(visit),
        }
        Ok(true)
    }

    fn statistics(&self) -> SourceStatistics {
        match &self.backend {
            Opened::Rings(rings) => rings.statistics(),
            Opened::Libpcap(libpcap) => libpcap.statistics(),
        }
    }

    fn position(&self) -> Position {
        Position::default()
    }

    fn interfaces(&self) -> usize {
        self.counts().len()
    }

    fn interface_name(&self, interface: u16) -> Option<&str> {
        self.counts().get(usize::from(interface)).map(|counts| counts.name.as_str())
    }
}

/// Changes of state that nobody has fetched yet.
#[derive(Debug, Default)]
struct Changes {
    waiting: VecDeque<Change>,
    /// What was last said of each interface.
    last: Vec<Option<(State, String)>>,
}

impl Changes {
    /// Notes how an interface is, if that is news.
    fn note(&mut self, place: usize, counts: &mut InterfaceCounts, state: State, why: &str) {
        counts.state = state;
        self.last.resize(self.last.len().max(place + 1), None);
        let Some(last) = self.last.get_mut(place) else { return };
        if last.as_ref().is_some_and(|(known, reason)| *known == state && reason == why) {
            return;
        }
        *last = Some((state, why.to_owned()));
        let told = match state {
            State::Missing => "there is no such interface; it is listened to as soon as there is",
            State::Down => "it is down; it is listened to as soon as it is up",
            State::NoCarrier => "it is up but has no carrier",
            State::Up => "it is listened to",
            State::Refused => "it cannot be listened to",
        };
        let what = match why {
            "" => format!("interface {}: {told}", counts.name),
            why => format!("interface {}: {told}: {why}", counts.name),
        };
        if self.waiting.len() >= CHANGES_MAX {
            self.waiting.pop_front();
        }
        self.waiting.push_back(Change { interface: counts.name.clone(), state, what });
    }

    fn pop(&mut self) -> Option<Change> {
        self.waiting.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_told_once() {
        let mut changes = Changes::default();
        let mut counts = InterfaceCounts { name: "tap0".to_owned(), ..InterfaceCounts::default() };
        for _ in 0..3 {
            changes.note(1, &mut counts, State::Missing, "");
        }
        changes.note(1, &mut counts, State::Refused, "no memory");
        changes.note(1, &mut counts, State::Refused, "no memory");
        changes.note(0, &mut counts, State::Up, "");
        let told: Vec<_> = std::iter::from_fn(|| changes.pop()).map(|change| change.what).collect();
        assert_eq!(told.len(), 3, "{told:?}");
        assert_eq!(told[1], "interface tap0: it cannot be listened to: no memory");
        assert_eq!(counts.state, State::Up);
        for place in 0..3 * CHANGES_MAX {
            changes.note(0, &mut counts, State::Down, &place.to_string());
        }
        assert_eq!(std::iter::from_fn(|| changes.pop()).count(), CHANGES_MAX);
    }
}
