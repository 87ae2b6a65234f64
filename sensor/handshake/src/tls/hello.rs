//! A ClientHello (RFC 8446 §4.1.2, RFC 5246 §7.4.1.2, RFC 6347 §4.2.1), as a view over its body, which may lack its
//! tail. [`HelloScan`] finds the fields; [`ClientHello`] gives access to them.
//!
//! Names are raw bytes here: whether they are host names is decided by who matches them.

mod scan;

use thiserror::Error;

use super::ech::EchExtension;
use super::{is_grease, numbers};
use scan::{Span, Stage};
use vigie_wire::Cursor;

pub use scan::{HELLO_BYTES_ANNOUNCED_MAX, HelloScan, SERVER_NAME_ENTRIES_MAX};

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

    /// Whether more bytes cannot change [`server_name`](Self::server_name): a name is there, or the extensions were read to
    /// their end without one. False for malformed extensions.
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

    /// Whether the client offers TLS 1.3, which it does in an extension only (RFC 8446 §4.2.1).
    pub fn offers_tls13(&self) -> bool {
        const TLS_1_3: u16 = 0x0304;
        self.scan.supported_versions.of(self.body).is_some() && self.highest_version() >= TLS_1_3
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
