//! Packet sockets (packet(7), Documentation/networking/packet_mmap.rst), without the ring's memory.
#![allow(unsafe_code)]

use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use libc::{c_int, c_uint, c_ushort};

use super::{check, option, set_option, socket};

/// Every protocol, in network order.
const ALL_PROTOCOLS: c_ushort = (libc::ETH_P_ALL as c_ushort).to_be();

/// An instruction of a classic packet filter, as the kernel takes it (`struct sock_filter`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub(in super::super) struct Instruction {
    pub(in super::super) code: u16,
    pub(in super::super) jump_true: u8,
    pub(in super::super) jump_false: u8,
    pub(in super::super) operand: u32,
}

/// The layout of a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct RingLayout {
    pub(in super::super) block_bytes: u32,
    pub(in super::super) blocks: u32,
    /// After how many milliseconds a block is handed over although it is not full.
    pub(in super::super) block_timeout_ms: u32,
}

/// What the kernel counted since it was last asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub(in super::super) struct RingStatistics {
    /// Frames that passed the filter, the dropped ones included.
    pub(in super::super) packets: c_uint,
    /// Frames for which no block was free.
    pub(in super::super) drops: c_uint,
    /// How often the ring was full.
    pub(in super::super) freezes: c_uint,
}

/// A packet socket. It is opened without a protocol, so it receives nothing until it is bound. Only opening it needs a
/// capability (CAP_NET_RAW).
#[derive(Debug)]
pub(in super::super) struct PacketSocket(OwnedFd);

impl PacketSocket {
    pub(in super::super) fn open() -> io::Result<Self> {
        socket(libc::AF_PACKET, libc::SOCK_RAW, 0).map(Self)
    }

    /// Gives the socket a ring of version 3, or removes the ring if the layout has no blocks. `reserve` bytes stay free in
    /// front of each frame. The ring must not be mapped.
    pub(in super::super) fn set_ring(&self, layout: RingLayout, reserve: c_uint) -> io::Result<()> {
        /// The kernel checks the layout with this; frames have any length.
        const FRAME_BYTES: c_uint = 2048;
        let frames = layout.block_bytes / FRAME_BYTES * layout.blocks;
        let request = libc::tpacket_req3 {
            tp_block_size: if layout.blocks == 0 { 0 } else { layout.block_bytes },
            tp_block_nr: layout.blocks,
            tp_frame_size: if layout.blocks == 0 { 0 } else { FRAME_BYTES },
            tp_frame_nr: frames,
            tp_retire_blk_tov: layout.block_timeout_ms,
            tp_sizeof_priv: 0,
            tp_feature_req_word: 0,
        };
        let version = libc::tpacket_versions::TPACKET_V3 as c_int;
        // SAFETY: these options are an int, an unsigned int and a `tpacket_req3`, without pointers.
        unsafe {
            if layout.blocks > 0 {
                self.set(libc::PACKET_VERSION, &version)?;
                self.set(libc::PACKET_RESERVE, &reserve)?;
            }
            self.set(libc::PACKET_RX_RING, &request)
        }
    }

    /// Requests the network card's timestamps where a frame has one.
    pub(in super::super) fn use_hardware_timestamps(&self) -> io::Result<()> {
        let sources = libc::SOF_TIMESTAMPING_RAW_HARDWARE as c_int;
        // SAFETY: the option is an int.
        unsafe { self.set(libc::PACKET_TIMESTAMP, &sources) }
    }

    /// Attaches a filter program. It replaces an earlier one atomically.
    pub(in super::super) fn attach(&self, program: &[Instruction]) -> io::Result<()> {
        let length = c_ushort::try_from(program.len()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
        let program = libc::sock_fprog { len: length, filter: program.as_ptr().cast_mut().cast() };
        // SAFETY: the option is a `sock_fprog`. Its pointer and length describe the slice, since `Instruction` has the layout
        // of `sock_filter`. The kernel copies the instructions and writes nothing.
        unsafe { set_option(&self.0, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &program) }
    }

    /// Attaches a filter that was loaded by bpf(2), likewise.
    pub(in super::super) fn attach_loaded(&self, filter: BorrowedFd<'_>) -> io::Result<()> {
        // SAFETY: the option is an int, the number of a descriptor, which the caller holds open.
        unsafe { set_option(&self.0, libc::SOL_SOCKET, libc::SO_ATTACH_BPF, &filter.as_raw_fd()) }
    }

    /// Detaches the filter program, so that all frames pass.
    pub(in super::super) fn detach(&self) -> io::Result<()> {
        // SAFETY: the option takes an int, which the kernel ignores.
        unsafe { set_option(&self.0, libc::SOL_SOCKET, libc::SO_DETACH_FILTER, &0_i32) }
    }

    /// Binds the socket to an interface: it receives all its frames from now on.
    pub(in super::super) fn bind(&self, interface: u32) -> io::Result<()> {
        // SAFETY: `sockaddr_ll` is plain data for which zeros are valid.
        let mut address: libc::sockaddr_ll = unsafe { mem::zeroed() };
        address.sll_family = libc::AF_PACKET as c_ushort;
        address.sll_protocol = ALL_PROTOCOLS;
        address.sll_ifindex = interface as c_int;
        let length = size_of_val(&address) as libc::socklen_t;
        // SAFETY: pointer and length describe `address`, which the kernel only reads.
        check(unsafe { libc::bind(self.0.as_raw_fd(), (&raw const address).cast(), length) }).map(drop)
    }

    /// The interface that the socket is bound to; none once that was deleted, even if another has taken its number.
    pub(in super::super) fn bound_to(&self) -> Option<u32> {
        // SAFETY: as in `bind`.
        let mut address: libc::sockaddr_ll = unsafe { mem::zeroed() };
        let mut length = size_of_val(&address) as libc::socklen_t;
        // SAFETY: pointer and length describe `address`, beyond which the kernel does not write.
        let result = unsafe { libc::getsockname(self.0.as_raw_fd(), (&raw mut address).cast(), &raw mut length) };
        // The kernel reports -1 for a deleted interface, 0 for none.
        check(result).ok().and_then(|_| u32::try_from(address.sll_ifindex).ok()).filter(|&index| index > 0)
    }

    /// Sets the interface to promiscuous mode as long as the socket is open.
    pub(in super::super) fn set_promiscuous(&self, interface: u32) -> io::Result<()> {
        let request = libc::packet_mreq {
            mr_ifindex: interface as c_int,
            mr_type: libc::PACKET_MR_PROMISC as c_ushort,
            mr_alen: 0,
            mr_address: [0; 8],
        };
        // SAFETY: the option is a `packet_mreq`, without pointers.
        unsafe { self.set(libc::PACKET_ADD_MEMBERSHIP, &request) }
    }

    /// Creates a fanout group with this socket as its first member. The members share the frames of the interface that they
    /// are bound to. The kernel chooses an unused number for the group.
    pub(in super::super) fn create_group(&self, mode: c_uint, members_max: u32) -> io::Result<u16> {
        self.fanout(0, mode | libc::PACKET_FANOUT_FLAG_UNIQUEID, members_max)?;
        // SAFETY: the option is an int.
        let group: c_int = unsafe { option(&self.0, libc::SOL_PACKET, libc::PACKET_FANOUT)? };
        Ok((group & 0xffff) as u16)
    }

    /// Sets the program that chooses the member for a frame, of a group whose mode is PACKET_FANOUT_CBPF.
    pub(in super::super) fn set_fanout_program(&self, program: &[Instruction]) -> io::Result<()> {
        let length = c_ushort::try_from(program.len()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
        let program = libc::sock_fprog { len: length, filter: program.as_ptr().cast_mut().cast() };
        // SAFETY: the option is a `sock_fprog`. Its pointer and length describe the slice, since `Instruction` has the layout
        // of `sock_filter`. The kernel copies the instructions and writes nothing.
        unsafe { self.set(libc::PACKET_FANOUT_DATA, &program) }
    }

    /// Joins a fanout group as its next member.
    pub(in super::super) fn join_group(&self, group: u16, mode: c_uint, members_max: u32) -> io::Result<()> {
        self.fanout(group, mode, members_max)
    }

    fn fanout(&self, group: u16, type_flags: c_uint, members_max: u32) -> io::Result<()> {
        let request = libc::fanout_args { id: group, type_flags: type_flags as c_ushort, max_num_members: members_max };
        if members_max <= 256 {
            // Kernels before 5.11 know only the first half, and no larger groups.
            let first_half = u32::from(group) | (type_flags & 0xffff) << 16;
            // SAFETY: the option is an int.
            return unsafe { self.set(libc::PACKET_FANOUT, &first_half) };
        }
        // SAFETY: the option is a `fanout_args`, without pointers.
        unsafe { self.set(libc::PACKET_FANOUT, &request) }
    }

    /// The counts since the last call: reading resets them.
    pub(in super::super) fn statistics(&self) -> io::Result<RingStatistics> {
        // SAFETY: of a socket with a ring of version 3 the option is a `tpacket_stats_v3`, three unsigned ints.
        unsafe { option(&self.0, libc::SOL_PACKET, libc::PACKET_STATISTICS) }
    }

    /// Takes the socket's pending error. While there is one, poll does not sleep.
    pub(in super::super) fn take_error(&self) -> io::Result<c_int> {
        // SAFETY: the option is an int.
        unsafe { option(&self.0, libc::SOL_SOCKET, libc::SO_ERROR) }
    }

    /// Sets an option of packet sockets.
    ///
    /// # Safety
    /// As of [`set_option`].
    unsafe fn set<T>(&self, name: c_int, value: &T) -> io::Result<()> {
        // SAFETY: the caller's promise is the same.
        unsafe { set_option(&self.0, libc::SOL_PACKET, name, value) }
    }
}

impl AsFd for PacketSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
