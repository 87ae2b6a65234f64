//! The changes of incidents since the state was saved last, so that a kill forgets none and opens none twice. Each change is
//! appended to a file before its event goes to the journal. A start applies the changes to the saved state, and gives the
//! events to the journal that are not in it.
//!
//! Not here: evidence that led to no incident yet. What came of it since the state was saved is lost.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use vigie_journal::eve::INCIDENT_MARK;
use vigie_journal::{Cursor, JournalReader, ReadError, StartAt};
use vigie_judgement::{Incident, IncidentChange, Step};

/// The file in the journal's folder. Only its owner may read it, as with the state.
const NAME: &str = "incidents.log";
/// A longer line is none of this program: incidents are bounded.
const LINE_BYTES_MAX: u64 = 1 << 20;

/// The file.
pub struct IncidentLog {
    path: PathBuf,
    folder: PathBuf,
    file: Option<File>,
    waiting: Vec<u8>,
    is_synced: bool,
}

/// A change as it stands in the file.
#[derive(Serialize)]
struct EntryRef<'e> {
    closed: bool,
    incident: &'e Incident,
    event: &'e str,
}

/// The same, as it is read.
#[derive(Deserialize)]
struct Entry {
    closed: bool,
    incident: Incident,
    event: String,
}

/// What a start finds.
#[derive(Default)]
pub struct Replay {
    /// Incidents as they were told last, and whether they closed, in the order of the changes.
    pub changes: Vec<(Incident, bool)>,
    /// Events that the journal does not have, each with its newline.
    pub missing: Vec<u8>,
}

impl IncidentLog {
    /// The file of the journal in this folder. Nothing is opened yet.
    pub fn new(folder: &Path) -> Self {
        let (path, folder) = (folder.join(NAME), folder.to_owned());
        Self { path, folder, file: None, waiting: Vec::new(), is_synced: true }
    }

    /// Adds a change, with the line that tells it.
    pub fn add(&mut self, change: &IncidentChange<'_>, line: &[u8]) {
        let Ok(event) = std::str::from_utf8(line) else { return };
        let entry = EntryRef { closed: matches!(change.step, Step::Closed(_)), incident: change.incident, event };
        let before = self.waiting.len();
        match serde_json::to_writer(&mut self.waiting, &entry) {
            Ok(()) => self.waiting.push(b'\n'),
            Err(_) => self.waiting.truncate(before),
        }
    }

    /// Writes the changes that wait. To be called before their events are written.
    ///
    /// # Errors
    /// They cannot be written; they are given up, since the events must not wait for them.
    pub fn write(&mut self) -> io::Result<()> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let waiting = std::mem::take(&mut self.waiting);
        let mut file = match self.file.take() {
            Some(file) => file,
            None => OpenOptions::new().append(true).create(true).mode(0o600).open(&self.path)?,
        };
        // A line that was cut by a full disk must not spoil the next one.
        let length = file.metadata()?.len();
        if let Err(error) = file.write_all(&waiting) {
            let _ = file.set_len(length);
            return Err(error);
        }
        self.file = Some(file);
        self.is_synced = false;
        Ok(())
    }

    /// Has the system store what was written.
    ///
    /// # Errors
    /// The system could not.
    pub fn sync(&mut self) -> io::Result<()> {
        if let Some(file) = self.file.as_ref().filter(|_| !self.is_synced) {
            file.sync_data()?;
        }
        self.is_synced = true;
        Ok(())
    }

    /// Begins anew: the state was saved, with all changes so far.
    pub fn state_was_saved(&mut self) {
        self.file = None;
        let _ = fs::remove_file(&self.path);
    }

    /// The changes that were written since the state was saved.
    ///
    /// # Errors
    /// The file or the journal cannot be read.
    pub fn replay(&self, live_seq: u64) -> io::Result<Replay> {
        let entries = self.entries()?;
        if entries.is_empty() {
            return Ok(Replay::default());
        }
        let written = self.last_events(live_seq)?;
        let mut replay = Replay::default();
        for Entry { closed, incident, event } in entries {
            if !written.contains(event.as_bytes().trim_ascii_end()) {
                replay.missing.extend_from_slice(event.as_bytes());
            }
            replay.changes.push((incident, closed));
        }
        Ok(replay)
    }

    /// The whole lines of the file. The last one may be cut.
    fn entries(&self) -> io::Result<Vec<Entry>> {
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut reader = BufReader::new(file);
        let mut entries = Vec::new();
        let mut line = Vec::new();
        loop {
            line.clear();
            if (&mut reader).take(LINE_BYTES_MAX).read_until(b'\n', &mut line)? == 0 || !line.ends_with(b"\n") {
                return Ok(entries);
            }
            entries.extend(serde_json::from_slice::<Entry>(&line).ok());
        }
    }

    /// The incidents' events in the last segments. The state is saved for each segment, so none of the file's is older.
    fn last_events(&self, live_seq: u64) -> io::Result<HashSet<Vec<u8>>> {
        let failed = |error: ReadError| io::Error::other(error.to_string());
        let start = Cursor { seq: live_seq.saturating_sub(2), ..Cursor::default() };
        let mut reader = JournalReader::open(&self.folder, StartAt::Cursor(start)).map_err(failed)?;
        let mut events = HashSet::new();
        while let Some(line) = reader.next_line().map_err(failed)? {
            if memchr::memmem::find(line, INCIDENT_MARK).is_some() {
                events.insert(line.to_vec());
            }
        }
        Ok(events)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::sync::Arc;

    use vigie_journal::{Journal, JournalOptions};
    use vigie_judgement::Finding;
    use vigie_judgement::policy::Policy;
    use vigie_signatures::Bundle;

    use super::*;
    use crate::event::{Event, Fact};
    use crate::judging::tests::{event_at, flow, sighting_at};
    use crate::judging::{Judging, Limits, Output, Saved};
    use crate::privacy::{Privacy, Rotation};
    use crate::record::{Context, Under, encode_incident};

    /// Gives changes to a log, and their events to a journal.
    struct Told {
        log: IncidentLog,
        lines: Vec<Vec<u8>>,
    }

    impl Output for Told {
        fn finding(&mut self, finding: &Finding<'_>) {
            if let Finding::Incident(change) = finding {
                let mut line = Vec::new();
                encode_incident(change, None, &Context::default(), &mut line);
                self.log.add(change, &line);
                self.lines.push(line);
            }
        }

        fn judged(&mut self, _: &vigie_judgement::Sighting<'_>) {}
        fn alert(&mut self, _: &Event, _: &[Under]) {}
        fn use_pseudonyms(&mut self, _: &Privacy, _: Rotation) {}
    }

    /// 27 November 2026, 08:00 UTC.
    const START_NS: u64 = 1_795_766_400_000_000_000;

    fn sighted(seconds: u64, id: u64, name: &str) -> [Event; 2] {
        let at = |seconds: u64| START_NS + seconds * 1_000_000_000;
        let clock = Fact::Clock { both_directions: true };
        [sighting_at(at(seconds), flow(id, 0), name), event_at(at(seconds + 10), clock)]
    }

    fn judging() -> Judging {
        Judging::new(Bundle::builtin(), Arc::new(Policy::builtin()), Limits::default())
    }

    fn take(judging: &mut Judging, events: impl IntoIterator<Item = Event>, told: &mut Told) {
        events.into_iter().for_each(|event| judging.take(event, &[], told));
    }

    fn open_an_incident(judging: &mut Judging, told: &mut Told) {
        take(judging, sighted(0, 1, "tnc16-platform-useast1a.tiktokv.com"), told);
        take(judging, sighted(20, 2, "api16-normal-useast1a.tiktokv.com"), told);
    }

    #[test]
    fn an_incident_that_was_open_at_a_kill_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        drop(Journal::open(&folder.path().join("journal"), JournalOptions::default()).unwrap());
        let mut told = Told { log: IncidentLog::new(&folder.path().join("journal")), lines: Vec::new() };
        open_an_incident(&mut judging(), &mut told);
        told.log.write().unwrap();
        assert_eq!(told.lines.len(), 1, "opened");
        let mut saved = Saved::default();
        saved.apply(told.log.replay(1).unwrap().changes);
        let mut after = judging();
        assert_eq!(after.resume(saved, &mut told).incidents, 1);
        take(&mut after, sighted(7_200, 3, "api16-normal-useast1a.tiktokv.com"), &mut told);
        let states: Vec<bool> =
            told.lines.iter().map(|line| memchr::memmem::find(line, b"\"opened\"").is_some()).collect();
        assert_eq!(states.iter().filter(|opened| **opened).count(), 1, "{states:?}");
        assert!(states.len() > 1, "it was seen again");
        // It closes, and a kill does not open it again.
        after.finish(&mut told);
        told.log.write().unwrap();
        let mut saved = Saved::default();
        saved.apply(told.log.replay(1).unwrap().changes);
        assert_eq!(judging().resume(saved, &mut told).incidents, 0);
    }

    #[test]
    fn what_a_kill_left_is_known_again_and_told_once() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("journal");
        let (mut journal, _) = Journal::open(&folder, JournalOptions::default()).unwrap();
        let mut told = Told { log: IncidentLog::new(&folder), lines: Vec::new() };
        let mut judging = judging();
        open_an_incident(&mut judging, &mut told);
        judging.finish(&mut told);
        assert!(told.lines.len() > 1);
        told.log.write().unwrap();
        assert_eq!(folder.join(NAME).metadata().unwrap().permissions().mode() & 0o777, 0o600);
        // Killed before the journal has the last event.
        let (last, others) = told.lines.split_last().unwrap();
        for line in others {
            journal.add_line(|out| out.extend_from_slice(line));
        }
        journal.write().unwrap();
        // And while a change was written.
        OpenOptions::new().append(true).open(folder.join(NAME)).unwrap().write_all(b"{\"closed\":fal").unwrap();
        let live_seq = journal.live_seq();
        let replay = IncidentLog::new(&folder).replay(live_seq).unwrap();
        assert_eq!((replay.changes.len(), &replay.missing), (told.lines.len(), last));
        journal.add_line(|out| out.extend_from_slice(&replay.missing));
        journal.write().unwrap();
        assert!(IncidentLog::new(&folder).replay(live_seq).unwrap().missing.is_empty());
        told.log.state_was_saved();
        assert!(IncidentLog::new(&folder).replay(live_seq).unwrap().changes.is_empty());
    }
}
