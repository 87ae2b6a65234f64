//! Why events could not be sent: the kind, for metrics, and one line for people.

use std::io;
use std::time::Duration;

vigie_config::choices! {
    /// Kinds of errors, as the label `kind` of the metric has them.
    ErrorKind {
        /// The journal cannot be read.
        Journal = "journal",
        /// How far the receiver is cannot be saved, or a file of the program's own cannot be read.
        State = "state",
        /// The name of the host is unknown.
        UnknownHost = "unknown_host",
        /// There is no connection, or it broke.
        Connection = "connection",
        /// Nothing happened for too long.
        Timeout = "timeout",
        /// The server's certificate, or ours, is refused.
        Certificate = "certificate",
        /// User, password or token are refused, or cannot be read.
        Credentials = "credentials",
        /// The receiver has too much to do, and asks to try later.
        Busy = "busy",
        /// The receiver rejects events, or answers what is not expected.
        Rejected = "rejected",
        /// A file cannot be written for want of permission.
        Permission = "permission",
        /// A file or socket cannot be written.
        Write = "write",
    }
}

/// Why events could not be sent. No text has a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SendError {
    /// What kind of error it is.
    pub kind: ErrorKind,
    /// One line for people: what is wrong, and what mends it.
    pub message: String,
    /// When the receiver wants to be asked again.
    pub retry_after: Option<Duration>,
    /// A connection broke on which events were sent: the receiver may have lost what it acknowledged last.
    pub is_broken: bool,
}

impl SendError {
    /// An error.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), retry_after: None, is_broken: false }
    }

    /// A file cannot be opened or written.
    pub fn file(path: &std::path::Path, error: &io::Error) -> Self {
        let (kind, mend) = match error.kind() {
            io::ErrorKind::PermissionDenied => {
                (ErrorKind::Permission, "give this program's user the right to write there")
            }
            io::ErrorKind::ReadOnlyFilesystem => (
                ErrorKind::Permission,
                "name a file on a file system that can be written (ReadWritePaths= of the unit, if it runs as one)",
            ),
            io::ErrorKind::NotFound => (ErrorKind::Write, "make its folder"),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => (ErrorKind::Write, "make room on the disk"),
            _ => (ErrorKind::Write, "check the disk"),
        };
        Self::new(kind, format!("cannot write {}: {}; {mend}", path.display(), plain(error)))
    }

    /// A connection cannot be made, or broke.
    pub fn connection(server: &str, error: &io::Error) -> Self {
        let kind = match error.kind() {
            io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => ErrorKind::Timeout,
            _ => ErrorKind::Connection,
        };
        let mend = match error.kind() {
            io::ErrorKind::ConnectionRefused => {
                "; nothing listens there: check host and port, and that the server runs"
            }
            io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => "; check the way there and its firewalls",
            _ => "",
        };
        Self::new(kind, format!("{server}: {}{mend}", plain(error)))
    }
}

/// The error in words, without the number that the standard library adds.
pub fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    let words = without_number(&text);
    let mut characters = words.chars();
    match characters.next() {
        Some(first) if characters.clone().next().is_some_and(char::is_lowercase) => {
            first.to_lowercase().chain(characters).collect()
        }
        _ => words.to_owned(),
    }
}

/// A text without the number of the system's error at its end.
pub fn without_number(text: &str) -> &str {
    text.split(" (os error").next().unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_listed() {
        let words: Vec<&str> = ErrorKind::ALL.iter().map(|kind| kind.as_str()).collect();
        assert_eq!(words, ErrorKind::WORDS);
    }

    #[test]
    fn errors_say_what_mends_them() {
        let error = SendError::file("/x".as_ref(), &io::Error::from_raw_os_error(30));
        assert_eq!(error.kind, ErrorKind::Permission);
        assert!(error.message.starts_with("cannot write /x: read-only file system; name a file"), "{error}");
        let error = SendError::connection("siem:6514", &io::Error::from_raw_os_error(111));
        assert!(error.message.starts_with("siem:6514: connection refused; nothing listens there"), "{error}");
    }
}
