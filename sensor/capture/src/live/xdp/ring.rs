//! The two rings of a queue that receives, as this process uses them: frames received are read, free chunks are given.
//!
//! Counts run over at 2^32; an entry's place is its count modulo the ring's entries.

use std::cell::Cell;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::atomic::Ordering;

use super::super::system::RingOffsets;
use super::memory::{Descriptor, Entry, Mapping, RingMemory};

/// Frames received: the kernel writes, this process reads. [`next`](Self::next) needs only `&self`, so that many frames can be
/// looked at together; [`release`](Self::release) needs `&mut self`, so that the compiler proves that none is looked at any more.
#[derive(Debug)]
pub(super) struct Received {
    memory: RingMemory<Descriptor>,
    /// Entries that the kernel had written when it was last asked.
    written: Cell<u32>,
    read: Cell<u32>,
    released: u32,
}

/// Free chunks: this process writes, the kernel reads.
#[derive(Debug)]
pub(super) struct Free {
    memory: RingMemory<u64>,
    written: u32,
}

impl Received {
    pub(super) fn map(socket: BorrowedFd<'_>, offsets: RingOffsets, entries: u32) -> io::Result<Self> {
        let memory = mapped(socket, libc::XDP_PGOFF_RX_RING as u64, offsets, entries)?;
        Ok(Self::of(memory))
    }

    fn of(memory: RingMemory<Descriptor>) -> Self {
        let read = memory.consumer().load(Ordering::Relaxed);
        Self { memory, written: Cell::new(read), read: Cell::new(read), released: read }
    }

    /// The next frame, if one is ready; it stays the next one.
    #[inline]
    pub(super) fn peek(&self) -> Option<Descriptor> {
        let read = self.read.get();
        if read == self.written.get() {
            // `Acquire`: the frames that it counts are visible.
            let written = self.memory.producer().load(Ordering::Acquire);
            self.written.set(written);
            if read == written {
                return None;
            }
        }
        Some(self.memory.read(read))
    }

    /// The next frame, if one is ready.
    #[inline]
    pub(super) fn next(&self) -> Option<Descriptor> {
        let descriptor = self.peek()?;
        self.read.set(self.read.get().wrapping_add(1));
        Some(descriptor)
    }

    /// The frame so many behind the next one, if the kernel had written it when it was last asked.
    #[inline]
    pub(super) fn ahead(&self, frames: u32) -> Option<Descriptor> {
        let read = self.read.get();
        (self.written.get().wrapping_sub(read) > frames).then(|| self.memory.read(read.wrapping_add(frames)))
    }

    /// Whether half of the ring waits to be read.
    pub(super) fn is_half_full(&self) -> bool {
        let written = self.memory.producer().load(Ordering::Relaxed);
        written.wrapping_sub(self.read.get()) >= self.memory.entries() / 2
    }

    /// Gives the entries that were read back to the kernel, and their chunks to `free`.
    #[inline]
    pub(super) fn release(&mut self, free: &mut Free, chunk_bytes: u64) {
        let read = self.read.get();
        if self.released == read {
            return;
        }
        while self.released != read {
            let chunk = self.memory.read(self.released).address & !(chunk_bytes - 1);
            free.push(chunk);
            self.released = self.released.wrapping_add(1);
        }
        free.publish();
        // `Release`: the entries were read before.
        self.memory.consumer().store(read, Ordering::Release);
    }
}

impl Free {
    pub(super) fn map(socket: BorrowedFd<'_>, offsets: RingOffsets, entries: u32) -> io::Result<Self> {
        Ok(Self::of(mapped(socket, libc::XDP_UMEM_PGOFF_FILL_RING, offsets, entries)?))
    }

    fn of(memory: RingMemory<u64>) -> Self {
        let written = memory.producer().load(Ordering::Relaxed);
        Self { memory, written }
    }

    /// Writes a chunk, which the kernel sees after [`publish`](Self::publish). The ring has an entry for each chunk that there
    /// is, so there is always room.
    #[inline]
    pub(super) fn push(&mut self, chunk: u64) {
        self.memory.write(self.written, chunk);
        self.written = self.written.wrapping_add(1);
    }

    /// Shows the kernel what was written.
    #[inline]
    pub(super) fn publish(&self) {
        // `Release`: the entries, and all reads of the chunks, come before.
        self.memory.producer().store(self.written, Ordering::Release);
    }

    /// Whether the driver waits for a call before it takes chunks again.
    #[inline]
    pub(super) fn needs_wakeup(&self) -> bool {
        self.memory.needs_wakeup()
    }
}

fn mapped<T: Entry>(
    socket: BorrowedFd<'_>,
    ring: u64,
    offsets: RingOffsets,
    entries: u32,
) -> io::Result<RingMemory<T>> {
    let mapping = Mapping::of_ring(socket, RingMemory::<T>::bytes(&offsets, entries), ring)?;
    RingMemory::new(mapping, offsets, entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENTRIES: u32 = 8;
    const CHUNK_BYTES: u64 = 2_048;
    const OFFSETS: RingOffsets = RingOffsets { producer: 0, consumer: 64, flags: 128, entries: 192 };

    fn memory<T: Entry>(count: u32) -> RingMemory<T> {
        let (mapping, _) = Mapping::anonymous(RingMemory::<T>::bytes(&OFFSETS, ENTRIES)).unwrap();
        let memory = RingMemory::new(mapping, OFFSETS, ENTRIES).unwrap();
        memory.producer().store(count, Ordering::Relaxed);
        memory.consumer().store(count, Ordering::Relaxed);
        memory
    }

    /// What the kernel does with the rings.
    struct Kernel {
        received: Received,
        free: Free,
        taken: Vec<u64>,
    }

    impl Kernel {
        /// Rings whose counts begin there, with all chunks free.
        fn new(count: u32) -> Self {
            let mut free = Free::of(memory(count));
            (0..u64::from(ENTRIES)).for_each(|chunk| free.push(chunk * CHUNK_BYTES));
            free.publish();
            Self { received: Received::of(memory(count)), free, taken: Vec::new() }
        }

        /// Receives a frame of that length; false if no chunk is free.
        fn receive(&mut self, length: u32) -> bool {
            let free = &self.free.memory;
            let read = free.consumer().load(Ordering::Relaxed);
            if read == free.producer().load(Ordering::Acquire) {
                return false;
            }
            let chunk = free.read(read);
            free.consumer().store(read.wrapping_add(1), Ordering::Release);
            self.taken.push(chunk);
            let written = self.received.memory.producer().load(Ordering::Relaxed);
            assert!(written.wrapping_sub(self.received.memory.consumer().load(Ordering::Acquire)) < ENTRIES);
            self.received.memory.write(written, Descriptor { address: chunk + 256, length, options: 0 });
            self.received.memory.producer().store(written.wrapping_add(1), Ordering::Release);
            true
        }
    }

    #[test]
    fn frames_come_in_order_and_their_chunks_go_back_also_where_counts_run_over() {
        let mut kernel = Kernel::new(u32::MAX - 20);
        let (mut sent, mut seen) = (0, 0);
        for round in 0..40_u32 {
            for _ in 0..=round % ENTRIES {
                sent += u32::from(kernel.receive(sent));
            }
            // Not all that is ready is read each time.
            for _ in 0..=round % 5 {
                let Some(peeked) = kernel.received.peek() else { break };
                assert_eq!(kernel.received.ahead(0), Some(peeked));
                assert!(kernel.received.ahead(1).is_none_or(|later| later.length == peeked.length + 1));
                assert_eq!(kernel.received.next(), Some(peeked));
                assert_eq!(peeked.length, seen);
                seen += 1;
            }
            kernel.received.release(&mut kernel.free, CHUNK_BYTES);
        }
        assert!(sent > 80 && sent - seen <= ENTRIES, "{sent} {seen}");
        let mut chunks = kernel.taken;
        chunks.sort_unstable();
        chunks.dedup();
        assert_eq!(chunks, (0..u64::from(ENTRIES)).map(|chunk| chunk * CHUNK_BYTES).collect::<Vec<_>>());
    }

    #[test]
    fn nothing_is_given_back_before_it_is_released() {
        let mut kernel = Kernel::new(0);
        assert!((0..ENTRIES).all(|number| kernel.receive(number)));
        assert!(!kernel.receive(99), "all chunks are taken");
        assert!(kernel.received.is_half_full());
        while kernel.received.next().is_some() {}
        assert!(!kernel.received.is_half_full() && !kernel.receive(99));
        kernel.received.release(&mut kernel.free, CHUNK_BYTES);
        assert!(kernel.receive(99));
        assert_eq!(kernel.received.peek().map(|frame| frame.length), Some(99));
    }

    #[test]
    fn a_ring_that_does_not_fit_into_its_mapping_is_refused() {
        let (mapping, is_huge) = Mapping::anonymous(4_096).unwrap();
        assert!(!is_huge && mapping.at(4_090, 6).is_some() && mapping.at(4_090, 7).is_none());
        assert!(mapping.at(usize::MAX, 2).is_none());
        assert!(RingMemory::<u64>::new(mapping, OFFSETS, 512).is_err());
        let odd = RingOffsets { producer: 2, ..OFFSETS };
        assert!(RingMemory::<u64>::new(Mapping::anonymous(4_096).unwrap().0, odd, 8).is_err());
        assert!(RingMemory::<u64>::new(Mapping::anonymous(4_096).unwrap().0, OFFSETS, 7).is_err());
    }
}
