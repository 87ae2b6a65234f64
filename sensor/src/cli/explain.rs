//! `vigie explain`: which rule matches a name, an address or a fingerprint. Paragraphs for people, lines of JSON for
//! programs.

mod service;
mod stream;
mod subject;

use std::io;

use vigie_signatures::{Bundle, Class, Explanation, MatchKind, Role, Rule, Service};

use super::arguments::ExplainArguments;
use super::bundle;
use super::exit::{Exit, Failure};
use super::summary::verdict_words;
use super::terminal::{Terminal, ignore_broken_pipe, print};
use crate::country::country;
use crate::record::signature_text;
use subject::subject;
use vigie_journal::json::Object;

/// Runs the command.
///
/// # Errors
/// Signatures are refused, or the standard streams cannot be read or written to.
pub fn run(arguments: &ExplainArguments, terminal: Terminal) -> Result<Exit, Failure> {
    let bundle = bundle::load(&arguments.signatures)?;
    for (number, query) in arguments.queries.iter().enumerate() {
        if number > 0 && !arguments.json {
            print("\n")?;
        }
        if query == "-" {
            let answer: stream::Answer<'_> = if arguments.json {
                &|line, out| write_json(&bundle, &String::from_utf8_lossy(line), out)
            } else {
                &|line, out| match line {
                    [] => {}
                    line => {
                        let answer = terminal.fitted(text(&bundle, &String::from_utf8_lossy(line)));
                        out.extend_from_slice(answer.as_bytes());
                    }
                }
            };
            answer_stdin(answer)?;
        } else if arguments.json {
            let mut out = Vec::new();
            write_json(&bundle, query, &mut out);
            print(&String::from_utf8_lossy(&out))?;
        } else {
            print(&terminal.fitted(text(&bundle, query)))?;
        }
    }
    Ok(Exit::Success)
}

fn answer_stdin(answer: stream::Answer<'_>) -> Result<(), Failure> {
    match stream::lines(io::stdin().lock(), io::stdout().lock(), answer) {
        Ok(()) => Ok(()),
        Err(stream::StreamError::Input(error)) => Err(Failure::new(
            Exit::Unavailable,
            format!("cannot read the standard input: {error}"),
            "give one query per line",
        )),
        Err(stream::StreamError::Output(error)) => ignore_broken_pipe(Err(error)),
    }
}

/// The answer as one line of JSON; the keys are always the same.
fn write_json(bundle: &Bundle, query: &str, out: &mut Vec<u8>) {
    let query = query.trim();
    let asked = subject(query);
    let explanation = bundle.explain(&asked);
    let rule = explanation.rule.as_deref();
    let asked_service = if rule.is_none() { service::find(bundle, &asked) } else { None };
    let service = asked_service.or_else(|| bundle.service(&rule?.service));
    let word = |of: fn(&Rule) -> &str| rule.map(of);
    let of_service = |of: fn(&Service) -> &str| service.map(of).filter(|word| !word.is_empty());
    let of_owner = if service.is_none() { service::of_owner(bundle, &asked) } else { Vec::new() };
    let kind = match (asked_service.is_some(), of_owner.is_empty()) {
        (true, _) => "service",
        (false, false) => "owner",
        (false, true) => explanation.kind.as_str(),
    };
    let owner = service.or(of_owner.first().copied());
    let of_an_owner = |of: fn(&Service) -> &str| owner.map(of).filter(|word| !word.is_empty());
    let mut object = Object::open(out);
    object.text("query", query);
    object.text("kind", kind);
    object.text("looked_up", &explanation.normalised);
    object.text_or_null("service", of_service(|service| &service.key));
    object.text_or_null("owner", of_an_owner(|service| &service.owner));
    object.text_or_null("owner_country", of_an_owner(|service| &service.owner_country));
    object.text_or_null("category", of_service(|service| &service.category));
    object.text_or_null("role", word(|rule| rule.role.as_str()));
    object.text_or_null("class", word(|rule| rule.class.as_str()));
    object.text_or_null("family", word(|rule| &rule.family));
    object.text_or_null("confidence", word(|rule| rule.confidence.as_str()));
    object.text_or_null("rule", word(|rule| &rule.text));
    object.text_or_null("match", word(|rule| rule.kind.as_str()));
    object.text_or_null("verdict", word(|rule| rule.verdict().as_str()));
    object.truth("alert", rule.is_some_and(Rule::raises_alert));
    object.text_or_null("why_no_alert", rule.and_then(Rule::why_no_alert));
    match rule {
        Some(rule) => object.number("signature_id", rule.signature_id.into()),
        None => object.text_or_null("signature_id", None),
    }
    object.texts("sources", rule.into_iter().flat_map(|rule| &rule.sources).map(String::as_str));
    object.text_or_null("reviewed", word(|rule| &rule.reviewed));
    object.text_or_null("note", explanation.note.as_deref());
    // A service is asked for by its name: no rule need be near.
    let is_known = asked_service.is_some() || !of_owner.is_empty();
    let misses = if is_known { &[] } else { explanation.near.as_slice() };
    let near = object.key("near");
    near.push(b'[');
    for (number, (rule, reason)) in misses.iter().enumerate() {
        if number > 0 {
            near.push(b',');
        }
        let mut miss = Object::open(near);
        miss.text("service", &rule.service);
        miss.text("rule", &rule.text);
        miss.text("reason", reason);
        miss.close();
    }
    near.push(b']');
    object.close();
    out.push(b'\n');
}

/// The answer as a paragraph.
fn text(bundle: &Bundle, query: &str) -> String {
    let asked = subject(query);
    let explanation = bundle.explain(&asked);
    match service::find(bundle, &asked) {
        _ if explanation.rule.is_some() => paragraph(bundle, query.trim(), &explanation),
        Some(service) => service::text(bundle, service),
        None => service::owner_text(&service::of_owner(bundle, &asked))
            .unwrap_or_else(|| paragraph(bundle, query.trim(), &explanation)),
    }
}

fn paragraph(bundle: &Bundle, query: &str, explanation: &Explanation) -> String {
    let asked = printable(query);
    let mut lines = Vec::new();
    match &explanation.rule {
        Some(rule) => {
            lines.push(format!("{asked} matches {}.", describe(rule)));
            lines.extend(looked_up_as(query, explanation));
            explain_rule(rule, explanation, &mut lines);
        }
        None => {
            let why = explanation.why.as_deref().unwrap_or("no signature matches it");
            lines.push(format!("{asked} is not recognised: {why}."));
            lines.extend(looked_up_as(query, explanation));
        }
    }
    if let Ok(address) = explanation.normalised.parse() {
        let asn = bundle.asn(address).map(|asn| format!("announced by AS{asn}"));
        let country = country(address).map(|country| format!("assigned in {country}"));
        let facts: Vec<String> = [asn, country].into_iter().flatten().collect();
        if !facts.is_empty() {
            lines.push(format!("  The address is {}.", facts.join(", ")));
        }
    }
    for (rule, reason) in &explanation.near {
        lines.push(format!("  Near miss: {}: {reason}.", describe(rule)));
    }
    lines.push(String::new());
    lines.join("\n")
}

fn looked_up_as(query: &str, explanation: &Explanation) -> Option<String> {
    let asked = &explanation.normalised;
    (asked != query && !asked.is_empty()).then(|| format!("  Looked up as {}.", printable(asked)))
}

fn explain_rule(rule: &Rule, explanation: &Explanation, lines: &mut Vec<String>) {
    lines.push(format!(
        "  Role {}: {}. Class {}, family {}: {}.",
        rule.role,
        role_words(rule.role),
        rule.class,
        rule.family,
        class_words(rule.class)
    ));
    let verdict = verdict_words(rule.verdict());
    lines.push(format!(
        "  Speaks for: {verdict}. Confidence that it belongs to {}: {}.",
        rule.service_name, rule.confidence
    ));
    lines.push(match (explanation.alerts, &explanation.why) {
        (true, _) => format!(
            "  Under an incident its flow is an alert: \"{}\" (signature {}, severity {}).",
            signature_text(rule),
            rule.signature_id,
            rule.severity()
        ),
        (false, why) => format!("  Raises no alert by itself: {}.", why.as_deref().unwrap_or("for an unknown reason")),
    });
    let sources = match rule.sources.as_slice() {
        [] => "not given".to_owned(),
        sources => sources.join(", "),
    };
    lines.push(format!("  Sources: {sources}; reviewed {}; {}:{}.", rule.reviewed, rule.file, rule.line));
    if let Some(note) = &explanation.note {
        lines.push(format!("  Note: {}", printable(note)));
    }
}

/// Service and rule in a few words.
fn describe(rule: &Rule) -> String {
    let kind = match rule.kind {
        MatchKind::Exact => "exact name",
        MatchKind::Pattern => "pattern",
        MatchKind::Suffix => "suffix",
        MatchKind::Prefix => "address range",
        MatchKind::Ja4 => "fingerprint",
    };
    format!("{} ({kind} {})", rule.service_name, rule.text)
}

/// What a role means.
const fn role_words(role: Role) -> &'static str {
    match role {
        Role::AppApi => "the app's own API",
        Role::Web => "the web site",
        Role::Cdn => "media and static files",
        Role::Live => "live streams",
        Role::Embed => "a pixel or SDK in third-party pages",
        Role::AdsSdk => "an advertising SDK in other apps",
        Role::Corporate => "the company itself",
        Role::Infra => "infrastructure shared by services",
        Role::Dev => "developer tools",
    }
}

/// Who contacts names of a class.
const fn class_words(class: Class) -> &'static str {
    match class {
        Class::Native => "only native apps contact it",
        Class::NativeLikely => "mostly native apps contact it",
        Class::Site => "only visitors of the site contact it",
        Class::Page => "the site and pages that embed the service contact it",
        Class::Media => "the app, the site and embedded players contact it",
        Class::Pixel => "pages and apps of advertisers contact it",
        Class::Sdk => "apps of other companies contact it",
        Class::Console => "advertisers, sellers and creators use it",
        Class::Portal => "readers of help, news, jobs or developer pages contact it",
        Class::Link => "anyone who opens or previews a short link contacts it",
        Class::Resolver => "the network stack of some native app contacts it",
        Class::Infra => "several products of the owner contact it",
        Class::Cloud => "customers of a public cloud use it",
        Class::Corp => "the company's own staff and tests use it",
        Class::Cname => "it appears only as an alias in DNS answers",
    }
}

/// Escapes control characters, which a terminal might obey.
fn printable(text: &str) -> String {
    text.chars()
        .flat_map(|character| {
            let escaped = character.is_control().then(|| character.escape_default());
            let plain = (!character.is_control()).then_some(character);
            escaped.into_iter().flatten().chain(plain)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(query: &str) -> serde_json::Value {
        let mut out = Vec::new();
        write_json(&Bundle::builtin(), query, &mut out);
        assert!(out.ends_with(b"}\n"));
        serde_json::from_slice(&out).unwrap()
    }

    #[test]
    fn every_answer_has_the_same_keys() {
        let keys = |query: &str| json(query).as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        let expected = keys("www.tiktok.com");
        assert_eq!(expected[..7], ["query", "kind", "looked_up", "service", "owner", "owner_country", "category"]);
        for query in ["example.org", "", "a b", "192.0.2.1", "t13d1516h2_8daaf6152771_e5627efa2ab1", "\u{1b}\"\\"] {
            assert_eq!(keys(query), expected, "{query}");
            assert_eq!(json(query)["query"], query.trim());
        }
    }

    #[test]
    fn names_that_match_and_names_that_do_not() {
        let answer = json(" WWW.TikTok.COM. ");
        assert_eq!((&answer["service"], &answer["query"]), (&"tiktok".into(), &"WWW.TikTok.COM.".into()));
        assert!(answer["rule"].is_string() && answer["signature_id"].is_u64());
        let answer = json("notiktok.com");
        assert!(answer["service"].is_null() && answer["rule"].is_null() && answer["signature_id"].is_null());
        assert_eq!(answer["alert"], false);
    }

    #[test]
    fn what_analysts_paste_is_looked_up() {
        for query in ["hxxps://www[.]tiktok[.]com/@user", "www.tiktok.com:443", "*.WWW.tiktok.com"] {
            let answer = json(query);
            assert_eq!((&answer["kind"], &answer["looked_up"]), (&"host".into(), &"www.tiktok.com".into()), "{query}");
            assert_eq!((&answer["query"], &answer["service"]), (&query.into(), &"tiktok".into()));
        }
        assert_eq!(json("T13D1516H2_8DAAF6152771_E5627EFA2AB1")["kind"], "ja4");
        let bundle = Bundle::builtin();
        let answer = text(&bundle, "hxxps://www[.]tiktok[.]com/a");
        assert!(answer.starts_with("hxxps://www[.]tiktok[.]com/a matches TikTok"), "{answer}");
        assert!(answer.contains("\n  Looked up as www.tiktok.com.\n"), "{answer}");
    }

    #[test]
    fn json_has_sources_notes_and_near_misses() {
        let answer = json("tiktok.com");
        assert!(answer["sources"].as_array().is_some_and(|sources| !sources.is_empty()), "{answer}");
        assert!(answer["note"].is_string() && answer["reviewed"].is_string(), "{answer}");
        assert_eq!((&answer["owner"], &answer["owner_country"]), (&"ByteDance".into(), &"CN".into()));
        assert_eq!(answer["near"], serde_json::json!([]));
        let answer = json("www.tikток.com");
        assert_eq!(answer["near"][0]["rule"], "tiktok.com");
        assert!(answer["near"][0]["reason"].as_str().unwrap().contains("U+0442"), "{answer}");
    }

    #[test]
    fn an_owner_is_explained_by_its_services() {
        let bundle = Bundle::builtin();
        let answer = text(&bundle, "bytedance");
        assert!(answer.starts_with("ByteDance (CN) owns "), "{answer}");
        for line in ["  tiktok: TikTok, social\n", "  capcut: CapCut, ", "  Bans that cover one or more of them: at, "]
        {
            assert!(answer.contains(line), "{answer}");
        }
        let answer = json("BYTEDANCE");
        assert_eq!(
            (&answer["kind"], &answer["owner"], &answer["service"]),
            (&"owner".into(), &"ByteDance".into(), &serde_json::Value::Null)
        );
    }

    #[test]
    fn a_service_is_explained_by_its_key_or_name() {
        let bundle = Bundle::builtin();
        for query in ["tiktok", "TikTok", " tiktok "] {
            let answer = text(&bundle, query);
            assert!(
                answer.starts_with("TikTok is a service: key tiktok, owner ByteDance (CN), category social."),
                "{answer}"
            );
            assert!(answer.contains("  Main name: tiktok.com.\n"), "{answer}");
            assert!(
                answer.contains("Class native: only native apps contact it. Families: ") && answer.contains("tnc"),
                "{answer}"
            );
            assert!(answer.contains("  Bans that cover it: ") && answer.contains("vigie bans show"), "{answer}");
        }
        let answer = json("tiktok");
        assert_eq!(
            (&answer["kind"], &answer["service"], &answer["rule"]),
            (&"service".into(), &"tiktok".into(), &serde_json::Value::Null)
        );
        assert_eq!(json("candy crush saga")["kind"], "not-a-host-name");
    }

    fn explanation(alerts: bool) -> Explanation {
        let rule = vigie_signatures::Rule {
            class: Class::Native,
            text: "example.com".to_owned(),
            sources: vec!["v2fly".to_owned()],
            file: "tiktok.toml".to_owned(),
            line: 3,
            ..crate::record::tests::rule()
        };
        Explanation {
            query: "API.Example.COM".to_owned(),
            normalised: "api.example.com".to_owned(),
            kind: vigie_signatures::QueryKind::Host,
            why: (!alerts).then(|| "confidence is low: ownership is not verified".to_owned()),
            note: Some("seen\u{1b}[2J in builds".to_owned()),
            near: vec![(rule.clone().into(), "answers elsewhere".to_owned())],
            rule: Some(rule.into()),
            alerts,
        }
    }

    #[test]
    fn a_paragraph_for_people() {
        let expected = "\
API.Example.COM matches TikTok (suffix example.com).
  Looked up as api.example.com.
  Role app-api: the app's own API. Class native, family api: only native apps contact it.
  Speaks for: app in use. Confidence that it belongs to TikTok: high.
  Under an incident its flow is an alert: \"vigie TikTok: app in use\" (signature 8100001, severity 1).
  Sources: v2fly; reviewed 2026-11-01; tiktok.toml:3.
  Note: seen\\u{1b}[2J in builds
  Near miss: TikTok (suffix example.com): answers elsewhere.
";
        assert_eq!(paragraph(&Bundle::builtin(), "API.Example.COM", &explanation(true)), expected);
        let silent = paragraph(&Bundle::builtin(), "API.Example.COM", &explanation(false));
        assert!(
            silent.contains("Raises no alert by itself: confidence is low: ownership is not verified.\n"),
            "{silent}"
        );
    }

    #[test]
    fn unrecognised_queries_say_why() {
        let bundle = Bundle::builtin();
        let answer = text(&bundle, "8.8.8.8");
        assert!(answer.starts_with("8.8.8.8 is not recognised: ") && answer.contains("assigned in US"), "{answer}");
        assert!(text(&bundle, "mytiktok.com").contains("  Near miss: "));
        assert!(!text(&bundle, "\u{1b}[2J").contains('\u{1b}'));
    }
}
