//! Frames that come to an interface in bursts, at rates that a packet socket does not reach: as live frames where the kernel
//! has them, else sent by a packet socket on the other end of the interface's cable.

use std::thread;
use std::time::{Duration, Instant};

use crate::live_frames::{FRAME_BYTES_MAX, LiveFrames, lay, put};
use crate::network::Sender;

/// Frames of a burst, at most. However few they are, the kernel takes some 30 ms for a burst of live frames.
const BURST_FRAMES: usize = 8_192;
/// Room for a burst.
const TAPE_BYTES: usize = BURST_FRAMES * (FRAME_BYTES_MAX + 16);
/// So many frames make a burst, if there are no more to come.
const BURST_FRAMES_MIN: u64 = 2_048;

/// What brings frames to an interface.
#[derive(Debug)]
pub struct Injector {
    live: Option<LiveFrames>,
    sender: Sender,
}

impl Injector {
    /// For an interface of the calling thread's namespace, and the other end of its cable.
    pub fn new(interface: &str, other_end: &str) -> Self {
        Self { live: LiveFrames::new(interface, TAPE_BYTES), sender: Sender::new(other_end) }
    }

    /// Brings these frames, as fast as it goes. Frames that are too long to be live go over the cable.
    pub fn bring<F: AsRef<[u8]>>(&mut self, frames: &[F]) {
        for burst in frames.chunks(BURST_FRAMES) {
            let is_short = burst.iter().all(|frame| frame.as_ref().len() <= FRAME_BYTES_MAX);
            match &mut self.live {
                Some(live) if is_short => {
                    let (places, _) = lay(burst.iter().map(|frame| frame.as_ref().len()));
                    let tape = live.tape();
                    burst.iter().zip(&places).for_each(|(frame, place)| put(tape, place, frame.as_ref()));
                    live.send(burst.len());
                }
                _ => self.sender.send(burst.iter().map(AsRef::as_ref)),
            }
        }
    }

    /// Brings so many frames in a second, in bursts: `frame` makes each of them from its number. How long it took, which is
    /// longer than wanted where the machine is slower.
    pub fn bring_at(&mut self, per_second: u64, count: u64, frame: impl Fn(u64) -> Vec<u8>) -> Duration {
        let (began, mut number) = (Instant::now(), 0);
        while number < count {
            let due = (per_second * began.elapsed().as_micros() as u64 / 1_000_000).min(count);
            if due < (number + BURST_FRAMES_MIN).min(count) {
                thread::sleep(Duration::from_millis(1));
                continue;
            }
            let burst: Vec<_> = (number..due.min(number + BURST_FRAMES as u64)).map(&frame).collect();
            number += burst.len() as u64;
            self.bring(&burst);
        }
        began.elapsed()
    }
}
