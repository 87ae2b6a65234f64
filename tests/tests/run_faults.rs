//! The running sensor among faults, in network namespaces: killed while it writes, interfaces that go, come late or carry
//! one direction only, a reader of its events who dawdles, and the ways to stop it. Without the rights for that the tests
//! say so and pass.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use vigie_synth::{Profile, Settings, Traffic};
use vigie_tests::daemon::{Daemon, Folder, PATIENCE, Pipe, PipeReader, RaisedAtTheEnd, Scrape, is_alert, until};
use vigie_tests::known::{self, Ends, ends_of};
use vigie_tests::network::{Namespace, Sender};
use vigie_tests::packets::SERVER;

const BANNED: &str = "www.capcut.com";
/// How long a sensor may take to stop, whatever happens to its events.
const STOP_MAX: Duration = Duration::from_secs(15);
/// Much less than it takes to give up on events that nobody takes.
const AT_ONCE: Duration = Duration::from_secs(5);
/// All records, so that much is written.
const ALL_RECORDS: [&str; 4] =
    ["--set", "events.types=[\"tls\", \"quic\", \"dns\", \"flow\"]", "--set", "privacy.debug_until=9999-12-31"];

fn send(namespace: &Namespace, interface: &str, frames: &[Vec<u8>]) {
    namespace.inside(|| Sender::new(interface).send(frames.iter().map(Vec::as_slice)));
}

fn saying(numbers: std::ops::Range<usize>) -> Vec<Vec<u8>> {
    numbers.flat_map(|number| known::says(number, BANNED)).collect()
}

fn every(numbers: std::ops::Range<usize>) -> BTreeMap<Ends, usize> {
    numbers.map(|number| (known::ends(number), 1)).collect()
}

fn counted<'e>(alerts: impl IntoIterator<Item = &'e Value>) -> BTreeMap<Ends, usize> {
    let mut counted = BTreeMap::new();
    alerts.into_iter().for_each(|alert| *counted.entry(ends_of(alert)).or_default() += 1);
    counted
}

/// Waits until there is an alert of each of these connections, and no other.
fn alerted(folder: &Folder, numbers: std::ops::Range<usize>) {
    let all = every(numbers);
    let began = Instant::now();
    while counted(&folder.alerts_so_far()).len() < all.len() && began.elapsed() < PATIENCE {
        thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(counted(&folder.alerts_so_far()), all);
}

/// Traffic of an organisation, many hellos in it.
fn traffic(frames: usize) -> Vec<Vec<u8>> {
    let settings = Settings { profile: Profile::Handshakes, flows: 200, banned_one_in: 4, ..Settings::default() };
    let mut traffic = Traffic::new(settings);
    let mut next = || {
        let mut frame = Vec::new();
        traffic.frame(&mut frame);
        frame
    };
    (0..frames).map(|_| next()).collect()
}

/// How long the whole lines at the beginning of a file are.
fn whole(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1)
}

#[test]
fn killed_while_it_writes_it_leaves_whole_lines_and_mends_the_last() {
    let kills: usize = std::env::var("VIGIE_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(10);
    let Some(namespace) = Namespace::new() else { return };
    namespace.pair("out0", "tap0");
    // Cards join segments: some frames are longer than others carry.
    namespace.run("ip link set out0 mtu 9000; ip link set tap0 mtu 9000");
    let folder = Folder::new();
    let frames = traffic(20_000);
    let is_over = AtomicBool::new(false);
    let mut before = Vec::new();
    let (mut cut, mut grown) = (0, 0);
    thread::scope(|scope| {
        let _over = RaisedAtTheEnd(&is_over);
        let replay = scope.spawn(|| {
            namespace.enter();
            let sender = Sender::new("out0");
            for some in frames.chunks(200).cycle() {
                if is_over.load(Ordering::Relaxed) {
                    return;
                }
                sender.send(some.iter().map(Vec::as_slice));
                thread::sleep(Duration::from_millis(2));
            }
        });
        for kill in 0..kills {
            let arguments = [&["-i", "tap0", "--workers", "2"][..], &ALL_RECORDS].concat();
            let daemon = Daemon::start(&namespace, &folder, &arguments);
            let said = daemon.said();
            // Some number without a pattern, the same each time that the test is run.
            thread::sleep(Duration::from_micros(20_000 + (kill as u64).wrapping_mul(0x9e37_79b9) % 400_000));
            daemon.kill();
            let mut after = fs::read(folder.events()).unwrap();
            let kept = whole(&before);
            let mended = before.len() > kept;
            assert!(after.get(..kept) == before.get(..kept), "kill {kill}: what stood there is not there any more");
            assert_eq!(said.contains("bytes of a cut line were taken away"), mended, "kill {kill}: {said}");
            let new = after.get(kept..whole(&after)).unwrap();
            for line in new.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
                let line: Result<Value, _> = serde_json::from_slice(line);
                assert!(line.is_ok(), "kill {kill}: {line:?}");
            }
            grown += usize::from(!new.is_empty());
            cut += usize::from(after.len() > whole(&after));
            if after.len() == whole(&after) && kill % 2 == 0 {
                // The kernel cut nothing this time: cut by hand.
                let line = b"{\"timestamp\":\"2026-11-2";
                File::options().append(true).open(folder.events()).unwrap().write_all(line).unwrap();
                after.extend(line);
            }
            before = after;
        }
        is_over.store(true, Ordering::Relaxed);
        replay.join().unwrap();
    });
    println!("{kills} kills: {grown} while it wrote, {cut} cut a line; {} bytes of whole lines", whole(&before));
    assert!(grown * 2 > kills, "it wrote in {grown} of {kills} runs only");
}

#[test]
fn an_interface_that_goes_and_comes_is_taken_up_again() {
    let Some(namespace) = Namespace::new() else { return };
    namespace.pair("out0", "tap0");
    let folder = Folder::new();
    let mut daemon = Daemon::start(&namespace, &folder, &["-i", "tap0", "--workers", "2"]);
    send(&namespace, "out0", &saying(0..20));
    alerted(&folder, 0..20);
    let is_up = |scrape: &Scrape, up: u64| scrape.sum("vigie_interface_up", &["interface=\"tap0\""]) == up;
    for round in 1..=3 {
        namespace.run("ip link set tap0 down");
        daemon.scrape_until(&namespace, "the interface is told to be down", |scrape| is_up(scrape, 0));
        namespace.run("ip link set tap0 up");
        daemon.scrape_until(&namespace, "the interface is told to be up", |scrape| is_up(scrape, 1));
        daemon.wait_until_it_says_times("tap0: it is captured", 1 + round);
        send(&namespace, "out0", &saying(round * 20..round * 20 + 20));
        alerted(&folder, 0..round * 20 + 20);
    }
    // Made anew under the same name, it is another interface.
    namespace.run("ip link del tap0");
    daemon.scrape_until(&namespace, "the interface is told to be missing", |scrape| is_up(scrape, 0));
    namespace.pair("out0", "tap0");
    daemon.scrape_until(&namespace, "the interface is told to be back", |scrape| is_up(scrape, 1));
    send(&namespace, "out0", &saying(80..100));
    alerted(&folder, 0..100);
    let said = daemon.stop();
    assert!(
        said.lines().filter(|line| line.starts_with("vigie: warning: ") && line.contains("tap0")).count() >= 4,
        "{said}"
    );
    println!("{}", said.lines().filter(|line| line.contains("tap0")).collect::<Vec<_>>().join("\n"));
}

#[test]
fn an_interface_that_is_missing_at_the_start_is_waited_for() {
    let Some(namespace) = Namespace::new() else { return };
    namespace.pair("out0", "tap0");
    let folder = Folder::new();
    let mut daemon = Daemon::start(&namespace, &folder, &["-i", "tap0", "-i", "late0", "--workers", "2"]);
    let up = |scrape: &Scrape| scrape.sum("vigie_interface_up", &["interface=\"late0\""]);
    daemon.wait_until_it_says("late0");
    daemon.scrape_until(&namespace, "it is told to be missing", |scrape| up(scrape) == 0);
    send(&namespace, "out0", &saying(0..10));
    alerted(&folder, 0..10);
    namespace.pair("early0", "late0");
    daemon.scrape_until(&namespace, "it is told to be there", |scrape| up(scrape) == 1);
    send(&namespace, "early0", &saying(10..20));
    alerted(&folder, 0..20);
    assert!(folder.alerts_so_far().iter().any(|alert| alert["in_iface"] == "late0"));
    daemon.stop();

    // Who does not want to wait is told so.
    let setting = ["--set", "capture.wait_for_interfaces=false"];
    let arguments = [&["-i", "never0", "--workers", "1"][..], &setting].concat();
    let mut daemon = Daemon::spawn(&namespace, &folder, &arguments);
    let status = daemon.wait(PATIENCE);
    let said = daemon.said();
    assert!(!status.success() && said.contains("never0"), "{status}: {said}");
}

#[test]
fn two_legs_in_either_order_and_one_leg_alone_give_the_same_alerts() {
    let Some(namespace) = Namespace::new() else { return };
    namespace.pair("out0", "leg0");
    namespace.pair("out1", "leg1");
    let folder = Folder::new();
    let daemon = Daemon::start(&namespace, &folder, &["-i", "leg0", "-i", "leg1", "--workers", "2"]);
    let server = SERVER.ip().to_string();
    for (round, legs) in [["out0", "out1"], ["out1", "out0"]].iter().enumerate() {
        let numbers = round * 50..round * 50 + 50;
        namespace.inside(|| {
            let senders = legs.map(Sender::new);
            for number in numbers.clone() {
                for frame in known::says(number, BANNED) {
                    // Source addresses stand behind the Ethernet header, 12 bytes into the IP header.
                    let is_answer = frame.get(26..30) == Some(&[192, 0, 2, 1][..]);
                    senders[usize::from(is_answer)].send([frame.as_slice()]);
                }
            }
        });
        alerted(&folder, 0..numbers.end);
    }
    for alert in folder.alerts_so_far() {
        assert_eq!((&alert["dest_ip"], &alert["dest_port"]), (&Value::from(server.as_str()), &Value::from(443)));
        assert_eq!(alert["direction"], "to_server");
    }
    // Both directions were one flow: alerts know the server's answer.
    let answered = |alert: &Value| alert["flow"]["pkts_toclient"] == 1;
    let both = folder.alerts_so_far().iter().filter(|alert| answered(alert)).count();
    println!("{both} of 100 alerts know of the answer");

    // What the client says is enough.
    let one_way = |numbers: std::ops::Range<usize>| -> Vec<Vec<u8>> {
        let frames = numbers.flat_map(|number| {
            let frames = known::says(number, BANNED);
            frames.into_iter().enumerate().filter(|(place, _)| *place != 1).map(|(_, frame)| frame).collect::<Vec<_>>()
        });
        frames.collect()
    };
    send(&namespace, "out0", &one_way(100..150));
    alerted(&folder, 0..150);
    // What the server says is nothing to alert of, and does no harm.
    let answers: Vec<Vec<u8>> = (150..200).map(|number| known::connection(number).syn_ack()).collect();
    send(&namespace, "out1", &answers);
    daemon.stop();
    assert_eq!(counted(&folder.alerts()), every(0..150));
}

#[test]
fn told_to_stop_it_writes_all_that_it_has_seen() {
    const CONNECTIONS: usize = 2_000;
    let Some(namespace) = Namespace::new() else { return };
    namespace.pair("out0", "tap0");
    let folder = Folder::new();
    let arguments = [&["-i", "tap0", "--workers", "2"][..], &ALL_RECORDS].concat();
    let mut daemon = Daemon::start(&namespace, &folder, &arguments);
    send(&namespace, "out0", &saying(0..CONNECTIONS));
    // At once: what was sent lies in the rings.
    let began = Instant::now();
    daemon.signal(libc::SIGTERM);
    let status = daemon.wait(PATIENCE);
    println!("ended after {:.2?}", began.elapsed());
    assert!(status.success() && began.elapsed() < STOP_MAX, "{status}: {}", daemon.said());
    let events = folder.events_of("eve.json");
    for kind in ["alert", "tls", "flow"] {
        assert!(
            counted(events.iter().filter(|event| event["event_type"] == kind && event["alert"]["gid"] != 7))
                == every(0..CONNECTIONS),
            "{kind}"
        );
    }
    assert!(daemon.said().contains(&format!("stopped: {} packets, 0 dropped", 4 * CONNECTIONS)), "{}", daemon.said());
}

/// A sensor that has alerts to write to a pipe which somebody has open and takes nothing from.
fn stuck(namespace: &Namespace, folder: &Folder, pipe: &Pipe) -> (Daemon, PipeReader) {
    namespace.pair("out0", "tap0");
    let daemon = Daemon::start(namespace, folder, &["-i", "tap0", "--workers", "1", "--events-file", pipe.path()]);
    let idle = pipe.read(false);
    send(namespace, "out0", &saying(0..1_000));
    daemon.scrape_until(namespace, "alerts", |scrape| scrape.sum("vigie_sightings_total", &[]) == 1_000);
    (daemon, idle)
}

#[test]
fn told_to_stop_twice_it_stops_at_once() {
    let Some(namespace) = Namespace::new() else { return };
    let folder = Folder::new();
    let pipe = Pipe::new(&folder);
    let (mut daemon, _idle) = stuck(&namespace, &folder, &pipe);
    daemon.signal(libc::SIGTERM);
    thread::sleep(Duration::from_millis(500));
    daemon.signal(libc::SIGTERM);
    let status = daemon.wait(AT_ONCE);
    assert!(status.code() == Some(128 + libc::SIGTERM) || status.signal() == Some(libc::SIGTERM), "{status}");
}

#[test]
fn while_nobody_takes_events_packets_are_counted_and_alerts_wait() {
    const CONNECTIONS: usize = 600;
    let Some(namespace) = Namespace::new() else { return };
    namespace.pair("out0", "tap0");
    let folder = Folder::new();
    let pipe = Pipe::new(&folder);
    let small = ["--set", "events.channel_events_max=16", "--events-file", pipe.path()];
    let arguments = [&["-i", "tap0", "--workers", "2"][..], &small].concat();
    let mut daemon = Daemon::start(&namespace, &folder, &arguments);

    // First nobody has the pipe open, then somebody has but takes nothing: a refusal, and a wait.
    let counted_to = |sent: usize| {
        let scrape = daemon.scrape_until(&namespace, "packets", |scrape| scrape.packets_and_drops().0 >= sent as u64);
        assert_eq!(scrape.packets_and_drops(), (sent as u64, 0));
        scrape
    };
    send(&namespace, "out0", &saying(0..CONNECTIONS));
    let scrape = counted_to(4 * CONNECTIONS);
    assert_eq!(scrape.alerts_lost(), 0);
    daemon.scrape_until(&namespace, "a refusal", |scrape| scrape.sum("vigie_sink_errors_total", &[]) > 0);
    let reader = pipe.read(false);
    thread::sleep(Duration::from_millis(500));
    send(&namespace, "out0", &saying(CONNECTIONS..2 * CONNECTIONS));
    counted_to(8 * CONNECTIONS);
    daemon.scrape_until(&namespace, "what waits", |scrape| scrape.sum("vigie_worker_pending_events", &[]) > 0);

    reader.take(true);
    let alerts = || -> Vec<Value> { reader.events().into_iter().filter(is_alert).collect() };
    until("all alerts", PATIENCE, || (alerts().len() >= 2 * CONNECTIONS).then_some(()));
    let scrape = daemon.scrape_until(&namespace, "nothing waits", |scrape| {
        scrape.sum("vigie_worker_pending_events", &[]) + scrape.sum("vigie_channel_depth", &[]) == 0
    });
    assert_eq!(scrape.alerts_lost(), 0);
    daemon.wait_until_it_says("events can be written again");
    let said = daemon.stop();
    thread::sleep(Duration::from_millis(100));
    let alerts = alerts();
    assert!(counted(&alerts) == every(0..2 * CONNECTIONS), "{} alerts", alerts.len());
    assert!(said.contains("events cannot be written"), "{said}");
}

#[test]
fn a_sink_that_never_takes_anything_holds_up_neither_reloads_nor_the_end() {
    const RELOADS: usize = 40;
    let Some(namespace) = Namespace::new() else { return };
    let folder = Folder::new();
    let pipe = Pipe::new(&folder);
    let (mut daemon, _idle) = stuck(&namespace, &folder, &pipe);
    for reload in 1..=RELOADS {
        daemon.signal(libc::SIGHUP);
        daemon.wait_until_it_says_times("reloaded:", reload);
    }
    daemon.signal(libc::SIGTERM);
    let status = daemon.wait(Duration::from_secs(60));
    assert!(status.code() == Some(70), "{status}: {}", daemon.said());
    assert!(daemon.said().contains("could not be written"), "{}", daemon.said());
}
