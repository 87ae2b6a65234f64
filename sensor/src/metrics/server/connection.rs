//! One connection: TLS if configured, then requests, each within its time.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::header::{self, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, timeout};

use super::Endpoint;
use super::auth::Verdict;
use super::routes::{self, Answer};

/// Serves a connection until it ends, or its time does.
pub(super) async fn serve(stream: TcpStream, endpoint: Arc<Endpoint>) {
    let limits = endpoint.limits;
    // Small answers should not wait for the acknowledgement of the one before; without it they are merely slower.
    let _ = stream.set_nodelay(true);
    let stream = Patient::new(stream, limits.write_timeout);
    let whole = async {
        match endpoint.web.current().tls {
            None => requests(stream, &endpoint).await,
            Some(config) => {
                let handshake = tokio_rustls::TlsAcceptor::from(config).accept(stream);
                match timeout(limits.header_timeout, handshake).await {
                    Ok(Ok(stream)) => requests(stream, &endpoint).await,
                    Ok(Err(_)) => endpoint.shared.refused("tls"),
                    Err(_) => endpoint.shared.refused("timeout"),
                }
            }
        }
    };
    if timeout(limits.connection_age_max, whole).await.is_err() {
        endpoint.shared.refused("age");
    }
}

async fn requests(stream: impl AsyncRead + AsyncWrite + Unpin, endpoint: &Arc<Endpoint>) {
    let limits = endpoint.limits;
    let service = service_fn(|request| {
        let endpoint = Arc::clone(endpoint);
        async move { Ok::<_, Infallible>(respond(&request, &endpoint).await) }
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
        endpoint.shared.refused(reason);
    }
}

async fn respond<B>(request: &Request<B>, endpoint: &Endpoint) -> Answer {
    let header = request.headers().get(header::AUTHORIZATION).map(HeaderValue::as_bytes);
    let users = endpoint.web.current().users;
    let answer = match endpoint.gate.admit(&users, header).await {
        Verdict::Welcome => {
            routes::answer(request, &endpoint.shared, &endpoint.registry, endpoint.thresholds.stall_max)
        }
        Verdict::Unknown => {
            let mut answer = routes::text(StatusCode::UNAUTHORIZED, "user name and password are needed\n");
            let challenge = HeaderValue::from_static("Basic realm=\"vigie\", charset=\"UTF-8\"");
            answer.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
            answer
        }
        Verdict::Busy => routes::text(StatusCode::SERVICE_UNAVAILABLE, "too many passwords at once; try again\n"),
    };
    endpoint.shared.requested(routes::known_path(request.uri().path()), answer.status().as_u16());
    answer
}

/// A stream whose writes fail when the other side takes nothing for too long.
struct Patient<S> {
    inner: S,
    write_timeout: Duration,
    deadline: Option<Pin<Box<Sleep>>>,
}

impl<S> Patient<S> {
    const fn new(inner: S, write_timeout: Duration) -> Self {
        Self { inner, write_timeout, deadline: None }
    }

    /// Passes on what a write came to; while it waits, the clock runs.
    fn limited<T>(&mut self, context: &mut Context<'_>, poll: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if poll.is_ready() {
            self.deadline = None;
            return poll;
        }
        let until = Instant::now() + self.write_timeout;
        let deadline = self.deadline.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until)));
        deadline.as_mut().poll(context).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let poll = Pin::new(&mut this.inner).poll_write(context, bytes);
        this.limited(context, poll)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let poll = Pin::new(&mut this.inner).poll_flush(context);
        this.limited(context, poll)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let poll = Pin::new(&mut this.inner).poll_shutdown(context);
        this.limited(context, poll)
    }
}
