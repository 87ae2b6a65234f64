//! Reads what a SOCKS client asks its proxy for: SOCKS4, SOCKS4a, SOCKS5 (RFC 1928) without authentication, with user and
//! password (RFC 1929) or GSSAPI (RFC 1961), and the header of datagrams that a SOCKS5 proxy relays (RFC 1928 §7).
//! Reads the client's side of the stream only, so it needs no answer of the proxy.
//! Not covered: requests that GSSAPI encapsulates, and fragments of relayed datagrams.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::Range;

use memchr::memchr;

use vigie_wire::Cursor;

/// Longest SOCKS4 user id that is skipped.
pub const USER_ID_BYTES_MAX: usize = 255;

/// How many messages of GSSAPI a client may send before its request.
const GSSAPI_MESSAGES_MAX: usize = 16;

const VERSION_5: u8 = 5;

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
    /// Reads the request at the start of `stream`. Each call starts over, but skips by lengths and searches at most 512
    /// bytes, so calling it again for every byte that arrives stays cheap.
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

/// Greeting, then the messages of the method that the proxy chose, then the request. The choice is the proxy's to tell;
/// from the client's side it shows in what follows.
fn version_5(stream: &[u8]) -> Result<Request, Unfinished> {
    const GSSAPI: u8 = 1;
    const USER_AND_PASSWORD: u8 = 2;

    let mut cursor = Cursor::new(stream);
    arrived(cursor.skip(1))?;
    require(arrived(cursor.peek())? != 0)?;
    let methods = arrived(cursor.vector8())?;
    let next = arrived(cursor.peek())?;
    if next == VERSION_5 {
        return request_5(stream, cursor);
    }
    // Messages of both methods begin with the same byte, and some can be read as either.
    require(next == 1)?;
    let behind = |method: u8, messages: fn(Cursor<'_>) -> Result<Cursor<'_>, Unfinished>| {
        require(methods.contains(&method))?;
        request_5(stream, messages(cursor)?)
    };
    first_to_end(behind(USER_AND_PASSWORD, user_and_password), behind(GSSAPI, gssapi))
}

/// Of two readings of a stream the one that ends first, so that what follows does not change it.
fn first_to_end(one: Result<Request, Unfinished>, other: Result<Request, Unfinished>) -> Result<Request, Unfinished> {
    match (one, other) {
        (Ok(one), Ok(other)) => Ok(if one.end <= other.end { one } else { other }),
        (Ok(request), Err(_)) | (Err(_), Ok(request)) => Ok(request),
        (Err(Unfinished::NotSocks), Err(Unfinished::NotSocks)) => Err(Unfinished::NotSocks),
        _ => Err(Unfinished::Incomplete),
    }
}

/// User and password, each of which may be empty (RFC 1929 §2).
fn user_and_password(mut cursor: Cursor<'_>) -> Result<Cursor<'_>, Unfinished> {
    arrived(cursor.skip(1))?;
    arrived(cursor.vector8())?;
    arrived(cursor.vector8())?;
    require(arrived(cursor.peek())? == VERSION_5)?;
    Ok(cursor)
}

/// The client's messages of GSSAPI: context and protection level (RFC 1961 §3.1, §4.1). Encapsulated ones are not read.
fn gssapi(mut cursor: Cursor<'_>) -> Result<Cursor<'_>, Unfinished> {
    for _ in 0..GSSAPI_MESSAGES_MAX {
        match arrived(cursor.u8())? {
            1 => {}
            _ => return Err(Unfinished::NotSocks),
        }
        require(matches!(arrived(cursor.u8())?, 1 | 2))?;
        arrived(cursor.vector16())?;
        if arrived(cursor.peek())? == VERSION_5 {
            return Ok(cursor);
        }
    }
    Err(Unfinished::NotSocks)
}

/// Version, command, a reserved byte that is ignored, destination, port (RFC 1928 §4).
fn request_5<'a>(stream: &'a [u8], mut cursor: Cursor<'a>) -> Result<Request, Unfinished> {
    arrived(cursor.skip(1))?;
    let command = match arrived(cursor.u8())? {
        1 => Command::Connect,
        2 => Command::Bind,
        3 => Command::UdpAssociate,
        0xf0 => Command::Resolve,
        _ => return Err(Unfinished::NotSocks),
    };
    arrived(cursor.skip(1))?;
    let (destination, port) = destination_5(stream, &mut cursor)?;
    Ok(Request { version: VERSION_5, command, destination, port, end: stream.len() - cursor.remaining() })
}

/// Address type, address, port.
fn destination_5<'a>(stream: &'a [u8], cursor: &mut Cursor<'a>) -> Result<(Destination, u16), Unfinished> {
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
    Ok((destination, arrived(cursor.u16())?))
}

/// A datagram that a client sends through a SOCKS5 proxy, or gets from it (RFC 1928 §7).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relayed<'a> {
    /// Where the datagram goes to, or comes from. The range is one of the whole payload.
    pub destination: Destination,
    /// The port there.
    pub port: u16,
    /// The datagram itself.
    pub payload: &'a [u8],
}

impl<'a> Relayed<'a> {
    /// Reads the header in front of a relayed datagram: two reserved bytes and a fragment number, all zero, then the
    /// address. Fragments are rarely implemented by proxies, and not read. Short and loose as it is, the header should be
    /// believed only if the datagram behind it makes sense.
    #[inline]
    pub fn parse(payload: &'a [u8]) -> Option<Self> {
        match payload {
            [0, 0, 0, 1 | 3 | 4, ..] => Self::parse_header(payload),
            _ => None,
        }
    }

    #[cold]
    fn parse_header(payload: &'a [u8]) -> Option<Self> {
        let mut cursor = Cursor::new(payload);
        cursor.skip(3)?;
        let (destination, port) = destination_5(payload, &mut cursor).ok()?;
        Some(Self { destination, port, payload: cursor.rest() })
    }
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
    fn reads_the_request_behind_any_authentication() {
        let plain = b"\x05\x01\x00\x03\x0ewww.tiktok.com\x01\xbb";
        for before in [
            // Without, with a password, with an empty one; GSSAPI offered too, before and after.
            &b"\x05\x04\x00\x01\x02\xfe"[..],
            b"\x05\x02\x00\x02\x01\x04user\x03pwd",
            b"\x05\x03\x00\x01\x02\x01\x04user\x00",
            b"\x05\x03\x00\x01\x02\x01\x01u\x01p",
            b"\x05\x02\x02\x01\x01\x00\x00",
            // GSSAPI: context in two messages, protection level.
            b"\x05\x02\x00\x01\x01\x01\x00\x03\x60\x61\x62\x01\x01\x00\x00\x01\x02\x00\x01\x05",
            b"\x05\x02\x01\x02\x01\x01\x00\x08\x60\x06\x06\x04\x2b\x01\x05\x05",
        ] {
            let stream = [before, plain].concat();
            let found = request(&stream);
            assert_eq!(domain(&stream, &found), "www.tiktok.com", "{before:x?}");
            assert_eq!((found.port, found.end), (443, stream.len()));
            for end in 0..stream.len() {
                assert_eq!(Request::parse(&stream[..end]), Parsed::Incomplete, "{end} of {stream:x?}");
            }
        }
        let encapsulated = b"\x05\x01\x01\x01\x01\x00\x01a\x01\x03\x00\x02zz";
        assert_eq!(Request::parse(encapsulated), Parsed::NotSocks);
        let reserved = b"\x05\x01\x00\x05\x01\xff\x03\x01a\x00\x50";
        assert_eq!(request(reserved).port, 80);
    }

    #[test]
    fn of_two_readings_the_first_that_ends_is_the_request() {
        // As GSSAPI the request follows a message of one byte; as user and password that byte is the length of a password.
        let stream = [&b"\x05\x02\x01\x02"[..], b"\x01\x02\x00\x01\xff", b"\x05\x02\x00\x03\x01a\x00\x50"].concat();
        let found = request(&stream);
        assert_eq!((found.command, found.end), (Command::Bind, stream.len()));
        for rest in [&[0; 300][..], &[5; 300], &[b'\x05', 1, 0, 3, 1, b'b', 0, 80].repeat(40)] {
            assert_eq!(request(&[&stream, rest].concat()), found, "{rest:x?}");
        }
    }

    #[test]
    fn reads_the_header_of_relayed_datagrams() {
        let to_address = Relayed::parse(b"\0\0\0\x01\xc0\0\x02\x50\x01\xbbdata").unwrap();
        assert_eq!(to_address.destination, Destination::Address("192.0.2.80".parse().unwrap()));
        assert_eq!((to_address.port, to_address.payload), (443, &b"data"[..]));
        let payload = [&b"\0\0\0\x03\x0ewww.tiktok.com\x01\xbb"[..], b"data"].concat();
        let to_domain = Relayed::parse(&payload).unwrap();
        let Destination::Domain(range) = to_domain.destination else { panic!("{to_domain:?}") };
        assert_eq!((&payload[range], to_domain.payload), (&b"www.tiktok.com"[..], &b"data"[..]));
        let to_v6 = [&b"\0\0\0\x04"[..], &[0x20; 16], &[1, 0xbb, 9]].concat();
        assert_eq!(Relayed::parse(&to_v6).map(|relayed| relayed.payload), Some(&[9][..]));
        for other in [&b"\0\0\x01\x01\xc0\0\x02\x50\x01\xbb"[..], b"\0\0\0\x02", b"\0\0\0\x01\xc0\0\x02\x50\x01", b""] {
            assert_eq!(Relayed::parse(other), None, "{other:x?}");
        }
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
            b"\x05\x01\x00\x05\x09",
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
            start in prop::sample::select(vec![&b""[..], &SOCKS5[..4], &SOCKS5[..8], &SOCKS5_PASSWORD[..5], &SOCKS4A[..8], b"\x05\x02\x01\x02\x01"]),
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
