//! Connections of HTTP, whole and in pieces.

use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;

/// What is found on a connection: method, host, port; where tunnels begin; what ends it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Found {
    Host(String, String, Option<u16>),
    Tunnel,
    NotHttp,
    Limit(HttpLimit),
}

/// Reads a connection as it arrives up to each of these ends. Bytes that are not needed any more are dropped.
fn read(connection: &[u8], ends: impl IntoIterator<Item = usize>, limits: &HttpLimits) -> Vec<Found> {
    let (mut reader, mut found) = (HttpReader::default(), Vec::new());
    // How many bytes of the connection stand before the stream that the reader is given.
    let mut dropped = 0;
    for end in ends {
        if end < dropped {
            continue;
        }
        loop {
            let stream = &connection[dropped..end.max(dropped)];
            match reader.advance(stream, limits) {
                Step::NeedMore => break,
                Step::Host { host, port } => {
                    let host = String::from_utf8_lossy(&stream[host]).into_owned();
                    found.push(Found::Host(reader.method().to_owned(), host, port));
                }
                Step::Tunnel { offset } => {
                    assert!(offset <= stream.len());
                    found.push(Found::Tunnel);
                }
                Step::Skip { offset, bytes } => {
                    dropped += offset + bytes as usize;
                    if dropped >= end {
                        break;
                    }
                }
                Step::NotHttp { offset } => {
                    assert!(offset <= stream.len());
                    found.push(Found::NotHttp);
                    return found;
                }
                Step::LimitReached(limit) => {
                    found.push(Found::Limit(limit));
                    return found;
                }
            }
        }
        let forgettable = reader.forgettable();
        assert!(forgettable <= end.saturating_sub(dropped));
        reader.forget(forgettable);
        dropped += forgettable;
    }
    found
}

/// Everything that whole delivery finds, and delivery byte by byte, which must be the same.
fn all(connection: &[u8]) -> Vec<Found> {
    let limits = HttpLimits::default();
    let whole = read(connection, [connection.len()], &limits);
    assert_eq!(read(connection, 1..=connection.len(), &limits), whole, "{}", connection.escape_ascii());
    whole
}

/// The hosts of a connection.
fn hosts(connection: &str) -> Vec<String> {
    let hosts = all(connection.as_bytes()).into_iter().filter_map(|found| match found {
        Found::Host(_, host, _) => Some(host),
        _ => None,
    });
    hosts.collect()
}

fn host(method: &str, host: &str, port: Option<u16>) -> Found {
    Found::Host(method.to_owned(), host.to_owned(), port)
}

const BROWSER: &str = "GET /@user/video/1 HTTP/1.1\r\nUser-Agent: Mozilla/5.0\r\nhOsT: \t www.tiktok.com:8080 \r\n\
    Accept: */*\r\n\r\n";

#[test]
fn reads_the_host_header() {
    assert_eq!(all(BROWSER.as_bytes()), [host("GET", "www.tiktok.com", Some(8080))]);
    for (connection, expected) in [
        ("POST /a HTTP/1.0\nHost:a.example\n\n", "a.example"),
        ("\r\nGET / HTTP/1.1\r\nHost: a.example\r\n", "a.example"),
        ("\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: a.example\r\n", "a.example"),
        (" \t\r\nGET / HTTP/1.1\r\nHost: a.example\r\n", "a.example"),
        ("GET / HTTP/1.1\r\r\nHost: a.example\r\r\n\r\n", "a.example"),
        ("GET / HTTP/1.1\r\nHost : a.example\r\n\r\n", "a.example"),
        ("GET / HTTP/1.1\r\nHost\t:\ta.example\r\n\r\n", "a.example"),
        ("GET / HTTP/1.1\r\nHost:\r\n a.example\r\n\r\n", "a.example"),
        ("GET / HTTP/1.1\r\nHost:\r\n\t\r\n a.example\r\n\r\n", "a.example"),
        ("GET / HTTP/1.1\r\n Host: a.example\r\n\r\n", "a.example"),
        ("GET / HTTP/1.1\r\nHost: [2001:db8::1]:80\r\n\r\n", "2001:db8::1"),
        ("GET /\r\nHost: a.example\r\n\r\n", "a.example"),
        ("FOOBAR / HTTP/1.2\r\nHost: a.example\r\n\r\n", "a.example"),
        ("get\t/ http/1.1 \r\nHOST: a.example\r\n\r\n", "a.example"),
        ("GET / HTTP/1.1\r\nno header\r\nHost: a.example\r\n\r\n", "a.example"),
    ] {
        assert_eq!(hosts(connection), [expected], "{connection:?}");
    }
    for connection in [
        "GET / HTTP/1.0\r\n\r\n",
        "GET / HTTP/1.1\r\nX-Host: a\r\n Host: b\r\nHosts: d\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: \r\nAccept: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: www.tiktok.com",
    ] {
        assert_eq!(hosts(connection), [""; 0], "{connection:?}");
    }
}

#[test]
fn all_hosts_of_a_request_are_told_once() {
    for (connection, expected) in [
        ("GET / HTTP/1.1\r\nHost: one.example\r\nHost: two.example\r\n\r\n", &["one.example", "two.example"][..]),
        ("GET / HTTP/1.1\r\nHost: one.example, two.example\r\n\r\n", &["one.example", "two.example"]),
        ("GET / HTTP/1.1\r\nHost: one.example\r\n\ttwo.example\r\n\r\n", &["one.example", "two.example"]),
        (
            "GET http://v16.tiktokcdn.com/a?b=http://x HTTP/1.1\r\nHost: b.example\r\n\r\n",
            &["v16.tiktokcdn.com", "b.example"],
        ),
        ("GET HTTP://A.example:8/ HTTP/1.1\r\nHost: a.EXAMPLE\r\n\r\n", &["A.example"]),
        ("GET HTTPS://user:p@ss@a.example:444?q HTTP/1.1\r\n\r\n", &["a.example"]),
        ("GET http://[::1]/ HTTP/1.1\r\nHost: b.example\r\n\r\n", &["::1", "b.example"]),
        ("GET /redirect?to=http://a.example/ HTTP/1.1\r\nHost: b.example\r\n\r\n", &["b.example"]),
        ("GET http:///path HTTP/1.1\r\nHost: b.example\r\n\r\n", &["path", "b.example"]),
        ("OPTIONS * HTTP/1.1\r\nHost: b.example\r\n\r\n", &["b.example"]),
    ] {
        assert_eq!(hosts(connection), expected, "{connection:?}");
    }
    let many = (0..20).map(|number| format!("Host: h{number}\r\n")).collect::<String>();
    assert_eq!(hosts(&format!("GET / HTTP/1.1\r\n{many}\r\n")).len(), HOSTS_MAX);
}

#[test]
fn every_request_of_a_connection_is_read() {
    let connection = "GET http://one.example/ HTTP/1.1\r\nHost: one.example\r\n\r\n\
        POST /a HTTP/1.1\r\nHost: two.example\r\nContent-Length: 5\r\n\r\nGET /\
        GET / HTTP/1.1\r\nHost: three.example\r\n\r\n\r\n\
        PUT / HTTP/1.1\r\nHost: four.example\r\nTransfer-Encoding: gzip, Chunked\r\n\r\n\
        5;extension=a\r\nHost:\r\n3\r\n\r\n\r\r\n0\r\nTrailer: Host: x\r\n\r\n\
        HEAD / HTTP/1.1\r\nHost: five.example\r\n\r\n";
    let expected = ["one.example", "two.example", "three.example", "four.example", "five.example"];
    assert_eq!(hosts(connection), expected);
    assert_eq!(hosts(&BROWSER.repeat(50)).len(), 50, "each request has its host");
}

#[test]
fn content_that_does_not_come_is_skipped_by_its_length() {
    let head = "POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 5000000000\r\n\r\n";
    let mut reader = HttpReader::default();
    let limits = HttpLimits::default();
    assert!(matches!(reader.advance(head.as_bytes(), &limits), Step::Host { .. }));
    let mut skipped = 0;
    let mut stream = head.as_bytes();
    while let Step::Skip { offset, bytes } = reader.advance(stream, &limits) {
        skipped += offset as u64 + bytes;
        // Nothing is skipped blindly: each further step wants a byte.
        assert_eq!(reader.advance(b"", &limits), Step::NeedMore);
        stream = b"x";
        if skipped == head.len() as u64 + 5_000_000_000 {
            break;
        }
    }
    assert_eq!(skipped, head.len() as u64 + 5_000_000_000);
    assert!(matches!(reader.advance(BROWSER.as_bytes(), &limits), Step::Host { .. }));
}

#[test]
fn content_that_was_refused_is_not_awaited() {
    let head = "PUT / HTTP/1.1\r\nHost: one.example\r\nContent-Length: 900\r\nExpect: 100-continue\r\n\r\n";
    assert_eq!(hosts(&format!("{head}{BROWSER}")), ["one.example", "www.tiktok.com"]);
    assert_eq!(hosts(&format!("{head}{}{BROWSER}", "x".repeat(900))), ["one.example", "www.tiktok.com"]);
}

#[test]
fn connect_leads_into_a_tunnel() {
    let head = "CONNECT www.tiktok.com:443 HTTP/1.1\r\nHost: proxy.example:3128\r\n\r\n";
    let connect =
        [host("CONNECT", "www.tiktok.com", Some(443)), host("CONNECT", "proxy.example", Some(3128)), Found::Tunnel];
    assert_eq!(all(format!("{head}\x16\x03\x01").as_bytes()), [&connect[..], &[Found::NotHttp]].concat());
    assert_eq!(
        all(format!("{head}{head}").as_bytes()),
        [&connect[..], &connect].concat(),
        "the proxy wants a password"
    );
    for target in ["[2001:db8::2]:443", "https://[2001:db8::2]:443/", "user@[2001:db8::2]:443"] {
        let found = all(format!("connect {target} HTTP/1.2\r\n\r\n").as_bytes());
        assert_eq!(found, [host("connect", "2001:db8::2", Some(443)), Found::Tunnel], "{target}");
    }
}

#[test]
fn knows_what_is_no_request() {
    for other in [
        "HTTP/1.1 200 OK\r\n\r\n",
        "OPTIONS sip:a@b SIP/2.0\r\nHost: a\r\n\r\n",
        "GET HTTP/1.1\r\n",
        "220 smtp\r\n",
        "EHLO mail.example\r\n",
        "{\"json\": 1}\r\n",
    ] {
        assert_eq!(all(other.as_bytes()), [Found::NotHttp], "{other}");
    }
    for start in ["", "\r", "\r\n", "C", "CONNECT", "GET ", "GET /long", "GET / HTTP/1.1\r\nHost: a"] {
        assert_eq!(all(start.as_bytes()), [], "{start}");
    }
    let chunked = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(all(format!("{chunked}zz\r\n").as_bytes())[1..], [Found::NotHttp]);
    assert_eq!(all(format!("{chunked}1\r\nab\r\n").as_bytes())[1..], [Found::NotHttp]);
    assert_eq!(all("\r\n".repeat(200).as_bytes()), [Found::NotHttp]);
}

#[test]
fn long_lines_and_long_heads() {
    let long = "a".repeat(3 * LINE_BYTES_MAX);
    assert_eq!(
        hosts(&format!("GET /{long} HTTP/1.1\r\nHost: one.example\r\n\r\n{BROWSER}")),
        ["one.example", "www.tiktok.com"]
    );
    assert_eq!(hosts(&format!("GET http://one.example/{long} HTTP/1.1\r\n\r\n")), ["one.example"]);
    assert_eq!(hosts(&format!("GET / HTTP/1.1\r\nCookie: {long}\r\nHost: one.example\r\n\r\n")), ["one.example"]);
    let headers = "A: b\r\n".repeat(10_000);
    assert_eq!(hosts(&format!("GET / HTTP/1.1\r\n{headers}Host: one.example\r\n\r\n")), ["one.example"]);
    let limits = HttpLimits { head_bytes_max: 1000, requests_max: 2, ..HttpLimits::default() };
    let read = |connection: &str| read(connection.as_bytes(), [connection.len()], &limits);
    let endless = format!("GET / HTTP/1.1\r\n{headers}");
    assert_eq!(read(&endless), [Found::Limit(HttpLimit::HeadBytes)]);
    assert_eq!(read(&BROWSER.repeat(3)).last(), Some(&Found::Limit(HttpLimit::Requests)));
}

#[test]
fn little_is_held_of_a_long_connection() {
    let connection = format!("GET / HTTP/1.1\r\nCookie: {}\r\nHost: a.example\r\n\r\n", "c".repeat(6000)).repeat(20);
    let (mut reader, mut stream, mut hosts) = (HttpReader::default(), Vec::new(), 0);
    for piece in connection.as_bytes().chunks(700) {
        stream.extend_from_slice(piece);
        while let Step::Host { .. } = reader.advance(&stream, &HttpLimits::default()) {
            hosts += 1;
        }
        let forgettable = reader.forgettable();
        reader.forget(forgettable);
        stream.drain(..forgettable);
        assert!(stream.len() <= LINE_BYTES_MAX);
    }
    assert_eq!(hosts, 20);
}

#[test]
fn what_follows_a_line_does_not_matter() {
    let followed = format!("\r\nHost: a.example\r\n\r\n{}", "a".repeat(3_000));
    assert_eq!(hosts(&format!("FOO / HTTP/1.1{followed}")), ["a.example"]);
    assert!(begins_request(format!("FOO / HTTP/1.1{followed}").as_bytes()));
    assert!(!begins_request(format!("FOO /{} HTTP/1.1{followed}", "a".repeat(3_000)).as_bytes()));
    // Empty lines count together with the blanks of the line behind them, up to 256.
    for (blanks, is_read) in [(126, true), (127, false)] {
        let start = format!("{}\n{}GET / HTTP/1.1", "\r".repeat(129), " ".repeat(blanks));
        assert_eq!(hosts(&format!("{start}{followed}")).len(), usize::from(is_read), "{blanks}");
        assert_eq!(may_be_request(start.as_bytes()), is_read, "{blanks}");
    }
    // White space in front of a request that stands in place of refused content.
    let head = "PUT / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 900\r\nExpect: 100-continue\r\n\r\n";
    assert_eq!(hosts(&format!("{head} {BROWSER}")), ["a.example"]);
}

static BLANKS: LazyLock<String> = LazyLock::new(|| "\r".repeat(120));
static LONG: LazyLock<String> = LazyLock::new(|| "a".repeat(2_045));

proptest! {
    #[test]
    fn pieces_of_requests_are_read_alike_in_any_delivery(
        pieces in proptest::collection::vec(prop::sample::select(vec![
            "GET ", "CONNECT ", "PUT ", "/", "http://", "a.example", ":443", " ", "\t", " HTTP/1.1", "\r\n", "\n", "\r", "\r\n\r\n",
            "Host:", "Host: b.example\r\n", "@", "[", "]", "x", "\u{1}", "Content-Length: 3\r\n", "Transfer-Encoding: chunked\r\n",
            "3\r\nabc\r\n", "0\r\n\r\n", "Expect: 100-continue\r\n", "GET / HTTP/1.1\r\n", "FOO ", &BLANKS, &LONG,
        ]), 0..24),
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let connection = pieces.concat();
        let whole = all(connection.as_bytes());
        let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(connection.len() + 1)).collect();
        ends.sort_unstable();
        ends.push(connection.len());
        prop_assert_eq!(read(connection.as_bytes(), ends, &HttpLimits::default()), whole);
    }

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        all(&bytes);
        all(&[b"GET / HTTP/1.1\r\n", &bytes[..]].concat());
    }
}
