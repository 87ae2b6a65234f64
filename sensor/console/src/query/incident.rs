//! One incident, with everything that belongs to it.

use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::Deserialize;

use super::audit::{self, Audit};
use super::incidents::{COLUMNS, Filter, Incident, Span, list};
use crate::projection::line::{ReasonId, RegionBytes};

/// The lists of an incident's newest event.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Lists {
    pub reasons: Vec<String>,
    /// In the same order.
    pub reason_ids: Vec<ReasonId>,
    pub names: Vec<String>,
    pub families: Vec<String>,
    pub regions: Vec<String>,
    pub countries: Vec<String>,
    pub region_bytes: Vec<RegionBytes>,
}

impl Lists {
    /// Reads them from their column.
    pub fn of(incident: &Incident) -> Self {
        serde_json::from_str(&incident.lists).unwrap_or_default()
    }
}

/// A change of an incident.
#[derive(Clone, Debug)]
pub struct Change {
    pub time_us: i64,
    pub state: String,
    pub verdict: String,
    pub kind: String,
    pub closed: String,
    /// Segment, and offset in it.
    pub place: (i64, i64),
}

/// A flow that belongs to an incident.
#[derive(Clone, Debug)]
pub struct Evidence {
    pub time_us: i64,
    pub event_id: String,
    pub name: String,
    pub class: String,
    pub family: String,
    pub kind: String,
    pub rule: String,
    pub signature_id: i64,
    pub sources: String,
    pub reviewed: String,
    pub ja4: String,
    pub region: String,
    pub proto: String,
    pub client_port: u16,
    pub server: String,
    pub server_port: u16,
    pub community_id: String,
    pub bytes: u64,
    pub place: (i64, i64),
}

/// Everything about an incident.
#[derive(Clone, Debug)]
pub struct Whole {
    pub incident: Incident,
    pub lists: Lists,
    pub changes: Vec<Change>,
    pub evidence: Vec<Evidence>,
    pub evidence_count: u64,
    pub audit: Vec<Audit>,
    /// Of the same list: the one that opened after it, and the one before.
    pub newer: Option<Incident>,
    pub older: Option<Incident>,
    /// Others of the same device.
    pub same_device: Vec<Incident>,
}

/// Evidence that a page shows.
pub const EVIDENCE_SHOWN_MAX: usize = 200;
const SAME_DEVICE_MAX: usize = 10;

/// Finds an incident by its id, or by the alias that viewers know.
///
/// # Errors
/// The tables cannot be read.
pub fn find(tables: &Connection, id: &str, is_alias: bool) -> rusqlite::Result<Option<Incident>> {
    let condition = if is_alias { "alias = ?1" } else { "seq = (SELECT seq FROM incident_key WHERE id = ?1)" };
    let query = format!("SELECT {COLUMNS} FROM incident WHERE {condition}");
    tables.prepare_cached(&query)?.query_row([id], Incident::of).optional()
}

/// Everything about an incident.
///
/// # Errors
/// The tables cannot be read.
pub fn whole(tables: &Connection, id: &str, is_alias: bool) -> rusqlite::Result<Option<Whole>> {
    let Some(incident) = find(tables, id, is_alias)? else { return Ok(None) };
    let evidence_count: i64 = tables
        .prepare_cached("SELECT count(*) FROM evidence WHERE incident = ?1")?
        .query_row([incident.seq], |row| row.get(0))?;
    let all = Filter { span: Span::All, ..Filter::default() };
    let here = Some((incident.opened_us, incident.seq));
    let older = list(tables, &all, here, 1)?.pop();
    let newer = list(tables, &Filter { is_oldest_first: true, ..all }, here, 1)?.pop();
    let same_device = match incident.client.is_empty() {
        true => Vec::new(),
        false => {
            let of_client = Filter { client: incident.client.clone(), ..Filter::default() };
            let mut found = list(tables, &of_client, None, SAME_DEVICE_MAX + 1)?;
            found.retain(|other| other.seq != incident.seq);
            found.truncate(SAME_DEVICE_MAX);
            found
        }
    };
    Ok(Some(Whole {
        lists: Lists::of(&incident),
        changes: changes(tables, incident.seq)?,
        evidence: evidence(tables, incident.seq, EVIDENCE_SHOWN_MAX)?,
        evidence_count: evidence_count.max(0) as u64,
        audit: audit::of_incident(tables, &incident.id)?,
        newer,
        older,
        same_device,
        incident,
    }))
}

fn changes(tables: &Connection, seq: i64) -> rusqlite::Result<Vec<Change>> {
    let query = "SELECT time_us, state, verdict, kind, closed, segment, place FROM change WHERE incident = ?1
                 ORDER BY time_us, revision LIMIT 200";
    let change = |row: &Row<'_>| {
        Ok(Change {
            time_us: row.get(0)?,
            state: row.get(1)?,
            verdict: row.get(2)?,
            kind: row.get(3)?,
            closed: row.get(4)?,
            place: (row.get(5)?, row.get(6)?),
        })
    };
    tables.prepare_cached(query)?.query_map([seq], change)?.collect()
}

fn evidence(tables: &Connection, seq: i64, count_max: usize) -> rusqlite::Result<Vec<Evidence>> {
    let query =
        "SELECT time_us, event_id, name, class, family, kind, rule.rule, signature_id, sources, reviewed, ja4, region,
                     proto, client_port, server, server_port, community_id, bytes, segment, place
                 FROM evidence JOIN rule ON rule.seq = evidence.rule
                 WHERE incident = ?1 ORDER BY time_us, event_id LIMIT ?2";
    let evidence = |row: &Row<'_>| {
        Ok(Evidence {
            time_us: row.get(0)?,
            event_id: row.get(1)?,
            name: row.get(2)?,
            class: row.get(3)?,
            family: row.get(4)?,
            kind: row.get(5)?,
            rule: row.get(6)?,
            signature_id: row.get(7)?,
            sources: row.get(8)?,
            reviewed: row.get(9)?,
            ja4: row.get(10)?,
            region: row.get(11)?,
            proto: row.get(12)?,
            client_port: row.get(13)?,
            server: row.get(14)?,
            server_port: row.get(15)?,
            community_id: row.get(16)?,
            bytes: row.get::<_, i64>(17)?.max(0) as u64,
            place: (row.get(18)?, row.get(19)?),
        })
    };
    tables.prepare_cached(query)?.query_map(params![seq, count_max as i64], evidence)?.collect()
}
