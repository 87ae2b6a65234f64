//! The facts of a configuration that the texts of all languages tell.

use vigie_judgement::policy::{BanInUse, IdentityRule, Policy, Scope, ScopeKind};

use crate::settings::{Language, Naming, Record, Settings};

/// The facts.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    pub(super) controller: Option<String>,
    pub(super) contact: Option<String>,
    pub(super) dpia_reference: Option<String>,
    pub(super) notice_date: Option<String>,
    pub(super) staff_consultation_date: Option<String>,
    pub(super) sensor: String,
    pub(super) site: Option<String>,
    pub(super) bans: Vec<Ban>,
    /// Scopes that bans cover, then those of which nothing is recorded.
    pub(super) covered: Vec<Network>,
    pub(super) left_out: Vec<Network>,
    /// Clients that no scope names are official devices.
    pub(super) covers_unlisted: bool,
    /// Bans can cover devices of the asset list.
    pub(super) covers_assets: bool,
    pub(super) assets: usize,
    pub(super) derogations: usize,
    pub(super) uses_mac: bool,
    pub(super) events_file: String,
    pub(super) audit_file: String,
    /// The period of the pseudonyms' key; none without pseudonyms.
    pub(super) pseudonyms: Option<&'static str>,
    pub(super) warns_first: bool,
    pub(super) reveal_needs_second: bool,
    /// Records that name the traffic of everybody, and until when.
    pub(super) debug: Option<(String, String)>,
}

/// A ban in use.
#[derive(Clone, Debug)]
pub(super) struct Ban {
    id: String,
    authority: String,
    language: String,
    title: String,
    title_en: String,
    covers: String,
    since: Option<String>,
}

/// A scope.
#[derive(Clone, Debug)]
pub(super) struct Network {
    pub(super) name: String,
    pub(super) kind: ScopeKind,
}

impl Facts {
    pub(super) fn of(settings: &Settings, policy: &Policy) -> Self {
        let privacy = &settings.privacy;
        let day = |day: Option<vigie_config::Day>| day.map(|day| day.to_string());
        let networks = |is_out: bool| {
            let scopes = policy.scopes().iter().filter(|scope| scope.kind.is_out() == is_out);
            scopes.map(|Scope { name, kind, .. }| Network { name: name.clone(), kind: *kind }).collect()
        };
        Self {
            controller: privacy.controller.clone(),
            contact: privacy.contact.clone(),
            dpia_reference: privacy.dpia_reference.clone(),
            notice_date: day(privacy.notice_date),
            staff_consultation_date: day(privacy.staff_consultation_date),
            sensor: settings.sensor.name.clone(),
            site: privacy.site.clone(),
            bans: policy.bans().iter().map(Ban::of).collect(),
            covered: networks(false),
            left_out: networks(true),
            covers_unlisted: !policy.unlisted().is_out(),
            covers_assets: policy.assets().has_devices(),
            assets: policy.assets().len(),
            derogations: policy.derogations().len(),
            uses_mac: policy.assets().has_macs()
                || policy.scopes().iter().any(|scope| scope.identity == IdentityRule::Mac),
            events_file: settings.events_place().display().to_string(),
            audit_file: privacy.audit_file.display().to_string(),
            pseudonyms: privacy.pseudonyms.then(|| privacy.period.as_str()),
            warns_first: privacy.mode == Naming::WarnFirst,
            reveal_needs_second: privacy.reveal_needs_second,
            debug: privacy.debug_until.and_then(|until| {
                let records = settings.events.types.iter().filter(|record: &&Record| record.names_all_traffic());
                let records: Vec<&str> = records.map(|record| record.as_str()).collect();
                (!records.is_empty()).then(|| (records.join(", "), until.to_string()))
            }),
        }
    }
}

impl Ban {
    fn of(used: &BanInUse) -> Self {
        let ban = used.ban();
        Self {
            id: ban.id.clone(),
            authority: ban.authority.clone(),
            language: ban.language.clone(),
            title: ban.title.clone(),
            title_en: ban.title_en.clone(),
            covers: crate::cli::bans::covered(ban),
            since: ban.in_force.map(|day| day.to_string()),
        }
    }

    /// A line of a list; the title is in the language if the ban's text is.
    pub(super) fn line(&self, language: Language) -> String {
        let Self { id, authority, title, title_en, covers, since, .. } = self;
        let title = if self.language == language.as_str() { title } else { title_en };
        let since = since.as_ref().map_or_else(String::new, |since| format!(", {since}"));
        let authority = if authority.is_empty() { String::new() } else { format!(" ({authority}{since})") };
        format!("{id}: {title}{authority}: {covers}")
    }
}

/// Lines of a list.
pub(super) fn list(lines: impl IntoIterator<Item = String>) -> String {
    lines.into_iter().map(|line| format!("  - {line}\n")).collect()
}

/// A text of the configuration, or what the operator has to write in its place.
pub(super) fn given(text: Option<&String>, missing: &str) -> String {
    text.map_or_else(|| format!("[{missing}]"), Clone::clone)
}
