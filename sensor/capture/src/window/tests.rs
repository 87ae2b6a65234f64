use super::super::record::ByteOrder;
use super::super::testing::{CaptureBuilder, Outcome, OwnedFrame, Step, assert_same, drain, drain_by, read_files};
use super::super::{Block, CaptureError, FRAME_BYTES_MAX, Files, Source};
use super::read_ahead::{AHEAD_BYTES, CHUNKS_AHEAD_MAX};
use super::*;
use flate2::write::GzEncoder;
use proptest::prelude::*;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::sync::Mutex;
use vigie_wire::LinkType;

/// Frames of many sizes, more than one buffer of them.
fn capture(frames: u32) -> Vec<u8> {
    let mut file = CaptureBuilder::classic(ByteOrder::Little, 0xa1b2_c3d4, 1);
    for number in 0..frames {
        file = file.record(number, 0, 9000, &vec![number as u8; (number * 37 % 5000) as usize + 1]);
    }
    file.bytes
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn read(bytes: &[u8]) -> Outcome {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    read_files(&[file.path()])
}

#[test]
fn compressed_by_any_means_the_frames_are_the_same() {
    let plain = capture(500);
    let (expected, _) = read(&plain).unwrap();
    assert_eq!(expected.len(), 500);
    let (front, back) = plain.split_at(300_001);
    let members = [gzip(front), gzip(b""), gzip(back)].concat();
    let frames = [zstd::encode_all(front, 1).unwrap(), zstd::encode_all(back, 3).unwrap()].concat();
    for bytes in [gzip(&plain), members, zstd::encode_all(&plain[..], 1).unwrap(), frames] {
        let (frames, statistics) = read(&bytes).unwrap();
        assert_eq!(frames, expected);
        assert_eq!(statistics.warnings, []);
    }
}

#[test]
fn a_damaged_or_cut_compression_gives_what_comes_before() {
    let plain = capture(500);
    let (expected, _) = read(&plain).unwrap();
    for whole in [gzip(&plain), zstd::encode_all(&plain[..], 1).unwrap()] {
        let cut = &whole[..whole.len() * 2 / 3];
        let mut damaged = whole.clone();
        damaged[whole.len() * 2 / 3..].fill(0x5a);
        let (frames, statistics) = read(cut).unwrap();
        assert!(frames.len() > 10 && frames.len() < 500, "{}", frames.len());
        let complete = frames.len() - 1;
        assert_eq!(frames[..complete], expected[..complete]);
        assert!(expected[complete].data.starts_with(&frames[complete].data));
        assert_eq!(statistics.warnings.len(), 1);
        assert!(statistics.warnings[0].message.contains("compressed file is damaged"), "{statistics:?}");
        // Damage may be noticed late: some frames of nonsense may come before.
        let (frames, statistics) = read(&damaged).unwrap();
        assert_eq!(frames[..100], expected[..100]);
        assert_eq!(statistics.warnings.len(), 1);
    }
}

#[test]
fn compressed_things_that_are_no_captures() {
    for (bytes, seen) in [
        (gzip(b"no capture"), "begins with the text"),
        (gzip(b""), "it is empty"),
        (gzip(&gzip(b"")), "gzip-compressed twice"),
        (vec![0x1f, 0x8b, 8], "its compression is damaged"),
        (vec![0x28, 0xb5, 0x2f, 0xfd, 1, 2, 3], "its compression is damaged"),
    ] {
        let error = read(&bytes).unwrap_err();
        assert!(matches!(error, CaptureError::NotACapture { .. }), "{error}");
        assert!(error.to_string().contains(seen), "{error}");
    }
}

#[test]
fn a_pipe_gives_its_frames_as_they_come() {
    let bytes = capture(3);
    let ends = [24 + 17, 24 + 17 + 16 + 38];
    let (reading, mut writing) = io::pipe().unwrap();
    let path = format!("/dev/fd/{}", reading.as_raw_fd());
    writing.write_all(&bytes[..ends[0]]).unwrap();
    let mut files = Files::open(&[path], &Default::default()).unwrap();
    let mut seen = Vec::new();
    let mut see = |frames: &[vigie_wire::Frame<'_>]| seen.push((frames[0].number, frames.len()));
    assert!(files.next_batch(&mut see).unwrap());
    writing.write_all(&bytes[ends[0]..ends[1]]).unwrap();
    assert!(files.next_batch(&mut see).unwrap());
    writing.write_all(&bytes[ends[1]..]).unwrap();
    drop(writing);
    assert!(files.next_batch(&mut see).unwrap());
    assert!(!files.next_batch(&mut see).unwrap());
    assert_eq!(seen, [(1, 1), (2, 1), (3, 1)]);
    assert_eq!(files.position().bytes_total, None);
    assert_eq!(files.position().bytes_done, bytes.len() as u64);
}

#[test]
fn what_is_appended_while_reading_is_not_read() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(&capture(400)).unwrap();
    let mut files = open_alone(&file);
    file.write_all(&capture(400)[24..]).unwrap();
    let (frames, statistics) = drain(&mut files).unwrap();
    assert_eq!((frames.len(), statistics.warnings.len()), (400, 0));
}

fn open_alone(file: &tempfile::NamedTempFile) -> Files {
    Files::open(&[file.path()], &Default::default()).unwrap()
}

#[test]
fn what_was_read_ahead_is_there_when_the_file_is_not_and_no_more() {
    // Frames of one byte, so that the places of frames tell those of bytes.
    const RECORD: usize = 16 + 1;
    let mut builder = CaptureBuilder::classic(ByteOrder::Little, 0xa1b2_c3d4, 1);
    for number in 1..100_000 {
        builder = builder.record(number, 0, 1, &[1]);
    }
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(&builder.bytes).unwrap();
    let mut files = open_alone(&file);
    let mut block = Block::default();
    assert!(files.next_block(&mut block).unwrap());
    assert_eq!(block.len(), (BUFFER_BYTES - 24) / RECORD);
    for _ in 0..3 {
        files.read_ahead().unwrap().read();
    }
    assert_eq!(files.position().bytes_done, BUFFER_BYTES as u64);
    file.as_file().set_len(0).unwrap();
    let mut frames = block.len();
    while files.next_block(&mut block).unwrap() {
        files.read_ahead().inspect(|ahead| ahead.read());
        frames += block.len();
    }
    let (whole, rest) = (((1 + CHUNKS_AHEAD_MAX) * BUFFER_BYTES - 24) / RECORD, RECORD - 1);
    assert_eq!(frames, whole + usize::from(((1 + CHUNKS_AHEAD_MAX) * BUFFER_BYTES - 24) % RECORD == rest));
    let [warning] = &files.statistics().warnings[..] else { panic!("{:?}", files.statistics()) };
    assert!(warning.message.contains("was cut while it was being read"), "{warning}");
    assert!(files.read_ahead().is_none(), "a file that has ended");
}

#[test]
fn blocks_take_turns_in_the_same_memory() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(&capture(4000)).unwrap();
    let mut files = open_alone(&file);
    let mut blocks = [Block::default(), Block::default()];
    let mut places = std::collections::HashSet::new();
    let mut count = 0;
    while files.next_block(&mut blocks[count % 2]).unwrap() {
        let block = &blocks[count % 2];
        assert!(block.bytes.len() <= AHEAD_BYTES);
        count += 1;
        files.read_ahead().inspect(|ahead| ahead.read());
        // The first ones may still move when they are made longer.
        if count > 2 * (blocks.len() + 1 + CHUNKS_AHEAD_MAX) {
            places.insert(block.bytes.as_ptr());
        }
    }
    assert!(count > 30 && places.len() <= blocks.len() + 1 + CHUNKS_AHEAD_MAX, "{count} {}", places.len());
}

#[test]
fn nothing_is_read_ahead_where_that_could_hinder() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(&capture(400)).unwrap();
    let next = |files: &mut Files| {
        assert!(files.next_block(&mut Block::default()).unwrap());
        files.read_ahead().is_some()
    };
    assert!(next(&mut open_alone(&file)));
    let other = tempfile::NamedTempFile::new().unwrap();
    std::fs::copy(file.path(), other.path()).unwrap();
    let options = Default::default();
    assert!(!next(&mut Files::open(&[file.path(), other.path()], &options).unwrap()), "files that overlap");
    let filtered = crate::FilesOptions { filter: Some("not udp".to_owned()), ..Default::default() };
    assert!(!next(&mut Files::open(&[file.path()], &filtered).unwrap()), "frames that are copied");
    let (reading, mut writing) = io::pipe().unwrap();
    writing.write_all(&capture(3)).unwrap();
    let mut files = Files::open(&[format!("/dev/fd/{}", reading.as_raw_fd())], &options).unwrap();
    assert!(!next(&mut files), "a pipe, whose writer is not done");
}

#[test]
fn several_take_blocks_in_turns_and_read_ahead_at_once() {
    let plain = capture(3000);
    for bytes in [zstd::encode_all(&plain[..], 1).unwrap(), plain] {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&bytes).unwrap();
        let (expected, _) = drain(&mut open_alone(&file)).unwrap();
        let files = Mutex::new(open_alone(&file));
        let taker = || {
            let mut kept = Vec::new();
            let mut block = Block::default();
            loop {
                let mut files = files.lock().unwrap();
                let more = files.next_block(&mut block).unwrap();
                let ahead = files.read_ahead();
                drop(files);
                ahead.inspect(|ahead| ahead.read());
                kept.extend(block.iter().map(|frame| OwnedFrame::of(&frame)));
                if !more {
                    return kept;
                }
            }
        };
        let mut frames: Vec<OwnedFrame> = std::thread::scope(|scope| {
            let takers = [(); 4].map(|()| scope.spawn(taker));
            takers.into_iter().flat_map(|taker| taker.join().unwrap()).collect()
        });
        frames.sort_by_key(|frame| frame.number);
        assert!(frames == expected, "{} frames of {}", frames.len(), expected.len());
    }
}

/// A capture with frames of these lengths from a time on; what is longer than a frame can be is passed over.
fn fake(lengths: &[usize], is_pcapng: bool, time: u32) -> Vec<u8> {
    let mut file = if is_pcapng {
        CaptureBuilder::new(ByteOrder::Little).section(ByteOrder::Little).interface(LinkType::ETHERNET, 0, &[])
    } else {
        CaptureBuilder::classic(ByteOrder::Little, 0xa1b2_c3d4, 1)
    };
    for (&length, number) in lengths.iter().zip(time..) {
        let data = vec![number as u8 | 1; length];
        file = match is_pcapng {
            true if length > FRAME_BYTES_MAX => {
                file.block(0x0bad, &CaptureBuilder::new(ByteOrder::Little).raw(&data).padded())
            }
            true => file.enhanced(0, u64::from(number) * 1_000_000, length as u32, &data),
            false => file.record(number, 0, length as u32, &data[..length.min(FRAME_BYTES_MAX)]),
        };
    }
    file.bytes
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whichever way a capture is taken, it is the same.
    #[test]
    fn reading_ahead_changes_nothing(
        lengths in proptest::collection::vec(
            prop_oneof![40 => 1_usize..3000, 4 => 60_000_usize..70_000, 1 => 250_000_usize..=262_144, 1 => 262_145_usize..900_000],
            1..150),
        is_pcapng in any::<bool>(),
        compression in 0..3,
        second_file_begins in prop_oneof![Just(None), (0_u32..200).prop_map(Some)],
        left_of_1000 in prop_oneof![1 => Just(1000), 1 => 100_usize..1000],
        is_cut_while_open in any::<bool>(),
        steps in proptest::collection::vec((any::<bool>(), any::<bool>()), 1..20),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let mut paths = Vec::new();
        for time in [Some(1), second_file_begins.map(|begins| begins + 1)].into_iter().flatten() {
            let bytes = fake(&lengths, is_pcapng, time);
            let mut bytes = match compression {
                0 => bytes,
                1 => gzip(&bytes),
                _ => zstd::encode_all(&bytes[..], 1).unwrap(),
            };
            if !is_cut_while_open {
                bytes.truncate(bytes.len() * left_of_1000 / 1000);
            }
            paths.push(folder.path().join(time.to_string()));
            std::fs::write(paths.last().unwrap(), bytes).unwrap();
        }
        let whole = std::fs::read(&paths[0]).unwrap();
        let take = |drain: &mut dyn FnMut(&mut Files) -> Outcome| {
            let mut files = Files::open(&paths, &Default::default())?;
            // Of several files none is in reading yet.
            if is_cut_while_open && paths.len() == 1 {
                let file = std::fs::OpenOptions::new().write(true).open(&paths[0]).unwrap();
                file.set_len((whole.len() * left_of_1000 / 1000) as u64).unwrap();
            }
            let outcome = drain(&mut files);
            std::fs::write(&paths[0], &whole).unwrap();
            outcome
        };
        let expected = take(&mut drain);
        let step = |&(is_block, reads_ahead): &(bool, bool)| Step { is_block, reads_ahead };
        for steps in [&steps[..], &[(true, true)], &[(true, false)], &[(false, true)]] {
            assert_same(&expected, &take(&mut |files| drain_by(files, steps.iter().map(step))));
        }
    }
}

#[test]
fn lz4_frames_of_every_kind() {
    use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};
    let plain = capture(500);
    let (expected, _) = read(&plain).unwrap();
    let encode = |info: FrameInfo, bytes: &[u8]| {
        let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    };
    let small = || FrameInfo::new().block_size(BlockSize::Max64KB);
    let (front, back) = plain.split_at(300_001);
    let skippable = [&[0x50, 0x2a, 0x4d, 0x18, 5, 0, 0, 0][..], b"notes"].concat();
    let checked = small().block_mode(BlockMode::Linked).block_checksums(true).content_checksum(true);
    let several = [encode(checked, front), skippable, encode(small(), back)].concat();
    let legacy = encode(FrameInfo::new().legacy_frame(true), &plain);
    for bytes in [encode(small(), &plain), several.clone(), legacy] {
        let (frames, statistics) = read(&bytes).unwrap();
        assert_eq!((frames.len(), statistics.warnings.len()), (500, 0), "{statistics:?}");
        assert_eq!(frames, expected);
    }
    for bytes in [encode(small(), &plain), several] {
        let (frames, statistics) = read(&bytes[..bytes.len() * 2 / 3]).unwrap();
        assert!(frames.len() > 10 && frames.len() < 500 && statistics.warnings.len() == 1, "{}", frames.len());
        let complete = frames.len() - 1;
        assert_eq!(frames[..complete], expected[..complete]);
    }
}
