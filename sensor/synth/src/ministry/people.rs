//! The people of a ministry: their addresses, and who is excused.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Counts, Settings};
use crate::random::Random;

/// One person in this many is a guest.
const GUEST_ONE_IN: u32 = 20;
/// One person in this many has an IPv6 address.
const V6_ONE_IN: u32 = 8;
/// Offices: 10.16.0.0/12 and 2001:db8:20::/48.
const OFFICES_V4: u32 = 0x0a10_0000;
const OFFICES_V6: u128 = 0x2001_0db8_0020 << 80;
/// Guests: 10.96.0.0/12 and 2001:db8:90::/48.
const GUESTS_V4: u32 = 0x0a60_0000;
const GUESTS_V6: u128 = 0x2001_0db8_0090 << 80;
/// The guests' VLAN.
pub(super) const GUEST_VLAN: u16 = 90;
/// Pieces of the day, one for each thing that a person does. A step that has no factor with their number visits all.
const SLOTS: u32 = 24;
const SLOT_STEP: u32 = 7;

/// A person, by number: first the officials, then the guests.
pub(super) type Person = u32;

/// The people.
#[derive(Debug)]
pub(super) struct People {
    officials: u32,
    people: u32,
    app_users: Vec<Person>,
    visitors: Vec<Person>,
    excused: Vec<Person>,
    /// How many pieces of the day a person has used.
    used: HashMap<Person, u32>,
}

impl People {
    pub(super) fn new(settings: &Settings, counts: &Counts, random: &mut Random) -> Self {
        let people = settings.clients;
        let officials = people - (people / GUEST_ONE_IN).max(1).min(people);
        let mut chosen: Vec<Person> = (0..officials).collect();
        random.shuffle(&mut chosen);
        let mut chosen = chosen.into_iter();
        let mut some = |count: u32| chosen.by_ref().take(count as usize).collect::<Vec<Person>>();
        let (app_users, visitors) = (some(counts.app_users), some(counts.visitors));
        Self { officials, people, app_users, visitors, excused: some(counts.excused), used: HashMap::new() }
    }

    pub(super) fn all(&self) -> std::ops::Range<Person> {
        0..self.people
    }

    pub(super) fn app_users(&self) -> &[Person] {
        &self.app_users
    }

    pub(super) fn visitors(&self) -> &[Person] {
        &self.visitors
    }

    pub(super) fn excused(&self) -> &[Person] {
        &self.excused
    }

    pub(super) const fn is_guest(&self, person: Person) -> bool {
        person >= self.officials
    }

    /// Some guests.
    pub(super) fn guests(&self, count: u32) -> std::ops::Range<Person> {
        self.officials..self.people.min(self.officials.saturating_add(count))
    }

    /// An official who is not excused.
    pub(super) fn reader(&self, random: &mut Random) -> Person {
        loop {
            let person = random.below(self.officials as usize) as Person;
            if !self.excused.contains(&person) {
                return person;
            }
        }
    }

    /// A piece of the day in which the person has done nothing yet, and how many there are; none when all are used.
    pub(super) fn slot(&mut self, person: Person) -> Option<(u32, u32)> {
        let used = self.used.entry(person).or_default();
        let slot = (person.wrapping_mul(11).wrapping_add(*used * SLOT_STEP)) % SLOTS;
        *used += 1;
        (*used <= SLOTS).then_some((slot, SLOTS))
    }

    pub(super) fn address(&self, person: Person) -> IpAddr {
        let (place, v4, v6) = match self.is_guest(person) {
            true => (person - self.officials, GUESTS_V4, GUESTS_V6),
            false => (person, OFFICES_V4, OFFICES_V6),
        };
        if person.is_multiple_of(V6_ONE_IN) {
            return IpAddr::V6(Ipv6Addr::from_bits(v6 | u128::from(place + 0x10)));
        }
        // No address ends in 0 or 255.
        IpAddr::V4(Ipv4Addr::from_bits(v4 + (place / 250) * 256 + place % 250 + 2))
    }
}
