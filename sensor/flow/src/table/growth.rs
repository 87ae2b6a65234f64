//! A table that grows with its flows, for captures in files: most of them have few, which then stay in the processor's cache.
//! A running sensor takes the whole table at its start.

use super::{FlowEntry, FlowTable, HashKey, Slot, WAYS, bound_of};

/// Buckets of a table that grows, at first: for ten thousand flows, in little more than a MiB.
const FIRST_BUCKETS: usize = 1_024;
/// By how much it grows at once.
const GROWTH: usize = 4;

impl FlowTable {
    /// A table for `flows_max` flows that is small at first. The owner has it [grow](Self::grow) when it
    /// [is crowded](Self::is_crowded).
    pub fn growing(flows_max: usize, secret: HashKey) -> Self {
        let buckets_max = Self::buckets_for(flows_max);
        let mut table = Self::with_buckets(buckets_max.min(FIRST_BUCKETS), secret);
        table.grow_later(buckets_max);
        table
    }

    /// Whether the table should grow, and can.
    #[inline]
    pub const fn is_crowded(&self) -> bool {
        self.flows >= self.flows_before_growth
    }

    /// Makes the table larger. Calls `moved` with each flow and its new slot. If a flow would find no room, which takes a
    /// capture made for it, nothing changes, and flows are evicted as from a table at its limit.
    pub fn grow(&mut self, epoch: u8, mut moved: impl FnMut(&FlowEntry, Slot)) {
        let buckets = self.buckets.len().saturating_mul(GROWTH).min(self.buckets_max);
        let mut grown = Self::with_buckets(buckets, self.secret);
        grown.stalest.fill([epoch; WAYS]);
        grown.grow_later(self.buckets_max);
        for (bucket, entries) in self.buckets.iter().zip(self.entries.chunks(WAYS)) {
            for ((tag, last_epoch), entry) in bucket.tags.iter().zip(bucket.epochs).zip(entries) {
                if *tag != 0 && !grown.take_over(entry, last_epoch, epoch) {
                    self.flows_before_growth = usize::MAX;
                    return;
                }
            }
        }
        *self = grown;
        let tags = self.buckets.iter().flat_map(|bucket| bucket.tags);
        for (place, (tag, entry)) in tags.zip(self.entries.iter()).enumerate() {
            if tag != 0 {
                moved(entry, Slot::at(place));
            }
        }
    }

    /// Sets when the table grows next.
    fn grow_later(&mut self, buckets_max: usize) {
        /// So full that no flow is evicted for want of growth.
        const CROWDED_WAYS_OF_ALL: usize = 10;
        self.buckets_max = buckets_max;
        self.flows_before_growth =
            if self.buckets.len() < buckets_max { self.buckets.len() * CROWDED_WAYS_OF_ALL } else { usize::MAX };
    }

    /// Adds a flow of the smaller table. False if it has no room.
    fn take_over(&mut self, entry: &FlowEntry, last_epoch: u8, epoch: u8) -> bool {
        let hash = entry.key().hash(&self.secret);
        let primary = self.primary_of(hash);
        let place = self.place_for(primary, hash, epoch);
        let number = place / WAYS;
        if self.matching(number, 0) & 1 << (place % WAYS) == 0 {
            return false;
        }
        self.occupy(place, primary, last_epoch, *entry);
        if let Some(bound) = bound_of(&mut self.stalest, number)
            && epoch.wrapping_sub(last_epoch) > epoch.wrapping_sub(*bound)
        {
            *bound = last_epoch;
        }
        true
    }
}
