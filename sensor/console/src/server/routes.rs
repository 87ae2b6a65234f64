//! Which address is which page.

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use serde::Deserialize;

use super::answers::{Problem, ask};
use super::visit::{Known, Visit};
use super::{App, FORM_BYTES_MAX, assets, decide, forms};
use crate::own_journal::Act;
use crate::pages::{
    bans, candidates, coverage, derogations, destinations, device, encode, facts, incident, incidents, log, services,
};
use crate::query;

/// All routes.
pub fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/", get(list))
        .route("/new", get(newer))
        .route("/search", get(search))
        .route("/incident/{id}", get(one_incident))
        .route("/incident/{id}/raw", get(raw))
        .route("/incident/{id}/decide", post(decide::decide))
        .route("/coverage", get(of_coverage))
        .route("/bans", get(all_bans))
        .route("/ban/{id}", get(one_ban))
        .route("/device/{client}", get(one_device))
        .route("/services", get(all_services))
        .route("/service/{key}", get(one_service))
        .route("/destinations", get(of_destinations))
        .route("/derogations", get(of_derogations))
        .route("/candidates", get(of_candidates))
        .route("/audit", get(of_audit))
        .route("/health", get(of_health))
        .route("/keys", get(of_keys))
        .route("/accessibility", get(of_accessibility))
        .route("/sign-in", get(forms::sign_in_page).post(forms::sign_in))
        .route("/sign-out", post(forms::sign_out))
        .route("/preferences", post(forms::preferences))
        .route("/assets/{name}", get(assets::asset))
        .fallback(nothing)
        .layer(DefaultBodyLimit::max(FORM_BYTES_MAX))
        .with_state(app)
}

type Answer = Result<Response, Response>;

async fn nothing(State(app): State<Arc<App>>, visit: Visit) -> Response {
    Problem::NotFound.page(&app, &visit)
}

async fn list(State(app): State<Arc<App>>, known: Known, Query(wanted): Query<incidents::Wanted>) -> Answer {
    let visit = &known.visit;
    incidents::page(&app, visit, wanted).await.map_err(|problem| problem.page(&app, visit))
}

#[derive(Deserialize)]
struct NewerThan {
    #[serde(default)]
    after: i64,
}

/// How many incidents are newer than those that a page shows, for the script that asks now and then.
async fn newer(State(app): State<Arc<App>>, known: Known, Query(than): Query<NewerThan>) -> Response {
    let counted = ask(&app, move |tables| query::incidents::newer(tables, than.after)).await;
    match counted {
        Ok(0) | Err(_) => StatusCode::NO_CONTENT.into_response(),
        Ok(count) => incidents::newer(&known.visit, count),
    }
}

#[derive(Deserialize)]
struct Search {
    #[serde(default)]
    q: String,
}

/// Finds an incident by its id, a device by its address or name, a service by its key or name.
async fn search(State(app): State<Arc<App>>, known: Known, Query(search): Query<Search>) -> Answer {
    let visit = known.visit;
    let (q, sees_devices) = (search.q.trim().to_owned(), visit.sees_devices());
    let found = ask(&app, move |tables| query::search::find(tables, &q, sees_devices)).await;
    match found.map_err(|problem| problem.page(&app, &visit))? {
        Some(query::search::Found::Incident(id)) => {
            Ok(Redirect::to(&format!("/incident/{}", encode(&id))).into_response())
        }
        Some(query::search::Found::Device(client)) => {
            Ok(Redirect::to(&format!("/device/{}", encode(&client))).into_response())
        }
        Some(query::search::Found::Service(key)) => {
            Ok(Redirect::to(&format!("/service/{}", encode(&key))).into_response())
        }
        None => Err(Problem::NotFound.page(&app, &visit)),
    }
}

async fn one_incident(State(app): State<Arc<App>>, known: Known, Path(id): Path<String>) -> Answer {
    incident::page(&app, &known, &id, None).await.map_err(|problem| problem.page(&app, &known.visit))
}

/// The events of an incident as they stand in the journal.
async fn raw(State(app): State<Arc<App>>, known: Known, Path(id): Path<String>) -> Answer {
    only_who_sees_devices(&known).map_err(|problem| problem.page(&app, &known.visit))?;
    let refuse = |problem: Problem| problem.page(&app, &known.visit);
    let whole = ask(&app, move |tables| query::incident::whole(tables, &id, false)).await.map_err(refuse)?;
    let whole = whole.ok_or_else(|| refuse(Problem::NotFound))?;
    let id = whole.incident.id.clone();
    app.own.write(&known.person.name, &Act::Viewed { incident: &id }).map_err(|_| refuse(Problem::NotRecorded))?;
    let of_thread = Arc::clone(&app);
    let lines = tokio::task::spawn_blocking(move || crate::raw::lines(&of_thread.journal, &whole)).await;
    match lines.unwrap_or_default() {
        text if text.is_empty() => Err(refuse(Problem::Gone)),
        text => Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response()),
    }
}

async fn of_coverage(State(app): State<Arc<App>>, known: Known, Query(wanted): Query<coverage::Wanted>) -> Answer {
    coverage::page(&app, &known.visit, &wanted).await.map_err(|problem| problem.page(&app, &known.visit))
}

async fn all_bans(State(app): State<Arc<App>>, known: Known) -> Answer {
    bans::list(&app, &known.visit).await.map_err(|problem| problem.page(&app, &known.visit))
}

async fn one_ban(State(app): State<Arc<App>>, known: Known, Path(id): Path<String>) -> Answer {
    bans::one(&app, &known.visit, id).await.map_err(|problem| problem.page(&app, &known.visit))
}

async fn one_device(State(app): State<Arc<App>>, known: Known, Path(client): Path<String>) -> Answer {
    device::page(&app, &known.visit, client).await.map_err(|problem| problem.page(&app, &known.visit))
}

async fn all_services(State(app): State<Arc<App>>, known: Known) -> Answer {
    services::list(&app, &known.visit).await.map_err(|problem| problem.page(&app, &known.visit))
}

async fn one_service(State(app): State<Arc<App>>, known: Known, Path(key): Path<String>) -> Answer {
    services::one(&app, &known.visit, key).await.map_err(|problem| problem.page(&app, &known.visit))
}

async fn of_destinations(
    State(app): State<Arc<App>>,
    known: Known,
    Query(wanted): Query<destinations::Wanted>,
) -> Answer {
    destinations::page(&app, &known.visit, wanted).await.map_err(|problem| problem.page(&app, &known.visit))
}

async fn of_derogations(State(app): State<Arc<App>>, known: Known) -> Answer {
    only_who_sees_devices(&known).map_err(|problem| problem.page(&app, &known.visit))?;
    derogations::page(&app, &known.visit).await.map_err(|problem| problem.page(&app, &known.visit))
}

async fn of_candidates(State(app): State<Arc<App>>, known: Known) -> Answer {
    only_who_sees_devices(&known).map_err(|problem| problem.page(&app, &known.visit))?;
    candidates::page(&app, &known.visit).await.map_err(|problem| problem.page(&app, &known.visit))
}

fn only_who_sees_devices(known: &Known) -> Result<(), Problem> {
    if known.visit.sees_devices() { Ok(()) } else { Err(Problem::Forbidden) }
}

async fn of_audit(State(app): State<Arc<App>>, known: Known, Query(wanted): Query<log::Wanted>) -> Answer {
    only_who_sees_devices(&known).map_err(|problem| problem.page(&app, &known.visit))?;
    log::page(&app, &known.visit, wanted).await.map_err(|problem| problem.page(&app, &known.visit))
}

async fn of_health(State(app): State<Arc<App>>, known: Known) -> Answer {
    facts::health(&app, &known.visit).await.map_err(|problem| problem.page(&app, &known.visit))
}

async fn of_keys(State(app): State<Arc<App>>, known: Known) -> Response {
    facts::keys(&app, &known.visit)
}

async fn of_accessibility(State(app): State<Arc<App>>, visit: Visit) -> Response {
    facts::accessibility(&app, &visit)
}
