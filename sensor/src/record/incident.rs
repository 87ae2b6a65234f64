//! Changes of incidents as records of the journal.

use std::net::IpAddr;

use vigie_journal::eve;
use vigie_journal::record::{self, SpanCoverage};
use vigie_judgement::{Client, Incident, IncidentChange, Step};

use super::Context;
use crate::event::{Event, Fact};

/// Appends a change of an incident as one EVE line, newline included. `coverage` is what the sensor covered meanwhile, of one
/// that closed on a tap.
pub fn encode_incident(
    change: &IncidentChange<'_>,
    coverage: Option<SpanCoverage>,
    context: &Context,
    out: &mut Vec<u8>,
) {
    let incident = change.incident;
    let judgement = &incident.judgement;
    let (id, device) = (incident_id(incident, context), Device::of(incident, context));
    let (signature, day) = (signature_text(change), incident.day.to_string());
    let (revision, event_id) = (incident.revision.to_string(), event_id(change, &id, context));
    let reasons: Vec<Box<str>> = judgement.reasons.iter().map(|reason| reason.to_string().into()).collect();
    let reason_ids: Vec<_> = judgement.reasons.iter().map(|reason| (reason.id(), reason.about())).collect();
    let closing = match change.step {
        Step::Closed(closing) => closing.as_str(),
        _ => "",
    };
    let risen_from = match change.step {
        Step::Risen(kind) => kind.as_str(),
        _ => "",
    };
    let truth = |is_true: bool| if is_true { "true" } else { "" };
    let attempt = truth(judgement.attempt == Some(true));
    eve::encode_incident(
        &record::Incident {
            timestamp_ns: change.time_ns,
            client_address: device.address,
            signature_id: signature_id(change.step),
            signature: &signature,
            severity: incident.severity,
            facts: &[
                ("event_id", &event_id),
                ("incident", &id),
                ("incident_state", change.step.as_str()),
                ("incident_revision", &revision),
                ("incident_closed", closing),
                ("risen_from", risen_from),
                ("client", &device.client),
                ("pseudonym_period", &device.pseudonym_period),
                ("warning", truth(incident.is_warning)),
                ("service", &incident.key.service),
                ("service_name", &incident.service_name),
                ("verdict", judgement.verdict().as_str()),
                ("kind", judgement.kind.as_str()),
                ("first_run", truth(judgement.first_run)),
                ("attempt", attempt),
                ("cleartext", truth(incident.destinations.cleartext)),
                ("ban", &incident.ban.id),
                ("ban_title", &incident.ban.title_en),
                ("authority", &incident.ban.authority),
                ("day", &day),
                ("scope", device.scope),
                ("site", &incident.site),
                ("ministry", device.ministry),
                ("device", device.label),
            ],
            lists: &[
                ("reasons", &reasons),
                ("names", &incident.names),
                ("families", &incident.families),
                ("region", &incident.regions),
                ("server_country", &incident.destinations.countries),
            ],
            revision: incident.revision,
            flows: incident.flows,
            bytes_to_server: incident.bytes_to_server,
            bytes_to_client: incident.bytes_to_client,
            reason_ids: &reason_ids,
            region_bytes: &incident.destinations.region_bytes,
            first_ns: incident.first_ns,
            last_ns: incident.last_ns,
            alerts_left_out: incident.alerts_left_out,
            coverage,
        },
        context.sensor_name.as_deref(),
        out,
    );
}

/// What is written of a device. Of a warning it is nothing; beside a pseudonym there is no name of the asset list.
#[derive(Default)]
struct Device<'i> {
    address: Option<IpAddr>,
    client: String,
    pseudonym_period: String,
    scope: &'i str,
    ministry: &'i str,
    label: &'i str,
}

impl<'i> Device<'i> {
    fn of(incident: &'i Incident, context: &Context) -> Self {
        if incident.is_warning {
            return Self::default();
        }
        let client = written(&incident.key.client, context);
        Self {
            address: match client {
                Client::Address(address) => Some(address),
                _ => None,
            },
            client: client.to_string(),
            pseudonym_period: context.pseudonym_period().unwrap_or_default(),
            scope: &incident.scope,
            ministry: &incident.ministry,
            label: if context.pseudonyms.is_some() { "" } else { &incident.label },
        }
    }
}

/// A client, or its pseudonym.
fn written(client: &Client, context: &Context) -> Client {
    context.pseudonyms.as_ref().map_or_else(|| client.clone(), |pseudonyms| pseudonyms.client(client))
}

/// A client as people and events read it: its name in the asset list, its address, or its pseudonym.
pub fn client_text(client: &Client, label: &str, context: &Context) -> String {
    if label.is_empty() || context.pseudonyms.is_some() {
        written(client, context).to_string()
    } else {
        label.to_owned()
    }
}

/// The id that is written of an incident: a hash of whom it is about, or one that needs the key of pseudonyms.
pub fn incident_id(incident: &Incident, context: &Context) -> String {
    written_id(&incident.id, context)
}

fn written_id(id: &str, context: &Context) -> String {
    context.pseudonyms.as_ref().map_or_else(|| id.to_owned(), |pseudonyms| pseudonyms.incident_id(id))
}

/// The id by kind of change, which never changes.
const fn signature_id(step: Step) -> u32 {
    match step {
        Step::Opened => 1,
        Step::Risen(_) => 2,
        Step::Continues => 3,
        Step::Closed(_) => 4,
    }
}

/// What a SIEM shows as the alert's name.
fn signature_text(change: &IncidentChange<'_>) -> String {
    let Incident { service_name, judgement, ban, .. } = change.incident;
    let (state, verdict, kind) = (change.step.as_str(), judgement.verdict().as_str(), judgement.kind.as_str());
    format!("vigie incident {state}: {service_name}, {verdict} ({kind}), {}", ban.id)
}

/// An incident, as far as an alert tells it.
#[derive(Clone, Debug)]
pub struct Under {
    /// Its id.
    pub incident: String,
    /// The ban's id.
    pub ban: String,
    /// The scope; empty if none names the client.
    pub scope: String,
    /// Where; empty if not known.
    pub site: String,
}

impl Under {
    /// What an alert tells of an incident.
    pub fn of(incident: &Incident) -> Self {
        let (id, ban) = (incident.id.clone(), incident.ban.id.clone());
        Self { incident: id, ban, scope: incident.scope.clone(), site: incident.site.clone() }
    }
}

/// Appends a sighting as an alert under incidents, as one EVE line, newline included.
pub fn encode_alert(sighting: &Event, context: &Context, under: &[Under], out: &mut Vec<u8>) {
    let name = match &sighting.fact {
        Fact::Sighting(sighting) => sighting.name.as_deref(),
        _ => None,
    };
    let (region, region_evidence) = name.and_then(vigie_judgement::region).unwrap_or_default();
    let list = |of: fn(&Under) -> &String| {
        let texts = under.iter().map(of).filter(|text| !text.is_empty());
        texts.cloned().collect::<Vec<_>>()
    };
    let one = |text: &str| if text.is_empty() { Vec::new() } else { vec![text.to_owned()] };
    let facts = [
        ("event_id", vec![sighting_id(sighting, context)]),
        ("incident", under.iter().map(|under| written_id(&under.incident, context)).collect()),
        ("ban", list(|under| &under.ban)),
        ("scope", list(|under| &under.scope)),
        ("site", list(|under| &under.site)),
        ("region", one(region)),
        ("region_evidence", one(region_evidence)),
    ];
    super::encode_under(sighting, context, &facts, out);
}

/// The id of the alert on a flow.
fn sighting_id(event: &Event, context: &Context) -> String {
    let (flow, signature) = match &event.fact {
        Fact::Sighting(sighting) | Fact::Question(sighting) => (sighting.flow.id, sighting.rule.signature_id),
        _ => (0, 0),
    };
    hash(&[&flow.to_string(), &signature.to_string(), &event.timestamp_ns.to_string()], context)
}

/// The id of a change of an incident.
fn event_id(change: &IncidentChange<'_>, id: &str, context: &Context) -> String {
    let (revision, time) = (change.incident.revision.to_string(), change.time_ns.to_string());
    hash(&[id, change.step.as_str(), &revision, &time], context)
}

/// 16 hex digits, the same on a replay, so that receivers drop what they have.
pub(super) fn hash(parts: &[&str], context: &Context) -> String {
    let sensor_name = context.sensor_name.as_deref().unwrap_or_default();
    let parts = [&[sensor_name], parts].concat();
    if let Some(pseudonyms) = &context.pseudonyms {
        return pseudonyms.event_id(&parts);
    }
    let digest = ring::digest::digest(&ring::digest::SHA256, parts.join("\0").as_bytes());
    digest.as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}
