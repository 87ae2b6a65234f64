//! The sensor as a daemon, in network namespaces: what is sent is what it counts, to the last packet; what it alerts of
//! is what reading a capture of the same packets gives; it is scraped, told to reload, and its files are rotated. Without
//! the rights or programs for that the tests say so and pass.

use std::collections::BTreeMap;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use vigie_tests::daemon::{Daemon, Folder, PATIENCE, RaisedAtTheEnd, SIGHTINGS, is_sighting, until};
use vigie_tests::known::{self, Ends, ends_of};
use vigie_tests::network::{Namespace, Sender};

const BANNED: &str = "www.capcut.com";
const HARMLESS: &str = "www.example.org";

/// A namespace with a pair of interfaces, from `out0` to `tap0`.
fn tapped() -> Option<Namespace> {
    let namespace = Namespace::new()?;
    namespace.pair("out0", "tap0");
    Some(namespace)
}

fn send(namespace: &Namespace, frames: &[Vec<u8>]) {
    namespace.inside(|| Sender::new("out0").send(frames.iter().map(Vec::as_slice)));
}

/// Sends connections of these numbers to `name`.
fn say(namespace: &Namespace, name: &str, numbers: std::ops::Range<usize>) {
    let frames: Vec<Vec<u8>> = numbers.flat_map(|number| known::says(number, name)).collect();
    send(namespace, &frames);
}

fn every(numbers: std::ops::Range<usize>) -> BTreeMap<Ends, usize> {
    numbers.map(|number| (known::ends(number), 1)).collect()
}

/// How often each connection was alerted of.
fn counted(alerts: &[Value]) -> BTreeMap<Ends, usize> {
    let mut counted = BTreeMap::new();
    alerts.iter().for_each(|alert| *counted.entry(ends_of(alert)).or_default() += 1);
    counted
}

#[test]
fn every_packet_is_counted_and_none_is_dropped_by_the_default_ring() {
    // That all are counted has to hold each time; that none is dropped cannot where other programs take the processors
    // for longer than the rings last, so it has to hold once.
    let mut drops = Vec::new();
    while drops.len() < 3 {
        let Some(dropped) = drops_of_the_default_ring() else { return };
        if dropped == 0 {
            return;
        }
        drops.push(dropped);
    }
    panic!("drops each time: {drops:?}");
}

/// Sends packets at the highest rate there is, and has all of them counted. Tells how many were dropped.
fn drops_of_the_default_ring() -> Option<u64> {
    // Few enough for the rings even where the sensor has to share its processors with other tests.
    let number = std::env::var("VIGIE_PACKETS").ok().and_then(|text| text.parse().ok());
    let packets_sent: u64 = number.unwrap_or(150_000);
    let namespace = tapped()?;
    let folder = Folder::new();
    let daemon = Daemon::start(&namespace, &folder, &["-i", "tap0", "--workers", "2"]);
    let frames: Vec<Vec<u8>> = (0..1000).flat_map(|number| known::says(number, HARMLESS)).collect();
    let began = Instant::now();
    namespace.inside(|| {
        let sender = Sender::new("out0");
        let mut sent = 0;
        while sent < packets_sent {
            let some = frames.iter().take((packets_sent - sent) as usize);
            sent += some.len() as u64;
            sender.send(some.map(Vec::as_slice));
        }
    });
    let took = began.elapsed();
    assert_eq!(namespace.count("out0", "tx_packets"), packets_sent, "somebody else sends");
    let arrived = namespace.count("tap0", "rx_packets");
    let all = |scrape: &vigie_tests::daemon::Scrape| {
        let (packets, drops) = scrape.packets_and_drops();
        packets + drops >= arrived
    };
    let scrape = daemon.scrape_until(&namespace, "all packets", all);
    println!("{packets_sent} packets in {took:.2?}: {:.2} Mpps", packets_sent as f64 / took.as_secs_f64() / 1e6);
    let (packets, drops) = scrape.packets_and_drops();
    assert_eq!((packets + drops, arrived), (packets_sent, packets_sent), "{drops} drops");
    assert_eq!(scrape.sum("vigie_worker_frames_total", &[]), packets);
    let said = daemon.stop();
    assert!(said.contains(&format!("stopped: {packets} packets, {drops} dropped")), "{said}");
    Some(drops)
}

#[test]
fn with_a_tiny_ring_and_a_stalled_sensor_drops_are_counted_to_the_last() {
    let Some(namespace) = tapped() else { return };
    let folder = Folder::new();
    let ring = [
        "--set",
        "capture.ring_bytes=131072",
        "--set",
        "capture.block_bytes=65536",
        "--set",
        "capture.snap_bytes=2048",
    ];
    let arguments = [&["-i", "tap0", "--workers", "2"][..], &ring].concat();
    let daemon = Daemon::start(&namespace, &folder, &arguments);
    let mut sent = 0;
    for round in 0..4 {
        daemon.signal(libc::SIGSTOP);
        let frames: Vec<Vec<u8>> = (0..1500).flat_map(|number| known::says(round * 1500 + number, HARMLESS)).collect();
        send(&namespace, &frames);
        daemon.signal(libc::SIGCONT);
        sent += frames.len() as u64;
        let scrape = daemon.scrape_until(&namespace, "all packets or drops", |scrape| {
            let (packets, drops) = scrape.packets_and_drops();
            packets + drops >= sent
        });
        let (packets, drops) = scrape.packets_and_drops();
        assert_eq!(packets + drops, sent, "{packets} seen, {drops} dropped");
        assert!(drops > 0 && packets > 0, "{packets} seen, {drops} dropped");
        assert_eq!(scrape.sum("vigie_worker_drops_total", &[]), drops);
        println!("{sent} sent: {packets} seen, {drops} dropped");
    }
    // Whoever has room again sees again.
    say(&namespace, BANNED, 50_000..50_010);
    until("alerts after the drops", PATIENCE, || (folder.alerts_so_far().len() == 10).then_some(()));
    let said = daemon.stop();
    let told: u64 = said.rsplit("stopped: ").next().unwrap().split(' ').next().unwrap().parse().unwrap();
    assert!(told > 40, "{said}");
}

/// Signatures of one service whose only name is this.
fn signatures(zone: &str) -> String {
    format!(
        "service = \"forbidden\"\nname = \"Forbidden\"\nowner = \"Nobody\"\ncategory = \"social\"\nbase = 7990000\n\
         reviewed = \"2026-11-21\"\n\n[[patterns]]\npattern = 'www'\nzones = [\"{zone}\"]\nrole = \"web\"\n\
         class = \"site\"\nconfidence = \"high\"\nsources = [\"lab\"]\n"
    )
}

#[test]
fn a_reload_brings_new_signatures_and_a_bad_one_changes_nothing() {
    let Some(namespace) = tapped() else { return };
    let folder = Folder::new();
    let good = format!(
        "[capture]\ninterfaces = [\"tap0\"]\nworkers = 2\n[policy]\nassets = \"assets.csv\"\n\
         [signatures]\nfolder = \"{}\"\n",
        folder.text_path("signatures")
    );
    folder.write("vigie.toml", &good);
    folder.write("assets.csv", "prefix,label\n100.64.0.0/10,phones\n");
    fs::create_dir(folder.path("signatures")).unwrap();
    let config = folder.text_path("vigie.toml");
    // No ban covers the service: its flows are told as sightings.
    let mut daemon = Daemon::start(&namespace, &folder, &[&["--config", &config][..], &SIGHTINGS].concat());
    let sightings = || folder.alerts_so_far().into_iter().filter(is_sighting).collect::<Vec<Value>>();
    say(&namespace, "www.forbidden.example", 0..10);
    say(&namespace, BANNED, 10..20);
    let alerted = |what: &str, numbers: std::ops::Range<usize>| {
        let all = every(numbers);
        until(what, PATIENCE, || (counted(&sightings()).len() >= all.len()).then_some(()));
        assert_eq!(counted(&sightings()), all, "{what}");
    };
    alerted("the built-in signatures", 10..20);

    folder.write("signatures/forbidden.toml", &signatures("forbidden.example"));
    daemon.signal(libc::SIGHUP);
    daemon.wait_until_it_says("vigie: reloaded: ");
    say(&namespace, "www.forbidden.example", 20..30);
    alerted("new signatures", 10..30);
    let alert = sightings().pop().unwrap();
    assert_eq!(alert["alert"]["metadata"]["service"][0], "forbidden");

    let bad_signature = signatures("forbidden.example").replace("role = \"web\"", "rolle = \"web\"");
    let refusals: [(&str, String, &str); 5] = [
        ("vigie.toml", format!("{good}[[ban]]\nuse = \"nowhere\"\n"), "vigie.toml:9: ban.use = \"nowhere\""),
        ("assets.csv", "prefix,label\n100.64.0.0/33,phones\n".to_owned(), "assets.csv:2: prefix"),
        ("vigie.toml", format!("{good}\n[capture]\nringbytes = 7\n"), "vigie.toml:"),
        ("vigie.toml", good.replace("workers = 2", "workers = 20_000"), "vigie.toml:3"),
        ("signatures/forbidden.toml", bad_signature, "forbidden.toml:11"),
    ];
    for (round, (name, text, told)) in refusals.iter().enumerate() {
        let before = fs::read_to_string(folder.path(name)).unwrap();
        let begin = daemon.said().len();
        folder.write(name, text);
        daemon.signal(libc::SIGHUP);
        daemon.wait_until_it_says_times("not reloaded: ", round + 1);
        let said = daemon.said()[begin..].to_owned();
        assert!(said.contains(told) && said.contains("error: "), "no {told} in {said}");
        assert_eq!(said.matches("\nvigie: reloaded").count(), 0, "{said}");
        folder.write(name, &before);
        let scrape = daemon.scrape(&namespace);
        assert_eq!(scrape.sum("vigie_reloads_total", &["result=\"failure\""]), round as u64 + 1);
        assert_eq!(scrape.sum("vigie_reload_last_successful", &[]), 0);
        // The old ones stay in force.
        say(&namespace, "www.forbidden.example", 30 + round * 10..40 + round * 10);
        alerted("after a bad reload", 10..40 + round * 10);
    }
    daemon.signal(libc::SIGHUP);
    daemon.wait_until_it_says_times("vigie: reloaded: ", 2);
    let scrape = daemon.scrape(&namespace);
    assert_eq!(scrape.sum("vigie_reload_last_successful", &[]), 1);
    assert_eq!(scrape.sum("vigie_reloads_total", &[]), 2 + refusals.len() as u64);
    // Signatures that are taken away are gone.
    fs::remove_file(folder.path("signatures/forbidden.toml")).unwrap();
    daemon.signal(libc::SIGHUP);
    daemon.wait_until_it_says_times("vigie: reloaded: ", 3);
    say(&namespace, "www.forbidden.example", 80..90);
    say(&namespace, BANNED, 90..91);
    until("one alert more", PATIENCE, || (sightings().len() == 71).then_some(()));
    daemon.stop();
    assert_eq!(sightings().len(), 71);
}

#[test]
fn renamed_files_are_made_anew_and_nothing_is_lost_between() {
    const ROTATIONS: usize = 8;
    let Some(namespace) = tapped() else { return };
    let folder = Folder::new();
    // Sightings are written at once, so that there are some between any two rotations.
    let arguments = [&["-i", "tap0", "--workers", "2"][..], &SIGHTINGS].concat();
    let mut daemon = Daemon::start(&namespace, &folder, &arguments);
    let is_over = AtomicBool::new(false);
    let sent = thread::scope(|scope| {
        let _over = RaisedAtTheEnd(&is_over);
        let sender = scope.spawn(|| {
            let mut number = 0;
            while !is_over.load(Ordering::Relaxed) {
                say(&namespace, BANNED, number..number + 20);
                number += 20;
                thread::sleep(Duration::from_millis(5));
            }
            number
        });
        for rotation in 1..=ROTATIONS {
            thread::sleep(Duration::from_millis(150));
            fs::rename(folder.events(), folder.path(&format!("eve.json.{rotation}"))).unwrap();
            daemon.signal(libc::SIGHUP);
            daemon.wait_until_it_says_times("vigie: reloaded: ", rotation);
            until("a new file", PATIENCE, || folder.events().exists().then_some(()));
        }
        is_over.store(true, Ordering::Relaxed);
        sender.join().unwrap()
    });
    daemon.stop();
    let mut alerts: Vec<Value> = folder.alerts().into_iter().filter(is_sighting).collect();
    assert!(!alerts.is_empty());
    for rotation in 1..=ROTATIONS {
        let more: Vec<Value> =
            folder.events_of(&format!("eve.json.{rotation}")).into_iter().filter(is_sighting).collect();
        assert!(!more.is_empty(), "file {rotation} is empty");
        alerts.extend(more);
    }
    println!("{sent} alerts in {} files", ROTATIONS + 1);
    assert!(counted(&alerts) == every(0..sent), "{} alerts of {sent}", alerts.len());
}
