//! What keeps the XDP program from being loaded or attached, in words, and what mends it.

use std::fmt;
use std::io;

use super::program::Purpose;
use crate::CaptureError;

/// Why the kernel does not load the program.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) error: io::Error,
    /// What it says of the instructions.
    pub(super) log: String,
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        Self { error, log: String::new() }
    }
}

impl Refusal {
    /// Whether another user might be let.
    pub(super) fn is_lack_of_rights(&self) -> bool {
        matches!(self.error.raw_os_error(), Some(libc::EPERM | libc::EACCES))
    }

    /// As the error of an interface.
    pub(super) fn of(&self, name: &str, purpose: Purpose) -> CaptureError {
        let (program, otherwise) = (purpose.program(), purpose.otherwise());
        let rights = || {
            let unit = "systemctl enable vigie-xdp.service && systemctl restart vigie";
            let why = "'journalctl -u vigie-xdp' says why, if it is enabled";
            format!("{unit} ({why}), or start as root or with CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON, or {otherwise}")
        };
        let is_old = self.log.is_empty() || ["unknown func", "invalid func"].iter().any(|said| self.log.contains(said));
        let (reason, mend) = match self.error.raw_os_error() {
            Some(libc::EPERM) => (format!("no permission to load {program}"), rights()),
            // The verifier refuses arithmetic with addresses to those who lack CAP_PERFMON.
            Some(libc::EACCES) => (format!("the kernel refuses {program}: {}", self.last_line()), rights()),
            Some(libc::EINVAL | libc::ENOSYS) if is_old => {
                (format!("this kernel does not load {program}; it needs {}", purpose.kernel()), otherwise.to_owned())
            }
            Some(libc::ENOMEM) => {
                ("no memory for the shunt's table".to_owned(), "make limits.shunt_flows_max smaller".to_owned())
            }
            _ => (format!("{program} cannot be loaded: {}: {}", self.error, self.last_line()), otherwise.to_owned()),
        };
        error(name, &reason, mend)
    }

    /// The last line of what the kernel says; statistics come behind it.
    fn last_line(&self) -> &str {
        let mut lines = self.log.lines().rev().map(str::trim);
        lines.find(|line| !line.is_empty() && !line.starts_with("processed ")).unwrap_or("it gives no reason")
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, text: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(text, "{}: {}", self.error, self.last_line())
    }
}

impl std::error::Error for Refusal {}

/// Why the program cannot be attached to an interface.
pub(super) fn not_attached(name: &str, cause: io::Error, purpose: Purpose) -> CaptureError {
    let otherwise = purpose.otherwise();
    match cause.raw_os_error() {
        Some(libc::EBUSY) => {
            let mend = format!("end the program that attached it ('ip link' shows it), or {otherwise}");
            error(name, "another XDP program is attached to it", mend)
        }
        Some(libc::EOPNOTSUPP) => {
            let reason = format!("its driver cannot run {}", purpose.program());
            error(name, &reason, format!("{otherwise}; the generic mode, which any driver has, does not pay"))
        }
        _ => Refusal::from(cause).of(name, purpose),
    }
}

/// The error of an interface.
pub(super) fn error(name: &str, reason: &str, mend: impl Into<String>) -> CaptureError {
    CaptureError::Interface { interface: name.to_owned(), reason: reason.to_owned(), mend: mend.into() }
}
