//! The summary of a capture for people: what was read, the story of what was found, and what could not be read. It prints
//! nothing.

use std::time::Duration;

use vigie_signatures::Verdict;

use super::table::{self, Left, Right};
use super::terminal::{BOLD, Style};
use super::words::{bytes, clock, count, counted, day, duration};

/// How many warnings of a capture are shown.
const WARNINGS_SHOWN_MAX: usize = 10;

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
    /// Hosts in clear text, of HTTP most of all.
    pub hosts_in_clear: u64,
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

/// The summary around a story, which says what was found. Ends in a newline.
pub fn summary(inspected: &Inspected, story: &str, style: Style) -> String {
    let mut text = String::new();
    for line in header(inspected) {
        push_line(&mut text, &line);
    }
    text.push('\n');
    text.push_str(story);
    push_blindness(&mut text, inspected);
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

/// Why nothing could be recognised, whatever was there.
fn push_blindness(text: &mut String, inspected: &Inspected) {
    let hellos = inspected.tls_hellos + inspected.quic_hellos + inspected.dtls_hellos;
    if inspected.frames > 0 && hellos + inspected.hosts_in_clear + inspected.dns_answers == 0 {
        push_line(
            text,
            "The capture has no TLS, QUIC or DTLS hello, no HTTP request with a host and no DNS answer, so hardly anything could be \
             recognised: it may begin after them, or its packets may be cut too short.",
        );
    }
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

/// A verdict in words that need no glossary.
pub const fn verdict_words(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::App => "app in use",
        Verdict::Web => "web visit",
        Verdict::Embed => "embedded in a page",
        Verdict::Undetermined => "undetermined",
    }
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
