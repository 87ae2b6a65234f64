//! Handshake messages out of a TCP stream: TLS records (RFC 8446 §5.1, RFC 5246 §6.2) of any size, messages cut over
//! records anywhere, several messages in a record. The stream comes as its contiguous prefix, which grows; no byte is
//! looked at twice. Putting segments in order is not done here, nor finding where TLS starts within a stream.

use super::hello::{ClientHello, HelloScan};

/// Content types of records.
mod content {
    pub const CHANGE_CIPHER_SPEC: u8 = 20;
    pub const ALERT: u8 = 21;
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

const RECORD_HEADER_BYTES: usize = 5;
const MESSAGE_HEADER_BYTES: usize = 4;

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

/// The header of a record.
struct RecordHeader {
    content_type: u8,
    length: usize,
}

/// Why there is no record header.
enum NoRecord {
    /// Its bytes are not all there; those that are may be one.
    More,
    NotTls,
}

impl RecordHeader {
    #[inline]
    fn read(bytes: &[u8]) -> Result<Self, NoRecord> {
        let plausible = match *bytes {
            [] => true,
            [kind] => is_content_type(kind),
            [kind, major] => is_content_type(kind) && major == 3,
            [kind, major, minor, ..] => is_content_type(kind) && major == 3 && minor <= 4,
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

/// Why a stream will tell no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// These are no TLS records.
    NotTls,
    /// What follows is encrypted, or the handshake is over.
    Encrypted,
    /// The first message is another than was looked for.
    OtherMessage,
    /// The message looked for contradicts itself.
    Malformed,
    /// The message takes more bytes than may be held.
    TooLong,
    /// All that was looked for was told.
    Told,
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

/// What a look at the stream gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step<'a> {
    /// Nothing yet: more bytes are needed.
    More,
    /// The message that is due, perhaps not whole.
    Message(Message<'a>),
    /// Nothing more will come.
    Stopped(Stop),
}

/// Where the message that is due stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    /// Not known yet.
    #[default]
    Ahead,
    /// In one record: its header is at this offset of the stream.
    InStream { start: usize },
    /// Over several records: put together in `joined`.
    Joined,
    /// There is none.
    Nowhere(Stop),
}

/// A walk over the records of one direction of a connection.
#[derive(Debug, Default)]
pub struct Records {
    /// Offset of the first byte of the stream not yet passed.
    at: usize,
    /// Bytes of the current record from there on.
    record_left: usize,
    /// Whether the current record is of the handshake.
    is_handshake: bool,
    /// Whether a ChangeCipherSpec went by.
    cipher_changed: bool,
    place: Place,
    /// A message's header and body, where it stands in more than one record.
    joined: Vec<u8>,
}

impl Records {
    /// The message that is due, as far as `stream` tells: the connection's bytes from its first one on. A later call
    /// must bring the same bytes, and may bring more. Of a message over several records no more than `bytes_max` bytes
    /// are held: if it has more, it stays incomplete.
    pub fn message<'a>(&'a mut self, stream: &'a [u8], bytes_max: usize) -> Step<'a> {
        if self.place == Place::Ahead {
            self.place = self.locate(stream);
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
        Step::Message(Message { kind, announced, body, after_cipher_change: self.cipher_changed })
    }

    /// Bytes of memory held, besides those of the struct itself.
    pub(super) const fn memory_bytes(&self) -> usize {
        self.joined.capacity()
    }

    /// Passes over the message that is due, if it was there to its end.
    pub fn pass(&mut self, stream: &[u8]) {
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

    /// Finds out where the next message stands.
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
                        // What was joined is told as long as it is of use; an own record amidst it ends the message.
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

    /// Passes over the next record header. False if it is not there yet.
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

/// What a look for the ClientHello gave.
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
                // A version and the three lengths tell it from chance.
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
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tls::build::{Hello, message, record, records, unhex, vector16};

    const BYTES_MAX: usize = 16 << 10;

    /// What a stream tells that comes in pieces of these sizes, repeated: name, completeness, memory for joining.
    fn read_in_pieces(stream: &[u8], sizes: &[usize]) -> (Option<Vec<u8>>, bool, usize) {
        let mut state = HelloStream::default();
        let (mut there, mut told) = (0, (None, false));
        for size in sizes.iter().cycle() {
            there = (there + size).min(stream.len());
            match state.advance(&stream[..there], BYTES_MAX) {
                HelloStep::Hello(hello) => told = (hello.server_name().map(<[u8]>::to_vec), hello.is_complete()),
                HelloStep::More => {}
                HelloStep::Stopped(stop) => panic!("{stop:?} after {there} of {} bytes", stream.len()),
            }
            if there == stream.len() {
                break;
            }
        }
        (told.0, told.1, state.records.joined.capacity())
    }

    fn stop_of(stream: &[u8]) -> Option<Stop> {
        match HelloStream::default().advance(stream, BYTES_MAX) {
            HelloStep::Stopped(stop) => Some(stop),
            _ => None,
        }
    }

    #[test]
    fn a_hello_in_one_record_is_never_copied() {
        let record = Hello::post_quantum("one.example").record();
        let name = Some(b"one.example".to_vec());
        assert_eq!(read_in_pieces(&record, &[record.len()]), (name.clone(), true, 0));
        assert_eq!(read_in_pieces(&record, &[1]), (name.clone(), true, 0));
        assert_eq!(hello_in_one_record(&record).unwrap().server_name().map(<[u8]>::to_vec), name);
        let with_more_behind = [&record[..], &[20, 3, 3, 0, 1, 1]].concat();
        assert_eq!(hello_in_one_record(&with_more_behind).unwrap().server_name().map(<[u8]>::to_vec), name);
        for cut in 0..record.len() {
            assert!(hello_in_one_record(&record[..cut]).is_none());
        }
    }

    #[test]
    fn small_records_of_all_sizes() {
        let message = Hello::post_quantum("small.example").message();
        for size in [1, 2, 3, 4, 5, 16, 32, 500, message.len() - 1] {
            let stream = records(&message, size);
            for piece in [1, 7, 1460] {
                let (name, complete, _) = read_in_pieces(&stream, &[piece]);
                assert_eq!((name.as_deref(), complete), (Some(&b"small.example"[..]), true), "{size}, {piece}");
            }
            assert!(hello_in_one_record(&stream).is_none());
        }
    }

    #[test]
    fn the_name_is_told_as_soon_as_its_bytes_are_there() {
        let message = Hello::post_quantum("soon.example").message();
        let end_in_message = message.windows(12).position(|window| window == b"soon.example").unwrap() + 12;
        for size in [16_usize, 700, 4000] {
            let stream = records(&message, size);
            let end = end_in_message + 5 * end_in_message.div_ceil(size);
            let mut state = HelloStream::default();
            for cut in 0..=stream.len() {
                let named = match state.advance(&stream[..cut], BYTES_MAX) {
                    HelloStep::Hello(hello) => hello.server_name().is_some(),
                    _ => false,
                };
                assert_eq!(named, cut >= end, "records of {size}, cut at {cut}");
            }
        }
    }

    #[test]
    fn other_records_before_the_hello_and_within_it() {
        let hello = Hello::to("behind.example");
        let change = record(20, &[1]);
        let warning = record(21, &[1, 112]);
        let before = [&change[..], &warning, &record(22, &[]), &hello.record()].concat();
        let message = hello.message();
        let within = [&record(22, &message[..30])[..], &warning, &change, &record(22, &message[30..])].concat();
        for stream in [before, within] {
            for piece in [1, 9999] {
                let (name, complete, _) = read_in_pieces(&stream, &[piece]);
                assert_eq!((name.as_deref(), complete), (Some(&b"behind.example"[..]), true));
            }
        }
    }

    #[test]
    fn a_look_behind_small_records() {
        let stream = [record(20, &[1]), record(21, &[1, 112]), Hello::to("behind.example").record()].concat();
        for there in 0..=stream.len() {
            assert!(looks_like_hello(&stream[..there]), "{there} bytes");
        }
        assert!(!looks_like_hello(&[record(20, &[1]), record(22, &message(16, &[0; 60]))].concat()));
        assert!(!looks_like_hello(&[record(20, &[1]), record(23, &[0; 60])].concat()));
        assert!(!looks_like_hello(&record(21, &[0; 26])), "an encrypted alert");
        assert!(!looks_like_hello(&record(20, &[1]).repeat(5)));
        assert!(!looks_like_hello(&[20, 3, 9]));
    }

    #[test]
    fn several_messages_in_a_record() {
        let messages = [message(4, b"ticket"), message(5, b""), Hello::to("third.example").message()];
        for size in [1, 7, 16, 9999] {
            let stream = records(&messages.concat(), size);
            let mut walk = Records::default();
            let mut seen = Vec::new();
            for there in 0..=stream.len() {
                while let Step::Message(message) = walk.message(&stream[..there], BYTES_MAX)
                    && message.is_complete()
                {
                    seen.push((message.kind, message.body.to_vec()));
                    walk.pass(&stream[..there]);
                }
            }
            assert_eq!(seen.iter().map(|(kind, _)| *kind).collect::<Vec<_>>(), [4, 5, 1], "{size}");
            assert_eq!(seen[0].1, b"ticket");
            assert_eq!(seen[2].1, Hello::to("third.example").body());
        }
    }

    #[test]
    fn why_a_stream_stops() {
        assert_eq!(stop_of(b"GET / HTTP/1.1\r\n"), Some(Stop::NotTls));
        assert_eq!(stop_of(&[22, 3, 9]), Some(Stop::NotTls));
        assert_eq!(stop_of(&[22, 3, 1, 0x48, 1]), Some(Stop::NotTls));
        assert_eq!(stop_of(&record(23, &[1, 2, 3])), Some(Stop::Encrypted));
        assert_eq!(stop_of(&record(22, &message(16, &[0; 40]))), Some(Stop::OtherMessage));
        assert_eq!(stop_of(&record(22, &message(1, &[3, 3]))), Some(Stop::Malformed));
        assert_eq!(stop_of(&[&record(22, &[1, 0])[..], b"junk!"].concat()), Some(Stop::NotTls));
        assert_eq!(stop_of(&[]), None);
        assert_eq!(stop_of(&[22, 3]), None);
    }

    #[test]
    fn a_hello_longer_than_may_be_held_tells_its_beginning() {
        let hello = Hello::to("long.example").with(21, vec![0; 20_000]);
        let stream = records(&hello.message(), 4096);
        let mut state = HelloStream::default();
        for there in (0..stream.len()).step_by(100) {
            if let HelloStep::Hello(hello) = state.advance(&stream[..there], 1000) {
                assert!(!hello.is_complete());
            }
        }
        let HelloStep::Hello(hello) = state.advance(&stream, 1000) else { panic!("no hello") };
        assert_eq!(hello.server_name(), Some(&b"long.example"[..]));
        assert!(!hello.is_complete());
        assert!(state.is_cut(1000));
        assert!(state.records.joined.capacity() <= 2000);
    }

    #[test]
    fn what_looks_like_a_hello() {
        for size in [1, 2, 3, 4, 5, 9999] {
            let stream = records(&Hello::to("look.example").message(), size);
            for there in 0..=stream.len() {
                assert!(looks_like_hello(&stream[..there]), "records of {size}, {there} bytes");
            }
        }
        let whole = Hello::to("look.example").record();
        for (place, byte) in [(0, 23), (1, 2), (2, 5), (3, 0x49), (5, 2), (6, 3), (9, 0xfe)] {
            let mut other = whole.clone();
            other[place] = byte;
            assert!(!looks_like_hello(&other), "byte {place}");
        }
        assert!(!looks_like_hello(&[22, 3, 1, 0, 0]), "an empty record");
        assert!(!looks_like_hello(&record(22, &message(1, &[3, 3, 0]))), "a hello too short");
        for other in [&b"GET / "[..], b"SSH-2.0-", b"\x80\x00\x00\x28\x72\xfe\x1d\x13", b"\0\0\0\0", b"\x13BitTorrent"]
        {
            assert!(!looks_like_hello(other), "{other:x?}");
        }
        assert!(looks_like_record(&record(21, &[2, 40])) && !looks_like_record(b"GET / "));
    }

    /// A hello in SSLv2's form: two cipher specs, no session id, a challenge of 16 bytes.
    fn sslv2() -> Vec<u8> {
        let message = [&[1, 3, 1, 0, 6, 0, 0, 0, 16, 0, 0, 5, 1, 0, 0x80][..], &[0xcc; 16]].concat();
        [&[0x80, message.len() as u8][..], &message].concat()
    }

    #[test]
    fn a_hello_in_the_form_of_sslv2_has_no_name() {
        let stream = sslv2();
        let mut state = HelloStream::default();
        for there in 0..stream.len() {
            assert!(looks_like_hello(&stream[..there]), "{there}");
            let step = state.advance(&stream[..there], BYTES_MAX);
            assert!(!matches!(step, HelloStep::Stopped(_)), "{there}");
            assert!(!matches!(step, HelloStep::Hello(hello) if hello.is_complete()), "{there}");
        }
        let HelloStep::Hello(hello) = state.advance(&stream, BYTES_MAX) else { panic!("no hello") };
        assert!(hello.is_sslv2() && hello.is_complete() && hello.server_name_is_certain());
        assert_eq!((hello.server_name(), hello.legacy_version()), (None, 0x0301));
        let mut wrong = stream.clone();
        wrong[8] += 1;
        assert_eq!(stop_of(&wrong), Some(Stop::NotTls));
        assert!(!looks_like_hello(&wrong));
    }

    #[test]
    fn a_recorded_hello_of_openssl() {
        let stream = unhex(include_str!("testdata/openssl_3_0.hex"));
        assert!(looks_like_hello(&stream));
        let hello = hello_in_one_record(&stream).unwrap();
        assert_eq!(hello.server_name(), Some(&b"s-client.example.org"[..]));
        assert_eq!(hello.alpn().collect::<Vec<_>>(), [&b"h2"[..], b"http/1.1"]);
    }

    proptest! {
        #[test]
        fn any_cut_into_records_and_segments_gives_the_same_name(
            record_sizes in proptest::collection::vec(1_usize..400, 1..20),
            pieces in proptest::collection::vec(1_usize..300, 1..20),
        ) {
            let message = Hello::post_quantum("any-cut.example").message();
            let (mut rest, mut stream) = (&message[..], Vec::new());
            for size in record_sizes.iter().cycle() {
                let (head, tail) = rest.split_at((*size).min(rest.len()));
                stream.extend(record(22, head));
                rest = tail;
                if rest.is_empty() {
                    break;
                }
            }
            let (name, complete, _) = read_in_pieces(&stream, &pieces);
            prop_assert_eq!(name.as_deref(), Some(&b"any-cut.example"[..]));
            prop_assert!(complete);
        }

        #[test]
        fn no_bytes_panic_and_memory_is_bounded(
            pieces in proptest::collection::vec((18_u8..26, proptest::collection::vec(any::<u8>(), 0..60)), 0..20),
            tail in proptest::collection::vec(any::<u8>(), 0..20), bytes_max in 0_usize..200,
        ) {
            let mut stream: Vec<u8> = pieces.iter().flat_map(|(kind, content)| record(*kind, content)).collect();
            stream.extend(tail);
            let (mut state, mut walk) = (HelloStream::default(), Records::default());
            for there in 0..=stream.len() {
                looks_like_hello(&stream[..there]);
                state.advance(&stream[..there], bytes_max);
                walk.message(&stream[..there], bytes_max);
                walk.pass(&stream[..there]);
            }
            prop_assert!(walk.joined.len() <= bytes_max.max(4) && state.records.joined.len() <= bytes_max.max(4));
        }
    }

    #[test]
    fn hostile_lists_byte_by_byte_cost_linear_time() {
        // Thousands of empty extensions, a long server_name list without a host name, one-byte records: each look
        // at the stream goes on where the last one stopped, so this ends at once instead of after minutes.
        let mut hello = Hello { extensions: vec![(0x4242, vec![]); 12_000], ..Hello::default() };
        hello.extensions.push((0, vector16(&[1, 0, 0].repeat(5000))));
        let stream = records(&hello.message(), 1);
        let mut state = HelloStream::default();
        for there in 0..=stream.len() {
            state.advance(&stream[..there], 1 << 17);
        }
        assert!(matches!(state.advance(&stream, 1 << 17), HelloStep::Hello(hello) if hello.is_complete()));
    }
}
