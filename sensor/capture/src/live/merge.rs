//! Merges the frames of several queues by time.
//!
//! Of the frames that are ready the oldest goes first. But frames are handed over in blocks or batches, so a queue with no
//! frame ready may hold frames that are older than those of another one. Therefore a frame waits until every queue has one
//! ready, or until it is so old that any older frame must have been handed over. It does not wait if its queue is half full.
//! With one queue nothing waits.

use std::time::{SystemTime, UNIX_EPOCH};

use arrayvec::ArrayVec;

use crate::BATCH_FRAMES_MAX;
use vigie_wire::Frame;

/// Frames in their order, looked at in place.
pub(super) trait FrameQueue {
    /// When the next frame was captured, nanoseconds since the Unix epoch; none if no frame is ready.
    fn peek_ns(&self) -> Option<u64>;
    /// The next frame, if one is ready. The caller numbers it.
    fn next(&self) -> Option<Frame<'_>>;
    /// Whether so much waits to be read that nothing may wait for others.
    fn is_half_full(&self) -> bool;
}

/// Fills a batch with the frames that are ready and need not wait `hold_ns` for older ones. `frames` were before them.
#[inline]
pub(super) fn fill<'q, Q: FrameQueue>(
    batch: &mut ArrayVec<Frame<'q>, BATCH_FRAMES_MAX>,
    queues: &'q [Q],
    frames: u64,
    hold_ns: u64,
) {
    if let [queue] = queues {
        while !batch.is_full()
            && let Some(frame) = queue.next()
        {
            batch.push(Frame { number: frames + 1 + batch.len() as u64, ..frame });
        }
        return;
    }
    let now_ns = now_ns();
    while !batch.is_full()
        && let Some(frame) = oldest(queues, now_ns, hold_ns).and_then(FrameQueue::next)
    {
        batch.push(Frame { number: frames + 1 + batch.len() as u64, ..frame });
    }
}

/// The queue whose frame is next.
#[inline]
fn oldest<Q: FrameQueue>(queues: &[Q], now_ns: u64, hold_ns: u64) -> Option<&Q> {
    let mut oldest: Option<(u64, &Q)> = None;
    let mut all_ready = true;
    for queue in queues {
        match queue.peek_ns() {
            Some(ns) if oldest.is_none_or(|(least, _)| ns < least) => oldest = Some((ns, queue)),
            Some(_) => {}
            None => all_ready = false,
        }
    }
    let (ns, queue) = oldest?;
    // A frame from the future means that the clock was set back; it does not wait.
    let may_wait = !all_ready && now_ns.checked_sub(ns).is_some_and(|age_ns| age_ns < hold_ns);
    if may_wait && !queue.is_half_full() { None } else { Some(queue) }
}

/// The time of the system's clock, nanoseconds since the Unix epoch.
pub(super) fn now_ns() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64)
}
