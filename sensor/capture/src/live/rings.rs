//! The rings of one worker: their frames joined by time, their interfaces looked after.
//!
//! **Joining.** Among the frames that are ready the oldest goes first. But a ring hands frames over by blocks, so
//! while one has none ready, it may hold some that are older than another's. Therefore a frame waits until every ring
//! has one ready, or until it is so old that any older one must have been handed over meanwhile: the time-out of a
//! block, and a little. It does not wait if its ring is half full; nor do frames with hardware timestamps, whose clock
//! may be another. One interface alone has nothing to wait for.

use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use arrayvec::ArrayVec;

use super::link::{Link, Links};
use super::program::Programs;
use super::ring::{Ring, Tally};
use super::system::{Awaited, wait};
use super::tap::{Tap, refused, unsupported};
use super::{Changes, InterfaceCounts, LiveOptions, State, Timestamps};
use crate::{BATCH_FRAMES_MAX, CaptureError, SourceStatistics};
use vigie_wire::Frame;

/// How often interfaces are looked after.
const LOOK_AFTER_EVERY: Duration = Duration::from_millis(250);
/// How often their state is asked for though no change was told.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// How much longer than a block's time-out it may take until the block is handed over: the kernel's timer may be as
/// coarse as 10 ms.
const LATE_MS: u32 = 12;

/// All rings of one worker.
#[derive(Debug)]
pub(super) struct Rings {
    taps: Arc<Vec<Tap>>,
    programs: Arc<Programs>,
    worker: usize,
    legs: Vec<Leg>,
    awaited: Vec<Awaited>,
    counts: Vec<InterfaceCounts>,
    known: Vec<Known>,
    changes: Changes,
    links: Links,
    looked_after: Instant,
    asked: Instant,
    frames: u64,
    captured_bytes: u64,
    wait_ms: u32,
    /// For how long a frame waits for older ones from other rings.
    hold_ns: u64,
    leaving_for: Duration,
    hardware_timestamps: bool,
}

/// What is remembered of an interface.
#[derive(Clone, Debug, Default)]
struct Known {
    /// Of the newest ring that was fetched.
    generation: u64,
    /// As it was last seen, to count what it drops from there.
    link: Option<Link>,
}

/// A ring in use.
#[derive(Debug)]
struct Leg {
    ring: Ring,
    tap: usize,
    /// Since when it gets no more frames, its interface being gone.
    leaving: Option<Instant>,
}

impl Rings {
    /// Opens the rings of all workers.
    pub(super) fn open(options: &LiveOptions, workers: usize) -> Result<Vec<Self>, CaptureError> {
        let first = options.interfaces.first().map(String::as_str).unwrap_or_default();
        let mut links = Links::open().map_err(|error| refused(first, &error))?;
        let programs = Arc::new(Programs::new(options.bpf.clone(), options.snap_bytes));
        let mut taps = Vec::with_capacity(options.interfaces.len());
        for (number, name) in options.interfaces.iter().enumerate() {
            let tap = Tap::new(name, number as u16, options, workers);
            match links.find(name).map_err(|error| refused(name, &error))? {
                Some(link) if link.is_up() => tap.open_first(&link, &programs)?,
                Some(link) if link.link_type().is_none() => return Err(unsupported(name, &link)),
                other if options.wait_for_interfaces => programs.compile_ahead(other.as_ref(), &options.interfaces)?,
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
        programs: &Arc<Programs>,
        worker: usize,
    ) -> Result<Self, CaptureError> {
        let first = taps.first().map(Tap::name).unwrap_or_default();
        let links = Links::open().map_err(|error| refused(first, &error))?;
        let counts = taps.iter().map(|tap| InterfaceCounts { name: tap.name().to_owned(), ..Default::default() });
        let now = Instant::now();
        let hold_ms = if taps.len() > 1 && options.timestamps == Timestamps::Kernel {
            options.block_timeout_ms + LATE_MS
        } else {
            0
        };
        let mut rings = Self {
            taps: Arc::clone(taps),
            programs: Arc::clone(programs),
            worker,
            legs: Vec::new(),
            awaited: Vec::new(),
            counts: counts.collect(),
            known: vec![Known::default(); taps.len()],
            changes: Changes::default(),
            links,
            looked_after: now,
            asked: now,
            frames: 0,
            captured_bytes: 0,
            wait_ms: options.wait_ms,
            hold_ns: u64::from(hold_ms) * 1_000_000,
            leaving_for: Duration::from_millis(u64::from(options.block_timeout_ms * 3 + LATE_MS * 3)),
            hardware_timestamps: options.timestamps == Timestamps::Hardware,
        };
        rings.look_after(true);
        Ok(rings)
    }

    /// Gives the frames that are ready, or waits for some.
    pub(super) fn next_batch(&mut self, visit: &mut dyn FnMut(&[Frame<'_>])) {
        if self.looked_after.elapsed() >= LOOK_AFTER_EVERY {
            self.look_after(false);
        }
        if !self.visit_ready(visit) {
            self.wait();
            self.visit_ready(visit);
        }
    }

    /// The sockets of this worker's rings, and of those that are kept in reserve for all.
    pub(super) fn descriptors(&self) -> Vec<RawFd> {
        let rings = self.legs.iter().map(|leg| leg.ring.as_fd().as_raw_fd());
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

    /// Shows the frames that are ready and need not wait. False if there are none.
    fn visit_ready(&mut self, visit: &mut dyn FnMut(&[Frame<'_>])) -> bool {
        let mut batch: ArrayVec<Frame<'_>, BATCH_FRAMES_MAX> = ArrayVec::new();
        if let [leg] = self.legs.as_slice() {
            while !batch.is_full()
                && let Some(frame) = leg.ring.next()
            {
                batch.push(Frame { number: self.frames + 1 + batch.len() as u64, ..frame });
            }
        } else {
            let now_ns = now_ns();
            while !batch.is_full()
                && let Some(frame) = oldest(&self.legs, now_ns, self.hold_ns).and_then(|leg| leg.ring.next())
            {
                batch.push(Frame { number: self.frames + 1 + batch.len() as u64, ..frame });
            }
        }
        let frames = batch.len();
        if frames > 0 {
            visit(&batch);
        }
        drop(batch);
        self.frames += frames as u64;
        for leg in &mut self.legs {
            leg.ring.release();
            let tally = leg.ring.take_tally();
            if let Some(counts) = self.counts.get_mut(leg.tap) {
                count(counts, &tally, self.hardware_timestamps);
            }
            self.captured_bytes += tally.captured;
        }
        frames > 0
    }

    /// Sleeps until a ring has frames, an interface changes, a frame has waited long enough, or the time is over.
    fn wait(&mut self) {
        let now_ns = now_ns();
        let mut timeout_ms = self.wait_ms;
        self.awaited.clear();
        self.awaited.push(Awaited::readable(Some(self.links.changes())));
        for leg in &self.legs {
            let ready = leg.ring.peek_ns();
            if let Some(ns) = ready {
                let left_ns = (ns + self.hold_ns).saturating_sub(now_ns).min(self.hold_ns);
                timeout_ms = timeout_ms.min((left_ns / 1_000_000) as u32 + 1);
            }
            // A ring whose frames have to wait would end the wait at once.
            self.awaited.push(Awaited::readable(ready.is_none().then(|| leg.ring.as_fd())));
        }
        if wait(&mut self.awaited, timeout_ms).is_err() {
            // None of the reasons (poll(2)) can arise but lack of memory in the kernel; this must not become a hot loop.
            std::thread::sleep(Duration::from_millis(1));
        }
        let mut changed = self.awaited.first().is_some_and(Awaited::is_readable);
        for (awaited, leg) in self.awaited.iter().skip(1).zip(&self.legs) {
            if awaited.has_error() {
                let _ = leg.ring.socket().take_error();
                changed = true;
            }
        }
        if changed {
            self.look_after(false);
        }
    }

    /// Looks how the interfaces are, and asks for the kernel's counts. States are asked for if there was a change, if
    /// the last time is long ago, or if that is `wanted`.
    pub(super) fn look_after(&mut self, wanted: bool) {
        let now = Instant::now();
        self.looked_after = now;
        let changed = self.links.changed();
        if wanted || changed || now.duration_since(self.asked) >= ASK_EVERY {
            self.asked = now;
            for tap in 0..self.taps.len() {
                self.look_at(tap, now);
            }
        }
        for leg in &mut self.legs {
            count_drops(leg, &mut self.counts);
        }
        self.let_go(now);
    }

    /// Looks how an interface is, and fetches its ring if it has come.
    fn look_at(&mut self, place: usize, now: Instant) {
        let (Some(tap), Some(counts)) = (self.taps.get(place), self.counts.get_mut(place)) else { return };
        // If the kernel does not answer, the state stays what it was until it does.
        let (Ok(link), Some(known)) = (self.links.find(tap.name()), self.known.get_mut(place)) else { return };
        let mut in_use = false;
        for leg in self.legs.iter_mut().filter(|leg| leg.tap == place && leg.leaving.is_none()) {
            let bound_to = leg.ring.socket().bound_to();
            if bound_to.is_some() && bound_to == link.as_ref().map(|link| link.index) {
                in_use = true;
            } else {
                leg.leaving = Some(now);
            }
        }
        counts.spares = tap.spares();
        let Some(link) = link else { return self.changes.note(place, counts, State::Missing, "") };
        if self.worker == 0 {
            count_interface(counts, known.link.as_ref(), &link);
        }
        let why = match in_use || !link.is_up() {
            true => None,
            false => self.fetch(place, &link, now).err(),
        };
        let (Some(known), Some(counts)) = (self.known.get_mut(place), self.counts.get_mut(place)) else { return };
        match why {
            None => self.changes.note(place, counts, state(&link), ""),
            Some(why) => self.changes.note(place, counts, State::Refused, &why),
        }
        known.link = Some(link);
    }

    /// Fetches the rings of an interface that has come. The newest is the one in use: should others have come and gone
    /// meanwhile, what is in them is still given.
    fn fetch(&mut self, place: usize, link: &Link, now: Instant) -> Result<(), String> {
        let (Some(tap), Some(known)) = (self.taps.get(place), self.known.get_mut(place)) else { return Ok(()) };
        let rings = tap.fetch(self.worker, known.generation, link, &self.programs).map_err(|error| match error {
            CaptureError::Interface { reason, mend, .. } => format!("{reason}; {mend}"),
            other => other.to_string(),
        })?;
        for (generation, ring) in rings {
            for leg in self.legs.iter_mut().filter(|leg| leg.tap == place) {
                leg.leaving.get_or_insert(now);
            }
            known.generation = generation;
            if let Some(counts) = self.counts.get_mut(place) {
                counts.reopened += u64::from(generation > 1);
                counts.spares = tap.spares();
            }
            self.legs.push(Leg { ring, tap: place, leaving: None });
        }
        Ok(())
    }

    /// Closes rings of interfaces that are gone, once all their frames were handed over and visited.
    fn let_go(&mut self, now: Instant) {
        let over = |leg: &Leg| {
            let long_ago = leg.leaving.is_some_and(|since| now.duration_since(since) > self.leaving_for);
            long_ago && leg.ring.peek_ns().is_none()
        };
        while let Some(place) = self.legs.iter().position(over) {
            let mut leg = self.legs.swap_remove(place);
            count_drops(&mut leg, &mut self.counts);
            if let Some(tap) = self.taps.get(leg.tap) {
                tap.give_back(leg.ring);
            }
        }
    }
}

/// The leg whose frame is the next to be shown.
#[inline]
fn oldest(legs: &[Leg], now_ns: u64, hold_ns: u64) -> Option<&Leg> {
    let mut oldest: Option<(u64, &Leg)> = None;
    let mut all_ready = true;
    for leg in legs {
        match leg.ring.peek_ns() {
            Some(ns) if oldest.is_none_or(|(least, _)| ns < least) => oldest = Some((ns, leg)),
            Some(_) => {}
            None => all_ready = false,
        }
    }
    let (ns, leg) = oldest?;
    // A frame of the future says that the clock was set back; such are not waited for.
    let may_wait = !all_ready && now_ns.checked_sub(ns).is_some_and(|age_ns| age_ns < hold_ns);
    if may_wait && !leg.ring.is_half_full() { None } else { Some(leg) }
}

const fn state(link: &Link) -> State {
    match (link.is_up(), link.has_carrier()) {
        (false, _) => State::Down,
        (true, false) => State::NoCarrier,
        (true, true) => State::Up,
    }
}

fn now_ns() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64)
}

#[inline]
fn count(counts: &mut InterfaceCounts, tally: &Tally, hardware_timestamps: bool) {
    counts.frames += tally.frames;
    counts.bytes += tally.bytes;
    counts.truncated += tally.truncated;
    counts.damaged += tally.damaged;
    if hardware_timestamps {
        counts.without_hardware_time += tally.frames - tally.hardware_timestamps;
    }
}

/// Adds what the kernel counted since it was last asked.
fn count_drops(leg: &mut Leg, counts: &mut [InterfaceCounts]) {
    if let (Ok(statistics), Some(counts)) = (leg.ring.socket().statistics(), counts.get_mut(leg.tap)) {
        counts.dropped += u64::from(statistics.drops);
        counts.freezes += u64::from(statistics.freezes);
    }
}

/// Adds what the interface dropped since it was last looked at. One that was made anew counts from 0.
fn count_interface(counts: &mut InterfaceCounts, before: Option<&Link>, now: &Link) {
    let Some(before) = before else { return };
    let (dropped, missed) = if before.index == now.index { (before.dropped, before.missed) } else { (0, 0) };
    counts.interface_dropped += now.dropped.saturating_sub(dropped);
    counts.interface_missed += now.missed.saturating_sub(missed);
}

fn not_there(name: &str, reason: &str, mend: String) -> CaptureError {
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
