//! Step 4 for HTTP: read the hosts of a connection's requests behind its first one. Only packets of the client with payload
//! come here; the others are counted as those of any settled flow.

use vigie_decode::Segment;
use vigie_flow::{Side, Slot};
use vigie_handshake::Limits;
use vigie_handshake::http::Progress;
use vigie_handshake::name_hash::name_hash;
use vigie_handshake::tcp::TcpInspector;
use vigie_signatures::Bundle;

use super::Worker;
use super::counters::Counters;
use super::findings::{EventTypes, HandshakeFinding};
use super::flows::{REQUESTS, SETTLED, WATCHED, client_of};
use super::packet::FlowPacket;
use super::records::{Inspection, remeasure};
use crate::event::Event;

/// Tunnels in one segment that are followed.
const TUNNEL_DEPTH_MAX: u8 = 4;

/// The finding of a name in clear text, and the name's [hash](name_hash).
pub(super) struct NamedFinding {
    pub(super) name_hash: u32,
    pub(super) finding: HandshakeFinding,
}

/// The findings of the hosts that the first requests of a connection name, and what follows: of all hosts but those that are
/// `known`, which get their methods.
pub(super) fn other_hosts(
    inspector: &mut TcpInspector,
    client: Side,
    known: &mut [NamedFinding],
    limits: &Limits,
    (bundle, event_types, counters): (&Bundle, EventTypes, &mut Counters),
) -> (Vec<HandshakeFinding>, Progress) {
    let mut others = Vec::new();
    let progress = inspector.visit_hosts(client, limits, &mut |host| {
        let hash = name_hash(host.name);
        match known.iter_mut().find(|named| named.name_hash == hash) {
            None => others.push(HandshakeFinding::from_request(host, bundle, event_types, counters)),
            Some(NamedFinding { finding: HandshakeFinding { request: Some(request), .. }, .. }) => {
                request.method = Some(host.method.to_owned());
            }
            Some(_) => {}
        }
    });
    (others, progress)
}

impl Worker {
    /// From now on reads the requests of a connection of HTTP. False if it is none.
    pub(super) fn begin_requests(&mut self, slot: Slot, record_id: u32) -> bool {
        let Some(client) = self.table.get(slot).map(|entry| client_of(entry.marks)) else { return false };
        let Some(record) = self.records.get_mut(record_id) else { return false };
        let Inspection::Tcp(inspector) = &mut record.inspection else { return false };
        let bytes_before = inspector.memory_bytes();
        let Some((http, Progress::More)) =
            inspector.take_http(client, &self.handshake_limits, &mut self.handshake_counters)
        else {
            return false;
        };
        let bytes = inspector.memory_bytes() + http.memory_bytes();
        remeasure(&mut self.inspection_bytes, bytes_before, bytes);
        let inspection = std::mem::replace(&mut record.inspection, Inspection::Http(http));
        self.recycle(inspection);
        self.set_mark(slot, SETTLED | WATCHED | REQUESTS);
        true
    }

    /// Handles a segment of a connection whose requests are read.
    pub(super) fn follow_requests(
        &mut self,
        packet: &FlowPacket<'_>,
        segment: &Segment<'_>,
        slot: Slot,
        emit: &mut dyn FnMut(Event),
    ) {
        let Some(entry) = self.table.get(slot) else { return };
        let record_id = entry.record;
        if entry.marks & REQUESTS == 0 || packet.side != client_of(entry.marks) {
            return;
        }
        let Self { records, bundle, counters, event_types, inspection_bytes, .. } = self;
        let Some(Inspection::Http(http)) = records.get_mut(record_id).map(|record| &mut record.inspection) else {
            return self.stop_requests(slot, record_id);
        };
        let bytes_before = http.memory_bytes();
        let mut findings = Vec::new();
        let mut progress = Progress::More;
        if !segment.payload.is_empty() {
            progress = http.segment(segment, &self.handshake_limits, &mut self.handshake_counters, &mut |host| {
                findings.push(HandshakeFinding::from_request(host, bundle, *event_types, counters));
            });
        }
        if progress == Progress::More && http.is_end(segment) {
            progress = Progress::End;
        }
        remeasure(inspection_bytes, bytes_before, http.memory_bytes());
        if findings.iter().any(HandshakeFinding::needs_client_mac) {
            self.note_client_mac(packet, slot);
        }
        self.report_requests(packet, segment, slot, record_id, (findings, progress), emit);
    }

    /// Reports what a segment of HTTP's client shows, and goes on with what follows the requests in it.
    pub(super) fn report_requests(
        &mut self,
        packet: &FlowPacket<'_>,
        segment: &Segment<'_>,
        slot: Slot,
        record_id: u32,
        (findings, progress): (Vec<HandshakeFinding>, Progress),
        emit: &mut dyn FnMut(Event),
    ) {
        for finding in findings {
            self.report(&packet.frame, slot, record_id, finding, emit);
        }
        if progress == Progress::More {
            self.enforce_memory_limit(emit);
        } else {
            self.end_requests(packet, segment, slot, record_id, progress, emit);
        }
    }

    /// Ends the reading of requests. In a tunnel, a hello is awaited again.
    pub(super) fn end_requests(
        &mut self,
        packet: &FlowPacket<'_>,
        segment: &Segment<'_>,
        slot: Slot,
        record_id: u32,
        progress: Progress,
        emit: &mut dyn FnMut(Event),
    ) {
        let Progress::Tunnel { first_byte } = progress else { return self.stop_requests(slot, record_id) };
        let client = packet.side;
        let Some(record) = self.records.get_mut(record_id) else { return self.stop_requests(slot, record_id) };
        match &mut record.inspection {
            Inspection::Tcp(inspector) => {
                let bytes_before = inspector.memory_bytes();
                inspector.continue_at(client, first_byte, &self.handshake_limits);
                remeasure(&mut self.inspection_bytes, bytes_before, inspector.memory_bytes());
            }
            inspection => {
                let opening = inspection.opening_mut().copied();
                let mut inspector = self.tcp_pool.pop().unwrap_or_default();
                inspector.begin_inside(client, first_byte, opening);
                self.inspection_bytes += inspector.memory_bytes();
                let before = std::mem::replace(inspection, Inspection::Tcp(inspector));
                self.recycle(before);
            }
        }
        if let Some(entry) = self.table.get_mut(slot) {
            entry.marks &= !(SETTLED | WATCHED | REQUESTS);
        }
        let end = segment.sequence.wrapping_add(segment.payload.len() as u32);
        if (end.wrapping_sub(first_byte) as i32) > 0 && self.tunnel_depth < TUNNEL_DEPTH_MAX {
            self.tunnel_depth += 1;
            self.inspect_segment(packet, segment, slot, record_id, emit);
            self.tunnel_depth -= 1;
        }
    }

    /// Reads no more requests.
    fn stop_requests(&mut self, slot: Slot, record_id: u32) {
        if let Some(entry) = self.table.get_mut(slot) {
            entry.marks &= !(WATCHED | REQUESTS);
        }
        self.settle(slot, record_id);
    }
}
