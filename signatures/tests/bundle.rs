//! Bundles of the operator: what is refused and where, and how files are laid over the built-in ones.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use time::{Date, Month};
use vigie_signatures::{Bundle, Class, Diagnostic, LoadOptions, Severity, SourceText, Trait, Verdict};

const HEAD: &str = "service = \"intranet\"\nname = \"Intranet\"\nbase = 7900000\nreviewed = \"2026-11-21\"\n";
const GROUP: &str = "[[names]]\nrole = \"web\"\nclass = \"site\"\nconfidence = \"high\"\nsources = [\"us\"]\n";

fn alone() -> LoadOptions {
    LoadOptions { builtin: false, ..LoadOptions::default() }
}

fn text(label: &str, text: impl Into<String>) -> SourceText {
    SourceText { label: label.into(), text: text.into() }
}

fn load(body: &str) -> Result<(Bundle, Vec<Diagnostic>), Vec<Diagnostic>> {
    Bundle::from_texts(&[vec![text("own.toml", format!("{HEAD}{body}"))]], alone())
}

/// The one finding of a faulty body: its line and its text.
fn fault(body: &str) -> (u32, String) {
    let findings = load(body).expect_err("refused");
    assert_eq!(findings.len(), 1, "{findings:#?}");
    (findings[0].line, findings[0].to_string())
}

#[test]
fn all_ways_to_write_a_rule() {
    let body = format!(
        "{GROUP}exact = [\"a.example.com\"]\n[names.suffix]\n\"example.org\" = [\"other\"]\n\
         \"example.net\" = {{ alert = false, note = \"Only ours.\", reviewed = \"2026-01-01\", class = \"page\" }}\n\
         [[patterns]]\npattern = 'x[0-9]+'\nzones = [\"example.com\"]\nrole = \"app-api\"\nclass = \"native\"\n\
         confidence = \"medium\"\nsources = [\"us\"]\n\
         [[prefixes]]\nasn = 64500\nrole = \"infra\"\nclass = \"infra\"\nconfidence = \"high\"\nsources = [\"us\"]\n\
         prefix = [\"192.0.2.0/24\", \"2001:db8::/32\"]\n\
         [[fingerprints]]\nrole = \"app-api\"\nclass = \"native\"\nconfidence = \"high\"\nsources = [\"us\"]\n\
         ja4 = [\"t13d1516h2_8daaf6152771_e5627efa2ab1\"]\n"
    );
    let (bundle, findings) = load(&body).unwrap();
    assert_eq!((bundle.len(), findings.len()), (7, 0));
    let rule = bundle.name("a.example.com").unwrap();
    assert_eq!((rule.signature_id, rule.line, rule.file.as_str()), (7_900_005, 10, "own.toml"));
    assert_eq!(rule.service_name, "Intranet");
    let rule = bundle.name("x.example.net").unwrap();
    assert_eq!((rule.signature_id, rule.raises_alert(), rule.reviewed.as_str()), (7_900_067, false, "2026-01-01"));
    assert_eq!(bundle.note(rule), Some("Only ours."));
    assert_eq!(bundle.name("example.org").unwrap().sources, ["other"]);
    let rule = bundle.name("x1.example.com").unwrap();
    assert_eq!((rule.signature_id, rule.text.as_str()), (7_900_001, "^(?:x[0-9]+)\\.(?:example\\.com)$"));
    let address = "192.0.2.9".parse().unwrap();
    assert_eq!((bundle.address(address).unwrap().signature_id, bundle.asn(address)), (7_900_033, Some(64_500)));
    assert_eq!(bundle.ja4("t13d1516h2_8daaf6152771_e5627efa2ab1").unwrap().signature_id, 7_900_040);
    let service = bundle.service("intranet").unwrap();
    assert_eq!((service.names, service.patterns, service.prefixes, service.fingerprints), (3, 1, 2, 1));
    assert_eq!((service.rules(), service.alerting, service.oldest_review.as_str()), (7, 5, "2026-01-01"));
}

#[test]
fn faults_name_file_and_line() {
    let (line, told) = fault(&format!("{GROUP}suffix = [\n\"example.com\",\n\"Example.org\",\n]\n"));
    assert_eq!(line, 12);
    assert_eq!(told, "own.toml:12: \"Example.org\" is not a host name as rules write it; write it as \"example.org\"");
    let cases: [(&str, u32, &str); 26] = [
        ("exact = [\"*.example.com\"]", 10, "leave the star out"),
        ("exact = [\"com\"]", 10, "at least two labels"),
        ("exact = [\"192.0.2.1\"]", 10, "[[prefixes]]"),
        ("exact = [\"bücher.example\"]", 10, "xn--bcher-kva.example"),
        ("exact = [\"a..b\"]", 10, "letters, digits"),
        ("exact = [3]", 10, "not a string"),
        ("exact = \"example.com\"", 10, "neither list nor table"),
        ("exact = [\"a.example\", \"a.example\"]", 10, "stands at own.toml:10 already"),
        (
            "exakt = [\"a.example\"]\nexact = [\"b.example\"]",
            10,
            "unknown key \"exakt\"; use one of exact, suffix, role",
        ),
        ("exact = { \"a.example\" = \"us\" }", 10, "neither sources nor a table"),
        ("exact = { \"a.example\" = [] }", 10, "has no source"),
        ("exact = { \"a.example\" = { why = \"x\" } }", 10, "unknown key \"why\""),
        ("exact = { \"a.example\" = { signal = \"appp\" } }", 10, "signal \"appp\" is not one of app-only"),
        ("exact = { \"a.example\" = { class = \"appp\" } }", 10, "class \"appp\" is not one of native"),
        ("exact = { \"a.example\" = { family = \"A b\" } }", 10, "family \"A b\" is not a word"),
        ("exact = { \"a.example\" = { place = 18 } }", 10, "place 18 is not one of 1 to 17"),
        ("exact = { \"a.example\" = { traits = [\"x\"] } }", 10, "traits \"x\" is not one of own-interface"),
        ("exact = { \"a.example\" = { role = \"x\" } }", 10, "role \"x\" is not one of app-api"),
        ("exact = { \"a.example\" = { confidence = \"x\" } }", 10, "confidence \"x\" is not one of low"),
        ("exact = { \"a.example\" = { reviewed = \"2026-02-30\" } }", 10, "reviewed \"2026-02-30\" is not a day"),
        ("exact = { \"a.example\" = { reviewed = \"21.11.2026\" } }", 10, "write it as \"YYYY-MM-DD\""),
        ("exact = { \"a.example\" = { alert = \"no\" } }", 10, "alert is not true or false"),
        ("exact = { \"a.example\" = { asn = -1 } }", 10, "asn is not a number"),
        ("exact = [", 10, "not TOML"),
        ("", 5, "the group has no rule"),
        ("exact = [\"a.example\"]\n[[nams]]", 11, "unknown key \"nams\""),
    ];
    for (body, line, expected) in cases {
        let findings = load(&format!("{GROUP}{body}\n")).expect_err(body);
        let found = findings.iter().find(|finding| finding.to_string().contains(expected));
        let found = found.unwrap_or_else(|| panic!("{body}: {findings:#?}"));
        assert_eq!((found.line, found.severity), (line, Severity::Error), "{body}: {found}");
    }
}

#[test]
fn faults_of_patterns_prefixes_and_fingerprints() {
    let facts = "role = \"web\"\nclass = \"site\"\nconfidence = \"high\"\nsources = [\"us\"]\n";
    let cases = [
        ("[[patterns]]\npattern = 'a['\nzones = [\"example.com\"]\n", 6, "unclosed character class"),
        ("[[patterns]]\npattern = 'A+'\nzones = [\"example.com\"]\n", 6, "not in lower-case"),
        ("[[patterns]]\npattern = 'a+'\n", 6, "has no zones"),
        ("[[patterns]]\npattern = 'a+'\nzones = [\"com\"]\n", 6, "at least two labels"),
        ("[[prefixes]]\nprefix = [\"192.0.2.1/24\"]\n", 6, "bits set behind"),
        ("[[prefixes]]\nprefix = [\"0.0.0.0/0\"]\n", 6, "wider than /8"),
        ("[[fingerprints]]\nja4 = [\"abc\"]\n", 6, "not a JA4 fingerprint"),
    ];
    for (body, line, expected) in cases {
        let (at, told) = fault(&format!("{body}{facts}"));
        assert!(told.contains(expected), "{told}");
        assert_eq!(at, line, "{told}");
    }
}

#[test]
fn a_missing_word_is_told_once_for_its_group() {
    let (line, told) =
        fault("[[names]]\nrole = \"web\"\nconfidence = \"low\"\nsources = [\"us\"]\nexact = [\"a.b\", \"c.d\"]");
    assert_eq!(line, 5);
    assert!(told.contains("has no class; add class = one of native"), "{told}");
}

#[test]
fn faults_of_the_head() {
    let load = |text_of: &str| Bundle::from_texts(&[vec![text("own.toml", text_of)]], alone()).expect_err(text_of);
    for (body, line, expected) in [
        ("name = \"x\"\n", 1, "the service is missing"),
        ("service = \"In Tranet\"\n", 1, "is not a key"),
        ("\nservice = \"intranet\"\n", 2, "is new and needs a name and a base"),
        ("service = \"x\"\nname = \"x\"\nbase = 7900001\n", 3, "not a positive multiple of 100"),
        ("service = \"x\"\nname = \"x\"\nbase = 7900000\nreviewed = 2026\n", 4, "reviewed is not a string"),
    ] {
        let findings = load(body);
        assert!(
            findings.iter().any(|finding| finding.line == line && finding.to_string().contains(expected)),
            "{body}: {findings:#?}"
        );
    }
    let taken = [vec![
        text("a.toml", "service = \"a\"\nname = \"A\"\nbase = 100\n"),
        text("b.toml", "service = \"b\"\nname = \"B\"\nbase = 100\n"),
    ]];
    let findings = Bundle::from_texts(&taken, alone()).expect_err("one base twice");
    assert_eq!(
        findings[0].to_string(),
        "b.toml:1: base 100 belongs to service \"a\"; take a free multiple of 100 from 7900000 on"
    );
}

#[test]
fn a_file_adds_to_a_built_in_service_and_overrides_its_rules() {
    let own = format!(
        "service = \"tiktok\"\nreviewed = \"2026-11-22\"\n{GROUP}exact = [\"tiktok.intranet.example\"]\n\
         [names.suffix]\n\"tiktok.com\" = {{ alert = false }}\n"
    );
    let (bundle, _) = Bundle::from_texts(&[vec![text("own.toml", own)]], LoadOptions::default()).unwrap();
    let builtin = Bundle::builtin();
    assert_eq!(bundle.len(), builtin.len() + 1);
    let rule = bundle.name("tiktok.intranet.example").unwrap();
    assert_eq!((rule.service_name.as_str(), rule.signature_id), ("TikTok", 7_100_105));
    let rule = bundle.name("tiktok.com").unwrap();
    assert_eq!((rule.file.as_str(), rule.raises_alert()), ("own.toml", false));
    assert_eq!(bundle.name("www.tiktok.com").unwrap().file, "services/tiktok.toml");
}

#[test]
fn a_file_replaces_a_built_in_service() {
    let own =
        format!("service = \"tiktok\"\nreplace = true\nreviewed = \"2026-11-22\"\n{GROUP}suffix = [\"tiktok.com\"]\n");
    let (bundle, _) = Bundle::from_texts(&[vec![text("own.toml", own)]], LoadOptions::default()).unwrap();
    assert_eq!(bundle.service("tiktok").unwrap().rules(), 1);
    assert!(bundle.name("api-boot.tiktokv.com").is_none());
    assert_eq!(bundle.name("www.tiktok.com").unwrap().signature_id, 7_100_105);
    assert!(bundle.name("www.netflix.com").is_some());
}

#[test]
fn own_patterns_come_before_built_in_ones() {
    let own = "service = \"own\"\nname = \"Own\"\nbase = 7900000\nreviewed = \"2026-11-22\"\n[[patterns]]\n\
               pattern = 'api16-ours[0-9]*'\nzones = [\"tiktokv.com\"]\nrole = \"app-api\"\nclass = \"native\"\n\
               confidence = \"high\"\nsources = [\"us\"]\n";
    let (bundle, _) = Bundle::from_texts(&[vec![text("own.toml", own)]], LoadOptions::default()).unwrap();
    assert_eq!(bundle.name("api16-ours7.tiktokv.com").unwrap().service, "own");
    assert_eq!(bundle.name("api16-theirs.tiktokv.com").unwrap().service, "tiktok");
}

#[test]
fn old_reviews_are_warnings() {
    let day = |year| Date::from_calendar_date(year, Month::November, 22).unwrap();
    let body = format!("{GROUP}exact = [\"a.example\", \"b.example\"]\n");
    let judged = |today| {
        let options = LoadOptions { today: Some(today), ..alone() };
        Bundle::from_texts(&[vec![text("own.toml", format!("{HEAD}{body}"))]], options).unwrap().1
    };
    assert_eq!(judged(day(2026)), []);
    let findings = judged(day(2027));
    assert_eq!(findings.len(), 1);
    assert_eq!(findings[0].severity, Severity::Warning);
    assert_eq!(
        findings[0].to_string(),
        "own.toml:10: 2 rules were last reviewed on 2026-11-21, more than 365 days ago; review them and move the date"
    );
    assert!(judged(day(2025))[0].message.contains("still to come"));
}

#[test]
fn directories_are_read_in_order() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("b.toml"), format!("{HEAD}{GROUP}exact = [\"a.example\"]\n")).unwrap();
    let more = format!("service = \"intranet\"\nreviewed = \"2026-11-21\"\n{GROUP}exact = [\"b.example\"]\n");
    std::fs::write(directory.path().join("a.toml"), more).unwrap();
    std::fs::write(directory.path().join("README.md"), "not TOML").unwrap();
    let (bundle, _) = Bundle::load(&[directory.path().to_owned()], alone()).unwrap();
    assert_eq!(bundle.len(), 2);
    let findings = Bundle::load(&[directory.path().join("missing")], alone()).unwrap_err();
    assert!(findings[0].to_string().contains("cannot be listed"), "{}", findings[0]);
    std::fs::write(directory.path().join("c.toml"), [0xff, 0xfe]).unwrap();
    let findings = Bundle::load(&[directory.path().to_owned()], alone()).unwrap_err();
    assert!(findings[0].to_string().contains("c.toml:0: cannot be read"), "{}", findings[0]);
}

#[test]
fn a_service_without_a_name_anywhere_is_refused_but_others_are_told_too() {
    let layers = [vec![text("a.toml", "service = \"a\"\n"), text("b.toml", "service = \"b\"\n")]];
    assert_eq!(Bundle::from_texts(&layers, alone()).unwrap_err().len(), 2);
}

#[test]
fn the_example_of_the_readme_is_sound() {
    let readme = include_str!("../README.md");
    let example = readme.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
    let (bundle, findings) =
        Bundle::from_texts(&[vec![text("example.toml", example)]], LoadOptions::default()).unwrap();
    assert_eq!(findings, []);
    assert_eq!(bundle.service("intranet-video").unwrap().rules(), 7);
    assert!(!bundle.name("speedtest.example.com").unwrap().raises_alert());
    assert_eq!(bundle.name("edge1.video.example.com").unwrap().signature_id, 7_900_002);
}

#[test]
fn words_of_the_older_format_load_with_a_warning_and_the_same_ids() {
    let group = |role: &str, signal: &str, rest: &str| {
        format!(
            "[[names]]\nrole = \"{role}\"\nsignal = \"{signal}\"\nconfidence = \"high\"\nsources = [\"us\"]\n{rest}\n"
        )
    };
    let body = [
        group(
            "web",
            "web",
            "exact = [\"a.example\"]\n[names.suffix]\n\"b.example\" = { signal = \"shared\", alert = false }",
        ),
        group("web", "web", "exact = [\"c.example\"]"),
        group("cdn", "shared", "exact = [\"d.example\"]"),
        group("embed", "embed", "exact = [\"e.example\"]"),
        group("infra", "-", "exact = [\"f.example\"]"),
    ]
    .concat();
    let (bundle, findings) = load(&body).unwrap();
    let of = |name: &str| {
        let rule = bundle.name(name).unwrap();
        (rule.class, rule.signature_id, rule.verdict())
    };
    assert_eq!(of("a.example"), (Class::Site, 7_900_005, Verdict::Web));
    assert_eq!(of("b.example"), (Class::Site, 7_900_053, Verdict::Undetermined));
    assert_eq!(of("d.example"), (Class::Media, 7_900_003, Verdict::Undetermined));
    assert_eq!(of("e.example"), (Class::Pixel, 7_900_006, Verdict::Embed));
    assert_eq!(of("f.example"), (Class::Infra, 7_900_013, Verdict::Undetermined));
    assert!(findings.iter().all(|finding| finding.severity == Severity::Warning && finding.key == "signal"));
    let told: Vec<String> = findings.iter().map(ToString::to_string).collect();
    assert_eq!(told.len(), 5, "one for each word and class: {told:#?}");
    assert_eq!(
        told[0],
        "own.toml:7: signal = \"web\" is a word of an older format, which the next version refuses; \
         write class = \"site\", or a class that fits better: README.md lists them"
    );
    assert!(told[1].contains("write class = \"site\" and place = 3, or"), "{}", told[1]);
}

#[test]
fn a_class_goes_before_an_old_word_and_clears_what_belonged_to_another_class() {
    let body = "[[names]]\nrole = \"web\"\nsignal = \"web\"\nclass = \"native\"\nfamily = \"tnc\"\nplace = 2\n\
                confidence = \"high\"\nsources = [\"us\"]\ntraits = [\"own-interface\"]\n[names.exact]\n\
                \"a.example\" = {}\n\"b.example\" = { class = \"portal\" }\n";
    let (bundle, findings) = load(body).unwrap();
    assert_eq!(findings, []);
    let rule = bundle.name("a.example").unwrap();
    assert_eq!((rule.class, rule.family.as_str(), rule.signature_id), (Class::Native, "tnc", 7_900_002));
    assert!(rule.has(Trait::OwnInterface) && !rule.has(Trait::Desktop));
    let rule = bundle.name("b.example").unwrap();
    assert_eq!((rule.class, rule.family.as_str(), rule.signature_id), (Class::Portal, "portal", 7_900_014));
    assert!(!rule.raises_alert());
}

/// Names of the built-in services that raise an alert with these files of an operator over them.
fn alerting<'n>(own: &str, names: &[&'n str]) -> Vec<&'n str> {
    let (bundle, findings) = Bundle::from_texts(&[vec![text("own.toml", own)]], LoadOptions::default()).unwrap();
    assert_eq!(findings, []);
    names.iter().copied().filter(|name| bundle.name(name).is_some_and(|rule| rule.raises_alert())).collect()
}

#[test]
fn a_silent_suffix_silences_all_names_below_it() {
    let names = [
        "tiktok.com",
        "www.tiktok.com",
        "analytics.tiktok.com",
        "analytics-exp-sg.tiktok.com",
        "ads.tiktok.com",
        "seller-xx.tiktok.com",
        "im-ws.tiktok.com",
        "login.www.tiktok.com",
        "mcs99.tiktokw.eu",
        "aggr32-normal.tiktokv.eu",
    ];
    let own = |rest: &str| format!("service = \"tiktok\"\nreviewed = \"2026-11-22\"\n{GROUP}[names.suffix]\n{rest}");
    assert_eq!(alerting(&own("\"tiktok.example\" = {}\n"), &names), names);
    // A pattern with several zones answers for two of these: one name is silenced, the other is not.
    let silenced = own("\"tiktok.com\" = { alert = false }\n");
    assert_eq!(alerting(&silenced, &names), ["mcs99.tiktokw.eu", "aggr32-normal.tiktokv.eu"]);
    let (bundle, _) = Bundle::from_texts(&[vec![text("own.toml", silenced)]], LoadOptions::default()).unwrap();
    let rule = bundle.name("mcs-new.tiktok.com").unwrap();
    assert_eq!((rule.class, rule.is_silent(), rule.signature_id), (Class::Page, true, 7_100_167), "known, and silent");
    let except = own("\"tiktok.com\" = { alert = false }\n\"ads.tiktok.com\" = {}\n");
    assert_eq!(alerting(&except, &names[3..6]), ["ads.tiktok.com"], "the nearest suffix holds");
    let except = own("\"tiktok.com\" = { alert = false }\n")
        .replace("[names.suffix]", "exact = [\"ads.tiktok.com\"]\n[names.suffix]");
    assert_eq!(alerting(&except, &names[3..6]), ["ads.tiktok.com"], "what the same file says of a name holds");
    let exact = own("").replace("[names.suffix]\n", "[names.exact]\n\"www.tiktok.com\" = { alert = false }\n");
    assert_eq!(alerting(&exact, &names[..3]), ["tiktok.com", "analytics.tiktok.com"]);
}

#[test]
fn services_classes_and_severities_are_silenced() {
    let names =
        ["www.netflix.com", "x.oca.nflxvideo.net", "appboot.netflix.com", "www.tiktok.com", "tnc-boot.tiktokv.com"];
    assert_eq!(alerting("service = \"netflix\"\nalert = false\n", &names), ["www.tiktok.com", "tnc-boot.tiktokv.com"]);
    let silence = |what: &str| alerting(&format!("[[silence]]\n{what}\n"), &names);
    assert_eq!(silence("services = [\"tiktok\"]"), names[..3]);
    assert_eq!(silence("classes = [\"page\", \"media\"]"), [names[0], names[2], names[4]]);
    assert_eq!(silence("severities = [2, 3]"), [names[2], names[4]]);
    assert_eq!(silence("services = [\"netflix\"]\nseverities = [1]"), [names[0], names[1], names[3], names[4]]);
    let kept = format!(
        "service = \"netflix\"\nalert = false\nreviewed = \"2026-11-22\"\n{GROUP}[names.exact]\n\"www.netflix.com\" = {{ alert = true }}\n"
    );
    assert_eq!(alerting(&kept, &names[..3]), ["www.netflix.com"]);
    for (body, expected) in [
        ("[[silence]]\n", "would silence everything"),
        ("[[silence]]\nseverities = [4]\n", "severities has 4"),
        ("[[silence]]\nclasses = [\"web\"]\n", "classes \"web\" is not one of native"),
        ("[[silence]]\nwhy = 1\n", "unknown key \"why\""),
        ("silence = 1\n", "silence is not a list of tables"),
    ] {
        let findings = Bundle::from_texts(&[vec![text("own.toml", body)]], LoadOptions::default()).expect_err(body);
        assert!(findings[0].to_string().contains(expected), "{findings:#?}");
    }
}

#[test]
fn a_service_that_is_off_answers_once_it_is_switched_on() {
    assert!(Bundle::builtin().name("web.whatsapp.com").is_none());
    let own = [vec![text("own.toml", "service = \"whatsapp\"\nenabled = true\n")]];
    let (bundle, _) = Bundle::from_texts(&own, LoadOptions::default()).unwrap();
    assert_eq!(bundle.name("web.whatsapp.com").unwrap().service, "whatsapp");
    assert!(bundle.service("whatsapp").unwrap().enabled);
    let own = [vec![text("own.toml", "service = \"tiktok\"\nenabled = false\n")]];
    let (bundle, _) = Bundle::from_texts(&own, LoadOptions::default()).unwrap();
    assert!(bundle.name("www.tiktok.com").is_none());
}
