//! The events of an incident as they stand in the sensor's journal.

use std::path::Path;

use vigie_journal::{Cursor, JournalReader, StartAt};

use crate::query::incident::Whole;

/// Events that are shown of an incident.
const LINES_MAX: usize = 300;

/// Their lines, in order; those that are no longer there are left out.
pub fn lines(journal: &Path, whole: &Whole) -> String {
    let changes = whole.changes.iter().map(|change| change.place);
    let evidence = whole.evidence.iter().map(|evidence| evidence.place);
    let mut places: Vec<(i64, i64)> = changes.chain(evidence).collect();
    places.sort_unstable();
    places.dedup();
    places.truncate(LINES_MAX);
    let mut text = String::new();
    let mut reader: Option<(JournalReader, i64)> = None;
    for (segment, offset) in places {
        let Some(line) = line_at(journal, &mut reader, segment, offset) else { continue };
        if line.contains(&whole.incident.id) {
            text.push_str(&line);
            text.push('\n');
        }
    }
    text
}

/// The line that begins at a place. The reader of the line before goes on, if it stands in the same segment: a closed segment
/// has to be decompressed from its beginning.
fn line_at(journal: &Path, reader: &mut Option<(JournalReader, i64)>, segment: i64, offset: i64) -> Option<String> {
    if reader.as_ref().is_none_or(|(_, of)| *of != segment) {
        let cursor = Cursor { seq: segment as u64, offset: offset as u64, event_id: None };
        *reader = JournalReader::open(journal, StartAt::Cursor(cursor)).ok().map(|reader| (reader, segment));
    }
    let (reader, _) = reader.as_mut()?;
    loop {
        let here = reader.cursor();
        if here.seq != segment as u64 || here.offset > offset as u64 {
            return None;
        }
        let line = reader.next_line().ok()??;
        if here.offset == offset as u64 {
            return Some(String::from_utf8_lossy(line).into_owned());
        }
    }
}
