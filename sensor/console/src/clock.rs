//! Times as people read them: in the zone of the console, with UTC beside.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

use crate::words::Language;

const MONTHS_EN: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const MONTHS_FR: [&str; 12] =
    ["janv.", "févr.", "mars", "avr.", "mai", "juin", "juil.", "août", "sept.", "oct.", "nov.", "déc."];

/// A time of a page.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stamp {
    /// For machines (RFC 3339).
    pub iso: String,
    /// Shown when the pointer rests on it.
    pub utc: String,
    /// In the zone of the console.
    pub local: String,
}

/// The zone of the console.
#[derive(Clone, Debug)]
pub struct Clock {
    zone: TimeZone,
}

impl Clock {
    /// The zone of a name such as `Europe/Paris`; that of the system without one.
    ///
    /// # Errors
    /// No zone has that name.
    pub fn new(name: &str) -> Result<Self, jiff::Error> {
        let zone = if name.is_empty() { TimeZone::system() } else { TimeZone::get(name)? };
        Ok(Self { zone })
    }

    /// The name of the zone.
    pub fn zone_name(&self) -> &str {
        self.zone.iana_name().unwrap_or("UTC")
    }

    /// Now, in microseconds.
    pub fn now_us() -> i64 {
        Timestamp::now().as_microsecond()
    }

    fn at(&self, time_us: i64) -> Zoned {
        Timestamp::from_microsecond(time_us).unwrap_or(Timestamp::UNIX_EPOCH).to_zoned(self.zone.clone())
    }

    fn stamp(&self, time_us: i64, local: String) -> Stamp {
        let utc = Timestamp::from_microsecond(time_us).unwrap_or(Timestamp::UNIX_EPOCH);
        let civil = utc.to_zoned(TimeZone::UTC).datetime();
        let (day, time) = (civil.date(), civil.time());
        let seconds = format!("{:02}:{:02}:{:02}", time.hour(), time.minute(), time.second());
        Stamp { iso: format!("{day}T{seconds}Z"), utc: format!("{day} {seconds} UTC"), local }
    }

    /// `24 Nov 08:33`.
    pub fn short(&self, language: Language, time_us: i64) -> Stamp {
        let at = self.at(time_us);
        let local = format!("{} {:02}:{:02}", short_day(language, at.date()), at.hour(), at.minute());
        self.stamp(time_us, local)
    }

    /// `08:33`.
    pub fn minute(&self, time_us: i64) -> String {
        let at = self.at(time_us);
        format!("{:02}:{:02}", at.hour(), at.minute())
    }

    /// `08:33:08`.
    pub fn second(&self, time_us: i64) -> Stamp {
        let at = self.at(time_us);
        self.stamp(time_us, format!("{:02}:{:02}:{:02}", at.hour(), at.minute(), at.second()))
    }

    /// The day of a time.
    pub fn day(&self, time_us: i64) -> Date {
        self.at(time_us).date()
    }

    /// When a day begins and ends, in microseconds.
    pub fn span_of(&self, day: Date) -> (i64, i64) {
        let begin = |day: Date| {
            let zoned = day.to_zoned(self.zone.clone());
            zoned.map_or(0, |zoned| zoned.timestamp().as_microsecond())
        };
        (begin(day), begin(day.tomorrow().unwrap_or(day)))
    }
}

/// `24 Nov`.
pub fn short_day(language: Language, day: Date) -> String {
    let months = match language {
        Language::En => MONTHS_EN,
        Language::Fr => MONTHS_FR,
    };
    let month = months.get(usize::from(day.month().unsigned_abs()).saturating_sub(1)).copied().unwrap_or_default();
    format!("{}\u{a0}{month}", day.day())
}

/// `24 November 2026`.
pub fn long_day(language: Language, day: Date) -> String {
    const EN: [&str; 12] = [
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ];
    const FR: [&str; 12] = [
        "janvier",
        "février",
        "mars",
        "avril",
        "mai",
        "juin",
        "juillet",
        "août",
        "septembre",
        "octobre",
        "novembre",
        "décembre",
    ];
    let months = match language {
        Language::En => EN,
        Language::Fr => FR,
    };
    let month = months.get(usize::from(day.month().unsigned_abs()).saturating_sub(1)).copied().unwrap_or_default();
    let first = if language == Language::Fr && day.day() == 1 { "1er".to_owned() } else { day.day().to_string() };
    format!("{first} {month} {}", day.year())
}

/// A day as `2026-11-24`.
pub fn parse_day(text: &str) -> Option<Date> {
    if text.len() == 10 { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_local_with_utc_beside() {
        let clock = Clock::new("Europe/Paris").unwrap();
        let time = 1_795_805_894_000_000;
        let stamp = clock.short(Language::Fr, time);
        assert_eq!(stamp.local, "27\u{a0}nov. 19:58");
        assert_eq!(stamp.utc, "2026-11-27 18:58:14 UTC");
        assert_eq!(stamp.iso, "2026-11-27T18:58:14Z");
        assert_eq!(clock.second(time).local, "19:58:14");
        let (begin, end) = clock.span_of(parse_day("2026-10-25").unwrap());
        assert_eq!((end - begin) / 3_600_000_000, 25, "the day on which clocks go back");
        assert_eq!(long_day(Language::Fr, parse_day("2026-11-01").unwrap()), "1er novembre 2026");
        assert!(Clock::new("Nowhere/Land").is_err());
        assert_eq!(parse_day("2026-13-01"), None);
    }
}
