//! The end of a flow, or of its inspection: pending findings are reported, and memory is freed.

use vigie_flow::{FlowEntry, Slot};
use vigie_handshake::udp::Lent;

use super::flows::{FOREIGN, NAMED, PAYLOAD, SETTLED, client_of, desync_of, event_flow, with_client};
use super::packet::FrameInfo;
use super::records::{FlowRecord, Inspection};
use super::report::take_partial_hellos;
use super::waiting::WaitingFlow;
use super::{Counter, Worker};
use crate::event::{Event, Fact, FlowEnd};

/// An inspector that holds more bytes than this is freed, not reused.
const POOLED_BYTES_MAX: usize = 8_192;
/// Inspectors of TCP that wait to be reused.
const POOL_MAX: usize = 128;
/// Inspectors of UDP, and hellos in several segments, are more: at line rate thousands of them wait for their server's answer.
const HELLO_POOL_MAX: usize = 2_048;
/// One of them that holds more bytes than this is freed, not reused.
const HELLO_BYTES_MAX: usize = 4_096;

/// One part in so many of the memory for inspections is set free when it is full.
const SPARE_SHARE: usize = 256;
/// Of the records that a search for the stalest compares, at most so many are evicted.
const EVICTED_OF_CANDIDATES: usize = 4;

impl Worker {
    /// Closes a flow that left the table.
    pub(super) fn close_flow(&mut self, entry: &FlowEntry, reason: FlowEnd, emit: &mut dyn FnMut(Event)) {
        let Some(mut record) = self.records.remove(entry.record) else { return };
        if entry.marks & FOREIGN != 0 {
            return self.recycle(std::mem::take(&mut record.inspection));
        }
        self.report_end(entry, &mut record, reason, emit);
    }

    /// Closes a flow that left the table, if it has no event to emit. False if it may have one.
    pub(super) fn close_if_silent(&mut self, entry: &FlowEntry) -> bool {
        let Some(record) = self.records.get(entry.record) else { return true };
        if self.event_types.flows
            || entry.marks & FOREIGN != 0
            || record.sighted.is_some()
            || record.inspection.has_partial_hello()
        {
            return false;
        }
        let is_undecided = entry.marks & PAYLOAD != 0 && entry.marks & (SETTLED | NAMED) == 0;
        let may_match = || {
            let time_ns = record.last_seen_ns;
            self.awaits_names_of(time_ns) || self.match_without_name(entry, time_ns).is_some()
        };
        if is_undecided && may_match() {
            return false;
        }
        let inspection = self.records.discard(entry.record);
        self.recycle(inspection);
        true
    }

    /// Ends the inspection of a flow whose record was evicted while the flow goes on. The flow counts as settled, unless it
    /// is an open connection without payload.
    pub(super) fn end_inspection(&mut self, mut record: FlowRecord, emit: &mut dyn FnMut(Event)) {
        let Some(entry) = self.table.get_mut(record.slot) else { return };
        entry.record = 0;
        if matches!(record.inspection, Inspection::Opening(_)) && !self.event_types.flows {
            return;
        }
        let unsettled = *entry;
        entry.marks |= SETTLED;
        if unsettled.marks & FOREIGN != 0 {
            return self.recycle(std::mem::take(&mut record.inspection));
        }
        self.report_end(&unsettled, &mut record, FlowEnd::Evicted, emit);
    }

    /// Emits the pending finding of a flow that ends, and its end.
    pub(super) fn report_end(
        &mut self,
        entry: &FlowEntry,
        record: &mut FlowRecord,
        reason: FlowEnd,
        emit: &mut dyn FnMut(Event),
    ) {
        let mut entry = *entry;
        let mut pending_hello = record.hello.take();
        let mut awaits_names = false;
        let mut lent = Lent {
            scratch: &mut self.quic_scratch,
            limits: &self.handshake_limits,
            counts: &mut self.handshake_counters,
            is_rewritten: self.reassembler.is_rewritten(),
        };
        let mut findings =
            take_partial_hellos(&mut record.inspection, &mut lent, &self.bundle, self.event_types, &mut self.counters);
        if let Some(&(client, _)) = findings.first() {
            entry.marks = with_client(entry.marks, client);
        } else if entry.marks & PAYLOAD != 0 && entry.marks & (SETTLED | NAMED) == 0 {
            awaits_names = self.awaits_names_of(record.last_seen_ns);
            if !awaits_names {
                let finding = self.find_without_name(&entry, record.last_seen_ns, pending_hello.take());
                findings.extend(finding.map(|finding| (client_of(entry.marks), finding)));
            }
        }
        self.recycle(std::mem::take(&mut record.inspection));
        if findings.is_empty() && !awaits_names && record.sighted.is_none() && !self.event_types.flows {
            return;
        }
        let last = FrameInfo {
            timestamp_ns: record.last_seen_ns,
            number: record.last_frame,
            wire_length: 0,
            interface: record.interface,
        };
        let flow = event_flow(&entry, Some(record), &last);
        if awaits_names {
            let end = Some((reason, record.sighted.take()));
            let (client_mac, desync) = (self.client_macs.get(flow.client), desync_of(&entry));
            let waiting = WaitingFlow { flow, client_mac, frame: last, hello: pending_hello, desync, place: None, end };
            return self.await_names_of(waiting, emit);
        }
        for (_, finding) in findings {
            self.count_hello(&flow, finding.seen);
            let finding = finding.with_desync(desync_of(&entry));
            self.emit_finding(&flow, &mut record.sighted, &last, finding, emit);
        }
        if self.event_types.flows || record.sighted.is_some() {
            self.emit(&last, Fact::FlowEnd(Box::new(flow), reason, record.sighted.take()), emit);
        }
    }

    /// Settles a flow: it needs no more inspection. Its record stays only if it was sighted, or if all flows are reported.
    pub(super) fn settle(&mut self, slot: Slot, record_id: u32) {
        self.set_mark(slot, SETTLED);
        let Some(record) = self.records.get_mut(record_id) else { return };
        let inspection = std::mem::take(&mut record.inspection);
        let keeps_record = self.event_types.flows || record.sighted.is_some();
        self.recycle(inspection);
        if !keeps_record {
            self.records.remove(record_id);
            if let Some(entry) = self.table.get_mut(slot) {
                entry.record = 0;
            }
        }
    }

    /// Keeps an inspector for the next flow, unless it holds much memory.
    pub(super) fn recycle(&mut self, inspection: Inspection) {
        match inspection {
            Inspection::SplitHello(split) => {
                let bytes = split.memory_bytes();
                self.inspection_bytes = self.inspection_bytes.saturating_sub(bytes);
                if self.split_pool.len() < HELLO_POOL_MAX && bytes <= HELLO_BYTES_MAX {
                    self.split_pool.push(split);
                }
            }
            Inspection::Tcp(mut inspector) => {
                let bytes = inspector.memory_bytes();
                inspector.drop_held(&mut self.handshake_counters);
                self.inspection_bytes = self.inspection_bytes.saturating_sub(bytes);
                if self.tcp_pool.len() < POOL_MAX && bytes <= POOLED_BYTES_MAX {
                    inspector.reset();
                    self.tcp_pool.push(inspector);
                }
            }
            Inspection::Udp(mut inspector) => {
                let bytes = inspector.memory_bytes();
                self.inspection_bytes = self.inspection_bytes.saturating_sub(bytes);
                if self.udp_pool.len() < HELLO_POOL_MAX && bytes <= HELLO_BYTES_MAX {
                    inspector.reset();
                    self.udp_pool.push(inspector);
                }
            }
            Inspection::Http(http) => {
                self.inspection_bytes = self.inspection_bytes.saturating_sub(http.memory_bytes());
            }
            Inspection::None | Inspection::Opening(_) => {}
        }
    }

    /// Evicts the stalest inspections if all of them together hold more than `reassembly_bytes_max`: a few more than needed,
    /// so that not each packet after that searches for some.
    pub(super) fn enforce_memory_limit(&mut self, emit: &mut dyn FnMut(Event)) {
        let bytes_max = self.limits.reassembly_bytes_max;
        if self.inspection_bytes > bytes_max {
            self.evict_inspections(bytes_max - bytes_max / SPARE_SHARE, emit);
        }
    }

    /// Evicts the stalest inspections until no more than so many bytes are held.
    #[cold]
    fn evict_inspections(&mut self, bytes_max: usize, emit: &mut dyn FnMut(Event)) {
        while self.inspection_bytes > bytes_max {
            let mut stalest = self.records.stalest_with_bytes(&self.table);
            let mut evicted = 0;
            while evicted < EVICTED_OF_CANDIDATES
                && self.inspection_bytes > bytes_max
                && let Some(record) = stalest.pop().and_then(|id| self.records.remove(id))
            {
                evicted += 1;
                self.make_room(|worker| {
                    worker.counters.add(Counter::ReassemblyBytes, 1);
                    worker.end_inspection(record, emit);
                });
            }
            if evicted == 0 {
                return;
            }
        }
    }
}
