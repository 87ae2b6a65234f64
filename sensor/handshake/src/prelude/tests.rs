//! Streams as clients begin them, whole and in pieces.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::hello::tests::browser_hello;
use super::upgrade::tests::{LDAP, MYSQL, POSTGRESQL, REMOTE_DESKTOP};
use super::*;

/// All steps that whole delivery gives, until it asks for more or gives up.
fn steps(stream: &[u8]) -> Vec<Step> {
    let mut prelude = Prelude::default();
    let mut steps = Vec::new();
    loop {
        match prelude.advance(stream, &HttpLimits::default()) {
            Step::NeedMore => return steps,
            Step::GiveUp => {
                steps.push(Step::GiveUp);
                return steps;
            }
            step => steps.push(step),
        }
    }
}

/// The same, byte by byte.
fn steps_byte_by_byte(stream: &[u8]) -> Vec<Step> {
    steps_in_pieces(Prelude::default(), stream, 0..=stream.len(), false)
}

/// The same, as the stream comes up to each of these ends. What will not be read again is forgotten if asked for.
fn steps_in_pieces(
    mut prelude: Prelude,
    stream: &[u8],
    ends: impl IntoIterator<Item = usize>,
    forgets: bool,
) -> Vec<Step> {
    let (mut steps, mut forgotten) = (Vec::new(), 0);
    for end in ends {
        loop {
            match prelude.advance(&stream[forgotten..end], &HttpLimits::default()) {
                Step::NeedMore => break,
                Step::GiveUp => {
                    steps.push(Step::GiveUp);
                    return steps;
                }
                Step::Hello { offset } => steps.push(Step::Hello { offset: forgotten + offset }),
                Step::Name { evidence, name, port } => {
                    let name = forgotten + name.start..forgotten + name.end;
                    steps.push(Step::Name { evidence, name, port });
                }
            }
        }
        if forgets {
            let forgettable = prelude.forgettable();
            prelude.forget(forgettable);
            forgotten += forgettable;
        }
    }
    steps
}

fn name(stream: &[u8], evidence: Evidence, text: &str, port: Option<u16>) -> Step {
    let start = stream.windows(text.len()).position(|window| window == text.as_bytes()).unwrap();
    Step::Name { evidence, name: start..start + text.len(), port }
}

/// `before`, a hello, and the steps that delivery either way gives; the hello must be among them at its place.
fn with_hello(before: &[u8]) -> (Vec<u8>, Vec<Step>) {
    let stream = [before, &browser_hello()].concat();
    let mut steps = steps(&stream);
    assert_eq!(steps, steps_byte_by_byte(&stream), "{}", before.escape_ascii());
    steps.retain(|step| *step != Step::GiveUp);
    assert_eq!(steps.last(), Some(&Step::Hello { offset: before.len() }), "{}", before.escape_ascii());
    (stream, steps)
}

#[test]
fn a_hello_may_stand_at_the_start_in_any_records() {
    assert_eq!(with_hello(b"").1.len(), 1);
    let tiny = b"\x16\x03\x01\0\x01\x01\x16\x03\x01\0\x01\0";
    assert_eq!(steps(tiny), [Step::Hello { offset: 0 }]);
    assert_eq!(steps_byte_by_byte(tiny), [Step::Hello { offset: 0 }]);
}

#[test]
fn a_proxy_is_asked_by_connect() {
    let head = b"CONNECT www.tiktok.com:443 HTTP/1.1\r\nHost: www.tiktok.com:443\r\n\r\n";
    let (stream, steps) = with_hello(head);
    assert_eq!(steps.len(), 2);
    assert_eq!(steps[0], name(&stream, Evidence::HttpConnect, "www.tiktok.com", Some(443)));
    // The proxy wants a password first.
    assert_eq!(with_hello(&[&head[..], &head[..]].concat()).1.len(), 3);
    let mut prelude = Prelude::default();
    let to_address = b"CONNECT [2001:db8::1]:443 HTTP/1.1\r\n\r\n";
    assert_eq!(prelude.advance(to_address, &HttpLimits::default()), Step::NeedMore);
    let destination = prelude.tunnel_destination().unwrap();
    assert_eq!((destination.address.ip(), destination.port), ("2001:db8::1".parse().unwrap(), 443));
    // No TLS in the tunnel.
    let ssh = [&head[..], b"SSH-2.0-OpenSSH_9.9\r\n"].concat();
    assert_eq!(super::tests::steps(&ssh)[1..], [Step::GiveUp]);
}

#[test]
fn a_request_in_clear_tells_its_host_and_no_hello() {
    let stream = b"GET /@user HTTP/1.1\r\nHost: www.tiktok.com\r\nCookie: \x16\x03\x01\r\n\r\n";
    assert_eq!(steps(stream), [name(stream, Evidence::HttpHost, "www.tiktok.com", None), Step::GiveUp]);
    assert_eq!(steps_byte_by_byte(stream), steps(stream));
    assert_eq!(steps(b"GET / HTTP/1.1\r\nHost: 192.0.2.1\r\n\r\n"), [Step::GiveUp], "an address is no name");
    assert_eq!(steps(b"GET / HTTP/1.0\r\n\r\n"), [Step::GiveUp]);
    assert_eq!(steps(b"GET / HTTP/1.0\r\n"), []);
}

#[test]
fn a_proxy_is_asked_by_socks() {
    let request = b"\x05\x01\x00\x05\x01\x00\x03\x0ewww.tiktok.com\x01\xbb";
    let (stream, steps) = with_hello(request);
    assert_eq!(steps[0], name(&stream, Evidence::Socks, "www.tiktok.com", Some(443)));
    let version_4 = b"\x04\x01\x01\xbb\x00\x00\x00\x01\0www.tiktok.com\0";
    assert_eq!(with_hello(version_4).1.len(), 2);
    assert_eq!(with_hello(b"\x05\x01\x00\x05\x01\x00\x01\xcb\x00\x71\x01\x01\xbb").1.len(), 1);
}

#[test]
fn a_proxy_header_is_read_past() {
    let line = b"PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n";
    let (stream, steps) = with_hello(line);
    assert_eq!(steps.len(), 1);
    let mut prelude = Prelude::default();
    prelude.advance(&stream, &HttpLimits::default());
    assert_eq!(prelude.proxied().unwrap().source.unwrap().port, 56324);
    let binary = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x16\x0a\0\0\x01\x0a\0\0\x02\x1f\x90\x01\xbb\x02\0\x07tik.tok";
    let (stream, steps) = with_hello(binary);
    assert_eq!(steps[0], name(&stream, Evidence::ProxyAuthority, "tik.tok", None));
    let to_address = b"\r\n\r\n\0\r\nQUIT\n\x21\0\0\x0a\x02\0\x07192.0.2";
    assert_eq!(with_hello(to_address).1.len(), 2, "no address");
    let to_address = b"\r\n\r\n\0\r\nQUIT\n\x21\0\0\x0c\x02\0\x09192.0.2.1";
    assert_eq!(with_hello(to_address).1.len(), 1, "an address is no name");
    let nested = [&line[..], binary, b"CONNECT a.example:443 HTTP/1.1\r\n\r\n"].concat();
    let (stream, steps) = with_hello(&nested);
    assert_eq!(steps[0], name(&stream, Evidence::ProxyAuthority, "tik.tok", None));
    assert_eq!(steps[1], name(&stream, Evidence::HttpConnect, "a.example", Some(443)));
    let mut prelude = Prelude::default();
    prelude.advance(&[&b"\x05\x01\x00\x05\x01\x00\x03\x01a\x00\x50"[..], binary].concat(), &HttpLimits::default());
    prelude.advance(&[&b"\x05\x01\x00\x05\x01\x00\x03\x01a\x00\x50"[..], binary].concat(), &HttpLimits::default());
    assert_eq!(prelude.proxied().unwrap().authority, Some(11 + 31..11 + 38));
}

#[test]
fn requests_for_tls_are_followed_by_a_hello() {
    for before in [
        &b"EHLO [192.0.2.1]\r\nSTARTTLS\r\n"[..],
        b"a1 CAPABILITY\r\na2 STARTTLS\r\n",
        b"CAPA\r\nSTLS\r\n",
        b"FEAT\r\nAUTH TLS\r\n",
        b"MODE READER\r\nSTARTTLS\r\n",
        b"CAP LS 302\r\nSTARTTLS\r\n",
        b"LHLO me\nstarttls\n",
        b"<?xml version='1.0'?><stream:stream to='a'><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>",
        POSTGRESQL,
        b"\0\0\0\x08\x04\xd2\x16\x30\0\0\0\x08\x04\xd2\x16\x2f",
        MYSQL,
        LDAP,
        REMOTE_DESKTOP,
    ] {
        with_hello(before);
        // A hello in tiny records passes there, and only there.
        let tiny = b"\x16\x03\x01\0\x02\x01\0";
        assert_eq!(
            steps(&[before, tiny].concat()),
            [Step::Hello { offset: before.len() }],
            "{}",
            before.escape_ascii()
        );
        assert_eq!(steps(&[before, b"NOOP\r\n", tiny].concat()), [], "{}", before.escape_ascii());
    }
}

#[test]
fn a_hello_is_found_behind_unknown_bytes() {
    with_hello(b"\x01\x02 a protocol of its own \x16\x03\x01\x16\x16\x03\0");
    with_hello(b"\x15\x03\x01\0\x02\x01\x70");
    // TDS wraps the hello of its encryption into its own packet.
    with_hello(b"\x12\x01\0\x34\0\0\0\0 prelogin \x12\x01\x02\x0d\0\0\x01\0");
    let mut late = vec![b'a'; PRELUDE_BYTES_MAX - 1];
    with_hello(&late);
    late.push(b'a');
    assert_eq!(steps(&[late, browser_hello()].concat()), [Step::GiveUp]);
    let again = [&b"?"[..], &browser_hello(), &browser_hello()].concat();
    assert_eq!(steps(&again), [Step::Hello { offset: 1 }, Step::Hello { offset: 518 }], "should the first be none");
}

#[test]
fn servers_and_other_protocols_are_given_up() {
    for start in [
        &b"HTTP/1.1 200 OK\r\nServer: a\r\n\r\n"[..],
        b"220 mail.example ESMTP\r\n",
        b"220-ftp\r\n",
        b"+OK ready\r\n",
        b"* OK IMAP4rev1\r\n",
        b"SSH-2.0-OpenSSH_9.9\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x13BitTorrent protocol",
        b"\x16\x03\x03\0\x7a\x02\0\0\x76\x03\x03",
        b"\x17\x03\x03\0\x20",
    ] {
        assert_eq!(steps(start), [Step::GiveUp], "{}", start.escape_ascii());
        assert_eq!(steps_byte_by_byte(start), [Step::GiveUp], "{}", start.escape_ascii());
    }
    for undecided in [&b""[..], b"\x16", b"P", b"HTTP/", b"\r\n", b"\x17\x03", b"EHLO"] {
        assert_eq!(steps(undecided), [], "{}", undecided.escape_ascii());
    }
}

/// Quadratic work on a megabyte would take hours here, whatever the machine.
#[test]
fn hostile_streams_cost_linear_time() {
    const BYTES: usize = 1 << 20;
    let begun = Instant::now();
    for piece in [
        &b"\x16"[..],
        b"\n\x16\x03\x01\0\x01\x01",
        b">\x16\x03\x01\0\x01",
        b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03",
        b"STARTTLS\r\n\x16\x03\x01\0\0",
        b"GET ",
        b"CONNECT a:1 HTTP/1.1\r\nA: b\r\n",
        b"\r\n\r\n\0\r\nQUIT\n\x21\0\0\0",
        POSTGRESQL,
        b"\x05\xff",
        b"\x04\x01a",
        b"\x30\x84",
    ] {
        let stream: Vec<u8> = piece.iter().copied().cycle().take(BYTES).collect();
        let mut prelude = Prelude::new(BYTES);
        for end in 0..BYTES {
            prelude.advance(&stream[..end], &HttpLimits::default());
        }
    }
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
}

fn pieces() -> impl Strategy<Value = Vec<u8>> {
    let hello = browser_hello();
    let known = prop::sample::select(vec![
        b"CONNECT a.example:443 HTTP/1.1\r\n".to_vec(),
        b"GET http://b.example/ HTTP/1.1\r\n".to_vec(),
        b"Host: c.example\r\n".to_vec(),
        b"\r\n".to_vec(),
        b"\x05\x01\x00\x05\x01\x00\x03\x01a\x01\xbb".to_vec(),
        b"\x04\x01\x01\xbb\x00\x00\x00\x01\0b\0".to_vec(),
        b"PROXY TCP4 1.2.3.4 1.2.3.5 1 2\r\n".to_vec(),
        b"\r\n\r\n\0\r\nQUIT\n\x21\0\0\x02ab".to_vec(),
        b"EHLO\r\nSTARTTLS\r\n".to_vec(),
        b"<starttls/>".to_vec(),
        b"HTTP/1.1 ".to_vec(),
        POSTGRESQL.to_vec(),
        MYSQL.to_vec(),
        LDAP.to_vec(),
        REMOTE_DESKTOP.to_vec(),
        hello.clone(),
        hello[..44].to_vec(),
        b"\x16\x03\x01\0\x01\x01".to_vec(),
        b"\x16\x03\xb2\xaf\x09\x02".to_vec(),
        b"\x16\x03\x03\0\x31\x02".to_vec(),
        b"FOO /a HTTP/1.1\r\n".to_vec(),
        b"\0 FOO /a HTTP/1.1\r\n".to_vec(),
        [&b"BAR /"[..], &[b'a'; 1_020], b" HTTP/1.1\r\n"].concat(),
        [&b"BAR /"[..], &[b'a'; 2_040], b" HTTP/1.1 \r\n"].concat(),
        [&[b'\r'; 200][..], b"\n"].concat(),
        vec![b' '; 150],
        vec![b'x'; 60],
        vec![b'x'; 2_100],
    ]);
    let damaged = (known.clone(), any::<prop::sample::Index>(), any::<u8>()).prop_map(|(mut bytes, at, to)| {
        let at = at.index(bytes.len());
        bytes[at] = to;
        bytes
    });
    prop_oneof![4 => known, 1 => damaged, 1 => proptest::collection::vec(any::<u8>(), 0..60)]
}

proptest! {
    #[test]
    fn one_byte_at_a_time_equals_whole_delivery(pieces in proptest::collection::vec(pieces(), 0..8)) {
        let stream = pieces.concat();
        let whole = steps(&stream);
        prop_assert_eq!(&whole, &steps_byte_by_byte(&stream));
        for step in whole {
            match step {
                Step::Hello { offset } => prop_assert!(offset < stream.len()),
                Step::Name { name, .. } => prop_assert!(!name.is_empty() && name.end <= stream.len()),
                Step::NeedMore | Step::GiveUp => {}
            }
        }
    }

    /// Also within a connection, and with bytes forgotten that will not be read again.
    #[test]
    fn every_cut_of_a_stream_gives_the_same_steps(
        pieces in proptest::collection::vec(pieces(), 0..8),
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..12),
        may_begin_inside in any::<bool>(),
    ) {
        let stream = pieces.concat();
        let prelude = || Prelude::default().inside(may_begin_inside);
        let whole = steps_in_pieces(prelude(), &stream, [stream.len()], false);
        let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).chain([stream.len()]).collect();
        ends.sort_unstable();
        for forgets in [false, true] {
            let in_pieces = steps_in_pieces(prelude(), &stream, ends.iter().copied(), forgets);
            prop_assert_eq!(&in_pieces, &whole, "forgets: {}", forgets);
        }
    }

    #[test]
    fn any_bytes_are_survived(stream in proptest::collection::vec(any::<u8>(), 0..300)) {
        prop_assert_eq!(steps(&stream), steps_byte_by_byte(&stream));
    }
}

#[test]
fn a_request_without_a_host_is_over_whether_or_not_another_has_come() {
    let limits = HttpLimits::default();
    let first = b"GET / HTTP/1.0\r\n\r\n";
    let stream = [&first[..], b"GET / HTTP/1.1\r\nHost: www.example.org\r\n\r\n"].concat();
    for ends in [vec![stream.len()], vec![first.len(), stream.len()], vec![5, first.len() + 3, stream.len()]] {
        let mut prelude = Prelude::default();
        let steps: Vec<_> = ends.iter().map(|&end| prelude.advance(&stream[..end], &limits)).collect();
        assert_eq!((steps.last(), prelude.is_http()), (Some(&Step::GiveUp), true), "{ends:?}: {steps:?}");
        let (base, mut reader) = prelude.http().unwrap();
        let host = reader.advance(&stream[base..], &limits);
        assert!(matches!(host, http::Step::Host { .. }), "{host:?}");
    }
}

#[test]
fn a_request_behind_junk_that_the_reader_refuses_ends_the_search_there() {
    let long = "a".repeat(2_000);
    let longer = "a".repeat(2_035);
    // An unregistered method is taken for one only in a line that is not too long. What follows the line does not count.
    for (line, is_found) in [
        ("G / HTTP/1.1".to_owned(), true),
        (format!("G /{long} HTTP/1.1"), true),
        (format!("G /{longer} HTTP/1.1     "), false),
        (format!("GET /{longer} HTTP/1.1   "), true),
    ] {
        let mut stream = format!("\0\0 {line}\r\nHost: a.example\r\n\r\n").into_bytes();
        stream.resize(4_000, b'a');
        let mut prelude = Prelude::default();
        let step = prelude.advance(&stream, &HttpLimits::default());
        assert_eq!(matches!(step, Step::Name { .. }), is_found, "{line}: {step:?}");
        // In pieces, which first look like a request.
        let ends = (1..stream.len()).step_by(7).chain([stream.len()]);
        assert_eq!(steps_in_pieces(Prelude::default(), &stream, ends, true), steps(&stream), "{line}");
    }
}

#[test]
fn where_junk_began_is_remembered_when_it_is_forgotten() {
    // Too far from the start for a request behind junk, and near to where the bytes that are kept begin.
    let request = b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n";
    for junk in [60, 70, 130, 190, 2_200, 3_000, 5_000] {
        let mut stream = vec![0; junk];
        stream.extend_from_slice(request);
        let whole = steps(&stream);
        assert_eq!(whole.is_empty(), junk > JUNK_BYTES_MAX, "{junk}");
        for piece in [1, 7, 60, 500, 2_048] {
            let ends = (1..stream.len()).step_by(piece).chain([stream.len()]);
            assert_eq!(steps_in_pieces(Prelude::default(), &stream, ends, true), whole, "{junk} in pieces of {piece}");
        }
    }
}
