//! The thread that works on closed segments: it compresses them, and removes what retention no longer allows.
//!
//! Nothing is lost at any step that power may fail at: a new form of a segment is on the disk, and was read back, before it
//! takes the place of the old one. Retention makes the seal before that, and the next start ends what it announces.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use memchr::memmem;
use serde::Deserialize;

use super::live::text_of;
use super::retention_clock::RetentionClock;
use super::status::JournalStatus;
use super::{Retention, locked};
use crate::eve::{AUDIT_MARK, GENERATOR_AUDIT, GENERATOR_INCIDENT, INCIDENT_MARK};
use crate::seal::{Seal, SealFile};
use crate::segment::{self, NewSegment, Segment};
use crate::sha256::Sha256;

/// How often the thread looks for something to do.
const WORK_EVERY: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(86_400);

/// The thread. It ends, after the segment at which it works, when this is dropped.
pub(super) struct Keeper {
    wake: Option<SyncSender<()>>,
    work: Arc<Work>,
    thread: Option<JoinHandle<()>>,
}

impl Keeper {
    pub(super) fn start(
        folder: &Path,
        retention: Retention,
        live_seq: u64,
        seals: &Arc<Mutex<SealFile>>,
        status: &Arc<JournalStatus>,
    ) -> io::Result<Self> {
        let work = Arc::new(Work {
            folder: folder.to_owned(),
            retention: Mutex::new(retention),
            live_seq: AtomicU64::new(live_seq),
            seals: Arc::clone(seals),
            status: Arc::clone(status),
            is_stopping: AtomicBool::new(false),
            altered: Mutex::new(BTreeSet::new()),
            clock: Mutex::new(RetentionClock::open(folder, Instant::now(), SystemTime::now())),
        });
        let (wake, woken) = sync_channel(1);
        let worker = Arc::clone(&work);
        let thread = thread::Builder::new().name("journal".to_owned()).spawn(move || {
            loop {
                worker.work();
                match woken.recv_timeout(WORK_EVERY) {
                    Err(RecvTimeoutError::Disconnected) => return,
                    Ok(()) | Err(RecvTimeoutError::Timeout) => {}
                }
            }
        })?;
        Ok(Self { wake: Some(wake), work, thread: Some(thread) })
    }

    /// All segments below this one are closed.
    pub(super) fn closed_below(&self, live_seq: u64) {
        self.work.live_seq.store(live_seq, Ordering::Release);
        self.wake();
    }

    pub(super) fn set_retention(&self, retention: Retention) {
        *locked(&self.work.retention) = retention;
        self.wake();
    }

    fn wake(&self) {
        if let Some(wake) = &self.wake {
            let _ = wake.try_send(());
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.work.is_stopping.store(true, Ordering::Relaxed);
        self.wake = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Work {
    folder: PathBuf,
    retention: Mutex<Retention>,
    live_seq: AtomicU64,
    seals: Arc<Mutex<SealFile>>,
    status: Arc<JournalStatus>,
    is_stopping: AtomicBool,
    /// Segments whose lines are not those that were sealed: they stay as they are, as evidence.
    altered: Mutex<BTreeSet<u64>>,
    clock: Mutex<RetentionClock>,
}

impl Work {
    /// Does all that is due.
    fn work(&self) {
        if let Err(error) = self.compress_all().and_then(|()| self.retain()) {
            self.status.failed(format!("closed segments cannot be compressed or removed: {error}"));
        }
        if let Err(error) = self.tell_size() {
            self.status.failed(format!("the folder cannot be read: {error}"));
        }
    }

    fn is_stopping(&self) -> bool {
        self.is_stopping.load(Ordering::Relaxed)
    }

    /// Closed segments that have a seal, the oldest first.
    fn closed(&self) -> io::Result<Vec<(Seal, segment::Forms)>> {
        let live_seq = self.live_seq.load(Ordering::Acquire);
        let segments = segment::list(&self.folder)?;
        let seals = locked(&self.seals);
        let closed = segments.into_iter().filter(|(seq, _)| *seq < live_seq);
        Ok(closed.filter_map(|(seq, forms)| Some((seals.latest(seq)?.clone(), forms))).collect())
    }

    fn compress_all(&self) -> io::Result<()> {
        for (seal, forms) in self.closed()? {
            if self.is_stopping() {
                break;
            }
            if forms.plain && !forms.compressed && !locked(&self.altered).contains(&seal.seq) {
                self.compress(&seal)?;
            }
        }
        Ok(())
    }

    fn compress(&self, seal: &Seal) -> io::Result<()> {
        let seq = seal.seq;
        let plain = File::open(segment::plain_path(&self.folder, seq))?;
        let mut new = NewSegment::create(&self.folder, seq)?;
        let mut hash = Sha256::new();
        let copied = segment::each_chunk(plain, |chunk| {
            hash.update(chunk);
            new.write_all(chunk)
        });
        if let Err(error) = copied {
            new.discard();
            return Err(error);
        }
        if hash.hex() != seal.sha256 {
            new.discard();
            return self.is_altered(seq);
        }
        self.finish(new, seal)?;
        segment::use_unfinished(&self.folder, seq)?;
        self.status.compressed_one();
        Ok(())
    }

    /// Ends a compressed segment, and reads it back.
    fn finish(&self, new: NewSegment, seal: &Seal) -> io::Result<()> {
        let path = segment::unfinished_path(&self.folder, seal.seq);
        let read_back = || segment::plain_hash(zstd::Decoder::new(File::open(&path)?)?);
        let result = new.finish().and_then(|()| read_back()).and_then(|hash| {
            let is_same = hash == seal.sha256;
            is_same.then_some(()).ok_or_else(|| io::Error::other("a compressed segment reads back as other lines"))
        });
        if result.is_err() {
            let _ = fs::remove_file(&path);
        }
        result
    }

    /// A segment that is not what was sealed stays as it is.
    fn is_altered(&self, seq: u64) -> io::Result<()> {
        locked(&self.altered).insert(seq);
        self.status.failed(format!("segment {seq} is not as it was sealed: 'vigie journal verify' says more"));
        Ok(())
    }

    fn retain(&self) -> io::Result<()> {
        let retention = *locked(&self.retention);
        let now = self.now()?;
        let alerts_before = text_of(now, DAY * retention.alerts_days);
        let incidents_before = text_of(now, DAY * retention.incidents_days);
        for (seal, _) in self.closed()? {
            if self.is_stopping() {
                return Ok(());
            }
            if seal.last < incidents_before {
                self.remove(&seal, "incidents_days")?;
                self.status.expired_segment();
            } else if seal.last < alerts_before && seal.limit.is_none() {
                self.remove_alerts(&seal)?;
            }
        }
        self.keep_to_bytes_max(retention.bytes_max)
    }

    /// The time by which events are old.
    fn now(&self) -> io::Result<SystemTime> {
        let wall = SystemTime::now();
        let mut clock = locked(&self.clock);
        let now = clock.advance(Instant::now(), wall);
        if let Some(behind) = clock.take_behind(wall) {
            let days = behind.as_secs() / DAY.as_secs();
            self.status.failed(format!(
                "the clock of this machine is {days} days ahead of what the journal has counted: it jumped, or the machine was \
                 off; what is too old is removed at the pace of a day an hour"
            ));
        }
        clock.save()?;
        Ok(now)
    }

    /// Writes a segment anew without what is kept for `alerts_days` only.
    fn remove_alerts(&self, seal: &Seal) -> io::Result<()> {
        if locked(&self.altered).contains(&seal.seq) {
            return Ok(());
        }
        let mut new = NewSegment::create(&self.folder, seal.seq)?;
        let (mut before, mut after) = (Sha256::new(), Sha256::new());
        let (mut lines, mut bytes) = (0, 0);
        let copied = Segment::open(&self.folder, seal.seq).and_then(|segment| {
            segment::each_line(segment.into_lines(), |line| {
                before.update(line);
                if is_kept_longer(line) {
                    after.update(line);
                    lines += 1;
                    bytes += line.len() as u64;
                    new.write_all(line)?;
                }
                Ok(())
            })
        });
        if let Err(error) = copied {
            new.discard();
            return Err(error);
        }
        if before.hex() != seal.sha256 {
            new.discard();
            return self.is_altered(seal.seq);
        }
        if lines == 0 {
            new.discard();
            self.remove(seal, "alerts_days")?;
            self.status.expired_lines(seal.lines);
            return Ok(());
        }
        let changed = seal.changed("alerts_days", lines, bytes, after.hex());
        self.finish(new, &changed)?;
        self.seal(changed)?;
        segment::use_unfinished(&self.folder, seal.seq)?;
        self.status.expired_lines(seal.lines.saturating_sub(lines));
        Ok(())
    }

    /// Removes a segment.
    fn remove(&self, seal: &Seal, limit: &str) -> io::Result<()> {
        self.seal(seal.changed(limit, 0, 0, Sha256::of(&[])))?;
        segment::remove_if_there(&segment::plain_path(&self.folder, seal.seq))?;
        segment::remove_if_there(&segment::compressed_path(&self.folder, seal.seq))?;
        segment::sync_folder(&self.folder)
    }

    fn seal(&self, seal: Seal) -> io::Result<()> {
        let mut seals = locked(&self.seals);
        seals.append(seal)?;
        self.status.sealed(seals.count());
        Ok(())
    }

    fn keep_to_bytes_max(&self, bytes_max: u64) -> io::Result<()> {
        let mut in_all: u64 = self.sizes()?.iter().map(|(_, bytes)| bytes).sum();
        for (seal, _) in self.closed()? {
            if in_all <= bytes_max || self.is_stopping() {
                break;
            }
            let bytes = size(&self.folder, seal.seq);
            self.remove(&seal, "bytes_max")?;
            self.status.over_bytes_max();
            in_all = in_all.saturating_sub(bytes);
        }
        Ok(())
    }

    fn sizes(&self) -> io::Result<Vec<(u64, u64)>> {
        Ok(segment::list(&self.folder)?.into_keys().map(|seq| (seq, size(&self.folder, seq))).collect())
    }

    fn tell_size(&self) -> io::Result<()> {
        let live_seq = self.live_seq.load(Ordering::Acquire);
        let sizes = self.sizes()?;
        let closed = sizes.iter().filter(|(seq, _)| *seq < live_seq);
        self.status.stored(sizes.len() as u64, closed.map(|(_, bytes)| bytes).sum());
        Ok(())
    }
}

/// Bytes of a segment on the disk.
fn size(folder: &Path, seq: u64) -> u64 {
    let paths = [segment::plain_path(folder, seq), segment::compressed_path(folder, seq)];
    paths.iter().filter_map(|path| path.metadata().ok()).map(|metadata| metadata.len()).sum()
}

/// Whether a line is kept for `incidents_days`: incidents, audit, and `stats`, which names nobody.
fn is_kept_longer(line: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Event {
        event_type: String,
        alert: Option<Alert>,
    }
    #[derive(Deserialize)]
    struct Alert {
        gid: u64,
    }
    // Most lines are alerts of generator 1, and need no parser.
    if memmem::find(line, INCIDENT_MARK).is_none()
        && memmem::find(line, AUDIT_MARK).is_none()
        && memmem::find(line, b"\"event_type\":\"stats\"").is_none()
    {
        return false;
    }
    let Ok(event) = serde_json::from_slice::<Event>(line) else { return false };
    match event.alert {
        Some(Alert { gid }) => gid == GENERATOR_INCIDENT || gid == GENERATOR_AUDIT,
        None => event.event_type == "stats",
    }
}
