//! An event of the journal, as far as the projection needs it.

use std::collections::BTreeMap;

use jiff::civil::DateTime;
use jiff::tz::Offset;
use serde::Deserialize;

/// An EVE event.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Line {
    pub timestamp: String,
    pub event_type: String,
    pub in_iface: String,
    pub flow_id: Option<u64>,
    pub src_ip: String,
    pub src_port: Option<u16>,
    pub dest_ip: String,
    pub dest_port: Option<u16>,
    pub proto: String,
    pub community_id: String,
    pub alert: Alert,
    pub tls: Hello,
    pub quic: Hello,
    pub flow: Flow,
    pub metadata: Metadata,
}

/// The field `alert`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Alert {
    pub gid: u64,
    pub signature_id: u64,
    pub signature: String,
    pub severity: u8,
    pub metadata: Facts,
    pub context: Context,
}

/// `alert.metadata`: texts by key.
#[derive(Debug, Default, Deserialize)]
pub struct Facts(pub BTreeMap<String, Vec<String>>);

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
    pub regions: Vec<RegionBytes>,
    pub first: String,
    pub last: String,
    pub alerts_left_out: u64,
}

/// Bytes of a region.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, serde::Serialize)]
#[serde(default)]
pub struct RegionBytes {
    pub region: String,
    pub bytes_toserver: u64,
    pub bytes_toclient: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Hello {
    pub ja4: String,
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

impl Facts {
    /// The first text of a key; empty if there is none.
    pub fn one(&self, key: &str) -> &str {
        self.all(key).first().map_or("", String::as_str)
    }

    /// All texts of a key.
    pub fn all(&self, key: &str) -> &[String] {
        self.0.get(key).map_or(&[], Vec::as_slice)
    }

    /// Whether a key says `true`.
    pub fn is_true(&self, key: &str) -> bool {
        self.one(key) == "true"
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

/// Microseconds since 1970 of a time as EVE writes it, `2026-11-28T02:14:06.110063+0000`.
pub fn time_us(text: &str) -> Option<i64> {
    let (civil, zone) = (text.get(..26)?, text.get(26..)?);
    let civil: DateTime = civil.parse().ok()?;
    let seconds = match zone.as_bytes() {
        [sign @ (b'+' | b'-'), ..] if zone.len() == 5 => {
            let (hours, minutes): (i32, i32) = (zone.get(1..3)?.parse().ok()?, zone.get(3..5)?.parse().ok()?);
            let seconds = hours * 3600 + minutes * 60;
            if *sign == b'-' { -seconds } else { seconds }
        }
        _ => return None,
    };
    let offset = Offset::from_seconds(seconds).ok()?;
    Some(offset.to_timestamp(civil).ok()?.as_microsecond())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_events_are_read() {
        assert_eq!(time_us("1970-01-01T00:00:01.000002+0000"), Some(1_000_002));
        assert_eq!(time_us("1970-01-01T02:00:01.000002+0200"), Some(1_000_002));
        assert_eq!(time_us("2026-11-27T18:58:14.000000+0000"), Some(1_795_805_894_000_000));
        for wrong in ["", "2026-11-27", "2026-11-27T18:58:14.000000Z", "2026-13-27T18:58:14.000000+0000", "é"] {
            assert_eq!(time_us(wrong), None, "{wrong}");
        }
    }
}
