//! Everything that the wire, an asset list or a person can fill with text, filled with what browsers and spreadsheets would run;
//! forms and sessions of others.
// Clippy knows only functions marked as tests, which may panic.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use std::collections::BTreeSet;
use std::process::Command;

use self::common::{CLIENT, Console, ID, PASSWORDS, journal, pages};

/// What ends the place in which a text may stand.
const ENDS: [&str; 14] = [
    "",
    "\">",
    "'>",
    "\" ",
    "' ",
    "</title>",
    "</textarea>",
    "</script>",
    "-->",
    "]]>",
    "`>",
    "\\\"/>",
    "\u{0}\">",
    "</svg></style>",
];
/// What would run, or change the page.
const STARTS: [&str; 15] = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<svg/onload=alert(1)>",
    "<iframe srcdoc='<script>alert(1)</script>'>",
    "<a href=javascript:alert(1)>x</a>",
    "onmouseover=alert(1) x=",
    "<math><mi xlink:href=\"data:x,<script>alert(1)</script>\">",
    "<base href=//evil.example/>",
    "<meta http-equiv=refresh content='0;url=//evil.example'>",
    "<form action=//evil.example><button>x</button></form>",
    "<scr\u{0}ipt>alert(1)</scr\u{0}ipt>",
    "<style>*{background:url(//evil.example)}</style>",
    "%3Cscript%3Ealert(1)%3C/script%3E",
    "&lt;script&gt;alert(1)&lt;/script&gt;&#60;b&#62;",
    "{{7*7}}${7*7}<%= 7*7 %>\u{202e}\u{ff1c}script\u{ff1e}",
];

fn payloads() -> Vec<String> {
    ENDS.iter().flat_map(|end| STARTS.iter().map(move |start| format!("{end}{start}"))).collect()
}

/// The id of the incident that carries a payload.
fn id(number: usize) -> String {
    format!("p{number:04}-00000-0")
}

/// The tags of a page with the names of their attributes, as a browser would read them. Texts and values are left out.
fn skeleton(page: &str) -> Vec<String> {
    let mut tags = Vec::new();
    let mut rest = page;
    while let Some(at) = rest.find('<') {
        rest = &rest[at + 1..];
        if !rest.starts_with(|c: char| c.is_ascii_alphabetic() || matches!(c, '/' | '!' | '?')) {
            continue;
        }
        let mut tag = String::new();
        let mut quote = None;
        let mut end = rest.len();
        for (at, c) in rest.char_indices() {
            match quote {
                Some(open) if c == open => quote = None,
                Some(_) => {}
                None if c == '>' => {
                    end = at;
                    break;
                }
                None if (c == '"' || c == '\'') && tag.ends_with('=') => quote = Some(c),
                None => tag.push(c),
            }
        }
        rest = &rest[end..];
        tags.push(tag);
    }
    tags
}

/// Addresses in a page.
fn addresses(page: &str) -> impl Iterator<Item = &str> {
    [" href=\"", " src=\"", " action=\"", " formaction=\"", " hx-get=\""]
        .into_iter()
        .flat_map(move |key| page.split(key).skip(1).map(|rest| rest.split('"').next().unwrap()))
}

/// An incident's page without the entries that say who looked at it: they come with a delay, after the page was given out.
fn without_views(page: &str) -> String {
    let Some((before, rest)) = page.split_once("<ol class=\"history\">") else { return page.to_owned() };
    let (history, after) = rest.split_once("</ol>").unwrap();
    let notes: String = history.split_inclusive("</li>").filter(|entry| entry.contains("<blockquote>")).collect();
    [before, &notes, after].concat()
}

/// Nothing of the record is markup: the page has the tags of one about harmless texts, and all addresses are of the console.
fn assert_harmless(page: &str, plain: &str, what: &str) {
    let (page, plain) = (without_views(page), without_views(plain));
    let (found, expected) = (skeleton(&page), skeleton(&plain));
    let known: BTreeSet<&String> = expected.iter().collect();
    let strange: Vec<&String> = found.iter().filter(|tag| !known.contains(tag)).collect();
    assert!(strange.is_empty(), "{what}: {strange:?}");
    assert_eq!(found.len(), expected.len(), "{what}");
    addresses(&page).for_each(|address| assert!(is_known(address), "{what}: {address}"));
}

/// Whether an address is of the console, or of a template of the operator with nothing in it that would leave its place.
fn is_known(address: &str) -> bool {
    let is_own = address.starts_with('/') && !address.starts_with("//") && !address.starts_with("/\\");
    let is_encoded = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~%&#;=".contains(&byte));
    let of_template =
        ["https://arkime.example/s?", "https://siem.example/#"].iter().find_map(|host| address.strip_prefix(host));
    is_own || address.starts_with('#') || of_template.is_some_and(is_encoded)
}

#[test]
fn two_hundred_payloads_in_every_text_of_the_record_are_only_text() {
    let payloads = payloads();
    assert!(payloads.len() >= 200);
    let of = |number: usize, mark: &str| journal(mark).replace(ID, &id(number));
    // All but the first and the last have a newer and an older neighbour.
    let mut lines = of(9_998, "harmless") + &of(9_999, "harmless");
    lines.extend(payloads.iter().enumerate().map(|(number, payload)| of(number, payload)));
    lines += &of(9_997, "harmless");
    let console = Console::demo(&lines);
    console.until(&format!("/incident/{}", id(9_997)), "", "tnc16.tiktokv.eu");
    console.until("/?day=all", "", &format!("{} incidents", payloads.len() + 3));
    for language in ["en", "fr"] {
        let cookie = format!("vigie_lang={language}");
        let plain = console.until(&format!("/incident/{}", id(9_999)), &cookie, "tnc16.tiktokv.eu");
        for (number, payload) in payloads.iter().enumerate() {
            // In French for every fifth: the templates are the same.
            if language == "fr" && number % 5 > 0 {
                continue;
            }
            let page = console.get(&format!("/incident/{}", id(number)), &cookie);
            assert_eq!(page.status, 200, "{payload:?}");
            assert_harmless(&page.text, &plain.text, payload);
        }
    }
    // Pages on which many of them meet: no tag beyond those of the same page about a harmless journal.
    let harmless = Console::demo(&of(9_999, "harmless"));
    harmless.until("/", "", CLIENT);
    for path in pages(&id(9_999), CLIENT) {
        let names = |text: &str| -> BTreeSet<String> {
            skeleton(text).iter().map(|tag| tag.split_whitespace().next().unwrap_or_default().to_owned()).collect()
        };
        let (page, plain) = (console.get(&path, ""), harmless.get(&path, ""));
        let strange: Vec<String> = names(&page.text).difference(&names(&plain.text)).cloned().collect();
        let expected = ["p", "a", "div", "ol", "li", "nav", "/p", "/a", "/div", "/ol", "/li", "/nav"];
        assert!(strange.iter().all(|tag| expected.contains(&tag.as_str())), "{path}: {strange:?}");
        for attack in
            ["<script>alert", "<img src=x", "<svg/onload", "<iframe", "<base", "<meta http-equiv=refresh", "<style>*"]
        {
            assert!(!page.text.contains(attack), "{path}: {attack}");
        }
    }
    let raw = console.get(&format!("/incident/{}/raw", id(3)), "");
    assert!(raw.head.contains("text/plain") && raw.head.contains("nosniff"), "{}", raw.head);
}

#[test]
fn two_hundred_payloads_in_addresses_and_forms_are_only_text() {
    let console = Console::start(&journal(""), &PASSWORDS);
    let cookie = console.sign_in("ana", "pass-a");
    console.until("/", &cookie, CLIENT);
    let encoded = |text: &str| text.bytes().map(|byte| format!("%{byte:02x}")).collect::<String>();
    let strange = |page: &str, what: &str| {
        for tag in skeleton(page) {
            let name = tag.split_whitespace().next().unwrap_or_default();
            let is_active = ["iframe", "base", "math", "style", "img", "object", "embed"].contains(&name);
            let runs = tag.split_whitespace().any(|part| part.starts_with("on") && part.contains('='));
            assert!(!is_active && !runs, "{what}: <{tag}>");
        }
        addresses(page).for_each(|address| assert!(is_known(address), "{what}: {address}"));
        assert!(!page.contains("<script>"), "{what}");
    };
    for payload in payloads() {
        let text = encoded(&payload);
        for path in [
            format!("/search?q={text}"),
            format!("/?day=all&service={text}&site={text}&after={text}"),
            format!("/service/{text}"),
        ] {
            strange(&console.get(&path, &cookie).text, &path);
        }
        let next = console.get(&format!("/sign-in?next={text}"), "");
        strange(&next.text, &format!("next={payload}"));
    }
    for payload in payloads().iter().step_by(70) {
        let page = console.get(&format!("/incident/{ID}"), &cookie);
        let form = format!("csrf={}&as=false&note={}", page.csrf(), encoded(payload));
        let answer = console.post(&format!("/incident/{ID}/decide"), &cookie, "", &form);
        strange(&answer.text, payload);
        let shown = console.get(&format!("/incident/{ID}"), &cookie);
        strange(&shown.text, payload);
        strange(&console.get("/audit", &cookie).text, payload);
    }
}

#[test]
fn forms_of_others_and_redirects_elsewhere_do_not_work() {
    let console = Console::start(&journal(""), &PASSWORDS);
    for next in [
        "//evil.example/",
        "https://evil.example/",
        "/\\evil.example",
        "\\\\evil.example",
        "javascript:alert(1)",
        "/%0d%0aX: y",
        "\t//evil",
    ] {
        let answer = console.post("/sign-in", "", "", &format!("user=vera&password=pass-v&next={next}"));
        let location = answer.head.lines().find(|line| line.to_ascii_lowercase().starts_with("location:")).unwrap();
        let to = location[9..].trim();
        assert!(to.starts_with('/') && !to.starts_with("//") && !to.starts_with("/\\"), "{next}: {to}");
        assert!(!answer.head.contains("\nX: y"), "{next}");
    }
    // The token of one session is none of another.
    let (ana, vera) = (console.sign_in("ana", "pass-a"), console.sign_in("vera", "pass-v"));
    console.until("/", &ana, CLIENT);
    let of_vera = console.get("/keys", &vera).csrf();
    let decide = format!("/incident/{ID}/decide");
    assert_eq!(console.post(&decide, &ana, "", &format!("csrf={of_vera}&as=false&note=x")).status, 403);
    // A session ends with its sign-out, and with the next sign-in of the same browser.
    let again = console.post("/sign-in", &ana, "", "user=ana&password=pass-a");
    assert_ne!(again.cookie(), ana);
    assert_eq!(console.get("/", &ana).status, 303, "the session before it is over");
    for method in ["GET", "PUT", "DELETE", "TRACE", "CONNECT"] {
        let request = format!(
            "{method} {decide} HTTP/1.1\r\nHost: localhost\r\nCookie: {}\r\nConnection: close\r\n\r\n",
            again.cookie()
        );
        assert!(matches!(console.ask(&request).status, 400 | 404 | 405 | 501), "{method}");
    }
}

#[test]
fn a_report_computes_nothing_in_a_spreadsheet_and_runs_nothing_in_a_browser() {
    let formulas =
        ["=cmd|' /C calc'!A0", "+1+1", "-2", "@SUM(A1)", "\t=1", "\r=1", "<script>alert(1)</script>", "\",=1", ";=1"];
    let lines: String = formulas
        .iter()
        .enumerate()
        .flat_map(|(number, formula)| {
            (0..6).map(move |copy| {
                let text = serde_json::to_string(formula).unwrap();
                let line = journal("MARK").replace(ID, &id(number * 10 + copy));
                let line = line.replace("\"siteMARK\"", &text).replace("\"tiktok\"", &text).replace("\"fr\"", &text);
                line.replace("MARK", "")
            })
        })
        .collect();
    let console = Console::demo(&lines);
    console.until("/?day=all", "", &format!("{} incidents", formulas.len() * 6));
    let day = jiff::Timestamp::now().strftime("%Y-%m-%d").to_string();
    let report = |format: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vigie-console"));
        command.args(["report", &day, &day, "--time-zone", "UTC", "--format", format, "--state"]).arg(console.state());
        let output = command.arg("--journal").arg(console.folder.path().join("journal")).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let csv = report("csv");
    for line in csv.split("\r\n").filter(|line| !line.is_empty()) {
        assert!(!line.contains(['\r', '\n', '\t']), "{line:?}");
        let mut is_quoted = false;
        let mut begins = true;
        for c in line.chars() {
            if begins && !is_quoted && c != '"' {
                assert!(!"=+-@|%".contains(c), "{line}");
            }
            if c == '"' {
                is_quoted = !is_quoted;
            }
            begins = (c == ',' && !is_quoted) || (begins && c == '"');
            if begins && c == '"' {
                // What stands first in a quoted field is the apostrophe that makes it text.
                assert!(!line.contains("\"=") && !line.contains("\"+") && !line.contains("\"@"), "{line}");
                begins = false;
            }
        }
    }
    assert!(csv.contains("cmd|"), "the text itself is there: {csv}");
    let html = report("html");
    assert!(!html.contains("<script>alert"), "{html}");
}
