//! A ClientHello in one TLS record that comes in several segments in order, as the long hellos of post-quantum key exchange
//! do. Its bytes are copied once, and nothing else is noted. Whatever does not fit goes on in a [`TcpInspector`], as if that had
//! taken the segments itself: see [`TcpInspector::take_over`].

use vigie_decode::Segment;
use vigie_flow::Side;

use super::TcpInspector;
use crate::Limits;
use crate::opening::Opening;
use crate::tls::{ClientHello, HELLO_HEADER_BYTES, HelloScan, HelloStart};
use crate::versions::name_hash;

/// A hello of which the first segments came.
#[derive(Debug, Default)]
pub struct SplitHello {
    /// None only while it waits to be used again.
    opening: Option<Opening>,
    /// The acknowledgment number of the last segment.
    acknowledged: Option<u32>,
    segments: u32,
    /// A segment came with another hop limit than the SYN.
    has_other_hop_limit: bool,
    /// The hello, or as much of it as came.
    is_reported: bool,
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
        size_of::<Self>() + self.bytes.capacity()
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
            && opening.why_void(segment, true).is_none();
        let mut scan = HelloScan::default();
        if !fits || scan.advance(start.body, start.announced).is_err() {
            return false;
        }
        self.has_other_hop_limit = opening.note_hop_limit(segment);
        (self.opening, self.acknowledged) = (Some(opening), segment.acknowledgment());
        (self.segments, self.is_reported, self.length, self.scan) = (1, false, length as u32, scan);
        self.bytes.clear();
        // A hello that announces much more than it shows gets no more than twice its size.
        self.bytes.reserve_exact(length.min(segment.payload.len() * 2));
        self.bytes.extend_from_slice(segment.payload);
        true
    }

    /// Takes another segment with payload.
    pub fn add(&mut self, side: Side, segment: &Segment<'_>, limits: &Limits) -> Addition<'_> {
        let (before, length) = (self.bytes.len(), self.length as usize);
        let Some(opening) = &mut self.opening else { return Addition::Other };
        let fits = !self.is_reported
            && side == opening.client()
            && segment.sequence == opening.client_first().wrapping_add(before as u32)
            && before + segment.payload.len() <= length
            && (self.segments as usize) < limits.undecided_segments_max
            && is_plain(segment)
            && opening.why_void(segment, true).is_none();
        if !fits {
            return Addition::Other;
        }
        self.bytes.extend_from_slice(segment.payload);
        let body = self.bytes.get(HELLO_HEADER_BYTES..).unwrap_or_default();
        if self.scan.advance(body, length - HELLO_HEADER_BYTES).is_err() {
            self.bytes.truncate(before);
            return Addition::Other;
        }
        self.has_other_hop_limit |= opening.note_hop_limit(segment);
        self.acknowledged = segment.acknowledgment();
        self.segments += 1;
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

    /// The hello without its tail, if its name is there and was not reported yet.
    pub fn take_partial_hello(&mut self) -> Option<(Side, ClientHello<'_>)> {
        let client = self.opening?.client();
        if self.is_reported {
            return None;
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
    /// Goes on with a connection whose first segments are those of `split`, which is left empty.
    #[cold]
    pub fn take_over(&mut self, split: &mut SplitHello, limits: &Limits) {
        let Some(opening) = split.opening.take() else { return };
        let (client, is_reported) = (opening.client(), split.is_reported);
        self.open(opening);
        self.segments = split.segments;
        self.acknowledged = split.acknowledged.map(|number| (client, number));
        // Of a part nothing is noted: the rest may show another name.
        let whole = split.hello().filter(|hello| hello.is_complete());
        let name = whole.and_then(|hello| hello.server_name()).map_or(0, name_hash);
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
        Split(SplitHello),
        Tcp(Box<TcpInspector>),
    }

    /// The names that segments of a client show, and how many of them were shown by [`SplitHello`], which is tried if `tries_split`.
    fn names(segments: &[(usize, u8, Vec<u8>)], tries_split: bool) -> (Vec<String>, usize) {
        let (limits, mut counts) = (Limits::default(), Counts::default());
        let syn = Segment::without_header(FIRST_BYTE.wrapping_sub(1), Segment::SYN, &[]);
        let mut reader = Reader::Opening(Opening::new(Side::Low, &syn));
        let (mut names, mut by_split) = (Vec::new(), 0);
        for (offset, flags, payload) in segments {
            let segment = Segment::without_header(FIRST_BYTE.wrapping_add(*offset as u32), *flags, payload);
            let mut is_taken = false;
            reader = match reader {
                Reader::Opening(opening) => {
                    let mut split = SplitHello::default();
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
                Reader::Split(mut split) => match split.add(Side::Low, &segment, &limits) {
                    Addition::Other => {
                        let mut inspector = Box::<TcpInspector>::default();
                        inspector.take_over(&mut split, &limits);
                        Reader::Tcp(inspector)
                    }
                    addition => {
                        is_taken = true;
                        if let Addition::Whole(hello) = addition {
                            by_split += 1;
                            names.extend(hello.server_name().map(|name| String::from_utf8_lossy(name).into_owned()));
                        }
                        Reader::Split(split)
                    }
                },
                reader @ Reader::Tcp(_) => reader,
            };
            if let Reader::Tcp(inspector) = &mut reader
                && !is_taken
            {
                let mut keep = |found: &Findings<'_>| {
                    let of_hello = found.hello.as_ref().and_then(|hello| hello.server_name());
                    names.extend(of_hello.map(|name| String::from_utf8_lossy(name).into_owned()));
                };
                if inspector.is_done_with(Side::Low) {
                    inspector.late_segment(Side::Low, &segment, &limits, &mut counts);
                } else {
                    keep(&inspector.segment(Side::Low, &segment, &limits, &mut counts));
                }
                while let Some(found) = inspector.next_reading(Side::Low, &limits, &mut counts) {
                    keep(&found);
                }
            }
        }
        let partial = match &mut reader {
            Reader::Opening(_) => None,
            Reader::Split(split) => split.take_partial_hello(),
            Reader::Tcp(inspector) => inspector.take_partial_hello(&limits),
        };
        names.extend(partial.and_then(|(_, hello)| Some(String::from_utf8_lossy(hello.server_name()?).into_owned())));
        (names, by_split)
    }

    fn cut(bytes: &[u8], cuts: &[usize]) -> Vec<(usize, u8, Vec<u8>)> {
        let mut ends: Vec<usize> = cuts.iter().map(|cut| 1 + cut % (bytes.len() - 1)).chain([bytes.len()]).collect();
        ends.sort_unstable();
        ends.dedup();
        let starts = std::iter::once(0).chain(ends.iter().copied());
        starts.zip(&ends).map(|(start, &end)| (start, Segment::ACK, bytes[start..end].to_vec())).collect()
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
            dropped in prop::option::of(any::<prop::sample::Index>()),
        ) {
            let mut hello = Hello::post_quantum("www.tiktok.com").record();
            if is_damaged {
                let place = damaged.index(hello.len());
                hello[place] = value;
            }
            let mut segments = cut(&hello, &true_cuts);
            segments.extend(cut(&Hello::post_quantum("vk.com").record(), &decoy_cuts).into_iter().skip(1));
            for (one, other) in swaps {
                let (one, other) = (one.index(segments.len()), other.index(segments.len()));
                segments.swap(one, other);
            }
            if let Some(place) = dropped {
                segments.remove(place.index(segments.len()));
            }
            if let Some((place, flags)) = odd_flags && !segments.is_empty() {
                let place = place.index(segments.len());
                segments[place].1 = flags;
            }
            prop_assert_eq!(names(&segments, true).0, names(&segments, false).0);
        }
    }
}
