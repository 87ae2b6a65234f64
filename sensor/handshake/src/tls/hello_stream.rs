//! The ClientHello of a TCP stream: a cheap test whether a stream may begin with one, the hello of a single segment read
//! in place, and [`HelloStream`] for hellos that come in pieces. Hellos in SSLv2's form (RFC 5246 §E.2) are recognised.

use super::hello::{ClientHello, HelloScan};
use super::records::{Message, NoRecord, RECORD_BYTES_MAX, RECORD_HEADER_BYTES, RecordHeader, Records, Step, Stop};
use super::records::{content, handshake};

/// How many records of alerts and ChangeCipherSpec may stand before a hello to be looked for.
const SMALL_RECORDS_MAX: usize = 4;

/// The fixed fields of a hello, with one cipher suite and one compression method, and the most its fields can take.
const HELLO_BYTES_MIN: usize = 2 + 32 + 1 + 2 + 2 + 1;
const HELLO_BYTES_MAX: usize = 2 + 32 + 33 + 2 + 0xffff + 256 + 2 + 0xffff;

/// Whether a stream that starts with `payload` may start with a ClientHello. Fewer bytes than would tell are no
/// objection, so an empty piece may; so may a hello in SSLv2's form, and one behind an alert or a ChangeCipherSpec, as
/// the second hello of a connection is whose first was not seen.
#[inline]
pub fn looks_like_hello(payload: &[u8]) -> bool {
    match *payload {
        [] | [content::HANDSHAKE] | [content::HANDSHAKE, 3] | [content::HANDSHAKE, 3, 0..=4] => true,
        [content::HANDSHAKE, 3, 0..=4, ref rest @ ..] => looks_like_hello_record(rest),
        [content::CHANGE_CIPHER_SPEC | content::ALERT, ..] => looks_like_hello_behind(payload),
        [first, ..] if first & 0x80 != 0 => sslv2_hello(payload).is_some(),
        _ => false,
    }
}

/// The same where an alert or a ChangeCipherSpec comes first: two bytes or one, or it is encrypted.
#[cold]
fn looks_like_hello_behind(payload: &[u8]) -> bool {
    let mut rest = payload;
    for _ in 0..SMALL_RECORDS_MAX {
        let length = match RecordHeader::read(rest) {
            Err(NoRecord::More) => return true,
            Err(NoRecord::NotTls) => return false,
            Ok(RecordHeader { content_type: content::HANDSHAKE, .. }) => return looks_like_hello(rest),
            Ok(RecordHeader { content_type: content::ALERT, length: 2 }) => 2,
            Ok(RecordHeader { content_type: content::CHANGE_CIPHER_SPEC, length: 1 }) => 1,
            Ok(_) => return false,
        };
        rest = rest.get(RECORD_HEADER_BYTES + length..).unwrap_or_default();
    }
    false
}

/// The same from a record's length on.
fn looks_like_hello_record(rest: &[u8]) -> bool {
    let Some((&high, rest)) = rest.split_first() else { return true };
    if usize::from(high) << 8 > RECORD_BYTES_MAX {
        return false;
    }
    let Some((&low, rest)) = rest.split_first() else { return true };
    let length = usize::from(u16::from_be_bytes([high, low]));
    if length == 0 || length > RECORD_BYTES_MAX {
        return false;
    }
    // A small record holds less of the message than this test looks at.
    let rest = rest.get(..length).unwrap_or(rest);
    match *rest {
        [] | [handshake::CLIENT_HELLO] => true,
        [handshake::CLIENT_HELLO, 0..=2] | [handshake::CLIENT_HELLO, 0..=2, _] => true,
        [handshake::CLIENT_HELLO, a, b, c, ref body @ ..] => {
            let announced = u32::from_be_bytes([0, a, b, c]) as usize;
            (HELLO_BYTES_MIN..=HELLO_BYTES_MAX).contains(&announced) && body.first().is_none_or(|&major| major == 3)
        }
        _ => false,
    }
}

/// Whether `payload` starts like a record of TLS, of any kind: a stream may bring an alert before its hello.
#[inline]
pub fn looks_like_record(payload: &[u8]) -> bool {
    !matches!(RecordHeader::read(payload), Err(NoRecord::NotTls))
}

/// The hello of a segment that starts with the record that holds it whole; nothing is copied.
#[inline]
pub fn hello_in_one_record(payload: &[u8]) -> Option<ClientHello<'_>> {
    let [content::HANDSHAKE, 3, 0..=4, high, low, ref rest @ ..] = *payload else { return None };
    let length = usize::from(u16::from_be_bytes([high, low]));
    let (&[handshake::CLIENT_HELLO, a, b, c], body) = rest.get(..length)?.split_first_chunk::<4>()? else {
        return None;
    };
    let announced = u32::from_be_bytes([0, a, b, c]) as usize;
    ClientHello::parse(body.get(..announced)?, announced).ok()
}

/// Length and version of a hello in SSLv2's form (RFC 5246 §E.2), as far as `stream` tells; `None` if it cannot be one.
fn sslv2_hello(stream: &[u8]) -> Option<(usize, &[u8])> {
    let (&high, rest) = stream.split_first()?;
    let Some((&low, message)) = rest.split_first() else { return (high & 0x80 != 0).then_some((0, &[])) };
    // Fifteen bits of length; the header of three bytes, with padding, is for encrypted records only.
    let length = usize::from(u16::from_be_bytes([high & 0x7f, low]));
    if high & 0x80 == 0 || !(9 + 3 + 16..=0x7fff).contains(&length) {
        return None;
    }
    let message = message.get(..length).unwrap_or(message);
    match *message {
        [] | [handshake::CLIENT_HELLO] | [handshake::CLIENT_HELLO, 0 | 3] => {}
        [handshake::CLIENT_HELLO, 3, 0..=4, ref rest @ ..] | [handshake::CLIENT_HELLO, 0, 2, ref rest @ ..] => {
            // Lengths of cipher specs, session id and challenge make the message's.
            if let Some(&[a, b, c, d, e, f]) = rest.first_chunk::<6>() {
                let parts = [[a, b], [c, d], [e, f]].map(|pair| usize::from(u16::from_be_bytes(pair)));
                let [cipher_specs, session_id, challenge] = parts;
                if 9 + cipher_specs + session_id + challenge != length || cipher_specs % 3 != 0 || challenge < 16 {
                    return None;
                }
            }
        }
        _ => return None,
    }
    Some((length, message))
}

/// The result of a call.
#[derive(Clone, Copy, Debug)]
pub enum HelloStep<'a> {
    /// Nothing yet: more bytes are needed.
    More,
    /// The hello, as much of it as is there. Unless it is complete, another look with more bytes may tell more.
    Hello(ClientHello<'a>),
    /// There is no hello, and none will come.
    Stopped(Stop),
}

/// The client's direction of a connection, until its hello is read.
#[derive(Debug, Default)]
pub struct HelloStream {
    records: Records,
    scan: HelloScan,
}

impl HelloStream {
    /// Looks for the hello in `stream`, the client's bytes from its first one on. A later call must bring the same
    /// bytes, and may bring more. A hello in more than one record is held up to `bytes_max` bytes; if it is longer,
    /// what these bytes tell is told, and [`is_cut`](Self::is_cut) says that waiting is of no use.
    pub fn advance<'a>(&'a mut self, stream: &'a [u8], bytes_max: usize) -> HelloStep<'a> {
        if stream.first().is_some_and(|first| first & 0x80 != 0) {
            return match sslv2_hello(stream) {
                // The version and three consistent lengths rule chance out.
                Some((length, message)) if message.len() >= 9 => {
                    let version_on = message.get(1..).unwrap_or_default();
                    HelloStep::Hello(ClientHello::sslv2(version_on, message.len() == length))
                }
                Some(_) => HelloStep::More,
                None => HelloStep::Stopped(Stop::NotTls),
            };
        }
        match self.records.message(stream, bytes_max) {
            Step::More => HelloStep::More,
            Step::Stopped(stop) => HelloStep::Stopped(stop),
            Step::Message(Message { kind: handshake::CLIENT_HELLO, announced, body, .. }) => {
                match self.scan.advance(body, announced) {
                    Ok(hello) => HelloStep::Hello(hello),
                    Err(_) => HelloStep::Stopped(Stop::Malformed),
                }
            }
            Step::Message(_) => HelloStep::Stopped(Stop::OtherMessage),
        }
    }

    /// Bytes of memory held, those of the struct itself among them.
    pub fn memory_bytes(&self) -> usize {
        size_of::<Self>() + self.records.memory_bytes()
    }

    /// Whether the hello was longer than the bytes that may be held.
    pub fn is_cut(&self, bytes_max: usize) -> bool {
        self.records.is_cut(bytes_max)
    }
}

#[cfg(test)]
mod tests;
