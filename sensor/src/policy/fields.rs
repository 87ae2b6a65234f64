//! Typed reading of a table in a file, with a finding for each fault: file, line, key, mend.

use std::borrow::Cow;
use std::str::FromStr;

use serde_spanned::Spanned;
use time::Date;
use toml::de::{DeTable, DeValue};
use vigie_config::{Day, Fault, Finding, Origin, nearest, one_line};
use vigie_judgement::policy::Refusal;
use vigie_signatures::missing_keys;

/// Findings that are kept of a file; nobody reads more.
pub(super) const FINDINGS_MAX: usize = 100;

/// The text of a file, to tell lines.
pub(super) struct Text<'t> {
    pub(super) label: &'t str,
    pub(super) text: &'t str,
    line_starts: Vec<usize>,
}

impl<'t> Text<'t> {
    pub(super) fn new(label: &'t str, text: &'t str) -> Self {
        let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        Self { label, text, line_starts: std::iter::once(0).chain(ends).collect() }
    }

    /// The place of a byte.
    pub(super) fn origin(&self, at: usize) -> Origin {
        let line = self.line_starts.partition_point(|start| *start <= at);
        Origin::File(self.label.to_owned(), u32::try_from(line).unwrap_or(u32::MAX))
    }

    /// The document, or its syntax error.
    pub(super) fn parse(&self) -> Result<Spanned<DeTable<'t>>, Vec<Finding>> {
        DeTable::parse(self.text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            let what = format!("not TOML: {}", one_line(error.message()));
            vec![Finding::error(self.origin(at), "", "", Fault::new(what, "see https://toml.io for the syntax"))]
        })
    }
}

/// A value and where it stands.
type Value<'t> = Spanned<DeValue<'t>>;

/// The tables of a list, with the place of each; a finding if the list is something else.
pub(super) fn tables<'d, 't>(
    document: &'d DeTable<'t>,
    name: &str,
    text: &Text<'_>,
    findings: &mut Vec<Finding>,
) -> Vec<(&'d DeTable<'t>, usize)> {
    let Some(list) = document.get(name) else { return Vec::new() };
    let mut tables = Vec::new();
    let mut refuse = |at| {
        let fault = Fault::new("not a list of tables", format!("write [[{name}]] and its keys below"));
        findings.push(Finding::error(text.origin(at), name, "", fault));
    };
    match list.get_ref() {
        DeValue::Array(items) => {
            for item in items {
                match item.get_ref() {
                    DeValue::Table(table) => tables.push((table, item.span().start)),
                    _ => refuse(item.span().start),
                }
            }
        }
        _ => refuse(list.span().start),
    }
    tables
}

/// One table of a file.
pub(super) struct Fields<'a, 't> {
    text: &'a Text<'t>,
    name: &'static str,
    table: &'a DeTable<'t>,
    at: usize,
    findings: &'a mut Vec<Finding>,
}

impl<'a, 't> Fields<'a, 't> {
    /// A table that is called `name` in findings and stands at a byte of the text.
    pub(super) fn new(
        text: &'a Text<'t>,
        name: &'static str,
        (table, at): (&'a DeTable<'t>, usize),
        findings: &'a mut Vec<Finding>,
    ) -> Self {
        Self { text, name, table, at, findings }
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// Findings so far.
    pub(super) fn faults(&self) -> usize {
        self.findings.len()
    }

    /// Where a key's value stands, or the table.
    fn place(&self, key: &str) -> usize {
        self.table.get(key).map_or(self.at, |value| value.span().start)
    }

    /// Reports a fault of a key.
    pub(super) fn refuse(&mut self, key: &str, value: &str, what: impl Into<String>, mend: impl Into<String>) {
        let at = self.place(key);
        self.refuse_at(at, key, value, Fault::new(what, mend));
    }

    pub(super) fn warn(&mut self, key: &str, what: impl Into<String>, mend: impl Into<String>) {
        let (origin, key) = (self.text.origin(self.place(key)), format!("{}.{key}", self.name));
        self.findings.push(Finding::warning(origin, &key, "", Fault::new(what, mend)));
    }

    fn refuse_at(&mut self, at: usize, key: &str, value: &str, fault: Fault) {
        let key = format!("{}.{key}", self.name);
        let value = if value.is_empty() { String::new() } else { one_line(&vigie_config::toml_text(value)) };
        self.findings.push(Finding::error(self.text.origin(at), &key, &value, fault));
    }

    fn wrong_type(&mut self, at: usize, key: &str, expected: &str, mend: &str) {
        self.refuse_at(at, key, "", Fault::new(format!("expected {expected}"), mend));
    }

    /// Reports keys that are not known.
    pub(super) fn only(&mut self, known: &[&str]) {
        let unknown: Vec<(String, usize)> = self
            .table
            .iter()
            .map(|(key, _): (&Spanned<Cow<'_, str>>, _)| (key.get_ref().to_string(), key.span().start))
            .filter(|(key, _)| !known.contains(&key.as_str()))
            .collect();
        for (key, at) in unknown {
            let mend = match nearest(&key, known.iter().copied()) {
                Some(near) => format!("did you mean {near}?"),
                None => format!("[[{}]] has {}", self.name, known.join(", ")),
            };
            self.refuse_at(at, &one_line(&key), "", Fault::new("unknown key", mend));
        }
    }

    fn read_text(&mut self, key: &str, value: &Value<'_>) -> Option<String> {
        match value.get_ref() {
            DeValue::String(text) if text.trim().is_empty() => {
                self.wrong_type(
                    value.span().start,
                    key,
                    "a text with something in it",
                    "remove the key, or fill it in",
                );
                None
            }
            DeValue::String(text) if text.chars().any(char::is_control) => {
                self.wrong_type(value.span().start, key, "a text of one line", "remove the control characters");
                None
            }
            DeValue::String(text) => Some(text.trim().to_owned()),
            _ => {
                self.wrong_type(value.span().start, key, "text", &format!("write {key} = \"…\""));
                None
            }
        }
    }

    /// A text, if the key is given.
    pub(super) fn text(&mut self, key: &str) -> Option<String> {
        let value = self.table.get(key)?;
        self.read_text(key, value)
    }

    /// Reports the keys that must be given and are not, in one finding. Each stands with an example.
    pub(super) fn require(&mut self, needed: &[(&str, &str)]) {
        let missing: Vec<&(&str, &str)> = needed.iter().filter(|(key, _)| !self.has(key)).collect();
        let Some((first, _)) = missing.first() else { return };
        let keys: Vec<&str> = missing.iter().map(|(key, _)| *key).collect();
        let examples: Vec<String> = missing.iter().map(|(key, example)| format!("{key} = {example}")).collect();
        let fault = Fault::new(missing_keys(&keys), format!("add {}", examples.join("; ")));
        self.refuse_at(self.at, first, "", fault);
    }

    /// A text that has a form of its own.
    pub(super) fn parsed<T: FromStr<Err = Refusal>>(&mut self, key: &str) -> Option<T> {
        let text = self.text(key)?;
        self.parse_one(self.place(key), key, &text)
    }

    fn parse_one<T: FromStr<Err = Refusal>>(&mut self, at: usize, key: &str, text: &str) -> Option<T> {
        let parsed =
            text.parse().map_err(|Refusal { what, mend }| self.refuse_at(at, key, text, Fault::new(what, mend)));
        parsed.ok()
    }

    /// The items of a list with their places.
    fn items(&mut self, key: &str) -> Vec<&'a Value<'t>> {
        match self.table.get(key).map(|value| (value, value.get_ref())) {
            None => Vec::new(),
            Some((_, DeValue::Array(items))) => items.iter().collect(),
            Some((value, _)) => {
                self.wrong_type(value.span().start, key, "a list", &format!("write {key} = [\"…\"]"));
                Vec::new()
            }
        }
    }

    /// A list of texts.
    pub(super) fn texts(&mut self, key: &str) -> Vec<String> {
        let items = self.items(key);
        items.into_iter().filter_map(|item| self.read_text(key, item)).collect()
    }

    /// A list of texts that have a form of their own.
    pub(super) fn parsed_list<T: FromStr<Err = Refusal>>(&mut self, key: &str) -> Vec<T> {
        let mut list = Vec::new();
        for item in self.items(key) {
            let Some(text) = self.read_text(key, item) else { continue };
            list.extend(self.parse_one(item.span().start, key, &text));
        }
        list
    }

    fn read_number(&mut self, key: &str, value: &Value<'_>, least: u16, most: u16) -> Option<u16> {
        let number = value.get_ref().as_integer();
        let number =
            number.and_then(|number| u16::from_str_radix(&number.as_str().replace('_', ""), number.radix()).ok());
        let number = number.filter(|number| (least..=most).contains(number));
        if number.is_none() {
            let expected = format!("a number from {least} to {most}");
            self.wrong_type(value.span().start, key, &expected, &format!("write {key} = {least}, for example"));
        }
        number
    }

    /// A number.
    pub(super) fn number(&mut self, key: &str, least: u16, most: u16) -> Option<u16> {
        let value = self.table.get(key)?;
        self.read_number(key, value, least, most)
    }

    /// A list of numbers.
    pub(super) fn numbers(&mut self, key: &str, least: u16, most: u16) -> Vec<u16> {
        let items = self.items(key);
        items.into_iter().filter_map(|item| self.read_number(key, item, least, most)).collect()
    }

    /// True or false.
    pub(super) fn truth(&mut self, key: &str) -> Option<bool> {
        let value = self.table.get(key)?;
        let truth = value.get_ref().as_bool();
        if truth.is_none() {
            self.wrong_type(value.span().start, key, "true or false", "write true or false, without quotation marks");
        }
        truth
    }

    /// A day, with or without quotation marks.
    pub(super) fn day(&mut self, key: &str) -> Option<Date> {
        let value = self.table.get(key)?;
        let text = match value.get_ref() {
            DeValue::String(text) => text.to_string(),
            DeValue::Datetime(day) => day.to_string(),
            _ => String::new(),
        };
        match Day::parse(&text) {
            Ok(Day(day)) => Some(day),
            Err(fault) => {
                self.refuse_at(value.span().start, key, &text, fault);
                None
            }
        }
    }
}
