//! What texts of settings must be: each rule says what is wrong and what mends it.

use super::typed::toml_text;

type Verdict = Result<(), (String, String)>;

/// Bytes of an interface's name, one less than IFNAMSIZ (netdevice(7)).
const INTERFACE_BYTES_MAX: usize = 15;
/// Bytes of a user's or group's name (useradd(8)).
const ACCOUNT_BYTES_MAX: usize = 32;
/// Bytes of a path, one less than PATH_MAX (limits.h(0p)).
const PATH_BYTES_MAX: usize = 4095;

fn refuse(what: &str, mend: impl Into<String>) -> Verdict {
    Err((what.to_owned(), mend.into()))
}

/// The name of this sensor.
pub(super) fn sensor_name(text: &str) -> Verdict {
    match () {
        () if text.len() > 255 => refuse("too long", "give at most 255 characters"),
        () if text.chars().any(char::is_control) => refuse("has control characters", "leave them out"),
        () => Ok(()),
    }
}

/// Text that fits on a line.
pub(super) fn printable(text: &str) -> Verdict {
    match () {
        () if text.len() > 65_536 => refuse("too long", "give at most 65536 bytes"),
        () if text.contains('\0') => refuse("has a zero byte", "leave it out"),
        () => Ok(()),
    }
}

/// The name of an interface: what the kernel takes for one (`dev_valid_name`).
pub(super) fn interface(text: &str) -> Verdict {
    let mend = "'vigie interfaces' lists them";
    match () {
        () if text.is_empty() => refuse("no interface has an empty name", mend),
        () if text.len() > INTERFACE_BYTES_MAX => refuse("too long for an interface", mend),
        () if text == "." || text == ".." => refuse("no name of an interface", mend),
        () if text.contains(|c: char| c.is_whitespace() || c.is_control() || matches!(c, '/' | ':')) => {
            refuse("no name of an interface", mend)
        }
        () => Ok(()),
    }
}

/// A path from the root on.
pub(super) fn absolute(text: &str) -> Verdict {
    match () {
        () if text.contains('\0') => refuse("has a zero byte", "leave it out"),
        () if text.len() > PATH_BYTES_MAX => refuse("too long for a path", "give at most 4095 bytes"),
        () if !text.starts_with('/') => {
            refuse("expected a path that begins with /", format!("write {}", toml_text(&format!("/…/{text}"))))
        }
        () => Ok(()),
    }
}

/// A file from the root on, or the standard output.
pub(super) fn output(text: &str) -> Verdict {
    match text {
        "-" => Ok(()),
        "" => refuse("no file", "write a path, or \"-\" for the standard output"),
        text if text.ends_with('/') => {
            refuse("a folder, not a file", format!("write {}", toml_text(&format!("{text}eve.json"))))
        }
        text => absolute(text),
    }
}

/// The name of a user.
pub(super) fn account(text: &str) -> Verdict {
    match text {
        "" => refuse("no user", "write \"vigie\", or another user without privileges"),
        text => group(text),
    }
}

/// The name of a group, or nothing.
pub(super) fn group(text: &str) -> Verdict {
    let odd = |c: char| c.is_whitespace() || c.is_control() || matches!(c, ':' | '/' | ',');
    match () {
        () if text.len() > ACCOUNT_BYTES_MAX => refuse("too long for a name", "give at most 32 characters"),
        () if text.contains(odd) || text.starts_with('-') => refuse("no name of a user or group", "see getent(1)"),
        () => Ok(()),
    }
}
