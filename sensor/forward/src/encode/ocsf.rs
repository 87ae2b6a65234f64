//! The Open Cybersecurity Schema Framework: alerts are Network Activity with `is_alert`, incidents Detection Findings, audit
//! lines Entity Management, statistics Base Events. What a class has no field for stands under `unmapped`.

use super::ecs::{Once, facts, rest};
use super::event::{Event, Hello, Subject, Time};
use super::json::{Object, object};

/// The first version whose profile `security_control` has `is_alert`.
const VERSION: &str = "1.4.0";
/// Most names of an incident that become evidence; all of them are under `unmapped`.
const NAMES_MAX: usize = 64;

/// Appends an event as one object.
pub(super) fn encode(event: &Event<'_>, out: &mut Vec<u8>) {
    let class = Class::of(event);
    let (severity_id, severity) = severity(event);
    let (start, end) = event.span();
    object(out, |out| {
        out.number("activity_id", class.activity_id);
        out.number("category_uid", class.category_uid);
        out.number("class_uid", class.uid);
        out.text("class_name", class.name);
        out.number("type_uid", class.uid * 100 + class.activity_id);
        out.milliseconds("time", event.time().epoch_ms());
        out.milliseconds("start_time", start.map(Time::epoch_ms));
        out.milliseconds("end_time", end.map(Time::epoch_ms));
        out.number("severity_id", severity_id);
        out.text("severity", severity);
        out.text("message", event.name().1);
        out.object("metadata", |out| metadata(event, out));
        match event.subject() {
            Subject::Incident => finding(event, out),
            Subject::Alert | Subject::Flow => network_activity(event, out),
            Subject::Audit => entity_management(event, out),
            Subject::Stats => out.text("activity_name", event.name().0),
        }
        out.object("unmapped", |out| unmapped(event, out));
    });
}

/// A class of the schema, and what happened in it.
struct Class {
    uid: u64,
    name: &'static str,
    category_uid: u64,
    activity_id: u64,
}

impl Class {
    fn of(event: &Event<'_>) -> Self {
        let (uid, name, category_uid, activity_id) = match event.subject() {
            Subject::Incident => (2004, "Detection Finding", 2, state(event).activity_id),
            // The schema's activity for a report of traffic.
            Subject::Alert | Subject::Flow => (4001, "Network Activity", 4, 6),
            Subject::Audit => (3004, "Entity Management", 3, entity(event).0),
            // 99 is the schema's number for what has none.
            Subject::Stats => (0, "Base Event", 0, 99),
        };
        Self { uid, name, category_uid, activity_id }
    }
}

/// The schema counts upwards, EVE downwards.
fn severity(event: &Event<'_>) -> (u64, &'static str) {
    match (event.subject(), event.alert.severity) {
        (Subject::Stats | Subject::Flow, _) | (_, 4..) => (1, "Informational"),
        (_, 1) => (4, "High"),
        (_, 2) => (3, "Medium"),
        (_, 3) => (2, "Low"),
        (_, 0) => (0, "Unknown"),
    }
}

fn metadata(event: &Event<'_>, out: &mut Object<'_>) {
    out.text("version", VERSION);
    out.object("product", |out| {
        out.text("name", "vigie");
        out.text("vendor_name", "vigie");
    });
    let has_profile = matches!(event.subject(), Subject::Alert | Subject::Flow);
    out.texts("profiles", has_profile.then_some("security_control"));
    out.text("uid", event.fact("event_id"));
    out.text("original_time", &*event.timestamp);
    if &*event.event_type == "alert" {
        out.text("event_code", &*format!("{}:{}", event.alert.gid, event.alert.signature_id));
    }
    out.text("correlation_uid", event.fact("incident"));
    out.text("tenant_uid", event.fact("ministry"));
    out.text("log_provider", event.host.as_deref());
    out.text("log_name", &*event.event_type);
}

/// The state of an incident in the words of the schema.
struct State {
    activity_id: u64,
    status_id: u64,
    status: &'static str,
}

/// Which state an incident is in. A closed one is not resolved: nobody may have looked at it yet.
fn state(event: &Event<'_>) -> State {
    let (activity_id, status_id, status) = match (event.fact("incident_state"), event.fact("incident_closed")) {
        (Some("opened"), _) => (1, 1, "New"),
        (Some("closed"), Some("excused")) => (3, 3, "Suppressed"),
        (Some("closed"), _) => (3, 99, "Closed: "),
        _ => (2, 2, "In Progress"),
    };
    State { activity_id, status_id, status }
}

fn finding(event: &Event<'_>, out: &mut Object<'_>) {
    let State { status_id, status, .. } = state(event);
    let (first, last) = event.span();
    out.truth("is_alert", true);
    out.number("status_id", status_id);
    match status_id {
        99 => out.text("status", &*[status, event.fact("incident_closed").unwrap_or("no reason")].concat()),
        _ => out.text("status", status),
    }
    out.number("count", event.number("flows"));
    out.object("finding_info", |out| {
        out.text("uid", event.fact("incident").unwrap_or("unknown"));
        out.text("title", &*event.alert.signature);
        out.joined("desc", event.facts("reasons"), "; ");
        out.texts("types", [&*event.alert.category]);
        out.milliseconds("first_seen_time", first.map(Time::epoch_ms));
        out.milliseconds("last_seen_time", last.map(Time::epoch_ms));
        out.milliseconds("modified_time", event.time().epoch_ms());
        out.object("analytic", |out| {
            out.number("type_id", 1);
            out.text("type", "Rule");
            out.text("name", event.fact("ban_title").unwrap_or("vigie"));
            out.text("uid", event.fact("ban"));
        });
    });
    evidences(event, out);
    observables(event, ["evidences[].src_endpoint.ip", "evidences[].dst_endpoint.hostname"], out);
}

/// One for each name that the client contacted; without a name, the client.
fn evidences(event: &Event<'_>, out: &mut Object<'_>) {
    let has_client = event.src_ip.is_some() || event.fact("client").is_some();
    if event.names().next().is_some() {
        out.objects("evidences", event.names().take(NAMES_MAX), |out, name| {
            out.object("src_endpoint", |out| client_endpoint(event, out));
            out.object("dst_endpoint", |out| out.text("hostname", name));
        });
    } else {
        out.objects("evidences", has_client.then_some(()), |out, ()| {
            out.object("src_endpoint", |out| client_endpoint(event, out));
        });
    }
}

fn network_activity(event: &Event<'_>, out: &mut Object<'_>) {
    let (to_server, to_client) = event.bytes();
    let sum = |there: Option<u64>, back: Option<u64>| Some(there?.saturating_add(back?));
    let flow = &event.flow;
    let address = event.src_ip.or(event.dest_ip);
    if event.subject() == Subject::Alert {
        out.truth("is_alert", true);
        out.number("action_id", 1);
        out.text("action", "Allowed");
        out.number("disposition_id", 15);
        out.text("disposition", "Detected");
    }
    let (confidence_id, confidence) = match event.fact("confidence") {
        Some("high") => (Some(3), Some("High")),
        Some("medium") => (Some(2), Some("Medium")),
        Some("low") => (Some(1), Some("Low")),
        _ => (None, None),
    };
    out.number("confidence_id", confidence_id);
    out.text("confidence", confidence);
    out.object("policy", |out| out.text("uid", event.fact("ban")));
    out.text("app_name", event.fact("service_name"));
    out.object("src_endpoint", |out| client_endpoint(event, out));
    out.object("dst_endpoint", |out| server_endpoint(event, out));
    out.object("connection_info", |out| {
        out.number("direction_id", 0);
        out.text("direction", "Unknown");
        out.text("protocol_name", event.transport().as_deref());
        out.number("protocol_ver_id", address.map(|address| if address.is_ipv4() { 4 } else { 6 }));
        out.number_text("uid", event.flow_id);
        out.text("community_uid", event.community_id.as_deref());
    });
    out.object("traffic", |out| {
        out.number("bytes_out", to_server);
        out.number("bytes_in", to_client);
        out.number("bytes", sum(to_server, to_client));
        out.number("packets_out", flow.pkts_toserver);
        out.number("packets_in", flow.pkts_toclient);
        out.number("packets", sum(flow.pkts_toserver, flow.pkts_toclient));
    });
    out.object("tls", |out| tls(event, out));
    out.objects("ja4_fingerprint_list", event.hello().and_then(Hello::ja4), |out, ja4| {
        out.number("type_id", 1);
        out.text("type", "JA4");
        out.text("value", ja4);
    });
    observables(event, ["src_endpoint.ip", "dst_endpoint.hostname"], out);
}

/// The class needs a version. A hello tells the highest that it offers; of a version that is not told there is no object.
fn tls(event: &Event<'_>, out: &mut Object<'_>) {
    let Some(hello) = event.hello() else { return };
    // A QUIC event tells the version of QUIC; its TLS is 1.3 (RFC 9001 §4.2).
    let version = if event.is_quic() { Some("1.3") } else { hello.version() };
    if let Some(version) = version {
        out.text("version", version.trim_start_matches("TLS "));
        out.text("sni", hello.sni());
    }
}

/// The client: by its address, or by what stands for it.
fn client_endpoint(event: &Event<'_>, out: &mut Object<'_>) {
    if event.src_ip.is_some() {
        out.address("ip", event.src_ip);
        out.text("name", event.fact("device"));
        out.number("port", event.src_port.map(u64::from));
        out.number_text("vlan_uid", event.vlan.first().map(|vlan| u64::from(*vlan)));
        out.text("interface_name", event.in_iface.as_deref());
    } else if let Some(client) = event.fact("client") {
        out.text("uid", client);
        out.text("mac", Some(client).filter(|client| is_mac(client)));
        out.text("name", event.fact("device"));
    }
}

fn is_mac(text: &str) -> bool {
    text.len() == 17
        && text.split(':').all(|pair| pair.len() == 2 && pair.bytes().all(|digit| digit.is_ascii_hexdigit()))
}

fn server_endpoint(event: &Event<'_>, out: &mut Object<'_>) {
    let name = event.server_name();
    if event.dest_ip.is_none() && name.is_none() {
        return;
    }
    let asn = event.fact("server_asn").and_then(|number| number.parse::<u64>().ok());
    out.address("ip", event.dest_ip);
    out.text("hostname", name);
    out.number("port", event.dest_port.map(u64::from));
    out.object("autonomous_system", |out| out.number("number", asn));
    out.object("location", |out| out.text("country", event.fact("server_country")));
}

/// What people search for in all events, with the attributes in which it stands.
fn observables(event: &Event<'_>, [client, server]: [&str; 2], out: &mut Object<'_>) {
    let address = event.src_ip.map(|address| address.to_string());
    let address = address.iter().map(|address| (client, 2, "IP Address", address.as_str()));
    let names = event.names().take(NAMES_MAX).map(|name| (server, 1, "Hostname", name));
    out.objects("observables", address.chain(names), |out, (name, type_id, kind, value)| {
        out.text("name", name);
        out.number("type_id", type_id);
        out.text("type", kind);
        out.text("value", value);
    });
}

/// What was done to what: number of the activity, the kind of thing, and the fact that names it.
fn entity(event: &Event<'_>) -> (u64, &'static str, &'static str) {
    match event.fact("audit") {
        Some("reveal") => (2, "Pseudonym", "pseudonym"),
        Some("key-rotated") => (3, "Pseudonym key", "pseudonym_period"),
        Some("derogation-added") => (1, "Derogation", "derogation"),
        Some("derogation-ended") => (3, "Derogation", "derogation"),
        Some("disposition") => (3, "Incident", "incident"),
        Some("policy-changed") => (3, "Policy", "policy"),
        Some("sealed") => (1, "Journal segment", "segment"),
        _ => (99, "Other", "audit"),
    }
}

/// Who did what to what.
fn entity_management(event: &Event<'_>, out: &mut Object<'_>) {
    let (activity_id, kind, uid) = entity(event);
    let action = event.action();
    out.text("activity_name", Some(&*action).filter(|_| activity_id == 99));
    out.object("entity", |out| {
        out.text("name", kind);
        out.text("type", kind);
        out.text("uid", event.fact(uid));
    });
    out.object("actor", |out| out.object("user", |out| out.text("name", event.fact("by"))));
    out.text("comment", event.fact("reason").or_else(|| event.fact("note")).or_else(|| event.fact("reference")));
}

/// All facts for which the schema has no field, and those for which it has one too: nobody has to know which.
fn unmapped(event: &Event<'_>, out: &mut Object<'_>) {
    let mut once = Once::default();
    // It is `metadata.uid`.
    once.is_new("event_id");
    facts(event, &mut once, out);
    for (key, value) in event.numbers().iter().chain(event.coverage()) {
        if once.is_new(key) {
            out.value(key, Some(value));
        }
    }
    if once.is_new("quic_version") {
        out.text("quic_version", event.hello().filter(|_| event.is_quic()).and_then(Hello::version));
    }
    rest(event, &mut once, out);
}
