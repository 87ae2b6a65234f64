//! The policy of a configuration as `vigie check` shows it: bans, scopes, assets and derogations with their state, and
//! what the law asks of the operator.

use time::{Date, OffsetDateTime};
use vigie_config::{Finding, Severity};
use vigie_judgement::policy::{BanInUse, Derogation, Policy, Scope};
use vigie_signatures::Bundle;

use super::accounts::{Account, READ};
use super::requirements::Requirement;
use crate::cli::words::counted;
use crate::policy::{LoadedPolicy, files, zone};
use crate::privacy::{KeyNotice, key_file, key_notice, period_keys};
use crate::settings::{Loaded, Naming, Privacy, Settings};

const PART: &str = "policy";

/// What a configuration says about judgement.
pub(super) fn all(loaded: &Loaded, bundle: &Bundle, account: Option<&Account>) -> Vec<Requirement> {
    let now = OffsetDateTime::now_utc();
    let mut requirements = match LoadedPolicy::of(loaded, bundle) {
        Ok(LoadedPolicy { policy, warnings }) => {
            let today = zone(&policy).day_at(now.unix_timestamp_nanos() as u64);
            let mut requirements: Vec<Requirement> = warnings.iter().map(finding).collect();
            requirements.extend(shown(&policy, today));
            requirements
        }
        Err(errors) => errors.0.iter().map(finding).collect(),
    };
    requirements.extend(account.into_iter().flat_map(|account| unreadable(loaded, account)));
    requirements.extend(privacy(&loaded.settings, now.date()));
    requirements.extend(naming(loaded, now));
    requirements
}

/// Whom events name, and whether the key of pseudonyms can be used.
fn naming(loaded: &Loaded, now: OffsetDateTime) -> Vec<Requirement> {
    const PART: &str = "privacy";
    let Privacy { mode, audit_file, .. } = &loaded.settings.privacy;
    let mut requirements = match period_keys(loaded) {
        Err(errors) => errors.0.iter().map(|error| finding_of(PART, error)).collect(),
        Ok(None) => vec![Requirement::ok(PART, "events name clients; privacy.pseudonyms = true replaces them")],
        Ok(Some(keys)) => match key_notice(&keys, now) {
            Some(KeyNotice { what, mend, is_overdue: true }) => vec![Requirement::misconfigured(PART, what, mend)],
            Some(KeyNotice { what, mend, is_overdue: false }) => vec![Requirement::warning(PART, what, mend)],
            None => {
                let periods: Vec<String> = keys.periods().map(|period| period.to_string()).collect();
                let what = format!("events have pseudonyms of clients; there are keys of {}", periods.join(", "));
                vec![Requirement::ok(PART, what)]
            }
        },
    };
    if *mode == Naming::WarnFirst {
        let what = "the first finding of a client in a period names nobody; the second names it";
        requirements.push(Requirement::ok(PART, what));
    }
    if audit_file.parent().is_some_and(|folder| !folder.is_dir()) {
        let what = format!("privacy.audit_file {}: its folder does not exist", audit_file.display());
        requirements.push(Requirement::warning(PART, what, "make it, or set privacy.audit_file to another path"));
    }
    requirements
}

/// The key of pseudonyms, if it is a file that the sensor itself reads: systemd gives it its credentials.
fn own_key_file(loaded: &Loaded) -> Option<std::path::PathBuf> {
    loaded.settings.privacy.key_file.as_ref().and_then(|_| key_file(loaded))
}

/// The files that the running sensor could not read again.
fn unreadable(loaded: &Loaded, account: &Account) -> Vec<Requirement> {
    let user = &loaded.settings.privilege.user;
    let files = files(loaded).into_iter().chain(own_key_file(loaded)).filter(|path| path.exists());
    let unreadable = files.filter(|path| !account.reaches(path) || !account.may(path, READ));
    unreadable
        .map(|path| {
            let what = format!("{user} may not read {}, so each reload would be refused", path.display());
            Requirement::warning(PART, what, format!("let {user} read it, by its group for example"))
        })
        .collect()
}

fn finding(finding: &Finding) -> Requirement {
    finding_of(PART, finding)
}

fn finding_of(part: &'static str, finding: &Finding) -> Requirement {
    let mut message = format!("{}: ", finding.origin);
    match (finding.key.as_str(), finding.value.as_str()) {
        ("", _) => {}
        (key, "") => message.push_str(&format!("{key}: ")),
        (key, value) => message.push_str(&format!("{key} = {value}: ")),
    }
    message.push_str(&finding.what);
    match finding.severity {
        Severity::Error => Requirement::misconfigured(part, message, &finding.mend),
        Severity::Warning => Requirement::warning(part, message, &finding.mend),
    }
}

fn shown(policy: &Policy, today: Date) -> Vec<Requirement> {
    let ok = |message: String| Requirement::ok(PART, message);
    let mut requirements = Vec::new();
    if policy.has_builtin_bans() {
        requirements.push(ok(format!("no ban is configured, so the built-in policy applies: {}", policy.summary())));
    }
    requirements.extend(policy.bans().iter().map(|used| ok(ban(used, today))));
    requirements.extend(policy.scopes().iter().map(|found| ok(scope(found))));
    let others = if policy.unlisted().is_out() { "out of scope" } else { policy.unlisted().as_str() };
    requirements.push(ok(format!("{}; all other clients: {others}", counted(policy.assets().len() as u64, "asset"))));
    requirements.extend(policy.derogations().iter().map(|found| ok(derogation(found, today))));
    let notices = policy.notices(today);
    requirements.extend(notices.into_iter().map(|notice| Requirement::warning(PART, notice.what, notice.mend)));
    requirements
}

fn ban(used: &BanInUse, today: Date) -> String {
    let ban = used.ban();
    let what = if used.is_watch() { "watched" } else { used.state_at(today).as_str() };
    let since = ban.in_force.map_or_else(String::new, |first| format!(" from {first}"));
    format!("{} \"{}\": {what}{since}, covers {}", ban.form, ban.id, crate::cli::bans::covered(ban))
}

fn scope(scope: &Scope) -> String {
    let mut parts = Vec::new();
    for (number, noun) in
        [(scope.prefixes.len(), "prefix"), (scope.vlans.len(), "VLAN"), (scope.interfaces.len(), "interface")]
    {
        match (number, noun) {
            (0, _) => {}
            (1, _) | (_, "VLAN" | "interface") => parts.push(counted(number as u64, noun)),
            (number, _) => parts.push(format!("{number} prefixes")),
        }
    }
    let identity = scope.identity;
    format!("scope \"{}\": {}, {}, a device is known by: {identity}", scope.name, scope.kind, parts.join(", "))
}

fn derogation(derogation: &Derogation, today: Date) -> String {
    let Derogation { id, from, approver, reference, .. } = derogation;
    // Who it is stands in the register: a check may be shown to anybody.
    let clients = counted(derogation.who.len() as u64, "client");
    let (state, until, services) = (derogation.state_at(today), derogation.last_day(), derogation.services.join(", "));
    format!("derogation \"{id}\": {state}, {clients}, {services}, {from} to {until}, {reference} by {approver}")
}

fn privacy(settings: &Settings, today: Date) -> Vec<Requirement> {
    const PART: &str = "privacy";
    let mut requirements = Vec::new();
    let missing = settings.privacy.missing();
    if !missing.is_empty() {
        let mend = "the sensor observes people: set them when it is done";
        requirements.push(Requirement::warning(PART, format!("not set: {}", missing.join(", ")), mend));
    }
    let refused: Vec<&str> = settings.records_refused(today).iter().map(|record| record.as_str()).collect();
    if !refused.is_empty() {
        let what = format!("events.types has {}, which record the traffic of everybody", refused.join(", "));
        let mend = match settings.privacy.debug_until {
            None => "remove them, or set privacy.debug_until to the last day of a test".to_owned(),
            Some(day) => format!("remove them: privacy.debug_until = {day} is past"),
        };
        requirements.push(Requirement::misconfigured(PART, what, mend));
    }
    if requirements.is_empty() {
        requirements.push(Requirement::ok(PART, "impact assessment, notice and consultation are recorded"));
    }
    requirements
}
