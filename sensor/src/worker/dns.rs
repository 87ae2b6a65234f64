//! DNS messages: their answers are remembered, and told if they are wanted.

use vigie_decode::Address;
use vigie_flow::Slot;
use vigie_handshake::address_names::AddressNames;
use vigie_handshake::dns;

use super::findings::EventTypes;
use super::flows::flow_of;
use super::packet::{Arrival, When};
use super::{Counter, Counters, Worker};
use crate::event::{DnsAnswer, Event, Fact};

impl Worker {
    /// A datagram of DNS: its answers are remembered. Such a flow never settles.
    pub(super) fn udp_dns(&mut self, arrival: &Arrival<'_>, payload: &[u8], slot: Slot, emit: &mut dyn FnMut(Event)) {
        let (when, side) = (&arrival.when, arrival.side);
        let number = if self.wanted.flows { self.record(slot, arrival, emit) } else { 0 };
        let Some(message) = dns::Message::parse(payload) else { return };
        let client = if message.is_response() { side.opposite() } else { side };
        self.set_client(slot, client);
        let mut answers = Answers {
            names: &self.names,
            counters: &mut self.counters,
            wanted: self.wanted,
            client: arrival.destination(),
            now_ns: when.timestamp_ns,
            owned: Vec::new(),
        };
        answers.take(&message);
        let owned = answers.owned;
        self.tell_answers(when, slot, number, owned, emit);
    }

    pub(super) fn tell_answers(
        &mut self,
        when: &When,
        slot: Slot,
        number: u32,
        answers: Vec<DnsAnswer>,
        emit: &mut dyn FnMut(Event),
    ) {
        for answer in answers {
            let Some(entry) = self.table.get(slot) else { return };
            let flow = flow_of(entry, self.records.get(number), when);
            self.emit(when.timestamp_ns, when.number, Fact::Dns(Box::new(flow), Box::new(answer)), emit);
        }
    }
}

/// Takes DNS answers: into the map of names, and as records if they are wanted.
pub(super) struct Answers<'w> {
    pub(super) names: &'w AddressNames,
    pub(super) counters: &'w mut Counters,
    pub(super) wanted: EventTypes,
    pub(super) client: Address,
    pub(super) now_ns: u64,
    pub(super) owned: Vec<DnsAnswer>,
}

impl Answers<'_> {
    pub(super) fn take(&mut self, message: &dns::Message<'_>) {
        if !message.is_response() {
            return;
        }
        self.counters.add(Counter::DnsAnswers, 1);
        self.names.insert_answer(Some(self.client), message, self.now_ns);
        if self.wanted.dns {
            self.owned.extend(message.to_answer());
        }
    }
}
