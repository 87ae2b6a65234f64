//! Hellos over TCP and DTLS, records, what a server says in clear.

use vigie_handshake::dtls::{DtlsHello, DtlsStep, looks_like_dtls};
use vigie_handshake::prelude::{Match, Place, client_hello_at};
use vigie_handshake::tls::certificate::{self, for_each_name};
use vigie_handshake::tls::{
    ClientHello, HelloScan, HelloStep, HelloStream, Ja4, Ja4Transport, ServerHello, ServerStep, ServerStream,
    hello_in_one_record,
};

use super::input::Input;

const BYTES_MAX: usize = 16 << 10;

/// What a hello tells, to be compared.
#[derive(Debug, PartialEq, Eq)]
pub struct Told {
    server_name: Option<Vec<u8>>,
    alpn: Vec<Vec<u8>>,
    version: u16,
    ja4: Option<String>,
    complete: bool,
}

/// Asks a hello for everything.
pub fn tell(hello: &ClientHello<'_>) -> Told {
    let ja4 = Ja4::of(hello, Ja4Transport::Tcp);
    assert!(ja4.as_ref().is_none_or(|ja4| ja4.as_str().is_ascii() && ja4.as_str().len() == 36));
    let pieces = hello.extensions().count() + hello.signature_algorithms().count() + hello.key_share_groups().count();
    assert!(pieces <= 3 * (1 << 16));
    let _ = (hello.legacy_version(), hello.session_id(), hello.cookie(), hello.cipher_suites(), hello.compression());
    let _ = (hello.is_post_quantum(), hello.is_malformed(), hello.ech().map(|ech| ech.judge()));
    Told {
        server_name: hello.server_name().map(<[u8]>::to_vec),
        alpn: hello.alpn().map(<[u8]>::to_vec).collect(),
        version: hello.highest_version(),
        ja4: ja4.map(|ja4| ja4.as_str().to_owned()),
        complete: hello.is_complete(),
    }
}

/// The body of a hello: growing, and whole.
pub fn hello(data: &[u8]) {
    let mut input = Input::new(data);
    let beyond = usize::from(input.u8());
    let (body, ends) = input.stream();
    let announced = body.len() + beyond;
    let whole = ClientHello::parse(body, announced).map(|hello| tell(&hello)).ok();
    let mut scan = HelloScan::default();
    let mut last = None;
    for end in ends {
        last = scan.advance(&body[..end], announced).map(|hello| tell(&hello)).ok();
        if last.is_none() {
            break;
        }
    }
    assert_eq!(whole, last);
    let _ = HelloScan::dtls().advance(body, announced).map(|hello| tell(&hello));
}

/// A client's stream, in pieces and whole.
pub fn records(data: &[u8]) {
    let (stream, ends) = Input::new(data).stream();
    let mut fresh = HelloStream::default();
    let whole = step(&mut fresh, stream);
    let mut grown = HelloStream::default();
    let mut last = Err("nothing was asked".to_owned());
    for end in ends {
        last = step(&mut grown, &stream[..end]);
    }
    assert_eq!(whole, last);
    // The short way and the long way must agree on what the first test lets through.
    if client_hello_at(stream, 0, Place::Boundary) == Match::Yes
        && let Some(hello) = hello_in_one_record(stream)
    {
        assert_eq!(whole, Ok(Some(tell(&hello))));
    }
}

fn step(stream: &mut HelloStream, bytes: &[u8]) -> Result<Option<Told>, String> {
    match stream.advance(bytes, BYTES_MAX) {
        HelloStep::More => Ok(None),
        HelloStep::Hello(hello) => Ok(Some(tell(&hello))),
        HelloStep::Stopped(stop) => Err(format!("{stop:?}")),
    }
}

/// A server's stream, in pieces and whole.
pub fn server_hello(data: &[u8]) {
    let (stream, ends) = Input::new(data).stream();
    let _ = ServerHello::parse(stream);
    assert_eq!(server_steps(stream, &[stream.len()]), server_steps(stream, &ends));
}

fn server_steps(stream: &[u8], ends: &[usize]) -> Vec<String> {
    let mut server = ServerStream::default();
    let mut steps = Vec::new();
    for &end in ends {
        loop {
            match server.advance(&stream[..end], BYTES_MAX) {
                ServerStep::More => break,
                ServerStep::Hello(hello) => steps.push(format!("{hello:?}")),
                ServerStep::Stopped(stop) => {
                    steps.push(format!("{stop:?}"));
                    return steps;
                }
                ServerStep::Certificate(der) => {
                    steps.push(format!("{der:x?}"));
                    return steps;
                }
            }
        }
    }
    steps
}

/// A certificate, and a message that may hold one.
pub fn certificate(data: &[u8]) {
    for_each_name(data, check_name);
    if let Some(leaf) = certificate::leaf(data) {
        assert!(leaf.len() <= data.len());
        for_each_name(leaf, check_name);
    }
}

fn check_name(name: &str) {
    assert!(!name.is_empty() && name.is_ascii() && name.len() <= 256);
}

/// A row of datagrams with their lengths in front.
pub fn dtls(data: &[u8]) {
    let mut input = Input::new(data);
    let mut association = DtlsHello::default();
    while !input.is_empty() {
        let datagram = input.chunk();
        let _ = looks_like_dtls(datagram);
        let step = association.datagram(datagram, BYTES_MAX, &mut |hello| {
            tell(hello);
        });
        if step == DtlsStep::MoreFragments
            && let Some(hello) = association.so_far()
        {
            tell(&hello);
        }
        assert!(association.memory_bytes() <= 2 * BYTES_MAX + (1 << 16));
    }
}
