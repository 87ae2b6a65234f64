//! The rules of the filters: calls with conditions on their arguments.

use std::collections::BTreeMap;
use std::os::fd::RawFd;

use libc::c_long;
use seccompiler::{BackendError, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompRule};

use crate::Confinement;

/// Rules by number of the call; a call without rules has no conditions.
pub(super) type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// Calls that end the process, in every program.
pub(super) const FATAL: &[c_long] = &[
    // Other programs, and memory and descriptors of other processes.
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
    // Mounts and namespaces.
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
    // Users, groups, capabilities and keys.
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

/// Calls that send on a descriptor, or free its number. Passing it to another process needs `sendmsg`, which no profile
/// allows.
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

/// The bits of a socket's type without SOCK_CLOEXEC and SOCK_NONBLOCK.
const SOCKET_KIND: u64 = 0xf;

/// Runs of descriptors that fit into a filter: the kernel accepts 4096 instructions in one, 32768 in all.
const RUNS_PER_FILTER: usize = 24;

/// These calls with any arguments.
pub(super) fn any_arguments(calls: &[c_long]) -> Rules {
    calls.iter().map(|call| (*call, Vec::new())).collect()
}

/// Everything that is allowed.
pub(super) fn allowed(confinement: &Confinement) -> Result<Rules, BackendError> {
    let mut rules: Rules = confinement.profile.allowed.iter().flat_map(|group| any_arguments(group)).collect();
    rules.extend(conditional(confinement)?);
    Ok(rules)
}

/// Calls that are allowed with certain arguments.
fn conditional(confinement: &Confinement) -> Result<Rules, BackendError> {
    use SeccompCmpOp::{Eq, MaskedEq};
    let thread = libc::CLONE_THREAD as u64;
    let executable = libc::PROT_EXEC as u64;
    let mut rules = Rules::new();
    // Threads, not processes.
    rules.insert(libc::SYS_clone, vec![rule(&[(0, MaskedEq(thread), thread)])?]);
    for call in [libc::SYS_mmap, libc::SYS_mprotect] {
        rules.insert(call, vec![rule(&[(2, MaskedEq(executable), 0)])?]);
    }
    // `abort` signals its own process.
    rules.insert(libc::SYS_tgkill, vec![rule(&[(0, Eq, u64::from(std::process::id()))])?]);
    // Limits can be read, not set. The pointer to new ones is compared whole: half of it may be zero.
    let of_this_process = SeccompCondition::new(0, SeccompCmpArgLen::Dword, Eq, 0)?;
    let sets_none = SeccompCondition::new(2, SeccompCmpArgLen::Qword, Eq, 0)?;
    rules.insert(libc::SYS_prlimit64, vec![SeccompRule::new(vec![of_this_process, sets_none])?]);
    for (call, argument, values) in
        [(libc::SYS_ioctl, 1, confinement.profile.ioctls), (libc::SYS_fcntl, 1, FCNTLS), (libc::SYS_prctl, 0, PRCTLS)]
    {
        let one_of = values.iter().map(|value| rule(&[(argument, Eq, *value as u64)]));
        rules.insert(call, one_of.collect::<Result<_, _>>()?);
    }
    rules.insert(libc::SYS_socketpair, vec![rule(&[(0, Eq, libc::AF_UNIX as u64)])?]);
    rules.insert(libc::SYS_socket, sockets(confinement)?);
    Ok(rules)
}

/// The sockets that can be made. Datagrams to local services (the journal, systemd's notifications) and requests about
/// interfaces: always. Streams to local services: never, because the message bus and its services are behind them. TCP:
/// only if ports are named. UDP: never, so that no data can leave through DNS.
fn sockets(confinement: &Confinement) -> Result<Vec<SeccompRule>, BackendError> {
    use SeccompCmpOp::{Eq, MaskedEq};
    let kind = |kind: libc::c_int| (1, MaskedEq(SOCKET_KIND), kind as u64);
    let mut rules = vec![
        rule(&[(0, Eq, libc::AF_UNIX as u64), kind(libc::SOCK_DGRAM)])?,
        rule(&[(0, Eq, libc::AF_NETLINK as u64), (2, Eq, libc::NETLINK_ROUTE as u64)])?,
    ];
    if !(confinement.tcp_bind.is_empty() && confinement.tcp_connect.is_empty()) {
        for family in [libc::AF_INET, libc::AF_INET6] {
            // Protocol 0 or TCP by its number, but not MPTCP or SCTP, which Landlock does not know.
            for protocol in [0, libc::IPPROTO_TCP] {
                rules.push(rule(&[(0, Eq, family as u64), kind(libc::SOCK_STREAM), (2, Eq, protocol as u64)])?);
            }
        }
    }
    Ok(rules)
}

/// The calls that are refused on these descriptors: a rule for each run of consecutive numbers, in as many filters as
/// they need.
pub(super) fn receive_only(descriptors: &[RawFd]) -> Result<Vec<Rules>, BackendError> {
    runs(descriptors).chunks(RUNS_PER_FILTER).map(receive_only_runs).collect()
}

fn receive_only_runs(runs: &[(RawFd, RawFd)]) -> Result<Rules, BackendError> {
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

/// A rule with these conditions: argument, comparison, value. The kernel uses these arguments as 32-bit numbers, and so
/// does the filter; the upper halves of the registers have no meaning.
fn rule(conditions: &[(u8, SeccompCmpOp, u64)]) -> Result<SeccompRule, BackendError> {
    let conditions = conditions
        .iter()
        .map(|(argument, operator, value)| {
            SeccompCondition::new(*argument, SeccompCmpArgLen::Dword, operator.clone(), *value)
        })
        .collect::<Result<_, _>>()?;
    SeccompRule::new(conditions)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn no_call_is_both_allowed_and_fatal() {
        let allowed = allowed(&Confinement::default()).unwrap();
        let fatal: BTreeSet<i64> = FATAL.iter().copied().collect();
        assert_eq!(fatal.len(), FATAL.len(), "a call is listed twice");
        assert!(fatal.iter().all(|call| !allowed.contains_key(call)));
        let listed: usize = Confinement::default().profile.allowed.iter().map(|group| group.len()).sum();
        assert_eq!(allowed.len(), listed + 10, "a call is listed twice");
    }

    #[test]
    fn runs_of_descriptors_are_joined() {
        assert_eq!(runs(&[]), []);
        assert_eq!(runs(&[7, 5, 6, 6, 9, 12, 11]), [(5, 7), (9, 9), (11, 12)]);
    }
}
