//! Flows that showed no usable name, and wait until all DNS answers before them are known. On a tap, workers read their
//! packets independently of each other: the answer that names a flow's server may still lie in another worker's ring when
//! the flow is looked up. In a replay nothing waits.
//!
//! The flow itself goes on; what the event will show is kept as it was at the packet. The thread of the worker says up to
//! which time all workers have read ([`Worker::resolve_names`]).

use std::collections::VecDeque;
use std::sync::Arc;

use vigie_flow::Slot;
use vigie_handshake::neighbours::MacAddress;
use vigie_handshake::opening::Desync;
use vigie_signatures::Rule;

use super::clock::EPOCH_NS;
use super::findings::HandshakeFinding;
use super::packet::FrameInfo;
use super::{Counter, Worker};
use crate::event::{Event, Fact, Flow, FlowEnd, Hello};
use crate::settings::WAITING_FLOW_BYTES_MAX;

/// A hello that takes more memory does not wait: the sender chooses what it takes.
const WAITING_HELLO_BYTES_MAX: usize = 2_048;
/// Flows whose last packet is older than this do not wait: all workers have read so far.
const READ_BY_ALL_NS: u64 = 4_000_000_000;

/// The flows that wait, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    flows: VecDeque<WaitingFlow>,
    /// 0 if nothing waits, ever.
    flows_max: usize,
    /// Flows that have waited so far, those that wait included.
    added: u64,
}

/// A flow as it was at the packet after which no name can come.
#[derive(Debug)]
pub(super) struct WaitingFlow {
    pub(super) flow: Flow,
    pub(super) client_mac: Option<MacAddress>,
    pub(super) frame: FrameInfo,
    pub(super) hello: Option<Box<Hello>>,
    pub(super) desync: Desync,
    /// Where the flow is and has its record; none if it has ended.
    pub(super) place: Option<(Slot, u32)>,
    /// Why it has ended, and the rule that it was sighted under.
    pub(super) end: Option<(FlowEnd, Option<Arc<Rule>>)>,
}

const _: () = assert!(size_of::<WaitingFlow>() + WAITING_HELLO_BYTES_MAX <= WAITING_FLOW_BYTES_MAX);

impl Worker {
    /// From now on, flows without a name wait for [`resolve_names`](Self::resolve_names), at most so many.
    pub fn await_names(&mut self, flows_max: usize) {
        self.waiting.flows_max = flows_max;
        self.waiting.flows.reserve_exact(flows_max);
    }

    /// Whether a flow waits.
    #[inline]
    pub fn awaits_names(&self) -> bool {
        !self.waiting.flows.is_empty()
    }

    /// How many flows have waited so far.
    pub const fn flows_awaited(&self) -> u64 {
        self.waiting.added
    }

    /// Looks up the flows that wait for answers up to this time, since all workers have read so far. The first `overdue` of
    /// all flows that have ever waited have waited for long enough, and do not wait any more either.
    pub fn resolve_names(&mut self, read_by_all_ns: u64, overdue: u64, emit: &mut dyn FnMut(Event)) {
        while let Some(first) = self.waiting.flows.front() {
            let number = self.waiting.added - self.waiting.flows.len() as u64;
            let is_overdue = number < overdue;
            if first.frame.timestamp_ns > read_by_all_ns {
                if !is_overdue {
                    return;
                }
                self.counters.add(Counter::NamesOverdue, 1);
            }
            self.resolve_first(emit);
        }
    }

    /// Looks up all flows that wait. From now on none waits.
    pub fn stop_awaiting_names(&mut self, emit: &mut dyn FnMut(Event)) {
        self.waiting.flows_max = 0;
        while self.awaits_names() {
            self.resolve_first(emit);
        }
    }

    /// Whether answers before this time may still be unknown.
    pub(super) const fn awaits_names_of(&self, timestamp_ns: u64) -> bool {
        let epoch_began_ns = self.epoch_ends_ns.saturating_sub(EPOCH_NS);
        self.waiting.flows_max > 0 && timestamp_ns.saturating_add(READ_BY_ALL_NS) >= epoch_began_ns
    }

    /// Has a flow wait, or looks it up at once if there is no room. A flow of another worker waits there.
    pub(super) fn await_names_of(&mut self, flow: WaitingFlow, emit: &mut dyn FnMut(Event)) {
        if self.is_foreign() {
            return;
        }
        let hello_bytes = flow.hello.as_deref().map_or(0, Hello::memory_bytes);
        if hello_bytes > WAITING_HELLO_BYTES_MAX {
            return self.resolve(flow, emit);
        }
        if self.waiting.flows.len() >= self.waiting.flows_max {
            self.counters.add(Counter::WaitingFlows, 1);
            self.resolve_first(emit);
        }
        self.waiting.added += 1;
        self.waiting.flows.push_back(flow);
    }

    fn resolve_first(&mut self, emit: &mut dyn FnMut(Event)) {
        if let Some(flow) = self.waiting.flows.pop_front() {
            self.resolve(flow, emit);
        }
    }

    fn resolve(&mut self, waiting: WaitingFlow, emit: &mut dyn FnMut(Event)) {
        let WaitingFlow { flow, client_mac, frame, hello, desync, place, end } = waiting;
        let (end, mut sighted) = end.map_or((None, None), |(end, sighted)| (Some(end), sighted));
        if let Some(matched) = self.match_server(flow.client, client_mac, flow.server, frame.timestamp_ns) {
            let place = place.filter(|&place| self.is_same_flow(place, &flow));
            if let Some(record) = place.and_then(|(_, record_id)| self.records.get_mut(record_id)) {
                sighted = record.sighted.take();
            }
            let finding = HandshakeFinding { matched: Some(matched), hello, desync, ..HandshakeFinding::default() };
            self.emit_finding(&flow, &mut sighted, &frame, finding, emit);
            if let Some(record) = place.and_then(|(_, record_id)| self.records.get_mut(record_id)) {
                record.sighted = sighted.take();
            }
        }
        if let Some(end) = end
            && (self.event_types.flows || sighted.is_some())
        {
            self.emit(&frame, Fact::FlowEnd(Box::new(flow), end, sighted), emit);
        }
    }

    /// Whether the record there is still that of the flow.
    fn is_same_flow(&self, (slot, record_id): (Slot, u32), flow: &Flow) -> bool {
        let record = self.records.get(record_id);
        record.is_some_and(|record| record.slot == slot && record.first_seen_ns == flow.first_seen_ns)
    }
}
