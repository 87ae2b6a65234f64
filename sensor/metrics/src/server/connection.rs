//! One connection: TLS if configured, then requests, each within its time limit.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;

use hyper::header::{self, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::Endpoint;
use super::auth::Access;
use super::connections::Place;
use super::routes::{self, Answer};
use super::write_timeout::WriteTimeout;

/// Serves a connection until it ends or its time is over.
pub(super) async fn serve(stream: TcpStream, place: Place, endpoint: Arc<Endpoint>) {
    let limits = endpoint.limits;
    // Small responses should not wait for the acknowledgement of the previous one. A failure here only costs time.
    let _ = stream.set_nodelay(true);
    let stream = WriteTimeout::new(stream, limits.write_timeout);
    let whole = async {
        match endpoint.web_config.current().tls {
            None => requests(stream, &place, &endpoint).await,
            Some(config) => {
                let handshake = tokio_rustls::TlsAcceptor::from(config).accept(stream);
                match timeout(limits.header_timeout, handshake).await {
                    Ok(Ok(stream)) => requests(stream, &place, &endpoint).await,
                    Ok(Err(_)) => endpoint.counts.refused("tls"),
                    Err(_) => endpoint.counts.refused("timeout"),
                }
            }
        }
    };
    if timeout(limits.connection_age_max, whole).await.is_err() {
        endpoint.counts.refused("age");
    }
}

async fn requests(stream: impl AsyncRead + AsyncWrite + Unpin, place: &Place, endpoint: &Arc<Endpoint>) {
    let limits = endpoint.limits;
    let service = service_fn(|request| {
        let endpoint = Arc::clone(endpoint);
        async move {
            place.answers(true);
            let answer = respond(&request, place.peer(), &endpoint).await;
            place.answers(false);
            Ok::<_, Infallible>(answer)
        }
    });
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_headers(limits.headers_max)
        .max_header_size(limits.header_bytes_max);
    if let Err(error) = builder.serve_connection(TokioIo::new(stream), service).await {
        let reason = match () {
            () if error.is_timeout() => "timeout",
            () if error.is_parse() || error.is_parse_too_large() => "malformed",
            () => "broken",
        };
        endpoint.counts.refused(reason);
    }
}

async fn respond<B>(request: &Request<B>, peer: IpAddr, endpoint: &Endpoint) -> Answer {
    let header = request.headers().get(header::AUTHORIZATION).map(HeaderValue::as_bytes);
    let users = endpoint.web_config.current().users;
    let answer = match endpoint.authenticator.check(&users, header, peer).await {
        Access::Granted => routes::answer(request, endpoint.program.as_ref(), &endpoint.registry),
        Access::Denied => {
            let mut answer = routes::text(StatusCode::UNAUTHORIZED, "user name and password are required\n");
            let challenge = HeaderValue::from_static("Basic realm=\"vigie\", charset=\"UTF-8\"");
            answer.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
            answer
        }
        Access::Busy => routes::text(StatusCode::SERVICE_UNAVAILABLE, "too many passwords at once; try again\n"),
    };
    endpoint.counts.request(routes::known_path(request.uri().path()), answer.status().as_u16());
    answer
}
