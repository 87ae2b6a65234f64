//! Pages of plain facts: health, keyboard, accessibility.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use askama::Template;
use axum::response::Response;
use vigie_journal::eve::time_us;
use vigie_journal::read_seals;

use super::Page;
use crate::clock::Clock;
use crate::query;
use crate::server::visit::Visit;
use crate::server::{App, Problem, ask, html};
use crate::words::{Language, Words};

struct Section {
    title: &'static str,
    facts: Vec<(&'static str, String)>,
    texts: Vec<String>,
}

#[derive(Template)]
#[template(path = "facts.html")]
struct FactsPage {
    w: &'static Words,
    page: Page,
    title: &'static str,
    lead: String,
    sections: Vec<Section>,
}

#[derive(Template)]
#[template(path = "keys.html")]
struct KeysPage {
    w: &'static Words,
    page: Page,
}

/// How the sensor, the journal and the console are.
///
/// # Errors
/// The tables cannot be read.
pub async fn health(app: &Arc<App>, visit: &Visit) -> Result<Response, Problem> {
    const DAY_US: i64 = 86_400_000_000;
    let (language, w) = (visit.language, visit.words());
    let now = Clock::now_us();
    let sums = ask(app, move |tables| query::coverage::parts(tables, now - DAY_US, now, DAY_US)).await?;
    let journal = app.journal.clone();
    let seals = tokio::task::spawn_blocking(move || read_seals(&journal)).await;
    let seals = seals.ok().and_then(Result::ok);
    let pick = |english, french| language.pick(english, french);
    let reading = app.projection.progress.reading();
    let last = reading.last_event.as_deref().and_then(time_us);
    let silent_s = last.map_or(0, |last| (now - last).max(0) as u64 / 1_000_000);
    let lead = match last {
        Some(_) if language == Language::Fr => format!("Dernier événement du capteur il y a {}.", w.duration(silent_s)),
        Some(_) => format!("Newest event of the sensor {} ago.", w.duration(silent_s)),
        None => w.no_event_yet.to_owned(),
    };
    let yes_no = |is_true| if is_true { pick("yes", "oui") } else { pick("no", "non") };
    let progress = &app.projection.progress;
    let tables = Section {
        title: pick("What these pages are made from", "D’où viennent ces pages"),
        facts: vec![
            (pick("Everything was read", "Tout est lu"), yes_no(reading.is_current).to_owned()),
            (pick("Bytes not read yet", "Octets non encore lus"), w.bytes(reading.bytes_left)),
            (pick("Events read since the start", "Événements lus depuis le démarrage"), w.number(reading.lines)),
            (
                pick("Lines that are no events", "Lignes qui ne sont pas des événements"),
                w.number(progress.lines_unread.load(Relaxed)),
            ),
            (
                pick("Segments removed before they were read", "Segments supprimés avant lecture"),
                w.number(progress.segments_lost.load(Relaxed)),
            ),
            (pick("Error", "Erreur"), reading.error.unwrap_or_else(|| "–".to_owned())),
        ],
        texts: Vec::new(),
    };
    let mut interfaces: Vec<(&'static str, String)> = Vec::new();
    for part in &sums {
        let name = if part.interface.is_empty() { "–" } else { part.interface.as_str() };
        let told = match language {
            Language::En => format!(
                "{name}: told {}, blind {}, at most {} packets per million lost in a minute",
                w.duration(part.sums.window_s),
                w.duration(part.sums.blind_s),
                w.number(part.sums.drops_ppm_max)
            ),
            Language::Fr => format!(
                "{name} : signalé {}, aveugle {}, au plus {} paquets perdus par million en une minute",
                w.duration(part.sums.window_s),
                w.duration(part.sums.blind_s),
                w.number(part.sums.drops_ppm_max)
            ),
        };
        interfaces.push((w.interface, told));
    }
    let sensor = Section {
        title: pick("The sensor in the last 24 hours", "Le capteur ces dernières 24 heures"),
        texts: if interfaces.is_empty() { vec![w.not_told.to_owned()] } else { Vec::new() },
        facts: interfaces,
    };
    let sealed = match seals {
        Some(seals) => {
            let last = seals.last();
            vec![
                (pick("Seals", "Scellés"), w.number(seals.len() as u64)),
                (
                    pick("Newest covers until", "Le dernier couvre jusqu’à"),
                    last.map_or_else(|| "–".to_owned(), |seal| seal.last.clone()),
                ),
                ("SHA-256", last.map_or_else(|| "–".to_owned(), |seal| seal.sha256.clone())),
            ]
        }
        None => vec![(pick("Seals", "Scellés"), pick("cannot be read", "illisibles").to_owned())],
    };
    let check = pick(
        "Seals are compared with the journal by 'vigie journal verify'; with those that a receiver holds, by '--against'.",
        "« vigie journal verify » compare les scellés au journal ; avec « --against », à ceux que détient un récepteur.",
    );
    let journal = Section { title: pick("The journal", "Le journal"), facts: sealed, texts: vec![check.to_owned()] };
    let page = Page::of(app, visit, "/health");
    let sections = vec![sensor, receivers(app, visit).await, journal, tables];
    Ok(html(&FactsPage { w, page, title: w.health, lead, sections }))
}

/// How far receivers of events are behind.
async fn receivers(app: &Arc<App>, visit: &Visit) -> Section {
    let w = visit.words();
    let pick = |english, french| visit.language.pick(english, french);
    let title = pick("Receivers of events", "Récepteurs d’événements");
    let told = |text: &str| Section { title, facts: Vec::new(), texts: vec![text.to_owned()] };
    let Some(folder) = app.forwarder_folder.clone() else {
        return told(pick(
            "Not read here: set sensor.forwarder_folder to the folder of vigie-forward.",
            "Non lus ici : indiquez dans sensor.forwarder_folder le dossier de vigie-forward.",
        ));
    };
    let journal = app.journal.clone();
    let found = tokio::task::spawn_blocking(move || crate::receivers::read(&folder, &journal)).await;
    let receivers = match found.unwrap_or_else(|error| Err(std::io::Error::other(error))) {
        Ok(receivers) if receivers.is_empty() => return told(pick("There is none.", "Il n’y en a pas.")),
        Ok(receivers) => receivers,
        Err(error) => {
            let text =
                pick("The folder of vigie-forward cannot be read:", "Le dossier de vigie-forward est illisible :");
            return told(&format!("{text} {error}."));
        }
    };
    let line = |receiver: crate::receivers::Receiver| {
        let behind = match receiver.behind {
            Some((0, _)) => pick("has everything", "a tout reçu").to_owned(),
            Some((bytes, segments)) => {
                let (bytes, segments) = (w.bytes(bytes), w.number(segments));
                match visit.language {
                    Language::En => format!("{bytes} behind, {segments} further segments"),
                    Language::Fr => format!("{bytes} de retard, {segments} segments suivants"),
                }
            }
            None => pick("its cursor cannot be read", "curseur illisible").to_owned(),
        };
        (pick("Receiver", "Récepteur"), format!("{}: {behind}", receiver.name))
    };
    Section { title, facts: receivers.into_iter().map(line).collect(), texts: Vec::new() }
}

/// What the keys do.
pub fn keys(app: &App, visit: &Visit) -> Response {
    html(&KeysPage { w: visit.words(), page: Page::of(app, visit, "/keys") })
}

/// How accessible the pages are.
pub fn accessibility(app: &App, visit: &Visit) -> Response {
    let texts = match visit.language {
        Language::En => [
            "Every page works without script, by keyboard alone, from 360 pixels of width, in light, dark and forced colours. \
             Charts have their numbers as a table or in words.",
            "A test has axe-core look at every page in both languages and themes. No person has audited the pages against \
             RGAA 4.1 or EN 301 549 yet, so no conformity is claimed.",
            "If something hinders you, tell who runs this console. In France, an answer that does not help can be taken to \
             the Défenseur des droits.",
        ],
        Language::Fr => [
            "Toutes les pages fonctionnent sans script, au clavier seul, dès 360 pixels de large, en clair, en sombre et en \
             couleurs imposées. Les graphiques ont leurs chiffres en tableau ou en toutes lettres.",
            "Un test fait examiner chaque page par axe-core, dans les deux langues et les deux thèmes. Aucun audit humain \
             selon le RGAA 4.1 ou l’EN 301 549 n’a encore eu lieu : accessibilité non conforme au sens du RGAA.",
            "Si quelque chose vous gêne, signalez-le à l’exploitant de cette console. En l’absence de réponse utile, vous \
             pouvez saisir le Défenseur des droits.",
        ],
    };
    let w = visit.words();
    let section = Section { title: "", facts: Vec::new(), texts: texts.map(str::to_owned).to_vec() };
    let page = Page::of(app, visit, "");
    html(&FactsPage { w, page, title: w.accessibility, lead: String::new(), sections: vec![section] })
}
