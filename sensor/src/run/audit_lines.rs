//! Copies the lines of the audit to the journal, so that receivers learn of reveals, changes of policy and new keys. Other
//! commands append to the audit as well, so its file is read and not what this process tells it.
//!
//! A line is copied once; after a crash perhaps twice.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use vigie_journal::replace_file;

use crate::audit::Audit;

/// How often the audit is read.
const READ_EVERY: Duration = Duration::from_secs(1);
/// The file in the journal's folder that says how far it was copied.
const CURSOR: &str = "audit.cursor";
/// Its permissions: nobody else reads it.
const CURSOR_MODE: u32 = 0o600;

/// A reader of the audit.
pub struct AuditLines {
    audit: Arc<Audit>,
    cursor: PathBuf,
    offset: u64,
    saved: u64,
    read: Option<Instant>,
}

impl AuditLines {
    /// From where the last run has stopped. `folder` is that of the journal.
    pub fn new(audit: Arc<Audit>, folder: &std::path::Path) -> Self {
        let cursor = folder.join(CURSOR);
        let offset = fs::read_to_string(&cursor).ok().and_then(|text| text.trim().parse().ok()).unwrap_or_default();
        Self { audit, cursor, offset, saved: offset, read: None }
    }

    /// Whole lines that were added, at most once a second; `is_over` reads them at once.
    pub fn take(&mut self, is_over: bool) -> Vec<u8> {
        if !is_over && self.read.is_some_and(|read| read.elapsed() < READ_EVERY) {
            return Vec::new();
        }
        self.read = Some(Instant::now());
        // A file that cannot be read is told where the audit is written.
        let lines = self.audit.lines_from(&mut self.offset).unwrap_or_default();
        self.offset += lines.len() as u64;
        lines
    }

    /// Remembers how far it was copied. The journal is to be synced before.
    pub fn save(&mut self) {
        if self.saved != self.offset {
            let text = format!("{}\n", self.offset);
            if replace_file(&self.cursor, CURSOR_MODE, &[text.as_bytes()]).is_ok() {
                self.saved = self.offset;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::AuditEvent;

    #[test]
    fn every_line_of_the_audit_is_copied_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        let audit = Arc::new(Audit::open(&path, None).unwrap());
        let tell = |id: &str| audit.write(&AuditEvent::PolicyChanged { before: "", after: id }).unwrap();
        let texts = |lines: Vec<u8>| String::from_utf8(lines).unwrap().lines().count();
        let mut lines = AuditLines::new(Arc::clone(&audit), folder.path());
        tell("1");
        tell("2");
        assert_eq!(texts(lines.take(false)), 2);
        tell("3");
        assert_eq!(texts(lines.take(false)), 0, "not before a second has passed");
        assert_eq!(texts(lines.take(true)), 1);
        lines.save();
        // Half a line waits for its end.
        let mut torn = fs::OpenOptions::new().append(true).open(&path).unwrap();
        std::io::Write::write_all(&mut torn, b"{\"half\":").unwrap();
        let mut lines = AuditLines::new(Arc::clone(&audit), folder.path());
        assert_eq!(texts(lines.take(true)), 0);
        // Somebody began the file anew.
        torn.set_len(0).unwrap();
        tell("4");
        let copied = String::from_utf8(lines.take(true)).unwrap();
        assert!(copied.contains("\"policy\":[\"4\"]") && copied.lines().count() == 1, "{copied}");
    }
}
