//! Versions of the bytes of a TCP stream that contradict each other. Where nothing proves which of them the server took, all
//! plausible readings are tried, and every name among them is reported.
//!
//! The first copy of a byte stands in the stream's assembly. Every later copy with another content is a *patch* here. A
//! reading is the assembly with some patches applied. Which patches matter is found while the hello is walked: only a
//! patch that holds a byte of its structure or of its name splits the search.

mod walk;

use vigie_wire::assembly::Assembly;

use self::walk::{Found, Halt, Walk};
use crate::Limits;
use crate::name_hash::name_hash;
use crate::opening::Desync;
use crate::prelude::HANDSHAKE_RECORD;
use crate::stage::{Findings, Stage};
use crate::stream::Stream;

/// Names of a stream that are reported.
const NAMES_MAX: usize = 64;
/// Pieces whose own version is tried although no more readings are, for each reading that a stream may have.
const LATE_PIECES_OF_READINGS: u32 = 2;
/// A reading of so many bytes and more counts as several: time stays bounded for long streams too.
const READING_BYTES: usize = 16_384;
/// Urgent bytes kept of a stream.
const URGENT_MAX: usize = 4;

/// A piece with another content than the assembly.
#[derive(Debug)]
struct Patch {
    offset: usize,
    /// It came with another hop limit than the SYN.
    has_other_hop_limit: bool,
    bytes: Vec<u8>,
}

impl Patch {
    const fn end(&self) -> usize {
        self.offset + self.bytes.len()
    }

    /// Whether another piece, which may be of the same sender, stands before or behind this one, and what is between them is known.
    const fn may_join(&self, other: &Self, known: usize) -> bool {
        let is_apart =
            self.end() <= other.offset && other.offset <= known || other.end() <= self.offset && self.offset <= known;
        is_apart && self.has_other_hop_limit == other.has_other_hop_limit
    }

    fn join(self, other: Self, base: &[u8]) -> Self {
        let (mut first, second) = if self.offset < other.offset { (self, other) } else { (other, self) };
        first.bytes.extend_from_slice(base.get(first.end()..second.offset).unwrap_or_default());
        first.bytes.extend_from_slice(&second.bytes);
        first
    }

    fn byte(&self, at: usize) -> Option<u8> {
        self.bytes.get(at.checked_sub(self.offset)?).copied()
    }
}

/// A reading: the patches to apply, by their places, and how urgent bytes are treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Reading {
    applied: u32,
    urgent: UrgentBytes,
}

/// What a receiver does with urgent bytes (RFC 9293 §3.8.5, RFC 6093).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum UrgentBytes {
    /// They stay in the stream.
    Kept,
    /// The byte before the urgent pointer is taken out.
    BeforePointer,
    /// The byte at the urgent pointer is taken out.
    AtPointer,
}

/// The contradicting versions of one stream.
#[derive(Debug, Default)]
pub struct Versions {
    patches: Vec<Patch>,
    /// Offsets that urgent pointers named.
    urgent: Vec<usize>,
    desync: Desync,
    walks: u32,
    /// Something came since the readings were last tried.
    is_changed: bool,
    /// The last patch came since then.
    has_new_patch: bool,
    /// Readings to report.
    readings: Vec<Reading>,
    /// Hashes of the names that were reported.
    reported: Vec<u32>,
    /// The bytes of the reading that is being reported.
    bytes: Vec<u8>,
    stage: Option<Stage>,
    /// How far the bytes are parsed while nothing contradicts them.
    undisputed: Option<Box<Stage>>,
    /// A message has begun in them of which more may come.
    is_amid_message: bool,
    /// The stream from its known beginning, until it is taken: this one is read from another place.
    pub(crate) left: Option<Box<Stream>>,
}

impl Versions {
    /// No versions yet of a stream that is read from another place than `left`.
    pub(crate) fn behind(left: Box<Stream>) -> Box<Self> {
        Box::new(Self { left: Some(left), ..Self::default() })
    }

    /// Bytes of memory held, those of the struct itself among them.
    pub fn memory_bytes(&self) -> usize {
        let patches: usize = self.patches.iter().map(|patch| size_of::<Patch>() + patch.bytes.capacity()).sum();
        let stage = self.stage.as_ref().map_or(0, Stage::memory_bytes);
        let undisputed = self.undisputed.as_ref().map_or(0, |stage| size_of::<Stage>() + stage.memory_bytes());
        let left = self.left.as_ref().map_or(0, |left| size_of::<Stream>() + left.memory_bytes());
        size_of::<Self>()
            + left
            + patches
            + self.bytes.capacity()
            + stage
            + undisputed
            + 8 * (self.reported.len() + self.readings.len())
    }

    /// Why the versions differ.
    pub const fn desync(&self) -> Desync {
        self.desync
    }

    /// Adds a piece that contradicts what is known. Where there is no more room it joins the one before it, or behind it, with
    /// what `base` has between them. True if an older one had to go: the last place is for the latest.
    pub fn add(
        &mut self,
        offset: usize,
        bytes: &[u8],
        has_other_hop_limit: bool,
        desync: Desync,
        base: &[u8],
        limits: &Limits,
    ) -> bool {
        self.desync.add(desync);
        self.is_changed = true;
        if self.patches.iter().any(|patch| patch.offset == offset && *patch.bytes == *bytes) {
            return false;
        }
        self.has_new_patch = true;
        let piece = Patch { offset, has_other_hop_limit, bytes: bytes.to_vec() };
        let is_full = self.patches.len() >= limits.stream_versions_max;
        if is_full {
            let place = self.patches.iter().rposition(|patch| patch.may_join(&piece, base.len()));
            if let Some(patch) = place.map(|place| self.patches.remove(place)) {
                self.patches.push(patch.join(piece, base));
                return false;
            }
            self.patches.pop();
        }
        self.patches.push(piece);
        is_full
    }

    /// Whether a byte of a piece at `offset` is known with another value from a piece that was added.
    pub fn contradicts(&self, offset: usize, bytes: &[u8]) -> bool {
        self.patches.iter().any(|patch| {
            let end = patch.end().min(offset.saturating_add(bytes.len()));
            let start = patch.offset.max(offset);
            start < end
                && patch.bytes.get(start - patch.offset..end - patch.offset) != bytes.get(start - offset..end - offset)
        })
    }

    /// Notes that an urgent pointer names the byte before `offset`.
    pub fn add_urgent(&mut self, offset: usize) {
        if self.urgent.len() < URGENT_MAX && !self.urgent.contains(&offset) {
            self.urgent.push(offset);
            self.desync.add(Desync::URGENT);
            self.is_changed = true;
        }
    }

    /// More bytes of the stream are known.
    pub const fn note_growth(&mut self) {
        self.is_changed = true;
    }

    /// Whether a message has begun, in bytes that nothing contradicts, of which more may come.
    pub const fn is_amid_message(&self) -> bool {
        self.is_amid_message
    }

    /// How many readings were tried.
    pub const fn tried_readings(&self) -> usize {
        self.walks as usize
    }

    /// Whether no more readings are tried.
    pub const fn is_exhausted(&self, limits: &Limits) -> bool {
        self.walks as usize >= limits.stream_readings_max
    }

    /// A name was reported of the stream; readings that give it again are not.
    pub fn mark_reported(&mut self, name: &[u8]) {
        self.mark_reported_hash(name_hash(name));
    }

    /// A name with this [hash](name_hash) was reported of the stream.
    pub fn mark_reported_hash(&mut self, hash: u32) {
        if !self.reported.contains(&hash) && self.reported.len() < NAMES_MAX {
            self.reported.push(hash);
        }
    }

    /// Hashes of the names that were reported of the stream.
    pub fn reported(&self) -> &[u32] {
        &self.reported
    }

    /// Looks for readings that give a name which was not reported yet. False if there are none to report.
    pub fn find_readings(&mut self, assembly: &Assembly, limits: &Limits) -> bool {
        if std::mem::take(&mut self.is_changed) {
            match self.patches.is_empty() && self.urgent.is_empty() {
                true => self.read_on(assembly.contiguous(), limits),
                false => self.search(assembly.contiguous(), limits),
            }
        }
        !self.readings.is_empty()
    }

    /// What the next of the readings that were found shows.
    pub fn next_reading(&mut self, assembly: &Assembly, limits: &Limits) -> Option<Findings<'_>> {
        let reading = self.readings.pop()?;
        self.read(reading, assembly.contiguous());
        let stage = self.stage.insert(Stage::new(limits));
        let mut findings = stage.read_all(&self.bytes, limits);
        findings.desync = self.desync;
        Some(findings)
    }

    /// Reads on in bytes that nothing contradicts: that costs no more than to read them once.
    fn read_on(&mut self, base: &[u8], limits: &Limits) {
        let stage = self.undisputed.get_or_insert_with(|| Box::new(Stage::new(limits)));
        let (mut has_name, mut is_new) = (false, false);
        for name in stage.read_all(base, limits).names() {
            has_name = true;
            is_new |= !self.reported.contains(&name_hash(name));
        }
        self.is_amid_message = !has_name && stage.is_amid_message();
        if is_new {
            self.try_reading(Reading { applied: 0, urgent: UrgentBytes::Kept }, base, limits);
        }
    }

    /// Finds the readings that give new names.
    fn search(&mut self, base: &[u8], limits: &Limits) {
        (self.undisputed, self.is_amid_message) = (None, false);
        // Behind many decoys the last piece is the true one, or those of one sender are: they are tried first, and when nothing
        // else is.
        if self.walks < LATE_PIECES_OF_READINGS.saturating_mul(limits.stream_readings_max as u32) {
            let from_elsewhere = self.patches_by(|patch| patch.has_other_hop_limit);
            let last = std::mem::take(&mut self.has_new_patch).then(|| 1 << (self.patches.len() - 1));
            // The first bytes came before a decoy of all of them.
            let behind_first = self.patches_by(|patch| patch.offset > 0);
            let of_one_sender = [self.all() & !from_elsewhere, behind_first & !from_elsewhere, from_elsewhere];
            for applied in last.into_iter().chain(of_one_sender) {
                self.try_reading(Reading { applied, urgent: UrgentBytes::Kept }, base, limits);
            }
        }
        self.search_structures(base, limits);
        let all = self.all();
        // Other protocols than TLS, and urgent bytes, by a few readings only.
        let treatments = [UrgentBytes::BeforePointer, UrgentBytes::AtPointer];
        let urgent = treatments.into_iter().filter(|_| !self.urgent.is_empty()).collect::<Vec<_>>();
        if urgent.is_empty() && self.surely_begins_with_hello(base) {
            return;
        }
        let mut candidates = Vec::new();
        for applied in [0, all].into_iter().chain((0..self.patches.len()).map(|place| 1 << place)) {
            candidates.push(Reading { applied, urgent: UrgentBytes::Kept });
            candidates.extend(urgent.iter().map(|&urgent| Reading { applied, urgent }));
        }
        for reading in candidates {
            if self.is_exhausted(limits) {
                return;
            }
            self.try_reading(reading, base, limits);
        }
    }

    /// Whether all readings begin like a hello.
    fn surely_begins_with_hello(&self, base: &[u8]) -> bool {
        let begins = |first: Option<u8>| first.is_none_or(|first| first == HANDSHAKE_RECORD);
        begins(base.first().copied()) && self.patches.iter().all(|patch| begins(patch.byte(0)))
    }

    /// Keeps a reading to be reported, if it gives a new name.
    fn try_reading(&mut self, reading: Reading, base: &[u8], limits: &Limits) {
        self.count_walk(base);
        if let Some(hash) = self.new_name_hash_of(reading, base, limits) {
            self.offer(reading, hash, base, limits);
        }
    }

    /// Counts a walk through so many bytes.
    fn count_walk(&mut self, base: &[u8]) {
        self.walks = self.walks.saturating_add(1 + (base.len() / READING_BYTES) as u32);
    }

    /// The patches that are of a kind.
    fn patches_by(&self, is_of_kind: impl Fn(&Patch) -> bool) -> u32 {
        let places = self.patches.iter().enumerate().filter(|(_, patch)| is_of_kind(patch));
        places.fold(0, |patches, (place, _)| patches | 1 << place)
    }

    const fn all(&self) -> u32 {
        ((1_u64 << self.patches.len()) - 1) as u32
    }

    /// Walks the hello or the request at the stream's start through all readings that differ in what the walk looks at.
    fn search_structures(&mut self, base: &[u8], limits: &Limits) {
        let mut open = vec![(0_u32, 0_u32)];
        while let Some((decided, applied)) = open.pop() {
            if self.is_exhausted(limits) {
                return;
            }
            self.count_walk(base);
            let reading = Reading { applied, urgent: UrgentBytes::Kept };
            self.read(reading, base);
            match Walk::new(&self.bytes, &self.patches, decided).read() {
                Ok(Found::Name(hash)) => self.offer(reading, hash, base, limits),
                Ok(Found::Request) => self.try_reading(reading, base, limits),
                Err(Halt::Undecided(place)) => {
                    let patch = 1 << place;
                    open.push((decided | patch, applied));
                    open.push((decided | patch, applied | patch));
                }
                Err(Halt::Nothing | Halt::More) => {}
            }
        }
    }

    /// Keeps a reading to be reported, if it gives the name whole and the name is new.
    fn offer(&mut self, reading: Reading, hash: u32, base: &[u8], limits: &Limits) {
        let is_new = self.reported.len() < NAMES_MAX && !self.reported.contains(&hash);
        if is_new && self.new_name_hash_of(reading, base, limits) == Some(hash) {
            self.reported.push(hash);
            self.readings.push(reading);
        }
    }

    /// The first name that a reading gives and that was not reported yet.
    fn new_name_hash_of(&mut self, reading: Reading, base: &[u8], limits: &Limits) -> Option<u32> {
        self.read(reading, base);
        let mut stage = Stage::new(limits);
        let found = stage.read_all(&self.bytes, limits);
        found.names().map(name_hash).find(|hash| !self.reported.contains(hash))
    }

    /// Puts the bytes of a reading together.
    fn read(&mut self, reading: Reading, base: &[u8]) {
        self.bytes.clear();
        self.bytes.extend_from_slice(base);
        for (place, patch) in self.patches.iter().enumerate() {
            if reading.applied & 1 << place == 0 {
                continue;
            }
            let end = patch.end().min(base.len());
            if let Some(target) = self.bytes.get_mut(patch.offset..end)
                && let Some(source) = patch.bytes.get(..target.len())
            {
                target.copy_from_slice(source);
            }
        }
        let behind = match reading.urgent {
            UrgentBytes::Kept => return,
            UrgentBytes::BeforePointer => 1,
            UrgentBytes::AtPointer => 0,
        };
        let mut taken: Vec<usize> = self.urgent.iter().filter_map(|at| at.checked_sub(behind)).collect();
        taken.sort_unstable();
        for at in taken.into_iter().rev().filter(|at| *at < base.len()) {
            self.bytes.remove(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use vigie_decode::Segment;
    use vigie_flow::Side;
    use vigie_wire::assembly::Assembly;

    use super::Versions;
    use crate::opening::Desync;
    use crate::stream::Findings;
    use crate::tcp::TcpInspector;
    use crate::tls::build::Hello;
    use crate::{Counts, Limits};

    const FIRST_BYTE: u32 = u32::MAX - 300;
    const TRUE_NAME: &str = "www.tiktok.com";

    fn limits() -> Limits {
        Limits {
            stream_bytes_max: 49_152,
            hello_bytes_max: 32_768,
            prelude_bytes_max: 8_192,
            undecided_segments_max: 16_384,
            ..Limits::default()
        }
    }

    /// The names that a connection shows, as its worker reads it.
    fn names(pieces: &[(usize, Vec<u8>)]) -> Vec<String> {
        let (limits, mut counts) = (limits(), Counts::default());
        let mut inspector = TcpInspector::default();
        inspector.begin(Side::Low, FIRST_BYTE);
        let mut names = Vec::new();
        for (offset, piece) in pieces {
            let sequence = FIRST_BYTE.wrapping_add(*offset as u32);
            let segment = Segment::without_header(sequence, Segment::ACK, piece);
            let mut keep = |found: &Findings<'_>| {
                let of_hello = found.hello.as_ref().and_then(|hello| hello.server_name());
                let name = of_hello.or(found.name.map(|(_, name)| name));
                names.extend(name.map(|name| String::from_utf8_lossy(name).into_owned()));
            };
            if inspector.is_done_with(Side::Low) {
                inspector.late_segment(Side::Low, &segment, &limits, &mut counts);
            } else {
                keep(&inspector.segment(Side::Low, &segment, &limits, &mut counts));
            }
            while let Some(found) = inspector.next_reading(Side::Low, &limits, &mut counts) {
                keep(&found);
            }
            if !inspector.is_done_with(Side::Low) {
                inspector.free_unused(Side::Low);
            } else if !inspector.holds_bytes(Side::Low) {
                inspector.restart(Side::Low);
                inspector.begin(Side::Low, FIRST_BYTE);
            }
            assert!(inspector.memory_bytes() < 64 * 1024);
        }
        names
    }

    /// Cuts bytes into pieces with their offsets.
    fn cut(bytes: &[u8], cuts: &[usize]) -> Vec<(usize, Vec<u8>)> {
        let mut ends: Vec<usize> = cuts.iter().map(|cut| cut % bytes.len()).filter(|end| *end > 0).collect();
        ends.push(bytes.len());
        ends.sort_unstable();
        ends.dedup();
        let starts = std::iter::once(0).chain(ends.iter().copied());
        starts.zip(&ends).map(|(start, &end)| (start, bytes[start..end].to_vec())).collect()
    }

    #[test]
    fn a_forged_part_of_the_name_leaves_both_names() {
        let hello = Hello::to(TRUE_NAME).record();
        let at = hello.windows(TRUE_NAME.len()).position(|bytes| bytes == TRUE_NAME.as_bytes()).unwrap();
        let forged = b"vk.com/aaaaaaa"[..TRUE_NAME.len()].to_vec();
        let (before, after) = (hello[..at].to_vec(), hello[at + TRUE_NAME.len()..].to_vec());
        let name = TRUE_NAME.as_bytes().to_vec();
        for pieces in [
            vec![
                (0, before.clone()),
                (at, forged.clone()),
                (at, name.clone()),
                (at, forged.clone()),
                (at + name.len(), after.clone()),
            ],
            vec![(at + name.len(), after.clone()), (at, name.clone()), (at, forged.clone()), (0, before.clone())],
            vec![(0, before.clone()), (at, forged.clone()), (at + name.len(), after.clone()), (at, name.clone())],
        ] {
            let names = names(&pieces);
            assert!(names.iter().any(|name| name == TRUE_NAME), "{names:?}");
            assert_eq!(names.len(), 2, "{names:?}");
        }
    }

    #[test]
    fn a_retransmission_in_other_pieces_says_nothing_new() {
        let hello = Hello::to(TRUE_NAME).record();
        for cuts in [[20, 90], [1, 5], [60, 61]] {
            let mut pieces = cut(&hello, &cuts);
            pieces.extend(cut(&hello, &[33, 70]));
            pieces.push((0, hello.clone()));
            assert_eq!(names(&pieces), [TRUE_NAME]);
        }
    }

    #[test]
    fn many_contradictions_cost_bounded_time_and_memory() {
        let hello = Hello::to(TRUE_NAME).record();
        let mut pieces = cut(&hello, &(1..hello.len()).collect::<Vec<_>>());
        for round in 0..50_u8 {
            pieces.extend((0..hello.len()).map(|at| (at, vec![round.wrapping_mul(37); 1])));
        }
        pieces.extend(cut(&hello, &[40]));
        assert!(names(&pieces).iter().any(|name| name == TRUE_NAME));
    }

    #[test]
    fn behind_many_decoys_the_last_piece_is_read() {
        let hello = Hello::to(TRUE_NAME).record();
        let at = hello.windows(TRUE_NAME.len()).position(|bytes| bytes == TRUE_NAME.as_bytes()).unwrap();
        let decoys = || (0..40).map(|number| (at, format!("www.decoy{number:02}.a").into_bytes()));
        let mut pieces: Vec<_> = decoys().collect();
        pieces.push((0, hello.clone()));
        assert!(names(&pieces).iter().any(|name| name == TRUE_NAME), "the whole hello");
        let mut pieces = vec![(0, hello[..at].to_vec())];
        pieces.extend(decoys());
        let end = at + TRUE_NAME.len();
        pieces.extend([(at, hello[at..end].to_vec()), (end, hello[end..].to_vec())]);
        assert!(names(&pieces).iter().any(|name| name == TRUE_NAME), "the name");
    }

    #[test]
    fn a_reading_of_a_long_stream_counts_as_several() {
        let limits = limits();
        let tried = |length: usize| {
            let request: Vec<u8> =
                b"GET / HTTP/1.1\r\n".iter().chain(b"a: b\r\n".iter().cycle().take(length)).copied().collect();
            let mut stream = Assembly::default();
            stream.insert(0, &request, limits.stream_bytes_max).unwrap();
            let mut versions = Versions::default();
            versions.add(40, b"another", false, Desync::OVERLAP, &[], &limits);
            assert!(!versions.find_readings(&stream, &limits));
            versions.tried_readings()
        };
        assert!(tried(2_000) > 0);
        assert_eq!(tried(40_000), 3 * tried(2_000));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

        /// In any order, and with any segment sent twice, the true name is among those that are reported.
        #[test]
        fn a_decoy_never_hides_the_true_name(
            decoy in prop_oneof![Just("www.google.com"), Just("vk.com"), Just("a.much.longer.name.example.org")],
            (true_cuts, decoy_cuts) in (prop::collection::vec(1..600_usize, 0..4), prop::collection::vec(1..600_usize, 0..4)),
            order in prop::collection::vec(any::<prop::sample::Index>(), 24),
        ) {
            let mut left = cut(&Hello::to(TRUE_NAME).record(), &true_cuts);
            left.extend(cut(&Hello::to(decoy).record(), &decoy_cuts));
            let mut pieces = Vec::new();
            let mut order = order.into_iter();
            while !left.is_empty() {
                let index = order.next().map_or(0, |index| index.index(left.len()));
                // Every third piece comes again later.
                let piece = if pieces.len() % 3 == 2 { left[index].clone() } else { left.swap_remove(index) };
                pieces.push(piece);
            }
            let names = names(&pieces);
            let places: Vec<_> = pieces.iter().map(|(at, piece)| (*at, piece.len(), piece.first().copied())).collect();
            prop_assert!(names.iter().any(|name| name == TRUE_NAME), "{names:?} of {places:?}");
        }
    }
}
