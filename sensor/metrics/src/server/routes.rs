//! The response of each path.

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{self, HeaderValue};
use hyper::{HeaderMap, Method, Request, Response, StatusCode};
use prometheus::Registry;
use serde_json::json;

use crate::exposition::Format;
use crate::monitored::{Identity, Monitored, Stalled};

/// A complete response.
pub(super) type Answer = Response<Full<Bytes>>;

/// The path as it is counted: one that exists, or `other`.
pub(super) fn known_path(path: &str) -> &'static str {
    ["/", "/metrics", "/healthz", "/readyz"].into_iter().find(|known| *known == path).unwrap_or("other")
}

/// Answers a request whose sender was authenticated.
pub(super) fn answer<B>(request: &Request<B>, program: &dyn Monitored, registry: &Registry) -> Answer {
    let path = known_path(request.uri().path());
    if path == "other" {
        return text(StatusCode::NOT_FOUND, "not found; try /metrics, /healthz or /readyz\n");
    }
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let mut answer = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are answered\n");
        answer.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        return answer;
    }
    match path {
        "/metrics" => metrics(request.headers(), registry),
        "/healthz" => health(wants_json(request), program),
        "/readyz" => readiness(wants_json(request), program),
        _ => start_page(program),
    }
}

fn metrics(headers: &HeaderMap, registry: &Registry) -> Answer {
    let accept = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let format = Format::negotiate(&accept.collect::<Vec<_>>().join(","));
    match format.encode(&registry.gather()) {
        Ok(body) => {
            let mut answer = whole(StatusCode::OK, format.content_type(), body);
            answer.headers_mut().insert(header::VARY, HeaderValue::from_static("Accept"));
            answer
        }
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, &format!("the metrics cannot be written: {error}\n")),
    }
}

/// Whether the workers of the process move.
fn health(as_json: bool, program: &dyn Monitored) -> Answer {
    let stalled = program.stalled();
    let status = if stalled.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    if as_json {
        let stalled = stalled.iter().map(|one| json!({"worker": one.worker, "seconds": one.age.as_secs()}));
        let stalled: Vec<_> = stalled.collect();
        return whole_json(status, &json!({"healthy": stalled.is_empty(), "stalled": stalled}));
    }
    let mut body = String::from(if stalled.is_empty() { "healthy\n" } else { "not healthy\n" });
    for Stalled { worker, age } in stalled {
        body.push_str(&format!("worker_stalled: worker {worker} has not moved for {} s\n", age.as_secs()));
    }
    text(status, &body)
}

/// Whether the program can do its work, and if not, why.
fn readiness(as_json: bool, program: &dyn Monitored) -> Answer {
    let reasons = program.not_ready();
    let status = if reasons.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    if as_json {
        let list = reasons.iter().map(|reason| json!({"reason": reason.code, "detail": reason.detail}));
        let list: Vec<_> = list.collect();
        return whole_json(status, &json!({"ready": list.is_empty(), "reasons": list}));
    }
    let mut body = String::from(if reasons.is_empty() { "ready\n" } else { "not ready\n" });
    for reason in reasons {
        body.push_str(&format!("{}: {}\n", reason.code, reason.detail));
    }
    text(status, &body)
}

fn start_page(program: &dyn Monitored) -> Answer {
    let Identity { program, role, name, version, readiness } = program.identity();
    let name = name.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let body = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\"><title>{program} {name}</title></head>\n<body>\n\
         <h1>{program}</h1>\n<p>{role} {name}, version {version}.</p>\n<ul>\n\
         <li><a href=\"metrics\">/metrics</a>: for Prometheus, as text or OpenMetrics</li>\n\
         <li><a href=\"healthz\">/healthz</a>: whether the process works</li>\n\
         <li><a href=\"readyz\">/readyz</a>: {readiness}</li>\n\
         </ul>\n</body>\n</html>\n"
    );
    whole(StatusCode::OK, "text/html; charset=utf-8", body.into_bytes())
}

/// By `Accept: application/json`, or by `?format=json` for clients that cannot set the header.
fn wants_json<B>(request: &Request<B>) -> bool {
    let accept = request.headers().get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let first = accept.split([',', ';']).next().unwrap_or_default().trim();
    first.eq_ignore_ascii_case("application/json") || request.uri().query() == Some("format=json")
}

fn whole_json(status: StatusCode, value: &serde_json::Value) -> Answer {
    whole(status, "application/json", format!("{value}\n").into_bytes())
}

/// A short response in plain text.
pub(super) fn text(status: StatusCode, body: &str) -> Answer {
    whole(status, "text/plain; charset=utf-8", body.as_bytes().to_vec())
}

fn whole(status: StatusCode, content_type: &'static str, body: Vec<u8>) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(body)));
    *answer.status_mut() = status;
    for (name, value) in [
        (header::CONTENT_TYPE, content_type),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
    ] {
        answer.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    answer
}
