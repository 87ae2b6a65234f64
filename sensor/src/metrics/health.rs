//! Whether the sensor sees its traffic and can judge it. A sensor that is up but blind is worse than one that is down,
//! so readiness asks for evidence: packets that arrive, workers that move, signatures that are not old.
//! Numbers and times in, reasons out; who samples them is elsewhere.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, SystemTime};

use super::shared::{Phase, Shared, epoch_seconds, locked};

/// From when on the sensor counts as blind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thresholds {
    /// Without a packet on any interface.
    pub silence_max: Duration,
    /// Without a worker's going round its loop.
    pub stall_max: Duration,
    /// Over so long drops are judged.
    pub drops_window: Duration,
    /// So many of a hundred packets dropped within it.
    pub drops_percent: u32,
    /// Since the newest review among the signatures.
    pub signature_age_max: Duration,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self {
            silence_max: Duration::from_secs(60),
            stall_max: Duration::from_secs(10),
            drops_window: Duration::from_secs(10),
            drops_percent: 90,
            signature_age_max: Duration::from_secs(u64::from(vigie_signatures::REVIEW_DAYS_MAX) * 86_400),
        }
    }
}

/// Why the sensor is not ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blindness {
    /// Not all workers run yet.
    Starting,
    /// The sensor drains.
    Stopping,
    /// No packet on any interface.
    NoPackets,
    /// Packets arrive, but most are dropped.
    PacketsDropped,
    /// A worker stands still.
    WorkerStalled,
    /// An interface is missing or down.
    InterfaceDown,
    /// The signatures are old.
    SignaturesStale,
    /// There are no signatures.
    SignaturesMissing,
}

impl Blindness {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Starting,
        Self::Stopping,
        Self::NoPackets,
        Self::PacketsDropped,
        Self::WorkerStalled,
        Self::InterfaceDown,
        Self::SignaturesStale,
        Self::SignaturesMissing,
    ];

    /// The word for it in answers and labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Stopping => "stopping",
            Self::NoPackets => "no_packets",
            Self::PacketsDropped => "packets_dropped",
            Self::WorkerStalled => "worker_stalled",
            Self::InterfaceDown => "interface_down",
            Self::SignaturesStale => "signatures_stale",
            Self::SignaturesMissing => "signatures_missing",
        }
    }
}

/// A reason, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// Which.
    pub what: Blindness,
    /// One line for people.
    pub detail: String,
}

impl Reason {
    fn new(what: Blindness, detail: impl Into<String>) -> Self {
        Self { what, detail: detail.into() }
    }

    pub(super) fn starting() -> Self {
        Self::new(Blindness::Starting, "the sensor is starting")
    }
}

/// What an interface had come to at some time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Traffic {
    packets: u64,
    dropped: u64,
}

/// Remembers what was sampled, to see what moves.
#[derive(Debug)]
pub struct Judge {
    thresholds: Thresholds,
    /// Last traffic of each interface, and when it changed.
    interfaces: BTreeMap<String, (Traffic, u64)>,
    /// Times and sums within the window, oldest first.
    window: VecDeque<(u64, Traffic)>,
}

impl Judge {
    /// One that has seen nothing yet.
    pub const fn new(thresholds: Thresholds) -> Self {
        Self { thresholds, interfaces: BTreeMap::new(), window: VecDeque::new() }
    }

    /// Samples, judges, and notes the judgement for scrapes. To be called about once a second.
    pub fn observe(&mut self, shared: &Shared) {
        let reasons = self.reasons(shared, shared.now_ms(), SystemTime::now());
        *locked(&shared.reasons) = reasons;
    }

    fn reasons(&mut self, shared: &Shared, now_ms: u64, now: SystemTime) -> Vec<Reason> {
        let mut reasons = Vec::new();
        let phase = shared.phase();
        match phase {
            Phase::Starting => reasons.push(Reason::starting()),
            Phase::Stopping => reasons.push(Reason::new(Blindness::Stopping, "the sensor is stopping")),
            Phase::Running => {}
        }
        let traffic = self.traffic(shared, now_ms);
        if phase == Phase::Running {
            reasons.extend(self.traffic_reason(traffic, now_ms));
        }
        for (worker, age) in shared.stalled(self.thresholds.stall_max) {
            let detail = format!("worker {worker} has not moved for {} s", age.as_secs());
            reasons.push(Reason::new(Blindness::WorkerStalled, detail));
        }
        for interface in locked(&shared.interfaces).iter().filter(|interface| !interface.up.load(Relaxed)) {
            let detail = format!("interface {} is down or missing", interface.name);
            reasons.push(Reason::new(Blindness::InterfaceDown, detail));
        }
        reasons.extend(self.signature_reason(shared, now));
        reasons
    }

    /// What all interfaces came to; notes for each when it last moved.
    fn traffic(&mut self, shared: &Shared, now_ms: u64) -> Traffic {
        let mut current: BTreeMap<String, Traffic> = BTreeMap::new();
        for interface in locked(&shared.interfaces).iter() {
            current.insert(interface.name.clone(), Traffic::default());
        }
        for capture in locked(&shared.captures).iter() {
            let counts = capture.counts();
            let traffic = current.entry(capture.interface.clone()).or_default();
            traffic.packets += counts.packets;
            traffic.dropped += counts.dropped_ring + counts.dropped_sensor;
        }
        let mut sum = Traffic::default();
        for interface in locked(&shared.interfaces).iter() {
            let Some(&traffic) = current.get(&interface.name) else { continue };
            let (last, moved_ms) = self.interfaces.entry(interface.name.clone()).or_insert((traffic, now_ms));
            if *last != traffic {
                (*last, *moved_ms) = (traffic, now_ms);
            }
            interface.silence_ms.store(now_ms.saturating_sub(*moved_ms), Relaxed);
            sum.packets += traffic.packets;
            sum.dropped += traffic.dropped;
        }
        sum
    }

    fn traffic_reason(&mut self, sum: Traffic, now_ms: u64) -> Option<Reason> {
        let window_ms = self.thresholds.drops_window.as_millis() as u64;
        self.window.push_back((now_ms, sum));
        // The oldest kept is the youngest that lies a whole window back.
        while self.window.get(1).is_some_and(|&(at, _)| now_ms.saturating_sub(at) >= window_ms) {
            self.window.pop_front();
        }
        let &(oldest_at, oldest) = self.window.front()?;
        let is_full = now_ms.saturating_sub(oldest_at) >= window_ms;
        let dropped = sum.dropped.saturating_sub(oldest.dropped);
        let all = dropped.saturating_add(sum.packets.saturating_sub(oldest.packets));
        let bound = u128::from(all) * u128::from(self.thresholds.drops_percent);
        if is_full && dropped > 0 && u128::from(dropped) * 100 >= bound {
            let seconds = window_ms.div_ceil(1000);
            let detail = format!("{dropped} of {all} packets in the last {seconds} s were dropped");
            return Some(Reason::new(Blindness::PacketsDropped, detail));
        }
        let moved_ms = self.interfaces.values().map(|&(_, moved_ms)| moved_ms).max();
        let silent_ms = now_ms.saturating_sub(moved_ms.unwrap_or(0));
        let is_silent = silent_ms >= self.thresholds.silence_max.as_millis() as u64;
        let detail = || format!("no packet on any interface for {} s", silent_ms / 1000);
        is_silent.then(|| Reason::new(Blindness::NoPackets, detail()))
    }

    fn signature_reason(&self, shared: &Shared, now: SystemTime) -> Option<Reason> {
        let missing = || Some(Reason::new(Blindness::SignaturesMissing, "there are no signatures"));
        let Some((facts, _)) = shared.signature_facts() else { return missing() };
        let Some(newest) = facts.newest_review else { return missing() };
        let age_s = epoch_seconds(now) - newest as f64;
        let is_stale = age_s > self.thresholds.signature_age_max.as_secs_f64();
        let days = (age_s / 86_400.0) as u64;
        let detail = || format!("the newest signature was reviewed {days} days ago");
        is_stale.then(|| Reason::new(Blindness::SignaturesStale, detail()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::cells::CaptureCounts;
    use crate::metrics::shared::SignatureFacts;
    use std::sync::Arc;
    use std::time::UNIX_EPOCH;

    const DAY_S: u64 = 86_400;

    struct Case {
        shared: Arc<Shared>,
        judge: Judge,
    }

    impl Case {
        /// A running sensor with one worker on two interfaces, and signatures of day 1 000.
        fn new() -> Self {
            let shared = Shared::new("s", &[], 1).unwrap();
            shared.enter(Phase::Running);
            shared.interface("a");
            shared.interface("b");
            shared.signatures(SignatureFacts {
                digest: String::new(),
                rules: 1,
                services: 1,
                newest_review: Some(1_000 * DAY_S as i64),
                oldest_review: Some(1),
            });
            shared.worker(0).unwrap().progressed(u64::MAX);
            Self { shared, judge: Judge::new(Thresholds::default()) }
        }

        fn traffic(&self, interface: &str, packets: u64, dropped_ring: u64) {
            let counts = CaptureCounts { packets, dropped_ring, ..CaptureCounts::default() };
            self.shared.capture(0, interface).publish(&counts);
        }

        fn at(&mut self, second: u64) -> Vec<Blindness> {
            self.on_day(second, 1_001)
        }

        fn on_day(&mut self, second: u64, day: u64) -> Vec<Blindness> {
            let now = UNIX_EPOCH + Duration::from_secs(day * DAY_S);
            let reasons = self.judge.reasons(&self.shared, second * 1000, now);
            assert!(reasons.iter().all(|reason| !reason.detail.is_empty() && !reason.detail.contains('\n')));
            reasons.into_iter().map(|reason| reason.what).collect()
        }
    }

    #[test]
    fn silence_of_all_interfaces_is_blindness_and_of_one_is_not() {
        let mut case = Case::new();
        for second in 0..60 {
            assert_eq!(case.at(second), [], "{second}");
        }
        assert_eq!(case.at(60), [Blindness::NoPackets]);
        case.traffic("a", 1, 0);
        assert_eq!(case.at(61), []);
        for second in 62..200 {
            case.traffic("b", second, 0);
            assert_eq!(case.at(second), [], "{second}");
        }
        let silence = |name: &str| case.shared.interface(name).silence_ms.load(Relaxed);
        assert_eq!((silence("a"), silence("b")), (138_000, 0));
    }

    #[test]
    fn drops_blind_when_they_are_most_of_what_comes() {
        let mut case = Case::new();
        for second in 0..100 {
            case.traffic("a", 5, second * 10);
            let expected: &[Blindness] = if second < 10 { &[] } else { &[Blindness::PacketsDropped] };
            assert_eq!(case.at(second), expected, "{second}");
        }
        // Ten in eleven are above the bound of ninety in a hundred, five in six are not.
        for second in 100..150 {
            case.traffic("a", second - 95, second * 10);
            assert_eq!(case.at(second), [Blindness::PacketsDropped], "{second}");
        }
        for second in 150..200 {
            case.traffic("a", 55 + 2 * (second - 150), second * 10);
            let reasons = case.at(second);
            assert!(reasons.is_empty() || second < 170, "{second}: {reasons:?}");
        }
    }

    #[test]
    fn an_interface_that_is_down_is_named() {
        let mut case = Case::new();
        case.shared.interface("b").up(false);
        assert_eq!(case.at(0), [Blindness::InterfaceDown]);
        case.judge.observe(&case.shared);
        assert!(case.shared.reasons().iter().any(|reason| reason.detail == "interface b is down or missing"));
        case.shared.interface("b").up(true);
        assert_eq!(case.at(1), []);
    }

    #[test]
    fn old_signatures_blind_and_so_do_none() {
        let mut case = Case::new();
        assert_eq!(case.on_day(0, 1_365), []);
        assert_eq!(case.on_day(1, 1_366), [Blindness::SignaturesStale]);
        let mut facts = case.shared.signature_facts().unwrap().0;
        facts.newest_review = None;
        case.shared.signatures(facts);
        assert_eq!(case.at(2), [Blindness::SignaturesMissing]);
    }

    #[test]
    fn a_stalled_worker_blinds_and_neither_start_nor_end_is_ready() {
        let mut case = Case::new();
        case.judge.thresholds.stall_max = Duration::ZERO;
        case.shared.worker(0).unwrap().progressed(0);
        std::thread::sleep(Duration::from_millis(20));
        assert_eq!(case.at(0), [Blindness::WorkerStalled]);
        case.shared.enter(Phase::Stopping);
        assert_eq!(case.at(100), [Blindness::Stopping]);
        case.shared.enter(Phase::Starting);
        assert_eq!(case.at(200), [Blindness::Starting]);
    }
}
