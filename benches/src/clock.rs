//! Time that this thread spent on a processor: what other work takes from the machine does not enter, as far as the
//! kernel knows of it. The one place of the benches with unsafe code.
#![allow(unsafe_code)]

/// Nanoseconds on a processor since the thread began.
pub fn thread_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a timespec of ours that lives through the call.
    let failed = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) } != 0;
    if failed { 0 } else { time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64 }
}
