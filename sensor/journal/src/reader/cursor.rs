//! Where a reader stands, and how it knows the place again.

use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;

use memchr::memmem;
use serde::{Deserialize, Serialize};

use crate::LINE_BYTES_MAX;
use crate::segment::Segment;
use crate::sha256::Sha256;

/// Where a reader stands: after the line that ends at `offset` of segment `seq`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// Number of the segment; 0 before the first line.
    pub seq: u64,
    /// Bytes of plain lines before it.
    pub offset: u64,
    /// `event_id` of the line, or `line-` and a hash of a line that has none; none at the beginning of a segment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_id: Option<String>,
}

/// Where a reader begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StartAt {
    /// With the oldest line.
    Oldest,
    /// After the newest line.
    Newest,
    /// After the line where it stood before.
    Cursor(Cursor),
}

/// What stands for a line in a cursor.
pub(super) fn line_id(line: &[u8]) -> String {
    const KEY: &[u8] = b"\"event_id\":[\"";
    let given = memmem::find(line, KEY).and_then(|at| {
        let rest = line.get(at + KEY.len()..)?;
        let id = rest.get(..memchr::memchr(b'"', rest)?)?;
        str::from_utf8(id).ok().filter(|id| !id.is_empty())
    });
    given.map_or_else(|| format!("line-{}", Sha256::of(line).get(..16).unwrap_or_default()), str::to_owned)
}

/// The line that ends where a cursor stands; none if no line does.
pub(super) fn line_before(folder: &Path, cursor: &Cursor) -> io::Result<Option<Vec<u8>>> {
    let begin = cursor.offset.saturating_sub(LINE_BYTES_MAX as u64);
    let mut tail = vec![0; (cursor.offset - begin) as usize];
    let read = match Segment::open(folder, cursor.seq)? {
        Segment::Plain(file) => file.read_exact_at(&mut tail, begin),
        Segment::Compressed(mut lines) => {
            let skipped = io::copy(&mut (&mut lines).take(begin), &mut io::sink());
            skipped.and_then(|_| lines.read_exact(&mut tail))
        }
    };
    // A segment that is shorter, or damaged, has no such line.
    if read.is_err() {
        return Ok(None);
    }
    let Some(line) = tail.strip_suffix(b"\n") else { return Ok(None) };
    let begin = memchr::memrchr(b'\n', line).map_or(0, |end| end + 1);
    Ok(line.get(begin..).map(<[u8]>::to_vec))
}
