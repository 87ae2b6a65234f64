//! Where a flow is and which packets are of it: ports, tags, tunnels, versions of IP, ports used again.

use std::net::SocketAddr;

use vigie_tests::hello::Hello;
use vigie_tests::packets::{CLIENT, SERVER, tagged, udp, udp_in_fragments, vxlan};
use vigie_tests::quic::hello_datagram;
use vigie_tests::replay::{Replay, everything_named};
use vigie_tests::tape::Tape;
use vigie_tests::tcp::Connection;

use super::{NAME, alert, assert_told_once, quic, tls};

#[test]
fn ports_mean_nothing() {
    let hello = Hello::to(NAME);
    for port in [1, 22, 53, 80, 853, 3_128, 4_433, 8_443, 50_000, 65_535] {
        let server = SocketAddr::new(SERVER.ip(), port);
        let replay = Tape::of(Connection::between(CLIENT, server).saying(&hello.record())).replay();
        assert_eq!(replay.said(), [format!("tls {CLIENT} > {server} {NAME}")], "TCP port {port}");
        let small = Connection::between(CLIENT, server);
        let replay = Tape::of(small.opening()).then(small.segments(&hello.record(), 50)).replay();
        assert_eq!(replay.said(), [format!("tls {CLIENT} > {server} {NAME}")], "TCP port {port}, small segments");
        let replay = Tape::of([udp(CLIENT, server, &hello_datagram(b"any port", &hello.message()))]).replay();
        assert_eq!(replay.said(), [format!("quic {CLIENT} > {server} {NAME}")], "UDP port {port}");
        assert_eq!(replay.alerts().count(), 1, "port {port}");
    }
    // The client's port may be the lower one, and look like a server's.
    let client = SocketAddr::new(CLIENT.ip(), 443);
    let server = SocketAddr::new(SERVER.ip(), 50_000);
    let replay = Tape::of([Connection::between(client, server).from_client(0, &hello.record())]).replay();
    assert_eq!(replay.said(), [format!("tls {client} > {server} {NAME}")]);
}

#[test]
fn both_versions_of_ip() {
    let client: SocketAddr = "[2001:db8::1]:40000".parse().unwrap();
    let server: SocketAddr = "[2001:db8::2]:443".parse().unwrap();
    let hello = Hello::to(NAME);
    let tape = Tape::of(Connection::between(client, server).saying(&hello.record()));
    let tape = tape.then([udp(client, server, &hello_datagram(b"over IPv6", &hello.message()))]);
    let replay = tape.replay();
    assert_eq!(replay.said(), ["tls", "quic"].map(|proto| format!("{proto} {client} > {server} {NAME}")));
}

#[test]
fn tags_are_passed_over_and_told() {
    let frames = Connection::default().saying(&Hello::to(NAME).record());
    for tags in [
        &[(0x8100, 7)][..],
        &[(0x88a8, 100), (0x8100, 7)],
        &[(0x9100, 100), (0x8100, 7)],
        &[(0x8100, 100), (0x8100, 7)],
        &[(0x88a8, 1), (0x8100, 2), (0x8100, 3)],
    ] {
        let replay = Tape::of(frames.iter().map(|frame| tagged(frame, tags))).replay();
        assert_told_once(&replay, &format!("{tags:x?}"));
        let encapsulation = replay.alerts().next().unwrap().flow.encapsulation;
        let vlans: Vec<u16> = tags.iter().map(|(_, vlan)| *vlan).collect();
        assert_eq!(encapsulation.vlans[..usize::from(encapsulation.vlan_count)], vlans);
    }
}

#[test]
fn a_tunnel_shows_the_flow_within() {
    let frames = Connection::default().saying(&Hello::to(NAME).record());
    let (near, far) = ("198.51.100.1".parse().unwrap(), "198.51.100.2".parse().unwrap());
    let replay = Tape::of(frames.iter().map(|frame| vxlan(frame, 42, near, far))).replay();
    assert_told_once(&replay, "VXLAN");
    let eve = replay.eve();
    assert!(
        eve.contains(r#""tunnel":{"src_ip":"198.51.100.1","dest_ip":"198.51.100.2","proto":"UDP","depth":1}"#),
        "{eve}"
    );
    let tagged =
        frames.iter().map(|frame| tagged(&vxlan(&tagged(frame, &[(0x8100, 5)]), 42, near, far), &[(0x8100, 6)]));
    assert_told_once(&Tape::of(tagged).replay(), "VXLAN with tags inside and outside");
}

#[test]
fn the_same_ends_in_two_networks_are_two_flows() {
    let one = Connection::default().saying(&Hello::to(NAME).record());
    let two = Connection::default().isn(9).saying(&Hello::to("www.capcut.com").record());
    let (near, far) = ("198.51.100.1".parse().unwrap(), "198.51.100.2".parse().unwrap());
    type Wrap<'a> = Box<dyn Fn(&[u8], u16) -> Vec<u8> + 'a>;
    let wraps: [(&str, Wrap<'_>); 2] = [
        ("VLANs", Box::new(|frame, number| tagged(frame, &[(0x8100, number)]))),
        ("virtual networks", Box::new(|frame, number| vxlan(frame, number.into(), near, far))),
    ];
    for (what, wrap) in wraps {
        let interleaved = one.iter().zip(&two).flat_map(|(one, two)| [wrap(one, 1), wrap(two, 2)]);
        let replay = Tape::of(interleaved).replay();
        assert_eq!(replay.said(), [tls(NAME), tls("www.capcut.com")].concat(), "{what}");
        assert_eq!(replay.alerts().count(), 2, "{what}");
        assert_eq!(replay.totals.flows, 2, "{what}");
        let ids: Vec<u64> = replay.alerts().map(|alert| alert.flow.id).collect();
        assert_ne!(ids[0], ids[1], "{what}");
    }
}

#[test]
fn a_port_used_again_is_another_flow() {
    let first = Connection::default();
    let second = Connection::default().isn(5_000_000);
    let tape = Tape::of(first.saying(&Hello::to(NAME).record())).then([first.fin(600)]);
    let replay = tape.then(second.saying(&Hello::to("www.capcut.com").record())).replay();
    assert_eq!(replay.said(), [tls(NAME), tls("www.capcut.com")].concat());
    assert_eq!(replay.alerts().count(), 2);
    assert_eq!(replay.totals.flows, 2);
    // So is the same name once more.
    let replay =
        Tape::of(first.saying(&Hello::to(NAME).record())).then(second.saying(&Hello::to(NAME).record())).replay();
    assert_eq!(replay.said(), [tls(NAME), tls(NAME)].concat());
    assert_eq!(replay.alerts().count(), 2);
}

#[test]
fn a_silence_ends_a_flow() {
    let hello = |name: &str| udp(CLIENT, SERVER, &hello_datagram(name.as_bytes(), &Hello::to(name).message()));
    let idle_s = everything_named().limits.idle_timeout_s as u64;
    let replay = Tape::of([hello(NAME)]).then_silence(idle_s + 10).then([hello("www.capcut.com")]).replay();
    assert_eq!(replay.said(), [quic(NAME), quic("www.capcut.com")].concat());
    assert_eq!(replay.totals.flows, 2);
}

#[test]
fn many_flows_do_not_mix() {
    let name = |port: u16| if port.is_multiple_of(3) { NAME.to_owned() } else { format!("host{port}.example.org") };
    let flow = |port: u16| {
        let connection = Connection::default().port(port).isn(u32::from(port) * 65_537);
        let mut frames = connection.opening();
        frames.extend(connection.segments(&Hello::post_quantum(&name(port)).record(), 400));
        frames
    };
    let ports: Vec<u16> = (2_000..2_300).collect();
    let flows: Vec<Vec<Vec<u8>>> = ports.iter().map(|&port| flow(port)).collect();
    let mut tape = Tape::of([]);
    for round in 0..flows[0].len() {
        tape.extend(flows.iter().map(|frames| frames[round].clone()));
    }
    let replay = tape.replay();
    let line = |&port: &u16| format!("tls {}:{port} > {SERVER} {}", CLIENT.ip(), name(port));
    assert_eq!(replay.said(), ports.iter().map(line).collect::<Vec<_>>());
    assert_eq!(replay.alerts().count(), 100);
    assert_eq!(alert("tls-sni", NAME).len(), 1);
}

#[test]
fn fragments_that_contradict_each_other_are_told() {
    let (hello, decoy) = (Hello::to(NAME), Hello::to("www.python.org"));
    let fragments = |hello: &Hello| {
        let datagram = hello_datagram(b"fragments", &hello.message());
        udp_in_fragments(CLIENT, SERVER, &datagram, 7, 640)
    };
    let (fragments, forged) = (fragments(&hello), fragments(&decoy));
    assert_eq!((fragments.len(), forged.len()), (2, 2));
    let replay = Tape::of(fragments.clone()).replay();
    assert_told(&replay, &[]);
    let replay = Tape::of([fragments[0].clone(), forged[0].clone(), fragments[1].clone()]).replay();
    assert_told(&replay, &["fragments"]);
    assert!(replay.eve().contains(r#""desync":["fragments"]"#), "{}", replay.eve());
}

/// One alert for [`NAME`], with these words.
fn assert_told(replay: &Replay, desync: &[&str]) {
    assert_eq!(replay.alerted(), alert("quic-sni", NAME));
    let words: Vec<_> = replay.alerts().flat_map(|alert| alert.desync.words()).collect();
    assert_eq!(words, desync);
}
