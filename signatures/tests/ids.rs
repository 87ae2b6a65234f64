//! Signature ids of the built-in rules are an interface. `ids.tsv` has those of version 0.1.0, `ids_changed.tsv` the rules
//! whose class says something else about the device since then.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use std::collections::HashMap;
use vigie_signatures::{Bundle, MatchKind};

type Key<'t> = (&'t str, MatchKind, &'t str, Option<u32>);

fn table(text: &str) -> HashMap<Key<'_>, Option<u32>> {
    let rows = text.lines().filter(|line| !line.starts_with('#'));
    rows.map(|line| {
        let columns: Vec<&str> = line.split('\t').collect();
        let [service, kind, text, asn, id] = columns[..] else { panic!("{line}") };
        ((service, kind.parse().unwrap(), text, asn.parse().ok()), id.parse().ok())
    })
    .collect()
}

#[test]
fn ids_are_what_they_were() {
    let bundle = Bundle::builtin();
    let now: HashMap<Key<'_>, u32> = bundle
        .rules()
        .iter()
        .map(|rule| ((rule.service.as_str(), rule.kind, rule.text.as_str(), rule.asn), rule.signature_id))
        .collect();
    let before = table(include_str!("ids.tsv"));
    let changed = table(include_str!("ids_changed.tsv"));
    for (key, id) in &before {
        let expected = changed.get(key).unwrap_or(id);
        assert_eq!(now.get(key), expected.as_ref(), "{key:?}");
    }
    assert!(before.len() > 2_500 && changed.keys().all(|key| before.contains_key(key)));
    let of_names = changed.keys().filter(|(_, kind, ..)| *kind != MatchKind::Prefix).count();
    assert!(of_names <= 90, "{of_names}");
}
