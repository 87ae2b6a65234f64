//! Zeroed memory for the flow table, on huge pages where the kernel gives them, and the prefetch hint.
//! The one place of this module with unsafe code.
#![allow(unsafe_code)]

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

/// Types for which all bits zero is a value.
///
/// # Safety
/// Implement it only for plain data: no padding that is read, no references, no niches that exclude zero.
pub unsafe trait Zeroed: Copy {}

// SAFETY: integers and arrays of integers throughout; all bits zero is a bucket of empty slots.
unsafe impl Zeroed for super::table::Bucket {}

// SAFETY: integers throughout; all bits zero is a flow between nobody, in a slot that no tag points to.
unsafe impl Zeroed for super::table::FlowEntry {}

/// A slice of zeroed plain values, allocated once. Untouched pages cost nothing.
#[derive(Debug)]
pub struct Pages<T: Zeroed> {
    start: NonNull<T>,
    length: usize,
    layout: Layout,
}

const HUGE_PAGE_BYTES: usize = 2 << 20;

// SAFETY: `Pages` owns its memory like a `Box<[T]>`; sending it sends plain data.
unsafe impl<T: Zeroed + Send> Send for Pages<T> {}

impl<T: Zeroed> Pages<T> {
    /// `length` zeroed values; aligned to huge pages, and advised to use them, when they fill at least one.
    pub fn zeroed(length: usize) -> Self {
        let length = length.max(1);
        let bytes = length.saturating_mul(size_of::<T>().max(1));
        let alignment = if bytes >= HUGE_PAGE_BYTES { HUGE_PAGE_BYTES } else { align_of::<T>().max(64) };
        let Ok(layout) = Layout::from_size_align(bytes, alignment) else {
            handle_alloc_error(Layout::new::<T>());
        };
        // SAFETY: the layout's size is not zero: `length` is at least 1 and so is the element size used.
        let start = unsafe { alloc_zeroed(layout) };
        let Some(start) = NonNull::new(start.cast::<T>()) else { handle_alloc_error(layout) };
        if bytes >= HUGE_PAGE_BYTES {
            // SAFETY: the range was just allocated and is ours; MADV_HUGEPAGE changes no content, and its
            // failure (a kernel without huge pages) leaves ordinary pages.
            unsafe { libc::madvise(start.as_ptr().cast(), bytes, libc::MADV_HUGEPAGE) };
        }
        Self { start, length, layout }
    }
}

impl<T: Zeroed> Drop for Pages<T> {
    fn drop(&mut self) {
        // SAFETY: allocated in `zeroed` with this very layout, and dropped once.
        unsafe { dealloc(self.start.as_ptr().cast(), self.layout) }
    }
}

impl<T: Zeroed> Deref for Pages<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        // SAFETY: `length` values lie at `start`, zeroed at birth, which `Zeroed` makes a value of `T`.
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

/// Asks the processor to fetch the line of `value`; a hint, without effect on what a program computes.
#[inline]
pub fn prefetch<T>(value: &T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: prefetching has no effect on memory and cannot fault; SSE is part of every x86-64.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(std::ptr::from_ref(value).cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = value;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_come_zeroed_and_aligned() {
        let mut pages = Pages::<u64>::zeroed(1 << 20);
        assert!(pages.iter().all(|&word| word == 0));
        pages[5] = 7;
        assert_eq!(pages.iter().sum::<u64>(), 7);
        assert_eq!(pages.as_ptr() as usize % HUGE_PAGE_BYTES, 0);
        assert_eq!(Pages::<u64>::zeroed(0).len(), 1);
    }

    // SAFETY: a plain integer.
    unsafe impl Zeroed for u64 {}
}
