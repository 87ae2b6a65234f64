//! Signing in and out, and how pages look.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Form, Query, State};
use axum::http::header::SET_COOKIE;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;

use super::App;
use super::answers::{Problem, html};
use super::visit::{Known, SESSION, Visit, cookie, is_from_here, is_own_form, own_path};
use crate::access::{Access, Answer};
use crate::own_journal::Act;
use crate::pages::Page;
use crate::words::Words;

/// How long browsers keep how pages look: a year.
const PREFERENCES_AGE_S: u32 = 31_536_000;

#[derive(Template)]
#[template(path = "sign-in.html")]
struct SignInPage {
    w: &'static Words,
    page: Page,
    error: Option<&'static str>,
    next: String,
    user: String,
}

/// Where to go afterwards.
#[derive(Deserialize)]
pub struct Next {
    #[serde(default)]
    next: String,
}

/// Asks for name and password.
pub async fn sign_in_page(State(app): State<Arc<App>>, visit: Visit, Query(next): Query<Next>) -> Response {
    if visit.person.is_some() {
        return Redirect::to("/").into_response();
    }
    let page = Page::of(&app, &visit, "");
    let next = own_path(&next.next).to_owned();
    html(&SignInPage { w: visit.words(), page, error: None, next, user: String::new() })
}

/// Name and password.
#[derive(Deserialize)]
pub struct Given {
    #[serde(default)]
    next: String,
    user: String,
    password: String,
}

/// Checks them, and begins a session.
pub async fn sign_in(
    State(app): State<Arc<App>>,
    visit: Visit,
    headers: HeaderMap,
    Form(given): Form<Given>,
) -> Response {
    let Access::Users(users) = &app.access else { return Problem::NotFound.page(&app, &visit) };
    if !is_from_here(&headers) {
        return Problem::StaleForm.page(&app, &visit);
    }
    let w = visit.words();
    let refuse = |status: StatusCode, error| {
        let page = Page::of(&app, &visit, "");
        let next = own_path(&given.next).to_owned();
        (status, html(&SignInPage { w, page, error: Some(error), next, user: given.user.clone() })).into_response()
    };
    match app.sign_in.check(users, &given.user, &given.password).await {
        Answer::Wrong => return refuse(StatusCode::UNAUTHORIZED, w.wrong_password),
        Answer::Later => return refuse(StatusCode::TOO_MANY_REQUESTS, w.too_many_tries),
        Answer::Right => {}
    }
    if app.own.write(&given.user, &Act::SignedIn).is_err() {
        return Problem::NotRecorded.page(&app, &visit);
    }
    if let Some(old) = cookie(&headers, SESSION) {
        app.sessions.end(old);
    }
    let Some(session) = app.sessions.begin(&given.user, users.roles.role(&given.user)) else {
        return Problem::Unavailable.page(&app, &visit);
    };
    let kept = if app.is_behind_tls { "; Secure" } else { "" };
    let kept = format!("{SESSION}={session}; Path=/; HttpOnly; SameSite=Lax{kept}");
    with_cookies(Redirect::to(own_path(&given.next)).into_response(), &[kept])
}

/// The token of a form.
#[derive(Deserialize)]
pub struct Token {
    #[serde(default)]
    csrf: String,
}

/// Ends the session.
pub async fn sign_out(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    known: Known,
    Form(token): Form<Token>,
) -> Response {
    if !is_own_form(&headers, &known.person, &token.csrf) {
        return Problem::StaleForm.page(&app, &known.visit);
    }
    if let Some(session) = cookie(&headers, SESSION) {
        app.sessions.end(session);
    }
    let gone = format!("{SESSION}=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0");
    with_cookies(Redirect::to("/sign-in").into_response(), &[gone])
}

/// How pages should look.
#[derive(Deserialize)]
pub struct Preferences {
    #[serde(default)]
    next: String,
    lang: Option<String>,
    theme: Option<String>,
    keys: Option<String>,
}

/// Has the browser keep it.
pub async fn preferences(headers: HeaderMap, Form(wanted): Form<Preferences>) -> Response {
    if !is_from_here(&headers) {
        return StatusCode::FORBIDDEN.into_response();
    }
    let one_of = |text: Option<String>, words: &[&'static str]| {
        let text = text?;
        words.iter().find(|word| **word == text).copied()
    };
    let kept = [
        ("vigie_lang", one_of(wanted.lang, &["en", "fr"])),
        ("vigie_theme", one_of(wanted.theme, &["auto", "dark", "light"])),
        ("vigie_keys", one_of(wanted.keys, &["on", "off"])),
    ];
    let kept = kept.into_iter().filter_map(|(name, value)| Some((name, value?)));
    let kept = kept
        .map(|(name, value)| format!("{name}={value}; Path=/; HttpOnly; SameSite=Lax; Max-Age={PREFERENCES_AGE_S}"));
    with_cookies(Redirect::to(own_path(&wanted.next)).into_response(), &kept.collect::<Vec<_>>())
}

fn with_cookies(mut answer: Response, cookies: &[String]) -> Response {
    for cookie in cookies {
        if let Ok(value) = HeaderValue::from_str(cookie) {
            answer.headers_mut().append(SET_COOKIE, value);
        }
    }
    answer
}
