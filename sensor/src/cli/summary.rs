//! The summary of a capture for people: what was read, which client used which service, and what could not be read.
//! This is a pure function of the findings; it prints nothing.

use std::collections::BTreeSet;
use std::time::Duration;

use comfy_table::Table;
use console::measure_text_width;
use vigie_signatures::Verdict;

use super::findings::{FINDINGS_MAX, Finding, Findings};
use super::table::{self, Left, Right};
use super::terminal::{BOLD, Style};
use super::words::{bytes, clock, count, counted, day, duration};

/// How many warnings of a capture are shown.
const WARNINGS_SHOWN_MAX: usize = 10;

/// How many names of a finding are shown, where there is room.
const NAMES_SHOWN: usize = 2;

const RED: &str = "1;31";
const YELLOW: &str = "33";
const GREEN: &str = "32";
const DIM: &str = "2";

/// What was read.
#[derive(Clone, Debug, Default)]
pub struct Inspected {
    /// The captures, as given.
    pub files: Vec<String>,
    /// Frames read.
    pub frames: u64,
    /// Their bytes on the wire.
    pub bytes: u64,
    /// Flows opened.
    pub flows: u64,
    /// Time of the first frame; 0, as `frames` is, if nothing was read.
    pub first_seen_ns: u64,
    /// Time of the last frame.
    pub last_seen_ns: u64,
    /// TLS hellos over TCP.
    pub tls_hellos: u64,
    /// QUIC hellos.
    pub quic_hellos: u64,
    /// DTLS hellos.
    pub dtls_hellos: u64,
    /// DNS answers.
    pub dns_answers: u64,
    /// What could not be read, and limits that were reached: family, reason, how often. Zeros are not shown.
    pub unread: Vec<(String, String, u64)>,
    /// Oddities of the captures.
    pub warnings: Vec<String>,
    /// Warnings beyond those kept.
    pub warnings_left_out: u64,
    /// What was not read, or not to its end, and why: a line each.
    pub not_read: Vec<String>,
    /// Such lines beyond those kept.
    pub not_read_left_out: u64,
}

impl Inspected {
    /// How much was read; empty if nothing was.
    pub fn volume(&self) -> String {
        if self.frames == 0 { String::new() } else { format!("{} read", counted(self.frames, "packet")) }
    }

    /// Whether all that was given was read to its end.
    pub fn is_complete(&self) -> bool {
        self.not_read.is_empty() && self.not_read_left_out == 0
    }
}

/// The summary, ending in a newline.
pub fn summary(inspected: &Inspected, findings: &Findings, style: Style) -> String {
    let mut text = String::new();
    for line in header(inspected) {
        push_line(&mut text, &line);
    }
    text.push('\n');
    match findings.alerts() {
        0 => push_no_findings(&mut text, inspected, style),
        _ => push_findings(&mut text, inspected, findings, style),
    }
    push_not_read(&mut text, inspected, style);
    push_unread(&mut text, inspected, style);
    push_warnings(&mut text, inspected, style);
    text
}

/// The summary around a story, which says what was found.
pub fn with_story(inspected: &Inspected, story: &str, style: Style) -> String {
    let mut text = String::new();
    for line in header(inspected) {
        push_line(&mut text, &line);
    }
    text.push('\n');
    text.push_str(story);
    push_not_read(&mut text, inspected, style);
    push_unread(&mut text, inspected, style);
    push_warnings(&mut text, inspected, style);
    text
}

fn push_line(text: &mut String, line: &str) {
    text.push_str(line);
    text.push('\n');
}

/// The captures, their period, their volume.
fn header(inspected: &Inspected) -> [String; 3] {
    let files = match inspected.files.as_slice() {
        [file] => file.clone(),
        [first, .., last] => format!("{first} … {last} ({})", counted(inspected.files.len() as u64, "file")),
        [] => "no file".to_owned(),
    };
    let period = match inspected.frames {
        0 => "no packet".to_owned(),
        _ => period(inspected),
    };
    let volume = format!(
        "{}, {}, {}; hellos: {} TLS, {} QUIC, {} DTLS; {}",
        counted(inspected.frames, "packet"),
        bytes(inspected.bytes),
        counted(inspected.flows, "flow"),
        count(inspected.tls_hellos),
        count(inspected.quic_hellos),
        count(inspected.dtls_hellos),
        counted(inspected.dns_answers, "DNS answer"),
    );
    [files, period, volume]
}

/// From when to when, in UTC.
fn period(inspected: &Inspected) -> String {
    let (first, last) = (inspected.first_seen_ns, inspected.last_seen_ns);
    let until = match day(first) == day(last) {
        true => clock(last),
        false => format!("{} {}", day(last), clock(last)),
    };
    let length = duration(Duration::from_nanos(last.saturating_sub(first)));
    format!("{} {} to {until} UTC ({length})", day(first), clock(first))
}

fn push_no_findings(text: &mut String, inspected: &Inspected, style: Style) {
    if !inspected.is_complete() {
        push_line(text, &style.paint(YELLOW, "Not everything was read. Nothing was recognised in what was."));
        return;
    }
    push_line(text, &style.paint(GREEN, "No known service was recognised."));
    let names_seen = inspected.tls_hellos + inspected.quic_hellos + inspected.dtls_hellos + inspected.dns_answers;
    let remark = match (inspected.frames, names_seen) {
        (0, _) => "The capture has no packet.",
        (_, 0) => {
            "The capture has no TLS, QUIC or DTLS hello and no DNS answer, so nothing could be recognised: \
             it may begin after them, or its packets may be cut too short."
        }
        _ => "All hellos and DNS answers counted above were checked.",
    };
    push_line(text, remark);
}

fn push_not_read(text: &mut String, inspected: &Inspected, style: Style) {
    if inspected.is_complete() {
        return;
    }
    text.push('\n');
    push_line(text, &style.paint(BOLD, "Not read"));
    inspected.not_read.iter().take(WARNINGS_SHOWN_MAX).for_each(|line| push_line(text, line));
    let more = inspected.not_read.len().saturating_sub(WARNINGS_SHOWN_MAX) as u64 + inspected.not_read_left_out;
    if more > 0 {
        push_line(text, &format!("and {}", counted(more, "more file")));
    }
}

fn push_findings(text: &mut String, inspected: &Inspected, findings: &Findings, style: Style) {
    let sorted = findings.sorted();
    let many_days = day(inspected.first_seen_ns) != day(inspected.last_seen_ns);
    let lines = (1..=NAMES_SHOWN)
        .rev()
        .map(|names_shown| table::lines(&wide_table(&sorted, many_days, names_shown)))
        .find(|lines| lines.iter().all(|line| measure_text_width(line) <= style.width))
        .unwrap_or_else(|| narrow_table(&sorted, many_days));
    let mut findings_of_lines = sorted.iter();
    for (number, line) in lines.iter().enumerate() {
        if number == 0 {
            push_line(text, &style.paint(BOLD, line));
        } else if line.starts_with(' ') {
            push_line(text, line);
        } else if let Some(finding) = findings_of_lines.next() {
            let words = verdict_words(finding.verdict);
            push_line(text, &line.replacen(words, &style.paint(verdict_colour(finding.verdict), words), 1));
        }
    }
    let clients: BTreeSet<_> = sorted.iter().map(|finding| finding.client).collect();
    let services: BTreeSet<_> = sorted.iter().map(|finding| &finding.service).collect();
    text.push('\n');
    let total = format!(
        "{}: {} on {}",
        counted(findings.alerts(), "alert"),
        counted(services.len() as u64, "service"),
        counted(clients.len() as u64, "client")
    );
    push_line(text, &total);
    if findings.alerts_left_out() > 0 {
        let left_out = format!(
            "{} not shown: the table is limited to {} findings; --json writes all alerts",
            counted(findings.alerts_left_out(), "alert"),
            count(FINDINGS_MAX as u64)
        );
        push_line(text, &left_out);
    }
}

/// One line a finding.
fn wide_table(findings: &[&Finding], many_days: bool, names_shown: usize) -> Table {
    let mut table = table::with_headings([
        ("SERVICE", Left),
        ("CLIENT", Left),
        ("VERDICT", Left),
        ("EVIDENCE", Left),
        ("NAMES", Left),
        ("FLOWS", Right),
        ("SENT", Right),
        ("RECEIVED", Right),
        ("SEEN (UTC)", Left),
    ]);
    for finding in findings {
        table.add_row([
            finding.service.clone(),
            finding.client.ip().to_string(),
            verdict_words(finding.verdict).to_owned(),
            evidence(finding),
            names(finding, names_shown),
            count(finding.flows),
            bytes(finding.bytes_sent),
            bytes(finding.bytes_received),
            seen(finding, many_days),
        ]);
    }
    table
}

/// Two lines a finding: the second, which begins with spaces, has evidence and names.
fn narrow_table(findings: &[&Finding], many_days: bool) -> Vec<String> {
    let mut table = table::with_headings([
        ("SERVICE", Left),
        ("CLIENT", Left),
        ("VERDICT", Left),
        ("FLOWS", Right),
        ("SENT", Right),
        ("RECEIVED", Right),
        ("SEEN (UTC)", Left),
    ]);
    for finding in findings {
        table.add_row([
            finding.service.clone(),
            finding.client.ip().to_string(),
            verdict_words(finding.verdict).to_owned(),
            count(finding.flows),
            bytes(finding.bytes_sent),
            bytes(finding.bytes_received),
            seen(finding, many_days),
        ]);
    }
    let mut lines = table::lines(&table).into_iter();
    let mut interleaved: Vec<String> = lines.next().into_iter().collect();
    for (line, finding) in lines.zip(findings) {
        interleaved.push(line);
        interleaved.push(format!("    {}: {}", evidence(finding), names(finding, NAMES_SHOWN)));
    }
    interleaved
}

/// A verdict in words that need no glossary.
pub const fn verdict_words(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::App => "app in use",
        Verdict::Web => "web visit",
        Verdict::Embed => "embedded in a page",
        Verdict::Undetermined => "undetermined",
    }
}

const fn verdict_colour(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::App => RED,
        Verdict::Web | Verdict::Undetermined => YELLOW,
        Verdict::Embed => DIM,
    }
}

fn evidence(finding: &Finding) -> String {
    finding.evidence.iter().map(|evidence| evidence.as_str()).collect::<Vec<_>>().join(", ")
}

fn names(finding: &Finding, names_shown: usize) -> String {
    let shown = finding.names.iter().take(names_shown).map(String::as_str).collect::<Vec<_>>().join(", ");
    match finding.names.len().saturating_sub(names_shown) {
        0 => shown,
        more => format!("{shown} +{more}{}", if finding.has_more_names { " or more" } else { "" }),
    }
}

fn seen(finding: &Finding, many_days: bool) -> String {
    let moment = |timestamp_ns| match many_days {
        false => clock(timestamp_ns),
        true => format!("{} {}", day(timestamp_ns), clock(timestamp_ns)),
    };
    format!("{}–{}", moment(finding.first_seen_ns), moment(finding.last_seen_ns))
}

fn push_unread(text: &mut String, inspected: &Inspected, style: Style) {
    let reasons: Vec<_> = inspected.unread.iter().filter(|(_, _, times)| *times > 0).collect();
    if reasons.is_empty() {
        return;
    }
    text.push('\n');
    push_line(text, &style.paint(BOLD, "What could not be read, and why"));
    let mut table = table::with_headings([("TIMES", Right), ("WHERE", Left), ("WHY", Left)]);
    for (family, reason, times) in reasons {
        table.add_row([count(*times), family.replace(['_', '-'], " "), reason.replace(['_', '-'], " ")]);
    }
    table::lines(&table).iter().for_each(|line| push_line(text, line));
}

fn push_warnings(text: &mut String, inspected: &Inspected, style: Style) {
    if inspected.warnings.is_empty() {
        return;
    }
    text.push('\n');
    push_line(text, &style.paint(BOLD, "Warnings"));
    inspected.warnings.iter().take(WARNINGS_SHOWN_MAX).for_each(|warning| push_line(text, warning));
    let more = inspected.warnings.len().saturating_sub(WARNINGS_SHOWN_MAX) as u64 + inspected.warnings_left_out;
    if more > 0 {
        push_line(text, &format!("and {}", counted(more, "more warning")));
    }
}

#[cfg(test)]
mod tests;
