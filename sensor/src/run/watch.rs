//! Watches over a running sensor: collects the reports of the workers, feeds the watchdog, reloads, stops.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crossbeam_channel::Receiver;
use time::OffsetDateTime;
use vigie_signatures::Bundle;

use super::advice;
use super::coverage::{CoverageWindows, JudgedBy};
use super::guarded::WorkerPanic;
use super::log::Log;
use super::notify::ServiceManager;
use super::outbox::Dropped;
use super::quarantine::Quarantine;
use super::snapshot::{CurrentSnapshot, Snapshot};
use super::start::{RunningShunt, fsync, retention};
use super::worker_thread::Report;
use super::writer::WriterCommands;
use super::{LoadSignatures, RunError, Signals};
use crate::audit::{Audit, AuditEvent};
use crate::policy::{self, LoadedPolicy};
use crate::privacy::Privacy;
use crate::settings::{Loaded, Settings};
use crate::telemetry::{Loss, Phase, Shared, SignatureFacts};
use vigie_capture::CaptureError;
use vigie_capture::live::State;
use vigie_config::{Layers, Schema, Table};
use vigie_journal::record::{Coverage, Stats};
use vigie_metrics::Serving;

/// How often the watching thread polls.
const WATCH_EVERY: Duration = Duration::from_millis(50);
/// How often a failure that lasts is told.
const TELL_AGAIN_EVERY: Duration = Duration::from_secs(60);
/// A worker without progress for so long is stuck.
const STALL_MAX: Duration = Duration::from_secs(10);
/// How long events are still written when the sensor stops; service managers wait for 20 seconds.
const LAST_WRITES_MAX: Duration = Duration::from_secs(8);
/// How long the writer may take to stop; it takes longer only if a disk does not return from a write.
const WRITER_STOP_MAX: Duration = Duration::from_secs(13);

/// All threads of a sensor.
pub struct Running {
    pub(super) threads: Vec<JoinHandle<Result<Dropped, CaptureError>>>,
    pub(super) writer: Option<JoinHandle<Dropped>>,
    pub(super) serving: Option<Serving>,
    pub(super) commands: Arc<WriterCommands>,
    pub(super) reports: Receiver<Report>,
    pub(super) current: CurrentSnapshot,
    pub(super) stop: Arc<AtomicBool>,
    pub(super) shared: Arc<Shared>,
    pub(super) interfaces: Vec<String>,
    pub(super) log: Arc<Log>,
    /// What interfaces cover, if there is a journal for it.
    pub(super) coverage: Option<CoverageWindows>,
    pub(super) writes_stats: bool,
    /// The last report of each worker.
    pub(super) last_reports: Vec<Report>,
    pub(super) started: Instant,
    /// Where frames go that stopped a worker.
    pub(super) quarantine: Quarantine,
    /// Where changes of the policy are told.
    pub(super) audit: Option<Arc<Audit>>,
    /// A hash of the policy in use; empty before it was told.
    pub(super) policy_hash: String,
    /// When it was last told that the endpoint for Prometheus has failed.
    pub(super) metrics_failed: Option<Instant>,
    pub(super) shunt: Option<RunningShunt>,
}

impl Running {
    pub(super) fn status(&self) -> String {
        let workers = self.threads.len();
        let workers = if workers == 1 { "1 worker".to_owned() } else { format!("{workers} workers") };
        format!("{workers} on {}", self.interfaces.join(", "))
    }

    /// Watches until a signal stops the sensor.
    pub(super) fn watch(
        &mut self,
        mut settings: Settings,
        layers: &Layers,
        load_signatures: LoadSignatures<'_>,
        signals: &Signals,
        service_manager: &ServiceManager,
    ) -> Result<(), RunError> {
        let mut watchdog_fed = Instant::now();
        let mut stats_written = Instant::now();
        self.tell_coverage(|windows, _, judged_by| windows.start(judged_by));
        while !signals.stop.load(Ordering::Relaxed) {
            self.poll()?;
            self.cover();
            if signals.reload.swap(false, Ordering::Relaxed) {
                service_manager.reloading();
                self.reload(&mut settings, layers, load_signatures);
                service_manager.ready(&self.status());
            }
            if service_manager.watchdog_interval().is_some_and(|interval| watchdog_fed.elapsed() >= interval) {
                watchdog_fed = Instant::now();
                let stalled = self.shared.stalled(STALL_MAX);
                self.shared.watchdog(stalled.is_empty());
                match stalled.first() {
                    None => service_manager.feed_watchdog(),
                    Some((worker, age)) => {
                        self.log.error(&format!("worker {worker} has made no progress for {} s", age.as_secs()))
                    }
                }
            }
            let stats_interval = Duration::from_secs(settings.events.stats_interval_s);
            if self.writes_stats && stats_written.elapsed() >= stats_interval {
                stats_written = Instant::now();
                self.commands.stats(self.stats());
            }
        }
        Ok(())
    }

    /// Lets the windows of coverage go on.
    fn cover(&mut self) {
        let is_stuck = !self.shared.stalled(STALL_MAX).is_empty();
        let now = (Instant::now(), SystemTime::now());
        self.tell_coverage(|windows, reports, judged_by| windows.tick(reports, is_stuck, now, judged_by));
    }

    /// Has the windows that `end` ends written.
    fn tell_coverage(&mut self, end: impl FnOnce(&mut CoverageWindows, &[Report], &JudgedBy) -> Vec<Coverage>) {
        let Some(windows) = &mut self.coverage else { return };
        let signatures = self.shared.signature_facts().map_or_else(String::new, |(facts, _)| facts.digest);
        let judged_by = JudgedBy { policy: self.policy_hash.clone(), signatures };
        let events = end(windows, &self.last_reports, &judged_by);
        if !events.is_empty() {
            let dropped = self.commands.coverage(events);
            self.shared.events_dropped(Loss::SinkFailed, dropped as u64);
        }
    }

    /// Waits for the next reports, and checks that all threads still run.
    ///
    /// # Errors
    /// A thread has ended.
    pub fn poll(&mut self) -> Result<(), RunError> {
        if let Ok(report) = self.reports.recv_timeout(WATCH_EVERY) {
            self.take_report(report);
            while let Ok(report) = self.reports.try_recv() {
                self.take_report(report);
            }
        }
        if let Some(index) = self.threads.iter().position(JoinHandle::is_finished) {
            return Err(RunError::Failed(format!("worker {index} failed; without it the sensor would miss packets")));
        }
        self.check_endpoint();
        if self.writer.as_ref().is_none_or(JoinHandle::is_finished) {
            return Err(RunError::Failed("the writer of events failed".to_owned()));
        }
        Ok(())
    }

    fn take_report(&mut self, mut report: Report) {
        for change in std::mem::take(&mut report.changes) {
            if change.state == State::Up { self.log.info(&change.message) } else { self.log.warning(&change.message) }
        }
        let set_by_s = std::mem::take(&mut report.clock_set_by_ns) / 1_000_000_000;
        if report.worker == 0 && set_by_s != 0 {
            let direction = if set_by_s < 0 { "back" } else { "forward" };
            let seconds = set_by_s.unsigned_abs();
            self.log
                .warning(&format!("the clock of the packets was set {direction} by {seconds} s; flows keep their age"));
        }
        for panic in std::mem::take(&mut report.panics) {
            self.set_aside(report.worker, &panic);
        }
        let dropped = std::mem::take(&mut report.dropped);
        self.shared.alerts_lost(Loss::ChannelFull, dropped.alerts);
        self.shared.events_dropped(Loss::ChannelFull, dropped.others);
        self.shared.alerts_summarised(std::mem::take(&mut report.summarised));
        if report.worker == 0 {
            if let Some(shunt) = &self.shunt {
                self.shared.shunt_slots(shunt.slots());
            }
            let before = self.last_reports.first().map(|report| report.interfaces.as_slice()).unwrap_or_default();
            for (place, interface) in report.interfaces.iter().enumerate() {
                let cells = self.shared.interface(&interface.name);
                cells.up(interface.state == State::Up);
                cells.dropped(interface.interface_dropped + interface.interface_missed);
                cells.shunted(interface.shunted, interface.shunted_bytes);
                let reopened = before.get(place).map_or(0, |before| before.reopened);
                (reopened..interface.reopened).for_each(|_| cells.reopened());
            }
        }
        if self.last_reports.len() <= report.worker {
            self.last_reports.resize_with(report.worker + 1, Report::default);
        }
        if let Some(place) = self.last_reports.get_mut(report.worker) {
            *place = report;
        }
    }

    /// Keeps the frame that stopped a worker, and says so.
    fn set_aside(&self, worker: usize, panic: &WorkerPanic) {
        self.shared.worker_panicked(worker);
        let kept = match &panic.frame {
            None => "the packet that caused it is not known".to_owned(),
            Some(frame) => match self.quarantine.set_aside(frame, worker) {
                Ok(path) => format!("the packet that caused it is in {}", path.display()),
                Err(error) => format!("the packet that caused it cannot be kept: {error}"),
            },
        };
        self.log.error(&format!(
            "worker {worker} stopped at a defect of the sensor and has started anew: {}; {kept}; please report it",
            panic.message
        ));
    }

    /// Says so once a minute if the endpoint for Prometheus has failed.
    fn check_endpoint(&mut self) {
        let is_dead = self.serving.as_ref().is_some_and(|serving| !serving.is_running());
        if is_dead && self.metrics_failed.is_none_or(|told| told.elapsed() >= TELL_AGAIN_EVERY) {
            self.metrics_failed = Some(Instant::now());
            self.log.error("the metrics endpoint has failed and answers no more; restart the sensor to get it back");
        }
    }

    fn reload(&mut self, settings: &mut Settings, layers: &Layers, load_signatures: LoadSignatures<'_>) {
        // The file is reopened even if the reload fails: it may have been renamed.
        self.commands.reopen();
        let loaded = match Settings::load(layers) {
            Ok(loaded) => {
                loaded.warnings.iter().for_each(|warning| self.log.warning(&warning.to_string()));
                loaded
            }
            Err(errors) => {
                errors.to_string().lines().for_each(|line| self.log.error(line));
                return self.reload_failed("the configuration in use stays");
            }
        };
        let bundle = match load_signatures(settings) {
            Ok(bundle) => bundle,
            Err(error) => {
                self.log.error(&error);
                return self.reload_failed("configuration and signatures in use stay");
            }
        };
        let policy = match LoadedPolicy::of(&loaded, &bundle) {
            Ok(policy) => policy,
            Err(errors) => {
                errors.to_string().lines().for_each(|line| self.log.error(line));
                return self.reload_failed("configuration, signatures and policy in use stay");
            }
        };
        let privacy = match Privacy::of(&loaded) {
            Ok(privacy) => privacy,
            Err(errors) => {
                errors.to_string().lines().for_each(|line| self.log.error(line));
                return self.reload_failed("configuration, signatures, policy and keys in use stay");
            }
        };
        let policy_hash = policy::hash(&loaded);
        let new = loaded.settings;
        let change = settings.changes(&new);
        if !change.restart.is_empty() {
            self.log.warning(&format!("changed, but takes effect only after a restart: {}", change.restart.join(", ")));
        }
        *settings = settings.with_live_changes(&new);
        self.log.set(settings.log.clone());
        self.commands.fsync(fsync(settings));
        self.commands.retention(retention(settings));
        let now = OffsetDateTime::now_utc();
        advice::warnings(settings, &policy, &privacy, now).iter().for_each(|line| self.log.warning(line));
        self.use_snapshot(Snapshot { bundle, policy: Arc::new(policy.policy), privacy });
        self.tell_policy_hash(policy_hash);
        self.shared.reloaded(true);
        let what =
            if change.live.is_empty() { String::new() } else { format!("; changed: {}", change.live.join(", ")) };
        self.log.info(&format!("reloaded: {} rules{what}", self.current.load().bundle.rules().len()));
    }

    /// Replaces the signatures of workers and writer.
    pub fn use_signatures(&self, bundle: Arc<Bundle>) {
        let current = self.current.load();
        self.use_snapshot(Snapshot { bundle, ..Snapshot::clone(&current) });
    }

    /// Tells the audit which policy is in use.
    pub(super) fn tell_policy(&mut self, loaded: &Loaded) {
        self.tell_policy_hash(policy::hash(loaded));
    }

    fn tell_policy_hash(&mut self, hash: String) {
        let before = std::mem::replace(&mut self.policy_hash, hash);
        self.commands.policy_hash(&self.policy_hash);
        self.shared.policy(&self.policy_hash);
        let Some(audit) = self.audit.as_ref().filter(|_| before != self.policy_hash) else { return };
        if let Err(error) = audit.write(&AuditEvent::PolicyChanged { before: &before, after: &self.policy_hash }) {
            self.log.error(&format!("a change of the policy cannot be told to the audit: {error}"));
        }
    }

    /// Replaces signatures and policy.
    fn use_snapshot(&self, snapshot: Snapshot) {
        self.shared.signatures(SignatureFacts::of(&snapshot.bundle));
        self.shared.expect_matches(&snapshot.bundle);
        self.current.store(Arc::new(snapshot));
    }

    fn reload_failed(&self, what_stays: &str) {
        self.shared.reloaded(false);
        self.log.error(&format!("not reloaded: {what_stays}"));
    }

    fn stats(&self) -> Stats {
        let interfaces = || self.last_reports.iter().flat_map(|report| &report.interfaces);
        let count = |family: &str, reason: &str| self.shared.total(family, Some(reason));
        let flows_active = (0..self.threads.len()).filter_map(|index| self.shared.worker(index));
        Stats {
            timestamp_ns: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as u64,
            uptime_s: self.started.elapsed().as_secs(),
            kernel_packets: interfaces().map(|counts| counts.frames + counts.shunted + counts.dropped).sum(),
            kernel_drops: interfaces().map(|counts| counts.dropped).sum(),
            kernel_ifdrops: interfaces().map(|counts| counts.interface_dropped + counts.interface_missed).sum(),
            packets: count("capture", "frames"),
            bytes: count("capture", "bytes"),
            invalid: self.shared.total("decode_error", None),
            flows: count("flow", "opened"),
            flows_active: flows_active.map(|cells| cells.reading().flows).sum(),
            alerts: self.shared.alerts_written_total(),
            alerts_lost: self.shared.alerts_lost_total(),
        }
    }

    /// Stops all threads: the workers first, then the writer, when it has written all that they sent.
    ///
    /// # Errors
    /// A thread had failed.
    pub fn stop(mut self) -> Result<(), RunError> {
        let began = Instant::now();
        self.shared.enter(Phase::Stopping);
        self.commands.stop_by(began + LAST_WRITES_MAX);
        self.stop.store(true, Ordering::Relaxed);
        let mut outcome = Ok(());
        for (index, thread) in std::mem::take(&mut self.threads).into_iter().enumerate() {
            while !thread.is_finished() {
                if let Ok(report) = self.reports.recv_timeout(WATCH_EVERY) {
                    self.take_report(report);
                }
            }
            match thread.join() {
                Ok(Ok(unsent)) => {
                    self.shared.alerts_lost(Loss::Shutdown, unsent.alerts);
                    self.shared.events_dropped(Loss::Shutdown, unsent.others);
                }
                Ok(Err(error)) => outcome = Err(error.into()),
                Err(_) => outcome = Err(RunError::Failed(format!("worker {index} failed"))),
            }
        }
        while let Ok(report) = self.reports.try_recv() {
            self.take_report(report);
        }
        if let Some(shunt) = self.shunt.take() {
            shunt.stop();
        }
        if self.writes_stats {
            self.commands.stats(self.stats());
        }
        let now = (Instant::now(), SystemTime::now());
        self.tell_coverage(|windows, reports, judged_by| windows.stop(reports, now, judged_by));
        self.commands.end();
        outcome = outcome.and(self.join_writer(began + WRITER_STOP_MAX));
        let stats = self.stats();
        let shunted: u64 =
            self.last_reports.iter().flat_map(|report| &report.interfaces).map(|seen| seen.shunted).sum();
        let shunted = if shunted > 0 { format!(", {shunted} more shunted") } else { String::new() };
        self.log.info(&format!(
            "stopped: {} packets{shunted}, {} dropped by the kernel, {} flows, {} alerts, {} of them lost, {} summarised, \
             {} other events lost",
            stats.packets,
            stats.kernel_drops,
            stats.flows,
            stats.alerts + stats.alerts_lost,
            stats.alerts_lost,
            self.shared.alerts_summarised_total(),
            self.shared.events_dropped_total(),
        ));
        if let Some(serving) = self.serving.take() {
            serving.stop();
        }
        outcome
    }

    /// Waits until the writer has ended, but not for ever: a disk may not return from a write.
    fn join_writer(&mut self, deadline: Instant) -> Result<(), RunError> {
        let Some(writer) = self.writer.take() else { return Ok(()) };
        while !writer.is_finished() {
            if Instant::now() >= deadline {
                self.shared.unwritten_alerts_lost(self.shared.total("sighting", Some("emitted")));
                return Err(RunError::Failed(
                    "the events file does not return from a write; the last events are lost".to_owned(),
                ));
            }
            thread::sleep(WATCH_EVERY);
        }
        let given_up = writer.join().map_err(|_| RunError::Failed("the writer of events failed".to_owned()))?;
        if given_up == Dropped::default() {
            return Ok(());
        }
        Err(RunError::Failed(format!(
            "the last events could not be written in time: {} alerts and {} other events are lost",
            given_up.alerts, given_up.others
        )))
    }
}
