//! The hosts in a Host header, in the authority of a target (RFC 9110 §7.2, RFC 3986 §3.2), and in what clients write in
//! their place. Servers and proxies differ in what they make of odd values; here each host that one of them could mean is
//! reported.

use std::ops::Range;

use memchr::{memchr, memrchr};

/// Longest host that is reported; DNS knows none longer.
pub const HOST_BYTES_MAX: usize = 255;

/// A host in a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Host {
    /// Where it stands, neither port nor brackets.
    pub(super) range: Range<usize>,
    /// The port behind it, if one is written.
    pub(super) port: Option<u16>,
}

/// The hosts in the value of a Host header, which should be one: also those of a list, and of words set apart by blanks. Of
/// several words, those without a dot are no hosts.
pub(super) fn hosts(value: &[u8]) -> impl Iterator<Item = Host> {
    let is_separator = |byte: &u8| matches!(byte, b',' | b';' | b' ' | b'\t' | b'\r' | 0x0b | 0x0c);
    let is_one = value.split(is_separator).filter(|word| !word.is_empty()).count() == 1;
    let mut start = 0;
    std::iter::from_fn(move || {
        let rest = value.get(start..)?;
        let begin = start + rest.iter().position(|byte| !is_separator(byte))?;
        let word = value.get(begin..)?;
        let end = begin + word.iter().position(is_separator).unwrap_or(word.len());
        start = end;
        Some(begin..end)
    })
    .filter(move |word| is_one || value.get(word.clone()).is_some_and(|word| word.contains(&b'.')))
    .filter_map(|word| host_in(value, word))
}

/// The host in an authority, or in a whole URL: behind quotes, scheme, slashes and user, before port, path and query.
pub(super) fn host_in(text: &[u8], within: Range<usize>) -> Option<Host> {
    let mut range = trimmed(text, within);
    let part = text.get(range.clone())?;
    // Backslashes are read as slashes by browsers (WHATWG URL §4.4).
    let is_slash = |byte: &u8| matches!(byte, b'/' | b'\\');
    if let Some(scheme_end) = part.windows(2).position(|pair| pair.iter().all(is_slash)) {
        range.start += scheme_end + 2;
    }
    let part = text.get(range.clone())?;
    range.start += part.iter().take_while(|byte| is_slash(byte)).count();
    let part = text.get(range.clone())?;
    let authority_end =
        part.iter().position(|byte| is_slash(byte) || matches!(byte, b'?' | b'#')).unwrap_or(part.len());
    range.end = range.start + authority_end;
    if let Some(user_end) = memrchr(b'@', text.get(range.clone())?) {
        range.start += user_end + 1;
    }
    let (host, port) = match text.get(range.clone())? {
        [b'[', inner @ ..] => {
            let end = memchr(b']', inner)?;
            (range.start + 1..range.start + 1 + end, inner.get(end + 1..)?.strip_prefix(b":"))
        }
        authority => {
            let end = memchr(b':', authority).unwrap_or(authority.len());
            (range.start..range.start + end, authority.get(end + 1..))
        }
    };
    let host = trimmed(text, host);
    let port = port.and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
    is_plausible(text.get(host.clone())?).then_some(Host { range: host, port })
}

/// The range without quotes and blanks around it.
fn trimmed(text: &[u8], range: Range<usize>) -> Range<usize> {
    let part = text.get(range.clone()).unwrap_or_default();
    let is_around = |byte: &u8| matches!(byte, b'"' | b'\'' | b' ' | b'\t' | b'\r' | 0 | 0x0b | 0x0c);
    let start = part.iter().take_while(|byte| is_around(byte)).count();
    let part = part.get(start..).unwrap_or_default();
    let end = part.iter().rev().take_while(|byte| is_around(byte)).count();
    range.start + start..range.end - end
}

/// Whether this may be a host: not empty, not too long, and without bytes that none has.
fn is_plausible(host: &[u8]) -> bool {
    !host.is_empty()
        && host.len() <= HOST_BYTES_MAX
        && host.iter().all(|&byte| byte > b' ' && !matches!(byte, 0x7f | b'"' | b'<' | b'>'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: &str) -> Vec<(&str, Option<u16>)> {
        hosts(value.as_bytes()).map(|host| (&value[host.range], host.port)).collect()
    }

    #[test]
    fn ordinary_values() {
        for (value, host, port) in [
            ("www.tiktok.com", "www.tiktok.com", None),
            (" \t www.tiktok.com:8080 \r", "www.tiktok.com", Some(8080)),
            ("a.example:", "a.example", None),
            ("192.0.2.1:80", "192.0.2.1", Some(80)),
            ("[2001:db8::1]", "2001:db8::1", None),
            ("[2001:db8::1]:80", "2001:db8::1", Some(80)),
        ] {
            assert_eq!(read(value), [(host, port)], "{value:?}");
        }
    }

    #[test]
    fn odd_values() {
        for value in [
            "www.tiktok.com:80x",
            "www.tiktok.com:99999",
            "\"www.tiktok.com\"",
            "'www.tiktok.com:80'",
            "user@www.tiktok.com",
            "user:pass@word@www.tiktok.com:80",
            "http://www.tiktok.com/",
            "HTTPS://u@www.tiktok.com:443/path?query#fragment",
            "//www.tiktok.com/",
            "http:\\\\www.tiktok.com\\path",
            "www.tiktok.com/path@other",
            "\0www.tiktok.com\0",
            ", www.tiktok.com",
        ] {
            let hosts = read(value);
            assert_eq!(hosts.iter().map(|(host, _)| *host).collect::<Vec<_>>(), ["www.tiktok.com"], "{value:?}");
        }
        assert_eq!(read("This is a dummy message of www.tiktok.com"), [("www.tiktok.com", None)]);
        assert_eq!(read("one.example, two.example:8;three.example four.example").len(), 4);
    }

    #[test]
    fn what_is_no_host() {
        let long = "a".repeat(HOST_BYTES_MAX + 1);
        for value in ["", " ", ",", ":80", "/", "//", "@", "[::1", "[]", "\u{1}", "<a>", "\"\"", long.as_str()] {
            assert_eq!(read(value), [], "{value:?}");
        }
        assert_eq!(read(&long[1..]).len(), 1);
    }
}
