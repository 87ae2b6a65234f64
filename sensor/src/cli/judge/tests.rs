use super::story::{Judged, Read};
use super::*;
use crate::cli::terminal::Style;
use vigie_judgement::policy::{BanChoices, BanInUse, Policy, PolicyParts};
use vigie_signatures::Bundle;

const STYLE: Style = Style { width: 160, colour: false };

fn recogniser() -> Recogniser {
    Recogniser::new(Bundle::builtin(), Clients::builtin())
}

fn line(seconds: u64, client: &str, name: &str) -> String {
    format!("{{\"seconds\":{seconds},\"client\":\"{client}\",\"name\":\"{name}\"}}\n")
}

/// An application, a visit, and a page of others.
fn office() -> String {
    [
        line(1_795_805_894, "10.0.0.9", "tnc16-normal-no1a.tiktokv.eu"),
        line(1_795_805_895, "10.0.0.9", "frontier.tiktokv-eu.com"),
        line(1_795_805_896, "10.0.0.10", "im-ws.tiktok.com"),
        line(1_795_805_897, "10.0.0.11", "analytics.tiktok.com"),
        line(1_795_805_898, "10.0.0.12", "www.capcut.com"),
    ]
    .concat()
}

fn judged(text: &str, policy: &Policy) -> (Output, vigie_judgement::Counts, Vec<Report>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log.json");
    std::fs::write(&path, text).unwrap();
    let recogniser = recogniser();
    let bundle = recogniser.bundle();
    let mut incidents = Incidents::new(Thresholds::default(), CASES_MAX, IncidentLimits::default());
    let mut output = Output::new(false, Privacy::default());
    let reports = read(&[path], &recogniser, &AtomicBool::new(false), &mut |sighting, _| {
        incidents.sighting(policy, bundle, sighting, &mut |finding| output.take(&finding));
    })
    .unwrap();
    incidents.end(policy, bundle, &mut |finding| output.take(&finding));
    (output, incidents.counts(), reports)
}

fn story_by(policy: &Policy, text: &str, all: bool, style: Style) -> String {
    let (output, counts, reports) = judged(text, policy);
    let judged = Judged { policy, by: PolicyArguments::default().name(), counts, read: Read::of(&reports, false) };
    output.story.text(&judged, all, style)
}

fn story(text: &str, all: bool, style: Style) -> String {
    story_by(&Policy::builtin(), text, all, style)
}

#[test]
fn verdicts_have_seven_fields_in_a_fixed_order() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log.json");
    std::fs::write(&path, office()).unwrap();
    let mut cases = Cases::new(Thresholds::default(), CASES_MAX);
    let mut verdicts = Verdicts::default();
    read(&[path], &recogniser(), &AtomicBool::new(false), &mut |sighting, _| {
        cases.sighting(sighting, &mut |change| verdicts.add(&change))
    })
    .unwrap();
    cases.end(&mut |change| verdicts.add(&change));
    let json = verdicts.json(&Context::default());
    let lines: Vec<&str> = json.lines().collect();
    assert_eq!(
        lines[0],
        "{\"client\":\"10.0.0.9\",\"service\":\"tiktok\",\"verdict\":\"app\",\"kind\":\"background\",\
         \"first_run\":false,\"incident\":true,\"reasons\":[\"native interface families: tnc, frontier\"]}"
    );
    assert!(lines[1].contains("\"10.0.0.10\",\"service\":\"tiktok\",\"verdict\":\"web\",\"kind\":\"site\""));
    assert!(lines[2].contains("\"verdict\":\"embed\",\"kind\":\"pixel\",\"first_run\":false,\"incident\":false"));
    assert!(lines.len() == 4 && verdicts.has_incident());
}

#[test]
fn the_story_says_who_did_what_under_which_ban_and_why() {
    let story = story(&office(), false, STYLE);
    let lines: Vec<&str> = story.lines().collect();
    assert!(lines[0].starts_with("SEV  CLIENT     SERVICE"), "{story}");
    for words in ["  1  10.0.0.9", "TikTok", "app (background)", "2026-11-27 18:58:14", "fr of 2023-03-24"] {
        assert!(lines[1].contains(words), "{words}: {story}");
    }
    assert_eq!(lines[2], "     native interface families: tnc, frontier", "{story}");
    assert!(lines[3].starts_with("  3  10.0.0.12  CapCut") && lines[3].contains("watched"), "{story}");
    assert!(lines[5].starts_with("  -  10.0.0.10") && lines[5].contains("not forbidden by fr"), "{story}");
    assert!(!story.contains("10.0.0.11"), "{story}");
    assert!(
        story.ends_with(
            "\nJudged by the built-in policy: every client counts as an official device; ban: fr; watched: all of \
             ByteDance's services.\n2 incidents. Clients: 1 app, 2 web, 0 undetermined, 1 embed. 5 lines read.\n"
        ),
        "{story}"
    );
}

/// Nothing is cut: what has no room in the row stands before the reasons, and these are wrapped.
#[test]
fn the_story_fits_the_terminal() {
    let long = line(1_795_805_899, "2001:db8:1234:5678:9abc:def0:1234:5678", "www.capcut.com");
    let whole = |text: &str, width| {
        let story = story(text, false, Style { width, colour: false });
        let table = story.split("\n\n").next().unwrap().to_owned();
        assert!(table.lines().all(|line| console::measure_text_width(line) <= width), "{width}: {story}");
        assert!(!table.contains('…'), "{width}: {story}");
        table.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    for width in [44, 60, 80, 120] {
        let words = whole(&office(), width);
        for part in ["2026-11-27 18:58:14", "fr of 2023-03-24", "app (background)", "families: tnc, frontier"] {
            assert!(words.contains(part), "{width}: no {part} in {words}");
        }
    }
    let reasons = "names that only the site uses: www.capcut.com; these names or more: over one connection";
    let expected = format!("CapCut web (site) 2026-11-27 18:58:19, watched: {reasons}");
    let words = whole(&long, 80);
    assert!(words.contains(&expected), "{words}");
}

#[test]
fn many_clients_are_rolled_up() {
    let text: String = (0..200).map(|number| line(10, &format!("10.0.1.{number}"), "www.capcut.com")).collect();
    let cut = story(&text, false, STYLE);
    assert!(cut.contains("  3      200  CapCut   web (site)  1970-01-01 00:00:10  watched\n"), "{cut}");
    assert!(cut.contains("200 lines: --all shows every client\n") && cut.lines().count() < 10, "{cut}");
    assert_eq!(story(&text, true, STYLE).matches("10.0.1.").count(), 200);
}

#[test]
fn a_day_before_every_ban_has_no_incident() {
    let early = line(1_577_836_800, "10.0.0.9", "im-ws.tiktok.com");
    let has_incident = |as_of| {
        let tnc = line(1_577_836_801, "10.0.0.9", "tnc16-normal-no1a.tiktokv.eu");
        let text = [early.clone(), tnc, line(1_577_836_802, "10.0.0.9", "frontier.tiktokv-eu.com")].concat();
        story_by(&Policy::builtin().as_of(as_of), &text, false, STYLE)
    };
    assert!(has_incident(None).contains("  watched\n"), "only what is watched has no beginning");
    assert!(has_incident(None).contains("\nAll of it is older than every ban in use; --as-of DATE judges"));
    assert!(has_incident(Some(time::macros::date!(2026 - 11 - 27))).contains("fr of 2023-03-24"));
}

#[test]
fn a_ban_past_its_review_is_named_with_the_day_since_which_it_is_overdue() {
    let wallonia = vigie_signatures::Bans::builtin();
    let wallonia = wallonia.get("be-wallonia").unwrap();
    let told = |day| {
        let bans = vec![BanInUse::new(wallonia, BanChoices::default()).unwrap()];
        let policy = Policy::new(PolicyParts { bans, ..PolicyParts::default() }).unwrap();
        story_by(&policy.as_of(Some(day)), &office(), false, Style { width: 300, ..STYLE })
    };
    let overdue = told(time::macros::date!(2024 - 01 - 01));
    assert!(overdue.contains("be-wallonia of 2023-03-16, review overdue since 2023-12-31"), "{overdue}");
    let in_time = told(time::macros::date!(2023 - 12 - 31));
    assert!(in_time.contains("be-wallonia of 2023-03-16") && !in_time.contains("overdue"), "{in_time}");
}

#[test]
fn nothing_says_all_clear_after_bad_lines() {
    let good = line(1, "c", "example.com");
    let last = |text: &str| story(text, false, STYLE).lines().last().unwrap().to_owned();
    assert_eq!(last(&good), "No banned or watched service was recognised. 1 line read.");
    assert_eq!(
        last(&line(1, "c", "x.com")),
        "No banned or watched service was recognised; 1 contact with others. 1 line read."
    );
    assert_eq!(
        last(&format!("{good}nonsense\n")),
        "Not everything was read. Nothing was found in what was: 1 line read, 1 more could not be used."
    );
    assert_eq!(last(""), "Nothing was read, so nothing could be recognised.");
    let (.., reports) = judged(&format!("{good}nonsense\n"), &Policy::builtin());
    let failure = outcome(&reports, false, true).unwrap_err();
    assert_eq!(failure.exit, Exit::BadData);
    assert!(failure.what.starts_with("1 of 2 lines could not be used; the first: "), "{failure}");
    assert!(failure.what.contains("log.json:2: "), "{failure}");
    let (.., reports) = judged(&good, &Policy::builtin());
    assert_eq!((outcome(&reports, false, false), outcome(&reports, false, true)), (Ok(Exit::Success), Ok(Exit::Found)));
}

#[test]
fn mends_are_safe_to_type() {
    let report = |file: &str| Report { file: file.into(), ..Report::default() };
    assert_eq!(mend(&report("my log.gz")), "zcat 'my log.gz' | vigie judge -");
    assert_eq!(mend(&report("a.zst")), "zstdcat a.zst | vigie judge -");
    assert_eq!(mend(&report("a.json")), "the others were judged");
}

#[test]
fn another_tools_words_cannot_command_the_terminal() {
    let text = line(10, "phone\\u001b[2J\\n7", "www.capcut.com");
    let story = story(&text, false, STYLE);
    assert!(story.contains("  3  phone[2J7  CapCut") && !story.contains('\u{1b}'), "{story}");
}

#[test]
fn whom_the_policy_does_not_cover_is_a_count_without_a_name() {
    use vigie_judgement::policy::{PolicyParts, ScopeKind};
    let parts = || PolicyParts { unlisted: Some(ScopeKind::Guest), ..PolicyParts::default() };
    let few = story_by(&Policy::new(parts()).unwrap(), &office(), false, STYLE);
    assert!(few.ends_with(" 5 lines read. Not recorded: 5 contacts out of scope.\n"), "{few}");
    assert!(!few.contains("10.0.0."), "{few}");
    let fewer = story_by(&Policy::new(parts()).unwrap(), &line(1, "10.0.0.1", "www.tiktok.com"), false, STYLE);
    assert!(fewer.ends_with(" Not recorded: fewer than 5 contacts out of scope.\n"), "{fewer}");
}
