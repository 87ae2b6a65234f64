//! The running sensor when nearly all packets belong to flows of which it needs nothing more: by packet sockets and by AF_XDP,
//! with and without the shunt. Frames come as those of a card's driver. A measurement; no rate is demanded.
//!
//! `VIGIE_SETTLED_FLOWS` says how many such flows there are, otherwise 900 000.

use std::time::{Duration, Instant};
use std::{fs, thread};

use vigie_tests::daemon::{Daemon, Folder, Scrape};
use vigie_tests::hello::{Hello, application_data};
use vigie_tests::known;
use vigie_tests::live_frames::{LiveFrames, lay, put};
use vigie_tests::network::{Namespace, pin_thread};

const HARMLESS: &str = "www.example.org";
/// Flows that are opened at once, and frames of a round.
const OPENED_AT_ONCE: usize = 10_000;
const ROUND_FRAMES: usize = 100_000;
const ROUNDS: usize = 30;
/// Rounds before those that count: flows come into the shunt's table with their next packet.
const ROUNDS_BEFORE: usize = 10;
/// After that time what was sent is read.
const READ_WITHIN: Duration = Duration::from_millis(4);
/// Bytes of content of a settled flow's packet: its frame has 758 bytes.
const CONTENT_BYTES: usize = 699;
/// Bytes of the tape: a round's frames, or those of the flows that are opened at once.
const TAPE_BYTES: usize = ROUND_FRAMES * 800;
const WAYS: [(&str, &str); 4] = [("ring", "off"), ("ring", "drop"), ("xdp", "off"), ("xdp", "drop")];

#[test]
#[ignore = "a measurement"]
fn packets_of_settled_flows() {
    let flows = std::env::var("VIGIE_SETTLED_FLOWS").ok().and_then(|text| text.parse().ok()).unwrap_or(900_000);
    for (backend, shunt) in WAYS {
        if measured(backend, shunt, flows).is_none() {
            return;
        }
    }
}

/// Numbers of flows, few of them often (Zipf's law with exponent 1).
struct Ranks(u64);

impl Ranks {
    fn below(&mut self, flows: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let share = (self.0 >> 11) as f64 / (1_u64 << 53) as f64;
        ((flows as f64).powf(share) as usize).clamp(1, flows) - 1
    }

    fn is_one_of(&mut self, percent: u64) -> bool {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % 100 < percent
    }
}

/// The packets of a connection until it is settled.
fn opening(number: usize) -> Vec<Vec<u8>> {
    let connection = known::connection(number);
    let hello = Hello::to(HARMLESS).record();
    let mut frames = connection.saying(&hello);
    frames.push(connection.from_server_acknowledging(0, hello.len(), &application_data(40)));
    frames
}

fn packet(number: usize, round: usize) -> Vec<u8> {
    known::connection(number).from_client(10_000 + round * CONTENT_BYTES, &application_data(CONTENT_BYTES))
}

fn play(driver: &mut LiveFrames, frames: &[Vec<u8>]) -> Duration {
    let (places, bytes) = lay(frames.iter().map(Vec::len));
    assert!(bytes <= TAPE_BYTES, "{bytes} bytes");
    places.iter().zip(frames).for_each(|(place, frame)| put(driver.tape(), place, frame));
    let began = Instant::now();
    driver.send(frames.len());
    began.elapsed()
}

/// The processor time of a sensor (Documentation/scheduler/sched-stats.rst).
fn processor_time(daemon: &Daemon) -> Duration {
    let threads = fs::read_dir(format!("/proc/{}/task", daemon.process())).expect("it runs").flatten();
    let of_thread = |text: String| text.split(' ').next().and_then(|word| word.parse().ok()).unwrap_or(0);
    Duration::from_nanos(
        threads.filter_map(|thread| fs::read_to_string(thread.path().join("schedstat")).ok()).map(of_thread).sum(),
    )
}

/// Packets that came up, that were dropped, and that were shunted.
fn counted(scrape: &Scrape) -> [u64; 3] {
    let (packets, drops) = scrape.packets_and_drops();
    [packets, drops, scrape.sum("vigie_shunt_packets_total", &[])]
}

fn measured(backend: &str, shunt: &str, flows: usize) -> Option<()> {
    let namespace = Namespace::new()?;
    namespace.pair("out0", "tap0");
    // Without XDP the pair takes frames of a driver only with GRO.
    namespace.run("ethtool -K tap0 rxvlan off gro on");
    let mut driver = namespace.inside(|| LiveFrames::through("out0", TAPE_BYTES))?;
    let settings = [
        format!("capture.backend={backend}"),
        format!("capture.shunt={shunt}"),
        "capture.cpus=[1]".to_owned(),
        "limits.flows_max=1500000".to_owned(),
        "limits.shunt_flows_max=1500000".to_owned(),
    ];
    let mut arguments = vec!["-i", "tap0", "--workers", "1"];
    arguments.extend(settings.iter().flat_map(|setting| ["--set", setting]));
    let folder = Folder::new();
    let daemon = Daemon::start(&namespace, &folder, &arguments);
    let mut sent = 0;
    let until_counted = |sent: u64| {
        daemon.scrape_until(&namespace, "all packets", |scrape| counted(scrape).iter().sum::<u64>() >= sent)
    };
    for first in (0..flows).step_by(OPENED_AT_ONCE) {
        let frames: Vec<_> = (first..(first + OPENED_AT_ONCE).min(flows)).flat_map(opening).collect();
        namespace.inside(|| {
            pin_thread(0);
            play(&mut driver, &frames)
        });
        sent += frames.len() as u64;
        until_counted(sent);
    }
    let (mut ranks, mut fresh) = (Ranks(7), flows);
    for percent in [97, 90] {
        let (mut before, mut cpu, mut took) = ([0; 3], Duration::ZERO, Duration::ZERO);
        for round in 0..ROUNDS_BEFORE + ROUNDS {
            if round == ROUNDS_BEFORE {
                (before, cpu, took) = (counted(&until_counted(sent)), Duration::ZERO, Duration::ZERO);
            }
            let mut frames = Vec::with_capacity(ROUND_FRAMES);
            while frames.len() < ROUND_FRAMES {
                if ranks.is_one_of(percent) {
                    frames.push(packet(ranks.below(flows), round));
                } else if ranks.is_one_of(20) {
                    // Five packets take the place of five.
                    frames.extend(opening(fresh));
                    fresh += 1;
                }
            }
            sent += frames.len() as u64;
            let cpu_before = processor_time(&daemon);
            took += namespace.inside(|| play(&mut driver, &frames));
            thread::sleep(READ_WITHIN);
            cpu += processor_time(&daemon) - cpu_before;
        }
        let after = counted(&until_counted(sent));
        let [up, dropped, shunted] = [0, 1, 2].map(|part| after[part] - before[part]);
        let packets = up + dropped + shunted;
        println!(
            "{backend}, shunt {shunt}, {flows} flows, {percent} % settled: {:.0} ns a packet, {:.2} Mpps; the sensor's CPU {:.1} ns a \
             packet; {:.1} % shunted, {dropped} dropped of {packets}",
            took.as_nanos() as f64 / packets as f64,
            packets as f64 / took.as_secs_f64() / 1e6,
            cpu.as_nanos() as f64 / packets as f64,
            100.0 * shunted as f64 / packets as f64,
        );
    }
    daemon.stop();
    Some(())
}
