//! What the sensor covered lately: a closed incident tells what was seen and what was not while it lasted.
//!
//! In: the windows of all interfaces, as they end. Out: the sums of a span of time. A window of 60 seconds takes 64 bytes; the
//! last [`WINDOWS_MAX`] are kept, more than the longest day has, and survive a restart. Time of which no window tells, because the
//! sensor did not run or its window is forgotten, counts as not covered.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use time::Date;
use vigie_journal::record::{Coverage, SpanCoverage};
use vigie_judgement::Incident;
use vigie_judgement::policy::Zone;

const SECOND_NS: u64 = 1_000_000_000;
/// Windows that are kept: the minutes of the longest day, which has 25 hours, and 500 more for starts, stops and clocks that are set.
pub const WINDOWS_MAX: usize = 2_000;
/// No day is longer, whatever its zone does with the clock.
const DAY_NS_MAX: u64 = 26 * 3_600 * SECOND_NS;

/// The windows that ended last.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CoverageHistory {
    windows: VecDeque<Window>,
}

/// A window of all interfaces. Where they differ, the one counts that saw least.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "[u64; 8]", into = "[u64; 8]")]
struct Window {
    end_ns: u64,
    length_s: u64,
    blind_s: u64,
    packets: u64,
    drops: u64,
    hellos: u64,
    nameless: u64,
    ech: u64,
}

impl CoverageHistory {
    /// Adds the window of an interface.
    pub fn add(&mut self, coverage: &Coverage) {
        if coverage.window_s == 0 {
            return;
        }
        let window = Window {
            end_ns: coverage.timestamp_ns,
            length_s: coverage.window_s,
            blind_s: coverage.blind_s,
            packets: coverage.packets,
            drops: coverage.drops_ring.saturating_add(coverage.drops_interface),
            hellos: coverage.hellos,
            nameless: coverage.hellos_nameless,
            ech: coverage.hellos_ech,
        };
        match self.windows.back_mut().filter(|last| last.end_ns == window.end_ns) {
            Some(last) => last.add_interface(&window),
            None => self.windows.push_back(window),
        }
        if self.windows.len() > WINDOWS_MAX {
            self.windows.pop_front();
        }
    }

    /// What was covered from an incident's first contact to the end of its day, as far as windows have ended; none if none has.
    pub fn of_incident(&self, incident: &Incident) -> Option<SpanCoverage> {
        let last_ns = self.windows.back()?.end_ns;
        let day_end_ns = end_of_day(&incident.ban.time_zone, incident.day, incident.first_ns);
        self.of_span(incident.first_ns, last_ns.min(day_end_ns))
    }

    /// What was covered in a span of time.
    fn of_span(&self, from_ns: u64, until_ns: u64) -> Option<SpanCoverage> {
        let span_s = until_ns.checked_sub(from_ns)?.div_ceil(SECOND_NS);
        let (mut covered_s, mut sums) = (0_u64, Window::default());
        for window in &self.windows {
            let begin_ns = window.end_ns.saturating_sub(window.length_s.saturating_mul(SECOND_NS));
            let (begin_ns, end_ns) = (begin_ns.max(from_ns), window.end_ns.min(until_ns));
            if begin_ns >= end_ns {
                continue;
            }
            let length_s = (end_ns - begin_ns).div_ceil(SECOND_NS);
            covered_s = covered_s.saturating_add(length_s);
            // When in the window it was blind is not known.
            sums.blind_s = sums.blind_s.saturating_add(window.blind_s.min(length_s));
            sums.add_counts(window);
        }
        let covered_s = covered_s.min(span_s);
        (span_s > 0 && covered_s > 0).then(|| SpanCoverage {
            span_s,
            blind_s: sums.blind_s.min(covered_s),
            off_s: span_s - covered_s,
            packets: sums.packets,
            drops: sums.drops,
            hellos: sums.hellos,
            hellos_nameless: sums.nameless,
            hellos_ech: sums.ech,
        })
    }
}

impl Window {
    /// Adds the window of another interface that ended at the same time.
    fn add_interface(&mut self, other: &Self) {
        self.length_s = self.length_s.min(other.length_s);
        self.blind_s = self.blind_s.max(other.blind_s);
        self.add_counts(other);
    }

    const fn add_counts(&mut self, other: &Self) {
        self.packets = self.packets.saturating_add(other.packets);
        self.drops = self.drops.saturating_add(other.drops);
        self.hellos = self.hellos.saturating_add(other.hellos);
        self.nameless = self.nameless.saturating_add(other.nameless);
        self.ech = self.ech.saturating_add(other.ech);
    }
}

impl From<[u64; 8]> for Window {
    fn from([end_ns, length_s, blind_s, packets, drops, hellos, nameless, ech]: [u64; 8]) -> Self {
        Self { end_ns, length_s, blind_s, packets, drops, hellos, nameless, ech }
    }
}

impl From<Window> for [u64; 8] {
    fn from(window: Window) -> Self {
        let Window { end_ns, length_s, blind_s, packets, drops, hellos, nameless, ech } = window;
        [end_ns, length_s, blind_s, packets, drops, hellos, nameless, ech]
    }
}

/// When a local day ends that a time lies in, to the second.
fn end_of_day(zone: &str, day: Date, within_ns: u64) -> u64 {
    let Ok(zone) = Zone::named(zone) else { return u64::MAX };
    let (mut within, mut after) = (within_ns / SECOND_NS, within_ns.saturating_add(DAY_NS_MAX) / SECOND_NS);
    while after - within > 1 {
        let middle = within.midpoint(after);
        if zone.day_at(middle.saturating_mul(SECOND_NS)) > day { after = middle } else { within = middle }
    }
    after.saturating_mul(SECOND_NS)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use super::*;
    use proptest::prelude::*;
    use time::macros::{date, datetime};

    const MINUTE_NS: u64 = 60 * SECOND_NS;

    fn window(minute: u64, blind_s: u64, hellos: u64) -> Coverage {
        Coverage {
            timestamp_ns: (minute + 1) * MINUTE_NS,
            window_s: 60,
            blind_s,
            packets: 990,
            drops_ring: 7,
            drops_interface: 3,
            hellos,
            hellos_nameless: hellos / 10,
            hellos_ech: hellos / 2,
            ..Coverage::default()
        }
    }

    fn history(windows: impl IntoIterator<Item = Coverage>) -> CoverageHistory {
        let mut history = CoverageHistory::default();
        windows.into_iter().for_each(|window| history.add(&window));
        history
    }

    #[test]
    fn a_span_has_the_sums_of_its_windows() {
        let history = history((100..200).map(|minute| window(minute, if minute == 150 { 20 } else { 0 }, 100)));
        let sums = history.of_span(110 * MINUTE_NS, 170 * MINUTE_NS).unwrap();
        assert_eq!((sums.span_s, sums.blind_s, sums.off_s), (3_600, 20, 0));
        assert_eq!((sums.hellos, sums.hellos_nameless, sums.hellos_ech), (6_000, 600, 3_000));
        assert_eq!((sums.packets, sums.drops, sums.drops_ppm()), (59_400, 600, 10_000));
        // 3 580 of 3 600 seconds, rounded down: what is not whole is never told as whole.
        assert_eq!(sums.seen_ppm(), 994_444);
    }

    #[test]
    fn time_without_a_window_is_not_covered() {
        // The sensor was off for half an hour.
        let windows = (0..60).filter(|minute| !(20..50).contains(minute)).map(|minute| window(minute, 0, 1));
        let sums = history(windows).of_span(0, 60 * MINUTE_NS).unwrap();
        assert_eq!((sums.span_s, sums.off_s, sums.seen_ppm()), (3_600, 1_800, 500_000));
    }

    #[test]
    fn the_interface_counts_that_saw_least() {
        let (one, other) = (window(5, 0, 10), Coverage { window_s: 40, ..window(5, 30, 20) });
        let sums = history([one, other]).of_span(0, 6 * MINUTE_NS).unwrap();
        assert_eq!((sums.span_s, sums.off_s, sums.blind_s, sums.hellos), (360, 320, 30, 30));
    }

    #[test]
    fn without_a_window_nothing_is_said() {
        assert_eq!(CoverageHistory::default().of_span(0, MINUTE_NS), None);
        let history = history([window(5, 0, 1), Coverage { window_s: 0, ..window(9, 0, 0) }]);
        assert_eq!(history.windows.len(), 1, "the start of a sensor is no window");
        assert_eq!(history.of_span(7 * MINUTE_NS, 8 * MINUTE_NS), None);
        assert_eq!(history.of_span(5 * MINUTE_NS, 5 * MINUTE_NS), None);
        assert_eq!(history.of_span(6 * MINUTE_NS, 5 * MINUTE_NS), None, "the clock was set back");
    }

    #[test]
    fn a_day_of_25_hours_is_kept_and_survives_a_restart() {
        let history = history((0..10_000).map(|minute| window(minute, 0, 1)));
        assert_eq!(history.windows.len(), WINDOWS_MAX);
        let saved = serde_json::to_vec(&history).unwrap();
        assert!(saved.len() < WINDOWS_MAX * 64, "{}", saved.len());
        let history: CoverageHistory = serde_json::from_slice(&saved).unwrap();
        let sums = history.of_span(8_500 * MINUTE_NS, 10_000 * MINUTE_NS).unwrap();
        assert_eq!((sums.span_s, sums.off_s, sums.hellos), (90_000, 0, 1_500));
    }

    #[test]
    fn a_day_ends_where_its_ban_holds() {
        let seconds = |at: time::OffsetDateTime| at.unix_timestamp() as u64 * SECOND_NS;
        let end = |day, within| end_of_day("Europe/Paris", day, seconds(within));
        let noon = datetime!(2026-11-27 12:00 UTC);
        assert_eq!(end(date!(2026 - 11 - 27), noon), seconds(datetime!(2026-11-27 23:00 UTC)));
        // The last Sunday of October has 25 hours.
        let first = datetime!(2026-10-24 22:00 UTC);
        assert_eq!(end(date!(2026 - 10 - 25), first), seconds(datetime!(2026-10-25 23:00 UTC)));
        assert_eq!(end_of_day("no/zone", date!(2026 - 11 - 27), 0), u64::MAX);
    }

    proptest! {
        #[test]
        fn no_more_is_seen_than_there_was(
            windows in prop::collection::vec((0..100_u64, 0..100_u64, 0..100_u64), 0..50),
            from_s in 0..6_000_u64,
            until_s in 0..6_000_u64,
        ) {
            let windows = windows.into_iter().map(|(minute, window_s, blind_s)| {
                Coverage { window_s, blind_s: blind_s.min(window_s), ..window(minute, 0, 1) }
            });
            if let Some(sums) = history(windows).of_span(from_s * SECOND_NS, until_s * SECOND_NS) {
                prop_assert_eq!(sums.span_s, until_s - from_s);
                prop_assert!(sums.off_s + sums.blind_s <= sums.span_s);
                prop_assert!(sums.seen_ppm() <= 1_000_000);
            }
        }
    }
}
