//! Step 4 for UDP: follow a flow until the hello of QUIC or DTLS is read.

use vigie_flow::{Side, Slot};
use vigie_handshake::{dtls, quic, udp};
use vigie_signatures::Bundle;

use super::findings::{EventTypes, HandshakeFinding};
use super::flows::{CLIENT_IS_HIGH, PAYLOAD, SETTLED};
use super::packet::{FlowPacket, FrameInfo};
use super::records::Inspection;
use super::{Counters, DNS_PORT, Worker};
use crate::event::{Event, HelloTransport};

/// The shortest datagram in which a client sends an Initial (RFC 9000 §14.1).
const QUIC_INITIAL_BYTES_MIN: usize = 1200;

impl Worker {
    /// Handles a datagram of a flow that is not settled.
    pub(super) fn handle_udp(
        &mut self,
        packet: &FlowPacket<'_>,
        payload: &[u8],
        slot: Slot,
        emit: &mut dyn FnMut(Event),
    ) {
        let (frame, side) = (&packet.frame, packet.side);
        self.set_mark(slot, PAYLOAD);
        if packet.key.has_port(DNS_PORT) && !udp::opens_a_handshake(payload) {
            return self.inspect_udp_dns(packet, payload, slot, emit);
        }
        let record_id = self.record_of(slot, packet, emit);
        let has_inspector =
            self.records.get(record_id).is_some_and(|record| matches!(record.inspection, Inspection::Udp(_)));
        if !has_inspector && !quic::looks_like_quic(payload) && !dtls::looks_like_dtls(payload) {
            return self.count_undecided_datagram(frame, slot, record_id, emit);
        }
        let Self { records, udp_pool, quic_scratch, bundle, counters, event_types, inspection_bytes, .. } = self;
        let Some(record) = records.get_mut(record_id) else { return };
        if !matches!(record.inspection, Inspection::Udp(_)) {
            let inspector = udp_pool.pop().unwrap_or_default();
            *inspection_bytes += inspector.memory_bytes();
            record.inspection = Inspection::Udp(inspector);
        }
        let Inspection::Udp(inspector) = &mut record.inspection else { return };
        let bytes_before = inspector.memory_bytes();
        let hello = inspector.datagram(payload, quic_scratch, &self.handshake_limits, &mut self.handshake_counters);
        let finding = hello.map(|hello| finding_of(&hello, bundle, *event_types, counters));
        *inspection_bytes = (*inspection_bytes + inspector.memory_bytes()).saturating_sub(bytes_before);
        let is_done = inspector.is_done();
        match finding {
            Some(finding) => {
                self.set_client(slot, side);
                self.store_hello_connection(slot, payload);
                self.report_hello(frame, slot, record_id, finding, emit);
            }
            None if is_done => self.settle_without_name(frame, slot, record_id, None, emit),
            None => self.enforce_memory_limit(emit),
        }
    }

    /// Counts a datagram that is neither QUIC nor DTLS. After `undecided_datagrams_max` of them the flow is settled.
    fn count_undecided_datagram(&mut self, frame: &FrameInfo, slot: Slot, record_id: u32, emit: &mut dyn FnMut(Event)) {
        let Some(entry) = self.table.get_mut(slot) else { return };
        entry.spare = entry.spare.saturating_add(1);
        if usize::from(entry.spare) >= self.limits.undecided_datagrams_max {
            entry.spare = 0;
            self.handshake_counters.undecided_datagrams += 1;
            self.report_partial_hello(frame, slot, record_id, emit);
            if self.table.get(slot).is_some_and(|entry| entry.marks & SETTLED == 0) {
                self.settle_without_name(frame, slot, record_id, None, emit);
            }
        }
    }

    /// Whether a datagram of a settled flow opens another QUIC connection. It does if it is a client's Initial to a new
    /// connection id: neither the server's, which is stored from the server's long headers, nor that of the hello that was
    /// read, which may be retransmitted.
    #[inline]
    pub(super) fn opens_another_connection(&mut self, slot: Slot, side: Side, payload: &[u8]) -> bool {
        if payload.first().is_none_or(|&first| first & 0xc0 != 0xc0) {
            return false;
        }
        let Some(entry) = self.table.get_mut(slot) else { return false };
        let Some((destination, source)) = quic::connection_ids(payload) else { return false };
        let [server, hello] = entry.spare.to_be_bytes();
        let is_client = (entry.marks & CLIENT_IS_HIGH != 0) == (side == Side::High);
        if !is_client {
            entry.spare = u16::from_be_bytes([short_id_tag(source), hello]);
            return false;
        }
        let tag = short_id_tag(destination);
        server != 0 && payload.len() >= QUIC_INITIAL_BYTES_MIN && tag != server && tag != hello
    }

    /// Stores the connection id that a hello was sent to.
    fn store_hello_connection(&mut self, slot: Slot, payload: &[u8]) {
        if let (Some(entry), Some((destination, _))) = (self.table.get_mut(slot), quic::connection_ids(payload)) {
            entry.spare = u16::from_be_bytes([0, short_id_tag(destination)]);
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
