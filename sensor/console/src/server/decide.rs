//! Taking up an incident, deciding what it was, writing a note.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Form, Path, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;
use tokio::sync::oneshot;
use tokio::time::timeout;
use vigie_journal::names_an_address;

use super::App;
use super::answers::{Problem, ask};
use super::visit::{Known, is_own_form};
use crate::own_journal::Act;
use crate::pages::{encode, incident};
use crate::query;

/// Longest note, bytes.
const NOTE_BYTES_MAX: usize = 1_000;
/// How long the answer waits for the tables to show what was decided.
const SHOWN_WITHIN: Duration = Duration::from_secs(3);

/// What a person decides.
#[derive(Deserialize)]
pub struct Decision {
    #[serde(default)]
    csrf: String,
    #[serde(default)]
    note: String,
    #[serde(default, rename = "as")]
    what: String,
}

/// Writes the decision down, and shows the incident again.
pub async fn decide(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    known: Known,
    Path(id): Path<String>,
    Form(decision): Form<Decision>,
) -> Result<Response, Response> {
    let refuse = |problem: Problem| problem.page(&app, &known.visit);
    if !is_own_form(&headers, &known.person, &decision.csrf) {
        return Err(refuse(Problem::StaleForm));
    }
    if !known.visit.sees_devices() {
        return Err(refuse(Problem::Forbidden));
    }
    let wanted = id.clone();
    let found = ask(&app, move |tables| query::incident::find(tables, &wanted, false)).await.map_err(refuse)?;
    let incident = found.ok_or_else(|| refuse(Problem::NotFound))?.id;
    let note = decision.note.trim();
    let w = known.visit.words();
    let fault = match () {
        () if names_an_address(note) => Some(w.note_names_an_address),
        () if decision.what == "note" && note.is_empty() => Some(w.note_is_needed),
        () => None,
    };
    if let Some(fault) = fault {
        let again = incident::Again { fault, note: note.to_owned() };
        return incident::page(&app, &known, &id, Some(again)).await.map_err(refuse);
    }
    let note = clipped(note);
    let act = match decision.what.as_str() {
        "acknowledged" => Act::Acknowledged { incident: &incident, note },
        "note" => Act::Note { incident: &incident, note },
        disposition @ ("confirmed" | "false" | "excused") => {
            Act::Disposition { incident: &incident, disposition, note }
        }
        _ => return Err(refuse(Problem::StaleForm)),
    };
    app.own.write(&known.person.name, &act).map_err(|_| refuse(Problem::NotRecorded))?;
    let (shown, is_shown) = oneshot::channel();
    app.projection.when_read(Box::new(move || shown.send(()).unwrap_or_default()));
    let _ = timeout(SHOWN_WITHIN, is_shown).await;
    Ok(Redirect::to(&format!("/incident/{}#done", encode(&incident))).into_response())
}

/// A note without what is beyond its longest, cut between characters.
fn clipped(note: &str) -> &str {
    let end = (0..=NOTE_BYTES_MAX.min(note.len())).rev().find(|at| note.is_char_boundary(*at));
    note.get(..end.unwrap_or_default()).unwrap_or_default()
}
