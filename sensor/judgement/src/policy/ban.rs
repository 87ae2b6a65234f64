//! A ban that the operator uses, and which verdicts are a finding under it.

use std::sync::Arc;

use time::Date;
use vigie_signatures::{Ban, BanForm, BanState, Forbids, Personal, ScopeWord};

use super::{Refusal, ScopeKind, Zone};
use crate::{Kind, Verdict};

/// The lowest severity; 1 is the highest.
const SEVERITY_LOWEST: u8 = 3;

/// What the operator may change of a ban.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BanChoices {
    /// The services instead of those of the ban, where its text leaves the list to the operator.
    pub services: Option<Vec<String>>,
    /// Severity of a finding that the app is installed or used.
    pub severity: Option<u8>,
    /// Severity of a visit of the site.
    pub severity_web: Option<u8>,
    /// Whether a visit of the site opens an incident though the ban forbids only to install.
    pub site_visits: bool,
}

/// A ban that the operator uses.
#[derive(Clone, Debug, PartialEq)]
pub struct BanInUse {
    ban: Arc<Ban>,
    zone: Zone,
    site_visits: bool,
}

/// What a verdict means under a ban.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A finding, of this severity: 1 is the highest.
    Incident(u8),
    /// The ban does not forbid it: reported where the operator asks for it, no incident.
    Reported,
    /// No finding.
    Nothing,
}

impl BanInUse {
    /// A ban with the operator's choices.
    ///
    /// # Errors
    /// The key at fault: the time zone is unknown, or the ban's text fixes the services.
    pub fn new(ban: &Arc<Ban>, choices: BanChoices) -> Result<Self, (&'static str, Refusal)> {
        let zone = Zone::named(&ban.time_zone).map_err(|refusal| ("time_zone", refusal))?;
        let BanChoices { services, severity, severity_web, site_visits } = choices;
        let mut chosen = Ban::clone(ban);
        if let Some(services) = services {
            if ban.services_by_choice.is_empty() && ban.categories.is_empty() {
                let what = format!("the text of the ban \"{}\" names the services itself", ban.id);
                let mend = "remove this key, or write a ban of your own with an id instead of 'use'";
                return Err(("services", Refusal::new(what, mend)));
            }
            chosen.services = services;
            chosen.categories.clear();
        }
        chosen.severity = severity.unwrap_or(ban.severity);
        chosen.severity_web = severity_web.unwrap_or(ban.severity_web);
        Ok(Self { ban: Arc::new(chosen), zone, site_visits })
    }

    /// The ban, with the operator's choices.
    pub fn ban(&self) -> &Arc<Ban> {
        &self.ban
    }

    /// Its time zone.
    pub const fn zone(&self) -> &Zone {
        &self.zone
    }

    /// Whether it bans nothing: the operator looks.
    pub fn is_watch(&self) -> bool {
        self.ban.form == BanForm::Watch
    }

    /// Its state on a day of its time zone.
    pub fn state_at(&self, day: Date) -> BanState {
        self.ban.state_at(day)
    }

    /// How it covers clients of a scope; none if it does not.
    pub(super) fn cover(&self, kind: ScopeKind) -> Option<Cover> {
        let ban = &*self.ban;
        let has = |word| ban.scope.contains(&word);
        let advised = (ban.personal == Personal::Advised).then_some(Cover::Advised);
        let full = |covered: bool| covered.then_some(Cover::Full);
        match kind {
            ScopeKind::Official => full(has(ScopeWord::Official)),
            ScopeKind::Sensitive => (has(ScopeWord::Official) || has(ScopeWord::Sensitive)).then_some(Cover::Sensitive),
            ScopeKind::Connected => full(has(ScopeWord::Connected) || ban.personal == Personal::Connecting).or(advised),
            ScopeKind::Enrolled => full(has(ScopeWord::Enrolled) || ban.personal == Personal::Enrolled).or(advised),
            ScopeKind::Contractor => full(has(ScopeWord::Contractor)),
            ScopeKind::Guest | ScopeKind::Personal => None,
        }
    }

    /// What a verdict means under the ban.
    pub(super) fn outcome(&self, kind: Kind, day: Date, cover: Cover) -> Outcome {
        let (ban, verdict) = (&*self.ban, kind.verdict());
        // Whoever reads help or news, or meets a page that embeds the service, does not use it, whatever is forbidden.
        if !kind.is_use() {
            return Outcome::Nothing;
        }
        let forbids_traffic = ban.forbids(Forbids::Traffic);
        let forbids_use = forbids_traffic || ban.forbids(Forbids::Use) || self.is_watch();
        let is_forbidden = match verdict {
            // Installed but not used: a text that regulates use says nothing of it, while a block has failed.
            Verdict::App if kind == Kind::Background => {
                ban.forbids(Forbids::Install) || forbids_traffic || self.is_watch() || ban.form == BanForm::Block
            }
            Verdict::App => true,
            Verdict::Web => forbids_use || self.site_visits,
            Verdict::Embed | Verdict::Undetermined => false,
        };
        match is_forbidden {
            true => Outcome::Incident(self.severity(verdict, day, cover)),
            false => Outcome::Reported,
        }
    }

    fn severity(&self, verdict: Verdict, day: Date, cover: Cover) -> u8 {
        if self.ban.is_removal_period(day) {
            return SEVERITY_LOWEST;
        }
        let severity = if verdict == Verdict::App { self.ban.severity } else { self.ban.severity_web };
        match cover {
            Cover::Full => severity,
            Cover::Sensitive => severity.saturating_sub(1).max(1),
            Cover::Advised => SEVERITY_LOWEST,
        }
    }
}

/// How a ban covers clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cover {
    /// As it says.
    Full,
    /// In a zone where findings weigh more.
    Sensitive,
    /// It advises only.
    Advised,
}
