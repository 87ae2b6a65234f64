//! Answers that are no ordinary page, and how pages ask the tables.

use std::sync::Arc;

use askama::Template;
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};
use rusqlite::Connection;
use tokio::task::spawn_blocking;

use super::App;
use super::visit::Visit;
use crate::pages::Page;
use crate::words::Words;

/// Why a page cannot be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Problem {
    NotFound,
    Forbidden,
    /// A form that is not from here, or too old.
    StaleForm,
    /// The tables cannot be read.
    Unavailable,
    /// The console's own journal cannot be written.
    NotRecorded,
    /// The events are no longer in the journal.
    Gone,
}

#[derive(Template)]
#[template(path = "message.html")]
struct Message {
    w: &'static Words,
    page: Page,
    title: &'static str,
    text: &'static str,
}

impl Problem {
    /// The page that says so.
    pub fn page(self, app: &App, visit: &Visit) -> Response {
        let w = visit.words();
        let (status, title, text) = match self {
            Self::NotFound => (StatusCode::NOT_FOUND, w.not_found, w.not_found_text),
            Self::Gone => (StatusCode::GONE, w.not_found, w.raw_is_gone),
            Self::Forbidden => (StatusCode::FORBIDDEN, w.forbidden, w.forbidden_text),
            Self::StaleForm => (StatusCode::FORBIDDEN, w.forbidden, w.stale_form),
            Self::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, w.unavailable, w.unavailable_text),
            Self::NotRecorded => (StatusCode::SERVICE_UNAVAILABLE, w.unavailable, w.not_recorded),
        };
        (status, html(&Message { w, page: Page::of(app, visit, ""), title, text })).into_response()
    }
}

/// A page.
pub fn html(template: &impl Template) -> Response {
    match template.render() {
        Ok(text) => Html(text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// Asks the tables on a thread that may wait for the disk.
///
/// # Errors
/// They cannot be read.
pub async fn ask<T: Send + 'static>(
    app: &Arc<App>,
    question: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
) -> Result<T, Problem> {
    let of_thread = Arc::clone(app);
    let answer = spawn_blocking(move || of_thread.database.read(question)).await;
    answer.ok().and_then(Result::ok).ok_or(Problem::Unavailable)
}
