//! Times of events as EVE has them: `2026-11-27T18:58:14.000000+0000`.

/// Digits of a fraction of a second, at most.
const FRACTION_DIGITS_MAX: usize = 9;

/// Microseconds since the Unix epoch of a time in this form, with any zone and one to nine digits of a fraction, and in no other.
pub fn time_us(text: &str) -> Option<i64> {
    let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2, b'T', clock @ ..] = text.as_bytes() else { return None };
    let [h1, h2, b':', n1, n2, b':', s1, s2, b'.', rest @ ..] = clock else { return None };
    let [fraction @ .., sign @ (b'+' | b'-'), o1, o2, o3, o4] = rest else { return None };
    let days = days(number(&[*y1, *y2, *y3, *y4])?, number(&[*m1, *m2])?, number(&[*d1, *d2])?)?;
    let (hour, minute, second) = (number(&[*h1, *h2])?, number(&[*n1, *n2])?, number(&[*s1, *s2])?);
    let (offset_hours, offset_minutes) = (number(&[*o1, *o2])?, number(&[*o3, *o4])?);
    if hour > 23 || minute > 59 || second > 59 || offset_hours > 23 || offset_minutes > 59 {
        return None;
    }
    let offset = (offset_hours * 3_600 + offset_minutes * 60) * if *sign == b'-' { -1 } else { 1 };
    let seconds = days * 86_400 + hour * 3_600 + minute * 60 + second - offset;
    Some(seconds * 1_000_000 + microseconds(fraction)?)
}

/// The microseconds of a fraction; what is finer is cut off.
fn microseconds(fraction: &[u8]) -> Option<i64> {
    if fraction.is_empty() || fraction.len() > FRACTION_DIGITS_MAX {
        return None;
    }
    number(fraction)?;
    let digit = |place: usize| fraction.get(place).map_or(0, |digit| i64::from(digit - b'0'));
    Some((0..6).fold(0, |number, place| number * 10 + digit(place)))
}

fn number(digits: &[u8]) -> Option<i64> {
    let is_number = digits.iter().all(u8::is_ascii_digit);
    is_number.then(|| digits.iter().fold(0, |number, digit| number * 10 + i64::from(digit - b'0')))
}

/// Days since 1970 of a date of the Gregorian calendar.
fn days(year: i64, month: i64, day: i64) -> Option<i64> {
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let of_month = match month {
        4 | 6 | 9 | 11 => 30,
        2 if is_leap => 29,
        2 => 28,
        1..=12 => 31,
        _ => return None,
    };
    if !(1..=of_month).contains(&day) {
        return None;
    }
    // Years begin with March, so that the day that only some have is their last. 1 March of year 0 is day 719 468 before 1970.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    Some(year * 365 + leap_days + (153 * month + 2) / 5 + day - 1 - 719_468)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::Object;

    #[test]
    fn a_time_is_read_as_it_is_written() {
        let mut seconds = 0_u64;
        // Some 22 000 times in 700 years.
        while seconds < 700 * 31_556_952 {
            let ns = seconds * 1_000_000_000 + 123_456_000;
            let mut line = Vec::new();
            let mut object = Object::open(&mut line);
            object.time("t", ns);
            object.close();
            let line = String::from_utf8(line).unwrap();
            assert_eq!(time_us(&line[6..37]), Some((ns / 1_000) as i64), "{line}");
            seconds += 1_003_217;
            if ns > u64::MAX - 2_000_000_000_000_000 {
                break;
            }
        }
    }

    #[test]
    fn other_forms_are_none() {
        assert_eq!(time_us("1970-01-01T00:00:01.000002+0000"), Some(1_000_002));
        assert_eq!(time_us("1970-01-01T02:00:01.000002+0200"), Some(1_000_002));
        assert_eq!(time_us("1970-01-01T00:00:01.5+0000"), Some(1_500_000));
        assert_eq!(time_us("1970-01-01T00:00:01.123456789+0000"), Some(1_123_456));
        assert_eq!(time_us("1969-12-31T23:59:59.999999+0000"), Some(-1));
        assert_eq!(time_us("1969-12-31T22:30:00.000000-0130"), Some(0));
        assert_eq!(time_us("2026-11-27T18:58:14.000000+0000"), Some(1_795_805_894_000_000));
        assert_eq!(time_us("2024-02-29T00:00:00.000000+0000"), Some(1_709_164_800_000_000));
        for wrong in [
            "",
            "2026-11-27",
            "2026-11-27T18:58:14.000000Z",
            "2026-11-27T18:58:14.0000000+000",
            "2026-11-27T18:58:14.0000000000+0000",
            "2026-11-27T18:58:14.+0000",
            "2026-11-27T18:58:14+0000",
            "2026-11-27T18:58:14.1Z",
            "2026-13-27T18:58:14.000000+0000",
            "2026-02-29T18:58:14.000000+0000",
            "2026-11-27T24:58:14.000000+0000",
            "2026-11-27T18:60:14.000000+0000",
            "2026-11-27T18:58:14.00000x+0000",
            "2026-11-27T18:58:14,000000+0000",
            "+026-11-27T18:58:14.000000+0000",
            "é026-11-27T18:58:14.000000+000",
        ] {
            assert_eq!(time_us(wrong), None, "{wrong}");
        }
    }
}
