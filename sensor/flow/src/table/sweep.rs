//! Removing flows that had no packet for a while: some buckets at a time, so that other work can go on in between.

use std::ops::Range;

use super::bucket::{Bucket, WAYS, equal_tags, idle_ways};
use super::{FlowEntry, FlowTable, Slot};

impl FlowTable {
    /// All buckets, in ranges for [`sweep`](Self::sweep).
    pub fn sweep_ranges(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        /// The flows of one range fit the processor's cache.
        const RANGE_BUCKETS: usize = 512;
        let buckets = self.buckets.len();
        (0..buckets).step_by(RANGE_BUCKETS).map(move |start| start..(start + RANGE_BUCKETS).min(buckets))
    }

    /// Removes the flows of some buckets that had no packet for more than `idle_epochs`, or all flows of them. Calls
    /// `visit` with each removed flow and the slot in which it stood.
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
        let removed_of = |bucket: &Bucket| {
            let idle = if all { u32::from(u16::MAX) } else { idle_ways(&bucket.epochs, epoch, idle_epochs) };
            idle & !equal_tags(&bucket.tags, 0)
        };
        for number in buckets {
            let mut coming = self.buckets.get(number + PREFETCHED_BUCKETS).map_or(0, removed_of);
            while coming != 0 {
                self.prefetch_entry(number + PREFETCHED_BUCKETS, coming);
                coming &= coming - 1;
            }
            let Some(bucket) = self.buckets.get_mut(number) else { break };
            let removed = removed_of(bucket);
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
}
