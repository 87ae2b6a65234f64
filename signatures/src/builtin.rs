//! The signatures built in. The crate's build script reads and checks the files of `services/` with the parser that
//! reads the operator's, and writes down what they say; so a start takes them as they are.

use crate::address::Network;
use crate::parse::{Draft, File, Header, Matches};
use crate::rule::Rule;
use crate::words::{Class, Confidence, MatchKind, Role, Trait};

include!(concat!(env!("OUT_DIR"), "/services.rs"));

/// What a file of `services/` says.
struct BuiltinFile {
    label: &'static str,
    service: &'static str,
    name: Option<&'static str>,
    owner: Option<&'static str>,
    owner_country: Option<&'static str>,
    category: Option<&'static str>,
    base: Option<u32>,
    enabled: Option<bool>,
    line: u32,
    /// In order of line.
    rules: &'static [BuiltinRule],
}

/// What it says of a rule.
struct BuiltinRule {
    kind: MatchKind,
    text: &'static str,
    /// Expression and zones of a pattern.
    pattern: Option<(&'static str, &'static [&'static str])>,
    /// What is added to the service's base.
    id_offset: u32,
    role: Role,
    class: Class,
    family: &'static str,
    traits: &'static [Trait],
    alone: bool,
    confidence: Confidence,
    asn: Option<u32>,
    sources: &'static [&'static str],
    reviewed: &'static str,
    note: Option<&'static str>,
    line: u32,
}

/// All files, as parsing their texts would give them.
pub(crate) fn files() -> impl Iterator<Item = File> {
    FILES.iter().map(|file| File {
        label: file.label.to_owned(),
        header: Header {
            service: file.service.to_owned(),
            name: file.name.map(str::to_owned),
            owner: file.owner.map(str::to_owned),
            owner_country: file.owner_country.map(str::to_owned),
            category: file.category.map(str::to_owned),
            base: file.base,
            replace: false,
            enabled: file.enabled,
            silent: false,
            line: file.line,
        },
        silences: Vec::new(),
        drafts: file.rules.iter().filter_map(|rule| draft(file, rule)).collect(),
    })
}

/// A rule as parsing would give it; none only of a prefix that cannot be read, which no build lets through.
fn draft(file: &BuiltinFile, rule: &BuiltinRule) -> Option<Draft> {
    let matches = match (rule.kind, rule.pattern) {
        (MatchKind::Exact, _) => Matches::Exact,
        (MatchKind::Suffix, _) => Matches::Suffix,
        (MatchKind::Ja4, _) => Matches::Ja4,
        (MatchKind::Prefix, _) => Matches::Network(rule.text.parse::<Network>().ok()?),
        (MatchKind::Pattern, pattern) => {
            let (head, zones) = pattern?;
            Matches::Pattern { head: head.to_owned(), zones: owned(zones) }
        }
    };
    let told = Rule {
        signature_id: rule.id_offset,
        service: file.service.to_owned(),
        service_name: String::new(),
        role: rule.role,
        class: rule.class,
        family: rule.family.to_owned(),
        traits: rule.traits.to_vec(),
        alone: rule.alone,
        confidence: rule.confidence,
        kind: rule.kind,
        text: rule.text.to_owned(),
        asn: rule.asn,
        sources: owned(rule.sources),
        reviewed: rule.reviewed.to_owned(),
        file: file.label.to_owned(),
        line: rule.line,
    };
    Some(Draft { rule: told, matches, note: rule.note.map(str::to_owned) })
}

fn owned(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::{Bundle, LoadOptions, SourceText};
    use std::path::Path;

    /// A name given twice is found here: the build script reads each file alone.
    #[test]
    fn the_built_in_are_what_their_texts_say() {
        let texts = FILES.iter().map(|file| {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file.label);
            SourceText { label: file.label.to_owned(), text: std::fs::read_to_string(path).unwrap() }
        });
        let options = LoadOptions { builtin: false, ..LoadOptions::default() };
        let (read, findings) = Bundle::from_texts(&[texts.collect()], options).unwrap();
        assert_eq!(findings, []);
        let builtin = Bundle::builtin();
        assert_eq!(builtin.services(), read.services());
        assert_eq!(builtin.len(), read.len());
        for (one, other) in builtin.rules().iter().zip(read.rules()) {
            assert_eq!(format!("{one:?}"), format!("{other:?}"));
            assert_eq!(builtin.note(one), read.note(other));
        }
    }
}
