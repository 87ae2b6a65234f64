//! Names that are no host names, but that people read as one: with a port, a URL around them, dots or blanks too many, a
//! wildcard, NUL. Servers and proxies often accept them, and some programs send them.
//!
//! This is the slow path, for what [`normalise`](vigie_signatures::normalise) refuses.

use std::borrow::Cow;

/// Bytes of a name that are looked at.
const RAW_BYTES_MAX: usize = 2_048;

/// The names that a person may read in a text, the likeliest first.
pub(super) fn readings(raw: &[u8]) -> impl Iterator<Item = String> {
    let raw = raw.get(..RAW_BYTES_MAX).unwrap_or(raw);
    let decoded = percent_decoded(raw);
    let text = String::from_utf8_lossy(&decoded);
    let host = host_of_url(text.trim_matches(is_filler));
    let first_word = host.split(is_filler).find(|word| !word.is_empty()).unwrap_or_default();
    let (whole, first) = (tidied(host), tidied(first_word));
    let first = (first != whole).then_some(first);
    [Some(whole), first].into_iter().flatten().filter(|name| !name.is_empty())
}

/// The host in a URL, or in any part of one (RFC 3986 §3): without scheme, user, port, path and query.
fn host_of_url(text: &str) -> &str {
    let is_scheme = |scheme: &str| scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    let text = match text.split_once(":/") {
        Some((scheme, rest)) if is_scheme(scheme) => rest,
        _ => text,
    };
    let text = text.trim_start_matches(['/', '\\']);
    let authority = text.split(['/', '\\', '?', '#', '\0']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    host.split(':').next().unwrap_or_default()
}

/// The text without what does not belong into a host name, and without empty labels.
fn tidied(text: &str) -> String {
    let mut name = String::with_capacity(text.len());
    for character in text.chars().filter(|&character| !is_filler(character)) {
        if character != '.' || !(name.is_empty() || name.ends_with('.')) {
            name.push(character);
        }
    }
    name
}

/// Blanks, control characters, characters without a width, quotes, wildcards, brackets, and what stands for wrong UTF-8.
fn is_filler(character: char) -> bool {
    character.is_whitespace()
        || character.is_control()
        || matches!(character, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2060}'..='\u{2064}' | '\u{feff}' | '\u{fffd}')
        || "*\"'`<>()[]{},;|^".contains(character)
}

/// The text with `%2E` and the like decoded (RFC 3986 §2.1).
fn percent_decoded(raw: &[u8]) -> Cow<'_, [u8]> {
    if !raw.contains(&b'%') {
        return Cow::Borrowed(raw);
    }
    let (mut decoded, mut rest) = (Vec::with_capacity(raw.len()), raw);
    while let Some((&first, after)) = rest.split_first() {
        let digit = |at: usize| after.get(at).and_then(|&digit| char::from(digit).to_digit(16));
        match (first, digit(0), digit(1)) {
            (b'%', Some(high), Some(low)) => {
                decoded.push((high << 4 | low) as u8);
                rest = after.get(2..).unwrap_or_default();
            }
            _ => {
                decoded.push(first);
                rest = after;
            }
        }
    }
    Cow::Owned(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_person_reads() {
        for raw in [
            &b"www.tiktok.com:443"[..],
            b"www.tiktok.com:",
            b"www.tiktok.com:443 ",
            b".www.tiktok.com",
            b"www.tiktok.com..",
            b"www..tiktok.com",
            b" www.tiktok.com\t",
            b"www. tiktok .com",
            b"www.tiktok.com\0",
            b"www.tiktok.com\0.example.org",
            b"\0www.tiktok.com",
            b"*.www.tiktok.com",
            b"https://www.tiktok.com/@user?lang=fr",
            b"HTTPS://user:secret@www.tiktok.com:8443/",
            b"https:/www.tiktok.com",
            b"//www.tiktok.com/",
            b"www.tiktok.com/path",
            b"www.tiktok.com?x",
            b"\"www.tiktok.com\"",
            b"[www.tiktok.com]",
            b"www.tiktok.com, example.org",
            b"www.tiktok.com example.org",
            b"www%2Etiktok%2ecom",
            b"www.tiktok.com\xc2\xa0",
            b"www.tik\xe2\x80\x8btok.com",
            b"www.tiktok.com\xff",
        ] {
            let all: Vec<String> = readings(raw).collect();
            assert!(
                all.iter().any(|name| name.trim_end_matches('.') == "www.tiktok.com" || name == "WWW.TikTok.COM"),
                "{}: {all:?}",
                raw.escape_ascii()
            );
        }
    }

    #[test]
    fn what_nobody_reads() {
        for raw in [&b""[..], b"...", b"\0", b"* *", b"https://", b":443", b"%"] {
            let all: Vec<String> = readings(raw).filter(|name| name != "%").collect();
            assert!(all.is_empty(), "{}: {all:?}", raw.escape_ascii());
        }
        assert!(readings(b"www.tiktok.com.example.org:443").eq(["www.tiktok.com.example.org".to_owned()]));
        assert!(readings(b"example.org/www.tiktok.com").eq(["example.org".to_owned()]));
        assert!(readings(b"www.tiktok.com@example.org").eq(["example.org".to_owned()]));
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read(raw in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300)) {
            for name in readings(&raw) {
                proptest::prop_assert!(!name.starts_with('.') && !name.contains("..") && name.len() <= 3 * raw.len());
            }
        }
    }
}
