//! The coverage that a running sensor with a journal records: for each interface what was seen, what was dropped, and for how
//! long nothing could be seen. Interfaces, rings and losses are real. Without the rights for that the tests say so and pass.

use std::thread;
use std::time::Duration;

use serde_json::Value;
use vigie_journal::{JournalReader, StartAt};
use vigie_tests::daemon::{Daemon, Folder, PATIENCE, until};
use vigie_tests::hello::Hello;
use vigie_tests::known;
use vigie_tests::network::{Namespace, Sender};

/// Events of coverage in a journal, in order.
fn coverage(folder: &Folder) -> Vec<Value> {
    let mut reader = JournalReader::open(&folder.path("journal"), StartAt::Oldest).unwrap();
    let mut events = Vec::new();
    while let Some(line) = reader.next_line().unwrap() {
        let event: Value = serde_json::from_slice(line).unwrap();
        if event["metadata"]["flowints"].is_object() {
            events.push(event);
        }
    }
    events
}

fn has_word(event: &Value, word: &str) -> bool {
    event["metadata"]["flowbits"].as_array().is_some_and(|words| words.iter().any(|found| found == word))
}

/// The sum of a number over all windows of an interface.
fn sum(events: &[Value], interface: &str, key: &str) -> u64 {
    let windows = events.iter().filter(|event| event["in_iface"] == interface);
    windows.map(|event| event["metadata"]["flowints"][key].as_u64().unwrap_or_else(|| panic!("{key}: {event}"))).sum()
}

fn start(namespace: &Namespace, folder: &Folder, more: &[&str]) -> Daemon {
    namespace.pair("out0", "tap0");
    namespace.pair("out1", "tap1");
    let journal = format!("journal.folder={}", folder.text_path("journal"));
    Daemon::start(
        namespace,
        folder,
        &[&["-i", "tap0", "-i", "tap1", "--workers", "2", "--set", &journal], more].concat(),
    )
}

#[test]
fn each_interface_tells_its_hellos_and_for_how_long_it_was_blind() {
    let Some(namespace) = Namespace::new() else { return };
    let folder = Folder::new();
    let daemon = start(&namespace, &folder, &[]);
    let mut frames: Vec<Vec<u8>> = (0..30).flat_map(|number| known::says(number, "www.example.org")).collect();
    frames.extend((30..40).flat_map(|number| known::connection(number).saying(&Hello::nameless().record())));
    namespace.inside(|| Sender::new("out0").send(frames.iter().map(Vec::as_slice)));
    daemon.scrape_until(&namespace, "all hellos are read", |scrape| scrape.sum("vigie_hellos_total", &[]) == 40);
    namespace.run("ip link set tap1 down");
    let is_up = |up: u64| {
        let told =
            |scrape: &vigie_tests::daemon::Scrape| scrape.sum("vigie_interface_up", &["interface=\"tap1\""]) == up;
        daemon.scrape_until(&namespace, "the interface changes", told);
    };
    is_up(0);
    thread::sleep(Duration::from_millis(1_200));
    namespace.run("ip link set tap1 up");
    is_up(1);
    daemon.stop();
    let events = coverage(&folder);
    let (first, last) = (&events[..2], &events[events.len() - 2..]);
    assert!(first.iter().all(|event| has_word(event, "sensor_started")), "{first:?}");
    assert!(last.iter().all(|event| has_word(event, "sensor_stopped")), "{last:?}");
    assert_eq!([sum(&events, "tap0", "vigie.hellos"), sum(&events, "tap0", "vigie.hellos_nameless")], [40, 10]);
    assert_eq!([sum(&events, "tap1", "vigie.hellos"), sum(&events, "tap1", "vigie.hellos_nameless")], [0, 0]);
    assert_eq!(sum(&events, "tap0", "vigie.packets"), frames.len() as u64);
    assert_eq!(sum(&events, "tap0", "vigie.blind_s"), 0);
    // Of a window's blind time each begun second counts, and a minute may have ended meanwhile.
    let blind = sum(&events, "tap1", "vigie.blind_s");
    assert!((1..10).contains(&blind), "{blind} s");
    assert!(events.iter().any(|event| has_word(event, "interface_down") && event["in_iface"] == "tap1"));
    for event in &events {
        let judged_by = &event["metadata"]["flowints"];
        let is_hash = |key: &str| judged_by[key].as_str().is_some_and(|hash| hash.len() >= 12);
        assert!(is_hash("vigie.policy") && is_hash("vigie.signatures"), "{event}");
    }
}

#[test]
fn hellos_of_guests_are_in_no_count_of_a_minute() {
    let Some(namespace) = Namespace::new() else { return };
    let folder = Folder::new();
    let [in_scope, guest] = [0, known::PORTS].map(|number| known::client(number).ip());
    let policy = format!("[[scope]]\nname = \"offices\"\nkind = \"official\"\nprefixes = [\"{in_scope}/32\"]\n");
    std::fs::write(folder.path("vigie.toml"), policy).unwrap();
    let config = folder.text_path("vigie.toml");
    let daemon = start(&namespace, &folder, &["--config", &config]);
    let says = |number| known::says(number, "www.example.org");
    let frames: Vec<Vec<u8>> = (0..20).chain(known::PORTS..known::PORTS + 10).flat_map(says).collect();
    namespace.inside(|| Sender::new("out0").send(frames.iter().map(Vec::as_slice)));
    daemon.scrape_until(&namespace, "all hellos are read", |scrape| scrape.sum("vigie_hellos_total", &[]) == 30);
    daemon.stop();
    let events = coverage(&folder);
    assert_eq!(sum(&events, "tap0", "vigie.packets"), frames.len() as u64);
    assert_eq!(sum(&events, "tap0", "vigie.hellos"), 20, "{guest} is out of scope");
}

#[test]
fn what_the_kernel_dropped_stands_in_the_minute() {
    const PACKETS: usize = 20_000;
    let Some(namespace) = Namespace::new() else { return };
    let folder = Folder::new();
    let small = ["--set", "capture.ring_bytes=262144", "--set", "capture.block_bytes=131072"];
    let daemon = start(&namespace, &folder, &small);
    daemon.signal(libc::SIGSTOP);
    let frames: Vec<Vec<u8>> = (0..PACKETS / 4).flat_map(|number| known::says(number, "www.example.org")).collect();
    namespace.inside(|| Sender::new("out0").send(frames.iter().map(Vec::as_slice)));
    daemon.signal(libc::SIGCONT);
    let counted = || {
        let (packets, drops) = daemon.scrape(&namespace).packets_and_drops();
        (packets + drops >= PACKETS as u64).then_some(drops)
    };
    let drops = until("all packets are counted", PATIENCE, counted);
    daemon.stop();
    let events = coverage(&folder);
    let lost = sum(&events, "tap0", "vigie.drops_ring");
    assert!(lost > 0 && lost == drops, "{lost} of {drops}");
    assert_eq!(sum(&events, "tap0", "vigie.packets") + lost, PACKETS as u64);
    assert!(events.iter().any(|event| event["metadata"]["flowints"]["vigie.drops_ppm"].as_u64() > Some(100_000)));
    assert_eq!(sum(&events, "tap1", "vigie.drops_ring"), 0);
}
