//! What somebody may mean by a word.

use rusqlite::{Connection, OptionalExtension, params};

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// Its id, or its alias.
    Incident(String),
    /// A client, or its alias.
    Device(String),
    /// Its key.
    Service(String),
}

/// Finds what a word means. Who sees no devices finds them by their alias only.
///
/// # Errors
/// The tables cannot be read.
pub fn find(tables: &Connection, word: &str, sees_devices: bool) -> rusqlite::Result<Option<Found>> {
    if word.is_empty() {
        return Ok(None);
    }
    let one =
        |query: &str| tables.prepare_cached(query)?.query_row(params![word], |row| row.get::<_, String>(0)).optional();
    let lower = "SELECT service FROM incident WHERE service = lower(?1) LIMIT 1";
    let (incident, device) = match sees_devices {
        true => (
            "SELECT id FROM incident_key JOIN incident USING (seq, id) WHERE id = lower(?1)",
            "SELECT client FROM client WHERE client = lower(?1) OR (device <> '' AND device = ?1) LIMIT 1",
        ),
        false => (
            "SELECT alias FROM incident WHERE alias = lower(?1)",
            "SELECT alias FROM client WHERE alias = lower(?1) LIMIT 1",
        ),
    };
    if let Some(id) = one(incident)? {
        return Ok(Some(Found::Incident(id)));
    }
    if let Some(client) = one(device)? {
        return Ok(Some(Found::Device(client)));
    }
    let named = "SELECT service FROM day_count WHERE service_name = ?1 COLLATE NOCASE LIMIT 1";
    let service = match one(lower)? {
        Some(service) => Some(service),
        None => one(named)?,
    };
    Ok(service.map(Found::Service))
}

/// The client that an alias stands for.
///
/// # Errors
/// The tables cannot be read.
pub fn client_of_alias(tables: &Connection, alias: &str) -> rusqlite::Result<Option<String>> {
    let query = "SELECT client FROM client WHERE alias = ?1 LIMIT 1";
    tables.prepare_cached(query)?.query_row([alias], |row| row.get(0)).optional()
}
