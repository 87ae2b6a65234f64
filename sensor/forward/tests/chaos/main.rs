//! Chaos: receivers are killed, frozen, cut off and slowed, the forwarder and the process that writes the journal are killed, the
//! disk is filled, while events flow. In the end every event that the journal holds is at every receiver that acknowledges
//! (webhooks, Kafka) and in the file, in the order of its incident. Syslog acknowledges nothing: what a killed server held is
//! reported. Seeded; run by `tests/chaos`.
//!
//! The sensor here is its journal alone, without packets: that a full disk or a kill loses no frame is tested with the sensor.
//! Kafka is frozen and cut off, never killed: the broker of the tests acknowledges and loses events of idempotent producers
//! when it is killed, and keeps nothing when it ends.
// Clippy knows only functions marked as tests, which may panic.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, clippy::print_stdout)]

#[path = "../common/mod.rs"]
mod common;
mod network;
mod parts;

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use common::{Authority, Place, Running, numbers};
use network::Link;
use parts::{INCIDENTS, journal_numbers, number};

/// How often the forwarder and the sensor are killed.
const KILLS: usize = 5;
/// Most memory of the forwarder: batches of all receivers, and the program.
const MEMORY_KB_MAX: u64 = 160 << 10;
/// How long everything may take to arrive after the last event.
const REST_MAX: Duration = Duration::from_secs(180);
#[cfg(feature = "kafka")]
const TOPIC: &str = "vigie-events";

/// xorshift64: numbers that a seed gives again.
struct Random(u64);

impl Random {
    fn below(&mut self, most: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % most
    }

    fn milliseconds(&mut self, most: u64) -> Duration {
        Duration::from_millis(self.below(most))
    }
}

#[test]
#[ignore = "a part of `everything_arrives`, which runs it"]
fn part() {
    match env::var("CHAOS_PART").as_deref() {
        Ok("sensor") => parts::sensor(env::var("CHAOS_JOURNAL").unwrap().as_ref()),
        Ok("http") => parts::http_receiver(),
        Ok("syslog") => parts::syslog_receiver(),
        _ => {}
    }
}

/// This program as one of the parts.
fn part_command(mut command: Command, part: &str) -> Command {
    command.args(["--ignored", "--exact", "part", "--nocapture"]).env("CHAOS_PART", part);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// What a receiver is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Webhook {
        delay_ms: u64,
    },
    Syslog {
        is_tls: bool,
    },
    #[cfg(feature = "kafka")]
    Kafka,
}

struct Receiver {
    name: &'static str,
    kind: Kind,
    link: Link,
    kept: PathBuf,
    certificate: PathBuf,
    running: Option<Running>,
    /// How often it was disturbed.
    kills: usize,
    freezes: usize,
    cuts: usize,
    narrows: usize,
}

impl Receiver {
    fn new(place: &Path, name: &'static str, kind: Kind, place_of_link: usize) -> Self {
        let link = Link::new(place_of_link);
        let (kept, certificate) = (place.join(name), place.join(format!("{name}.pem")));
        Self { name, kind, link, kept, certificate, running: None, kills: 0, freezes: 0, cuts: 0, narrows: 0 }
    }

    const fn port(&self) -> u16 {
        match self.kind {
            Kind::Webhook { delay_ms } => 18_080 + delay_ms as u16,
            Kind::Syslog { is_tls } => 10_514 + is_tls as u16,
            #[cfg(feature = "kafka")]
            Kind::Kafka => 19_092,
        }
    }

    fn server(&self) -> String {
        format!("{}:{}", self.link.address, self.port())
    }

    fn start(&mut self) {
        let program = env::current_exe().unwrap();
        let mut command = match self.kind {
            Kind::Webhook { delay_ms } => {
                let mut command = part_command(self.link.command(program.as_os_str()), "http");
                command.env("CHAOS_DELAY_MS", delay_ms.to_string());
                command
            }
            Kind::Syslog { is_tls } => {
                let mut command = part_command(self.link.command(program.as_os_str()), "syslog");
                if is_tls {
                    command.env("CHAOS_CERTIFICATE", &self.certificate);
                }
                command
            }
            #[cfg(feature = "kafka")]
            Kind::Kafka => {
                let mut command = self.link.command(env::var_os("VIGIE_TANSU").unwrap().as_os_str());
                let url = format!("tcp://{}", self.server());
                command.args(["broker", "--listener-url", &url, "--advertised-listener-url", &url]);
                command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
                command
            }
        };
        command.env("CHAOS_LISTEN", self.server()).env("CHAOS_KEPT", &self.kept);
        self.running = Some(Running(command.spawn().unwrap()));
    }

    /// The receiver in the forwarder's file.
    fn configuration(&self, ca: &Path) -> String {
        let (name, server) = (self.name, self.server());
        let keys = match self.kind {
            Kind::Webhook { .. } => format!("kind = \"webhook\"\nurl = \"http://{server}/\""),
            Kind::Syslog { is_tls: false } => format!("kind = \"syslog\"\nserver = \"{server}\"\ntransport = \"tcp\""),
            Kind::Syslog { is_tls: true } => format!("kind = \"syslog\"\nserver = \"{server}\"\nca_file = {ca:?}"),
            #[cfg(feature = "kafka")]
            Kind::Kafka => {
                format!("kind = \"kafka\"\nbrokers = \"{server}\"\ntopic = {TOPIC:?}\ntransport = \"tcp\"")
            }
        };
        format!("[[receiver]]\nname = \"{name}\"\n{keys}\ntimeout_s = 5\n")
    }

    const fn may_be_killed(&self) -> bool {
        match self.kind {
            Kind::Webhook { .. } | Kind::Syslog { .. } => true,
            #[cfg(feature = "kafka")]
            Kind::Kafka => false,
        }
    }

    /// Syslog says of nothing that it has arrived.
    const fn acknowledges(&self) -> bool {
        !matches!(self.kind, Kind::Syslog { .. })
    }

    fn disturb(&mut self, random: &mut Random) {
        let running = self.running.as_ref().unwrap();
        match random.below(4) {
            0 if self.may_be_killed() => {
                self.running.take().unwrap().kill();
                self.kills += 1;
                thread::sleep(random.milliseconds(1_500));
                self.start();
            }
            1 if self.link.is_real() => {
                self.link.cut();
                self.cuts += 1;
                thread::sleep(random.milliseconds(8_000));
                self.link.join();
            }
            2 if self.link.is_real() && self.link.narrow() => {
                self.narrows += 1;
                thread::sleep(random.milliseconds(5_000));
                self.link.widen();
            }
            _ => {
                running.signal("STOP");
                self.freezes += 1;
                thread::sleep(random.milliseconds(8_000));
                running.signal("CONT");
            }
        }
    }

    /// What the receiver has, in the order in which it got it; of several partitions, one after the other.
    fn found(&self, _events: usize) -> Vec<usize> {
        match self.kind {
            Kind::Webhook { .. } | Kind::Syslog { .. } => kept(&self.kept),
            #[cfg(feature = "kafka")]
            Kind::Kafka => common::broker::consume_at(&self.server(), TOPIC, 3, usize::MAX, Duration::from_secs(3))
                .iter()
                .flat_map(|(_, payload)| numbers(payload))
                .collect(),
        }
    }

    fn disturbances(&self) -> usize {
        self.kills + self.freezes + self.cuts + self.narrows
    }
}

fn kept(path: &Path) -> Vec<usize> {
    numbers(&String::from_utf8_lossy(&fs::read(path).unwrap_or_default()))
}

/// A file system of its own at the folder of the journal, the cursors and the file, so that it can be filled; gone when
/// dropped.
struct Disk(PathBuf);

impl Disk {
    fn mount(path: &Path) -> Option<Self> {
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=500m", "tmpfs"]).arg(path).output();
        mounted.is_ok_and(|output| output.status.success()).then(|| Self(path.to_owned()))
    }

    fn fill(&self) {
        let mut file = fs::File::create(self.0.join("filler")).unwrap();
        let block = vec![0; 1 << 12];
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

/// Steps back in the order of the incidents: how often an event was not after the one before it.
fn steps_back(found: &[usize]) -> usize {
    let mut last = [None; INCIDENTS];
    let mut steps = 0;
    let mut is_back = false;
    for number in found {
        let before = last[number % INCIDENTS].replace(*number);
        let goes_back = before.is_some_and(|before| *number <= before);
        steps += usize::from(goes_back && !is_back);
        is_back = goes_back;
    }
    steps
}

/// Whether no event came for the first time after a later one of its incident.
fn first_out_of_order(found: &[usize]) -> Option<usize> {
    let mut newest = [None; INCIDENTS];
    let mut seen = BTreeSet::new();
    found.iter().copied().find(|number| {
        let newest = &mut newest[number % INCIDENTS];
        let is_late = seen.insert(*number) && newest.is_some_and(|newest| *number < newest);
        *newest = (*newest).max(Some(*number));
        is_late
    })
}

#[test]
fn order_is_judged() {
    assert_eq!((steps_back(&[0, 97, 194]), first_out_of_order(&[0, 97, 1, 194])), (0, None));
    assert_eq!((steps_back(&[0, 97, 0, 97, 194]), first_out_of_order(&[0, 97, 0, 97, 194])), (1, None));
    assert_eq!(first_out_of_order(&[0, 194, 97]), Some(97));
}

fn receivers(place: &Path) -> Vec<Receiver> {
    let mut receivers = vec![
        Receiver::new(place, "quick", Kind::Webhook { delay_ms: 0 }, 1),
        Receiver::new(place, "slow", Kind::Webhook { delay_ms: 25 }, 2),
        Receiver::new(place, "tcp", Kind::Syslog { is_tls: false }, 3),
        Receiver::new(place, "tls", Kind::Syslog { is_tls: true }, 4),
    ];
    #[cfg(feature = "kafka")]
    match env::var_os("VIGIE_TANSU") {
        Some(_) => receivers.push(Receiver::new(place, "kafka", Kind::Kafka, 5)),
        None => println!("chaos: there is no broker of Kafka; tests/chaos installs one"),
    }
    if receivers.iter().any(|receiver| !receiver.link.is_real()) {
        println!("chaos: no network namespace can be made, so nothing is cut off or slowed; run it as root");
    }
    // Each name is used once, so nothing is left of a receiver that is gone.
    receivers.shrink_to_fit();
    receivers
}

fn start_sensor(journal: &Path, events: usize, seconds: u64) -> Running {
    let mut command = part_command(Command::new(env::current_exe().unwrap()), "sensor");
    let rate = events as u64 / seconds.max(1) + 1;
    command.env("CHAOS_JOURNAL", journal).env("CHAOS_EVENTS", events.to_string()).env("CHAOS_RATE", rate.to_string());
    Running(command.spawn().unwrap())
}

#[test]
#[ignore = "takes minutes; run by tests/chaos"]
fn everything_arrives() {
    let (seed, events) = (number("CHAOS_SEED", 1), number("CHAOS_EVENTS", 200_000) as usize);
    let seconds = number("CHAOS_SECONDS", 600);
    println!("chaos: seed {seed}, {events} events in {seconds} s");
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);

    let elsewhere = Place::new();
    let authority = Authority::new(&elsewhere).expect("openssl");
    let mut receivers = receivers(elsewhere.folder.path());
    let tls = receivers.iter().find(|receiver| receiver.name == "tls").unwrap();
    authority.sign("tls", &format!("IP:{}", tls.link.address), true);
    receivers.iter_mut().for_each(Receiver::start);
    receivers.iter().for_each(|receiver| parts::until_listens(&receiver.server()));
    #[cfg(feature = "kafka")]
    if let Some(kafka) = receivers.iter().find(|receiver| receiver.kind == Kind::Kafka) {
        common::broker::create_at(&kafka.server(), TOPIC, 3);
    }

    let place = Place { folder: tempfile::tempdir().unwrap() };
    let disk = Disk::mount(place.folder.path());
    if disk.is_none() {
        println!("chaos: no file system can be mounted, so the disk is not filled; run it as root");
    }
    ["journal", "state"].iter().for_each(|name| fs::create_dir(place.path(name)).unwrap());
    let (journal, file) = (place.path("journal"), place.path("eve.json"));
    let ca = elsewhere.path("ca.pem");
    let text: String = receivers.iter().map(|receiver| receiver.configuration(&ca)).collect();
    place.configure(&format!("[[receiver]]\nname = \"file\"\nkind = \"file\"\npath = {file:?}\n{text}"));
    let mut forwarder = place.start();
    let mut sensor = start_sensor(&journal, events, seconds);

    let began = Instant::now();
    let (mut memory, mut forwarder_kills, mut sensor_kills, mut fills) = (0, 0, 0, 0);
    while sensor.0.try_wait().unwrap().is_none() {
        thread::sleep(Duration::from_millis(100) + random.milliseconds(400));
        memory = memory.max(memory_kb(&forwarder));
        let part = began.elapsed().as_secs_f64() / seconds as f64;
        let due = |kills: usize, late: f64| kills < KILLS && part > (kills as f64 + late) / (KILLS as f64 + 1.0);
        if due(forwarder_kills, 1.0) {
            forwarder.kill();
            forwarder_kills += 1;
            thread::sleep(random.milliseconds(1_000));
            forwarder = place.start();
        }
        if due(sensor_kills, 0.5) {
            sensor.kill();
            sensor_kills += 1;
            thread::sleep(random.milliseconds(1_000));
            sensor = start_sensor(&journal, events, seconds);
        }
        if let Some(disk) = disk.as_ref().filter(|_| fills == 0 && part > 0.4) {
            disk.fill();
            fills += 1;
            thread::sleep(Duration::from_secs(5));
            disk.free();
        }
        let which = random.below(receivers.len() as u64) as usize;
        receivers[which].disturb(&mut random);
    }
    let expected = journal_numbers(&journal);
    println!(
        "chaos: after {:.0} s the journal holds {} events; forwarder killed {forwarder_kills} times, sensor {sensor_kills} \
         times, disk filled {fills} times",
        began.elapsed().as_secs_f64(),
        expected.len()
    );
    assert_eq!((expected.len(), forwarder_kills, sensor_kills), (events, KILLS, KILLS), "{}", place.log());

    let last = Instant::now();
    let mut late: Vec<&Receiver> = receivers.iter().filter(|receiver| receiver.acknowledges()).collect();
    while !(late.is_empty() && kept(&file).iter().collect::<BTreeSet<_>>().len() == events) && last.elapsed() < REST_MAX
    {
        thread::sleep(Duration::from_secs(2));
        late.retain(|receiver| receiver.found(events).iter().collect::<BTreeSet<_>>().len() < events);
    }
    println!("chaos: all arrived at most {:.0} s after the last was written", last.elapsed().as_secs_f64());
    memory = memory.max(memory_kb(&forwarder));
    let crashes = forwarder_kills + fills;
    judge("file", &kept(&file), events, crashes, true, &place);
    for receiver in &receivers {
        let Receiver { name, kills, freezes, cuts, narrows, .. } = receiver;
        println!("chaos: {name}: killed {kills}, frozen {freezes}, cut off {cuts}, slowed {narrows} times");
        let found = receiver.found(events);
        judge(name, &found, events, crashes + receiver.disturbances(), receiver.acknowledges(), &place);
    }
    println!("chaos: most memory of the forwarder {memory} kB");
    assert!(memory > 0 && memory < MEMORY_KB_MAX, "{memory} kB");
    forwarder.end();
}

/// Reports what a receiver has, and judges it if it acknowledges.
fn judge(name: &str, found: &[usize], events: usize, deaths: usize, is_judged: bool, place: &Place) {
    let all: BTreeSet<usize> = found.iter().copied().collect();
    let missing: Vec<usize> = (0..events).filter(|number| !all.contains(number)).collect();
    let (twice, steps) = (found.len() - all.len(), steps_back(found));
    let count = all.len();
    println!(
        "chaos: {name}: {count} of {events} events, {twice} more than once, {steps} times begun again ({deaths} disturbances)"
    );
    if !is_judged {
        println!("chaos: {name}: {} events were lost in the server, which is not judged", missing.len());
        return;
    }
    let log = || place.log();
    assert!(missing.is_empty(), "{name} misses {:?} …; log: {}", &missing[..missing.len().min(5)], log());
    assert_eq!(first_out_of_order(found), None, "{name}: out of order; log: {}", log());
    // Whoever dies makes the sender begin again; nothing else does. Kafka has three partitions.
    assert!(steps <= 3 * deaths, "{name}: begun again {steps} times with {deaths} disturbances");
}
