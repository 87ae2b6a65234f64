//! What was found of one device.

use std::sync::Arc;

use askama::Template;
use axum::response::Response;

use super::Page;
use super::row::{Row, device};
use crate::query::incidents::{Filter, list};
use crate::server::visit::Visit;
use crate::server::{App, Problem, ask, html};
use crate::words::Words;

/// Incidents that are shown.
const ROWS_MAX: usize = 200;

#[derive(Template)]
#[template(path = "device.html")]
struct DevicePage {
    w: &'static Words,
    page: Page,
    name: String,
    label: String,
    count: String,
    rows: Vec<Row>,
}

/// The page of a client, or of its alias.
///
/// # Errors
/// Nothing was found of it, or the tables cannot be read.
pub async fn page(app: &Arc<App>, visit: &Visit, client: String) -> Result<Response, Problem> {
    let sees_devices = visit.sees_devices();
    let found = ask(app, move |tables| {
        let client = match sees_devices {
            true => Some(client),
            false => crate::query::search::client_of_alias(tables, &client)?,
        };
        match client.filter(|client| !client.is_empty()) {
            Some(client) => list(tables, &Filter { client, ..Filter::default() }, None, ROWS_MAX),
            None => Ok(Vec::new()),
        }
    });
    let found = found.await?;
    let first = found.first().ok_or(Problem::NotFound)?;
    let w = visit.words();
    Ok(html(&DevicePage {
        w,
        page: Page::of(app, visit, "/"),
        name: device(first, visit),
        label: if sees_devices { first.device.clone() } else { String::new() },
        count: w.incident_count(found.len() as u64),
        rows: found.iter().map(|incident| Row::of(incident, &app.clock, visit)).collect(),
    }))
}
