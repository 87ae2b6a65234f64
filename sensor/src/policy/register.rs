//! The register of derogations: a file with a `[[derogation]]` for each.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use toml::de::DeTable;
use vigie_config::{Fault, Finding, Origin, nearest, open_regular};
use vigie_judgement::policy::{BanInUse, Derogation};
use vigie_signatures::Bundle;

use super::fields::{Fields, Text, tables};

const KEYS: [&str; 11] =
    ["id", "who", "services", "bans", "from", "until", "ended", "added", "reason", "approver", "reference"];
/// Those that each entry has, with examples.
const NEEDED: [(&str, &str); 9] = [
    ("id", "\"2026-001\""),
    ("who", "[\"10.20.0.7\"]"),
    ("services", "[\"tiktok\"]"),
    ("from", "\"YYYY-MM-DD\""),
    ("until", "\"YYYY-MM-DD\""),
    ("added", "\"YYYY-MM-DD\""),
    ("reason", "\"why it is needed\""),
    ("approver", "\"who approved it\""),
    ("reference", "\"the number of the decision\""),
];
/// Largest register that is read.
const REGISTER_BYTES_MAX: u64 = 16 << 20;
/// Longest text of an entry.
const TEXT_BYTES_MAX: usize = 1024;

/// The text of a register.
///
/// # Errors
/// It cannot be read.
pub(crate) fn read_text(path: &Path) -> Result<String, Vec<Finding>> {
    let whole = |what: String, mend: &str| {
        let origin = Origin::File(path.display().to_string(), 0);
        vec![Finding::error(origin, "policy.derogations", "", Fault::new(what, mend))]
    };
    let cannot =
        |error: std::io::Error| whole(format!("the register cannot be read: {error}"), "check path and permissions");
    let mut file = open_regular(path).map_err(cannot)?;
    if file.metadata().map_err(cannot)?.len() > REGISTER_BYTES_MAX {
        return Err(whole("larger than 16 MiB, not a register".to_owned(), "is it the right file?"));
    }
    let mut text = String::new();
    file.read_to_string(&mut text).map_err(cannot)?;
    Ok(text)
}

/// What entries may name.
pub(crate) struct Known<'a> {
    pub(crate) bundle: &'a Bundle,
    /// The bans in use; an entry for another ban excuses nothing.
    pub(crate) bans: &'a [BanInUse],
}

/// Reads the text of a register; `label` is its file. The second list has what is probably not intended.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn parse(
    label: &str,
    text: &str,
    known: &Known<'_>,
) -> Result<(Vec<Derogation>, Vec<Finding>), Vec<Finding>> {
    let text = Text::new(label, text);
    let document = text.parse()?;
    let mut findings = Vec::new();
    for (key, _) in document.get_ref().iter().filter(|(key, _)| key.get_ref() != "derogation") {
        let fault = Fault::new("unknown key", "a register has only [[derogation]]");
        findings.push(Finding::error(text.origin(key.span().start), key.get_ref(), "", fault));
    }
    let derogations = all(document.get_ref(), &text, known, &mut findings);
    match findings.iter().any(|finding| finding.severity == vigie_config::Severity::Error) {
        true => Err(findings),
        false => Ok((derogations, findings)),
    }
}

fn all(document: &DeTable<'_>, text: &Text<'_>, known: &Known<'_>, findings: &mut Vec<Finding>) -> Vec<Derogation> {
    let mut derogations = Vec::new();
    let mut ids = BTreeMap::new();
    for place in tables(document, "derogation", text, findings) {
        let mut fields = Fields::new(text, "derogation", place, findings);
        let Some(derogation) = one(&mut fields, known) else { continue };
        if ids.insert(derogation.id.clone(), ()).is_some() {
            fields.refuse("id", &derogation.id, "another entry has this id", "give each entry an id of its own");
        }
        derogations.push(derogation);
    }
    derogations
}

fn one(fields: &mut Fields<'_, '_>, known: &Known<'_>) -> Option<Derogation> {
    fields.only(&KEYS);
    fields.require(&NEEDED);
    let id = fields.text("id");
    let who = fields.parsed_list("who");
    let (services, bans) = (fields.texts("services"), fields.texts("bans"));
    let (from, until, added) = (fields.day("from"), fields.day("until"), fields.day("added"));
    let ended = fields.day("ended");
    let mut text = |key| {
        let text = fields.text(key)?;
        if text.len() > TEXT_BYTES_MAX {
            fields.refuse(key, "", "too long", format!("give at most {TEXT_BYTES_MAX} bytes"));
        }
        Some(text)
    };
    let (reason, approver, reference) = (text("reason"), text("approver"), text("reference"));
    let derogation = Derogation {
        id: id?,
        who,
        services,
        bans,
        from: from?,
        until: until?,
        ended,
        added: added?,
        reason: reason?,
        approver: approver?,
        reference: reference?,
    };
    check(fields, &derogation, known);
    Some(derogation)
}

fn check(fields: &mut Fields<'_, '_>, derogation: &Derogation, known: &Known<'_>) {
    if let Err((key, refusal)) = derogation.check() {
        fields.refuse(key, "", refusal.what, refusal.mend);
    }
    for (key, is_empty) in [("who", derogation.who.is_empty()), ("services", derogation.services.is_empty())] {
        if is_empty && fields.has(key) {
            fields.warn(key, "the list is empty: the entry excuses nobody", "fill it in, or remove the entry");
        }
    }
    for service in derogation.services.iter().filter(|service| known.bundle.service(service).is_none()) {
        let mend = match nearest(service, known.bundle.services().iter().map(|service| service.key.as_str())) {
            Some(near) => format!("did you mean \"{near}\"?"),
            None => "'vigie signatures list' shows the services".to_owned(),
        };
        fields.refuse("services", service, "no signature has this service", mend);
    }
    let ids = || known.bans.iter().map(|used| used.ban().id.as_str());
    for ban in derogation.bans.iter().filter(|ban| !ids().any(|id| id == ban.as_str())) {
        let what = format!("the policy does not use a ban \"{ban}\"");
        fields.warn("bans", what, format!("it uses {}", ids().collect::<Vec<_>>().join(", ")));
    }
}
