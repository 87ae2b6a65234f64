//! Starts a sensor: allocates the workers, then starts the threads. Also what settings mean for the privileges.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;
use crossbeam_channel::bounded;
use vigie_signatures::Bundle;

use super::alert_rate::AlertRate;
use super::candidate_files::CandidateFiles;
use super::channel::channel;
use super::coverage::CoverageWindows;
use super::event_lines::EventLines;
use super::event_output::EventOutput;
use super::guarded::GuardedWorker;
use super::log::Log;
use super::outbox::{Outbox, QueueLimits};
use super::packet_clocks::PacketClocks;
use super::quarantine::Quarantine;
use super::snapshot::{CurrentSnapshot, Snapshot, SnapshotReader};
use super::state_files::StateFiles;
use super::watch::Running;
use super::worker_thread::{LiveSource, WorkerThread};
use super::writer::{Writer, WriterCommands};
use super::{RunError, system};
use crate::audit::Audit;
use crate::judging::{self, Judging, StateFile};
use crate::policy;
use crate::privacy;
use crate::record::Context;
use crate::settings::{Capture, Loaded, Record, Settings};
use crate::telemetry::{MonitoredSensor, Phase, Shared, SignatureFacts};
use crate::worker::{EventTypes, Share, Worker};
use vigie_capture::live::shunt::{ProgramOptions, Purpose, Shunt};
use vigie_capture::live::{Backend, LiveOptions, xdp};
use vigie_flow::HashKey;
use vigie_handshake::address_names::{self, AddressNames};
use vigie_handshake::name_hash;
use vigie_journal::{EventFile, Journal, JournalOptions, Retention};
use vigie_metrics::{Server, ServerError, ServerOptions};
use vigie_privilege::Confinement;

/// Reports of each worker that the channel to the watching thread has room for.
const REPORTS_MAX: usize = 4;

/// A sensor with its memory allocated, before it has a source or a thread.
pub struct Prepared {
    workers: Vec<Worker>,
    shared: Arc<Shared>,
    interfaces: Vec<String>,
    audit: Option<Arc<Audit>>,
    shunt: Option<Shunt>,
}

impl Prepared {
    /// Allocates so many workers.
    ///
    /// # Errors
    /// The system gives no random numbers, or the metrics cannot be registered.
    pub fn new(settings: &Settings, bundle: &Arc<Bundle>, workers: usize, log: &Log) -> Result<Self, RunError> {
        let names = Arc::new(AddressNames::new(address_names::Limits {
            entries_max: settings.limits.address_names_max,
            neighbours_max: settings.limits.neighbours_max,
            ..address_names::Limits::default()
        }));
        let random = || HashKey::random().map_err(|error| system("get random numbers", &error));
        let secret = random()?;
        let HashKey([name_secret, ..]) = random()?;
        name_hash::set_secret(name_secret);
        let event_types = EventTypes {
            clients: settings.policy.assets.is_some(),
            clock: true,
            candidates: settings.judgement.candidates_folder.is_some(),
            ..event_types(&settings.events.types)
        };
        let worker = |_| {
            let (bundle, names) = (Arc::clone(bundle), Arc::clone(&names));
            let mut worker = Worker::new(&settings.limits, event_types, bundle, names, secret, Share::ALL);
            worker.populate();
            worker
        };
        let workers: Vec<Worker> = (0..workers).map(worker).collect();
        let labels: Vec<_> = workers.first().map(Worker::all_counts).unwrap_or_default();
        let labels: Vec<_> = labels.into_iter().map(|(family, reason, _)| (family, reason)).collect();
        let shared = Shared::new(&settings.sensor.name, &labels, workers.len())
            .map_err(|error| system("set up metrics", &error))?;
        shared.signatures(SignatureFacts::of(bundle));
        shared.expect_matches(bundle);
        log.info(&format!("{} rules of {} services", bundle.rules().len(), SignatureFacts::of(bundle).services));
        let interfaces = settings.capture.interfaces.clone();
        Ok(Self { workers, shared, interfaces, audit: None, shunt: None })
    }

    /// Tells changes of policy and keys to the audit.
    pub fn audited(self, audit: Option<Arc<Audit>>) -> Self {
        Self { audit, ..self }
    }

    /// Has packets of settled flows shunted.
    pub fn shunted_by(mut self, shunt: Option<Shunt>) -> Self {
        if let Some(shunt) = &shunt {
            self.workers.iter_mut().for_each(|worker| worker.use_shunt(shunt.table()));
        }
        Self { shunt, ..self }
    }

    pub(super) fn bind(&self, settings: &Settings, log: &Arc<Log>) -> Result<Option<Server>, ServerError> {
        let Some(address) = settings.metrics.listen else { return Ok(None) };
        let log = Arc::clone(log);
        let mut options = ServerOptions {
            web_config: settings.metrics.web_config.clone(),
            log: Arc::new(move |line| log.info(line)),
            ..ServerOptions::default()
        };
        options.limits.connections_max = settings.metrics.connections_max;
        let sensor = MonitoredSensor::new(Arc::clone(&self.shared), settings.thresholds());
        Server::bind(address, options, sensor).map(Some)
    }

    /// The metrics that all threads write to.
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    pub(super) fn start(
        self,
        sources: Vec<Box<dyn LiveSource>>,
        settings: &Settings,
        snapshot: Snapshot,
        log: &Arc<Log>,
    ) -> Result<Running, RunError> {
        let output = open_output(settings, log)?;
        self.start_with(sources, output, settings, snapshot, log)
    }

    /// Starts all threads. Each worker takes one of the sources.
    ///
    /// # Errors
    /// The system gives no threads.
    pub fn start_with(
        self,
        sources: Vec<Box<dyn LiveSource>>,
        output: impl Into<EventOutput>,
        settings: &Settings,
        snapshot: Snapshot,
        log: &Arc<Log>,
    ) -> Result<Running, RunError> {
        let Self { workers, shared, interfaces, audit, shunt } = self;
        let limits = &settings.events;
        let (event_sender, events) = channel(limits.channel_events_max, limits.channel_bytes_max);
        let queue = QueueLimits { events_max: limits.pending_events_max, bytes_max: limits.pending_bytes_max };
        let clocks = Arc::new(PacketClocks::new(workers.len()));
        let commands = Arc::new(WriterCommands::new(fsync(settings)));
        let quarantine = Quarantine::beside(settings.events_place());
        quarantine.remove_old(usize::MAX);
        let (report_sender, reports) = bounded(REPORTS_MAX * workers.len().max(1));
        let context = Context {
            sensor_name: Some(settings.sensor.name.clone()),
            interfaces: interfaces.clone(),
            bundle: Some(Arc::clone(&snapshot.bundle)),
            pseudonyms: None,
        };
        let judging = Judging::new(
            Arc::clone(&snapshot.bundle),
            Arc::clone(&snapshot.policy),
            judging::Limits::from(&settings.judgement),
        );
        let judging = judging.with_privacy(snapshot.privacy.clone());
        let lines = EventLines::new(output.into(), context, &settings.events.types, &shared).audited(audit.clone());
        let current: CurrentSnapshot = Arc::new(ArcSwap::from_pointee(snapshot));
        let writer =
            Writer::new(events, Arc::clone(&commands), SnapshotReader::new(&current), judging, lines, &shared, log);
        let writer = match state_files(settings) {
            Some(files) => writer.keep_state(files, Duration::from_secs(settings.judgement.state_interval_s)),
            None => writer,
        };
        let writer = match settings.judgement.candidates_folder.clone() {
            Some(folder) => writer.write_candidates(CandidateFiles::new(folder)),
            None => writer,
        };
        let writer = spawn("writer", move || writer.run())?;
        let stop = Arc::new(AtomicBool::new(false));
        let mut threads = Vec::new();
        for (index, (source, worker)) in sources.into_iter().zip(workers).enumerate() {
            let rate = AlertRate::new(settings.events.alerts_per_minute_max);
            let outbox = Outbox::new(event_sender.clone(), queue, rate);
            let worker = GuardedWorker::new(with_test_hooks(worker), settings.privacy.debug_until);
            let thread = WorkerThread::new(
                index,
                source,
                worker,
                outbox,
                SnapshotReader::new(&current),
                &shared,
                report_sender.clone(),
                settings.events.types.contains(&Record::Flow),
            );
            let thread = thread.await_names(&clocks, settings);
            let (stop, log) = (Arc::clone(&stop), Arc::clone(log));
            let cpu = settings.capture.cpus.get(index).copied();
            threads.push(spawn(&format!("worker-{index}"), move || {
                if let Some(cpu) = cpu {
                    pin(cpu, &log);
                }
                thread.run(&stop)
            })?);
        }
        let shunt = shunt.map(RunningShunt::start).transpose()?;
        shared.enter(Phase::Running);
        let has_journal = settings.journal.folder.is_some();
        let coverage = has_journal.then(|| CoverageWindows::new(&interfaces, Instant::now(), SystemTime::now()));
        Ok(Running {
            threads,
            writer: Some(writer),
            serving: None,
            commands,
            reports,
            current,
            stop,
            shared,
            interfaces,
            log: Arc::clone(log),
            coverage,
            writes_stats: settings.events.types.contains(&Record::Stats),
            last_reports: Vec::new(),
            quarantine,
            metrics_failed: None,
            started: Instant::now(),
            audit,
            policy_hash: String::new(),
            shunt,
        })
    }
}

/// The shunt, and the thread that frees what workers have retired there.
pub(super) struct RunningShunt {
    shunt: Shunt,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl RunningShunt {
    fn start(shunt: Shunt) -> Result<Self, RunError> {
        let (grace, stop) = (shunt.grace(), Arc::new(AtomicBool::new(false)));
        let stopping = Arc::clone(&stop);
        let thread = spawn("shunt", move || grace(&stopping))?;
        Ok(Self { shunt, stop, thread })
    }

    /// Directions of flows in the table, and those for which it has room.
    pub(super) fn slots(&self) -> (u64, u64) {
        self.shunt.counts().slots()
    }

    /// Takes the program from the interfaces; for when all workers have ended.
    pub(super) fn stop(self) {
        drop(self.shunt);
        self.stop.store(true, Ordering::Relaxed);
        // It ends within one round of waiting; nothing depends on it any more.
        drop(self.thread);
    }
}

/// The settings of capture with what `auto` comes to on these interfaces, and one line that says it.
pub fn without_auto(capture: &Capture, flows_max: usize) -> (Capture, Option<String>) {
    decided(capture, flows_max, xdp::obstacle)
}

/// The same, decided for a sensor that may not load the XDP program, by who loads it for that sensor.
pub fn without_auto_to_load(capture: &Capture, flows_max: usize) -> (Capture, Option<String>) {
    decided(capture, flows_max, xdp::obstacle_to_load)
}

/// What `auto` comes to if this stands against AF_XDP.
fn decided(
    capture: &Capture,
    flows_max: usize,
    obstacle: fn(&LiveOptions, usize, &ProgramOptions) -> Option<String>,
) -> (Capture, Option<String>) {
    if capture.backend != Backend::Auto {
        return (capture.clone(), None);
    }
    let by_xdp = Capture { backend: Backend::Xdp, ..capture.clone() };
    let program = by_xdp.program_options(flows_max);
    match program.and_then(|program| obstacle(&by_xdp.live_options(), by_xdp.workers, &program)) {
        None => (by_xdp, Some("capture.backend = \"auto\": captured by AF_XDP".to_owned())),
        Some(obstacle) => {
            let said = "capture.backend = \"auto\": captured by packet sockets instead of AF_XDP";
            (Capture { backend: Backend::Ring, ..by_xdp }, Some(format!("{said}, since {obstacle}")))
        }
    }
}

/// Attaches the shunt, if there is to be one.
pub(super) fn attach_shunt(settings: &Settings, log: &Log) -> Result<Option<Shunt>, RunError> {
    let Some(options) = settings.capture.shunt_options(settings.limits.shunt_flows_max) else { return Ok(None) };
    let shunt = Shunt::attach(&options)?;
    for interface in shunt.passed_over() {
        log.warning(&format!("interface {interface}: it does not exist yet, and is not shunted until a restart"));
    }
    let shunted: Vec<&str> =
        options.interfaces.iter().filter(|name| !shunt.passed_over().contains(name)).map(String::as_str).collect();
    if !shunted.is_empty() {
        let how = match options.purpose {
            Purpose::Filter { .. } => "are counted, and kept from nobody but the sensor,",
            Purpose::Shunt | Purpose::Sockets => "are counted and dropped at the driver",
        };
        log.info(&format!("shunt: packets of settled flows {how} on {}", shunted.join(", ")));
    }
    Ok(Some(shunt))
}

/// Opens the journal or the events file, and says what was repaired.
fn open_output(settings: &Settings, log: &Log) -> Result<EventOutput, RunError> {
    let path = settings.events_place();
    let failed = |source| RunError::Events { path: path.to_owned(), source };
    let Some(folder) = &settings.journal.folder else {
        let (file, cut_bytes) = EventFile::open(path, settings.events.mode.0).map_err(failed)?;
        if cut_bytes > 0 {
            log.warning(&format!("{}: {cut_bytes} bytes of a cut line were taken away", path.display()));
        }
        return Ok(file.into());
    };
    let (journal, repairs) = Journal::open(folder, journal_options(settings)).map_err(failed)?;
    let folder = folder.display();
    if repairs.cut_bytes > 0 {
        log.warning(&format!("{folder}: {} bytes of a cut line were taken away", repairs.cut_bytes));
    }
    if repairs.seal_cut_bytes > 0 {
        log.warning(&format!("{folder}: {} bytes of a cut seal were taken away", repairs.seal_cut_bytes));
    }
    for seq in &repairs.sealed {
        log.warning(&format!("{folder}: segment {seq:08} was closed without a seal, and has one now"));
    }
    for seq in &repairs.unreadable {
        log.error(&format!("{folder}: segment {seq:08} has no seal and cannot be read"));
    }
    Ok(journal.into())
}

fn journal_options(settings: &Settings) -> JournalOptions {
    let journal = &settings.journal;
    JournalOptions {
        segment_bytes: journal.segment_bytes,
        segment_age: Duration::from_secs(journal.segment_age_s),
        retention: retention(settings),
    }
}

/// How long events are kept in the journal.
pub(super) const fn retention(settings: &Settings) -> Retention {
    let journal = &settings.journal;
    Retention { alerts_days: journal.alerts_days, incidents_days: journal.incidents_days, bytes_max: journal.bytes_max }
}

/// Where open incidents are saved.
fn state_files(settings: &Settings) -> Option<StateFiles> {
    let file = settings.state_file();
    match &settings.journal.folder {
        // A file that somebody named is used with a journal too.
        Some(folder) if settings.judgement.state_file.is_none() => Some(StateFiles::of_journal(folder.clone(), file)),
        _ => file.map(|path| StateFiles::One(StateFile::new(path))),
    }
}

fn spawn<T: Send + 'static>(name: &str, body: impl FnOnce() -> T + Send + 'static) -> Result<JoinHandle<T>, RunError> {
    thread::Builder::new().name(name.to_owned()).spawn(body).map_err(|error| system("start a thread", &error))
}

/// A worker that panics at the packets that a test names by their port; in programs that are built for tests only.
#[cfg(debug_assertions)]
fn with_test_hooks(mut worker: Worker) -> Worker {
    let port = std::env::var("TEST_OF_VIGIE_PANIC_PORT").ok().and_then(|port| port.parse().ok());
    if let Some(port) = port {
        worker.panic_at_port(port);
    }
    worker
}

#[cfg(not(debug_assertions))]
const fn with_test_hooks(worker: Worker) -> Worker {
    worker
}

fn pin(cpu: usize, log: &Log) {
    let mut cpus = nix::sched::CpuSet::new();
    let pinned = cpus.set(cpu).and_then(|()| nix::sched::sched_setaffinity(nix::unistd::Pid::from_raw(0), &cpus));
    if let Err(error) = pinned {
        log.warning(&format!("cannot pin a worker to CPU {cpu}: {error}; it runs on any CPU"));
    }
}

fn event_types(records: &[Record]) -> EventTypes {
    EventTypes {
        tls: records.contains(&Record::Tls),
        quic: records.contains(&Record::Quic),
        http: records.contains(&Record::Http),
        dns: records.contains(&Record::Dns),
        flows: records.contains(&Record::Flow),
        ..EventTypes::default()
    }
}

/// What the sensor may still do after it gave up its privileges: write to the journal or the folder of the events file, and read
/// configuration and signatures.
pub(super) fn confinement(
    loaded: &Loaded,
    server: Option<&Server>,
    receive_only: Vec<std::os::fd::RawFd>,
) -> Confinement {
    let settings = &loaded.settings;
    // A bare name lies in the folder where the sensor was started. `-` is the standard output.
    let folder = |path: &Path| {
        let absolute = std::path::absolute(path).ok().filter(|_| path.as_os_str() != "-")?;
        absolute.parent().map(Path::to_owned)
    };
    // Folders, not files: editors and package managers replace a file by a new one of the same name.
    let file = loaded.file.as_deref();
    let mut readable: Vec<PathBuf> = file.and_then(|file| folder(Path::new(file))).into_iter().collect();
    readable.extend(
        policy::files(loaded).iter().filter_map(|path| if path.is_dir() { Some(path.clone()) } else { folder(path) }),
    );
    readable.extend(privacy::key_file(loaded).and_then(|path| folder(&path)));
    readable.extend(settings.signatures.folder.clone());
    readable.extend(server.map(Server::readable_folders).unwrap_or_default());
    let state_folder = settings.state_file().and_then(|path| folder(&path));
    // With a journal, what a sensor without one saved is only read, and need not be there.
    let is_only_read = settings.journal.folder.is_some() && settings.judgement.state_file.is_none();
    let (old_state_folder, state_folder) = if is_only_read { (state_folder, None) } else { (None, state_folder) };
    readable.extend(old_state_folder.filter(|folder| folder.is_dir()));
    let events_folder = settings.journal.folder.clone().or_else(|| folder(&settings.events.file));
    let writable =
        events_folder.into_iter().chain(state_folder).chain(settings.judgement.candidates_folder.clone()).collect();
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

pub(super) fn fsync(settings: &Settings) -> (crate::settings::Fsync, Duration) {
    let (events, journal) = (&settings.events, &settings.journal);
    let (fsync, interval_ms) = match journal.folder {
        Some(_) => (journal.fsync, journal.fsync_interval_ms),
        None => (events.fsync, events.fsync_interval_ms),
    };
    (fsync, Duration::from_millis(interval_ms))
}
