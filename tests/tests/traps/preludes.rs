//! What may stand before a hello: tunnels, proxies, requests to go over to TLS.

use vigie_tests::hello::Hello;
use vigie_tests::packets::{CLIENT, SERVER};
use vigie_tests::replay::Replay;
use vigie_tests::tape::Tape;
use vigie_tests::tcp::Connection;

use super::{NAME, alert, assert_told_once, tls};

/// Whether the client speaks, and what is said.
pub type Turn<'a> = (bool, &'a [u8]);

pub fn dialogue(turns: &[Turn<'_>]) -> Tape {
    let connection = Connection::default();
    let mut tape = Tape::of(connection.opening());
    let (mut from_client, mut from_server) = (0, 0);
    for (is_client, bytes) in turns {
        if *is_client {
            tape.push(connection.from_client(from_client, bytes));
            from_client += bytes.len();
        } else {
            tape.push(connection.from_server(from_server, bytes));
            from_server += bytes.len();
        }
    }
    tape
}

/// The same, but the client's bytes in segments of `size`, and no server.
pub fn client_alone(turns: &[Turn<'_>], size: usize) -> Replay {
    let said: Vec<u8> =
        turns.iter().filter(|(is_client, _)| *is_client).flat_map(|(_, bytes)| bytes.to_vec()).collect();
    let connection = Connection::default();
    Tape::of([connection.syn()]).then(connection.segments(&said, size)).replay()
}

#[test]
fn protocols_that_go_over_to_tls() {
    let hello = Hello::to(NAME).record();
    let cases: [(&str, &[Turn<'_>]); 9] = [
        (
            "SMTP",
            &[
                (false, b"220 mx ESMTP\r\n"),
                (true, b"EHLO a\r\n"),
                (false, b"250 STARTTLS\r\n"),
                (true, b"STARTTLS\r\n"),
                (false, b"220 go\r\n"),
            ],
        ),
        ("IMAP", &[(false, b"* OK ready\r\n"), (true, b"a1 STARTTLS\r\n"), (false, b"a1 OK\r\n")]),
        ("POP3", &[(false, b"+OK\r\n"), (true, b"STLS\r\n"), (false, b"+OK\r\n")]),
        ("FTP", &[(false, b"220 ftp\r\n"), (true, b"AUTH TLS\r\n"), (false, b"234 go\r\n")]),
        (
            "XMPP",
            &[
                (true, b"<stream:stream to='a'>"),
                (true, b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"),
                (false, b"<proceed/>"),
            ],
        ),
        ("PostgreSQL", &[(true, b"\0\0\0\x08\x04\xd2\x16\x2f"), (false, b"S")]),
        ("LDAP", &[(true, b"\x30\x1d\x02\x01\x01\x77\x18\x80\x16\x31.3.6.1.4.1.1466.20037"), (false, b"\x30\x0c")]),
        ("PROXY, version 1", &[(true, b"PROXY TCP4 198.51.100.22 203.0.113.7 35646 443\r\n")]),
        (
            "PROXY, version 2",
            &[(true, b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc6\x33\x64\x16\xcb\0\x71\x07\x8b\x3e\x01\xbb")],
        ),
    ];
    for (what, turns) in cases {
        let turns: Vec<Turn<'_>> = turns.iter().copied().chain([(true, &hello[..])]).collect();
        assert_told_once(&dialogue(&turns).replay(), what);
        assert_told_once(&client_alone(&turns, 5), &format!("{what} in small segments, the client alone"));
    }
}

#[test]
fn a_proxy_is_told_the_name_before_the_hello() {
    let hello = Hello::to(NAME).record();
    let connect = format!("CONNECT {NAME}:443 HTTP/1.1\r\nHost: {NAME}:443\r\n\r\n");
    let socks5 = [&[5, 1, 0, 3, NAME.len() as u8][..], NAME.as_bytes(), &[1, 187]].concat();
    let socks4a = [&[4, 1, 1, 187, 0, 0, 0, 1, 0][..], NAME.as_bytes(), &[0]].concat();
    let authority = [&[2, 0, NAME.len() as u8][..], NAME.as_bytes()].concat();
    let header = [b"\r\n\r\n\0\r\nQUIT\n\x21\0\0", &[authority.len() as u8][..], &authority].concat();
    let cases: [(&str, &str, Vec<Turn<'_>>); 4] = [
        ("PROXY, version 2", "proxy-authority", vec![(true, &header)]),
        ("CONNECT", "http-connect", vec![(true, connect.as_bytes()), (false, b"HTTP/1.1 200 OK\r\n\r\n")]),
        (
            "SOCKS 5",
            "socks",
            vec![(true, b"\x05\x01\0"), (false, b"\x05\0"), (true, &socks5), (false, b"\x05\0\0\x01\0\0\0\0\0\0")],
        ),
        ("SOCKS 4a", "socks", vec![(true, &socks4a), (false, b"\0\x5a\0\0\0\0\0\0")]),
    ];
    for (what, evidence, turns) in cases {
        // The name that the proxy was told alerts, even if nothing follows.
        let replay = dialogue(&turns).replay();
        assert_eq!((replay.said(), replay.alerted()), (vec![], alert(evidence, NAME)), "{what} alone");
        // The hello that follows is told too, but the flow alerts once.
        let turns: Vec<Turn<'_>> = turns.into_iter().chain([(true, &hello[..])]).collect();
        for (what, replay) in [
            (what.to_owned(), dialogue(&turns).replay()),
            (format!("{what} in small segments"), client_alone(&turns, 3)),
        ] {
            assert_eq!(replay.said(), tls(NAME), "{what}");
            assert_eq!(replay.alerted(), alert(evidence, NAME), "{what}");
        }
    }
}

#[test]
fn a_tunnel_to_another_host_tells_the_hello_within() {
    let hello = Hello::to(NAME).record();
    for (what, prelude) in [
        ("CONNECT to a proxy's proxy", &b"CONNECT proxy.example.org:3128 HTTP/1.1\r\n\r\n"[..]),
        ("CONNECT to an address", b"CONNECT 203.0.113.21:443 HTTP/1.1\r\n\r\n"),
        ("SOCKS 5 to an address", b"\x05\x01\0\x05\x01\0\x01\xcb\0\x71\x15\x01\xbb"),
    ] {
        let replay = dialogue(&[(true, prelude), (true, &hello)]).replay();
        assert_told_once(&replay, what);
    }
}

#[test]
fn clear_http_names_its_host() {
    for (what, request) in [
        ("a request", format!("GET / HTTP/1.1\r\nUser-Agent: a\r\nHost: {NAME}\r\n\r\n")),
        ("a request through a proxy", format!("GET http://{NAME}/a HTTP/1.1\r\nHost: {NAME}\r\n\r\n")),
        ("lower case and no space", format!("POST /a HTTP/1.0\r\nhost:{}\r\n\r\n", NAME.to_uppercase())),
    ] {
        let connection = Connection::default();
        for size in [1, 7, 2_000] {
            let tape = Tape::of(connection.opening()).then(connection.segments(request.as_bytes(), size));
            assert_eq!(tape.replay().alerted(), alert("http-host", NAME), "{what} in segments of {size}");
        }
    }
}

#[test]
fn a_page_that_speaks_of_a_name_is_no_visit() {
    let page = format!("HTTP/1.1 200 OK\r\n\r\n<a href='https://{NAME}/'>GET / HTTP/1.1\r\nHost: {NAME}\r\n\r\n");
    let replay =
        dialogue(&[(true, b"GET / HTTP/1.1\r\nHost: www.example.org\r\n\r\n"), (false, page.as_bytes())]).replay();
    assert_eq!(replay.alerted(), Vec::<String>::new());
    let mail = format!("MAIL FROM:<a@{NAME}>\r\nDATA\r\nHost: {NAME}\r\n.\r\n");
    let replay = dialogue(&[(false, b"220 mx\r\n"), (true, b"EHLO a\r\n"), (true, mail.as_bytes())]).replay();
    assert_eq!(replay.alerted(), Vec::<String>::new());
    assert_eq!(replay.said(), Vec::<String>::new(), "{CLIENT} > {SERVER}");
}

#[test]
fn records_that_servers_pass_over_hide_no_hello() {
    let connection = Connection::default();
    let hello = Hello::to(NAME).record();
    let alert_record: &[u8] = b"\x15\x03\x01\0\x02\x01\x70";
    for (what, first) in [
        ("a warning", alert_record.to_vec()),
        ("four warnings", alert_record.repeat(4)),
        ("an empty record", b"\x16\x03\x01\0\0".to_vec()),
        ("a change of cipher", b"\x14\x03\x01\0\x01\x01".to_vec()),
        ("no more than a type of another kind", b"\x18\x03\x01\0\x03\x01\0\0".to_vec()),
    ] {
        let stream = [&first[..], &hello].concat();
        for size in [stream.len(), first.len(), 3] {
            let replay = Tape::of(connection.opening()).then(connection.segments(&stream, size)).replay();
            assert_eq!(replay.alerted(), alert("tls-sni", NAME), "{what}, in pieces of {size}");
        }
    }
}
