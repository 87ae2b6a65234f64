//! The names that may be missing in the signatures, for people.

use crate::cli::table::{self, Left, Right};
use crate::cli::terminal::{BOLD, Style};
use crate::cli::words::{clock, count, counted, day};
use crate::judging::Candidates;

/// The names as a table, ending in a newline.
pub fn text(candidates: &Candidates, style: Style) -> String {
    let mut text = format!("\n{}\n", style.paint(BOLD, "Names that no signature knows, on servers in known prefixes"));
    if candidates.names().next().is_none() {
        text.push_str("None.\n");
        return text;
    }
    let mut table = table::with_headings([("NAME", Left), ("PREFIX OF", Left), ("FLOWS", Right), ("LAST (UTC)", Left)]);
    for (name, candidate) in candidates.names() {
        let last = format!("{} {}", day(candidate.last_ns), clock(candidate.last_ns));
        table.add_row([name.clone(), candidate.service.clone(), count(candidate.flows), last]);
    }
    text.push_str(&table::text(&table, style));
    if candidates.left_out() > 0 {
        text.push_str(&format!("{} with further names not shown.\n", counted(candidates.left_out(), "flow")));
    }
    text
}
