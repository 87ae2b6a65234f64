//! One worker's thread: frames in from its source, events out to its outbox, and now and then its counts to where a
//! scrape finds them. Nothing here waits for anybody but for frames.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crossbeam_channel::Sender;

use super::outbox::Outbox;
use super::snapshot::View;
use crate::event::{Event, Fact};
use crate::metrics::{CaptureCells, CaptureCounts, Shared, WorkerCells};
use crate::worker::Worker;
use vigie_capture::live::{Change, InterfaceCounts, Live};
use vigie_capture::{CaptureError, Source};

/// How often counts are shown.
const SHOW_EVERY: Duration = Duration::from_millis(50);
/// How often the watching thread hears of the interfaces.
const REPORT_EVERY: Duration = Duration::from_millis(250);
/// How far behind the clock packets may be while flows are ended by it.
const LATENESS_NS: u64 = 1_000_000_000;
/// For how long a worker without packets waits for room in the channel.
const IDLE_FLUSH_MAX: Duration = Duration::from_millis(10);
/// For how long a worker goes on with what lies in its ring when the sensor stops.
const DRAIN_MAX: Duration = Duration::from_secs(2);
/// For how long it offers its last events.
const LAST_EVENTS_MAX: Duration = Duration::from_secs(10);

/// A source of a running sensor.
pub trait Tap: Source + Send {
    /// What was seen of each interface.
    fn counts(&self) -> &[InterfaceCounts];
    /// Brings the counts up to date.
    fn refresh(&mut self);
    /// What became of an interface, once.
    fn next_change(&mut self) -> Option<Change>;
}

impl Tap for Live {
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

/// What a worker tells the watching thread.
#[derive(Debug, Default)]
pub struct Report {
    /// Number of the worker.
    pub worker: usize,
    /// As the worker knows them.
    pub interfaces: Vec<InterfaceCounts>,
    /// Since the last report.
    pub changes: Vec<Change>,
    /// Alerts for which there was no room, since the last report.
    pub alerts_lost: u64,
    /// Other events for which there was no room, since the last report.
    pub records_dropped: u64,
}

/// A worker and all that its thread has.
pub struct Lane {
    index: usize,
    tap: Box<dyn Tap>,
    worker: Worker,
    outbox: Outbox,
    view: View,
    cells: Arc<WorkerCells>,
    captures: Vec<Arc<CaptureCells>>,
    shared: Arc<Shared>,
    reports: Sender<Report>,
    /// Whether the ends of flows are to be written, not only what flows told.
    writes_flow_ends: bool,
    unreported: Report,
    busy: Duration,
    shown: Instant,
    reported: Instant,
}

impl Lane {
    /// The lane of the worker of that number.
    #[allow(clippy::too_many_arguments)]
    pub fn new(
        index: usize,
        tap: Box<dyn Tap>,
        worker: Worker,
        outbox: Outbox,
        view: View,
        shared: &Arc<Shared>,
        reports: Sender<Report>,
        writes_flow_ends: bool,
    ) -> Self {
        let captures = tap.counts().iter().map(|counts| shared.capture(index, &counts.name)).collect();
        let cells = shared.worker(index).unwrap_or_else(|| Arc::new(WorkerCells::new(&[])));
        let now = Instant::now();
        Self {
            index,
            tap,
            worker,
            outbox,
            view,
            cells,
            captures,
            shared: Arc::clone(shared),
            reports,
            writes_flow_ends,
            unreported: Report { worker: index, ..Report::default() },
            busy: Duration::ZERO,
            shown: now,
            reported: now,
        }
    }

    /// Works until `stop`, then on what is there already, and ends all flows. How many alerts could not be handed over in
    /// the end comes back.
    ///
    /// # Errors
    /// The source gives nothing any more.
    pub fn run(mut self, stop: &AtomicBool) -> Result<u64, CaptureError> {
        while !stop.load(Ordering::Relaxed) {
            self.step()?;
        }
        let deadline = Instant::now() + DRAIN_MAX;
        while Instant::now() < deadline && self.step()? {}
        let (outbox, writes_flow_ends) = (&mut self.outbox, self.writes_flow_ends);
        self.worker.finish(&mut |event| offer(outbox, event, writes_flow_ends));
        self.tap.refresh();
        self.show();
        self.report(true);
        Ok(self.outbox.close(Instant::now() + LAST_EVENTS_MAX))
    }

    /// One batch, or one wait. Whether there were frames.
    fn step(&mut self) -> Result<bool, CaptureError> {
        let Self { tap, worker, outbox, busy, view, writes_flow_ends, .. } = self;
        let mut offer = |event| offer(outbox, event, *writes_flow_ends);
        let mut is_idle = true;
        tap.next_batch(&mut |frames| {
            let began = Instant::now();
            // Here and not before the wait: these frames may have come after the reload was told.
            if let Some(snapshot) = view.changed() {
                worker.use_signatures(Arc::clone(&snapshot.bundle));
            }
            worker.batch(frames, &mut offer);
            *busy += began.elapsed();
            is_idle = false;
        })?;
        if is_idle {
            if let Some(snapshot) = view.changed() {
                worker.use_signatures(Arc::clone(&snapshot.bundle));
            }
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as u64;
            worker.pass_time(now.saturating_sub(LATENESS_NS), &mut offer);
        }
        if is_idle {
            outbox.flush_until(Instant::now() + IDLE_FLUSH_MAX);
        } else {
            outbox.flush();
        }
        if self.shown.elapsed() >= SHOW_EVERY {
            self.show();
        }
        Ok(!is_idle)
    }

    #[cold]
    fn show(&mut self) {
        let elapsed = self.shown.elapsed();
        self.shown = Instant::now();
        self.cells.publish(self.worker.all_counts().into_iter().map(|(_, _, count)| count));
        let (flows, slots) = self.worker.flows();
        self.cells.flows(flows, slots);
        let (waiting, depth) = self.outbox.depths();
        self.cells.channel(depth, self.outbox.channel_events_max(), waiting);
        self.cells.busy(std::mem::take(&mut self.busy), elapsed);
        self.cells.progressed(self.shared.now_ms());
        for (cells, counts) in self.captures.iter().zip(self.tap.counts()) {
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

    /// Reports to the watching thread; what it has no room for is told the next time.
    fn report(&mut self, is_last: bool) {
        self.reported = Instant::now();
        while let Some(change) = self.tap.next_change() {
            // One worker's word is enough.
            if self.index == 0 {
                self.unreported.changes.push(change);
            }
        }
        self.unreported.interfaces = self.tap.counts().to_vec();
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

fn offer(outbox: &mut Outbox, event: Event, writes_flow_ends: bool) {
    if writes_flow_ends || !matches!(event.fact, Fact::FlowEnd(..)) {
        outbox.offer(event);
    }
}
