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

const MINUTE_US: i64 = 60_000_000;
const HOUR_US: i64 = 60 * MINUTE_US;

/// What the address asks for.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Wanted {
    day: String,
    /// The hour whose minutes are shown, by its number in the day.
    hour: Option<i64>,
}

/// An hour, or a minute, of an interface.
struct Hour {
    href: String,
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
    /// The hour whose minutes are shown, and they.
    minutes: Option<(String, Vec<Hour>)>,
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
    // A day has at most 25 hours.
    let chosen = wanted.hour.filter(|hour| (0..25).contains(hour)).map(|hour| from + hour * HOUR_US);
    let found = ask(app, move |tables| {
        let minutes =
            chosen.map(|begin| query::coverage::parts(tables, begin, begin + HOUR_US, MINUTE_US)).transpose()?;
        let coverage = Coverage::of(tables, from, until)?;
        let hours = query::coverage::parts(tables, from, until, HOUR_US)?;
        Ok((coverage, hours, query::coverage::judged_by(tables, from, until)?, minutes))
    });
    let (coverage, hours, judged, minutes) = found.await?;
    let row = |part: &query::coverage::Part, begin_us: i64, length_us: i64| {
        let (begin, sums) = (begin_us + part.number * length_us, &part.sums);
        let seen = sums.window_s.saturating_sub(sums.blind_s);
        let length = (Clock::now_us() - begin).clamp(0, length_us) as u64 / 1_000_000;
        Hour {
            href: format!("/coverage?day={day}&hour={}#minutes", part.number),
            name: format!("{}–{}", app.clock.minute(begin), app.clock.minute(begin + length_us)),
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
        hours: hours.iter().map(|part| row(part, from, HOUR_US)).collect(),
        minutes: chosen.zip(minutes).map(|(begin, minutes)| {
            let name = format!("{} {}–{}", w.minutes_of, app.clock.minute(begin), app.clock.minute(begin + HOUR_US));
            (name, minutes.iter().map(|part| row(part, begin, MINUTE_US)).collect())
        }),
        judged: judged.collect(),
        signature_age: signature_age(language, w),
    }))
}

/// How old the knowledge is that this program has.
fn signature_age(language: Language, w: &Words) -> String {
    let bundle = vigie_signatures::Bundle::builtin();
    let oldest = bundle.oldest_review().unwrap_or("–");
    let rules = w.number(bundle.len() as u64);
    match language {
        Language::En => format!("Signatures of this console’s version: {rules} rules, oldest review {oldest}."),
        Language::Fr => {
            format!(
                "Signatures de la version de cette console : {rules} règles, relecture la plus ancienne le {oldest}."
            )
        }
    }
}
