//! The projection: a thread reads the sensor's journal and the console's own, and keeps tables of them in SQLite. The tables
//! can be thrown away: where the file is gone, damaged or of another version, they are made anew from the journals, and pages
//! show what there is meanwhile.
//!
//! Not here: what pages ask of the tables ([`crate::query`]).

pub mod line;
mod progress;
mod store;
#[cfg(test)]
mod tests;

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rusqlite::{Connection, ErrorCode, params};
use vigie_journal::{Cursor, JournalReader, StartAt};

pub use self::progress::{Progress, Reading};
pub use self::store::{Origin, Place, meta};
use self::store::{Store, set_meta};
use crate::alias::AliasKey;

/// Version of the tables: another one is made anew.
pub const SCHEMA: i64 = 7;
const TABLES: &str = include_str!("schema.sql");
/// Lines that are stored at once: the more, the less often a page is written that many of them change.
const BATCH_LINES_MAX: usize = 50_000;
/// Time after which what was read so far is stored: somebody may wait for a line of the other journal.
const BATCH_TIME_MAX: Duration = Duration::from_secs(2);
/// Lines after which it is looked at the clock.
const LINES_BETWEEN_LOOKS: usize = 512;
/// How often the journals are looked at again when everything was read.
const POLL_INTERVAL: Duration = Duration::from_millis(250);
/// Wait after an error.
const RETRY_INTERVAL: Duration = Duration::from_secs(2);
/// How often old rows are removed.
const PRUNE_INTERVAL: Duration = Duration::from_secs(3_600);
/// Pages that the thread that writes keeps in memory, in KiB.
const WRITER_CACHE_KIB: i64 = 64 * 1024;
/// Pages of changes after which the file itself is written: pages that change often are then written once.
const CHECKPOINT_PAGES: i64 = 8_192;
/// Days for which incidents are counted by hour: the list of the last 24 hours needs no more.
const HOUR_COUNT_DAYS: i64 = 3;
/// How many wait at once for their own line to be read.
const WAITING_MAX: usize = 64;

/// What is projected, and where to.
#[derive(Clone, Debug)]
pub struct Options {
    /// The sensor's journal.
    pub journal: PathBuf,
    /// The console's own journal.
    pub own_journal: PathBuf,
    /// The database.
    pub database: PathBuf,
    /// Evidence that is kept of one incident.
    pub evidence_max: u32,
    /// Days after which incidents, audit and coverage are removed.
    pub incidents_days: u32,
    /// Days after which evidence is removed.
    pub evidence_days: u32,
}

/// Somebody who waits until all lines of the console's own journal are in the tables.
pub type Wake = Box<dyn FnOnce() + Send>;

/// A running projection.
#[derive(Clone)]
pub struct Projection {
    pub progress: Arc<Progress>,
    wake: SyncSender<Wake>,
}

impl Projection {
    /// Starts the thread.
    ///
    /// # Errors
    /// A thread cannot be started.
    pub fn start(options: Options, key: AliasKey) -> io::Result<Self> {
        let (wake, woken) = sync_channel(WAITING_MAX);
        if !options.database.exists() {
            // The first page finds empty tables, not none. What fails here fails again in the thread, which tells it.
            let _ = open(&options.database);
        }
        let progress = Arc::<Progress>::default();
        let follower = Follower { options, key, progress: Arc::clone(&progress), woken, waiting: Vec::new() };
        thread::Builder::new().name("vigie-tables".to_owned()).spawn(move || follower.run())?;
        Ok(Self { progress, wake })
    }

    /// Calls back when everything that stands in the console's own journal now is in the tables. If too many wait, at once.
    pub fn when_read(&self, wake: Wake) {
        if let Err(refused) = self.wake.try_send(wake) {
            match refused {
                std::sync::mpsc::TrySendError::Full(wake) | std::sync::mpsc::TrySendError::Disconnected(wake) => wake(),
            }
        }
    }
}

/// Why the projection stops for a moment.
#[derive(Debug, thiserror::Error)]
pub enum Stopped {
    #[error("the database: {0}")]
    Database(#[from] rusqlite::Error),
    #[error("the journal: {0}")]
    Journal(#[from] vigie_journal::ReadError),
    #[error("the folder of the database: {0}")]
    Folder(#[from] io::Error),
}

/// Why the journals are followed no longer.
enum Ended {
    /// Nobody needs the projection any more.
    NobodyReads,
    /// Somebody removed, replaced or damaged the file: the tables are to be made anew.
    FileIsAnother,
}

struct Follower {
    options: Options,
    key: AliasKey,
    progress: Arc<Progress>,
    woken: Receiver<Wake>,
    waiting: Vec<Wake>,
}

impl Follower {
    /// Follows the journals until the program ends.
    fn run(mut self) {
        loop {
            match self.follow() {
                Ok(Ended::NobodyReads) => return,
                Ok(Ended::FileIsAnother) => remove(&self.options.database),
                Err(error) => {
                    if self.is_beyond_use(&error) {
                        remove(&self.options.database);
                    }
                    self.progress.failed(&error.to_string());
                    // Nobody waits for a journal that cannot be read.
                    self.waiting.drain(..).for_each(|wake| wake());
                    thread::sleep(RETRY_INTERVAL);
                }
            }
        }
    }

    /// Whether the database can only be made anew.
    fn is_beyond_use(&self, error: &Stopped) -> bool {
        match error {
            Stopped::Database(rusqlite::Error::SqliteFailure(failure, _)) => {
                // SQLITE_ERROR: tables are not as they should be.
                is_damage(failure.code) || failure.code == ErrorCode::Unknown
            }
            _ => false,
        }
    }

    /// Reads both journals on and on.
    fn follow(&mut self) -> Result<Ended, Stopped> {
        let mut tables = open(&self.options.database)?;
        let inode = fs::metadata(&self.options.database)?.ino();
        self.progress.opened();
        let mut store = Store::new(self.key.clone(), self.options.evidence_max);
        let mut own = Follow::open(&tables, Origin::Console, &self.options.own_journal)?;
        let mut sensor = Follow::open(&tables, Origin::Sensor, &self.options.journal)?;
        let mut pruned: Option<Instant> = None;
        loop {
            let is_same = fs::metadata(&self.options.database).map(|file| file.ino()).ok() == Some(inode);
            if !is_same || self.progress.is_damaged() {
                return Ok(Ended::FileIsAnother);
            }
            let is_at_end = own.read(&mut tables, &mut store, &self.progress)?;
            if is_at_end {
                self.waiting.drain(..).for_each(|wake| wake());
            }
            let is_at_end = sensor.read(&mut tables, &mut store, &self.progress)? && is_at_end;
            self.progress.at(&sensor.reader, is_at_end);
            if is_at_end && pruned.is_none_or(|at| at.elapsed() >= PRUNE_INTERVAL) {
                prune(&tables, &self.options)?;
                store.forget();
                pruned = Some(Instant::now());
            }
            let wait = if is_at_end { POLL_INTERVAL } else { Duration::ZERO };
            match self.woken.recv_timeout(wait) {
                Ok(wake) => self.waiting.push(wake),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(Ended::NobodyReads),
            }
        }
    }
}

/// Makes tables of one journal, from its first line to its last, for somebody who looks once.
///
/// # Errors
/// The journal or the database cannot be used.
pub fn project_once(journal: &Path, database: &Path) -> Result<(), Stopped> {
    const EVIDENCE_MAX: u32 = 1_000;
    let mut tables = open(database)?;
    // Nobody sees aliases of these tables.
    let mut store = Store::new(AliasKey::new(&[]), EVIDENCE_MAX);
    let mut follow = Follow::open(&tables, Origin::Sensor, journal)?;
    let progress = Progress::default();
    while !follow.read(&mut tables, &mut store, &progress)? {}
    Ok(())
}

/// A journal that is followed.
struct Follow {
    origin: Origin,
    reader: JournalReader,
    line: Vec<u8>,
}

impl Follow {
    fn open(tables: &Connection, origin: Origin, folder: &Path) -> Result<Self, Stopped> {
        let cursor = meta(tables, cursor_key(origin))?.and_then(|text| serde_json::from_str(&text).ok());
        let start = cursor.map_or(StartAt::Oldest, |cursor: Cursor| StartAt::Cursor(cursor));
        Ok(Self { origin, reader: JournalReader::open(folder, start)?, line: Vec::new() })
    }

    /// Takes some lines. True if there was nothing more.
    fn read(&mut self, tables: &mut Connection, store: &mut Store, progress: &Progress) -> Result<bool, Stopped> {
        let (mut taken, mut unread, began) = (0_usize, 0_u64, Instant::now());
        // It costs nothing until something is written.
        let batch = tables.transaction()?;
        let is_at_end = loop {
            let Some(line) = self.reader.next_line()? else { break true };
            self.line.clear();
            self.line.extend_from_slice(line);
            let (segment, end) = self.reader.place();
            let offset = end.saturating_sub(self.line.len() as u64 + 1);
            let place = Place { origin: self.origin, segment, offset };
            unread += u64::from(!store.take(&batch, place, &self.line)?);
            taken += 1;
            let is_late = taken.is_multiple_of(LINES_BETWEEN_LOOKS) && began.elapsed() >= BATCH_TIME_MAX;
            if taken >= BATCH_LINES_MAX || is_late {
                break false;
            }
        };
        if taken > 0 {
            store.write_counts(&batch)?;
            let cursor = serde_json::to_string(&self.reader.cursor()).unwrap_or_default();
            set_meta(&batch, cursor_key(self.origin), &cursor)?;
        }
        batch.commit()?;
        progress.lines.fetch_add(taken as u64, Relaxed);
        progress.lines_unread.fetch_add(unread, Relaxed);
        progress.segments_lost.fetch_add(self.reader.take_lost().segments, Relaxed);
        Ok(is_at_end)
    }
}

const fn cursor_key(origin: Origin) -> &'static str {
    match origin {
        Origin::Sensor => "cursor of the sensor",
        Origin::Console => "cursor of the console",
    }
}

/// Whether an error says that the file is damaged.
pub const fn is_damage(code: ErrorCode) -> bool {
    matches!(code, ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
}

/// Opens the tables to write them; makes them where there are none, or others.
fn open(path: &Path) -> Result<Connection, Stopped> {
    match connect(path) {
        Ok(Some(tables)) => return Ok(tables),
        Ok(None) => {}
        Err(rusqlite::Error::SqliteFailure(failure, _)) if is_damage(failure.code) => {}
        Err(error) => return Err(error.into()),
    }
    remove(path);
    let mut tables = Connection::open(path)?;
    prepare(&tables)?;
    let transaction = tables.transaction()?;
    transaction.execute_batch(TABLES)?;
    transaction.pragma_update(None, "user_version", SCHEMA)?;
    transaction.commit()?;
    Ok(tables)
}

/// The tables that are there; none if they are of another version.
fn connect(path: &Path) -> rusqlite::Result<Option<Connection>> {
    if !path.exists() {
        return Ok(None);
    }
    let tables = Connection::open(path)?;
    prepare(&tables)?;
    let version: i64 = tables.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let check: String = tables.pragma_query_value(None, "quick_check", |row| row.get(0))?;
    Ok((version == SCHEMA && check == "ok").then_some(tables))
}

fn prepare(tables: &Connection) -> rusqlite::Result<()> {
    tables.busy_timeout(Duration::from_secs(5))?;
    tables.pragma_update(None, "journal_mode", "WAL")?;
    // The tables can be made anew, so nothing waits for the disk.
    tables.pragma_update(None, "synchronous", "OFF")?;
    tables.pragma_update(None, "temp_store", "MEMORY")?;
    tables.pragma_update(None, "cache_size", -WRITER_CACHE_KIB)?;
    tables.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    tables.set_prepared_statement_cache_capacity(32);
    Ok(())
}

fn remove(path: &Path) {
    for suffix in ["", "-wal", "-shm"] {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        let _ = fs::remove_file(PathBuf::from(name));
    }
}

/// Removes what is older than it may be kept.
fn prune(tables: &Connection, options: &Options) -> rusqlite::Result<()> {
    const HOUR_US: i64 = 3_600_000_000;
    const DAY_US: i64 = 24 * HOUR_US;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros() as i64;
    let before = |days: u32| now - i64::from(days) * DAY_US;
    tables.execute("DELETE FROM evidence WHERE time_us < ?1", [before(options.evidence_days)])?;
    let oldest = before(options.incidents_days);
    let of_incidents = "SELECT seq FROM incident WHERE last_us < ?1";
    tables.execute(&format!("DELETE FROM change WHERE incident IN ({of_incidents})"), [oldest])?;
    tables.execute("DELETE FROM incident WHERE last_us < ?1", [oldest])?;
    let is_unused = |table: &str, column: &str| {
        format!("NOT EXISTS (SELECT 1 FROM {table} WHERE {table}.{column} = incident_key.seq)")
    };
    let unused = format!("{} AND {}", is_unused("incident", "seq"), is_unused("evidence", "incident"));
    tables.execute(&format!("DELETE FROM incident_key WHERE {unused}"), [])?;
    let is_gone = "NOT EXISTS (SELECT 1 FROM incident WHERE incident.client = client.client)";
    tables.execute(&format!("DELETE FROM client WHERE {is_gone}"), [])?;
    tables.execute("DELETE FROM audit WHERE time_us < ?1", [oldest])?;
    tables.execute("DELETE FROM coverage WHERE begin_us < ?1", [oldest])?;
    // Their rows are counted down as incidents go.
    tables.execute("DELETE FROM day_count WHERE incidents <= 0", [])?;
    tables.execute("DELETE FROM client_count WHERE incidents <= 0", [])?;
    tables.execute("DELETE FROM hour_count WHERE hour < ?1", [(now - HOUR_COUNT_DAYS * DAY_US) / HOUR_US])?;
    let days = options.incidents_days;
    tables.execute("DELETE FROM destination WHERE day < date('now', ?1)", params![format!("-{days} days")])?;
    tables.execute("DELETE FROM alert_day WHERE day < date('now', ?1)", params![format!("-{days} days")])?;
    Ok(())
}
