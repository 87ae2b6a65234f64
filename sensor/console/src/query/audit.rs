//! Who did what.

use rusqlite::{Connection, Row, params};

/// An audit line.
#[derive(Clone, Debug)]
pub struct Audit {
    /// `sensor` or `console`.
    pub journal: String,
    pub time_us: i64,
    pub kind: String,
    pub incident: String,
    pub by: String,
    /// All facts of the line, by key.
    pub facts: Vec<(String, String)>,
}

impl Audit {
    fn of(row: &Row<'_>) -> rusqlite::Result<Self> {
        let facts: String = row.get(5)?;
        Ok(Self {
            journal: row.get(0)?,
            time_us: row.get(1)?,
            kind: row.get(2)?,
            incident: row.get(3)?,
            by: row.get(4)?,
            facts: serde_json::from_str(&facts).unwrap_or_default(),
        })
    }

    /// A fact; empty if the line has it not.
    pub fn fact(&self, key: &str) -> &str {
        self.facts.iter().find(|(known, _)| known == key).map_or("", |(_, text)| text)
    }
}

const COLUMNS: &str = "journal, time_us, kind, incident, by, facts";

/// What people did about an incident, oldest first; of those who only looked, the newest.
///
/// # Errors
/// The tables cannot be read.
pub fn of_incident(tables: &Connection, id: &str) -> rusqlite::Result<Vec<Audit>> {
    let query = format!(
        "SELECT {COLUMNS} FROM (
             SELECT * FROM (SELECT * FROM audit WHERE incident = ?1 AND kind <> 'incident-viewed' ORDER BY time_us DESC LIMIT 200)
             UNION ALL
             SELECT * FROM (SELECT * FROM audit WHERE incident = ?1 AND kind = 'incident-viewed' ORDER BY time_us DESC LIMIT 5))
         ORDER BY time_us"
    );
    tables.prepare_cached(&query)?.query_map([id], Audit::of)?.collect()
}

/// Changes of the register of derogations, oldest first.
///
/// # Errors
/// The tables cannot be read.
pub fn of_derogations(tables: &Connection) -> rusqlite::Result<Vec<Audit>> {
    let query = format!(
        "SELECT {COLUMNS} FROM audit WHERE kind IN ('derogation-added', 'derogation-ended') ORDER BY time_us LIMIT 10000"
    );
    tables.prepare_cached(&query)?.query_map([], Audit::of)?.collect()
}

/// Lines before a time, newest first.
///
/// # Errors
/// The tables cannot be read.
pub fn before(tables: &Connection, time_us: i64, kind: &str, count_max: usize) -> rusqlite::Result<Vec<Audit>> {
    let query = format!(
        "SELECT {COLUMNS} FROM audit WHERE time_us < ?1 AND (?2 = '' OR kind = ?2) ORDER BY time_us DESC LIMIT ?3"
    );
    tables.prepare_cached(&query)?.query_map(params![time_us, kind, count_max as i64], Audit::of)?.collect()
}

/// The kinds that occur, and how often.
///
/// # Errors
/// The tables cannot be read.
pub fn kinds(tables: &Connection) -> rusqlite::Result<Vec<(String, u64)>> {
    let query = "SELECT kind, count(*) FROM audit GROUP BY 1 ORDER BY 1";
    let kind = |row: &Row<'_>| Ok((row.get(0)?, row.get::<_, i64>(1)?.max(0) as u64));
    tables.prepare_cached(query)?.query_map([], kind)?.collect()
}
