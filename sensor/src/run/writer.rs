//! The thread that judges and writes: it receives events from the channel, judges the sightings among them, and writes
//! incidents, alerts and other records to the journal. It counts an alert as written only afterwards. It retries a write that fails; meanwhile events wait in the channel, then in the
//! outboxes of the workers, and the sensor is not ready. When the sensor stops, it retries until a deadline; then it takes
//! what is left from the channel and counts it as lost.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::RecvTimeoutError;
use time::OffsetDateTime;
use vigie_judgement::Resumed;

use super::audit_lines::AuditLines;
use super::candidate_files::CandidateFiles;
use super::channel::EventReceiver;
use super::event_lines::{EventLines, count_lost};
use super::incident_log::{IncidentLog, Replay};
use super::log::Log;
use super::outbox::Dropped;
use super::snapshot::SnapshotReader;
use super::state_files::StateFiles;
use crate::event::{Event, Fact};
use crate::judging::Judging;
use crate::settings::Fsync;
use crate::telemetry::{Shared, SignatureFacts, SinkCells};
use vigie_journal::record::{Coverage, Stats};
use vigie_journal::{JournalStatus, Retention};

/// How long the writer waits for events before it checks its commands.
const POLL_EVERY: Duration = Duration::from_millis(50);
/// How long it waits before it retries a failed write.
const RETRY_EVERY: Duration = Duration::from_millis(200);
/// How long a target may take nothing before that counts as a failure. A pipe is full at times.
const BLOCKED_MAX: Duration = Duration::from_secs(1);
/// How long it retries when all workers have failed.
const LAST_RETRIES_MAX: Duration = Duration::from_secs(5);
/// How often it logs that writes fail.
const LOG_FAILURE_EVERY: Duration = Duration::from_secs(60);

/// Events of coverage that wait while nothing can be written: a day of two interfaces, and more.
const COVERAGE_WAITING_MAX: usize = 4_096;

/// Commands to the writer, besides events. A new command replaces the one before, so that nobody has to wait for a writer
/// that is blocked.
#[derive(Debug)]
pub struct WriterCommands {
    reopen: AtomicBool,
    fsync: Mutex<(Fsync, Duration)>,
    stats: Mutex<Option<Box<Stats>>>,
    coverage: Mutex<VecDeque<Coverage>>,
    policy_hash: Mutex<Option<String>>,
    retention: Mutex<Option<Retention>>,
    deadline: Mutex<Option<Instant>>,
    end: AtomicBool,
}

impl WriterCommands {
    /// No commands yet. `fsync` says when to force events to the disk.
    pub const fn new(fsync: (Fsync, Duration)) -> Self {
        Self {
            reopen: AtomicBool::new(false),
            fsync: Mutex::new(fsync),
            stats: Mutex::new(None),
            coverage: Mutex::new(VecDeque::new()),
            policy_hash: Mutex::new(None),
            retention: Mutex::new(None),
            deadline: Mutex::new(None),
            end: AtomicBool::new(false),
        }
    }

    /// Reopen the file under its name; it may have been renamed.
    pub fn reopen(&self) {
        self.reopen.store(true, Ordering::Release);
    }

    /// Change when events are forced to the disk.
    pub fn fsync(&self, fsync: (Fsync, Duration)) {
        *locked(&self.fsync) = fsync;
    }

    /// Keep events of the journal for so long from now on.
    pub fn retention(&self, retention: Retention) {
        *locked(&self.retention) = Some(retention);
    }

    /// Write a stats event. It replaces one that is not written yet.
    pub fn stats(&self, stats: Stats) {
        *locked(&self.stats) = Some(Box::new(stats));
    }

    /// Write what interfaces covered. Returns how many events before had to go.
    pub fn coverage(&self, events: Vec<Coverage>) -> usize {
        let mut waiting = locked(&self.coverage);
        waiting.extend(events);
        let excess = waiting.len().saturating_sub(COVERAGE_WAITING_MAX);
        waiting.drain(..excess).count()
    }

    /// Seals of the journal name another policy from now on.
    pub fn policy_hash(&self, hash: &str) {
        *locked(&self.policy_hash) = Some(hash.to_owned());
    }

    /// The sensor stops: what cannot be written until then is lost.
    pub fn stop_by(&self, deadline: Instant) {
        *locked(&self.deadline) = Some(deadline);
    }

    /// No more commands come.
    pub fn end(&self) {
        self.end.store(true, Ordering::Release);
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The state of the writing thread.
pub struct Writer {
    events: EventReceiver,
    commands: Arc<WriterCommands>,
    snapshots: SnapshotReader,
    judging: Judging,
    lines: EventLines,
    interfaces: Vec<String>,
    synced: Instant,
    shared: Arc<Shared>,
    sink: Arc<SinkCells>,
    log: Arc<Log>,
    failure_logged: Option<Instant>,
    state: Option<StateFiles>,
    candidates: Option<CandidateFiles>,
    state_every: Duration,
    state_saved: Instant,
    given_up: Option<Dropped>,
    policy_hash: String,
    signatures_hash: String,
    journal_status: Option<Arc<JournalStatus>>,
    audit_lines: Option<AuditLines>,
}

impl Writer {
    /// A writer from a channel, through judgement, to a journal.
    pub fn new(
        events: EventReceiver,
        commands: Arc<WriterCommands>,
        snapshots: SnapshotReader,
        judging: Judging,
        lines: EventLines,
        shared: &Arc<Shared>,
        log: &Arc<Log>,
    ) -> Self {
        let mut writer = Self {
            events,
            commands,
            snapshots,
            judging,
            interfaces: lines.interfaces().to_vec(),
            lines,
            synced: Instant::now(),
            shared: Arc::clone(shared),
            sink: shared.sink("journal"),
            log: Arc::clone(log),
            failure_logged: None,
            state: None,
            candidates: None,
            state_every: Duration::from_secs(60),
            state_saved: Instant::now(),
            given_up: None,
            policy_hash: String::new(),
            signatures_hash: String::new(),
            journal_status: None,
            audit_lines: None,
        };
        writer.observe_journal();
        writer
    }

    fn observe_journal(&mut self) {
        self.signatures_hash = SignatureFacts::of(&self.snapshots.seen().bundle).digest;
        self.name_judges();
        let audit = self.lines.audit().map(Arc::clone);
        if let (Some(journal), Some(audit)) = (self.lines.output.journal(), audit) {
            self.audit_lines = Some(AuditLines::new(audit, journal.folder()));
        }
        self.journal_status = self.lines.output.journal().map(|journal| journal.status());
        if let Some(status) = &self.journal_status {
            self.shared.journal(status);
        }
    }

    /// Writes the names that may be missing in the signatures to files, a file a day.
    pub fn write_candidates(mut self, files: CandidateFiles) -> Self {
        self.candidates = Some(files);
        self
    }

    /// Takes over the incidents that an earlier run saved, and saves them again and again.
    pub fn keep_state(mut self, files: StateFiles, every: Duration) -> Self {
        let (saved, errors) = files.load();
        let Replay { changes, missing } = self.replay_incidents(&files);
        let is_known = saved.is_some() || !changes.is_empty();
        if is_known {
            let mut saved = saved.unwrap_or_default();
            self.lines.coverage = saved.take_coverage();
            saved.apply(changes);
            let Resumed { incidents, incidents_dropped, cases } = self.judging.resume(saved, &mut self.lines);
            self.log.info(&format!("{incidents} open incidents resumed, {cases} clients and services observed"));
            if incidents_dropped > 0 {
                let what = "incidents of bans that are no longer in use are closed";
                self.log.warning(&format!("{incidents_dropped} {what}"));
            }
        }
        self.lines.copy(&missing);
        for (path, error) in errors {
            let path = path.display();
            self.log.error(&format!("{path}: open incidents cannot be resumed: {error}; they begin anew"));
        }
        (self.state, self.state_every) = (Some(files), every);
        self
    }

    /// What was told of incidents after the state was saved, if a kill left something.
    fn replay_incidents(&mut self, files: &StateFiles) -> Replay {
        let live_seq = self.live_seq();
        let Some(folder) = self.lines.output.journal().map(|journal| journal.folder().to_owned()) else {
            return Replay::default();
        };
        if !files.are_of_journal() {
            return Replay::default();
        }
        let log = IncidentLog::new(&folder);
        let replay = log.replay(live_seq).unwrap_or_else(|error| {
            let what = "changes of incidents before the last stop cannot be read";
            self.log.error(&format!("{}: {what}: {error}; incidents may be told again", folder.display()));
            Replay::default()
        });
        self.lines.incident_log = Some(log);
        replay
    }

    /// Writes until all workers have ended, all their events are written or given up, and no more commands come. Returns
    /// what it has given up.
    pub fn run(mut self) -> Dropped {
        let mut is_over = false;
        while !is_over {
            match self.events.recv_timeout(POLL_EVERY) {
                Ok(event) => {
                    self.take(event);
                    while !self.lines.output.is_full()
                        && let Ok(event) = self.events.try_recv()
                    {
                        self.take(event);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => is_over = true,
            }
            if is_over {
                self.judging.judge_all(&mut self.lines);
            }
            self.execute_commands();
            self.copy_audit(is_over);
            self.write(is_over);
            self.sync(is_over);
            self.tell_judgement();
            self.save_state(is_over);
        }
        // Commands given at the end, such as the last stats event.
        while !self.commands.end.load(Ordering::Acquire) {
            thread::sleep(POLL_EVERY);
        }
        self.execute_commands();
        self.write(true);
        self.sync(true);
        self.given_up.unwrap_or_default()
    }

    fn take(&mut self, event: Event) {
        let is_sighting = matches!(event.fact, Fact::Sighting(_) | Fact::Question(_));
        if let Some(given_up) = &mut self.given_up {
            if !matches!(event.fact, Fact::Clock { .. }) {
                count_lost(given_up, is_sighting, &self.shared);
            }
            return;
        }
        self.judging.begin(event.timestamp_ns, &mut self.lines);
        self.lines.event(&event);
        if matches!(event.fact, Fact::Sighting(_)) {
            self.shared.sighting_judged();
        }
        self.judging.take(event, &self.interfaces, &mut self.lines);
    }

    /// Saves the open incidents, and the names that may be missing, if that is due.
    fn save_state(&mut self, is_over: bool) {
        let live_seq = self.live_seq();
        let is_new_segment = self.state.as_ref().is_some_and(|state| state.is_due(live_seq));
        if !is_over && !is_new_segment && self.state_saved.elapsed() < self.state_every {
            return;
        }
        self.state_saved = Instant::now();
        self.save_audit_cursor();
        if let Some(files) = &self.candidates
            && let Err(error) = files.write(&mut self.judging, OffsetDateTime::now_utc().date())
        {
            let folder = files.folder().display();
            self.log.error(&format!("{folder}: names that may be missing cannot be written: {error}"));
        }
        let Some(state) = &mut self.state else { return };
        if let Err((path, error)) = state.save(&self.judging.save().with_coverage(&self.lines.coverage), live_seq) {
            self.sink.failed();
            let path = path.display();
            self.log.error(&format!("{path}: open incidents cannot be saved: {error}; a restart would lose them"));
        } else if let Some(log) = &mut self.lines.incident_log {
            log.state_was_saved();
        }
    }

    /// Adds the lines that were added to the audit.
    fn copy_audit(&mut self, is_over: bool) {
        if self.given_up.is_none()
            && let Some(audit) = &mut self.audit_lines
        {
            let lines = audit.take(is_over);
            self.lines.copy(&lines);
        }
    }

    /// Remembers how far the audit was copied, once that is on the disk.
    fn save_audit_cursor(&mut self) {
        if let Some(audit) = self.audit_lines.as_mut().filter(|_| self.given_up.is_none())
            && self.lines.output.journal().is_some_and(|journal| journal.lines_waiting() == 0 && journal.sync().is_ok())
        {
            audit.save();
        }
    }

    /// Number of the journal's live segment; 0 without a journal.
    fn live_seq(&mut self) -> u64 {
        self.lines.output.journal().map_or(0, |journal| journal.live_seq())
    }

    /// Tells the metrics what judgement holds.
    fn tell_judgement(&mut self) {
        if let Some(failure) = self.journal_status.as_ref().and_then(|status| status.take_failure()) {
            self.log.error(&format!("the journal: {failure}"));
        }
        if let Some(error) = self.lines.audit_error.take() {
            self.log.error(&format!("the new key of pseudonyms cannot be told to the audit: {error}"));
        }
        let pressure = self.judging.pressure();
        let limits = [
            pressure.cases_evicted,
            pressure.incidents_evicted,
            pressure.flows_forgotten,
            pressure.hurried,
            pressure.alerts_left_out,
            pressure.warnings_forgotten,
        ];
        self.shared.judgement(self.judging.incidents().len(), self.judging.assets_seen(), limits);
    }

    /// Writes the buffer. Retries while that fails, if need be until the deadline.
    fn write(&mut self, is_over: bool) {
        let began = Instant::now();
        self.sink.writing(self.shared.now_ms());
        if let Some(Err(error)) = self.lines.incident_log.as_mut().map(IncidentLog::write) {
            self.sink.failed();
            self.log
                .error(&format!("changes of incidents cannot be kept: {error}; after a kill they may be told again"));
        }
        while let Err(error) = self.lines.output.write() {
            self.count_written();
            let is_blocked = error.kind() == ErrorKind::WouldBlock;
            if !is_blocked || began.elapsed() >= BLOCKED_MAX {
                self.failed(&error);
            }
            let deadline = *locked(&self.commands.deadline);
            let deadline = deadline.or_else(|| is_over.then(|| began + LAST_RETRIES_MAX));
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return self.give_up();
            }
            if is_blocked {
                self.lines.output.wait(RETRY_EVERY)
            } else {
                thread::sleep(RETRY_EVERY)
            }
            // The command may be to reopen the file, which may help.
            self.execute_commands();
        }
        self.count_written();
        self.sink.idle();
        if self.failure_logged.take().is_some() {
            self.log.info("events can be written again");
        }
    }

    /// Counts what the journal has written.
    fn count_written(&mut self) {
        let (lines, bytes) = self.lines.take_written();
        if lines > 0 {
            self.sink.wrote(lines, bytes);
        }
    }

    fn failed(&mut self, error: &std::io::Error) {
        self.sink.failed();
        if self.failure_logged.is_none_or(|last| last.elapsed() >= LOG_FAILURE_EVERY) {
            self.failure_logged = Some(Instant::now());
            let reason = match error.kind() {
                ErrorKind::WouldBlock => "nobody reads them".to_owned(),
                _ => error.to_string(),
            };
            self.log.error(&format!("events cannot be written: {reason}; they wait, and the write is retried"));
        }
    }

    /// Counts what waits as lost, and all that comes from now on.
    fn give_up(&mut self) {
        // A file that should have been reopened is better than none.
        self.lines.output.forgo_reopen();
        let is_written = self.lines.output.write().is_ok();
        self.count_written();
        let mut given_up = self.given_up.unwrap_or_default();
        if !is_written {
            self.lines.give_up(&mut given_up);
        }
        self.given_up = Some(given_up);
    }

    fn execute_commands(&mut self) {
        if let Some(snapshot) = self.snapshots.changed() {
            self.lines.use_signatures(&snapshot.bundle);
            self.judging.use_snapshot(&snapshot.bundle, &snapshot.policy, &snapshot.privacy);
            self.signatures_hash = SignatureFacts::of(&snapshot.bundle).digest;
            self.name_judges();
        }
        let policy_hash = locked(&self.commands.policy_hash).take();
        if let Some(hash) = policy_hash {
            self.policy_hash = hash;
            self.name_judges();
        }
        let retention = locked(&self.commands.retention).take();
        if let (Some(retention), Some(journal)) = (retention, self.lines.output.journal()) {
            journal.set_retention(retention);
        }
        if self.commands.reopen.swap(false, Ordering::AcqRel)
            && let Err(error) = self.lines.output.reopen()
        {
            self.sink.failed();
            self.log.error(&format!("the events file cannot be reopened: {error}; events wait, and it is tried again"));
        }
        if self.given_up.is_none()
            && let Some(stats) = locked(&self.commands.stats).take()
        {
            self.lines.stats(&stats);
        }
        while self.given_up.is_none() && !self.lines.output.is_full() {
            let Some(coverage) = locked(&self.commands.coverage).pop_front() else { break };
            self.lines.coverage(&super::coverage::with_assets(coverage, self.judging.assets_seen()));
        }
    }

    /// Tells the journal which policy and signatures its seals name.
    fn name_judges(&mut self) {
        let (policy, signatures) = (&self.policy_hash, &self.signatures_hash);
        if let Some(journal) = self.lines.output.journal() {
            journal.judged_by(policy, signatures);
        }
    }

    fn sync(&mut self, is_over: bool) {
        let is_due = match *locked(&self.commands.fsync) {
            (Fsync::Never, _) => false,
            (Fsync::Interval, interval) => is_over || self.synced.elapsed() >= interval,
            (Fsync::Each, _) => true,
        };
        if is_due {
            self.synced = Instant::now();
            let logged = self.lines.incident_log.as_mut().map_or(Ok(()), IncidentLog::sync);
            if let Err(error) = logged.and_then(|()| self.lines.output.sync()) {
                self.sink.failed();
                self.log.error(&format!("events cannot be forced to the disk: {error}"));
            }
        }
    }
}
