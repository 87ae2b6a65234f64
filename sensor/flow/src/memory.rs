//! Zeroed memory for the flow table, on huge pages where the kernel gives them, the prefetch hint, and comparisons of
//! vectors. The only file of this crate with unsafe code.
#![allow(unsafe_code)]

use std::alloc::{Layout, handle_alloc_error};
use std::mem::MaybeUninit;
use std::ops::{Deref, DerefMut};
use std::ptr::{self, NonNull};

/// Types for which all bits zero is a value.
///
/// # Safety
/// Implement it only for plain data: no padding that is read, no references, no niches that exclude zero.
pub unsafe trait Zeroed: Copy {}

// SAFETY: integers and arrays of integers throughout; all bits zero is a bucket of empty slots.
unsafe impl Zeroed for super::table::Bucket {}

// SAFETY: integers throughout; all bits zero is a flow between nobody, in a slot that no tag points to.
unsafe impl Zeroed for super::table::FlowEntry {}

/// A slice of zeroed plain values, mapped once. Untouched pages cost nothing.
#[derive(Debug)]
pub struct Pages<T: Zeroed> {
    start: NonNull<T>,
    length: usize,
    mapping: NonNull<libc::c_void>,
    mapping_bytes: usize,
}

const HUGE_PAGE_BYTES: usize = 2 << 20;

// SAFETY: `Pages` owns its memory like a `Box<[T]>`; sending it sends plain data.
unsafe impl<T: Zeroed + Send> Send for Pages<T> {}

impl<T: Zeroed> Pages<T> {
    /// `length` zeroed values, at least one. From the size of a huge page on they are aligned to one, and the kernel is asked
    /// for huge pages.
    pub fn zeroed(length: usize) -> Self {
        let length = length.max(1);
        let Ok(layout) = Layout::array::<T>(length) else { handle_alloc_error(Layout::new::<T>()) };
        let is_huge = layout.size() >= HUGE_PAGE_BYTES;
        let mapping_bytes = layout.size() + if is_huge { HUGE_PAGE_BYTES } else { 0 };
        // SAFETY: a new private mapping at an address of the kernel's choice touches no memory of ours.
        let mapping = unsafe {
            let protection = libc::PROT_READ | libc::PROT_WRITE;
            libc::mmap(ptr::null_mut(), mapping_bytes, protection, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0)
        };
        let Some(mapping) = NonNull::new(mapping).filter(|mapping| mapping.as_ptr() != libc::MAP_FAILED) else {
            handle_alloc_error(layout);
        };
        let mut start = mapping;
        if is_huge {
            let skipped = mapping.as_ptr().align_offset(HUGE_PAGE_BYTES);
            // SAFETY: less than a huge page is skipped, and the mapping is longer than the values by one.
            start = unsafe { mapping.byte_add(skipped) };
            // SAFETY: the range is within the mapping; MADV_HUGEPAGE changes no content, and its failure (a kernel
            // without huge pages) leaves ordinary pages.
            unsafe { libc::madvise(start.as_ptr(), layout.size(), libc::MADV_HUGEPAGE) };
        }
        Self { start: start.cast(), length, mapping, mapping_bytes }
    }

    /// Allocates all pages at once (madvise(2), Linux 5.14). On older kernels each page is allocated at its first write.
    pub fn populate(&mut self) {
        let bytes = self.length * size_of::<T>();
        // SAFETY: the range is within the mapping and `self` is borrowed exclusively; the kernel acts as if every page of it
        // were written to, without changing its content.
        unsafe { libc::madvise(self.start.as_ptr().cast(), bytes, libc::MADV_POPULATE_WRITE) };
    }
}

impl<T: Zeroed> Drop for Pages<T> {
    fn drop(&mut self) {
        // SAFETY: mapped in `zeroed` with this very length, and unmapped once; no reference outlives `self`.
        unsafe { libc::munmap(self.mapping.as_ptr(), self.mapping_bytes) };
    }
}

impl<T: Zeroed> Deref for Pages<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        // SAFETY: `length` values lie at `start`, aligned to a page, zeroed at birth, which `Zeroed` makes values of `T`.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.length) }
    }
}

impl<T: Zeroed> DerefMut for Pages<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as in `deref`; the exclusive borrow of `self` makes this the only reference.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.length) }
    }
}

/// Asks the kernel for huge pages under memory that was not written to yet, as far as it spans any.
pub fn prefer_huge_pages<T>(memory: &mut [MaybeUninit<T>]) {
    let skipped = memory.as_ptr().cast::<u8>().align_offset(HUGE_PAGE_BYTES);
    let bytes = size_of_val(memory).saturating_sub(skipped) / HUGE_PAGE_BYTES * HUGE_PAGE_BYTES;
    if bytes > 0 {
        // SAFETY: the range lies within `memory`; MADV_HUGEPAGE changes no content, and its failure leaves ordinary pages.
        unsafe { libc::madvise(memory.as_mut_ptr().cast::<u8>().add(skipped).cast(), bytes, libc::MADV_HUGEPAGE) };
    }
}

/// Prefetches the cache line in which the value at `place` begins. A hint: any `place` is allowed, even beyond the end.
#[inline]
pub fn prefetch<T>(values: &[T], place: usize) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: prefetching has no effect on memory and cannot fault, whatever the address; SSE is part of every x86-64.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(
            values.as_ptr().wrapping_add(place).cast(),
        );
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (values, place);
}

/// Prefetches all cache lines of the value at `place`.
#[inline]
pub fn prefetch_whole<T>(values: &[T], place: usize) {
    #[cfg(target_arch = "x86_64")]
    for offset in (0..size_of::<T>()).step_by(64) {
        let line = values.as_ptr().wrapping_add(place).cast::<i8>().wrapping_add(offset);
        // SAFETY: as in `prefetch`.
        unsafe { std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(line) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (values, place);
}

/// Slots of a bucket: as many as one comparison of vectors takes.
pub const WAYS: usize = 16;

/// A bit for each way whose tag is `tag`.
#[cfg(target_arch = "x86_64")]
#[inline]
pub fn equal_tags(tags: &[u16; WAYS], tag: u16) -> u32 {
    use std::arch::x86_64::{_mm_cmpeq_epi16, _mm_loadu_si128, _mm_movemask_epi8, _mm_packs_epi16, _mm_set1_epi16};
    let (low, high) = tags.split_at(WAYS / 2);
    // SAFETY: each load reads the sixteen bytes of half the array, and needs no alignment; SSE2 is part of every x86-64.
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
    // SAFETY: the load reads the sixteen bytes of the array, and needs no alignment; SSE2 is part of every x86-64.
    unsafe {
        let ages = _mm_sub_epi8(_mm_set1_epi8(epoch as i8), _mm_loadu_si128(epochs.as_ptr().cast()));
        // A saturating subtraction leaves 0 where the age is within the limit.
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
    fn pages_come_zeroed_and_aligned() {
        let mut pages = Pages::<u64>::zeroed(1 << 20);
        assert!(pages.iter().all(|&word| word == 0));
        pages[5] = 7;
        assert_eq!(pages.iter().sum::<u64>(), 7);
        assert_eq!(pages.as_ptr() as usize % HUGE_PAGE_BYTES, 0);
        assert_eq!(Pages::<u64>::zeroed(0).len(), 1);
    }

    #[test]
    fn memory_on_huge_pages_is_used_as_any_other() {
        for length in [0, 1, 4096, 1 << 20] {
            let mut values = Vec::<u64>::with_capacity(length);
            prefer_huge_pages(values.spare_capacity_mut());
            values.extend(0..length as u64);
            assert!(values.iter().zip(0..).all(|(&value, place)| value == place) && values.len() == length);
        }
    }

    // SAFETY: a plain integer.
    unsafe impl Zeroed for u64 {}

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
