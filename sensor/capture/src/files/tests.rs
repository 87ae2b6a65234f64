use super::super::record::ByteOrder;
use super::super::testing::{CaptureBuilder, OwnedFrame, drain, read_files};
use super::*;
use proptest::prelude::*;
use std::fs;

const NANOSECONDS: u32 = 0xa1b2_3c4d;

/// A file with frames at these times, each telling its file and place.
fn file(folder: &Path, name: &str, mark: u8, times: &[u32]) -> PathBuf {
    let mut builder = CaptureBuilder::classic(ByteOrder::Little, NANOSECONDS, 1);
    for (place, time) in times.iter().enumerate() {
        builder = builder.record(1, *time, 60, &[mark, place as u8, (place >> 8) as u8]);
    }
    let path = folder.join(name);
    fs::write(&path, builder.bytes).unwrap();
    path
}

fn marks(frames: &[OwnedFrame]) -> Vec<(u64, u8)> {
    frames.iter().map(|frame| (frame.timestamp_ns - 1_000_000_000, frame.data[0])).collect()
}

#[test]
fn files_follow_each_other_by_their_first_frames_and_merge_where_they_overlap() {
    let folder = tempfile::tempdir().unwrap();
    let paths = [
        file(folder.path(), "c", b'c', &[50, 60]),
        file(folder.path(), "empty", b'e', &[]),
        file(folder.path(), "a", b'a', &[1, 5, 9, 20]),
        file(folder.path(), "b", b'b', &[5, 6, 30]),
    ];
    let (frames, statistics) = read_files(&paths).unwrap();
    let expected =
        [(1, b'a'), (5, b'a'), (5, b'b'), (6, b'b'), (9, b'a'), (20, b'a'), (30, b'b'), (50, b'c'), (60, b'c')];
    assert_eq!(marks(&frames), expected);
    let numbers: Vec<_> = frames.iter().map(|frame| frame.number).collect();
    assert_eq!(numbers, (1..=9).collect::<Vec<_>>());
    assert!(frames.iter().all(|frame| frame.interface == 0), "a ring of files has one interface");
    assert_eq!(statistics.warnings, []);
}

#[test]
fn of_a_ring_of_files_few_are_open() {
    let folder = tempfile::tempdir().unwrap();
    for number in 0..300_u32 {
        let start = number * 100;
        file(folder.path(), &format!("{:03}.pcap", 299 - number), 0, &[start, start + 50, start + 99, start + 101]);
    }
    let options = FilesOptions::default();
    let mut files = Files::open(&[folder.path().join("*.pcap")], &options).unwrap();
    let (mut last, mut count, mut open_max, mut done) = (0, 0, 0, 0);
    while files
        .next_batch(&mut |frames| {
            for frame in frames {
                assert!(frame.timestamp_ns >= last && frame.number == count + 1);
                (last, count) = (frame.timestamp_ns, count + 1);
            }
        })
        .unwrap()
    {
        open_max = open_max.max(files.readers.iter().flatten().count());
        let position = files.position();
        assert!(position.bytes_done >= done);
        done = position.bytes_done;
    }
    assert_eq!(count, 1200);
    assert!(open_max <= 2, "{open_max}");
    assert_eq!(files.position().bytes_total, Some(300 * (24 + 4 * 19)));
    assert_eq!(Some(files.position().bytes_done), files.position().bytes_total);
}

#[test]
fn patterns_names_and_what_is_wrong_with_them() {
    let folder = tempfile::tempdir().unwrap();
    let here = |name: &str| folder.path().join(name);
    file(folder.path(), "a1.pcap", 1, &[1]);
    file(folder.path(), "a2.pcap", 2, &[2]);
    file(folder.path(), "odd[name].pcap", 3, &[3]);
    fs::create_dir(here("a3.pcap")).unwrap();
    let read = |names: &[&str]| {
        let paths: Vec<PathBuf> = names.iter().map(|name| here(name)).collect();
        read_files(&paths).map(|(frames, _)| frames.iter().map(|frame| frame.data[0]).collect::<Vec<_>>())
    };
    assert_eq!(read(&["a*.pcap"]).unwrap(), [1, 2]);
    assert_eq!(read(&["a2.pcap", "a?.pcap", "a2.pcap"]).unwrap(), [1, 2]);
    assert_eq!(read(&["odd[name].pcap"]).unwrap(), [3]);
    assert_eq!(read(&[]).unwrap(), [0_u8; 0]);
    assert!(matches!(read(&["b*.pcap"]), Err(CaptureError::Pattern { .. })));
    assert!(matches!(read(&["***"]), Err(CaptureError::Pattern { .. })));
    for (name, text) in [("b1.pcap", "b1.pcap: No such file"), ("a3.pcap", "a3.pcap: Is a directory")] {
        let error = read(&["a1.pcap", name]).unwrap_err();
        assert!(matches!(error, CaptureError::Io { .. }) && error.to_string().contains(text), "{error}");
    }
    fs::write(here("a4.pcap"), b"notes on the captures").unwrap();
    assert!(matches!(read(&["a[1-9].pcap"]), Err(CaptureError::Io { .. } | CaptureError::NotACapture { .. })));
}

#[test]
fn a_file_that_vanishes_before_its_time_is_an_error_and_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let paths = [file(folder.path(), "a", 1, &[1]), file(folder.path(), "b", 2, &[2])];
    let mut files = Files::open(&paths, &FilesOptions::default()).unwrap();
    fs::remove_file(&paths[1]).unwrap();
    let mut seen = 0;
    assert!(files.next_batch(&mut |frames| seen += frames.len()).unwrap());
    assert!(matches!(files.next_batch(&mut |_| {}), Err(CaptureError::Io { file, .. }) if file == paths[1]));
    assert!(!files.next_batch(&mut |_| {}).unwrap());
    assert_eq!(seen, 1);
}

#[test]
fn warnings_of_all_files_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let paths = [file(folder.path(), "a", 1, &[1, 2]), file(folder.path(), "b", 2, &[3]), folder.path().join("c")];
    for path in &paths[..2] {
        let bytes = fs::read(path).unwrap();
        fs::write(path, &bytes[..bytes.len() - 1]).unwrap();
    }
    fs::write(&paths[2], &fs::read(&paths[0]).unwrap()[..30]).unwrap();
    let (frames, statistics) = read_files(&paths).unwrap();
    assert_eq!(frames.len(), 3);
    let warnings: Vec<_> = statistics.warnings.iter().map(|warning| (warning.file.clone(), warning.offset)).collect();
    assert_eq!(warnings, [(paths[2].clone(), 24), (paths[0].clone(), 43), (paths[1].clone(), 24)]);
}

#[test]
fn the_filter_leaves_out_frames_and_keeps_their_numbers() {
    let packet = |port: u8| {
        let mut bytes = vec![0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2];
        bytes.extend([0x30, 0x39, 0, port, 0, 8, 0, 0]);
        bytes
    };
    let mut builder = CaptureBuilder::classic(ByteOrder::Big, NANOSECONDS, 101);
    for number in 1..=1000 {
        builder = builder.record(1, number, 28, &packet(if number % 100 == 7 { 53 } else { 54 }));
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), builder.bytes).unwrap();
    let open = |expression: &str| {
        let options = FilesOptions { filter: Some(expression.to_owned()) };
        Files::open(&[file.path()], &options)
    };
    let (frames, statistics) = drain(&mut open("udp port 53").unwrap()).unwrap();
    let numbers: Vec<_> = frames.iter().map(|frame| frame.number).collect();
    assert_eq!(numbers, (0..10).map(|hundred| hundred * 100 + 7).collect::<Vec<_>>());
    assert_eq!((statistics.frames, statistics.frames_filtered), (10, 990));
    let (frames, statistics) = drain(&mut open("tcp").unwrap()).unwrap();
    assert_eq!((frames.len(), statistics.frames_filtered), (0, 1000));
    let error = open("udp prot 53").unwrap_err();
    assert!(matches!(error, CaptureError::Filter { .. }), "{error}");
}

#[test]
fn a_wrong_filter_is_told_even_where_there_is_nothing_to_filter() {
    let options = FilesOptions { filter: Some("port port".to_owned()) };
    assert!(matches!(Files::open::<&str>(&[], &options), Err(CaptureError::Filter { .. })));
}

#[test]
fn sources_go_to_other_threads() {
    fn goes<T: Send>() {}
    goes::<Files>();
}

/// The frame order that is meant: of the files whose first frames are not later than any other's next frame,
/// the one with the earliest next frame gives it.
fn merged(times: &[Vec<u32>]) -> Vec<(u64, u8)> {
    let mut order: Vec<usize> = (0..times.len()).filter(|&file| !times[file].is_empty()).collect();
    order.sort_by_key(|&file| times[file][0]);
    let mut next = vec![0; times.len()];
    let mut out = Vec::new();
    while let Some(&file) =
        order.iter().filter(|&&file| next[file] < times[file].len()).min_by_key(|&&file| times[file][next[file]])
    {
        out.push((u64::from(times[file][next[file]]), file as u8));
        next[file] += 1;
    }
    out
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_files_merge_by_time(
        times in proptest::collection::vec(proptest::collection::vec(0_u32..500, 0..200), 0..6),
        sorted in proptest::collection::vec(any::<bool>(), 6),
    ) {
        let mut times = times;
        for (times, sorted) in times.iter_mut().zip(sorted) {
            if sorted {
                times.sort_unstable();
            }
        }
        let folder = tempfile::tempdir().unwrap();
        let paths: Vec<PathBuf> =
            times.iter().enumerate().map(|(n, times)| file(folder.path(), &n.to_string(), n as u8, times)).collect();
        let (frames, _) = read_files(&paths).unwrap();
        prop_assert_eq!(marks(&frames), merged(&times));
        prop_assert!(frames.iter().zip(1..).all(|(frame, number)| frame.number == number));
    }
}
