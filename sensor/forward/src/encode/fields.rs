//! What CEF and LEEF have in common: lines of `key=value` for an event.
//!
//! Both are lines: what would end one, and all other control characters, become spaces or an escape. Values are bounded,
//! and the event says which were cut.

use std::fmt::{Display, Write};

use serde_json::Value;

use super::event::{Event, Hello};

/// Longest value, bytes before it is escaped. Both formats' readers accept this much in a text field.
pub(super) const VALUE_BYTES_MAX: usize = 1_023;
/// Most values of an event that have no key in the format. Hostile lines could have any number.
const OWN_MAX: usize = 64;
/// Longest key of ours.
const KEY_BYTES_MAX: usize = 64;

/// How a format writes fields.
pub(super) struct Format {
    /// What stands between two fields.
    pub separator: u8,
    /// Appends a value.
    pub push_value: fn(&str, &mut Vec<u8>),
}

/// The fields of a line, written as they are added.
pub(super) struct Fields<'o> {
    out: &'o mut Vec<u8>,
    format: &'static Format,
    is_first: bool,
    /// Keys of values that are not whole.
    cut: String,
    /// The value that is being added, and its key if that is one of ours.
    value: String,
    own_key: String,
    /// Values under keys of ours.
    own: usize,
}

impl<'o> Fields<'o> {
    /// Fields at the end of `out`.
    pub const fn new(format: &'static Format, out: &'o mut Vec<u8>) -> Self {
        Self { out, format, is_first: true, cut: String::new(), value: String::new(), own_key: String::new(), own: 0 }
    }

    /// Adds a field if it has a value.
    pub fn add(&mut self, key: &str, value: Option<impl Display>) {
        if let Some(value) = value {
            // A string takes all that is written.
            let _ = write!(self.value, "{value}");
            self.end(key);
        }
    }

    /// Adds a field of several texts if there are any.
    pub fn add_joined<'t>(&mut self, key: &str, values: impl IntoIterator<Item = &'t str>, separator: &str) {
        for (place, value) in values.into_iter().enumerate() {
            if place > 0 {
                self.value.push_str(separator);
            }
            self.value.push_str(value);
        }
        self.end(key);
    }

    fn end(&mut self, key: &str) {
        if !self.value.is_empty() {
            if !self.is_first {
                self.out.push(self.format.separator);
            }
            self.is_first = false;
            self.out.extend_from_slice(key.as_bytes());
            self.out.push(b'=');
            let kept = cut(&self.value);
            (self.format.push_value)(kept, self.out);
            if kept.len() < self.value.len() {
                self.is_cut(key);
            }
        }
        self.value.clear();
    }

    fn is_cut(&mut self, key: &str) {
        if !self.cut.is_empty() {
            self.cut.push_str(", ");
        }
        self.cut.push_str(key);
    }

    /// Adds what the format has no key for, under keys of ours that begin with `vigie`: `alert.metadata` but for the keys in
    /// `known`, an incident's numbers, the sensor's counts.
    pub fn add_own(&mut self, event: &Event<'_>, known: &[&str]) {
        for (key, texts) in event.alert.metadata.iter().filter(|(key, _)| !known.contains(key)) {
            self.own(key, texts.iter().map(|text| &**text));
        }
        for (key, value) in event.numbers().iter().chain(event.coverage()) {
            self.own_value(key, Some(value));
        }
        for (section, value) in event.stats.iter().filter_map(Value::as_object).flatten() {
            match value.as_object() {
                Some(counts) => {
                    counts.iter().for_each(|(key, count)| self.own_value(&format!("{section}_{key}"), Some(count)));
                }
                None => self.own_value(section, Some(value)),
            }
        }
        let hello = event.hello();
        self.own("ja4", hello.and_then(Hello::ja4));
        self.own("hello_version", hello.and_then(Hello::version));
        self.own("alpn", hello.into_iter().flat_map(Hello::alpn));
        self.own("user_agent", hello.and_then(Hello::user_agent));
        self.own("community_id", event.community_id.as_deref());
        self.own_value("tunnel_outer", event.tunnel.as_ref());
        self.own_value("dns", event.dns.as_ref());
        self.own("truncated", event.truncated());
        if self.own > OWN_MAX {
            self.is_cut("vigie");
        }
    }

    /// A text without quotes, any other value as JSON.
    fn own_value(&mut self, key: &str, value: Option<&Value>) {
        match value {
            Some(Value::String(text)) => self.own(key, Some(&**text)),
            Some(value) if self.own < OWN_MAX => self.own(key, Some(&*value.to_string())),
            Some(_) => self.own += 1,
            None => {}
        }
    }

    fn own<'t>(&mut self, key: &str, values: impl IntoIterator<Item = &'t str>) {
        let mut values = values.into_iter().peekable();
        if values.peek().is_none() {
            return;
        }
        self.own += 1;
        if self.own <= OWN_MAX {
            let mut own_key = std::mem::take(&mut self.own_key);
            write_own_key(key, &mut own_key);
            self.add_joined(&own_key, values, ", ");
            self.own_key = own_key;
        }
    }

    /// Adds a field that says which values are not whole.
    pub fn finish(mut self) {
        if !self.cut.is_empty() {
            let keys = std::mem::take(&mut self.cut);
            self.add("vigieCut", Some(cut(&keys)));
        }
    }
}

/// The character, or a space in place of one that has no place in a line.
pub(super) fn in_a_line(character: char) -> char {
    if character.is_control() || matches!(character, '\u{2028}' | '\u{2029}') { ' ' } else { character }
}

/// Whether a text is nothing but visible ASCII and spaces, without these characters: nearly all are, and are copied whole.
pub(super) fn is_plain(text: &str, special: &[u8]) -> bool {
    text.bytes().all(|byte| (b' '..=b'~').contains(&byte) && !special.contains(&byte))
}

/// Appends a character.
pub(super) fn push(character: char, out: &mut Vec<u8>) {
    out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
}

/// As much of a text as a value may hold.
fn cut(text: &str) -> &str {
    let end = (0..=VALUE_BYTES_MAX.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    text.get(..end.unwrap_or_default()).unwrap_or_default()
}

/// `incident_state` as `vigieIncidentState`: readers of both formats accept letters and digits only.
fn write_own_key(key: &str, own: &mut String) {
    own.clear();
    own.push_str("vigie");
    let words = key.split(|character: char| !character.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    for word in words.take(KEY_BYTES_MAX) {
        let (first, rest) = word.split_at(1);
        own.push(char::from(first.as_bytes().first().map_or(b'_', u8::to_ascii_uppercase)));
        own.push_str(rest);
    }
    own.truncate(KEY_BYTES_MAX);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own_key(key: &str) -> String {
        let mut own = String::new();
        write_own_key(key, &mut own);
        own
    }

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
        assert_eq!(own_key(&"x_".repeat(1_000)).len(), KEY_BYTES_MAX);
    }

    #[test]
    fn long_values_are_cut_between_characters_and_the_event_says_so() {
        const PLAIN: Format =
            Format { separator: b' ', push_value: |text, out| out.extend_from_slice(text.as_bytes()) };
        let mut out = Vec::new();
        let mut fields = Fields::new(&PLAIN, &mut out);
        fields.add("short", Some("x".repeat(VALUE_BYTES_MAX)));
        fields.add("long", Some("é".repeat(VALUE_BYTES_MAX)));
        fields.add("empty", Some(""));
        fields.finish();
        let text = String::from_utf8(out).unwrap();
        let fields: Vec<_> = text.split(' ').map(|field| field.split_once('=').unwrap()).collect();
        let lengths: Vec<_> = fields.iter().map(|(key, value)| (*key, value.len())).collect();
        assert_eq!(lengths, [("short", 1_023), ("long", 1_022), ("vigieCut", 4)]);
        assert_eq!(fields[2].1, "long");
    }
}
