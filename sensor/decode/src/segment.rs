//! TCP segments and UDP datagrams: their payload, and header fields that are read only when asked for.

use super::checksum::{Checksum, Covered, NetworkHeader};
use super::transport::{TCP, UDP};

/// A TCP header without options (RFC 9293 §3.1).
pub(crate) const FIXED_HEADER_LENGTH: usize = 20;

/// A TCP segment, as much of it as was captured (RFC 9293 §3.1).
#[derive(Clone, Copy, Debug)]
pub struct Segment<'a> {
    /// Sequence number of the first payload byte (SYN not subtracted).
    pub sequence: u32,
    /// The flag byte of the header.
    pub flags: u8,
    /// Captured payload.
    pub payload: &'a [u8],
    /// The header with its options, as much of it as was captured.
    header: &'a [u8],
    /// Length on the wire of header and payload.
    length: u32,
    network: NetworkHeader<'a>,
}

impl<'a> Segment<'a> {
    /// FIN flag.
    pub const FIN: u8 = 1;
    /// SYN flag.
    pub const SYN: u8 = 2;
    /// RST flag.
    pub const RST: u8 = 4;
    /// PSH flag.
    pub const PSH: u8 = 8;
    /// ACK flag.
    pub const ACK: u8 = 16;
    /// URG flag.
    pub const URG: u8 = 32;

    /// The segment that `bytes` hold, of `length` bytes on the wire. `None` if its fixed header was not captured, or if
    /// the data offset lies within that or beyond `length`.
    #[inline]
    pub fn parse(bytes: &'a [u8], length: usize, network: NetworkHeader<'a>) -> Option<Self> {
        let fixed = bytes.first_chunk::<FIXED_HEADER_LENGTH>()?;
        let header_length = usize::from(fixed[12] >> 4) * 4;
        if header_length < FIXED_HEADER_LENGTH || header_length > length {
            return None;
        }
        let (header, payload) = bytes.split_at_checked(header_length).unwrap_or((bytes, &[]));
        Self::of_parts(header, payload, length as u32, network)
    }

    /// A segment without header: all fields but these are unknown.
    pub const fn without_header(sequence: u32, flags: u8, payload: &'a [u8]) -> Self {
        Self { sequence, flags, payload, header: &[], length: payload.len() as u32, network: NetworkHeader::new(&[]) }
    }

    /// The segment of a header and a payload that do not lie together, of `length` bytes on the wire. `None` if the fixed header
    /// is not whole.
    pub fn of_parts(header: &'a [u8], payload: &'a [u8], length: u32, network: NetworkHeader<'a>) -> Option<Self> {
        let fixed = header.first_chunk::<FIXED_HEADER_LENGTH>()?;
        let sequence = u32::from_be_bytes([fixed[4], fixed[5], fixed[6], fixed[7]]);
        Some(Self { sequence, flags: fixed[13], payload, header, length, network })
    }

    /// The header with its options; empty if there is none.
    pub const fn header(&self) -> &'a [u8] {
        self.header
    }

    /// Length on the wire of header and payload.
    pub const fn wire_length(&self) -> u32 {
        self.length
    }

    /// Acknowledgment number, if the ACK flag is set.
    pub fn acknowledgment(&self) -> Option<u32> {
        let &bytes = self.header.get(8..)?.first_chunk()?;
        if self.flags & Self::ACK == 0 { None } else { Some(u32::from_be_bytes(bytes)) }
    }

    /// Window, not scaled.
    pub fn window(&self) -> Option<u16> {
        let &bytes = self.header.get(14..)?.first_chunk()?;
        Some(u16::from_be_bytes(bytes))
    }

    /// Urgent pointer, if the URG flag is set.
    pub fn urgent_pointer(&self) -> Option<u16> {
        let &bytes = self.header.get(18..)?.first_chunk()?;
        if self.flags & Self::URG == 0 { None } else { Some(u16::from_be_bytes(bytes)) }
    }

    /// The options for which a receiver may drop the segment.
    #[inline(always)]
    pub fn checked_options(&self) -> CheckedOptions {
        CheckedOptions::of(self.header.get(FIXED_HEADER_LENGTH..).unwrap_or_default())
    }

    /// Whether payload is missing that was on the wire.
    pub const fn is_truncated(&self) -> bool {
        self.header.len() + self.payload.len() < self.length as usize
    }

    /// The IP header in front of the segment.
    pub const fn network(&self) -> NetworkHeader<'a> {
        self.network
    }

    /// Computes the state of the checksum.
    pub fn checksum(&self) -> Checksum {
        let Some(&stored) = self.header.get(16..).and_then(|rest| rest.first_chunk()) else {
            return Checksum::NotCaptured;
        };
        let (header, payload, length) = (self.header, self.payload, self.length as usize);
        Covered { network: self.network, protocol: TCP, header, payload, length, stored }.state()
    }
}

/// The options for which a receiver may drop a segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CheckedOptions {
    /// Value of the timestamps option (RFC 7323 §3.2); of the last, if there are several.
    pub timestamp: Option<u32>,
    /// There is an MD5 signature (RFC 2385): hosts that did not agree on a key drop the segment.
    pub has_md5: bool,
}

impl CheckedOptions {
    /// Reads the options.
    #[inline]
    fn of(options: &[u8]) -> Self {
        if options.is_empty() {
            return Self::default();
        }
        Self::of_common_stack(options).unwrap_or_else(|| Self::walk(options))
    }

    /// Reads options as common stacks send them, eight at a time: all of them in data, Linux, macOS and Windows in SYN and
    /// SYN-ACK. `None` for others.
    #[inline]
    fn of_common_stack(options: &[u8]) -> Option<Self> {
        const SIZE_MASK: u64 = 0xffff_0000_ffff_ffff;
        /// Segment size, SACK, timestamps.
        const SIZE_AND_TIMESTAMPS: u64 = 0x0204_0000_0402_080a;
        const SIZE_AND_SCALE_MASK: u64 = 0xffff_0000_ffff_ff00;
        /// Segment size, window scale behind a filler.
        const SIZE_AND_SCALE: u64 = 0x0204_0000_0103_0300;
        /// Timestamps behind two fillers.
        const TIMESTAMPS: u32 = 0x0101_080a;
        let first = u64::from_be_bytes(*options.first_chunk()?);
        let last = u32::from_be_bytes(*options.last_chunk()?);
        let word = |at: usize| Some(u32::from_be_bytes(*options.get(at..)?.first_chunk()?));
        let with = |timestamp| Self { timestamp: Some(timestamp), has_md5: false };
        match options.len() {
            12 if (first >> 32) as u32 == TIMESTAMPS => Some(with(first as u32)),
            20 if first & SIZE_MASK == SIZE_AND_TIMESTAMPS && last >> 8 == 0x01_0303 => word(8).map(with),
            12 if first & SIZE_AND_SCALE_MASK == SIZE_AND_SCALE && last == 0x0101_0402 => Some(Self::default()),
            24 if first & SIZE_AND_SCALE_MASK == SIZE_AND_SCALE && word(8)? == TIMESTAMPS && last == 0x0402_0000 => {
                word(12).map(with)
            }
            _ => None,
        }
    }

    /// Reads the options up to the first that does not fit.
    fn walk(options: &[u8]) -> Self {
        const END: u8 = 0;
        const NO_OPERATION: u8 = 1;
        const TIMESTAMPS: u8 = 8;
        const MD5: u8 = 19;
        let (mut found, mut rest) = (Self::default(), options);
        loop {
            rest = match *rest {
                [] | [END, ..] => return found,
                [NO_OPERATION, ref after @ ..] => after,
                [TIMESTAMPS, 10, v0, v1, v2, v3, _, _, _, _, ref after @ ..] => {
                    found.timestamp = Some(u32::from_be_bytes([v0, v1, v2, v3]));
                    after
                }
                [kind, length @ 2..=u8::MAX, ..] => {
                    let Some(after) = rest.get(usize::from(length)..) else { return found };
                    found.has_md5 |= kind == MD5;
                    after
                }
                _ => return found,
            };
        }
    }
}

/// A UDP datagram, as much of it as was captured (RFC 768).
#[derive(Clone, Copy, Debug)]
pub struct UdpDatagram<'a> {
    /// Captured payload.
    pub payload: &'a [u8],
    header: &'a [u8],
    network: NetworkHeader<'a>,
}

impl<'a> UdpDatagram<'a> {
    /// The datagram with this header of eight bytes.
    #[inline]
    pub const fn new(header: &'a [u8], payload: &'a [u8], network: NetworkHeader<'a>) -> Self {
        Self { payload, header, network }
    }

    /// The IP header in front of the datagram.
    pub const fn network(&self) -> NetworkHeader<'a> {
        self.network
    }

    /// Computes the state of the checksum. IPv4 senders may leave it at 0.
    pub fn checksum(&self) -> Checksum {
        let &[_, _, _, _, l0, l1, c0, c1] = self.header else { return Checksum::NotCaptured };
        let (header, payload) = (self.header, self.payload);
        let length = match usize::from(u16::from_be_bytes([l0, l1])) {
            // A jumbogram (RFC 2675 §4) or segmentation offload.
            0 => header.len() + payload.len(),
            length => length,
        };
        let stored = [c0, c1];
        Covered { network: self.network, protocol: UDP, header, payload, length, stored }.state()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A SYN and a pure ACK of a real connection of curl over IPv4, from the IP header on.
    const SYN: [u8; 60] = *b"\x45\x00\x00\x3c\x4c\x14\x40\x00\x40\x06\xa8\x45\x0a\x42\x00\x0b\xcb\x00\x71\x15\
        \xd5\x2e\x01\xbb\x6a\x55\x1d\xe4\x00\x00\x00\x00\xa0\x02\xfa\xf0\x5c\x9c\x00\x00\
        \x02\x04\x05\xb4\x04\x02\x08\x0a\xca\x3c\x80\xad\x00\x00\x00\x00\x01\x03\x03\x0a";
    const ACK: [u8; 52] = *b"\x45\x00\x00\x34\x4c\x15\x40\x00\x40\x06\xa8\x4c\x0a\x42\x00\x0b\xcb\x00\x71\x15\
        \xd5\x2e\x01\xbb\x6a\x55\x1d\xe5\x93\x3f\xb6\x3e\x80\x10\x00\x3f\xff\x43\x00\x00\
        \x01\x01\x08\x0a\xca\x3c\x80\xad\xdd\x6f\x5f\xdb";

    fn segment(packet: &[u8]) -> Segment<'_> {
        let (ip, bytes) = packet.split_at(20);
        Segment::parse(bytes, bytes.len(), NetworkHeader::new(ip)).unwrap()
    }

    #[test]
    fn a_real_syn_has_its_fields_and_options() {
        let syn = segment(&SYN);
        assert_eq!((syn.sequence, syn.flags, syn.payload), (0x6a55_1de4, Segment::SYN, &b""[..]));
        assert_eq!((syn.acknowledgment(), syn.window(), syn.urgent_pointer()), (None, Some(64_240), None));
        assert_eq!(syn.checked_options(), CheckedOptions { timestamp: Some(0xca3c_80ad), has_md5: false });
        assert_eq!((syn.network().hop_limit(), syn.network().checksum()), (Some(64), Checksum::Right));
        let ack = segment(&ACK);
        assert_eq!((ack.acknowledgment(), ack.checked_options().timestamp), (Some(0x933f_b63e), Some(0xca3c_80ad)));
    }

    #[test]
    fn a_checksum_is_right_wrong_not_computed_or_not_captured() {
        for packet in [&SYN[..], &ACK[..]] {
            assert_eq!(segment(packet).checksum(), Checksum::Right);
            for damaged in [13, 25, 33, packet.len() - 1] {
                let mut damaged_packet = packet.to_vec();
                damaged_packet[damaged] ^= 0x20;
                assert_eq!(segment(&damaged_packet).checksum(), Checksum::Wrong, "{damaged}");
            }
        }
        // Zero, and the sum of the pseudo-header with and without length, as offload leaves them.
        for stored in [[0, 0], [0x46, 0x91], [0x46, 0x69]] {
            let mut packet = SYN;
            packet[36..38].copy_from_slice(&stored);
            assert_eq!(segment(&packet).checksum(), Checksum::NotComputed, "{stored:02x?}");
        }
        let truncated = Segment::parse(&SYN[20..56], 40, NetworkHeader::new(&SYN[..20])).unwrap();
        assert_eq!((truncated.checksum(), truncated.is_truncated()), (Checksum::NotCaptured, true));
        assert_eq!(truncated.checked_options().timestamp, Some(0xca3c_80ad));
        assert_eq!(Segment::without_header(1, Segment::ACK, b"x").checksum(), Checksum::NotCaptured);
    }

    #[test]
    fn a_checksum_over_ipv6_and_odd_payloads() {
        let mut network = [0; 40];
        (network[0], network[6], network[7]) = (0x60, 6, 64);
        (network[8], network[39]) = (0x20, 1);
        let mut bytes = SYN[20..].to_vec();
        bytes.push(0x77);
        bytes[16..18].fill(0);
        let (header, payload) = bytes.split_at(40);
        let covered = Covered {
            network: NetworkHeader::new(&network),
            protocol: TCP,
            header,
            payload,
            length: 41,
            stored: [0, 1],
        };
        // Addresses, protocol, length, the words of the header (without its checksum) and the odd byte.
        let words = header.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1])).sum::<u32>();
        let mut total = 0x2000 + 1 + 6 + 41 + words + 0x7700;
        total = (total & 0xffff) + (total >> 16);
        total = (total & 0xffff) + (total >> 16);
        assert_eq!(covered.state(), Checksum::Wrong);
        bytes[16..18].copy_from_slice(&(!(total as u16)).to_be_bytes());
        let segment = Segment::parse(&bytes, 41, NetworkHeader::new(&network)).unwrap();
        assert_eq!(segment.checksum(), Checksum::Right);
    }

    #[test]
    fn options_that_do_not_fit_end_the_list() {
        let timestamp = |value| CheckedOptions { timestamp: Some(value), has_md5: false };
        let md5 = CheckedOptions { timestamp: None, has_md5: true };
        for (options, expected) in [
            (&[8, 10, 1, 2][..], CheckedOptions::default()),
            (&[8, 1, 1, 2], CheckedOptions::default()),
            (&[8, 0, 19, 2], CheckedOptions::default()),
            (&[2, 4, 5, 6, 0, 19, 2, 1], CheckedOptions::default()),
            (&[1, 1, 1, 19], CheckedOptions::default()),
            (&[19, 9, 29, 2], CheckedOptions::default()),
            (&[1, 1, 1, 1, 19, 2], md5),
            (&[19, 18, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1], md5),
            (&[29, 4, 1, 1, 19, 2], md5),
            (&[1, 1, 8, 10, 0, 0, 1, 2, 0, 0, 0, 0], timestamp(0x102)),
            (&[8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 8, 10, 0, 0, 0, 2, 0, 0, 0, 0], timestamp(2)),
        ] {
            assert_eq!(CheckedOptions::of(options), expected, "{options:?}");
        }
    }

    #[test]
    fn common_options_are_told_at_a_glance_as_by_a_walk() {
        let timestamps = [8, 10, 9, 8, 7, 6, 5, 4, 3, 2];
        for common in [
            [&[1, 1][..], &timestamps].concat(),
            [&[2, 4, 5, 0xb4, 4, 2][..], &timestamps, &[1, 3, 3, 7]].concat(),
            [&[2, 4, 5, 0xb4, 1, 3, 3, 6, 1, 1][..], &timestamps, &[4, 2, 0, 0]].concat(),
            vec![2, 4, 5, 0xb4, 1, 3, 3, 8, 1, 1, 4, 2],
        ] {
            assert_eq!(CheckedOptions::of(&common), CheckedOptions::walk(&common));
            for place in 0..common.len() {
                for value in 0..=u8::MAX {
                    let mut odd = common.clone();
                    odd[place] = value;
                    assert_eq!(CheckedOptions::of(&odd), CheckedOptions::walk(&odd), "{odd:?}");
                }
            }
        }
    }

    #[test]
    fn the_urgent_pointer_needs_its_flag() {
        let mut packet = ACK;
        packet[39] = 3;
        assert_eq!(segment(&packet).urgent_pointer(), None);
        packet[33] |= Segment::URG;
        assert_eq!(segment(&packet).urgent_pointer(), Some(3));
    }

    #[test]
    fn a_datagram_without_checksum_has_none_computed() {
        // One byte from port 40000 to port 53.
        let ip = &SYN[..20];
        let mut header = [0x9c, 0x40, 0, 53, 0, 9, 0, 0];
        let datagram = UdpDatagram::new(&header, b"x", NetworkHeader::new(ip));
        assert_eq!(datagram.checksum(), Checksum::NotComputed);
        let sum: u32 = 0x0a42 + 0x000b + 0xcb00 + 0x7115 + 17 + 9 + 0x9c40 + 53 + 9 + 0x7800;
        let stored = !((sum & 0xffff) as u16 + (sum >> 16) as u16);
        header[6..].copy_from_slice(&stored.to_be_bytes());
        let datagram = UdpDatagram::new(&header, b"x", NetworkHeader::new(ip));
        assert_eq!(datagram.checksum(), Checksum::Right);
        assert_eq!(UdpDatagram::new(&header, b"y", NetworkHeader::new(ip)).checksum(), Checksum::Wrong);
        assert_eq!(UdpDatagram::new(&header, b"", NetworkHeader::new(ip)).checksum(), Checksum::NotCaptured);
    }
}
