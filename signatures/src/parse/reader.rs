//! Values of a TOML document, read as the type that a key wants, with a finding where they are not of it.

use std::collections::BTreeSet;

use serde_spanned::Spanned;
use time::{Date, Month};
use toml::de::DeValue;

use crate::diagnostic::{Diagnostic, Severity};
use crate::words::Class;

/// Findings kept per file; nobody reads more of them.
const DIAGNOSTICS_MAX: usize = 200;

/// A value and where it stands.
pub(crate) type Value<'i> = Spanned<DeValue<'i>>;

/// Reads values of one file and collects its findings.
pub(crate) struct Reader<'t> {
    label: &'t str,
    line_starts: Vec<usize>,
    findings: Vec<Diagnostic>,
    /// Words of the older format that were warned of.
    old_words: BTreeSet<(String, Class)>,
}

impl<'t> Reader<'t> {
    pub(crate) fn new(label: &'t str, text: &'t str) -> Self {
        let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        Self {
            label,
            line_starts: std::iter::once(0).chain(ends).collect(),
            findings: Vec::new(),
            old_words: BTreeSet::new(),
        }
    }

    pub(crate) const fn label(&self) -> &str {
        self.label
    }

    pub(crate) fn line(&self, at: usize) -> u32 {
        self.line_starts.partition_point(|start| *start <= at) as u32
    }

    /// Whether an old word stands for this class for the first time.
    pub(super) fn first_old_word(&mut self, word: &str, class: Class) -> bool {
        self.old_words.insert((word.to_owned(), class))
    }

    pub(crate) fn has_errors(&self) -> bool {
        self.findings.iter().any(|finding| finding.severity == Severity::Error)
    }

    pub(crate) fn into_findings(self) -> Vec<Diagnostic> {
        self.findings
    }

    pub(crate) fn error(&mut self, at: usize, key: &str, message: impl Into<String>, mend: impl Into<String>) {
        self.find(Severity::Error, at, key, message, mend);
    }

    pub(crate) fn warning(&mut self, at: usize, key: &str, message: impl Into<String>, mend: impl Into<String>) {
        self.find(Severity::Warning, at, key, message, mend);
    }

    fn find(&mut self, severity: Severity, at: usize, key: &str, message: impl Into<String>, mend: impl Into<String>) {
        if self.findings.len() < DIAGNOSTICS_MAX {
            let line = self.line(at);
            self.findings.push(Diagnostic::new(severity, self.label, line, key, message, mend));
        }
    }

    pub(crate) fn unknown_key(&mut self, at: usize, key: &str, known: &str) {
        self.error(at, key, format!("unknown key \"{key}\""), format!("use one of {known}"));
    }

    pub(crate) fn string(&mut self, key: &str, value: &Value<'_>) -> Option<String> {
        let text = value.get_ref().as_str().map(str::trim).filter(|text| !text.is_empty());
        if text.is_none() {
            self.error(value.span().start, key, format!("{key} is not a string with something in it"), "quote a text");
        }
        text.map(str::to_owned)
    }

    pub(crate) fn strings(&mut self, key: &str, value: &Value<'_>) -> Vec<String> {
        let DeValue::Array(list) = value.get_ref() else {
            self.error(value.span().start, key, format!("{key} is not a list"), format!("write {key} = [\"…\"]"));
            return Vec::new();
        };
        list.iter().filter_map(|one| self.string(key, one)).collect()
    }

    pub(crate) fn boolean(&mut self, key: &str, value: &Value<'_>) -> Option<bool> {
        let truth = value.get_ref().as_bool();
        if truth.is_none() {
            self.error(value.span().start, key, format!("{key} is not true or false"), "write true or false");
        }
        truth
    }

    pub(crate) fn number(&mut self, key: &str, value: &Value<'_>) -> Option<u32> {
        let number = value.get_ref().as_integer();
        let number = number.and_then(|number| u32::from_str_radix(number.as_str(), number.radix()).ok());
        if number.is_none() {
            self.error(value.span().start, key, format!("{key} is not a number of 32 bits"), "write a plain number");
        }
        number
    }

    pub(crate) fn word<W: std::str::FromStr<Err = String>>(&mut self, key: &str, value: &Value<'_>) -> Option<W> {
        let text = self.string(key, value)?;
        match text.parse() {
            Ok(word) => Some(word),
            Err(message) => {
                self.error(value.span().start, key, format!("{key} {message}"), "write one of these words");
                None
            }
        }
    }

    pub(crate) fn words<W: std::str::FromStr<Err = String>>(&mut self, key: &str, value: &Value<'_>) -> Vec<W> {
        let DeValue::Array(list) = value.get_ref() else {
            self.error(value.span().start, key, format!("{key} is not a list"), format!("write {key} = [\"…\"]"));
            return Vec::new();
        };
        list.iter().filter_map(|one| self.word(key, one)).collect()
    }

    pub(crate) fn day(&mut self, key: &str, value: &Value<'_>) -> Option<String> {
        let text = self.string(key, value)?;
        if parse_day(&text).is_none() {
            let message = format!("{key} \"{text}\" is not a day");
            self.error(value.span().start, key, message, "write it as \"YYYY-MM-DD\"");
            return None;
        }
        Some(text)
    }
}

/// Reads a day written `YYYY-MM-DD`.
pub(crate) fn parse_day(text: &str) -> Option<Date> {
    let (year, rest) = text.split_once('-')?;
    let (month, day) = rest.split_once('-')?;
    if (year.len(), month.len(), day.len()) != (4, 2, 2) {
        return None;
    }
    let month = Month::try_from(month.parse::<u8>().ok()?).ok()?;
    Date::from_calendar_date(year.parse().ok()?, month, day.parse().ok()?).ok()
}
