//! Captures cut at any byte: no panic, no error once the header is whole, memory within bounds, and no name that the
//! whole capture does not have.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use vigie_skip::skipped;
use vigie_tests::hello::Hello;
use vigie_tests::memory::{Counting, measure};
use vigie_tests::packets::{CLIENT, SERVER, udp_in_fragments};
use vigie_tests::quic::hello_datagram;
use vigie_tests::replay::{self, Replay};
use vigie_tests::tape::Tape;
use vigie_tests::tcp::Connection;
use vigie_tests::{dns, truth};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The most memory that reading a small capture may take.
const MEMORY_BYTES_MAX: usize = 8 << 20;
/// Files up to this size are cut at each byte; of longer ones the two ends are, and some places between.
const SMALL_BYTES: usize = 12_000;
const FIRST_BYTES: usize = 4_096;
const LAST_BYTES: usize = 2_048;
const STRIDE: usize = 97;
/// Length of the headers without which a file is no capture: that of pcap, and those of a pcapng section with an
/// interface, at most.
const HEADERS_BYTES: usize = 400;

/// Where to cut a file of so many bytes, from its end to its beginning.
fn cuts(bytes: usize) -> Vec<usize> {
    let is_wanted = |cut: &usize| {
        bytes <= SMALL_BYTES || *cut < FIRST_BYTES || bytes - *cut < LAST_BYTES || cut.is_multiple_of(STRIDE)
    };
    (0..=bytes).rev().filter(is_wanted).collect()
}

/// Names with their flows, `(partial)` or not.
fn names(replay: &Replay) -> BTreeSet<String> {
    replay.said().iter().map(|line| line.trim_end_matches(" (partial)").to_owned()).collect()
}

/// Reads a copy of `path`, cut at each place; tells how many cuts there were.
fn cut_everywhere(path: &Path, folder: &Path) -> usize {
    let bytes = fs::read(path).unwrap();
    let copy = folder.join(path.file_name().unwrap());
    fs::write(&copy, &bytes).unwrap();
    let file = OpenOptions::new().write(true).open(&copy).unwrap();
    // Room for records is reserved at once, which counts as held.
    let mut settings = replay::everything_named();
    settings.limits.records_max = 1_024;
    let whole = replay::file(&copy, &settings).unwrap();
    let (whole_names, whole_frames) = (names(&whole), whole.totals.frames);
    let cuts = cuts(bytes.len());
    let mut frames_before = whole_frames;
    for &cut in &cuts {
        file.set_len(cut as u64).unwrap();
        let (replay, _, held) = measure(|| replay::file(&copy, &settings));
        let what = || format!("{} cut at {cut}", path.display());
        assert!(held < MEMORY_BYTES_MAX, "{}: {held} bytes", what());
        let Ok(replay) = replay else {
            assert!(cut < HEADERS_BYTES, "{}: {:?}", what(), replay.err());
            continue;
        };
        // A shorter file has no more frames, and no flow has a name that it has not in the whole file; a hello that lost
        // its second part, or came without its proxy's request, may have none.
        assert!(replay.totals.frames <= frames_before, "{}", what());
        frames_before = replay.totals.frames;
        let strange: Vec<String> = names(&replay).difference(&whole_names).cloned().collect();
        assert!(strange.is_empty(), "{}: {strange:?}", what());
    }
    cuts.len()
}

fn cut_all(paths: &[PathBuf]) {
    let folder = tempfile::tempdir().unwrap();
    let (next, total) = (AtomicUsize::new(0), Mutex::new(0));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let folder = folder.path().join(thread.to_string());
            fs::create_dir(&folder).unwrap();
            let (next, total) = (&next, &total);
            scope.spawn(move || {
                while let Some(path) = paths.get(next.fetch_add(1, Ordering::Relaxed)) {
                    *total.lock().unwrap() += cut_everywhere(path, &folder);
                }
            });
        }
    });
    println!("{} captures cut at {} places", paths.len(), total.into_inner().unwrap());
}

#[test]
fn own_captures() {
    let paths: Vec<PathBuf> = truth::CAPTURES.iter().map(|name| truth::capture(name)).collect();
    cut_all(&paths);
}

#[test]
fn built_captures() {
    let folder = tempfile::tempdir().unwrap();
    let hello = Hello::post_quantum("www.tiktok.com");
    let connection = Connection::default();
    let initial = hello_datagram(b"an initial", &Hello::to("www.tiktok.com").message());
    let tapes = [
        ("segments", Tape::of(connection.opening()).then(connection.segments(&hello.record(), 100))),
        ("fragments", Tape::of(udp_in_fragments(CLIENT, SERVER, &initial, 7, 400))),
        (
            "answers",
            Tape::of([dns::told(CLIENT.ip(), "www.tiktok.com", SERVER.ip())])
                .then(connection.saying(&Hello::nameless().tls12().record())),
        ),
    ];
    let paths: Vec<PathBuf> = tapes
        .iter()
        .map(|(name, tape)| {
            let path = folder.path().join(format!("{name}.pcap"));
            fs::write(&path, tape.pcap()).unwrap();
            path
        })
        .collect();
    cut_all(&paths);
}

/// The ten smallest published captures of different sources that have a name in them, where they are present.
#[test]
fn shared_captures() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/captures/dev");
    let Ok(oracle) = fs::read_to_string(folder.join("oracle-dev.jsonl")) else {
        return skipped(format_args!("the published captures are not at {}", folder.display()));
    };
    let captures: Vec<serde_json::Value> = oracle.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut named: Vec<(u64, &str)> = captures
        .iter()
        .filter(|capture| capture["entries"].as_array().is_some_and(|entries| !entries.is_empty()))
        .map(|capture| (capture["size"].as_u64().unwrap(), capture["pcap"].as_str().unwrap()))
        .collect();
    named.sort_unstable();
    let mut sources = BTreeSet::new();
    named.retain(|(_, path)| sources.insert(path.split('/').next().unwrap_or_default()));
    let paths: Vec<PathBuf> = named.iter().take(10).map(|(_, path)| folder.join(path)).collect();
    assert_eq!(paths.len(), 10);
    cut_all(&paths);
}
