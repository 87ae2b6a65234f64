//! The state that all threads of the sensor report to: workers through cells of their own ([`WorkerCells`],
//! [`CaptureCells`]), other threads through the methods here. These methods take a short lock or do an atomic addition:
//! they are for threads beside the packet path, never for a worker.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use vigie_journal::JournalStatus;
use vigie_metrics::{Histogram, histogram};

use super::cells::{CaptureCells, WorkerCells};
use super::detections::Detections;
use super::families::{ALERT_LATENCY, LATENCY_BUCKETS};
use super::readiness::NotReady;
use super::signature_facts::SignatureFacts;

/// Interfaces with series of their own, and sinks; further ones are counted as `other`.
pub const NAMES_MAX: usize = 64;

/// Why an event will never be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// Its flow was evicted while the event waited for room in the channel.
    Evicted,
    /// The channel was full.
    ChannelFull,
    /// The sink failed to write it.
    SinkFailed,
    /// The sensor stopped before it could be written.
    Shutdown,
}

impl Loss {
    /// All of them, in order.
    pub const ALL: [Self; 4] = [Self::Evicted, Self::ChannelFull, Self::SinkFailed, Self::Shutdown];

    /// The value of the label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Evicted => "evicted",
            Self::ChannelFull => "channel_full",
            Self::SinkFailed => "sink_failed",
            Self::Shutdown => "shutdown",
        }
    }
}

/// The phase of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Not all workers run yet.
    Starting,
    /// All workers run.
    Running,
    /// The last packets and events are processed.
    Stopping,
}

/// Counts of [`Loss`], by reason.
#[derive(Debug, Default)]
pub(super) struct Losses([AtomicU64; Loss::ALL.len()]);

impl Losses {
    fn add(&self, reason: Loss, count: u64) {
        if let Some(cell) = self.0.get(reason as usize) {
            cell.fetch_add(count, Relaxed);
        }
    }

    pub(super) fn get(&self, reason: Loss) -> u64 {
        self.0.get(reason as usize).map_or(0, |cell| cell.load(Relaxed))
    }
}

/// State of an interface, written by the thread that supervises the workers.
#[derive(Debug)]
pub struct InterfaceCells {
    pub(super) name: String,
    pub(super) up: AtomicBool,
    pub(super) reopened: AtomicU64,
    pub(super) dropped: AtomicU64,
    pub(super) shunted: AtomicU64,
    pub(super) shunted_bytes: AtomicU64,
    pub(super) silence_ms: AtomicU64,
}

impl InterfaceCells {
    /// Whether the interface exists and is up.
    pub fn up(&self, is_up: bool) {
        self.up.store(is_up, Relaxed);
    }

    /// Capture on it was opened again.
    pub fn reopened(&self) {
        self.reopened.fetch_add(1, Relaxed);
    }

    /// Packets that the interface itself dropped since the sensor started; never falls.
    pub fn dropped(&self, packets: u64) {
        self.dropped.store(packets, Relaxed);
    }

    /// Packets and bytes that were shunted on the interface since the sensor started; they never fall.
    pub fn shunted(&self, packets: u64, bytes: u64) {
        self.shunted.store(packets, Relaxed);
        self.shunted_bytes.store(bytes, Relaxed);
    }
}

/// Counts of a sink.
#[derive(Debug)]
pub struct SinkCells {
    pub(super) name: String,
    pub(super) events: AtomicU64,
    pub(super) bytes: AtomicU64,
    pub(super) errors: AtomicU64,
    /// Since when a write has not succeeded, by [`Shared::now_ms`]; 0 if all is written.
    pub(super) writing_since_ms: AtomicU64,
}

impl SinkCells {
    /// A write begins, unless one is under way.
    pub fn writing(&self, now_ms: u64) {
        let _ = self.writing_since_ms.compare_exchange(0, now_ms.max(1), Relaxed, Relaxed);
    }

    /// All is written.
    pub fn idle(&self) {
        self.writing_since_ms.store(0, Relaxed);
    }

    /// Events were written, with this many bytes in total.
    pub fn wrote(&self, events: u64, bytes: u64) {
        self.events.fetch_add(events, Relaxed);
        self.bytes.fetch_add(bytes, Relaxed);
    }

    /// A write failed.
    pub fn failed(&self) {
        self.errors.fetch_add(1, Relaxed);
    }
}

/// Counts of reloads, and the last one.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ReloadFacts {
    pub(super) succeeded: u64,
    pub(super) failed: u64,
    pub(super) last: Option<(SystemTime, bool)>,
}

/// Everything that a scrape exports and readiness depends on.
#[derive(Debug)]
pub struct Shared {
    started: Instant,
    pub(super) started_at: SystemTime,
    pub(super) sensor: String,
    pub(super) workers: Box<[Arc<WorkerCells>]>,
    pub(super) captures: Mutex<Vec<Arc<CaptureCells>>>,
    pub(super) interfaces: Mutex<Vec<Arc<InterfaceCells>>>,
    pub(super) sinks: Mutex<Vec<Arc<SinkCells>>>,
    pub(super) shunt_slots_in_use: AtomicU64,
    pub(super) shunt_slots: AtomicU64,
    /// Counts of the journal, if there is one.
    pub(super) journal: OnceLock<Arc<JournalStatus>>,
    pub(super) detections: Mutex<Detections>,
    pub(super) alerts_lost: Losses,
    pub(super) events_dropped: Losses,
    pub(super) alerts_summarised: AtomicU64,
    /// Sightings that were judged.
    pub(super) sightings_judged: AtomicU64,
    /// Alerts that wait to be written, are written, or were given up.
    pub(super) alerts_encoded: AtomicU64,
    pub(super) worker_panics: Mutex<BTreeMap<usize, u64>>,
    pub(super) latency: Histogram,
    /// Hash of the policy in use.
    pub(super) policy: Mutex<String>,
    pub(super) signatures: Mutex<Option<(SignatureFacts, SystemTime)>>,
    pub(super) reloads: Mutex<ReloadFacts>,
    pub(super) watchdog_fed: AtomicU64,
    pub(super) watchdog_withheld: AtomicU64,
    /// Why the sensor was not ready at the last sample.
    pub(super) reasons: Mutex<Vec<NotReady>>,
    phase: AtomicU8,
}

/// The lock's content, also when a thread that held it panicked: it protects numbers, which stay valid.
pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    /// The state of a sensor with this name and number of workers. `labels` are family and reason of a worker's counts,
    /// in the order of `Worker::all_counts`.
    ///
    /// # Errors
    /// Never in practice: when the buckets of the histogram are refused.
    pub fn new(
        sensor: &str,
        labels: &[(&'static str, &'static str)],
        workers: usize,
    ) -> Result<Arc<Self>, vigie_metrics::Error> {
        Ok(Arc::new(Self {
            started: Instant::now(),
            started_at: SystemTime::now(),
            sensor: sensor.to_owned(),
            workers: (0..workers).map(|_| Arc::new(WorkerCells::new(labels))).collect(),
            captures: Mutex::default(),
            interfaces: Mutex::default(),
            sinks: Mutex::default(),
            shunt_slots_in_use: AtomicU64::new(0),
            shunt_slots: AtomicU64::new(0),
            journal: OnceLock::new(),
            detections: Mutex::new(Detections::at_0()),
            alerts_lost: Losses::default(),
            events_dropped: Losses::default(),
            alerts_summarised: AtomicU64::new(0),
            sightings_judged: AtomicU64::new(0),
            alerts_encoded: AtomicU64::new(0),
            worker_panics: Mutex::new((0..workers).map(|worker| (worker, 0)).collect()),
            latency: histogram(ALERT_LATENCY, LATENCY_BUCKETS)?,
            policy: Mutex::default(),
            signatures: Mutex::default(),
            reloads: Mutex::default(),
            watchdog_fed: AtomicU64::new(0),
            watchdog_withheld: AtomicU64::new(0),
            reasons: Mutex::new(vec![NotReady::starting()]),
            phase: AtomicU8::new(Phase::Starting as u8),
        }))
    }

    /// Milliseconds since start, by a clock that never jumps.
    #[inline]
    pub fn now_ms(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }

    /// The sum of a count over all workers, by family and reason; of the whole family without a reason.
    pub fn total(&self, family: &str, reason: Option<&str>) -> u64 {
        let of_worker = |cells: &Arc<WorkerCells>| -> u64 {
            let labels = cells.labels().iter().enumerate();
            let wanted = labels.filter(|(_, label)| label.0 == family && reason.is_none_or(|reason| label.1 == reason));
            wanted.map(|(index, _)| cells.load(index)).sum()
        };
        self.workers.iter().map(of_worker).sum()
    }

    /// Alerts that will never be written.
    pub fn alerts_lost_total(&self) -> u64 {
        Loss::ALL.iter().map(|&reason| self.alerts_lost.get(reason)).sum()
    }

    /// Events other than alerts that will never be written.
    pub fn events_dropped_total(&self) -> u64 {
        Loss::ALL.iter().map(|&reason| self.events_dropped.get(reason)).sum()
    }

    /// A sighting was judged.
    pub fn sighting_judged(&self) {
        self.sightings_judged.fetch_add(1, Relaxed);
    }

    /// An alert waits to be written.
    pub fn alert_encoded(&self) {
        self.alerts_encoded.fetch_add(1, Relaxed);
    }

    /// Counts the sightings, of so many, that were not judged, and the alerts that were not written, unless they are counted
    /// as lost already. To be called when nothing is written any more.
    pub fn unwritten_alerts_lost(&self, sightings: u64) {
        let expected = sightings.saturating_add(self.alerts_encoded.load(Relaxed));
        let known = [
            self.sightings_judged.load(Relaxed),
            self.alerts_written_total(),
            self.alerts_lost_total(),
            self.alerts_summarised_total(),
        ];
        self.alerts_lost(Loss::Shutdown, expected.saturating_sub(known.into_iter().sum()));
    }

    /// The sensor's name.
    pub fn sensor(&self) -> &str {
        &self.sensor
    }

    /// The cells of a worker, by its number from 0. The worker keeps them.
    pub fn worker(&self, index: usize) -> Option<Arc<WorkerCells>> {
        self.workers.get(index).cloned()
    }

    /// The cells of a worker's capture on an interface. The worker keeps them; the same pair gives the same cells.
    pub fn capture(&self, worker: usize, interface: &str) -> Arc<CaptureCells> {
        let name = self.interface(interface).name.clone();
        let mut captures = locked(&self.captures);
        if let Some(known) = captures.iter().find(|known| known.worker == worker && known.interface == name) {
            return Arc::clone(known);
        }
        let cells = Arc::new(CaptureCells::new(worker, &name));
        captures.push(Arc::clone(&cells));
        cells
    }

    /// Slots of the shunt's table in use, and all.
    pub fn shunt_slots(&self, (in_use, all): (u64, u64)) {
        self.shunt_slots_in_use.store(in_use, Relaxed);
        self.shunt_slots.store(all, Relaxed);
    }

    /// The cells of an interface, which counts as up at first. The same name gives the same cells.
    pub fn interface(&self, name: &str) -> Arc<InterfaceCells> {
        named(
            &self.interfaces,
            name,
            |cells| &cells.name,
            |name| InterfaceCells {
                name,
                up: AtomicBool::new(true),
                reopened: AtomicU64::new(0),
                dropped: AtomicU64::new(0),
                shunted: AtomicU64::new(0),
                shunted_bytes: AtomicU64::new(0),
                silence_ms: AtomicU64::new(0),
            },
        )
    }

    /// Exports the counts of this journal.
    pub fn journal(&self, status: &Arc<JournalStatus>) {
        let _ = self.journal.set(Arc::clone(status));
    }

    /// The cells of a sink. The same name gives the same cells.
    pub fn sink(&self, name: &str) -> Arc<SinkCells> {
        named(
            &self.sinks,
            name,
            |cells| &cells.name,
            |name| SinkCells {
                name,
                events: AtomicU64::new(0),
                bytes: AtomicU64::new(0),
                errors: AtomicU64::new(0),
                writing_since_ms: AtomicU64::new(0),
            },
        )
    }

    /// Alerts that will never be written.
    pub fn alerts_lost(&self, reason: Loss, count: u64) {
        self.alerts_lost.add(reason, count);
    }

    /// Alerts for which another one stands.
    pub fn alerts_summarised(&self, count: u64) {
        self.alerts_summarised.fetch_add(count, Relaxed);
    }

    /// All alerts for which another one stands.
    pub fn alerts_summarised_total(&self) -> u64 {
        self.alerts_summarised.load(Relaxed)
    }

    /// A packet stopped a worker, which has started anew.
    pub fn worker_panicked(&self, worker: usize) {
        *locked(&self.worker_panics).entry(worker).or_default() += 1;
    }

    /// Events other than alerts that will never be written.
    pub fn events_dropped(&self, reason: Loss, count: u64) {
        self.events_dropped.add(reason, count);
    }

    /// The signatures in use from now on.
    pub fn signatures(&self, facts: SignatureFacts) {
        *locked(&self.signatures) = Some((facts, SystemTime::now()));
    }

    /// A reload was tried.
    pub fn reloaded(&self, is_success: bool) {
        let mut reloads = locked(&self.reloads);
        match is_success {
            true => reloads.succeeded += 1,
            false => reloads.failed += 1,
        }
        reloads.last = Some((SystemTime::now(), is_success));
    }

    /// The watchdog was notified, or not because a worker stalled.
    pub fn watchdog(&self, is_fed: bool) {
        let cell = if is_fed { &self.watchdog_fed } else { &self.watchdog_withheld };
        cell.fetch_add(1, Relaxed);
    }

    /// The process enters this phase; the first one is [`Phase::Starting`].
    pub fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Relaxed);
    }

    /// The phase of the process.
    pub fn phase(&self) -> Phase {
        match self.phase.load(Relaxed) {
            0 => Phase::Starting,
            1 => Phase::Running,
            _ => Phase::Stopping,
        }
    }

    /// Workers that have not completed a round of their loop for longer than `stall_max`, and for how long; the watchdog
    /// depends on this too. Empty while the sensor starts or stops.
    pub fn stalled(&self, stall_max: Duration) -> Vec<(usize, Duration)> {
        if self.phase() != Phase::Running {
            return Vec::new();
        }
        let now_ms = self.now_ms();
        let ages = self.workers.iter().map(|worker| now_ms.saturating_sub(worker.reading().progress_ms));
        ages.map(Duration::from_millis).enumerate().filter(|(_, age)| *age > stall_max).collect()
    }

    /// The policy with this hash is in use.
    pub fn policy(&self, hash: &str) {
        hash.clone_into(&mut locked(&self.policy));
    }

    /// Why the sensor was not ready at the last sample.
    pub fn reasons(&self) -> Vec<NotReady> {
        locked(&self.reasons).clone()
    }

    /// The signatures in use, and when they were loaded.
    pub fn signature_facts(&self) -> Option<(SignatureFacts, SystemTime)> {
        locked(&self.signatures).clone()
    }
}

/// The cells with that name, made at first use.
fn named<T>(list: &Mutex<Vec<Arc<T>>>, name: &str, of: fn(&T) -> &String, make: impl FnOnce(String) -> T) -> Arc<T> {
    let mut list = locked(list);
    let is_known = list.iter().any(|known| of(known) == name);
    let name = if is_known || list.len() < NAMES_MAX { name } else { "other" };
    if let Some(known) = list.iter().find(|known| of(known) == name) {
        return Arc::clone(known);
    }
    let cells = Arc::new(make(name.to_owned()));
    list.push(Arc::clone(&cells));
    cells
}

/// Seconds since the epoch.
pub(super) fn epoch_seconds(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_bounded() {
        let shared = Shared::new("s", &[], 1).unwrap();
        for number in 0..200 {
            shared.interface(&format!("eth{number}")).reopened();
        }
        assert_eq!(locked(&shared.interfaces).len(), NAMES_MAX + 1);
        assert_eq!(shared.interface("eth150").reopened.load(Relaxed), 200 - NAMES_MAX as u64);
        assert!(Arc::ptr_eq(&shared.capture(0, "eth1"), &shared.capture(0, "eth1")));
        assert!(!Arc::ptr_eq(&shared.capture(0, "eth1"), &shared.capture(1, "eth1")));
        assert_eq!(shared.capture(0, "eth150").interface, "other");
    }

    #[test]
    fn a_worker_stalls_only_while_running() {
        let shared = Shared::new("s", &[], 2).unwrap();
        std::thread::sleep(Duration::from_millis(30));
        assert_eq!(shared.stalled(Duration::from_millis(1)), []);
        shared.enter(Phase::Running);
        shared.worker(0).unwrap().progressed(shared.now_ms() + 1_000_000);
        let stalled = shared.stalled(Duration::from_millis(1));
        assert_eq!(stalled.len(), 1);
        assert!(stalled.iter().all(|(worker, age)| *worker == 1 && age.as_millis() >= 30));
        assert_eq!(shared.stalled(Duration::from_secs(60)), []);
    }
}
