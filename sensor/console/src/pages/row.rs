//! An incident as one line of a list.

use super::encode;
use crate::clock::{Clock, Stamp};
use crate::query::incident::Lists;
use crate::query::incidents::Incident;
use crate::server::visit::Visit;
use crate::words::{closed_because, decided_word, reason, state_word, verdict_word};

/// A line of a list.
pub struct Row {
    pub href: String,
    pub first: Stamp,
    pub duration: String,
    pub service_name: String,
    pub verdict: &'static str,
    pub verdict_name: String,
    pub first_run: bool,
    /// The client, or its alias.
    pub device: String,
    /// Its name in the asset list.
    pub label: Option<String>,
    pub reason: String,
    pub ban: String,
    pub ban_href: String,
    pub site: Option<String>,
    pub state: &'static str,
    pub state_name: String,
    pub decided: Option<String>,
}

impl Row {
    pub fn of(incident: &Incident, clock: &Clock, visit: &Visit) -> Self {
        let (language, w) = (visit.language, visit.words());
        let lists = Lists::of(incident);
        let span_s = (incident.last_us - incident.first_us).max(0) as u64 / 1_000_000;
        let flows = match (visit.language, incident.flows) {
            (_, 1) => "1 flow".replace("flow", language.pick("flow", "flux")),
            (_, count) => format!("{} {}", w.number(count), language.pick("flows", "flux")),
        };
        Self {
            href: href(incident, visit),
            first: clock.short(language, incident.first_us),
            duration: format!("{}, {flows}", w.duration(span_s)),
            service_name: service_name(incident),
            verdict: verdict_class(&incident.verdict),
            verdict_name: verdict_word(language, &incident.verdict),
            first_run: incident.first_run,
            device: device(incident, visit),
            label: (visit.sees_devices() && !incident.device.is_empty()).then(|| incident.device.clone()),
            reason: lists.reasons.first().map(|text| reason(language, text)).unwrap_or_default(),
            ban: incident.ban.clone(),
            ban_href: format!("/ban/{}", encode(&incident.ban)),
            site: (!incident.site.is_empty()).then(|| incident.site.clone()),
            state: if incident.is_open() { "open" } else { "closed" },
            state_name: state(incident, visit),
            decided: decided(incident, visit),
        }
    }
}

/// The address of an incident's page.
pub fn href(incident: &Incident, visit: &Visit) -> String {
    format!("/incident/{}", encode(id(incident, visit)))
}

/// The id that a person may see.
pub fn id<'i>(incident: &'i Incident, visit: &Visit) -> &'i str {
    if visit.sees_devices() { &incident.id } else { &incident.alias }
}

/// The device as a person may see it.
pub fn device(incident: &Incident, visit: &Visit) -> String {
    match () {
        () if incident.is_warning || incident.client.is_empty() => visit.words().withheld.to_owned(),
        () if visit.sees_devices() => incident.client.clone(),
        () => incident.client_alias.clone(),
    }
}

/// The address of a device's page; none where the device is not told.
pub fn device_href(incident: &Incident, visit: &Visit) -> Option<String> {
    let is_told = !incident.is_warning && !incident.client.is_empty();
    is_told.then(|| format!("/device/{}", encode(&device(incident, visit))))
}

/// The name of the service; its key where it has none.
pub fn service_name(incident: &Incident) -> String {
    let name = if incident.service_name.is_empty() { &incident.service } else { &incident.service_name };
    name.clone()
}

/// The class of a verdict in style sheets: never a word of an event.
pub fn verdict_class(verdict: &str) -> &'static str {
    match verdict {
        "app" => "app",
        "web" => "web",
        _ => "other",
    }
}

fn state(incident: &Incident, visit: &Visit) -> String {
    let language = visit.language;
    match (incident.is_open(), incident.closed.as_str()) {
        (true, _) => visit.words().open.to_owned(),
        (false, "") => state_word(language, "closed"),
        (false, why) => format!(
            "{}{} {}",
            state_word(language, "closed"),
            language.pick(":", "\u{a0}:"),
            closed_because(language, why)
        ),
    }
}

fn decided(incident: &Incident, visit: &Visit) -> Option<String> {
    let w = visit.words();
    if !incident.disposition.is_empty() {
        return Some(decided_word(w, &incident.disposition));
    }
    (!incident.acknowledged_by.is_empty()).then(|| format!("{}: {}", w.taken_up, incident.acknowledged_by))
}
