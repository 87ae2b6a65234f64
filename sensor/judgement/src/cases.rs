//! Clients and services under observation: their episodes, and what outlives one.
//!
//! Sightings come in, [`Change`]s go out: when the judgement of an episode becomes another one, and when the episode ends.
//! Everything is bounded: when there are too many cases the one that has waited longest ends early, counted.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use foldhash::fast::RandomState;
use serde::{Deserialize, Serialize};
use vigie_signatures::Class;

use crate::client::ClientCases;
use crate::state::{SavedIncidents, SavedIncidentsRef};
use crate::{Client, Contact, Episode, Judgement, Origin, Sighting, Thresholds};

/// Which client and service.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct CaseKey {
    /// Who.
    pub client: Client,
    /// The service, by the key of its signatures.
    pub service: Arc<str>,
}

/// What became of an episode's judgement.
#[derive(Debug)]
pub struct Change<'c> {
    /// When, nanoseconds since the Unix epoch: the sighting that changed it, or the end of its wait.
    pub time_ns: u64,
    /// Who.
    pub client: &'c Client,
    /// Where its last contact came from.
    pub origin: &'c Origin,
    /// The service.
    pub service: &'c Arc<str>,
    /// Its owner.
    pub owner: &'c Arc<str>,
    /// What the episode says now.
    pub judgement: &'c Judgement,
    /// The episode until now.
    pub episode: &'c Episode,
    /// Whether the episode has ended.
    pub is_over: bool,
    /// Whether its judgement was not told before.
    pub is_new: bool,
}

/// All clients and services under observation.
#[derive(Debug)]
pub struct Cases {
    thresholds: Thresholds,
    cases_max: usize,
    clients: HashMap<Client, ClientCases, RandomState>,
    count: usize,
    /// When to look at a case again: in order, since each wait is the same length.
    due: VecDeque<(u64, CaseKey)>,
    /// First starts that wait for names that show to which service they belong.
    held: VecDeque<(u64, CaseKey)>,
    evicted: u64,
}

impl Cases {
    /// No cases yet, and room for `cases_max`.
    pub fn new(thresholds: Thresholds, cases_max: usize) -> Self {
        Self {
            thresholds,
            cases_max: cases_max.max(1),
            clients: HashMap::default(),
            count: 0,
            due: VecDeque::new(),
            held: VecDeque::new(),
            evicted: 0,
        }
    }

    /// How many clients × services are under observation.
    pub const fn len(&self) -> usize {
        self.count
    }

    /// Whether none is.
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// How many cases ended early for want of room.
    pub const fn evicted(&self) -> u64 {
        self.evicted
    }

    /// What waits, and the clients.
    pub(crate) fn save(&self) -> SavedIncidentsRef<'_> {
        let Self { clients, due, held, .. } = self;
        SavedIncidentsRef { clients: clients.iter().collect(), due, held, incidents: Vec::new(), warned: Vec::new() }
    }

    /// Takes over what an earlier run had under observation.
    pub(crate) fn resume(&mut self, saved: &mut SavedIncidents) {
        self.clients = std::mem::take(&mut saved.clients).into_iter().collect();
        self.count = self.clients.values().map(ClientCases::len).sum();
        (self.due, self.held) = (std::mem::take(&mut saved.due), std::mem::take(&mut saved.held));
    }

    /// Takes a sighting. Sightings come in the order of their times, but for a little disorder.
    pub fn sighting(&mut self, sighting: &Sighting<'_>, tell: &mut dyn FnMut(Change<'_>)) {
        self.advance(sighting.time_ns, tell);
        if !counts(sighting) {
            return;
        }
        let known = self.clients.get_mut(sighting.client);
        let place = known.as_ref().and_then(|client| client.place(sighting.service));
        let (client, place) = match (known, place) {
            (Some(client), Some(place)) => (client, place),
            // Of a flow whose case is forgotten.
            _ if sighting.contact == Contact::MoreBytes => return,
            _ => {
                self.count += 1;
                let key = CaseKey { client: sighting.client.clone(), service: Arc::clone(sighting.service) };
                let wait_ns = wait_ns(&self.thresholds);
                self.due.push_back((sighting.time_ns.saturating_add(wait_ns), key));
                let client = self.clients.entry(sighting.client.clone()).or_default();
                let place = client.open(sighting);
                (client, place)
            }
        };
        client.end_if_silent(place, sighting.client, sighting.time_ns, &self.thresholds, tell);
        if client.add(place, sighting, &self.thresholds) {
            let mut hold = |due_ns, key| self.held.push_back((due_ns, key));
            client.judge_beside(place, sighting, &self.thresholds, &mut hold, tell);
        }
        self.make_room(tell);
    }

    /// Time has gone on to `now_ns`: episodes end, and first starts are told that waited long enough.
    pub fn advance(&mut self, now_ns: u64, tell: &mut dyn FnMut(Change<'_>)) {
        while self.held.front().is_some_and(|(due_ns, _)| *due_ns <= now_ns) {
            let Some((due_ns, key)) = self.held.pop_front() else { break };
            let Some(client) = self.clients.get_mut(&key.client) else { continue };
            let Some(place) = client.place(&key.service) else { continue };
            client.release(place, &key.client, due_ns, &self.thresholds, tell);
        }
        while self.due.front().is_some_and(|(due_ns, _)| *due_ns <= now_ns) {
            let Some((_, key)) = self.due.pop_front() else { break };
            self.look_again(key, now_ns, tell);
        }
    }

    /// Ends all episodes, as at the end of the input.
    pub fn end(&mut self, tell: &mut dyn FnMut(Change<'_>)) {
        self.held.clear();
        self.due.clear();
        self.count = 0;
        let mut clients: Vec<(Client, ClientCases)> = self.clients.drain().collect();
        clients.sort_unstable_by(|one, other| one.0.cmp(&other.0));
        for (key, client) in &mut clients {
            client.end_all(key, &self.thresholds, tell);
        }
    }

    /// A case's wait is over: its episode ends, or it is forgotten, or it waits on.
    fn look_again(&mut self, key: CaseKey, now_ns: u64, tell: &mut dyn FnMut(Change<'_>)) {
        let Some(client) = self.clients.get_mut(&key.client) else { return };
        let Some(place) = client.place(&key.service) else { return };
        client.end_if_silent(place, &key.client, now_ns, &self.thresholds, tell);
        if client.keep_until_ns(place, &self.thresholds) >= now_ns {
            self.due.push_back((now_ns.saturating_add(wait_ns(&self.thresholds)), key));
            return;
        }
        self.forget(&key, place);
    }

    fn make_room(&mut self, tell: &mut dyn FnMut(Change<'_>)) {
        while self.count > self.cases_max {
            let Some((_, key)) = self.due.pop_front() else { return };
            let Some(client) = self.clients.get_mut(&key.client) else { continue };
            let Some(place) = client.place(&key.service) else { continue };
            client.end(place, &key.client, &self.thresholds, tell);
            self.forget(&key, place);
            self.evicted += 1;
        }
    }

    fn forget(&mut self, key: &CaseKey, place: usize) {
        let Some(client) = self.clients.get_mut(&key.client) else { return };
        client.close(place);
        self.count -= 1;
        if client.is_empty() {
            self.clients.remove(&key.client);
        }
    }
}

/// Cases are looked at once in each such time: the queue stays in order, and nothing waits much too long.
fn wait_ns(thresholds: &Thresholds) -> u64 {
    thresholds.silence_ns().max(1)
}

/// Whether a sighting says anything. A name that was only asked of DNS proves no application: it needs a flow.
fn counts(sighting: &Sighting<'_>) -> bool {
    match sighting.rule.class {
        Class::Cloud | Class::Corp | Class::Cname => false,
        Class::Site | Class::Page | Class::Media | Class::Link | Class::Pixel | Class::Sdk => true,
        Class::Native | Class::NativeLikely | Class::Resolver | Class::Infra | Class::Console | Class::Portal => {
            sighting.contact != Contact::DnsQuestion
        }
    }
}
