//! Memory that AF_XDP sockets and this process share: the rings, and the chunks that hold frames.
#![allow(unsafe_code)]

use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU32, Ordering};

use super::super::system::RingOffsets;

/// Bytes of a huge page.
const HUGE_PAGE_BYTES: usize = 2 << 20;

/// Mapped memory.
#[derive(Debug)]
pub(super) struct Mapping {
    start: NonNull<u8>,
    bytes: usize,
}

// SAFETY: the mapping belongs to this value and is not bound to a thread.
unsafe impl Send for Mapping {}

impl Mapping {
    /// New memory, in huge pages if there are free ones; then true comes with it. The length is rounded up to them.
    pub(super) fn anonymous(bytes: usize) -> io::Result<(Self, bool)> {
        let kind = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_POPULATE;
        if bytes >= HUGE_PAGE_BYTES
            && let Ok(mapping) = Self::map(bytes.next_multiple_of(HUGE_PAGE_BYTES), kind | libc::MAP_HUGETLB, -1, 0)
        {
            return Ok((mapping, true));
        }
        Ok((Self::map(bytes, kind, -1, 0)?, false))
    }

    /// A ring of a socket.
    pub(super) fn of_ring(socket: BorrowedFd<'_>, bytes: usize, ring: u64) -> io::Result<Self> {
        Self::map(bytes, libc::MAP_SHARED | libc::MAP_POPULATE, socket.as_raw_fd(), ring)
    }

    fn map(bytes: usize, kind: i32, descriptor: i32, offset: u64) -> io::Result<Self> {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping at an address that the kernel chooses, so it touches no memory of this process.
        let start = unsafe { libc::mmap(ptr::null_mut(), bytes, access, kind, descriptor, offset.cast_signed()) };
        match NonNull::new(start.cast::<u8>()) {
            Some(start) if start.as_ptr().cast() != libc::MAP_FAILED => Ok(Self { start, bytes }),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// The address of so many bytes from an offset; none if they do not lie in the mapping.
    #[inline]
    pub(super) fn at(&self, offset: usize, bytes: usize) -> Option<NonNull<u8>> {
        offset.checked_add(bytes).filter(|&end| end <= self.bytes)?;
        // SAFETY: the offset lies in the mapping, as just checked.
        Some(unsafe { self.start.add(offset) })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: address and length are those of the mapping. No reference into it outlives `self`, from which all are
        // borrowed.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.bytes) };
    }
}

/// Entries of rings.
///
/// # Safety
/// Any bytes are a valid value of the type.
pub(super) unsafe trait Entry: Copy {}

/// A frame in the ring of received ones (`struct xdp_desc`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub(super) struct Descriptor {
    /// Where in the memory its bytes begin.
    pub(super) address: u64,
    /// Bytes.
    pub(super) length: u32,
    pub(super) options: u32,
}

// SAFETY: numbers only.
unsafe impl Entry for Descriptor {}
// SAFETY: a number.
unsafe impl Entry for u64 {}

const _: () = assert!(size_of::<Descriptor>() == size_of::<libc::xdp_desc>());

/// A ring: one side writes entries and then the producer's count, the other reads them and then writes the consumer's.
#[derive(Debug)]
pub(super) struct RingMemory<T> {
    mapping: Mapping,
    offsets: RingOffsets,
    entries: u32,
    entry: PhantomData<fn() -> T>,
}

impl<T: Entry> RingMemory<T> {
    /// The ring of so many entries, a power of two, in a mapping.
    ///
    /// # Errors
    /// Its parts do not lie in the mapping.
    pub(super) fn new(mapping: Mapping, offsets: RingOffsets, entries: u32) -> io::Result<Self> {
        let wrong = || io::Error::from(io::ErrorKind::InvalidInput);
        let length = size_of::<T>().checked_mul(entries as usize).filter(|_| entries.is_power_of_two());
        mapping.at(offsets.entries, length.ok_or_else(wrong)?).ok_or_else(wrong)?;
        for word in [offsets.producer, offsets.consumer, offsets.flags] {
            mapping.at(word, size_of::<u32>()).filter(|_| word % align_of::<u32>() == 0).ok_or_else(wrong)?;
        }
        let is_aligned = offsets.entries.is_multiple_of(align_of::<T>());
        if is_aligned { Ok(Self { mapping, offsets, entries, entry: PhantomData }) } else { Err(wrong()) }
    }

    /// Bytes of the mapping of such a ring.
    pub(super) const fn bytes(offsets: &RingOffsets, entries: u32) -> usize {
        offsets.entries + entries as usize * size_of::<T>()
    }

    pub(super) const fn entries(&self) -> u32 {
        self.entries
    }

    /// The count of entries written. What was written before is visible after it is read (`Acquire`).
    #[inline]
    pub(super) fn producer(&self) -> &AtomicU32 {
        self.word(self.offsets.producer)
    }

    /// The count of entries read.
    #[inline]
    pub(super) fn consumer(&self) -> &AtomicU32 {
        self.word(self.offsets.consumer)
    }

    /// Whether the kernel waits for a call before it looks at the ring again.
    #[inline]
    pub(super) fn needs_wakeup(&self) -> bool {
        self.word(self.offsets.flags).load(Ordering::Relaxed) & libc::XDP_RING_NEED_WAKEUP != 0
    }

    #[inline]
    fn word(&self, offset: usize) -> &AtomicU32 {
        // SAFETY: the word lies in the mapping and is aligned, as `new` has checked, and lives as long as `self`. The kernel
        // and this process access it atomically only.
        unsafe { AtomicU32::from_ptr(self.mapping.start.as_ptr().add(offset).cast()) }
    }

    /// The entry with this number, which is this process's to read.
    #[inline]
    pub(super) fn read(&self, number: u32) -> T {
        // SAFETY: as of `place`; any bytes are a valid `T`.
        unsafe { self.place(number).read() }
    }

    /// Writes the entry with this number, which is this process's to write.
    #[inline]
    pub(super) fn write(&mut self, number: u32, value: T) {
        // SAFETY: as of `place`.
        unsafe { self.place(number).write(value) }
    }

    #[inline]
    fn place(&self, number: u32) -> *mut T {
        let number = (number & (self.entries - 1)) as usize;
        // SAFETY: the entry lies in the mapping, and is aligned, as `new` has checked.
        unsafe { self.mapping.start.as_ptr().add(self.offsets.entries).cast::<T>().add(number) }
    }
}
