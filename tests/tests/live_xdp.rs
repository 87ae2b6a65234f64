//! Live capture by AF_XDP in network namespaces: what was sent is what is seen, byte for byte and to the last frame; tags,
//! drops, queues, modes of XDP, and interfaces that go. Where the kernel or the rights do not suffice the tests say so and pass.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use vigie_capture::Source;
use vigie_capture::live::shunt::{ProgramOptions, Purpose};
use vigie_capture::live::{self, Backend, Live, LiveOptions, State, Timestamps, xdp};
use vigie_skip::skipped;
use vigie_tests::live::{
    PATIENCE, data, numbered, numbered_frames, open_one, options, see, take_tags_in_place, tapped, until,
};
use vigie_tests::live_frames::{LiveFrames, lay, put};
use vigie_tests::network::{Namespace, Sender, give_up_privileges, pin_thread, thread_times};
use vigie_tests::packets::{SERVER, tagged, udp};

fn xdp_options(interfaces: &[&str]) -> LiveOptions {
    LiveOptions { backend: Backend::Xdp, ..options(interfaces) }
}

/// Sends frames no faster than they can arrive.
fn send(interface: &str, frames: &[Vec<u8>]) {
    Sender::new(interface).send_in_bursts(frames);
}

/// What was said of changes so far.
fn messages(live: &mut Live) -> Vec<String> {
    std::iter::from_fn(|| live.next_change()).map(|change| change.message).collect()
}

#[test]
fn what_is_sent_is_seen_in_order_and_byte_for_byte() {
    let Some(namespace) = tapped(true) else { return };
    namespace.inside(|| {
        let mut live = open_one(&xdp_options(&["tap0"]));
        let mut frames = numbered_frames(6000);
        let plain = numbered(1, 100);
        frames.extend([
            tagged(&plain, &[(0x8100, 0x6064)]),
            tagged(&plain, &[(0x88a8, 200), (0x8100, 100)]),
            tagged(&plain, &[(0x8100, 1), (0x8100, 2), (0x8100, 3)]),
            numbered(7, 1400),
        ]);
        let before_ns = std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64;
        thread::scope(|scope| {
            scope.spawn(|| namespace.inside(|| send("out0", &frames)));
            let seen = see(&mut live, frames.len());
            let now_ns = std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64;
            assert_eq!(seen.len(), frames.len(), "{:?}", live.counts());
            assert!(data(&seen) == frames, "other bytes or another order");
            assert!(seen.is_sorted_by_key(|frame| frame.timestamp_ns));
            assert!(seen.iter().all(|frame| (before_ns..now_ns).contains(&frame.timestamp_ns)), "the system's clock");
            assert!(seen.iter().all(|frame| frame.wire_length as usize == frame.data.len() && frame.interface == 0));
            // Each has a time of its own: they were stamped one by one.
            let times: BTreeSet<u64> = seen.iter().map(|frame| frame.timestamp_ns).collect();
            assert!(times.len() > frames.len() / 2, "{} times", times.len());
        });
        live.refresh();
        let (counts, bytes) = (&live.counts()[0], frames.iter().map(Vec::len).sum::<usize>());
        assert_eq!((counts.frames, counts.bytes, counts.dropped), (frames.len() as u64, bytes as u64, 0));
        assert_eq!((counts.truncated, counts.damaged, counts.interface_dropped), (0, 0, 0));
        assert_eq!(live.statistics().frames, frames.len() as u64);
        let told = messages(&mut live);
        assert_eq!(told.len(), 1, "{told:?}");
        println!("{}", told[0]);
        assert!(told[0].starts_with("interface tap0: it is captured: AF_XDP, in the driver, "), "{told:?}");
    });
}

/// The time stamps are those of packet sockets.
#[test]
fn the_clock_is_that_of_packet_sockets() {
    let Some(namespace) = tapped(true) else { return };
    namespace.inside(|| {
        let mut sent = open_one(&options(&["out0"]));
        let mut received = open_one(&xdp_options(&["tap0"]));
        let frames = numbered_frames(50);
        send("out0", &frames);
        let (sent, received) = (see(&mut sent, frames.len()), see(&mut received, frames.len()));
        assert_eq!((sent.len(), received.len()), (50, 50));
        for (sent, received) in sent.iter().zip(&received) {
            let apart = received.timestamp_ns.cast_signed() - sent.timestamp_ns.cast_signed();
            assert!((-1_000_000..50_000_000).contains(&apart), "{apart} ns");
        }
    });
}

#[test]
fn sent_is_seen_and_dropped_to_the_last_frame() {
    let Some(namespace) = tapped(true) else { return };
    namespace.inside(|| {
        // The least ring: 64 frames.
        let mut live = open_one(&LiveOptions { ring_bytes_per_worker: 8192, ..xdp_options(&["tap0"]) });
        let mut sent = 0;
        for _ in 0..4 {
            // It sleeps while this is sent; then it reads, so that chunks go back and forth.
            send("out0", &numbered_frames(1000));
            sent += 1000;
            see(&mut live, 0);
        }
        live.refresh();
        let (counts, lost) = (live.counts()[0].clone(), namespace.count("out0", "tx_dropped"));
        assert_eq!(counts.frames + counts.dropped + lost, sent, "{counts:?}, {lost}");
        // The pair counts them too.
        live.refresh();
        assert_eq!((namespace.count("tap0", "rx_dropped"), live.counts()[0].interface_dropped), (counts.dropped, 0));
        assert!(counts.dropped > 1000 && counts.frames > 100, "{counts:?}");
    });
}

#[test]
fn frames_that_no_chunk_has_room_for_are_counted() {
    let Some(namespace) = tapped(true) else { return };
    namespace.run("ip link set out0 mtu 9000; ip link set tap0 mtu 9000");
    namespace.inside(|| {
        let mut live = open_one(&xdp_options(&["tap0"]));
        let told = messages(&mut live);
        assert!(
            told[0].contains("frames of more than 3840 bytes are dropped and counted, and its MTU is 9000"),
            "{told:?}"
        );
        let frames = [3_000, 4_000, 100, 8_000].map(|bytes| numbered(1, bytes));
        send("out0", &frames);
        let seen = see(&mut live, 2);
        live.refresh();
        let (counts, lost) = (&live.counts()[0], namespace.count("out0", "tx_dropped"));
        assert_eq!((data(&seen), lost), (vec![frames[0].clone(), frames[2].clone()], 0), "{counts:?}");
        assert_eq!((counts.frames, counts.dropped), (2, 2), "{counts:?}");
    });
}

#[test]
fn frames_are_cut_at_the_snap_length() {
    let Some(namespace) = tapped(true) else { return };
    namespace.inside(|| {
        let mut live = open_one(&LiveOptions { snap_bytes: 100, ..xdp_options(&["tap0"]) });
        let long = numbered(3, 1000);
        send("out0", std::slice::from_ref(&long));
        let seen = see(&mut live, 1);
        assert_eq!((&seen[0].data[..], seen[0].wire_length as usize), (&long[..100], long.len()));
        assert_eq!(live.counts()[0].truncated, 1);
    });
}

/// A frame of the flow of that number.
fn flow_frame(flow: u16) -> Vec<u8> {
    udp(SocketAddr::new([10, 0, (flow >> 8) as u8, flow as u8].into(), 40_000 + flow), SERVER, &[7; 60])
}

#[test]
fn each_queue_has_one_worker() {
    let Some(namespace) = tapped(true) else { return };
    namespace.run("ip link del tap0");
    namespace.run("ip link add out0 numtxqueues 4 type veth peer name tap0 numrxqueues 4");
    namespace.run("ip link set out0 up; ip link set tap0 up");
    take_tags_in_place(&namespace, "tap0");
    if !namespace.can_run("ethtool -L tap0 rx 4 && ethtool -L out0 tx 4") {
        return skipped("this kernel's pairs have one queue");
    }
    namespace.inside(|| {
        for workers in [1, 3, 6] {
            let mut lives = live::open(&xdp_options(&["tap0"]), workers).unwrap();
            let told = messages(&mut lives[0]);
            assert!(told[0].contains("4 queues"), "{told:?}");
            assert_eq!(told[0].contains("so 2 of 6 workers get nothing from it"), workers == 6, "{told:?}");
            let frames: Vec<Vec<u8>> = (0..800).map(flow_frame).collect();
            send("out0", &frames);
            let mut seen: Vec<Vec<u8>> = Vec::new();
            let mut busy = 0;
            for live in &mut lives {
                let of_worker = data(&see(live, 0));
                busy += usize::from(!of_worker.is_empty());
                seen.extend(of_worker);
            }
            assert!(busy >= workers.min(3), "only {busy} of {workers} workers have frames");
            seen.sort_unstable();
            let mut expected = frames;
            expected.sort_unstable();
            assert!(seen == expected, "{workers} workers: {} frames", seen.len());
        }
    });
}

#[test]
fn legs_of_a_tap_are_merged_by_time() {
    let Some(namespace) = tapped(true) else { return };
    namespace.pair("out1", "tap1");
    take_tags_in_place(&namespace, "tap1");
    namespace.inside(|| {
        let mut live = open_one(&xdp_options(&["tap0", "tap1"]));
        let (one, other) = (Sender::new("out0"), Sender::new("out1"));
        let frames = numbered_frames(400);
        for pair in frames.chunks(2) {
            one.send([&pair[0][..]]);
            other.send([&pair[1][..]]);
            thread::sleep(Duration::from_micros(50));
        }
        let seen = see(&mut live, frames.len());
        assert_eq!(data(&seen), frames);
        assert!(seen.iter().enumerate().all(|(number, frame)| usize::from(frame.interface) == number % 2));
        assert!(seen.is_sorted_by_key(|frame| frame.timestamp_ns));
    });
}

#[test]
fn an_interface_goes_down_comes_back_and_is_made_anew() {
    let Some(namespace) = &tapped(true) else { return };
    namespace.pair("out1", "tap1");
    take_tags_in_place(namespace, "tap1");
    let frames = numbered_frames(300);
    let (orders, ordered) = mpsc::channel::<&str>();
    let (sending, done) = mpsc::channel();
    thread::scope(|scope| {
        // Its thread keeps its privileges.
        scope.spawn(|| {
            namespace.inside(move || {
                for interface in ordered {
                    send(interface, &numbered_frames(300));
                    sending.send(()).unwrap();
                }
            });
        });
        let sent = move |interface| {
            orders.send(interface).unwrap();
            done.recv_timeout(PATIENCE).unwrap();
        };
        namespace.inside(|| down_up_and_anew(namespace, &frames, sent));
    });
}

fn down_up_and_anew(namespace: &Namespace, frames: &[Vec<u8>], sent: impl Fn(&'static str)) {
    let mut live = open_one(&xdp_options(&["tap0", "tap1"]));
    give_up_privileges();
    for _ in 0..3 {
        sent("out0");
        assert_eq!(data(&see(&mut live, frames.len())), frames);
        namespace.run("ip link set tap0 down");
        until(&mut live, 0, State::Down);
        namespace.run("ip link set tap0 up");
        until(&mut live, 0, State::Up);
    }
    messages(&mut live);
    namespace.run("ip link del tap0");
    until(&mut live, 0, State::Missing);
    // A socket without interface must not keep the reader awake.
    let (began, before) = (Instant::now(), thread_times());
    while began.elapsed() < Duration::from_secs(1) {
        live.next_batch(&mut |_| {}).unwrap();
    }
    let used = thread_times();
    let busy = used.0 + used.1 - before.0 - before.1;
    assert!(busy < Duration::from_millis(500), "{busy:?} of a second");
    namespace.pair("out0", "tap0");
    until(&mut live, 0, State::Refused);
    let told = messages(&mut live);
    assert!(told.iter().any(|line| line.contains("restart the sensor when it is there again")), "{told:?}");
    assert!(told.iter().any(|line| line.contains("it was made anew")), "{told:?}");
    sent("out1");
    assert_eq!(data(&see(&mut live, frames.len())), frames);
    assert_eq!(live.counts()[1].state, State::Up);
}

/// What stands against AF_XDP with a program for this purpose.
fn against(options: &LiveOptions, workers: usize, purpose: Purpose) -> String {
    let program = ProgramOptions { interfaces: options.interfaces.clone(), flows_max: None, purpose };
    xdp::obstacle(options, workers, &program).unwrap_or_default()
}

/// A driver without XDP: the kernel runs the program itself.
#[test]
fn an_interface_without_native_xdp_is_captured_too() {
    let Some(namespace) = tapped(true) else { return };
    if !namespace.can_run("ip link add link tap0 name low0 type macvlan mode passthru && ip link set low0 up") {
        return skipped("this kernel has no interfaces of kind macvlan");
    }
    namespace.can_run("ethtool -K low0 rxvlan off gro off");
    namespace.inside(|| {
        let auto = LiveOptions { backend: Backend::Auto, ..options(&["low0"]) };
        assert_eq!(against(&auto, 1, Purpose::Sockets), "the driver of low0 has no XDP");
        let mut live = open_one(&xdp_options(&["low0"]));
        let told = messages(&mut live);
        println!("{told:?}");
        assert!(told[0].contains("in the kernel's generic mode"), "{told:?}");
        let frames = numbered_frames(500);
        send("out0", &frames);
        let seen = see(&mut live, frames.len());
        live.refresh();
        assert_eq!(data(&seen), frames, "{:?}", live.counts());
        assert!(seen.is_sorted_by_key(|frame| frame.timestamp_ns));
    });
}

/// What `auto` comes to, and why. The interface is as before.
#[test]
fn what_stands_against_it_is_told_where_nobody_asked_for_it() {
    let Some(namespace) = tapped(true) else { return };
    namespace.inside(|| {
        let auto = LiveOptions { backend: Backend::Auto, ..options(&["tap0"]) };
        assert!(against(&auto, 1, Purpose::Filter { snap_bytes: 1 }).contains("capture.shunt = \"pass\""));
        let against = |options: &LiveOptions, workers| against(options, workers, Purpose::Sockets);
        assert_eq!(against(&auto, 1), "");
        assert!(against(&auto, 2).starts_with("several workers want a card"));
        assert!(against(&LiveOptions { bpf: Some("tcp".to_owned()), ..auto.clone() }, 1).contains("capture.bpf"));
        assert!(against(&LiveOptions { timestamps: Timestamps::Hardware, ..auto.clone() }, 1).contains("the card"));
        assert!(against(&LiveOptions { interfaces: vec!["none0".to_owned()], ..auto.clone() }, 1).contains("none0"));
        let mut live = open_one(&xdp_options(&["tap0"]));
        assert!(messages(&mut live)[0].contains("AF_XDP, in the driver"));
        drop(live);
        namespace.run("ip address add 192.0.2.1/24 dev tap0");
        let said = against(&auto, 1);
        assert!(said.contains("tap0") && said.contains("address"), "{said}");
        let live = open_one(&auto);
        assert_eq!(live.counts()[0].state, State::Up, "rings capture it");
        namespace.run("ip tuntap add dev tun0 mode tun");
        assert!(against(&LiveOptions { interfaces: vec!["tun0".to_owned()], ..auto.clone() }, 1).contains("tun0"));
    });
}

#[test]
fn what_cannot_be_captured_is_refused_with_the_reason() {
    let Some(namespace) = tapped(true) else { return };
    namespace.inside(|| {
        let refused = |options: &LiveOptions| live::open(options, 1).unwrap_err().to_string();
        let tap = xdp_options(&["tap0"]);
        assert!(refused(&xdp_options(&["none0"])).contains("there is no such interface"));
        let filtered = LiveOptions { bpf: Some("tcp".to_owned()), ..tap.clone() };
        assert!(refused(&filtered).contains("AF_XDP has no filters"));
        namespace.run("ip addr add 10.9.9.9/24 dev tap0");
        let said = refused(&tap);
        assert!(said.contains("10.9.9.9/24 would get no packets") && said.contains("\"ring\""), "{said}");
        namespace.run("ip addr del 10.9.9.9/24 dev tap0");
        let live = open_one(&tap);
        let said = refused(&tap);
        assert!(said.contains("another XDP program is attached"), "{said}");
        drop(live);
        // At once: the kernel may still have the old socket.
        for _ in 0..5 {
            let mut live = open_one(&tap);
            send("out0", &numbered_frames(20));
            assert_eq!(see(&mut live, 20).len(), 20);
        }
        namespace.run("ip link set tap0 down");
        match live::open(&tap, 1) {
            Ok(mut lives) => {
                assert_eq!(lives[0].counts()[0].state, State::Down);
                namespace.run("ip link set tap0 up");
                until(&mut lives[0], 0, State::Up);
                send("out0", &numbered_frames(20));
                assert_eq!(see(&mut lives[0], 20).len(), 20);
            }
            Err(error) => assert!(error.to_string().contains("it is down"), "{error}"),
        }
        give_up_privileges();
        let said = refused(&tap);
        assert!(said.contains("no permission") && said.contains("CAP_"), "{said}");
    });
}

/// What a frame of 800 bytes takes from the driver to the reader, by packet sockets and by AF_XDP, in turn: `cargo test --release
/// -p vigie-tests --test live_xdp -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn time_of_a_frame() {
    const ROUNDS: usize = 14;
    let Some(namespace) = tapped(true) else { return };
    // Without XDP the pair takes frames of a driver only so.
    namespace.run("ethtool -K tap0 gro on");
    let backends = [Backend::Ring, Backend::Xdp];
    let mut figures = [Vec::new(), Vec::new()];
    for round in 0..ROUNDS {
        let Some(figure) = namespace.inside(|| round_of(&namespace, backends[round % 2])) else { return };
        figures[round % 2].push(figure);
    }
    let median = |which: usize, part: usize| {
        let mut all: Vec<f64> = figures[which].iter().map(|figure: &[f64; 3]| figure[part]).collect();
        all.sort_unstable_by(f64::total_cmp);
        all[all.len() / 2]
    };
    for (part, name) in ["wall", "driver", "reader"].into_iter().enumerate() {
        let [ring, xdp] = [median(0, part), median(1, part)];
        println!("{name}: ring {ring:.0} ns, xdp {xdp:.0} ns a frame; xdp / ring {:.2}", xdp / ring);
    }
}

/// Nanoseconds of a frame: wall, driver and kernel, reader.
fn round_of(namespace: &Namespace, backend: Backend) -> Option<[f64; 3]> {
    const FRAMES: u64 = 400_000;
    const TAPE_FRAMES: usize = 20_000;
    let frames: Vec<_> = (0..TAPE_FRAMES).map(|number| numbered(number, 758)).collect();
    let (places, bytes) = lay(frames.iter().map(Vec::len));
    let mut driver = LiveFrames::through("out0", bytes)?;
    places.iter().zip(&frames).for_each(|(place, frame)| put(driver.tape(), place, frame));
    let options = LiveOptions { backend, ring_bytes_per_worker: 64 << 20, ..options(&["tap0"]) };
    let mut live = open_one(&options);
    let began = Instant::now();
    thread::scope(|scope| {
        let sending = scope.spawn(|| {
            pin_thread(0);
            let before = thread_times();
            (0..FRAMES / TAPE_FRAMES as u64).for_each(|_| driver.send(TAPE_FRAMES));
            used_since(before)
        });
        pin_thread(1);
        let (before, mut sum, mut seen) = (thread_times(), 0, began);
        while seen.elapsed() < Duration::from_millis(300) {
            live.next_batch(&mut |batch| {
                // The headers are touched, as by decoding.
                sum += batch.iter().map(|frame| u64::from(frame.data[30])).sum::<u64>();
                seen = Instant::now();
            })
            .unwrap();
        }
        let read = used_since(before);
        let sent = sending.join().unwrap();
        live.refresh();
        let counts = &live.counts()[0];
        let each = |time: Duration| time.as_nanos() as f64 / counts.frames as f64;
        let [wall, sent, read] = [seen - began, sent, read].map(each);
        let lost = FRAMES - counts.frames - counts.dropped;
        println!(
            "{backend}: {wall:.0} ns a frame; driver {sent:.0}, reader {read:.0}; {} of {FRAMES} seen, {} dropped, {lost} \
             lost in the pair; sum {sum}; in {}",
            counts.frames,
            counts.dropped,
            namespace.name()
        );
        Some([wall, sent, read])
    })
}

fn used_since((user, system): (Duration, Duration)) -> Duration {
    let now = thread_times();
    now.0 + now.1 - user - system
}
