//! Comparing the tags of a bucket at once. Unsafe only to call vector instructions that every x86-64 has.
#![allow(unsafe_code)]

/// Tags of a bucket.
pub const WAYS: usize = 8;

/// A bit for each tag that equals `tag`.
#[cfg(target_arch = "x86_64")]
#[inline]
pub fn equal_tags(tags: &[u16; WAYS], tag: u16) -> u32 {
    use std::arch::x86_64::{_mm_cmpeq_epi16, _mm_loadu_si128, _mm_movemask_epi8, _mm_packs_epi16, _mm_set1_epi16};
    // SAFETY: the load reads the sixteen bytes of the array, at any alignment; SSE2 is part of every x86-64.
    unsafe {
        let equal = _mm_cmpeq_epi16(_mm_loadu_si128(tags.as_ptr().cast()), _mm_set1_epi16(tag as i16));
        _mm_movemask_epi8(_mm_packs_epi16(equal, equal)) as u32 & 0xff
    }
}

/// As [`equal_tags`] of two buckets at once: in bits 0 to 7 of the first, in bits 8 to 15 of the second.
#[cfg(target_arch = "x86_64")]
#[inline]
pub fn equal_tags_of_two(first: &[u16; WAYS], second: &[u16; WAYS], tag: u16) -> u32 {
    use std::arch::x86_64::{_mm_cmpeq_epi16, _mm_loadu_si128, _mm_movemask_epi8, _mm_packs_epi16, _mm_set1_epi16};
    // SAFETY: as in `equal_tags`.
    unsafe {
        let tag = _mm_set1_epi16(tag as i16);
        let first = _mm_cmpeq_epi16(_mm_loadu_si128(first.as_ptr().cast()), tag);
        let second = _mm_cmpeq_epi16(_mm_loadu_si128(second.as_ptr().cast()), tag);
        _mm_movemask_epi8(_mm_packs_epi16(first, second)) as u32
    }
}

/// As [`equal_tags`] of two buckets at once: in bits 0 to 7 of the first, in bits 8 to 15 of the second.
#[cfg(not(target_arch = "x86_64"))]
#[inline]
pub fn equal_tags_of_two(first: &[u16; WAYS], second: &[u16; WAYS], tag: u16) -> u32 {
    one_by_one(first, tag) | one_by_one(second, tag) << WAYS
}

/// A bit for each tag that equals `tag`.
#[cfg(not(target_arch = "x86_64"))]
#[inline]
pub fn equal_tags(tags: &[u16; WAYS], tag: u16) -> u32 {
    one_by_one(tags, tag)
}

#[cfg(any(test, not(target_arch = "x86_64")))]
fn one_by_one(tags: &[u16; WAYS], tag: u16) -> u32 {
    tags.iter().enumerate().map(|(way, &other)| u32::from(other == tag) << way).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_once_and_one_by_one_agree() {
        for tags in [[0, 1, 2, 3, 4, 5, 6, 7], [7; 8], [0x8000, 0xffff, 0, 7, 0x7fff, 0x8001, 7, 0x8000]] {
            for tag in [0, 1, 7, 0x7fff, 0x8000, 0xffff] {
                assert_eq!(equal_tags(&tags, tag), one_by_one(&tags, tag), "{tag:#x} in {tags:x?}");
                let other = [0, tag, 1, 7, 0x8000, 9, tag, 0x7fff];
                let both = one_by_one(&tags, tag) | one_by_one(&other, tag) << WAYS;
                assert_eq!(equal_tags_of_two(&tags, &other, tag), both, "{tag:#x} in {tags:x?}");
            }
        }
    }
}
