//! The first line of a request (RFC 9112 §3), as servers read it: words set apart by any white space, any token for a
//! method, any version, or none.

use std::ops::Range;

/// Longest method that is known as one.
pub const METHOD_BYTES_MAX: usize = 32;

/// Longest line that may turn out to be a request line with a method that is not [registered](is_registered).
const UNREGISTERED_LINE_BYTES_MAX: usize = 2048;

/// Methods of RFC 9110 §9.3, RFC 5789, WebDAV (RFC 3253, 4918, 5323), and QUERY: a line that begins with one is a request
/// line even without a version (RFC 1945 §4.1).
const REGISTERED: [&[u8]; 26] = [
    b"GET",
    b"POST",
    b"HEAD",
    b"PUT",
    b"DELETE",
    b"OPTIONS",
    b"PATCH",
    b"TRACE",
    b"CONNECT",
    b"QUERY",
    b"PROPFIND",
    b"PROPPATCH",
    b"MKCOL",
    b"COPY",
    b"MOVE",
    b"LOCK",
    b"UNLOCK",
    b"SEARCH",
    b"REPORT",
    b"CHECKOUT",
    b"CHECKIN",
    b"MERGE",
    b"ACL",
    b"BIND",
    b"LINK",
    b"UNLINK",
];

/// Versions of protocols whose requests look like HTTP's and are none.
const OTHER_PROTOCOLS: [&[u8]; 2] = [b"RTSP/", b"SIP/"];

/// A request line. Ranges are offsets in the line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RequestLine {
    pub(super) method: Range<usize>,
    pub(super) target: Range<usize>,
}

impl RequestLine {
    /// Reads a whole line, its line end not included.
    pub(super) fn parse(line: &[u8]) -> Option<Self> {
        let mut words = words(line);
        let method = words.next()?;
        let target = words.next()?;
        let version = line.get(words.last()?).filter(|version| is_version(version))?;
        let method_text = line.get(method.clone()).filter(|method| is_method(method))?;
        let is_http = starts_with(version, b"HTTP/") || is_registered(method_text);
        is_http.then_some(Self { method, target })
    }

    /// Reads a line without a version: method and target alone.
    pub(super) fn parse_without_version(line: &[u8]) -> Option<Self> {
        let mut words = words(line);
        let (method, target) = (words.next()?, words.next()?);
        if words.next().is_some() {
            return None;
        }
        Self::if_registered(line, method, target)
    }

    /// Reads a line that is longer than what is held of it: a registered method, and as much of the target as is there.
    pub(super) fn parse_cut(line: &[u8]) -> Option<Self> {
        let mut words = words(line);
        let (method, target) = (words.next()?, words.next()?);
        Self::if_registered(line, method, target)
    }

    fn if_registered(line: &[u8], method: Range<usize>, target: Range<usize>) -> Option<Self> {
        let is_target = line.get(target.start) == Some(&b'/') || is_absolute(line.get(target.clone())?);
        (is_target && is_registered(line.get(method.clone())?)).then_some(Self { method, target })
    }
}

/// Whether a target is a URL.
pub(super) fn is_absolute(target: &[u8]) -> bool {
    let scheme = target.iter().take_while(|byte| byte.is_ascii_alphanumeric()).count();
    (2..=8).contains(&scheme) && target.get(scheme..).is_some_and(|rest| rest.starts_with(b"://"))
}

/// Whether a line may be a request line, or become one: `line` is what has come of it, without blanks in front and without
/// its line feed. What follows the line does not count. Once the answer is no, it stays no. Reads its first bytes only.
pub(super) fn may_begin(line: &[u8]) -> bool {
    match line.iter().take(METHOD_BYTES_MAX + 1).position(|&byte| !is_token(byte)) {
        Some(end) if line.get(end).is_some_and(|&byte| !is_blank(byte)) => false,
        Some(end) => {
            let method = line.get(..end).unwrap_or_default();
            is_registered(method) || is_method(method) && line.len() <= UNREGISTERED_LINE_BYTES_MAX
        }
        None => line.len() <= METHOD_BYTES_MAX,
    }
}

/// Where in `line` a request line begins behind other bytes: in front of the known method that the target and version at the
/// line's end belong to. From there on, a reader takes it for a request.
pub(crate) fn behind_junk(line: &[u8]) -> Option<usize> {
    let mut words = words(line);
    let (mut before, mut last) = (words.next()?, words.next()?);
    loop {
        let is_target = matches!(line.get(last.start), Some(b'/' | b'*')) || is_absolute(line.get(last.clone())?);
        if is_target {
            // Junk may stand right in front of the method.
            let word = line.get(before.clone())?;
            let method = word.iter().rev().take_while(|byte| byte.is_ascii_uppercase()).count();
            let start = before.end - method;
            let request = line.get(start..).filter(|request| may_begin(request))?;
            return RequestLine::parse(request).map(|_| start);
        }
        before = last;
        last = words.next()?;
    }
}

/// White space that recipients may take for the single space of the grammar (RFC 9112 §3).
pub(super) const fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | 0x0b | 0x0c)
}

/// The words of a line.
fn words(line: &[u8]) -> impl Iterator<Item = Range<usize>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let start = at + line.get(at..)?.iter().position(|&byte| !is_blank(byte))?;
        let rest = line.get(start..)?;
        at = start + word_length(rest);
        Some(start..at)
    })
}

/// Bytes up to the first blank. Targets are long: chunks of them that have no blank are passed over as a whole.
fn word_length(bytes: &[u8]) -> usize {
    const CHUNK_BYTES: usize = 16;
    let may_have_blank = |chunk: &[u8; CHUNK_BYTES]| chunk.iter().fold(false, |any, &byte| any | (byte <= b' '));
    let whole = bytes.as_chunks().0.iter().take_while(|chunk| !may_have_blank(chunk)).count() * CHUNK_BYTES;
    let rest = bytes.get(whole..).unwrap_or_default();
    whole + rest.iter().position(|&byte| is_blank(byte)).unwrap_or(rest.len())
}

fn is_method(word: &[u8]) -> bool {
    (1..=METHOD_BYTES_MAX).contains(&word.len()) && word.iter().all(|&byte| is_token(byte))
}

/// A character of a token (RFC 9110 §5.6.2).
pub(super) const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`' | b'|' | b'~')
}

/// Whether a method is one that HTTP knows. Servers tell case apart, and some proxies do not.
fn is_registered(method: &[u8]) -> bool {
    REGISTERED.iter().any(|known| method.eq_ignore_ascii_case(known))
}

/// Whether a request line's last word is a version of HTTP, or of something that passes for it.
fn is_version(word: &[u8]) -> bool {
    let slash = word.iter().position(|&byte| byte == b'/');
    let name_is_letters = slash.is_some_and(|slash| {
        (1..=8).contains(&slash) && word.iter().take(slash).all(u8::is_ascii_alphanumeric) && word.len() <= slash + 8
    });
    name_is_letters && !OTHER_PROTOCOLS.iter().any(|other| starts_with(word, other))
}

fn starts_with(text: &[u8], start: &[u8]) -> bool {
    text.get(..start.len()).is_some_and(|text| text.eq_ignore_ascii_case(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Option<(&str, &str)> {
        RequestLine::parse(line.as_bytes()).map(|read| (&line[read.method], &line[read.target]))
    }

    #[test]
    fn any_method_any_version_any_blanks() {
        for (line, method, target) in [
            ("GET / HTTP/1.1", "GET", "/"),
            ("get / http/1.1", "get", "/"),
            ("FOOBAR /a HTTP/1.1", "FOOBAR", "/a"),
            ("RPC_IN_DATA /rpc/rpcproxy.dll HTTP/1.1", "RPC_IN_DATA", "/rpc/rpcproxy.dll"),
            ("M-SEARCH * HTTP/1.1", "M-SEARCH", "*"),
            ("GET\t/\tHTTP/1.1", "GET", "/"),
            ("GET  \x0b /  HTTP/1.1 \r", "GET", "/"),
            ("GET / HTTP/1.2", "GET", "/"),
            ("GET / HTTP/", "GET", "/"),
            ("GET / HTTP/42.7", "GET", "/"),
            ("GET / HTTPX/1.1", "GET", "/"),
            ("GET /a b c HTTP/1.1", "GET", "/a"),
            ("connect a.example:443 HTTP/1.1", "connect", "a.example:443"),
        ] {
            assert_eq!(read(line), Some((method, target)), "{line}");
        }
        for line in [
            "",
            "GET",
            "GET /",
            "GET HTTP/1.1",
            "HELO a HTTPX/1.1",
            "G\u{e9}T / HTTP/1.1",
            "OPTIONS sip:a@b SIP/2.0",
            "SETUP rtsp://a/ RTSP/1.0",
            "EHLO mail.example",
            "USER a b c",
            "GET / x",
            "a(b) / HTTP/1.1",
        ] {
            assert_eq!(read(line), None, "{line}");
        }
    }

    #[test]
    fn a_request_without_version() {
        for (line, is_request) in [
            ("GET /", true),
            ("GET http://a.example/", true),
            ("PROPFIND /a ", true),
            ("GET a", false),
            ("USER /", false),
            ("GET / b", false),
            ("GET", false),
        ] {
            assert_eq!(RequestLine::parse_without_version(line.as_bytes()).is_some(), is_request, "{line}");
        }
    }

    #[test]
    fn what_may_begin_a_request() {
        for (line, may) in [
            ("", true),
            ("GE", true),
            ("GET ", true),
            ("foo bar", true),
            ("{\"a\"", false),
            ("pt: */*", false),
            ("a-word-that-is-longer-than-methods-are ", false),
        ] {
            assert_eq!(may_begin(line.as_bytes()), may, "{line}");
        }
        let endless = |method: &str| [method.as_bytes(), &[b'a'; UNREGISTERED_LINE_BYTES_MAX]].concat();
        assert!(!may_begin(&endless("foo ")) && may_begin(&endless("GET ")));
    }

    #[test]
    fn requests_behind_junk() {
        for (line, start) in [
            (&b"\xdd\0\0\0 GET / HTTP/1.1"[..], Some(5)),
            (b"\0GET / HTTP/1.1", Some(1)),
            (b"junk and GET http://a/ HTTP/1.1\r", Some(9)),
            (b"\xffPOST /a HTTP/1.0", Some(1)),
            (b"\"GET / HTTP/1.1\" 200", None),
            (b"\xff / HTTP/1.1", None),
            (&[b"\0 FOO /", &[b'a'; 2000][..], b" HTTP/1.1"].concat(), Some(2)),
            (&[b"\0 FOO /", &[b'a'; UNREGISTERED_LINE_BYTES_MAX][..], b" HTTP/1.1"].concat(), None),
            (&[b"\0 GET /", &[b'a'; UNREGISTERED_LINE_BYTES_MAX][..], b" HTTP/1.1"].concat(), Some(2)),
            (b"no request", None),
        ] {
            assert_eq!(behind_junk(line), start, "{}", line.escape_ascii());
        }
    }
}
