//! The host an HTTP/1 request is for (RFC 9112): Host header, authority of an absolute target, target of CONNECT.
//! Not covered: HTTP/2 without TLS, bodies, requests after the first, responses.

use std::ops::Range;

use memchr::memchr;

/// How many bytes of a request head are looked at.
pub const HEAD_BYTES_MAX: usize = 8192;

/// Longest host that is reported; DNS knows none longer.
pub const HOST_BYTES_MAX: usize = 255;

/// A method, of those registered in RFC 9110 §9.3 and RFC 5789.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
#[rustfmt::skip]
pub enum Method { Get, Post, Head, Put, Delete, Options, Patch, Trace, Connect }

impl Method {
    const ALL: [(Self, &'static [u8]); 9] = [
        (Self::Get, b"GET "),
        (Self::Post, b"POST "),
        (Self::Head, b"HEAD "),
        (Self::Put, b"PUT "),
        (Self::Delete, b"DELETE "),
        (Self::Options, b"OPTIONS "),
        (Self::Patch, b"PATCH "),
        (Self::Trace, b"TRACE "),
        (Self::Connect, b"CONNECT "),
    ];
}

/// What the start of a stream is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// No request, or none that names a host within [`HEAD_BYTES_MAX`].
    NotHttp,
    /// It may become a request that names a host.
    Incomplete,
    /// A request. Its host is final; `head_end` may still be missing.
    Request(Request),
}

/// A request as far as it was read. Ranges are offsets in the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// The host, neither port nor brackets, as it stands; 1 to [`HOST_BYTES_MAX`] bytes. `None` if the whole head
    /// names none.
    pub host: Option<Range<usize>>,
    /// The port, if one is written.
    pub port: Option<u16>,
    /// Where the head ends: what follows a CONNECT's head is the tunnelled stream. `None` until it has arrived.
    pub head_end: Option<usize>,
}

impl Request {
    /// Reads the request at the start of `stream`. Each call starts over, in time linear in what it looks at, 8 KiB at
    /// most; for a stream that arrives in many pieces keep a [`RequestReader`].
    pub fn parse(stream: &[u8]) -> Parsed {
        RequestReader::default().advance(stream)
    }
}

/// Whether a stream beginning with these bytes may be a request; looks at the first eight bytes (ten with an empty
/// line in front).
#[inline]
pub fn may_be_request(stream: &[u8]) -> bool {
    let start = empty_lines(stream);
    let stream = stream.get(start..).unwrap_or_default();
    Method::ALL.iter().any(|(_, token)| token.iter().zip(stream).all(|(token, byte)| token == byte))
}

/// Reads one request from a growing prefix of its stream. Complete lines are looked at once, the unfinished line's end
/// is searched only in what is new: all calls together take time linear in the stream.
#[derive(Clone, Debug, Default)]
pub struct RequestReader {
    /// Start of the first line not yet looked at.
    line_start: u16,
    /// No line feed stands between `line_start` and here.
    searched: u16,
    method: Option<Method>,
    /// Where the host begins and ends, and its port.
    host: Option<(u16, u16, Option<u16>)>,
    head_end: Option<u16>,
    refused: bool,
}

// Every stream that is listened to has room for one: of heads, whose bytes are few, short offsets.
const _: () = assert!(HEAD_BYTES_MAX <= u16::MAX as usize && size_of::<RequestReader>() <= 24);

impl RequestReader {
    /// Looks at `stream`, which must begin with what earlier calls were given. Once it said [`Parsed::NotHttp`] it
    /// says nothing else.
    pub fn advance(&mut self, stream: &[u8]) -> Parsed {
        let seen = stream.get(..HEAD_BYTES_MAX).unwrap_or(stream);
        while self.head_end.is_none() && !self.refused {
            if self.method.is_none() {
                self.line_start = self.line_start.max(empty_lines(seen) as u16);
                self.searched = self.searched.max(self.line_start);
                self.refused = !may_be_request(seen);
            }
            let searched = usize::from(self.searched);
            let Some(found) = seen.get(searched..).and_then(|rest| memchr(b'\n', rest)) else {
                self.searched = seen.len() as u16;
                break;
            };
            let next = searched + found + 1;
            self.line(seen, usize::from(self.line_start)..next - 1, next);
            (self.line_start, self.searched) = (next as u16, next as u16);
        }
        self.parsed(seen.len() == HEAD_BYTES_MAX)
    }

    fn parsed(&self, is_last: bool) -> Parsed {
        match (self.refused, self.method) {
            (false, Some(method)) if self.host.is_some() || self.head_end.is_some() => {
                let host = self.host.map(|(start, end, _)| usize::from(start)..usize::from(end));
                let port = self.host.and_then(|(.., port)| port);
                Parsed::Request(Request { method, host, port, head_end: self.head_end.map(usize::from) })
            }
            (false, _) if !is_last => Parsed::Incomplete,
            _ => Parsed::NotHttp,
        }
    }

    /// Takes in a line, its line feed not included. A bare line feed ends a line too (RFC 9112 §2.2).
    fn line(&mut self, stream: &[u8], mut range: Range<usize>, next: usize) {
        if stream.get(range.clone()).is_some_and(|line| line.ends_with(b"\r")) {
            range.end -= 1;
        }
        let line = stream.get(range.clone()).unwrap_or_default();
        if self.method.is_none() {
            self.request_line(line, range.start);
        } else if line.is_empty() {
            self.head_end = Some(next as u16);
        } else if self.host.is_none() {
            self.host = host_header(line, range.start);
        }
    }

    /// Method, target, version (RFC 9112 §3).
    fn request_line(&mut self, line: &[u8], offset: usize) {
        let method = Method::ALL.iter().find(|(_, token)| line.starts_with(token));
        let target = method.and_then(|&(method, token)| {
            let target = line.get(token.len()..line.len().checked_sub(b" HTTP/1.1".len())?)?;
            let version = line.get(token.len() + target.len()..)?;
            matches!(version, b" HTTP/1.1" | b" HTTP/1.0").then_some((method, target, offset + token.len()))
        });
        let Some((method, target, offset)) = target else {
            self.refused = true;
            return;
        };
        self.method = Some(method);
        self.host = match (method, scheme_end(target)) {
            // RFC 9112 §3.2.3 and §3.2.2; both outweigh a Host header.
            (Method::Connect, _) => authority(target, offset),
            (_, Some(start)) => target.get(start..).and_then(|rest| {
                let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?' | b'#')).unwrap_or(rest.len());
                let user_end = rest.get(..end)?.iter().rposition(|&byte| byte == b'@').map_or(0, |at| at + 1);
                authority(rest.get(user_end..end)?, offset + start + user_end)
            }),
            _ => None,
        };
    }
}

/// How many bytes of empty lines stand in front; a server should skip at least one (RFC 9112 §2.2).
fn empty_lines(stream: &[u8]) -> usize {
    match stream {
        [b'\r', b'\n', ..] => 2,
        [b'\r' | b'\n'] => 1,
        [b'\n', ..] => 1,
        _ => 0,
    }
}

/// Where the authority begins in an absolute target.
fn scheme_end(target: &[u8]) -> Option<usize> {
    let colon = memchr(b':', target.get(..8).unwrap_or(target))?;
    let scheme = target.get(..colon)?;
    let known = [&b"http"[..], b"https", b"ftp", b"ws", b"wss"].iter().any(|known| scheme.eq_ignore_ascii_case(known));
    (known && target.get(colon..)?.starts_with(b"://")).then_some(colon + 3)
}

/// Host and port of a Host header line.
fn host_header(line: &[u8], offset: usize) -> Option<(u16, u16, Option<u16>)> {
    let (name, value) = line.split_at_checked(b"host:".len())?;
    if !name.eq_ignore_ascii_case(b"host:") {
        return None;
    }
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let start = value.iter().position(|byte| !blank(byte))?;
    let end = value.iter().rposition(|byte| !blank(byte))? + 1;
    authority(value.get(start..end)?, offset + name.len() + start)
}

/// Host and port of `host`, `host:port`, `[address]` or `[address]:port` (RFC 3986 §3.2). `None` if that is no host:
/// empty, too long, or with bytes that none has.
fn authority(text: &[u8], offset: usize) -> Option<(u16, u16, Option<u16>)> {
    let (start, host, rest) = match text.strip_prefix(b"[") {
        Some(inner) => {
            let end = memchr(b']', inner)?;
            (1, inner.get(..end)?, inner.get(end + 1..)?)
        }
        None => {
            let end = memchr(b':', text).unwrap_or(text.len());
            (0, text.get(..end)?, text.get(end..)?)
        }
    };
    let plausible = !host.is_empty()
        && host.len() <= HOST_BYTES_MAX
        && host.iter().all(|&byte| byte > b' ' && !matches!(byte, 0x7f | b'/' | b'@' | b'"' | b'<' | b'>' | b'\\'));
    let port = match rest {
        [] | [b':'] => None,
        [b':', digits @ ..] => Some(std::str::from_utf8(digits).ok()?.parse().ok()?),
        _ => return None,
    };
    let start = offset + start;
    plausible.then_some((start as u16, (start + host.len()) as u16, port))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Told<'a> = (Method, Option<&'a str>, Option<u16>, Option<usize>);

    fn request(stream: &[u8]) -> Option<Told<'_>> {
        match Request::parse(stream) {
            Parsed::Request(Request { method, host, port, head_end }) => {
                let host = host.map(|range| std::str::from_utf8(&stream[range]).unwrap());
                Some((method, host, port, head_end))
            }
            _ => None,
        }
    }

    fn host(stream: &str) -> Option<&str> {
        request(stream.as_bytes()).and_then(|(_, host, _, _)| host)
    }

    const BROWSER: &[u8] =
        b"GET /@user/video/1 HTTP/1.1\r\nUser-Agent: Mozilla/5.0\r\nhOsT: \t www.tiktok.com:8080 \r\n\
        Accept: */*\r\n\r\nrest";

    #[test]
    fn reads_the_host_header() {
        assert_eq!(request(BROWSER), Some((Method::Get, Some("www.tiktok.com"), Some(8080), Some(BROWSER.len() - 4))));
        assert_eq!(host("POST /a HTTP/1.0\nHost:a.example\n\n"), Some("a.example"), "bare line feeds");
        assert_eq!(host("\r\nGET / HTTP/1.1\r\nHost: a\r\n"), Some("a"), "an empty line in front, the head not ended");
        assert_eq!(host("GET / HTTP/1.1\r\nHost: [2001:db8::1]:80\r\n"), Some("2001:db8::1"));
        assert_eq!(host("GET / HTTP/1.1\r\nHost: one\r\nHost: two\r\n\r\n"), Some("one"));
        assert_eq!(host("GET / HTTP/1.1\r\nX-Host: a\r\n Host: b\r\nHost : c\r\nHosts: d\r\n\r\n"), None);
        assert_eq!(
            request(b"GET / HTTP/1.0\r\n\r\n"),
            Some((Method::Get, None, None, Some(18))),
            "HTTP/1.0 needs no host"
        );
    }

    #[test]
    fn an_absolute_target_outweighs_the_header() {
        for (line, expected) in [
            ("GET http://v16.tiktokcdn.com/a?b=http://x HTTP/1.1", Some("v16.tiktokcdn.com")),
            ("GET HTTPS://user:p@ss@a.example:444?q HTTP/1.1", Some("a.example")),
            ("GET http://[::1]/ HTTP/1.1", Some("::1")),
            ("GET /redirect?to=http://a.example/ HTTP/1.1", Some("b.example")),
            ("GET http:///path HTTP/1.1", Some("b.example")),
            ("OPTIONS * HTTP/1.1", Some("b.example")),
        ] {
            assert_eq!(host(&format!("{line}\r\nHost: b.example\r\n\r\n")), expected, "{line}");
        }
    }

    #[test]
    fn a_connect_gives_its_target_and_where_the_tunnel_begins() {
        let head =
            b"CONNECT www.tiktok.com:443 HTTP/1.1\r\nHost: proxy.example:3128\r\nProxy-Connection: keep-alive\r\n\r\n";
        let stream = [&head[..], b"\x16\x03\x01"].concat();
        assert_eq!(request(&stream), Some((Method::Connect, Some("www.tiktok.com"), Some(443), Some(head.len()))));
        assert_eq!(request(&stream[..40]), Some((Method::Connect, Some("www.tiktok.com"), Some(443), None)));
        assert_eq!(host("CONNECT [2001:db8::2]:443 HTTP/1.1\r\n"), Some("2001:db8::2"));
    }

    #[test]
    fn knows_what_is_no_request() {
        for other in [
            "HTTP/1.1 200 OK\r\n\r\n",
            "GETX / HTTP/1.1\r\nHost: a\r\n\r\n",
            "get / HTTP/1.1\r\nHost: a\r\n\r\n",
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            "OPTIONS sip:a@b SIP/2.0\r\nHost: a\r\n\r\n",
            "GET /old\r\n",
            "GET HTTP/1.1\r\n",
            "220 smtp\r\n",
            "\r\n\r\n\r\nGET / HTTP/1.1\r\n",
        ] {
            assert_eq!(Request::parse(other.as_bytes()), Parsed::NotHttp, "{other}");
        }
        for start in ["", "\r", "\r\n", "C", "CONNECT", "GET ", "GET /long", "GET / HTTP/1.1\r\nHost: a"] {
            assert_eq!(Request::parse(start.as_bytes()), Parsed::Incomplete, "{start}");
        }
    }

    #[test]
    fn hosts_that_are_none_are_left_out() {
        let long = "a".repeat(HOST_BYTES_MAX + 1);
        for bad in ["", " ", "a b", "a/b", "user@host", "a:port", "a:99999", "[::1", "\u{1}", long.as_str()] {
            assert_eq!(host(&format!("GET / HTTP/1.1\r\nHost: {bad}\r\n\r\n")), None, "{bad:?}");
        }
        assert_eq!(host(&format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", &long[1..])), Some(&long[1..]));
    }

    #[test]
    fn a_head_without_host_ends_at_the_limit() {
        let endless = [b"GET / HTTP/1.1\r\n".to_vec(), b"A: b\r\n".repeat(HEAD_BYTES_MAX)].concat();
        assert_eq!(Request::parse(&endless[..HEAD_BYTES_MAX - 1]), Parsed::Incomplete);
        assert_eq!(Request::parse(&endless), Parsed::NotHttp);
        let long_target = [b"GET /".to_vec(), vec![b'a'; HEAD_BYTES_MAX]].concat();
        assert_eq!(Request::parse(&long_target), Parsed::NotHttp);
    }

    /// Whatever was said of a prefix must not be taken back, and a reader fed byte by byte must say what a fresh one
    /// says.
    fn byte_by_byte_equals_whole(stream: &[u8]) {
        let mut reader = RequestReader::default();
        let mut host = None;
        for end in 0..=stream.len() {
            let parsed = reader.advance(&stream[..end]);
            assert_eq!(parsed, Request::parse(&stream[..end]), "at {end}");
            if let Parsed::Request(request) = parsed {
                assert!(host.is_none() || host == request.host);
                host = request.host;
            }
        }
    }

    #[test]
    fn one_byte_at_a_time_equals_whole_delivery() {
        byte_by_byte_equals_whole(BROWSER);
        byte_by_byte_equals_whole(b"\r\nCONNECT a:1 HTTP/1.1\n\n\n");
        byte_by_byte_equals_whole(b"\n\nGET / HTTP/1.1\r\n");
    }

    proptest! {
        #[test]
        fn pieces_of_requests_are_read_alike_in_any_delivery(
            pieces in proptest::collection::vec(prop::sample::select(vec![
                "GET ", "CONNECT ", "/", "http://", "a.example", ":443", " ", " HTTP/1.1", "\r\n", "\n", "\r", "Host:",
                "[::1]", "@", "\u{e9}", "x",
            ]), 0..14),
        ) {
            byte_by_byte_equals_whole(pieces.concat().as_bytes());
        }

        #[test]
        fn any_bytes_are_survived(stream in proptest::collection::vec(any::<u8>(), 0..200)) {
            byte_by_byte_equals_whole(&stream);
            byte_by_byte_equals_whole(&[b"GET http://".as_slice(), &stream].concat());
        }
    }
}
