//! Candidates: names that the sensor proposes for the signatures. For analysts and the data protection officer only: nobody
//! has said that these names are about a banned service.

use std::sync::Arc;

use askama::Template;
use axum::response::Response;
use tokio::task::spawn_blocking;
use vigie_journal::eve::time_us;

use super::{Page, encode};
use crate::candidates::{Candidate, read};
use crate::clock::Stamp;
use crate::server::visit::Visit;
use crate::server::{App, Problem, html};
use crate::words::Words;

/// Names on the page.
const LINES_MAX: usize = 1_000;

struct Line {
    name: String,
    service: String,
    href: String,
    days: String,
    flows: String,
    first: Option<Stamp>,
    last: Option<Stamp>,
}

#[derive(Template)]
#[template(path = "candidates.html")]
struct CandidatesPage {
    w: &'static Words,
    page: Page,
    notice: Option<String>,
    lines: Vec<Line>,
}

/// The page.
///
/// # Errors
/// None so far: a folder that cannot be read is told on the page.
pub async fn page(app: &Arc<App>, visit: &Visit) -> Result<Response, Problem> {
    let (language, w) = (visit.language, visit.words());
    let (mut found, notice) = match app.candidates_folder.clone() {
        None => (Vec::new(), Some(w.candidates_not_set.to_owned())),
        Some(folder) => match spawn_blocking(move || read(&folder)).await {
            Ok(Ok(found)) => (found, None),
            Ok(Err(error)) => (Vec::new(), Some(format!("{} {error}.", w.candidates_unreadable))),
            Err(_) => return Err(Problem::Unavailable),
        },
    };
    found.truncate(LINES_MAX);
    let bundle = vigie_signatures::Bundle::builtin();
    let stamp = |text: &str| time_us(text).map(|time| app.clock.short(language, time));
    let line = |candidate: Candidate| Line {
        service: bundle
            .service(&candidate.service)
            .map_or_else(|| candidate.service.clone(), |known| known.name.clone()),
        href: format!("/service/{}", encode(&candidate.service)),
        days: w.number(candidate.days),
        flows: w.number(candidate.flows),
        first: stamp(&candidate.first),
        last: stamp(&candidate.last),
        name: candidate.name,
    };
    let lines = found.into_iter().map(line).collect();
    Ok(html(&CandidatesPage { w, page: Page::of(app, visit, "/candidates"), notice, lines }))
}
