//! Who does what at which time of the day.

use super::people::{People, Person};
use super::sets::Catalogue;
use super::{Counts, LENGTH_NS, NameSet, START_NS, Use};
use crate::random::Random;

/// A use of a service by one person.
#[derive(Clone, Debug)]
pub(super) struct Session {
    pub time_ns: u64,
    pub person: Person,
    pub of: Use,
    /// The service, where a person stays with one.
    pub service: Option<String>,
    /// Place of a given set; none where names are drawn.
    pub given: Option<usize>,
    /// Whether the sensor should record what it proves.
    pub is_recorded: bool,
}

/// The sets of names that the caller gave, in any order.
#[derive(Debug, Default)]
pub(super) struct GivenSets {
    app: Vec<NameSet>,
    web: Vec<NameSet>,
    embed: Vec<NameSet>,
}

impl GivenSets {
    pub(super) fn new(sets: &[NameSet], random: &mut Random) -> Self {
        let mut given = Self::default();
        for set in sets.iter().filter(|set| !set.names.is_empty()) {
            given.of_mut(set.truth).push(set.clone());
        }
        for of in [Use::App, Use::Web, Use::Embed] {
            random.shuffle(given.of_mut(of));
        }
        given
    }

    /// A set; they are used in turn.
    pub(super) fn get(&self, of: Use, place: usize) -> Option<&NameSet> {
        self.of(of).get(place)
    }

    /// The services of the sets.
    pub(super) fn services(&self) -> impl Iterator<Item = &str> {
        self.app.iter().chain(&self.web).filter_map(|set| set.service.as_deref())
    }

    /// The place of the set for the turn with this number; none if there are no sets.
    fn turn(&self, of: Use, number: usize) -> Option<usize> {
        number.checked_rem(self.of(of).len())
    }

    const fn of(&self, of: Use) -> &Vec<NameSet> {
        match of {
            Use::App => &self.app,
            Use::Web => &self.web,
            Use::Embed => &self.embed,
        }
    }

    const fn of_mut(&mut self, of: Use) -> &mut Vec<NameSet> {
        match of {
            Use::App => &mut self.app,
            Use::Web => &mut self.web,
            Use::Embed => &mut self.embed,
        }
    }
}

/// All sessions of the day. Two of a person are at least ten minutes apart.
pub(super) fn sessions(
    people: &mut People,
    counts: &Counts,
    catalogue: &Catalogue,
    given: &GivenSets,
    random: &mut Random,
) -> Vec<Session> {
    let mut plan = Plan { people, catalogue, given, random, sessions: Vec::new() };
    let (app_users, visitors) = (plan.people.app_users().to_vec(), plan.people.visitors().to_vec());
    for (number, person) in app_users.into_iter().enumerate() {
        let times = plan.random.within(2..5);
        plan.user(person, Use::App, number, times, true);
    }
    for (number, person) in visitors.into_iter().enumerate() {
        let times = plan.random.within(1..4);
        plan.user(person, Use::Web, number, times, true);
    }
    let unrecorded: Vec<Person> =
        plan.people.excused().iter().copied().chain(plan.people.guests(counts.guests)).collect();
    for (number, person) in unrecorded.into_iter().enumerate() {
        plan.user(person, Use::App, number, 2, false);
        plan.user(person, Use::Web, number, 1, false);
    }
    for number in 0..counts.page_views as usize {
        let person = plan.people.reader(plan.random);
        plan.user(person, Use::Embed, number, 1, true);
    }
    plan.sessions
}

struct Plan<'p> {
    people: &'p mut People,
    catalogue: &'p Catalogue,
    given: &'p GivenSets,
    random: &'p mut Random,
    sessions: Vec<Session>,
}

impl Plan<'_> {
    /// A person uses a service some times, always the same one.
    fn user(&mut self, person: Person, of: Use, number: usize, times: usize, is_recorded: bool) {
        let given = self.given.turn(of, number);
        let service = (of != Use::Embed && given.is_none()).then(|| self.catalogue.draw_service(of, self.random));
        for _ in 0..times {
            let Some((slot, slots)) = self.people.slot(person) else { return };
            let slot_ns = LENGTH_NS / u64::from(slots);
            // The first half of each piece of the day stays free of beginnings.
            let in_slot_ns = self.random.below(slot_ns as usize / 2) as u64;
            let time_ns = START_NS + u64::from(slot) * slot_ns + in_slot_ns;
            self.sessions.push(Session { time_ns, person, of, service: service.clone(), given, is_recorded });
        }
    }
}
