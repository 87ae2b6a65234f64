//! The journal of a running sensor: lines are appended to the live segment, which is closed by size or age, sealed, and
//! compressed by another thread. The same thread removes what is older than retention allows.
//!
//! What the disk refuses waits and is offered again, as with [`EventFile`]. A line that `write` has
//! written is read by others at once; it survives a loss of power after [`sync`](Journal::sync).
//!
//! Not here: when to sync (the program has a setting for it), and what was judged (`NNNNNNNN.state` is the program's).

mod keeper;
mod live;
mod repair;
mod retention_clock;
mod status;
#[cfg(test)]
mod tests;

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::fcntl::{Flock, FlockArg};

use self::keeper::Keeper;
use self::live::Live;
pub use self::repair::Repairs;
pub use self::status::JournalStatus;
use crate::event_file::{EventFile, FileTarget, Written};
use crate::seal::{Seal, SealFile};
use crate::segment::{self, FILE_MODE};

/// Permissions of the folder: files in it belong to its group.
const FOLDER_MODE: u32 = 0o2750;
/// The file that the writing program holds.
const LOCK: &str = "lock";
/// How often a segment that could not be closed is tried again.
const ROTATE_AGAIN_EVERY: Duration = Duration::from_secs(1);

/// When segments are closed, and how long they are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JournalOptions {
    /// A segment that has so many bytes is closed.
    pub segment_bytes: u64,
    /// A segment whose first line was written so long ago is closed.
    pub segment_age: Duration,
    /// How long events are kept.
    pub retention: Retention,
}

impl Default for JournalOptions {
    fn default() -> Self {
        Self { segment_bytes: 64 << 20, segment_age: Duration::from_secs(600), retention: Retention::default() }
    }
}

/// How long events are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Days after which all but incidents, audit and `stats` is removed from closed segments.
    pub alerts_days: u32,
    /// Days after which closed segments are removed.
    pub incidents_days: u32,
    /// Bytes of all segments on the disk; when there are more, the oldest closed one is removed.
    pub bytes_max: u64,
}

impl Default for Retention {
    fn default() -> Self {
        Self { alerts_days: 30, incidents_days: 180, bytes_max: 20 << 30 }
    }
}

/// Lines on their way to the live segment.
pub struct Journal {
    folder: PathBuf,
    options: JournalOptions,
    file: EventFile,
    live: Live,
    /// The live segment has its seal, and the next one could not be made yet.
    is_sealed: bool,
    rotation_failed: Option<Instant>,
    seals: Arc<Mutex<SealFile>>,
    status: Arc<JournalStatus>,
    keeper: Keeper,
    policy: String,
    signatures: String,
    _lock: Flock<File>,
}

impl Journal {
    /// Makes the folder of a journal, if there is none.
    ///
    /// # Errors
    /// It cannot be made, or is no folder.
    pub fn make_folder(folder: &Path) -> io::Result<()> {
        if folder.is_dir() {
            return Ok(());
        }
        DirBuilder::new().mode(FOLDER_MODE & 0o777).create(folder)?;
        Self::set_folder_mode(folder)
    }

    /// Gives the folder of a journal its permissions. Where no folder may have its group set on new files (systemd's
    /// RestrictSUIDSGID), files have the group of the program.
    ///
    /// # Errors
    /// The folder is not this user's.
    pub fn set_folder_mode(folder: &Path) -> io::Result<()> {
        let set = |mode| fs::set_permissions(folder, fs::Permissions::from_mode(mode));
        set(FOLDER_MODE).or_else(|_| set(FOLDER_MODE & 0o777))
    }

    /// Opens the journal in a folder, and repairs what a crash or a loss of power left. Makes the folder if there is none.
    ///
    /// # Errors
    /// The folder cannot be read or written, or another program writes to it.
    pub fn open(folder: &Path, options: JournalOptions) -> io::Result<(Self, Repairs)> {
        Self::make_folder(folder)?;
        let lock = lock(folder)?;
        let repair::Repaired { seals, live_seq, repairs } = repair::repair(folder)?;
        let target = open_segment(folder, live_seq)?;
        let live = Live::read(folder, live_seq)?;
        let status = Arc::new(JournalStatus::default());
        status.sealed(seals.count());
        let seals = Arc::new(Mutex::new(seals));
        let keeper = Keeper::start(folder, options.retention, live_seq, &seals, &status)?;
        let journal = Self {
            folder: folder.to_owned(),
            options,
            file: EventFile::to_segment(target),
            live,
            is_sealed: false,
            rotation_failed: None,
            seals,
            status,
            keeper,
            policy: String::new(),
            signatures: String::new(),
            _lock: lock,
        };
        Ok((journal, repairs))
    }

    /// Adds the line that `encode` appends to the buffer, newline included, and returns its length in bytes.
    /// [`write`](Self::write) is due soon.
    pub fn add_line(&mut self, encode: impl FnOnce(&mut Vec<u8>)) -> usize {
        self.file.add_line(encode)
    }

    /// Lines that wait.
    pub const fn lines_waiting(&self) -> u64 {
        self.file.lines_waiting()
    }

    /// Whether so much waits that it should be written before more is added.
    pub fn is_full(&self) -> bool {
        self.file.is_full()
    }

    /// Writes all that waits, and closes the live segment if that is due. It has to be called now and then although
    /// nothing waits.
    ///
    /// # Errors
    /// The disk refuses. What it has not taken waits on; [`take_written`](Self::take_written) says what it has taken.
    pub fn write(&mut self) -> io::Result<()> {
        if self.is_sealed {
            self.begin_next()?;
        }
        if self.file.is_deleted() {
            self.replace_deleted()?;
        }
        let live = &mut self.live;
        let result = self.file.write_observed(&mut |lines| live.add(lines));
        match result {
            Err(_) if self.file.is_deleted() => {
                self.replace_deleted()?;
                let live = &mut self.live;
                self.file.write_observed(&mut |lines| live.add(lines))?;
            }
            result => result?,
        }
        self.status.live(self.live.bytes());
        if self.is_rotation_due() { self.rotate() } else { Ok(()) }
    }

    /// Closes the live segment: seals it, and begins the next one. Nothing is done if it has no line.
    ///
    /// # Errors
    /// The disk refuses; the segment stays the live one, or gets no line until the next one can be made.
    pub fn rotate(&mut self) -> io::Result<()> {
        if self.live.lines() == 0 || self.file.has_cut_line() {
            return Ok(());
        }
        let result = self.file.sync().and_then(|()| self.seal_live()).and_then(|()| self.begin_next());
        self.rotation_failed = result.is_err().then(Instant::now);
        result
    }

    /// What was written since the last call.
    pub const fn take_written(&mut self) -> Written {
        self.file.take_written()
    }

    /// Gives up the lines that wait, and returns how many those were.
    pub fn give_up(&mut self) -> u64 {
        self.file.give_up()
    }

    /// Has the system store what was written since the last call.
    ///
    /// # Errors
    /// The system could not; the next call tries it again.
    pub fn sync(&mut self) -> io::Result<()> {
        self.file.sync()
    }

    /// Which policy and signatures later seals name, by their hashes.
    pub fn judged_by(&mut self, policy: &str, signatures: &str) {
        policy.clone_into(&mut self.policy);
        signatures.clone_into(&mut self.signatures);
    }

    /// How long events are kept from now on.
    pub fn set_retention(&mut self, retention: Retention) {
        self.options.retention = retention;
        self.keeper.set_retention(retention);
    }

    /// Number of the live segment.
    pub const fn live_seq(&self) -> u64 {
        self.live.seq()
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Counts that metrics show.
    pub fn status(&self) -> Arc<JournalStatus> {
        Arc::clone(&self.status)
    }

    fn is_rotation_due(&self) -> bool {
        let is_due =
            self.live.bytes() >= self.options.segment_bytes || self.live.age() >= Some(self.options.segment_age);
        is_due && self.rotation_failed.is_none_or(|failed| failed.elapsed() >= ROTATE_AGAIN_EVERY)
    }

    fn seal_live(&mut self) -> io::Result<()> {
        let seal = Seal { policy: self.policy.clone(), signatures: self.signatures.clone(), ..self.live.seal() };
        let mut seals = locked(&self.seals);
        seals.append(seal)?;
        self.status.sealed(seals.count());
        self.is_sealed = true;
        Ok(())
    }

    fn begin_next(&mut self) -> io::Result<()> {
        let seq = self.live.seq() + 1;
        let target = open_segment(&self.folder, seq)?;
        self.file.use_segment(target);
        self.live = Live::new(seq);
        self.status.live(0);
        self.is_sealed = false;
        self.keeper.closed_below(seq);
        Ok(())
    }

    /// Goes on in the next segment after somebody deleted the live one. The seal says what it was.
    fn replace_deleted(&mut self) -> io::Result<()> {
        self.status.deleted();
        if self.live.lines() > 0 {
            self.seal_live()?;
            return self.begin_next();
        }
        let target = open_segment(&self.folder, self.live.seq())?;
        self.file.use_segment(target);
        Ok(())
    }
}

/// Opens a segment to append to it.
fn open_segment(folder: &Path, seq: u64) -> io::Result<FileTarget> {
    let path = segment::plain_path(folder, seq);
    let (target, _) = FileTarget::open(&path, FILE_MODE)?;
    segment::set_mode(&File::open(&path)?, FILE_MODE)?;
    segment::sync_folder(folder)?;
    Ok(target)
}

fn lock(folder: &Path) -> io::Result<Flock<File>> {
    let path = folder.join(LOCK);
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, error)| match error {
        nix::errno::Errno::EWOULDBLOCK => io::Error::other("another program writes to this journal"),
        error => error.into(),
    })
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
