//! The time of the packets of one worker, as it passes: without packets it goes on with a clock that never jumps. Says when
//! the clock that stamps the packets was set, so that the ages of flows go on as before.

use std::time::{Duration, Instant};

/// Packets of several interfaces may be so far out of order.
const DISORDER_NS: u64 = 5_000_000_000;
/// Packets must be earlier than expected for so long, so that a single odd time stamp says nothing.
const BACK_FOR: Duration = Duration::from_millis(500);
/// Packets that are so much later than expected say that the clock was set forward.
const FORWARD_NS: u64 = 60_000_000_000;

/// The clock of a worker's packets.
#[derive(Debug, Default)]
pub struct LiveClock {
    newest: Option<Newest>,
    back_since: Option<Instant>,
}

/// The newest packet.
#[derive(Clone, Copy, Debug)]
struct Newest {
    timestamp_ns: u64,
    seen: Instant,
}

impl Newest {
    fn now_ns(&self, now: Instant) -> u64 {
        let passed = now.saturating_duration_since(self.seen).as_nanos();
        self.timestamp_ns.saturating_add(u64::try_from(passed).unwrap_or(u64::MAX))
    }
}

impl LiveClock {
    /// The time of the packets by now; `None` before the first.
    pub fn now_ns(&self, now: Instant) -> Option<u64> {
        self.newest.map(|newest| newest.now_ns(now))
    }

    /// Takes the time of a batch's last packet. By how many nanoseconds the clock was set, if it was.
    #[inline]
    pub fn batch(&mut self, last_ns: u64, now: Instant) -> Option<i64> {
        if let Some(newest) = self.newest {
            if last_ns.saturating_add(DISORDER_NS) < newest.timestamp_ns {
                let since = *self.back_since.get_or_insert(now);
                if now.saturating_duration_since(since) < BACK_FOR {
                    return None;
                }
                return Some(self.set(&newest, last_ns, now));
            }
            if last_ns > newest.timestamp_ns.saturating_add(FORWARD_NS)
                && last_ns > newest.now_ns(now).saturating_add(FORWARD_NS)
            {
                return Some(self.set(&newest, last_ns, now));
            }
        }
        self.back_since = None;
        let newest_ns = self.newest.map_or(0, |newest| newest.timestamp_ns);
        self.newest = Some(Newest { timestamp_ns: newest_ns.max(last_ns), seen: now });
        None
    }

    #[cold]
    fn set(&mut self, newest: &Newest, last_ns: u64, now: Instant) -> i64 {
        self.back_since = None;
        self.newest = Some(Newest { timestamp_ns: last_ns, seen: now });
        i64::try_from(i128::from(last_ns) - i128::from(newest.now_ns(now))).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND_NS: u64 = 1_000_000_000;
    const START_NS: u64 = 1_795_000_000 * SECOND_NS;

    /// A packet every 100 ms for `seconds`, stamped by a clock that is `ahead_ns` wrong. What it was set by.
    fn pass(clock: &mut LiveClock, began: Instant, from_s: u64, seconds: u64, ahead_s: i64) -> Vec<i64> {
        let steps = (0..seconds * 10).filter_map(|tenth| {
            let passed_ns = from_s * SECOND_NS + tenth * SECOND_NS / 10;
            let stamp = (START_NS + passed_ns).saturating_add_signed(ahead_s * SECOND_NS as i64);
            clock.batch(stamp, began + Duration::from_nanos(passed_ns))
        });
        steps.map(|step| (step as f64 / SECOND_NS as f64).round() as i64).collect()
    }

    #[test]
    fn a_clock_that_is_set_is_noticed_once() {
        let (mut clock, began) = (LiveClock::default(), Instant::now());
        assert_eq!(pass(&mut clock, began, 0, 10, 0), [0; 0]);
        assert_eq!(pass(&mut clock, began, 10, 10, -3_600), [-3_600]);
        assert_eq!(pass(&mut clock, began, 20, 10, 86_400), [90_000]);
        assert_eq!(pass(&mut clock, began, 30, 10, 86_401), [0; 0], "a second is adjusted, not set");
        let now = clock.now_ns(began + Duration::from_secs(100)).unwrap();
        assert_eq!(now / SECOND_NS, (START_NS / SECOND_NS) + 86_401 + 100);
    }

    #[test]
    fn silence_and_odd_stamps_set_nothing() {
        let (mut clock, began) = (LiveClock::default(), Instant::now());
        assert_eq!(clock.now_ns(began), None);
        assert_eq!(pass(&mut clock, began, 0, 10, 0), [0; 0]);
        assert_eq!(pass(&mut clock, began, 7_200, 10, 0), [0; 0], "two hours without a packet");
    }
}
