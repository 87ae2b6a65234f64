//! The attack on pseudonyms: somebody who reads events, and knows ports and times from other logs, tries every address of a
//! network until an id of the event comes out. It must find nothing in pseudonymised events; that it finds the client in
//! others shows that it works.

use std::net::{IpAddr, Ipv4Addr};

use serde_json::Value;
use vigie_decode::Address;
use vigie_flow::FlowKey;
use vigie_journal::community_id::community_id;
use vigie_judgement::policy::Policy;
use vigie_judgement::{
    Client, Finding, IncidentLimits, Incidents, Origin, Recogniser, Sighting, Thresholds, incident_id as id_of,
};
use vigie_privacy::PeriodKey;
use vigie_signatures::Clients;

use super::tests::{alert, rule};
use super::*;
use crate::event::Order;

const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 1, 2, 3);
const SERVER: Ipv4Addr = Ipv4Addr::new(8, 8, 8, 8);
const PORTS: (u16, u16) = (50123, 443);
/// Whole microseconds, as capture files and events have them.
const START_NS: u64 = 1_795_298_705_123_456_000;

/// Every address of the /16 that the client is in; the whole of 10/8 is the same, 256 times as long.
fn candidates() -> impl Iterator<Item = Ipv4Addr> {
    (0..=u16::MAX).map(|rest| Ipv4Addr::from_bits(u32::from_be_bytes([10, 1, 0, 0]) | u32::from(rest)))
}

/// The packet that opened the flow, if this was the client.
fn flow_id_of(client: Ipv4Addr) -> u64 {
    let packet = vigie_decode::Packet {
        source: Address::from(IpAddr::V4(client)),
        destination: Address::from(IpAddr::V4(SERVER)),
        source_port: PORTS.0,
        destination_port: PORTS.1,
        protocol: 6,
        encapsulation: Encapsulation::default(),
        transport: vigie_decode::Transport::Other,
    };
    FlowKey::of(&packet).0.stable_id(START_NS)
}

fn context(is_pseudonymous: bool) -> Context {
    let key = PeriodKey::parse(&"5a".repeat(32)).unwrap();
    let pseudonyms = Arc::new(Pseudonyms::new("2026-11".parse().unwrap(), &key));
    let sensor_name = Some("tap".to_owned());
    Context { sensor_name, pseudonyms: is_pseudonymous.then_some(pseudonyms), ..Context::default() }
}

fn event() -> Event {
    let mut alert = alert(Evidence::TlsSni, None);
    alert.flow.id = flow_id_of(CLIENT);
    alert.flow.first_seen_ns = START_NS;
    let fact = Fact::Sighting(Box::new(alert));
    Event { timestamp_ns: START_NS, frame_number: 4, order: Order::default(), fact }
}

fn alert_line(context: &Context) -> String {
    let (event, mut out) = (event(), Vec::new());
    let (incident, ban) = ("k7q2m-4x9d0-f".to_owned(), "fr".to_owned());
    let under = Under { incident, ban, scope: String::new(), site: String::new() };
    encode_alert(&event, context, &[under], &mut out);
    String::from_utf8(out).unwrap()
}

/// The lines of an incident of one client.
fn incident_lines(client: &Client, context: &Context, incidents: Incidents) -> Vec<String> {
    let mut incidents = incidents;
    let recogniser = Recogniser::new(Bundle::builtin(), Clients::builtin());
    let (policy, bundle, mut lines) = (Policy::builtin(), recogniser.bundle(), Vec::new());
    let origin = Origin::address(IpAddr::V4(CLIENT));
    let mut tell = |finding: Finding<'_>| {
        let Finding::Incident(change) = finding else { return };
        let mut out = Vec::new();
        encode_incident(&change, None, context, &mut out);
        lines.push(String::from_utf8(out).unwrap());
    };
    for name in ["tnc16-normal-no1a.tiktokv.eu", "frontier.tiktokv-eu.com"] {
        let rule = recogniser.flow(Some(name), None).unwrap();
        let attribution = recogniser.attribute(rule).unwrap();
        let sighting = Sighting {
            time_ns: START_NS,
            ..Sighting::of_flow((client, &origin), (&attribution.service, &attribution.owner), rule, name)
        };
        incidents.sighting(&policy, bundle, &sighting, &mut tell);
    }
    incidents.end(&policy, bundle, &mut tell);
    lines
}

fn incidents() -> Incidents {
    Incidents::new(Thresholds::default(), 9, IncidentLimits::default())
}

fn text<'v>(metadata: &'v Value, key: &str) -> &'v str {
    metadata[key][0].as_str().unwrap_or_default()
}

/// By what the attack finds the client of an event.
fn found(line: &str) -> Vec<&'static str> {
    let event: Value = serde_json::from_str(line).unwrap();
    let metadata = &event["alert"]["metadata"];
    let mut ways = Vec::new();
    for client in candidates() {
        let mut way = |way, is_found: bool| {
            if is_found {
                assert_eq!(client, CLIENT, "by {way}");
                ways.push(way);
            }
        };
        let [from, to] = [(client, PORTS.0), (SERVER, PORTS.1)].map(|(address, port)| (IpAddr::V4(address), port));
        way("src_ip", event["src_ip"] == client.to_string());
        let community = community_id(6, from, to);
        way("community_id", event["community_id"].as_str().is_some_and(|id| id.as_bytes() == community));
        let flow_id = flow_id_of(client);
        way("flow_id", event["flow_id"] == flow_id);
        // Without pseudonyms, event ids are computed from what stands in the event.
        let plain = Context { pseudonyms: None, ..context(false) };
        let event_id = if metadata["incident_state"].is_null() {
            let parts = [flow_id.to_string(), rule().signature_id.to_string(), START_NS.to_string()];
            incident::hash(&parts.each_ref().map(String::as_str), &plain)
        } else {
            let [service, ban, day] = ["service", "ban", "day"].map(|key| text(metadata, key));
            let parts = [client.to_string(), service.into(), ban.into(), day.into(), START_NS.to_string()];
            let id = id_of(&parts.each_ref().map(|part| part.as_bytes()));
            way("incident", text(metadata, "incident") == id);
            let [state, revision] = ["incident_state", "incident_revision"].map(|key| text(metadata, key));
            incident::hash(&[&id, state, revision, &START_NS.to_string()], &plain)
        };
        way("event_id", text(metadata, "event_id") == event_id);
    }
    ways
}

#[test]
fn ids_without_a_key_name_the_client() {
    assert_eq!(found(&alert_line(&context(false))), ["src_ip", "community_id", "flow_id", "event_id"]);
    let lines = incident_lines(&Client::Address(IpAddr::V4(CLIENT)), &context(false), incidents());
    assert_eq!(lines.len(), 2);
    for line in lines {
        assert_eq!(found(&line), ["src_ip", "incident", "event_id"], "{line}");
    }
}

#[test]
fn pseudonymised_events_name_nobody() {
    let mut lines = vec![alert_line(&context(true))];
    lines.extend(incident_lines(&Client::Address(IpAddr::V4(CLIENT)), &context(true), incidents()));
    assert_eq!(lines.len(), 3);
    for line in lines {
        assert_eq!(found(&line), [""; 0], "{line}");
        assert!(line.contains(r#""pseudonym_period":["2026-11"]"#), "{line}");
        for named in ["10.1.2.3", "50123", "community_id", "src_port"] {
            assert!(!line.contains(named), "{named} in {line}");
        }
        let event: Value = serde_json::from_str(&line).unwrap();
        let pseudonym = event["src_ip"].as_str().unwrap();
        assert_eq!(context(true).pseudonyms.unwrap().reveal(pseudonym), Ok("10.1.2.3".to_owned()));
        assert!(event["flow_id"].is_null() || event["flow_id"].as_u64().unwrap() < 1 << 53);
    }
}

#[test]
fn the_ends_of_a_tunnel_are_left_out_beside_a_pseudonym() {
    let mut event = event();
    if let Fact::Sighting(alert) = &mut event.fact {
        let ends = [[10, 1, 2, 3], [192, 0, 2, 1]].map(|end| Some(Address::v4(end)));
        let [source, destination] = ends;
        alert.flow.encapsulation.tunnel =
            Some(vigie_decode::Tunnel { kind: TunnelKind::SixInFour, source, destination });
        alert.flow.encapsulation.tunnel_depth = 1;
    }
    let (mut open, mut hidden) = (Vec::new(), Vec::new());
    encode(&event, &context(false), &mut open);
    encode(&event, &context(true), &mut hidden);
    let [open, hidden] = [open, hidden].map(|line| String::from_utf8(line).unwrap());
    assert!(
        open.contains(r#""tunnel":{"src_ip":"10.1.2.3","dest_ip":"192.0.2.1","proto":"IPv6","depth":1}"#),
        "{open}"
    );
    assert!(hidden.contains(r#""tunnel":{"proto":"IPv6","depth":1}"#) && !hidden.contains("10.1.2.3"), "{hidden}");
}

#[test]
fn a_warning_names_neither_client_nor_pseudonym() {
    for is_pseudonymous in [false, true] {
        let warning = incidents().warning_first(vigie_privacy::PeriodLength::Month);
        let context = context(is_pseudonymous);
        let lines = incident_lines(&Client::Address(IpAddr::V4(CLIENT)), &context, warning);
        assert_eq!(lines.len(), 2);
        let pseudonym = context.client(IpAddr::V4(CLIENT)).to_string();
        for line in lines {
            assert!(line.contains(r#""warning":["true"],"service":["tiktok"]"#), "{line}");
            for named in ["10.1.2.3", pseudonym.as_str(), "src_ip", "\"client\"", "\"scope\"", "pseudonym_period"] {
                assert!(!line.contains(named), "{named} in {line}");
            }
        }
    }
}
