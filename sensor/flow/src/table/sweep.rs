//! Removing flows that had no packet for a while: some buckets at a time, so that other work can go on in between. For each
//! bucket a bound on its flows' ages is kept, sixteen of which are compared at once: only buckets that may have an idle flow
//! are looked at, and their bounds found anew.

use std::ops::Range;

use arrayvec::ArrayVec;

use super::super::memory::prefetch;
use super::bucket::{Bucket, WAYS, equal_tags, idle_ways};
use super::{FlowEntry, FlowTable, Slot, bound_of};

/// Buckets of one range: their flows fit the processor's cache.
const RANGE_BUCKETS: usize = 512;

impl FlowTable {
    /// All buckets, in ranges for [`sweep`](Self::sweep).
    pub fn sweep_ranges(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let buckets = self.buckets.len();
        (0..buckets).step_by(RANGE_BUCKETS).map(move |start| start..(start + RANGE_BUCKETS).min(buckets))
    }

    /// Removes the flows of a [range](Self::sweep_ranges) of buckets that had no packet for more than `idle_epochs`, or all
    /// flows of them. Calls `visit` with each removed flow and the slot in which it stood.
    pub fn sweep(
        &mut self,
        buckets: Range<usize>,
        epoch: u8,
        idle_epochs: u8,
        all: bool,
        mut visit: impl FnMut(Slot, &FlowEntry),
    ) {
        /// Entries are prefetched this many buckets ahead.
        const PREFETCHED_BUCKETS: usize = 4;
        if self.flows == 0 {
            return;
        }
        let removed_of = |bucket: &Bucket| {
            let idle = if all { u32::from(u16::MAX) } else { idle_ways(&bucket.epochs, epoch, idle_epochs) };
            idle & !equal_tags(&bucket.tags, 0)
        };
        let due = self.due_buckets(buckets, epoch, idle_epochs, all);
        for (place, &number) in due.iter().enumerate() {
            let number = number as usize;
            if let Some(&ahead) = due.get(place + PREFETCHED_BUCKETS) {
                let mut coming = self.buckets.get(ahead as usize).map_or(0, removed_of);
                while coming != 0 {
                    self.prefetch_entry(ahead as usize, coming);
                    coming &= coming - 1;
                }
            }
            let Some(bucket) = self.buckets.get_mut(number) else { break };
            let removed = removed_of(bucket);
            let kept = !removed & !equal_tags(&bucket.tags, 0) & u32::from(u16::MAX);
            if let Some(bound) = bound_of(&mut self.stalest, number) {
                *bound = epoch.wrapping_sub(greatest_age(&bucket.epochs, kept, epoch));
            }
            if removed == 0 {
                continue;
            }
            let displaced = removed & u32::from(bucket.displaced_here);
            bucket.displaced_here ^= displaced as u16;
            let mut ways = removed;
            while ways != 0 {
                let way = ways.trailing_zeros() as usize;
                ways &= ways - 1;
                if let (Some(tag), Some(entry)) = (bucket.tags.get_mut(way), self.entries.get(number * WAYS + way)) {
                    *tag = 0;
                    visit(Slot((number * WAYS + way) as u32), entry);
                }
            }
            self.flows -= removed.count_ones() as usize;
            self.displaced_removed(number, displaced);
        }
    }

    /// Those of some buckets that may have a flow to be removed, prefetched.
    fn due_buckets(
        &self,
        buckets: Range<usize>,
        epoch: u8,
        idle_epochs: u8,
        all: bool,
    ) -> ArrayVec<u32, RANGE_BUCKETS> {
        let mut due = ArrayVec::new();
        let bounds = self.stalest.get(buckets.start / WAYS..buckets.end.div_ceil(WAYS)).unwrap_or_default();
        for (first, bounds) in (buckets.start..buckets.end).step_by(WAYS).zip(bounds) {
            let mut ways = if all { u32::from(u16::MAX) } else { idle_ways(bounds, epoch, idle_epochs) };
            while ways != 0 {
                let number = first + ways.trailing_zeros() as usize;
                ways &= ways - 1;
                if number < buckets.end && due.try_push(number as u32).is_ok() {
                    prefetch(&self.buckets, number);
                }
            }
        }
        due
    }
}

/// How many epochs ago the last packet of some ways was, at most.
fn greatest_age(epochs: &[u8; WAYS], mut ways: u32, epoch: u8) -> u8 {
    let mut greatest = 0;
    while ways != 0 {
        let last = epochs.get(ways.trailing_zeros() as usize).copied().unwrap_or(epoch);
        greatest = epoch.wrapping_sub(last).max(greatest);
        ways &= ways - 1;
    }
    greatest
}
