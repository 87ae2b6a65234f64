//! Names that may be missing in the signatures, as the sensor writes them: a file for each day, a line for each name.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::path::Path;

use serde::Deserialize;
use vigie_config::open_regular;

/// Largest file of a day that is read; the sensor writes at most 1 000 names.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Files that are read: the sensor keeps those of seven days.
const FILES_MAX: usize = 14;

/// A name that no signature knows, in all days that are kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Candidate {
    pub name: String,
    /// The service to whose address ranges the server belongs.
    pub service: String,
    pub flows: u64,
    /// First and last contact, as in events.
    pub first: String,
    pub last: String,
    /// Days on which it was seen.
    #[serde(skip)]
    pub days: u64,
}

/// Reads the files of a folder: the names, those on most days first.
///
/// # Errors
/// The folder or a file cannot be read.
pub fn read(folder: &Path) -> io::Result<Vec<Candidate>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if name.starts_with("candidates-") && name.ends_with(".jsonl") {
            paths.push(path);
        }
    }
    paths.sort_unstable_by(|one, other| other.cmp(one));
    paths.truncate(FILES_MAX);
    let mut names: BTreeMap<String, Candidate> = BTreeMap::new();
    for path in paths {
        let mut bytes = Vec::new();
        open_regular(&path)?.take(FILE_BYTES_MAX).read_to_end(&mut bytes)?;
        let text = String::from_utf8_lossy(&bytes);
        // A line that cannot be read is one that is being cut at the limit.
        for candidate in text.lines().filter_map(|line| serde_json::from_str::<Candidate>(line).ok()) {
            add(&mut names, candidate);
        }
    }
    let mut names: Vec<Candidate> = names.into_values().collect();
    names.sort_by_key(|one| std::cmp::Reverse((one.days, one.flows)));
    Ok(names)
}

fn add(names: &mut BTreeMap<String, Candidate>, candidate: Candidate) {
    match names.get_mut(&candidate.name) {
        None => {
            names.insert(candidate.name.clone(), Candidate { days: 1, ..candidate });
        }
        Some(known) => {
            known.days += 1;
            known.flows = known.flows.saturating_add(candidate.flows);
            // All times are UTC, in one format: their order is that of their letters.
            known.first = known.first.clone().min(candidate.first);
            known.last = known.last.clone().max(candidate.last);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_summed_over_days() {
        let folder = tempfile::tempdir().unwrap();
        let line = |name: &str, flows: u64, day: &str| {
            format!(
                "{{\"name\":\"{name}\",\"service\":\"tiktok\",\"flows\":{flows},\"first\":\"{day}T08:00:00.000000+0000\",\
                 \"last\":\"{day}T09:00:00.000000+0000\"}}\n"
            )
        };
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        write("candidates-2026-11-26.jsonl", &(line("a.example", 5, "2026-11-26") + "{\"name\":\"torn"));
        write(
            "candidates-2026-11-27.jsonl",
            &(line("a.example", 2, "2026-11-27") + &line("b.example", 90, "2026-11-27")),
        );
        write("notes", &line("c.example", 1, "2026-11-27"));
        let names = read(folder.path()).unwrap();
        let summary: Vec<(&str, u64, u64)> = names.iter().map(|one| (one.name.as_str(), one.days, one.flows)).collect();
        assert_eq!(summary, [("a.example", 2, 7), ("b.example", 1, 90)]);
        assert!(names[0].first.starts_with("2026-11-26") && names[0].last.starts_with("2026-11-27"));
        assert!(read(&folder.path().join("none")).is_err());
    }
}
