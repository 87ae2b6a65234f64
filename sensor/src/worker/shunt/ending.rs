//! Flows that have ended, and wait until what was shunted of them is final.

use vigie_capture::live::shunt::Freed;
use vigie_flow::{FlowEntry, Side, Slot};

use super::super::flows::FOREIGN;
use super::super::records::FlowRecord;
use super::super::{Counter, Worker};
use super::{RETIRED, add, direction};
use crate::event::{Event, FlowEnd, Order};
use crate::settings::ENDING_FLOW_BYTES;

/// A flow that has ended, and waits until its counts are final.
pub(super) struct EndingFlow {
    entry: FlowEntry,
    record: FlowRecord,
    reason: FlowEnd,
    order: Order,
    /// The round of waiting after which they are.
    ticket: u64,
    /// Directions that the worker had retired when the flow ended.
    retirements: u64,
}

/// Bytes of the box with the counts, and of a tunnel that no other flow is in.
const ENDING_FLOW_BOXES_BYTES: usize = 96;
const _: () = assert!(size_of::<EndingFlow>() + ENDING_FLOW_BOXES_BYTES <= ENDING_FLOW_BYTES);

impl Worker {
    /// Ends a flow that left the table, and all that was shunted of it.
    #[inline]
    pub(in super::super) fn end_flow(
        &mut self,
        slot: Slot,
        entry: &FlowEntry,
        reason: FlowEnd,
        emit: &mut dyn FnMut(Event),
    ) {
        self.retire_flow(slot, entry);
        self.end_retired_flow(slot, entry, reason, emit);
    }

    /// Ends a flow that left the table, and of which nothing is shunted any more.
    #[inline]
    pub(in super::super) fn end_retired_flow(
        &mut self,
        slot: Slot,
        entry: &FlowEntry,
        reason: FlowEnd,
        emit: &mut dyn FnMut(Event),
    ) {
        if self.shunt.is_none() || !self.await_last_counts(slot, entry, reason) {
            self.close_flow(entry, reason, emit);
        }
    }

    /// Has the event of a flow wait for its last counts. False if there is no event, or nothing to wait for.
    #[inline(never)]
    fn await_last_counts(&mut self, slot: Slot, entry: &FlowEntry, reason: FlowEnd) -> bool {
        let Some(shunt) = &mut self.shunt else { return false };
        let state = shunt.state(slot).map_or(0, |state| *state);
        let has_event = |record: &FlowRecord| self.event_types.flows || record.sighted.is_some();
        if state & RETIRED == 0 || entry.marks & FOREIGN != 0 || !self.records.get(entry.record).is_some_and(has_event)
        {
            return false;
        }
        if shunt.ending.len() >= self.limits.shunt_ending_flows_max {
            self.counters.add(Counter::ShuntEndingFlows, 1);
            return false;
        }
        let Some(record) = self.records.remove(entry.record) else { return false };
        let (ticket, retirements) = (shunt.table.ticket(), shunt.table.retirements());
        shunt.ending.push_back(EndingFlow { entry: *entry, record, reason, order: self.order, ticket, retirements });
        true
    }

    /// Ends the flows that still wait for their last counts, with those that they have.
    pub fn end_awaited(&mut self, emit: &mut dyn FnMut(Event)) {
        while let Some(flow) = self.next_ended(u64::MAX) {
            self.report_ended(flow, emit);
        }
    }

    /// Whether counts are awaited that are not final.
    pub fn awaits_shunted(&self) -> bool {
        self.shunt.as_ref().is_some_and(|shunt| shunt.table.awaits_grace() || !shunt.ending.is_empty())
    }

    /// Frees retired slots whose waiting is over, and ends the flows that waited for that.
    #[inline]
    pub fn tend_shunt(&mut self, emit: &mut dyn FnMut(Event)) {
        if let Some(shunt) = &self.shunt
            && shunt.table.grace_done() != shunt.grace_done
        {
            self.free_retired(emit);
        }
    }

    #[cold]
    fn free_retired(&mut self, emit: &mut dyn FnMut(Event)) {
        let epochs = self.epochs();
        let Self { shunt, table, records, .. } = self;
        let Some(shunt) = shunt.as_deref_mut() else { return };
        // Once for both: a flow must not end before its slots of the same round are freed.
        let done = shunt.table.grace_done();
        shunt.grace_done = done;
        while let Some(freed) = shunt.table.next_freed(done) {
            if freed.counted.packets == 0 {
                continue;
            }
            let (slot, side) = owner_of(&freed);
            // Flows that had ended when it was retired are passed over: they stand in front.
            let first = shunt.ending.partition_point(|flow| flow.retirements <= freed.number);
            let is_of = |flow: &&mut EndingFlow| {
                flow.record.slot == slot && freed.hash == shunt.table.hash(&direction(&flow.entry.key(), side))
            };
            if let Some(flow) = shunt.ending.range_mut(first..).find(is_of) {
                add(Some(&mut flow.record), side, &freed.counted, epochs);
            } else if let Some(entry) = table.get(slot)
                && freed.hash == shunt.table.hash(&direction(&entry.key(), side))
            {
                add(records.get_mut(entry.record), side, &freed.counted, epochs);
            }
        }
        while let Some(flow) = self.next_ended(done) {
            self.report_ended(flow, emit);
        }
    }

    fn report_ended(&mut self, flow: EndingFlow, emit: &mut dyn FnMut(Event)) {
        let EndingFlow { entry, mut record, reason, order, .. } = flow;
        let order = std::mem::replace(&mut self.order, order);
        self.report_end(&entry, &mut record, reason, emit);
        self.order = order;
    }

    fn next_ended(&mut self, done: u64) -> Option<EndingFlow> {
        let ending = &mut self.shunt.as_mut()?.ending;
        ending.front().filter(|flow| flow.ticket <= done)?;
        ending.pop_front()
    }
}

fn owner_of(freed: &Freed) -> (Slot, Side) {
    (Slot::at((freed.owner >> 1) as usize), if freed.owner & 1 == 1 { Side::High } else { Side::Low })
}
