//! The thread of one worker: it takes frames from its source, sends events to its outbox, and publishes its counts for the
//! metrics. It waits for frames, and for nothing else.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crossbeam_channel::Sender;

use super::guarded::{GuardedWorker, WorkerPanic};
use super::hello_scope::hello_scope;
use super::live_clock::LiveClock;
use super::names_wait::NamesWait;
use super::outbox::{Dropped, Outbox};
use super::packet_clocks::PacketClocks;
use super::snapshot::{Snapshot, SnapshotReader};
use crate::event::{Event, Fact, Order};
use crate::settings::Settings;
use crate::telemetry::{CaptureCells, CaptureCounts, Shared, WorkerCells};
use crate::worker::{HelloCounts, Worker};
use vigie_capture::live::{Change, InterfaceCounts, Live};
use vigie_capture::{CaptureError, Source};

/// How often counts are published.
const PUBLISH_EVERY: Duration = Duration::from_millis(50);
/// How often the worker reports to the watching thread.
const REPORT_EVERY: Duration = Duration::from_millis(250);
/// How late packets may arrive. Without packets, flows time out by the passing time minus this.
const LATENESS_NS: u64 = 1_000_000_000;
/// How long a worker without packets waits for room in the channel.
const IDLE_FLUSH_MAX: Duration = Duration::from_millis(10);
/// How long a worker still processes the packets in its ring when the sensor stops.
const DRAIN_MAX: Duration = Duration::from_secs(2);
/// How long it waits for the last counts of shunted flows, and how often it looks for them.
const SHUNTED_MAX: Duration = Duration::from_secs(2);
const SHUNTED_EVERY: Duration = Duration::from_millis(5);
/// How long it tries to send its last events.
const LAST_EVENTS_MAX: Duration = Duration::from_secs(10);

/// A source of live frames.
pub trait LiveSource: Source + Send {
    /// The counts of each interface.
    fn counts(&self) -> &[InterfaceCounts];
    /// Updates the counts.
    fn refresh(&mut self);
    /// The next change of an interface's state.
    fn next_change(&mut self) -> Option<Change>;
}

impl LiveSource for Live {
    fn counts(&self) -> &[InterfaceCounts] {
        self.counts()
    }

    fn refresh(&mut self) {
        self.refresh();
    }

    fn next_change(&mut self) -> Option<Change> {
        self.next_change()
    }
}

/// A report of a worker to the watching thread.
#[derive(Debug, Default)]
pub struct Report {
    /// Number of the worker.
    pub worker: usize,
    /// The interfaces' counts.
    pub interfaces: Vec<InterfaceCounts>,
    /// The hellos of each interface; interfaces without hellos may be missing.
    pub hellos: Vec<HelloCounts>,
    /// Changes of interfaces since the last report.
    pub changes: Vec<Change>,
    /// By how much the clock of the packets was set since the last report.
    pub clock_set_by_ns: i64,
    /// Panics since the last report.
    pub panics: Vec<WorkerPanic>,
    /// Events dropped since the last report.
    pub dropped: Dropped,
    /// Alerts since the last report for which another one stands.
    pub summarised: u64,
}

/// A worker, and what its thread needs.
pub struct WorkerThread {
    index: usize,
    source: Box<dyn LiveSource>,
    worker: GuardedWorker,
    outbox: Outbox,
    snapshots: SnapshotReader,
    cells: Arc<WorkerCells>,
    captures: Vec<Arc<CaptureCells>>,
    /// Names of the interfaces.
    interfaces: Vec<String>,
    shared: Arc<Shared>,
    reports: Sender<Report>,
    /// Whether to send the ends of all flows. Those of sighted flows are sent in any case.
    writes_flow_ends: bool,
    clock: LiveClock,
    names_wait: Option<NamesWait>,
    unreported: Report,
    busy: Duration,
    published: Instant,
    reported: Instant,
}

impl WorkerThread {
    /// The thread of the worker with this number.
    #[allow(clippy::too_many_arguments)]
    pub fn new(
        index: usize,
        source: Box<dyn LiveSource>,
        mut worker: GuardedWorker,
        outbox: Outbox,
        snapshots: SnapshotReader,
        shared: &Arc<Shared>,
        reports: Sender<Report>,
        writes_flow_ends: bool,
    ) -> Self {
        let interfaces: Vec<String> = source.counts().iter().map(|counts| counts.name.clone()).collect();
        use_snapshot(worker.worker(), snapshots.seen(), &interfaces);
        let captures = source.counts().iter().map(|counts| shared.capture(index, &counts.name)).collect();
        let cells = shared.worker(index).unwrap_or_else(|| Arc::new(WorkerCells::new(&[])));
        let now = Instant::now();
        Self {
            index,
            source,
            worker,
            outbox,
            snapshots,
            cells,
            captures,
            interfaces,
            shared: Arc::clone(shared),
            reports,
            writes_flow_ends,
            clock: LiveClock::default(),
            names_wait: None,
            unreported: Report { worker: index, ..Report::default() },
            busy: Duration::ZERO,
            published: now,
            reported: now,
        }
    }

    /// Has flows without a name wait for the other workers, if there are any.
    pub fn await_names(mut self, clocks: &Arc<PacketClocks>, settings: &Settings) -> Self {
        if clocks.workers() > 1 && settings.limits.waiting_flows_max > 0 {
            self.worker.worker().await_names(settings.limits.waiting_flows_max);
            self.names_wait = Some(NamesWait::new(self.index, Arc::clone(clocks), settings));
        }
        self
    }

    /// Processes frames until `stop`, then those that have arrived already, and ends all flows. Returns the events that
    /// could not be sent in the end.
    ///
    /// # Errors
    /// The source failed.
    pub fn run(mut self, stop: &AtomicBool) -> Result<Dropped, CaptureError> {
        while !stop.load(Ordering::Relaxed) {
            self.step()?;
        }
        let deadline = Instant::now() + DRAIN_MAX;
        while Instant::now() < deadline && self.step()? {}
        let (outbox, writes_flow_ends) = (&mut self.outbox, self.writes_flow_ends);
        if let Some(names_wait) = &self.names_wait {
            names_wait.await_all();
            self.worker.worker().stop_awaiting_names(&mut |event| send(outbox, event, writes_flow_ends));
        }
        // What was shunted of a flow is final only when nobody in the kernel can add to it.
        self.worker.worker().retire_all_flows();
        let deadline = Instant::now() + SHUNTED_MAX;
        while self.worker.worker().awaits_shunted() && Instant::now() < deadline {
            std::thread::sleep(SHUNTED_EVERY);
            self.worker.worker().tend_shunt(&mut |event| send(outbox, event, writes_flow_ends));
        }
        self.worker.worker().finish(&mut |event| send(outbox, event, writes_flow_ends));
        // Flows that could not wait.
        self.worker.worker().end_awaited(&mut |event| send(outbox, event, writes_flow_ends));
        self.source.refresh();
        self.publish();
        self.report(true);
        Ok(self.outbox.close(Instant::now() + LAST_EVENTS_MAX))
    }

    /// Processes one batch, or waits once. Whether there were frames.
    fn step(&mut self) -> Result<bool, CaptureError> {
        let Self { source, worker, outbox, busy, snapshots, writes_flow_ends, names_wait, clock, interfaces, .. } =
            self;
        let (index, set_by_ns) = (self.index, &mut self.unreported.clock_set_by_ns);
        let mut send = |event| send(outbox, event, *writes_flow_ends);
        let mut is_idle = true;
        let mut last_ns = 0;
        if let Some(names_wait) = names_wait {
            names_wait.before_batch();
        }
        let before_ns = if worker.worker().shunts() { wall_clock_ns() } else { 0 };
        source.next_batch(&mut |frames| {
            let began = Instant::now();
            // Here and not before the wait: these frames may have arrived after the reload was reported as done.
            if let Some(snapshot) = snapshots.changed() {
                use_snapshot(worker.worker(), snapshot, interfaces);
            }
            last_ns = frames.last().map_or(0, |frame| frame.timestamp_ns);
            if let Some(by_ns) = clock.batch(last_ns, began) {
                worker.worker().clock_was_set(by_ns, index == 0);
                *set_by_ns += by_ns;
            }
            worker.batch(frames, &mut send);
            *busy += began.elapsed();
            is_idle = false;
        })?;
        if is_idle {
            if let Some(snapshot) = snapshots.changed() {
                use_snapshot(worker.worker(), snapshot, interfaces);
            }
            if let Some(now_ns) = clock.now_ns(Instant::now()) {
                worker.worker().pass_time(now_ns.saturating_sub(LATENESS_NS), &mut send);
            }
        }
        if let Some(names_wait) = names_wait {
            names_wait.after_batch(if is_idle { None } else { Some(last_ns) });
            if worker.worker().awaits_names() {
                names_wait.resolve(worker.worker(), &mut send);
            }
        }
        if worker.worker().shunts() {
            let seen_ns = if is_idle { before_ns.saturating_sub(LATENESS_NS) } else { last_ns };
            worker.worker().open_shunted(seen_ns, wall_clock_ns());
            worker.worker().tend_shunt(&mut send);
        }
        if is_idle {
            outbox.flush_until(Instant::now() + IDLE_FLUSH_MAX);
        } else {
            outbox.flush();
        }
        if self.published.elapsed() >= PUBLISH_EVERY {
            self.publish();
        }
        Ok(!is_idle)
    }

    #[cold]
    fn publish(&mut self) {
        let elapsed = self.published.elapsed();
        self.published = Instant::now();
        self.outbox.release_held(self.published);
        self.cells.publish(self.worker.counts());
        let (flows, slots) = self.worker.worker().flows();
        self.cells.flows(flows, slots);
        let (waiting, depth) = self.outbox.depths();
        self.cells.channel(depth, self.outbox.channel_events_max(), waiting);
        self.cells.busy(std::mem::take(&mut self.busy), elapsed);
        self.cells.progressed(self.shared.now_ms());
        for (cells, counts) in self.captures.iter().zip(self.source.counts()) {
            cells.publish(&CaptureCounts {
                packets: counts.frames,
                bytes: counts.bytes,
                dropped_ring: counts.dropped,
                dropped_sensor: 0,
            });
        }
        if self.reported.elapsed() >= REPORT_EVERY {
            self.send_clock();
            self.report(false);
        }
    }

    /// Tells the writer how far the time of packets has gone, so that what waits is judged also when nothing else is seen.
    fn send_clock(&mut self) {
        let Some(now_ns) = self.clock.now_ns(Instant::now()) else { return };
        self.outbox.send(Event {
            timestamp_ns: now_ns.saturating_sub(LATENESS_NS),
            frame_number: 0,
            order: Order::default(),
            fact: Fact::Clock { both_directions: false },
        });
    }

    /// Reports to the watching thread. What the channel has no room for goes into the next report.
    fn report(&mut self, is_last: bool) {
        self.reported = Instant::now();
        while let Some(change) = self.source.next_change() {
            // Each worker sees the same changes; one report is enough.
            if self.index == 0 {
                self.unreported.changes.push(change);
            }
        }
        self.unreported.interfaces = self.source.counts().to_vec();
        self.unreported.hellos = self.worker.worker().counters().hellos().to_vec();
        self.unreported.panics.extend(self.worker.take_panics());
        let dropped = self.outbox.take_dropped();
        self.unreported.dropped.alerts += dropped.alerts;
        self.unreported.dropped.others += dropped.others;
        self.unreported.summarised += self.outbox.take_summarised();
        let report = std::mem::replace(&mut self.unreported, Report { worker: self.index, ..Report::default() });
        let refused = if is_last {
            self.reports.send_timeout(report, REPORT_EVERY).map_err(|error| error.into_inner())
        } else {
            self.reports.try_send(report).map_err(|error| error.into_inner())
        };
        if let Err(report) = refused {
            self.unreported = report;
        }
    }
}

/// Works by a snapshot from now on.
fn use_snapshot(worker: &mut Worker, snapshot: &Snapshot, interfaces: &[String]) {
    worker.use_signatures(Arc::clone(&snapshot.bundle));
    worker.count_hellos_of(hello_scope(&snapshot.policy, interfaces));
}

fn send(outbox: &mut Outbox, event: Event, writes_flow_ends: bool) {
    if writes_flow_ends || !matches!(event.fact, Fact::FlowEnd(_, _, None)) {
        outbox.send(event);
    }
}
/// The time of the clock that stamps packets.
fn wall_clock_ns() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64)
}
