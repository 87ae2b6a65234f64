//! Files with keys: they are used only if nobody but root or their user can read them.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use nix::fcntl::OFlag;
use nix::unistd::{User, geteuid};

/// A larger file holds no keys.
const BYTES_MAX: u64 = 1 << 20;
/// What a group may do with a file, and what others may.
const GROUP: u32 = 0o070;
const OTHERS: u32 = 0o007;
/// A group may read.
const GROUP_READS: u32 = 0o040;

/// Why a file with a key is not used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretError {
    /// What is wrong, as the end of a sentence that begins with the file.
    pub what: String,
    /// What would mend it.
    pub mend: String,
}

/// Reads a file with a key. `user` may own it, besides root and the user of this process.
///
/// # Errors
/// It cannot be read, or others can read or change it.
pub fn read_secret(path: &Path, user: Option<&str>) -> Result<String, SecretError> {
    let wrong = |what: String, mend: String| SecretError { what, mend };
    let cannot = |error: &io::Error| match error.kind() {
        io::ErrorKind::NotFound => {
            let mend = "make it with 'vigie privacy key', or set privacy.key_file to its path";
            wrong("does not exist".to_owned(), mend.to_owned())
        }
        _ => wrong(format!("cannot be read: {error}"), "check its owner and permissions".to_owned()),
    };
    // A pipe would block.
    let flags = OFlag::O_NONBLOCK.bits();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(|error| cannot(&error))?;
    check(path, &file, user, &cannot)?;
    let mut text = String::new();
    match file.take(BYTES_MAX).read_to_string(&mut text) {
        Ok(_) => Ok(text),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            Err(wrong("is not text".to_owned(), "is it the right file?".to_owned()))
        }
        Err(error) => Err(cannot(&error)),
    }
}

fn check(
    path: &Path,
    file: &File,
    user: Option<&str>,
    cannot: &dyn Fn(&io::Error) -> SecretError,
) -> Result<(), SecretError> {
    let metadata = file.metadata().map_err(|error| cannot(&error))?;
    let wrong = |what: &str, mend: String| Err(SecretError { what: what.to_owned(), mend });
    if !metadata.is_file() || metadata.len() >= BYTES_MAX {
        return wrong("is no file with keys", "is it the right file?".to_owned());
    }
    let owner = metadata.uid();
    let is_of_user =
        || user.and_then(|name| User::from_name(name).ok().flatten()).is_some_and(|user| user.uid.as_raw() == owner);
    if owner != 0 && owner != geteuid().as_raw() && !is_of_user() {
        return wrong("belongs to another user", "give it to root, or to the user of the sensor".to_owned());
    }
    let mode = metadata.mode();
    // systemd lets the service read its credentials by an access control list, whose mask stands in the bits of the group.
    let is_credential = super::credentials_folder().is_some_and(|folder| path.starts_with(folder));
    let of_group = mode & GROUP & if is_credential { !GROUP_READS } else { !0 };
    if mode & OTHERS != 0 || of_group != 0 {
        let mend = "let only its owner read it, as mode 0400 does".to_owned();
        return wrong("can be read or changed by others than its owner", mend);
    }
    Ok(())
}
