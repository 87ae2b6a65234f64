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
    // Sums of floating numbers do not overflow, whatever events tell.
    let query = "SELECT day, service, max(service_name), coalesce(json_extract(region.value, '$.region'), ''),
                     total(json_extract(region.value, '$.bytes_toserver')),
                     total(json_extract(region.value, '$.bytes_toclient'))
                 FROM incident, json_each(incident.lists, '$.region_bytes') AS region
                 WHERE ?1 = '' OR service = ?1
                 GROUP BY 1, 2, 4 ORDER BY 1 DESC, 2, total(json_extract(region.value, '$.bytes_toserver')) DESC, 4 LIMIT ?2";
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
