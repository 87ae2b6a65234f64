//! The ClientHello of a TCP stream: the hello of a single segment is read in place, [`HelloStream`] reads hellos that come
//! in pieces. Hellos in SSLv2's form (RFC 5246 §E.2) are not read: they name no host.

use super::hello::{ClientHello, HelloScan};
use super::records::{Message, RECORD_BYTES_MAX, Records, Step, Stop};
use super::records::{content, handshake};

/// The hello of a segment that starts with the record that holds it whole; nothing is copied.
#[inline]
pub fn hello_in_one_record(payload: &[u8]) -> Option<ClientHello<'_>> {
    // The version is ignored (RFC 8446 §5.1).
    let [content::HANDSHAKE, _, _, high, low, ref rest @ ..] = *payload else { return None };
    let length = usize::from(u16::from_be_bytes([high, low]));
    let (&[handshake::CLIENT_HELLO, a, b, c], body) = rest.get(..length)?.split_first_chunk::<4>()? else {
        return None;
    };
    let announced = u32::from_be_bytes([0, a, b, c]) as usize;
    ClientHello::parse(body.get(..announced)?, announced).ok()
}

/// Bytes in front of a hello's body: the headers of its record and of its message.
pub const HELLO_HEADER_BYTES: usize = 9;

/// A first part of a body that is shorter than this is not looked at.
const START_BYTES_MIN: usize = 64;

/// The beginning of a hello that fills its record.
#[derive(Clone, Copy, Debug)]
pub struct HelloStart<'a> {
    /// Bytes of its body.
    pub announced: usize,
    /// The body, as far as it is there.
    pub body: &'a [u8],
}

impl<'a> HelloStart<'a> {
    /// The hello that begins `payload`, if it fills one record.
    #[inline]
    pub fn read(payload: &'a [u8]) -> Option<Self> {
        let [content::HANDSHAKE, 3, _, high, low, handshake::CLIENT_HELLO, a, b, c, ref body @ ..] = *payload else {
            return None;
        };
        let announced = u32::from_be_bytes([0, a, b, c]) as usize;
        let length = usize::from(u16::from_be_bytes([high, low]));
        let fills = announced + 4 == length && length <= RECORD_BYTES_MAX;
        (fills && body.len() >= START_BYTES_MIN).then_some(Self { announced, body })
    }
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
