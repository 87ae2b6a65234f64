//! Up to which time each worker has read its packets. Each worker stores its own time, once for each batch; who waits for
//! the others ([`Worker::resolve_names`](crate::worker::Worker::resolve_names)) reads all of them.

use std::sync::atomic::{AtomicU64, Ordering};

/// Packets of a ring may be a little out of order.
const DISORDER_NS: u64 = 2_000_000;

/// A cache line of its own; processors fetch them in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
struct PacketClock(AtomicU64);

/// The clocks of all workers.
#[derive(Debug)]
pub struct PacketClocks(Box<[PacketClock]>);

impl PacketClocks {
    /// Clocks of workers that have read nothing yet.
    pub fn new(workers: usize) -> Self {
        Self((0..workers).map(|_| PacketClock::default()).collect())
    }

    /// How many workers there are.
    pub const fn workers(&self) -> usize {
        self.0.len()
    }

    /// A worker has read all its packets up to this time, in nanoseconds since the Unix epoch.
    #[inline]
    pub fn has_read(&self, worker: usize, timestamp_ns: u64) {
        if let Some(clock) = self.0.get(worker) {
            // The answers that the worker has stored so far must be seen by who reads this.
            clock.0.store(timestamp_ns, Ordering::Release);
        }
    }

    /// A worker reads no more packets.
    pub fn has_read_all(&self, worker: usize) {
        self.has_read(worker, u64::MAX);
    }

    /// Whether no worker reads any more packets.
    pub fn have_all_read_all(&self) -> bool {
        self.read_by_all_ns() == u64::MAX
    }

    /// The time up to which all workers have read.
    pub fn read_by_all_ns(&self) -> u64 {
        let least = self.0.iter().map(|clock| clock.0.load(Ordering::Acquire)).min().unwrap_or(u64::MAX);
        if least == u64::MAX { least } else { least.saturating_sub(DISORDER_NS) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_worker_counts() {
        let clocks = PacketClocks::new(2);
        assert_eq!(clocks.read_by_all_ns(), 0);
        clocks.has_read(0, 10_000_000_000);
        assert_eq!(clocks.read_by_all_ns(), 0);
        clocks.has_read(1, 9_000_000_000);
        assert_eq!(clocks.read_by_all_ns(), 9_000_000_000 - DISORDER_NS);
        clocks.has_read_all(1);
        assert_eq!(clocks.read_by_all_ns(), 10_000_000_000 - DISORDER_NS);
        clocks.has_read_all(0);
        assert!(clocks.have_all_read_all());
        assert_eq!(size_of::<PacketClock>(), 128);
    }
}
