//! The sightings that wait until their client and service have an incident. Then they are written as alerts.

use std::collections::{HashMap, VecDeque};

use std::sync::Arc;

use foldhash::fast::RandomState;
use vigie_judgement::CaseKey;
use vigie_signatures::{Bundle, Rule};

use crate::event::{Event, SavedSighting};

/// Sightings of a client and service that wait at most.
const PER_CASE_MAX: usize = 64;

/// Sightings by client and service that have no incident yet. They are written when it opens, and forgotten when the
/// episode ends without one.
#[derive(Debug)]
pub struct Waiting {
    cases: HashMap<CaseKey, VecDeque<Box<Event>>, RandomState>,
    bytes: usize,
    bytes_max: usize,
    left_out: u64,
    /// When old sightings were last looked for.
    cleaned_ns: u64,
}

/// How often old sightings are looked for.
const CLEAN_EVERY_NS: u64 = 3_600_000_000_000;

impl Waiting {
    /// Nothing waits.
    pub fn new(bytes_max: usize) -> Self {
        Self { cases: HashMap::default(), bytes: 0, bytes_max, left_out: 0, cleaned_ns: 0 }
    }

    /// Sightings that found no room.
    pub const fn left_out(&self) -> u64 {
        self.left_out
    }

    /// What a restart must not lose, in an order that does not hang on hashes.
    pub fn save(&self) -> Vec<(&CaseKey, Vec<SavedSighting<'_>>)> {
        let cases = self.cases.iter();
        let cases =
            cases.map(|(case, events)| (case, events.iter().filter_map(|event| SavedSighting::of(event)).collect()));
        let mut cases: Vec<(&CaseKey, Vec<SavedSighting<'_>>)> = cases.collect();
        cases.sort_unstable_by_key(|(case, _)| *case);
        cases
    }

    /// Takes over what an earlier run saved. Sightings whose signature is gone are left out.
    pub fn resume(&mut self, saved: Vec<(CaseKey, Vec<SavedSighting<'_>>)>, bundle: &Bundle) {
        let rules: HashMap<u32, &Arc<Rule>, RandomState> =
            bundle.rules().iter().map(|rule| (rule.signature_id, rule)).collect();
        for (case, sightings) in saved {
            for sighting in sightings {
                match rules.get(&sighting.signature_id()) {
                    Some(rule) => self.hold(case.clone(), Box::new(sighting.into_event(Arc::clone(rule)))),
                    None => self.left_out += 1,
                }
            }
        }
    }

    /// Keeps a sighting until its client and service have an incident.
    pub fn hold(&mut self, case: CaseKey, event: Box<Event>) {
        let bytes = event.memory_bytes();
        if self.bytes.saturating_add(bytes) > self.bytes_max {
            self.left_out += 1;
            return;
        }
        let of_case = self.cases.entry(case).or_default();
        if of_case.len() >= PER_CASE_MAX
            && let Some(oldest) = of_case.pop_front()
        {
            self.bytes -= oldest.memory_bytes();
        }
        of_case.push_back(event);
        self.bytes += bytes;
    }

    /// The client and service have an incident.
    pub fn release(&mut self, case: &CaseKey, give: &mut dyn FnMut(&Event)) {
        for event in self.cases.remove(case).unwrap_or_default() {
            self.bytes -= event.memory_bytes();
            give(&event);
        }
    }

    /// Forgets sightings before this time, now and then.
    pub fn forget_before(&mut self, time_ns: u64) {
        if time_ns.saturating_sub(self.cleaned_ns) < CLEAN_EVERY_NS {
            return;
        }
        self.cleaned_ns = time_ns;
        let bytes = &mut self.bytes;
        self.cases.retain(|_, events| {
            events.retain(|event| {
                let is_kept = event.timestamp_ns >= time_ns;
                *bytes -= if is_kept { 0 } else { event.memory_bytes() };
                is_kept
            });
            !events.is_empty()
        });
    }

    /// The episode is over.
    pub fn forget(&mut self, case: &CaseKey) {
        self.release(case, &mut |_| {});
    }
}
