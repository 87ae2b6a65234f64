//! Live capture in network namespaces: what was sent is what is seen, byte for byte and to the last frame; tags, drops,
//! workers, and interfaces that go and come. Frames are few enough for a busy machine.

use std::io::Write;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use vigie_capture::live::{self, Backend, Live, LiveOptions, State, Timestamps};
use vigie_capture::{CaptureError, Source};
use vigie_decode::{DecodeLimits, Decoded, decode};
use vigie_tests::live::{PATIENCE, data, numbered, numbered_frames, open_one, options, see, slices, until};
use vigie_tests::network::{Namespace, Sender, give_up_privileges, thread_times, tunnel};
use vigie_tests::packets::{CLIENT, SERVER, tagged, udp, udp_in_fragments};
use vigie_wire::{Frame, LinkType};

#[test]
fn what_is_sent_is_seen_in_order_and_byte_for_byte() {
    let Some(namespace) = Namespace::new() else { return };
    namespace.pair("out0", "tap0");
    for backend in [Backend::Ring, Backend::Pcap] {
        namespace.inside(|| {
            let mut live = open_one(&LiveOptions { backend, ..options(&["tap0"]) });
            let frames = numbered_frames(6000);
            Sender::new("out0").send(slices(&frames));
            let seen = see(&mut live, frames.len());
            assert_eq!(seen.len(), frames.len(), "{backend}: {:?}", live.counts());
            assert!(data(&seen) == frames, "{backend}: other bytes or another order");
            assert!(seen.is_sorted_by_key(|frame| frame.timestamp_ns));
            assert!(seen.iter().all(|frame| frame.wire_length as usize == frame.data.len()));
            assert!(seen.iter().all(|frame| frame.link_type == LinkType::ETHERNET && frame.interface == 0));
            let now_ns = std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64;
            assert!(
                seen.iter().all(|frame| now_ns - frame.timestamp_ns < 60_000_000_000),
                "nanoseconds since the epoch"
            );
            live.refresh();
            let bytes: usize = frames.iter().map(Vec::len).sum();
            let counts = &live.counts()[0];
            assert_eq!((counts.frames, counts.bytes, counts.dropped), (6000, bytes as u64, 0), "{backend}");
            assert_eq!((live.statistics().frames, live.statistics().bytes), (6000, bytes as u64));
            assert_eq!((counts.truncated, counts.damaged, counts.state), (0, 0, State::Up));
            assert_eq!((live.interface_name(0), live.interface_name(1)), (Some("tap0"), None));
        });
    }
}

#[test]
fn tags_are_where_they_were_on_the_wire() {
    let Some(namespace) = Namespace::new() else { return };
    namespace.pair("out0", "tap0");
    let vlan = namespace.can_run("ip link add link out0 name out0.7 type vlan id 7 && ip link set out0.7 up");
    for backend in [Backend::Ring, Backend::Pcap] {
        namespace.inside(|| {
            let plain = numbered(1, 100);
            let frames = vec![
                plain.clone(),
                tagged(&plain, &[(0x8100, 0x6064)]),
                tagged(&plain, &[(0x88a8, 200)]),
                tagged(&plain, &[(0x88a8, 200), (0x8100, 100)]),
                tagged(&plain, &[(0x8100, 1), (0x8100, 2), (0x8100, 3)]),
            ];
            // What comes in, and what goes out: the kernel keeps the tag elsewhere.
            let mut incoming = open_one(&LiveOptions { backend, ..options(&["tap0"]) });
            let mut outgoing = open_one(&LiveOptions { backend, ..options(&["out0"]) });
            Sender::new("out0").send(slices(&frames));
            let mut expected = frames;
            if vlan {
                Sender::new("out0.7").send([&plain[..]]);
                expected.push(tagged(&plain, &[(0x8100, 7)]));
            } else {
                eprintln!("not tested: this kernel has no VLAN interfaces");
            }
            for live in [&mut incoming, &mut outgoing] {
                let seen = see(live, expected.len());
                assert_eq!(data(&seen), expected, "{backend}");
                assert!(seen.iter().all(|frame| frame.wire_length as usize == frame.data.len()), "{backend}");
            }
        });
    }
}

#[test]
fn sent_is_seen_and_dropped_to_the_last_frame() {
    let Some(namespace) = Namespace::new() else { return };
    namespace.pair("out0", "tap0");
    for (workers, block_bytes, ring_bytes) in [(1, 4096, 8192), (1, 65_536, 1 << 18), (3, 8192, 40_960)] {
        namespace.inside(|| {
            let small = LiveOptions { block_bytes, ring_bytes_per_worker: ring_bytes, ..options(&["tap0"]) };
            let mut lives = live::open(&small, workers).unwrap();
            let lost_before = namespace.count("out0", "tx_dropped");
            let sender = Sender::new("out0");
            let mut sent = 0;
            for round in 0..4 {
                let frames: Vec<_> =
                    (0..5000).map(|number| flow_frame(number as u16 % 200, false, round * 5000 + number)).collect();
                // All sleep while it is sent; then some is read, so that blocks go back and forth.
                sender.send(slices(&frames));
                sent += frames.len() as u64;
                lives.iter_mut().for_each(|live| {
                    see(live, 0);
                });
            }
            // On a busy machine the pair itself may drop, before anybody sees the frame.
            let lost = namespace.count("out0", "tx_dropped") - lost_before;
            let (mut seen, mut dropped, mut freezes) = (0, 0, 0);
            for live in &mut lives {
                live.refresh();
                seen += live.counts()[0].frames;
                dropped += live.counts()[0].dropped;
                freezes += live.counts()[0].freezes;
            }
            assert_eq!(seen + dropped + lost, sent, "{workers} workers: {seen} + {dropped} + {lost}");
            assert!(dropped > 1000 && seen > 50 && freezes > 0, "{seen} {dropped} {freezes}");
        });
    }
}

#[test]
fn libpcap_counts_its_drops_too() {
    let Some(namespace) = Namespace::new() else { return };
    namespace.pair("out0", "tap0");
    namespace.inside(|| {
        let small = LiveOptions {
            backend: Backend::Pcap,
            block_bytes: 65_536,
            ring_bytes_per_worker: 1 << 18,
            snap_bytes: 2000,
            ..options(&["tap0"])
        };
        let mut live = open_one(&small);
        let frames = numbered_frames(20_000);
        Sender::new("out0").send(slices(&frames));
        let seen = see(&mut live, 0).len() as u64;
        live.refresh();
        let (counts, lost) = (&live.counts()[0], namespace.count("out0", "tx_dropped"));
        assert_eq!(counts.frames, seen);
        assert_eq!(seen + counts.dropped + lost, 20_000);
        assert!(counts.dropped > 0);
    });
}

/// A frame of the flow of that number, from the client or from the server, with a number of its own.
fn flow_frame(flow: u16, from_server: bool, number: usize) -> Vec<u8> {
    let client = SocketAddr::new([10, 0, (flow >> 8) as u8, flow as u8].into(), 40_000 + flow);
    let payload = [&flow.to_be_bytes()[..], &(number as u32).to_be_bytes(), &[0; 40]].concat();
    if from_server { udp(SERVER, client, &payload) } else { udp(client, SERVER, &payload) }
}

/// The flow of a frame, told by its payload.
fn flow_of(data: &[u8]) -> u16 {
    u16::from_be_bytes([data[42], data[43]])
}

/// Sends both directions of many flows, each on its leg, and looks at which workers they come out.
fn both_directions_come_to_one_worker(lives: &mut [Live]) {
    const FLOWS: u16 = 300;
    let requests: Vec<_> = (0..FLOWS).map(|flow| flow_frame(flow, false, 0)).collect();
    let answers: Vec<_> = (0..FLOWS).map(|flow| flow_frame(flow, true, 1)).collect();
    Sender::new("out0").send(slices(&requests));
    Sender::new("out1").send(slices(&answers));
    let mut worker_of = vec![Vec::new(); usize::from(FLOWS)];
    for (worker, live) in lives.iter_mut().enumerate() {
        let seen = see(live, 1);
        assert!(seen.len() > 50, "worker {worker} saw only {}", seen.len());
        for frame in seen {
            worker_of[usize::from(flow_of(&frame.data))].push((frame.interface, worker));
        }
    }
    for (flow, places) in worker_of.iter_mut().enumerate() {
        places.sort_unstable();
        assert!(
            matches!(places[..], [(0, one), (1, other)] if one == other),
            "flow {flow}: seen at (interface, worker) {places:?}"
        );
    }
}

#[test]
fn both_legs_of_a_flow_come_to_one_worker_whatever_the_interfaces_do() {
    let Some(namespace) = Namespace::new() else { return };
    namespace.pair("out0", "tap0");
    namespace.pair("out1", "tap1");
    namespace.inside(|| {
        let mut lives = live::open(&options(&["tap0", "tap1"]), 3).unwrap();
        both_directions_come_to_one_worker(&mut lives);
        // Down and up again: the kernel takes the workers' sockets in again by itself.
        namespace.run("ip link set tap1 down; ip link set tap1 up; ip link set tap0 down; ip link set tap0 up");
        lives.iter_mut().for_each(|live| until(live, 0, State::Up));
        lives.iter_mut().for_each(|live| until(live, 1, State::Up));
        both_directions_come_to_one_worker(&mut lives);
        // Made anew: the rings are opened again, whoever notices first.
        namespace.run("ip link del tap1");
        lives.reverse();
        lives.iter_mut().for_each(|live| until(live, 1, State::Missing));
        namespace.pair("out1", "tap1");
        lives.iter_mut().for_each(|live| until(live, 1, State::Up));
        lives.reverse();
        both_directions_come_to_one_worker(&mut lives);
        let reopened: Vec<_> = lives.iter().map(|live| live.counts()[1].reopened).collect();
        assert_eq!(reopened, [1, 1, 1]);
        assert_eq!(lives[0].counts()[0].reopened, 0);
    });
}

/// What this machine sends may have its VLAN tag in the frame, where a received one has it beside it.
#[test]
fn what_this_machine_sends_comes_to_the_worker_of_what_it_gets() {
    const FLOWS: u16 = 120;
    let Some(namespace) = Namespace::new() else { return };
    namespace.pair("out0", "tap0");
    namespace.inside(|| {
        for tags in [&[][..], &[(0x8100, 7)], &[(0x88a8, 7)]] {
            let mut lives = live::open(&options(&["tap0"]), 4).unwrap();
            let of_all = |from_server| -> Vec<Vec<u8>> {
                (0..FLOWS).map(|flow| tagged(&flow_frame(flow, from_server, 0), tags)).collect()
            };
            Sender::new("out0").send(slices(&of_all(false)));
            Sender::new("tap0").send(slices(&of_all(true)));
            let mut workers_of = vec![Vec::new(); usize::from(FLOWS)];
            for (worker, live) in lives.iter_mut().enumerate() {
                for frame in see(live, 1) {
                    workers_of[usize::from(flow_of(&frame.data[tags.len() * 4..]))].push(worker);
                }
            }
            for (flow, workers) in workers_of.iter().enumerate() {
                assert!(matches!(workers[..], [one, other] if one == other), "{tags:x?}, flow {flow}: {workers:?}");
            }
        }
    });
}

#[test]
fn a_flow_and_its_fragments_come_to_one_worker() {
    let Some(namespace) = Namespace::new() else { return };
    namespace.pair("out0", "tap0");
    namespace.inside(|| {
        let mut lives = live::open(&options(&["tap0"]), 3).unwrap();
        let mut frames = Vec::new();
        for client in 0..120_u16 {
            let is_v6 = client % 2 == 1;
            let address: IpAddr = if is_v6 {
                Ipv6Addr::new(0x2001, 0xdb8, 7, 0, 0, 0, 0, client).into()
            } else {
                [10, 0, 0, client as u8].into()
            };
            let client = SocketAddr::new(address, 40_000 + client);
            let server = SocketAddr::new(if is_v6 { server6() } else { SERVER.ip() }, 443);
            let mut flow = vec![udp(client, server, &[0; 600]), udp(server, client, &[0; 60])];
            flow.extend(udp_in_fragments(client, server, &[1; 600], 7, 400));
            // The kernel takes the outer tag out, the inner one stays in front of the packet.
            let tags = [(0x88a8, 5), (0x8100, 9)];
            flow.extend(flow.clone().iter().map(|frame| tagged(frame, &tags[..1])));
            flow.extend(flow.clone()[..4].iter().map(|frame| tagged(frame, &tags)));
            frames.extend(flow);
        }
        Sender::new("out0").send(slices(&frames));
        let mut workers_of = std::collections::HashMap::<u16, Vec<usize>>::new();
        for (worker, live) in lives.iter_mut().enumerate() {
            let seen = see(live, 1);
            assert!(seen.len() > 150, "worker {worker} saw only {}", seen.len());
            for frame in seen {
                workers_of.entry(client_of(&frame.data)).or_default().push(worker);
            }
        }
        assert_eq!(workers_of.len(), 120);
        for (client, workers) in workers_of {
            assert!(workers.len() == 12 && workers.iter().all(|&worker| worker == workers[0]), "{client}: {workers:?}");
        }
    });
}

fn server6() -> IpAddr {
    "2001:db8::1".parse().unwrap()
}

/// The number of the client in a frame, by its address.
fn client_of(data: &[u8]) -> u16 {
    let tags = data[12..].chunks(4).take_while(|tag| matches!(tag[..2], [0x81, 0] | [0x88, 0xa8])).count();
    let packet = &data[14 + tags * 4..];
    let (source, destination) =
        if packet[0] >> 4 == 6 { (&packet[8..24], &packet[24..40]) } else { (&packet[12..16], &packet[16..20]) };
    let client = if source[0] == 10 || source.starts_with(&[0x20, 1, 0x0d, 0xb8, 0, 7]) { source } else { destination };
    client.last().copied().unwrap().into()
}

#[test]
fn packets_of_tunnel_interfaces_are_raw_ip() {
    let Some(namespace) = Namespace::new() else { return };
    namespace.pair("out0", "tap0");
    namespace.run("ip addr add 10.9.9.9/24 dev tap0");
    for kind in ["ipip", "gre", "sit"] {
        let line = format!("ip link add tun0 type {kind} local 10.9.9.9 remote 10.9.9.8 && ip link set tun0 up");
        if !namespace.can_run(&line) {
            vigie_skip::skipped(format!("this kernel has no interfaces of kind {kind}"));
            continue;
        }
        namespace.run("ip addr add 10.8.8.1/24 dev tun0");
        namespace.inside(|| {
            let mut live = open_one(&LiveOptions { bpf: Some("udp".to_owned()), ..options(&["tun0"]) });
            let socket = UdpSocket::bind("10.8.8.1:5000").unwrap();
            socket.send_to(b"hello", "10.8.8.2:443").unwrap();
            let seen = see(&mut live, 1);
            assert_eq!((seen.len(), seen[0].link_type), (1, LinkType::RAW), "{kind}");
            let frame = Frame {
                timestamp_ns: 0,
                number: 1,
                wire_length: seen[0].wire_length,
                link_type: LinkType::RAW,
                interface: 0,
                data: &seen[0].data,
            };
            let Ok(Decoded::Packet(packet)) = decode(&frame, &DecodeLimits::default()) else {
                panic!("{kind}: {frame:?}")
            };
            assert_eq!((packet.source_port, packet.destination_port), (5000, 443), "{kind}");
        });
        namespace.run("ip link del tun0");
    }
}

#[test]
fn an_interface_goes_down_and_comes_back() {
    let Some(namespace) = Namespace::new() else { return };
    namespace.pair("out0", "tap0");
    for backend in [Backend::Ring, Backend::Pcap] {
        namespace.inside(|| {
            let mut live = open_one(&LiveOptions { backend, ..options(&["tap0"]) });
            let frames = numbered_frames(500);
            let mut told = Vec::new();
            for round in 1..=3 {
                Sender::new("out0").send(slices(&frames));
                assert_eq!(data(&see(&mut live, frames.len())), frames, "{backend}, round {round}");
                namespace.run("ip link set tap0 down");
                until(&mut live, 0, State::Down);
                namespace.run("ip link set tap0 up");
                until(&mut live, 0, State::Up);
                // The other end may be told of its carrier later, and sends nothing until then.
                namespace.run("timeout 20 sh -c 'until ip link show out0 | grep -q \"state UP\"; do sleep 0.02; done'");
                told.extend(std::iter::from_fn(|| live.next_change()).map(|change| change.state));
            }
            assert_eq!(live.counts()[0].frames, 1500);
            // Between down and up, and between two times up, the kernel may tell a missing carrier.
            told.retain(|state| *state != State::NoCarrier);
            told.dedup();
            assert_eq!(told, [State::Up, State::Down, State::Up, State::Down, State::Up, State::Down, State::Up]);
            namespace.run("ip link set out0 down");
            until(&mut live, 0, State::NoCarrier);
            namespace.run("ip link set out0 up");
            until(&mut live, 0, State::Up);
        });
    }
}

/// Runs `work` in the namespace with sources opened by the thread, which then gives up its privileges.
fn without_privileges(namespace: &Namespace, options: &LiveOptions, work: impl FnOnce(&mut Live) + Send) {
    namespace.inside(|| {
        let mut live = open_one(options);
        give_up_privileges();
        assert!(live::open(options, 1).is_err(), "privileges are still there");
        work(&mut live);
    });
}

/// Sends frames from another thread of the namespace, which has privileges.
fn send(namespace: &Namespace, interface: &str, frames: &[Vec<u8>]) {
    thread::scope(|scope| scope.spawn(|| namespace.inside(|| Sender::new(interface).send(slices(frames)))).join())
        .unwrap();
}

/// Something to be done in a namespace.
type Errand = Box<dyn FnOnce(&Namespace) + Send>;

/// Does what needs privileges for a thread that has given them up.
struct Helper {
    asked: mpsc::Sender<Errand>,
    done: mpsc::Receiver<()>,
}

impl Helper {
    fn run(&self, work: impl FnOnce(&Namespace) + Send + 'static) {
        self.asked.send(Box::new(work)).unwrap();
        self.done.recv().unwrap();
    }
}

/// Sets a flag when it goes out of scope, so that a thread that waits for the flag ends with a test that fails too.
struct Ends<'f>(&'f AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Gives `work` a helper, which lives in a thread of its own.
fn with_helper(namespace: &Namespace, work: impl FnOnce(Helper)) {
    thread::scope(|scope| {
        let (asked, asking) = mpsc::channel::<Errand>();
        let (answering, done) = mpsc::channel();
        scope.spawn(move || {
            for work in asking {
                work(namespace);
                answering.send(()).unwrap();
            }
        });
        work(Helper { asked, done });
    });
}

#[test]
fn an_interface_is_deleted_and_made_anew_after_privileges_were_given_up() {
    let Some(namespace) = Namespace::new() else { return };
    namespace.pair("out0", "tap0");
    with_helper(&namespace, |helper| {
        without_privileges(&namespace, &options(&["tap0"]), move |live| {
            let mut seen = 0;
            // One worker alone gets its socket back: this goes on as often as one likes, more often than there are spares.
            for round in 0..12 {
                helper.run(move |namespace| send(namespace, "out0", &numbered_frames(100 + round)));
                // Deleted while frames are still in the ring, in a block that is not full.
                helper.run(|namespace| drop(namespace.run("ip link del tap0")));
                seen += see(live, 100 + round).len();
                until(live, 0, State::Missing);
                helper.run(|namespace| namespace.pair("out0", "tap0"));
                until(live, 0, State::Up);
                assert_eq!(live.counts()[0].reopened, round as u64 + 1);
            }
            assert_eq!(seen, (100..112).sum::<usize>());
            assert_eq!((live.counts()[0].frames, live.counts()[0].dropped), (seen as u64, 0));
        });
    });
}

#[test]
fn two_workers_have_as_many_lives_as_spares_and_say_so() {
    let Some(namespace) = Namespace::new() else { return };
    namespace.pair("out0", "tap0");
    with_helper(&namespace, |helper| {
        namespace.inside(move || {
            let mut lives = live::open(&LiveOptions { spare_sockets: 2, ..options(&["tap0"]) }, 2).unwrap();
            give_up_privileges();
            for round in 0..3 {
                helper.run(|namespace| drop(namespace.run("ip link del tap0")));
                lives.iter_mut().for_each(|live| until(live, 0, State::Missing));
                helper.run(|namespace| namespace.pair("out0", "tap0"));
                let expected = if round < 2 { State::Up } else { State::Refused };
                lives.iter_mut().for_each(|live| until(live, 0, expected));
                if round < 2 {
                    helper.run(|namespace| {
                        let frames: Vec<_> = (0..100).map(|flow| flow_frame(flow, false, 0)).collect();
                        send(namespace, "out0", &frames);
                    });
                    let seen: Vec<_> = lives.iter_mut().map(|live| see(live, 1).len()).collect();
                    assert_eq!(seen.iter().sum::<usize>(), 100, "{seen:?}");
                    assert!(seen.iter().all(|&count| count > 10), "{seen:?}");
                    assert_eq!(lives[0].counts()[0].spares, 1 - round);
                }
            }
            let told = std::iter::from_fn(|| lives[1].next_change()).last().unwrap().message;
            assert!(told.contains("tap0") && told.contains("permission") && told.contains("restart"), "{told}");
        });
    });
}

#[test]
fn an_interface_that_is_missing_at_the_start_is_waited_for_if_wanted() {
    let Some(namespace) = Namespace::new() else { return };
    // The loopback stands in where the filter is compiled for an interface that is not there.
    namespace.run("ip link add down0 type veth peer name down1; ip link set lo up");
    for (name, word) in [("tap0", "no such interface"), ("down0", "ip link set down0 up")] {
        namespace.inside(|| {
            let error = live::open(&LiveOptions { wait_for_interfaces: false, ..options(&[name]) }, 1).unwrap_err();
            assert!(error.to_string().contains(name) && error.to_string().contains(word), "{error}");
        });
    }
    with_helper(&namespace, |helper| {
        let filtered = LiveOptions { bpf: Some("udp and vlan 5".to_owned()), ..options(&["tap0", "down0"]) };
        without_privileges(&namespace, &filtered, move |live| {
            assert_eq!(live.counts()[0].state, State::Missing);
            assert_eq!(live.counts()[1].state, State::Down);
            assert!(see(live, 0).is_empty());
            helper.run(|namespace| namespace.pair("out0", "tap0"));
            until(live, 0, State::Up);
            let frame = numbered(7, 60);
            let tagged = tagged(&frame, &[(0x8100, 5)]);
            let sent = vec![tagged.clone(), frame];
            helper.run(move |namespace| send(namespace, "out0", &sent));
            assert_eq!(data(&see(live, 1)), [tagged]);
            let told: Vec<_> = std::iter::from_fn(|| live.next_change()).map(|change| change.message).collect();
            assert!(told[0].contains("tap0: it does not exist") && told[1].contains("down0: it is down"));
        });
    });
}

#[test]
fn two_legs_are_joined_by_time() {
    let Some(namespace) = Namespace::new() else { return };
    namespace.pair("out0", "tap0");
    namespace.pair("out1", "tap1");
    namespace.inside(|| {
        let mut live = open_one(&options(&["tap0", "tap1"]));
        let (requests, answers) = (Sender::new("out0"), Sender::new("out1"));
        let sending = thread::spawn(move || {
            for number in 0..3000 {
                let sender = if number % 2 == 0 { &requests } else { &answers };
                sender.send([&numbered(number, 60)[..]]);
                // Now and then a rest that is longer than a block stays open.
                if number % 500 == 0 {
                    thread::sleep(Duration::from_millis(45));
                }
            }
            // One leg alone: its frames must not wait for ever.
            (3000..3100).for_each(|number| requests.send([&numbered(number, 60)[..]]));
        });
        let seen = see(&mut live, 3100);
        sending.join().unwrap();
        assert_eq!(seen.len(), 3100);
        let numbers: Vec<u32> =
            seen.iter().map(|frame| u32::from_be_bytes(frame.data[42..46].try_into().unwrap())).collect();
        assert!(
            numbers.is_sorted(),
            "{} of them stand wrong",
            numbers.windows(2).filter(|two| two[0] > two[1]).count()
        );
        assert!(
            seen.iter()
                .zip(&numbers)
                .all(|(frame, number)| *number >= 3000 || u32::from(frame.interface) == number % 2)
        );
        assert_eq!((live.counts()[0].frames, live.counts()[1].frames), (1600, 1500));
    });
}

#[test]
fn a_filter_holds_from_the_first_frame_on() {
    let Some(namespace) = Namespace::new() else { return };
    namespace.pair("out0", "tap0");
    namespace.inside(|| {
        let over = AtomicBool::new(false);
        let (wanted, other) = (udp(CLIENT, SocketAddr::new(SERVER.ip(), 53), &[1; 50]), numbered(1, 50));
        let in_vlan = tagged(&wanted, &[(0x8100, 5)]);
        let sender = Sender::new("out0");
        thread::scope(|scope| {
            let noise = scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    sender.send([&other[..]]);
                    thread::sleep(Duration::from_micros(200));
                }
            });
            let ends = Ends(&over);
            for backend in [Backend::Ring, Backend::Pcap] {
                let cases = [("udp port 53", vec![wanted.clone(), in_vlan.clone()]), ("vlan 5", vec![in_vlan.clone()])];
                for (filter, expected) in cases {
                    let filtered = LiveOptions { backend, bpf: Some(filter.to_owned()), ..options(&["tap0"]) };
                    let mut live = open_one(&filtered);
                    Sender::new("out0").send([&wanted[..], &in_vlan[..]]);
                    assert_eq!(data(&see(&mut live, expected.len())), expected, "{backend}: {filter}");
                    live.refresh();
                    assert_eq!((live.counts()[0].frames, live.counts()[0].dropped), (expected.len() as u64, 0));
                }
            }
            drop(ends);
            noise.join().unwrap();
        });
        let wrong = LiveOptions { bpf: Some("udp prot 53".to_owned()), ..options(&["tap0"]) };
        assert!(matches!(live::open(&wrong, 1), Err(CaptureError::Filter { .. })));
    });
}

#[test]
fn snap_length_loopback_raw_links_and_hardware_time() {
    let Some(namespace) = Namespace::new() else { return };
    namespace.pair("out0", "tap0");
    namespace.run("ip link set lo up");
    for workers in [1, 2] {
        namespace.inside(|| {
            let mut lives = live::open(&LiveOptions { snap_bytes: 100, ..options(&["tap0"]) }, workers).unwrap();
            let long = numbered(3, 1000);
            Sender::new("out0").send([&tagged(&long, &[(0x8100, 9)])[..]]);
            let seen: Vec<_> = lives.iter_mut().flat_map(|live| see(live, 0)).collect();
            // The snap length counts without the tag, which is not in the frame when it is cut.
            assert_eq!((seen.len(), seen[0].data.len(), seen[0].wire_length as usize), (1, 104, long.len() + 4));
            assert_eq!(lives.iter().map(|live| live.counts()[0].truncated).sum::<u64>(), 1);

            // On the loopback each frame goes out and comes in: it is one.
            let mut lives = live::open(&options(&["lo"]), workers).unwrap();
            Sender::new("lo").send(slices(&numbered_frames(50)));
            let seen: usize = lives.iter_mut().map(|live| see(live, 0).len()).sum();
            assert_eq!(seen, 50);
        });
    }
    namespace.inside(|| {
        let mut tunnel = tunnel("tun0");
        namespace.run("ip link set tun0 up");
        let mut live = open_one(&LiveOptions { bpf: Some("udp dst port 443".to_owned()), ..options(&["tun0"]) });
        let packet = &numbered(5, 200)[14..];
        tunnel.write_all(packet).unwrap();
        tunnel.write_all(&udp(CLIENT, CLIENT, &[0; 20])[14..]).unwrap();
        let seen = see(&mut live, 1);
        assert_eq!((seen.len(), &seen[0].data[..], seen[0].link_type), (1, packet, LinkType::RAW));
        drop(tunnel);
        until(&mut live, 0, State::Missing);

        let strange = ["nlmon", "vcan"];
        match strange
            .iter()
            .find(|kind| namespace.can_run(&format!("ip link add odd0 type {kind} && ip link set odd0 up")))
        {
            Some(_) => {
                let error = live::open(&options(&["odd0"]), 1).unwrap_err().to_string();
                assert!(error.contains("odd0") && error.contains("not supported"), "{error}");
            }
            None => eprintln!("not tested: this kernel has no interface of an unsupported kind"),
        }
        let hardware = LiveOptions { timestamps: Timestamps::Hardware, ..options(&["tap0"]) };
        let error = live::open(&hardware, 1).unwrap_err().to_string();
        assert!(error.contains("hardware timestamp") && error.contains("kernel"), "{error}");
    });
}

/// What a frame costs in user time, here and with libpcap: `cargo test --test live_capture -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn user_time_of_a_frame() {
    let Some(namespace) = Namespace::new() else { return };
    namespace.pair("out0", "tap0");
    let frames: Vec<_> = (0..1000).map(|number| numbered(number, 500)).collect();
    for (backend, snap_bytes) in
        [(Backend::Ring, 262_144), (Backend::Pcap, 262_144), (Backend::Ring, 256), (Backend::Pcap, 256)]
    {
        namespace.inside(|| {
            let mut live =
                open_one(&LiveOptions { backend, snap_bytes, ring_bytes_per_worker: 64 << 20, ..options(&["tap0"]) });
            let over = AtomicBool::new(false);
            let sender = Sender::new("out0");
            thread::scope(|scope| {
                scope.spawn(|| {
                    (0..200).for_each(|_| sender.send(slices(&frames)));
                    over.store(true, Ordering::Relaxed);
                });
                let (user_before, system_before) = thread_times();
                let (mut sum, mut batches, began) = (0_u64, 0_u64, Instant::now());
                while !over.load(Ordering::Relaxed) || live.counts()[0].frames + live.counts()[0].dropped < 200_000 {
                    live.next_batch(&mut |batch| {
                        batches += 1;
                        // The headers are touched, as by decoding.
                        sum += batch.iter().map(|frame| u64::from(frame.data[30])).sum::<u64>();
                    })
                    .unwrap();
                    if began.elapsed() > PATIENCE {
                        break;
                    }
                }
                live.refresh();
                let (user, system) = thread_times();
                let counts = &live.counts()[0];
                let per_frame = |time: Duration| time.as_nanos() as u64 / counts.frames.max(1);
                eprintln!(
                    "{backend}, {snap_bytes} bytes: user {} ns, system {} ns a frame; {} frames in {} batches, {} dropped ({sum})",
                    per_frame(user - user_before),
                    per_frame(system - system_before),
                    counts.frames,
                    batches,
                    counts.dropped
                );
            });
        });
    }
}
