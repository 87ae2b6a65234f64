//! The HTTP endpoint: `/metrics`, `/healthz`, `/readyz` and a start page with links to them, on a thread of its own.
//! [`Server::bind`] does everything that needs privileges: it binds, reads the web configuration with its keys, and makes
//! what the event loop needs. [`Server::serve`] only starts threads, and works after privileges were given up.
//!
//! It speaks HTTP/1.1 only: every scraper does, and HTTP/2 would be more code to expose.

mod auth;
mod connection;
mod connections;
mod counts;
pub mod live_config;
mod routes;
mod tls;
pub mod web_config;
mod write_timeout;

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use prometheus::Registry;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;
use tokio::task::AbortHandle;
use tokio::time::{MissedTickBehavior, interval, sleep};

pub use self::counts::{EndpointCounts, FAMILIES, HTTP_REFUSED, HTTP_REQUESTS, WEB_CONFIG_RELOADS};

use self::auth::{Authenticator, PasswordChecks};
use self::connections::{Connections, Room};
use self::live_config::LiveConfig;
use self::web_config::WebConfigError;
use crate::monitored::{Monitored, registry};

/// How often the program samples its readiness.
const SAMPLE_INTERVAL: Duration = Duration::from_secs(1);
/// Pause after a connection could not be accepted, as when no file descriptors are left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Takes one line for the program's log.
pub type Log = Arc<dyn Fn(&str) + Send + Sync>;

/// Limits for clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerLimits {
    /// Connections at once; for a further one, one that waits for a request is closed.
    pub connections_max: usize,
    /// Bytes of a request's line and headers.
    pub header_bytes_max: usize,
    /// Headers of a request.
    pub headers_max: usize,
    /// Time for a TLS handshake, and for a request to arrive; a connection without a request for this long is closed.
    pub header_timeout: Duration,
    /// Time for which a client may read nothing of a response.
    pub write_timeout: Duration,
    /// Age at which a connection is closed.
    pub connection_age_max: Duration,
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self {
            connections_max: 64,
            header_bytes_max: 16_384,
            headers_max: 64,
            header_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_secs(10),
            connection_age_max: Duration::from_secs(300),
        }
    }
}

/// Options of the endpoint.
#[derive(Clone)]
pub struct ServerOptions {
    /// The file with TLS and passwords; see [`web_config`].
    pub web_config: Option<PathBuf>,
    /// Limits for clients.
    pub limits: ServerLimits,
    /// Where notices go.
    pub log: Log,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self { web_config: None, limits: ServerLimits::default(), log: Arc::new(|_| {}) }
    }
}

/// Why the endpoint cannot start.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The address cannot be bound.
    #[error("cannot listen on {address}: {source}; give another address, or stop what listens there")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// The system's error.
        source: io::Error,
    },
    /// The web configuration is wrong.
    #[error(transparent)]
    WebConfig(#[from] WebConfigError),
    /// The system refused something else, such as a thread.
    #[error("the metrics endpoint cannot start: {0}")]
    System(#[from] io::Error),
    /// The table of families has a defect.
    #[error("the metrics cannot be registered: {0}")]
    Registry(#[from] prometheus::Error),
}

/// What all connections share.
struct Endpoint {
    program: Arc<dyn Monitored>,
    counts: Arc<EndpointCounts>,
    registry: Registry,
    web_config: LiveConfig,
    authenticator: Arc<Authenticator>,
    limits: ServerLimits,
}

/// An endpoint that listens but does not answer yet.
pub struct Server {
    runtime: Runtime,
    listener: TcpListener,
    address: SocketAddr,
    endpoint: Arc<Endpoint>,
    password_checks: PasswordChecks,
}

impl Server {
    /// Binds the address and reads the web configuration.
    ///
    /// # Errors
    /// One line for people: what is wrong, where, and what mends it.
    pub fn bind(address: SocketAddr, options: ServerOptions, program: Arc<dyn Monitored>) -> Result<Self, ServerError> {
        let (log, counts) = (Arc::clone(&options.log), Arc::<EndpointCounts>::default());
        let web_config = LiveConfig::open(options.web_config.as_deref(), Arc::clone(&counts), options.log)?;
        let (authenticator, password_checks) = Authenticator::new()?;
        let runtime = Builder::new_current_thread().enable_io().enable_time().build()?;
        let cannot = |source| ServerError::Bind { address, source };
        let listener = runtime.block_on(TcpListener::bind(address)).map_err(cannot)?;
        let address = listener.local_addr()?;
        let active = web_config.current();
        if !address.ip().is_loopback() && (active.tls.is_none() || active.users.is_empty()) {
            let lacking = if active.tls.is_none() { "without TLS" } else { "without passwords" };
            log(&format!("metrics are served on {address} {lacking}: everyone who reaches that address can read them"));
        }
        let endpoint = Endpoint {
            registry: registry(Arc::clone(&program), Arc::clone(&counts))?,
            program,
            counts,
            web_config,
            authenticator,
            limits: options.limits,
        };
        Ok(Self { runtime, listener, address, endpoint: Arc::new(endpoint), password_checks })
    }

    /// The address; its port is the one that the system chose if port 0 was given.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Folders that must stay readable, so that certificates and passwords can change while the program runs.
    pub fn readable_folders(&self) -> Vec<PathBuf> {
        self.endpoint.web_config.folders()
    }

    /// Checks a web configuration and the files that it names.
    ///
    /// # Errors
    /// What is wrong, with file, line, key and mend.
    pub fn check(web_config: &Path) -> Result<(), WebConfigError> {
        let config = web_config::WebConfig::read(web_config)?;
        config.tls.as_ref().map_or(Ok(()), |tls| tls::server_config(web_config, tls).map(drop))
    }

    /// Starts to answer requests.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub fn serve(self) -> io::Result<Serving> {
        self.password_checks.start()?;
        let (stop, stopped) = oneshot::channel();
        let (runtime, listener, endpoint) = (self.runtime, self.listener, self.endpoint);
        let accept = runtime.spawn(accept(listener, Arc::clone(&endpoint))).abort_handle();
        let sample = runtime.spawn(sample(endpoint)).abort_handle();
        let thread = thread::Builder::new().name("vigie-metrics".to_owned()).spawn(move || {
            // An error means that the handle was dropped, which ends the endpoint too.
            let _ = runtime.block_on(stopped);
        })?;
        Ok(Serving { address: self.address, stop, thread, tasks: [accept, sample] })
    }
}

/// A running endpoint; it ends at [`Serving::stop`], or when this handle is dropped.
pub struct Serving {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    thread: thread::JoinHandle<()>,
    /// What accepts connections, and what samples the program.
    tasks: [AbortHandle; 2],
}

impl Serving {
    /// The address that it answers on.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether its thread still runs, and no task of it has panicked.
    pub fn is_running(&self) -> bool {
        !self.thread.is_finished() && !self.tasks.iter().any(AbortHandle::is_finished)
    }

    /// Closes all connections and ends the thread.
    pub fn stop(self) {
        let _ = self.stop.send(());
        // A panic of the thread was reported when it happened.
        let _ = self.thread.join();
    }
}

async fn accept(listener: TcpListener, endpoint: Arc<Endpoint>) {
    let connections = Connections::new(endpoint.limits.connections_max);
    for number in 0.. {
        let Ok((stream, peer)) = listener.accept().await else {
            endpoint.counts.refused("accept");
            sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let place = match connections.admit(number, peer.ip()) {
            Room::Free(place) => place,
            Room::Made(place) => {
                endpoint.counts.refused("too_many");
                place
            }
            Room::None => {
                endpoint.counts.refused("too_many");
                continue;
            }
        };
        let task = tokio::spawn(connection::serve(stream, place, Arc::clone(&endpoint)));
        connections.served_by(number, task.abort_handle());
    }
}

async fn sample(endpoint: Arc<Endpoint>) {
    let mut ticks = interval(SAMPLE_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        endpoint.program.sample();
    }
}

#[cfg(test)]
mod tests;
