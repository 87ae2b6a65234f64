//! Names from DNS with several workers, each with a ring of its own: an answer and the flow that it names lie in different
//! rings, and are read at different times. The alerts are those of a replay. Without the rights for a network the test says
//! so and passes.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::thread;
use std::time::{Duration, Instant};

use vigie_tests::daemon::{Daemon, Folder};
use vigie_tests::dns;
use vigie_tests::hello::Hello;
use vigie_tests::known::ends_of;
use vigie_tests::network::{Namespace, Sender};
use vigie_tests::tape::Tape;
use vigie_tests::tcp::Connection;

const BANNED: &str = "www.capcut.com";
const OTHER: &str = "www.example.org";
/// Flows for each delay.
const FLOWS: usize = 1_000;
/// Milliseconds from the answer to the hello.
const DELAYS_MS: [u64; 5] = [0, 2, 10, 30, 100];
/// How much later the answer comes that must not count.
const LATE_MS: u64 = 3;
/// A flow begins so often.
const EVERY: Duration = Duration::from_micros(500);

/// Frames, and when each of them is sent.
type Schedule = Vec<(Duration, Vec<u8>)>;

fn client(place: usize, number: usize) -> SocketAddr {
    let [_, _, high, low] = (number as u32).to_be_bytes();
    SocketAddr::new(IpAddr::from([100, 70 + place as u8, high, low]), 30_000 + (number % 20_000) as u16)
}

/// Each flow has a server of its own, about which nothing is known but what DNS says.
fn server(number: usize) -> SocketAddr {
    let [_, _, high, low] = (number as u32).to_be_bytes();
    SocketAddr::new(IpAddr::from([198, 18, high, low]), 443)
}

/// An answer before each flow, and of every fourth flow another one that comes too late.
fn schedule() -> Schedule {
    let mut schedule = Vec::new();
    let hello = Hello::nameless().record();
    for (place, delay_ms) in DELAYS_MS.into_iter().enumerate() {
        let began = (EVERY * FLOWS as u32 + Duration::from_millis(200)) * place as u32;
        for number in 0..FLOWS {
            let (client, server) = (client(place, number), server(number));
            let (at, is_late) = (began + EVERY * number as u32, number % 4 == 3);
            let (first, last) = if is_late { (OTHER, BANNED) } else { (BANNED, OTHER) };
            let said_at = at + Duration::from_millis(delay_ms);
            schedule.push((at, dns::told(client.ip(), first, server.ip())));
            let frames = Connection::between(client, server).saying(&hello);
            schedule.extend(frames.into_iter().map(|frame| (said_at, frame)));
            if is_late || number % 4 == 0 {
                let late_at = said_at + Duration::from_millis(LATE_MS);
                schedule.push((late_at, dns::told(client.ip(), last, server.ip())));
            }
        }
    }
    schedule.sort_by_key(|(at, _)| *at);
    schedule
}

/// What the alerts of a replay in the same order say: the client's end, and the name.
fn replayed(schedule: &[(Duration, Vec<u8>)]) -> BTreeMap<(String, u16), String> {
    let replay = Tape::of(schedule.iter().map(|(_, frame)| frame.clone())).replay();
    let alerts = replay.alerts().map(|alert| {
        let client = (alert.flow.client.ip().to_string(), alert.flow.client_port);
        (client, alert.name.clone().unwrap_or_default())
    });
    alerts.collect()
}

fn send(namespace: &Namespace, schedule: &[(Duration, Vec<u8>)]) {
    namespace.inside(|| {
        let (sender, began) = (Sender::new("out0"), Instant::now());
        let mut rest = schedule;
        while let Some((at, _)) = rest.first() {
            if let Some(left) = at.checked_sub(began.elapsed()) {
                thread::sleep(left);
            }
            let due = rest.partition_point(|(at, _)| *at <= began.elapsed());
            let (now, later) = rest.split_at(due);
            // One by one, so that each has a time of its own.
            now.iter().for_each(|(_, frame)| sender.send([frame.as_slice()]));
            rest = later;
        }
    });
}

#[test]
fn with_several_workers_each_flow_has_the_name_that_a_replay_gives_it() {
    let schedule = schedule();
    let expected = replayed(&schedule);
    assert_eq!(expected.len(), DELAYS_MS.len() * FLOWS / 4 * 3);
    for workers in [2, 4] {
        let Some(namespace) = Namespace::new() else { return };
        namespace.pair("out0", "tap0");
        let folder = Folder::new();
        let daemon = Daemon::start(&namespace, &folder, &["-i", "tap0", "--workers", &workers.to_string()]);
        send(&namespace, &schedule);
        let scrape = daemon.scrape_until(&namespace, "all packets", |scrape| {
            let (packets, drops) = scrape.packets_and_drops();
            packets + drops >= schedule.len() as u64
        });
        assert_eq!(scrape.packets_and_drops(), (schedule.len() as u64, 0));
        daemon.stop();

        let mut alerts: BTreeMap<(String, u16), String> = BTreeMap::new();
        for alert in folder.alerts() {
            assert_eq!(alert["alert"]["metadata"]["evidence"][0], "dns");
            let name = alert["alert"]["metadata"]["name"][0].as_str().unwrap_or_default().to_owned();
            assert_eq!(alerts.insert(ends_of(&alert), name), None, "two alerts of a flow");
        }
        let missing = expected.keys().filter(|client| !alerts.contains_key(*client)).count();
        let odd = alerts.iter().filter(|(client, name)| expected.get(*client) != Some(*name)).count();
        println!("{workers} workers: {} of {} alerts, {missing} missing, {odd} odd", alerts.len(), expected.len());
        assert!(missing * 1_000 <= expected.len() && odd * 1_000 <= expected.len());
    }
}
