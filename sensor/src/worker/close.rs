//! The end of a flow: what was pending is told, its record is given back.

use vigie_flow::FlowEntry;
use vigie_flow::Slot;

use super::flows::{FOREIGN, PAYLOAD, SETTLED, flow_of, mark_client};
use super::packet::When;
use super::records::{Dialogue, Record};
use super::report::partial;
use super::{Counter, Worker};
use crate::event::{Event, Fact, FlowEnd};

/// Bytes that a dialogue may hold to be kept for the next flow.
const POOLED_BYTES_MAX: usize = 8_192;
/// Dialogues that are kept for the next flow instead of being given back.
const POOL_MAX: usize = 128;

impl Worker {
    /// A flow left the table.
    pub(super) fn close(&mut self, entry: &FlowEntry, reason: FlowEnd, emit: &mut dyn FnMut(Event)) {
        let Some(mut record) = self.records.remove(entry.record) else { return };
        if entry.marks & FOREIGN != 0 {
            return self.give_back(std::mem::take(&mut record.dialogue));
        }
        self.conclude(entry, &mut record, reason, emit);
    }

    /// Lets a flow go that left the table and has nothing to tell; false if it may have.
    pub(super) fn close_silent(&mut self, entry: &FlowEntry) -> bool {
        let Some(record) = self.records.get(entry.record) else { return true };
        if self.wanted.flows
            || entry.marks & FOREIGN != 0
            || record.rule.is_some()
            || record.dialogue.has_partial_hello()
        {
            return false;
        }
        let is_undecided = entry.marks & PAYLOAD != 0 && entry.marks & SETTLED == 0;
        if is_undecided && self.match_without_a_name(entry, record.last_seen_ns).is_some() {
            return false;
        }
        let dialogue = self.records.discard(entry.record);
        self.give_back(dialogue);
        true
    }

    /// A record had to give way while its flow goes on: unobserved, unless nothing was said on it yet.
    pub(super) fn forget(&mut self, mut record: Record, emit: &mut dyn FnMut(Event)) {
        let Some(entry) = self.table.get_mut(record.slot) else { return };
        entry.record = 0;
        if matches!(record.dialogue, Dialogue::Opening(..)) && !self.wanted.flows {
            return;
        }
        let unsettled = *entry;
        entry.marks |= SETTLED;
        if unsettled.marks & FOREIGN != 0 {
            return self.give_back(std::mem::take(&mut record.dialogue));
        }
        self.conclude(&unsettled, &mut record, FlowEnd::Evicted, emit);
    }

    /// Tells what a record still holds.
    pub(super) fn conclude(
        &mut self,
        entry: &FlowEntry,
        record: &mut Record,
        reason: FlowEnd,
        emit: &mut dyn FnMut(Event),
    ) {
        let mut entry = *entry;
        let nameless = record.nameless.take().map(|hello| *hello);
        let told = match partial(
            &mut record.dialogue,
            &self.handshake_limits,
            &self.bundle,
            self.wanted,
            &mut self.counters,
        ) {
            Some((client, told)) => {
                if let Some(client) = client {
                    entry.marks = mark_client(entry.marks, client);
                }
                Some(told)
            }
            None if entry.marks & PAYLOAD != 0 && entry.marks & SETTLED == 0 => {
                self.without_a_name(&entry, record.last_seen_ns, nameless)
            }
            None => None,
        };
        self.give_back(std::mem::take(&mut record.dialogue));
        if told.is_none() && record.rule.is_none() && !self.wanted.flows {
            return;
        }
        let when = When {
            timestamp_ns: record.last_seen_ns,
            number: record.last_frame,
            wire_length: 0,
            interface: record.interface,
        };
        let flow = flow_of(&entry, Some(record), &when);
        if let Some(told) = told {
            self.tell_of(&flow, &mut record.rule, (when.timestamp_ns, when.number), told, emit);
        }
        if self.wanted.flows || record.rule.is_some() {
            self.emit(when.timestamp_ns, when.number, Fact::FlowEnd(Box::new(flow), reason, record.rule.take()), emit);
        }
    }

    /// Nothing more is expected of a flow; its record stays only if it matched, or if every flow is to be written.
    pub(super) fn settle(&mut self, slot: Slot, number: u32) {
        self.mark(slot, SETTLED);
        let Some(record) = self.records.get_mut(number) else { return };
        let dialogue = std::mem::take(&mut record.dialogue);
        let is_kept = self.wanted.flows || record.rule.is_some();
        self.give_back(dialogue);
        if !is_kept {
            self.records.remove(number);
            if let Some(entry) = self.table.get_mut(slot) {
                entry.record = 0;
            }
        }
    }

    /// Keeps a dialogue's memory for the next flow, if it is modest.
    fn give_back(&mut self, dialogue: Dialogue) {
        match dialogue {
            Dialogue::Tcp(mut dialogue) => {
                let capacity = dialogue.memory_bytes();
                self.held_bytes = self.held_bytes.saturating_sub(capacity);
                if self.tcp_pool.len() < POOL_MAX && capacity <= POOLED_BYTES_MAX {
                    dialogue.reset();
                    self.tcp_pool.push(dialogue);
                }
            }
            Dialogue::Udp(mut dialogue) => {
                let capacity = dialogue.memory_bytes();
                self.held_bytes = self.held_bytes.saturating_sub(capacity);
                if self.udp_pool.len() < POOL_MAX && capacity <= POOLED_BYTES_MAX {
                    dialogue.reset();
                    self.udp_pool.push(dialogue);
                }
            }
            Dialogue::Over | Dialogue::Opening(..) => {}
        }
    }

    /// Drops the stalest handshakes while all together hold too much.
    pub(super) fn keep_within_memory(&mut self, emit: &mut dyn FnMut(Event)) {
        while self.held_bytes > self.limits.reassembly_bytes_max {
            let Some(number) = self.records.stalest_holder() else { return };
            let Some(record) = self.records.remove(number) else { return };
            self.counters.add(Counter::ReassemblyBytes, 1);
            self.forget(record, emit);
        }
    }
}
