//! Rulings: which ban, whose device, at which time.

use time::macros::{date, datetime};
use time::{Date, OffsetDateTime};
use vigie_signatures::{Ban, Bundle};

use super::*;
use crate::Kind;

/// 27 November 2026, 12:00 UTC.
const NOW: OffsetDateTime = datetime!(2026-11-27 12:00 UTC);

fn bundle() -> std::sync::Arc<Bundle> {
    Bundle::builtin()
}

fn ban(id: &str) -> BanInUse {
    BanInUse::new(Bans::builtin().get(id).unwrap(), BanChoices::default()).unwrap()
}

/// A built-in ban with changes to its text.
fn changed(id: &str, change: impl Fn(&mut Ban)) -> BanInUse {
    let mut ban = Ban::clone(Bans::builtin().get(id).unwrap());
    change(&mut ban);
    BanInUse::new(&std::sync::Arc::new(ban), BanChoices::default()).unwrap()
}

fn scope(name: &str, kind: ScopeKind, prefixes: &[&str]) -> Scope {
    Scope {
        name: name.to_owned(),
        kind,
        identity: IdentityRule::Address,
        prefixes: prefixes.iter().map(|prefix| prefix.parse().unwrap()).collect(),
        vlans: Vec::new(),
        interfaces: Vec::new(),
        site: None,
        ministry: None,
    }
}

fn policy(bans: &[&str], scopes: Vec<Scope>) -> Policy {
    Policy::new(PolicyParts { bans: bans.iter().map(|id| ban(id)).collect(), scopes, ..PolicyParts::default() })
        .unwrap()
}

fn at(time: OffsetDateTime, address: &str) -> Subject<'static> {
    let time_ns = time.unix_timestamp_nanos() as u64;
    Subject { time_ns, address: address.parse().unwrap(), mac: None, vlan: None, interface: "" }
}

/// A ruling in short: `out`, `not`, `shared`, `excused ID`, or the ids of the bans.
fn ruling(policy: &Policy, subject: &Subject<'_>, service: &str) -> String {
    match policy.rule(subject, bundle().service(service).unwrap()) {
        Ruling::OutOfScope => "out".to_owned(),
        Ruling::Excused(derogation) => format!("excused {}", derogation.id),
        Ruling::NotBanned => "not".to_owned(),
        Ruling::Counted(Counted::Shared { site }) => format!("shared {site}"),
        Ruling::Judged(judged) => {
            judged.bans.iter().map(|covering| covering.ban.ban().id.as_str()).collect::<Vec<_>>().join(" ")
        }
    }
}

/// What a verdict means under the first ban.
fn outcome(policy: &Policy, subject: &Subject<'_>, service: &str, kind: Kind) -> Outcome {
    match policy.rule(subject, bundle().service(service).unwrap()) {
        Ruling::Judged(judged) => judged.bans[0].outcome(kind),
        other => panic!("{other:?}"),
    }
}

fn identity(policy: &Policy, subject: &Subject<'_>) -> Client {
    match policy.rule(subject, bundle().service("tiktok").unwrap()) {
        Ruling::Judged(judged) => judged.identity,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_built_in_policy_covers_every_client() {
    let policy = Policy::builtin();
    assert!(policy.has_builtin_bans());
    let ids: Vec<&str> = policy.bans().iter().map(|used| used.ban().id.as_str()).collect();
    assert_eq!(ids, ["fr", "watch-bytedance"]);
    let subject = at(NOW, "192.0.2.1");
    assert_eq!(ruling(&policy, &subject, "tiktok"), "fr", "what is watched steps back behind a ban");
    assert_eq!(ruling(&policy, &subject, "capcut"), "watch-bytedance");
    assert_eq!(ruling(&policy, &subject, "deepseek"), "not");
    assert_eq!(outcome(&policy, &subject, "capcut", Kind::Site), Outcome::Incident(3));
    assert_eq!(outcome(&policy, &subject, "capcut", Kind::Background), Outcome::Incident(3));
    assert_eq!(outcome(&policy, &subject, "capcut", Kind::Player), Outcome::Nothing);
    assert!(policy.is_before_every_ban(at(datetime!(2023-03-23 22:00 UTC), "::1").time_ns));
    assert!(!policy.is_before_every_ban(at(datetime!(2023-03-23 23:00 UTC), "::1").time_ns));
    let watch = self::policy(&["watch-bytedance"], Vec::new());
    assert!(!watch.is_before_every_ban(0), "what is watched has no beginning");
    let text = "every client counts as an official device; ban: fr; watched: all of ByteDance's services";
    assert_eq!(policy.summary(), text);
}

#[test]
fn a_ban_judges_from_its_first_to_its_last_local_day() {
    let ended = changed("fr", |ban| ban.ended = Some(date!(2024 - 07 - 14)));
    let policy = Policy::new(PolicyParts { bans: vec![ended], ..PolicyParts::default() }).unwrap();
    for (time, expected) in [
        (datetime!(2023-03-23 22:59:59 UTC), "not"),
        (datetime!(2023-03-23 23:00 UTC), "fr"),
        (datetime!(2024-07-14 21:59:59 UTC), "fr"),
        (datetime!(2024-07-14 22:00 UTC), "not"),
    ] {
        assert_eq!(ruling(&policy, &at(time, "10.0.0.1"), "tiktok"), expected, "{time}");
    }
    // Known by its month: from its last day. UTC+1 in March, before the clock changes on the 26th UTC+0.
    let scotland = self::policy(&["uk-scotland"], Vec::new());
    assert_eq!(ruling(&scotland, &at(datetime!(2023-03-30 22:59:59 UTC), "10.0.0.1"), "tiktok"), "not");
    assert_eq!(ruling(&scotland, &at(datetime!(2023-03-30 23:00 UTC), "10.0.0.1"), "tiktok"), "uk-scotland");
}

#[test]
fn a_ban_whose_review_is_overdue_still_judges_and_warns() {
    let policy = policy(&["be-wallonia"], Vec::new());
    assert_eq!(ruling(&policy, &at(NOW, "10.0.0.1"), "tiktok"), "be-wallonia");
    let notices = policy.notices(date!(2024 - 01 - 01));
    assert_eq!(notices.len(), 1);
    assert!(notices[0].what.contains("\"be-wallonia\" was due by 2023-12-31"), "{notices:?}");
    assert_eq!(policy.notices(date!(2023 - 12 - 31)), []);
    assert!(notices[0].to_string().ends_with("; ask its authority whether it was extended"), "{}", notices[0]);
    let early = policy.notices(date!(2023 - 01 - 01));
    assert!(early[0].what.contains("no ban in use is in force"), "{early:?}");
}

#[test]
fn findings_of_the_removal_period_have_the_lowest_severity() {
    let policy = policy(&["be-federal"], Vec::new());
    let of = |time| outcome(&policy, &at(time, "10.0.0.1"), "tiktok", Kind::InUse);
    // 31 March in Brussels, where summer time has begun.
    assert_eq!(of(datetime!(2023-03-10 12:00 UTC)), Outcome::Incident(3));
    assert_eq!(of(datetime!(2023-03-31 21:59 UTC)), Outcome::Incident(3));
    assert_eq!(of(datetime!(2023-03-31 22:00 UTC)), Outcome::Incident(1));
}

#[test]
fn what_a_ban_forbids_decides_what_is_a_finding() {
    let (incident, reported, nothing) = (Outcome::Incident, Outcome::Reported, Outcome::Nothing);
    let rows = [
        (
            "fr",
            "tiktok",
            [
                (Kind::InUse, incident(1)),
                (Kind::Background, incident(1)),
                (Kind::Site, reported),
                (Kind::Portal, nothing),
                (Kind::Player, nothing),
            ],
        ),
        (
            "au-deepseek",
            "deepseek",
            [
                (Kind::InUse, incident(1)),
                (Kind::Background, incident(1)),
                (Kind::Site, incident(1)),
                (Kind::SignIn, nothing),
                (Kind::Player, nothing),
            ],
        ),
        (
            "cz-deepseek",
            "deepseek",
            [
                (Kind::InUse, incident(1)),
                (Kind::Desktop, incident(1)),
                (Kind::SharedLink, incident(1)),
                (Kind::BootOnly, nothing),
                (Kind::Pixel, nothing),
            ],
        ),
        (
            "us-federal",
            "tiktok",
            [
                (Kind::InUse, incident(1)),
                (Kind::Site, incident(1)),
                (Kind::Portal, nothing),
                (Kind::SignIn, nothing),
                (Kind::Player, nothing),
            ],
        ),
        (
            "fr-tchap",
            "telegram",
            [
                (Kind::InUse, incident(3)),
                (Kind::Background, reported),
                (Kind::Site, incident(3)),
                (Kind::LoneInterface, nothing),
                (Kind::Preview, nothing),
            ],
        ),
        (
            "be-flanders",
            "tiktok",
            [
                (Kind::InUse, incident(1)),
                (Kind::Background, incident(1)),
                (Kind::Site, incident(2)),
                (Kind::NativeUnattributed, nothing),
                (Kind::Sdk, nothing),
            ],
        ),
    ];
    for (id, service, outcomes) in rows {
        let policy = policy(&[id], Vec::new());
        for (kind, expected) in outcomes {
            assert_eq!(outcome(&policy, &at(NOW, "10.0.0.1"), service, kind), expected, "{id} {kind:?}");
        }
    }
    let choices = BanChoices { site_visits: true, severity: Some(2), severity_web: Some(1), ..BanChoices::default() };
    let chosen = BanInUse::new(Bans::builtin().get("fr").unwrap(), choices).unwrap();
    let policy = Policy::new(PolicyParts { bans: vec![chosen], ..PolicyParts::default() }).unwrap();
    assert_eq!(outcome(&policy, &at(NOW, "10.0.0.1"), "tiktok", Kind::Site), Outcome::Incident(1));
    assert_eq!(outcome(&policy, &at(NOW, "10.0.0.1"), "tiktok", Kind::InUse), Outcome::Incident(2));
}

#[test]
fn an_operator_owns_the_list_where_the_text_leaves_it_open() {
    let own = |id: &str, services: &[&str]| {
        let services = Some(services.iter().map(|service| (*service).to_owned()).collect());
        BanInUse::new(Bans::builtin().get(id).unwrap(), BanChoices { services, ..BanChoices::default() })
    };
    let fr = own("fr", &["tiktok", "snapchat"]).unwrap();
    let policy = Policy::new(PolicyParts { bans: vec![fr], ..PolicyParts::default() }).unwrap();
    assert_eq!(ruling(&policy, &at(NOW, "10.0.0.1"), "tiktok"), "fr");
    assert_eq!(ruling(&policy, &at(NOW, "10.0.0.1"), "netflix"), "not");
    let (key, refusal) = own("eu-commission", &["tiktok", "lark"]).unwrap_err();
    assert_eq!(key, "services");
    assert!(refusal.what.contains("\"eu-commission\" names the services itself"), "{refusal}");
    let wrong = std::sync::Arc::new(Ban { time_zone: "Europe/Pariss".to_owned(), ..Ban::clone(ban("fr").ban()) });
    assert_eq!(BanInUse::new(&wrong, BanChoices::default()).unwrap_err().0, "time_zone");
}

#[test]
fn two_bans_can_cover_one_contact() {
    let policy = policy(&["fr", "be-federal", "nl"], Vec::new());
    assert_eq!(ruling(&policy, &at(NOW, "10.0.0.1"), "tiktok"), "fr be-federal nl");
    assert_eq!(ruling(&policy, &at(datetime!(2023-03-15 12:00 UTC), "10.0.0.1"), "tiktok"), "be-federal");
    assert_eq!(ruling(&policy, &at(NOW, "10.0.0.1"), "capcut"), "nl");
}

#[test]
fn the_longest_prefix_tells_the_scope() {
    let policy = policy(
        &["fr"],
        vec![
            scope("all", ScopeKind::Official, &["10.0.0.0/8", "2001:db8::/32"]),
            scope("cabinet", ScopeKind::Sensitive, &["10.1.0.0/16"]),
            scope("guests", ScopeKind::Guest, &["10.1.9.0/24"]),
        ],
    );
    let of = |address: &str| ruling(&policy, &at(NOW, address), "tiktok");
    assert_eq!((of("10.1.9.1"), of("10.1.8.1"), of("2001:db8::1")), ("out".into(), "fr".into(), "fr".into()));
    assert_eq!(of("192.168.0.1"), "out", "official clients are named, so others are not");
    assert_eq!(of("::ffff:10.1.9.1"), "out");
    let ruled = policy.rule(&at(NOW, "10.1.8.1"), bundle().service("netflix").unwrap()).clone();
    let Ruling::Judged(judged) = ruled else { panic!("{ruled:?}") };
    assert_eq!((judged.scope, judged.kind), ("cabinet", ScopeKind::Sensitive));
    assert_eq!(judged.bans[0].outcome(Kind::InUse), Outcome::Incident(1));
    let severities = |id: &str, address: &str| {
        let scopes =
            vec![scope("s", ScopeKind::Sensitive, &["10.0.0.0/8"]), scope("o", ScopeKind::Official, &["::/0"])];
        outcome(&self::policy(&[id], scopes), &at(NOW, address), "deepseek", Kind::InUse)
    };
    assert_eq!(severities("be-federal-deepseek", "2001:db8::1"), Outcome::Incident(2));
    assert_eq!(severities("be-federal-deepseek", "10.0.0.1"), Outcome::Incident(1), "sensitive: one up");
}

#[test]
fn only_guests_named_leaves_everybody_else_in_scope() {
    let policy = policy(&["fr"], vec![scope("guests", ScopeKind::Guest, &["10.9.0.0/16"])]);
    assert_eq!((policy.unlisted(), policy.scopes().len()), (ScopeKind::Official, 1));
    assert!(!policy.has_builtin_bans() && Policy::builtin().has_builtin_bans());
    let tiktok = bundle();
    let tiktok = tiktok.service("tiktok").unwrap();
    let time_ns = NOW.unix_timestamp_nanos() as u64;
    let may_record = |address: &str| policy.may_record(&Origin::address(address.parse().unwrap()), tiktok, time_ns);
    assert!(may_record("10.8.0.1") && !may_record("10.9.0.1"));
    assert_eq!(ruling(&policy, &at(NOW, "10.9.0.1"), "tiktok"), "out");
    assert_eq!(ruling(&policy, &at(NOW, "10.8.0.1"), "tiktok"), "fr");
}

#[test]
fn a_guest_vlan_answers_before_prefix_and_list() {
    let guests = Scope { vlans: vec![90, 91], ..scope("guests", ScopeKind::Guest, &[]) };
    let port = Scope { interfaces: vec!["tap1".to_owned()], ..scope("hq", ScopeKind::Sensitive, &["10.0.0.0/8"]) };
    let both = Scope { vlans: vec![90], interfaces: vec!["tap1".to_owned()], ..scope("lab", ScopeKind::Official, &[]) };
    let mut list = AssetsBuilder::default();
    list.add("10.0.0.7".parse().unwrap(), "pc-7", "Paris", "", Some(ScopeKind::Official)).unwrap();
    list.add("02:00:5e:10:00:01".parse().unwrap(), "phone", "", "", Some(ScopeKind::Official)).unwrap();
    let scopes = vec![scope("all", ScopeKind::Official, &["10.0.0.0/8"]), guests, port, both];
    let parts = PolicyParts { bans: vec![ban("fr")], scopes, assets: list.build().unwrap(), ..PolicyParts::default() };
    let policy = Policy::new(parts).unwrap();
    assert_eq!(policy.assets().len(), 2);
    let scope_of = |vlan, interface: &'static str, mac| {
        let subject = Subject { vlan, interface, mac, ..at(NOW, "10.0.0.7") };
        match policy.rule(&subject, bundle().service("tiktok").unwrap()) {
            Ruling::Judged(judged) => judged.scope.to_owned(),
            _ => "out".to_owned(),
        }
    };
    let phone = Some(Mac([2, 0, 0x5e, 0x10, 0, 1]));
    assert_eq!(scope_of(None, "", None), "all");
    assert_eq!(scope_of(Some(90), "", None), "out");
    assert_eq!(scope_of(Some(90), "", phone), "guests", "a listed device stays one on the guests' network");
    assert_eq!(scope_of(Some(92), "", None), "all");
    assert_eq!(scope_of(None, "tap1", None), "hq");
    assert_eq!(scope_of(Some(91), "tap1", None), "hq", "prefix and interface fit more closely than the VLAN alone");
    assert_eq!(scope_of(Some(90), "tap2", None), "out");
    assert_eq!(scope_of(Some(90), "tap1", None), "hq", "of equally many lists the one with a prefix");
    let lab = Subject { vlan: Some(90), interface: "tap1", ..at(NOW, "192.0.2.1") };
    assert_eq!(ruling(&policy, &lab, "tiktok"), "fr", "VLAN and interface fit more closely than the VLAN alone");
    let outside = Subject { interface: "tap1", ..at(NOW, "192.0.2.1") };
    assert_eq!(ruling(&policy, &outside, "tiktok"), "out");
}

#[test]
fn of_scopes_that_fit_alike_the_first_answers() {
    let on_vlan = |name, kind| Scope { vlans: vec![90], ..scope(name, kind, &[]) };
    let scopes = vec![on_vlan("guests", ScopeKind::Guest), on_vlan("staff", ScopeKind::Official)];
    let subject = Subject { vlan: Some(90), ..at(NOW, "10.0.0.7") };
    assert_eq!(ruling(&policy(&["fr"], scopes), &subject, "tiktok"), "out");
}

#[test]
fn devices_are_covered_by_scope_word_or_by_what_is_said_of_personal_ones() {
    use vigie_signatures::{Personal, ScopeWord};
    for (kind, word, personal, is_covered) in [
        (ScopeKind::Connected, ScopeWord::Connected, Personal::No, true),
        (ScopeKind::Connected, ScopeWord::Official, Personal::Connecting, true),
        (ScopeKind::Connected, ScopeWord::Official, Personal::Enrolled, false),
        (ScopeKind::Enrolled, ScopeWord::Enrolled, Personal::No, true),
        (ScopeKind::Enrolled, ScopeWord::Official, Personal::Enrolled, true),
        (ScopeKind::Enrolled, ScopeWord::Official, Personal::Connecting, false),
        (ScopeKind::Sensitive, ScopeWord::Sensitive, Personal::No, true),
        (ScopeKind::Sensitive, ScopeWord::Enrolled, Personal::No, false),
    ] {
        let ban = changed("fr", |ban| (ban.scope, ban.personal) = ([word].into_iter().collect(), personal));
        let scopes = vec![scope("s", kind, &["10.0.0.0/8"])];
        let policy = Policy::new(PolicyParts { bans: vec![ban], scopes, ..PolicyParts::default() }).unwrap();
        let expected = if is_covered { "fr" } else { "not" };
        assert_eq!(ruling(&policy, &at(NOW, "10.0.0.1"), "tiktok"), expected, "{kind} {word:?} {personal:?}");
    }
}

#[test]
fn derogations_that_end_are_warned_of() {
    let policy = |until| {
        let derogations = vec![derogation("10.0.0.1", date!(2026 - 11 - 10), until)];
        Policy::new(PolicyParts { bans: vec![ban("fr")], derogations, ..PolicyParts::default() }).unwrap()
    };
    for (until, expected) in [
        (date!(2026 - 11 - 27), Some("ends on 2026-11-27 (its last day)")),
        (date!(2026 - 11 - 28), Some("ends on 2026-11-28 (1 day left)")),
        (date!(2026 - 12 - 11), Some("ends on 2026-12-11 (14 days left)")),
        (date!(2026 - 12 - 12), None),
    ] {
        let notices = policy(until).notices(date!(2026 - 11 - 27));
        let ends = notices.iter().find_map(|notice| notice.what.find("ends on").map(|at| &notice.what[at..]));
        assert_eq!(ends, expected);
    }
}

#[test]
fn scopes_of_one_prefix_are_refused() {
    let scopes = vec![
        scope("a", ScopeKind::Official, &["10.0.0.0/8"]),
        scope("b", ScopeKind::Guest, &["10.9.0.0/16"]),
        scope("c", ScopeKind::Guest, &["192.0.2.0/24", "10.0.0.0/8"]),
    ];
    assert_eq!(Policy::new(PolicyParts { scopes, ..PolicyParts::default() }).unwrap_err(), (0, 2));
}

#[test]
fn personal_devices_are_covered_where_the_text_says_so() {
    let rows = [
        ("fr", ScopeKind::Connected, "not"),
        ("be-fwb", ScopeKind::Connected, "be-fwb"),
        ("eu-commission", ScopeKind::Enrolled, "eu-commission"),
        ("eu-commission", ScopeKind::Connected, "not"),
        ("us-federal", ScopeKind::Contractor, "us-federal"),
        ("fr", ScopeKind::Contractor, "not"),
        ("fr", ScopeKind::Sensitive, "fr"),
        ("cz-nukib", ScopeKind::Sensitive, "cz-nukib"),
        ("cz-nukib", ScopeKind::Official, "not"),
        ("be-federal", ScopeKind::Connected, "be-federal"),
        ("be-fwb", ScopeKind::Personal, "out"),
    ];
    for (id, kind, expected) in rows {
        let policy = policy(&[id], vec![scope("s", kind, &["10.0.0.0/8"])]);
        assert_eq!(ruling(&policy, &at(NOW, "10.0.0.1"), "tiktok"), expected, "{id} {kind}");
    }
    let advised = policy(&["be-federal"], vec![scope("byod", ScopeKind::Connected, &["10.0.0.0/8"])]);
    assert_eq!(outcome(&advised, &at(NOW, "10.0.0.1"), "tiktok", Kind::InUse), Outcome::Incident(3), "advice only");
}

#[test]
fn what_stands_for_a_device_is_the_networks_word() {
    let with = |identity, prefix: &str| Scope { identity, ..scope("s", ScopeKind::Official, &[prefix]) };
    let policy = policy(
        &["fr"],
        vec![
            with(IdentityRule::Address, "10.1.0.0/16"),
            with(IdentityRule::Mac, "2001:db8:1::/48"),
            with(IdentityRule::PrefixPerDevice, "2001:db8:2::/48"),
            Scope { site: Some("Paris".to_owned()), ..with(IdentityRule::Shared, "10.1.0.1/32") },
        ],
    );
    let mac = Mac([2, 0, 0x5e, 0x10, 0, 1]);
    let of = |address: &str, mac| identity(&policy, &Subject { mac, ..at(NOW, address) });
    assert_eq!(of("10.1.0.2", Some(mac)), Client::Address("10.1.0.2".parse().unwrap()));
    assert_eq!(of("::ffff:10.1.0.2", None), Client::Address("10.1.0.2".parse().unwrap()));
    for address in ["2001:db8:1::1", "2001:db8:1::abcd:1", "2001:db8:1:5::2"] {
        assert_eq!(of(address, Some(mac)), Client::Mac(mac.0), "one phone with several addresses");
    }
    assert_eq!(of("2001:db8:1::1", None), Client::Address("2001:db8:1::1".parse().unwrap()), "no MAC was seen");
    let prefix = Client::Prefix64(0x2001_0db8_0002_0007);
    assert_eq!((of("2001:db8:2:7::1", None), of("2001:db8:2:7:ffff::9", None)), (prefix.clone(), prefix.clone()));
    assert_ne!(of("2001:db8:2:8::1", None), prefix);
    assert_eq!(ruling(&policy, &at(NOW, "10.1.0.1"), "tiktok"), "shared Paris");
    assert_eq!(ruling(&policy, &at(NOW, "10.1.0.1"), "deepseek"), "not");
}

#[test]
fn the_asset_list_names_device_and_site() {
    let mut list = AssetsBuilder::default();
    for (key, label, site, kind) in [
        ("10.0.0.0/8", "", "somewhere", Some(ScopeKind::Official)),
        ("10.1.2.3", "pc-3", "Lyon", None),
        ("10.1.2.4", "kiosk", "Lyon", Some(ScopeKind::Guest)),
        ("02:00:5e:10:00:01", "phone-1", "", Some(ScopeKind::Sensitive)),
    ] {
        list.add(key.parse().unwrap(), label, site, "Interior", kind).unwrap();
    }
    let scopes = vec![Scope {
        site: Some("Paris".to_owned()),
        ministry: Some("Finance".to_owned()),
        ..scope("lan", ScopeKind::Connected, &["10.1.0.0/16"])
    }];
    let bans = vec![ban("be-fwb")];
    let parts = PolicyParts { bans, scopes, assets: list.build().unwrap(), ..PolicyParts::default() };
    let policy = Policy::new(parts).unwrap();
    let of = |address: &str, mac: Option<Mac>| match policy
        .rule(&Subject { mac, ..at(NOW, address) }, bundle().service("tiktok").unwrap())
    {
        Ruling::Judged(judged) => {
            format!("{} {} {} {} {:?}", judged.label(), judged.site, judged.ministry, judged.kind, judged.identity)
        }
        other => format!("{other:?}"),
    };
    assert_eq!(of("10.1.2.3", None), "pc-3 Lyon Interior connected Address(10.1.2.3)");
    assert_eq!(of("10.1.2.4", None), "OutOfScope");
    assert_eq!(of("10.200.0.1", None), " somewhere Interior official Address(10.200.0.1)");
    let phone = Some(Mac([2, 0, 0x5e, 0x10, 0, 1]));
    assert_eq!(of("10.1.7.7", phone), "phone-1 Paris Interior sensitive Mac([2, 0, 94, 16, 0, 1])");
    assert_eq!(of("192.0.2.1", None), "OutOfScope");
}

fn derogation(who: &str, from: Date, until: Date) -> Derogation {
    Derogation {
        id: "2026-001".to_owned(),
        who: vec![who.parse().unwrap()],
        services: vec!["tiktok".to_owned()],
        bans: Vec::new(),
        from,
        until,
        ended: None,
        added: from,
        reason: "institutional account".to_owned(),
        approver: "secretary-general".to_owned(),
        reference: "SG-17".to_owned(),
    }
}

#[test]
fn a_derogation_excuses_from_its_first_to_its_last_local_day() {
    let one = derogation("10.0.0.1", date!(2026 - 11 - 10), date!(2026 - 11 - 20));
    let parts = PolicyParts { bans: vec![ban("fr")], derogations: vec![one], ..PolicyParts::default() };
    let policy = Policy::new(parts).unwrap();
    for (time, expected) in [
        (datetime!(2026-11-09 22:59:59 UTC), "fr"),
        (datetime!(2026-11-09 23:00 UTC), "excused 2026-001"),
        (datetime!(2026-11-20 22:59:59 UTC), "excused 2026-001"),
        (datetime!(2026-11-20 23:00 UTC), "fr"),
    ] {
        assert_eq!(ruling(&policy, &at(time, "10.0.0.1"), "tiktok"), expected, "{time}");
        assert_eq!(ruling(&policy, &at(time, "10.0.0.2"), "tiktok"), "fr");
        assert_eq!(ruling(&policy, &at(time, "10.0.0.1"), "netflix"), "fr");
    }
    let warned = |day| policy.notices(day).iter().any(|notice| notice.what.contains("\"2026-001\" ends on 2026-11-20"));
    assert!(warned(date!(2026 - 11 - 10)) && warned(date!(2026 - 11 - 20)) && !warned(date!(2026 - 11 - 21)));
    let long = derogation("10.0.0.1", date!(2026 - 11 - 01), date!(2026 - 11 - 30));
    let policy = Policy::new(PolicyParts { derogations: vec![long], ..PolicyParts::default() }).unwrap();
    assert!(policy.notices(date!(2026 - 11 - 15)).is_empty() && !policy.notices(date!(2026 - 11 - 16)).is_empty());
}

#[test]
fn a_derogation_from_one_ban_leaves_the_others() {
    let mut one = derogation("label:phone-1", date!(2026 - 11 - 01), date!(2026 - 12 - 31));
    one.bans = vec!["fr".to_owned()];
    let mut list = AssetsBuilder::default();
    list.add("10.0.0.1".parse().unwrap(), "phone-1", "", "", None).unwrap();
    let assets = list.build().unwrap();
    let bans = vec![ban("fr"), ban("be-federal")];
    let policy = Policy::new(PolicyParts { bans, assets, derogations: vec![one], ..PolicyParts::default() }).unwrap();
    assert_eq!(ruling(&policy, &at(NOW, "10.0.0.1"), "tiktok"), "be-federal");
    assert_eq!(ruling(&policy, &at(NOW, "10.0.0.2"), "tiktok"), "fr be-federal");
}

#[test]
fn as_of_judges_by_another_day() {
    let one = derogation("10.0.0.1", date!(2026 - 11 - 10), date!(2026 - 11 - 20));
    let parts = || PolicyParts { bans: vec![ban("fr")], derogations: vec![one.clone()], ..PolicyParts::default() };
    let on = |day| Policy::new(parts()).unwrap().as_of(day);
    let old = at(datetime!(2019-01-01 12:00 UTC), "10.0.0.2");
    assert_eq!(ruling(&on(None), &old, "tiktok"), "not");
    assert_eq!(ruling(&on(Some(date!(2026 - 11 - 15))), &old, "tiktok"), "fr");
    assert_eq!(ruling(&on(Some(date!(2023 - 03 - 23))), &at(NOW, "10.0.0.2"), "tiktok"), "not");
    let excused = at(datetime!(2019-01-01 12:00 UTC), "10.0.0.1");
    assert_eq!(ruling(&on(Some(date!(2026 - 11 - 15))), &excused, "tiktok"), "excused 2026-001");
    assert!(on(None).is_before_every_ban(old.time_ns));
    assert!(!on(Some(date!(2026 - 11 - 15))).is_before_every_ban(old.time_ns));
}
