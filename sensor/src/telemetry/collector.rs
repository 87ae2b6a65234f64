//! Collects everything at a scrape: reads the cells, sums over workers, and gives the values to their families. Nothing
//! is collected between scrapes.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use vigie_journal::JournalStatus;
use vigie_metrics::{Family, Identity, Monitored, Reason, Scrape, Stalled};
use vigie_signatures::Verdict;

use super::cells::WorkerCells;
use super::detections::INCIDENT_STATES;
use super::families::*;
use super::readiness::{Cause, Readiness, Thresholds};
use super::shared::{Loss, Shared, epoch_seconds, locked};
use super::worker_counts::{WORKER_COUNTS, is_per_worker, worker_count};

/// The sensor as its metrics endpoint shows it.
pub struct MonitoredSensor {
    shared: Arc<Shared>,
    readiness: Mutex<Readiness>,
}

impl MonitoredSensor {
    /// The sensor with this state, which is ready within these thresholds.
    pub fn new(shared: Arc<Shared>, thresholds: Thresholds) -> Arc<Self> {
        Arc::new(Self { shared, readiness: Mutex::new(Readiness::new(thresholds)) })
    }
}

impl Monitored for MonitoredSensor {
    fn identity(&self) -> Identity {
        Identity {
            program: "vigie",
            role: "Sensor",
            name: self.shared.sensor().to_owned(),
            version: env!("CARGO_PKG_VERSION"),
            readiness: "whether the sensor sees its traffic, and if not, why",
        }
    }

    fn families(&self) -> &'static [Family] {
        FAMILIES
    }

    fn collect(&self, scrape: &mut Scrape) {
        scrape.set(BUILD_INFO, &[env!("CARGO_PKG_VERSION"), std::env::consts::ARCH], 1.0);
        scrape.set(START_TIME, &[], epoch_seconds(self.shared.started_at));
        readiness(&self.shared, scrape);
        capture(&self.shared, scrape);
        workers(&self.shared, scrape);
        detection(&self.shared, scrape);
        losses(&self.shared, scrape);
        sinks(&self.shared, scrape);
        journal(&self.shared, scrape);
        signatures(&self.shared, scrape);
        watchdog(&self.shared, scrape);
        scrape.histogram(&self.shared.latency);
    }

    fn sample(&self) {
        test_hook();
        locked(&self.readiness).sample(&self.shared);
    }

    fn not_ready(&self) -> Vec<Reason> {
        let reasons = self.shared.reasons().into_iter();
        reasons.map(|reason| Reason { code: reason.cause.as_str(), detail: reason.detail }).collect()
    }

    fn stalled(&self) -> Vec<Stalled> {
        let stall_max = locked(&self.readiness).thresholds().stall_max;
        self.shared.stalled(stall_max).into_iter().map(|(worker, age)| Stalled { worker, age }).collect()
    }
}

/// Panics where a test wants the endpoint to fail; in programs that are built for tests only.
#[cfg(debug_assertions)]
fn test_hook() {
    assert!(std::env::var_os("TEST_OF_VIGIE_METRICS_PANIC").is_none(), "a test wants this panic");
}

#[cfg(not(debug_assertions))]
const fn test_hook() {}

fn readiness(shared: &Shared, scrape: &mut Scrape) {
    let reasons = shared.reasons();
    scrape.set(READY, &[], f64::from(u8::from(reasons.is_empty())));
    for cause in Cause::ALL {
        let holds = reasons.iter().any(|reason| reason.cause == cause);
        scrape.set(NOT_READY, &[cause.as_str()], f64::from(u8::from(holds)));
    }
}

fn capture(shared: &Shared, scrape: &mut Scrape) {
    for interface in locked(&shared.interfaces).iter() {
        let name = interface.name.as_str();
        scrape.set(INTERFACE_UP, &[name], f64::from(u8::from(interface.up.load(Relaxed))));
        scrape.set(CAPTURE_SILENCE, &[name], interface.silence_ms.load(Relaxed) as f64 / 1000.0);
        scrape.add(SHUNTED_PACKETS, &[name], interface.shunted.load(Relaxed));
        scrape.add(SHUNTED_BYTES, &[name], interface.shunted_bytes.load(Relaxed));
        scrape.add(INTERFACE_REOPENED, &[name], interface.reopened.load(Relaxed));
        scrape.add(CAPTURE_PACKETS, &[name], 0);
        scrape.add(CAPTURE_BYTES, &[name], 0);
        scrape.add(CAPTURE_DROPS, &[name, "interface"], interface.dropped.load(Relaxed));
        scrape.add(CAPTURE_DROPS, &[name, "ring"], 0);
        scrape.add(CAPTURE_DROPS, &[name, "sensor"], 0);
    }
    scrape.set(SHUNT_IN_USE, &[], shared.shunt_slots_in_use.load(Relaxed) as f64);
    scrape.set(SHUNT_SLOTS, &[], shared.shunt_slots.load(Relaxed) as f64);
    for capture in locked(&shared.captures).iter() {
        let (name, worker, counts) = (capture.interface.as_str(), capture.worker.to_string(), capture.counts());
        scrape.add(CAPTURE_PACKETS, &[name], counts.packets);
        scrape.add(CAPTURE_BYTES, &[name], counts.bytes);
        scrape.add(CAPTURE_DROPS, &[name, "ring"], counts.dropped_ring);
        scrape.add(CAPTURE_DROPS, &[name, "sensor"], counts.dropped_sensor);
        scrape.add(WORKER_DROPS, &[&worker], counts.dropped_ring + counts.dropped_sensor);
    }
}

fn workers(shared: &Shared, scrape: &mut Scrape) {
    for &(.., family, values) in WORKER_COUNTS.iter().filter(|count| !is_per_worker(count.2)) {
        scrape.add(family, values, 0);
    }
    for (worker, panics) in locked(&shared.worker_panics).iter() {
        scrape.add(WORKER_PANICS, &[&worker.to_string()], *panics);
    }
    let now_ms = shared.now_ms();
    for (number, cells) in shared.workers.iter().enumerate() {
        let worker = number.to_string();
        let worker = worker.as_str();
        counts(worker, cells, scrape);
        let reading = cells.reading();
        scrape.add(WORKER_DROPS, &[worker], 0);
        scrape.set(WORKER_BUSY_SECONDS, &[worker], reading.busy.as_secs_f64());
        scrape.set(WORKER_BUSY_RATIO, &[worker], reading.busy_ratio);
        scrape.set(WORKER_IDLE, &[worker], now_ms.saturating_sub(reading.progress_ms) as f64 / 1000.0);
        scrape.set(WORKER_FLOWS, &[worker], reading.flows as f64);
        scrape.set(WORKER_FLOW_SLOTS, &[worker], reading.flow_slots as f64);
        scrape.set(WORKER_PENDING, &[worker], reading.pending as f64);
        scrape.set(CHANNEL_DEPTH, &[worker], reading.channel_depth as f64);
        scrape.set(CHANNEL_CAPACITY, &[worker], reading.channel_capacity as f64);
    }
}

fn counts(worker: &str, cells: &WorkerCells, scrape: &mut Scrape) {
    for (index, &(group, reason)) in cells.labels().iter().enumerate() {
        let count = cells.load(index);
        match worker_count(group, reason) {
            Some((family, values)) if is_per_worker(family) => {
                scrape.add(family, &[&[worker], values].concat(), count);
            }
            Some((family, values)) => scrape.add(family, values, count),
            None => scrape.add(UNMAPPED, &[group, reason], count),
        }
    }
}

fn detection(shared: &Shared, scrape: &mut Scrape) {
    for severity in ["1", "2", "3"] {
        for verdict in Verdict::ALL {
            scrape.add(ALERTS, &[severity, verdict.as_str()], 0);
        }
    }
    let detections = locked(&shared.detections);
    for ((severity, verdict), count) in &detections.incidents {
        scrape.add(INCIDENTS, &[&severity.to_string(), verdict.as_str()], *count);
    }
    for (state, count) in INCIDENT_STATES.iter().zip(detections.incident_records) {
        scrape.add(INCIDENT_RECORDS, &[state], count);
    }
    scrape.set(INCIDENTS_OPEN, &[], detections.incidents_open as f64);
    scrape.set(ASSETS_LISTED, &[], detections.assets.0 as f64);
    scrape.set(ASSETS_SEEN, &[], detections.assets.1 as f64);
    for (limit, count) in &detections.judgement_limits {
        scrape.add(JUDGEMENT_LIMITS, &[limit], *count);
    }
    for ((service, region), [to_client, to_server]) in &detections.service_bytes {
        scrape.add(SERVICE_BYTES, &[service, region, "to_client"], *to_client);
        scrape.add(SERVICE_BYTES, &[service, region, "to_server"], *to_server);
    }
    for ((severity, verdict), count) in &detections.alerts {
        scrape.add(ALERTS, &[&severity.to_string(), verdict.as_str()], *count);
    }
    for (key, count) in &detections.matches {
        scrape.add(MATCHES, &[&key.service, key.role.as_str(), key.evidence.as_str()], *count);
    }
}

fn losses(shared: &Shared, scrape: &mut Scrape) {
    scrape.add(ALERTS_SUMMARISED, &[], shared.alerts_summarised_total());
    for reason in Loss::ALL {
        scrape.add(ALERTS_LOST, &[reason.as_str()], shared.alerts_lost.get(reason));
        scrape.add(EVENTS_DROPPED, &[reason.as_str()], shared.events_dropped.get(reason));
    }
}

fn sinks(shared: &Shared, scrape: &mut Scrape) {
    for sink in locked(&shared.sinks).iter() {
        let name = sink.name.as_str();
        scrape.add(SINK_EVENTS, &[name], sink.events.load(Relaxed));
        scrape.add(SINK_BYTES, &[name], sink.bytes.load(Relaxed));
        scrape.add(SINK_ERRORS, &[name], sink.errors.load(Relaxed));
    }
}

fn journal(shared: &Shared, scrape: &mut Scrape) {
    let without = JournalStatus::default();
    let journal = shared.journal.get().map_or(&without, |journal| journal.as_ref());
    scrape.set(JOURNAL_SEGMENTS, &[], journal.segments() as f64);
    scrape.set(JOURNAL_BYTES, &[], journal.bytes() as f64);
    scrape.add(JOURNAL_SEALS, &[], journal.seals());
    scrape.set(JOURNAL_LAST_SEAL, &[], journal.last_seal_s() as f64);
    scrape.add(JOURNAL_REMOVED, &["incidents_days"], journal.segments_expired());
    scrape.add(JOURNAL_REMOVED, &["bytes_max"], journal.segments_over_bytes_max());
    scrape.add(JOURNAL_REMOVED, &["deleted"], journal.segments_deleted());
    scrape.add(JOURNAL_LINES_REMOVED, &[], journal.lines_expired());
    scrape.add(JOURNAL_FAILURES, &[], journal.failures());
}

fn signatures(shared: &Shared, scrape: &mut Scrape) {
    let policy = locked(&shared.policy).clone();
    if !policy.is_empty() {
        scrape.set(POLICY_INFO, &[&policy], 1.0);
    }
    if let Some((facts, loaded)) = shared.signature_facts() {
        let age = |reviewed: i64| (epoch_seconds(SystemTime::now()) - reviewed as f64).max(0.0);
        scrape.set(SIGNATURES_INFO, &[&facts.digest], 1.0);
        scrape.set(SIGNATURE_RULES, &[], facts.rules as f64);
        scrape.set(SIGNATURE_SERVICES, &[], facts.services as f64);
        scrape.set(SIGNATURES_LOADED, &[], epoch_seconds(loaded));
        if let Some(newest) = facts.newest_review {
            scrape.set(SIGNATURE_AGE, &[], age(newest));
        }
        if let Some(oldest) = facts.oldest_review {
            scrape.set(SIGNATURE_REVIEW_AGE, &[], age(oldest));
        }
    }
    let reloads = *locked(&shared.reloads);
    scrape.add(RELOADS, &["success"], reloads.succeeded);
    scrape.add(RELOADS, &["failure"], reloads.failed);
    scrape.set(RELOAD_LAST, &[], reloads.last.map_or(0.0, |(at, _)| epoch_seconds(at)));
    let successful = reloads.last.is_none_or(|(_, successful)| successful);
    scrape.set(RELOAD_SUCCESSFUL, &[], f64::from(u8::from(successful)));
}

fn watchdog(shared: &Shared, scrape: &mut Scrape) {
    scrape.add(WATCHDOG, &["fed"], shared.watchdog_fed.load(Relaxed));
    scrape.add(WATCHDOG, &["withheld"], shared.watchdog_withheld.load(Relaxed));
}
