use std::net::IpAddr;

use super::*;
use crate::Origin;
use crate::policy::{BanChoices, BanInUse, Derogation, IdentityRule, PolicyParts, Scope, ScopeKind};
use crate::{Kind, Recogniser};
use time::Date;
use time::macros::date;
use vigie_signatures::{Ban, Bans, Clients};

/// 23:50 in Paris, where the ban of France holds; 22:50 in UTC, in which what is watched has its days.
const EVENING_S: u64 = 1_795_819_800;
const PARIS_MIDNIGHT_S: u64 = EVENING_S + 600;
const NOON_S: u64 = EVENING_S - 43_200;

/// What was told, in words: `opened fr 2026-11-27 background`.
#[derive(Default)]
struct Told {
    steps: Vec<String>,
    ids: Vec<String>,
    last: Option<Incident>,
    /// Kinds that no ban forbids, and that are reported.
    reported: Vec<Kind>,
}

impl Told {
    fn take(&mut self, finding: &Finding<'_>) {
        if let Finding::Verdict { change, is_reported: true, .. } = finding {
            self.reported.push(change.judgement.kind);
        }
        let Finding::Incident(change) = finding else { return };
        let Incident { day, judgement, ban, id, revision, .. } = change.incident;
        let why = match change.step {
            Step::Closed(closing) => format!(" {}", closing.as_str()),
            _ => String::new(),
        };
        let (step, kind) = (change.step.as_str(), judgement.kind.as_str());
        self.steps.push(format!("{step}{why} {} {day} {kind} {revision}", ban.id));
        self.ids.push(id.clone());
        self.last = Some(change.incident.clone());
    }
}

struct Scene {
    recogniser: Recogniser,
    policy: Policy,
    incidents: Incidents,
    told: Told,
    client: IpAddr,
    /// Of each contact, to the client and to the server.
    bytes: (u64, u64),
}

impl Scene {
    fn new(policy: Policy, limits: IncidentLimits) -> Self {
        Self {
            recogniser: Recogniser::new(Bundle::builtin(), Clients::builtin()),
            policy,
            incidents: Incidents::new(Thresholds::default(), 1_000, limits),
            told: Told::default(),
            client: "10.0.0.1".parse().unwrap(),
            bytes: (100, 10),
        }
    }

    fn builtin() -> Self {
        Self::new(Policy::builtin(), IncidentLimits::default())
    }

    fn contact(&mut self, seconds: u64, name: &str) {
        let server = name.parse().ok();
        let name = if server.is_some() { None } else { Some(name) };
        let rule = self.recogniser.flow(name, server).unwrap();
        let attribution = self.recogniser.attribute(rule).unwrap();
        let client = Client::Address(self.client);
        let origin = Origin::address(self.client);
        let service = (&attribution.service, &attribution.owner);
        let sighting = Sighting {
            time_ns: seconds * 1_000_000_000,
            bytes_to_client: self.bytes.0,
            bytes_to_server: self.bytes.1,
            server_country: Some("US"),
            is_cleartext: seconds % 2 == 1,
            ..Sighting::of_flow((&client, &origin), service, rule, name.unwrap_or_default())
        };
        let told = &mut self.told;
        let bundle = self.recogniser.bundle();
        self.incidents.sighting(&self.policy, bundle, &sighting, &mut |finding| told.take(&finding));
    }

    /// The application starts.
    fn app(&mut self, seconds: u64) {
        self.contact(seconds, "tnc16-normal-no1a.tiktokv.eu");
        self.contact(seconds, "frontier.tiktokv-eu.com");
    }

    fn rotate_key(&mut self) {
        let told = &mut self.told;
        self.incidents.key_rotated(&mut |finding| told.take(&finding));
    }

    fn end(&mut self) {
        let told = &mut self.told;
        self.incidents.end(&self.policy, self.recogniser.bundle(), &mut |finding| told.take(&finding));
        assert!(self.incidents.is_empty());
    }

    fn steps(&self) -> Vec<&str> {
        self.told.steps.iter().map(String::as_str).collect()
    }
}

/// One that was added on 27 November.
fn derogation(who: &str, from: Date) -> Derogation {
    Derogation {
        id: "2026-001".to_owned(),
        who: vec![who.parse().unwrap()],
        services: vec!["tiktok".to_owned()],
        bans: Vec::new(),
        from,
        until: date!(2026 - 12 - 31),
        ended: None,
        added: date!(2026 - 11 - 27),
        reason: "institutional account".to_owned(),
        approver: "secretary-general".to_owned(),
        reference: "SG-17".to_owned(),
    }
}

#[test]
fn many_flows_are_one_incident_with_totals() {
    let mut scene = Scene::builtin();
    scene.app(NOON_S);
    for flow in 1..=300 {
        scene.contact(NOON_S + flow, "tnc16-normal-no1a.tiktokv.eu");
    }
    scene.end();
    assert_eq!(scene.steps(), ["opened fr 2026-11-27 background 1", "closed input-ended fr 2026-11-27 background 2"]);
    let incident = scene.told.last.unwrap();
    assert_eq!((incident.flows, incident.bytes_to_client, incident.bytes_to_server), (302, 30_200, 3_020));
    assert_eq!((incident.first_ns, incident.last_ns), (NOON_S * 1_000_000_000, (NOON_S + 300) * 1_000_000_000));
    let texts = |list: &[Box<str>]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(texts(&incident.names), ["tnc16-normal-no1a.tiktokv.eu", "frontier.tiktokv-eu.com"]);
    assert_eq!(texts(&incident.families), ["native/tnc", "native/frontier"]);
    assert_eq!(
        (texts(&incident.regions), texts(&incident.destinations.countries)),
        (vec!["Norway".to_owned()], vec!["US".to_owned()])
    );
    assert!(incident.destinations.cleartext && incident.severity == 1);
    // The contacts that led to it count, those without a region too.
    assert_eq!(incident.destinations.region_bytes, [("Norway".into(), 30_100, 3_010), ("".into(), 100, 10)]);
    assert_eq!(scene.incidents.counts(), Counts { judged: 302, ..Counts::default() });
}

#[test]
fn an_incident_rises_and_continues_once_an_hour() {
    let mut scene = Scene::builtin();
    scene.contact(NOON_S, "www.capcut.com");
    scene.contact(NOON_S + 10, "tnc-sg.capcutapi.com");
    scene.contact(NOON_S + 11, "log32-normal-sg.capcutapi.com");
    for minute in 1..=130 {
        scene.contact(NOON_S + 11 + minute * 60, "log32-normal-sg.capcutapi.com");
    }
    assert_eq!(
        scene.steps(),
        [
            "opened watch-bytedance 2026-11-27 site 1",
            "risen watch-bytedance 2026-11-27 background 2",
            "continues watch-bytedance 2026-11-27 background 3",
            "continues watch-bytedance 2026-11-27 background 4",
        ]
    );
    assert_eq!(scene.told.ids.iter().collect::<std::collections::HashSet<_>>().len(), 1);
}

#[test]
fn a_visit_that_the_ban_does_not_forbid_is_reported_only() {
    let mut scene = Scene::builtin();
    scene.contact(NOON_S, "im-ws.tiktok.com");
    scene.contact(NOON_S, "analytics.tiktok.com");
    scene.end();
    assert_eq!(scene.steps(), [""; 0]);
    assert_eq!(scene.told.reported, [Kind::Site, Kind::Site], "while it goes on, and at its end");
    let mut scene = Scene::builtin();
    scene.app(NOON_S);
    scene.client = "10.0.0.2".parse().unwrap();
    scene.contact(NOON_S, "analytics.tiktok.com");
    scene.end();
    assert_eq!(scene.told.reported, [], "neither incidents nor pixels");
}

#[test]
fn morning_and_evening_of_a_day_are_one_incident() {
    let mut scene = Scene::builtin();
    scene.app(NOON_S);
    scene.app(NOON_S + 20_000);
    scene.end();
    assert_eq!(
        scene.steps(),
        [
            "opened fr 2026-11-27 background 1",
            "continues fr 2026-11-27 background 2",
            "closed input-ended fr 2026-11-27 background 3"
        ]
    );
}

#[test]
fn an_episode_over_midnight_goes_on_in_the_next_days_incident() {
    let mut scene = Scene::builtin();
    scene.app(PARIS_MIDNIGHT_S - 100);
    scene.contact(PARIS_MIDNIGHT_S, "frontier.tiktokv-eu.com");
    scene.end();
    assert_eq!(
        scene.steps(),
        [
            "opened fr 2026-11-27 background 1",
            "closed day-over fr 2026-11-27 background 2",
            "opened fr 2026-11-28 background 1",
            "closed input-ended fr 2026-11-28 background 2",
        ]
    );
    assert!(scene.told.ids[0] == scene.told.ids[1] && scene.told.ids[1] != scene.told.ids[2]);
    assert_eq!(scene.told.last.unwrap().flows, 1);
}

#[test]
fn the_next_day_opens_its_own_incident() {
    let mut scene = Scene::builtin();
    scene.app(EVENING_S);
    scene.app(EVENING_S + 43_200);
    assert_eq!(
        scene.steps(),
        [
            "opened fr 2026-11-27 background 1",
            "closed day-over fr 2026-11-27 background 2",
            "opened fr 2026-11-28 background 1",
        ]
    );
    assert_eq!(scene.incidents.len(), 1);
}

#[test]
fn incidents_close_at_midnight_while_others_are_seen() {
    let mut scene = Scene::builtin();
    scene.app(EVENING_S);
    scene.client = "10.0.0.2".parse().unwrap();
    scene.contact(PARIS_MIDNIGHT_S - 1, "analytics.tiktok.com");
    assert_eq!(scene.steps(), ["opened fr 2026-11-27 background 1"]);
    scene.contact(PARIS_MIDNIGHT_S + 60, "analytics.tiktok.com");
    assert_eq!(scene.steps().last(), Some(&"closed day-over fr 2026-11-27 background 2"));
}

#[test]
fn too_many_incidents_close_the_oldest() {
    let mut scene = Scene::new(Policy::builtin(), IncidentLimits { open_max: 2, ..IncidentLimits::default() });
    for client in ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4"] {
        scene.client = client.parse().unwrap();
        scene.app(NOON_S);
    }
    assert_eq!((scene.incidents.len(), scene.incidents.evicted()), (2, 2));
    let evicted = scene.steps().iter().filter(|step| step.starts_with("closed evicted")).count();
    assert_eq!(evicted, 2);
    assert_eq!(scene.told.ids[0], scene.told.ids[3], "the first that opened closes first");
}

#[test]
fn a_derogation_that_begins_closes_the_incident() {
    let derogation = derogation("10.0.0.1", date!(2026 - 11 - 28));
    let policy = Policy::new(PolicyParts { derogations: vec![derogation], ..PolicyParts::default() }).unwrap();
    let mut scene = Scene::new(policy, IncidentLimits::default());
    scene.app(PARIS_MIDNIGHT_S - 100);
    scene.app(PARIS_MIDNIGHT_S + 1);
    scene.end();
    assert_eq!(scene.steps(), ["opened fr 2026-11-27 background 1", "closed excused fr 2026-11-27 background 2"]);
    assert_eq!(scene.incidents.counts(), Counts { judged: 2, excused: 2, ..Counts::default() });
}

#[test]
fn whom_no_scope_names_leaves_a_count_only() {
    let parts = PolicyParts { unlisted: Some(ScopeKind::Guest), ..PolicyParts::default() };
    let mut scene = Scene::new(Policy::new(parts).unwrap(), IncidentLimits::default());
    scene.app(NOON_S);
    scene.contact(NOON_S, "x.com");
    scene.end();
    assert_eq!(scene.steps(), [""; 0]);
    assert_eq!(scene.incidents.counts(), Counts { out_of_scope: 3, ..Counts::default() });
}

#[test]
fn infrastructure_that_no_ban_covers_supports_a_service_that_one_covers() {
    let builtin = Policy::builtin();
    let bans = builtin.bans().iter().filter(|used| !used.is_watch()).cloned().collect();
    let mut scene =
        Scene::new(Policy::new(PolicyParts { bans, ..PolicyParts::default() }).unwrap(), IncidentLimits::default());
    scene.contact(NOON_S, "34.102.215.99");
    scene.contact(NOON_S + 1, "frontier.tiktokv-eu.com");
    scene.contact(NOON_S + 2, "x.com");
    assert_eq!(scene.steps(), ["opened fr 2026-11-27 background 1"]);
    assert_eq!(scene.incidents.counts(), Counts { judged: 1, not_banned: 1, ..Counts::default() });
}

#[test]
fn alerts_are_bounded_by_the_minute() {
    let mut scene = Scene::new(Policy::builtin(), IncidentLimits { alerts_per_minute: 3, ..IncidentLimits::default() });
    scene.app(NOON_S);
    let client = Client::Address(scene.client);
    let mut alerts = |service: &str, second: u64| {
        scene.incidents.alert(&client, &Arc::from(service), (NOON_S + second) * 1_000_000_000).len()
    };
    let minute = 60 - NOON_S % 60;
    assert_eq!((0..5).map(|_| alerts("tiktok", minute)).collect::<Vec<_>>(), [1, 1, 1, 0, 0]);
    assert_eq!((alerts("tiktok", minute + 59), alerts("tiktok", minute + 60)), (0, 1));
    assert_eq!(alerts("capcut", minute + 61), 0);
    scene.end();
    assert_eq!(scene.told.last.unwrap().alerts_left_out, 3);
}

#[test]
fn a_replay_gives_the_same_ids() {
    let ids = || {
        let mut scene = Scene::builtin();
        scene.app(NOON_S);
        scene.contact(NOON_S, "www.capcut.com");
        scene.end();
        scene.told.ids
    };
    assert_eq!(ids(), ids());
    assert_eq!(ids().len(), 4);
}

#[test]
fn when_pseudonyms_have_a_new_key_incidents_close_and_open_anew_with_the_next_contact() {
    let mut scene = Scene::builtin();
    scene.app(NOON_S);
    let id = scene.told.ids[0].clone();
    let told = &mut scene.told;
    scene.incidents.key_rotated(&mut |finding| told.take(&finding));
    assert!(scene.incidents.is_empty(), "a closed incident raises no alerts");
    assert_eq!(scene.told.last.as_ref().unwrap().last_ns, NOON_S * 1_000_000_000);
    scene.contact(NOON_S + 100, "tnc16-normal-no1a.tiktokv.eu");
    scene.contact(NOON_S + 101, "tnc16-normal-no1a.tiktokv.eu");
    scene.end();
    assert_eq!(
        scene.steps(),
        [
            "opened fr 2026-11-27 background 1",
            "closed key-rotated fr 2026-11-27 background 2",
            "opened fr 2026-11-27 background 1",
            "closed input-ended fr 2026-11-27 background 2"
        ]
    );
    assert_ne!(scene.told.ids[2], id);
    assert_eq!(scene.told.last.unwrap().flows, 2);
}

#[test]
fn after_a_new_key_a_client_that_was_silent_is_judged_anew() {
    let mut scene = Scene::builtin();
    scene.app(NOON_S);
    let told = &mut scene.told;
    scene.incidents.key_rotated(&mut |finding| told.take(&finding));
    scene.contact(NOON_S + 4_000, "p16-sign.tiktokcdn-us.com");
    assert!(scene.incidents.is_empty(), "what a page loads opens nothing");
    scene.app(NOON_S + 8_000);
    assert_eq!(scene.steps()[2..], ["opened fr 2026-11-27 background 1"]);
}

#[test]
fn after_a_new_key_an_incident_goes_on_for_as_long_as_an_episode_does() {
    for (silent_s, goes_on) in [(300, true), (301, false)] {
        let mut scene = Scene::builtin();
        scene.app(NOON_S);
        scene.rotate_key();
        // Time is looked at just before.
        scene.client = "10.0.0.2".parse().unwrap();
        scene.contact(NOON_S + 290, "x.com");
        scene.client = "10.0.0.1".parse().unwrap();
        scene.contact(NOON_S + silent_s, "tnc16-normal-no1a.tiktokv.eu");
        assert_eq!(scene.incidents.len(), usize::from(goes_on), "silent for {silent_s} s");
    }
}

#[test]
fn what_opened_anew_by_its_verdict_opens_once() {
    let mut scene = Scene::builtin();
    scene.contact(NOON_S, "www.capcut.com");
    scene.contact(NOON_S + 1, "tnc-v2-boot.capcutapi.com");
    scene.contact(NOON_S + 2, "mon-v2-boot.capcutapi.com");
    scene.rotate_key();
    scene.client = "10.0.0.2".parse().unwrap();
    scene.contact(NOON_S + 31, "x.com");
    scene.client = "10.0.0.1".parse().unwrap();
    scene.contact(NOON_S + 32, "www.capcut.com");
    assert_eq!(
        scene.steps(),
        [
            "opened watch-bytedance 2026-11-27 site 1",
            "closed key-rotated watch-bytedance 2026-11-27 site 2",
            "opened watch-bytedance 2026-11-27 background 1"
        ]
    );
    assert_eq!(scene.incidents.len(), 1);
}

#[test]
fn a_verdict_that_rises_after_a_new_key_opens_anew_under_each_ban_once() {
    let mut scene = Scene::builtin();
    scene.app(NOON_S);
    for _ in 0..2 {
        let told = &mut scene.told;
        scene.incidents.key_rotated(&mut |finding| told.take(&finding));
    }
    assert_eq!(scene.steps().len(), 2, "what is closed closes once");
    for second in 0..3 {
        scene.contact(NOON_S + 10 + second, "mssdk16-normal-no1a.tiktokv.eu");
        scene.contact(NOON_S + 10 + second, "webcast16-normal-no1a.tiktokv.eu");
    }
    scene.end();
    let opened = scene.steps().iter().filter(|step| step.starts_with("opened")).count();
    assert_eq!(opened, 2, "{:?}", scene.steps());
}

#[test]
fn with_a_warning_first_the_second_finding_of_a_period_names_the_client() {
    let mut scene = Scene::builtin();
    scene.incidents =
        std::mem::replace(&mut scene.incidents, Incidents::new(Thresholds::default(), 9, IncidentLimits::default()))
            .warning_first(PeriodLength::Month);
    let is_warning = |scene: &Scene| scene.told.last.as_ref().unwrap().is_warning;
    scene.app(NOON_S);
    assert!(is_warning(&scene));
    assert_eq!(scene.incidents.save().warned.len(), 1, "a restart does not forget it");
    scene.contact(NOON_S + 7_200, "tnc16-normal-no1a.tiktokv.eu");
    assert!(scene.steps().last().unwrap().starts_with("continues") && is_warning(&scene), "{:?}", scene.steps());
    scene.app(NOON_S + 86_400);
    assert_eq!(scene.steps().last(), Some(&"opened fr 2026-11-28 background 1"));
    assert!(!is_warning(&scene));
    scene.client = "10.0.0.2".parse().unwrap();
    scene.app(NOON_S + 86_500);
    assert!(is_warning(&scene), "each client is warned");
    scene.app(NOON_S + 5 * 86_400);
    assert_eq!(scene.steps().last(), Some(&"opened fr 2026-12-02 background 1"));
    assert!(is_warning(&scene), "December is another period");
    assert_eq!(scene.incidents.warnings_forgotten(), 0);
}

fn ban(id: &str) -> BanInUse {
    BanInUse::new(Bans::builtin().get(id).unwrap(), BanChoices::default()).unwrap()
}

fn under(bans: &[&str]) -> Policy {
    Policy::new(PolicyParts { bans: bans.iter().map(|id| ban(id)).collect(), ..PolicyParts::default() }).unwrap()
}

/// One prefix, in which this stands for a device.
fn network(prefix: &str, identity: IdentityRule) -> Scope {
    Scope {
        name: "s".to_owned(),
        kind: ScopeKind::Official,
        identity,
        prefixes: vec![prefix.parse().unwrap()],
        vlans: Vec::new(),
        interfaces: Vec::new(),
        site: None,
        ministry: None,
    }
}

/// The scene after a restart, under a policy.
fn restarted(scene: &Scene, policy: Policy) -> (Scene, Resumed) {
    let text = serde_json::to_string(&scene.incidents.save()).unwrap();
    let saved: SavedIncidents = serde_json::from_str(&text).unwrap();
    assert_eq!(saved.last_ns(), scene.told.last.as_ref().map(|_| (NOON_S + 1) * 1_000_000_000));
    let mut after = Scene::new(policy, IncidentLimits::default());
    let resumed = after.incidents.resume(saved, &after.policy);
    (after, resumed)
}

#[test]
fn a_restart_loses_neither_incidents_nor_evidence() {
    let mut scene = Scene::new(under(&["fr", "be-federal", "watch-bytedance"]), IncidentLimits::default());
    scene.app(NOON_S);
    scene.contact(NOON_S + 1, "www.capcut.com");
    scene.client = "10.0.0.2".parse().unwrap();
    scene.contact(NOON_S + 2, "api16-normal-c-useast1a.tiktokv.com");
    let ids = |scene: &Scene| scene.incidents.save().incidents.iter().map(|it| it.id.clone()).collect::<Vec<_>>();
    assert_eq!(scene.steps().len(), 3);
    assert_eq!(ids(&scene), scene.told.ids, "in the order of their opening");

    let (mut after, resumed) = restarted(&scene, under(&["fr", "be-federal", "watch-bytedance"]));
    assert_eq!(resumed, Resumed { incidents: 3, incidents_dropped: 0, cases: 3 });
    assert_eq!((after.incidents.len(), ids(&after)), (3, ids(&scene)));
    after.client = scene.client;
    after.contact(NOON_S + 3, "frontier.tiktokv-eu.com");
    assert_eq!(after.steps().len(), 2, "the evidence of before the restart counts: {:?}", after.steps());
    after.end();

    let (mut after, resumed) = restarted(&scene, under(&["be-federal"]));
    assert_eq!(resumed, Resumed { incidents: 1, incidents_dropped: 2, cases: 3 });
    assert_eq!(after.incidents.len(), 1);
    after.end();
    assert_eq!(after.steps(), ["closed input-ended be-federal 2026-11-27 background 2"]);
    assert_eq!(restarted(&Scene::builtin(), Policy::builtin()).1, Resumed::default());
}

#[test]
fn two_bans_are_two_incidents_of_which_each_rises() {
    let mut scene = Scene::new(under(&["fr", "be-federal"]), IncidentLimits::default());
    scene.app(NOON_S);
    scene.contact(NOON_S + 1, "search16-normal-c-useast1a.tiktokv.com");
    scene.end();
    assert_eq!(
        scene.steps(),
        [
            "opened fr 2026-11-27 background 1",
            "opened be-federal 2026-11-27 background 1",
            "risen fr 2026-11-27 in-use 2",
            "risen be-federal 2026-11-27 in-use 2",
            "closed input-ended be-federal 2026-11-27 in-use 3",
            "closed input-ended fr 2026-11-27 in-use 3",
        ]
    );
}

#[test]
fn an_incident_that_went_on_over_midnight_closes_when_its_client_is_silent() {
    let other = |scene: &mut Scene, seconds| {
        scene.client = "10.0.0.2".parse().unwrap();
        scene.contact(seconds, "x.com");
        scene.client = "10.0.0.1".parse().unwrap();
    };
    let day_over = "closed day-over fr 2026-11-27 background 2";
    let mut scene = Scene::builtin();
    scene.app(PARIS_MIDNIGHT_S - 10);
    other(&mut scene, PARIS_MIDNIGHT_S + 60);
    assert_eq!(scene.steps().len(), 1);
    other(&mut scene, PARIS_MIDNIGHT_S + 400);
    assert_eq!((scene.steps().last(), scene.incidents.len()), (Some(&day_over), 0));

    // It is closed by a contact of its client that comes first.
    let mut scene = Scene::builtin();
    scene.app(PARIS_MIDNIGHT_S - 1);
    other(&mut scene, PARIS_MIDNIGHT_S + 298);
    assert_eq!(scene.steps().len(), 1);
    scene.contact(PARIS_MIDNIGHT_S + 310, "analytics.tiktok.com");
    assert_eq!((scene.steps().last(), scene.incidents.len()), (Some(&day_over), 0));
}

#[test]
fn a_verdict_of_the_next_day_closes_the_incident_of_the_day_before() {
    // What is watched has its days in UTC.
    let midnight_s = PARIS_MIDNIGHT_S + 3_600;
    let mut scene = Scene::new(under(&["watch-bytedance", "be-fwb"]), IncidentLimits::default());
    scene.contact(midnight_s - 20, "www.capcut.com");
    scene.contact(midnight_s - 15, "tnc-v2-boot.capcutapi.com");
    scene.contact(midnight_s - 14, "mon-v2-boot.capcutapi.com");
    scene.client = "10.0.0.2".parse().unwrap();
    scene.contact(midnight_s + 20, "x.com");
    assert_eq!(
        scene.steps(),
        [
            "opened watch-bytedance 2026-11-27 site 1",
            "closed day-over watch-bytedance 2026-11-27 site 2",
            "opened watch-bytedance 2026-11-28 background 1",
        ]
    );
    assert_eq!(scene.incidents.len(), 1);
    scene.end();
    assert_eq!(scene.steps().len(), 4);
}

#[test]
fn the_order_of_opening_is_kept_for_open_incidents_only() {
    let mut scene = Scene::new(Policy::builtin(), IncidentLimits { open_max: 2, ..IncidentLimits::default() });
    for day in 0..8 {
        scene.app(NOON_S + day * 86_400);
        assert_eq!((scene.incidents.save().incidents.len(), scene.incidents.len()), (1, 1));
    }
}

#[test]
fn a_derogation_closes_the_incident_of_a_device_known_by_its_network() {
    let policy = |derogations| {
        let scopes = vec![network("2001:db8::/32", IdentityRule::PrefixPerDevice)];
        Policy::new(PolicyParts { scopes, derogations, ..PolicyParts::default() }).unwrap()
    };
    let mut scene = Scene::new(policy(Vec::new()), IncidentLimits::default());
    scene.client = "2001:db8::1".parse().unwrap();
    scene.app(NOON_S);
    scene.policy = policy(vec![derogation("2001:db8::/64", date!(2026 - 11 - 27))]);
    scene.client = "2001:db8::2".parse().unwrap();
    scene.app(NOON_S + 10);
    assert_eq!(scene.steps(), ["opened fr 2026-11-27 background 1", "closed excused fr 2026-11-27 background 2"]);
}

#[test]
fn an_address_of_many_is_counted_only() {
    let scopes = vec![network("10.0.0.0/24", IdentityRule::Shared)];
    let policy = Policy::new(PolicyParts { scopes, ..PolicyParts::default() }).unwrap();
    let mut scene = Scene::new(policy, IncidentLimits::default());
    scene.app(NOON_S);
    assert_eq!(scene.steps(), [""; 0]);
    assert_eq!(scene.incidents.counts(), Counts { shared: 2, ..Counts::default() });
}

#[test]
fn infrastructure_supports_no_service_of_another_owner() {
    let mut only_netflix = Ban::clone(Bans::builtin().get("fr").unwrap());
    only_netflix.services = vec!["netflix".to_owned()];
    (only_netflix.categories, only_netflix.owners) = Default::default();
    let bans = vec![BanInUse::new(&Arc::new(only_netflix), BanChoices::default()).unwrap()];
    let policy = Policy::new(PolicyParts { bans, ..PolicyParts::default() }).unwrap();
    let mut scene = Scene::new(policy, IncidentLimits::default());
    scene.contact(NOON_S, "34.102.215.99");
    assert_eq!(scene.incidents.counts(), Counts { not_banned: 1, ..Counts::default() });
}

#[test]
fn open_incidents_are_known_by_client_and_service() {
    let mut scene = Scene::builtin();
    let client = Client::Address(scene.client);
    assert!(scene.incidents.is_empty() && !scene.incidents.is_open(&client, &"tiktok".into()));
    scene.app(NOON_S);
    assert!(!scene.incidents.is_empty() && scene.incidents.is_open(&client, &"tiktok".into()));
    assert!(!scene.incidents.is_open(&client, &"capcut".into()));
}

#[test]
fn what_ended_for_want_of_room_is_counted() {
    let mut scene = Scene::builtin();
    let limits = IncidentLimits { warned_max: 1, ..IncidentLimits::default() };
    scene.incidents = Incidents::new(Thresholds::default(), 1, limits).warning_first(PeriodLength::Day);
    for client in 1..=4 {
        scene.client = [10, 0, 0, client].into();
        scene.app(NOON_S);
    }
    assert_eq!((scene.incidents.cases_evicted(), scene.incidents.warnings_forgotten()), (3, 3));
    assert_eq!(scene.incidents.save().clients.len(), 1);
}

#[test]
fn clients_that_are_silent_are_forgotten() {
    let mut scene = Scene::builtin();
    scene.contact(NOON_S, "www.tiktok.com");
    scene.contact(NOON_S + 250, "www.capcut.com");
    assert_eq!(scene.incidents.save().clients[0].1.len(), 2);
    scene.client = "10.0.0.2".parse().unwrap();
    for seconds in [640, 950] {
        scene.contact(NOON_S + seconds, "x.com");
        let clients = scene.incidents.save().clients;
        let first = clients.iter().find(|(client, _)| **client == Client::Address([10, 0, 0, 1].into()));
        let cases = first.map(|(_, cases)| cases.len());
        assert_eq!(cases, (seconds == 640).then_some(1), "after {seconds} s");
    }
}

#[test]
fn whom_the_policy_leaves_out_is_left_out() {
    let scopes = vec![Scope { kind: ScopeKind::Guest, ..network("10.9.0.0/16", IdentityRule::Address) }];
    let policy = Policy::new(PolicyParts { scopes, ..PolicyParts::default() }).unwrap();
    let bundle = Bundle::builtin();
    let rule = bundle.name("www.tiktok.com").unwrap();
    for (address, expected) in [("10.9.0.1", true), ("10.8.0.1", false)] {
        let origin = Origin::address(address.parse().unwrap());
        let client = Client::Name("phone-7".into());
        let (service, owner) = ("tiktok".into(), "ByteDance".into());
        let sighting = Sighting {
            time_ns: NOON_S * 1_000_000_000,
            ..Sighting::of_flow((&client, &origin), (&service, &owner), rule, "www.tiktok.com")
        };
        assert_eq!(is_left_out(&policy, &bundle, &sighting), expected, "{address}");
        let mut incidents = Incidents::new(Thresholds::default(), 9, IncidentLimits::default());
        let known = incidents.sighting(&policy, &bundle, &sighting, &mut |_| {});
        assert_eq!(known, (!expected).then_some(client), "another tool's word for a client stands for itself");
    }
}

#[test]
fn lists_of_an_incident_are_bounded() {
    let mut scene = Scene::builtin();
    scene.app(NOON_S);
    let regions = ["no1a", "ie2", "fra4a", "mxp2a", "useastred", "useast5", "va", "useast2a", "alisg", "my", "ycru"];
    for (region, seconds) in regions.iter().zip(1..) {
        scene.contact(NOON_S + seconds, &format!("tnc16-normal-{region}.tiktokv.eu"));
        scene.contact(NOON_S + seconds, &format!("log32-normal-{region}.tiktokv.eu"));
    }
    scene.end();
    let Incident { names, regions, destinations, flows, .. } = scene.told.last.unwrap();
    assert_eq!((names.len(), regions.len(), destinations.region_bytes.len(), flows), (16, 8, 8, 24));
}

#[test]
fn a_region_has_the_bytes_of_both_directions() {
    let mut scene = Scene::builtin();
    scene.bytes = (0, 0);
    scene.app(NOON_S);
    let names = ["tnc16-normal-ie2.tiktokv.eu", "tnc16-normal-fra4a.tiktokv.eu", "tnc16-normal-mxp2a.tiktokv.eu"];
    for (bytes, name) in [(0, 0), (7, 0), (0, 5)].into_iter().zip(names) {
        scene.bytes = bytes;
        scene.contact(NOON_S + 1, name);
    }
    scene.end();
    let region_bytes = scene.told.last.unwrap().destinations.region_bytes;
    assert_eq!(region_bytes, [("Frankfurt".into(), 7, 0), ("Milan".into(), 0, 5)]);
}
