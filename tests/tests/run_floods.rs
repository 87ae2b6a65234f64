//! Floods at a running sensor, with slow hellos among them: TLS hellos whose second part comes 20 ms to a second after the
//! first, and flows that only DNS names. They are recognised, and memory stays below what `vigie check` states. Where the
//! machine is too slow, so that the kernel drops packets, the tests say so and demand no recognition; without the rights
//! for a network they say so and pass.
//!
//! `VIGIE_FLOOD_RATE` says how many packets a second to send, otherwise 20 000.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::Command;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use vigie_skip::skipped;
use vigie_tests::daemon::{Daemon, Folder, binary};
use vigie_tests::dns;
use vigie_tests::hello::Hello;
use vigie_tests::injector::Injector;
use vigie_tests::known::{Ends, ends_of};
use vigie_tests::network::{Namespace, Sender};
use vigie_tests::packets::{SERVER, fragment, udp};
use vigie_tests::tcp::Connection;

const BANNED: &str = "www.capcut.com";
const OTHER: &str = "www.example.org";
/// Packets of a flood in a second.
const RATE: u64 = 20_000;
/// The most packets of a flood, whatever the rate.
const PACKETS_MAX: u64 = 300_000;
/// How long a flood lasts.
const FLOOD: Duration = Duration::from_millis(2_500);
/// Milliseconds between the two parts of a slow hello.
const GAPS_MS: [u64; 3] = [20, 200, 1_000];
/// Slow hellos for each gap.
const HELLOS: usize = 300;

/// The floods take turns: side by side they would need as many processors.
static TURN: Mutex<()> = Mutex::new(());

/// Frames, and when each of them is sent.
type Schedule = Vec<(Duration, Vec<u8>)>;

fn rate() -> u64 {
    std::env::var("VIGIE_FLOOD_RATE").map_or(RATE, |text| text.parse().expect("packets a second"))
}

/// A number that looks like chance, the same on each run.
fn chance(seed: u64) -> u64 {
    let mut mixed = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed ^ (mixed >> 31)
}

/// Anybody, from anywhere.
fn anybody(number: u64) -> SocketAddr {
    let chance = chance(number);
    let address = Ipv4Addr::from_bits(0x1000_0000 | (chance as u32 & 0x0fff_ffff));
    SocketAddr::new(address.into(), (chance >> 40) as u16 | 1_024)
}

fn client(group: u8, number: usize) -> SocketAddr {
    SocketAddr::new(IpAddr::from([100, 64 + group, 0, (number % 250) as u8 + 1]), 20_000 + (number / 250) as u16)
}

fn ends(client: SocketAddr) -> Ends {
    (client.ip().to_string(), client.port())
}

/// Slow hellos that begin within the first second of a flood, and who sends them.
fn slow_hellos() -> (Schedule, BTreeSet<Ends>) {
    let stream = Hello::post_quantum(BANNED).record();
    let (mut schedule, mut clients) = (Schedule::new(), BTreeSet::new());
    for (group, gap_ms) in GAPS_MS.into_iter().enumerate() {
        for number in 0..HELLOS {
            let client = client(group as u8, number);
            let connection = Connection::between(client, SERVER);
            let begins = Duration::from_millis(200) + Duration::from_secs(1) * number as u32 / HELLOS as u32;
            schedule.extend(connection.opening().into_iter().map(|frame| (begins, frame)));
            schedule.push((begins, connection.from_client(0, &stream[..1_000])));
            schedule.push((begins + Duration::from_millis(gap_ms), connection.from_client(1_000, &stream[1_000..])));
            clients.insert(ends(client));
        }
    }
    schedule.sort_by_key(|(at, _)| *at);
    (schedule, clients)
}

/// Flows without a name, each to a server that DNS named to its client, before the flood or after it.
fn named_by_dns(after: Duration) -> (Schedule, BTreeSet<Ends>) {
    let hello = Hello::nameless().record();
    let (mut schedule, mut clients) = (Schedule::new(), BTreeSet::new());
    for (group, asks) in [(8, Duration::ZERO), (9, after)] {
        for number in 0..HELLOS {
            let client = client(group, number);
            let server = SocketAddr::new(IpAddr::from([198, 18, group, (number % 250) as u8 + 1]), 443);
            let resolver: SocketAddr = "198.51.100.53:53".parse().unwrap();
            let asker = SocketAddr::new(client.ip(), 33_333);
            schedule.push((asks, udp(asker, resolver, &dns::query(BANNED))));
            schedule.push((asks, udp(resolver, asker, &dns::answer(BANNED, server.ip(), 300))));
            let frames = Connection::between(client, server).saying(&hello);
            schedule.extend(frames.into_iter().map(|frame| (after + Duration::from_millis(300), frame)));
            clients.insert(ends(client));
        }
    }
    schedule.sort_by_key(|(at, _)| *at);
    (schedule, clients)
}

/// The bytes that the sensor may take, as `vigie check` says.
fn stated_bytes(folder: &Folder) -> u64 {
    let mut command = Command::new(binary());
    command.args(["check", "--json", "-i", "tap0", "--workers", "2", "--config", "/dev/null"]);
    command.args(["--events-file", &folder.text_path("eve.json")]);
    command.env_remove("VIGIE_FLOOD_RATE");
    let output = command.output().expect("the sensor runs");
    let stated: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    stated["memory"]["total_bytes"].as_u64().expect("a number")
}

/// Brings the frames of a flood at the rate, and sends the others at their times. How many packets that were.
fn send(namespace: &Namespace, schedule: &Schedule, rate: u64, flood: &[Vec<u8>]) -> u64 {
    thread::scope(|scope| {
        scope.spawn(|| {
            namespace.inside(|| {
                let took =
                    Injector::new("tap0", "out0").bring_at(rate, flood.len() as u64, |n| flood[n as usize].clone());
                println!("{:.0} packets of the flood a second", flood.len() as f64 / took.as_secs_f64());
            });
        });
        namespace.inside(|| {
            let (sender, began, mut rest) = (Sender::new("out0"), Instant::now(), schedule.as_slice());
            while !rest.is_empty() {
                let (now, later) = rest.split_at(rest.partition_point(|(at, _)| *at <= began.elapsed()));
                sender.send(now.iter().map(|(_, frame)| frame.as_slice()));
                rest = later;
                thread::sleep(Duration::from_millis(1));
            }
        });
    });
    (flood.len() + schedule.len()) as u64
}

/// A flood of these frames, and what is sent among it. Of `clients`, at least 99 in 100 have to be recognised.
fn flood(
    what: &str,
    (schedule, clients): (Schedule, BTreeSet<Ends>),
    (lasts, rate): (Duration, u64),
    frame: impl Fn(u64) -> Vec<u8> + Sync,
) -> Option<String> {
    let _turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let namespace = Namespace::new()?;
    namespace.pair("out0", "tap0");
    let folder = Folder::new();
    let stated = stated_bytes(&folder);
    let packets = (rate * lasts.as_millis() as u64 / 1_000).min(PACKETS_MAX);
    let packets: Vec<_> = (0..packets).map(frame).collect();
    let daemon = Daemon::start(&namespace, &folder, &["-i", "tap0", "--workers", "2"]);
    let before = daemon.resident_kib() << 10;
    let sent = send(&namespace, &schedule, rate, &packets);
    let scrape = daemon.scrape_until(&namespace, "all packets", |scrape| {
        let (packets, drops) = scrape.packets_and_drops();
        packets + drops >= sent
    });
    let (resident, (_, drops)) = (daemon.resident_kib() << 10, scrape.packets_and_drops());
    let scrape = daemon.scrape(&namespace).0;
    daemon.stop();
    let recognised: BTreeSet<_> =
        folder.alerts().iter().map(ends_of).filter(|client| clients.contains(client)).collect();
    println!(
        "{what}: {} of {} recognised, {drops} of {sent} packets dropped, {} MB resident before, {} after, {} stated",
        recognised.len(),
        clients.len(),
        before >> 20,
        resident >> 20,
        stated >> 20
    );
    assert!(resident < stated, "{what}: {resident} bytes, {stated} are stated");
    if drops == 0 {
        assert!(recognised.len() * 100 >= clients.len() * 99, "{what}: {} of {}", recognised.len(), clients.len());
    } else {
        skipped(format_args!("{what}: this machine is too slow for it; {drops} packets were dropped"));
    }
    Some(scrape)
}

#[test]
fn slow_hellos_among_half_hellos() {
    let stream = Hello::post_quantum(OTHER).record();
    flood("half hellos", slow_hellos(), (FLOOD, rate()), |number| {
        Connection::between(anybody(number), SERVER).from_client(0, &stream[..900])
    });
}

#[test]
fn slow_hellos_among_garbage_initials() {
    flood("garbage Initials", slow_hellos(), (FLOOD, rate()), |number| {
        let mut garbage = vec![0xc3, 0, 0, 0, 1, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x44, 0x9e];
        garbage[6..14].copy_from_slice(&chance(number).to_be_bytes());
        garbage.resize(1_200, 0x5a);
        udp(anybody(number), SERVER, &garbage)
    });
}

#[test]
fn slow_hellos_among_fragments_without_end() {
    flood("fragments", slow_hellos(), (FLOOD, rate()), |number| {
        fragment(anybody(number).ip(), SERVER.ip(), &[0; 1_400], number as u16, 0, true)
    });
}

#[test]
fn slow_hellos_among_connections_opened_from_everywhere() {
    flood("SYNs", slow_hellos(), (FLOOD, rate()), |number| Connection::between(anybody(number), SERVER).syn());
}

#[test]
fn slow_hellos_among_forged_answers() {
    flood("forged DNS answers", slow_hellos(), (FLOOD, rate()), |number| {
        dns::told(anybody(number).ip(), OTHER, anybody(number + 1).ip())
    });
}

#[test]
fn dns_names_flows_after_forged_answers() {
    // To one client, and to everybody, about more servers than there is room for, of which nobody asked.
    let (lasts, rate) = (Duration::from_millis(300), 20_000);
    let victim = client(8, 0).ip();
    let named = named_by_dns(lasts + Duration::from_millis(200));
    let scrape = flood("DNS evidence behind forged answers", named, (lasts, rate), |number| {
        let to = if number.is_multiple_of(2) { victim } else { anybody(number).ip() };
        let addresses: Vec<_> = (0..80).map(|place| anybody(number * 80 + place).ip()).collect();
        let answer = dns::answer_with(OTHER, &addresses, 86_400);
        udp("198.51.100.53:53".parse().unwrap(), SocketAddr::new(to, 54_321), &answer)
    });
    if let Some(scrape) = scrape {
        let counted = scrape.lines().find(|line| line.contains("limit=\"address_names_max\""));
        println!("{}", counted.unwrap_or("no counter"));
        assert!(counted.is_some_and(|line| !line.ends_with(" 0")), "the limit was not reached");
    }
}
