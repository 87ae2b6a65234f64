//! Lists of incidents.

use rusqlite::types::Value;
use rusqlite::{Connection, Row, params, params_from_iter};

/// An incident, as lists show it.
#[derive(Clone, Debug)]
pub struct Incident {
    pub seq: i64,
    pub id: String,
    pub alias: String,
    pub state: String,
    pub closed: String,
    pub client: String,
    pub client_alias: String,
    pub device: String,
    pub service: String,
    pub service_name: String,
    pub verdict: String,
    pub kind: String,
    pub first_run: bool,
    pub is_warning: bool,
    pub is_attempt: bool,
    pub is_clear_text: bool,
    pub ban: String,
    pub ban_title: String,
    pub authority: String,
    pub day: String,
    pub scope: String,
    pub site: String,
    pub ministry: String,
    pub severity: u8,
    pub opened_us: i64,
    pub first_us: i64,
    pub last_us: i64,
    pub flows: u64,
    pub bytes_to_server: u64,
    pub bytes_to_client: u64,
    pub alerts_left_out: u64,
    pub evidence_left_out: u64,
    pub lists: String,
    pub acknowledged_by: String,
    pub disposition: String,
}

/// The columns of [`Incident`], in its order.
pub const COLUMNS: &str =
    "seq, id, alias, state, closed, client, client_alias, device, service, service_name, verdict, kind,
    first_run, is_warning, is_attempt, is_clear_text, ban, ban_title, authority, day, scope, site, ministry, severity,
    opened_us, first_us, last_us, flows, bytes_to_server, bytes_to_client, alerts_left_out, evidence_left_out, lists,
    acknowledged_by, disposition";

impl Incident {
    /// Reads the columns.
    ///
    /// # Errors
    /// One has another type.
    pub fn of(row: &Row<'_>) -> rusqlite::Result<Self> {
        let number = |at: usize| row.get::<_, i64>(at).map(|number| number.max(0) as u64);
        Ok(Self {
            seq: row.get(0)?,
            id: row.get(1)?,
            alias: row.get(2)?,
            state: row.get(3)?,
            closed: row.get(4)?,
            client: row.get(5)?,
            client_alias: row.get(6)?,
            device: row.get(7)?,
            service: row.get(8)?,
            service_name: row.get(9)?,
            verdict: row.get(10)?,
            kind: row.get(11)?,
            first_run: row.get(12)?,
            is_warning: row.get(13)?,
            is_attempt: row.get(14)?,
            is_clear_text: row.get(15)?,
            ban: row.get(16)?,
            ban_title: row.get(17)?,
            authority: row.get(18)?,
            day: row.get(19)?,
            scope: row.get(20)?,
            site: row.get(21)?,
            ministry: row.get(22)?,
            severity: row.get(23)?,
            opened_us: row.get(24)?,
            first_us: row.get(25)?,
            last_us: row.get(26)?,
            flows: number(27)?,
            bytes_to_server: number(28)?,
            bytes_to_client: number(29)?,
            alerts_left_out: number(30)?,
            evidence_left_out: number(31)?,
            lists: row.get(32)?,
            acknowledged_by: row.get(33)?,
            disposition: row.get(34)?,
        })
    }

    /// Whether it goes on.
    pub fn is_open(&self) -> bool {
        self.state != "closed"
    }
}

/// Which incidents.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    pub span: Span,
    /// `open` or `closed`.
    pub state: String,
    pub verdict: String,
    pub ban: String,
    pub service: String,
    pub site: String,
    pub client: String,
    /// `none` (nobody has taken it up), or a disposition.
    pub decided: String,
    pub is_oldest_first: bool,
}

/// When they opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Span {
    /// At any time.
    #[default]
    All,
    /// On a day of their ban.
    Day(String),
    /// Since the begin of the hour of a time, or still open.
    Since(i64),
}

/// A place in a list: time and number of the incident before.
pub type After = (i64, i64);

const HOUR_US: i64 = 3_600_000_000;

/// Conditions that all have to be true, and their values.
#[derive(Clone, Debug, Default)]
struct Condition {
    parts: Vec<String>,
    values: Vec<Value>,
}

impl Condition {
    fn and(&mut self, part: &str, values: impl IntoIterator<Item = Value>) {
        self.parts.push(part.to_owned());
        self.values.extend(values);
    }

    fn text(&self) -> String {
        if self.parts.is_empty() { "1".to_owned() } else { self.parts.join(" AND ") }
    }
}

impl Filter {
    /// The condition on columns that the counts have too.
    fn values(&self) -> Condition {
        let mut condition = Condition::default();
        for (column, wanted) in [
            ("verdict", &self.verdict),
            ("ban", &self.ban),
            ("service", &self.service),
            ("site", &self.site),
            ("decision", &self.decided),
        ] {
            if !wanted.is_empty() {
                condition.and(&format!("{column} = ?"), [Value::Text(wanted.clone())]);
            }
        }
        condition
    }

    /// The condition on incidents, their span apart.
    fn of_incidents(&self) -> Condition {
        let mut condition = self.values();
        match self.state.as_str() {
            "open" => condition.and("state <> 'closed'", []),
            "closed" => condition.and("state = 'closed'", []),
            _ => {}
        }
        if !self.client.is_empty() {
            condition.and("client = ?", [Value::Text(self.client.clone())]);
        }
        condition
    }

    /// The condition on counts, their span apart.
    fn of_counts(&self) -> Condition {
        let mut condition = self.values();
        match self.state.as_str() {
            "open" => condition.and("is_open", []),
            "closed" => condition.and("NOT is_open", []),
            _ => {}
        }
        condition
    }
}

impl Span {
    /// A query for counts of the incidents of the span, and its values.
    fn counts(&self) -> (&'static str, Vec<Value>) {
        match self {
            Self::All => ("SELECT * FROM day_count WHERE incidents > 0", Vec::new()),
            Self::Day(day) => {
                ("SELECT * FROM day_count WHERE incidents > 0 AND day = ?", vec![Value::Text(day.clone())])
            }
            Self::Since(since) => {
                let hour = since.div_euclid(HOUR_US);
                let query =
                    "SELECT verdict, service, service_name, ban, site, is_open, decision, incidents FROM hour_count
                                 WHERE incidents > 0 AND hour >= ?
                             UNION ALL
                             SELECT verdict, service, service_name, ban, site, 1, decision, 1 FROM incident
                                 WHERE state <> 'closed' AND opened_us < ?";
                (query, vec![Value::Integer(hour), Value::Integer(hour * HOUR_US)])
            }
        }
    }
}

/// A part of a list, newest first unless the filter says otherwise.
///
/// # Errors
/// The tables cannot be read.
pub fn list(
    tables: &Connection,
    filter: &Filter,
    after: Option<After>,
    count_max: usize,
) -> rusqlite::Result<Vec<Incident>> {
    let mut condition = filter.of_incidents();
    match &filter.span {
        Span::Since(since) => {
            let begin = since.div_euclid(HOUR_US) * HOUR_US;
            let mut recent = condition.clone();
            recent.and("opened_us >= ?", [Value::Integer(begin)]);
            condition.and("state <> 'closed' AND opened_us < ?", [Value::Integer(begin)]);
            let mut parts = [recent, condition];
            if filter.is_oldest_first {
                parts.reverse();
            }
            let mut found = Vec::new();
            for part in parts {
                found.extend(select(tables, filter, part, after, count_max - found.len())?);
            }
            Ok(found)
        }
        Span::Day(day) => {
            condition.and("day = ?", [Value::Text(day.clone())]);
            select(tables, filter, condition, after, count_max)
        }
        // Without a span, an index finds those of a client, and the first ones of all.
        Span::All if !filter.client.is_empty() || filter.of_counts().parts.is_empty() => {
            select(tables, filter, condition, after, count_max)
        }
        Span::All => select_by_days(tables, filter, &condition, after, count_max),
    }
}

/// Looks only into days of which the counts say that there are such incidents: there may be few among many others.
fn select_by_days(
    tables: &Connection,
    filter: &Filter,
    condition: &Condition,
    after: Option<After>,
    count_max: usize,
) -> rusqlite::Result<Vec<Incident>> {
    let (order, beyond) = if filter.is_oldest_first { ("ASC", ">=") } else { ("DESC", "<=") };
    let mut counts = filter.of_counts();
    counts.and("incidents > 0", []);
    if let Some((_, seq)) = after {
        let of_last = format!("day {beyond} coalesce((SELECT day FROM incident WHERE seq = ?), day)");
        counts.and(&of_last, [Value::Integer(seq)]);
    }
    let query = format!("SELECT DISTINCT day FROM day_count WHERE {} ORDER BY day {order}", counts.text());
    let mut days = tables.prepare_cached(&query)?;
    let mut days = days.query(params_from_iter(counts.values))?;
    let mut found: Vec<Incident> = Vec::new();
    // The place is one in the day of the last incident; days of two bans can begin at different hours.
    while let Some(day) = days.next()?.filter(|_| found.len() < count_max) {
        let day: String = day.get(0)?;
        let mut of_day = condition.clone();
        of_day.and("day = ?", [Value::Text(day)]);
        found.extend(select(tables, filter, of_day, after, count_max - found.len())?);
    }
    Ok(found)
}

fn select(
    tables: &Connection,
    filter: &Filter,
    mut condition: Condition,
    after: Option<After>,
    count_max: usize,
) -> rusqlite::Result<Vec<Incident>> {
    if count_max == 0 {
        return Ok(Vec::new());
    }
    let (order, beyond) = if filter.is_oldest_first { ("ASC", ">") } else { ("DESC", "<") };
    if let Some((opened, seq)) = after {
        condition.and(&format!("(opened_us, seq) {beyond} (?, ?)"), [Value::Integer(opened), Value::Integer(seq)]);
    }
    let query = format!(
        "SELECT {COLUMNS} FROM incident WHERE {} ORDER BY opened_us {order}, seq {order} LIMIT ?",
        condition.text()
    );
    let mut values = condition.values;
    values.push(Value::Integer(count_max as i64));
    tables.prepare_cached(&query)?.query_map(params_from_iter(values), Incident::of)?.collect()
}

/// How many there are. Of a client, ask the list.
///
/// # Errors
/// The tables cannot be read.
pub fn count(tables: &Connection, filter: &Filter) -> rusqlite::Result<u64> {
    let (counts, mut values) = filter.span.counts();
    let condition = filter.of_counts();
    values.extend(condition.values.iter().cloned());
    let query = format!("SELECT coalesce(sum(incidents), 0) FROM ({counts}) WHERE {}", condition.text());
    let count: i64 = tables.prepare_cached(&query)?.query_row(params_from_iter(values), |row| row.get(0))?;
    Ok(count.max(0) as u64)
}

/// A value that incidents have, its name for people, and how many have it.
pub type Facet = (String, String, u64);

/// Which values a column has among the incidents of a span.
///
/// # Errors
/// The tables cannot be read.
pub fn facet(tables: &Connection, span: &Span, column: Column) -> rusqlite::Result<Vec<Facet>> {
    let (counts, values) = span.counts();
    let (column, name) = match column {
        Column::Verdict => ("verdict", "verdict"),
        Column::Ban => ("ban", "ban"),
        Column::Service => ("service", "service_name"),
        Column::Site => ("site", "site"),
    };
    let query = format!(
        "SELECT {column}, max({name}), sum(incidents) FROM ({counts}) WHERE {column} <> ''
         GROUP BY 1 ORDER BY 3 DESC, 1 LIMIT 60"
    );
    let row = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get::<_, i64>(2)?.max(0) as u64));
    tables.prepare_cached(&query)?.query_map(params_from_iter(values), row)?.collect()
}

/// Columns that people filter by.
#[derive(Clone, Copy, Debug)]
pub enum Column {
    Verdict,
    Ban,
    Service,
    Site,
}

/// The days with incidents before and after a day.
///
/// # Errors
/// The tables cannot be read.
pub fn days_around(tables: &Connection, day: &str) -> rusqlite::Result<(Option<String>, Option<String>)> {
    let one = |query: &str| tables.prepare_cached(query)?.query_row([day], |row| row.get(0));
    let before = one("SELECT max(day) FROM incident WHERE day < ?1")?;
    let after = one("SELECT min(day) FROM incident WHERE day > ?1")?;
    Ok((before, after))
}

/// The newest day with an incident.
///
/// # Errors
/// The tables cannot be read.
pub fn last_day(tables: &Connection) -> rusqlite::Result<Option<String>> {
    tables.query_row("SELECT max(day) FROM incident", [], |row| row.get(0))
}

/// Newer incidents are counted up to here: a page may have been left open for weeks.
pub const NEWER_MAX: u64 = 1_000;

/// How many incidents are newer than one: at most one more than [`NEWER_MAX`].
///
/// # Errors
/// The tables cannot be read.
pub fn newer(tables: &Connection, seq: i64) -> rusqlite::Result<u64> {
    let query = "SELECT count(*) FROM (SELECT 1 FROM incident WHERE seq > ?1 LIMIT ?2)";
    let values = params![seq, NEWER_MAX as i64 + 1];
    tables.prepare_cached(query)?.query_row(values, |row| row.get::<_, i64>(0)).map(|count| count.max(0) as u64)
}

/// Incidents of some services and days that a derogation closed, or that a person decided to be excused.
///
/// # Errors
/// The tables cannot be read.
pub fn excused(tables: &Connection, services: &[String], from: &str, until: &str) -> rusqlite::Result<u64> {
    // Each half has an index of its own.
    let query = "SELECT count(*) FROM (
                     SELECT seq FROM incident WHERE closed = 'excused' AND day BETWEEN ?2 AND ?3
                         AND service IN (SELECT value FROM json_each(?1))
                     UNION
                     SELECT seq FROM incident WHERE disposition <> '' AND disposition = 'excused' AND day BETWEEN ?2 AND ?3
                         AND service IN (SELECT value FROM json_each(?1)))";
    let services = serde_json::to_string(services).unwrap_or_default();
    let count = |row: &Row<'_>| row.get::<_, i64>(0);
    tables
        .prepare_cached(query)?
        .query_row(rusqlite::params![services, from, until], count)
        .map(|count| count.max(0) as u64)
}

/// The incidents of a service by their first contact, the earliest first.
///
/// # Errors
/// The tables cannot be read.
pub fn first_seen(tables: &Connection, service: &str, count_max: usize) -> rusqlite::Result<Vec<Incident>> {
    let query = format!("SELECT {COLUMNS} FROM incident WHERE service = ?1 ORDER BY first_us, seq LIMIT ?2");
    tables.prepare_cached(&query)?.query_map(rusqlite::params![service, count_max as i64], Incident::of)?.collect()
}
