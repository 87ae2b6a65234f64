use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::journal::{Journal, JournalOptions};

fn open(folder: &Path) -> Journal {
    Journal::open(folder, JournalOptions::default()).unwrap().0
}

fn line(number: u64) -> impl FnOnce(&mut Vec<u8>) {
    move |line| {
        let text = format!(
            "{{\"timestamp\":\"2026-11-28T02:14:06.{:06}+0000\",\"metadata\":{{\"event_id\":[\"{number}\"]}}}}\n",
            number % 1_000_000
        );
        line.extend(text.bytes());
    }
}

fn write(journal: &mut Journal, numbers: Range<u64>) {
    for number in numbers {
        journal.add_line(line(number));
    }
    journal.write().unwrap();
}

fn next(reader: &mut JournalReader) -> Option<u64> {
    let line = reader.next_line().unwrap()?.to_vec();
    Some(line_id(&line).parse().unwrap())
}

fn rest(reader: &mut JournalReader) -> Vec<u64> {
    std::iter::from_fn(|| next(reader)).collect()
}

fn from(folder: &Path, cursor: &Cursor) -> JournalReader {
    JournalReader::open(folder, StartAt::Cursor(cursor.clone())).unwrap()
}

fn until_compressed(journal: &Journal, count: u64) {
    while journal.status().compressed() < count {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

#[test]
fn every_place_is_found_again_whatever_became_of_the_segment() {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = open(folder.path());
    let mut reader = JournalReader::open(folder.path(), StartAt::Oldest).unwrap();
    assert_eq!((next(&mut reader), reader.cursor()), (None, Cursor { seq: 1, ..Cursor::default() }));
    write(&mut journal, 0..50);
    journal.rotate().unwrap();
    write(&mut journal, 50..80);
    journal.rotate().unwrap();
    write(&mut journal, 80..100);
    let mut cursors = vec![reader.cursor()];
    while let Some(number) = next(&mut reader) {
        let cursor = reader.cursor();
        assert_eq!(cursor.event_id, Some(number.to_string()));
        cursors.push(cursor);
    }
    assert_eq!(cursors.len(), 101);
    until_compressed(&journal, 2);
    for (number, cursor) in cursors.iter().enumerate() {
        let text = serde_json::to_string(cursor).unwrap();
        let mut reader = from(folder.path(), &serde_json::from_str(&text).unwrap());
        assert_eq!(reader.cursor(), *cursor, "nothing was read yet");
        assert_eq!(rest(&mut reader), (number as u64..100).collect::<Vec<_>>());
        assert_eq!(reader.take_lost(), Lost::default());
    }
    let mut newest = JournalReader::open(folder.path(), StartAt::Newest).unwrap();
    assert_eq!(next(&mut newest), None);
    write(&mut journal, 100..101);
    assert_eq!(rest(&mut newest), [100]);
    assert_eq!(rest(&mut reader), [100]);
}

#[test]
fn a_line_is_given_when_it_has_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("00000001.jsonl");
    fs::write(&path, "{\"a\":1}\n{\"b\"").unwrap();
    let mut reader = JournalReader::open(folder.path(), StartAt::Oldest).unwrap();
    assert_eq!(reader.next_line().unwrap(), Some(b"{\"a\":1}".as_slice()));
    assert_eq!(reader.next_line().unwrap(), None);
    // The writer took the beginning back, since the disk was full.
    fs::write(&path, "{\"a\":1}\n{\"c\":2}\n").unwrap();
    assert_eq!(reader.next_line().unwrap(), Some(b"{\"c\":2}".as_slice()));
    assert!(reader.cursor().event_id.is_some_and(|id| id.starts_with("line-")), "it has no event_id");
}

#[test]
fn all_lines_are_read_once_while_they_are_written_rotated_and_compressed() {
    const LINES: u64 = 60_000;
    let folder = tempfile::tempdir().unwrap();
    let options = JournalOptions { segment_bytes: 100_000, ..JournalOptions::default() };
    let (mut journal, _) = Journal::open(folder.path(), options).unwrap();
    let is_over = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> = (0..2)
        .map(|reopens| {
            let (path, is_over) = (folder.path().to_owned(), Arc::clone(&is_over));
            std::thread::spawn(move || {
                let mut reader = JournalReader::open(&path, StartAt::Oldest).unwrap();
                let mut read: Vec<u64> = Vec::new();
                loop {
                    let was_over = is_over.load(Ordering::Acquire);
                    let new = rest(&mut reader);
                    read.extend(&new);
                    if reopens == 1 {
                        let lost = reader.take_lost();
                        reader = from(&path, &reader.cursor());
                        assert_eq!((lost, reader.take_lost()), Default::default());
                    }
                    if was_over && new.is_empty() {
                        return (read, reader.take_lost());
                    }
                }
            })
        })
        .collect();
    for number in 0..LINES {
        journal.add_line(line(number));
        if number % 97 == 0 {
            journal.write().unwrap();
        }
    }
    journal.write().unwrap();
    is_over.store(true, Ordering::Release);
    for reader in readers {
        let (read, lost) = reader.join().unwrap();
        assert!(read == (0..LINES).collect::<Vec<_>>(), "{} lines", read.len());
        assert_eq!(lost, Lost::default());
    }
    assert!(journal.live_seq() > 20);
}

#[test]
fn a_cursor_that_is_not_behind_its_event_goes_back() {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = open(folder.path());
    write(&mut journal, 0..10);
    journal.rotate().unwrap();
    write(&mut journal, 10..20);
    let mut reader = JournalReader::open(folder.path(), StartAt::Oldest).unwrap();
    rest(&mut reader);
    let cursor = reader.cursor();
    let wrong = [
        Cursor { event_id: Some("other".to_owned()), ..cursor.clone() },
        Cursor { offset: cursor.offset - 1, ..cursor.clone() },
        Cursor { offset: cursor.offset + 1, ..cursor.clone() },
        Cursor { offset: u64::MAX, event_id: None, ..cursor.clone() },
    ];
    for cursor in wrong {
        let mut reader = from(folder.path(), &cursor);
        assert_eq!(reader.cursor(), Cursor { seq: 2, ..Cursor::default() });
        assert_eq!(reader.take_lost(), Lost { went_back: true, segments: 0 });
        assert_eq!(rest(&mut reader), (10..20).collect::<Vec<_>>());
    }
    // The segment that it names is gone with the power, or the whole journal was made anew.
    let mut reader = from(folder.path(), &Cursor { seq: 3, ..cursor.clone() });
    assert_eq!((rest(&mut reader), reader.take_lost().went_back), (vec![], true));
    journal.rotate().unwrap();
    write(&mut journal, 20..21);
    assert_eq!(rest(&mut reader), [20]);
    let mut reader = from(folder.path(), &Cursor { seq: 9, ..cursor });
    assert_eq!((rest(&mut reader), reader.take_lost().went_back), ((0..21).collect(), true));
}

#[test]
fn segments_that_went_before_they_were_read_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = open(folder.path());
    let mut cursors = Vec::new();
    let mut reader = JournalReader::open(folder.path(), StartAt::Oldest).unwrap();
    for segment in 0..6 {
        write(&mut journal, segment * 10..segment * 10 + 10);
        rest(&mut reader);
        cursors.push(reader.cursor());
        journal.rotate().unwrap();
    }
    until_compressed(&journal, 6);
    for seq in 1..=3 {
        fs::remove_file(folder.path().join(format!("{seq:08}.jsonl.zst"))).unwrap();
    }
    fs::remove_file(folder.path().join("00000005.jsonl.zst")).unwrap();
    let expected: Vec<u64> = (30..40).chain(50..60).collect();
    // It had read all of the first, or half of it.
    let half = Cursor { offset: 10, ..cursors[0].clone() };
    for (cursor, segments) in [(&cursors[0], 3), (&half, 4), (&cursors[2], 1)] {
        let mut reader = from(folder.path(), cursor);
        assert_eq!(rest(&mut reader), expected);
        assert_eq!(reader.take_lost(), Lost { segments, went_back: false }, "{cursor:?}");
    }
    let mut reader = JournalReader::open(folder.path(), StartAt::Oldest).unwrap();
    assert_eq!((rest(&mut reader), reader.take_lost().segments), (expected, 1));
}

#[test]
fn a_damaged_segment_is_counted_and_the_next_one_read() {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = open(folder.path());
    write(&mut journal, 0..5_000);
    journal.rotate().unwrap();
    write(&mut journal, 5_000..5_010);
    until_compressed(&journal, 1);
    let path = folder.path().join("00000001.jsonl.zst");
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    let mut reader = JournalReader::open(folder.path(), StartAt::Oldest).unwrap();
    let read = rest(&mut reader);
    assert!(read.ends_with(&(5_000..5_010).collect::<Vec<_>>()), "{} lines", read.len());
    assert_eq!(reader.take_lost(), Lost { segments: 1, went_back: false });
    let mut reader = from(folder.path(), &Cursor { seq: 1, offset: 300_000, event_id: None });
    assert!(rest(&mut reader).ends_with(&[5_009]));
    // A line without end is no line.
    let mut text = vec![b'x'; LINE_BYTES_MAX + (1 << 20)];
    text.extend(b"\n{}\n");
    fs::write(folder.path().join("00000002.jsonl"), text).unwrap();
    let mut reader =
        JournalReader::open(folder.path(), StartAt::Cursor(Cursor { seq: 2, ..Cursor::default() })).unwrap();
    assert_eq!((rest(&mut reader).len(), reader.take_lost().segments), (0, 1));
}

#[test]
fn the_lag_is_what_was_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = open(folder.path());
    let mut reader = JournalReader::open(folder.path(), StartAt::Oldest).unwrap();
    assert_eq!(reader.lag(), Lag::default());
    write(&mut journal, 0..10);
    let bytes = journal.take_written().bytes;
    assert_eq!(reader.lag().bytes, bytes);
    journal.rotate().unwrap();
    write(&mut journal, 10..20);
    journal.rotate().unwrap();
    until_compressed(&journal, 2);
    let bytes = bytes + journal.take_written().bytes;
    assert_eq!((reader.lag().bytes, reader.lag().segments), (bytes, 2));
    next(&mut reader);
    let line = reader.cursor().offset;
    let lag = reader.lag();
    assert!((19..=20).contains(&lag.lines), "{lag:?}");
    assert_eq!((lag.bytes, lag.timestamp.as_deref()), (bytes - line, Some("2026-11-28T02:14:06.000000+0000")));
    rest(&mut reader);
    let lag = reader.lag();
    assert_eq!((lag.bytes, lag.lines, lag.segments), (0, 0, 0));
    assert_eq!(lag.timestamp.as_deref(), Some("2026-11-28T02:14:06.000019+0000"));
}

#[test]
fn a_folder_that_is_not_there_is_an_error_and_an_empty_one_waits() {
    let folder = tempfile::tempdir().unwrap();
    assert!(JournalReader::open(&folder.path().join("none"), StartAt::Newest).is_err());
    for start in [StartAt::Oldest, StartAt::Newest, StartAt::Cursor(Cursor::default())] {
        let mut reader = JournalReader::open(folder.path(), start).unwrap();
        assert_eq!(reader.next_line().unwrap(), None);
        let mut journal = open(folder.path());
        write(&mut journal, 0..1);
        assert_eq!(rest(&mut reader), [0]);
        drop(journal);
        fs::read_dir(folder.path()).unwrap().for_each(|entry| fs::remove_file(entry.unwrap().path()).unwrap());
    }
}

/// Looks so often that the reader asks whether the segment is still there.
fn looked(reader: &mut JournalReader) -> Vec<u64> {
    (0..LOOKS_PER_CHECK + 1).flat_map(|_| rest(reader)).collect()
}

fn text(numbers: Range<u64>) -> Vec<u8> {
    let mut text = Vec::new();
    numbers.for_each(|number| line(number)(&mut text));
    text
}

#[test]
fn a_segment_that_somebody_deletes_cuts_or_replaces_is_read_anew() {
    let folder = tempfile::tempdir().unwrap();
    let at = |seq: u64| segment::plain_path(folder.path(), seq);
    fs::write(at(1), text(0..10)).unwrap();
    let mut reader = JournalReader::open(folder.path(), StartAt::Oldest).unwrap();
    assert!(looked(&mut reader).into_iter().eq(0..10));
    assert!(looked(&mut reader).is_empty() && reader.take_lost() == Lost::default(), "nothing happened");
    fs::remove_file(at(1)).unwrap();
    fs::write(at(1), text(20..23)).unwrap();
    assert_eq!(looked(&mut reader), vec![20, 21, 22], "another file of the same name");
    assert!(reader.take_lost().went_back);
    fs::write(at(1), text(30..32)).unwrap();
    assert_eq!(looked(&mut reader), vec![30, 31], "cut, and written again");
    assert!(reader.take_lost().went_back);
    fs::remove_file(at(1)).unwrap();
    assert!(looked(&mut reader).is_empty(), "there is none");
    fs::write(at(1), text(40..41)).unwrap();
    assert_eq!(looked(&mut reader), vec![40], "it is there again");
    fs::write(at(9), text(50..51)).unwrap();
    assert_eq!(looked(&mut reader), vec![50], "those between are gone");
    assert_eq!(reader.take_lost().segments, 7);
    fs::remove_file(at(1)).unwrap();
    fs::remove_file(at(9)).unwrap();
    fs::write(at(2), text(60..61)).unwrap();
    assert_eq!(looked(&mut reader), vec![60], "a journal that began anew");
    assert!(reader.take_lost().went_back);
}

#[test]
fn a_segment_that_is_closed_and_not_followed_yet_is_not_read_anew() {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = open(folder.path());
    let mut reader = JournalReader::open(folder.path(), StartAt::Oldest).unwrap();
    write(&mut journal, 0..50);
    journal.rotate().unwrap();
    until_compressed(&journal, 1);
    assert_eq!(looked(&mut reader).len(), 50);
    let cursor = reader.cursor();
    assert!(looked(&mut reader).is_empty());
    let mut other = from(folder.path(), &cursor);
    assert!(looked(&mut other).is_empty());
    write(&mut journal, 50..60);
    for reader in [&mut reader, &mut other] {
        assert!(looked(reader).into_iter().eq(50..60));
        assert_eq!(reader.take_lost(), Lost::default());
    }
}
