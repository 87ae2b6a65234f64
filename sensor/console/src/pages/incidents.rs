//! The list of incidents: the first page that people see.

use std::sync::Arc;

use askama::Template;
use axum::response::{Html, IntoResponse, Response};
use serde::Deserialize;

use super::row::Row;
use super::strip::{Coverage, Strip};
use super::{Choice, Page, encode};
use crate::clock::{Clock, long_day, parse_day, short_day};
use crate::query::incidents::{self, Column, Facet, Filter, Incident, Span};
use crate::server::visit::Visit;
use crate::server::{App, Problem, ask, html};
use crate::words::{Language, Words, decided_word, verdict_word};

/// Incidents on a page.
const ROWS_MAX: usize = 50;
const DAY_US: i64 = 86_400_000_000;

/// What the address asks for.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Wanted {
    /// A day, or `all`; open ones and those of the last 24 hours without it.
    day: String,
    state: String,
    verdict: String,
    ban: String,
    service: String,
    site: String,
    decided: String,
    /// `oldest`, or newest first.
    order: String,
    /// Where the page before ended: time and number.
    after: String,
}

impl Wanted {
    /// The address with one key changed; without its place in the list.
    fn href(&self, key: &str, value: &str) -> String {
        let pairs = [
            ("day", &self.day),
            ("state", &self.state),
            ("verdict", &self.verdict),
            ("ban", &self.ban),
            ("service", &self.service),
            ("site", &self.site),
            ("decided", &self.decided),
            ("order", &self.order),
        ];
        let pairs = pairs.map(|(name, given)| (name, if name == key { value } else { given.as_str() }));
        let mut parts: Vec<String> = pairs
            .iter()
            .filter(|(_, text)| !text.is_empty())
            .map(|(name, text)| format!("{name}={}", encode(text)))
            .collect();
        if key == "after" {
            parts.push(format!("after={}", encode(value)));
        }
        if parts.is_empty() { "/".to_owned() } else { format!("/?{}", parts.join("&")) }
    }

    fn filter(&self, span: Span) -> Filter {
        let one_of = |text: &str, words: &[&str]| if words.contains(&text) { text.to_owned() } else { String::new() };
        Filter {
            span,
            state: one_of(&self.state, &["open", "closed"]),
            verdict: self.verdict.clone(),
            ban: self.ban.clone(),
            service: self.service.clone(),
            site: self.site.clone(),
            client: String::new(),
            decided: one_of(&self.decided, &["none", "confirmed", "false", "excused"]),
            is_oldest_first: self.order == "oldest",
        }
    }
}

struct Group {
    name: &'static str,
    choices: Vec<Choice>,
}

#[derive(Template)]
#[template(path = "incidents.html")]
struct ListPage {
    w: &'static Words,
    page: Page,
    title: String,
    day: Option<String>,
    day_before: Option<(String, String)>,
    day_after: Option<(String, String)>,
    is_home: bool,
    is_all: bool,
    strip: Strip,
    newest: i64,
    groups: Vec<Group>,
    notice: Option<String>,
    count: String,
    order_href: String,
    order_name: &'static str,
    rows: Vec<Row>,
    more: Option<String>,
}

/// What the tables say.
struct Found {
    span: Span,
    rows: Vec<Incident>,
    count: u64,
    facets: [Vec<Facet>; 4],
    days: (Option<String>, Option<String>),
    newest: i64,
    coverage: Coverage,
    /// Nothing is open, and nothing came in the last day: this is the last day with an incident.
    is_earlier: bool,
}

fn find(tables: &rusqlite::Connection, wanted: &Wanted, clock: &Clock) -> rusqlite::Result<Found> {
    let now = Clock::now_us();
    let today = clock.day(now);
    let mut is_earlier = false;
    let span = match wanted.day.as_str() {
        "all" => Span::All,
        day if parse_day(day).is_some() => Span::Day(day.to_owned()),
        _ => {
            let recent = Span::Since(now - DAY_US);
            let is_empty =
                incidents::list(tables, &Filter { span: recent.clone(), ..Filter::default() }, None, 1)?.is_empty();
            match incidents::last_day(tables)?.filter(|_| is_empty) {
                Some(day) => {
                    is_earlier = true;
                    Span::Day(day)
                }
                None => recent,
            }
        }
    };
    let filter = wanted.filter(span.clone());
    let after = wanted.after.split_once('.').and_then(|(time, seq)| Some((time.parse().ok()?, seq.parse().ok()?)));
    let shown_day = match &span {
        Span::Day(day) => parse_day(day).unwrap_or(today),
        _ => today,
    };
    let (from, until) = match &span {
        Span::Day(_) => clock.span_of(shown_day),
        _ => (now - DAY_US, now),
    };
    let reference = match &span {
        Span::Day(day) => day.clone(),
        _ => today.to_string(),
    };
    let facet = |column| incidents::facet(tables, &span, column);
    Ok(Found {
        rows: incidents::list(tables, &filter, after, ROWS_MAX + 1)?,
        count: incidents::count(tables, &filter)?,
        facets: [facet(Column::Verdict)?, facet(Column::Service)?, facet(Column::Ban)?, facet(Column::Site)?],
        days: incidents::days_around(tables, &reference)?,
        newest: newest(tables)?,
        coverage: Coverage::of(tables, from, until)?,
        is_earlier,
        span,
    })
}

fn newest(tables: &rusqlite::Connection) -> rusqlite::Result<i64> {
    tables.query_row("SELECT coalesce(max(seq), 0) FROM incident", [], |row| row.get(0))
}

/// The list.
///
/// # Errors
/// The tables cannot be read.
pub async fn page(app: &Arc<App>, visit: &Visit, wanted: Wanted) -> Result<Response, Problem> {
    let (asked, clock) = (wanted.clone(), app.clock.clone());
    let mut found = ask(app, move |tables| find(tables, &asked, &clock)).await?;
    let (language, w) = (visit.language, visit.words());
    let has_more = found.rows.len() > ROWS_MAX;
    found.rows.truncate(ROWS_MAX);
    let last = found.rows.last().filter(|_| has_more);
    let more = last.map(|last| wanted.href("after", &format!("{}.{}", last.opened_us, last.seq)));
    let step = |day: &Option<String>| {
        let day = day.as_deref()?;
        let name = parse_day(day).map_or_else(|| day.to_owned(), |day| short_day(language, day));
        Some((wanted.href("day", day), name))
    };
    let day = match &found.span {
        Span::Day(day) => Some(day.clone()),
        _ => None,
    };
    let title = match (&found.span, day.as_deref().and_then(parse_day)) {
        (_, Some(day)) => long_day(language, day),
        (Span::All, _) => w.all_days.to_owned(),
        _ => w.last_24_hours.to_owned(),
    };
    let is_oldest_first = wanted.order == "oldest";
    let nothing_new = language.pick(
        "Nothing is open, and nothing opened in the last 24 hours. This is the last day with an incident.",
        "Rien n’est en cours et rien ne s’est ouvert ces dernières 24 heures. Voici le dernier jour avec un incident.",
    );
    Ok(html(&ListPage {
        w,
        page: Page::of(app, visit, "/"),
        title,
        day: (!wanted.day.is_empty()).then(|| wanted.day.clone()),
        day_before: step(&found.days.0),
        day_after: step(&found.days.1),
        is_home: wanted.day.is_empty(),
        is_all: wanted.day == "all",
        strip: strip(&found, app, visit),
        newest: found.newest,
        groups: groups(&wanted, &found.facets, language, w),
        notice: found.is_earlier.then(|| nothing_new.to_owned()),
        count: w.incident_count(found.count),
        order_href: wanted.href("order", if is_oldest_first { "" } else { "oldest" }),
        order_name: if is_oldest_first { w.newest_first } else { w.oldest_first },
        rows: found.rows.iter().map(|incident| Row::of(incident, &app.clock, visit)).collect(),
        more,
    }))
}

/// The bar; on the list of all days it says that it is about the last of them.
fn strip(found: &Found, app: &App, visit: &Visit) -> Strip {
    let mut strip = found.coverage.strip(&app.clock, visit);
    if matches!(found.span, Span::All) {
        let recent = visit.language.pick("The last 24 hours: ", "Les dernières 24 heures\u{a0}: ");
        strip.sentence.insert_str(0, recent);
    }
    strip
}

fn groups(wanted: &Wanted, facets: &[Vec<Facet>; 4], language: Language, w: &'static Words) -> Vec<Group> {
    let fixed = |key: &'static str, chosen: &str, words: &[(&'static str, String)]| -> Vec<Choice> {
        let all = [("", w.all.to_owned())];
        let choices = all.iter().chain(words).map(|(value, name)| Choice {
            name: name.clone(),
            href: wanted.href(key, value),
            is_chosen: *value == chosen,
            count: None,
        });
        choices.collect()
    };
    let counted = |key: &'static str, chosen: &str, facets: &[Facet]| -> Vec<Choice> {
        let mut choices = fixed(key, chosen, &[]);
        choices.extend(facets.iter().map(|(value, name, count)| Choice {
            name: if key == "verdict" { verdict_word(language, value) } else { name.clone() },
            href: wanted.href(key, value),
            is_chosen: value == chosen,
            count: Some(w.number(*count)),
        }));
        choices
    };
    let [verdicts, services, bans, sites] = facets;
    let decided: Vec<(&'static str, String)> = [("none", w.undecided.to_owned())]
        .into_iter()
        .chain(["confirmed", "false", "excused"].map(|word| (word, decided_word(w, word))))
        .collect();
    let states = [("open", w.open.to_owned()), ("closed", w.closed.to_owned())];
    let mut groups = vec![
        Group { name: w.state, choices: fixed("state", &wanted.state, &states) },
        Group { name: w.decision, choices: fixed("decided", &wanted.decided, &decided) },
        Group { name: w.verdict, choices: counted("verdict", &wanted.verdict, verdicts) },
        Group { name: w.service, choices: counted("service", &wanted.service, services) },
        Group { name: w.ban, choices: counted("ban", &wanted.ban, bans) },
    ];
    if !sites.is_empty() {
        groups.push(Group { name: w.site, choices: counted("site", &wanted.site, sites) });
    }
    groups
}

#[derive(Template)]
#[template(source = r#"<p class="banner new"><a href="/" data-key="r">{{ text }}</a></p>"#, ext = "html")]
struct Newer {
    text: String,
}

/// That there are newer incidents. Nothing moves until somebody wants them.
pub fn newer(visit: &Visit, count: u64) -> Response {
    const MAX: u64 = incidents::NEWER_MAX;
    let number = visit.words().number(count.min(MAX));
    let text = match (visit.language, count) {
        (Language::En, 1) => "1 new incident: show it".to_owned(),
        (Language::En, ..=MAX) => format!("{number} new incidents: show them"),
        (Language::En, _) => format!("More than {number} new incidents: show them"),
        (Language::Fr, 1) => "1 nouvel incident : l’afficher".to_owned(),
        (Language::Fr, ..=MAX) => format!("{number} nouveaux incidents : les afficher"),
        (Language::Fr, _) => format!("Plus de {number} nouveaux incidents : les afficher"),
    };
    Html(Newer { text }.render().unwrap_or_default()).into_response()
}
