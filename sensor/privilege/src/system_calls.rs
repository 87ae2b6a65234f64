//! Which system calls are left, by seccomp (seccomp(2)): what the sensor does after its start, and no more.
//!
//! * What stands in the policy is **allowed**, some of it only with certain arguments.
//! * What does not is **refused** with EPERM and told in the kernel's audit log. The sensor and its libraries live with
//!   an error; a call that was forgotten here then costs a line in a log and not the sensor.
//! * What no running sensor ever does, but whoever took it over would do first (execute a program, trace another, load
//!   code into the kernel, become somebody else, open an io_uring, which goes past filters), **kills** the process at
//!   once: it cannot be a mistake, and a second try is not granted.
//! * `clone3` **does not exist** (ENOSYS): its flags lie in memory, where a filter cannot see whether a thread or a
//!   process is to be made. The C library then makes threads with `clone`, whose flags are an argument.
//!
//! A filter has one verdict for what matches and one for what does not, so each of these is a filter of its own; for a
//! call the strictest verdict counts.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::RawFd;

use libc::c_long;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule, TargetArch,
};

use super::report::{Report, State};
use super::status::Status;
use super::{Confinement, Demand, PrivilegeError, kernel};

/// Calls allowed with any arguments.
const ALLOWED: &[c_long] = &[
    // Open files, sockets and pipes.
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
    // Files by name; Landlock says which. Log rotation renames and removes, a reload reads folders.
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
    // Waiting.
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
    // Memory, without the right to execute it: see `conditional`.
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_brk,
    libc::SYS_mincore,
    libc::SYS_mlock,
    libc::SYS_mlock2,
    libc::SYS_munlock,
    libc::SYS_membarrier,
    // Threads and their places.
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
    // Signals: taking them, not sending.
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_rt_sigpending,
    libc::SYS_rt_sigtimedwait,
    libc::SYS_sigaltstack,
    // Sockets; which may be made is in `conditional`. A capture socket is bound anew when its interface comes back.
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
    // Who and how much we are; the system's name and load.
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
    // Does not exist, says another filter; refused here it would be "not permitted", which the C library does not
    // take for a reason to use `clone`.
    libc::SYS_clone3,
];

/// The older forms that the C library still uses on x86-64; later machines never had them.
#[cfg(target_arch = "x86_64")]
const ALLOWED_OLDER: &[c_long] = &[
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
const ALLOWED_OLDER: &[c_long] = &[];

/// Calls that end the process.
const FATAL: &[c_long] = &[
    // Another program, or another process's memory and descriptors.
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    // The kernel.
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_reboot,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    // The view of the system.
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_setns,
    libc::SYS_unshare,
    libc::SYS_open_tree,
    libc::SYS_move_mount,
    libc::SYS_fsopen,
    libc::SYS_open_by_handle_at,
    // Who we are.
    libc::SYS_setuid,
    libc::SYS_setgid,
    libc::SYS_setreuid,
    libc::SYS_setregid,
    libc::SYS_setresuid,
    libc::SYS_setresgid,
    libc::SYS_setgroups,
    libc::SYS_capset,
    libc::SYS_add_key,
    libc::SYS_keyctl,
    libc::SYS_request_key,
];

/// What may be asked of a device or socket: reading interface settings, and what the standard library does to sockets
/// and terminals.
const IOCTLS: &[c_long] = &[
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

const FCNTLS: &[c_long] = &[
    libc::F_DUPFD as c_long,
    libc::F_DUPFD_CLOEXEC as c_long,
    libc::F_GETFD as c_long,
    libc::F_SETFD as c_long,
    libc::F_GETFL as c_long,
    libc::F_SETFL as c_long,
    libc::F_GETLK as c_long,
    libc::F_SETLK as c_long,
    libc::F_OFD_GETLK as c_long,
    libc::F_OFD_SETLK as c_long,
];

/// Names of threads and of memory areas.
const PRCTLS: &[c_long] = &[libc::PR_SET_NAME as c_long, libc::PR_GET_NAME as c_long, libc::PR_SET_VMA as c_long];

/// Ways to send on a descriptor, or to get rid of the number by which it is known. Passing it to another process takes
/// `sendmsg`, which nobody has.
const SENDING: &[c_long] = &[
    libc::SYS_sendto,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_pwrite64,
    libc::SYS_pwritev,
    libc::SYS_pwritev2,
    libc::SYS_dup,
    libc::SYS_dup3,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_dup2,
    libc::SYS_close,
];

/// The bits of a socket's type that tell its kind, without SOCK_CLOEXEC and SOCK_NONBLOCK.
const SOCKET_KIND: u64 = 0xf;

/// Runs of descriptors that fit into a filter: the kernel takes 4096 instructions in one, 32768 in all.
const RUNS_PER_FILTER: usize = 24;

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// The compiled policy, in the order of its installation: the one that allows comes last, since after it no filter can be
/// installed any more.
pub(super) struct Filters {
    programs: Vec<BpfProgram>,
    calls_allowed: usize,
}

impl Filters {
    /// Compiles the policy; empty where seccomp is off or this machine has none that we know.
    pub(super) fn compile(confinement: &Confinement) -> Result<Self, PrivilegeError> {
        let Some(machine) = machine().filter(|_| confinement.seccomp != Demand::Off) else {
            return Ok(Self { programs: Vec::new(), calls_allowed: 0 });
        };
        let allowed = allowed(confinement).map_err(broken)?;
        let calls_allowed = allowed.len() - 1;
        let fatal = any_arguments(FATAL);
        let absent = any_arguments(&[libc::SYS_clone3]);
        let deaf = receive_only(&confinement.receive_only).map_err(broken)?;
        let (allow, refuse) = (SeccompAction::Allow, SeccompAction::Errno(libc::EPERM as u32));
        let mut filters = vec![
            (fatal, allow.clone(), SeccompAction::KillProcess),
            (absent, allow.clone(), SeccompAction::Errno(libc::ENOSYS as u32)),
        ];
        filters.extend(deaf.into_iter().map(|rules| (rules, allow.clone(), refuse.clone())));
        filters.push((allowed, refuse, allow));
        let programs = filters.into_iter().map(|(rules, otherwise, matching)| {
            SeccompFilter::new(rules, otherwise, matching, machine).and_then(BpfProgram::try_from)
        });
        Ok(Self { programs: programs.collect::<Result<_, _>>().map_err(broken)?, calls_allowed })
    }

    /// Puts the policy in force for all threads.
    pub(super) fn restrict(&self, report: &mut Report, confinement: &Confinement) -> Result<(), PrivilegeError> {
        if confinement.seccomp == Demand::Off {
            report.push("seccomp", State::Off, "every system call is left");
            return Ok(());
        }
        if let Some(reason) = why_not() {
            if confinement.seccomp == Demand::Required {
                return Err(PrivilegeError::Lacking { measure: "seccomp", reason });
            }
            report.push("seccomp", State::Unavailable(reason), "every system call is left");
            return Ok(());
        }
        for (place, program) in self.programs.iter().enumerate() {
            // The second is the one that hides `clone3`, which is no event worth a line at every thread's start.
            kernel::install_filter(program, place != 1)
                .map_err(|source| PrivilegeError::System { doing: "restrict system calls", source })?;
        }
        let now = Status::read();
        if !now.as_ref().is_ok_and(|status| status.seccomp == 2) {
            let source = now.err().unwrap_or_else(|| io::Error::other("the kernel shows no filter"));
            return Err(PrivilegeError::System { doing: "restrict system calls", source });
        }
        let deaf = match confinement.receive_only.len() {
            0 => String::new(),
            count => format!("; {count} capture sockets cannot send"),
        };
        let detail = format!(
            "{} system calls allowed, {} kill the process, all others are refused{deaf}",
            self.calls_allowed,
            FATAL.len()
        );
        report.push("seccomp", State::Done, detail);
        Ok(())
    }
}

/// What could be enforced here.
pub(super) fn probe(report: &mut Report, now: &Status) {
    let state = match why_not() {
        // In a process that is confined the question itself is refused.
        _ if now.seccomp == 2 && now.no_capabilities() => State::AlreadySo,
        Some(reason) => State::Unavailable(reason),
        None => State::Available,
    };
    report.push("seccomp", state, "");
}

fn why_not() -> Option<String> {
    if machine().is_none() {
        return Some(format!("there is no policy for {}", std::env::consts::ARCH));
    }
    let error = kernel::seccomp_available().err()?;
    Some(format!("this kernel cannot do it ({error}); it needs Linux 4.14 with CONFIG_SECCOMP_FILTER"))
}

fn machine() -> Option<TargetArch> {
    match std::env::consts::ARCH {
        "x86_64" => Some(TargetArch::x86_64),
        "aarch64" => Some(TargetArch::aarch64),
        _ => None,
    }
}

fn any_arguments(calls: &[c_long]) -> Rules {
    calls.iter().map(|call| (*call, Vec::new())).collect()
}

fn allowed(confinement: &Confinement) -> Result<Rules, seccompiler::BackendError> {
    let mut rules = any_arguments(ALLOWED);
    rules.extend(any_arguments(ALLOWED_OLDER));
    rules.extend(conditional(confinement)?);
    Ok(rules)
}

/// Calls that are allowed with certain arguments.
fn conditional(confinement: &Confinement) -> Result<Rules, seccompiler::BackendError> {
    use SeccompCmpOp::{Eq, MaskedEq};
    let thread = libc::CLONE_THREAD as u64;
    let executable = libc::PROT_EXEC as u64;
    let mut rules = Rules::new();
    // Threads, not processes.
    rules.insert(libc::SYS_clone, vec![rule(&[(0, MaskedEq(thread), thread)])?]);
    for call in [libc::SYS_mmap, libc::SYS_mprotect] {
        rules.insert(call, vec![rule(&[(2, MaskedEq(executable), 0)])?]);
    }
    // `abort` signals the own process.
    rules.insert(libc::SYS_tgkill, vec![rule(&[(0, Eq, u64::from(std::process::id()))])?]);
    // Limits may be read, not set.
    rules.insert(libc::SYS_prlimit64, vec![rule(&[(0, Eq, 0), (2, Eq, 0)])?]);
    for (call, argument, values) in
        [(libc::SYS_ioctl, 1, IOCTLS), (libc::SYS_fcntl, 1, FCNTLS), (libc::SYS_prctl, 0, PRCTLS)]
    {
        let one_of = values.iter().map(|value| rule(&[(argument, Eq, *value as u64)]));
        rules.insert(call, one_of.collect::<Result<_, _>>()?);
    }
    rules.insert(libc::SYS_socketpair, vec![rule(&[(0, Eq, libc::AF_UNIX as u64)])?]);
    rules.insert(libc::SYS_socket, sockets(confinement)?);
    Ok(rules)
}

/// The sockets that may be made. Datagrams to local services (the journal, systemd's notifications) and questions about
/// interfaces, always; streams to local services, never: behind them are the message bus and what obeys it. TCP only
/// where ports are named. UDP never, and so no DNS by which data could leave.
fn sockets(confinement: &Confinement) -> Result<Vec<SeccompRule>, seccompiler::BackendError> {
    use SeccompCmpOp::{Eq, MaskedEq};
    let kind = |kind: libc::c_int| (1, MaskedEq(SOCKET_KIND), kind as u64);
    let mut rules = vec![
        rule(&[(0, Eq, libc::AF_UNIX as u64), kind(libc::SOCK_DGRAM)])?,
        rule(&[(0, Eq, libc::AF_NETLINK as u64), (2, Eq, libc::NETLINK_ROUTE as u64)])?,
    ];
    if !(confinement.tcp_bind.is_empty() && confinement.tcp_connect.is_empty()) {
        for family in [libc::AF_INET, libc::AF_INET6] {
            // Protocol 0 or TCP by its number; MPTCP and SCTP, of which Landlock knows nothing, are others.
            for protocol in [0, libc::IPPROTO_TCP] {
                rules.push(rule(&[(0, Eq, family as u64), kind(libc::SOCK_STREAM), (2, Eq, protocol as u64)])?);
            }
        }
    }
    Ok(rules)
}

/// What is refused on these descriptors: a rule for each run of consecutive numbers, in as many filters as it takes.
fn receive_only(descriptors: &[RawFd]) -> Result<Vec<Rules>, seccompiler::BackendError> {
    runs(descriptors).chunks(RUNS_PER_FILTER).map(receive_only_runs).collect()
}

fn receive_only_runs(runs: &[(RawFd, RawFd)]) -> Result<Rules, seccompiler::BackendError> {
    use SeccompCmpOp::{Eq, Ge, Le};
    let mut rules = Rules::new();
    for (first, last) in runs {
        let (first, last) = (*first as u64, *last as u64);
        for call in SENDING {
            rules.entry(*call).or_default().push(rule(&[(0, Ge, first), (0, Le, last)])?);
        }
        for command in [libc::F_DUPFD, libc::F_DUPFD_CLOEXEC] {
            let duplicate = rule(&[(0, Ge, first), (0, Le, last), (1, Eq, command as u64)])?;
            rules.entry(libc::SYS_fcntl).or_default().push(duplicate);
        }
    }
    Ok(rules)
}

/// First and last of each run of consecutive numbers.
fn runs(descriptors: &[RawFd]) -> Vec<(RawFd, RawFd)> {
    let mut sorted = descriptors.to_vec();
    sorted.sort_unstable();
    let mut runs: Vec<(RawFd, RawFd)> = Vec::new();
    for descriptor in sorted {
        match runs.last_mut() {
            Some((_, last)) if descriptor <= *last + 1 => *last = descriptor,
            _ => runs.push((descriptor, descriptor)),
        }
    }
    runs
}

/// All conditions together: argument, comparison, value. The kernel takes these arguments for 32-bit numbers, and so
/// does the filter; what stands in the upper halves of the registers means nothing.
fn rule(conditions: &[(u8, SeccompCmpOp, u64)]) -> Result<SeccompRule, seccompiler::BackendError> {
    let conditions = conditions
        .iter()
        .map(|(argument, operator, value)| {
            SeccompCondition::new(*argument, SeccompCmpArgLen::Dword, operator.clone(), *value)
        })
        .collect::<Result<_, _>>()?;
    SeccompRule::new(conditions)
}

fn broken(error: seccompiler::BackendError) -> PrivilegeError {
    PrivilegeError::System { doing: "compile the system call policy", source: io::Error::other(error.to_string()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn no_call_is_both_allowed_and_fatal() {
        let allowed = allowed(&Confinement::default()).unwrap();
        let fatal: BTreeSet<i64> = FATAL.iter().copied().collect();
        assert_eq!(fatal.len(), FATAL.len(), "one stands there twice");
        assert!(fatal.iter().all(|call| !allowed.contains_key(call)));
        assert_eq!(allowed.len(), ALLOWED.len() + ALLOWED_OLDER.len() + 10, "one stands there twice");
    }

    #[test]
    fn runs_of_descriptors_are_joined() {
        assert_eq!(runs(&[]), []);
        assert_eq!(runs(&[7, 5, 6, 6, 9, 12, 11]), [(5, 7), (9, 9), (11, 12)]);
    }

    /// The worst case is every second number; 128 of these are two interfaces with 64 workers each.
    #[test]
    fn many_capture_sockets_fit() {
        for (descriptors, programs) in [((10..2000).collect::<Vec<_>>(), 4), ((10..138).map(|n| n * 2).collect(), 9)] {
            let confinement = Confinement { receive_only: descriptors, ..Confinement::default() };
            let filters = Filters::compile(&confinement).unwrap();
            assert_eq!(filters.programs.len(), programs);
            assert!(filters.programs.iter().all(|program| program.len() <= 4096));
            // As the kernel counts, in seccomp_attach_filter: four more for each filter.
            let in_all: usize = filters.programs.iter().map(|program| program.len() + 4).sum();
            assert!(in_all <= 32_768, "{in_all}");
        }
        let none = Filters::compile(&Confinement { seccomp: Demand::Off, ..Confinement::default() }).unwrap();
        assert!(none.programs.is_empty());
    }
}
