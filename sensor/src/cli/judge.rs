//! `vigie judge`: logs of other tools in; verdicts, incidents, a story for people and an exit code out.

pub(super) mod story;
mod verdicts;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::Args;
use vigie_judgement::{Cases, Finding, IncidentLimits, Incidents, Recogniser, Thresholds, is_left_out};
use vigie_signatures::Clients;

use super::bundle;
use super::exit::{Exit, Failure};
use super::interrupt::stop_on_interrupt;
use super::policy::PolicyArguments;
use super::terminal::{Terminal, eprint, ignore_broken_pipe, print};
use super::words::{count, counted, quoted_path};
use crate::judge::files::{self, Report};
use crate::judge::{Contacts, Limits, Sighted};
use crate::privacy::Privacy;
use crate::record::{Context, encode_incident};
use story::Story;
use verdicts::Verdicts;
use vigie_journal::JsonLines;

/// Clients × services under observation at most.
const CASES_MAX: usize = 1 << 18;

/// `vigie judge`.
#[derive(Args, Debug)]
#[command(
    long_about = "Judge the logs of other tools: which clients ran an application, visited a site, or only met a page \
                  that embeds it, and under which ban.\n\nReads Suricata's EVE (tls, quic, http, dns, flow), Zeek's \
                  JSON (ssl, quic, http, dns, conn), and plain JSON lines with: time (RFC 3339, or seconds since 1970) \
                  or seconds; client; name or server; and as far as known ja4, bytes_toclient, bytes_toserver, \
                  answered. The formats may be mixed. Several files are read together in the order of time; lines may \
                  be up to 60 seconds out of order.",
    after_help = "Examples:\n  vigie judge eve.json\n  vigie judge ssl.log conn.log dns.log\n  \
                  zcat eve.json.*.gz | vigie judge --verdicts - > verdicts.jsonl"
)]
pub struct JudgeArguments {
    /// Logs, a JSON object on each line; `-` is the standard input.
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,

    /// Write incidents to the standard output as EVE JSON, one change per line, instead of the story.
    #[arg(long)]
    pub json: bool,

    /// Write the verdicts as JSON, one line for each client and service, whatever is banned.
    ///
    /// The fields are client, service, verdict, kind, first_run, incident, reasons. With or without --json.
    #[arg(long)]
    pub verdicts: bool,

    /// Exit with code 1 if there was an incident.
    #[arg(long)]
    pub fail_on_incident: bool,

    /// Show every client, however many there are.
    #[arg(long)]
    pub all: bool,

    /// The policy.
    #[command(flatten)]
    pub policy: PolicyArguments,

    /// Folder of signature files (*.toml) that add to and override the built-in signatures; may be repeated, later
    /// folders override earlier ones.
    #[arg(long, value_name = "DIR")]
    pub signatures: Vec<PathBuf>,
}

/// Runs the command.
///
/// # Errors
/// A log cannot be read, or has lines that cannot be used, or the standard output cannot be written to.
pub fn run(arguments: &JudgeArguments, terminal: Terminal) -> Result<Exit, Failure> {
    let recogniser = Recogniser::new(bundle::load(&arguments.signatures)?, Clients::builtin());
    if arguments.verdicts {
        return write_verdicts(arguments, &recogniser);
    }
    let bundle = recogniser.bundle();
    let policy = arguments.policy.load(bundle)?;
    let privacy = arguments.policy.load_privacy()?;
    let mut incidents = Incidents::new(Thresholds::default(), CASES_MAX, IncidentLimits::default());
    if let Some(period) = privacy.warning_period() {
        incidents = incidents.warning_first(period);
    }
    let mut output = Output::new(arguments.json, privacy);
    let stop = stop_on_interrupt();
    let reports = read(&arguments.files, &recogniser, &stop, &mut |sighting, _| {
        output.pass_time(sighting.time_ns, &mut incidents);
        incidents.sighting(&policy, bundle, sighting, &mut |finding| output.take(&finding));
    })?;
    incidents.end(&policy, bundle, &mut |finding| output.take(&finding));
    warn(incidents.cases_evicted(), "episodes ended early, since too many clients were under observation");
    warn(incidents.evicted(), "incidents were closed early, since too many were open");
    let has_incident = output.story.has_incident();
    if arguments.json {
        output.finish()?;
    } else {
        let read = story::Read::of(&reports, is_set(&stop));
        let judged = story::Judged { policy: &policy, by: arguments.policy.name(), counts: incidents.counts(), read };
        print(&terminal.fitted(output.story.text(&judged, arguments.all, terminal.stdout_style())))?;
    }
    outcome(&reports, is_set(&stop), arguments.fail_on_incident && has_incident)
}

/// Verdicts hang on no ban: they are written whatever is banned. Of whom a given policy leaves out there is none.
fn write_verdicts(arguments: &JudgeArguments, recogniser: &Recogniser) -> Result<Exit, Failure> {
    let bundle = recogniser.bundle();
    let policy = arguments.policy.policy.is_some().then(|| arguments.policy.load(bundle)).transpose()?;
    let mut privacy = arguments.policy.load_privacy()?;
    let mut cases = Cases::new(Thresholds::default(), CASES_MAX);
    let mut verdicts = Verdicts::default();
    let stop = stop_on_interrupt();
    let reports = read(&arguments.files, recogniser, &stop, &mut |sighting, _| {
        // All verdicts are written at the end, by the last key.
        privacy.pass_time(sighting.time_ns);
        if policy.as_ref().is_some_and(|policy| is_left_out(policy, bundle, sighting)) {
            return;
        }
        cases.sighting(sighting, &mut |change| verdicts.add(&change));
    })?;
    cases.end(&mut |change| verdicts.add(&change));
    warn(cases.evicted(), "episodes ended early, since too many clients were under observation");
    warn(verdicts.left_out(), "verdicts were left out, since there are too many clients");
    let context = Context { pseudonyms: privacy.pseudonyms().map(Arc::clone), ..Context::default() };
    print(&verdicts.json(&context))?;
    outcome(&reports, is_set(&stop), arguments.fail_on_incident && verdicts.has_incident())
}

fn is_set(stop: &AtomicBool) -> bool {
    stop.load(Ordering::Relaxed)
}

/// Reads the logs, until an interrupt, and gives out what they saw in the order of time.
fn read(
    files: &[PathBuf],
    recogniser: &Recogniser,
    stop: &AtomicBool,
    sighted: &mut Sighted<'_>,
) -> Result<Vec<Report>, Failure> {
    let mut contacts = Contacts::new(Limits::default());
    let reports = files::read(files, recogniser, stop, &mut |record| contacts.take(record, None, sighted));
    let reports = reports.map_err(|(path, error)| cannot_open(&path, &error))?;
    contacts.finish(sighted);
    let counts = contacts.counts();
    warn(counts.late, "contacts were too late to be put into order, and judged when they came");
    warn(counts.hurried, "contacts were judged before the end of their flows, since too many waited");
    warn(counts.flows_forgotten, "flows were judged without their bytes, since too many were open");
    if is_set(stop) {
        eprint("vigie: not read: interrupted: what follows in the logs\n");
    }
    Ok(reports)
}

/// Where findings go.
struct Output {
    story: Story,
    lines: Option<JsonLines<Box<dyn io::Write>>>,
    context: Context,
    privacy: Privacy,
    error: Option<io::Error>,
}

impl Output {
    fn new(json: bool, privacy: Privacy) -> Self {
        let stdout: Option<Box<dyn io::Write>> = if json { Some(Box::new(io::stdout())) } else { None };
        let (mut story, context) = (Story::default(), Context::default());
        story.use_privacy(&privacy);
        Self { story, lines: stdout.map(JsonLines::new), context, privacy, error: None }
    }

    /// Uses the pseudonyms of the period of a contact. No incident has those of two periods.
    fn pass_time(&mut self, time_ns: u64, incidents: &mut Incidents) {
        let Some(rotation) = self.privacy.pass_time(time_ns) else { return };
        if rotation.from.is_some() {
            incidents.key_rotated(&mut |finding| self.take(&finding));
        }
        self.context.pseudonyms = self.privacy.pseudonyms().map(Arc::clone);
        self.story.use_privacy(&self.privacy);
    }

    fn take(&mut self, finding: &Finding<'_>) {
        self.story.take(finding);
        if let (Finding::Incident(change), Some(lines), None) = (finding, &mut self.lines, &self.error) {
            self.error = lines.add_line(|line| encode_incident(change, None, &self.context, line)).err();
        }
    }

    fn finish(self) -> Result<(), Failure> {
        let flushed = self.lines.map_or(Ok(()), |mut lines| lines.flush());
        ignore_broken_pipe(self.error.map_or(flushed, Err))
    }
}

/// What a limit cost, in a line on the standard error.
fn warn(number: u64, what: &str) {
    if number > 0 {
        eprint(&format!("vigie: {} {what}\n", count(number)));
    }
}

fn cannot_open(path: &Path, error: &io::Error) -> Failure {
    let mend = match error.kind() {
        io::ErrorKind::NotFound => "check the file name",
        _ => "check that the file can be read",
    };
    Failure::new(Exit::Unavailable, format!("{}: {error}", path.display()), mend)
}

/// How the command ends: what could not be read goes before what was found.
fn outcome(reports: &[Report], is_stopped: bool, has_found: bool) -> Result<Exit, Failure> {
    if let Some((report, error)) = reports.iter().find_map(|report| Some((report, report.error.as_ref()?))) {
        let what = format!("{}: {error}", report.file.display());
        return Err(Failure::new(Exit::Unavailable, what, "what was read was judged"));
    }
    let bad: u64 = reports.iter().map(|report| report.bad).sum();
    let first = reports.iter().find_map(|report| report.places.first().map(|place| (report, place)));
    if let Some((report, (line, reason))) = first {
        let lines: u64 = reports.iter().map(|report| report.lines).sum();
        let what = format!(
            "{} of {} could not be used; the first: {}:{line}: {reason}",
            count(bad),
            counted(lines, "line"),
            report.file.display()
        );
        return Err(Failure::new(Exit::BadData, what, mend(report)));
    }
    Ok(match (is_stopped, has_found) {
        (true, _) => Exit::Interrupted,
        (false, true) => Exit::Found,
        (false, false) => Exit::Success,
    })
}

/// What would mend a file of bad lines.
fn mend(report: &Report) -> String {
    let path = quoted_path(&report.file);
    match report.file.extension().and_then(|extension| extension.to_str()) {
        Some("gz") => format!("zcat {path} | vigie judge -"),
        Some("zst") => format!("zstdcat {path} | vigie judge -"),
        _ => "the others were judged".to_owned(),
    }
}

#[cfg(test)]
mod tests;
