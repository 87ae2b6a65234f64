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
    /// The bytes with the patches that are applied so far.
    bytes: &'w [u8],
    patches: &'w [Patch],
    /// The patches that are applied, or are not.
    decided: u32,
    at: usize,
    /// No patch that is not decided on has another version of the bytes from the last one that was asked for up to here.
    agreed_to: usize,
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

    /// A walk through `bytes`, to which those patches of the set `decided` are applied that are to be.
    pub(super) const fn new(bytes: &'w [u8], patches: &'w [Patch], decided: u32) -> Self {
        Self { bytes, patches, decided, at: 0, agreed_to: 0, record_ends: 0, message_left: Self::HEADER_BYTES }
    }

    /// Walks to a name, or to what ends the walk before it.
    pub(super) fn read(mut self) -> Result<Found, Halt> {
        match self.stream_byte(0)? {
            HANDSHAKE_RECORD => self.name_hash().map(Found::Name),
            _ => self.request().map(|()| Found::Request),
        }
    }

    /// Walks over the request line and the headers up to a host, in what may be a request so far.
    fn request(mut self) -> Result<(), Halt> {
        let (mut line_start, mut has_request) = (0, false);
        loop {
            let at = self.at;
            self.at = self.step_in_line(at)?;
            let head = self.bytes.get(..self.at).unwrap_or_default();
            let is_line_end = head.last() == Some(&b'\n');
            let line = head.get(line_start..).unwrap_or_default();
            if !has_request {
                let is_possible = head.len() > REQUEST_START_BYTES || http::may_be_request(head);
                has_request = is_line_end && !line.trim_ascii().is_empty();
                if !is_possible || has_request && !http::begins_request(head) {
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

    /// Where the line ends in which this byte stands, or the bytes of it that are agreed on; among the first bytes, right behind it.
    fn step_in_line(&mut self, at: usize) -> Result<usize, Halt> {
        self.stream_byte(at)?;
        if at < REQUEST_START_BYTES {
            return Ok(at + 1);
        }
        let agreed = self.bytes.get(at..self.agreed_to).unwrap_or_default();
        Ok(memchr(b'\n', agreed).map_or(self.agreed_to, |end| at + end + 1))
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

    /// A byte of this reading.
    fn stream_byte(&mut self, at: usize) -> Result<u8, Halt> {
        let byte = *self.bytes.get(at).ok_or(Halt::More)?;
        if at >= self.agreed_to {
            self.agree_from(at)?;
        }
        Ok(byte)
    }

    /// Finds how far the bytes from here on are agreed on.
    fn agree_from(&mut self, at: usize) -> Result<(), Halt> {
        let mut agreed_to = self.bytes.len();
        for (place, patch) in self.patches.iter().enumerate() {
            let start = patch.offset.max(at);
            if self.decided & 1 << place != 0 || start >= patch.end().min(agreed_to) {
                continue;
            }
            let other = patch.bytes.get(start - patch.offset..).unwrap_or_default();
            let known = self.bytes.get(start..agreed_to).unwrap_or_default();
            match known.iter().zip(other).position(|(known, other)| known != other) {
                Some(0) if start == at => return Err(Halt::Undecided(place)),
                Some(agreed) => agreed_to = start + agreed,
                None => {}
            }
        }
        self.agreed_to = agreed_to;
        Ok(())
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
            if self.at > self.bytes.len() {
                return Err(Halt::More);
            }
        }
        Ok(())
    }
}
