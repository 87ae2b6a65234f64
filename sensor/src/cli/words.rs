//! Numbers, sizes and times as people read them, and words as a shell reads them.

use std::borrow::Cow;
use std::path::Path;
use std::time::Duration;

use vigie_journal::json;

/// `1234567` as `1,234,567`.
pub fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A count and its noun, `s` added where there is not just one.
pub fn counted(value: u64, noun: &str) -> String {
    format!("{} {noun}{}", count(value), if value == 1 { "" } else { "s" })
}

/// A text that others chose, such as the name of a file: what a terminal might obey, or what changes the order of letters, is
/// escaped.
pub fn printable(text: &str) -> String {
    let is_order =
        |character| matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() || is_order(character) {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    shown
}

/// Bytes in decimal units, two or three digits of them.
pub fn bytes(value: u64) -> String {
    const UNITS: [&str; 6] = ["kB", "MB", "GB", "TB", "PB", "EB"];
    if value < 1000 {
        return format!("{value} B");
    }
    let (mut scaled, mut rest) = (value, 0);
    let mut unit = "B";
    for larger in UNITS {
        if scaled < 1000 {
            break;
        }
        (scaled, rest, unit) = (scaled / 1000, scaled % 1000, larger);
    }
    if scaled < 10 { format!("{scaled}.{} {unit}", rest / 100) } else { format!("{scaled} {unit}") }
}

/// A length of time in its two largest units.
pub fn duration(length: Duration) -> String {
    let seconds = length.as_secs();
    let two = |high: u64, high_unit: &str, low: u64, low_unit: &str| match low {
        0 => format!("{high} {high_unit}"),
        low => format!("{high} {high_unit} {low} {low_unit}"),
    };
    match seconds {
        0..10 => format!("{}.{} s", seconds, length.subsec_millis() / 100),
        10..60 => format!("{seconds} s"),
        60..3600 => two(seconds / 60, "min", seconds % 60, "s"),
        3600..86_400 => two(seconds / 3600, "h", seconds / 60 % 60, "min"),
        _ => two(seconds / 86_400, "d", seconds / 3600 % 24, "h"),
    }
}

/// `2026-11-21` in UTC.
pub fn day(timestamp_ns: u64) -> String {
    let (year, month, day) = json::civil(timestamp_ns / 86_400_000_000_000);
    format!("{year:04}-{month:02}-{day:02}")
}

/// `22:05:05` in UTC.
pub fn clock(timestamp_ns: u64) -> String {
    let second = timestamp_ns / 1_000_000_000 % 86_400;
    format!("{:02}:{:02}:{:02}", second / 3600, second / 60 % 60, second % 60)
}

/// Text as one word of a shell command, so that a suggested command is safe to type.
pub fn quoted(text: &str) -> Cow<'_, str> {
    // Without NUL, which no name has, quoting cannot fail.
    shlex::Quoter::new().allow_nul(true).quote(text).unwrap_or_default()
}

/// A path as one word of a shell command.
pub fn quoted_path(path: &Path) -> String {
    quoted(&path.to_string_lossy()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_files_command_no_terminal() {
        assert_eq!(printable("Mitschnitt à.pcap"), "Mitschnitt à.pcap");
        assert_eq!(printable("a\u{1b}[2J\n\u{202e}b\u{9b}1m\u{7f}"), "a\\u{1b}[2J\\n\\u{202e}b\\u{9b}1m\\u{7f}");
    }

    #[test]
    fn numbers_as_people_read_them() {
        for (value, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567"), (100_000, "100,000")] {
            assert_eq!(count(value), text);
        }
        assert_eq!(counted(1, "flow"), "1 flow");
        assert_eq!(counted(2000, "flow"), "2,000 flows");
        for (value, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (1999, "1.9 kB"),
            (10_500, "10 kB"),
            (999_999, "999 kB"),
            (1_000_000, "1.0 MB"),
            (u64::MAX, "18 EB"),
        ] {
            assert_eq!(bytes(value), text);
        }
        for (seconds, text) in [
            (0.25, "0.2 s"),
            (9.99, "9.9 s"),
            (59.0, "59 s"),
            (60.0, "1 min"),
            (246.0, "4 min 6 s"),
            (7260.0, "2 h 1 min"),
            (90_000.0, "1 d 1 h"),
        ] {
            assert_eq!(duration(Duration::from_secs_f64(seconds)), text);
        }
        assert_eq!(
            (day(1_795_298_705_000_000_000), clock(1_795_298_705_000_000_000)),
            ("2026-11-21".into(), "22:05:05".into())
        );
    }

    #[test]
    fn words_of_a_command_are_quoted() {
        assert_eq!((quoted("eth0"), quoted("a b;reboot")), ("eth0".into(), "'a b;reboot'".into()));
        assert_eq!(quoted_path(Path::new("/var/log/vigie")), "/var/log/vigie");
        assert_eq!(quoted_path(Path::new("/a'b")), r#""/a'b""#);
        assert_eq!(quoted(""), "''");
    }
}
