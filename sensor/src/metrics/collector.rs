//! Gathers everything at the moment of a scrape: reads cells, sums over workers, and puts numbers under their
//! families. Nothing is gathered between scrapes.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use prometheus::Registry;
use prometheus::core::{Collector, Desc};
use prometheus::proto::{Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType};
use vigie_signatures::Verdict;

use super::cells::WorkerCells;
use super::families::{Family, Kind, WORKER_COUNTS, worker_count};
use super::health::Blindness;
use super::process::Process;
use super::shared::{Loss, Shared, epoch_seconds, locked};

/// All families of the sensor, for a registry.
pub struct SensorCollector {
    shared: Arc<Shared>,
    descriptions: Vec<Desc>,
    process: Mutex<Option<Process>>,
}

impl SensorCollector {
    /// Opens what it needs to read later on.
    ///
    /// # Errors
    /// Never in practice: when a family's description is refused.
    pub fn new(shared: Arc<Shared>) -> Result<Self, prometheus::Error> {
        let describe = |family: &Family| {
            let labels = family.labels().iter().map(|label| (*label).to_owned()).collect();
            Desc::new(family.name().to_owned(), family.help().to_owned(), labels, std::collections::HashMap::new())
        };
        Ok(Self {
            shared,
            descriptions: Family::ALL.iter().map(describe).collect::<Result<_, _>>()?,
            process: Mutex::new(Process::open().ok()),
        })
    }

    /// A registry that gathers all families.
    ///
    /// # Errors
    /// Never in practice: when a family is refused.
    pub fn registry(shared: Arc<Shared>) -> Result<Registry, prometheus::Error> {
        let registry = Registry::new();
        registry.register(Box::new(Self::new(shared)?))?;
        Ok(registry)
    }
}

impl Collector for SensorCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut scrape = Scrape::default();
        scrape.set(Family::BuildInfo, &[env!("CARGO_PKG_VERSION"), std::env::consts::ARCH], 1.0);
        scrape.set(Family::StartTime, &[], epoch_seconds(self.shared.started_at));
        readiness(&self.shared, &mut scrape);
        capture(&self.shared, &mut scrape);
        workers(&self.shared, &mut scrape);
        detection(&self.shared, &mut scrape);
        losses(&self.shared, &mut scrape);
        sinks(&self.shared, &mut scrape);
        signatures(&self.shared, &mut scrape);
        endpoint(&self.shared, &mut scrape);
        if let Some(process) = locked(&self.process).as_mut() {
            for (family, value) in process.read() {
                scrape.set(family, &[], value);
            }
        }
        let mut families = scrape.finish();
        families.extend(self.shared.latency.collect());
        families
    }
}

fn readiness(shared: &Shared, scrape: &mut Scrape) {
    let reasons = shared.reasons();
    scrape.set(Family::Ready, &[], f64::from(u8::from(reasons.is_empty())));
    for what in Blindness::ALL {
        let holds = reasons.iter().any(|reason| reason.what == what);
        scrape.set(Family::NotReady, &[what.as_str()], f64::from(u8::from(holds)));
    }
}

fn capture(shared: &Shared, scrape: &mut Scrape) {
    for interface in locked(&shared.interfaces).iter() {
        let name = interface.name.as_str();
        scrape.set(Family::InterfaceUp, &[name], f64::from(u8::from(interface.up.load(Relaxed))));
        scrape.set(Family::CaptureSilence, &[name], interface.silence_ms.load(Relaxed) as f64 / 1000.0);
        scrape.add(Family::InterfaceReopened, &[name], interface.reopened.load(Relaxed));
        scrape.add(Family::CapturePackets, &[name], 0);
        scrape.add(Family::CaptureBytes, &[name], 0);
        scrape.add(Family::CaptureDrops, &[name, "interface"], interface.dropped.load(Relaxed));
        scrape.add(Family::CaptureDrops, &[name, "ring"], 0);
        scrape.add(Family::CaptureDrops, &[name, "sensor"], 0);
    }
    for capture in locked(&shared.captures).iter() {
        let (name, worker, counts) = (capture.interface.as_str(), capture.worker.to_string(), capture.counts());
        scrape.add(Family::CapturePackets, &[name], counts.packets);
        scrape.add(Family::CaptureBytes, &[name], counts.bytes);
        scrape.add(Family::CaptureDrops, &[name, "ring"], counts.dropped_ring);
        scrape.add(Family::CaptureDrops, &[name, "sensor"], counts.dropped_sensor);
        scrape.add(Family::WorkerDrops, &[&worker], counts.dropped_ring + counts.dropped_sensor);
    }
}

fn workers(shared: &Shared, scrape: &mut Scrape) {
    for &(.., family, values) in WORKER_COUNTS.iter().filter(|(.., family, _)| !family.is_per_worker()) {
        scrape.add(family, values, 0);
    }
    let now_ms = shared.now_ms();
    for (number, cells) in shared.workers.iter().enumerate() {
        let worker = number.to_string();
        let worker = worker.as_str();
        counts(worker, cells, scrape);
        let reading = cells.reading();
        scrape.add(Family::WorkerDrops, &[worker], 0);
        scrape.set(Family::WorkerBusySeconds, &[worker], reading.busy.as_secs_f64());
        scrape.set(Family::WorkerBusyRatio, &[worker], reading.busy_ratio);
        scrape.set(Family::WorkerIdle, &[worker], now_ms.saturating_sub(reading.progress_ms) as f64 / 1000.0);
        scrape.set(Family::WorkerFlows, &[worker], reading.flows as f64);
        scrape.set(Family::WorkerFlowSlots, &[worker], reading.flow_slots as f64);
        scrape.set(Family::WorkerPending, &[worker], reading.pending as f64);
        scrape.set(Family::ChannelDepth, &[worker], reading.channel_depth as f64);
        scrape.set(Family::ChannelCapacity, &[worker], reading.channel_capacity as f64);
    }
}

fn counts(worker: &str, cells: &WorkerCells, scrape: &mut Scrape) {
    for (index, &(theirs, reason)) in cells.labels().iter().enumerate() {
        let count = cells.load(index);
        match worker_count(theirs, reason) {
            Some((family, values)) if family.is_per_worker() => {
                scrape.add(family, &[&[worker], values].concat(), count);
            }
            Some((family, values)) => scrape.add(family, values, count),
            None => scrape.add(Family::Unmapped, &[theirs, reason], count),
        }
    }
}

fn detection(shared: &Shared, scrape: &mut Scrape) {
    for severity in ["1", "2", "3"] {
        for verdict in Verdict::ALL {
            scrape.add(Family::Alerts, &[severity, verdict.as_str()], 0);
        }
    }
    let detections = locked(&shared.detections);
    for ((severity, verdict), count) in &detections.alerts {
        scrape.add(Family::Alerts, &[&severity.to_string(), verdict.as_str()], *count);
    }
    for (key, count) in &detections.matches {
        scrape.add(Family::Matches, &[&key.service, key.role.as_str(), key.evidence.as_str()], *count);
    }
}

fn losses(shared: &Shared, scrape: &mut Scrape) {
    for reason in Loss::ALL {
        scrape.add(Family::AlertsLost, &[reason.as_str()], shared.alerts_lost.get(reason));
        scrape.add(Family::EventsDropped, &[reason.as_str()], shared.events_dropped.get(reason));
    }
}

fn sinks(shared: &Shared, scrape: &mut Scrape) {
    for sink in locked(&shared.sinks).iter() {
        let name = sink.name.as_str();
        scrape.add(Family::SinkEvents, &[name], sink.events.load(Relaxed));
        scrape.add(Family::SinkBytes, &[name], sink.bytes.load(Relaxed));
        scrape.add(Family::SinkErrors, &[name], sink.errors.load(Relaxed));
    }
}

fn signatures(shared: &Shared, scrape: &mut Scrape) {
    if let Some((facts, loaded)) = shared.signature_facts() {
        let age = |reviewed: i64| (epoch_seconds(SystemTime::now()) - reviewed as f64).max(0.0);
        scrape.set(Family::SignaturesInfo, &[&facts.digest], 1.0);
        scrape.set(Family::SignatureRules, &[], facts.rules as f64);
        scrape.set(Family::SignatureServices, &[], facts.services as f64);
        scrape.set(Family::SignaturesLoaded, &[], epoch_seconds(loaded));
        if let Some(newest) = facts.newest_review {
            scrape.set(Family::SignatureAge, &[], age(newest));
        }
        if let Some(oldest) = facts.oldest_review {
            scrape.set(Family::SignatureReviewAge, &[], age(oldest));
        }
    }
    let reloads = *locked(&shared.reloads);
    scrape.add(Family::Reloads, &["success"], reloads.succeeded);
    scrape.add(Family::Reloads, &["failure"], reloads.failed);
    scrape.set(Family::ReloadLast, &[], reloads.last.map_or(0.0, |(at, _)| epoch_seconds(at)));
    let successful = reloads.last.is_none_or(|(_, successful)| successful);
    scrape.set(Family::ReloadSuccessful, &[], f64::from(u8::from(successful)));
}

fn endpoint(shared: &Shared, scrape: &mut Scrape) {
    scrape.add(Family::Watchdog, &["fed"], shared.watchdog_fed.load(Relaxed));
    scrape.add(Family::Watchdog, &["withheld"], shared.watchdog_withheld.load(Relaxed));
    for ((path, code), count) in locked(&shared.requests).iter() {
        scrape.add(Family::HttpRequests, &[path, &code.to_string()], *count);
    }
    for (reason, count) in locked(&shared.refused).iter() {
        scrape.add(Family::HttpRefused, &[reason], *count);
    }
    let [succeeded, failed] = &shared.web_reloads;
    scrape.add(Family::WebConfigReloads, &["success"], succeeded.load(Relaxed));
    scrape.add(Family::WebConfigReloads, &["failure"], failed.load(Relaxed));
}

/// A number under way: counts stay whole until all are added.
#[derive(Clone, Copy)]
enum Value {
    Count(u64),
    Number(f64),
}

/// What a scrape has found until now.
#[derive(Default)]
struct Scrape(BTreeMap<Family, BTreeMap<Vec<String>, Value>>);

impl Scrape {
    fn set(&mut self, family: Family, values: &[&str], value: f64) {
        self.entry(family, values, Value::Number(value));
    }

    /// Adds to what stands there, so that workers are summed.
    fn add(&mut self, family: Family, values: &[&str], count: u64) {
        debug_assert_eq!(family.kind(), Kind::Counter, "{}", family.name());
        if let Value::Count(sum) = self.entry(family, values, Value::Count(0)) {
            *sum = sum.wrapping_add(count);
        }
    }

    fn entry(&mut self, family: Family, values: &[&str], value: Value) -> &mut Value {
        debug_assert_eq!(family.labels().len(), values.len(), "{}", family.name());
        let values = values.iter().map(|value| (*value).to_owned()).collect();
        self.0.entry(family).or_default().entry(values).or_insert(value)
    }

    fn finish(self) -> Vec<MetricFamily> {
        let families = self.0.into_iter();
        families.map(|(family, series)| exposed(family, series)).collect()
    }
}

fn exposed(family: Family, series: BTreeMap<Vec<String>, Value>) -> MetricFamily {
    let mut exposed = MetricFamily::default();
    exposed.set_name(family.name().to_owned());
    exposed.set_help(family.help().to_owned());
    let is_counter = family.kind() == Kind::Counter;
    exposed.set_field_type(if is_counter { MetricType::COUNTER } else { MetricType::GAUGE });
    let metrics = series.into_iter().map(|(values, value)| {
        let mut metric = Metric::from_label(family.labels().iter().zip(values).map(label).collect());
        let value = match value {
            Value::Count(count) => count as f64,
            Value::Number(number) => number,
        };
        if is_counter {
            let mut counter = Counter::default();
            counter.set_value(value);
            metric.set_counter(counter);
        } else {
            let mut gauge = Gauge::default();
            gauge.set_value(value);
            metric.set_gauge(gauge);
        }
        metric
    });
    exposed.set_metric(metrics.collect());
    exposed
}

fn label((name, value): (&&str, String)) -> LabelPair {
    let mut pair = LabelPair::default();
    pair.set_name((*name).to_owned());
    pair.set_value(value);
    pair
}
