//! Handshake messages out of a TCP stream: TLS records (RFC 8446 §5.1, RFC 5246 §6.2) of any size, messages cut over
//! records anywhere, several messages in a record. The stream comes as its contiguous prefix, which grows; no byte is
//! read twice. Reassembly of segments happens elsewhere, and so does the search for where TLS starts in a stream.

/// Content types of records.
pub(super) mod content {
    pub const CHANGE_CIPHER_SPEC: u8 = 20;
    pub const HANDSHAKE: u8 = 22;
    pub const APPLICATION_DATA: u8 = 23;
    pub const HEARTBEAT: u8 = 24;
}

/// Handshake message types.
pub(super) mod handshake {
    pub const CLIENT_HELLO: u8 = 1;
    pub const SERVER_HELLO: u8 = 2;
    pub const CERTIFICATE: u8 = 11;
    pub const SERVER_KEY_EXCHANGE: u8 = 12;
    pub const SERVER_HELLO_DONE: u8 = 14;
}

/// The longest content of a record: 2^14 bytes, and what encryption before TLS 1.3 may add.
pub const RECORD_BYTES_MAX: usize = (1 << 14) + 2048;

pub(super) const RECORD_HEADER_BYTES: usize = 5;
const MESSAGE_HEADER_BYTES: usize = 4;

/// The header of a record.
pub(super) struct RecordHeader {
    pub(super) content_type: u8,
    pub(super) length: usize,
}

/// Why there is no record header.
pub(super) enum NoRecord {
    /// Its bytes are not all there; those that are may be one.
    More,
    NotTls,
}

impl RecordHeader {
    #[inline]
    pub(super) fn read(bytes: &[u8]) -> Result<Self, NoRecord> {
        // RFC 8446 §5.1: the version MUST be ignored. Its high nibble, which no version used, still tells TLS from chance.
        let plausible = match *bytes {
            [] => true,
            [kind] => is_content_type(kind),
            [kind, major, ..] => is_content_type(kind) && major < 0x10,
        };
        if !plausible {
            return Err(NoRecord::NotTls);
        }
        let Some(&[content_type, _, _, high, low]) = bytes.first_chunk::<RECORD_HEADER_BYTES>() else {
            return Err(NoRecord::More);
        };
        let length = usize::from(u16::from_be_bytes([high, low]));
        if length > RECORD_BYTES_MAX { Err(NoRecord::NotTls) } else { Ok(Self { content_type, length }) }
    }
}

const fn is_content_type(kind: u8) -> bool {
    matches!(kind, content::CHANGE_CIPHER_SPEC..=content::HEARTBEAT)
}

/// Why the walk ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// These are no TLS records.
    NotTls,
    /// What follows is encrypted, or the handshake is over.
    Encrypted,
    /// The first message is not the one searched for.
    OtherMessage,
    /// The message contradicts itself.
    Malformed,
    /// The message exceeds the limit.
    TooLong,
    /// Everything searched for was found.
    Done,
}

/// A handshake message, or as much of one as is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// Its type.
    pub kind: u8,
    /// How many bytes its body was announced to have.
    pub announced: usize,
    /// Its body as far as it is there.
    pub body: &'a [u8],
    /// Whether a ChangeCipherSpec went by before it.
    pub after_cipher_change: bool,
}

impl Message<'_> {
    /// Whether the body is there to its end.
    pub const fn is_complete(&self) -> bool {
        self.body.len() == self.announced
    }
}

/// The result of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step<'a> {
    /// Nothing yet: more bytes are needed.
    More,
    /// The next message, perhaps not complete.
    Message(Message<'a>),
    /// Nothing more will come.
    Stopped(Stop),
}

/// Where the next message is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    /// Not known yet.
    #[default]
    Ahead,
    /// Inside one record: its header is at this offset of the stream.
    InStream { start: usize },
    /// Spread over several records: copied to `joined`.
    Joined,
    /// There is none.
    Nowhere(Stop),
}

/// A walk over the records of one direction of a connection.
#[derive(Debug, Default)]
pub struct Records {
    /// Offset of the next unread byte of the stream.
    at: usize,
    /// Bytes of the current record from there on.
    record_left: usize,
    /// Whether the current record is of the handshake.
    is_handshake: bool,
    /// Whether a ChangeCipherSpec went by.
    cipher_changed: bool,
    /// Whether one went by before the first byte of the current message.
    is_after_cipher_change: bool,
    place: Place,
    /// A message's header and body, where it stands in more than one record.
    pub(super) joined: Vec<u8>,
}

impl Records {
    /// The next message, as far as it is in `stream`: the connection's bytes from its first one on. A later call
    /// must bring the same bytes, and may bring more. Of a message over several records no more than `bytes_max` bytes
    /// are held: if it has more, it stays incomplete.
    pub fn message<'a>(&'a mut self, stream: &'a [u8], bytes_max: usize) -> Step<'a> {
        if self.place == Place::Ahead {
            self.place = self.locate(stream);
            self.is_after_cipher_change = self.cipher_changed;
        }
        if self.place == Place::Joined {
            self.join(stream, bytes_max.max(MESSAGE_HEADER_BYTES));
        }
        let bytes = match self.place {
            Place::Ahead => return Step::More,
            Place::Nowhere(stop) => return Step::Stopped(stop),
            Place::InStream { start } => stream.get(start..).unwrap_or_default(),
            Place::Joined => self.joined.as_slice(),
        };
        let Some((&[kind, a, b, c], body)) = bytes.split_first_chunk::<MESSAGE_HEADER_BYTES>() else {
            return Step::More;
        };
        let announced = u32::from_be_bytes([0, a, b, c]) as usize;
        let body = body.get(..announced).unwrap_or(body);
        Step::Message(Message { kind, announced, body, after_cipher_change: self.is_after_cipher_change })
    }

    /// Bytes of memory held, besides those of the struct itself.
    pub(super) const fn memory_bytes(&self) -> usize {
        self.joined.capacity()
    }

    /// Moves past the current message, if it was complete.
    pub fn skip(&mut self, stream: &[u8]) {
        match self.place {
            Place::InStream { start } => {
                let Some(length) = message_length(stream.get(start..).unwrap_or_default()) else { return };
                if start + length > stream.len() {
                    return;
                }
                self.at = start + length;
                self.record_left = self.record_left.saturating_sub(length);
            }
            Place::Joined if message_length(&self.joined) == Some(self.joined.len()) => self.joined = Vec::new(),
            _ => return,
        }
        self.place = Place::Ahead;
    }

    /// Whether a message over several records was cut at the limit.
    pub(super) fn is_cut(&self, bytes_max: usize) -> bool {
        self.place == Place::Joined && self.joined.len() >= bytes_max
    }

    /// Finds the next message.
    fn locate(&mut self, stream: &[u8]) -> Place {
        loop {
            if self.record_left == 0 {
                match self.open_record(stream) {
                    Ok(true) => continue,
                    Ok(false) => return Place::Ahead,
                    Err(stop) => return Place::Nowhere(stop),
                }
            }
            let there = stream.get(self.at..).unwrap_or_default();
            if !self.is_handshake {
                let passed = there.len().min(self.record_left);
                self.at += passed;
                self.record_left -= passed;
                if self.record_left > 0 {
                    return Place::Ahead;
                }
                continue;
            }
            if self.record_left < MESSAGE_HEADER_BYTES {
                return Place::Joined;
            }
            return match message_length(there) {
                None => Place::Ahead,
                Some(length) if length <= self.record_left => Place::InStream { start: self.at },
                Some(_) => Place::Joined,
            };
        }
    }

    /// Copies what the stream has of a message that is cut over records.
    fn join(&mut self, stream: &[u8], bytes_max: usize) {
        loop {
            let wanted = message_length(&self.joined).unwrap_or(MESSAGE_HEADER_BYTES).min(bytes_max);
            let missing = wanted.saturating_sub(self.joined.len());
            if missing == 0 {
                return;
            }
            if self.record_left == 0 {
                match self.open_record(stream) {
                    Ok(true) => continue,
                    Ok(false) => return,
                    Err(stop) => {
                        // What was joined stays readable; a record of another kind in the middle ends the message.
                        if self.joined.len() < MESSAGE_HEADER_BYTES {
                            self.place = Place::Nowhere(stop);
                        }
                        return;
                    }
                }
            }
            let there = stream.get(self.at..).unwrap_or_default();
            let mut passed = there.len().min(self.record_left);
            if self.is_handshake {
                passed = passed.min(missing);
                self.joined.extend_from_slice(there.get(..passed).unwrap_or_default());
            }
            if passed == 0 {
                return;
            }
            self.at += passed;
            self.record_left -= passed;
        }
    }

    /// Reads the next record header. False if it is not there yet.
    fn open_record(&mut self, stream: &[u8]) -> Result<bool, Stop> {
        match RecordHeader::read(stream.get(self.at..).unwrap_or_default()) {
            Ok(RecordHeader { content_type: content::APPLICATION_DATA, .. }) => Err(Stop::Encrypted),
            Ok(header) => {
                self.at += RECORD_HEADER_BYTES;
                self.record_left = header.length;
                self.is_handshake = header.content_type == content::HANDSHAKE;
                self.cipher_changed |= header.content_type == content::CHANGE_CIPHER_SPEC;
                Ok(true)
            }
            Err(NoRecord::More) => Ok(false),
            Err(NoRecord::NotTls) => Err(Stop::NotTls),
        }
    }
}

/// Header and body of the message whose first bytes these are; `None` while its header is not there.
fn message_length(bytes: &[u8]) -> Option<usize> {
    let &[_, a, b, c] = bytes.first_chunk::<MESSAGE_HEADER_BYTES>()?;
    Some(MESSAGE_HEADER_BYTES + u32::from_be_bytes([0, a, b, c]) as usize)
}
