//! The Elastic Common Schema. Fields of version 8 that later versions kept; facts for which it has none stand under `vigie`.
//!
//! The client is both `client` and `source`, the server both `server` and `destination`, as the schema asks for where it is
//! known which is which. A TLS version or protocol that a hello only offers is not written as one that was agreed on.

use std::collections::HashSet;

use super::event::{Event, Hello, Subject, Time};
use super::json::{Object, object};

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

/// Appends an event as one object.
pub(super) fn encode(event: &Event<'_>, out: &mut Vec<u8>) {
    object(out, |out| {
        out.text("@timestamp", &*event.time().rfc_3339());
        out.object("ecs", |ecs| ecs.text("version", VERSION));
        out.text("message", event.name().1);
        out.object("event", |out| categories(event, out));
        out.object("observer", |out| observer(event, out));
        out.object("organization", |out| out.text("name", event.fact("ministry")));
        out.object("rule", |out| rule(event, out));
        out.object("source", |out| client(event, out));
        out.object("destination", |out| server(event, out));
        out.object("client", |out| client(event, out));
        out.object("server", |out| server(event, out));
        out.object("network", |out| network(event, out));
        let name = event.hello().and_then(Hello::sni);
        out.object("tls", |out| out.object("client", |out| out.text("server_name", name)));
        out.object("related", |out| related(event, out));
        out.object("vigie", |out| own(event, out));
    });
}

/// The field set `event`. Its categories are words of the schema.
fn categories(event: &Event<'_>, out: &mut Object<'_>) {
    let (kind, categories, types): (_, &[&str], &[&str]) = match event.subject() {
        Subject::Incident => ("alert", &["intrusion_detection", "network"], &["info"]),
        Subject::Alert => ("alert", &["intrusion_detection", "network"], &["allowed", "connection"]),
        Subject::Audit => ("event", &["configuration"], audit_type(event)),
        Subject::Stats => ("metric", &["network"], &["info"]),
        Subject::Flow => ("event", &["network"], &["connection"]),
    };
    let (start, end) = event.span();
    out.text("kind", kind);
    out.texts("category", categories.iter().copied());
    out.texts("type", types.iter().copied());
    out.text("action", &*event.action());
    out.text("id", event.fact("event_id"));
    out.text("module", "vigie");
    out.text("dataset", &*["vigie.", event.name().0].concat());
    out.number("severity", Some(event.alert.severity).filter(|_| &*event.event_type == "alert"));
    out.text("start", start.map(Time::rfc_3339).as_deref());
    out.text("end", end.map(Time::rfc_3339).as_deref());
    out.joined("reason", event.facts("reasons"), "; ");
}

fn audit_type(event: &Event<'_>) -> &'static [&'static str] {
    match event.fact("audit") {
        Some("reveal") => &["access"],
        Some("derogation-added" | "sealed") => &["creation"],
        _ => &["change"],
    }
}

fn observer(event: &Event<'_>, out: &mut Object<'_>) {
    out.text("vendor", "vigie");
    out.text("product", "vigie");
    out.text("type", "sensor");
    out.text("name", event.host.as_deref());
    let interface = event.in_iface.as_deref();
    out.object("ingress", |out| out.object("interface", |out| out.text("name", interface)));
}

fn rule(event: &Event<'_>, out: &mut Object<'_>) {
    if &*event.event_type != "alert" {
        return;
    }
    let alert = &event.alert;
    out.number_text("id", alert.signature_id);
    out.text("name", &*alert.signature);
    out.text("category", &*alert.category);
    out.number_text("version", alert.rev);
    out.text("ruleset", "vigie");
}

fn client(event: &Event<'_>, out: &mut Object<'_>) {
    match event.fact("client") {
        Some(client) => out.text("address", client),
        None => out.address("address", event.src_ip),
    }
    out.address("ip", event.src_ip);
    out.number("port", event.src_port.map(u64::from));
    out.number("bytes", event.bytes().0);
    out.number("packets", event.flow.pkts_toserver);
}

fn server(event: &Event<'_>, out: &mut Object<'_>) {
    let asn = event.fact("server_asn").and_then(|number| number.parse::<u64>().ok());
    // An incident may have servers in several countries; the field holds one.
    let country = event.fact("server_country").filter(|_| event.subject() != Subject::Incident);
    let name = event.server_name();
    match name {
        Some(name) => out.text("address", name),
        None => out.address("address", event.dest_ip),
    }
    out.address("ip", event.dest_ip);
    out.text("domain", name);
    out.number("port", event.dest_port.map(u64::from));
    out.number("bytes", event.bytes().1);
    out.number("packets", event.flow.pkts_toclient);
    out.object("as", |out| out.number("number", asn));
    out.object("geo", |out| out.text("country_iso_code", country));
}

fn network(event: &Event<'_>, out: &mut Object<'_>) {
    let sum = |(there, back): (Option<u64>, Option<u64>)| Some(there?.saturating_add(back?));
    let mut vlans = event.vlan.iter().map(|vlan| u64::from(*vlan));
    let (outer, inner) = (vlans.next(), vlans.next());
    let address = event.src_ip.or(event.dest_ip);
    out.text("transport", event.transport().as_deref());
    out.text("type", address.map(|address| if address.is_ipv4() { "ipv4" } else { "ipv6" }));
    out.text("protocol", event.application());
    out.text("community_id", event.community_id.as_deref());
    out.number("bytes", sum(event.bytes()));
    out.number("packets", sum((event.flow.pkts_toserver, event.flow.pkts_toclient)));
    out.object("vlan", |out| out.number_text("id", outer));
    out.object("inner", |out| out.object("vlan", |out| out.number_text("id", inner)));
}

/// What people search for in all events: addresses, names, and who did what is in the audit.
fn related(event: &Event<'_>, out: &mut Object<'_>) {
    let addresses: Vec<String> = [event.src_ip, event.dest_ip].iter().flatten().map(ToString::to_string).collect();
    out.texts("ip", addresses.iter().map(String::as_str));
    out.texts("hosts", event.names());
    out.texts("user", ["by", "second_person"].into_iter().filter_map(|key| event.fact(key)));
}

/// What the schema has no field for: all of `alert.metadata`, an incident's numbers, the hello, the sensor's counts.
fn own(event: &Event<'_>, out: &mut Object<'_>) {
    let mut once = Once::default();
    facts(event, &mut once, out);
    for (key, value) in event.numbers().iter().filter(|(key, _)| once.is_new(key)) {
        match value.as_str().and_then(Time::read) {
            Some(time) => out.text(key, &*time.rfc_3339()),
            None => out.value(key, Some(value)),
        }
    }
    for (key, value) in event.coverage().filter(|(key, _)| once.is_new(key)) {
        out.value(key, Some(value));
    }
    let hello = event.hello();
    if once.is_new("gid") {
        out.number("gid", Some(event.alert.gid).filter(|_| &*event.event_type == "alert"));
    }
    if once.is_new("flow_id") {
        out.number_text("flow_id", event.flow_id);
    }
    for (key, text) in [("ja4", hello.and_then(Hello::ja4)), ("hello_version", hello.and_then(Hello::version))] {
        if once.is_new(key) {
            out.text(key, text);
        }
    }
    rest(event, &mut once, out);
}

/// What has no field in either schema.
pub(super) fn rest<'e>(event: &'e Event<'_>, once: &mut Once<'e>, out: &mut Object<'_>) {
    let hello = event.hello();
    if once.is_new("alpn") {
        out.texts("alpn", hello.into_iter().flat_map(Hello::alpn));
    }
    if once.is_new("user_agent") {
        out.text("user_agent", hello.and_then(Hello::user_agent));
    }
    for (key, value) in [("tunnel_outer", &event.tunnel), ("dns", &event.dns), ("stats", &event.stats)] {
        if once.is_new(key) {
            out.value(key, value.as_ref());
        }
    }
    if once.is_new("truncated") {
        out.texts("truncated", event.truncated());
    }
}

/// The facts of an alert: lists are always arrays, all others single texts.
pub(super) fn facts<'e>(event: &'e Event<'_>, once: &mut Once<'e>, out: &mut Object<'_>) {
    for (key, texts) in event.alert.metadata.iter().filter(|(key, _)| once.is_new(key)) {
        match texts.as_slice() {
            [text] if !LISTS.contains(&key) => out.text(key, &**text),
            texts => out.texts(key, texts.iter().map(|text| &**text)),
        }
    }
}

/// Names of fields that come from the line, each of which an object has once. The first one stays.
#[derive(Default)]
pub(super) struct Once<'e>(HashSet<&'e str>);

impl<'e> Once<'e> {
    /// Whether the object has no field of this name yet; now it has.
    pub fn is_new(&mut self, key: &'e str) -> bool {
        self.0.insert(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    #[test]
    fn a_field_is_there_once_whatever_the_line_has() {
        let line = r#"{"timestamp":"2026-11-27T18:58:14.000000+0000","event_type":"alert","alert":{"gid":7,
            "metadata":{"gid":["a"],"dns":["b"],"dns":["c"]},"context":{"vigie":{"dns":1,"flows":2,"flows":3}}},"dns":{}}"#;
        let mut out = Vec::new();
        encode(&Event::read(line.as_bytes()).unwrap(), &mut out);
        let text = String::from_utf8(out).unwrap();
        let own: Value = serde_json::from_str::<Value>(&text).unwrap()["vigie"].clone();
        assert_eq!(own.to_string(), r#"{"gid":"a","dns":"b","flows":2}"#);
        assert_eq!((text.matches("\"dns\"").count(), text.matches("\"flows\"").count()), (1, 1));
    }
}
