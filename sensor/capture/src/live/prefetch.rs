//! Hints to the processor that a cache line will be needed soon.
#![allow(unsafe_code)]

/// Fetches the cache line of an address, to be read. Any address is allowed.
#[inline]
pub(super) fn prefetch_to_read<T>(place: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: prefetching has no effect on memory and cannot fault, whatever the address; SSE is part of every x86-64.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(place.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = place;
}

/// Fetches the cache line of an address, to be written to: no other processor has it then.
#[inline]
pub(super) fn prefetch_to_write<T>(place: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: as above. Every x86-64 processor knows the instruction or passes over it. The compiler's own hint to write becomes one
    // to read unless the whole program is built for processors that are sure to know it.
    unsafe {
        std::arch::asm!("prefetchw [{}]", in(reg) place, options(nostack, preserves_flags, readonly));
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = place;
}
