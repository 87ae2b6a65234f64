//! One datagram in reassembly: its pieces, the copies that contradict them, and the readings that they allow.

use arrayvec::ArrayVec;

use crate::checksum::{Checksum, StoredHeader};
use crate::segment::{Segment, UdpDatagram};
use crate::transport::{TCP, UDP};

use super::{Carried, Fragment, Key, Origin};

/// Separate pieces of one datagram; pieces that arrive in order count as one.
pub(super) const PIECES_MAX: usize = 512;
/// Copies that contradict the pieces.
const ALTERNATIVES_MAX: usize = 3;
/// Different ends.
const ENDS_MAX: usize = 4;
/// Readings that alternatives and ends allow, each with a bit in [`Incomplete::given`].
const CHOICES: u32 = 1 << ALTERNATIVES_MAX;
const READINGS_MAX: u32 = CHOICES * ENDS_MAX as u32;
/// What the allocator takes besides the bytes asked for.
pub(super) const ALLOCATION_BYTES: usize = 16;

/// A run of bytes: its range in the datagram, and its offset in the buffer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Piece {
    start: u32,
    end: u32,
    at: u32,
}

impl Piece {
    const fn len(&self) -> usize {
        (self.end - self.start) as usize
    }
}

/// One datagram in reassembly.
#[derive(Debug)]
pub(super) struct Incomplete {
    pub key: Key,
    pub carried: Carried,
    pub depth: u8,
    /// The IP header of the first fragment.
    pub network: StoredHeader,
    pub origin: Origin,
    /// A fragment was truncated by the capture: the datagram cannot be completed.
    pub is_cut: bool,
    /// A bit for each reading that was given out.
    given: u32,
    /// Received bytes in order of arrival, without duplicates.
    buffer: Vec<u8>,
    /// The first copy of each byte: in order of the datagram, not overlapping.
    pieces: Vec<Piece>,
    /// Bytes of all pieces.
    known: usize,
    /// Other copies of bytes that pieces have.
    alternatives: ArrayVec<Piece, ALTERNATIVES_MAX>,
    /// The datagram's length, by its last fragments; they may contradict each other.
    ends: ArrayVec<u32, ENDS_MAX>,
}

/// What a fragment added.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Added {
    /// Bytes or an end that were not known.
    pub anything: bool,
    pub overlapping: bool,
    pub differing: bool,
    pub conflicting: bool,
    pub too_many_pieces: bool,
    pub too_many_versions: bool,
}

impl Incomplete {
    pub fn new(key: Key) -> Self {
        Self {
            key,
            carried: key.carried,
            depth: 0,
            network: StoredHeader::EMPTY,
            origin: Origin::default(),
            is_cut: false,
            given: 0,
            buffer: Vec::new(),
            pieces: Vec::new(),
            known: 0,
            alternatives: ArrayVec::new(),
            ends: ArrayVec::new(),
        }
    }

    /// Begins a new datagram with an empty buffer.
    pub fn begin(&mut self, key: Key, buffer: Vec<u8>, origin: Origin) {
        (self.key, self.carried, self.origin, self.buffer) = (key, key.carried, origin, buffer);
    }

    /// Takes what only the first fragment says.
    pub fn set_first(&mut self, fragment: &Fragment<'_>) {
        (self.carried, self.depth) = (fragment.carried, fragment.depth);
        self.network = fragment.network.to_stored();
    }

    /// Empties the slot, and gives its buffer back.
    pub fn clear(&mut self) -> Vec<u8> {
        self.pieces = Vec::new();
        self.alternatives.clear();
        self.ends.clear();
        (self.known, self.given, self.is_cut) = (0, 0, false);
        std::mem::take(&mut self.buffer)
    }

    /// Memory on the heap, bytes.
    pub fn heap_bytes(&self) -> usize {
        Self::heap_bytes_with(self.buffer.capacity(), self.pieces.capacity())
    }

    /// Memory on the heap with other capacities of buffer and list of pieces.
    pub const fn heap_bytes_with(buffer: usize, pieces: usize) -> usize {
        vector_bytes(buffer) + vector_bytes(pieces * size_of::<Piece>())
    }

    /// Whether a reading was given out.
    pub const fn was_given(&self) -> bool {
        self.given != 0
    }

    /// Whether fragments contradict each other.
    pub fn is_disputed(&self) -> bool {
        !self.alternatives.is_empty() || self.ends.len() > 1
    }

    /// How much the heap must grow to [`add`](Self::add) a fragment of `bytes` at `start`: new capacities of buffer and list of
    /// pieces.
    pub fn capacities_for(&self, start: usize, bytes: usize, bytes_max: usize) -> (usize, usize) {
        let needed = self.buffer.len() + bytes;
        let buffer = match self.buffer.capacity() {
            enough if needed <= enough => enough,
            capacity => needed.max(capacity * 2).min(needed.max(bytes_max)),
        };
        // A fragment can fill every gap that it spans.
        let end = start + bytes;
        let first = self.pieces.partition_point(|piece| (piece.end as usize) <= start);
        let spanned = self.pieces.iter().skip(first).take_while(|piece| (piece.start as usize) < end).count();
        let needed = (self.pieces.len() + spanned + 1).min(PIECES_MAX);
        let pieces = match self.pieces.capacity() {
            enough if needed <= enough => enough,
            capacity => needed.max(capacity * 2).clamp(4, PIECES_MAX),
        };
        (buffer, pieces)
    }

    /// Grows the heap to these capacities.
    pub fn reserve(&mut self, buffer: usize, pieces: usize) {
        self.buffer.reserve_exact(buffer.saturating_sub(self.buffer.len()));
        self.pieces.reserve_exact(pieces.saturating_sub(self.pieces.len()));
    }

    /// Adds the new bytes of a fragment, and copies of known bytes that differ. A fragment without `more` is the datagram's last.
    pub fn add(&mut self, start: usize, bytes: &[u8], more: bool) -> Added {
        let mut added = Added::default();
        let end = start + bytes.len();
        self.add_end(end, more, &mut added);
        let mut at = start;
        let mut index = self.pieces.partition_point(|piece| piece.end as usize <= start);
        while at < end {
            let known = self.pieces.get(index).copied();
            let gap_end = known.map_or(end, |piece| end.min(piece.start as usize));
            let part = |to: usize| bytes.get(at - start..to - start).unwrap_or_default();
            if at < gap_end {
                let Some(next) = self.fill_gap(index, at, part(gap_end)) else {
                    added.too_many_pieces = true;
                    return added;
                };
                (index, at) = (next, gap_end);
                added.anything = true;
            } else if let Some(known) = known {
                let overlap_end = end.min(known.end as usize);
                added.overlapping = true;
                self.compare(&known, at, part(overlap_end), &mut added);
                (index, at) = (index + 1, overlap_end);
            }
        }
        added
    }

    /// Adds the datagram's end, if the fragment is the last; compares it with what is known.
    fn add_end(&mut self, end: usize, more: bool, added: &mut Added) {
        let known_end = self.pieces.last().map_or(0, |piece| piece.end as usize);
        let contradicts = |other: &u32| if more { end > *other as usize } else { end != *other as usize };
        added.conflicting = self.ends.iter().any(contradicts) || (!more && end < known_end);
        let end = end as u32;
        if !more && !self.ends.contains(&end) {
            added.anything = true;
            added.too_many_versions |= self.ends.try_push(end).is_err();
        }
    }

    /// Stores a copy of known bytes if it differs from what is stored.
    fn compare(&mut self, known: &Piece, start: usize, copy: &[u8], added: &mut Added) {
        let same = |piece: &Piece| {
            let at = piece.at as usize + (start - piece.start as usize);
            self.buffer.get(at..at + copy.len()) == Some(copy)
        };
        if same(known) {
            return;
        }
        added.differing = true;
        let (start, end) = (start as u32, (start + copy.len()) as u32);
        let is_known = self.alternatives.iter().any(|other| (other.start, other.end) == (start, end) && same(other));
        if is_known {
            return;
        }
        added.anything = true;
        let alternative = Piece { start, end, at: self.buffer.len() as u32 };
        match self.alternatives.try_push(alternative) {
            Ok(()) => self.buffer.extend_from_slice(copy),
            Err(_) => added.too_many_versions = true,
        }
    }

    /// Adds bytes in the gap before piece `index`; gives the index of the piece behind them.
    fn fill_gap(&mut self, index: usize, start: usize, bytes: &[u8]) -> Option<usize> {
        let (start, end, at) = (start as u32, (start + bytes.len()) as u32, self.buffer.len() as u32);
        let count = self.pieces.len();
        let before = index.checked_sub(1).and_then(|before| self.pieces.get_mut(before));
        let next = match before {
            Some(before) if before.end == start && before.at + before.len() as u32 == at => {
                before.end = end;
                index
            }
            _ if count >= PIECES_MAX => return None,
            _ => {
                self.pieces.insert(index, Piece { start, end, at });
                index + 1
            }
        };
        self.buffer.extend_from_slice(bytes);
        self.known += bytes.len();
        Some(next)
    }

    /// How many bytes are known before the first gap.
    pub fn contiguous(&self) -> usize {
        let mut end = 0;
        for piece in &self.pieces {
            if piece.start > end {
                break;
            }
            end = piece.end;
        }
        end as usize
    }

    /// The datagram's length as far as is known.
    pub fn length(&self) -> usize {
        let known_end = self.pieces.last().map_or(0, |piece| piece.end);
        self.ends.iter().copied().max().unwrap_or(0).max(known_end) as usize
    }

    /// The number of the next complete reading that was not given out, from `number` on.
    pub fn next_reading(&self, number: u32) -> Option<u32> {
        let shortest = self.ends.iter().copied().min()? as usize;
        if self.known < shortest {
            return None;
        }
        let contiguous = self.contiguous();
        (number..READINGS_MAX).find(|&number| self.given & 1 << number == 0 && self.is_reading(number, contiguous))
    }

    fn is_reading(&self, number: u32, contiguous: usize) -> bool {
        let (choice, end) = (number % CHOICES, self.ends.get((number / CHOICES) as usize));
        let chosen: ArrayVec<&Piece, ALTERNATIVES_MAX> = (0..)
            .zip(&self.alternatives)
            .filter(|&(index, _)| choice & 1 << index != 0)
            .map(|(_, piece)| piece)
            .collect();
        let is_hidden = |index: usize, piece: &Piece| {
            chosen.iter().skip(index + 1).any(|later| later.start <= piece.start && piece.end <= later.end)
        };
        // An alternative beyond the end, or under another one, makes no other reading.
        let matter =
            |end: u32| chosen.iter().enumerate().all(|(index, piece)| piece.start < end && !is_hidden(index, piece));
        choice >> self.alternatives.len() == 0 && end.is_some_and(|&end| end as usize <= contiguous && matter(end))
    }

    /// How many readings were given out.
    pub const fn readings_given(&self) -> usize {
        self.given.count_ones() as usize
    }

    /// Writes a reading to `into`.
    pub fn read(&mut self, number: u32, into: &mut Vec<u8>) {
        self.given |= 1 << number;
        let end = self.ends.get((number / CHOICES) as usize).map_or(0, |&end| end as usize);
        self.write(end, into);
        for (index, alternative) in self.alternatives.iter().enumerate() {
            let (start, at) = (alternative.start as usize, alternative.at as usize);
            let length = alternative.len().min(end.saturating_sub(start));
            if (number % CHOICES) & (1 << index) != 0
                && let Some(target) = into.get_mut(start..start + length)
                && let Some(source) = self.buffer.get(at..at + length)
            {
                target.copy_from_slice(source);
            }
        }
    }

    /// Writes the reading of the first copies to `into`.
    pub fn read_first_copies(&self, into: &mut Vec<u8>) {
        self.write(self.ends.first().map_or(0, |&end| end as usize).min(self.contiguous()), into);
    }

    /// The state of the transport checksum in a reading, where a transport header is its first.
    pub fn transport_checksum(&self, payload: &[u8]) -> Checksum {
        let network = self.network.get();
        match (self.carried, payload.split_at_checked(8)) {
            (Carried::Ip { protocol: TCP, .. }, _) => Segment::parse(payload, payload.len(), network)
                .map_or(Checksum::NotCaptured, |segment| segment.checksum()),
            (Carried::Ip { protocol: UDP, .. }, Some((header, data))) => {
                UdpDatagram::new(header, data, network).checksum()
            }
            _ => Checksum::NotCaptured,
        }
    }

    /// Writes what is known before the first gap to `into`.
    pub fn read_contiguous(&mut self, into: &mut Vec<u8>) {
        self.given |= 1;
        self.write(self.contiguous(), into);
    }

    /// Writes the first copies of all bytes before `end`, of which none is missing.
    fn write(&self, end: usize, into: &mut Vec<u8>) {
        into.clear();
        into.reserve_exact(end);
        for piece in &self.pieces {
            let length = piece.len().min(end - into.len());
            let at = piece.at as usize;
            into.extend_from_slice(self.buffer.get(at..at + length).unwrap_or_default());
            if into.len() >= end {
                break;
            }
        }
    }
}

/// Memory of a vector of `bytes`.
pub(super) const fn vector_bytes(bytes: usize) -> usize {
    if bytes == 0 { 0 } else { bytes + ALLOCATION_BYTES }
}
