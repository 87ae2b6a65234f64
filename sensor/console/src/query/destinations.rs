//! Bytes by day, service and region of the host name.

use rusqlite::{Connection, Row, params};

/// Bytes of a day, a service and a region.
#[derive(Clone, Debug, Default)]
pub struct Destination {
    pub day: String,
    pub service: String,
    pub service_name: String,
    /// Empty: the host name tells none.
    pub region: String,
    pub sent: u64,
    pub received: u64,
}

/// A host name that told a region.
#[derive(Clone, Debug, Default)]
pub struct Telling {
    pub region: String,
    pub name: String,
    pub flows: u64,
}

/// The host names that told regions in the newest incidents, most flows of a region first.
///
/// # Errors
/// The tables cannot be read.
pub fn telling(tables: &Connection, service: &str, count_max: usize) -> rusqlite::Result<Vec<Telling>> {
    let newest = match service {
        "" => "SELECT seq FROM incident WHERE ?1 = '' ORDER BY opened_us DESC, seq DESC LIMIT 300",
        _ => "SELECT seq FROM incident WHERE service = ?1 ORDER BY first_us DESC LIMIT 300",
    };
    let query = format!(
        "SELECT region, name, count(*) FROM evidence WHERE region <> '' AND incident IN ({newest})
         GROUP BY 1, 2 ORDER BY 1, 3 DESC, 2 LIMIT ?2"
    );
    let telling = |row: &Row<'_>| {
        Ok(Telling { region: row.get(0)?, name: row.get(1)?, flows: row.get::<_, i64>(2)?.max(0) as u64 })
    };
    tables.prepare_cached(&query)?.query_map(params![service, count_max as i64], telling)?.collect()
}

/// Destinations, newest day first.
///
/// # Errors
/// The tables cannot be read.
pub fn all(tables: &Connection, service: &str, count_max: usize) -> rusqlite::Result<Vec<Destination>> {
    let query = "SELECT day, service, service_name, region, sent, received FROM destination
                 WHERE (?1 = '' OR service = ?1) AND sent + received > 0
                 ORDER BY day DESC, service, sent DESC, region LIMIT ?2";
    let destination = |row: &Row<'_>| {
        let bytes = |at: usize| row.get::<_, f64>(at).map(|bytes| bytes.max(0.0) as u64);
        Ok(Destination {
            day: row.get(0)?,
            service: row.get(1)?,
            service_name: row.get(2)?,
            region: row.get(3)?,
            sent: bytes(4)?,
            received: bytes(5)?,
        })
    };
    tables.prepare_cached(query)?.query_map(params![service, count_max as i64], destination)?.collect()
}
