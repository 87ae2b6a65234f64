//! `[[ban]]`: a built-in ban by its id, with the operator's choices, or a ban of the operator's own.

use std::collections::BTreeSet;
use std::sync::Arc;

use toml::de::DeTable;
use vigie_config::{Fault, Finding, nearest};
use vigie_judgement::policy::{BanChoices, BanInUse};
use vigie_signatures::{Ban, Bans, Bundle, Severity};

use super::fields::{Fields, Text, tables};

/// What a policy can be said about a ban that is known by its id.
const KEYS: [&str; 5] = ["use", "services", "severity", "severity_web", "site_visits"];

/// Reads all of them. `known` are the bans that can be used.
pub(super) fn read(
    document: &DeTable<'_>,
    text: &Text<'_>,
    known: Bans,
    bundle: &Bundle,
    findings: &mut Vec<Finding>,
) -> Vec<BanInUse> {
    let mut reader = Reader { text, known, bundle, findings, seen: BTreeSet::new() };
    let tables = tables(document, "ban", text, reader.findings);
    tables.into_iter().filter_map(|(table, at)| reader.ban(table, at)).collect()
}

struct Reader<'a, 't> {
    text: &'a Text<'t>,
    known: Bans,
    bundle: &'a Bundle,
    findings: &'a mut Vec<Finding>,
    seen: BTreeSet<String>,
}

impl Reader<'_, '_> {
    fn ban<'t>(&mut self, table: &DeTable<'t>, at: usize) -> Option<BanInUse> {
        // The lifetime of the text is that of the document.
        let text = Text::new(self.text.label, self.text.text);
        if table.contains_key("use") {
            return self.by_id(&text, table, at);
        }
        if !table.contains_key("id") {
            let mut fields = Fields::new(&text, "ban", (table, at), self.findings);
            fields.refuse(
                "use",
                "",
                "neither use nor id is given",
                "write use = \"fr\", or id = … for a ban of your own",
            );
            return None;
        }
        let ban = match self.known.add_table(self.text.label, self.text.text, table, at) {
            Ok(ban) => ban,
            Err(faults) => {
                self.findings.extend(faults.iter().map(from_diagnostic));
                return None;
            }
        };
        let mut fields = Fields::new(&text, "ban", (table, at), self.findings);
        check_cover(&mut fields, &ban, self.bundle);
        finish(&mut fields, &ban, BanChoices::default(), "id", (&mut self.seen, self.bundle))
    }

    fn by_id(&mut self, text: &Text<'_>, table: &DeTable<'_>, at: usize) -> Option<BanInUse> {
        let mut fields = Fields::new(text, "ban", (table, at), self.findings);
        fields.only(&KEYS);
        let id = fields.text("use")?;
        let Some(ban) = self.known.get(&id).cloned() else {
            let mend = match nearest(&id, self.known.iter().map(|ban| ban.id.as_str())) {
                Some(near) => format!("did you mean \"{near}\"?"),
                None => "'vigie bans list' shows the ids".to_owned(),
            };
            fields.refuse("use", &id, "no ban has this id", mend);
            return None;
        };
        let severity = |fields: &mut Fields<'_, '_>, key| fields.number(key, 1, 3).map(|number| number as u8);
        let choices = BanChoices {
            services: fields.has("services").then(|| fields.texts("services")),
            severity: severity(&mut fields, "severity"),
            severity_web: severity(&mut fields, "severity_web"),
            site_visits: fields.truth("site_visits").unwrap_or_default(),
        };
        if choices.services.as_ref().is_some_and(Vec::is_empty) {
            fields.refuse("services", "", "the list is empty", "name a service, or remove the key");
        }
        finish(&mut fields, &ban, choices, "use", (&mut self.seen, self.bundle))
    }
}

/// The ban in use, if nothing is wrong with it; `key` names it.
fn finish(
    fields: &mut Fields<'_, '_>,
    ban: &Arc<Ban>,
    choices: BanChoices,
    key: &str,
    (seen, bundle): (&mut BTreeSet<String>, &Bundle),
) -> Option<BanInUse> {
    if !seen.insert(ban.id.clone()) {
        fields.refuse(key, &ban.id, "this ban is used already", "keep one of the two");
        return None;
    }
    match BanInUse::new(ban, choices) {
        Ok(used) => {
            check_services(fields, &used, bundle);
            Some(used)
        }
        Err((wrong, refusal)) => {
            fields.refuse(wrong, "", refusal.what, refusal.mend);
            None
        }
    }
}

/// Reports services that are not recognised.
fn check_services(fields: &mut Fields<'_, '_>, used: &BanInUse, bundle: &Bundle) {
    for key in &used.ban().services {
        match bundle.service(key) {
            Some(service) if service.enabled => {}
            Some(_) => {
                let what = format!("the service \"{key}\" is off, so nothing of it is recognised");
                fields.warn("services", what, "set enabled = true for it in a file of signatures.folder");
            }
            None => {
                let mend = match nearest(key, bundle.services().iter().map(|service| service.key.as_str())) {
                    Some(near) => format!("did you mean \"{near}\"?"),
                    None => "'vigie signatures list' shows the services".to_owned(),
                };
                fields.refuse("services", key, "no signature has this", mend);
            }
        }
    }
}

/// Reports owners and kinds of services that an operator's ban covers and no signature has.
fn check_cover(fields: &mut Fields<'_, '_>, ban: &Ban, bundle: &Bundle) {
    let services = bundle.services();
    let mut check = |key: &str, wanted: &[String], of: fn(&vigie_signatures::Service) -> &str| {
        for word in wanted.iter().filter(|word| !services.iter().any(|service| of(service) == word.as_str())) {
            let mend = match nearest(word, services.iter().map(of)) {
                Some(near) => format!("did you mean \"{near}\"?"),
                None => "'vigie signatures list' shows what there is".to_owned(),
            };
            fields.refuse(key, word, "no signature has this", mend);
        }
    };
    check("owners", &ban.owners, |service| &service.owner);
    check("categories", &ban.categories, |service| &service.category);
    check("owner_countries", &ban.owner_countries, |service| &service.owner_country);
}

/// A finding of the reader of bans.
pub(super) fn from_diagnostic(found: &vigie_signatures::Diagnostic) -> Finding {
    let origin = vigie_config::Origin::File(found.file.clone(), found.line);
    let key = if found.key.is_empty() { String::new() } else { format!("ban.{}", found.key) };
    let fault = Fault::new(&found.message, &found.mend);
    match found.severity {
        Severity::Error => Finding::error(origin, &key, "", fault),
        Severity::Warning => Finding::warning(origin, &key, "", fault),
    }
}
