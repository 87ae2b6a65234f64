//! How far the receivers of a forwarder are, by the cursors that it keeps.

use std::fs;
use std::io::{self, Read};
use std::path::Path;

use serde::Deserialize;
use vigie_config::open_regular;
use vigie_journal::{Cursor, JournalReader, StartAt};

const SUFFIX: &str = ".cursor.json";
/// Largest file of a cursor that is read, as of the forwarder.
const CURSOR_BYTES_MAX: u64 = 64 << 10;
/// Receivers that are shown.
const RECEIVERS_MAX: usize = 100;

/// A receiver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receiver {
    pub name: String,
    /// Bytes of the journal that it has not acknowledged, and segments that hold them; none where its cursor cannot be read.
    pub behind: Option<(u64, u64)>,
}

#[derive(Deserialize)]
struct State {
    cursor: Cursor,
}

/// The receivers of a forwarder that reads this journal, by name.
///
/// # Errors
/// The folder cannot be read.
pub fn read(folder: &Path, journal: &Path) -> io::Result<Vec<Receiver>> {
    let mut receivers = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let file = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if let Some(name) = file.strip_suffix(SUFFIX)
            && receivers.len() < RECEIVERS_MAX
        {
            receivers.push(Receiver { name: name.to_owned(), behind: behind(&path, journal) });
        }
    }
    receivers.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(receivers)
}

fn behind(path: &Path, journal: &Path) -> Option<(u64, u64)> {
    let mut bytes = Vec::new();
    open_regular(path).ok()?.take(CURSOR_BYTES_MAX).read_to_end(&mut bytes).ok()?;
    let cursor = serde_json::from_slice::<State>(&bytes).ok()?.cursor;
    // The event at the place does not matter here, and looking for it would cost time.
    let start = StartAt::Cursor(Cursor { event_id: None, ..cursor });
    let lag = JournalReader::open(journal, start).ok()?.lag();
    Some((lag.bytes, lag.segments))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn receivers_are_known_by_their_cursors() {
        let folder = tempfile::tempdir().unwrap();
        let (journal, state) = (folder.path().join("journal"), folder.path().join("state"));
        fs::create_dir(&journal).unwrap();
        fs::create_dir(&state).unwrap();
        let line = "{\"timestamp\":\"2026-11-28T08:00:00.000000+0000\"}\n";
        fs::write(journal.join("00000001.jsonl"), line.repeat(10)).unwrap();
        let cursor = Cursor { seq: 1, offset: 4 * line.len() as u64, event_id: Some("gone".to_owned()) };
        let text = format!("{{\"cursor\":{},\"seals_offset\":0}}", serde_json::to_string(&cursor).unwrap());
        fs::write(state.join("soc.cursor.json"), text).unwrap();
        fs::write(state.join("damaged.cursor.json"), "{").unwrap();
        fs::write(state.join("soc.rejected.jsonl"), line).unwrap();
        let receivers = read(&state, &journal).unwrap();
        assert_eq!(receivers.len(), 2);
        assert_eq!((receivers[0].name.as_str(), receivers[0].behind), ("damaged", None));
        assert_eq!((receivers[1].name.as_str(), receivers[1].behind), ("soc", Some((6 * line.len() as u64, 0))));
        assert!(read(&folder.path().join("none"), &journal).is_err());
    }
}
