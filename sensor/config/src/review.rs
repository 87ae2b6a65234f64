//! What settings say about each other: a program reports combinations through this.

use std::collections::{BTreeMap, BTreeSet};

use crate::finding::one_line;
use crate::{Fault, Finding, Machine, Origin, Severity, Table};

/// The settings of all layers with their origins, and the findings about combinations so far.
pub struct Review<'a, S> {
    /// The settings, resolved.
    pub settings: &'a S,
    /// The machine.
    pub machine: &'a Machine,
    pub(crate) origins: &'a BTreeMap<&'static str, Origin>,
    /// Keys whose values were refused: nothing more is reported about them.
    pub(crate) refused: &'a BTreeSet<&'static str>,
    pub(crate) file: Option<&'a str>,
    /// The file could not be read completely: what it does not set is unknown.
    pub(crate) is_incomplete: bool,
    pub(crate) findings: Vec<Finding>,
}

impl<S: Table> Review<'_, S> {
    /// Whether a layer gives this setting.
    pub fn is_given(&self, key: &str) -> bool {
        self.origins.contains_key(key)
    }

    /// Reports an error; see [`warn`](Self::warn) for its origin.
    pub fn refuse(&mut self, keys: &[&'static str], what: impl Into<String>, mend: impl Into<String>) {
        self.report(Severity::Error, keys, Fault::new(what, mend));
    }

    /// Reports a warning. Its origin is that of whichever key was given last; if none was given, it is about the first.
    /// Nothing is reported if a value of one of the keys was refused.
    pub fn warn(&mut self, keys: &[&'static str], what: impl Into<String>, mend: impl Into<String>) {
        self.report(Severity::Warning, keys, Fault::new(what, mend));
    }

    fn report(&mut self, severity: Severity, keys: &[&'static str], fault: Fault) {
        if keys.iter().any(|key| self.refused.contains(key)) {
            return;
        }
        let given = keys.iter().filter_map(|key| Some((*key, self.origins.get(key)?)));
        let last = given.reduce(|one, other| if other.1 > one.1 { other } else { one });
        let (key, origin) = match last {
            Some((key, origin)) => (key, origin.clone()),
            None if self.is_incomplete => return,
            None => {
                let whole = self.file.map_or(Origin::Default, |label| Origin::File(label.to_owned(), 0));
                (keys.first().copied().unwrap_or_default(), whole)
            }
        };
        let (section, name) = key.split_once('.').unwrap_or_default();
        let value = S::definition(section, name).map(|definition| self.settings.to_toml(definition));
        let value = one_line(&value.unwrap_or_default());
        self.findings.push(Finding { severity, ..Finding::error(origin, key, &value, fault) });
    }
}
