//! Finds the fields of a ClientHello's body, which may still be growing. One pass over the extension headers notes where
//! the wanted ones stand. The scan remembers how far it came, so a hello that arrives byte by byte costs linear time.

use super::{ClientHello, HelloError, extension};
use crate::tls::ech::EchExtension;
use vigie_wire::Cursor;

/// How many entries of a server_name list are looked at. RFC 6066 §3 knows one type and allows one name of each.
pub const SERVER_NAME_ENTRIES_MAX: usize = 16;

/// The longest body that a handshake header can announce (RFC 8446 §4).
pub const HELLO_BYTES_ANNOUNCED_MAX: usize = 0x00ff_ffff;

/// A place in the body; none at all while it starts at 0, where no field of interest can stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: u32,
    pub(super) end: u32,
}

impl Span {
    /// Offsets stay below [`HELLO_BYTES_ANNOUNCED_MAX`], so they fit.
    #[inline]
    const fn new(start: usize, end: usize) -> Self {
        Self { start: start as u32, end: end as u32 }
    }

    #[inline]
    pub(super) const fn is_none(self) -> bool {
        self.start == 0
    }

    #[inline]
    pub(super) fn of(self, body: &[u8]) -> Option<&[u8]> {
        if self.is_none() { None } else { body.get(self.start as usize..self.end as usize) }
    }
}

/// How far a scan came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Stage {
    #[default]
    Head,
    Extensions,
    Done,
}

/// What is known of a ClientHello's body, which may still be growing, and where to go on when more of it is there.
#[derive(Clone, Copy, Debug, Default)]
pub struct HelloScan {
    pub(super) stage: Stage,
    pub(super) has_cookie: bool,
    pub(super) malformed: bool,
    pub(super) has_server_name_extension: bool,
    pub(super) offers_resumption: bool,
    pub(super) offers_early_data: bool,
    /// Offset of the first extension whose end was not there yet.
    pub(super) next: u32,
    /// All extensions, as announced.
    pub(super) extensions: Span,
    pub(super) session_id: Span,
    pub(super) cookie: Span,
    pub(super) cipher_suites: Span,
    pub(super) compression: Span,
    pub(super) server_name: Span,
    pub(super) alpn: Span,
    pub(super) supported_versions: Span,
    pub(super) signature_algorithms: Span,
    pub(super) key_share: Span,
    pub(super) ech: Span,
    pub(super) ech_kind: u16,
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
        let mut at = self.next as usize;
        // Those that are there to their end.
        let mut rest = body.get(at..end.min(body.len())).unwrap_or_default();
        while let Some((&[kind_high, kind_low, high, low], data)) = rest.split_first_chunk::<4>() {
            let length = usize::from(u16::from_be_bytes([high, low]));
            let Some(after) = data.get(length..) else { break };
            let start = at + 4;
            at = start + length;
            rest = after;
            self.note(u16::from_be_bytes([kind_high, kind_low]), Span::new(start, at), body);
        }
        self.next = at as u32;
        if at < end {
            self.walk_cut_extension(at, end, body);
        } else {
            self.stage = Stage::Done;
        }
    }

    /// Of the extension at `at`, not all is there, or there never will be.
    fn walk_cut_extension(&mut self, at: usize, end: usize, body: &[u8]) {
        let start = at + 4;
        if start <= end {
            let Some(&[kind_high, kind_low, high, low]) = body.get(at..start).and_then(|h| h.first_chunk::<4>()) else {
                return;
            };
            let data_end = start + usize::from(u16::from_be_bytes([high, low]));
            if data_end <= end {
                let kind = u16::from_be_bytes([kind_high, kind_low]);
                return self.note_beginning(kind, start, data_end, body);
            }
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
