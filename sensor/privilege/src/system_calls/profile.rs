//! Which system calls a program needs after its start: a named profile for each program. A further program gets a profile
//! of its own here, from the same groups.

use libc::c_long;

/// The system calls that a program keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Profile {
    /// The program.
    pub name: &'static str,
    /// Calls that are allowed with any arguments.
    pub(crate) allowed: &'static [&'static [c_long]],
    /// Requests that are allowed in `ioctl`.
    pub(crate) ioctls: &'static [c_long],
    /// Whether the program opens capture sockets before it is confined.
    pub(crate) captures: bool,
}

impl Profile {
    /// The sensor: it captures packets, writes files, and answers on sockets that listen already.
    pub const SENSOR: Self = Self {
        name: "sensor",
        allowed: &[
            OPEN_FILES,
            FILES_BY_NAME,
            WAITING,
            MEMORY,
            THREADS,
            SIGNALS,
            SOCKETS,
            IDENTITY,
            CLONE3,
            OLDER_FORMS,
        ],
        ioctls: INTERFACE_IOCTLS,
        captures: true,
    };

    /// The console: it reads the journal, keeps its tables, and answers on a socket that listens already.
    pub const CONSOLE: Self = Self { name: "console", captures: false, ..Self::SENSOR };
}

/// Reading and writing open files, sockets and pipes.
const OPEN_FILES: &[c_long] = &[
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_pread64,
    libc::SYS_preadv,
    libc::SYS_preadv2,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_pwrite64,
    libc::SYS_pwritev,
    libc::SYS_pwritev2,
    libc::SYS_lseek,
    libc::SYS_close,
    libc::SYS_dup,
    libc::SYS_dup3,
    libc::SYS_pipe2,
    libc::SYS_fstat,
    libc::SYS_ftruncate,
    libc::SYS_fallocate,
    libc::SYS_fadvise64,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_sync_file_range,
    libc::SYS_flock,
];

/// Files by name; Landlock says which. Log rotation renames and removes, a reload reads folders.
const FILES_BY_NAME: &[c_long] = &[
    libc::SYS_openat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_statfs,
    libc::SYS_fstatfs,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_getdents64,
    libc::SYS_readlinkat,
    libc::SYS_getcwd,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_unlinkat,
];

/// Waiting and time.
const WAITING: &[c_long] = &[
    libc::SYS_ppoll,
    libc::SYS_pselect6,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_eventfd2,
    libc::SYS_timerfd_create,
    libc::SYS_timerfd_settime,
    libc::SYS_timerfd_gettime,
    libc::SYS_signalfd4,
    libc::SYS_nanosleep,
    libc::SYS_clock_nanosleep,
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_gettimeofday,
    libc::SYS_restart_syscall,
];

/// Memory, without the right to execute it: see `rules`.
const MEMORY: &[c_long] = &[
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_brk,
    libc::SYS_mincore,
    libc::SYS_mlock,
    libc::SYS_mlock2,
    libc::SYS_munlock,
    libc::SYS_membarrier,
];

/// Threads and their CPUs.
const THREADS: &[c_long] = &[
    libc::SYS_futex,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_gettid,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_setaffinity,
    libc::SYS_getcpu,
    libc::SYS_exit,
    libc::SYS_exit_group,
];

/// Receiving signals, not sending them.
const SIGNALS: &[c_long] = &[
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_rt_sigpending,
    libc::SYS_rt_sigtimedwait,
    libc::SYS_sigaltstack,
];

/// Sockets; which ones can be made is in `rules`. A capture socket is bound again when its interface returns.
const SOCKETS: &[c_long] = &[
    libc::SYS_bind,
    libc::SYS_listen,
    libc::SYS_accept,
    libc::SYS_accept4,
    libc::SYS_connect,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
    libc::SYS_setsockopt,
    libc::SYS_getsockopt,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_recvmmsg,
    libc::SYS_sendto,
    libc::SYS_shutdown,
];

/// Facts about the process and the system.
const IDENTITY: &[c_long] = &[
    libc::SYS_getpid,
    libc::SYS_getppid,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_capget,
    libc::SYS_getrusage,
    libc::SYS_times,
    libc::SYS_sysinfo,
    libc::SYS_uname,
    libc::SYS_getrandom,
];

/// Another filter says that it does not exist. Refused here it would be "not permitted", and then the C library would not fall back to `clone`.
const CLONE3: &[c_long] = &[libc::SYS_clone3];

/// Older forms that the C library still uses on x86-64; newer architectures do not have them.
#[cfg(target_arch = "x86_64")]
const OLDER_FORMS: &[c_long] = &[
    libc::SYS_open,
    libc::SYS_stat,
    libc::SYS_lstat,
    libc::SYS_access,
    libc::SYS_readlink,
    libc::SYS_rename,
    libc::SYS_unlink,
    libc::SYS_pipe,
    libc::SYS_dup2,
    libc::SYS_poll,
    libc::SYS_select,
    libc::SYS_epoll_wait,
    libc::SYS_time,
];
#[cfg(not(target_arch = "x86_64"))]
const OLDER_FORMS: &[c_long] = &[];

/// Requests to devices and sockets: reading the settings of interfaces, and what the standard library does with sockets
/// and terminals.
const INTERFACE_IOCTLS: &[c_long] = &[
    libc::FIONREAD as c_long,
    libc::FIONBIO as c_long,
    libc::FIOCLEX as c_long,
    libc::TCGETS as c_long,
    libc::TIOCGWINSZ as c_long,
    libc::SIOCGIFNAME as c_long,
    libc::SIOCGIFINDEX as c_long,
    libc::SIOCGIFFLAGS as c_long,
    libc::SIOCGIFMTU as c_long,
    libc::SIOCGIFHWADDR as c_long,
];
