//! The story for people: who did what, under which ban, and why; then what else was seen, as counts.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use comfy_table::{ColumnConstraint, Table};
use console::{measure_text_width, truncate_str};
use time::Date;
use vigie_judgement::policy::Policy;
use vigie_judgement::{CaseKey, Change, Client, Counts, Finding, Incident, Judgement, Verdict};
use vigie_signatures::{Ban, BanForm, BanState};

use crate::cli::table::{self, Left, Right};
use crate::cli::terminal::{BOLD, Style, wrap};
use crate::cli::words::{clock, count, counted, day};
use crate::judge::files::Report;
use crate::privacy::Privacy;
use crate::record::{Context, client_text};

/// Lines that the story shows without `--all`: a screen.
const LINES_SHOWN_MAX: usize = 40;
/// Incidents, and verdicts, of which the story keeps the facts.
const KEPT_MAX: usize = 1 << 18;
/// Columns of another tool's name for a client.
const CLIENT_COLUMNS_MAX: usize = 40;

/// What stands in place of a client whose first finding is a warning.
const WITHHELD: &str = "(not named)";

/// A line of the story.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Line {
    /// 1 is the highest; one that is only reported comes last.
    severity: u8,
    first_ns: u64,
    client: String,
    /// What stands for the client, where that is no address.
    device: Option<Client>,
    service: String,
    verdict: String,
    ban: String,
    why: String,
}

/// What was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Read {
    /// How much, in words; empty if nothing was.
    pub words: String,
    /// Whether all that was given was read.
    pub is_complete: bool,
    /// Time of the last packet; none if that is not known.
    pub last_ns: Option<u64>,
}

impl Read {
    /// From the lines of logs.
    pub fn of(reports: &[Report], is_stopped: bool) -> Self {
        let lines: u64 = reports.iter().map(|report| report.lines).sum();
        let bad: u64 = reports.iter().map(|report| report.bad).sum();
        let words = match (lines, bad) {
            (0, _) => String::new(),
            (lines, _) if is_stopped => format!("{} read until the interrupt", counted(lines - bad, "line")),
            (lines, 0) => format!("{} read", counted(lines, "line")),
            (lines, bad) => format!("{} read, {} more could not be used", counted(lines - bad, "line"), count(bad)),
        };
        let is_complete = !is_stopped && bad == 0 && reports.iter().all(|report| report.error.is_none());
        Self { words, is_complete, last_ns: None }
    }
}

/// By what the story was judged.
pub struct Judged<'j> {
    /// The policy.
    pub policy: &'j Policy,
    /// How people call it.
    pub by: String,
    /// Sightings that led to no incident.
    pub counts: Counts,
    /// What was read.
    pub read: Read,
}

/// What is kept for the story.
#[derive(Default)]
pub struct Story {
    incidents: BTreeMap<String, Line>,
    /// Clients and services with an incident: what was only reported of them says no more.
    of_incidents: BTreeSet<CaseKey>,
    reported: BTreeMap<CaseKey, Line>,
    verdicts: BTreeMap<CaseKey, Judgement>,
    /// An address of each device that stands for more than one: to look it up elsewhere.
    addresses: BTreeMap<Client, IpAddr>,
    left_out: u64,
    /// Last contact that was judged.
    last_ns: Option<u64>,
    /// What stands in place of clients.
    context: Context,
    /// What is only reported names no client.
    withholds_reported: bool,
}

impl Story {
    /// One that names clients, where that is not withheld, by these pseudonyms from now on.
    pub fn use_privacy(&mut self, privacy: &Privacy) {
        self.context.pseudonyms = privacy.pseudonyms().map(Arc::clone);
        self.withholds_reported = privacy.warning_period().is_some();
    }

    /// Takes a finding.
    pub fn take(&mut self, finding: &Finding<'_>) {
        match finding {
            Finding::Incident(change) => {
                let line = of_incident(change.incident, &self.context);
                if self.incidents.len() < KEPT_MAX || self.incidents.contains_key(&change.incident.id) {
                    let key = &change.incident.key;
                    let case = CaseKey { client: key.client.clone(), service: Arc::clone(&key.service) };
                    self.reported.remove(&case);
                    self.of_incidents.insert(case);
                    self.incidents.insert(change.incident.id.clone(), line);
                } else {
                    self.left_out += 1;
                }
            }
            Finding::Verdict { change, service_name, ban, is_reported } => {
                self.verdict(change, service_name, ban, *is_reported);
            }
        }
    }

    fn verdict(&mut self, change: &Change<'_>, service_name: &str, ban: &str, is_reported: bool) {
        if let (Client::Mac(_) | Client::Prefix64(_), Some(address)) = (change.client, change.origin.address)
            && self.addresses.len() < KEPT_MAX
        {
            self.addresses.entry(change.client.clone()).or_insert(address);
        }
        let key = CaseKey { client: change.client.clone(), service: Arc::clone(change.service) };
        let is_reported = is_reported && !self.of_incidents.contains(&key);
        if is_reported && (self.reported.len() < KEPT_MAX || self.reported.contains_key(&key)) {
            let client = if self.withholds_reported { None } else { Some(&self.context) };
            let line = || of_verdict(change, service_name, ban, client);
            self.reported.entry(key.clone()).or_insert_with(line);
        }
        if !change.is_over {
            return;
        }
        self.last_ns = self.last_ns.max(Some(change.episode.last_ns));
        if let Some(known) = self.verdicts.get_mut(&key) {
            known.rise(change.judgement.clone());
        } else if self.verdicts.len() < KEPT_MAX {
            self.verdicts.insert(key, change.judgement.clone());
        } else {
            self.left_out += 1;
        }
    }

    /// Whether an incident opened.
    pub fn has_incident(&self) -> bool {
        !self.incidents.is_empty()
    }

    /// The story, ending in a newline.
    pub fn text(&self, judged: &Judged<'_>, all: bool, style: Style) -> String {
        let mut lines: Vec<Line> = self.incidents.values().chain(self.reported.values()).cloned().collect();
        lines.iter_mut().for_each(|line| self.add_address(line));
        lines.sort_unstable();
        let lines: Vec<&Line> = lines.iter().collect();
        let mut text = match lines.len() {
            0 => String::new(),
            count if all || count <= LINES_SHOWN_MAX => format!("{}\n", with_reasons(&lines, style)),
            _ => {
                let note = format!("{}: --all shows every client", counted(lines.len() as u64, "line"));
                format!("{}{note}\n\n", table::fitting_text(rolled_up(&lines), style, &[]))
            }
        };
        let Judged { policy, by, .. } = judged;
        text.push_str(&format!("Judged by {by}: {}.\n", policy.summary()));
        let last_ns = judged.read.last_ns.or(self.last_ns);
        if last_ns.is_some_and(|last_ns| policy.is_before_every_ban(last_ns)) {
            text.push_str(
                "All of it is older than every ban in use; --as-of DATE judges by the bans of another day.\n",
            );
        }
        text.push_str(&self.totals(judged));
        if self.left_out > 0 {
            text.push_str(&format!("{} not shown: too many.\n", counted(self.left_out, "finding")));
        }
        text
    }

    /// Adds an address to a device that stands for more than one.
    fn add_address(&self, line: &mut Line) {
        let address = line.device.as_ref().and_then(|device| self.addresses.get(device));
        if let Some(address) = address {
            let address = client_column(&Client::Address(*address), "", &self.context);
            line.client.push_str(&format!(" ({address})"));
        }
    }

    /// Contacts of whom nothing is told, as totals: fewer than five are not told apart.
    fn excused(&self, counts: &Counts) -> String {
        let groups = [
            (counts.excused, "under a derogation"),
            (counts.out_of_scope, "out of scope"),
            (counts.shared, "of shared addresses"),
        ];
        let told = groups.iter().filter(|(number, _)| *number > 0).map(|(number, whose)| match number {
            1..5 => format!("fewer than 5 contacts {whose}"),
            _ => format!("{} {whose}", counted(*number, "contact")),
        });
        let told: Vec<String> = told.collect();
        if told.is_empty() { String::new() } else { format!(" Not recorded: {}.", told.join(", ")) }
    }

    /// What was read, and how many clients there are of each verdict.
    fn totals(&self, judged: &Judged<'_>) -> String {
        let Judged { counts, read: Read { words, is_complete, .. }, .. } = judged;
        let clients = |verdict| {
            let of_verdict = self.verdicts.iter().filter(|(_, judgement)| judgement.verdict() == verdict);
            count(of_verdict.map(|(key, _)| &key.client).collect::<BTreeSet<&Client>>().len() as u64)
        };
        let excused = self.excused(counts);
        if self.verdicts.is_empty() {
            return match (words.as_str(), is_complete, counts.not_banned) {
                ("", ..) => "Nothing was read, so nothing could be recognised.\n".to_owned(),
                (_, false, _) => format!("Not everything was read. Nothing was found in what was: {words}.{excused}\n"),
                (_, true, 0) => format!("No banned or watched service was recognised. {words}.{excused}\n"),
                (_, true, others) => format!(
                    "No banned or watched service was recognised; {} with others. {words}.{excused}\n",
                    counted(others, "contact")
                ),
            };
        }
        let incidents = counted(self.incidents.len() as u64, "incident");
        format!(
            "{incidents}. Clients: {} app, {} web, {} undetermined, {} embed. {words}.{excused}\n",
            clients(Verdict::App),
            clients(Verdict::Web),
            clients(Verdict::Undetermined),
            clients(Verdict::Embed)
        )
    }
}

fn of_incident(incident: &Incident, context: &Context) -> Line {
    Line {
        severity: incident.severity,
        first_ns: incident.first_ns,
        client: match incident.is_warning {
            true => WITHHELD.to_owned(),
            false => client_column(&incident.key.client, &incident.label, context),
        },
        device: device(&incident.key.client).filter(|_| !incident.is_warning),
        service: incident.service_name.to_string(),
        verdict: verdict_text(&incident.judgement),
        ban: ban_text(&incident.ban, incident.day),
        why: why(&incident.judgement),
    }
}

/// A client that stands for several addresses.
fn device(client: &Client) -> Option<Client> {
    matches!(client, Client::Mac(_) | Client::Prefix64(_)).then(|| client.clone())
}

/// The ban, since when it is in force, and whether its review is overdue on the day of the incident.
fn ban_text(ban: &Ban, day: Date) -> String {
    if ban.form == BanForm::Watch {
        return "watched".to_owned();
    }
    let in_force = ban.in_force.map(|first| format!(" of {first}")).unwrap_or_default();
    let overdue = ban.review_due().filter(|_| ban.state_at(day) == BanState::Overdue);
    let overdue = overdue.map(|due| format!(", review overdue since {due}")).unwrap_or_default();
    format!("{}{in_force}{overdue}", ban.id)
}

/// Without a context, the client is not named.
fn of_verdict(change: &Change<'_>, service_name: &str, ban: &str, context: Option<&Context>) -> Line {
    Line {
        severity: u8::MAX,
        first_ns: change.episode.first_ns,
        client: context.map_or_else(|| WITHHELD.to_owned(), |context| client_column(change.client, "", context)),
        device: context.and_then(|_| device(change.client)),
        service: service_name.to_owned(),
        verdict: verdict_text(change.judgement),
        ban: format!("not forbidden by {ban}"),
        why: why(change.judgement),
    }
}

/// Another tool's text without what a terminal might obey.
fn client_column(client: &Client, label: &str, context: &Context) -> String {
    let text = client_text(client, label, context);
    let printable: String = text.chars().filter(|character| !character.is_control()).collect();
    truncate_str(&printable, CLIENT_COLUMNS_MAX, "…").into_owned()
}

fn verdict_text(judgement: &Judgement) -> String {
    let (verdict, kind) = (judgement.verdict().as_str(), judgement.kind.as_str());
    if judgement.first_run { format!("{verdict} (first run)") } else { format!("{verdict} ({kind})") }
}

fn why(judgement: &Judgement) -> String {
    let reasons: Vec<String> = judgement.reasons.iter().map(ToString::to_string).collect();
    reasons.join("; ")
}

fn severity_text(severity: u8) -> String {
    if severity == u8::MAX { "-".to_owned() } else { severity.to_string() }
}

/// Columns of the story, the first three in every terminal. Of the others, as many as fit; the rest goes before the reasons.
const HEADINGS: [(&str, comfy_table::CellAlignment); 6] =
    [("SEV", Right), ("CLIENT", Left), ("SERVICE", Left), ("VERDICT", Left), ("SINCE (UTC)", Left), ("BAN", Left)];
const COLUMNS_MIN: usize = 3;
/// Reasons stand below the client.
const REASONS_INDENT: &str = "     ";

/// The lines of the story, below each of them its reasons.
fn with_reasons(lines: &[&Line], style: Style) -> String {
    let rows: Vec<[String; HEADINGS.len()]> = lines.iter().map(|line| cells(line)).collect();
    let mut shown = HEADINGS.len();
    let mut printed = table::lines(&table_of(&rows, shown));
    while shown > COLUMNS_MIN && printed.iter().any(|line| measure_text_width(line) > style.width) {
        shown -= 1;
        printed = table::lines(&table_of(&rows, shown));
    }
    let mut printed = printed.iter().map(|line| truncate_str(line, style.width, "…"));
    let mut text = format!("{}\n", style.paint(BOLD, &printed.next().unwrap_or_default()));
    for ((line, row), printed) in lines.iter().zip(&rows).zip(printed) {
        let before = row.get(shown..).unwrap_or_default().join(", ");
        let separator = if before.is_empty() { "" } else { ": " };
        let reasons = format!("{REASONS_INDENT}{before}{separator}{}\n", line.why);
        text.push_str(&format!("{printed}\n{}", wrap(&reasons, style.width)));
    }
    text
}

fn cells(line: &Line) -> [String; HEADINGS.len()] {
    let Line { severity, first_ns, client, service, verdict, ban, .. } = line;
    let since = format!("{} {}", day(*first_ns), clock(*first_ns));
    [severity_text(*severity), client.clone(), service.clone(), verdict.clone(), since, ban.clone()]
}

fn table_of(rows: &[[String; HEADINGS.len()]], shown: usize) -> Table {
    let mut table = table::with_headings(HEADINGS);
    rows.iter().for_each(|row| {
        table.add_row(row);
    });
    for place in shown..HEADINGS.len() {
        if let Some(column) = table.column_mut(place) {
            column.set_constraint(ColumnConstraint::Hidden);
        }
    }
    table
}

/// One line for each severity, service, verdict and ban.
fn rolled_up(lines: &[&Line]) -> Table {
    let mut groups: BTreeMap<_, Vec<&Line>> = BTreeMap::new();
    for line in lines {
        let group = (line.severity, line.service.as_str(), line.verdict.as_str(), line.ban.as_str());
        groups.entry(group).or_default().push(line);
    }
    let headings = [
        ("SEV", Right),
        ("CLIENTS", Right),
        ("SERVICE", Left),
        ("VERDICT", Left),
        ("SINCE (UTC)", Left),
        ("BAN", Left),
    ];
    let mut table = table::with_headings(headings);
    for ((severity, service, verdict, ban), lines) in groups {
        let first_ns = lines.iter().map(|line| line.first_ns).min().unwrap_or_default();
        let since = format!("{} {}", day(first_ns), clock(first_ns));
        let clients = lines.iter().map(|line| line.client.as_str()).collect::<BTreeSet<_>>();
        let clients = count(clients.len() as u64);
        table.add_row([severity_text(severity), clients, service.into(), verdict.into(), since, ban.into()]);
    }
    table
}
