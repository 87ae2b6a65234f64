//! The README shows what the code makes, and explains every key of the events that are tested.
//!
//! `VIGIE_BLESS=1 cargo test -p vigie-forward --test readme` writes the examples anew. A test of the whole sensor,
//! `tests/tests/metadata_reference.rs`, checks that no key or word of the sensor is missing.

#![allow(clippy::unwrap_used, reason = "the helpers of tests are no #[test] functions")]

use std::fs;
use std::path::Path;

use serde_json::Value;
use vigie_forward::encode::Encoding;

const EVENTS: &str = include_str!("encodings/events.jsonl");
/// The event of the examples.
const EXAMPLE: &str = "85e7242b175b09f9";
/// Widest line of an example of text.
const WIDTH: usize = 120;

fn example(encoding: Encoding) -> String {
    let line = EVENTS.lines().find(|line| line.contains(EXAMPLE)).unwrap();
    let mut out = Vec::new();
    encoding.encode(line.as_bytes(), &mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    match encoding {
        Encoding::Cef => broken(&text),
        Encoding::Leef => text.replace('\t', "\n"),
        _ => serde_json::to_string_pretty(&serde_json::from_str::<Value>(&text).unwrap()).unwrap(),
    }
}

/// The line, broken before keys.
fn broken(line: &str) -> String {
    let mut broken = String::new();
    let mut width = 0;
    for word in line.split(' ') {
        let is_key = word.replace("\\=", "").contains('=');
        if is_key && width + word.len() >= WIDTH {
            broken.push('\n');
            width = 0;
        } else if !broken.is_empty() {
            broken.push(' ');
        }
        broken.push_str(word);
        width += word.len() + 1;
    }
    broken
}

#[test]
fn the_examples_are_what_the_code_makes() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let mut readme = fs::read_to_string(&path).unwrap();
    for encoding in Encoding::ALL {
        let marker = format!("<!-- example: {encoding} -->\n```");
        let start = readme.find(&marker).unwrap() + marker.len();
        let start = start + readme[start..].find('\n').unwrap() + 1;
        let end = start + readme[start..].find("```").unwrap();
        let expected = example(encoding) + "\n";
        if std::env::var_os("VIGIE_BLESS").is_some() {
            readme.replace_range(start..end, &expected);
            fs::write(&path, &readme).unwrap();
        } else {
            assert_eq!(readme[start..end], expected, "{encoding}");
        }
    }
}

#[test]
fn every_key_of_the_events_is_explained() {
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let mut keys = 0;
    for line in EVENTS.lines() {
        let event: Value = serde_json::from_str(line).unwrap();
        for key in event["alert"]["metadata"].as_object().into_iter().flat_map(|facts| facts.keys()) {
            assert!(readme.contains(&format!("\n| `{key}` |")), "{key}");
            keys += 1;
        }
    }
    assert!(keys > 200, "{keys}");
}
