//! The thread that writes events: it takes them off the channel, encodes them, writes them to the journal, and tells
//! what was written only afterwards. A journal that refuses is tried again until it takes; meanwhile events wait in the
//! channel, and behind it with the workers.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crossbeam_channel::{Receiver, RecvTimeoutError};
use vigie_signatures::Rule;

use super::log::Log;
use super::snapshot::View;
use crate::config::Fsync;
use crate::detect::Evidence;
use crate::event::{Event, Fact};
use crate::metrics::{Loss, Shared, SinkCells};
use crate::record::{self, Context};
use vigie_journal::Journal;
use vigie_journal::record::Stats;

/// How long the writer waits for events before it looks after the rest.
const WAIT: Duration = Duration::from_millis(50);
/// How long it rests after the journal refused.
const REST: Duration = Duration::from_millis(200);
/// For how long it goes on trying when the sensor stops.
const PATIENCE_AT_THE_END: Duration = Duration::from_secs(5);
/// How often it says that the journal refuses.
const COMPLAIN_EVERY: Duration = Duration::from_secs(60);

/// What the writer is told beside events. Orders replace each other and wait in no queue, so that to give one never waits
/// for a writer that stands still.
#[derive(Debug)]
pub struct Orders {
    reopen: AtomicBool,
    fsync: Mutex<(Fsync, Duration)>,
    stats: Mutex<Option<Box<Stats>>>,
    end: AtomicBool,
}

impl Orders {
    /// No orders, but for when to have what was written stored.
    pub const fn new(fsync: (Fsync, Duration)) -> Self {
        Self {
            reopen: AtomicBool::new(false),
            fsync: Mutex::new(fsync),
            stats: Mutex::new(None),
            end: AtomicBool::new(false),
        }
    }

    /// The file was renamed, or is to be anyway: begin a new one under the name.
    pub fn reopen(&self) {
        self.reopen.store(true, Ordering::Release);
    }

    /// When to have what was written stored.
    pub fn fsync(&self, fsync: (Fsync, Duration)) {
        *locked(&self.fsync) = fsync;
    }

    /// Write a record of the sensor's own counts, in place of one that was not written yet.
    pub fn stats(&self, stats: Stats) {
        *locked(&self.stats) = Some(Box::new(stats));
    }

    /// No more orders come.
    pub fn end(&self) {
        self.end.store(true, Ordering::Release);
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The writing thread's own.
pub struct Writer {
    events: Receiver<Event>,
    orders: Arc<Orders>,
    view: View,
    journal: Journal,
    context: Context,
    synced: Instant,
    shared: Arc<Shared>,
    sink: Arc<SinkCells>,
    log: Arc<Log>,
    /// Alerts that wait with the journal: rule, evidence, and the packet's time.
    alerts: Vec<(Arc<Rule>, Evidence, u64)>,
    bytes: u64,
    complained: Option<Instant>,
}

impl Writer {
    /// A writer from a channel to a journal.
    pub fn new(
        events: Receiver<Event>,
        orders: Arc<Orders>,
        view: View,
        journal: Journal,
        context: Context,
        shared: &Arc<Shared>,
        log: &Arc<Log>,
    ) -> Self {
        Self {
            events,
            orders,
            view,
            journal,
            context,
            synced: Instant::now(),
            shared: Arc::clone(shared),
            sink: shared.sink("journal"),
            log: Arc::clone(log),
            alerts: Vec::new(),
            bytes: 0,
            complained: None,
        }
    }

    /// Writes until all workers are gone, all that they sent is written or cannot be, and no more orders come.
    pub fn run(mut self) {
        let mut is_over = false;
        while !is_over {
            match self.events.recv_timeout(WAIT) {
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
            self.write_until(if is_over { Some(Instant::now() + PATIENCE_AT_THE_END) } else { None });
            self.obey();
            self.sync(is_over);
        }
        // Records ordered at the end, such as the last counts.
        while !self.orders.end.load(Ordering::Acquire) {
            thread::sleep(WAIT);
        }
        self.obey();
        self.write_until(Some(Instant::now() + PATIENCE_AT_THE_END));
        self.sync(true);
    }

    fn add(&mut self, event: &Event) {
        self.bytes += self.journal.add_line(|line| record::encode(event, &self.context, line)) as u64;
        if let Fact::Alert(alert) = &event.fact {
            self.alerts.push((Arc::clone(&alert.rule), alert.evidence, event.timestamp_ns));
        }
    }

    /// Writes what waits; tries again while the journal refuses, until the deadline if there is one.
    fn write_until(&mut self, deadline: Option<Instant>) {
        let lines = self.journal.lines_waiting();
        loop {
            match self.journal.write() {
                Ok(()) => break,
                Err(error) => {
                    self.sink.failed();
                    if self.complained.is_none_or(|last| last.elapsed() >= COMPLAIN_EVERY) {
                        self.complained = Some(Instant::now());
                        self.log.error(&format!("events cannot be written: {error}; they wait, and are tried again"));
                    }
                    if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                        self.shared.alerts_lost(Loss::SinkFailed, self.alerts.len() as u64);
                        self.alerts.clear();
                        return;
                    }
                    thread::sleep(REST);
                    // A new file may be what helps.
                    self.obey();
                }
            }
        }
        if self.complained.take().is_some() {
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

    fn obey(&mut self) {
        if let Some(snapshot) = self.view.changed() {
            self.context.bundle = Some(Arc::clone(&snapshot.bundle));
        }
        if self.orders.reopen.swap(false, Ordering::AcqRel)
            && let Err(error) = self.journal.reopen()
        {
            self.log.error(&format!("the events file cannot be opened again: {error}; the old one stays"));
        }
        if let Some(stats) = locked(&self.orders.stats).take() {
            self.bytes += self.journal.add_line(|line| record::encode_stats(&stats, &self.context, line)) as u64;
        }
    }

    fn sync(&mut self, is_over: bool) {
        let is_due = match *locked(&self.orders.fsync) {
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
