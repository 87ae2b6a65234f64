//! The reassembly cache.

use super::incomplete::{Incomplete, vector_bytes};
use super::slots::{List, SlotIndex, Slots};
use super::{Datagram, Fragment, FragmentCounts, FragmentLimits, Key, Origin};
use crate::checksum::{Checksum, ChecksumHistory, NetworkHeader};

/// The largest payload of a datagram (RFC 791 §3.1).
const DATAGRAM_BYTES_MAX: usize = 65_535;
/// Buffers kept for the next datagram, and how big they may be.
const POOL_MAX: usize = 64;
const POOLED_BYTES_MAX: usize = 4096;
/// A shorter first part of a datagram has no transport header.
const FIRST_PART_BYTES_MIN: usize = 8;

/// The reassembly cache.
#[derive(Debug)]
pub struct Reassembler {
    limits: FragmentLimits,
    counts: FragmentCounts,
    slots: Slots,
    /// Memory that the datagrams have on the heap.
    datagram_bytes: usize,
    pool: Vec<Vec<u8>>,
    pool_bytes: usize,
    /// Checksums of IP headers in this capture.
    header_checksums: ChecksumHistory,
}

/// The readings of a datagram that a fragment completed, to be taken one by one from
/// [`Reassembler::next_reading`].
#[derive(Debug)]
pub struct Readings {
    /// Slots of the datagrams, with their generations: the open one, and the complete one that the fragment contradicts.
    slots: [Option<(SlotIndex, u32)>; 2],
    /// Number of the first datagram's next reading.
    next: u32,
}

impl Reassembler {
    /// An empty cache. It allocates as it is used.
    pub fn new(limits: FragmentLimits) -> Self {
        Self {
            limits,
            counts: FragmentCounts::default(),
            slots: Slots::new(),
            datagram_bytes: 0,
            pool: Vec::new(),
            pool_bytes: 0,
            header_checksums: ChecksumHistory::default(),
        }
    }

    /// Counts so far.
    pub const fn counts(&self) -> &FragmentCounts {
        &self.counts
    }

    /// Datagrams of which fragments are missing.
    pub const fn datagrams(&self) -> usize {
        self.slots.count(List::Open)
    }

    /// Complete datagrams that are kept for fragments that contradict them.
    pub const fn completed_datagrams(&self) -> usize {
        self.slots.count(List::Given)
    }

    /// Memory of the whole cache, bytes.
    pub fn bytes_held(&self) -> usize {
        self.slots.bytes()
            + self.datagram_bytes
            + self.pool_bytes
            + vector_bytes(self.pool.capacity() * size_of::<Vec<u8>>())
    }

    /// Shows the IP header of any packet. Wrong checksums mean nothing in a capture that has no right ones.
    #[inline]
    pub fn observe_header(&mut self, header: NetworkHeader<'_>) {
        self.header_checksums.sample(header);
    }

    /// Whether the addresses of the capture were rewritten, so that no checksum is right.
    pub const fn is_rewritten(&self) -> bool {
        self.header_checksums.is_rewritten()
    }

    /// Adds a fragment. If that completes its datagram, [`next_reading`](Self::next_reading) gives it. Datagrams that are too old
    /// should have been taken from [`next_expired`](Self::next_expired) before.
    pub fn insert(&mut self, fragment: &Fragment<'_>, origin: &Origin) -> Readings {
        self.try_insert(fragment, origin).unwrap_or(Readings { slots: [None; 2], next: 0 })
    }

    fn try_insert(&mut self, fragment: &Fragment<'_>, origin: &Origin) -> Option<Readings> {
        self.counts.fragments += 1;
        let piece = self.usable(fragment)?;
        let checksum = fragment.network.checksum();
        self.header_checksums.add(checksum);
        let is_suspect = checksum == Checksum::Wrong;
        if is_suspect && self.header_checksums.checksums_are_reliable() {
            self.counts.bad_checksum += 1;
            return None;
        }
        let key = Key::new(fragment, is_suspect);
        let given = self.slots.find(&key, List::Given).filter(|&index| !self.free_if_over(index, origin.timestamp_ns));
        let open = self.slots.find(&key, List::Open).filter(|&index| !self.free_if_over(index, origin.timestamp_ns));
        // What contradicts a complete datagram is another copy of some of its bytes, or begins another datagram with the same
        // identification.
        let contradicts = given.map(|index| self.add(index, fragment, piece));
        let given = given.filter(|_| contradicts == Some(true));
        let open = match (open, contradicts) {
            (None, Some(false)) => None,
            (Some(index), _) => Some(index),
            (None, _) => self.begin(key, fragment, origin),
        };
        let open = open.filter(|&index| self.add(index, fragment, piece));
        Some(Readings { slots: [open, given].map(|index| Some((index?, self.slots.get(index?)?.generation))), next: 0 })
    }

    /// Adds a fragment to a datagram. False if it added nothing.
    fn add(&mut self, index: SlotIndex, fragment: &Fragment<'_>, piece: &[u8]) -> bool {
        let start = fragment.offset as usize;
        if !self.make_room(index, start, piece.len()) {
            return false;
        }
        let Some(slot) = self.slots.get_mut(index) else { return false };
        if start == 0 && !slot.datagram.was_given() {
            slot.datagram.set_first(fragment);
        }
        // Where a truncated fragment ends is not known.
        let added = slot.datagram.add(start, piece, fragment.more || fragment.truncated);
        slot.datagram.is_cut |= fragment.truncated;
        self.counts.overlapping += u64::from(added.overlapping);
        self.counts.differing += u64::from(added.differing);
        self.counts.conflicting += u64::from(added.conflicting);
        self.counts.too_many_pieces += u64::from(added.too_many_pieces);
        self.counts.too_many_versions += u64::from(added.too_many_versions);
        added.anything
    }

    /// The next reading of a datagram that a fragment completed.
    pub fn next_reading(&mut self, readings: &mut Readings) -> Option<Datagram> {
        loop {
            let slot = readings.slots.iter_mut().find(|slot| slot.is_some())?;
            let (index, generation) = (*slot)?;
            let is_current = self.slots.get(index).is_some_and(|slot| slot.generation == generation);
            match if is_current { self.reading_of(index, &mut readings.next) } else { None } {
                Some(datagram) => return Some(datagram),
                None => (*slot, readings.next) = (None, 0),
            }
        }
    }

    /// The next reading of a datagram from the number `next` on.
    fn reading_of(&mut self, index: SlotIndex, next: &mut u32) -> Option<Datagram> {
        let datagram = &self.slots.get(index)?.datagram;
        let was_given = datagram.was_given();
        if datagram.is_cut {
            return self.first_part(index);
        }
        let number = datagram.next_reading(*next)?;
        *next = number + 1;
        if self.is_void(index) {
            self.free(index);
            return None;
        }
        if self.slots.get(index)?.datagram.readings_given() >= self.limits.fragment_versions_max {
            self.counts.too_many_versions += 1;
            return None;
        }
        let mut payload = self.take_buffer();
        self.slots.get_mut(index)?.datagram.read(number, &mut payload);
        if self.is_void_reading(index, &payload) {
            self.counts.void_readings += 1;
            self.return_to_pool(payload);
            return self.reading_of(index, next);
        }
        let count = if was_given { &mut self.counts.other_readings } else { &mut self.counts.joined };
        *count += 1;
        self.mark_given(index);
        self.datagram(index, payload, false)
    }

    /// Whether the transport checksum says that a reading is made of pieces of two: it is wrong, and that of the first copies is
    /// right.
    fn is_void_reading(&mut self, index: SlotIndex, payload: &[u8]) -> bool {
        let Some(slot) = self.slots.get(index).filter(|slot| slot.datagram.is_disputed()) else { return false };
        if slot.datagram.transport_checksum(payload) != Checksum::Wrong {
            return false;
        }
        let mut first = self.take_buffer();
        let is_right = self.slots.get(index).is_some_and(|slot| {
            slot.datagram.read_first_copies(&mut first);
            slot.datagram.transport_checksum(&first) == Checksum::Right
        });
        self.return_to_pool(first);
        is_right
    }

    /// Keeps a datagram of which a reading was given out, in place of an earlier one of the same key.
    fn mark_given(&mut self, index: SlotIndex) {
        let Some(slot) = self.slots.get(index) else { return };
        if let Some(earlier) = self.slots.find(&slot.datagram.key, List::Given).filter(|&earlier| earlier != index) {
            self.free(earlier);
        }
        self.slots.mark_given(index);
    }

    /// Whether a datagram's IP header checksums are wrong, and that means something in this capture.
    fn is_void(&mut self, index: SlotIndex) -> bool {
        let is_suspect = self.slots.get(index).is_some_and(|slot| slot.datagram.key.is_suspect);
        let is_void = is_suspect && self.header_checksums.checksums_are_reliable();
        self.counts.bad_checksum += u64::from(is_void);
        is_void
    }

    /// Gives up a datagram that is too old; gives the first part of it. `None` when no datagram is too old any more.
    pub fn next_expired(&mut self, now_ns: u64) -> Option<Datagram> {
        while let Some(index) = self.slots.oldest(List::Given).filter(|&index| self.is_over(index, now_ns)) {
            self.free(index);
        }
        while let Some(index) = self.slots.oldest(List::Open).filter(|&index| self.is_over(index, now_ns)) {
            if let Some(datagram) = self.give_up(index) {
                return Some(datagram);
            }
        }
        None
    }

    /// Gives up any datagram, at the end of a capture; gives the first part of it. `None` when there is none any more.
    pub fn next_remaining(&mut self) -> Option<Datagram> {
        while let Some(index) = self.slots.oldest(List::Open) {
            if let Some(datagram) = self.give_up(index) {
                return Some(datagram);
            }
        }
        None
    }

    fn give_up(&mut self, index: SlotIndex) -> Option<Datagram> {
        self.counts.timed_out += 1;
        let datagram = self.first_part(index);
        self.free(index);
        datagram
    }

    /// Takes a datagram back to use its memory again.
    pub fn recycle(&mut self, datagram: Datagram) {
        self.return_to_pool(datagram.payload);
    }

    /// Whether a datagram is too old.
    fn is_over(&self, index: SlotIndex, now_ns: u64) -> bool {
        self.slots.get(index).is_some_and(|slot| {
            let limit_ms = if slot.datagram.was_given() {
                self.limits.fragment_completed_ms.min(self.limits.fragment_timeout_ms)
            } else {
                self.limits.fragment_timeout_ms
            };
            now_ns.saturating_sub(slot.datagram.origin.timestamp_ns) > limit_ms.saturating_mul(1_000_000)
        })
    }

    /// Frees a slot whose datagram is too old.
    fn free_if_over(&mut self, index: SlotIndex, now_ns: u64) -> bool {
        let is_over = self.is_over(index, now_ns);
        if is_over {
            self.counts.timed_out += u64::from(!datagram_was_given(&self.slots, index));
            self.free(index);
        }
        is_over
    }

    /// The part of a fragment that can be used.
    fn usable<'a>(&mut self, fragment: &Fragment<'a>) -> Option<&'a [u8]> {
        self.counts.truncated += u64::from(fragment.truncated);
        let count = if (fragment.offset as usize).saturating_add(fragment.payload.len()) > DATAGRAM_BYTES_MAX {
            &mut self.counts.too_large
        } else {
            // Offsets are multiples of eight: odd bytes at the end of any but the last fragment are sent again.
            let odd = if fragment.more && !fragment.truncated { fragment.payload.len() % 8 } else { 0 };
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
    fn begin(&mut self, key: Key, fragment: &Fragment<'_>, origin: &Origin) -> Option<SlotIndex> {
        while self.slots.count(List::Open) + self.slots.count(List::Given) >= self.limits.fragment_datagrams_max {
            let evicted = self.evict()?;
            self.counts.evicted += u64::from(evicted == List::Open);
        }
        while self.bytes_held() + self.slots.growth() > self.limits.fragment_bytes_max {
            if !self.release_memory() {
                self.counts.evicted_for_bytes += 1;
                return None;
            }
        }
        let buffer = self.take_buffer();
        let index = self.slots.take(key, buffer, *origin)?;
        let datagram = &mut self.slots.get_mut(index)?.datagram;
        datagram.set_first(fragment);
        self.datagram_bytes += self.heap_bytes(index);
        Some(index)
    }

    /// Makes sure that a datagram can take a fragment of `bytes` at `start`. Evicts others for it; false if it had to be evicted
    /// itself.
    fn make_room(&mut self, index: SlotIndex, start: usize, bytes: usize) -> bool {
        let Some(generation) = self.slots.get(index).map(|slot| slot.generation) else { return false };
        loop {
            let Some(slot) = self.slots.get_mut(index).filter(|slot| slot.generation == generation) else {
                return false;
            };
            let before = slot.datagram.heap_bytes();
            let (buffer, pieces) = slot.datagram.capacities_for(start, bytes, DATAGRAM_BYTES_MAX);
            let growth = Incomplete::heap_bytes_with(buffer, pieces) - before;
            if growth == 0 {
                return true;
            }
            if self.bytes_held() + growth <= self.limits.fragment_bytes_max {
                if let Some(slot) = self.slots.get_mut(index) {
                    slot.datagram.reserve(buffer, pieces);
                }
                self.datagram_bytes += self.heap_bytes(index) - before;
                return true;
            }
            if !self.release_memory() {
                return false;
            }
        }
    }

    /// Releases some memory: a buffer of the pool, else that of the oldest datagram. False if there is nothing to release.
    fn release_memory(&mut self) -> bool {
        if let Some(buffer) = self.pool.pop() {
            self.pool_bytes -= vector_bytes(buffer.capacity());
            return true;
        }
        let Some(evicted) = self.evict() else { return false };
        self.counts.evicted_for_bytes += u64::from(evicted == List::Open);
        true
    }

    /// Evicts the oldest complete datagram, or the oldest of all if none is complete.
    fn evict(&mut self) -> Option<List> {
        let (list, index) = [List::Given, List::Open]
            .into_iter()
            .find_map(|list| self.slots.oldest(list).map(|index| (list, index)))?;
        self.free(index);
        Some(list)
    }

    /// The first part of a datagram that cannot be completed.
    fn first_part(&mut self, index: SlotIndex) -> Option<Datagram> {
        let slot = self.slots.get(index)?;
        if slot.datagram.was_given() || slot.datagram.contiguous() < FIRST_PART_BYTES_MIN {
            return None;
        }
        if self.is_void(index) {
            return None;
        }
        let mut payload = self.take_buffer();
        self.slots.get_mut(index)?.datagram.read_contiguous(&mut payload);
        self.counts.partial += 1;
        self.mark_given(index);
        self.datagram(index, payload, true)
    }

    fn datagram(&self, index: SlotIndex, payload: Vec<u8>, is_truncated: bool) -> Option<Datagram> {
        let datagram = &self.slots.get(index)?.datagram;
        Some(Datagram {
            source: datagram.key.source,
            destination: datagram.key.destination,
            carried: datagram.carried,
            encapsulation: datagram.key.encapsulation,
            length: if is_truncated { datagram.length().max(payload.len() + 1) } else { payload.len() },
            payload,
            is_disputed: datagram.is_disputed(),
            origin: datagram.origin,
            depth: datagram.depth,
            network: datagram.network,
        })
    }

    fn heap_bytes(&self, index: SlotIndex) -> usize {
        self.slots.get(index).map_or(0, |slot| slot.datagram.heap_bytes())
    }

    /// Frees a slot.
    fn free(&mut self, index: SlotIndex) {
        let before = self.heap_bytes(index);
        let buffer = self.slots.free(index);
        self.datagram_bytes = self.datagram_bytes + self.heap_bytes(index) - before;
        self.return_to_pool(buffer);
    }

    fn take_buffer(&mut self) -> Vec<u8> {
        let buffer = self.pool.pop().unwrap_or_default();
        self.pool_bytes -= vector_bytes(buffer.capacity());
        buffer
    }

    fn return_to_pool(&mut self, mut buffer: Vec<u8>) {
        let bytes = vector_bytes(buffer.capacity());
        let list = if self.pool.len() < self.pool.capacity() { 0 } else { POOL_MAX * size_of::<Vec<u8>>() };
        let fits = self.bytes_held() + bytes + list <= self.limits.fragment_bytes_max;
        if fits && self.pool.len() < POOL_MAX && (1..=POOLED_BYTES_MAX).contains(&buffer.capacity()) {
            if list > 0 {
                self.pool.reserve_exact(POOL_MAX);
            }
            buffer.clear();
            self.pool_bytes += bytes;
            self.pool.push(buffer);
        }
    }
}

fn datagram_was_given(slots: &Slots, index: SlotIndex) -> bool {
    slots.get(index).is_some_and(|slot| slot.datagram.was_given())
}
