//! Changes of incidents as records of the journal.

use vigie_journal::eve;
use vigie_journal::record;
use vigie_judgement::{Client, Incident, IncidentChange, Step};

use super::Context;
use crate::event::{Event, Fact};

/// Appends a change of an incident as one EVE line, newline included.
pub fn encode_incident(change: &IncidentChange<'_>, sensor_name: Option<&str>, out: &mut Vec<u8>) {
    let incident = change.incident;
    let judgement = &incident.judgement;
    let (revision, client) = (incident.revision.to_string(), incident.key.client.to_string());
    let (signature, day) = (signature_text(change), incident.day.to_string());
    let event_id = event_id(change, sensor_name);
    let reasons: Vec<Box<str>> = judgement.reasons.iter().map(|reason| reason.to_string().into()).collect();
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
            client_address: match incident.key.client {
                Client::Address(address) => Some(address),
                _ => None,
            },
            signature_id: signature_id(change.step),
            signature: &signature,
            severity: incident.severity,
            facts: &[
                ("event_id", &event_id),
                ("incident", &incident.id),
                ("incident_state", change.step.as_str()),
                ("incident_revision", &revision),
                ("incident_closed", closing),
                ("risen_from", risen_from),
                ("client", &client),
                ("service", &incident.key.service),
                ("service_name", &incident.service_name),
                ("verdict", judgement.verdict().as_str()),
                ("kind", judgement.kind.as_str()),
                ("first_run", truth(judgement.first_run)),
                ("attempt", attempt),
                ("cleartext", truth(incident.cleartext)),
                ("ban", &incident.ban.id),
                ("ban_title", &incident.ban.title_en),
                ("authority", &incident.ban.authority),
                ("day", &day),
                ("scope", &incident.scope),
                ("site", &incident.site),
                ("ministry", &incident.ministry),
                ("device", &incident.label),
            ],
            lists: &[
                ("reasons", &reasons),
                ("names", &incident.names),
                ("families", &incident.families),
                ("region", &incident.regions),
                ("server_country", &incident.countries),
            ],
            revision: incident.revision,
            flows: incident.flows,
            bytes_to_server: incident.bytes_to_server,
            bytes_to_client: incident.bytes_to_client,
            first_ns: incident.first_ns,
            last_ns: incident.last_ns,
            alerts_left_out: incident.alerts_left_out,
        },
        sensor_name,
        out,
    );
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

/// The id of the alert on a flow.
pub fn sighting_id(event: &Event, context: &Context) -> String {
    let (flow, signature) = match &event.fact {
        Fact::Alert(alert) | Fact::Sighting(alert) => (alert.flow.id, alert.rule.signature_id),
        _ => (0, 0),
    };
    let sensor_name = context.sensor_name.as_deref().unwrap_or_default();
    hash(&format!("{sensor_name}\0{flow}\0{signature}\0{}", event.timestamp_ns))
}

/// 16 hex digits, the same on a replay, so that receivers drop what they have.
fn event_id(change: &IncidentChange<'_>, sensor_name: Option<&str>) -> String {
    let Incident { id, revision, .. } = change.incident;
    let text =
        format!("{}\0{id}\0{}\0{revision}\0{}", sensor_name.unwrap_or_default(), change.step.as_str(), change.time_ns);
    hash(&text)
}

fn hash(text: &str) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
    digest.as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}
