//! The running sensor for a long time: traffic in a loop, a reload every ten seconds, a scrape every second, and a reader
//! of its events who dawdles now and then. Its memory stays as it is, no packet is dropped, and no alert is lost, doubled,
//! or another than a capture of the same packets gives. `VIGIE_SOAK_S` says how many seconds; without it the test says so
//! and passes.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use vigie_skip::skipped;
use vigie_synth::{Profile, Settings, Traffic};
use vigie_tests::daemon::{Daemon, Folder, PATIENCE, Pipe, RaisedAtTheEnd, SIGHTINGS, is_sighting, until};
use vigie_tests::hello::Hello;
use vigie_tests::known;
use vigie_tests::network::{Namespace, Sender};
use vigie_tests::packets::{SERVER, udp};
use vigie_tests::quic::hello_datagram;
use vigie_tests::tape::Tape;

/// Names that are said, banned and not.
const NAMES: [&str; 6] = [
    "www.tiktok.com",
    "www.example.org",
    "tnc16-normal-no1a.tiktokv.eu",
    "mytiktok.com",
    "www.netflix.com",
    "editor-api-sg.capcutapi.com",
];
/// Connections of a round.
const CONNECTIONS: usize = 60;
/// Packets of made-up traffic beside them.
const BESIDE: usize = 1_000;
/// From one round to the next.
const PAUSE: Duration = Duration::from_millis(100);

/// What a round says: over TCP, in one segment or several, and over QUIC.
fn round(number: usize) -> Vec<Vec<u8>> {
    let connections = number * CONNECTIONS..(number + 1) * CONNECTIONS;
    let frames = connections.map(|number| {
        let name = NAMES[number % NAMES.len()];
        match number % 5 {
            0 => {
                let connection = known::connection(number);
                let hello = Hello::post_quantum(name).record();
                [connection.opening(), connection.segments(&hello, 700)].concat()
            }
            1 => {
                let origin = (number as u64).to_be_bytes();
                vec![udp(known::client(number), SERVER, &hello_datagram(&origin, &Hello::to(name).message()))]
            }
            _ => known::says(number, name),
        }
    });
    frames.flatten().collect()
}

/// What an alert says, but for when and where it was seen.
fn told(alert: &Value) -> String {
    let metadata = &alert["alert"]["metadata"];
    format!(
        "{} {}:{} {}:{} {} {} {} {}",
        alert["proto"],
        alert["src_ip"],
        alert["src_port"],
        alert["dest_ip"],
        alert["dest_port"],
        alert["alert"]["signature_id"],
        metadata["name"],
        metadata["evidence"],
        metadata["verdict"],
    )
}

/// Ours among them: synthetic clients have other addresses.
fn is_known(event: &Value) -> bool {
    is_sighting(event) && event["src_ip"].as_str().is_some_and(|address| address.starts_with("100."))
}

fn offline(rounds: std::ops::Range<usize>) -> BTreeMap<String, usize> {
    let mut alerts = BTreeMap::new();
    for number in rounds {
        for line in Tape::of(round(number)).replay().eve().lines() {
            let event: Value = serde_json::from_str(line).unwrap();
            if is_known(&event) {
                *alerts.entry(told(&event)).or_default() += 1;
            }
        }
    }
    alerts
}

fn synthetic() -> Vec<Vec<u8>> {
    let mut traffic = Traffic::new(Settings { profile: Profile::Mixed, ..Settings::default() });
    let mut frames = Vec::new();
    for _ in 0..40 * BESIDE {
        let mut frame = Vec::new();
        traffic.frame(&mut frame);
        frames.push(frame);
    }
    frames
}

#[test]
fn for_a_long_time_nothing_is_lost_and_memory_stays() {
    let Some(seconds) = std::env::var("VIGIE_SOAK_S").ok().and_then(|text| text.parse().ok()) else {
        return skipped("takes long; VIGIE_SOAK_S=SECONDS runs it");
    };
    let Some(namespace) = Namespace::new() else { return };
    namespace.pair("out0", "tap0");
    namespace.run("ip link set out0 mtu 9000; ip link set tap0 mtu 9000");
    let folder = Folder::new();
    let pipe = Pipe::new(&folder);
    folder.write("vigie.toml", "[capture]\ninterfaces = [\"tap0\"]\nworkers = 2\n");
    let reader = pipe.read(true);
    let config = folder.text_path("vigie.toml");
    let daemon = Daemon::start(
        &namespace,
        &folder,
        &[&["--config", &config, "--events-file", pipe.path()][..], &SIGHTINGS].concat(),
    );

    let is_over = AtomicBool::new(false);
    let (sent, rounds) = (AtomicU64::new(0), AtomicU64::new(0));
    let beside = synthetic();
    let mut alerts = BTreeMap::<String, usize>::new();
    let mut resident = Vec::new();
    let (mut reloads, mut stalls, mut scrapes) = (0, 0, 0);
    thread::scope(|scope| {
        let _over = RaisedAtTheEnd(&is_over);
        scope.spawn(|| {
            namespace.enter();
            let sender = Sender::new("out0");
            let mut others = beside.chunks(BESIDE).cycle();
            while !is_over.load(Ordering::Relaxed) {
                let began = Instant::now();
                let number = rounds.load(Ordering::Relaxed) as usize;
                for frames in [round(number).as_slice(), others.next().unwrap()] {
                    sender.send(frames.iter().map(Vec::as_slice));
                    sent.fetch_add(frames.len() as u64, Ordering::Relaxed);
                }
                rounds.store(number as u64 + 1, Ordering::Relaxed);
                thread::sleep(PAUSE.saturating_sub(began.elapsed()));
            }
        });
        let began = Instant::now();
        let mut tick = 0_u64;
        while began.elapsed() < Duration::from_secs(seconds) {
            tick += 1;
            thread::sleep(Duration::from_secs(tick).saturating_sub(began.elapsed()));
            let scrape = daemon.scrape(&namespace);
            scrapes += 1;
            resident.push(daemon.resident_kib());
            assert_eq!((scrape.packets_and_drops().1, scrape.alerts_lost()), (0, 0), "second {tick}");
            if tick.is_multiple_of(10) {
                daemon.signal(libc::SIGHUP);
                reloads += 1;
            }
            // Now and then without a pattern, the same each time that the test is run.
            let is_stalled = tick.wrapping_mul(0x9e37_79b9) >> 3 & 7 < 2;
            stalls += u64::from(is_stalled);
            reader.take(!is_stalled);
            for alert in reader.drain().iter().filter(|event| is_known(event)) {
                *alerts.entry(told(alert)).or_default() += 1;
            }
        }
        is_over.store(true, Ordering::Relaxed);
    });
    reader.take(true);
    let sent = sent.into_inner();
    let scrape = daemon.scrape_until(&namespace, "all packets", |scrape| scrape.packets_and_drops().0 >= sent);
    assert_eq!(scrape.packets_and_drops(), (sent, 0));
    let expected = offline(0..rounds.into_inner() as usize);
    until("all alerts", 3 * PATIENCE, || {
        for alert in reader.drain().iter().filter(|event| is_known(event)) {
            *alerts.entry(told(alert)).or_default() += 1;
        }
        (alerts.len() >= expected.len()).then_some(())
    });
    let scrape = daemon.scrape(&namespace);
    assert_eq!((scrape.packets_and_drops(), scrape.alerts_lost()), ((sent, 0), 0));
    assert_eq!(scrape.sum("vigie_reloads_total", &["result=\"success\""]), reloads);
    let said = daemon.stop();
    thread::sleep(Duration::from_millis(100));
    for alert in reader.drain().iter().filter(|event| is_known(event)) {
        *alerts.entry(told(alert)).or_default() += 1;
    }
    let (first, rest) = resident.split_at(resident.len() / 3);
    let (middle, last) = rest.split_at(rest.len() / 2);
    let most = |samples: &[u64]| samples.iter().copied().max().unwrap_or_default();
    println!(
        "{seconds} s: {sent} packets, none dropped; {} known alerts; {reloads} reloads, {scrapes} scrapes, {stalls} s \
         stalled; at most {} KiB in the first third, {} in the second, {} in the last; {}",
        alerts.len(),
        most(first),
        most(middle),
        most(last),
        said.lines().last().unwrap_or_default(),
    );
    assert!(alerts.values().all(|&times| times == 1), "some alerts came twice");
    assert!(alerts == expected, "{} alerts, {} expected", alerts.len(), expected.len());
    assert!(most(last) <= most(middle) + most(middle) / 20, "memory grows: {resident:?}");
}
