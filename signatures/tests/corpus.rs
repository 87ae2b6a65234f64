//! The built-in signatures against names seen in the wild, and against names that only look like it.
//!
//! The vectors of `tests/vectors.tsv` always run. The large corpora are read from `../shared/intel` beside the
//! workspace where they exist; without them those tests say so and pass.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use std::path::PathBuf;
use vigie_signatures::{Bundle, LoadOptions, Name, Rule, normalise};
use vigie_skip::skipped;

/// Sources whose licences do not allow their facts in the bundle; see SOURCES.md.
const UNSHIPPED: [&str; 5] = ["adguard", "ddg", "hagezi", "hagezi-issues", "ndpi"];
/// Corpus names that only such a source knows, and that no other rule covers alike.
const LOST_MAX: usize = 1;
/// Top-site names that the corpus calls look-alikes of Netflix or King, yet that are their owners' own.
const OWN_AFTER_ALL: usize = 9;

fn table(name: &str) -> Option<Vec<Vec<String>>> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/intel").join(name);
    let Ok(text) = std::fs::read_to_string(&path) else {
        skipped(format_args!("the corpus is not at {}", path.display()));
        return None;
    };
    let rows = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    Some(rows.map(|line| line.split('\t').map(str::to_owned).collect()).collect())
}

fn answer(bundle: &Bundle, raw: &str) -> Option<(String, String)> {
    let mut buffer = [0; 256];
    let Name::Host(name) = normalise(raw.as_bytes(), &mut buffer) else { panic!("{raw} is no host name") };
    bundle.dns_name(name).map(|rule| (rule.service.clone(), rule.signal().to_owned()))
}

#[test]
fn the_built_in_files_have_no_fault() {
    let (bundle, findings) = Bundle::load(&[], LoadOptions::default()).expect("no error");
    assert_eq!(findings, []);
    assert_eq!(bundle.len(), Bundle::builtin().len());
    assert!(bundle.len() > 2_500, "{}", bundle.len());
    assert_eq!(bundle.services().len(), 43);
    assert_eq!(bundle.oldest_review(), Some("2026-11-21"));
}

#[test]
fn own_vectors() {
    let bundle = Bundle::builtin();
    let text = include_str!("vectors.tsv");
    let mut seen = 0;
    for line in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let columns: Vec<&str> = line.split('\t').collect();
        let [name, service, signal, alerts] = columns[..] else { panic!("{line}") };
        let rule = bundle.name(name).map(AsRef::as_ref);
        let got = rule.map_or(("-", "-", "-"), |rule: &Rule| {
            (rule.service.as_str(), rule.signal(), if rule.raises_alert() { "alert" } else { "silent" })
        });
        assert_eq!(got, (service, signal, alerts), "{name}");
        seen += 1;
    }
    assert!(seen >= 40);
}

#[test]
fn every_corpus_name_keeps_its_service_and_signal() {
    let Some(rows) = table("hosts_corpus.tsv") else { return };
    let bundle = Bundle::builtin();
    let mut lost = Vec::new();
    for row in &rows {
        let expected = Some((row[3].clone(), row[4].clone()));
        let got = answer(&bundle, &row[0]);
        if got != expected {
            assert!(row[1].split(',').all(|origin| UNSHIPPED.contains(&origin)), "{}: {got:?}", row[0]);
            lost.push(row[0].as_str());
        }
    }
    println!("{} names, {} answered otherwise for want of a shipped source: {lost:?}", rows.len(), lost.len());
    assert!(rows.len() > 3_000 && lost.len() <= LOST_MAX, "{lost:?}");
}

#[test]
fn no_look_alike_is_taken_for_the_service() {
    let Some(rows) = table("lookalikes.tsv") else { return };
    let bundle = Bundle::builtin();
    let mut own = Vec::new();
    for row in &rows {
        let got = answer(&bundle, &row[0]);
        match row[4].as_str() {
            // These families are judged against other services' rules alone in the corpus.
            "no-match" if row[2] == "unmatched-top-site" && got.as_ref().is_some_and(|got| got.0 == row[1]) => {
                assert!(["netflix", "king"].contains(&row[1].as_str()), "{}", row[0]);
                own.push(row[0].as_str());
            }
            "no-match" => assert_eq!(got, None, "{}", row[0]),
            expected => {
                let signal = expected.strip_prefix("match-as-").expect("a match");
                assert_eq!(got.map(|got| got.1).as_deref(), Some(signal), "{}", row[0]);
            }
        }
    }
    println!("{} names, {} of them the owner's own after all: {own:?}", rows.len(), own.len());
    assert!(rows.len() > 1_000 && own.len() <= OWN_AFTER_ALL, "{own:?}");
}

#[test]
fn nothing_seen_in_a_browser_proves_the_app() {
    let Some(rows) = table("hosts_corpus.tsv") else { return };
    let bundle = Bundle::builtin();
    for row in rows.iter().filter(|row| row[2].contains("web-observed") || row[2].contains("embed-observed")) {
        assert_ne!(answer(&bundle, &row[0]).map(|got| got.1).as_deref(), Some("app-only"), "{}", row[0]);
    }
}

#[test]
fn prefixes_answer_as_they_are_listed() {
    let Some(rows) = table("prefixes.tsv") else { return };
    let bundle = Bundle::builtin();
    for row in rows.iter().filter(|row| row[3] == "own" && row[4] == "high") {
        let address = row[0].split('/').next().unwrap().parse().unwrap();
        let rule = bundle.address(address).unwrap_or_else(|| panic!("{}", row[0]));
        assert_eq!(rule.service, row[2], "{}", row[0]);
        assert!(rule.raises_alert() && rule.severity() == 3, "{}", row[0]);
        assert!(bundle.asn(address).is_some());
    }
    for row in rows.iter().filter(|row| row[3] == "cloud" && row[4] == "high") {
        let address = row[0].split('/').next().unwrap().parse().unwrap();
        assert!(!bundle.address(address).unwrap().raises_alert(), "{}", row[0]);
    }
}

#[test]
fn every_source_is_documented_and_none_is_barred() {
    let documented = include_str!("../SOURCES.md");
    for rule in Bundle::builtin().rules() {
        for source in &rule.sources {
            let code = if source.starts_with("gh:") { "gh:…" } else { source };
            assert!(documented.contains(&format!("`{code}`")), "{source} of {}", rule.text);
            assert!(!UNSHIPPED.contains(&code), "{source} of {}", rule.text);
        }
    }
}
