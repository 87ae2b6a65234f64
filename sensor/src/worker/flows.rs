//! The state of a flow: its marks and counts in the table, and the record that some flows have besides.

use vigie_decode::{Address, Segment, Transport};
use vigie_flow::{FlowEntry, Side, Slot};
use vigie_handshake::opening::Desync;

use super::packet::{FlowPacket, FrameInfo};
use super::records::{FlowRecord, Insertion, Inspection};
use super::{Counter, Worker};
use crate::event::{Event, Flow, FlowEnd};

/// Mark: the flow needs no more inspection.
pub(super) const SETTLED: u8 = 1;
/// Mark, beside [`SETTLED`]: the server has not answered the hello yet, so the client may still send another version of it.
pub(super) const WATCHED: u8 = 32;
/// Mark: the client is the high end of the key.
pub(super) const CLIENT_IS_HIGH: u8 = 2;
/// Mark: the client is known from a SYN or a hello, not guessed from ports.
pub(super) const CLIENT_KNOWN: u8 = 4;
/// Mark: a packet had a payload.
pub(super) const PAYLOAD: u8 = 8;
/// Mark of a UDP flow: a usable name was read.
pub(super) const NAMED: u8 = 64;
/// Mark of a TCP flow, beside [`SETTLED`] and [`WATCHED`]: the client's further HTTP requests are read, and nothing else of
/// the flow. It has the bit of [`NAMED`], which no TCP flow needs.
pub(super) const REQUESTS: u8 = NAMED;
/// Mark: another worker owns the flow; this one only remembers its DNS answers.
pub(super) const FOREIGN: u8 = 16;
/// Mark: a packet is from fragments that contradict each other.
pub(super) const DISPUTED: u8 = 128;

impl Worker {
    /// Opens the flow of a packet in a slot.
    pub(super) fn open_flow(&mut self, slot: Slot, packet: &FlowPacket<'_>) {
        self.counters.add(Counter::Flows, 1);
        self.forget_shunted(slot);
        if let Some(network) = packet.transport.network() {
            self.reassembler.observe_header(network);
        }
        let (client, is_known) = guess_client(packet);
        let foreign = if self.is_foreign() { FOREIGN } else { 0 };
        if let Some(entry) = self.table.get_mut(slot) {
            let known = if is_known { CLIENT_KNOWN } else { 0 };
            entry.marks = with_client(known | foreign, client);
        }
    }

    /// Ends the flow in a slot, and opens another one with the same 5-tuple there.
    pub(super) fn restart_flow(
        &mut self,
        slot: Slot,
        packet: &FlowPacket<'_>,
        reason: FlowEnd,
        emit: &mut dyn FnMut(Event),
    ) {
        let Some(entry) = self.table.get_mut(slot) else { return };
        let old = *entry;
        (entry.marks, entry.spare, entry.record, entry.from_low, entry.from_high) = (0, 0, 0, 0, 0);
        self.end_flow(slot, &old, reason, emit);
        self.open_flow(slot, packet);
    }

    /// Sets the time of the last packet in the flow's record, if the flow has one.
    #[inline]
    pub(super) fn update_last_seen(&mut self, record_id: u32, frame: &FrameInfo) {
        if record_id != 0
            && let Some(record) = self.records.get_mut(record_id)
        {
            record.last_seen_ns = record.last_seen_ns.max(frame.timestamp_ns);
            record.last_frame = frame.number;
        }
    }

    /// Moves the packed counts of a table entry to the flow's record before they overflow. Without a record they start again
    /// at 0.
    #[cold]
    pub(super) fn move_counts_to_record(&mut self, slot: Slot) {
        let Some(entry) = self.table.get_mut(slot) else { return };
        let counts = [FlowEntry::counted(entry.from_low), FlowEntry::counted(entry.from_high)];
        (entry.from_low, entry.from_high) = (0, 0);
        if let Some(record) = self.records.get_mut(entry.record) {
            for (total, more) in record.earlier_counts.get_or_insert_default().iter_mut().zip(counts) {
                total.0 += more.0;
                total.1 += more.1;
            }
        }
    }

    /// The id of the flow's record, with its last packet updated. Adds a record if the flow has none.
    #[inline]
    pub(super) fn record_of(&mut self, slot: Slot, packet: &FlowPacket<'_>, emit: &mut dyn FnMut(Event)) -> u32 {
        let record_id = self.table.get(slot).map_or(0, |entry| entry.record);
        if record_id == 0 {
            return self.add_record(slot, packet, emit);
        }
        self.update_last_seen(record_id, &packet.frame);
        record_id
    }

    #[cold]
    #[inline(never)]
    fn add_record(&mut self, slot: Slot, packet: &FlowPacket<'_>, emit: &mut dyn FnMut(Event)) -> u32 {
        let frame = &packet.frame;
        let record = FlowRecord {
            slot,
            first_seen_ns: frame.timestamp_ns,
            last_seen_ns: frame.timestamp_ns,
            last_frame: frame.number,
            interface: frame.interface,
            reported_name: 0,
            encapsulation: self.records.tunnels.store(packet.encapsulation()),
            earlier_counts: None,
            inspection: Inspection::None,
            hello: None,
            sighted: None,
        };
        let record_id = match self.records.insert(record, &self.table) {
            Insertion::Added(record_id) => record_id,
            Insertion::Evicted(record_id, old) => {
                self.make_room(|worker| {
                    worker.counters.add(Counter::RecordsEvicted, 1);
                    worker.end_inspection(*old, emit);
                });
                record_id
            }
            Insertion::Full => {
                self.counters.add(Counter::RecordsExhausted, 1);
                0
            }
        };
        if let Some(entry) = self.table.get_mut(slot) {
            entry.record = record_id;
        }
        record_id
    }

    #[inline]
    pub(super) fn set_mark(&mut self, slot: Slot, mark: u8) {
        if let Some(entry) = self.table.get_mut(slot) {
            entry.marks |= mark;
        }
    }

    /// Sets the client of a flow, which is known from now on.
    #[inline]
    pub(super) fn set_client(&mut self, slot: Slot, client: Side) {
        if let Some(entry) = self.table.get_mut(slot) {
            entry.marks = with_client(entry.marks, client) | CLIENT_KNOWN;
        }
    }
}

/// The client by a flow's marks.
pub(super) const fn client_of(marks: u8) -> Side {
    if marks & CLIENT_IS_HIGH != 0 { Side::High } else { Side::Low }
}

/// The address of a flow's client.
pub(super) const fn client_address(entry: &FlowEntry) -> Address {
    let key = entry.key();
    match client_of(entry.marks) {
        Side::Low => key.low,
        Side::High => key.high,
    }
}

/// Whether both ends sent packets.
pub(super) const fn has_both_directions(entry: &FlowEntry) -> bool {
    FlowEntry::counted(entry.from_low).0 > 0 && FlowEntry::counted(entry.from_high).0 > 0
}

/// Why packets of a flow contradict each other, by its marks.
pub(super) const fn desync_of(entry: &FlowEntry) -> Desync {
    if entry.marks & DISPUTED != 0 { Desync::FRAGMENTS } else { Desync::NONE }
}

/// The marks of a flow with this client.
#[inline]
pub(super) fn with_client(marks: u8, client: Side) -> u8 {
    match client {
        Side::Low => marks & !CLIENT_IS_HIGH,
        Side::High => marks | CLIENT_IS_HIGH,
    }
}

/// The client by the first packet of a flow, and whether it is known for certain. A SYN is certain; without one, the end
/// with a port below 1024 is taken for the server.
fn guess_client(packet: &FlowPacket<'_>) -> (Side, bool) {
    let side = packet.side;
    if let Transport::Tcp(segment) = packet.transport
        && segment.flags & Segment::SYN != 0
    {
        let is_answer = segment.flags & Segment::ACK != 0;
        return (if is_answer { side.opposite() } else { side }, true);
    }
    let is_system_port = |port: u16| port < 1024;
    let (source, destination) = packet.ports();
    let is_answer = is_system_port(source) && !is_system_port(destination);
    (if is_answer { side.opposite() } else { side }, false)
}

/// A flow as events show it: client and server instead of low and high end.
pub(super) fn event_flow(entry: &FlowEntry, record: Option<&FlowRecord>, frame: &FrameInfo) -> Flow {
    let key = entry.key();
    let mut from_low = FlowEntry::counted(entry.from_low);
    let mut from_high = FlowEntry::counted(entry.from_high);
    if let Some(record) = record {
        let [low, high] = record.earlier_counts.as_deref().copied().unwrap_or_default();
        from_low = (from_low.0 + low.0, from_low.1 + low.1);
        from_high = (from_high.0 + high.0, from_high.1 + high.1);
    }
    let first_seen_ns = record.map_or(frame.timestamp_ns, |record| record.first_seen_ns);
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
        interface: frame.interface,
        first_seen_ns,
        // A clock that was set back does not end a flow before it began.
        last_seen_ns: record.map_or(frame.timestamp_ns, |record| record.last_seen_ns).max(first_seen_ns),
        packets_to_server: client.2.0,
        packets_to_client: server.2.0,
        bytes_to_server: client.2.1,
        bytes_to_client: server.2.1,
    }
}
