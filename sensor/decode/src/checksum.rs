//! Internet checksums (RFC 1071) of IPv4 headers and of TCP and UDP over their pseudo-headers. They are computed only when
//! asked for.

/// The state of a packet's checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checksum {
    /// It is right.
    Right,
    /// It is wrong, and no offload explains it: a receiver drops the packet.
    Wrong,
    /// There is none, as in IPv6 headers, or the sender had not computed it when the packet was captured: it is 0, or the sum
    /// of the pseudo-header that the network card was to complete.
    NotComputed,
    /// Not all bytes that it covers were captured.
    NotCaptured,
}

/// The last checksums of a capture, which tell whether a wrong one means anything: packets whose addresses were rewritten
/// after the capture have no right checksums at all.
#[derive(Clone, Copy, Debug, Default)]
pub struct ChecksumHistory {
    /// A bit for each of the last sixteen checksums, set if it was right.
    right: u16,
    /// Wrong checksums since the last right one.
    wrong_in_a_row: u8,
    /// Headers that were passed over since the last one that was tested.
    passed_over: u8,
}

/// Where checksums are right, one header in so many is tested.
const TESTED_OF_HEADERS: u8 = 8;

impl ChecksumHistory {
    /// Tests a header's checksum and adds it; where they are right, that of a few headers is enough.
    #[inline]
    pub fn sample(&mut self, header: NetworkHeader<'_>) {
        self.passed_over += 1;
        if self.right & 1 == 0 || self.passed_over >= TESTED_OF_HEADERS {
            self.passed_over = 0;
            self.add(header.checksum());
        }
    }

    /// Adds a checksum.
    pub const fn add(&mut self, checksum: Checksum) {
        match checksum {
            Checksum::Right => (self.right, self.wrong_in_a_row) = (self.right << 1 | 1, 0),
            Checksum::Wrong => {
                self.right <<= 1;
                self.wrong_in_a_row = self.wrong_in_a_row.saturating_add(1);
            }
            Checksum::NotComputed | Checksum::NotCaptured => {}
        }
    }

    /// Whether a wrong checksum proves that receivers drop the packet.
    pub const fn checksums_are_reliable(&self) -> bool {
        self.right != 0
    }

    /// Whether the last sixteen checksums were all wrong: the capture was rewritten, so wrong checksums prove nothing. Before
    /// sixteen were seen, neither this nor [`checksums_are_reliable`](Self::checksums_are_reliable) is true.
    pub const fn is_rewritten(&self) -> bool {
        self.wrong_in_a_row >= 16
    }
}

/// The IP header in front of a transport header.
#[derive(Clone, Copy, Debug, Default)]
pub struct NetworkHeader<'a> {
    /// The header with its options, without extension headers. Empty if it is not known or does not name the final
    /// destination (source routes).
    bytes: &'a [u8],
}

impl<'a> NetworkHeader<'a> {
    /// The header that begins `bytes`: of IPv4 with its options, of IPv6 the fixed one.
    #[inline]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// The fixed header without checksum, to be stored with a datagram that is reassembled from fragments.
    pub(crate) fn to_stored(self) -> StoredHeader {
        let mut stored = StoredHeader::EMPTY;
        let length = if self.is_v4() { V4_LENGTH } else { V6_LENGTH };
        if let (Some(header), Some(room)) = (self.bytes.get(..length), stored.bytes.get_mut(..length)) {
            room.copy_from_slice(header);
            stored.length = length as u8;
            if length == V4_LENGTH {
                // The checksum is that of one fragment; the options are not stored.
                (stored.bytes[0], stored.bytes[10], stored.bytes[11]) = (0x45, 0, 0);
            }
        }
        stored
    }

    /// The header; empty if it is not known.
    pub const fn bytes(self) -> &'a [u8] {
        self.bytes
    }

    /// TTL or hop limit, if the header is known.
    pub fn hop_limit(&self) -> Option<u8> {
        self.bytes.get(if self.is_v4() { 8 } else { 7 }).copied()
    }

    /// The state of the header's own checksum, which only IPv4 has.
    pub fn checksum(&self) -> Checksum {
        if self.bytes.is_empty() {
            return Checksum::NotCaptured;
        }
        if !self.is_v4() || self.bytes.get(10..12) == Some(&[0, 0]) {
            return Checksum::NotComputed;
        }
        if fold(sum_of_header(self.bytes)) == ALL_ONES { Checksum::Right } else { Checksum::Wrong }
    }

    fn is_v4(&self) -> bool {
        self.bytes.first().is_some_and(|first| first >> 4 == 4)
    }

    /// Sum of the pseudo-header's addresses and protocol (RFC 9293 §3.1, RFC 8200 §8.1).
    #[inline]
    fn pseudo_sum(&self, protocol: u8) -> Option<u64> {
        let addresses = if self.is_v4() { self.bytes.get(12..20) } else { self.bytes.get(8..40) }?;
        Some(sum_of_header(addresses) + words_of(u32::from(protocol)))
    }
}

const V4_LENGTH: usize = 20;
const V6_LENGTH: usize = 40;

/// A fixed IP header that is stored with a datagram; empty if there is none.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StoredHeader {
    bytes: [u8; V6_LENGTH],
    length: u8,
}

impl StoredHeader {
    pub const EMPTY: Self = Self { bytes: [0; V6_LENGTH], length: 0 };

    pub fn get(&self) -> NetworkHeader<'_> {
        NetworkHeader::new(self.bytes.get(..usize::from(self.length)).unwrap_or_default())
    }
}

/// The bytes that a transport checksum covers.
pub(crate) struct Covered<'a> {
    pub network: NetworkHeader<'a>,
    pub protocol: u8,
    pub header: &'a [u8],
    pub payload: &'a [u8],
    /// Length of header and payload on the wire.
    pub length: usize,
    /// The checksum field.
    pub stored: [u8; 2],
}

impl Covered<'_> {
    #[inline]
    pub fn state(&self) -> Checksum {
        let Some(addresses) = self.network.pseudo_sum(self.protocol) else {
            return Checksum::NotCaptured;
        };
        let pseudo = addresses + words_of(self.length as u32);
        let is_captured = self.header.len() + self.payload.len() >= self.length;
        let of_payload = if self.payload.is_empty() { 0 } else { sum(self.payload) };
        if is_captured && fold(pseudo + sum_of_header(self.header) + of_payload) == ALL_ONES {
            return Checksum::Right;
        }
        self.unless_right(addresses, pseudo, is_captured)
    }

    #[cold]
    fn unless_right(&self, addresses: u64, pseudo: u64, is_captured: bool) -> Checksum {
        let stored = u16::from_ne_bytes(self.stored);
        // Cards complete the sum of the pseudo-header; for segmentation offload some drivers leave the length out of it.
        if stored == 0 || stored == fold(pseudo) || stored == fold(addresses) {
            return Checksum::NotComputed;
        }
        if is_captured { Checksum::Wrong } else { Checksum::NotCaptured }
    }
}

/// The sum of what was added up without a fault.
const ALL_ONES: u16 = u16::MAX;

/// Sum of the sixteen-bit words of a header, not folded; what is behind the last four bytes that are whole is left out. The
/// words are those of the machine's byte order: the folded sum is the same but for the order of its bytes (RFC 1071 §2).
#[inline]
fn sum_of_header(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks();
    // The carry comes back at the other end: it counts as one there too.
    let sum = words.iter().fold(0_u64, |sum, &word| {
        let (sum, carries) = sum.overflowing_add(u64::from_ne_bytes(word));
        sum + u64::from(carries)
    });
    let last = rest.first_chunk().map_or(0, |&word| u32::from_ne_bytes(word));
    // Halves that are folded by themselves leave room for the carries.
    (sum >> 32) + (sum & 0xffff_ffff) + u64::from(last)
}

/// The same of any bytes: an odd one at the end is the high one of a word.
fn sum(bytes: &[u8]) -> u64 {
    let (chunks, rest) = bytes.as_chunks::<64>();
    let sum = chunks.iter().fold(0_u64, |sum, chunk| {
        let (sum, carries) = chunk.as_chunks().0.iter().fold((sum, false), |(sum, carries), &word| {
            let (sum, first) = sum.overflowing_add(u64::from_ne_bytes(word));
            let (sum, second) = sum.overflowing_add(u64::from(carries));
            (sum, first | second)
        });
        sum + u64::from(carries)
    });
    let (_, odd) = rest.as_chunks::<4>();
    let mut last = [0; 4];
    for (to, from) in last.iter_mut().zip(odd) {
        *to = *from;
    }
    (sum >> 32) + (sum & 0xffff_ffff) + sum_of_header(rest) + u64::from(u32::from_ne_bytes(last))
}

/// The two words of a number in a header, as [`sum`] adds them.
fn words_of(number: u32) -> u64 {
    u64::from(number.to_be())
}

/// Adds the carries to the sum.
const fn fold(sum: u64) -> u16 {
    let sum = (sum >> 32) + (sum & 0xffff_ffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    ((sum >> 16) + (sum & 0xffff)) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_the_example_of_rfc_1071() {
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(fold(sum(&bytes)).to_be(), 0xddf2);
        assert_eq!(fold(sum(&[0x12])).to_be(), 0x1200);
        assert_eq!(sum(&[]), 0);
    }

    proptest::proptest! {
        #[test]
        fn sums_as_the_definition_does(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..1_500)) {
            let word = |pair: &[u8]| u64::from(pair[0]) << 8 | u64::from(*pair.get(1).unwrap_or(&0));
            proptest::prop_assert_eq!(fold(sum(&bytes)).to_be(), fold(bytes.chunks(2).map(word).sum()));
        }
    }

    #[test]
    fn a_wrong_checksum_means_nothing_where_none_is_right() {
        let mut history = ChecksumHistory::default();
        history.add(Checksum::Wrong);
        assert!(!history.checksums_are_reliable());
        history.add(Checksum::Right);
        history.add(Checksum::NotComputed);
        (0..15).for_each(|_| history.add(Checksum::Wrong));
        assert!(history.checksums_are_reliable());
        assert!(!history.is_rewritten());
        history.add(Checksum::Wrong);
        assert!(!history.checksums_are_reliable() && history.is_rewritten());
        history.add(Checksum::Right);
        assert!(!history.is_rewritten());
    }

    #[test]
    fn an_ipv4_header_is_right_wrong_or_not_computed() {
        // A header of 115 bytes of UDP, checksum 0xb861.
        let mut header = *b"\x45\x00\x00\x73\x00\x00\x40\x00\x40\x11\xb8\x61\xc0\xa8\x00\x01\xc0\xa8\x00\xc7";
        assert_eq!(NetworkHeader::new(&header).checksum(), Checksum::Right);
        assert_eq!(NetworkHeader::new(&header).hop_limit(), Some(64));
        header[8] = 3;
        assert_eq!(NetworkHeader::new(&header).checksum(), Checksum::Wrong);
        header[10..12].fill(0);
        assert_eq!(NetworkHeader::new(&header).checksum(), Checksum::NotComputed);
        assert_eq!(NetworkHeader::default().checksum(), Checksum::NotCaptured);
        assert_eq!(NetworkHeader::default().hop_limit(), None);
        let mut v6 = [0; 40];
        (v6[0], v6[7]) = (0x60, 9);
        assert_eq!(
            (NetworkHeader::new(&v6).checksum(), NetworkHeader::new(&v6).hop_limit()),
            (Checksum::NotComputed, Some(9))
        );
    }
}
