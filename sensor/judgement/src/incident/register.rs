//! The open incidents, and when each of them is told.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;

use foldhash::fast::RandomState;
use time::Date;
use vigie_signatures::{Ban, Service};

use super::record::{Closing, Incident, IncidentChange, IncidentKey, Step};
use super::{Finding, Tell, WarnFirst};
use crate::policy::{Covering, Judged, Policy};
use crate::{CaseKey, Change, Client, PeriodLength, Sighting};

const SECOND_NS: u64 = 1_000_000_000;
/// How often it is asked whether a day is over.
const DAY_CHECK_NS: u64 = 60 * SECOND_NS;

/// Bounds of what is kept and told of incidents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IncidentLimits {
    /// Open incidents at most.
    pub open_max: usize,
    /// Least time between two reports that an incident continues, seconds.
    pub continues_s: u64,
    /// Alerts of an incident in a minute at most.
    pub alerts_per_minute: u32,
    /// Clients that are known again after a warning, in a period.
    pub warned_max: usize,
}

impl Default for IncidentLimits {
    fn default() -> Self {
        Self { open_max: 65_536, continues_s: 3_600, alerts_per_minute: 60, warned_max: 1 << 18 }
    }
}

/// The open incidents.
#[derive(Debug)]
pub struct Register {
    limits: IncidentLimits,
    silence_ns: u64,
    /// Those of a client, one for each service and ban.
    open: HashMap<Client, Vec<Incident>, RandomState>,
    count: usize,
    /// In order of opening; some of them have closed.
    order: VecDeque<(Client, String)>,
    next_day_check_ns: u64,
    /// The bans' days by which incidents were last closed.
    closed_by: Vec<(String, Date)>,
    /// Whether incidents can be past their day though the days are the same: they opened since, or go on over midnight.
    may_be_past: bool,
    evicted: u64,
    /// Closed since pseudonyms have a new key: they open anew if they go on.
    rotated: HashMap<CaseKey, Vec<Incident>, RandomState>,
    pub(super) warn_first: Option<WarnFirst>,
}

impl Register {
    pub fn new(limits: IncidentLimits, silence_ns: u64) -> Self {
        Self {
            limits,
            silence_ns,
            open: HashMap::default(),
            count: 0,
            order: VecDeque::new(),
            next_day_check_ns: 0,
            closed_by: Vec::new(),
            may_be_past: false,
            evicted: 0,
            rotated: HashMap::default(),
            warn_first: None,
        }
    }

    pub const fn len(&self) -> usize {
        self.count
    }

    pub const fn evicted(&self) -> u64 {
        self.evicted
    }

    /// Tells only site and service of a client's first finding in a period.
    pub fn warn_first(&mut self, period: PeriodLength) {
        self.warn_first = Some(WarnFirst::new(period, self.limits.warned_max));
    }

    /// The incidents in the order in which they opened.
    pub fn save(&self) -> Vec<&Incident> {
        let find = |(client, id): &(Client, String)| self.open.get(client)?.iter().find(|incident| incident.id == *id);
        self.order.iter().filter_map(find).collect()
    }

    /// Takes over incidents that an earlier run left open. Those of bans that are no longer in use are dropped; their
    /// number.
    pub fn resume(&mut self, incidents: Vec<Incident>, policy: &Policy) -> usize {
        let mut dropped = 0;
        self.may_be_past = true;
        for mut incident in incidents {
            let Some(used) = policy.bans().iter().find(|used| *used.ban().id == *incident.key.ban) else {
                dropped += 1;
                continue;
            };
            incident.ban = Arc::clone(used.ban());
            self.insert(incident);
        }
        dropped
    }

    /// Adds an open incident.
    fn insert(&mut self, incident: Incident) {
        self.order.push_back((incident.key.client.clone(), incident.id.clone()));
        self.open.entry(incident.key.client.clone()).or_default().push(incident);
        self.count += 1;
    }

    /// A client was seen, which may have open incidents.
    pub fn seen(&mut self, policy: &Policy, sighting: &Sighting<'_>, tell: &mut Tell<'_>) {
        self.go_on(policy, sighting, tell);
        self.open_anew(policy, sighting, tell);
    }

    fn go_on(&mut self, policy: &Policy, sighting: &Sighting<'_>, tell: &mut Tell<'_>) {
        let Self { open, count, order, limits, silence_ns, warn_first, may_be_past, .. } = self;
        let Some(of_client) = open.get_mut(sighting.client) else { return };
        of_client.retain_mut(|incident| {
            if incident.key.service != *sighting.service {
                return true;
            }
            if let Some(day) = day_of(policy, &incident.ban, sighting.time_ns).filter(|day| *day > incident.day) {
                let goes_on = sighting.time_ns.saturating_sub(incident.last_ns) <= *silence_ns;
                report(incident, incident.last_ns, Step::Closed(Closing::DayOver), tell);
                if !goes_on {
                    *count -= 1;
                    return false;
                }
                // An episode that goes on over midnight opens the next day's incident.
                incident.begin_day(day, sighting.time_ns);
                *may_be_past = true;
                incident.is_warning = WarnFirst::is_first(warn_first, incident);
                incident.add(sighting);
                order.push_back((incident.key.client.clone(), incident.id.clone()));
                report(incident, sighting.time_ns, Step::Opened, tell);
                return true;
            }
            incident.add(sighting);
            if sighting.time_ns.saturating_sub(incident.told_ns) >= limits.continues_s.saturating_mul(SECOND_NS) {
                report(incident, sighting.time_ns, Step::Continues, tell);
            }
            true
        });
        if of_client.is_empty() {
            open.remove(sighting.client);
        }
    }

    /// The incidents of a client and service that were closed since pseudonyms have a new key go on, unless the client was
    /// silent for so long that a new episode begins.
    fn open_anew(&mut self, policy: &Policy, sighting: &Sighting<'_>, tell: &mut Tell<'_>) {
        if self.rotated.is_empty() {
            return;
        }
        let case = CaseKey { client: sighting.client.clone(), service: Arc::clone(sighting.service) };
        for mut incident in self.rotated.remove(&case).into_iter().flatten() {
            if sighting.time_ns.saturating_sub(incident.last_ns) > self.silence_ns {
                continue;
            }
            let day = day_of(policy, &incident.ban, sighting.time_ns).unwrap_or(incident.day);
            incident.begin_day(day, sighting.time_ns);
            incident.is_warning = WarnFirst::is_first(&mut self.warn_first, &incident);
            incident.add(sighting);
            report(&mut incident, sighting.time_ns, Step::Opened, tell);
            self.insert(incident);
            self.may_be_past = true;
        }
    }

    /// A verdict is a finding under a ban.
    pub fn finding(
        &mut self,
        change: &Change<'_>,
        service: &Service,
        judged: &Judged<'_>,
        covering: &Covering<'_>,
        severity: u8,
        tell: &mut Tell<'_>,
    ) {
        let case = CaseKey { client: change.client.clone(), service: Arc::clone(change.service) };
        let ban = covering.ban.ban();
        let is_of_case = |incident: &Incident| incident.key.service == case.service && *incident.key.ban == *ban.id;
        let known = self.open.get_mut(&case.client).map_or(&mut [][..], Vec::as_mut_slice);
        let known = known.iter_mut().find(|incident| is_of_case(incident) && incident.day >= covering.day);
        if let Some(known) = known {
            let (kind, first_run) = (known.judgement.kind, known.judgement.first_run);
            known.judgement.rise(change.judgement.clone());
            known.severity = known.severity.min(severity);
            if (known.judgement.kind, known.judgement.first_run) != (kind, first_run) {
                report(known, change.time_ns, Step::Risen(kind), tell);
            }
            return;
        }
        // What was told before has had its incident, which closed; under another pseudonym, it is told again if it rises.
        if !change.is_new && !self.rises_anew(&case, &ban.id, change) {
            return;
        }
        if let Some(closed) = self.rotated.get_mut(&case) {
            closed.retain(|incident| *incident.key.ban != *ban.id);
        }
        let of_client = self.open.entry(case.client.clone()).or_default();
        if let Some(known) = of_client.iter_mut().find(|incident| is_of_case(incident)) {
            report(known, known.last_ns, Step::Closed(Closing::DayOver), tell);
            of_client.retain(|incident| !is_of_case(incident));
            self.count -= 1;
        }
        let key = IncidentKey {
            client: case.client.clone(),
            service: Arc::clone(&case.service),
            ban: ban.id.as_str().into(),
        };
        let mut incident = Incident::open(key, change, service, judged, covering, severity);
        incident.is_warning = WarnFirst::is_first(&mut self.warn_first, &incident);
        report(&mut incident, change.time_ns, Step::Opened, tell);
        self.insert(incident);
        self.may_be_past = true;
        self.make_room(change.time_ns, tell);
    }

    /// Whether a verdict says more than the incidents that were closed since pseudonyms have a new key.
    fn rises_anew(&self, case: &CaseKey, ban: &str, change: &Change<'_>) -> bool {
        let mut closed = self.rotated.get(case).into_iter().flatten().filter(|incident| *incident.key.ban == *ban);
        closed.any(|incident| {
            let mut judgement = incident.judgement.clone();
            judgement.rise(change.judgement.clone());
            (judgement.kind, judgement.first_run) != (incident.judgement.kind, incident.judgement.first_run)
        })
    }

    /// A derogation excuses a client: its incidents on this service close.
    pub fn excuse(&mut self, sighting: &Sighting<'_>, tell: &mut Tell<'_>) {
        if self.count == 0 && self.rotated.is_empty() {
            return;
        }
        let address = sighting.origin.address.map(|address| address.to_canonical());
        let prefix = match address {
            Some(IpAddr::V6(address)) => Some(Client::Prefix64((address.to_bits() >> 64) as u64)),
            _ => None,
        };
        let clients =
            [Some(sighting.client.clone()), address.map(Client::Address), prefix, sighting.origin.mac.map(Client::Mac)];
        for client in clients.into_iter().flatten() {
            let case = CaseKey { client, service: Arc::clone(sighting.service) };
            self.rotated.remove(&case);
            let Some(of_client) = self.open.get_mut(&case.client) else { continue };
            of_client.retain_mut(|incident| {
                let is_excused = incident.key.service == case.service;
                if is_excused {
                    self.count -= 1;
                    report(incident, sighting.time_ns, Step::Closed(Closing::Excused), tell);
                }
                !is_excused
            });
            if of_client.is_empty() {
                self.open.remove(&case.client);
            }
        }
    }

    /// Closes the incidents whose day is over where their ban holds. Asked once a minute of packet time.
    pub fn close_past_days(&mut self, policy: &Policy, now_ns: u64, tell: &mut Tell<'_>) {
        if now_ns < self.next_day_check_ns {
            return;
        }
        self.next_day_check_ns = now_ns.saturating_add(DAY_CHECK_NS);
        let silence_ns = self.silence_ns;
        self.rotated.retain(|_, of_case| {
            of_case.retain(|incident| now_ns.saturating_sub(incident.last_ns) <= silence_ns);
            !of_case.is_empty()
        });
        let days = policy.bans().iter().map(|used| (used.ban().id.clone(), policy.day(used.zone(), now_ns)));
        let days: Vec<(String, Date)> = days.collect();
        if days == self.closed_by && !self.may_be_past {
            return;
        }
        let mut some_go_on = false;
        self.close(Closing::DayOver, tell, |incident| {
            let day = days.iter().find(|(ban, _)| **ban == *incident.key.ban);
            let is_past = day.is_none_or(|(_, day)| *day > incident.day);
            // One that goes on over midnight is closed by its next contact.
            let goes_on = now_ns.saturating_sub(incident.last_ns) <= silence_ns;
            some_go_on |= is_past && goes_on;
            is_past && !goes_on
        });
        (self.closed_by, self.may_be_past) = (days, some_go_on);
    }

    pub fn close_all(&mut self, closing: Closing, tell: &mut Tell<'_>) {
        self.close(closing, tell, |_| true);
    }

    /// Pseudonyms have a new key: all incidents close, and may open anew.
    pub fn key_rotated(&mut self, tell: &mut Tell<'_>) {
        self.rotated.clear();
        for incident in self.close(Closing::KeyRotated, tell, |_| true) {
            let IncidentKey { client, service, .. } = incident.key.clone();
            self.rotated.entry(CaseKey { client, service }).or_default().push(incident);
        }
    }

    /// Closes those that are to be closed, in the order of their keys.
    fn close(
        &mut self,
        closing: Closing,
        tell: &mut Tell<'_>,
        mut is_to_close: impl FnMut(&Incident) -> bool,
    ) -> Vec<Incident> {
        let mut closed = Vec::new();
        self.open.retain(|_, of_client| {
            closed.extend(of_client.extract_if(.., |incident| is_to_close(incident)));
            !of_client.is_empty()
        });
        self.count -= closed.len();
        closed.sort_unstable_by(|one, other| one.key.cmp(&other.key));
        for incident in &mut closed {
            report(incident, incident.last_ns, Step::Closed(closing), tell);
        }
        closed
    }

    fn make_room(&mut self, now_ns: u64, tell: &mut Tell<'_>) {
        while self.count > self.limits.open_max.max(1) {
            let Some((client, id)) = self.order.pop_front() else { return };
            let Some(of_client) = self.open.get_mut(&client) else { continue };
            let Some(place) = of_client.iter().position(|incident| incident.id == id) else { continue };
            let mut incident = of_client.remove(place);
            if of_client.is_empty() {
                self.open.remove(&client);
            }
            self.count -= 1;
            self.evicted += 1;
            report(&mut incident, now_ns, Step::Closed(Closing::Evicted), tell);
        }
        if self.order.len() > self.limits.open_max.saturating_mul(2) {
            let Self { order, open, .. } = self;
            order.retain(|(client, id)| {
                open.get(client).is_some_and(|of_client| of_client.iter().any(|incident| incident.id == *id))
            });
        }
    }

    pub fn is_open(&self, client: &Client, service: &Arc<str>) -> bool {
        self.open.get(client).is_some_and(|of_client| of_client.iter().any(|known| known.key.service == *service))
    }

    /// The incidents for which a sighting may raise an alert. The others count it.
    pub fn alert(&mut self, client: &Client, service: &Arc<str>, time_ns: u64) -> Vec<&Incident> {
        let alerts_per_minute = self.limits.alerts_per_minute;
        let of_client = self.open.get_mut(client).into_iter().flatten();
        let of_case = of_client.filter(|incident| incident.key.service == *service);
        // An alert names its client, so a warning has none.
        let alerts = of_case.filter_map(|incident| {
            let limit = if incident.is_warning { 0 } else { alerts_per_minute };
            incident.take_alert(time_ns, limit).then_some(&*incident)
        });
        alerts.collect()
    }
}

/// The day of a time where a ban in use holds.
fn day_of(policy: &Policy, ban: &Arc<Ban>, time_ns: u64) -> Option<Date> {
    let used = policy.bans().iter().find(|used| Arc::ptr_eq(used.ban(), ban) || used.ban().id == ban.id)?;
    Some(policy.day(used.zone(), time_ns))
}

fn report(incident: &mut Incident, time_ns: u64, step: Step, tell: &mut Tell<'_>) {
    incident.revision += 1;
    incident.told_ns = time_ns;
    tell(Finding::Incident(IncidentChange { time_ns, step, incident }));
}
