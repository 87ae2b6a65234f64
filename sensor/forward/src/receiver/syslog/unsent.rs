//! What the kernel still holds of a connection (SIOCOUTQ, tcp(7)).
#![allow(unsafe_code)]

use std::io;
use std::net::TcpStream;
use std::os::fd::AsRawFd;

mod call {
    // SIOCOUTQ has the value of TIOCOUTQ (linux/sockios.h).
    nix::ioctl_read_bad!(unsent, libc::TIOCOUTQ, libc::c_int);
}

/// Bytes that were written and that the peer's kernel has not acknowledged.
///
/// # Errors
/// The socket is not one of a connection.
pub fn unsent_bytes(stream: &TcpStream) -> io::Result<usize> {
    let mut count: libc::c_int = 0;
    // SAFETY: the descriptor is open for as long as `stream` is borrowed. The kernel writes one `int` to the address, which
    // is that of a live `c_int`, and reads or keeps nothing (tcp_ioctl in net/ipv4/tcp.c).
    unsafe { call::unsent(stream.as_raw_fd(), &raw mut count) }?;
    Ok(usize::try_from(count).unwrap_or(0))
}
