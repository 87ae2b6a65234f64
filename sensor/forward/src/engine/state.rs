//! How far a receiver is: a small file for each, replaced as a whole.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use vigie_journal::{Cursor, replace_file};

/// Permissions of the program's files.
const MODE: u32 = 0o600;
/// Permissions of cursors: the group of the program may see how far receivers are.
const CURSOR_MODE: u32 = 0o640;
/// Largest file that is read.
const STATE_BYTES_MAX: u64 = 64 << 10;

/// How far a receiver is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// After the last line that is the receiver's.
    pub cursor: Cursor,
    /// Bytes of the file of seals that are the receiver's.
    #[serde(default)]
    pub seals_offset: u64,
    /// Where to begin again after the connection broke.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resend_from: Option<Cursor>,
}

/// The file of a receiver's state.
#[derive(Debug)]
pub struct StateFile {
    path: PathBuf,
}

impl StateFile {
    /// The file of this receiver.
    pub fn new(folder: &Path, receiver: &str) -> Self {
        Self { path: folder.join(format!("{receiver}.cursor.json")) }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads it. `None` if there is none yet.
    ///
    /// # Errors
    /// It cannot be read, or is damaged.
    pub fn load(&self) -> io::Result<Option<State>> {
        let size = match fs::metadata(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            metadata => metadata?.len(),
        };
        if size > STATE_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it is too large"));
        }
        let bytes = fs::read(&self.path)?;
        serde_json::from_slice(&bytes).map(Some).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    }

    /// Replaces it. After a power loss it is the old one or the new one.
    ///
    /// # Errors
    /// It cannot be written; the old one stays.
    pub fn save(&self, state: &State) -> io::Result<()> {
        replace_file(&self.path, CURSOR_MODE, &[&serde_json::to_vec(state)?])
    }
}

/// Where events go that a receiver rejects: a file of its own for each receiver, so that nothing is lost.
#[derive(Debug)]
pub struct RejectedFile {
    path: PathBuf,
    bytes_max: u64,
}

impl RejectedFile {
    /// The file of this receiver.
    pub fn new(folder: &Path, receiver: &str, bytes_max: u64) -> Self {
        Self { path: folder.join(format!("{receiver}.rejected.jsonl")), bytes_max }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Appends a line, and has it on the disk before it returns.
    ///
    /// # Errors
    /// It cannot be written, or is full: the event is not set aside then.
    pub fn append(&self, line: &[u8]) -> io::Result<()> {
        let mut file = OpenOptions::new().append(true).create(true).mode(MODE).open(&self.path)?;
        let length = file.metadata()?.len();
        if length.saturating_add(line.len() as u64) > self.bytes_max {
            let what = "it is full (state.rejected_bytes_max); see what is in it, and move it away";
            return Err(io::Error::new(io::ErrorKind::StorageFull, what));
        }
        let mut whole = Vec::with_capacity(line.len() + 1);
        whole.extend_from_slice(line);
        whole.push(b'\n');
        if let Err(error) = file.write_all(&whole).and_then(|()| file.sync_data()) {
            // Half a line must not stay before the next one.
            let _ = file.set_len(length);
            return Err(error);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_saved_and_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let file = StateFile::new(folder.path(), "soc");
        assert_eq!(file.load().unwrap(), None);
        let cursor = Cursor { seq: 7, offset: 1234, event_id: Some("00ff".to_owned()) };
        let state = State { cursor: cursor.clone(), seals_offset: 9, resend_from: Some(cursor) };
        file.save(&state).unwrap();
        file.save(&state).unwrap();
        assert_eq!(file.load().unwrap(), Some(state));
        fs::write(file.path(), "{\"cursor\":").unwrap();
        assert_eq!(file.load().unwrap_err().kind(), io::ErrorKind::InvalidData);
        fs::write(file.path(), "{\"cursor\":{\"seq\":1,\"offset\":2}}").unwrap();
        assert_eq!(file.load().unwrap().unwrap().cursor.offset, 2);
    }

    #[test]
    fn a_full_file_of_rejected_events_takes_no_more() {
        let folder = tempfile::tempdir().unwrap();
        let file = RejectedFile::new(folder.path(), "soc", 10);
        file.append(b"{\"a\":1}").unwrap();
        assert_eq!(file.append(b"{\"b\":2}").unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert_eq!(fs::read(file.path()).unwrap(), b"{\"a\":1}\n");
    }
}
