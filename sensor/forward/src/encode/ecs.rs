//! The Elastic Common Schema. Fields of version 8 that later versions kept; facts for which it has none stand under `vigie`.
//!
//! The client is both `client` and `source`, the server both `server` and `destination`, as the schema asks for where it is
//! known which is which. A TLS version or protocol that a hello only offers is not written as one that was agreed on.

use serde_json::{Map, Value, json};

use super::event::{Event, Metadata, Subject};

/// The version of the schema.
const VERSION: &str = "8.11.0";

/// Keys of `alert.metadata` that may hold several values. They are always arrays, all others are single texts.
pub(super) const LISTS: [&str; 11] = [
    "ban",
    "desync",
    "families",
    "incident",
    "names",
    "reasons",
    "region",
    "scope",
    "server_country",
    "site",
    "sources",
];

/// An event as one object.
pub(super) fn encode(event: &Event) -> Value {
    let time = event.time().rfc_3339();
    let (_, text) = event.name();
    let mut out = Map::new();
    put(&mut out, "@timestamp", time);
    put(&mut out, "ecs", json!({"version": VERSION}));
    put(&mut out, "message", text);
    put(&mut out, "event", categories(event));
    put(&mut out, "observer", observer(event));
    put_filled(&mut out, "organization", object([("name", event.fact("ministry").map(Value::from))]));
    put_filled(&mut out, "rule", rule(event));
    let (client, server) = (client(event), server(event));
    put_filled(&mut out, "source", client.clone());
    put_filled(&mut out, "destination", server.clone());
    put_filled(&mut out, "client", client);
    put_filled(&mut out, "server", server);
    put_filled(&mut out, "network", network(event));
    put_filled(&mut out, "tls", tls(event));
    put_filled(&mut out, "related", related(event));
    put_filled(&mut out, "vigie", own(event));
    Value::Object(out)
}

fn put(out: &mut Map<String, Value>, key: &str, value: impl Into<Value>) {
    out.insert(key.to_owned(), value.into());
}

fn put_filled(out: &mut Map<String, Value>, key: &str, value: Map<String, Value>) {
    if !value.is_empty() {
        put(out, key, value);
    }
}

/// An object of the fields that have a value.
fn object<const N: usize>(fields: [(&str, Option<Value>); N]) -> Map<String, Value> {
    let filled = fields.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?)));
    filled.collect()
}

/// The field set `event`. Its categories are words of the schema.
fn categories(event: &Event) -> Map<String, Value> {
    let (kind, categories, types) = match event.subject() {
        Subject::Incident => ("alert", json!(["intrusion_detection", "network"]), json!(["info"])),
        Subject::Alert => ("alert", json!(["intrusion_detection", "network"]), json!(["allowed", "connection"])),
        Subject::Audit => ("event", json!(["configuration"]), audit_type(event)),
        Subject::Stats => ("metric", json!(["network"]), json!(["info"])),
        Subject::Flow => ("event", json!(["network"]), json!(["connection"])),
    };
    let (start, end) = event.span();
    let (dataset, _) = event.name();
    let reasons = event.facts("reasons");
    object([
        ("kind", Some(kind.into())),
        ("category", Some(categories)),
        ("type", Some(types)),
        ("action", Some(event.action().into())),
        ("id", event.fact("event_id").map(Value::from)),
        ("module", Some("vigie".into())),
        ("dataset", Some(format!("vigie.{dataset}").into())),
        ("severity", Some(event.alert.severity.into()).filter(|_| event.event_type == "alert")),
        ("start", start.map(|time| time.rfc_3339().into())),
        ("end", end.map(|time| time.rfc_3339().into())),
        ("reason", Some(reasons.join("; ").into()).filter(|_| !reasons.is_empty())),
    ])
}

fn audit_type(event: &Event) -> Value {
    match event.fact("audit") {
        Some("reveal") => json!(["access"]),
        Some("derogation-added" | "sealed") => json!(["creation"]),
        _ => json!(["change"]),
    }
}

fn observer(event: &Event) -> Map<String, Value> {
    let interface = event.in_iface.as_ref().map(|name| json!({"interface": {"name": name}}));
    object([
        ("vendor", Some("vigie".into())),
        ("product", Some("vigie".into())),
        ("type", Some("sensor".into())),
        ("name", event.host.clone().map(Value::from)),
        ("ingress", interface),
    ])
}

fn rule(event: &Event) -> Map<String, Value> {
    if event.event_type != "alert" {
        return Map::new();
    }
    let alert = &event.alert;
    object([
        ("id", Some(alert.signature_id.to_string().into())),
        ("name", Some(alert.signature.as_str().into())),
        ("category", Some(alert.category.as_str().into())),
        ("version", Some(alert.rev.to_string().into())),
        ("ruleset", Some("vigie".into())),
    ])
}

fn client(event: &Event) -> Map<String, Value> {
    object([
        ("address", event.client().map(Value::from)),
        ("ip", event.src_ip.map(|address| address.to_string().into())),
        ("port", event.src_port.map(Value::from)),
        ("bytes", event.bytes().0.map(Value::from)),
        ("packets", event.flow.pkts_toserver.map(Value::from)),
    ])
}

fn server(event: &Event) -> Map<String, Value> {
    let address = event.dest_ip.map(|address| Value::from(address.to_string()));
    let asn = event.fact("server_asn").and_then(|number| number.parse::<u64>().ok());
    // An incident may have servers in several countries; the field holds one.
    let country = event.fact("server_country").filter(|_| event.subject() != Subject::Incident);
    let name = event.server_name().map(Value::from);
    object([
        ("address", name.clone().or_else(|| address.clone())),
        ("ip", address),
        ("domain", name),
        ("port", event.dest_port.map(Value::from)),
        ("bytes", event.bytes().1.map(Value::from)),
        ("packets", event.flow.pkts_toclient.map(Value::from)),
        ("as", asn.map(|number| json!({"number": number}))),
        ("geo", country.map(|code| json!({"country_iso_code": code}))),
    ])
}

fn network(event: &Event) -> Map<String, Value> {
    let sum = |(there, back): (Option<u64>, Option<u64>)| Some(there?.saturating_add(back?));
    let mut vlans = event.vlan.iter().map(|vlan| json!({"id": vlan.to_string()}));
    let (outer, inner) = (vlans.next(), vlans.next());
    let address = event.src_ip.or(event.dest_ip);
    object([
        ("transport", event.transport().map(Value::from)),
        ("type", address.map(|address| if address.is_ipv4() { "ipv4" } else { "ipv6" }.into())),
        ("protocol", event.application().map(Value::from)),
        ("community_id", event.community_id.clone().map(Value::from)),
        ("bytes", sum(event.bytes()).map(Value::from)),
        ("packets", sum((event.flow.pkts_toserver, event.flow.pkts_toclient)).map(Value::from)),
        ("vlan", outer),
        ("inner", inner.map(|vlan| json!({"vlan": vlan}))),
    ])
}

fn tls(event: &Event) -> Map<String, Value> {
    let name = event.hello().and_then(|hello| hello.sni.as_deref());
    object([("client", name.map(|name| json!({"server_name": name})))])
}

/// What people search for in all events: addresses, names, and who did what is in the audit.
fn related(event: &Event) -> Map<String, Value> {
    let addresses: Vec<Value> =
        [event.src_ip, event.dest_ip].iter().flatten().map(|ip| ip.to_string().into()).collect();
    let names = event.names();
    let users: Vec<&str> = ["by", "second_person"].into_iter().filter_map(|key| event.fact(key)).collect();
    object([
        ("ip", Some(addresses).filter(|list| !list.is_empty()).map(Value::from)),
        ("hosts", Some(names).filter(|list| !list.is_empty()).map(Value::from)),
        ("user", Some(users).filter(|list| !list.is_empty()).map(Value::from)),
    ])
}

/// What the schema has no field for: all of `alert.metadata`, an incident's numbers, the hello, the sensor's counts.
fn own(event: &Event) -> Map<String, Value> {
    let mut own = facts(&event.alert.metadata);
    for (key, value) in event.numbers() {
        let time = value.as_str().and_then(super::event::Time::read);
        put(&mut own, key, time.map_or_else(|| value.clone(), |time| time.rfc_3339().into()));
    }
    for (key, value) in event.coverage() {
        put(&mut own, key, value.clone());
    }
    let flowbits = &event.metadata.flowbits;
    let hello = event.hello();
    own.extend(object([
        ("gid", Some(event.alert.gid.into()).filter(|_| event.event_type == "alert")),
        ("flow_id", event.flow_id.map(|id| id.to_string().into())),
        ("ja4", hello.and_then(|hello| hello.ja4.clone()).map(Value::from)),
        ("hello_version", hello.and_then(|hello| hello.version.clone()).map(Value::from)),
        ("alpn", hello.map(super::event::Hello::alpn).filter(|list| !list.is_empty()).map(Value::from)),
        ("user_agent", hello.and_then(|hello| hello.ua.clone()).map(Value::from)),
        ("tunnel_outer", event.tunnel.clone()),
        ("dns", event.dns.clone()),
        ("stats", event.stats.clone()),
        ("truncated", Some(flowbits.clone().into()).filter(|_| !flowbits.is_empty())),
    ]));
    own
}

/// The facts of an alert: lists are always arrays, all others single texts.
pub(super) fn facts(metadata: &Metadata) -> Map<String, Value> {
    let filled = metadata.0.iter().filter(|(_, texts)| !texts.is_empty());
    let value = |key: &str, texts: &Vec<String>| match texts.as_slice() {
        [text] if !LISTS.contains(&key) => text.as_str().into(),
        texts => texts.to_vec().into(),
    };
    filled.map(|(key, texts)| (key.clone(), value(key, texts))).collect()
}
