//! From a worker's events to the journal's records, and to EVE lines. What costs and only a written event needs is
//! worked out here, on the writer's side: the hash of a JA4, the server's country and autonomous system.

#[cfg(test)]
mod attack;
mod incident;
mod signature;
#[cfg(test)]
pub(crate) mod tests;

use std::net::IpAddr;
use std::sync::Arc;

use vigie_decode::{Address, Encapsulation, TunnelKind};
use vigie_handshake::tls::{Ja4, Ja4Raw};
use vigie_journal::eve;
use vigie_journal::record::{self, Body, Coverage, Record, Stats, Truncated};
use vigie_privacy::Pseudonyms;
use vigie_signatures::{Bundle, Rule};

use crate::country::country;
use crate::event::{DnsAnswer, Ech, Event, Evidence, Fact, Flow, FlowEnd, Hello, HelloTransport, Sighting};
pub use incident::{Under, client_text, encode_alert, encode_incident, incident_id};
pub use signature::signature_text;

/// What is true for all events of a run.
#[derive(Clone, Default)]
pub struct Context {
    /// Name of the sensor, written as `host`.
    pub sensor_name: Option<String>,
    /// Names of the capture's interfaces; empty where one has none.
    pub interfaces: Vec<String>,
    /// Knows the autonomous system of a server's address.
    pub bundle: Option<Arc<Bundle>>,
    /// What is written in place of clients; without it they are written as they are.
    pub pseudonyms: Option<Arc<Pseudonyms>>,
}

impl Context {
    /// What is written in place of a client's address.
    fn client(&self, address: IpAddr) -> IpAddr {
        self.pseudonyms.as_ref().map_or(address, |pseudonyms| pseudonyms.address(address))
    }

    /// The id that is written of a flow: a hash of its addresses and ports, or one that needs the key of pseudonyms.
    fn flow_id(&self, id: u64) -> u64 {
        self.pseudonyms.as_ref().map_or(id, |pseudonyms| pseudonyms.flow_id(id))
    }

    fn pseudonym_period(&self) -> Option<String> {
        self.pseudonyms.as_ref().map(|pseudonyms| pseudonyms.period().to_string())
    }
}

/// Appends `event` as one EVE line, newline included. What only judgement needs makes no line.
pub fn encode(event: &Event, context: &Context, out: &mut Vec<u8>) {
    encode_under(event, context, &[], out);
}

/// As [`encode`]; an alert has these facts of its incident, too.
fn encode_under(event: &Event, context: &Context, incident: &[(&'static str, Vec<String>)], out: &mut Vec<u8>) {
    let period = context.pseudonym_period();
    let mut write = |frame_number, flow, body| {
        let (host, flow) = (context.sensor_name.as_deref(), flow_record(flow, context, period.as_deref()));
        let truncated = truncated(&event.fact);
        eve::encode(&Record { timestamp_ns: event.timestamp_ns, frame_number, host, flow, body, truncated }, out);
    };
    let frame_number = Some(event.frame_number);
    match &event.fact {
        Fact::Sighting(sighting) | Fact::Question(sighting) => {
            let ja4 = sighting.hello.as_ref().and_then(fingerprint);
            let text = signature_text(&sighting.rule);
            let alert = record::Alert { incident, ..alert_record(sighting, &text, ja4.as_ref(), context) };
            write(frame_number, &sighting.flow, Body::Alert(alert));
        }
        Fact::Hello(flow, hello) => {
            let ja4 = fingerprint(hello);
            write(frame_number, flow, Body::Hello(hello_record(hello, ja4.as_ref())));
        }
        Fact::Http(flow, request) => {
            let (hostname, method) = (request.host.as_str(), request.method.as_deref());
            write(frame_number, flow, Body::Http(record::HttpRequest { hostname, method }));
        }
        Fact::Dns(flow, answer) => write(frame_number, flow, Body::Dns(dns_record(answer))),
        // A flow's end is not about one packet.
        Fact::FlowEnd(flow, end, rule) => write(None, flow, Body::FlowEnd(end_record(*end, rule.as_deref()))),
        Fact::Candidate(..) | Fact::Clients(_) | Fact::FlowBytes(_) | Fact::Clock { .. } => {}
    }
}

/// Which texts of an event are not whole.
fn truncated(fact: &Fact) -> Truncated {
    let of_hello = |hello: &Hello| Truncated {
        server_name: hello.cut.server_name,
        alpn: hello.cut.alpn,
        user_agent: hello.cut.user_agent,
        ..Truncated::default()
    };
    match fact {
        Fact::Sighting(sighting) | Fact::Question(sighting) => Truncated {
            name_as_sent: sighting.name_as_sent.as_ref().is_some_and(|sent| sent.is_cut),
            ..sighting.hello.as_ref().map(of_hello).unwrap_or_default()
        },
        Fact::Hello(_, hello) => of_hello(hello),
        Fact::Dns(_, answer) => Truncated { answers: answer.is_cut, ..Truncated::default() },
        // Hosts are bounded where they are read.
        Fact::Http(..)
        | Fact::FlowEnd(..)
        | Fact::Candidate(..)
        | Fact::Clients(_)
        | Fact::FlowBytes(_)
        | Fact::Clock { .. } => Truncated::default(),
    }
}

/// Appends what an interface covered as one EVE line, newline included.
pub fn encode_coverage(coverage: &Coverage, context: &Context, out: &mut Vec<u8>) {
    eve::encode_coverage(coverage, context.sensor_name.as_deref(), out);
}

/// Appends a `stats` record as one EVE line, newline included.
pub fn encode_stats(stats: &Stats, context: &Context, out: &mut Vec<u8>) {
    eve::encode_stats(stats, context.sensor_name.as_deref(), out);
}

fn flow_record<'a>(flow: &'a Flow, context: &'a Context, pseudonym_period: Option<&'a str>) -> record::Flow<'a> {
    let Encapsulation { vlans, vlan_count, .. } = &flow.encapsulation;
    let interface = context.interfaces.get(usize::from(flow.interface)).map(String::as_str);
    record::Flow {
        id: context.flow_id(flow.id),
        client: context.client(flow.client.ip()),
        pseudonym_period,
        client_port: flow.client_port,
        server: flow.server.ip(),
        server_port: flow.server_port,
        protocol: flow.protocol,
        interface: interface.filter(|name| !name.is_empty()),
        vlans: vlans.get(..usize::from(*vlan_count)).unwrap_or(vlans),
        tunnel: tunnel_record(&flow.encapsulation, pseudonym_period.is_some()),
        first_seen_ns: flow.first_seen_ns,
        last_seen_ns: flow.last_seen_ns,
        packets_to_server: flow.packets_to_server,
        packets_to_client: flow.packets_to_client,
        bytes_to_server: flow.bytes_to_server,
        bytes_to_client: flow.bytes_to_client,
    }
}

/// The outermost tunnel. Its ends may be the client itself: they are not written beside a pseudonym.
fn tunnel_record(encapsulation: &Encapsulation, is_pseudonymous: bool) -> Option<record::Tunnel<'static>> {
    let tunnel = encapsulation.tunnel?;
    let end = |address: Option<Address>| address.filter(|_| !is_pseudonymous).map(|address| address.ip());
    Some(record::Tunnel {
        kind: tunnel.kind.as_str(),
        carrier: carrier(tunnel.kind),
        source: end(tunnel.source),
        destination: end(tunnel.destination),
        depth: encapsulation.tunnel_depth,
    })
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
        | TunnelKind::Tzsp
        | TunnelKind::Lisp
        | TunnelKind::Ayiya
        | TunnelKind::JMirror
        | TunnelKind::HpErm
        | TunnelKind::Capwap => "UDP",
        TunnelKind::Gre | TunnelKind::Erspan | TunnelKind::EoIp | TunnelKind::Wccp => "GRE",
        TunnelKind::Ipip | TunnelKind::FourInSix => "IP-ENCAP",
        TunnelKind::SixInFour => "IPv6",
        TunnelKind::Esp => "ESP",
        _ => kind.as_str(),
    }
}

fn alert_record<'a>(alert: &'a Sighting, text: &'a str, ja4: Option<&'a Ja4>, context: &Context) -> record::Alert<'a> {
    let server = alert.flow.server.ip();
    record::Alert {
        signature: signature::record(&alert.rule, text),
        evidence: alert.evidence.as_str(),
        app_proto: app_proto(alert),
        name: alert.name.as_deref(),
        name_as_sent: alert.name_as_sent.as_ref().map(|sent| sent.text.as_str()),
        server_asn: alert.rule.asn.or_else(|| context.bundle.as_ref()?.asn(server)),
        server_country: country(server),
        hello: alert.hello.as_ref().map(|hello| hello_record(hello, ja4)),
        desync: alert.desync.words().collect(),
        incident: &[],
        summarised: alert.summarised,
    }
}

/// The application protocol in Suricata's words; `failed` is its word for one that it could not recognise.
const fn app_proto(alert: &Sighting) -> &'static str {
    match (&alert.hello, alert.evidence) {
        (Some(Hello { transport: HelloTransport::Tcp | HelloTransport::Dtls, .. }), _) => "tls",
        (Some(Hello { transport: HelloTransport::Quic(_), .. }), _) => "quic",
        (None, Evidence::TlsSni | Evidence::DtlsSni | Evidence::TlsCertificate) => "tls",
        (None, Evidence::QuicSni) => "quic",
        (None, Evidence::HttpHost | Evidence::HttpConnect) => "http",
        (None, Evidence::Socks | Evidence::ProxyAuthority | Evidence::Dns | Evidence::Prefix) => "failed",
    }
}

fn fingerprint(hello: &Hello) -> Option<Ja4> {
    hello.ja4.as_ref().map(Ja4Raw::fingerprint)
}

fn hello_record<'a>(hello: &'a Hello, ja4: Option<&'a Ja4>) -> record::Hello<'a> {
    record::Hello {
        transport: match hello.transport {
            HelloTransport::Tcp => record::HelloTransport::Tls,
            HelloTransport::Dtls => record::HelloTransport::Dtls,
            HelloTransport::Quic(version) => record::HelloTransport::Quic(version),
        },
        server_name: hello.server_name.as_deref(),
        alpn: &hello.alpn,
        version: hello.version,
        ja4: ja4.map(Ja4::as_str),
        ech: hello.ech.map(|ech| match ech {
            Ech::Grease => "grease",
            Ech::Ambiguous => "ambiguous",
            Ech::Offered => "offered",
        }),
        partial: hello.partial,
        user_agent: hello.user_agent.as_deref(),
    }
}

fn dns_record(answer: &DnsAnswer) -> record::DnsAnswer<'_> {
    let records = answer.answers.iter().map(|record| record::DnsRecord {
        name: &record.name,
        record_type: record.record_type,
        ttl_s: record.ttl_s,
        data: &record.data,
    });
    record::DnsAnswer {
        id: answer.id,
        flags: answer.flags,
        question: &answer.question,
        question_type: answer.question_type,
        answers: records.collect(),
    }
}

const fn end_record(end: FlowEnd, rule: Option<&Rule>) -> record::FlowEnd {
    let reason = match end {
        FlowEnd::Timeout => record::FlowEndReason::Timeout,
        FlowEnd::Shutdown => record::FlowEndReason::Shutdown,
        FlowEnd::Evicted => record::FlowEndReason::Evicted,
    };
    record::FlowEnd { reason, alerted: rule.is_some() }
}
