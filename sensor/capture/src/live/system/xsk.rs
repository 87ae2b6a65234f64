//! AF_XDP sockets (Documentation/networking/af_xdp.rst), without the memory of their rings.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::ptr;

use libc::{c_int, xdp_mmap_offsets, xdp_umem_reg};

use super::{check, option, set_option, socket};

/// Entries of the ring of sent frames, which the kernel demands although nothing is sent.
const COMPLETION_ENTRIES: u32 = 64;

/// Where the parts of a ring are in its mapping.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct RingOffsets {
    pub(in super::super) producer: usize,
    pub(in super::super) consumer: usize,
    pub(in super::super) flags: usize,
    pub(in super::super) entries: usize,
}

/// What the kernel counted since the socket was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub(in super::super) struct XskStatistics {
    /// Frames that were too long, or for which no chunk was free.
    pub(in super::super) dropped: u64,
    /// Chunks that this process gave and the kernel does not know.
    pub(in super::super) invalid: u64,
    sent_invalid: u64,
    /// Frames that found the ring full.
    pub(in super::super) ring_full: u64,
    /// How often the kernel looked for a free chunk in vain.
    pub(in super::super) fill_empty: u64,
    sent_empty: u64,
}

impl XskStatistics {
    /// What was counted since then.
    pub(in super::super) const fn since(&self, before: &Self) -> Self {
        Self {
            dropped: self.dropped.saturating_sub(before.dropped),
            invalid: self.invalid.saturating_sub(before.invalid),
            sent_invalid: 0,
            ring_full: self.ring_full.saturating_sub(before.ring_full),
            fill_empty: self.fill_empty.saturating_sub(before.fill_empty),
            sent_empty: 0,
        }
    }
}

/// An AF_XDP socket that receives. Opening it needs CAP_NET_RAW.
#[derive(Debug)]
pub(in super::super) struct XskSocket(OwnedFd);

impl XskSocket {
    pub(in super::super) fn open() -> io::Result<Self> {
        socket(libc::AF_XDP, libc::SOCK_RAW, 0).map(Self)
    }

    /// Has frames written to this memory, in chunks of so many bytes.
    ///
    /// # Safety
    /// The memory is mapped, and nobody reads or writes a chunk of it while that is the kernel's. (The kernel holds its pages
    /// itself: it may be unmapped at any time.)
    pub(in super::super) unsafe fn register(&self, start: *mut u8, bytes: usize, chunk_bytes: u32) -> io::Result<()> {
        let memory = xdp_umem_reg {
            addr: start as u64,
            len: bytes as u64,
            chunk_size: chunk_bytes,
            headroom: 0,
            flags: 0,
            tx_metadata_len: 0,
        };
        // SAFETY: the option is an `xdp_umem_reg`; for the memory that it names the caller answers.
        unsafe { self.set(libc::XDP_UMEM_REG, &memory) }
    }

    /// Makes the rings: of frames received, and of free chunks. Both have so many entries, a power of two.
    pub(in super::super) fn set_rings(&self, entries: u32) -> io::Result<()> {
        let sizes = [
            (libc::XDP_UMEM_FILL_RING, entries),
            (libc::XDP_UMEM_COMPLETION_RING, COMPLETION_ENTRIES),
            (libc::XDP_RX_RING, entries),
        ];
        // SAFETY: each option is an int.
        sizes.into_iter().try_for_each(|(ring, entries)| unsafe { self.set(ring, &entries) })
    }

    /// Where the parts of the ring of received frames are, and those of the ring of free chunks.
    pub(in super::super) fn offsets(&self) -> io::Result<(RingOffsets, RingOffsets)> {
        #[repr(transparent)]
        struct Offsets(xdp_mmap_offsets);
        impl Default for Offsets {
            fn default() -> Self {
                // SAFETY: numbers only, for which zeros are valid.
                Self(unsafe { std::mem::zeroed() })
            }
        }
        // SAFETY: the option is an `xdp_mmap_offsets`, which consists of numbers.
        let Offsets(all) = unsafe { option(&self.0, libc::SOL_XDP, libc::XDP_MMAP_OFFSETS)? };
        let of = |ring: &libc::xdp_ring_offset| RingOffsets {
            producer: ring.producer as usize,
            consumer: ring.consumer as usize,
            flags: ring.flags as usize,
            entries: ring.desc as usize,
        };
        Ok((of(&all.rx), of(&all.fr)))
    }

    /// Binds the socket to a queue of an interface. The kernel has the driver write into the memory itself, where it can,
    /// unless the frames must be copied.
    pub(in super::super) fn bind(&self, interface: u32, queue: u32, copied: bool) -> io::Result<()> {
        let address = libc::sockaddr_xdp {
            sxdp_family: libc::AF_XDP as u16,
            sxdp_flags: libc::XDP_USE_NEED_WAKEUP | if copied { libc::XDP_COPY } else { 0 },
            sxdp_ifindex: interface,
            sxdp_queue_id: queue,
            sxdp_shared_umem_fd: 0,
        };
        let length = size_of_val(&address) as libc::socklen_t;
        // SAFETY: pointer and length describe `address`, which the kernel only reads.
        check(unsafe { libc::bind(self.0.as_raw_fd(), (&raw const address).cast(), length) }).map(drop)
    }

    /// Whether the driver writes frames into the memory itself, without a copy.
    pub(in super::super) fn is_zero_copy(&self) -> bool {
        // SAFETY: the option is one number.
        let flags: io::Result<u32> = unsafe { option(&self.0, libc::SOL_XDP, libc::XDP_OPTIONS) };
        flags.is_ok_and(|flags| flags & libc::XDP_OPTIONS_ZEROCOPY != 0)
    }

    /// The counts since the socket was made.
    pub(in super::super) fn statistics(&self) -> io::Result<XskStatistics> {
        // SAFETY: the option is an `xdp_statistics`, six numbers.
        unsafe { option(&self.0, libc::SOL_XDP, libc::XDP_STATISTICS) }
    }

    /// Has a driver that waits for free chunks look again.
    pub(in super::super) fn wake(&self) {
        // SAFETY: no bytes are received, so no memory is needed.
        unsafe {
            libc::recvfrom(self.0.as_raw_fd(), ptr::null_mut(), 0, libc::MSG_DONTWAIT, ptr::null_mut(), ptr::null_mut())
        };
    }

    /// Takes the socket's pending error. While there is one, poll does not sleep.
    pub(in super::super) fn take_error(&self) -> io::Result<c_int> {
        // SAFETY: the option is an int.
        unsafe { option(&self.0, libc::SOL_SOCKET, libc::SO_ERROR) }
    }

    /// Sets an option of AF_XDP sockets.
    ///
    /// # Safety
    /// As of [`set_option`].
    unsafe fn set<T>(&self, name: c_int, value: &T) -> io::Result<()> {
        // SAFETY: the caller's promise is the same.
        unsafe { set_option(&self.0, libc::SOL_XDP, name, value) }
    }
}

impl AsFd for XskSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

const _: () = assert!(size_of::<XskStatistics>() == size_of::<libc::xdp_statistics>());
