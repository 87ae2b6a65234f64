//! Periods of the calendar. With each, pseudonyms have another key, and what a client was warned of is forgotten.
//!
//! They are those of UTC, so that a sensor and whoever holds the master key agree on them without a time zone.

use std::fmt;
use std::str::FromStr;

use time::{Date, Duration, Month, OffsetDateTime, Weekday};

/// How long a period is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PeriodLength {
    /// A calendar month.
    Month,
    /// A week that begins on Monday (ISO 8601).
    Week,
    /// A day.
    Day,
}

impl PeriodLength {
    /// The word in settings.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Month => "month",
            Self::Week => "week",
            Self::Day => "day",
        }
    }

    /// The period in which a time lies; nanoseconds since the Unix epoch.
    pub fn at(self, time_ns: u64) -> Period {
        let time = OffsetDateTime::from_unix_timestamp_nanos(time_ns.into());
        self.around(time.map_or(Date::MAX, OffsetDateTime::date))
    }

    /// The period in which a day lies.
    pub fn around(self, day: Date) -> Period {
        let days_before = match self {
            Self::Month => day.day() - 1,
            Self::Week => day.weekday().number_days_from_monday(),
            Self::Day => 0,
        };
        let first = day.checked_sub(Duration::days(days_before.into())).unwrap_or(day);
        Period { first, length: self }
    }
}

/// A period: `2026-11`, `2026-W48` or `2026-11-27`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Period {
    first: Date,
    length: PeriodLength,
}

impl Period {
    /// How long it is.
    pub const fn length(self) -> PeriodLength {
        self.length
    }

    /// Its first day.
    pub const fn first_day(self) -> Date {
        self.first
    }

    /// The period after it.
    #[must_use]
    pub fn next(self) -> Self {
        let days = match self.length {
            PeriodLength::Month => 31,
            PeriodLength::Week => 7,
            PeriodLength::Day => 1,
        };
        self.length.around(self.first.checked_add(Duration::days(days)).unwrap_or(Date::MAX))
    }
}

impl fmt::Display for Period {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.length {
            PeriodLength::Month => write!(formatter, "{:04}-{:02}", self.first.year(), u8::from(self.first.month())),
            PeriodLength::Week => {
                let (year, week, _) = self.first.to_iso_week_date();
                write!(formatter, "{year:04}-W{week:02}")
            }
            PeriodLength::Day => write!(formatter, "{}", self.first),
        }
    }
}

/// A text that is no period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAPeriod;

impl fmt::Display for NotAPeriod {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("not a period; write a month like 2026-11, a week like 2026-W48, or a day like 2026-11-27")
    }
}

impl std::error::Error for NotAPeriod {}

impl FromStr for Period {
    type Err = NotAPeriod;

    fn from_str(text: &str) -> Result<Self, NotAPeriod> {
        let period = parse(text).ok_or(NotAPeriod)?;
        // One way to write each: `2026-1`, `+2026-01` and `2026-W60` are no periods.
        if period.to_string() == text { Ok(period) } else { Err(NotAPeriod) }
    }
}

fn parse(text: &str) -> Option<Period> {
    let (year, rest) = text.split_once('-')?;
    let year = year.parse().ok()?;
    if let Some(week) = rest.strip_prefix('W') {
        let first = Date::from_iso_week_date(year, week.parse().ok()?, Weekday::Monday).ok()?;
        return Some(PeriodLength::Week.around(first));
    }
    let (month, day) = rest.split_once('-').map_or((rest, None), |(month, day)| (month, Some(day)));
    let month = Month::try_from(month.parse::<u8>().ok()?).ok()?;
    let date = Date::from_calendar_date(year, month, day.map_or(Some(1), |day| day.parse().ok())?).ok()?;
    let length = if day.is_some() { PeriodLength::Day } else { PeriodLength::Month };
    Some(length.around(date))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use time::macros::{date, datetime};

    fn at(length: PeriodLength, time: OffsetDateTime) -> String {
        length.at(time.unix_timestamp_nanos() as u64).to_string()
    }

    #[test]
    fn a_time_lies_in_one_period_of_each_length() {
        use PeriodLength::{Day, Month, Week};
        for (time, month, week, day) in [
            (datetime!(2026-11-30 23:59:59.999 UTC), "2026-11", "2026-W49", "2026-11-30"),
            (datetime!(2026-12-01 00:00 UTC), "2026-12", "2026-W49", "2026-12-01"),
            // The last days of a year may lie in the first week of the next one, the first in the last.
            (datetime!(2024-12-30 00:00 UTC), "2024-12", "2025-W01", "2024-12-30"),
            (datetime!(2027-01-03 23:59 UTC), "2027-01", "2026-W53", "2027-01-03"),
            (datetime!(1970-01-01 00:00 UTC), "1970-01", "1970-W01", "1970-01-01"),
        ] {
            assert_eq!([at(Month, time), at(Week, time), at(Day, time)], [month, week, day]);
        }
        assert_eq!(Month.at(u64::MAX).to_string(), "2554-07");
    }

    #[test]
    fn lengths_have_the_words_of_settings() {
        let words = [PeriodLength::Month, PeriodLength::Week, PeriodLength::Day].map(PeriodLength::as_str);
        assert_eq!(words, ["month", "week", "day"]);
        assert!(NotAPeriod.to_string().contains("2026-W48"));
    }

    #[test]
    fn the_next_one_begins_where_it_ends() {
        for (period, next) in [
            ("2026-01", "2026-02"),
            ("2026-12", "2027-01"),
            ("2024-02", "2024-03"),
            ("2026-W53", "2027-W01"),
            ("2028-02-28", "2028-02-29"),
            ("2026-12-31", "2027-01-01"),
        ] {
            assert_eq!(period.parse::<Period>().unwrap().next().to_string(), next);
        }
        assert_eq!("2026-W48".parse::<Period>().unwrap().first_day(), date!(2026 - 11 - 23));
    }

    #[test]
    fn other_texts_are_no_periods() {
        for text in [
            "",
            "2026",
            "2026-13",
            "2026-00",
            "2026-1",
            "2026-W54",
            "2025-W53",
            "2026-W1",
            "2026-02-30",
            "+2026-01",
            "2026-11-",
        ] {
            assert_eq!(text.parse::<Period>(), Err(NotAPeriod), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(time_ns: u64) {
            for length in [PeriodLength::Month, PeriodLength::Week, PeriodLength::Day] {
                let period = length.at(time_ns);
                prop_assert_eq!(period.to_string().parse(), Ok(period));
                prop_assert!(period < period.next() && period.first_day() < period.next().first_day());
                prop_assert_eq!(length.around(period.first_day()), period);
            }
        }
    }
}
