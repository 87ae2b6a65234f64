//! One worker alone, and two at once, each with its own ring and flows as in a running sensor: how many more packets two look at in
//! the same time, beside what the machine gives when both only touch memory.
//!
//! `cargo bench -p vigie-benches --bench workers [-- FLOWS]`
#![allow(missing_docs)]

use std::thread;
use std::time::Instant;

use vigie::worker::Worker;
use vigie_benches::floors::{pass, table, touch_headers_and_lines};
use vigie_benches::measure::Times;
use vigie_benches::ring::{Access, Kind, Ring};
use vigie_benches::workloads::worker::{feed, settled_worker};
use vigie_flow::FlowEntry;
use vigie_flow::memory::Pages;

const RING_FRAMES: usize = 1 << 20;
const ROUNDS: usize = 15;
/// How often a ring is gone through in a round, so that a thread's beginning does not count.
const PASSES: u32 = 4;

/// What one core has to itself.
struct Core {
    ring: Ring,
    worker: Worker,
    table: Pages<FlowEntry>,
}

impl Core {
    fn new(flows: u32) -> Self {
        let mut ring = Ring::new(RING_FRAMES);
        ring.fill(flows, Access::Uniform, Kind::Mixed);
        Self { ring, worker: settled_worker(flows, Kind::Mixed), table: table(flows) }
    }

    fn touch(&mut self) {
        pass(&self.ring, |batch| touch_headers_and_lines(batch, &mut self.table));
    }

    fn look(&mut self) {
        pass(&self.ring, |batch| feed(&mut self.worker, batch));
    }
}

fn main() {
    let asked = std::env::args().find_map(|argument| argument.parse().ok());
    let flows = asked.unwrap_or(1_000_000);
    let mut cores = [Core::new(flows), Core::new(flows)];
    let [mut touch_one, mut touch_two, mut look_one, mut look_two] = [(); 4].map(|()| Times::default());
    for round in 0..=ROUNDS {
        let times = [
            at_once(&mut cores[..1], Core::touch),
            at_once(&mut cores, Core::touch),
            at_once(&mut cores[..1], Core::look),
            at_once(&mut cores, Core::look),
        ];
        // The first round warms up.
        if round > 0 {
            let all = [&mut touch_one, &mut touch_two, &mut look_one, &mut look_two];
            all.into_iter().zip(times).for_each(|(times, ns)| times.push(ns));
        }
    }
    println!("packets of {flows} settled flows a core, ns each on the clock: least (median) of {ROUNDS} rounds");
    println!("{:<26} {:>13} {:>13} {:>17}", "", "one core", "two at once", "two look at, times");
    for (what, one, two) in [("header and table line", &touch_one, &touch_two), ("worker", &look_one, &look_two)] {
        let pair = |times: &Times| format!("{:.1} ({:.1})", times.least(), times.median());
        println!("{what:<26} {:>13} {:>13} {:>17.2}", pair(one), pair(two), one.ratio_to(two));
    }
}

/// Each core does its work; the time until all are done, in nanoseconds for each packet of theirs.
fn at_once(cores: &mut [Core], work: fn(&mut Core)) -> f64 {
    let packets = cores.iter().map(|core| core.ring.len() as f64).sum::<f64>() * f64::from(PASSES);
    let start = Instant::now();
    thread::scope(|scope| {
        for core in cores {
            scope.spawn(move || (0..PASSES).for_each(|_| work(core)));
        }
    });
    start.elapsed().as_nanos() as f64 / packets
}
