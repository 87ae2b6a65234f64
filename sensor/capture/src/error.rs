//! Errors of capture files and interfaces.

use std::io;
use std::path::PathBuf;

/// Why a capture cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// The file is missing or unreadable.
    #[error("{}: {source}", file.display())]
    Io {
        /// Which file.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// No file has a name of that pattern, or it is none.
    #[error("{pattern}: {reason}")]
    Pattern {
        /// As given.
        pattern: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The file is no capture.
    #[error("{}: not a pcap or pcapng capture: {seen}", file.display())]
    NotACapture {
        /// Which file.
        file: PathBuf,
        /// What stands in it instead.
        seen: String,
    },
    /// The frames of the file begin with a header that is not understood.
    #[error("{}: link type {number} ({name}) is not supported", file.display())]
    LinkType {
        /// Which file.
        file: PathBuf,
        /// The link type's number in capture files.
        number: u16,
        /// The link type's name.
        name: &'static str,
    },
    /// The filter expression cannot be compiled.
    #[error("filter '{expression}' cannot be used on link type {link_type}: {reason}")]
    Filter {
        /// As given.
        expression: String,
        /// The name of the link type for which it was compiled.
        link_type: &'static str,
        /// What the compiler said.
        reason: String,
    },
    /// An interface cannot be captured.
    #[error("interface {interface}: {reason}; {mend}")]
    Interface {
        /// Which.
        interface: String,
        /// What is wrong.
        reason: String,
        /// What would mend it.
        mend: String,
    },
    /// An option of live capture makes no sense.
    #[error("{option}: {reason}")]
    Option {
        /// Which.
        option: String,
        /// What is wrong, and what would be right.
        reason: String,
    },
}
