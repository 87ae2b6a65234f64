//! A walk along a hello or a request in one reading of bytes that contradict each other. It stops where it needs a byte of which a
//! piece that nobody decided on has another version.

use memchr::memchr;

use super::Patch;
use crate::http;
use crate::name_hash::name_hash;
use crate::prelude::HANDSHAKE_RECORD;

/// First bytes of a stream at each of which it is tested whether they may be a request's.
const REQUEST_START_BYTES: usize = 64;

/// What a walk through a reading found.
pub(super) enum Found {
    /// A hello whose name has this hash.
    Name(u32),
    /// A request, up to its host or to the end of its head.
    Request,
}

/// Why a walk through a reading ended without a name.
pub(super) enum Halt {
    /// It needs a byte that this patch, not decided on yet, has another version of.
    Undecided(usize),
    /// There is neither a hello nor a request.
    Nothing,
    /// Bytes are missing.
    More,
}

/// A walk along the structure of a ClientHello (RFC 8446 §4.1.2) to its server name, through TLS records (§5.1), or along an
/// HTTP request (RFC 9112 §2.1) to its host.
pub(super) struct Walk<'w> {
    base: &'w [u8],
    patches: &'w [Patch],
    decided: u32,
    applied: u32,
    at: usize,
    /// Where the current record ends.
    record_ends: usize,
    /// Bytes of the message that are left.
    message_left: usize,
}

impl<'w> Walk<'w> {
    const CLIENT_HELLO: u8 = 1;
    const SERVER_NAME: u16 = 0;
    const RANDOM_BYTES: usize = 32;
    /// Type and length of a handshake message.
    const HEADER_BYTES: usize = 4;

    /// A walk through `base` with the patches of the set `applied`; those of the set `decided` are decided on.
    pub(super) const fn new(base: &'w [u8], patches: &'w [Patch], decided: u32, applied: u32) -> Self {
        Self { base, patches, decided, applied, at: 0, record_ends: 0, message_left: Self::HEADER_BYTES }
    }

    /// Walks to a name, or to what ends the walk before it.
    pub(super) fn read(self) -> Result<Found, Halt> {
        match self.stream_byte(0)? {
            HANDSHAKE_RECORD => self.name_hash().map(Found::Name),
            _ => self.request().map(|()| Found::Request),
        }
    }

    /// Walks over the request line and the headers up to a host, in what may be a request so far.
    fn request(&self) -> Result<(), Halt> {
        let mut head = Vec::new();
        let (mut line_start, mut has_request) = (0, false);
        loop {
            let at = head.len();
            match self.undisputed_line(at) {
                undisputed if at > REQUEST_START_BYTES && !undisputed.is_empty() => head.extend_from_slice(undisputed),
                _ => head.push(self.stream_byte(at)?),
            }
            let is_line_end = head.last() == Some(&b'\n');
            let line = head.get(line_start..).unwrap_or_default();
            if !has_request {
                let is_possible = head.len() > REQUEST_START_BYTES || http::may_be_request(&head);
                has_request = is_line_end && !line.trim_ascii().is_empty();
                if !is_possible || has_request && !http::begins_request(&head) {
                    return Err(Halt::Nothing);
                }
            } else if head.get(at..).is_some_and(|bytes| memchr(0, bytes).is_some()) {
                return Err(Halt::Nothing);
            } else if is_line_end && (line.trim_ascii().is_empty() || http::names_host(line)) {
                return Ok(());
            }
            if is_line_end {
                line_start = head.len();
            }
        }
    }

    /// The bytes from here to the end of the line, or to the first one of which there is another version.
    fn undisputed_line(&self, at: usize) -> &[u8] {
        let mut end = self.base.len();
        for patch in self.patches {
            if patch.offset > at {
                end = end.min(patch.offset);
            } else if patch.byte(at).is_some() {
                return &[];
            }
        }
        let bytes = self.base.get(at..end).unwrap_or_default();
        memchr(b'\n', bytes).and_then(|end| bytes.get(..=end)).unwrap_or(bytes)
    }

    fn name_hash(mut self) -> Result<u32, Halt> {
        if self.byte()? != Self::CLIENT_HELLO {
            return Err(Halt::Nothing);
        }
        let length = (usize::from(self.byte()?) << 16) | usize::from(self.u16()?);
        self.message_left = length;
        self.skip(2 + Self::RANDOM_BYTES)?;
        let session_id = self.byte()?;
        self.skip(session_id.into())?;
        let cipher_suites = self.u16()?;
        self.skip(cipher_suites.into())?;
        let compression = self.byte()?;
        self.skip(compression.into())?;
        let mut left = usize::from(self.u16()?);
        if left > self.message_left {
            return Err(Halt::Nothing);
        }
        let mut name = None;
        while left >= 4 {
            match self.extension(&mut left) {
                Ok(hash) => name = name.or(hash),
                // The tail of the hello may still come.
                Err(Halt::More) if name.is_some() => break,
                Err(halt) => return Err(halt),
            }
        }
        name.ok_or(Halt::Nothing)
    }

    /// Walks over an extension: the hash of the name, if it holds that.
    fn extension(&mut self, left: &mut usize) -> Result<Option<u32>, Halt> {
        let (kind, length) = (self.u16()?, usize::from(self.u16()?));
        *left = left.checked_sub(4 + length).ok_or(Halt::Nothing)?;
        if kind != Self::SERVER_NAME {
            return self.skip(length).map(|()| None);
        }
        let before = self.message_left;
        let hash = self.server_name(length)?;
        let walked = before - self.message_left;
        self.skip(length.checked_sub(walked).ok_or(Halt::Nothing)?)?;
        Ok(Some(hash))
    }

    /// The first entry of the list (RFC 6066 §3).
    fn server_name(&mut self, extension: usize) -> Result<u32, Halt> {
        let list = usize::from(self.u16()?);
        if list + 2 > extension || self.byte()? != 0 {
            return Err(Halt::Nothing);
        }
        let length = usize::from(self.u16()?);
        if !(1..=255).contains(&length) || length + 3 > list {
            return Err(Halt::Nothing);
        }
        let mut name = [0; 255];
        for byte in name.iter_mut().take(length) {
            *byte = self.byte()?;
        }
        Ok(name_hash(name.get(..length).unwrap_or_default()))
    }

    /// The byte of the stream at the walk's place, in this reading.
    fn stream_byte(&self, at: usize) -> Result<u8, Halt> {
        let mut byte = *self.base.get(at).ok_or(Halt::More)?;
        for (place, patch) in self.patches.iter().enumerate() {
            let Some(other) = patch.byte(at).filter(|other| *other != byte) else { continue };
            if self.decided & 1 << place == 0 {
                return Err(Halt::Undecided(place));
            }
            if self.applied & 1 << place != 0 {
                byte = other;
            }
        }
        Ok(byte)
    }

    /// Goes on into the next record where the current one ends.
    fn enter_record(&mut self) -> Result<(), Halt> {
        while self.at == self.record_ends {
            if self.stream_byte(self.at)? != HANDSHAKE_RECORD {
                return Err(Halt::Nothing);
            }
            // A hello has a version, which the stream's reader looks at.
            self.stream_byte(self.at + 1)?;
            let length = u16::from_be_bytes([self.stream_byte(self.at + 3)?, self.stream_byte(self.at + 4)?]);
            if length == 0 {
                return Err(Halt::Nothing);
            }
            self.at += 5;
            self.record_ends = self.at + usize::from(length);
        }
        Ok(())
    }

    fn byte(&mut self) -> Result<u8, Halt> {
        self.message_left = self.message_left.checked_sub(1).ok_or(Halt::Nothing)?;
        self.enter_record()?;
        let byte = self.stream_byte(self.at)?;
        self.at += 1;
        Ok(byte)
    }

    fn u16(&mut self) -> Result<u16, Halt> {
        Ok(u16::from_be_bytes([self.byte()?, self.byte()?]))
    }

    fn skip(&mut self, mut count: usize) -> Result<(), Halt> {
        self.message_left = self.message_left.checked_sub(count).ok_or(Halt::Nothing)?;
        while count > 0 {
            self.enter_record()?;
            let step = count.min(self.record_ends - self.at);
            self.at += step;
            count -= step;
            if self.at > self.base.len() {
                return Err(Halt::More);
            }
        }
        Ok(())
    }
}
