//! The events file and the journal of the running sensor among faults of disk, pipe and descriptors, and kills: each line in it is whole, and written and
//! lost alerts together are those that were raised. Disks are real (tmpfs), and so are rings, signals and limits. Without the
//! rights for that the tests say so and pass.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use vigie_journal::{JournalReader, StartAt};
use vigie_tests::daemon::{Daemon, Folder, PATIENCE, Pipe, Scrape, USER_ID, get, is_alert, until};
use vigie_tests::known::{self, Ends, ends_of};
use vigie_tests::network::{Namespace, Sender};

const BANNED: &str = "www.capcut.com";
/// How long a sensor may take to stop, whatever its disk does.
const STOP_MAX: Duration = Duration::from_secs(15);
/// Alerts of so many connections do not fit on a [`Disk`].
const CONNECTIONS: usize = 900;

fn send(namespace: &Namespace, numbers: std::ops::Range<usize>) {
    let frames: Vec<Vec<u8>> = numbers.flat_map(|number| known::says(number, BANNED)).collect();
    namespace.inside(|| Sender::new("out0").send(frames.iter().map(Vec::as_slice)));
}

/// A disk of half a megabyte, mounted until dropped.
struct Disk(Folder);

impl Disk {
    fn new() -> Self {
        let disk = Self(Folder::new());
        disk.mount("size=512k,mode=755,uid=65534,gid=65534");
        disk
    }

    fn mount(&self, options: &str) {
        let done = Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs", &self.0.text_path("")]).status();
        assert!(done.is_ok_and(|status| status.success()), "mount {options}");
    }

    /// Makes room, as somebody who deletes old files does.
    fn grow(&self) {
        self.mount("remount,size=64m");
    }

    /// The alerts in a file of which every line must be whole.
    fn alerts(&self, name: &str) -> Vec<Value> {
        let mut events = self.0.events_of(name);
        events.retain(is_alert);
        events
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path("")).status();
    }
}

fn counted<'e>(alerts: impl IntoIterator<Item = &'e Value>) -> BTreeMap<Ends, usize> {
    let mut counted = BTreeMap::new();
    alerts.into_iter().for_each(|alert| *counted.entry(ends_of(alert)).or_default() += 1);
    counted
}

/// Every one of these connections has one alert.
fn assert_each_once(alerts: &[Value], numbers: std::ops::Range<usize>) {
    let expected: BTreeMap<Ends, usize> = numbers.map(|number| (known::ends(number), 1)).collect();
    assert!(counted(alerts) == expected, "{} alerts of {}", alerts.len(), expected.len());
}

fn is_not_ready(scrape: &Scrape) -> bool {
    scrape.sum("vigie_not_ready", &["reason=\"events_not_written\""]) == 1
}

fn readiness(namespace: &Namespace) -> String {
    namespace.inside(|| get(([127, 0, 0, 1], 19_843).into(), "/readyz"))
}

/// A sensor that has raised all alerts, more than its disk has room for.
fn with_full_disk(namespace: &Namespace, disk: &Disk) -> Daemon {
    namespace.pair("out0", "tap0");
    let daemon = Daemon::start(namespace, &disk.0, &["-i", "tap0", "--workers", "2"]);
    send(namespace, 0..CONNECTIONS);
    daemon.scrape_until(namespace, "the disk is full, and that is told", |scrape| {
        scrape.sum("vigie_sightings_total", &[]) == CONNECTIONS as u64 && is_not_ready(scrape)
    });
    assert!(readiness(namespace).contains("events_not_written"), "{}", readiness(namespace));
    daemon
}

fn all_written(daemon: &Daemon, namespace: &Namespace, alerts: usize) {
    let scrape = daemon.scrape_until(namespace, "all alerts are written", |scrape| {
        scrape.sum("vigie_alerts_total", &[]) == alerts as u64 && !is_not_ready(scrape)
    });
    assert_eq!(scrape.alerts_lost(), 0);
}

/// How many alerts the sensor said that it raised and lost.
fn told(said: &str) -> (usize, usize) {
    let line = said.lines().find(|line| line.contains("stopped: ")).unwrap_or_else(|| panic!("{said}"));
    let number = |behind: &str| -> usize {
        let before = line.split(behind).next().unwrap_or_default();
        before.rsplit([' ', ',']).find(|word| !word.is_empty()).and_then(|word| word.parse().ok()).expect(line)
    };
    (number(" alerts"), number(" of them lost"))
}

/// Waits for the end of a sensor that cannot write; it must say what it lost.
fn ends_in_time(mut daemon: Daemon) -> (usize, usize) {
    let began = Instant::now();
    daemon.signal(libc::SIGTERM);
    let status = daemon.wait(PATIENCE * 2);
    let said = daemon.said();
    println!("ended after {:.1?}", began.elapsed());
    assert!(began.elapsed() < STOP_MAX, "{:?}: {said}", began.elapsed());
    assert_eq!(status.code(), Some(70), "{said}");
    assert!(said.contains("could not be written"), "{said}");
    told(&said)
}

#[test]
fn on_a_full_disk_a_reload_cuts_no_line_and_loses_nothing() {
    let Some(namespace) = Namespace::new() else { return };
    let disk = Disk::new();
    let mut daemon = with_full_disk(&namespace, &disk);
    for reload in 1..=3 {
        daemon.signal(libc::SIGHUP);
        daemon.wait_until_it_says_times("reloaded:", reload);
        thread::sleep(Duration::from_millis(300));
        let text = fs::read_to_string(disk.0.events()).unwrap();
        assert!(text.ends_with('\n'), "a line is cut: {:?}", text.lines().last());
    }
    disk.grow();
    all_written(&daemon, &namespace, CONNECTIONS);
    let said = daemon.stop();
    assert_eq!(told(&said), (CONNECTIONS, 0), "{said}");
    assert_each_once(&disk.alerts("eve.json"), 0..CONNECTIONS);
}

#[test]
fn on_a_full_disk_a_rotation_leaves_whole_lines_in_both_files() {
    let Some(namespace) = Namespace::new() else { return };
    let disk = Disk::new();
    let mut daemon = with_full_disk(&namespace, &disk);
    fs::rename(disk.0.events(), disk.0.path("eve.json.1")).unwrap();
    daemon.signal(libc::SIGHUP);
    daemon.wait_until_it_says("reloaded:");
    thread::sleep(Duration::from_millis(300));
    disk.grow();
    all_written(&daemon, &namespace, CONNECTIONS);
    daemon.stop();
    let (old, new) = (disk.alerts("eve.json.1"), disk.alerts("eve.json"));
    assert!(!old.is_empty() && !new.is_empty(), "{} and {}", old.len(), new.len());
    assert_each_once(&[old, new].concat(), 0..CONNECTIONS);
}

#[test]
fn told_to_stop_on_a_full_disk_it_says_to_the_alert_what_it_lost() {
    let Some(namespace) = Namespace::new() else { return };
    let disk = Disk::new();
    let daemon = with_full_disk(&namespace, &disk);
    let (raised, lost) = ends_in_time(daemon);
    let written = disk.alerts("eve.json").len();
    println!("{written} written, {lost} lost");
    assert_eq!((raised, written + lost), (CONNECTIONS, CONNECTIONS));
    assert!(written > 0 && lost > 0);
}

#[test]
fn killed_on_a_full_disk_it_leaves_whole_lines_to_the_next() {
    let Some(namespace) = Namespace::new() else { return };
    let disk = Disk::new();
    with_full_disk(&namespace, &disk).kill();
    let before = fs::read_to_string(disk.0.events()).unwrap();
    let daemon = Daemon::start(&namespace, &disk.0, &["-i", "tap0", "--workers", "2"]);
    let after = fs::read_to_string(disk.0.events()).unwrap();
    assert!(before.starts_with(&after) && before.len() - after.len() < 4_096 && after.ends_with('\n'));
    disk.grow();
    send(&namespace, CONNECTIONS..CONNECTIONS + 10);
    all_written(&daemon, &namespace, 10);
    daemon.stop();
    let alerts = disk.alerts("eve.json");
    assert_each_once(&alerts[alerts.len() - 10..], CONNECTIONS..CONNECTIONS + 10);
}

#[test]
fn a_deleted_file_is_made_anew_and_takes_all_later_events() {
    let Some(namespace) = Namespace::new() else { return };
    namespace.pair("out0", "tap0");
    let folder = Folder::new();
    let daemon = Daemon::start(&namespace, &folder, &["-i", "tap0", "--workers", "2"]);
    for round in 0..5 {
        send(&namespace, round * 100..round * 100 + 100);
        all_written(&daemon, &namespace, round * 100 + 100);
        assert_each_once(&folder.alerts(), round * 100..round * 100 + 100);
        fs::remove_file(folder.events()).unwrap();
    }
    until("a new file", PATIENCE, || folder.events().exists().then_some(()));
    assert_eq!(told(&daemon.stop()), (500, 0));
}

#[test]
fn a_file_that_cannot_be_reopened_for_want_of_descriptors_is_opened_later() {
    let Some(namespace) = Namespace::new() else { return };
    namespace.pair("out0", "tap0");
    let folder = Folder::new();
    let mut daemon = Daemon::start(&namespace, &folder, &["-i", "tap0", "--workers", "2"]);
    send(&namespace, 0..100);
    all_written(&daemon, &namespace, 100);
    let process = daemon.process().to_string();
    let limit = |descriptors: &str| {
        // A user may set the limits of their own processes.
        let mut command = Command::new("prlimit");
        command.uid(USER_ID).gid(USER_ID).args(["--pid", &process, &format!("--nofile={descriptors}:")]);
        assert!(command.status().is_ok_and(|status| status.success()), "prlimit {descriptors}");
    };
    limit("3");
    fs::rename(folder.events(), folder.path("eve.json.1")).unwrap();
    daemon.signal(libc::SIGHUP);
    daemon.wait_until_it_says("cannot be reopened");
    send(&namespace, 100..200);
    thread::sleep(Duration::from_secs(2));
    assert!(!folder.events().exists());
    let renamed = folder.events_of("eve.json.1");
    assert_eq!(
        renamed.iter().filter(|event| is_alert(event)).count(),
        100,
        "the renamed file may be compressed by now"
    );
    limit("1024");
    all_written(&daemon, &namespace, 200);
    assert_each_once(&folder.alerts(), 100..200);
    assert_eq!(told(&daemon.stop()), (200, 0));
}

#[test]
fn an_unread_pipe_holds_the_end_up_for_a_bounded_time_and_its_loss_is_told() {
    const MANY: usize = 5_000;
    let Some(namespace) = Namespace::new() else { return };
    namespace.pair("out0", "tap0");
    let folder = Folder::new();
    let pipe = Pipe::new(&folder);
    let small = ["--set", "events.channel_events_max=64", "--events-file", pipe.path()];
    let daemon = Daemon::start(&namespace, &folder, &[&["-i", "tap0", "--workers", "2"][..], &small].concat());
    let reader = pipe.read(false);
    send(&namespace, 0..MANY);
    daemon.scrape_until(&namespace, "that nobody reads is told", |scrape| {
        scrape.sum("vigie_sightings_total", &[]) == MANY as u64 && is_not_ready(scrape)
    });
    let (raised, lost) = ends_in_time(daemon);
    reader.take(true);
    let taken = || -> Vec<Value> { reader.events().into_iter().filter(is_alert).collect() };
    until("all that was written", PATIENCE, || (taken().len() + lost >= MANY).then_some(()));
    assert!(reader.ends_whole(), "a line is cut");
    let taken = taken();
    println!("{} taken, {lost} lost", taken.len());
    assert_eq!((raised, taken.len() + lost), (MANY, MANY));
    assert!(!taken.is_empty() && lost > 0);
}

/// Arguments of a sensor with a journal in this folder.
fn with_journal(folder: &Folder) -> [String; 6] {
    let journal = format!("journal.folder={}", folder.text_path("journal"));
    ["-i", "tap0", "--workers", "2", "--set", &journal].map(str::to_owned)
}

/// The events in the journal in this folder.
fn events_of_journal(folder: &Folder) -> Vec<Value> {
    let mut reader = JournalReader::open(&folder.path("journal"), StartAt::Oldest).unwrap();
    let mut events = Vec::new();
    while let Some(line) = reader.next_line().unwrap() {
        events.push(serde_json::from_slice(line).unwrap());
    }
    events
}

#[test]
fn with_a_journal_a_full_disk_is_told_and_no_alert_is_lost() {
    let Some(namespace) = Namespace::new() else { return };
    let disk = Disk::new();
    namespace.pair("out0", "tap0");
    let arguments = with_journal(&disk.0);
    let daemon = Daemon::start(&namespace, &disk.0, &arguments.each_ref().map(String::as_str));
    send(&namespace, 0..CONNECTIONS);
    daemon.scrape_until(&namespace, "the disk is full, and that is told", |scrape| {
        scrape.sum("vigie_sightings_total", &[]) == CONNECTIONS as u64 && is_not_ready(scrape)
    });
    assert!(readiness(&namespace).contains("events_not_written"), "{}", readiness(&namespace));
    disk.grow();
    all_written(&daemon, &namespace, CONNECTIONS);
    assert!(!readiness(&namespace).contains("events_not_written"), "{}", readiness(&namespace));
    daemon.stop();
    let mut alerts = events_of_journal(&disk.0);
    alerts.retain(is_alert);
    assert_each_once(&alerts, 0..CONNECTIONS);
}

#[test]
fn killed_in_the_middle_of_incidents_it_forgets_none_and_opens_none_twice() {
    let Some(namespace) = Namespace::new() else { return };
    let folder = Folder::new();
    namespace.pair("out0", "tap0");
    let arguments = with_journal(&folder);
    let arguments = arguments.each_ref().map(String::as_str);
    for round in 0..3 {
        let daemon = Daemon::start(&namespace, &folder, &arguments);
        // Two clients, each in every round.
        send(&namespace, round * 10..round * 10 + 10);
        send(&namespace, known::PORTS + round * 10..known::PORTS + round * 10 + 10);
        all_written(&daemon, &namespace, 20);
        if round < 2 { daemon.kill() } else { drop(daemon.stop()) }
    }
    let events = events_of_journal(&folder);
    let fact = |event: &Value, key: &str| event["alert"]["metadata"][key][0].as_str().unwrap_or_default().to_owned();
    let of_incidents: Vec<&Value> = events.iter().filter(|event| event["alert"]["gid"] == 7).collect();
    let mut opened = BTreeMap::<(String, String, String), usize>::new();
    for event in of_incidents.iter().filter(|event| fact(event, "incident_state") == "opened") {
        *opened.entry((fact(event, "client"), fact(event, "service"), fact(event, "ban"))).or_default() += 1;
    }
    assert!(opened.len() >= 2 && opened.values().all(|times| *times == 1), "{opened:?}");
    // All alerts belong to incidents that were told, in each round.
    let told: Vec<String> = of_incidents.iter().map(|event| fact(event, "incident")).collect();
    let alerts: Vec<&Value> = events.iter().filter(|event| is_alert(event)).collect();
    assert_eq!(alerts.len(), 60);
    assert!(alerts.iter().all(|alert| told.contains(&fact(alert, "incident"))));
}
