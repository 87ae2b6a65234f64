//! Kafka: the real broker `tansu`, which `tests/kafka` installs. Its authentication (SCRAM) asks its storage for users, and of the
//! storages in this build neither memory nor S3 keeps any: a user that is made is not there afterwards. So what is tested of passwords
//! is that one is refused; that a right one is let in is not.
#![cfg(feature = "kafka")]
// Clippy knows only functions marked as tests, which may panic.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use common::broker::{Broker, consume, consume_at};
use common::{Authority, Place, Running, has, line, numbers, until};

const TOPIC: &str = "vigie-events";

fn receiver(port: u16, more: &str) -> String {
    let transport = if more.contains("transport") { "" } else { "transport = \"tcp\"\n" };
    format!(
        "[[receiver]]\nname = \"kafka\"\nkind = \"kafka\"\nbrokers = \"localhost:{port}\"\ntopic = {TOPIC:?}\ntimeout_s = 4\n\
         events = [\"incidents\", \"audit\"]\n{transport}{more}"
    )
}

/// A journal with incidents of several ids, and their lines.
fn append_incidents(place: &Place, events: usize) {
    let text: String = (0..events)
        .map(|number| line(number).replace("k7q2m-4x9d0-f", &format!("incident-{}", number % 7)) + "\n")
        .collect();
    fs::write(place.path("journal/00000001.jsonl"), text).unwrap();
}

#[test]
fn events_arrive_once_and_in_the_order_of_their_incident() {
    let Some(broker) = Broker::start() else { return };
    broker.create(TOPIC, 3);
    let place = Place::new();
    append_incidents(&place, 5_000);
    let audit = line(9_999).replace("\"gid\":7", "\"gid\":8").replace("\"incident\":[\"k7q2m-4x9d0-f\"],", "");
    fs::write(place.path("journal/00000002.jsonl"), audit + "\n").unwrap();
    place.configure(&receiver(broker.port, ""));
    let output = place.once();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let messages = consume(broker.port, TOPIC, 3, 5_001);
    let mut by_key: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (key, payload) in &messages {
        by_key.entry(key.clone()).or_default().extend(numbers(payload));
    }
    for (key, found) in &by_key {
        assert!(found.windows(2).all(|pair| pair[0] < pair[1]), "{key}: {found:?}");
    }
    assert_eq!(by_key.len(), 8, "{:?}", by_key.keys());
    assert_eq!(by_key["tap"], [9_999]);
    assert_eq!(by_key.values().map(Vec::len).sum::<usize>(), 5_001);
    let check = place.check();
    let said = String::from_utf8_lossy(&check.stdout).into_owned();
    assert!(said.contains(&format!("localhost:{} has the topic {TOPIC}", broker.port)), "{said}");
}

#[test]
fn a_topic_that_is_not_there_is_told_and_waited_for() {
    let Some(broker) = Broker::start() else { return };
    let place = Place::new();
    append_incidents(&place, 100);
    place.configure(&receiver(broker.port, ""));
    let check = place.check();
    let said = String::from_utf8_lossy(&check.stdout).into_owned();
    assert!(said.contains("has no topic vigie-events; create it, or correct its name"), "{said}");
    assert_eq!(check.status.code(), Some(69));
    let forwarder = place.start();
    place.until_log("has no topic vigie-events");
    broker.create(TOPIC, 3);
    place.until_log("works again");
    assert_eq!(consume(broker.port, TOPIC, 3, 100).len(), 100);
    assert_eq!(place.log().matches("has no topic").count(), 1, "{}", place.log());
    forwarder.end();
}

#[test]
fn a_broker_that_is_dead_or_frozen_is_told_and_waited_for() {
    let Some(mut broker) = Broker::unstarted() else { return };
    let place = Place::new();
    append_incidents(&place, 2_000);
    place.configure(&receiver(broker.port, ""));
    let forwarder = place.start();
    place.until_log("check hosts, ports and transport, and that the brokers run");
    broker.run(&[]);
    broker.create(TOPIC, 3);
    assert_eq!(consume(broker.port, TOPIC, 3, 2_000).len(), 2_000);
    broker.signal("STOP");
    fs::write(place.path("journal/00000002.jsonl"), line(7_000) + "\n").unwrap();
    place.until_log("within 4 s (timeout_s)");
    broker.signal("CONT");
    let found = consume(broker.port, TOPIC, 3, 2_001);
    assert!(found.iter().any(|(_, payload)| numbers(payload) == [7_000]), "{}", found.len());
    forwarder.end();
}

#[test]
fn a_password_that_is_refused_is_told_and_shown_nowhere() {
    let Some(mut broker) = Broker::unstarted() else { return };
    broker.run(&["--authentication"]);
    let place = Place::new();
    append_incidents(&place, 10);
    let secret = "opensesame-4711";
    fs::write(place.path("password"), secret).unwrap();
    let file = place.path("password");
    place.configure(&receiver(broker.port, &format!("user = \"vigie\"\npassword_file = {file:?}\n")));
    let check = place.check();
    let said = String::from_utf8_lossy(&[check.stdout, check.stderr].concat()).into_owned();
    assert!(said.contains("refuses user, password or mechanism"), "{said}");
    let forwarder = place.start();
    place.until_log("refuses user, password or mechanism");
    forwarder.end();
    assert!(!said.contains(secret) && !place.log().contains(secret));
}

#[test]
fn certificates_are_checked_and_each_fault_has_its_message() {
    let Some(mut broker) = Broker::unstarted() else { return };
    if !has("socat", "socat") {
        return;
    }
    let place = Place::new();
    let Some(authority) = Authority::new(&place) else { return };
    append_incidents(&place, 50);
    authority.sign("good", "DNS:localhost", true);
    authority.sign("expired", "DNS:localhost", false);
    authority.sign("other", "DNS:elsewhere.example", true);
    let ca = place.path("ca.pem");
    let front = common::free_port();
    let with_ca = receiver(front, &format!("transport = \"tls\"\nca_file = {ca:?}\n"));
    let without = receiver(front, "transport = \"tls\"\n");
    // The broker of the tests knows no TLS, so socat stands before it.
    broker.advertise(front);
    broker.run(&[]);
    broker.create(TOPIC, 3);
    for (certificate, configuration, expected) in [
        ("expired", &with_ca, "has expired"),
        ("other", &with_ca, "is for DnsName(\"elsewhere.example\"), not for localhost"),
        ("good", &without, "is signed by an authority that is not known here"),
        ("good", &with_ca, "has the topic"),
    ] {
        place.configure(configuration);
        let [file, key] = ["pem", "key"].map(|end| place.path(&format!("{certificate}.{end}")).display().to_string());
        let mut command = Command::new("socat");
        command.arg(format!("OPENSSL-LISTEN:{front},bind=127.0.0.1,cert={file},key={key},verify=0,fork,reuseaddr"));
        command.arg(format!("TCP:127.0.0.1:{}", broker.port)).stderr(Stdio::null());
        let _socat = Running(command.spawn().unwrap());
        common::until_listens(front);
        let check = place.check();
        let said = String::from_utf8_lossy(&check.stdout).into_owned();
        assert!(said.contains(expected), "{certificate}: {said}");
        if expected == "has the topic" {
            let output = place.once();
            assert!(output.status.success(), "{output:?}");
        }
    }
}

#[test]
fn what_was_sent_before_a_crash_is_known_after_it() {
    let Some(broker) = Broker::start() else { return };
    broker.create(TOPIC, 1);
    let place = Place::new();
    append_incidents(&place, 20_000);
    place.configure(&receiver(broker.port, ""));
    let forwarder = place.start();
    let server = format!("localhost:{}", broker.port);
    until("some events", || (!consume(broker.port, TOPIC, 1, 1).is_empty()).then_some(()));
    forwarder.kill();
    let forwarder = place.start();
    let found = until("all events", || {
        let found: Vec<usize> = consume_at(&server, TOPIC, 1, usize::MAX, Duration::from_secs(3))
            .iter()
            .flat_map(|(_, payload)| numbers(payload))
            .collect();
        let mut all = found.clone();
        all.sort_unstable();
        all.dedup();
        (all.len() == 20_000).then_some(found)
    });
    let steps_back = found.windows(2).filter(|pair| pair[1] <= pair[0]).count();
    assert!(steps_back <= 1, "{steps_back}");
    forwarder.end();
}
