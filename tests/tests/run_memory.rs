//! The memory of the running sensor under floods of hellos that match and are as large as their sender likes: it stays below
//! what `vigie check` states, no packet is dropped, and each alert is written, lost or summarised. Without the rights for a
//! network the tests say so and pass.

use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use vigie_tests::daemon::{Daemon, Folder, PATIENCE, Pipe, RaisedAtTheEnd, Scrape, binary, until};
use vigie_tests::hello::Hello;
use vigie_tests::known;
use vigie_tests::network::{Namespace, Sender};

const BANNED: &str = "www.capcut.com";
/// What the program itself takes, without what its limits bound.
const PROGRAM_BYTES: u64 = 64 << 20;

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
    let output = command.output().expect("the sensor runs");
    let stated: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    stated["memory"]["total_bytes"].as_u64().expect("a number")
}

/// Sends so many of the hello, each from a client's end of its own, at a rate that a shared machine keeps up with.
fn flood(namespace: &Namespace, daemon: &Daemon, hello: &[u8], hellos: usize, per_second: u32) -> u64 {
    let (is_over, most_kib) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        let _over = RaisedAtTheEnd(&is_over);
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                most_kib.fetch_max(daemon.resident_kib(), Ordering::Relaxed);
                thread::sleep(Duration::from_millis(20));
            }
        });
        namespace.inside(|| {
            let (sender, began) = (Sender::new("out0"), Instant::now());
            let numbers: Vec<usize> = (0..hellos).collect();
            for some in numbers.chunks(50) {
                let due = Duration::from_secs(1) * some[0] as u32 / per_second;
                thread::sleep(due.saturating_sub(began.elapsed()));
                let frames: Vec<_> =
                    some.iter().map(|&number| known::connection(number).from_client(0, hello)).collect();
                sender.send(frames.iter().map(Vec::as_slice));
            }
        });
        until("all alerts", PATIENCE, || (raised(&daemon.scrape(namespace)) == hellos as u64).then_some(()));
    });
    most_kib.into_inner() << 10
}

fn raised(scrape: &Scrape) -> u64 {
    scrape.sum("vigie_sightings_total", &[])
}

#[test]
fn matching_hellos_that_nobody_takes_stay_within_the_stated_memory() {
    let Some(namespace) = Namespace::new() else { return };
    namespace.pair("out0", "tap0");
    namespace.run("ip link set out0 mtu 65535; ip link set tap0 mtu 65535");
    for (bytes, hellos, per_second) in [(1_380, 100_000, 20_000), (32_000, 3_000, 1_000)] {
        let (folder, hello) = (Folder::new(), hello(bytes));
        let stated = stated_bytes(&folder);
        let pipe = Pipe::new(&folder);
        let daemon =
            Daemon::start(&namespace, &folder, &["-i", "tap0", "--workers", "2", "--events-file", pipe.path()]);
        let _nobody = pipe.read(false);
        let taken = flood(&namespace, &daemon, &hello, hellos, per_second);
        let scrape = daemon.scrape(&namespace);
        println!("{hellos} hellos of {bytes} bytes: {} MB resident of {} MB stated", taken >> 20, stated >> 20);
        assert!(taken < stated + PROGRAM_BYTES, "{taken} bytes, {stated} are stated");
        assert_eq!(scrape.packets_and_drops(), (hellos as u64, 0));
        assert!(scrape.sum("vigie_limit_hits_total", &["limit=\"event_alpn_bytes_max\""]) >= hellos as u64);
    }
}

#[test]
fn a_client_beyond_the_rate_is_summarised_and_others_are_not() {
    const HELLOS: usize = 30_000;
    let Some(namespace) = Namespace::new() else { return };
    namespace.pair("out0", "tap0");
    let folder = Folder::new();
    let rate = ["--set", "events.alerts_per_minute_max=100"];
    let daemon = Daemon::start(&namespace, &folder, &[&["-i", "tap0", "--workers", "2"][..], &rate].concat());
    // Two clients: one has 20 000 connections, the other the rest.
    flood(&namespace, &daemon, &hello(1_380), HELLOS, 15_000);
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
