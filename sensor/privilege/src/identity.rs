//! User, groups and capabilities of the process, and whether its memory can be read (credentials(7), capabilities(7)).

use std::io;

use caps::{CapSet, Capability};
use nix::unistd::{Gid, Group, Uid, User, setgroups, setresgid, setresuid};

use super::report::{Report, State};
use super::status::Status;
use super::{Confinement, PrivilegeError};

/// The user and group to change to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    user: Uid,
    group: Gid,
    name: String,
}

impl Identity {
    /// Looks the names up; `None` if no user is named.
    pub(super) fn wanted(confinement: &Confinement) -> Result<Option<Self>, PrivilegeError> {
        let Some(name) = &confinement.user else { return Ok(None) };
        let user = User::from_name(name).map_err(|error| system("look up the user", error))?;
        let user = user.ok_or_else(|| PrivilegeError::NoSuchUser { user: name.clone() })?;
        let group = match &confinement.group {
            None => user.gid,
            Some(group) => {
                let found = Group::from_name(group).map_err(|error| system("look up the group", error))?;
                found.ok_or_else(|| PrivilegeError::NoSuchGroup { group: group.clone() })?.gid
            }
        };
        Ok(Some(Self { user: user.uid, group, name: user.name }))
    }
}

/// Ensures that no program that this process executes gains privileges, and that its memory, which may contain other
/// people's packets, does not get into a core file and cannot be read by another process of the same user.
pub(super) fn forbid_new_privileges_and_core_files(report: &mut Report, before: &Status) -> Result<(), PrivilegeError> {
    nix::sys::prctl::set_no_new_privs().map_err(|error| system("set no_new_privs", error))?;
    let state = if before.no_new_privs { State::AlreadySo } else { State::Done };
    report.push("no_new_privs", state, "no program can be executed to gain rights");
    nix::sys::prctl::set_dumpable(false).map_err(|error| system("forbid core files", error))?;
    report.push("core_files", State::Done, "memory can be neither dumped nor traced");
    Ok(())
}

/// Empties the bounding set, where CAP_SETPCAP allows that, then changes groups and user.
pub(super) fn become_unprivileged(
    report: &mut Report,
    wanted: Option<&Identity>,
    before: &Status,
) -> Result<(), PrivilegeError> {
    if has(Capability::CAP_SETPCAP) {
        caps::clear(None, CapSet::Bounding).map_err(|error| broken("empty the bounding set", &error))?;
    }
    let (state, detail) = match wanted {
        // The service manager has changed the user before; the process cannot change back.
        None if before.is(before.user(), before.group()) && before.user() != 0 => (State::AlreadySo, words(before)),
        None => (State::Off, format!("no user is configured; still runs as {}", words(before))),
        Some(identity) if before.is(identity.user.as_raw(), identity.group.as_raw()) => {
            (State::AlreadySo, words(before))
        }
        Some(_) if !(has(Capability::CAP_SETUID) && has(Capability::CAP_SETGID)) => {
            let reason = "changing user needs CAP_SETUID and CAP_SETGID".to_owned();
            (State::Unavailable(reason), format!("remains {}", words(before)))
        }
        Some(identity) => {
            // Groups first: after the change of the user they could no longer be changed.
            setgroups(&[]).map_err(|error| system("leave all groups", error))?;
            let Identity { user, group, name } = identity;
            setresgid(*group, *group, *group).map_err(|error| system("change the group", error))?;
            setresuid(*user, *user, *user).map_err(|error| system("change the user", error))?;
            (State::Done, format!("{name} (user {user}, group {group}, no other groups)"))
        }
    };
    if state == State::Done && !wanted.is_some_and(is_now) {
        return Err(broken("change the user", &"the kernel reports other ids"));
    }
    report.push("user", state, detail);
    Ok(())
}

/// Gives up all capabilities. Those that remain in the bounding set cannot be gained: it only limits what the execution of a
/// program gives, and with no_new_privs that gives none, by a file's capabilities or set-user-ID bit or to root
/// (Documentation/userspace-api/no_new_privs.rst).
pub(super) fn give_up_capabilities(report: &mut Report, before: &Status) -> Result<(), PrivilegeError> {
    // Ambient capabilities disappear with the inheritable ones; old kernels have none.
    for set in [CapSet::Effective, CapSet::Permitted, CapSet::Inheritable] {
        caps::clear(None, set).map_err(|error| broken("give up capabilities", &error))?;
    }
    let after = Status::read().map_err(|source| PrivilegeError::System { doing: "read /proc/self/status", source })?;
    let [inheritable, permitted, effective, _, ambient] = after.capabilities;
    if (inheritable | permitted | effective | ambient) != 0 {
        return Err(broken("give up capabilities", &after.capabilities_in_words()));
    }
    let detail = match after.no_capabilities() {
        true => "none left in any set, including the bounding set".to_owned(),
        false => {
            let bounding = after.capabilities_in_words();
            format!("none left; the bounding set ({bounding}) gives none back, since no_new_privs is set")
        }
    };
    let state = if before.capabilities == after.capabilities { State::AlreadySo } else { State::Done };
    report.push("capabilities", state, detail);
    Ok(())
}

/// What can be given up here.
pub(super) fn probe(report: &mut Report, now: &Status) {
    let state = if now.no_new_privs { State::AlreadySo } else { State::Available };
    report.push("no_new_privs", state, "");
    let dumpable = nix::sys::prctl::get_dumpable().unwrap_or(true);
    report.push("core_files", if dumpable { State::Available } else { State::AlreadySo }, "");
    let may_change = has(Capability::CAP_SETUID) && has(Capability::CAP_SETGID);
    let state = match (may_change, now.user()) {
        (true, _) => State::Available,
        (false, 0) => State::Unavailable("changing user needs CAP_SETUID and CAP_SETGID".to_owned()),
        (false, _) => State::AlreadySo,
    };
    report.push("user", state, words(now));
    let state = if now.no_capabilities() { State::AlreadySo } else { State::Available };
    report.push("capabilities", state, now.capabilities_in_words());
}

/// Whether capture sockets can be opened here.
pub(super) fn probe_capture(report: &mut Report) {
    let state = match has(Capability::CAP_NET_RAW) {
        true => State::Available,
        false => State::Unavailable(
            "opening capture sockets needs CAP_NET_RAW; start the vigie service, or run as root".to_owned(),
        ),
    };
    report.push("capture", state, "");
}

fn has(capability: Capability) -> bool {
    caps::has_cap(None, CapSet::Effective, capability).unwrap_or(false)
}

fn is_now(identity: &Identity) -> bool {
    Status::read()
        .is_ok_and(|now| now.is(identity.user.as_raw(), identity.group.as_raw()) && now.other_groups.is_empty())
}

fn words(status: &Status) -> String {
    let name = User::from_uid(Uid::from_raw(status.user())).ok().flatten().map(|user| user.name);
    let name = name.as_deref().unwrap_or("nameless");
    format!("{name} (user {}, group {})", status.user(), status.group())
}

fn system(doing: &'static str, error: nix::Error) -> PrivilegeError {
    PrivilegeError::System { doing, source: error.into() }
}

fn broken(doing: &'static str, error: &dyn std::fmt::Display) -> PrivilegeError {
    PrivilegeError::System { doing, source: io::Error::other(error.to_string()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_users_and_groups_are_reported_with_a_mend() {
        let confinement = Confinement { user: Some("no-such-user".to_owned()), ..Confinement::default() };
        let error = Identity::wanted(&confinement).unwrap_err().to_string();
        assert!(error.contains("\"no-such-user\"") && error.contains("useradd --system"), "{error}");
        let group = Some("no-such-group".to_owned());
        let confinement = Confinement { user: Some("root".to_owned()), group, ..Confinement::default() };
        let error = Identity::wanted(&confinement).unwrap_err().to_string();
        assert!(error.contains("\"no-such-group\"") && error.contains("groupadd --system"), "{error}");
        let confinement = Confinement { user: Some("root".to_owned()), ..Confinement::default() };
        let wanted = Identity::wanted(&confinement).unwrap().unwrap();
        assert_eq!((wanted.user.as_raw(), wanted.group.as_raw()), (0, 0));
    }
}
