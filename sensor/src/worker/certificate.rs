//! The server's certificate, where the hello hides its name.

use vigie_decode::Segment;
use vigie_flow::{Side, Slot};
use vigie_handshake::tcp::Certificate;
use vigie_handshake::tls::certificate::for_each_name;
use vigie_signatures::Bundle;

use super::findings::HandshakeFinding;
use super::flows::client_of;
use super::packet::FlowPacket;
use super::records::{Inspection, remeasure};
use super::tcp::tcp_inspector;
use super::watch::is_watch_over;
use super::{Counter, Worker};
use crate::detect::{self, Evidence, Match, NameMatch};
use crate::event::{Event, Hello};

impl Worker {
    /// Reads the server's side for its certificate from now on, because the hello hides its name.
    #[cold]
    pub(super) fn await_certificate(&mut self, slot: Slot, record_id: u32, nameless_hello: Option<Box<Hello>>) {
        let client = self.table.get(slot).map_or(Side::Low, |entry| client_of(entry.marks));
        let Self { records, tcp_pool, inspection_bytes, .. } = self;
        let Some(record) = records.get_mut(record_id) else { return };
        let limits = &self.handshake_limits;
        let Some(inspector) = tcp_inspector(record, tcp_pool, inspection_bytes, limits, &mut self.handshake_counters)
        else {
            return;
        };
        let bytes_before = inspector.memory_bytes();
        inspector.await_certificate(client, nameless_hello.as_deref().map_or(0, Hello::memory_bytes));
        remeasure(inspection_bytes, bytes_before, inspector.memory_bytes());
        record.hello = nameless_hello;
    }

    /// Inspects a segment of the client while the server's certificate is awaited, because its hello had no usable name: a
    /// decoy without a name may stand in the place of the true hello.
    #[cold]
    pub(super) fn inspect_later_hello(
        &mut self,
        packet: &FlowPacket<'_>,
        segment: &Segment<'_>,
        slot: Slot,
        record_id: u32,
        emit: &mut dyn FnMut(Event),
    ) {
        let Some(record) = self.records.get(record_id) else { return };
        let Inspection::Tcp(inspector) = &record.inspection else { return };
        if inspector.is_answered() || is_watch_over(inspector, packet.side) {
            return;
        }
        let findings = self.find_contradictions(packet, segment, record_id).findings;
        let has_name = findings.iter().any(|finding| !finding.hides_name);
        for finding in findings {
            self.report(&packet.frame, slot, record_id, finding, emit);
        }
        if !has_name {
            return self.enforce_memory_limit(emit);
        }
        if let Some(record) = self.records.get_mut(record_id) {
            record.hello = None;
            if let Inspection::Tcp(inspector) = &mut record.inspection {
                let bytes_before = inspector.memory_bytes();
                inspector.stop_awaiting_certificate();
                remeasure(&mut self.inspection_bytes, bytes_before, inspector.memory_bytes());
            }
        }
        self.settle_and_watch(slot, record_id);
    }

    /// Inspects a segment of the server for its certificate, and settles the flow when that is read.
    pub(super) fn inspect_certificate(
        &mut self,
        packet: &FlowPacket<'_>,
        segment: &Segment<'_>,
        slot: Slot,
        record_id: u32,
        emit: &mut dyn FnMut(Event),
    ) {
        if self.is_hello_retried(packet.side.opposite(), segment, record_id) {
            return self.enforce_memory_limit(emit);
        }
        let Some(record) = self.records.get_mut(record_id) else { return };
        let Inspection::Tcp(inspector) = &mut record.inspection else { return };
        let bytes_before = inspector.memory_bytes();
        let (mut has_names, mut matched) = (false, None);
        let certificate = inspector.certificate_segment(packet.side, segment, &self.handshake_limits);
        let is_awaited = certificate == Certificate::Awaited;
        if let Certificate::Found(der) = certificate {
            for_each_name(der, |name| {
                has_names = true;
                if matched.is_none() {
                    matched = match_certificate_name(&self.bundle, name);
                }
            });
        }
        remeasure(&mut self.inspection_bytes, bytes_before, inspector.memory_bytes());
        if is_awaited {
            return self.enforce_memory_limit(emit);
        }
        let hello = record.hello.take();
        self.counters.add(Counter::Certificates, u64::from(has_names));
        match matched {
            Some(matched) => {
                let finding = HandshakeFinding { matched: Some(matched), hello, ..HandshakeFinding::default() };
                self.report(&packet.frame, slot, record_id, finding, emit);
                self.settle(slot, record_id);
            }
            None => self.settle_without_name(&packet.frame, slot, record_id, hello, emit),
        }
    }
}

/// Matches a name of a certificate with the rules that may raise an alert.
fn match_certificate_name(bundle: &Bundle, name: &str) -> Option<Match> {
    let name = name.strip_prefix("*.").unwrap_or(name);
    match detect::match_name(bundle, name.as_bytes(), Evidence::TlsCertificate) {
        NameMatch::Matched(matched) if matched.rule.raises_alert() => Some(matched),
        _ => None,
    }
}
