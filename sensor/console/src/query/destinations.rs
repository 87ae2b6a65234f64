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
