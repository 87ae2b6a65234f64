//! The running sensor at the highest rates that this machine gives it, in a network namespace: a mix of made-up traffic
//! and connections to a name under ban comes to its interface as the kernel's live frames, and as fast as a packet socket
//! sends. The sensor is whole: signatures, events in a file, metrics, privileges given up, rings as they are by default. Every
//! packet is counted, as seen or as dropped, and if none was dropped, every alert is there.
//!
//! No rate is demanded, since machines and their other work differ; it is told. `VIGIE_RATE_S` says for how many seconds
//! each run lasts (otherwise it is a million packets), and has them made with the sensor pinned to a processor too.

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use vigie_synth::{Settings, Traffic};
use vigie_tests::daemon::{Daemon, Folder};
use vigie_tests::known::{self, Ends, ends_of};
use vigie_tests::live_frames::{FRAME_BYTES_MAX, LiveFrames, lay, put};
use vigie_tests::network::{Namespace, Sender, pin_thread};

const BANNED: &str = "www.capcut.com";
/// Frames of a tape.
const FRAMES: usize = 125_000;
/// A connection to the banned name begins after as many frames of the mix,
const MIX_PER_KNOWN: usize = 500;
/// and as many stand between its packets.
const MIX_BETWEEN: usize = 5;
/// How often the tape is played if nobody says for how long.
const ROUNDS: usize = 8;
/// For how many rounds clients have other addresses than before.
const ADDRESSES_ROUNDS: usize = 250;

/// One run at a time: each wants all processors.
static ALONE: Mutex<()> = Mutex::new(());

/// How frames come to the interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    LiveFrames,
    Sendmmsg,
}

#[test]
fn live_frames_are_counted_to_the_last() {
    runs(Way::LiveFrames);
}

#[test]
fn frames_of_a_packet_socket_are_counted_to_the_last() {
    runs(Way::Sendmmsg);
}

fn runs(way: Way) {
    let _alone = ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let seconds = std::env::var("VIGIE_RATE_S").ok().and_then(|text| text.parse().ok()).map(Duration::from_secs);
    let mix = Mix::new();
    for workers in [1, 2] {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let pinnings: &[bool] =
            if workers == 1 && seconds.is_some() && processors > 1 { &[false, true] } else { &[false] };
        for &is_pinned in pinnings {
            if run(way, &mix, workers, is_pinned, seconds).is_none() {
                return;
            }
        }
    }
}

/// Plays the mix to a sensor. None where that is not permitted.
fn run(way: Way, mix: &Mix, workers: usize, is_pinned: bool, seconds: Option<Duration>) -> Option<()> {
    let namespace = Namespace::new()?;
    namespace.pair("out0", "tap0");
    // Cards join segments: some frames are longer than others carry.
    namespace.run("ip link set out0 mtu 9000; ip link set tap0 mtu 9000");
    let mut player = namespace.inside(|| Player::new(way, mix))?;
    let folder = Folder::new();
    let workers_text = workers.to_string();
    let mut arguments = vec!["-i", "tap0", "--workers", &workers_text];
    if is_pinned {
        arguments.extend(["--set", "capture.cpus=[0]"]);
    }
    let daemon = Daemon::start(&namespace, &folder, &arguments);
    let mut play = |rounds: Range<usize>, seconds| {
        namespace.inside(|| {
            if is_pinned {
                pin_thread(1);
            }
            player.play(rounds, seconds)
        })
    };
    let counted = |rounds: usize| counted(&daemon, &namespace, (rounds * mix.places.len()) as u64);

    // The first round finds a sensor that never had work before: what it drops then is told apart.
    play(0..1, None);
    let (first_packets, first_drops) = counted(1);
    let (before, began) = (Cpu::of(&daemon), Instant::now());
    let rounds = play(1..if seconds.is_some() { usize::MAX } else { ROUNDS }, seconds);
    let took = began.elapsed();
    let (packets, drops) = counted(rounds);
    let cpu = Cpu::of(&daemon).since(before);
    if way == Way::Sendmmsg {
        assert_eq!(namespace.count("tap0", "rx_packets"), packets + drops, "what arrived, and what was counted");
    }
    let alerts_lost = daemon.scrape(&namespace).alerts_lost();
    daemon.stop();

    let (alerts, expected) = (alerted(&folder), rounds * mix.known.len());
    let ns = |seconds: f64| seconds * 1e9 / (packets - first_packets) as f64;
    let played = (rounds - 1) as f64;
    println!(
        "{way:?}, {workers} worker(s){}: {:.2} Mpps, {:.1} Gbit/s for {took:.1?}; {} dropped of {}, and {first_drops} at the start; \
         the sensor's CPU: {:.0} ns a packet ({:.0} user, {:.0} system); {} of {expected} alerts",
        if is_pinned { ", pinned" } else { "" },
        played * mix.places.len() as f64 / took.as_secs_f64() / 1e6,
        played * mix.bytes as f64 * 8e-9 / took.as_secs_f64(),
        drops - first_drops,
        packets + drops,
        ns(cpu.user_s + cpu.system_s),
        ns(cpu.user_s),
        ns(cpu.system_s),
        alerts.len(),
    );
    let is_known = |ends: &Ends| (0..expected).any(|number| known::ends(number) == *ends);
    if drops == 0 {
        assert_eq!(alerts_lost, 0);
        let is_there_once = |number| alerts.get(&known::ends(number)) == Some(&1);
        assert!((0..expected).all(is_there_once), "an alert is missing or there twice");
    }
    assert!(alerts.len() <= expected, "{:?}", alerts.keys().find(|ends| !is_known(ends)));
    Some(())
}

/// Waits until the sensor has counted so many packets, as seen or dropped, and no more. How many were seen and dropped.
fn counted(daemon: &Daemon, namespace: &Namespace, sent: u64) -> (u64, u64) {
    let scrape = daemon.scrape_until(namespace, "all packets", |scrape| {
        let (packets, drops) = scrape.packets_and_drops();
        packets + drops >= sent
    });
    let packets = scrape.sum("vigie_capture_packets_total", &[]);
    // For whatever reason.
    let drops = scrape.sum("vigie_capture_drops_total", &[]);
    assert_eq!(packets + drops, sent, "{packets} seen, {drops} dropped");
    assert_eq!(scrape.sum("vigie_worker_frames_total", &[]), packets);
    (packets, drops)
}

/// Plays a mix to the interface.
struct Player<'m> {
    mix: &'m Mix,
    way: Playing,
}

enum Playing {
    LiveFrames(LiveFrames),
    Sendmmsg(Sender, Vec<u8>),
}

impl<'m> Player<'m> {
    fn new(way: Way, mix: &'m Mix) -> Option<Self> {
        let mut way = match way {
            Way::LiveFrames => Playing::LiveFrames(LiveFrames::new("tap0", mix.tape_bytes)?),
            Way::Sendmmsg => Playing::Sendmmsg(Sender::new("out0"), vec![0; mix.tape_bytes]),
        };
        mix.write(way.tape());
        Some(Self { mix, way })
    }

    /// Plays these rounds, or as many as there is time for. The number of the round after the last comes back.
    fn play(&mut self, rounds: Range<usize>, time: Option<Duration>) -> usize {
        let began = Instant::now();
        let end = rounds.end;
        for round in rounds {
            if time.is_some_and(|time| began.elapsed() >= time) {
                return round;
            }
            self.mix.turn(self.way.tape(), round);
            match &mut self.way {
                Playing::LiveFrames(live) => live.send(self.mix.places.len()),
                Playing::Sendmmsg(sender, tape) => {
                    sender.send(self.mix.places.iter().map(|place| &tape[place.clone()]));
                }
            }
        }
        end
    }
}

impl Playing {
    fn tape(&mut self) -> &mut [u8] {
        match self {
            Self::LiveFrames(live) => live.tape(),
            Self::Sendmmsg(_, tape) => tape,
        }
    }
}

/// How often each connection was alerted of.
fn alerted(folder: &Folder) -> BTreeMap<Ends, usize> {
    let mut counted = BTreeMap::new();
    folder.alerts().iter().for_each(|alert| *counted.entry(ends_of(alert)).or_default() += 1);
    counted
}

/// What is played: made-up traffic in which connections to the banned name stand, whose packets are far from each other.
/// Each round, other clients say the same.
struct Mix {
    frames: Vec<Vec<u8>>,
    places: Vec<Range<usize>>,
    tape_bytes: usize,
    /// Bytes of all frames.
    bytes: usize,
    clients: Vec<Client>,
    /// Which frames are those of a connection to the banned name.
    known: Vec<Vec<usize>>,
}

/// Where on the tape a client's address is: two of its words, and what stands there in the first round. What is added to
/// one is taken from the other, so that all checksums stay right (RFC 1624 §3).
struct Client {
    at: [usize; 2],
    words: [u16; 2],
}

impl Mix {
    fn new() -> Self {
        let mut traffic = Traffic::new(Settings { banned_one_in: 0, ..Settings::default() });
        let (mut frames, mut known, mut too_long) = (Vec::with_capacity(FRAMES), Vec::<Vec<usize>>::new(), 0);
        let mut made = 0;
        let mut waiting: Vec<Vec<u8>> = Vec::new();
        while frames.len() < FRAMES {
            let mut frame = Vec::new();
            traffic.frame(&mut frame);
            if frame.len() > FRAME_BYTES_MAX {
                too_long += 1;
                continue;
            }
            frames.push(frame);
            made += 1;
            if made % MIX_PER_KNOWN == 0 && frames.len() + 100 < FRAMES {
                waiting = known::says(known.len(), BANNED);
                waiting.reverse();
                known.push(Vec::new());
            }
            if made % MIX_BETWEEN == 0
                && let (Some(frame), Some(places)) = (waiting.pop(), known.last_mut())
            {
                places.push(frames.len());
                frames.push(frame);
            }
        }
        assert!(waiting.is_empty(), "a connection is cut");
        let (places, tape_bytes) = lay(frames.iter().map(Vec::len));
        let clients =
            frames.iter().zip(&places).filter_map(|(frame, place)| Client::find(frame, place.start)).collect();
        let bytes = frames.iter().map(Vec::len).sum();
        println!(
            "{} frames of {} bytes on average, {} connections to {BANNED}; {too_long} made ones were too long",
            frames.len(),
            bytes / frames.len(),
            known.len()
        );
        Self { frames, places, tape_bytes, bytes, clients, known }
    }

    /// Writes all on a tape.
    fn write(&self, tape: &mut [u8]) {
        self.frames.iter().zip(&self.places).for_each(|(frame, place)| put(tape, place, frame));
    }

    /// Makes what is on the tape into that of another round.
    fn turn(&self, tape: &mut [u8], round: usize) {
        let addend = (round % ADDRESSES_ROUNDS) as u16;
        for client in &self.clients {
            let [more, less] = client.words;
            let less = if less > addend { less - addend } else { less + (u16::MAX - addend) };
            for (at, word) in client.at.into_iter().zip([more + addend, less]) {
                tape[at..at + 2].copy_from_slice(&word.to_be_bytes());
            }
        }
        for (number, frames) in self.known.iter().enumerate() {
            let says = known::says(round * self.known.len() + number, BANNED);
            for (&place, frame) in frames.iter().zip(&says) {
                put(tape, &self.places[place], frame);
            }
        }
    }
}

impl Client {
    /// The client of a made-up frame that begins at `start`: in 10.1.0.0/16 or 2001:db8:1::/48.
    fn find(frame: &[u8], start: usize) -> Option<Self> {
        // Source and destination, the words whose sum stays, and how the addresses of clients begin.
        let (ends, words, prefix): ([usize; 2], [usize; 2], &[u8]) = match frame.get(12..14)? {
            [0x08, 0x00] => ([26, 30], [0, 2], &[10, 1]),
            [0x86, 0xdd] => ([22, 38], [4, 14], &[0x20, 0x01, 0x0d, 0xb8, 0, 1]),
            _ => return None,
        };
        let address = ends.into_iter().find(|&at| frame[at..].starts_with(prefix))?;
        let at = words.map(|word| address + word);
        Some(Self { at: at.map(|at| start + at), words: at.map(|at| u16::from_be_bytes([frame[at], frame[at + 1]])) })
    }
}

/// How long a process has used processors.
#[derive(Clone, Copy, Debug)]
struct Cpu {
    user_s: f64,
    system_s: f64,
}

impl Cpu {
    /// Of a sensor, by proc_pid_stat(5).
    fn of(daemon: &Daemon) -> Self {
        /// What the kernel counts in, on all architectures (`USER_HZ`).
        const TICKS_PER_S: f64 = 100.0;
        let text = fs::read_to_string(format!("/proc/{}/stat", daemon.process())).expect("it runs");
        let (_, fields) = text.rsplit_once(") ").expect("the name stands in brackets");
        let field =
            |number: usize| fields.split(' ').nth(number - 3).expect("a field").parse::<f64>().expect("a number");
        Self { user_s: field(14) / TICKS_PER_S, system_s: field(15) / TICKS_PER_S }
    }

    fn since(self, before: Self) -> Self {
        Self { user_s: self.user_s - before.user_s, system_s: self.system_s - before.system_s }
    }
}
