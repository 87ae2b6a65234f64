//! The system calls for which no crate has a safe function: reading Landlock's version, and installing a seccomp filter
//! with the required flags. The unsafe code of this crate is in this file.
#![allow(unsafe_code)]

use std::io;

use seccompiler::BpfProgram;

/// Ask for the version instead of making a ruleset (landlock_create_ruleset(2)).
const LANDLOCK_CREATE_RULESET_VERSION: libc::c_uint = 1;

/// The version of Landlock in this kernel.
///
/// # Errors
/// The kernel does not have it, or it is not enabled.
pub(super) fn landlock_version() -> io::Result<i32> {
    // SAFETY: with this flag the kernel takes a null pointer and a size of 0, reads no memory and makes nothing.
    let version = unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            std::ptr::null::<libc::c_void>(),
            0_usize,
            LANDLOCK_CREATE_RULESET_VERSION,
        )
    };
    match version {
        0.. => i32::try_from(version).map_err(io::Error::other),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Checks that seccomp filters can kill a whole process here (Linux 4.14).
///
/// # Errors
/// They cannot.
pub(super) fn seccomp_available() -> io::Result<()> {
    let action: u32 = libc::SECCOMP_RET_KILL_PROCESS;
    // SAFETY: the kernel reads four bytes at the pointer, which points to a live local variable, and changes nothing.
    let result = unsafe {
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_GET_ACTION_AVAIL, 0 as libc::c_uint, &raw const action)
    };
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Installs a filter for all threads. With `log`, refused calls are logged in the kernel's audit log.
///
/// # Errors
/// The kernel does not accept it, or a thread has filters of its own.
pub(super) fn install_filter(program: &BpfProgram, log: bool) -> io::Result<()> {
    let length = u16::try_from(program.len()).map_err(io::Error::other)?;
    let filter = libc::sock_fprog { len: length, filter: program.as_ptr().cast::<libc::sock_filter>().cast_mut() };
    let flags = libc::SECCOMP_FILTER_FLAG_TSYNC | if log { libc::SECCOMP_FILTER_FLAG_LOG } else { 0 };
    // SAFETY: `filter` points to `length` instructions of a live vector, whose elements have the layout of
    // `struct sock_filter` (linux/filter.h) by `repr(C)`; the kernel copies them and writes nothing.
    let result = unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const filter) };
    match result {
        0 => Ok(()),
        1.. => Err(io::Error::other(format!("thread {result} has filters of its own"))),
        _ => Err(io::Error::last_os_error()),
    }
}
