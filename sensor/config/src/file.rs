//! The content of a file: every key with its value and line, every syntax error, every unknown key. What values mean is
//! not checked here.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::marker::PhantomData;

use serde_spanned::Spanned;
use toml::de::{DeTable, DeValue};

use crate::finding::one_line;
use crate::suggestion::nearest;
use crate::{Definition, Fault, Finding, Origin, RawValue, Schema};

/// Largest file that is read.
pub(crate) const FILE_BYTES_MAX: usize = 1 << 20;

/// Findings that are kept of a file; a file with more is not a configuration.
const FINDINGS_MAX: usize = 200;

/// A value that a layer gives a setting.
#[derive(Clone, Debug)]
pub(crate) struct Assignment {
    pub(crate) definition: &'static Definition,
    pub(crate) value: RawValue,
    pub(crate) origin: Origin,
}

/// A configuration file as it was written.
#[derive(Clone, Debug, Default)]
pub struct File {
    pub(crate) assignments: Vec<Assignment>,
    pub(crate) text: String,
}

impl File {
    /// Reads the bytes of a file for the settings `S`; `label` is the file's name in errors. Faulty entries are left out
    /// and reported.
    pub fn parse<S: Schema>(label: &str, bytes: &[u8]) -> (Self, Vec<Finding>) {
        let mut reader = Reader::<S> {
            label,
            line_starts: vec![0],
            file: Self::default(),
            findings: Vec::new(),
            settings: PhantomData,
        };
        if bytes.len() > FILE_BYTES_MAX {
            let mend = format!("is it the right file? '{} generate config' prints one", S::PROGRAM.name);
            reader.whole(0, Fault::new("larger than 1 MiB, not a configuration", mend));
            return (reader.file, reader.findings);
        }
        let ends = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1);
        reader.line_starts.extend(ends);
        match std::str::from_utf8(bytes) {
            Ok(text) => {
                reader.document(text);
                text.clone_into(&mut reader.file.text);
            }
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
        self.assignments.iter().map(|assignment| (assignment.definition.key, &assignment.origin))
    }
}

struct Reader<'l, S> {
    label: &'l str,
    line_starts: Vec<usize>,
    file: File,
    findings: Vec<Finding>,
    settings: PhantomData<S>,
}

impl<S: Schema> Reader<'_, S> {
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
            // One mistake can give several faults; the first of a line is the most helpful.
            let is_here = |finding: &Finding| matches!(&finding.origin, Origin::File(_, known) if *known == line);
            if !self.findings.iter().any(is_here) {
                let span = fault.span().filter(|_| fault.message() == DUPLICATE_KEY);
                let is_heading = span.as_ref().is_some_and(|span| is_heading(text.get(..span.start)));
                let key = span.and_then(|span| text.get(span)).unwrap_or_default();
                let wrong = if is_heading { second_heading() } else { syntax(fault.message()) };
                self.findings.push(Finding::error(self.at_line(line), key, "", wrong));
            }
        }
        // The parser guesses the content of broken lines: nothing more is reported about them.
        let broken = self.broken_lines(text);
        let syntax = std::mem::take(&mut self.findings);
        for (key, value) in document.get_ref() {
            self.top_level(key, value);
        }
        let is_intact = |origin: &Origin| !matches!(origin, Origin::File(_, line) if broken.contains(line));
        self.file.assignments.retain(|assignment| is_intact(&assignment.origin));
        self.findings.retain(|finding| is_intact(&finding.origin));
        self.findings.extend(syntax);
    }

    /// The lines of the faults so far; if the heading of a section is broken, all lines up to the next heading.
    fn broken_lines(&self, text: &str) -> BTreeSet<u32> {
        let mut broken = BTreeSet::new();
        let faulty = |number: u32| self.findings.iter().any(|finding| finding.origin == self.at_line(number));
        let mut in_broken_section = false;
        for (index, line) in text.lines().enumerate() {
            let number = u32::try_from(index + 1).unwrap_or(u32::MAX);
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

    fn top_level(&mut self, key: &Spanned<Cow<'_, str>>, value: &Spanned<DeValue<'_>>) {
        let name = key.get_ref().as_ref();
        let origin = self.origin(key.span().start);
        if S::LISTS.contains(&name) {
            if !matches!(value.get_ref(), DeValue::Array(_)) {
                let fault = Fault::new("a list of tables", format!("write [[{name}]] and its keys below"));
                self.findings.push(Finding::error(origin, name, "", fault));
            }
            return;
        }
        let known = S::SECTIONS.iter().find(|(section, _)| *section == name);
        match (known, value.get_ref()) {
            (Some((section, _)), DeValue::Table(table)) => self.section(section, table),
            (Some((section, _)), _) => {
                let fault = Fault::new("a section, not a value", format!("write [{section}] and its keys below"));
                self.findings.push(Finding::error(origin, section, "", fault));
            }
            (None, DeValue::Table(_)) => {
                let known = S::SECTIONS.iter().map(|(section, _)| *section);
                let mend = match nearest(name, known.chain(S::LISTS.iter().copied())) {
                    Some(list) if S::LISTS.contains(&list) => format!("did you mean [[{list}]]?"),
                    Some(section) => format!("did you mean [{section}]?"),
                    None => format!("there are {}", sections::<S>()),
                };
                self.findings.push(Finding::error(origin, name, "", Fault::new("unknown section", mend)));
            }
            (None, DeValue::Array(_)) if nearest(name, S::LISTS.iter().copied()).is_some() => {
                let near = nearest(name, S::LISTS.iter().copied()).unwrap_or_default();
                let fault = Fault::new("unknown list of tables", format!("did you mean [[{near}]]?"));
                self.findings.push(Finding::error(origin, name, "", fault));
            }
            (None, _) => self.findings.push(Finding::error(origin, name, "", unknown_key::<S>("", name))),
        }
    }

    fn section(&mut self, section: &str, table: &DeTable<'_>) {
        for (key, value) in table {
            let name = key.get_ref().as_ref();
            let origin = self.origin(key.span().start);
            match S::definition(section, name) {
                Some(definition) => {
                    let value = RawValue::from_toml(value.get_ref());
                    self.file.assignments.push(Assignment { definition, value, origin });
                }
                None => {
                    let key = format!("{section}.{name}");
                    self.findings.push(Finding::error(origin, &key, "", unknown_key::<S>(section, name)));
                }
            }
        }
    }
}

/// The parser's message about a key that stands there twice.
const DUPLICATE_KEY: &str = "duplicate key";

/// The parser's message about a syntax error, and what mends it where that is clear.
fn syntax(message: &str) -> Fault {
    let message = one_line(message);
    match message.as_str() {
        DUPLICATE_KEY => Fault::new("this key is set a second time", "keep one of the two"),
        _ => Fault::new(format!("not TOML: {message}"), "see https://toml.io for the syntax"),
    }
}

/// Whether what follows stands in a heading, such as `[capture]`.
fn is_heading(before: Option<&str>) -> bool {
    before.and_then(|before| before.rsplit('\n').next()).is_some_and(|line| line.trim_start().starts_with('['))
}

fn second_heading() -> Fault {
    Fault::new("this section begins a second time", "put its keys under one heading")
}

/// What is wrong with a key that does not exist: nearest keys are suggested.
pub(crate) fn unknown_key<S: Schema>(section: &str, name: &str) -> Fault {
    let what = "unknown key";
    let definitions = S::definitions();
    let here = || definitions.iter().filter(move |definition| definition.section == section);
    // First the right name in the wrong section, then a typing error in this section, then one anywhere.
    let elsewhere = definitions.iter().find(|definition| definition.name == name).map(|found| found.key.to_owned());
    let near = || nearest(name, here().map(|found| found.name)).map(|near| format!("{section}.{near}"));
    let far = || {
        let near = nearest(name, definitions.iter().map(|found| found.name))?;
        definitions.iter().find(|definition| definition.name == near).map(|found| found.key.to_owned())
    };
    match elsewhere.or_else(near).or_else(far) {
        Some(key) => Fault::new(what, format!("did you mean {key}?")),
        None if here().next().is_some() => {
            let names: Vec<_> = here().map(|found| found.name).collect();
            Fault::new(what, format!("[{section}] has {}", names.join(", ")))
        }
        None => Fault::new(what, format!("'{} generate config' lists all keys", S::PROGRAM.name)),
    }
}

/// `[a], [b], [c]`.
fn sections<S: Schema>() -> String {
    S::SECTIONS.iter().map(|(section, _)| format!("[{section}]")).collect::<Vec<_>>().join(", ")
}
