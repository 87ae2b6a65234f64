//! The server's side of a handshake: its hello, and before TLS 1.3 the names in its certificate.
//!
//! The `tls-parser` crate reads the ServerHello. It does not read the Certificate message, because it wants that whole:
//! the leaf's names are known here before the chain behind it has come, or although the chain exceeds the limit.

use super::certificate::leaf;
use super::hello::extension;
use super::records::{Message, Records, Step, Stop, handshake};
use tls_parser::{TlsExtension, parse_tls_extension_unknown, parse_tls_handshake_server_hello};

/// The random of a ServerHello that asks for another ClientHello (RFC 8446 §4.1.3).
#[rustfmt::skip]
const HELLO_RETRY_REQUEST: [u8; 32] = [
    0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91,
    0xc2, 0xa2, 0x11, 0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
];

/// How many messages of a server are skipped in search of its certificate.
const MESSAGES_MAX: usize = 8;

/// A ServerHello (RFC 8446 §4.1.3, RFC 5246 §7.4.1.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerHello {
    /// The version chosen, as on the wire.
    pub version: u16,
    /// The cipher suite chosen.
    pub cipher_suite: u16,
    /// Whether it is a HelloRetryRequest: another ClientHello follows.
    pub is_retry: bool,
}

impl ServerHello {
    /// Reads the body of a ServerHello message.
    pub fn parse(body: &[u8]) -> Option<Self> {
        let (_, hello) = parse_tls_handshake_server_hello(body).ok()?;
        let mut version = hello.version.0;
        let mut rest = hello.ext.unwrap_or_default();
        // One extension at a time allocates nothing, and an extension with odd content does not hide the next.
        while let Ok((behind, TlsExtension::Unknown(kind, data))) = parse_tls_extension_unknown(rest) {
            if let (extension::SUPPORTED_VERSIONS, &[high, low]) = (kind.0, data) {
                version = u16::from_be_bytes([high, low]);
            }
            rest = behind;
        }
        let is_retry = hello.random == HELLO_RETRY_REQUEST;
        Some(Self { version, cipher_suite: hello.cipher.0, is_retry })
    }

    /// Whether the rest of the handshake is encrypted: TLS 1.3, DTLS 1.3, or a draft.
    pub const fn is_tls13(&self) -> bool {
        matches!(self.version, 0x0304 | 0xfefc | 0x7f00..=0x7fff | 0xfb00..=0xfbff)
    }
}

/// The result of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerStep<'a> {
    /// Nothing new yet: more bytes are needed.
    More,
    /// A hello; reported once.
    Hello(ServerHello),
    /// The server's own certificate in DER, which ends the search; reported at each further call.
    Certificate(&'a [u8]),
    /// Nothing more will come.
    Stopped(Stop),
}

/// The server's direction of a connection, until its certificate is read.
#[derive(Debug, Default)]
pub struct ServerStream {
    records: Records,
    /// A hello that is no HelloRetryRequest was seen.
    hello: Option<ServerHello>,
    messages: usize,
    has_certificate: bool,
    stopped: Option<Stop>,
}

impl ServerStream {
    /// Bytes of memory held, besides those of the struct itself.
    pub const fn memory_bytes(&self) -> usize {
        self.records.memory_bytes()
    }

    /// The next finding in `stream`, the server's bytes from its first one on. A later call must bring the same bytes, and
    /// may bring more; call until it is no [`Hello`](ServerStep::Hello). A message in more than one record is held up to
    /// `bytes_max` bytes.
    pub fn advance<'a>(&'a mut self, stream: &'a [u8], bytes_max: usize) -> ServerStep<'a> {
        while !self.has_certificate {
            if let Some(stop) = self.stopped {
                return ServerStep::Stopped(stop);
            }
            let message = match self.records.message(stream, bytes_max) {
                Step::More => return ServerStep::More,
                Step::Stopped(stop) => return self.stop(stop),
                Step::Message(message) => message,
            };
            match Content::of(&message, self.hello.is_some()) {
                Content::Incomplete if self.records.is_cut(bytes_max) => return self.stop(Stop::TooLong),
                Content::Incomplete => return ServerStep::More,
                Content::End(stop) => return self.stop(stop),
                Content::Certificate => self.has_certificate = true,
                Content::Hello(hello) => {
                    self.records.skip(stream);
                    self.note_hello(hello);
                    return ServerStep::Hello(hello);
                }
                Content::Other => {
                    self.records.skip(stream);
                    self.messages += 1;
                    if self.messages == MESSAGES_MAX {
                        return self.stop(Stop::OtherMessage);
                    }
                }
            }
        }
        match self.records.message(stream, bytes_max) {
            Step::Message(message) => leaf(message.body).map_or(ServerStep::More, ServerStep::Certificate),
            Step::More | Step::Stopped(_) => ServerStep::More,
        }
    }

    /// Behind a hello of TLS 1.3 everything is encrypted, unless it asks for another ClientHello.
    fn note_hello(&mut self, hello: ServerHello) {
        if hello.is_retry {
            self.messages += 1;
            self.stopped = (self.messages == MESSAGES_MAX).then_some(Stop::OtherMessage);
        } else {
            self.hello = Some(hello);
            self.stopped = hello.is_tls13().then_some(Stop::Encrypted);
        }
    }

    fn stop(&mut self, stop: Stop) -> ServerStep<'static> {
        self.stopped = Some(stop);
        self.records = Records::default();
        ServerStep::Stopped(stop)
    }
}

/// What a message is for the search.
enum Content {
    /// More bytes are needed.
    Incomplete,
    /// A message to skip.
    Other,
    Hello(ServerHello),
    Certificate,
    /// No certificate follows.
    End(Stop),
}

impl Content {
    fn of(message: &Message<'_>, has_hello: bool) -> Self {
        match (has_hello, message.kind) {
            (false, handshake::SERVER_HELLO) => match ServerHello::parse(message.body) {
                _ if !message.is_complete() => Self::Incomplete,
                Some(hello) => Self::Hello(hello),
                None => Self::End(Stop::Malformed),
            },
            (false, _) => Self::End(Stop::OtherMessage),
            // Records of the handshake behind ChangeCipherSpec are encrypted.
            (true, _) if message.after_cipher_change => Self::End(Stop::Encrypted),
            // The leaf may be there before the chain behind it is.
            (true, handshake::CERTIFICATE) => match leaf(message.body) {
                Some(_) => Self::Certificate,
                None if message.is_complete() => Self::End(Stop::Malformed),
                None => Self::Incomplete,
            },
            (true, handshake::SERVER_KEY_EXCHANGE | handshake::SERVER_HELLO_DONE) => Self::End(Stop::Done),
            (true, _) if message.is_complete() => Self::Other,
            (true, _) => Self::Incomplete,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::build::{message, record, records, unhex, vector16};
    use crate::tls::certificate::for_each_name;

    const BYTES_MAX: usize = 64 << 10;

    /// RFC 8448 §3, the ServerHello of the simple 1-RTT handshake.
    const RFC_8448: &str = "
        02 00 00 56 03 03 a6 af 06 a4 12 18 60 dc 5e 6e 60 24 9c d3 4c 95 93 0c 8a c5 cb 14 34 da c1 55
        77 2e d3 e2 69 28 00 13 01 00 00 2e 00 33 00 24 00 1d 00 20 c9 82 88 76 11 20 95 fe 66 76 2b db
        f7 c6 72 e1 56 d6 cc 25 3b 83 3d f1 dd 69 b1 b0 4e 75 1f 0f 00 2b 00 02 03 04";

    fn recorded() -> Vec<u8> {
        unhex(include_str!("testdata/openssl_server_tls12.hex"))
    }

    /// A step with the names of a certificate in its place.
    #[derive(Debug, PartialEq, Eq)]
    enum Found {
        Hello(ServerHello),
        Names(Vec<String>),
        Stopped(Stop),
    }

    /// All that is found in a stream that comes in pieces of `size`.
    fn found(stream: &[u8], size: usize) -> Vec<Found> {
        let mut state = ServerStream::default();
        let mut found = Vec::new();
        for there in (0..stream.len()).step_by(size).chain([stream.len()]) {
            loop {
                match state.advance(&stream[..there], BYTES_MAX) {
                    ServerStep::More => break,
                    ServerStep::Hello(hello) => found.push(Found::Hello(hello)),
                    ServerStep::Stopped(stop) => {
                        found.push(Found::Stopped(stop));
                        return found;
                    }
                    ServerStep::Certificate(der) => {
                        let mut names = Vec::new();
                        for_each_name(der, |name| names.push(name.to_owned()));
                        found.push(Found::Names(names));
                        return found;
                    }
                }
            }
        }
        found
    }

    fn hello(random: [u8; 32], version: u16) -> Vec<u8> {
        let extensions = [&[0, 43][..], &vector16(&version.to_be_bytes())].concat();
        let body = [&[3, 3][..], &random, &[0, 0x13, 0x02, 0], &vector16(&extensions)].concat();
        message(handshake::SERVER_HELLO, &body)
    }

    #[test]
    fn the_hello_of_rfc_8448() {
        let stream = record(22, &unhex(RFC_8448));
        let expected = ServerHello { version: 0x0304, cipher_suite: 0x1301, is_retry: false };
        for size in [1, 9999] {
            assert_eq!(found(&stream, size), [Found::Hello(expected), Found::Stopped(Stop::Encrypted)]);
        }
    }

    #[test]
    fn a_recorded_answer_of_openssl_in_any_pieces() {
        let stream = recorded();
        let expected = ServerHello { version: 0x0303, cipher_suite: 0xc02c, is_retry: false };
        let names = ["www.example.org", "*.cdn.example.org"].map(str::to_owned).to_vec();
        let all = [Found::Hello(expected), Found::Names(names)];
        for size in [1, 5, 100, 9999] {
            assert_eq!(found(&stream, size), all, "{size}");
        }
        // The same messages, in records of other sizes.
        let mut walk = Records::default();
        let mut messages = Vec::new();
        while let Step::Message(Message { kind, body, .. }) = walk.message(&stream, BYTES_MAX) {
            messages.extend(message(kind, body));
            walk.skip(&stream);
            if kind == handshake::CERTIFICATE {
                break;
            }
        }
        for size in [1, 16, 200, 9999] {
            assert_eq!(found(&records(&messages, size), 64), all, "{size}");
        }
    }

    #[test]
    fn a_retry_is_told_and_its_successor_too() {
        let change = record(20, &[1]);
        let stream = [
            record(22, &hello(HELLO_RETRY_REQUEST, 0x0304)),
            change.clone(),
            record(22, &hello([7; 32], 0x0304)),
            change,
            record(23, &[0; 50]),
        ]
        .concat();
        let retry = ServerHello { version: 0x0304, cipher_suite: 0x1302, is_retry: true };
        let last = ServerHello { is_retry: false, ..retry };
        let all = [Found::Hello(retry), Found::Hello(last), Found::Stopped(Stop::Encrypted)];
        assert_eq!(found(&stream, 1), all);
        assert_eq!(found(&stream, 9999), all);
    }

    #[test]
    fn a_resumed_session_has_no_certificate() {
        let stream =
            [record(22, &hello([7; 32], 0x0303)), record(20, &[1]), record(22, &[11, 0, 0, 5, 1, 2, 3])].concat();
        assert_eq!(found(&stream, 3)[1..], [Found::Stopped(Stop::Encrypted)]);
        let other = record(22, &message(1, &[0; 60]));
        assert_eq!(found(&other, 9999), [Found::Stopped(Stop::OtherMessage)]);
        let refused = [record(21, &[2, 40]), b"bye".to_vec()].concat();
        assert_eq!(found(&refused, 9999), [Found::Stopped(Stop::NotTls)]);
    }

    #[test]
    fn retries_without_end_are_not_followed() {
        let stream = record(22, &hello(HELLO_RETRY_REQUEST, 0x0304)).repeat(50);
        let found = found(&stream, 9999);
        assert_eq!(found.len(), MESSAGES_MAX + 1);
        assert_eq!(found.last(), Some(&Found::Stopped(Stop::OtherMessage)));
    }

    #[test]
    fn a_certificate_too_long_to_be_held() {
        let certificate =
            message(handshake::CERTIFICATE, &[&[0, 0x7f, 0xfd, 0, 0x7f, 0xfa][..], &[0; 0x7ffa]].concat());
        let stream = [record(22, &hello([7; 32], 0x0303)), records(&certificate, 9000)].concat();
        let mut state = ServerStream::default();
        assert!(matches!(state.advance(&stream, 4000), ServerStep::Hello(_)));
        assert_eq!(state.advance(&stream, 4000), ServerStep::Stopped(Stop::TooLong));
        assert_eq!(found(&stream, 9999)[1], Found::Names(Vec::new()));
    }

    #[test]
    fn damage_panics_nowhere() {
        let stream = recorded();
        for place in 0..stream.len() {
            for byte in [0, 0x7f, 0xff] {
                let mut other = stream.clone();
                other[place] = byte;
                found(&other, 9999);
            }
        }
    }
}
