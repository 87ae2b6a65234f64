//! Signature ids of the built-in rules are an interface: `tests/ids.tsv` has those of version 0.1.0.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use std::collections::HashMap;
use vigie_signatures::{Bundle, MatchKind};

#[test]
fn ids_are_what_they_were() {
    let bundle = Bundle::builtin();
    let ids: HashMap<(&str, MatchKind, &str, Option<u32>), u32> = bundle
        .rules()
        .iter()
        .map(|rule| ((rule.service.as_str(), rule.kind, rule.text.as_str(), rule.asn), rule.signature_id))
        .collect();
    let mut seen = 0;
    for line in include_str!("ids.tsv").lines().filter(|line| !line.starts_with('#')) {
        let columns: Vec<&str> = line.split('\t').collect();
        let [service, kind, text, asn, id] = columns[..] else { panic!("{line}") };
        let key = (service, kind.parse().unwrap(), text, asn.parse().ok());
        assert_eq!(ids.get(&key).copied(), id.parse().ok(), "{line}");
        seen += 1;
    }
    assert!(seen > 2_500);
}
