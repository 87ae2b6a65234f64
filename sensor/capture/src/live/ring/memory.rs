//! The memory of a ring that a packet socket and this process share, and the reads and writes of it.
#![allow(unsafe_code)]

use std::io;
use std::mem::offset_of;
use std::os::fd::{AsFd, AsRawFd};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU32, Ordering};

use libc::{tpacket_hdr_v1, tpacket3_hdr};

use super::super::system::{PacketSocket, RingLayout};

/// `tpacket_block_desc` begins with its version and an offset, then comes its header.
const HEADER_AT: usize = 8;

/// The mapped memory.
#[derive(Debug)]
pub(super) struct RingMemory {
    pub(super) start: NonNull<u8>,
    pub(super) block_bytes: usize,
    pub(super) blocks: u32,
}

// SAFETY: the mapping belongs to this value and is not bound to a thread, and nobody else in this process has a pointer to
// it. (`Ring` is not Sync: its cursor and counts are cells.)
unsafe impl Send for RingMemory {}

impl RingMemory {
    pub(super) fn map(socket: &PacketSocket, layout: RingLayout) -> io::Result<Self> {
        let block_bytes = layout.block_bytes as usize;
        let length = block_bytes.checked_mul(layout.blocks as usize).filter(|&length| length > 0);
        let length = length.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        // SAFETY: a new mapping at an address that the kernel chooses, so it touches no memory of this process. Its length
        // is the ring's, which the kernel checks.
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

    /// The status word of a block. The kernel writes it too.
    #[inline]
    pub(super) fn status(&self, block: u32) -> &AtomicU32 {
        let at =
            (block % self.blocks) as usize * self.block_bytes + HEADER_AT + offset_of!(tpacket_hdr_v1, block_status);
        // SAFETY: the word lies in the mapping and lives as long as `self`. It is aligned: blocks begin at pages, and the
        // offset is a multiple of 4. The kernel and this process access it atomically only.
        unsafe { AtomicU32::from_ptr(self.start.as_ptr().add(at).cast()) }
    }

    /// Whether the kernel has handed the block over. What it wrote before is visible after this (`Acquire`).
    #[inline]
    pub(super) fn is_ours(&self, block: u32) -> bool {
        self.status(block).load(Ordering::Acquire) & libc::TP_STATUS_USER != 0
    }

    /// The header of a block that is ours.
    #[inline]
    pub(super) fn block_header(&self, block: u32) -> BlockHeader {
        self.read(block, HEADER_AT + offset_of!(tpacket_hdr_v1, num_pkts)).unwrap_or_default()
    }

    /// Reads a structure from a block that is ours; none if it does not lie wholly in the block.
    #[inline]
    pub(super) fn read<T: FromRing>(&self, block: u32, at: usize) -> Option<T> {
        at.checked_add(size_of::<T>()).filter(|&end| end <= self.block_bytes)?;
        let at = (block % self.blocks) as usize * self.block_bytes + at;
        // SAFETY: the structure lies in the mapping, as checked, and any bytes are a valid `T` (`FromRing`).
        Some(unsafe { self.start.as_ptr().add(at).cast::<T>().read_unaligned() })
    }
}

impl Drop for RingMemory {
    fn drop(&mut self) {
        // SAFETY: address and length are those of the mapping. No reference into it outlives `self`, from which all are
        // borrowed.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.block_bytes * self.blocks as usize) };
    }
}

/// The part of `tpacket_hdr_v1` that is needed: the two numbers behind the status word.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub(super) struct BlockHeader {
    pub(super) num_pkts: u32,
    pub(super) offset_to_first_pkt: u32,
}

/// Structures of plain numbers.
///
/// # Safety
/// Any bytes are a valid value of the type.
pub(super) unsafe trait FromRing: Copy {}

// SAFETY: numbers only.
unsafe impl FromRing for tpacket3_hdr {}
// SAFETY: numbers only.
unsafe impl FromRing for BlockHeader {}

const _: () = assert!(offset_of!(libc::tpacket_block_desc, hdr) == HEADER_AT);
const _: () = assert!(offset_of!(tpacket_hdr_v1, offset_to_first_pkt) == offset_of!(tpacket_hdr_v1, num_pkts) + 4);
