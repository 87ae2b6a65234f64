//! The packet path: what a packet of a settled flow costs in a worker, with few flows and with many, beside two floors
//! that any sensor pays: touching each packet's header line, and that plus one line of a table of the same size.
//!
//! `cargo bench -p vigie-benches --bench packet [-- FLOWS… | mixed | tcpv4]`
#![allow(missing_docs)]

use vigie::worker::Counter;
use vigie_benches::floors::{pass, table, touch_headers, touch_headers_and_lines};
use vigie_benches::measure::Times;
use vigie_benches::ring::{Access, Kind, Ring};
use vigie_benches::workloads::worker::{feed, settled_worker};

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
    let mut table = table(flows);
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
