//! What a rule proves and who says so: set for a file, refined by a group, refined by a single rule.

use super::old_words;
use super::reader::{Reader, Value};
use super::texts;
use crate::id::{self, PLACE_MAX};
use crate::words::{Class, Confidence, MatchKind, Role, Trait};

/// Keys that every kind of rule has.
pub(super) const FACT_KEYS: [&str; 12] = [
    "role",
    "class",
    "family",
    "confidence",
    "sources",
    "reviewed",
    "alert",
    "alone",
    "traits",
    "place",
    "note",
    "asn",
];

#[derive(Clone, Debug, Default)]
pub(super) struct Facts {
    pub(super) role: Option<Role>,
    pub(super) class: Option<Class>,
    pub(super) family: Option<String>,
    pub(super) confidence: Option<Confidence>,
    pub(super) sources: Vec<String>,
    pub(super) reviewed: Option<String>,
    pub(super) alert: Option<bool>,
    pub(super) alone: Option<bool>,
    pub(super) traits: Vec<Trait>,
    pub(super) place: Option<u32>,
    pub(super) note: Option<String>,
    pub(super) asn: Option<u32>,
    /// The word of the older format that stands instead of a class, and where.
    pub(super) signal: Option<(String, usize)>,
}

impl Facts {
    /// Takes one key; false if it is none that rules have.
    pub(super) fn take(&mut self, reader: &mut Reader<'_>, key: &str, value: &Value<'_>) -> bool {
        match key {
            "role" => self.role = reader.word("role", value),
            "class" => {
                self.class = reader.word("class", value);
                (self.signal, self.family, self.place) = (None, None, None);
            }
            "family" => self.family = family(reader, value),
            "confidence" => self.confidence = reader.word("confidence", value),
            "sources" => self.sources = reader.strings("sources", value),
            "reviewed" => self.reviewed = reader.day("reviewed", value),
            "alert" => self.alert = reader.boolean("alert", value),
            "alone" => self.alone = reader.boolean("alone", value),
            "traits" => self.traits = reader.words("traits", value),
            "place" => self.place = place(reader, value),
            "note" => self.note = reader.string("note", value),
            "asn" => self.asn = reader.number("asn", value),
            "signal" => self.signal = old_words::signal(reader, value).map(|word| (word, value.span().start)),
            _ => return false,
        }
        true
    }

    /// Who contacts it and the place of its id, for a rule of this kind; none where neither class nor signal is given.
    pub(super) fn class_and_place(&self, kind: MatchKind) -> Option<(Class, u32)> {
        if let Some((word, _)) = &self.signal {
            return old_words::class_and_place(word, self.role, kind);
        }
        let class = self.class?;
        Some((class, self.place.unwrap_or(id::default_place(class))))
    }
}

fn family(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<String> {
    let text = reader.string("family", value)?;
    if !texts::is_key(&text) {
        let message = format!("family \"{text}\" is not a word");
        reader.error(value.span().start, "family", message, "use at most 64 of a-z, 0-9 and -");
        return None;
    }
    Some(text)
}

fn place(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<u32> {
    let place = reader.number("place", value)?;
    if !(1..=PLACE_MAX).contains(&place) {
        let message = format!("place {place} is not one of 1 to {PLACE_MAX}");
        reader.error(value.span().start, "place", message, "leave it out: then the class tells it");
        return None;
    }
    Some(place)
}
