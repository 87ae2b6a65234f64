//! Reassembly of IP fragments in a bounded cache (RFC 791 §3.2, RFC 8200 §4.5): in any order, duplicated, overlapping.
//! The first copy of a byte wins. Bytes are stored in order of arrival, so memory follows what was received and not what
//! an offset claims; they are put in order once, when the datagram is complete.
//!
//! Not covered: how different hosts resolve overlapping fragments. Overlaps are counted.

mod partial;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use foldhash::quality::RandomState;

use super::checksum::StoredHeader;
use super::{Address, Encapsulation, NetworkHeader};
use partial::Slot;

/// Limits of the incomplete datagrams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FragmentLimits {
    /// Datagrams at once.
    pub fragment_datagrams_max: usize,
    /// Memory of all of them, bytes.
    pub fragment_bytes_max: usize,
    /// How long after its first fragment a datagram is given up, milliseconds.
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
    /// Identification field, the same in all fragments of a datagram.
    pub identification: u32,
    /// IP protocol number of the payload; in IPv6 the one in the first fragment counts.
    pub protocol: u8,
    /// IPv6.
    pub is_v6: bool,
    /// Offset of the payload in the datagram, bytes.
    pub offset: u32,
    /// More fragments follow.
    pub more: bool,
    /// The capture holds less of the payload than was on the wire.
    pub truncated: bool,
    /// The captured payload.
    pub payload: &'a [u8],
    /// The headers around the fragment.
    pub encapsulation: Encapsulation,
    pub(super) depth: u8,
    pub(super) network: NetworkHeader<'a>,
}

/// A reassembled datagram: the payload of its IP header, to be decoded by [`decode_reassembled`](super::decode_reassembled).
#[derive(Clone, Debug)]
pub struct Datagram {
    /// Sender.
    pub source: Address,
    /// Receiver.
    pub destination: Address,
    /// IP protocol number of the payload.
    pub protocol: u8,
    /// The headers around the fragments.
    pub encapsulation: Encapsulation,
    /// The IP payload.
    pub payload: Vec<u8>,
    pub(super) is_v6: bool,
    pub(super) depth: u8,
    pub(super) network: StoredHeader,
}

/// What became of fragments, and which limits were hit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FragmentCounts {
    /// Fragments seen.
    pub fragments: u64,
    /// Datagrams that were completed.
    pub joined: u64,
    /// Datagrams given up because fragments were missing for too long.
    pub timed_out: u64,
    /// Datagrams evicted, oldest first, because there were too many.
    pub evicted: u64,
    /// Datagrams evicted, oldest first, because all together had too many bytes.
    pub evicted_for_bytes: u64,
    /// Fragments that reach beyond the largest possible datagram.
    pub too_large: u64,
    /// Fragments not stored because their datagram was in too many pieces.
    pub too_many_pieces: u64,
    /// Fragments with bytes that had been received before.
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
/// Buffers kept for the next datagram, and how big they may be.
const POOL_MAX: usize = 64;
const POOLED_BYTES_MAX: usize = 4096;

/// The reassembly cache: datagrams of which fragments are missing.
#[derive(Debug)]
pub struct Reassembler {
    limits: FragmentLimits,
    counts: FragmentCounts,
    /// Hashed with a random key per start, so that nobody can choose collisions.
    by_key: HashMap<Key, SlotIndex, RandomState>,
    slots: Vec<Slot>,
    /// Ends of the list of slots in use, by age.
    oldest: Option<SlotIndex>,
    newest: Option<SlotIndex>,
    /// Start of the list of free slots.
    free: Option<SlotIndex>,
    bytes_held: usize,
    pool: Vec<Vec<u8>>,
}

type SlotIndex = u32;

/// The fields that all fragments of one datagram share.
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
            protocol: (!fragment.is_v6).then_some(fragment.protocol),
            encapsulation: fragment.encapsulation,
        }
    }
}

impl Reassembler {
    /// An empty cache. It allocates as it is used.
    pub fn new(limits: FragmentLimits) -> Self {
        Self {
            limits,
            counts: FragmentCounts::default(),
            by_key: HashMap::default(),
            slots: Vec::new(),
            oldest: None,
            newest: None,
            free: None,
            bytes_held: 0,
            pool: Vec::new(),
        }
    }

    /// Counts so far.
    pub const fn counts(&self) -> &FragmentCounts {
        &self.counts
    }

    /// Incomplete datagrams.
    pub fn datagrams(&self) -> usize {
        self.by_key.len()
    }

    /// Memory of the incomplete datagrams, bytes.
    pub const fn bytes_held(&self) -> usize {
        self.bytes_held
    }

    /// Adds a fragment; gives the datagram if that completes it.
    pub fn insert(&mut self, fragment: &Fragment<'_>, now_ns: u64) -> Option<Datagram> {
        self.counts.fragments += 1;
        self.expire(now_ns);
        let piece = self.usable(fragment)?;
        let key = Key::new(fragment);
        let index = match self.by_key.get(&key) {
            Some(&index) => index,
            None => self.begin(key, fragment, now_ns)?,
        };
        if !self.make_room(index, piece.len()) {
            return None;
        }
        let slot = self.slots.get_mut(index as usize)?;
        let held = slot.held();
        let added = slot.add(fragment.offset as usize, piece, fragment.more);
        if fragment.offset == 0 {
            slot.protocol = fragment.protocol;
            slot.network = fragment.network.to_stored();
        }
        let is_complete = slot.is_complete();
        self.bytes_held = self.bytes_held - held + slot.held();
        self.counts.overlapping += u64::from(added.overlapping);
        self.counts.conflicting += u64::from(added.conflicting);
        self.counts.too_many_pieces += u64::from(added.too_many_pieces);
        if is_complete { self.finish(index) } else { None }
    }

    /// Drops datagrams that are too old. [`insert`](Self::insert) does this, too.
    pub fn expire(&mut self, now_ns: u64) {
        let timeout_ns = self.limits.fragment_timeout_ms.saturating_mul(1_000_000);
        while let Some(index) = self.oldest {
            let fresh = |slot: &Slot| now_ns.saturating_sub(slot.first_seen_ns) <= timeout_ns;
            if self.slots.get(index as usize).is_none_or(fresh) {
                break;
            }
            self.remove(index);
            self.counts.timed_out += 1;
        }
    }

    /// Takes a datagram back to use its memory again.
    pub fn recycle(&mut self, datagram: Datagram) {
        self.return_to_pool(datagram.payload);
    }

    /// The part of a fragment that can be used.
    fn usable<'a>(&mut self, fragment: &Fragment<'a>) -> Option<&'a [u8]> {
        let count = if fragment.truncated {
            &mut self.counts.truncated
        } else if (fragment.offset as usize).saturating_add(fragment.payload.len()) > DATAGRAM_BYTES_MAX {
            &mut self.counts.too_large
        } else {
            // Offsets are multiples of eight: odd bytes at the end of any but the last fragment are sent again.
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

    /// Takes a slot for a new datagram, that of the oldest if there is no other.
    fn begin(&mut self, key: Key, fragment: &Fragment<'_>, now_ns: u64) -> Option<SlotIndex> {
        if self.by_key.len() >= self.limits.fragment_datagrams_max {
            self.remove(self.oldest?);
            self.counts.evicted += 1;
        }
        let index = match self.free {
            Some(index) => index,
            None => {
                let index = SlotIndex::try_from(self.slots.len()).ok()?;
                self.slots.push(Slot::new(key));
                index
            }
        };
        let buffer = self.pool.pop().unwrap_or_default();
        let slot = self.slots.get_mut(index as usize)?;
        if self.free == Some(index) {
            self.free = slot.newer;
        }
        slot.key = key;
        slot.first_seen_ns = now_ns;
        slot.protocol = fragment.protocol;
        slot.is_v6 = fragment.is_v6;
        slot.depth = fragment.depth;
        slot.network = fragment.network.to_stored();
        slot.buffer = buffer;
        slot.older = self.newest;
        slot.newer = None;
        self.bytes_held += slot.held();
        match self.newest.and_then(|newest| self.slots.get_mut(newest as usize)) {
            Some(newest) => newest.newer = Some(index),
            None => self.oldest = Some(index),
        }
        self.newest = Some(index);
        self.by_key.insert(key, index);
        Some(index)
    }

    /// Makes sure that a slot's buffer can take `more` bytes. Evicts the oldest datagrams for it; false if that was the slot
    /// itself.
    fn make_room(&mut self, index: SlotIndex, more: usize) -> bool {
        let Some((capacity, needed)) =
            self.slots.get(index as usize).map(|slot| (slot.buffer.capacity(), slot.buffer.len() + more))
        else {
            return false;
        };
        if needed <= capacity {
            return true;
        }
        let wanted = needed.max(capacity * 2).min(needed.max(DATAGRAM_BYTES_MAX));
        while self.bytes_held + (wanted - capacity) > self.limits.fragment_bytes_max {
            let Some(oldest) = self.oldest else {
                return false;
            };
            self.remove(oldest);
            self.counts.evicted_for_bytes += 1;
            if oldest == index {
                return false;
            }
        }
        let Some(slot) = self.slots.get_mut(index as usize) else {
            return false;
        };
        slot.buffer.reserve_exact(wanted - slot.buffer.len());
        self.bytes_held += slot.buffer.capacity() - capacity;
        true
    }

    /// Gives out a complete datagram.
    fn finish(&mut self, index: SlotIndex) -> Option<Datagram> {
        let spare = self.pool.pop().unwrap_or_default();
        let slot = self.slots.get_mut(index as usize)?;
        self.bytes_held -= slot.buffer.capacity();
        let (payload, rest) = slot.in_order(spare);
        let datagram = Datagram {
            source: slot.key.source,
            destination: slot.key.destination,
            protocol: slot.protocol,
            encapsulation: slot.key.encapsulation,
            payload,
            is_v6: slot.is_v6,
            depth: slot.depth,
            network: slot.network,
        };
        self.return_to_pool(rest);
        self.remove(index);
        self.counts.joined += 1;
        Some(datagram)
    }

    /// Frees a slot.
    fn remove(&mut self, index: SlotIndex) {
        let Some(slot) = self.slots.get_mut(index as usize) else {
            return;
        };
        self.bytes_held -= slot.held();
        let buffer = slot.clear();
        let (older, newer) = (slot.older.take(), slot.newer.take());
        slot.newer = self.free;
        self.free = Some(index);
        self.by_key.remove(&slot.key);
        match older.and_then(|older| self.slots.get_mut(older as usize)) {
            Some(older) => older.newer = newer,
            None => self.oldest = newer,
        }
        match newer.and_then(|newer| self.slots.get_mut(newer as usize)) {
            Some(newer) => newer.older = older,
            None => self.newest = older,
        }
        self.return_to_pool(buffer);
    }

    fn return_to_pool(&mut self, mut buffer: Vec<u8>) {
        if self.pool.len() < POOL_MAX && (1..=POOLED_BYTES_MAX).contains(&buffer.capacity()) {
            buffer.clear();
            self.pool.push(buffer);
        }
    }
}
