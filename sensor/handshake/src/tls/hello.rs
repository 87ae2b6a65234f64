//! A ClientHello (RFC 8446 §4.1.2, RFC 5246 §7.4.1.2, RFC 6347 §4.2.1): a view over its body, which may lack its tail.
//! One pass over the extension headers notes where the wanted ones stand; [`HelloScan`] remembers how far that pass
//! came, so that a hello that arrives byte by byte costs linear time in all. Names are raw bytes here: whether they
//! are host names is judged by who matches them.

use thiserror::Error;

use super::ech::EchExtension;
use super::{is_grease, numbers};
use vigie_wire::Cursor;

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
        if !cipher_suites_length.is_multiple_of(2) {
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
mod tests;
