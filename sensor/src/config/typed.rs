//! A value as it was typed, and what it means as a value of a type: the only place where types of settings are read.

use std::net::SocketAddr;
use std::path::PathBuf;

use toml::de::{DeTable, DeValue};

use super::finding::{Fault, one_line};

/// A value as it was typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Typed {
    /// Text in quotation marks.
    Text(String),
    /// A whole number, its base, and how it was written.
    Number(i128, u32, String),
    /// `true` or `false`.
    Truth(bool),
    /// A list.
    List(Vec<Self>),
    /// Characters from the environment or the command line, which may mean any of these.
    Word(String),
    /// What no setting is: how it is called, and how it was written.
    Other(&'static str, String),
}

impl Typed {
    pub(super) fn of(value: &DeValue<'_>) -> Self {
        match value {
            DeValue::String(text) => Self::Text(text.to_string()),
            DeValue::Integer(number) => {
                let digits = number.as_str().replace('_', "");
                match i128::from_str_radix(&digits, number.radix()) {
                    Ok(value) => Self::Number(value, number.radix(), number.to_string()),
                    Err(_) => Self::Other("a number out of all bounds", number.to_string()),
                }
            }
            DeValue::Float(number) => Self::Other("a number with a point", number.as_str().to_owned()),
            DeValue::Boolean(truth) => Self::Truth(*truth),
            DeValue::Datetime(time) => Self::Other("a date", time.to_string()),
            DeValue::Array(items) => Self::List(items.iter().map(|item| Self::of(item.get_ref())).collect()),
            DeValue::Table(_) => Self::Other("a table", String::new()),
        }
    }

    /// The characters, where it is text.
    pub(super) fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) | Self::Word(text) => Some(text),
            _ => None,
        }
    }

    /// As an error shows it: in one line, not too long.
    pub(super) fn shown(&self) -> String {
        one_line(&self.toml())
    }

    fn toml(&self) -> String {
        match self {
            Self::Text(text) => toml_text(text),
            Self::Number(_, _, written) | Self::Other(_, written) | Self::Word(written) => written.clone(),
            Self::Truth(truth) => truth.to_string(),
            Self::List(items) => toml_list(items.iter().map(Self::toml)),
        }
    }

    /// The items of a list; a word is a list in TOML's brackets or items separated by commas.
    fn items(&self) -> Option<Vec<Self>> {
        match self {
            Self::List(items) => Some(items.clone()),
            Self::Word(word) if word.trim_start().starts_with('[') => {
                let text = format!("list = {word}");
                let table = DeTable::parse(&text).ok()?;
                match table.get_ref().get("list").map(|value| Self::of(value.get_ref())) {
                    Some(Self::List(items)) => Some(items),
                    _ => None,
                }
            }
            Self::Word(word) => {
                let items = word.split(',').map(str::trim).filter(|item| !item.is_empty());
                Some(items.map(|item| Self::Word(item.to_owned())).collect())
            }
            _ => None,
        }
    }
}

/// What a value of a setting must be besides its type.
#[derive(Clone, Copy, Debug)]
pub enum Rule {
    /// Nothing.
    Any,
    /// A number from the first to the second.
    Within(u64, u64),
    /// A text that passes; the words say what it is.
    Text(&'static str, TextRule),
}

/// What is said of a text: nothing, or what is wrong with it and what mends it.
pub type TextRule = fn(&str) -> Result<(), (String, String)>;

/// For which setting a value is read.
pub(super) struct Place<'a> {
    pub(super) name: &'a str,
    pub(super) rule: Rule,
    /// As it would be typed.
    pub(super) default: &'a str,
}

impl Place<'_> {
    pub(super) fn usual(&self) -> String {
        format!("the default is {}", self.default)
    }
}

/// A type that settings have.
pub(super) trait Meant: Sized {
    /// The type in words.
    fn kind() -> String;
    /// What `typed` means.
    fn mean(typed: &Typed, place: &Place<'_>) -> Result<Self, Fault>;
    /// As it would be typed.
    fn toml(&self) -> String;
}

macro_rules! numbers {
    ($($Number:ty),+) => {$(
        impl Meant for $Number {
            fn kind() -> String {
                "whole number".to_owned()
            }

            fn mean(typed: &Typed, place: &Place<'_>) -> Result<Self, Fault> {
                let number = number(typed, place)?;
                Self::try_from(number).map_err(|_| Fault::new("too large", place.usual()))
            }

            fn toml(&self) -> String {
                grouped(*self as u64)
            }
        }
    )+};
}

numbers!(usize, u64, u32);

impl Meant for bool {
    fn kind() -> String {
        "true or false".to_owned()
    }

    fn mean(typed: &Typed, _: &Place<'_>) -> Result<Self, Fault> {
        let mend = match typed {
            Typed::Truth(truth) => return Ok(*truth),
            Typed::Word(word) if word == "true" => return Ok(true),
            Typed::Word(word) if word == "false" => return Ok(false),
            other => match other.toml().trim_matches('"').to_lowercase().as_str() {
                "yes" | "on" | "1" | "true" => "write true",
                "no" | "off" | "0" | "false" => "write false",
                _ => "write true or false, without quotation marks",
            },
        };
        Err(Fault::new("expected true or false", mend))
    }

    fn toml(&self) -> String {
        self.to_string()
    }
}

impl Meant for String {
    fn kind() -> String {
        "text".to_owned()
    }

    fn mean(typed: &Typed, place: &Place<'_>) -> Result<Self, Fault> {
        let Some(text) = typed.as_text() else {
            return Err(match typed {
                Typed::List(_) => Fault::new("expected text, not a list", place.usual()),
                other => Fault::new("expected text", format!("write {}", toml_text(&other.toml()))),
            });
        };
        match place.rule {
            Rule::Text(_, rule) => rule(text).map_err(|(what, mend)| Fault::new(what, mend))?,
            Rule::Any | Rule::Within(..) => {}
        }
        Ok(text.to_owned())
    }

    fn toml(&self) -> String {
        toml_text(self)
    }
}

impl Meant for PathBuf {
    fn kind() -> String {
        "path".to_owned()
    }

    fn mean(typed: &Typed, place: &Place<'_>) -> Result<Self, Fault> {
        String::mean(typed, place).map(Self::from)
    }

    fn toml(&self) -> String {
        toml_text(&self.to_string_lossy())
    }
}

impl Meant for SocketAddr {
    fn kind() -> String {
        "address:port".to_owned()
    }

    fn mean(typed: &Typed, place: &Place<'_>) -> Result<Self, Fault> {
        let text = typed.as_text().unwrap_or_default();
        text.parse().map_err(|_| {
            let what = "expected an address and a port";
            let (host, port) = text.rsplit_once(':').unwrap_or((text, ""));
            let host = match host {
                "localhost" => "127.0.0.1",
                "" | "*" => "0.0.0.0",
                host => host,
            };
            match format!("{host}:{port}").parse::<Self>() {
                Ok(address) => Fault::new(what, format!("write {}", toml_text(&address.to_string()))),
                Err(_) => Fault::new(what, place.usual()),
            }
        })
    }

    fn toml(&self) -> String {
        toml_text(&self.to_string())
    }
}

/// Empty text stands for none, so that a later layer can take back what an earlier one set.
impl<T: Meant> Meant for Option<T> {
    fn kind() -> String {
        T::kind()
    }

    fn mean(typed: &Typed, place: &Place<'_>) -> Result<Self, Fault> {
        match typed.as_text() {
            Some("") => Ok(None),
            _ => T::mean(typed, place).map(Some),
        }
    }

    fn toml(&self) -> String {
        self.as_ref().map_or_else(|| toml_text(""), T::toml)
    }
}

impl<T: Meant> Meant for Vec<T> {
    fn kind() -> String {
        format!("list of: {}", T::kind())
    }

    fn mean(typed: &Typed, place: &Place<'_>) -> Result<Self, Fault> {
        let Some(items) = typed.items() else {
            let mend = match typed {
                Typed::Word(_) => "write items separated by commas".to_owned(),
                other => format!("write [{}]", other.toml()),
            };
            return Err(Fault::new("expected a list", mend));
        };
        items
            .iter()
            .map(|item| {
                T::mean(item, place)
                    .map_err(|fault| Fault::new(format!("of {}: {}", item.shown(), fault.what), fault.mend))
            })
            .collect()
    }

    fn toml(&self) -> String {
        toml_list(self.iter().map(T::toml))
    }
}

/// Permissions of a file, as chmod(1) takes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mode(pub u32);

impl Meant for Mode {
    fn kind() -> String {
        "octal permissions".to_owned()
    }

    fn mean(typed: &Typed, place: &Place<'_>) -> Result<Self, Fault> {
        let bits = match typed {
            Typed::Text(text) | Typed::Word(text) => u32::from_str_radix(text.trim_start_matches("0o"), 8).ok(),
            Typed::Number(bits, 8, _) => u32::try_from(*bits).ok(),
            // 640 without quotation marks is 0o1200 to a parser, which nobody means.
            Typed::Number(_, _, written) if u32::from_str_radix(written, 8).is_ok_and(|bits| bits <= 0o777) => {
                let mend = format!("write {}", toml_text(&format!("{written:0>4}")));
                return Err(Fault::new("expected octal permissions in quotation marks", mend));
            }
            _ => None,
        };
        match bits {
            Some(bits) if bits > 0o777 => Err(Fault::new("expected permissions up to 0777", place.usual())),
            Some(bits) if bits & 0o200 == 0 => Err(Fault::new("the sensor itself could not write", place.usual())),
            Some(bits) => Ok(Self(bits)),
            None => Err(Fault::new("expected octal permissions", place.usual())),
        }
    }

    fn toml(&self) -> String {
        toml_text(&format!("{:04o}", self.0))
    }
}

/// A whole number within the place's range.
fn number(typed: &Typed, place: &Place<'_>) -> Result<u64, Fault> {
    let unit = Unit::of(place.name);
    let expected = || format!("expected {}", unit.words());
    let mend = |text: &str| match unit.quantity(text) {
        Some(number) => format!("write {number}"),
        None => place.usual(),
    };
    let number = match typed {
        Typed::Number(number, ..) => *number,
        Typed::Word(word) => match word.replace('_', "").parse() {
            Ok(number) => number,
            Err(_) => return Err(Fault::new(expected(), mend(word))),
        },
        other => return Err(Fault::new(expected(), mend(other.toml().trim_matches('"')))),
    };
    let (least, most) = match place.rule {
        Rule::Within(least, most) => (least, most),
        Rule::Any | Rule::Text(..) => (0, i64::MAX as u64),
    };
    match u64::try_from(number) {
        Ok(number) if number > most => Err(Fault::new("too large", format!("give at most {most}"))),
        Ok(number) if number >= least => Ok(number),
        _ if number > 0 && number > i128::from(most) => Err(Fault::new("too large", format!("give at most {most}"))),
        _ => Err(Fault::new("too small", format!("give at least {least}"))),
    }
}

/// The unit of a number, which its setting's name ends in.
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

    /// What somebody who wrote `64 MiB` or `5 min` should have written.
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

/// Text in TOML's quotation marks.
pub(super) fn toml_text(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            control if control.is_control() => quoted.push_str(&format!("\\u{:04X}", control as u32)),
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

fn toml_list(items: impl Iterator<Item = String>) -> String {
    format!("[{}]", items.collect::<Vec<_>>().join(", "))
}

/// `67108864` as `67_108_864`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && digits.len() > 4 && (digits.len() - place).is_multiple_of(3) {
            text.push('_');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANY: Place<'_> = Place { name: "x", rule: Rule::Any, default: "1" };

    fn word(text: &str) -> Typed {
        Typed::Word(text.to_owned())
    }

    #[test]
    fn quantities_of_people_are_turned_into_numbers() {
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
    }

    #[test]
    fn words_mean_what_the_setting_wants() {
        assert_eq!(usize::mean(&word("1_000"), &ANY).unwrap(), 1000);
        assert!(bool::mean(&word("true"), &ANY).unwrap());
        assert_eq!(Vec::<String>::mean(&word("eth0, eth1,"), &ANY).unwrap(), ["eth0", "eth1"]);
        assert_eq!(Vec::<String>::mean(&word("[\"eth0\", 'a,b']"), &ANY).unwrap(), ["eth0", "a,b"]);
        assert_eq!(Vec::<usize>::mean(&word("[3, 4]"), &ANY).unwrap(), [3, 4]);
        assert!(Vec::<usize>::mean(&word("[3, 4"), &ANY).is_err());
        assert!(Vec::<usize>::mean(&word(""), &ANY).unwrap().is_empty());
        assert_eq!(Option::<String>::mean(&word(""), &ANY).unwrap(), None);
        assert_eq!(Mode::mean(&word("600"), &ANY).unwrap(), Mode(0o600));
        assert_eq!(Mode::mean(&Typed::Number(0o640, 8, "0o640".into()), &ANY).unwrap(), Mode(0o640));
    }

    #[test]
    fn text_comes_back_from_its_quotation_marks() {
        for text in ["", "plain", "a \"b\" \\c", "tab\tline\n\u{1b}é\u{7f}"] {
            let document = format!("x = {}", toml_text(text));
            let table = DeTable::parse(&document).unwrap();
            assert_eq!(Typed::of(table.get_ref().get("x").unwrap().get_ref()), Typed::Text(text.to_owned()));
        }
        assert_eq!(grouped(1000), "1000");
        assert_eq!(grouped(67_108_864), "67_108_864");
    }
}
