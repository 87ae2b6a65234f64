//! Every event type is valid against the schema of this repository, which states what vigie uses of the EVE format, and
//! against Suricata's own. That one is not part of this repository: where it is not found, its half says so and is skipped.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jsonschema::Validator;
use serde_json::Value;
use vigie::event::{
    CutTexts, DnsAnswer, DnsRecord, Ech, Event, Evidence, Fact, Flow, FlowEnd, Hello, HelloTransport, HttpRequest,
    Sighting,
};
use vigie::judging::{self, Judging, Output};
use vigie::privacy::{Privacy, Rotation};
use vigie::record::{Context, Under, encode, encode_alert, encode_coverage, encode_incident, encode_stats};
use vigie::text::BoundedText;
use vigie_capture::{Files, FilesOptions};
use vigie_decode::{Address, Encapsulation, Tunnel, TunnelKind};
use vigie_handshake::opening::Desync;
use vigie_handshake::tls::{ClientHello, Ja4Raw, Ja4Transport};
use vigie_journal::record::{Coverage, Stats};
use vigie_judgement::Finding;
use vigie_judgement::policy::Policy;
use vigie_signatures::{Bundle, Class, Confidence, MatchKind, Role, Rule, signature_id};
use vigie_skip::skipped;
use vigie_tests::hello::Hello as TestHello;

fn validator(schema: &Value) -> Validator {
    jsonschema::options().should_validate_formats(true).build(schema).unwrap()
}

fn own_schema() -> Value {
    serde_json::from_str(include_str!("../eve-schema.json")).unwrap()
}

fn suricata_schema() -> Option<Value> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/design/eve-schema.json");
    let path = std::env::var_os("EVE_SCHEMA").map_or_else(beside, PathBuf::from);
    match std::fs::read(&path) {
        Ok(bytes) => Some(serde_json::from_slice(&bytes).unwrap()),
        Err(error) => {
            let remedy = "EVE_SCHEMA=FILE names it, etc/schema.json in Suricata's source";
            skipped(format_args!("Suricata's schema is not at {}: {error}; {remedy}", path.display()));
            None
        }
    }
}

/// A flow with all that may surround it.
fn flow(protocol: u8, v6: bool, tunnel: Option<TunnelKind>) -> Flow {
    let address = |last: u8| match v6 {
        false => Address::v4([192, 0, 2, last]),
        true => Address::v6([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]),
    };
    Flow {
        id: vigie_flow::FLOW_ID_MAX,
        client: address(1),
        client_port: 65535,
        server: address(2),
        server_port: 443,
        protocol,
        encapsulation: Encapsulation {
            vlans: [1, 2, 4095],
            vlan_count: if tunnel.is_some() { 3 } else { 0 },
            tunnel_depth: u8::from(tunnel.is_some()),
            tunnel: tunnel.map(|kind| Tunnel {
                kind,
                source: (kind != TunnelKind::Pppoe).then(|| address(3)),
                destination: (kind != TunnelKind::Pppoe).then(|| address(4)),
            }),
            network: 7,
        },
        interface: 0,
        first_seen_ns: 0,
        last_seen_ns: 1_795_298_705_123_456_789,
        packets_to_server: 1,
        packets_to_client: 0,
        bytes_to_server: 74,
        bytes_to_client: 0,
    }
}

fn rule(class: Class, asn: Option<u32>) -> Arc<Rule> {
    Arc::new(Rule {
        signature_id: signature_id(8_100_000, MatchKind::Prefix, class),
        service: "tiktok".to_owned(),
        service_name: "TikTok \"抖音\"".to_owned(),
        role: Role::Cdn,
        class,
        family: class.default_family().to_owned(),
        traits: vec![],
        alone: true,
        confidence: Confidence::Low,
        kind: MatchKind::Prefix,
        text: "192.0.2.0/24".to_owned(),
        asn,
        sources: vec![],
        reviewed: "2026-11-01".to_owned(),
        file: "tiktok.toml".to_owned(),
        line: 1,
    })
}

fn ja4() -> Ja4Raw {
    let message = TestHello::to("tiktok.com").alpn(&["h2"]).message();
    let body = &message[4..];
    Ja4Raw::of(&ClientHello::parse(body, body.len()).unwrap(), Ja4Transport::Tcp).unwrap()
}

fn hello(transport: HelloTransport, version: u16, full: bool) -> Hello {
    let text = |value: &str| full.then(|| value.to_owned());
    Hello {
        transport,
        server_name: text("a\\x00\"b.tiktok.com"),
        alpn: if full { vec!["h2".to_owned(), "\\xff".to_owned()] } else { vec![] },
        version,
        ja4: full.then(ja4),
        ech: full.then_some(Ech::Offered),
        partial: !full,
        user_agent: text("Chrome/1"),
        cut: CutTexts { server_name: full, alpn: full, user_agent: full },
    }
}

fn hellos() -> Vec<Hello> {
    let mut hellos = Vec::new();
    for full in [true, false] {
        for version in [0, 2, 0x0300, 0x0301, 0x0302, 0x0303, 0x0304, 0x7f1c, 0xfefd] {
            hellos.push(hello(HelloTransport::Tcp, version, full));
            hellos.push(hello(HelloTransport::Dtls, version, full));
        }
        for version in [0, 1, 0x6b33_43cf, 0xff00_001d, 0x5130_3436, 0x5430_3531, u32::MAX] {
            hellos.push(hello(HelloTransport::Quic(version), 0x0304, full));
        }
    }
    hellos
}

fn dns(answers: usize) -> DnsAnswer {
    let record = |place: usize| DnsRecord {
        name: format!("n{place}.tiktok.com"),
        record_type: [1, 5, 28, 65, 64, 16, 65_280][place % 7],
        ttl_s: u32::MAX,
        data: "192.0.2.1".to_owned(),
    };
    DnsAnswer {
        id: u16::MAX,
        flags: if answers == 0 { 0xffff } else { 0x8180 },
        question: "www.tiktok.com".to_owned(),
        question_type: if answers == 0 { 65_535 } else { 1 },
        answers: (0..answers).map(record).collect(),
        is_cut: answers == 7,
    }
}

#[rustfmt::skip]
const EVIDENCE: [Evidence; 10] = [
    Evidence::TlsSni, Evidence::QuicSni, Evidence::DtlsSni, Evidence::HttpHost, Evidence::HttpConnect, Evidence::Socks,
    Evidence::ProxyAuthority, Evidence::TlsCertificate, Evidence::Dns, Evidence::Prefix,
];

fn facts() -> Vec<Fact> {
    let mut facts = Vec::new();
    let flows = [
        flow(6, false, None),
        flow(17, true, Some(TunnelKind::Vxlan)),
        flow(17, false, Some(TunnelKind::Pppoe)),
        flow(6, true, Some(TunnelKind::SixInFour)),
        flow(1, false, None),
        flow(253, true, None),
    ];
    for flow in &flows {
        for hello in hellos() {
            facts.push(Fact::Hello(Box::new(flow.clone()), Box::new(hello)));
        }
        for method in [None, Some("GET".to_owned())] {
            let request = HttpRequest { host: "www.tiktok.com".to_owned(), method };
            facts.push(Fact::Http(Box::new(flow.clone()), Box::new(request)));
        }
        for answers in [0, 1, 7] {
            facts.push(Fact::Dns(Box::new(flow.clone()), Box::new(dns(answers))));
        }
        for end in [FlowEnd::Timeout, FlowEnd::Shutdown, FlowEnd::Evicted] {
            facts.push(Fact::FlowEnd(Box::new(flow.clone()), end, None));
            facts.push(Fact::FlowEnd(Box::new(flow.clone()), end, Some(rule(Class::Site, None))));
        }
        for &class in Class::ALL {
            for (evidence, hello) in
                EVIDENCE.into_iter().zip([None].into_iter().chain(hellos().into_iter().map(Some)).cycle())
            {
                let name = (evidence != Evidence::Prefix).then(|| "www.tiktok.com".to_owned());
                let rule = rule(class, hello.is_some().then_some(396_986));
                facts.push(Fact::Sighting(Box::new(Sighting {
                    flow: flow.clone(),
                    client_mac: None,
                    evidence,
                    name_as_sent: name.as_ref().map(|_| BoundedText { text: "a:1".to_owned(), is_cut: true }),
                    name,
                    rule,
                    hello,
                    desync: Desync::ALL.iter().fold(Desync::NONE, |mut all, (reason, _)| {
                        all.add(*reason);
                        all
                    }),
                    summarised: 41,
                })));
            }
        }
    }
    facts
}

/// All facts, as lines of events.
fn events() -> Vec<Value> {
    let contexts = [
        Context::default(),
        Context {
            sensor_name: Some("tap 1".to_owned()),
            interfaces: vec!["eth0".to_owned()],
            bundle: Some(Bundle::builtin()),
            ..Context::default()
        },
    ];
    let facts = facts();
    let mut events = Vec::new();
    for context in &contexts {
        for fact in &facts {
            let mut line = Vec::new();
            let event = Event {
                timestamp_ns: 1_795_298_705_123_456_789,
                frame_number: 9,
                order: vigie::event::Order::default(),
                fact: fact.clone(),
            };
            encode(&event, context, &mut line);
            events.push(serde_json::from_slice(&line).unwrap());
        }
        let mut line = Vec::new();
        encode_stats(&Stats { uptime_s: 60, kernel_packets: u64::MAX, ..Stats::default() }, context, &mut line);
        events.push(serde_json::from_slice(&line).unwrap());
        for words in [vec![], vec!["sensor_stopped", "interface_down"]] {
            line.clear();
            let coverage =
                Coverage { interface: "eth0".to_owned(), drops_ring: u64::MAX, words, ..Coverage::default() };
            encode_coverage(&coverage, context, &mut line);
            events.push(serde_json::from_slice(&line).unwrap());
        }
    }
    events
}

fn assert_valid(validator: &Validator, events: &[Value]) {
    for event in events {
        let errors: Vec<_> = validator.iter_errors(event).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{errors:?} in {event}");
    }
}

#[test]
fn every_event_is_valid_against_the_own_schema() {
    let events = events();
    assert_valid(&validator(&own_schema()), &events);
    let mut kinds = BTreeMap::new();
    for event in &events {
        *kinds.entry(event["event_type"].as_str().unwrap()).or_insert(0) += 1;
    }
    assert_eq!(kinds.into_keys().collect::<Vec<_>>(), ["alert", "dns", "flow", "http", "quic", "stats", "tls"]);
}

/// The alerts that reading the captures of this repository gives.
#[test]
fn recorded_alerts_are_valid_against_the_own_schema() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("captures/expected");
    let validator = validator(&own_schema());
    let mut alerts = 0;
    for file in std::fs::read_dir(folder).unwrap().flatten() {
        if file.path().extension().is_none_or(|extension| extension != "jsonl") {
            continue;
        }
        let text = std::fs::read_to_string(file.path()).unwrap();
        let events: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_valid(&validator, &events);
        alerts += events.len();
    }
    assert!(alerts > 30, "{alerts}");
}

/// Writes all that judgement gives out.
struct Written(Context, Vec<Value>);

impl Written {
    fn line(&mut self, encode: impl FnOnce(&Context, &mut Vec<u8>)) {
        let mut line = Vec::new();
        encode(&self.0, &mut line);
        self.1.push(serde_json::from_slice(&line).unwrap());
    }
}

impl Output for Written {
    fn finding(&mut self, finding: &Finding<'_>) {
        if let Finding::Incident(change) = finding {
            self.line(|context, line| encode_incident(change, None, context, line));
        }
    }

    fn judged(&mut self, _: &vigie_judgement::Sighting<'_>) {}

    fn use_pseudonyms(&mut self, _: &Privacy, _: Rotation) {}

    fn alert(&mut self, sighting: &Event, under: &[Under]) {
        self.line(|context, line| encode_alert(sighting, context, under, line));
    }
}

#[test]
fn incidents_and_their_alerts_are_valid_against_both_schemas() {
    let capture = Path::new(env!("CARGO_MANIFEST_DIR")).join("captures/browsing.pcapng");
    let mut source = Files::open(&[capture], &FilesOptions::default()).unwrap();
    let mut events = Vec::new();
    let settings = vigie::read::Settings::default();
    vigie::read::read(&mut source, &settings, Bundle::builtin(), &mut |event| events.push(event)).unwrap();
    let limits = judging::Limits::default();
    let mut judging = Judging::new(Bundle::builtin(), Arc::new(Policy::builtin()), limits);
    let mut written = Written(Context::default(), Vec::new());
    events.into_iter().for_each(|event| judging.take(event, &[], &mut written));
    judging.finish(&mut written);
    let of = |gid: u64| written.1.iter().filter(|event| event["alert"]["gid"] == gid).count();
    assert!(of(1) > 2 && of(7) > 2, "{:#?}", written.1);
    let regions = |event: &Value| event["alert"]["context"]["vigie"]["regions"].is_array();
    assert!(written.1.iter().any(regions), "{:#?}", written.1);
    assert_valid(&validator(&own_schema()), &written.1);
    if let Some(schema) = suricata_schema() {
        assert_valid(&validator(&schema), &written.1);
    }
}

/// Each required field is missed, each field more is refused, each value of another type too: a validator that accepts
/// everything would make the tests above worthless.
#[test]
fn the_own_schema_refuses_what_vigie_does_not_write() {
    fn changed(value: &Value, change: &mut dyn FnMut(Value)) {
        let Value::Object(fields) = value else { return };
        let mut more = fields.clone();
        more.insert("vigie_extra".to_owned(), Value::from(1));
        change(Value::Object(more));
        for (name, field) in fields {
            let mut other = fields.clone();
            other.insert(name.clone(), Value::Null);
            change(Value::Object(other));
            changed(field, &mut |field| {
                let mut other = fields.clone();
                other.insert(name.clone(), field);
                change(Value::Object(other));
            });
        }
    }
    let validator = validator(&own_schema());
    let mut refused = 0;
    for event in events().iter().step_by(7) {
        changed(event, &mut |wrong| {
            assert!(!validator.is_valid(&wrong), "{wrong}");
            refused += 1;
        });
        for required in ["timestamp", "event_type", event["event_type"].as_str().unwrap()] {
            let mut fields = event.as_object().unwrap().clone();
            fields.remove(required);
            assert!(!validator.is_valid(&Value::Object(fields)), "without {required}: {event}");
        }
    }
    assert!(refused > 1000, "{refused}");
    let event = events().into_iter().find(|event| event["event_type"] == "tls").unwrap();
    for (field, wrong) in [
        ("timestamp", "2026-11-21T22:05:05.123456Z"),
        ("timestamp", "2026-11-21T22:05:05.123456+00:00"),
        ("src_ip", "192.0.2"),
        ("proto", "tcp"),
        ("community_id", "1:abc"),
        ("event_type", "quic"),
    ] {
        let mut event = event.clone();
        event[field] = Value::from(wrong);
        assert!(!validator.is_valid(&event), "{field}: {wrong}");
    }
}

#[test]
fn every_event_is_valid_against_suricatas_schema() {
    let Some(schema) = suricata_schema() else { return };
    let validator = validator(&schema);
    assert_valid(&validator, &events());
    for wrong in [
        r#"{"timestamp":"2026-11-21T22:05:05.123456Z","event_type":"tls"}"#,
        r#"{"timestamp":"2026-11-21T22:05:05.123456+0000","event_type":"tls","service":"tiktok"}"#,
        r#"{"timestamp":"2026-11-21T22:05:05.123456+0000","event_type":"tls","tls":{"ech":"grease"}}"#,
    ] {
        assert!(!validator.is_valid(&serde_json::from_str(wrong).unwrap()), "{wrong}");
    }
}
