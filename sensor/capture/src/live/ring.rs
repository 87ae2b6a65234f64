//! The ring of a packet socket (TPACKET_V3, Documentation/networking/packet_mmap.rst): memory that the kernel fills
//! block by block, and the frames in it, visited where they lie.
//!
//! A block is the kernel's or ours, as its status word says. Ours are read in order, frame by frame, by
//! [`Ring::next`], which needs only `&self`, so that many frames may be looked at together; blocks go back by
//! [`Ring::release`], which needs `&mut self`, so that the compiler sees that no frame is looked at any more.
//!
//! The kernel takes the outermost VLAN tag out of frames that come in and notes it beside them (so does it for a tag
//! that the card took out). It is put back by moving the two addresses in front of it four bytes forward.
#![allow(unsafe_code)]

use std::cell::Cell;
use std::io;
use std::mem::offset_of;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::ptr::{self, NonNull};
use std::slice;
use std::sync::atomic::{AtomicU32, Ordering};

use libc::{tpacket_hdr_v1, tpacket3_hdr};

use super::system::{PacketSocket, RingLayout};
use vigie_wire::{Frame, LinkType};

/// A VLAN tag: its protocol and itself (IEEE 802.1Q §9.3).
const TAG_BYTES: usize = 4;
/// Destination and source of an Ethernet frame, which stand before a tag.
const ADDRESSES_BYTES: usize = 12;
/// The protocol of a tag if the kernel names none.
const TAG_PROTOCOL: u16 = 0x8100;
/// What `tpacket_block_desc` has before its header: version and the place of private data.
const HEADER_AT: usize = 8;

/// What was seen of a ring's frames since it was last asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) frames: u64,
    /// Bytes on the wire.
    pub(super) bytes: u64,
    /// Bytes captured.
    pub(super) captured: u64,
    /// Frames of which not all was captured.
    pub(super) truncated: u64,
    /// Frames with a timestamp of the network card.
    pub(super) hardware_timestamps: u64,
    /// Frames whose place in the block made no sense; they are not shown.
    pub(super) damaged: u64,
}

/// Where the reading is.
#[derive(Clone, Copy, Debug, Default)]
struct Cursor {
    /// The block that is read, or is read next.
    block: u32,
    /// Frames of it that are still to be read; 0 if it was not opened yet.
    frames_left: u32,
    /// Where in it the next frame's header is.
    offset: usize,
    /// Blocks before `block` that were read to their end and not given back yet.
    finished: u32,
}

/// A ring and its socket.
#[derive(Debug)]
pub(super) struct Ring {
    // Its memory is unmapped before the socket is closed: `Map` stands first.
    map: Map,
    socket: PacketSocket,
    cursor: Cell<Cursor>,
    tally: Cell<Tally>,
    interface: u16,
    link_type: LinkType,
}

/// The mapped memory.
#[derive(Debug)]
struct Map {
    start: NonNull<u8>,
    block_bytes: usize,
    blocks: u32,
}

// SAFETY: the memory belongs to the mapping, which is not bound to a thread; nobody else in this process has a pointer
// to it. (It is not Sync: cursor and tally are cells.)
unsafe impl Send for Map {}

impl Ring {
    /// Sets a ring up and maps it. The socket must not be bound yet: what comes is then written to the ring from the
    /// first frame on.
    pub(super) fn new(
        socket: PacketSocket,
        layout: RingLayout,
        interface: u16,
        link_type: LinkType,
    ) -> Result<Self, (PacketSocket, io::Error)> {
        let made = socket.set_ring(layout, TAG_BYTES as u32).and_then(|()| Map::new(&socket, layout));
        match made {
            Ok(map) => Ok(Self { map, socket, cursor: Cell::default(), tally: Cell::default(), interface, link_type }),
            Err(error) => Err((socket, error)),
        }
    }

    /// The socket without its ring, to be used for another.
    pub(super) fn into_socket(self) -> io::Result<PacketSocket> {
        let Self { map, socket, .. } = self;
        drop(map);
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

    /// The next frame, if one is ready. Its number is for the caller to give.
    #[inline]
    pub(super) fn next(&self) -> Option<Frame<'_>> {
        loop {
            let cursor = self.opened()?;
            let header = self.header(cursor)?;
            self.step(cursor, header.tp_next_offset as usize);
            let mut tally = self.tally.get();
            let frame = self.frame(cursor, &header, &mut tally);
            self.tally.set(tally);
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
            let block = (cursor.block + self.map.blocks - cursor.finished) % self.map.blocks;
            // Nothing that was read from the block may be read later than this (`Release`).
            self.map.status(block).store(libc::TP_STATUS_KERNEL, Ordering::Release);
            cursor.finished -= 1;
        }
    }

    /// Whether half of the blocks wait to be read.
    pub(super) fn is_half_full(&self) -> bool {
        let ahead = (self.cursor.get().block + self.map.blocks / 2) % self.map.blocks;
        self.map.is_ours(ahead)
    }

    /// What was seen since this was last asked.
    #[inline]
    pub(super) fn take_tally(&mut self) -> Tally {
        self.tally.take()
    }

    /// The cursor at a frame, if one is ready.
    #[inline]
    fn opened(&self) -> Option<Cursor> {
        let mut cursor = self.cursor.get();
        while cursor.frames_left == 0 {
            // All blocks were read and none given back: the next is one that was read already.
            if cursor.finished == self.map.blocks || !self.map.is_ours(cursor.block) {
                return None;
            }
            let header = self.map.block_header(cursor.block);
            cursor.frames_left = header.num_pkts;
            cursor.offset = header.offset_to_first_pkt as usize;
            if cursor.frames_left == 0 {
                cursor.block = (cursor.block + 1) % self.map.blocks;
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
            cursor.block = (cursor.block + 1) % self.map.blocks;
            cursor.finished += 1;
        }
        self.cursor.set(cursor);
    }

    /// The header of the frame at the cursor. What lies outside its block is none of the kernel's making: the rest
    /// of such a block is passed over.
    #[inline]
    fn header(&self, cursor: Cursor) -> Option<tpacket3_hdr> {
        let header = self.map.read::<tpacket3_hdr>(cursor.block, cursor.offset);
        if header.is_none() {
            let mut tally = self.tally.get();
            tally.damaged += u64::from(cursor.frames_left);
            self.tally.set(tally);
            self.step(Cursor { frames_left: 1, ..cursor }, 0);
        }
        header
    }

    #[inline]
    fn frame(&self, cursor: Cursor, header: &tpacket3_hdr, tally: &mut Tally) -> Option<Frame<'_>> {
        let at = cursor.offset + usize::from(header.tp_mac);
        let mut length = header.tp_snaplen as usize;
        let end = at.checked_add(length).filter(|&end| end <= self.map.block_bytes);
        let headroom = usize::from(header.tp_mac).checked_sub(size_of::<tpacket3_hdr>() + TAG_BYTES);
        if end.is_none() || headroom.is_none() {
            tally.damaged += 1;
            return None;
        }
        let mut wire_length = header.tp_len;
        // SAFETY: `at` lies in the block, as just checked, and so in the mapping.
        let mut data = unsafe { self.map.start.as_ptr().add(cursor.block as usize * self.map.block_bytes + at) };
        let tagged = header.tp_status & libc::TP_STATUS_VLAN_VALID != 0;
        if tagged && self.link_type == LinkType::ETHERNET && length >= ADDRESSES_BYTES {
            let protocol = match header.tp_status & libc::TP_STATUS_VLAN_TPID_VALID {
                0 => TAG_PROTOCOL,
                _ => header.hv1.tp_vlan_tpid,
            };
            let [p0, p1] = protocol.to_be_bytes();
            let [t0, t1] = (header.hv1.tp_vlan_tci as u16).to_be_bytes();
            // SAFETY: the frame has the addresses (`length`), and before them are at least four bytes behind the
            // frame's header (`headroom`), all in this block, which is ours. No reference to these bytes exists: each
            // frame is visited once (the cursor has gone on), and other frames lie elsewhere in the block.
            unsafe {
                let moved = data.sub(TAG_BYTES);
                ptr::copy(data, moved, ADDRESSES_BYTES);
                moved.add(ADDRESSES_BYTES).cast::<[u8; TAG_BYTES]>().write_unaligned([p0, p1, t0, t1]);
                data = moved;
            }
            length += TAG_BYTES;
            wire_length += TAG_BYTES as u32;
        }
        tally.frames += 1;
        tally.bytes += u64::from(wire_length);
        tally.captured += length as u64;
        tally.truncated += u64::from(header.tp_snaplen < header.tp_len);
        tally.hardware_timestamps += u64::from(header.tp_status & libc::TP_STATUS_TS_RAW_HARDWARE != 0);
        // SAFETY: the bytes lie in a block of the mapping, as checked above. The kernel does not write to a block that
        // is ours, and neither do we any more: the only write was the one above. The block is given back only by
        // `release`, which needs `&mut self` and so that this borrow of `self` has ended; the same holds for unmapping.
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

impl Map {
    fn new(socket: &PacketSocket, layout: RingLayout) -> io::Result<Self> {
        let block_bytes = layout.block_bytes as usize;
        let length = block_bytes.checked_mul(layout.blocks as usize).filter(|&length| length > 0);
        let length = length.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        // SAFETY: a new mapping at an address of the kernel's choice; it touches no memory of ours. The length is
        // that of the ring, which the kernel checks.
        let start = unsafe {
            libc::mmap(
                ptr::null_mut(),
                length,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                socket.as_fd().as_raw_fd(),
                0,
            )
        };
        match NonNull::new(start.cast::<u8>()) {
            Some(start) if start.as_ptr().cast() != libc::MAP_FAILED => {
                Ok(Self { start, block_bytes, blocks: layout.blocks })
            }
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// The status word of a block, which the kernel writes too.
    #[inline]
    fn status(&self, block: u32) -> &AtomicU32 {
        let at =
            (block % self.blocks) as usize * self.block_bytes + HEADER_AT + offset_of!(tpacket_hdr_v1, block_status);
        // SAFETY: the word lies in the mapping, aligned (blocks begin at pages, the offset is a multiple of 4), lives as long
        // as `self`, and is reached only atomically, here and by the kernel.
        unsafe { AtomicU32::from_ptr(self.start.as_ptr().add(at).cast()) }
    }

    /// Whether the kernel has handed the block over. What it wrote before is seen after this (`Acquire`).
    #[inline]
    fn is_ours(&self, block: u32) -> bool {
        self.status(block).load(Ordering::Acquire) & libc::TP_STATUS_USER != 0
    }

    /// The header of a block that is ours.
    #[inline]
    fn block_header(&self, block: u32) -> BlockHeader {
        self.read(block, HEADER_AT + offset_of!(tpacket_hdr_v1, num_pkts)).unwrap_or_default()
    }

    /// Reads a structure at a place of a block that is ours; none if it does not lie wholly in it.
    #[inline]
    fn read<T: FromRing>(&self, block: u32, at: usize) -> Option<T> {
        at.checked_add(size_of::<T>()).filter(|&end| end <= self.block_bytes)?;
        let at = (block % self.blocks) as usize * self.block_bytes + at;
        // SAFETY: the structure lies in the mapping, as checked; any bytes are a valid `T` (`FromRing`).
        Some(unsafe { self.start.as_ptr().add(at).cast::<T>().read_unaligned() })
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        // SAFETY: exactly what was mapped; no reference into it outlives `self`, since all are borrowed from it.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.block_bytes * self.blocks as usize) };
    }
}

/// What is needed of `tpacket_hdr_v1`: the two numbers behind the status word.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
struct BlockHeader {
    num_pkts: u32,
    offset_to_first_pkt: u32,
}

/// Structures of plain numbers, for which any bytes are valid.
///
/// # Safety
/// That is what an implementation promises.
unsafe trait FromRing: Copy {}

// SAFETY: numbers only.
unsafe impl FromRing for tpacket3_hdr {}
// SAFETY: numbers only.
unsafe impl FromRing for BlockHeader {}

const _: () = assert!(offset_of!(libc::tpacket_block_desc, hdr) == HEADER_AT);
const _: () = assert!(offset_of!(tpacket_hdr_v1, offset_to_first_pkt) == offset_of!(tpacket_hdr_v1, num_pkts) + 4);

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: usize = 4096;
    const BLOCKS: usize = 2;

    /// A ring in memory that the test fills instead of the kernel. Its socket, which has no ring, is never asked.
    struct Forged {
        ring: Ring,
    }

    impl Forged {
        /// None where packet sockets are not permitted.
        fn new() -> Option<Self> {
            let socket = PacketSocket::open().ok()?;
            // SAFETY: a new private mapping at an address of the kernel's choice.
            let start = unsafe {
                libc::mmap(
                    ptr::null_mut(),
                    PAGE * BLOCKS,
                    libc::PROT_READ | libc::PROT_WRITE,
                    libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                    -1,
                    0,
                )
            };
            let map = Map { start: NonNull::new(start.cast()).unwrap(), block_bytes: PAGE, blocks: BLOCKS as u32 };
            let (cursor, tally) = (Cell::default(), Cell::default());
            Some(Self { ring: Ring { map, socket, cursor, tally, interface: 3, link_type: LinkType::ETHERNET } })
        }

        fn write<T: Copy>(&self, block: usize, at: usize, value: T) {
            assert!(at + size_of::<T>() <= PAGE);
            // SAFETY: inside the mapping, as asserted.
            unsafe { self.ring.map.start.as_ptr().add(block * PAGE + at).cast::<T>().write_unaligned(value) }
        }

        /// Fills a block with frames: status, wire length, captured bytes.
        fn fill(&self, block: usize, frames: &[(u32, u32, Vec<u8>)]) {
            let mut at = 48;
            for (status, wire, data) in frames {
                let next = (82 + 4 + data.len()).next_multiple_of(16);
                let header = tpacket3_hdr {
                    tp_next_offset: next as u32,
                    tp_sec: 1,
                    tp_nsec: at as u32,
                    tp_snaplen: data.len() as u32,
                    tp_len: *wire,
                    tp_status: *status,
                    tp_mac: 86,
                    tp_net: 100,
                    hv1: libc::tpacket_hdr_variant1 {
                        tp_rxhash: 0,
                        tp_vlan_tci: 0x2064,
                        tp_vlan_tpid: 0x88a8,
                        tp_padding: 0,
                    },
                    tp_padding: [0; 8],
                };
                self.write(block, at, header);
                for (place, byte) in data.iter().enumerate() {
                    self.write(block, at + 86 + place, *byte);
                }
                at += next;
            }
            self.write(block, 12, frames.len() as u32);
            self.write(block, 16, 48_u32);
            self.write(block, 8, libc::TP_STATUS_USER);
        }

        fn status(&self, block: u32) -> u32 {
            self.ring.map.status(block).load(Ordering::Relaxed)
        }
    }

    fn plain(byte: u8, length: usize) -> (u32, u32, Vec<u8>) {
        (1, length as u32, vec![byte; length])
    }

    #[test]
    fn blocks_go_back_only_when_all_their_frames_were_visited() {
        let Some(mut forged) = Forged::new() else { return eprintln!("skipped: packet sockets are not permitted") };
        assert!(forged.ring.next().is_none() && forged.ring.peek_ns().is_none());
        forged.fill(0, &[plain(1, 60), plain(2, 61)]);
        forged.fill(1, &[plain(3, 62)]);
        assert_eq!(forged.ring.peek_ns(), Some(1_000_000_048));
        assert_eq!(forged.ring.next().unwrap().data, vec![1; 60]);
        forged.ring.release();
        assert_eq!(forged.status(0), libc::TP_STATUS_USER);
        let (second, third) = (forged.ring.next().unwrap(), forged.ring.next().unwrap());
        assert_eq!((second.data.len(), third.data, third.interface), (61, &[3; 62][..], 3));
        assert!(forged.ring.next().is_none(), "both blocks were read and neither given back");
        assert_eq!((forged.status(0), forged.status(1)), (libc::TP_STATUS_USER, libc::TP_STATUS_USER));
        forged.ring.release();
        assert_eq!((forged.status(0), forged.status(1)), (libc::TP_STATUS_KERNEL, libc::TP_STATUS_KERNEL));
        forged.fill(0, &[plain(4, 63)]);
        assert_eq!(forged.ring.next().unwrap().data[0], 4);
        let tally = forged.ring.take_tally();
        assert_eq!((tally.frames, tally.bytes, tally.truncated, tally.damaged), (4, 60 + 61 + 62 + 63, 0, 0));
        assert_eq!(forged.ring.take_tally(), Tally::default());
    }

    #[test]
    fn a_tag_is_put_back_behind_the_addresses() {
        let Some(mut forged) = Forged::new() else { return eprintln!("skipped: packet sockets are not permitted") };
        let bytes: Vec<u8> = (0..20).collect();
        let valid = 1 | libc::TP_STATUS_VLAN_VALID;
        forged.fill(
            0,
            &[
                (valid, 1000, bytes.clone()),
                (valid | libc::TP_STATUS_VLAN_TPID_VALID, 20, bytes.clone()),
                (valid, 20, bytes[..11].to_vec()),
            ],
        );
        let first = forged.ring.next().unwrap();
        let tagged = |protocol: [u8; 2]| [&bytes[..12], &protocol, &[0x20, 0x64], &bytes[12..]].concat();
        assert_eq!((first.data, first.wire_length), (&tagged([0x81, 0])[..], 1004));
        let second = forged.ring.next().unwrap();
        assert_eq!((second.data, second.wire_length), (&tagged([0x88, 0xa8])[..], 24));
        assert_eq!(first.data, tagged([0x81, 0]), "still as it was");
        let third = forged.ring.next().unwrap();
        assert_eq!((third.data, third.wire_length), (&bytes[..11], 20), "too short to hold a tag");
        assert_eq!(forged.ring.take_tally().truncated, 2);
    }

    #[test]
    fn what_makes_no_sense_is_counted_and_passed_over() {
        let Some(mut forged) = Forged::new() else { return eprintln!("skipped: packet sockets are not permitted") };
        forged.fill(0, &[plain(1, 60), plain(2, 60), plain(3, 60)]);
        // The first frame is said to be longer than its block; the second's successor to be far away.
        forged.write(0, 48 + 12, 4096_u32);
        forged.write(0, 48 + 160, 1_000_000_u32);
        forged.fill(1, &[plain(4, 60)]);
        assert_eq!(forged.ring.next().unwrap().data[0], 2);
        assert!(forged.ring.next().is_none());
        assert_eq!(forged.ring.next().unwrap().data[0], 4);
        let tally = forged.ring.take_tally();
        assert_eq!((tally.frames, tally.damaged), (2, 2));
    }
}
