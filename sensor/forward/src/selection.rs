//! Which events a receiver gets, and what delivery needs to know of an event: its class, id, time and sensor.

use std::borrow::Cow;
use std::str::FromStr;

use serde::Deserialize;
use vigie_journal::eve::{GENERATOR_AUDIT, GENERATOR_INCIDENT};

/// Classes of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// An incident opened, rose, continues or was closed.
    Incidents,
    /// A flow under an incident.
    Alerts,
    /// What people did, and what the forwarder has to say.
    Audit,
    /// What the sensor saw, each minute and interface.
    Coverage,
    /// A segment of the journal was sealed.
    Seals,
}

/// The signature of seals among the audit's (`alert.signature_id`).
pub const SIGNATURE_SEAL: u32 = 101;
/// The signature of losses among the audit's.
pub const SIGNATURE_LOST: u32 = 102;

impl Class {
    /// The words in the file.
    pub const WORDS: [&str; 5] = ["incidents", "alerts", "audit", "coverage", "seals"];
    const ALL: [Self; 5] = [Self::Incidents, Self::Alerts, Self::Audit, Self::Coverage, Self::Seals];

    /// The word for one event, such as a MSGID of syslog.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Incidents => "incident",
            Self::Alerts => "alert",
            Self::Audit => "audit",
            Self::Coverage => "coverage",
            Self::Seals => "seal",
        }
    }

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

impl FromStr for Class {
    type Err = ();

    fn from_str(word: &str) -> Result<Self, ()> {
        Self::WORDS.iter().zip(Self::ALL).find(|(known, _)| **known == word).map(|(_, class)| class).ok_or(())
    }
}

/// A set of classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Selection(u8);

impl Selection {
    /// These classes.
    pub fn of(classes: &[Class]) -> Self {
        Self(classes.iter().fold(0, |set, class| set | class.bit()))
    }

    /// Whether it has this class.
    pub const fn has(self, class: Class) -> bool {
        self.0 & class.bit() != 0
    }
}

/// What delivery needs to know of an event. Texts are as they stand in the line.
#[derive(Debug, Deserialize)]
pub struct Head<'l> {
    #[serde(borrow, default)]
    timestamp: Cow<'l, str>,
    #[serde(borrow, default)]
    event_type: Cow<'l, str>,
    /// The sensor.
    #[serde(borrow, default)]
    pub host: Cow<'l, str>,
    alert: Option<AlertHead>,
}

#[derive(Debug, Default, Deserialize)]
struct AlertHead {
    #[serde(default)]
    gid: u64,
    #[serde(default)]
    signature_id: u32,
    severity: Option<u8>,
    #[serde(default)]
    metadata: MetadataHead,
}

#[derive(Debug, Default, Deserialize)]
struct MetadataHead {
    #[serde(default)]
    event_id: Vec<String>,
    #[serde(default)]
    incident: Vec<String>,
}

impl<'l> Head<'l> {
    /// Reads a line. `None` if it is no JSON object.
    pub fn parse(line: &'l [u8]) -> Option<Self> {
        serde_json::from_slice(line).ok()
    }

    /// Its class. Records of traffic (`tls`, `flow`, …), which only a debugging sensor writes, go where alerts go.
    pub fn class(&self) -> Class {
        match (&*self.event_type, &self.alert) {
            ("stats", _) => Class::Coverage,
            (_, Some(AlertHead { gid: GENERATOR_INCIDENT, .. })) => Class::Incidents,
            (_, Some(AlertHead { gid: GENERATOR_AUDIT, signature_id: SIGNATURE_SEAL, .. })) => Class::Seals,
            (_, Some(AlertHead { gid: GENERATOR_AUDIT, .. })) => Class::Audit,
            _ => Class::Alerts,
        }
    }

    /// EVE's `timestamp`.
    pub fn timestamp(&self) -> &str {
        &self.timestamp
    }

    /// EVE's severity, 1 the most severe.
    pub fn severity(&self) -> Option<u8> {
        self.alert.as_ref()?.severity
    }

    /// Its id, the same on replay.
    pub fn event_id(&self) -> Option<&str> {
        self.alert.as_ref()?.metadata.event_id.first().map(String::as_str)
    }

    /// The incident that it belongs to.
    pub fn incident(&self) -> Option<&str> {
        self.alert.as_ref()?.metadata.incident.first().map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_have_a_class_and_an_id() {
        for (line, class) in [
            (r#"{"event_type":"alert","alert":{"gid":7,"severity":2}}"#, Class::Incidents),
            (r#"{"event_type":"alert","alert":{"gid":1,"metadata":{"x":["y"]}}}"#, Class::Alerts),
            (r#"{"event_type":"alert","alert":{"gid":8,"signature_id":1}}"#, Class::Audit),
            (r#"{"event_type":"alert","alert":{"gid":8,"signature_id":101}}"#, Class::Seals),
            (r#"{"event_type":"stats","stats":{"uptime":1}}"#, Class::Coverage),
            (r#"{"event_type":"tls","tls":{"sni":"x"}}"#, Class::Alerts),
        ] {
            let head = Head::parse(line.as_bytes()).unwrap();
            assert_eq!(head.class(), class, "{line}");
            assert_eq!(
                Selection::of(&[Class::Incidents, Class::Coverage]).has(class),
                matches!(class, Class::Incidents | Class::Coverage)
            );
        }
        let line = br#"{"timestamp":"t","host":"ta\u0070","alert":{"severity":2,"metadata":{"event_id":["0a"],"incident":["k"]}}}"#;
        let head = Head::parse(line).unwrap();
        assert_eq!((head.timestamp(), &*head.host, head.severity()), ("t", "tap", Some(2)));
        assert_eq!((head.event_id(), head.incident()), (Some("0a"), Some("k")));
        assert!(Head::parse(b"[1]").is_none() && Head::parse(b"{").is_none() && Head::parse(b"").is_none());
    }
}
