//! The bodies of requests, by format.

use std::io::Write;

use serde_json::{Map, Value, json};

use crate::batch::Event;
use crate::configuration::{WebhookFormat, WebhookSettings};
use crate::time::{parse_eve, rfc3339, seconds_of};

/// The header `Content-Type`.
pub const fn content_type(format: WebhookFormat) -> &'static str {
    match format {
        WebhookFormat::Elasticsearch => "application/x-ndjson",
        _ => "application/json",
    }
}

/// Appends the body for these events.
pub fn write<'b>(settings: &WebhookSettings, events: impl Iterator<Item = Event<'b>>, out: &mut Vec<u8>) {
    match settings.format {
        WebhookFormat::Json => array(events, out, |event, out| out.extend_from_slice(event.encoded)),
        WebhookFormat::SplunkHec => events.for_each(|event| splunk(settings, &event, out)),
        WebhookFormat::Elasticsearch => events.for_each(|event| elasticsearch(settings, &event, out)),
        WebhookFormat::TheHive => events.for_each(|event| append(&thehive(&event), out)),
        WebhookFormat::Alertmanager => {
            array(events, out, |event, out| append(&alertmanager(event, settings.resolve_after_s), out));
        }
    }
}

fn array<'b>(events: impl Iterator<Item = Event<'b>>, out: &mut Vec<u8>, one: impl Fn(&Event<'b>, &mut Vec<u8>)) {
    let mut mark = b'[';
    for event in events {
        out.push(mark);
        mark = b',';
        one(&event, out);
    }
    out.push(b']');
}

fn append(value: &Value, out: &mut Vec<u8>) {
    let _ = write!(out, "{value}");
}

/// An event of Splunk's HTTP Event Collector.
fn splunk(settings: &WebhookSettings, event: &Event<'_>, out: &mut Vec<u8>) {
    let mut envelope = Map::new();
    if let Some(head) = event.head() {
        if let Some(seconds) = seconds_of(head.timestamp()) {
            envelope.insert("time".to_owned(), json!(seconds));
        }
        if !head.host.is_empty() {
            envelope.insert("host".to_owned(), json!(head.host));
        }
    }
    envelope.insert("source".to_owned(), json!("vigie"));
    envelope.insert("sourcetype".to_owned(), json!(settings.source_type));
    if let Some(index) = &settings.index {
        envelope.insert("index".to_owned(), json!(index));
    }
    let envelope = Value::Object(envelope).to_string();
    out.extend_from_slice(envelope.strip_suffix('}').unwrap_or(&envelope).as_bytes());
    out.extend_from_slice(b",\"event\":");
    out.extend_from_slice(event.encoded);
    out.push(b'}');
}

/// `create` refuses what is there already, so an event that comes twice stands there once; data streams know no other.
fn elasticsearch(settings: &WebhookSettings, event: &Event<'_>, out: &mut Vec<u8>) {
    let mut create = Map::new();
    if let Some(index) = &settings.index {
        create.insert("_index".to_owned(), json!(index));
    }
    if let Some(id) = event.head().as_ref().and_then(|head| head.event_id()) {
        create.insert("_id".to_owned(), json!(id));
    }
    append(&json!({ "create": create }), out);
    out.push(b'\n');
    out.extend_from_slice(event.encoded);
    out.push(b'\n');
}

/// An incident, as alerts of other systems want it.
struct Incident(Value);

impl Incident {
    fn read(event: &Event<'_>) -> Self {
        Self(serde_json::from_slice(event.line).unwrap_or_default())
    }

    fn text(&self, pointer: &str) -> &str {
        self.0.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
    }

    /// The texts of a key of `alert.metadata`.
    fn facts(&self, key: &str) -> Vec<&str> {
        let list = self.0.pointer("/alert/metadata").and_then(|metadata| metadata.get(key)).and_then(Value::as_array);
        list.map(|list| list.iter().filter_map(Value::as_str).collect()).unwrap_or_default()
    }

    fn fact(&self, key: &str) -> &str {
        self.facts(key).first().copied().unwrap_or_default()
    }

    fn time(&self, pointer: &str) -> Option<time::OffsetDateTime> {
        parse_eve(self.text(pointer))
    }

    /// What happened, for people.
    fn description(&self) -> String {
        let mut text = self.text("/alert/signature").to_owned();
        for key in ["client", "service", "verdict", "ban", "scope", "site", "reasons", "names"] {
            if !self.facts(key).is_empty() {
                text.push_str(&format!("\n{key}: {}", self.facts(key).join("; ")));
            }
        }
        text
    }
}

/// An alert of TheHive (`POST /api/v1/alert`). Type, source and reference together are its identity.
fn thehive(event: &Event<'_>) -> Value {
    let incident = Incident::read(event);
    let severity = match incident.0.pointer("/alert/severity").and_then(Value::as_u64) {
        Some(1) => 3,
        Some(2) => 2,
        _ => 1,
    };
    let keys = ["service", "ban", "site", "verdict", "incident_state"].into_iter();
    let tags = keys.filter(|key| !incident.fact(key).is_empty());
    let tags: Vec<String> = tags.map(|key| format!("vigie:{key}={}", incident.fact(key))).collect();
    let address = Some(incident.text("/src_ip")).filter(|address| !address.is_empty());
    let address = address.map(|address| json!({ "dataType": "ip", "data": address }));
    let names = incident.facts("names");
    let names = names.iter().map(|name| json!({ "dataType": "fqdn", "data": name }));
    let milliseconds = incident.time("/timestamp").map_or(0, |time| time.unix_timestamp_nanos() / 1_000_000);
    let named = |text: &str, otherwise: &str| if text.is_empty() { otherwise.to_owned() } else { text.to_owned() };
    json!({
        "type": "vigie",
        "source": named(incident.text("/host"), "vigie"),
        "sourceRef": named(incident.fact("event_id"), incident.fact("incident")),
        "title": format!("{} {}", incident.text("/alert/signature"), incident.fact("incident")).trim_end(),
        "description": incident.description(),
        "severity": severity,
        "date": u64::try_from(milliseconds).unwrap_or(0),
        "tags": tags,
        "observables": address.into_iter().chain(names).collect::<Vec<_>>(),
    })
}

/// An alert of Alertmanager. Its labels are its identity, so they hold what stays the same while an incident is open.
fn alertmanager(event: &Event<'_>, resolve_after_s: u64) -> Value {
    let incident = Incident::read(event);
    let mut labels = json!({ "alertname": "VigieIncident" });
    for (label, value) in [
        ("incident", incident.fact("incident")),
        ("sensor", incident.text("/host")),
        ("service", incident.fact("service")),
        ("ban", incident.fact("ban")),
        ("site", incident.fact("site")),
    ] {
        if let Some(labels) = labels.as_object_mut().filter(|_| !value.is_empty()) {
            labels.insert(label.to_owned(), json!(value));
        }
    }
    let mut alert = Map::new();
    let now = incident.time("/timestamp");
    let first = incident.time("/alert/context/vigie/first").or(now);
    let is_closed = incident.fact("incident_state") == "closed";
    let resolve_after = time::Duration::seconds(i64::try_from(resolve_after_s).unwrap_or(i64::MAX));
    let end = now.and_then(|now| if is_closed { Some(now) } else { now.checked_add(resolve_after) });
    if let Some(first) = first {
        alert.insert("startsAt".to_owned(), json!(rfc3339(first)));
    }
    // Alertmanager refuses an alert that ends before it begins.
    if let Some(end) = end.filter(|end| Some(*end) >= first) {
        alert.insert("endsAt".to_owned(), json!(rfc3339(end)));
    }
    alert.insert("labels".to_owned(), labels);
    let annotations = json!({ "summary": incident.text("/alert/signature"), "description": incident.description() });
    alert.insert("annotations".to_owned(), annotations);
    Value::Object(alert)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::configuration::{Credentials, TlsSettings};
    use crate::selection::Class;

    const LINE: &str = r#"{"timestamp":"2026-11-27T18:58:14.000000+0000","event_type":"alert","src_ip":"10.0.0.1",
        "host":"tap","alert":{"gid":7,"signature":"vigie incident opened","severity":2,"metadata":{"event_id":["00aa"],
        "incident":["k7q2m-4x9d0-f"],"incident_state":["opened"],"service":["tiktok"],"names":["www.tiktok.com"]},
        "context":{"vigie":{"first":"2026-11-27T18:58:13.000000+0000"}}}}"#;

    fn body(format: WebhookFormat, line: &str) -> String {
        let settings = WebhookSettings {
            url: String::new(),
            format,
            credentials: Credentials::None,
            tls: TlsSettings::default(),
            proxy: None,
            timeout_s: 1,
            rejected_tries_max: 1,
            index: Some("vigie".to_owned()),
            source_type: "vigie:eve".to_owned(),
            resolve_after_s: 3_600,
        };
        let event = Event { line: line.as_bytes(), encoded: b"{\"e\":1}", class: Class::Incidents };
        let mut out = Vec::new();
        write(&settings, [event, event].into_iter(), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn bodies_are_what_receivers_take() {
        assert_eq!(body(WebhookFormat::Json, LINE), r#"[{"e":1},{"e":1}]"#);
        let one = r#"{"time":1795805894.0,"host":"tap","source":"vigie","sourcetype":"vigie:eve","index":"vigie","event":{"e":1}}"#;
        assert_eq!(body(WebhookFormat::SplunkHec, LINE), format!("{one}{one}"));
        let one = "{\"create\":{\"_index\":\"vigie\",\"_id\":\"00aa\"}}\n{\"e\":1}\n";
        assert_eq!(body(WebhookFormat::Elasticsearch, LINE), format!("{one}{one}"));
        assert!(body(WebhookFormat::Elasticsearch, "{}").starts_with("{\"create\":{\"_index\":\"vigie\"}}\n"));
    }

    #[test]
    fn an_incident_is_an_alert_that_ends_with_it() {
        let alerts: Value = serde_json::from_str(&body(WebhookFormat::Alertmanager, LINE)).unwrap();
        assert_eq!(alerts[0]["labels"]["incident"], "k7q2m-4x9d0-f");
        assert_eq!(alerts[0]["startsAt"], "2026-11-27T18:58:13Z");
        assert_eq!(alerts[0]["endsAt"], "2026-11-27T19:58:14Z");
        let closed = LINE.replace("[\"opened\"]", "[\"closed\"]");
        let closed: Value = serde_json::from_str(&body(WebhookFormat::Alertmanager, &closed)).unwrap();
        assert_eq!(closed[0]["endsAt"], "2026-11-27T18:58:14Z");
        assert_eq!(closed[0]["labels"], alerts[0]["labels"]);
        let alert = thehive(&Event { line: LINE.as_bytes(), encoded: b"", class: Class::Incidents });
        assert_eq!((&alert["sourceRef"], &alert["severity"]), (&json!("00aa"), &json!(2)));
        assert_eq!(alert["date"], 1_795_805_894_000_u64);
        assert_eq!(alert["observables"][1]["data"], "www.tiktok.com");
    }
}
