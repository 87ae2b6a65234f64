//! Which rules led to incidents that people confirmed, and which to false ones: the decisions stand in the audit, the rules
//! in the alerts of the journal or the events file.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use serde_json::Value;
use vigie_journal::{JournalReader, StartAt};

use crate::cli::exit::{Exit, Failure};
use crate::cli::table::{self, Left, Right};
use crate::cli::terminal::Style;
use crate::cli::words::{count, counted};

/// Decided incidents that are known at most.
const INCIDENTS_MAX: usize = 1 << 20;

/// The words of the audit, in the order in which [`Decided`] counts them.
const WORDS: [&str; 3] = ["confirmed", "false", "excused"];

/// How often an incident under a rule was decided so.
type Decided = [u64; 3];
/// A service and a rule.
type RuleKey = (String, String);

/// A table of rules, those with the most false incidents first.
///
/// # Errors
/// The audit or the events cannot be read.
pub fn text(audit: &Path, events: &Path, style: Style) -> Result<String, Failure> {
    let decided = dispositions(audit)?;
    let rules = rules(events, &decided)?;
    let found = counted(decided.len() as u64, "decided incident");
    if rules.is_empty() {
        return Ok(format!("{found}; no alert of one stands in {}.\n", events.display()));
    }
    let mut rows: Vec<(&RuleKey, &Decided)> = rules.iter().collect();
    rows.sort_by_key(|(rule, [confirmed, wrong, _])| (Reverse(*wrong), *confirmed, *rule));
    let headings = [("SERVICE", Left), ("RULE", Left), ("FALSE", Right), ("CONFIRMED", Right), ("EXCUSED", Right)];
    let mut table = table::with_headings(headings);
    for ((service, rule), [confirmed, wrong, excused]) in rows {
        table.add_row([service.clone(), rule.clone(), count(*wrong), count(*confirmed), count(*excused)]);
    }
    Ok(format!("{}\n{found}.\n", table::text(&table, style)))
}

/// The last decision on each incident, as a place in [`WORDS`].
fn dispositions(audit: &Path) -> Result<HashMap<String, usize>, Failure> {
    let mut decided = HashMap::new();
    for_each_event(audit, &mut |metadata, _| {
        let place = WORDS.iter().position(|known| *known == word(metadata, "disposition"));
        if let Some(place) = place.filter(|_| decided.len() < INCIDENTS_MAX) {
            decided.insert(word(metadata, "incident").to_owned(), place);
        }
    })?;
    Ok(decided)
}

/// By service and rule, how often an incident with an alert of it was decided so.
fn rules(events: &Path, decided: &HashMap<String, usize>) -> Result<BTreeMap<RuleKey, Decided>, Failure> {
    let mut seen = HashSet::new();
    let mut rules: BTreeMap<RuleKey, Decided> = BTreeMap::new();
    for_each_event(events, &mut |metadata, gid| {
        if gid != 1 {
            return;
        }
        let incidents = metadata.get("incident").and_then(Value::as_array);
        for incident in incidents.into_iter().flatten().filter_map(Value::as_str) {
            let rule = (word(metadata, "service").to_owned(), word(metadata, "rule").to_owned());
            if let Some(place) = decided.get(incident)
                && seen.insert((incident.to_owned(), rule.clone()))
                && let Some(number) = rules.entry(rule).or_default().get_mut(*place)
            {
                *number += 1;
            }
        }
    })?;
    Ok(rules)
}

/// The first text of a list.
fn word<'v>(metadata: &'v Value, key: &str) -> &'v str {
    metadata.get(key).and_then(|list| list.get(0)).and_then(Value::as_str).unwrap_or_default()
}

/// Visits the metadata of the alerts of a file or a journal, with their generators. Other lines are skipped, such as one that is being
/// written.
fn for_each_event(path: &Path, visit: &mut dyn FnMut(&Value, u64)) -> Result<(), Failure> {
    let unreadable = |error: std::io::Error| {
        let what = format!("{}: {error}", path.display());
        Failure::new(Exit::Unavailable, what, "do it as root or the user of the sensor, or give --config FILE")
    };
    let mut visit_line = |line: &[u8]| {
        let event: Value = serde_json::from_slice(line).unwrap_or_default();
        let alert = event.get("alert");
        let gid = alert.and_then(|alert| alert.get("gid")).and_then(Value::as_u64);
        if let (Some(metadata), Some(gid)) = (alert.and_then(|alert| alert.get("metadata")), gid) {
            visit(metadata, gid);
        }
    };
    if path.is_dir() {
        let mut reader = JournalReader::open(path, StartAt::Oldest).map_err(|error| unreadable(error.source))?;
        while let Some(line) = reader.next_line().map_err(|error| unreadable(error.source))? {
            visit_line(line);
        }
        return Ok(());
    }
    for line in BufReader::new(File::open(path).map_err(unreadable)?).split(b'\n') {
        visit_line(&line.map_err(unreadable)?);
    }
    Ok(())
}
