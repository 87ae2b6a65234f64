//! What every page needs to know of a request: who asks, in which language, and how pages should look.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::header::{ACCEPT_LANGUAGE, COOKIE, HOST, ORIGIN};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};

use super::App;
use crate::access::{Access, Person, is_same};
use crate::pages::encode;
use crate::words::{Language, Words};

/// The cookie of a session.
pub const SESSION: &str = "vigie_session";
/// Where a request comes from.
#[derive(Clone, Debug, Default)]
pub struct Peer {
    /// Whether it came over the Unix socket.
    pub is_local: bool,
    /// The user that the process on the other end of the Unix socket runs as.
    pub uid: Option<u32>,
    /// The names of the client's certificate, which an authority of the web configuration signed.
    pub certificate_names: Vec<String>,
}

/// A request of anybody.
#[derive(Clone, Debug)]
pub struct Visit {
    pub language: Language,
    pub theme: &'static str,
    pub keys: bool,
    /// Path and query.
    pub here: String,
    pub person: Option<Person>,
}

impl Visit {
    /// The messages.
    pub const fn words(&self) -> &'static Words {
        self.language.words()
    }

    /// Whether devices are shown as they are.
    pub fn sees_devices(&self) -> bool {
        self.person.as_ref().is_some_and(|person| person.role.sees_devices())
    }

    fn of(parts: &Parts, app: &App) -> Self {
        let cookie = |name| cookie(&parts.headers, name);
        let accepted = || {
            let header = parts.headers.get(ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok());
            Language::accepted(header.unwrap_or_default())
        };
        Self {
            language: cookie("vigie_lang").and_then(Language::of).unwrap_or_else(accepted),
            theme: match cookie("vigie_theme") {
                Some("dark") => "dark",
                Some("light") => "light",
                _ => "auto",
            },
            keys: cookie("vigie_keys") != Some("off"),
            here: parts.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned(),
            person: person(parts, app),
        }
    }
}

fn person(parts: &Parts, app: &App) -> Option<Person> {
    let of_form_key =
        |name: &str, role| Person { name: name.to_owned(), role, csrf: app.form_key.token(name), can_sign_out: false };
    match &app.access {
        Access::Open(name) => Some(of_form_key(name, crate::access::Role::Analyst)),
        Access::Users(users) => {
            let names = parts.extensions.get::<Peer>().map_or(&[][..], |peer| peer.certificate_names.as_slice());
            match users.roles.of_certificate(names) {
                Some((name, role)) => Some(of_form_key(name, role)),
                None => app.sessions.person(cookie(&parts.headers, SESSION)?),
            }
        }
        Access::Proxy { header, uids, roles } => {
            let peer = parts.extensions.get::<Peer>()?;
            // Without user ids, the permissions of the socket have said that this is the proxy.
            let is_proxy = peer.is_local && (uids.is_empty() || peer.uid.is_some_and(|uid| uids.contains(&uid)));
            if !is_proxy {
                return None;
            }
            let mut values = parts.headers.get_all(HeaderName::from_bytes(header.as_bytes()).ok()?).iter();
            let name = values.next()?.to_str().ok()?.trim();
            // Two headers: one of them may be the client's.
            let is_alone = values.next().is_none() && !name.is_empty();
            is_alone.then(|| of_form_key(name, roles.role(name)))
        }
    }
}

/// A cookie of a request.
pub fn cookie<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let lines = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find_map(|(key, value)| (key == name).then_some(value))
}

/// Whether a form may come from where it does (RFC 6265bis, Fetch metadata). Pages send no referrer, so browsers may send
/// `Origin: null` for their forms; then the token of the form decides.
pub fn is_from_here(headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(site) = text("sec-fetch-site") {
        return matches!(site, "same-origin" | "none");
    }
    match text(ORIGIN.as_str()) {
        None | Some("null") => true,
        Some(origin) => origin.split_once("://").map(|(_, host)| host) == text(HOST.as_str()),
    }
}

/// Whether a form comes from a page of this console, with the token of the person who sends it.
pub fn is_own_form(headers: &HeaderMap, person: &Person, token: &str) -> bool {
    is_from_here(headers) && is_same(&person.csrf, token)
}

/// A path of this console, so that nobody is sent elsewhere.
pub fn own_path(text: &str) -> &str {
    let is_own = text.starts_with('/') && !text.starts_with("//") && !text.contains(['\\', '\r', '\n', '\t']);
    if is_own { text } else { "/" }
}

impl FromRequestParts<Arc<App>> for Visit {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Response> {
        Ok(Self::of(parts, app))
    }
}

/// A request of somebody who is known; others are asked to sign in.
#[derive(Clone, Debug)]
pub struct Known {
    pub visit: Visit,
    pub person: Person,
}

impl FromRequestParts<Arc<App>> for Known {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Response> {
        let visit = Visit::of(parts, app);
        match visit.person.clone() {
            Some(person) => Ok(Self { visit, person }),
            None => Err(match &app.access {
                Access::Users(users) if users.has_passwords() => {
                    let next = if parts.method == axum::http::Method::GET { visit.here.as_str() } else { "/" };
                    Redirect::to(&format!("/sign-in?next={}", encode(next))).into_response()
                }
                Access::Users(_) => {
                    let text = "your certificate names nobody in access.viewers, analysts or dpos of the console\n";
                    (StatusCode::FORBIDDEN, text).into_response()
                }
                _ => (StatusCode::FORBIDDEN, "the proxy in front named no user\n").into_response(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_sent_elsewhere() {
        for own in ["/", "/incident/k7q2m-4x9d0-f?x=1"] {
            assert_eq!(own_path(own), own);
        }
        for other in
            ["", "https://evil.example", "//evil.example", "/\\evil.example", "evil", "/a\r\nSet-Cookie: x", "\t/"]
        {
            assert_eq!(own_path(other), "/", "{other}");
        }
    }

    #[test]
    fn forms_from_elsewhere_are_known() {
        let headers = |pairs: &[(&'static str, &'static str)]| {
            pairs.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).collect()
        };
        assert!(is_from_here(&headers(&[("sec-fetch-site", "same-origin"), ("origin", "null")])));
        assert!(!is_from_here(&headers(&[("sec-fetch-site", "cross-site")])));
        assert!(!is_from_here(&headers(&[("sec-fetch-site", "same-site")])));
        assert!(is_from_here(&headers(&[("origin", "http://127.0.0.1:8080"), ("host", "127.0.0.1:8080")])));
        assert!(!is_from_here(&headers(&[("origin", "http://evil.example"), ("host", "127.0.0.1:8080")])));
        assert!(is_from_here(&HeaderMap::new()));
    }
}
