//! The clock, and times as texts have them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use time::OffsetDateTime;
use time::format_description::well_known::{Rfc2822, Rfc3339};
use vigie_journal::eve::time_us;

/// Nanoseconds since the Unix epoch.
pub fn now_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// Seconds since the Unix epoch.
pub fn now_s() -> f64 {
    now_ns() as f64 / 1e9
}

/// A time stamp of an event, in UTC.
pub fn parse_eve(text: &str) -> Option<OffsetDateTime> {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(time_us(text)?) * 1_000).ok()
}

/// Seconds since the Unix epoch of a time stamp of an event.
pub fn seconds_of(text: &str) -> Option<f64> {
    // Microseconds are whole numbers in an f64 until the year 2255.
    time_us(text).map(|time| time as f64 / 1e6)
}

/// A time as RFC 3339 has it.
pub fn rfc3339(time: OffsetDateTime) -> String {
    time.format(&Rfc3339).unwrap_or_default()
}

/// A header `Retry-After` (RFC 9110 section 10.2.3): seconds, or a date.
pub fn parse_retry_after(text: &str) -> Option<Duration> {
    if let Ok(seconds) = text.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = OffsetDateTime::parse(text.trim(), &Rfc2822).ok()?;
    let now = OffsetDateTime::from_unix_timestamp(i64::try_from(now_ns() / 1_000_000_000).ok()?).ok()?;
    Duration::try_from(date - now).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_and_written() {
        let time = parse_eve("2026-11-27T18:58:14.250000+0000").unwrap();
        assert_eq!(rfc3339(time), "2026-11-27T18:58:14.25Z");
        assert_eq!(seconds_of("2026-11-27T19:58:14.250000+0100"), Some(1_795_805_894.25));
        assert_eq!(parse_eve("2026-11-27T18:58:14Z"), None);
        assert_eq!(parse_retry_after(" 120 "), Some(Duration::from_secs(120)));
        assert_eq!(parse_retry_after("Fri, 31 Dec 1999 23:59:59 GMT"), None);
        assert!(parse_retry_after("Fri, 31 Dec 2100 23:59:59 GMT").unwrap() > Duration::from_secs(1 << 30));
    }
}
