//! Step 4 for TCP: follow a connection until its ClientHello, or a name in clear text, is read. If the hello has no usable
//! name, the server's certificate may have one.

use smallvec::SmallVec;
use vigie_decode::{Encapsulation, Segment, Transport};
use vigie_flow::{Side, Slot};
use vigie_handshake::http::Progress;
use vigie_handshake::name_hash::name_hash;
use vigie_handshake::opening::{Desync, Opening};
use vigie_handshake::stream::Findings;
use vigie_handshake::tcp::{Addition, HeldSegment, TcpInspector};
use vigie_handshake::tls;
use vigie_handshake::{Counts, Limits};

use super::dns::is_dns_elsewhere;
use super::findings::HandshakeFinding;
use super::flows::{CLIENT_KNOWN, PAYLOAD, SETTLED, WATCHED, client_of, with_client};
use super::packet::{EncapsulationSource, FlowPacket};
use super::records::{FlowRecord, Inspection, remeasure};
use super::requests::{NamedFinding, other_hosts};
use super::udp::id_tag;
use super::watch::{findings_of, name_of, short_hash};
use super::{DNS_PORT, Worker};
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
        if segment.flags & Segment::SYN != 0
            && (self.is_forged_syn(segment, slot, packet.side) || !self.handle_syn(packet, segment, slot, emit))
        {
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
            if !self.inspect_whole_hello(packet, segment, slot, record_id, emit)
                && !self.inspect_split_hello(packet, segment, slot, record_id, emit)
            {
                self.inspect_segment(packet, segment, slot, record_id, emit);
            }
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
        let marks = entry.marks;
        let connection = id_tag(&segment.sequence.to_be_bytes());
        let mut watched = None;
        if marks & SETTLED != 0 {
            let record_id = entry.record;
            if entry.spare == connection && !self.is_opened_elsewhere(record_id, segment) {
                self.update_last_seen(record_id, &packet.frame);
                self.note_syn_again(record_id, &Opening::new(side, segment));
                return false;
            }
            watched = self.take_watched(marks, record_id);
            self.restart_flow(slot, packet, FlowEnd::Timeout, emit);
        }
        if let Some(entry) = self.table.get_mut(slot) {
            entry.spare = connection;
        }
        self.set_client(slot, side);
        let record_id = self.record_of(slot, packet, emit);
        let opening = Opening::new(side, segment);
        if let Some(record) = self.records.get_mut(record_id) {
            if let Some(watched) = watched.take() {
                record.inspection = watched;
            }
            let (pool, bytes, limits) = (&mut self.tcp_pool, &mut self.inspection_bytes, &self.handshake_limits);
            if matches!(&record.inspection, Inspection::Opening(known) if known.doubts(&opening)) {
                tcp_inspector(record, pool, bytes, limits, &mut self.handshake_counters);
            } else {
                leave_split_hello(record, pool, bytes, limits, &mut self.handshake_counters);
            }
            match &mut record.inspection {
                Inspection::Tcp(inspector) => {
                    let bytes_before = inspector.memory_bytes();
                    inspector.open_again(opening, &self.handshake_limits, &mut self.handshake_counters);
                    remeasure(&mut self.inspection_bytes, bytes_before, inspector.memory_bytes());
                    self.enforce_memory_limit(emit);
                }
                Inspection::Opening(known) => *known = opening.after(known),
                _ => record.inspection = Inspection::Opening(opening),
            }
        }
        if let Some(watched) = watched {
            self.recycle(watched);
        }
        true
    }

    /// Takes note of a SYN of a connection whose hello was reported: the one before may have been a decoy.
    fn note_syn_again(&mut self, record_id: u32, syn: &Opening) {
        match self.records.get_mut(record_id).map(|record| &mut record.inspection) {
            Some(Inspection::Opening(known)) if known.is_of_same_syn(syn) => *known = syn.after(known),
            Some(Inspection::Tcp(inspector)) => inspector.note_syn_again(*syn),
            _ => {}
        }
    }

    /// Whether a SYN is surely not the one that opened a connection. The table keeps a short tag of that, which others share.
    fn is_opened_elsewhere(&mut self, record_id: u32, syn: &Segment<'_>) -> bool {
        let opening = self.records.get_mut(record_id).and_then(|record| record.inspection.opening_mut());
        opening.is_some_and(|opening| opening.client_first() != syn.sequence.wrapping_add(1))
    }

    /// Takes the inspection of a connection whose server has not answered yet: the client may go on in it after a SYN elsewhere.
    fn take_watched(&mut self, marks: u8, record_id: u32) -> Option<Inspection> {
        let inspection = &mut self.records.get_mut(record_id).filter(|_| marks & WATCHED != 0)?.inspection;
        match inspection {
            Inspection::Opening(_) | Inspection::SplitHello(_) => {}
            Inspection::Tcp(inspector) if inspector.opening().is_some() => {
                let bytes_before = inspector.memory_bytes();
                inspector.await_another_hello();
                remeasure(&mut self.inspection_bytes, bytes_before, inspector.memory_bytes());
            }
            _ => return None,
        }
        Some(std::mem::take(inspection))
    }

    /// Whether a SYN is a decoy within an established connection. It is counted.
    fn is_forged_syn(&mut self, segment: &Segment<'_>, slot: Slot, side: Side) -> bool {
        let record_id = self.table.get(slot).map_or(0, |entry| entry.record);
        let opening = self.records.get_mut(record_id).and_then(|record| record.inspection.opening_mut());
        let Some(opening) = opening.filter(|opening| opening.is_forged_syn(side, segment)) else { return false };
        opening.note(Desync::SYN_FLAG);
        self.handshake_counters.count_void(Desync::SYN_FLAG);
        true
    }

    /// Handles a SYN-ACK: its sender is the server, and its stream begins here. One of the side that sent the SYN is a decoy.
    fn handle_syn_ack(&mut self, segment: &Segment<'_>, slot: Slot, server: Side) {
        let Some(entry) = self.table.get_mut(slot) else { return };
        let mut record = self.records.get_mut(entry.record);
        let opening = record.as_mut().and_then(|record| record.inspection.opening_mut());
        if let Some(opening) = opening.filter(|opening| opening.client() == server) {
            return opening.note(Desync::SYN_FLAG);
        }
        entry.marks = with_client(entry.marks, server.opposite()) | CLIENT_KNOWN;
        let Some(record) = record else { return };
        let (pool, bytes, limits) = (&mut self.tcp_pool, &mut self.inspection_bytes, &self.handshake_limits);
        leave_split_hello(record, pool, bytes, limits, &mut self.handshake_counters);
        match &mut record.inspection {
            Inspection::Opening(opening) => opening.answer(segment),
            Inspection::Tcp(inspector) => {
                let bytes_before = inspector.memory_bytes();
                inspector.answer(server, segment);
                remeasure(&mut self.inspection_bytes, bytes_before, inspector.memory_bytes());
            }
            _ => {}
        }
    }

    /// Inspects the client's first segment if it holds a hello in one record, as most do: then nothing of it is kept. False
    /// if it is another segment.
    fn inspect_whole_hello(
        &mut self,
        packet: &FlowPacket<'_>,
        segment: &Segment<'_>,
        slot: Slot,
        record_id: u32,
        emit: &mut dyn FnMut(Event),
    ) -> bool {
        let Self { records, bundle, counters, event_types, handshake_counters, .. } = self;
        let Some(record) = records.get_mut(record_id) else { return false };
        let Inspection::Opening(opening) = &mut record.inspection else { return false };
        if !opening.is_at_first_byte(packet.side, segment) {
            return false;
        }
        let Some(hello) = tls::hello_in_one_record(segment.payload) else { return false };
        if let Some(reason) = opening.why_void(segment, false) {
            handshake_counters.count_void(reason);
            return true;
        }
        let mut finding = HandshakeFinding::from_hello(&hello, HelloTransport::Tcp, bundle, *event_types, counters);
        if finding.emits_event() && opening.is_void_for_its_checksum(segment) {
            self.hold_segment(packet.side, segment, record_id);
            return true;
        }
        finding.desync = opening.desync();
        opening.note_hop_limit(segment);
        record.reported_name = hello.server_name().map_or(record.reported_name, short_hash);
        self.set_client(slot, packet.side);
        self.note_mac_of_hello(packet, slot, &finding);
        self.report_hello(&packet.frame, slot, record_id, finding, emit);
        true
    }

    /// Inspects a segment of a hello that comes in order in several segments, as most do that are not whole in one. False if it
    /// is another segment.
    fn inspect_split_hello(
        &mut self,
        packet: &FlowPacket<'_>,
        segment: &Segment<'_>,
        slot: Slot,
        record_id: u32,
        emit: &mut dyn FnMut(Event),
    ) -> bool {
        let Self { records, split_pool, bundle, counters, event_types, handshake_limits, .. } = self;
        let Some(record) = records.get_mut(record_id) else { return false };
        let (side, bytes_before) = (packet.side, record.inspection.split_bytes());
        let hello = match &mut record.inspection {
            Inspection::Opening(opening) if opening.is_at_first_byte(side, segment) => {
                let mut split = split_pool.pop().unwrap_or_default();
                if !split.begin(*opening, segment, handshake_limits) {
                    split_pool.push(split);
                    return false;
                }
                record.inspection = Inspection::SplitHello(split);
                None
            }
            Inspection::SplitHello(split) => match split.add(side, segment, handshake_limits) {
                Addition::Part => None,
                Addition::Whole(hello) => Some(hello),
                Addition::Other => return false,
            },
            _ => return false,
        };
        let finding = hello.map(|hello| {
            let name_hash = hello.server_name().map(short_hash);
            (name_hash, HandshakeFinding::from_hello(&hello, HelloTransport::Tcp, bundle, *event_types, counters))
        });
        remeasure(&mut self.inspection_bytes, bytes_before, record.inspection.split_bytes());
        let Some((name_hash, mut finding)) = finding else {
            self.enforce_memory_limit(emit);
            return true;
        };
        if let Inspection::SplitHello(split) = &record.inspection {
            if finding.emits_event() && split.has_wrong_checksum() {
                let (pool, bytes) = (&mut self.tcp_pool, &mut self.inspection_bytes);
                tcp_inspector(record, pool, bytes, &self.handshake_limits, &mut self.handshake_counters);
                self.enforce_memory_limit(emit);
                return true;
            }
            finding.desync = split.opening().map(|opening| opening.desync()).unwrap_or_default();
        }
        record.reported_name = name_hash.unwrap_or(record.reported_name);
        self.set_client(slot, side);
        self.note_mac_of_hello(packet, slot, &finding);
        self.report_hello(&packet.frame, slot, record_id, finding, emit);
        true
    }

    /// Inspects the payload of a segment.
    pub(super) fn inspect_segment(
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
        let name_before = record.reported_name;
        let limits = &self.handshake_limits;
        let Some(inspector) = tcp_inspector(record, tcp_pool, inspection_bytes, limits, &mut self.handshake_counters)
        else {
            return;
        };
        if inspector.awaits_certificate() {
            if self.table.get(slot).is_some_and(|entry| client_of(entry.marks) == side) {
                return self.inspect_later_hello(packet, segment, slot, record_id, emit);
            }
            return self.inspect_certificate(packet, segment, slot, record_id, emit);
        }
        let bytes_before = inspector.memory_bytes_of(side);
        if let Some(held) = inspector.take_acknowledged(side, segment) {
            remeasure(inspection_bytes, bytes_before, inspector.memory_bytes_of(side));
            return self.inspect_acknowledged(&held, packet, segment, slot, record_id, emit);
        }
        let may_be_dns = packet.key.has_port(DNS_PORT) || is_dns_elsewhere(packet.key, segment.payload);
        if (may_be_dns || inspector.carries_dns()) && inspector.is_dns(segment.payload) {
            return self.inspect_tcp_dns(packet, segment, slot, record_id, emit);
        }
        let mut found = inspector.segment(side, segment, &self.handshake_limits, &mut self.handshake_counters);
        if found.is_empty() {
            let desync = found.desync;
            if !inspector.may_show_more(side) {
                inspector.free_unused(side);
                remeasure(inspection_bytes, bytes_before, inspector.memory_bytes_of(side));
                return self.enforce_memory_limit(emit);
            }
            found = Findings { desync, ..Findings::default() };
        }
        let mut desync = found.desync;
        let mut reported_name = name_of(&found).map_or(0, short_hash);
        let mut last_name = name_before;
        let mut names: SmallVec<[NamedFinding; 1]> = SmallVec::new();
        names.extend(found.clear_names().map(|(kind, name)| {
            let is_other_name = last_name != 0 && last_name != short_hash(name);
            last_name = short_hash(name);
            let finding = HandshakeFinding::from_clear_text(kind, name, bundle, *event_types, counters);
            NamedFinding { name_hash: name_hash(name), finding: HandshakeFinding { is_other_name, ..finding } }
        }));
        let to_finding =
            |hello: &_| HandshakeFinding::from_hello(hello, HelloTransport::Tcp, bundle, *event_types, counters);
        let hello = found.hello.as_ref().map(to_finding);
        if hello.as_ref().is_some_and(HandshakeFinding::emits_event)
            && inspector.is_void_hello(side, segment, &self.handshake_limits, &mut self.handshake_counters)
        {
            remeasure(inspection_bytes, bytes_before, inspector.memory_bytes_of(side));
            return self.enforce_memory_limit(emit);
        }
        desync.add(inspector.desync());
        let mut other_readings = Vec::new();
        while let Some(found) = inspector.next_reading(side, &self.handshake_limits, &mut self.handshake_counters) {
            let name = name_of(&found);
            // The bytes may be read from two places.
            if name.is_some_and(|name| names.iter().any(|named| named.name_hash == name_hash(name))) {
                continue;
            }
            reported_name = name.map_or(reported_name, short_hash);
            other_readings.extend(findings_of(&found, desync, bundle, *event_types, counters));
        }
        let is_http = inspector.is_http(side);
        let (other_names, progress) = match is_http {
            true => {
                let lent = (&**bundle, *event_types, &mut *counters);
                other_hosts(inspector, side, &mut names, &self.handshake_limits, lent)
            }
            false => (Vec::new(), Progress::More),
        };
        let findings = || names.iter().map(|named| &named.finding).chain(&other_names);
        let has_name = findings().any(|finding| !finding.hides_name);
        let needs_client_mac = findings().chain(&other_readings).any(HandshakeFinding::needs_client_mac);
        let is_done = inspector.is_done() || is_http;
        // A done inspector keeps its memory for the next flow.
        if !is_done && hello.is_none() {
            inspector.free_unused(side);
        }
        remeasure(inspection_bytes, bytes_before, inspector.memory_bytes_of(side));
        if reported_name != 0 {
            record.reported_name = reported_name;
        }
        if reported_name != 0 || is_http {
            self.set_client(slot, side);
        }
        if needs_client_mac {
            self.note_client_mac(packet, slot);
        }
        for finding in names.into_iter().map(|named| named.finding).chain(other_names) {
            self.report(frame, slot, record_id, HandshakeFinding { desync, ..finding }, emit);
        }
        for finding in other_readings {
            self.report(frame, slot, record_id, finding, emit);
        }
        match hello {
            Some(finding) => {
                self.set_client(slot, side);
                self.note_mac_of_hello(packet, slot, &finding);
                self.report_hello(frame, slot, record_id, HandshakeFinding { desync, ..finding }, emit);
            }
            None if matches!(progress, Progress::Tunnel { .. }) => {
                self.end_requests(packet, segment, slot, record_id, progress, emit);
            }
            None if is_done && has_name => self.settle_and_watch(slot, record_id),
            None if is_done => self.settle_without_name(frame, slot, record_id, None, emit),
            None => self.enforce_memory_limit(emit),
        }
    }

    /// Holds the client's first segment, whose checksum is wrong, until the server acknowledges its bytes.
    #[cold]
    fn hold_segment(&mut self, client: Side, segment: &Segment<'_>, record_id: u32) {
        let Self { records, tcp_pool, inspection_bytes, handshake_limits, handshake_counters, .. } = self;
        let Some(record) = records.get_mut(record_id) else { return };
        let Some(inspector) = tcp_inspector(record, tcp_pool, inspection_bytes, handshake_limits, handshake_counters)
        else {
            return;
        };
        let bytes_before = inspector.memory_bytes();
        inspector.hold(client, segment, handshake_limits, handshake_counters);
        remeasure(inspection_bytes, bytes_before, inspector.memory_bytes());
    }

    /// Inspects segments of the client with a wrong checksum that this segment of the server acknowledges, and then this
    /// one.
    #[cold]
    fn inspect_acknowledged(
        &mut self,
        held: &[HeldSegment],
        packet: &FlowPacket<'_>,
        answer: &Segment<'_>,
        slot: Slot,
        record_id: u32,
        emit: &mut dyn FnMut(Event),
    ) {
        // The frame and its addresses are the server's.
        let encapsulation = Encapsulation::default();
        for held in held {
            let segment = held.segment();
            let (transport, encapsulation) = (Transport::Tcp(segment), EncapsulationSource::Decoded(&encapsulation));
            let client = FlowPacket { side: packet.side.opposite(), transport, encapsulation, ..*packet };
            if !self.has_mark(slot, SETTLED) {
                self.inspect_segment(&client, &segment, slot, record_id, emit);
            }
        }
        if self.has_mark(slot, WATCHED) {
            self.watch_segment(packet, answer, slot, emit);
        } else if !self.has_mark(slot, SETTLED) {
            self.inspect_segment(packet, answer, slot, record_id, emit);
        }
    }

    fn has_mark(&self, slot: Slot, mark: u8) -> bool {
        self.table.get(slot).is_some_and(|entry| entry.marks & mark != 0)
    }
}

/// Has the parts of a hello that came in order go on in an inspector.
#[allow(clippy::vec_box)]
fn leave_split_hello(
    record: &mut FlowRecord,
    pool: &mut Vec<Box<TcpInspector>>,
    inspection_bytes: &mut usize,
    limits: &Limits,
    counts: &mut Counts,
) {
    if matches!(&record.inspection, Inspection::SplitHello(_)) {
        tcp_inspector(record, pool, inspection_bytes, limits, counts);
    }
}

/// The inspector of a record, which is made if the connection had no payload yet, or no more than parts of a hello in order.
#[inline]
#[allow(clippy::vec_box)]
pub(super) fn tcp_inspector<'r>(
    record: &'r mut FlowRecord,
    pool: &mut Vec<Box<TcpInspector>>,
    inspection_bytes: &mut usize,
    limits: &Limits,
    counts: &mut Counts,
) -> Option<&'r mut TcpInspector> {
    if !matches!(record.inspection, Inspection::Tcp(_)) {
        let mut inspector = pool.pop().unwrap_or_default();
        let bytes_before = record.inspection.split_bytes();
        match &mut record.inspection {
            Inspection::Opening(opening) => inspector.open(*opening),
            Inspection::SplitHello(split) => inspector.take_over(split, limits, counts),
            _ => {}
        }
        remeasure(inspection_bytes, bytes_before, inspector.memory_bytes());
        record.inspection = Inspection::Tcp(inspector);
    }
    match &mut record.inspection {
        Inspection::Tcp(inspector) => Some(inspector),
        _ => None,
    }
}
