//! Frames from network interfaces. Each worker has one [`Live`], which merges all interfaces by time; the kernel chooses
//! the worker for a frame. The counts are exact: every frame that passed the filter is either given or counted as dropped.
//!
//! The kernel writes frames into rings, and workers visit them in place (`ring`, `rings`). `tap` opens the rings of an
//! interface, and opens them again when the interface was deleted and created anew; `link` knows its state, `merge` has the
//! order of frames. The other backends are AF_XDP ([`xdp`]) and libpcap (`libpcap`). Only [`open`] needs privileges.

mod libpcap;
mod link;
mod merge;
pub mod options;
mod prefetch;
mod program;
mod ring;
mod rings;
mod system;
mod tap;

mod fanout_program;
pub mod interfaces;
pub mod shunt;
pub mod xdp;

use std::collections::VecDeque;
use std::os::fd::RawFd;

pub use options::{Backend, Fanout, LiveOptions, ShuntMode, Timestamps};

pub(super) use self::system::{PollEntry, poll};

use self::libpcap::Libpcap;
use self::rings::Rings;
use self::shunt::Shunt;
use self::xdp::Sockets;
use super::{CaptureError, Position, Source, SourceStatistics};
use vigie_wire::Frame;

/// How many changes of state are kept until they are fetched; then the oldest is dropped.
pub const CHANGES_MAX: usize = 64;

/// The state of an interface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// There is no interface of that name. Capture starts when it appears.
    #[default]
    Missing,
    /// It is set down.
    Down,
    /// It is up but has no carrier.
    NoCarrier,
    /// It is captured.
    Up,
    /// It exists but cannot be captured.
    Refused,
}

impl State {
    /// The state in a word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Down => "down",
            Self::NoCarrier => "no-carrier",
            Self::Up => "up",
            Self::Refused => "refused",
        }
    }
}

/// What a worker saw of an interface. The sums over all workers are the interface's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InterfaceCounts {
    /// Its name.
    pub name: String,
    /// Its state. Workers notice changes at slightly different times.
    pub state: State,
    /// Frames given.
    pub frames: u64,
    /// Their bytes on the wire.
    pub bytes: u64,
    /// Frames that the kernel dropped because the worker was too slow.
    pub dropped: u64,
    /// How often the worker's ring was full.
    pub freezes: u64,
    /// Frames of which not all was captured.
    pub truncated: u64,
    /// Frames without a hardware timestamp although those were requested; they have the kernel's.
    pub without_hardware_time: u64,
    /// Frames in the ring with an impossible header; 0 unless the kernel is defective.
    pub damaged: u64,
    /// How often it was opened again because it had been deleted and created anew.
    pub reopened: u64,
    /// Frames that the interface itself dropped before any socket saw them, since the start; only the first worker counts
    /// them.
    pub interface_dropped: u64,
    /// Frames that the network card dropped because the system fetched them too late; counted as above.
    pub interface_missed: u64,
    /// Packets of settled flows that the [shunt] counted and kept from the workers; only the first worker counts them.
    pub shunted: u64,
    /// Their bytes on the wire; counted as above.
    pub shunted_bytes: u64,
    /// How often it can still be opened again without privileges.
    pub spares: usize,
}

/// An interface changed its state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Which.
    pub interface: String,
    /// Its state now.
    pub state: State,
    /// One line for people; it says why, if that is known.
    pub message: String,
}

/// The frames of one worker, from all interfaces.
#[derive(Debug)]
pub struct Live {
    backend: Opened,
}

#[derive(Debug)]
enum Opened {
    Rings(Box<Rings>),
    Sockets(Box<Sockets>),
    Libpcap(Box<Libpcap>),
}

/// Opens the interfaces for this many workers. Returns one source for each worker, to be moved to its thread. Who has not
/// [decided](xdp::obstacle) what `auto` comes to gets rings.
///
/// # Errors
/// An option makes no sense, the filter cannot be compiled, an interface cannot be captured, or one is missing or
/// down and [`LiveOptions::wait_for_interfaces`] is not set.
pub fn open(options: &LiveOptions, workers: usize) -> Result<Vec<Live>, CaptureError> {
    open_with(options, workers, None)
}

/// As [`open`], where the packets of settled flows are shunted.
///
/// # Errors
/// As of [`open`].
pub fn open_with(options: &LiveOptions, workers: usize, shunt: Option<&Shunt>) -> Result<Vec<Live>, CaptureError> {
    options.check(workers)?;
    match options.backend {
        Backend::Ring | Backend::Auto => {
            Ok(Rings::open(options, workers, shunt)?.into_iter().map(Live::rings).collect())
        }
        Backend::Xdp => Ok(Sockets::open(options, workers, shunt)?.into_iter().map(Live::sockets).collect()),
        Backend::Pcap => Ok(vec![Live { backend: Opened::Libpcap(Box::new(Libpcap::open(options)?)) }]),
    }
}

/// How many sources [`open`] returns for this many workers.
pub const fn sources(options: &LiveOptions, workers: usize) -> usize {
    match options.backend {
        Backend::Ring | Backend::Xdp | Backend::Auto => workers,
        Backend::Pcap => 1,
    }
}

impl Live {
    fn rings(rings: Rings) -> Self {
        Self { backend: Opened::Rings(Box::new(rings)) }
    }

    fn sockets(sockets: Sockets) -> Self {
        Self { backend: Opened::Sockets(Box::new(sockets)) }
    }

    /// The counts of each interface, in the order of the options. The kernel's counts and the states are at most a quarter
    /// of a second old.
    pub fn counts(&self) -> &[InterfaceCounts] {
        match &self.backend {
            Opened::Rings(rings) => rings.counts(),
            Opened::Sockets(sockets) => sockets.counts(),
            Opened::Libpcap(libpcap) => libpcap.counts(),
        }
    }

    /// Counts what is shunted on the interfaces; for the source of the first worker.
    pub fn count_shunted(&mut self, counts: shunt::ShuntCounts) {
        match &mut self.backend {
            Opened::Rings(rings) => rings.count_shunted(counts),
            Opened::Sockets(sockets) => sockets.count_shunted(counts),
            Opened::Libpcap(_) => {}
        }
    }

    /// Asks the kernel for its counts and the states of the interfaces now.
    pub fn refresh(&mut self) {
        match &mut self.backend {
            Opened::Rings(rings) => rings.check_interfaces(true),
            Opened::Sockets(sockets) => sockets.check_interfaces(true),
            Opened::Libpcap(libpcap) => libpcap.check_interfaces(),
        }
    }

    /// The sockets that receive frames, spare ones too. Nothing is to be sent on them.
    pub fn descriptors(&self) -> Vec<RawFd> {
        match &self.backend {
            Opened::Rings(rings) => rings.descriptors(),
            Opened::Sockets(sockets) => sockets.descriptors(),
            Opened::Libpcap(libpcap) => libpcap.descriptors(),
        }
    }

    /// The oldest change of state that was not fetched yet. The first are the states at the start. Every worker notices all
    /// changes, so those of one worker are enough.
    pub fn next_change(&mut self) -> Option<Change> {
        match &mut self.backend {
            Opened::Rings(rings) => rings.changes().pop(),
            Opened::Sockets(sockets) => sockets.changes().pop(),
            Opened::Libpcap(libpcap) => libpcap.changes().pop(),
        }
    }
}

impl Source for Live {
    /// Never ends. After `wait_ms` without a frame it returns without a visit. An interface that goes away is no error but a
    /// change of state.
    fn next_batch(&mut self, visit: &mut dyn FnMut(&[Frame<'_>])) -> Result<bool, CaptureError> {
        match &mut self.backend {
            Opened::Rings(rings) => rings.next_batch(visit),
            Opened::Sockets(sockets) => sockets.next_batch(visit),
            Opened::Libpcap(libpcap) => libpcap.next_batch(visit),
        }
        Ok(true)
    }

    fn statistics(&self) -> SourceStatistics {
        match &self.backend {
            Opened::Rings(rings) => rings.statistics(),
            Opened::Sockets(sockets) => sockets.statistics(),
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

/// Changes of state that were not fetched yet.
#[derive(Debug, Default)]
struct Changes {
    waiting: VecDeque<Change>,
    /// The last state and reason of each interface.
    last: Vec<Option<(State, String)>>,
}

impl Changes {
    /// Sets the state of an interface, and keeps a change if it is new.
    fn update(&mut self, place: usize, counts: &mut InterfaceCounts, state: State, why: &str) {
        counts.state = state;
        self.last.resize(self.last.len().max(place + 1), None);
        let Some(last) = self.last.get_mut(place) else { return };
        if last.as_ref().is_some_and(|(known, reason)| *known == state && reason == why) {
            return;
        }
        *last = Some((state, why.to_owned()));
        let text = match state {
            State::Missing if !why.is_empty() => "it does not exist",
            State::Missing => "it does not exist; capture starts when it appears",
            State::Down => "it is down; capture starts when it is up",
            State::NoCarrier => "it is up but has no carrier",
            State::Up => "it is captured",
            State::Refused => "it cannot be captured",
        };
        let message = match why {
            "" => format!("interface {}: {text}", counts.name),
            why => format!("interface {}: {text}: {why}", counts.name),
        };
        if self.waiting.len() >= CHANGES_MAX {
            self.waiting.pop_front();
        }
        self.waiting.push_back(Change { interface: counts.name.clone(), state, message });
    }

    fn pop(&mut self) -> Option<Change> {
        self.waiting.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_reported_once() {
        let mut changes = Changes::default();
        let mut counts = InterfaceCounts { name: "tap0".to_owned(), ..InterfaceCounts::default() };
        for _ in 0..3 {
            changes.update(1, &mut counts, State::Missing, "");
        }
        changes.update(1, &mut counts, State::Refused, "no memory");
        changes.update(1, &mut counts, State::Refused, "no memory");
        changes.update(0, &mut counts, State::Up, "");
        let told: Vec<_> = std::iter::from_fn(|| changes.pop()).map(|change| change.message).collect();
        assert_eq!(told.len(), 3, "{told:?}");
        assert_eq!(told[1], "interface tap0: it cannot be captured: no memory");
        assert_eq!(counts.state, State::Up);
        for place in 0..3 * CHANGES_MAX {
            changes.update(0, &mut counts, State::Down, &place.to_string());
        }
        assert_eq!(std::iter::from_fn(|| changes.pop()).count(), CHANGES_MAX);
    }
}
