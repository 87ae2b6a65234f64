//! What is wrong with a bundle, where, and what would mend it.

use std::fmt;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The bundle is used all the same.
    Warning,
    /// The bundle is refused.
    Error,
}

/// One finding in a file of a bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// File it stands in.
    pub file: String,
    /// Line in that file, from 1; 0 for the file as a whole.
    pub line: u32,
    /// Key or value it is about.
    pub key: String,
    /// What is wrong.
    pub message: String,
    /// What would mend it.
    pub mend: String,
    /// How bad it is.
    pub severity: Severity,
}

impl Diagnostic {
    pub(crate) fn new(
        severity: Severity,
        file: &str,
        line: u32,
        key: &str,
        message: impl Into<String>,
        mend: impl Into<String>,
    ) -> Self {
        Self { file: file.to_owned(), line, key: key.to_owned(), message: message.into(), mend: mend.into(), severity }
    }
}

/// What is wrong where a table lacks keys: `from, until and added are missing`.
pub fn missing_keys(keys: &[&str]) -> String {
    match keys {
        [first @ .., last] if !first.is_empty() => format!("{} and {last} are missing", first.join(", ")),
        _ => format!("{} is missing", keys.concat()),
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, message, mend, .. } = self;
        write!(formatter, "{file}:{line}: {message}; {mend}")
    }
}
