//! An allocator that counts what the calling thread does, for tests of how much memory something takes and how often it
//! asks for it. A test that uses it declares `#[global_allocator] static ALLOCATOR: Counting = Counting;`.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// The system's allocator, counted.
pub struct Counting;

/// What a thread did.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    /// Allocations and reallocations.
    times: u64,
    /// Bytes held; negative if others' memory was given back.
    held: i64,
    /// The most that was held.
    peak: i64,
}

thread_local! {
    static COUNTS: Cell<Counts> = const { Cell::new(Counts { times: 0, held: 0, peak: 0 }) };
}

fn count(times: u64, bytes: i64) {
    COUNTS.with(|counts| {
        let Counts { times: before, held, peak } = counts.get();
        let held = held + bytes;
        counts.set(Counts { times: before + times, held, peak: peak.max(held) });
    });
}

// SAFETY: every call goes to the system's allocator as it came, so its promises hold; counting touches a thread-local
// cell that needs neither memory nor a destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(1, layout.size() as i64);
        // SAFETY: the caller keeps the contract of `alloc`, which is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(0, -(layout.size() as i64));
        // SAFETY: the pointer came from `System` by this very layout.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        count(1, bytes as i64 - layout.size() as i64);
        // SAFETY: the pointer came from `System` by this very layout, and the caller keeps the contract of `realloc`.
        unsafe { System.realloc(pointer, layout, bytes) }
    }
}

/// What `work` gives, how often it allocated, and by how many bytes at most it held more than before.
pub fn measure<T>(work: impl FnOnce() -> T) -> (T, u64, usize) {
    let before = COUNTS.get();
    COUNTS.set(Counts { peak: before.held, ..before });
    let result = work();
    let after = COUNTS.get();
    COUNTS.set(Counts { peak: after.peak.max(before.peak), ..after });
    (result, after.times - before.times, usize::try_from(after.peak - before.held).unwrap_or(0))
}
