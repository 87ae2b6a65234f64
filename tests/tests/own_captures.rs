//! The project's own captures: every name that an independent decoder found in them is reported, and nothing else;
//! exactly the flows alert that should, by the right evidence; and alerts stay the same, byte for byte.
//!
//! `VIGIE_BLESS=1 cargo test -p vigie-tests --test own_captures` writes `captures/expected` anew. That is right only when
//! the change of alerts is meant: look at the difference before it is committed.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;

use vigie::event::Sighting;
use vigie::read::Settings;
use vigie_signatures::Verdict;
use vigie_tests::replay::{self, Replay, client, server, transport};
use vigie_tests::truth::{self, CAPTURES, Named};

fn read(capture: &str, settings: &Settings) -> Replay {
    let replay = replay::file(&truth::capture(capture), settings).unwrap();
    assert!(replay.statistics.warnings.is_empty(), "{:?}", replay.statistics.warnings);
    replay
}

fn sorted<T: Ord>(items: impl IntoIterator<Item = T>) -> Vec<T> {
    let mut items: Vec<T> = items.into_iter().collect();
    items.sort();
    items
}

/// One record for each hello that is there: none missing, none twice, none invented.
#[test]
fn every_hello_is_reported_and_nothing_else() {
    let mut hellos = 0;
    for capture in CAPTURES {
        let replay = read(capture, &replay::everything_named());
        let reported = replay.hellos().map(|(flow, hello)| Named {
            proto: transport(hello).to_owned(),
            client: client(flow),
            server: server(flow),
            name: hello.server_name.clone(),
        });
        let reported = sorted(reported);
        assert_eq!(reported, sorted(truth::hellos(capture)), "{capture}");
        assert!(replay.hellos().all(|(_, hello)| !hello.partial), "{capture}");
        hellos += reported.len();
    }
    assert!(hellos > 60, "{hellos}");
}

/// Names in clear text have no record of their own: they are counted, and those that should alert do (see below).
#[test]
fn every_name_in_clear_text_is_seen() {
    for capture in CAPTURES {
        let replay = read(capture, &Settings::default());
        let truth = truth::clear_text(capture);
        for (reason, protos) in
            [("http_host", &["http-host"][..]), ("http_connect", &["http-connect"]), ("socks", &["socks5", "socks4a"])]
        {
            // A flow's clear text is listened to until its first name that is nobody's way to another.
            let flows = truth.iter().filter(|row| protos.contains(&row.proto.as_str())).count() as u64;
            assert_eq!(replay.count("clear_text", reason), flows, "{capture} {reason}");
        }
    }
}

#[test]
fn every_dns_answer_is_reported_and_nothing_else() {
    let mut answers = 0;
    for capture in CAPTURES {
        let replay = read(capture, &replay::everything_named());
        let reported = replay.answers().map(|(flow, answer)| {
            let kind = match answer.question_type {
                1 => "A".to_owned(),
                28 => "AAAA".to_owned(),
                65 => "HTTPS".to_owned(),
                16 => "TXT".to_owned(),
                other => other.to_string(),
            };
            let rcode = match answer.flags & 0xf {
                0 => "NOERROR".to_owned(),
                3 => "NXDOMAIN".to_owned(),
                other => other.to_string(),
            };
            // The truth has them by kind: CNAME, A, AAAA, then whether the answer was cut.
            let of_kind = |kind: u16| answer.answers.iter().filter(move |record| record.record_type == kind);
            let data = [5, 1, 28].into_iter().flat_map(of_kind).map(|record| record.data.as_str());
            let cut = (answer.flags & 0x0200 != 0).then_some("truncated");
            let data: Vec<&str> = data.chain(cut).collect();
            let data = if data.is_empty() { "-".to_owned() } else { data.join(",") };
            let proto = if flow.protocol == 6 { "tcp" } else { "udp" };
            format!("{proto} {} < {} {} {kind} {rcode} {data}", flow.client.ip(), flow.server.ip(), answer.question)
        });
        let reported = sorted(reported);
        assert_eq!(reported, sorted(truth::dns(capture)), "{capture}");
        answers += reported.len();
    }
    assert!(answers > 100, "{answers}");
}

/// What an alert should say.
#[derive(Debug, PartialEq)]
struct Due {
    evidence: &'static str,
    service: String,
    name: Option<String>,
}

/// The flows of a capture that should alert, from the truth and the README's table.
fn due(capture: &str) -> BTreeMap<(SocketAddr, SocketAddr), Due> {
    let hosts = truth::hosts();
    let described = truth::described(capture);
    let rows = truth::hellos(capture).len() + truth::clear_text(capture).len();
    assert_eq!(described.len(), rows, "{capture}: the README's table is not that of the truth files");
    let mut due = BTreeMap::new();
    // What a connection says first tells it: the proxy's name stands before the hello within.
    let first = |proto: &str| match proto {
        "http-connect" | "socks4a" | "socks5" => 0,
        "http-host" => 1,
        _ => 2,
    };
    let mut by_time: Vec<_> = described.iter().filter(|row| row.alerts).collect();
    by_time.sort_by_key(|row| first(&row.named.proto));
    for row in by_time {
        let told = match (&row.named.name, row.why.split_once(": ")) {
            (Some(name), _) => {
                assert!(hosts[name].alerts, "{name}");
                let evidence = match row.named.proto.as_str() {
                    "tls" => "tls-sni",
                    "quic" => "quic-sni",
                    "dtls" => "dtls-sni",
                    "http-host" => "http-host",
                    "http-connect" => "http-connect",
                    "socks4a" | "socks5" => "socks",
                    other => panic!("{other}"),
                };
                Due { evidence, service: hosts[name].service.clone().unwrap(), name: Some(name.clone()) }
            }
            (None, Some((kind @ ("dns" | "tls-cert"), why))) => {
                let name = why.split([' ', ';']).find(|word| hosts.contains_key(*word)).unwrap();
                let evidence = if kind == "dns" { "dns" } else { "tls-cert" };
                Due { evidence, service: hosts[name].service.clone().unwrap(), name: Some(name.to_owned()) }
            }
            (None, Some(("prefix", _))) => {
                Due { evidence: "prefix", service: "bytedance-infra".to_owned(), name: None }
            }
            (None, why) => panic!("{why:?}"),
        };
        due.entry((row.named.client, row.named.server)).or_insert(told);
    }
    for row in described.iter().filter(|row| !row.alerts) {
        assert!(row.named.name.as_ref().is_none_or(|name| !hosts[name].alerts), "{row:?}");
    }
    due
}

/// One alert for each flow that should, with its evidence; no other alert.
#[test]
fn exactly_the_flows_alert_that_should() {
    let mut alerts = 0;
    for capture in CAPTURES {
        let replay = read(capture, &Settings::default());
        let mut due = due(capture);
        alerts += due.len();
        for alert in replay.alerts() {
            let ends = (client(&alert.flow), server(&alert.flow));
            let said = Due {
                evidence: alert.evidence.as_str(),
                service: alert.rule.service.clone(),
                name: alert.name.clone(),
            };
            assert_eq!(Some(said), due.remove(&ends), "{capture}: {ends:?}");
        }
        assert!(due.is_empty(), "{capture}: no alert for {due:?}");
    }
    assert!(alerts > 45, "{alerts}");
}

/// An app is told from a visit exactly where the names can; what a page embeds is never called more than that.
#[test]
fn verdicts_never_say_more_than_the_truth() {
    let hosts = truth::hosts();
    let mut verdicts = BTreeMap::new();
    let mut check = |alert: &Sighting| {
        let Some(name) = &alert.name else { return };
        let (said, truth) = (alert.rule.verdict(), hosts[name].verdict.as_deref().unwrap());
        assert_eq!(said == Verdict::App, truth == "app", "{name}: {said:?}");
        assert!(truth != "embed" || said == Verdict::Embed, "{name}: {said:?}");
        *verdicts.entry(truth.to_owned()).or_insert(0) += 1;
    };
    for capture in CAPTURES {
        read(capture, &Settings::default()).alerts().for_each(&mut check);
    }
    assert_eq!(verdicts.keys().map(String::as_str).collect::<Vec<_>>(), ["app", "embed", "undetermined", "web"]);
}

#[test]
fn alerts_are_the_same_byte_for_byte() {
    let bless = std::env::var_os("VIGIE_BLESS").is_some();
    for capture in CAPTURES {
        let path = truth::folder().join("expected").join(format!("{capture}.jsonl"));
        let alerts = read(capture, &Settings::default());
        // As `vigie read --events sighting` writes them.
        let alerts = Replay {
            events: alerts
                .events
                .iter()
                .filter(|event| matches!(event.fact, vigie::event::Fact::Sighting(_) | vigie::event::Fact::Question(_)))
                .cloned()
                .collect(),
            ..alerts
        };
        if bless {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, alerts.eve()).unwrap();
        }
        let expected = fs::read_to_string(&path).unwrap();
        for (place, (said, expected)) in alerts.eve().lines().zip(expected.lines()).enumerate() {
            assert_eq!(said, expected, "{} line {}; VIGIE_BLESS=1 accepts", path.display(), place + 1);
        }
        assert_eq!(alerts.eve().len(), expected.len(), "{}", path.display());
    }
}

/// The same capture twice gives the same events, those of all kinds.
#[test]
fn replays_are_alike() {
    for capture in CAPTURES {
        let [first, second] = [0, 1].map(|_| read(capture, &replay::everything_named()).eve());
        assert!(first == second && !first.is_empty(), "{capture}");
    }
}

/// However many workers share the flows, the same events come in the same order.
#[test]
fn any_number_of_workers_says_the_same() {
    let mut settings = replay::everything_named();
    settings.event_types.flows = true;
    for capture in CAPTURES {
        let alone = read(capture, &settings);
        for workers in [2, 3, 8] {
            let events = replay::side_by_side(&truth::capture(capture), workers, &settings);
            let (ours, theirs) = (replay::eve(&events, &alone.interfaces), alone.eve());
            for (ours, theirs) in ours.lines().zip(theirs.lines()) {
                assert_eq!(ours, theirs, "{capture}, {workers} workers");
            }
            assert_eq!(ours.len(), theirs.len(), "{capture}, {workers} workers");
        }
    }
}
