//! Several workers read one capture, each in its own thread. Their events are handed over in portions, and merged.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::thread;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::blocks::{BlockReceiver, BlockSource, WorkerGuard};
use super::merge::EventMerge;
use super::{COLLECTED_EVENTS_MAX, Progress, Replay};
use crate::event::Event;
use vigie_capture::{CaptureError, Position, Source};
use vigie_decode::DecodeLimits;

/// A worker hands over its events after so many frames.
const PORTION_FRAMES: u64 = 4_096;
/// Portions of a worker that may wait to be merged.
const WAITING_PORTIONS_MAX: usize = 16;

/// Events of a worker, and how far it is.
struct Portion {
    events: Vec<Event>,
    /// All events of frames below this number are handed over.
    complete_below: u64,
    position: Position,
    interfaces: Arc<[String]>,
}

/// Reads `source` with one thread for each replay. The first error is returned beside the replays.
pub fn run(
    source: &mut (dyn Source + Send),
    replays: Vec<Replay>,
    limits: DecodeLimits,
    on_progress: &mut dyn FnMut(Progress<'_>) -> ControlFlow<()>,
) -> (Vec<Replay>, Option<CaptureError>) {
    let (blocks, receivers) = BlockSource::new(source, replays.len(), limits);
    let replays: Vec<Replay> = thread::scope(|scope| {
        let mut portions = Vec::new();
        let mut threads = Vec::new();
        for (receiver, replay) in receivers.into_iter().zip(replays) {
            let (sender, portion_receiver) = bounded(WAITING_PORTIONS_MAX);
            portions.push(portion_receiver);
            let blocks = &blocks;
            threads.push(scope.spawn(move || run_worker(blocks, receiver, replay, &sender)));
        }
        merge_portions(portions, on_progress);
        threads.into_iter().filter_map(|thread| thread.join().ok()).collect()
    });
    (replays, blocks.take_error())
}

/// A worker's thread: processes its frames of each block, to the end or until nobody receives the events any more.
fn run_worker(
    blocks: &BlockSource<'_>,
    mut receiver: BlockReceiver,
    mut replay: Replay,
    sender: &Sender<Portion>,
) -> Replay {
    let mut guard = WorkerGuard::new(blocks, receiver.worker);
    let mut events = Vec::new();
    let mut handed_over_at = 0;
    while let Some(block) = receiver.next(blocks) {
        replay.worker.parsed_batch(&block.frames, block.frames_of(receiver.worker), &mut |event| events.push(event));
        guard.is_finished = block.is_last;
        if block.is_last {
            replay.worker.finish(&mut |event| events.push(event));
        }
        let is_due = block.next_frame >= handed_over_at + PORTION_FRAMES || events.len() >= COLLECTED_EVENTS_MAX;
        if is_due || block.is_last {
            handed_over_at = block.next_frame;
            let portion = Portion {
                events: std::mem::take(&mut events),
                complete_below: if block.is_last { u64::MAX } else { block.next_frame },
                position: block.position,
                interfaces: Arc::clone(&block.interfaces),
            };
            // A closed channel is no error: the replay was ended early.
            if sender.send(portion).is_err() || block.is_last {
                return replay;
            }
        }
        receiver.done(blocks, block);
    }
    replay
}

/// Receives the workers' portions, always from the worker that is furthest behind, and hands over their events in order.
fn merge_portions(portions: Vec<Receiver<Portion>>, on_progress: &mut dyn FnMut(Progress<'_>) -> ControlFlow<()>) {
    let mut merge = EventMerge::new(portions.len());
    let mut events = Vec::new();
    let mut interfaces: Arc<[String]> = Arc::new([]);
    while let Some(worker) = merge.furthest_behind() {
        let Some(Ok(portion)) = portions.get(worker).map(Receiver::recv) else {
            // The thread is gone. The events that it handed over stay.
            merge.end(worker);
            continue;
        };
        if portion.interfaces.len() > interfaces.len() {
            interfaces = portion.interfaces;
        }
        merge.add(worker, portion.events, portion.complete_below);
        merge.take(&mut events);
        let progress = Progress { events: &mut events, position: portion.position, interfaces: &interfaces };
        if on_progress(progress).is_break() {
            return;
        }
    }
}
