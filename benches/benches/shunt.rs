//! What the shunt's program costs a packet, run by the kernel (`BPF_PROG_TEST_RUN`) on packets of another flow each time, as a
//! multiple of the same program without a look-up. `cargo bench -p vigie-benches --bench shunt`, as root.
#![allow(missing_docs)]

use std::error::Error;

use vigie_benches::measure::Times;
use vigie_benches::random::Random;
use vigie_capture::live::shunt::measure::{Measure, Table, ordinary_frame};
use vigie_capture::live::shunt::{Direction, Insertion, Opening};

const ROUNDS: usize = 7;
/// Packets of a round, and flows that the tables have room for.
const PACKETS: usize = 1 << 20;
const MILLION: u32 = 1 << 20;
/// Packets of one flow in a row, where they come in trains.
const TRAIN: usize = 8;
const FIRST_SOURCE: u32 = 10 << 24;

fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let mut random = Random(1);
    let mut of = |flows: u32| (0..PACKETS).map(|_| FIRST_SOURCE + random.below(flows)).collect::<Vec<u32>>();
    let trains = |sources: Vec<u32>| sources.iter().flat_map(|&source| [source; TRAIN]).take(PACKETS).collect();
    let cases: [(&str, u32, Vec<u32>); 6] = [
        ("1 k", 1_000, of(1_000)),
        ("65 k", 65_536, of(65_536)),
        ("65 k, trains of 8", 65_536, trains(of(65_536))),
        ("1 M, trains of 8", MILLION, trains(of(MILLION))),
        ("1 M, Zipf", MILLION, zipf(MILLION)),
        ("1 M, uniform", MILLION, of(MILLION)),
    ];
    println!("{:<18} {:>6} {:>6} {:>6}  least ns: without look-up, shunt, LRU hash", "flows", "none", "shunt", "LRU");
    for (name, flows, sources) in cases {
        let [none, shunt, lru] = measured(flows, &sources)?.map(|times| times.least());
        println!(
            "{name:<18} {none:>6.0} {shunt:>6.0} {lru:>6.0}  {:.2} x none, {:.2} x LRU",
            shunt / none,
            shunt / lru
        );
    }
    Ok(())
}

/// Times of the three tables, taken in turn.
fn measured(flows: u32, sources: &[u32]) -> Result<[Times; 3], Box<dyn Error + Send + Sync>> {
    let load = |table| Measure::load_varied(table, MILLION as usize, sources);
    let mut programs = [load(Table::None)?, load(Table::Shunt)?, load(Table::LruHash)?];
    let [_, shunt, lru] = &mut programs;
    let mut table = shunt.table();
    let directions = || (FIRST_SOURCE..FIRST_SOURCE + flows).map(direction);
    let mut has_no_place = |direction: &Direction| match table.insert(table.hash(direction), 0) {
        Insertion::Inserted(inserted) => table.open(inserted) != Opening::Opened,
        _ => true,
    };
    let placeless = directions().filter(|direction| has_no_place(direction)).count();
    if placeless > 0 {
        println!("{placeless} of {flows} found no place");
    }
    lru.fill_lru(directions().map(|direction| table.hash(&direction)))?;
    // 800 bytes; the program gives it its source address.
    let frame = ordinary_frame(&[], false, false, 1, &[1; 746]);
    let mut times = [Times::default(), Times::default(), Times::default()];
    for round in 0..=ROUNDS {
        for (program, times) in programs.iter_mut().zip(&mut times) {
            let (_, ns) = program.run(&frame, PACKETS as u32)?;
            // The first round fills the caches.
            if round > 0 {
                times.push(f64::from(ns));
            }
        }
    }
    Ok(times)
}

/// Flows as often as Zipf says: the n-th most frequent has 1/n of the packets of the first.
fn zipf(flows: u32) -> Vec<u32> {
    let mut random = Random(2);
    let mut sum = 0.0;
    let sums: Vec<f64> = (1..=flows)
        .map(|rank| {
            sum += 1.0 / f64::from(rank);
            sum
        })
        .collect();
    let place = |share: f64| sums.partition_point(|&before| before < share * sum) as u32;
    // Neighbours in rank are no neighbours in number.
    (0..PACKETS).map(|_| FIRST_SOURCE + place(random.unit()).wrapping_mul(0x9e37_79b1) % flows).collect()
}

fn direction(source: u32) -> Direction {
    Direction {
        source: 0xffff_0000_0000 | u128::from(source),
        destination: 0xffff_0808_0404,
        source_port: 40_000,
        destination_port: 443,
        network: 0,
        protocol: 6,
    }
}
