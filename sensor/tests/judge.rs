//! `vigie judge`, as people and scripts meet it: logs in, verdicts and exit codes out.

// Clippy knows only functions marked as tests.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

fn judge(arguments: &[&str], input: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vigie"));
    command.arg("judge").args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn verdicts(arguments: &[&str], input: &str) -> Vec<Value> {
    let output = judge(arguments, input);
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn lines(lines: &[Value]) -> String {
    lines.iter().map(|line| format!("{line}\n")).collect()
}

/// A contact of a scenario as a line of each format: plain, Suricata, Zeek.
fn formats(contacts: &[Value]) -> [(&'static str, String); 3] {
    let plain = lines(contacts);
    let (mut suricata, mut zeek) = (Vec::new(), Vec::new());
    for (number, contact) in contacts.iter().enumerate() {
        let seconds = contact["seconds"].as_f64().unwrap();
        let time = |seconds: f64| {
            let ns = (seconds * 1e9).round() as i128;
            let time = time::OffsetDateTime::from_unix_timestamp_nanos(ns).unwrap();
            let format = time::macros::format_description!(
                "[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:6]+0000"
            );
            time.format(format).unwrap()
        };
        let (client, name, bytes) = (&contact["client"], &contact["name"], &contact["bytes_toclient"]);
        let packets = if contact["answered"] == json!(false) { 0 } else { 9 };
        suricata.push(json!({
            "timestamp": time(seconds), "flow_id": number, "event_type": "tls", "src_ip": client, "src_port": 50000,
            "dest_ip": "192.0.2.1", "dest_port": 443, "proto": "TCP", "tls": {"sni": name, "ja4": contact["ja4"]}
        }));
        suricata.push(json!({
            "timestamp": time(seconds + 0.3), "flow_id": number, "event_type": "flow", "src_ip": client,
            "dest_ip": "192.0.2.1", "proto": "TCP",
            "flow": {"pkts_toserver": 9, "pkts_toclient": packets, "bytes_toserver": 900, "bytes_toclient": bytes,
                "start": time(seconds), "end": time(seconds + 0.3), "state": "closed"}
        }));
        zeek.push(json!({
            "ts": seconds, "uid": format!("C{number}"), "id.orig_h": client, "id.resp_h": "192.0.2.1",
            "server_name": name, "ja4": contact["ja4"], "established": true
        }));
        zeek.push(json!({
            "ts": seconds, "uid": format!("C{number}"), "id.orig_h": client, "id.resp_h": "192.0.2.1",
            "duration": 0.3, "orig_bytes": 900, "resp_bytes": bytes,
            "conn_state": if packets == 0 { "S0" } else { "SF" }
        }));
    }
    [("plain", plain), ("suricata", lines(&suricata)), ("zeek", lines(&zeek))]
}

/// What is wrong with the verdicts on a scenario.
fn faults(scenario: &Value, verdicts: &[Value]) -> Vec<String> {
    let expected = scenario["expect"].as_object().unwrap();
    let of = |service: &str| verdicts.iter().find(|verdict| verdict["service"] == service);
    let mut faults = Vec::new();
    for (service, expected) in expected {
        let Some(verdict) = of(service) else {
            faults.push(format!("{service}: no line"));
            continue;
        };
        for (field, value) in expected.as_object().unwrap() {
            if verdict[field] != *value {
                faults.push(format!("{service}: {field} is {}, not {value}", verdict[field]));
            }
        }
    }
    for verdict in verdicts {
        let fields: Vec<&String> = verdict.as_object().unwrap().keys().collect();
        assert_eq!(fields, ["client", "service", "verdict", "kind", "first_run", "incident", "reasons"]);
        let service = verdict["service"].as_str().unwrap();
        let may_also = scenario["may_also_name"].as_array().unwrap();
        if !expected.contains_key(service) && !may_also.contains(&verdict["service"]) {
            faults.push(format!("{service} has a line: {verdict}"));
        }
    }
    faults
}

#[test]
fn worked_scenarios_get_the_right_verdicts_in_every_format() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/intel/verdict_vectors.jsonl");
    let Ok(text) = fs::read_to_string(&path) else {
        vigie_skip::skipped(format!("{} is not there", path.display()));
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let (mut right, mut wrong) = (0, Vec::new());
    for line in text.lines() {
        let scenario: Value = serde_json::from_str(line).unwrap();
        for (format, log) in formats(scenario["observations"].as_array().unwrap()) {
            let file = folder.path().join(format);
            fs::write(&file, log).unwrap();
            let verdicts = verdicts(&["--verdicts", file.to_str().unwrap()], "");
            match faults(&scenario, &verdicts) {
                faults if faults.is_empty() => right += 1,
                faults => wrong.push(format!("{} {format}: {}", scenario["id"], faults.join("; "))),
            }
        }
    }
    assert!(wrong.is_empty() && right == 3 * 36, "{right} right; wrong: {wrong:#?}");
}

fn contact(seconds: f64, client: &str, name: &str) -> Value {
    json!({"seconds": seconds, "client": client, "name": name, "ja4": "", "bytes_toclient": 4000})
}

#[test]
fn formats_may_be_mixed_and_files_are_read_together() {
    let contacts = [
        contact(0.0, "10.0.0.1", "tnc16-normal-no1a.tiktokv.eu"),
        contact(3_600.0, "10.0.0.1", "tnc16-normal-no1a.tiktokv.eu"),
    ];
    let folder = tempfile::tempdir().unwrap();
    for (later, earlier) in [(0, 1), (1, 2), (2, 0)] {
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            path.to_str().unwrap().to_owned()
        };
        // The file that is named first has the later line.
        let first = write("first", &formats(&contacts[1..])[later].1);
        let second = write("second", &formats(&contacts[..1])[earlier].1);
        let found = verdicts(&["--verdicts", &first, &second], "");
        assert_eq!(found.len(), 1);
        assert_eq!((&found[0]["verdict"], &found[0]["kind"]), (&json!("app"), &json!("background")));
    }
}

#[test]
fn the_same_lines_give_the_same_bytes() {
    let contacts: Vec<Value> = (0..200)
        .map(|number| contact(number.into(), &format!("10.0.{}.{}", number % 3, number % 7), "x.com"))
        .collect();
    let text = lines(&contacts);
    let first = judge(&["--verdicts", "-"], &text);
    let second = judge(&["--verdicts", "-"], &text);
    assert_eq!(first.stdout, second.stdout);
    let clients: Vec<String> = String::from_utf8(first.stdout).unwrap().lines().map(ToOwned::to_owned).collect();
    assert_eq!(clients.len(), 21);
}

#[test]
fn exit_codes_tell_what_was_found_and_what_could_not_be_used() {
    let app = lines(&[
        contact(0.0, "10.0.0.1", "tnc16-normal-no1a.tiktokv.eu"),
        contact(1.0, "10.0.0.1", "frontier.tiktokv-eu.com"),
    ]);
    let pixel = lines(&[contact(0.0, "10.0.0.1", "analytics.tiktok.com")]);
    let exit = |arguments: &[&str], input: &str| judge(arguments, input).status.code().unwrap();
    assert_eq!(exit(&["-"], &app), 0);
    assert_eq!(exit(&["--fail-on-incident", "-"], &app), 1);
    assert_eq!(exit(&["--fail-on-incident", "--verdicts", "-"], &app), 1);
    assert_eq!(exit(&["--fail-on-incident", "-"], &pixel), 0);
    assert_eq!(exit(&["-"], &format!("{app}nonsense\n")), 65);
    assert_eq!(exit(&["-"], "#separator \\x09\n"), 65);
    assert_eq!(exit(&["/no/such/log"], ""), 69);
    assert_eq!(exit(&[], ""), 64);
}

#[test]
fn bad_lines_are_counted_and_nothing_says_all_clear() {
    let good = lines(&[contact(0.0, "10.0.0.1", "example.com")]);
    let output = judge(&["-"], &format!("{good}{{\"seconds\": 1\n{good}"));
    let (out, err) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(out.contains("\nNot everything was read. ") && !out.contains("No banned"), "{out}");
    assert!(err.starts_with("vigie: 1 of 3 lines could not be used; the first: -:2: "), "{err}");
    let output = judge(&["--verdicts", "-"], &format!("nonsense\n{}", lines(&[contact(0.0, "10.0.0.1", "x.com")])));
    assert!(String::from_utf8(output.stdout).unwrap().starts_with("{\"client\":\"10.0.0.1\""));
    assert_eq!(output.status.code(), Some(65));
}

#[test]
fn incidents_are_events_of_generator_seven() {
    let mut contacts: Vec<Value> = (0..300_u32)
        .map(|second| contact((1_795_780_000 + second).into(), "10.0.0.1", "tnc16-normal-no1a.tiktokv.eu"))
        .collect();
    contacts.push(contact(1_795_780_001.0, "10.0.0.1", "frontier.tiktokv-eu.com"));
    contacts.push(contact(1_795_780_002.0, "10.0.0.2", "analytics.tiktok.com"));
    let output = judge(&["--json", "--fail-on-incident", "-"], &lines(&contacts));
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stdout).unwrap();
    let events: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let states: Vec<&Value> = events.iter().map(|event| &event["alert"]["metadata"]["incident_state"][0]).collect();
    assert_eq!(states, ["opened", "closed"]);
    let (opened, closed) = (&events[0]["alert"], &events[1]["alert"]);
    assert_eq!((&opened["gid"], &opened["signature_id"], &opened["severity"]), (&json!(7), &json!(1), &json!(1)));
    assert_eq!((&opened["metadata"]["ban"], &opened["metadata"]["verdict"]), (&json!(["fr"]), &json!(["app"])));
    assert_eq!(opened["metadata"]["incident"], closed["metadata"]["incident"]);
    assert_ne!(opened["metadata"]["event_id"], closed["metadata"]["event_id"]);
    assert_eq!(closed["metadata"]["event_id"][0].as_str().unwrap().len(), 16);
    assert_eq!(closed["context"]["vigie"]["flows"], 301);
    assert!(!text.contains("10.0.0.2"), "pages with embeds are no incident");
}

#[test]
fn verdicts_may_be_asked_for_together_with_json() {
    let input = lines(&[contact(0.0, "10.0.0.1", "x.com")]);
    let both = judge(&["--json", "--verdicts", "-"], &input);
    assert_eq!(both.stdout, judge(&["--verdicts", "-"], &input).stdout);
    assert_eq!(judge(&["--as-of", "soon", "-"], &input).status.code(), Some(64));
}

fn read(arguments: &[&str]) -> Output {
    let capture = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/captures/browsing.pcapng");
    let mut command = Command::new(env!("CARGO_BIN_EXE_vigie"));
    command.arg("read").args(arguments).arg(capture).env_remove("VIGIE_SENSOR_NAME").output().unwrap()
}

fn events(output: &Output) -> Vec<Value> {
    let text = std::str::from_utf8(&output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn policy(text: &str) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ministry.toml");
    fs::write(&path, text).unwrap();
    let path = path.to_str().unwrap().to_owned();
    (folder, path)
}

#[test]
fn a_judged_capture_has_alerts_only_under_incidents() {
    let judged = read(&["--json", "--as-of", "2026-11-27"]);
    assert_eq!(judged.status.code(), Some(0), "{judged:?}");
    let events = events(&judged);
    let of = |gid: u64| events.iter().filter(move |event| event["alert"]["gid"] == gid);
    let metadata =
        |event: &Value, key: &str| event["alert"]["metadata"][key][0].as_str().unwrap_or_default().to_owned();
    let opened: std::collections::HashSet<(String, String, String)> = of(7)
        .filter(|event| metadata(event, "incident_state") == "opened")
        .map(|event| {
            let client = event["src_ip"].as_str().unwrap().to_owned();
            (metadata(event, "incident"), client, metadata(event, "service"))
        })
        .collect();
    assert!(!opened.is_empty() && of(1).count() > opened.len(), "{events:#?}");
    for alert in of(1) {
        let client = alert["src_ip"].as_str().unwrap().to_owned();
        let incident = metadata(alert, "incident");
        assert!(opened.iter().any(|known| known.0 == incident && known.1 == client), "{alert}");
        assert!(!metadata(alert, "ban").is_empty() && metadata(alert, "event_id").len() == 16, "{alert}");
    }
    let closed = of(7).filter(|event| metadata(event, "incident_state") == "closed").count();
    assert_eq!(closed, opened.len());
    let parallel = read(&["--json", "--as-of", "2026-11-27", "--workers", "3"]);
    assert_eq!(parallel.stdout, judged.stdout, "the same for any number of workers");
}

#[test]
fn a_judged_capture_tells_a_story() {
    let (_folder, path) = policy("[[ban]]\nuse = \"fr\"\n");
    let output = read(&["--policy", &path, "--as-of", "2026-11-27", "--fail-on-incident"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("\nSEV  CLIENT") && text.contains("fr of 2023-03-24"), "{text}");
    assert!(
        text.contains(&format!("\nJudged by {path}: every client counts as an official device; ban: fr.\n")),
        "{text}"
    );
    let (_folder, wrong) = policy("[[ban]]\nuse = \"nowhere\"\n");
    assert_eq!(read(&["--policy", &wrong]).status.code(), Some(78));
}

#[test]
fn who_is_out_of_scope_leaves_no_trace() {
    let (_folder, path) =
        policy("[[scope]]\nname = \"elsewhere\"\nkind = \"official\"\nprefixes = [\"198.51.100.0/24\"]\n");
    let json = read(&["--json", "--policy", &path, "--as-of", "2026-11-27"]);
    assert_eq!((json.status.code(), json.stdout.len()), (Some(0), 0), "{json:?}");
    let story = String::from_utf8(read(&["--policy", &path, "--as-of", "2026-11-27"]).stdout).unwrap();
    assert!(
        story.contains("No banned or watched service was recognised.") && story.contains("out of scope."),
        "{story}"
    );
    for client in events(&read(&["--json", "--events", "sighting"]))
        .iter()
        .map(|event| event["src_ip"].as_str().unwrap().to_owned())
    {
        assert!(!story.contains(&client), "{client}: {story}");
    }
}

/// The first command of the README, and what it says that it shows.
#[test]
fn the_sample_tells_its_story() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/captures/ministry.toml");
    let path = path.to_str().unwrap();
    let story = String::from_utf8(read(&["--policy", path]).stdout).unwrap();
    let rows = story.lines().filter(|line| line.contains(" fr of "));
    let rows: Vec<String> = rows.map(|line| line.split_whitespace().take(6).collect::<Vec<_>>().join(" ")).collect();
    // One line for each device and service, by whichever of its addresses it came; one of them stands beside it.
    let (phone, visitor) = ("02:66:00:00:00:11 (10.66.0.11)", "02:66:00:00:00:12 (10.66.0.12)");
    let expected = [
        format!("1 {phone} TikTok app (first"),
        format!("3 {visitor} TikTok web (site)"),
        format!("3 {visitor} Netflix web (site)"),
        format!("3 {visitor} CapCut web (site)"),
    ];
    assert_eq!(rows, expected, "{story}");
    assert!(story.contains("contacts under a derogation") && story.contains("contacts out of scope"), "{story}");
    let events = read(&["--json", "--policy", path]);
    assert_eq!(events.status.code(), Some(0), "{events:?}");
    let json = String::from_utf8(events.stdout).unwrap();
    // The reader, the desk, the press office, the guest.
    for client in
        ["10.66.0.13", "fd66::13", "10.66.0.14", "fd66::14", "10.66.0.15", "fd66::15", "10.67.0.16", "fd67::16"]
    {
        let written = client.parse::<std::net::IpAddr>().unwrap();
        let is_of = |event: &Value| {
            let ends = [&event["src_ip"], &event["dest_ip"]];
            ends.iter().any(|end| end.as_str().is_some_and(|end| end.parse() == Ok(written)))
        };
        let hardware = format!("02:66:00:00:00:{}", &client[client.len() - 2..]);
        assert!(
            !story.contains(client) && !story.contains(&hardware) && !json.contains(&hardware),
            "{client}: {story}"
        );
        assert!(json.lines().all(|line| !is_of(&serde_json::from_str(line).unwrap())), "{client}");
    }
}

#[test]
fn an_interrupt_tells_what_was_read() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vigie"));
    command.args(["judge", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // More than a pipe holds: when all is written, the program is reading.
    let app = ["tnc16-normal-no1a.tiktokv.eu", "frontier.tiktokv-eu.com"].map(|name| contact(0.0, "10.0.0.1", name));
    stdin.write_all(lines(&app).repeat(20_000).as_bytes()).unwrap();
    // The last line is cut. No more comes, and the input does not end.
    stdin.write_all(b"{\"seconds\": 1, \"client\": ").unwrap();
    let kill = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(kill.success());
    let output = child.wait_with_output().unwrap();
    drop(stdin);
    let (story, errors) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert_eq!(output.status.code(), Some(130), "{errors}");
    assert_eq!(errors, "vigie: not read: interrupted: what follows in the logs\n");
    assert!(story.contains("TikTok") && story.contains("read until the interrupt"), "{story}");
}

#[test]
fn a_device_that_stands_for_several_addresses_shows_one() {
    let ministry = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/captures/ministry.toml");
    let story = String::from_utf8(read(&["--policy", ministry.to_str().unwrap()]).stdout).unwrap();
    assert!(story.contains("02:66:00:00:00:11 (10.66.0.11)  TikTok"), "{story}");
}
