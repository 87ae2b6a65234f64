//! Times of the workloads that `instructions` counts. `cargo bench -p vigie-benches --bench paths [-- NAME…]`
#![allow(missing_docs)]

use vigie_benches::measure::Times;
use vigie_benches::workloads;

const ROUNDS: usize = 9;
/// A round lasts at least so long.
const ROUND_NS: f64 = 20e6;

fn main() {
    let asked: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    println!("{:<18} {:>10} {:>10}   one operation is a", "", "least ns", "median ns");
    for (name, what, build) in workloads::ALL {
        if !asked.is_empty() && !asked.iter().any(|asked| name.contains(asked.as_str())) {
            continue;
        }
        let mut workload = build();
        let mut runs = |count: usize| {
            let mut times = Times::default();
            for _ in 0..count {
                workload.prepare();
                times.round(workload.operations(), || workload.run());
            }
            (times, workload.operations())
        };
        let (first, operations) = runs(2);
        let per_round = (ROUND_NS / (first.least() * operations as f64)).ceil().clamp(1.0, 1_000.0) as usize;
        let mut rounds = Times::default();
        for _ in 0..ROUNDS {
            rounds.push(runs(per_round).0.mean());
        }
        println!("{name:<18} {:>10.1} {:>10.1}   {what}", rounds.least(), rounds.median());
    }
}
