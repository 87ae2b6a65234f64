//! What a report is made from: the tables of consoles, or tables that are made from journals and removed afterwards.

use std::env;
use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process;

use rusqlite::{Connection, OpenFlags};

use super::figures::Source;
use crate::projection::project_once;

const STATE_DEFAULT: &str = "/var/lib/vigie-console";
const JOURNAL_DEFAULT: &str = "/var/lib/vigie/journal";

/// The tables, and the journals whose seals cover them.
pub struct Sources {
    pub sources: Vec<Source>,
    pub journals: Vec<PathBuf>,
    /// Removed with this.
    _made: Option<Made>,
}

/// A folder of tables that were made for one report: they tell devices, so nobody else reads them.
struct Made(PathBuf);

impl Drop for Made {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Sources {
    /// Opens the tables of consoles; of journals without a console, makes them.
    ///
    /// # Errors
    /// What cannot be read, and the mend.
    pub fn open(states: &[PathBuf], journals: &[PathBuf]) -> Result<Self, String> {
        if states.is_empty() && !journals.is_empty() {
            return Self::made(journals);
        }
        let states = if states.is_empty() { &[PathBuf::from(STATE_DEFAULT)] } else { states };
        let journals = if journals.is_empty() { vec![PathBuf::from(JOURNAL_DEFAULT)] } else { journals.to_vec() };
        let sources = states.iter().map(|state| {
            let path = state.join("console.sqlite");
            let mend = "start vigie-console once, or give --state or --journal";
            let tables = read_only(&path).map_err(|error| format!("{}: {error}; {mend}", path.display()))?;
            Ok(Source { name: state.display().to_string(), tables })
        });
        Ok(Self { sources: sources.collect::<Result<_, String>>()?, journals, _made: None })
    }

    fn made(journals: &[PathBuf]) -> Result<Self, String> {
        let folder = env::temp_dir().join(format!("vigie-report-{}", process::id()));
        // A folder that is there already may be somebody else's.
        let made = DirBuilder::new().mode(0o700).create(&folder);
        made.map_err(|error| format!("{}: {error}; set TMPDIR to a folder that can be written", folder.display()))?;
        let made = Made(folder.clone());
        let mut sources = Vec::new();
        for (number, journal) in journals.iter().enumerate() {
            let path = folder.join(format!("{number}.sqlite"));
            let failed = |error: String| format!("{}: {error}; check path and permissions", journal.display());
            if !journal.is_dir() {
                return Err(failed("no such folder".to_owned()));
            }
            project_once(journal, &path).map_err(|error| failed(error.to_string()))?;
            let tables = read_only(&path).map_err(|error| failed(error.to_string()))?;
            sources.push(Source { name: journal.display().to_string(), tables });
        }
        Ok(Self { sources, journals: journals.to_vec(), _made: Some(made) })
    }
}

fn read_only(path: &Path) -> rusqlite::Result<Connection> {
    // As a reader of a database in WAL mode, which writes nothing.
    let tables = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    tables.pragma_update(None, "query_only", true)?;
    Ok(tables)
}
