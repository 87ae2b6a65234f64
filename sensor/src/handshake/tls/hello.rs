//! A ClientHello (RFC 8446 §4.1.2, RFC 5246 §7.4.1.2, RFC 6347 §4.2.1): a view over its body, which may lack its tail.
//! One pass over the extension headers notes where the wanted ones stand; [`HelloScan`] remembers how far that pass
//! came, so that a hello that arrives byte by byte costs linear time in all. Names are raw bytes here: whether they
//! are host names is judged by who matches them.

use thiserror::Error;

use super::ech::EchExtension;
use super::{is_grease, numbers};
use crate::wire::Cursor;

/// How many entries of a server_name list are looked at. RFC 6066 §3 knows one type and allows one name of each.
pub const SERVER_NAME_ENTRIES_MAX: usize = 16;

/// The longest body that a handshake header can announce (RFC 8446 §4).
pub const HELLO_BYTES_ANNOUNCED_MAX: usize = 0x00ff_ffff;

/// Extension numbers (IANA, TLS ExtensionType Values).
pub mod extension {
    #![allow(missing_docs)]
    pub const SERVER_NAME: u16 = 0;
    pub const SIGNATURE_ALGORITHMS: u16 = 13;
    pub const ALPN: u16 = 16;
    pub const SESSION_TICKET: u16 = 35;
    pub const PRE_SHARED_KEY: u16 = 41;
    pub const EARLY_DATA: u16 = 42;
    pub const SUPPORTED_VERSIONS: u16 = 43;
    pub const KEY_SHARE: u16 = 51;
    pub const ENCRYPTED_CLIENT_HELLO: u16 = 0xfe0d;
    pub const ENCRYPTED_SERVER_NAME: u16 = 0xffce;
}

/// Why bytes are no ClientHello. What went wrong further back, among the extensions, is no error:
/// [`ClientHello::is_malformed`] tells it and what stood before is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum HelloError {
    /// A field reaches beyond the announced end of the message.
    #[error("hello: {field} needs {needed} bytes, the message has {had}")]
    Overrun {
        /// Which field.
        field: &'static str,
        /// Where the message would have to end.
        needed: usize,
        /// Where it was announced to end.
        had: usize,
    },
    /// A session identifier of more than 32 bytes (RFC 8446 §4.1.2).
    #[error("hello: session id of {had} bytes, 32 at most")]
    SessionId {
        /// Its length.
        had: usize,
    },
    /// Half a cipher suite.
    #[error("hello: cipher suites take {had} bytes, an odd number")]
    CipherSuites {
        /// Their length.
        had: usize,
    },
}

/// A place in the body; none at all while it starts at 0, where no field of interest can stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Span {
    start: u32,
    end: u32,
}

impl Span {
    /// Offsets stay below [`HELLO_BYTES_ANNOUNCED_MAX`], so they fit.
    #[inline]
    const fn new(start: usize, end: usize) -> Self {
        Self { start: start as u32, end: end as u32 }
    }

    #[inline]
    const fn is_none(self) -> bool {
        self.start == 0
    }

    #[inline]
    fn of(self, body: &[u8]) -> Option<&[u8]> {
        if self.is_none() { None } else { body.get(self.start as usize..self.end as usize) }
    }
}

/// How far a scan came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Head,
    Extensions,
    Done,
}

/// What is known of a ClientHello's body, which may still be growing, and where to go on when more of it is there.
#[derive(Clone, Copy, Debug, Default)]
pub struct HelloScan {
    stage: Stage,
    has_cookie: bool,
    is_sslv2: bool,
    malformed: bool,
    has_server_name_extension: bool,
    offers_resumption: bool,
    offers_early_data: bool,
    /// Offset of the first extension whose end was not there yet.
    next: u32,
    /// All extensions, as announced.
    extensions: Span,
    session_id: Span,
    cookie: Span,
    cipher_suites: Span,
    compression: Span,
    server_name: Span,
    alpn: Span,
    supported_versions: Span,
    signature_algorithms: Span,
    key_share: Span,
    ech: Span,
    ech_kind: u16,
}

impl HelloScan {
    /// For a hello over DTLS, which has a cookie after the session id (RFC 6347 §4.2.1, RFC 9147 §5.3).
    pub fn dtls() -> Self {
        Self { has_cookie: true, ..Self::default() }
    }

    /// Goes on over `body`, the bytes after the handshake header as far as they are there, of `announced` in all.
    /// A later call must bring the same bytes, and may bring more.
    ///
    /// # Errors
    /// When this cannot be a ClientHello; more bytes will not change that.
    #[inline]
    pub fn advance<'a>(&mut self, body: &'a [u8], announced: usize) -> Result<ClientHello<'a>, HelloError> {
        let announced = announced.min(HELLO_BYTES_ANNOUNCED_MAX);
        let body = body.get(..announced).unwrap_or(body);
        if self.stage == Stage::Head {
            self.read_head(body, announced)?;
        }
        if self.stage == Stage::Extensions {
            self.walk_extensions(body);
        }
        Ok(ClientHello { body, complete: self.stage == Stage::Done && body.len() == announced, scan: *self })
    }

    /// The fields of fixed order in front of the extensions.
    fn read_head(&mut self, body: &[u8], announced: usize) -> Result<(), HelloError> {
        const FIXED: usize = 34;
        if announced < FIXED {
            return Err(HelloError::Overrun { field: "random", needed: FIXED, had: announced });
        }
        let frame = Frame { body, announced };
        let Some(session_id) = frame.vector(FIXED, 1, "session id")? else { return Ok(()) };
        let session_id_length = (session_id.end - session_id.start) as usize;
        if session_id_length > 32 {
            return Err(HelloError::SessionId { had: session_id_length });
        }
        self.session_id = session_id;
        let mut at = session_id.end as usize;
        if self.has_cookie {
            let Some(cookie) = frame.vector(at, 1, "cookie")? else { return Ok(()) };
            self.cookie = cookie;
            at = cookie.end as usize;
        }
        let Some(cipher_suites) = frame.vector(at, 2, "cipher suites")? else { return Ok(()) };
        let cipher_suites_length = (cipher_suites.end - cipher_suites.start) as usize;
        if cipher_suites_length % 2 != 0 {
            return Err(HelloError::CipherSuites { had: cipher_suites_length });
        }
        self.cipher_suites = cipher_suites;
        let Some(compression) = frame.vector(cipher_suites.end as usize, 1, "compression methods")? else {
            return Ok(());
        };
        self.compression = compression;
        self.open_extensions(body, announced);
        Ok(())
    }

    /// Reads the length of the extension list, which a hello before TLS 1.3 may lack.
    fn open_extensions(&mut self, body: &[u8], announced: usize) {
        let at = self.compression.end as usize;
        let start = at + 2;
        if start > announced {
            self.malformed = at < announced;
            self.stage = Stage::Done;
            return;
        }
        let Some(&[high, low]) = body.get(at..start).and_then(|length| length.first_chunk::<2>()) else { return };
        let end = start + usize::from(u16::from_be_bytes([high, low]));
        self.malformed |= end != announced;
        self.extensions = Span::new(start, end.min(announced));
        self.next = start as u32;
        self.stage = Stage::Extensions;
    }

    fn walk_extensions(&mut self, body: &[u8]) {
        let end = self.extensions.end as usize;
        loop {
            let at = self.next as usize;
            if at >= end {
                self.stage = Stage::Done;
                return;
            }
            let start = at + 4;
            if start > end {
                break;
            }
            let Some(&[kind_high, kind_low, high, low]) = body.get(at..start).and_then(|h| h.first_chunk::<4>()) else {
                return;
            };
            let kind = u16::from_be_bytes([kind_high, kind_low]);
            let data_end = start + usize::from(u16::from_be_bytes([high, low]));
            if data_end > end {
                break;
            }
            if data_end > body.len() {
                self.note_beginning(kind, start, data_end, body);
                return;
            }
            self.note(kind, Span::new(start, data_end), body);
            self.next = data_end as u32;
        }
        self.malformed = true;
        self.stage = Stage::Done;
    }

    /// Of an extension that is not whole, only the name is of use already.
    #[cold]
    fn note_beginning(&mut self, kind: u16, start: usize, end: usize, body: &[u8]) {
        if kind == extension::SERVER_NAME {
            self.note_server_name(start, end - start, body);
        }
    }

    /// Notes where a wanted extension stands. Of one that is there twice (which RFC 8446 §4.2 forbids) the first counts.
    #[inline]
    fn note(&mut self, kind: u16, span: Span, body: &[u8]) {
        let slot = match kind {
            extension::SERVER_NAME => {
                self.note_server_name(span.start as usize, (span.end - span.start) as usize, body);
                return;
            }
            extension::ALPN => &mut self.alpn,
            extension::SUPPORTED_VERSIONS => &mut self.supported_versions,
            extension::SIGNATURE_ALGORITHMS => &mut self.signature_algorithms,
            extension::KEY_SHARE => &mut self.key_share,
            extension::PRE_SHARED_KEY => {
                self.offers_resumption = true;
                return;
            }
            extension::SESSION_TICKET => {
                self.offers_resumption |= span.end > span.start;
                return;
            }
            extension::EARLY_DATA => {
                self.offers_early_data = true;
                return;
            }
            _ if EchExtension::is_code_point(kind) => {
                // The standard's code point goes before those of drafts.
                if self.ech.is_none() || (kind == extension::ENCRYPTED_CLIENT_HELLO && self.ech_kind != kind) {
                    self.ech = span;
                    self.ech_kind = kind;
                }
                return;
            }
            _ => return,
        };
        if slot.is_none() {
            *slot = span;
        }
    }

    /// Looks for the first host_name in a server_name extension of `length` bytes (RFC 6066 §3), which may not be
    /// there to its end.
    fn note_server_name(&mut self, start: usize, length: usize, body: &[u8]) {
        self.has_server_name_extension = true;
        if !self.server_name.is_none() {
            return;
        }
        let mut cursor = Cursor::new(body.get(start..).unwrap_or_default());
        let Some(list_length) = cursor.u16().map(usize::from) else { return };
        let list_start = start + 2;
        let list_end = list_start + list_length;
        if list_length + 2 > length {
            return;
        }
        let mut at = list_start;
        for _ in 0..SERVER_NAME_ENTRIES_MAX {
            let (Some(name_type), Some(name_length)) = (cursor.u8(), cursor.u16()) else { return };
            let name_start = at + 3;
            let name_end = name_start + usize::from(name_length);
            if name_end > list_end || cursor.skip(usize::from(name_length)).is_none() {
                return;
            }
            if name_type == 0 {
                if name_length > 0 {
                    self.server_name = Span::new(name_start, name_end);
                }
                return;
            }
            at = name_end;
        }
    }
}

/// A body and where it was announced to end.
struct Frame<'a> {
    body: &'a [u8],
    announced: usize,
}

impl Frame<'_> {
    /// The vector whose length of `width` bytes stands at `at`; `None` while that length is not there.
    fn vector(&self, at: usize, width: usize, field: &'static str) -> Result<Option<Span>, HelloError> {
        let start = at + width;
        let overrun = |needed| HelloError::Overrun { field, needed, had: self.announced };
        if start > self.announced {
            return Err(overrun(start));
        }
        let Some(length) = self.body.get(at..start) else { return Ok(None) };
        let end = start + length.iter().fold(0, |sum, &byte| sum << 8 | usize::from(byte));
        if end > self.announced {
            return Err(overrun(end));
        }
        Ok(Some(Span::new(start, end)))
    }
}

/// An extension of a hello.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extension<'a> {
    /// Its number; GREASE is not left out.
    pub kind: u16,
    /// What it carries.
    pub data: &'a [u8],
}

/// A ClientHello, or as much of one as is there. Its accessors cannot fail: what is not there, or makes no sense, is
/// `None` or empty.
#[derive(Clone, Copy, Debug)]
pub struct ClientHello<'a> {
    body: &'a [u8],
    complete: bool,
    scan: HelloScan,
}

impl<'a> ClientHello<'a> {
    /// Reads a TLS hello's body, the bytes after the 4-byte handshake header, of which `announced` were to come.
    ///
    /// # Errors
    /// When this cannot be a ClientHello, whatever follows.
    #[inline]
    pub fn parse(body: &'a [u8], announced: usize) -> Result<Self, HelloError> {
        HelloScan::default().advance(body, announced)
    }

    /// A hello in SSLv2's form, `message` starting at its version: it has no extensions, so neither name nor JA4
    /// (RFC 5246 §E.2).
    pub(super) fn sslv2(message: &'a [u8], complete: bool) -> Self {
        let scan = HelloScan { stage: Stage::Done, is_sslv2: true, ..HelloScan::default() };
        Self { body: message, complete, scan }
    }

    /// Whether the whole message was there.
    #[inline]
    pub const fn is_complete(&self) -> bool {
        self.complete
    }

    /// Whether the extension list contradicts itself or the message's length. What stood before that is told.
    #[inline]
    pub const fn is_malformed(&self) -> bool {
        self.scan.malformed
    }

    /// Whether it came in the form of SSLv2.
    #[inline]
    pub const fn is_sslv2(&self) -> bool {
        self.scan.is_sslv2
    }

    /// The version field, in which TLS 1.3 says 1.2; 0 while not there.
    pub fn legacy_version(&self) -> u16 {
        Cursor::new(self.body).u16().unwrap_or(0)
    }

    /// The session id, or the part of it that is there.
    pub fn session_id(&self) -> &'a [u8] {
        self.part(self.scan.session_id)
    }

    /// The cookie of a DTLS hello.
    pub fn cookie(&self) -> &'a [u8] {
        self.part(self.scan.cookie)
    }

    /// The cipher suites in order, two bytes each, or the part of them that is there.
    pub fn cipher_suites(&self) -> &'a [u8] {
        self.part(self.scan.cipher_suites)
    }

    /// The compression methods.
    pub fn compression(&self) -> &'a [u8] {
        self.part(self.scan.compression)
    }

    /// The extensions that are there whole, in order.
    pub fn extensions(&self) -> Extensions<'a> {
        Extensions { rest: Cursor::new(self.part(self.scan.extensions)) }
    }

    /// The first host_name of the server_name extension, its bytes as they stood. Told as soon as its last byte is
    /// there. An empty name is none.
    #[inline]
    pub fn server_name(&self) -> Option<&'a [u8]> {
        self.scan.server_name.of(self.body)
    }

    /// Whether [`server_name`](Self::server_name) will not change with more bytes, and no `None` for want of sense:
    /// a name is there, or the extensions were read to their end without any.
    #[inline]
    pub const fn server_name_is_certain(&self) -> bool {
        !self.scan.server_name.is_none() || (matches!(self.scan.stage, Stage::Done) && !self.scan.malformed)
    }

    /// Whether there is a server_name extension, with a name or without.
    pub const fn has_server_name_extension(&self) -> bool {
        self.scan.has_server_name_extension
    }

    /// The protocols offered in ALPN, in order (RFC 7301 §3.1).
    #[inline]
    pub fn alpn(&self) -> Alpn<'a> {
        let list = self.scan.alpn.of(self.body).and_then(|data| Cursor::new(data).vector16());
        Alpn { rest: Cursor::new(list.unwrap_or_default()) }
    }

    /// The highest version offered, as on the wire, GREASE left out; of DTLS, whose numbers fall, the newest.
    pub fn highest_version(&self) -> u16 {
        let legacy = self.legacy_version();
        let Some(data) = self.scan.supported_versions.of(self.body) else { return legacy };
        let list = Cursor::new(data).vector8().unwrap_or_default();
        let offered = numbers(list).filter(|&version| !is_grease(version));
        // 0xfeff is DTLS 1.0, 0xfefd 1.2 and 0xfefc 1.3; 0x7f.. and 0xfb.. were drafts of TLS 1.3.
        let newest = match legacy >> 8 {
            0xfe => offered.filter(|version| version >> 8 == 0xfe).min(),
            _ => offered.filter(|version| version >> 8 != 0xfe).max(),
        };
        newest.unwrap_or(legacy)
    }

    /// The signature algorithms in order, GREASE included.
    pub fn signature_algorithms(&self) -> impl Iterator<Item = u16> + Clone + 'a {
        let list = self.scan.signature_algorithms.of(self.body).and_then(|data| Cursor::new(data).vector16());
        numbers(list.unwrap_or_default())
    }

    /// The groups for which a key share is sent, in order, GREASE included (RFC 8446 §4.2.8).
    pub fn key_share_groups(&self) -> impl Iterator<Item = u16> + 'a {
        let list = self.scan.key_share.of(self.body).and_then(|data| Cursor::new(data).vector16());
        let mut shares = Cursor::new(list.unwrap_or_default());
        std::iter::from_fn(move || {
            let group = shares.u16()?;
            shares.vector16()?;
            Some(group)
        })
    }

    /// Whether a post-quantum key share is sent.
    pub fn is_post_quantum(&self) -> bool {
        self.key_share_groups().any(is_post_quantum_group)
    }

    /// Encrypted Client Hello, or one of the forms it had as a draft.
    #[inline]
    pub fn ech(&self) -> Option<EchExtension> {
        self.scan.ech.of(self.body).map(|data| EchExtension::parse(self.scan.ech_kind, data))
    }

    /// Whether the client wants to resume a session, by pre-shared key or by ticket.
    pub const fn offers_resumption(&self) -> bool {
        self.scan.offers_resumption
    }

    /// Whether the client announces early data.
    pub const fn offers_early_data(&self) -> bool {
        self.scan.offers_early_data
    }

    fn part(&self, span: Span) -> &'a [u8] {
        let end = self.body.len().min(span.end as usize);
        if span.is_none() { &[] } else { self.body.get(span.start as usize..end).unwrap_or_default() }
    }
}

/// Key exchange with ML-KEM, Kyber or NTRU in it, by IANA's numbers and those that browsers used before.
const fn is_post_quantum_group(group: u16) -> bool {
    matches!(group,
        0x0200..=0x0202       // ML-KEM-512, -768, -1024
        | 0x11eb..=0x11ee     // SecP256r1MLKEM768, X25519MLKEM768, SecP384r1MLKEM1024, curveSM2MLKEM768
        | 0x6399 | 0x639a     // X25519Kyber768Draft00, SecP256r1Kyber768Draft00
        | 0xfe30..=0xfe32     // Kyber hybrids of experiments
        | 0x4138) // CECPQ2
}

/// The extensions of a hello that are there whole.
#[derive(Clone, Debug)]
pub struct Extensions<'a> {
    rest: Cursor<'a>,
}

impl<'a> Iterator for Extensions<'a> {
    type Item = Extension<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        Some(Extension { kind: self.rest.u16()?, data: self.rest.vector16()? })
    }
}

/// The protocols of an ALPN extension.
#[derive(Clone, Debug)]
pub struct Alpn<'a> {
    rest: Cursor<'a>,
}

impl<'a> Iterator for Alpn<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<Self::Item> {
        self.rest.vector8()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::handshake::tls::build::{Hello, alpn, ech_outer, server_name, server_names, unhex, vector16};
    use crate::handshake::tls::ech::Ech;

    /// RFC 8448 §3, the ClientHello of the simple 1-RTT handshake.
    pub(crate) const RFC_8448: &str = "
        01 00 00 c0 03 03 cb 34 ec b1 e7 81 63 ba 1c 38 c6 da cb 19 6a 6d ff a2 1a 8d 99 12 ec 18 a2 ef
        62 83 02 4d ec e7 00 00 06 13 01 13 03 13 02 01 00 00 91 00 00 00 0b 00 09 00 00 06 73 65 72 76
        65 72 ff 01 00 01 00 00 0a 00 14 00 12 00 1d 00 17 00 18 00 19 01 00 01 01 01 02 01 03 01 04 00
        23 00 00 00 33 00 26 00 24 00 1d 00 20 99 38 1d e5 60 e4 bd 43 d2 3d 8e 43 5a 7d ba fe b3 c0 6e
        51 c1 3c ae 4d 54 13 69 1e 52 9a af 2c 00 2b 00 03 02 03 04 00 0d 00 20 00 1e 04 03 05 03 06 03
        02 03 08 04 08 05 08 06 04 01 05 01 06 01 02 01 04 02 05 02 06 02 02 02 00 2d 00 02 01 01 00 1c
        00 02 40 01";

    fn name_of(hello: &Hello) -> Option<Vec<u8>> {
        let body = hello.body();
        ClientHello::parse(&body, body.len()).unwrap().server_name().map(<[u8]>::to_vec)
    }

    #[test]
    fn the_hello_of_rfc_8448() {
        let message = unhex(RFC_8448);
        let body = &message[4..];
        let hello = ClientHello::parse(body, body.len()).unwrap();
        assert!(hello.is_complete() && !hello.is_malformed() && hello.server_name_is_certain());
        assert_eq!(hello.server_name(), Some(&b"server"[..]));
        assert_eq!((hello.legacy_version(), hello.highest_version()), (0x0303, 0x0304));
        assert_eq!(hello.cipher_suites(), [0x13, 1, 0x13, 3, 0x13, 2]);
        assert_eq!((hello.session_id(), hello.compression()), (&[][..], &[0][..]));
        let kinds: Vec<u16> = hello.extensions().map(|extension| extension.kind).collect();
        assert_eq!(kinds, [0, 0xff01, 10, 35, 51, 43, 13, 45, 28]);
        assert_eq!(hello.key_share_groups().collect::<Vec<_>>(), [0x1d]);
        assert_eq!(hello.signature_algorithms().next(), Some(0x0403));
        assert_eq!(hello.signature_algorithms().count(), 15);
        assert!(!hello.is_post_quantum() && !hello.offers_resumption() && hello.ech().is_none());
        assert_eq!(hello.alpn().count(), 0);
    }

    #[test]
    fn all_that_a_browser_says() {
        let body = Hello::post_quantum("www.example.org").body();
        assert!(body.len() > 1700);
        let hello = ClientHello::parse(&body, body.len()).unwrap();
        assert_eq!(hello.server_name(), Some(&b"www.example.org"[..]));
        assert_eq!(hello.alpn().collect::<Vec<_>>(), [&b"h2"[..], b"http/1.1"]);
        assert_eq!(hello.highest_version(), 0x0304);
        assert!(hello.is_post_quantum());
        assert_eq!(hello.key_share_groups().collect::<Vec<_>>(), [0x0a0a, 0x11ec, 0x001d]);
        assert_eq!(hello.ech().map(|ech| ech.judge()), Some(Ech::Ambiguous));
    }

    #[test]
    fn which_name_counts() {
        let of = |data| name_of(&Hello::default().with(0, data));
        assert_eq!(of(server_names(&[(0, b"first"), (0, b"second")])), Some(b"first".to_vec()));
        assert_eq!(of(server_names(&[(7, b"other"), (0, b"host")])), Some(b"host".to_vec()));
        assert_eq!(of(server_names(&[(7, b"other")])), None);
        assert_eq!(of(server_names(&[(0, b""), (0, b"behind an empty one")])), None);
        assert_eq!(of(vec![]), None);
        assert_eq!(of(server_name(&[b'a'; 255])), Some(vec![b'a'; 255]));
        assert_eq!(of(server_name(b"\xff\x00 bytes")), Some(b"\xff\x00 bytes".to_vec()));
        // A list longer than its extension, a name longer than its list, a list with a tail.
        assert_eq!(of([&[0, 9][..], &server_name(b"name")[2..]].concat()), None);
        assert_eq!(of([&[0, 6][..], &server_name(b"name")[2..]].concat()), None);
        assert_eq!(of([&server_name(b"name")[..], &[9]].concat()), Some(b"name".to_vec()));
        let many: Vec<(u8, &[u8])> = vec![(1, b"x"); SERVER_NAME_ENTRIES_MAX];
        assert_eq!(of(server_names(&[&many[1..], &[(0, b"last")]].concat())), Some(b"last".to_vec()));
        assert_eq!(of(server_names(&[&many[..], &[(0, b"too late")]].concat())), None);
        let twice = Hello::to("first").with(0, server_name(b"second"));
        assert_eq!(name_of(&twice), Some(b"first".to_vec()));
    }

    #[test]
    fn a_malformed_extension_loses_nothing_before_it() {
        let hello = Hello::to("kept.example").with(16, alpn(&[b"h2"])).with(43, vec![2, 3, 4]);
        let mut body = hello.body();
        let length_of_last = body.len() - 4;
        body[length_of_last] = 0x7f;
        let hello = ClientHello::parse(&body, body.len()).unwrap();
        assert!(hello.is_malformed() && hello.is_complete() && hello.server_name_is_certain());
        assert_eq!(hello.server_name(), Some(&b"kept.example"[..]));
        assert_eq!(hello.alpn().next(), Some(&b"h2"[..]));
        assert_eq!(hello.highest_version(), 0x0303);
        // Without a name before it, nothing is certain.
        let mut body = Hello::default().with(43, vec![2, 3, 4]).with(0, server_name(b"lost")).body();
        let at = body.len() - 4 - server_name(b"lost").len() - 4;
        body[at] = 0x7f;
        let hello = ClientHello::parse(&body, body.len()).unwrap();
        assert!(hello.server_name().is_none() && !hello.server_name_is_certain());
    }

    #[test]
    fn bytes_behind_the_list_and_a_list_beyond_the_message() {
        let body = Hello::to("name.example").body();
        let longer = [&body[..], &[1, 2, 3]].concat();
        let hello = ClientHello::parse(&longer, longer.len()).unwrap();
        assert!(hello.is_malformed() && hello.is_complete() && hello.server_name().is_some());
        // What lies behind the announced end is another message's.
        let hello = ClientHello::parse(&longer, body.len()).unwrap();
        assert!(!hello.is_malformed() && hello.is_complete());
        let hello = ClientHello::parse(&body, body.len() - 1).unwrap();
        assert!(hello.is_malformed() && hello.server_name().is_none());
    }

    #[test]
    fn a_hello_without_extensions_is_whole() {
        let body = Hello::default().body();
        let bare = &body[..body.len() - 2];
        let hello = ClientHello::parse(bare, bare.len()).unwrap();
        assert!(hello.is_complete() && hello.server_name_is_certain() && !hello.is_malformed());
        let one_byte_more = &body[..body.len() - 1];
        assert!(ClientHello::parse(one_byte_more, one_byte_more.len()).unwrap().is_malformed());
    }

    #[test]
    fn what_is_no_hello() {
        let error = |body: &[u8]| ClientHello::parse(body, body.len()).unwrap_err();
        assert!(matches!(error(&[3, 3]), HelloError::Overrun { field: "random", .. }));
        let mut body = Hello::to("x").body();
        body[34] = 33;
        assert_eq!(error(&body), HelloError::SessionId { had: 33 });
        let mut body = Hello::to("x").body();
        body[34 + 33 + 1] = 7;
        assert_eq!(error(&body), HelloError::CipherSuites { had: 7 });
        body[34 + 33] = 7;
        assert!(matches!(error(&body), HelloError::Overrun { field: "cipher suites", .. }));
    }

    #[test]
    fn versions() {
        let of = |version: u16, list: &[u8]| {
            let hello = Hello { version, ..Hello::default() };
            let list = [&[list.len() as u8][..], list].concat();
            let body = hello.with(43, list).body();
            ClientHello::parse(&body, body.len()).unwrap().highest_version()
        };
        assert_eq!(of(0x0303, &[0xfa, 0xfa, 3, 3, 3, 4, 3, 2]), 0x0304);
        assert_eq!(of(0x0303, &[0x7f, 0x1c, 3, 3]), 0x7f1c);
        assert_eq!(of(0xfefd, &[0xfe, 0xfd, 0xfe, 0xfc]), 0xfefc);
        assert_eq!(of(0x0302, &[0xca, 0xca]), 0x0302);
    }

    #[test]
    fn resumption_early_data_and_drafts_of_ech() {
        let has = |hello: Hello| {
            let body = hello.body();
            let hello = ClientHello::parse(&body, body.len()).unwrap();
            (hello.offers_resumption(), hello.offers_early_data(), hello.ech())
        };
        assert_eq!(has(Hello::default().with(35, vec![])), (false, false, None));
        assert_eq!(has(Hello::default().with(35, vec![1; 40])), (true, false, None));
        assert_eq!(has(Hello::default().with(42, vec![]).with(41, vec![0; 4])), (true, true, None));
        assert_eq!(has(Hello::default().with(0xffce, vec![1])).2, Some(EchExtension::Esni));
        let both = Hello::default().with(0xfe0a, vec![1]).with(0xfe0d, ech_outer(1, 1, 32, 239));
        assert_eq!(has(both).2.map(|ech| ech.judge()), Some(Ech::Grease));
    }

    /// The first host name by tls-parser, an empty one being none; `None` if it does not parse the hello.
    fn second_opinion(body: &[u8]) -> Option<Option<Vec<u8>>> {
        let (rest, hello) = tls_parser::parse_tls_handshake_client_hello(body).ok()?;
        let extensions = hello.ext.unwrap_or_default();
        let (behind, extensions) = tls_parser::parse_tls_client_hello_extensions(extensions).ok()?;
        if !rest.is_empty() || !behind.is_empty() {
            return None;
        }
        let lists = extensions.iter().filter_map(|extension| match extension {
            tls_parser::TlsExtension::SNI(list) => Some(list),
            _ => None,
        });
        let mut names =
            lists.filter_map(|list| list.iter().find(|(kind, _)| kind.0 == 0).map(|(_, name)| name.to_vec()));
        Some(names.find(|name| !name.is_empty()))
    }

    fn any_hello() -> impl Strategy<Value = Hello> {
        let name = proptest::collection::vec(any::<u8>(), 0..40).prop_map(|name| (0, server_name(&name)));
        // Only what tls-parser does not look into: it gives up the list at content that it does not understand.
        let opaque = (
            prop_oneof![Just(35_u16), Just(0xfe0d), Just(0x0a0a), 0x4000_u16..0x7000],
            proptest::collection::vec(any::<u8>(), 0..60),
        );
        let protocols = Just((16_u16, alpn(&[b"h2", b"h3"])));
        let other = prop_oneof![opaque, protocols, Just((43, vec![2, 3, 4])), Just((13, vec![0, 2, 4, 3]))];
        (proptest::collection::vec(other, 0..6), name, any::<prop::sample::Index>(), any::<bool>()).prop_map(
            |(mut extensions, name, place, named)| {
                if named {
                    extensions.insert(place.index(extensions.len() + 1), name);
                }
                Hello { extensions, ..Hello::default() }
            },
        )
    }

    proptest! {
        #[test]
        fn tls_parser_reads_the_same_name(hello in any_hello()) {
            let body = hello.body();
            let ours = ClientHello::parse(&body, body.len()).unwrap();
            prop_assert!(!ours.is_malformed());
            prop_assert_eq!(second_opinion(&body), Some(ours.server_name().map(<[u8]>::to_vec)));
        }

        #[test]
        fn tls_parser_reads_the_same_name_from_what_still_parses(
            hello in any_hello(), place in any::<prop::sample::Index>(), byte in any::<u8>(),
        ) {
            let mut body = hello.body();
            let at = place.index(body.len());
            body[at] = byte;
            let ours = ClientHello::parse(&body, body.len());
            if let (Some(name), Ok(ours)) = (second_opinion(&body), ours) {
                prop_assert_eq!(ours.server_name().map(<[u8]>::to_vec), name);
            }
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400), announced in 0_usize..500) {
            if let Ok(hello) = ClientHello::parse(&bytes, announced) {
                let _ = (hello.alpn().count(), hello.is_post_quantum(), hello.ech(), hello.highest_version());
                prop_assert!(hello.extensions().count() <= bytes.len());
            }
            let _ = HelloScan::dtls().advance(&bytes, announced);
        }

        #[test]
        fn a_growing_body_tells_the_same_as_a_whole_one(
            hello in any_hello(), steps in proptest::collection::vec(1_usize..50, 1..30),
        ) {
            let body = hello.body();
            let mut scan = HelloScan::default();
            let mut there = 0;
            for step in steps.iter().cycle() {
                there = (there + step).min(body.len());
                let grown = scan.advance(&body[..there], body.len()).unwrap();
                let at_once = ClientHello::parse(&body[..there], body.len()).unwrap();
                prop_assert_eq!(grown.server_name(), at_once.server_name());
                prop_assert_eq!(grown.extensions().count(), at_once.extensions().count());
                prop_assert_eq!(grown.is_complete(), there == body.len());
                if there == body.len() {
                    break;
                }
            }
        }
    }

    #[test]
    fn the_name_is_told_if_and_only_if_its_bytes_are_there() {
        for hello in [Hello::to("iff.example"), Hello::post_quantum("iff.example")] {
            let body = hello.body();
            let end = body.windows(11).position(|window| window == b"iff.example").unwrap() + 11;
            let mut scan = HelloScan::default();
            for cut in 0..=body.len() {
                let hello = scan.advance(&body[..cut], body.len()).unwrap();
                assert_eq!(hello.server_name().is_some(), cut >= end, "cut at {cut}");
                assert_eq!(hello.server_name_is_certain(), cut >= end, "cut at {cut}");
                assert_eq!(hello.is_complete(), cut == body.len());
            }
        }
    }

    #[test]
    fn a_recorded_hello_of_curl() {
        let record = unhex(include_str!("testdata/curl_7_88.hex"));
        let body = &record[9..];
        let hello = ClientHello::parse(body, body.len()).unwrap();
        assert!(hello.is_complete() && !hello.is_malformed());
        assert_eq!(hello.server_name(), Some(&b"curl.example.org"[..]));
        assert_eq!(hello.alpn().collect::<Vec<_>>(), [&b"h2"[..], b"http/1.1"]);
        assert_eq!(hello.highest_version(), 0x0304);
        assert!(!hello.is_post_quantum());
    }

    #[test]
    fn lists_of_odd_bytes_end_before_them() {
        let body = Hello::default().with(13, vector16(&[4, 3, 8])).body();
        let hello = ClientHello::parse(&body, body.len()).unwrap();
        assert_eq!(hello.signature_algorithms().collect::<Vec<_>>(), [0x0403]);
    }
}
