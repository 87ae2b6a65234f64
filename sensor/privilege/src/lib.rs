//! Giving up privileges, shared by the programs of this project.
//!
//! * What it is for: once everything that needs privileges is open, and before the first thread starts, [`confine`] gives
//!   them all up for good. [`probe`] reports what could be given up here, and changes nothing.
//! * What goes in: the user, the files and the ports that the program keeps, and the [`Profile`] of its system calls
//!   ([`Confinement`]).
//! * What comes out: a [`Report`] of what is in force, as the kernel confirms it (`status`), or an error with its mend.
//! * What it does not do: it opens no socket and no file for the program, and does not replace what systemd adds from
//!   outside.
//!
//! The order matters. First `no_new_privs`, so that no program executed later can gain privileges. Then groups, user and
//! capabilities (`identity`), which need the privileges that they remove. Then Landlock (`files`), which from there on
//! allows only the program's own files. Last seccomp (`system_calls`), which also forbids the calls that the earlier
//! steps needed.
//!
//! Unsafe code is in `kernel` only.

mod files;
mod identity;
mod kernel;
mod report;
mod status;
mod system_calls;

use std::fmt;
use std::io;
use std::os::fd::RawFd;
use std::path::PathBuf;
use std::str::FromStr;

pub use report::{Measure, Report, State};
pub use status::Status;

pub use system_calls::Profile;

use identity::Identity;

/// Whether a protection that a kernel may not have is required.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Demand {
    /// The program does not run without it.
    Required,
    /// Used if the kernel has it; reported if not.
    Preferred,
    /// Not used.
    Off,
}

impl Demand {
    /// The words for them.
    pub const WORDS: &[&str] = &["required", "preferred", "off"];
}

impl fmt::Display for Demand {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Required => "required",
            Self::Preferred => "preferred",
            Self::Off => "off",
        })
    }
}

impl FromStr for Demand {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        match word {
            "required" => Ok(Self::Required),
            "preferred" => Ok(Self::Preferred),
            "off" => Ok(Self::Off),
            _ => Err(format!("\"{word}\" is none of {}", Self::WORDS.join(", "))),
        }
    }
}

/// Default for Landlock. Kernels without it are still in use, and it adds little to file permissions: a program that
/// does not start would be worse.
pub const LANDLOCK_DEFAULT: Demand = Demand::Preferred;
/// Default for seccomp. Only seccomp prevents sending on a capture socket, and every kernel in use has it.
pub const SECCOMP_DEFAULT: Demand = Demand::Required;

/// What the process keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confinement {
    /// The user to change to; `None` to keep the user and give up the capabilities.
    pub user: Option<String>,
    /// The group to change to; `None` for the group of the user.
    pub group: Option<String>,
    /// Landlock: files, TCP ports, signals.
    pub landlock: Demand,
    /// Seccomp: system calls.
    pub seccomp: Demand,
    /// The system calls that seccomp allows.
    pub profile: Profile,
    /// Files and folders (with their content) that can be read: configuration, signatures, certificates. They must exist.
    pub readable: Vec<PathBuf>,
    /// Files that can be written, and folders (with their content) in which files can be created, written, renamed and
    /// removed. They must exist.
    pub writable: Vec<PathBuf>,
    /// TCP ports that can still be bound. Sockets that listen already are not affected.
    pub tcp_bind: Vec<u16>,
    /// TCP ports, at any address, that can be connected to. If these and `tcp_bind` are empty, no internet socket can be
    /// made at all.
    pub tcp_connect: Vec<u16>,
    /// Open sockets on which nothing can be sent, and which cannot be closed or duplicated before the process ends: the
    /// number of a closed socket could go to a file, which then could not be written. Capture sockets belong here, since
    /// they can send frames as well as receive them. Only seccomp can restrict this.
    pub receive_only: Vec<RawFd>,
}

impl Default for Confinement {
    fn default() -> Self {
        Self {
            user: None,
            group: None,
            landlock: LANDLOCK_DEFAULT,
            seccomp: SECCOMP_DEFAULT,
            profile: Profile::SENSOR,
            readable: Vec::new(),
            writable: Vec::new(),
            tcp_bind: Vec::new(),
            tcp_connect: Vec::new(),
            receive_only: Vec::new(),
        }
    }
}

/// Gives up everything that `confinement` does not keep, for this process and for good. To be called once, while there is
/// one thread. After an error the process may be confined in part, and must end.
///
/// # Errors
/// A name or a path is wrong, which is found before anything is given up; or something required is missing or refused.
pub fn confine(confinement: &Confinement) -> Result<Report, PrivilegeError> {
    let before = now()?;
    if before.threads != 1 {
        return Err(PrivilegeError::Threads { count: before.threads });
    }
    let identity = Identity::wanted(confinement)?;
    files::check_presence(confinement)?;
    let filters = system_calls::Filters::compile(confinement)?;

    let mut report = Report::default();
    identity::forbid_new_privileges_and_core_files(&mut report, &before)?;
    identity::become_unprivileged(&mut report, identity.as_ref(), &before)?;
    identity::give_up_capabilities(&mut report, &before)?;
    files::check_reach(&mut report, confinement)?;
    files::restrict(&mut report, confinement)?;
    filters.restrict(&mut report, confinement)?;
    Ok(report)
}

/// What this process has and what this kernel offers to a program with this profile. Changes nothing.
pub fn probe(profile: &Profile) -> Report {
    let mut report = Report::default();
    match Status::read() {
        Ok(status) => {
            identity::probe(&mut report, &status);
            if profile.captures {
                identity::probe_capture(&mut report);
            }
            files::probe(&mut report);
            system_calls::probe(&mut report, &status);
        }
        Err(error) => report.push("status", State::Unavailable(format!("/proc/self/status: {error}")), ""),
    }
    report
}

fn now() -> Result<Status, PrivilegeError> {
    Status::read().map_err(|source| PrivilegeError::System { doing: "read /proc/self/status", source })
}

/// Why the process could not be confined.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PrivilegeError {
    /// The user does not exist.
    #[error(
        "user \"{user}\" does not exist; create it with systemd-sysusers, or with \
         useradd --system --user-group --no-create-home --shell /usr/sbin/nologin {user}"
    )]
    NoSuchUser {
        /// Its name.
        user: String,
    },
    /// The group does not exist.
    #[error("group \"{group}\" does not exist; create it with groupadd --system {group}")]
    NoSuchGroup {
        /// Its name.
        group: String,
    },
    /// Other threads would keep their capabilities.
    #[error("{count} threads run already; privileges must be given up before the first one starts")]
    Threads {
        /// All threads, including the calling one.
        count: u32,
    },
    /// A path cannot be used.
    #[error("{} cannot {doing}: {source}; {mend}", path.display())]
    Path {
        /// The path.
        path: PathBuf,
        /// What failed.
        doing: &'static str,
        /// The system's error.
        source: io::Error,
        /// What mends it.
        mend: String,
    },
    /// A required protection is not available.
    #[error("{measure} is required, but {reason}; to run without it, set it to \"preferred\"")]
    Lacking {
        /// Its name.
        measure: &'static str,
        /// Why not.
        reason: String,
    },
    /// The system refused a step.
    #[error("cannot {doing}: {source}")]
    System {
        /// The step.
        doing: &'static str,
        /// The system's error.
        source: io::Error,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The test harness has several threads, as this case needs.
    #[test]
    fn with_other_threads_nothing_is_given_up() {
        let before = Status::read().unwrap();
        let beside = std::thread::spawn(std::thread::park);
        let error = confine(&Confinement::default()).unwrap_err();
        assert!(matches!(error, PrivilegeError::Threads { count: 2.. }), "{error}");
        beside.thread().unpark();
        beside.join().unwrap();
        assert_eq!(Status { threads: 0, ..Status::read().unwrap() }, Status { threads: 0, ..before });
    }

    #[test]
    fn probing_changes_nothing() {
        let before = Status { threads: 0, ..Status::read().unwrap() };
        let report = probe(&Profile::SENSOR);
        assert_eq!(Status { threads: 0, ..Status::read().unwrap() }, before);
        let names: Vec<&str> = report.measures.iter().map(|measure| measure.name).collect();
        assert_eq!(names, ["no_new_privs", "core_files", "user", "capabilities", "capture", "landlock", "seccomp"]);
    }
}
