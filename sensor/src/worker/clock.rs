//! The worker's clock, which follows the timestamps of the packets, and the sweep that ends the flows that have timed out.
//!
//! The age of a flow is counted in epochs of four seconds, so that it fits a byte. At the start of each epoch the whole
//! table is swept. Once a minute the bytes of the sighted flows are told.

use vigie_decode::Address;
use vigie_flow::Slot;
use vigie_wire::Frame;

use super::flows::{FOREIGN, client_address, event_flow, has_both_directions};
use super::packet::FrameInfo;
use super::{Counter, Worker};
use crate::event::{Event, Fact, FlowEnd, Order};

/// Clients that are told of in an epoch at most.
const ENDED_CLIENTS_MAX: usize = 65_536;
/// How often the bytes of a flow are told that was sighted.
const BYTES_EVERY_NS: u64 = 60_000_000_000;
/// Length of an epoch, in seconds.
pub(super) const EPOCH_S: u64 = 4;
pub(super) const EPOCH_NS: u64 = EPOCH_S * 1_000_000_000;

/// The end of the epoch of a timestamp, in nanoseconds since the Unix epoch. The next sweep is due then.
pub const fn epoch_end_ns(timestamp_ns: u64) -> u64 {
    (timestamp_ns / EPOCH_NS + 1).saturating_mul(EPOCH_NS)
}

impl Worker {
    /// Advances the clock to the time of a frame, and sweeps the table if a new epoch begins.
    #[inline]
    pub(super) fn advance_clock(&mut self, frame: &Frame<'_>, emit: &mut dyn FnMut(Event)) {
        if frame.timestamp_ns >= self.epoch_ends_ns {
            self.begin_epoch(frame.timestamp_ns, frame.number, emit);
        }
    }

    /// Advances the clock while no packets arrive.
    pub fn pass_time(&mut self, timestamp_ns: u64, emit: &mut dyn FnMut(Event)) {
        if timestamp_ns >= self.epoch_ends_ns {
            self.begin_epoch(timestamp_ns, self.order.at_frame, emit);
        }
    }

    /// The clock that stamps the packets was set by so many nanoseconds. Flows and names keep their ages. `is_first` is
    /// true for one of the workers that share their names.
    pub fn clock_was_set(&mut self, by_ns: i64, is_first: bool) {
        self.clock_shift_ns = self.clock_shift_ns.saturating_sub(by_ns);
        self.epoch_ends_ns = self.epoch_ends_ns.saturating_add_signed(by_ns);
        self.records.clock_was_set(by_ns);
        if is_first {
            self.names.clock_was_set(by_ns);
        }
    }

    /// Ends all flows, and emits what was pending.
    pub fn finish(&mut self, emit: &mut dyn FnMut(Event)) {
        self.end_all_datagrams(emit);
        self.order.at_frame = u64::MAX;
        self.sweep(true, FlowEnd::Shutdown, Vec::new(), emit);
    }

    #[cold]
    #[inline(never)]
    fn begin_epoch(&mut self, timestamp_ns: u64, frame_number: u64, emit: &mut dyn FnMut(Event)) {
        let time_ns = timestamp_ns.saturating_add_signed(self.clock_shift_ns);
        let epoch = time_ns / EPOCH_NS;
        // After a gap longer than the idle timeout all flows have timed out. So ages of one byte never wrap unnoticed.
        let all = epoch.saturating_sub(self.epoch) > u64::from(self.idle_epochs);
        self.epoch = epoch;
        self.epoch_ends_ns = epoch_end_ns(time_ns).saturating_add_signed(self.clock_shift_ns.saturating_neg());
        self.order = Order { at_frame: frame_number, last_frame: u64::MAX, ordinal: 0 };
        self.tell_shunt_epoch();
        let bytes_since_ns = self.bytes_told_ns;
        let is_bytes_due = timestamp_ns.abs_diff(bytes_since_ns) >= BYTES_EVERY_NS;
        if is_bytes_due {
            self.bytes_told_ns = timestamp_ns - timestamp_ns % BYTES_EVERY_NS;
            self.take_sighted_flows();
        }
        let updates = if is_bytes_due { self.sighted_flows_since(bytes_since_ns) } else { Vec::new() };
        self.sweep(all, FlowEnd::Timeout, updates, emit);
        self.tell_time(timestamp_ns, frame_number, emit);
        self.end_expired_datagrams(timestamp_ns, frame_number, emit);
    }

    /// Tells how far the time has gone, and whose flows ended meanwhile, if that is wanted.
    fn tell_time(&mut self, timestamp_ns: u64, frame_number: u64, emit: &mut dyn FnMut(Event)) {
        let order = self.order;
        // Behind the flows that timed out, before what the frame shows.
        self.order = Order { at_frame: frame_number, last_frame: u64::MAX - 1, ordinal: 0 };
        if !self.ended_clients.is_empty() {
            let mut clients: Vec<Address> = std::mem::take(&mut self.ended_clients).into_iter().collect();
            clients.sort_unstable();
            self.emit_at(timestamp_ns, frame_number, Fact::Clients(clients.into()), emit);
        }
        if self.event_types.clock {
            let both_directions = std::mem::take(&mut self.both_directions_seen);
            self.emit_at(timestamp_ns, frame_number, Fact::Clock { both_directions }, emit);
        }
        self.order = order;
    }

    /// The sighted flows that had a packet since then, each with its last frame, in the order of these.
    fn sighted_flows_since(&mut self, since_ns: u64) -> Vec<(u64, Slot)> {
        let seen = self.records.sighted().filter(|record| record.last_seen_ns >= since_ns);
        let mut seen: Vec<(u64, Slot)> = seen.map(|record| (record.last_frame, record.slot)).collect();
        seen.sort_unstable_by_key(|&(last_frame, _)| last_frame);
        seen
    }

    /// Removes the flows that have timed out, or all, from the table, and closes them. Tells the bytes of those in `updates`.
    #[cold]
    fn sweep(&mut self, all: bool, reason: FlowEnd, updates: Vec<(u64, Slot)>, emit: &mut dyn FnMut(Event)) {
        let mut swept = std::mem::take(&mut self.swept);
        let (mut ended, mut both_directions) = (0, false);
        let mut clients = std::mem::take(&mut self.ended_clients);
        let tells_clients = self.event_types.clients;
        self.keep_shunted_flows();
        for buckets in self.table.sweep_ranges() {
            let first = swept.len();
            let mut shunted = Vec::new();
            self.table.sweep(buckets, self.epoch as u8, self.idle_epochs, all, |slot, entry| {
                if self.shunt.as_ref().is_some_and(|shunt| shunt.has(slot)) {
                    shunted.push((slot, *entry));
                }
                ended += u64::from(entry.marks & FOREIGN == 0);
                both_directions |= has_both_directions(entry);
                if tells_clients && clients.len() < ENDED_CLIENTS_MAX {
                    clients.insert(client_address(entry));
                }
                if entry.record != 0 {
                    swept.push((u64::from(entry.record), slot));
                }
            });
            self.retire_flows(&shunted);
            self.close_silent_flows(&mut swept, first);
        }
        if reason == FlowEnd::Timeout {
            self.counters.add(Counter::FlowsTimedOut, ended);
        }
        // Events come in the order of the flows' last packets, whatever their slots.
        for (record_id, _) in &mut swept {
            *record_id = self.records.get(*record_id as u32).map_or(0, |record| record.last_frame);
        }
        swept.sort_unstable_by_key(|&(last_frame, _)| last_frame);
        self.both_directions_seen |= both_directions;
        self.ended_clients = clients;
        let order = self.order;
        let mut updates = updates.into_iter().peekable();
        for (last_frame, slot) in swept.drain(..) {
            while let Some(update) = updates.next_if(|(earlier, _)| *earlier < last_frame) {
                self.tell_bytes(update, order, emit);
            }
            // The slot is free, but not reused yet.
            let Some(entry) = self.table.get(slot).copied() else { continue };
            self.order = Order { at_frame: order.at_frame, last_frame, ordinal: 0 };
            self.end_retired_flow(slot, &entry, reason, emit);
        }
        updates.for_each(|update| self.tell_bytes(update, order, emit));
        self.order = order;
        self.swept = swept;
    }

    /// Tells the bytes of a sighted flow that goes on.
    fn tell_bytes(&mut self, (last_frame, slot): (u64, Slot), order: Order, emit: &mut dyn FnMut(Event)) {
        let Some(entry) = self.table.get(slot).copied() else { return };
        let Some(record) = self.records.get(entry.record).filter(|record| record.sighted.is_some()) else { return };
        self.both_directions_seen |= has_both_directions(&entry) || record.had_both_directions();
        let last = FrameInfo {
            timestamp_ns: record.last_seen_ns,
            number: record.last_frame,
            wire_length: 0,
            interface: record.interface,
        };
        let flow = event_flow(&entry, Some(record), &last);
        self.order = Order { at_frame: order.at_frame, last_frame, ordinal: 0 };
        self.emit(&last, Fact::FlowBytes(Box::new(flow)), emit);
    }

    /// Closes those of the swept flows, from index `first` on, that have no event to emit. Most have none, and their order
    /// does not matter. Keeps the others in `swept`.
    fn close_silent_flows(&mut self, swept: &mut Vec<(u64, Slot)>, first: usize) {
        /// How many flows ahead a record is prefetched.
        const PREFETCH_RECORDS: usize = 12;
        let mut kept = first;
        for index in first..swept.len() {
            // The records are scattered over memory.
            if let Some(&(record_id, _)) = swept.get(index + PREFETCH_RECORDS) {
                self.records.prefetch(record_id as u32);
            }
            let Some(&flow) = swept.get(index) else { break };
            let Some(entry) = self.table.get(flow.1).copied() else { continue };
            if !self.close_if_silent(&entry)
                && let Some(place) = swept.get_mut(kept)
            {
                *place = flow;
                kept += 1;
            }
        }
        swept.truncate(kept);
    }
}
