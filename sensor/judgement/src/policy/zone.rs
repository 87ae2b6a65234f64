//! The local day of a packet's time, in a zone of the time zone database. The database is built in: no file is read.

use std::fmt;
use std::sync::LazyLock;

use jiff::Timestamp;
use jiff::tz::{TimeZone, TimeZoneDatabase};
use time::{Date, OffsetDateTime};

use super::Refusal;

const SECOND_NS: u64 = 1_000_000_000;

static DATABASE: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);

/// A time zone.
#[derive(Clone)]
pub struct Zone {
    name: String,
    zone: TimeZone,
}

impl Zone {
    /// Universal time.
    pub fn utc() -> Self {
        Self { name: "Etc/UTC".to_owned(), zone: TimeZone::UTC }
    }

    /// The zone of that name, such as `Europe/Paris`.
    ///
    /// # Errors
    /// The database has no zone of that name.
    pub fn named(name: &str) -> Result<Self, Refusal> {
        let unknown = |_| Refusal::new("not in the time zone database", "write a name such as \"Europe/Paris\"");
        Ok(Self { name: name.to_owned(), zone: DATABASE.get(name).map_err(unknown)? })
    }

    /// Its name in the time zone database.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The day there at a time, nanoseconds since the Unix epoch.
    pub fn day_at(&self, time_ns: u64) -> Date {
        let seconds = i64::try_from(time_ns / SECOND_NS).unwrap_or_default();
        let offset_s = Timestamp::from_second(seconds).map_or(0, |at| i64::from(self.zone.to_offset(at).seconds()));
        OffsetDateTime::from_unix_timestamp(seconds + offset_s).map_or(Date::MIN, OffsetDateTime::date)
    }
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
