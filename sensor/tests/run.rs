//! The running sensor without a network: sources in memory, a sink that blocks, signatures replaced under load, a worker
//! that fails. The alerts written are compared with those of a replay of the same packets.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use vigie::event::Fact;
use vigie::privacy::Privacy;
use vigie::read::read;
use vigie::record::{self, Context};
use vigie::run::log::Log;
use vigie::run::snapshot::Snapshot;
use vigie::run::worker_thread::LiveSource;
use vigie::run::{Prepared, Running};
use vigie::settings::{Record, Settings};
use vigie_capture::live::{Change, InterfaceCounts};
use vigie_capture::{CaptureError, Files, FilesOptions, Position, Source, SourceStatistics};
use vigie_flow::{HashKey, PacketHeaders};
use vigie_journal::{EventFile, Journal, JournalOptions, JournalReader, StartAt, Target, read_seals, verify};
use vigie_judgement::policy::Policy;
use vigie_privacy::{PeriodKeys, PeriodLength, Pseudonyms};
use vigie_signatures::Bundle;
use vigie_synth::{Profile, Traffic};
use vigie_wire::{Frame, LinkType};

const FRAMES: usize = 60_000;
const MINUTE_NS: u64 = 60_000_000_000;
const START_NS: u64 = 1_795_000_000_000_000_000;

const BY_DNS: &str = r#""evidence":["dns"]"#;

type Frames = Arc<Vec<(u64, Vec<u8>)>>;

/// A minute of traffic with many banned names.
fn traffic() -> Frames {
    let settings =
        vigie_synth::Settings { profile: Profile::Handshakes, banned_one_in: 3, ..vigie_synth::Settings::default() };
    let mut traffic = Traffic::new(settings);
    let frames = (0..FRAMES).map(|number| {
        let mut frame = Vec::new();
        traffic.frame(&mut frame);
        (START_NS + number as u64 * (MINUTE_NS / FRAMES as u64), frame)
    });
    Arc::new(frames.collect())
}

/// A source of one worker's share of the frames, in batches; after them it stays idle.
struct Memory {
    frames: Frames,
    next: usize,
    worker: u64,
    workers: u64,
    counts: [InterfaceCounts; 1],
    fails_at: usize,
}

impl Memory {
    fn boxed(frames: &Frames, worker: u64, workers: u64) -> Box<dyn LiveSource> {
        let frames = Arc::clone(frames);
        let counts = [InterfaceCounts { name: "memory".to_owned(), ..InterfaceCounts::default() }];
        Box::new(Self { frames, next: 0, worker, workers, counts, fails_at: usize::MAX })
    }
}

impl Source for Memory {
    fn next_batch(&mut self, visit: &mut dyn FnMut(&[Frame<'_>])) -> Result<bool, CaptureError> {
        assert!(self.next < self.fails_at, "a worker breaks down, as it should");
        let end = (self.next + 64).min(self.frames.len());
        if self.next == end {
            std::thread::sleep(Duration::from_millis(1));
            return Ok(true);
        }
        let numbered = (self.next..end).zip(&self.frames[self.next..end]);
        let batch: Vec<Frame<'_>> = numbered
            .map(|(place, (timestamp_ns, data))| Frame {
                timestamp_ns: *timestamp_ns,
                number: place as u64 + 1,
                wire_length: data.len() as u32,
                link_type: LinkType::ETHERNET,
                interface: 0,
                data,
            })
            .filter(|frame| {
                let hash = PacketHeaders::parse(frame).map_or(0, |headers| headers.key.hash(&HashKey::REPLAY));
                hash % self.workers == self.worker
            })
            .collect();
        self.next = end;
        self.counts[0].frames += batch.len() as u64;
        if !batch.is_empty() {
            visit(&batch);
        }
        Ok(true)
    }

    fn statistics(&self) -> SourceStatistics {
        SourceStatistics::default()
    }

    fn position(&self) -> Position {
        Position::default()
    }

    fn interfaces(&self) -> usize {
        1
    }

    fn interface_name(&self, _: u16) -> Option<&str> {
        None
    }
}

impl LiveSource for Memory {
    fn counts(&self) -> &[InterfaceCounts] {
        &self.counts
    }

    fn refresh(&mut self) {}

    fn next_change(&mut self) -> Option<Change> {
        None
    }
}

/// A sink that blocks while its gate is closed.
#[derive(Clone, Default)]
struct Gate {
    is_open: Arc<(Mutex<bool>, Condvar)>,
    taken: Arc<Mutex<Vec<u8>>>,
}

impl Gate {
    fn open(&self) {
        *self.is_open.0.lock().unwrap() = true;
        self.is_open.1.notify_all();
    }

    /// The records of sightings. Incidents, and the alerts that belong to them, are others.
    fn lines(&self) -> Vec<String> {
        let text = String::from_utf8(self.taken.lock().unwrap().clone()).unwrap();
        text.lines().filter(|line| !line.contains(r#""incident":["#)).map(str::to_owned).collect()
    }
}

impl Write for Gate {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let (is_open, opened) = &*self.is_open;
        drop(opened.wait_while(is_open.lock().unwrap(), |is_open| !*is_open).unwrap());
        self.taken.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Target for Gate {
    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn settings(channel_events_max: usize, pending_events_max: usize) -> Settings {
    let mut settings = Settings::default();
    settings.sensor.name = "sensor".to_owned();
    settings.capture.interfaces = vec!["memory".to_owned()];
    settings.limits.flows_max = 65_536;
    settings.events.channel_events_max = channel_events_max;
    settings.events.pending_events_max = pending_events_max;
    settings.events.types = vec![Record::Sighting];
    settings
}

fn start(
    settings: &Settings,
    sources: Vec<Box<dyn LiveSource>>,
    gate: &Gate,
) -> (Running, Arc<vigie::telemetry::Shared>) {
    start_by(Privacy::default(), settings, sources, gate)
}

fn start_by(
    privacy: Privacy,
    settings: &Settings,
    sources: Vec<Box<dyn LiveSource>>,
    gate: &Gate,
) -> (Running, Arc<vigie::telemetry::Shared>) {
    let log = Arc::new(Log::new(settings.log.clone()));
    let bundle = Bundle::builtin();
    let prepared = Prepared::new(settings, &bundle, sources.len(), &log).unwrap();
    let shared = Arc::clone(prepared.shared());
    let journal = EventFile::to(Box::new(gate.clone()));
    let snapshot = Snapshot { bundle, policy: Arc::new(Policy::builtin()), privacy };
    (prepared.start_with(sources, journal, settings, snapshot, &log).unwrap(), shared)
}

/// Polls until the workers have processed all frames.
fn poll_until_done(running: &mut Running, shared: &vigie::telemetry::Shared, mut meanwhile: impl FnMut(&Running)) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while shared.total("capture", Some("frames")) < FRAMES as u64 {
        assert!(Instant::now() < deadline, "the workers stand still");
        running.poll().unwrap();
        meanwhile(running);
    }
}

/// The alerts of a replay, as lines.
fn replayed(frames: &Frames) -> Vec<String> {
    replayed_by(None, frames)
}

fn replayed_by(pseudonyms: Option<Arc<Pseudonyms>>, frames: &Frames) -> Vec<String> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(&vigie_synth::pcap::file_header()).unwrap();
    for (timestamp_ns, data) in frames.iter() {
        file.write_all(&vigie_synth::pcap::record_header(*timestamp_ns, data.len())).unwrap();
        file.write_all(data).unwrap();
    }
    let mut files = Files::open(&[file.path()], &FilesOptions::default()).unwrap();
    let context = Context {
        sensor_name: Some("sensor".to_owned()),
        interfaces: vec!["memory".to_owned()],
        bundle: Some(Bundle::builtin()),
        pseudonyms,
    };
    let mut lines = Vec::new();
    read(&mut files, &vigie::read::Settings::default(), Bundle::builtin(), &mut |event| {
        if matches!(event.fact, Fact::Sighting(_) | Fact::Question(_)) {
            let mut line = Vec::new();
            record::encode(&event, &context, &mut line);
            lines.push(String::from_utf8(line).unwrap().trim_end().to_owned());
        }
    })
    .unwrap();
    lines
}

#[test]
fn a_sink_that_blocks_for_a_minute_of_traffic_loses_no_packet_and_no_alert() {
    let frames = traffic();
    let expected = replayed(&frames);
    assert!(expected.len() > 500, "{}", expected.len());
    let gate = Gate::default();
    let (mut running, shared) = start(&settings(16, 65_536), vec![Memory::boxed(&frames, 0, 1)], &gate);
    poll_until_done(&mut running, &shared, |_| {});
    assert!(gate.lines().is_empty(), "nothing passes the gate while it is closed");
    gate.open();
    running.stop().unwrap();
    assert!(gate.lines() == expected, "{} of {} lines", gate.lines().len(), expected.len());
    assert_eq!(shared.alerts_lost_total(), 0);
}

#[test]
fn the_journal_gets_what_a_file_would_get_and_is_sealed_with_the_hashes_of_its_judges() {
    let frames = traffic();
    let expected = replayed(&frames);
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("journal");
    let mut settings = settings(65_536, 65_536);
    settings.journal.folder = Some(folder.clone());
    let log = Arc::new(Log::new(settings.log.clone()));
    let bundle = Bundle::builtin();
    let prepared = Prepared::new(&settings, &bundle, 1, &log).unwrap();
    let audit = Arc::new(vigie::audit::Audit::open(&root.path().join("audit.jsonl"), None).unwrap());
    let shared = Arc::clone(prepared.shared());
    let options = JournalOptions { segment_bytes: 200_000, ..JournalOptions::default() };
    let (journal, _) = Journal::open(&folder, options).unwrap();
    let digest = vigie::telemetry::SignatureFacts::of(&bundle).digest;
    let snapshot = Snapshot { bundle, policy: Arc::new(Policy::builtin()), privacy: Privacy::default() };
    let sources = vec![Memory::boxed(&frames, 0, 1)];
    let prepared = prepared.audited(Some(Arc::clone(&audit)));
    let mut running = prepared.start_with(sources, journal, &settings, snapshot, &log).unwrap();
    audit.write(&vigie::audit::AuditEvent::PolicyChanged { before: "", after: "0123" }).unwrap();
    poll_until_done(&mut running, &shared, |_| {});
    running.stop().unwrap();
    let mut reader = JournalReader::open(&folder, StartAt::Oldest).unwrap();
    let (mut lines, mut audited, mut covered) = (Vec::new(), 0, 0);
    while let Some(line) = reader.next_line().unwrap() {
        let line = String::from_utf8(line.to_vec()).unwrap();
        audited += u32::from(line.contains(r#""gid":8,"#));
        let is_coverage = line.contains(r#""event_type":"stats""#);
        covered += u32::from(is_coverage);
        if !is_coverage && !line.contains(r#""incident":["#) && !line.contains(r#""gid":8,"#) {
            lines.push(line);
        }
    }
    assert!(lines == expected, "{} of {} lines", lines.len(), expected.len());
    assert_eq!(audited, 1, "the audit is a part of the journal");
    assert!(covered > 0, "what the sensor covered is a part of the journal");
    let seals = read_seals(&folder).unwrap();
    assert!(seals.len() > 1 && seals.iter().all(|seal| seal.signatures == digest), "{seals:?}");
    assert_eq!(verify(&folder, None).unwrap().segments, seals.len() as u64);
    // Open incidents are saved beside the live segment only.
    let states = std::fs::read_dir(&folder).unwrap().filter_map(|entry| entry.unwrap().file_name().into_string().ok());
    let states: Vec<String> = states.filter(|name| name.ends_with(".state")).collect();
    assert_eq!(states, [format!("{:08}.state", seals.len() + 1)]);
}

#[test]
fn from_the_first_line_on_clients_have_pseudonyms() {
    let frames = traffic();
    let key = format!("2026-11 {}\n", "5a".repeat(32));
    let keys = PeriodKeys::parse(&key, PeriodLength::Month).unwrap();
    let expected = replayed_by(Some(Arc::clone(keys.at(0))), &frames);
    let gate = Gate::default();
    gate.open();
    let sources = vec![Memory::boxed(&frames, 0, 1)];
    let (mut running, shared) = start_by(Privacy::with_keys(keys), &settings(65_536, 65_536), sources, &gate);
    poll_until_done(&mut running, &shared, |_| {});
    running.stop().unwrap();
    assert!(gate.lines() == expected, "{} of {} lines", gate.lines().len(), expected.len());
    let text = String::from_utf8(gate.taken.lock().unwrap().clone()).unwrap();
    let clients = replayed(&frames).into_iter().map(|line| {
        let event: serde_json::Value = serde_json::from_str(&line).unwrap();
        format!("\"{}\"", event["src_ip"].as_str().unwrap())
    });
    let clients: std::collections::BTreeSet<String> = clients.collect();
    assert!(clients.len() > 10 && text.contains("\"gid\":7"), "{}", clients.len());
    assert!(clients.iter().all(|client| !text.contains(client.as_str())));
    assert!(!text.contains("community_id") && !text.contains("src_port"));
}

#[test]
fn events_dropped_by_full_queues_are_counted() {
    let frames = traffic();
    let expected = replayed(&frames).len() as u64;
    let gate = Gate::default();
    let (mut running, shared) = start(&settings(16, 16), vec![Memory::boxed(&frames, 0, 1)], &gate);
    poll_until_done(&mut running, &shared, |_| {});
    gate.open();
    running.stop().unwrap();
    let written = gate.lines().len() as u64;
    assert!(written >= 32 && written < expected, "{written} of {expected}");
    assert_eq!(written + shared.alerts_lost_total(), expected);
}

#[test]
fn replacing_signatures_under_load_loses_nothing_with_any_number_of_workers() {
    let frames = traffic();
    let mut expected = replayed(&frames);
    expected.sort();
    for workers in [1, 3] {
        if workers > 1 {
            // Workers learn DNS answers from each other at any time, since their clocks are independent here.
            expected.retain(|line| !line.contains(BY_DNS));
        }
        let gate = Gate::default();
        gate.open();
        let sources = (0..workers).map(|worker| Memory::boxed(&frames, worker, workers)).collect();
        let (mut running, shared) = start(&settings(1_024, 65_536), sources, &gate);
        let mut exchanges = 0;
        poll_until_done(&mut running, &shared, |running| {
            running.use_signatures(Bundle::builtin());
            exchanges += 1;
        });
        running.stop().unwrap();
        let mut lines = gate.lines();
        lines.sort();
        if workers > 1 {
            lines.retain(|line| !line.contains(BY_DNS));
        }
        let missing: Vec<_> = expected.iter().filter(|line| lines.binary_search(line).is_err()).collect();
        let odd: Vec<_> = lines.iter().filter(|line| expected.binary_search(line).is_err()).collect();
        let (missing, odd) = ((missing.len(), missing.first()), (odd.len(), odd.first()));
        assert_eq!(lines.len(), expected.len(), "{workers} workers, {exchanges} exchanges: {missing:?} {odd:?}");
        assert!(missing.0 + odd.0 == 0, "{workers} workers, {exchanges} exchanges: {missing:?} {odd:?}");
        assert_eq!(shared.alerts_lost_total(), 0);
    }
}

#[test]
fn replaced_signatures_take_effect_while_workers_run() {
    let frames = traffic();
    let expected = replayed(&frames).len();
    let gate = Gate::default();
    gate.open();
    let folder = tempfile::tempdir().unwrap();
    let options = vigie_signatures::LoadOptions { builtin: false, ..vigie_signatures::LoadOptions::default() };
    let (nothing, _) = Bundle::load(&[folder.path().to_path_buf()], options).unwrap();
    let half: Frames = Arc::new(frames[..FRAMES / 2].to_vec());
    let (mut running, shared) = start(&settings(1_024, 65_536), vec![Memory::boxed(&half, 0, 1)], &gate);
    running.use_signatures(Arc::new(nothing));
    let deadline = Instant::now() + Duration::from_secs(60);
    while shared.total("capture", Some("frames")) < FRAMES as u64 / 2 {
        assert!(Instant::now() < deadline);
        running.poll().unwrap();
    }
    running.stop().unwrap();
    assert!(gate.lines().len() < expected / 4, "{} of {expected}", gate.lines().len());
}

#[test]
fn a_worker_that_fails_is_noticed() {
    let frames = traffic();
    let gate = Gate::default();
    gate.open();
    let counts = [InterfaceCounts { name: "memory".to_owned(), ..InterfaceCounts::default() }];
    let broken = Memory { frames: Arc::clone(&frames), next: 0, worker: 0, workers: 2, counts, fails_at: 6_400 };
    let sources = vec![Box::new(broken) as Box<dyn LiveSource>, Memory::boxed(&frames, 1, 2)];
    let (mut running, _) = start(&settings(1_024, 65_536), sources, &gate);
    let deadline = Instant::now() + Duration::from_secs(20);
    let error = loop {
        assert!(Instant::now() < deadline, "nobody noticed");
        if let Err(error) = running.poll() {
            break error;
        }
    };
    assert!(error.to_string().contains("worker 0"), "{error}");
    assert!(running.stop().is_err());
    assert!(!gate.lines().is_empty(), "what the other worker told is written");
}

/// A source that takes its time.
struct Paced {
    source: Box<dyn LiveSource>,
    pause: Duration,
}

impl Source for Paced {
    fn next_batch(&mut self, visit: &mut dyn FnMut(&[Frame<'_>])) -> Result<bool, CaptureError> {
        std::thread::sleep(self.pause);
        self.source.next_batch(visit)
    }

    fn statistics(&self) -> SourceStatistics {
        self.source.statistics()
    }

    fn position(&self) -> Position {
        self.source.position()
    }

    fn interfaces(&self) -> usize {
        self.source.interfaces()
    }

    fn interface_name(&self, interface: u16) -> Option<&str> {
        self.source.interface_name(interface)
    }
}

impl LiveSource for Paced {
    fn counts(&self) -> &[InterfaceCounts] {
        self.source.counts()
    }

    fn refresh(&mut self) {
        self.source.refresh();
    }

    fn next_change(&mut self) -> Option<Change> {
        self.source.next_change()
    }
}

#[test]
fn flows_time_out_although_the_clock_is_set_back_by_an_hour() {
    const SECOND_NS: u64 = 1_000_000_000;
    // Batches are half a second apart, in packet time, and take 5 ms each.
    const BATCHES: usize = 400;
    const FRAMES_PER_BATCH: usize = 64;
    let all = traffic();
    let (flows, chatter) = all.split_at(10_000);
    let before = flows.iter().map(|(_, frame)| (START_NS, frame.clone()));
    let after = (0..BATCHES * FRAMES_PER_BATCH).map(|number| {
        let passed_ns = (number / FRAMES_PER_BATCH) as u64 * SECOND_NS / 2;
        // One flow goes on.
        (START_NS - 3_600 * SECOND_NS + passed_ns, chatter[0].1.clone())
    });
    let frames: Frames = Arc::new(before.chain(after).collect());
    let mut settings = settings(16, 65_536);
    settings.limits.idle_timeout_s = 60;
    let gate = Gate::default();
    gate.open();
    let source = Paced { source: Memory::boxed(&frames, 0, 1), pause: Duration::from_millis(5) };
    let (mut running, shared) = start(&settings, vec![Box::new(source)], &gate);
    let deadline = Instant::now() + Duration::from_secs(60);
    while shared.total("capture", Some("frames")) < frames.len() as u64 {
        assert!(Instant::now() < deadline, "the worker stands still");
        running.poll().unwrap();
    }
    let (opened, timed_out) = (shared.total("flow", Some("opened")), shared.total("flow", Some("timed_out")));
    running.stop().unwrap();
    assert!(opened > 500 && timed_out >= opened - 1, "{timed_out} of {opened} flows have timed out");
}
