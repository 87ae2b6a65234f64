//! What the sensor saw of a day, and what it cannot see.

use std::sync::Arc;

use askama::Template;
use axum::response::Response;
use serde::Deserialize;

use super::Page;
use super::strip::{Coverage, Strip};
use crate::clock::{Clock, Stamp, long_day, parse_day, short_day};
use crate::query;
use crate::server::visit::Visit;
use crate::server::{App, Problem, ask, html};
use crate::words::{Language, Words};

const HOUR_US: i64 = 3_600_000_000;

/// What the address asks for.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Wanted {
    day: String,
}

struct Hour {
    name: String,
    interface: String,
    seen: String,
    blind: String,
    drops: String,
    hellos: String,
    nameless: String,
    ech: String,
}

#[derive(Template)]
#[template(path = "coverage.html")]
struct CoveragePage {
    w: &'static Words,
    page: Page,
    title: String,
    before: String,
    before_name: String,
    after: Option<(String, String)>,
    is_today: bool,
    strip: Strip,
    is_known: bool,
    hours: Vec<Hour>,
    judged: Vec<(Stamp, String, String)>,
    signature_age: String,
}

/// The page of a day; of today without one.
///
/// # Errors
/// The tables cannot be read.
pub async fn page(app: &Arc<App>, visit: &Visit, wanted: &Wanted) -> Result<Response, Problem> {
    let (language, w) = (visit.language, visit.words());
    let today = app.clock.day(Clock::now_us());
    let day = parse_day(&wanted.day).unwrap_or(today);
    let (from, until) = app.clock.span_of(day);
    let found = ask(app, move |tables| {
        let coverage = Coverage::of(tables, from, until)?;
        let hours = query::coverage::parts(tables, from, until, HOUR_US)?;
        Ok((coverage, hours, query::coverage::judged_by(tables, from, until)?))
    });
    let (coverage, hours, judged) = found.await?;
    let hour = |part: &query::coverage::Part| {
        let (begin, sums) = (from + part.number * HOUR_US, &part.sums);
        let seen = sums.window_s.saturating_sub(sums.blind_s);
        let length = (Clock::now_us() - begin).clamp(0, HOUR_US) as u64 / 1_000_000;
        Hour {
            name: format!("{}–{}", app.clock.minute(begin), app.clock.minute(begin + HOUR_US)),
            interface: part.interface.clone(),
            seen: w.percent(seen, length.max(sums.window_s)),
            blind: w.duration(sums.blind_s),
            drops: w.number(sums.drops_ppm_max),
            hellos: w.number(sums.hellos),
            nameless: w.percent(sums.nameless, sums.hellos),
            ech: w.percent(sums.ech, sums.hellos),
        }
    };
    let judged =
        judged.into_iter().map(|(policy, signatures, since)| (app.clock.short(language, since), policy, signatures));
    let step = |day: jiff::civil::Date| (format!("/coverage?day={day}"), short_day(language, day));
    let (before, before_name) = step(day.yesterday().unwrap_or(day));
    Ok(html(&CoveragePage {
        w,
        page: Page::of(app, visit, "/coverage"),
        title: format!("{}, {}", w.coverage, long_day(language, day)),
        before,
        before_name,
        after: (day < today).then(|| step(day.tomorrow().unwrap_or(day))),
        is_today: day == today,
        strip: coverage.strip(&app.clock, visit),
        is_known: coverage.is_known(),
        hours: hours.iter().map(hour).collect(),
        judged: judged.collect(),
        signature_age: signature_age(language),
    }))
}

/// How old the knowledge is that this program has.
fn signature_age(language: Language) -> String {
    let bundle = vigie_signatures::Bundle::builtin();
    let oldest = bundle.oldest_review().unwrap_or("–");
    match language {
        Language::En => {
            format!("Signatures of this console’s version: {} rules, oldest review {oldest}.", bundle.len())
        }
        Language::Fr => format!(
            "Signatures de la version de cette console : {} règles, relecture la plus ancienne le {oldest}.",
            bundle.len()
        ),
    }
}
