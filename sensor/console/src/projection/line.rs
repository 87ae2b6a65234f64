//! An event of the journal, as far as the projection needs it. Texts without escapes are not copied.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Deref;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

/// A text of the line, or a copy where the line has escapes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Text<'a>(Cow<'a, str>);

/// An EVE event.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Line<'a> {
    #[serde(borrow)]
    pub timestamp: Text<'a>,
    pub event_type: Text<'a>,
    pub in_iface: Text<'a>,
    pub src_port: Option<u16>,
    pub dest_ip: Text<'a>,
    pub dest_port: Option<u16>,
    pub proto: Text<'a>,
    pub community_id: Text<'a>,
    pub alert: Alert<'a>,
    pub tls: Hello<'a>,
    pub quic: Hello<'a>,
    pub flow: Flow,
    pub metadata: Metadata,
}

/// The field `alert`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Alert<'a> {
    pub gid: u64,
    pub signature_id: u64,
    pub severity: u8,
    #[serde(borrow)]
    pub metadata: Facts<'a>,
    pub context: Context,
}

/// `alert.metadata`: texts by key, in the order of the line.
#[derive(Debug, Default)]
pub struct Facts<'a>(Vec<(Text<'a>, Text<'a>)>);

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Context {
    pub vigie: Numbers,
}

/// The numbers of an incident.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Numbers {
    pub revision: u64,
    pub flows: u64,
    pub bytes_toserver: u64,
    pub bytes_toclient: u64,
    pub reason_ids: Vec<ReasonId>,
    pub regions: Vec<RegionBytes>,
    pub first: String,
    pub last: String,
    pub alerts_left_out: u64,
}

/// A reason as programs know it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct ReasonId {
    pub id: String,
    /// Names or families.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub about: Vec<String>,
}

/// Bytes of a region.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct RegionBytes {
    pub region: String,
    pub bytes_toserver: u64,
    pub bytes_toclient: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Hello<'a> {
    #[serde(borrow)]
    pub ja4: Text<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Flow {
    pub bytes_toserver: u64,
    pub bytes_toclient: u64,
}

/// `metadata` beside the alert.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Metadata {
    pub flowints: BTreeMap<String, serde_json::Value>,
}

impl Facts<'_> {
    /// The first text of a key; empty if there is none.
    pub fn one(&self, key: &str) -> &str {
        self.0.iter().find(|(name, _)| &**name == key).map_or("", |(_, text)| text)
    }

    /// All texts of a key.
    pub fn all<'f>(&'f self, key: &'static str) -> impl Iterator<Item = &'f str> {
        self.0.iter().filter(move |(name, _)| &**name == key).map(|(_, text)| &**text)
    }

    /// Whether a key says `true`.
    pub fn is_true(&self, key: &str) -> bool {
        self.one(key) == "true"
    }

    /// All keys in order of the alphabet, each with its texts in one.
    pub fn by_key(&self) -> BTreeMap<&str, String> {
        let mut keys: BTreeMap<&str, String> = BTreeMap::new();
        for (key, text) in &self.0 {
            let texts = keys.entry(key).or_default();
            if !texts.is_empty() {
                texts.push_str(", ");
            }
            texts.push_str(text);
        }
        keys
    }
}

impl Metadata {
    /// A number of the coverage.
    pub fn number(&self, key: &str) -> Option<u64> {
        let value = self.flowints.get(key)?;
        value.as_u64().or_else(|| value.as_f64().map(|number| number.max(0.0) as u64))
    }

    /// A text of the coverage.
    pub fn text(&self, key: &str) -> String {
        match self.flowints.get(key) {
            Some(serde_json::Value::String(text)) => text.clone(),
            Some(value) if !value.is_null() => value.to_string(),
            _ => String::new(),
        }
    }
}

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OfText;
        impl<'de> Visitor<'de> for OfText {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }

            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(OfText)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Facts<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OfMap;
        impl<'de> Visitor<'de> for OfMap {
            type Value = Facts<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("texts by key")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Facts<'de>, M::Error> {
                let mut facts = Vec::with_capacity(FACTS_USUAL);
                while let Some(key) = map.next_key::<Text<'de>>()? {
                    map.next_value_seed(Texts { key, facts: &mut facts })?;
                }
                Ok(Facts(facts))
            }
        }
        deserializer.deserialize_map(OfMap)
    }
}

/// Facts that an alert has, about.
const FACTS_USUAL: usize = 32;

/// The texts of a key, each of which becomes a pair.
struct Texts<'f, 'de> {
    key: Text<'de>,
    facts: &'f mut Vec<(Text<'de>, Text<'de>)>,
}

impl<'de> DeserializeSeed<'de> for Texts<'_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Texts<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of texts")
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut texts: S) -> Result<(), S::Error> {
        while let Some(text) = texts.next_element()? {
            self.facts.push((self.key.clone(), text));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_read_with_and_without_escapes() {
        let text =
            r#"{"event_type":"alert","alert":{"gid":7,"metadata":{"name":["a\u00e9\"b","c"],"no":[],"t":["true"]}}}"#;
        let line: Line<'_> = serde_json::from_str(text).unwrap();
        let facts = &line.alert.metadata;
        assert_eq!(facts.all("name").collect::<Vec<_>>(), ["a\u{e9}\"b", "c"]);
        assert_eq!((facts.one("no"), facts.one("absent"), facts.is_true("t")), ("", "", true));
        let keys: Vec<(&str, String)> = facts.by_key().into_iter().collect();
        assert_eq!(keys, [("name", "a\u{e9}\"b, c".to_owned()), ("t", "true".to_owned())]);
        assert!(serde_json::from_str::<Line<'_>>(r#"{"alert":{"metadata":{"name":"no list"}}}"#).is_err());
    }
}
