//! Users and groups, and their access to files by permission bits. Access control lists are not read.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

/// A user and its groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) user: u32,
    pub(super) groups: Vec<u32>,
}

/// Search permission on a folder.
pub(super) const SEARCH: u32 = 0o1;
/// Write permission.
pub(super) const WRITE: u32 = 0o2;
/// Read permission.
pub(super) const READ: u32 = 0o4;

impl Account {
    /// The user of that name, with `group` as its main group unless empty. `Err` names what does not exist.
    pub(super) fn find(user: &str, group: &str) -> Result<Self, String> {
        let entry = entry("passwd", user).ok_or_else(|| format!("user \"{user}\""))?;
        let number = |place: usize| entry.split(':').nth(place).and_then(|field| field.parse().ok());
        let (Some(id), Some(own)) = (number(2), number(3)) else { return Err(format!("user \"{user}\"")) };
        let own = match group {
            "" => own,
            group => self::group(group).ok_or_else(|| format!("group \"{group}\""))?,
        };
        let mut groups = vec![own];
        groups.extend(memberships(user, &fs::read_to_string("/etc/group").unwrap_or_default()));
        Ok(Self { user: id, groups })
    }

    /// Whether the user has all of the `wanted` permissions on a file or folder; the superuser has them all.
    pub(super) fn may(&self, path: &Path, wanted: u32) -> bool {
        let Ok(file) = fs::metadata(path) else { return false };
        let shift = match () {
            () if self.user == 0 => return true,
            () if file.uid() == self.user => 6,
            () if self.groups.contains(&file.gid()) => 3,
            () => 0,
        };
        file.mode() >> shift & wanted == wanted
    }

    /// Whether the user can reach `path`: it has search permission on every folder above.
    pub(super) fn reaches(&self, path: &Path) -> bool {
        path.ancestors().skip(1).filter(|folder| !folder.as_os_str().is_empty()).all(|folder| self.may(folder, SEARCH))
    }
}

fn group(name: &str) -> Option<u32> {
    entry("group", name)?.split(':').nth(2)?.parse().ok()
}

/// An entry of a database, from all sources of the machine (getent(1)), or else from its file in /etc.
fn entry(database: &str, name: &str) -> Option<String> {
    let output = Command::new("getent").args(["--", database, name]).output();
    if let Ok(output) = output
        && output.status.success()
    {
        return String::from_utf8(output.stdout).ok()?.lines().next().map(str::to_owned);
    }
    let text = fs::read_to_string(Path::new("/etc").join(database)).ok()?;
    text.lines().find(|line| line.split(':').next() == Some(name)).map(str::to_owned)
}

/// The groups that list `user` as a member.
fn memberships(user: &str, text: &str) -> Vec<u32> {
    let is_in = |line: &&str| line.rsplit(':').next().is_some_and(|members| members.split(',').any(|one| one == user));
    text.lines().filter(is_in).filter_map(|line| line.split(':').nth(2)?.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn users_are_found_and_missing_ones_named() {
        assert_eq!(Account::find("root", "").unwrap().user, 0);
        assert_eq!(Account::find("no-such-user", "").unwrap_err(), "user \"no-such-user\"");
        assert_eq!(Account::find("root", "no-such-group").unwrap_err(), "group \"no-such-group\"");
        assert_eq!(memberships("ann", "a:x:1:ann\nb:x:2:bob,ann\nc:x:3:anna\n"), [1, 2]);
    }

    #[test]
    fn permissions_are_those_of_owner_group_or_others() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("f");
        fs::write(&file, "").unwrap();
        let own = fs::metadata(&file).unwrap();
        let account = |user, group| Account { user, groups: vec![group] };
        fs::set_permissions(&file, fs::Permissions::from_mode(0o642)).unwrap();
        let stranger = account(own.uid() + 1, own.gid() + 1);
        let member = account(own.uid() + 1, own.gid());
        assert!(!stranger.may(&file, READ) && stranger.may(&file, WRITE));
        assert!(member.may(&file, READ) && !member.may(&file, WRITE));
        assert!(account(0, 0).may(&file, READ | WRITE | SEARCH));
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o750)).unwrap();
        assert!(!stranger.reaches(&file) && member.reaches(&file));
        assert!(!member.may(&folder.path().join("none"), READ));
    }
}
