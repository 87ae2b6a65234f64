//! What any sensor pays for a packet, whatever it does with it: its header line is touched, and a line of a table as big as the
//! sensor's.
#![allow(clippy::indexing_slicing)]

use std::hint::black_box;

use arrayvec::ArrayVec;
use vigie_capture::BATCH_FRAMES_MAX;
use vigie_flow::FlowEntry;
use vigie_flow::memory::{Pages, prefetch};
use vigie_wire::Frame;

use crate::random::mix;
use crate::ring::Ring;
use crate::workloads::worker::{Batch, table_flows};

/// As many lines as the table of a worker for `flows` flows has: a sixth more. All were touched.
pub fn table(flows: u32) -> Pages<FlowEntry> {
    let lines = table_flows(flows) + table_flows(flows) / 6;
    let mut table = Pages::<FlowEntry>::zeroed(lines);
    table.iter_mut().for_each(|entry| entry.spare = 1);
    table
}

/// Shows all frames of the ring, in batches.
#[inline(always)]
pub fn pass(ring: &Ring, mut visit: impl FnMut(&[Frame<'_>])) {
    for first in (0..ring.len()).step_by(BATCH_FRAMES_MAX) {
        let batch: Batch<'_> = (first..first + BATCH_FRAMES_MAX).map(|place| ring.frame(place)).collect();
        visit(&batch);
    }
}

/// The first floor: each packet's header line is fetched for the whole batch, then its addresses are read.
#[inline(never)]
pub fn touch_headers(batch: &[Frame<'_>]) {
    fetch_headers(batch);
    black_box(batch.iter().fold(0, |sum, frame| sum ^ addresses(frame)));
}

#[inline]
fn fetch_headers(batch: &[Frame<'_>]) {
    batch.iter().for_each(|frame| prefetch(frame.data, 0));
}

/// The ends of both addresses, the same for both directions.
#[inline]
fn addresses(frame: &Frame<'_>) -> u32 {
    let word = |at: usize| frame.data[at..].first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes));
    if frame.data[12] == 8 { word(26) ^ word(30) } else { word(34) ^ word(50) }
}

/// The second floor: and a line of the table, told by the addresses, is fetched for the whole batch, then changed.
#[inline(never)]
pub fn touch_headers_and_lines(batch: &[Frame<'_>], table: &mut Pages<FlowEntry>) {
    fetch_headers(batch);
    let length = table.len() as u64;
    let mut places: ArrayVec<usize, BATCH_FRAMES_MAX> = ArrayVec::new();
    for frame in batch {
        let place = (((mix(u64::from(addresses(frame))) >> 32) * length) >> 32) as usize;
        prefetch(table, place);
        places.push(place);
    }
    for (frame, place) in batch.iter().zip(places) {
        table[place].from_low = table[place].from_low.wrapping_add(u64::from(frame.wire_length));
    }
}
