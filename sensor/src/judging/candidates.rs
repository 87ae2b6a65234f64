//! Names that may be missing in the signatures: hellos to servers in a known owner's prefixes that name a host which no
//! signature knows. They are counted by day and name; no client is kept.

use std::collections::BTreeMap;

use time::{Date, OffsetDateTime};
use vigie_journal::json::Object;

/// Names of a day at most.
pub const NAMES_MAX: usize = 1_000;

/// A name that no signature knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The service to whose prefixes the first server belongs.
    pub service: String,
    /// Flows.
    pub flows: u64,
    /// First contact, nanoseconds since the Unix epoch.
    pub first_ns: u64,
    /// Last contact.
    pub last_ns: u64,
}

/// The names of a day.
#[derive(Debug, Default)]
pub struct Candidates {
    names: BTreeMap<String, Candidate>,
    left_out: u64,
}

impl Candidates {
    /// Adds a contact with a name.
    pub fn add(&mut self, name: &str, service: &str, time_ns: u64) {
        if let Some(known) = self.names.get_mut(name) {
            known.flows += 1;
            known.last_ns = known.last_ns.max(time_ns);
        } else if self.names.len() < NAMES_MAX {
            let candidate = Candidate { service: service.to_owned(), flows: 1, first_ns: time_ns, last_ns: time_ns };
            self.names.insert(name.to_owned(), candidate);
        } else {
            self.left_out += 1;
        }
    }

    /// The names, in order.
    pub fn names(&self) -> impl Iterator<Item = (&String, &Candidate)> {
        self.names.iter()
    }

    /// Flows with further names.
    pub const fn left_out(&self) -> u64 {
        self.left_out
    }

    /// The day of the last contact; none if there was none.
    pub fn day(&self) -> Option<Date> {
        let last_ns = self.names.values().map(|candidate| candidate.last_ns).max()?;
        OffsetDateTime::from_unix_timestamp_nanos(last_ns.into()).ok().map(OffsetDateTime::date)
    }

    /// A line of JSON for each name.
    pub fn lines(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for (name, candidate) in &self.names {
            let mut object = Object::open(&mut out);
            object.text("name", name);
            object.text("service", &candidate.service);
            object.number("flows", candidate.flows);
            object.time("first", candidate.first_ns);
            object.time("last", candidate.last_ns);
            object.close();
            out.push(b'\n');
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_counted_and_bounded() {
        let mut candidates = Candidates::default();
        assert!(candidates.day().is_none() && candidates.lines().is_empty());
        for number in 0..NAMES_MAX + 5 {
            candidates.add(&format!("host{number:04}.example.net"), "bytedance-infra", 5_000_000_000);
        }
        candidates.add("host0000.example.net", "bytedance-infra", 86_400_000_000_000);
        assert_eq!((candidates.names().count(), candidates.left_out()), (NAMES_MAX, 5));
        let lines = String::from_utf8(candidates.lines()).unwrap();
        let expected = "{\"name\":\"host0000.example.net\",\"service\":\"bytedance-infra\",\"flows\":2,\
                        \"first\":\"1970-01-01T00:00:05.000000+0000\",\"last\":\"1970-01-02T00:00:00.000000+0000\"}\n";
        assert!(lines.starts_with(expected), "{lines}");
        assert_eq!(candidates.day().unwrap().to_string(), "1970-01-02");
    }
}
