//! No event is longer than its readers accept, whatever a client sends.

#![allow(clippy::unwrap_used, reason = "the helpers of tests are no #[test] functions")]

use std::net::SocketAddr;

use proptest::prelude::*;
use vigie::read::Settings;
use vigie::text::EVENT_BYTES_MAX;
use vigie::worker::EventTypes;
use vigie_tests::dns;
use vigie_tests::hello::Hello;
use vigie_tests::packets::{CLIENT, SERVER, udp};
use vigie_tests::replay::Replay;
use vigie_tests::tape::Tape;
use vigie_tests::tcp::Connection;

/// All events, with the longest texts that settings permit.
fn longest() -> Settings {
    let event_types = EventTypes { tls: true, quic: true, dns: true, flows: true, ..EventTypes::default() };
    let mut settings = Settings { event_types, ..Settings::default() };
    for (limit, bytes) in [
        ("event_name_bytes_max", 1_024),
        ("event_alpn_bytes_max", 2_048),
        ("event_user_agent_bytes_max", 1_024),
        ("event_answers_bytes_max", 6_144),
    ] {
        settings.limits.set(limit, bytes).unwrap();
        assert!(settings.limits.set(limit, bytes + 1).is_err(), "{limit}");
    }
    settings
}

fn assert_short(replay: &Replay) -> String {
    let eve = replay.eve();
    for line in eve.lines() {
        assert!(line.len() < EVENT_BYTES_MAX, "{} bytes: {line}", line.len());
        serde_json::from_str::<serde_json::Value>(line).unwrap();
    }
    eve
}

/// The extension of an ALPN list (RFC 7301 §3.1).
fn alpn(protocols: &[Vec<u8>]) -> Vec<u8> {
    let list: Vec<u8> =
        protocols.iter().flat_map(|protocol| [&[protocol.len() as u8][..], protocol].concat()).collect();
    [&(list.len() as u16).to_be_bytes()[..], &list].concat()
}

fn said(hello: &Hello) -> Replay {
    let mut settings = longest();
    settings.limits.set("stream_bytes_max", 1 << 20).unwrap();
    settings.limits.set("hello_bytes_max", 1 << 20).unwrap();
    let connection = Connection::default();
    let stream = hello.records(16_000);
    Tape::of(connection.opening()).then(connection.segments(&stream, 1_400)).replay_with(&settings)
}

#[test]
fn long_texts_are_cut_and_the_event_says_so() {
    let name = [&b"www.tiktok.com\0"[..], &[b'\\'; 20_000]].concat();
    let protocols = vec![vec![b'"'; 255]; 100];
    let replay = said(&Hello::to_bytes(&name).with(16, &alpn(&protocols)));
    assert_eq!(replay.alerts().count(), 1);
    let eve = assert_short(&replay);
    let words = r#""metadata":{"flowbits":["sni_truncated","client_alpns_truncated","name_as_sent_truncated"]}"#;
    assert!(eve.contains(words), "{eve}");
    for limit in ["event_name_bytes_max", "event_alpn_bytes_max"] {
        assert_eq!(replay.count("limit", limit), 1, "{limit}");
    }
    let replay = said(&Hello::to("www.tiktok.com").alpn(&["h2", "http/1.1"]));
    assert!(!assert_short(&replay).contains("_truncated"));
}

#[test]
fn records_of_long_answers_are_left_out() {
    let label = "\"".repeat(60);
    let name = format!("{label}.{label}.{label}.tiktok.com");
    let mut message = dns::answer(&name, SERVER.ip(), 60);
    let record = message[message.len() - 16..].to_vec();
    (0..99).for_each(|_| message.extend(&record));
    message[6..8].copy_from_slice(&100_u16.to_be_bytes());
    let resolver: SocketAddr = "198.51.100.53:53".parse().unwrap();
    let tape = Tape::of([udp(resolver, SocketAddr::new(CLIENT.ip(), 54_321), &message)]);
    let replay = tape.replay_with(&longest());
    let eve = assert_short(&replay);
    assert!(eve.contains(r#""metadata":{"flowbits":["answers_truncated"]}"#), "{eve}");
    assert_eq!(replay.count("limit", "event_answers_bytes_max"), 1);
    let (_, answer) = replay.answers().next().unwrap();
    assert!((10..100).contains(&answer.answers.len()), "{}", answer.answers.len());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn no_hello_makes_a_long_event(
        name in proptest::collection::vec(any::<u8>(), 0..30_000),
        is_odd in any::<bool>(),
        protocols in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..250), 0..100),
    ) {
        let name = if is_odd { [&b"https://www.tiktok.com/"[..], &name].concat() } else { name };
        let hello = Hello::to_bytes(&name);
        let hello = if protocols.is_empty() { hello } else { hello.with(16, &alpn(&protocols)) };
        assert_short(&said(&hello));
    }
}
