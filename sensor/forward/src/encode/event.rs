//! An event as it is read from its EVE line: what the other encodings are made of.
//!
//! Only what some encoding has a field for is taken apart; `alert.metadata` is kept whole, in the order of the line. Texts are
//! those of the line, unless it has them with escapes.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::net::IpAddr;
use std::ops::Deref;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::StaticFormatDescription;
use time::macros::format_description;
use vigie_journal::eve::{GENERATOR_AUDIT, GENERATOR_INCIDENT, GENERATOR_SIGHTING};

use super::EncodeError;
use crate::time::parse_eve;

/// Fields that an object of facts usually has.
const PAIRS_USUAL: usize = 32;

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

/// A text of the line.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Text<'l>(Cow<'l, str>);

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl<'l, 'd: 'l> Deserialize<'d> for Text<'l> {
    fn deserialize<D: Deserializer<'d>>(deserializer: D) -> Result<Self, D::Error> {
        // Not what serde makes of `Option<Cow<str>>`, which copies.
        struct Borrowing<'l>(PhantomData<&'l ()>);
        impl<'l, 'd: 'l> Visitor<'d> for Borrowing<'l> {
            type Value = Text<'l>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a string")
            }

            fn visit_borrowed_str<E>(self, text: &'d str) -> Result<Text<'l>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Text<'l>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(Borrowing(PhantomData))
    }
}

/// An object of the line, its fields in their order.
#[derive(Debug)]
pub(super) struct Pairs<'l, V>(Vec<(Text<'l>, V)>);

impl<V> Default for Pairs<'_, V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'l, V> Pairs<'l, V> {
    /// Its fields.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &V)> + Clone {
        self.0.iter().map(|(key, value)| (&**key, value))
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&V> {
        self.iter().find(|(name, _)| *name == key).map(|(_, value)| value)
    }
}

impl<'l, 'd: 'l, V: Deserialize<'d>> Deserialize<'d> for Pairs<'l, V> {
    fn deserialize<D: Deserializer<'d>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder<'l, V>(PhantomData<(&'l (), V)>);
        impl<'l, 'd: 'l, V: Deserialize<'d>> Visitor<'d> for InOrder<'l, V> {
            type Value = Pairs<'l, V>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<M: MapAccess<'d>>(self, mut map: M) -> Result<Pairs<'l, V>, M::Error> {
                let mut pairs = Vec::with_capacity(PAIRS_USUAL);
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(InOrder(PhantomData))
    }
}

/// One event.
#[derive(Debug, Deserialize)]
pub(super) struct Event<'l> {
    #[serde(borrow)]
    pub timestamp: Text<'l>,
    #[serde(borrow)]
    pub event_type: Text<'l>,
    pub flow_id: Option<u64>,
    #[serde(borrow)]
    pub in_iface: Option<Text<'l>>,
    #[serde(default)]
    pub vlan: Vec<u16>,
    pub src_ip: Option<IpAddr>,
    pub src_port: Option<u16>,
    pub dest_ip: Option<IpAddr>,
    pub dest_port: Option<u16>,
    #[serde(borrow)]
    proto: Option<Text<'l>>,
    #[serde(borrow)]
    pub community_id: Option<Text<'l>>,
    #[serde(borrow)]
    pub host: Option<Text<'l>>,
    #[serde(borrow)]
    app_proto: Option<Text<'l>>,
    #[serde(borrow, default)]
    pub alert: Alert<'l>,
    #[serde(borrow)]
    tls: Option<Hello<'l>>,
    #[serde(borrow)]
    quic: Option<Hello<'l>>,
    #[serde(borrow)]
    http: Option<Http<'l>>,
    pub dns: Option<Value>,
    #[serde(borrow, default)]
    pub flow: Counts<'l>,
    pub tunnel: Option<Value>,
    pub stats: Option<Value>,
    #[serde(borrow, default)]
    pub metadata: EventMetadata<'l>,
    /// When, read from `timestamp`.
    #[serde(skip)]
    time: Option<Time>,
}

/// The field `alert`.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Alert<'l> {
    #[serde(default)]
    pub gid: u64,
    #[serde(default)]
    pub signature_id: u64,
    #[serde(default)]
    pub rev: u64,
    #[serde(borrow, default)]
    pub signature: Text<'l>,
    #[serde(borrow, default)]
    pub category: Text<'l>,
    #[serde(default)]
    pub severity: u64,
    #[serde(borrow, default)]
    pub metadata: Pairs<'l, Vec<Text<'l>>>,
    #[serde(borrow, default)]
    context: Context<'l>,
}

#[derive(Debug, Default, Deserialize)]
struct Context<'l> {
    #[serde(borrow, default)]
    vigie: Pairs<'l, Value>,
}

/// The field `metadata` beside the alert: flow bits, and the sensor's coverage under `flowints`.
#[derive(Debug, Default, Deserialize)]
pub(super) struct EventMetadata<'l> {
    #[serde(borrow, default)]
    pub flowbits: Vec<Text<'l>>,
    #[serde(borrow, default)]
    flowints: Pairs<'l, Value>,
}

/// A TLS or QUIC hello.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Hello<'l> {
    #[serde(borrow)]
    sni: Option<Text<'l>>,
    #[serde(borrow)]
    version: Option<Text<'l>>,
    #[serde(borrow)]
    ja4: Option<Text<'l>>,
    #[serde(borrow, default)]
    client_alpns: Vec<Text<'l>>,
    #[serde(borrow, default)]
    extensions: Vec<Extension<'l>>,
    #[serde(borrow)]
    ua: Option<Text<'l>>,
}

#[derive(Debug, Deserialize)]
struct Extension<'l> {
    #[serde(borrow)]
    name: Option<Text<'l>>,
    #[serde(borrow, default)]
    values: Vec<Text<'l>>,
}

#[derive(Debug, Default, Deserialize)]
struct Http<'l> {
    #[serde(borrow)]
    hostname: Option<Text<'l>>,
}

/// Counts of a flow.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Counts<'l> {
    pub pkts_toserver: Option<u64>,
    pub pkts_toclient: Option<u64>,
    pub bytes_toserver: Option<u64>,
    pub bytes_toclient: Option<u64>,
    #[serde(borrow)]
    start: Option<Text<'l>>,
    #[serde(borrow)]
    end: Option<Text<'l>>,
}

impl<'l> Event<'l> {
    /// Reads a line.
    ///
    /// # Errors
    /// It is no event.
    pub fn read(line: &'l [u8]) -> Result<Self, EncodeError> {
        let mut event: Self = serde_json::from_slice(line).map_err(|error| EncodeError::NoEvent(error.to_string()))?;
        event.time = Some(Time::read(&event.timestamp).ok_or(EncodeError::Timestamp)?);
        Ok(event)
    }

    /// What the event is about.
    pub fn subject(&self) -> Subject {
        match (&*self.event_type, self.alert.gid) {
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
    pub fn action(&self) -> Cow<'_, str> {
        let (kind, _) = self.name();
        match self.subject() {
            Subject::Incident => format!("incident-{}", self.fact("incident_state").unwrap_or("changed")).into(),
            Subject::Audit => self.fact("audit").unwrap_or(kind).into(),
            _ => kind.into(),
        }
    }

    /// When.
    pub fn time(&self) -> Time {
        self.time.unwrap_or_default()
    }

    /// The only or first value of a key of `alert.metadata`.
    pub fn fact(&self, key: &str) -> Option<&str> {
        self.facts(key).next()
    }

    /// All values of a key of `alert.metadata`.
    pub fn facts(&self, key: &str) -> impl Iterator<Item = &str> + Clone {
        self.alert.metadata.get(key).into_iter().flatten().map(|text| &**text)
    }

    /// A number of an incident, from `alert.context.vigie`.
    pub fn number(&self, key: &str) -> Option<u64> {
        self.numbers().get(key)?.as_u64()
    }

    /// All of `alert.context.vigie`.
    pub const fn numbers(&self) -> &Pairs<'l, Value> {
        &self.alert.context.vigie
    }

    /// What the sensor covered: names without their prefix.
    pub fn coverage(&self) -> impl Iterator<Item = (&str, &Value)> {
        let flowints = self.metadata.flowints.iter();
        flowints.filter_map(|(name, value)| Some((name.strip_prefix("vigie.")?, value)))
    }

    /// The hello, TLS or QUIC.
    pub fn hello(&self) -> Option<&Hello<'l>> {
        self.tls.as_ref().or(self.quic.as_ref())
    }

    /// Whether the hello came over QUIC, whose TLS is version 1.3 (RFC 9001 §4.2).
    pub const fn is_quic(&self) -> bool {
        self.quic.is_some()
    }

    /// The server's name: what matched, else what the hello or the request says.
    pub fn server_name(&self) -> Option<&str> {
        let sni = || self.hello().and_then(Hello::sni);
        let http = || self.http.as_ref().and_then(|http| http.hostname.as_deref());
        self.fact("name").or_else(sni).or_else(http)
    }

    /// The names of an incident, or of a flow the one.
    pub fn names(&self) -> impl Iterator<Item = &str> + Clone {
        let names = self.facts("names");
        let one = self.server_name().filter(|_| names.clone().next().is_none());
        names.chain(one)
    }

    /// The transport protocol, in lower case.
    pub fn transport(&self) -> Option<Cow<'static, str>> {
        Some(match &**self.proto.as_ref()? {
            "TCP" | "tcp" => "tcp".into(),
            "UDP" | "udp" => "udp".into(),
            other => other.to_ascii_lowercase().into(),
        })
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
        let text = |key| self.numbers().get(key).and_then(Value::as_str);
        let read = |flow: &Option<Text<'_>>, key| flow.as_deref().or_else(|| text(key)).and_then(Time::read);
        (read(&self.flow.start, "first"), read(&self.flow.end, "last"))
    }

    /// Which texts are not whole.
    pub fn truncated(&self) -> impl Iterator<Item = &str> + Clone {
        self.metadata.flowbits.iter().map(|text| &**text)
    }
}

impl Hello<'_> {
    /// The server's name that it asks for.
    pub fn sni(&self) -> Option<&str> {
        self.sni.as_deref()
    }

    /// The highest version that it offers; of QUIC that of QUIC.
    pub fn version(&self) -> Option<&str> {
        self.version.as_deref()
    }

    /// Its fingerprint.
    pub fn ja4(&self) -> Option<&str> {
        self.ja4.as_deref()
    }

    /// The user agent that it tells, as some versions of QUIC do.
    pub fn user_agent(&self) -> Option<&str> {
        self.ua.as_deref()
    }

    /// The application protocols offered (RFC 7301).
    pub fn alpn(&self) -> impl Iterator<Item = &str> + Clone {
        let offered = self.extensions.iter().filter(|extension| extension.name.as_deref() == Some("alpn"));
        let offered = offered.flat_map(|extension| &extension.values);
        self.client_alpns.iter().chain(offered).map(|text| &**text)
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
        parse_eve(text).map(Self)
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
            ("2024-02-29T00:00:00.000001+0000", "2024-02-29T00:00:00.000001Z", 1_709_164_800_000),
        ] {
            let time = Time::read(text).unwrap();
            assert_eq!((time.rfc_3339().as_str(), time.epoch_ms()), (rfc_3339, epoch_ms));
        }
        let time = Time::read("2026-11-27T18:58:14.123456+0000").unwrap();
        assert_eq!(time.with_milliseconds(), "2026-11-27T18:58:14.123+0000");
        for text in [
            "",
            "2026-11-27T18:58:14+0000",
            "2026-11-27T18:58:14.1Z",
            "2026-13-27T18:58:14.1+0000",
            "2026-02-29T18:58:14.000000+0000",
            "2026-02-28T24:58:14.000000+0000",
            "2026-02-2xT18:58:14.000000+0000",
            "now",
        ] {
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
