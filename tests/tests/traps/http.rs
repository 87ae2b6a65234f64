//! Requests of HTTP in clear: every one of a connection, however it is written.

use vigie_tests::hello::Hello;
use vigie_tests::replay::Replay;
use vigie_tests::tape::Tape;
use vigie_tests::tcp::Connection;

use super::preludes::{Turn, client_alone, dialogue};
use super::{NAME, alert, none, tls};

const CLEAN: &[u8] = b"GET / HTTP/1.1\r\nHost: www.example.org\r\n\r\n";
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

pub fn get(host: &str) -> Vec<u8> {
    format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n").into_bytes()
}

/// The hosts of all requests that are reported.
fn hosts(replay: &Replay) -> Vec<&str> {
    replay.requests().map(|(_, request)| request.host.as_str()).collect()
}

/// The dialogue with its server, without it, and in small segments of the client.
fn replays(turns: &[Turn<'_>]) -> [(&'static str, Replay); 3] {
    [
        ("both sides", dialogue(turns).replay()),
        ("the client alone", client_alone(turns, 2_000)),
        ("the client alone, in small segments", client_alone(turns, 7)),
    ]
}

#[test]
fn every_request_of_a_connection_is_read() {
    let (later, proxied) = (get(NAME), format!("GET http://{NAME}/ HTTP/1.1\r\nHost: {NAME}\r\n\r\n"));
    let upload = "POST /a HTTP/1.1\r\nHost: www.example.org\r\nContent-Length: 3000\r\n\r\n";
    let content = [b'x'; 3_000];
    let chunked = "POST /a HTTP/1.1\r\nHost: www.example.org\r\nTransfer-Encoding: chunked\r\n\r\n";
    let connect = "CONNECT www.example.org:443 HTTP/1.1\r\n\r\n";
    let cases: [(&str, Vec<Turn<'_>>); 7] = [
        ("the second", vec![(true, CLEAN), (false, ANSWER), (true, &later)]),
        ("pipelined", vec![(true, CLEAN), (true, CLEAN), (true, &later)]),
        (
            "through a proxy",
            vec![(true, CLEAN), (false, ANSWER), (true, CLEAN), (false, ANSWER), (true, proxied.as_bytes())],
        ),
        ("behind content", vec![(true, upload.as_bytes()), (true, &content), (false, ANSWER), (true, &later)]),
        (
            "behind chunks",
            vec![
                (true, chunked.as_bytes()),
                (true, b"5\r\nhello\r\n"),
                (true, b"0\r\n\r\n"),
                (false, ANSWER),
                (true, &later),
            ],
        ),
        ("without a host", vec![(true, b"GET / HTTP/1.0\r\n\r\n"), (false, ANSWER), (true, &later)]),
        (
            "behind a refused CONNECT",
            vec![(true, connect.as_bytes()), (false, b"HTTP/1.1 407 No\r\n\r\n"), (true, &later)],
        ),
    ];
    for (what, turns) in cases {
        for (how, replay) in replays(&turns) {
            assert_eq!(replay.alerted(), alert("http-host", NAME), "{what}, {how}");
            assert_eq!(hosts(&replay).last(), Some(&NAME), "{what}, {how}");
        }
    }
}

#[test]
fn a_tunnel_may_follow_other_requests() {
    let hello = Hello::to(NAME).record();
    let connect = b"CONNECT proxy.example.org:443 HTTP/1.1\r\n\r\n";
    let turns: [Turn<'_>; 6] = [
        (true, CLEAN),
        (false, ANSWER),
        (true, connect),
        (false, b"HTTP/1.1 200 OK\r\n\r\n"),
        (true, &hello),
        (false, b"\x16\x03\x03"),
    ];
    for (how, replay) in replays(&turns) {
        assert_eq!(replay.said(), tls(NAME), "{how}");
        assert_eq!(replay.alerted(), alert("tls-sni", NAME), "{how}");
        assert_eq!(hosts(&replay), ["www.example.org", "proxy.example.org"], "{how}");
    }
}

#[test]
fn a_host_is_reported_once_however_many_requests_name_it() {
    let request = get(NAME);
    let mut turns: Vec<Turn<'_>> = Vec::new();
    for _ in 0..1_000 {
        turns.extend([(true, &request[..]), (false, ANSWER)]);
    }
    let replay = dialogue(&turns).replay();
    assert_eq!(replay.alerted(), alert("http-host", NAME));
    assert_eq!(hosts(&replay), [NAME]);
}

#[test]
fn every_host_of_several_connects_is_reported_once() {
    let twice = format!("CONNECT proxy.example.org:443 HTTP/1.1\r\nHost: {NAME}:443\r\n\r\n");
    let refused: &[u8] = b"HTTP/1.1 407 No\r\n\r\n";
    let other = format!("CONNECT {NAME}:443 HTTP/1.1\r\n\r\n");
    let both = [b"CONNECT proxy.example.org:443 HTTP/1.1\r\n\r\n", other.as_bytes()].concat();
    let cases: [Vec<Turn<'_>>; 2] = [
        vec![(true, twice.as_bytes()), (false, refused), (true, twice.as_bytes())],
        vec![(true, &both), (false, refused)],
    ];
    for turns in cases {
        for (how, replay) in replays(&turns) {
            assert_eq!(hosts(&replay), ["proxy.example.org", NAME], "{how}");
            assert_eq!(replay.alerts().count(), 1, "{how}");
        }
    }
}

#[test]
fn the_target_of_connect_and_its_host_are_both_reported() {
    for (target, host) in [(NAME, "proxy.example.org"), ("proxy.example.org", NAME)] {
        let request = format!("CONNECT {target}:443 HTTP/1.1\r\nHost: {host}:3128\r\n\r\n");
        let turns: [Turn<'_>; 2] = [(true, request.as_bytes()), (false, b"HTTP/1.1 407 No\r\n\r\n")];
        for (how, replay) in replays(&turns) {
            assert_eq!(hosts(&replay), [target, host], "{how}");
            assert_eq!(replay.alerts().count(), 1, "{target}, {how}");
        }
    }
}

#[test]
fn each_host_of_a_connection_alerts() {
    let (netflix, both) =
        (get("www.netflix.com"), format!("GET http://www.example.org/ HTTP/1.1\r\nHost: {NAME}\r\n\r\n"));
    let turns: [Turn<'_>; 4] = [(true, both.as_bytes()), (false, ANSWER), (true, &netflix), (true, both.as_bytes())];
    for (how, replay) in replays(&turns) {
        let services: Vec<_> = replay.alerts().map(|alert| alert.rule.service.as_str().to_owned()).collect();
        assert_eq!(services, ["tiktok", "netflix"], "{how}");
        assert_eq!(hosts(&replay), ["www.example.org", NAME, "www.netflix.com"], "{how}");
    }
}

#[test]
fn requests_as_servers_and_proxies_read_them() {
    let padding = "a".repeat(9_000);
    for request in [
        format!("get\t/ HTTP/1.2\r\nHost: {NAME}\r\n\r\n"),
        format!("FOOBAR / HTTP/1.1\r\nHost : {NAME}\r\n\r\n"),
        format!("\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: {NAME}:99999\r\n\r\n"),
        format!("\x01\x02\x03\x04\x05GET / HTTP/1.1\r\nHost: {NAME}\r\n\r\n"),
        format!("GET /\r\nHost: {NAME}\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nCookie: {padding}\r\nHost: {NAME}\r\n\r\n"),
        format!("GET /{padding} HTTP/1.1\r\nHost: {NAME}\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nHost:\r\n {NAME}\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nHost:{}{NAME}\r\n\r\n", " ".repeat(9_000)),
        format!("GET / HTTP/1.1\r\nHost:{}{NAME}\r\n\r\n", " \t".repeat(10_000)),
        format!("GET / HTTP/1.1\r\nHost: www.example.org\r\nHost: {NAME}\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nHost: \"{NAME}\"\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nHost: user@{NAME}\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nHost: http://{NAME}/\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nHost: 192.0.2.9\r\nHost: {NAME}\r\n\r\n"),
    ] {
        for (how, replay) in replays(&[(true, request.as_bytes())]) {
            assert_eq!(replay.alerted(), alert("http-host", NAME), "{how}: {}", request.escape_debug());
        }
    }
}

#[test]
fn a_request_within_another_protocol_is_no_visit() {
    let (quoted, answered) = (get(NAME), [(true, &b"SET a 60\r\n"[..]), (false, &b"+OK\r\n"[..])]);
    let silent =
        [(true, &b"<34>1 2026-11-29T08:00:00Z proxy.example.org squid 4711 - - what follows was refused:\n"[..])];
    for mut turns in [answered.to_vec(), silent.to_vec()] {
        turns.push((true, &quoted));
        assert_eq!(dialogue(&turns).replay().alerted(), none(), "{turns:?}");
    }
}

#[test]
fn a_capture_may_begin_inside_a_connection() {
    let connection = Connection::default();
    let tail = b"x-some: header\r\n\r\n";
    let request = get(NAME);
    let whole = [&tail[..], &request].concat();
    for (what, frames) in [
        (
            "the tail of a request first",
            vec![connection.from_client(500, tail), connection.from_client(500 + tail.len(), &request)],
        ),
        ("both in one segment", vec![connection.from_client(500, &whole)]),
        ("an answer first", vec![connection.from_server(900, ANSWER), connection.from_client(500, &request)]),
        ("byte by byte", (0..request.len()).map(|at| connection.from_client(500 + at, &request[at..=at])).collect()),
    ] {
        assert_eq!(Tape::of(frames).replay().alerted(), alert("http-host", NAME), "{what}");
    }
}
