//! The start: memory for the workers, then files, then threads.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use crossbeam_channel::bounded;
use vigie_signatures::Bundle;

use super::lane::{Lane, Tap};
use super::log::Log;
use super::outbox::Outbox;
use super::snapshot::{Current, Snapshot, View};
use super::watch::Running;
use super::writer::{Orders, Writer};
use super::{RunError, system};
use crate::config::{Record, Settings};
use crate::metrics::{Phase, Server, ServerError, ServerOptions, Shared, SignatureFacts};
use crate::record::Context;
use crate::worker::{EventTypes, Share, Worker};
use vigie_flow::HashKey;
use vigie_handshake::address_names::{self, AddressNames};
use vigie_journal::Journal;
use vigie_privilege::Confinement;

/// Reports that wait for the watching thread, for each worker.
const REPORTS_MAX: usize = 4;

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

    pub(super) fn bind(&self, settings: &Settings, log: &Arc<Log>) -> Result<Option<Server>, ServerError> {
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

    pub(super) fn start(
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

fn wanted(records: &[Record]) -> EventTypes {
    EventTypes {
        tls: records.contains(&Record::Tls),
        quic: records.contains(&Record::Quic),
        dns: records.contains(&Record::Dns),
        flows: records.contains(&Record::Flow),
    }
}

/// What remains in reach: the events' folder to write, configuration and signatures to read.
pub(super) fn confinement(
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

pub(super) fn fsync(settings: &Settings) -> (crate::config::Fsync, Duration) {
    (settings.events.fsync, Duration::from_millis(settings.events.fsync_interval_ms))
}
