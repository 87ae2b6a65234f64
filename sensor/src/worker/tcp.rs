//! TCP segments of a flow that is not settled: the connection's opening, the client's hello or clear text, the server's
//! certificate.

use vigie_decode::Segment;
use vigie_flow::{Side, Slot};

use super::dns::Answers;
use super::findings::Told;
use super::flows::{CLIENT_KNOWN, PAYLOAD, SETTLED, mark_client};
use super::packet::{Arrival, When};
use super::records::Dialogue;
use super::udp::mark_of;
use super::{Counter, DNS_PORT, Worker};
use crate::detect::{self, Evidence, Judged};
use crate::event::{Event, FlowEnd, HelloTransport};

impl Worker {
    pub(super) fn tcp(
        &mut self,
        arrival: &Arrival<'_>,
        segment: &Segment<'_>,
        slot: Slot,
        emit: &mut dyn FnMut(Event),
    ) {
        if segment.flags & Segment::SYN != 0 && !self.syn(arrival, segment, slot, emit) {
            return;
        }
        let ends = segment.flags & (Segment::FIN | Segment::RST) != 0;
        if segment.payload.is_empty() && !ends {
            if self.wanted.flows {
                self.record(slot, arrival, emit);
            }
            return;
        }
        let number = self.record(slot, arrival, emit);
        if number == 0 {
            return;
        }
        if !segment.payload.is_empty() {
            self.mark(slot, PAYLOAD);
            self.tcp_payload(arrival, segment, slot, number, emit);
        }
        if ends {
            self.tell_partial(&arrival.when, slot, number, emit);
        }
    }

    /// A connection opens, perhaps on the 5-tuple of another. False for the opening, sent again, of one that is settled.
    fn syn(&mut self, arrival: &Arrival<'_>, segment: &Segment<'_>, slot: Slot, emit: &mut dyn FnMut(Event)) -> bool {
        let side = arrival.side;
        if segment.flags & Segment::ACK != 0 {
            self.answer(segment, slot, side);
            return true;
        }
        let Some(entry) = self.table.get(slot) else { return false };
        let opening = mark_of(&segment.sequence.to_be_bytes());
        if entry.marks & SETTLED != 0 {
            if entry.spare == opening {
                self.seen(entry.record, &arrival.when);
                return false;
            }
            self.reopen(slot, arrival, FlowEnd::Timeout, emit);
        }
        if let Some(entry) = self.table.get_mut(slot) {
            entry.spare = opening;
        }
        self.set_client(slot, side);
        let number = self.record(slot, arrival, emit);
        let first_byte = segment.sequence.wrapping_add(1);
        if let Some(record) = self.records.get_mut(number) {
            match &mut record.dialogue {
                Dialogue::Tcp(dialogue) => dialogue.begin(side, first_byte),
                Dialogue::Over | Dialogue::Opening(..) | Dialogue::Udp(_) => {
                    record.dialogue = Dialogue::Opening(side, first_byte, None);
                }
            }
        }
        true
    }

    /// A connection's opening is answered: that side's bytes are no client's of which the beginning was missed.
    pub(super) fn answer(&mut self, segment: &Segment<'_>, slot: Slot, side: Side) {
        let Some(entry) = self.table.get_mut(slot) else { return };
        entry.marks = mark_client(entry.marks, side.opposite()) | CLIENT_KNOWN;
        let first_byte = segment.sequence.wrapping_add(1);
        match self.records.get_mut(entry.record).map(|record| &mut record.dialogue) {
            Some(Dialogue::Opening(client, _, answer)) if *client != side => *answer = Some(first_byte),
            Some(Dialogue::Tcp(dialogue)) => dialogue.begin_answer(side, first_byte),
            _ => {}
        }
    }

    fn tcp_payload(
        &mut self,
        arrival: &Arrival<'_>,
        segment: &Segment<'_>,
        slot: Slot,
        number: u32,
        emit: &mut dyn FnMut(Event),
    ) {
        let (when, side) = (&arrival.when, arrival.side);
        let Self {
            records,
            tcp_pool,
            handshake_limits,
            handshake_counters,
            bundle,
            names,
            counters,
            wanted,
            held_bytes,
            ..
        } = self;
        let Some(record) = records.get_mut(number) else { return };
        if !matches!(record.dialogue, Dialogue::Tcp(_)) {
            let mut dialogue = tcp_pool.pop().unwrap_or_default();
            *held_bytes += dialogue.memory_bytes();
            if let Dialogue::Opening(client, first_byte, answer) = record.dialogue {
                dialogue.begin(client, first_byte);
                if let Some(first_byte) = answer {
                    dialogue.begin(client.opposite(), first_byte);
                }
            }
            record.dialogue = Dialogue::Tcp(dialogue);
        }
        let Dialogue::Tcp(dialogue) = &mut record.dialogue else { return };
        if dialogue.awaits_certificate() {
            let held_before = dialogue.memory_bytes();
            let names = dialogue.server_segment(segment, handshake_limits);
            *held_bytes = (*held_bytes + dialogue.memory_bytes()).saturating_sub(held_before);
            match names {
                Some(names) => self.certificate(when, slot, number, &names, emit),
                None => self.keep_within_memory(emit),
            }
            return;
        }
        if arrival.key.has_port(DNS_PORT) && dialogue.is_dns(segment.payload) {
            let held_before = dialogue.memory_bytes();
            let client = arrival.destination();
            let mut answers =
                Answers { names, counters, wanted: *wanted, client, now_ns: when.timestamp_ns, owned: Vec::new() };
            dialogue.dns(side, segment, handshake_limits, |message| answers.take(message));
            let owned = answers.owned;
            *held_bytes = (*held_bytes + dialogue.memory_bytes()).saturating_sub(held_before);
            self.tell_answers(when, slot, number, owned, emit);
            return self.keep_within_memory(emit);
        }
        let held_before = dialogue.memory_bytes_of(side);
        let heard = dialogue.segment(side, segment, handshake_limits, handshake_counters);
        let name = heard.name.map(|(kind, name)| Told::clear_text(kind, name, bundle, counters));
        let has_name = name.is_some();
        let tell = |hello: &_| Told::hello(hello, HelloTransport::Tcp, bundle, *wanted, counters);
        let hello = heard.hello.as_ref().map(tell);
        let is_over = dialogue.is_done();
        // What ends here keeps its memory for the next flow.
        if !is_over && hello.is_none() {
            dialogue.free_unused(side);
        }
        *held_bytes = (*held_bytes + dialogue.memory_bytes_of(side)).saturating_sub(held_before);
        if let Some(told) = name {
            self.set_client(slot, side);
            self.tell(when, slot, number, told, emit);
        }
        match hello {
            Some(told) => {
                self.set_client(slot, side);
                self.told_hello(when, slot, number, told, emit);
            }
            None if is_over && has_name => self.settle(slot, number),
            None if is_over => self.settle_nameless(when, slot, number, None, emit),
            None => self.keep_within_memory(emit),
        }
    }

    pub(super) fn certificate(
        &mut self,
        when: &When,
        slot: Slot,
        number: u32,
        names: &[String],
        emit: &mut dyn FnMut(Event),
    ) {
        self.counters.add(Counter::Certificates, u64::from(!names.is_empty()));
        let hello = self.records.get_mut(number).and_then(|record| record.nameless.take()).map(|hello| *hello);
        let matched = names.iter().find_map(|name| {
            let name = name.strip_prefix("*.").unwrap_or(name);
            match detect::by_name(&self.bundle, name.as_bytes(), Evidence::TlsCertificate) {
                Judged::Matched(matched) if matched.rule.raises_alert() => Some(matched),
                _ => None,
            }
        });
        match matched {
            Some(matched) => {
                self.tell(when, slot, number, Told { matched: Some(matched), hello, ..Told::default() }, emit);
                self.settle(slot, number);
            }
            None => self.settle_nameless(when, slot, number, hello, emit),
        }
    }
}
