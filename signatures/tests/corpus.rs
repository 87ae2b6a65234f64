//! The built-in signatures against names seen in the wild, and against names that only look like it.
//!
//! The vectors of `tests/vectors.tsv` always run. The large corpora are read from `../shared/intel` beside the
//! workspace where they exist; without them those tests say so and pass.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use std::path::PathBuf;
use vigie_signatures::{Bundle, Class, LoadOptions, Name, Rule, normalise};
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

/// The rule that answers for a name in a DNS answer.
fn answer<'b>(bundle: &'b Bundle, raw: &str) -> Option<&'b Rule> {
    let mut buffer = [0; 256];
    let Name::Host(name) = normalise(raw.as_bytes(), &mut buffer) else { panic!("{raw} is no host name") };
    bundle.dns_name(name).map(AsRef::as_ref)
}

#[test]
fn the_built_in_files_have_no_fault() {
    let (bundle, findings) = Bundle::load(&[], LoadOptions::default()).expect("no error");
    assert_eq!(findings, []);
    assert_eq!(bundle.len(), Bundle::builtin().len());
    assert!(bundle.len() > 2_500, "{}", bundle.len());
    assert_eq!(bundle.services().len(), 52);
    assert_eq!(bundle.oldest_review(), Some("2026-11-21"));
    for service in bundle.services() {
        let told = [&service.owner, &service.owner_country, &service.category];
        assert!(told.iter().all(|text| !text.is_empty()), "{service:?}");
        assert_eq!(service.enabled, !["signal", "whatsapp"].contains(&service.key.as_str()), "{}", service.key);
        assert_eq!(service.rules() > 0, service.enabled, "{}", service.key);
    }
}

#[test]
fn own_vectors() {
    let bundle = Bundle::builtin();
    let text = include_str!("vectors.tsv");
    let mut seen = 0;
    for line in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let columns: Vec<&str> = line.split('\t').collect();
        let [name, service, class, family, alerts] = columns[..] else { panic!("{line}") };
        let got = bundle.name(name).map_or(("-", "-", "-", "-"), |rule| {
            let alerts = if rule.raises_alert() { "alert" } else { "silent" };
            (rule.service.as_str(), rule.class.as_str(), rule.family.as_str(), alerts)
        });
        assert_eq!(got, (service, class, family, alerts), "{name}");
        seen += 1;
    }
    assert!(seen >= 150);
}

/// Services that names moved to, away from what the corpus says: it was made before.
fn moved(name: &str) -> Option<&'static str> {
    let first = name.split('.').next().unwrap_or_default();
    let shared = ["isnssdk.com", "sgsnssdk.com", "snssdk.com", "byteoversea.com"];
    if shared.iter().any(|zone| name.ends_with(zone)) && (first.starts_with("pangolin") || first.contains("-csj-")) {
        return Some("pangle");
    }
    (name.starts_with("lf-lemon8-web")).then_some("lemon8")
}

#[test]
fn every_corpus_name_keeps_its_service() {
    let Some(rows) = table("hosts_corpus.tsv") else { return };
    let bundle = Bundle::builtin();
    let mut lost = Vec::new();
    for row in &rows {
        let expected = moved(&row[0]).unwrap_or(&row[3]);
        let got = answer(&bundle, &row[0]).map(|rule| rule.service.as_str());
        // Names of one customer of a cloud below the zone of all its customers: the zone went.
        if got != Some(expected) {
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
        let got = answer(&bundle, &row[0]).map(|rule| rule.service.as_str());
        match row[4].as_str() {
            // These families are judged against other services' rules alone in the corpus.
            "no-match" if row[2] == "unmatched-top-site" && got == Some(row[1].as_str()) => {
                assert!(["netflix", "king"].contains(&row[1].as_str()), "{}", row[0]);
                own.push(row[0].as_str());
            }
            "no-match" => assert_eq!(got, None, "{}", row[0]),
            expected => {
                assert!(expected.starts_with("match-as-") && got.is_some(), "{}", row[0]);
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
        let class = answer(&bundle, &row[0]).map(|rule| rule.class);
        assert_ne!(class, Some(Class::Native), "{}", row[0]);
    }
}

/// Pages of third parties contact nothing that only an app or a person on a service's site contacts.
#[test]
fn no_name_of_a_third_party_page_is_native_or_site() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/intel/pages.jsonl");
    let Ok(text) = std::fs::read_to_string(&path) else {
        skipped(format_args!("the pages are not at {}", path.display()));
        return;
    };
    let bundle = Bundle::builtin();
    let mut hosts: Vec<&str> = text.split('"').filter(|part| part.contains('.') && !part.contains(' ')).collect();
    hosts.sort_unstable();
    hosts.dedup();
    for host in &hosts {
        let rule = answer(&bundle, host).unwrap_or_else(|| panic!("{host} has no rule"));
        let allowed = [Class::Page, Class::Media, Class::Pixel, Class::Sdk, Class::Infra];
        assert!(allowed.contains(&rule.class), "{host}: {} {}", rule.class, rule.text);
    }
    assert!(hosts.len() > 30);
}

#[test]
fn prefixes_answer_as_they_are_listed() {
    let Some(rows) = table("prefixes.tsv") else { return };
    let bundle = Bundle::builtin();
    for row in rows.iter().filter(|row| row[3] == "own" && row[4] == "high") {
        let address = row[0].split('/').next().unwrap().parse().unwrap();
        let rule = bundle.address(address).unwrap_or_else(|| panic!("{}", row[0]));
        // A flow without a name to ByteDance's own network is some ByteDance app's, which one is not known.
        let expected = if row[2] == "tiktok" { "bytedance-infra" } else { row[2].as_str() };
        assert_eq!(rule.service, expected, "{}", row[0]);
        assert_eq!(rule.class == Class::Resolver, expected == "bytedance-infra", "{}", row[0]);
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
