//! What a value must be besides its type, and the rules for text that several programs need.

use crate::toml_text;

/// Longest path in bytes, one less than PATH_MAX (limits.h(0p)).
const PATH_BYTES_MAX: usize = 4095;
/// Longest name of a user or group in bytes (useradd(8)).
const ACCOUNT_BYTES_MAX: usize = 32;
/// Longest text on one line in bytes.
const LINE_BYTES_MAX: usize = 65_536;

/// What a value must be besides its type.
#[derive(Clone, Copy, Debug)]
pub enum Rule {
    /// No further condition.
    Any,
    /// A number from the first to the second.
    Range(u64, u64),
    /// A text that passes the check; the words describe it.
    Text(&'static str, TextRule),
}

/// Checks a text; an error is what is wrong and what mends it.
pub type TextRule = fn(&str) -> Result<(), (String, String)>;

fn refuse(what: &str, mend: impl Into<String>) -> Result<(), (String, String)> {
    Err((what.to_owned(), mend.into()))
}

/// Text of limited length without zero bytes.
pub fn printable(text: &str) -> Result<(), (String, String)> {
    match () {
        () if text.len() > LINE_BYTES_MAX => refuse("too long", format!("give at most {LINE_BYTES_MAX} bytes")),
        () if text.contains('\0') => refuse("has a zero byte", "remove it"),
        () => Ok(()),
    }
}

/// A path that begins at the root.
pub fn absolute_path(text: &str) -> Result<(), (String, String)> {
    match () {
        () if text.contains('\0') => refuse("has a zero byte", "remove it"),
        () if text.len() > PATH_BYTES_MAX => {
            refuse("too long for a path", format!("give at most {PATH_BYTES_MAX} bytes"))
        }
        () if !text.starts_with('/') => {
            refuse("expected a path that begins with /", format!("write {}", toml_text(&format!("/…/{text}"))))
        }
        () => Ok(()),
    }
}

/// The name of a user or group, or empty text.
pub fn account_name(text: &str) -> Result<(), (String, String)> {
    let is_odd = |c: char| c.is_whitespace() || c.is_control() || matches!(c, ':' | '/' | ',');
    match () {
        () if text.len() > ACCOUNT_BYTES_MAX => {
            refuse("too long for a name", format!("give at most {ACCOUNT_BYTES_MAX} characters"))
        }
        () if text.contains(is_odd) || text.starts_with('-') => {
            refuse("not a name of a user or group", "see getent(1)")
        }
        () => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_refused_with_what_mends_them() {
        for (rule, text, what) in [
            (printable as TextRule, "a\0b", "has a zero byte"),
            (printable, &"a".repeat(65_537), "too long"),
            (absolute_path, "etc/x", "expected a path that begins with /"),
            (absolute_path, &"/a".repeat(2_048), "too long for a path"),
            (absolute_path, "/a\0", "has a zero byte"),
            (account_name, "a:b", "not a name of a user or group"),
            (account_name, "-a", "not a name of a user or group"),
            (account_name, &"a".repeat(33), "too long for a name"),
        ] {
            let (found, mend) = rule(text).unwrap_err();
            assert_eq!(found, what, "{text:.40}");
            assert!(!mend.is_empty());
        }
        for (rule, text) in [
            (printable as TextRule, "tcp port 443"),
            (absolute_path, "/etc/x"),
            (account_name, "vigie"),
            (account_name, ""),
        ] {
            assert_eq!(rule(text), Ok(()), "{text}");
        }
    }
}
