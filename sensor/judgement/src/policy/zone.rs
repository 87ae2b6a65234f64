//! The local day of a packet's time, in a zone of the time zone database. The database is built in: no file is read.

use std::fmt;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;
use jiff::tz::{TimeZone, TimeZoneDatabase};
use time::{Date, OffsetDateTime};

use super::Refusal;

const SECOND_NS: u64 = 1_000_000_000;

/// The part of a day for which its date is remembered.
const QUARTER_S: u64 = 900;

static DATABASE: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);

/// A time zone.
pub struct Zone {
    name: String,
    zone: TimeZone,
    /// The last quarter of an hour that was asked of and lies in one day, and the day: times come in about their order.
    last: AtomicU64,
}

impl Clone for Zone {
    fn clone(&self) -> Self {
        Self::new(self.name.clone(), self.zone.clone())
    }
}

impl Zone {
    fn new(name: String, zone: TimeZone) -> Self {
        // No time has this quarter.
        Self { name, zone, last: AtomicU64::new(u64::MAX) }
    }

    /// Universal time.
    pub fn utc() -> Self {
        Self::new("Etc/UTC".to_owned(), TimeZone::UTC)
    }

    /// The zone of that name, such as `Europe/Paris`.
    ///
    /// # Errors
    /// The database has no zone of that name.
    pub fn named(name: &str) -> Result<Self, Refusal> {
        let unknown = |_| Refusal::new("not in the time zone database", "write a name such as \"Europe/Paris\"");
        Ok(Self::new(name.to_owned(), DATABASE.get(name).map_err(unknown)?))
    }

    /// Its name in the time zone database.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The day there at a time, nanoseconds since the Unix epoch.
    pub fn day_at(&self, time_ns: u64) -> Date {
        let seconds = time_ns / SECOND_NS;
        let quarter = seconds / QUARTER_S;
        let last = self.last.load(Ordering::Relaxed);
        if last >> 32 == quarter
            && let Some(day) = unpacked(last as u32)
        {
            return day;
        }
        // A day may begin within a quarter: Liberia's clocks were 44 minutes and 30 seconds behind until 1972.
        let first = self.day_of_second(quarter * QUARTER_S);
        if first == self.day_of_second(quarter * QUARTER_S + QUARTER_S - 1) {
            self.last.store(quarter << 32 | u64::from(packed(first)), Ordering::Relaxed);
            return first;
        }
        self.day_of_second(seconds)
    }

    fn day_of_second(&self, seconds: u64) -> Date {
        let seconds = i64::try_from(seconds).unwrap_or_default();
        let offset_s = Timestamp::from_second(seconds).map_or(0, |at| i64::from(self.zone.to_offset(at).seconds()));
        OffsetDateTime::from_unix_timestamp(seconds + offset_s).map_or(Date::MIN, OffsetDateTime::date)
    }
}

/// A day of a year after 0 in 32 bits. A Julian day would be shorter, and dear to make a date of again.
fn packed(day: Date) -> u32 {
    day.year().unsigned_abs() << 9 | u32::from(day.ordinal())
}

fn unpacked(packed: u32) -> Option<Date> {
    Date::from_ordinal_date((packed >> 9) as i32, (packed & 0x1ff) as u16).ok()
}

impl fmt::Debug for Zone {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.name)
    }
}

impl PartialEq for Zone {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use time::macros::{date, datetime};

    fn day(zone: &str, at: OffsetDateTime) -> Date {
        Zone::named(zone).unwrap().day_at(at.unix_timestamp_nanos() as u64)
    }

    #[test]
    fn a_day_begins_at_local_midnight() {
        let paris = |at| day("Europe/Paris", at);
        assert_eq!(paris(datetime!(2023-03-23 22:59:59.999 UTC)), date!(2023 - 03 - 23), "winter, +1");
        assert_eq!(paris(datetime!(2023-03-23 23:00 UTC)), date!(2023 - 03 - 24));
        assert_eq!(paris(datetime!(2023-07-13 21:59:59 UTC)), date!(2023 - 07 - 13), "summer, +2");
        assert_eq!(paris(datetime!(2023-07-13 22:00 UTC)), date!(2023 - 07 - 14));
        assert_eq!(day("America/New_York", datetime!(2023-02-27 04:59:59 UTC)), date!(2023 - 02 - 26));
        assert_eq!(day("Pacific/Auckland", datetime!(2023-03-30 11:00 UTC)), date!(2023 - 03 - 31), "+13");
    }

    #[test]
    fn days_on_which_the_clock_changes_are_whole() {
        let paris = |at| day("Europe/Paris", at);
        // 26 March 2023 has 23 hours, 29 October 2023 has 25.
        assert_eq!(paris(datetime!(2023-03-25 23:00 UTC)), date!(2023 - 03 - 26));
        assert_eq!(paris(datetime!(2023-03-26 21:59:59 UTC)), date!(2023 - 03 - 26));
        assert_eq!(paris(datetime!(2023-03-26 22:00 UTC)), date!(2023 - 03 - 27));
        assert_eq!(paris(datetime!(2023-10-28 22:00 UTC)), date!(2023 - 10 - 29));
        assert_eq!(paris(datetime!(2023-10-29 22:59:59 UTC)), date!(2023 - 10 - 29));
        assert_eq!(paris(datetime!(2023-10-29 23:00 UTC)), date!(2023 - 10 - 30));
    }

    #[test]
    fn rules_reach_beyond_the_table_of_transitions() {
        assert_eq!(day("Europe/Paris", datetime!(2061-07-01 22:30 UTC)), date!(2061 - 07 - 02));
        assert_eq!(Zone::utc().day_at(0), date!(1970 - 01 - 01));
        assert_eq!(Zone::utc().day_at(u64::MAX), date!(2554 - 07 - 21));
    }

    #[test]
    fn a_day_that_begins_within_a_quarter_of_an_hour_is_found() {
        let monrovia = Zone::named("Africa/Monrovia").unwrap();
        let midnight = datetime!(1971-01-02 00:44:30 UTC).unix_timestamp_nanos() as u64;
        for (time_ns, expected) in [
            (midnight, date!(1971 - 01 - 02)),
            (midnight - SECOND_NS, date!(1971 - 01 - 01)),
            (midnight - 600 * SECOND_NS, date!(1971 - 01 - 01)),
            (midnight + 30 * SECOND_NS, date!(1971 - 01 - 02)),
            (midnight - 1, date!(1971 - 01 - 01)),
        ] {
            assert_eq!(monrovia.day_at(time_ns), expected);
        }
    }

    #[test]
    fn a_day_is_remembered_for_a_quarter_of_an_hour() {
        let paris = Zone::named("Europe/Paris").unwrap();
        let quarter = datetime!(2026-11-27 12:15 UTC).unix_timestamp() as u64 / QUARTER_S;
        let remembered = |day: Date| quarter << 32 | u64::from(packed(day));
        assert_eq!(paris.day_at((quarter * QUARTER_S + 700) * SECOND_NS), date!(2026 - 11 - 27));
        assert_eq!(paris.last.load(Ordering::Relaxed), remembered(date!(2026 - 11 - 27)));
        // What is remembered is not worked out again, in this quarter only.
        paris.last.store(remembered(date!(2000 - 01 - 01)), Ordering::Relaxed);
        assert_eq!(paris.day_at(quarter * QUARTER_S * SECOND_NS), date!(2000 - 01 - 01));
        assert_eq!(paris.day_at((quarter * QUARTER_S + QUARTER_S) * SECOND_NS), date!(2026 - 11 - 27));
        // A quarter in which a day begins is not remembered.
        let monrovia = Zone::named("Africa/Monrovia").unwrap();
        monrovia.day_at(datetime!(1971-01-02 00:44:30 UTC).unix_timestamp_nanos() as u64);
        assert_eq!(monrovia.last.load(Ordering::Relaxed), u64::MAX);
    }

    #[test]
    fn zones_are_told_apart_by_name() {
        let [paris, rome] = ["Europe/Paris", "Europe/Rome"].map(|name| Zone::named(name).unwrap());
        assert!(paris == paris.clone() && paris != rome);
        assert_eq!(format!("{paris:?}"), "Europe/Paris");
    }

    proptest! {
        #[test]
        fn what_was_asked_before_changes_no_day(
            steps in proptest::collection::vec((0_u64..4_000, -90_000_i64..90_000), 1..40),
        ) {
            // Around midnights of summer and winter, and the days on which the clock changes.
            let paris = Zone::named("Europe/Paris").unwrap();
            for (day, seconds) in steps {
                let time_ns = (1_577_836_800 + day * 86_400).saturating_add_signed(seconds) * SECOND_NS;
                prop_assert_eq!(paris.day_at(time_ns), Zone::named("Europe/Paris").unwrap().day_at(time_ns));
                prop_assert_eq!(paris.day_at(time_ns), paris.day_of_second(time_ns / SECOND_NS));
            }
        }
    }

    #[test]
    fn unknown_zones_are_refused() {
        for bad in ["Europe/Pariss", "CEST", "", "../etc/passwd", "Europe/"] {
            assert!(Zone::named(bad).is_err(), "{bad}");
        }
        assert_eq!(Zone::named("Etc/UTC").unwrap().name(), "Etc/UTC");
    }

    #[test]
    fn every_built_in_ban_has_a_zone() {
        for ban in vigie_signatures::Bans::builtin().iter() {
            assert!(Zone::named(&ban.time_zone).is_ok(), "{}", ban.id);
        }
    }
}
