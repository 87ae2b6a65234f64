//! What CEF and LEEF have in common: lines of `key=value` for an event.
//!
//! Both are lines: what would end one, and all other control characters, become spaces or an escape. Values are bounded,
//! and the event says which were cut.

use serde_json::Value;

use super::event::Event;

/// Longest value, bytes before it is escaped. Both formats' readers accept this much in a text field.
pub(super) const VALUE_BYTES_MAX: usize = 1_023;
/// Most values of an event that have no key in the format. Hostile lines could have any number.
const OWN_MAX: usize = 64;
/// Longest key of ours.
const KEY_BYTES_MAX: usize = 64;

/// The fields of a line, in order.
#[derive(Default)]
pub(super) struct Fields {
    fields: Vec<(String, String)>,
    cut: Vec<String>,
}

impl Fields {
    /// Adds a field if it has a value.
    pub fn add(&mut self, key: &str, value: Option<impl ToString>) {
        let Some(value) = value.map(|value| value.to_string()).filter(|value| !value.is_empty()) else { return };
        let kept = cut(&value);
        if kept.len() < value.len() {
            self.cut.push(key.to_owned());
        }
        self.fields.push((key.to_owned(), kept.to_owned()));
    }

    /// Adds what the format has no key for, under keys of ours that begin with `vigie`: `alert.metadata` but for the keys in
    /// `known`, an incident's numbers, the sensor's counts.
    pub fn add_own(&mut self, event: &Event, known: &[&str]) {
        let metadata = event.alert.metadata.0.iter().filter(|(key, _)| !known.contains(&key.as_str()));
        let metadata = metadata.map(|(key, texts)| (key.clone(), texts.join(", ")));
        let numbers = event.numbers().iter().map(|(key, value)| (key.clone(), text(value)));
        let coverage = event.coverage().map(|(key, value)| (key.to_owned(), text(value)));
        let stats = event.stats.iter().flat_map(flat);
        let hello = event.hello();
        let hello = [
            ("ja4", hello.and_then(|hello| hello.ja4.clone())),
            ("hello_version", hello.and_then(|hello| hello.version.clone())),
            ("alpn", hello.map(|hello| hello.alpn().join(", "))),
            ("user_agent", hello.and_then(|hello| hello.ua.clone())),
            ("community_id", event.community_id.clone()),
            ("tunnel_outer", event.tunnel.as_ref().map(text)),
            ("dns", event.dns.as_ref().map(text)),
            ("truncated", Some(event.metadata.flowbits.join(", "))),
        ];
        let hello = hello.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?)));
        let mut own = metadata.chain(numbers).chain(coverage).chain(stats).chain(hello);
        for (key, value) in own.by_ref().take(OWN_MAX) {
            self.add(&own_key(&key), Some(value));
        }
        if own.next().is_some() {
            self.cut.push("vigie".to_owned());
        }
    }

    /// All fields, then one that says which values are not whole.
    pub fn into_vec(mut self) -> Vec<(String, String)> {
        if !self.cut.is_empty() {
            let cut_fields = cut(&self.cut.join(", ")).to_owned();
            self.fields.push(("vigieCut".to_owned(), cut_fields));
        }
        self.fields
    }
}

/// The character, or a space in place of one that has no place in a line.
pub(super) fn in_a_line(character: char) -> char {
    if character.is_control() || matches!(character, '\u{2028}' | '\u{2029}') { ' ' } else { character }
}

/// As much of a text as a value may hold.
fn cut(text: &str) -> &str {
    let end = (0..=VALUE_BYTES_MAX.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    text.get(..end.unwrap_or_default()).unwrap_or_default()
}

/// `incident_state` as `vigieIncidentState`: readers of both formats accept letters and digits only.
fn own_key(key: &str) -> String {
    let words = key.split(|character: char| !character.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let mut own = "vigie".to_owned();
    for word in words {
        let (first, rest) = word.split_at(1);
        own.push_str(&first.to_ascii_uppercase());
        own.push_str(rest);
    }
    own.truncate(KEY_BYTES_MAX);
    own
}

/// A text without quotes, any other value as JSON.
fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The counts of all sections of `stats`: `capture_kernel_drops`.
fn flat(stats: &Value) -> Vec<(String, String)> {
    let mut flat = Vec::new();
    for (section, value) in stats.as_object().into_iter().flatten() {
        match value.as_object() {
            Some(counts) => flat.extend(counts.iter().map(|(key, count)| (format!("{section}_{key}"), text(count)))),
            None => flat.push((section.clone(), text(value))),
        }
    }
    flat
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_ours_are_letters_and_digits() {
        for (key, own) in [
            ("incident_state", "vigieIncidentState"),
            ("ja4", "vigieJa4"),
            ("a|b=c\n", "vigieABC"),
            ("élan", "vigieLan"),
            ("", "vigie"),
        ] {
            assert_eq!(own_key(key), own);
        }
        assert_eq!(own_key(&"x".repeat(1_000)).len(), KEY_BYTES_MAX);
    }

    #[test]
    fn long_values_are_cut_between_characters_and_the_event_says_so() {
        let mut fields = Fields::default();
        fields.add("short", Some("x".repeat(VALUE_BYTES_MAX)));
        fields.add("long", Some("é".repeat(VALUE_BYTES_MAX)));
        fields.add("empty", Some(""));
        let fields = fields.into_vec();
        let lengths: Vec<_> = fields.iter().map(|(key, value)| (key.as_str(), value.len())).collect();
        assert_eq!(lengths, [("short", 1_023), ("long", 1_022), ("vigieCut", 4)]);
        assert_eq!(fields[2].1, "long");
    }
}
