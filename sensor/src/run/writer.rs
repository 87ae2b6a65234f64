//! The thread that writes events: it receives them from the channel, encodes them, and writes them to the journal. It counts
//! an alert as written only afterwards. It retries a write that fails; meanwhile events wait in the channel, then in the
//! outboxes of the workers, and the sensor is not ready. When the sensor stops, it retries until a deadline; then it takes
//! what is left from the channel and counts it as lost.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crossbeam_channel::RecvTimeoutError;
use vigie_signatures::Rule;

use super::channel::EventReceiver;
use super::log::Log;
use super::outbox::Dropped;
use super::snapshot::SnapshotReader;
use crate::detect::Evidence;
use crate::event::{Event, Fact};
use crate::record::{self, Context};
use crate::settings::Fsync;
use crate::telemetry::{Loss, Shared, SinkCells};
use vigie_journal::Journal;
use vigie_journal::record::Stats;

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

/// Commands to the writer, besides events. A new command replaces the one before, so that nobody has to wait for a writer
/// that is blocked.
#[derive(Debug)]
pub struct WriterCommands {
    reopen: AtomicBool,
    fsync: Mutex<(Fsync, Duration)>,
    stats: Mutex<Option<Box<Stats>>>,
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

    /// Write a stats event. It replaces one that is not written yet.
    pub fn stats(&self, stats: Stats) {
        *locked(&self.stats) = Some(Box::new(stats));
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

/// The alert in a line of the journal's buffer: rule, evidence, and time of the packet.
type WaitingAlert = (Arc<Rule>, Evidence, u64);

/// The state of the writing thread.
pub struct Writer {
    events: EventReceiver,
    commands: Arc<WriterCommands>,
    snapshots: SnapshotReader,
    journal: Journal,
    context: Context,
    synced: Instant,
    shared: Arc<Shared>,
    sink: Arc<SinkCells>,
    log: Arc<Log>,
    /// The lines in the journal's buffer; `None` is an event other than an alert.
    waiting: VecDeque<Option<WaitingAlert>>,
    failure_logged: Option<Instant>,
    given_up: Option<Dropped>,
}

impl Writer {
    /// A writer from a channel to a journal.
    pub fn new(
        events: EventReceiver,
        commands: Arc<WriterCommands>,
        snapshots: SnapshotReader,
        journal: Journal,
        context: Context,
        shared: &Arc<Shared>,
        log: &Arc<Log>,
    ) -> Self {
        Self {
            events,
            commands,
            snapshots,
            journal,
            context,
            synced: Instant::now(),
            shared: Arc::clone(shared),
            sink: shared.sink("journal"),
            log: Arc::clone(log),
            waiting: VecDeque::new(),
            failure_logged: None,
            given_up: None,
        }
    }

    /// Writes until all workers have ended, all their events are written or given up, and no more commands come. Returns
    /// what it has given up.
    pub fn run(mut self) -> Dropped {
        let mut is_over = false;
        while !is_over {
            match self.events.recv_timeout(POLL_EVERY) {
                Ok(event) => {
                    self.add(&event);
                    while !self.journal.is_full()
                        && let Ok(event) = self.events.try_recv()
                    {
                        self.add(&event);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => is_over = true,
            }
            self.execute_commands();
            self.write(is_over);
            self.sync(is_over);
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

    fn add(&mut self, event: &Event) {
        let alert = match &event.fact {
            Fact::Alert(alert) => Some((Arc::clone(&alert.rule), alert.evidence, event.timestamp_ns)),
            _ => None,
        };
        if let Some(given_up) = &mut self.given_up {
            return count_lost(given_up, alert.is_some(), &self.shared);
        }
        self.journal.add_line(|line| record::encode(event, &self.context, line));
        self.waiting.push_back(alert);
    }

    /// Writes the buffer. Retries while that fails, if need be until the deadline.
    fn write(&mut self, is_over: bool) {
        let began = Instant::now();
        self.sink.writing(self.shared.now_ms());
        while let Err(error) = self.journal.write() {
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
                self.journal.wait(RETRY_EVERY)
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
        let written = self.journal.take_written();
        if written.lines == 0 {
            return;
        }
        self.sink.wrote(written.lines, written.bytes);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let lines = (written.lines as usize).min(self.waiting.len());
        for (rule, evidence, timestamp_ns) in self.waiting.drain(..lines).flatten() {
            self.shared.alert_written(&rule, evidence, now.checked_sub(Duration::from_nanos(timestamp_ns)));
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
        self.journal.forgo_reopen();
        let is_written = self.journal.write().is_ok();
        self.count_written();
        let mut given_up = self.given_up.unwrap_or_default();
        if !is_written {
            self.journal.give_up();
            self.waiting.drain(..).for_each(|alert| count_lost(&mut given_up, alert.is_some(), &self.shared));
        }
        self.given_up = Some(given_up);
    }

    fn execute_commands(&mut self) {
        if let Some(snapshot) = self.snapshots.changed() {
            self.context.bundle = Some(Arc::clone(&snapshot.bundle));
        }
        if self.commands.reopen.swap(false, Ordering::AcqRel)
            && let Err(error) = self.journal.reopen()
        {
            self.sink.failed();
            self.log.error(&format!("the events file cannot be reopened: {error}; events wait, and it is tried again"));
        }
        if self.given_up.is_none()
            && let Some(stats) = locked(&self.commands.stats).take()
        {
            self.journal.add_line(|line| record::encode_stats(&stats, &self.context, line));
            self.waiting.push_back(None);
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
            if let Err(error) = self.journal.sync() {
                self.sink.failed();
                self.log.error(&format!("events cannot be forced to the disk: {error}"));
            }
        }
    }
}

fn count_lost(given_up: &mut Dropped, is_alert: bool, shared: &Shared) {
    if is_alert {
        given_up.alerts += 1;
        shared.alerts_lost(Loss::SinkFailed, 1);
    } else {
        given_up.others += 1;
        shared.events_dropped(Loss::SinkFailed, 1);
    }
}
