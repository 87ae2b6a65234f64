//! The clock, which is the packets' time, and the sweep for flows that have timed out.

use vigie_flow::Slot;
use vigie_wire::Frame;

use super::flows::FOREIGN;
use super::{Counter, Worker};
use crate::event::{Event, FlowEnd, Order};

/// Seconds of one step of the flows' age.
pub(super) const EPOCH_S: u64 = 4;
pub(super) const EPOCH_NS: u64 = EPOCH_S * 1_000_000_000;

/// The end of the epoch of a time, nanoseconds since the Unix epoch: then flows that fell silent are looked for.
pub const fn epoch_end_ns(timestamp_ns: u64) -> u64 {
    (timestamp_ns / EPOCH_NS + 1).saturating_mul(EPOCH_NS)
}

impl Worker {
    /// Brings the clock to a packet's time, and ends the flows that fell silent meanwhile.
    #[inline]
    pub(super) fn advance(&mut self, frame: &Frame<'_>, emit: &mut dyn FnMut(Event)) {
        if frame.timestamp_ns >= self.epoch_ends_ns {
            self.begin_epoch(frame.timestamp_ns, frame.number, emit);
        }
    }

    /// Brings the clock to a time while there are no packets.
    pub fn pass_time(&mut self, timestamp_ns: u64, emit: &mut dyn FnMut(Event)) {
        if timestamp_ns >= self.epoch_ends_ns {
            self.begin_epoch(timestamp_ns, self.order.told_at, emit);
        }
    }

    /// Ends all flows, telling what was pending.
    pub fn finish(&mut self, emit: &mut dyn FnMut(Event)) {
        self.order.told_at = u64::MAX;
        self.sweep(true, FlowEnd::Shutdown, emit);
    }

    #[cold]
    #[inline(never)]
    fn begin_epoch(&mut self, timestamp_ns: u64, told_at: u64, emit: &mut dyn FnMut(Event)) {
        let epoch = timestamp_ns / EPOCH_NS;
        // Beyond the idle time every flow is idle; so ages of one byte never wrap unseen.
        let all = epoch - self.epoch > u64::from(self.idle_epochs);
        self.epoch = epoch;
        self.epoch_ends_ns = epoch_end_ns(timestamp_ns);
        self.order = Order { told_at, last_frame: u64::MAX, ordinal: 0 };
        self.sweep(all, FlowEnd::Timeout, emit);
    }

    #[cold]
    pub(super) fn sweep(&mut self, all: bool, reason: FlowEnd, emit: &mut dyn FnMut(Event)) {
        let mut swept = std::mem::take(&mut self.swept);
        let mut ended = 0;
        for buckets in self.table.sweep_ranges() {
            let told = swept.len();
            self.table.sweep(buckets, self.epoch as u8, self.idle_epochs, all, |slot, entry| {
                ended += u64::from(entry.marks & FOREIGN == 0);
                if entry.record != 0 {
                    swept.push((u64::from(entry.record), slot));
                }
            });
            self.close_all_silent(&mut swept, told);
        }
        if reason == FlowEnd::Timeout {
            self.counters.add(Counter::FlowsTimedOut, ended);
        }
        // In the order of the flows' last packets, whatever their places in the table.
        for (number, _) in &mut swept {
            *number = self.records.get(*number as u32).map_or(0, |record| record.last_frame);
        }
        swept.sort_unstable_by_key(|&(last_frame, _)| last_frame);
        let order = self.order;
        for (last_frame, slot) in swept.drain(..) {
            // Its slot is free, but nobody took it yet.
            let Some(entry) = self.table.get(slot).copied() else { continue };
            self.order = Order { told_at: order.told_at, last_frame, ordinal: 0 };
            self.close(&entry, reason, emit);
        }
        self.order = order;
        self.swept = swept;
    }

    /// Lets those go of the flows that left the table, told by their records and where they stood, from a place on, that have
    /// nothing to tell: most, and it does not matter when they go.
    fn close_all_silent(&mut self, swept: &mut Vec<(u64, Slot)>, from: usize) {
        /// How many before its turn a record is fetched.
        const FETCHED_RECORDS: usize = 12;
        let mut kept = from;
        for place in from..swept.len() {
            // Their records lie far apart.
            if let Some(&(number, _)) = swept.get(place + FETCHED_RECORDS) {
                self.records.fetch(number as u32);
            }
            let Some(&flow) = swept.get(place) else { break };
            let Some(entry) = self.table.get(flow.1).copied() else { continue };
            if !self.close_silent(&entry)
                && let Some(place) = swept.get_mut(kept)
            {
                *place = flow;
                kept += 1;
            }
        }
        swept.truncate(kept);
    }
}
