//! Capture by AF_XDP: the XDP program at the driver hands frames to sockets, one for each queue of an interface, and workers
//! visit them in place. A queue belongs to one worker: number modulo workers.
//!
//! * In: interfaces that carry nothing but a copy of the traffic; this machine does not get the frames.
//! * Out: frames as they came, VLAN tags in place, with the time at which the program saw them; counts of all that was lost.
//! * Not here: filters, timestamps of the network card, and frames that this machine sends. An interface that is made anew is
//!   not captured before a restart: only who may load programs could attach one to it.
//!
//! What a driver cannot hand to a socket some drivers count as dropped by the interface too; such frames are counted once.
//!
//! `open` makes the sockets, `queue` reads one, `ring` has the two rings of a queue, `memory` what they share with the kernel,
//! `clock` the difference between its time stamps and the system's clock. The program is the shunt's ([`shunt`](super::shunt)).
//! `obstacle` says what the backend `auto` comes to.

mod clock;
mod memory;
mod obstacle;
mod open;
mod queue;
mod ring;

use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use arrayvec::ArrayVec;

use self::queue::Queue;
use super::link::{CHECK_EVERY, Link, Links, STATE_EVERY};
use super::merge::{self, now_ns};
use super::rings::state;
use super::shunt::program::Program;
use super::shunt::{ProgramCounts, ShuntCounts};
use super::system::{PacketSocket, PollEntry, poll_or_pause};
use super::{Changes, InterfaceCounts, State};
use crate::{BATCH_FRAMES_MAX, SourceStatistics};
use vigie_wire::Frame;

pub use self::obstacle::{may_load, obstacle, obstacle_so_far, obstacle_to_load};
pub use self::open::check;

/// How long the reader sleeps before it looks again, and how often before it waits for a call of the kernel. A call for each
/// few frames takes longer than what they need (it wakes the reader, and the driver has to make it).
const NAP: Duration = Duration::from_millis(1);
const NAPS_MAX: u32 = 4;
/// How long a frame waits for older ones from other queues. The driver hands frames over at the end of each poll.
const HOLD_NS: u64 = 3_000_000;

/// All queues of one worker.
#[derive(Debug)]
pub(super) struct Sockets {
    /// Takes the frames out of the interfaces again when the last worker drops it.
    _program: Arc<Program>,
    /// Keep the interfaces in promiscuous mode.
    promiscuous: Arc<Vec<PacketSocket>>,
    worker: usize,
    queues: Vec<Queue>,
    taps: Vec<Tap>,
    counts: Vec<InterfaceCounts>,
    changes: Changes,
    links: Links,
    poll_entries: Vec<PollEntry>,
    program_counts: ProgramCounts,
    /// Frames that the sockets of all workers dropped, of each interface.
    dropped: Arc<[AtomicU64]>,
    /// What is shunted, if this is the first worker and something is.
    shunt: Option<ShuntCounts>,
    checked: Instant,
    state_asked: Instant,
    frames: u64,
    captured_bytes: u64,
    wait_ms: u32,
}

/// An interface.
#[derive(Clone, Debug)]
struct Tap {
    /// Its number when it was opened.
    index: u32,
    /// How it is captured, for people.
    how: String,
    /// Whether frames came without a time stamp.
    is_unstamped: bool,
    /// Frames that no socket took when it was opened, and how many were counted since.
    unclaimed_before: u64,
    unclaimed: u64,
    /// Frames that the link had dropped when it was opened.
    link_dropped_before: u64,
    /// The link's counts when it was last checked.
    link: Option<Link>,
}

impl Sockets {
    /// Gives the frames that are ready, or waits for some.
    pub(super) fn next_batch(&mut self, visit: &mut dyn FnMut(&[Frame<'_>])) {
        if self.checked.elapsed() >= CHECK_EVERY {
            self.check_interfaces(false);
        }
        if !self.visit_ready(visit) {
            self.wait();
            self.visit_ready(visit);
        }
    }

    /// The sockets of this worker, and those that keep interfaces in promiscuous mode.
    pub(super) fn descriptors(&self) -> Vec<RawFd> {
        let queues = self.queues.iter().map(|queue| queue.as_fd().as_raw_fd());
        queues.chain(self.promiscuous.iter().map(|socket| socket.as_fd().as_raw_fd())).collect()
    }

    pub(super) fn counts(&self) -> &[InterfaceCounts] {
        &self.counts
    }

    pub(super) fn changes(&mut self) -> &mut Changes {
        &mut self.changes
    }

    pub(super) fn statistics(&self) -> SourceStatistics {
        SourceStatistics { frames: self.frames, bytes: self.captured_bytes, ..SourceStatistics::default() }
    }

    /// Counts what is shunted from now on.
    pub(super) fn count_shunted(&mut self, shunt: ShuntCounts) {
        self.shunt = Some(shunt);
        self.check_interfaces(true);
    }

    /// Shows the frames that are ready and need not wait. Returns false if there are none.
    fn visit_ready(&mut self, visit: &mut dyn FnMut(&[Frame<'_>])) -> bool {
        if !self.queues.iter().any(Queue::is_ready) {
            return false;
        }
        let read_ns = now_ns();
        self.queues.iter_mut().for_each(|queue| queue.read_at(read_ns));
        let mut batch: ArrayVec<Frame<'_>, BATCH_FRAMES_MAX> = ArrayVec::new();
        merge::fill(&mut batch, &self.queues, self.frames, HOLD_NS);
        let frames = batch.len();
        if frames > 0 {
            visit(&batch);
        }
        drop(batch);
        self.frames += frames as u64;
        for queue in &mut self.queues {
            queue.release();
            queue.wake();
            let seen = queue.take_counts();
            let place = usize::from(queue.interface());
            if let (Some(counts), Some(tap)) = (self.counts.get_mut(place), self.taps.get_mut(place)) {
                counts.frames += seen.frames;
                counts.bytes += seen.bytes;
                counts.truncated += seen.truncated;
                counts.damaged += seen.damaged;
                tap.is_unstamped |= seen.unstamped > 0;
            }
            self.captured_bytes += seen.captured;
        }
        frames > 0
    }

    /// Sleeps until a queue has frames, an interface changes, a frame has waited long enough, or `wait_ms` is over.
    fn wait(&mut self) {
        for _ in 0..NAPS_MAX {
            thread::sleep(NAP);
            self.queues.iter().for_each(Queue::wake);
            if self.queues.iter().any(Queue::is_ready) {
                return;
            }
        }
        self.poll_entries.clear();
        self.poll_entries.push(PollEntry::readable(Some(self.links.changes())));
        self.poll_entries.extend(self.queues.iter().map(|queue| PollEntry::readable(Some(queue.as_fd()))));
        poll_or_pause(&mut self.poll_entries, self.wait_ms);
        let mut changed = self.poll_entries.first().is_some_and(PollEntry::is_readable);
        for (entry, queue) in self.poll_entries.iter().skip(1).zip(&self.queues) {
            if entry.has_error() {
                queue.take_error();
                changed = true;
            }
        }
        if changed {
            self.check_interfaces(false);
        }
    }

    /// Asks for the kernel's counts, and for the states of the interfaces: on a change, once a second, or if `wanted`.
    pub(super) fn check_interfaces(&mut self, wanted: bool) {
        let now = Instant::now();
        self.checked = now;
        let changed = self.links.changed();
        for queue in &mut self.queues {
            queue.follow_clock();
            let lost = queue.take_statistics();
            if let Some(counts) = self.counts.get_mut(usize::from(queue.interface())) {
                counts.dropped += lost.dropped + lost.ring_full;
                if let Some(dropped) = self.dropped.get(usize::from(queue.interface())) {
                    dropped.fetch_add(lost.dropped + lost.ring_full, Ordering::Relaxed);
                }
                counts.freezes += lost.fill_empty;
                counts.damaged += lost.invalid;
            }
        }
        if wanted || changed || now.duration_since(self.state_asked) >= STATE_EVERY {
            self.state_asked = now;
            for place in 0..self.taps.len() {
                self.check_interface(place);
            }
        }
        if self.worker == 0 {
            self.take_program_counts();
        }
    }

    fn check_interface(&mut self, place: usize) {
        let (Some(tap), Some(counts)) = (self.taps.get_mut(place), self.counts.get_mut(place)) else { return };
        // While the kernel does not answer, the state stays as it was.
        let Ok(link) = self.links.find(&counts.name) else { return };
        let Some(link) = link.filter(|link| link.index == tap.index) else {
            // A socket without interface has an error at each poll. What is in its ring is still given.
            self.queues.retain(|queue| usize::from(queue.interface()) != place || queue.is_ready());
            let is_anew = matches!(self.links.find(&counts.name), Ok(Some(_)));
            let (state, why) = match is_anew {
                true => (
                    State::Refused,
                    "it was made anew, and AF_XDP cannot be opened for it without privileges; restart the sensor",
                ),
                false => (State::Missing, "it was deleted; restart the sensor when it is there again"),
            };
            return self.changes.update(place, counts, state, why);
        };
        if let (0, Some(before)) = (self.worker, &tap.link) {
            counts.interface_missed += link.missed.saturating_sub(before.missed);
            let by_sockets = self.dropped.get(place).map_or(0, |dropped| dropped.load(Ordering::Relaxed));
            // All workers have told what they dropped until the link's counts before these.
            let others = before.dropped.saturating_sub(tap.link_dropped_before).saturating_sub(by_sockets);
            counts.interface_dropped = counts.interface_dropped.max(others);
        }
        let state = state(&link);
        let how = match (state, tap.is_unstamped) {
            (State::Up, false) => tap.how.clone(),
            (State::Up, true) => {
                format!(
                    "{}; its driver has no room for time stamps, so frames have the time when they are read",
                    tap.how
                )
            }
            _ => String::new(),
        };
        self.changes.update(place, counts, state, &how);
        tap.link = Some(link);
    }

    /// Counts what is shunted, and frames of queues that have no socket.
    fn take_program_counts(&mut self) {
        for (counts, tap) in self.counts.iter_mut().zip(&mut self.taps) {
            let Some(seen) = self.program_counts.of(&counts.name) else { continue };
            let unclaimed = seen.unclaimed_packets.saturating_sub(tap.unclaimed_before);
            counts.dropped += unclaimed.saturating_sub(tap.unclaimed);
            tap.unclaimed = unclaimed;
            if self.shunt.is_some() {
                (counts.shunted, counts.shunted_bytes) = (seen.packets, seen.bytes);
            }
        }
    }
}
