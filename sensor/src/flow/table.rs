//! The flow table of one worker: allocated once, never growing.
//!
//! A flow's hash names two buckets of eight slots. A bucket is half a cache line of 16-bit tags and one-byte epochs;
//! the flows stand apart, one cache line each. A look-up compares tags and touches a flow's line only on a likely hit.
//! When both buckets are full the flow longest without a packet gives way.

use super::key::{FlowKey, HashKey};
use super::memory::{Pages, prefetch};
use super::tags::{WAYS, equal_tags, equal_tags_of_two};
use crate::decode::Address;

/// Tags and ages of eight flows.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(32))]
pub(super) struct Bucket {
    /// Sixteen bits of the hash; 0 for an empty slot.
    tags: [u16; WAYS],
    /// Epoch of the last packet.
    epochs: [u8; WAYS],
}

/// A flow: one cache line.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub struct FlowEntry {
    low: u128,
    high: u128,
    ports_and_network: u64,
    protocol: u8,
    /// Bits of the owner, such as who is the client.
    pub marks: u8,
    /// A number of the owner, wrapping.
    pub spare: u16,
    /// The owner's record of this flow, plus one; 0 for none.
    pub record: u32,
    /// Packets (upper 24 bits) and bytes (lower 40 bits) from the low end.
    pub from_low: u64,
    /// Packets and bytes from the high end.
    pub from_high: u64,
}

const _: () = assert!(size_of::<FlowEntry>() == 64 && size_of::<Bucket>() == 32);

/// Bits of a packed counter that count bytes.
const BYTE_BITS: u32 = 40;

impl FlowEntry {
    /// What tells this flow.
    pub const fn key(&self) -> FlowKey {
        FlowKey {
            low: Address(self.low),
            high: Address(self.high),
            ports_and_network: self.ports_and_network,
            protocol: self.protocol,
        }
    }

    #[inline]
    fn is(&self, key: &FlowKey) -> bool {
        // All compared before one branch: that they are equal is what is to be expected.
        let addresses = (self.low ^ key.low.0) | (self.high ^ key.high.0);
        let rest = (self.ports_and_network ^ key.ports_and_network) | u64::from(self.protocol ^ key.protocol);
        addresses as u64 | (addresses >> 64) as u64 | rest == 0
    }

    /// Counts one packet of `bytes`, at most 2^16 of them, on a packed counter. True when the counter wants to be emptied before it wraps:
    /// after 2^23 packets, which cannot be more than 2^39 bytes.
    #[inline]
    pub fn count(counter: &mut u64, bytes: u32) -> bool {
        *counter = counter.wrapping_add((1 << BYTE_BITS) | u64::from(bytes.min(1 << 16)));
        *counter >> 63 != 0
    }

    /// Packets and bytes of a packed counter.
    pub const fn counted(counter: u64) -> (u64, u64) {
        (counter >> BYTE_BITS, counter & ((1 << BYTE_BITS) - 1))
    }
}

/// Where a flow stands in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot(u32);

/// The two buckets in which a flow may stand, and its tag.
#[derive(Clone, Copy, Debug, Default)]
pub struct Places {
    /// A bucket.
    pub first: u32,
    /// Another one.
    pub second: u32,
    /// Sixteen bits of its hash, never 0.
    pub tag: u16,
}

/// What a look-up gave.
#[derive(Debug)]
pub enum Found {
    /// The flow was there.
    Known(Slot),
    /// It is there now, in a slot that was free.
    New(Slot),
    /// It is there now, where another flow had to go.
    Replaced(Slot, FlowEntry),
}

/// The flows of one worker.
#[derive(Debug)]
pub struct FlowTable {
    buckets: Pages<Bucket>,
    entries: Pages<FlowEntry>,
    secret: HashKey,
    flows: usize,
}

impl FlowTable {
    /// A table for `flows_max` flows, with a sixth more slots: filled to the limit, one flow in some 600 has to give way early.
    pub fn new(flows_max: usize, secret: HashKey) -> Self {
        let buckets = flows_max.saturating_add(flows_max / 6).div_ceil(WAYS).clamp(2, 1 << 28);
        Self { buckets: Pages::zeroed(buckets), entries: Pages::zeroed(buckets * WAYS), secret, flows: 0 }
    }

    /// Has all of the table's memory brought in, which otherwise is when a page of it is first written to.
    pub fn populate(&mut self) {
        self.buckets.populate();
        self.entries.populate();
    }

    /// Flows in the table.
    pub const fn len(&self) -> usize {
        self.flows
    }

    /// Whether no flow is in the table.
    pub const fn is_empty(&self) -> bool {
        self.flows == 0
    }

    /// Slots of the table.
    pub fn capacity(&self) -> usize {
        self.entries.len()
    }

    /// The keyed hash of a flow.
    #[inline]
    pub fn hash(&self, key: &FlowKey) -> u64 {
        key.hash(&self.secret)
    }

    /// Where a flow may stand, from its hash; its tags are fetched.
    #[inline]
    pub fn places(&self, hash: u64) -> Places {
        let places = self.places_of(hash);
        prefetch(&self.buckets, places.first as usize);
        prefetch(&self.buckets, places.second as usize);
        places
    }

    #[inline]
    fn places_of(&self, hash: u64) -> Places {
        let buckets = self.buckets.len() as u64;
        // Two numbers below `buckets` from the two halves of the hash, without a division.
        let first = ((hash & 0xffff_ffff) * buckets) >> 32;
        // The second is another one than the first: drawn from one fewer, it passes over it.
        let second = ((hash >> 32) * (buckets - 1)) >> 32;
        let second = second + u64::from(second >= first);
        let tag = ((hash ^ (hash >> 20)) as u16).max(1);
        Places { first: first as u32, second: second as u32, tag }
    }

    /// Some packets after [`places`](Self::places): the slot where the flow stands if it is in the table, unless its tag is also
    /// another's; its line is fetched.
    #[inline]
    pub fn likely_slot(&self, places: &Places) -> Option<Slot> {
        let (first, second) = (self.buckets.get(places.first as usize)?, self.buckets.get(places.second as usize)?);
        // Both at once: in which of the two a flow stands nobody can foresee.
        let ways = equal_tags_of_two(&first.tags, &second.tags, places.tag);
        if ways == 0 {
            return None;
        }
        let way = ways.trailing_zeros();
        let bucket = if way < WAYS as u32 { places.first } else { places.second };
        let slot = Slot(bucket * WAYS as u32 + way % WAYS as u32);
        prefetch(&self.entries, slot.0 as usize);
        Some(slot)
    }

    /// The flow in a likely slot and the epoch of its last packet, if it is the one looked for.
    #[inline]
    pub fn at_likely_slot(&mut self, slot: Slot, tag: u16, key: &FlowKey) -> Option<(&mut FlowEntry, &mut u8)> {
        let place = slot.0 as usize;
        let bucket = self.buckets.get_mut(place / WAYS)?;
        let entry = self.entries.get_mut(place)?;
        // A slot that was freed meanwhile keeps its flow's key, but not the tag.
        if *bucket.tags.get(place % WAYS)? != tag || !entry.is(key) {
            return None;
        }
        Some((entry, bucket.epochs.get_mut(place % WAYS)?))
    }

    /// A bit for each way of `bucket` whose tag is `tag`.
    #[inline]
    fn matching(&self, bucket: usize, tag: u16) -> u32 {
        let Some(bucket) = self.buckets.get(bucket) else { return 0 };
        equal_tags(&bucket.tags, tag)
    }

    /// The slot of a flow, if it is in the table.
    #[inline]
    pub fn find(&self, key: &FlowKey, hash: u64) -> Option<Slot> {
        let Places { first, second, tag } = self.places_of(hash);
        for bucket in [first as usize, second as usize] {
            let mut ways = self.matching(bucket, tag);
            while ways != 0 {
                let place = bucket * WAYS + ways.trailing_zeros() as usize;
                if self.entries.get(place).is_some_and(|entry| entry.is(key)) {
                    return Some(Slot(place as u32));
                }
                ways &= ways - 1;
            }
        }
        None
    }

    /// The slot of a flow, which is added if it was not there.
    #[inline]
    pub fn find_or_add(&mut self, key: &FlowKey, hash: u64, epoch: u8) -> Found {
        match self.find(key, hash) {
            Some(slot) => Found::Known(slot),
            None => self.add(key, hash, epoch),
        }
    }

    fn add(&mut self, key: &FlowKey, hash: u64, epoch: u8) -> Found {
        let Places { first, second, tag } = self.places_of(hash);
        let (first, second) = (first as usize, second as usize);
        let bucket =
            if self.matching(second, 0).count_ones() > self.matching(first, 0).count_ones() { second } else { first };
        let free = self.matching(bucket, 0);
        let place = if free != 0 {
            bucket * WAYS + free.trailing_zeros() as usize
        } else {
            self.stalest([first, second], epoch, hash)
        };
        let entry = FlowEntry {
            low: key.low.0,
            high: key.high.0,
            ports_and_network: key.ports_and_network,
            protocol: key.protocol,
            marks: 0,
            spare: 0,
            record: 0,
            from_low: 0,
            from_high: 0,
        };
        if let Some(bucket) = self.buckets.get_mut(place / WAYS)
            && let Some(slot_tag) = bucket.tags.get_mut(place % WAYS)
            && let Some(slot_epoch) = bucket.epochs.get_mut(place % WAYS)
        {
            *slot_tag = tag;
            *slot_epoch = epoch;
        }
        let slot = Slot(place as u32);
        let Some(old) = self.entries.get_mut(place).map(|old| std::mem::replace(old, entry)) else {
            return Found::New(slot);
        };
        if free == 0 {
            return Found::Replaced(slot, old);
        }
        self.flows += 1;
        Found::New(slot)
    }

    /// The place in the two buckets whose last packet is longest ago. Of several that are alike, which one hangs on the
    /// hash of the flow that wants the place, so that the newest flows are not the first to go.
    fn stalest(&self, buckets: [usize; 2], epoch: u8, hash: u64) -> usize {
        let [first, second] = buckets;
        let turn = (hash >> 40) as usize;
        let mut stalest = (0, first * WAYS + turn % WAYS);
        for step in 0..2 * WAYS {
            let number = (turn + step) % (2 * WAYS);
            let bucket = if number < WAYS { first } else { second };
            let way = number % WAYS;
            let Some(last) = self.buckets.get(bucket).and_then(|meta| meta.epochs.get(way)) else { continue };
            let age = epoch.wrapping_sub(*last);
            if age > stalest.0 {
                stalest = (age, bucket * WAYS + way);
            }
        }
        stalest.1
    }

    /// The flow in a slot.
    #[inline]
    pub fn get(&self, slot: Slot) -> Option<&FlowEntry> {
        self.entries.get(slot.0 as usize)
    }

    /// The flow in a slot, to be changed.
    #[inline]
    pub fn get_mut(&mut self, slot: Slot) -> Option<&mut FlowEntry> {
        self.entries.get_mut(slot.0 as usize)
    }

    /// Epoch of the last packet of a slot, brought to `epoch`; the former one is given back.
    #[inline]
    pub fn touch(&mut self, slot: Slot, epoch: u8) -> u8 {
        let place = slot.0 as usize;
        match self.buckets.get_mut(place / WAYS).and_then(|bucket| bucket.epochs.get_mut(place % WAYS)) {
            Some(last) if *last != epoch => std::mem::replace(last, epoch),
            _ => epoch,
        }
    }

    /// Frees a slot.
    pub fn remove(&mut self, slot: Slot) -> Option<FlowEntry> {
        let place = slot.0 as usize;
        let tag = self.buckets.get_mut(place / WAYS)?.tags.get_mut(place % WAYS)?;
        if *tag == 0 {
            return None;
        }
        *tag = 0;
        self.flows -= 1;
        self.entries.get(place).copied()
    }

    /// Frees the flows without a packet for more than `idle_epochs`, telling each; `all` frees every flow.
    pub fn sweep(&mut self, epoch: u8, idle_epochs: u8, all: bool, mut visit: impl FnMut(&FlowEntry)) {
        for (number, bucket) in self.buckets.iter_mut().enumerate() {
            let mut taken = !equal_tags(&bucket.tags, 0) & ((1 << WAYS) - 1);
            while taken != 0 {
                let way = taken.trailing_zeros() as usize;
                taken &= taken - 1;
                let (Some(tag), Some(last)) = (bucket.tags.get_mut(way), bucket.epochs.get(way)) else { continue };
                if all || epoch.wrapping_sub(*last) > idle_epochs {
                    *tag = 0;
                    self.flows -= 1;
                    if let Some(entry) = self.entries.get(number * WAYS + way) {
                        visit(entry);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u32) -> FlowKey {
        let client = Address::v4(number.to_be_bytes());
        FlowKey::between((client, 40_000, Address::v4([198, 51, 100, 1]), 443), 0, 6).0
    }

    #[test]
    fn finds_what_was_added_and_nothing_else() {
        // Not to its limit, where now and then a flow has to go.
        let mut table = FlowTable::new(1500, HashKey::REPLAY);
        for number in 0..1000 {
            let key = key(number);
            let hash = table.hash(&key);
            assert!(table.find(&key, hash).is_none());
            assert!(matches!(table.find_or_add(&key, hash, 1), Found::New(_)));
        }
        assert_eq!(table.len(), 1000);
        for number in 0..1000 {
            let key = key(number);
            let slot = table.find(&key, table.hash(&key)).unwrap();
            assert_eq!(table.get(slot).unwrap().key(), key);
        }
        assert!(table.find(&key(1000), table.hash(&key(1000))).is_none());
    }

    #[test]
    fn a_table_at_its_limit_loses_next_to_nothing() {
        let mut table = FlowTable::new(60_000, HashKey::REPLAY);
        let wanted = 60_000;
        let mut replaced = 0;
        for number in 0..wanted {
            let key = key(number);
            let hash = table.hash(&key);
            replaced += u32::from(matches!(table.find_or_add(&key, hash, 1), Found::Replaced(..)));
        }
        assert!(replaced * 200 < wanted, "{replaced} of {wanted} in {} slots", table.capacity());
    }

    #[test]
    fn the_stalest_flow_gives_way() {
        let mut table = FlowTable::new(1, HashKey::REPLAY);
        let mut epoch = 0;
        let mut number = 0;
        let gone = loop {
            let key = key(number);
            let hash = table.hash(&key);
            if let Found::Replaced(_, gone) = table.find_or_add(&key, hash, epoch) {
                break gone;
            }
            number += 1;
            epoch += 1;
        };
        assert_eq!(gone.key(), key(0));
        assert_eq!(table.len(), table.capacity());
    }

    #[test]
    fn a_sweep_takes_the_idle_and_leaves_the_others() {
        let mut table = FlowTable::new(100, HashKey::REPLAY);
        for number in 0..20 {
            let key = key(number);
            let hash = table.hash(&key);
            table.find_or_add(&key, hash, 250);
        }
        let kept = table.find(&key(3), table.hash(&key(3))).unwrap();
        assert_eq!(table.touch(kept, 4), 250);
        let mut gone = 0;
        table.sweep(5, 10, false, |_| gone += 1);
        assert_eq!((gone, table.len()), (19, 1));
        assert!(table.find(&key(3), table.hash(&key(3))).is_some());
        assert!(table.remove(kept).is_some() && table.remove(kept).is_none());
    }

    #[test]
    fn packed_counters_ask_to_be_emptied_in_time() {
        let mut counter = 0;
        let mut packets = 0_u64;
        while !FlowEntry::count(&mut counter, 65_535) {
            packets += 1;
        }
        let (counted, bytes) = FlowEntry::counted(counter);
        assert_eq!(counted, packets + 1);
        assert_eq!(bytes, counted * 65_535);
    }
}
