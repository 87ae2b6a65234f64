//! Lines to a file or to standard output, through one big buffer, as replays write them. A running sensor, which has to
//! live with a disk that refuses, writes a [`EventFile`](crate::EventFile) or a [`Journal`](crate::Journal).

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::BUFFER_BYTES;

/// How long a line waits at most, while others follow it.
const DELAY_MAX: Duration = Duration::from_millis(200);

/// Writes whole lines. A reader of the target never sees the beginning of a line without its end, unless the target
/// itself fails in the middle of a write.
pub struct JsonLines<W: Write> {
    target: W,
    buffer: Vec<u8>,
    oldest: Option<Instant>,
    each_line: bool,
    lines: u64,
}

impl JsonLines<Box<dyn Write>> {
    /// Lines to `path`, or to standard output where it is `-`. A file is appended to; if its last line has no end, that
    /// line is ended first.
    ///
    /// # Errors
    /// If the file cannot be opened or read.
    pub fn open(path: &Path) -> io::Result<Self> {
        if path.as_os_str() == "-" {
            return Ok(Self::stdout());
        }
        let (file, torn) = open_for_appending(path)?;
        let mut lines = Self::new(Box::new(file));
        if torn {
            lines.buffer.push(b'\n');
        }
        Ok(lines)
    }

    /// Lines to standard output; each at once if it is a terminal.
    pub fn stdout() -> Self {
        let stdout = io::stdout();
        let each_line = stdout.is_terminal();
        let mut lines = Self::new(Box::new(stdout));
        lines.each_line = each_line;
        lines
    }
}

impl<W: Write> JsonLines<W> {
    /// Lines to `target`.
    pub fn new(target: W) -> Self {
        Self { target, buffer: Vec::new(), oldest: None, each_line: false, lines: 0 }
    }

    /// Writes the line that `encode` appends to the buffer, newline included, now or soon.
    ///
    /// # Errors
    /// If the target refuses; the lines that it refused are lost.
    pub fn add_line(&mut self, encode: impl FnOnce(&mut Vec<u8>)) -> io::Result<()> {
        encode(&mut self.buffer);
        self.lines += 1;
        let oldest = *self.oldest.get_or_insert_with(Instant::now);
        if self.each_line || self.buffer.len() >= BUFFER_BYTES || oldest.elapsed() >= DELAY_MAX {
            self.flush()?;
        }
        Ok(())
    }

    /// How many lines were written or wait to be.
    pub const fn lines(&self) -> u64 {
        self.lines
    }

    /// Writes all that waits.
    ///
    /// # Errors
    /// If the target refuses; what it refused is lost.
    pub fn flush(&mut self) -> io::Result<()> {
        let written = self.target.write_all(&self.buffer);
        self.buffer.clear();
        self.oldest = None;
        written?;
        self.target.flush()
    }
}

/// The file, and whether its last line has no end.
fn open_for_appending(path: &Path) -> io::Result<(File, bool)> {
    let file = OpenOptions::new().append(true).create(true).open(path)?;
    let metadata = file.metadata()?;
    // Pipes and devices hold no earlier lines.
    if !metadata.is_file() || metadata.len() == 0 {
        return Ok((file, false));
    }
    let mut last = [0];
    let mut earlier = File::open(path)?;
    earlier.seek(SeekFrom::End(-1))?;
    earlier.read_exact(&mut last)?;
    Ok((file, last != *b"\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &[u8] = b"{\"event_type\":\"flow\"}\n";

    fn line(buffer: &mut Vec<u8>) {
        buffer.extend_from_slice(LINE);
    }

    /// Keeps each write apart, and fails once it has taken `writes_max`.
    #[derive(Default)]
    struct Target {
        writes: Vec<Vec<u8>>,
        writes_max: Option<usize>,
    }

    impl Write for &mut Target {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.writes_max.is_some_and(|most| self.writes.len() >= most) {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            self.writes.push(bytes.to_vec());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn writes_are_few_and_hold_whole_lines() {
        // About as many bytes as three thousand flow records have.
        const LINES: u64 = 75_000;
        let mut target = Target::default();
        let mut lines = JsonLines::new(&mut target);
        for _ in 0..LINES {
            lines.add_line(line).unwrap();
        }
        lines.flush().unwrap();
        assert_eq!(lines.lines(), LINES);
        assert!(target.writes.len() < 100, "{} writes", target.writes.len());
        assert!(target.writes.iter().all(|write| write.starts_with(b"{") && write.ends_with(b"}\n")));
        assert_eq!(target.writes.concat().iter().filter(|&&byte| byte == b'\n').count(), LINES as usize);
    }

    #[test]
    fn a_broken_pipe_is_told() {
        let mut target = Target { writes_max: Some(0), ..Target::default() };
        let mut lines = JsonLines::new(&mut target);
        lines.add_line(line).unwrap();
        assert_eq!(lines.flush().unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }

    #[test]
    fn a_file_is_appended_to_and_its_torn_line_ended() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.json");
        for (before, kept) in [("", ""), ("{\"a\":1}\n", "{\"a\":1}\n"), ("{\"a\":", "{\"a\":\n")] {
            std::fs::write(&path, before).unwrap();
            let mut lines = JsonLines::open(&path).unwrap();
            lines.add_line(line).unwrap();
            lines.flush().unwrap();
            let text = std::fs::read_to_string(&path).unwrap();
            let ours = text.strip_prefix(kept).unwrap();
            assert!(ours.as_bytes() == LINE, "{text}");
        }
        assert!(JsonLines::open(&folder.path().join("no/such/folder")).is_err());
    }
}
