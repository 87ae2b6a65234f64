//! The memory of the running sensor under floods of hellos that match and are as large as their sender likes: it stays below
//! what `vigie check` states, whether somebody takes the events or nobody does, no packet is dropped, and each alert is
//! written, lost or summarised. Where the machine is too slow, so that the kernel drops packets, the tests say so, and demand
//! of recognition only what was seen; without the rights for a network they say so and pass.
//!
//! `VIGIE_FLOOD_RATE` says how many hellos of 1 380 bytes a second to send, otherwise 60 000; those of 32 kB come at a
//! twentieth of it.

use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use vigie_skip::skipped;
use vigie_tests::daemon::{Daemon, Folder, PATIENCE, Pipe, RaisedAtTheEnd, Scrape, binary, until};
use vigie_tests::hello::Hello;
use vigie_tests::injector::Injector;
use vigie_tests::known::{self, ends_of};
use vigie_tests::network::{Namespace, Sender};

const BANNED: &str = "www.capcut.com";
/// Hellos of 1 380 bytes in a second.
const RATE: u64 = 60_000;
/// How long events may wait after a flood; those that nobody takes wait for ever.
const SETTLES: Duration = Duration::from_secs(5);
/// How long a flood lasts if the machine keeps up.
const FLOOD_S: u64 = 2;
/// Others than the flood's clients, with a connection each.
const OTHERS: usize = 100;

/// One at a time: side by side they would need as many processors.
static TURN: Mutex<()> = Mutex::new(());

fn rate() -> u64 {
    std::env::var("VIGIE_FLOOD_RATE").map_or(RATE, |text| text.parse().expect("hellos a second"))
}

/// A hello of this length, most of it protocols of one letter: each of them was a string of its own.
fn hello(bytes: usize) -> Vec<u8> {
    let protocols = vec!["x"; (bytes - 250) / 2];
    Hello::to(BANNED).alpn(&protocols).record()
}

/// The bytes that the sensor may take, as `vigie check` says.
fn stated_bytes(folder: &Folder) -> u64 {
    let mut command = Command::new(binary());
    command.args(["check", "--json", "-i", "tap0", "--workers", "2", "--config", "/dev/null"]);
    command.args(["--events-file", &folder.text_path("eve.json")]);
    command.env_remove("VIGIE_FLOOD_RATE");
    let output = command.output().expect("the sensor runs");
    let stated: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    stated["memory"]["total_bytes"].as_u64().expect("a number")
}

/// Sends so many of the hello, each from a client's end of its own, and evenly among them the packets of others. The most
/// memory that the sensor took until all were counted, and what it counted then.
fn flood(
    namespace: &Namespace,
    daemon: &Daemon,
    hello: &[u8],
    (hellos, per_second): (u64, u64),
    others: &[Vec<u8>],
) -> (u64, Scrape) {
    let (is_over, most_kib) = (AtomicBool::new(false), AtomicU64::new(0));
    let sent = hellos + others.len() as u64;
    let scrape = thread::scope(|scope| {
        let _over = RaisedAtTheEnd(&is_over);
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                most_kib.fetch_max(daemon.resident_kib(), Ordering::Relaxed);
                thread::sleep(Duration::from_millis(20));
            }
        });
        let every = if others.is_empty() { u64::MAX } else { hellos / others.len() as u64 };
        let took = namespace.inside(|| {
            Injector::new("tap0", "out0").bring_at(per_second, sent, |number| {
                // Of `every` hellos and a packet of others, the packet comes last.
                let (round, place) = (number / every.saturating_add(1), number % every.saturating_add(1));
                match others.get(round as usize) {
                    Some(other) if place == every => other.clone(),
                    _ => known::connection((number - round.min(others.len() as u64)) as usize).from_client(0, hello),
                }
            })
        });
        println!("{:.0} hellos of {} bytes a second", hellos as f64 / took.as_secs_f64(), hello.len());
        let scrape = daemon.scrape_until(namespace, "all packets", |scrape| {
            let (packets, drops) = scrape.packets_and_drops();
            packets + drops >= sent && scrape.sum("vigie_worker_frames_total", &[]) == packets
        });
        // Events go on to judgement, if somebody takes what comes of them.
        let waiting =
            |scrape: &Scrape| scrape.sum("vigie_worker_pending_events", &[]) + scrape.sum("vigie_channel_depth", &[]);
        let began = Instant::now();
        while waiting(&daemon.scrape(namespace)) > 0 && began.elapsed() < SETTLES {
            thread::sleep(Duration::from_millis(50));
        }
        scrape
    });
    (most_kib.into_inner() << 10, scrape)
}

fn raised(scrape: &Scrape) -> u64 {
    scrape.sum("vigie_sightings_total", &[])
}

/// The numbers of their connections.
fn others() -> impl Iterator<Item = usize> {
    (0..OTHERS).map(|other| 1_000_000 + other * known::PORTS)
}

/// Their packets: they contact a banned name.
fn packets_of_others() -> Vec<Vec<u8>> {
    others().flat_map(|number| known::says(number, BANNED)).collect()
}

/// How much is sent of a hello of so many bytes, and how much of it in a second.
fn amount(bytes: usize) -> (u64, u64) {
    let per_second = if bytes > 3_000 { rate() / 20 } else { rate() };
    (per_second * FLOOD_S, per_second)
}

/// What becomes of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sink {
    /// They are written, however many there are of a client.
    EachWritten,
    /// They are written, and those of clients that have very many are summarised.
    Summarised,
    /// Nobody takes them.
    Stuck,
}

#[test]
fn matching_hellos_that_nobody_takes_stay_within_the_stated_memory() {
    for bytes in [1_380, 32_000] {
        matching_hellos(bytes, Sink::Stuck);
    }
}

#[test]
fn matching_hellos_that_are_all_written_stay_within_the_stated_memory() {
    for bytes in [1_380, 32_000] {
        matching_hellos(bytes, Sink::EachWritten);
    }
}

#[test]
fn matching_hellos_cost_no_alert_of_others() {
    for bytes in [1_380, 32_000] {
        matching_hellos(bytes, Sink::Summarised);
    }
}

fn matching_hellos(bytes: usize, sink: Sink) {
    let _turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let Some(namespace) = Namespace::new() else { return };
    namespace.pair("out0", "tap0");
    namespace.run("ip link set out0 mtu 65535; ip link set tap0 mtu 65535");
    let (folder, hello, packets_of_others) = (Folder::new(), hello(bytes), packets_of_others());
    let (stated, (hellos, per_second)) = (stated_bytes(&folder), amount(bytes));
    let pipe = (sink == Sink::Stuck).then(|| Pipe::new(&folder));
    let file = folder.text_path("eve.json");
    let mut arguments = vec!["-i", "tap0", "--workers", "2", "--events-file"];
    arguments.push(pipe.as_ref().map_or(file.as_str(), Pipe::path));
    if sink == Sink::Summarised {
        // As they are by default.
        arguments.extend(["--set", "events.alerts_per_minute_max=1000", "--set", "judgement.alerts_per_minute_max=60"]);
    }
    let daemon = Daemon::start(&namespace, &folder, &arguments);
    let _nobody = pipe.as_ref().map(|pipe| pipe.read(false));
    let (taken, scrape) = flood(&namespace, &daemon, &hello, (hellos, per_second), &packets_of_others);
    let (packets, drops) = scrape.packets_and_drops();
    println!(
        "{hellos} hellos of {bytes} bytes, {sink:?}: {} MB resident of {} MB stated, {drops} packets dropped",
        taken >> 20,
        stated >> 20
    );
    assert!(taken < stated, "{taken} bytes, {stated} are stated");
    assert_eq!(packets + drops, hellos + packets_of_others.len() as u64);
    if drops > 0 {
        skipped(format_args!("this machine is too slow for {per_second} hellos of {bytes} bytes a second"));
    } else {
        let cut = scrape.sum("vigie_limit_hits_total", &["limit=\"event_alpn_bytes_max\""]);
        assert!(cut >= hellos, "{cut}");
    }
    if sink == Sink::Stuck {
        return;
    }
    let said = daemon.stop();
    let alerts = folder.alerts();
    let (raised, lost) = (number_before(&said, " alerts"), number_before(&said, " of them lost"));
    println!("{} alerts written, {lost} lost of {raised} raised", alerts.len());
    if sink == Sink::EachWritten {
        assert_eq!(alerts.len() as u64 + lost, raised, "{said}");
        assert!(drops > 0 || raised == hellos + OTHERS as u64, "{said}");
    } else if drops == 0 {
        let written: Vec<_> = alerts.iter().map(ends_of).collect();
        let missing = others().filter(|&number| !written.contains(&known::ends(number))).count();
        assert_eq!((missing, lost), (0, 0), "{said}");
    }
}

/// The number before these words in the line of the end.
fn number_before(said: &str, words: &str) -> u64 {
    let line = said.lines().find(|line| line.contains("stopped: ")).unwrap_or_else(|| panic!("{said}"));
    let before = line.split(words).next().unwrap_or_default();
    before.rsplit([' ', ',']).find(|word| !word.is_empty()).and_then(|word| word.parse().ok()).expect(line)
}

#[test]
fn a_client_beyond_the_rate_is_summarised_and_others_are_not() {
    const HELLOS: usize = 30_000;
    let _turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let Some(namespace) = Namespace::new() else { return };
    namespace.pair("out0", "tap0");
    let folder = Folder::new();
    let limit = ["--set", "events.alerts_per_minute_max=100"];
    let daemon = Daemon::start(&namespace, &folder, &[&["-i", "tap0", "--workers", "2"][..], &limit].concat());
    // Two clients: one has 20 000 connections, the other the rest. At a rate that a shared machine keeps up with.
    let (_, scrape) = flood(&namespace, &daemon, &hello(1_380), (HELLOS as u64, 15_000), &[]);
    assert_eq!(scrape.packets_and_drops(), (HELLOS as u64, 0));
    until("all alerts", PATIENCE, || (raised(&daemon.scrape(&namespace)) == HELLOS as u64).then_some(()));
    let other = known::client(60_000);
    let frames = known::says(60_000, BANNED);
    namespace.inside(|| Sender::new("out0").send(frames.iter().map(Vec::as_slice)));
    let said = daemon.stop();
    let alerts = folder.alerts();
    let told: u64 = alerts.iter().map(told_by).sum();
    println!("{} alerts written, {told} summarised", alerts.len());
    assert!(told > HELLOS as u64 - 1_000 && said.contains(&format!("{told} summarised")), "{told}: {said}");
    assert_eq!(alerts.len() as u64 + told, HELLOS as u64 + 1);
    let of_other = alerts.iter().filter(|alert| alert["src_ip"] == other.ip().to_string());
    assert_eq!(of_other.map(told_by).collect::<Vec<_>>(), [0]);
}

/// For how many others an alert stands.
fn told_by(alert: &Value) -> u64 {
    let text = alert["alert"]["metadata"]["summarised"][0].as_str();
    text.map_or(0, |text| text.parse().expect("a number"))
}
