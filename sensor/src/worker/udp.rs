//! UDP datagrams of a flow that is not settled: QUIC and DTLS hellos.

use vigie_flow::{Side, Slot};
use vigie_handshake::{dtls, quic, udp};
use vigie_signatures::Bundle;

use super::findings::{EventTypes, Told};
use super::flows::{CLIENT_IS_HIGH, PAYLOAD, SETTLED};
use super::packet::{Arrival, When};
use super::records::Dialogue;
use super::{Counters, DNS_PORT, Worker};
use crate::event::{Event, HelloTransport};

/// The least that a datagram with a client's Initial has (RFC 9000 §14.1).
const QUIC_INITIAL_BYTES_MIN: usize = 1200;

impl Worker {
    pub(super) fn udp(&mut self, arrival: &Arrival<'_>, payload: &[u8], slot: Slot, emit: &mut dyn FnMut(Event)) {
        let (when, side) = (&arrival.when, arrival.side);
        self.mark(slot, PAYLOAD);
        if arrival.key.has_port(DNS_PORT) && !udp::opens_a_handshake(payload) {
            return self.udp_dns(arrival, payload, slot, emit);
        }
        let number = self.record(slot, arrival, emit);
        let has_dialogue = self.records.get(number).is_some_and(|record| matches!(record.dialogue, Dialogue::Udp(_)));
        if !has_dialogue && !quic::looks_like_quic(payload) && !dtls::looks_like_dtls(payload) {
            return self.no_hello(when, slot, number, emit);
        }
        let Self {
            records,
            udp_pool,
            handshake_limits,
            handshake_counters,
            scratch,
            bundle,
            counters,
            wanted,
            held_bytes,
            ..
        } = self;
        let Some(record) = records.get_mut(number) else { return };
        if !matches!(record.dialogue, Dialogue::Udp(_)) {
            let dialogue = udp_pool.pop().unwrap_or_default();
            *held_bytes += dialogue.memory_bytes();
            record.dialogue = Dialogue::Udp(dialogue);
        }
        let Dialogue::Udp(dialogue) = &mut record.dialogue else { return };
        let held_before = dialogue.memory_bytes();
        let hello = dialogue.datagram(payload, scratch, handshake_limits, handshake_counters);
        let told = hello.map(|hello| udp_hello(&hello, bundle, *wanted, counters));
        *held_bytes = (*held_bytes + dialogue.memory_bytes()).saturating_sub(held_before);
        let is_over = dialogue.is_done();
        match told {
            Some(told) => {
                self.set_client(slot, side);
                self.note_connection(slot, payload);
                self.told_hello(when, slot, number, told, emit);
            }
            None if is_over => self.settle_nameless(when, slot, number, None, emit),
            None => self.keep_within_memory(emit),
        }
    }

    /// A datagram that no hello is in; after many of them none is expected.
    fn no_hello(&mut self, when: &When, slot: Slot, number: u32, emit: &mut dyn FnMut(Event)) {
        let Some(entry) = self.table.get_mut(slot) else { return };
        entry.spare = entry.spare.saturating_add(1);
        if usize::from(entry.spare) >= self.limits.undecided_datagrams_max {
            entry.spare = 0;
            self.handshake_counters.undecided_datagrams += 1;
            self.tell_partial(when, slot, number, emit);
            if self.table.get(slot).is_some_and(|entry| entry.marks & SETTLED == 0) {
                self.settle_nameless(when, slot, number, None, emit);
            }
        }
    }

    /// Whether a datagram of a settled flow opens another QUIC connection: a client's Initial to a connection id that is
    /// neither the server's, which is noted from the server's own long headers, nor that of the hello that was told,
    /// which may be sent again.
    #[inline]
    pub(super) fn is_another_connection(&mut self, slot: Slot, side: Side, payload: &[u8]) -> bool {
        if payload.first().is_none_or(|&first| first & 0xc0 != 0xc0) {
            return false;
        }
        let Some(entry) = self.table.get_mut(slot) else { return false };
        let Some((destination, source)) = quic::connection_ids(payload) else { return false };
        let [of_server, of_hello] = entry.spare.to_be_bytes();
        let is_client = (entry.marks & CLIENT_IS_HIGH != 0) == (side == Side::High);
        if !is_client {
            entry.spare = u16::from_be_bytes([half_mark_of(source), of_hello]);
            return false;
        }
        let mark = half_mark_of(destination);
        of_server != 0 && payload.len() >= QUIC_INITIAL_BYTES_MIN && mark != of_server && mark != of_hello
    }

    /// Notes to which connection id a hello went.
    fn note_connection(&mut self, slot: Slot, payload: &[u8]) {
        if let (Some(entry), Some((destination, _))) = (self.table.get_mut(slot), quic::connection_ids(payload)) {
            entry.spare = u16::from_be_bytes([0, half_mark_of(destination)]);
        }
    }
}

/// Sixteen bits of what tells a connection from another of the same ends, never 0.
pub(super) fn mark_of(id: &[u8]) -> u16 {
    let mixed =
        id.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    ((mixed >> 32) as u16).max(1)
}

/// Eight bits of it, where two have to be kept; one connection in 128 is then taken for the one before it.
fn half_mark_of(id: &[u8]) -> u8 {
    (mark_of(id) as u8).max(1)
}

pub(super) fn udp_hello(hello: &udp::Hello<'_>, bundle: &Bundle, wanted: EventTypes, counters: &mut Counters) -> Told {
    match hello {
        udp::Hello::Quic(version, hello) => {
            Told::hello(hello, HelloTransport::Quic(*version), bundle, wanted, counters)
        }
        udp::Hello::Dtls(hello) => Told::hello(hello, HelloTransport::Dtls, bundle, wanted, counters),
        udp::Hello::Chlo(chlo) => Told::chlo(chlo, bundle, wanted, counters),
    }
}
