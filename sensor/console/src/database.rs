//! Connections that read the tables. A page takes one for as long as it asks.

use std::path::PathBuf;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::projection::{Progress, is_damage};

/// Connections that are kept open.
const IDLE_MAX: usize = 8;
/// Pages that a connection keeps in memory, in KiB.
const CACHE_KIB: i64 = 4 * 1024;

/// Makes connections.
pub struct Database {
    path: PathBuf,
    progress: Arc<Progress>,
    /// Each with the generation of the tables that it reads.
    idle: Mutex<Vec<(u64, Connection)>>,
}

impl Database {
    pub fn new(path: PathBuf, progress: Arc<Progress>) -> Self {
        Self { path, progress, idle: Mutex::default() }
    }

    /// Asks the tables, all questions of one answer at the same state of them.
    ///
    /// # Errors
    /// They cannot be read.
    pub fn read<T>(&self, ask: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> rusqlite::Result<T> {
        let answer = self.ask(ask);
        match &answer {
            Ok(_) => self.progress.was_read(true),
            Err(rusqlite::Error::SqliteFailure(failure, _)) if is_damage(failure.code) => self.progress.damaged(),
            // Others are busy with them: that passes.
            Err(rusqlite::Error::SqliteFailure(failure, _))
                if matches!(failure.code, ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {}
            Err(_) => self.progress.was_read(false),
        }
        answer
    }

    fn ask<T>(&self, ask: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> rusqlite::Result<T> {
        let generation = self.progress.generation.load(Relaxed);
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|(of, _)| *of == generation);
        let known = idle.pop();
        drop(idle);
        let mut tables = match known {
            Some((_, tables)) => tables,
            None => self.connect()?,
        };
        let transaction = tables.transaction()?;
        let answer = ask(&transaction)?;
        drop(transaction);
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_MAX {
            idle.push((generation, tables));
        }
        Ok(answer)
    }

    fn connect(&self) -> rusqlite::Result<Connection> {
        // Readers of a database in WAL mode write its index of shared memory, and nothing else.
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let tables = Connection::open_with_flags(&self.path, flags)?;
        tables.busy_timeout(Duration::from_secs(2))?;
        tables.pragma_update(None, "query_only", true)?;
        tables.pragma_update(None, "cache_size", -CACHE_KIB)?;
        tables.set_prepared_statement_cache_capacity(64);
        Ok(tables)
    }
}
