//! The rules, one by one, and each threshold on both of its sides: contacts in, kinds out.

// Clippy knows only functions marked as tests.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::cell::RefCell;
use std::collections::BTreeMap;

use vigie_judgement::{
    Answered, Cases, Change, Client, Contact, Judgement, Kind, Origin, Reason, Recogniser, Sighting, Stack, Thresholds,
};
use vigie_signatures::{Bundle, Clients};

const SECOND_NS: u64 = 1_000_000_000;
const MEGABYTE: u64 = 1_000_000;

/// A contact, with what most of them have.
#[derive(Clone)]
struct Seen {
    seconds: u64,
    name: &'static str,
    stack: Stack,
    bytes: u64,
    contact: Contact,
    answered: Answered,
    client: u8,
}

/// By a stack that is neither a browser's nor the app's.
const fn at(seconds: u64, name: &'static str) -> Seen {
    let (stack, contact, answered) = (Stack::Other, Contact::Flow, Answered::Unknown);
    Seen { seconds, name, stack, bytes: 1_000, contact, answered, client: 1 }
}

impl Seen {
    const fn by(self, stack: Stack) -> Self {
        Self { stack, ..self }
    }

    const fn bytes(self, bytes: u64) -> Self {
        Self { bytes, ..self }
    }

    const fn asked(self) -> Self {
        Self { contact: Contact::DnsQuestion, ..self }
    }

    const fn answered(self, answered: Answered) -> Self {
        Self { answered, ..self }
    }
}

fn browser(names: &[&'static str]) -> Vec<Seen> {
    names.iter().zip(0..).map(|(name, seconds)| at(seconds, name).by(Stack::Browser)).collect()
}

fn others(names: &[&'static str]) -> Vec<Seen> {
    names.iter().zip(0..).map(|(name, seconds)| at(seconds, name)).collect()
}

/// Gives cases a contact; one that says nothing of a service is left out.
fn sight(cases: &mut Cases, recogniser: &Recogniser, seen: &Seen, origin: &Origin, tell: &mut dyn FnMut(Change<'_>)) {
    let server = seen.name.parse().ok();
    let name = if server.is_some() { None } else { Some(seen.name) };
    let rule = recogniser.flow(name, server).expect(seen.name);
    let Some(attribution) = recogniser.attribute(rule) else { return };
    let client = Client::Address([10, 0, 0, seen.client].into());
    let sighting = Sighting {
        time_ns: seen.seconds * SECOND_NS,
        contact: seen.contact,
        stack: seen.stack,
        answered: seen.answered,
        bytes_to_client: seen.bytes,
        ..Sighting::of_flow(
            (&client, origin),
            (&attribution.service, &attribution.owner),
            rule,
            name.unwrap_or_default(),
        )
    };
    cases.sighting(&sighting, tell);
}

/// What is told while contacts come, before any episode ends: seconds, service and kind.
fn told_at_once(seen: &[Seen]) -> Vec<String> {
    let recogniser = Recogniser::new(Bundle::builtin(), Clients::builtin());
    let mut cases = Cases::new(Thresholds::default(), 1_000);
    let mut told = Vec::new();
    let mut tell = |change: Change<'_>| {
        told.push(format!("{} {} {}", change.time_ns / SECOND_NS, change.service, change.judgement.kind.as_str()));
    };
    seen.iter().for_each(|seen| sight(&mut cases, &recogniser, seen, &Origin::unknown(), &mut tell));
    told
}

/// The strongest judgement of each service.
fn judged(seen: &[Seen]) -> BTreeMap<String, Judgement> {
    let recogniser = Recogniser::new(Bundle::builtin(), Clients::builtin());
    let mut cases = Cases::new(Thresholds::default(), 1_000);
    let mut strongest: BTreeMap<String, Judgement> = BTreeMap::new();
    let mut tell = |change: Change<'_>| {
        let judgement = change.judgement.clone();
        if change.is_over {
            match strongest.get_mut(&**change.service) {
                Some(known) => drop(known.rise(judgement)),
                None => drop(strongest.insert(change.service.to_string(), judgement)),
            }
        }
    };
    seen.iter().for_each(|seen| sight(&mut cases, &recogniser, seen, &Origin::unknown(), &mut tell));
    cases.end(&mut tell);
    strongest
}

/// What is said, as `service: kind`, ` first-run` and ` attempt` behind it.
#[track_caller]
fn check(seen: &[Seen], expected: &[&str]) {
    let said: Vec<String> = judged(seen)
        .iter()
        .map(|(service, judgement)| {
            let first_run = if judgement.first_run { " first-run" } else { "" };
            let attempt = if judgement.attempt == Some(true) { " attempt" } else { "" };
            format!("{service}: {}{first_run}{attempt}", judgement.kind.as_str())
        })
        .collect();
    assert_eq!(said, expected);
}

const TNC: &str = "tnc16-normal-no1a.tiktokv.eu";
const AGGR: &str = "aggr32-normal.tiktokv.eu";
const API: &str = "api16-normal-c-useast1a.tiktokv.com";
const LOG: &str = "log32-normal-no1a.tiktokv.eu";
const FRONTIER: &str = "frontier.tiktokv-eu.com";
const RESOLVER: &str = "34.102.215.99";
const UPLOAD: &str = "tos-no1a16-up.tiktokcdn-eu.com";
const FRONT: &str = "www.tiktok.com";
const SCRIPTS: &str = "sf16-website-login.neutral.ttwstatic.com";
const VIDEO: &str = "v45.tiktokcdn-eu.com";

#[test]
fn two_native_families_are_the_app() {
    check(&others(&[TNC, FRONTIER]), &["tiktok: background"]);
    check(&others(&[API, "api19-normal-c-useast1a.tiktokv.com"]), &["tiktok: lone-interface"]);
    check(&others(&[API]), &["tiktok: lone-interface"]);
}

#[test]
fn one_family_needs_support() {
    check(&others(&[API, RESOLVER]), &["tiktok: background"]);
    check(&others(&[RESOLVER, API]), &["tiktok: background"]);
    check(&others(&[API, "jsb16-normal.tiktokv.com"]), &["tiktok: background"]);
    check(&others(&["jsb16-normal.tiktokv.com"]), &["tiktok: lone-interface"]);
    check(&[at(0, AGGR).by(Stack::App)], &["tiktok: background"]);
    check(&[at(0, TNC).by(Stack::App)], &["tiktok: background"]);
    check(&[at(0, API).by(Stack::App)], &["tiktok: lone-interface"]);
    check(&[at(0, "lemonapi16-normal-no1a.tiktokv.eu").by(Stack::App)], &["lemon8: background"]);
}

#[test]
fn a_resolver_of_another_client_or_time_supports_nothing() {
    let mut elsewhere = at(0, RESOLVER);
    elsewhere.client = 2;
    check(&[elsewhere, at(1, API)], &["bytedance-infra: native-unattributed", "tiktok: lone-interface"]);
    check(&[at(0, RESOLVER), at(300, API)], &["tiktok: background"]);
    check(&[at(0, RESOLVER), at(301, API)], &["bytedance-infra: native-unattributed", "tiktok: lone-interface"]);
}

/// What was said while time went on, so that each episode ended by its own silence.
#[test]
fn episodes_that_end_one_after_another_still_support_each_other() {
    let later = |seen: &mut Vec<Seen>| {
        let mut elsewhere = at(5_000, "x.com");
        elsewhere.client = 2;
        seen.push(elsewhere);
    };
    let mut seen = vec![at(0, RESOLVER), at(300, API)];
    later(&mut seen);
    check(&seen, &["tiktok: background", "twitter: site"]);
    let boot = ["tnc-boot.tiktokv.com", "mon-boot.tiktokv.com", "feed32-normal-sg.capcutapi.com"];
    for order in [[0, 1, 2], [2, 0, 1]] {
        let mut seen: Vec<Seen> =
            order.iter().zip(0..).map(|(place, seconds)| at(seconds * 100, boot[*place])).collect();
        later(&mut seen);
        check(&seen, &["capcut: background first-run", "twitter: site"]);
    }
    let mut seen = vec![at(0, "sf16-muse-va.ibytedtos.com"), at(290, "www.capcut.com")];
    later(&mut seen);
    check(&seen, &["capcut: site", "twitter: site"]);
}

#[test]
fn the_same_lone_family_again() {
    check(&[at(0, API), at(300, API)], &["tiktok: lone-interface"]);
    check(&[at(0, API), at(301, API)], &["tiktok: background"]);
    check(&[at(0, API), at(86_400, API)], &["tiktok: background"]);
    check(&[at(0, API), at(86_401, API)], &["tiktok: lone-interface"]);
    check(&[at(0, API), at(3_600, LOG)], &["tiktok: lone-interface"]);
    check(&[at(0, API), at(3_600, API).by(Stack::Browser)], &["tiktok: lone-interface"]);
}

#[test]
fn kinds_of_the_app() {
    check(&[at(0, TNC), at(1, FRONTIER), at(2, VIDEO).bytes(2 * MEGABYTE)], &["tiktok: in-use"]);
    check(&[at(0, TNC), at(1, FRONTIER), at(2, VIDEO).bytes(2 * MEGABYTE - 1)], &["tiktok: background"]);
    check(&[at(0, TNC).bytes(9 * MEGABYTE), at(1, FRONTIER)], &["tiktok: background"]);
    check(&others(&[TNC, "search16-normal-c-useast1a.tiktokv.com"]), &["tiktok: in-use"]);
    check(&others(&[TNC, "webcast16-normal-no1a.tiktokv.eu"]), &["tiktok: in-use"]);
    check(&others(&[TNC, FRONTIER, UPLOAD]), &["tiktok: in-use"]);
    check(&others(&[TNC, FRONTIER, "pull-flv-q1-sg01.tiktokcdn.com"]), &["tiktok: in-use"]);
}

#[test]
fn the_desktop_program_has_a_browsers_stack() {
    let live = ["webcast16-normal-no1a.tiktokv.eu", "webcast-ws16-normal-no1a.tiktokv.eu"];
    check(&browser(&live), &["tiktok: desktop"]);
    check(&browser(&[live[1], API]), &["tiktok: desktop"]);
    check(&browser(&live[1..]), &["tiktok: lone-interface"]);
    check(&others(&live), &["tiktok: lone-interface"]);
    check(&others(&[live[1], API]), &["tiktok: in-use"]);
}

#[test]
fn a_browser_can_load_pictures_from_any_host() {
    check(&browser(&[API, LOG]), &["tiktok: browser-interfaces"]);
    check(&browser(&[API]), &["tiktok: lone-interface"]);
    check(&browser(&[API, RESOLVER]), &["tiktok: lone-interface"]);
    check(&[at(0, API).by(Stack::Browser), at(1, LOG)], &["tiktok: background"]);
}

#[test]
fn names_of_a_first_start() {
    let (tnc, api) = ("tnc-boot.tiktokv.com", "api-boot.tiktokv.com");
    check(&others(&[tnc, api]), &["tiktok: background first-run"]);
    check(&others(&[tnc]), &["tiktok: boot-only"]);
    check(&others(&[tnc, TNC, FRONTIER]), &["tiktok: background first-run"]);
    check(&others(&[TNC, FRONTIER]), &["tiktok: background"]);
    // Netflix asks at every start.
    let netflix = ["appboot.netflix.com", "android.prod.cloud.netflix.com"];
    check(&others(&netflix), &["netflix: background"]);
}

#[test]
fn names_of_a_first_start_belong_to_whom_the_other_names_do() {
    let boot = ["tnc-boot.tiktokv.com", "mon-boot.tiktokv.com"];
    let capcut = ["log32-normal-sg.capcutapi.com", "feed32-normal-sg.capcutapi.com"];
    check(&others(&[boot[0], boot[1], capcut[0], capcut[1]]), &["capcut: background first-run"]);
    check(&others(&[boot[0], boot[1], capcut[1]]), &["capcut: background first-run"]);
    // CapCut's own first start beside a running TikTok.
    let own = ["tnc-v2-boot.capcutapi.com", "mon-v2-boot.capcutapi.com"];
    check(
        &others(&[TNC, FRONTIER, own[0], own[1], capcut[1]]),
        &["capcut: background first-run", "tiktok: background"],
    );
}

#[test]
fn the_site() {
    check(&browser(&[FRONT, "im-ws.tiktok.com"]), &["tiktok: site"]);
    check(&browser(&["login-eu.www.tiktok.com", FRONT, SCRIPTS]), &["tiktok: sign-in"]);
    check(&browser(&["login-eu.www.tiktok.com", "web-sg.tiktok.com"]), &["tiktok: site"]);
    check(&browser(&["ads.tiktok.com", SCRIPTS]), &["tiktok: player", "tiktok-ads: console"]);
    check(&browser(&["vm.tiktok.com", FRONT, SCRIPTS]), &["tiktok: shared-link"]);
    check(&browser(&["vm.tiktok.com", FRONT]), &["tiktok: preview"]);
    check(&browser(&["newsroom.tiktok.com", SCRIPTS]), &["tiktok: portal"]);
    check(&browser(&["newsroom.tiktok.com", FRONT, SCRIPTS]), &["tiktok: player"]);
    check(&browser(&["libra16-normal-useast8.tiktokv.us", FRONT, "im-ws.tiktok.com"]), &["tiktok: site"]);
    check(&browser(&["chat.deepseek.com"]), &["deepseek: site"]);
}

#[test]
fn pages_and_players() {
    check(&browser(&[FRONT, SCRIPTS, VIDEO]), &["tiktok: player"]);
    check(&browser(&[FRONT]), &["tiktok: preview"]);
    let flows = |count: u64| (0..count).map(|seconds| at(seconds, FRONT)).collect::<Vec<_>>();
    check(&flows(4), &["tiktok: preview"]);
    check(&flows(5), &["tiktok: player"]);
    check(&browser(&["mon.tiktokv.com"]), &["tiktok: player"]);
    check(&browser(&["analytics.tiktok.com"]), &["tiktok: pixel"]);
    check(&others(&["pangolin16.isnssdk.com"]), &["pangle: sdk"]);
    check(&browser(&["analytics.tiktok.com", SCRIPTS]), &["tiktok: player"]);
}

#[test]
fn long_playback_may_be_the_site() {
    let played = |seconds: u64, bytes: u64| [at(0, FRONT).bytes(0), at(seconds, VIDEO).bytes(bytes)];
    check(&played(181, 20 * MEGABYTE + 1), &["tiktok: site-or-player"]);
    check(&played(180, 20 * MEGABYTE + 1), &["tiktok: preview"]);
    check(&played(181, 20 * MEGABYTE), &["tiktok: preview"]);
}

#[test]
fn shared_infrastructure_says_nothing_beside_a_service() {
    check(&others(&["sf16-muse-va.ibytedtos.com"]), &["bytedance-infra: shared-infra"]);
    check(&others(&["sf16-muse-va.ibytedtos.com", RESOLVER]), &["bytedance-infra: native-unattributed"]);
    check(&others(&["sf16-muse-va.ibytedtos.com", "www.capcut.com"]), &["capcut: site"]);
    check(
        &[at(0, "www.capcut.com"), at(301, "sf16-muse-va.ibytedtos.com")],
        &["bytedance-infra: shared-infra", "capcut: site"],
    );
    check(&[at(0, "www.capcut.com"), at(300, "sf16-muse-va.ibytedtos.com")], &["capcut: site"]);
    check(&others(&["lf16-data.bytepluscdn.com", "www.bytedance.com", "maliva-mcs.byteoversea.com"]), &[]);
}

#[test]
fn a_name_asked_of_dns_proves_no_app() {
    let asked = |names: &[&'static str]| others(names).into_iter().map(Seen::asked).collect::<Vec<_>>();
    check(&asked(&[TNC, FRONTIER, RESOLVER]), &[]);
    check(&asked(&[FRONT, "im-ws.tiktok.com"]), &["tiktok: site"]);
    check(&asked(&["ads.tiktok.com", "newsroom.tiktok.com"]), &[]);
}

#[test]
fn an_attempt_is_one_where_nothing_was_answered() {
    let answers = |one, other| [at(0, TNC).answered(one), at(1, FRONTIER).answered(other)];
    check(&answers(Answered::No, Answered::No), &["tiktok: background attempt"]);
    check(&answers(Answered::No, Answered::Yes), &["tiktok: background"]);
    check(&answers(Answered::No, Answered::Unknown), &["tiktok: background"]);
}

#[test]
fn names_that_only_look_like_the_services_are_no_use() {
    check(&others(&["tikitoks.com"]), &[]);
    check(&others(&["netflix.shop"]), &[]);
    check(&others(&["www.netflix.com", "netflix.shop"]), &["netflix: site"]);
}

#[test]
fn the_strongest_verdict_of_a_day_stands() {
    check(
        &[at(0, TNC), at(1, FRONTIER), at(4_000, FRONT).by(Stack::Browser), at(4_001, VIDEO)],
        &["tiktok: background"],
    );
    check(&[at(0, API).by(Stack::Browser), at(4_000, "im-ws.tiktok.com")], &["tiktok: site"]);
}

#[test]
fn bytes_that_come_later_keep_an_episode_and_begin_none() {
    let bytes = |seconds| {
        let mut more = at(seconds, VIDEO).bytes(2 * MEGABYTE);
        more.contact = Contact::MoreBytes;
        more
    };
    check(&[at(0, TNC), at(1, FRONTIER), bytes(250), at(500, API)], &["tiktok: in-use"]);
    check(&[bytes(0)], &[]);
    check(&[at(0, TNC), at(1, FRONTIER), bytes(302)], &["tiktok: background"]);
}

#[test]
fn a_first_start_waits_for_the_names_that_show_whose_it_is() {
    let recogniser = Recogniser::new(Bundle::builtin(), Clients::builtin());
    let mut cases = Cases::new(Thresholds::default(), 1_000);
    let told = RefCell::new(Vec::new());
    let mut tell = |change: Change<'_>| {
        let what = (change.time_ns / SECOND_NS, change.service.to_string(), change.judgement.kind);
        told.borrow_mut().push(what);
    };
    for seen in others(&["tnc-boot.tiktokv.com", "mon-boot.tiktokv.com"]) {
        sight(&mut cases, &recogniser, &seen, &Origin::unknown(), &mut tell);
    }
    cases.advance(29 * SECOND_NS, &mut tell);
    assert_eq!(told.borrow().len(), 1);
    cases.advance(30 * SECOND_NS, &mut tell);
    assert_eq!(told.borrow().len(), 2);
    cases.advance(301 * SECOND_NS, &mut tell);
    assert_eq!(told.borrow().len(), 2);
    cases.advance(602 * SECOND_NS, &mut tell);
    let tiktok = "tiktok".to_owned();
    assert_eq!(
        told.into_inner(),
        [(0, tiktok.clone(), Kind::BootOnly), (30, tiktok.clone(), Kind::Background), (1, tiktok, Kind::Background)]
    );
}

#[test]
fn cases_are_bounded_and_forgotten() {
    let recogniser = Recogniser::new(Bundle::builtin(), Clients::builtin());
    let seen = |cases: &mut Cases, client: u8, name: &'static str, tell: &mut dyn FnMut(Change<'_>)| {
        sight(cases, &recogniser, &Seen { client, ..at(0, name) }, &Origin::unknown(), tell);
    };
    let mut ended = 0;
    let mut tell = |change: Change<'_>| ended += u32::from(change.is_over);
    let mut cases = Cases::new(Thresholds::default(), 2);
    for client in 1..=5 {
        seen(&mut cases, client, FRONT, &mut tell);
    }
    assert_eq!((cases.len(), cases.evicted(), cases.is_empty()), (2, 3, false));
    // A lone interface is remembered for a day, all else for two silences.
    seen(&mut cases, 5, API, &mut tell);
    cases.advance(86_400 * SECOND_NS, &mut tell);
    assert_eq!(cases.len(), 1);
    cases.advance(86_400 * SECOND_NS + 900 * SECOND_NS, &mut tell);
    assert_eq!((cases.len(), cases.is_empty(), cases.evicted()), (0, true, 3));
    assert_eq!(ended, 5);
}

#[test]
fn an_episode_that_ended_is_kept_for_two_silences() {
    let recogniser = Recogniser::new(Bundle::builtin(), Clients::builtin());
    let mut cases = Cases::new(Thresholds::default(), 2);
    sight(&mut cases, &recogniser, &at(0, FRONT), &Origin::unknown(), &mut |_| {});
    for (seconds, kept) in [(301, 1), (600, 1), (901, 0)] {
        cases.advance(seconds * SECOND_NS, &mut |_| {});
        assert_eq!(cases.len(), kept, "after {seconds} s");
    }
}

#[test]
fn a_change_tells_where_the_last_contact_came_from() {
    let recogniser = Recogniser::new(Bundle::builtin(), Clients::builtin());
    let mut cases = Cases::new(Thresholds::default(), 9);
    let mut told = Vec::new();
    for (seconds, name, vlan) in [(0, TNC, 7), (1, FRONTIER, 8), (2, LOG, 8)] {
        let origin = Origin { vlan: Some(vlan), ..Origin::unknown() };
        sight(&mut cases, &recogniser, &at(seconds, name), &origin, &mut |change| told.push(change.origin.vlan));
    }
    cases.end(&mut |change| told.push(change.origin.vlan));
    assert_eq!(told, [Some(7), Some(8), Some(8)]);
}

#[test]
fn what_another_service_proves_is_told_at_once() {
    assert_eq!(told_at_once(&[at(0, API), at(1, RESOLVER)]), ["0 tiktok lone-interface", "1 tiktok background"]);
    assert_eq!(told_at_once(&[at(2, "www.capcut.com")]), ["2 capcut site"]);
    // Names of a first start wait only while nothing else speaks for the program.
    let boot = [at(0, "tnc-boot.tiktokv.com"), at(1, TNC), at(2, FRONTIER)];
    assert_eq!(told_at_once(&boot).last().unwrap(), "2 tiktok background");
}

#[test]
fn bytes_that_cross_a_threshold_are_told_at_once() {
    let mut more = at(60, VIDEO).bytes(2 * MEGABYTE);
    more.contact = Contact::MoreBytes;
    let seen = [at(0, TNC), at(1, FRONTIER), at(2, VIDEO), more];
    assert_eq!(told_at_once(&seen).last().unwrap(), "60 tiktok in-use");
}

#[test]
fn services_of_other_owners_say_nothing() {
    let infra = "sf16-muse-va.ibytedtos.com";
    check(&others(&["x.com", infra]), &["bytedance-infra: shared-infra", "twitter: site"]);
    let mut elsewhere = at(5_000, "x.com");
    elsewhere.client = 2;
    check(&[at(0, "x.com"), at(290, infra), elsewhere], &["bytedance-infra: shared-infra", "twitter: site"]);
    // Nor does a name that only looks like one of the owner's.
    check(&others(&["tikitoks.com", infra]), &["bytedance-infra: shared-infra"]);
    // A site is no program to which names of a first start could belong.
    check(
        &others(&["tnc-boot.tiktokv.com", "mon-boot.tiktokv.com", "www.capcut.com"]),
        &["capcut: site", "tiktok: background first-run"],
    );
}

#[test]
fn lone_families_are_remembered_each() {
    check(&[at(0, API), at(400, LOG), at(4_000, API)], &["tiktok: background"]);
    check(&[at(0, API), at(400, LOG), at(4_000, LOG)], &["tiktok: background"]);
}

#[test]
fn bytes_after_an_episode_count_for_no_later_one() {
    let mut bytes = at(302, VIDEO).bytes(2 * MEGABYTE);
    bytes.contact = Contact::MoreBytes;
    check(&[at(0, TNC), at(1, FRONTIER), bytes, at(303, TNC), at(304, FRONTIER)], &["tiktok: background"]);
}

#[test]
fn reasons_name_what_was_seen_and_no_more() {
    let reasons = |seen: &[Seen]| judged(seen)["tiktok"].reasons.clone();
    let list = |texts: &[&str]| texts.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(reasons(&others(&[API, RESOLVER])), [Reason::NativeFamilies(list(&["api"])), Reason::Resolver]);
    let families = Reason::NativeFamilies(list(&["tnc", "frontier"]));
    assert_eq!(reasons(&others(&[TNC, FRONTIER])), std::slice::from_ref(&families));
    assert_eq!(
        reasons(&[at(0, TNC), at(1, FRONTIER), at(2, VIDEO).bytes(2 * MEGABYTE)]),
        [families.clone(), Reason::Media(2 * MEGABYTE)]
    );
    assert_eq!(
        reasons(&others(&[TNC, FRONTIER, UPLOAD])),
        [families.clone(), Reason::ForegroundFamilies(list(&["upload"]))]
    );
    assert_eq!(
        reasons(&[at(0, TNC).answered(Answered::No), at(1, FRONTIER).answered(Answered::No)]),
        [families, Reason::Attempt]
    );
}
