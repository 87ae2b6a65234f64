//! The thread that writes events: it receives them from the channel, encodes them, and writes them to the journal. It counts
//! an alert as written only afterwards. It retries a write that fails; meanwhile events wait in the channel, then in the
//! outboxes of the workers.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crossbeam_channel::{Receiver, RecvTimeoutError};
use vigie_signatures::Rule;

use super::log::Log;
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
/// How long it retries when the sensor stops.
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
    end: AtomicBool,
}

impl WriterCommands {
    /// No commands yet. `fsync` says when to force events to the disk.
    pub const fn new(fsync: (Fsync, Duration)) -> Self {
        Self {
            reopen: AtomicBool::new(false),
            fsync: Mutex::new(fsync),
            stats: Mutex::new(None),
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
    events: Receiver<Event>,
    commands: Arc<WriterCommands>,
    snapshots: SnapshotReader,
    journal: Journal,
    context: Context,
    synced: Instant,
    shared: Arc<Shared>,
    sink: Arc<SinkCells>,
    log: Arc<Log>,
    /// Alerts in the journal's buffer: rule, evidence, and time of the packet.
    alerts: Vec<(Arc<Rule>, Evidence, u64)>,
    bytes: u64,
    failure_logged: Option<Instant>,
}

impl Writer {
    /// A writer from a channel to a journal.
    pub fn new(
        events: Receiver<Event>,
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
            alerts: Vec::new(),
            bytes: 0,
            failure_logged: None,
        }
    }

    /// Writes until all workers have ended, all their events are written or given up, and no more commands come.
    pub fn run(mut self) {
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
            self.write_until(if is_over { Some(Instant::now() + LAST_RETRIES_MAX) } else { None });
            self.execute_commands();
            self.sync(is_over);
        }
        // Commands given at the end, such as the last stats event.
        while !self.commands.end.load(Ordering::Acquire) {
            thread::sleep(POLL_EVERY);
        }
        self.execute_commands();
        self.write_until(Some(Instant::now() + LAST_RETRIES_MAX));
        self.sync(true);
    }

    fn add(&mut self, event: &Event) {
        self.bytes += self.journal.add_line(|line| record::encode(event, &self.context, line)) as u64;
        if let Fact::Alert(alert) = &event.fact {
            self.alerts.push((Arc::clone(&alert.rule), alert.evidence, event.timestamp_ns));
        }
    }

    /// Writes the buffer. Retries while that fails, until the deadline if there is one.
    fn write_until(&mut self, deadline: Option<Instant>) {
        let lines = self.journal.lines_waiting();
        loop {
            match self.journal.write() {
                Ok(()) => break,
                Err(error) => {
                    self.sink.failed();
                    if self.failure_logged.is_none_or(|last| last.elapsed() >= LOG_FAILURE_EVERY) {
                        self.failure_logged = Some(Instant::now());
                        self.log
                            .error(&format!("events cannot be written: {error}; they wait, and the write is retried"));
                    }
                    if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                        self.shared.alerts_lost(Loss::SinkFailed, self.alerts.len() as u64);
                        self.alerts.clear();
                        return;
                    }
                    thread::sleep(RETRY_EVERY);
                    // The command may be to reopen the file, which may help.
                    self.execute_commands();
                }
            }
        }
        if self.failure_logged.take().is_some() {
            self.log.info("events can be written again");
        }
        if lines > 0 {
            self.sink.wrote(lines, std::mem::take(&mut self.bytes));
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        for (rule, evidence, timestamp_ns) in self.alerts.drain(..) {
            self.shared.alert_written(&rule, evidence, now.checked_sub(Duration::from_nanos(timestamp_ns)));
        }
    }

    fn execute_commands(&mut self) {
        if let Some(snapshot) = self.snapshots.changed() {
            self.context.bundle = Some(Arc::clone(&snapshot.bundle));
        }
        if self.commands.reopen.swap(false, Ordering::AcqRel)
            && let Err(error) = self.journal.reopen()
        {
            self.log.error(&format!("the events file cannot be reopened: {error}; the old file stays in use"));
        }
        if let Some(stats) = locked(&self.commands.stats).take() {
            self.bytes += self.journal.add_line(|line| record::encode_stats(&stats, &self.context, line)) as u64;
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
