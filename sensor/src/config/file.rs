//! What stands in a file, read whole: every key with its value and line, every fault of the syntax, every key that
//! does not exist. What values mean is not judged here.

use std::borrow::Cow;
use std::collections::BTreeSet;

use serde_spanned::Spanned;
use toml::de::{DeTable, DeValue};

use super::finding::{Fault, Finding, Origin, one_line};
use super::nearest::nearest;
use super::table::{Definition, SECTIONS, definition, definitions};
use super::typed::Typed;

/// Largest file that is read.
pub(super) const FILE_BYTES_MAX: usize = 1 << 20;

/// Findings kept of a file; one that has more is no configuration.
const FINDINGS_MAX: usize = 200;

/// A setting as it was given somewhere.
#[derive(Clone, Debug)]
pub(super) struct Given {
    pub(super) definition: &'static Definition,
    pub(super) typed: Typed,
    pub(super) origin: Origin,
}

/// A configuration file as it was typed.
#[derive(Clone, Debug, Default)]
pub struct File {
    pub(super) given: Vec<Given>,
}

impl File {
    /// Reads a file's bytes; `label` is how errors name it. What is faulty is left out and told.
    pub fn parse(label: &str, bytes: &[u8]) -> (Self, Vec<Finding>) {
        let mut reader = Reader { label, line_starts: vec![0], file: Self::default(), findings: Vec::new() };
        if bytes.len() > FILE_BYTES_MAX {
            let mend = "is it the right file? 'vigie generate config' prints one";
            reader.whole(0, Fault::new("larger than 1 MiB, no configuration", mend));
            return (reader.file, reader.findings);
        }
        let ends = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1);
        reader.line_starts.extend(ends);
        match std::str::from_utf8(bytes) {
            Ok(text) => reader.document(text),
            Err(error) => {
                let line = reader.line(error.valid_up_to());
                reader.whole(line, Fault::new("not UTF-8 text", "save the file as UTF-8"));
            }
        }
        reader.findings.truncate(FINDINGS_MAX);
        (reader.file, reader.findings)
    }

    /// The keys that are set, with their lines.
    pub fn keys(&self) -> impl Iterator<Item = (&str, &Origin)> {
        self.given.iter().map(|given| (given.definition.key.as_str(), &given.origin))
    }
}

struct Reader<'l> {
    label: &'l str,
    line_starts: Vec<usize>,
    file: File,
    findings: Vec<Finding>,
}

impl Reader<'_> {
    fn line(&self, at: usize) -> u32 {
        self.line_starts.partition_point(|start| *start <= at) as u32
    }

    fn origin(&self, at: usize) -> Origin {
        self.at_line(self.line(at))
    }

    fn at_line(&self, line: u32) -> Origin {
        Origin::File(self.label.to_owned(), line)
    }

    /// A finding about no key.
    fn whole(&mut self, line: u32, fault: Fault) {
        self.findings.push(Finding::error(self.at_line(line), "", "", fault));
    }

    fn document(&mut self, text: &str) {
        let (document, faults) = DeTable::parse_recoverable(text);
        for fault in faults {
            let line = fault.span().map_or(0, |span| self.line(span.start));
            // One slip makes several faults, of which the first on a line says most.
            let told = |finding: &Finding| matches!(&finding.origin, Origin::File(_, known) if *known == line);
            if !self.findings.iter().any(told) {
                self.whole(line, syntax(fault.message()));
            }
        }
        // What broken lines seem to hold was made up by the parser: nothing more is said of them.
        let broken = self.broken_lines(text);
        let syntax = std::mem::take(&mut self.findings);
        for (key, value) in document.get_ref() {
            self.top(key, value);
        }
        let is_whole = |origin: &Origin| !matches!(origin, Origin::File(_, line) if broken.contains(line));
        self.file.given.retain(|given| is_whole(&given.origin));
        self.findings.retain(|finding| is_whole(&finding.origin));
        self.findings.extend(syntax);
    }

    /// The lines of the faults so far; of a section's broken heading all lines up to the next heading.
    fn broken_lines(&self, text: &str) -> BTreeSet<u32> {
        let mut broken = BTreeSet::new();
        let faulty = |number: u32| self.findings.iter().any(|finding| finding.origin == self.at_line(number));
        let mut in_broken_section = false;
        for (place, line) in text.lines().enumerate() {
            let number = u32::try_from(place + 1).unwrap_or(u32::MAX);
            let is_faulty = faulty(number);
            if line.trim_start().starts_with('[') {
                in_broken_section = is_faulty;
            }
            if is_faulty || in_broken_section {
                broken.insert(number);
            }
        }
        broken
    }

    fn top(&mut self, key: &Spanned<Cow<'_, str>>, value: &Spanned<DeValue<'_>>) {
        let name = key.get_ref().as_ref();
        let origin = self.origin(key.span().start);
        let known = SECTIONS.iter().find(|(section, _)| *section == name);
        match (known, value.get_ref()) {
            (Some((section, _)), DeValue::Table(table)) => self.section(section, table),
            (Some((section, _)), _) => {
                let fault = Fault::new("a section, not a value", format!("write [{section}] and its keys below"));
                self.findings.push(Finding::error(origin, section, "", fault));
            }
            (None, DeValue::Table(_)) => {
                let mend = match nearest(name, SECTIONS.iter().map(|(section, _)| *section)) {
                    Some(section) => format!("did you mean [{section}]?"),
                    None => format!("there are {}", sections()),
                };
                self.findings.push(Finding::error(origin, name, "", Fault::new("unknown section", mend)));
            }
            (None, _) => self.findings.push(Finding::error(origin, name, "", unknown("", name))),
        }
    }

    fn section(&mut self, section: &str, table: &DeTable<'_>) {
        for (key, value) in table {
            let name = key.get_ref().as_ref();
            let origin = self.origin(key.span().start);
            match definition(section, name) {
                Some(definition) => {
                    self.file.given.push(Given { definition, typed: Typed::of(value.get_ref()), origin });
                }
                None => {
                    let key = format!("{section}.{name}");
                    self.findings.push(Finding::error(origin, &key, "", unknown(section, name)));
                }
            }
        }
    }
}

/// The parser's words for a fault of the syntax, and what mends it where that is clear.
fn syntax(message: &str) -> Fault {
    let message = one_line(message);
    match message.as_str() {
        "duplicate key" => Fault::new("this key stands here a second time", "keep one of the two"),
        _ => Fault::new(format!("not TOML: {message}"), "see https://toml.io for the syntax"),
    }
}

/// What to say of a key that does not exist.
pub(super) fn unknown(section: &str, name: &str) -> Fault {
    let what = "unknown key";
    let here = || definitions().iter().filter(move |definition| definition.section == section);
    // The right name in the wrong section, then a slip in the right one, then a slip anywhere.
    let elsewhere = definitions().iter().find(|definition| definition.name == name).map(|found| found.key.clone());
    let near = || nearest(name, here().map(|found| found.name)).map(|near| format!("{section}.{near}"));
    let far = || {
        let near = nearest(name, definitions().iter().map(|found| found.name))?;
        definitions().iter().find(|definition| definition.name == near).map(|found| found.key.clone())
    };
    match elsewhere.or_else(near).or_else(far) {
        Some(key) => Fault::new(what, format!("did you mean {key}?")),
        None if here().next().is_some() => {
            let names: Vec<_> = here().map(|found| found.name).collect();
            Fault::new(what, format!("[{section}] has {}", names.join(", ")))
        }
        None => Fault::new(what, "'vigie generate config' lists all keys"),
    }
}

/// `[a], [b] and [c]`.
fn sections() -> String {
    SECTIONS.iter().map(|(section, _)| format!("[{section}]")).collect::<Vec<_>>().join(", ")
}
