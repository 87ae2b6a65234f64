//! System calls of live capture: packet sockets, AF_XDP sockets, route netlink, device ioctls, poll. Each is wrapped so that its callers
//! need no unsafe code. What the answers mean is not decided here.
#![allow(unsafe_code)]

mod device;
mod netlink;
mod packet;
mod xsk;

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::thread;
use std::time::Duration;

use libc::{c_int, socklen_t};

pub(super) use device::Device;
pub(super) use netlink::Netlink;
pub(super) use packet::{Instruction, PacketSocket, RingLayout};
pub(super) use xsk::{RingOffsets, XskSocket, XskStatistics};

/// A descriptor to wait for. A negative one is ignored (poll(2)).
#[derive(Clone, Copy, Debug)]
#[repr(transparent)]
pub(crate) struct PollEntry(libc::pollfd);

impl PollEntry {
    /// Waits until the descriptor is readable. Without a descriptor the entry is ignored.
    pub(crate) fn readable(descriptor: Option<BorrowedFd<'_>>) -> Self {
        let fd = descriptor.map_or(-1, |descriptor| descriptor.as_raw_fd());
        Self(libc::pollfd { fd, events: libc::POLLIN, revents: 0 })
    }

    /// Whether the descriptor is readable.
    pub(crate) const fn is_readable(&self) -> bool {
        self.0.revents & libc::POLLIN != 0
    }

    /// Whether the descriptor has an error.
    pub(crate) const fn has_error(&self) -> bool {
        self.0.revents & (libc::POLLERR | libc::POLLNVAL | libc::POLLHUP) != 0
    }
}

/// Waits until one of the descriptors is ready, at most this many milliseconds. A signal ends the wait early.
pub(crate) fn poll(entries: &mut [PollEntry], timeout_ms: u32) -> io::Result<()> {
    let timeout = c_int::try_from(timeout_ms).unwrap_or(c_int::MAX);
    // SAFETY: `PollEntry` is a transparent `pollfd`, so pointer and length describe an array of them, which the kernel reads
    // and writes only during the call.
    let ready = unsafe { libc::poll(entries.as_mut_ptr().cast(), entries.len() as libc::nfds_t, timeout) };
    match check(ready) {
        Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(error),
        _ => Ok(()),
    }
}

/// Waits as [`poll`] does. Where the kernel lacks the memory for that, the only error it can have (poll(2)), it pauses, so that the
/// caller's loop is not a busy one.
pub(super) fn poll_or_pause(entries: &mut [PollEntry], timeout_ms: u32) {
    if poll(entries, timeout_ms).is_err() {
        thread::sleep(Duration::from_millis(1));
    }
}

/// Pause before a call is made again that found its object in use.
const BUSY_PAUSE: Duration = Duration::from_millis(20);

/// What a call returns, which is made again, so many times at most, while its object is in use (`EBUSY`).
pub(super) fn retry_while_busy<T>(retries_max: u32, mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    let mut retries = 0;
    loop {
        match call() {
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) && retries < retries_max => {
                retries += 1;
                thread::sleep(BUSY_PAUSE);
            }
            outcome => return outcome,
        }
    }
}

/// The result of a system call.
fn check(result: c_int) -> io::Result<c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn socket(family: c_int, kind: c_int, protocol: c_int) -> io::Result<OwnedFd> {
    // SAFETY: `socket` takes no pointers.
    let descriptor = check(unsafe { libc::socket(family, kind | libc::SOCK_CLOEXEC, protocol) })?;
    // SAFETY: the call succeeded, so the descriptor is open, and nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// Sets a socket option.
///
/// # Safety
/// `T` is plain data of the layout that the kernel expects for this option, and pointers in it are valid for the call.
unsafe fn set_option<T>(socket: &OwnedFd, level: c_int, name: c_int, value: &T) -> io::Result<()> {
    // SAFETY: pointer and length describe `value`, which the kernel only reads; the rest is the caller's promise.
    let result = unsafe {
        libc::setsockopt(socket.as_raw_fd(), level, name, (&raw const *value).cast(), size_of::<T>() as socklen_t)
    };
    check(result).map(drop)
}

/// Reads a socket option.
///
/// # Safety
/// `T` is plain data that is valid whatever its bytes, of the layout that the kernel gives for this option.
unsafe fn option<T: Default>(socket: &OwnedFd, level: c_int, name: c_int) -> io::Result<T> {
    let mut value = T::default();
    let mut length = size_of::<T>() as socklen_t;
    // SAFETY: pointer and length describe `value`, beyond which the kernel does not write, and any bytes are a valid
    // `T` by the caller's promise.
    let result = unsafe { libc::getsockopt(socket.as_raw_fd(), level, name, (&raw mut value).cast(), &raw mut length) };
    check(result).map(|_| value)
}

/// Makes a device request with a structure that begins with the device's name (netdevice(7)).
///
/// # Safety
/// `request` is the structure that this ioctl expects, and pointers in it are valid for what the kernel does with them.
unsafe fn ioctl<T>(socket: RawFd, number: libc::c_ulong, request: &mut T) -> io::Result<()> {
    // SAFETY: `request` is valid for reads and writes during the call; the rest is the caller's promise.
    check(unsafe { libc::ioctl(socket, number as _, &raw mut *request) }).map(drop)
}
