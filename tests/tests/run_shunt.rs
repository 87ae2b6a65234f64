//! The shunt and AF_XDP with a real kernel, in network namespaces: what is sent went up or was shunted, to the last packet, and
//! each flow has the packets and bytes that it has when the same frames are read, by packet sockets and by AF_XDP, by a sensor that
//! loads the program and by one for which it was loaded. Without the rights for that the tests say so and pass.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use vigie::event::Fact;
use vigie::worker::EventTypes;
use vigie_skip::skipped;
use vigie_tests::daemon::{Daemon, Folder, PATIENCE, Scrape, USER_ID, binary, has, is_sighting, until};
use vigie_tests::hello::Hello;
use vigie_tests::known;
use vigie_tests::live::{take_tags_in_place, talk, tapped};
use vigie_tests::network::{Namespace, Sender};
use vigie_tests::packets::{ACK, RST, SERVER, tagged, udp};
use vigie_tests::quic;
use vigie_tests::replay::everything_named;
use vigie_tests::service::Service;
use vigie_tests::tape::Tape;
use vigie_tests::tcp::Connection;

const BANNED: &str = "www.capcut.com";
const HARMLESS: &str = "www.example.org";
/// Long enough for frames to reach the workers, and for their flows to be inserted.
const SETTLING: Duration = Duration::from_millis(150);

/// How a sensor captures.
#[derive(Clone, Copy)]
struct Way {
    backend: &'static str,
    shunt: &'static str,
    workers: usize,
    /// Flows that the shunt's table has room for.
    flows_max: usize,
    /// Ended flows that may wait for their last counts.
    ending_flows_max: usize,
    /// Whether it may not load the program, which was loaded for it.
    is_service: bool,
    /// Whether the driver of the interface runs the program.
    is_native: bool,
}

const BY_RING: Way = Way {
    backend: "ring",
    shunt: "drop",
    workers: 1,
    flows_max: 4_096,
    ending_flows_max: 65_536,
    is_service: false,
    is_native: true,
};
const BY_XDP: Way = Way { backend: "xdp", ..BY_RING };
const BY_FILTER: Way = Way { shunt: "pass", ..BY_RING };
const SERVICE_BY_FILTER: Way = Way { is_service: true, ..BY_FILTER };
const SERVICE_BY_RING: Way = Way { is_service: true, ..BY_RING };
const SERVICE_BY_XDP: Way = Way { is_service: true, ..BY_XDP };
const SERVICE_BY_AUTO: Way = Way { backend: "auto", ..SERVICE_BY_RING };
/// Makes `tap0` an interface whose driver has no XDP.
const WITHOUT_NATIVE_XDP: &str = "ip link set tap0 down && ip link set tap0 name low0 && ip link set low0 up && \
                                  ip link add link low0 name tap0 type macvlan mode passthru && ip link set tap0 up";

/// A namespace with a pair of interfaces, from `out0` to `tap0`, and a sensor there.
struct Tapped {
    namespace: Namespace,
    folder: Folder,
    daemon: Daemon,
    service: Option<Service>,
    way: Way,
    sent: Vec<Vec<u8>>,
}

impl Tapped {
    fn new(way: Way) -> Option<Self> {
        let namespace = tapped(way.backend != "ring")?;
        if !way.is_native {
            if !namespace.can_run(WITHOUT_NATIVE_XDP) {
                skipped("this kernel has no interfaces of kind macvlan");
                return None;
            }
            take_tags_in_place(&namespace, "tap0");
        }
        let service = if way.is_service { Some(Service::new(&namespace)?) } else { None };
        if let Some(service) = &service {
            service.load(&strs(&way.arguments()));
        }
        let folder = Folder::new();
        let daemon = start(&namespace, service.as_ref(), &folder, way);
        Some(Self { namespace, folder, daemon, service, way, sent: Vec::new() })
    }

    /// Kills the sensor, and starts another one.
    fn restart(self) -> Self {
        self.restart_after(&[])
    }

    /// The same, where such frames come while there is none.
    fn restart_after(self, frames: &[Vec<u8>]) -> Self {
        let Self { namespace, daemon, service, way, .. } = self;
        daemon.kill();
        until("the program is gone", PATIENCE, || (!namespace.run("ip link show tap0").contains("xdp")).then_some(()));
        namespace.inside(|| Sender::new("out0").send_in_bursts(frames));
        let folder = Folder::new();
        let daemon = start(&namespace, service.as_ref(), &folder, way);
        Self { namespace, folder, daemon, service, way, sent: Vec::new() }
    }

    /// Sends frames no faster than they can arrive.
    fn send(&mut self, frames: Vec<Vec<u8>>) {
        self.namespace.inside(|| Sender::new("out0").send_in_bursts(&frames));
        self.sent.extend(frames);
    }

    /// Waits until all that was sent went up or was shunted.
    fn counted(&self) -> Scrape {
        let sent = self.sent.len() as u64;
        assert_eq!(self.namespace.count("out0", "tx_dropped"), 0, "lost on the way");
        let scrape =
            self.daemon.scrape_until(&self.namespace, "all packets", |scrape| up(scrape) + shunted(scrape) >= sent);
        assert_eq!(up(&scrape) + shunted(&scrape), sent, "up {}, shunted {}", up(&scrape), shunted(&scrape));
        let bytes: usize = self.sent.iter().map(Vec::len).sum();
        let counted = scrape.sum("vigie_capture_bytes_total", &[]) + scrape.sum("vigie_shunt_bytes_total", &[]);
        assert_eq!(counted, bytes as u64);
        scrape
    }

    /// Ends the sensor, and compares what it told with a replay of the same frames.
    fn compare(self) {
        let Self { folder, daemon, sent, .. } = self;
        daemon.stop();
        let events = folder.events_of("eve.json");
        let live = flows(&events);
        let mut settings = everything_named();
        settings.event_types = EventTypes { flows: true, ..EventTypes::default() };
        let replay = Tape::of(sent).replay_with(&settings);
        let mut read: BTreeMap<Ends, Vec<Totals>> = BTreeMap::new();
        for event in &replay.events {
            if let Fact::FlowEnd(flow, ..) = &event.fact {
                let ends = (flow.client.ip().to_string(), flow.client_port, flow.server_port, flow.protocol);
                let totals =
                    [flow.packets_to_server, flow.packets_to_client, flow.bytes_to_server, flow.bytes_to_client];
                read.entry(ends).or_default().push(totals);
            }
        }
        read.values_mut().for_each(|totals| totals.sort_unstable());
        for (ends, totals) in &read {
            assert_eq!(live.get(ends), Some(totals), "{ends:?}");
        }
        assert_eq!(live.len(), read.len());
        let sighted = events.iter().filter(|event| is_sighting(event)).count();
        assert_eq!(sighted, replay.alerts().count(), "sightings");
    }
}

impl Way {
    /// The arguments of such a sensor.
    fn arguments(self) -> Vec<String> {
        let settings = [
            format!("capture.shunt={}", self.shunt),
            format!("capture.backend={}", self.backend),
            format!("limits.shunt_flows_max={}", self.flows_max),
            format!("limits.shunt_ending_flows_max={}", self.ending_flows_max),
            "events.types=[\"sighting\", \"flow\"]".to_owned(),
            "privacy.debug_until=2100-01-01".to_owned(),
        ];
        let named = ["-i".to_owned(), "tap0".to_owned(), "--workers".to_owned(), self.workers.to_string()];
        named.into_iter().chain(settings.into_iter().flat_map(|setting| ["--set".to_owned(), setting])).collect()
    }
}

fn strs(arguments: &[String]) -> Vec<&str> {
    arguments.iter().map(String::as_str).collect()
}

/// Starts a sensor.
fn start(namespace: &Namespace, service: Option<&Service>, folder: &Folder, way: Way) -> Daemon {
    let arguments = way.arguments();
    let arguments = strs(&arguments);
    let Some(service) = service else { return Daemon::start(namespace, folder, &arguments) };
    let mut daemon = Daemon::spawn_in(service, folder, &arguments);
    daemon.wait_until_it_says("running: ");
    daemon
}

/// The client's address and port, the server's port, the protocol.
type Ends = (String, u16, u16, u8);
/// Packets and bytes to the server and to the client.
type Totals = [u64; 4];

fn flows(events: &[Value]) -> BTreeMap<Ends, Vec<[u64; 4]>> {
    let mut flows: BTreeMap<Ends, Vec<_>> = BTreeMap::new();
    for event in events.iter().filter(|event| event["event_type"] == "flow") {
        let port = |name: &str| u16::try_from(event[name].as_u64().unwrap()).unwrap();
        let protocol = if event["proto"] == "UDP" { 17 } else { 6 };
        let ends = (event["src_ip"].as_str().unwrap().to_owned(), port("src_port"), port("dest_port"), protocol);
        let flow = &event["flow"];
        let of = |name: &str| flow[name].as_u64().unwrap();
        let totals = [of("pkts_toserver"), of("pkts_toclient"), of("bytes_toserver"), of("bytes_toclient")];
        flows.entry(ends).or_default().push([totals[0], totals[1], totals[2], totals[3]]);
    }
    flows.values_mut().for_each(|totals| totals.sort_unstable());
    flows
}

fn up(scrape: &Scrape) -> u64 {
    let (packets, drops) = scrape.packets_and_drops();
    assert_eq!(drops, 0, "the ring was full");
    packets
}

fn shunted(scrape: &Scrape) -> u64 {
    scrape.sum("vigie_shunt_packets_total", &[])
}

/// Ended flows that could not wait for their last counts.
fn could_not_wait(scrape: &Scrape) -> u64 {
    scrape.sum("vigie_limit_hits_total", &["limit=\"shunt_ending_flows_max\""])
}

fn over_v6(number: u16) -> Connection {
    let address = |host: u16| Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, host);
    Connection::between(SocketAddr::new(address(number).into(), 41_000), SocketAddr::new(address(9).into(), 443))
}

/// A QUIC connection's datagrams: a hello, then short headers in both directions.
fn quic_says(client: SocketAddr, origin: &[u8], packets: usize) -> Vec<Vec<u8>> {
    let mut frames = vec![udp(client, SERVER, &quic::hello_datagram(origin, &Hello::to(HARMLESS).message()))];
    frames.push(udp(SERVER, client, &quic::Initial::answer(origin, b"serverid").datagram()));
    for _ in 0..packets {
        frames.push(udp(client, SERVER, &[0x41; 300]));
        frames.push(udp(SERVER, client, &[0x42; 1_100]));
    }
    frames
}

#[test]
fn flows_that_are_shunted_have_the_packets_and_bytes_that_they_have_when_read() {
    flows_have_what_they_have_when_read(Way { workers: 2, ..BY_RING });
}

#[test]
fn so_they_have_where_packets_are_passed_on() {
    flows_have_what_they_have_when_read(Way { workers: 2, ..BY_FILTER });
}

#[test]
fn so_they_have_where_the_filter_was_loaded_for_the_sensor() {
    flows_have_what_they_have_when_read(SERVICE_BY_FILTER);
}

#[test]
fn so_they_have_by_af_xdp_behind_the_shunt() {
    flows_have_what_they_have_when_read(BY_XDP);
}

#[test]
fn so_they_have_by_af_xdp_alone() {
    flows_have_what_they_have_when_read(Way { shunt: "off", ..BY_XDP });
}

#[test]
fn so_they_have_where_the_program_was_loaded_for_the_sensor() {
    flows_have_what_they_have_when_read(Way { workers: 2, ..SERVICE_BY_RING });
}

#[test]
fn so_they_have_by_af_xdp_where_the_program_was_loaded_for_the_sensor() {
    flows_have_what_they_have_when_read(SERVICE_BY_XDP);
}

#[test]
fn so_they_have_by_af_xdp_alone_where_the_program_was_loaded_for_the_sensor() {
    flows_have_what_they_have_when_read(Way { shunt: "off", ..SERVICE_BY_XDP });
}

#[test]
fn so_they_have_by_af_xdp_where_the_loader_chose_it() {
    flows_have_what_they_have_when_read(SERVICE_BY_AUTO);
}

#[test]
fn so_they_have_by_af_xdp_alone_where_the_loader_chose_it() {
    flows_have_what_they_have_when_read(Way { shunt: "off", ..SERVICE_BY_AUTO });
}

#[test]
fn so_they_have_by_packet_sockets_where_the_loader_found_several_workers() {
    flows_have_what_they_have_when_read(Way { workers: 2, ..SERVICE_BY_AUTO });
}

#[test]
fn so_they_have_by_packet_sockets_where_the_loader_found_no_native_xdp() {
    flows_have_what_they_have_when_read(Way { shunt: "off", is_native: false, ..SERVICE_BY_AUTO });
}

fn flows_have_what_they_have_when_read(way: Way) {
    let Some(mut tapped) = Tapped::new(way) else { return };
    if way.backend == "auto" {
        let is_by_xdp = way.workers == 1 && way.is_native;
        tapped.daemon.wait_until_it_says("interface tap0: it is captured");
        let said = tapped.daemon.said();
        let chosen = if is_by_xdp { "AF_XDP\n" } else { "packet sockets instead of AF_XDP, since " };
        assert!(said.contains(&format!("capture.backend = \"auto\": captured by {chosen}")), "{said}");
        assert_eq!(said.contains("tap0: it is captured: AF_XDP, in the driver"), is_by_xdp, "{said}");
    }
    let in_vlans =
        |frames: Vec<Vec<u8>>, tags: &'static [(u16, u16)]| frames.into_iter().map(move |frame| tagged(&frame, tags));
    let name = |number: usize| if number.is_multiple_of(3) { BANNED } else { HARMLESS };
    let mut hellos: Vec<Vec<u8>> = (0..120).flat_map(|number| known::says(number, name(number))).collect();
    hellos.extend((1..5).flat_map(|number| over_v6(number).saying(&Hello::to(BANNED).record())));
    hellos.extend(in_vlans(known::says(200, HARMLESS), &[(0x8100, 7)]));
    hellos.extend(in_vlans(known::says(201, BANNED), &[(0x8100, 7), (0x8100, 8)]));
    // The same connection in another VLAN is another one.
    hellos.extend(known::says(200, BANNED));
    let quic_client = known::client(300);
    hellos.extend(quic_says(quic_client, b"origin01", 3));
    tapped.send(hellos);
    thread::sleep(SETTLING);
    for round in 0..12 {
        let mut frames: Vec<Vec<u8>> = (0..120).flat_map(|number| talk(&known::connection(number), 3)).collect();
        frames.extend((1..5).flat_map(|number| talk(&over_v6(number), 2)));
        frames.extend(in_vlans(talk(&known::connection(200), 2), &[(0x8100, 7)]));
        frames.extend(in_vlans(talk(&known::connection(201), 2), &[(0x8100, 7), (0x8100, 8)]));
        frames.extend(talk(&known::connection(200), 1));
        frames.extend((0..4).map(|_| udp(quic_client, SERVER, &[0x41; 500])));
        if round == 6 {
            // Some connections end; others begin anew with the same ports, over TCP and QUIC.
            frames.extend((0..20).map(|number| known::connection(number).fin(9_000)));
            frames.extend((20..40).map(|number| known::connection(number).from_client_with(9_000, RST | ACK, b"")));
            for number in 40..60 {
                frames.extend(known::connection(number).isn(5_000_000).saying(&Hello::to(BANNED).record()));
            }
            frames.extend(quic_says(quic_client, b"another2", 2));
        }
        if round == 8 {
            tapped.daemon.signal(libc::SIGHUP);
            tapped.daemon.wait_until_it_says("reloaded: ");
        }
        tapped.send(frames);
        thread::sleep(SETTLING / 2);
    }
    let scrape = tapped.counted();
    let share = shunted(&scrape) as f64 / tapped.sent.len() as f64;
    println!("{} packets, {:.0} % shunted", tapped.sent.len(), 100.0 * share);
    assert_eq!(share > 0.4, way.shunt != "off", "{share}");
    assert_eq!(could_not_wait(&scrape), 0);
    tapped.compare();
}

/// Few flows, whose directions are inserted, closed and retired all the time while packets come.
#[test]
fn hot_flows_lose_no_packet_when_they_come_and_go() {
    hot_flows(BY_RING);
}

#[test]
fn hot_flows_lose_no_packet_where_packets_are_passed_on() {
    hot_flows(BY_FILTER);
}

#[test]
fn hot_flows_lose_no_packet_by_af_xdp() {
    hot_flows(BY_XDP);
}

fn hot_flows(way: Way) {
    let Some(mut tapped) = Tapped::new(way) else { return };
    let flows: Vec<Connection> = (0..6).map(known::connection).collect();
    tapped.send((0..6).flat_map(|number| known::says(number, BANNED)).collect());
    thread::sleep(SETTLING);
    let began = Instant::now();
    let mut round = 0;
    while began.elapsed() < Duration::from_secs(3) {
        let mut frames: Vec<Vec<u8>> = (0..40).flat_map(|_| flows.iter().flat_map(|flow| talk(flow, 1))).collect();
        frames.extend(flows.iter().skip(round % 6).take(1).map(|flow| flow.fin(9_000)));
        tapped.send(frames);
        round += 1;
    }
    let scrape = tapped.counted();
    let (inserted, retired) =
        (scrape.sum("vigie_shunt_inserted_total", &[]), scrape.sum("vigie_shunt_retired_total", &[]));
    println!(
        "{} packets in {round} rounds, {} shunted, {inserted} inserted, {retired} retired",
        tapped.sent.len(),
        shunted(&scrape)
    );
    assert!(retired > 20 && shunted(&scrape) > 1_000, "{retired}, {}", shunted(&scrape));
    tapped.compare();
}

/// Connections that begin anew with the same ports at any moment: each hello is read, though the worker may be behind.
#[test]
fn each_connection_on_the_same_ports_is_heard() {
    connections_on_the_same_ports(BY_RING);
}

#[test]
fn each_connection_on_the_same_ports_is_heard_where_packets_are_passed_on() {
    connections_on_the_same_ports(BY_FILTER);
}

#[test]
fn each_connection_on_the_same_ports_is_heard_by_af_xdp() {
    connections_on_the_same_ports(BY_XDP);
}

fn connections_on_the_same_ports(way: Way) {
    let Some(mut tapped) = Tapped::new(way) else { return };
    for round in 0..60_u32 {
        let connections: Vec<Connection> =
            (0..12).map(|number| known::connection(number).isn(round * 1_000_000)).collect();
        let mut hellos = Vec::new();
        let mut openings = Vec::new();
        for connection in &connections {
            let mut frames = connection.saying(&Hello::to(BANNED).record());
            hellos.extend(frames.split_off(3));
            openings.extend(frames);
        }
        tapped.send(openings);
        // Between a connection's beginning and its hello, and between that and the end, all times that matter.
        thread::sleep(Duration::from_micros(u64::from(round * 137 % 4_000)));
        tapped.send(hellos);
        for _ in 0..1 + round % 4 {
            tapped.send(connections.iter().flat_map(|connection| talk(connection, 2)).collect());
            thread::sleep(Duration::from_millis(u64::from(round % 3) * 8));
        }
        if round % 3 == 0 {
            let reset = |connection: &Connection| connection.from_client_with(9_000, RST | ACK, b"");
            tapped.send(connections.iter().map(reset).collect());
        }
    }
    let scrape = tapped.counted();
    println!("{} packets, {} shunted", tapped.sent.len(), shunted(&scrape));
    assert!(shunted(&scrape) > 500, "{}", shunted(&scrape));
    tapped.compare();
}

/// A sensor that was killed leaves no program behind, and the next one shunts again.
#[test]
fn a_sensor_that_was_killed_is_followed_by_one_that_shunts() {
    killed_and_followed(BY_RING);
}

#[test]
fn a_sensor_that_was_killed_is_followed_by_one_that_passes_packets_on() {
    killed_and_followed(BY_FILTER);
}

#[test]
fn a_sensor_that_was_killed_is_followed_by_one_that_has_the_sockets() {
    killed_and_followed(BY_XDP);
}

fn killed_and_followed(way: Way) {
    let Some(mut tapped) = Tapped::new(way) else { return };
    let established = |tapped: &mut Tapped, isn: u32| {
        let connections: Vec<Connection> = (0..20).map(|number| known::connection(number).isn(isn)).collect();
        tapped.send(connections.iter().flat_map(|connection| connection.saying(&Hello::to(BANNED).record())).collect());
        for _ in 0..5 {
            tapped.send(connections.iter().flat_map(|connection| talk(connection, 3)).collect());
            thread::sleep(SETTLING / 2);
        }
        let scrape = tapped.counted();
        assert!(shunted(&scrape) > 100, "{}", shunted(&scrape));
    };
    established(&mut tapped, 1_000);
    assert_eq!(tapped.namespace.run("ip link show tap0").contains("xdp"), way.shunt != "pass");
    let mut tapped = tapped.restart();
    established(&mut tapped, 2_000_000);
    tapped.compare();
}

/// A sensor that takes the same program again knows nothing of the flows that were shunted before, and shunts none of them until
/// it has seen it. While there is no sensor nothing is shunted.
#[test]
fn a_sensor_that_is_started_again_shunts_nothing_that_it_has_not_seen() {
    started_again(SERVICE_BY_RING);
}

#[test]
fn a_sensor_that_is_started_again_passes_on_nothing_that_it_has_not_seen() {
    started_again(SERVICE_BY_FILTER);
}

#[test]
fn a_sensor_that_is_started_again_shunts_nothing_that_it_has_not_seen_by_af_xdp() {
    started_again(SERVICE_BY_XDP);
}

fn started_again(way: Way) {
    let Some(mut tapped) = Tapped::new(way) else { return };
    let connections: Vec<Connection> = (0..20).map(known::connection).collect();
    let talks = |packets| connections.iter().flat_map(|connection| talk(connection, packets)).collect::<Vec<_>>();
    tapped.send(connections.iter().flat_map(|connection| connection.saying(&Hello::to(BANNED).record())).collect());
    for _ in 0..5 {
        tapped.send(talks(3));
        thread::sleep(SETTLING / 2);
    }
    assert!(shunted(&tapped.counted()) > 100);
    for _ in 0..2 {
        tapped = tapped.restart_after(&talks(2));
        assert_eq!(tapped.namespace.run("ip link show tap0").contains("xdp"), way.shunt != "pass");
        tapped.send(talks(1));
        assert_eq!(shunted(&tapped.counted()), 0, "they were not seen before");
        for _ in 0..5 {
            tapped.send(talks(3));
            thread::sleep(SETTLING / 2);
        }
        // Connections whose beginning was not seen settle too; and new ones on the same ports are heard.
        let anew = connections.iter().map(|connection| connection.isn(2_000_000));
        tapped.send(anew.flat_map(|connection| connection.saying(&Hello::to(BANNED).record())).collect());
        for _ in 0..5 {
            tapped.send(talks(3));
            thread::sleep(SETTLING / 2);
        }
        assert!(shunted(&tapped.counted()) > 100);
    }
    tapped.compare();
}

/// What a sensor and `vigie check` say where the program was not loaded for them, or for something else, or is in use.
#[test]
fn a_program_that_does_not_fit_is_refused_with_the_reason() {
    let Some(namespace) = tapped(false) else { return };
    let Some(service) = Service::new(&namespace) else { return };
    let way = SERVICE_BY_RING;
    let refused = |way: Way, why: &str, mend: &str| {
        let arguments = way.arguments();
        let mut daemon = Daemon::spawn_in(&service, &Folder::new(), &strs(&arguments));
        let status = daemon.wait(PATIENCE);
        let said = daemon.said();
        assert!(!status.success() && said.contains(why) && said.contains(mend), "{status}: {said}");
    };
    let check = |way: Way, expected: &str| {
        let mut command = service.unprivileged(&binary().to_string_lossy());
        let output = command.args(["check", "--config", "/dev/null"]).args(way.arguments()).output().unwrap();
        let told = String::from_utf8_lossy(&output.stdout);
        assert!(told.contains(expected), "{told}");
    };
    let enable = "systemctl enable vigie-xdp.service";
    refused(way, "tap0: no permission to load the shunt's program", enable);
    check(way, enable);
    service.load(&strs(&way.arguments()));
    check(way, "shunt: tap0: the program is loaded, in /run/vigie-xdp; its table of 4,096 flows takes 0 MiB");
    let anew = "systemctl restart vigie, or 'vigie xdp load' as root, loads it anew";
    let other = "the shunt's program in /run/vigie-xdp was loaded for another limits.shunt_flows_max";
    refused(Way { flows_max: 8_192, ..way }, other, anew);
    check(Way { flows_max: 8_192, ..way }, other);
    refused(
        SERVICE_BY_XDP,
        "the program for AF_XDP sockets in /run/vigie-xdp was loaded for another capture.backend",
        anew,
    );

    let to_drop = "the shunt's filter in /run/vigie-xdp was loaded for another capture.shunt or capture.snap_bytes";
    refused(SERVICE_BY_FILTER, to_drop, anew);

    let folder = Folder::new();
    let daemon = start(&namespace, Some(&service), &folder, way);
    refused(way, "in /run/vigie-xdp is in use by another sensor", "end that sensor");
    daemon.stop();

    service.run("chgrp root /sys/fs/bpf/vigie/shunt");
    refused(way, "in /run/vigie-xdp belongs to another group than the sensor's", anew);
    service.run("chgrp root /sys/fs/bpf/vigie");
    refused(way, "in /run/vigie-xdp belongs to another group than the sensor's", anew);

    service.load(&strs(&way.arguments()));
    namespace.run("ip link del tap0");
    namespace.pair("out0", "tap0");
    take_tags_in_place(&namespace, "tap0");
    refused(way, "was loaded for other interfaces, or one of them was made anew", anew);

    service.load(&strs(&way.arguments()));
    start(&namespace, Some(&service), &folder, way).stop();
    if has("bpftool") {
        let constants = "/sys/fs/bpf/vigie/shunt_constants";
        service.run(&format!(
            "rm {constants}; bpftool map create {constants} type array key 4 value 64 entries 1 name other; \
             chgrp --reference=/sys/fs/bpf/vigie {constants}; chmod 0660 {constants}"
        ));
        refused(way, "in /run/vigie-xdp was loaded by another version of vigie", anew);
    }
    let mut unload = service.command(&binary().to_string_lossy());
    assert!(unload.args(["xdp", "unload"]).status().unwrap().success());
    service.run("! test -e /sys/fs/bpf/vigie");
    refused(way, "tap0: no permission to load the shunt's program", enable);
}

/// With `auto` the loader decides; a sensor that may not load the program, and `vigie check`, say what came of that.
#[test]
fn what_the_loader_chose_is_what_the_sensor_does_and_the_check_says() {
    let Some(namespace) = tapped(true) else { return };
    let Some(service) = Service::new(&namespace) else { return };
    let by_xdp = Way { shunt: "off", ..SERVICE_BY_AUTO };
    let program = binary().to_string_lossy().into_owned();
    let check_by = |mut command: Command, way: Way, expected: &str| {
        let output = command.args(["check", "--config", "/dev/null"]).args(way.arguments()).output().unwrap();
        let told = String::from_utf8_lossy(&output.stdout);
        assert!(told.contains(&format!("backend: {expected}")), "{told}");
    };
    let check = |way: Way, expected: &str| check_by(service.unprivileged(&program), way, expected);
    let check_as_root = |way: Way, expected: &str| {
        check_by(service.command(&program), way, "AF_XDP will be used, if nothing stands against it at the start\n");
        check_by(service.command(&program), way, &format!("for the service vigie-xdp.service decides at {expected}"));
    };
    check_as_root(by_xdp, "its start; if that is not enabled, packet sockets will be used");
    let decided = |way: Way, loader: &str, sensor: &str, checked: &str| {
        let said = service.load(&strs(&way.arguments()));
        assert!(said.contains(&format!("capture.backend = \"auto\": captured by {loader}")), "{said}");
        check(way, checked);
        let daemon = start(&namespace, Some(&service), &Folder::new(), way);
        let said = daemon.said();
        assert!(said.contains(&format!("capture.backend = \"auto\": captured by {sensor}")), "{said}");
        daemon.stop();
    };
    let xdp = "AF_XDP\n";
    decided(by_xdp, xdp, xdp, "AF_XDP will be used, for which the program was loaded\n");
    check_as_root(by_xdp, "each start; the program is loaded for AF_XDP now\n");
    let instead = "packet sockets instead of AF_XDP, since ";
    let workers = "several workers want a card";
    let loader = format!("{instead}{workers}");
    decided(Way { workers: 2, ..by_xdp }, &loader, &loader, &format!("packet sockets will be used, since {workers}"));

    // What only the loader sees, with a program for packet sockets and without one.
    namespace.run("ip link set tap0 down");
    let loader = format!("{instead}tap0 is down");
    let loaded = "the program was loaded for packet sockets ('journalctl -u vigie-xdp' says why)";
    let check_said = format!("packet sockets will be used, since {loaded}");
    decided(SERVICE_BY_AUTO, &loader, &format!("{instead}{loaded}"), &check_said);
    check_as_root(SERVICE_BY_AUTO, "each start; the program is loaded for packet sockets now");
    let none =
        "interface tap0: no permission to load the program for AF_XDP sockets; systemctl enable vigie-xdp.service";
    let check_said = format!("packet sockets will be used, since {none}");
    decided(by_xdp, &loader, &format!("{instead}{none}"), &check_said);
    namespace.run("ip link set tap0 up");

    let missing = ["-i", "none0", "--set", "capture.backend=auto"];
    let said = service.load(&missing);
    assert!(said.contains(&format!("{instead}interface none0: there is no such interface")), "{said}");
    let said = service.load(&["-i", "tap0", "--set", "capture.backend=auto", "--set", "capture.bpf=tcp"]);
    assert!(said.contains(&format!("{instead}it has no filters")), "{said}");
}

/// Where the loader chose AF_XDP, a sensor whose sockets cannot be opened says so and ends. It does not capture in another way.
#[test]
fn a_sensor_whose_sockets_cannot_be_opened_does_not_start() {
    let Some(namespace) = tapped(true) else { return };
    let Some(service) = Service::new(&namespace) else { return };
    let way = Way { shunt: "off", ..SERVICE_BY_AUTO };
    service.load(&strs(&way.arguments()));
    let user = USER_ID.to_string();
    let without_rights =
        ["--reuid", &user, "--regid", &user, "--clear-groups", "--bounding-set=-all", "--inh-caps=-all"];
    let mut command = service.command("timeout");
    command.args(["20", "setpriv", "--no-new-privs"]).args(without_rights).arg(binary());
    let output = command.args(["run", "--config", "/dev/null"]).args(way.arguments()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code().is_some_and(|code| ![0, 124].contains(&code)), "{}: {said}", output.status);
    assert!(said.contains("tap0: no permission to open an AF_XDP socket; "), "{said}");
    assert!(said.contains("set capture.backend = \"ring\" and run 'systemctl restart vigie'"), "{said}");

    namespace.run("ip addr add 10.9.9.9/24 dev tap0");
    let mut daemon = Daemon::spawn_in(&service, &Folder::new(), &strs(&way.arguments()));
    assert!(!daemon.wait(PATIENCE).success());
    assert!(
        daemon.said().contains("tap0: with capture.backend = \"xdp\" its address 10.9.9.9/24"),
        "{}",
        daemon.said()
    );
}

/// A table without room lets flows up; an interface that is made anew is captured without the shunt.
#[test]
fn what_cannot_be_shunted_goes_up() {
    without_room_and_made_anew(BY_RING);
}

#[test]
fn what_cannot_be_passed_on_goes_up() {
    without_room_and_made_anew(BY_FILTER);
}

fn without_room_and_made_anew(way: Way) {
    let Some(mut tapped) = Tapped::new(Way { flows_max: 16, ..way }) else { return };
    tapped.send((0..200).flat_map(|number| known::says(number, HARMLESS)).collect());
    thread::sleep(SETTLING);
    for _ in 0..4 {
        tapped.send((0..200).flat_map(|number| talk(&known::connection(number), 2)).collect());
        thread::sleep(SETTLING);
    }
    let scrape = tapped.counted();
    assert!(scrape.sum("vigie_limit_hits_total", &["limit=\"shunt_flows_max\""]) > 100);
    assert!(shunted(&scrape) > 0);
    assert_eq!(scrape.sum("vigie_shunt_slots", &[]), 32);
    let before = up(&scrape) + shunted(&scrape);
    tapped.namespace.run("ip link del tap0");
    tapped.namespace.pair("out0", "tap0");
    tapped.daemon.wait_until_it_says("it is captured: it was made anew, and is not shunted");
    let more: Vec<Vec<u8>> = (300..310).flat_map(|number| known::says(number, BANNED)).collect();
    tapped.send(more.clone());
    tapped.daemon.scrape_until(&tapped.namespace, "the packets of the new interface", |scrape| {
        up(scrape) + shunted(scrape) >= before + more.len() as u64
    });
    tapped.compare();
}

/// Without room to wait, the events of flows that end go out at once, which is counted.
#[test]
fn flows_that_end_without_their_last_counts_are_counted() {
    let Some(mut tapped) = Tapped::new(Way { ending_flows_max: 0, ..BY_RING }) else { return };
    tapped.send((0..20).flat_map(|number| known::says(number, HARMLESS)).collect());
    for _ in 0..4 {
        thread::sleep(SETTLING);
        tapped.send((0..20).flat_map(|number| talk(&known::connection(number), 2)).collect());
    }
    let scrape = tapped.counted();
    assert!(shunted(&scrape) > 0);
    assert_eq!(could_not_wait(&scrape), 0, "none has ended");
    let anew = |number| known::connection(number).isn(5_000_000).saying(&Hello::to(HARMLESS).record());
    tapped.send((0..20).flat_map(anew).collect());
    assert_eq!(could_not_wait(&tapped.counted()), 20);
}

/// Interfaces go down and come back, alerts come all the same, and the machine does not get the packets.
#[test]
fn a_sensor_by_af_xdp_tells_what_it_does_and_alerts() {
    let Some(mut tapped) = Tapped::new(Way { shunt: "off", ..BY_XDP }) else { return };
    tapped.daemon.wait_until_it_says("interface tap0: it is captured: ");
    let said = tapped.daemon.said();
    let how = said.lines().find(|line| line.contains("interface tap0: it is captured: ")).unwrap_or_default();
    println!("{how}");
    assert!(how.contains("AF_XDP, in the driver"), "{said}");
    tapped.send((0..30).flat_map(|number| known::says(number, BANNED)).collect());
    tapped.counted();
    tapped.namespace.run("ip link set tap0 down");
    tapped.daemon.wait_until_it_says("interface tap0: it is down");
    tapped.namespace.run("ip link set tap0 up");
    tapped.daemon.wait_until_it_says_times("interface tap0: it is captured: ", 2);
    tapped.send((30..60).flat_map(|number| known::says(number, BANNED)).collect());
    tapped.counted();
    assert_eq!(tapped.namespace.run("ip -s link show tap0 | grep -c xdp").trim(), "2", "attached, with its number");
    let (folder, sent) = (tapped.folder.path("eve.json"), tapped.sent.len());
    println!("{sent} packets; events in {}", folder.display());
    tapped.compare();
}

/// What `vigie run` and `vigie check` say where AF_XDP or the shunt would cut this machine off, or AF_XDP has no filters.
#[test]
fn an_interface_that_this_machine_needs_is_refused() {
    let Some(Tapped { namespace, daemon, .. }) = Tapped::new(Way { shunt: "off", ..BY_XDP }) else { return };
    daemon.stop();
    namespace.run("ip addr add 10.9.9.9/24 dev tap0");
    let arguments = ["-i", "tap0", "--set", "capture.backend=xdp"];
    let mut refused = Daemon::spawn(&namespace, &Folder::new(), &arguments);
    let status = refused.wait(PATIENCE);
    assert!(!status.success());
    let why = "tap0: with capture.backend = \"xdp\" its address 10.9.9.9/24 would get no packets any more";
    assert!(refused.said().contains(why), "{}", refused.said());
    assert!(refused.said().contains("set capture.backend = \"ring\""), "{}", refused.said());
    let shunted = ["-i", "tap0", "--set", "capture.shunt=drop"];
    let mut refused = Daemon::spawn(&namespace, &Folder::new(), &shunted);
    assert!(!refused.wait(PATIENCE).success());
    let why = "tap0: with capture.shunt = \"drop\" its address 10.9.9.9/24 would lose packets";
    assert!(refused.said().contains(why), "{}", refused.said());
    assert!(refused.said().contains("set capture.shunt = \"pass\""), "{}", refused.said());
    namespace.run("ip addr del 10.9.9.9/24 dev tap0");
    namespace.run("ip link add br0 type bridge; ip link set tap0 master br0");
    let mut refused = Daemon::spawn(&namespace, &Folder::new(), &arguments);
    assert!(!refused.wait(PATIENCE).success());
    assert!(refused.said().contains("br0, which lies on it, would get no packets"), "{}", refused.said());
    let filtered = [&arguments[..], &["--set", "capture.bpf=tcp"]].concat();
    let mut refused = Daemon::spawn(&namespace, &Folder::new(), &filtered);
    assert!(!refused.wait(PATIENCE).success());
    assert!(refused.said().contains("the backend xdp has no filters; remove capture.bpf"), "{}", refused.said());
}

/// On an interface with an address the machine's own connection goes on, while the sensor gets neither direction of it any more.
#[test]
fn a_machine_whose_packets_are_passed_on_gets_them_all() {
    const ECHOES: usize = 400;
    let (Some(here), Some(elsewhere)) = (Namespace::new(), Namespace::new()) else { return };
    here.cable("eth0", &elsewhere, "eth0");
    for (namespace, own, other) in [(&here, 1, 2), (&elsewhere, 2, 1)] {
        // Nobody speaks but the connection.
        namespace.run("sysctl -qw net.ipv6.conf.eth0.disable_ipv6=1");
        namespace.run(&format!("ip link set eth0 address 02:00:00:00:00:0{own}; ip link set eth0 up"));
        namespace.run(&format!("ip addr add 10.9.9.{own}/24 dev eth0"));
        namespace.run(&format!("ip neigh replace 10.9.9.{other} lladdr 02:00:00:00:00:0{other} dev eth0"));
    }
    let packets = || here.count("eth0", "rx_packets") + here.count("eth0", "tx_packets");
    let before = packets();
    let folder = Folder::new();
    let mut daemon = Daemon::start(&here, &folder, &["-i", "eth0", "--set", "capture.shunt=pass"]);
    daemon.wait_until_it_says(
        "shunt: packets of settled flows are counted, and kept from nobody but the sensor, on eth0",
    );
    let listener = here.inside(|| TcpListener::bind("10.9.9.1:443").unwrap());
    let server = thread::spawn(move || {
        let mut stream = listener.accept().unwrap().0;
        let mut bytes = [0; 4_096];
        while let Ok(count @ 1..) = stream.read(&mut bytes) {
            stream.write_all(&bytes[..count]).unwrap();
        }
    });
    let mut stream = elsewhere.inside(|| TcpStream::connect("10.9.9.1:443").unwrap());
    stream.set_nodelay(true).unwrap();
    let echo = |stream: &mut TcpStream, said: &[u8]| {
        let mut heard = vec![0; said.len()];
        stream.write_all(said).unwrap();
        stream.read_exact(&mut heard).unwrap();
        assert_eq!(heard, said);
    };
    echo(&mut stream, &Hello::to(BANNED).record());
    for number in 0..ECHOES {
        echo(&mut stream, &[number as u8; 700]);
        thread::sleep(Duration::from_millis(1));
    }
    drop(stream);
    server.join().unwrap();
    let sent = || packets() - before;
    let scrape = daemon.scrape_until(&here, "all packets", |scrape| up(scrape) + shunted(scrape) >= sent());
    println!("{} packets, {} of them not seen by the sensor", sent(), shunted(&scrape));
    assert_eq!(up(&scrape) + shunted(&scrape), sent());
    assert!(shunted(&scrape) as usize > ECHOES, "both directions");
    assert_eq!(scrape.sum("vigie_shunt_inserted_total", &[]), 2);
    let said = daemon.stop();
    let counts = format!("stopped: {} packets, {} more shunted, 0 dropped", up(&scrape), shunted(&scrape));
    assert!(said.contains(&counts), "{said}");
}
