//! The clock of the time stamps against the system's.
#![allow(unsafe_code)]

const SECOND_NS: i64 = 1_000_000_000;

/// By how many nanoseconds CLOCK_TAI is ahead of CLOCK_REALTIME: whole seconds (clock_gettime(2)).
pub(super) fn tai_ahead_ns() -> u64 {
    let ahead = time_ns(libc::CLOCK_TAI).saturating_sub(time_ns(libc::CLOCK_REALTIME));
    whole_seconds(ahead).cast_unsigned()
}

/// The nearest whole second: the clocks are read one after the other.
const fn whole_seconds(ns: i64) -> i64 {
    (ns + SECOND_NS / 2).div_euclid(SECOND_NS) * SECOND_NS
}

fn time_ns(clock: libc::clockid_t) -> i64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes to `time` only.
    unsafe { libc::clock_gettime(clock, &raw mut time) };
    time.tv_sec.saturating_mul(SECOND_NS).saturating_add(time.tv_nsec)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clocks_differ_by_whole_seconds() {
        let near = |ns: i64| whole_seconds(ns) / SECOND_NS;
        assert_eq!([near(0), near(-300), near(36_999_999_400), near(37_000_000_900)], [0, 0, 37, 37]);
        assert!(tai_ahead_ns() < 1_000 * SECOND_NS as u64 && tai_ahead_ns().is_multiple_of(SECOND_NS as u64));
    }
}
