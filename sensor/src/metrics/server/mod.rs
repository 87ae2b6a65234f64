//! The HTTP endpoint: `/metrics`, `/healthz`, `/readyz` and a page that leads to them, on a thread of its own.
//! [`Server::bind`] does all that needs rights: it binds, reads the web configuration with its keys, and makes what the
//! event loop needs; [`Server::serve`] only starts threads, and works in a process that has shut itself in.
//!
//! HTTP/1.1 only: what scrapes speaks it, and it is the smaller thing to expose.

mod auth;
mod connection;
mod routes;
mod tls;
mod web;
pub mod web_config;

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use prometheus::Registry;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Semaphore, oneshot};
use tokio::time::{MissedTickBehavior, interval, sleep};

use self::auth::{Gate, Work};
use self::web::Web;
use self::web_config::WebConfigError;
use super::collector::SensorCollector;
use super::health::{Judge, Thresholds};
use super::shared::Shared;

/// Where the endpoint listens unless told otherwise: only this machine reaches it.
pub const ADDRESS_DEFAULT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 19_843);
/// How often readiness is judged.
const JUDGE_INTERVAL: Duration = Duration::from_secs(1);
/// Rest after a connection could not be accepted, as when there are no file descriptors left.
const ACCEPT_REST: Duration = Duration::from_millis(100);

/// Tells somebody one line: a log.
pub type Notice = Arc<dyn Fn(&str) + Send + Sync>;

/// What clients may take up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerLimits {
    /// Connections at once; one more is closed at once.
    pub connections_max: usize,
    /// Bytes of a request's line and headers.
    pub header_bytes_max: usize,
    /// Headers of a request.
    pub headers_max: usize,
    /// Time for a TLS handshake, and for a request to arrive; a connection without one for so long is closed.
    pub header_timeout: Duration,
    /// Time for which a client may take nothing of an answer.
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

/// How the endpoint is to be.
#[derive(Clone)]
pub struct ServerOptions {
    /// The file with TLS and passwords; see [`web_config`].
    pub web_config: Option<PathBuf>,
    /// What clients may take up.
    pub limits: ServerLimits,
    /// From when on the sensor counts as blind.
    pub thresholds: Thresholds,
    /// Where notices go.
    pub notice: Notice,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            web_config: None,
            limits: ServerLimits::default(),
            thresholds: Thresholds::default(),
            notice: Arc::new(|_| {}),
        }
    }
}

/// Why there is no endpoint.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The address cannot be had.
    #[error("cannot listen on {address}: {source}; give another address, or stop what listens there")]
    Bind {
        /// Which.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The web configuration is wrong.
    #[error(transparent)]
    WebConfig(#[from] WebConfigError),
    /// The system refused something else.
    #[error("the metrics endpoint cannot start: {0}")]
    System(#[from] io::Error),
    /// A defect in the table of families.
    #[error("the metrics cannot be registered: {0}")]
    Registry(#[from] prometheus::Error),
}

/// What all connections share.
struct Endpoint {
    shared: Arc<Shared>,
    registry: Registry,
    web: Web,
    gate: Arc<Gate>,
    limits: ServerLimits,
    thresholds: Thresholds,
}

/// An endpoint that listens but does not answer yet.
pub struct Server {
    runtime: Runtime,
    listener: TcpListener,
    address: SocketAddr,
    endpoint: Arc<Endpoint>,
    passwords: Work,
}

impl Server {
    /// Binds the address and reads the web configuration.
    ///
    /// # Errors
    /// One line for people: what is wrong, where, and what mends it.
    pub fn bind(address: SocketAddr, options: ServerOptions, shared: Arc<Shared>) -> Result<Self, ServerError> {
        let notice = Arc::clone(&options.notice);
        let web = Web::open(options.web_config.as_deref(), Arc::clone(&shared), options.notice)?;
        let (gate, passwords) = Gate::new()?;
        let runtime = Builder::new_current_thread().enable_io().enable_time().build()?;
        let cannot = |source| ServerError::Bind { address, source };
        let listener = runtime.block_on(TcpListener::bind(address)).map_err(cannot)?;
        let address = listener.local_addr()?;
        let in_use = web.current();
        if !address.ip().is_loopback() && (in_use.tls.is_none() || in_use.users.is_empty()) {
            let lacks = if in_use.tls.is_none() { "without TLS" } else { "without passwords" };
            notice(&format!("metrics are served on {address} {lacks}: whoever reaches that address may read them"));
        }
        let endpoint = Endpoint {
            registry: SensorCollector::registry(Arc::clone(&shared))?,
            shared,
            web,
            gate,
            limits: options.limits,
            thresholds: options.thresholds,
        };
        Ok(Self { runtime, listener, address, endpoint: Arc::new(endpoint), passwords })
    }

    /// The address with the port that the system chose, if it was to.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Folders that must stay readable, so that certificates and passwords can change while the sensor runs.
    pub fn readable_folders(&self) -> Vec<PathBuf> {
        self.endpoint.web.folders()
    }

    /// Reads a web configuration and the files that it names, without using them.
    ///
    /// # Errors
    /// What is wrong, with file, line, key and mend.
    pub fn check(web_config: &Path) -> Result<(), WebConfigError> {
        let config = web_config::WebConfig::read(web_config)?;
        config.tls.as_ref().map_or(Ok(()), |tls| tls::server_config(web_config, tls).map(drop))
    }

    /// Starts to answer.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub fn serve(self) -> io::Result<Serving> {
        self.passwords.start()?;
        let (stop, stopped) = oneshot::channel();
        let (runtime, listener, endpoint) = (self.runtime, self.listener, self.endpoint);
        let thread = thread::Builder::new().name("vigie-metrics".to_owned()).spawn(move || {
            runtime.spawn(accept(listener, Arc::clone(&endpoint)));
            runtime.spawn(judge(endpoint));
            // An error says that nobody is left who could stop it: that is the end too.
            let _ = runtime.block_on(stopped);
        })?;
        Ok(Serving { address: self.address, stop, thread })
    }
}

/// A running endpoint; it ends with [`Serving::stop`], or when this is dropped.
pub struct Serving {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    thread: thread::JoinHandle<()>,
}

impl Serving {
    /// Where it answers.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether its thread still runs.
    pub fn is_running(&self) -> bool {
        !self.thread.is_finished()
    }

    /// Closes all connections and ends the thread.
    pub fn stop(self) {
        let _ = self.stop.send(());
        // A panic of the thread was told when it happened.
        let _ = self.thread.join();
    }
}

async fn accept(listener: TcpListener, endpoint: Arc<Endpoint>) {
    let room = Arc::new(Semaphore::new(endpoint.limits.connections_max));
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            endpoint.shared.refused("accept");
            sleep(ACCEPT_REST).await;
            continue;
        };
        let Ok(place) = Arc::clone(&room).try_acquire_owned() else {
            endpoint.shared.refused("too_many");
            continue;
        };
        let endpoint = Arc::clone(&endpoint);
        tokio::spawn(async move {
            connection::serve(stream, endpoint).await;
            drop(place);
        });
    }
}

async fn judge(endpoint: Arc<Endpoint>) {
    let mut judge = Judge::new(endpoint.thresholds);
    let mut ticks = interval(JUDGE_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        judge.observe(&endpoint.shared);
    }
}

#[cfg(test)]
mod tests;
