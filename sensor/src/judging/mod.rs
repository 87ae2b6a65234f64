//! Judges what workers see: their events go in, in about the order of packet time; changes of incidents, and the alerts
//! that belong to them, go out. `read` and `run` judge alike, so a replay gives the events of the tap.
//!
//! `contact.rs` makes a contact of an event, [`Contacts`] puts contacts in order, [`Incidents`] judges them, and `alerts.rs`
//! holds the sightings that wait for an incident. Where lines go, is the caller's business ([`Output`]).

mod alerts;
mod assets_seen;
mod candidates;
mod contact;
mod coverage_history;
mod state_file;
#[cfg(test)]
pub(crate) mod tests;

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use vigie_judgement::policy::Policy;
use vigie_judgement::{
    CaseKey, Counts, Finding, Incident, IncidentLimits, Incidents, Kind, Recogniser, Resumed, SavedIncidents,
    SavedIncidentsRef, Sighting, Step, Thresholds,
};
use vigie_signatures::{Bundle, Clients, Rule};

use self::alerts::Waiting;
use self::assets_seen::AssetsSeen;
pub use self::candidates::Candidates;
pub use self::coverage_history::CoverageHistory;
pub use self::state_file::{StateError, StateFile};
use crate::event::{Event, Fact, Flow, SavedSighting};
use crate::judge::line::{Record, What};
use crate::judge::{Contacts, Limits as ContactLimits, Payload};
use crate::privacy::{Privacy, Rotation};
use crate::record::Under;
use crate::settings;

/// Workers' events may be so much out of order, seconds.
const DISORDER_S: u64 = 2;

/// What waits for an incident is kept for so long: the time in which two lone interfaces prove an application.
const KEPT_NS: u64 = 86_400_000_000_000;

impl Payload for Box<Event> {
    fn memory_bytes(&self) -> usize {
        Event::memory_bytes(self)
    }
}

/// What judgement may use.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Clients × services under observation at most.
    pub cases_max: usize,
    /// Flows whose bytes are added up at most.
    pub flows_max: usize,
    /// Bytes of sightings that wait to be judged in the order of time at most.
    pub ordering_bytes_max: usize,
    /// Bytes of sightings that wait for an incident at most.
    pub waiting_bytes_max: usize,
    /// Of incidents.
    pub incidents: IncidentLimits,
    /// The numbers that verdicts hang on.
    pub thresholds: Thresholds,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            cases_max: 1 << 18,
            flows_max: 1 << 18,
            ordering_bytes_max: 128 << 20,
            waiting_bytes_max: 64 << 20,
            incidents: IncidentLimits::default(),
            thresholds: Thresholds::default(),
        }
    }
}

impl From<&settings::Judgement> for Limits {
    fn from(settings: &settings::Judgement) -> Self {
        Self {
            cases_max: settings.episodes_max,
            flows_max: settings.flows_max,
            ordering_bytes_max: settings.ordering_bytes_max,
            waiting_bytes_max: settings.waiting_bytes_max,
            incidents: IncidentLimits {
                open_max: settings.incidents_max,
                continues_s: settings.continues_s,
                alerts_per_minute: settings.alerts_per_minute_max,
                warned_max: settings.warned_max,
            },
            thresholds: Thresholds {
                silence_s: settings.silence_s,
                in_use_media_bytes: settings.in_use_media_bytes,
                player_length_s: settings.player_s,
                player_bytes: settings.player_bytes,
                preview_flows_max: settings.preview_flows_max,
                return_min_s: settings.return_min_s,
                return_max_s: settings.return_max_s,
                boot_wait_s: settings.boot_wait_s,
            },
        }
    }
}

/// What outlives a restart.
#[derive(Debug, Default, Deserialize)]
pub struct Saved {
    incidents: SavedIncidents,
    #[serde(default)]
    assets_seen: AssetsSeen,
    /// Sightings that wait for an incident.
    #[serde(default)]
    waiting: Vec<(CaseKey, Vec<SavedSighting<'static>>)>,
    #[serde(default)]
    coverage: CoverageHistory,
}

impl Saved {
    /// Applies changes of incidents that were told after this was saved.
    pub fn apply(&mut self, changes: Vec<(Incident, bool)>) {
        self.incidents.apply(changes);
    }

    /// Takes out what was covered before.
    pub fn take_coverage(&mut self) -> CoverageHistory {
        std::mem::take(&mut self.coverage)
    }
}

/// The same, borrowed.
#[derive(Debug, Serialize)]
pub struct SavedRef<'s> {
    incidents: SavedIncidentsRef<'s>,
    assets_seen: &'s AssetsSeen,
    waiting: Vec<(&'s CaseKey, Vec<SavedSighting<'s>>)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    coverage: Option<&'s CoverageHistory>,
}

impl<'s> SavedRef<'s> {
    /// Saves also what was covered.
    pub fn with_coverage(self, coverage: &'s CoverageHistory) -> Self {
        Self { coverage: Some(coverage), ..self }
    }
}

/// Where findings and alerts go.
pub trait Output {
    /// A verdict, or a change of an incident.
    fn finding(&mut self, finding: &Finding<'_>);
    /// A sighting that was judged: a ban covers its client and service.
    fn judged(&mut self, sighting: &Sighting<'_>);
    /// A sighting of a client and service with these incidents.
    fn alert(&mut self, sighting: &Event, under: &[Under]);
    /// Clients are named by these pseudonyms from now on.
    fn use_pseudonyms(&mut self, privacy: &Privacy, rotation: Rotation);
}

/// How often a limit was reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pressure {
    /// Contacts that were judged before their turn, since too many waited.
    pub hurried: u64,
    /// Flows whose further bytes are not counted.
    pub flows_forgotten: u64,
    /// Episodes that ended early, since too many clients were under observation.
    pub cases_evicted: u64,
    /// Incidents that were closed early, since too many were open.
    pub incidents_evicted: u64,
    /// Sightings that led to an incident, and were not written as alerts, since too many waited.
    pub alerts_left_out: u64,
    /// Findings that were told without their client, since too many were warned in a period to know them again.
    pub warnings_forgotten: u64,
}

/// Judges events.
#[derive(Debug)]
pub struct Judging {
    contacts: Contacts<Box<Event>>,
    judge: Judge,
    candidates: Candidates,
    assets_seen: AssetsSeen,
}

/// Judges sightings, which come in the order of time.
#[derive(Debug)]
struct Judge {
    recogniser: Recogniser,
    policy: Arc<Policy>,
    incidents: Incidents,
    waiting: Waiting,
    privacy: Privacy,
}

impl Judging {
    /// Judges by this policy from now on.
    pub fn new(bundle: Arc<Bundle>, policy: Arc<Policy>, limits: Limits) -> Self {
        let contacts = ContactLimits {
            disorder_s: DISORDER_S,
            flow_wait_s: DISORDER_S,
            flows_max: limits.flows_max,
            waiting_bytes_max: limits.ordering_bytes_max,
            ..ContactLimits::default()
        };
        Self {
            contacts: Contacts::new(contacts),
            judge: Judge {
                recogniser: Recogniser::new(bundle, Clients::builtin()),
                policy,
                incidents: Incidents::new(limits.thresholds, limits.cases_max, limits.incidents),
                waiting: Waiting::new(limits.waiting_bytes_max),
                privacy: Privacy::default(),
            },
            candidates: Candidates::default(),
            assets_seen: AssetsSeen::default(),
        }
    }

    /// Names clients as a configuration says.
    #[must_use]
    pub fn with_privacy(mut self, privacy: Privacy) -> Self {
        if let Some(period) = privacy.warning_period() {
            self.judge.incidents = self.judge.incidents.warning_first(period);
        }
        self.judge.privacy = privacy;
        self
    }

    /// An event comes, which may be written before it is judged: it is not written without pseudonyms.
    pub fn begin(&mut self, time_ns: u64, output: &mut dyn Output) {
        if self.judge.privacy.pseudonyms().is_none()
            && let Some(rotation) = self.judge.privacy.pass_time(time_ns)
        {
            output.use_pseudonyms(&self.judge.privacy, rotation);
        }
    }

    /// The policy in use.
    pub const fn policy(&self) -> &Arc<Policy> {
        &self.judge.policy
    }

    /// Replaces signatures and policy.
    pub fn use_snapshot(&mut self, bundle: &Arc<Bundle>, policy: &Arc<Policy>, privacy: &Privacy) {
        if !Arc::ptr_eq(self.judge.recogniser.bundle(), bundle) {
            self.judge.recogniser = Recogniser::new(Arc::clone(bundle), Clients::builtin());
        }
        self.judge.policy = Arc::clone(policy);
        self.judge.privacy.use_keys_of(privacy);
    }

    /// Takes an event. `interfaces` are the names of the capture's interfaces. Events of other kinds are not judged.
    pub fn take(&mut self, event: Event, interfaces: &[String], output: &mut dyn Output) {
        let time_ns = event.timestamp_ns;
        self.begin(time_ns, output);
        if let Fact::Sighting(seen) | Fact::Question(seen) = &event.fact {
            self.assets_seen.add(self.judge.policy.assets(), seen.flow.client.ip(), seen.client_mac, time_ns);
        }
        let what = match &event.fact {
            Fact::Sighting(sighting) => contact::of_flow(&self.judge.recogniser, sighting, interfaces, time_ns),
            Fact::Question(question) => contact::of_question(&self.judge.recogniser, question, interfaces, time_ns),
            Fact::FlowBytes(flow) => Some(What::FlowBytes(contact::bytes(flow, time_ns, false))),
            Fact::FlowEnd(flow, _, Some(_)) => Some(What::FlowBytes(contact::bytes(flow, time_ns, true))),
            Fact::Clock { both_directions } => return self.pass_time(time_ns, *both_directions, output),
            Fact::Clients(clients) => {
                for client in clients {
                    self.assets_seen.add(self.judge.policy.assets(), client.ip(), None, time_ns);
                }
                return;
            }
            Fact::Candidate(flow, name, rule) => {
                self.candidate(flow, name, rule, interfaces, time_ns);
                return;
            }
            Fact::FlowEnd(_, _, None) | Fact::Hello(..) | Fact::Http(..) | Fact::Dns(..) => None,
        };
        let Some(what) = what else { return };
        let logged_ns = match &what {
            // Bytes at a flow's end are older than what comes with them.
            What::FlowBytes(_) => 0,
            _ => time_ns,
        };
        let payload = matches!(event.fact, Fact::Sighting(_)).then(|| Box::new(event));
        let Self { contacts, judge, .. } = self;
        contacts.take(Record { logged_ns, what }, payload, &mut |sighting, event| judge.take(sighting, event, output));
    }

    /// The input has ended: all that waits is judged, all episodes end, and all incidents close.
    pub fn finish(&mut self, output: &mut dyn Output) {
        self.judge_all(output);
        self.judge.end(output);
    }

    /// Judges all that waits for its turn. Episodes and incidents stay open.
    pub fn judge_all(&mut self, output: &mut dyn Output) {
        let Self { contacts, judge, .. } = self;
        contacts.finish(&mut |sighting, event| judge.take(sighting, event, output));
    }

    /// Sightings that led to no incident, by what the policy said.
    pub const fn counts(&self) -> Counts {
        self.judge.incidents.counts()
    }

    /// How often limits were reached.
    pub fn pressure(&self) -> Pressure {
        let contacts = self.contacts.counts();
        Pressure {
            hurried: contacts.hurried,
            flows_forgotten: contacts.flows_forgotten,
            cases_evicted: self.judge.incidents.cases_evicted(),
            incidents_evicted: self.judge.incidents.evicted(),
            alerts_left_out: self.judge.waiting.left_out(),
            warnings_forgotten: self.judge.incidents.warnings_forgotten(),
        }
    }

    /// All open incidents, and what may become one.
    pub const fn incidents(&self) -> &Incidents {
        &self.judge.incidents
    }

    /// How many devices are on the asset list, and how many of them were seen this month.
    pub fn assets_seen(&self) -> (usize, usize) {
        (self.judge.policy.assets().len(), self.assets_seen.count())
    }

    /// What a restart must not lose.
    pub fn save(&self) -> SavedRef<'_> {
        SavedRef {
            incidents: self.judge.incidents.save(),
            assets_seen: &self.assets_seen,
            waiting: self.judge.waiting.save(),
            coverage: None,
        }
    }

    /// Takes over what an earlier run saved. Incidents keep the pseudonyms that they had.
    pub fn resume(&mut self, saved: Saved, output: &mut dyn Output) -> Resumed {
        if let Some(last_ns) = saved.incidents.last_ns() {
            self.begin(last_ns, output);
        }
        self.assets_seen = saved.assets_seen;
        self.judge.waiting.resume(saved.waiting, self.judge.recogniser.bundle());
        self.judge.incidents.resume(saved.incidents, &self.judge.policy)
    }

    /// Names that may be missing in the signatures.
    pub const fn candidates(&self) -> &Candidates {
        &self.candidates
    }

    /// Takes them out, to begin anew.
    pub fn take_candidates(&mut self) -> Candidates {
        std::mem::take(&mut self.candidates)
    }

    /// Counts a name, unless its client is out of scope or excused.
    fn candidate(&mut self, flow: &Flow, name: &str, rule: &Rule, interfaces: &[String], time_ns: u64) {
        let Some(service) = self.judge.recogniser.bundle().service(&rule.service) else { return };
        let origin = contact::origin(flow, None, interfaces);
        if self.judge.policy.may_record(&origin, service, time_ns) {
            self.candidates.add(name, &rule.service, time_ns);
        }
    }

    fn pass_time(&mut self, now_ns: u64, both_directions: bool, output: &mut dyn Output) {
        let Self { contacts, judge, .. } = self;
        contacts.pass_time(now_ns, both_directions, &mut |sighting, event| judge.take(sighting, event, output));
        judge.pass_time(now_ns.saturating_sub(DISORDER_S * 1_000_000_000), output);
    }
}

impl Judge {
    /// A sighting comes. Its event is an alert if the client and service have an incident, or waits for one.
    fn take(&mut self, sighting: &Sighting<'_>, event: Option<Box<Event>>, output: &mut dyn Output) {
        self.rotate(sighting.time_ns, output);
        let Self { incidents, waiting, policy, recogniser, .. } = self;
        let client = incidents.sighting(policy, recogniser.bundle(), sighting, &mut |finding| {
            tell(waiting, &finding, output);
        });
        let Some(client) = client else { return };
        output.judged(sighting);
        let Some(event) = event else { return };
        let is_open = incidents.is_open(&client, sighting.service);
        // Alerts would name the client of a warning.
        let incidents = incidents.alert(&client, sighting.service, sighting.time_ns).into_iter();
        let under: Vec<Under> = incidents.filter(|incident| !incident.is_warning).map(Under::of).collect();
        if !under.is_empty() {
            output.alert(&event, &under);
        } else if !is_open {
            waiting.hold(CaseKey { client, service: Arc::clone(sighting.service) }, event);
        }
    }

    /// All sightings before a time have come.
    fn pass_time(&mut self, judged_ns: u64, output: &mut dyn Output) {
        self.rotate(judged_ns, output);
        let Self { incidents, waiting, policy, recogniser, .. } = self;
        incidents.advance(policy, recogniser.bundle(), judged_ns, &mut |finding| tell(waiting, &finding, output));
        waiting.forget_before(judged_ns.saturating_sub(KEPT_NS));
    }

    /// No sighting comes any more.
    fn end(&mut self, output: &mut dyn Output) {
        let Self { incidents, waiting, policy, recogniser, .. } = self;
        incidents.end(policy, recogniser.bundle(), &mut |finding| tell(waiting, &finding, output));
    }

    /// Uses the pseudonyms of the period of a time. No incident has those of two periods.
    fn rotate(&mut self, time_ns: u64, output: &mut dyn Output) {
        let Self { incidents, waiting, privacy, .. } = self;
        let Some(rotation) = privacy.pass_time(time_ns) else { return };
        incidents.key_rotated(&mut |finding| tell(waiting, &finding, output));
        output.use_pseudonyms(privacy, rotation);
    }
}

/// Tells a finding, and behind an incident that opens the alerts that waited for it.
fn tell(waiting: &mut Waiting, finding: &Finding<'_>, output: &mut dyn Output) {
    output.finding(finding);
    match finding {
        Finding::Incident(change) if change.step == Step::Opened => {
            let under = [Under::of(change.incident)];
            waiting.release(&case_of(change.incident), &mut |event| {
                if !change.incident.is_warning {
                    output.alert(event, &under);
                }
            });
        }
        // A lone interface, or one name of a first start, can still be proof together with a later one.
        Finding::Verdict { change, .. }
            if change.is_over && !matches!(change.judgement.kind, Kind::LoneInterface | Kind::BootOnly) =>
        {
            waiting.forget(&CaseKey { client: change.client.clone(), service: Arc::clone(change.service) });
        }
        _ => {}
    }
}

fn case_of(incident: &Incident) -> CaseKey {
    CaseKey { client: incident.key.client.clone(), service: Arc::clone(&incident.key.service) }
}
