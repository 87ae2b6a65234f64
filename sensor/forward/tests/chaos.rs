//! Chaos: receivers are killed, frozen and restarted, the forwarder is killed, the disk is filled, while events flow. In the
//! end every event is at every receiver that acknowledges, and in the file. Seeded; run by `tests/chaos`.
// Clippy knows only functions marked as tests, which may panic.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, clippy::print_stdout)]

mod common;

use std::collections::BTreeSet;
use std::env;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use common::{Place, Running, free_port, line, numbers};

/// Events of a segment of the journal.
const SEGMENT_EVENTS: usize = 20_000;
/// How often the forwarder is killed.
const FORWARDER_KILLS: usize = 5;
/// Most memory of the forwarder: batches of all receivers, and the program.
const MEMORY_KB_MAX: u64 = 100 << 10;
/// How long everything may take to arrive after the last event.
const REST_MAX: Duration = Duration::from_secs(120);

fn number(name: &str, default: u64) -> u64 {
    env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// xorshift64: numbers that a seed gives again.
struct Random(u64);

impl Random {
    fn below(&mut self, most: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % most
    }
}

/// A part of the chaos: this program as an HTTP server that keeps what it gets before it answers.
#[test]
#[ignore = "a part of `everything_arrives`, which runs it"]
fn receiver_process() {
    let Ok(port) = env::var("CHAOS_PORT") else { return };
    let kept = env::var("CHAOS_KEPT").unwrap();
    let delay = Duration::from_millis(number("CHAOS_DELAY_MS", 0));
    let listener = std::net::TcpListener::bind(("127.0.0.1", port.parse::<u16>().unwrap())).unwrap();
    let mut file = OpenOptions::new().append(true).create(true).open(kept).unwrap();
    common::serve(&listener, move |request| {
        thread::sleep(delay);
        let found: String =
            numbers(&request.body).iter().map(|number| format!("\"event_id\":[\"{number:016x}\"]\n")).collect();
        file.write_all(found.as_bytes()).unwrap();
        (200, String::new())
    });
}

struct Receiver {
    port: u16,
    kept: PathBuf,
    delay_ms: u64,
    running: Option<Running>,
}

impl Receiver {
    fn start(&mut self) {
        let mut command = Command::new(env::current_exe().unwrap());
        command.args(["--ignored", "--exact", "receiver_process", "--nocapture"]);
        command.env("CHAOS_PORT", self.port.to_string()).env("CHAOS_KEPT", &self.kept);
        command.env("CHAOS_DELAY_MS", self.delay_ms.to_string());
        self.running = Some(Running(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()));
    }
}

/// A file system of its own, so that it can be filled; gone when dropped. `None` where it cannot be made.
struct Disk(PathBuf);

impl Disk {
    fn new(path: PathBuf) -> Option<Self> {
        fs::create_dir(&path).unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=200m", "tmpfs"]).arg(&path).output();
        mounted.is_ok_and(|output| output.status.success()).then_some(Self(path))
    }

    fn fill(&self) {
        let mut file = fs::File::create(self.0.join("filler")).unwrap();
        let block = vec![0; 1 << 16];
        while file.write_all(&block).is_ok() {}
    }

    fn free(&self) {
        fs::remove_file(self.0.join("filler")).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

fn memory_kb(running: &Running) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", running.0.id())).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok()).unwrap_or(0)
}

/// Writes the journal while the chaos goes on.
fn write_journal(folder: &Path, events: usize, time: Duration) {
    let began = Instant::now();
    let mut written = 0;
    while written < events {
        let due = (events as f64 * (began.elapsed().as_secs_f64() / time.as_secs_f64()).min(1.0)) as usize;
        while written < due {
            let segment = written / SEGMENT_EVENTS;
            let end = due.min((segment + 1) * SEGMENT_EVENTS);
            let text: String = (written..end).map(|number| line(number) + "\n").collect();
            let path = folder.join(format!("{:08}.jsonl", segment + 1));
            let mut file = OpenOptions::new().append(true).create(true).open(path).unwrap();
            // In pieces, so that a reader meets half lines.
            let (one, other) = text.as_bytes().split_at(text.len() * 2 / 3);
            file.write_all(one).unwrap();
            file.write_all(other).unwrap();
            written = end;
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// What a receiver has: all its events, and how often one was not after the one before it.
fn kept(path: &Path) -> (BTreeSet<usize>, usize, usize) {
    let found = numbers(&String::from_utf8_lossy(&fs::read(path).unwrap_or_default()));
    let steps_back = found.windows(2).filter(|pair| pair[1] <= pair[0]).count();
    let all: BTreeSet<usize> = found.iter().copied().collect();
    (all.clone(), found.len() - all.len(), steps_back)
}

#[test]
#[ignore = "takes minutes; run by tests/chaos"]
fn everything_arrives() {
    let (seed, events) = (number("CHAOS_SEED", 1), number("CHAOS_EVENTS", 200_000) as usize);
    let time = Duration::from_secs(number("CHAOS_SECONDS", 600));
    println!("chaos: seed {seed}, {events} events in {} s", time.as_secs());
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let place = Place::new();
    let disk = Disk::new(place.path("disk"));
    if disk.is_none() {
        println!("chaos: no file system can be mounted, so the disk is not filled; run it as root");
    }
    let mut receivers: Vec<Receiver> = [("quick", 0), ("slow", 25)]
        .map(|(name, delay_ms)| Receiver { port: free_port(), kept: place.path(name), delay_ms, running: None })
        .into();
    receivers.iter_mut().for_each(Receiver::start);
    let file = place.path("disk/eve.json");
    let mut text = format!("[[receiver]]\nname = \"file\"\nkind = \"file\"\npath = {file:?}\n");
    for receiver in &receivers {
        let port = receiver.port;
        text.push_str(&format!(
            "[[receiver]]\nname = \"hook-{port}\"\nkind = \"webhook\"\nurl = \"http://127.0.0.1:{port}/\"\ntimeout_s = 5\n"
        ));
    }
    place.configure(&text);
    let mut forwarder = place.start();
    let journal = place.path("journal");
    let is_written = Arc::new(AtomicBool::new(false));
    let writer = {
        let is_written = Arc::clone(&is_written);
        thread::spawn(move || {
            write_journal(&journal, events, time);
            is_written.store(true, Relaxed);
        })
    };

    let began = Instant::now();
    let (mut memory, mut kills, mut receiver_kills, mut freezes, mut fills) = (0, 0, 0, 0, 0);
    while !is_written.load(Relaxed) {
        thread::sleep(Duration::from_millis(200 + random.below(800)));
        memory = memory.max(memory_kb(&forwarder));
        let part = began.elapsed().as_secs_f64() / time.as_secs_f64();
        if kills < FORWARDER_KILLS && part > (kills + 1) as f64 / (FORWARDER_KILLS + 1) as f64 {
            forwarder.kill();
            kills += 1;
            thread::sleep(Duration::from_millis(random.below(1_000)));
            forwarder = place.start();
        }
        if let Some(disk) = disk.as_ref().filter(|_| fills == 0 && part > 0.4) {
            disk.fill();
            fills += 1;
            thread::sleep(Duration::from_secs(3));
            disk.free();
        }
        let which = random.below(2) as usize;
        let receiver = &mut receivers[which];
        match random.below(6) {
            0 => {
                receiver.running.take().unwrap().kill();
                receiver_kills += 1;
                thread::sleep(Duration::from_millis(random.below(1_500)));
                receiver.start();
            }
            1 => {
                let running = receiver.running.as_ref().unwrap();
                running.signal("STOP");
                freezes += 1;
                thread::sleep(Duration::from_millis(random.below(3_000)));
                running.signal("CONT");
            }
            _ => {}
        }
    }
    writer.join().unwrap();
    println!(
        "chaos: forwarder killed {kills} times, receivers killed {receiver_kills} times and frozen {freezes} times, disk \
         filled {fills} times"
    );

    let places = [("file", file), ("quick", receivers[0].kept.clone()), ("slow", receivers[1].kept.clone())];
    let last = Instant::now();
    let mut is_complete = false;
    while !is_complete && last.elapsed() < REST_MAX {
        thread::sleep(Duration::from_millis(500));
        is_complete = places.iter().all(|(_, path)| kept(path).0.len() == events);
    }
    memory = memory.max(memory_kb(&forwarder));
    for (name, path) in &places {
        let (all, duplicates, steps_back) = kept(path);
        let missing: Vec<usize> = (0..events).filter(|number| !all.contains(number)).take(5).collect();
        println!("chaos: {name}: {} of {events} events, {duplicates} twice, {steps_back} times begun again", all.len());
        assert!(missing.is_empty(), "{name} misses {missing:?} …; log: {}", place.log());
        // Whoever dies makes the sender begin again; nothing else does.
        let deaths = kills + receiver_kills + freezes + fills;
        assert!(steps_back <= deaths, "{name}: {steps_back} steps back with {deaths} deaths");
    }
    println!(
        "chaos: all arrived {:.1} s after the last was written; most memory {memory} kB",
        last.elapsed().as_secs_f64()
    );
    assert!(memory > 0 && memory < MEMORY_KB_MAX, "{memory} kB");
    forwarder.end();
}
