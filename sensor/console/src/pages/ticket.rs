//! An incident as plain text, to be pasted into a ticket.

use crate::query::incident::Evidence;
use crate::words::Words;

/// What the text tells.
pub struct Ticket<'a> {
    pub id: &'a str,
    pub sentence: &'a str,
    pub ban: &'a str,
    pub reasons: &'a [String],
    pub facts: &'a [(&'static str, String, Option<String>)],
    pub evidence: &'a [Evidence],
    pub coverage: &'a str,
    pub sees_devices: bool,
    pub w: &'static Words,
}

/// Flows that the text tells.
const EVIDENCE_MAX: usize = 12;

/// The text. Times are UTC, so that it means the same wherever it is read.
pub fn text(ticket: &Ticket<'_>) -> String {
    let w = ticket.w;
    let mut lines = vec![format!("vigie {} {}", w.incident.to_lowercase(), ticket.id), ticket.sentence.to_owned()];
    lines.push(format!("{}: {}", w.ban, ticket.ban));
    lines.push(format!("{}:", w.why));
    lines.extend(ticket.reasons.iter().map(|reason| format!("- {reason}")));
    lines.extend(ticket.facts.iter().map(|(name, value, _)| format!("{name}: {value}")));
    lines.push(format!("{} (UTC):", w.evidence));
    for evidence in ticket.evidence.iter().take(EVIDENCE_MAX) {
        let time = jiff::Timestamp::from_microsecond(evidence.time_us).map(|time| time.to_string()).unwrap_or_default();
        let flow = if ticket.sees_devices && !evidence.community_id.is_empty() {
            format!(" client port {} {}", evidence.client_port, evidence.community_id)
        } else {
            String::new()
        };
        lines.push(format!(
            "- {time} {} {}/{} {} {}:{}{flow}",
            evidence.name, evidence.class, evidence.family, evidence.proto, evidence.server, evidence.server_port
        ));
    }
    lines.push(ticket.coverage.to_owned());
    // A line that somebody on the wire chose must not look like one of ours.
    let one_line = |line: &String| line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>();
    lines.iter().map(one_line).collect::<Vec<_>>().join("\n")
}
