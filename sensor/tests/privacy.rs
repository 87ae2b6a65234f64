//! Pseudonyms on the command line: keys, incidents, reveals, the audit, and the texts for people.

// Clippy knows only functions marked as tests.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use vigie_judgement::Client;
use vigie_privacy::{PeriodKeys, PeriodLength, Pseudonyms};

const SUCCESS: i32 = 0;
const USAGE: i32 = 64;
const BAD_DATA: i32 = 65;
const UNAVAILABLE: i32 = 69;
const CONFIGURATION: i32 = 78;

const MASTER: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
/// An app that starts at 23:59:50 on the last day of November (UTC), and goes on in December.
const LOG: &str = "\
{\"time\":\"2026-11-30T23:59:50Z\",\"client\":\"10.20.0.7\",\"name\":\"tnc16-normal-no1a.tiktokv.eu\",\"bytes_toclient\":900}
{\"time\":\"2026-11-30T23:59:51Z\",\"client\":\"10.20.0.7\",\"name\":\"frontier.tiktokv-eu.com\",\"bytes_toclient\":900}
{\"time\":\"2026-12-01T00:00:05Z\",\"client\":\"10.20.0.7\",\"name\":\"tnc16-normal-no1a.tiktokv.eu\",\"bytes_toclient\":900}
{\"time\":\"2026-12-01T00:00:06Z\",\"client\":\"phone-of-the-minister\",\"name\":\"tnc16-normal-no1a.tiktokv.eu\"}
{\"time\":\"2026-12-01T00:00:07Z\",\"client\":\"phone-of-the-minister\",\"name\":\"frontier.tiktokv-eu.com\"}
";
const PRIVACY: &str = "[[ban]]\nuse = \"fr\"\n[policy]\nunlisted = \"official\"\n[privacy]\npseudonyms = true\n\
    key_file = \"period-key\"\nsite = \"ministry\"\n";

/// A folder with a policy and its keys.
struct Scene {
    folder: tempfile::TempDir,
}

impl Scene {
    fn new(policy: &str) -> Self {
        let scene = Self { folder: tempfile::tempdir().unwrap() };
        scene.write("vigie.toml", policy);
        scene.secret("master", MASTER);
        let keys = scene.vigie(&[
            "privacy",
            "key",
            "--master",
            "master",
            "--site",
            "ministry",
            "--period",
            "2026-11",
            "--period",
            "2026-12",
            "--output",
            "period-key",
        ]);
        assert_eq!(keys, (SUCCESS, String::new(), String::new()));
        scene.write("log.jsonl", LOG);
        scene
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    fn secret(&self, name: &str, text: &str) {
        self.write(name, text);
        self.mode(name, 0o600);
    }

    fn mode(&self, name: &str, mode: u32) {
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(mode)).unwrap();
    }

    /// Runs a command in the folder: exit code, standard output, standard error.
    fn vigie(&self, arguments: &[&str]) -> (i32, String, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vigie"));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("VIGIE_") {
                command.env_remove(name);
            }
        }
        command.env_remove("CREDENTIALS_DIRECTORY");
        command.env("VIGIE_CONFIG", "vigie.toml").env("VIGIE_PRIVACY__AUDIT_FILE", self.path("audit.jsonl"));
        let Output { status, stdout, stderr } =
            command.args(arguments).current_dir(self.folder.path()).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (status.code().unwrap(), text(stdout), text(stderr))
    }

    fn incidents(&self) -> Vec<Value> {
        let (code, text, error) = self.vigie(&["judge", "--json", "--policy", "vigie.toml", "log.jsonl"]);
        assert_eq!(code, SUCCESS, "{error}");
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn audit(&self) -> Vec<String> {
        let text = fs::read_to_string(self.path("audit.jsonl")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }
}

fn fact<'v>(event: &'v Value, key: &str) -> &'v str {
    event["alert"]["metadata"][key][0].as_str().unwrap_or_default()
}

#[test]
fn keys_are_derived_into_a_file_of_ones_own() {
    let scene = Scene::new(PRIVACY);
    let text = fs::read_to_string(scene.path("period-key")).unwrap();
    // Computed with the HMAC of Python's standard library.
    let november = "2026-11 2a9efcb8c720a0b92a7f9292c651bf6f93159278c381915457f2002c9e01a75c\n";
    assert!(text.starts_with(&format!("# site ministry\n{november}2026-12 ")), "{text}");
    assert_eq!(scene.path("period-key").metadata().unwrap().permissions().mode() & 0o777, 0o400);
    let key = ["privacy", "key", "--master", "master", "--site", "ministry", "--period", "2026-11"];
    let (code, text, _) = scene.vigie(&key);
    assert_eq!((code, text), (SUCCESS, format!("# site ministry\n{november}")));
    let (code, _, error) = scene.vigie(&[&key[..], &["--output", "period-key"]].concat());
    assert!(code == UNAVAILABLE && error.contains("period-key"), "an old file is not overwritten: {error}");
    for wrong in [&["--period", "2026-13"][..], &["--site", ""]] {
        assert_eq!(scene.vigie(&[&key[..], wrong].concat()).0, USAGE);
    }
    scene.mode("master", 0o644);
    let (code, _, error) = scene.vigie(&key);
    assert!(code == CONFIGURATION && error.contains("master: the master key can be read or changed"), "{error}");
    assert!(error.contains("; let only its owner read it, as mode 0400 does"), "{error}");
    scene.secret("master", "short");
    let (code, _, error) = scene.vigie(&key);
    assert!(code == CONFIGURATION && error.contains("not a key: it has at least 64"), "{error}");
}

#[test]
fn incidents_have_pseudonyms_and_are_closed_when_the_key_changes() {
    let scene = Scene::new(PRIVACY);
    let events = scene.incidents();
    let steps: Vec<String> = events
        .iter()
        .map(|event| {
            let [state, closed, period] =
                ["incident_state", "incident_closed", "pseudonym_period"].map(|key| fact(event, key));
            format!("{state} {closed} {period}")
        })
        .collect();
    assert_eq!(
        steps,
        [
            "opened  2026-11",
            "closed key-rotated 2026-11",
            "opened  2026-12",
            "opened  2026-12",
            "closed input-ended 2026-12",
            "closed input-ended 2026-12"
        ]
    );
    let [november, closed, december] = [0, 1, 2].map(|place| &events[place]);
    for key in ["client", "incident"] {
        assert_eq!(fact(november, key), fact(closed, key));
        assert_ne!(fact(november, key), fact(december, key), "nothing links two periods: {key}");
    }
    assert_eq!(november["src_ip"], fact(november, "client"));
    assert!(fact(&events[3], "client").starts_with("name-"), "{}", events[3]);
    let plain = Scene::new("[[ban]]\nuse = \"fr\"\n[policy]\nunlisted = \"official\"\n").incidents();
    let ids = |events: &[Value]| -> Vec<String> {
        let ids = ["incident", "event_id"].map(|key| events.iter().map(move |event| fact(event, key).to_owned()));
        ids.into_iter().flatten().collect()
    };
    assert!(plain.len() == 4 && ids(&plain).iter().all(|id| !ids(&events).contains(id)), "ids need the key");
}

#[test]
fn no_output_names_a_client_that_has_a_pseudonym() {
    let scene = Scene::new(PRIVACY);
    let pseudonym = fact(&scene.incidents()[2], "client").to_owned();
    for options in [&["--json"][..], &[], &["--all"], &["--verdicts"]] {
        let (code, text, error) =
            scene.vigie(&[&["judge", "--policy", "vigie.toml"], options, &["log.jsonl"]].concat());
        assert_eq!(code, SUCCESS, "{error}");
        assert!(text.contains(&pseudonym), "{options:?}: {text}");
        for named in ["10.20.0.7", "minister", "0a140007", "ChQAB"] {
            assert!(!text.contains(named) && !error.contains(named), "{options:?}: {named} in {text}{error}");
        }
    }
}

#[test]
fn the_first_finding_of_a_client_may_be_a_warning() {
    let scene =
        Scene::new("[[ban]]\nuse = \"fr\"\n[policy]\nunlisted = \"official\"\n[privacy]\nmode = \"warn-first\"\n");
    let on = |day: u8| {
        LOG.replace("2026-11-30", &format!("2026-12-{day:02}"))
            .replace("2026-12-01", &format!("2026-12-{:02}", day + 1))
    };
    scene.write("log.jsonl", &[LOG, &on(2), &on(5)].concat());
    let events = scene.incidents();
    let of_month = |month: &str| {
        let events = events.iter().filter(|event| event["timestamp"].as_str().unwrap().starts_with(month));
        events.map(|event| (fact(event, "warning"), fact(event, "client"))).collect::<Vec<_>>()
    };
    assert_eq!(of_month("2026-11")[0], ("true", ""));
    let december = of_month("2026-12");
    assert!(december.contains(&("true", "")) && december.contains(&("", "10.20.0.7")), "{december:?}");
    let warnings = events.iter().filter(|event| fact(event, "warning") == "true");
    for warning in warnings {
        let text = warning.to_string();
        assert!(
            fact(warning, "service") == "tiktok" && !text.contains("10.20.0.7") && !text.contains("minister"),
            "{text}"
        );
        assert!(warning["src_ip"].is_null(), "{text}");
    }
    scene.write("log.jsonl", LOG);
    let (_, story, _) = scene.vigie(&["judge", "--policy", "vigie.toml", "log.jsonl"]);
    assert!(story.contains("(not named)") && !story.contains("10.20.0.7"), "{story}");
}

const REVEAL: [&str; 4] = ["--case", "2026-7", "--reason", "a second finding"];

#[test]
fn a_pseudonym_is_revealed_for_a_case_and_the_audit_tells_it() {
    let scene = Scene::new(PRIVACY);
    let events = scene.incidents();
    for (event, period) in [(&events[0], "2026-11"), (&events[2], "2026-12")] {
        let arguments = [&["reveal", fact(event, "client"), "--period", period], &REVEAL[..]].concat();
        let before = scene.audit().len();
        let (code, text, error) = scene.vigie(&arguments);
        assert_eq!((code, text.as_str()), (SUCCESS, "10.20.0.7\n"), "{error}");
        let audit = scene.audit();
        assert_eq!(audit.len(), before + 1);
        let line: Value = serde_json::from_str(&audit[before]).unwrap();
        assert_eq!((line["alert"]["gid"].as_u64(), fact(&line, "audit")), (Some(8), "reveal"));
        let facts = ["pseudonym", "pseudonym_period", "case", "reason"].map(|key| fact(&line, key));
        assert_eq!(facts, [fact(event, "client"), period, "2026-7", "a second finding"]);
        assert!(!fact(&line, "by").is_empty() && !audit[before].contains("10.20.0.7"), "{line}");
        // Whoever has the master key needs no key file.
        fs::rename(scene.path("period-key"), scene.path("away")).unwrap();
        assert_eq!(scene.vigie(&arguments).0, CONFIGURATION);
        let (code, text, error) = scene.vigie(&[&arguments[..], &["--master", "master"]].concat());
        assert_eq!((code, text.as_str()), (SUCCESS, "10.20.0.7\n"), "{error}");
        let other = scene.vigie(&[&arguments[..], &["--master", "master", "--site", "other"]].concat()).1;
        assert_ne!(other, "10.20.0.7\n", "another site has other keys");
        fs::rename(scene.path("away"), scene.path("period-key")).unwrap();
    }
    assert_eq!(scene.path("audit.jsonl").metadata().unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn without_an_audit_line_there_is_no_answer() {
    let scene = Scene::new(PRIVACY);
    let pseudonym = fact(&scene.incidents()[0], "client").to_owned();
    let arguments = [&["reveal", &pseudonym, "--period", "2026-11"], &REVEAL[..]].concat();
    fs::create_dir(scene.path("audit.jsonl")).unwrap();
    let (code, text, error) = scene.vigie(&arguments);
    assert_eq!((code, text.as_str()), (UNAVAILABLE, ""));
    assert!(error.contains("no audit line can be written") && !error.contains("10.20.0.7"), "{error}");
}

#[test]
fn what_is_no_reveal_is_refused_without_an_audit_line() {
    let scene = Scene::new(&format!("{PRIVACY}reveal_needs_second = true\n"));
    let (events, mac) = (scene.incidents(), format!("mac-{}", "0".repeat(32)));
    let [pseudonym, name] = [0, 3].map(|place| fact(&events[place], "client"));
    let second = ["--second-person", "durand"];
    let by = scene
        .vigie(&["reveal", pseudonym, "--period", "2026-11", "--case", "1", "--reason", "test", second[0], second[1]]);
    assert_eq!(by.1, "10.20.0.7\n", "{}", by.2);
    let line: Value = serde_json::from_str(&scene.audit()[0]).unwrap();
    assert_eq!(fact(&line, "second_person"), "durand");
    let user = fact(&line, "by").to_owned();
    for (arguments, code, expected) in [
        (&[pseudonym, "--period", "2026-11"][..], USAGE, "wants a second person; add --second-person NAME"),
        (&[pseudonym, "--period", "2026-11", "--second-person", &user], USAGE, "is who asks; name another person"),
        (
            &[pseudonym, "--period", "2026-10", second[0], second[1]],
            USAGE,
            "there is no key of 2026-10, but of 2026-11, 2026-12",
        ),
        (&["tiktok", "--period", "2026-11", second[0], second[1]], USAGE, "not a pseudonym"),
        (&[&mac, "--period", "2026-11", second[0], second[1]], BAD_DATA, "the key of another period or site"),
        (&[name, "--period", "2026-12", second[0], second[1]], BAD_DATA, "cannot be computed from its pseudonym"),
        (&[pseudonym, "--site", "x"], USAGE, "--master"),
        (
            &[pseudonym, "--master", "no-such", second[0], second[1]],
            CONFIGURATION,
            "no-such: the master key does not exist",
        ),
    ] {
        let (found, text, error) = scene.vigie(&[&["reveal"], arguments, &REVEAL[..]].concat());
        assert!(found == code && error.contains(expected) && text.is_empty(), "{arguments:?}: {found} {error}{text}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
    for reason in ["", " ", "of 10.20.0.7"] {
        let (code, _, error) = scene.vigie(&["reveal", pseudonym, "--case", "1", "--reason", reason]);
        assert!(code == USAGE && error.contains("--reason"), "{error}");
    }
    assert_eq!(scene.vigie(&["reveal", pseudonym, "--reason", "no case"]).0, USAGE);
    assert_eq!(scene.audit().len(), 1, "nothing else was revealed");
}

#[test]
fn a_key_that_others_can_read_stops_all_that_needs_it() {
    let scene = Scene::new(PRIVACY);
    scene.mode("period-key", 0o644);
    for arguments in [
        &["judge", "--json", "--policy", "vigie.toml", "log.jsonl"][..],
        &["judge", "--verdicts", "--policy", "vigie.toml", "log.jsonl"],
        &["reveal", "10.0.0.1", "--case", "1", "--reason", "test"],
    ] {
        let (code, text, error) = scene.vigie(arguments);
        assert_eq!((code, text.as_str()), (CONFIGURATION, ""), "{error}");
        assert!(error.contains("vigie.toml:7: privacy.key_file: the key of pseudonyms, "), "{error}");
        assert!(
            error.contains("can be read or changed by others than its owner; let only its owner read it"),
            "{error}"
        );
    }
}

#[test]
fn check_tells_whom_events_name_and_what_is_wrong_with_the_key() {
    let run = "capture.interfaces = [\"lo\"]\ncapture.workers = 1\nmetrics.listen = \"\"\nprivilege.user = \"root\"\n";
    let scene = Scene::new(&format!("{run}{PRIVACY}mode = \"warn-first\"\n"));
    let check = |scene: &Scene| {
        let (_, text, _) = scene.vigie(&["check", "--events-file", "eve.json"]);
        text.lines().filter(|line| line.starts_with("privacy: ")).map(str::to_owned).collect::<Vec<_>>().join("\n")
    };
    let this_month = Command::new("date").args(["-u", "+%Y-%m"]).output().unwrap().stdout;
    let this_month = String::from_utf8(this_month).unwrap().trim().to_owned();
    let key = |periods: &[&str]| {
        let _ = fs::remove_file(scene.path("period-key"));
        let lines: String = periods.iter().map(|period| format!("{period} {}\n", "5a".repeat(32))).collect();
        scene.secret("period-key", &lines);
    };
    key(&[&this_month, "2099-01"]);
    let text = check(&scene);
    assert!(text.contains("privacy: the first finding of a client in a period names nobody"), "{text}");
    assert!(text.contains("keys of") || text.contains("has no key; add its key"), "{text}");
    key(&["2020-01"]);
    let text = check(&scene);
    let expected =
        format!("privacy: error: there is no key of {this_month}: pseudonyms are those of 2020-01; add its key");
    assert!(text.contains(&expected), "{text}");
    key(&[]);
    let text = check(&scene);
    assert!(
        text.contains("privacy: error: ") && text.contains("it has no key; derive one with 'vigie privacy key'"),
        "{text}"
    );
    fs::remove_file(scene.path("period-key")).unwrap();
    assert!(check(&scene).contains("does not exist; make it with 'vigie privacy key'"), "{}", check(&scene));
    scene.write("vigie.toml", run);
    let text = check(&scene);
    assert!(text.contains("privacy: events name clients; privacy.pseudonyms = true replaces them"), "{text}");
}

#[test]
fn the_texts_are_printed_in_the_languages_that_are_asked_for() {
    let scene = Scene::new(PRIVACY);
    let titles = ["INFORMATION DES AGENTS", "NOTICE FOR THE STAFF", "INFORMATIE VOOR HET PERSONEEL"];
    let (code, all, error) = scene.vigie(&["privacy"]);
    assert_eq!((code, error.as_str()), (SUCCESS, ""));
    assert!(titles.iter().all(|title| all.contains(title)), "{all}");
    for (language, title) in ["fr", "en", "nl"].into_iter().zip(titles) {
        let (_, text, _) = scene.vigie(&["privacy", "--language", language]);
        assert_eq!(titles.iter().filter(|title| text.contains(*title)).collect::<Vec<_>>(), [&title]);
        assert!(!text.contains("10.20.0.7") && text.contains("ministry"), "{text}");
    }
    scene.write("vigie.toml", &format!("{PRIVACY}languages = [\"nl\"]\n"));
    assert!(scene.vigie(&["privacy"]).1.starts_with(titles[2]));
    assert_eq!(scene.vigie(&["privacy", "--language", "de"]).0, USAGE);
    scene.write("vigie.toml", "[privacy]\nmode = \"warn\"\n");
    let (code, _, error) = scene.vigie(&["privacy"]);
    assert!(
        code == CONFIGURATION && error.contains("vigie.toml:2: privacy.mode = \"warn\": expected named or warn-first"),
        "{error}"
    );
}

/// The capture of the case `guest-network`, with a hardware address for each client: 02:00:5e:00:01 and its last byte.
fn capture() -> Vec<u8> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/cases/guest-network/input.pcap");
    let mut file = fs::read(path).unwrap();
    let mut at = 24;
    while at < file.len() {
        let length = u32::from_le_bytes(file[at + 8..at + 12].try_into().unwrap()) as usize;
        let frame = &mut file[at + 16..at + 16 + length];
        let ip = if frame[12..14] == [0x81, 0] { 18 } else { 14 };
        for (address, mac) in [(ip + 12, 6), (ip + 16, 0)] {
            if frame[address] == 10 {
                let last = frame[address + 3];
                frame[mac..mac + 6].copy_from_slice(&[2, 0, 0x5e, 0, 1, last]);
            }
        }
        at += 16 + length;
    }
    file
}

/// The same contacts as a log.
fn log_of(clients: &[&str]) -> String {
    let line = |client: &&str| {
        let names = [("09:03:00", "tnc16-normal-no1a.tiktokv.eu"), ("09:03:01", "frontier.tiktokv-eu.com")];
        names.map(|(time, name)| {
            format!("{{\"time\":\"2026-11-27T{time}Z\",\"client\":\"{client}\",\"name\":\"{name}\"}}\n")
        })
    };
    clients.iter().flat_map(line).collect()
}

/// In which forms somebody could be named: clear, hexadecimal, base64, and all of that as pseudonym.
fn forms(client: [u8; 4], pseudonyms: &Pseudonyms) -> Vec<String> {
    let mac = [2, 0, 0x5e, 0, 1, client[3]];
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let mut forms = Vec::new();
    let pseudonym: IpAddr = pseudonyms.address(client.into());
    let IpAddr::V4(pseudonym) = pseudonym else { panic!("{pseudonym}") };
    for octets in [client, pseudonym.octets()] {
        let text = Ipv4Addr::from(octets).to_string();
        forms.extend([hex(&octets), STANDARD.encode(octets), STANDARD.encode(&text), hex(text.as_bytes())]);
        forms.push(u32::from_be_bytes(octets).to_string());
        forms.push(text);
    }
    let text = Client::Mac(mac).to_string();
    let of_mac = pseudonyms.mac(mac);
    forms.extend([text.replace(':', "-"), hex(&mac), STANDARD.encode(mac), STANDARD.encode(&text), text]);
    forms.extend([of_mac.trim_start_matches("mac-").to_owned(), STANDARD.encode(of_mac)]);
    let upper: Vec<String> = forms.iter().map(|form| form.to_uppercase()).collect();
    forms.extend(upper);
    forms
}

#[test]
fn clients_out_of_scope_or_excused_stand_in_no_output_in_no_form() {
    let (official, guest_of_vlan, other) = ([10, 1, 0, 11], [10, 1, 0, 66], [10, 9, 0, 67]);
    let derogation = "[[derogation]]\nid = \"2026-001\"\nwho = [\"10.9.0.67\"]\nservices = [\"tiktok\"]\nfrom = \
        \"2026-11-01\"\nuntil = \"2026-12-31\"\nadded = \"2026-10-01\"\nreason = \"r\"\napprover = \"a\"\n\
        reference = \"SG-17\"\n";
    let scopes = |second: &str| {
        format!(
            "[[scope]]\nname = \"wifi\"\nkind = \"guest\"\nvlans = [90]\n[[scope]]\nname = \"offices\"\nkind = \
             \"official\"\nprefixes = [\"10.1.0.0/16\"]\n[[scope]]\nname = \"second\"\n{second}\n[policy]\n\
             derogations = \"derogations.toml\"\n[[ban]]\nuse = \"fr\"\n"
        )
    };
    let guests = scopes("kind = \"guest\"\nprefixes = [\"10.9.0.0/16\"]");
    let excused = scopes("kind = \"official\"\nprefixes = [\"10.9.0.0/16\"]\nidentity = \"mac\"");
    let privacy = "[privacy]\npseudonyms = true\nkey_file = \"period-key\"\n";
    for (policy, is_pseudonymous) in [(&guests, false), (&excused, false), (&guests, true), (&excused, true)] {
        let scene = Scene::new(&format!("{policy}{}", if is_pseudonymous { privacy } else { "" }));
        scene.write("derogations.toml", derogation);
        fs::write(scene.path("input.pcap"), capture()).unwrap();
        scene.write("log.jsonl", &log_of(&["10.1.0.11", "10.9.0.67"]));
        let text = fs::read_to_string(scene.path("period-key")).unwrap();
        let keys = PeriodKeys::parse(&text, PeriodLength::Month).unwrap();
        let pseudonyms = keys.of("2026-11".parse().unwrap()).unwrap();
        let mut outputs = Vec::new();
        for (command, input) in [("read", "input.pcap"), ("judge", "log.jsonl")] {
            for options in [&["--json"][..], &["--all"], &["--verdicts"], &["--output", "events.json"]] {
                let arguments = [&[command, "--policy", "vigie.toml"], options, &[input]].concat();
                if (command, options[0]) == ("read", "--verdicts") || (command, options[0]) == ("judge", "--output") {
                    continue;
                }
                let (code, text, error) = scene.vigie(&arguments);
                assert_eq!(code, SUCCESS, "{arguments:?}: {error}");
                outputs.push((format!("{arguments:?}"), format!("{text}{error}")));
            }
        }
        outputs.push(("events.json".to_owned(), fs::read_to_string(scene.path("events.json")).unwrap()));
        let clear = Ipv4Addr::from(official).to_string();
        let expected = if is_pseudonymous { pseudonyms.address(official.into()).to_string() } else { clear.clone() };
        for (output, text) in outputs {
            let is_silent = text.is_empty() && output.contains("--output");
            assert!(is_silent || text.contains(&expected), "the official device is there: {output}: {text}");
            assert!(!is_pseudonymous || !text.contains(&clear), "{output}: {text}");
            for client in [guest_of_vlan, other] {
                for form in forms(client, pseudonyms) {
                    assert!(!text.contains(&form), "{client:?} as {form} in {output}: {text}");
                }
            }
        }
    }
}

#[test]
fn what_an_incident_was_stands_in_the_audit_and_counts_for_its_rules() {
    let scene = Scene::new(PRIVACY);
    let id = fact(&Scene::new("").incidents()[0], "incident").to_owned();
    let close =
        |id: &str, word: &str, note: &str| scene.vigie(&["incident", "close", id, "--as", word, "--note", note]);
    let misheard: String = id.chars().rev().collect();
    assert_eq!(close(&misheard, "false", "a lab device").0, USAGE);
    assert_eq!(close(&id, "wrong", "a lab device").0, USAGE);
    assert_eq!(close(&id, "false", "10.1.2.3 is a lab device").0, USAGE, "the audit has no address");
    assert!(scene.audit().is_empty());
    assert_eq!(close(&id, "confirmed", "seen").0, SUCCESS);
    assert_eq!(close(&id, "false", "a lab device").0, SUCCESS);
    let last: Value = serde_json::from_str(scene.audit().last().unwrap()).unwrap();
    assert_eq!((fact(&last, "incident"), fact(&last, "disposition")), (id.as_str(), "false"));
    let alert = |rule: &str, incident: &str| {
        format!(
            r#"{{"alert":{{"gid":1,"metadata":{{"service":["tiktok"],"rule":["{rule}"],"incident":["{incident}"]}}}}}}"#
        )
    };
    let lines =
        [alert("tnc*", &id), alert("tnc*", &id), alert("api*", &id), alert("web", "k7q2m-4x9d0-f"), "{".to_owned()];
    scene.write("eve.json", &lines.join("\n"));
    let events = scene.path("eve.json");
    scene.write("vigie.toml", &format!("{PRIVACY}\n[events]\nfile = \"{}\"\n", events.display()));
    let (code, text, error) = scene.vigie(&["signatures", "list", "--by-disposition"]);
    assert_eq!(code, SUCCESS, "{error}");
    let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    assert!(rows.contains(&vec!["tiktok", "api*", "1", "0", "0"]), "{text}");
    assert!(rows.contains(&vec!["tiktok", "tnc*", "1", "0", "0"]), "{text}");
    assert!(!text.contains("web") && text.contains("1 decided incident"), "{text}");
}
