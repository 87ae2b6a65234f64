//! Joining of IP fragments in a bounded cache (RFC 791 §3.2, RFC 8200 §4.5): pieces in any order, twice, overlapping.
//! The first copy of a byte stays. Pieces are kept as they come, so memory follows what was received, not what an
//! offset claims; they are put in order once, when the datagram is whole.
//!
//! Not covered: what different hosts make of overlapping fragments. Overlaps are counted.

use std::collections::HashMap;

use foldhash::quality::RandomState;

use super::{Address, Encapsulation};

/// How much is kept of datagrams that are not yet whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FragmentLimits {
    /// Datagrams at once.
    pub fragment_datagrams_max: usize,
    /// Bytes of all of them.
    pub fragment_bytes_max: usize,
    /// Age of the first piece to come, milliseconds.
    pub fragment_timeout_ms: u64,
}

impl Default for FragmentLimits {
    fn default() -> Self {
        Self { fragment_datagrams_max: 4096, fragment_bytes_max: 16 << 20, fragment_timeout_ms: 30_000 }
    }
}

/// A fragment of an IP datagram.
#[derive(Clone, Copy, Debug)]
pub struct Fragment<'a> {
    /// Sender.
    pub source: Address,
    /// Receiver.
    pub destination: Address,
    /// What the fragments of one datagram share.
    pub identification: u32,
    /// IP protocol number of the payload; in IPv6 the one in the first fragment counts.
    pub protocol: u8,
    /// IPv6.
    pub v6: bool,
    /// Place of the payload in the datagram, bytes.
    pub offset: u32,
    /// More fragments follow.
    pub more: bool,
    /// The capture holds less of the payload than was on the wire.
    pub cut: bool,
    /// The captured payload.
    pub payload: &'a [u8],
    /// What stood around the fragment.
    pub encapsulation: Encapsulation,
    pub(super) depth: u8,
}

/// A datagram put together: what stood behind its IP header. [`decode_reassembled`](super::decode_reassembled) goes on from it.
#[derive(Clone, Debug)]
pub struct Datagram {
    /// Sender.
    pub source: Address,
    /// Receiver.
    pub destination: Address,
    /// IP protocol number of the payload.
    pub protocol: u8,
    /// What stood around the fragments.
    pub encapsulation: Encapsulation,
    /// The IP payload.
    pub payload: Vec<u8>,
    pub(super) v6: bool,
    pub(super) depth: u8,
}

/// What became of fragments, and where a limit bit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FragmentCounts {
    /// Fragments seen.
    pub fragments: u64,
    /// Datagrams that became whole.
    pub joined: u64,
    /// Datagrams dropped because pieces were missing for too long.
    pub timed_out: u64,
    /// Datagrams dropped, stalest first, because there were too many.
    pub evicted: u64,
    /// Datagrams dropped, stalest first, because all together had too many bytes.
    pub evicted_for_bytes: u64,
    /// Fragments that reach beyond the largest datagram there can be.
    pub too_large: u64,
    /// Fragments left out because their datagram was in too many pieces.
    pub too_many_pieces: u64,
    /// Fragments with bytes that were known already.
    pub overlapping: u64,
    /// Fragments that contradict the datagram's end.
    pub conflicting: u64,
    /// Fragments of which the capture holds only a part.
    pub truncated: u64,
    /// Fragments without payload.
    pub empty: u64,
}

impl FragmentCounts {
    /// All counts with their family and reason.
    #[rustfmt::skip]
    pub const fn labelled(&self) -> [(&'static str, &'static str, u64); 11] {
        [
            ("fragment", "seen", self.fragments),
            ("fragment", "joined", self.joined),
            ("fragment", "timed_out", self.timed_out),
            ("limit", "fragment_datagrams_max", self.evicted),
            ("limit", "fragment_bytes_max", self.evicted_for_bytes),
            ("fragment", "too_large", self.too_large),
            ("limit", "fragment_pieces_max", self.too_many_pieces),
            ("fragment", "overlapping", self.overlapping),
            ("fragment", "conflicting", self.conflicting),
            ("fragment", "truncated", self.truncated),
            ("fragment", "empty", self.empty),
        ]
    }
}

/// The largest payload of a datagram (RFC 791 §3.1).
const DATAGRAM_BYTES_MAX: usize = 65_535;
/// Separate pieces of one datagram; those that come in order count as one.
const PIECES_MAX: usize = 512;
/// Buffers kept for the next datagram, and how big they and their lists of pieces may be.
const SPARES_MAX: usize = 64;
const SPARE_BYTES_MAX: usize = 4096;
const SPARE_PIECES_MAX: usize = 16;

/// Datagrams of which pieces are missing.
#[derive(Debug)]
pub struct Reassembler {
    limits: FragmentLimits,
    counts: FragmentCounts,
    /// Keyed at random per start, so that nobody chooses collisions.
    places: HashMap<Key, Place, RandomState>,
    slots: Vec<Slot>,
    /// Ends of the list of slots in use, in the order in which they were taken.
    stalest: Option<Place>,
    freshest: Option<Place>,
    /// Start of the list of slots not in use.
    free: Option<Place>,
    bytes_held: usize,
    spares: Vec<Vec<u8>>,
}

type Place = u32;

/// What the fragments of one datagram share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    source: Address,
    destination: Address,
    identification: u32,
    /// `None` for IPv6, whose fragments need not agree on it.
    protocol: Option<u8>,
    encapsulation: Encapsulation,
}

impl Key {
    fn new(fragment: &Fragment<'_>) -> Self {
        Self {
            source: fragment.source,
            destination: fragment.destination,
            identification: fragment.identification,
            protocol: (!fragment.v6).then_some(fragment.protocol),
            encapsulation: fragment.encapsulation,
        }
    }
}

impl Reassembler {
    /// An empty cache. It takes memory only as it is used.
    pub fn new(limits: FragmentLimits) -> Self {
        Self {
            limits,
            counts: FragmentCounts::default(),
            places: HashMap::default(),
            slots: Vec::new(),
            stalest: None,
            freshest: None,
            free: None,
            bytes_held: 0,
            spares: Vec::new(),
        }
    }

    /// What happened so far.
    pub const fn counts(&self) -> &FragmentCounts {
        &self.counts
    }

    /// Datagrams not yet whole.
    pub fn datagrams(&self) -> usize {
        self.places.len()
    }

    /// Memory that they hold, bytes.
    pub const fn bytes_held(&self) -> usize {
        self.bytes_held
    }

    /// Adds a fragment; gives the datagram if that made it whole.
    pub fn insert(&mut self, fragment: &Fragment<'_>, now_ns: u64) -> Option<Datagram> {
        self.counts.fragments += 1;
        self.expire(now_ns);
        let piece = self.usable(fragment)?;
        let key = Key::new(fragment);
        let place = match self.places.get(&key) {
            Some(&place) => place,
            None => self.begin(key, fragment, now_ns)?,
        };
        if !self.make_room(place, piece.len()) {
            return None;
        }
        let slot = self.slots.get_mut(place as usize)?;
        let held = slot.held();
        let added = slot.add(fragment.offset as usize, piece, fragment.more);
        if fragment.offset == 0 {
            slot.protocol = fragment.protocol;
        }
        let whole = slot.is_whole();
        self.bytes_held = self.bytes_held - held + slot.held();
        self.counts.overlapping += u64::from(added.overlapping);
        self.counts.conflicting += u64::from(added.conflicting);
        self.counts.too_many_pieces += u64::from(added.too_many_pieces);
        if whole { self.finish(place) } else { None }
    }

    /// Drops the datagrams that have waited too long. [`insert`](Self::insert) does it by itself.
    pub fn expire(&mut self, now_ns: u64) {
        let timeout_ns = self.limits.fragment_timeout_ms.saturating_mul(1_000_000);
        while let Some(place) = self.stalest {
            let fresh = |slot: &Slot| now_ns.saturating_sub(slot.first_seen_ns) <= timeout_ns;
            if self.slots.get(place as usize).is_none_or(fresh) {
                break;
            }
            self.remove(place);
            self.counts.timed_out += 1;
        }
    }

    /// Takes back a datagram that is done with, for its memory.
    pub fn recycle(&mut self, datagram: Datagram) {
        self.spare(datagram.payload);
    }

    /// The part of a fragment that can be used.
    fn usable<'a>(&mut self, fragment: &Fragment<'a>) -> Option<&'a [u8]> {
        let count = if fragment.cut {
            &mut self.counts.truncated
        } else if (fragment.offset as usize).saturating_add(fragment.payload.len()) > DATAGRAM_BYTES_MAX {
            &mut self.counts.too_large
        } else {
            // Offsets count in eights; what is odd at the end of any but the last comes again in the next.
            let odd = if fragment.more { fragment.payload.len() % 8 } else { 0 };
            let piece = fragment.payload.get(..fragment.payload.len() - odd).unwrap_or_default();
            if !piece.is_empty() {
                return Some(piece);
            }
            &mut self.counts.empty
        };
        *count += 1;
        None
    }

    /// Takes a slot for a new datagram, the stalest one's if there is no other.
    fn begin(&mut self, key: Key, fragment: &Fragment<'_>, now_ns: u64) -> Option<Place> {
        if self.places.len() >= self.limits.fragment_datagrams_max {
            self.remove(self.stalest?);
            self.counts.evicted += 1;
        }
        let place = match self.free {
            Some(place) => place,
            None => {
                let place = Place::try_from(self.slots.len()).ok()?;
                self.slots.push(Slot::new(key));
                place
            }
        };
        let buffer = self.spares.pop().unwrap_or_default();
        let slot = self.slots.get_mut(place as usize)?;
        if self.free == Some(place) {
            self.free = slot.fresher;
        }
        slot.key = key;
        slot.first_seen_ns = now_ns;
        slot.protocol = fragment.protocol;
        slot.v6 = fragment.v6;
        slot.depth = fragment.depth;
        slot.buffer = buffer;
        slot.staler = self.freshest;
        slot.fresher = None;
        self.bytes_held += slot.held();
        match self.freshest.and_then(|freshest| self.slots.get_mut(freshest as usize)) {
            Some(freshest) => freshest.fresher = Some(place),
            None => self.stalest = Some(place),
        }
        self.freshest = Some(place);
        self.places.insert(key, place);
        Some(place)
    }

    /// Makes sure that a slot's buffer can take `more` bytes, at the cost of the stalest; false if that was itself.
    fn make_room(&mut self, place: Place, more: usize) -> bool {
        let Some((capacity, needed)) =
            self.slots.get(place as usize).map(|slot| (slot.buffer.capacity(), slot.buffer.len() + more))
        else {
            return false;
        };
        if needed <= capacity {
            return true;
        }
        let wanted = needed.max(capacity * 2).min(needed.max(DATAGRAM_BYTES_MAX));
        while self.bytes_held + (wanted - capacity) > self.limits.fragment_bytes_max {
            let Some(stalest) = self.stalest else {
                return false;
            };
            self.remove(stalest);
            self.counts.evicted_for_bytes += 1;
            if stalest == place {
                return false;
            }
        }
        let Some(slot) = self.slots.get_mut(place as usize) else {
            return false;
        };
        slot.buffer.reserve_exact(wanted - slot.buffer.len());
        self.bytes_held += slot.buffer.capacity() - capacity;
        true
    }

    /// Hands out a whole datagram.
    fn finish(&mut self, place: Place) -> Option<Datagram> {
        let spare = self.spares.pop().unwrap_or_default();
        let slot = self.slots.get_mut(place as usize)?;
        self.bytes_held -= slot.buffer.capacity();
        let (payload, rest) = slot.in_order(spare);
        let datagram = Datagram {
            source: slot.key.source,
            destination: slot.key.destination,
            protocol: slot.protocol,
            encapsulation: slot.key.encapsulation,
            payload,
            v6: slot.v6,
            depth: slot.depth,
        };
        self.spare(rest);
        self.remove(place);
        self.counts.joined += 1;
        Some(datagram)
    }

    /// Frees a slot.
    fn remove(&mut self, place: Place) {
        let Some(slot) = self.slots.get_mut(place as usize) else {
            return;
        };
        self.bytes_held -= slot.held();
        let buffer = slot.clear();
        let (staler, fresher) = (slot.staler.take(), slot.fresher.take());
        slot.fresher = self.free;
        self.free = Some(place);
        self.places.remove(&slot.key);
        match staler.and_then(|staler| self.slots.get_mut(staler as usize)) {
            Some(staler) => staler.fresher = fresher,
            None => self.stalest = fresher,
        }
        match fresher.and_then(|fresher| self.slots.get_mut(fresher as usize)) {
            Some(fresher) => fresher.staler = staler,
            None => self.freshest = staler,
        }
        self.spare(buffer);
    }

    fn spare(&mut self, mut buffer: Vec<u8>) {
        if self.spares.len() < SPARES_MAX && (1..=SPARE_BYTES_MAX).contains(&buffer.capacity()) {
            buffer.clear();
            self.spares.push(buffer);
        }
    }
}

/// A run of bytes: where it stands in the datagram, and where in the buffer.
#[derive(Clone, Copy, Debug)]
struct Piece {
    start: u32,
    end: u32,
    at: u32,
}

/// One datagram in the making. `staler` and `fresher` are its neighbours by age; in a free slot `fresher` is the next
/// free one.
#[derive(Debug)]
struct Slot {
    key: Key,
    first_seen_ns: u64,
    /// Received bytes, in the order in which they came, no byte of the datagram twice.
    buffer: Vec<u8>,
    /// In order, not overlapping.
    pieces: Vec<Piece>,
    /// The datagram's length, once its last fragment told.
    total: Option<usize>,
    staler: Option<Place>,
    fresher: Option<Place>,
    protocol: u8,
    v6: bool,
    depth: u8,
}

#[derive(Clone, Copy, Debug, Default)]
struct Added {
    overlapping: bool,
    conflicting: bool,
    too_many_pieces: bool,
}

impl Slot {
    fn new(key: Key) -> Self {
        Self {
            key,
            first_seen_ns: 0,
            buffer: Vec::new(),
            pieces: Vec::new(),
            total: None,
            staler: None,
            fresher: None,
            protocol: 0,
            v6: false,
            depth: 0,
        }
    }

    fn held(&self) -> usize {
        self.buffer.capacity() + self.pieces.capacity() * size_of::<Piece>()
    }

    /// Forgets all, gives the buffer back.
    fn clear(&mut self) -> Vec<u8> {
        self.pieces.clear();
        self.pieces.shrink_to(SPARE_PIECES_MAX);
        self.total = None;
        std::mem::take(&mut self.buffer)
    }

    /// All bytes there: none is kept twice, none beyond the end.
    fn is_whole(&self) -> bool {
        self.total == Some(self.buffer.len())
    }

    /// Adds what is new in a fragment.
    fn add(&mut self, start: usize, bytes: &[u8], more: bool) -> Added {
        let mut added = Added::default();
        let end = start + bytes.len();
        let known_end = self.pieces.last().map_or(0, |piece| piece.end as usize);
        added.conflicting = match self.total {
            Some(total) => end > total || (!more && end != total),
            None => !more && end < known_end,
        };
        if added.conflicting {
            return added;
        }
        if !more {
            self.total = Some(end);
        }
        let mut at = start;
        let mut index = self.pieces.partition_point(|piece| piece.end as usize <= start);
        while at < end {
            let known = self.pieces.get(index).copied();
            let gap_end = known.map_or(end, |piece| end.min(piece.start as usize));
            if at < gap_end {
                let new = bytes.get(at - start..gap_end - start).unwrap_or_default();
                match self.fill_gap(index, at, new) {
                    Some(next) => index = next,
                    None => {
                        added.too_many_pieces = true;
                        return added;
                    }
                }
                at = gap_end;
            } else if let Some(known) = known {
                added.overlapping = true;
                at = known.end as usize;
                index += 1;
            }
        }
        added
    }

    /// Puts bytes into the gap before piece `index`; gives the index behind them.
    fn fill_gap(&mut self, index: usize, start: usize, bytes: &[u8]) -> Option<usize> {
        let (start, end, at) = (start as u32, (start + bytes.len()) as u32, self.buffer.len() as u32);
        let count = self.pieces.len();
        let before = index.checked_sub(1).and_then(|before| self.pieces.get_mut(before));
        match before {
            Some(before) if before.end == start && before.at + (before.end - before.start) == at => {
                before.end = end;
                self.buffer.extend_from_slice(bytes);
                Some(index)
            }
            _ if count >= PIECES_MAX => None,
            _ => {
                self.pieces.insert(index, Piece { start, end, at });
                self.buffer.extend_from_slice(bytes);
                Some(index + 1)
            }
        }
    }

    /// The datagram's bytes in order, and the buffer that is left over.
    fn in_order(&mut self, mut spare: Vec<u8>) -> (Vec<u8>, Vec<u8>) {
        let buffer = std::mem::take(&mut self.buffer);
        if self.pieces.len() == 1 {
            return (buffer, spare);
        }
        spare.reserve_exact(buffer.len());
        for piece in &self.pieces {
            let at = piece.at as usize;
            spare.extend_from_slice(buffer.get(at..at + (piece.end - piece.start) as usize).unwrap_or_default());
        }
        (spare, buffer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fragment(identification: u32, offset: usize, more: bool, payload: &[u8]) -> Fragment<'_> {
        Fragment {
            source: Address::v4([10, 0, 0, 1]),
            destination: Address::v4([10, 0, 0, 2]),
            identification,
            protocol: 17,
            v6: false,
            offset: offset as u32,
            more,
            cut: false,
            payload,
            encapsulation: Encapsulation::default(),
            depth: 0,
        }
    }

    fn bytes(length: usize) -> Vec<u8> {
        (0..length).map(|index| (index / 8) as u8 ^ index as u8).collect()
    }

    #[test]
    fn pieces_join_in_any_order() {
        let whole = bytes(100);
        for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            let mut fragments = Reassembler::new(FragmentLimits::default());
            let mut joined = None;
            for piece in order {
                assert!(joined.is_none());
                let end = (piece * 40 + 40).min(100);
                joined = fragments.insert(&fragment(1, piece * 40, piece < 2, &whole[piece * 40..end]), 0);
            }
            let datagram = joined.unwrap();
            assert_eq!((datagram.payload.as_slice(), datagram.protocol), (whole.as_slice(), 17));
            assert_eq!((fragments.datagrams(), fragments.bytes_held()), (0, 0));
            fragments.recycle(datagram);
            assert_eq!(*fragments.counts(), FragmentCounts { fragments: 3, joined: 1, ..FragmentCounts::default() });
        }
    }

    #[test]
    fn the_first_copy_of_a_byte_stays() {
        let mut fragments = Reassembler::new(FragmentLimits::default());
        assert!(fragments.insert(&fragment(1, 8, true, b"BBBBBBBB"), 0).is_none());
        assert!(fragments.insert(&fragment(1, 8, true, b"bbbbbbbb"), 0).is_none());
        assert!(fragments.insert(&fragment(1, 0, true, b"AAAAAAAAxxxxxxxxCCCCCCCC"), 0).is_none());
        let datagram = fragments.insert(&fragment(1, 16, false, b"ccccccccD"), 0).unwrap();
        assert_eq!(datagram.payload, b"AAAAAAAABBBBBBBBCCCCCCCCD");
        assert_eq!(fragments.counts().overlapping, 3);
    }

    #[test]
    fn a_datagram_has_one_end() {
        let mut fragments = Reassembler::new(FragmentLimits::default());
        fragments.insert(&fragment(1, 16, true, b"CCCCCCCC"), 0);
        assert!(fragments.insert(&fragment(1, 8, false, b"early"), 0).is_none());
        fragments.insert(&fragment(1, 24, false, b"DDD"), 0);
        fragments.insert(&fragment(1, 24, false, b"DD"), 0);
        fragments.insert(&fragment(1, 32, true, b"EEEEEEEE"), 0);
        assert_eq!(fragments.counts().conflicting, 3);
        assert_eq!(fragments.insert(&fragment(1, 0, true, &[b'A'; 16]), 0).unwrap().payload.len(), 27);
    }

    #[test]
    fn what_differs_in_any_part_of_the_key_stays_apart() {
        let mut fragments = Reassembler::new(FragmentLimits::default());
        let first = fragment(1, 0, true, b"AAAAAAAA");
        let last = fragment(1, 8, false, b"B");
        fragments.insert(&first, 0);
        let (mut vlan, mut network) = (Encapsulation::default(), Encapsulation::default());
        (vlan.vlans[0], vlan.vlan_count, network.network) = (7, 1, 7);
        for other in [
            Fragment { source: Address::v4([10, 0, 0, 3]), ..last },
            Fragment { destination: Address::v4([10, 0, 0, 3]), ..last },
            Fragment { identification: 2, ..last },
            Fragment { protocol: 6, ..last },
            Fragment { encapsulation: vlan, ..last },
            Fragment { encapsulation: network, ..last },
        ] {
            assert!(fragments.insert(&other, 0).is_none());
        }
        assert!(fragments.insert(&last, 0).is_some());
        assert_eq!(fragments.datagrams(), 6);
    }

    #[test]
    fn in_ipv6_the_first_fragment_names_the_protocol() {
        for order in [[0, 1], [1, 0]] {
            let mut fragments = Reassembler::new(FragmentLimits::default());
            let pieces = [
                Fragment { v6: true, protocol: 6, ..fragment(1, 0, true, b"AAAAAAAA") },
                Fragment { v6: true, protocol: 60, ..fragment(1, 8, false, b"B") },
            ];
            assert!(fragments.insert(&pieces[order[0]], 0).is_none());
            assert_eq!(fragments.insert(&pieces[order[1]], 0).unwrap().protocol, 6);
        }
    }

    #[test]
    fn unusable_fragments_take_no_slot_and_are_counted() {
        let mut fragments = Reassembler::new(FragmentLimits::default());
        fragments.insert(&Fragment { cut: true, ..fragment(1, 0, true, b"AAAAAAAA") }, 0);
        fragments.insert(&fragment(1, 65_528, true, b"AAAAAAAA"), 0);
        fragments.insert(&fragment(1, 8, true, b"AAAA"), 0);
        fragments.insert(&fragment(1, 8, false, b""), 0);
        let expected =
            FragmentCounts { fragments: 4, truncated: 1, too_large: 1, empty: 2, ..FragmentCounts::default() };
        assert_eq!((fragments.datagrams(), *fragments.counts()), (0, expected));
    }

    #[test]
    fn a_fragment_of_odd_length_joins_with_the_one_that_repeats_its_end() {
        let mut fragments = Reassembler::new(FragmentLimits::default());
        fragments.insert(&fragment(1, 0, true, b"AAAAAAAAAAA"), 0);
        assert_eq!(fragments.insert(&fragment(1, 8, false, b"BBBB"), 0).unwrap().payload, b"AAAAAAAABBBB");
    }

    #[test]
    fn the_stalest_goes_first() {
        let limits = FragmentLimits { fragment_datagrams_max: 3, ..FragmentLimits::default() };
        let mut fragments = Reassembler::new(limits);
        for identification in 1..=3 {
            fragments.insert(&fragment(identification, 0, true, b"AAAAAAAA"), u64::from(identification));
        }
        assert!(fragments.insert(&fragment(2, 8, false, b"B"), 4).is_some());
        fragments.insert(&fragment(4, 0, true, b"AAAAAAAA"), 5);
        fragments.insert(&fragment(5, 0, true, b"AAAAAAAA"), 6);
        assert_eq!((fragments.counts().evicted, fragments.datagrams()), (1, 3));
        for (identification, known) in [(3, true), (4, true), (5, true)] {
            let joined = fragments.insert(&fragment(identification, 8, false, b"B"), 7);
            assert_eq!(joined.is_some(), known, "{identification}");
        }
        assert!(fragments.insert(&fragment(1, 8, false, b"B"), 7).is_none());
    }

    #[test]
    fn pieces_wait_for_as_long_as_the_limit_says() {
        let limits = FragmentLimits { fragment_timeout_ms: 10, ..FragmentLimits::default() };
        let mut fragments = Reassembler::new(limits);
        fragments.insert(&fragment(1, 0, true, b"AAAAAAAA"), 0);
        fragments.insert(&fragment(2, 0, true, b"AAAAAAAA"), 5_000_000);
        assert!(fragments.insert(&fragment(1, 8, false, b"B"), 10_000_001).is_none());
        assert!(fragments.insert(&fragment(2, 8, false, b"B"), 15_000_000).is_some());
        fragments.expire(30_000_000);
        assert_eq!((fragments.counts().timed_out, fragments.datagrams(), fragments.bytes_held()), (2, 0, 0));
    }

    #[test]
    fn a_flood_holds_no_more_than_the_limits() {
        let limits =
            FragmentLimits { fragment_datagrams_max: 100, fragment_bytes_max: 200_000, ..FragmentLimits::default() };
        let mut fragments = Reassembler::new(limits);
        let payload = bytes(1480);
        for identification in 0..1000 {
            fragments.insert(&fragment(identification, 60_000, true, &payload[..8]), 0);
            assert!(fragments.bytes_held() <= 100 * (SPARE_BYTES_MAX + 192));
        }
        assert_eq!((fragments.datagrams(), fragments.counts().evicted), (100, 900));
        for identification in 0..3000 {
            for piece in 0..10 {
                fragments.insert(&fragment(identification, piece * 2000, true, &payload), 0);
                assert!(fragments.bytes_held() <= 200_000 + PIECES_MAX * size_of::<Piece>());
            }
        }
        assert!(fragments.counts().evicted_for_bytes > 2900, "{:?}", fragments.counts());
        assert!(fragments.slots.len() <= 100);
    }

    #[test]
    fn a_datagram_bigger_than_all_memory_is_given_up() {
        let limits = FragmentLimits { fragment_bytes_max: 4000, ..FragmentLimits::default() };
        let mut fragments = Reassembler::new(limits);
        let payload = bytes(1480);
        for piece in 0..9 {
            assert!(fragments.insert(&fragment(1, piece * 1480, piece < 8, &payload), 0).is_none());
        }
        assert!(fragments.counts().evicted_for_bytes > 0);
    }

    #[test]
    fn a_datagram_of_too_many_pieces_is_refused_piece_by_piece() {
        let mut fragments = Reassembler::new(FragmentLimits::default());
        for piece in 0..=PIECES_MAX {
            fragments.insert(&fragment(1, 16 + piece * 16, true, b"AAAAAAAA"), 0);
        }
        assert_eq!((fragments.counts().too_many_pieces, fragments.datagrams()), (1, 1));
        let mut in_order = Reassembler::new(FragmentLimits::default());
        for piece in 0..8000 {
            in_order.insert(&fragment(1, piece * 8, true, b"AAAAAAAA"), 0);
        }
        assert_eq!(in_order.insert(&fragment(1, 64_000, false, b"B"), 0).unwrap().payload.len(), 64_001);
    }

    proptest! {
        #[test]
        fn any_cut_any_order_any_overlap_gives_the_datagram(
            length in 1_usize..4000,
            cuts in proptest::collection::vec((0_usize..500, 1_usize..80), 0..60),
            rotation in any::<prop::sample::Index>(),
        ) {
            let whole = bytes(length);
            let mut pieces: Vec<(usize, usize)> = cuts
                .into_iter()
                .map(|(start, eighths)| (start * 8, start * 8 + eighths * 8))
                .filter(|&(_, end)| end < length)
                .collect();
            // What makes it whole for certain: every eighth from the front on, and the end.
            let last = (length - 1) / 8 * 8;
            pieces.extend((0..last).step_by(240).map(|start| (start, (start + 240).min(last))));
            pieces.push((last, length));
            let count = pieces.len();
            pieces.rotate_left(rotation.index(count));
            let mut fragments = Reassembler::new(FragmentLimits::default());
            let mut joined = None;
            for (start, end) in pieces {
                if let Some(datagram) = fragments.insert(&fragment(1, start, end < length, &whole[start..end]), 0) {
                    joined = Some(datagram);
                    break;
                }
            }
            prop_assert_eq!(joined.map(|datagram| datagram.payload), Some(whole));
            prop_assert_eq!(fragments.bytes_held(), 0);
        }
    }
}
