//! Numbers and texts as the screen shows them.

/// A text of the record for a terminal: characters that move the cursor, change colours or the direction of writing become `�`.
pub fn plain(text: &str) -> String {
    let is_unsafe = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    text.chars().map(|c| if is_unsafe(c) { '\u{fffd}' } else { c }).collect()
}

/// A whole number with narrow groups of three digits.
pub fn number(value: f64) -> String {
    let digits = format!("{:.0}", value.max(0.0));
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

/// A rate; `-` if it is not known.
pub fn rate(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), number)
}

/// Bits in a second with a prefix of the SI.
pub fn bits(value: Option<f64>) -> String {
    let Some(mut value) = value else { return "-".to_owned() };
    for prefix in ["", "k", "M", "G"] {
        if value < 999.5 {
            return if prefix.is_empty() { format!("{value:.0}") } else { format!("{value:.1} {prefix}") };
        }
        value /= 1_000.0;
    }
    format!("{value:.1} T")
}

/// A share. What is not nothing never looks like nothing, nor what is not all like all.
pub fn percent(part: f64, whole: f64) -> String {
    if whole <= 0.0 {
        return "-".to_owned();
    }
    let share = part / whole * 100.0;
    match share {
        share if share > 0.0 && share < 0.01 => "<0.01 %".to_owned(),
        share if share < 100.0 && share > 99.99 => ">99.99 %".to_owned(),
        share => format!("{share:.2} %"),
    }
}

/// A span of time in its two largest units.
pub fn duration(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min"),
        (0, _, _) => format!("{hours} h {minutes:02} min"),
        _ => format!("{days} d {hours:02} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_the_record_move_no_cursor() {
        assert_eq!(
            plain("a\x1b[2Jb\u{202e}c\u{9b}d\u{200b}\r\n"),
            "a\u{fffd}[2Jb\u{fffd}c\u{fffd}d\u{fffd}\u{fffd}\u{fffd}"
        );
        assert_eq!(plain("Fédération 抖音"), "Fédération 抖音");
    }

    #[test]
    fn numbers_are_short_and_do_not_lie() {
        assert_eq!([number(0.0), number(999.4), number(1_234_567.0)], ["0", "999", "1 234 567"]);
        assert_eq!(
            [bits(None), bits(Some(12.0)), bits(Some(999_600.0)), bits(Some(1.25e9))],
            ["-", "12", "1.0 M", "1.2 G"]
        );
        assert_eq!(
            [percent(0.0, 0.0), percent(0.0, 5.0), percent(1.0, 1e9), percent(999_999.0, 1e6)],
            ["-", "0.00 %", "<0.01 %", ">99.99 %"]
        );
        assert_eq!(
            [duration(59), duration(61), duration(7_260), duration(90_000)],
            ["59 s", "1 min", "2 h 01 min", "1 d 01 h"]
        );
    }
}
