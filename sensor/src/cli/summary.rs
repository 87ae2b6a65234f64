//! The summary of a run for people: what was inspected, who used what, and what could not be read. A pure function
//! of the findings; printing is elsewhere.

use std::time::Duration;

use vigie_signatures::Verdict;

use super::findings::{FINDINGS_MAX, Finding, Findings};
use super::words::{Columns, Side, bytes, clock, count, counted, day, duration};

/// How many warnings of a capture are shown.
const WARNINGS_SHOWN_MAX: usize = 10;

/// How many names of a finding are shown, where there is room.
const NAMES_SHOWN: usize = 2;

/// What was looked at.
#[derive(Clone, Debug, Default)]
pub struct Inspected {
    /// The captures, as given.
    pub files: Vec<String>,
    /// Frames read.
    pub frames: u64,
    /// Their bytes on the wire.
    pub bytes: u64,
    /// Flows met.
    pub flows: u64,
    /// Time of the first frame; nothing was read if it is 0 and so is `frames`.
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
    /// What could not be read, and limits that bit: family, reason, how often. Zeros are not shown.
    pub unread: Vec<(String, String, u64)>,
    /// What was odd in the captures.
    pub warnings: Vec<String>,
    /// Warnings that were not kept.
    pub warnings_left_out: u64,
}

/// How a summary looks.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    /// Columns of the terminal.
    pub width: usize,
    /// Colours are wanted.
    pub colour: bool,
}

/// The summary, ending in a newline.
pub fn summary(inspected: &Inspected, findings: &Findings, look: Look) -> String {
    let mut text = String::new();
    for line in header(inspected) {
        line_to(&mut text, &line);
    }
    text.push('\n');
    match findings.alerts() {
        0 => nothing_found(&mut text, inspected, look),
        _ => found(&mut text, inspected, findings, look),
    }
    unread(&mut text, inspected, look);
    text
}

fn line_to(text: &mut String, line: &str) {
    text.push_str(line);
    text.push('\n');
}

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

fn nothing_found(text: &mut String, inspected: &Inspected, look: Look) {
    line_to(text, &paint(look, GREEN, "No use of a known service was recognised."));
    let told = inspected.tls_hellos + inspected.quic_hellos + inspected.dtls_hellos + inspected.dns_answers;
    let remark = match (inspected.frames, told) {
        (0, _) => "There was no packet to inspect.",
        (_, 0) => {
            "There was no TLS, QUIC or DTLS hello and no DNS answer to recognise anything by: \
             the capture may begin after them, or be cut too short."
        }
        _ => "All hellos and DNS answers above were inspected.",
    };
    line_to(text, remark);
}

fn found(text: &mut String, inspected: &Inspected, findings: &Findings, look: Look) {
    let sorted = findings.sorted();
    let many_days = day(inspected.first_seen_ns) != day(inspected.last_seen_ns);
    let lines = (1..=NAMES_SHOWN)
        .rev()
        .map(|names_shown| wide_table(&sorted, many_days, names_shown))
        .find(|table| table.width() <= look.width)
        .map_or_else(|| narrow_table(&sorted, many_days), |table| table.lines().collect());
    let mut findings_of_lines = sorted.iter();
    for (place, line) in lines.iter().enumerate() {
        if place == 0 {
            line_to(text, &paint(look, BOLD, line));
        } else if line.starts_with(' ') {
            line_to(text, line);
        } else if let Some(finding) = findings_of_lines.next() {
            let words = verdict_words(finding.verdict);
            line_to(text, &line.replacen(words, &paint(look, verdict_colour(finding.verdict), words), 1));
        }
    }
    let clients: std::collections::BTreeSet<_> = sorted.iter().map(|finding| finding.client).collect();
    let services: std::collections::BTreeSet<_> = sorted.iter().map(|finding| &finding.service).collect();
    text.push('\n');
    let total = format!(
        "{}: {} on {}",
        counted(findings.alerts(), "alert"),
        counted(services.len() as u64, "service"),
        counted(clients.len() as u64, "client")
    );
    line_to(text, &total);
    if findings.alerts_left_out() > 0 {
        let left_out = format!(
            "{} of clients beyond the first {} findings stand in the events only",
            counted(findings.alerts_left_out(), "alert"),
            count(FINDINGS_MAX as u64)
        );
        line_to(text, &left_out);
    }
}

/// One line a finding.
fn wide_table(findings: &[&Finding], many_days: bool, names_shown: usize) -> Columns {
    let mut columns = Columns::new(&[
        ("SERVICE", Side::Left),
        ("CLIENT", Side::Left),
        ("VERDICT", Side::Left),
        ("EVIDENCE", Side::Left),
        ("NAMES", Side::Left),
        ("FLOWS", Side::Right),
        ("SENT", Side::Right),
        ("RECEIVED", Side::Right),
        ("SEEN (UTC)", Side::Left),
    ]);
    for finding in findings {
        columns.row(vec![
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
    columns
}

/// Two lines a finding: evidence and names stand on the second, which begins with spaces.
fn narrow_table(findings: &[&Finding], many_days: bool) -> Vec<String> {
    let mut columns = Columns::new(&[
        ("SERVICE", Side::Left),
        ("CLIENT", Side::Left),
        ("VERDICT", Side::Left),
        ("FLOWS", Side::Right),
        ("SENT", Side::Right),
        ("RECEIVED", Side::Right),
        ("SEEN (UTC)", Side::Left),
    ]);
    for finding in findings {
        columns.row(vec![
            finding.service.clone(),
            finding.client.ip().to_string(),
            verdict_words(finding.verdict).to_owned(),
            count(finding.flows),
            bytes(finding.bytes_sent),
            bytes(finding.bytes_received),
            seen(finding, many_days),
        ]);
    }
    let mut lines = columns.lines();
    let mut interleaved: Vec<String> = lines.next().into_iter().collect();
    for (line, finding) in lines.zip(findings) {
        interleaved.push(line);
        interleaved.push(format!("    {}: {}", evidence(finding), names(finding, NAMES_SHOWN)));
    }
    interleaved
}

/// What a verdict says, for those who do not know the word.
pub const fn verdict_words(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::App => "app in use",
        Verdict::Web => "web visit",
        Verdict::Embed => "embedded in a page",
        Verdict::Undetermined => "undetermined",
    }
}

fn evidence(finding: &Finding) -> String {
    finding.evidence.iter().map(|evidence| evidence.as_str()).collect::<Vec<_>>().join(", ")
}

fn names(finding: &Finding, names_shown: usize) -> String {
    let shown = finding.names.iter().take(names_shown).map(String::as_str).collect::<Vec<_>>().join(", ");
    match finding.names.len().saturating_sub(names_shown) {
        0 => shown,
        more => format!("{shown} +{more}{}", if finding.more_names { " or more" } else { "" }),
    }
}

fn seen(finding: &Finding, many_days: bool) -> String {
    let moment = |timestamp_ns| match many_days {
        false => clock(timestamp_ns),
        true => format!("{} {}", day(timestamp_ns), clock(timestamp_ns)),
    };
    format!("{}–{}", moment(finding.first_seen_ns), moment(finding.last_seen_ns))
}

fn unread(text: &mut String, inspected: &Inspected, look: Look) {
    let reasons: Vec<_> = inspected.unread.iter().filter(|(_, _, times)| *times > 0).collect();
    if !reasons.is_empty() {
        text.push('\n');
        line_to(text, &paint(look, BOLD, "What could not be read, and why"));
        let mut columns = Columns::new(&[("TIMES", Side::Right), ("WHERE", Side::Left), ("WHY", Side::Left)]);
        for (family, reason, times) in reasons {
            columns.row(vec![count(*times), family.replace(['_', '-'], " "), reason.replace(['_', '-'], " ")]);
        }
        columns.lines().for_each(|line| line_to(text, &line));
    }
    if !inspected.warnings.is_empty() {
        text.push('\n');
        line_to(text, &paint(look, BOLD, "Warnings"));
        inspected.warnings.iter().take(WARNINGS_SHOWN_MAX).for_each(|warning| line_to(text, warning));
        let more = inspected.warnings.len().saturating_sub(WARNINGS_SHOWN_MAX) as u64 + inspected.warnings_left_out;
        if more > 0 {
            line_to(text, &format!("and {}", counted(more, "more warning")));
        }
    }
}

const BOLD: &str = "1";
const RED: &str = "1;31";
const YELLOW: &str = "33";
const GREEN: &str = "32";

const fn verdict_colour(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::App => RED,
        Verdict::Web | Verdict::Undetermined => YELLOW,
        Verdict::Embed => "2",
    }
}

/// The text between the codes that colour it, if colours are wanted.
pub(super) fn paint(look: Look, code: &str, text: &str) -> String {
    if look.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
}

#[cfg(test)]
mod tests;
