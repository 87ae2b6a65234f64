//! A bundle: the built-in signatures and those of the operator, checked, merged and ready to answer.
//!
//! Reading directories is all the I/O there is; nothing here reads a clock.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, OnceLock};

use foldhash::fast::FixedState;
use time::Date;

use crate::address::AddressTable;
use crate::diagnostic::{Diagnostic, Severity};
use crate::explain::Brands;
use crate::lookup::NameTable;
use crate::merge::Merge;
use crate::parse::parse_day;
use crate::pattern::Asked;
use crate::rule::Rule;
use crate::silence::PartlySilent;
use crate::words::MatchKind;

/// Days after which a review is too old, unless told otherwise.
pub const REVIEW_DAYS_MAX: u32 = 365;

/// Largest file of a bundle.
pub const FILE_BYTES_MAX: u64 = 256 << 20;

/// How a bundle is put together.
#[derive(Clone, Copy, Debug)]
pub struct LoadOptions {
    /// Start from the signatures built in.
    pub builtin: bool,
    /// Day against which reviews are judged; without it none is too old.
    pub today: Option<Date>,
    /// Age from which a review is told to be too old.
    pub review_days_max: u32,
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self { builtin: true, today: None, review_days_max: REVIEW_DAYS_MAX }
    }
}

/// A file's text, with the label that findings and rules give it.
#[derive(Clone, Debug)]
pub struct SourceText {
    /// Such as its path.
    pub label: String,
    /// TOML.
    pub text: String,
}

/// A service and what the bundle has about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Key, such as `tiktok`.
    pub key: String,
    /// Name for people.
    pub name: String,
    /// Company behind it.
    pub owner: String,
    /// That company's country, two letters (ISO 3166-1); empty where no file says it.
    pub owner_country: String,
    /// Kind of service.
    pub category: String,
    /// First of its signature ids.
    pub base: u32,
    /// Whether it is on: rules of a service that is off do not answer.
    pub enabled: bool,
    /// Exact and suffix rules.
    pub names: usize,
    /// Pattern rules.
    pub patterns: usize,
    /// Address rules.
    pub prefixes: usize,
    /// Fingerprint rules.
    pub fingerprints: usize,
    /// Rules that raise an alert by themselves.
    pub alerting: usize,
    /// Oldest review among its rules, `YYYY-MM-DD`; empty without rules.
    pub oldest_review: String,
}

impl Service {
    /// Rules of all kinds.
    pub const fn rules(&self) -> usize {
        self.names + self.patterns + self.prefixes + self.fingerprints
    }
}

/// Signatures, ready to answer. Immutable; look-ups allocate nothing.
#[derive(Debug)]
pub struct Bundle {
    pub(crate) rules: Vec<Arc<Rule>>,
    /// By the rules' text.
    pub(crate) notes: HashMap<String, Vec<(MatchKind, String)>, FixedState>,
    pub(crate) names: NameTable,
    pub(crate) addresses: AddressTable,
    /// Patterns of which an operator silenced some names; none by default, so that look-ups pay nothing.
    pub(crate) partly_silent: Option<PartlySilent>,
    pub(crate) fingerprints: HashMap<String, u32, FixedState>,
    pub(crate) services: Vec<Service>,
    /// Made when an explanation asks for it.
    pub(crate) brands: OnceLock<Brands>,
}

static BUILTIN: LazyLock<Arc<Bundle>> = LazyLock::new(|| {
    let mut findings = Vec::new();
    Arc::new(Merge::with_builtin(&mut findings).finish(&mut findings))
});

impl Bundle {
    /// The signatures built in. Read once.
    pub fn builtin() -> Arc<Self> {
        Arc::clone(&BUILTIN)
    }

    /// The built-in signatures and those of `directories`, later ones over earlier ones. Every `*.toml` directly in a
    /// directory is read, in order of name. With the bundle come its warnings; errors refuse it.
    ///
    /// # Errors
    /// All findings, if one of them is an error.
    pub fn load(directories: &[PathBuf], options: LoadOptions) -> Result<(Self, Vec<Diagnostic>), Vec<Diagnostic>> {
        let mut findings = Vec::new();
        let layers: Vec<Vec<SourceText>> = directories.iter().map(|path| read_directory(path, &mut findings)).collect();
        Self::assemble(&layers, options, findings)
    }

    /// As [`Bundle::load`], from texts: one list for each layer.
    ///
    /// # Errors
    /// All findings, if one of them is an error.
    pub fn from_texts(
        layers: &[Vec<SourceText>],
        options: LoadOptions,
    ) -> Result<(Self, Vec<Diagnostic>), Vec<Diagnostic>> {
        Self::assemble(layers, options, Vec::new())
    }

    fn assemble(
        layers: &[Vec<SourceText>],
        options: LoadOptions,
        mut findings: Vec<Diagnostic>,
    ) -> Result<(Self, Vec<Diagnostic>), Vec<Diagnostic>> {
        let mut merge = if options.builtin { Merge::with_builtin(&mut findings) } else { Merge::default() };
        for layer in layers {
            merge = merge.with_layer(layer, &mut findings);
        }
        let bundle = merge.finish(&mut findings);
        if let Some(today) = options.today {
            bundle.judge_reviews(today, options.review_days_max, &mut findings);
        }
        if findings.iter().any(|finding| finding.severity == Severity::Error) {
            return Err(findings);
        }
        Ok((bundle, findings))
    }

    /// The rule for a name seen on a flow, in normal form (see [`normalise`](crate::normalise)).
    #[inline]
    pub fn name(&self, name: impl AsRef<[u8]>) -> Option<&Arc<Rule>> {
        self.answer(self.names.find(name.as_ref(), Asked::Flow)?, name.as_ref())
    }

    /// The rule for a name in a DNS answer, in normal form: those for CNAME chains answer too.
    #[inline]
    pub fn dns_name(&self, name: impl AsRef<[u8]>) -> Option<&Arc<Rule>> {
        self.answer(self.names.find(name.as_ref(), Asked::Dns)?, name.as_ref())
    }

    /// The rule for an address: the most specific prefix, the surest of equal ones.
    pub fn address(&self, address: IpAddr) -> Option<&Arc<Rule>> {
        self.rule(self.addresses.find(address)?)
    }

    /// The autonomous system of an address, where a signature knows it.
    pub fn asn(&self, address: IpAddr) -> Option<u32> {
        self.addresses.asn(address)
    }

    /// The rule for a JA4 fingerprint.
    pub fn ja4(&self, fingerprint: &str) -> Option<&Arc<Rule>> {
        self.rule(*self.fingerprints.get(fingerprint)?)
    }

    /// What its author wrote beside a rule.
    pub fn note(&self, rule: &Rule) -> Option<&str> {
        let notes = self.notes.get(&rule.text)?;
        notes.iter().find(|(kind, _)| *kind == rule.kind).map(|(_, note)| note.as_str())
    }

    /// All rules, in order of service, file and line.
    pub fn rules(&self) -> &[Arc<Rule>] {
        &self.rules
    }

    /// All services, in order of key.
    pub fn services(&self) -> &[Service] {
        &self.services
    }

    /// One service.
    pub fn service(&self, key: &str) -> Option<&Service> {
        let at = self.services.binary_search_by(|service| service.key.as_str().cmp(key)).ok()?;
        self.services.get(at)
    }

    /// Number of rules.
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// Has it no rule at all?
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Day of the oldest review, `YYYY-MM-DD`.
    pub fn oldest_review(&self) -> Option<&str> {
        self.rules.iter().map(|rule| rule.reviewed.as_str()).min()
    }

    #[inline]
    fn answer(&self, number: u32, name: &[u8]) -> Option<&Arc<Rule>> {
        let silenced = self.partly_silent.as_ref().and_then(|silent| silent.instead(number, name));
        silenced.or_else(|| self.rule(number))
    }

    pub(crate) fn rule(&self, number: u32) -> Option<&Arc<Rule>> {
        self.rules.get(number as usize)
    }

    /// One warning for each file and day that is too old, or still to come.
    fn judge_reviews(&self, today: Date, days_max: u32, findings: &mut Vec<Diagnostic>) {
        let mut old: BTreeMap<(&str, &str), (u32, usize)> = BTreeMap::new();
        for rule in &self.rules {
            let Some(day) = parse_day(&rule.reviewed) else { continue };
            if !(0..=i64::from(days_max)).contains(&(today - day).whole_days()) {
                let entry = old.entry((&rule.file, &rule.reviewed)).or_insert((rule.line, 0));
                *entry = (entry.0.min(rule.line), entry.1 + 1);
            }
        }
        for ((file, reviewed), (line, rules)) in old {
            let future = parse_day(reviewed).is_some_and(|day| day > today);
            let (message, mend) = if future {
                (format!("{rules} rules are reviewed on {reviewed}, which is still to come"), "correct the date")
            } else {
                let message = format!("{rules} rules were last reviewed on {reviewed}, more than {days_max} days ago");
                (message, "review them and move the date")
            };
            findings.push(Diagnostic::new(Severity::Warning, file, line, "reviewed", message, mend));
        }
    }
}

/// The `*.toml` files of a directory, in order of name, or one file.
pub(crate) fn read_directory(path: &Path, findings: &mut Vec<Diagnostic>) -> Vec<SourceText> {
    let paths = if path.is_file() {
        vec![path.to_owned()]
    } else {
        match std::fs::read_dir(path) {
            Ok(entries) => {
                let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
                paths.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
                paths.sort();
                paths
            }
            Err(reason) => {
                let (folder, mend) = (path.display().to_string(), "give a directory that the sensor may read");
                let message = format!("cannot be listed: {reason}");
                findings.push(Diagnostic::new(Severity::Error, &folder, 0, "", message, mend));
                return Vec::new();
            }
        }
    };
    let mut texts = Vec::new();
    if paths.is_empty() {
        let (folder, mend) = (path.display().to_string(), "check the path, or put signature files there");
        findings.push(Diagnostic::new(Severity::Warning, &folder, 0, "folder", "has no *.toml file", mend));
        return texts;
    }
    let mut refuse = |path: &Path, message: String, mend: &str| {
        findings.push(Diagnostic::new(Severity::Error, &path.display().to_string(), 0, "", message, mend));
    };
    for path in paths {
        match std::fs::metadata(&path) {
            // Reading a named pipe would wait for a writer.
            Ok(data) if !data.is_file() => {
                refuse(&path, "is not a regular file".to_owned(), "give it another ending than .toml, or remove it");
                continue;
            }
            Ok(data) if data.len() > FILE_BYTES_MAX => {
                refuse(&path, format!("is larger than {FILE_BYTES_MAX} bytes"), "split the file");
                continue;
            }
            // Reading tells why it cannot be looked at.
            _ => {}
        }
        match std::fs::read_to_string(&path) {
            Ok(text) => texts.push(SourceText { label: path.display().to_string(), text }),
            Err(reason) => refuse(&path, format!("cannot be read: {reason}"), "make it readable UTF-8"),
        }
    }
    texts
}
