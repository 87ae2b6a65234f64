//! The rings of one worker: it merges their frames by time and watches their interfaces.
//!
//! A frame waits for older ones ([`merge`](super::merge)) as long as the time-out of a block and a margin, unless it has a
//! hardware timestamp, whose clock may differ.

use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrayvec::ArrayVec;

use super::link::{CHECK_EVERY, Link, Links, STATE_EVERY};
use super::merge::{self, FrameQueue, now_ns};
use super::program::FilterPrograms;
use super::ring::{Ring, RingCounts};
use super::shunt::{Shunt, ShuntCounts};
use super::system::{PollEntry, poll_or_pause};
use super::tap::{Tap, refused, unsupported};
use super::{Changes, InterfaceCounts, LiveOptions, State, Timestamps};
use crate::{BATCH_FRAMES_MAX, CaptureError, SourceStatistics};
use vigie_wire::Frame;

/// How much later than its time-out a block may be handed over: the kernel's timer may be as coarse as 10 ms.
const TIMER_MARGIN_MS: u32 = 12;

/// All rings of one worker.
#[derive(Debug)]
pub(super) struct Rings {
    taps: Arc<Vec<Tap>>,
    programs: Arc<FilterPrograms>,
    worker: usize,
    rings: Vec<OpenRing>,
    poll_entries: Vec<PollEntry>,
    counts: Vec<InterfaceCounts>,
    last_seen: Vec<LastSeen>,
    changes: Changes,
    links: Links,
    checked: Instant,
    state_asked: Instant,
    frames: u64,
    captured_bytes: u64,
    wait_ms: u32,
    /// How long a frame waits for older ones from other rings.
    hold_ns: u64,
    /// How long a ring stays open after its interface went away.
    closing_time: Duration,
    hardware_timestamps: bool,
    /// What is shunted, if this is the first worker and something is.
    shunt: Option<ShuntCounts>,
}

/// What is remembered of an interface.
#[derive(Clone, Debug, Default)]
struct LastSeen {
    /// The generation of the newest ring.
    generation: u64,
    /// The link's counts, from which later drops are counted.
    link: Option<Link>,
}

/// A ring in use.
#[derive(Debug)]
struct OpenRing {
    ring: Ring,
    /// The index of its interface.
    tap: usize,
    /// When its interface went away, so that it gets no more frames.
    closing_since: Option<Instant>,
}

impl Rings {
    /// Opens the rings of all workers. A shunt that is a filter is attached to their sockets.
    pub(super) fn open(
        options: &LiveOptions,
        workers: usize,
        shunt: Option<&Shunt>,
    ) -> Result<Vec<Self>, CaptureError> {
        let first = options.interfaces.first().map(String::as_str).unwrap_or_default();
        let mut links = Links::open().map_err(|error| refused(first, &error))?;
        let programs =
            Arc::new(FilterPrograms::new(options.bpf.clone(), options.snap_bytes, shunt.map(Shunt::program)));
        let mut taps = Vec::with_capacity(options.interfaces.len());
        for (number, name) in options.interfaces.iter().enumerate() {
            let tap = Tap::new(name, number as u16, options, workers);
            match links.find(name).map_err(|error| refused(name, &error))? {
                Some(link) if link.is_up() => tap.open_first(&link, &programs)?,
                Some(link) if link.link_type().is_none() => return Err(unsupported(name, &link)),
                other if options.wait_for_interfaces => programs.precompile(other.as_ref(), &options.interfaces)?,
                Some(_) => return Err(not_there(name, "it is down", format!("run 'ip link set {name} up'"))),
                None => {
                    let mend = "'vigie interfaces' lists them".to_owned();
                    return Err(not_there(name, "there is no such interface", mend));
                }
            }
            tap.reserve(options.spare_sockets)?;
            taps.push(tap);
        }
        let taps = Arc::new(taps);
        (0..workers).map(|worker| Self::new(options, &taps, &programs, worker)).collect()
    }

    fn new(
        options: &LiveOptions,
        taps: &Arc<Vec<Tap>>,
        programs: &Arc<FilterPrograms>,
        worker: usize,
    ) -> Result<Self, CaptureError> {
        let first = taps.first().map(Tap::name).unwrap_or_default();
        let links = Links::open().map_err(|error| refused(first, &error))?;
        let counts = taps.iter().map(|tap| InterfaceCounts { name: tap.name().to_owned(), ..Default::default() });
        let now = Instant::now();
        let hold_ms = if taps.len() > 1 && options.timestamps == Timestamps::Kernel {
            options.block_timeout_ms + TIMER_MARGIN_MS
        } else {
            0
        };
        let mut rings = Self {
            taps: Arc::clone(taps),
            programs: Arc::clone(programs),
            worker,
            rings: Vec::new(),
            poll_entries: Vec::new(),
            counts: counts.collect(),
            last_seen: vec![LastSeen::default(); taps.len()],
            changes: Changes::default(),
            links,
            checked: now,
            state_asked: now,
            frames: 0,
            captured_bytes: 0,
            wait_ms: options.wait_ms,
            hold_ns: u64::from(hold_ms) * 1_000_000,
            closing_time: Duration::from_millis(u64::from(options.block_timeout_ms * 3 + TIMER_MARGIN_MS * 3)),
            hardware_timestamps: options.timestamps == Timestamps::Hardware,
            shunt: None,
        };
        rings.check_interfaces(true);
        Ok(rings)
    }

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

    /// The sockets of this worker's rings, and the spare sockets of all workers.
    pub(super) fn descriptors(&self) -> Vec<RawFd> {
        let rings = self.rings.iter().map(|open| open.ring.as_fd().as_raw_fd());
        rings.chain(self.taps.iter().flat_map(Tap::reserved)).collect()
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

    /// Shows the frames that are ready and need not wait. Returns false if there are none.
    fn visit_ready(&mut self, visit: &mut dyn FnMut(&[Frame<'_>])) -> bool {
        let mut batch: ArrayVec<Frame<'_>, BATCH_FRAMES_MAX> = ArrayVec::new();
        merge::fill(&mut batch, &self.rings, self.frames, self.hold_ns);
        let frames = batch.len();
        if frames > 0 {
            visit(&batch);
        }
        drop(batch);
        self.frames += frames as u64;
        for open in &mut self.rings {
            open.ring.release();
            let seen = open.ring.take_counts();
            if let Some(counts) = self.counts.get_mut(open.tap) {
                count(counts, &seen, self.hardware_timestamps);
            }
            self.captured_bytes += seen.captured;
        }
        frames > 0
    }

    /// Sleeps until a ring has frames, an interface changes, a frame has waited long enough, or `wait_ms` is over.
    fn wait(&mut self) {
        let now_ns = now_ns();
        let mut timeout_ms = self.wait_ms;
        self.poll_entries.clear();
        self.poll_entries.push(PollEntry::readable(Some(self.links.changes())));
        for open in &self.rings {
            let ready = open.ring.peek_ns();
            if let Some(ns) = ready {
                let left_ns = (ns + self.hold_ns).saturating_sub(now_ns).min(self.hold_ns);
                timeout_ms = timeout_ms.min((left_ns / 1_000_000) as u32 + 1);
            }
            // A ring whose frame has to wait is left out: it would end the sleep at once.
            self.poll_entries.push(PollEntry::readable(ready.is_none().then(|| open.ring.as_fd())));
        }
        poll_or_pause(&mut self.poll_entries, timeout_ms);
        let mut changed = self.poll_entries.first().is_some_and(PollEntry::is_readable);
        for (entry, open) in self.poll_entries.iter().skip(1).zip(&self.rings) {
            if entry.has_error() {
                let _ = open.ring.socket().take_error();
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
        if wanted || changed || now.duration_since(self.state_asked) >= STATE_EVERY {
            self.state_asked = now;
            for tap in 0..self.taps.len() {
                self.check_interface(tap, now);
            }
        }
        for open in &mut self.rings {
            count_drops(open, &mut self.counts);
        }
        self.take_shunted();
        self.close_finished(now);
    }

    /// Counts what is shunted from now on.
    pub(super) fn count_shunted(&mut self, shunt: ShuntCounts) {
        self.shunt = Some(shunt);
        self.check_interfaces(true);
    }

    fn take_shunted(&mut self) {
        let Some(shunt) = &self.shunt else { return };
        for counts in &mut self.counts {
            if let Some(seen) = shunt.of(&counts.name) {
                (counts.shunted, counts.shunted_bytes) = (seen.packets, seen.bytes);
            }
        }
    }

    /// Asks for the state of an interface, and claims its ring if it has appeared.
    fn check_interface(&mut self, place: usize, now: Instant) {
        let (Some(tap), Some(counts)) = (self.taps.get(place), self.counts.get_mut(place)) else { return };
        // While the kernel does not answer, the state stays as it was.
        let (Ok(link), Some(last_seen)) = (self.links.find(tap.name()), self.last_seen.get_mut(place)) else { return };
        let mut in_use = false;
        for open in self.rings.iter_mut().filter(|open| open.tap == place && open.closing_since.is_none()) {
            let bound_to = open.ring.socket().bound_to();
            if bound_to.is_some() && bound_to == link.as_ref().map(|link| link.index) {
                in_use = true;
            } else {
                open.closing_since = Some(now);
            }
        }
        counts.spares = tap.spares();
        let Some(link) = link else { return self.changes.update(place, counts, State::Missing, "") };
        if self.worker == 0 {
            count_interface(counts, last_seen.link.as_ref(), &link);
        }
        let why = match in_use || !link.is_up() {
            true => None,
            false => self.claim(place, &link, now).err(),
        };
        let (Some(last_seen), Some(counts)) = (self.last_seen.get_mut(place), self.counts.get_mut(place)) else {
            return;
        };
        match why {
            None => {
                // Only who may load programs could attach the shunt again.
                let is_anew = self.shunt.as_ref().is_some_and(|shunt| {
                    shunt.of(&counts.name).is_some() && !shunt.is_attached(&counts.name, link.index)
                });
                let why =
                    if is_anew { "it was made anew, and is not shunted until the sensor is restarted" } else { "" };
                self.changes.update(place, counts, state(&link), why);
            }
            Some(why) => self.changes.update(place, counts, State::Refused, &why),
        }
        last_seen.link = Some(link);
    }

    /// Claims the rings of an interface that has appeared. The newest is the one in use; frames in older ones are still given.
    fn claim(&mut self, place: usize, link: &Link, now: Instant) -> Result<(), String> {
        let (Some(tap), Some(last_seen)) = (self.taps.get(place), self.last_seen.get_mut(place)) else { return Ok(()) };
        let rings =
            tap.claim(self.worker, last_seen.generation, link, &self.programs).map_err(|error| match error {
                CaptureError::Interface { reason, mend, .. } => format!("{reason}; {mend}"),
                other => other.to_string(),
            })?;
        for (generation, ring) in rings {
            for open in self.rings.iter_mut().filter(|open| open.tap == place) {
                open.closing_since.get_or_insert(now);
            }
            last_seen.generation = generation;
            if let Some(counts) = self.counts.get_mut(place) {
                counts.reopened += u64::from(generation > 1);
                counts.spares = tap.spares();
            }
            self.rings.push(OpenRing { ring, tap: place, closing_since: None });
        }
        Ok(())
    }

    /// Closes the rings of interfaces that are gone, once all their frames were visited.
    fn close_finished(&mut self, now: Instant) {
        let is_finished = |open: &OpenRing| {
            let long_ago = open.closing_since.is_some_and(|since| now.duration_since(since) > self.closing_time);
            long_ago && open.ring.peek_ns().is_none()
        };
        while let Some(place) = self.rings.iter().position(is_finished) {
            let mut open = self.rings.swap_remove(place);
            count_drops(&mut open, &mut self.counts);
            if let Some(tap) = self.taps.get(open.tap) {
                tap.give_back(open.ring);
            }
        }
    }
}

impl FrameQueue for OpenRing {
    #[inline]
    fn peek_ns(&self) -> Option<u64> {
        self.ring.peek_ns()
    }

    #[inline]
    fn next(&self) -> Option<Frame<'_>> {
        self.ring.next()
    }

    fn is_half_full(&self) -> bool {
        self.ring.is_half_full()
    }
}

/// The state of a link that is captured.
pub(super) const fn state(link: &Link) -> State {
    match (link.is_up(), link.has_carrier()) {
        (false, _) => State::Down,
        (true, false) => State::NoCarrier,
        (true, true) => State::Up,
    }
}

#[inline]
fn count(counts: &mut InterfaceCounts, seen: &RingCounts, hardware_timestamps: bool) {
    counts.frames += seen.frames;
    counts.bytes += seen.bytes;
    counts.truncated += seen.truncated;
    counts.damaged += seen.damaged;
    if hardware_timestamps {
        counts.without_hardware_time += seen.frames - seen.hardware_timestamps;
    }
}

/// Adds what the kernel counted since it was last asked.
fn count_drops(open: &mut OpenRing, counts: &mut [InterfaceCounts]) {
    if let (Ok(statistics), Some(counts)) = (open.ring.socket().statistics(), counts.get_mut(open.tap)) {
        counts.dropped += u64::from(statistics.drops);
        counts.freezes += u64::from(statistics.freezes);
    }
}

/// Adds what the interface dropped since it was last checked. An interface that was created anew counts from 0.
fn count_interface(counts: &mut InterfaceCounts, before: Option<&Link>, now: &Link) {
    let Some(before) = before else { return };
    let (dropped, missed) = if before.index == now.index { (before.dropped, before.missed) } else { (0, 0) };
    counts.interface_dropped += now.dropped.saturating_sub(dropped);
    counts.interface_missed += now.missed.saturating_sub(missed);
}

pub(super) fn not_there(name: &str, reason: &str, mend: String) -> CaptureError {
    CaptureError::Interface { interface: name.to_owned(), reason: reason.to_owned(), mend }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_interface_dropped_counts_from_the_start_and_over_its_lives() {
        let mut counts = InterfaceCounts::default();
        let link = |index, dropped, missed| Link { index, dropped, missed, ..Link::default() };
        let seen = [link(4, 100, 7), link(4, 103, 7), link(9, 2, 1), link(9, 2, 5)];
        count_interface(&mut counts, None, &seen[0]);
        for pair in seen.windows(2) {
            count_interface(&mut counts, Some(&pair[0]), &pair[1]);
        }
        assert_eq!((counts.interface_dropped, counts.interface_missed), (5, 5));
    }
}
