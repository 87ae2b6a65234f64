use super::super::CaptureError;
use super::super::testing::{CaptureBuilder, OwnedFrame, read};
use super::*;
use proptest::prelude::*;
use vigie_wire::LinkType;

const ORDERS: [ByteOrder; 2] = [ByteOrder::Little, ByteOrder::Big];

fn three(order: ByteOrder) -> CaptureBuilder {
    CaptureBuilder::classic(order, MICROSECONDS, 1)
        .record(10, 1, 60, b"first")
        .record(11, 2, 6, b"second")
        .record(12, 999_999, 5, b"third")
}

fn plain(timestamp_ns: u64, number: u64, wire_length: u32, data: &[u8]) -> OwnedFrame {
    OwnedFrame { timestamp_ns, number, wire_length, link_type: LinkType::ETHERNET, interface: 0, data: data.to_vec() }
}

#[test]
fn both_byte_orders_and_both_units() {
    for order in ORDERS {
        let (frames, statistics) = read(&three(order).bytes).unwrap();
        let expected = [
            plain(10_000_001_000, 1, 60, b"first"),
            plain(11_000_002_000, 2, 6, b"second"),
            plain(12_999_999_000, 3, 5, b"third"),
        ];
        assert_eq!(frames, expected);
        assert_eq!(statistics.warnings, []);
        let fine = CaptureBuilder::classic(order, NANOSECONDS, 1).record(u32::MAX, 123_456_789, 5, b"first");
        let (frames, _) = read(&fine.bytes).unwrap();
        assert_eq!(frames, [plain(4_294_967_295_123_456_789, 1, 5, b"first")]);
    }
}

#[test]
fn the_variant_with_long_record_headers() {
    for order in ORDERS {
        let file = CaptureBuilder::classic(order, LONG_RECORDS, 1)
            .u32(10)
            .u32(1)
            .u32(5)
            .u32(60)
            .u32(2)
            .u16(8)
            .raw(&[4, 0])
            .raw(b"first")
            .u32(11)
            .u32(2)
            .u32(3)
            .u32(3)
            .u32(2)
            .u16(8)
            .raw(&[4, 0])
            .raw(b"two");
        let (frames, statistics) = read(&file.bytes).unwrap();
        assert_eq!(frames, [plain(10_000_001_000, 1, 60, b"first"), plain(11_000_002_000, 2, 3, b"two")]);
        assert_eq!(statistics.warnings, []);
        // Cut within the part of the header that only this variant has.
        let cut = &file.bytes[..24 + 29 + 20];
        let (frames, statistics) = read(cut).unwrap();
        assert_eq!((frames.len(), statistics.warnings.len()), (1, 1));
    }
}

#[test]
fn link_types_are_taken_from_the_lower_half_of_the_field() {
    for (field, link_type) in [
        (0x0200_0001, LinkType::ETHERNET),
        (0x2400_0071, LinkType::LINUX_SLL),
        (12, LinkType::RAW),
        (14, LinkType::RAW),
    ] {
        let file = CaptureBuilder::classic(ByteOrder::Little, MICROSECONDS, field).record(1, 0, 1, b"x");
        assert_eq!(read(&file.bytes).unwrap().0[0].link_type, link_type);
    }
}

#[test]
fn an_unsupported_link_type_is_named() {
    let error =
        read(&CaptureBuilder::classic(ByteOrder::Big, MICROSECONDS, 3).record(1, 0, 1, b"x").bytes).unwrap_err();
    assert!(matches!(error, CaptureError::LinkType { number: 3, name: "AX25", .. }), "{error}");
    assert!(error.to_string().ends_with("a.pcap: link type 3 (AX25) is not supported"), "{error}");
}

#[test]
fn old_files_may_have_the_lengths_the_other_way_round() {
    let mut file = CaptureBuilder::new(ByteOrder::Big).u32(MICROSECONDS).u16(2).u16(2).u32(0).u32(0).u32(96).u32(1);
    file = file.u32(1).u32(0).u32(60).u32(3).raw(b"abc");
    assert_eq!(read(&file.bytes).unwrap().0, [plain(1_000_000_000, 1, 60, b"abc")]);
}

#[test]
fn a_frame_is_never_longer_than_on_the_wire() {
    let file =
        CaptureBuilder::classic(ByteOrder::Little, MICROSECONDS, 1).record(1, 0, 2, b"abcdef").record(2, 0, 0, b"");
    let (frames, statistics) = read(&file.bytes).unwrap();
    assert_eq!(frames, [plain(1_000_000_000, 1, 6, b"abcdef"), plain(2_000_000_000, 2, 0, b"")]);
    assert_eq!(statistics.warnings, []);
}

#[test]
fn every_cut_gives_what_is_there() {
    let whole = three(ByteOrder::Little).bytes;
    let ends = [24, 24 + 21, 24 + 21 + 22, whole.len()];
    for cut in 24..whole.len() {
        let (frames, statistics) = read(&whole[..cut]).unwrap();
        let complete = ends.iter().filter(|&&end| end <= cut).count() - 1;
        let there = cut - ends[complete];
        let partial = there.saturating_sub(16);
        assert_eq!(frames.len(), complete + usize::from(partial > 0), "cut at {cut}");
        if partial > 0 {
            let last = frames.last().unwrap();
            assert_eq!(last.data, whole[ends[complete] + 16..cut]);
        }
        let offsets: Vec<u64> = statistics.warnings.iter().map(|warning| warning.offset).collect();
        assert_eq!(offsets, if there > 0 { vec![ends[complete] as u64] } else { vec![] });
    }
}

#[test]
fn an_absurd_length_ends_the_reading_where_it_stands() {
    let limit = FRAME_BYTES_MAX as u32;
    let file = three(ByteOrder::Little).u32(13).u32(0).u32(limit + 1).u32(limit + 1).raw(&[0; 100]);
    let (frames, statistics) = read(&file.bytes).unwrap();
    assert_eq!(frames.len(), 3);
    assert_eq!(statistics.warnings[0].offset, three(ByteOrder::Little).bytes.len() as u64);
    assert!(statistics.warnings[0].to_string().contains("a.pcap: at byte 88: a frame longer"), "{statistics:?}");
    let largest = three(ByteOrder::Little).record(13, 0, limit, &vec![1; FRAME_BYTES_MAX]).record(14, 0, 1, b"x");
    let (frames, statistics) = read(&largest.bytes).unwrap();
    assert_eq!((frames.len(), frames[3].data.len(), statistics.warnings.len()), (5, FRAME_BYTES_MAX, 0));
}

#[test]
fn zeros_as_a_crash_leaves_them_are_no_frames() {
    let (frames, statistics) = read(&three(ByteOrder::Big).raw(&[0; 4096]).bytes).unwrap();
    assert_eq!((frames.len(), statistics.warnings.len(), statistics.warnings[0].offset), (3, 1, 88));
}

#[test]
fn what_is_no_capture_is_told() {
    let header = three(ByteOrder::Big).bytes;
    let future = [&header[..4], &[0, 3], &header[6..]].concat();
    for (bytes, seen) in [
        (&b""[..], "it is empty"),
        (&header[..3], "it begins with the bytes a1 b2 c3"),
        (&header[..23], "its header is cut short at 23 of 24 bytes"),
        (&future, "a pcap file of version 3.4"),
        (b"hello, world, this is text", "it begins with the text \"hello, world, th\""),
        (b"PK\x03\x04....", "it is a zip archive"),
    ] {
        let error = read(bytes).unwrap_err();
        assert!(matches!(error, CaptureError::NotACapture { .. }), "{error}");
        assert!(error.to_string().contains(seen), "{error}");
    }
    let (frames, statistics) = read(&header[..24]).unwrap();
    assert_eq!((frames.len(), statistics.warnings.len()), (0, 0));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_written_is_read(
        big in any::<bool>(),
        frames in proptest::collection::vec(
            (1..=u32::MAX, 0_u32..1_000_000, 0_u32..3000, proptest::collection::vec(any::<u8>(), 0..2000)), 0..200),
    ) {
        let order = ORDERS[usize::from(big)];
        let mut file = CaptureBuilder::classic(order, MICROSECONDS, 1);
        let mut expected = Vec::new();
        for (number, (seconds, fraction, more, data)) in frames.iter().enumerate() {
            let wire = data.len() as u32 + more;
            file = file.record(*seconds, *fraction, wire, data);
            let timestamp_ns = u64::from(*seconds) * 1_000_000_000 + u64::from(*fraction) * 1000;
            expected.push(plain(timestamp_ns, number as u64 + 1, wire, data));
        }
        prop_assert_eq!(read(&file.bytes).unwrap().0, expected);
    }

    #[test]
    fn any_bytes_end(bytes in proptest::collection::vec(any::<u8>(), 0..600), big in any::<bool>()) {
        let _ = read(&bytes);
        let file = CaptureBuilder::classic(ORDERS[usize::from(big)], MICROSECONDS, 1).raw(&bytes);
        let (frames, _) = read(&file.bytes).unwrap();
        prop_assert!(frames.len() <= bytes.len() / 16);
    }
}

/// A file whose records have headers of this length, whatever the magic number says, with Ethernet frames.
fn with_headers(order: ByteOrder, magic: u32, header_bytes: usize, frames: usize) -> (Vec<u8>, Vec<OwnedFrame>) {
    let mut file = CaptureBuilder::classic(order, magic, 1);
    let mut expected = Vec::new();
    for number in 1..=frames {
        let mut data = vec![number as u8; 60 + number * 7 % 40];
        data[12..14].copy_from_slice(&[8, 0]);
        let length = data.len() as u32;
        file = file.u32(1_700_000_000).u32(number as u32).u32(length).u32(length);
        // Interface index, protocol and packet type.
        file = file.raw(&[2, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0][..header_bytes - 16]).raw(&data);
        let timestamp_ns = 1_700_000_000_000_000_000 + number as u64 * 1000;
        expected.push(plain(timestamp_ns, number as u64, length, &data));
    }
    (file.bytes, expected)
}

#[test]
fn the_first_records_tell_the_length_of_their_headers() {
    for order in ORDERS {
        for magic in [MICROSECONDS, LONG_RECORDS] {
            for header_bytes in [16, 20, 24, 28] {
                for count in [1, 2, 3, 200] {
                    let (bytes, expected) = with_headers(order, magic, header_bytes, count);
                    let (frames, statistics) = read(&bytes).unwrap();
                    assert_eq!(frames, expected, "{order:?} {magic:x} {header_bytes} {count}");
                    assert_eq!(statistics.warnings, [], "{order:?} {magic:x} {header_bytes} {count}");
                }
            }
        }
    }
}

#[test]
fn from_a_pipe_too() {
    for header_bytes in [16, 20, 24, 28] {
        for pause_at in [24, 24 + header_bytes + 67, 24 + header_bytes + 67 + 30] {
            let (bytes, expected) = with_headers(ByteOrder::Little, MICROSECONDS, header_bytes, 5);
            let (reading, mut writing) = std::io::pipe().unwrap();
            let path = format!("/dev/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&reading));
            std::io::Write::write_all(&mut writing, &bytes[..pause_at]).unwrap();
            let rest = bytes[pause_at..].to_vec();
            let writer = std::thread::spawn(move || {
                std::thread::sleep(std::time::Duration::from_millis(30));
                std::io::Write::write_all(&mut writing, &rest).unwrap();
            });
            let mut files = crate::Files::open(&[path], &Default::default()).unwrap();
            let (frames, _) = crate::testing::drain(&mut files).unwrap();
            writer.join().unwrap();
            // A frame that came alone may have been taken for one behind a shorter header.
            assert_eq!(frames[1..], expected[1..], "{header_bytes} {pause_at}");
        }
    }
}

#[test]
fn ixia_files_begin_with_the_length_of_their_records() {
    for (magic, unit_ns) in [(IXIA_HARDWARE, 1), (IXIA_SOFTWARE, 1000)] {
        for order in ORDERS {
            let file = CaptureBuilder::classic(order, magic, 1).u32(2 * 16 + 11);
            let file = file.record(10, 7, 60, b"first").record(11, 9, 6, b"second");
            let (frames, statistics) = read(&file.bytes).unwrap();
            let expected = [
                plain(10_000_000_000 + 7 * unit_ns, 1, 60, b"first"),
                plain(11_000_000_000 + 9 * unit_ns, 2, 6, b"second"),
            ];
            assert_eq!((frames, statistics.warnings), (expected.to_vec(), vec![]));
        }
    }
}

#[test]
fn old_versions_are_read() {
    for (major, minor) in [(2, 0), (2, 1), (2, 2), (2, 3), (2, 4), (543, 0)] {
        let file = CaptureBuilder::new(ByteOrder::Big).u32(MICROSECONDS).u16(major).u16(minor);
        let file = file.u32(0).u32(0).u32(96).u32(1).record(1, 0, 60, b"abc").record(2, 0, 60, b"abcd");
        let (frames, statistics) = read(&file.bytes).unwrap();
        assert_eq!(frames, [plain(1_000_000_000, 1, 60, b"abc"), plain(2_000_000_000, 2, 60, b"abcd")]);
        assert_eq!(statistics.warnings, []);
    }
}

#[test]
fn zeros_between_records_are_skipped() {
    for order in ORDERS {
        for zeros in [16, 32, 48, 4096, 5000] {
            let file = three(order).raw(&vec![0; zeros]).record(1_700_000_000, 5, 5, b"after").record(
                1_700_000_000,
                6,
                4,
                b"last",
            );
            let (frames, statistics) = read(&file.bytes).unwrap();
            let data: Vec<&[u8]> = frames.iter().map(|frame| &frame.data[..]).collect();
            assert_eq!(data, [&b"first"[..], b"second", b"third", b"after", b"last"], "{order:?} {zeros}");
            assert_eq!((statistics.warnings.len(), statistics.warnings[0].offset), (1, 88));
        }
        let first = CaptureBuilder::classic(order, MICROSECONDS, 1).raw(&[0; 16]).record(1_700_000_000, 5, 5, b"after");
        assert_eq!(read(&first.bytes).unwrap().0.len(), 1, "{order:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// A file of odd headers, cut anywhere, gives whole frames of those that it had, and nothing else but perhaps the last.
    #[test]
    fn odd_headers_cut_anywhere(
        header_bytes in prop_oneof![Just(16_usize), Just(20), Just(24), Just(28)],
        big in any::<bool>(),
        is_long in any::<bool>(),
        count in 3_usize..40,
        cut in any::<prop::sample::Index>(),
    ) {
        let magic = if is_long { LONG_RECORDS } else { MICROSECONDS };
        let (bytes, expected) = with_headers(ORDERS[usize::from(big)], magic, header_bytes, count);
        // Three whole records tell the layout.
        let least: usize = 24 + expected[..3].iter().map(|frame| header_bytes + frame.data.len()).sum::<usize>();
        let cut = least + cut.index(bytes.len() - least + 1);
        let (frames, _) = read(&bytes[..cut]).unwrap();
        let whole = frames.len().saturating_sub(1);
        prop_assert!(whole >= 2 && frames.len() <= count);
        prop_assert_eq!(&frames[..whole], &expected[..whole]);
        prop_assert!(expected[whole].data.starts_with(&frames[whole].data));
    }
}
