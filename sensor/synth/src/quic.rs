//! Initial packets of QUIC version 1, protected as in RFC 9001 §5, with CRYPTO frames split and shuffled as browsers do.

use ring::aead::{self, Aad, LessSafeKey, Nonce, UnboundKey, quic::HeaderProtectionKey};
use ring::hkdf;

use super::hello;
use super::random::Random;

/// RFC 9001 §5.2.
const SALT: [u8; 20] = [
    0x38, 0x76, 0x2c, 0xf7, 0xf5, 0x59, 0x34, 0xb3, 0x4d, 0x17, 0x9a, 0xe6, 0xa4, 0xc8, 0x0c, 0xad, 0xcc, 0xbb, 0x7f,
    0x0a,
];
/// Bytes of the UDP payload of a client's Initial: at least 1200 (RFC 9000 §14.1), 1250 with Chrome.
const DATAGRAM_BYTES: usize = 1_250;
const TAG_BYTES: usize = 16;
const INITIAL: u8 = 0xc0;
const HANDSHAKE: u8 = 0xe0;
const VERSION_1: [u8; 4] = [0, 0, 0, 1];

/// The opening of a connection.
pub(super) struct Opening {
    pub client_id: Vec<u8>,
    pub server_id: [u8; 8],
    /// The client's first destination id, from which the keys are derived.
    origin: [u8; 8],
    client: Option<Keys>,
    server: Option<Keys>,
}

impl Opening {
    pub(super) fn new(random: &mut Random) -> Self {
        let origin = random.bytes::<8>();
        // Chrome's own id is empty.
        let client_id = if random.once_in(3) { random.bytes::<8>().to_vec() } else { Vec::new() };
        Self {
            client_id,
            server_id: random.bytes(),
            origin,
            client: Keys::new(&origin, b"\x00\x20\x0ftls13 client in\x00"),
            server: Keys::new(&origin, b"\x00\x20\x0ftls13 server in\x00"),
        }
    }

    /// The client's first flight: the hello over `datagrams` datagrams.
    pub(super) fn hello(&self, message: &[u8], datagrams: usize, random: &mut Random) -> Vec<Vec<u8>> {
        let share = message.len().div_ceil(datagrams.max(1)).max(1);
        let mut flight = Vec::new();
        for (number, start) in (0..message.len()).step_by(share).enumerate() {
            let end = (start + share).min(message.len());
            let frames = shuffled(message, start, end, random);
            let header = self.header(INITIAL, &self.origin, &self.client_id);
            flight.push(seal(self.client.as_ref(), header, number as u8, frames, DATAGRAM_BYTES));
        }
        flight
    }

    /// The server's first flight: its hello, and the beginning of its encrypted messages.
    pub(super) fn answer(&self, random: &mut Random) -> Vec<u8> {
        let message = hello::answer(&[], random);
        let mut frames = vec![2, 0, 0, 0, 0];
        push_crypto(&mut frames, &message, 0, message.len());
        let header = self.header(INITIAL, &self.client_id, &self.server_id);
        let mut datagram = seal(self.server.as_ref(), header, 0, frames, 0);
        self.handshake(&mut datagram, false, 1_200, random);
        datagram
    }

    /// The client's second flight: an acknowledgement and its encrypted messages.
    pub(super) fn finish(&self, random: &mut Random) -> Vec<u8> {
        let header = self.header(INITIAL, &self.server_id, &self.client_id);
        let mut datagram = seal(self.client.as_ref(), header, 9, vec![2, 0, 0, 0, 0], 0);
        self.handshake(&mut datagram, true, 1_200, random);
        datagram
    }

    fn header(&self, kind: u8, destination: &[u8], source: &[u8]) -> Vec<u8> {
        let mut header = vec![kind];
        header.extend(VERSION_1);
        for id in [destination, source] {
            header.push(id.len() as u8);
            header.extend(id);
        }
        if kind == INITIAL {
            header.push(0);
        }
        header
    }

    /// A Handshake packet that fills the datagram up to `filled_to` bytes.
    fn handshake(&self, datagram: &mut Vec<u8>, from_client: bool, filled_to: usize, random: &mut Random) {
        let (destination, source) = if from_client {
            (&self.server_id[..], &self.client_id[..])
        } else {
            (&self.client_id[..], &self.server_id[..])
        };
        let header = self.header(HANDSHAKE, destination, source);
        datagram.extend(header);
        let left = filled_to.saturating_sub(datagram.len() + 2).max(64);
        datagram.extend((left as u16 | 0x4000).to_be_bytes());
        random.noise(left, datagram);
    }
}

/// A part of the handshake stream as CRYPTO frames in any order, with PING and PADDING among them.
fn shuffled(message: &[u8], start: usize, end: usize, random: &mut Random) -> Vec<u8> {
    let mut cuts: Vec<usize> = (0..random.below(5)).map(|_| random.within(start..end)).collect();
    cuts.extend([start, end]);
    cuts.sort_unstable();
    cuts.dedup();
    let mut pieces: Vec<(usize, usize)> = cuts.iter().copied().zip(cuts.iter().copied().skip(1)).collect();
    random.shuffle(&mut pieces);
    let mut frames = Vec::with_capacity(DATAGRAM_BYTES);
    for (from, to) in pieces {
        match random.below(4) {
            0 => frames.push(1),
            1 => frames.resize(frames.len() + random.below(8), 0),
            _ => {}
        }
        push_crypto(&mut frames, message, from, to);
    }
    frames
}

/// RFC 9000 §19.6.
fn push_crypto(frames: &mut Vec<u8>, message: &[u8], from: usize, to: usize) {
    frames.push(6);
    for number in [from, to - from] {
        match number as u16 {
            tiny @ ..0x40 => frames.push(tiny as u8),
            number => frames.extend((number | 0x4000).to_be_bytes()),
        }
    }
    frames.extend(message.get(from..to).unwrap_or_default());
}

/// Finishes a header with length and packet number, pads the frames until the packet has `padded_to` bytes, and
/// seals it (RFC 9001 §5.3, §5.4).
fn seal(keys: Option<&Keys>, mut header: Vec<u8>, number: u8, mut frames: Vec<u8>, padded_to: usize) -> Vec<u8> {
    let (Some(keys), Some(first)) = (keys, header.first().copied()) else { return Vec::new() };
    let padding = padded_to.saturating_sub(header.len() + 3 + frames.len() + TAG_BYTES);
    frames.resize(frames.len() + padding, 0);
    header.extend(((frames.len() + 1 + TAG_BYTES) as u16 | 0x4000).to_be_bytes());
    let number_at = header.len();
    header.push(number);
    let mut nonce = keys.iv;
    if let Some(last) = nonce.last_mut() {
        *last ^= number;
    }
    let nonce = Nonce::assume_unique_for_key(nonce);
    if keys.packet.seal_in_place_append_tag(nonce, Aad::from(&header), &mut frames).is_err() {
        return Vec::new();
    }
    // The sample starts four bytes behind the packet number's start, whatever its length.
    let sample = frames.get(3..).and_then(|frames| frames.get(..16)).unwrap_or_default();
    let Ok([first_mask, number_mask, ..]) = keys.header.new_mask(sample) else { return Vec::new() };
    if let Some(place) = header.first_mut() {
        *place = first ^ (first_mask & 0x0f);
    }
    if let Some(place) = header.get_mut(number_at) {
        *place ^= number_mask;
    }
    header.extend(frames);
    header
}

struct Keys {
    packet: LessSafeKey,
    header: HeaderProtectionKey,
    iv: [u8; aead::NONCE_LEN],
}

struct IvLength;

impl hkdf::KeyType for IvLength {
    fn len(&self) -> usize {
        aead::NONCE_LEN
    }
}

impl Keys {
    fn new(origin: &[u8], side: &[u8]) -> Option<Self> {
        let initial = hkdf::Salt::new(hkdf::HKDF_SHA256, &SALT).extract(origin);
        let side = hkdf::Prk::from(initial.expand(&[side], hkdf::HKDF_SHA256).ok()?);
        let mut iv = [0; aead::NONCE_LEN];
        side.expand(&[b"\x00\x0c\x0dtls13 quic iv\x00"], IvLength).ok()?.fill(&mut iv).ok()?;
        let packet = side.expand(&[b"\x00\x10\x0etls13 quic key\x00"], &aead::AES_128_GCM).ok()?;
        let header = side.expand(&[b"\x00\x10\x0dtls13 quic hp\x00"], &aead::quic::AES_128).ok()?;
        Some(Self { packet: LessSafeKey::new(UnboundKey::from(packet)), header: HeaderProtectionKey::from(header), iv })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vigie_flow::Side;
    use vigie_handshake::quic::{Connection, Progress, QuicCounters, QuicLimits, Scratch};

    #[test]
    fn hellos_come_out_as_they_went_in() {
        let mut random = Random::new(9);
        for round in 0..60 {
            let opening = Opening::new(&mut random);
            let over = hello::Over::Quic(&opening.client_id);
            let message = hello::message("www.example.com", over, round % 2 == 0, &mut random);
            let datagrams = 1 + round % 3;
            let mut flight = opening.hello(&message, datagrams, &mut random);
            assert_eq!(flight.len(), datagrams);
            random.shuffle(&mut flight);
            let (mut connection, mut scratch) = (Connection::default(), Scratch::new());
            let mut counters = QuicCounters::default();
            let mut came = None;
            for datagram in &flight {
                if let Progress::Hello(hello) =
                    connection.datagram(Side::Low, datagram, &mut scratch, &QuicLimits::default(), &mut counters)
                    && hello.complete
                {
                    came = Some(hello.message.to_vec());
                }
            }
            assert_eq!(came.as_deref(), Some(&message[4..]));
            assert_eq!((counters.opened, counters.open_failures), (datagrams as u64, 0));
        }
    }

    #[test]
    fn keys_are_those_of_rfc_9001_appendix_a() {
        let origin = [0x83, 0x94, 0xc8, 0xf0, 0x3e, 0x51, 0x57, 0x08];
        let keys = Keys::new(&origin, b"\x00\x20\x0ftls13 client in\x00").unwrap();
        assert_eq!(keys.iv, [0xfa, 0x04, 0x4b, 0x2f, 0x42, 0xa3, 0xfd, 0x3b, 0x46, 0xfb, 0x25, 0x5c]);
        let sample = [0xd1, 0xb1, 0xc9, 0x8d, 0xd7, 0x68, 0x9f, 0xb8, 0xec, 0x11, 0xd2, 0x42, 0xb1, 0x23, 0xdc, 0x9b];
        assert_eq!(keys.header.new_mask(&sample).unwrap(), [0x43, 0x7b, 0x9a, 0xec, 0x36]);
    }
}
