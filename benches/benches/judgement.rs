//! What a sighting costs in judgement while many incidents are open, and how much memory a day with many clients takes.
//! `cargo bench -p vigie-benches --bench judgement [-- cost | memory]`
#![allow(missing_docs)]

use std::net::{IpAddr, Ipv4Addr};

use vigie_benches::measure::Times;
use vigie_benches::random::Random;
use vigie_judgement::policy::Policy;
use vigie_judgement::{Client, IncidentLimits, Incidents, Origin, Recogniser, Sighting, Thresholds};
use vigie_signatures::{Bundle, Clients};

/// Open incidents, as many as the default limit allows.
const OPEN: u32 = 65_536;
/// Clients of the day.
const CLIENTS: u32 = 1_000_000;
/// Clients × services under observation at most, as in `vigie run`.
const CASES_MAX: usize = 1 << 18;
const SIGHTINGS_PER_ROUND: u64 = 200_000;
const ROUNDS: usize = 9;
const SECOND_NS: u64 = 1_000_000_000;
/// 2026-11-27, 06:00 UTC.
const START_NS: u64 = 1_795_759_200 * SECOND_NS;
/// What an application contacts when it starts, and then again and again.
const NAMES: [&str; 3] = ["tnc16-normal-no1a.tiktokv.eu", "log32-normal-no1a.tiktokv.eu", "frontier.tiktokv-eu.com"];

fn main() {
    let asked: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let is_asked = |name: &str| asked.is_empty() || asked.iter().any(|asked| asked == name);
    if is_asked("cost") {
        cost();
    }
    if is_asked("memory") {
        memory();
    }
}

/// Judgement, and what it is given.
struct Judge {
    recogniser: Recogniser,
    policy: Policy,
    incidents: Incidents,
    findings: u64,
}

impl Judge {
    fn new() -> Self {
        Self {
            recogniser: Recogniser::new(Bundle::builtin(), Clients::builtin()),
            policy: Policy::builtin(),
            incidents: Incidents::new(Thresholds::default(), CASES_MAX, IncidentLimits::default()),
            findings: 0,
        }
    }

    /// A flow of a client to a name, from the match on.
    fn contact(&mut self, client: u32, name: &str, time_ns: u64) {
        let Self { recogniser, policy, incidents, findings } = self;
        let Some(rule) = recogniser.flow(Some(name), None) else { return };
        let Some(attribution) = recogniser.attribute(rule) else { return };
        let address = IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + client));
        let (client, origin) = (Client::Address(address), Origin::address(address));
        let sighting = Sighting {
            time_ns,
            bytes_to_client: 5_000,
            bytes_to_server: 900,
            server_country: Some("US"),
            ..Sighting::of_flow((&client, &origin), (&attribution.service, &attribution.owner), rule, name)
        };
        incidents.sighting(policy, recogniser.bundle(), &sighting, &mut |_| *findings += 1);
    }
}

/// Nanoseconds of a sighting of any of the clients that have an open incident, 2 000 sightings a second.
fn cost() {
    let mut judge = Judge::new();
    let mut now_ns = START_NS;
    for client in 0..OPEN {
        for name in NAMES {
            judge.contact(client, name, now_ns);
            now_ns += SECOND_NS / 10_000;
        }
    }
    let open = judge.incidents.len();
    let mut random = Random(1);
    let mut times = Times::default();
    for _ in 0..ROUNDS {
        times.round(SIGHTINGS_PER_ROUND, || {
            for _ in 0..SIGHTINGS_PER_ROUND {
                let client = random.below(OPEN);
                let name = NAMES.get(random.below(NAMES.len() as u32) as usize).copied().unwrap_or_default();
                now_ns += SECOND_NS / 2_000;
                judge.contact(client, name, now_ns);
            }
        });
    }
    println!("{:<28} {:>10} {:>10}", "", "least ns", "median ns");
    println!("{:<28} {:>10.0} {:>10.0}", format!("sighting, {open} incidents"), times.least(), times.median());
}

/// The resident memory while so many clients run an application within a day, each once.
fn memory() {
    let before = resident_bytes();
    let mut judge = Judge::new();
    let step_ns = 86_400 * SECOND_NS / u64::from(CLIENTS);
    let mut most = 0;
    for client in 0..CLIENTS {
        for name in NAMES {
            judge.contact(client, name, START_NS + u64::from(client) * step_ns);
        }
        if client % 10_000 == 0 {
            most = most.max(resident_bytes());
        }
    }
    println!(
        "{CLIENTS} clients in a day: {} MiB at most; {} incidents open, {} closed early, {} clients x services forgotten early",
        most.saturating_sub(before) >> 20,
        judge.incidents.len(),
        judge.incidents.evicted(),
        judge.incidents.cases_evicted(),
    );
}

/// Resident memory of this process (proc_pid_statm(5)); 0 if the kernel does not say it.
fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or_default();
    pages * 4_096
}
