//! Step 6: from findings to events. A flow is sighted once, or once for each service if its bytes contradict each other. A
//! flow without a usable name is matched by what DNS told the client about the server's address, then by the address itself.

use std::sync::Arc;

use vigie_decode::Address;
use vigie_flow::{FlowEntry, Side, Slot};
use vigie_handshake::neighbours::MacAddress;
use vigie_handshake::tls::Ja4Raw;
use vigie_handshake::udp::Lent;
use vigie_signatures::{Bundle, Rule};

use super::counters::HelloSeen;
use super::findings::{EventTypes, HandshakeFinding};
use super::flows::{CLIENT_IS_HIGH, desync_of, event_flow};
use super::packet::FrameInfo;
use super::records::Inspection;
use super::udp::finding_of;
use super::waiting::WaitingFlow;
use super::{Counter, Counters, HelloScope, Worker};
use crate::detect::{self, Evidence, Match, NameMatch};
use crate::event::{Event, Fact, Flow, Hello, HelloTransport, Sighting};

impl Worker {
    /// Reports a hello, and settles the flow, unless the server's certificate may show the name that the hello hides.
    pub(super) fn report_hello(
        &mut self,
        frame: &FrameInfo,
        slot: Slot,
        record_id: u32,
        mut finding: HandshakeFinding,
        emit: &mut dyn FnMut(Event),
    ) {
        let nameless_hello = finding.nameless_hello();
        let (hides_name, may_show_certificate) = (finding.hides_name, finding.may_show_certificate);
        let is_uncontradicted = finding.desync.is_empty();
        self.report(frame, slot, record_id, finding, emit);
        if may_show_certificate && is_uncontradicted {
            self.await_certificate(slot, record_id, nameless_hello);
        } else if hides_name {
            self.settle_without_name(frame, slot, record_id, nameless_hello, emit);
        } else {
            self.settle_and_watch(slot, record_id);
        }
    }

    /// Reports a hello of which the rest will not come.
    pub(super) fn report_partial_hello(
        &mut self,
        frame: &FrameInfo,
        slot: Slot,
        record_id: u32,
        emit: &mut dyn FnMut(Event),
    ) {
        let Self { records, bundle, counters, event_types, .. } = self;
        let Some(record) = records.get_mut(record_id) else { return };
        let mut lent = Lent {
            scratch: &mut self.quic_scratch,
            limits: &self.handshake_limits,
            counts: &mut self.handshake_counters,
            is_rewritten: self.reassembler.is_rewritten(),
        };
        let mut partial = take_partial_hellos(&mut record.inspection, &mut lent, bundle, *event_types, counters);
        let last = partial.pop();
        for (client, finding) in partial {
            self.set_client(slot, client);
            self.report(frame, slot, record_id, finding, emit);
        }
        let Some((client, finding)) = last else { return };
        self.set_client(slot, client);
        self.report_hello(frame, slot, record_id, finding, emit);
    }

    /// Settles a flow that showed no usable name.
    pub(super) fn settle_without_name(
        &mut self,
        frame: &FrameInfo,
        slot: Slot,
        record_id: u32,
        hello: Option<Box<Hello>>,
        emit: &mut dyn FnMut(Event),
    ) {
        if self.awaits_names_of(frame.timestamp_ns) {
            if let (Some(entry), Some(record)) = (self.table.get(slot), self.records.get(record_id)) {
                let flow = event_flow(entry, Some(record), frame);
                let (client_mac, desync) = (self.client_macs.get(flow.client), desync_of(entry));
                let place = Some((slot, record_id));
                let waiting = WaitingFlow { flow, client_mac, frame: *frame, hello, desync, place, end: None };
                self.await_names_of(waiting, emit);
            }
        } else if let Some(entry) = self.table.get(slot)
            && let Some(finding) = self.find_without_name(entry, frame.timestamp_ns, hello)
        {
            self.report(frame, slot, record_id, finding, emit);
        }
        self.settle_and_watch(slot, record_id);
    }

    /// The finding of a flow that showed no usable name, if a rule matches.
    pub(super) fn find_without_name(
        &self,
        entry: &FlowEntry,
        now_ns: u64,
        hello: Option<Box<Hello>>,
    ) -> Option<HandshakeFinding> {
        let matched = self.match_without_name(entry, now_ns)?;
        Some(HandshakeFinding { matched: Some(matched), hello, ..HandshakeFinding::default() })
    }

    /// Matches a flow that showed no usable name.
    pub(super) fn match_without_name(&self, entry: &FlowEntry, now_ns: u64) -> Option<Match> {
        let key = entry.key();
        let (client, server) =
            if entry.marks & CLIENT_IS_HIGH != 0 { (key.high, key.low) } else { (key.low, key.high) };
        self.match_server(client, self.client_macs.get(client), server, now_ns)
    }

    /// Matches what DNS told the client about a server's address, then the address itself.
    pub(super) fn match_server(
        &self,
        client: Address,
        client_mac: Option<MacAddress>,
        server: Address,
        now_ns: u64,
    ) -> Option<Match> {
        let by_dns = || {
            let name = self.names.lookup(Some(client), server, now_ns);
            let name = name.or_else(|| self.name_told_to_host(client, client_mac?, server, now_ns))?;
            match detect::match_name(&self.bundle, name.as_bytes(), Evidence::Dns) {
                NameMatch::Matched(matched) => Some(matched),
                NameMatch::Unmatched | NameMatch::NotAHostName => None,
            }
        };
        by_dns().or_else(|| detect::match_address(&self.bundle, server))
    }

    /// Reports a finding of a flow.
    #[inline]
    pub(super) fn report(
        &mut self,
        frame: &FrameInfo,
        slot: Slot,
        record_id: u32,
        finding: HandshakeFinding,
        emit: &mut dyn FnMut(Event),
    ) {
        if self.event_types.candidates {
            self.emit_candidate(frame, slot, record_id, &finding, emit);
        }
        if let Some(hello) = finding.seen {
            self.count_hello_of(frame, slot, record_id, hello);
        }
        if !finding.emits_event() {
            self.count_match(&finding);
            return;
        }
        let (Some(entry), Some(record)) = (self.table.get(slot), self.records.get_mut(record_id)) else { return };
        let mut sighted = record.sighted.take();
        let finding = finding.with_desync(desync_of(entry));
        let flow = event_flow(entry, Some(record), frame);
        self.emit_finding(&flow, &mut sighted, frame, finding, emit);
        if let Some(record) = self.records.get_mut(record_id) {
            record.sighted = sighted;
        }
    }

    /// Emits a name that no signature knows, if the server is in a known prefix.
    #[cold]
    fn emit_candidate(
        &mut self,
        frame: &FrameInfo,
        slot: Slot,
        record_id: u32,
        finding: &HandshakeFinding,
        emit: &mut dyn FnMut(Event),
    ) {
        if finding.matched.is_some() || finding.hides_name {
            return;
        }
        let Some(name) = finding.hello.as_ref().and_then(|hello| hello.server_name.as_deref()) else { return };
        let Some(entry) = self.table.get(slot) else { return };
        let flow = event_flow(entry, self.records.get(record_id), frame);
        let Some(rule) = self.bundle.address(flow.server.ip()).map(Arc::clone) else { return };
        self.emit(frame, Fact::Candidate(Box::new(flow), name.into(), rule), emit);
    }

    /// Counts a hello of a flow, if its client is in scope.
    fn count_hello_of(&mut self, frame: &FrameInfo, slot: Slot, record_id: u32, hello: HelloSeen) {
        if self.hello_scope.is_none() {
            self.counters.add_hello(frame.interface, hello);
        } else if let Some(entry) = self.table.get(slot) {
            let flow = event_flow(entry, self.records.get(record_id), frame);
            self.count_hello(&flow, Some(hello));
        }
    }

    /// The same, of a flow as events show it.
    pub(super) fn count_hello(&mut self, flow: &Flow, hello: Option<HelloSeen>) {
        let Some(hello) = hello else { return };
        let mac = || self.scope_macs.get(flow.client).or_else(|| self.client_macs.get(flow.client));
        let is_in_scope = |scope: &HelloScope| scope(flow, mac());
        if self.hello_scope.as_ref().is_none_or(is_in_scope) {
            self.counters.add_hello(flow.interface, hello);
        }
    }

    fn count_match(&mut self, finding: &HandshakeFinding) {
        if let Some(matched) = &finding.matched {
            self.counters.add(Counter::Matches, 1);
            self.counters.add(Counter::MatchesNotAlerting, u64::from(!matched.rule.raises_alert()));
        }
    }

    /// Emits the events of a finding: the hello, if hellos are reported, and the sighting. `sighted` keeps the rule of the
    /// flow's sighting, so that there is no second one. A flow of another worker is that worker's to report.
    pub(super) fn emit_finding(
        &mut self,
        flow: &Flow,
        sighted: &mut Option<Arc<Rule>>,
        frame: &FrameInfo,
        finding: HandshakeFinding,
        emit: &mut dyn FnMut(Event),
    ) {
        if self.is_foreign() {
            return;
        }
        self.count_match(&finding);
        let HandshakeFinding { mut hello, reports_hello, request, matched, desync, is_other_name, .. } = finding;
        if let Some(hello) = &mut hello {
            hello.ja4 = hello.ja4.take().map(Ja4Raw::written);
        }
        if reports_hello && let Some(hello) = &hello {
            self.emit(frame, Fact::Hello(Box::new(flow.clone()), hello.clone()), emit);
        }
        if let Some(request) = request {
            self.emit(frame, Fact::Http(Box::new(flow.clone()), Box::new(request)), emit);
        }
        let Some(Match { rule, evidence, name, name_as_sent }) = matched.filter(|matched| !matched.rule.is_silent())
        else {
            return;
        };
        // What supports others gives way to what can speak for itself. The name of a decoy does not hide the true one.
        let is_new = match sighted {
            None => true,
            Some(before) => {
                is_other_name
                    || (rule.raises_alert() && !before.raises_alert())
                    || (!desync.is_empty() && before.service != rule.service)
            }
        };
        if !is_new {
            return;
        }
        *sighted = Some(Arc::clone(&rule));
        self.counters.add(Counter::Sightings, 1);
        let client_mac = self.client_macs.get(flow.client);
        let (flow, hello) = (flow.clone(), hello.map(|hello| *hello));
        let sighting = Sighting { flow, client_mac, evidence, name, name_as_sent, rule, hello, desync, summarised: 0 };
        self.emit(frame, Fact::Sighting(Box::new(sighting)), emit);
    }

    /// Emits an event of a frame.
    pub(super) fn emit(&mut self, frame: &FrameInfo, fact: Fact, emit: &mut dyn FnMut(Event)) {
        self.emit_at(frame.timestamp_ns, frame.number, fact, emit);
    }

    /// Emits an event, unless it is of another worker's flow.
    pub(super) fn emit_at(&mut self, timestamp_ns: u64, frame_number: u64, fact: Fact, emit: &mut dyn FnMut(Event)) {
        if self.is_foreign() {
            return;
        }
        self.order.ordinal += 1;
        emit(Event { timestamp_ns, frame_number, order: self.order, fact });
    }
}

/// Takes the hellos of which the rest will not come out of an inspection: each one's client and finding. Only a flow over
/// UDP has more than one.
pub(super) fn take_partial_hellos(
    inspection: &mut Inspection,
    lent: &mut Lent<'_>,
    bundle: &Bundle,
    event_types: EventTypes,
    counters: &mut Counters,
) -> Vec<(Side, HandshakeFinding)> {
    let mut findings = Vec::new();
    match inspection {
        Inspection::SplitHello(split) => {
            if let Some((client, hello)) = split.take_partial_hello(lent.counts) {
                let finding = HandshakeFinding::from_hello(&hello, HelloTransport::Tcp, bundle, event_types, counters);
                findings.push((client, finding));
            }
        }
        Inspection::Tcp(inspector) => {
            if let Some((client, hello)) = inspector.take_partial_hello(lent.limits) {
                let finding = HandshakeFinding::from_hello(&hello, HelloTransport::Tcp, bundle, event_types, counters);
                findings.push((client, finding));
            }
        }
        Inspection::Udp(inspector) => {
            let client = inspector.client().unwrap_or(Side::Low);
            inspector.finish(lent, &mut |hello, desync| {
                let finding = finding_of(hello, bundle, event_types, counters);
                findings.push((client, HandshakeFinding { desync, ..finding }));
            });
        }
        Inspection::None | Inspection::Opening(_) | Inspection::Http(_) => {}
    }
    findings
}
