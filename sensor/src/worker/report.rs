//! From what a flow told to events: records of hellos, and alerts.

use std::sync::Arc;

use vigie_flow::{FlowEntry, Side, Slot};
use vigie_signatures::{Bundle, Rule};

use super::findings::{EventTypes, Told};
use super::flows::{CLIENT_IS_HIGH, flow_of};
use super::packet::When;
use super::records::Dialogue;
use super::udp::udp_hello;
use super::{Counter, Counters, Worker};
use crate::detect::{self, Evidence, Judged, Match};
use crate::event::{Alert, Event, Fact, Flow, Hello, HelloTransport};

impl Worker {
    /// A hello was told: the flow is settled, unless the server's certificate may tell what the hello did not.
    pub(super) fn told_hello(&mut self, when: &When, slot: Slot, number: u32, told: Told, emit: &mut dyn FnMut(Event)) {
        let nameless = if told.hides_name { told.hello.clone() } else { None };
        let (hides_name, may_show_certificate) = (told.hides_name, told.may_show_certificate);
        self.tell(when, slot, number, told, emit);
        if may_show_certificate
            && let Some(record) = self.records.get_mut(number)
            && let Dialogue::Tcp(dialogue) = &mut record.dialogue
        {
            let held_before = dialogue.memory_bytes();
            dialogue.await_certificate(nameless.as_ref().map_or(0, Hello::memory_bytes));
            record.nameless = nameless.map(Box::new);
            self.held_bytes = (self.held_bytes + dialogue.memory_bytes()).saturating_sub(held_before);
        } else if hides_name {
            self.settle_nameless(when, slot, number, nameless, emit);
        } else {
            self.settle(slot, number);
        }
    }

    /// Nothing more will be said, and no name was: what DNS told the client of this server, then whose the server's
    /// address is.
    pub(super) fn settle_nameless(
        &mut self,
        when: &When,
        slot: Slot,
        number: u32,
        hello: Option<Hello>,
        emit: &mut dyn FnMut(Event),
    ) {
        let told = self.table.get(slot).and_then(|entry| self.without_a_name(entry, when.timestamp_ns, hello));
        if let Some(told) = told {
            self.tell(when, slot, number, told, emit);
        }
        self.settle(slot, number);
    }

    /// What is known of a flow that told no name.
    pub(super) fn without_a_name(&self, entry: &FlowEntry, now_ns: u64, hello: Option<Hello>) -> Option<Told> {
        let matched = self.match_without_a_name(entry, now_ns)?;
        Some(Told { matched: Some(matched), hello, ..Told::default() })
    }

    /// What a flow that told no name matches.
    pub(super) fn match_without_a_name(&self, entry: &FlowEntry, now_ns: u64) -> Option<Match> {
        let key = entry.key();
        let (client, server) =
            if entry.marks & CLIENT_IS_HIGH != 0 { (key.high, key.low) } else { (key.low, key.high) };
        let by_dns = || {
            let name = self.names.lookup(Some(client), server, now_ns)?;
            match detect::by_name(&self.bundle, name.as_bytes(), Evidence::Dns) {
                Judged::Matched(matched) => Some(matched),
                Judged::Unmatched | Judged::NotAHostName => None,
            }
        };
        by_dns().or_else(|| detect::by_address(&self.bundle, server))
    }

    pub(super) fn tell(&mut self, when: &When, slot: Slot, number: u32, told: Told, emit: &mut dyn FnMut(Event)) {
        if !told.is_worth_telling() {
            self.count_match(&told);
            return;
        }
        let (Some(entry), Some(record)) = (self.table.get(slot), self.records.get_mut(number)) else { return };
        let mut rule = record.rule.take();
        let flow = flow_of(entry, Some(record), when);
        self.tell_of(&flow, &mut rule, (when.timestamp_ns, when.number), told, emit);
        if let Some(record) = self.records.get_mut(number) {
            record.rule = rule;
        }
    }

    /// Tells a hello whose tail will not come any more.
    pub(super) fn tell_partial(&mut self, when: &When, slot: Slot, number: u32, emit: &mut dyn FnMut(Event)) {
        let Self { records, handshake_limits, bundle, counters, wanted, .. } = self;
        let Some(record) = records.get_mut(number) else { return };
        let Some((client, told)) = partial(&mut record.dialogue, handshake_limits, bundle, *wanted, counters) else {
            return;
        };
        if let Some(client) = client {
            self.set_client(slot, client);
        }
        self.told_hello(when, slot, number, told, emit);
    }

    /// Writes what was told of a flow: the hello's own record if wanted, and the alert if the rule raises one and the
    /// flow has none yet, which `alerted` keeps.
    pub(super) fn tell_of(
        &mut self,
        flow: &Flow,
        alerted: &mut Option<Arc<Rule>>,
        (timestamp_ns, number): (u64, u64),
        told: Told,
        emit: &mut dyn FnMut(Event),
    ) {
        self.count_match(&told);
        let Told { hello, is_wanted, matched, .. } = told;
        if is_wanted && let Some(hello) = &hello {
            let fact = Fact::Hello(Box::new(flow.clone()), Box::new(hello.clone()));
            self.emit(timestamp_ns, number, fact, emit);
        }
        let Some(Match { rule, evidence, name }) = matched.filter(|matched| matched.rule.raises_alert()) else {
            return;
        };
        if alerted.is_none() {
            *alerted = Some(Arc::clone(&rule));
            self.counters.add(Counter::Alerts, 1);
            let alert = Alert { flow: flow.clone(), evidence, name, rule, hello };
            self.emit(timestamp_ns, number, Fact::Alert(Box::new(alert)), emit);
        }
    }

    fn count_match(&mut self, told: &Told) {
        if let Some(matched) = &told.matched {
            self.counters.add(Counter::Matches, 1);
            self.counters.add(Counter::MatchesSilent, u64::from(!matched.rule.raises_alert()));
        }
    }

    pub(super) fn emit(&mut self, timestamp_ns: u64, frame_number: u64, fact: Fact, emit: &mut dyn FnMut(Event)) {
        self.order.ordinal += 1;
        emit(Event { timestamp_ns, frame_number, order: self.order, fact });
    }
}

/// What a dialogue heard of a hello whose tail will not come, and from whom if that is known.
pub(super) fn partial(
    dialogue: &mut Dialogue,
    limits: &vigie_handshake::Limits,
    bundle: &Bundle,
    wanted: EventTypes,
    counters: &mut Counters,
) -> Option<(Option<Side>, Told)> {
    match dialogue {
        Dialogue::Tcp(dialogue) => {
            let (side, hello) = dialogue.take_partial_hello(limits)?;
            Some((Some(side), Told::hello(&hello, HelloTransport::Tcp, bundle, wanted, counters)))
        }
        Dialogue::Udp(dialogue) => {
            let hello = dialogue.take_partial_hello()?;
            Some((None, udp_hello(&hello, bundle, wanted, counters)))
        }
        Dialogue::Over | Dialogue::Opening(..) => None,
    }
}
