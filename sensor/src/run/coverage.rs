//! What the sensor covered, minute by minute and interface by interface: an absence of findings counts only where the sensor
//! could look. A window ends with the minute of the wall clock, so that readers can count minutes; it is measured by a
//! clock that nobody sets.
//!
//! An interface is blind while it is not captured, and all of them are while a worker is stuck. What the sensor does not
//! cover since it does not run shows as minutes without an event, between the words `sensor_stopped` and `sensor_started`.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::worker_thread::Report;
use crate::worker::HelloCounts;
use vigie_capture::live::State;
use vigie_journal::record::Coverage;

/// Hashes of what the sensor judges by.
#[derive(Clone, Debug, Default)]
pub struct JudgedBy {
    /// Of the policy.
    pub policy: String,
    /// Of the signatures.
    pub signatures: String,
}

/// The windows of all interfaces.
#[derive(Debug)]
pub struct CoverageWindows {
    started: Instant,
    began: Instant,
    ticked: Instant,
    wall: SystemTime,
    interfaces: Vec<Window>,
}

/// The window of one interface.
#[derive(Debug, Default)]
struct Window {
    name: String,
    at_begin: Counts,
    blind: Duration,
    /// Its last state but `Up`, if it had one in the window.
    fault: Option<State>,
    was_stuck: bool,
}

/// Counts of an interface since the start, of all workers.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    packets: u64,
    drops_ring: u64,
    drops_interface: u64,
    hellos: HelloCounts,
}

impl CoverageWindows {
    /// Begins the first windows.
    pub fn new(interfaces: &[String], now: Instant, wall: SystemTime) -> Self {
        let window = |name: &String| Window { name: name.clone(), ..Window::default() };
        let interfaces = interfaces.iter().map(window).collect();
        Self { started: now, began: now, ticked: now, wall, interfaces }
    }

    /// An event for each interface that says that the sensor starts.
    pub fn start(&self, judged_by: &JudgedBy) -> Vec<Coverage> {
        let event = |window: &Window| Coverage {
            timestamp_ns: nanoseconds(self.wall),
            interface: window.name.clone(),
            policy: judged_by.policy.clone(),
            signatures: judged_by.signatures.clone(),
            words: vec!["sensor_started"],
            ..Coverage::default()
        };
        self.interfaces.iter().map(event).collect()
    }

    /// Lets time pass, by the last report of each worker. Returns the windows that end. To be called several times a second.
    pub fn tick(
        &mut self,
        reports: &[Report],
        is_stuck: bool,
        (now, wall): (Instant, SystemTime),
        judged_by: &JudgedBy,
    ) -> Vec<Coverage> {
        let ended = if minute(wall) == minute(self.wall) { Vec::new() } else { self.end(reports, judged_by, None) };
        let passed = now.saturating_duration_since(self.ticked);
        (self.ticked, self.wall) = (now, wall);
        for (place, window) in self.interfaces.iter_mut().enumerate() {
            let state = reports.first().and_then(|report| report.interfaces.get(place)).map(|counts| counts.state);
            let fault = state.filter(|state| *state != State::Up);
            if fault.is_some() || is_stuck {
                window.blind += passed;
                window.fault = fault.or(window.fault);
                window.was_stuck |= is_stuck;
            }
        }
        ended
    }

    /// Ends the last windows: the sensor stops.
    pub fn stop(
        &mut self,
        reports: &[Report],
        (now, wall): (Instant, SystemTime),
        judged_by: &JudgedBy,
    ) -> Vec<Coverage> {
        (self.ticked, self.wall) = (now, wall);
        self.end(reports, judged_by, Some("sensor_stopped"))
    }

    /// Ends the windows at the last tick, which was in the minute that is over.
    fn end(&mut self, reports: &[Report], judged_by: &JudgedBy, word: Option<&'static str>) -> Vec<Coverage> {
        let length = self.ticked.saturating_duration_since(self.began);
        self.began = self.ticked;
        let (timestamp_ns, uptime_s) =
            (nanoseconds(self.wall), self.ticked.saturating_duration_since(self.started).as_secs());
        let end = |(place, window): (usize, &mut Window)| {
            let counts = Counts::of(reports, place);
            let before = std::mem::replace(&mut window.at_begin, counts);
            let blind = std::mem::take(&mut window.blind).min(length);
            let mut words: Vec<_> = word.into_iter().collect();
            words.extend(window.fault.take().map(word_of));
            words.extend(std::mem::take(&mut window.was_stuck).then_some("worker_stuck"));
            let window_s = seconds_up(blind).max((length.as_millis() as u64 + 500) / 1_000);
            Coverage {
                timestamp_ns,
                interface: window.name.clone(),
                uptime_s,
                kernel_packets: counts.packets + counts.drops_ring,
                kernel_drops: counts.drops_ring,
                kernel_ifdrops: counts.drops_interface,
                window_s,
                blind_s: seconds_up(blind),
                packets: counts.packets.saturating_sub(before.packets),
                drops_ring: counts.drops_ring.saturating_sub(before.drops_ring),
                drops_interface: counts.drops_interface.saturating_sub(before.drops_interface),
                hellos: counts.hellos.hellos.saturating_sub(before.hellos.hellos),
                hellos_nameless: counts.hellos.nameless.saturating_sub(before.hellos.nameless),
                hellos_ech: counts.hellos.ech.saturating_sub(before.hellos.ech),
                policy: judged_by.policy.clone(),
                signatures: judged_by.signatures.clone(),
                assets: None,
                words,
            }
        };
        self.interfaces.iter_mut().enumerate().map(end).collect()
    }
}

impl Counts {
    /// The counts of an interface, by its place.
    fn of(reports: &[Report], place: usize) -> Self {
        let mut sum = Self::default();
        for report in reports {
            if let Some(counts) = report.interfaces.get(place) {
                sum.packets += counts.frames + counts.shunted;
                sum.drops_ring += counts.dropped;
                sum.drops_interface += counts.interface_dropped + counts.interface_missed;
            }
            if let Some(hellos) = report.hellos.get(place) {
                sum.hellos.hellos += hellos.hellos;
                sum.hellos.nameless += hellos.nameless;
                sum.hellos.ech += hellos.ech;
            }
        }
        sum
    }
}

/// Adds how many listed devices were seen, in the last minute of an hour.
pub fn with_assets(mut coverage: Coverage, (listed, seen): (usize, usize)) -> Coverage {
    const MINUTE_NS: u64 = 60_000_000_000;
    let is_last_of_hour = (coverage.timestamp_ns / MINUTE_NS) % 60 == 59;
    coverage.assets = (is_last_of_hour && listed > 0).then_some((listed as u64, seen as u64));
    coverage
}

const fn word_of(state: State) -> &'static str {
    match state {
        State::Missing => "interface_missing",
        State::Down => "interface_down",
        State::NoCarrier => "interface_no_carrier",
        State::Refused => "interface_refused",
        State::Up => "interface_up",
    }
}

fn seconds_up(duration: Duration) -> u64 {
    duration.as_millis().div_ceil(1_000) as u64
}

fn nanoseconds(wall: SystemTime) -> u64 {
    wall.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as u64
}

fn minute(wall: SystemTime) -> u64 {
    wall.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() / 60
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use super::*;
    use vigie_capture::live::InterfaceCounts;

    const MINUTE_NS: u64 = 60_000_000_000;

    /// The reports of two workers of a sensor with two interfaces.
    fn reports(packets: u64, dropped: u64, state: State) -> [Report; 2] {
        let of = |worker: usize, state: State| {
            let counts = |name: &str, state| InterfaceCounts {
                name: name.to_owned(),
                state,
                frames: packets,
                dropped,
                interface_dropped: if worker == 0 { 1 } else { 0 },
                ..InterfaceCounts::default()
            };
            let hellos = vec![HelloCounts { hellos: packets / 10, nameless: packets / 100, ech: packets / 20 }];
            Report {
                worker,
                interfaces: vec![counts("eth0", State::Up), counts("eth1", state)],
                hellos,
                ..Report::default()
            }
        };
        [of(0, state), of(1, state)]
    }

    fn windows() -> (CoverageWindows, Instant, SystemTime) {
        let now = Instant::now();
        // Half a minute into a minute.
        let wall = UNIX_EPOCH + Duration::from_nanos(1_000 * MINUTE_NS + MINUTE_NS / 2);
        (CoverageWindows::new(&["eth0".to_owned(), "eth1".to_owned()], now, wall), now, wall)
    }

    fn judged_by() -> JudgedBy {
        JudgedBy { policy: "p".to_owned(), signatures: "s".to_owned() }
    }

    /// Lets time pass in steps of 50 ms.
    fn pass(
        windows: &mut CoverageWindows,
        from: (Instant, SystemTime),
        ms: (u64, u64),
        reports: &[Report],
    ) -> Vec<Coverage> {
        let step = |ms| {
            let passed = Duration::from_millis(ms);
            (from.0 + passed, from.1 + passed)
        };
        (ms.0..ms.1).step_by(50).flat_map(|ms| windows.tick(reports, false, step(ms + 50), &judged_by())).collect()
    }

    #[test]
    fn windows_end_with_the_minute_and_count_what_came_in_them() {
        let (mut windows, now, wall) = windows();
        let first = pass(&mut windows, (now, wall), (0, 30_000), &reports(1_000, 10, State::Up));
        assert_eq!(first.len(), 2);
        let eth0 = &first[0];
        assert_eq!((eth0.interface.as_str(), eth0.window_s, eth0.blind_s), ("eth0", 30, 0));
        assert_eq!((eth0.packets, eth0.drops_ring, eth0.drops_interface), (2_000, 20, 1));
        // 21 of 2 021.
        assert_eq!((eth0.drops_ppm(), eth0.kernel_packets), (10_391, 2_020));
        assert_eq!((eth0.hellos, eth0.hellos_nameless, eth0.hellos_ech), (200, 20, 100));
        assert_eq!((first[1].hellos, first[1].packets), (0, 2_000));
        // The event stands in the minute that it covers.
        assert!(eth0.timestamp_ns < 1_001 * MINUTE_NS && eth0.timestamp_ns > 1_001 * MINUTE_NS - 100_000_000);
        let second = pass(&mut windows, (now, wall), (30_000, 90_000), &reports(1_500, 10, State::Up));
        assert_eq!((second[0].window_s, second[0].packets, second[0].drops_ring), (60, 1_000, 0));
        assert_eq!((second[0].hellos, second[0].drops_ppm(), second[0].uptime_s), (100, 0, 89));
    }

    #[test]
    fn an_interface_that_is_down_is_blind_for_that_long() {
        let (mut windows, now, wall) = windows();
        pass(&mut windows, (now, wall), (0, 40_000), &reports(0, 0, State::Up));
        pass(&mut windows, (now, wall), (40_000, 47_300), &reports(0, 0, State::Down));
        let ended = pass(&mut windows, (now, wall), (47_300, 90_000), &reports(0, 0, State::Up));
        assert_eq!((ended[0].blind_s, ended[0].words.len()), (0, 0));
        assert_eq!((ended[1].blind_s, ended[1].words.as_slice()), (8, &["interface_down"][..]));
        let ended = pass(&mut windows, (now, wall), (90_000, 150_000), &reports(0, 0, State::Up));
        assert_eq!((ended[1].blind_s, ended[1].words.len()), (0, 0));
    }

    #[test]
    fn all_interfaces_are_blind_while_a_worker_is_stuck() {
        let (mut windows, now, wall) = windows();
        let at = |ms| (now + Duration::from_millis(ms), wall + Duration::from_millis(ms));
        windows.tick(&reports(0, 0, State::Up), true, at(5_000), &judged_by());
        let ended = windows.stop(&reports(0, 0, State::Up), at(10_000), &judged_by());
        for coverage in ended {
            assert_eq!((coverage.window_s, coverage.blind_s), (10, 5));
            assert_eq!(coverage.words, ["sensor_stopped", "worker_stuck"]);
        }
    }

    #[test]
    fn a_wall_clock_that_is_set_ends_windows_but_does_not_stretch_them() {
        let (mut windows, now, wall) = windows();
        let later = now + Duration::from_secs(5);
        windows.tick(&[], false, (later, wall + Duration::from_secs(5)), &judged_by());
        let set = wall - Duration::from_secs(86_400);
        let ended = windows.tick(&[], false, (later + Duration::from_millis(50), set), &judged_by());
        assert_eq!((ended[0].window_s, ended[0].timestamp_ns), (5, nanoseconds(wall + Duration::from_secs(5))));
        assert!(
            windows
                .tick(&[], false, (later + Duration::from_secs(1), set + Duration::from_secs(1)), &judged_by())
                .is_empty()
        );
    }

    #[test]
    fn devices_that_were_seen_are_told_once_an_hour() {
        let at =
            |minute: u64| Coverage { timestamp_ns: minute * 60_000_000_000 + 59_000_000_000, ..Coverage::default() };
        let told: Vec<u64> =
            (0..180).filter(|minute| with_assets(at(*minute), (40, 7)).assets == Some((40, 7))).collect();
        assert_eq!(told, [59, 119, 179]);
        assert_eq!(with_assets(at(59), (0, 0)).assets, None, "there is no list");
    }
}
