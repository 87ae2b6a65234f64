//! The lines that the writer adds to the journal: records of events, changes of incidents, alerts. It counts an alert as
//! written when its line is.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use vigie_journal::record::{Coverage, Stats};
use vigie_judgement::{Finding, Sighting};
use vigie_signatures::{Bundle, Rule};

use super::event_output::EventOutput;
use super::incident_log::IncidentLog;
use super::outbox::Dropped;
use crate::audit::{Audit, AuditEvent};
use crate::detect::Evidence;
use crate::event::{Event, Fact, HelloTransport};
use crate::judging::Output;
use crate::privacy::{Privacy, Rotation};
use crate::record::{self, Context, Under};
use crate::settings::Record;
use crate::telemetry::{Loss, Shared};

/// The alert in a line of the journal's buffer: rule, evidence, and time of the packet.
type WaitingAlert = (Arc<Rule>, Evidence, u64);

/// Lines on their way to the journal.
pub struct EventLines {
    /// The journal or file.
    pub output: EventOutput,
    context: Context,
    records: Vec<Record>,
    shared: Arc<Shared>,
    /// The lines in the journal's buffer; `None` is an event other than an alert.
    waiting: VecDeque<Option<WaitingAlert>>,
    audit: Option<Arc<Audit>>,
    /// Why an audit line could not be written.
    pub audit_error: Option<io::Error>,
    /// Where changes of incidents survive a kill, if there is a journal.
    pub incident_log: Option<IncidentLog>,
    /// Buffer for the line of an incident.
    incident_line: Vec<u8>,
}

impl EventLines {
    /// Lines to a journal; besides incidents and alerts these records.
    pub fn new(output: EventOutput, context: Context, records: &[Record], shared: &Arc<Shared>) -> Self {
        let (shared, waiting) = (Arc::clone(shared), VecDeque::new());
        Self {
            output,
            context,
            records: records.to_vec(),
            shared,
            waiting,
            audit: None,
            audit_error: None,
            incident_log: None,
            incident_line: Vec::new(),
        }
    }

    /// Tells new keys to the audit.
    pub fn audited(self, audit: Option<Arc<Audit>>) -> Self {
        Self { audit, ..self }
    }

    /// The names of the interfaces.
    pub fn interfaces(&self) -> &[String] {
        &self.context.interfaces
    }

    /// Replaces the signatures, which know more of a server's address.
    pub fn use_signatures(&mut self, bundle: &Arc<Bundle>) {
        self.context.bundle = Some(Arc::clone(bundle));
    }

    /// Adds the record of an event, if records of its type are written.
    pub fn event(&mut self, event: &Event) {
        if record_of(&event.fact).is_some_and(|record| self.records.contains(&record)) {
            self.line(None, |context, line| record::encode(event, context, line));
        }
    }

    /// Adds a stats record.
    pub fn stats(&mut self, stats: &Stats) {
        self.line(None, |context, line| record::encode_stats(stats, context, line));
    }

    /// Adds what an interface covered.
    pub fn coverage(&mut self, coverage: &Coverage) {
        self.line(None, |context, line| record::encode_coverage(coverage, context, line));
    }

    /// Adds lines as they are, each with its newline.
    pub fn copy(&mut self, lines: &[u8]) {
        for copied in lines.split_inclusive(|byte| *byte == b'\n') {
            self.line(None, |_, line| line.extend_from_slice(copied));
        }
    }

    /// The audit.
    pub const fn audit(&self) -> Option<&Arc<Audit>> {
        self.audit.as_ref()
    }

    /// Counts what the journal has written: lines and bytes.
    pub fn take_written(&mut self) -> (u64, u64) {
        let written = self.output.take_written();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let lines = (written.lines as usize).min(self.waiting.len());
        for (rule, evidence, timestamp_ns) in self.waiting.drain(..lines).flatten() {
            self.shared.alert_written(&rule, evidence, now.checked_sub(Duration::from_nanos(timestamp_ns)));
        }
        (written.lines, written.bytes)
    }

    /// Gives up what waits, and counts it as lost.
    pub fn give_up(&mut self, given_up: &mut Dropped) {
        self.output.give_up();
        for alert in self.waiting.drain(..) {
            count_lost(given_up, alert.is_some(), &self.shared);
        }
    }

    fn line(&mut self, alert: Option<WaitingAlert>, encode: impl FnOnce(&Context, &mut Vec<u8>)) {
        self.output.add_line(|line| encode(&self.context, line));
        self.waiting.push_back(alert);
    }
}

impl Output for EventLines {
    fn use_pseudonyms(&mut self, privacy: &Privacy, rotation: Rotation) {
        self.context.pseudonyms = privacy.pseudonyms().map(Arc::clone);
        if let (Some(from), Some(audit)) = (rotation.from, &self.audit) {
            let event = AuditEvent::KeyRotated { from: &from.to_string(), to: &rotation.to.to_string() };
            self.audit_error = audit.write(&event).err();
        }
    }

    fn finding(&mut self, finding: &Finding<'_>) {
        if let Finding::Incident(change) = finding {
            self.shared.incident_changed(change);
            let mut encoded = std::mem::take(&mut self.incident_line);
            encoded.clear();
            record::encode_incident(change, &self.context, &mut encoded);
            if let Some(log) = &mut self.incident_log {
                log.add(change, &encoded);
            }
            self.line(None, |_, line| line.extend_from_slice(&encoded));
            self.incident_line = encoded;
        }
    }

    fn judged(&mut self, sighting: &Sighting<'_>) {
        if sighting.bytes_to_client > 0 || sighting.bytes_to_server > 0 {
            let region = vigie_judgement::region(sighting.name).map_or("", |(region, _)| region);
            self.shared.service_bytes(sighting.service, region, sighting.bytes_to_client, sighting.bytes_to_server);
        }
    }

    fn alert(&mut self, sighting: &Event, under: &[Under]) {
        let Fact::Sighting(matched) = &sighting.fact else { return };
        let alert = (Arc::clone(&matched.rule), matched.evidence, sighting.timestamp_ns);
        self.shared.alert_encoded();
        self.line(Some(alert), |context, line| record::encode_alert(sighting, context, under, line));
    }
}

/// Counts an event that will never be written.
pub fn count_lost(given_up: &mut Dropped, is_alert: bool, shared: &Shared) {
    if is_alert {
        given_up.alerts += 1;
        shared.alerts_lost(Loss::SinkFailed, 1);
    } else {
        given_up.others += 1;
        shared.events_dropped(Loss::SinkFailed, 1);
    }
}

/// The record that an event makes by itself.
const fn record_of(fact: &Fact) -> Option<Record> {
    Some(match fact {
        Fact::Sighting(_) | Fact::Question(_) => Record::Sighting,
        Fact::Hello(_, hello) => match hello.transport {
            HelloTransport::Tcp | HelloTransport::Dtls => Record::Tls,
            HelloTransport::Quic(_) => Record::Quic,
        },
        Fact::Http(..) => Record::Http,
        Fact::Dns(..) => Record::Dns,
        Fact::FlowEnd(..) => Record::Flow,
        Fact::Candidate(..) | Fact::Clients(_) | Fact::FlowBytes(_) | Fact::Clock { .. } => return None,
    })
}
