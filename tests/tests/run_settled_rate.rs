//! The running sensor when nearly all packets belong to flows of which it needs nothing more: by packet sockets and by AF_XDP,
//! with and without the shunt, and beside them an interface whose program drops all packets, which is the ceiling. All take
//! their rounds in turn. Frames come as those of a card's driver. A measurement; no rate is demanded.
//!
//! `VIGIE_SETTLED_FLOWS` says how many such flows there are, otherwise 900 000; `VIGIE_SETTLED_ROUNDS` how many rounds of 250 000
//! frames each has, otherwise 40.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};
use std::{fs, thread};

use vigie_tests::daemon::{Daemon, Folder, Scrape};
use vigie_tests::hello::{Hello, application_data};
use vigie_tests::known;
use vigie_tests::live_frames::{LiveFrames, drop_all, lay, put_start};
use vigie_tests::network::{Namespace, pin_thread};

const HARMLESS: &str = "www.example.org";
/// Flows that are opened at once, and frames of a round.
const OPENED_AT_ONCE: usize = 10_000;
const ROUND_FRAMES: usize = 250_000;
/// Rounds that do not count.
const ROUNDS_BEFORE: usize = 2;
/// After that time what was sent is read: a block of a ring is handed over after 20 ms, or some more.
const READ_WITHIN: Duration = Duration::from_millis(40);
/// Bytes of a settled flow's packet and of its content, and how many of them are written: a card writes without a processor.
const FRAME_BYTES: usize = 758;
const CONTENT_BYTES: usize = 699;
const START_BYTES: usize = 96;
/// Bytes of the tape: a round's frames, or those of the flows that are opened at once.
const TAPE_BYTES: usize = ROUND_FRAMES * 128;
/// The first is what the others are compared with.
const WAYS: [(&str, &str); 5] = [("ring", "off"), ("ring", "drop"), ("ring", "pass"), ("xdp", "off"), ("xdp", "drop")];

#[test]
#[ignore = "a measurement"]
fn packets_of_settled_flows() {
    let number = |name, otherwise| std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise);
    let (flows, rounds) = (number("VIGIE_SETTLED_FLOWS", 900_000), number("VIGIE_SETTLED_ROUNDS", 40));
    let mut taps = Vec::new();
    for way in WAYS.map(Some).into_iter().chain([None]) {
        match Tapped::new(way) {
            Some(tapped) => taps.push(tapped),
            None => return,
        }
    }
    for first in (0..flows).step_by(OPENED_AT_ONCE) {
        let numbers = first..(first + OPENED_AT_ONCE).min(flows);
        let frames: Vec<_> = numbers.flat_map(opening).collect();
        for tapped in &mut taps {
            tapped.play(&frames);
            tapped.all_counted();
        }
    }
    taps.iter_mut().for_each(Tapped::begin);
    let content = application_data(CONTENT_BYTES);
    for first in (0..flows).step_by(ROUND_FRAMES) {
        let frames: Vec<_> =
            (first..(first + ROUND_FRAMES).min(flows)).map(|number| packet(number, 0, &content)).collect();
        taps.iter_mut().for_each(|tapped| tapped.play(&frames));
    }
    tell(&mut taps, &format!("{flows} flows, the first packet of each since it is settled"));
    let (mut ranks, mut fresh) = (Ranks(7), flows);
    for (percent, is_skewed) in [(97, true), (90, true), (97, false)] {
        for round in 0..ROUNDS_BEFORE + rounds {
            if round == ROUNDS_BEFORE {
                taps.iter_mut().for_each(Tapped::begin);
            }
            let mut frames = Vec::with_capacity(ROUND_FRAMES);
            while frames.len() < ROUND_FRAMES {
                if ranks.is_one_of(percent) {
                    let number = if is_skewed { ranks.below(flows) } else { ranks.any(flows) };
                    frames.push(packet(number, 1 + round, &content));
                } else if ranks.is_one_of(20) {
                    // Five packets take the place of five.
                    frames.extend(opening(fresh));
                    fresh += 1;
                }
            }
            taps.iter_mut().for_each(|tapped| tapped.play(&frames));
        }
        let law = if is_skewed { "few of them often" } else { "all alike" };
        tell(&mut taps, &format!("{flows} flows, {percent} % of the packets theirs, {law}"));
    }
    taps.into_iter().filter_map(|tapped| tapped.daemon).for_each(|daemon| drop(daemon.stop()));
}

/// Numbers of flows: few of them often (Zipf's law with exponent 1), or all alike.
struct Ranks(u64);

impl Ranks {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0
    }

    fn below(&mut self, flows: usize) -> usize {
        let share = (self.next() >> 11) as f64 / (1_u64 << 53) as f64;
        ((flows as f64).powf(share) as usize).clamp(1, flows) - 1
    }

    /// All flows alike.
    fn any(&mut self, flows: usize) -> usize {
        (self.next() >> 33) as usize % flows
    }

    fn is_one_of(&mut self, percent: u64) -> bool {
        (self.next() >> 33) % 100 < percent
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

fn packet(number: usize, round: usize, content: &[u8]) -> Vec<u8> {
    let frame = known::connection(number).from_client(10_000 + round * CONTENT_BYTES, content);
    assert_eq!(frame.len(), FRAME_BYTES);
    frame
}

/// An interface that receives frames, and who takes them.
struct Tapped {
    /// The way up and the shunt; none where all packets are dropped.
    way: Option<(&'static str, &'static str)>,
    namespace: Namespace,
    driver: LiveFrames,
    daemon: Option<Daemon>,
    /// Where the sensor writes; the program that drops all packets.
    _folder: Folder,
    _dropping: Option<OwnedFd>,
    sent: u64,
    /// When the rounds that count began: what was sent and counted, and the sensor's processor time.
    begun: (u64, [u64; 3]),
    rounds: Vec<Round>,
}

/// Nanoseconds a packet.
struct Round {
    took: f64,
    processor: f64,
}

impl Tapped {
    fn new(way: Option<(&'static str, &'static str)>) -> Option<Self> {
        let namespace = Namespace::new()?;
        namespace.pair("out0", "tap0");
        // Without XDP the pair takes frames of a driver only with GRO.
        namespace.run("ethtool -K tap0 rxvlan off gro on");
        let driver = namespace.inside(|| LiveFrames::through("out0", TAPE_BYTES))?;
        let folder = Folder::new();
        let (mut daemon, mut dropping) = (None, None);
        match way {
            Some((backend, shunt)) => {
                let settings = [
                    format!("capture.backend={backend}"),
                    format!("capture.shunt={shunt}"),
                    "capture.cpus=[1]".to_owned(),
                    "limits.flows_max=1500000".to_owned(),
                    "limits.shunt_flows_max=1500000".to_owned(),
                ];
                let mut arguments = vec!["-i", "tap0", "--workers", "1"];
                arguments.extend(settings.iter().flat_map(|setting| ["--set", setting]));
                daemon = Some(Daemon::start(&namespace, &folder, &arguments));
            }
            None => dropping = Some(namespace.inside(|| drop_all("tap0"))?),
        }
        let (sent, begun, rounds) = (0, (0, [0; 3]), Vec::new());
        Some(Self { way, namespace, driver, daemon, _folder: folder, _dropping: dropping, sent, begun, rounds })
    }

    fn play(&mut self, frames: &[Vec<u8>]) {
        let start =
            |frame: &Vec<u8>| frame.len().min(if frame.len() == FRAME_BYTES { START_BYTES } else { frame.len() });
        let (places, bytes) = lay(frames.iter().map(start));
        assert!(bytes <= TAPE_BYTES, "{bytes} bytes");
        for (place, frame) in places.iter().zip(frames) {
            put_start(self.driver.tape(), place, &frame[..place.len()], frame.len());
        }
        let processor_before = self.processor_time();
        let took = self.namespace.inside(|| {
            pin_thread(0);
            let began = Instant::now();
            self.driver.send(frames.len());
            began.elapsed()
        });
        self.sent += frames.len() as u64;
        thread::sleep(READ_WITHIN);
        let each = |time: Duration| time.as_nanos() as f64 / frames.len() as f64;
        self.rounds.push(Round { took: each(took), processor: each(self.processor_time() - processor_before) });
    }

    /// What was counted when all that was sent has been: packets that came up, that were dropped, and that were shunted.
    fn all_counted(&self) -> [u64; 3] {
        let Some(daemon) = &self.daemon else { return [0; 3] };
        let of = |scrape: &Scrape| {
            let (packets, drops) = scrape.packets_and_drops();
            [packets, drops, scrape.sum("vigie_shunt_packets_total", &[])]
        };
        let is_all = |scrape: &Scrape| of(scrape).iter().sum::<u64>() >= self.sent;
        of(&daemon.scrape_until(&self.namespace, "all packets", is_all))
    }

    fn begin(&mut self) {
        self.begun = (self.sent, self.all_counted());
        self.rounds.clear();
    }

    /// The sensor's processor time (Documentation/scheduler/sched-stats.rst).
    fn processor_time(&self) -> Duration {
        let Some(daemon) = &self.daemon else { return Duration::ZERO };
        let threads = fs::read_dir(format!("/proc/{}/task", daemon.process())).expect("it runs").flatten();
        let of_thread = |text: String| text.split(' ').next().and_then(|word| word.parse().ok()).unwrap_or(0);
        Duration::from_nanos(
            threads.filter_map(|thread| fs::read_to_string(thread.path().join("schedstat")).ok()).map(of_thread).sum(),
        )
    }
}

/// Of all rounds the least and the middle one.
fn least_and_middle(rounds: &[Round], of: impl Fn(&Round) -> f64) -> [f64; 2] {
    let mut values: Vec<f64> = rounds.iter().map(of).collect();
    values.sort_unstable_by(f64::total_cmp);
    [values[0], values[values.len() / 2]]
}

fn tell(taps: &mut [Tapped], what: &str) {
    println!("{what}; least (middle) of {} rounds", taps[0].rounds.len());
    let took: Vec<_> = taps.iter().map(|tapped| least_and_middle(&tapped.rounds, |round| round.took)).collect();
    let (sockets, bare) = (took[0], took[taps.len() - 1]);
    for (tapped, took) in taps.iter().zip(&took) {
        let counted = tapped.all_counted();
        let [_, dropped, shunted] = [0, 1, 2].map(|part| counted[part] - tapped.begun.1[part]);
        let cpu = least_and_middle(&tapped.rounds, |round| round.processor);
        let mean = tapped.rounds.iter().map(|round| round.processor).sum::<f64>() / tapped.rounds.len() as f64;
        let (backend, shunt) = tapped.way.unwrap_or(("all dropped", "-"));
        let times = [0, 1].map(|part| sockets[part] / took[part]);
        let above = [0, 1].map(|part| (took[part] - bare[part]) / (sockets[part] - bare[part]));
        println!(
            "  {backend:11} shunt {shunt:4}: {:5.0} ({:5.0}) ns a packet, {:.2} ({:.2}) times as fast, {:.2} ({:.2}) of the cost above \
             the bare drop; the sensor's CPU {:5.1} ({:5.1}) ns, mean {mean:5.1}; {:.1} % shunted, {dropped} dropped",
            took[0],
            took[1],
            times[0],
            times[1],
            above[0],
            above[1],
            cpu[0],
            cpu[1],
            100.0 * shunted as f64 / (tapped.sent - tapped.begun.0) as f64,
        );
    }
    taps.iter_mut().for_each(Tapped::begin);
}
