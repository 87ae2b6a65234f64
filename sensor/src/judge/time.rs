//! Times as logs write them: seconds since the Unix epoch, or text such as `2026-11-27T18:58:14.123456+0100`.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, Visitor};

const SECOND_NS: i128 = 1_000_000_000;

/// A time, nanoseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub u64);

impl Time {
    /// From seconds since the Unix epoch; none before it, or where they are no number.
    pub fn from_seconds(seconds: f64) -> Option<Self> {
        let is_time = (0.0..1.8e10).contains(&seconds);
        is_time.then_some(Self((seconds * 1e9).round() as u64))
    }

    /// From text (RFC 3339, with or without a colon in the offset, which is UTC where there is none).
    pub fn from_text(text: &str) -> Option<Self> {
        let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2, b'T' | b't' | b' ', clock @ ..] = text.as_bytes() else {
            return None;
        };
        let [h1, h2, b':', min1, min2, b':', s1, s2, ..] = clock else { return None };
        let rest = text.get(19..)?;
        let days = days_since_epoch(digits(&[*y1, *y2, *y3, *y4])?, digits(&[*m1, *m2])?, digits(&[*d1, *d2])?)?;
        let (hour, minute, second) = (digits(&[*h1, *h2])?, digits(&[*min1, *min2])?, digits(&[*s1, *s2])?);
        if hour > 23 || minute > 59 || second > 60 {
            return None;
        }
        let (fraction_ns, zone) = fraction(rest)?;
        let seconds = days * 86_400 + hour * 3_600 + minute * 60 + second - offset_s(zone)?;
        u64::try_from(i128::from(seconds) * SECOND_NS + i128::from(fraction_ns)).ok().map(Self)
    }
}

/// The number that digits make.
fn digits(digits: &[u8]) -> Option<i64> {
    let is_number = digits.iter().all(u8::is_ascii_digit);
    is_number.then(|| digits.iter().fold(0, |number, digit| number * 10 + i64::from(digit - b'0')))
}

/// Days of the proleptic Gregorian calendar.
fn days_since_epoch(year: i64, month: i64, day: i64) -> Option<i64> {
    let month = time::Month::try_from(u8::try_from(month).ok()?).ok()?;
    let date = time::Date::from_calendar_date(i32::try_from(year).ok()?, month, u8::try_from(day).ok()?).ok()?;
    Some(i64::from(date.to_julian_day()) - 2_440_588)
}

/// The fraction of a second, in nanoseconds, and what follows it.
fn fraction(text: &str) -> Option<(u32, &str)> {
    let Some(rest) = text.strip_prefix(['.', ',']) else { return Some((0, text)) };
    let end = rest.bytes().position(|byte| !byte.is_ascii_digit()).unwrap_or(rest.len());
    let (digits, zone) = rest.split_at_checked(end)?;
    let mut fraction_ns = 0;
    for place in 0..9 {
        let digit = digits.as_bytes().get(place).map_or(0, |byte| u32::from(byte - b'0'));
        fraction_ns = fraction_ns * 10 + digit;
    }
    (!digits.is_empty()).then_some((fraction_ns, zone))
}

/// Seconds east of UTC.
fn offset_s(zone: &str) -> Option<i64> {
    let (sign, rest) = match zone {
        "" | "Z" | "z" => return Some(0),
        _ => (if zone.starts_with('-') { -1 } else { 1 }, zone.strip_prefix(['+', '-'])?),
    };
    let (hours, minutes) = match rest.as_bytes() {
        [h1, h2, m1, m2] | [h1, h2, b':', m1, m2] => (digits(&[*h1, *h2])?, digits(&[*m1, *m2])?),
        _ => return None,
    };
    (hours < 24 && minutes < 60).then_some(sign * (hours * 3_600 + minutes * 60))
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TimeVisitor)
    }
}

struct TimeVisitor;

impl Visitor<'_> for TimeVisitor {
    type Value = Time;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a time: seconds since 1970, or text such as 2026-11-27T18:58:14Z")
    }

    fn visit_f64<E: Error>(self, seconds: f64) -> Result<Time, E> {
        Time::from_seconds(seconds).ok_or_else(|| E::invalid_value(serde::de::Unexpected::Float(seconds), &self))
    }

    fn visit_u64<E: Error>(self, seconds: u64) -> Result<Time, E> {
        self.visit_f64(seconds as f64)
    }

    fn visit_i64<E: Error>(self, seconds: i64) -> Result<Time, E> {
        self.visit_f64(seconds as f64)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Time, E> {
        Time::from_text(text).ok_or_else(|| E::invalid_value(serde::de::Unexpected::Str(text), &self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<u64>) {
        assert_eq!(Time::from_text(text).map(|time| time.0), expected, "{text}");
    }

    #[test]
    fn times_of_suricata_and_zeek() {
        const SECOND: u64 = 1_795_805_894;
        check("2026-11-27T18:58:14.123456+0000", Some(SECOND * 1_000_000_000 + 123_456_000));
        check("2026-11-27T19:58:14.123456+0100", Some(SECOND * 1_000_000_000 + 123_456_000));
        check("2026-11-27T13:28:14-05:30", Some(SECOND * 1_000_000_000));
        check("2026-11-27T18:58:14Z", Some(SECOND * 1_000_000_000));
        check("2026-11-27 18:58:14.1234567891", Some(SECOND * 1_000_000_000 + 123_456_789));
        check("1970-01-01T00:00:00Z", Some(0));
        check("2024-02-29T00:00:00Z", Some(1_709_164_800_000_000_000));
    }

    #[test]
    fn what_is_no_time() {
        for text in [
            "",
            "2026-11-27",
            "2026-11-27T18:58",
            "2026-13-01T00:00:00Z",
            "2026-02-29T00:00:00Z",
            "2026-11-27T24:00:00Z",
            "2026-11-27T18:60:00Z",
            "2026-11-27T18:58:61Z",
            "2026-11-27T18:58:14.Z",
            "2026-11-27T18:58:14+01:00:00",
            "2026-11-27T18:58:14+9900",
            "2026-11-27T18:58:14 CET",
            "1969-12-31T23:59:59Z",
            "2026-11-27T1é:58:14Z",
        ] {
            check(text, None);
        }
    }

    #[test]
    fn seconds_since_the_epoch() {
        assert_eq!(Time::from_seconds(0.4), Some(Time(400_000_000)));
        assert_eq!(Time::from_seconds(3_600.0), Some(Time(3_600_000_000_000)));
        assert!([-1.0, f64::NAN, f64::INFINITY, 1.8e10].iter().all(|none| Time::from_seconds(*none).is_none()));
        for (json, expected) in [("1.5", Some(1_500_000_000)), ("2", Some(2_000_000_000)), ("-1", None), ("true", None)]
        {
            assert_eq!(serde_json::from_str::<Time>(json).ok().map(|time| time.0), expected, "{json}");
        }
    }
}
