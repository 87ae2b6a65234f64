//! Where bytes went, as far as host names tell it.

use std::collections::BTreeMap;
use std::sync::Arc;

use askama::Template;
use axum::response::Response;
use serde::Deserialize;

use super::{Choice, Page, encode};
use crate::query::destinations::{Destination, Telling, all, telling};
use crate::query::totals;
use crate::server::visit::Visit;
use crate::server::{App, Problem, ask, html};
use crate::words::{Language, Words, region_word};

/// Lines on the page.
const LINES_MAX: usize = 1_000;

/// Host names on the page.
const NAMES_MAX: usize = 300;

/// What the address asks for.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Wanted {
    service: String,
}

struct Line {
    day: String,
    service: String,
    href: String,
    region: String,
    sent: String,
    received: String,
    share: String,
    width: u64,
}

#[derive(Template)]
#[template(path = "destinations.html")]
struct DestinationsPage {
    w: &'static Words,
    page: Page,
    services: Vec<Choice>,
    lines: Vec<Line>,
    names: Vec<Telling>,
    limits: Vec<&'static str>,
}

/// The page.
///
/// # Errors
/// The tables cannot be read.
pub async fn page(app: &Arc<App>, visit: &Visit, wanted: Wanted) -> Result<Response, Problem> {
    let w = visit.words();
    let asked = wanted.service.clone();
    let found = ask(app, move |tables| {
        let names = telling(tables, &asked, NAMES_MAX)?;
        Ok((all(tables, &asked, LINES_MAX)?, totals::by_service(tables)?, names))
    });
    let (found, services, mut names) = found.await?;
    names.iter_mut().for_each(|one| one.region = region_word(w, &one.region));
    let choice = |key: &str, name: String| Choice {
        name,
        href: if key.is_empty() {
            "/destinations".to_owned()
        } else {
            format!("/destinations?service={}", encode(key))
        },
        is_chosen: key == wanted.service,
        count: None,
    };
    let mut choices = vec![choice("", w.all.to_owned())];
    choices.extend(services.into_iter().map(|totals| {
        let name = if totals.name.is_empty() { totals.key.clone() } else { totals.name };
        choice(&totals.key, name)
    }));
    let bytes = |destination: &Destination| destination.sent.saturating_add(destination.received);
    let mut of_group: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    for one in &found {
        let sum = of_group.entry((&one.day, &one.service)).or_default();
        *sum = sum.saturating_add(bytes(one));
    }
    let line = |destination: &Destination| {
        let group = (destination.day.as_str(), destination.service.as_str());
        let (part, whole) = (bytes(destination), of_group.get(&group).copied().unwrap_or_default());
        Line {
            day: destination.day.clone(),
            service: if destination.service_name.is_empty() { &destination.service } else { &destination.service_name }
                .clone(),
            href: format!("/?day={}&service={}", encode(&destination.day), encode(&destination.service)),
            region: region_word(w, &destination.region),
            sent: w.bytes(destination.sent),
            received: w.bytes(destination.received),
            share: w.percent(part, whole),
            width: (part as f64 * 100.0 / whole.max(1) as f64) as u64,
        }
    };
    let lines = found.iter().map(line).collect();
    let page = Page::of(app, visit, "/destinations");
    Ok(html(&DestinationsPage { w, page, services: choices, lines, names, limits: limits(visit.language) }))
}

/// What the numbers do not prove.
fn limits(language: Language) -> Vec<&'static str> {
    match language {
        Language::En => vec![
            "The region is what the host name says, such as no1a for Norway. Where the data are kept, and who can read them, no tap sees.",
            "All address ranges of ByteDance are registered in the United States or Singapore, so a country of registration alone proves nothing.",
            "Only flows of incidents count. Embedded players, pixels, guests and devices under a derogation are not in these sums.",
        ],
        Language::Fr => vec![
            "La région est celle que dit le nom d’hôte, par exemple no1a pour la Norvège. Aucune dérivation ne voit où les données sont conservées ni qui peut les lire.",
            "Toutes les plages d’adresses de ByteDance sont enregistrées aux États-Unis ou à Singapour : le pays d’enregistrement seul ne prouve rien.",
            "Seuls les flux des incidents comptent. Lecteurs intégrés, pixels, invités et appareils sous dérogation n’entrent pas dans ces sommes.",
        ],
    }
}
