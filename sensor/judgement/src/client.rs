//! The cases of one client: an episode for each service, and what the services of one owner say about each other.

use std::sync::Arc;

use vigie_signatures::Class;

use crate::{Around, CaseKey, Change, Client, Contact, Episode, Kind, Sighting, Thresholds, Verdict, decide};

/// Lone native families remembered of a client and service.
const LONE_FAMILIES_MAX: usize = 8;

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
    /// What was last reported of the episode.
    reported: Option<(Kind, bool)>,
    past: Option<Past>,
    /// A first start waits to be reported.
    is_held: bool,
    /// Native families of earlier episodes that had no other, and when each was last contacted.
    lone_families: Vec<(Box<str>, u64)>,
}

/// The cases of a client.
#[derive(Debug, Default)]
pub(crate) struct ClientCases {
    cases: Vec<Case>,
}

/// Puts a case off until a time.
type Hold<'h> = dyn FnMut(u64, CaseKey) + 'h;
/// Tells a change.
type Tell<'t> = dyn FnMut(Change<'_>) + 't;

impl ClientCases {
    pub(crate) const fn is_empty(&self) -> bool {
        self.cases.is_empty()
    }

    pub(crate) fn place(&self, service: &str) -> Option<usize> {
        self.cases.iter().position(|case| *case.service == *service)
    }

    /// Opens a case, and gives its place.
    pub(crate) fn open(&mut self, sighting: &Sighting<'_>) -> usize {
        self.cases.push(Case::new(sighting));
        self.cases.len() - 1
    }

    pub(crate) fn close(&mut self, place: usize) {
        self.cases.swap_remove(place);
    }

    /// Adds a sighting to a case's episode. True if the verdict can be another one now.
    pub(crate) fn add(&mut self, place: usize, sighting: &Sighting<'_>, thresholds: &Thresholds) -> bool {
        let Some(case) = self.cases.get_mut(place) else { return false };
        match &mut case.episode {
            Some(episode) => episode.add(sighting, thresholds),
            None if sighting.contact == Contact::MoreBytes => false,
            None => {
                case.episode = Some(Episode::new(sighting));
                case.reported = None;
                true
            }
        }
    }

    /// Judges the case of a sighting, and those of the owner's other services that it can support.
    pub(crate) fn judge_beside(
        &mut self,
        place: usize,
        sighting: &Sighting<'_>,
        thresholds: &Thresholds,
        hold: &mut Hold<'_>,
        tell: &mut Tell<'_>,
    ) {
        let supports = matches!(sighting.rule.class, Class::Native | Class::NativeLikely | Class::Resolver);
        for other in 0..self.cases.len() {
            let is_of_owner = || self.cases.get(other).is_some_and(|case| case.owner == *sighting.owner);
            if other == place || (supports && is_of_owner()) {
                self.judge(other, sighting.client, sighting.time_ns, thresholds, hold, tell);
            }
        }
    }

    /// A first start has waited long enough.
    pub(crate) fn release(
        &mut self,
        place: usize,
        client: &Client,
        now_ns: u64,
        thresholds: &Thresholds,
        tell: &mut Tell<'_>,
    ) {
        if let Some(case) = self.cases.get_mut(place) {
            case.is_held = false;
        }
        self.judge(place, client, now_ns, thresholds, &mut |_, _| {}, tell);
    }

    /// Judges a case's episode, and tells what changed.
    fn judge(
        &mut self,
        place: usize,
        client: &Client,
        now_ns: u64,
        thresholds: &Thresholds,
        hold: &mut Hold<'_>,
        tell: &mut Tell<'_>,
    ) {
        let around = self.around(place, thresholds);
        let Some(case) = self.cases.get(place) else { return };
        let Some(episode) = &case.episode else { return };
        let Some(judgement) = decide(episode, &around, thresholds) else { return };
        if judgement.verdict() == Verdict::App && episode.rests_on_first_start() {
            let due_ns = episode.first_ns.saturating_add(thresholds.boot_wait_ns());
            if now_ns < due_ns {
                if !case.is_held {
                    hold(due_ns, CaseKey { client: client.clone(), service: Arc::clone(&case.service) });
                }
                if let Some(case) = self.cases.get_mut(place) {
                    case.is_held = true;
                }
                return;
            }
        }
        let report = Some((judgement.kind, judgement.first_run));
        if case.reported != report {
            let (service, owner) = (&case.service, &case.owner);
            let judgement = &judgement;
            tell(Change { time_ns: now_ns, client, service, owner, judgement, episode, is_over: false });
            if let Some(case) = self.cases.get_mut(place) {
                case.reported = report;
            }
        }
    }

    /// Ends a case's episode if it has been silent for too long.
    pub(crate) fn end_if_silent(
        &mut self,
        place: usize,
        client: &Client,
        now_ns: u64,
        thresholds: &Thresholds,
        tell: &mut Tell<'_>,
    ) {
        let Some(episode) = self.cases.get(place).and_then(|case| case.episode.as_ref()) else { return };
        if now_ns.saturating_sub(episode.last_ns) > thresholds.silence_ns() {
            self.end(place, client, thresholds, tell);
        }
    }

    /// Ends a case's episode: its judgement is told for good.
    pub(crate) fn end(&mut self, place: usize, client: &Client, thresholds: &Thresholds, tell: &mut Tell<'_>) {
        let around = self.around(place, thresholds);
        let Some(case) = self.cases.get(place) else { return };
        let Some(episode) = &case.episode else { return };
        let judgement = decide(episode, &around, thresholds);
        if let Some(judgement) = &judgement {
            let (time_ns, service, owner) = (episode.last_ns, &case.service, &case.owner);
            tell(Change { time_ns, client, service, owner, judgement, episode, is_over: true });
        }
        if let Some(case) = self.cases.get_mut(place) {
            case.end(judgement.map(|judgement| judgement.kind));
        }
    }

    /// Ends all episodes; those of shared infrastructure last, since it says nothing beside a service.
    pub(crate) fn end_all(&mut self, client: &Client, thresholds: &Thresholds, tell: &mut Tell<'_>) {
        let is_shared = |case: &Case| case.episode.as_ref().is_some_and(Episode::is_shared);
        self.cases.sort_by(|one, other| (is_shared(one), &one.service).cmp(&(is_shared(other), &other.service)));
        for place in 0..self.cases.len() {
            self.end(place, client, thresholds, tell);
        }
    }

    /// Until when something of the case may be needed.
    pub(crate) fn keep_until_ns(&self, place: usize, thresholds: &Thresholds) -> u64 {
        self.cases.get(place).map_or(0, |case| case.keep_until_ns(thresholds))
    }

    /// What else of the client bears on a case.
    fn around(&self, place: usize, thresholds: &Thresholds) -> Around<'_> {
        let mut around = Around::default();
        let Some(case) = self.cases.get(place) else { return around };
        let Some(episode) = &case.episode else { return around };
        let is_near = |first_ns: u64, last_ns: u64| {
            let silence_ns = thresholds.silence_ns();
            first_ns <= episode.last_ns.saturating_add(silence_ns)
                && episode.first_ns <= last_ns.saturating_add(silence_ns)
        };
        for other in self.cases.iter().filter(|other| other.owner == case.owner) {
            let is_other = other.service != case.service;
            let past = other.past.filter(|past| is_other && is_near(past.first_ns, past.last_ns));
            around.other_service |= past.and_then(|past| past.kind).is_some_and(is_of_a_service);
            let beside = other.episode.as_ref().filter(|beside| is_near(beside.first_ns, beside.last_ns));
            let Some(beside) = beside else { continue };
            around.resolver |= beside.has(Class::Resolver);
            if is_other {
                around.boot_is_of_another |= episode.is_bare_first_start() && beside.has_program();
                if beside.is_bare_first_start() && episode.has_program() {
                    around.more_boot.extend(beside.boot_names());
                }
                // Only shared infrastructure asks this.
                around.other_service |= episode.is_shared() && says_something(beside, thresholds);
            }
        }
        around.earlier = episode.lone_interface().and_then(|lone| {
            let earlier = case.lone_families.iter().find(|(family, _)| **family == *lone);
            earlier.map(|(family, last_ns)| (&**family, episode.first_ns.saturating_sub(*last_ns) / 1_000_000_000))
        });
        around
    }
}

/// Whether an episode has a verdict about its service.
fn says_something(episode: &Episode, thresholds: &Thresholds) -> bool {
    decide(episode, &Around::default(), thresholds).is_some_and(|judgement| is_of_a_service(judgement.kind))
}

/// Whether a kind is about one service, and not about what services share.
const fn is_of_a_service(kind: Kind) -> bool {
    !matches!(kind, Kind::SharedInfra | Kind::NativeUnattributed)
}

impl Case {
    fn new(sighting: &Sighting<'_>) -> Self {
        Self {
            service: Arc::clone(sighting.service),
            owner: Arc::clone(sighting.owner),
            episode: None,
            reported: None,
            past: None,
            is_held: false,
            lone_families: Vec::new(),
        }
    }

    /// The episode is over, and had this kind.
    fn end(&mut self, kind: Option<Kind>) {
        let Some(episode) = self.episode.take() else { return };
        self.reported = None;
        self.is_held = false;
        self.past = Some(Past { first_ns: episode.first_ns, last_ns: episode.last_ns, kind });
        if let Some(lone) = episode.lone_interface() {
            self.lone_families.retain(|(family, _)| **family != *lone);
            if self.lone_families.len() >= LONE_FAMILIES_MAX {
                self.lone_families.remove(0);
            }
            self.lone_families.push((lone.into(), episode.last_ns));
        }
    }

    /// Until when something of the case may be needed.
    fn keep_until_ns(&self, thresholds: &Thresholds) -> u64 {
        if self.episode.is_some() {
            return u64::MAX;
        }
        let past_ns = self.past.map_or(0, |past| past.last_ns.saturating_add(2 * thresholds.silence_ns()));
        let lone_ns = self.lone_families.iter().map(|(_, last_ns)| *last_ns).max();
        let lone_ns = lone_ns.map_or(0, |last_ns| last_ns.saturating_add(thresholds.return_max_ns()));
        past_ns.max(lone_ns)
    }
}
