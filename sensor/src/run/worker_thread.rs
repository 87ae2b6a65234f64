//! The thread of one worker: it takes frames from its source, sends events to its outbox, and publishes its counts for the
//! metrics. It waits for frames, and for nothing else.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crossbeam_channel::Sender;

use super::outbox::Outbox;
use super::snapshot::SnapshotReader;
use crate::event::{Event, Fact};
use crate::telemetry::{CaptureCells, CaptureCounts, Shared, WorkerCells};
use crate::worker::Worker;
use vigie_capture::live::{Change, InterfaceCounts, Live};
use vigie_capture::{CaptureError, Source};

/// How often counts are published.
const PUBLISH_EVERY: Duration = Duration::from_millis(50);
/// How often the worker reports to the watching thread.
const REPORT_EVERY: Duration = Duration::from_millis(250);
/// How late packets may arrive. Without packets, flows time out by the system clock minus this.
const LATENESS_NS: u64 = 1_000_000_000;
/// How long a worker without packets waits for room in the channel.
const IDLE_FLUSH_MAX: Duration = Duration::from_millis(10);
/// How long a worker still processes the packets in its ring when the sensor stops.
const DRAIN_MAX: Duration = Duration::from_secs(2);
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
    /// Changes of interfaces since the last report.
    pub changes: Vec<Change>,
    /// Alerts dropped since the last report.
    pub alerts_lost: u64,
    /// Other events dropped since the last report.
    pub records_dropped: u64,
}

/// A worker, and what its thread needs.
pub struct WorkerThread {
    index: usize,
    source: Box<dyn LiveSource>,
    worker: Worker,
    outbox: Outbox,
    snapshots: SnapshotReader,
    cells: Arc<WorkerCells>,
    captures: Vec<Arc<CaptureCells>>,
    shared: Arc<Shared>,
    reports: Sender<Report>,
    /// Whether to send the ends of flows. Workers emit those of flows with an alert in any case, for the summary of `read`.
    writes_flow_ends: bool,
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
        worker: Worker,
        outbox: Outbox,
        snapshots: SnapshotReader,
        shared: &Arc<Shared>,
        reports: Sender<Report>,
        writes_flow_ends: bool,
    ) -> Self {
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
            shared: Arc::clone(shared),
            reports,
            writes_flow_ends,
            unreported: Report { worker: index, ..Report::default() },
            busy: Duration::ZERO,
            published: now,
            reported: now,
        }
    }

    /// Processes frames until `stop`, then those that have arrived already, and ends all flows. Returns the number of alerts
    /// that could not be sent in the end.
    ///
    /// # Errors
    /// The source failed.
    pub fn run(mut self, stop: &AtomicBool) -> Result<u64, CaptureError> {
        while !stop.load(Ordering::Relaxed) {
            self.step()?;
        }
        let deadline = Instant::now() + DRAIN_MAX;
        while Instant::now() < deadline && self.step()? {}
        let (outbox, writes_flow_ends) = (&mut self.outbox, self.writes_flow_ends);
        self.worker.finish(&mut |event| send(outbox, event, writes_flow_ends));
        self.source.refresh();
        self.publish();
        self.report(true);
        Ok(self.outbox.close(Instant::now() + LAST_EVENTS_MAX))
    }

    /// Processes one batch, or waits once. Whether there were frames.
    fn step(&mut self) -> Result<bool, CaptureError> {
        let Self { source, worker, outbox, busy, snapshots, writes_flow_ends, .. } = self;
        let mut send = |event| send(outbox, event, *writes_flow_ends);
        let mut is_idle = true;
        source.next_batch(&mut |frames| {
            let began = Instant::now();
            // Here and not before the wait: these frames may have arrived after the reload was reported as done.
            if let Some(snapshot) = snapshots.changed() {
                worker.use_signatures(Arc::clone(&snapshot.bundle));
            }
            worker.batch(frames, &mut send);
            *busy += began.elapsed();
            is_idle = false;
        })?;
        if is_idle {
            if let Some(snapshot) = snapshots.changed() {
                worker.use_signatures(Arc::clone(&snapshot.bundle));
            }
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as u64;
            worker.pass_time(now.saturating_sub(LATENESS_NS), &mut send);
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
        self.cells.publish(self.worker.all_counts().into_iter().map(|(_, _, count)| count));
        let (flows, slots) = self.worker.flows();
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
            self.report(false);
        }
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
        self.unreported.alerts_lost += self.outbox.take_alerts_lost();
        self.unreported.records_dropped += self.outbox.take_records_dropped();
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

fn send(outbox: &mut Outbox, event: Event, writes_flow_ends: bool) {
    if writes_flow_ends || !matches!(event.fact, Fact::FlowEnd(..)) {
        outbox.send(event);
    }
}
