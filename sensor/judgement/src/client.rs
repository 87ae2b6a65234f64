//! The cases of one client: an episode for each service, and what the services of one owner say about each other.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use vigie_signatures::Class;

use crate::episode::NAMES_MAX;
use crate::{
    Around, CaseKey, Change, Client, Contact, Episode, Judgement, Kind, Origin, Sighting, Thresholds, Verdict, decide,
};

/// Lone native families remembered of a client and service.
const LONE_FAMILIES_MAX: usize = 8;

/// What an episode of one service says to those of the owner's other services, also when it is over.
#[derive(Debug, Serialize, Deserialize)]
struct Beside {
    first_ns: u64,
    last_ns: u64,
    has_resolver: bool,
    /// Names other than those of a first start speak for a program.
    has_program: bool,
    /// Names of a first start, if nothing else speaks for a program.
    bare_boot: Vec<String>,
    /// It has a verdict about its service.
    says_something: bool,
}

impl Beside {
    fn of(episode: &Episode, thresholds: &Thresholds) -> Self {
        let bare_boot = episode.boot_names().filter(|_| episode.has_only_first_start_names());
        Self {
            first_ns: episode.first_ns,
            last_ns: episode.last_ns,
            has_resolver: episode.has(Class::Resolver),
            has_program: episode.has_program(),
            bare_boot: bare_boot.map(String::from).collect(),
            says_something: !episode.is_shared()
                && decide(episode, &Around::default(), thresholds)
                    .is_some_and(|judgement| is_of_a_service(judgement.kind)),
        }
    }

    /// Whether the gap to an episode is no longer than the silence that ends one.
    const fn is_near(&self, episode: &Episode, thresholds: &Thresholds) -> bool {
        let silence_ns = thresholds.silence_ns();
        self.first_ns <= episode.last_ns.saturating_add(silence_ns)
            && episode.first_ns <= self.last_ns.saturating_add(silence_ns)
    }
}

/// What the owner's other services say to an episode.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Support {
    resolver: bool,
    other_service: bool,
    other_program: bool,
    /// Names of first starts that nothing else of their service stands beside.
    bare_boot: Vec<String>,
}

impl Support {
    fn add(&mut self, beside: &Beside) {
        self.resolver |= beside.has_resolver;
        self.other_service |= beside.says_something;
        self.other_program |= beside.has_program;
        for name in &beside.bare_boot {
            if self.bare_boot.len() < NAMES_MAX && !self.bare_boot.contains(name) {
                self.bare_boot.push(name.clone());
            }
        }
    }
}

/// A client and a service.
#[derive(Debug, Serialize, Deserialize)]
struct Case {
    service: Arc<str>,
    owner: Arc<str>,
    /// Where the last contact came from.
    origin: Origin,
    episode: Option<Episode>,
    /// What episodes said that are over.
    support: Support,
    /// What was last reported of the episode.
    reported: Option<(Kind, bool)>,
    /// The last episode that ended.
    past: Option<Beside>,
    /// A first start waits to be reported.
    is_held: bool,
    /// Native families of earlier episodes that had no other, and when each was last contacted.
    lone_families: Vec<(Box<str>, u64)>,
}

/// The cases of a client.
#[derive(Debug, Default, Serialize, Deserialize)]
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

    pub(crate) const fn len(&self) -> usize {
        self.cases.len()
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
        if case.origin != *sighting.origin {
            case.origin = sighting.origin.clone();
        }
        match &mut case.episode {
            Some(episode) => episode.add(sighting, thresholds),
            None if sighting.contact == Contact::MoreBytes => false,
            None => {
                self.begin(place, sighting, thresholds);
                true
            }
        }
    }

    /// Judges the case of a sighting, and those of the owner's other services that it can support. Beside a service,
    /// shared infrastructure says nothing.
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
            let is_beside = |case: &Case| case.owner == *sighting.owner && (supports || case.is_shared());
            if other == place || self.cases.get(other).is_some_and(is_beside) {
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
            tell(case.change(now_ns, client, &judgement, episode, false));
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
            tell(case.change(episode.last_ns, client, judgement, episode, true));
        }
        let (past, owner, service) =
            (Beside::of(episode, thresholds), Arc::clone(&case.owner), Arc::clone(&case.service));
        for other in self.cases.iter_mut().filter(|other| other.owner == owner && other.service != service) {
            if other.episode.as_ref().is_some_and(|episode| past.is_near(episode, thresholds)) {
                other.support.add(&past);
            }
        }
        if let Some(case) = self.cases.get_mut(place) {
            case.end(past);
        }
    }

    /// Ends all episodes.
    pub(crate) fn end_all(&mut self, client: &Client, thresholds: &Thresholds, tell: &mut Tell<'_>) {
        self.cases.sort_by(|one, other| one.service.cmp(&other.service));
        for place in 0..self.cases.len() {
            self.end(place, client, thresholds, tell);
        }
    }

    /// Until when something of the case may be needed.
    pub(crate) fn keep_until_ns(&self, place: usize, thresholds: &Thresholds) -> u64 {
        self.cases.get(place).map_or(0, |case| case.keep_until_ns(thresholds))
    }

    /// The owner's other services.
    fn others(&self, place: usize) -> impl Iterator<Item = &Case> {
        let case = self.cases.get(place);
        let is_other =
            move |other: &&Case| case.is_some_and(|case| other.owner == case.owner && other.service != case.service);
        self.cases.iter().filter(is_other)
    }

    /// An episode begins: what ended a short while ago still counts.
    fn begin(&mut self, place: usize, sighting: &Sighting<'_>, thresholds: &Thresholds) {
        let episode = Episode::new(sighting);
        let mut support = Support::default();
        let past = self.others(place).filter_map(|other| other.past.as_ref());
        past.filter(|past| past.is_near(&episode, thresholds)).for_each(|past| support.add(past));
        if let Some(case) = self.cases.get_mut(place) {
            (case.episode, case.support, case.reported) = (Some(episode), support, None);
        }
    }

    /// What else of the client bears on a case.
    fn around(&self, place: usize, thresholds: &Thresholds) -> Around<'_> {
        let Some(case) = self.cases.get(place) else { return Around::default() };
        let Some(episode) = &case.episode else { return Around::default() };
        let mut support = case.support.clone();
        let beside = self.others(place).filter_map(|other| other.episode.as_ref());
        let beside = beside.map(|beside| Beside::of(beside, thresholds));
        beside.filter(|beside| beside.is_near(episode, thresholds)).for_each(|beside| support.add(&beside));
        let earlier = episode.lone_interface().and_then(|lone| {
            let earlier = case.lone_families.iter().find(|(family, _)| **family == *lone);
            earlier.map(|(family, last_ns)| (&**family, episode.first_ns.saturating_sub(*last_ns) / 1_000_000_000))
        });
        Around {
            resolver: support.resolver || episode.has(Class::Resolver),
            boot_is_of_another: episode.has_only_first_start_names() && support.other_program,
            more_boot: if episode.has_program() { support.bare_boot } else { Vec::new() },
            other_service: support.other_service,
            earlier,
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
            service: Arc::clone(sighting.service),
            owner: Arc::clone(sighting.owner),
            origin: sighting.origin.clone(),
            episode: None,
            support: Support::default(),
            reported: None,
            past: None,
            is_held: false,
            lone_families: Vec::new(),
        }
    }

    fn is_shared(&self) -> bool {
        self.episode.as_ref().is_some_and(Episode::is_shared)
    }

    fn change<'c>(
        &'c self,
        time_ns: u64,
        client: &'c Client,
        judgement: &'c Judgement,
        episode: &'c Episode,
        is_over: bool,
    ) -> Change<'c> {
        let Self { origin, service, owner, .. } = self;
        let is_new = self.reported != Some((judgement.kind, judgement.first_run));
        Change { time_ns, client, origin, service, owner, judgement, episode, is_over, is_new }
    }

    /// The episode is over, and said this.
    fn end(&mut self, past: Beside) {
        let Some(episode) = self.episode.take() else { return };
        self.reported = None;
        self.is_held = false;
        self.past = Some(past);
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
        let past_ns = self.past.as_ref().map_or(0, |past| past.last_ns.saturating_add(2 * thresholds.silence_ns()));
        let lone_ns = self.lone_families.iter().map(|(_, last_ns)| *last_ns).max();
        let lone_ns = lone_ns.map_or(0, |last_ns| last_ns.saturating_add(thresholds.return_max_ns()));
        past_ns.max(lone_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_first_starts_are_bounded_and_stand_once() {
        let beside = |names: &[&str]| Beside {
            first_ns: 0,
            last_ns: 0,
            has_resolver: false,
            has_program: false,
            bare_boot: names.iter().map(ToString::to_string).collect(),
            says_something: false,
        };
        let mut support = Support::default();
        support.add(&beside(&["a", "b"]));
        support.add(&beside(&["b", "c", "d", "e"]));
        assert_eq!(support.bare_boot, ["a", "b", "c", "d"]);
    }
}
