//! The figures of a period.

use rusqlite::{Connection, Row, params};
use serde::Serialize;

use super::suppress::suppressed;
use crate::query::coverage::{Sums, parts};

/// A table of counts that share a total.
#[derive(Clone, Debug, Serialize)]
pub struct Table {
    /// What is counted by, such as `service`.
    pub by: &'static str,
    pub cells: Vec<Cell>,
}

/// A count, if it may be told.
#[derive(Clone, Debug, Serialize)]
pub struct Cell {
    pub name: String,
    /// None: between one and four, or one that would give such a number away.
    pub incidents: Option<u64>,
}

/// How much was seen.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Seen {
    /// Seconds of the period.
    pub period_s: u64,
    pub seen_s: u64,
    pub blind_s: u64,
    pub lossy_s: u64,
    pub hellos: u64,
    pub hellos_nameless: u64,
    pub hellos_ech: u64,
}

/// Everything that a report tells.
#[derive(Clone, Debug, Serialize)]
pub struct Figures {
    /// First and last day.
    pub from: String,
    pub to: String,
    pub coverage: Seen,
    pub incidents: u64,
    pub tables: Vec<Table>,
}

/// Days and times of a period.
#[derive(Clone, Debug)]
pub struct Period {
    pub from: String,
    pub to: String,
    pub from_us: i64,
    pub until_us: i64,
    /// Now: what is to come cannot have been seen.
    pub now_us: i64,
}

/// By what incidents are counted, and the expression.
const BY: [(&str, &str); 8] = [
    ("day", "day"),
    ("ban", "ban"),
    ("service", "service"),
    ("site", "site"),
    ("ministry", "ministry"),
    ("verdict", "verdict"),
    ("first_start", "CASE WHEN first_run THEN 'yes' ELSE 'no' END"),
    ("decision", "decision"),
];

/// Asks the tables.
///
/// # Errors
/// They cannot be read.
pub fn of(tables: &Connection, period: &Period) -> rusqlite::Result<Figures> {
    let days = params![period.from, period.to];
    let count = "SELECT coalesce(sum(incidents), 0) FROM day_count WHERE day BETWEEN ?1 AND ?2";
    let incidents: i64 = tables.query_row(count, days, |row| row.get(0))?;
    let counted = |(by, column): (&'static str, &str)| {
        let query = format!(
            "SELECT {column}, sum(incidents) FROM day_count WHERE day BETWEEN ?1 AND ?2 AND incidents > 0 GROUP BY 1 ORDER BY 1"
        );
        let pair = |row: &Row<'_>| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?.max(0) as u64));
        let found = tables.prepare(&query)?.query_map(days, pair)?.collect::<rusqlite::Result<Vec<_>>>()?;
        let told = suppressed(&found.iter().map(|(_, count)| *count).collect::<Vec<_>>());
        let cells = found.into_iter().zip(told).map(|((name, _), incidents)| Cell { name, incidents });
        Ok(Table { by, cells: cells.collect() })
    };
    Ok(Figures {
        from: period.from.clone(),
        to: period.to.clone(),
        coverage: seen(tables, period)?,
        incidents: incidents.max(0) as u64,
        tables: BY.into_iter().map(counted).collect::<rusqlite::Result<_>>()?,
    })
}

/// What the interface saw that saw least, hour by hour.
fn seen(tables: &Connection, period: &Period) -> rusqlite::Result<Seen> {
    const HOUR_US: i64 = 3_600_000_000;
    let until = period.until_us.min(period.now_us).max(period.from_us);
    let mut seen = Seen { period_s: (until - period.from_us) as u64 / 1_000_000, ..Seen::default() };
    let mut hours: std::collections::BTreeMap<i64, Sums> = std::collections::BTreeMap::new();
    for part in parts(tables, period.from_us, until, HOUR_US)? {
        seen.hellos += part.sums.hellos;
        seen.hellos_nameless += part.sums.nameless;
        seen.hellos_ech += part.sums.ech;
        let worst = hours.entry(part.number).or_insert_with(|| part.sums.clone());
        worst.window_s = worst.window_s.min(part.sums.window_s);
        worst.blind_s = worst.blind_s.max(part.sums.blind_s);
        worst.lossy_s = worst.lossy_s.max(part.sums.lossy_s);
    }
    for sums in hours.values() {
        let blind = sums.blind_s.min(sums.window_s);
        seen.blind_s += blind;
        seen.seen_s += sums.window_s - blind;
        seen.lossy_s += sums.lossy_s;
    }
    seen.seen_s = seen.seen_s.min(seen.period_s.saturating_sub(seen.blind_s));
    Ok(seen)
}
