//! Whether the sensor sees its traffic and can recognise it. A sensor that runs but sees nothing is worse than one that
//! is down, so readiness requires evidence: packets arrive, workers move, signatures are not old.
//! Numbers and times go in, reasons come out; the endpoint calls [`Readiness::sample`] once a second.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, SystemTime};

use super::shared::{Phase, Shared, epoch_seconds, locked};

/// Limits beyond which the sensor is not ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thresholds {
    /// Longest time without a packet on any interface.
    pub silence_max: Duration,
    /// Longest time for a round of a worker's loop.
    pub stall_max: Duration,
    /// Time over which drops are counted.
    pub drops_window: Duration,
    /// Dropped packets within it, in percent, from which on the sensor is not ready.
    pub drops_percent: u32,
    /// Longest time since the newest review among the signatures.
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

/// A write of events may take so long.
const WRITE_MAX: Duration = Duration::from_secs(1);

/// Why the sensor is not ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Not all workers run yet.
    Starting,
    /// The sensor is stopping.
    Stopping,
    /// No packet arrives on any interface.
    NoPackets,
    /// Packets arrive, but most are dropped.
    PacketsDropped,
    /// A worker has not moved for too long.
    WorkerStalled,
    /// An interface is missing or down.
    InterfaceDown,
    /// Events cannot be written.
    EventsNotWritten,
    /// The newest review of the signatures is too long ago.
    SignaturesStale,
    /// There are no signatures.
    SignaturesMissing,
}

impl Cause {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Starting,
        Self::Stopping,
        Self::NoPackets,
        Self::PacketsDropped,
        Self::WorkerStalled,
        Self::InterfaceDown,
        Self::EventsNotWritten,
        Self::SignaturesStale,
        Self::SignaturesMissing,
    ];

    /// The word for it in responses and labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Stopping => "stopping",
            Self::NoPackets => "no_packets",
            Self::PacketsDropped => "packets_dropped",
            Self::WorkerStalled => "worker_stalled",
            Self::InterfaceDown => "interface_down",
            Self::EventsNotWritten => "events_not_written",
            Self::SignaturesStale => "signatures_stale",
            Self::SignaturesMissing => "signatures_missing",
        }
    }
}

/// A cause with its details.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotReady {
    /// The cause.
    pub cause: Cause,
    /// One line for people.
    pub detail: String,
}

impl NotReady {
    fn new(cause: Cause, detail: impl Into<String>) -> Self {
        Self { cause, detail: detail.into() }
    }

    pub(super) fn starting() -> Self {
        Self::new(Cause::Starting, "the sensor is starting")
    }
}

/// Counts of an interface at some time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Traffic {
    packets: u64,
    dropped: u64,
}

/// Keeps earlier samples, to see which counts move.
#[derive(Debug)]
pub struct Readiness {
    thresholds: Thresholds,
    /// Last counts of each interface, and when they changed.
    interfaces: BTreeMap<String, (Traffic, u64)>,
    /// Times and sums within the window, oldest first.
    window: VecDeque<(u64, Traffic)>,
}

impl Readiness {
    /// Without any sample yet.
    pub const fn new(thresholds: Thresholds) -> Self {
        Self { thresholds, interfaces: BTreeMap::new(), window: VecDeque::new() }
    }

    /// The thresholds.
    pub const fn thresholds(&self) -> &Thresholds {
        &self.thresholds
    }

    /// Takes a sample and stores the reasons for scrapes. To be called about once a second.
    pub fn sample(&mut self, shared: &Shared) {
        let reasons = self.reasons(shared, shared.now_ms(), SystemTime::now());
        *locked(&shared.reasons) = reasons;
    }

    fn reasons(&mut self, shared: &Shared, now_ms: u64, now: SystemTime) -> Vec<NotReady> {
        let mut reasons = Vec::new();
        let phase = shared.phase();
        match phase {
            Phase::Starting => reasons.push(NotReady::starting()),
            Phase::Stopping => reasons.push(NotReady::new(Cause::Stopping, "the sensor is stopping")),
            Phase::Running => {}
        }
        let traffic = self.traffic(shared, now_ms);
        if phase == Phase::Running {
            reasons.extend(self.traffic_reason(traffic, now_ms));
        }
        for (worker, age) in shared.stalled(self.thresholds.stall_max) {
            let detail = format!("worker {worker} has not moved for {} s", age.as_secs());
            reasons.push(NotReady::new(Cause::WorkerStalled, detail));
        }
        for interface in locked(&shared.interfaces).iter().filter(|interface| !interface.up.load(Relaxed)) {
            let detail = format!("interface {} is down or missing", interface.name);
            reasons.push(NotReady::new(Cause::InterfaceDown, detail));
        }
        for sink in locked(&shared.sinks).iter() {
            let since_ms = sink.writing_since_ms.load(Relaxed);
            let age_ms = now_ms.saturating_sub(since_ms);
            if since_ms != 0 && age_ms >= WRITE_MAX.as_millis() as u64 {
                let detail = format!("no event could be written to {} for {} s", sink.name, age_ms / 1000);
                reasons.push(NotReady::new(Cause::EventsNotWritten, detail));
            }
        }
        reasons.extend(self.signature_reason(shared, now));
        reasons
    }

    /// The sum over all interfaces. Stores for each when its counts last moved.
    fn traffic(&mut self, shared: &Shared, now_ms: u64) -> Traffic {
        let mut current: BTreeMap<String, Traffic> = BTreeMap::new();
        for interface in locked(&shared.interfaces).iter() {
            let packets = interface.shunted.load(Relaxed);
            current.insert(interface.name.clone(), Traffic { packets, ..Traffic::default() });
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

    fn traffic_reason(&mut self, sum: Traffic, now_ms: u64) -> Option<NotReady> {
        let window_ms = self.thresholds.drops_window.as_millis() as u64;
        self.window.push_back((now_ms, sum));
        // The oldest entry that is kept is the youngest one that is a whole window ago.
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
            return Some(NotReady::new(Cause::PacketsDropped, detail));
        }
        let moved_ms = self.interfaces.values().map(|&(_, moved_ms)| moved_ms).max();
        let silent_ms = now_ms.saturating_sub(moved_ms.unwrap_or(0));
        let is_silent = silent_ms >= self.thresholds.silence_max.as_millis() as u64;
        let detail = || format!("no packet on any interface for {} s", silent_ms / 1000);
        is_silent.then(|| NotReady::new(Cause::NoPackets, detail()))
    }

    fn signature_reason(&self, shared: &Shared, now: SystemTime) -> Option<NotReady> {
        let missing = || Some(NotReady::new(Cause::SignaturesMissing, "there are no signatures"));
        let Some((facts, _)) = shared.signature_facts() else { return missing() };
        let Some(newest) = facts.newest_review else { return missing() };
        let age_s = epoch_seconds(now) - newest as f64;
        let is_stale = age_s > self.thresholds.signature_age_max.as_secs_f64();
        let days = (age_s / 86_400.0) as u64;
        let detail = || format!("the newest signature was reviewed {days} days ago");
        is_stale.then(|| NotReady::new(Cause::SignaturesStale, detail()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::{CaptureCounts, SignatureFacts};
    use std::sync::Arc;
    use std::time::UNIX_EPOCH;

    const DAY_S: u64 = 86_400;

    struct Case {
        shared: Arc<Shared>,
        readiness: Readiness,
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
            Self { shared, readiness: Readiness::new(Thresholds::default()) }
        }

        fn traffic(&self, interface: &str, packets: u64, dropped_ring: u64) {
            let counts = CaptureCounts { packets, dropped_ring, ..CaptureCounts::default() };
            self.shared.capture(0, interface).publish(&counts);
        }

        fn at(&mut self, second: u64) -> Vec<Cause> {
            self.on_day(second, 1_001)
        }

        fn on_day(&mut self, second: u64, day: u64) -> Vec<Cause> {
            let now = UNIX_EPOCH + Duration::from_secs(day * DAY_S);
            let reasons = self.readiness.reasons(&self.shared, second * 1000, now);
            assert!(reasons.iter().all(|reason| !reason.detail.is_empty() && !reason.detail.contains('\n')));
            reasons.into_iter().map(|reason| reason.cause).collect()
        }
    }

    #[test]
    fn the_sensor_is_not_ready_when_all_interfaces_are_silent_but_is_when_one_is() {
        let mut case = Case::new();
        for second in 0..60 {
            assert_eq!(case.at(second), [], "{second}");
        }
        assert_eq!(case.at(60), [Cause::NoPackets]);
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
    fn the_sensor_is_not_ready_when_most_packets_are_dropped() {
        let mut case = Case::new();
        for second in 0..100 {
            case.traffic("a", 5, second * 10);
            let expected: &[Cause] = if second < 10 { &[] } else { &[Cause::PacketsDropped] };
            assert_eq!(case.at(second), expected, "{second}");
        }
        // Ten in eleven are above ninety percent, five in six are not.
        for second in 100..150 {
            case.traffic("a", second - 95, second * 10);
            assert_eq!(case.at(second), [Cause::PacketsDropped], "{second}");
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
        assert_eq!(case.at(0), [Cause::InterfaceDown]);
        case.readiness.sample(&case.shared);
        assert!(case.shared.reasons().iter().any(|reason| reason.detail == "interface b is down or missing"));
        case.shared.interface("b").up(true);
        assert_eq!(case.at(1), []);
    }

    #[test]
    fn the_sensor_is_not_ready_while_events_cannot_be_written() {
        let mut case = Case::new();
        let sink = case.shared.sink("journal");
        sink.writing(10_000);
        assert_eq!(case.at(10), []);
        sink.writing(10_900);
        assert_eq!(case.at(11), [Cause::EventsNotWritten]);
        sink.idle();
        assert_eq!(case.at(12), []);
    }

    #[test]
    fn the_sensor_is_not_ready_with_old_signatures_or_none() {
        let mut case = Case::new();
        assert_eq!(case.on_day(0, 1_365), []);
        assert_eq!(case.on_day(1, 1_366), [Cause::SignaturesStale]);
        let mut facts = case.shared.signature_facts().unwrap().0;
        facts.newest_review = None;
        case.shared.signatures(facts);
        assert_eq!(case.at(2), [Cause::SignaturesMissing]);
    }

    #[test]
    fn the_sensor_is_not_ready_with_a_stalled_worker_or_while_it_starts_or_stops() {
        let mut case = Case::new();
        case.readiness.thresholds.stall_max = Duration::ZERO;
        case.shared.worker(0).unwrap().progressed(0);
        std::thread::sleep(Duration::from_millis(20));
        assert_eq!(case.at(0), [Cause::WorkerStalled]);
        case.shared.enter(Phase::Stopping);
        assert_eq!(case.at(100), [Cause::Stopping]);
        case.shared.enter(Phase::Starting);
        assert_eq!(case.at(200), [Cause::Starting]);
    }
}
