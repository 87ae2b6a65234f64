//! Panics in the running sensor. A packet that panics a worker is set aside, and the tap is seen again at once; a metrics
//! endpoint that fails is told, and the sensor goes on. The program must be built for tests; others have no such hooks. Without
//! the rights for a network the tests say so and pass.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use vigie_tests::daemon::{Daemon, Folder, PATIENCE, until};
use vigie_tests::known;
use vigie_tests::network::{Namespace, Sender};
use vigie_tests::packets::udp;

const BANNED: &str = "www.capcut.com";
const PORT: u16 = 6_666;

/// A packet that panics the worker that handles it.
fn poison() -> Vec<u8> {
    udp("10.66.66.66:6666".parse().unwrap(), "192.0.2.66:7777".parse().unwrap(), b"a payload that nobody has to see")
}

fn set_aside(folder: &Folder) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder.path("")).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.extension().is_some_and(|extension| extension == "pcap")).collect()
}

#[test]
fn a_packet_that_panics_a_worker_is_set_aside_and_the_tap_is_seen_again() {
    if !cfg!(debug_assertions) {
        return;
    }
    let Some(namespace) = Namespace::new() else { return };
    namespace.pair("out0", "tap0");
    let folder = Folder::new();
    let port = PORT.to_string();
    let variables = [("TEST_OF_VIGIE_PANIC_PORT", port.as_str())];
    let mut daemon = Daemon::start_with(&namespace, &folder, &["-i", "tap0", "--workers", "2"], &variables);
    let mut packets = 0;
    let mut send = |frames: Vec<Vec<u8>>| {
        packets += frames.len() as u64;
        namespace.inside(|| Sender::new("out0").send(frames.iter().map(Vec::as_slice)));
        packets
    };
    let says = |numbers: std::ops::Range<usize>| -> Vec<Vec<u8>> {
        numbers.flat_map(|number| known::says(number, BANNED)).collect()
    };
    let sighted = |count| {
        let began = Instant::now();
        let sightings = || daemon.scrape(&namespace).sum("vigie_sightings_total", &[]);
        while sightings() < count && began.elapsed() < PATIENCE {
            thread::sleep(Duration::from_millis(10));
        }
        began.elapsed()
    };
    // How long it takes on this machine, with whatever else it does.
    send(says(0..100));
    let usual = sighted(100);
    // In the middle of a batch: what stands before and behind it counts.
    send([says(100..110), vec![poison()], says(110..200)].concat());
    let all = send(says(200..300));
    let took = sighted(300);
    println!("the tap was seen again within {took:.1?}; it usually takes {usual:.1?}");
    assert!(took < Duration::from_secs(1) + usual * 4, "{took:?}, usually {usual:?}");
    let scrape = daemon.scrape_until(&namespace, "all packets and the panic", |scrape| {
        scrape.packets_and_drops() == (all, 0) && scrape.sum("vigie_worker_panics_total", &[]) == 1
    });
    let counted = |name: &str| scrape.sum(name, &[]);
    assert_eq!((counted("vigie_worker_frames_total"), counted("vigie_worker_panics_total")), (all, 1));
    assert_eq!((counted("vigie_sightings_total"), scrape.alerts_lost()), (300, 0));

    daemon.wait_until_it_says("has started anew");
    let files = set_aside(&folder);
    assert_eq!(files.len(), 1, "{files:?}");
    assert_eq!(fs::metadata(&files[0]).unwrap().permissions().mode() & 0o777, 0o600);
    let file = fs::read(&files[0]).unwrap();
    let has = |part: &[u8]| file.windows(part.len()).any(|window| window == part);
    assert!(has(&PORT.to_be_bytes()), "{file:02x?}");
    assert!(!has(b"nobody") && !has(&[10, 66, 66, 66]) && !has(&[192, 0, 2, 66]), "{file:02x?}");

    // Again and again, it is a defect with which the sensor cannot live.
    for _ in 0..10 {
        send(vec![poison()]);
        thread::sleep(Duration::from_millis(100));
    }
    let status = daemon.wait(PATIENCE);
    assert_eq!(status.code(), Some(70), "{}", daemon.said());
    let mut alerts: Vec<_> = folder.alerts().iter().map(known::ends_of).collect();
    alerts.sort();
    alerts.dedup();
    assert_eq!((alerts.len(), folder.alerts().len()), (300, 300), "each once");
}

#[test]
fn a_metrics_endpoint_that_fails_is_told_and_events_go_on() {
    if !cfg!(debug_assertions) {
        return;
    }
    let Some(namespace) = Namespace::new() else { return };
    namespace.pair("out0", "tap0");
    let folder = Folder::new();
    let mut daemon = Daemon::start_with(&namespace, &folder, &["-i", "tap0"], &[("TEST_OF_VIGIE_METRICS_PANIC", "1")]);
    daemon.wait_until_it_says("the metrics endpoint has failed and answers no more; restart the sensor to get it back");
    let frames: Vec<_> = (0..100).flat_map(|number| known::says(number, BANNED)).collect();
    namespace.inside(|| Sender::new("out0").send(frames.iter().map(Vec::as_slice)));
    let alerts = until("all alerts in the file", PATIENCE, || {
        let alerts = folder.alerts_so_far();
        (alerts.len() == 100).then_some(alerts)
    });
    assert!((0..100).all(|number| alerts.iter().any(|alert| known::ends_of(alert) == known::ends(number))));
    assert_eq!(daemon.said_times("the metrics endpoint has failed"), 1, "{}", daemon.said());
    daemon.stop();
}
