//! `vigie read`: captures in; incidents, alerts, other events, the story and an exit code out.

mod candidates;
mod output;

use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::arguments::{EventType, ReadArguments};
use super::bundle;
use super::exit::{Exit, Failure};
use super::interrupt::stop_on_interrupt;
use super::judge::story::{self, Judged};
use super::progress::Progress;
use super::summary::{Inspected, summary};
use super::terminal::{Terminal, eprint, ignore_broken_pipe, print, wrap};
use super::words::{count, counted, printable};
use crate::judging::{self, Judging};
use crate::read::{self, Settings, Totals};
use crate::record::Context;
use crate::settings::Limits;
use crate::worker::EventTypes;
use vigie_capture::{CaptureError, Files, FilesOptions, Source, SourceStatistics};
use vigie_journal::JsonLines;

use output::EventOutput;

/// How many warnings are printed beside events.
const WARNINGS_PRINTED_MAX: usize = 10;

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
    ("clear_text", None), ("dns", Some("answers")), ("match", None), ("sighting", None),
];

/// Runs the command.
///
/// # Errors
/// Captures, signatures or the policy cannot be read, or events cannot be written.
pub fn run(arguments: &ReadArguments, terminal: Terminal) -> Result<Exit, Failure> {
    let target = arguments.output.as_deref().or(arguments.json.then_some(Path::new("-")));
    if target.is_none() && arguments.events != [EventType::Alert] {
        let what = "--events chooses the events to write, but none are written";
        return Err(Failure::new(Exit::Usage, what, "add --json or --output FILE"));
    }
    let bundle = bundle::load(&arguments.signatures)?;
    let policy = Arc::new(arguments.policy.load(&bundle)?);
    let privacy = arguments.policy.load_privacy()?;
    let stop = stop_on_interrupt();
    let options = FilesOptions { filter: arguments.bpf.clone(), stop: Some(stop) };
    raise_file_limit();
    let mut source = Files::open(&arguments.files, &options).map_err(|error| capture_failure(&error))?;
    let context = Context {
        sensor_name: arguments.sensor_name.clone(),
        interfaces: Vec::new(),
        bundle: Some(Arc::clone(&bundle)),
        pseudonyms: None,
    };
    let progress_terminal = terminal.stderr && !arguments.quiet && !(target.is_some() && terminal.stdout);
    let mut run = Run {
        judging: Judging::new(Arc::clone(&bundle), Arc::clone(&policy), judging::Limits::default())
            .with_privacy(privacy.clone()),
        output: EventOutput::new(target.map(open).transpose()?, context, &arguments.events, &privacy),
        read_error: None,
        progress: Progress::start(arguments.progress, progress_terminal, source.position()),
    };
    let event_types = EventTypes {
        candidates: arguments.candidates,
        clients: !policy.assets().is_empty(),
        clock: true,
        ..event_types(&arguments.events)
    };
    let settings = Settings { event_types, limits: limits(&arguments.limits)? };
    let workers = usize::from(arguments.workers);
    let (totals, error) =
        read::read_parallel(workers, &mut source, &settings, &bundle, &mut |progress| run.take_progress(progress));
    run.read_error = error;
    run.finish();
    let inspected = inspected(arguments, &totals, run.read_error.as_ref());
    run.print(arguments, terminal, &inspected)?;
    run.outcome(target, arguments, &totals.source)
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

/// The event types that a worker emits besides sightings.
fn event_types(events: &[EventType]) -> EventTypes {
    EventTypes {
        tls: events.contains(&EventType::Tls),
        quic: events.contains(&EventType::Quic),
        http: events.contains(&EventType::Http),
        dns: events.contains(&EventType::Dns),
        flows: events.contains(&EventType::Flow),
        ..EventTypes::default()
    }
}

/// The state of a run: what judges, where events go, and what failed.
struct Run {
    judging: Judging,
    output: EventOutput,
    read_error: Option<CaptureError>,
    progress: Progress,
}

impl Run {
    /// Takes the progress since the last time. The run goes on while events can be written.
    fn take_progress(&mut self, progress: read::Progress<'_>) -> ControlFlow<()> {
        self.output.use_interfaces(progress.interfaces);
        for event in progress.events.drain(..) {
            self.judging.begin(event.timestamp_ns, &mut self.output);
            self.output.write(&event);
            self.judging.take(event, progress.interfaces, &mut self.output);
        }
        self.progress.batch(|| progress.position);
        if self.output.error.is_none() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }

    fn finish(&mut self) {
        self.judging.finish(&mut self.output);
        self.output.flush();
        self.progress.finish();
        let pressure = self.judging.pressure();
        for (number, what) in [
            (pressure.hurried, "contact was judged before its turn: too many waited"),
            (pressure.flows_forgotten, "flow was judged without all of its bytes: too many were open"),
            (pressure.cases_evicted, "episode ended early: too many clients were under observation"),
            (pressure.incidents_evicted, "incident was closed early: too many were open"),
            (pressure.alerts_left_out, "alert was not written: too many waited for an incident"),
            (pressure.warnings_forgotten, "finding was told without its client: too many were warned in a period"),
        ] {
            if number > 0 {
                eprint(&format!("vigie: {}, {what}\n", counted(number, "time")));
            }
        }
    }

    /// Prints the summary: to the standard output if no events go there, else to a terminal on the standard error. Where
    /// the standard error is no terminal, it gets the warnings only.
    fn print(&self, arguments: &ReadArguments, terminal: Terminal, inspected: &Inspected) -> Result<(), Failure> {
        if arguments.quiet || self.output.error.is_some() {
            return Ok(());
        }
        let (policy, by) = (&**self.judging.policy(), arguments.policy.name());
        let read = story::Read {
            words: inspected.volume(),
            is_complete: inspected.is_complete(),
            last_ns: (inspected.frames > 0).then_some(inspected.last_seen_ns),
        };
        let judged = Judged { policy, by, counts: self.judging.counts(), read };
        let text = |style| {
            let mut story = self.output.story.text(&judged, arguments.all, style);
            let (listed, seen) = self.judging.assets_seen();
            if listed > 0 {
                let (seen, listed) = (count(seen as u64), counted(listed as u64, "listed device"));
                story.push_str(&format!("Of {listed} {seen} had traffic; phones on mobile data never pass a tap.\n"));
            }
            if arguments.candidates {
                story.push_str(&candidates::text(self.judging.candidates(), style));
            }
            summary(inspected, &story, style)
        };
        if !self.output.is_open() {
            return print(&terminal.fitted(text(terminal.stdout_style())));
        }
        if terminal.stderr {
            let style = terminal.stderr_style();
            eprint(&wrap(&text(style), style.width));
        } else {
            print_warnings(inspected);
        }
        Ok(())
    }

    /// How the command ends.
    fn outcome(
        self,
        target: Option<&Path>,
        arguments: &ReadArguments,
        source: &SourceStatistics,
    ) -> Result<Exit, Failure> {
        let Self { output, read_error, .. } = self;
        let has_found = (arguments.fail_on_incident && output.story.has_incident())
            || (arguments.fail_on_alert && output.alerts > 0);
        if let (Some(error), Some(target)) = (output.error, target) {
            match target.as_os_str() == "-" {
                true => ignore_broken_pipe(Err(error))?,
                false => return Err(Failure::write(&target.display().to_string(), &error)),
            }
        }
        match read_error {
            Some(error) => Err(capture_failure(&error)),
            None if source.is_stopped => Ok(Exit::Interrupted),
            None if !source.failures.is_empty() => Err(files_failure(source)),
            None if has_found => Ok(Exit::Found),
            // Who asks whether there is something must not take what was not read for nothing.
            None if (arguments.fail_on_incident || arguments.fail_on_alert) && !source.files_damaged.is_empty() => {
                let what = format!("{} of {} files are damaged", source.files_damaged.len(), source.files);
                let before = "nothing was found before the damage, and what follows it was not read";
                Err(Failure::new(Exit::BadData, what, before))
            }
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
        hosts_in_clear: totals.hosts_in_clear,
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
