use super::super::CaptureError;
use super::super::record::INTERFACES_MAX;
use super::super::testing::{CaptureBuilder, OwnedFrame, read};
use super::interface::{Clock, IF_NAME, IF_TSOFFSET, IF_TSRESOL};
use super::*;
use proptest::prelude::*;

const ORDERS: [ByteOrder; 2] = [ByteOrder::Little, ByteOrder::Big];

fn start(order: ByteOrder) -> CaptureBuilder {
    CaptureBuilder::new(order).section(order)
}

fn ethernet(order: ByteOrder) -> CaptureBuilder {
    start(order).interface(LinkType::ETHERNET, 0, &[])
}

fn facts(frames: &[OwnedFrame]) -> Vec<(u64, u64, u16, &[u8])> {
    frames.iter().map(|frame| (frame.number, frame.timestamp_ns, frame.interface, &frame.data[..])).collect()
}

#[test]
fn enhanced_simple_and_obsolete_packets() {
    for order in ORDERS {
        let obsolete = CaptureBuilder::new(order).u16(0).u16(9).u32(1).u32(5).u32(3).u32(80).raw(b"old").padded();
        let simple = CaptureBuilder::new(order).u32(6).raw(b"simple").padded();
        let file = ethernet(order)
            .enhanced(0, 0x1_0000_0001, 60, b"enhanced")
            .block(0x0bad, &CaptureBuilder::new(order).raw(b"unknown."))
            .block(SIMPLE_PACKET, &simple)
            .block(OBSOLETE_PACKET, &obsolete);
        let (frames, statistics) = read(&file.bytes).unwrap();
        let expected = [
            (1, 4_294_967_297_000, 0, &b"enhanced"[..]),
            (2, 4_294_967_297_000, 0, b"simple"),
            (3, 4_294_967_301_000, 0, b"old"),
        ];
        assert_eq!(facts(&frames), expected);
        assert_eq!(frames.iter().map(|frame| frame.wire_length).collect::<Vec<_>>(), [60, 6, 80]);
        assert_eq!(statistics.warnings, []);
    }
}

#[test]
fn a_simple_packet_is_as_long_as_the_snapshot_length_lets_it() {
    let order = ByteOrder::Big;
    let simple = CaptureBuilder::new(order).u32(100).raw(b"abcdefgh");
    for (snapshot, data) in [(6, &b"abcdef"[..]), (0, b"abcdefgh"), (64, b"abcdefgh")] {
        let file = start(order).interface(LinkType::RAW, snapshot, &[]).block(SIMPLE_PACKET, &simple);
        let (frames, _) = read(&file.bytes).unwrap();
        assert_eq!((&frames[0].data[..], frames[0].wire_length), (data, 100));
    }
}

#[test]
fn clocks_of_every_kind() {
    for (resolution, offset, ticks, nanoseconds) in [
        (6_u8, 0_i64, 7, 7000),
        (0, 0, 7, 7_000_000_000),
        (3, 0, 7, 7_000_000),
        (9, 0, 7, 7),
        (9, 0, u64::MAX, u64::MAX),
        (6, 0, u64::MAX, u64::MAX),
        (12, 0, 7_999, 7),
        (127, 0, u64::MAX, 0),
        (0x80, 0, 3, 3_000_000_000),
        (0x80 | 10, 0, 1536, 1_500_000_000),
        (0x80 | 32, 0, 1 << 31, 500_000_000),
        (0x80 | 127, 0, u64::MAX, 0),
        (0x80, 0, u64::MAX, u64::MAX),
        (6, 10, 7, 10_000_007_000),
        (6, -1, 7_000_000, 6_000_000_000),
        (6, -8, 7_000_000, 0),
        (9, i64::MAX, 0, u64::MAX),
        (9, i64::MIN, u64::MAX, 0),
    ] {
        assert_eq!(Clock::new(resolution, offset).nanoseconds(ticks), nanoseconds, "{resolution} {offset} {ticks}");
    }
}

#[test]
fn an_interface_tells_its_clock_and_name() {
    for order in ORDERS {
        let offset = if order == ByteOrder::Big { 100_u64.to_be_bytes() } else { 100_u64.to_le_bytes() };
        let file = start(order)
            .interface(LinkType::ETHERNET, 0, &[(3, b"a tap"), (IF_NAME, b"eth0"), (IF_TSRESOL, &[9]), (0, b"")])
            .interface(LinkType::LINUX_SLL, 0, &[(IF_TSOFFSET, &offset), (IF_NAME, b"any\0")])
            .interface(LinkType::ETHERNET, 0, &[(0, b""), (IF_TSRESOL, &[9])])
            .enhanced(1, 1, 1, b"b")
            .enhanced(0, 1, 1, b"a")
            .enhanced(2, 1, 1, b"c");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.pcapng");
        std::fs::write(&path, &file.bytes).unwrap();
        let mut files = super::super::Files::open(&[path], &Default::default()).unwrap();
        let (frames, _) = super::super::testing::drain(&mut files).unwrap();
        assert_eq!(facts(&frames), [(1, 100_000_001_000, 1, &b"b"[..]), (2, 1, 0, b"a"), (3, 1000, 2, b"c")]);
        assert_eq!(frames[0].link_type, LinkType::LINUX_SLL);
        use super::super::Source;
        let names: Vec<_> = (0..4).map(|number| files.interface_name(number)).collect();
        assert_eq!(names, [Some("eth0"), Some("any"), None, None]);
    }
}

#[test]
fn sections_of_different_byte_orders_have_their_own_interfaces() {
    let file = ethernet(ByteOrder::Little)
        .enhanced(0, 1, 1, b"a")
        .section(ByteOrder::Big)
        .interface(LinkType::RAW, 0, &[(IF_NAME, b"tun0")])
        .enhanced(0, 2, 1, b"b")
        .section(ByteOrder::Little)
        .interface(LinkType::RAW, 0, &[(IF_NAME, b"tun0")])
        .interface(LinkType::ETHERNET, 0, &[])
        .enhanced(0, 3, 1, b"c")
        .enhanced(1, 4, 1, b"d");
    let (frames, statistics) = read(&file.bytes).unwrap();
    let expected = [(1, 1000, 0, &b"a"[..]), (2, 2000, 1, b"b"), (3, 3000, 1, b"c"), (4, 4000, 2, b"d")];
    assert_eq!(facts(&frames), expected);
    assert_eq!(frames[1].link_type, LinkType::RAW);
    assert_eq!(statistics.warnings, []);
}

#[test]
fn frames_of_unsupported_and_unknown_interfaces_count() {
    let file = start(ByteOrder::Little)
        .interface(LinkType(3), 0, &[])
        .interface(LinkType::ETHERNET, 0, &[])
        .enhanced(0, 1, 1, b"a")
        .enhanced(1, 2, 1, b"b")
        .enhanced(5, 3, 1, b"c")
        .enhanced(6, 3, 1, b"d")
        .enhanced(1, 4, 1, b"e");
    let (frames, statistics) = read(&file.bytes).unwrap();
    assert_eq!(facts(&frames), [(2, 2000, 1, &b"b"[..]), (5, 4000, 1, b"e")]);
    assert_eq!(statistics.frames_unsupported, 3);
    let warnings: Vec<_> = statistics.warnings.iter().map(|warning| warning.message.to_string()).collect();
    assert_eq!(warnings.len(), 2);
    assert!(warnings[0].contains("link type 3 (AX25)") && warnings[1].contains("not described"), "{warnings:?}");
}

#[test]
fn no_supported_interface_at_all_is_an_error() {
    let file = start(ByteOrder::Big).interface(LinkType(3), 0, &[]).interface(LinkType(2), 0, &[]);
    for bytes in [&file.bytes, &file.clone().enhanced(0, 1, 1, b"a").bytes] {
        let error = read(bytes).unwrap_err();
        assert!(matches!(error, CaptureError::LinkType { number: 3, .. }), "{error}");
    }
    assert_eq!(read(&start(ByteOrder::Big).bytes).unwrap().0, []);
}

#[test]
fn every_cut_gives_what_is_there() {
    for order in ORDERS {
        let head = ethernet(order).bytes.len();
        let one = ethernet(order).enhanced(0, 1, 60, b"first, longer").bytes.len();
        let whole = ethernet(order).enhanced(0, 1, 60, b"first, longer").enhanced(0, 2, 60, b"second").bytes;
        for cut in head..whole.len() {
            let (frames, statistics) = read(&whole[..cut]).unwrap();
            let (complete, since, data) = if cut < one { (0, cut - head, 13) } else { (1, cut - one, 6) };
            let partial = since.saturating_sub(28).min(data);
            assert_eq!(frames.len(), complete + usize::from(partial > 0), "cut at {cut}");
            if partial > 0 {
                assert_eq!(frames[complete].data.len(), partial);
            }
            assert_eq!(statistics.warnings.len(), usize::from(since > 0));
            assert!(statistics.warnings.iter().all(|warning| warning.offset == (cut - since) as u64));
        }
    }
    let simple = CaptureBuilder::new(ByteOrder::Big).u32(8).raw(b"abcdefgh");
    let whole = ethernet(ByteOrder::Big).block(SIMPLE_PACKET, &simple).bytes;
    assert_eq!(read(&whole[..whole.len() - 9]).unwrap().0[0].data, b"abc");
    assert_eq!(read(&whole[..whole.len() - 12]).unwrap().0, []);
}

#[test]
fn damage_ends_the_reading_where_it_stands() {
    let order = ByteOrder::Little;
    let good = ethernet(order).enhanced(0, 1, 5, b"first");
    let again = |damage: CaptureBuilder| damage.enhanced(0, 2, 6, b"second").bytes;
    let long = CaptureBuilder::new(order).u32(0).u32(0).u32(0).u32(9).u32(9).raw(b"12345678");
    let huge = CaptureBuilder::new(order).u32(0).u32(0).u32(0).u32(300_000).u32(9).raw(&vec![0; 300_000]);
    let orderless = CaptureBuilder::new(order).u32(7).u16(1).u16(0).u32(0).u32(0);
    for (name, bytes) in [
        ("length too small", again(good.clone().u32(6).u32(11))),
        ("length too large", again(good.clone().u32(6).u32(BLOCK_BYTES_MAX as u32 + 4))),
        ("lengths differ", again(good.clone().u32(0x0bad).u32(16).u32(0).u32(20))),
        ("captured beyond the block", again(good.clone().block(ENHANCED_PACKET, &long))),
        ("captured beyond all", again(good.clone().block(ENHANCED_PACKET, &huge))),
        ("too short for a packet", again(good.clone().block(ENHANCED_PACKET, &CaptureBuilder::new(order).u32(0)))),
        ("too short for a simple one", again(good.clone().block(SIMPLE_PACKET, &CaptureBuilder::new(order)))),
        (
            "too short for an interface",
            again(good.clone().block(INTERFACE_DESCRIPTION, &CaptureBuilder::new(order).u32(0))),
        ),
        ("no byte order", again(good.clone().block(SECTION_HEADER, &orderless))),
        ("zeros", again(good.clone().raw(&[0; 64]))),
    ] {
        let (frames, statistics) = read(&bytes).unwrap();
        assert_eq!(facts(&frames), [(1, 1000, 0, &b"first"[..])], "{name}");
        assert_eq!(statistics.warnings.len(), 1, "{name}");
        assert_eq!(statistics.warnings[0].offset, good.bytes.len() as u64, "{name}");
    }
}

#[test]
fn sections_of_other_versions() {
    let order = ByteOrder::Little;
    let version = |major, minor| CaptureBuilder::new(order).u32(BYTE_ORDER_MAGIC).u16(major).u16(minor).u32(0).u32(0);
    let file = ethernet(order)
        .enhanced(0, 1, 1, b"a")
        .block(SECTION_HEADER, &version(2, 0))
        .interface(LinkType::ETHERNET, 0, &[])
        .enhanced(0, 2, 1, b"b")
        .block(SECTION_HEADER, &version(1, 1))
        .interface(LinkType::RAW, 0, &[])
        .enhanced(0, 3, 1, b"c")
        .block(SECTION_HEADER, &version(1, 2))
        .interface(LinkType::RAW, 0, &[])
        .enhanced(0, 4, 1, b"d");
    let (frames, statistics) = read(&file.bytes).unwrap();
    let data: Vec<_> = frames.iter().map(|frame| &frame.data[..]).collect();
    assert_eq!(data, [b"a", b"c", b"d"]);
    let warnings: Vec<_> = statistics.warnings.iter().map(|warning| &warning.message[..24]).collect();
    assert_eq!(warnings, ["a section of version 2.0", "a section of version 1.1"]);
    let first = ethernet(order).enhanced(0, 1, 1, b"a").bytes.len() as u64;
    assert_eq!(statistics.warnings[0].offset, first);
    let error = read(&CaptureBuilder::new(order).block(SECTION_HEADER, &version(0, 1)).bytes).unwrap_err();
    assert!(error.to_string().contains("pcapng section header of a version other"), "{error}");
}

#[test]
fn a_section_header_that_is_none_is_no_capture() {
    let order = ByteOrder::Little;
    let orderless = CaptureBuilder::new(order).u32(7).u16(1).u16(0).u32(0).u32(0);
    for bytes in [
        &CaptureBuilder::new(order).block(SECTION_HEADER, &orderless).bytes,
        &start(order).bytes[..20],
        &start(order).bytes[..5],
    ] {
        let error = read(bytes).unwrap_err();
        assert!(matches!(error, CaptureError::NotACapture { .. }), "{error}");
        assert!(error.to_string().contains("pcapng section header"), "{error}");
    }
}

#[test]
fn a_section_header_may_be_long() {
    let order = ByteOrder::Big;
    let body = CaptureBuilder::new(order).u32(BYTE_ORDER_MAGIC).u16(1).u16(0).u32(0).u32(0).raw(&vec![9; 50_000]);
    let file = CaptureBuilder::new(order)
        .block(SECTION_HEADER, &body)
        .interface(LinkType::ETHERNET, 0, &[])
        .block(0x0bad, &CaptureBuilder::new(order).raw(&vec![0; 1 << 20]))
        .enhanced(0, 1, 1, b"a");
    assert_eq!(read(&file.bytes).unwrap().0.len(), 1);
}

#[test]
fn interfaces_without_end_are_bounded() {
    let order = ByteOrder::Little;
    let mut file = start(order);
    for _ in 0..INTERFACES_MAX + 10 {
        file = file.interface(LinkType::ETHERNET, 0, &[]);
    }
    file = file.enhanced(INTERFACES_MAX as u32 - 1, 1, 1, b"a").enhanced(INTERFACES_MAX as u32, 1, 1, b"b");
    let (frames, statistics) = read(&file.bytes).unwrap();
    assert_eq!(facts(&frames), [(1, 1000, INTERFACES_MAX as u16 - 1, &b"a"[..])]);
    assert_eq!(statistics.frames_unsupported, 1);
    file = file.section(order);
    for _ in 0..2000 {
        file = file.interface(LinkType(3), 0, &[]);
    }
    let (_, statistics) = read(&file.bytes).unwrap();
    assert_eq!(statistics.warnings.len(), super::super::WARNINGS_MAX);
    assert_eq!(statistics.warnings_left_out as usize, 2001 - super::super::WARNINGS_MAX);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_bytes_end(bytes in proptest::collection::vec(any::<u8>(), 0..600), big in any::<bool>()) {
        let _ = read(&ethernet(ORDERS[usize::from(big)]).raw(&bytes).bytes).unwrap();
        let _ = read(&CaptureBuilder::new(ByteOrder::Big).u32(SECTION_HEADER).raw(&bytes).bytes);
    }

    #[test]
    fn any_block_ends(
        blocks in proptest::collection::vec(
            (0_u32..8, proptest::collection::vec(prop_oneof![Just(0_u8), any::<u8>()], 0..60)), 0..150),
        big in any::<bool>(),
        flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
    ) {
        let order = ORDERS[usize::from(big)];
        let mut file = ethernet(order);
        for (kind, body) in &blocks {
            file = file.block(*kind, &CaptureBuilder::new(order).raw(body).padded());
        }
        let head = start(order).bytes.len();
        for (place, value) in flips {
            let place = place.index(file.bytes.len()).max(head);
            file.bytes[place] = value;
        }
        if let Ok((frames, statistics)) = read(&file.bytes) {
            prop_assert!(frames.len() as u64 + statistics.frames_unsupported <= blocks.len() as u64 + 10);
        }
    }
}

/// An enhanced packet block whose length does not count the padding.
fn unpadded(order: ByteOrder, ticks: u32, data: &[u8], body_is_padded: bool) -> Vec<u8> {
    let length = 32 + data.len() as u32;
    let block = CaptureBuilder::new(order).u32(ENHANCED_PACKET).u32(length).u32(0).u32(0).u32(ticks);
    let block = block.u32(data.len() as u32).u32(data.len() as u32).raw(data);
    let block = if body_is_padded { block.padded() } else { block };
    block.u32(length).bytes
}

#[test]
fn blocks_whose_length_does_not_count_the_padding() {
    for order in ORDERS {
        for body_is_padded in [false, true] {
            let mut file = ethernet(order);
            let mut expected = Vec::new();
            for number in 1..=40_u32 {
                let data = vec![number as u8; number as usize % 7 + 1];
                file = file.raw(&unpadded(order, number, &data, body_is_padded));
                expected.push((u64::from(number) * 1000, data));
            }
            let (frames, statistics) = read(&file.bytes).unwrap();
            let found: Vec<_> = frames.into_iter().map(|frame| (frame.timestamp_ns, frame.data)).collect();
            assert_eq!(found, expected, "{order:?} {body_is_padded}");
            assert_eq!(statistics.warnings, []);
        }
    }
}

#[test]
fn a_long_block_of_no_interest_is_skipped() {
    let order = ByteOrder::Little;
    for length in [BLOCK_BYTES_MAX, BLOCK_BYTES_MAX + 4, BLOCK_BYTES_MAX + 300_000] {
        let long = CaptureBuilder::new(order).raw(&vec![7; length - 12]);
        let before = ethernet(order).enhanced(0, 1, 1, b"a");
        let file = before.clone().block(0x0bad, &long).enhanced(0, 2, 1, b"b");
        let (frames, statistics) = read(&file.bytes).unwrap();
        assert_eq!(facts(&frames), [(1, 1000, 0, &b"a"[..]), (2, 2000, 0, b"b")]);
        assert_eq!(statistics.warnings, []);
        let (frames, statistics) = read(&file.bytes[..before.bytes.len() + length - 5]).unwrap();
        assert_eq!((frames.len(), statistics.warnings.len()), (1, 1), "{statistics:?}");
    }
}

#[test]
fn frames_of_a_supported_interface_behind_many_others() {
    let order = ByteOrder::Big;
    let mut file = start(order).interface(LinkType(u16::MAX - 1), 0, &[]);
    for number in 0..300 {
        file = file.enhanced(0, number, 1, &[7; 1000]);
    }
    let file = file.interface(LinkType::ETHERNET, 0, &[]).enhanced(1, 300, 1, b"a");
    let (frames, statistics) = read(&file.bytes).unwrap();
    assert_eq!(facts(&frames), [(301, 300_000, 1, &b"a"[..])]);
    assert_eq!(statistics.frames_unsupported, 300);
}
