//! What names may look like, and what tells of a flow that has none.

use std::net::{IpAddr, SocketAddr};

use vigie_tests::dns;
use vigie_tests::hello::Hello;
use vigie_tests::packets::{CLIENT, SERVER, udp};
use vigie_tests::replay::Replay;
use vigie_tests::tape::Tape;
use vigie_tests::tcp::Connection;

use super::{NAME, alert, assert_told_once, none, orders, tls};

/// An address of TikTok's own network, as the signatures know it.
const OWN_NETWORK: &str = "71.18.248.20:443";
/// One of a public cloud, whose customers are many.
const PUBLIC_CLOUD: &str = "14.103.0.20:443";

fn hello(hello: &Hello) -> Replay {
    Tape::of(Connection::default().saying(&hello.record())).replay()
}

#[test]
fn spelling_does_not_matter() {
    for name in ["WWW.TikTok.COM", "www.tiktok.com.", "WWW.TIKTOK.COM."] {
        assert_told_once(&hello(&Hello::to(name)), name);
    }
}

#[test]
fn look_alikes_never_alert() {
    for name in [
        "aaatiktok.com",
        "tiktok.com.evil.example",
        "tiktok.com.br.example.org",
        "tiktok.example.org",
        "www-tiktok.com",
        "tiktok.co",
        "tiktok.comm",
        "xtiktok.com",
        "tiktok-com.example",
    ] {
        let replay = hello(&Hello::to(name));
        assert_eq!((replay.said(), replay.alerted()), (tls(name), none()), "{name}");
    }
    // And what a rule is about does, however deep.
    let deep = "a.b.c.d.e.tiktok.com";
    assert_eq!(hello(&Hello::to(deep)).alerted(), alert("tls-sni", deep));
}

#[test]
fn names_that_are_none_are_told_and_harmless() {
    let long = [&[b'a'; 63][..], b".", &[b'b'; 63], b".", &[b'c'; 63], b".", &[b'd'; 63]].concat();
    for (what, name, said) in [
        ("an IPv4 address", &b"192.0.2.1"[..], "192.0.2.1".to_owned()),
        ("an IPv6 address", b"2001:db8::1", "2001:db8::1".to_owned()),
        ("255 bytes", &long, String::from_utf8(long.clone()).unwrap()),
        ("a label of 64 bytes", &[b'a'; 64], "a".repeat(64)),
        ("no UTF-8", b"\xff\xfe.example", "\\xff\\xfe.example".to_owned()),
        (
            "a NUL behind another name",
            b"www.example.org\0www.tiktok.com",
            "www.example.org\\x00www.tiktok.com".to_owned(),
        ),
        ("a path", b"www.example.org/www.tiktok.com", "www.example.org/www.tiktok.com".to_owned()),
        ("a user", b"www.tiktok.com@www.example.org", "www.tiktok.com@www.example.org".to_owned()),
    ] {
        assert_eq!(long.len(), 255);
        let replay = hello(&Hello::to_bytes(name));
        assert_eq!((replay.said(), replay.alerted()), (tls(&said), none()), "{what}");
        assert_eq!(replay.count("hello_tls", "not_a_host_name"), 1, "{what}");
    }
}

#[test]
fn names_that_people_read_alert_and_say_what_was_sent() {
    for (name, said) in [
        (&b"www.tiktok.com:443"[..], "www.tiktok.com:443"),
        (b"www.tiktok.com\0.example", "www.tiktok.com\\x00.example"),
        (b"www.tiktok.com\nx", "www.tiktok.com\\nx"),
        (b"\xff\xfe.www.tiktok.com", "\\xff\\xfe.www.tiktok.com"),
        (b"www..tiktok.com", "www..tiktok.com"),
        (b".www.tiktok.com", ".www.tiktok.com"),
        (b"www.tiktok.com..", "www.tiktok.com.."),
        (b" www.tiktok.com ", " www.tiktok.com "),
        (b"*.www.tiktok.com", "*.www.tiktok.com"),
        (b"https://www.tiktok.com/@user", "https://www.tiktok.com/@user"),
    ] {
        let replay = hello(&Hello::to_bytes(name));
        assert_eq!((replay.said(), replay.alerted()), (tls(said), alert("tls-sni", NAME)), "{said}");
        assert_eq!(replay.count("hello_tls", "not_a_host_name"), 1, "{said}");
        let eve = replay.eve();
        let sent = format!(r#""name":["{NAME}"],"name_as_sent":["{}"]"#, said.replace('\\', "\\\\"));
        assert!(eve.contains(&sent), "{sent} in {eve}");
    }
    assert!(!hello(&Hello::to(NAME)).eve().contains("name_as_sent"));
}

#[test]
fn the_first_host_name_of_several_counts() {
    let several = Hello::to_all(&[(7, b"unknown type"), (0, NAME.as_bytes()), (0, b"other.example")]);
    let replay = hello(&several);
    assert_eq!(replay.said().len(), 1);
    // An unknown type has no known length (RFC 6066 §3), so what stands behind it may be read or not; never wrongly.
    assert!([tls(NAME), tls("-")].contains(&replay.said()), "{:?}", replay.said());
    let replay = hello(&Hello::to_all(&[(0, NAME.as_bytes()), (0, b"other.example")]));
    assert_told_once(&replay, "two names");
}

#[test]
fn no_name_and_nothing_known_is_silence() {
    for nameless in [Hello::nameless(), Hello::to(""), Hello::nameless().tls12()] {
        let replay = hello(&nameless);
        assert_eq!(replay.said().len(), 1);
        assert_eq!(replay.alerted(), none());
    }
}

/// A hello without a name, after these packets.
fn nameless_after(told: impl IntoIterator<Item = Vec<u8>>, server: SocketAddr) -> Replay {
    Tape::of(told).then(Connection::between(CLIENT, server).saying(&Hello::nameless().record())).replay()
}

#[test]
fn what_dns_told_this_client_names_its_flow() {
    let replay = nameless_after([dns::told(CLIENT.ip(), NAME, SERVER.ip())], SERVER);
    assert_eq!(replay.said(), tls("-"));
    assert_eq!(replay.alerted(), alert("dns", NAME));
}

#[test]
fn what_dns_told_another_client_names_nothing() {
    let neighbour: IpAddr = "10.0.0.2".parse().unwrap();
    let replay = nameless_after([dns::told(neighbour, NAME, SERVER.ip())], SERVER);
    assert_eq!((replay.answers().count(), replay.alerted()), (1, none()));
    // Nor does it displace what this client was told of the same address.
    let told = [dns::told(CLIENT.ip(), "www.example.org", SERVER.ip()), dns::told(neighbour, NAME, SERVER.ip())];
    assert_eq!(nameless_after(told, SERVER).alerted(), none());
}

#[test]
fn dns_is_known_on_any_port() {
    let resolver = |port| SocketAddr::new("198.51.100.53".parse().unwrap(), port);
    let client = SocketAddr::new(CLIENT.ip(), 54_321);
    let answer = dns::answer(NAME, SERVER.ip(), 60);
    for port in [1, 443, 1_253, 5_300, 5_353, 65_535] {
        let replay = nameless_after([udp(resolver(port), client, &answer)], SERVER);
        assert_eq!((replay.answers().count(), replay.alerted()), (1, alert("dns", NAME)), "UDP port {port}");
        let connection = Connection::between(client, resolver(port));
        let message = [&(answer.len() as u16).to_be_bytes()[..], &answer].concat();
        let told = connection.opening().into_iter().chain([connection.from_server(0, &message)]);
        let replay = nameless_after(told, SERVER);
        assert_eq!((replay.answers().count(), replay.alerted()), (1, alert("dns", NAME)), "TCP port {port}");
        let (length, message) = message.split_at(2);
        let pieces = [connection.from_server(0, length), connection.from_server(2, message)];
        for order in orders(2) {
            let told = connection.opening().into_iter().chain(order.iter().map(|&place| pieces[place].clone()));
            let replay = nameless_after(told, SERVER);
            let what = format!("TCP port {port}, the length apart, {order:?}");
            assert_eq!((replay.answers().count(), replay.alerted()), (1, alert("dns", NAME)), "{what}");
        }
    }
    // What is named on the local network only.
    for port in [137, 5_355] {
        let replay = nameless_after([udp(resolver(port), client, &answer)], SERVER);
        assert_eq!((replay.answers().count(), replay.alerted()), (0, none()), "port {port}");
    }
    let multicast = udp(resolver(5_353), SocketAddr::new(CLIENT.ip(), 5_353), &answer);
    assert_eq!(nameless_after([multicast], SERVER).answers().count(), 0);
}

/// The frame sent to or from another link-layer address than usual.
fn between_macs(mut frame: Vec<u8>, destination: u8, source: u8) -> Vec<u8> {
    (frame[5], frame[11]) = (destination, source);
    frame
}

#[test]
fn a_host_with_both_versions_of_ip_is_one_client() {
    const HOST: u8 = 0x11;
    const OTHER_HOST: u8 = 0x12;
    const ROUTER: u8 = 0x99;
    let (v4, other_v4): (IpAddr, IpAddr) = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
    let client: SocketAddr = "[2001:db8::1]:40000".parse().unwrap();
    let server: SocketAddr = "[2001:db8:1::80]:443".parse().unwrap();
    let told = |host, mac| between_macs(dns::told(host, NAME, server.ip()), mac, ROUTER);
    let hello = |mac, hop_limit| {
        let frames = Connection::between(client, server).saying(&Hello::nameless().record());
        frames.into_iter().map(move |frame| {
            let is_clients = frame[22 + 15] == 1;
            let mut frame =
                if is_clients { between_macs(frame, ROUTER, mac) } else { between_macs(frame, mac, ROUTER) };
            frame[21] = hop_limit;
            frame
        })
    };
    let alerted = |told: Vec<Vec<u8>>, hello: Vec<Vec<u8>>| Tape::of(told).then(hello).replay().alerted();
    let expected = vec![format!("dns {client} > {server} {NAME}: tiktok")];
    assert_eq!(alerted(vec![told(v4, HOST)], hello(HOST, 64).collect()), expected);
    for identifier in [0x29, 0x45, 0x62] {
        // An identifier may look like the first byte of a packet in a tunnel. Without a checksum (RFC 768).
        let mut told = told(v4, HOST);
        told[40..43].copy_from_slice(&[0, 0, identifier]);
        assert_eq!(alerted(vec![told], hello(HOST, 64).collect()), expected, "{identifier:#x}");
    }
    assert_eq!(alerted(vec![told(v4, HOST)], hello(HOST, 63).collect()), none(), "a router forwarded it");
    assert_eq!(alerted(vec![told(v4, HOST)], hello(OTHER_HOST, 64).collect()), none(), "another host");
    let of_router = vec![told(v4, HOST), told(other_v4, HOST)];
    assert_eq!(alerted(of_router, hello(HOST, 64).collect()), none(), "several hosts behind the address");
    // And the other way round.
    let v4_server: SocketAddr = "192.0.2.80:443".parse().unwrap();
    let v4_client: SocketAddr = "10.0.0.1:40000".parse().unwrap();
    let told = between_macs(dns::told(client.ip(), NAME, v4_server.ip()), HOST, ROUTER);
    let frames = Connection::between(v4_client, v4_server).saying(&Hello::nameless().record());
    let frames = frames.into_iter().map(|frame| {
        let is_clients = frame[26] == 10;
        if is_clients { between_macs(frame, ROUTER, HOST) } else { between_macs(frame, HOST, ROUTER) }
    });
    assert_eq!(alerted(vec![told], frames.collect()), [format!("dns {v4_client} > {v4_server} {NAME}: tiktok")]);
}

#[test]
fn the_latest_answer_counts_until_it_is_old() {
    let told = |name| dns::told(CLIENT.ip(), name, SERVER.ip());
    assert_eq!(nameless_after([told(NAME), told("www.example.org")], SERVER).alerted(), none());
    assert_eq!(nameless_after([told("www.example.org"), told(NAME)], SERVER).alerted(), alert("dns", NAME));
    let later = Tape::of([told(NAME)]).then_silence(100_000);
    let later = later.then(Connection::default().saying(&Hello::nameless().record())).replay();
    assert_eq!(later.alerted(), none());
}

#[test]
fn a_name_in_the_hello_goes_before_what_dns_told() {
    let told = Tape::of([dns::told(CLIENT.ip(), NAME, SERVER.ip())]);
    let replay = told.then(Connection::default().saying(&Hello::to("www.example.org").record())).replay();
    assert_eq!((replay.said(), replay.alerted()), (tls("www.example.org"), none()));
}

#[test]
fn a_public_name_may_hide_another() {
    let told = || Tape::of([dns::told(CLIENT.ip(), NAME, SERVER.ip())]);
    let replay = told().then(Connection::default().saying(&Hello::to("cloudflare-ech.com").record())).replay();
    assert_eq!(replay.alerted(), alert("dns", NAME));
}

#[test]
fn a_servers_own_network_is_the_weakest_evidence() {
    let own: SocketAddr = OWN_NETWORK.parse().unwrap();
    let replay = nameless_after([], own);
    assert_eq!(replay.alerted(), [format!("prefix {CLIENT} > {own} -: bytedance-infra")]);
    // What DNS told goes before it.
    let replay = nameless_after([dns::told(CLIENT.ip(), NAME, own.ip())], own);
    assert_eq!(replay.alerted(), [format!("dns {CLIENT} > {own} {NAME}: tiktok")]);
    // A name that no rule answers for clears the flow, wherever it goes.
    let harmless = Connection::between(CLIENT, own).saying(&Hello::to("www.example.org").record());
    assert_eq!(Tape::of(harmless).replay().alerted(), none());
    // And a cloud's address alone accuses nobody.
    assert_eq!(nameless_after([], PUBLIC_CLOUD.parse().unwrap()).alerted(), none());
}

#[test]
fn a_flow_that_is_no_tls_at_all_is_named_too() {
    let own: SocketAddr = OWN_NETWORK.parse().unwrap();
    let connection = Connection::between(CLIENT, own);
    let replay = Tape::of(connection.saying(b"\x01\x02\x03 a protocol of its own")).replay();
    assert_eq!(replay.alerted(), [format!("prefix {CLIENT} > {own} -: bytedance-infra")]);
    // But a connection that was never used says nothing.
    assert_eq!(Tape::of(connection.opening()).replay().alerted(), none());
    assert_eq!(Tape::of([connection.syn()]).replay().alerted(), none());
}
