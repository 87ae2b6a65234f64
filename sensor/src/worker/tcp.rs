//! Step 4 for TCP: follow a connection until its ClientHello, or a name in clear text, is read. If the hello has no usable
//! name, the server's certificate may have one.

use vigie_decode::Segment;
use vigie_flow::{Side, Slot};
use vigie_handshake::tcp::TcpInspector;

use super::findings::HandshakeFinding;
use super::flows::{CLIENT_KNOWN, PAYLOAD, SETTLED, with_client};
use super::packet::{FlowPacket, FrameInfo};
use super::records::{FlowRecord, Inspection};
use super::udp::id_tag;
use super::{Counter, DNS_PORT, Worker};
use crate::detect::{self, Evidence, NameMatch};
use crate::event::{Event, FlowEnd, HelloTransport};

impl Worker {
    /// Handles a segment of a flow that is not settled, or a SYN.
    pub(super) fn handle_tcp(
        &mut self,
        packet: &FlowPacket<'_>,
        segment: &Segment<'_>,
        slot: Slot,
        emit: &mut dyn FnMut(Event),
    ) {
        if segment.flags & Segment::SYN != 0 && !self.handle_syn(packet, segment, slot, emit) {
            return;
        }
        let ends = segment.flags & (Segment::FIN | Segment::RST) != 0;
        if segment.payload.is_empty() && !ends {
            if self.event_types.flows {
                self.record_of(slot, packet, emit);
            }
            return;
        }
        let record_id = self.record_of(slot, packet, emit);
        if record_id == 0 {
            return;
        }
        if !segment.payload.is_empty() {
            self.set_mark(slot, PAYLOAD);
            self.inspect_segment(packet, segment, slot, record_id, emit);
        }
        if ends {
            self.report_partial_hello(&packet.frame, slot, record_id, emit);
        }
    }

    /// Handles a SYN. It may open another connection on the 5-tuple of a settled one. False for a retransmitted SYN of a
    /// settled connection.
    fn handle_syn(
        &mut self,
        packet: &FlowPacket<'_>,
        segment: &Segment<'_>,
        slot: Slot,
        emit: &mut dyn FnMut(Event),
    ) -> bool {
        let side = packet.side;
        if segment.flags & Segment::ACK != 0 {
            self.handle_syn_ack(segment, slot, side);
            return true;
        }
        let Some(entry) = self.table.get(slot) else { return false };
        let connection = id_tag(&segment.sequence.to_be_bytes());
        if entry.marks & SETTLED != 0 {
            if entry.spare == connection {
                self.update_last_seen(entry.record, &packet.frame);
                return false;
            }
            self.restart_flow(slot, packet, FlowEnd::Timeout, emit);
        }
        if let Some(entry) = self.table.get_mut(slot) {
            entry.spare = connection;
        }
        self.set_client(slot, side);
        let record_id = self.record_of(slot, packet, emit);
        let first_byte = segment.sequence.wrapping_add(1);
        if let Some(record) = self.records.get_mut(record_id) {
            match &mut record.inspection {
                Inspection::Tcp(inspector) => inspector.begin(side, first_byte),
                Inspection::None | Inspection::Opening { .. } | Inspection::Udp(_) => {
                    record.inspection =
                        Inspection::Opening { client: side, client_first: first_byte, server_first: None };
                }
            }
        }
        true
    }

    /// Handles a SYN-ACK: its sender is the server, and its stream begins here.
    fn handle_syn_ack(&mut self, segment: &Segment<'_>, slot: Slot, server: Side) {
        let Some(entry) = self.table.get_mut(slot) else { return };
        entry.marks = with_client(entry.marks, server.opposite()) | CLIENT_KNOWN;
        let first_byte = segment.sequence.wrapping_add(1);
        match self.records.get_mut(entry.record).map(|record| &mut record.inspection) {
            Some(Inspection::Opening { client, server_first, .. }) if *client != server => {
                *server_first = Some(first_byte);
            }
            Some(Inspection::Tcp(inspector)) => inspector.begin_answer(server, first_byte),
            _ => {}
        }
    }

    /// Inspects the payload of a segment.
    fn inspect_segment(
        &mut self,
        packet: &FlowPacket<'_>,
        segment: &Segment<'_>,
        slot: Slot,
        record_id: u32,
        emit: &mut dyn FnMut(Event),
    ) {
        let (frame, side) = (&packet.frame, packet.side);
        let Self { records, tcp_pool, bundle, counters, event_types, inspection_bytes, .. } = self;
        let Some(record) = records.get_mut(record_id) else { return };
        let Some(inspector) = tcp_inspector(record, tcp_pool, inspection_bytes) else { return };
        if inspector.awaits_certificate() {
            return self.inspect_certificate(frame, segment, slot, record_id, emit);
        }
        if packet.key.has_port(DNS_PORT) && inspector.is_dns(segment.payload) {
            return self.inspect_tcp_dns(packet, segment, slot, record_id, emit);
        }
        let bytes_before = inspector.memory_bytes_of(side);
        let found = inspector.segment(side, segment, &self.handshake_limits, &mut self.handshake_counters);
        let name = found.name.map(|(kind, name)| HandshakeFinding::from_clear_text(kind, name, bundle, counters));
        let has_name = name.is_some();
        let to_finding =
            |hello: &_| HandshakeFinding::from_hello(hello, HelloTransport::Tcp, bundle, *event_types, counters);
        let hello = found.hello.as_ref().map(to_finding);
        let is_done = inspector.is_done();
        // A done inspector keeps its memory for the next flow.
        if !is_done && hello.is_none() {
            inspector.free_unused(side);
        }
        *inspection_bytes = (*inspection_bytes + inspector.memory_bytes_of(side)).saturating_sub(bytes_before);
        if let Some(finding) = name {
            self.set_client(slot, side);
            self.report(frame, slot, record_id, finding, emit);
        }
        match hello {
            Some(finding) => {
                self.set_client(slot, side);
                self.report_hello(frame, slot, record_id, finding, emit);
            }
            None if is_done && has_name => self.settle(slot, record_id),
            None if is_done => self.settle_without_name(frame, slot, record_id, None, emit),
            None => self.enforce_memory_limit(emit),
        }
    }

    /// Inspects a segment of the server for its certificate, and settles the flow when the certificate is read.
    fn inspect_certificate(
        &mut self,
        frame: &FrameInfo,
        segment: &Segment<'_>,
        slot: Slot,
        record_id: u32,
        emit: &mut dyn FnMut(Event),
    ) {
        let Some(record) = self.records.get_mut(record_id) else { return };
        let Inspection::Tcp(inspector) = &mut record.inspection else { return };
        let bytes_before = inspector.memory_bytes();
        let names = inspector.server_segment(segment, &self.handshake_limits);
        self.inspection_bytes = (self.inspection_bytes + inspector.memory_bytes()).saturating_sub(bytes_before);
        let Some(names) = names else { return self.enforce_memory_limit(emit) };
        let hello = record.hello.take().map(|hello| *hello);
        self.counters.add(Counter::Certificates, u64::from(!names.is_empty()));
        let matched = names.iter().find_map(|name| {
            let name = name.strip_prefix("*.").unwrap_or(name);
            match detect::match_name(&self.bundle, name.as_bytes(), Evidence::TlsCertificate) {
                NameMatch::Matched(matched) if matched.rule.raises_alert() => Some(matched),
                _ => None,
            }
        });
        match matched {
            Some(matched) => {
                let finding = HandshakeFinding { matched: Some(matched), hello, ..HandshakeFinding::default() };
                self.report(frame, slot, record_id, finding, emit);
                self.settle(slot, record_id);
            }
            None => self.settle_without_name(frame, slot, record_id, hello, emit),
        }
    }
}

/// The inspector of a record, which is made if the connection had no payload yet.
#[inline]
#[allow(clippy::vec_box)]
fn tcp_inspector<'r>(
    record: &'r mut FlowRecord,
    pool: &mut Vec<Box<TcpInspector>>,
    inspection_bytes: &mut usize,
) -> Option<&'r mut TcpInspector> {
    if !matches!(record.inspection, Inspection::Tcp(_)) {
        let mut inspector = pool.pop().unwrap_or_default();
        *inspection_bytes += inspector.memory_bytes();
        if let Inspection::Opening { client, client_first, server_first } = record.inspection {
            inspector.begin(client, client_first);
            if let Some(server_first) = server_first {
                inspector.begin(client.opposite(), server_first);
            }
        }
        record.inspection = Inspection::Tcp(inspector);
    }
    match &mut record.inspection {
        Inspection::Tcp(inspector) => Some(inspector),
        _ => None,
    }
}
