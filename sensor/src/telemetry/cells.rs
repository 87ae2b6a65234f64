//! Cells in which the threads of the packet path publish their counts for a scrape. Each cell has one writer, which uses
//! plain stores; readers load. So a worker never waits and never shares a written cache line with another writer. A
//! scrape costs it at most a cache miss for each line that the scrape has read, when the worker publishes next.
//!
//! The caller ensures that each cell has one writer. Two writers would lose counts, but cause no other harm.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Cells of a line: two cache lines of 64 bytes, since processors fetch them in pairs.
const LINE_CELLS: usize = 16;

#[derive(Debug, Default)]
#[repr(align(128))]
struct Line([AtomicU64; LINE_CELLS]);

/// Cells on cache lines of their own.
#[derive(Debug)]
struct Cells(Box<[Line]>);

impl Cells {
    fn new(count: usize) -> Self {
        Self((0..count.div_ceil(LINE_CELLS)).map(|_| Line::default()).collect())
    }

    #[inline]
    fn cell(&self, index: usize) -> Option<&AtomicU64> {
        self.0.get(index / LINE_CELLS)?.0.get(index % LINE_CELLS)
    }

    #[inline]
    fn store(&self, index: usize, value: u64) {
        if let Some(cell) = self.cell(index) {
            cell.store(value, Relaxed);
        }
    }

    fn load(&self, index: usize) -> u64 {
        self.cell(index).map_or(0, |cell| cell.load(Relaxed))
    }
}

/// Counts and state of one worker, written by that worker alone.
#[derive(Debug)]
pub struct WorkerCells {
    labels: Box<[(&'static str, &'static str)]>,
    counts: Cells,
    state: Cells,
}

/// Cells of the state.
#[derive(Clone, Copy)]
enum State {
    Progress,
    Flows,
    FlowSlots,
    ChannelDepth,
    ChannelCapacity,
    Pending,
    BusyNs,
    BusyRatio,
    Count,
}

/// The state of a worker as a scrape reads it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct WorkerReading {
    /// When it last completed a round of its loop, by [`Shared::now_ms`](super::Shared::now_ms); 0 if never.
    pub progress_ms: u64,
    /// Flows in its table.
    pub flows: u64,
    /// Room in its table.
    pub flow_slots: u64,
    /// Events in its channel.
    pub channel_depth: u64,
    /// Room in its channel.
    pub channel_capacity: u64,
    /// Events that wait for room.
    pub pending: u64,
    /// Time spent on packets.
    pub busy: Duration,
    /// Share of the last interval that was spent on packets.
    pub busy_ratio: f64,
}

impl WorkerCells {
    /// Cells for counts with these labels: family and reason.
    pub fn new(labels: &[(&'static str, &'static str)]) -> Self {
        Self { labels: labels.into(), counts: Cells::new(labels.len()), state: Cells::new(State::Count as usize) }
    }

    /// Family and reason of each count, in order.
    pub fn labels(&self) -> &[(&'static str, &'static str)] {
        &self.labels
    }

    /// Publishes a count: its value since start, by its position among the labels.
    #[inline]
    pub fn store(&self, index: usize, value: u64) {
        debug_assert!(index < self.labels.len(), "no label {index}");
        self.counts.store(index, value);
    }

    /// Publishes all counts, in the order of the labels.
    #[inline]
    pub fn publish(&self, values: impl IntoIterator<Item = u64>) {
        for (index, value) in values.into_iter().enumerate() {
            self.store(index, value);
        }
    }

    /// The worker completed a round of its loop at this time, by [`Shared::now_ms`](super::Shared::now_ms). To be called
    /// several times a second, also without packets.
    #[inline]
    pub fn progressed(&self, now_ms: u64) {
        self.state.store(State::Progress as usize, now_ms.max(1));
    }

    /// Flows in the table, and its slots.
    #[inline]
    pub fn flows(&self, flows: usize, slots: usize) {
        self.state.store(State::Flows as usize, flows as u64);
        self.state.store(State::FlowSlots as usize, slots as u64);
    }

    /// Events in the channel, its capacity, and events that wait in the worker for room in it.
    #[inline]
    pub fn channel(&self, depth: usize, capacity: usize, pending: usize) {
        self.state.store(State::ChannelDepth as usize, depth as u64);
        self.state.store(State::ChannelCapacity as usize, capacity as u64);
        self.state.store(State::Pending as usize, pending as u64);
    }

    /// The worker spent `busy` of the last `elapsed` on packets.
    #[inline]
    pub fn busy(&self, busy: Duration, elapsed: Duration) {
        let busy_ns = u64::try_from(busy.as_nanos()).unwrap_or(u64::MAX);
        let before = self.state.load(State::BusyNs as usize);
        self.state.store(State::BusyNs as usize, before.wrapping_add(busy_ns));
        let ratio = busy.as_secs_f64() / elapsed.as_secs_f64();
        let ratio = if ratio.is_finite() { ratio.clamp(0.0, 1.0) } else { 0.0 };
        self.state.store(State::BusyRatio as usize, ratio.to_bits());
    }

    /// A count, for the scrape.
    pub fn load(&self, index: usize) -> u64 {
        self.counts.load(index)
    }

    /// The state, for the scrape.
    pub fn reading(&self) -> WorkerReading {
        let load = |place: State| self.state.load(place as usize);
        WorkerReading {
            progress_ms: load(State::Progress),
            flows: load(State::Flows),
            flow_slots: load(State::FlowSlots),
            channel_depth: load(State::ChannelDepth),
            channel_capacity: load(State::ChannelCapacity),
            pending: load(State::Pending),
            busy: Duration::from_nanos(load(State::BusyNs)),
            busy_ratio: f64::from_bits(load(State::BusyRatio)),
        }
    }
}

/// Counts of a worker's capture on one interface since start. They never fall: when a ring is opened again, its counts
/// are added to those of the old one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CaptureCounts {
    /// Packets that the worker received.
    pub packets: u64,
    /// Their bytes on the wire.
    pub bytes: u64,
    /// Packets for which the kernel's ring had no room.
    pub dropped_ring: u64,
    /// Packets that the sensor received but discarded before the worker.
    pub dropped_sensor: u64,
}

/// Counts of one worker's capture on one interface, written by that worker alone.
#[derive(Debug)]
pub struct CaptureCells {
    pub(super) worker: usize,
    pub(super) interface: String,
    cells: Cells,
}

impl CaptureCells {
    pub(super) fn new(worker: usize, interface: &str) -> Self {
        Self { worker, interface: interface.to_owned(), cells: Cells::new(4) }
    }

    /// Publishes the counts since start.
    #[inline]
    pub fn publish(&self, counts: &CaptureCounts) {
        let values = [counts.packets, counts.bytes, counts.dropped_ring, counts.dropped_sensor];
        for (index, value) in values.into_iter().enumerate() {
            self.cells.store(index, value);
        }
    }

    /// The counts, for the scrape.
    pub fn counts(&self) -> CaptureCounts {
        CaptureCounts {
            packets: self.cells.load(0),
            bytes: self.cells.load(1),
            dropped_ring: self.cells.load(2),
            dropped_sensor: self.cells.load(3),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_of_one_writer_share_no_line_with_others() {
        assert_eq!(align_of::<Line>(), 128);
        assert_eq!(size_of::<Line>(), 128);
        let cells = WorkerCells::new(&[("a", "b")]);
        let place = |cells: &Cells| cells.cell(0).map_or(0, |cell| std::ptr::from_ref(cell) as usize);
        assert_eq!(place(&cells.counts) % 128, 0);
        assert!(place(&cells.counts).abs_diff(place(&cells.state)) >= 128);
    }

    #[test]
    fn what_is_published_is_read() {
        let labels: Vec<(&str, &str)> = (0..40).map(|_| ("a", "b")).collect();
        let cells = WorkerCells::new(&labels);
        cells.publish((0..40).map(|count| count * 7));
        cells.store(3, 1);
        assert_eq!((cells.load(0), cells.load(3), cells.load(39), cells.load(400)), (0, 1, 273, 0));
        cells.progressed(0);
        cells.flows(5, 9);
        cells.channel(1, 2, 3);
        cells.busy(Duration::from_millis(250), Duration::from_secs(1));
        cells.busy(Duration::from_millis(500), Duration::from_secs(1));
        assert_eq!(
            cells.reading(),
            WorkerReading {
                progress_ms: 1,
                flows: 5,
                flow_slots: 9,
                channel_depth: 1,
                channel_capacity: 2,
                pending: 3,
                busy: Duration::from_millis(750),
                busy_ratio: 0.5,
            }
        );
        cells.busy(Duration::ZERO, Duration::ZERO);
        assert_eq!(cells.reading().busy_ratio, 0.0);
    }
}
