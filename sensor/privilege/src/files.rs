//! What the process can open, connect to and signal, by Landlock (landlock(7)): its own files and nothing else.
//!
//! The rules are those of Landlock's seventh version. An older kernel enforces the part that it knows, and the report
//! says what is missing. File rules are in the first version (Linux 5.13), truncation in the third (6.2), TCP in the
//! fourth (6.7), abstract sockets and signals in the sixth (6.12).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, LandlockStatus, NetPort, PathBeneath, PathFd, RestrictionStatus,
    Ruleset, RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetStatus, Scope,
};
use nix::unistd::{AccessFlags, eaccess};

use super::report::{Report, State};
use super::{Confinement, Demand, PrivilegeError, kernel};

/// The version of the rules. A later one would forbid more, without a test, such as access to systemd's notification
/// socket by its path.
const RULES: ABI = ABI::V7;

/// What every process reads besides its program file (for the names in a backtrace): its own counts, and when the system
/// was started, for the start time of the process.
const OWN: [&str; 2] = ["/proc/self", "/proc/stat"];

/// Checks that the paths exist, before anything is given up.
pub(super) fn check_presence(confinement: &Confinement) -> Result<(), PrivilegeError> {
    for (path, wanted) in paths(confinement) {
        fs::metadata(path).map_err(|source| {
            let mend = match wanted {
                FileUse::Read => "create it, or remove it from the configuration".to_owned(),
                FileUse::Write => format!("create it: install -d -m 750 {}{}", owner(confinement), path.display()),
            };
            PrivilegeError::Path { path: path.clone(), doing: "be found", source, mend }
        })?;
    }
    Ok(())
}

/// Checks that the new user can use the paths. Otherwise a file that cannot be opened after its rotation would be
/// noticed days later.
pub(super) fn check_reach(report: &mut Report, confinement: &Confinement) -> Result<(), PrivilegeError> {
    let user = confinement.user.as_deref().unwrap_or("this user");
    for (path, wanted) in paths(confinement) {
        let folder = path.is_dir();
        let search = if folder { AccessFlags::X_OK } else { AccessFlags::empty() };
        // The mend is no command: others may use the path too.
        let (flags, doing) = match wanted {
            FileUse::Read => (AccessFlags::R_OK | search, "be read"),
            FileUse::Write => (AccessFlags::R_OK | AccessFlags::W_OK | search, "be written"),
        };
        eaccess(path.as_path(), flags).map_err(|error| PrivilegeError::Path {
            path: path.clone(),
            doing,
            source: io::Error::from(error),
            mend: format!(
                "name one that belongs to {user}, such as /var/log/vigie for events and /etc/vigie for the rest"
            ),
        })?;
    }
    let count = confinement.readable.len() + confinement.writable.len();
    report.push("paths", State::Done, format!("{count} can be used without privileges"));
    Ok(())
}

/// Enforces the rules.
pub(super) fn restrict(report: &mut Report, confinement: &Confinement) -> Result<(), PrivilegeError> {
    if confinement.landlock == Demand::Off {
        report.push("landlock", State::Off, "files are protected by their permissions only");
        return Ok(());
    }
    let created = ruleset().map_err(|error| broken(&error))?;
    let created = allow_files(created, confinement)?;
    let created = allow_ports(created, confinement).map_err(|error| broken(&error))?;
    let status = created.restrict_self().map_err(|error| broken(&error))?;
    let (state, detail) = outcome(&status, confinement);
    match (&state, confinement.landlock) {
        (State::Unavailable(reason), Demand::Required) => {
            Err(PrivilegeError::Lacking { measure: "landlock", reason: reason.clone() })
        }
        _ => {
            report.push("landlock", state, detail);
            Ok(())
        }
    }
}

/// What can be enforced here.
pub(super) fn probe(report: &mut Report) {
    match kernel::landlock_version() {
        Ok(version) => report.push("landlock", State::Available, in_words(version)),
        Err(error) => report.push("landlock", State::Unavailable(why_not(error.raw_os_error())), ""),
    }
}

/// Restricts everything that can be restricted; exceptions are added afterwards.
fn ruleset() -> Result<RulesetCreated, landlock::RulesetError> {
    Ruleset::default()
        .handle_access(AccessFs::from_all(RULES))?
        .handle_access(AccessNet::from_all(RULES))?
        .scope(Scope::from_all(RULES))?
        .create()
}

fn allow_files(mut created: RulesetCreated, confinement: &Confinement) -> Result<RulesetCreated, PrivilegeError> {
    let program = std::env::current_exe().ok();
    let own = OWN.iter().map(PathBuf::from).chain(program).filter(|path| path.exists());
    for path in own {
        let descriptor = open(&path)?;
        created = allow(created, &descriptor, AccessFs::ReadFile | AccessFs::ReadDir, &path)?;
        if path.starts_with("/proc") {
            // When memory is short, the kernel drops the inodes of these folders and makes new ones later, to which the
            // rule would not apply. It keeps those that are open.
            std::mem::forget(descriptor);
        }
    }
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let write = read | AccessFs::WriteFile | AccessFs::Truncate | AccessFs::MakeReg | AccessFs::RemoveFile;
    for (path, wanted) in paths(confinement) {
        let access = match wanted {
            FileUse::Read => read,
            FileUse::Write => write,
        };
        let descriptor = open(path)?;
        created = allow(created, &descriptor, access, path)?;
    }
    Ok(created)
}

fn allow(
    created: RulesetCreated,
    descriptor: &PathFd,
    access: BitFlags<AccessFs>,
    path: &Path,
) -> Result<RulesetCreated, PrivilegeError> {
    let folder = path.is_dir();
    let access = if folder { access } else { access & AccessFs::from_file(RULES) };
    created.add_rule(PathBeneath::new(descriptor, access)).map_err(|error| PrivilegeError::Path {
        path: path.to_owned(),
        doing: "be allowed",
        source: io::Error::other(error.to_string()),
        mend: "turn landlock off if this file system does not support it".to_owned(),
    })
}

fn open(path: &Path) -> Result<PathFd, PrivilegeError> {
    PathFd::new(path).map_err(|error| PrivilegeError::Path {
        path: path.to_owned(),
        doing: "be opened",
        source: io::Error::other(error.to_string()),
        mend: "check the permissions of the folders above it".to_owned(),
    })
}

fn allow_ports(created: RulesetCreated, confinement: &Confinement) -> Result<RulesetCreated, landlock::RulesetError> {
    let bind = confinement.tcp_bind.iter().map(|port| NetPort::new(*port, AccessNet::BindTcp));
    let connect = confinement.tcp_connect.iter().map(|port| NetPort::new(*port, AccessNet::ConnectTcp));
    bind.chain(connect).try_fold(created, RulesetCreated::add_rule)
}

fn outcome(status: &RestrictionStatus, confinement: &Confinement) -> (State, String) {
    if status.ruleset == RulesetStatus::NotEnforced {
        let reason = match status.landlock {
            LandlockStatus::NotEnabled => why_not(Some(libc::EOPNOTSUPP)),
            _ => why_not(Some(libc::ENOSYS)),
        };
        return (State::Unavailable(reason), String::new());
    }
    let version = match status.landlock {
        LandlockStatus::Available { effective_abi, kernel_abi } => kernel_abi.unwrap_or(effective_abi as i32),
        _ => 0,
    };
    let Confinement { readable, writable, tcp_bind, tcp_connect, .. } = confinement;
    let ports = format!("may listen on TCP ports {tcp_bind:?} and connect to {tcp_connect:?}");
    let detail = format!("{}; reads {} paths, writes {}, {ports}", in_words(version), readable.len(), writable.len());
    (State::Done, detail)
}

/// What this version enforces.
fn in_words(version: i32) -> String {
    let parts = [(3, "truncation"), (4, "TCP ports"), (6, "signals and abstract sockets")];
    let missing: Vec<&str> = parts.iter().filter(|(since, _)| version < *since).map(|(_, what)| *what).collect();
    match missing.is_empty() {
        true => format!("version {version}: files, TCP ports, signals and abstract sockets"),
        false => format!("version {version}: files, but this kernel is too old for {}", missing.join(", ")),
    }
}

fn why_not(error: Option<i32>) -> String {
    match error {
        Some(libc::EOPNOTSUPP) => "not enabled; add landlock to the kernel's lsm= parameter".to_owned(),
        Some(libc::EPERM) => "its version cannot be read by this process".to_owned(),
        _ => "not in this kernel; it needs Linux 5.13 with CONFIG_SECURITY_LANDLOCK".to_owned(),
    }
}

#[derive(Clone, Copy)]
enum FileUse {
    Read,
    Write,
}

fn paths(confinement: &Confinement) -> impl Iterator<Item = (&PathBuf, FileUse)> {
    let readable = confinement.readable.iter().map(|path| (path, FileUse::Read));
    readable.chain(confinement.writable.iter().map(|path| (path, FileUse::Write)))
}

/// The options of install(1) that give a folder to the user.
fn owner(confinement: &Confinement) -> String {
    confinement.user.as_ref().map(|user| format!("-o {user} ")).unwrap_or_default()
}

fn broken(error: &landlock::RulesetError) -> PrivilegeError {
    PrivilegeError::System { doing: "restrict files", source: io::Error::other(error.to_string()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_paths_are_reported_with_a_mend() {
        let folder = tempfile::tempdir().unwrap();
        let user = Some("vigie".to_owned());
        let missing = folder.path().join("events");
        let confinement = Confinement { user, writable: vec![missing.clone()], ..Confinement::default() };
        let error = check_presence(&confinement).unwrap_err().to_string();
        assert!(error.contains(&format!("install -d -m 750 -o vigie {}", missing.display())), "{error}");
        fs::create_dir(&missing).unwrap();
        check_presence(&confinement).unwrap();
        let confinement = Confinement { readable: vec![folder.path().join("signatures")], ..confinement };
        assert!(check_presence(&confinement).unwrap_err().to_string().contains("signatures cannot be found"));
    }

    #[test]
    fn the_limits_of_an_old_kernel_are_reported() {
        assert!(in_words(2).contains("too old for truncation, TCP ports, signals"));
        assert!(in_words(5).contains("too old for signals"));
        assert!(!in_words(7).contains("too old"));
        assert!(why_not(Some(libc::EOPNOTSUPP)).contains("lsm="));
    }
}
