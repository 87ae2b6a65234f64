//! Flows: what opens one, its marks in the table, and its record.

use vigie_decode::{Segment, Transport};
use vigie_flow::{FlowEntry, Side, Slot};

use super::packet::{Arrival, When};
use super::records::{Dialogue, Placed, Record};
use super::{Counter, Worker};
use crate::event::{Event, Flow, FlowEnd};

/// Nothing more is expected of the flow.
pub(super) const SETTLED: u8 = 1;
/// The client is the key's high end.
pub(super) const CLIENT_IS_HIGH: u8 = 2;
/// Who is the client was told by the flow, not guessed from ports.
pub(super) const CLIENT_KNOWN: u8 = 4;
/// Something was carried.
pub(super) const PAYLOAD: u8 = 8;
/// The flow is another worker's, followed only for the names that DNS tells in it.
pub(super) const FOREIGN: u8 = 16;

impl Worker {
    /// A flow's first packet: who is the client, as far as it tells.
    pub(super) fn open(&mut self, slot: Slot, arrival: &Arrival<'_>) {
        self.counters.add(Counter::Flows, 1);
        let (client, known) = client_side(arrival);
        if let Some(entry) = self.table.get_mut(slot) {
            let known = if known { CLIENT_KNOWN } else { 0 };
            entry.marks = mark_client(known | if self.is_muted { FOREIGN } else { 0 }, client);
        }
    }

    /// Ends the flow in a slot and lets another one begin there, of the same 5-tuple.
    pub(super) fn reopen(&mut self, slot: Slot, arrival: &Arrival<'_>, reason: FlowEnd, emit: &mut dyn FnMut(Event)) {
        let Some(entry) = self.table.get_mut(slot) else { return };
        let old = *entry;
        (entry.marks, entry.spare, entry.record, entry.from_low, entry.from_high) = (0, 0, 0, 0, 0);
        self.close(&old, reason, emit);
        self.open(slot, arrival);
    }

    /// Notes the time of a packet on the flow's record, if it has one.
    #[inline]
    pub(super) fn seen(&mut self, number: u32, when: &When) {
        if number != 0
            && let Some(record) = self.records.get_mut(number)
        {
            record.last_seen_ns = record.last_seen_ns.max(when.timestamp_ns);
            record.last_frame = when.number;
        }
    }

    /// Empties the small counters of a flow into its record; a flow without one starts over.
    #[cold]
    pub(super) fn spill(&mut self, slot: Slot) {
        let Some(entry) = self.table.get_mut(slot) else { return };
        let counted = [FlowEntry::counted(entry.from_low), FlowEntry::counted(entry.from_high)];
        (entry.from_low, entry.from_high) = (0, 0);
        if let Some(record) = self.records.get_mut(entry.record) {
            for (total, more) in record.spilled.get_or_insert_default().iter_mut().zip(counted) {
                total.0 += more.0;
                total.1 += more.1;
            }
        }
    }

    /// The number of the flow's record, which is made if there was none.
    #[inline]
    pub(super) fn record(&mut self, slot: Slot, arrival: &Arrival<'_>, emit: &mut dyn FnMut(Event)) -> u32 {
        let number = self.table.get(slot).map_or(0, |entry| entry.record);
        if number == 0 {
            return self.new_record(slot, arrival, emit);
        }
        self.seen(number, &arrival.when);
        number
    }

    #[cold]
    #[inline(never)]
    fn new_record(&mut self, slot: Slot, arrival: &Arrival<'_>, emit: &mut dyn FnMut(Event)) -> u32 {
        let when = &arrival.when;
        let record = Record {
            slot,
            first_seen_ns: when.timestamp_ns,
            last_seen_ns: when.timestamp_ns,
            last_frame: when.number,
            interface: when.interface,
            encapsulation: self.records.tunnels.encapsulation(arrival.encapsulation()),
            spilled: None,
            dialogue: Dialogue::Over,
            nameless: None,
            rule: None,
        };
        let number = match self.records.add(record) {
            Placed::At(number) => number,
            Placed::Instead(number, old) => {
                self.counters.add(Counter::RecordsEvicted, 1);
                self.forget(*old, emit);
                number
            }
            Placed::Full => {
                self.counters.add(Counter::RecordsExhausted, 1);
                0
            }
        };
        if let Some(entry) = self.table.get_mut(slot) {
            entry.record = number;
        }
        number
    }

    pub(super) fn mark(&mut self, slot: Slot, mark: u8) {
        if let Some(entry) = self.table.get_mut(slot) {
            entry.marks |= mark;
        }
    }

    pub(super) fn set_client(&mut self, slot: Slot, client: Side) {
        if let Some(entry) = self.table.get_mut(slot) {
            entry.marks = mark_client(entry.marks, client) | CLIENT_KNOWN;
        }
    }
}

pub(super) fn mark_client(marks: u8, client: Side) -> u8 {
    match client {
        Side::Low => marks & !CLIENT_IS_HIGH,
        Side::High => marks | CLIENT_IS_HIGH,
    }
}

/// Who is the client by a flow's first packet, and whether that is certain: the SYN tells, else the lower port serves.
fn client_side(arrival: &Arrival<'_>) -> (Side, bool) {
    let side = arrival.side;
    if let Transport::Tcp(segment) = arrival.transport
        && segment.flags & Segment::SYN != 0
    {
        let answers = segment.flags & Segment::ACK != 0;
        return (if answers { side.opposite() } else { side }, true);
    }
    let serves = |port: u16| port < 1024;
    let (source, destination) = arrival.ports();
    let client = if serves(source) && !serves(destination) { side.opposite() } else { side };
    (client, false)
}

/// What is known of a flow, told from the client's end.
pub(super) fn flow_of(entry: &FlowEntry, record: Option<&Record>, when: &When) -> Flow {
    let key = entry.key();
    let mut from_low = FlowEntry::counted(entry.from_low);
    let mut from_high = FlowEntry::counted(entry.from_high);
    if let Some(record) = record {
        let [low, high] = record.spilled.as_deref().copied().unwrap_or_default();
        from_low = (from_low.0 + low.0, from_low.1 + low.1);
        from_high = (from_high.0 + high.0, from_high.1 + high.1);
    }
    let first_seen_ns = record.map_or(when.timestamp_ns, |record| record.first_seen_ns);
    let low = (key.low, key.low_port(), from_low);
    let high = (key.high, key.high_port(), from_high);
    let (client, server) = if entry.marks & CLIENT_IS_HIGH != 0 { (high, low) } else { (low, high) };
    Flow {
        id: key.stable_id(first_seen_ns),
        client: client.0,
        client_port: client.1,
        server: server.0,
        server_port: server.1,
        protocol: key.protocol,
        encapsulation: record.map(|record| (&record.encapsulation).into()).unwrap_or_default(),
        interface: when.interface,
        first_seen_ns,
        last_seen_ns: record.map_or(when.timestamp_ns, |record| record.last_seen_ns),
        packets_to_server: client.2.0,
        packets_to_client: server.2.0,
        bytes_to_server: client.2.1,
        bytes_to_client: server.2.1,
    }
}
