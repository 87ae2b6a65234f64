//! Whole numbers as settings: their range, and the unit that ends the name of the setting.

use crate::{Definition, Fault, RawValue, Rule, SettingType};

macro_rules! numbers {
    ($($Number:ty),+) => {$(
        impl<S> SettingType<S> for $Number {
            fn description() -> String {
                "whole number".to_owned()
            }

            fn read(value: &RawValue, setting: &Definition) -> Result<Self, Fault> {
                let number = number(value, setting)?;
                Self::try_from(number).map_err(|_| Fault::new("too large", setting.usual()))
            }

            fn to_toml(&self) -> String {
                grouped(*self as u64)
            }
        }
    )+};
}

numbers!(usize, u64, u32);

/// A whole number within the range of the setting.
fn number(value: &RawValue, setting: &Definition) -> Result<u64, Fault> {
    let unit = Unit::of(setting.name);
    let expected = || format!("expected {}", unit.words());
    let mend = |text: &str| match unit.quantity(text) {
        Some(number) => format!("write {number}"),
        None => setting.usual(),
    };
    let number = match value {
        RawValue::Number(number, ..) => *number,
        RawValue::Unquoted(word) => match word.replace('_', "").parse() {
            Ok(number) => number,
            Err(_) => return Err(Fault::new(expected(), mend(word))),
        },
        other => return Err(Fault::new(expected(), mend(other.to_toml().trim_matches('"')))),
    };
    let (least, most) = match setting.rule {
        Rule::Range(least, most) => (least, most),
        Rule::Any | Rule::Text(..) => (0, i64::MAX as u64),
    };
    match u64::try_from(number) {
        Ok(number) if number > most => Err(Fault::new("too large", format!("give at most {most}"))),
        Ok(number) if number >= least => Ok(number),
        _ if number > 0 && number > i128::from(most) => Err(Fault::new("too large", format!("give at most {most}"))),
        _ => Err(Fault::new("too small", format!("give at least {least}"))),
    }
}

/// The unit of a number, by the end of its setting's name.
#[derive(Clone, Copy)]
enum Unit {
    Bytes,
    Milliseconds,
    Seconds,
    Days,
    None,
}

impl Unit {
    fn of(name: &str) -> Self {
        match name.trim_end_matches("_max").rsplit('_').next() {
            Some("bytes") => Self::Bytes,
            Some("ms") => Self::Milliseconds,
            Some("s") => Self::Seconds,
            Some("days") => Self::Days,
            _ => Self::None,
        }
    }

    const fn words(self) -> &'static str {
        match self {
            Self::Bytes => "a number of bytes",
            Self::Milliseconds => "a number of milliseconds",
            Self::Seconds => "a number of seconds",
            Self::Days => "a number of days",
            Self::None => "a whole number",
        }
    }

    /// The number for text such as `64 MiB` or `5 min`.
    fn quantity(self, text: &str) -> Option<u64> {
        let text = text.trim().replace('_', "");
        let end = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
        let (digits, unit) = text.split_at_checked(end)?;
        let number: u64 = digits.parse().ok()?;
        let unit = unit.trim().to_lowercase();
        let of = |units: &[(&[&str], u64)]| {
            let known = units.iter().find(|(names, _)| names.contains(&unit.as_str()));
            known.map(|(_, factor)| *factor)
        };
        const SECONDS: [&str; 4] = ["s", "sec", "second", "seconds"];
        const MINUTES: [&str; 4] = ["m", "min", "minute", "minutes"];
        const HOURS: [&str; 3] = ["h", "hour", "hours"];
        const DAYS: [&str; 3] = ["d", "day", "days"];
        let factor = match self {
            _ if unit.is_empty() => Some(1),
            Self::Bytes => of(&[
                (&["b", "byte", "bytes"], 1),
                (&["kb"], 1000),
                (&["k", "kib"], 1 << 10),
                (&["mb"], 1_000_000),
                (&["m", "mib"], 1 << 20),
                (&["gb"], 1_000_000_000),
                (&["g", "gib"], 1 << 30),
            ]),
            Self::Milliseconds => of(&[(&["ms"], 1), (&SECONDS, 1000), (&MINUTES, 60_000), (&HOURS, 3_600_000)]),
            Self::Seconds => of(&[(&SECONDS, 1), (&MINUTES, 60), (&HOURS, 3600), (&DAYS, 86_400)]),
            Self::Days => of(&[(&DAYS, 1), (&["w", "week", "weeks"], 7), (&["y", "year", "years"], 365)]),
            Self::None => None,
        };
        number.checked_mul(factor?)
    }
}

/// `67108864` as `67_108_864`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && digits.len() > 4 && (digits.len() - index).is_multiple_of(3) {
            text.push('_');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_with_units_become_numbers() {
        for (name, text, number) in [
            ("ring_bytes", "64MiB", Some(67_108_864)),
            ("ring_bytes", "64 mb", Some(64_000_000)),
            ("stream_bytes_max", "1k", Some(1024)),
            ("ring_bytes", "64", Some(64)),
            ("ring_bytes", "lots", None),
            ("ring_bytes", "99999999999999999999", None),
            ("ring_bytes", "99999999999g", None),
            ("timeout_ms", "2s", Some(2000)),
            ("interval_s", "5 min", Some(300)),
            ("age_days", "2 weeks", Some(14)),
            ("workers", "2 threads", None),
        ] {
            assert_eq!(Unit::of(name).quantity(text), number, "{name} {text}");
        }
        assert_eq!(grouped(1000), "1000");
        assert_eq!(grouped(67_108_864), "67_108_864");
    }
}
