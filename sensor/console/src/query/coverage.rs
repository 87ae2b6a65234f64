//! What the sensor saw of a span of time, and what it did not.

use rusqlite::{Connection, Row, params};

/// Sums of minutes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// Seconds of which the sensor told something.
    pub window_s: u64,
    /// Seconds of those in which it saw nothing of what passed.
    pub blind_s: u64,
    /// Seconds of those in minutes with lost packets.
    pub lossy_s: u64,
    /// Most packets lost in a minute, per million.
    pub drops_ppm_max: u64,
    pub hellos: u64,
    pub nameless: u64,
    pub ech: u64,
    pub shunted: u64,
}

/// A part of a span on one interface, or on all of them.
#[derive(Clone, Debug, Default)]
pub struct Part {
    /// Begins so many parts after the span.
    pub number: i64,
    pub interface: String,
    pub sums: Sums,
}

const SUMS: &str = "sum(window_s), sum(blind_s), sum(CASE WHEN drops_ppm > 0 THEN window_s - blind_s ELSE 0 END),
    max(drops_ppm), sum(hellos), sum(nameless), sum(ech), sum(shunted)";

fn sums(row: &Row<'_>, at: usize) -> rusqlite::Result<Sums> {
    let number =
        |place: usize| Ok::<_, rusqlite::Error>(row.get::<_, Option<i64>>(at + place)?.unwrap_or(0).max(0) as u64);
    Ok(Sums {
        window_s: number(0)?,
        blind_s: number(1)?,
        lossy_s: number(2)?,
        drops_ppm_max: number(3)?,
        hellos: number(4)?,
        nameless: number(5)?,
        ech: number(6)?,
        shunted: number(7)?,
    })
}

/// The span in parts of equal length, by interface.
///
/// # Errors
/// The tables cannot be read.
pub fn parts(tables: &Connection, from_us: i64, until_us: i64, part_us: i64) -> rusqlite::Result<Vec<Part>> {
    let query = format!(
        "SELECT (begin_us - ?1) / ?3, interface, {SUMS} FROM coverage WHERE begin_us >= ?1 AND begin_us < ?2
         GROUP BY 1, 2 ORDER BY 2, 1"
    );
    let part = |row: &Row<'_>| Ok(Part { number: row.get(0)?, interface: row.get(1)?, sums: sums(row, 2)? });
    tables.prepare_cached(&query)?.query_map(params![from_us, until_us, part_us.max(1)], part)?.collect()
}

/// Whether any coverage is known at all: an older sensor, or a replay, tells none.
///
/// # Errors
/// The tables cannot be read.
pub fn is_known(tables: &Connection) -> rusqlite::Result<bool> {
    tables.query_row("SELECT EXISTS (SELECT 1 FROM coverage)", [], |row| row.get(0))
}

/// Policies and signatures that judged in a span: their hashes, and since when.
///
/// # Errors
/// The tables cannot be read.
pub fn judged_by(tables: &Connection, from_us: i64, until_us: i64) -> rusqlite::Result<Vec<(String, String, i64)>> {
    let query = "SELECT policy, signatures, min(begin_us) FROM coverage WHERE begin_us >= ?1 AND begin_us < ?2
                 GROUP BY 1, 2 ORDER BY 3 LIMIT 20";
    let judged = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
    tables.prepare_cached(query)?.query_map(params![from_us, until_us], judged)?.collect()
}
