//! The classic pcap format: a file header, then a header and bytes for each frame (draft-ietf-opsawg-pcap).
//! Microseconds and nanoseconds, both byte orders, versions 2.x and DG/UX's 543.0, IXIA's variants, and records with longer
//! headers (`layout`). Zeros between records, as a crash leaves them, are skipped.

mod layout;

use self::layout::Layout;
use super::FRAME_BYTES_MAX;
use super::record::{ByteOrder, Interfaces, Record, Records, ScanEnd};
use vigie_wire::{Frame, LinkType};

/// Bytes of the file header.
const FILE_HEADER_BYTES: usize = 24;

/// Magic numbers (draft-ietf-opsawg-pcap §4).
const MICROSECONDS: u32 = 0xa1b2_c3d4;
const NANOSECONDS: u32 = 0xa1b2_3c4d;
/// The variant whose record headers also have the interface's index, the protocol and the packet's direction.
const LONG_RECORDS: u32 = 0xa1b2_cd34;
/// IXIA's variants, which tell the length of the records behind the file header: timestamps by hardware in nanoseconds, by
/// software in microseconds.
const IXIA_HARDWARE: u32 = 0x1c00_01ac;
const IXIA_SOFTWARE: u32 = 0x1c00_01ab;
/// DG/UX's version number.
const DGUX_VERSION: u16 = 543;
/// Zeros behind which a record is looked for.
const ZERO_BYTES_MAX: usize = 64 << 10;

const ZEROS: &str = "nothing but zeros where a frame should be; what follows is not read";

/// Reads the records of a file whose header was read.
#[derive(Debug)]
pub(super) struct Classic {
    order: ByteOrder,
    /// Nanoseconds in a unit of the timestamp's fraction.
    unit_ns: u64,
    record_header_bytes: usize,
    /// Whether the records seen so far tell the length of their headers. Without, one record may be given that is not whole.
    is_layout_certain: bool,
    /// Files up to version 2.3 may have the two lengths of a record swapped.
    lengths_may_be_swapped: bool,
    link_type: LinkType,
    supported: bool,
    interface: u16,
}

impl Classic {
    /// Whether a file that begins with these bytes is of this format.
    pub(super) fn recognises(start: [u8; 4]) -> bool {
        Self::magic(start).is_some()
    }

    fn magic(start: [u8; 4]) -> Option<(ByteOrder, u32)> {
        [ByteOrder::Little, ByteOrder::Big].into_iter().map(|order| (order, order.u32(start))).find(|(_, magic)| {
            matches!(*magic, MICROSECONDS | NANOSECONDS | LONG_RECORDS | IXIA_HARDWARE | IXIA_SOFTWARE)
        })
    }

    /// Reads the file header. Returns its length too. `is_whole` tells that `bytes` are all of the file.
    ///
    /// # Errors
    /// Tells what is wrong with it.
    pub(super) fn open(bytes: &[u8], is_whole: bool, interfaces: &mut Interfaces) -> Result<(Self, usize), String> {
        let Some((&[a, b, c, d, major0, major1, minor0, minor1, .., link0, link1, link2, link3], _)) =
            bytes.split_first_chunk::<FILE_HEADER_BYTES>()
        else {
            return Err(format!("its header is cut short at {} of {FILE_HEADER_BYTES} bytes", bytes.len()));
        };
        let (order, magic) = Self::magic([a, b, c, d]).ok_or_else(|| "no magic number".to_owned())?;
        let (major, minor) = (order.u16([major0, major1]), order.u16([minor0, minor1]));
        if major != 2 && major != DGUX_VERSION {
            return Err(format!("a pcap file of version {major}.{minor}, where only 2.x is known"));
        }
        let link_type = LinkType::from_file(order.u32([link0, link1, link2, link3]));
        let is_ixia = matches!(magic, IXIA_HARDWARE | IXIA_SOFTWARE);
        let header_bytes = if is_ixia { FILE_HEADER_BYTES + 4 } else { FILE_HEADER_BYTES };
        let is_fine = matches!(magic, NANOSECONDS | IXIA_HARDWARE);
        let expected = Layout {
            order,
            header_bytes: if magic == LONG_RECORDS { 24 } else { 16 },
            fraction_max: if is_fine { 1_000_000_000 } else { 1_000_000 },
            is_ethernet: link_type == LinkType::ETHERNET,
        };
        let (layout, is_layout_certain) = expected.choose(bytes.get(header_bytes..).unwrap_or_default(), is_whole);
        let classic = Self {
            order,
            unit_ns: if is_fine { 1 } else { 1000 },
            record_header_bytes: layout.header_bytes,
            is_layout_certain,
            lengths_may_be_swapped: minor <= 3,
            link_type,
            supported: link_type.is_supported(),
            interface: interfaces.add(None, 0, link_type).unwrap_or(u16::MAX),
        };
        Ok((classic, header_bytes))
    }

    pub(super) fn link_type(&self) -> LinkType {
        self.link_type
    }

    /// Finds records from `at` on, until there are `most` or something else ends the scan. `at` is then behind the last record
    /// found.
    pub(super) fn scan(&mut self, bytes: &[u8], at: &mut usize, records: &mut Records, most: usize) -> ScanEnd {
        if !self.is_layout_certain {
            return self.scan_uncertain(bytes, at, records);
        }
        // One copy of the loop for each byte order, so that the order is not tested for each number.
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
    ) -> ScanEnd {
        let mut rest = bytes.get(*at..).unwrap_or_default();
        let end = loop {
            if records.len() >= most || records.is_full() {
                break ScanEnd::Full;
            }
            let Some((header, behind)) = rest.split_first_chunk::<16>() else {
                break ScanEnd::Needs(self.record_header_bytes);
            };
            let mut record = self.record(number, header);
            let length = record.length as usize;
            if length == 0 && *header == [0; 16] {
                break match self.skip_zeros(rest) {
                    Ok(zeros) => {
                        let start = bytes.len() - rest.len();
                        rest = rest.get(zeros..).unwrap_or_default();
                        ScanEnd::Warning(
                            start,
                            format!("{zeros} bytes of zeros between frames; they are skipped").into(),
                        )
                    }
                    Err(end) => end,
                };
            }
            if length > FRAME_BYTES_MAX {
                break ScanEnd::Damaged("a frame longer than any can be; what follows is not read");
            }
            let start = self.record_header_bytes;
            let Some(next) = behind.get(start - 16 + length..) else {
                break ScanEnd::Needs(start + length);
            };
            record.start = bytes.len() - rest.len() + start;
            records.push(record);
            rest = next;
        };
        *at = bytes.len() - rest.len();
        end
    }

    /// Finds the next record while it is uncertain how long record headers are: a pipe gave too few of them.
    #[cold]
    fn scan_uncertain(&mut self, bytes: &[u8], at: &mut usize, records: &mut Records) -> ScanEnd {
        let rest = bytes.get(*at..).unwrap_or_default();
        let expected = self.layout();
        let (layout, is_certain) = expected.choose(rest, false);
        if is_certain && !expected.begins_with_record(rest, None) {
            // The record before was the first, and was taken for one with the expected header.
            for (other, further) in expected.others() {
                if rest.get(further..).is_some_and(|rest| other.begins_with_record(rest, None)) {
                    self.record_header_bytes = other.header_bytes;
                    *at += further;
                    break;
                }
            }
        } else {
            self.record_header_bytes = layout.header_bytes;
        }
        self.is_layout_certain = is_certain;
        let most = records.len() + 1;
        match self.order {
            ByteOrder::Little => self.scan_in(u32::from_le_bytes, bytes, at, records, most),
            ByteOrder::Big => self.scan_in(u32::from_be_bytes, bytes, at, records, most),
        }
    }

    fn layout(&self) -> Layout {
        Layout {
            order: self.order,
            header_bytes: self.record_header_bytes,
            fraction_max: (1_000_000_000 / self.unit_ns) as u32,
            is_ethernet: self.link_type == LinkType::ETHERNET,
        }
    }

    /// How many zeros are to be skipped up to the next record. `rest` begins with a header of zeros.
    ///
    /// # Errors
    /// There is no record behind them, or more bytes are needed to tell.
    #[cold]
    fn skip_zeros(&self, rest: &[u8]) -> Result<usize, ScanEnd> {
        let zeros = rest.iter().take_while(|&&byte| byte == 0).count();
        if zeros > ZERO_BYTES_MAX {
            return Err(ScanEnd::Damaged(ZEROS));
        }
        if rest.len() < zeros + self.record_header_bytes {
            return Err(ScanEnd::Needs(zeros + self.record_header_bytes));
        }
        // The record's time may itself begin with zeros. The start is where most records follow each other; of several such
        // it is that behind headers of zeros, or else the last.
        let layout = self.layout();
        let starts = (zeros.saturating_sub(3)..=zeros).filter(|at| *at >= 16);
        let judged = starts.map(|at| {
            let records = rest.get(at..).map_or(0, |rest| layout.records(rest));
            (records, at.is_multiple_of(self.record_header_bytes), at)
        });
        judged.max().filter(|(records, ..)| *records > 0).map(|(.., at)| at).ok_or(ScanEnd::Damaged(ZEROS))
    }

    /// What is to be said of bytes at the end of the file that are less than a record.
    pub(super) fn end_message(rest: &[u8]) -> Option<&'static str> {
        (rest.len() >= 16 && rest.iter().all(|&byte| byte == 0)).then_some(ZEROS)
    }

    /// Shows frames from `at` on, `most` at most, with the place of their bytes. It stops at the first record that is not
    /// plainly whole, whatever the reason; [`scan`](Self::scan) then tells which. `number` is that of the last frame.
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
        if !self.is_layout_certain {
            return;
        }
        let mut rest = bytes.get(*at..).unwrap_or_default();
        let behind_header = self.record_header_bytes - 16;
        let mut last = *number;
        for _ in 0..most {
            let Some((header, behind)) = rest.split_first_chunk::<16>() else { break };
            let record = self.record(read, header);
            let whole = behind.get(behind_header..).and_then(|body| body.split_at_checked(record.length as usize));
            let Some((data, next)) = whole else { break };
            // An empty frame may be damage, and so may a long one.
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

    /// The record at the start of `rest`, which ends within the record, with the bytes that are there.
    pub(super) fn cut_record(&self, rest: &[u8]) -> Option<Record> {
        let mut record = self.record(|bytes| self.order.u32(bytes), rest.first_chunk::<16>()?);
        let there = rest.len().checked_sub(self.record_header_bytes).filter(|&there| there > 0)?;
        record.start = self.record_header_bytes;
        record.length = record.length.min(there as u32);
        Some(record)
    }

    /// The lengths of a record that claims more captured bytes than were on the wire.
    #[cold]
    fn odd_lengths(&self, captured: u32, wire: u32) -> (u32, u32) {
        if self.lengths_may_be_swapped { (wire, captured) } else { (captured, captured) }
    }

    /// A record from its header, without the place of its bytes.
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
mod tests;
