//! Where events go. Here: lines of JSON to a file or to standard output, whole lines only, through one big buffer, as
//! replays write them. A running sensor writes a [`journal`]. Network sinks are not here.

pub mod journal;

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::alert::Event;
use crate::alert::eve::{self, Context};

/// How many bytes are gathered before they are written.
pub const BUFFER_BYTES: usize = 256 * 1024;

/// How long a line waits at most for the next one, when events keep coming.
const DELAY_MAX: Duration = Duration::from_millis(200);

/// Writes events as lines. A reader of the target never sees the beginning of a line without its end, unless the
/// target itself fails in the middle of a write.
pub struct JsonLines<W: Write> {
    target: W,
    buffer: Vec<u8>,
    oldest: Option<Instant>,
    each_line: bool,
    lines: u64,
}

impl JsonLines<Box<dyn Write>> {
    /// Lines to `path`, or to standard output where it is `-`. A file is appended to; if what stands in it ends in the
    /// middle of a line, that line is ended first.
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

    /// Writes `event`, now or soon.
    ///
    /// # Errors
    /// If the target refuses; the lines that it refused are lost.
    pub fn event(&mut self, event: &Event, context: &Context) -> io::Result<()> {
        eve::encode(event, context, &mut self.buffer);
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
    // Pipes and devices have no past.
    if !metadata.is_file() || metadata.len() == 0 {
        return Ok((file, false));
    }
    let mut last = [0];
    let mut past = File::open(path)?;
    past.seek(SeekFrom::End(-1))?;
    past.read_exact(&mut last)?;
    Ok((file, last != *b"\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::{Fact, Flow, FlowEnd, Order};
    use vigie_decode::{Address, Encapsulation};

    fn event() -> Event {
        let flow = Flow {
            id: 1,
            client: Address::v4([10, 0, 0, 1]),
            client_port: 1,
            server: Address::v4([10, 0, 0, 2]),
            server_port: 2,
            protocol: 6,
            encapsulation: Encapsulation::default(),
            interface: 0,
            first_seen_ns: 0,
            last_seen_ns: 0,
            packets_to_server: 1,
            packets_to_client: 1,
            bytes_to_server: 1,
            bytes_to_client: 1,
        };
        let fact = Fact::FlowEnd(Box::new(flow), FlowEnd::Shutdown, None);
        Event { timestamp_ns: 0, frame_number: 1, order: Order::default(), fact }
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
        let mut target = Target::default();
        let mut lines = JsonLines::new(&mut target);
        for _ in 0..3000 {
            lines.event(&event(), &Context::default()).unwrap();
        }
        lines.flush().unwrap();
        assert_eq!(lines.lines(), 3000);
        assert!(target.writes.len() < 100, "{} writes", target.writes.len());
        assert!(target.writes.iter().all(|write| write.starts_with(b"{") && write.ends_with(b"}\n")));
        assert_eq!(target.writes.concat().iter().filter(|&&byte| byte == b'\n').count(), 3000);
    }

    #[test]
    fn a_broken_pipe_is_told() {
        let mut target = Target { writes_max: Some(0), ..Target::default() };
        let mut lines = JsonLines::new(&mut target);
        lines.event(&event(), &Context::default()).unwrap();
        assert_eq!(lines.flush().unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }

    #[test]
    fn a_file_is_appended_to_and_its_torn_line_ended() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.json");
        for (before, kept) in [("", ""), ("{\"a\":1}\n", "{\"a\":1}\n"), ("{\"a\":", "{\"a\":\n")] {
            std::fs::write(&path, before).unwrap();
            let mut lines = JsonLines::open(&path).unwrap();
            lines.event(&event(), &Context::default()).unwrap();
            lines.flush().unwrap();
            let text = std::fs::read_to_string(&path).unwrap();
            let ours = text.strip_prefix(kept).unwrap();
            assert!(ours.starts_with("{\"timestamp\"") && ours.ends_with("}\n"), "{text}");
        }
        assert!(JsonLines::open(&folder.path().join("no/such/folder")).is_err());
    }
}
