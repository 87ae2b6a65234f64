//! The bans built in, and what is refused in an operator's.

use time::macros::date;

use super::*;

fn state(id: &str, day: Date) -> BanState {
    Bans::builtin().get(id).unwrap().state_at(day)
}

#[test]
fn the_built_in_bans_are_sound() {
    assert_eq!(BUILTIN.1, []);
    let bans = Bans::builtin();
    assert_eq!(bans.iter().count(), 30);
    assert_eq!(bans.check_services(&Bundle::builtin()), []);
    assert_eq!(bans.watched().map(|ban| ban.id.as_str()).collect::<Vec<_>>(), ["watch-bytedance"]);
    for ban in bans.iter() {
        assert_eq!(ban.file, format!("bans/{}.toml", ban.id));
    }
}

#[test]
fn states_follow_the_days() {
    assert_eq!(state("fr", date!(2023 - 03 - 23)), BanState::NotYetInForce);
    assert_eq!(state("fr", date!(2023 - 03 - 24)), BanState::InForce);
    assert_eq!(state("eu-commission", date!(2023 - 03 - 14)), BanState::NotYetInForce);
    assert_eq!(state("be-wallonia", date!(2023 - 12 - 31)), BanState::InForce);
    assert_eq!(state("be-wallonia", date!(2024 - 01 - 01)), BanState::Overdue);
    assert_eq!(state("be-fwb", date!(2026 - 11 - 27)), BanState::Overdue);
    assert_eq!(state("be-federal", date!(2026 - 11 - 27)), BanState::InForce, "extended without an end");
    assert_eq!(state("uk-scotland", date!(2023 - 03 - 30)), BanState::NotYetInForce, "known by its month");
    assert_eq!(state("watch-bytedance", date!(2000 - 01 - 01)), BanState::InForce);
    let mut ban = Ban::clone(Bans::builtin().get("fr").unwrap());
    ban.ended = Some(date!(2024 - 06 - 30));
    assert_eq!(ban.state_at(date!(2024 - 06 - 30)), BanState::InForce);
    assert_eq!(ban.state_at(date!(2024 - 07 - 01)), BanState::Ended);
    assert!(!BanState::Ended.judges() && BanState::Overdue.judges() && !BanState::NotYetInForce.judges());
}

#[test]
fn the_time_to_remove_is_told() {
    let bans = Bans::builtin();
    let ban = bans.get("be-federal").unwrap();
    assert!(!ban.is_removal_period(date!(2023 - 03 - 09)));
    assert!(ban.is_removal_period(date!(2023 - 03 - 10)) && ban.is_removal_period(date!(2023 - 03 - 31)));
    assert!(!ban.is_removal_period(date!(2023 - 04 - 01)));
}

#[test]
fn bans_cover_services_by_key_owner_or_country() {
    let (bans, bundle) = (Bans::builtin(), Bundle::builtin());
    let covers = |ban: &str, service: &str| bans.get(ban).unwrap().covers(bundle.service(service).unwrap());
    assert!(covers("fr", "tiktok") && covers("fr", "king") && !covers("fr", "instagram") && !covers("fr", "capcut"));
    assert!(covers("nl", "capcut") && covers("nl", "kaspersky") && covers("nl", "temu") && !covers("nl", "netflix"));
    assert!(covers("watch-bytedance", "douyin") && covers("watch-bytedance", "lark"));
    assert!(!covers("watch-bytedance", "deepseek"));
    assert!(bans.get("us-federal").unwrap().forbids(Forbids::Traffic));
    assert!(!bans.get("fr").unwrap().forbids(Forbids::Use));
}

const OWN: &str = "id = \"own\"\nauthority = \"Us\"\ncountry = \"FR\"\nlanguage = \"fr\"\ntitle = \"T\"\ntitle_en = \"T\"\n\
    instrument = \"note\"\nform = \"ban\"\ndecided = \"2026-01-01\"\nin_force = \"2026-02-01\"\n\
    time_zone = \"Europe/Paris\"\nforbids = [\"install\"]\nservices = [\"tiktok\"]\nscope = [\"official\"]\n\
    personal = \"no\"\nseverity = 2\nsources = [\"us\"]\nreviewed = \"2026-11-27\"\n";

fn load(text: &str) -> Result<(Bans, Vec<Diagnostic>), Vec<Diagnostic>> {
    Bans::from_texts(&[vec![SourceText { label: "own.toml".to_owned(), text: text.to_owned() }]])
}

#[test]
fn an_operators_ban_adds_or_overrides() {
    let (bans, findings) = load(OWN).unwrap();
    assert_eq!(findings, []);
    let ban = bans.get("own").unwrap();
    assert_eq!((ban.severity, ban.severity_web, bans.iter().count()), (2, 3, 31));
    let (bans, _) = load(&OWN.replace("id = \"own\"", "id = \"fr\"")).unwrap();
    assert_eq!((bans.get("fr").unwrap().authority.as_str(), bans.iter().count()), ("Us", 30));
}

#[test]
fn faults_name_line_key_and_mend() {
    for (from, to, line, expected) in [
        ("severity = 2", "severity = 4", 16, "severity 4 is not 1, 2 or 3; 1 is high, 3 is low"),
        ("in_force = \"2026-02-01\"", "in_force = \"2025-02-01\"", 10, "in_force 2025-02-01 lies before decided"),
        ("form = \"ban\"", "form = \"law\"", 8, "form \"law\" is not one of ban, block"),
        ("services = [\"tiktok\"]", "services = []", 13, "the ban covers no service"),
        ("forbids = [\"install\"]\n", "", 1, "forbids is missing; add forbids = [\"install\""),
        (
            "decided = \"2026-01-01\"\nin_force = \"2026-02-01\"\ntime_zone = \"Europe/Paris\"\nforbids = [\"install\"]\nservices = [\"tiktok\"]\n",
            "",
            1,
            "time_zone, decided, in_force, forbids and services are missing; add time_zone = \"Europe/Paris\"; decided",
        ),
        ("time_zone = \"Europe/Paris\"", "time_zone = \"CET\"", 11, "is not a time zone"),
        ("country = \"FR\"", "country = \"France\"", 3, "is not a country code"),
        ("id = \"own\"", "id = \"own\"\nwhy = 1", 2, "unknown key \"why\""),
        ("decided", "precision = \"month\"\ndecided", 11, "is not the last day of its month"),
        ("id = \"own\"", "id = ", 1, "not TOML"),
        ("reviewed = \"2026-11-27\"", "reviewed = \"soon\"", 18, "reviewed \"soon\" is not a day"),
    ] {
        let findings = load(&OWN.replacen(from, to, 1)).expect_err(to);
        assert_eq!((findings.len(), findings[0].line), (1, line), "{findings:#?}");
        assert!(findings[0].to_string().contains(expected), "{}", findings[0]);
    }
    let twice = SourceText { label: "b.toml".to_owned(), text: OWN.to_owned() };
    let findings = Bans::from_texts(&[vec![SourceText { label: "a.toml".to_owned(), ..twice.clone() }, twice]]);
    assert!(findings.expect_err("twice")[0].message.contains("stands in a.toml already"));
    let unknown = load(&OWN.replace("[\"tiktok\"]", "[\"tictoc\"]")).unwrap().0;
    assert!(unknown.check_services(&Bundle::builtin())[0].message.contains("\"tictoc\""));
}

#[test]
fn a_ban_within_another_file_needs_less_and_keeps_its_lines() {
    let add = |text: &str| {
        let document = toml::de::DeTable::parse(text).unwrap();
        let list = document.get_ref().get("ban").unwrap().get_ref().as_array().unwrap();
        let table = list.iter().next().unwrap();
        let mut bans = Bans::builtin();
        bans.add_table("x.toml", text, table.get_ref().as_table().unwrap(), table.span().start)
    };
    let watch = "\n[[ban]]\nid = \"apps\"\ntitle = \"Other apps\"\nform = \"watch\"\ntime_zone = \"Europe/London\"\n\
        services = [\"temu\"]\n";
    let ban = add(watch).unwrap();
    assert_eq!(
        (ban.severity, ban.title_en.as_str(), ban.scope.as_slice()),
        (3, "Other apps", &[ScopeWord::Official][..])
    );
    for (text, line, expected) in [
        (watch.replace("form = \"watch\"\n", ""), 2, "in_force and forbids are missing"),
        (watch.replace("title = ", "titel = "), 4, "unknown key \"titel\""),
        (watch.replace("\"Europe/London\"", "\"London\""), 6, "is not a time zone"),
    ] {
        let findings = add(&text).unwrap_err();
        assert!(
            findings.iter().any(|finding| finding.line == line && finding.message.contains(expected)),
            "{findings:#?}"
        );
    }
}
