//! What all threads of the sensor report to: workers through cells of their own ([`WorkerCells`], [`CaptureCells`]),
//! everybody else through the methods here. Those take a short lock or an atomic addition, so they are for the
//! threads beside the packet path, never for a worker.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use prometheus::{Histogram, HistogramOpts};
use time::{Date, OffsetDateTime};
use vigie_signatures::{Bundle, Role, Rule, Verdict};

use super::cells::{CaptureCells, WorkerCells};
use super::families::{Family, LATENCY_BUCKETS};
use super::health::Reason;
use crate::detect::Evidence;

/// Series of [`Family::Matches`]; what would be one more is counted under the service `other`.
pub const MATCH_SERIES_MAX: usize = 4_096;
/// Interfaces told apart, and sinks; what would be one more is counted under `other`.
pub const NAMES_MAX: usize = 64;

/// Why an event will never be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// Its flow lost its place while the event waited for room in the channel.
    Evicted,
    /// The channel had no room.
    ChannelFull,
    /// The sink refused it.
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

/// How far the life of the process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Not all workers run yet.
    Starting,
    /// All workers run.
    Running,
    /// Draining.
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

/// What watches over an interface shows of it.
#[derive(Debug)]
pub struct InterfaceCells {
    pub(super) name: String,
    pub(super) up: AtomicBool,
    pub(super) reopened: AtomicU64,
    pub(super) dropped: AtomicU64,
    pub(super) silence_ms: AtomicU64,
}

impl InterfaceCells {
    /// Whether the interface is there and up.
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
}

/// What a sink shows.
#[derive(Debug)]
pub struct SinkCells {
    pub(super) name: String,
    pub(super) events: AtomicU64,
    pub(super) bytes: AtomicU64,
    pub(super) errors: AtomicU64,
}

impl SinkCells {
    /// So many events of so many bytes together were written.
    pub fn wrote(&self, events: u64, bytes: u64) {
        self.events.fetch_add(events, Relaxed);
        self.bytes.fetch_add(bytes, Relaxed);
    }

    /// A write failed.
    pub fn failed(&self) {
        self.errors.fetch_add(1, Relaxed);
    }
}

/// Facts about the signatures in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignatureFacts {
    /// Short digest of all rules.
    pub digest: String,
    /// How many rules.
    pub rules: u64,
    /// How many services.
    pub services: u64,
    /// Day of the newest review, in seconds since the epoch; `None` where there is no rule.
    pub newest_review: Option<i64>,
    /// Day of the oldest review, likewise.
    pub oldest_review: Option<i64>,
}

impl SignatureFacts {
    /// Those of a bundle.
    pub fn of(bundle: &Bundle) -> Self {
        let mut digest = ring::digest::Context::new(&ring::digest::SHA256);
        for rule in bundle.rules() {
            let id = rule.signature_id.to_string();
            let (kind, role, confidence) = (rule.kind.as_str(), rule.role.as_str(), rule.confidence.as_str());
            for word in [id.as_str(), &rule.service, kind, role, confidence, &rule.text, &rule.reviewed] {
                digest.update(word.as_bytes());
                digest.update(b"\0");
            }
        }
        let digest = digest.finish().as_ref().iter().take(6).map(|byte| format!("{byte:02x}")).collect();
        Self {
            digest,
            rules: bundle.len() as u64,
            services: bundle.services().len() as u64,
            newest_review: bundle.rules().iter().map(|rule| rule.reviewed.as_str()).max().and_then(day),
            oldest_review: bundle.oldest_review().and_then(day),
        }
    }
}

/// Midnight of a day written `YYYY-MM-DD`, in seconds since the epoch.
fn day(text: &str) -> Option<i64> {
    let date = Date::parse(text, time::macros::format_description!("[year]-[month]-[day]")).ok()?;
    Some(OffsetDateTime::new_utc(date, time::Time::MIDNIGHT).unix_timestamp())
}

/// What alerts were written.
#[derive(Debug, Default)]
pub(super) struct Detections {
    pub(super) matches: BTreeMap<MatchKey, u64>,
    pub(super) alerts: BTreeMap<(u8, Verdict), u64>,
}

/// The labels of [`Family::Matches`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct MatchKey {
    pub(super) service: String,
    pub(super) role: Role,
    pub(super) evidence: Evidence,
}

/// What is known of reloads.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ReloadFacts {
    pub(super) succeeded: u64,
    pub(super) failed: u64,
    pub(super) last: Option<(SystemTime, bool)>,
}

/// All that a scrape shows and readiness is judged by.
#[derive(Debug)]
pub struct Shared {
    started: Instant,
    pub(super) started_at: SystemTime,
    pub(super) sensor: String,
    pub(super) workers: Box<[Arc<WorkerCells>]>,
    pub(super) captures: Mutex<Vec<Arc<CaptureCells>>>,
    pub(super) interfaces: Mutex<Vec<Arc<InterfaceCells>>>,
    pub(super) sinks: Mutex<Vec<Arc<SinkCells>>>,
    pub(super) detections: Mutex<Detections>,
    pub(super) alerts_lost: Losses,
    pub(super) events_dropped: Losses,
    pub(super) latency: Histogram,
    pub(super) signatures: Mutex<Option<(SignatureFacts, SystemTime)>>,
    pub(super) reloads: Mutex<ReloadFacts>,
    pub(super) watchdog_fed: AtomicU64,
    pub(super) watchdog_withheld: AtomicU64,
    /// By path and status.
    pub(super) requests: Mutex<BTreeMap<(&'static str, u16), u64>>,
    pub(super) refused: Mutex<BTreeMap<&'static str, u64>>,
    pub(super) web_reloads: [AtomicU64; 2],
    /// What keeps the sensor from being ready, when last judged.
    pub(super) reasons: Mutex<Vec<Reason>>,
    phase: AtomicU8,
}

/// A lock whose holder panicked protects numbers, which stay numbers.
pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    /// For a sensor of that name with so many workers, whose counts have these labels (family and reason, as
    /// `Worker::all_counts` tells them).
    ///
    /// # Errors
    /// Never in practice: when the buckets of the histogram are refused.
    pub fn new(
        sensor: &str,
        labels: &[(&'static str, &'static str)],
        workers: usize,
    ) -> Result<Arc<Self>, prometheus::Error> {
        let options = HistogramOpts::new(Family::AlertLatency.name(), Family::AlertLatency.help())
            .buckets(LATENCY_BUCKETS.to_vec());
        Ok(Arc::new(Self {
            started: Instant::now(),
            started_at: SystemTime::now(),
            sensor: sensor.to_owned(),
            workers: (0..workers).map(|_| Arc::new(WorkerCells::new(labels))).collect(),
            captures: Mutex::default(),
            interfaces: Mutex::default(),
            sinks: Mutex::default(),
            detections: Mutex::default(),
            alerts_lost: Losses::default(),
            events_dropped: Losses::default(),
            latency: Histogram::with_opts(options)?,
            signatures: Mutex::default(),
            reloads: Mutex::default(),
            watchdog_fed: AtomicU64::new(0),
            watchdog_withheld: AtomicU64::new(0),
            requests: Mutex::default(),
            refused: Mutex::default(),
            web_reloads: [AtomicU64::new(0), AtomicU64::new(0)],
            reasons: Mutex::new(vec![Reason::starting()]),
            phase: AtomicU8::new(Phase::Starting as u8),
        }))
    }

    /// Milliseconds since start, by a clock that never jumps.
    #[inline]
    pub fn now_ms(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }

    /// A count of all workers together, by the labels of its family and reason; of the whole family without a reason.
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

    /// The sensor's name.
    pub fn sensor(&self) -> &str {
        &self.sensor
    }

    /// The cells of a worker, by its number from 0; to be held by the worker.
    pub fn worker(&self, index: usize) -> Option<Arc<WorkerCells>> {
        self.workers.get(index).cloned()
    }

    /// The cells of a worker's capture on an interface, to be held by the worker. The same for the same two.
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

    /// The cells of an interface, which counts as up until told otherwise. The same for the same name.
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
                silence_ms: AtomicU64::new(0),
            },
        )
    }

    /// The cells of a sink. The same for the same name.
    pub fn sink(&self, name: &str) -> Arc<SinkCells> {
        named(
            &self.sinks,
            name,
            |cells| &cells.name,
            |name| SinkCells { name, events: AtomicU64::new(0), bytes: AtomicU64::new(0), errors: AtomicU64::new(0) },
        )
    }

    /// An alert of this rule was written, so long after its packet; `None` where packet time is not the clock's.
    pub fn alert_written(&self, rule: &Rule, evidence: Evidence, latency: Option<Duration>) {
        let mut detections = locked(&self.detections);
        *detections.alerts.entry((rule.severity(), rule.verdict())).or_default() += 1;
        let mut key = MatchKey { service: rule.service.clone(), role: rule.role, evidence };
        if detections.matches.len() >= MATCH_SERIES_MAX && !detections.matches.contains_key(&key) {
            "other".clone_into(&mut key.service);
        }
        *detections.matches.entry(key).or_default() += 1;
        drop(detections);
        if let Some(latency) = latency {
            self.latency.observe(latency.as_secs_f64());
        }
    }

    /// Alerts that will never be written.
    pub fn alerts_lost(&self, reason: Loss, count: u64) {
        self.alerts_lost.add(reason, count);
    }

    /// Events other than alerts that will never be written.
    pub fn events_dropped(&self, reason: Loss, count: u64) {
        self.events_dropped.add(reason, count);
    }

    /// These signatures are in use from now on.
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

    /// The watchdog was told that the sensor works, or was left untold because it does not.
    pub fn watchdog(&self, is_fed: bool) {
        let cell = if is_fed { &self.watchdog_fed } else { &self.watchdog_withheld };
        cell.fetch_add(1, Relaxed);
    }

    /// How far the life of the process is; it starts with [`Phase::Starting`].
    pub fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Relaxed);
    }

    /// How far the life of the process is.
    pub fn phase(&self) -> Phase {
        match self.phase.load(Relaxed) {
            0 => Phase::Starting,
            1 => Phase::Running,
            _ => Phase::Stopping,
        }
    }

    /// Workers that have not gone round their loop for longer than `stall_max`, and for how long: what feeds the
    /// watchdog asks this too. While starting or stopping none is expected to.
    pub fn stalled(&self, stall_max: Duration) -> Vec<(usize, Duration)> {
        if self.phase() != Phase::Running {
            return Vec::new();
        }
        let now_ms = self.now_ms();
        let ages = self.workers.iter().map(|worker| now_ms.saturating_sub(worker.reading().progress_ms));
        ages.map(Duration::from_millis).enumerate().filter(|(_, age)| *age > stall_max).collect()
    }

    /// What keeps the sensor from being ready, as last judged.
    pub fn reasons(&self) -> Vec<Reason> {
        locked(&self.reasons).clone()
    }

    pub(super) fn signature_facts(&self) -> Option<(SignatureFacts, SystemTime)> {
        locked(&self.signatures).clone()
    }

    pub(super) fn requested(&self, path: &'static str, code: u16) {
        *locked(&self.requests).entry((path, code)).or_default() += 1;
    }

    pub(super) fn refused(&self, reason: &'static str) {
        *locked(&self.refused).entry(reason).or_default() += 1;
    }

    pub(super) fn web_reloaded(&self, is_success: bool) {
        let [succeeded, failed] = &self.web_reloads;
        if is_success { succeeded } else { failed }.fetch_add(1, Relaxed);
    }
}

/// The cells of that name, made if there are none yet.
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
    fn series_of_matches_are_bounded() {
        let shared = Shared::new("s", &[], 1).unwrap();
        let bundle = Bundle::builtin();
        let mut rule = (**bundle.rules().first().unwrap()).clone();
        for number in 0..MATCH_SERIES_MAX + 100 {
            rule.service = format!("service-{number}");
            shared.alert_written(&rule, Evidence::TlsSni, None);
        }
        let detections = locked(&shared.detections);
        assert_eq!(detections.matches.len(), MATCH_SERIES_MAX + 1);
        let key = MatchKey { service: "other".to_owned(), role: rule.role, evidence: Evidence::TlsSni };
        assert_eq!(detections.matches.get(&key), Some(&100));
    }

    #[test]
    fn the_digest_of_signatures_tells_them_apart() {
        let facts = SignatureFacts::of(&Bundle::builtin());
        assert_eq!(facts, SignatureFacts::of(&Bundle::builtin()));
        assert_eq!(facts.digest.len(), 12);
        assert!(facts.rules > 100 && facts.services > 10 && facts.oldest_review <= facts.newest_review);
        assert!(facts.oldest_review.unwrap() > 1_700_000_000);
        let options = vigie_signatures::LoadOptions { builtin: false, ..Default::default() };
        let (none, _) = Bundle::from_texts(&[], options).unwrap();
        assert_ne!(SignatureFacts::of(&none).digest, facts.digest);
        assert_eq!(SignatureFacts::of(&none).newest_review, None);
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
