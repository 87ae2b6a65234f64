//! A connection whose hello was reported is watched until its server answers: the hello may have been a decoy, which never reached
//! the server, and the client sends the true one in its place.

use vigie_decode::Segment;
use vigie_flow::{Side, Slot};
use vigie_handshake::http::Progress;
use vigie_handshake::name_hash::name_hash;
use vigie_handshake::opening::Desync;
use vigie_handshake::stream::Findings;
use vigie_handshake::tcp::{TcpInspector, is_hello_retry_request};
use vigie_signatures::Bundle;

use super::findings::{EventTypes, HandshakeFinding};
use super::flows::{REQUESTS, SETTLED, WATCHED, client_of};
use super::packet::FlowPacket;
use super::records::{Inspection, remeasure};
use super::tcp::tcp_inspector;
use super::{Counters, Worker};
use crate::event::{Event, HelloTransport};

/// Segments of a client in which another version of its hello is looked for: so many of its first bytes, since a hello may come in
/// small pieces, and so many others.
const WATCHED_SEGMENTS_MAX: u32 = 512;
const WATCHED_BEYOND_MAX: u16 = 128;

/// What a segment shows that contradicts what was reported.
pub(super) struct Contradictions {
    pub(super) findings: Vec<HandshakeFinding>,
    /// What follows the HTTP requests in it.
    progress: Progress,
}

impl Worker {
    /// Handles a segment of a settled connection whose server has not answered yet. The hello that was reported may have
    /// been a decoy, which never reached the server; then the client sends the true one in its place.
    #[cold]
    pub(super) fn watch_segment(
        &mut self,
        packet: &FlowPacket<'_>,
        segment: &Segment<'_>,
        slot: Slot,
        emit: &mut dyn FnMut(Event),
    ) {
        let Some(entry) = self.table.get(slot) else { return };
        let client = client_of(entry.marks);
        let record_id = entry.record;
        if entry.marks & REQUESTS != 0 {
            return self.follow_requests(packet, segment, slot, emit);
        }
        if segment.payload.is_empty() {
            return;
        }
        if packet.side != client && record_id != 0 && self.is_hello_retried(client, segment, record_id) {
            return;
        }
        if packet.side != client || record_id == 0 {
            return self.end_watch(slot, record_id);
        }
        let Some(record) = self.records.get_mut(record_id) else { return };
        let (pool, limits) = (&mut self.tcp_pool, &self.handshake_limits);
        let Some(inspector) =
            tcp_inspector(record, pool, &mut self.inspection_bytes, limits, &mut self.handshake_counters)
        else {
            return;
        };
        if is_watch_over(inspector, client) {
            self.end_watch(slot, record_id);
            return self.follow_requests(packet, segment, slot, emit);
        }
        let Contradictions { findings, progress } = self.find_contradictions(packet, segment, record_id);
        self.report_requests(packet, segment, slot, record_id, (findings, progress), emit);
    }

    /// Whether a segment of the server asks for another hello (RFC 8446 §4.1.4). The client must not change the name in it,
    /// but may: that is read like the first.
    #[cold]
    pub(super) fn is_hello_retried(&mut self, client: Side, segment: &Segment<'_>, record_id: u32) -> bool {
        if !is_hello_retry_request(segment.payload) {
            return false;
        }
        let Some(first_byte) = segment.acknowledgment() else { return false };
        let Some(record) = self.records.get_mut(record_id) else { return false };
        let (pool, limits) = (&mut self.tcp_pool, &self.handshake_limits);
        let Some(inspector) =
            tcp_inspector(record, pool, &mut self.inspection_bytes, limits, &mut self.handshake_counters)
        else {
            return false;
        };
        let bytes_before = inspector.memory_bytes();
        inspector.await_second_hello(client, first_byte);
        remeasure(&mut self.inspection_bytes, bytes_before, inspector.memory_bytes());
        true
    }

    /// Looks in a segment of the client for names that contradict the one that was reported, before the server answered.
    #[cold]
    pub(super) fn find_contradictions(
        &mut self,
        packet: &FlowPacket<'_>,
        segment: &Segment<'_>,
        record_id: u32,
    ) -> Contradictions {
        let client = packet.side;
        let mut contradictions = Contradictions { findings: Vec::new(), progress: Progress::More };
        let Self { records, tcp_pool, bundle, counters, event_types, inspection_bytes, .. } = self;
        let Some(record) = records.get_mut(record_id) else { return contradictions };
        let reported_before = record.reported_name;
        let limits = &self.handshake_limits;
        let Some(inspector) = tcp_inspector(record, tcp_pool, inspection_bytes, limits, &mut self.handshake_counters)
        else {
            return contradictions;
        };
        let bytes_before = inspector.memory_bytes();
        if inspector.has_other_beginnings() {
            inspector.note_going_on(client, segment, limits);
        }
        if inspector.is_before_reading(client, segment) {
            inspector.restart(client);
        }
        let findings = &mut contradictions.findings;
        let mut reported_name = reported_before;
        let has_requests = inspector.is_http(client)
            && inspector.expect_requests(client, &self.handshake_limits, &mut self.handshake_counters);
        let mut is_taken = true;
        let mut names: Vec<u32> = Vec::new();
        let mut take = |found: &Findings<'_>, findings: &mut Vec<HandshakeFinding>| {
            if let Some(name) = name_of(found).filter(|name| short_hash(name) != reported_before) {
                reported_name = short_hash(name);
                names.push(name_hash(name));
                findings.extend(findings_of(found, Desync::NONE, bundle, *event_types, counters));
            }
        };
        if inspector.is_done_with(client) {
            is_taken = inspector.late_segment(client, segment, &self.handshake_limits, &mut self.handshake_counters);
        } else {
            let found = inspector.segment(client, segment, &self.handshake_limits, &mut self.handshake_counters);
            take(&found, findings);
            let desync = inspector.desync_of_hellos();
            findings.iter_mut().for_each(|finding| finding.desync.add(desync));
            if findings.iter().any(HandshakeFinding::emits_event)
                && inspector.is_void_hello(client, segment, &self.handshake_limits, &mut self.handshake_counters)
            {
                remeasure(inspection_bytes, bytes_before, inspector.memory_bytes());
                findings.clear();
                return contradictions;
            }
        }
        while let Some(found) = inspector.next_reading(client, &self.handshake_limits, &mut self.handshake_counters) {
            take(&found, findings);
        }
        if !findings.is_empty() {
            inspector.note_contradiction();
        }
        if has_requests && is_taken {
            let (limits, counts) = (&self.handshake_limits, &mut self.handshake_counters);
            contradictions.progress = inspector.http_segment(segment, limits, counts, &mut |host| {
                // Another reading of the same bytes may have shown it.
                if !names.contains(&name_hash(host.name)) {
                    findings.push(HandshakeFinding::from_request(host, bundle, *event_types, counters));
                }
            });
        }
        if inspector.is_done_with(client) && !inspector.holds_bytes(client) {
            inspector.restart(client);
        }
        let desync = inspector.desync();
        remeasure(inspection_bytes, bytes_before, inspector.memory_bytes());
        record.reported_name = reported_name;
        findings.iter_mut().for_each(|finding| finding.desync.add(desync));
        contradictions
    }

    /// Settles a connection whose hello was reported, but watches it for another version of the hello until the server
    /// answers.
    pub(super) fn settle_and_watch(&mut self, slot: Slot, record_id: u32) {
        let Some(record) = self.records.get_mut(record_id) else { return self.settle(slot, record_id) };
        match &mut record.inspection {
            Inspection::Opening(_) | Inspection::SplitHello(_) => {}
            Inspection::Tcp(inspector) if inspector.must_be_kept() => {
                let bytes_before = inspector.memory_bytes();
                inspector.keep_bytes();
                if let Some(client) = inspector.opening().map(|opening| opening.client())
                    && inspector.is_done_with(client)
                    && !inspector.holds_bytes(client)
                {
                    inspector.restart(client);
                }
                remeasure(&mut self.inspection_bytes, bytes_before, inspector.memory_bytes());
            }
            Inspection::Tcp(inspector) => {
                let opening = inspector.opening().map_or(Inspection::None, Inspection::Opening);
                let inspection = std::mem::replace(&mut record.inspection, opening);
                self.recycle(inspection);
            }
            Inspection::None | Inspection::Http(_) | Inspection::Udp(_) => return self.settle(slot, record_id),
        }
        self.set_mark(slot, SETTLED | WATCHED);
    }

    /// The server has answered: no other version of the hello counts any more. Of HTTP, further requests are read.
    fn end_watch(&mut self, slot: Slot, record_id: u32) {
        if self.begin_requests(slot, record_id) {
            return;
        }
        if let Some(entry) = self.table.get_mut(slot) {
            entry.marks &= !WATCHED;
        }
        self.settle(slot, record_id);
    }
}

/// Whether a client has sent so much after its hello that no other version of it is looked for any more.
pub(super) fn is_watch_over(inspector: &TcpInspector, client: Side) -> bool {
    let is_over = inspector.segments() >= WATCHED_SEGMENTS_MAX || inspector.segments_beyond() >= WATCHED_BEYOND_MAX;
    is_over && !inspector.is_amid_message(client)
}

/// The name that a segment completed.
pub(super) fn name_of<'f>(found: &'f Findings<'_>) -> Option<&'f [u8]> {
    let of_hello = found.hello.as_ref().and_then(|hello| hello.server_name());
    of_hello.or(found.name.map(|(_, name)| name))
}

/// What a flow's record keeps of a name.
pub(super) fn short_hash(name: &[u8]) -> u16 {
    (name_hash(name) as u16).max(1)
}

/// The findings of another reading of a stream.
pub(super) fn findings_of(
    found: &Findings<'_>,
    desync: Desync,
    bundle: &Bundle,
    event_types: EventTypes,
    counters: &mut Counters,
) -> impl Iterator<Item = HandshakeFinding> + use<> {
    let mut all = desync;
    all.add(found.desync);
    let names = found.clear_names();
    let mut findings: Vec<_> = names
        .map(|(kind, name)| HandshakeFinding::from_clear_text(kind, name, bundle, event_types, counters))
        .collect();
    let hello = found.hello.as_ref().filter(|hello| hello.server_name().is_some());
    let hello =
        hello.map(|hello| HandshakeFinding::from_hello(hello, HelloTransport::Tcp, bundle, event_types, counters));
    findings.extend(hello);
    findings.into_iter().map(move |finding| HandshakeFinding { desync: all, ..finding })
}
