//! The running sensor: opens what needs rights, gives the rights up, lets workers, writer and endpoint run, watches over
//! them, and takes signals. Order at the start matters: sockets, then [`vigie_privilege::confine`], then files, then threads.
//!
//! * SIGHUP: configuration and signatures are read again, the events file is opened again under its name. What is wrong
//!   changes nothing, and is told.
//! * SIGTERM, SIGINT: what lies in the rings is still looked at, all flows end, the last events are written. The same
//!   signal once more ends at once.
//!
//! One thread for each worker is a [`lane`]; events go through an [`outbox`] to the [`writer`].

pub mod lane;
pub mod log;
mod notify;
pub mod outbox;
pub mod snapshot;
pub mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use crossbeam_channel::{Receiver, bounded};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use vigie_signatures::Bundle;

use self::lane::{Lane, Report, Tap};
use self::log::Log;
use self::notify::ServiceManager;
use self::outbox::Outbox;
use self::snapshot::{Current, Snapshot, View};
use self::writer::{Orders, Writer};
use super::told::Wanted;
use super::worker::{Share, Worker};
use crate::alert::eve::{Context, Stats};
use crate::config::{Layers, Loaded, Record, Settings};
use crate::metrics::{Loss, Phase, Server, ServerError, ServerOptions, Serving, Shared, SignatureFacts};
use crate::sink::journal::Journal;
use vigie_capture::CaptureError;
use vigie_capture::live::{self, Live, State};
use vigie_flow::HashKey;
use vigie_handshake::address_names::{self, AddressNames};
use vigie_privilege::{Confinement, PrivilegeError};

/// How often the watching thread looks around.
const WATCH_EVERY: Duration = Duration::from_millis(50);
/// A worker that has not come round for so long hangs.
const STALL_MAX: Duration = Duration::from_secs(10);
/// Reports that wait for the watching thread, for each worker.
const REPORTS_MAX: usize = 4;
/// For how long the writer may take to its end when all workers are gone.
const WRITER_END_MAX: Duration = Duration::from_secs(20);

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

/// Workers with their memory, before any source or thread.
pub struct Prepared {
    workers: Vec<Worker>,
    shared: Arc<Shared>,
    interfaces: Vec<String>,
}

impl Prepared {
    /// So many workers.
    ///
    /// # Errors
    /// The system has no random numbers, or metrics cannot be set up.
    pub fn new(settings: &Settings, bundle: &Arc<Bundle>, workers: usize, log: &Log) -> Result<Self, RunError> {
        let names = Arc::new(AddressNames::new(address_names::Limits {
            entries_max: settings.limits.address_names_max,
            ..address_names::Limits::default()
        }));
        let secret = HashKey::random().map_err(|error| system("have random numbers", &error))?;
        let wanted = wanted(&settings.events.types);
        let worker = |_| {
            let (bundle, names) = (Arc::clone(bundle), Arc::clone(&names));
            let mut worker = Worker::new(&settings.limits, wanted, bundle, names, secret, Share::ALL);
            worker.populate();
            worker
        };
        let workers: Vec<Worker> = (0..workers).map(worker).collect();
        let labels: Vec<_> = workers.first().map(Worker::all_counts).unwrap_or_default();
        let labels: Vec<_> = labels.into_iter().map(|(family, reason, _)| (family, reason)).collect();
        let shared = Shared::new(&settings.sensor.name, &labels, workers.len())
            .map_err(|error| system("set up metrics", &error))?;
        shared.signatures(SignatureFacts::of(bundle));
        log.info(&format!("{} rules of {} services", bundle.rules().len(), SignatureFacts::of(bundle).services));
        let interfaces = settings.capture.interfaces.clone();
        Ok(Self { workers, shared, interfaces })
    }

    fn bind(&self, settings: &Settings, log: &Arc<Log>) -> Result<Option<Server>, ServerError> {
        let Some(address) = settings.metrics.listen else { return Ok(None) };
        let log = Arc::clone(log);
        let mut options = ServerOptions {
            web_config: settings.metrics.web_config.clone(),
            notice: Arc::new(move |line| log.info(line)),
            ..ServerOptions::default()
        };
        options.limits.connections_max = settings.metrics.connections_max;
        options.thresholds = settings.thresholds();
        Server::bind(address, options, Arc::clone(&self.shared)).map(Some)
    }

    /// What all threads report to.
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    fn start(
        self,
        taps: Vec<Box<dyn Tap>>,
        settings: &Settings,
        bundle: Arc<Bundle>,
        log: &Arc<Log>,
    ) -> Result<Running, RunError> {
        let path = &settings.events.file;
        let (journal, cut_bytes) = Journal::open(path, settings.events.mode.0)
            .map_err(|source| RunError::Events { path: path.clone(), source })?;
        if cut_bytes > 0 {
            log.warning(&format!("{}: {cut_bytes} bytes of a cut line were taken away", path.display()));
        }
        self.start_with(taps, journal, settings, bundle, log)
    }

    /// Starts all threads; each worker takes one of the sources.
    ///
    /// # Errors
    /// The system does not give them.
    pub fn start_with(
        self,
        taps: Vec<Box<dyn Tap>>,
        journal: Journal,
        settings: &Settings,
        bundle: Arc<Bundle>,
        log: &Arc<Log>,
    ) -> Result<Running, RunError> {
        let Self { workers, shared, interfaces } = self;
        let (event_sender, events) = bounded(settings.events.channel_events_max);
        let orders = Arc::new(Orders::new(fsync(settings)));
        let (report_sender, reports) = bounded(REPORTS_MAX * workers.len().max(1));
        let context = Context {
            sensor_name: Some(settings.sensor.name.clone()),
            interfaces: interfaces.clone(),
            bundle: Some(Arc::clone(&bundle)),
        };
        let current: Current = Arc::new(ArcSwap::from_pointee(Snapshot { bundle }));
        let writer = Writer::new(events, Arc::clone(&orders), View::new(&current), journal, context, &shared, log);
        let writer = spawn("writer", move || writer.run())?;
        let stop = Arc::new(AtomicBool::new(false));
        let mut lanes = Vec::new();
        for (index, (tap, worker)) in taps.into_iter().zip(workers).enumerate() {
            let outbox = Outbox::new(event_sender.clone(), settings.events.pending_events_max);
            let lane = Lane::new(
                index,
                tap,
                worker,
                outbox,
                View::new(&current),
                &shared,
                report_sender.clone(),
                settings.events.types.contains(&Record::Flow),
            );
            let (stop, log) = (Arc::clone(&stop), Arc::clone(log));
            let cpu = settings.capture.cpus.get(index).copied();
            lanes.push(spawn(&format!("worker-{index}"), move || {
                if let Some(cpu) = cpu {
                    pin(cpu, &log);
                }
                lane.run(&stop)
            })?);
        }
        shared.enter(Phase::Running);
        Ok(Running {
            lanes,
            writer: Some(writer),
            serving: None,
            orders,
            reports,
            current,
            stop,
            shared,
            interfaces,
            log: Arc::clone(log),
            writes_stats: settings.events.types.contains(&Record::Stats),
            seen: Vec::new(),
            started: Instant::now(),
        })
    }
}

fn spawn<T: Send + 'static>(name: &str, body: impl FnOnce() -> T + Send + 'static) -> Result<JoinHandle<T>, RunError> {
    thread::Builder::new().name(name.to_owned()).spawn(body).map_err(|error| system("start a thread", &error))
}

fn pin(cpu: usize, log: &Log) {
    let mut cpus = nix::sched::CpuSet::new();
    let pinned = cpus.set(cpu).and_then(|()| nix::sched::sched_setaffinity(nix::unistd::Pid::from_raw(0), &cpus));
    if let Err(error) = pinned {
        log.warning(&format!("a worker cannot be pinned to CPU {cpu}: {error}; it runs on any"));
    }
}

/// All threads of a sensor.
pub struct Running {
    lanes: Vec<JoinHandle<Result<u64, CaptureError>>>,
    writer: Option<JoinHandle<()>>,
    serving: Option<Serving>,
    orders: Arc<Orders>,
    reports: Receiver<Report>,
    current: Current,
    stop: Arc<AtomicBool>,
    shared: Arc<Shared>,
    interfaces: Vec<String>,
    log: Arc<Log>,
    writes_stats: bool,
    /// The last report of each worker.
    seen: Vec<Report>,
    started: Instant,
}

impl Running {
    fn status(&self) -> String {
        let workers = self.lanes.len();
        let workers = if workers == 1 { "1 worker".to_owned() } else { format!("{workers} workers") };
        format!("{workers} on {}", self.interfaces.join(", "))
    }

    /// Watches until a signal asks to stop.
    fn watch(
        &mut self,
        mut settings: Settings,
        layers: &Layers,
        load_signatures: LoadSignatures<'_>,
        signals: &Signals,
        service_manager: &ServiceManager,
    ) -> Result<(), RunError> {
        let mut fed = Instant::now();
        let mut counted = Instant::now();
        while !signals.stop.load(Ordering::Relaxed) {
            self.look_around()?;
            if signals.reload.swap(false, Ordering::Relaxed) {
                service_manager.reloading();
                self.reload(&mut settings, layers, load_signatures);
                service_manager.ready(&self.status());
            }
            if service_manager.watchdog_interval().is_some_and(|interval| fed.elapsed() >= interval) {
                fed = Instant::now();
                let stalled = self.shared.stalled(STALL_MAX);
                self.shared.watchdog(stalled.is_empty());
                match stalled.first() {
                    None => service_manager.alive(),
                    Some((worker, age)) => self.log.error(&format!("worker {worker} hangs since {} s", age.as_secs())),
                }
            }
            let stats_interval = Duration::from_secs(settings.events.stats_interval_s);
            if self.writes_stats && counted.elapsed() >= stats_interval {
                counted = Instant::now();
                self.orders.stats(self.stats());
            }
        }
        Ok(())
    }

    /// Waits for reports, and takes them.
    ///
    /// # Errors
    /// A thread ended that should not have.
    pub fn look_around(&mut self) -> Result<(), RunError> {
        if let Ok(report) = self.reports.recv_timeout(WATCH_EVERY) {
            self.take(report);
            while let Ok(report) = self.reports.try_recv() {
                self.take(report);
            }
        }
        if let Some(index) = self.lanes.iter().position(JoinHandle::is_finished) {
            return Err(RunError::Broken(format!("worker {index} broke down; the sensor would be partly blind")));
        }
        if self.writer.as_ref().is_none_or(JoinHandle::is_finished) {
            return Err(RunError::Broken("the writer of events broke down".to_owned()));
        }
        Ok(())
    }

    fn take(&mut self, mut report: Report) {
        for change in std::mem::take(&mut report.changes) {
            if change.state == State::Up { self.log.info(&change.what) } else { self.log.warning(&change.what) }
        }
        self.shared.alerts_lost(Loss::ChannelFull, std::mem::take(&mut report.alerts_lost));
        self.shared.events_dropped(Loss::ChannelFull, std::mem::take(&mut report.records_dropped));
        if report.worker == 0 {
            let before = self.seen.first().map(|report| report.interfaces.as_slice()).unwrap_or_default();
            for (place, interface) in report.interfaces.iter().enumerate() {
                let cells = self.shared.interface(&interface.name);
                cells.up(interface.state == State::Up);
                cells.dropped(interface.interface_dropped + interface.interface_missed);
                let reopened = before.get(place).map_or(0, |before| before.reopened);
                (reopened..interface.reopened).for_each(|_| cells.reopened());
            }
        }
        if self.seen.len() <= report.worker {
            self.seen.resize_with(report.worker + 1, Report::default);
        }
        if let Some(place) = self.seen.get_mut(report.worker) {
            *place = report;
        }
    }

    fn reload(&mut self, settings: &mut Settings, layers: &Layers, load_signatures: LoadSignatures<'_>) {
        // The file is opened again whatever the rest comes to: it may have been renamed.
        self.orders.reopen();
        let new = match Settings::load(layers) {
            Ok(loaded) => {
                loaded.warnings.iter().for_each(|warning| self.log.warning(&warning.to_string()));
                loaded.settings
            }
            Err(errors) => {
                errors.to_string().lines().for_each(|line| self.log.error(line));
                return self.refuse("the configuration in use stays");
            }
        };
        let bundle = match load_signatures(settings) {
            Ok(bundle) => bundle,
            Err(error) => {
                self.log.error(&error);
                return self.refuse("configuration and signatures in use stay");
            }
        };
        let change = settings.live_changes(&new);
        if !change.restart.is_empty() {
            self.log
                .warning(&format!("changed, but only a restart brings it into force: {}", change.restart.join(", ")));
        }
        *settings = settings.with_live_of(&new);
        self.log.set(settings.log.clone());
        self.orders.fsync(fsync(settings));
        self.use_signatures(bundle);
        self.shared.reloaded(true);
        let what =
            if change.live.is_empty() { String::new() } else { format!("; changed: {}", change.live.join(", ")) };
        self.log.info(&format!("reloaded: {} rules{what}", self.current.load().bundle.rules().len()));
    }

    /// Lets workers and writer go on with other signatures.
    pub fn use_signatures(&self, bundle: Arc<Bundle>) {
        self.shared.signatures(SignatureFacts::of(&bundle));
        self.current.store(Arc::new(Snapshot { bundle }));
    }

    fn refuse(&self, what: &str) {
        self.shared.reloaded(false);
        self.log.error(&format!("not reloaded: {what}"));
    }

    fn stats(&self) -> Stats {
        let interfaces = || self.seen.iter().flat_map(|report| &report.interfaces);
        let count = |family: &str, reason: &str| self.shared.total(family, Some(reason));
        let flows_active = (0..self.lanes.len()).filter_map(|index| self.shared.worker(index));
        Stats {
            timestamp_ns: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as u64,
            uptime_s: self.started.elapsed().as_secs(),
            kernel_packets: interfaces().map(|counts| counts.frames + counts.dropped).sum(),
            kernel_drops: interfaces().map(|counts| counts.dropped).sum(),
            kernel_ifdrops: interfaces().map(|counts| counts.interface_dropped + counts.interface_missed).sum(),
            packets: count("capture", "frames"),
            bytes: count("capture", "bytes"),
            invalid: self.shared.total("decode_error", None),
            flows: count("flow", "opened"),
            flows_active: flows_active.map(|cells| cells.reading().flows).sum(),
            alerts: count("alert", "written"),
            alerts_lost: self.shared.alerts_lost_total(),
        }
    }

    /// Ends all threads: workers first, then, when all that they sent is written, the writer.
    ///
    /// # Errors
    /// One of them had broken down.
    pub fn stop(mut self) -> Result<(), RunError> {
        self.shared.enter(Phase::Stopping);
        self.stop.store(true, Ordering::Relaxed);
        let mut outcome = Ok(());
        for (index, lane) in std::mem::take(&mut self.lanes).into_iter().enumerate() {
            while !lane.is_finished() {
                if let Ok(report) = self.reports.recv_timeout(WATCH_EVERY) {
                    self.take(report);
                }
            }
            match lane.join() {
                Ok(Ok(lost)) => self.shared.alerts_lost(Loss::Shutdown, lost),
                Ok(Err(error)) => outcome = Err(error.into()),
                Err(_) => outcome = Err(RunError::Broken(format!("worker {index} broke down"))),
            }
        }
        while let Ok(report) = self.reports.try_recv() {
            self.take(report);
        }
        if self.writes_stats {
            self.orders.stats(self.stats());
        }
        self.orders.end();
        outcome = outcome.and(self.end_of_writer());
        let stats = self.stats();
        self.log.info(&format!(
            "stopped: {} packets, {} dropped by the kernel, {} flows, {} alerts, {} of them lost",
            stats.packets, stats.kernel_drops, stats.flows, stats.alerts, stats.alerts_lost
        ));
        if let Some(serving) = self.serving.take() {
            serving.stop();
        }
        outcome
    }
}

impl Running {
    /// Waits for the writer to come to its end; not for ever, since what it writes to may never take anything again.
    fn end_of_writer(&mut self) -> Result<(), RunError> {
        let Some(writer) = self.writer.take() else { return Ok(()) };
        let deadline = Instant::now() + WRITER_END_MAX;
        while !writer.is_finished() {
            if Instant::now() >= deadline {
                return Err(RunError::Broken(
                    "the events that were left could not be written: nobody takes them".to_owned(),
                ));
            }
            thread::sleep(WATCH_EVERY);
        }
        writer.join().map_err(|_| RunError::Broken("the writer of events broke down".to_owned()))
    }
}

fn fsync(settings: &Settings) -> (crate::config::Fsync, Duration) {
    (settings.events.fsync, Duration::from_millis(settings.events.fsync_interval_ms))
}

fn wanted(records: &[Record]) -> Wanted {
    Wanted {
        tls: records.contains(&Record::Tls),
        quic: records.contains(&Record::Quic),
        dns: records.contains(&Record::Dns),
        flows: records.contains(&Record::Flow),
    }
}

/// What remains in reach: the events' folder to write, configuration and signatures to read.
fn confinement(
    settings: &Settings,
    file: Option<&str>,
    server: Option<&Server>,
    receive_only: Vec<std::os::fd::RawFd>,
) -> Confinement {
    let folder = |path: &Path| path.parent().filter(|folder| !folder.as_os_str().is_empty()).map(Path::to_owned);
    // Folders, not files: what editors and package managers write is a new file under the old name.
    let mut readable: Vec<PathBuf> = file.and_then(|file| folder(Path::new(file))).into_iter().collect();
    readable.extend(settings.signatures.folder.clone());
    readable.extend(server.map(Server::readable_folders).unwrap_or_default());
    let writable = folder(&settings.events.file).into_iter().collect();
    let is_root = nix::unistd::geteuid().is_root();
    let named = |name: &String| (is_root && !name.is_empty()).then(|| name.clone());
    Confinement {
        user: named(&settings.privilege.user),
        group: named(&settings.privilege.group),
        landlock: settings.privilege.landlock,
        seccomp: settings.privilege.seccomp,
        readable,
        writable,
        receive_only,
        ..Confinement::default()
    }
}
