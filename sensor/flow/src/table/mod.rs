//! The flow table of one worker: allocated once, or growing up to its limit.
//!
//! A flow's hash names two buckets of sixteen slots: a primary one, and an alternate one for when the primary is crowded.
//! A bucket is one cache line of 16-bit tags and one-byte epochs; the flows themselves stand in a second array, one cache
//! line each. Nearly every look-up touches two lines: the primary bucket, and the flow's own on a tag match. The alternate
//! bucket is read only if the primary one counts displaced flows. When both are full, the flow that was longest without a
//! packet is evicted.

mod bucket;
mod entry;
mod growth;
mod sweep;
#[cfg(test)]
mod tests;

use super::key::{FlowKey, HashKey};
use super::memory::{Pages, prefetch};
pub(super) use bucket::Bucket;
use bucket::{WAYS, equal_tags};
pub use entry::FlowEntry;

/// From this many flows in the primary bucket on, the emptier of the two buckets is chosen. A table filled to its limit
/// then loses next to none, and a half-filled one displaces three flows in a thousand.
const CROWDED_WAYS: u32 = 14;

/// A flow's position in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot(u32);

impl Slot {
    /// The slot with this index, below the table's capacity.
    pub const fn at(index: usize) -> Self {
        Self(index as u32)
    }

    /// Its index, for values that are kept beside the table.
    #[inline]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// The bucket in which a flow stands unless that is crowded, and the flow's tag.
#[derive(Clone, Copy, Debug, Default)]
pub struct PrimaryBucket {
    bucket: u32,
    /// Sixteen bits of the flow's hash, never 0.
    tag: u16,
}

/// What the tags of a flow's primary bucket say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// This slot has the flow's tag: it is the flow, or another one with the same tag.
    TagMatch(Slot),
    /// Not in the primary bucket, but flows of it are displaced: the alternate bucket has to be probed.
    MaybeDisplaced,
    /// The flow is not in the table.
    Absent,
}

/// The result of [`FlowTable::find_or_insert`].
#[derive(Debug)]
pub enum Lookup {
    /// The flow was in the table.
    Known(Slot),
    /// The flow is new, in a slot that was free.
    New(Slot),
    /// The flow is new, and this other flow was evicted for it.
    Replaced(Slot, FlowEntry),
}

/// The flows of one worker.
#[derive(Debug)]
pub struct FlowTable {
    buckets: Pages<Bucket>,
    entries: Pages<FlowEntry>,
    /// For each bucket an epoch that none of its flows' last packets precedes, so that a sweep passes over most buckets.
    stalest: Vec<[u8; WAYS]>,
    secret: HashKey,
    flows: usize,
    buckets_max: usize,
    /// With so many flows the table grows.
    flows_before_growth: usize,
}

impl FlowTable {
    /// A table for `flows_max` flows, with a sixth more slots: filled to the limit, it evicts one flow in a thousand early.
    pub fn new(flows_max: usize, secret: HashKey) -> Self {
        Self::with_buckets(Self::buckets_for(flows_max), secret)
    }

    fn buckets_for(flows_max: usize) -> usize {
        flows_max.saturating_add(flows_max / 6).div_ceil(WAYS).clamp(2, 1 << 27)
    }

    fn with_buckets(buckets: usize, secret: HashKey) -> Self {
        Self {
            buckets: Pages::zeroed(buckets),
            entries: Pages::zeroed(buckets * WAYS),
            stalest: vec![[0; WAYS]; buckets.div_ceil(WAYS)],
            secret,
            flows: 0,
            buckets_max: buckets,
            flows_before_growth: usize::MAX,
        }
    }

    /// Allocates all pages of the table now; otherwise each page is allocated at its first write.
    pub fn populate(&mut self) {
        self.stalest.fill([0; WAYS]);
        self.buckets.populate();
        self.entries.populate();
    }

    /// Flows in the table.
    pub const fn len(&self) -> usize {
        self.flows
    }

    /// Whether the table has no flow.
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

    /// The primary bucket of a flow, by its hash. Prefetches the bucket.
    #[inline]
    pub fn primary_bucket(&self, hash: u64) -> PrimaryBucket {
        let primary = self.primary_of(hash);
        prefetch(&self.buckets, primary.bucket as usize);
        primary
    }

    #[inline]
    fn primary_of(&self, hash: u64) -> PrimaryBucket {
        // Maps half of the hash to a bucket number without a division.
        let bucket = ((hash & 0xffff_ffff) * self.buckets.len() as u64) >> 32;
        PrimaryBucket { bucket: bucket as u32, tag: ((hash ^ (hash >> 20)) as u16).max(1) }
    }

    /// The alternate bucket of a flow, from the other half of its hash: one of all buckets but the primary.
    #[inline]
    fn alternate_of(&self, hash: u64, primary: PrimaryBucket) -> usize {
        let alternate = ((hash >> 32) * (self.buckets.len() as u64 - 1)) >> 32;
        (alternate + u64::from(alternate >= u64::from(primary.bucket))) as usize
    }

    /// Compares the tags of the primary bucket, some packets after [`primary_bucket`](Self::primary_bucket) prefetched it.
    /// Prefetches the line that is touched next.
    #[inline]
    pub fn probe_primary(&self, primary: PrimaryBucket, hash: u64) -> Probe {
        let Some(bucket) = self.buckets.get(primary.bucket as usize) else { return Probe::Absent };
        let ways = equal_tags(&bucket.tags, primary.tag);
        if ways != 0 {
            return Probe::TagMatch(self.prefetch_entry(primary.bucket as usize, ways));
        }
        if bucket.displaced_elsewhere == 0 {
            // The new flow is stored here, unless the bucket is crowded.
            let free = equal_tags(&bucket.tags, 0);
            if free != 0 {
                self.prefetch_entry(primary.bucket as usize, free);
            }
            return Probe::Absent;
        }
        prefetch(&self.buckets, self.alternate_of(hash, primary));
        Probe::MaybeDisplaced
    }

    /// Compares the tags of the alternate bucket, some packets after [`Probe::MaybeDisplaced`].
    #[inline]
    pub fn probe_alternate(&self, primary: PrimaryBucket, hash: u64) -> Option<Slot> {
        let alternate = self.alternate_of(hash, primary);
        let ways = self.matching(alternate, primary.tag);
        if ways == 0 { None } else { Some(self.prefetch_entry(alternate, ways)) }
    }

    /// The first slot of some ways of a bucket. Prefetches its entry.
    #[inline]
    fn prefetch_entry(&self, bucket: usize, ways: u32) -> Slot {
        let place = bucket * WAYS + ways.trailing_zeros() as usize;
        prefetch(&self.entries, place);
        Slot(place as u32)
    }

    /// The flow of a probed slot and the epoch of its last packet, if it is the flow of `key`.
    #[inline]
    pub fn confirm(&mut self, slot: Slot, primary: PrimaryBucket, key: &FlowKey) -> Option<(&mut FlowEntry, &mut u8)> {
        let place = slot.0 as usize;
        let bucket = self.buckets.get_mut(place / WAYS)?;
        let entry = self.entries.get_mut(place)?;
        // A slot that was freed meanwhile keeps its flow's key, but not the tag.
        if *bucket.tags.get(place % WAYS)? != primary.tag || !entry.has_key(key) {
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
        let primary = self.primary_of(hash);
        let in_primary = self.find_in(primary.bucket as usize, primary.tag, key);
        let may_be_displaced =
            || self.buckets.get(primary.bucket as usize).is_some_and(|bucket| bucket.displaced_elsewhere > 0);
        in_primary.or_else(|| {
            if may_be_displaced() { self.find_in(self.alternate_of(hash, primary), primary.tag, key) } else { None }
        })
    }

    #[inline]
    fn find_in(&self, bucket: usize, tag: u16, key: &FlowKey) -> Option<Slot> {
        let mut ways = self.matching(bucket, tag);
        while ways != 0 {
            let place = bucket * WAYS + ways.trailing_zeros() as usize;
            if self.entries.get(place).is_some_and(|entry| entry.has_key(key)) {
                return Some(Slot(place as u32));
            }
            ways &= ways - 1;
        }
        None
    }

    /// The slot of a flow, which is inserted if it was not in the table. The epoch must not be before those of earlier calls.
    #[inline]
    pub fn find_or_insert(&mut self, key: &FlowKey, hash: u64, epoch: u8) -> Lookup {
        match self.find(key, hash) {
            Some(slot) => Lookup::Known(slot),
            None => self.insert(key, hash, epoch),
        }
    }

    fn insert(&mut self, key: &FlowKey, hash: u64, epoch: u8) -> Lookup {
        if self.flows == 0 {
            self.stalest.fill([epoch; WAYS]);
        }
        let primary = self.primary_of(hash);
        let place = self.place_for(primary, hash, epoch);
        let old = if self.matching(place / WAYS, 0) & 1 << (place % WAYS) == 0 {
            self.remove(Slot(place as u32))
        } else {
            None
        };
        let slot = self.occupy(place, primary, epoch, FlowEntry::new(key));
        old.map_or(Lookup::New(slot), |old| Lookup::Replaced(slot, old))
    }

    /// Puts a flow at a free place.
    #[inline]
    fn occupy(&mut self, place: usize, primary: PrimaryBucket, epoch: u8, flow: FlowEntry) -> Slot {
        let is_displaced = place / WAYS != primary.bucket as usize;
        if let Some(bucket) = self.buckets.get_mut(place / WAYS)
            && let Some(tag) = bucket.tags.get_mut(place % WAYS)
            && let Some(last) = bucket.epochs.get_mut(place % WAYS)
        {
            (*tag, *last) = (primary.tag, epoch);
            bucket.displaced_here |= u16::from(is_displaced) << (place % WAYS);
        }
        if is_displaced && let Some(bucket) = self.buckets.get_mut(primary.bucket as usize) {
            bucket.displaced_elsewhere += 1;
        }
        if let Some(entry) = self.entries.get_mut(place) {
            *entry = flow;
        }
        self.flows += 1;
        Slot(place as u32)
    }

    /// Where to store a new flow: in its primary bucket if that has room, in the alternate one if the primary is crowded
    /// and the alternate is less so, else in place of the stalest flow of both.
    #[inline]
    fn place_for(&self, primary: PrimaryBucket, hash: u64, epoch: u8) -> usize {
        let primary_bucket = primary.bucket as usize;
        let free = self.matching(primary_bucket, 0);
        if free.count_ones() > WAYS as u32 - CROWDED_WAYS {
            return primary_bucket * WAYS + free.trailing_zeros() as usize;
        }
        let alternate = self.alternate_of(hash, primary);
        let free_there = self.matching(alternate, 0);
        if free_there.count_ones() > free.count_ones() {
            alternate * WAYS + free_there.trailing_zeros() as usize
        } else if free != 0 {
            primary_bucket * WAYS + free.trailing_zeros() as usize
        } else {
            self.stalest([primary_bucket, alternate], epoch, hash)
        }
    }

    /// The place in two buckets whose last packet is longest ago. The new flow's hash decides between equals, so that the
    /// newest flows are not always the first to be evicted.
    #[cold]
    fn stalest(&self, buckets: [usize; 2], epoch: u8, hash: u64) -> usize {
        let [first, second] = buckets;
        let turn = (hash >> 40) as usize;
        let mut stalest = (0, first * WAYS + turn % WAYS);
        for step in 0..2 * WAYS {
            let number = (turn + step) % (2 * WAYS);
            let bucket = if number < WAYS { first } else { second };
            let way = number % WAYS;
            let Some(last) = self.buckets.get(bucket).and_then(|bucket| bucket.epochs.get(way)) else { continue };
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

    /// Prefetches the flow in a slot.
    #[inline]
    pub fn prefetch(&self, slot: Slot) {
        prefetch(&self.entries, slot.0 as usize);
    }

    /// The flow in a slot, to be changed.
    #[inline]
    pub fn get_mut(&mut self, slot: Slot) -> Option<&mut FlowEntry> {
        self.entries.get_mut(slot.0 as usize)
    }

    /// The epoch of the last packet of the flow in a slot.
    pub fn last_epoch(&self, slot: Slot) -> Option<u8> {
        let place = slot.0 as usize;
        self.buckets.get(place / WAYS)?.epochs.get(place % WAYS).copied()
    }

    /// Sets the epoch of a slot's last packet, and gives back the former one.
    #[inline]
    pub fn touch(&mut self, slot: Slot, epoch: u8) -> u8 {
        let place = slot.0 as usize;
        match self.buckets.get_mut(place / WAYS).and_then(|bucket| bucket.epochs.get_mut(place % WAYS)) {
            Some(last) if *last != epoch => std::mem::replace(last, epoch),
            _ => epoch,
        }
    }

    /// Removes the flow in a slot.
    pub fn remove(&mut self, slot: Slot) -> Option<FlowEntry> {
        let place = slot.0 as usize;
        let bucket = self.buckets.get_mut(place / WAYS)?;
        let tag = bucket.tags.get_mut(place % WAYS)?;
        if *tag == 0 {
            return None;
        }
        *tag = 0;
        self.flows -= 1;
        let displaced = bucket.displaced_here & 1 << (place % WAYS);
        bucket.displaced_here ^= displaced;
        if displaced != 0 {
            self.displaced_removed(place / WAYS, u32::from(displaced));
        }
        self.entries.get(place).copied()
    }

    /// Tells the primary buckets of displaced flows, which stood in these ways of `bucket`, that they are gone.
    #[cold]
    fn displaced_removed(&mut self, bucket: usize, mut ways: u32) {
        while ways != 0 {
            let place = bucket * WAYS + ways.trailing_zeros() as usize;
            ways &= ways - 1;
            let Some(entry) = self.entries.get(place) else { continue };
            let primary = self.primary_of(entry.key().hash(&self.secret));
            if let Some(primary) = self.buckets.get_mut(primary.bucket as usize) {
                primary.displaced_elsewhere = primary.displaced_elsewhere.saturating_sub(1);
            }
        }
    }
}

/// The bound on the ages in a bucket: the epoch of a packet no later than the last one of each of its flows.
fn bound_of(stalest: &mut [[u8; WAYS]], bucket: usize) -> Option<&mut u8> {
    stalest.get_mut(bucket / WAYS)?.get_mut(bucket % WAYS)
}
