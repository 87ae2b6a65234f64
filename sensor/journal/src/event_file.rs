//! One file to which a running sensor appends its events, a line each; also how the journal writes its live segment. Only whole lines stay in it: of a line that the disk
//! takes in part, the beginning is taken back at once, and the next start removes one that a killed process left. What the
//! target refuses waits, and is offered again. A file that was deleted is made anew, and its last lines are written again.
//!
//! A pipe takes a line of up to 4 096 bytes whole or not at all (PIPE_BUF, pipe(7)); a longer one may be cut if its reader
//! stops in the middle.

mod target;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::BUFFER_BYTES;

pub(crate) use self::target::FileTarget;
use self::target::is_out_of_descriptors;
pub use self::target::{Target, end_of_last_line};

/// How often in a row a file may be deleted while it is written.
const DELETIONS_MAX: usize = 3;

/// Lines on their way to a target.
pub struct EventFile {
    path: Option<(PathBuf, u32)>,
    /// None while a file that could not be reopened for want of descriptors is closed.
    target: Option<Box<dyn Target>>,
    /// Whole lines, of which the first `offered` bytes are with the target.
    buffer: Vec<u8>,
    offered: usize,
    lines: u64,
    written: Written,
    is_unsynced: bool,
    is_reopen_due: bool,
    /// Whether a deleted file is an error, and not made anew.
    deletion_is_error: bool,
}

/// Whole lines that the target has taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// How many.
    pub lines: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl EventFile {
    /// The file at `path`, made with these permissions if there is none; `-` is the standard output. Also
    /// returns how many bytes of a cut line were removed from the file's end.
    ///
    /// # Errors
    /// The file cannot be opened or repaired.
    pub fn open(path: &Path, mode: u32) -> io::Result<(Self, u64)> {
        if path.as_os_str() == "-" {
            return Ok((Self::to(Box::new(FileTarget::stdout()?)), 0));
        }
        let (file, cut_bytes) = FileTarget::open(path, mode)?;
        Ok((Self { path: Some((path.to_owned(), mode)), ..Self::to(Box::new(file)) }, cut_bytes))
    }

    /// Lines to any target.
    pub fn to(target: Box<dyn Target>) -> Self {
        Self {
            path: None,
            target: Some(target),
            buffer: Vec::new(),
            offered: 0,
            lines: 0,
            written: Written::default(),
            is_unsynced: false,
            is_reopen_due: false,
            deletion_is_error: false,
        }
    }

    /// Lines to a segment of the journal, which replaces it by another one.
    pub(crate) fn to_segment(target: FileTarget) -> Self {
        Self { deletion_is_error: true, ..Self::to(Box::new(target)) }
    }

    /// Has lines that wait, and later ones, written to another segment. No line may be cut.
    pub(crate) fn use_segment(&mut self, target: FileTarget) {
        self.target = Some(Box::new(target));
        (self.offered, self.is_unsynced) = (0, false);
    }

    /// Whether the target was deleted.
    pub(crate) fn is_deleted(&self) -> bool {
        self.target.as_ref().is_some_and(|target| target.is_deleted())
    }

    /// Whether the target has the beginning of a line without its end.
    pub(crate) const fn has_cut_line(&self) -> bool {
        self.offered > 0
    }

    /// Opens the file again under its name, as is due after it was renamed. Lines that wait go to the new file.
    ///
    /// # Errors
    /// It cannot be opened. All lines wait until a later [`write`](Self::write) can open it.
    pub fn reopen(&mut self) -> io::Result<()> {
        self.is_reopen_due = self.path.is_some();
        self.reopen_if_due()
    }

    /// Writes to the file in use after all, although it should have been reopened: better than to lose the last lines.
    pub const fn forgo_reopen(&mut self) {
        if self.target.is_some() {
            self.is_reopen_due = false;
        }
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
    /// The target refuses, or takes nothing at the moment ([`WouldBlock`](io::ErrorKind::WouldBlock)). What it has not
    /// taken waits on; [`take_written`](Self::take_written) says what it has taken.
    pub fn write(&mut self) -> io::Result<()> {
        self.write_observed(&mut |_| {})
    }

    /// The same; `written` gets the whole lines that the target has taken.
    pub(crate) fn write_observed(&mut self, written: &mut dyn FnMut(&[u8])) -> io::Result<()> {
        for _ in 0..DELETIONS_MAX {
            self.reopen_if_due()?;
            let result = self.write_buffer();
            let is_deleted = (self.path.is_some() || self.deletion_is_error) && self.is_deleted();
            if !is_deleted {
                self.drop_written_lines(written);
                return result;
            }
            // Nobody will read what the deleted file has taken of this buffer.
            self.offered = 0;
            if self.deletion_is_error {
                return Err(io::Error::new(io::ErrorKind::NotFound, "the segment was deleted"));
            }
            self.is_reopen_due = true;
        }
        Err(io::Error::other("the file is deleted again and again"))
    }

    /// What was written since the last call.
    pub const fn take_written(&mut self) -> Written {
        std::mem::replace(&mut self.written, Written { lines: 0, bytes: 0 })
    }

    /// Waits until the target may take more, but not longer than this.
    pub fn wait(&self, time_max: Duration) {
        match &self.target {
            Some(target) => target.wait(time_max),
            None => std::thread::sleep(time_max),
        }
    }

    /// Gives up the lines that wait, and returns how many those were.
    pub fn give_up(&mut self) -> u64 {
        self.buffer.clear();
        self.offered = 0;
        std::mem::take(&mut self.lines)
    }

    /// Has the system store what was written since the last call.
    ///
    /// # Errors
    /// The system could not; the next call tries it again.
    pub fn sync(&mut self) -> io::Result<()> {
        if let Some(target) = self.target.as_mut().filter(|_| self.is_unsynced) {
            target.sync()?;
            self.is_unsynced = false;
        }
        Ok(())
    }

    fn reopen_if_due(&mut self) -> io::Result<()> {
        let Some((path, mode)) = self.path.as_ref().filter(|_| self.is_reopen_due) else { return Ok(()) };
        let (path, mode) = (path.clone(), *mode);
        self.end_cut_line()?;
        let file = match FileTarget::open(&path, mode) {
            // The descriptor of the old file is one.
            Err(error) if is_out_of_descriptors(&error) && self.target.is_some() => {
                let _ = self.sync();
                self.target = None;
                FileTarget::open(&path, mode)
            }
            opened => opened,
        };
        let (file, _) = file?;
        let _ = self.sync();
        self.target = Some(Box::new(file));
        self.is_reopen_due = false;
        Ok(())
    }

    /// Gives the target the rest of a line that it took in part, and could not give back.
    fn end_cut_line(&mut self) -> io::Result<()> {
        while self.offered > 0
            && let Some(target) = &mut self.target
            && let Some(rest) = self.buffer.get(self.offered..)
        {
            let end = memchr::memchr(b'\n', rest).map_or(rest.len(), |end| end + 1);
            self.offered += write_some(target.as_mut(), rest.get(..end).unwrap_or_default())?;
            self.drop_written_lines(&mut |_| {});
        }
        Ok(())
    }

    fn write_buffer(&mut self) -> io::Result<()> {
        let closed = || io::Error::new(io::ErrorKind::NotConnected, "the file is closed");
        while self.offered < self.buffer.len() {
            let target = self.target.as_mut().ok_or_else(closed)?;
            match write_some(target.as_mut(), self.buffer.get(self.offered..).unwrap_or_default()) {
                Ok(count) => {
                    self.offered += count;
                    self.is_unsynced = true;
                }
                Err(error) => {
                    self.take_back_cut_line();
                    return Err(error);
                }
            }
        }
        self.target.as_mut().map_or(Ok(()), |target| target.flush())
    }

    /// Takes the beginning of a line back whose end the target refuses.
    fn take_back_cut_line(&mut self) {
        let offered = self.buffer.get(..self.offered).unwrap_or_default();
        let cut = offered.get(end_of_lines(offered)..).unwrap_or_default();
        if let Some(target) = &mut self.target
            && !cut.is_empty()
            && target.take_back(cut).unwrap_or(false)
        {
            self.offered -= cut.len();
        }
    }

    /// Removes the lines that the target has taken from the buffer.
    fn drop_written_lines(&mut self, written: &mut dyn FnMut(&[u8])) {
        let offered = self.buffer.get(..self.offered).unwrap_or_default();
        let end = end_of_lines(offered);
        written(offered.get(..end).unwrap_or_default());
        let lines = memchr::memchr_iter(b'\n', offered).count() as u64;
        self.buffer.drain(..end);
        self.offered -= end;
        self.lines = self.lines.saturating_sub(lines);
        self.written.lines += lines;
        self.written.bytes += end as u64;
    }
}

/// Writes some bytes, and returns how many.
fn write_some(target: &mut dyn Target, bytes: &[u8]) -> io::Result<usize> {
    loop {
        match target.write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// The end of the last whole line.
pub(crate) fn end_of_lines(bytes: &[u8]) -> usize {
    memchr::memrchr(b'\n', bytes).map_or(0, |end| end + 1)
}

#[cfg(test)]
mod tests;
