//! The lines that the writer adds to the journal: records of events, changes of incidents, alerts. It counts an alert as
//! written when its line is.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use vigie_journal::record::{Coverage, Stats};
use vigie_judgement::{Finding, Sighting, Step};
use vigie_signatures::{Bundle, Rule};

use super::event_output::EventOutput;
use super::incident_log::IncidentLog;
use super::outbox::Dropped;
use crate::audit::{Audit, AuditEvent};
use crate::detect::Evidence;
use crate::event::{Event, Fact, HelloTransport};
use crate::judging::{CoverageHistory, Output};
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
    /// What was covered lately; empty without a journal.
    pub coverage: CoverageHistory,
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
            coverage: CoverageHistory::default(),
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
        self.coverage.add(coverage);
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
            let coverage = match change.step {
                Step::Closed(_) => self.coverage.of_incident(change.incident),
                _ => None,
            };
            record::encode_incident(change, coverage, &self.context, &mut encoded);
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use serde_json::{Value, json};
    use vigie_journal::{Journal, JournalOptions};
    use vigie_judgement::policy::Policy;

    use super::*;
    use crate::judging::tests::{event_at, flow, sighting_at};
    use crate::judging::{Judging, Limits, StateFile};

    /// 27 November 2026, 08:00 UTC.
    const START_NS: u64 = 1_795_766_400_000_000_000;
    const SECOND_NS: u64 = 1_000_000_000;

    fn lines(folder: &std::path::Path) -> EventLines {
        let (journal, _) = Journal::open(folder, JournalOptions::default()).unwrap();
        EventLines::new(journal.into(), Context::default(), &[], &Shared::new("tap", &[], 0).unwrap())
    }

    fn incidents(folder: &std::path::Path) -> Vec<Value> {
        let text = std::fs::read_to_string(folder.join("00000001.jsonl")).unwrap();
        let events = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        events.filter(|event| event["alert"]["gid"] == 7).collect()
    }

    #[test]
    fn an_incident_that_closes_tells_what_was_covered_also_after_a_restart() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("journal");
        let judging = || Judging::new(Bundle::builtin(), Arc::new(Policy::builtin()), Limits::default());
        let (mut before, mut out) = (judging(), lines(&folder));
        for (seconds, name) in [(0, "tnc16-platform-useast1a.tiktokv.com"), (20, "api16-normal-useast1a.tiktokv.com")] {
            before.take(sighting_at(START_NS + seconds * SECOND_NS, flow(seconds + 1, 0), name), &[], &mut out);
        }
        before.judge_all(&mut out);
        // The sensor is blind for 30 seconds of the first minute, and stops after the second.
        for (minute, blind_s) in [(1, 30), (2, 0)] {
            let timestamp_ns = START_NS + minute * 60 * SECOND_NS;
            let (packets, hellos, hellos_nameless) = (999, 50, 5);
            let window_s = 60;
            out.coverage(&Coverage {
                timestamp_ns,
                window_s,
                blind_s,
                packets,
                drops_ring: 1,
                hellos,
                hellos_nameless,
                ..Coverage::default()
            });
        }
        let file = StateFile::new(root.path().join("state"));
        file.save(&before.save().with_coverage(&out.coverage)).unwrap();
        out.output.write().unwrap();
        drop(out);
        let (mut after, mut out) = (judging(), lines(&folder));
        let mut saved = file.load().unwrap().unwrap();
        out.coverage = saved.take_coverage();
        after.resume(saved, &mut out);
        // It runs again for the fourth minute. The day is over.
        out.coverage(&Coverage { timestamp_ns: START_NS + 240 * SECOND_NS, window_s: 60, ..Coverage::default() });
        let clock = Fact::Clock { both_directions: true };
        after.take(event_at(START_NS + 86_400 * SECOND_NS, clock), &[], &mut out);
        out.output.write().unwrap();
        let told = incidents(&folder);
        let [opened, closed] = &told[..] else { panic!("{told:?}") };
        assert!(opened["alert"]["context"]["vigie"].get("coverage").is_none(), "{opened}");
        assert_eq!(closed["alert"]["metadata"]["incident_closed"], json!(["day-over"]));
        // Of 240 seconds 60 were without the sensor, and 30 blind.
        let covered = json!({"span_s": 240, "seen_ppm": 625_000, "blind_s": 30, "off_s": 60, "drops_ppm": 1_000,
            "hellos": 100, "hellos_nameless": 10, "hellos_ech": 0});
        assert_eq!(closed["alert"]["context"]["vigie"]["coverage"], covered);
    }
}
