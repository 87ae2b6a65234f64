//! The classic pcap format: a file header, then a header and bytes for each frame (draft-ietf-opsawg-pcap).
//! Microseconds and nanoseconds, both byte orders, and the variant with longer record headers that old Linux
//! systems wrote.

use super::FRAME_BYTES_MAX;
use super::record::{ByteOrder, Halt, Interfaces, Record, Records};
use vigie_wire::{Frame, LinkType};

/// Bytes of the file header.
const FILE_HEADER_BYTES: usize = 24;

/// Magic numbers (draft-ietf-opsawg-pcap §4).
const MICROSECONDS: u32 = 0xa1b2_c3d4;
const NANOSECONDS: u32 = 0xa1b2_3c4d;
/// The variant whose record headers also tell the interface's index, the protocol and the packet's direction.
const LONG_RECORDS: u32 = 0xa1b2_cd34;

/// Reads the records of a file whose header is read.
#[derive(Debug)]
pub(super) struct Classic {
    order: ByteOrder,
    /// Nanoseconds in a unit of the record's second number.
    unit_ns: u64,
    record_header_bytes: usize,
    /// Files up to version 2.3 may have the two lengths of a record in the other order.
    lengths_may_be_swapped: bool,
    link_type: LinkType,
    supported: bool,
    interface: u16,
}

impl Classic {
    /// Whether a file that begins so is of this format.
    pub(super) fn recognises(start: [u8; 4]) -> bool {
        Self::magic(start).is_some()
    }

    fn magic(start: [u8; 4]) -> Option<(ByteOrder, u32)> {
        [ByteOrder::Little, ByteOrder::Big]
            .into_iter()
            .map(|order| (order, order.u32(start)))
            .find(|(_, magic)| matches!(*magic, MICROSECONDS | NANOSECONDS | LONG_RECORDS))
    }

    /// Reads the file header. How many bytes it has comes with it.
    ///
    /// # Errors
    /// Tells what is wrong with it.
    pub(super) fn open(bytes: &[u8], interfaces: &mut Interfaces) -> Result<(Self, usize), String> {
        let Some((&[a, b, c, d, major0, major1, minor0, minor1, .., link0, link1, link2, link3], _)) =
            bytes.split_first_chunk::<FILE_HEADER_BYTES>()
        else {
            return Err(format!("its header is cut short at {} of {FILE_HEADER_BYTES} bytes", bytes.len()));
        };
        let (order, magic) = Self::magic([a, b, c, d]).ok_or_else(|| "no magic number".to_owned())?;
        let (major, minor) = (order.u16([major0, major1]), order.u16([minor0, minor1]));
        if major != 2 {
            return Err(format!("a pcap file of version {major}.{minor}, where only 2.x is known"));
        }
        let link_type = LinkType::from_file(order.u32([link0, link1, link2, link3]));
        let classic = Self {
            order,
            unit_ns: if magic == NANOSECONDS { 1 } else { 1000 },
            record_header_bytes: if magic == LONG_RECORDS { 24 } else { 16 },
            lengths_may_be_swapped: minor <= 3,
            link_type,
            supported: link_type.is_supported(),
            interface: interfaces.number(None, 0, link_type).unwrap_or(u16::MAX),
        };
        Ok((classic, FILE_HEADER_BYTES))
    }

    pub(super) fn link_type(&self) -> LinkType {
        self.link_type
    }

    /// Finds records from `at` on until there are `most` or something else halts it. `at` is then behind the last record found.
    pub(super) fn scan(&self, bytes: &[u8], at: &mut usize, records: &mut Records, most: usize) -> Halt {
        // One body for each byte order, so that the order is not asked for each number.
        match self.order {
            ByteOrder::Little => self.scan_in(u32::from_le_bytes, bytes, at, records, most),
            ByteOrder::Big => self.scan_in(u32::from_be_bytes, bytes, at, records, most),
        }
    }

    #[inline]
    fn scan_in(
        &self,
        number: impl Fn([u8; 4]) -> u32 + Copy,
        bytes: &[u8],
        at: &mut usize,
        records: &mut Records,
        most: usize,
    ) -> Halt {
        let mut rest = bytes.get(*at..).unwrap_or_default();
        let halt = loop {
            if records.len() >= most || records.is_full() {
                break Halt::Full;
            }
            let Some((header, behind)) = rest.split_first_chunk::<16>() else {
                break Halt::Needs(self.record_header_bytes);
            };
            let mut record = self.record(number, header);
            let length = record.length as usize;
            if length == 0 && *header == [0; 16] {
                break Halt::Damaged("nothing but zeros where a frame should be; what follows is not read");
            }
            if length > FRAME_BYTES_MAX {
                break Halt::Damaged("a frame longer than any can be; what follows is not read");
            }
            let start = self.record_header_bytes;
            let Some(next) = behind.get(start - 16 + length..) else {
                break Halt::Needs(start + length);
            };
            record.start = bytes.len() - rest.len() + start;
            records.push(record);
            rest = next;
        };
        *at = bytes.len() - rest.len();
        halt
    }

    /// Finds frames from `at` on, `most` at most, as long as there is nothing to say of them, and shows each with the place of
    /// its bytes; what halts it is for [`scan`](Self::scan) to tell. `number` is that of the last frame.
    #[inline]
    pub(super) fn frames<'w>(
        &self,
        bytes: &'w [u8],
        at: &mut usize,
        number: &mut u64,
        most: usize,
        visit: impl FnMut(Frame<'w>, usize),
    ) {
        match self.order {
            ByteOrder::Little => self.frames_in(u32::from_le_bytes, bytes, at, number, most, visit),
            ByteOrder::Big => self.frames_in(u32::from_be_bytes, bytes, at, number, most, visit),
        }
    }

    #[inline]
    fn frames_in<'w>(
        &self,
        read: impl Fn([u8; 4]) -> u32 + Copy,
        bytes: &'w [u8],
        at: &mut usize,
        number: &mut u64,
        most: usize,
        mut visit: impl FnMut(Frame<'w>, usize),
    ) {
        let mut rest = bytes.get(*at..).unwrap_or_default();
        let behind_header = self.record_header_bytes - 16;
        let mut last = *number;
        for _ in 0..most {
            let Some((header, behind)) = rest.split_first_chunk::<16>() else { break };
            let record = self.record(read, header);
            let whole = behind.get(behind_header..).and_then(|body| body.split_at_checked(record.length as usize));
            let Some((data, next)) = whole else { break };
            // A frame without bytes may be damage, and a long one.
            if data.is_empty() || data.len() > FRAME_BYTES_MAX {
                break;
            }
            last += 1;
            let frame = Frame {
                timestamp_ns: record.timestamp_ns,
                number: last,
                wire_length: record.wire_length,
                link_type: self.link_type,
                interface: self.interface,
                data,
            };
            visit(frame, bytes.len() - next.len() - data.len());
            rest = next;
        }
        *number = last;
        *at = bytes.len() - rest.len();
    }

    /// The record at the start of `rest`, which is all that is left, with as many of its bytes as there are.
    pub(super) fn cut_record(&self, rest: &[u8]) -> Option<Record> {
        let mut record = self.record(|bytes| self.order.u32(bytes), rest.first_chunk::<16>()?);
        let there = rest.len().checked_sub(self.record_header_bytes).filter(|&there| there > 0)?;
        record.start = self.record_header_bytes;
        record.length = record.length.min(there as u32);
        Some(record)
    }

    /// The lengths of a record that would have more captured than there was.
    #[cold]
    fn odd_lengths(&self, captured: u32, wire: u32) -> (u32, u32) {
        if self.lengths_may_be_swapped { (wire, captured) } else { (captured, captured) }
    }

    /// A record from its header, but for the place of its bytes.
    #[inline]
    fn record(&self, number: impl Fn([u8; 4]) -> u32, header: &[u8; 16]) -> Record {
        let &[s0, s1, s2, s3, f0, f1, f2, f3, c0, c1, c2, c3, w0, w1, w2, w3] = header;
        let seconds = number([s0, s1, s2, s3]);
        let fraction = number([f0, f1, f2, f3]);
        let mut captured = number([c0, c1, c2, c3]);
        let mut wire = number([w0, w1, w2, w3]);
        if captured > wire {
            (captured, wire) = self.odd_lengths(captured, wire);
        }
        Record {
            // Cannot overflow: 2^32 seconds and 2^32 microseconds are less than 2^63 nanoseconds.
            timestamp_ns: u64::from(seconds) * 1_000_000_000 + u64::from(fraction) * self.unit_ns,
            start: 0,
            length: captured,
            wire_length: wire,
            link_type: self.link_type,
            interface: self.interface,
            supported: self.supported,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::CaptureError;
    use super::super::forge::{Forge, Kept, read};
    use super::*;
    use proptest::prelude::*;
    use vigie_wire::LinkType;

    const ORDERS: [ByteOrder; 2] = [ByteOrder::Little, ByteOrder::Big];

    fn three(order: ByteOrder) -> Forge {
        Forge::classic(order, MICROSECONDS, 1)
            .record(10, 1, 60, b"first")
            .record(11, 2, 6, b"second")
            .record(12, 999_999, 5, b"third")
    }

    fn plain(timestamp_ns: u64, number: u64, wire_length: u32, data: &[u8]) -> Kept {
        Kept { timestamp_ns, number, wire_length, link_type: LinkType::ETHERNET, interface: 0, data: data.to_vec() }
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
            let fine = Forge::classic(order, NANOSECONDS, 1).record(u32::MAX, 123_456_789, 5, b"first");
            let (frames, _) = read(&fine.bytes).unwrap();
            assert_eq!(frames, [plain(4_294_967_295_123_456_789, 1, 5, b"first")]);
        }
    }

    #[test]
    fn the_variant_with_long_record_headers() {
        for order in ORDERS {
            let file = Forge::classic(order, LONG_RECORDS, 1)
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
            let file = Forge::classic(ByteOrder::Little, MICROSECONDS, field).record(1, 0, 1, b"x");
            assert_eq!(read(&file.bytes).unwrap().0[0].link_type, link_type);
        }
    }

    #[test]
    fn an_unsupported_link_type_is_named() {
        let error = read(&Forge::classic(ByteOrder::Big, MICROSECONDS, 107).record(1, 0, 1, b"x").bytes).unwrap_err();
        assert!(matches!(error, CaptureError::LinkType { number: 107, name: "FRELAY", .. }), "{error}");
        assert!(error.to_string().ends_with("a.pcap: link type 107 (FRELAY) is not supported"), "{error}");
    }

    #[test]
    fn old_files_may_have_the_lengths_the_other_way_round() {
        let mut file = Forge::new(ByteOrder::Big).u32(MICROSECONDS).u16(2).u16(2).u32(0).u32(0).u32(96).u32(1);
        file = file.u32(1).u32(0).u32(60).u32(3).raw(b"abc");
        assert_eq!(read(&file.bytes).unwrap().0, [plain(1_000_000_000, 1, 60, b"abc")]);
    }

    #[test]
    fn a_frame_is_never_longer_than_on_the_wire() {
        let file = Forge::classic(ByteOrder::Little, MICROSECONDS, 1).record(1, 0, 2, b"abcdef").record(2, 0, 0, b"");
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
            let mut file = Forge::classic(order, MICROSECONDS, 1);
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
            let file = Forge::classic(ORDERS[usize::from(big)], MICROSECONDS, 1).raw(&bytes);
            let (frames, _) = read(&file.bytes).unwrap();
            prop_assert!(frames.len() <= bytes.len() / 16);
        }
    }
}
