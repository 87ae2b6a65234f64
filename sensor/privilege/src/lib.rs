//! Least privilege: once everything that needs rights is open, and before the first thread is started, [`confine`] gives
//! up all of them for good. [`probe`] tells what could be given up here, and changes nothing.
//!
//! The order matters. First `no_new_privs`, so that nothing executed later can gain anything; then groups, user and
//! capabilities (`identity`), since they need the rights that they remove; then Landlock (`files`), which from there
//! on only allows the sensor's own files; last seccomp (`system_calls`), which also closes the calls that the steps
//! before needed. What is reported as done was read back from the kernel (`status`).
//!
//! Opening sockets and files before is not done here, and neither is what systemd adds from outside.

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

use identity::Identity;

/// How much a measure is wanted of which a kernel may know nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Demand {
    /// Without it the sensor does not run.
    Required,
    /// Taken where the kernel has it; its lack is reported.
    Preferred,
    /// Not taken.
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

/// Landlock's default: a kernel without it can still be one that people run, and what it adds to permissions is small
/// beside a sensor that does not start.
pub const LANDLOCK_DEFAULT: Demand = Demand::Preferred;
/// Seccomp's default: only seccomp keeps the sensor from sending on the tap, and every kernel in use has it.
pub const SECCOMP_DEFAULT: Demand = Demand::Required;

/// What the process is to be confined to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confinement {
    /// The user to become; `None` to stay who we are, without capabilities.
    pub user: Option<String>,
    /// The group to become; `None` for the user's.
    pub group: Option<String>,
    /// Landlock: files, TCP ports, signals.
    pub landlock: Demand,
    /// Seccomp: system calls.
    pub seccomp: Demand,
    /// Files and folders (with all below) that may be read: configuration, signatures, certificates. They must exist.
    pub readable: Vec<PathBuf>,
    /// Files that may be written, and folders (with all below) in which files may be made, written, renamed and removed.
    /// They must exist.
    pub writable: Vec<PathBuf>,
    /// TCP ports that may still be listened on. What listens already goes on.
    pub tcp_bind: Vec<u16>,
    /// TCP ports, of any address, that may be connected to. Where these and `tcp_bind` are empty, no internet socket
    /// can be made at all.
    pub tcp_connect: Vec<u16>,
    /// Open sockets on which nothing may be sent, and which may not be closed or duplicated before the process ends (a
    /// closed one's number would pass to a file that then could not be written). Capture sockets belong here: on them a
    /// frame can be sent as easily as received. Only seccomp can do it.
    pub receive_only: Vec<RawFd>,
}

impl Default for Confinement {
    fn default() -> Self {
        Self {
            user: None,
            group: None,
            landlock: LANDLOCK_DEFAULT,
            seccomp: SECCOMP_DEFAULT,
            readable: Vec::new(),
            writable: Vec::new(),
            tcp_bind: Vec::new(),
            tcp_connect: Vec::new(),
            receive_only: Vec::new(),
        }
    }
}

/// Gives up everything but what `confinement` leaves, for this process and for good. To be called once, while there is one
/// thread. After an error the process may be confined in part, and must end.
///
/// # Errors
/// A name or a path is wrong, which is found before anything is given up; something required is lacking, or was refused.
pub fn confine(confinement: &Confinement) -> Result<Report, PrivilegeError> {
    let before = now()?;
    if before.threads != 1 {
        return Err(PrivilegeError::Threads { count: before.threads });
    }
    let identity = Identity::wanted(confinement)?;
    files::check_presence(confinement)?;
    let filters = system_calls::Filters::compile(confinement)?;

    let mut report = Report::default();
    identity::keep_nothing_new(&mut report, &before)?;
    identity::become_unprivileged(&mut report, identity.as_ref(), &before)?;
    identity::give_up_capabilities(&mut report, &before)?;
    files::check_reach(&mut report, confinement)?;
    files::restrict(&mut report, confinement)?;
    filters.restrict(&mut report, confinement)?;
    Ok(report)
}

/// What this process is and what this kernel offers. Changes nothing.
pub fn probe() -> Report {
    let mut report = Report::default();
    match Status::read() {
        Ok(status) => {
            identity::probe(&mut report, &status);
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
    /// The user to become is unknown.
    #[error(
        "user \"{user}\" does not exist; make it with systemd-sysusers, or with \
         useradd --system --user-group --no-create-home --shell /usr/sbin/nologin {user}"
    )]
    NoSuchUser {
        /// As named.
        user: String,
    },
    /// The group to become is unknown.
    #[error("group \"{group}\" does not exist; make it with groupadd --system {group}")]
    NoSuchGroup {
        /// As named.
        group: String,
    },
    /// Other threads would keep their capabilities.
    #[error("{count} threads run already; privileges are to be given up before the first is started")]
    Threads {
        /// With the one that asked.
        count: u32,
    },
    /// A path that is to stay in reach is not.
    #[error("{} cannot {doing}: {source}; {mend}", path.display())]
    Path {
        /// Which.
        path: PathBuf,
        /// What was to be done with it.
        doing: &'static str,
        /// What the system said.
        source: io::Error,
        /// What to do about it.
        mend: String,
    },
    /// Something required is not to be had here.
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
        /// Which.
        doing: &'static str,
        /// What it said.
        source: io::Error,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The test harness has several threads, which is just the case.
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
        let report = probe();
        assert_eq!(Status { threads: 0, ..Status::read().unwrap() }, before);
        let names: Vec<&str> = report.measures.iter().map(|measure| measure.name).collect();
        assert_eq!(names, ["no_new_privs", "core_files", "user", "capabilities", "capture", "landlock", "seccomp"]);
    }
}
