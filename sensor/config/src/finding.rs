//! What is wrong with a configuration, where it was given, and what mends it.

use std::fmt;

/// Characters of a value that an error shows.
const SHOWN_CHARACTERS_MAX: usize = 80;

/// Where a value was given. Later ones win.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// Built in.
    Default,
    /// A line of the file, from 1; 0 means the file as a whole.
    File(String, u32),
    /// A variable of the environment.
    Environment(String),
    /// An option of the command line.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => formatter.write_str("configuration"),
            Self::File(label, 0) => formatter.write_str(&one_line(label)),
            Self::File(label, line) => write!(formatter, "{}:{line}", one_line(label)),
            Self::Environment(name) | Self::Flag(name) => formatter.write_str(&one_line(name)),
        }
    }
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The program does not start with it.
    Error,
    /// The program starts, but perhaps not as intended.
    Warning,
}

/// One error or warning. Shown as one line: `vigie.toml:12: key = value: what; mend`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// Where the value was given.
    pub origin: Origin,
    /// The setting, such as `capture.workers`; empty if it is about none.
    pub key: String,
    /// The value as it is shown; empty if it would not help.
    pub value: String,
    /// What is wrong.
    pub what: String,
    /// What mends it.
    pub mend: String,
}

impl Finding {
    /// An error about a value.
    pub fn error(origin: Origin, key: &str, value: &str, fault: Fault) -> Self {
        let (key, value) = (one_line(key), value.to_owned());
        Self { severity: Severity::Error, origin, key, value, what: fault.what, mend: fault.mend }
    }

    /// A warning about a value.
    pub fn warning(origin: Origin, key: &str, value: &str, fault: Fault) -> Self {
        Self { severity: Severity::Warning, ..Self::error(origin, key, value, fault) }
    }

    /// The finding without its origin and value.
    pub fn message(&self) -> String {
        match self.mend.as_str() {
            "" => self.what.clone(),
            mend => format!("{}; {mend}", self.what),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: ", self.origin)?;
        if self.severity == Severity::Warning {
            formatter.write_str("warning: ")?;
        }
        match (self.key.as_str(), self.value.as_str()) {
            ("", _) => {}
            (key, "") => write!(formatter, "{key}: ")?,
            (key, value) => write!(formatter, "{key} = {value}: ")?,
        }
        formatter.write_str(&self.message())
    }
}

/// Why a configuration is refused: all its errors and warnings, in order. Shown as one line each.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", lines(.0))]
pub struct ConfigErrors(pub Vec<Finding>);

impl ConfigErrors {
    /// Number of errors; the rest are warnings.
    pub fn count(&self) -> usize {
        self.0.iter().filter(|finding| finding.severity == Severity::Error).count()
    }
}

fn lines(findings: &[Finding]) -> String {
    findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// What is wrong with a value, without where it was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What is wrong.
    pub what: String,
    /// What mends it.
    pub mend: String,
}

impl Fault {
    /// A fault and its mend, both in a few words.
    pub fn new(what: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { what: what.into(), mend: mend.into() }
    }
}

/// Text as part of a line on a terminal: control characters escaped, long text cut.
pub fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len().min(SHOWN_CHARACTERS_MAX * 4));
    for (index, character) in text.chars().enumerate() {
        if index == SHOWN_CHARACTERS_MAX {
            line.push('…');
            break;
        }
        match character.is_control() {
            true => line.extend(character.escape_default()),
            false => line.push(character),
        }
    }
    line
}
