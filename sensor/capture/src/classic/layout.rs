//! The length of a file's record headers, told by the first records. Patched versions of libpcap and some vendors wrote
//! headers of 20, 24 or 28 bytes under the usual magic number, or usual headers under that of the long ones. All of them
//! begin with the usual 16 bytes.

use crate::FRAME_BYTES_MAX;
use crate::record::ByteOrder;

/// The lengths that are known: the usual one, Nokia IPSO's, and those of patches for old Linux kernels.
const HEADER_BYTES: [usize; 4] = [16, 20, 24, 28];
/// How many records are looked at.
const RECORDS: usize = 16;
/// With this many records in a row that make sense the expected length is right; what comes later is damage.
const RECORDS_CERTAIN: usize = 3;
/// Frames of a file's first records are no further apart than this.
const SECONDS_APART_MAX: u32 = 10 * 366 * 86_400;
/// Ethernet types by which a lone record is judged: IPv4, ARP, IPv6 and VLAN tags.
const ETHERTYPES: [[u8; 2]; 5] = [[8, 0], [8, 6], [0x86, 0xdd], [0x81, 0], [0x88, 0xa8]];

/// How records are laid out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    pub(super) order: ByteOrder,
    pub(super) header_bytes: usize,
    /// Units in a second.
    pub(super) fraction_max: u32,
    pub(super) is_ethernet: bool,
}

/// How a walk along the first records ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// With the file, or with what is known of it.
    Clean,
    /// Within a record, as of a cut file.
    Cut,
    /// At a record that makes no sense.
    Broken,
}

impl Layout {
    /// The layout that fits the first records best, and whether they suffice to tell. `bytes` begin with the first record;
    /// `is_whole` tells that nothing comes behind them.
    pub(super) fn choose(self, bytes: &[u8], is_whole: bool) -> (Self, bool) {
        let (records, end) = self.walk(bytes, is_whole, false);
        let is_certain = is_whole || records > 1 || end == End::Broken;
        if records >= RECORDS_CERTAIN || end == End::Clean || (end == End::Cut && records > 1) {
            return (self, is_certain);
        }
        let mut best = (self, records, end);
        for header_bytes in HEADER_BYTES.into_iter().filter(|&other| other != self.header_bytes) {
            let other = Self { header_bytes, ..self };
            let (count, other_end) = other.walk(bytes, is_whole, true);
            let is_better = match other_end {
                End::Broken => false,
                _ if end == End::Cut => {
                    other_end == End::Clean && other.begins_with_ethernet(bytes) && !self.begins_with_ethernet(bytes)
                }
                End::Clean => count > best.1 || best.2 == End::Broken && count == best.1,
                End::Cut => count > best.1,
            };
            if is_better {
                best = (other, count, other_end);
            }
        }
        (best.0, is_certain)
    }

    /// The number of records in a row that make sense, and what ended them. `is_strict` is for layouts that the magic number
    /// does not tell.
    fn walk(&self, bytes: &[u8], is_whole: bool, is_strict: bool) -> (usize, End) {
        let mut rest = bytes;
        let mut first_seconds = None;
        for count in 0..RECORDS {
            if rest.is_empty() {
                return (count, End::Clean);
            }
            let out_of_bytes = if is_whole { End::Cut } else { End::Clean };
            let Some(header) = rest.first_chunk::<16>() else { return (count, out_of_bytes) };
            let Some(captured) = self.captured(header, first_seconds, is_strict) else { return (count, End::Broken) };
            first_seconds.get_or_insert(self.numbers(header)[0]);
            match rest.get(self.header_bytes + captured..) {
                Some(next) => rest = next,
                None => return (count, out_of_bytes),
            }
        }
        (RECORDS, End::Clean)
    }

    /// How many records that make sense follow each other at the start of these bytes, up to a small number. A record counts
    /// that the bytes do not hold to its end, unless it would be the only one.
    pub(super) fn records(&self, bytes: &[u8]) -> usize {
        match self.walk(bytes, false, true) {
            (0, End::Clean) => usize::from(self.begins_with_record(bytes, None)),
            (_, End::Broken) => 0,
            (count, _) => count,
        }
    }

    /// Whether a record that makes sense is at the start of these bytes, not far from that time.
    pub(super) fn begins_with_record(&self, bytes: &[u8], near_seconds: Option<u32>) -> bool {
        bytes.first_chunk::<16>().is_some_and(|header| self.captured(header, near_seconds, true).is_some())
    }

    /// The captured length that a header tells, if the header makes sense.
    fn captured(&self, header: &[u8; 16], near_seconds: Option<u32>, is_strict: bool) -> Option<usize> {
        let [seconds, fraction, captured, wire] = self.numbers(header);
        // Files up to version 2.3 may have the lengths the other way round.
        let (least, most) = (captured.min(wire), captured.max(wire));
        let is_near = near_seconds.is_none_or(|near| near.abs_diff(seconds) <= SECONDS_APART_MAX);
        let makes_sense = fraction < self.fraction_max && least as usize <= FRAME_BYTES_MAX && *header != [0; 16];
        let strict = least > 0 && most as usize <= FRAME_BYTES_MAX && is_near;
        (makes_sense && (strict || !is_strict)).then_some(least as usize)
    }

    fn numbers(&self, header: &[u8; 16]) -> [u32; 4] {
        let &[s0, s1, s2, s3, f0, f1, f2, f3, c0, c1, c2, c3, w0, w1, w2, w3] = header;
        [[s0, s1, s2, s3], [f0, f1, f2, f3], [c0, c1, c2, c3], [w0, w1, w2, w3]].map(|bytes| self.order.u32(bytes))
    }

    fn begins_with_ethernet(&self, bytes: &[u8]) -> bool {
        let ethertype = bytes.get(self.header_bytes + 12..).and_then(|rest| rest.first_chunk::<2>());
        self.is_ethernet && ethertype.is_some_and(|ethertype| ETHERTYPES.contains(ethertype))
    }

    /// Other layouts under which the record behind the first begins elsewhere: their header lengths, and how much further.
    pub(super) fn others(&self) -> impl Iterator<Item = (Self, usize)> {
        let this = *self;
        HEADER_BYTES.into_iter().filter_map(move |header_bytes| {
            let further = header_bytes.checked_sub(this.header_bytes).filter(|&further| further > 0)?;
            Some((Self { header_bytes, ..this }, further))
        })
    }
}
