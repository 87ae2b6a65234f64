use super::*;

const STYLE: Style = Style { width: 120, colour: false };

fn read(text: &str) -> (Verdicts, Vec<Report>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log.json");
    std::fs::write(&path, text).unwrap();
    let recogniser = Recogniser::new(vigie_signatures::Bundle::builtin(), Clients::builtin());
    let mut verdicts = Verdicts::default();
    let mut judge = Judge::new(Thresholds::default(), Limits::default());
    let mut tell = |change: Change<'_>| verdicts.add(&change);
    let reports = files::read(&[path], &recogniser, &mut |record| judge.take(record, &mut tell)).unwrap();
    judge.finish(&mut tell);
    (verdicts, reports)
}

fn line(seconds: u64, client: &str, name: &str) -> String {
    format!("{{\"seconds\":{seconds},\"client\":\"{client}\",\"name\":\"{name}\"}}\n")
}

/// An application, a visit, and a page of others.
fn office() -> String {
    [
        line(1_795_805_894, "10.0.0.9", "tnc16-normal-no1a.tiktokv.eu"),
        line(1_795_805_895, "10.0.0.9", "frontier.tiktokv-eu.com"),
        line(1_795_805_896, "10.0.0.10", "x.com"),
        line(1_795_805_897, "10.0.0.11", "analytics.tiktok.com"),
    ]
    .concat()
}

#[test]
fn verdicts_have_seven_fields_in_a_fixed_order() {
    let (verdicts, _) = read(&office());
    let json = verdicts.json();
    let lines: Vec<&str> = json.lines().collect();
    assert_eq!(
        lines[0],
        "{\"client\":\"10.0.0.9\",\"service\":\"tiktok\",\"verdict\":\"app\",\"kind\":\"background\",\
         \"first_run\":false,\"incident\":true,\"reasons\":[\"native interface families: tnc, frontier\"]}"
    );
    assert!(lines[1].contains("\"10.0.0.10\",\"service\":\"twitter\",\"verdict\":\"web\",\"kind\":\"site\""));
    assert!(lines[2].contains("\"verdict\":\"embed\",\"kind\":\"pixel\",\"first_run\":false,\"incident\":false"));
    assert_eq!((lines.len(), verdicts.incidents()), (3, 2));
}

#[test]
fn the_story_leaves_out_pages_of_others() {
    let (verdicts, reports) = read(&office());
    let story = verdicts.story(&reports, false, STYLE);
    assert!(
        story.contains("10.0.0.9   tiktok   app (background)  2026-11-27 18:58:14  native interface families: tnc"),
        "{story}"
    );
    assert!(!story.contains("10.0.0.11"), "{story}");
    assert!(
        story.ends_with(
            "\nClients: 1 ran an application, 1 visited a site, 0 undetermined, 1 only met pages or apps that embed a \
             service. 4 lines judged.\n"
        ),
        "{story}"
    );
}

#[test]
fn many_clients_are_cut_short() {
    let text: String = (0..60).map(|number| line(10, &format!("10.0.1.{number}"), "x.com")).collect();
    let (verdicts, reports) = read(&text);
    let story = verdicts.story(&reports, false, STYLE);
    assert!(story.contains("and 20 more lines: --all shows them\n"), "{story}");
    assert_eq!(verdicts.story(&reports, true, STYLE).matches("10.0.1.").count(), 60);
}

#[test]
fn nothing_says_all_clear_after_bad_lines() {
    let (verdicts, reports) = read(&line(1, "c", "example.com"));
    assert_eq!(verdicts.story(&reports, false, STYLE), "No known service was recognised. 1 line judged.\n");
    assert_eq!(outcome(&reports, false), Ok(Exit::Success));
    let (verdicts, reports) = read(&format!("{}nonsense\n", line(1, "c", "example.com")));
    assert_eq!(
        verdicts.story(&reports, false, STYLE),
        "Not everything was read. Nothing was recognised in what was: 1 line judged, 1 could not be used.\n"
    );
    let failure = outcome(&reports, false).unwrap_err();
    assert_eq!(failure.exit, Exit::BadData);
    assert!(failure.what.starts_with("1 of 2 lines could not be used; the first: "), "{failure}");
    assert!(failure.what.contains("log.json:2: "), "{failure}");
    let (verdicts, reports) = read("");
    assert_eq!(verdicts.story(&reports, false, STYLE), "No line was read, so nothing could be recognised.\n");
}

#[test]
fn what_cannot_be_used_goes_before_what_was_found() {
    let (_, reports) = read(&office());
    assert_eq!(outcome(&reports, true), Ok(Exit::Found));
    let (_, reports) = read(&format!("{}nonsense\n", office()));
    assert_eq!(outcome(&reports, true).unwrap_err().exit, Exit::BadData);
}

#[test]
fn mends_are_safe_to_type() {
    let report = |file: &str| Report { file: file.into(), ..Report::default() };
    assert_eq!(mend(&report("my log.gz"), ""), "zcat 'my log.gz' | vigie judge -");
    assert_eq!(mend(&report("a.zst"), ""), "zstdcat a.zst | vigie judge -");
    assert_eq!(mend(&report("a.json"), ""), "the others were judged");
}

#[test]
fn another_tools_words_cannot_command_the_terminal() {
    assert_eq!(printable("phone\u{1b}[2J\n7"), "phone[2J7");
}
