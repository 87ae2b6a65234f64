//! Writes what the tests read: Initials of any version, with any frames, split as one likes.

use super::header::{Packet, split};
use super::keys::{Keys, Salts};
use super::versions::{self, Kind, Schedule};

/// An Initial of a client, before it is sealed.
#[derive(Clone, Debug)]
pub(crate) struct Initial {
    pub(crate) version: u32,
    /// The connection id that the keys come from.
    pub(crate) origin: Vec<u8>,
    pub(crate) destination: Vec<u8>,
    pub(crate) source: Vec<u8>,
    pub(crate) token: Vec<u8>,
    pub(crate) number: u64,
    pub(crate) number_bytes: usize,
    pub(crate) frames: Vec<u8>,
    /// PADDING is added until the frames are this long.
    pub(crate) padded_to: usize,
    /// XORed to the first byte before sealing.
    pub(crate) grease: u8,
}

impl Default for Initial {
    fn default() -> Self {
        let destination = vec![0x83, 0x94, 0xc8, 0xf0, 0x3e, 0x51, 0x57, 0x08];
        Self {
            version: versions::V1,
            origin: destination.clone(),
            destination,
            source: Vec::new(),
            token: Vec::new(),
            number: 2,
            number_bytes: 4,
            frames: Vec::new(),
            padded_to: 1162,
            grease: 0,
        }
    }
}

impl Initial {
    /// Another version of the same.
    pub(crate) fn version(mut self, version: u32) -> Self {
        self.version = version;
        self
    }

    /// Other frames.
    pub(crate) fn frames(mut self, frames: &[u8]) -> Self {
        self.frames = frames.to_vec();
        self
    }

    /// Another connection, with keys from this id.
    pub(crate) fn connection(mut self, id: &[u8]) -> Self {
        self.origin = id.to_vec();
        self.destination = id.to_vec();
        self
    }

    /// The packet as sent, by the last schedule of its version.
    pub(crate) fn seal(&self) -> Vec<u8> {
        let dialect = versions::dialect(self.version);
        let type_bits = [0xc0_u8, 0xd0].into_iter().find(|&first| matches!(dialect.kind(first), Kind::Initial(_)));
        let first = type_bits.expect("a version with Initials");
        let Kind::Initial(schedules) = dialect.kind(first) else { unreachable!() };
        self.seal_by(*schedules.last().unwrap(), first)
    }

    /// The packet by any schedule, with any type bits.
    pub(super) fn seal_by(&self, schedule: Schedule, first: u8) -> Vec<u8> {
        let mut header = vec![first ^ self.grease | (self.number_bytes as u8 - 1)];
        header.extend(self.version.to_be_bytes());
        let nibble = |length: usize| length.saturating_sub(3) as u8;
        if versions::dialect(self.version).nibble_lengths {
            header.push(nibble(self.destination.len()) << 4 | nibble(self.source.len()));
            header.extend(self.destination.iter().chain(&self.source));
        } else {
            for id in [&self.destination, &self.source] {
                header.push(id.len() as u8);
                header.extend(id);
            }
        }
        header.extend(varint(self.token.len()));
        header.extend(&self.token);
        let mut frames = self.frames.clone();
        frames.resize(frames.len().max(self.padded_to), 0);
        header.extend(varint(frames.len() + self.number_bytes + 16));
        let number_at = header.len();
        header.extend(&self.number.to_be_bytes()[8 - self.number_bytes..]);
        let keys = Keys::client(&Salts::default(), schedule, &self.origin).unwrap();
        let packet = keys.seal(&header, number_at, self.number, &frames);
        assert!(matches!(split(&packet), Some((Packet::Initial(_) | Packet::Opaque | Packet::Retry, _))));
        packet
    }
}

/// A varint, as short as it can be.
pub(crate) fn varint(value: usize) -> Vec<u8> {
    match u16::try_from(value) {
        Ok(tiny @ ..0x40) => vec![tiny as u8],
        Ok(small @ ..0x4000) => (small | 0x4000).to_be_bytes().to_vec(),
        _ => (value as u32 | 0x8000_0000).to_be_bytes().to_vec(),
    }
}

/// A CRYPTO frame with a part of `stream`.
pub(crate) fn crypto(stream: &[u8], range: std::ops::Range<usize>) -> Vec<u8> {
    [vec![0x06], varint(range.start), varint(range.len()), stream[range].to_vec()].concat()
}

/// A handshake message of type ClientHello with this body.
pub(crate) fn client_hello(body: &[u8]) -> Vec<u8> {
    let length = (body.len() as u32).to_be_bytes();
    [&[1][..], &length[1..], body].concat()
}
