//! DNS, HTTP, SOCKS, and what stands before a hello.

use vigie_decode::Address;
use vigie_decode::Segment;
use vigie_handshake::address_names::{AddressNames, Limits, Query};
use vigie_handshake::dns::{self, Data};
use vigie_handshake::http::{HttpConnection, HttpLimits, HttpReader, Progress};
use vigie_handshake::prelude::{PRELUDE_BYTES_MAX, Prelude, Step};
use vigie_handshake::{Counts, http, socks};

use super::input::Input;

pub fn dns(data: &[u8]) {
    let (messages, consumed) = dns::tcp_messages(data);
    let framed: usize = messages.map(|message| message.len() + 2).sum();
    assert!(framed == consumed && consumed <= data.len());
    let Some(message) = dns::Message::parse(data) else {
        assert!(!dns::looks_like_dns(data));
        return;
    };
    let (mut addresses, mut names) = (0, 0);
    message.addresses(|name, _, _| {
        assert!(!name.is_empty() && name.len() <= dns::NAME_BYTES_MAX);
        addresses += 1;
    });
    message.chain(|name| {
        assert!(!name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic() && !byte.is_ascii_uppercase()));
        names += 1;
    });
    assert!(addresses <= dns::ADDRESSES_MAX && names <= dns::ANSWERS_MAX);
    for record in message.answers() {
        if let Data::Service(service) = record.data() {
            let parameters = service.parameters().count();
            assert!(service.alpn().count() + parameters <= data.len());
            let _ = service.has_ech();
        }
    }
    if let Some(answer) = message.to_answer() {
        assert!(message.is_response() && answer.answers.len() <= dns::ANSWERS_MAX);
    }
}

/// A small map under a script of insertions and look-ups, against what a list of them would say.
pub fn address_names(data: &[u8]) {
    let limits = Limits { entries_max: 64, ttl_min_s: 2, ttl_max_s: 20, ..Limits::default() };
    let names = AddressNames::new(limits);
    let mut told: Vec<(Option<Address>, Address, String, u64)> = Vec::new();
    let mut input = Input::new(data);
    let mut now_ns = 0_u64;
    while !input.is_empty() {
        let operation = input.u8();
        now_ns += u64::from(operation >> 2) * 100_000_000;
        let client = input.u8() % 4;
        let client = (client > 0).then(|| Address::v4([10, 0, 0, client]));
        let server = std::net::IpAddr::from([192, 0, 2, input.u8()]);
        let address = Address::from(server);
        if operation & 1 == 0 {
            let ttl_s = u32::from(input.u8());
            let name = format!("n{}", ttl_s % 7);
            let query = if operation & 2 == 0 { Query::Seen } else { Query::Unseen };
            if names.insert(client, server, &name, ttl_s, query, now_ns) {
                told.retain(|entry| (entry.0, entry.1) != (client, address));
                let expires_ns = now_ns + u64::from(ttl_s.clamp(2, 20)) * 1_000_000_000;
                told.push((client, address, name, expires_ns));
            }
        } else {
            let known = |client| {
                told.iter().find(|entry| (entry.0, entry.1) == (client, address) && entry.3 > now_ns).map(|e| &e.2)
            };
            let (own, anyones) = (known(client), known(None));
            let found = names.lookup(client, address, now_ns);
            if names.displaced() == 0 {
                assert_eq!(found.as_deref(), own.or(anyones).map(String::as_str));
            } else if let Some(found) = found {
                assert!([own, anyones].into_iter().flatten().any(|name| **name == *found));
            }
        }
        assert!(names.len() <= limits.entries_max);
    }
}

/// A client's stream of requests, in pieces and whole.
pub fn http(data: &[u8]) {
    let (stream, ends) = Input::new(data).stream();
    let _ = http::begins_request(stream);
    assert_eq!(hosts(stream, &[stream.len()]), hosts(stream, &ends));
}

/// The methods and hosts of a stream, and what ends it.
fn hosts(stream: &[u8], ends: &[usize]) -> Vec<(String, Vec<u8>)> {
    let limits = HttpLimits { head_bytes_max: 4096, requests_max: 20, ..HttpLimits::default() };
    let (mut reader, mut found, mut begin) = (HttpReader::default(), Vec::new(), 0_usize);
    for &end in ends {
        loop {
            let view = stream.get(begin..end).unwrap_or_default();
            match reader.advance(view, &limits) {
                http::Step::NeedMore => break,
                http::Step::Host { host, .. } => {
                    assert!(!host.is_empty() && host.len() <= http::HOST_BYTES_MAX);
                    found.push((reader.method().to_owned(), view[host].to_vec()));
                }
                http::Step::Tunnel { offset } => assert!(offset <= view.len()),
                http::Step::Skip { offset, bytes } => {
                    assert!(offset <= view.len() && bytes > 0);
                    begin = begin.saturating_add(offset).saturating_add(bytes as usize);
                }
                step @ (http::Step::NotHttp { .. } | http::Step::LimitReached(_)) => {
                    if let http::Step::NotHttp { offset } = step {
                        assert!(offset <= view.len());
                    }
                    found.push(("end".to_owned(), Vec::new()));
                    return found;
                }
            }
        }
        let read = reader.forgettable();
        assert!(read <= end.saturating_sub(begin));
        reader.forget(read);
        begin += read;
    }
    found
}

/// Segments of a client whose first request was read, in any order: what comes out is bounded.
pub fn http_segments(data: &[u8]) {
    const FIRST: &[u8] = b"GET / HTTP/1.1\r\nHost: first.example\r\n\r\n";
    const FIRST_BYTE: u32 = u32::MAX - 40;
    let mut limits = vigie_handshake::Limits { stream_bytes_max: 4096, ..vigie_handshake::Limits::default() };
    (limits.http.hosts_max, limits.http.lost_segments_max) = (8, 32);
    let mut counts = Counts::default();
    let (mut connection, _) = HttpConnection::resume(HttpReader::default(), FIRST, FIRST_BYTE, &limits, &mut counts);
    let mut input = Input::new(data);
    while !input.is_empty() {
        let sequence = FIRST_BYTE.wrapping_add(u32::from(input.u16()));
        let payload = input.chunk();
        let segment = Segment::without_header(sequence, Segment::ACK, payload);
        let progress = connection.segment(&segment, &limits, &mut counts, &mut |host| {
            assert!(!host.name.is_empty() && host.name.len() <= http::HOST_BYTES_MAX && !host.method.is_empty());
        });
        assert!(connection.memory_bytes() <= 16 << 10, "{}", connection.memory_bytes());
        if progress != Progress::More {
            return;
        }
    }
}

pub fn socks(data: &[u8]) {
    let (stream, ends) = Input::new(data).stream();
    let whole = socks::Request::parse(stream);
    if let socks::Parsed::Request(request) = &whole {
        assert!(request.end <= stream.len());
        assert_eq!(socks::Request::parse(&stream[..request.end]), whole);
    }
    for end in ends {
        let parsed = socks::Request::parse(&stream[..end]);
        assert!(parsed == socks::Parsed::Incomplete || parsed == whole);
    }
}

pub fn prelude(data: &[u8]) {
    let (stream, ends) = Input::new(data).stream();
    let whole = steps(stream, &[stream.len()]);
    assert_eq!(whole, steps(stream, &ends));
    // The same inside a connection, where requests are found anywhere.
    let inside = |ends: &[usize]| steps_of(Prelude::default().inside(true), stream, ends);
    assert_eq!(inside(&[stream.len()]), inside(&ends));
    // A step is a hello at a new place, or one of a few names.
    assert!(whole.len() <= stream.len() + 32);
    for step in whole {
        match step {
            Step::Hello { offset } => assert!(offset < PRELUDE_BYTES_MAX && stream[offset] == 0x16),
            Step::Name { name, .. } => assert!(!name.is_empty() && name.end <= stream.len()),
            Step::NeedMore | Step::GiveUp => {}
        }
    }
}

fn steps(stream: &[u8], ends: &[usize]) -> Vec<Step> {
    steps_of(Prelude::default(), stream, ends)
}

fn steps_of(mut prelude: Prelude, stream: &[u8], ends: &[usize]) -> Vec<Step> {
    let limits = HttpLimits::default();
    let mut steps = Vec::new();
    for &end in ends {
        loop {
            match prelude.advance(&stream[..end], &limits) {
                Step::NeedMore => break,
                Step::GiveUp => {
                    steps.push(Step::GiveUp);
                    return steps;
                }
                step => steps.push(step),
            }
        }
    }
    steps
}
