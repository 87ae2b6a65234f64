//! The packet path: what a packet of a settled flow costs in a worker, with few flows and with many, beside two floors
//! that any sensor pays: touching each packet's header line, and that plus one line of a table of the same size.
//!
//! `cargo bench -p vigie-benches --bench packet [-- FLOWS… | mixed | tcpv4]`
#![allow(clippy::expect_used, clippy::indexing_slicing, missing_docs)]

use std::hint::black_box;

use arrayvec::ArrayVec;
use vigie::capture::{BATCH_FRAMES_MAX, Frame};
use vigie::flow::FlowEntry;
use vigie::flow::memory::{Pages, prefetch};
use vigie::runtime::counters::Counter;
use vigie_benches::measure::Times;
use vigie_benches::random::mix;
use vigie_benches::ring::{Access, Kind, Ring};
use vigie_benches::workloads::worker::{Batch, feed, settled_worker, table_flows};

const RING_FRAMES: usize = 1 << 21;
const ROUNDS: usize = 9;
/// Bytes on the wire of an average packet, preamble and gap included, by which packets become bits.
const WIRE_BYTES: f64 = 800.0 + 20.0;

fn main() {
    let asked: Vec<u32> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    let flows = if asked.is_empty() { vec![1_000, 1_000_000, 8_000_000] } else { asked };
    println!("packets of settled flows, ns each: least (median) of {ROUNDS} rounds of {RING_FRAMES} frames");
    println!(
        "{:>9} {:<8} {:<7} {:>13} {:>13} {:>15} {:>7} {:>7} {:>12}",
        "flows", "access", "kind", "header line", "+ table line", "worker", "ratio", "Mpps", "Gbit/s@800B"
    );
    let mut ring = Ring::new(RING_FRAMES);
    for &flows in &flows {
        if wants("mixed") {
            settled(&mut ring, flows, Kind::Mixed, &[Access::Uniform, Access::Skewed]);
        }
        if wants("tcpv4") {
            settled(&mut ring, flows, Kind::TcpV4, &[Access::Uniform]);
        }
    }
}

/// Whether a kind was asked for, or none was.
fn wants(kind: &str) -> bool {
    let mut kinds = std::env::args().skip(1).filter(|argument| argument.starts_with(char::is_alphabetic)).peekable();
    kinds.peek().is_none() || kinds.any(|asked| asked == kind)
}

fn settled(ring: &mut Ring, flows: u32, kind: Kind, accesses: &[Access]) {
    let mut worker = settled_worker(flows, kind);
    // As many lines as the worker's table has.
    let mut table = Pages::<FlowEntry>::zeroed(slots(flows));
    table.iter_mut().for_each(|entry| entry.spare = 1);
    for &access in accesses {
        ring.fill(flows, access, kind);
        let operations = ring.len() as u64;
        let (mut touch, mut line, mut whole) = (Times::default(), Times::default(), Times::default());
        let opened = worker.counters().get(Counter::Flows);
        for round in 0..=ROUNDS {
            if round == 0 {
                pass(ring, |batch| feed(&mut worker, batch));
                continue;
            }
            touch.round(operations, || pass(ring, touch_headers));
            line.round(operations, || pass(ring, |batch| touch_headers_and_lines(batch, &mut table)));
            whole.round(operations, || pass(ring, |batch| feed(&mut worker, batch)));
        }
        assert_eq!(worker.counters().get(Counter::Flows), opened, "every flow was known");
        assert_eq!(worker.counters().get(Counter::FlowsEvicted), 0, "none had to give way");
        let pair = |times: &Times| format!("{:.1} ({:.1})", times.least(), times.median());
        println!(
            "{flows:>9} {:<8} {:<7} {:>13} {:>13} {:>15} {:>7.2} {:>7.1} {:>12.0}",
            format!("{access:?}"),
            format!("{kind:?}"),
            pair(&touch),
            pair(&line),
            pair(&whole),
            whole.ratio_to(&line),
            1e3 / whole.least(),
            WIRE_BYTES * 8.0 / whole.least(),
        );
    }
}

/// A sixth more than flows, as in the worker's.
fn slots(flows: u32) -> usize {
    table_flows(flows) + table_flows(flows) / 6
}

/// Shows all frames of the ring, in batches.
#[inline(always)]
fn pass(ring: &Ring, mut visit: impl FnMut(&[Frame<'_>])) {
    for first in (0..ring.len()).step_by(BATCH_FRAMES_MAX) {
        let batch: Batch<'_> = (first..first + BATCH_FRAMES_MAX).map(|place| ring.frame(place)).collect();
        visit(&batch);
    }
}

/// The first floor: each packet's header line is fetched for the whole batch, then its addresses are read.
#[inline(never)]
fn touch_headers(batch: &[Frame<'_>]) {
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
fn touch_headers_and_lines(batch: &[Frame<'_>], table: &mut Pages<FlowEntry>) {
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
