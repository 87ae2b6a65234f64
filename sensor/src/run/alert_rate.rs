//! How many alerts of one client and signature are written in a minute. A client that opens thousands of matching
//! connections would drown the alerts of all others. What is beyond the rate is counted, and the first of these alerts is
//! written at the end of the minute; it says for how many it stands.
//!
//! The table is bounded. A pair that finds no place in it is not limited.

use std::hash::{BuildHasher, RandomState};
use std::mem;
use std::time::{Duration, Instant};

use crate::event::{Event, Fact};
use crate::settings::HELD_ALERTS_BYTES_MAX;

/// Over how long alerts are counted.
const WINDOW: Duration = Duration::from_secs(60);
/// Sets of the table.
const SETS: usize = 256;
/// Pairs in a set.
const SET_PAIRS: usize = 4;

/// A held alert that takes more is shown without its hello.
const HELD_ALERT_BYTES_MAX: usize = 4_096;
const _: () = assert!(SETS * SET_PAIRS * (size_of::<Pair>() + HELD_ALERT_BYTES_MAX) <= HELD_ALERTS_BYTES_MAX);

/// What becomes of an alert.
#[derive(Debug)]
pub enum Admission {
    /// It is written.
    Write(Event),
    /// It waits for the end of the minute.
    Held,
    /// The alert that waits stands for it.
    Summarised,
}

/// The alerts of a worker's clients in the last minute.
#[derive(Debug)]
pub struct AlertRate {
    per_minute_max: u32,
    hasher: RandomState,
    pairs: Vec<Pair>,
    /// Places of the pairs beyond the rate.
    limited: Vec<usize>,
}

/// A client and a signature.
#[derive(Debug, Default)]
struct Pair {
    /// Hash of the two; 0 for none.
    key: u64,
    since: Option<Instant>,
    alerts: u32,
    /// The first alert beyond the rate, and how many more there were.
    held: Option<Event>,
    summarised: u64,
}

impl Pair {
    fn is_over(&self, now: Instant) -> bool {
        self.since.is_none_or(|since| now.saturating_duration_since(since) >= WINDOW)
    }
}

impl AlertRate {
    /// So many alerts in a minute are written of one client and signature; all with 0.
    pub fn new(per_minute_max: usize) -> Self {
        let places = if per_minute_max == 0 { 0 } else { SETS * SET_PAIRS };
        let mut pairs = Vec::new();
        pairs.resize_with(places, Pair::default);
        Self {
            per_minute_max: u32::try_from(per_minute_max).unwrap_or(u32::MAX),
            hasher: RandomState::new(),
            pairs,
            limited: Vec::new(),
        }
    }

    /// What becomes of an event. Only alerts are limited.
    pub fn admit(&mut self, mut event: Event, now: Instant) -> Admission {
        let Fact::Sighting(sighting) = &event.fact else { return Admission::Write(event) };
        if self.pairs.is_empty() {
            return Admission::Write(event);
        }
        let key = self.hasher.hash_one((sighting.flow.client, sighting.rule.signature_id)).max(1);
        let Some(place) = self.place(key, now) else { return Admission::Write(event) };
        let Some(pair) = self.pairs.get_mut(place) else { return Admission::Write(event) };
        if pair.key != key || (pair.is_over(now) && pair.held.is_none()) {
            *pair = Pair { key, since: Some(now), ..Pair::default() };
        }
        if pair.alerts < self.per_minute_max {
            pair.alerts += 1;
            return Admission::Write(event);
        }
        if pair.held.is_some() {
            pair.summarised += 1;
            return Admission::Summarised;
        }
        if event.memory_bytes() > HELD_ALERT_BYTES_MAX
            && let Fact::Sighting(sighting) = &mut event.fact
        {
            sighting.hello = None;
        }
        pair.held = Some(event);
        self.limited.push(place);
        Admission::Held
    }

    /// Gives the alerts that wait and whose minute is over, or all of them.
    pub fn release(&mut self, now: Instant, all: bool, give: &mut dyn FnMut(Event)) {
        let pairs = &mut self.pairs;
        self.limited.retain(|&place| {
            let Some(pair) = pairs.get_mut(place) else { return false };
            if !all && !pair.is_over(now) {
                return true;
            }
            let Pair { held, summarised, .. } = mem::take(pair);
            if let Some(mut event) = held {
                if let Fact::Sighting(sighting) = &mut event.fact {
                    sighting.summarised = summarised;
                }
                give(event);
            }
            false
        });
    }

    /// The place of a pair: its own, or one whose minute is over.
    fn place(&self, key: u64, now: Instant) -> Option<usize> {
        let first = (key as usize % SETS) * SET_PAIRS;
        let set = self.pairs.get(first..first + SET_PAIRS)?;
        let own = set.iter().position(|pair| pair.key == key);
        let free = || set.iter().position(|pair| pair.held.is_none() && pair.is_over(now));
        Some(first + own.or_else(free)?)
    }
}

#[cfg(test)]
mod tests;
