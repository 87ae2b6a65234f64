//! Sums over incidents: by ban, by service.

use rusqlite::{Connection, Row, params};

/// Sums of the incidents that share a value.
#[derive(Clone, Debug, Default)]
pub struct Totals {
    pub key: String,
    pub name: String,
    pub incidents: u64,
    pub open: u64,
    pub apps: u64,
    pub devices: u64,
    pub first_us: i64,
    pub last_us: i64,
}

fn of(row: &Row<'_>) -> rusqlite::Result<Totals> {
    let number = |at: usize| row.get::<_, i64>(at).map(|number| number.max(0) as u64);
    Ok(Totals {
        key: row.get(0)?,
        name: row.get(1)?,
        incidents: number(2)?,
        open: number(3)?,
        apps: number(4)?,
        devices: number(5)?,
        first_us: row.get(6)?,
        last_us: row.get(7)?,
    })
}

/// By ban, most incidents first.
///
/// # Errors
/// The tables cannot be read.
pub fn by_ban(tables: &Connection) -> rusqlite::Result<Vec<Totals>> {
    by(tables, "ban", "ban_title")
}

/// By service, most incidents first.
///
/// # Errors
/// The tables cannot be read.
pub fn by_service(tables: &Connection) -> rusqlite::Result<Vec<Totals>> {
    by(tables, "service", "service_name")
}

fn by(tables: &Connection, column: &str, name: &str) -> rusqlite::Result<Vec<Totals>> {
    let query = format!(
        "SELECT counted.*, clients, first_us, last_us
         FROM (SELECT {column} AS key, max({name}), sum(incidents), sum(incidents * is_open),
                   sum(incidents * (verdict = 'app'))
               FROM day_count WHERE incidents > 0 GROUP BY 1) AS counted
         JOIN (SELECT {column} AS key, count(DISTINCT client) AS clients, min(first_us) AS first_us, max(last_us) AS last_us
               FROM client_count WHERE incidents > 0 GROUP BY 1) USING (key)
         ORDER BY 3 DESC, 1 LIMIT 500"
    );
    tables.prepare_cached(&query)?.query_map([], of)?.collect()
}

/// Sums of the incidents of a device, by service.
///
/// # Errors
/// The tables cannot be read.
pub fn of_client(tables: &Connection, client: &str) -> rusqlite::Result<Vec<Totals>> {
    let query =
        "SELECT service, max(service_name), count(*), sum(state <> 'closed'), sum(verdict = 'app'), 1, min(first_us),
                     max(last_us)
                 FROM incident WHERE client = ?1 GROUP BY 1 ORDER BY 3 DESC, 1 LIMIT 100";
    tables.prepare_cached(query)?.query_map([client], of)?.collect()
}

/// A host name that only the application contacts, with how often it was.
#[derive(Clone, Debug)]
pub struct NativeName {
    pub name: String,
    pub family: String,
    pub flows: u64,
    pub incidents: u64,
}

/// The names of a service that only its applications contact, as they were seen.
///
/// # Errors
/// The tables cannot be read.
pub fn native_names(tables: &Connection, service: &str) -> rusqlite::Result<Vec<NativeName>> {
    let query = "SELECT name, max(family), count(*), count(DISTINCT incident)
                 FROM evidence JOIN rule ON rule.seq = evidence.rule
                 WHERE class = 'native'
                     AND incident IN (SELECT seq FROM incident WHERE service = ?1 ORDER BY first_us DESC LIMIT 500)
                 GROUP BY 1 ORDER BY 4 DESC, 3 DESC, 1 LIMIT 100";
    let name = |row: &Row<'_>| {
        Ok(NativeName {
            name: row.get(0)?,
            family: row.get(1)?,
            flows: row.get::<_, i64>(2)?.max(0) as u64,
            incidents: row.get::<_, i64>(3)?.max(0) as u64,
        })
    };
    tables.prepare_cached(query)?.query_map(params![service], name)?.collect()
}

/// A rule that answered, with how often, and a name that it answered for.
#[derive(Clone, Debug)]
pub struct RuleUse {
    pub rule: String,
    pub signature_id: i64,
    pub class: String,
    pub family: String,
    pub sources: String,
    pub reviewed: String,
    pub flows: u64,
    pub incidents: u64,
}

/// The rules that answered for a service.
///
/// # Errors
/// The tables cannot be read.
pub fn rules(tables: &Connection, service: &str) -> rusqlite::Result<Vec<RuleUse>> {
    let query = "SELECT rule.rule, signature_id, max(class), max(family), max(sources), max(reviewed), count(*),
                     count(DISTINCT incident)
                 FROM evidence JOIN rule ON rule.seq = evidence.rule
                 WHERE incident IN (SELECT seq FROM incident WHERE service = ?1 ORDER BY first_us DESC LIMIT 500)
                 GROUP BY 1, 2 ORDER BY 7 DESC, 1 LIMIT 200";
    let rule = |row: &Row<'_>| {
        Ok(RuleUse {
            rule: row.get(0)?,
            signature_id: row.get(1)?,
            class: row.get(2)?,
            family: row.get(3)?,
            sources: row.get(4)?,
            reviewed: row.get(5)?,
            flows: row.get::<_, i64>(6)?.max(0) as u64,
            incidents: row.get::<_, i64>(7)?.max(0) as u64,
        })
    };
    tables.prepare_cached(query)?.query_map(params![service], rule)?.collect()
}
