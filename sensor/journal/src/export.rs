//! Copies the lines of a span of time out of a journal, such as for somebody who asks what happened on a day.

use std::collections::HashMap;
use std::io::{self, Write};
use std::path::Path;

use crate::seal::{Seal, read_seals};
use crate::segment::{self, Segment, time_of};

/// What was copied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exported {
    /// Lines.
    pub lines: u64,
    /// Segments that were read for them.
    pub segments: u64,
    /// Lines without a time, which are in no span.
    pub untimed: u64,
}

/// Writes the lines of events from a time on and before another one to `out`. Times are as events have them, such as
/// `2026-11-28T02:14:06.123456+0000`, or a beginning of that.
///
/// # Errors
/// The journal cannot be read, or `out` takes no more.
pub fn export(folder: &Path, from: Option<&str>, to: Option<&str>, out: &mut dyn Write) -> io::Result<Exported> {
    let is_before_end = |time: &[u8]| to.is_none_or(|to| time < to.as_bytes());
    let is_after_begin = |time: &[u8]| from.is_none_or(|from| time >= from.as_bytes());
    let seals = latest(read_seals(folder).unwrap_or_default());
    let mut exported = Exported::default();
    for seq in segment::readable(folder)? {
        if let Some(seal) = seals.get(&seq)
            && !(is_before_end(seal.first.as_bytes()) && is_after_begin(seal.last.as_bytes()))
        {
            continue;
        }
        let lines = match Segment::open(folder, seq) {
            // Retention may have removed it since.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            opened => opened?.into_lines(),
        };
        exported.segments += 1;
        segment::each_line(lines, |line| {
            let Some(time) = time_of(line) else {
                exported.untimed += u64::from(line.ends_with(b"\n"));
                return Ok(());
            };
            // The last line may be in the middle of being written.
            if line.ends_with(b"\n") && is_after_begin(time) && is_before_end(time) {
                exported.lines += 1;
                out.write_all(line)?;
            }
            Ok(())
        })?;
    }
    out.flush()?;
    Ok(exported)
}

fn latest(seals: Vec<Seal>) -> HashMap<u64, Seal> {
    seals.into_iter().map(|seal| (seal.seq, seal)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::{Journal, JournalOptions};

    #[test]
    fn a_span_of_time_is_copied_and_other_segments_are_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let (mut journal, _) = Journal::open(folder.path(), JournalOptions::default()).unwrap();
        for day in 1..=5 {
            for hour in 0..24 {
                let text =
                    format!("{{\"timestamp\":\"2026-11-{day:02}T{hour:02}:00:00.000000+0000\",\"day\":{day}}}\n");
                journal.add_line(|line| line.extend(text.bytes()));
            }
            journal.write().unwrap();
            if day < 5 {
                journal.rotate().unwrap();
            }
        }
        let copy = |from: Option<&str>, to: Option<&str>| {
            let mut out = Vec::new();
            let exported = export(folder.path(), from, to, &mut out).unwrap();
            assert_eq!(exported.lines as usize, out.iter().filter(|byte| **byte == b'\n').count());
            (exported.lines, exported.segments, String::from_utf8(out).unwrap())
        };
        assert_eq!(copy(None, None).0, 120);
        let (lines, segments, text) = copy(Some("2026-11-02T12"), Some("2026-11-03T06"));
        // The last segment is live: nobody knows its times.
        assert_eq!((lines, segments), (18, 3));
        assert!(text.starts_with("{\"timestamp\":\"2026-11-02T12:00") && text.ends_with("\"day\":3}\n"), "{text}");
        assert_eq!(copy(Some("2026-11-05T23"), None).0, 1);
        assert_eq!(copy(Some("2027"), None).0, 0);
    }
}
