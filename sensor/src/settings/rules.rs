//! Rules for the sensor's texts: each says what is wrong and what mends it.

use vigie_config::{absolute_path, account_name, toml_text};

type Checked = Result<(), (String, String)>;

/// Longest name of an interface in bytes, one less than IFNAMSIZ (netdevice(7)).
const INTERFACE_BYTES_MAX: usize = 15;
/// Longest name of a sensor in bytes.
const SENSOR_NAME_BYTES_MAX: usize = 255;

fn refuse(what: &str, mend: impl Into<String>) -> Checked {
    Err((what.to_owned(), mend.into()))
}

/// The name of this sensor.
pub(super) fn sensor_name(text: &str) -> Checked {
    match () {
        () if text.len() > SENSOR_NAME_BYTES_MAX => {
            refuse("too long", format!("give at most {SENSOR_NAME_BYTES_MAX} characters"))
        }
        () if text.chars().any(char::is_control) => refuse("has control characters", "remove them"),
        () => Ok(()),
    }
}

/// The name of an interface, as the kernel accepts it (`dev_valid_name`).
pub(super) fn interface(text: &str) -> Checked {
    let mend = "'vigie interfaces' lists them";
    match () {
        () if text.is_empty() => refuse("no interface has an empty name", mend),
        () if text.len() > INTERFACE_BYTES_MAX => refuse("too long for an interface", mend),
        () if text == "." || text == ".." => refuse("not a name of an interface", mend),
        () if text.contains(|c: char| c.is_whitespace() || c.is_control() || matches!(c, '/' | ':')) => {
            refuse("not a name of an interface", mend)
        }
        () => Ok(()),
    }
}

/// An absolute path of a file, or `-` for the standard output.
pub(super) fn output(text: &str) -> Checked {
    match text {
        "-" => Ok(()),
        "" => refuse("empty", "write a path, or \"-\" for the standard output"),
        text if text.ends_with('/') => {
            refuse("a folder, not a file", format!("write {}", toml_text(&format!("{text}eve.json"))))
        }
        text => absolute_path(text),
    }
}

/// The name of a user.
pub(super) fn user(text: &str) -> Checked {
    match text {
        "" => refuse("empty", "write \"vigie\", or another user without privileges"),
        text => account_name(text),
    }
}
