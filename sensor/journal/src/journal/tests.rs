use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use proptest::prelude::*;

use super::*;
use crate::json;
use crate::reader::{JournalReader, StartAt};
use crate::seal::read_seals;
use crate::verify::verify;

const DAY_S: u64 = 86_400;

/// An event of a generator so many days ago, in a line.
fn event(number: u64, gid: u32, days_ago: u64) -> impl FnOnce(&mut Vec<u8>) {
    move |line| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        line.extend(b"{\"timestamp\":\"");
        json::timestamp(line, (now - days_ago * DAY_S) * 1_000_000_000 + number * 1_000);
        let rest = format!(
            "\",\"event_type\":\"alert\",\"alert\":{{\"gid\":{gid},\"metadata\":{{\"event_id\":[\"{number:016x}\"]}}}}}}\n"
        );
        line.extend(rest.bytes());
    }
}

fn open(folder: &Path) -> Journal {
    Journal::open(folder, JournalOptions::default()).unwrap().0
}

/// The numbers of the events in a journal.
fn numbers(folder: &Path) -> Vec<u64> {
    let mut reader = JournalReader::open(folder, StartAt::Oldest).unwrap();
    let mut numbers = Vec::new();
    while let Some(line) = reader.next_line().unwrap() {
        numbers.push(number(line));
    }
    numbers
}

fn number(line: &[u8]) -> u64 {
    let event: serde_json::Value = serde_json::from_slice(line).unwrap();
    u64::from_str_radix(event["alert"]["metadata"]["event_id"][0].as_str().unwrap(), 16).unwrap()
}

/// Writes these events, and closes their segment.
fn write_segment(journal: &mut Journal, events: impl IntoIterator<Item = (u64, u32, u64)>) {
    for (number, gid, days_ago) in events {
        journal.add_line(event(number, gid, days_ago));
    }
    journal.write().unwrap();
    journal.rotate().unwrap();
}

/// Waits until the other thread has nothing to do.
fn until(what: impl Fn() -> bool) {
    let began = Instant::now();
    while !what() {
        assert!(began.elapsed() < Duration::from_secs(20));
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o7777
}

#[test]
fn closed_segments_are_sealed_in_a_chain_and_compressed() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("journal");
    let mut journal = open(&folder);
    journal.judged_by("policy", "signatures");
    for segment in 0..3 {
        write_segment(&mut journal, (0..100).map(|number| (segment * 100 + number, 1, 0)));
    }
    journal.add_line(event(300, 1, 0));
    journal.write().unwrap();
    until(|| journal.status().compressed() == 3);
    let seals = read_seals(&folder).unwrap();
    assert_eq!(seals.iter().map(|seal| (seal.seq, seal.lines)).collect::<Vec<_>>(), [(1, 100), (2, 100), (3, 100)]);
    assert_eq!((seals[0].policy.as_str(), seals[0].signatures.as_str()), ("policy", "signatures"));
    assert!(seals[0].prev.bytes().all(|byte| byte == b'0') && seals[1].prev != seals[2].prev);
    assert!(seals[2].first < seals[2].last && seals[2].first.ends_with("+0000"), "{seals:?}");
    for name in ["00000001.jsonl.zst", "00000004.jsonl", "seals.jsonl"] {
        assert_eq!(mode(&folder.join(name)), 0o640, "{name}");
    }
    assert_eq!(mode(&folder), 0o2750);
    assert!(!folder.join("00000001.jsonl").exists());
    assert_eq!(numbers(&folder), (0..=300).collect::<Vec<_>>());
    let verified = verify(&folder, None).unwrap();
    assert_eq!((verified.segments, verified.lines, verified.unsealed_lines), (3, 300, 1));
    // Any zstd program reads a closed segment.
    let plain = zstd::decode_all(File::open(folder.join("00000002.jsonl.zst")).unwrap()).unwrap();
    assert_eq!(plain.len() as u64, seals[1].bytes);
}

#[test]
fn segments_are_closed_by_size_and_by_age() {
    let root = tempfile::tempdir().unwrap();
    let options = JournalOptions { segment_bytes: 10_000, ..JournalOptions::default() };
    let (mut journal, _) = Journal::open(root.path(), options).unwrap();
    for number in 0..1_000 {
        journal.add_line(event(number, 1, 0));
        journal.write().unwrap();
    }
    let seals = read_seals(root.path()).unwrap();
    assert!(seals.len() > 5 && seals.iter().all(|seal| seal.bytes >= 10_000 && seal.bytes < 10_300), "{seals:?}");
    drop(journal);
    let options = JournalOptions { segment_age: Duration::from_millis(30), ..JournalOptions::default() };
    let (mut journal, _) = Journal::open(root.path(), options).unwrap();
    let seq = journal.live_seq();
    std::thread::sleep(Duration::from_millis(50));
    journal.write().unwrap();
    assert_eq!(journal.live_seq(), seq + 1, "it has lines of the run before");
    std::thread::sleep(Duration::from_millis(50));
    journal.write().unwrap();
    assert_eq!(journal.live_seq(), seq + 1, "it has no line");
    journal.add_line(event(1_000, 1, 0));
    journal.write().unwrap();
    std::thread::sleep(Duration::from_millis(50));
    journal.write().unwrap();
    assert_eq!(journal.live_seq(), seq + 2);
    drop(journal);
    assert_eq!(numbers(root.path()), (0..=1_000).collect::<Vec<_>>());
    verify(root.path(), None).unwrap();
}

#[test]
fn nobody_else_writes_to_the_same_journal() {
    let root = tempfile::tempdir().unwrap();
    let journal = open(root.path());
    let error = Journal::open(root.path(), JournalOptions::default()).map(|_| ()).unwrap_err();
    assert_eq!(error.to_string(), "another program writes to this journal");
    drop(journal);
    open(root.path());
}

#[test]
fn what_a_crash_left_is_mended() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path();
    let path = |name: &str| folder.join(name);
    let mut journal = open(folder);
    write_segment(&mut journal, (0..10).map(|number| (number, 1, 0)));
    write_segment(&mut journal, (10..20).map(|number| (number, 1, 0)));
    journal.add_line(event(20, 1, 0));
    journal.write().unwrap();
    until(|| journal.status().compressed() == 2);
    drop(journal);
    // A compressed segment beside its plain lines, and one that is cut; lines and a seal that are cut; zeros in place of a line.
    let plain = zstd::decode_all(File::open(path("00000001.jsonl.zst")).unwrap()).unwrap();
    fs::write(path("00000001.jsonl"), plain).unwrap();
    let compressed = fs::read(path("00000002.jsonl.zst")).unwrap();
    fs::write(path("00000002.jsonl.zst.new"), &compressed[..50]).unwrap();
    let mut live = fs::read(path("00000003.jsonl")).unwrap();
    live.extend(b"\0\0\0\0\n{\"timestamp\":");
    fs::write(path("00000003.jsonl"), live).unwrap();
    let mut seals = fs::read(path("seals.jsonl")).unwrap();
    seals.extend(b"{\"seq\":");
    fs::write(path("seals.jsonl"), seals).unwrap();
    let (journal, repairs) = Journal::open(folder, JournalOptions::default()).unwrap();
    let expected = Repairs { cut_bytes: 18, seal_cut_bytes: 7, unfinished: 2, ..Repairs::default() };
    assert_eq!(repairs, expected);
    assert!(!path("00000001.jsonl").exists() && !path("00000002.jsonl.zst.new").exists());
    assert_eq!(journal.live_seq(), 3);
    drop(journal);
    assert_eq!(numbers(folder), (0..=20).collect::<Vec<_>>());
    verify(folder, None).unwrap();
}

#[test]
fn a_closed_segment_without_seal_gets_one() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path();
    let mut journal = open(folder);
    for segment in 0..4 {
        write_segment(&mut journal, [(segment, 1, 0)]);
    }
    until(|| journal.status().compressed() == 4);
    drop(journal);
    let text = fs::read_to_string(folder.join("seals.jsonl")).unwrap();
    let two = text.lines().take(2).map(|line| format!("{line}\n")).collect::<String>();
    fs::write(folder.join("seals.jsonl"), two).unwrap();
    let damage = verify(folder, None).unwrap_err().to_string();
    assert_eq!(damage, "segment 00000003: it is closed and has no seal");
    let (journal, repairs) = Journal::open(folder, JournalOptions::default()).unwrap();
    assert_eq!((repairs.sealed, journal.live_seq()), (vec![3, 4], 5));
    let seals = read_seals(folder).unwrap();
    assert_eq!(seals[3].reason.as_deref(), Some("repair"));
    drop(journal);
    assert_eq!(numbers(folder), [0, 1, 2, 3]);
    verify(folder, None).unwrap();
}

#[test]
fn a_segment_that_somebody_deleted_while_it_was_written_is_told_and_the_next_one_goes_on() {
    let root = tempfile::tempdir().unwrap();
    let mut journal = open(root.path());
    journal.add_line(event(0, 1, 0));
    journal.write().unwrap();
    fs::remove_file(root.path().join("00000001.jsonl")).unwrap();
    journal.add_line(event(1, 1, 0));
    journal.write().unwrap();
    assert_eq!((journal.live_seq(), journal.status().segments_deleted()), (2, 1));
    assert_eq!(numbers(root.path()), [1]);
    assert_eq!(verify(root.path(), None).unwrap_err().to_string(), "segment 00000001: its file is missing");
}

#[test]
fn retention_removes_alerts_then_incidents_and_says_so() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path();
    let mut journal = open(folder);
    write_segment(&mut journal, [(0, 1, 200), (1, 7, 200)]);
    write_segment(&mut journal, [(2, 1, 40), (3, 7, 40), (4, 8, 40), (5, 1, 40)]);
    write_segment(&mut journal, [(6, 1, 40)]);
    // Its last event is young enough.
    write_segment(&mut journal, [(7, 1, 40), (8, 1, 20)]);
    until(|| journal.status().lines_expired() == 3);
    assert_eq!(numbers(folder), [3, 4, 7, 8]);
    let seals = read_seals(folder).unwrap();
    let changes: Vec<_> = seals.iter().filter(|seal| seal.is_change()).collect();
    let told = changes.iter().map(|seal| (seal.seq, seal.lines, seal.lines_removed.unwrap(), seal.limit.as_deref()));
    let expected = [(1, 0, 2, Some("incidents_days")), (2, 2, 2, Some("alerts_days")), (3, 0, 1, Some("alerts_days"))];
    assert_eq!(told.collect::<Vec<_>>(), expected);
    assert!(changes.iter().all(|seal| seal.reason.as_deref() == Some("retention")));
    let verified = verify(folder, None).unwrap();
    assert_eq!((verified.segments, verified.changed), (2, 3));
    // It is done once.
    journal.set_retention(Retention::default());
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(read_seals(folder).unwrap().len(), seals.len());
    // Incidents are young enough until the limit says otherwise; the live segment stays.
    journal.add_line(event(9, 1, 400));
    journal.write().unwrap();
    journal.set_retention(Retention { incidents_days: 39, ..Retention::default() });
    until(|| journal.status().segments_expired() == 2);
    assert_eq!(numbers(folder), [7, 8, 9]);
    verify(folder, None).unwrap();
}

#[test]
fn retention_that_a_crash_interrupted_is_ended_by_the_next_start() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path();
    let mut journal = open(folder);
    write_segment(&mut journal, [(0, 1, 40), (1, 7, 40)]);
    write_segment(&mut journal, [(2, 1, 1)]);
    // A segment that is cut before it was compressed takes its new form at once.
    let is_compressed = |seq| !folder.join(format!("{seq:08}.jsonl")).exists();
    until(|| journal.status().lines_expired() == 1 && is_compressed(1) && is_compressed(2));
    drop(journal);
    // As if the power had failed before the new form took the place of the old one.
    let place = folder.join("00000001.jsonl.zst");
    fs::rename(&place, folder.join("00000001.jsonl.zst.new")).unwrap();
    fs::write(&place, "the old form").unwrap();
    let (journal, repairs) = Journal::open(folder, JournalOptions::default()).unwrap();
    assert_eq!(repairs.unfinished, 1);
    drop(journal);
    assert_eq!(numbers(folder), [1, 2]);
    verify(folder, None).unwrap();
    // As if it had failed before a segment that is too old was deleted.
    let mut journal = open(folder);
    journal.set_retention(Retention { alerts_days: 1, incidents_days: 39, bytes_max: u64::MAX });
    until(|| journal.status().segments_expired() == 1);
    drop(journal);
    fs::write(&place, "it was").unwrap();
    open(folder);
    assert!(!place.exists());
    verify(folder, None).unwrap();
}

#[test]
fn the_oldest_segments_make_room() {
    let root = tempfile::tempdir().unwrap();
    let mut journal = open(root.path());
    for segment in 0..5 {
        write_segment(&mut journal, (0..2_000).map(|number| (segment * 2_000 + number, 1, 0)));
    }
    until(|| journal.status().compressed() == 5);
    let sizes = (1..=5).map(|seq| root.path().join(format!("{seq:08}.jsonl.zst")).metadata().unwrap().len());
    let all: u64 = sizes.sum();
    journal.set_retention(Retention { bytes_max: all / 2, ..Retention::default() });
    until(|| journal.status().segments_over_bytes_max() == 3 && journal.status().segments() == 3);
    assert!(journal.status().bytes() <= all / 2);
    assert_eq!(numbers(root.path()).first(), Some(&6_000));
    assert_eq!(read_seals(root.path()).unwrap().last().unwrap().limit.as_deref(), Some("bytes_max"));
    verify(root.path(), None).unwrap();
}

#[test]
fn a_segment_that_was_altered_before_it_was_compressed_stays_as_evidence() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path();
    let mut journal = open(folder);
    journal.add_line(event(0, 1, 0));
    journal.write().unwrap();
    let path = folder.join("00000001.jsonl");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("alert", "ALERT")).unwrap();
    journal.rotate().unwrap();
    until(|| journal.status().failures() == 1);
    let failure = journal.status().take_failure().unwrap();
    assert_eq!(failure, "segment 1 is not as it was sealed: 'vigie journal verify' says more");
    assert!(path.exists());
    let error = verify(folder, None).unwrap_err().to_string();
    assert_eq!(error, "segment 00000001: its lines are not those that were sealed");
}

/// A file system of so many KiB, mounted until dropped.
struct Disk(tempfile::TempDir);

impl Disk {
    fn mount(&self, options: &str) -> bool {
        let mut mount = std::process::Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(self.0.path());
        mount.output().is_ok_and(|output| output.status.success())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg(self.0.path()).status();
    }
}

/// On a disk with so much room less, lines are refused, and none is lost. How often they were refused.
fn fill_and_resume(disk: &Disk, other_files_bytes: usize) -> u32 {
    fs::write(disk.0.path().join("others"), vec![0; other_files_bytes]).unwrap();
    let folder = disk.0.path().join("journal");
    let options = JournalOptions { segment_bytes: 60_000, ..JournalOptions::default() };
    let (mut journal, _) = Journal::open(&folder, options).unwrap();
    let mut refused = 0;
    for number in 0..10_000 {
        journal.add_line(event(number, 1, 0));
        if number % 50 == 0 && journal.write().is_err() {
            refused += 1;
        }
    }
    let written = journal.take_written().lines;
    assert!(written > 100 && written + journal.lines_waiting() == 10_000, "{written}");
    let read = numbers(&folder);
    assert_eq!(read, (0..written).collect::<Vec<_>>(), "whole lines only");
    assert!(disk.mount("remount,size=16m"));
    journal.write().unwrap();
    journal.rotate().unwrap();
    assert_eq!(numbers(&folder), (0..10_000).collect::<Vec<_>>());
    verify(&folder, None).unwrap();
    refused
}

#[test]
fn a_full_disk_loses_no_line_and_writing_resumes() {
    for other_files_bytes in [0, 200 << 10] {
        let disk = Disk(tempfile::tempdir().unwrap());
        if !disk.mount("size=256k") {
            vigie_skip::skipped("a full disk is a small tmpfs, which only root can mount; run it as root");
            return;
        }
        let refused = fill_and_resume(&disk, other_files_bytes);
        // With the whole disk, it depends on when segments are compressed. With the rest of it, no segment is ever full.
        assert!(other_files_bytes == 0 || refused > 50, "{refused}");
    }
}

/// What a loss of power leaves: of each file at least what was synced, of the live segment perhaps more.
struct Synced {
    live: (u64, u64),
}

/// A copy of the folder as it is after a loss of power.
fn after_power_loss(folder: &Path, synced: &Synced, keep: f64) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        // The other thread may have renamed or removed it.
        let Ok(mut bytes) = fs::read(entry.path()) else { continue };
        let name = entry.file_name().into_string().unwrap();
        if name == format!("{:08}.jsonl", synced.live.0) {
            let rest = bytes.len() as u64 - synced.live.1;
            bytes.truncate((synced.live.1 + (rest as f64 * keep) as u64) as usize);
        }
        fs::write(copy.path().join(name), bytes).unwrap();
    }
    copy
}

#[derive(Clone, Debug)]
enum Step {
    Append(u8),
    Sync,
    Rotate,
    Crash,
    PowerLoss(f64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (1..40_u8).prop_map(Step::Append),
        2 => Just(Step::Sync),
        2 => Just(Step::Rotate),
        1 => Just(Step::Crash),
        1 => (0.0..1.0).prop_map(Step::PowerLoss),
    ];
    prop::collection::vec(step, 1..25)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn no_sequence_of_faults_loses_a_line_that_was_synced(steps in steps()) {
        let mut folder = tempfile::tempdir().unwrap();
        let mut journal = open(folder.path());
        let (mut next, mut synced_lines) = (0, Vec::new());
        let mut written: Vec<u64> = Vec::new();
        let mut synced = Synced { live: (1, 0) };
        for step in steps {
            match step {
                Step::Append(count) => {
                    for _ in 0..count {
                        journal.add_line(event(next, 1, 0));
                        written.push(next);
                        next += 1;
                    }
                    journal.write().unwrap();
                }
                Step::Sync | Step::Rotate => {
                    if matches!(step, Step::Rotate) { journal.rotate().unwrap() } else { journal.sync().unwrap() }
                    synced = Synced { live: (journal.live_seq(), journal.live.bytes()) };
                    synced_lines.clone_from(&written);
                }
                Step::Crash => {
                    drop(journal);
                    journal = open(folder.path());
                }
                Step::PowerLoss(keep) => {
                    drop(journal);
                    let copy = after_power_loss(folder.path(), &synced, keep);
                    let mut reader = JournalReader::open(folder.path(), StartAt::Oldest).unwrap();
                    while reader.next_line().unwrap().is_some() {}
                    let cursor = reader.cursor();
                    journal = open(copy.path());
                    folder = copy;
                    // What was not synced may be gone.
                    let left = numbers(folder.path());
                    prop_assert!(left.starts_with(&synced_lines) && written.starts_with(&left));
                    written = left;
                    synced = Synced { live: (journal.live_seq(), journal.live.bytes()) };
                    // A reader that had read it goes back, and has no hole.
                    journal.add_line(event(next, 1, 0));
                    written.push(next);
                    next += 1;
                    journal.write().unwrap();
                    let mut reader = JournalReader::open(folder.path(), StartAt::Cursor(cursor)).unwrap();
                    let mut read = Vec::new();
                    while let Some(line) = reader.next_line().unwrap() {
                        read.push(number(line));
                    }
                    prop_assert!(written.ends_with(&read) && read.last() == written.last());
                    let (seq, offset) = synced.live;
                    synced = Synced { live: (seq, offset.min(journal.live.bytes())) };
                }
            }
        }
        drop(journal);
        prop_assert_eq!(numbers(folder.path()), written);
        prop_assert!(verify(folder.path(), None).is_ok());
    }
}

#[test]
fn lines_are_counted_as_they_are_in_the_seal() {
    let root = tempfile::tempdir().unwrap();
    let mut journal = open(root.path());
    let mut by_segment = BTreeMap::new();
    for number in 0..500 {
        journal.add_line(event(number, 1, 0));
        journal.write().unwrap();
        *by_segment.entry(journal.live_seq()).or_insert(0) += 1;
        if number % 7 == 0 {
            journal.rotate().unwrap();
        }
    }
    journal.rotate().unwrap();
    let sealed: BTreeMap<u64, u64> =
        read_seals(root.path()).unwrap().iter().map(|seal| (seal.seq, seal.lines)).collect();
    assert_eq!(sealed, by_segment);
    assert_eq!(journal.take_written().lines, 500);
}
