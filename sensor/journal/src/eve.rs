//! Records as Suricata EVE JSON, one object a line, so that whatever reads Suricata reads them.
//!
//! Shapes, names and words are those of Suricata's EVE output (event types `alert`, `tls`, `quic`, `http`, `dns`, `flow`,
//! `stats`); facts that it has no field for stand under `alert.metadata`, as arrays of strings. Source is always the
//! client, destination the server.

mod audit;
mod coverage;
mod dns;
mod incident;
mod time;
#[cfg(test)]
mod tests;

pub use audit::encode_audit;
pub use coverage::encode_coverage;
pub use incident::encode_incident;
pub use time::time_us;

use crate::community_id::{ICMP, ICMP6, community_id, icmp_message};
use crate::json::{self, Object};
use crate::record::{Alert, Body, Flow, FlowEnd, FlowEndReason, Hello, HelloTransport, Record, Stats, Truncated};

const TCP: u8 = 6;
const UDP: u8 = 17;
const SCTP: u8 = 132;

/// Suricata's name for a breach of policy, as in its `classification.config`.
const CATEGORY: &str = "Potential Corporate Privacy Violation";

/// The generator (`alert.gid`) of alerts on single flows.
pub const GENERATOR_SIGHTING: u64 = 1;
/// The generator of incidents.
pub const GENERATOR_INCIDENT: u64 = 7;
/// The generator of audit lines.
pub const GENERATOR_AUDIT: u64 = 8;
/// What every line of an incident has, and few others: a search for it is cheaper than a parser.
pub const INCIDENT_MARK: &[u8] = b"\"gid\":7,";
/// What every audit line has, and few others.
pub const AUDIT_MARK: &[u8] = b"\"gid\":8,";

/// Room made for a line before it is written; longer lines make more.
const LINE_BYTES_USUAL: usize = 2048;

/// Appends `record` as one line, newline included.
pub fn encode(record: &Record<'_>, out: &mut Vec<u8>) {
    out.reserve(LINE_BYTES_USUAL);
    let mut object = Object::open(out);
    object.time("timestamp", record.timestamp_ns);
    let flow = &record.flow;
    match &record.body {
        Body::Alert(alert) => {
            write_head(&mut object, record, "alert");
            object.text("direction", "to_server");
            object.text("app_proto", alert.app_proto);
            write_alert(&mut object, alert, flow);
            if let Some(hello) = &alert.hello {
                write_hello(&mut object, hello);
            }
            let mut counts = object.object("flow");
            write_flow_counts(&mut counts, flow);
            counts.close();
        }
        Body::Hello(hello) => {
            let name = hello_name(hello);
            write_head(&mut object, record, name);
            object.text("direction", "to_server");
            object.text("app_proto", name);
            write_hello(&mut object, hello);
        }
        Body::Http(request) => {
            write_head(&mut object, record, "http");
            object.text("direction", "to_server");
            object.text("app_proto", "http");
            let mut fields = object.object("http");
            fields.text("hostname", request.hostname);
            fields.optional_text("http_method", request.method);
            fields.close();
        }
        Body::Dns(answer) => {
            write_head(&mut object, record, "dns");
            object.text("app_proto", "dns");
            dns::write(&mut object, answer);
        }
        Body::FlowEnd(end) => {
            write_head(&mut object, record, "flow");
            write_flow_end(&mut object, flow, *end);
        }
    }
    write_truncated(&mut object, record);
    object.close();
    out.push(b'\n');
}

/// Writes which texts are not whole. Suricata's objects have no field for that, but its events may have flow bits.
fn write_truncated(object: &mut Object<'_>, record: &Record<'_>) {
    if record.truncated == Truncated::default() {
        return;
    }
    let Truncated { server_name, alpn, user_agent, name_as_sent, answers } = record.truncated;
    let words = [
        (server_name, "sni_truncated"),
        (alpn, "client_alpns_truncated"),
        (user_agent, "ua_truncated"),
        (name_as_sent, "name_as_sent_truncated"),
        (answers, "answers_truncated"),
    ];
    let mut metadata = object.object("metadata");
    metadata.texts("flowbits", words.into_iter().filter(|(is_truncated, _)| *is_truncated).map(|(_, word)| word));
    metadata.close();
}

/// Appends a `stats` record as one line, newline included.
pub fn encode_stats(stats: &Stats, host: Option<&str>, out: &mut Vec<u8>) {
    let mut object = Object::open(out);
    object.time("timestamp", stats.timestamp_ns);
    object.text("event_type", "stats");
    object.optional_text("host", host);
    let mut fields = object.object("stats");
    fields.number("uptime", stats.uptime_s);
    let mut section = |name: &str, numbers: &[(&str, u64)]| {
        let mut section = fields.object(name);
        for &(key, number) in numbers {
            section.number(key, number);
        }
        section.close();
    };
    section(
        "capture",
        &[
            ("kernel_packets", stats.kernel_packets),
            ("kernel_drops", stats.kernel_drops),
            ("kernel_ifdrops", stats.kernel_ifdrops),
        ],
    );
    section("decoder", &[("pkts", stats.packets), ("bytes", stats.bytes), ("invalid", stats.invalid)]);
    section("flow", &[("total", stats.flows), ("active", stats.flows_active)]);
    section("detect", &[("alert", stats.alerts), ("alert_queue_overflow", stats.alerts_lost)]);
    fields.close();
    object.close();
    out.push(b'\n');
}

/// Writes what all events begin with.
fn write_head(object: &mut Object<'_>, record: &Record<'_>, event_type: &str) {
    let flow = &record.flow;
    object.number("flow_id", flow.id);
    if let Some(number) = record.frame_number {
        object.number("pcap_cnt", number);
    }
    object.optional_text("in_iface", flow.interface);
    object.text("event_type", event_type);
    write_vlans(object, flow.vlans);
    let has_ports = matches!(flow.protocol, TCP | UDP | SCTP);
    let is_pseudonymous = flow.pseudonym_period.is_some();
    object.address("src_ip", flow.client);
    if has_ports && !is_pseudonymous {
        object.number("src_port", flow.client_port.into());
    }
    object.address("dest_ip", flow.server);
    if has_ports {
        object.number("dest_port", flow.server_port.into());
    }
    write_protocol(object, flow.protocol);
    if let Some((message, code)) = icmp_message(flow.protocol, flow.client_port, flow.server_port) {
        object.number("icmp_type", message.into());
        object.number("icmp_code", code.into());
    }
    object.number("ip_v", if flow.client.is_ipv4() { 4 } else { 6 });
    if record.frame_number.is_some() {
        object.text("pkt_src", "wire/pcap");
    }
    if !is_pseudonymous {
        let id = community_id(flow.protocol, (flow.client, flow.client_port), (flow.server, flow.server_port));
        object.text("community_id", std::str::from_utf8(&id).unwrap_or_default());
    }
    object.optional_text("host", record.host);
    write_tunnel(object, flow);
}

fn write_vlans(object: &mut Object<'_>, vlans: &[u16]) {
    if vlans.is_empty() {
        return;
    }
    let out = object.key("vlan");
    let mut mark = b'[';
    for &vlan in vlans {
        out.push(mark);
        json::decimal(out, vlan.into());
        mark = b',';
    }
    out.push(b']');
}

/// Suricata's protocol names; three digits where it has none.
fn write_protocol(object: &mut Object<'_>, protocol: u8) {
    let name = match protocol {
        TCP => "TCP",
        UDP => "UDP",
        ICMP => "ICMP",
        2 => "IGMP",
        47 => "GRE",
        50 => "ESP",
        51 => "AH",
        ICMP6 => "IPv6-ICMP",
        SCTP => "SCTP",
        _ => return object.text("proto", &format!("{protocol:03}")),
    };
    object.text("proto", name);
}

/// The outermost tunnel: its ends and the protocol that carried it.
fn write_tunnel(object: &mut Object<'_>, flow: &Flow<'_>) {
    let Some(outer) = &flow.tunnel else { return };
    let mut tunnel = object.object("tunnel");
    if let Some(source) = outer.source {
        tunnel.address("src_ip", source);
    }
    if let Some(destination) = outer.destination {
        tunnel.address("dest_ip", destination);
    }
    tunnel.text("proto", outer.carrier);
    tunnel.number("depth", outer.depth.into());
    tunnel.close();
}

fn write_alert(object: &mut Object<'_>, alert: &Alert<'_>, flow: &Flow<'_>) {
    let signature = &alert.signature;
    let mut fields = object.object("alert");
    fields.text("action", "allowed");
    fields.number("gid", GENERATOR_SIGHTING);
    fields.number("signature_id", signature.id.into());
    fields.number("rev", 1);
    fields.text("signature", signature.text);
    fields.text("category", CATEGORY);
    fields.number("severity", signature.severity.into());
    let mut metadata = fields.object("metadata");
    write_metadata(&mut metadata, alert, flow);
    metadata.close();
    fields.close();
}

/// Facts for which EVE has no field.
fn write_metadata(metadata: &mut Object<'_>, alert: &Alert<'_>, flow: &Flow<'_>) {
    let signature = &alert.signature;
    metadata.texts("service", [signature.service]);
    metadata.texts("service_name", [signature.service_name]);
    metadata.texts("role", [signature.role]);
    metadata.texts("class", [signature.class]);
    metadata.texts("family", [signature.family]);
    metadata.texts("verdict", [signature.verdict]);
    metadata.texts("evidence", [alert.evidence]);
    metadata.texts("confidence", [signature.confidence]);
    if let Some(name) = alert.name {
        metadata.texts("name", [name]);
    }
    if let Some(sent) = alert.name_as_sent {
        metadata.texts("name_as_sent", [sent]);
    }
    metadata.texts("match", [signature.match_kind]);
    metadata.texts("rule", [signature.rule]);
    metadata.texts("sources", signature.sources.iter().map(String::as_str));
    metadata.texts("reviewed", [signature.reviewed]);
    if let Some(asn) = alert.server_asn {
        let out = metadata.key("server_asn");
        out.extend_from_slice(b"[\"");
        json::decimal(out, asn.into());
        out.extend_from_slice(b"\"]");
    }
    if let Some(country) = alert.server_country {
        metadata.texts("server_country", [country]);
    }
    if let Some(tunnel) = &flow.tunnel {
        metadata.texts("tunnel", [tunnel.kind]);
    }
    if let Some(hello) = &alert.hello {
        if let Some(ech) = hello.ech {
            metadata.texts("ech", [ech]);
        }
        if hello.partial {
            metadata.texts("hello", ["partial"]);
        }
    }
    if !alert.desync.is_empty() {
        metadata.texts("desync", alert.desync.iter().copied());
    }
    if let Some(period) = flow.pseudonym_period {
        metadata.texts("pseudonym_period", [period]);
    }
    for (key, texts) in alert.incident {
        if !texts.is_empty() {
            metadata.texts(key, texts.iter().map(String::as_str));
        }
    }
    if alert.summarised > 0 {
        let out = metadata.key("summarised");
        out.extend_from_slice(b"[\"");
        json::decimal(out, alert.summarised);
        out.extend_from_slice(b"\"]");
    }
}

/// The event type of a hello, also the field in which it stands. EVE has none for DTLS: it is `tls` over UDP.
const fn hello_name(hello: &Hello<'_>) -> &'static str {
    match hello.transport {
        HelloTransport::Tls | HelloTransport::Dtls => "tls",
        HelloTransport::Quic(_) => "quic",
    }
}

fn write_hello(object: &mut Object<'_>, hello: &Hello<'_>) {
    let mut fields = object.object(hello_name(hello));
    match hello.transport {
        HelloTransport::Tls | HelloTransport::Dtls => {
            fields.optional_text("sni", hello.server_name);
            write_tls_version(&mut fields, hello.version);
            fields.optional_text("ja4", hello.ja4);
            if !hello.alpn.is_empty() {
                fields.texts("client_alpns", hello.alpn.iter().map(String::as_str));
            }
        }
        HelloTransport::Quic(version) => {
            write_quic_version(&mut fields, version);
            fields.optional_text("sni", hello.server_name);
            fields.optional_text("ua", hello.user_agent);
            fields.optional_text("ja4", hello.ja4);
            if !hello.alpn.is_empty() {
                write_quic_alpn(&mut fields, hello.alpn);
            }
        }
    }
    fields.close();
}

/// Suricata's names of versions, DTLS ones added (RFC 6347, RFC 9147).
fn write_tls_version(fields: &mut Object<'_>, version: u16) {
    let name = match version {
        0 => return,
        0x0002 => "SSLv2",
        0x0300 => "SSLv3",
        0x0301 => "TLSv1",
        0x0302 => "TLS 1.1",
        0x0303 => "TLS 1.2",
        0x0304 => "TLS 1.3",
        0xfeff => "DTLS 1.0",
        0xfefd => "DTLS 1.2",
        0xfefc => "DTLS 1.3",
        _ => return fields.text("version", &format!("0x{version:04x}")),
    };
    fields.text("version", name);
}

/// As Suricata writes it: Google's versions as their four characters, all others in hexadecimal (`1`, `6b3343cf`).
fn write_quic_version(fields: &mut Object<'_>, version: u32) {
    let characters = version.to_be_bytes();
    match std::str::from_utf8(&characters) {
        Ok(name) if name.starts_with(['Q', 'T']) && name.bytes().skip(1).all(|byte| byte.is_ascii_digit()) => {
            fields.text("version", name);
        }
        _ => fields.text("version", &format!("{version:x}")),
    }
}

/// The protocols offered, in the place that Suricata has for a QUIC hello's extensions (RFC 7301: type 16).
fn write_quic_alpn(fields: &mut Object<'_>, alpn: &[String]) {
    let out = fields.key("extensions");
    out.push(b'[');
    let mut extension = Object::open(out);
    extension.text("name", "alpn");
    extension.number("type", 16);
    extension.texts("values", alpn.iter().map(String::as_str));
    extension.close();
    out.push(b']');
}

fn write_flow_counts(fields: &mut Object<'_>, flow: &Flow<'_>) {
    fields.number("pkts_toserver", flow.packets_to_server);
    fields.number("pkts_toclient", flow.packets_to_client);
    fields.number("bytes_toserver", flow.bytes_to_server);
    fields.number("bytes_toclient", flow.bytes_to_client);
    fields.time("start", flow.first_seen_ns);
    fields.time("end", flow.last_seen_ns);
}

fn write_flow_end(object: &mut Object<'_>, flow: &Flow<'_>, end: FlowEnd) {
    let mut fields = object.object("flow");
    write_flow_counts(&mut fields, flow);
    fields.number("age", flow.last_seen_ns.saturating_sub(flow.first_seen_ns) / 1_000_000_000);
    let answered = flow.packets_to_server > 0 && flow.packets_to_client > 0;
    fields.text("state", if answered { "established" } else { "new" });
    let reason = match end.reason {
        FlowEndReason::Timeout => "timeout",
        FlowEndReason::Shutdown => "shutdown",
        FlowEndReason::Evicted => "forced",
    };
    fields.text("reason", reason);
    fields.truth("alerted", end.alerted);
    fields.close();
}
