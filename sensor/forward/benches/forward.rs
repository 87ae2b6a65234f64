//! How fast the forwarder is: events a second of processor time for each encoding, for a file, for syslog over TCP and, in a build with
//! Kafka and with `VIGIE_TANSU` naming its broker, for Kafka; and what it costs when nothing happens.
//!
//!     cargo bench -p vigie-forward
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a bench is no test to clippy"
)]

#[path = "../tests/common/mod.rs"]
mod common;

use std::fs;
use std::io::Read;
use std::net::TcpListener;
use std::thread;
use std::time::{Duration, Instant};

use common::{Place, line};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use vigie_forward::encode::Encoding;

const EVENTS: &str = include_str!("../tests/encodings/events.jsonl");
/// How long each encoding is measured.
const ENCODE_TIME: Duration = Duration::from_secs(2);
/// Events of a journal that is sent.
const SENT: usize = 400_000;
/// Floors: events a second.
const FLOOR_ENCODING: f64 = 50_000.0;
const FLOOR_FILE: f64 = 100_000.0;
const FLOOR_NETWORK: f64 = 50_000.0;
/// Most processor time a second when nothing happens, in milliseconds.
const IDLE_MS_MAX: f64 = 1.0;

fn main() {
    // `cargo test --benches` and `--list` must not measure.
    if std::env::args().any(|argument| argument == "--test" || argument == "--list") {
        return;
    }
    for encoding in Encoding::ALL.into_iter().skip(1) {
        report(&format!("encoding {encoding}"), encode(encoding), FLOOR_ENCODING);
    }
    let place = Place::new();
    let text: String = (0..SENT).map(|number| line(number) + "\n").collect();
    fs::write(place.path("journal/00000001.jsonl"), text).unwrap();
    let path = place.path("eve.json");
    report("file", send(&place, &format!("name = \"file\"\nkind = \"file\"\npath = {path:?}")), FLOOR_FILE);
    let port = sink();
    let syslog = format!("name = \"tcp\"\nkind = \"syslog\"\nserver = \"127.0.0.1:{port}\"\ntransport = \"tcp\"");
    report("syslog TCP", send(&place, &syslog), FLOOR_NETWORK);
    #[cfg(feature = "kafka")]
    if let Some(broker) = common::broker::Broker::start() {
        broker.create("vigie-events", 3);
        let kafka = format!(
            "name = \"kafka\"\nkind = \"kafka\"\nbrokers = \"localhost:{}\"\ntopic = \"vigie-events\"\ntransport = \"tcp\"",
            broker.port
        );
        report("Kafka", send(&place, &kafka), FLOOR_NETWORK);
    }
    let idle = idle(&place);
    let is_met = if idle < IDLE_MS_MAX { "met" } else { "NOT MET" };
    println!("idle: {idle:.2} ms of processor time a second (ceiling {IDLE_MS_MAX}: {is_met})");
}

fn report(what: &str, events: (f64, f64), floor: f64) {
    let (by_processor, by_clock) = events;
    let is_met = if by_processor >= floor { "met" } else { "NOT MET" };
    println!(
        "{what}: {by_processor:.0} events a second of processor time, {by_clock:.0} by the clock (floor {floor:.0}: {is_met})"
    );
}

/// Processor time of this process, or of its children that have ended, in seconds.
fn processor_s(who: UsageWho) -> f64 {
    let usage = getrusage(who).unwrap();
    (usage.user_time().num_microseconds() + usage.system_time().num_microseconds()) as f64 / 1e6
}

fn encode(encoding: Encoding) -> (f64, f64) {
    let lines: Vec<&[u8]> = EVENTS.lines().map(str::as_bytes).collect();
    let mut out = Vec::new();
    let (began, processor, mut count) = (Instant::now(), processor_s(UsageWho::RUSAGE_SELF), 0);
    while began.elapsed() < ENCODE_TIME {
        out.clear();
        lines.iter().for_each(|line| encoding.encode(line, &mut out).unwrap());
        count += lines.len();
    }
    let processor = processor_s(UsageWho::RUSAGE_SELF) - processor;
    (count as f64 / processor, count as f64 / began.elapsed().as_secs_f64())
}

/// Sends the whole journal.
fn send(place: &Place, receiver: &str) -> (f64, f64) {
    place.configure(&format!("[[receiver]]\n{receiver}\n"));
    let (began, processor) = (Instant::now(), processor_s(UsageWho::RUSAGE_CHILDREN));
    let output = place.once();
    assert!(output.status.success(), "{output:?}");
    let processor = processor_s(UsageWho::RUSAGE_CHILDREN) - processor;
    (SENT as f64 / processor, SENT as f64 / began.elapsed().as_secs_f64())
}

/// A server that reads everything and keeps nothing.
fn sink() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut bytes = vec![0; 1 << 18];
            while matches!(stream.read(&mut bytes), Ok(1..)) {}
        }
    });
    port
}

/// Milliseconds of processor time a second of a forwarder that has sent everything, with the settings of its default file.
fn idle(place: &Place) -> f64 {
    const TIME: Duration = Duration::from_secs(10);
    let path = place.path("eve.json");
    place.configure(&format!("[[receiver]]\nname = \"file\"\nkind = \"file\"\npath = {path:?}\n"));
    let mut command = place.command();
    command.args(["--set", "journal.poll_interval_ms=200"]);
    let running = common::Running(command.spawn().unwrap());
    thread::sleep(Duration::from_secs(2));
    let before = processor_ms(&running);
    thread::sleep(TIME);
    let after = processor_ms(&running);
    running.end();
    (after - before) / TIME.as_secs_f64()
}

/// Milliseconds of processor time of a running process, from the nanoseconds of its threads.
fn processor_ms(running: &common::Running) -> f64 {
    let tasks = fs::read_dir(format!("/proc/{}/task", running.0.id())).unwrap();
    let nanoseconds = tasks.flatten().filter_map(|task| {
        let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<f64>().ok()
    });
    nanoseconds.sum::<f64>() / 1e6
}
