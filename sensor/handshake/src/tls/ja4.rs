//! JA4, the fingerprint of a TLS client (FoxIO's specification "JA4: TLS Client Fingerprinting", BSD 3-Clause). Only
//! this one of that family is computed: the others carry a licence of their own.

use std::borrow::Cow;
use std::fmt;

use ring::digest::{SHA256, digest};

use super::hello::{ClientHello, extension};
use super::{is_grease, numbers};

/// Room for the numbers of common hellos.
const NUMBERS_USUAL: usize = 64;

/// Characters of the first part of a fingerprint.
const FACTS_CHARACTERS: usize = 10;

/// Characters of a number, with the separator in front.
const NUMBER_CHARACTERS: usize = 5;

/// How many characters of a hash are shown.
const HASH_CHARACTERS: usize = 12;

/// Over what the hello came, JA4's first character.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ja4Transport {
    /// TLS over TCP.
    Tcp,
    /// QUIC.
    Quic,
    /// DTLS.
    Dtls,
}

/// A fingerprint such as `t13d1516h2_8daaf6152771_e5627efa2ab1`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ja4([u8; 36]);

/// The fingerprint before its lists are sorted, written down and hashed, which costs more than all else, and which only those
/// pay for that show it. As [text](Self::text) it has the form that the specification calls `JA4_r`.
#[derive(Clone, Debug)]
pub struct Ja4Raw(Raw);

#[derive(Clone, Debug)]
enum Raw {
    Numbers(Numbers),
    Text(Vec<u8>),
}

/// The numbers that a hello lists, in its order and without GREASE.
#[derive(Clone, Debug)]
struct Numbers {
    facts: [u8; FACTS_CHARACTERS],
    cipher_suites: usize,
    extensions: usize,
    /// Cipher suites, then extensions, then signature algorithms.
    all: Vec<u16>,
}

impl Ja4Raw {
    /// Bytes of memory held.
    pub const fn memory_bytes(&self) -> usize {
        match &self.0 {
            Raw::Numbers(numbers) => numbers.all.capacity() * size_of::<u16>(),
            Raw::Text(text) => text.capacity(),
        }
    }

    /// The same with its text made, for one that is shown: which may be more than once.
    #[must_use]
    pub fn written(self) -> Self {
        match self.0 {
            Raw::Numbers(numbers) => Self(Raw::Text(numbers.text())),
            Raw::Text(_) => self,
        }
    }

    /// Its text, to be saved.
    pub fn text(&self) -> Cow<'_, [u8]> {
        match &self.0 {
            Raw::Numbers(numbers) => Cow::Owned(numbers.text()),
            Raw::Text(text) => Cow::Borrowed(text),
        }
    }

    /// One whose text was saved.
    pub const fn from_saved(text: Vec<u8>) -> Self {
        Self(Raw::Text(text))
    }

    /// The raw fingerprint of `hello`; `None` while it is not complete.
    pub fn of(hello: &ClientHello<'_>, transport: Ja4Transport) -> Option<Self> {
        if !hello.is_complete() {
            return None;
        }
        let mut all = Vec::with_capacity(NUMBERS_USUAL);
        all.extend(numbers(hello.cipher_suites()).filter(|&number| !is_grease(number)));
        let cipher_suites = all.len();
        let mut extension_count = 0;
        for kind in hello.extensions().map(|extension| extension.kind).filter(|&kind| !is_grease(kind)) {
            extension_count += 1;
            if !matches!(kind, extension::SERVER_NAME | extension::ALPN) {
                all.push(kind);
            }
        }
        let extensions = all.len() - cipher_suites;
        all.extend(hello.signature_algorithms().filter(|&algorithm| !is_grease(algorithm)));

        let transport = match transport {
            Ja4Transport::Tcp => b't',
            Ja4Transport::Quic => b'q',
            Ja4Transport::Dtls => b'd',
        };
        let [version_high, version_low] = version(hello.highest_version());
        let server_name = if hello.has_server_name_extension() { b'd' } else { b'i' };
        let [suites_high, suites_low] = two_digits(cipher_suites);
        let [extensions_high, extensions_low] = two_digits(extension_count);
        let [first, last] = first_and_last(hello.alpn().next().unwrap_or_default());
        let facts = [
            transport,
            version_high,
            version_low,
            server_name,
            suites_high,
            suites_low,
            extensions_high,
            extensions_low,
            first,
            last,
        ];
        Some(Self(Raw::Numbers(Numbers { facts, cipher_suites, extensions, all })))
    }

    /// The fingerprint.
    pub fn fingerprint(&self) -> Ja4 {
        let text = self.text();
        let mut parts = text.splitn(3, |&byte| byte == b'_');
        let facts = parts.next().unwrap_or_default();
        let mut fingerprint = [b'0'; 36];
        let hashes = [hash(parts.next().unwrap_or_default()), hash(parts.next().unwrap_or_default())];
        let parts = [facts, b"_", &hashes[0], b"_", &hashes[1]];
        fingerprint.iter_mut().zip(parts.into_iter().flatten()).for_each(|(place, &byte)| *place = byte);
        Ja4(fingerprint)
    }
}

impl Numbers {
    /// The lists behind the facts, cipher suites and extensions in rising order.
    fn text(&self) -> Vec<u8> {
        let mut all = self.all.clone();
        let mut text = self.facts.to_vec();
        let extensions_end = self.cipher_suites + self.extensions;
        for list in [0..self.cipher_suites, self.cipher_suites..extensions_end] {
            let list = all.get_mut(list).unwrap_or_default();
            list.sort_unstable();
            push_list(&mut text, list);
        }
        let signature_algorithms = all.get(extensions_end..).unwrap_or_default();
        if !signature_algorithms.is_empty() {
            push_list(&mut text, signature_algorithms);
        }
        text
    }
}

fn push_list(text: &mut Vec<u8>, list: &[u16]) {
    let start = text.len();
    text.resize(start + 1.max(list.len() * NUMBER_CHARACTERS), b',');
    let added = text.get_mut(start..).unwrap_or_default();
    for ([_, digits @ ..], &number) in added.as_chunks_mut::<NUMBER_CHARACTERS>().0.iter_mut().zip(list) {
        *digits = hex(number);
    }
    if let Some(first) = added.first_mut() {
        *first = b'_';
    }
}

impl Ja4 {
    /// The fingerprint of `hello`; `None` while it is not complete.
    pub fn of(hello: &ClientHello<'_>, transport: Ja4Transport) -> Option<Self> {
        Ja4Raw::of(hello, transport).map(|raw| raw.fingerprint())
    }

    /// The fingerprint as text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// Its 36 characters.
    pub const fn as_bytes(&self) -> &[u8; 36] {
        &self.0
    }
}

impl fmt::Display for Ja4 {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl fmt::Debug for Ja4 {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// Both characters of the version.
fn version(version: u16) -> [u8; 2] {
    *match version {
        0x0304 => b"13",
        0x0303 => b"12",
        0x0302 => b"11",
        0x0301 => b"10",
        0x0300 => b"s3",
        0x0002 => b"s2",
        0xfeff => b"d1",
        0xfefd => b"d2",
        0xfefc => b"d3",
        _ => b"00",
    }
}

/// A count, at most 99.
fn two_digits(count: usize) -> [u8; 2] {
    let count = count.min(99) as u8;
    [b'0' + count / 10, b'0' + count % 10]
}

/// First and last character of the first protocol; of its hexadecimal form if either is not alphanumeric.
fn first_and_last(protocol: &[u8]) -> [u8; 2] {
    match (protocol.first(), protocol.last()) {
        (Some(&first), Some(&last)) if first.is_ascii_alphanumeric() && last.is_ascii_alphanumeric() => [first, last],
        (Some(&first), Some(&last)) => [hex_digit(first >> 4), hex_digit(last)],
        _ => *b"00",
    }
}

/// The start of the SHA-256 over a list; zeros for one without members.
fn hash(list: &[u8]) -> [u8; HASH_CHARACTERS] {
    let mut shown = [b'0'; HASH_CHARACTERS];
    if list.is_empty() {
        return shown;
    }
    let digest = digest(&SHA256, list);
    for (pair, &byte) in shown.as_chunks_mut::<2>().0.iter_mut().zip(digest.as_ref()) {
        *pair = [hex_digit(byte >> 4), hex_digit(byte)];
    }
    shown
}

/// The four hexadecimal digits of a number, all at once.
const fn hex(number: u16) -> [u8; 4] {
    let number = number as u32;
    let nibbles = (number >> 12) | (number & 0xf00) | ((number & 0xf0) << 12) | ((number & 0xf) << 24);
    // A nibble from ten on is a letter: it reaches sixteen with six more.
    let letters = ((nibbles + 0x0606_0606) >> 4) & 0x0101_0101;
    (nibbles + 0x3030_3030 + letters * (b'a' - b'0' - 10) as u32).to_le_bytes()
}

/// The hexadecimal digit of the lower four bits.
const fn hex_digit(byte: u8) -> u8 {
    let nibble = byte & 0x0f;
    if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::build::{Hello, alpn, old_chrome, unhex};

    fn ja4(hello: &Hello) -> String {
        let body = hello.body();
        Ja4::of(&ClientHello::parse(&body, body.len()).unwrap(), Ja4Transport::Tcp).unwrap().to_string()
    }

    fn recorded(text: &str) -> String {
        let record = unhex(text);
        let body = &record[9..];
        Ja4::of(&ClientHello::parse(body, body.len()).unwrap(), Ja4Transport::Tcp).unwrap().to_string()
    }

    #[test]
    fn the_published_fingerprints_of_chrome() {
        assert_eq!(ja4(&old_chrome()), "t13d1516h2_8daaf6152771_e5627efa2ab1");
        let mut without_padding = old_chrome();
        without_padding.extensions.pop();
        assert_eq!(ja4(&without_padding), "t13d1515h2_8daaf6152771_f37e75b10bcc");
        // In resumption a pre-shared key stands where the padding did.
        assert_eq!(ja4(&without_padding.with(41, vec![0; 8])), "t13d1516h2_8daaf6152771_9b887d9acb53");
    }

    #[test]
    fn the_order_of_extensions_does_not_matter_that_of_signature_algorithms_does() {
        let mut shuffled = old_chrome();
        shuffled.extensions.reverse();
        shuffled.cipher_suites.reverse();
        assert_eq!(ja4(&shuffled), ja4(&old_chrome()));
        let mut other = old_chrome();
        let algorithms = &mut other.extensions.iter_mut().find(|(kind, _)| *kind == 13).unwrap().1;
        algorithms.swap(3, 5);
        assert_ne!(ja4(&other), ja4(&old_chrome()));
    }

    #[test]
    fn recorded_hellos_as_an_independent_program_computes_them() {
        assert_eq!(recorded(include_str!("testdata/curl_7_88.hex")), "t13d3112h2_e8f1e7e78f70_b26ce05bbdd6");
        assert_eq!(recorded(include_str!("testdata/openssl_3_0.hex")), "t13d3111h2_e8f1e7e78f70_1f22a2ca17c4");
    }

    #[test]
    fn the_examples_of_the_specification_for_alpn() {
        let shown = |protocol: &[u8]| ja4(&Hello::default().with(16, alpn(&[protocol])))[8..10].to_owned();
        for (protocol, characters) in [
            (&b"h2"[..], "h2"),
            (b"http/1.1", "h1"),
            (b"h", "hh"),
            (b"\xab", "ab"),
            (b"\xab\xcd", "ad"),
            (b"\x30\xab", "3b"),
            (b"\x30\x31\xab\xcd", "3d"),
            (b"\x30\xab\xcd\x31", "01"),
            (b"", "00"),
        ] {
            assert_eq!(shown(protocol), characters, "{protocol:x?}");
        }
        assert_eq!(&ja4(&Hello::default())[8..10], "00");
    }

    #[test]
    fn empty_lists_hash_to_zeros() {
        let hello = Hello { cipher_suites: vec![0x0a0a], ..Hello::default() };
        assert_eq!(ja4(&hello), "t12i000000_000000000000_000000000000");
        let only_left_out = hello.with(0, vec![]).with(16, alpn(&[b"h2"]));
        assert_eq!(ja4(&only_left_out), "t12d0002h2_000000000000_000000000000");
    }

    #[test]
    fn more_than_99_count_as_99_and_hash_in_full() {
        let many: Vec<u16> = (0..400).rev().filter(|&number| !is_grease(number)).collect();
        let hello = Hello { cipher_suites: many.clone(), ..Hello::default() };
        let mut sorted = many;
        sorted.sort_unstable();
        let text = sorted.iter().map(|number| format!("{number:04x}")).collect::<Vec<_>>().join(",");
        let digest = ring::digest::digest(&SHA256, text.as_bytes());
        let start: String = digest.as_ref()[..6].iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(ja4(&hello), format!("t12i990000_{start}_000000000000"));
    }

    #[test]
    fn transports_versions_and_what_has_no_fingerprint() {
        let body = Hello::to("x.example").body();
        let hello = ClientHello::parse(&body, body.len()).unwrap();
        assert!(Ja4::of(&hello, Ja4Transport::Quic).unwrap().as_str().starts_with("q12d"));
        assert!(Ja4::of(&hello, Ja4Transport::Dtls).unwrap().as_str().starts_with("d12d"));
        let cut = ClientHello::parse(&body[..body.len() - 1], body.len()).unwrap();
        assert!(Ja4::of(&cut, Ja4Transport::Tcp).is_none());
        for (number, characters) in
            [(0x0301, "10"), (0x0300, "s3"), (0x0002, "s2"), (0xfeff, "d1"), (0xfefc, "d3"), (0x7f1c, "00")]
        {
            assert_eq!(version(number), characters.as_bytes());
        }
    }
}
