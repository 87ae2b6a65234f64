//! What the next message in front of a hello is, told by its first bytes.

use super::hello::{HANDSHAKE_RECORD, Match, Place, RECORD_BYTES_MAX, client_hello_at};
use super::proxied::{self, Proxied};
use super::upgrade;
use crate::{http, socks};

/// Starts of streams on which no hello follows: the server's side of known protocols, and protocols that have their own
/// encryption or none.
const NOT_BEFORE_A_HELLO: [&[u8]; 13] = [
    b"HTTP/1.",
    b"SSH-",
    b"PRI * HTTP/2",
    b"220 ",
    b"220-",
    b"+OK",
    b"* OK",
    b"RTSP/1.",
    b"SIP/2.0 ",
    b"RFB 00",
    b"@RSYNCD:",
    b"ICY 200",
    b"\x13BitTorrent protocol",
];

/// What stands at a message's start.
pub(super) enum Message {
    /// It is not clear yet.
    Unclear,
    /// A hello.
    Hello,
    /// Nothing known.
    Unknown,
    /// Something that no hello follows.
    NoHello,
    /// A request of this length that a hello may follow.
    Upgrade(usize),
    /// A PROXY header, and its length.
    Proxied(Proxied, usize),
    /// An HTTP request.
    Http,
    /// A SOCKS request.
    Socks(socks::Request),
}

impl Message {
    /// What stands at the start of `rest`. More bytes change only [`Unclear`](Self::Unclear).
    pub(super) fn of(rest: &[u8], bytes_max: usize) -> Self {
        match rest.first() {
            None => return Self::Unclear,
            Some(&HANDSHAKE_RECORD) => return handshake_record(rest),
            // Encrypted TLS records: the hello has passed. (An alert may precede a hello, so it is searched past.)
            Some(0x17) => match rest {
                [_] | [_, 3] => return Self::Unclear,
                [_, 3, 0..=4, ..] => return Self::NoHello,
                _ => return Self::Unknown,
            },
            Some(_) => {}
        }
        match upgrade::binary(rest) {
            upgrade::Request::Yes(length) => return Self::Upgrade(length),
            upgrade::Request::Maybe => return Self::Unclear,
            upgrade::Request::No => {}
        }
        match proxied::header(rest, bytes_max) {
            proxied::Header::Yes(proxied, length) => return Self::Proxied(proxied, length),
            proxied::Header::Maybe => return Self::Unclear,
            proxied::Header::No => {}
        }
        for start in NOT_BEFORE_A_HELLO {
            if proxied::begins(rest, start) {
                return if rest.len() >= start.len() { Self::NoHello } else { Self::Unclear };
            }
        }
        match socks::Request::parse(rest) {
            socks::Parsed::Request(request) => Self::Socks(request),
            socks::Parsed::Incomplete => Self::Unclear,
            socks::Parsed::NotSocks if http::may_be_request(rest) => Self::Http,
            socks::Parsed::NotSocks => Self::Unknown,
        }
    }
}

/// A handshake record, or what looks like one so far. Five bytes refuse a length that no record has, whatever follows.
fn handshake_record(rest: &[u8]) -> Message {
    match client_hello_at(rest, 0, Place::Boundary) {
        Match::Yes => Message::Hello,
        Match::Maybe => Message::Unclear,
        // A ServerHello: this is the server's side.
        Match::No if begins_server_hello(rest) => Message::NoHello,
        Match::No => Message::Unknown,
    }
}

fn begins_server_hello(record: &[u8]) -> bool {
    let &[_, 3, _, high, low, 2, ..] = record else { return false };
    (1..=RECORD_BYTES_MAX).contains(&u16::from_be_bytes([high, low]))
}
