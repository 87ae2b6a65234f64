//! The running sensor: opens what needs rights, gives the rights up, lets workers, writer and endpoint run, watches over
//! them, and takes signals. Order at the start matters: sockets, then [`vigie_privilege::confine`], then files, then threads.
//!
//! * SIGHUP: configuration and signatures are read again, the events file is opened again under its name. What is wrong
//!   changes nothing, and is told.
//! * SIGTERM, SIGINT: what lies in the rings is still looked at, all flows end, the last events are written. The same
//!   signal once more ends at once.
//!
//! `start.rs` prepares workers and threads, `watch.rs` looks after them. Each worker has its own thread, a [`lane`]; events go
//! through an [`outbox`] to the [`writer`].

pub mod lane;
pub mod log;
mod notify;
pub mod outbox;
pub mod snapshot;
mod start;
mod watch;
pub mod writer;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use vigie_signatures::Bundle;

use self::lane::Tap;
use self::log::Log;
use self::notify::ServiceManager;
use self::start::confinement;
use crate::config::{Layers, Loaded, Settings};
use crate::metrics::{Server, ServerError};
use vigie_capture::CaptureError;
use vigie_capture::live::{self, Live};
use vigie_privilege::PrivilegeError;

pub use self::start::Prepared;
pub use self::watch::Running;

/// Reads the signatures that settings name; an error is one line.
pub type LoadSignatures<'l> = &'l dyn Fn(&Settings) -> Result<Arc<Bundle>, String>;

/// Why the sensor does not run, or no longer.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Signatures cannot be used.
    #[error("{0}")]
    Signatures(String),
    /// An interface cannot be listened to.
    #[error(transparent)]
    Capture(#[from] CaptureError),
    /// There is no endpoint for Prometheus.
    #[error(transparent)]
    Metrics(#[from] ServerError),
    /// Privileges cannot be given up.
    #[error(transparent)]
    Privilege(#[from] PrivilegeError),
    /// Events cannot be written.
    #[error("cannot write to {}: {source}; check its folder and permissions", path.display())]
    Events {
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A thread, a signal or a random number could not be had.
    #[error("cannot {doing}: {reason}")]
    System {
        /// What was to be done.
        doing: &'static str,
        /// What the system said.
        reason: String,
    },
    /// A part of the sensor broke down.
    #[error("{0}")]
    Broken(String),
}

/// Runs a sensor with these settings until it is told to stop. `layers` are read again on reload.
///
/// # Errors
/// It cannot be started, or a part of it broke down.
pub fn run(layers: &Layers, loaded: Loaded, load_signatures: LoadSignatures<'_>) -> Result<(), RunError> {
    let settings = loaded.settings;
    let log = Arc::new(Log::new(settings.log.clone()));
    let signals = Signals::register()?;
    let service_manager = ServiceManager::connect();
    let bundle = load_signatures(&settings).map_err(RunError::Signatures)?;
    let options = settings.capture.live_options();
    let prepared = Prepared::new(&settings, &bundle, live::sources(&options, settings.capture.workers), &log)?;
    // From now on packets wait to be looked at: what takes time was done before.
    let taps = live::open(&options, settings.capture.workers)?;
    let sockets = taps.iter().flat_map(Live::descriptors).collect();
    let taps = taps.into_iter().map(|live| Box::new(live) as Box<dyn Tap>).collect();
    let server = prepared.bind(&settings, &log)?;
    let confinement = confinement(&settings, loaded.file.as_deref(), server.as_ref(), sockets);
    for line in vigie_privilege::confine(&confinement)?.to_string().lines() {
        log.info(line);
    }
    let serving = server.map(Server::serve).transpose().map_err(|error| system("start the endpoint", &error))?;
    let mut running = prepared.start(taps, &settings, bundle, &log)?;
    running.serving = serving;
    service_manager.ready(&running.status());
    log.info(&format!("running: {}", running.status()));
    let outcome = running.watch(settings, layers, load_signatures, &signals, &service_manager);
    service_manager.stopping();
    running.stop().and(outcome)
}

fn system(doing: &'static str, reason: &dyn std::fmt::Display) -> RunError {
    RunError::System { doing, reason: reason.to_string() }
}

/// Signals as flags.
struct Signals {
    stop: Arc<AtomicBool>,
    reload: Arc<AtomicBool>,
}

impl Signals {
    fn register() -> Result<Self, RunError> {
        let (stop, reload) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let failed = |error: std::io::Error| system("take signals", &error);
        for signal in [SIGTERM, SIGINT] {
            // The second one ends at once: this is asked before the flag is raised by the first.
            signal_hook::flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&stop))
                .map_err(failed)?;
            signal_hook::flag::register(signal, Arc::clone(&stop)).map_err(failed)?;
        }
        signal_hook::flag::register(SIGHUP, Arc::clone(&reload)).map_err(failed)?;
        Ok(Self { stop, reload })
    }
}
