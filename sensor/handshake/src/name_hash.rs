//! A hash that tells names apart, where the names themselves are not kept.

use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes of a name that are hashed together.
const WORD_BYTES: usize = 8;

/// The secret of [`name_hash`]. Replays, which must give the same bytes as the last, keep this one.
static SECRET: AtomicU64 = AtomicU64::new(0x13b7_c9a5_64d1_8e2f);

/// Sets the secret of [`name_hash`], before the first name is hashed: so nobody can choose a decoy that is taken for the name
/// behind it.
pub fn set_secret(secret: u64) {
    SECRET.store(secret, Ordering::Relaxed);
}

/// 32 bits that tell names apart, without regard to case.
pub fn name_hash(name: &[u8]) -> u32 {
    let (words, rest) = name.as_chunks();
    let secret = SECRET.load(Ordering::Relaxed);
    let mut hash = words.iter().fold(secret ^ name.len() as u64, |hash, &word| take_word(hash, word));
    if !rest.is_empty() {
        // With some of the bytes before it, where there are any.
        let last = name.last_chunk().copied().unwrap_or_else(|| {
            let mut last = [0; WORD_BYTES];
            last.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
            last
        });
        hash = take_word(hash, last);
    }
    ((hash >> 32) as u32 ^ hash as u32).max(1)
}

/// The hash with one more word of a name: a multiplication, folded to its halves.
#[inline]
fn take_word(hash: u64, word: [u8; WORD_BYTES]) -> u64 {
    let product = u128::from(hash ^ lower_case(u64::from_le_bytes(word))) * 0xa076_1d64_78bd_642f;
    (product as u64) ^ (product >> 64) as u64
}

/// The bytes of a word with capital letters of ASCII made small.
#[inline]
const fn lower_case(word: u64) -> u64 {
    const fn each(byte: u8) -> u64 {
        u64::from_ne_bytes([byte; WORD_BYTES])
    }
    // No sum reaches the next byte: none is above 127 + 128.
    let low = word & each(127);
    let (from_a, behind_z) = (low + each(128 - b'A'), low + each(127 - b'Z'));
    let capitals = from_a & !behind_z & !word & each(128);
    word | (capitals >> 2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_the_case_of_letters_is_without_regard() {
        assert_eq!(name_hash(b"WWW.TikTok.com"), name_hash(b"www.tiktok.com"));
        for other in ["www\x0etiktok.com", "www.tiktok.co", "www.tiktok.comm", "ww.wtiktok.com", ""] {
            assert_ne!(name_hash(other.as_bytes()), name_hash(b"www.tiktok.com"), "{other:?}");
        }
    }

    proptest! {
        #[test]
        fn words_are_lowered_as_bytes_are(bytes: [u8; WORD_BYTES]) {
            prop_assert_eq!(lower_case(u64::from_le_bytes(bytes)).to_le_bytes().to_vec(), bytes.to_ascii_lowercase());
        }

        #[test]
        fn names_are_told_apart(one in prop::collection::vec(any::<u8>(), 0..40), at: usize, byte: u8) {
            let mut other = one.clone();
            if let Some(changed) = at.checked_rem(one.len()) {
                other[changed] = byte;
            }
            prop_assert_eq!(name_hash(&one) == name_hash(&other), one.eq_ignore_ascii_case(&other));
            prop_assert_eq!(name_hash(&one), name_hash(&one.to_ascii_uppercase()));
        }
    }
}
