//! `vigie read`: captures in; events, a summary and an exit code out.

mod judged;

use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use signal_hook::consts::SIGINT;

use super::arguments::{EventType, ReadArguments};
use super::bundle;
use super::exit::{Exit, Failure};
use super::findings::Findings;
use super::progress::Progress;
use super::summary::{Inspected, summary};
use super::terminal::{Terminal, eprint, ignore_broken_pipe, print};
use super::words::printable;
use crate::event::{Event, Fact};
use crate::read::{self, Settings, Totals};
use crate::record::{self, Context};
use crate::settings::Limits;
use crate::text::interface_name;
use crate::worker::EventTypes;
use vigie_capture::{CaptureError, Files, FilesOptions, Source, SourceStatistics};
use vigie_journal::JsonLines;

/// How many warnings are printed beside events.
const WARNINGS_PRINTED_MAX: usize = 10;

/// How many events wait at most for the end of their batch.
const WAITING_EVENTS_MAX: usize = 4096;

/// Counters of what was read, by family and reason; `None` is every reason of the family. All other counters, new ones
/// too, count what could not be read or limits that were reached, and the summary shows them.
#[rustfmt::skip]
const COUNTERS_OF_WHAT_WAS_READ: [(&str, Option<&str>); 30] = [
    ("capture", Some("frames")), ("capture", Some("bytes")), ("decode", Some("packets")),
    // Frames without IP (ARP, spanning tree) have no name to read.
    ("decode_error", Some("not-ip")), ("fragment", Some("seen")), ("fragment", Some("joined")),
    ("flow", Some("opened")), ("flow", Some("timed_out")), ("hello", None),
    ("hello_tls", Some("name")), ("hello_tls", Some("no_name")), ("hello_tls", Some("ech")),
    ("hello_quic", Some("name")), ("hello_quic", Some("no_name")), ("hello_quic", Some("ech")),
    ("hello_dtls", Some("name")), ("hello_dtls", Some("no_name")), ("hello_dtls", Some("ech")), ("quic_version", None),
    ("quic", Some("initials")), ("quic", Some("opened")), ("quic", Some("keys_derived")), ("quic", Some("clear")),
    ("quic", Some("from_server")), ("quic", Some("retries")), ("quic", Some("version_negotiations")),
    ("clear_text", None), ("dns", Some("answers")), ("match", None), ("alert", None),
];

/// Runs the command.
///
/// # Errors
/// Captures or signatures cannot be read, or events cannot be written.
pub fn run(arguments: &ReadArguments, terminal: Terminal) -> Result<Exit, Failure> {
    let target = arguments.output.as_deref().or(arguments.json.then_some(Path::new("-")));
    if target.is_none() && arguments.events != [EventType::Alert] {
        let what = "--events chooses the events to write, but none are written";
        return Err(Failure::new(Exit::Usage, what, "add --json or --output FILE"));
    }
    if arguments.is_judged() {
        if arguments.events != [EventType::Alert] {
            let what = "--events chooses among all events, but a policy says which are written";
            return Err(Failure::new(Exit::Usage, what, "leave out --events, or the policy"));
        }
        return judged::run(arguments, terminal);
    }
    let bundle = bundle::load(&arguments.signatures)?;
    let stop = stop_on_interrupt();
    let options = FilesOptions { filter: arguments.bpf.clone(), stop: Some(stop) };
    raise_file_limit();
    let mut source = Files::open(&arguments.files, &options).map_err(|error| capture_failure(&error))?;
    let lines = target.map(open).transpose()?;
    let context = Context {
        sensor_name: arguments.sensor_name.clone(),
        interfaces: Vec::new(),
        bundle: Some(std::sync::Arc::clone(&bundle)),
        pseudonyms: None,
    };
    let progress_terminal = terminal.stderr && !arguments.quiet && !(target.is_some() && terminal.stdout);
    let mut run = Run {
        lines,
        context,
        events: arguments.events.clone(),
        findings: Findings::default(),
        waiting: Vec::new(),
        write_error: None,
        read_error: None,
        progress: Progress::start(arguments.progress, progress_terminal, source.position()),
    };
    let settings = Settings { event_types: event_types(&arguments.events), limits: limits(&arguments.limits)? };
    let workers = usize::from(arguments.workers);
    let (totals, error) =
        read::read_parallel(workers, &mut source, &settings, &bundle, &mut |progress| run.take_progress(progress));
    run.read_error = error;
    run.finish();
    let inspected = inspected(arguments, &totals, run.read_error.as_ref());
    print_summary(arguments, terminal, &run, &inspected)?;
    run.outcome(target, arguments.fail_on_alert, &totals.source)
}

/// A flag that the first interrupt sets, so that what was read until then is printed. A second one ends the program.
fn stop_on_interrupt() -> Arc<AtomicBool> {
    let stop = Arc::new(AtomicBool::new(false));
    let exit = i32::from(Exit::Interrupted as u8);
    // Without the handlers an interrupt ends the program at once.
    let _ = signal_hook::flag::register_conditional_shutdown(SIGINT, exit, Arc::clone(&stop))
        .and_then(|_| signal_hook::flag::register(SIGINT, Arc::clone(&stop)));
    stop
}

/// Files that overlap in time are open together: as many as may be, up to a bound that keeps their buffers below 1 GiB.
fn raise_file_limit() {
    const FILES_OPEN_MAX: u64 = 4_096;
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        // What is not permitted stays as it is; then files wait for each other.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, soft.max(hard.min(FILES_OPEN_MAX)), hard);
    }
}

fn limits(changed: &[(String, usize)]) -> Result<Limits, Failure> {
    let mut limits = Limits::default();
    for (name, value) in changed {
        limits.set(name, *value).map_err(|error| Failure::new(Exit::Usage, error, ""))?;
    }
    Ok(limits)
}

fn open(target: &Path) -> Result<JsonLines<Box<dyn io::Write>>, Failure> {
    JsonLines::open(target).map_err(|error| Failure::write(&target.display().to_string(), &error))
}

/// The event types that a worker emits.
fn event_types(events: &[EventType]) -> EventTypes {
    EventTypes {
        tls: events.contains(&EventType::Tls),
        quic: events.contains(&EventType::Quic),
        http: events.contains(&EventType::Http),
        dns: events.contains(&EventType::Dns),
        flows: events.contains(&EventType::Flow),
        sightings: events.contains(&EventType::Sighting),
        dns_sightings: events.contains(&EventType::Sighting),
        ..EventTypes::default()
    }
}

/// The state of a run: where events go, and what failed.
struct Run {
    lines: Option<JsonLines<Box<dyn io::Write>>>,
    context: Context,
    events: Vec<EventType>,
    findings: Findings,
    /// Events of the batch being read; the names of its interfaces are known only at its end.
    waiting: Vec<Event>,
    write_error: Option<io::Error>,
    read_error: Option<CaptureError>,
    progress: Progress,
}

impl Run {
    /// Takes the progress since the last time. The run goes on while events can be written.
    fn take_progress(&mut self, progress: read::Progress<'_>) -> ControlFlow<()> {
        if self.context.interfaces.len() < progress.interfaces.len() {
            self.context.interfaces = progress.interfaces.iter().map(|name| interface_name(name)).collect();
        }
        for event in progress.events.drain(..) {
            self.add_event(event);
        }
        self.write();
        self.progress.batch(|| progress.position);
        if self.write_error.is_none() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }

    fn add_event(&mut self, event: Event) {
        match &event.fact {
            Fact::Alert(alert) => self.findings.add_alert(alert),
            Fact::FlowEnd(flow, _, Some(rule)) => self.findings.add_flow_end(flow, rule),
            Fact::FlowEnd(..) | Fact::Hello(..) | Fact::Http(..) | Fact::Dns(..) | Fact::Sighting(_) => {}
        }
        if self.lines.is_some() && self.write_error.is_none() && self.is_wanted(&event.fact) {
            self.waiting.push(event);
            // At the end of a capture all flows end at once.
            if self.waiting.len() >= WAITING_EVENTS_MAX {
                self.write();
            }
        }
    }

    /// Whether a fact is written. A flow that raised an alert was sighted, too.
    fn is_wanted(&self, fact: &Fact) -> bool {
        let is_of = |event_type| self.events.contains(&event_type);
        is_of(EventType::of(fact)) || (matches!(fact, Fact::Alert(_)) && is_of(EventType::Sighting))
    }

    /// Writes the events that wait. A failure ends the run.
    fn write(&mut self) {
        let Some(lines) = &mut self.lines else { return };
        for event in self.waiting.drain(..) {
            if self.write_error.is_none() {
                self.write_error = lines.add_line(|line| record::encode(&event, &self.context, line)).err();
            }
        }
    }

    fn finish(&mut self) {
        self.write();
        if let (Some(lines), None) = (&mut self.lines, &self.write_error) {
            self.write_error = lines.flush().err();
        }
        self.progress.finish();
    }

    /// How the command ends.
    fn outcome(self, target: Option<&Path>, fail_on_alert: bool, source: &SourceStatistics) -> Result<Exit, Failure> {
        if let (Some(error), Some(target)) = (self.write_error, target) {
            match target.as_os_str() == "-" {
                true => ignore_broken_pipe(Err(error))?,
                false => return Err(Failure::write(&target.display().to_string(), &error)),
            }
        }
        match self.read_error {
            Some(error) => Err(capture_failure(&error)),
            None if source.is_stopped => Ok(Exit::Interrupted),
            None if !source.failures.is_empty() => Err(files_failure(source)),
            None if fail_on_alert && self.findings.alerts() > 0 => Ok(Exit::Found),
            None => Ok(Exit::Success),
        }
    }
}

fn inspected(arguments: &ReadArguments, totals: &Totals, error: Option<&CaptureError>) -> Inspected {
    let source = &totals.source;
    let counts = totals.counters.iter().filter(|(family, reason, _)| !counts_what_was_read(family, reason));
    let mut unread: Vec<(String, String, u64)> =
        counts.map(|(family, reason, times)| ((*family).to_owned(), (*reason).to_owned(), *times)).collect();
    unread.push(("capture".to_owned(), "unsupported link type".to_owned(), source.frames_unsupported));
    Inspected {
        files: arguments.files.iter().map(|path| printable(&path.to_string_lossy())).collect(),
        frames: totals.frames,
        bytes: totals.bytes,
        flows: totals.flows,
        first_seen_ns: totals.first_seen_ns,
        last_seen_ns: totals.last_seen_ns,
        tls_hellos: totals.hellos_tls,
        quic_hellos: totals.hellos_quic,
        dtls_hellos: totals.hellos_dtls,
        dns_answers: totals.dns_answers,
        unread,
        warnings: source.warnings.iter().map(|warning| printable(&warning.to_string())).collect(),
        warnings_left_out: source.warnings_left_out,
        not_read: not_read(source, error),
        not_read_left_out: source.failures_left_out,
    }
}

/// What was not read, or not to its end: a line each.
fn not_read(source: &SourceStatistics, error: Option<&CaptureError>) -> Vec<String> {
    let stopped = source.is_stopped.then(|| "interrupted: what follows in the captures".to_owned());
    let damaged = source.files_damaged.iter().map(|file| format!("{}: what follows damage", file.display()));
    let failed = source.failures.iter().map(|failure| failure.message.clone());
    let all = stopped.into_iter().chain(error.map(ToString::to_string)).chain(failed).chain(damaged);
    all.map(|line| printable(&line)).collect()
}

/// The failure of a command of which some files could not be read.
fn files_failure(source: &SourceStatistics) -> Failure {
    let count = source.failures.len() as u64 + source.failures_left_out;
    let are_unavailable = source.failures.iter().all(|failure| failure.is_unavailable);
    let exit = if are_unavailable { Exit::Unavailable } else { Exit::BadData };
    let first = source.failures.first().map(|failure| failure.message.as_str()).unwrap_or_default();
    let what = format!("{count} of {} files were not read; the first: {first}", source.files);
    Failure::new(exit, what, "the others were read")
}

fn counts_what_was_read(family: &str, reason: &str) -> bool {
    COUNTERS_OF_WHAT_WAS_READ.iter().any(|(known, which)| *known == family && which.is_none_or(|which| which == reason))
}

/// Prints the summary: to the standard output if no events go there, else to a terminal on the standard error. Where the
/// standard error is no terminal, it gets the warnings only.
fn print_summary(
    arguments: &ReadArguments,
    terminal: Terminal,
    run: &Run,
    inspected: &Inspected,
) -> Result<(), Failure> {
    if arguments.quiet {
        return Ok(());
    }
    if run.lines.is_none() {
        return print(&summary(inspected, &run.findings, terminal.stdout_style()));
    }
    if run.write_error.is_some() {
        return Ok(());
    }
    if terminal.stderr {
        eprint(&summary(inspected, &run.findings, terminal.stderr_style()));
    } else {
        print_warnings(inspected);
    }
    Ok(())
}

/// What was not read, and oddities of the captures, a line each on the standard error.
fn print_warnings(inspected: &Inspected) {
    let lines = |lines: &[String], before: &str| {
        lines.iter().take(WARNINGS_PRINTED_MAX).for_each(|line| eprint(&format!("vigie: {before}{line}\n")));
    };
    lines(&inspected.not_read, "not read: ");
    lines(&inspected.warnings, "");
}

/// The failure of a command whose capture failed.
pub(super) fn capture_failure(error: &CaptureError) -> Failure {
    let (exit, mend) = match error {
        CaptureError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => {
            (Exit::Unavailable, "check the file name")
        }
        CaptureError::Io { .. } => (Exit::Unavailable, "check that the file can be read"),
        CaptureError::Pattern { .. } => (Exit::Unavailable, "check the pattern, and put it in quotes"),
        CaptureError::NotACapture { .. } => {
            (Exit::BadData, "give a pcap or pcapng file, plain or compressed with gzip, zstd or lz4")
        }
        CaptureError::LinkType { .. } => (Exit::BadData, "capture on an interface of another kind"),
        CaptureError::Filter { .. } => (Exit::Usage, "see 'man pcap-filter'"),
        CaptureError::Interface { .. } => (Exit::Unavailable, ""),
        CaptureError::Option { .. } => (Exit::Configuration, ""),
    };
    Failure::new(exit, error.to_string(), mend)
}

#[cfg(test)]
mod tests;
