//! What names may look like, and what tells of a flow that has none.

use std::net::{IpAddr, SocketAddr};

use vigie_tests::dns;
use vigie_tests::hello::Hello;
use vigie_tests::packets::{CLIENT, SERVER};
use vigie_tests::replay::Replay;
use vigie_tests::tape::Tape;
use vigie_tests::tcp::Connection;

use super::{NAME, alert, assert_told_once, tls};

/// An address of TikTok's own network, as the signatures know it.
const OWN_NETWORK: &str = "71.18.248.20:443";
/// One of a public cloud, whose customers are many.
const PUBLIC_CLOUD: &str = "14.103.0.20:443";

fn hello(hello: &Hello) -> Replay {
    Tape::of(Connection::default().saying(&hello.record())).replay()
}

fn none() -> Vec<String> {
    Vec::new()
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
        ("a NUL within", b"www.tiktok.com\0.example", "www.tiktok.com\\x00.example".to_owned()),
        ("a line break", b"www.tiktok.com\nx", "www.tiktok.com\\nx".to_owned()),
        ("no UTF-8", b"\xff\xfe.tiktok.com", "\\xff\\xfe.tiktok.com".to_owned()),
        ("an empty label", b"www..tiktok.com", "www..tiktok.com".to_owned()),
        ("a space", b" www.tiktok.com", " www.tiktok.com".to_owned()),
    ] {
        assert_eq!(long.len(), 255);
        let replay = hello(&Hello::to_bytes(name));
        assert_eq!((replay.said(), replay.alerted()), (tls(&said), none()), "{what}");
        assert_eq!(replay.count("hello_tls", "not_a_host_name"), 1, "{what}");
    }
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
