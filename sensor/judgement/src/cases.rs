//! Clients and services under observation: their episodes, and what outlives one.
//!
//! Sightings come in, [`Change`]s go out: when the judgement of an episode becomes another one, and when the episode ends.
//! Everything is bounded: when there are too many cases the one that has waited longest ends early, counted.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use vigie_signatures::Class;
use foldhash::fast::RandomState;

use crate::decide::{lone_native, rests_on_first_start};
use crate::{Around, Client, Contact, Episode, Judgement, Kind, Sighting, Thresholds, Verdict, decide};

/// Lone native families remembered of a client and service.
const LONE_FAMILIES_MAX: usize = 8;

/// Which client and service.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CaseKey {
    /// Who.
    pub client: Client,
    /// The service, by the id of its signatures.
    pub service: Arc<str>,
}

/// What became of an episode's judgement.
#[derive(Debug)]
pub struct Change<'c> {
    /// Who.
    pub client: &'c Client,
    /// The service.
    pub service: &'c Arc<str>,
    /// What the episode says now.
    pub judgement: &'c Judgement,
    /// The episode until now.
    pub episode: &'c Episode,
    /// The episode has ended.
    pub is_over: bool,
}

/// An episode that ended, as far as others still need it.
#[derive(Clone, Copy, Debug)]
struct Past {
    first_ns: u64,
    last_ns: u64,
    kind: Option<Kind>,
}

/// A client and a service.
#[derive(Debug)]
struct Case {
    service: Arc<str>,
    owner: Arc<str>,
    episode: Option<Episode>,
    /// What was last told of the episode.
    told: Option<(Kind, bool)>,
    past: Option<Past>,
    /// A first start waits to be told.
    is_held: bool,
    /// Native families of earlier episodes that had no other, and when each was last contacted.
    lone_families: Vec<(Box<str>, u64)>,
}

/// The cases of a client.
#[derive(Debug, Default)]
struct ClientCases {
    cases: Vec<Case>,
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
    /// First starts that wait for names that show whose they are.
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

    /// Takes a sighting. Sightings come in the order of their times, but for a little disorder.
    pub fn sighting(&mut self, sighting: &Sighting<'_>, tell: &mut dyn FnMut(Change<'_>)) {
        self.advance(sighting.time_ns, tell);
        if matches!(sighting.rule.class, Class::Cloud | Class::Corp | Class::Cname) {
            return;
        }
        let silence_ns = self.thresholds.silence_ns();
        let client = self.clients.entry(sighting.client.clone()).or_default();
        let place = match client.place(&sighting.rule.service) {
            Some(place) => place,
            // Bytes of a flow whose episode is forgotten begin no other.
            None if sighting.contact == Contact::MoreBytes => return self.forget_if_empty(sighting.client),
            None => {
                client.cases.push(Case::new(sighting));
                self.count += 1;
                let key = CaseKey { client: sighting.client.clone(), service: Arc::from(sighting.rule.service.as_str()) };
                self.due.push_back((sighting.time_ns.saturating_add(silence_ns), key));
                client.cases.len() - 1
            }
        };
        client.end_if_silent(place, sighting.client, sighting.time_ns, &self.thresholds, tell);
        let Some(case) = client.cases.get_mut(place) else { return };
        match &mut case.episode {
            Some(episode) => episode.add(sighting),
            None if sighting.contact == Contact::MoreBytes => return,
            None => case.begin(sighting),
        }
        let owner = Arc::clone(&case.owner);
        let now_ns = sighting.time_ns;
        if matches!(sighting.rule.class, Class::Native | Class::Resolver) {
            // Evidence of one service of an owner can support another.
            for place in 0..client.cases.len() {
                if client.cases.get(place).is_some_and(|case| case.owner == owner) {
                    client.judge(place, sighting.client, now_ns, &self.thresholds, &mut self.held, tell);
                }
            }
        } else {
            client.judge(place, sighting.client, now_ns, &self.thresholds, &mut self.held, tell);
        }
        self.make_room(tell);
    }

    /// Time has gone on to `now_ns`: episodes end, and first starts are told that waited long enough.
    pub fn advance(&mut self, now_ns: u64, tell: &mut dyn FnMut(Change<'_>)) {
        while self.held.front().is_some_and(|(due_ns, _)| *due_ns <= now_ns) {
            let Some((due_ns, key)) = self.held.pop_front() else { break };
            if let Some(client) = self.clients.get_mut(&key.client)
                && let Some(place) = client.place(&key.service)
            {
                if let Some(case) = client.cases.get_mut(place) {
                    case.is_held = false;
                }
                client.judge(place, &key.client, due_ns, &self.thresholds, &mut self.held, tell);
            }
        }
        while self.due.front().is_some_and(|(due_ns, _)| *due_ns <= now_ns) {
            let Some((_, key)) = self.due.pop_front() else { break };
            self.look_again(key, now_ns, tell);
        }
    }

    /// Ends all episodes, as at the end of the input.
    pub fn end(&mut self, tell: &mut dyn FnMut(Change<'_>)) {
        self.held.clear();
        for (key, client) in &mut self.clients {
            for place in 0..client.cases.len() {
                client.end_episode(place, key, &self.thresholds, tell);
            }
        }
        self.clients.clear();
        self.due.clear();
        self.count = 0;
    }

    /// A case's wait is over: its episode ends, or it is forgotten, or it waits on.
    fn look_again(&mut self, key: CaseKey, now_ns: u64, tell: &mut dyn FnMut(Change<'_>)) {
        let Some(client) = self.clients.get_mut(&key.client) else { return };
        let Some(place) = client.place(&key.service) else { return };
        client.end_if_silent(place, &key.client, now_ns, &self.thresholds, tell);
        let keep_until_ns = client.cases.get(place).map_or(0, |case| case.keep_until_ns(&self.thresholds));
        if keep_until_ns > now_ns {
            // Looked at once a silence: the queue stays in order, and nothing waits much too long.
            let due_ns = now_ns.saturating_add(self.thresholds.silence_ns().max(1));
            self.due.push_back((due_ns, key));
            return;
        }
        client.cases.swap_remove(place);
        self.count -= 1;
        self.forget_if_empty(&key.client);
    }

    fn make_room(&mut self, tell: &mut dyn FnMut(Change<'_>)) {
        while self.count > self.cases_max {
            let Some((_, key)) = self.due.pop_front() else { return };
            let Some(client) = self.clients.get_mut(&key.client) else { continue };
            let Some(place) = client.place(&key.service) else { continue };
            client.end_episode(place, &key.client, &self.thresholds, tell);
            client.cases.swap_remove(place);
            self.count -= 1;
            self.evicted += 1;
            self.forget_if_empty(&key.client);
        }
    }

    fn forget_if_empty(&mut self, client: &Client) {
        if self.clients.get(client).is_some_and(|client| client.cases.is_empty()) {
            self.clients.remove(client);
        }
    }
}

impl ClientCases {
    fn place(&self, service: &str) -> Option<usize> {
        self.cases.iter().position(|case| *case.service == *service)
    }

    /// What else of the client bears on a case.
    fn around(&self, place: usize, thresholds: &Thresholds) -> Around<'_> {
        let mut around = Around::default();
        let Some(case) = self.cases.get(place) else { return around };
        let Some(episode) = &case.episode else { return around };
        let (from_ns, to_ns) = (episode.first_ns, episode.last_ns);
        let silence_ns = thresholds.silence_ns();
        let is_near = |first_ns: u64, last_ns: u64| {
            first_ns <= to_ns.saturating_add(silence_ns) && from_ns <= last_ns.saturating_add(silence_ns)
        };
        for other in self.cases.iter().filter(|other| other.owner == case.owner) {
            let is_other = other.service != case.service;
            if let Some(past) = other.past.filter(|past| is_other && is_near(past.first_ns, past.last_ns)) {
                around.other_service |= past.kind.is_some_and(is_of_a_service);
            }
            let Some(episode) = other.episode.as_ref().filter(|other| is_near(other.first_ns, other.last_ns)) else {
                continue;
            };
            around.resolver |= episode.has(Class::Resolver);
            if is_other {
                let rests_on_first_start = rests_on_first_start(episode);
                around.other_boot |= rests_on_first_start;
                around.other_native |= episode.has(Class::Native) && !rests_on_first_start;
                around.other_service |=
                    decide(episode, &Around { other_service: true, ..Around::default() }, thresholds)
                        .is_some_and(|judgement| is_of_a_service(judgement.kind));
            }
        }
        if let Some(lone) = lone_native(episode) {
            let earlier = case.lone_families.iter().find(|(family, _)| **family == *lone);
            around.earlier =
                earlier.map(|(family, last_ns)| (&**family, from_ns.saturating_sub(*last_ns) / 1_000_000_000));
        }
        around
    }

    /// Judges a case's episode, and tells what changed.
    fn judge(
        &mut self,
        place: usize,
        client: &Client,
        now_ns: u64,
        thresholds: &Thresholds,
        held: &mut VecDeque<(u64, CaseKey)>,
        tell: &mut dyn FnMut(Change<'_>),
    ) {
        let around = self.around(place, thresholds);
        let Some(case) = self.cases.get(place) else { return };
        let Some(episode) = &case.episode else { return };
        let Some(judgement) = decide(episode, &around, thresholds) else { return };
        if judgement.verdict() == Verdict::App && rests_on_first_start(episode) {
            let due_ns = episode.first_ns.saturating_add(thresholds.boot_wait_ns());
            if now_ns < due_ns {
                if let Some(case) = self.cases.get_mut(place).filter(|case| !case.is_held) {
                    case.is_held = true;
                    held.push_back((due_ns, CaseKey { client: client.clone(), service: Arc::clone(&case.service) }));
                }
                return;
            }
        }
        let told = Some((judgement.kind, judgement.first_run));
        if case.told != told {
            tell(Change { client, service: &case.service, judgement: &judgement, episode, is_over: false });
            if let Some(case) = self.cases.get_mut(place) {
                case.told = told;
            }
        }
    }

    fn end_if_silent(
        &mut self,
        place: usize,
        client: &Client,
        now_ns: u64,
        thresholds: &Thresholds,
        tell: &mut dyn FnMut(Change<'_>),
    ) {
        let Some(episode) = self.cases.get(place).and_then(|case| case.episode.as_ref()) else { return };
        if now_ns.saturating_sub(episode.last_ns) > thresholds.silence_ns() {
            self.end_episode(place, client, thresholds, tell);
        }
    }

    /// Ends a case's episode: its judgement is told for good.
    fn end_episode(
        &mut self,
        place: usize,
        client: &Client,
        thresholds: &Thresholds,
        tell: &mut dyn FnMut(Change<'_>),
    ) {
        let around = self.around(place, thresholds);
        let Some(case) = self.cases.get(place) else { return };
        let Some(episode) = &case.episode else { return };
        let judgement = decide(episode, &around, thresholds);
        if let Some(judgement) = &judgement {
            tell(Change { client, service: &case.service, judgement, episode, is_over: true });
        }
        let kind = judgement.map(|judgement| judgement.kind);
        let Some(case) = self.cases.get_mut(place) else { return };
        let Some(episode) = case.episode.take() else { return };
        case.told = None;
        case.past = Some(Past { first_ns: episode.first_ns, last_ns: episode.last_ns, kind });
        if let Some(lone) = lone_native(&episode) {
            case.lone_families.retain(|(family, _)| **family != *lone);
            if case.lone_families.len() >= LONE_FAMILIES_MAX {
                case.lone_families.remove(0);
            }
            case.lone_families.push((lone.into(), episode.last_ns));
        }
    }
}

/// Whether a kind is about one service, and not about what services share.
const fn is_of_a_service(kind: Kind) -> bool {
    !matches!(kind, Kind::SharedInfra | Kind::NativeUnattributed)
}

impl Case {
    fn new(sighting: &Sighting<'_>) -> Self {
        Self {
            service: Arc::from(sighting.rule.service.as_str()),
            owner: Arc::from(sighting.owner),
            episode: None,
            told: None,
            past: None,
            is_held: false,
            lone_families: Vec::new(),
        }
    }

    fn begin(&mut self, sighting: &Sighting<'_>) {
        self.episode = Some(Episode::new(sighting));
        self.told = None;
    }

    /// Until when something of the case may be needed.
    fn keep_until_ns(&self, thresholds: &Thresholds) -> u64 {
        if self.episode.is_some() {
            return u64::MAX;
        }
        let past_ns = self.past.map_or(0, |past| past.last_ns.saturating_add(2 * thresholds.silence_ns()));
        let lone_ns = self.lone_families.iter().map(|(_, last_ns)| *last_ns).max();
        let lone_ns = lone_ns.map_or(0, |last_ns| last_ns.saturating_add(thresholds.return_max_s * 1_000_000_000));
        past_ns.max(lone_ns)
    }
}
