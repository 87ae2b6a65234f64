//! Events as Suricata EVE JSON, one object a line, so that whatever reads Suricata reads this.
//!
//! Shapes, names and words are those of Suricata's EVE output (event types `alert`, `tls`, `quic`, `dns`, `flow`); what
//! it has no field for stands under `alert.metadata`, as arrays of strings. Source is always the client, destination
//! the server. Which events are written is decided elsewhere.

mod dns;

use std::sync::Arc;

use vigie_signatures::{Bundle, MatchKind, Rule, Signal};

use super::community_id::community_id;
use super::country::country;
use super::json::{self, Object};
use super::{Alert, Ech, Event, Evidence, Fact, Flow, FlowEnd, Hello, HelloTransport};
use vigie_decode::TunnelKind;
use vigie_handshake::tls::{Ja4, Ja4Raw};

const TCP: u8 = 6;
const UDP: u8 = 17;
const SCTP: u8 = 132;

/// Suricata's name for a breach of policy, as in its `classification.config`.
const CATEGORY: &str = "Potential Corporate Privacy Violation";

/// Room made for a line before it is written; longer ones make more.
const LINE_BYTES_USUAL: usize = 2048;

/// What is true for all events of a run.
#[derive(Clone, Default)]
pub struct Context {
    /// Name of the sensor, written as `host`.
    pub sensor_name: Option<String>,
    /// Names of the capture's interfaces; empty where one has none.
    pub interfaces: Vec<String>,
    /// Tells the autonomous system of a server's address.
    pub bundle: Option<Arc<Bundle>>,
}

/// Appends `event` as one line, newline included.
pub fn encode(event: &Event, context: &Context, out: &mut Vec<u8>) {
    out.reserve(LINE_BYTES_USUAL);
    let mut object = Object::open(out);
    object.time("timestamp", event.timestamp_ns);
    match &event.fact {
        Fact::Alert(alert) => {
            head(&mut object, event, context, &alert.flow, "alert");
            object.text("direction", "to_server");
            object.text("app_proto", app_proto(alert));
            write_alert(&mut object, alert, context);
            if let Some(hello) = &alert.hello {
                write_hello(&mut object, hello);
            }
            let mut flow = object.object("flow");
            write_flow_counts(&mut flow, &alert.flow);
            flow.close();
        }
        Fact::Hello(flow, hello) => {
            let name = hello_name(hello);
            head(&mut object, event, context, flow, name);
            object.text("direction", "to_server");
            object.text("app_proto", name);
            write_hello(&mut object, hello);
        }
        Fact::Dns(flow, answer) => {
            head(&mut object, event, context, flow, "dns");
            object.text("app_proto", "dns");
            dns::write(&mut object, answer);
        }
        Fact::FlowEnd(flow, end, rule) => {
            head(&mut object, event, context, flow, "flow");
            write_flow_end(&mut object, flow, *end, rule.is_some());
        }
    }
    object.close();
    out.push(b'\n');
}

/// What a sensor counted since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// When, nanoseconds since the Unix epoch.
    pub timestamp_ns: u64,
    /// Seconds since the start.
    pub uptime_s: u64,
    /// Packets that the kernel gave, and those that it had to drop.
    pub kernel_packets: u64,
    /// Packets that the kernel dropped because the sensor was too slow.
    pub kernel_drops: u64,
    /// Packets that interfaces dropped.
    pub kernel_ifdrops: u64,
    /// Packets looked at.
    pub packets: u64,
    /// Their bytes on the wire.
    pub bytes: u64,
    /// Packets that could not be decoded.
    pub invalid: u64,
    /// Flows opened.
    pub flows: u64,
    /// Flows in the tables.
    pub flows_active: u64,
    /// Alerts.
    pub alerts: u64,
    /// Alerts that could not be written.
    pub alerts_lost: u64,
}

/// Appends a `stats` record as one line, newline included.
pub fn encode_stats(stats: &Stats, context: &Context, out: &mut Vec<u8>) {
    let mut object = Object::open(out);
    object.time("timestamp", stats.timestamp_ns);
    object.text("event_type", "stats");
    object.optional_text("host", context.sensor_name.as_deref());
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

/// The text of a signature. Like the signature id it depends on the service, the signal and on whether a name, an
/// address or a fingerprint matched, and on nothing else.
pub fn signature_text(rule: &Rule) -> String {
    signature_parts(rule).concat()
}

fn signature_parts(rule: &Rule) -> [&str; 5] {
    let service = rule.service_name.as_str();
    match rule.kind {
        MatchKind::Exact | MatchKind::Pattern | MatchKind::Suffix => {
            ["vigie ", service, ": ", name_phrase(rule.signal), ""]
        }
        MatchKind::Prefix => match rule.signal {
            Signal::Unknown => ["vigie ", service, ": server address contacted", "", ""],
            signal => ["vigie ", service, ": server address contacted (", signal.as_str(), ")"],
        },
        MatchKind::Ja4 => ["vigie ", service, ": client fingerprint", "", ""],
    }
}

/// What a name tells the reader of an alert.
const fn name_phrase(signal: Signal) -> &'static str {
    match signal {
        Signal::AppOnly => "app in use",
        Signal::AppLikely => "app probably in use",
        Signal::Shared => "app in use or site visited",
        Signal::AppOrWebPlayback => "media played in app or browser",
        Signal::Web => "site visited",
        Signal::Embed => "embedded in another page",
        Signal::ThirdPartySdk => "SDK inside another app",
        Signal::ThirdPartyCloud => "cloud used by a third party",
        Signal::AdsPortal => "advertiser or seller portal",
        Signal::Ads => "advertising",
        Signal::Corporate => "company's own staff or tests",
        Signal::DnsCname => "name seen in a DNS chain",
        Signal::Unknown => "contacted, use unknown",
    }
}

/// What all events begin with.
fn head(object: &mut Object<'_>, event: &Event, context: &Context, flow: &Flow, event_type: &str) {
    let (client, server) = (flow.client.ip(), flow.server.ip());
    object.number("flow_id", flow.id);
    // A flow's end is not a packet.
    let is_packet = !matches!(event.fact, Fact::FlowEnd(..));
    if is_packet {
        object.number("pcap_cnt", event.frame_number);
    }
    if let Some(name) = context.interfaces.get(usize::from(flow.interface)).filter(|name| !name.is_empty()) {
        object.text("in_iface", name);
    }
    object.text("event_type", event_type);
    write_vlans(object, flow);
    let has_ports = matches!(flow.protocol, TCP | UDP | SCTP);
    object.address("src_ip", client);
    if has_ports {
        object.number("src_port", flow.client_port.into());
    }
    object.address("dest_ip", server);
    if has_ports {
        object.number("dest_port", flow.server_port.into());
    }
    write_protocol(object, flow.protocol);
    object.number("ip_v", if client.is_ipv4() { 4 } else { 6 });
    if is_packet {
        object.text("pkt_src", "wire/pcap");
    }
    let id = community_id(flow.protocol, (client, flow.client_port), (server, flow.server_port));
    object.text("community_id", std::str::from_utf8(&id).unwrap_or_default());
    object.optional_text("host", context.sensor_name.as_deref());
    write_tunnel(object, flow);
}

fn write_vlans(object: &mut Object<'_>, flow: &Flow) {
    let vlans =
        flow.encapsulation.vlans.get(..usize::from(flow.encapsulation.vlan_count)).unwrap_or(&flow.encapsulation.vlans);
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
        1 => "ICMP",
        58 => "IPv6-ICMP",
        SCTP => "SCTP",
        _ => return object.text("proto", &format!("{protocol:03}")),
    };
    object.text("proto", name);
}

/// The outermost tunnel: its ends and the protocol that carried it.
fn write_tunnel(object: &mut Object<'_>, flow: &Flow) {
    let Some(outer) = flow.encapsulation.tunnel else { return };
    let mut tunnel = object.object("tunnel");
    if let Some(source) = outer.source {
        tunnel.address("src_ip", source.ip());
    }
    if let Some(destination) = outer.destination {
        tunnel.address("dest_ip", destination.ip());
    }
    tunnel.text("proto", carrier(outer.kind));
    tunnel.number("depth", flow.encapsulation.tunnel_depth.into());
    tunnel.close();
}

/// The protocol that carries a kind of tunnel, in Suricata's words where it has one.
const fn carrier(kind: TunnelKind) -> &'static str {
    match kind {
        TunnelKind::Vxlan
        | TunnelKind::VxlanGpe
        | TunnelKind::Geneve
        | TunnelKind::GtpU
        | TunnelKind::Teredo
        | TunnelKind::Gue
        | TunnelKind::Capwap => "UDP",
        TunnelKind::Gre | TunnelKind::Erspan | TunnelKind::EoIp | TunnelKind::Wccp => "GRE",
        TunnelKind::Ipip | TunnelKind::FourInSix => "IP-ENCAP",
        TunnelKind::SixInFour => "IPv6",
        TunnelKind::Esp => "ESP",
        _ => kind.as_str(),
    }
}

/// The application protocol in Suricata's words; `failed` is its word for one that could not be told.
const fn app_proto(alert: &Alert) -> &'static str {
    match (&alert.hello, alert.evidence) {
        (Some(hello), _) => hello_name(hello),
        (None, Evidence::TlsSni | Evidence::DtlsSni | Evidence::TlsCertificate) => "tls",
        (None, Evidence::QuicSni) => "quic",
        (None, Evidence::HttpHost | Evidence::HttpConnect) => "http",
        (None, Evidence::Socks | Evidence::Dns | Evidence::Prefix) => "failed",
    }
}

fn write_alert(object: &mut Object<'_>, alert: &Alert, context: &Context) {
    let rule = &*alert.rule;
    let mut fields = object.object("alert");
    fields.text("action", "allowed");
    fields.number("gid", 1);
    fields.number("signature_id", rule.signature_id.into());
    fields.number("rev", 1);
    // In parts, so that no string is built: escaping is per character, quotes stand outside.
    let out = fields.key("signature");
    out.push(b'"');
    signature_parts(rule).into_iter().for_each(|part| json::escaped(out, part));
    out.push(b'"');
    fields.text("category", CATEGORY);
    fields.number("severity", rule.severity().into());
    let mut metadata = fields.object("metadata");
    write_metadata(&mut metadata, alert, context);
    metadata.close();
    fields.close();
}

/// Facts for which EVE has no field.
fn write_metadata(metadata: &mut Object<'_>, alert: &Alert, context: &Context) {
    let rule = &*alert.rule;
    metadata.texts("service", [rule.service.as_str()]);
    metadata.texts("service_name", [rule.service_name.as_str()]);
    metadata.texts("role", [rule.role.as_str()]);
    metadata.texts("signal", [rule.signal.as_str()]);
    metadata.texts("verdict", [rule.verdict().as_str()]);
    metadata.texts("evidence", [alert.evidence.as_str()]);
    metadata.texts("confidence", [rule.confidence.as_str()]);
    if let Some(name) = &alert.name {
        metadata.texts("name", [name.as_str()]);
    }
    metadata.texts("match", [rule.kind.as_str()]);
    metadata.texts("rule", [rule.text.as_str()]);
    metadata.texts("sources", rule.sources.iter().map(String::as_str));
    metadata.texts("reviewed", [rule.reviewed.as_str()]);
    let server = alert.flow.server.ip();
    if let Some(asn) = rule.asn.or_else(|| context.bundle.as_ref()?.asn(server)) {
        let out = metadata.key("server_asn");
        out.extend_from_slice(b"[\"");
        json::decimal(out, asn.into());
        out.extend_from_slice(b"\"]");
    }
    if let Some(country) = country(server) {
        metadata.texts("server_country", [country]);
    }
    if let Some(tunnel) = alert.flow.encapsulation.tunnel {
        metadata.texts("tunnel", [tunnel.kind.as_str()]);
    }
    if let Some(hello) = &alert.hello {
        if let Some(ech) = hello.ech {
            metadata.texts("ech", [ech_name(ech)]);
        }
        if hello.partial {
            metadata.texts("hello", ["partial"]);
        }
    }
}

const fn ech_name(ech: Ech) -> &'static str {
    match ech {
        Ech::Grease => "grease",
        Ech::Ambiguous => "ambiguous",
        Ech::Offered => "offered",
    }
}

/// The event type of a hello, also the field in which it stands. EVE has none for DTLS: it is `tls` over UDP.
const fn hello_name(hello: &Hello) -> &'static str {
    match hello.transport {
        HelloTransport::Tcp | HelloTransport::Dtls => "tls",
        HelloTransport::Quic(_) => "quic",
    }
}

fn write_hello(object: &mut Object<'_>, hello: &Hello) {
    let ja4 = hello.ja4.as_ref().map(Ja4Raw::fingerprint);
    let mut fields = object.object(hello_name(hello));
    match hello.transport {
        HelloTransport::Tcp | HelloTransport::Dtls => {
            fields.optional_text("sni", hello.server_name.as_deref());
            write_tls_version(&mut fields, hello.version);
            fields.optional_text("ja4", ja4.as_ref().map(Ja4::as_str));
            if !hello.alpn.is_empty() {
                fields.texts("client_alpns", hello.alpn.iter().map(String::as_str));
            }
        }
        HelloTransport::Quic(version) => {
            write_quic_version(&mut fields, version);
            fields.optional_text("sni", hello.server_name.as_deref());
            fields.optional_text("ua", hello.user_agent.as_deref());
            fields.optional_text("ja4", ja4.as_ref().map(Ja4::as_str));
            if !hello.alpn.is_empty() {
                write_quic_alpn(&mut fields, &hello.alpn);
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

fn write_flow_counts(fields: &mut Object<'_>, flow: &Flow) {
    fields.number("pkts_toserver", flow.packets_to_server);
    fields.number("pkts_toclient", flow.packets_to_client);
    fields.number("bytes_toserver", flow.bytes_to_server);
    fields.number("bytes_toclient", flow.bytes_to_client);
    fields.time("start", flow.first_seen_ns);
    fields.time("end", flow.last_seen_ns);
}

fn write_flow_end(object: &mut Object<'_>, flow: &Flow, end: FlowEnd, alerted: bool) {
    let mut fields = object.object("flow");
    write_flow_counts(&mut fields, flow);
    fields.number("age", flow.last_seen_ns.saturating_sub(flow.first_seen_ns) / 1_000_000_000);
    let answered = flow.packets_to_server > 0 && flow.packets_to_client > 0;
    fields.text("state", if answered { "established" } else { "new" });
    let reason = match end {
        FlowEnd::Timeout => "timeout",
        FlowEnd::Shutdown => "shutdown",
        FlowEnd::Evicted => "forced",
    };
    fields.text("reason", reason);
    fields.truth("alerted", alerted);
    fields.close();
}
