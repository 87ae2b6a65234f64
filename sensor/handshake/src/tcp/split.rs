//! A ClientHello in one TLS record that comes in several segments in order, as the long hellos of post-quantum key exchange
//! do. Its bytes are copied once, the headers too, and nothing else is noted. Whatever does not fit goes on in a [`TcpInspector`],
//! as if that had taken the segments itself: see [`TcpInspector::take_over`].
//!
//! A checksum costs a look at all bytes, so it is tested only where it matters: when an event shows the hello, when the hello
//! goes on elsewhere, and when its rest will not come.

use arrayvec::ArrayVec;
use vigie_decode::{NetworkHeader, Segment};
use vigie_flow::Side;

use super::TcpInspector;
use crate::name_hash::name_hash;
use crate::opening::{Desync, Opening};
use crate::tls::{ClientHello, HELLO_HEADER_BYTES, HelloScan, HelloStart};
use crate::{Counts, Limits};

/// Segments of a hello. What comes in more of them goes on in an inspector.
const SEGMENTS_MAX: usize = 8;

/// Where the headers of a segment end, and its payload.
#[derive(Clone, Copy, Debug)]
struct Part {
    network_end: u16,
    header_end: u16,
    payload_end: u32,
    /// Length on the wire of TCP header and payload.
    wire_length: u32,
}

/// A hello of which the first segments came.
#[derive(Debug, Default)]
pub struct SplitHello {
    /// None only while it waits to be used again.
    opening: Option<Opening>,
    /// A segment came with another hop limit than the SYN.
    has_other_hop_limit: bool,
    /// The hello, or as much of it as came.
    is_reported: bool,
    parts: ArrayVec<Part, SEGMENTS_MAX>,
    /// Of each part the IP header, then the TCP header.
    headers: Vec<u8>,
    /// Bytes of the record, its header and that of the message included.
    length: u32,
    scan: HelloScan,
    bytes: Vec<u8>,
}

/// What a segment adds to a hello.
#[derive(Debug)]
pub enum Addition<'a> {
    /// Its next bytes.
    Part,
    /// Its last bytes.
    Whole(ClientHello<'a>),
    /// The segment does not fit: nothing is taken of it.
    Other,
}

impl SplitHello {
    /// Bytes of memory held, those of the struct itself among them.
    #[inline]
    pub const fn memory_bytes(&self) -> usize {
        size_of::<Self>() + self.headers.capacity() + self.bytes.capacity()
    }

    /// Whether a part of a hello came that was not reported.
    pub fn has_partial_hello(&self) -> bool {
        !self.is_reported
    }

    /// How the connection was opened.
    pub const fn opening_mut(&mut self) -> Option<&mut Opening> {
        self.opening.as_mut()
    }

    /// How the connection was opened.
    pub const fn opening(&self) -> Option<Opening> {
        self.opening
    }

    /// Begins with a segment at the client's first byte, and forgets what came before. False if it is not the first part of a
    /// hello in one record, or if the server may drop it.
    pub fn begin(&mut self, mut opening: Opening, segment: &Segment<'_>, limits: &Limits) -> bool {
        let Some(start) = HelloStart::read(segment.payload) else { return false };
        let length = HELLO_HEADER_BYTES + start.announced;
        let fits = length <= limits.stream_bytes_max
            && start.announced <= limits.hello_bytes_max
            && limits.undecided_segments_max > 0
            && segment.payload.len() < length
            && is_plain(segment)
            && opening.why_void(segment, false).is_none();
        let mut scan = HelloScan::default();
        if !fits || scan.advance(start.body, start.announced).is_err() {
            return false;
        }
        self.has_other_hop_limit = opening.note_hop_limit(segment);
        (self.opening, self.is_reported) = (Some(opening), false);
        (self.length, self.scan) = (length as u32, scan);
        self.parts.clear();
        self.headers.clear();
        self.bytes.clear();
        // A hello that announces much more than it shows gets no more than twice its size.
        self.bytes.reserve_exact(length.min(segment.payload.len() * 2));
        self.keep(segment);
        true
    }

    /// Keeps a segment, for which there must be room.
    fn keep(&mut self, segment: &Segment<'_>) {
        self.headers.extend_from_slice(segment.network().bytes());
        let network_end = self.headers.len() as u16;
        self.headers.extend_from_slice(segment.header());
        let header_end = self.headers.len() as u16;
        self.bytes.extend_from_slice(segment.payload);
        let (payload_end, wire_length) = (self.bytes.len() as u32, segment.wire_length());
        let _ = self.parts.try_push(Part { network_end, header_end, payload_end, wire_length });
    }

    /// Forgets all but so many segments, the first ones.
    fn keep_only(&mut self, segments: usize) {
        self.parts.truncate(segments);
        let (headers, bytes) = self.parts.last().map_or((0, 0), |part| (part.header_end, part.payload_end));
        self.headers.truncate(usize::from(headers));
        self.bytes.truncate(bytes as usize);
    }

    /// The segments that came.
    fn segments(&self) -> impl Iterator<Item = Segment<'_>> {
        let first = self.opening.map_or(0, |opening| opening.client_first());
        let mut ends = (0_usize, 0_usize);
        self.parts.iter().filter_map(move |part| {
            let (headers_start, start) = ends;
            ends = (usize::from(part.header_end), part.payload_end as usize);
            let network = self.headers.get(headers_start..usize::from(part.network_end))?;
            let header = self.headers.get(usize::from(part.network_end)..usize::from(part.header_end))?;
            let payload = self.bytes.get(start..part.payload_end as usize)?;
            let segment = Segment::of_parts(header, payload, part.wire_length, NetworkHeader::new(network));
            segment.or_else(|| Some(Segment::without_header(first.wrapping_add(start as u32), Segment::ACK, payload)))
        })
    }

    /// Whether a server drops one of the segments for its checksum: then the hello is to go on in an inspector.
    pub fn has_wrong_checksum(&self) -> bool {
        self.opening.is_some_and(|opening| self.segments().any(|segment| opening.has_wrong_checksum(&segment)))
    }

    /// Takes another segment with payload.
    pub fn add(&mut self, side: Side, segment: &Segment<'_>, limits: &Limits) -> Addition<'_> {
        let (before, length) = (self.bytes.len(), self.length as usize);
        let Some(opening) = &mut self.opening else { return Addition::Other };
        let fits = !self.is_reported
            && before > 0
            && side == opening.client()
            && segment.sequence == opening.client_first().wrapping_add(before as u32)
            && before + segment.payload.len() <= length
            && self.parts.len() < limits.undecided_segments_max.min(SEGMENTS_MAX)
            && is_plain(segment)
            && opening.why_void(segment, false).is_none();
        if !fits {
            return Addition::Other;
        }
        self.has_other_hop_limit |= opening.note_hop_limit(segment);
        self.keep(segment);
        let body = self.bytes.get(HELLO_HEADER_BYTES..).unwrap_or_default();
        if self.scan.advance(body, length - HELLO_HEADER_BYTES).is_err() {
            self.keep_only(self.parts.len() - 1);
            return Addition::Other;
        }
        if self.bytes.len() < length {
            return Addition::Part;
        }
        self.is_reported = true;
        self.hello().map_or(Addition::Part, Addition::Whole)
    }

    /// The hello as far as it came.
    fn hello(&mut self) -> Option<ClientHello<'_>> {
        let announced = (self.length as usize).saturating_sub(HELLO_HEADER_BYTES);
        self.scan.advance(self.bytes.get(HELLO_HEADER_BYTES..)?, announced).ok()
    }

    /// The hello without its tail, if its name is there and was not reported yet. Nothing counts from the first segment on that
    /// the server drops.
    pub fn take_partial_hello(&mut self, counts: &mut Counts) -> Option<(Side, ClientHello<'_>)> {
        let opening = self.opening?;
        let client = opening.client();
        if self.is_reported {
            return None;
        }
        let wrong = self.segments().position(|segment| opening.has_wrong_checksum(&segment));
        if let Some(place) = wrong {
            counts.count_void(Desync::CHECKSUM);
            self.keep_only(place);
            self.scan = HelloScan::default();
        }
        self.hello().filter(|hello| hello.server_name().is_some())?;
        self.is_reported = true;
        Some((client, self.hello()?))
    }
}

/// Whether a segment neither opens nor ends the connection, and has no urgent bytes.
const fn is_plain(segment: &Segment<'_>) -> bool {
    segment.flags & (Segment::SYN | Segment::FIN | Segment::RST | Segment::URG) == 0
}

impl TcpInspector {
    /// Goes on with a connection whose first segments are those of `split`, which is left empty. Where the server drops one of
    /// them nothing was reported that counts.
    #[cold]
    pub fn take_over(&mut self, split: &mut SplitHello, limits: &Limits, counts: &mut Counts) {
        let Some(opening) = split.opening else { return };
        let (client, is_reported) = (opening.client(), split.is_reported);
        self.open(opening);
        if split.has_wrong_checksum() {
            for segment in split.segments() {
                self.segment(client, &segment, limits, counts);
            }
            *split = SplitHello::default();
            return;
        }
        self.segments = split.parts.len() as u32;
        let last = split.segments().last();
        self.acknowledged = last.and_then(|segment| segment.acknowledgment()).map(|number| (client, number));
        // Of a part nothing is noted: the rest may show another name.
        let whole = split.hello().filter(|hello| hello.is_complete());
        let name = whole.and_then(|hello| hello.server_name()).map_or(0, name_hash);
        split.opening = None;
        let bytes = std::mem::take(&mut split.bytes);
        self.stream(client).take_over(bytes, split.has_other_hop_limit, is_reported.then_some(name), limits);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Counts;
    use crate::stream::Findings;
    use crate::tls::build::Hello;
    use proptest::prelude::*;

    const FIRST_BYTE: u32 = u32::MAX - 900;

    /// How a connection is read: its opening, then what came of it.
    enum Reader {
        Opening(Opening),
        Split(Box<SplitHello>),
        Tcp(Box<TcpInspector>),
    }

    /// A segment of the client with all its headers.
    #[derive(Clone, Debug)]
    struct Piece {
        offset: usize,
        flags: u8,
        payload: Vec<u8>,
        hop_limit: u8,
        has_wrong_checksum: bool,
    }

    impl Piece {
        fn new(offset: usize, payload: &[u8]) -> Self {
            Self { offset, flags: Segment::ACK, payload: payload.to_vec(), hop_limit: 64, has_wrong_checksum: false }
        }

        fn damaged(&self) -> Self {
            Self { has_wrong_checksum: true, ..self.clone() }
        }

        /// The IPv4 packet.
        fn packet(&self, sequence: u32) -> Vec<u8> {
            let length = (40 + self.payload.len()) as u16;
            let mut packet = b"\x45\0\0\0\0\0\0\0\0\x06\0\0\x0a\0\0\x01\xc0\0\x02\x01".to_vec();
            packet[2..4].copy_from_slice(&length.to_be_bytes());
            packet[8] = self.hop_limit;
            packet.extend([&b"\x9c\x40\x01\xbb"[..], &sequence.to_be_bytes(), &77_001_u32.to_be_bytes()].concat());
            packet.extend([0x50, self.flags, 0xff, 0xff, 0, 0, 0, 0]);
            packet.extend(&self.payload);
            let pseudo = u32::from(length - 20) + 6;
            let sums = [sum(&packet[..20]), sum(&packet[12..]) + pseudo];
            for (at, sum) in [10, 36].into_iter().zip(sums) {
                let folded = (sum & 0xffff) + (sum >> 16);
                let folded = (folded & 0xffff) + (folded >> 16);
                packet[at..at + 2].copy_from_slice(&(!folded as u16).to_be_bytes());
            }
            packet[36] ^= u8::from(self.has_wrong_checksum) * 0x55;
            packet
        }
    }

    fn sum(bytes: &[u8]) -> u32 {
        let word = |pair: &[u8]| u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]));
        bytes.chunks(2).map(word).sum()
    }

    fn segment(packet: &[u8]) -> Segment<'_> {
        Segment::parse(&packet[20..], packet.len() - 20, NetworkHeader::new(&packet[..20])).unwrap()
    }

    /// The names that segments of a client show, and how many of them were shown by [`SplitHello`], which is tried if `tries_split`.
    /// An event shows those that end in .com.
    fn names(pieces: &[Piece], tries_split: bool) -> (Vec<String>, usize) {
        let (limits, mut counts) = (Limits::default(), Counts::default());
        let syn = Piece { flags: Segment::SYN, ..Piece::new(0, b"") }.packet(FIRST_BYTE.wrapping_sub(1));
        let mut reader = Reader::Opening(Opening::new(Side::Low, &segment(&syn)));
        let (mut names, mut by_split) = (Vec::new(), 0);
        let name_of = |hello: &ClientHello<'_>| Some(String::from_utf8_lossy(hello.server_name()?).into_owned());
        let is_shown = |name: &Option<String>| name.as_ref().is_some_and(|name| name.ends_with(".com"));
        for piece in pieces {
            let packet = piece.packet(FIRST_BYTE.wrapping_add(piece.offset as u32));
            let segment = segment(&packet);
            let mut is_taken = false;
            reader = match reader {
                Reader::Opening(opening) => {
                    let mut split = Box::<SplitHello>::default();
                    is_taken = tries_split
                        && opening.is_at_first_byte(Side::Low, &segment)
                        && split.begin(opening, &segment, &limits);
                    if is_taken {
                        Reader::Split(split)
                    } else {
                        let mut inspector = Box::<TcpInspector>::default();
                        inspector.open(opening);
                        Reader::Tcp(inspector)
                    }
                }
                Reader::Split(mut split) => {
                    let addition = split.add(Side::Low, &segment, &limits);
                    is_taken = !matches!(addition, Addition::Other);
                    let name = if let Addition::Whole(hello) = &addition { name_of(hello) } else { None };
                    if !is_taken || is_shown(&name) && split.has_wrong_checksum() {
                        let mut inspector = Box::<TcpInspector>::default();
                        inspector.take_over(&mut split, &limits, &mut counts);
                        Reader::Tcp(inspector)
                    } else {
                        by_split += usize::from(name.is_some());
                        names.extend(name.filter(|_| !split.has_wrong_checksum()));
                        Reader::Split(split)
                    }
                }
                reader @ Reader::Tcp(_) => reader,
            };
            if let Reader::Tcp(inspector) = &mut reader
                && !is_taken
            {
                let keep = |found: &Findings<'_>, names: &mut Vec<String>| {
                    names.extend(found.hello.as_ref().and_then(name_of));
                };
                if inspector.is_done_with(Side::Low) {
                    inspector.late_segment(Side::Low, &segment, &limits, &mut counts);
                } else {
                    let before = names.len();
                    keep(&inspector.segment(Side::Low, &segment, &limits, &mut counts), &mut names);
                    if names.len() > before && inspector.is_void_hello(Side::Low, &segment, &limits, &mut counts) {
                        names.truncate(before);
                    }
                }
                while let Some(found) = inspector.next_reading(Side::Low, &limits, &mut counts) {
                    keep(&found, &mut names);
                }
            }
        }
        let partial = match &mut reader {
            Reader::Opening(_) => None,
            Reader::Split(split) => split.take_partial_hello(&mut counts),
            Reader::Tcp(inspector) => inspector.take_partial_hello(&limits),
        };
        names.extend(partial.and_then(|(_, hello)| name_of(&hello)));
        (names, by_split)
    }

    fn cut(bytes: &[u8], cuts: &[usize]) -> Vec<Piece> {
        let mut ends: Vec<usize> = cuts.iter().map(|cut| 1 + cut % (bytes.len() - 1)).chain([bytes.len()]).collect();
        ends.sort_unstable();
        ends.dedup();
        let starts = std::iter::once(0).chain(ends.iter().copied());
        starts.zip(&ends).map(|(start, &end)| Piece::new(start, &bytes[start..end])).collect()
    }

    #[test]
    fn a_hello_in_order_is_read_without_an_inspector() {
        let hello = Hello::post_quantum("www.tiktok.com").record();
        for cuts in [&[1_400][..], &[80], &[500, 1_000, 1_500]] {
            let segments = cut(&hello, cuts);
            assert_eq!(names(&segments, true), (vec!["www.tiktok.com".to_owned()], 1), "{cuts:?}");
            assert_eq!(names(&segments, false), (vec!["www.tiktok.com".to_owned()], 0), "{cuts:?}");
        }
        let short = cut(&hello, &[60]);
        assert_eq!(names(&short, true), (vec!["www.tiktok.com".to_owned()], 0), "the first part says too little");
    }

    #[test]
    fn a_decoy_for_a_part_is_noticed_later() {
        let (hello, decoy) =
            (Hello::post_quantum("www.tiktok.com").record(), Hello::post_quantum("www.google.com").record());
        let [first, true_rest] = &cut(&hello, &[1_400])[..] else { panic!() };
        let [_, decoy_rest] = &cut(&decoy, &[1_400])[..] else { panic!() };
        let segments = [first.clone(), decoy_rest.clone(), true_rest.clone()];
        assert_eq!(names(&segments, true), (vec!["www.google.com".to_owned(), "www.tiktok.com".to_owned()], 1));
    }

    #[test]
    fn what_the_server_drops_for_its_checksum_shows_nothing() {
        for decoy in ["www.google.com", "www.example.org"] {
            let (hello, decoy) = (Hello::post_quantum("www.tiktok.com").record(), Hello::post_quantum(decoy).record());
            let [first, rest] = &cut(&hello, &[1_400])[..] else { panic!() };
            let [decoy_first, decoy_rest] = &cut(&decoy, &[1_400])[..] else { panic!() };
            for (what, segments) in [
                ("the rest", vec![first.clone(), decoy_rest.damaged(), rest.clone()]),
                ("the first", vec![decoy_first.damaged(), first.clone(), rest.clone()]),
                ("both", vec![decoy_first.damaged(), decoy_rest.damaged(), first.clone(), rest.clone()]),
                (
                    "both, the truth between",
                    vec![decoy_first.damaged(), first.clone(), decoy_rest.damaged(), rest.clone()],
                ),
            ] {
                assert_eq!(names(&segments, true).0, ["www.tiktok.com"], "{what}");
            }
            assert_eq!(names(&[decoy_first.damaged(), decoy_rest.clone()], true).0, [""; 0]);
            assert_eq!(names(&[decoy_first.damaged()], true).0, [""; 0], "a part of it");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

        /// Whatever comes, an inspector that takes over shows what it had shown from the start.
        #[test]
        fn the_names_are_those_of_an_inspector(
            (true_cuts, decoy_cuts) in (prop::collection::vec(1..2_000_usize, 0..4), prop::collection::vec(1..2_000_usize, 0..3)),
            swaps in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 0..4),
            (damaged, value) in (any::<prop::sample::Index>(), any::<u8>()),
            is_damaged in any::<bool>(),
            odd_flags in prop::option::of((any::<prop::sample::Index>(), prop::sample::select(vec![0, 24, 17, 48]))),
            wrong in prop::collection::vec(any::<prop::sample::Index>(), 0..3),
            decoy in prop::sample::select(vec!["vk.com", "example.org"]),
            dropped in prop::option::of(any::<prop::sample::Index>()),
        ) {
            let mut hello = Hello::post_quantum("www.tiktok.com").record();
            if is_damaged {
                let place = damaged.index(hello.len());
                hello[place] = value;
            }
            let mut segments = cut(&hello, &true_cuts);
            segments.extend(cut(&Hello::post_quantum(decoy).record(), &decoy_cuts).into_iter().skip(1));
            for (one, other) in swaps {
                let (one, other) = (one.index(segments.len()), other.index(segments.len()));
                segments.swap(one, other);
            }
            if let Some(place) = dropped {
                segments.remove(place.index(segments.len()));
            }
            if let Some((place, flags)) = odd_flags && !segments.is_empty() {
                let place = place.index(segments.len());
                segments[place].flags = flags;
            }
            for place in wrong {
                let length = segments.len().max(1);
                if let Some(segment) = segments.get_mut(place.index(length)) {
                    segment.has_wrong_checksum = true;
                }
            }
            prop_assert_eq!(names(&segments, true).0, names(&segments, false).0);
        }
    }
}
