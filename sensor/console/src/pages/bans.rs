//! The bans: text, dates, state, and what was found under each.

use std::collections::BTreeMap;
use std::sync::Arc;

use askama::Template;
use axum::response::Response;
use time::{Date, OffsetDateTime};
use vigie_signatures::{Ban, BanState, Bans};

use super::{Page, encode};
use crate::query::totals::{self, Totals};
use crate::server::visit::Visit;
use crate::server::{App, Problem, ask, html};
use crate::words::{Language, Words, ban_title};

struct Line {
    href: String,
    id: String,
    title: String,
    country: String,
    authority: String,
    since: String,
    state: &'static str,
    class: &'static str,
    incidents: String,
    open: String,
}

#[derive(Template)]
#[template(path = "bans.html")]
struct ListPage {
    w: &'static Words,
    page: Page,
    bans: Vec<Line>,
}

#[derive(Template)]
#[template(path = "ban.html")]
struct BanPage {
    w: &'static Words,
    page: Page,
    id: String,
    title: String,
    state: Option<&'static str>,
    class: &'static str,
    facts: Vec<(&'static str, String)>,
    incidents_href: String,
    incidents: String,
}

fn today() -> Date {
    OffsetDateTime::now_utc().date()
}

const fn state(state: BanState, language: Language) -> (&'static str, &'static str) {
    match state {
        BanState::NotYetInForce => (language.pick("not yet in force", "pas encore en vigueur"), "quiet"),
        BanState::InForce => (language.pick("in force", "en vigueur"), "good"),
        BanState::Overdue => (language.pick("in force, review overdue", "en vigueur, réexamen en retard"), "warn"),
        BanState::Ended => (language.pick("ended", "terminée"), "quiet"),
    }
}

/// All bans, those with incidents first.
///
/// # Errors
/// The tables cannot be read.
pub async fn list(app: &Arc<App>, visit: &Visit) -> Result<Response, Problem> {
    let (language, w) = (visit.language, visit.words());
    let found = ask(app, totals::by_ban).await?;
    let mut found: BTreeMap<String, Totals> = found.into_iter().map(|totals| (totals.key.clone(), totals)).collect();
    let line = |id: &str, ban: Option<&Ban>, totals: Option<Totals>| {
        let (incidents, open) = totals.as_ref().map_or((0, 0), |totals| (totals.incidents, totals.open));
        let (state, class) = ban.map_or((language.pick("of the operator", "de l’exploitant"), "quiet"), |ban| {
            state(ban.state_at(today()), language)
        });
        let own_title = totals.map(|totals| totals.name).unwrap_or_default();
        let line = Line {
            href: format!("/ban/{}", encode(id)),
            id: id.to_owned(),
            title: ban.map_or(own_title, |ban| ban_title(language, ban)),
            country: ban.map(|ban| ban.country.clone()).unwrap_or_default(),
            authority: ban.map(|ban| ban.authority.clone()).unwrap_or_default(),
            since: ban.and_then(|ban| ban.in_force).map_or_else(|| "–".to_owned(), |day| day.to_string()),
            state,
            class,
            incidents: w.number(incidents),
            open: w.number(open),
        };
        (incidents, line)
    };
    let known = Bans::builtin();
    let mut lines: Vec<(u64, Line)> = known.iter().map(|ban| line(&ban.id, Some(ban), found.remove(&ban.id))).collect();
    lines.extend(found.into_iter().map(|(id, totals)| line(&id, None, Some(totals))));
    lines.sort_by_key(|(incidents, _)| std::cmp::Reverse(*incidents));
    let bans = lines.into_iter().map(|(_, line)| line).collect();
    Ok(html(&ListPage { w, page: Page::of(app, visit, "/bans"), bans }))
}

/// One ban.
///
/// # Errors
/// There is none of that id, or the tables cannot be read.
pub async fn one(app: &Arc<App>, visit: &Visit, id: String) -> Result<Response, Problem> {
    let (language, w) = (visit.language, visit.words());
    let found = ask(app, totals::by_ban).await?;
    let totals = found.into_iter().find(|totals| totals.key == id);
    let known = Bans::builtin();
    let ban = known.get(&id);
    if ban.is_none() && totals.is_none() {
        return Err(Problem::NotFound);
    }
    let state = ban.map(|ban| state(ban.state_at(today()), language));
    let own_title = totals.as_ref().map(|totals| totals.name.clone()).unwrap_or_default();
    Ok(html(&BanPage {
        w,
        page: Page::of(app, visit, "/bans"),
        title: ban.map_or(own_title, |ban| ban_title(language, ban)),
        state: state.map(|(word, _)| word),
        class: state.map_or("quiet", |(_, class)| class),
        facts: ban.map(|ban| facts(ban, language)).unwrap_or_default(),
        incidents_href: format!("/?day=all&ban={}", encode(&id)),
        incidents: w.incident_count(totals.map_or(0, |totals| totals.incidents)),
        id,
    }))
}

fn facts(ban: &Ban, language: Language) -> Vec<(&'static str, String)> {
    let day = |day: Option<Date>| day.map(|day| day.to_string()).unwrap_or_default();
    let words = |words: Vec<&str>| words.join(", ");
    let pick = |english, french| language.pick(english, french);
    let facts = [
        (pick("Authority", "Autorité"), ban.authority.clone()),
        (pick("Country", "Pays"), ban.country.clone()),
        (pick("Title in its language", "Titre dans sa langue"), ban.title.clone()),
        (pick("Instrument", "Texte"), ban.instrument.clone()),
        (pick("Form", "Forme"), ban.form.as_str().to_owned()),
        (pick("Decided", "Décidée le"), day(ban.decided)),
        (pick("In force since", "En vigueur depuis le"), day(ban.in_force)),
        (pick("To be removed by", "À supprimer avant le"), day(ban.remove_by)),
        (pick("Review due", "Réexamen prévu le"), day(ban.review_due())),
        (pick("Ended", "Terminée le"), day(ban.ended)),
        (pick("Forbids", "Interdit"), words(ban.forbids.iter().map(|word| word.as_str()).collect())),
        (pick("Services", "Services"), ban.services.join(", ")),
        (
            pick("Services by choice of the operator", "Services au choix de l’exploitant"),
            ban.services_by_choice.join(", "),
        ),
        (pick("Owners", "Propriétaires"), ban.owners.join(", ")),
        (pick("Categories", "Catégories"), ban.categories.join(", ")),
        (pick("Countries of owners", "Pays des propriétaires"), ban.owner_countries.join(", ")),
        (pick("Devices", "Appareils"), words(ban.scope.iter().map(|word| word.as_str()).collect())),
        (pick("Personal devices", "Appareils personnels"), ban.personal.as_str().to_owned()),
        (pick("Exemptions that the text allows", "Dérogations prévues par le texte"), ban.derogation.join("; ")),
        (pick("Remark", "Remarque"), ban.note.clone()),
        (pick("Sources", "Sources"), ban.sources.join(", ")),
        (pick("Checked", "Vérifiée le"), ban.reviewed.clone()),
    ];
    facts.into_iter().filter(|(_, text)| !text.is_empty()).collect()
}
