//! Incidents: what a person has to look at. One for each client, service, ban and local day of the ban.
//!
//! * In: sightings, and the policy that says whose they are and which bans cover them.
//! * Out: [`IncidentChange`]s: an incident opens when a verdict is a finding under a ban, rises with the verdict, continues
//!   at most once an hour while the client is seen, and closes with totals.
//! * Whom the policy does not cover, or a derogation excuses, leaves no trace but a count.

mod id;
mod record;
mod register;
#[cfg(test)]
mod tests;
mod warn_first;

use std::sync::Arc;

use vigie_signatures::{Bundle, Class, Service};

pub use id::{incident_id, is_incident_id};
pub use record::{Closing, Incident, IncidentChange, IncidentKey, Step};
pub use register::IncidentLimits;

use crate::policy::{Judged, Outcome, Policy, Ruling, Subject};
use crate::state::{Resumed, SavedIncidents, SavedIncidentsRef};
use crate::{Cases, Change, Client, PeriodLength, Sighting, Thresholds};
use register::Register;
use warn_first::WarnFirst;

/// Sightings that led to no incident, by what the policy said. They name nobody.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Of guests, personal devices, and clients that no scope names.
    pub out_of_scope: u64,
    /// Under a derogation.
    pub excused: u64,
    /// Of services that no ban in force covers.
    pub not_banned: u64,
    /// Of networks whose addresses many devices share.
    pub shared: u64,
    /// Under a ban.
    pub judged: u64,
}

/// What came of a sighting.
#[derive(Debug)]
pub enum Finding<'f> {
    /// A verdict about a client that a ban covers. Reported: the ban does not forbid what was done.
    Verdict {
        /// The verdict and its episode.
        change: &'f Change<'f>,
        /// Name of the service for people.
        service_name: &'f str,
        /// Id of the first ban that covers it.
        ban: &'f str,
        /// Whether the ban covers the service without forbidding this.
        is_reported: bool,
    },
    /// An incident opened, changed or closed.
    Incident(IncidentChange<'f>),
}

/// All open incidents, and what may become one.
#[derive(Debug)]
pub struct Incidents {
    cases: Cases,
    register: Register,
    counts: Counts,
}

/// Takes what came of a sighting.
pub type Tell<'t> = dyn FnMut(Finding<'_>) + 't;

impl Incidents {
    /// None yet.
    pub fn new(thresholds: Thresholds, cases_max: usize, limits: IncidentLimits) -> Self {
        let silence_ns = thresholds.silence_ns();
        Self {
            cases: Cases::new(thresholds, cases_max),
            register: Register::new(limits, silence_ns),
            counts: Counts::default(),
        }
    }

    /// Tells only site and service of the first finding of a client in a period; the second names the client.
    #[must_use]
    pub fn warning_first(mut self, period: PeriodLength) -> Self {
        self.register.warn_first(period);
        self
    }

    /// Counts of what led to no incident.
    pub const fn counts(&self) -> Counts {
        self.counts
    }

    /// How many incidents are open.
    pub fn len(&self) -> usize {
        self.register.len()
    }

    /// Whether none is open.
    pub fn is_empty(&self) -> bool {
        self.register.len() == 0
    }

    /// Incidents that were closed early, since too many were open.
    pub const fn evicted(&self) -> u64 {
        self.register.evicted()
    }

    /// Findings that were told without their client, since too many clients were warned in a period to know them again.
    pub fn warnings_forgotten(&self) -> u64 {
        self.register.warn_first.as_ref().map_or(0, WarnFirst::forgotten)
    }

    /// Clients × services that were no longer observed, since there were too many.
    pub const fn cases_evicted(&self) -> u64 {
        self.cases.evicted()
    }

    /// What a restart must not lose.
    pub fn save(&self) -> SavedIncidentsRef<'_> {
        let warned = self.register.warn_first.as_ref().map(WarnFirst::save).unwrap_or_default();
        SavedIncidentsRef { incidents: self.register.save(), warned, ..self.cases.save() }
    }

    /// Takes over what an earlier run saved, as far as the policy still covers it.
    pub fn resume(&mut self, mut saved: SavedIncidents, policy: &Policy) -> Resumed {
        self.cases.resume(&mut saved);
        if let Some(rule) = &mut self.register.warn_first {
            rule.resume(std::mem::take(&mut saved.warned));
        }
        let all = saved.incidents.len();
        let incidents_dropped = self.register.resume(saved.incidents, policy);
        Resumed { incidents: all - incidents_dropped, incidents_dropped, cases: self.cases.len() }
    }

    /// Takes a sighting. Its client is whoever the policy says; none if nothing may be recorded of it.
    pub fn sighting(
        &mut self,
        policy: &Policy,
        bundle: &Bundle,
        sighting: &Sighting<'_>,
        tell: &mut Tell<'_>,
    ) -> Option<Client> {
        self.advance(policy, bundle, sighting.time_ns, tell);
        let service = bundle.service(sighting.service)?;
        let subject = Subject::of(sighting.origin, sighting.time_ns);
        let client = match policy.rule(&subject, service) {
            Ruling::OutOfScope => {
                self.counts.out_of_scope += 1;
                return None;
            }
            Ruling::Excused(_) => {
                self.counts.excused += 1;
                self.register.excuse(sighting, tell);
                return None;
            }
            Ruling::Counted(_) => {
                self.counts.shared += 1;
                return None;
            }
            Ruling::NotBanned => match self.supported(policy, bundle, sighting, &subject) {
                Some(client) => client,
                None => {
                    self.counts.not_banned += 1;
                    return None;
                }
            },
            Ruling::Judged(judged) => {
                self.counts.judged += 1;
                identity(sighting.client, &judged)
            }
        };
        let sighting = Sighting { client: &client, ..sighting.clone() };
        self.register.seen(policy, &sighting, tell);
        let Self { cases, register, .. } = self;
        cases.sighting(&sighting, &mut |change| on_change(register, policy, bundle, &change, tell));
        Some(client)
    }

    /// Time has gone on: episodes end, and incidents of days that are over close.
    pub fn advance(&mut self, policy: &Policy, bundle: &Bundle, now_ns: u64, tell: &mut Tell<'_>) {
        let Self { cases, register, .. } = self;
        cases.advance(now_ns, &mut |change| on_change(register, policy, bundle, &change, tell));
        register.close_past_days(policy, now_ns, tell);
    }

    /// The input has ended: all episodes do, and all incidents close.
    pub fn end(&mut self, policy: &Policy, bundle: &Bundle, tell: &mut Tell<'_>) {
        let Self { cases, register, .. } = self;
        cases.end(&mut |change| on_change(register, policy, bundle, &change, tell));
        register.close_all(Closing::InputEnded, tell);
    }

    /// Pseudonyms have a new key: all incidents close, so that none has two pseudonyms. Those that go on open anew with
    /// their next contact.
    pub fn key_rotated(&mut self, tell: &mut Tell<'_>) {
        self.register.key_rotated(tell);
    }

    /// Whether a client and service have an open incident.
    pub fn is_open(&self, client: &Client, service: &Arc<str>) -> bool {
        self.register.is_open(client, service)
    }

    /// The incidents for which a sighting may raise an alert: open ones of the client and service that have raised less
    /// than the limit in this minute. The others count it.
    pub fn alert(&mut self, client: &Client, service: &Arc<str>, time_ns: u64) -> Vec<&Incident> {
        self.register.alert(client, service, time_ns)
    }

    /// Contacts with infrastructure that no ban covers can prove an application that one covers: its client, then.
    fn supported(
        &self,
        policy: &Policy,
        bundle: &Bundle,
        sighting: &Sighting<'_>,
        subject: &Subject<'_>,
    ) -> Option<Client> {
        if !matches!(sighting.rule.class, Class::Resolver | Class::Infra) {
            return None;
        }
        let of_owner = bundle.services().iter().filter(|service| service.enabled && *service.owner == **sighting.owner);
        of_owner.into_iter().find_map(|service| match policy.rule(subject, service) {
            Ruling::Judged(judged) => Some(identity(sighting.client, &judged)),
            _ => None,
        })
    }
}

/// Whether nothing may be recorded of a sighting: its client is out of scope, or under a derogation.
pub fn is_left_out(policy: &Policy, bundle: &Bundle, sighting: &Sighting<'_>) -> bool {
    let Some(service) = bundle.service(sighting.service) else { return false };
    let ruling = policy.rule(&Subject::of(sighting.origin, sighting.time_ns), service);
    matches!(ruling, Ruling::OutOfScope | Ruling::Excused(_))
}

/// What stands for the device. Another tool's name for a client stands for itself.
fn identity(client: &Client, judged: &Judged<'_>) -> Client {
    match client {
        Client::Name(name) => Client::Name(Arc::clone(name)),
        _ => judged.identity.clone(),
    }
}

/// What a verdict means under the bans that cover it.
fn on_change(register: &mut Register, policy: &Policy, bundle: &Bundle, change: &Change<'_>, tell: &mut Tell<'_>) {
    let Some(service) = bundle.service(change.service) else { return };
    let Ruling::Judged(judged) = policy.rule(&Subject::of(change.origin, change.time_ns), service) else { return };
    let kind = change.judgement.kind;
    let mut is_incident = false;
    for covering in &judged.bans {
        if let Outcome::Incident(severity) = covering.outcome(kind) {
            is_incident = true;
            register.finding(change, service, &judged, covering, severity, tell);
        }
    }
    let ban = judged.bans.first().map_or("", |covering| &covering.ban.ban().id);
    let is_reported = !is_incident && kind.is_use();
    tell(Finding::Verdict { change, service_name: &service.name, ban, is_reported });
}

/// Name of a service for people.
fn service_name(service: &Service) -> Arc<str> {
    Arc::from(service.name.as_str())
}
