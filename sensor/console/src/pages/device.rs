//! What was found of one device.

use std::sync::Arc;

use askama::Template;
use axum::response::Response;
use tokio::task::spawn_blocking;

use super::row::{Row, device};
use super::{Page, derogations, encode};
use crate::clock::{Clock, Stamp};
use crate::query::incidents::{Filter, Incident, list};
use crate::query::totals::{self, Totals};
use crate::register::{Entry, read};
use crate::server::visit::Visit;
use crate::server::{App, Problem, ask, html};
use crate::words::{Language, Words};

/// Incidents that are shown.
const ROWS_MAX: usize = 200;

/// A service that the device used.
struct Used {
    href: String,
    name: String,
    incidents: String,
    apps: String,
    first: Stamp,
    last: Stamp,
}

/// A derogation that names the device.
struct Derogation {
    id: String,
    services: String,
    state: String,
    class: &'static str,
}

#[derive(Template)]
#[template(path = "device.html")]
struct DevicePage {
    w: &'static Words,
    page: Page,
    name: String,
    label: String,
    count: String,
    places: String,
    used: Vec<Used>,
    derogations: Vec<Derogation>,
    rows: Vec<Row>,
    left_out: Option<String>,
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
        let Some(client) = client.filter(|client| !client.is_empty()) else { return Ok(None) };
        let used = totals::of_client(tables, &client)?;
        Ok(Some((list(tables, &Filter { client, ..Filter::default() }, None, ROWS_MAX)?, used)))
    });
    let (found, used) = found.await?.ok_or(Problem::NotFound)?;
    let first = found.first().ok_or(Problem::NotFound)?;
    let (language, w) = (visit.language, visit.words());
    let count: u64 = used.iter().map(|totals| totals.incidents).sum();
    let left_out = count.saturating_sub(found.len() as u64);
    let service = |totals: Totals| Used {
        href: format!("/service/{}", encode(&totals.key)),
        name: if totals.name.is_empty() { totals.key } else { totals.name },
        incidents: w.number(totals.incidents),
        apps: w.number(totals.apps),
        first: app.clock.short(language, totals.first_us),
        last: app.clock.short(language, totals.last_us),
    };
    Ok(html(&DevicePage {
        w,
        page: Page::of(app, visit, "/"),
        name: device(first, visit),
        label: if sees_devices { first.device.clone() } else { String::new() },
        count: w.incident_count(count),
        places: places(&found, visit),
        used: used.into_iter().map(service).collect(),
        derogations: if sees_devices { of_register(app, visit, first).await } else { Vec::new() },
        rows: found.iter().map(|incident| Row::of(incident, &app.clock, visit)).collect(),
        left_out: (left_out > 0).then(|| match language {
            Language::En => format!("{} older incidents are not shown here.", w.number(left_out)),
            Language::Fr => format!("{} incidents plus anciens ne sont pas affichés ici.", w.number(left_out)),
        }),
    }))
}

/// Ministries, sites and scopes of a device. Viewers see no device, so they see no place of one either.
fn places(incidents: &[Incident], visit: &Visit) -> String {
    if !visit.sees_devices() {
        return String::new();
    }
    let all = incidents.iter().flat_map(|incident| [&incident.ministry, &incident.site, &incident.scope]);
    let mut places: Vec<&str> = Vec::new();
    for place in all.map(String::as_str).filter(|place| !place.is_empty()) {
        if !places.contains(&place) {
            places.push(place);
        }
    }
    places.join(" · ")
}

/// The derogations that name a device; none where the register is not read.
async fn of_register(app: &Arc<App>, visit: &Visit, incident: &Incident) -> Vec<Derogation> {
    let Some(path) = app.register.clone() else { return Vec::new() };
    let entries = spawn_blocking(move || read(&path)).await.unwrap_or_else(|error| Err(error.to_string()));
    let today = app.clock.day(Clock::now_us());
    let line = |entry: &Entry| {
        let (state, class) = derogations::state(entry, today, visit.language);
        Derogation { id: entry.id.clone(), services: entry.services.join(", "), state, class }
    };
    let entries = entries.unwrap_or_default();
    entries.iter().filter(|entry| entry.is_about(&incident.client, &incident.device)).map(line).collect()
}
