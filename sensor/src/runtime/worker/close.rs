//! The end of a flow: what was pending is told, its record is given back.

use super::listen::partial;
use super::*;

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
        if self.wanted.flows || entry.marks & FOREIGN != 0 || record.rule.is_some() || record.dialogue.may_tell() {
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
    fn conclude(&mut self, entry: &FlowEntry, record: &mut Record, reason: FlowEnd, emit: &mut dyn FnMut(Event)) {
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
}
