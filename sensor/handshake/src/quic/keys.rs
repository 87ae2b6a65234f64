//! The client's Initial keys, which anyone on the path can derive (RFC 9001 §5.2), and decryption with them. Initials only:
//! no other QUIC packet can be decrypted from outside, and none is tried.

use std::fmt;

use ring::aead::{self, Aad, LessSafeKey, Nonce, UnboundKey, quic::HeaderProtectionKey};
use ring::hmac::{self, HMAC_SHA256};

use super::versions::Schedule;

/// The largest UDP payload, and so the largest packet that is copied for opening.
const PACKET_BYTES_MAX: usize = 65_535;

/// A buffer to decrypt in and the prepared salts. One per worker, lent to each connection.
#[derive(Debug)]
pub struct Scratch {
    pub(super) buffer: Vec<u8>,
    pub(super) salts: Salts,
    /// What opened the last Initial of an unknown version: clients grease alike, so it is tried first.
    pub(super) opened_unknown: Option<Schedule>,
}

impl Default for Scratch {
    fn default() -> Self {
        Self { buffer: Vec::with_capacity(PACKET_BYTES_MAX), salts: Salts::default(), opened_unknown: None }
    }
}

impl Scratch {
    /// Room for one packet of any size; allocated once.
    pub fn new() -> Self {
        Self::default()
    }
}

/// The salt of each schedule with its half of the HMAC done.
#[derive(Debug)]
pub(super) struct Salts([hmac::Key; Schedule::COUNT]);

impl Default for Salts {
    fn default() -> Self {
        Self(Schedule::ALL.map(|schedule| hmac::Key::new(HMAC_SHA256, &schedule.salt())))
    }
}

/// Bytes of an AES-128 key.
const KEY_BYTES: usize = 16;

/// The keys of one side's Initials.
pub(super) struct Keys {
    header: HeaderProtectionKey,
    packet: LessSafeKey,
    iv: [u8; aead::NONCE_LEN],
}

impl fmt::Debug for Keys {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Keys").finish_non_exhaustive()
    }
}

impl Keys {
    /// The client's keys for the destination connection id of its first Initial.
    #[inline(always)]
    pub(super) fn client(salts: &Salts, schedule: Schedule, destination: &[u8]) -> Option<Self> {
        let labels = schedule.labels();
        // HKDF (RFC 5869): extracted from the id, and expanded to one block each.
        let initial = hmac::sign(salts.0.get(schedule as usize)?, destination);
        let client = hmac::sign(&hmac::Key::new(HMAC_SHA256, initial.as_ref()), labels.client);
        let client = hmac::Key::new(HMAC_SHA256, client.as_ref());
        let [key, header, iv] = [labels.key, labels.header, labels.iv].map(|label| hmac::sign(&client, label));
        Some(Self {
            header: HeaderProtectionKey::new(&aead::quic::AES_128, header.as_ref().get(..KEY_BYTES)?).ok()?,
            packet: LessSafeKey::new(UnboundKey::new(&aead::AES_128_GCM, key.as_ref().get(..KEY_BYTES)?).ok()?),
            iv: *iv.as_ref().first_chunk()?,
        })
    }

    /// Opens `packet`, whose packet number starts at `number_at`, in `buffer`: its full number, the bytes that the number
    /// took, and its frames. None if these are not its keys, or a byte of it is wrong. `largest` may be the number of a decoy:
    /// where it leads to nothing, the packet is opened as if it were the first.
    pub(super) fn open<'b>(
        &self,
        packet: &[u8],
        number_at: usize,
        largest: Option<u64>,
        buffer: &'b mut Vec<u8>,
    ) -> Option<Opened<'b>> {
        let opened = self.open_after(packet, number_at, largest, buffer);
        let opened = opened.or_else(|| largest.and_then(|_| self.open_after(packet, number_at, None, buffer)));
        let (number, number_bytes, frames_bytes) = opened?;
        let frames = buffer.get(number_at + number_bytes..)?.get(..frames_bytes)?;
        Some(Opened { number, number_bytes, frames })
    }

    /// Opens it in `buffer` as the next after a packet with the number `largest`: its own number, the bytes that this took, and
    /// those of its frames.
    fn open_after(
        &self,
        packet: &[u8],
        number_at: usize,
        largest: Option<u64>,
        buffer: &mut Vec<u8>,
    ) -> Option<(u64, usize, usize)> {
        let sample = packet.get(number_at.checked_add(4)?..)?.get(..self.header.algorithm().sample_len())?;
        let [first_mask, number_mask @ ..] = self.header.new_mask(sample).ok()?;
        buffer.clear();
        buffer.extend_from_slice(packet);
        let first = buffer.first_mut()?;
        *first ^= first_mask & 0x0f;
        let number_bytes = usize::from(*first & 3) + 1;
        let (header, sealed) = buffer.split_at_mut_checked(number_at + number_bytes)?;
        let mut truncated = 0;
        for (byte, mask) in header.get_mut(number_at..)?.iter_mut().zip(number_mask) {
            *byte ^= mask;
            truncated = truncated << 8 | u64::from(*byte);
        }
        let number = full_packet_number(largest, truncated, number_bytes);
        let frames = self.packet.open_in_place(self.nonce(number), Aad::from(&*header), sealed).ok()?;
        Some((number, number_bytes, frames.len()))
    }

    /// The packet number, left-padded, over the IV (RFC 9001 §5.3).
    fn nonce(&self, number: u64) -> Nonce {
        let mut nonce = self.iv;
        for (byte, number) in nonce.iter_mut().rev().zip(number.to_be_bytes().into_iter().rev()) {
            *byte ^= number;
        }
        Nonce::assume_unique_for_key(nonce)
    }
}

/// A packet that was opened.
#[derive(Debug)]
pub(super) struct Opened<'b> {
    pub(super) number: u64,
    pub(super) number_bytes: usize,
    pub(super) frames: &'b [u8],
}

/// The packet number nearest to the one expected next that ends as `truncated` (RFC 9000 §A.3).
fn full_packet_number(largest: Option<u64>, truncated: u64, number_bytes: usize) -> u64 {
    let Some(largest) = largest else {
        return truncated;
    };
    let expected = largest + 1;
    let window = 1_u64 << (8 * number_bytes);
    let candidate = expected & !(window - 1) | truncated;
    if candidate + window / 2 <= expected && candidate < (1 << 62) - window {
        candidate + window
    } else if candidate > expected + window / 2 && candidate >= window {
        candidate - window
    } else {
        candidate
    }
}

#[cfg(test)]
impl Keys {
    /// Seals `frames` behind an unprotected `header` that ends with the packet number: what [`Keys::open`] undoes.
    pub(super) fn seal(&self, header: &[u8], number_at: usize, number: u64, frames: &[u8]) -> Vec<u8> {
        let mut sealed = frames.to_vec();
        self.packet.seal_in_place_append_tag(self.nonce(number), Aad::from(header), &mut sealed).unwrap();
        let mut packet = [header, &sealed].concat();
        let [first_mask, number_mask @ ..] = self.header.new_mask(&packet[number_at + 4..][..16]).unwrap();
        packet[0] ^= first_mask & 0x0f;
        for (byte, mask) in packet[number_at..header.len()].iter_mut().zip(number_mask) {
            *byte ^= mask;
        }
        packet
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packet_numbers_are_completed_as_rfc_9000_appendix_a_does() {
        assert_eq!(full_packet_number(Some(0xa82f_30ea), 0x9b32, 2), 0xa82f_9b32);
        assert_eq!(full_packet_number(None, 2, 4), 2);
        assert_eq!(full_packet_number(Some(255), 0, 1), 256);
        assert_eq!(full_packet_number(Some(256), 255, 1), 255);
        assert_eq!(full_packet_number(Some(0), 200, 1), 200);
    }

    #[test]
    fn one_wrong_bit_anywhere_opens_nothing() {
        let keys = Keys::client(&Salts::default(), Schedule::V1, b"abcdefgh").unwrap();
        let packet = keys.seal(b"\xc1\0\0\0\x01\x08abcdefgh\0\0\x1a\x01\x07", 17, 0x107, &[1; 8]);
        let mut buffer = Vec::new();
        let opened = keys.open(&packet, 17, None, &mut buffer).unwrap();
        assert_eq!((opened.number, opened.number_bytes, opened.frames), (0x107, 2, &[1; 8][..]));
        for bit in 0..packet.len() * 8 {
            let mut wrong = packet.clone();
            wrong[bit / 8] ^= 1 << (bit % 8);
            assert!(keys.open(&wrong, 17, None, &mut buffer).is_none(), "bit {bit}");
        }
    }
}
