//! A queue of an interface, read by an AF_XDP socket: the frames in its chunks, which are visited in place.
//!
//! A chunk belongs to the kernel or to this process. It is ours from when its frame stands in the ring of received ones until
//! [`Queue::release`] gives it back.
//!
//! The XDP program writes the time in front of each frame, with a mark that nobody else knows (`xdp/shunt.c`). A driver may
//! have no room for it; then a frame has the time at which it is read.
#![allow(unsafe_code)]

use std::cell::Cell;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::slice;

use super::super::merge::FrameQueue;
use super::super::prefetch::prefetch_to_write;
use super::super::system::{XskSocket, XskStatistics, retry_while_busy};
use super::memory::{Descriptor, Mapping};
use super::ring::{Free, Received};
use vigie_wire::{Frame, LinkType};

/// The kernel keeps so many bytes in front of a frame in its chunk (`XDP_PACKET_HEADROOM`).
const HEADROOM_BYTES: u32 = 256;
/// Bytes of a chunk: a divisor of a page. The kernel takes no others.
const CHUNKS_BYTES: [u32; 2] = [2_048, 4_096];
/// A queue may still be in use for a moment after its last socket was closed.
const BUSY_RETRIES: u32 = 100;

/// A stamp is fetched so many frames before its own is read.
const STAMPS_AHEAD: u32 = 12;

/// What a queue is made of.
#[derive(Clone, Copy, Debug)]
pub(super) struct QueueOptions {
    /// The number of its interface in the system.
    pub(super) index: u32,
    /// Its own number there.
    pub(super) queue: u32,
    /// The number of its interface in the options of capture.
    pub(super) interface: u16,
    /// Chunks, a power of two.
    pub(super) chunks: u32,
    pub(super) chunk_bytes: u32,
    /// The driver may not write into the chunks itself.
    pub(super) copied: bool,
    pub(super) snap_bytes: u32,
    /// By what a time stamp is known.
    pub(super) stamp_mark: u64,
}

/// What was seen of a queue's frames since the last time it was asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct QueueCounts {
    pub(super) frames: u64,
    /// Bytes on the wire.
    pub(super) bytes: u64,
    /// Bytes given.
    pub(super) captured: u64,
    /// Frames of which not all was given.
    pub(super) truncated: u64,
    /// Frames without a time stamp.
    pub(super) unstamped: u64,
    /// Frames with an impossible place in the memory; they are not shown.
    pub(super) damaged: u64,
}

/// A time stamp (`struct stamp` in the XDP program).
#[derive(Clone, Copy)]
#[repr(C)]
struct Stamp {
    tai_ns: u64,
    mark: u64,
}

/// A queue.
#[derive(Debug)]
pub(super) struct Queue {
    socket: XskSocket,
    chunks: Mapping,
    received: Received,
    free: Free,
    options: QueueOptions,
    has_huge_pages: bool,
    /// By how much CLOCK_TAI is ahead of the system's clock.
    tai_ahead_ns: u64,
    /// The time of frames without a time stamp.
    read_ns: u64,
    counts: Cell<QueueCounts>,
    counted: XskStatistics,
}

/// The least chunk that has room for frames of so many bytes; of longer ones the largest.
pub(super) const fn chunk_bytes_for(frame_bytes: u32) -> u32 {
    let [small, large] = CHUNKS_BYTES;
    if frame_bytes <= frame_bytes_max(small) { small } else { large }
}

/// The longest frame that has room in a chunk.
pub(super) const fn frame_bytes_max(chunk_bytes: u32) -> u32 {
    chunk_bytes - HEADROOM_BYTES
}

impl Queue {
    /// Opens a queue. It receives when the XDP program knows its socket.
    ///
    /// # Errors
    /// What the kernel refuses, and the error.
    pub(super) fn open(options: &QueueOptions) -> Result<Self, (Step, io::Error)> {
        let socket = XskSocket::open().map_err(|error| (Step::Socket, error))?;
        let bytes = options.chunks as usize * options.chunk_bytes as usize;
        let memory = |error| (Step::Memory, error);
        let (chunks, has_huge_pages) = Mapping::anonymous(bytes).map_err(memory)?;
        let start = chunks.at(0, bytes).ok_or_else(|| memory(io::ErrorKind::InvalidInput.into()))?;
        // SAFETY: `Queue` reads and writes only chunks that the kernel has handed over.
        unsafe { socket.register(start.as_ptr(), bytes, options.chunk_bytes) }.map_err(memory)?;
        socket.set_rings(options.chunks).map_err(memory)?;
        let (received_at, free_at) = socket.offsets().map_err(memory)?;
        let mut free = Free::map(socket.as_fd(), free_at, options.chunks).map_err(memory)?;
        let received = Received::map(socket.as_fd(), received_at, options.chunks).map_err(memory)?;
        (0..options.chunks).for_each(|chunk| free.push(u64::from(chunk) * u64::from(options.chunk_bytes)));
        free.publish();
        bind(&socket, options).map_err(|error| (Step::Bind, error))?;
        let mut queue = Self {
            socket,
            chunks,
            received,
            free,
            options: *options,
            has_huge_pages,
            tai_ahead_ns: 0,
            read_ns: 0,
            counts: Cell::default(),
            counted: XskStatistics::default(),
        };
        queue.wake();
        queue.follow_clock();
        Ok(queue)
    }

    pub(super) const fn interface(&self) -> u16 {
        self.options.interface
    }

    pub(super) const fn has_huge_pages(&self) -> bool {
        self.has_huge_pages
    }

    pub(super) fn is_zero_copy(&self) -> bool {
        self.socket.is_zero_copy()
    }

    /// Notes by how much the clock of the time stamps is ahead of the system's: whole seconds,
    /// which change with a leap second, or when a time server tells them first.
    pub(super) fn follow_clock(&mut self) {
        self.tai_ahead_ns = super::clock::tai_ahead_ns();
    }

    /// Frames without a time stamp have this one from now on.
    pub(super) const fn read_at(&mut self, now_ns: u64) {
        self.read_ns = now_ns;
    }

    /// Whether a frame is ready.
    pub(super) fn is_ready(&self) -> bool {
        self.received.peek().is_some()
    }

    /// Gives the chunks of the frames that were visited back to the kernel.
    #[inline]
    pub(super) fn release(&mut self) {
        self.received.release(&mut self.free, u64::from(self.options.chunk_bytes));
    }

    /// Wakes a driver that waits for free chunks.
    #[inline]
    pub(super) fn wake(&self) {
        if self.free.needs_wakeup() {
            self.socket.wake();
        }
    }

    /// Takes the counts since the last call.
    pub(super) fn take_counts(&mut self) -> QueueCounts {
        self.counts.take()
    }

    /// What the kernel counted since the last call.
    pub(super) fn take_statistics(&mut self) -> XskStatistics {
        let Ok(now) = self.socket.statistics() else { return XskStatistics::default() };
        let before = std::mem::replace(&mut self.counted, now);
        now.since(&before)
    }

    /// Takes the socket's pending error.
    pub(super) fn take_error(&self) {
        let _ = self.socket.take_error();
    }

    /// Fetches the stamp in front of a frame, which is read and cleared.
    #[inline]
    fn prefetch_stamp(&self, descriptor: &Descriptor) {
        let at = (descriptor.address as usize).wrapping_sub(size_of::<Stamp>());
        if let Some(place) = self.chunks.at(at, size_of::<Stamp>()) {
            prefetch_to_write(place.as_ptr());
        }
    }

    /// When a frame was received; none if it has no time stamp.
    #[inline]
    fn stamped_ns(&self, descriptor: &Descriptor) -> Option<u64> {
        let at = (descriptor.address as usize).checked_sub(size_of::<Stamp>())?;
        let place = self.chunks.at(at, size_of::<Stamp>())?;
        // SAFETY: the stamp lies in the memory, as checked, in front of a frame in a chunk that is ours. Any bytes are one.
        let stamp = unsafe { place.cast::<Stamp>().read_unaligned() };
        (stamp.mark == self.options.stamp_mark).then(|| stamp.tai_ns.wrapping_sub(self.tai_ahead_ns))
    }

    /// Takes the mark from the stamp in front of a frame, so that the chunk's next frame does not have it too.
    #[inline]
    fn clear_stamp(&self, descriptor: &Descriptor) {
        let mark = (descriptor.address as usize).checked_sub(size_of::<u64>());
        if let Some(place) = mark.and_then(|at| self.chunks.at(at, size_of::<u64>())) {
            // SAFETY: the mark lies in the memory, as checked, in front of a frame in a chunk that is ours, where no reference
            // is: frames lie behind it or in other chunks.
            unsafe { place.cast::<u64>().write_unaligned(0) };
        }
    }

    #[inline]
    fn frame(&self, descriptor: &Descriptor, counts: &mut QueueCounts) -> Option<Frame<'_>> {
        let wire_length = descriptor.length;
        let length = wire_length.min(self.options.snap_bytes) as usize;
        let in_chunk = descriptor.address as usize & (self.options.chunk_bytes as usize - 1);
        let place = self.chunks.at(descriptor.address as usize, wire_length as usize);
        let is_whole = in_chunk + wire_length as usize <= self.options.chunk_bytes as usize;
        let Some(place) = place.filter(|_| is_whole) else {
            counts.damaged += 1;
            return None;
        };
        let stamped_ns = self.stamped_ns(descriptor);
        match stamped_ns {
            Some(_) => self.clear_stamp(descriptor),
            None => counts.unstamped += 1,
        }
        counts.frames += 1;
        counts.bytes += u64::from(wire_length);
        counts.captured += length as u64;
        counts.truncated += u64::from(length < wire_length as usize);
        // SAFETY: the bytes lie in the memory, as checked, and in one chunk, which is ours until `release`, which needs
        // `&mut self`: this borrow of `self` has ended by then, and by the time of unmapping. The kernel does not write to it,
        // and this process wrote only in front of it.
        let data = unsafe { slice::from_raw_parts(place.as_ptr(), length) };
        Some(Frame {
            timestamp_ns: stamped_ns.unwrap_or(self.read_ns),
            number: 0,
            wire_length,
            link_type: LinkType::ETHERNET,
            interface: self.options.interface,
            data,
        })
    }
}

impl FrameQueue for Queue {
    #[inline]
    fn peek_ns(&self) -> Option<u64> {
        let descriptor = self.received.peek()?;
        // A frame without a time stamp waits for no other: when it is read is its time.
        Some(self.stamped_ns(&descriptor).unwrap_or(0))
    }

    #[inline]
    fn next(&self) -> Option<Frame<'_>> {
        loop {
            let descriptor = self.received.next()?;
            if let Some(later) = self.received.ahead(STAMPS_AHEAD) {
                self.prefetch_stamp(&later);
            }
            let mut counts = self.counts.get();
            let frame = self.frame(&descriptor, &mut counts);
            self.counts.set(counts);
            if frame.is_some() {
                return frame;
            }
        }
    }

    fn is_half_full(&self) -> bool {
        self.received.is_half_full()
    }
}

impl AsFd for Queue {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// What the kernel refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Socket,
    Memory,
    Bind,
}

fn bind(socket: &XskSocket, options: &QueueOptions) -> io::Result<()> {
    retry_while_busy(BUSY_RETRIES, || socket.bind(options.index, options.queue, options.copied))
}
