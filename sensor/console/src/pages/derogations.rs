//! Derogations: the register, whom and what it excuses, and how many days are left. For analysts and the data protection
//! officer only.

use std::sync::Arc;

use askama::Template;
use axum::response::Response;
use tokio::task::spawn_blocking;

use super::{Page, encode};
use crate::clock::Clock;
use crate::query;
use crate::register::{ENTRIES_MAX, Entry, KnownFrom, State, merged, read};
use crate::server::visit::Visit;
use crate::server::{App, Problem, ask, html};
use crate::words::{Language, Words};

/// Days before its end from which a derogation stands out, as in 'vigie check'.
const WARNING_DAYS: i32 = 14;

/// Services of an entry that are shown without unfolding them.
const SERVICES_SHOWN_MAX: usize = 6;

struct Line {
    id: String,
    who: Vec<String>,
    /// Name and address of each service.
    services: Vec<(String, String)>,
    /// "12 services", where there are more than a line has room for.
    many: Option<String>,
    from: String,
    until: String,
    state: String,
    class: &'static str,
    excused: String,
    approver: String,
    reference: String,
    reason: String,
}

#[derive(Template)]
#[template(path = "derogations.html")]
struct DerogationsPage {
    w: &'static Words,
    page: Page,
    notice: Option<String>,
    summary: String,
    lines: Vec<Line>,
}

/// The page.
///
/// # Errors
/// The tables cannot be read.
pub async fn page(app: &Arc<App>, visit: &Visit) -> Result<Response, Problem> {
    let (language, w) = (visit.language, visit.words());
    let audit = ask(app, query::audit::of_derogations).await?;
    let path = app.register.clone();
    let register = match path {
        None => None,
        Some(path) => {
            let read = spawn_blocking(move || read(&path)).await;
            Some(read.unwrap_or_else(|error| Err(error.to_string())))
        }
    };
    let (register, fault) = match register {
        None => (None, None),
        Some(Ok(entries)) => (Some(entries), None),
        Some(Err(fault)) => (None, Some(fault)),
    };
    let notice = match (&fault, &app.register) {
        (Some(fault), _) => Some(format!("{} {fault}.", w.register_unreadable)),
        (None, None) => Some(w.register_not_set.to_owned()),
        (None, Some(_)) => None,
    };
    let today = app.clock.day(Clock::now_us());
    let mut entries = merged(register, &audit);
    entries.sort_by_key(|entry| order(entry.state_at(today)));
    let active = entries.iter().filter(|entry| matches!(entry.state_at(today), State::Active(_))).count() as u64;
    let summary = match language {
        Language::En => {
            format!("{} of {} derogations are in force today.", w.number(active), w.number(entries.len() as u64))
        }
        Language::Fr => {
            format!(
                "{} dérogations sur {} sont en vigueur aujourd’hui.",
                w.number(active),
                w.number(entries.len() as u64)
            )
        }
    };
    entries.truncate(ENTRIES_MAX);
    let asked = entries.clone();
    let excused = ask(app, move |tables| {
        asked
            .iter()
            .map(|entry| query::incidents::excused(tables, &entry.services, &entry.from, entry.last_day()))
            .collect()
    });
    let excused: Vec<u64> = excused.await?;
    let lines = entries.into_iter().zip(excused).map(|(entry, excused)| line(entry, excused, today, visit)).collect();
    Ok(html(&DerogationsPage { w, page: Page::of(app, visit, "/derogations"), notice, summary, lines }))
}

/// What ends soonest comes first, what is over last.
const fn order(state: State) -> (u8, i32) {
    match state {
        State::Unknown => (0, 0),
        State::Active(days) => (1, days),
        State::NotBegun => (2, 0),
        State::EndedEarly | State::Expired => (3, 0),
    }
}

fn line(entry: Entry, excused: u64, today: jiff::civil::Date, visit: &Visit) -> Line {
    let w = visit.words();
    let (state, class) = state(&entry, today, visit.language);
    let bundle = vigie_signatures::Bundle::builtin();
    let service = |key: &String| {
        let name = bundle.service(key).map_or_else(|| key.clone(), |service| service.name.clone());
        (name, format!("/service/{}", encode(key)))
    };
    Line {
        who: if entry.who.is_empty() { vec![w.not_told.to_owned()] } else { entry.who.clone() },
        services: entry.services.iter().filter(|key| !key.is_empty()).map(service).collect(),
        many: (entry.services.len() > SERVICES_SHOWN_MAX).then(|| format!("{} services", entry.services.len())),
        until: entry.last_day().to_owned(),
        state,
        class,
        excused: w.number(excused),
        id: entry.id,
        from: entry.from,
        approver: entry.approver,
        reference: entry.reference,
        reason: entry.reason,
    }
}

/// What the state of an entry is called, and its class.
pub fn state(entry: &Entry, today: jiff::civil::Date, language: Language) -> (String, &'static str) {
    if entry.known_from == KnownFrom::Removed {
        return (language.pick("no longer in the register", "n’est plus au registre").to_owned(), "warn");
    }
    let pick = |english, french| language.pick(english, french);
    match entry.state_at(today) {
        State::NotBegun => (pick("not begun", "pas commencée").to_owned(), "quiet"),
        State::Active(0) => (pick("last day", "dernier jour").to_owned(), "warn"),
        State::Active(1) => (pick("1 day left", "1 jour restant").to_owned(), "warn"),
        State::Active(days) => {
            let class = if days <= WARNING_DAYS { "warn" } else { "good" };
            (format!("{days} {}", pick("days left", "jours restants")), class)
        }
        State::Expired => (pick("over", "terminée").to_owned(), "quiet"),
        State::EndedEarly => (pick("ended early", "close avant terme").to_owned(), "quiet"),
        State::Unknown => (pick("its days cannot be read", "dates illisibles").to_owned(), "warn"),
    }
}
