//! The running sensor. [`run()`] opens the sockets, gives up its privileges ([`vigie_privilege::confine`]), opens the files,
//! starts the threads, and watches over them until a signal asks it to stop. The order matters: each step has fewer
//! rights than the one before.
//!
//! * SIGHUP reads configuration, signatures and policy again, and reopens the events file under its name. An error is logged, and
//!   changes nothing.
//! * SIGTERM and SIGINT stop the sensor: the packets in the rings are still processed, all flows end, the last events are
//!   written. A second signal ends the process at once.
//!
//! Threads: a [`worker_thread`] for each worker, the [`writer`] of events, the endpoint for Prometheus, and the one that
//! called [`run()`], which watches. Workers send events through their [`outbox`] to the writer, and report to the watching
//! thread. Nothing blocks a worker.
//!
//! `start.rs` prepares and starts the threads, `watch.rs` watches, reloads and stops.

mod advice;
pub(crate) mod alert_rate;
mod audit_lines;
mod candidate_files;
mod channel;
mod coverage;
mod event_lines;
mod event_output;
mod guarded;
mod hello_scope;
mod incident_log;
mod live_clock;
pub mod log;
mod names_wait;
mod notify;
pub mod outbox;
mod packet_clocks;
mod quarantine;
pub mod snapshot;
mod start;
mod state_files;
mod watch;
pub mod worker_thread;
pub mod writer;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use time::OffsetDateTime;
use vigie_signatures::Bundle;

use self::log::Log;
use self::notify::ServiceManager;
use self::snapshot::Snapshot;
use self::start::{attach_shunt, confinement};
pub use self::start::{without_auto, without_auto_to_load};
use self::worker_thread::LiveSource;
use crate::audit::Audit;
use crate::policy::LoadedPolicy;
use crate::privacy::Privacy;
use crate::settings::{Loaded, Settings};
use vigie_capture::CaptureError;
use vigie_capture::live::{self, Live};
use vigie_config::{ConfigErrors, Layers};
use vigie_journal::Journal;
use vigie_metrics::{Server, ServerError};
use vigie_privilege::PrivilegeError;

pub use self::event_output::EventOutput;
pub use self::start::Prepared;
pub use self::watch::Running;

/// Loads the signatures that the settings name. An error is one line.
pub type LoadSignatures<'l> = &'l dyn Fn(&Settings) -> Result<Arc<Bundle>, String>;

/// Why the sensor cannot start, or has stopped.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The signatures cannot be loaded.
    #[error("{0}")]
    Signatures(String),
    /// The policy is wrong: bans, scopes, assets or derogations.
    #[error(transparent)]
    Policy(#[from] ConfigErrors),
    /// An interface cannot be captured.
    #[error(transparent)]
    Capture(#[from] CaptureError),
    /// The endpoint for Prometheus cannot be opened.
    #[error(transparent)]
    Metrics(#[from] ServerError),
    /// The privileges cannot be given up.
    #[error(transparent)]
    Privilege(#[from] PrivilegeError),
    /// The events file or the journal cannot be opened.
    #[error("cannot write to {}: {source}; check its folder and permissions", path.display())]
    Events {
        /// The events file.
        path: PathBuf,
        /// The error of the system.
        source: std::io::Error,
    },
    /// The system refuses a thread, a signal handler or random numbers.
    #[error("cannot {doing}: {reason}")]
    System {
        /// What the sensor tried to do.
        doing: &'static str,
        /// The error of the system.
        reason: String,
    },
    /// A thread of the sensor failed.
    #[error("{0}")]
    Failed(String),
}

/// Runs a sensor with these settings until a signal stops it. A reload reads `layers` again.
///
/// # Errors
/// The sensor cannot be started, or a thread of it failed.
pub fn run(layers: &Layers, loaded: Loaded, load_signatures: LoadSignatures<'_>) -> Result<(), RunError> {
    let settings = loaded.settings.clone();
    let log = Arc::new(Log::new(settings.log.clone()));
    let signals = Signals::register()?;
    for exposure in settings.exposures(loaded.file.as_deref().map(std::path::Path::new)) {
        log.warning(&format!("{}: {}", exposure.path.display(), exposure.what));
    }
    let service_manager = ServiceManager::connect();
    let bundle = load_signatures(&settings).map_err(RunError::Signatures)?;
    let policy = LoadedPolicy::of(&loaded, &bundle)?;
    let now = OffsetDateTime::now_utc();
    let privacy = Privacy::of(&loaded)?;
    advice::warnings(&settings, &policy, &privacy, now).iter().for_each(|line| log.warning(line));
    log.info(&format!("policy: {}", policy.policy.summary()));
    let refused = settings.records_refused(now.date());
    let mut effective = settings.clone();
    effective.events.types.retain(|record| !refused.contains(record));
    // A driver may stop for a moment when a program is attached.
    let (capture, said) = without_auto(&settings.capture, settings.limits.shunt_flows_max);
    effective.capture = capture;
    said.into_iter().for_each(|line| log.info(&line));
    let options = effective.capture.live_options();
    let prepared = Prepared::new(&effective, &bundle, live::sources(&options, settings.capture.workers), &log)?;
    let shunt = attach_shunt(&effective, &log)?;
    // Packets queue up from here on, so everything slow is done before.
    let mut sources = live::open_with(&options, settings.capture.workers, shunt.as_ref())?;
    if let (Some(shunt), Some(first)) = (&shunt, sources.first_mut()) {
        first.count_shunted(shunt.counts());
    }
    let prepared = prepared.shunted_by(shunt);
    let sockets = sources.iter().flat_map(Live::descriptors).collect();
    let sources = sources.into_iter().map(|live| Box::new(live) as Box<dyn LiveSource>).collect();
    let server = prepared.bind(&settings, &log)?;
    let audit = open_audit(&settings, &log);
    make_journal_folder(&settings)?;
    let confinement = confinement(&loaded, server.as_ref(), sockets);
    for line in vigie_privilege::confine(&confinement)?.to_string().lines() {
        log.info(line);
    }
    let serving = server.map(Server::serve).transpose().map_err(|error| system("start the endpoint", &error))?;
    let snapshot = Snapshot { bundle, policy: Arc::new(policy.policy), privacy };
    let mut running = prepared.audited(audit).start(sources, &effective, snapshot, &log)?;
    running.serving = serving;
    running.tell_policy(&loaded);
    service_manager.ready(&running.status());
    log.info(&format!("running: {}", running.status()));
    let outcome = running.watch(settings, layers, load_signatures, &signals, &service_manager);
    service_manager.stopping();
    running.stop().and(outcome)
}

/// Makes the folder of the journal, if it is not there, while the sensor still may. It belongs to the user of the sensor.
fn make_journal_folder(settings: &Settings) -> Result<(), RunError> {
    let Some(folder) = settings.journal.folder.as_ref().filter(|folder| !folder.is_dir()) else { return Ok(()) };
    let failed = |source| RunError::Events { path: folder.clone(), source };
    Journal::make_folder(folder).map_err(failed)?;
    let privilege = &settings.privilege;
    if !nix::unistd::geteuid().is_root() || privilege.user.is_empty() {
        return Ok(());
    }
    let user = nix::unistd::User::from_name(&privilege.user).ok().flatten();
    let group = group_of_sensor(settings);
    nix::unistd::chown(folder, user.map(|user| user.uid), group).map_err(|error| failed(error.into()))?;
    // A change of owner takes the mode's third digit away (chown(2)).
    Journal::set_folder_mode(folder).map_err(failed)
}

/// The group that the sensor runs as, if its user or group exists.
pub fn group_of_sensor(settings: &Settings) -> Option<nix::unistd::Gid> {
    let privilege = &settings.privilege;
    let named = Some(&privilege.group).filter(|name| !name.is_empty());
    let group = named.and_then(|name| nix::unistd::Group::from_name(name).ok().flatten());
    let of_user = || nix::unistd::User::from_name(&privilege.user).ok().flatten().map(|user| user.gid);
    group.map(|group| group.gid).or_else(of_user)
}

/// The audit. Without it the sensor runs, and says so.
fn open_audit(settings: &Settings, log: &Log) -> Option<Arc<Audit>> {
    let path = &settings.privacy.audit_file;
    match Audit::open(path, Some(settings.sensor.name.clone())) {
        Ok(audit) => Some(Arc::new(audit)),
        Err(error) => {
            let mend = "make its folder, or set privacy.audit_file";
            let what = format!("no audit line can be written to {}: {error}", path.display());
            log.warning(&format!("{what}; changes of policy and keys are not recorded; {mend}"));
            None
        }
    }
}

fn system(doing: &'static str, reason: &dyn std::fmt::Display) -> RunError {
    RunError::System { doing, reason: reason.to_string() }
}

/// Flags that signals set.
struct Signals {
    stop: Arc<AtomicBool>,
    reload: Arc<AtomicBool>,
}

impl Signals {
    fn register() -> Result<Self, RunError> {
        let (stop, reload) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let failed = |error: std::io::Error| system("handle signals", &error);
        for signal in [SIGTERM, SIGINT] {
            // Registered first, so that it acts on the second signal only: the first one has not set the flag yet.
            signal_hook::flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&stop))
                .map_err(failed)?;
            signal_hook::flag::register(signal, Arc::clone(&stop)).map_err(failed)?;
        }
        signal_hook::flag::register(SIGHUP, Arc::clone(&reload)).map_err(failed)?;
        Ok(Self { stop, reload })
    }
}
