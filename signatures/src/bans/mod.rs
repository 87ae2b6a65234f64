//! Bans as data: who forbids what on whose devices, since when, and under which text.
//!
//! In go TOML files, those of `bans/` or an operator's; out come checked [`Ban`]s, which tell their state on a day and
//! whether they cover a service. It decides no finding and knows no client: judgement does.

mod read;
mod words;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};

use time::Date;

use crate::bundle::{Bundle, Service, SourceText, read_directory};
use crate::diagnostic::{Diagnostic, Severity};

pub use words::{BanForm, Forbids, Personal, Precision, ScopeWord};

include!(concat!(env!("OUT_DIR"), "/bans.rs"));

/// A rule in force, or one that was, or will be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ban {
    /// Key, such as `be-federal`.
    pub id: String,
    /// Who decided.
    pub authority: String,
    /// Two letters (ISO 3166-1), or `EU`; empty for what is watched only.
    pub country: String,
    /// Language of the title (ISO 639-1).
    pub language: String,
    /// In its language.
    pub title: String,
    /// In English.
    pub title_en: String,
    /// The text that says so.
    pub instrument: String,
    /// How binding it is.
    pub form: BanForm,
    /// Day of the decision.
    pub decided: Option<Date>,
    /// First day in force; none only for what is watched.
    pub in_force: Option<Date>,
    /// How exactly `in_force` is known.
    pub precision: Precision,
    /// Last day on which the app may still be removed.
    pub remove_by: Option<Date>,
    /// Day by which its authority meant to review it.
    pub review: Option<Date>,
    /// Day on which it was extended.
    pub extended: Option<Date>,
    /// Day up to which it was extended.
    pub extended_until: Option<Date>,
    /// Last day in force.
    pub ended: Option<Date>,
    /// Name in the time zone database, for the days above.
    pub time_zone: String,
    /// What it forbids.
    pub forbids: Vec<Forbids>,
    /// Keys of services that it covers.
    pub services: Vec<String>,
    /// Keys of services that an operator may add without leaving its text.
    pub services_by_choice: Vec<String>,
    /// Owners whose services it covers.
    pub owners: Vec<String>,
    /// Categories of services that it covers.
    pub categories: Vec<String>,
    /// Countries of owners whose services it covers.
    pub owner_countries: Vec<String>,
    /// Which devices it covers.
    pub scope: Vec<ScopeWord>,
    /// Whether it covers personal devices.
    pub personal: Personal,
    /// Severity of a finding that the app is installed or used.
    pub severity: u8,
    /// Severity of a visit of the site.
    pub severity_web: u8,
    /// Exemptions that its text allows, in words.
    pub derogation: Vec<String>,
    /// Remarks for whoever reads a finding.
    pub note: String,
    /// Who says so.
    pub sources: Vec<String>,
    /// Day on which a person last checked the file, `YYYY-MM-DD`.
    pub reviewed: String,
    /// File it stands in.
    pub file: String,
}

impl Default for Ban {
    /// A ban of which nothing is known.
    fn default() -> Self {
        Self {
            id: String::new(),
            authority: String::new(),
            country: String::new(),
            language: String::new(),
            title: String::new(),
            title_en: String::new(),
            instrument: String::new(),
            form: BanForm::Watch,
            decided: None,
            in_force: None,
            precision: Precision::Day,
            remove_by: None,
            review: None,
            extended: None,
            extended_until: None,
            ended: None,
            time_zone: String::new(),
            forbids: Vec::new(),
            services: Vec::new(),
            services_by_choice: Vec::new(),
            owners: Vec::new(),
            categories: Vec::new(),
            owner_countries: Vec::new(),
            scope: Vec::new(),
            personal: Personal::No,
            severity: 3,
            severity_web: 3,
            derogation: Vec::new(),
            note: String::new(),
            sources: Vec::new(),
            reviewed: String::new(),
            file: String::new(),
        }
    }
}

/// Whether a ban judges on a day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BanState {
    /// Before its first day: it judges nothing.
    NotYetInForce,
    /// It judges.
    InForce,
    /// It judges, past the day of a review that no file records as held.
    Overdue,
    /// Past its last day: it judges nothing.
    Ended,
}

impl BanState {
    /// Does a finding on this day count?
    pub const fn judges(self) -> bool {
        matches!(self, Self::InForce | Self::Overdue)
    }

    /// In words.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotYetInForce => "not yet in force",
            Self::InForce => "in force",
            Self::Overdue => "in force, review overdue",
            Self::Ended => "ended",
        }
    }
}

impl Ban {
    /// Its state on a day of its own time zone.
    pub fn state_at(&self, day: Date) -> BanState {
        if self.in_force.is_some_and(|first| day < first) {
            return BanState::NotYetInForce;
        }
        if self.ended.is_some_and(|last| day > last) {
            return BanState::Ended;
        }
        if self.review_due().is_some_and(|due| day > due) {
            return BanState::Overdue;
        }
        BanState::InForce
    }

    /// The day by which the next review is due: none once it was extended without an end.
    pub fn review_due(&self) -> Option<Date> {
        match (self.extended_until, self.extended) {
            (Some(until), _) => Some(until),
            (None, Some(_)) => None,
            (None, None) => self.review,
        }
    }

    /// Is it the time that the text leaves for removing the app? Findings then have severity 3.
    pub fn is_removal_period(&self, day: Date) -> bool {
        self.state_at(day).judges() && self.remove_by.is_some_and(|last| day <= last)
    }

    /// Does it cover a service?
    pub fn covers(&self, service: &Service) -> bool {
        self.services.contains(&service.key)
            || self.owners.contains(&service.owner)
            || self.categories.contains(&service.category)
            || self.owner_countries.contains(&service.owner_country)
    }

    /// Does it forbid this?
    pub fn forbids(&self, what: Forbids) -> bool {
        self.forbids.contains(&what)
    }
}

/// All bans that are known, in order of id.
#[derive(Clone, Debug, Default)]
pub struct Bans {
    bans: BTreeMap<String, Arc<Ban>>,
}

static BUILTIN: LazyLock<(Bans, Vec<Diagnostic>)> = LazyLock::new(|| {
    let mut findings = Vec::new();
    let texts = BAN_FILES.iter().map(|(label, text)| ((*label).to_owned(), (*text).to_owned()));
    let texts: Vec<SourceText> = texts.map(|(label, text)| SourceText { label, text }).collect();
    let bans = Bans::default().with_layer(&texts, &mut findings);
    (bans, findings)
});

impl Bans {
    /// The bans built in.
    pub fn builtin() -> Self {
        BUILTIN.0.clone()
    }

    /// The bans built in and those of files or folders, later ones over earlier ones of the same id.
    ///
    /// # Errors
    /// All findings, if one of them is an error.
    pub fn from_files(paths: &[PathBuf]) -> Result<(Self, Vec<Diagnostic>), Vec<Diagnostic>> {
        let mut findings = Vec::new();
        let layers: Vec<Vec<SourceText>> = paths.iter().map(|path| read_directory(path, &mut findings)).collect();
        Self::assemble(&layers, findings)
    }

    /// As [`Bans::from_files`], from texts: one list for each layer.
    ///
    /// # Errors
    /// All findings, if one of them is an error.
    pub fn from_texts(layers: &[Vec<SourceText>]) -> Result<(Self, Vec<Diagnostic>), Vec<Diagnostic>> {
        Self::assemble(layers, Vec::new())
    }

    /// Adds a ban that stands as a table in another file, at a byte of its text. What only a public text has (authority,
    /// instrument, sources) may be missing there.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn add_table(
        &mut self,
        label: &str,
        text: &str,
        table: &toml::de::DeTable<'_>,
        at: usize,
    ) -> Result<Arc<Ban>, Vec<Diagnostic>> {
        let (ban, findings) = read::read_table(label, text, table, at);
        let ban = Arc::new(ban.ok_or(findings)?);
        self.bans.insert(ban.id.clone(), Arc::clone(&ban));
        Ok(ban)
    }

    fn assemble(
        layers: &[Vec<SourceText>],
        mut findings: Vec<Diagnostic>,
    ) -> Result<(Self, Vec<Diagnostic>), Vec<Diagnostic>> {
        let bans = layers.iter().fold(Self::builtin(), |bans, layer| bans.with_layer(layer, &mut findings));
        if findings.iter().any(|finding| finding.severity == Severity::Error) {
            return Err(findings);
        }
        Ok((bans, findings))
    }

    fn with_layer(mut self, texts: &[SourceText], findings: &mut Vec<Diagnostic>) -> Self {
        let mut seen: BTreeMap<String, String> = BTreeMap::new();
        for text in texts {
            let (ban, mut faults) = read::read(&text.label, &text.text);
            findings.append(&mut faults);
            let Some(ban) = ban else { continue };
            if let Some(other) = seen.insert(ban.id.clone(), ban.file.clone()) {
                let message = format!("ban \"{}\" stands in {other} already", ban.id);
                findings.push(Diagnostic::new(Severity::Error, &ban.file, 0, "id", message, "keep one of the two"));
            }
            self.bans.insert(ban.id.clone(), Arc::new(ban));
        }
        self
    }

    /// One ban.
    pub fn get(&self, id: &str) -> Option<&Arc<Ban>> {
        self.bans.get(id)
    }

    /// All of them, in order of id.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Ban>> {
        self.bans.values()
    }

    /// Those of form `watch`: what the built-in policy watches where no ban is configured.
    pub fn watched(&self) -> impl Iterator<Item = &Arc<Ban>> {
        self.iter().filter(|ban| ban.form == BanForm::Watch)
    }

    /// An error for each service that a ban names and no signature file knows.
    pub fn check_services(&self, bundle: &Bundle) -> Vec<Diagnostic> {
        let mut findings = Vec::new();
        for ban in self.bans.values() {
            for service in ban.services.iter().chain(&ban.services_by_choice) {
                if bundle.service(service).is_none() {
                    let message = format!("ban \"{}\" names the service \"{service}\", which no signature has", ban.id);
                    let mend = "use a key that 'vigie signatures list' shows";
                    findings.push(Diagnostic::new(Severity::Error, &ban.file, 0, "services", message, mend));
                }
            }
        }
        findings
    }
}

#[cfg(test)]
mod tests;
