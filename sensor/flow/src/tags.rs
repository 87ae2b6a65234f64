//! Looking at all ways of a bucket at once. Unsafe only to call vector instructions that every x86-64 has.
#![allow(unsafe_code)]

/// Flows of a bucket.
pub const WAYS: usize = 16;

/// A bit for each way whose tag is `tag`.
#[cfg(target_arch = "x86_64")]
#[inline]
pub fn equal_tags(tags: &[u16; WAYS], tag: u16) -> u32 {
    use std::arch::x86_64::{_mm_cmpeq_epi16, _mm_loadu_si128, _mm_movemask_epi8, _mm_packs_epi16, _mm_set1_epi16};
    let (low, high) = tags.split_at(WAYS / 2);
    // SAFETY: each load reads the sixteen bytes of half the array, at any alignment; SSE2 is part of every x86-64.
    unsafe {
        let tag = _mm_set1_epi16(tag as i16);
        let low = _mm_cmpeq_epi16(_mm_loadu_si128(low.as_ptr().cast()), tag);
        let high = _mm_cmpeq_epi16(_mm_loadu_si128(high.as_ptr().cast()), tag);
        _mm_movemask_epi8(_mm_packs_epi16(low, high)) as u32
    }
}

/// A bit for each way whose last packet is more than `idle_epochs` before `epoch`, which wraps.
#[cfg(target_arch = "x86_64")]
#[inline]
pub fn idle_ways(epochs: &[u8; WAYS], epoch: u8, idle_epochs: u8) -> u32 {
    use std::arch::x86_64::{
        _mm_cmpeq_epi8, _mm_loadu_si128, _mm_movemask_epi8, _mm_set1_epi8, _mm_setzero_si128, _mm_sub_epi8,
        _mm_subs_epu8,
    };
    // SAFETY: the load reads the sixteen bytes of the array, at any alignment; SSE2 is part of every x86-64.
    unsafe {
        let ages = _mm_sub_epi8(_mm_set1_epi8(epoch as i8), _mm_loadu_si128(epochs.as_ptr().cast()));
        // What an age exceeds the limit by is 0 for those that do not.
        let beyond = _mm_subs_epu8(ages, _mm_set1_epi8(idle_epochs as i8));
        !_mm_movemask_epi8(_mm_cmpeq_epi8(beyond, _mm_setzero_si128())) as u32 & 0xffff
    }
}

/// A bit for each way whose tag is `tag`.
#[cfg(not(target_arch = "x86_64"))]
#[inline]
pub fn equal_tags(tags: &[u16; WAYS], tag: u16) -> u32 {
    equal_one_by_one(tags, tag)
}

/// A bit for each way whose last packet is more than `idle_epochs` before `epoch`, which wraps.
#[cfg(not(target_arch = "x86_64"))]
#[inline]
pub fn idle_ways(epochs: &[u8; WAYS], epoch: u8, idle_epochs: u8) -> u32 {
    idle_one_by_one(epochs, epoch, idle_epochs)
}

#[cfg(any(test, not(target_arch = "x86_64")))]
fn equal_one_by_one(tags: &[u16; WAYS], tag: u16) -> u32 {
    tags.iter().enumerate().map(|(way, &other)| u32::from(other == tag) << way).sum()
}

#[cfg(any(test, not(target_arch = "x86_64")))]
fn idle_one_by_one(epochs: &[u8; WAYS], epoch: u8, idle_epochs: u8) -> u32 {
    epochs.iter().enumerate().map(|(way, &last)| u32::from(epoch.wrapping_sub(last) > idle_epochs) << way).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn at_once_and_one_by_one_agree_at_the_edges() {
        let tags = [0, 1, 2, 3, 4, 7, 7, 7, 0x8000, 0xffff, 0, 7, 0x7fff, 0x8001, 7, 0x8000];
        for tag in [0, 1, 7, 0x7fff, 0x8000, 0xffff] {
            assert_eq!(equal_tags(&tags, tag), equal_one_by_one(&tags, tag), "{tag:#x}");
        }
        let epochs = [0, 1, 9, 10, 11, 127, 128, 129, 245, 246, 247, 254, 255, 3, 2, 0];
        for (epoch, idle_epochs) in [(0, 0), (10, 0), (10, 10), (1, 254), (255, 255), (128, 127), (5, 200)] {
            let expected = idle_one_by_one(&epochs, epoch, idle_epochs);
            assert_eq!(idle_ways(&epochs, epoch, idle_epochs), expected, "{epoch}, {idle_epochs}");
        }
    }

    proptest! {
        #[test]
        fn at_once_and_one_by_one_agree(tags: [u16; WAYS], way in 0..WAYS, epochs: [u8; WAYS], epoch: u8, idle: u8) {
            let tag = tags[way];
            prop_assert_eq!(equal_tags(&tags, tag), equal_one_by_one(&tags, tag));
            prop_assert_eq!(idle_ways(&epochs, epoch, idle), idle_one_by_one(&epochs, epoch, idle));
        }
    }
}
