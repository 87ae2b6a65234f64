//! The file to which a running sensor appends its events, a line each. A line is written whole or, where the process or
//! the disk fails in the middle, cut; the next start removes a cut line. A disk that refuses loses nothing: the journal
//! keeps what was refused and offers it again.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::BUFFER_BYTES;

/// Where lines go: a file, or anything that takes bytes.
pub trait Target: Write + Send {
    /// Has the system store what was written.
    ///
    /// # Errors
    /// If that fails.
    fn sync(&mut self) -> io::Result<()>;
}

impl Target for File {
    fn sync(&mut self) -> io::Result<()> {
        // Pipes and terminals store nothing.
        match self.sync_data() {
            // EINVAL and EROFS (fsync(2)).
            Err(error) if matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::ReadOnlyFilesystem) => Ok(()),
            done => done,
        }
    }
}

impl Target for io::Stdout {
    fn sync(&mut self) -> io::Result<()> {
        self.flush()
    }
}

/// Lines on their way to a target.
pub struct Journal {
    path: Option<(PathBuf, u32)>,
    target: Box<dyn Target>,
    /// Whole lines, of which the first `written` bytes are with the target.
    buffer: Vec<u8>,
    written: usize,
    lines: u64,
    is_unsynced: bool,
}

impl Journal {
    /// A journal in the file at `path`, made with these permissions if there is none; `-` is the standard output. Also
    /// returns how many bytes of a cut line were removed from the file's end.
    ///
    /// # Errors
    /// The file cannot be opened or repaired.
    pub fn open(path: &Path, mode: u32) -> io::Result<(Self, u64)> {
        if path.as_os_str() == "-" {
            return Ok((Self::to(Box::new(io::stdout())), 0));
        }
        let (file, cut_bytes) = open_and_repair(path, mode)?;
        Ok((Self { path: Some((path.to_owned(), mode)), ..Self::to(Box::new(file)) }, cut_bytes))
    }

    /// A journal to any target.
    pub fn to(target: Box<dyn Target>) -> Self {
        Self { path: None, target, buffer: Vec::new(), written: 0, lines: 0, is_unsynced: false }
    }

    /// Opens the file again under its name, as is due after it was renamed. Lines that wait go to the new file.
    ///
    /// # Errors
    /// It cannot be opened; the old one stays in use.
    pub fn reopen(&mut self) -> io::Result<()> {
        let Some((path, mode)) = &self.path else { return Ok(()) };
        let (file, _) = open_and_repair(path, *mode)?;
        // A line that the old file took in part belongs there.
        while self.written > 0 && self.written < self.buffer.len() {
            let rest = self.buffer.get(self.written..).unwrap_or_default();
            let line = rest.iter().position(|&byte| byte == b'\n').map_or(rest.len(), |end| end + 1);
            if self.buffer.get(self.written - 1) == Some(&b'\n') {
                break;
            }
            let end = self.written + line;
            self.target.write_all(self.buffer.get(self.written..end).unwrap_or_default())?;
            self.written = end;
        }
        let _ = self.target.sync();
        self.target = Box::new(file);
        Ok(())
    }

    /// Adds the line that `encode` appends to the buffer, newline included, and returns its length in bytes.
    /// [`write`](Self::write) is due soon.
    pub fn add_line(&mut self, encode: impl FnOnce(&mut Vec<u8>)) -> usize {
        let before = self.buffer.len();
        encode(&mut self.buffer);
        self.lines += 1;
        self.buffer.len() - before
    }

    /// Lines that wait.
    pub const fn lines_waiting(&self) -> u64 {
        self.lines
    }

    /// Whether so much waits that it should be written before more is added.
    pub fn is_full(&self) -> bool {
        self.buffer.len() >= BUFFER_BYTES
    }

    /// Writes all that waits.
    ///
    /// # Errors
    /// The target refuses. What it has not taken waits on.
    pub fn write(&mut self) -> io::Result<()> {
        while self.written < self.buffer.len() {
            match self.target.write(self.buffer.get(self.written..).unwrap_or_default()) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => {
                    self.written += count;
                    self.is_unsynced = true;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.buffer.clear();
        self.written = 0;
        self.lines = 0;
        self.target.flush()
    }

    /// Has the system store what was written since the last call.
    ///
    /// # Errors
    /// The system could not.
    pub fn sync(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.is_unsynced) { self.target.sync() } else { Ok(()) }
    }
}

/// Opens the file and removes a last line without end. Also returns how many bytes were removed.
fn open_and_repair(path: &Path, mode: u32) -> io::Result<(File, u64)> {
    let mut file = OpenOptions::new().append(true).read(true).create(true).mode(mode).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Ok((OpenOptions::new().append(true).open(path)?, 0));
    }
    let good = end_of_last_line(&mut file, metadata.len())?;
    if good < metadata.len() {
        file.set_len(good)?;
    }
    Ok((file, metadata.len() - good))
}

/// How long the file is up to the end of its last whole line.
fn end_of_last_line(file: &mut File, length: u64) -> io::Result<u64> {
    const CHUNK_BYTES: u64 = 64 << 10;
    let mut end = length;
    let mut chunk = Vec::new();
    while end > 0 {
        let start = end.saturating_sub(CHUNK_BYTES);
        file.seek(SeekFrom::Start(start))?;
        chunk.clear();
        Read::by_ref(file).take(end - start).read_to_end(&mut chunk)?;
        if let Some(place) = memchr::memrchr(b'\n', &chunk) {
            return Ok(start + place as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> impl FnOnce(&mut Vec<u8>) {
        let bytes = format!("{text}\n").into_bytes();
        move |buffer| buffer.extend(bytes)
    }

    #[test]
    fn a_cut_line_is_taken_away_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("eve.json");
        let long = "x".repeat(200_000);
        for (before, kept) in [
            (String::new(), String::new()),
            ("{}\n".to_owned(), "{}\n".to_owned()),
            ("{}\n{\"a\":".to_owned(), "{}\n".to_owned()),
            (long.clone(), String::new()),
            (format!("{{}}\n{long}"), "{}\n".to_owned()),
        ] {
            std::fs::write(&path, &before).unwrap();
            let (mut journal, cut_bytes) = Journal::open(&path, 0o640).unwrap();
            assert_eq!(cut_bytes as usize, before.len() - kept.len());
            journal.add_line(line("[1]"));
            journal.write().unwrap();
            journal.sync().unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), format!("{kept}[1]\n"));
        }
    }

    /// Takes some bytes at a time, and refuses each second time.
    #[derive(Default)]
    struct Miser {
        taken: std::sync::Arc<std::sync::Mutex<Vec<u8>>>,
        calls: u32,
    }

    impl Write for Miser {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.calls += 1;
            if self.calls.is_multiple_of(2) {
                return Err(io::ErrorKind::StorageFull.into());
            }
            let count = bytes.len().min(3);
            self.taken.lock().unwrap().extend(&bytes[..count]);
            Ok(count)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Target for Miser {
        fn sync(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_is_refused_is_offered_again_and_nothing_is_written_twice() {
        let miser = Miser::default();
        let taken = std::sync::Arc::clone(&miser.taken);
        let mut journal = Journal::to(Box::new(miser));
        let mut expected = String::new();
        for number in 0..50 {
            journal.add_line(line(&format!("[{number}]")));
            expected += &format!("[{number}]\n");
            let _ = journal.write();
        }
        while journal.write().is_err() {}
        assert_eq!(String::from_utf8(taken.lock().unwrap().clone()).unwrap(), expected);
        assert_eq!(journal.lines_waiting(), 0);
    }

    #[test]
    fn a_renamed_file_is_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        let (path, old) = (folder.path().join("eve.json"), folder.path().join("eve.json.1"));
        let (mut journal, _) = Journal::open(&path, 0o640).unwrap();
        journal.add_line(line("[1]"));
        journal.write().unwrap();
        std::fs::rename(&path, &old).unwrap();
        journal.add_line(line("[2]"));
        journal.write().unwrap();
        journal.add_line(line("[3]"));
        journal.reopen().unwrap();
        journal.write().unwrap();
        assert_eq!(std::fs::read_to_string(&old).unwrap(), "[1]\n[2]\n");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "[3]\n");
    }
}
