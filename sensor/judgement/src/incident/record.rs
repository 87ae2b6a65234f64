//! What is kept of an incident, and what is told when it changes.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use time::Date;
use vigie_signatures::{Ban, Class};

use super::id::incident_id;
use super::service_name;
use crate::destinations::{Destinations, PLACES_MAX};
use crate::policy::{Covering, Judged};
use crate::recent_names::{NameKey, RecentNames};
use crate::{Change, Client, Contact, Episode, Judgement, Kind, Sighting, region};
use vigie_signatures::Service;

/// Names kept of an incident.
pub const NAMES_MAX: usize = 16;
/// Families kept of an incident.
pub const FAMILIES_MAX: usize = 16;

/// What an incident is about. Of each there is one in a day.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct IncidentKey {
    /// Who.
    pub client: Client,
    /// The service, by the key of its signatures.
    pub service: Arc<str>,
    /// The ban, by its id.
    pub ban: Arc<str>,
}

/// An incident.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Incident {
    /// For people: `k7q2m-4x9d0-6`.
    pub id: String,
    /// What it is about.
    pub key: IncidentKey,
    /// Name of the service for people.
    pub service_name: Arc<str>,
    /// The ban. It is saved by its id, and taken from the policy again.
    #[serde(skip)]
    pub ban: Arc<Ban>,
    /// The day, in the ban's time zone.
    pub day: Date,
    /// Severity: 1 is the highest.
    pub severity: u8,
    /// The strongest verdict.
    pub judgement: Judgement,
    /// The scope; empty if none names the client.
    pub scope: String,
    /// Where; empty if not known.
    pub site: String,
    /// Whose device; empty if not known.
    pub ministry: String,
    /// The device in the asset list; empty if it is not there.
    pub label: String,
    /// First contact, nanoseconds since the Unix epoch.
    pub first_ns: u64,
    /// Last contact.
    pub last_ns: u64,
    /// Flows.
    pub flows: u64,
    /// Bytes server → client.
    pub bytes_to_client: u64,
    /// Bytes client → server.
    pub bytes_to_server: u64,
    /// Some of the names.
    pub names: Vec<Box<str>>,
    /// Families, as `class/family`.
    pub families: Vec<Box<str>>,
    /// Regions in the names.
    pub regions: Vec<Box<str>>,
    /// Where its data went.
    #[serde(flatten)]
    pub destinations: Destinations,
    /// How often it was told, from 1.
    pub revision: u32,
    /// Alerts that were not written, since there were too many in a minute.
    pub alerts_left_out: u64,
    /// It is the client's first finding of a period, of which only site and service are told.
    pub is_warning: bool,
    pub(super) told_ns: u64,
    pub(super) alert_minute: u64,
    pub(super) alerts_in_minute: u32,
    #[serde(skip)]
    recent: RecentNames,
}

/// Why an incident closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closing {
    /// Its day is over.
    DayOver,
    /// A derogation began.
    Excused,
    /// Too many were open.
    Evicted,
    /// The input has ended.
    InputEnded,
    /// Pseudonyms have a new key: an incident has one pseudonym.
    KeyRotated,
}

impl Closing {
    /// The word in events.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::DayOver => "day-over",
            Self::Excused => "excused",
            Self::Evicted => "evicted",
            Self::InputEnded => "input-ended",
            Self::KeyRotated => "key-rotated",
        }
    }
}

/// What happened to an incident.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It opened.
    Opened,
    /// Its verdict rose; from which kind.
    Risen(Kind),
    /// The client was seen again.
    Continues,
    /// It closed.
    Closed(Closing),
}

impl Step {
    /// The word in events.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Opened => "opened",
            Self::Risen(_) => "risen",
            Self::Continues => "continues",
            Self::Closed(_) => "closed",
        }
    }
}

/// A change of an incident.
#[derive(Clone, Copy, Debug)]
pub struct IncidentChange<'i> {
    /// When, nanoseconds since the Unix epoch.
    pub time_ns: u64,
    /// What happened.
    pub step: Step,
    /// The incident, as it is now.
    pub incident: &'i Incident,
}

impl Incident {
    /// One that opens with a verdict.
    pub(super) fn open(
        key: IncidentKey,
        change: &Change<'_>,
        service: &Service,
        judged: &Judged<'_>,
        covering: &Covering<'_>,
        severity: u8,
    ) -> Self {
        let Change { judgement, episode, .. } = change;
        let first_ns = episode.first_ns;
        let mut incident = Self {
            id: id_of(&key, covering.day, first_ns),
            service_name: service_name(service),
            ban: Arc::clone(covering.ban.ban()),
            day: covering.day,
            severity,
            judgement: (*judgement).clone(),
            scope: judged.scope.to_owned(),
            site: judged.site.to_owned(),
            ministry: judged.ministry.to_owned(),
            label: judged.label().to_owned(),
            first_ns,
            last_ns: episode.last_ns,
            flows: episode.flows.into(),
            bytes_to_client: episode.bytes_to_client,
            bytes_to_server: episode.bytes_to_server,
            names: Vec::new(),
            families: Vec::new(),
            regions: Vec::new(),
            destinations: episode.destinations.clone(),
            revision: 0,
            alerts_left_out: 0,
            is_warning: false,
            told_ns: 0,
            alert_minute: 0,
            alerts_in_minute: 0,
            recent: RecentNames::default(),
            key,
        };
        incident.add_names(episode);
        incident
    }

    /// Goes on as the incident of the next day.
    pub(super) fn begin_day(&mut self, day: Date, time_ns: u64) {
        self.id = id_of(&self.key, day, time_ns);
        (self.day, self.first_ns) = (day, time_ns);
        (self.flows, self.bytes_to_client, self.bytes_to_server) = (0, 0, 0);
        (self.revision, self.alerts_left_out, self.destinations) = (0, 0, Destinations::default());
        self.recent = RecentNames::default();
        for list in [&mut self.names, &mut self.families, &mut self.regions] {
            list.clear();
        }
    }

    fn add_names(&mut self, episode: &Episode) {
        for family in episode.all_families() {
            for name in &family.names {
                self.add_name(family.class, &family.name, name);
            }
        }
    }

    fn add_name(&mut self, class: Class, family: &str, name: &str) {
        // With a name that is known came its family and region.
        if self.names.iter().any(|known| **known == *name) {
            return;
        }
        push_new(&mut self.names, name, NAMES_MAX);
        push_new(&mut self.families, &format!("{class}/{family}"), FAMILIES_MAX);
        if let Some((region, _)) = region(name) {
            push_new(&mut self.regions, region, PLACES_MAX);
        }
    }

    /// Adds a sighting of its client and service.
    pub(super) fn add(&mut self, sighting: &Sighting<'_>) {
        self.last_ns = self.last_ns.max(sighting.time_ns);
        self.bytes_to_client = self.bytes_to_client.saturating_add(sighting.bytes_to_client);
        self.bytes_to_server = self.bytes_to_server.saturating_add(sighting.bytes_to_server);
        self.destinations.add(sighting);
        match sighting.contact {
            Contact::MoreBytes => return,
            Contact::DnsQuestion => {}
            Contact::Flow => self.flows = self.flows.saturating_add(1),
        }
        if !self.recent.has_or_add(NameKey::of(sighting, false)) {
            self.add_name(sighting.rule.class, &sighting.rule.family, sighting.name);
        }
    }

    /// Whether an alert may still be written in this minute of packet time. Counts it either way.
    pub(super) fn take_alert(&mut self, time_ns: u64, alerts_per_minute: u32) -> bool {
        let minute = time_ns / 60_000_000_000;
        if minute != self.alert_minute {
            (self.alert_minute, self.alerts_in_minute) = (minute, 0);
        }
        let has_room = self.alerts_in_minute < alerts_per_minute;
        match has_room {
            true => self.alerts_in_minute += 1,
            false => self.alerts_left_out += 1,
        }
        has_room
    }
}

fn id_of(key: &IncidentKey, day: Date, first_ns: u64) -> String {
    let parts =
        [key.client.to_string(), key.service.to_string(), key.ban.to_string(), day.to_string(), first_ns.to_string()];
    incident_id(&parts.each_ref().map(|part| part.as_bytes()))
}

fn push_new(list: &mut Vec<Box<str>>, text: &str, length_max: usize) {
    if !text.is_empty() && list.len() < length_max && !list.iter().any(|known| **known == *text) {
        list.push(text.into());
    }
}
