use super::*;
use std::io::Write;
use vigie_signatures::{Bundle, Clients};

/// Gives what it has in pieces of this size.
struct Pieces<'a>(&'a [u8], usize);

impl Read for Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let size = self.1.min(self.0.len()).min(buffer.len());
        let (piece, rest) = self.0.split_at(size);
        buffer[..size].copy_from_slice(piece);
        self.0 = rest;
        Ok(size)
    }
}

fn blocks(text: &[u8], piece: usize) -> Vec<(Vec<u8>, bool)> {
    let mut blocks = Blocks::new(Pieces(text, piece));
    let mut all = Vec::new();
    while let Some(block) = blocks.next().unwrap() {
        all.push((block.bytes, block.follows_long_line));
    }
    all
}

#[test]
fn blocks_are_whole_lines() {
    let text = b"one\ntwo\n\nthree";
    for piece in 1..=text.len() {
        let all = blocks(text, piece);
        assert_eq!(all.iter().flat_map(|(bytes, _)| bytes.clone()).collect::<Vec<_>>(), text);
        assert!(all.iter().rev().skip(1).all(|(bytes, _)| bytes.ends_with(b"\n")), "{piece}");
        assert!(all.iter().all(|(_, follows_long_line)| !follows_long_line));
    }
    assert!(blocks(b"", 1).is_empty());
}

#[test]
fn a_line_that_is_too_long_is_dropped_and_counted() {
    let long = vec![b'x'; LINE_BYTES_MAX + BLOCK_BYTES + 1];
    let recogniser = Recogniser::new(Bundle::builtin(), Clients::builtin());
    let good = "{\"seconds\":1,\"client\":\"c\",\"name\":\"www.tiktok.com\"}\n";
    for (before, after, lines) in [("", "", 1), (good, "", 2), ("", good, 2), (good, good, 3)] {
        let text = [before.as_bytes(), &long, b"\n", after.as_bytes()].concat();
        let parsed: Vec<Parsed> = {
            let mut blocks = Blocks::new(&*text);
            std::iter::from_fn(|| blocks.next().unwrap()).map(|block| parse(&block, &recogniser)).collect()
        };
        assert_eq!(parsed.iter().map(|parsed| parsed.lines).sum::<u64>(), lines);
        assert_eq!(parsed.iter().map(|parsed| parsed.bad).sum::<u64>(), 1);
        assert_eq!(parsed.iter().map(|parsed| parsed.records.len() as u64).sum::<u64>(), lines - 1);
    }
    let ends_long = [good.as_bytes(), &long].concat();
    assert_eq!(blocks(&ends_long, BLOCK_BYTES).last(), Some(&(Vec::new(), true)));
}

fn file(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    File::create(&path).unwrap().write_all(text.as_bytes()).unwrap();
    path
}

fn line(seconds: u64) -> String {
    format!("{{\"seconds\":{seconds},\"client\":\"c\",\"name\":\"www.tiktok.com\"}}\n")
}

fn times(paths: &[PathBuf]) -> (Vec<u64>, Vec<Report>) {
    let recogniser = Recogniser::new(Bundle::builtin(), Clients::builtin());
    let mut times = Vec::new();
    let reports =
        read(paths, &recogniser, &AtomicBool::new(false), &mut |record| times.push(record.logged_ns / 1_000_000_000))
            .unwrap();
    (times, reports)
}

#[test]
fn files_are_read_together_in_the_order_of_time() {
    let folder = tempfile::tempdir().unwrap();
    let of = |name, seconds: &[u64]| file(folder.path(), name, &seconds.iter().copied().map(line).collect::<String>());
    let paths = [of("a", &[1, 4, 7, 8]), of("b", &[2, 3, 9]), of("c", &[]), of("d", &[5, 6])];
    assert_eq!(times(&paths).0, [1, 2, 3, 4, 5, 6, 7, 8, 9]);
    // A file's own order stays: it is put right later.
    assert_eq!(times(&[of("e", &[3, 1, 2])]).0, [3, 1, 2]);
}

#[test]
fn bad_lines_have_their_places() {
    let folder = tempfile::tempdir().unwrap();
    let text = format!("{}\n\nnonsense\n{}{{\"seconds\":", line(1).trim(), line(2));
    let (times, reports) = times(&[file(folder.path(), "a", &text)]);
    assert_eq!(times, [1, 2]);
    let report = &reports[0];
    assert_eq!((report.lines, report.bad), (4, 2));
    assert_eq!(report.places.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [3, 5]);
    let many = "x\n".repeat(300_000);
    let (_, reports) = self::times(&[file(folder.path(), "b", &many)]);
    assert_eq!((reports[0].lines, reports[0].bad, reports[0].places.len()), (300_000, 300_000, PLACES_MAX));
    assert_eq!(reports[0].places.last().unwrap().0, 10);
}

#[test]
fn places_count_on_over_blocks() {
    let folder = tempfile::tempdir().unwrap();
    let lines = 2 * BLOCK_BYTES / line(1).len();
    let text = format!("{}nonsense\n", line(1).repeat(lines));
    let (times, reports) = times(&[file(folder.path(), "a", &text)]);
    assert_eq!(times.len(), lines);
    assert_eq!(reports[0].places[0].0, lines as u64 + 1);
}

#[test]
fn what_cannot_be_opened_is_told() {
    let recogniser = Recogniser::new(Bundle::builtin(), Clients::builtin());
    let missing = PathBuf::from("/no/such/log");
    let (path, error) =
        read(std::slice::from_ref(&missing), &recogniser, &AtomicBool::new(false), &mut |_| {}).unwrap_err();
    assert_eq!((path, error.kind()), (missing, io::ErrorKind::NotFound));
}

#[test]
fn a_folder_cannot_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let (times, reports) = times(&[folder.path().to_owned()]);
    assert!(times.is_empty() && reports[0].error.is_some());
}

#[test]
fn a_flag_ends_the_reading() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"{\"seconds\":1,\"client\":\"a\",\"name\":\"www.tiktok.com\"}\n").unwrap();
    let recogniser = Recogniser::new(Bundle::builtin(), Clients::builtin());
    for (is_set, expected) in [(false, 1), (true, 0)] {
        let mut records = 0;
        read(&[file.path().to_owned()], &recogniser, &AtomicBool::new(is_set), &mut |_| records += 1).unwrap();
        assert_eq!(records, expected);
    }
}
