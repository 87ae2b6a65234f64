//! A file of lines, for tools that tail one. Rotation by renaming (logrotate) and deletion are noticed at the next batch.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::time::{Duration, Instant};

use vigie_journal::end_of_last_line;

use super::{Context, Receiver};
use crate::batch::Batch;
use crate::configuration::FileSettings;
use crate::error::{ErrorKind, SendError};

/// How often the path is looked at: whether it is still the file that is open.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);
/// How far back the start of a torn line is searched: more than the longest line of a journal.
const TORN_BYTES_MAX: u64 = 1 << 20;

/// A file.
pub struct FileReceiver {
    settings: FileSettings,
    file: Option<File>,
    looked: Instant,
    lines: Vec<u8>,
}

impl FileReceiver {
    pub fn new(settings: FileSettings) -> Self {
        Self { settings, file: None, looked: Instant::now(), lines: Vec::new() }
    }

    fn failed(&self, error: &io::Error) -> SendError {
        SendError::file(&self.settings.path, error)
    }

    /// The open file, opened anew if another one has its path now.
    fn current(&mut self) -> Result<&mut File, SendError> {
        if self.file.is_some() && self.looked.elapsed() >= LOOK_INTERVAL {
            self.looked = Instant::now();
            if !self.is_in_place() {
                self.sync()?;
                self.file = None;
            }
        }
        match &mut self.file {
            Some(file) => Ok(file),
            closed => {
                let path = &self.settings.path;
                let file = open(path, self.settings.mode).map_err(|error| SendError::file(path, &error))?;
                Ok(closed.insert(file))
            }
        }
    }

    fn is_in_place(&self) -> bool {
        let open = self.file.as_ref().and_then(|file| file.metadata().ok());
        let there = std::fs::metadata(&self.settings.path).ok();
        match (open, there) {
            (Some(open), Some(there)) => (open.dev(), open.ino()) == (there.dev(), there.ino()),
            _ => false,
        }
    }
}

/// Opens a file to append to, and cuts off the line that a crash left torn: its event comes again.
fn open(path: &std::path::Path, mode: u32) -> io::Result<File> {
    // Without O_NONBLOCK, opening a named pipe waits for its reader.
    if std::fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
    }
    let mut file = OpenOptions::new().read(true).append(true).create(true).mode(mode).open(path)?;
    let length = file.metadata()?.len();
    match end_of_last_line(&mut file, TORN_BYTES_MAX)? {
        Some(end) if end < length => file.set_len(end)?,
        Some(_) => {}
        // No line is that long; whatever it is, the next line begins on a line of its own.
        None => file.write_all(b"\n")?,
    }
    Ok(file)
}

impl Receiver for FileReceiver {
    fn send(&mut self, batch: &mut Batch, _: Context<'_>) -> Result<(), SendError> {
        let mut lines = std::mem::take(&mut self.lines);
        lines.clear();
        batch.write_lines(&mut lines);
        let file = self.current()?;
        let before = file.metadata().map(|metadata| metadata.len());
        let written = file.write_all(&lines);
        self.lines = lines;
        if let Err(error) = written {
            // A reader shall not see half a line and then the whole one.
            if let (Some(file), Ok(before)) = (&self.file, before) {
                let _ = file.set_len(before);
            }
            self.file = None;
            return Err(self.failed(&error));
        }
        batch.acknowledge_all();
        Ok(())
    }

    fn sync(&mut self) -> Result<(), SendError> {
        match &self.file {
            Some(file) => file.sync_data().map_err(|error| self.failed(&error)),
            None => Ok(()),
        }
    }

    fn idle(&mut self) -> Result<(), SendError> {
        // Whoever rotated, or tails, waits for a new file.
        self.current().map(drop)
    }

    fn probe(&mut self) -> Result<String, SendError> {
        let path = self.settings.path.clone();
        if !path.exists() {
            // Nothing is made by a check.
            let folder = path.parent().unwrap_or(&path);
            let error = match nix::unistd::access(folder, nix::unistd::AccessFlags::W_OK) {
                Ok(()) => return Ok(format!("will be made: {}", path.display())),
                Err(error) => io::Error::from(error),
            };
            return Err(SendError::file(&path, &error));
        }
        let open = OpenOptions::new().append(true).custom_flags(nix::fcntl::OFlag::O_NONBLOCK.bits()).open(&path);
        let file = open.map_err(|error| SendError::file(&path, &error))?;
        match file.metadata() {
            Ok(metadata) if metadata.is_file() => Ok(format!("can be written: {}", path.display())),
            _ => Err(SendError::new(ErrorKind::Write, format!("{} is not a regular file", path.display()))),
        }
    }
}
