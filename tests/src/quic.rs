//! QUIC Initials sealed by hand, as RFC 9001 §5 and RFC 9369 §3 say: any frames, any connection id, padded to full size.

use ring::aead::{self, Aad, LessSafeKey, Nonce, UnboundKey, quic::HeaderProtectionKey};
use ring::hkdf;

/// QUIC version 1.
pub const V1: u32 = 1;
/// QUIC version 2 (RFC 9369 §3.1).
pub const V2: u32 = 0x6b33_43cf;

const V1_SALT: [u8; 20] = [
    0x38, 0x76, 0x2c, 0xf7, 0xf5, 0x59, 0x34, 0xb3, 0x4d, 0x17, 0x9a, 0xe6, 0xa4, 0xc8, 0x0c, 0xad, 0xcc, 0xbb, 0x7f,
    0x0a,
];
const V2_SALT: [u8; 20] = [
    0x0d, 0xed, 0xe3, 0xde, 0xf7, 0x00, 0xa6, 0xdb, 0x81, 0x93, 0x81, 0xbe, 0x6e, 0x26, 0x9d, 0xcb, 0xf9, 0xbd, 0x2e,
    0xd9,
];
const NUMBER_BYTES: usize = 4;
const TAG_BYTES: usize = 16;
/// Least size of a datagram with an Initial (RFC 9000 §14.1).
pub const DATAGRAM_BYTES_MIN: usize = 1200;

/// An Initial before it is sealed.
#[derive(Clone, Debug)]
pub struct Initial {
    /// Version field.
    pub version: u32,
    /// The id that keys come from: the first destination id of the connection.
    pub origin: Vec<u8>,
    /// Destination id of this packet.
    pub destination: Vec<u8>,
    /// Source id of this packet.
    pub source: Vec<u8>,
    /// Packet number.
    pub number: u32,
    /// Frames.
    pub frames: Vec<u8>,
    /// The server's keys instead of the client's.
    pub from_server: bool,
}

impl Initial {
    /// A client's Initial of the connection with this first destination id.
    pub fn new(origin: &[u8], frames: &[u8]) -> Self {
        Self {
            version: V1,
            origin: origin.to_vec(),
            destination: origin.to_vec(),
            source: b"client".to_vec(),
            number: 0,
            frames: frames.to_vec(),
            from_server: false,
        }
    }

    /// The server's answer in this connection, under the id that it chose.
    pub fn answer(origin: &[u8], id: &[u8]) -> Self {
        let frames = [0x06, 0, 4, 2, 0, 0, 0];
        let (destination, source) = (b"client".to_vec(), id.to_vec());
        Self { destination, source, from_server: true, ..Self::new(origin, &frames) }
    }

    /// Another version.
    pub fn version(mut self, version: u32) -> Self {
        self.version = version;
        self
    }

    /// Another packet number.
    pub fn number(mut self, number: u32) -> Self {
        self.number = number;
        self
    }

    /// The packet, alone in a datagram and padded to the least size of one.
    pub fn datagram(&self) -> Vec<u8> {
        let header = self.header(0).len() + TAG_BYTES;
        self.sealed(DATAGRAM_BYTES_MIN.saturating_sub(header))
    }

    /// The packet with at least `frame_bytes` of frames, padding added (RFC 9000 §19.1).
    pub fn sealed(&self, frame_bytes: usize) -> Vec<u8> {
        let mut frames = self.frames.clone();
        frames.resize(frames.len().max(frame_bytes).max(4), 0);
        let header = self.header(frames.len());
        let (packet_key, iv, header_key) = self.keys();
        let mut nonce = iv;
        for (byte, number) in nonce.iter_mut().skip(8).zip(self.number.to_be_bytes()) {
            *byte ^= number;
        }
        let nonce = Nonce::assume_unique_for_key(nonce);
        packet_key.seal_in_place_append_tag(nonce, Aad::from(&header), &mut frames).unwrap();
        let number_at = header.len() - NUMBER_BYTES;
        let mut packet = [header, frames].concat();
        let mask = header_key.new_mask(&packet[number_at + 4..number_at + 20]).unwrap();
        packet[0] ^= mask[0] & 0x0f;
        packet[number_at..].iter_mut().zip(&mask[1..]).for_each(|(byte, mask)| *byte ^= mask);
        packet
    }

    fn header(&self, frame_bytes: usize) -> Vec<u8> {
        let kind = if self.version == V2 { 0b01 } else { 0b00 };
        let mut header = vec![0xc0 | kind << 4 | (NUMBER_BYTES as u8 - 1)];
        header.extend(self.version.to_be_bytes());
        for id in [&self.destination, &self.source] {
            header.push(u8::try_from(id.len()).unwrap());
            header.extend(id);
        }
        header.push(0);
        let length = u16::try_from(frame_bytes + NUMBER_BYTES + TAG_BYTES).unwrap();
        header.extend((length | 0x4000).to_be_bytes());
        header.extend(self.number.to_be_bytes());
        header
    }

    fn keys(&self) -> (LessSafeKey, [u8; 12], HeaderProtectionKey) {
        let (salt, prefix) = if self.version == V2 { (&V2_SALT, "quicv2") } else { (&V1_SALT, "quic") };
        let initial = hkdf::Salt::new(hkdf::HKDF_SHA256, salt).extract(&self.origin);
        let side = if self.from_server { "server in" } else { "client in" };
        let secret = hkdf::Prk::from(initial.expand(&[&label(side, 32)], hkdf::HKDF_SHA256).unwrap());
        let [key, header, iv_label] =
            [("key", 16), ("hp", 16), ("iv", 12)].map(|(word, bytes)| label(&format!("{prefix} {word}"), bytes));
        let (key, header, iv_label) = ([&key[..]], [&header[..]], [&iv_label[..]]);
        let mut iv = [0; 12];
        secret.expand(&iv_label, IvLength).unwrap().fill(&mut iv).unwrap();
        let packet_key = UnboundKey::from(secret.expand(&key, &aead::AES_128_GCM).unwrap());
        let header_key = HeaderProtectionKey::from(secret.expand(&header, &aead::quic::AES_128).unwrap());
        (LessSafeKey::new(packet_key), iv, header_key)
    }
}

/// A CRYPTO frame with a part of a handshake stream (RFC 9000 §19.6).
pub fn crypto(stream: &[u8], range: std::ops::Range<usize>) -> Vec<u8> {
    let varint = |value: usize| (u32::try_from(value).unwrap() | 0x8000_0000).to_be_bytes();
    [&[0x06][..], &varint(range.start), &varint(range.len()), &stream[range]].concat()
}

/// A whole hello in one datagram.
pub fn hello_datagram(origin: &[u8], message: &[u8]) -> Vec<u8> {
    Initial::new(origin, &crypto(message, 0..message.len())).datagram()
}

struct IvLength;

impl hkdf::KeyType for IvLength {
    fn len(&self) -> usize {
        12
    }
}

/// The info of HKDF-Expand-Label without context (RFC 8446 §7.1).
fn label(label: &str, length: u8) -> Vec<u8> {
    let label = format!("tls13 {label}");
    [&[0, length, label.len() as u8][..], label.as_bytes(), &[0]].concat()
}
