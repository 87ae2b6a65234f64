//! The slots of the datagrams in reassembly: found by key, listed by age.

use std::hash::BuildHasher;

use foldhash::quality::RandomState;

use super::incomplete::{Incomplete, vector_bytes};
use super::{Key, Origin};

pub(super) type SlotIndex = u32;

/// The lists that slots are in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum List {
    /// Datagrams of which fragments are missing.
    Open,
    /// Datagrams of which a reading was given out.
    Given,
    /// Slots without a datagram.
    Free,
}

const LISTS: usize = 3;

#[derive(Debug)]
pub(super) struct Slot {
    pub datagram: Incomplete,
    /// Changes whenever the slot gets another datagram.
    pub generation: u32,
    list: List,
    hash: u64,
    /// The next slot in the same bucket.
    chained: Option<SlotIndex>,
    older: Option<SlotIndex>,
    newer: Option<SlotIndex>,
}

/// The slots.
#[derive(Debug)]
pub(super) struct Slots {
    slots: Vec<Slot>,
    /// First slot of each bucket; their number is a power of two.
    buckets: Vec<Option<SlotIndex>>,
    /// Has a random key per start, so that nobody can choose collisions.
    hasher: RandomState,
    oldest: [Option<SlotIndex>; LISTS],
    newest: [Option<SlotIndex>; LISTS],
    counts: [usize; LISTS],
}

impl Slots {
    pub fn new() -> Self {
        Self {
            slots: Vec::new(),
            buckets: Vec::new(),
            hasher: RandomState::default(),
            oldest: [None; LISTS],
            newest: [None; LISTS],
            counts: [0; LISTS],
        }
    }

    /// The slot of a key in one of the lists with datagrams.
    pub fn find(&self, key: &Key, list: List) -> Option<SlotIndex> {
        let hash = self.hasher.hash_one(key);
        let mut next = *self.buckets.get(self.bucket(hash))?;
        while let Some(index) = next {
            let slot = self.get(index)?;
            if slot.hash == hash && slot.list == list && slot.datagram.key == *key {
                return Some(index);
            }
            next = slot.chained;
        }
        None
    }

    pub fn get(&self, index: SlotIndex) -> Option<&Slot> {
        self.slots.get(index as usize)
    }

    pub fn get_mut(&mut self, index: SlotIndex) -> Option<&mut Slot> {
        self.slots.get_mut(index as usize)
    }

    /// How many slots are in a list.
    pub const fn count(&self, list: List) -> usize {
        let [open, given, free] = self.counts;
        match list {
            List::Open => open,
            List::Given => given,
            List::Free => free,
        }
    }

    /// The oldest of a list.
    pub fn oldest(&self, list: List) -> Option<SlotIndex> {
        self.oldest.get(list as usize).copied().flatten()
    }

    /// Memory of slots and buckets, without what the datagrams have on the heap.
    pub fn bytes(&self) -> usize {
        slots_bytes(self.slots.capacity()) + buckets_bytes(self.buckets.len())
    }

    /// How much [`bytes`](Self::bytes) grows when one more slot is taken.
    pub fn growth(&self) -> usize {
        if self.count(List::Free) > 0 || self.slots.len() < self.slots.capacity() {
            return 0;
        }
        let slots = grown(self.slots.len());
        slots_bytes(slots) + buckets_bytes(slots.next_power_of_two()) - self.bytes()
    }

    /// Takes a slot for the open datagram of a key, which has none.
    pub fn take(&mut self, key: Key, buffer: Vec<u8>, origin: Origin) -> Option<SlotIndex> {
        let index = match self.oldest(List::Free) {
            Some(index) => index,
            None => self.add(key)?,
        };
        let hash = self.hasher.hash_one(key);
        let slot = self.slots.get_mut(index as usize)?;
        slot.generation = slot.generation.wrapping_add(1);
        slot.hash = hash;
        slot.datagram.begin(key, buffer, origin);
        self.chain(index);
        self.unlink(index);
        self.link(index, List::Open);
        Some(index)
    }

    /// Adds a free slot.
    fn add(&mut self, key: Key) -> Option<SlotIndex> {
        let index = SlotIndex::try_from(self.slots.len()).ok()?;
        if self.slots.len() == self.slots.capacity() {
            self.grow();
        }
        self.slots.push(Slot {
            datagram: Incomplete::new(key),
            generation: 0,
            list: List::Free,
            hash: 0,
            chained: None,
            older: None,
            newer: None,
        });
        self.link(index, List::Free);
        Some(index)
    }

    /// Makes room for more slots, and buckets for all of them. All slots are in use.
    fn grow(&mut self) {
        let slots = grown(self.slots.len());
        self.slots.reserve_exact(slots - self.slots.len());
        let buckets = slots.next_power_of_two();
        if buckets > self.buckets.len() {
            self.buckets = vec![None; buckets];
            (0..self.slots.len() as SlotIndex).for_each(|index| self.chain(index));
        }
    }

    /// Puts an open datagram into the list of those of which a reading was given out. The key has no other one there.
    pub fn mark_given(&mut self, index: SlotIndex) {
        if self.get(index).is_some_and(|slot| slot.list == List::Open) {
            self.unlink(index);
            self.link(index, List::Given);
        }
    }

    /// Frees a slot; gives its datagram's buffer back.
    pub fn free(&mut self, index: SlotIndex) -> Vec<u8> {
        self.unchain(index);
        let Some(slot) = self.get_mut(index) else { return Vec::new() };
        slot.generation = slot.generation.wrapping_add(1);
        let buffer = slot.datagram.clear();
        self.unlink(index);
        self.link(index, List::Free);
        buffer
    }

    const fn bucket(&self, hash: u64) -> usize {
        hash as usize & self.buckets.len().saturating_sub(1)
    }

    /// Adds a slot to the bucket of its hash.
    fn chain(&mut self, index: SlotIndex) {
        let Some(hash) = self.get(index).map(|slot| slot.hash) else { return };
        let bucket = self.bucket(hash);
        let Some(first) = self.buckets.get_mut(bucket) else { return };
        let chained = first.replace(index);
        if let Some(slot) = self.get_mut(index) {
            slot.chained = chained;
        }
    }

    /// Removes a slot from its bucket.
    fn unchain(&mut self, index: SlotIndex) {
        let Some((hash, chained)) = self.get_mut(index).map(|slot| (slot.hash, slot.chained.take())) else { return };
        let bucket = self.bucket(hash);
        let Some(first) = self.buckets.get_mut(bucket) else { return };
        if *first == Some(index) {
            *first = chained;
            return;
        }
        let mut next = *first;
        while let Some(slot) = next.and_then(|next| self.slots.get_mut(next as usize)) {
            if slot.chained == Some(index) {
                slot.chained = chained;
                return;
            }
            next = slot.chained;
        }
    }

    /// Adds a slot to a list as its newest.
    fn link(&mut self, index: SlotIndex, list: List) {
        let Some(newest) = self.newest.get_mut(list as usize) else { return };
        let before = newest.replace(index);
        if let Some(slot) = self.slots.get_mut(index as usize) {
            (slot.list, slot.older, slot.newer) = (list, before, None);
        }
        match before.and_then(|before| self.slots.get_mut(before as usize)) {
            Some(before) => before.newer = Some(index),
            None => set(&mut self.oldest, list as usize, Some(index)),
        }
        if let Some(count) = self.counts.get_mut(list as usize) {
            *count += 1;
        }
    }

    /// Removes a slot from its list.
    fn unlink(&mut self, index: SlotIndex) {
        let Some(slot) = self.slots.get_mut(index as usize) else { return };
        let (list, older, newer) = (slot.list as usize, slot.older.take(), slot.newer.take());
        match older.and_then(|older| self.slots.get_mut(older as usize)) {
            Some(older) => older.newer = newer,
            None => set(&mut self.oldest, list, newer),
        }
        match newer.and_then(|newer| self.slots.get_mut(newer as usize)) {
            Some(newer) => newer.older = older,
            None => set(&mut self.newest, list, older),
        }
        if let Some(count) = self.counts.get_mut(list) {
            *count -= 1;
        }
    }
}

fn set(ends: &mut [Option<SlotIndex>; LISTS], list: usize, to: Option<SlotIndex>) {
    if let Some(end) = ends.get_mut(list) {
        *end = to;
    }
}

/// For how many slots there is room after so many.
const fn grown(slots: usize) -> usize {
    if slots < 8 { slots + 4 } else { slots + slots / 4 }
}

/// Memory of so many slots.
const fn slots_bytes(slots: usize) -> usize {
    vector_bytes(slots * size_of::<Slot>())
}

/// Memory of so many buckets.
const fn buckets_bytes(buckets: usize) -> usize {
    vector_bytes(buckets * size_of::<Option<SlotIndex>>())
}
