//! Memory of BPF maps (`BPF_F_MMAPABLE`), which the XDP program and this process share.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::{self, NonNull};
use std::slice;
use std::sync::atomic::{AtomicU64, Ordering};

use super::super::prefetch::{prefetch_to_read, prefetch_to_write};

/// A word that the XDP program or other threads use at the same time. In tests each change of one can be interleaved with
/// what others do ([`steps`]).
#[derive(Debug, Default)]
#[repr(transparent)]
pub(super) struct Word(AtomicU64);

impl Word {
    #[inline]
    pub(super) fn load(&self, order: Ordering) -> u64 {
        self.0.load(order)
    }

    #[inline]
    pub(super) fn store(&self, value: u64, order: Ordering) {
        steps::before();
        self.0.store(value, order);
    }

    #[inline]
    pub(super) fn swap(&self, value: u64, order: Ordering) -> u64 {
        steps::before();
        self.0.swap(value, order)
    }

    #[inline]
    pub(super) fn fetch_and(&self, value: u64, order: Ordering) -> u64 {
        steps::before();
        self.0.fetch_and(value, order)
    }

    /// Puts a value in place of another one. The value that is there instead, if it is another one.
    #[inline]
    pub(super) fn replace(&self, old: u64, new: u64) -> Result<(), u64> {
        steps::before();
        // `Acquire`: what was written before the old value is seen. `Release`: nothing is moved behind this.
        self.0.compare_exchange(old, new, Ordering::AcqRel, Ordering::Relaxed).map(drop)
    }

    /// What the XDP program does to a word; for models of it.
    #[cfg(test)]
    pub(super) const fn raw(&self) -> &AtomicU64 {
        &self.0
    }
}

#[cfg(not(test))]
mod steps {
    #[inline(always)]
    pub(super) const fn before() {}
}

/// Has a test do something before each change of a word.
#[cfg(test)]
pub(super) mod steps {
    use std::cell::RefCell;

    thread_local! {
        static OTHERS: RefCell<Option<Box<dyn FnMut()>>> = const { RefCell::new(None) };
    }

    pub(in super::super) fn before() {
        OTHERS.with(|others| {
            if let Ok(mut others) = others.try_borrow_mut()
                && let Some(others) = others.as_mut()
            {
                others();
            }
        });
    }

    /// What others do before each change.
    pub(in super::super) fn set(others: Option<Box<dyn FnMut()>>) {
        OTHERS.with(|place| *place.borrow_mut() = others);
    }
}

/// Words of a map. They are accessed atomically only.
#[derive(Debug)]
pub(super) struct SharedWords {
    start: NonNull<Word>,
    words: usize,
    /// The memory is the process's own, and no map's.
    #[cfg(test)]
    own: Option<Box<[Word]>>,
}

// SAFETY: the mapping belongs to this value and is not bound to a thread. All accesses are atomic.
unsafe impl Send for SharedWords {}
// SAFETY: as above; shared references give nothing but atomics.
unsafe impl Sync for SharedWords {}

impl SharedWords {
    /// Maps a map of so many words.
    pub(super) fn map(descriptor: BorrowedFd<'_>, words: usize) -> io::Result<Self> {
        let bytes = words.checked_mul(size_of::<u64>()).filter(|&bytes| bytes > 0);
        let bytes = bytes.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        // SAFETY: a new mapping at an address that the kernel chooses, so it touches no memory of this process. The kernel
        // refuses a length beyond the map's.
        let start = unsafe {
            libc::mmap(
                ptr::null_mut(),
                bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_POPULATE,
                descriptor.as_raw_fd(),
                0,
            )
        };
        match NonNull::new(start.cast::<Word>()) {
            Some(start) if start.as_ptr().cast() != libc::MAP_FAILED => Ok(Self {
                start,
                words,
                #[cfg(test)]
                own: None,
            }),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Memory of this process, for tests without a kernel's map.
    #[cfg(test)]
    pub(super) fn own(words: usize) -> Self {
        let own: Box<[Word]> = (0..words).map(|_| Word::default()).collect();
        let start = NonNull::from(&own[0]).cast();
        Self { start, words, own: Some(own) }
    }

    /// The words.
    #[inline]
    pub(super) fn words(&self) -> &[Word] {
        // SAFETY: the mapping has so many words, is aligned to pages, and lives as long as `self`. The program writes to it at
        // any time, which `Word` allows: its 64-bit accesses are atomic, and its one access to a single byte (the epoch)
        // changes no bit that this process relies on.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.words) }
    }

    /// Fetches the cache line of a word, to be read. A hint: any place is allowed, even beyond the end.
    #[inline]
    pub(super) fn prefetch_to_read(&self, place: usize) {
        prefetch_to_read(self.start.as_ptr().wrapping_add(place));
    }

    /// Fetches the cache line of a word, to be written to. The program may have read it on another processor. A hint as well.
    #[inline]
    pub(super) fn prefetch_to_write(&self, place: usize) {
        prefetch_to_write(self.start.as_ptr().wrapping_add(place));
    }
}

impl Drop for SharedWords {
    fn drop(&mut self) {
        #[cfg(test)]
        if self.own.is_some() {
            return;
        }
        // SAFETY: the mapping is this value's, of this length, and nobody has a reference to it any more.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.words * size_of::<u64>()) };
    }
}
