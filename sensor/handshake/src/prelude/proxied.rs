//! The PROXY protocol, versions 1 and 2 (haproxy.org, doc/proxy-protocol.txt): with it a load balancer tells, before all
//! other bytes, whose connection it forwards, and which host the client had asked for.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::ops::Range;

use memchr::memchr;

use vigie_decode::Address;
use vigie_wire::Cursor;

/// What every header of version 2 begins with.
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

const VERSION_1: &[u8] = b"PROXY ";

/// Longest header of version 1, its line end included.
const LINE_BYTES_MAX: usize = 107;

/// Number of the field that holds the host name which the client had asked for: the server name of the hello that the
/// balancer read.
const AUTHORITY: u8 = 2;

/// An address and a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The address.
    pub address: Address,
    /// The port.
    pub port: u16,
}

/// The content of a PROXY header. Empty if the connection is the balancer's own or of a kind without addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proxied {
    /// Who connected to the balancer.
    pub source: Option<Endpoint>,
    /// Where it connected to.
    pub destination: Option<Endpoint>,
    /// Range in the header of the host name that the client asked for (version 2).
    pub authority: Option<Range<usize>>,
}

/// What stands at the start of some bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Header {
    /// No PROXY header.
    No,
    /// Too few bytes to tell, or the header is not complete.
    Maybe,
    /// A header, and its length.
    Yes(Proxied, usize),
}

/// Reads the header at the start of `bytes`, if it has no more than `bytes_max`. Looks at its first 107 bytes until it
/// is there whole.
pub(super) fn header(bytes: &[u8], bytes_max: usize) -> Header {
    if begins(bytes, VERSION_1) {
        version_1(bytes)
    } else if begins(bytes, SIGNATURE) {
        version_2(bytes, bytes_max)
    } else {
        Header::No
    }
}

/// Whether `bytes` begins with `start`, or is the beginning of it.
pub(super) fn begins(bytes: &[u8], start: &[u8]) -> bool {
    bytes.iter().zip(start).all(|(byte, expected)| byte == expected)
}

/// One line of text: protocol, both addresses, both ports.
fn version_1(bytes: &[u8]) -> Header {
    let window = bytes.get(..LINE_BYTES_MAX).unwrap_or(bytes);
    let Some(end) = memchr(b'\n', window) else {
        return if window.len() < LINE_BYTES_MAX { Header::Maybe } else { Header::No };
    };
    let line = window.get(VERSION_1.len()..end).and_then(|line| line.strip_suffix(b"\r"));
    match line.and_then(|line| line_fields(std::str::from_utf8(line).ok()?)) {
        Some(proxied) => Header::Yes(proxied, end + 1),
        None => Header::No,
    }
}

fn line_fields(line: &str) -> Option<Proxied> {
    let mut fields = line.split(' ');
    match fields.next()? {
        "UNKNOWN" => return Some(Proxied::default()),
        "TCP4" | "TCP6" => {}
        _ => return None,
    }
    let mut address = || fields.next()?.parse::<std::net::IpAddr>().ok();
    let (source, destination) = (address()?, address()?);
    let mut endpoint =
        |address: std::net::IpAddr| Some(Endpoint { address: address.into(), port: fields.next()?.parse().ok()? });
    Some(Proxied { source: Some(endpoint(source)?), destination: Some(endpoint(destination)?), authority: None })
}

/// Signature, version and command, family, length, then addresses and fields.
fn version_2(bytes: &[u8], bytes_max: usize) -> Header {
    let mut cursor = Cursor::new(bytes);
    let fixed = cursor.skip(SIGNATURE.len()).and_then(|()| Some((cursor.u8()?, cursor.u8()?, cursor.u16()?)));
    let Some((version, family, length)) = fixed else { return Header::Maybe };
    let total = SIGNATURE.len() + 4 + usize::from(length);
    if !matches!(version, 0x20 | 0x21) || total > bytes_max {
        return Header::No;
    }
    let Some(content) = cursor.take(usize::from(length)) else { return Header::Maybe };
    // Command LOCAL: the balancer's own connection; addresses are to be ignored.
    let proxied = if version == 0x20 { Proxied::default() } else { fields(content, family, total - content.len()) };
    Header::Yes(proxied, total)
}

fn fields(content: &[u8], family: u8, offset: usize) -> Proxied {
    let mut cursor = Cursor::new(content);
    let mut proxied = Proxied::default();
    let pair = match family >> 4 {
        1 => two_addresses(&mut cursor, |cursor| cursor.array().map(|octets| Ipv4Addr::from(octets).into())),
        2 => two_addresses(&mut cursor, |cursor| cursor.array().map(|octets: [u8; 16]| Ipv6Addr::from(octets).into())),
        3 => cursor.skip(216).map(|()| (None, None)),
        _ => Some((None, None)),
    };
    let Some((source, destination)) = pair else { return proxied };
    (proxied.source, proxied.destination) = (source, destination);
    while let Some((kind, value)) = cursor.u8().and_then(|kind| Some((kind, cursor.vector16()?))) {
        if kind == AUTHORITY && !value.is_empty() {
            let end = offset + content.len() - cursor.remaining();
            proxied.authority = Some(end - value.len()..end);
        }
    }
    proxied
}

type Pair = (Option<Endpoint>, Option<Endpoint>);

fn two_addresses(
    cursor: &mut Cursor<'_>,
    address: impl Fn(&mut Cursor<'_>) -> Option<std::net::IpAddr>,
) -> Option<Pair> {
    let (source, destination) = (address(cursor)?.into(), address(cursor)?.into());
    let (source_port, destination_port) = (cursor.u16()?, cursor.u16()?);
    Some((
        Some(Endpoint { address: source, port: source_port }),
        Some(Endpoint { address: destination, port: destination_port }),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const V1: &[u8] = b"PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n";
    const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x1a\x0a\0\0\x01\x0a\0\0\x02\x1f\x90\x01\xbb\
        \x04\0\x01\0\x02\0\x07tik.tok";

    fn endpoint(address: &str, port: u16) -> Option<Endpoint> {
        Some(Endpoint { address: address.parse::<std::net::IpAddr>().unwrap().into(), port })
    }

    #[test]
    fn reads_version_1() {
        let proxied = Proxied {
            source: endpoint("192.168.0.1", 56324),
            destination: endpoint("192.168.0.11", 443),
            authority: None,
        };
        assert_eq!(header(&[V1, b"GET"].concat(), 8192), Header::Yes(proxied, V1.len()));
        let unknown = b"PROXY UNKNOWN ffff:: ffff:: 65535 65535\r\n";
        assert_eq!(header(unknown, 8192), Header::Yes(Proxied::default(), unknown.len()));
        let Header::Yes(proxied, _) = header(b"PROXY TCP6 ::1 2001:db8::1 1 2\r\n", 8192) else { panic!() };
        assert_eq!(proxied.destination, endpoint("2001:db8::1", 2));
    }

    #[test]
    fn reads_version_2() {
        let Header::Yes(proxied, length) = header(&[V2, b"\x16"].concat(), 8192) else { panic!() };
        assert_eq!(length, V2.len());
        assert_eq!((proxied.source, proxied.destination), (endpoint("10.0.0.1", 8080), endpoint("10.0.0.2", 443)));
        assert_eq!(&V2[proxied.authority.unwrap()], b"tik.tok");
        let mut own = V2.to_vec();
        own[12] = 0x20;
        assert_eq!(header(&own, 8192), Header::Yes(Proxied::default(), own.len()));
        let v6 = [&V2[..13], &[0x21, 0, 36], &[0; 15], &[1], &[0; 15], &[2], &[0, 3, 0, 4]].concat();
        let Header::Yes(proxied, 52) = header(&v6, 8192) else { panic!() };
        assert_eq!((proxied.source, proxied.destination), (endpoint("::1", 3), endpoint("::2", 4)));
        let short = [&V2[..13], &[0x21, 0, 4, 1, 2, 3, 4]].concat();
        assert_eq!(header(&short, 8192), Header::Yes(Proxied::default(), 20), "addresses cut by their length");
    }

    #[test]
    fn knows_what_is_no_header() {
        for other in [
            &b"POST / HTTP/1.1\r\n"[..],
            b"PROXY TCP5 1.2.3.4 1.2.3.4 1 2\r\n",
            b"PROXY TCP4 1.2.3.4 1.2.3 1 2\r\n",
            b"PROXY TCP4 1.2.3.4 1.2.3.4 1 99999\r\n",
            b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n",
            b"\r\n\r\n\0\r\nQUIT\n\x11\x11\0\0",
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff",
            &[b"PROXY UNKNOWN ".as_slice(), &[b'a'; 107]].concat(),
        ] {
            assert_eq!(header(other, 8192), Header::No, "{other:x?}");
        }
        for whole in [V1, V2] {
            (0..whole.len()).for_each(|end| assert_eq!(header(&whole[..end], 8192), Header::Maybe, "{end}"));
        }
    }
}
