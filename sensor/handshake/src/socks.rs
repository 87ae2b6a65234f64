//! What a SOCKS client asks its proxy for: SOCKS4, SOCKS4a, SOCKS5 (RFC 1928) with or without user and password
//! (RFC 1929). Reads the client's side of the stream only, so it needs no answer of the proxy.
//! Not covered: GSSAPI (RFC 1961), which may encrypt the request, and datagrams relayed over UDP.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::Range;

use memchr::memchr;

use vigie_wire::Cursor;

/// Longest SOCKS4 user id that is read past.
pub const USER_ID_BYTES_MAX: usize = 255;

/// Longest domain; SOCKS5 cannot write a longer one.
pub const DOMAIN_BYTES_MAX: usize = 255;

/// What the start of a stream is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// No SOCKS request.
    NotSocks,
    /// It may become one.
    Incomplete,
    /// A request.
    Request(Request),
}

/// A request. Ranges are offsets in the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// 4 (with 4a) or 5.
    pub version: u8,
    /// What is asked for.
    pub command: Command,
    /// Where to.
    pub destination: Destination,
    /// The port there.
    pub port: u16,
    /// Where the request ends, and for [`Command::Connect`] the tunnelled stream begins.
    pub end: usize,
}

/// What a client asks its proxy for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// A connection to the destination.
    Connect,
    /// To await a connection from it.
    Bind,
    /// To relay datagrams; the destination is the client's own.
    UdpAssociate,
    /// To resolve a name, an extension of Tor's.
    Resolve,
}

/// Where a client wants to be connected to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// A host name, checked to have only bytes that names have.
    Domain(Range<usize>),
    /// An address.
    Address(IpAddr),
}

impl Request {
    /// Reads the request at the start of `stream`. Each call starts over; it searches at most 512
    /// bytes and parses no more than one address, so calling it again for every byte that arrives is bounded.
    pub fn parse(stream: &[u8]) -> Parsed {
        let outcome = match stream.first() {
            None => Err(Unfinished::Incomplete),
            Some(4) => version_4(stream),
            Some(5) => version_5(stream),
            Some(_) => Err(Unfinished::NotSocks),
        };
        match outcome {
            Ok(request) => Parsed::Request(request),
            Err(Unfinished::Incomplete) => Parsed::Incomplete,
            Err(Unfinished::NotSocks) => Parsed::NotSocks,
        }
    }
}

/// Why there is no request.
enum Unfinished {
    NotSocks,
    Incomplete,
}

/// What the cursor could not read has not arrived yet.
fn arrived<T>(read: Option<T>) -> Result<T, Unfinished> {
    read.ok_or(Unfinished::Incomplete)
}

fn require(holds: bool) -> Result<(), Unfinished> {
    if holds { Ok(()) } else { Err(Unfinished::NotSocks) }
}

/// Version, command, port, address, user id up to a zero, and for 4a the domain up to a zero.
fn version_4(stream: &[u8]) -> Result<Request, Unfinished> {
    let mut cursor = Cursor::new(stream);
    arrived(cursor.skip(1))?;
    let command = match arrived(cursor.u8())? {
        1 => Command::Connect,
        2 => Command::Bind,
        0xf0 => Command::Resolve,
        _ => return Err(Unfinished::NotSocks),
    };
    let port = arrived(cursor.u16())?;
    let address = arrived(cursor.array::<4>())?;
    let user_id = zero_ended(&mut cursor, USER_ID_BYTES_MAX)?;
    require(user_id.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' '))?;
    let destination = match address {
        // An address that cannot be: the domain follows.
        [0, 0, 0, 1..=255] => {
            let start = stream.len() - cursor.remaining();
            let domain = zero_ended(&mut cursor, DOMAIN_BYTES_MAX)?;
            destination(domain, start..start + domain.len()).ok_or(Unfinished::NotSocks)?
        }
        [first, ..] => {
            require(first != 0)?;
            Destination::Address(Ipv4Addr::from(address).into())
        }
    };
    Ok(Request { version: 4, command, destination, port, end: stream.len() - cursor.remaining() })
}

/// The bytes before the next zero, of which there may be `bytes_max`.
fn zero_ended<'a>(cursor: &mut Cursor<'a>, bytes_max: usize) -> Result<&'a [u8], Unfinished> {
    let rest = cursor.rest();
    let window = rest.get(..bytes_max + 1).unwrap_or(rest);
    match memchr(0, window) {
        Some(length) => {
            let bytes = arrived(cursor.take(length))?;
            arrived(cursor.skip(1))?;
            Ok(bytes)
        }
        None if window.len() <= bytes_max => Err(Unfinished::Incomplete),
        None => Err(Unfinished::NotSocks),
    }
}

/// Greeting, then user and password if the proxy chose them, then the request.
fn version_5(stream: &[u8]) -> Result<Request, Unfinished> {
    const GSSAPI: u8 = 1;
    const USER_AND_PASSWORD: u8 = 2;

    let mut cursor = Cursor::new(stream);
    arrived(cursor.skip(1))?;
    require(arrived(cursor.peek())? != 0)?;
    let methods = arrived(cursor.vector8())?;
    let next = arrived(cursor.u8())?;
    if next == 1 {
        // GSSAPI messages begin with the same byte, but then the proxy was offered that.
        require(methods.contains(&USER_AND_PASSWORD) && !methods.contains(&GSSAPI))?;
        arrived(cursor.vector8())?;
        arrived(cursor.vector8())?;
        require(arrived(cursor.u8())? == 5)?;
    } else {
        require(next == 5)?;
    }
    let command = match arrived(cursor.u8())? {
        1 => Command::Connect,
        2 => Command::Bind,
        3 => Command::UdpAssociate,
        0xf0 => Command::Resolve,
        _ => return Err(Unfinished::NotSocks),
    };
    require(arrived(cursor.u8())? == 0)?;
    let destination = match arrived(cursor.u8())? {
        1 => Destination::Address(Ipv4Addr::from(arrived(cursor.array::<4>())?).into()),
        3 => {
            let domain = arrived(cursor.vector8())?;
            let end = stream.len() - cursor.remaining();
            destination(domain, end - domain.len()..end).ok_or(Unfinished::NotSocks)?
        }
        4 => Destination::Address(Ipv6Addr::from(arrived(cursor.array::<16>())?).into()),
        _ => return Err(Unfinished::NotSocks),
    };
    let port = arrived(cursor.u16())?;
    Ok(Request { version: 5, command, destination, port, end: stream.len() - cursor.remaining() })
}

/// A domain, or an address that a client wrote in its place.
fn destination(text: &[u8], range: Range<usize>) -> Option<Destination> {
    let address = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
    match address {
        Some(address) => Some(Destination::Address(address)),
        None => is_domain(text).then_some(Destination::Domain(range)),
    }
}

fn is_domain(text: &[u8]) -> bool {
    !text.is_empty()
        && text.iter().all(|&byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | 0x80..))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn request(stream: &[u8]) -> Request {
        match Request::parse(stream) {
            Parsed::Request(request) => request,
            other => panic!("{other:?}"),
        }
    }

    fn domain<'a>(stream: &'a [u8], request: &Request) -> &'a str {
        match &request.destination {
            Destination::Domain(range) => std::str::from_utf8(&stream[range.clone()]).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    const SOCKS5: &[u8] = b"\x05\x02\x00\x02\x05\x01\x00\x03\x0ewww.tiktok.com\x01\xbb";
    const SOCKS5_PASSWORD: &[u8] = b"\x05\x02\x00\x02\x01\x04user\x03pwd\x05\x01\x00\x03\x01a\x00\x50";
    const SOCKS4: &[u8] = b"\x04\x01\x01\xbb\xcb\x00\x71\x07me\0";
    const SOCKS4A: &[u8] = b"\x04\x01\x01\xbb\x00\x00\x00\x01\0www.tiktok.com\0";

    #[test]
    fn reads_version_5() {
        let stream = [SOCKS5, b"\x16\x03\x01"].concat();
        let found = request(&stream);
        assert_eq!(domain(&stream, &found), "www.tiktok.com");
        assert_eq!((found.version, found.command, found.port, found.end), (5, Command::Connect, 443, SOCKS5.len()));
        let found = request(SOCKS5_PASSWORD);
        assert_eq!((domain(SOCKS5_PASSWORD, &found), found.port, found.end), ("a", 80, SOCKS5_PASSWORD.len()));
        let to_address = b"\x05\x01\x00\x05\x01\x00\x04\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x09\x1f\x90";
        let found = request(to_address);
        assert_eq!(found.destination, Destination::Address("2001:db8::9".parse().unwrap()));
        assert_eq!((found.port, found.end), (8080, to_address.len()));
        let literal = b"\x05\x01\x00\x05\x03\x00\x03\x07192.0.2\x00\x50";
        assert!(matches!(request(literal).destination, Destination::Domain(_)), "no address, only looks like one");
        let literal = b"\x05\x01\x00\x05\x03\x00\x03\x09192.0.2.1\x00\x50";
        assert_eq!(request(literal).destination, Destination::Address("192.0.2.1".parse().unwrap()));
        assert_eq!(request(literal).command, Command::UdpAssociate);
    }

    #[test]
    fn reads_version_4_and_4a() {
        let found = request(SOCKS4);
        assert_eq!(found.destination, Destination::Address("203.0.113.7".parse().unwrap()));
        assert_eq!((found.version, found.port, found.end), (4, 443, SOCKS4.len()));
        let found = request(SOCKS4A);
        assert_eq!((domain(SOCKS4A, &found), found.end), ("www.tiktok.com", SOCKS4A.len()));
    }

    #[test]
    fn knows_what_is_no_request() {
        for other in [
            &b"\x06\x01"[..],
            b"\x05\x00",
            b"\x05\x01\x00\x16",
            b"\x05\x01\x00\x01",
            b"\x05\x02\x01\x02\x01\x01",
            b"\x05\x01\x00\x05\x09",
            b"\x05\x01\x00\x05\x01\x01",
            b"\x05\x01\x00\x05\x01\x00\x02",
            b"\x05\x01\x00\x05\x01\x00\x03\x00",
            b"\x05\x01\x00\x05\x01\x00\x03\x03a b\x00\x50",
            b"\x04\x03",
            b"\x04\x01\x00\x50\x00\x01\x00\x00\0",
            b"\x04\x01\x00\x50\x01\x02\x03\x04\xff\0",
            b"\x04\x01\x00\x50\x00\x00\x00\x01\0\0",
        ] {
            assert_eq!(Request::parse(other), Parsed::NotSocks, "{other:x?}");
        }
        let unended = |length| Request::parse(&[&SOCKS4[..8], &vec![b'a'; length]].concat());
        assert_eq!(unended(USER_ID_BYTES_MAX), Parsed::Incomplete);
        assert_eq!(unended(USER_ID_BYTES_MAX + 1), Parsed::NotSocks);
    }

    #[test]
    fn every_prefix_is_incomplete_until_the_request_ends() {
        for stream in [SOCKS5, SOCKS5_PASSWORD, SOCKS4, SOCKS4A] {
            for end in 0..stream.len() {
                assert_eq!(Request::parse(&stream[..end]), Parsed::Incomplete, "{end} of {stream:x?}");
            }
        }
    }

    proptest! {
        /// A verdict on a prefix must be the verdict on the whole.
        #[test]
        fn a_longer_stream_changes_no_verdict(
            start in prop::sample::select(vec![&b""[..], &SOCKS5[..4], &SOCKS5[..8], &SOCKS5_PASSWORD[..5], &SOCKS4A[..8]]),
            rest in proptest::collection::vec(any::<u8>(), 0..80),
        ) {
            let stream = [start, &rest].concat();
            let whole = Request::parse(&stream);
            for end in 0..stream.len() {
                let parsed = Request::parse(&stream[..end]);
                prop_assert!(parsed == Parsed::Incomplete || parsed == whole);
            }
        }
    }
}
