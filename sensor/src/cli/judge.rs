//! `vigie judge`: logs of other tools in; verdicts and an exit code out.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use clap::Args;
use vigie_journal::json::Object;
use vigie_judgement::{CaseKey, Change, Judgement, Recogniser, Thresholds, Verdict};
use vigie_signatures::Clients;

use super::bundle;
use super::exit::{Exit, Failure};
use super::table::{self, Left};
use super::terminal::{Style, Terminal, eprint, print};
use super::words::{clock, count, counted, day, quoted_path};
use crate::judge::files::{self, Report};
use crate::judge::{Counts, Judge, Limits};

/// Clients × services of which a verdict is kept at most.
const VERDICTS_MAX: usize = 1 << 20;
/// Clients × services that the story shows without `--all`.
const LINES_SHOWN_MAX: usize = 40;

/// `vigie judge`.
#[derive(Args, Debug)]
#[command(
    long_about = "Judge the logs of other tools: which clients ran an application, visited a site, or only met a page \
                  that embeds it.\n\nReads Suricata's EVE (tls, quic, http, dns, flow), Zeek's JSON (ssl, quic, http, \
                  dns, conn), and plain JSON lines with: time (RFC 3339, or seconds since 1970) or seconds; client; name \
                  or server; and as far as known ja4, bytes_toclient, bytes_toserver, answered. The formats may be \
                  mixed. Several files are read together in the order of time; lines may be up to 60 seconds out of \
                  order.",
    after_help = "Examples:\n  vigie judge eve.json\n  vigie judge ssl.log conn.log dns.log\n  \
                  zcat eve.json.*.gz | vigie judge --verdicts - > verdicts.jsonl"
)]
pub struct JudgeArguments {
    /// Logs, a JSON object on each line; `-` is the standard input.
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,

    /// Write the verdicts as JSON, one line for each client and service, whatever is banned.
    ///
    /// The fields are client, service, verdict, kind, first_run, incident, reasons.
    #[arg(long)]
    pub verdicts: bool,

    /// Exit with code 1 if there was an incident.
    #[arg(long)]
    pub fail_on_incident: bool,

    /// Show every client, however many there are.
    #[arg(long)]
    pub all: bool,

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
    let mut verdicts = Verdicts::default();
    let mut judge = Judge::new(Thresholds::default(), Limits::default());
    let mut tell = |change: Change<'_>| verdicts.add(&change);
    let reports = files::read(&arguments.files, &recogniser, &mut |record| judge.take(record, &mut tell));
    let reports = reports.map_err(|(path, error)| cannot_open(&path, &error))?;
    let counts = judge.finish(&mut tell);
    warn(&counts, verdicts.left_out);
    if arguments.verdicts {
        print(&verdicts.json())?;
    } else {
        print(&verdicts.story(&reports, arguments.all, terminal.stdout_style()))?;
    }
    outcome(&reports, arguments.fail_on_incident && verdicts.incidents() > 0)
}

/// What is known of a client and a service over all their episodes.
struct Found {
    judgement: Judgement,
    first_ns: u64,
    last_ns: u64,
}

/// The strongest verdict of each client and service.
#[derive(Default)]
struct Verdicts {
    found: BTreeMap<CaseKey, Found>,
    left_out: u64,
}

impl Verdicts {
    fn add(&mut self, change: &Change<'_>) {
        if !change.is_over {
            return;
        }
        let key = CaseKey { client: change.client.clone(), service: change.service.clone() };
        if let Some(found) = self.found.get_mut(&key) {
            found.judgement.rise(change.judgement.clone());
            found.first_ns = found.first_ns.min(change.episode.first_ns);
            found.last_ns = found.last_ns.max(change.episode.last_ns);
        } else if self.found.len() < VERDICTS_MAX {
            let (first_ns, last_ns) = (change.episode.first_ns, change.episode.last_ns);
            self.found.insert(key, Found { judgement: change.judgement.clone(), first_ns, last_ns });
        } else {
            self.left_out += 1;
        }
    }

    /// How many a ban that forbids the use of the service would open an incident for.
    fn incidents(&self) -> u64 {
        self.found.values().filter(|found| found.judgement.kind.is_use()).count() as u64
    }

    fn json(&self) -> String {
        let mut out = Vec::new();
        for (key, found) in &self.found {
            let judgement = &found.judgement;
            let reasons: Vec<String> = judgement.reasons.iter().map(ToString::to_string).collect();
            let mut object = Object::open(&mut out);
            object.text("client", &key.client.to_string());
            object.text("service", &key.service);
            object.text("verdict", judgement.verdict().as_str());
            object.text("kind", judgement.kind.as_str());
            object.truth("first_run", judgement.first_run);
            object.truth("incident", judgement.kind.is_use());
            object.texts("reasons", reasons.iter().map(String::as_str));
            object.close();
            out.push(b'\n');
        }
        String::from_utf8_lossy(&out).into_owned()
    }

    /// Who did what, strongest first; in one line how many only met pages and apps of others.
    fn story(&self, reports: &[Report], all: bool, style: Style) -> String {
        let mut shown: Vec<(&CaseKey, &Found)> =
            self.found.iter().filter(|(_, found)| found.judgement.verdict() != Verdict::Embed).collect();
        shown.sort_by(|one, other| other.1.judgement.kind.cmp(&one.1.judgement.kind).then_with(|| one.0.cmp(other.0)));
        let mut text = String::new();
        if !shown.is_empty() {
            let shown_max = if all { usize::MAX } else { LINES_SHOWN_MAX };
            text.push_str(&table::text(&rows(&shown, shown_max), style));
            if shown.len() > shown_max {
                let more = counted((shown.len() - shown_max) as u64, "more line");
                text.push_str(&format!("and {more}: --all shows them\n"));
            }
            text.push('\n');
        }
        text.push_str(&self.totals(reports));
        text
    }

    /// How many clients there are of each verdict, and what was read.
    fn totals(&self, reports: &[Report]) -> String {
        let clients = |verdict| {
            let of_verdict = self.found.iter().filter(|(_, found)| found.judgement.verdict() == verdict);
            of_verdict.map(|(key, _)| &key.client).collect::<BTreeSet<_>>().len() as u64
        };
        let lines: u64 = reports.iter().map(|report| report.lines).sum();
        let bad: u64 = reports.iter().map(|report| report.bad).sum();
        let is_complete = bad == 0 && reports.iter().all(|report| report.error.is_none());
        let read = match (lines, bad) {
            (0, _) => "No line was read, so nothing could be recognised.".to_owned(),
            (lines, 0) => format!("{} judged", counted(lines, "line")),
            (lines, bad) => format!("{} judged, {} could not be used", counted(lines - bad, "line"), count(bad)),
        };
        if self.found.is_empty() {
            return match (lines, is_complete) {
                (0, _) => format!("{read}\n"),
                (_, true) => format!("No known service was recognised. {read}.\n"),
                (_, false) => format!("Not everything was read. Nothing was recognised in what was: {read}.\n"),
            };
        }
        format!(
            "Clients: {} ran an application, {} visited a site, {} undetermined, {} only met pages or apps that embed \
             a service. {read}.\n",
            count(clients(Verdict::App)),
            count(clients(Verdict::Web)),
            count(clients(Verdict::Undetermined)),
            count(clients(Verdict::Embed)),
        )
    }
}

fn rows(shown: &[(&CaseKey, &Found)], shown_max: usize) -> comfy_table::Table {
    let headings = [("CLIENT", Left), ("SERVICE", Left), ("VERDICT", Left), ("SINCE (UTC)", Left), ("WHY", Left)];
    let mut table = table::with_headings(headings);
    for (key, found) in shown.iter().take(shown_max) {
        let Judgement { kind, first_run, reasons, .. } = &found.judgement;
        let verdict = match (kind.verdict(), first_run) {
            (verdict, true) => format!("{} ({}, first start)", verdict.as_str(), kind.as_str()),
            (verdict, false) => format!("{} ({})", verdict.as_str(), kind.as_str()),
        };
        let why = reasons.first().map(ToString::to_string).unwrap_or_default();
        let since = format!("{} {}", day(found.first_ns), clock(found.first_ns));
        table.add_row([printable(&key.client.to_string()), key.service.to_string(), verdict, since, why]);
    }
    table
}

/// Another tool's text without what a terminal might obey.
fn printable(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).take(64).collect()
}

/// What limits cost, a line each on the standard error.
fn warn(counts: &Counts, verdicts_left_out: u64) {
    for (number, what) in [
        (counts.late, "contacts were too late to be put into order, and judged when they came"),
        (counts.hurried, "contacts were judged before the end of their flows, since too many waited"),
        (counts.flows_forgotten, "flows were judged without their bytes, since too many were open"),
        (counts.cases_evicted, "episodes ended early, since too many clients were under observation"),
        (verdicts_left_out, "verdicts were left out, since there are too many clients"),
    ] {
        if number > 0 {
            eprint(&format!("vigie: {} {what}\n", count(number)));
        }
    }
}

fn cannot_open(path: &std::path::Path, error: &std::io::Error) -> Failure {
    let mend = match error.kind() {
        std::io::ErrorKind::NotFound => "check the file name",
        _ => "check that the file can be read",
    };
    Failure::new(Exit::Unavailable, format!("{}: {error}", path.display()), mend)
}

/// How the command ends: what could not be read goes before what was found.
fn outcome(reports: &[Report], has_found: bool) -> Result<Exit, Failure> {
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
        return Err(Failure::new(Exit::BadData, what, mend(report, reason)));
    }
    Ok(if has_found { Exit::Found } else { Exit::Success })
}

/// What would mend a file of bad lines.
fn mend(report: &Report, reason: &str) -> String {
    let path = quoted_path(&report.file);
    match report.file.extension().and_then(|extension| extension.to_str()) {
        Some("gz") => format!("zcat {path} | vigie judge -"),
        Some("zst") => format!("zstdcat {path} | vigie judge -"),
        _ if reason.contains("LogAscii") => String::new(),
        _ => "the others were judged".to_owned(),
    }
}

#[cfg(test)]
mod tests;
