//! Step 4 for DNS: remember which names the answers resolve, and emit the answers if they are to be reported. A flow of DNS
//! never settles.

use vigie_decode::{Address, Segment, Transport};
use vigie_flow::{FlowEntry, FlowKey, Side, Slot};
use vigie_handshake::address_names::{AddressNames, Query};
use vigie_handshake::opening::Desync;
use vigie_handshake::{dns, udp};
use vigie_signatures::Bundle;

use super::findings::EventTypes;
use super::flows::event_flow;
use super::packet::FlowPacket;
use super::records::{Inspection, remeasure};
use super::udp::id_tag;
use super::{Counter, Counters, DNS_PORT, Worker};
use crate::detect::{Evidence, Match, NameMatch, match_host, match_name};
use crate::event::{DnsAnswer, Event, Fact, Flow, Sighting};

const TCP: u8 = 6;
const UDP: u8 = 17;

/// Whether a datagram is DNS: on the port of DNS all are that open no handshake, on any other port those that look like it.
#[inline]
pub(super) fn is_dns(key: &FlowKey, payload: &[u8]) -> bool {
    if key.has_port(DNS_PORT) { !udp::opens_a_handshake(payload) } else { is_dns_elsewhere(key, payload) }
}

/// Whether a packet is DNS by its looks, although neither of its ports is that of DNS.
#[inline]
pub(super) fn is_dns_elsewhere(key: &FlowKey, payload: &[u8]) -> bool {
    let ports = (key.low_port(), key.high_port());
    match key.protocol {
        UDP => dns::is_datagram_on_other_ports(ports, payload),
        TCP => dns::is_segment_on_other_ports(ports, payload) || dns::is_message_on_other_ports(ports, payload),
        _ => false,
    }
}

/// Whether a packet is of DNS, whose answers all workers remember.
pub(super) fn is_dns_packet(packet: &FlowPacket<'_>) -> bool {
    packet.key.has_port(DNS_PORT)
        || match packet.transport {
            Transport::Udp(datagram) => is_dns_elsewhere(packet.key, datagram.payload),
            Transport::Tcp(segment) => is_dns_elsewhere(packet.key, segment.payload),
            Transport::Other => false,
        }
}

impl Worker {
    /// Inspects a DNS message over UDP.
    pub(super) fn inspect_udp_dns(
        &mut self,
        packet: &FlowPacket<'_>,
        payload: &[u8],
        slot: Slot,
        emit: &mut dyn FnMut(Event),
    ) {
        let record_id = if self.event_types.flows { self.record_of(slot, packet, emit) } else { 0 };
        let Some(message) = dns::Message::parse(payload) else { return };
        let client = if message.is_response() { packet.side.opposite() } else { packet.side };
        self.set_client(slot, client);
        if message.is_response() {
            self.note_dns_client(packet);
        }
        let query = self.query(slot, client);
        let mut answers = AnswerReader {
            names: &self.names,
            bundle: &self.bundle,
            counters: &mut self.counters,
            event_types: self.event_types,
            client: packet.destination(),
            query,
            now_ns: packet.frame.timestamp_ns,
            reported: Vec::new(),
        };
        answers.read(&message);
        let reported = answers.reported;
        self.emit_answers(packet, slot, record_id, reported, emit);
    }

    /// Inspects a segment of DNS over TCP (RFC 1035 §4.2.2). It may complete several messages.
    pub(super) fn inspect_tcp_dns(
        &mut self,
        packet: &FlowPacket<'_>,
        segment: &Segment<'_>,
        slot: Slot,
        record_id: u32,
        emit: &mut dyn FnMut(Event),
    ) {
        let query = self.query(slot, packet.side.opposite());
        let Some(record) = self.records.get_mut(record_id) else { return };
        let Inspection::Tcp(inspector) = &mut record.inspection else { return };
        let bytes_before = inspector.memory_bytes();
        let mut answers = AnswerReader {
            names: &self.names,
            bundle: &self.bundle,
            counters: &mut self.counters,
            event_types: self.event_types,
            client: packet.destination(),
            query,
            now_ns: packet.frame.timestamp_ns,
            reported: Vec::new(),
        };
        let mut has_answers = false;
        inspector.dns(packet.side, segment, &self.handshake_limits, |message| {
            has_answers |= message.is_response();
            answers.read(message);
        });
        let reported = answers.reported;
        remeasure(&mut self.inspection_bytes, bytes_before, inspector.memory_bytes());
        if has_answers {
            self.note_dns_client(packet);
        }
        self.emit_answers(packet, slot, record_id, reported, emit);
        self.enforce_memory_limit(emit);
    }

    /// Whether the flow had a packet of this client, which is its query.
    fn query(&self, slot: Slot, client: Side) -> Query {
        let has_packet = self.table.get(slot).is_some_and(|entry| {
            let counter = if client == Side::Low { entry.from_low } else { entry.from_high };
            FlowEntry::counted(counter).0 > 0
        });
        if has_packet { Query::Seen } else { Query::Unseen }
    }

    fn emit_answers(
        &mut self,
        packet: &FlowPacket<'_>,
        slot: Slot,
        record_id: u32,
        answers: Vec<ReadAnswer>,
        emit: &mut dyn FnMut(Event),
    ) {
        for ReadAnswer { question, answer } in answers {
            let Some(entry) = self.table.get(slot) else { return };
            let flow = event_flow(entry, self.records.get(record_id), &packet.frame);
            if let Some((matched, tag)) = question {
                self.emit_question(packet, slot, &flow, matched, tag, emit);
            }
            if let Some(answer) = answer {
                self.emit(&packet.frame, Fact::Dns(Box::new(flow), Box::new(answer)), emit);
            }
        }
    }

    /// Emits a question that matches a signature. Answers of several types to the same question make one event.
    fn emit_question(
        &mut self,
        packet: &FlowPacket<'_>,
        slot: Slot,
        flow: &Flow,
        matched: Match,
        tag: u16,
        emit: &mut dyn FnMut(Event),
    ) {
        let Some(entry) = self.table.get_mut(slot) else { return };
        // No other protocol uses the entry's spare field for a flow that never settles.
        if std::mem::replace(&mut entry.spare, tag) == tag {
            return;
        }
        let Match { rule, evidence, name, name_as_sent } = matched;
        let (flow, client_mac, desync) = (flow.clone(), packet.client_mac_of_answer(), Desync::default());
        let question =
            Sighting { flow, client_mac, evidence, name, name_as_sent, rule, hello: None, desync, summarised: 0 };
        self.emit(&packet.frame, Fact::Question(Box::new(question)), emit);
    }
}

/// What an answer leads to.
struct ReadAnswer {
    /// Its question, if a signature matches it, and a tag that tells questions apart.
    question: Option<(Match, u16)>,
    /// The answer, if answers are reported.
    answer: Option<DnsAnswer>,
}

/// Reads DNS answers into the table of names, and collects those to report.
struct AnswerReader<'w> {
    names: &'w AddressNames,
    bundle: &'w Bundle,
    counters: &'w mut Counters,
    event_types: EventTypes,
    client: Address,
    query: Query,
    now_ns: u64,
    reported: Vec<ReadAnswer>,
}

impl AnswerReader<'_> {
    fn read(&mut self, message: &dns::Message<'_>) {
        if !message.is_response() {
            return;
        }
        self.counters.add(Counter::DnsAnswers, 1);
        let mut name = dns::DnsName::new();
        let mut question = None;
        if message.question().is_some_and(|question| question.name.read(&mut name).is_some()) {
            let text = name.as_str();
            let without_room = self.names.insert_answer_of(text, Some(self.client), self.query, message, self.now_ns);
            self.counters.add(Counter::AddressNames, without_room);
            question = self.matched_question(text, name.is_plain_host());
        }
        let answer = if self.event_types.dns { message.to_answer() } else { None };
        let answer = answer.map(|mut answer| {
            answer.cut(self.event_types.texts.answers_bytes_max);
            self.counters.add(Counter::AnswersCut, u64::from(answer.is_cut));
            answer
        });
        if question.is_some() || answer.is_some() {
            self.reported.push(ReadAnswer { question, answer });
        }
    }

    /// The name of a question, if a signature matches it that is not silenced.
    fn matched_question(&self, name: &str, is_plain_host: bool) -> Option<(Match, u16)> {
        let matched = match is_plain_host {
            true => match_host(self.bundle, name, Evidence::Dns),
            false => match_name(self.bundle, name.as_bytes(), Evidence::Dns),
        };
        match matched {
            NameMatch::Matched(matched) if !matched.rule.is_silent() => Some((matched, id_tag(name.as_bytes()))),
            _ => None,
        }
    }
}
