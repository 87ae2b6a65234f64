//! The flow table of one worker: allocated once, never growing.
//!
//! A flow's hash names its home, a bucket of sixteen slots, and another bucket where it may stand when its home is crowded.
//! A bucket is a cache line of 16-bit tags and one-byte epochs; the flows stand apart, one cache line each. Nearly every
//! look-up touches two lines: the home, and the flow's own on a likely hit; only of a home that says that some of its flows
//! are away the other bucket is looked at. When both are full the flow longest without a packet gives way.

use std::ops::Range;

use super::key::{FlowKey, HashKey};
use super::memory::{Pages, prefetch};
use super::tags::{WAYS, equal_tags, idle_ways};
use vigie_decode::Address;

/// So many flows stand in a bucket before the emptier one is chosen of two: a table filled to its limit then loses next to none,
/// and one filled by half has three flows in a thousand away from home.
const CROWDED_WAYS: u32 = 14;

/// Tags and ages of sixteen flows.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(super) struct Bucket {
    /// Sixteen bits of the hash; 0 for an empty slot.
    tags: [u16; WAYS],
    /// Epoch of the last packet.
    epochs: [u8; WAYS],
    /// A bit for each way whose flow has its home elsewhere.
    strangers: u16,
    /// How many flows have their home here and stand elsewhere.
    away: u32,
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

const _: () = assert!(size_of::<FlowEntry>() == 64 && size_of::<Bucket>() == 64);

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

/// Where a flow stands unless its home was crowded, and its tag.
#[derive(Clone, Copy, Debug, Default)]
pub struct Home {
    /// A bucket.
    bucket: u32,
    /// Sixteen bits of its hash, never 0.
    tag: u16,
}

/// What a first look at a flow's home told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Likely {
    /// There its flow stands, or another with its tag.
    At(Slot),
    /// Not at home, but it may be away.
    Away,
    /// In the table there is none.
    Nowhere,
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
    /// A table for `flows_max` flows, with a sixth more slots: filled to the limit, one flow in a thousand has to give way early.
    pub fn new(flows_max: usize, secret: HashKey) -> Self {
        let buckets = flows_max.saturating_add(flows_max / 6).div_ceil(WAYS).clamp(2, 1 << 27);
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

    /// The home of a flow, from its hash; its line is fetched.
    #[inline]
    pub fn home(&self, hash: u64) -> Home {
        let home = self.home_of(hash);
        prefetch(&self.buckets, home.bucket as usize);
        home
    }

    #[inline]
    fn home_of(&self, hash: u64) -> Home {
        // A number below that of the buckets from half of the hash, without a division.
        let bucket = ((hash & 0xffff_ffff) * self.buckets.len() as u64) >> 32;
        Home { bucket: bucket as u32, tag: ((hash ^ (hash >> 20)) as u16).max(1) }
    }

    /// The other bucket of a flow, from the other half of its hash. Drawn from one fewer, it passes over the home.
    #[inline]
    fn other_of(&self, hash: u64, home: Home) -> usize {
        let other = ((hash >> 32) * (self.buckets.len() as u64 - 1)) >> 32;
        (other + u64::from(other >= u64::from(home.bucket))) as usize
    }

    /// Some packets after [`home`](Self::home): where the flow stands if it is in the table, unless its tag is also another's;
    /// the line that is touched next is fetched.
    #[inline]
    pub fn likely_slot(&self, home: Home, hash: u64) -> Likely {
        let Some(bucket) = self.buckets.get(home.bucket as usize) else { return Likely::Nowhere };
        let ways = equal_tags(&bucket.tags, home.tag);
        if ways != 0 {
            return Likely::At(self.fetch(home.bucket as usize, ways));
        }
        if bucket.away == 0 {
            // There it will be placed, unless the home is crowded.
            let free = equal_tags(&bucket.tags, 0);
            if free != 0 {
                self.fetch(home.bucket as usize, free);
            }
            return Likely::Nowhere;
        }
        prefetch(&self.buckets, self.other_of(hash, home));
        Likely::Away
    }

    /// Some packets after [`likely_slot`](Self::likely_slot) told that a flow may be away: the slot where it stands then.
    #[inline]
    pub fn likely_slot_away(&self, home: Home, hash: u64) -> Option<Slot> {
        let other = self.other_of(hash, home);
        let ways = self.matching(other, home.tag);
        if ways == 0 { None } else { Some(self.fetch(other, ways)) }
    }

    /// The first slot of some ways of a bucket, its line fetched.
    #[inline]
    fn fetch(&self, bucket: usize, ways: u32) -> Slot {
        let place = bucket * WAYS + ways.trailing_zeros() as usize;
        prefetch(&self.entries, place);
        Slot(place as u32)
    }

    /// The flow in a likely slot and the epoch of its last packet, if it is the one looked for.
    #[inline]
    pub fn at_likely_slot(&mut self, slot: Slot, home: Home, key: &FlowKey) -> Option<(&mut FlowEntry, &mut u8)> {
        let place = slot.0 as usize;
        let bucket = self.buckets.get_mut(place / WAYS)?;
        let entry = self.entries.get_mut(place)?;
        // A slot that was freed meanwhile keeps its flow's key, but not the tag.
        if *bucket.tags.get(place % WAYS)? != home.tag || !entry.is(key) {
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
        let home = self.home_of(hash);
        let at_home = self.find_in(home.bucket as usize, home.tag, key);
        let may_be_away = || self.buckets.get(home.bucket as usize).is_some_and(|bucket| bucket.away > 0);
        at_home.or_else(|| if may_be_away() { self.find_in(self.other_of(hash, home), home.tag, key) } else { None })
    }

    #[inline]
    fn find_in(&self, bucket: usize, tag: u16, key: &FlowKey) -> Option<Slot> {
        let mut ways = self.matching(bucket, tag);
        while ways != 0 {
            let place = bucket * WAYS + ways.trailing_zeros() as usize;
            if self.entries.get(place).is_some_and(|entry| entry.is(key)) {
                return Some(Slot(place as u32));
            }
            ways &= ways - 1;
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
        let home = self.home_of(hash);
        let place = self.place_for(home, hash, epoch);
        let old = if self.matching(place / WAYS, 0) & 1 << (place % WAYS) == 0 {
            self.remove(Slot(place as u32))
        } else {
            None
        };
        let is_away = place / WAYS != home.bucket as usize;
        if let Some(bucket) = self.buckets.get_mut(place / WAYS)
            && let Some(tag) = bucket.tags.get_mut(place % WAYS)
            && let Some(last) = bucket.epochs.get_mut(place % WAYS)
        {
            (*tag, *last) = (home.tag, epoch);
            bucket.strangers |= u16::from(is_away) << (place % WAYS);
        }
        if is_away && let Some(bucket) = self.buckets.get_mut(home.bucket as usize) {
            bucket.away += 1;
        }
        if let Some(entry) = self.entries.get_mut(place) {
            *entry = FlowEntry {
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
        }
        self.flows += 1;
        let slot = Slot(place as u32);
        old.map_or(Found::New(slot), |old| Found::Replaced(slot, old))
    }

    /// Where a new flow is to stand: at home if there is room, or in the other bucket if the home is crowded and that is less so,
    /// or else in the place of the stalest flow of both.
    #[inline]
    fn place_for(&self, home: Home, hash: u64, epoch: u8) -> usize {
        let (home_bucket, free) = (home.bucket as usize, self.matching(home.bucket as usize, 0));
        if free.count_ones() > WAYS as u32 - CROWDED_WAYS {
            return home_bucket * WAYS + free.trailing_zeros() as usize;
        }
        let other = self.other_of(hash, home);
        let free_there = self.matching(other, 0);
        if free_there.count_ones() > free.count_ones() {
            other * WAYS + free_there.trailing_zeros() as usize
        } else if free != 0 {
            home_bucket * WAYS + free.trailing_zeros() as usize
        } else {
            self.stalest([home_bucket, other], epoch, hash)
        }
    }

    /// The place in the two buckets whose last packet is longest ago. Of several that are alike, which one hangs on the
    /// hash of the flow that wants the place, so that the newest flows are not the first to go.
    #[cold]
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
        let bucket = self.buckets.get_mut(place / WAYS)?;
        let tag = bucket.tags.get_mut(place % WAYS)?;
        if *tag == 0 {
            return None;
        }
        *tag = 0;
        self.flows -= 1;
        let stranger = bucket.strangers & 1 << (place % WAYS);
        bucket.strangers ^= stranger;
        if stranger != 0 {
            self.strangers_left(place / WAYS, u32::from(stranger));
        }
        self.entries.get(place).copied()
    }

    /// Tells the homes of flows at these ways of a bucket that they are gone.
    #[cold]
    fn strangers_left(&mut self, bucket: usize, mut ways: u32) {
        while ways != 0 {
            let place = bucket * WAYS + ways.trailing_zeros() as usize;
            ways &= ways - 1;
            let Some(entry) = self.entries.get(place) else { continue };
            let home = self.home_of(entry.key().hash(&self.secret));
            if let Some(home) = self.buckets.get_mut(home.bucket as usize) {
                home.away = home.away.saturating_sub(1);
            }
        }
    }

    /// The buckets, in stretches for [`sweep_some`](Self::sweep_some).
    pub fn stretches(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        /// Flows of one stretch fit the processor's cache.
        const STRETCH_BUCKETS: usize = 512;
        let buckets = self.buckets.len();
        (0..buckets).step_by(STRETCH_BUCKETS).map(move |start| start..(start + STRETCH_BUCKETS).min(buckets))
    }

    /// Frees the flows in some buckets without a packet for more than `idle_epochs`, telling each and where it stood; `all` frees
    /// every flow there.
    pub fn sweep_some(
        &mut self,
        buckets: Range<usize>,
        epoch: u8,
        idle_epochs: u8,
        all: bool,
        mut visit: impl FnMut(Slot, &FlowEntry),
    ) {
        /// How many buckets before their turn flows are fetched.
        const FETCHED_BUCKETS: usize = 4;
        let gone_of = |bucket: &Bucket| {
            let idle = if all { u32::from(u16::MAX) } else { idle_ways(&bucket.epochs, epoch, idle_epochs) };
            idle & !equal_tags(&bucket.tags, 0)
        };
        for number in buckets {
            // The lines of flows that will be told soon.
            let mut coming = self.buckets.get(number + FETCHED_BUCKETS).map_or(0, gone_of);
            while coming != 0 {
                self.fetch(number + FETCHED_BUCKETS, coming);
                coming &= coming - 1;
            }
            let Some(bucket) = self.buckets.get_mut(number) else { break };
            let gone = gone_of(bucket);
            if gone == 0 {
                continue;
            }
            let strangers = gone & u32::from(bucket.strangers);
            bucket.strangers ^= strangers as u16;
            let mut ways = gone;
            while ways != 0 {
                let way = ways.trailing_zeros() as usize;
                ways &= ways - 1;
                if let (Some(tag), Some(entry)) = (bucket.tags.get_mut(way), self.entries.get(number * WAYS + way)) {
                    *tag = 0;
                    visit(Slot((number * WAYS + way) as u32), entry);
                }
            }
            self.flows -= gone.count_ones() as usize;
            self.strangers_left(number, strangers);
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

    /// Frees the flows without a packet for more than ten epochs; how many they were.
    fn sweep(table: &mut FlowTable, epoch: u8) -> usize {
        let mut gone = 0;
        table.stretches().for_each(|buckets| table.sweep_some(buckets, epoch, 10, false, |_, _| gone += 1));
        gone
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
        assert!(replaced * 500 < wanted, "{replaced} of {wanted} in {} slots", table.capacity());
    }

    #[test]
    fn flows_away_from_home_are_found_and_leave_no_trace() {
        let mut table = FlowTable::new(6_000, HashKey::REPLAY);
        for round in 0..3 {
            let keys: Vec<_> = (0..6_000).map(|number| key(round * 10_000 + number)).collect();
            for key in &keys {
                table.find_or_add(key, table.hash(key), 1);
            }
            let away: u32 = table.buckets.iter().map(|bucket| bucket.away).sum();
            let strangers: u32 = table.buckets.iter().map(|bucket| bucket.strangers.count_ones()).sum();
            assert!(away == strangers && away > 100, "{away} away, {strangers} strangers");
            let missing = keys.iter().filter(|key| table.find(key, table.hash(key)).is_none()).count();
            assert!(missing <= 12, "{missing}");
            // Half of them one by one, the others by a sweep.
            for key in keys.iter().step_by(2) {
                if let Some(slot) = table.find(key, table.hash(key)) {
                    assert_eq!(table.remove(slot).unwrap().key(), *key);
                }
            }
            sweep(&mut table, 100);
            assert_eq!(table.len(), 0);
            assert!(table.buckets.iter().all(|bucket| bucket.away == 0 && bucket.strangers == 0));
        }
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
        let gone = sweep(&mut table, 5);
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
