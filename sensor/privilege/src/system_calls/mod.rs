//! Which system calls a process keeps, by seccomp (seccomp(2)): those that its program needs after the start.
//!
//! * Calls of the program's [`Profile`] are **allowed**, some of them only with certain arguments.
//! * Other calls are **refused** with EPERM and logged in the kernel's audit log. The program and its libraries handle the
//!   error; a call that was forgotten in the profile then costs a line in a log and not the program.
//! * Calls that no running program makes, but that an attacker would make first (execute a program, trace another one,
//!   load code into the kernel, change the user, open an io_uring, which bypasses filters), **kill** the process at once:
//!   they cannot be a mistake, and a second attempt is not granted.
//! * `clone3` **does not exist** (ENOSYS): its flags are in memory, where a filter cannot see whether it makes a thread or
//!   a process. The C library then makes threads with `clone`, whose flags are an argument.
//!
//! A filter has one action for calls that match and one for all others, so each of these is a filter of its own; the
//! strictest action counts.

mod profile;
mod rules;

use std::io;

use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch};

pub use profile::Profile;

use self::rules::FATAL;
use crate::report::{Report, State};
use crate::status::Status;
use crate::{Confinement, Demand, PrivilegeError, kernel};

/// The compiled filters in the order of their installation. The one that allows comes last, since after it no filter can
/// be installed any more.
pub(super) struct Filters {
    programs: Vec<BpfProgram>,
    calls_allowed: usize,
}

impl Filters {
    /// Compiles the filters; there are none if seccomp is off or there are none for this architecture.
    pub(super) fn compile(confinement: &Confinement) -> Result<Self, PrivilegeError> {
        let Some(architecture) = architecture().filter(|_| confinement.seccomp != Demand::Off) else {
            return Ok(Self { programs: Vec::new(), calls_allowed: 0 });
        };
        let allowed = rules::allowed(confinement).map_err(broken)?;
        let calls_allowed = allowed.len() - 1;
        let fatal = rules::any_arguments(FATAL);
        let absent = rules::any_arguments(&[libc::SYS_clone3]);
        let receive_only = rules::receive_only(&confinement.receive_only).map_err(broken)?;
        let (allow, refuse) = (SeccompAction::Allow, SeccompAction::Errno(libc::EPERM as u32));
        let mut filters = vec![
            (fatal, allow.clone(), SeccompAction::KillProcess),
            (absent, allow.clone(), SeccompAction::Errno(libc::ENOSYS as u32)),
        ];
        filters.extend(receive_only.into_iter().map(|rules| (rules, allow.clone(), refuse.clone())));
        filters.push((allowed, refuse, allow));
        let programs = filters.into_iter().map(|(rules, otherwise, matching)| {
            SeccompFilter::new(rules, otherwise, matching, architecture).and_then(BpfProgram::try_from)
        });
        Ok(Self { programs: programs.collect::<Result<_, _>>().map_err(broken)?, calls_allowed })
    }

    /// Installs the filters for all threads.
    pub(super) fn restrict(&self, report: &mut Report, confinement: &Confinement) -> Result<(), PrivilegeError> {
        if confinement.seccomp == Demand::Off {
            report.push("seccomp", State::Off, "every system call is allowed");
            return Ok(());
        }
        if let Some(reason) = why_not() {
            if confinement.seccomp == Demand::Required {
                return Err(PrivilegeError::Lacking { measure: "seccomp", reason });
            }
            report.push("seccomp", State::Unavailable(reason), "every system call is allowed");
            return Ok(());
        }
        for (index, program) in self.programs.iter().enumerate() {
            // The second one hides `clone3`: it is not logged, since every start of a thread would give a line.
            kernel::install_filter(program, index != 1)
                .map_err(|source| PrivilegeError::System { doing: "restrict system calls", source })?;
        }
        let now = Status::read();
        if !now.as_ref().is_ok_and(|status| status.seccomp == 2) {
            let source = now.err().unwrap_or_else(|| io::Error::other("the kernel shows no filter"));
            return Err(PrivilegeError::System { doing: "restrict system calls", source });
        }
        let sockets = match confinement.receive_only.len() {
            0 => String::new(),
            count => format!("; {count} capture sockets cannot send"),
        };
        let detail = format!(
            "{} system calls allowed, {} kill the process, all others are refused{sockets}",
            self.calls_allowed,
            FATAL.len()
        );
        report.push("seccomp", State::Done, detail);
        Ok(())
    }
}

/// What can be enforced here.
pub(super) fn probe(report: &mut Report, now: &Status) {
    let state = match why_not() {
        // In a confined process the question itself is refused.
        _ if now.seccomp == 2 && now.no_capabilities() => State::AlreadySo,
        Some(reason) => State::Unavailable(reason),
        None => State::Available,
    };
    report.push("seccomp", state, "");
}

fn why_not() -> Option<String> {
    if architecture().is_none() {
        return Some(format!("there are no filters for {}", std::env::consts::ARCH));
    }
    let error = kernel::seccomp_available().err()?;
    Some(format!("this kernel does not support it ({error}); it needs Linux 4.14 with CONFIG_SECCOMP_FILTER"))
}

fn architecture() -> Option<TargetArch> {
    match std::env::consts::ARCH {
        "x86_64" => Some(TargetArch::x86_64),
        "aarch64" => Some(TargetArch::aarch64),
        _ => None,
    }
}

fn broken(error: seccompiler::BackendError) -> PrivilegeError {
    PrivilegeError::System { doing: "compile the system call filters", source: io::Error::other(error.to_string()) }
}

#[cfg(test)]
mod tests {
    use super::*;

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
