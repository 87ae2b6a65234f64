//! `vigie explain`: which rule matches a name, an address or a fingerprint. Paragraphs for people, lines of JSON for
//! programs.

mod stream;

use std::io;

use vigie_signatures::{Bundle, Class, Explanation, MatchKind, Name, Role, Rule, normalise};

use super::arguments::ExplainArguments;
use super::bundle;
use super::exit::{Exit, Failure};
use super::summary::verdict_words;
use super::terminal::{ignore_broken_pipe, print};
use crate::country::country;
use crate::record::signature_text;
use vigie_journal::json::Object;

/// Runs the command.
///
/// # Errors
/// Signatures are refused, or the standard streams cannot be read or written to.
pub fn run(arguments: &ExplainArguments) -> Result<Exit, Failure> {
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
                    line => out.extend_from_slice(text(&bundle, &String::from_utf8_lossy(line)).as_bytes()),
                }
            };
            answer_stdin(answer)?;
        } else if arguments.json {
            let mut out = Vec::new();
            write_json(&bundle, query, &mut out);
            print(&String::from_utf8_lossy(&out))?;
        } else {
            print(&text(&bundle, query))?;
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

/// The rule that matches, looked up as for packets, without allocation.
fn look_up<'b>(bundle: &'b Bundle, query: &str) -> Option<&'b Rule> {
    // Only in a JA4 the first underscore is there (FoxIO's specification).
    if query.as_bytes().get(10) == Some(&b'_')
        && query.len() == 36
        && let Some(rule) = bundle.ja4(query)
    {
        return Some(rule);
    }
    let mut buffer = [0; 256];
    match normalise(query.as_bytes(), &mut buffer) {
        Name::Host(name) => bundle.name(name).or_else(|| bundle.dns_name(name)).map(|rule| &**rule),
        Name::IpLiteral(address) => bundle.address(address).map(|rule| &**rule),
        Name::NotAHostName => None,
    }
}

/// The answer as one line of JSON; the keys are always the same.
fn write_json(bundle: &Bundle, query: &str, out: &mut Vec<u8>) {
    let query = query.trim();
    let rule = look_up(bundle, query);
    let word = |of: fn(&Rule) -> &str| rule.map(of);
    let mut object = Object::open(out);
    object.text("query", query);
    object.text_or_null("service", word(|rule| &rule.service));
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
    object.close();
    out.push(b'\n');
}

/// The answer as a paragraph.
fn text(bundle: &Bundle, query: &str) -> String {
    paragraph(bundle, &bundle.explain(query))
}

fn paragraph(bundle: &Bundle, explanation: &Explanation) -> String {
    let asked = printable(explanation.query.trim());
    let mut lines = Vec::new();
    match &explanation.rule {
        Some(rule) => {
            lines.push(format!("{asked} matches {}.", describe(rule)));
            if explanation.normalised != explanation.query.trim() {
                lines.push(format!("  Looked up as {}.", printable(&explanation.normalised)));
            }
            explain_rule(rule, explanation, &mut lines);
        }
        None => {
            let why = explanation.why.as_deref().unwrap_or("no signature matches it");
            lines.push(format!("{asked} is not recognised: {why}."));
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
        "  Verdict: {verdict}. Confidence that it belongs to {}: {}.",
        rule.service_name, rule.confidence
    ));
    lines.push(match (explanation.alerts, &explanation.why) {
        (true, _) => format!(
            "  Raises an alert: \"{}\" (signature {}, severity {}).",
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
        assert_eq!(expected[..7], ["query", "service", "role", "class", "family", "confidence", "rule"]);
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

    /// The look-up for JSON and the explanation must not drift apart.
    #[test]
    fn look_up_and_explanation_give_the_same_rule() {
        let bundle = Bundle::builtin();
        let of_rules = bundle.rules().iter().map(|rule| rule.text.as_str());
        for query in of_rules.chain(["example.org", "8.8.8.8", "::1", "tiktok.com.", "[::1]", "a_b.tiktokv.com"]) {
            let explained = bundle.explain(query).rule;
            let text = |rule: &Rule| (rule.file.clone(), rule.line, rule.text.clone());
            assert_eq!(look_up(&bundle, query).map(text), explained.as_deref().map(text), "{query}");
        }
    }

    fn explanation(alerts: bool) -> Explanation {
        let rule = crate::cli::findings::tests::rule("tiktok", "TikTok", Class::Native);
        Explanation {
            query: " API.Example.COM ".to_owned(),
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
  Verdict: app in use. Confidence that it belongs to TikTok: high.
  Raises an alert: \"vigie TikTok: app in use\" (signature 8100001, severity 1).
  Sources: v2fly; reviewed 2026-11-01; tiktok.toml:3.
  Note: seen\\u{1b}[2J in builds
  Near miss: TikTok (suffix example.com): answers elsewhere.
";
        assert_eq!(paragraph(&Bundle::builtin(), &explanation(true)), expected);
        let silent = paragraph(&Bundle::builtin(), &explanation(false));
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
