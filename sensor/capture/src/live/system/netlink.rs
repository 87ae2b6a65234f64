//! A route netlink socket (rtnetlink(7)): messages in, messages out.
#![allow(unsafe_code)]

use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use super::{check, socket};

/// A route netlink socket.
#[derive(Debug)]
pub(in super::super) struct Netlink(OwnedFd);

impl Netlink {
    /// Opens a socket that receives the messages of `groups`, a mask of `RTMGRP_…`.
    pub(in super::super) fn open(groups: u32) -> io::Result<Self> {
        let descriptor = socket(libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_ROUTE)?;
        // SAFETY: `sockaddr_nl` is plain data for which zeros are valid.
        let mut address: libc::sockaddr_nl = unsafe { mem::zeroed() };
        address.nl_family = libc::AF_NETLINK as libc::sa_family_t;
        address.nl_groups = groups;
        let length = size_of_val(&address) as libc::socklen_t;
        // SAFETY: pointer and length describe `address`, which the kernel only reads.
        check(unsafe { libc::bind(descriptor.as_raw_fd(), (&raw const address).cast(), length) })?;
        Ok(Self(descriptor))
    }

    pub(in super::super) fn send(&self, message: &[u8]) -> io::Result<()> {
        // SAFETY: pointer and length describe the slice, which the kernel only reads.
        let sent = unsafe { libc::send(self.0.as_raw_fd(), message.as_ptr().cast(), message.len(), 0) };
        if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// The next message, or `WouldBlock` if there is none. The kernel answers a request during `send`, so there is nothing to
    /// wait for.
    pub(in super::super) fn receive<'b>(&self, buffer: &'b mut [u8]) -> io::Result<&'b [u8]> {
        // SAFETY: pointer and length describe the slice, beyond which the kernel does not write.
        let received =
            unsafe { libc::recv(self.0.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), libc::MSG_DONTWAIT) };
        let length = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
        Ok(buffer.get(..length).unwrap_or_default())
    }
}

impl AsFd for Netlink {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
