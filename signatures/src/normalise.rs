//! Bytes that claim to be a host name, brought to the one form in which rules are written.
//!
//! Lower case, no trailing dot, A-labels (RFC 5891). Addresses are told apart: a server name extension may not carry
//! them (RFC 6066 §3), yet they are seen. Ports, schemes and paths are the caller's to cut.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Longest host name in its dotted form, without the trailing dot (RFC 1035 §2.3.4).
pub const NAME_BYTES_MAX: usize = 253;
/// Longest label (RFC 1035 §2.3.4).
pub const LABEL_BYTES_MAX: usize = 63;
/// Longest input that is looked at: 253 bytes of A-labels can be written in more bytes of UTF-8, but not in many more.
const RAW_BYTES_MAX: usize = 512;

/// What the bytes turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name<'a> {
    /// A host name in normal form.
    Host(HostName<'a>),
    /// An address written where a name belongs.
    IpLiteral(IpAddr),
    /// Neither.
    NotAHostName,
}

/// A host name in normal form: ASCII.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostName<'a>(&'a [u8]);

impl<'a> HostName<'a> {
    /// The name as text. Look-ups take its bytes, and so are spared the look at each of them.
    pub fn as_str(self) -> &'a str {
        str::from_utf8(self.0).unwrap_or_default()
    }
}

impl AsRef<[u8]> for HostName<'_> {
    fn as_ref(&self) -> &[u8] {
        self.0
    }
}

/// Brings a name to normal form, in `buffer`. Plain ASCII names cost one pass and no allocation.
pub fn normalise<'b>(raw: &[u8], buffer: &'b mut [u8; 256]) -> Name<'b> {
    if raw.len() > RAW_BYTES_MAX {
        return Name::NotAHostName;
    }
    let Some(shape) = lower_case(raw, buffer) else {
        return unusual(raw, buffer);
    };
    if shape.numeric_end {
        return address_v4(buffer.get(..shape.length).unwrap_or_default());
    }
    if shape.encoded {
        return international(raw, buffer);
    }
    host(buffer, shape.length)
}

/// What one pass over a plain name found out.
struct Shape {
    length: usize,
    /// The last label starts with a digit and has only digits: then it is an address or nothing.
    numeric_end: bool,
    /// Some label starts with `xn--`.
    encoded: bool,
}

/// Copies letters, digits, hyphens, underscores and dots in lower case; none if there is anything else or a bad label.
fn lower_case(raw: &[u8], buffer: &mut [u8; 256]) -> Option<Shape> {
    let raw = raw.strip_suffix(b".").unwrap_or(raw);
    if raw.is_empty() || raw.len() > NAME_BYTES_MAX {
        return None;
    }
    let padded = buffer.get_mut(..raw.len().next_multiple_of(CHUNK_BYTES))?;
    *padded.last_chunk_mut()? = [b'a'; CHUNK_BYTES];
    padded.get_mut(..raw.len())?.copy_from_slice(raw);
    for chunk in padded.as_chunks_mut().0 {
        *chunk = to_lower_case(chunk)?;
    }
    let (mut start, mut encoded) = (0, false);
    let mut label = |end: usize| {
        let label = padded.get(start..end).filter(|label| (1..=LABEL_BYTES_MAX).contains(&label.len()))?;
        encoded |= label.starts_with(b"xn--");
        start = end + 1;
        Some(label)
    };
    for (at, &word) in (0..).step_by(WORD_BYTES).zip(padded.as_chunks().0) {
        let mut dots = dots_in(u64::from_le_bytes(word));
        while dots != 0 {
            label(at + dots.trailing_zeros() as usize / 8)?;
            dots &= dots - 1;
        }
    }
    let numeric_end = label(raw.len())?.iter().all(u8::is_ascii_digit);
    Some(Shape { length: raw.len(), numeric_end, encoded })
}

/// Bytes that are brought to lower case together.
const CHUNK_BYTES: usize = 16;

/// A chunk of a name in lower case; `None` if it has a byte that a plain name has not.
#[inline]
fn to_lower_case(chunk: &[u8; CHUNK_BYTES]) -> Option<[u8; CHUNK_BYTES]> {
    // Without a branch, all bytes are done at once.
    let mut lower = *chunk;
    let mut is_plain = true;
    for byte in &mut lower {
        *byte |= u8::from(byte.is_ascii_uppercase()) << 5;
        is_plain &=
            byte.is_ascii_lowercase() | byte.is_ascii_digit() | (*byte == b'-') | (*byte == b'.') | (*byte == b'_');
    }
    is_plain.then_some(lower)
}

/// Bytes in which dots are looked for together.
const WORD_BYTES: usize = 8;

/// The highest bit of each byte of an ASCII word that is a dot.
const fn dots_in(word: u64) -> u64 {
    const fn each(byte: u8) -> u64 {
        u64::from_ne_bytes([byte; WORD_BYTES])
    }
    // A byte that is no dot gets its highest bit from the sum, which never reaches the next byte.
    !((word ^ each(b'.')) + each(127)) & each(128)
}

fn host(buffer: &[u8; 256], length: usize) -> Name<'_> {
    Name::Host(HostName(buffer.get(..length).unwrap_or_default()))
}

/// What is not plain: IPv6 literals, international names, or rubbish.
fn unusual<'b>(raw: &[u8], buffer: &'b mut [u8; 256]) -> Name<'b> {
    if raw.contains(&b':') {
        return address_v6(raw);
    }
    if raw.is_ascii() { Name::NotAHostName } else { international(raw, buffer) }
}

fn address_v4(text: &[u8]) -> Name<'static> {
    match str::from_utf8(text).map(str::parse::<Ipv4Addr>) {
        Ok(Ok(address)) => Name::IpLiteral(address.into()),
        _ => Name::NotAHostName,
    }
}

/// With or without brackets (RFC 3986 §3.2.2) and zone (RFC 4007 §11).
fn address_v6(raw: &[u8]) -> Name<'static> {
    let inner = raw.strip_prefix(b"[").and_then(|inner| inner.strip_suffix(b"]")).unwrap_or(raw);
    let inner = inner.split(|byte| *byte == b'%').next().unwrap_or_default();
    match str::from_utf8(inner).map(str::parse::<Ipv6Addr>) {
        Ok(Ok(address)) => Name::IpLiteral(IpAddr::V6(address).to_canonical()),
        _ => Name::NotAHostName,
    }
}

/// The slow path: U-labels to A-labels. A name in ASCII whose A-labels are wrong is kept as it is: it was on the wire.
fn international<'b>(raw: &[u8], buffer: &'b mut [u8; 256]) -> Name<'b> {
    let Ok(text) = str::from_utf8(raw) else {
        return Name::NotAHostName;
    };
    let mapped = idna::domain_to_ascii(text).ok();
    let mapped = match &mapped {
        Some(mapped) => mapped.as_bytes(),
        None if raw.is_ascii() => raw,
        None => return Name::NotAHostName,
    };
    match lower_case(mapped, buffer) {
        Some(shape) if shape.numeric_end => address_v4(buffer.get(..shape.length).unwrap_or_default()),
        Some(shape) => host(buffer, shape.length),
        None => Name::NotAHostName,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Each byte that a plain name may have, in lower case; zero for the others.
    #[allow(clippy::indexing_slicing, reason = "computed by the compiler, which would refuse a bad index")]
    static LOWER: [u8; 256] = {
        let mut table = [0; 256];
        let mut rest: &[u8] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
        while let Some((byte, others)) = rest.split_first() {
            table[*byte as usize] = byte.to_ascii_lowercase();
            rest = others;
        }
        table
    };

    /// [`lower_case`] as it is easily seen to be right.
    fn byte_by_byte(raw: &[u8], buffer: &mut [u8; 256]) -> Option<Shape> {
        let raw = raw.strip_suffix(b".").unwrap_or(raw);
        if raw.is_empty() || raw.len() > NAME_BYTES_MAX {
            return None;
        }
        let (mut label, mut digits, mut encoded) = (0_usize, 0_usize, false);
        for (out, &byte) in buffer.iter_mut().zip(raw) {
            let byte = LOWER.get(usize::from(byte)).copied().unwrap_or(0);
            *out = byte;
            if byte == b'.' {
                if label == 0 {
                    return None;
                }
                (label, digits) = (0, 0);
                continue;
            }
            if byte == 0 || label == LABEL_BYTES_MAX {
                return None;
            }
            encoded |= byte == b'-' && label == 3;
            digits += usize::from(byte.is_ascii_digit());
            label += 1;
        }
        if label == 0 {
            return None;
        }
        // A hyphen in fourth place is rare enough to look twice.
        let encoded =
            encoded && buffer.get(..raw.len())?.split(|byte| *byte == b'.').any(|label| label.starts_with(b"xn--"));
        Some(Shape { length: raw.len(), numeric_end: digits == label, encoded })
    }

    proptest! {
        #[test]
        fn chunks_and_bytes_agree(
            name in prop_oneof![
                "[a-zA-Z0-9._-]{0,260}",
                "(xn--)?[a-z0-9-]{1,70}(\\.[A-Z0-9_]{1,70}){0,4}[.]?",
                "[0-9]{1,3}(\\.[0-9]{1,3}){0,4}",
                "[ -~]{1,40}",
                prop::collection::vec(any::<u8>(), 0..40).prop_map(|bytes| bytes.iter().map(|byte| char::from(*byte)).collect()),
            ],
        ) {
            let raw: Vec<u8> = name.chars().map(|character| character as u8).collect();
            let (mut one, mut other) = ([0; 256], [0xff; 256]);
            let expected = byte_by_byte(&raw, &mut one);
            let found = lower_case(&raw, &mut other);
            let told = |shape: &Option<Shape>| shape.as_ref().map(|shape| (shape.length, shape.numeric_end, shape.encoded));
            prop_assert_eq!(told(&found), told(&expected));
            if let Some(shape) = found {
                prop_assert_eq!(&one[..shape.length], &other[..shape.length]);
            }
        }
    }

    fn of(raw: &[u8]) -> String {
        let mut buffer = [0; 256];
        match normalise(raw, &mut buffer) {
            Name::Host(name) => name.as_str().to_owned(),
            Name::IpLiteral(address) => format!("<{address}>"),
            Name::NotAHostName => "-".to_owned(),
        }
    }

    #[test]
    fn plain_names() {
        assert_eq!(of(b"WWW.TikTok.COM"), "www.tiktok.com");
        assert_eq!(of(b"www.tiktok.com."), "www.tiktok.com");
        assert_eq!(of(b"_dmarc.tiktok.com"), "_dmarc.tiktok.com");
        assert_eq!(of(b"printer"), "printer");
        assert_eq!(of(b"a-.b.c1"), "a-.b.c1");
        assert_eq!(of(b"r3---sn-25ge7nzk.example.com"), "r3---sn-25ge7nzk.example.com");
    }

    #[test]
    fn what_is_no_name() {
        for raw in [
            &b""[..],
            b".",
            b"..",
            b"a..b",
            b".a.b",
            b"a.b..",
            b"a b.com",
            b"a\0.com",
            b"*.tiktok.com",
            b"a/b",
            b"tiktok.com:443",
            b"\xff\xfe.com",
            b"999.1.1.1",
            b"1.2.3",
            b"host.123",
        ] {
            assert_eq!(of(raw), "-", "{:?}", String::from_utf8_lossy(raw));
        }
    }

    #[test]
    fn lengths() {
        let label = "a".repeat(63);
        assert_eq!(of(format!("{label}.com").as_bytes()), format!("{label}.com"));
        assert_eq!(of(format!("a{label}.com").as_bytes()), "-");
        let longest = format!("{label}.{label}.{label}.{}", "b".repeat(61));
        assert_eq!(longest.len(), 253);
        assert_eq!(of(longest.as_bytes()), longest);
        assert_eq!(of(format!("{longest}.").as_bytes()), longest);
        assert_eq!(of(format!("{longest}b").as_bytes()), "-");
        assert_eq!(of(&[b'a'; 600]), "-");
    }

    #[test]
    fn addresses() {
        assert_eq!(of(b"192.0.2.1"), "<192.0.2.1>");
        assert_eq!(of(b"192.0.2.1."), "<192.0.2.1>");
        assert_eq!(of(b"2001:DB8::1"), "<2001:db8::1>");
        assert_eq!(of(b"[2001:db8::1]"), "<2001:db8::1>");
        assert_eq!(of(b"fe80::1%eth0"), "<fe80::1>");
        assert_eq!(of(b"::ffff:192.0.2.1"), "<192.0.2.1>");
        assert_eq!(of(b"[2001:db8::1"), "-");
    }

    #[test]
    fn international_names() {
        assert_eq!(of("bücher.example".as_bytes()), "xn--bcher-kva.example");
        assert_eq!(of("BÜCHER.example.".as_bytes()), "xn--bcher-kva.example");
        assert_eq!(of(b"XN--BCHER-KVA.example"), "xn--bcher-kva.example");
        assert_eq!(of("ｔｉｋｔｏｋ。com".as_bytes()), "tiktok.com");
        assert_eq!(of(b"xn--a.tiktok.com"), "xn--a.tiktok.com");
        assert_eq!(of("１９２.0.2.1".as_bytes()), "<192.0.2.1>");
    }

    proptest! {
        #[test]
        fn never_fails_and_is_stable(raw in proptest::collection::vec(any::<u8>(), 0..300)) {
            let once = of(&raw);
            if !once.starts_with('<') && once != "-" {
                prop_assert!(once.len() <= NAME_BYTES_MAX);
                prop_assert_eq!(of(once.as_bytes()), once);
            }
        }

        #[test]
        fn text_is_stable(raw in "[a-zA-Z0-9.éß中xn_-]{0,40}") {
            let once = of(raw.as_bytes());
            if !once.starts_with('<') && once != "-" {
                prop_assert!(once.is_ascii() && once.to_ascii_lowercase() == once);
                prop_assert_eq!(of(once.as_bytes()), once);
            }
        }
    }
}
