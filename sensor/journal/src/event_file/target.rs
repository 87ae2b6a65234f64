//! What lines are written to: a regular file, a pipe, or anything that takes bytes.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// What a pipe takes whole or not at all (PIPE_BUF, pipe(7)).
const PIPE_WRITE_BYTES_MAX: usize = 4_096;

/// Where lines go.
pub trait Target: Write + Send {
    /// Has the system store what was written.
    ///
    /// # Errors
    /// If that fails.
    fn sync(&mut self) -> io::Result<()>;

    /// Removes the bytes that were written last. False if the target cannot take bytes back.
    ///
    /// # Errors
    /// If that fails.
    fn take_back(&mut self, _last: &[u8]) -> io::Result<bool> {
        Ok(false)
    }

    /// Whether the target was deleted, so that nobody will read what is written to it.
    fn is_deleted(&self) -> bool {
        false
    }

    /// Waits until the target may take more, but not longer than this.
    fn wait(&self, time_max: Duration) {
        thread::sleep(time_max);
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Regular,
    Pipe,
    /// A terminal, a device, a socket.
    Other,
}

/// An open file.
#[derive(Debug)]
pub(crate) struct FileTarget {
    file: File,
    kind: Kind,
}

impl FileTarget {
    /// Opens the file and removes a last line without end. Also returns how many bytes were removed.
    pub(crate) fn open(path: &Path, mode: u32) -> io::Result<(Self, u64)> {
        let nonblocking = OFlag::O_NONBLOCK.bits();
        let mut options = OpenOptions::new();
        let mut file = options.append(true).read(true).create(true).mode(mode).custom_flags(nonblocking).open(path)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            // Without the right to read, so that a pipe without a reader is noticed.
            let file = OpenOptions::new().append(true).custom_flags(nonblocking).open(path)?;
            return Ok((Self::of(file)?, 0));
        }
        let good = end_of_last_line(&mut file, u64::MAX)?.unwrap_or_default();
        if good < metadata.len() {
            file.set_len(good)?;
        }
        Ok((Self { file, kind: Kind::Regular }, metadata.len() - good))
    }

    /// The standard output.
    pub(super) fn stdout() -> io::Result<Self> {
        Self::of(File::from(io::stdout().as_fd().try_clone_to_owned()?))
    }

    fn of(file: File) -> io::Result<Self> {
        let file_type = file.metadata()?.file_type();
        let kind = match (file_type.is_file(), file_type.is_fifo()) {
            (true, _) => Kind::Regular,
            (_, true) => Kind::Pipe,
            _ => Kind::Other,
        };
        Ok(Self { file, kind })
    }

    fn has_room(&self, time_max: Duration) -> bool {
        let mut entries = [PollFd::new(self.file.as_fd(), PollFlags::POLLOUT)];
        let time_max = PollTimeout::try_from(time_max).unwrap_or(PollTimeout::ZERO);
        // An error, such as a pipe without a reader, is what the next write returns.
        poll(&mut entries, time_max) != Ok(0)
    }
}

impl Write for FileTarget {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.kind != Kind::Pipe {
            return self.file.write(bytes);
        }
        // The standard output may be a pipe in blocking mode. One with room takes so many bytes without blocking.
        if !self.has_room(Duration::ZERO) {
            return Err(ErrorKind::WouldBlock.into());
        }
        let some = bytes.get(..PIPE_WRITE_BYTES_MAX).unwrap_or(bytes);
        let lines = some.get(..super::end_of_lines(some)).filter(|lines| !lines.is_empty());
        self.file.write(lines.unwrap_or(some))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Target for FileTarget {
    fn sync(&mut self) -> io::Result<()> {
        // Pipes and terminals store nothing.
        match self.file.sync_data() {
            // EINVAL and EROFS (fsync(2)).
            Err(error) if matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::ReadOnlyFilesystem) => Ok(()),
            done => done,
        }
    }

    fn take_back(&mut self, last: &[u8]) -> io::Result<bool> {
        if self.kind != Kind::Regular {
            return Ok(false);
        }
        let length = self.file.metadata()?.len();
        let Some(before) = length.checked_sub(last.len() as u64) else { return Ok(false) };
        // Somebody else may have truncated the file, or appended to it.
        let mut end = vec![0; last.len()];
        self.file.read_exact_at(&mut end, before)?;
        if end != last {
            return Ok(false);
        }
        self.file.set_len(before)?;
        // The standard output may not be in append mode.
        self.file.seek(SeekFrom::Start(before))?;
        Ok(true)
    }

    fn is_deleted(&self) -> bool {
        self.kind == Kind::Regular && self.file.metadata().is_ok_and(|metadata| metadata.nlink() == 0)
    }

    fn wait(&self, time_max: Duration) {
        if self.kind == Kind::Regular {
            thread::sleep(time_max);
        } else {
            self.has_room(time_max);
        }
    }
}

/// Whether the process or the system has no descriptor left.
pub(super) fn is_out_of_descriptors(error: &io::Error) -> bool {
    error.raw_os_error().is_some_and(|error| error == Errno::EMFILE as i32 || error == Errno::ENFILE as i32)
}

/// How long a file is up to the end of its last whole line, which is searched in its last `back_bytes_max` bytes. `None` if it
/// begins before them.
///
/// # Errors
/// The file cannot be read.
pub fn end_of_last_line(file: &mut File, back_bytes_max: u64) -> io::Result<Option<u64>> {
    const CHUNK_BYTES: u64 = 64 << 10;
    let length = file.metadata()?.len();
    let earliest = length.saturating_sub(back_bytes_max);
    let mut end = length;
    let mut chunk = Vec::new();
    while end > earliest {
        let start = end.saturating_sub(CHUNK_BYTES).max(earliest);
        file.seek(SeekFrom::Start(start))?;
        chunk.clear();
        Read::by_ref(file).take(end - start).read_to_end(&mut chunk)?;
        if let Some(place) = memchr::memrchr(b'\n', &chunk) {
            return Ok(Some(start + place as u64 + 1));
        }
        end = start;
    }
    Ok((earliest == 0).then_some(0))
}
