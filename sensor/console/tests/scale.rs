//! How fast the tables are made, and how long pages take over many incidents, against the bars of the project. It takes minutes
//! and some gigabytes in the temporary folder, so it is a command of its own:
//!
//!     cargo test --release -p vigie-console --test scale -- --ignored --nocapture
//!
//! `VIGIE_SCALE_INCIDENTS` (100 000) and `VIGIE_SCALE_ALERTS_EACH` (5) say how much. `VIGIE_SCALE_FOLDER` names a folder in which the
//! journal stays, so that the next run need not write it.
// Clippy knows only functions marked as tests, which may panic.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use std::env;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags};
use vigie_journal::{Cursor, Journal, JournalOptions, JournalReader, StartAt};

/// Lines that a core projects in a second, at least.
const LINES_PER_S_MIN: f64 = 25_000.0;
const LIST_MAX: Duration = Duration::from_millis(100);
/// The list of so many incidents answers faster.
const FEW_INCIDENTS: u64 = 100_000;
const LIST_OF_FEW_MAX: Duration = Duration::from_millis(50);
const INCIDENT_MAX: Duration = Duration::from_millis(50);
const REPORT_MAX: Duration = Duration::from_secs(5);
const RESIDENT_KIB_MAX: u64 = 300 * 1024;

const DAYS: u64 = 29;
const SERVICES: [(&str, &str, &str); 8] = [
    ("tiktok", "TikTok", "tiktokv.eu"),
    ("king", "King (Candy Crush)", "king.com"),
    ("telegram", "Telegram", "telegram.org"),
    ("netflix", "Netflix", "nflxso.net"),
    ("douyin-ecom", "Douyin E-commerce", "buydouke.com"),
    ("whatsapp", "WhatsApp", "whatsapp.net"),
    ("lemon8", "Lemon8", "lemon8-app.com"),
    ("signal", "Signal", "signal.org"),
];
const VERDICTS: [(&str, &str); 4] =
    [("app", "in-use"), ("app", "background"), ("web", "site"), ("ambiguous", "shared")];

struct Size {
    incidents: u64,
    alerts_each: u64,
}

fn number(name: &str, otherwise: u64) -> u64 {
    env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

/// The id of an incident, spread as true ones are.
fn id(incident: u64) -> String {
    const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
    let mixed = incident.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23) ^ incident;
    let letter = |at: u64| char::from(ALPHABET[((mixed >> (5 * at)) & 31) as usize]);
    let part = |from: u64, to: u64| (from..to).map(letter).collect::<String>();
    format!("{}-{}-{}", part(0, 5), part(5, 10), part(10, 11))
}

struct Story {
    /// Microseconds between incidents.
    step_us: u64,
    begin_us: u64,
}

impl Story {
    fn of(size: &Size) -> Self {
        let span_us = DAYS * 86_400_000_000;
        let now_us = jiff::Timestamp::now().as_microsecond() as u64;
        Self { step_us: span_us / size.incidents.max(1), begin_us: now_us - span_us }
    }

    fn time(&self, at_us: u64) -> String {
        let time = jiff::Timestamp::from_microsecond(at_us as i64).unwrap();
        time.strftime("%Y-%m-%dT%H:%M:%S.%6f+0000").to_string()
    }

    fn incident(&self, number: u64, state: &str, revision: u64, out: &mut Vec<u8>) {
        let at = self.begin_us + number * self.step_us + revision * 3;
        let (service, service_name, domain) = SERVICES[(number % 8) as usize];
        let (verdict, kind) = VERDICTS[(number / 3 % 4) as usize];
        let (time, first) = (self.time(at), self.time(at - revision * 3));
        let client = format!("10.16.{}.{}", number / 250 % 40, number % 250);
        let (incident, day, site) = (id(number), &time[..10], number % 12);
        writeln!(
            out,
            r#"{{"timestamp":"{time}","event_type":"alert","src_ip":"{client}","ip_v":4,"alert":{{"action":"allowed","gid":7,"signature_id":{revision},"rev":1,"signature":"vigie incident {state}: {service_name}, {verdict} ({kind}), fr","category":"Potential Corporate Privacy Violation","severity":1,"metadata":{{"event_id":["{at:016x}"],"incident":["{incident}"],"incident_state":["{state}"],"incident_revision":["{revision}"],"client":["{client}"],"service":["{service}"],"service_name":["{service_name}"],"verdict":["{verdict}"],"kind":["{kind}"],"ban":["fr"],"ban_title":["Recreational applications on work phones of public agents"],"authority":["Ministre de la transformation et de la fonction publiques"],"day":["{day}"],"scope":["offices"],"site":["site {site}"],"reasons":["native interface families: game","names that the app contacts most of all: api.{domain}"],"names":["api{number}.{domain}","{domain}"],"families":["native/game","native-likely/other"]}},"context":{{"vigie":{{"revision":{revision},"flows":{revision},"bytes_toserver":1566,"bytes_toclient":188,"regions":[{{"region":"Norway","bytes_toserver":1566,"bytes_toclient":188}}],"first":"{first}","last":"{time}","alerts_left_out":0}}}}}}}}"#
        )
        .unwrap();
    }

    fn alert(&self, number: u64, alert: u64, out: &mut Vec<u8>) {
        let at = self.begin_us + number * self.step_us + alert;
        let (service, service_name, domain) = SERVICES[(number % 8) as usize];
        let (time, incident) = (self.time(at), id(number));
        let client = format!("10.16.{}.{}", number / 250 % 40, number % 250);
        let (port, host, hash) = (1024 + (number * 7 + alert) % 60_000, number % 200, id(number * 31 + alert));
        writeln!(
            out,
            r#"{{"timestamp":"{time}","flow_id":{at},"event_type":"alert","src_ip":"{client}","src_port":{port},"dest_ip":"198.18.7.{host}","dest_port":443,"proto":"TCP","ip_v":4,"pkt_src":"wire/pcap","community_id":"1:HHc+{hash}Jd0Zu2ak+syn=","direction":"to_server","app_proto":"tls","alert":{{"action":"allowed","gid":1,"signature_id":711020{alert},"rev":1,"signature":"vigie {service_name}: app in use","category":"Potential Corporate Privacy Violation","severity":1,"metadata":{{"service":["{service}"],"service_name":["{service_name}"],"role":["app-api"],"class":["native"],"family":["game"],"verdict":["app"],"evidence":["tls-sni"],"confidence":["medium"],"name":["api{number}.{domain}"],"match":["pattern"],"rule":["^(?:mobile[a-z0-9]+)\\.(?:king\\.com)$"],"sources":["gh:20100354060"],"reviewed":["2026-11-21"],"event_id":["{at:016x}"],"incident":["{incident}"],"ban":["fr"],"scope":["offices"]}}}},"tls":{{"sni":"api{number}.{domain}","version":"TLS 1.3","ja4":"t13d1516h2_8daaf6152771_e5627efa2ab1","client_alpns":["h2","http/1.1"]}},"flow":{{"pkts_toserver":3,"pkts_toclient":1,"bytes_toserver":783,"bytes_toclient":94,"start":"{time}","end":"{time}"}}}}"#
        )
        .unwrap();
    }

    fn coverage(&self, at_us: u64, out: &mut Vec<u8>) {
        let time = self.time(at_us);
        writeln!(
            out,
            r#"{{"timestamp":"{time}","event_type":"stats","in_iface":"eth1","stats":{{}},"metadata":{{"flowints":{{"vigie.window_s":60,"vigie.blind_s":0,"vigie.drops_ppm":0,"vigie.hellos":420,"vigie.hellos_nameless":9,"vigie.hellos_ech":40,"vigie.shunted":0,"vigie.policy":"00ff","vigie.signatures":"11ee"}}}}}}"#
        )
        .unwrap();
    }
}

/// Writes the journal; the number of its lines, and where it ends.
fn write_journal(folder: &Path, size: &Size) -> (u64, Cursor) {
    const PLAIN_SEGMENTS_MAX: usize = 6;
    let options = JournalOptions { segment_age: Duration::from_secs(86_400), ..JournalOptions::default() };
    let (mut journal, _) = Journal::open(folder, options).unwrap();
    let story = Story::of(size);
    let (mut lines, mut minute) = (0, 0);
    let plain = || {
        fs::read_dir(folder)
            .unwrap()
            .filter(|file| file.as_ref().unwrap().path().extension().is_some_and(|e| e == "jsonl"))
            .count()
    };
    for number in 0..size.incidents {
        while minute * 60_000_000 < number * story.step_us {
            minute += 1;
            journal.add_line(|out| story.coverage(story.begin_us + minute * 60_000_000, out));
            lines += 1;
        }
        for alert in 0..size.alerts_each.min(2) {
            journal.add_line(|out| story.alert(number, alert, out));
        }
        journal.add_line(|out| story.incident(number, "opened", 1, out));
        for alert in 2..size.alerts_each {
            journal.add_line(|out| story.alert(number, alert, out));
        }
        // Some are still open.
        let is_open = number + 40 > size.incidents;
        if !is_open {
            journal.add_line(|out| story.incident(number, "closed", 2, out));
        }
        lines += size.alerts_each + 1 + u64::from(!is_open);
        if journal.is_full() {
            journal.write().unwrap();
            while plain() > PLAIN_SEGMENTS_MAX {
                thread::sleep(Duration::from_millis(50));
            }
        }
    }
    journal.write().unwrap();
    while plain() > 2 {
        thread::sleep(Duration::from_millis(50));
    }
    drop(journal);
    (lines, end_of(folder))
}

/// Where a journal ends.
fn end_of(folder: &Path) -> Cursor {
    let mut reader = JournalReader::open(folder, StartAt::Newest).unwrap();
    while reader.next_line().unwrap().is_some() {}
    reader.cursor()
}

/// The journal of an earlier run, or a new one.
fn journal(folder: &Path, size: &Size) -> (u64, Cursor) {
    let told = folder.join("lines");
    let written = fs::read_to_string(&told).ok().and_then(|lines| lines.trim().parse().ok());
    if let Some(lines) = written {
        return (lines, end_of(&folder.join("journal")));
    }
    let (lines, end) = write_journal(&folder.join("journal"), size);
    fs::write(told, lines.to_string()).unwrap();
    (lines, end)
}

struct Console {
    child: Child,
    port: u16,
}

impl Drop for Console {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Console {
    fn start(folder: &Path) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vigie-console"));
        command.arg("--demo").arg(folder.join("journal"));
        command.args(["--set", &format!("state.folder={}", folder.join("state").display())]);
        let (child, port) = common::spawn(command.args(["--set", "server.listen=127.0.0.1:0"]));
        Self { child, port }
    }

    fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let is_answered = ["HTTP/1.1 200", "HTTP/1.1 303"].iter().any(|status| text.starts_with(status));
        assert!(is_answered, "{path}: {}", text.lines().next().unwrap_or_default());
        text
    }

    /// The time of the first answer, and the middle one of the next five.
    fn time(&self, path: &str) -> (Duration, Duration) {
        let mut times: Vec<Duration> = Vec::new();
        for _ in 0..6 {
            let began = Instant::now();
            self.get(path);
            times.push(began.elapsed());
        }
        let first = times.remove(0);
        times.sort_unstable();
        (first, times[2])
    }

    fn proc(&self, file: &str) -> String {
        fs::read_to_string(format!("/proc/{}/{file}", self.child.id())).unwrap()
    }

    fn kib(&self, key: &str) -> u64 {
        let status = self.proc("status");
        let line = status.lines().find(|line| line.starts_with(key)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// Seconds of processor time.
    fn cpu_s(&self) -> f64 {
        let stat = self.proc("stat");
        let mut fields = stat.rsplit(')').next().unwrap().split_whitespace().skip(11);
        let mut ticks = || fields.next().unwrap().parse::<f64>().unwrap();
        (ticks() + ticks()) / 100.0
    }
}

fn is_read(state: &Path, end: &Cursor) -> bool {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let Ok(tables) = Connection::open_with_flags(state.join("console.sqlite"), flags) else { return false };
    let query = "SELECT value FROM meta WHERE key = 'cursor of the sensor'";
    let at: Result<String, _> = tables.query_row(query, [], |row| row.get(0));
    let at = at.ok().and_then(|text| serde_json::from_str::<Cursor>(&text).ok());
    at.is_some_and(|at| (at.seq, at.offset) == (end.seq, end.offset))
}

fn size_of(folder: &Path) -> u64 {
    fs::read_dir(folder).unwrap().map(|file| file.unwrap().metadata().unwrap().len()).sum()
}

/// What was too slow or too large.
#[derive(Default)]
struct Bars(Vec<String>);

impl Bars {
    fn hold(&mut self, what: &str, text: &str, is_held: bool) {
        println!("{:4} {what:<44} {text}", if is_held { "ok" } else { "BAD" });
        if !is_held {
            self.0.push(format!("{what}: {text}"));
        }
    }

    fn page(&mut self, console: &Console, path: &str, max: Option<Duration>) {
        let (first, middle) = console.time(path);
        let text = format!("{middle:.1?} (the first time {first:.1?})");
        self.hold(path, &text, max.is_none_or(|max| middle < max));
    }
}

#[test]
#[ignore = "takes minutes and gigabytes; the command is above"]
fn many_incidents_are_read_fast_and_shown_fast() {
    let size = Size {
        incidents: number("VIGIE_SCALE_INCIDENTS", FEW_INCIDENTS),
        alerts_each: number("VIGIE_SCALE_ALERTS_EACH", 5),
    };
    let temporary = tempfile::tempdir().unwrap();
    let folder = env::var_os("VIGIE_SCALE_FOLDER").map_or_else(|| temporary.path().to_owned(), PathBuf::from);
    let state = folder.join("state");
    let began = Instant::now();
    let _ = fs::remove_dir_all(&state);
    fs::create_dir(&state).unwrap();
    let (lines, end) = journal(&folder, &size);
    println!(
        "{} incidents, {} alerts, {lines} lines, {} MB of journal, written in {:.0?}",
        size.incidents,
        size.incidents * size.alerts_each,
        size_of(&folder.join("journal")) / 1_000_000,
        began.elapsed()
    );
    let mut bars = Bars::default();
    let began = Instant::now();
    let console = Console::start(&folder);
    let (_, empty) = console.time("/");
    println!("     a page while the tables are made: {empty:.1?}");
    while !is_read(&state, &end) {
        thread::sleep(Duration::from_millis(200));
    }
    let (took, cpu) = (began.elapsed().as_secs_f64(), console.cpu_s());
    let per_s = lines as f64 / cpu;
    let text = format!("{per_s:.0}/s of a core, {:.0}/s by the clock ({took:.0} s)", lines as f64 / took);
    bars.hold("lines", &text, per_s >= LINES_PER_S_MIN);
    println!("     {} MB of tables", size_of(&state) / 1_000_000);

    let list_max = if size.incidents <= FEW_INCIDENTS { LIST_OF_FEW_MAX } else { LIST_MAX };
    let day = jiff::Timestamp::from_second(jiff::Timestamp::now().as_second() - 10 * 86_400).unwrap();
    let day = day.strftime("%Y-%m-%d").to_string();
    let mut paths = common::pages(&id(size.incidents / 2), "10.16.0.7");
    paths.extend(
        ["/?day=all&verdict=web&site=site%203", "/?day=all&order=oldest&decided=none&state=closed"].map(str::to_owned),
    );
    paths.push(format!("/?day={day}&service=tiktok"));
    paths.extend([7, size.incidents - 1].map(|number| format!("/incident/{}", id(number))));
    for path in &paths {
        let max = match path.as_str() {
            list if list == "/" || list.starts_with("/?") => Some(list_max),
            incident if incident.starts_with("/incident/") => Some(INCIDENT_MAX),
            _ => None,
        };
        bars.page(&console, path, max);
    }
    let began = Instant::now();
    let until = jiff::Timestamp::now().strftime("%Y-%m-%d").to_string();
    let from = jiff::Timestamp::from_second(jiff::Timestamp::now().as_second() - 29 * 86_400).unwrap();
    let from = from.strftime("%Y-%m-%d").to_string();
    let mut report = Command::new(env!("CARGO_BIN_EXE_vigie-console"));
    report.args(["report", &from, &until, "--state"]).arg(&state).arg("--journal").arg(folder.join("journal"));
    let output = report.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    bars.hold("report of a month", &format!("{:.1?}", began.elapsed()), began.elapsed() < REPORT_MAX);
    let (now, peak) = (console.kib("VmRSS"), console.kib("VmHWM"));
    bars.hold("resident", &format!("{} MiB, at most {} MiB", now / 1024, peak / 1024), peak < RESIDENT_KIB_MAX);
    assert!(bars.0.is_empty(), "{:#?}", bars.0);
}
