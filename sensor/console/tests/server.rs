//! The program as a whole, asked over real sockets: who may see and do what, and what hostile bytes come to.
// Clippy knows only functions marked as tests, which may panic.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};

use self::common::{CLIENT, Console, ID, LONG, MARKS, PASSWORDS, exchange, journal, pages, register};

#[test]
fn an_analyst_signs_in_decides_and_signs_out() {
    let console = Console::start(&journal(""), &PASSWORDS);
    let refused = console.get("/incident/x", "");
    assert_eq!(refused.status, 303);
    assert!(refused.head.contains("/sign-in?next=%2Fincident%2Fx"), "{}", refused.head);
    // A session that somebody planted is not taken over.
    let answer = console.post("/sign-in", "vigie_session=planted", "", "user=ana&password=pass-a&next=//evil.example/");
    let cookie = answer.cookie();
    assert_ne!(cookie, "vigie_session=planted");
    assert!(answer.head.to_ascii_lowercase().contains("location: /\r\n"), "{}", answer.head);
    assert!(answer.head.contains("HttpOnly; SameSite=Lax"));
    console.until("/", &cookie, CLIENT);
    let page = console.get(&format!("/incident/{ID}"), &cookie);
    for wanted in [
        "10.16.0.105 ran the application TikTok",
        "native interface families: tnc",
        "Proof:",
        "tnc16.tiktokv.eu",
        "7100103",
        "Seen ",
        "dupont",
    ] {
        assert!(page.text.contains(wanted), "{wanted}: {}", page.text);
    }
    let links: Vec<&str> = page.text.split("href=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    assert!(links.contains(&"https://siem.example/#10.16.0.105"), "{links:?}");
    let arkime = "https://arkime.example/s?e=1%3Aabcdefgh%3D&#38;n=tnc16.tiktokv.eu&#38;p=TCP&#38;t=";
    assert!(links.iter().any(|link| link.starts_with(arkime)), "{links:?}");
    for header in [
        "content-security-policy: default-src 'none'",
        "x-content-type-options: nosniff",
        "referrer-policy: no-referrer",
        "cache-control: no-store",
    ] {
        assert!(page.head.contains(header), "{header}: {}", page.head);
    }
    let decide = format!("/incident/{ID}/decide");
    let form = |csrf: &str, note: &str| format!("csrf={csrf}&as=false&note={note}");
    let csrf = page.csrf();
    for (headers, token) in [
        ("", "wrong"),
        ("", ""),
        ("Sec-Fetch-Site: cross-site\r\n", csrf.as_str()),
        ("Origin: http://evil.example\r\n", csrf.as_str()),
    ] {
        assert_eq!(console.post(&decide, &cookie, headers, &form(token, "x")).status, 403, "{headers}{token}");
    }
    let named = console.post(&decide, &cookie, "", &form(&csrf, "it+is+10.16.0.105"));
    assert!(named.text.contains("The note names an address"), "{}", named.text);
    let decided = console.post(&decide, &cookie, "", &form(&csrf, "a+lab+phone"));
    assert_eq!(decided.status, 303, "{}", decided.text);
    // The answer came when the tables showed it.
    let page = console.get(&format!("/incident/{ID}"), &cookie);
    assert!(page.text.contains("a lab phone") && page.text.contains("False alarm"), "{}", page.text);
    let audit = console.until("/audit", &cookie, "incident viewed");
    assert!(audit.text.contains("signed in") && !audit.text.contains(CLIENT), "{}", audit.text);
    let raw = console.get(&format!("/incident/{ID}/raw"), &cookie);
    assert_eq!(raw.text.lines().count(), 2, "{}", raw.text);
    assert!(raw.head.contains("text/plain"));
    assert_eq!(console.post("/sign-out", &cookie, "", "csrf=wrong").status, 403);
    assert_eq!(console.post("/sign-out", &cookie, "", &format!("csrf={csrf}")).status, 303);
    assert_eq!(console.get("/", &cookie).status, 303, "the session is over");
}

#[test]
fn a_viewer_sees_no_device_and_decides_nothing() {
    let console = Console::start(&journal(""), &PASSWORDS);
    let (vera, ana) = (console.sign_in("vera", "pass-v"), console.sign_in("ana", "pass-a"));
    let list = console.until("/", &vera, "/incident/v-");
    let alias_at = list.text.find("/incident/v-").unwrap() + 10;
    let alias: String = list.text[alias_at..].chars().take(14).collect();
    let device_at = list.text.rfind("device-").unwrap();
    let device: String = list.text[device_at..].chars().take(19).collect();
    for path in pages(&alias, &device) {
        let page = console.get(&path, &vera);
        let is_for_others = ["/audit", "/derogations", "/candidates"].contains(&path.as_str());
        assert_eq!(page.status, if is_for_others { 403 } else { page.status.min(399) }, "{path}");
        for secret in
            [CLIENT, ID, "laptop", "1:abcdefgh", "50123", "dupont", "phone-17", "new.example.net", "siem.example"]
        {
            assert!(!page.text.contains(secret) && !page.head.contains(secret), "{path} tells {secret}");
        }
    }
    let csrf = console.get(&format!("/incident/{alias}"), &vera);
    assert!(csrf.text.contains("ran the application TikTok") && !csrf.text.contains("textarea id=\"note\""));
    let token = csrf.csrf();
    for path in [
        format!("/incident/{ID}"),
        format!("/device/{CLIENT}"),
        format!("/search?q={CLIENT}"),
        format!("/search?q={ID}"),
    ] {
        assert_eq!(console.get(&path, &vera).status, 404, "{path}");
    }
    for path in ["/audit".to_owned(), format!("/incident/{ID}/raw"), format!("/incident/{alias}/raw")] {
        assert_eq!(console.get(&path, &vera).status, 403, "{path}");
    }
    let form = format!("csrf={token}&as=false&note=x");
    assert_eq!(console.post(&format!("/incident/{alias}/decide"), &vera, "", &form).status, 403);
    let audit = console.until("/audit", &ana, "vera");
    assert!(audit.text.contains(ID), "who looked is known by the true id");
}

#[test]
fn the_register_and_candidates_are_shown_and_a_change_of_the_register_too() {
    // An older line would be removed from the tables.
    let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.%6f+0000").to_string();
    let added = r#"{"timestamp":"NOW","event_type":"alert","alert":{"gid":8,"signature_id":4,"metadata":{"audit":["derogation-added"],"derogation":["2026-009"],"services":["lemon8"],"from":["2026-03-01"],"until":["2026-04-01"],"approver":["somebody"],"reference":["r"],"by":["dupont"]}}}"#.replace("NOW", &now);
    let excused = journal("")
        .replace("\"opened\"", "\"closed\"")
        .replace("\"incident_state\"", "\"incident_closed\":[\"excused\"],\"incident_state\"");
    let console = Console::start(&format!("{added}\n{excused}"), &PASSWORDS);
    let ana = console.sign_in("ana", "pass-a");
    console.until("/", &ana, CLIENT);
    let page = console.until("/derogations", &ana, "2026-009");
    for wanted in [
        "2026-001",
        "label:phone-17",
        "days left",
        "secretary-general",
        "no longer in the register",
        "1 of 2 derogations are in force",
    ] {
        assert!(page.text.contains(wanted), "{wanted}: {}", page.text);
    }
    assert!(page.text.contains("<td class=\"number\">1</td>"), "the incident that it closed: {}", page.text);
    // Who edits the register puts a new file in its place.
    let path = |name: &str| console.folder.path().join(name);
    fs::write(path("new"), register("").replace("phone-17", "phone-18")).unwrap();
    fs::rename(path("new"), path("derogations.toml")).unwrap();
    assert!(console.get("/derogations", &ana).text.contains("label:phone-18"));
    fs::write(path("derogations.toml"), "[[derogation]]\nwho = 10.20.0.7\n").unwrap();
    let page = console.get("/derogations", &ana);
    assert!(page.text.contains("cannot be read") && page.text.contains("2026-009"), "{}", page.text);
    let page = console.get("/candidates", &ana);
    assert!(
        page.text.contains("new.example.net") && page.text.contains("<td class=\"number\">7</td>"),
        "{}",
        page.text
    );
}

#[test]
fn guesses_are_slowed_down_and_users_cannot_be_told_from_others() {
    let console = Console::start(&journal(""), &PASSWORDS);
    let mut answers = Vec::new();
    for user in ["ana", "nobody"] {
        for _ in 0..6 {
            let answer = console.post("/sign-in", "", "", &format!("user={user}&password=wrong"));
            answers.push((answer.status, answer.text.replace(user, "")));
        }
    }
    let statuses: Vec<u16> = answers.iter().map(|(status, _)| *status).collect();
    assert_eq!(statuses, [401, 401, 401, 401, 401, 429, 401, 401, 401, 401, 401, 429]);
    assert_eq!(answers[..6], answers[6..]);
    assert_eq!(console.post("/sign-in", "", "", "user=ana&password=pass-a").status, 429, "also with the right one");
    console.sign_in("vera", "pass-v");
}

#[test]
fn nothing_of_the_record_becomes_html() {
    for mark in MARKS {
        let console = Console::demo(&journal(mark));
        console.until("/", "", CLIENT);
        for path in pages(ID, CLIENT) {
            for lang in ["en", "fr"] {
                let page = console.get(&path, &format!("vigie_lang={lang}"));
                assert!(page.status < 400, "{path}: {}", page.status);
                assert!(!page.text.contains(mark), "{path}: {mark}");
            }
        }
        let query =
            "/?day=%3Cscript%3E&ban=%22%3E%3Cscript%3E&site=%27%3E%3Cscript%3E&order=%3Cscript%3E&after=%3Cscript%3E";
        assert!(!console.get(query, "").text.contains("<script>"));
        assert!(!console.get("/search?q=%3Cscript%3E", "").text.contains("<script>"));
    }
}

#[test]
fn files_of_the_machine_are_not_served_and_odd_requests_are_refused() {
    let console = Console::demo(&journal(""));
    console.until("/", "", CLIENT);
    for path in [
        "/assets/../../Cargo.toml",
        "/assets/%2e%2e%2fCargo.toml",
        "/assets/..%2F..%2F..%2Fetc%2Fpasswd",
        "/../../etc/passwd",
        "//etc/passwd",
        "/incident/..%2f..%2fetc%2fpasswd",
        "/incident/%00",
        "/incident/' OR 1=1 --",
        "/device/%27%20OR%201%3D1%20--",
    ] {
        let answer = console.get(&path.replace(' ', "%20"), "");
        assert!(matches!(answer.status, 400 | 404), "{path}: {}", answer.status);
        assert!(!answer.text.contains("root:"), "{path}");
    }
    let named =
        |host: &str| console.ask(&format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")).status;
    assert_eq!((named("localhost"), named("rebound.evil.example")), (200, 421));
    assert_eq!(console.ask("GET / HTTP/1.1\r\n\r\n").status, 421);
    let long = format!("GET /?q={} HTTP/1.1\r\nHost: localhost\r\n\r\n", "x".repeat(100_000));
    assert!(matches!(console.ask(&long).status, 0 | 414 | 431), "a long request is refused");
    let large = format!("note={}", "x".repeat(100_000));
    assert!(console.post(&format!("/incident/{ID}/decide"), "", "", &large).status >= 400);
}

#[test]
fn a_thousand_idle_connections_and_slow_ones_hinder_nobody() {
    let console =
        Console::start_with(&journal(""), &["--demo"], &["server.connections_max=200", "server.header_timeout_s=1"]);
    console.until("/", "", CLIENT);
    let mut held = Vec::new();
    for number in 0..1_000 {
        let Ok(mut stream) = TcpStream::connect(("127.0.0.1", console.port)) else { continue };
        if number % 2 == 0 {
            let _ = stream.write_all(b"GET / HTTP/1.1\r\nHost: local");
        }
        held.push(stream);
        if number % 250 == 0 {
            assert_eq!(console.get("/", "").status, 200, "after {number}");
        }
    }
    assert_eq!(console.get("/", "").status, 200);
    // A request that never ends is ended.
    let mut slow = TcpStream::connect(("127.0.0.1", console.port)).unwrap();
    slow.set_read_timeout(Some(LONG)).unwrap();
    slow.write_all(b"GET / HTTP/1.1\r\nHost: local").unwrap();
    let mut rest = Vec::new();
    let _ = slow.read_to_end(&mut rest);
    assert!(!String::from_utf8_lossy(&rest).contains("200 OK"));
    drop(held);
    assert_eq!(console.get("/", "").status, 200);
}

#[test]
fn behind_a_proxy_its_user_is_believed_and_others_are_not() {
    let uid = nix::unistd::getuid().as_raw();
    for (uids, is_believed) in [(uid, true), (uid + 1, false)] {
        let settings = [
            "access.proxy_user_header=X-Remote-User".to_owned(),
            format!("access.proxy_uids=[{uids}]"),
            "access.dpos=[\"ana\"]".to_owned(),
            "server.socket=FOLDER/console.sock".to_owned(),
        ];
        let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
        let console = Console::start(&journal(""), &settings);
        let ask = |headers: &str| {
            let stream = UnixStream::connect(console.folder.path().join("console.sock")).unwrap();
            exchange(stream, &format!("GET / HTTP/1.1\r\nHost: console.example\r\n{headers}Connection: close\r\n\r\n"))
        };
        let answer = ask("X-Remote-User: ana\r\n");
        assert_eq!(answer.status, if is_believed { 200 } else { 403 }, "{}", answer.text);
        assert_eq!(answer.text.contains("data protection officer"), is_believed);
        assert_eq!(ask("").status, 403);
        assert_eq!(ask("X-Remote-User: ana\r\nX-Remote-User: vera\r\n").status, 403, "one of two may be the client's");
    }
}

#[test]
fn it_comes_back_from_a_kill_and_from_a_lost_file() {
    let mut console = Console::demo(&journal(""));
    let page = console.until(&format!("/incident/{ID}"), "", CLIENT);
    let form = format!("csrf={}&as=confirmed&note=kept", page.csrf());
    assert_eq!(console.post(&format!("/incident/{ID}/decide"), "", "", &form).status, 303);
    console.child.kill().unwrap();
    console.child.wait().unwrap();
    let state = console.state();
    fs::write(state.join("console.sqlite"), "damaged").unwrap();
    let journal = console.folder.path().join("journal");
    let before = fs::read(journal.join("00000001.jsonl")).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_vigie-console"));
    command.arg("--demo").arg(&journal).args(["--set", &format!("state.folder={}", state.display())]);
    command.args(["--set", "server.listen=127.0.0.1:0"]);
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut said = String::new();
    BufReader::new(child.stderr.take().unwrap()).read_line(&mut said).unwrap();
    console.port = said.rsplit(':').next().unwrap().trim_end_matches("/\n").parse().unwrap();
    console.child = child;
    let page = console.until(&format!("/incident/{ID}"), "", "kept");
    assert!(page.text.contains("Confirmed"), "the decision survives: {}", page.text);
    assert_eq!(fs::read(journal.join("00000001.jsonl")).unwrap(), before, "the record is not touched");
}

#[test]
fn wrong_configuration_is_told_with_its_mend() {
    let run = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_vigie-console")).args(arguments).output().unwrap();
        (output.status.code().unwrap(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("console.toml");
    let check = |text: &str| {
        fs::write(&file, text).unwrap();
        run(&["--check", "--config", path(&file)])
    };
    for (text, wanted) in [
        ("[server]\nlisten = \"0.0.0.0:80\"\n[access]\nusers_file = \"/x\"\n", "on loopback only; give 127.0.0.1"),
        ("[access]\nproxy_uids = [33]\n", "the proxy names no user; give the header"),
        ("", "nobody could sign in; give a file with basic_auth_users"),
        ("[access]\nusers_file = \"/no/such\"\n", "/no/such"),
        ("[access]\nusers_file = \"/dev/null\"\n[display]\ntime_zone = \"Nowhere\"\n", "/dev/null"),
        ("[server]\nport = 1\n", "port"),
        (
            "[links]\ntemplates = [\"x javascript:alert(1)\"]\n",
            "item \"x javascript:alert(1)\": the address begins neither with https",
        ),
    ] {
        let (code, said) = check(text);
        assert_eq!(code, 78, "{text}: {said}");
        assert!(said.contains(wanted), "{text}: {said}");
    }
    assert_eq!(run(&["--no-such-option"]).0, 64);
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn a_report_tells_coverage_first_and_names_nobody() {
    let lines: String = (0..7)
        .map(|number| {
            journal("").replace(ID, &format!("k7q2m-4x9d0-{number}")).replace(CLIENT, &format!("10.16.0.{number}"))
        })
        .collect();
    let few = journal("").replace("\"tiktok\"", "\"lemon8\"").replace(ID, "zzzzz-zzzzz-z");
    let console = Console::demo(&(lines + &few));
    console.until("/?day=all", "", "8 incidents");
    let day = jiff::Timestamp::now().strftime("%Y-%m-%d").to_string();
    let report = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vigie-console"));
        command.args(["report", &day, &day, "--time-zone", "UTC", "--state"]).arg(console.state());
        command.arg("--journal").arg(console.folder.path().join("journal")).args(arguments);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let (html, json, csv) = (report(&["--lang", "fr"]), report(&["--format", "json"]), report(&["--format", "csv"]));
    assert!(html.contains("8 incidents") && html.find("Couverture").unwrap() < html.find("8 incidents").unwrap());
    for text in [&html, &json, &csv] {
        assert!(
            !text.contains("10.16.") && !text.contains("k7q2m") && !text.contains("laptop") && !text.contains("dupont")
        );
    }
    let told: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(told["report"]["incidents"], 8);
    let services = told["report"]["tables"].as_array().unwrap().iter().find(|table| table["by"] == "service").unwrap();
    assert_eq!(services["cells"].as_array().unwrap().len(), 2);
    assert!(
        services["cells"].as_array().unwrap().iter().all(|cell| cell["incidents"].is_null()),
        "one is small, so the other goes too"
    );
    assert!(csv.contains("total,,8\r\n") && csv.contains("service,lemon8,<5 or hidden"), "{csv}");
    let wrong = Command::new(env!("CARGO_BIN_EXE_vigie-console"))
        .args(["report", "2026-11-02", "2026-11-01"])
        .output()
        .unwrap();
    assert_eq!(wrong.status.code(), Some(64));
}

#[test]
fn half_a_request_is_no_request() {
    let console = Console::demo(&journal(""));
    let mut stream = TcpStream::connect(("127.0.0.1", console.port)).unwrap();
    stream.write_all(b"POST /preferences HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nlang=").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    assert!(!String::from_utf8_lossy(&answer).contains("303"));
    assert_eq!(console.get("/", "").status, 200);
}
