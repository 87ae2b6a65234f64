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
    let error = read(&["a1.pcap", "b1.pcap"]).unwrap_err();
    assert!(matches!(error, CaptureError::Io { .. }) && error.to_string().contains("b1.pcap: No such file"), "{error}");
    let error = read(&["a1.pcap", "a3.pcap"]).unwrap_err();
    assert!(error.to_string().contains("a3.pcap: there is no file in the directory"), "{error}");
}

#[test]
fn a_file_that_vanishes_before_its_time_is_a_failure_and_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let paths = [file(folder.path(), "a", 1, &[1]), file(folder.path(), "b", 2, &[2])];
    let mut files = Files::open(&paths, &FilesOptions::default()).unwrap();
    fs::remove_file(&paths[1]).unwrap();
    let mut seen = 0;
    assert!(files.next_batch(&mut |frames| seen += frames.len()).unwrap());
    assert!(!files.next_batch(&mut |_| {}).unwrap());
    assert_eq!(seen, 1);
    let [failure] = &files.statistics().failures[..] else { panic!("{:?}", files.statistics()) };
    assert!(failure.file == paths[1] && failure.is_unavailable, "{failure:?}");
    assert!(failure.message.contains("No such file"), "{failure:?}");
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
        let options = FilesOptions { filter: Some(expression.to_owned()), ..FilesOptions::default() };
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
    let options = FilesOptions { filter: Some("port port".to_owned()), ..FilesOptions::default() };
    assert!(matches!(Files::open::<&str>(&[], &options), Err(CaptureError::Filter { .. })));
}

#[test]
fn sources_go_to_other_threads() {
    fn goes<T: Send>() {}
    goes::<Files>();
}

#[test]
fn of_several_files_the_bad_are_told_and_the_good_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let here = |name: &str, bytes: &[u8]| {
        fs::write(folder.path().join(name), bytes).unwrap();
        folder.path().join(name)
    };
    let good = [file(folder.path(), "a", 1, &[1, 3]), file(folder.path(), "b", 2, &[2])];
    let bad = [
        here("c", b"notes on the captures"),
        here("d", b""),
        here("e", &CaptureBuilder::classic(ByteOrder::Big, NANOSECONDS, u32::from(u16::MAX - 1)).bytes),
    ];
    let paths = [&bad[..1], &good, &bad[1..]].concat();
    let (frames, statistics) = read_files(&paths).unwrap();
    assert_eq!(marks(&frames), [(1, 1), (2, 2), (3, 1)]);
    let failed: Vec<_> = statistics.failures.iter().map(|failure| failure.file.clone()).collect();
    assert_eq!((failed, statistics.files), (bad.to_vec(), 5));
    assert!(statistics.failures.iter().all(|failure| !failure.is_unavailable), "{statistics:?}");
    // Alone, or with no good one beside it, a bad file is an error.
    assert!(matches!(read_files(&bad[..1]), Err(CaptureError::NotACapture { .. })));
    assert!(matches!(read_files(&bad), Err(CaptureError::NotACapture { .. })));
}

#[test]
fn a_folder_gives_its_captures_by_name() {
    let folder = tempfile::tempdir().unwrap();
    for (name, mark) in [("b", 2), ("a", 1), ("c", 3)] {
        file(folder.path(), name, mark, &[7]);
    }
    fs::write(folder.path().join("README"), b"notes on the captures").unwrap();
    fs::create_dir(folder.path().join("more")).unwrap();
    let (frames, statistics) = read_files(&[folder.path()]).unwrap();
    assert_eq!(marks(&frames), [(7, 1), (7, 2), (7, 3)]);
    let warnings: Vec<_> = statistics.warnings.iter().map(ToString::to_string).collect();
    assert!(warnings.len() == 2 && warnings[0].contains("more") && warnings[1].contains("README"), "{warnings:?}");
    assert_eq!(statistics.failures, []);
}

#[test]
fn a_file_in_a_folder_that_is_named_like_a_capture_and_is_none_is_told_as_unread() {
    let folder = tempfile::tempdir().unwrap();
    file(folder.path(), "a.pcap", 1, &[7]);
    let bad = ["b.pcap", "c.pcapng", "d.CAP.gz"].map(|name| folder.path().join(name));
    bad.iter().for_each(|path| fs::write(path, b"cut short").unwrap());
    for name in ["capture.txt", "pcap", ".pcap-notes"] {
        fs::write(folder.path().join(name), b"notes").unwrap();
    }
    let (frames, statistics) = read_files(&[folder.path()]).unwrap();
    assert_eq!(marks(&frames), [(7, 1)]);
    let failed: Vec<_> = statistics.failures.iter().map(|failure| failure.file.clone()).collect();
    assert_eq!(failed, bad);
    assert_eq!(statistics.warnings.len(), 3, "{statistics:?}");
}

#[test]
fn time_that_goes_back_is_told_once_for_each_file() {
    let folder = tempfile::tempdir().unwrap();
    let steady = file(folder.path(), "a", 1, &[1, 1, 2, 500_000_000]);
    let (_, statistics) = read_files(&[&steady]).unwrap();
    assert_eq!(statistics.warnings, []);
    let mut times: Vec<u32> = (0..300).collect();
    times[200] = 5;
    times[250] = 247;
    let back = file(folder.path(), "b", 2, &times);
    for paths in [&[&back][..], &[&steady, &back]] {
        let (frames, statistics) = read_files(paths).unwrap();
        assert!(frames.len() >= 300);
        let [warning] = &statistics.warnings[..] else { panic!("{statistics:?}") };
        assert!(warning.file == back && warning.offset == 24 + 200 * 19 + 16, "{warning}");
        assert!(warning.message.starts_with("time goes back: 2 frames are earlier"), "{warning}");
    }
}

#[test]
fn small_files_do_not_stay_open() {
    let folder = tempfile::tempdir().unwrap();
    let paths: Vec<PathBuf> = (0..40).map(|number| file(folder.path(), &number.to_string(), 1, &[1, 900])).collect();
    let open = || {
        let links = fs::read_dir("/proc/self/fd").unwrap().filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
        links.filter(|path| path.starts_with(folder.path())).count()
    };
    let mut files = Files::open(&paths, &FilesOptions::default()).unwrap();
    let mut frames = 0;
    while files.next_batch(&mut |batch| frames += batch.len()).unwrap() {
        assert_eq!(open(), 0);
    }
    assert_eq!((frames, files.readers.len()), (80, 40));
}

#[test]
fn without_descriptors_files_wait_for_each_other() {
    const CHILD: &str = "VIGIE_TEST_FEW_DESCRIPTORS";
    if std::env::var_os(CHILD).is_none() {
        // The limit is the whole process's.
        let script = "ulimit -n 40; exec \"$0\" --exact files::tests::without_descriptors_files_wait_for_each_other";
        let program = std::env::current_exe().unwrap();
        let outcome =
            std::process::Command::new("sh").args(["-c", script]).arg(program).env(CHILD, "1").output().unwrap();
        let text = String::from_utf8_lossy(&outcome.stdout);
        assert!(outcome.status.success() && text.contains("1 passed"), "{text}");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let times: Vec<u32> = (0..40_000).collect();
    let paths: Vec<PathBuf> = (0..60).map(|number| file(folder.path(), &number.to_string(), 1, &times)).collect();
    let mut files = Files::open(&paths, &FilesOptions::default()).unwrap();
    let mut frames = 0;
    while files.next_batch(&mut |batch| frames += batch.len()).unwrap() {}
    assert_eq!(frames, 60 * times.len());
    let statistics = files.statistics();
    assert_eq!(statistics.failures, []);
    assert!(
        statistics.warnings.len() == 1 && statistics.warnings[0].message.contains("too many files"),
        "{statistics:?}"
    );
}

#[test]
fn a_stop_ends_the_waiting_for_a_pipe() {
    let (reading, mut writing) = std::io::pipe().unwrap();
    let path = format!("/dev/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&reading));
    let bytes = CaptureBuilder::classic(ByteOrder::Little, NANOSECONDS, 1).record(1, 1, 3, b"abc").bytes;
    std::io::Write::write_all(&mut writing, &bytes).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let options = FilesOptions { stop: Some(Arc::clone(&stop)), ..FilesOptions::default() };
    let mut files = Files::open(&[path], &options).unwrap();
    let mut frames = 0;
    assert!(files.next_batch(&mut |batch| frames += batch.len()).unwrap());
    let stopper = std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_millis(50));
        stop.store(true, Ordering::Relaxed);
    });
    assert!(!files.next_batch(&mut |batch| frames += batch.len()).unwrap());
    stopper.join().unwrap();
    assert!(frames == 1 && files.statistics().is_stopped);
    drop(writing);
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
