//! Follows the sensor's events: incidents, and what was seen of each minute.
//!
//! Not here: alerts of single flows, of which there can be thousands in a second.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::SyncSender;
use std::thread;
use std::time::Duration;

use memchr::memmem;
use serde::Deserialize;
use vigie_journal::eve::{GENERATOR_INCIDENT, INCIDENT_MARK, time_us};
use vigie_journal::{Cursor, JournalReader, LINE_BYTES_MAX, StartAt};

use crate::sources::Events;

/// How often it is asked whether there is more.
const POLL_INTERVAL: Duration = Duration::from_millis(500);
/// Wait after an error.
const RETRY_INTERVAL: Duration = Duration::from_secs(2);
/// Segments before the live one that are read first: at ten minutes each, the last hour.
const SEGMENTS_BEFORE: u64 = 6;
/// Bytes before the end of a file that are read first.
const FILE_BYTES_BEFORE: u64 = 32 << 20;

/// What events tell.
#[derive(Clone, Debug, PartialEq)]
pub enum News {
    Incident(Incident),
    Coverage(Coverage),
    /// Everything that was written has been read.
    CaughtUp,
    /// Why events cannot be read.
    Failed(String),
}

/// The newest state of an incident.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Incident {
    pub id: String,
    /// When the event was written, in microseconds since 1970.
    pub time_us: i64,
    pub state: String,
    pub device: String,
    pub service: String,
    pub verdict: String,
    pub ban: String,
    pub severity: u8,
}

/// What was seen of a span of time on an interface.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Coverage {
    pub interface: String,
    /// When the span ended, in microseconds since 1970.
    pub end_us: i64,
    pub window_s: u64,
    pub blind_s: u64,
    pub drops_ppm: u64,
}

/// Follows events for as long as somebody listens.
pub fn follow(events: &Events, news: &SyncSender<News>) {
    loop {
        let result = match events {
            Events::Journal(folder) => follow_journal(folder, news),
            Events::File(path) => follow_file(path, news),
        };
        let said = match result {
            Ok(()) => return,
            Err(message) => news.send(News::Failed(message)),
        };
        if said.is_err() {
            return;
        }
        thread::sleep(RETRY_INTERVAL);
    }
}

/// Ok: nobody listens any more.
fn follow_journal(folder: &Path, news: &SyncSender<News>) -> Result<(), String> {
    let newest = newest_segment(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let seq = newest.saturating_sub(SEGMENTS_BEFORE);
    let start = StartAt::Cursor(Cursor { seq, offset: 0, event_id: None });
    let mut reader = JournalReader::open(folder, start).map_err(|error| error.to_string())?;
    loop {
        while let Some(line) = reader.next_line().map_err(|error| error.to_string())? {
            if let Some(event) = read(line)
                && news.send(event).is_err()
            {
                return Ok(());
            }
        }
        if news.send(News::CaughtUp).is_err() {
            return Ok(());
        }
        thread::sleep(POLL_INTERVAL);
    }
}

fn newest_segment(folder: &Path) -> io::Result<u64> {
    let mut newest = 0;
    for file in fs::read_dir(folder)? {
        let name = file?.file_name();
        let number = name.to_str().and_then(|name| name.split('.').next()).and_then(|name| name.parse().ok());
        newest = newest.max(number.unwrap_or_default());
    }
    Ok(newest)
}

/// Ok: nobody listens any more.
fn follow_file(path: &PathBuf, news: &SyncSender<News>) -> Result<(), String> {
    let failed = |error: io::Error| format!("{}: {error}", path.display());
    let mut file = File::open(path).map_err(failed)?;
    let length = file.metadata().map_err(failed)?.len();
    let begin = length.saturating_sub(FILE_BYTES_BEFORE);
    file.seek(SeekFrom::Start(begin)).map_err(failed)?;
    let inode = file.metadata().map_err(failed)?.ino();
    let mut reader = BufReader::new(file);
    let mut line = Vec::new();
    let mut offset = begin;
    // The first line is cut, unless it is the first of the file.
    let mut is_cut = begin > 0;
    loop {
        let count = reader.read_until(b'\n', &mut line).map_err(failed)?;
        offset += count as u64;
        if line.last() == Some(&b'\n') || line.len() > LINE_BYTES_MAX {
            if !is_cut
                && let Some(event) = read(&line)
                && news.send(event).is_err()
            {
                return Ok(());
            }
            is_cut = line.last() != Some(&b'\n');
            line.clear();
            continue;
        }
        if news.send(News::CaughtUp).is_err() {
            return Ok(());
        }
        thread::sleep(POLL_INTERVAL);
        let now = fs::metadata(path).map_err(failed)?;
        if now.ino() != inode || now.len() < offset {
            // The file was rotated.
            return follow_file(path, news);
        }
    }
}

/// What a line tells, if it is about an incident or coverage.
fn read(line: &[u8]) -> Option<News> {
    if memmem::find(line, INCIDENT_MARK).is_none() && memmem::find(line, b"\"vigie.window_s\"").is_none() {
        return None;
    }
    let line: Line<'_> = serde_json::from_slice(line).ok()?;
    let time_us = time_us(line.timestamp)?;
    if let Some(alert) = line.alert.filter(|alert| alert.gid == GENERATOR_INCIDENT) {
        let facts = alert.metadata;
        let one = |texts: Vec<String>| texts.into_iter().next().unwrap_or_default();
        let (device, client) = (one(facts.device), one(facts.client));
        let (name, service) = (one(facts.service_name), one(facts.service));
        return Some(News::Incident(Incident {
            id: one(facts.incident),
            time_us,
            state: one(facts.incident_state),
            device: if device.is_empty() { client } else { device },
            service: if name.is_empty() { service } else { name },
            verdict: one(facts.verdict),
            ban: one(facts.ban),
            severity: alert.severity,
        }));
    }
    let numbers = line.metadata?.flowints;
    Some(News::Coverage(Coverage {
        interface: line.in_iface.unwrap_or_default(),
        end_us: time_us,
        window_s: numbers.window_s?,
        blind_s: numbers.blind_s,
        drops_ppm: numbers.drops_ppm,
    }))
}

#[derive(Deserialize)]
struct Line<'a> {
    timestamp: &'a str,
    in_iface: Option<String>,
    alert: Option<Alert>,
    metadata: Option<Metadata>,
}

#[derive(Deserialize)]
struct Alert {
    gid: u64,
    #[serde(default)]
    severity: u8,
    #[serde(default)]
    metadata: Facts,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Facts {
    incident: Vec<String>,
    incident_state: Vec<String>,
    device: Vec<String>,
    client: Vec<String>,
    service: Vec<String>,
    service_name: Vec<String>,
    verdict: Vec<String>,
    ban: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Metadata {
    flowints: Numbers,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Numbers {
    #[serde(rename = "vigie.window_s")]
    window_s: Option<u64>,
    #[serde(rename = "vigie.blind_s")]
    blind_s: u64,
    #[serde(rename = "vigie.drops_ppm")]
    drops_ppm: u64,
}

#[cfg(test)]
pub mod tests {
    use std::io::Write;
    use std::sync::mpsc::{Receiver, sync_channel};

    use super::*;

    pub const INCIDENT: &str = concat!(
        r#"{"timestamp":"2026-11-24T10:09:07.329575+0000","event_type":"alert","src_ip":"10.16.0.9","alert":{"action":"allowed","gid":7,"signature_id":1,"severity":1,"metadata":{"incident":["f967w-9phv8-j"],"incident_state":["opened"],"client":["10.16.0.9"],"service":["tiktok"],"service_name":["TikTok"],"verdict":["app"],"ban":["fr"]},"context":{"vigie":{"revision":1}}}}"#,
        "\n"
    );
    pub const COVERAGE: &str = concat!(
        r#"{"timestamp":"2026-11-24T10:09:59.000000+0000","event_type":"stats","in_iface":"eth1","stats":{},"metadata":{"flowints":{"vigie.window_s":60,"vigie.blind_s":4,"vigie.drops_ppm":7}}}"#,
        "\n"
    );
    const ALERT: &str = concat!(
        r#"{"timestamp":"2026-11-24T10:09:06.000000+0000","event_type":"alert","alert":{"gid":1,"signature_id":7100103,"metadata":{}}}"#,
        "\n"
    );

    fn next(news: &Receiver<News>) -> News {
        news.recv_timeout(Duration::from_secs(10)).unwrap()
    }

    fn is_incident(news: &News) -> bool {
        matches!(news, News::Incident(incident) if incident.id == "f967w-9phv8-j" && incident.service == "TikTok"
            && incident.device == "10.16.0.9" && incident.severity == 1 && incident.time_us == 1_795_514_947_329_575)
    }

    #[test]
    fn a_journal_is_followed_from_its_last_segments_on() {
        let folder = tempfile::tempdir().unwrap();
        let segment = |seq: u64| folder.path().join(format!("{seq:08}.jsonl"));
        fs::write(segment(3), [ALERT, "{\"gid\":7, cut\n", INCIDENT].concat()).unwrap();
        let (sender, news) = sync_channel(16);
        let events = Events::Journal(folder.path().to_owned());
        thread::spawn(move || follow(&events, &sender));
        assert!(is_incident(&next(&news)));
        assert_eq!(next(&news), News::CaughtUp);
        fs::write(segment(4), COVERAGE).unwrap();
        let coverage = loop {
            match next(&news) {
                News::CaughtUp => {}
                other => break other,
            }
        };
        let expected = Coverage {
            interface: "eth1".to_owned(),
            end_us: 1_795_514_999_000_000,
            window_s: 60,
            blind_s: 4,
            drops_ppm: 7,
        };
        assert_eq!(coverage, News::Coverage(expected));
    }

    #[test]
    fn a_file_is_followed_over_its_rotation() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.json");
        let (sender, news) = sync_channel(16);
        let events = Events::File(path.clone());
        thread::spawn(move || follow(&events, &sender));
        assert!(matches!(next(&news), News::Failed(message) if message.contains("events.json")));
        fs::write(&path, INCIDENT).unwrap();
        let until_incident = || while !is_incident(&next(&news)) {};
        until_incident();
        fs::rename(&path, folder.path().join("events.json.1")).unwrap();
        fs::write(&path, INCIDENT).unwrap();
        until_incident();
        let (half, rest) = INCIDENT.split_at(100);
        let mut file = fs::OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(half.as_bytes()).unwrap();
        thread::sleep(Duration::from_millis(600));
        file.write_all(rest.as_bytes()).unwrap();
        until_incident();
    }
}
