//! An event as it is read from its EVE line: what the other encodings are made of.
//!
//! Only what some encoding has a field for is taken apart; `alert.metadata` is kept whole, in the order of the line.

use std::fmt;
use std::net::IpAddr;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::{Map, Value};
use time::format_description::StaticFormatDescription;
use time::macros::format_description;
use time::{OffsetDateTime, UtcOffset};
use vigie_journal::eve::{GENERATOR_AUDIT, GENERATOR_INCIDENT, GENERATOR_SIGHTING};

use super::EncodeError;
use crate::time::parse_eve;

/// What an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Subject {
    /// A change of an incident.
    Incident,
    /// A flow that matched a signature.
    Alert,
    /// Somebody did something that concerns people's data.
    Audit,
    /// Counts of the sensor, or what it covered.
    Stats,
    /// Any other record of a flow.
    Flow,
}

/// One event.
#[derive(Debug, Deserialize)]
pub(super) struct Event {
    pub timestamp: String,
    pub event_type: String,
    pub flow_id: Option<u64>,
    pub in_iface: Option<String>,
    #[serde(default)]
    pub vlan: Vec<u16>,
    pub src_ip: Option<IpAddr>,
    pub src_port: Option<u16>,
    pub dest_ip: Option<IpAddr>,
    pub dest_port: Option<u16>,
    proto: Option<String>,
    pub community_id: Option<String>,
    pub host: Option<String>,
    app_proto: Option<String>,
    #[serde(default)]
    pub alert: Alert,
    tls: Option<Hello>,
    quic: Option<Hello>,
    http: Option<Http>,
    pub dns: Option<Value>,
    #[serde(default)]
    pub flow: Counts,
    pub tunnel: Option<Value>,
    pub stats: Option<Value>,
    #[serde(default)]
    pub metadata: EventMetadata,
    /// When, read from `timestamp`.
    #[serde(skip)]
    time: Option<Time>,
}

/// The field `alert`.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Alert {
    #[serde(default)]
    pub gid: u64,
    #[serde(default)]
    pub signature_id: u64,
    #[serde(default)]
    pub rev: u64,
    #[serde(default)]
    pub signature: String,
    #[serde(default)]
    pub category: String,
    #[serde(default)]
    pub severity: u64,
    #[serde(default)]
    pub metadata: Metadata,
    #[serde(default)]
    context: Context,
}

#[derive(Debug, Default, Deserialize)]
struct Context {
    #[serde(default)]
    vigie: Map<String, Value>,
}

/// The field `metadata` beside the alert: flow bits, and the sensor's coverage under `flowints`.
#[derive(Debug, Default, Deserialize)]
pub(super) struct EventMetadata {
    #[serde(default)]
    pub flowbits: Vec<String>,
    #[serde(default)]
    flowints: Map<String, Value>,
}

/// A TLS or QUIC hello.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Hello {
    pub sni: Option<String>,
    pub version: Option<String>,
    pub ja4: Option<String>,
    #[serde(default)]
    client_alpns: Vec<String>,
    #[serde(default)]
    extensions: Vec<Extension>,
    pub ua: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Extension {
    name: Option<String>,
    #[serde(default)]
    values: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
struct Http {
    hostname: Option<String>,
}

/// Counts of a flow.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Counts {
    pub pkts_toserver: Option<u64>,
    pub pkts_toclient: Option<u64>,
    pub bytes_toserver: Option<u64>,
    pub bytes_toclient: Option<u64>,
    start: Option<String>,
    end: Option<String>,
}

impl Event {
    /// Reads a line.
    ///
    /// # Errors
    /// It is no event.
    pub fn read(line: &[u8]) -> Result<Self, EncodeError> {
        let mut event: Self = serde_json::from_slice(line).map_err(|error| EncodeError::NoEvent(error.to_string()))?;
        event.time = Some(Time::read(&event.timestamp).ok_or(EncodeError::Timestamp)?);
        Ok(event)
    }

    /// What the event is about.
    pub fn subject(&self) -> Subject {
        match (self.event_type.as_str(), self.alert.gid) {
            ("alert", GENERATOR_INCIDENT) => Subject::Incident,
            ("alert", GENERATOR_AUDIT) => Subject::Audit,
            ("alert", GENERATOR_SIGHTING) => Subject::Alert,
            ("stats", _) => Subject::Stats,
            _ => Subject::Flow,
        }
    }

    /// The kind of event in one word, and its text.
    pub fn name(&self) -> (&str, &str) {
        let kind = match self.subject() {
            Subject::Incident => "incident",
            Subject::Audit => "audit",
            Subject::Stats if self.coverage().next().is_some() => "coverage",
            _ => &self.event_type,
        };
        let text = match kind {
            "stats" => "vigie statistics",
            "coverage" => "vigie coverage",
            _ if self.alert.signature.is_empty() => "vigie record of a flow",
            _ => &self.alert.signature,
        };
        (kind, text)
    }

    /// What happened, in one word or two: `incident-opened`, `policy-changed`, `alert`.
    pub fn action(&self) -> String {
        let (kind, _) = self.name();
        match self.subject() {
            Subject::Incident => format!("incident-{}", self.fact("incident_state").unwrap_or("changed")),
            Subject::Audit => self.fact("audit").unwrap_or(kind).to_owned(),
            _ => kind.to_owned(),
        }
    }

    /// When.
    pub fn time(&self) -> Time {
        self.time.unwrap_or_default()
    }

    /// The only or first value of a key of `alert.metadata`.
    pub fn fact(&self, key: &str) -> Option<&str> {
        self.facts(key).first().map(String::as_str)
    }

    /// All values of a key of `alert.metadata`.
    pub fn facts(&self, key: &str) -> &[String] {
        let found = self.alert.metadata.0.iter().find(|(name, _)| name == key);
        found.map_or(&[], |(_, texts)| texts)
    }

    /// A number of an incident, from `alert.context.vigie`.
    pub fn number(&self, key: &str) -> Option<u64> {
        self.alert.context.vigie.get(key)?.as_u64()
    }

    /// All of `alert.context.vigie`.
    pub fn numbers(&self) -> &Map<String, Value> {
        &self.alert.context.vigie
    }

    /// What the sensor covered: names without their prefix.
    pub fn coverage(&self) -> impl Iterator<Item = (&str, &Value)> {
        let flowints = self.metadata.flowints.iter();
        flowints.filter_map(|(name, value)| Some((name.strip_prefix("vigie.")?, value)))
    }

    /// The client as text: an address, a prefix, a hardware address or a name.
    pub fn client(&self) -> Option<String> {
        self.fact("client").map(str::to_owned).or_else(|| self.src_ip.map(|address| address.to_string()))
    }

    /// The hello, TLS or QUIC.
    pub fn hello(&self) -> Option<&Hello> {
        self.tls.as_ref().or(self.quic.as_ref())
    }

    /// Whether the hello came over QUIC, whose TLS is version 1.3 (RFC 9001 §4.2).
    pub const fn is_quic(&self) -> bool {
        self.quic.is_some()
    }

    /// The server's name: what matched, else what the hello or the request says.
    pub fn server_name(&self) -> Option<&str> {
        let sni = || self.hello().and_then(|hello| hello.sni.as_deref());
        let http = || self.http.as_ref().and_then(|http| http.hostname.as_deref());
        self.fact("name").or_else(sni).or_else(http)
    }

    /// The names of an incident, or of a flow the one.
    pub fn names(&self) -> Vec<&str> {
        let names = self.facts("names");
        if names.is_empty() {
            self.server_name().into_iter().collect()
        } else {
            names.iter().map(String::as_str).collect()
        }
    }

    /// The transport protocol, in lower case.
    pub fn transport(&self) -> Option<String> {
        self.proto.as_ref().map(|protocol| protocol.to_ascii_lowercase())
    }

    /// The application protocol; `failed` is EVE's word for one that is not known.
    pub fn application(&self) -> Option<&str> {
        self.app_proto.as_deref().filter(|protocol| *protocol != "failed")
    }

    /// Bytes to the server and to the client.
    pub fn bytes(&self) -> (Option<u64>, Option<u64>) {
        let of = |flow: Option<u64>, key| flow.or_else(|| self.number(key));
        (of(self.flow.bytes_toserver, "bytes_toserver"), of(self.flow.bytes_toclient, "bytes_toclient"))
    }

    /// The first and the last contact.
    pub fn span(&self) -> (Option<Time>, Option<Time>) {
        let text = |key| self.alert.context.vigie.get(key).and_then(Value::as_str);
        let read = |flow: &Option<String>, key| flow.as_deref().or_else(|| text(key)).and_then(Time::read);
        (read(&self.flow.start, "first"), read(&self.flow.end, "last"))
    }
}

impl Hello {
    /// The application protocols offered (RFC 7301).
    pub fn alpn(&self) -> Vec<&str> {
        let offered = self.extensions.iter().filter(|extension| extension.name.as_deref() == Some("alpn"));
        let offered = offered.flat_map(|extension| &extension.values);
        self.client_alpns.iter().chain(offered).map(String::as_str).collect()
    }
}

/// The facts of `alert.metadata`, in the order of the line.
#[derive(Debug, Default)]
pub(super) struct Metadata(pub Vec<(String, Vec<String>)>);

impl<'d> Deserialize<'d> for Metadata {
    fn deserialize<D: Deserializer<'d>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'d> Visitor<'d> for Pairs {
            type Value = Metadata;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object of arrays of strings")
            }

            fn visit_map<M: MapAccess<'d>>(self, mut map: M) -> Result<Metadata, M::Error> {
                let mut facts = Vec::new();
                while let Some(fact) = map.next_entry()? {
                    facts.push(fact);
                }
                Ok(Metadata(facts))
            }
        }
        deserializer.deserialize_map(Pairs)
    }
}

/// A point in time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Time(OffsetDateTime);

impl Default for Time {
    fn default() -> Self {
        Self(OffsetDateTime::UNIX_EPOCH)
    }
}

const RFC_3339: StaticFormatDescription =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:6]Z");
const MILLISECONDS: StaticFormatDescription =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]+0000");

impl Time {
    /// Reads a timestamp of EVE.
    pub fn read(text: &str) -> Option<Self> {
        parse_eve(text)?.checked_to_offset(UtcOffset::UTC).map(Self)
    }

    /// As RFC 3339 has it, in UTC, microseconds.
    pub fn rfc_3339(self) -> String {
        self.0.format(RFC_3339).unwrap_or_default()
    }

    /// With milliseconds and the zone `+0000`.
    pub fn with_milliseconds(self) -> String {
        self.0.format(MILLISECONDS).unwrap_or_default()
    }

    /// Milliseconds since the Unix epoch.
    pub fn epoch_ms(self) -> i64 {
        i64::try_from(self.0.unix_timestamp_nanos().div_euclid(1_000_000)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_every_zone_and_written_in_utc() {
        for (text, rfc_3339, epoch_ms) in [
            ("2026-11-27T18:58:14.123456+0000", "2026-11-27T18:58:14.123456Z", 1_795_805_894_123),
            ("2026-11-27T19:58:14.5+0100", "2026-11-27T18:58:14.500000Z", 1_795_805_894_500),
            ("1969-12-31T23:59:59.999999+0000", "1969-12-31T23:59:59.999999Z", -1),
        ] {
            let time = Time::read(text).unwrap();
            assert_eq!((time.rfc_3339().as_str(), time.epoch_ms()), (rfc_3339, epoch_ms));
        }
        let time = Time::read("2026-11-27T18:58:14.123456+0000").unwrap();
        assert_eq!(time.with_milliseconds(), "2026-11-27T18:58:14.123+0000");
        for text in ["", "2026-11-27T18:58:14+0000", "2026-11-27T18:58:14.1Z", "2026-13-27T18:58:14.1+0000", "now"] {
            assert!(Time::read(text).is_none(), "{text}");
        }
    }

    #[test]
    fn what_is_no_event_is_refused() {
        let no_event = |line: &str| matches!(Event::read(line.as_bytes()), Err(EncodeError::NoEvent(_)));
        for line in
            ["", "{", "[]", "null", "{}", r#"{"timestamp":1}"#, "{\"timestamp\":\"x\",\"event_type\":\"alert\"} x"]
        {
            assert!(no_event(line), "{line}");
        }
        let deep = format!("{{\"timestamp\":\"x\",\"stats\":{}", "[".repeat(10_000));
        assert!(no_event(&deep));
        let line = r#"{"timestamp":"x","event_type":"alert"}"#;
        assert_eq!(Event::read(line.as_bytes()).unwrap_err(), EncodeError::Timestamp);
    }
}
