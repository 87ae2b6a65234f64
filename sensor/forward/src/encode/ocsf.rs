//! The Open Cybersecurity Schema Framework: alerts are Network Activity with `is_alert`, incidents Detection Findings, audit
//! lines Entity Management, statistics Base Events. What a class has no field for stands under `unmapped`.

use serde_json::{Map, Value, json};

use super::ecs::facts;
use super::event::{Event, Subject};

/// The first version whose profile `security_control` has `is_alert`.
const VERSION: &str = "1.4.0";
/// Most names of an incident that become evidence; all of them are under `unmapped`.
const NAMES_MAX: usize = 64;

/// An event as one object.
pub(super) fn encode(event: &Event) -> Value {
    let (class, fields) = match event.subject() {
        Subject::Incident => finding(event),
        Subject::Alert | Subject::Flow => network_activity(event),
        Subject::Audit => entity_management(event),
        Subject::Stats => (Class::BASE, json!({"activity_name": event.name().0})),
    };
    let (severity_id, severity) = severity(event);
    let (start, end) = event.span();
    let Class { uid, category_uid, activity_id, .. } = class;
    let mut out = json!({
        "activity_id": activity_id,
        "category_uid": category_uid,
        "class_uid": uid,
        "class_name": class.name,
        "type_uid": uid * 100 + activity_id,
        "time": event.time().epoch_ms(),
        "start_time": start.map(super::event::Time::epoch_ms),
        "end_time": end.map(super::event::Time::epoch_ms),
        "severity_id": severity_id,
        "severity": severity,
        "message": event.name().1,
        "metadata": metadata(event),
    });
    let unmapped = Some(unmapped(event)).filter(|unmapped| !unmapped.is_empty());
    if let (Value::Object(out), Value::Object(fields)) = (&mut out, fields) {
        out.extend(fields);
        out.insert("unmapped".to_owned(), unmapped.map_or(Value::Null, Value::Object));
    }
    without_nulls(out)
}

/// A class of the schema, and what happened in it.
struct Class {
    uid: u32,
    name: &'static str,
    category_uid: u32,
    activity_id: u32,
}

impl Class {
    /// 99 is the schema's number for what has none.
    const BASE: Self = Self { uid: 0, name: "Base Event", category_uid: 0, activity_id: 99 };

    const fn finding(activity_id: u32) -> Self {
        Self { uid: 2004, name: "Detection Finding", category_uid: 2, activity_id }
    }

    const fn entity_management(activity_id: u32) -> Self {
        Self { uid: 3004, name: "Entity Management", category_uid: 3, activity_id }
    }

    const fn network_activity(activity_id: u32) -> Self {
        Self { uid: 4001, name: "Network Activity", category_uid: 4, activity_id }
    }
}

/// The schema counts upwards, EVE downwards.
fn severity(event: &Event) -> (u32, &'static str) {
    match (event.subject(), event.alert.severity) {
        (Subject::Stats | Subject::Flow, _) | (_, 4..) => (1, "Informational"),
        (_, 1) => (4, "High"),
        (_, 2) => (3, "Medium"),
        (_, 3) => (2, "Low"),
        (_, 0) => (0, "Unknown"),
    }
}

fn metadata(event: &Event) -> Value {
    let is_alert = event.event_type == "alert";
    let profiles = matches!(event.subject(), Subject::Alert | Subject::Flow).then(|| json!(["security_control"]));
    json!({
        "version": VERSION,
        "product": {"name": "vigie", "vendor_name": "vigie"},
        "profiles": profiles,
        "uid": event.fact("event_id"),
        "original_time": event.timestamp,
        "event_code": is_alert.then(|| format!("{}:{}", event.alert.gid, event.alert.signature_id)),
        "correlation_uid": event.fact("incident"),
        "tenant_uid": event.fact("ministry"),
        "log_provider": event.host,
        "log_name": event.event_type,
    })
}

/// Which state an incident is in. A closed one is not resolved: nobody may have looked at it yet.
fn finding(event: &Event) -> (Class, Value) {
    let closed = event.fact("incident_closed");
    let (activity_id, status_id, status) = match (event.fact("incident_state"), closed) {
        (Some("opened"), _) => (1, 1, "New".to_owned()),
        (Some("closed"), Some("excused")) => (3, 3, "Suppressed".to_owned()),
        (Some("closed"), why) => (3, 99, format!("Closed: {}", why.unwrap_or("no reason"))),
        _ => (2, 2, "In Progress".to_owned()),
    };
    let (first, last) = event.span();
    let reasons = event.facts("reasons");
    let fields = json!({
        "is_alert": true,
        "status_id": status_id,
        "status": status,
        "count": event.number("flows"),
        "finding_info": {
            "uid": event.fact("incident").unwrap_or("unknown"),
            "title": event.alert.signature,
            "desc": (!reasons.is_empty()).then(|| reasons.join("; ")),
            "types": [event.alert.category],
            "first_seen_time": first.map(super::event::Time::epoch_ms),
            "last_seen_time": last.map(super::event::Time::epoch_ms),
            "modified_time": event.time().epoch_ms(),
            "analytic": {"type_id": 1, "type": "Rule", "name": event.fact("ban_title").unwrap_or("vigie"), "uid": event.fact("ban")},
        },
        "evidences": evidences(event),
        "observables": observables(event, "evidences[].src_endpoint.ip", "evidences[].dst_endpoint.hostname"),
    });
    (Class::finding(activity_id), fields)
}

/// One for each name that the client contacted.
fn evidences(event: &Event) -> Option<Vec<Value>> {
    let source = client_endpoint(event);
    let names = event.names();
    if names.is_empty() {
        return source.map(|source| vec![json!({"src_endpoint": source})]);
    }
    Some(
        names
            .into_iter()
            .take(NAMES_MAX)
            .map(|name| json!({"src_endpoint": source, "dst_endpoint": {"hostname": name}}))
            .collect(),
    )
}

fn network_activity(event: &Event) -> (Class, Value) {
    let is_alert = event.subject() == Subject::Alert;
    let (to_server, to_client) = event.bytes();
    let sum = |there: Option<u64>, back: Option<u64>| Some(there?.saturating_add(back?));
    let flow = &event.flow;
    let address = event.src_ip.or(event.dest_ip);
    let (confidence_id, confidence) = match event.fact("confidence") {
        Some("high") => (Some(3), Some("High")),
        Some("medium") => (Some(2), Some("Medium")),
        Some("low") => (Some(1), Some("Low")),
        _ => (None, None),
    };
    let hello = event.hello();
    let ja4 = hello.and_then(|hello| hello.ja4.as_deref());
    let fields = json!({
        "is_alert": is_alert.then_some(true),
        "action_id": is_alert.then_some(1),
        "action": is_alert.then_some("Allowed"),
        "disposition_id": is_alert.then_some(15),
        "disposition": is_alert.then_some("Detected"),
        "confidence_id": confidence_id,
        "confidence": confidence,
        "policy": event.fact("ban").map(|ban| json!({"uid": ban})),
        "app_name": event.fact("service_name"),
        "src_endpoint": client_endpoint(event),
        "dst_endpoint": server_endpoint(event),
        "connection_info": {
            "direction_id": 0,
            "direction": "Unknown",
            "protocol_name": event.transport(),
            "protocol_ver_id": address.map(|address| if address.is_ipv4() { 4 } else { 6 }),
            "uid": event.flow_id.map(|id| id.to_string()),
            "community_uid": event.community_id,
        },
        "traffic": {
            "bytes_out": to_server,
            "bytes_in": to_client,
            "bytes": sum(to_server, to_client),
            "packets_out": flow.pkts_toserver,
            "packets_in": flow.pkts_toclient,
            "packets": sum(flow.pkts_toserver, flow.pkts_toclient),
        },
        "tls": tls(event),
        "ja4_fingerprint_list": ja4.map(|ja4| json!([{"type_id": 1, "type": "JA4", "value": ja4}])),
        "observables": observables(event, "src_endpoint.ip", "dst_endpoint.hostname"),
    });
    // The schema's activity for a report of traffic.
    (Class::network_activity(6), fields)
}

/// The class needs a version. A hello tells the highest that it offers; of a version that is not told there is no object.
fn tls(event: &Event) -> Option<Value> {
    let hello = event.hello()?;
    // A QUIC event tells the version of QUIC; its TLS is 1.3 (RFC 9001 §4.2).
    let version = if event.is_quic() {
        Some("1.3")
    } else {
        hello.version.as_deref().map(|text| text.trim_start_matches("TLS "))
    };
    Some(json!({"version": version?, "sni": hello.sni}))
}

/// The client: by its address, or by what stands for it.
fn client_endpoint(event: &Event) -> Option<Value> {
    if let Some(address) = event.src_ip {
        let vlan = event.vlan.first().map(ToString::to_string);
        return Some(json!({
            "ip": address.to_string(),
            "name": event.fact("device"),
            "port": event.src_port,
            "vlan_uid": vlan,
            "interface_name": event.in_iface,
        }));
    }
    let client = event.client()?;
    let mac = is_mac(&client).then_some(&client);
    Some(json!({"uid": client, "mac": mac, "name": event.fact("device")}))
}

fn is_mac(text: &str) -> bool {
    text.len() == 17
        && text.split(':').all(|pair| pair.len() == 2 && pair.bytes().all(|digit| digit.is_ascii_hexdigit()))
}

fn server_endpoint(event: &Event) -> Option<Value> {
    let (address, name) = (event.dest_ip.map(|address| address.to_string()), event.server_name());
    if address.is_none() && name.is_none() {
        return None;
    }
    let asn = event.fact("server_asn").and_then(|number| number.parse::<u64>().ok());
    Some(json!({
        "ip": address,
        "hostname": name,
        "port": event.dest_port,
        "autonomous_system": asn.map(|number| json!({"number": number})),
        "location": event.fact("server_country").map(|country| json!({"country": country})),
    }))
}

/// What people search for in all events, with the attributes in which it stands.
fn observables(event: &Event, client: &str, server: &str) -> Option<Vec<Value>> {
    let client = event
        .src_ip
        .map(|address| json!({"name": client, "type_id": 2, "type": "IP Address", "value": address.to_string()}));
    let names = event.names().into_iter().take(NAMES_MAX);
    let names = names.map(|name| json!({"name": server, "type_id": 1, "type": "Hostname", "value": name}));
    Some(client.into_iter().chain(names).collect::<Vec<_>>()).filter(|list| !list.is_empty())
}

/// Who did what to what.
fn entity_management(event: &Event) -> (Class, Value) {
    let (activity_id, kind, uid) = match event.fact("audit") {
        Some("reveal") => (2, "Pseudonym", "pseudonym"),
        Some("key-rotated") => (3, "Pseudonym key", "pseudonym_period"),
        Some("derogation-added") => (1, "Derogation", "derogation"),
        Some("derogation-ended") => (3, "Derogation", "derogation"),
        Some("disposition") => (3, "Incident", "incident"),
        Some("policy-changed") => (3, "Policy", "policy"),
        Some("sealed") => (1, "Journal segment", "segment"),
        _ => (99, "Other", "audit"),
    };
    let why = event.fact("reason").or_else(|| event.fact("note")).or_else(|| event.fact("reference"));
    let fields = json!({
        "activity_name": (activity_id == 99).then(|| event.action()),
        "entity": {"name": kind, "type": kind, "uid": event.fact(uid)},
        "actor": event.fact("by").map(|name| json!({"user": {"name": name}})),
        "comment": why,
    });
    (Class::entity_management(activity_id), fields)
}

/// All facts for which the schema has no field, and those for which it has one too: nobody has to know which.
fn unmapped(event: &Event) -> Map<String, Value> {
    let mut rest = facts(&event.alert.metadata);
    rest.shift_remove("event_id");
    rest.extend(event.numbers().clone());
    rest.extend(event.coverage().map(|(key, value)| (key.to_owned(), value.clone())));
    let flowbits = &event.metadata.flowbits;
    let hello = event.hello();
    let more = json!({
        "quic_version": hello.filter(|_| event.is_quic()).and_then(|hello| hello.version.as_deref()),
        "alpn": hello.map(super::event::Hello::alpn).filter(|list| !list.is_empty()),
        "user_agent": hello.and_then(|hello| hello.ua.as_deref()),
        "tunnel_outer": event.tunnel,
        "dns": event.dns,
        "stats": event.stats,
        "truncated": (!flowbits.is_empty()).then_some(flowbits),
    });
    if let Value::Object(more) = without_nulls(more) {
        rest.extend(more);
    }
    rest
}

/// The schema has no nulls: a field that has no value is not there, nor an object that has no field.
fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields = fields.into_iter().map(|(key, value)| (key, without_nulls(value)));
            let is_filled =
                |value: &Value| !value.is_null() && value.as_object().is_none_or(|fields| !fields.is_empty());
            Value::Object(fields.filter(|(_, value)| is_filled(value)).collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(without_nulls).collect()),
        other => other,
    }
}
