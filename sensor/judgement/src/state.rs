//! What outlives a restart of the sensor: open incidents, and the evidence that waits. It is saved as values with names, so
//! that a later version of the program can read it.

use std::collections::VecDeque;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::client::ClientCases;
use crate::incident::{Incident, IncidentKey};
use crate::{CaseKey, Client};

/// Open incidents, and what may become one.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct SavedIncidents {
    pub(crate) clients: Vec<(Client, ClientCases)>,
    /// When to look at a case again.
    pub(crate) due: VecDeque<(u64, CaseKey)>,
    /// First starts that wait for names that show to which service they belong.
    pub(crate) held: VecDeque<(u64, CaseKey)>,
    /// Incidents in the order in which they opened.
    pub(crate) incidents: Vec<Incident>,
    /// Clients that had a finding in this period: service, and time of the first contact.
    #[serde(default)]
    pub(crate) warned: Vec<(Client, Arc<str>, u64)>,
}

impl SavedIncidents {
    /// Applies changes that were told after this was saved: incidents as they then were, and whether they closed.
    pub fn apply(&mut self, changes: Vec<(Incident, bool)>) {
        for (incident, is_closed) in changes {
            if incident.is_warning && !self.warned.iter().any(|(client, ..)| *client == incident.key.client) {
                let IncidentKey { client, service, .. } = &incident.key;
                self.warned.push((client.clone(), Arc::clone(service), incident.first_ns));
            }
            let place = self.incidents.iter().position(|known| known.id == incident.id);
            match place.and_then(|place| self.incidents.get_mut(place)) {
                None if is_closed => {}
                None => self.incidents.push(incident),
                Some(known) if !is_closed && known.revision < incident.revision => *known = incident,
                Some(_) if is_closed => drop(place.map(|place| self.incidents.remove(place))),
                Some(_) => {}
            }
        }
    }

    /// When an incident was last seen; none without incidents.
    pub fn last_ns(&self) -> Option<u64> {
        self.incidents.iter().map(|incident| incident.last_ns).max()
    }
}

/// The same, borrowed.
#[derive(Debug, Serialize)]
pub struct SavedIncidentsRef<'s> {
    pub(crate) clients: Vec<(&'s Client, &'s ClientCases)>,
    pub(crate) due: &'s VecDeque<(u64, CaseKey)>,
    pub(crate) held: &'s VecDeque<(u64, CaseKey)>,
    pub(crate) incidents: Vec<&'s Incident>,
    pub(crate) warned: Vec<(&'s Client, &'s Arc<str>, u64)>,
}

/// What became of a saved state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resumed {
    /// Incidents that are open again.
    pub incidents: usize,
    /// Incidents of bans that are no longer in use.
    pub incidents_dropped: usize,
    /// Clients and services under observation.
    pub cases: usize,
}

/// Words of the signatures, as the files write them.
pub mod word {
    use std::fmt::Display;
    use std::str::FromStr;

    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<W: Display, S: Serializer>(word: &W, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(word)
    }

    pub fn deserialize<'d, W: FromStr<Err = String>, D: Deserializer<'d>>(deserializer: D) -> Result<W, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}
