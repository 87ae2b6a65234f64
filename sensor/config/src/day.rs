//! A day, as a setting.

use std::fmt;

use time::Date;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

use crate::{Definition, Fault, RawValue, SettingType, toml_text};

const FORMAT: &[BorrowedFormatItem<'_>] = format_description!("[year]-[month]-[day]");

/// A day, written `2026-11-27` with or without quotation marks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Day(pub Date);

impl Day {
    /// Reads a day.
    ///
    /// # Errors
    /// It is not written like one, or the calendar does not have it.
    pub fn parse(text: &str) -> Result<Self, Fault> {
        let fault = |_| Fault::new("not a day", "write it like \"2026-11-27\": year, month, day");
        Date::parse(text, FORMAT).map(Self).map_err(fault)
    }
}

impl fmt::Display for Day {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl<S> SettingType<S> for Day {
    fn description() -> String {
        "day, such as \"2026-11-27\"".to_owned()
    }

    fn read(value: &RawValue, _: &Definition) -> Result<Self, Fault> {
        match value {
            RawValue::Text(text) | RawValue::Unquoted(text) | RawValue::Other(text) => Self::parse(text),
            other => Self::parse(&other.to_toml()),
        }
    }

    fn to_toml(&self) -> String {
        toml_text(&self.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_of_the_calendar_are_read() {
        assert_eq!(Day::parse("2026-11-27").unwrap().to_string(), "2026-11-27");
        for bad in ["2026-02-30", "27.11.2026", "2026-11-27T00:00:00Z", "soon", ""] {
            assert!(Day::parse(bad).is_err(), "{bad}");
        }
    }
}
