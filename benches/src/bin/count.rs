//! Runs one workload once, with only the run itself inside [`measured`], for `instructions` to count.
//! `count --list` names the workloads; `count NAME` prints the operations of the run.

use vigie_benches::workloads::{self, Workload};

fn main() {
    let asked = std::env::args().nth(1).unwrap_or_default();
    if asked == "--list" {
        workloads::ALL.iter().for_each(|(name, what, _)| println!("{name}\t{what}"));
        return;
    }
    let Some(mut workload) = workloads::build(&asked) else {
        eprintln!("count: there is no workload \"{asked}\"; --list names them");
        std::process::exit(64);
    };
    // What is done once only, such as making room, is not what is counted.
    workload.prepare();
    workload.run();
    workload.prepare();
    measured(&mut *workload);
    println!("{}", workload.operations());
}

/// All that is counted; known by its name.
#[inline(never)]
fn measured(workload: &mut dyn Workload) {
    workload.run();
}
