//! The forwarder's README explains every key of `alert.metadata`, and the words that a key may have.

// Clippy knows only functions marked as tests.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use vigie_handshake::opening::Desync;
use vigie_judgement::Kind;
use vigie_signatures::{Class, Confidence, MatchKind, Role, Verdict};
use vigie_tests::daemon::binary;

/// Keys of the events that the forwarder itself adds.
const OF_THE_FORWARDER: [&str; 5] = ["seal", "segment", "sha256", "receiver", "segments"];

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// What the README says of each key, by key.
fn reference() -> BTreeMap<String, String> {
    let readme = fs::read_to_string(top().join("sensor/forward/README.md")).unwrap();
    let (_, reference) = readme.split_once("\n## The keys of `alert.metadata`\n").unwrap();
    let (reference, _) = reference.split_once("\n### Beside `alert.metadata`\n").unwrap();
    let rows = reference.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` | "));
    rows.map(|(key, meaning)| (key.to_owned(), meaning.to_owned())).collect()
}

fn jsonl(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            jsonl(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "jsonl") {
            found.push(path);
        }
    }
}

/// The keys in the events of the cases and of the project's captures.
fn keys_of_events() -> BTreeSet<String> {
    let mut lines = String::new();
    let mut files = Vec::new();
    jsonl(&top().join("tests/captures/expected"), &mut files);
    for file in files {
        lines += &fs::read_to_string(file).unwrap();
    }
    for entry in fs::read_dir(top().join("tests/cases")).unwrap() {
        let case = entry.unwrap().path();
        if case.is_dir() {
            let mut command = Command::new(binary());
            command.args(["read", "--quiet", "--json", "--policy"]).arg(case.join("policy.toml"));
            lines += &String::from_utf8(command.arg(case.join("input.pcap")).output().unwrap().stdout).unwrap();
        }
    }
    let events = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    events
        .flat_map(|event| event["alert"]["metadata"].as_object().cloned().unwrap_or_default())
        .map(|(key, _)| key)
        .collect()
}

/// The keys that the sources write: the literal at the beginning of each fact.
fn keys_of_sources() -> BTreeSet<String> {
    let mut keys = BTreeSet::new();
    for (file, begins) in [
        ("sensor/src/record/incident.rs", &["(\""][..]),
        ("sensor/journal/src/eve.rs", &["metadata.texts(\"", "metadata.key(\""]),
        ("sensor/src/audit.rs", &["plain(\"", "typed(\""]),
    ] {
        let source = fs::read_to_string(top().join(file)).unwrap();
        let source = source.split("\n#[cfg(test)]\nmod tests {").next().unwrap();
        for line in source.lines().map(str::trim_start) {
            for begin in begins {
                // A fact stands on a line of its own. `flowbits` are beside the alert.
                let is_fact = *begin != "(\"" || line.starts_with(begin) && line.ends_with("),");
                for part in line.split(begin).skip(1).filter(|part| is_fact && !part.starts_with("flowbits")) {
                    keys.extend(part.split_once('"').map(|(key, _)| key.to_owned()));
                }
            }
        }
    }
    keys
}

#[test]
fn every_key_is_explained_and_no_other() {
    let reference = reference();
    let (of_events, of_sources) = (keys_of_events(), keys_of_sources());
    assert!(of_events.len() > 30 && of_sources.is_superset(&of_events), "{of_events:?} {of_sources:?}");
    for key in of_events.iter().chain(&of_sources) {
        assert!(reference.contains_key(key), "the README does not explain {key}");
    }
    let kinds: BTreeSet<&str> = Kind::ALL.iter().map(|kind| kind.as_str()).collect();
    let is_of_another = |key: &str| kinds.contains(key) || OF_THE_FORWARDER.contains(&key);
    for key in reference.keys().filter(|key| !is_of_another(key)) {
        assert!(of_sources.contains(key), "the README explains {key}, which no event has");
    }
}

#[test]
fn every_word_is_explained() {
    let reference = reference();
    let explains = |key: &str, word: &str| {
        assert!(reference[key].contains(&format!("`{word}`")), "{key} may be {word}: {}", reference[key]);
    };
    Kind::ALL
        .iter()
        .for_each(|kind| assert!(reference[kind.as_str()].starts_with(kind.verdict().as_str()), "{kind:?}"));
    Desync::ALL.iter().for_each(|(_, word)| explains("desync", word));
    Class::ALL.iter().for_each(|class| explains("class", class.as_str()));
    Role::ALL.iter().for_each(|role| explains("role", role.as_str()));
    Verdict::ALL.iter().for_each(|verdict| explains("verdict", verdict.as_str()));
    Confidence::ALL.iter().for_each(|confidence| explains("confidence", confidence.as_str()));
    MatchKind::ALL.iter().for_each(|kind| explains("match", kind.as_str()));
    // Words of types that cannot be listed: the literals of the functions that write them.
    for (file, from, keys) in [
        ("sensor/handshake/src/evidence.rs", "impl Evidence", &["evidence"][..]),
        ("sensor/judgement/src/incident/record.rs", "impl Closing", &["incident_closed"]),
        ("sensor/judgement/src/incident/record.rs", "impl Step", &["incident_state"]),
        ("sensor/src/audit.rs", "impl AuditEvent", &["audit"]),
    ] {
        let source = fs::read_to_string(top().join(file)).unwrap();
        let (_, source) = source.split_once(from).unwrap();
        let source = source.split("\n    }\n").next().unwrap();
        let words: Vec<&str> = source.split("=> \"").skip(1).filter_map(|part| part.split('"').next()).collect();
        assert!(words.len() > 3, "{file}: {words:?}");
        words.iter().for_each(|word| keys.iter().for_each(|key| explains(key, word)));
    }
    for (key, words) in [("ech", &["grease", "ambiguous", "offered"][..]), ("hello", &["partial"])] {
        words.iter().for_each(|word| explains(key, word));
    }
}
