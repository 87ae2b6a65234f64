//! The HTTP server: connections, their limits, and the headers that every answer has. The routes are in [`routes`].

mod answers;
mod assets;
mod connections;
mod decide;
mod forms;
mod routes;
mod tls;
pub mod visit;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::header::{self, HeaderName, HeaderValue};
use axum::http::{HeaderMap, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::time::{sleep, timeout};

use self::connections::{Connections, Place};
use self::visit::Peer;
use crate::access::{Access, FormKey, Sessions, SignIn};
use crate::clock::Clock;
use crate::database::Database;
use crate::own_journal::OwnJournal;
use crate::pivot::Template;
use crate::projection::Projection;

pub use self::answers::{Problem, ask, html};

/// Pause after a connection could not be accepted, as when no file descriptors are left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// What browsers may load and do: this host's files, and no script or style within a page.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; \
    form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// What all requests share.
pub struct App {
    pub database: Database,
    pub projection: Projection,
    pub own: OwnJournal,
    pub access: Access,
    pub sessions: Sessions,
    pub sign_in: SignIn,
    pub form_key: FormKey,
    pub clock: Clock,
    /// Names under which the console is asked for; others are refused. Empty: all.
    pub hosts: Vec<String>,
    /// Whether browsers may send the session over TLS only.
    pub is_behind_tls: bool,
    pub journal: std::path::PathBuf,
    /// The register of derogations, where it may be read.
    pub register: Option<std::path::PathBuf>,
    /// The folder of a forwarder's cursors, where it may be read.
    pub forwarder_folder: Option<std::path::PathBuf>,
    /// The folder of the sensor's candidates, where it may be read.
    pub candidates_folder: Option<std::path::PathBuf>,
    /// Links into other tools, and the time that they include before and after.
    pub links: Vec<Template>,
    pub links_margin_us: i64,
}

/// Limits for clients.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at once; for a further one, one that waits for a request is closed.
    pub connections_max: usize,
    /// Time for a request to arrive.
    pub header_timeout: Duration,
    /// Time for a body to arrive and be answered.
    pub request_timeout: Duration,
    /// Age at which a connection is closed.
    pub connection_age_max: Duration,
}

/// Bytes of a request's line and headers.
const HEADER_BYTES_MAX: usize = 16_384;
/// Headers of a request.
const HEADERS_MAX: usize = 64;
/// Bytes of a form.
pub const FORM_BYTES_MAX: usize = 16_384;

/// Where requests come in.
pub enum Listener {
    Tcp(std::net::TcpListener),
    Unix(std::os::unix::net::UnixListener),
}

impl Listener {
    /// Binds an address.
    ///
    /// # Errors
    /// The address cannot be bound.
    pub fn tcp(address: SocketAddr) -> io::Result<Self> {
        let listener = std::net::TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        Ok(Self::Tcp(listener))
    }

    /// Answers requests until the program ends.
    ///
    /// # Errors
    /// The socket cannot be used.
    pub async fn serve(self, app: Arc<App>, limits: Limits) -> io::Result<()> {
        let router = routes::router(Arc::clone(&app));
        let connections = Connections::new(limits.connections_max);
        match self {
            Self::Tcp(listener) => {
                let listener = TcpListener::from_std(listener)?;
                loop {
                    match listener.accept().await {
                        Ok((stream, _)) => {
                            // Failing costs time only.
                            let _ = stream.set_nodelay(true);
                            match app.access.tls() {
                                None => begin(plainly(stream, Peer::default()), &app, &router, &connections, limits),
                                Some(tls) => {
                                    let opened = tls::accept(stream, tls, limits.header_timeout);
                                    begin(opened, &app, &router, &connections, limits);
                                }
                            }
                        }
                        Err(_) => sleep(ACCEPT_PAUSE).await,
                    }
                }
            }
            Self::Unix(listener) => {
                let listener = UnixListener::from_std(listener)?;
                loop {
                    match listener.accept().await {
                        Ok((stream, _)) => {
                            let uid = stream.peer_cred().ok().map(|credentials| credentials.uid());
                            let peer = Peer { is_local: true, uid, ..Peer::default() };
                            begin(plainly(stream, peer), &app, &router, &connections, limits);
                        }
                        Err(_) => sleep(ACCEPT_PAUSE).await,
                    }
                }
            }
        }
    }
}

/// A connection that is open already.
async fn plainly<S>(stream: S, peer: Peer) -> Option<(S, Peer)> {
    Some((stream, peer))
}

fn begin<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    opened: impl Future<Output = Option<(S, Peer)>> + Send + 'static,
    app: &Arc<App>,
    router: &Router,
    connections: &Connections,
    limits: Limits,
) {
    let Some(place) = connections.admit() else { return };
    let number = place.number();
    let (app, router) = (Arc::clone(app), router.clone());
    let task = tokio::spawn(async move {
        let whole = async {
            if let Some((stream, peer)) = opened.await {
                serve(stream, peer, app, router, place, limits).await;
            }
        };
        let _ = timeout(limits.connection_age_max, whole).await;
    });
    connections.served_by(number, task.abort_handle());
}

async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: Peer,
    app: Arc<App>,
    router: Router,
    place: Place,
    limits: Limits,
) {
    let service = TowerToHyperService::new(router);
    let answer = service_fn(|mut request: Request<Incoming>| {
        let (service, app, place, peer) = (service.clone(), Arc::clone(&app), &place, peer.clone());
        async move {
            place.answers(true);
            let mut answer = if is_named_rightly(request.headers(), &app.hosts) {
                request.extensions_mut().insert(peer);
                match timeout(limits.request_timeout, service.call(request)).await {
                    Ok(Ok(answer)) => answer,
                    Err(_) => plain(StatusCode::REQUEST_TIMEOUT, "the request took too long\n"),
                }
            } else {
                plain(StatusCode::MISDIRECTED_REQUEST, "the console is not asked for by this name; see server.hosts\n")
            };
            add_headers(answer.headers_mut());
            place.answers(false);
            Ok::<_, Infallible>(answer)
        }
    });
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEADER_BYTES_MAX);
    // What goes wrong here goes wrong for this client only.
    let _ = builder.serve_connection(TokioIo::new(stream), answer).await;
}

fn plain(status: StatusCode, text: &'static str) -> Response<Body> {
    let mut answer = Response::new(Body::from(text));
    *answer.status_mut() = status;
    answer
}

/// Whether the request asks for this console: a page from elsewhere whose name was made to point here asks for another.
fn is_named_rightly(headers: &HeaderMap, hosts: &[String]) -> bool {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
    let name = host.rsplit_once(':').filter(|(_, port)| is_port(port)).map_or(host, |(name, _)| name);
    hosts.is_empty() || hosts.iter().any(|known| known.eq_ignore_ascii_case(name))
}

fn add_headers(headers: &mut HeaderMap) {
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (HeaderName::from_static("permissions-policy"), "camera=(), geolocation=(), microphone=()"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_its_own_names_are_answered() {
        let named = |host: &str, hosts: &[&str]| {
            let hosts: Vec<String> = hosts.iter().map(|&host| host.to_owned()).collect();
            is_named_rightly(&[(header::HOST, host.parse().unwrap())].into_iter().collect(), &hosts)
        };
        let own = &["localhost", "127.0.0.1", "[::1]"];
        for right in ["localhost", "LOCALHOST:8080", "127.0.0.1:19844", "[::1]:80", "[::1]"] {
            assert!(named(right, own), "{right}");
        }
        for wrong in ["", "evil.example", "evil.example:80", "localhost.evil.example", "[::2]:80"] {
            assert!(!named(wrong, own), "{wrong}");
        }
        assert!(named("anything", &[]));
    }
}
