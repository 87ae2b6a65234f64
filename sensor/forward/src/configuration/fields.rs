//! Typed reading of one table of the file, with a finding for each fault: file, line, key, mend. A key that nothing asked
//! for is unknown.

use std::str::FromStr;

use toml::Spanned;
use toml::de::{DeTable, DeValue};
use vigie_config::{Fault, Finding, Origin, nearest, one_line, toml_text};

/// The text of a file, to tell lines.
pub(super) struct Text<'t> {
    label: &'t str,
    text: &'t str,
}

impl<'t> Text<'t> {
    pub(super) const fn new(label: &'t str, text: &'t str) -> Self {
        Self { label, text }
    }

    /// The place of a byte.
    pub(super) fn origin(&self, at: usize) -> Origin {
        let before = self.text.as_bytes().get(..at).unwrap_or_default();
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        Origin::File(self.label.to_owned(), u32::try_from(line).unwrap_or(u32::MAX))
    }

    /// The tables of a list, with the place of each. The syntax was checked when the settings were read.
    pub(super) fn tables(&self, name: &str) -> Vec<(DeTable<'t>, usize)> {
        let Ok(document) = DeTable::parse(self.text) else { return Vec::new() };
        let Some(list) = document.into_inner().remove(name) else { return Vec::new() };
        let DeValue::Array(items) = list.into_inner() else { return Vec::new() };
        let tables = items.into_iter().filter_map(|item| {
            let at = item.span().start;
            match item.into_inner() {
                DeValue::Table(table) => Some((table, at)),
                _ => None,
            }
        });
        tables.collect()
    }
}

/// One table of a list.
pub(super) struct Fields<'a, 't> {
    text: &'a Text<'t>,
    list: &'static str,
    table: DeTable<'t>,
    at: usize,
    asked: Vec<&'static str>,
    findings: &'a mut Vec<Finding>,
}

impl<'a, 't> Fields<'a, 't> {
    /// The table at a byte of the text.
    pub(super) fn new(
        text: &'a Text<'t>,
        list: &'static str,
        (table, at): (DeTable<'t>, usize),
        findings: &'a mut Vec<Finding>,
    ) -> Self {
        Self { text, list, table, at, asked: Vec::new(), findings }
    }

    /// Number of findings, to see whether there are new ones.
    pub(super) const fn findings(&self) -> usize {
        self.findings.len()
    }

    fn value(&mut self, key: &'static str) -> Option<(&DeValue<'t>, usize)> {
        self.asked.push(key);
        self.table.get(key).map(|value| (value.get_ref(), value.span().start))
    }

    pub(super) fn has(&mut self, key: &'static str) -> bool {
        self.value(key).is_some()
    }

    /// Reports a fault of a key, with the value if that helps.
    pub(super) fn refuse(&mut self, key: &str, value: &str, fault: Fault) {
        let at = self.table.get(key).map_or(self.at, |value| value.span().start);
        let value = if value.is_empty() { String::new() } else { one_line(&toml_text(value)) };
        let key = format!("{}.{key}", self.list);
        self.findings.push(Finding::error(self.text.origin(at), &key, &value, fault));
    }

    /// Reports a key that must be there and is not.
    pub(super) fn missing(&mut self, key: &str, example: &str) {
        self.refuse(key, "", Fault::new(format!("{key} is missing"), format!("add {key} = {example}")));
    }

    /// Refuses a key that would hold a secret itself.
    pub(super) fn refuse_secret(&mut self, key: &'static str, instead: &str) {
        if self.has(key) {
            let mend = format!("write it to a file that only this program reads, and give {instead} = \"/…\"");
            self.refuse(key, "", Fault::new("a secret does not belong into this file", mend));
        }
    }

    /// A text on one line, if the key is given.
    pub(super) fn text(&mut self, key: &'static str) -> Option<String> {
        let fault = match self.value(key)?.0 {
            DeValue::String(text) if text.trim().is_empty() => {
                Fault::new("it is empty", "remove the key, or fill it in")
            }
            DeValue::String(text) if text.chars().any(char::is_control) => {
                Fault::new("expected text on one line", "remove the control characters")
            }
            DeValue::String(text) => return Some(text.trim().to_owned()),
            _ => Fault::new("expected text", format!("write {key} = \"…\"")),
        };
        self.refuse(key, "", fault);
        None
    }

    /// A text that must be given.
    pub(super) fn needed(&mut self, key: &'static str, example: &str) -> Option<String> {
        if !self.has(key) {
            self.missing(key, example);
            return None;
        }
        self.text(key)
    }

    /// One of a few words, or the default.
    pub(super) fn word<T: FromStr>(&mut self, key: &'static str, known: &[&str], default: T) -> Option<T> {
        if !self.has(key) {
            return Some(default);
        }
        let text = self.text(key)?;
        self.parse_word(key, &text, known)
    }

    fn parse_word<T: FromStr>(&mut self, key: &'static str, text: &str, known: &[&str]) -> Option<T> {
        if let Ok(value) = text.parse() {
            return Some(value);
        }
        let mend = match nearest(text, known.iter().copied()) {
            Some(near) => format!("did you mean {}?", toml_text(near)),
            None => format!("write one of {}", known.join(", ")),
        };
        self.refuse(key, text, Fault::new("unknown word", mend));
        None
    }

    /// A list of words, or the default.
    pub(super) fn words<T: FromStr + Clone>(&mut self, key: &'static str, known: &[&str], default: &[T]) -> Vec<T> {
        let texts: Vec<String> = match self.value(key) {
            None => return default.to_vec(),
            Some((DeValue::Array(items), _)) if !items.is_empty() => {
                items.iter().map(|item| item.get_ref().as_str().unwrap_or_default().to_owned()).collect()
            }
            Some(_) => {
                let mend = format!("write {key} = [\"{}\"]", known.first().copied().unwrap_or_default());
                self.refuse(key, "", Fault::new("expected a list of words", mend));
                return Vec::new();
            }
        };
        texts.iter().filter_map(|text| self.parse_word(key, text, known)).collect()
    }

    /// A number in a range, or the default.
    pub(super) fn number(&mut self, key: &'static str, least: u64, most: u64, default: u64) -> u64 {
        let Some((value, _)) = self.value(key) else { return default };
        let number = value
            .as_integer()
            .and_then(|integer| u64::from_str_radix(&integer.as_str().replace('_', ""), integer.radix()).ok());
        match number.filter(|number| (least..=most).contains(number)) {
            Some(number) => number,
            None => {
                let fault = Fault::new(
                    format!("expected a number from {least} to {most}"),
                    format!("the default is {default}"),
                );
                self.refuse(key, "", fault);
                default
            }
        }
    }

    /// Reports keys that nothing asked for.
    pub(super) fn finish(mut self, kind: &str) {
        let unknown: Vec<(String, usize)> = self
            .table
            .iter()
            .map(|(key, _): (&Spanned<_>, _)| (key.get_ref().to_string(), key.span().start))
            .filter(|(key, _)| !self.asked.contains(&key.as_str()))
            .collect();
        self.asked.sort_unstable();
        self.asked.dedup();
        for (key, at) in unknown {
            let mend = match nearest(&key, self.asked.iter().copied()) {
                Some(near) => format!("did you mean {near}?"),
                None => format!("a receiver of kind {kind} has {}", self.asked.join(", ")),
            };
            let name = format!("{}.{}", self.list, one_line(&key));
            self.findings.push(Finding::error(self.text.origin(at), &name, "", Fault::new("unknown key", mend)));
        }
    }
}
