use std::sync::Arc;

use super::*;
use vigie_judgement::{Attribution, Cases, Change, Kind as VerdictKind, Origin, Recogniser, Stack, Thresholds};
use vigie_signatures::{Bundle, Clients};

fn recogniser() -> Recogniser {
    Recogniser::new(Bundle::builtin(), Clients::builtin())
}

fn contact(recogniser: &Recogniser, seconds: u64, name: &str) -> Contact {
    let rule = recogniser.flow(Some(name), None).unwrap();
    let attribution: &Attribution = recogniser.attribute(rule).unwrap();
    Contact {
        time_ns: seconds * SECOND_NS,
        client: Client::Address("10.0.0.1".parse().unwrap()),
        origin: Origin::unknown(),
        server: None,
        rule: Arc::clone(rule),
        attribution: attribution.clone(),
        name: name.into(),
        kind: Kind::Flow,
        stack: Stack::Other,
        answered: Answered::Unknown,
        bytes_to_client: 0,
        bytes_to_server: 0,
        is_cleartext: false,
        flow: None,
    }
}

const fn record(logged_s: u64, what: What) -> Record {
    Record { logged_ns: logged_s * SECOND_NS, what }
}

fn end(flow: FlowKey, start_s: u64, end_s: u64, bytes: u64) -> FlowEnd {
    FlowEnd {
        flow,
        start_ns: start_s * SECOND_NS,
        end_ns: end_s * SECOND_NS,
        bytes_to_client: bytes,
        bytes_to_server: bytes / 10,
        answered: Answered::Yes,
        nameless: None,
    }
}

/// An episode as it ended: kind, first and last second, bytes, flows.
type Ended = (VerdictKind, u64, u64, u64, u32);

/// Episodes as they ended, and the counts.
fn judged(limits: Limits, records: Vec<Record>) -> (Vec<Ended>, Counts) {
    let mut contacts = Contacts::new(limits);
    let mut cases = Cases::new(Thresholds::default(), 100);
    let mut episodes = Vec::new();
    let mut tell = |change: Change<'_>| {
        if change.is_over {
            let episode = change.episode;
            let seconds = |time_ns| time_ns / SECOND_NS;
            let (first, last) = (seconds(episode.first_ns), seconds(episode.last_ns));
            episodes.push((change.judgement.kind, first, last, episode.bytes_to_client, episode.flows));
        }
    };
    for record in records {
        contacts.take(record, None, &mut |sighting, _: Option<()>| cases.sighting(sighting, &mut tell));
    }
    contacts.finish(&mut |sighting, _| cases.sighting(sighting, &mut tell));
    let counts = contacts.counts().clone();
    cases.end(&mut tell);
    (episodes, counts)
}

fn single(recogniser: &Recogniser, seconds: u64, name: &str) -> Record {
    record(seconds, What::Contact(Box::new(contact(recogniser, seconds, name))))
}

#[test]
fn lines_out_of_order_are_put_right() {
    let recogniser = recogniser();
    let lines = [10, 70, 11, 131, 12].map(|seconds| single(&recogniser, seconds, "www.tiktok.com"));
    let (episodes, counts) = judged(Limits::default(), lines.into());
    assert_eq!(episodes, [(VerdictKind::Player, 10, 131, 0, 5)]);
    // At 131 all before 71 was judged; 12 came after.
    assert_eq!((counts.contacts, counts.late), (5, 1));
}

#[test]
fn the_end_of_a_flow_brings_its_bytes() {
    let recogniser = recogniser();
    let mut hello = contact(&recogniser, 100, "v45.tiktokcdn-eu.com");
    hello.flow = Some(7);
    let front = single(&recogniser, 100, "www.tiktok.com");
    let records = vec![
        front,
        record(100, What::Contact(Box::new(hello))),
        record(800, What::FlowEnd(end(7, 100, 700, 41_000_000))),
    ];
    let (episodes, counts) = judged(Limits::default(), records);
    // Bytes come every minute, so the episode lasts as long as the flow.
    assert_eq!(episodes, [(VerdictKind::SiteOrPlayer, 100, 700, 41_000_000, 2)]);
    assert_eq!(counts, Counts { contacts: 2, ..Counts::default() });
}

#[test]
fn bytes_of_long_flows_come_before_the_silence_and_sum_up() {
    let recogniser = recogniser();
    for length_s in [0, 1, 59, 60, 61, 3_840, 3_841, 7_200, 86_400] {
        let mut hello = contact(&recogniser, 1_000, "www.tiktok.com");
        hello.flow = Some(7);
        let records = vec![
            record(1_000, What::Contact(Box::new(hello))),
            record(1_000 + length_s, What::FlowEnd(end(7, 1_000, 1_000 + length_s, 1_000_003))),
        ];
        let limits = Limits { flow_wait_s: 100_000, ..Limits::default() };
        let (episodes, _) = judged(limits, records);
        assert_eq!(episodes.len(), 1, "{length_s}");
        assert_eq!((episodes[0].1, episodes[0].2, episodes[0].3), (1_000, 1_000 + length_s, 1_000_003), "{length_s}");
    }
}

#[test]
fn a_second_line_for_a_flow_is_no_second_flow() {
    let recogniser = recogniser();
    let line = |seconds, name| {
        let mut contact = contact(&recogniser, seconds, name);
        contact.flow = Some(7);
        record(seconds, What::Contact(Box::new(contact)))
    };
    let records = vec![line(1, "www.tiktok.com"), line(2, "www.tiktok.com"), line(3, "im-ws.tiktok.com")];
    let (episodes, _) = judged(Limits::default(), records);
    assert_eq!(episodes, [(VerdictKind::Site, 1, 3, 0, 2)]);
}

#[test]
fn a_flow_that_nothing_named_is_known_by_its_server() {
    let recogniser = recogniser();
    let nameless = || {
        let rule = recogniser.flow(None, Some("34.102.215.99".parse().unwrap())).unwrap();
        let attribution = recogniser.attribute(rule).unwrap();
        let mut contact = contact(&recogniser, 100, "www.tiktok.com");
        (contact.rule, contact.attribution, contact.name) = (Arc::clone(rule), attribution.clone(), "".into());
        Some(Box::new(contact))
    };
    let flow_end = |nameless| record(110, What::FlowEnd(FlowEnd { nameless, ..end(7, 100, 110, 500) }));
    let (episodes, _) = judged(Limits::default(), vec![flow_end(nameless())]);
    assert_eq!(episodes, [(VerdictKind::NativeUnattributed, 100, 110, 500, 1)]);
    let (episodes, _) = judged(Limits::default(), vec![record(100, What::Named(7)), flow_end(nameless())]);
    assert_eq!(episodes, []);
}

#[test]
fn what_a_dns_server_asks_others_asked() {
    let recogniser = recogniser();
    let question = |client: &str, server: &str| {
        let mut contact = contact(&recogniser, 100, "im-ws.tiktok.com");
        contact.client = Client::Address(client.parse().unwrap());
        contact.server = Some(server.parse().unwrap());
        contact.kind = Kind::DnsQuestion;
        record(100, What::Contact(Box::new(contact)))
    };
    let records = vec![question("10.0.0.53", "192.0.2.53"), question("10.0.0.1", "10.0.0.53")];
    let (episodes, counts) = judged(Limits::default(), records);
    assert_eq!((episodes.len(), counts.contacts), (1, 1));
}

/// Whether the episode of a flow with this answer is an attempt, where others were answered or not.
fn attempt(answered: Answered, others: Option<u64>) -> Option<bool> {
    let recogniser = recogniser();
    let mut hello = contact(&recogniser, 600, "www.tiktok.com");
    hello.flow = Some(7);
    let mut records = vec![
        record(600, What::Contact(Box::new(hello))),
        record(610, What::FlowEnd(FlowEnd { answered, ..end(7, 600, 610, 0) })),
    ];
    records.extend(others.map(|start_s| record(620, What::FlowEnd(end(8, start_s, start_s + 1, 9)))));
    let mut contacts = Contacts::new(Limits::default());
    let mut cases = Cases::new(Thresholds::default(), 100);
    let mut attempt = None;
    let mut tell = |change: Change<'_>| attempt = change.judgement.attempt;
    for record in records {
        contacts.take(record, None, &mut |sighting, _: Option<()>| cases.sighting(sighting, &mut tell));
    }
    contacts.finish(&mut |sighting, _| cases.sighting(sighting, &mut tell));
    cases.end(&mut tell);
    attempt
}

#[test]
fn no_answer_counts_where_others_were_answered_in_that_minute() {
    assert_eq!(attempt(Answered::No, Some(610)), Some(true));
    assert_eq!(attempt(Answered::No, Some(660)), Some(true));
    assert_eq!(attempt(Answered::No, Some(720)), None);
    assert_eq!(attempt(Answered::No, Some(480)), None);
    assert_eq!(attempt(Answered::No, None), None);
    assert_eq!(attempt(Answered::Yes, None), Some(false));
    assert_eq!(attempt(Answered::Unknown, Some(610)), None);
}

#[test]
fn limits_are_counted_where_they_bite() {
    let recogniser = recogniser();
    let lines =
        |count: u64| (0..count).map(|seconds| single(&recogniser, seconds, "www.tiktok.com")).collect::<Vec<_>>();
    let (_, counts) = judged(Limits { waiting_max: 3, ..Limits::default() }, lines(5));
    assert_eq!((counts.contacts, counts.hurried), (5, 2));
    // One is always too much for so few bytes.
    let (_, counts) = judged(Limits { waiting_bytes_max: 1, ..Limits::default() }, lines(5));
    assert_eq!((counts.contacts, counts.hurried), (5, 5));
    let flows = (0..5_u64).map(|number| {
        let mut contact = contact(&recogniser, number, "www.tiktok.com");
        contact.flow = Some(number.into());
        record(number, What::Contact(Box::new(contact)))
    });
    let (_, counts) = judged(Limits { flows_max: 2, ..Limits::default() }, flows.collect());
    assert_eq!(counts.flows_forgotten, 3);
}

#[test]
fn forgotten_flows_leave_no_trace() {
    let mut flows = Flows::new();
    for flow in 0..1_000 {
        assert_eq!(flows.insert(flow, (), 8), 0);
        flows.known.remove(&flow);
    }
    assert!(flows.order.len() <= 17, "{}", flows.order.len());
}
