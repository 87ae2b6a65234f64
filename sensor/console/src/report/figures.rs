//! The figures of a period: sums of what the tables of one or more consoles tell, without small cells.

use std::collections::BTreeMap;

use rusqlite::{Connection, Row, params};
use serde::Serialize;

use super::destinations::{self, Destination};
use super::rules::{self, RuleDecisions};
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
    /// The same of the period before.
    pub before: Option<u64>,
}

/// How much was seen.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Seen {
    /// Seconds of the period; of several sensors, the sum.
    pub period_s: u64,
    pub seen_s: u64,
    pub blind_s: u64,
    pub lossy_s: u64,
    pub hellos: u64,
    pub hellos_nameless: u64,
    pub hellos_ech: u64,
}

impl Seen {
    fn add(&mut self, other: &Self) {
        self.period_s += other.period_s;
        self.seen_s += other.seen_s;
        self.blind_s += other.blind_s;
        self.lossy_s += other.lossy_s;
        self.hellos += other.hellos;
        self.hellos_nameless += other.hellos_nameless;
        self.hellos_ech += other.hellos_ech;
    }
}

/// What one of several sensors saw, and found.
#[derive(Clone, Debug, Serialize)]
pub struct OfSource {
    pub name: String,
    pub incidents: Option<u64>,
    pub coverage: Seen,
}

/// The period of the same length before this one.
#[derive(Clone, Debug, Serialize)]
pub struct Before {
    pub from: String,
    pub to: String,
    pub incidents: u64,
    pub coverage: Seen,
}

/// What derogations did in the period.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Derogations {
    /// Entries of the register that were added and ended.
    pub added: Option<u64>,
    pub ended: Option<u64>,
    /// Incidents that the beginning of a derogation closed.
    pub incidents_closed: Option<u64>,
}

/// Devices of the asset list.
#[derive(Clone, Debug, Serialize)]
pub struct Devices {
    pub listed: u64,
    /// Those that were seen in the month in which the period ends.
    pub seen: Option<u64>,
}

/// Everything that a report tells.
#[derive(Clone, Debug, Serialize)]
pub struct Figures {
    /// First and last day.
    pub from: String,
    pub to: String,
    pub coverage: Seen,
    pub sources: Vec<OfSource>,
    pub devices: Option<Devices>,
    pub incidents: u64,
    /// None: nothing is known of it.
    pub before: Option<Before>,
    pub tables: Vec<Table>,
    pub destinations: Vec<Destination>,
    pub rules: Vec<RuleDecisions>,
    pub derogations: Derogations,
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

/// The tables of one console, or of one journal.
pub struct Source {
    pub name: String,
    pub tables: Connection,
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

/// Asks the tables of all sources.
///
/// # Errors
/// They cannot be read.
pub fn of(sources: &[Source], period: &Period, earlier: &Period) -> rusqlite::Result<Figures> {
    let incidents = each(sources, |tables| incidents(tables, period))?;
    let coverage = each(sources, |tables| seen(tables, period))?;
    let told = suppressed(&incidents);
    let of_sources = sources.iter().zip(told).zip(&coverage).map(|((source, incidents), coverage)| OfSource {
        name: source.name.clone(),
        incidents,
        coverage: coverage.clone(),
    });
    Ok(Figures {
        from: period.from.clone(),
        to: period.to.clone(),
        coverage: sum(&coverage),
        sources: if sources.len() > 1 { of_sources.collect() } else { Vec::new() },
        devices: devices(sources, period)?,
        incidents: incidents.iter().sum(),
        before: before(sources, earlier)?,
        tables: BY.into_iter().map(|by| table(sources, by, period, earlier)).collect::<rusqlite::Result<_>>()?,
        destinations: destinations::of(sources, period, earlier)?,
        rules: rules::of(sources, period)?,
        derogations: derogations(sources, period)?,
    })
}

/// An answer of each source.
pub fn each<T>(sources: &[Source], ask: impl Fn(&Connection) -> rusqlite::Result<T>) -> rusqlite::Result<Vec<T>> {
    sources.iter().map(|source| ask(&source.tables)).collect()
}

fn sum(coverage: &[Seen]) -> Seen {
    let mut sum = Seen::default();
    coverage.iter().for_each(|seen| sum.add(seen));
    sum
}

fn number(row: &Row<'_>) -> rusqlite::Result<u64> {
    row.get::<_, Option<i64>>(0).map(|number| number.unwrap_or(0).max(0) as u64)
}

fn incidents(tables: &Connection, period: &Period) -> rusqlite::Result<u64> {
    let query = "SELECT sum(incidents) FROM day_count WHERE day BETWEEN ?1 AND ?2 AND incidents > 0";
    tables.query_row(query, params![period.from, period.to], number)
}

/// What the period before tells, if anything stands of it in the tables.
fn before(sources: &[Source], earlier: &Period) -> rusqlite::Result<Option<Before>> {
    let coverage = sum(&each(sources, |tables| seen(tables, earlier))?);
    let incidents = each(sources, |tables| incidents(tables, earlier))?.iter().sum();
    let is_known = incidents > 0 || coverage.seen_s + coverage.blind_s > 0;
    let (from, to) = (earlier.from.clone(), earlier.to.clone());
    Ok(is_known.then_some(Before { from, to, incidents, coverage }))
}

/// A table, with the counts of the period before. What is missing in one of the two is 0 there.
fn table(
    sources: &[Source],
    (by, column): (&'static str, &str),
    period: &Period,
    earlier: &Period,
) -> rusqlite::Result<Table> {
    let query = format!(
        "SELECT {column}, sum(incidents) FROM day_count WHERE day BETWEEN ?1 AND ?2 AND incidents > 0 GROUP BY 1"
    );
    let mut counts: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for (period, is_before) in [(period, false), (earlier, true)] {
        // Days of another period say nothing of these.
        if is_before && by == "day" {
            continue;
        }
        let pair = |row: &Row<'_>| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?.max(0) as u64));
        let found = each(sources, |tables| {
            let mut query = tables.prepare(&query)?;
            query.query_map(params![period.from, period.to], pair)?.collect::<rusqlite::Result<Vec<_>>>()
        });
        for (name, count) in found?.into_iter().flatten() {
            let both = counts.entry(name).or_default();
            *(if is_before { &mut both.1 } else { &mut both.0 }) += count;
        }
    }
    let told = suppressed(&counts.values().map(|(now, _)| *now).collect::<Vec<_>>());
    let told_before = suppressed(&counts.values().map(|(_, before)| *before).collect::<Vec<_>>());
    let cells = counts.into_keys().zip(told).zip(told_before);
    let cells = cells.map(|((name, incidents), before)| Cell { name, incidents, before });
    Ok(Table { by, cells: cells.collect() })
}

/// What the interface saw that saw least, hour by hour.
fn seen(tables: &Connection, period: &Period) -> rusqlite::Result<Seen> {
    const HOUR_US: i64 = 3_600_000_000;
    let until = period.until_us.min(period.now_us).max(period.from_us);
    let mut seen = Seen { period_s: (until - period.from_us) as u64 / 1_000_000, ..Seen::default() };
    let mut hours: BTreeMap<i64, Sums> = BTreeMap::new();
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

/// The newest count of listed devices in the period, of each sensor. A device that several sensors list counts for each.
fn devices(sources: &[Source], period: &Period) -> rusqlite::Result<Option<Devices>> {
    let query =
        "SELECT assets_listed, assets_seen FROM coverage WHERE begin_us >= ?1 AND begin_us < ?2 AND assets_listed > 0
                 ORDER BY begin_us DESC LIMIT 1";
    let pair = |row: &Row<'_>| Ok((row.get::<_, i64>(0)?.max(0) as u64, row.get::<_, i64>(1)?.max(0) as u64));
    let newest = each(sources, |tables| {
        let mut query = tables.prepare(query)?;
        query.query_map(params![period.from_us, period.until_us], pair)?.collect::<rusqlite::Result<Vec<_>>>()
    });
    let (listed, seen) = newest?.into_iter().flatten().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
    // Who was not seen may be told apart as well.
    let told = suppressed(&[seen, listed.saturating_sub(seen)]);
    Ok((listed > 0).then(|| Devices { listed, seen: told.first().copied().flatten() }))
}

fn derogations(sources: &[Source], period: &Period) -> rusqlite::Result<Derogations> {
    let audit = |kind: &str| {
        let query = "SELECT count(*) FROM audit WHERE kind = ?1 AND time_us >= ?2 AND time_us < ?3";
        let counts =
            each(sources, |tables| tables.query_row(query, params![kind, period.from_us, period.until_us], number));
        counts.map(|counts| told_alone(counts.iter().sum()))
    };
    let query = "SELECT count(*) FROM incident WHERE day BETWEEN ?1 AND ?2 AND closed = 'excused'";
    let closed = each(sources, |tables| tables.query_row(query, params![period.from, period.to], number))?;
    Ok(Derogations {
        added: audit("derogation-added")?,
        ended: audit("derogation-ended")?,
        incidents_closed: told_alone(closed.iter().sum()),
    })
}

/// A count that is part of no total.
fn told_alone(count: u64) -> Option<u64> {
    suppressed(&[count]).first().copied().flatten()
}
