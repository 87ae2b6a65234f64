//! Groups of rules: `[[names]]`, `[[patterns]]`, `[[prefixes]]`, `[[fingerprints]]`.

use toml::de::{DeTable, DeValue};

use super::facts::{FACT_KEYS, Facts};
use super::old_words;
use super::reader::{Reader, Value};
use super::texts::{self, Refusal};
use super::{Draft, File, Matches};
use crate::address::Network;
use crate::id;
use crate::pattern;
use crate::rule::Rule;
use crate::words::{Class, Confidence, MatchKind, Role};

/// A group while its rules are read.
struct Group<'f> {
    at: usize,
    facts: Facts,
    file: &'f mut File,
    /// A missing word was reported already.
    faulty: bool,
}

/// Reads one group into the file.
pub(super) fn read_group(reader: &mut Reader<'_>, group: &str, table: &Value<'_>, shared: &Facts, file: &mut File) {
    let at = table.span().start;
    let DeValue::Table(table) = table.get_ref() else {
        return reader.error(at, group, format!("an entry of {group} is no table"), format!("write [[{group}]]"));
    };
    let own_keys: &[&str] = match group {
        "names" => &["exact", "suffix"],
        "patterns" => &["pattern", "zones"],
        "prefixes" => &["prefix"],
        _ => &["ja4"],
    };
    let facts = group_facts(reader, table, own_keys, shared);
    let before = file.drafts.len();
    let mut group = Group { at, facts, file, faulty: false };
    for (key, value) in table.iter() {
        match key.get_ref().as_ref() {
            "exact" => each(reader, &mut group, "exact", value, |text| texts::host(text).map(|()| Matches::Exact)),
            "suffix" => each(reader, &mut group, "suffix", value, |text| texts::host(text).map(|()| Matches::Suffix)),
            "prefix" => each(reader, &mut group, "prefix", value, |text| match text.parse::<Network>() {
                Ok(network) => Ok(Matches::Network(network)),
                Err(message) => Err((message, "write it as 192.0.2.0/24 or 2001:db8::/32".to_owned())),
            }),
            "ja4" => each(reader, &mut group, "ja4", value, texts::ja4),
            "pattern" => read_pattern(reader, &mut group, table, value),
            _ => {}
        }
    }
    if group.file.drafts.len() == before && !reader.has_errors() {
        let mend = format!("give it {}", own_keys.join(" or "));
        reader.error(at, "", "the group has no rule in it", mend);
    }
}

/// The file's facts with those of the group over them. `class` comes first: it clears what belongs to another class.
fn group_facts(reader: &mut Reader<'_>, table: &DeTable<'_>, own_keys: &[&str], shared: &Facts) -> Facts {
    let mut facts = shared.clone();
    let known = || [own_keys, &FACT_KEYS].concat().join(", ");
    take_facts(reader, &mut facts, table, |word| own_keys.contains(&word), known);
    facts
}

fn take_facts(
    reader: &mut Reader<'_>,
    facts: &mut Facts,
    table: &DeTable<'_>,
    is_own: impl Fn(&str) -> bool,
    known: impl Fn() -> String,
) {
    for first in [true, false] {
        for (key, value) in table.iter() {
            let word = key.get_ref().as_ref();
            if is_own(word) || (word == "class") != first {
                continue;
            }
            if word == "signal" && table.contains_key("class") {
                continue;
            }
            if !facts.take(reader, word, value) {
                reader.unknown_key(key.span().start, word, &known());
            }
        }
    }
}

/// Reads every rule of a list, or of a table from rule to sources or facts.
fn each(
    reader: &mut Reader<'_>,
    group: &mut Group<'_>,
    key: &str,
    value: &Value<'_>,
    read: impl Fn(&str) -> Result<Matches, Refusal>,
) {
    match value.get_ref() {
        DeValue::Array(list) => {
            for one in list.iter() {
                let at = one.span().start;
                let Some(text) = one.get_ref().as_str() else {
                    reader.error(at, key, format!("an entry of {key} is not a string"), "put it in quotes");
                    continue;
                };
                let facts = group.facts.clone();
                add_rule(reader, group, at, text, read(text), facts);
            }
        }
        DeValue::Table(table) => {
            for (name, value) in table.iter() {
                let (at, text) = (name.span().start, name.get_ref().as_ref());
                let facts = rule_facts(reader, group, text, value);
                add_rule(reader, group, at, text, read(text), facts);
            }
        }
        _ => reader.error(value.span().start, key, format!("{key} is neither list nor table"), "write a list"),
    }
}

/// The group's facts with those of a single rule over them: its sources, or a table of facts.
fn rule_facts(reader: &mut Reader<'_>, group: &Group<'_>, text: &str, value: &Value<'_>) -> Facts {
    let mut facts = group.facts.clone();
    match value.get_ref() {
        DeValue::Table(table) => take_facts(reader, &mut facts, table, |_| false, || FACT_KEYS.join(", ")),
        DeValue::Array(_) => facts.sources = reader.strings("sources", value),
        _ => {
            let mend = "write a list of sources, or a table such as { sources = [\"…\"], alert = false }";
            reader.error(value.span().start, text, format!("\"{text}\" has neither sources nor a table"), mend);
        }
    }
    facts
}

fn read_pattern(reader: &mut Reader<'_>, group: &mut Group<'_>, table: &DeTable<'_>, value: &Value<'_>) {
    let at = value.span().start;
    let Some(head) = reader.string("pattern", value) else { return };
    let zones = table.iter().find(|(key, _)| key.get_ref() == "zones");
    let zones: Vec<String> = match zones {
        Some((_, zones)) => reader.strings("zones", zones),
        None => Vec::new(),
    };
    if zones.is_empty() {
        let mend = "add zones = [\"example.com\"], the names below which the pattern is tried";
        return reader.error(at, "zones", "the pattern has no zones", mend);
    }
    let mut sound = Ok(());
    for zone in &zones {
        sound = sound.and(texts::host(zone));
    }
    if head.is_empty() || head.bytes().any(|byte| byte.is_ascii_uppercase() || !byte.is_ascii_graphic()) {
        let message = format!("pattern \"{head}\" is empty or not in lower-case ASCII");
        sound = Err((message, "write it in lower case".to_owned()));
    }
    if let Err(reason) = pattern::read(&head).and_then(|head| pattern::program(&[head])) {
        let mend = "mend the regular expression; it must match the labels before the zone whole".to_owned();
        sound = Err((format!("pattern \"{head}\": {reason}"), mend));
    }
    let escaped: Vec<String> = zones.iter().map(|zone| zone.replace('.', "\\.")).collect();
    let text = format!("^(?:{head})\\.(?:{})$", escaped.join("|"));
    let facts = group.facts.clone();
    let matches = sound.map(|()| Matches::Pattern { head, zones });
    add_rule(reader, group, at, &text, matches, facts);
}

fn add_rule(
    reader: &mut Reader<'_>,
    group: &mut Group<'_>,
    at: usize,
    text: &str,
    matches: Result<Matches, Refusal>,
    facts: Facts,
) {
    let matches = match matches {
        Ok(matches) => matches,
        Err((message, mend)) => return reader.error(at, text, message, mend),
    };
    let kind = match &matches {
        Matches::Exact => MatchKind::Exact,
        Matches::Suffix => MatchKind::Suffix,
        Matches::Pattern { .. } => MatchKind::Pattern,
        Matches::Network(_) => MatchKind::Prefix,
        Matches::Ja4 => MatchKind::Ja4,
    };
    let (Some(role), Some((class, place)), Some(confidence)) =
        (facts.role, facts.class_and_place(kind), facts.confidence)
    else {
        return report_missing_word(reader, group, text, &facts);
    };
    if let Some((word, at)) = &facts.signal {
        old_words::warn(reader, *at, word, class, place);
    }
    if facts.sources.is_empty() {
        let mend = "say who says so: sources = [\"…\"] on the group or the rule";
        return reader.error(at, text, format!("\"{text}\" has no source"), mend);
    }
    let Some(reviewed) = facts.reviewed else {
        let mend = "add reviewed = \"YYYY-MM-DD\" to the file, the group or the rule";
        return reader.error(at, text, format!("\"{text}\" has no review date"), mend);
    };
    let text = if let Matches::Network(network) = &matches { network.to_string() } else { text.to_owned() };
    let rule = Rule {
        signature_id: id::offset(kind, place, facts.alert.unwrap_or(true)),
        service: group.file.header.service.clone(),
        service_name: String::new(),
        role,
        class,
        family: facts.family.unwrap_or_else(|| class.default_family().to_owned()),
        traits: facts.traits,
        alone: facts.alone.unwrap_or(true),
        confidence,
        kind,
        text,
        asn: facts.asn,
        sources: facts.sources,
        reviewed,
        file: reader.label().to_owned(),
        line: reader.line(at),
    };
    group.file.drafts.push(Draft { rule, matches, note: facts.note });
}

/// Reports a missing word once per group: its rules all miss the same one.
fn report_missing_word(reader: &mut Reader<'_>, group: &mut Group<'_>, text: &str, facts: &Facts) {
    if std::mem::replace(&mut group.faulty, true) || reader.has_errors() {
        return;
    }
    let listed = |words: Vec<&str>| words.join(", ");
    let (key, words) = match (facts.role, facts.class) {
        (None, _) => ("role", listed(Role::ALL.iter().map(|word| word.as_str()).collect())),
        (_, None) if facts.signal.is_none() => ("class", listed(Class::ALL.iter().map(|word| word.as_str()).collect())),
        _ => ("confidence", listed(Confidence::ALL.iter().map(|word| word.as_str()).collect())),
    };
    reader.error(group.at, key, format!("\"{text}\" has no {key}"), format!("add {key} = one of {words}"));
}
