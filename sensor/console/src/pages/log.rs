//! The audit: who looked, decided or changed something.

use std::sync::Arc;

use askama::Template;
use axum::response::Response;
use serde::Deserialize;

use super::{Choice, Page, encode};
use crate::clock::Stamp;
use crate::query::audit::{self, Audit};
use crate::server::visit::Visit;
use crate::server::{App, Problem, ask, html};
use crate::words::{Words, decided_word, fact_name};

/// Lines on a page.
const LINES_MAX: usize = 100;
/// Facts that have a column of their own.
const SHOWN_ELSEWHERE: [&str; 3] = ["audit", "by", "incident"];

/// What the address asks for.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Wanted {
    kind: String,
    before: Option<i64>,
}

struct Line {
    time: Stamp,
    by: String,
    what: String,
    incident: String,
    href: Option<String>,
    facts: String,
}

#[derive(Template)]
#[template(path = "audit.html")]
struct AuditPage {
    w: &'static Words,
    page: Page,
    kinds: Vec<Choice>,
    lines: Vec<Line>,
    more: Option<String>,
}

/// The page.
///
/// # Errors
/// The tables cannot be read.
pub async fn page(app: &Arc<App>, visit: &Visit, wanted: Wanted) -> Result<Response, Problem> {
    let (language, w) = (visit.language, visit.words());
    let asked = wanted.clone();
    let found = ask(app, move |tables| {
        let before = asked.before.unwrap_or(i64::MAX);
        Ok((audit::before(tables, before, &asked.kind, LINES_MAX + 1)?, audit::kinds(tables)?))
    });
    let (mut lines, kinds) = found.await?;
    let has_more = lines.len() > LINES_MAX;
    lines.truncate(LINES_MAX);
    let last = lines.last().filter(|_| has_more);
    let more = last.map(|last| format!("/audit?kind={}&before={}", encode(&wanted.kind), last.time_us));
    let choice = |kind: &str, name: String, count: Option<u64>| Choice {
        name,
        href: if kind.is_empty() { "/audit".to_owned() } else { format!("/audit?kind={}", encode(kind)) },
        is_chosen: wanted.kind == kind,
        count: count.map(|count| w.number(count)),
    };
    let mut choices = vec![choice("", w.all.to_owned(), None)];
    choices.extend(kinds.iter().map(|(kind, count)| choice(kind, fact_name(language, kind), Some(*count))));
    let line = |line: &Audit| {
        let facts = line.facts.iter().filter(|(key, _)| !SHOWN_ELSEWHERE.contains(&key.as_str()));
        let colon = language.pick(":", "\u{a0}:");
        let fact = |(key, text): &(String, String)| match key.as_str() {
            "disposition" => format!("{}{colon} {}", fact_name(language, key), decided_word(w, text)),
            _ => format!("{}{colon} {text}", fact_name(language, key)),
        };
        let mut facts: Vec<String> = facts.map(fact).collect();
        // Whose word it is: that of the sensor, or of this console.
        facts.push(match line.journal.as_str() {
            "sensor" => language.pick("sensor", "capteur").to_owned(),
            journal => journal.to_owned(),
        });
        Line {
            time: app.clock.short(language, line.time_us),
            by: line.by.clone(),
            what: fact_name(language, &line.kind),
            href: (!line.incident.is_empty()).then(|| format!("/incident/{}", encode(&line.incident))),
            incident: line.incident.clone(),
            facts: facts.join(" · "),
        }
    };
    let lines = lines.iter().map(line).collect();
    Ok(html(&AuditPage { w, page: Page::of(app, visit, "/audit"), kinds: choices, lines, more }))
}
