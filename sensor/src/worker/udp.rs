//! Step 4 for UDP: follow a flow until the hello of QUIC or DTLS is read.

use vigie_decode::UdpDatagram;
use vigie_flow::headers::may_open;
use vigie_flow::{Side, Slot};
use vigie_handshake::udp::Lent;
use vigie_handshake::{quic, udp};
use vigie_signatures::Bundle;

use super::dns::is_dns;
use super::findings::{EventTypes, HandshakeFinding};
use super::flows::{NAMED, PAYLOAD, client_of};
use super::packet::{FlowPacket, FrameInfo};
use super::records::{Inspection, remeasure};
use super::{Counters, Worker};
use crate::event::{Event, HelloTransport};

/// The shortest datagram in which a client sends an Initial (RFC 9000 §14.1).
const QUIC_INITIAL_BYTES_MIN: usize = 1200;

impl Worker {
    /// Handles a datagram of a flow that is not settled.
    pub(super) fn handle_udp(
        &mut self,
        packet: &FlowPacket<'_>,
        datagram: &UdpDatagram<'_>,
        slot: Slot,
        emit: &mut dyn FnMut(Event),
    ) {
        let (frame, payload) = (&packet.frame, datagram.payload);
        self.set_mark(slot, PAYLOAD);
        if is_dns(packet.key, payload) {
            return self.inspect_udp_dns(packet, payload, slot, emit);
        }
        let record_id = self.record_of(slot, packet, emit);
        let has_inspector =
            self.records.get(record_id).is_some_and(|record| matches!(record.inspection, Inspection::Udp(_)));
        if !has_inspector && udp::may_hold_hello(payload).is_none() {
            return self.count_undecided_datagram(frame, slot, record_id, emit);
        }
        self.inspect_datagram(packet, datagram, slot, record_id, emit);
    }

    /// Inspects a datagram of a flow in which a handshake was seen, or is.
    fn inspect_datagram(
        &mut self,
        packet: &FlowPacket<'_>,
        datagram: &UdpDatagram<'_>,
        slot: Slot,
        record_id: u32,
        emit: &mut dyn FnMut(Event),
    ) {
        let Self { records, udp_pool, quic_scratch, bundle, counters, event_types, inspection_bytes, .. } = self;
        let Some(record) = records.get_mut(record_id) else { return };
        if !matches!(record.inspection, Inspection::Udp(_)) {
            let inspector = udp_pool.pop().unwrap_or_default();
            *inspection_bytes += inspector.memory_bytes();
            record.inspection = Inspection::Udp(inspector);
        }
        let Inspection::Udp(inspector) = &mut record.inspection else { return };
        let bytes_before = inspector.memory_bytes();
        // Nearly always there is one at most, for which nothing is allocated.
        let (mut first, mut others) = (None, Vec::new());
        let mut lent = Lent {
            scratch: quic_scratch,
            limits: &self.handshake_limits,
            counts: &mut self.handshake_counters,
            is_rewritten: self.reassembler.is_rewritten(),
        };
        inspector.datagram(packet.side, datagram, &mut lent, &mut |hello, desync| {
            let finding = HandshakeFinding { desync, ..finding_of(hello, bundle, *event_types, counters) };
            match first {
                None => first = Some(finding),
                Some(_) => others.push(finding),
            }
        });
        let nameless = first.iter_mut().chain(&mut others).find_map(HandshakeFinding::nameless_hello);
        if let Some(hello) = nameless {
            inspector.charge(hello.memory_bytes());
            record.hello = Some(hello);
        }
        remeasure(inspection_bytes, bytes_before, inspector.memory_bytes());
        let (client, is_done) = (inspector.client(), inspector.is_done());
        if let Some(client) = client {
            self.store_connection_id(slot, packet.side == client, first.is_some(), datagram.payload);
        }
        for finding in first.into_iter().chain(others) {
            self.set_client(slot, client.unwrap_or(packet.side));
            self.note_mac_of_hello(packet, slot, &finding);
            if !finding.hides_name {
                self.set_mark(slot, NAMED);
            }
            self.report(&packet.frame, slot, record_id, finding, emit);
        }
        if is_done {
            self.settle_udp(&packet.frame, slot, record_id, emit);
        } else {
            self.enforce_memory_limit(emit);
        }
    }

    /// Settles a flow whose handshake needs no more inspection.
    fn settle_udp(&mut self, frame: &FrameInfo, slot: Slot, record_id: u32, emit: &mut dyn FnMut(Event)) {
        let Some(entry) = self.table.get_mut(slot) else { return };
        if entry.spare == 0 {
            // What was tried once is not tried again.
            entry.spare = 1;
        }
        if entry.marks & NAMED != 0 {
            return self.settle(slot, record_id);
        }
        let hello = self.records.get_mut(record_id).and_then(|record| record.hello.take());
        self.settle_without_name(frame, slot, record_id, hello, emit);
    }

    /// Counts a datagram that is neither QUIC nor DTLS. After `undecided_datagrams_max` of them the flow is settled.
    fn count_undecided_datagram(&mut self, frame: &FrameInfo, slot: Slot, record_id: u32, emit: &mut dyn FnMut(Event)) {
        let Some(entry) = self.table.get_mut(slot) else { return };
        entry.spare = entry.spare.saturating_add(1);
        if usize::from(entry.spare) >= self.limits.undecided_datagrams_max {
            entry.spare = 0;
            self.handshake_counters.undecided_datagrams += 1;
            self.settle_without_name(frame, slot, record_id, None, emit);
        }
    }

    /// Whether a datagram of a settled flow opens another connection. It does if no hello was found among the flow's first
    /// datagrams and this is one. Behind a hello of QUIC it does if it is a client's Initial to a new connection id:
    /// neither the server's, which is stored from the server's long headers, nor that of the hello that was read, which may
    /// be retransmitted.
    #[inline]
    pub(super) fn opens_another_connection(&mut self, slot: Slot, side: Side, payload: &[u8]) -> bool {
        if payload.first().is_none_or(|&first| !may_open(first)) {
            return false;
        }
        let Some(entry) = self.table.get_mut(slot) else { return false };
        let [server, hello] = entry.spare.to_be_bytes();
        if hello == 0 && entry.marks & NAMED == 0 {
            return udp::opens_a_handshake(payload);
        }
        let Some((destination, source)) = quic::connection_ids(payload) else { return false };
        if client_of(entry.marks) != side {
            entry.spare = u16::from_be_bytes([short_id_tag(source), hello]);
            return false;
        }
        let tag = short_id_tag(destination);
        server != 0 && payload.len() >= QUIC_INITIAL_BYTES_MIN && tag != server && tag != hello
    }

    /// Stores the connection id that a client's hello was sent to, or the server's.
    fn store_connection_id(&mut self, slot: Slot, is_client: bool, has_hello: bool, payload: &[u8]) {
        let Some(entry) = self.table.get_mut(slot) else { return };
        let Some((destination, source)) = quic::connection_ids(payload) else { return };
        let [_, hello] = entry.spare.to_be_bytes();
        match (is_client, has_hello) {
            (true, true) => entry.spare = u16::from_be_bytes([0, short_id_tag(destination)]),
            (true, false) => {}
            (false, _) => entry.spare = u16::from_be_bytes([short_id_tag(source), hello]),
        }
    }
}

/// A hash of 16 bits, never 0, of what distinguishes a connection from another one with the same 5-tuple: the initial
/// sequence number of TCP, a connection id of QUIC.
#[inline]
pub(super) fn id_tag(id: &[u8]) -> u16 {
    let mixed =
        id.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    ((mixed >> 32) as u16).max(1)
}

/// The same in 8 bits, where two have to fit. One connection in 128 is then mistaken for the one before it.
fn short_id_tag(id: &[u8]) -> u8 {
    (id_tag(id) as u8).max(1)
}

/// Matches a hello over UDP.
pub(super) fn finding_of(
    hello: &udp::Hello<'_>,
    bundle: &Bundle,
    event_types: EventTypes,
    counters: &mut Counters,
) -> HandshakeFinding {
    match hello {
        udp::Hello::Quic(version, hello) => {
            HandshakeFinding::from_hello(hello, HelloTransport::Quic(*version), bundle, event_types, counters)
        }
        udp::Hello::Dtls(hello) => {
            HandshakeFinding::from_hello(hello, HelloTransport::Dtls, bundle, event_types, counters)
        }
        udp::Hello::Chlo(chlo) => HandshakeFinding::from_chlo(chlo, bundle, event_types, counters),
    }
}
