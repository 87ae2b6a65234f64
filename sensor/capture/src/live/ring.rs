//! The ring of a packet socket (TPACKET_V3, Documentation/networking/packet_mmap.rst): memory that the kernel fills block
//! by block, and the frames in it, which are visited in place.
//!
//! A block belongs to the kernel or to this process, as its status word says. [`Ring::next`] reads the frames of our blocks
//! in order; it needs only `&self`, so that many frames can be looked at together. [`Ring::release`] gives blocks back; it
//! needs `&mut self`, so that the compiler proves that no frame is looked at any more.
//!
//! The kernel takes the outermost VLAN tag out of incoming frames and notes it beside them (also when the card took it
//! out). The tag is put back by moving the two addresses in front of it four bytes forward.
#![allow(unsafe_code)]

mod memory;

use std::cell::Cell;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::ptr;
use std::slice;
use std::sync::atomic::Ordering;

use libc::tpacket3_hdr;

use self::memory::RingMemory;
use super::system::{PacketSocket, RingLayout};
use vigie_wire::{Frame, LinkType};

/// A VLAN tag with its protocol (IEEE 802.1Q §9.3).
const TAG_BYTES: usize = 4;
/// Destination and source of an Ethernet frame, in front of a tag.
const ADDRESSES_BYTES: usize = 12;
/// The protocol of a tag if the kernel names none.
const TAG_PROTOCOL: u16 = 0x8100;

/// What was seen of a ring's frames since the last time it was asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct RingCounts {
    pub(super) frames: u64,
    /// Bytes on the wire.
    pub(super) bytes: u64,
    /// Bytes captured.
    pub(super) captured: u64,
    /// Frames of which not all was captured.
    pub(super) truncated: u64,
    /// Frames with a timestamp of the network card.
    pub(super) hardware_timestamps: u64,
    /// Frames with an impossible place in the block; they are not shown.
    pub(super) damaged: u64,
}

/// The place of the next frame.
#[derive(Clone, Copy, Debug, Default)]
struct Cursor {
    /// The block being read, or the next one.
    block: u32,
    /// Frames of the block that are still to be read; 0 if it was not begun.
    frames_left: u32,
    /// Where in the block the next frame's header is.
    offset: usize,
    /// Blocks in front of `block` that were read to their end and not given back yet.
    finished: u32,
}

/// A ring and its socket.
#[derive(Debug)]
pub(super) struct Ring {
    // The memory must be unmapped before the socket is closed, so this field comes first.
    memory: RingMemory,
    socket: PacketSocket,
    cursor: Cell<Cursor>,
    counts: Cell<RingCounts>,
    interface: u16,
    link_type: LinkType,
}

impl Ring {
    /// Sets a ring up and maps it. The socket must not be bound yet, so that all its frames are written to the ring.
    pub(super) fn new(
        socket: PacketSocket,
        layout: RingLayout,
        interface: u16,
        link_type: LinkType,
    ) -> Result<Self, (PacketSocket, io::Error)> {
        let made = socket.set_ring(layout, TAG_BYTES as u32).and_then(|()| RingMemory::map(&socket, layout));
        match made {
            Ok(memory) => {
                Ok(Self { memory, socket, cursor: Cell::default(), counts: Cell::default(), interface, link_type })
            }
            Err(error) => Err((socket, error)),
        }
    }

    /// The socket without its ring, to be used for another.
    pub(super) fn into_socket(self) -> io::Result<PacketSocket> {
        let Self { memory, socket, .. } = self;
        drop(memory);
        socket.set_ring(RingLayout { block_bytes: 0, blocks: 0, block_timeout_ms: 0 }, 0)?;
        Ok(socket)
    }

    pub(super) fn socket(&self) -> &PacketSocket {
        &self.socket
    }

    /// When the next frame was captured, nanoseconds since the Unix epoch; none if no frame is ready.
    #[inline]
    pub(super) fn peek_ns(&self) -> Option<u64> {
        let cursor = self.opened()?;
        Some(timestamp_ns(&self.header(cursor)?))
    }

    /// The next frame, if one is ready. The caller numbers it.
    #[inline]
    pub(super) fn next(&self) -> Option<Frame<'_>> {
        loop {
            let cursor = self.opened()?;
            let header = self.header(cursor)?;
            self.step(cursor, header.tp_next_offset as usize);
            let mut counts = self.counts.get();
            let frame = self.frame(cursor, &header, &mut counts);
            self.counts.set(counts);
            if frame.is_some() {
                return frame;
            }
        }
    }

    /// Gives the blocks that were read to their end back to the kernel.
    #[inline]
    pub(super) fn release(&mut self) {
        let cursor = self.cursor.get_mut();
        while cursor.finished > 0 {
            let block = (cursor.block + self.memory.blocks - cursor.finished) % self.memory.blocks;
            // No read from the block may be moved behind this store (`Release`).
            self.memory.status(block).store(libc::TP_STATUS_KERNEL, Ordering::Release);
            cursor.finished -= 1;
        }
    }

    /// Whether half of the blocks wait to be read.
    pub(super) fn is_half_full(&self) -> bool {
        let ahead = (self.cursor.get().block + self.memory.blocks / 2) % self.memory.blocks;
        self.memory.is_ours(ahead)
    }

    /// Takes the counts since the last call.
    #[inline]
    pub(super) fn take_counts(&mut self) -> RingCounts {
        self.counts.take()
    }

    /// The cursor at a frame, if one is ready.
    #[inline]
    fn opened(&self) -> Option<Cursor> {
        let mut cursor = self.cursor.get();
        while cursor.frames_left == 0 {
            // If all blocks were read and none given back, the next block is one that was read already.
            if cursor.finished == self.memory.blocks || !self.memory.is_ours(cursor.block) {
                return None;
            }
            let header = self.memory.block_header(cursor.block);
            cursor.frames_left = header.num_pkts;
            cursor.offset = header.offset_to_first_pkt as usize;
            if cursor.frames_left == 0 {
                cursor.block = (cursor.block + 1) % self.memory.blocks;
                cursor.finished += 1;
            }
            self.cursor.set(cursor);
        }
        Some(cursor)
    }

    /// Goes on to the next frame.
    #[inline]
    fn step(&self, mut cursor: Cursor, distance: usize) {
        cursor.frames_left -= 1;
        cursor.offset = cursor.offset.saturating_add(distance);
        if cursor.frames_left == 0 {
            cursor.block = (cursor.block + 1) % self.memory.blocks;
            cursor.finished += 1;
        }
        self.cursor.set(cursor);
    }

    /// The header of the frame at the cursor. The kernel never places one outside its block; if one is, the rest of the
    /// block is skipped.
    #[inline]
    fn header(&self, cursor: Cursor) -> Option<tpacket3_hdr> {
        let header = self.memory.read::<tpacket3_hdr>(cursor.block, cursor.offset);
        if header.is_none() {
            let mut counts = self.counts.get();
            counts.damaged += u64::from(cursor.frames_left);
            self.counts.set(counts);
            self.step(Cursor { frames_left: 1, ..cursor }, 0);
        }
        header
    }

    #[inline]
    fn frame(&self, cursor: Cursor, header: &tpacket3_hdr, counts: &mut RingCounts) -> Option<Frame<'_>> {
        let at = cursor.offset + usize::from(header.tp_mac);
        let mut length = header.tp_snaplen as usize;
        let end = at.checked_add(length).filter(|&end| end <= self.memory.block_bytes);
        let headroom = usize::from(header.tp_mac).checked_sub(size_of::<tpacket3_hdr>() + TAG_BYTES);
        if end.is_none() || headroom.is_none() {
            counts.damaged += 1;
            return None;
        }
        let mut wire_length = header.tp_len;
        // SAFETY: `at` lies in the block, as just checked, and so in the mapping.
        let mut data = unsafe { self.memory.start.as_ptr().add(cursor.block as usize * self.memory.block_bytes + at) };
        let tagged = header.tp_status & libc::TP_STATUS_VLAN_VALID != 0;
        if tagged && self.link_type == LinkType::ETHERNET && length >= ADDRESSES_BYTES {
            let protocol = match header.tp_status & libc::TP_STATUS_VLAN_TPID_VALID {
                0 => TAG_PROTOCOL,
                _ => header.hv1.tp_vlan_tpid,
            };
            let [p0, p1] = protocol.to_be_bytes();
            let [t0, t1] = (header.hv1.tp_vlan_tci as u16).to_be_bytes();
            // SAFETY: the frame has the addresses (`length`). In front of them are at least four bytes behind the frame's
            // header (`headroom`), all in this block, which is ours. No reference to these bytes exists: each frame is
            // visited once (the cursor has gone on), and other frames lie elsewhere in the block.
            unsafe {
                let moved = data.sub(TAG_BYTES);
                ptr::copy(data, moved, ADDRESSES_BYTES);
                moved.add(ADDRESSES_BYTES).cast::<[u8; TAG_BYTES]>().write_unaligned([p0, p1, t0, t1]);
                data = moved;
            }
            length += TAG_BYTES;
            wire_length += TAG_BYTES as u32;
        }
        counts.frames += 1;
        counts.bytes += u64::from(wire_length);
        counts.captured += length as u64;
        counts.truncated += u64::from(header.tp_snaplen < header.tp_len);
        counts.hardware_timestamps += u64::from(header.tp_status & libc::TP_STATUS_TS_RAW_HARDWARE != 0);
        // SAFETY: the bytes lie in a block of the mapping, as checked above. The kernel does not write to a block that is
        // ours, and this process wrote only the tag above, before this reference exists. The block is given back only by
        // `release`, which needs `&mut self`, so this borrow of `self` has ended by then; the same holds for unmapping.
        let data = unsafe { slice::from_raw_parts(data, length) };
        Some(Frame {
            timestamp_ns: timestamp_ns(header),
            number: 0,
            wire_length: wire_length.max(length as u32),
            link_type: self.link_type,
            interface: self.interface,
            data,
        })
    }
}

#[inline]
fn timestamp_ns(header: &tpacket3_hdr) -> u64 {
    u64::from(header.tp_sec) * 1_000_000_000 + u64::from(header.tp_nsec)
}

impl AsFd for Ring {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[cfg(test)]
mod tests;
