//! What the journal writes, verifies and finds: events appended with a sync a second; with rotation, seals and compression;
//! plain lines verified; the first event of a time among ten million.
//! `cargo bench -p vigie-benches --bench journal [-- append | sustained | verify | find]`
//!
//! Floors, which it fails below: 500 000 events/s over 5 s, 100 000 sustained, 300 MB/s verified, 1 s to the first line.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing)]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::exit;
use std::time::{Duration, Instant};

use vigie_journal::{Journal, JournalOptions, Retention, export, verify};

/// Events between two writes, as the writer takes them from its channel.
const EVENTS_PER_WRITE: u64 = 256;
const SYNC_EVERY: Duration = Duration::from_secs(1);
/// A year of a busy sensor.
const EVENTS_OF_A_YEAR: u64 = 10_000_000;
const SECONDS_OF_A_YEAR: u64 = 365 * 86_400;

/// Measures in a folder. Whether its floor holds.
type Bench = fn(&Path) -> bool;

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|word| word == name);
    let folder = std::env::temp_dir().join(format!("vigie-bench-journal-{}", std::process::id()));
    let benches: [(&str, Bench); 4] =
        [("append", append), ("sustained", sustained), ("verify", verify_plain), ("find", find)];
    let mut is_well = true;
    for (name, bench) in benches.into_iter().filter(|(name, _)| is_wanted(name)) {
        std::fs::create_dir_all(&folder).unwrap();
        is_well &= bench(&folder.join(name));
        std::fs::remove_dir_all(&folder).unwrap();
    }
    exit(i32::from(!is_well));
}

/// Says a number and its floor. Whether it holds.
fn told(what: &str, value: f64, unit: &str, floor: f64) -> bool {
    let is_well = value >= floor;
    println!("{what}: {value:.0} {unit}, floor {floor:.0}{}", if is_well { "" } else { "  BELOW" });
    is_well
}

/// Segments as the sensor has them by default. Nothing is removed: the events are of the past.
fn options() -> JournalOptions {
    let retention = Retention { alerts_days: 36_500, incidents_days: 36_500, bytes_max: u64::MAX };
    JournalOptions { retention, ..JournalOptions::default() }
}

/// An alert of a usual length.
fn line(number: u64, second: u64, out: &mut Vec<u8>) {
    let (day, hour, minute) = (second / 86_400, second / 3_600 % 24, second / 60 % 60);
    let (month, day) = (day / 28 % 12 + 1, day % 28 + 1);
    writeln!(
        out,
        "{{\"timestamp\":\"2026-{month:02}-{day:02}T{hour:02}:{minute:02}:{:02}.{:06}+0000\",\"flow_id\":{},\"in_iface\":\"eth0\",\
         \"event_type\":\"alert\",\"src_ip\":\"10.{}.{}.{}\",\"src_port\":{},\"dest_ip\":\"71.18.{}.{}\",\"dest_port\":443,\
         \"proto\":\"TCP\",\"ip_v\":4,\"community_id\":\"1:LQU9qZlK+B5F3KDmev6m5PMibrg=\",\"host\":\"tap-1\",\"direction\":\"to_server\",\
         \"app_proto\":\"tls\",\"alert\":{{\"action\":\"allowed\",\"gid\":1,\"signature_id\":8100012,\"rev\":1,\"signature\":\"vigie \
         TikTok: app in use\",\"category\":\"Potential Corporate Privacy Violation\",\"severity\":1,\"metadata\":{{\"service\":\
         [\"tiktok\"],\"role\":[\"api\"],\"class\":[\"native\"],\"event_id\":[\"{number:016x}\"],\"name\":\
         [\"api16-normal-no1a.tiktokv.eu\"]}}}},\"tls\":{{\"sni\":\"api16-normal-no1a.tiktokv.eu\",\"version\":\"TLS 1.3\",\"ja4\":\
         \"t13d1516h2_8daaf6152771_02713d6af862\"}}}}",
        second % 60,
        number % 1_000_000,
        number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 12,
        number % 251,
        number / 251 % 251,
        number % 7,
        20_000 + number % 40_000,
        number % 13,
        number % 241,
    )
    .unwrap();
}

/// Lines that were encoded before the time is taken: the encoder has a bench of its own.
struct Lines {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Lines {
    fn new() -> Self {
        let (mut bytes, mut ends) = (Vec::new(), Vec::new());
        for number in 0..1 << 16 {
            line(number, number / 10, &mut bytes);
            ends.push(bytes.len());
        }
        Self { bytes, ends }
    }

    fn get(&self, number: u64) -> &[u8] {
        let place = number as usize % self.ends.len();
        let begin = if place == 0 { 0 } else { self.ends[place - 1] };
        &self.bytes[begin..self.ends[place]]
    }
}

/// Appends events for that long, or so many of them, with a sync a second. Returns how many, and in what time.
fn write(
    journal: &mut Journal,
    time_max: Duration,
    events_max: u64,
    encode: &mut dyn FnMut(u64, &mut Vec<u8>),
) -> (u64, Duration) {
    let began = Instant::now();
    let mut synced = began;
    let mut events = 0;
    while began.elapsed() < time_max && events < events_max {
        for number in events..events + EVENTS_PER_WRITE {
            journal.add_line(|out| encode(number, out));
        }
        events += EVENTS_PER_WRITE;
        journal.write().unwrap();
        if synced.elapsed() >= SYNC_EVERY {
            journal.sync().unwrap();
            synced = Instant::now();
        }
    }
    journal.sync().unwrap();
    (events, began.elapsed())
}

/// Gives ready lines.
fn ready() -> impl FnMut(u64, &mut Vec<u8>) {
    let lines = Lines::new();
    move |number, out| out.extend_from_slice(lines.get(number))
}

fn append(folder: &Path) -> bool {
    // Compression may lag behind: none falls into these seconds.
    let (mut journal, _) = Journal::open(folder, JournalOptions { segment_bytes: 1 << 30, ..options() }).unwrap();
    let (events, time) = write(&mut journal, Duration::from_secs(5), u64::MAX, &mut ready());
    told("append", events as f64 / time.as_secs_f64(), "events/s", 500_000.0)
}

fn sustained(folder: &Path) -> bool {
    let (mut journal, _) = Journal::open(folder, options()).unwrap();
    let status = journal.status();
    let (events, mut time) = write(&mut journal, Duration::from_secs(20), 3_000_000, &mut ready());
    let began = Instant::now();
    journal.rotate().unwrap();
    while plain_segments(folder).len() > 1 {
        std::thread::sleep(Duration::from_millis(10));
    }
    time += began.elapsed();
    println!("sustained: {} segments sealed and compressed", status.seals());
    told("sustained", events as f64 / time.as_secs_f64(), "events/s", 100_000.0)
}

fn plain_segments(folder: &Path) -> Vec<PathBuf> {
    let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    paths.filter(|path| path.extension().is_some_and(|end| end == "jsonl") && !path.ends_with("seals.jsonl")).collect()
}

fn verify_plain(folder: &Path) -> bool {
    let (mut journal, _) = Journal::open(folder, options()).unwrap();
    write(&mut journal, Duration::MAX, 1_000_000, &mut ready());
    journal.rotate().unwrap();
    drop(journal);
    let bytes: u64 = {
        let seals = std::fs::read_to_string(folder.join("seals.jsonl")).unwrap();
        let bytes = |seal: &str| seal.split("\"bytes\":").nth(1)?.split([',', '}']).next()?.parse::<u64>().ok();
        seals.lines().filter_map(bytes).sum()
    };
    let began = Instant::now();
    let report = verify(folder, None).unwrap();
    let rate = bytes as f64 / 1e6 / began.elapsed().as_secs_f64();
    println!("verify: {report:?}");
    told("verify", rate, "MB/s of plain lines", 300.0)
}

fn find(folder: &Path) -> bool {
    let (mut journal, _) = Journal::open(folder, options()).unwrap();
    let mut over_the_year =
        |number, out: &mut Vec<u8>| line(number, number * SECONDS_OF_A_YEAR / EVENTS_OF_A_YEAR, out);
    write(&mut journal, Duration::MAX, EVENTS_OF_A_YEAR, &mut over_the_year);
    journal.rotate().unwrap();
    while plain_segments(folder).len() > 1 {
        std::thread::sleep(Duration::from_millis(10));
    }
    drop(journal);
    let mut slowest = Duration::ZERO;
    for month in ["01", "06", "12"] {
        let began = Instant::now();
        let mut first = FirstLine::default();
        let _ = export(folder, Some(&format!("2026-{month}-20")), None, &mut first);
        slowest = slowest.max(began.elapsed());
        assert!(first.0.starts_with(format!("{{\"timestamp\":\"2026-{month}-20T00:0").as_bytes()));
    }
    println!("find: {} ms to the first line", slowest.as_millis());
    slowest < Duration::from_secs(1)
}

/// Takes one line, and refuses more.
#[derive(Default)]
struct FirstLine(Vec<u8>);

impl Write for FirstLine {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if !self.0.is_empty() {
            return Err(std::io::ErrorKind::BrokenPipe.into());
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
