//! Services: which device was first, and which rules answered.

use std::sync::Arc;

use askama::Template;
use axum::response::Response;

use super::row::Row;
use super::{Page, encode};
use crate::clock::Stamp;
use crate::query::incidents::{self, Filter};
use crate::query::totals::{self, NativeName, RuleUse, Totals};
use crate::server::visit::Visit;
use crate::server::{App, Problem, ask, html};
use crate::words::{Language, Words};

/// Devices that are shown as the first.
const FIRST_MAX: usize = 10;

struct Line {
    href: String,
    name: String,
    incidents: String,
    open: String,
    apps: String,
    devices: String,
    first: Stamp,
    last: Stamp,
}

#[derive(Template)]
#[template(path = "services.html")]
struct ListPage {
    w: &'static Words,
    page: Page,
    rows: Vec<Line>,
}

#[derive(Template)]
#[template(path = "service.html")]
struct ServicePage {
    w: &'static Words,
    page: Page,
    name: String,
    owner: String,
    first: Vec<Row>,
    incidents_href: String,
    incidents: String,
    rules: Vec<RuleUse>,
    native: Vec<NativeName>,
}

/// All services with incidents.
///
/// # Errors
/// The tables cannot be read.
pub async fn list(app: &Arc<App>, visit: &Visit) -> Result<Response, Problem> {
    let w = visit.words();
    let line = |totals: &Totals| Line {
        href: format!("/service/{}", encode(&totals.key)),
        name: if totals.name.is_empty() { totals.key.clone() } else { totals.name.clone() },
        incidents: w.number(totals.incidents),
        open: w.number(totals.open),
        apps: w.number(totals.apps),
        devices: w.number(totals.devices),
        first: app.clock.short(visit.language, totals.first_us),
        last: app.clock.short(visit.language, totals.last_us),
    };
    let found = ask(app, totals::by_service).await?;
    let page = Page::of(app, visit, "/services");
    Ok(html(&ListPage { w, page, rows: found.iter().map(line).collect() }))
}

/// One service.
///
/// # Errors
/// There is none of that key, or the tables cannot be read.
pub async fn one(app: &Arc<App>, visit: &Visit, key: String) -> Result<Response, Problem> {
    let w = visit.words();
    let wanted = key.clone();
    let found = ask(app, move |tables| {
        let all = Filter { service: wanted.clone(), is_oldest_first: true, ..Filter::default() };
        let mut first = incidents::first_seen(tables, &wanted, FIRST_MAX)?;
        first.truncate(FIRST_MAX);
        let rules = totals::rules(tables, &wanted)?;
        Ok((first, incidents::count(tables, &all)?, rules, totals::native_names(tables, &wanted)?))
    });
    let (first, count, rules, native) = found.await?;
    let bundle = vigie_signatures::Bundle::builtin();
    let known = bundle.service(&key);
    if known.is_none() && count == 0 {
        return Err(Problem::NotFound);
    }
    let owner = known.map(|service| match visit.language {
        Language::En => format!(
            "{}, {}; {} rules, oldest review {}",
            service.owner,
            service.category,
            service.rules(),
            service.oldest_review
        ),
        Language::Fr => format!(
            "{}, {} ; {} règles, relecture la plus ancienne le {}",
            service.owner,
            service.category,
            service.rules(),
            service.oldest_review
        ),
    });
    let name = known.map(|service| service.name.clone());
    let name = name.or_else(|| first.first().map(super::row::service_name)).unwrap_or_else(|| key.clone());
    Ok(html(&ServicePage {
        w,
        page: Page::of(app, visit, "/services"),
        name,
        owner: owner.unwrap_or_default(),
        first: first.iter().map(|incident| Row::of(incident, &app.clock, visit)).collect(),
        incidents_href: format!("/?day=all&service={}", encode(&key)),
        incidents: w.incident_count(count),
        rules,
        native,
    }))
}
