//! Policies and the register of derogations on the command line.

// Clippy knows only functions marked as tests.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};

const SUCCESS: i32 = 0;
const USAGE: i32 = 64;
const UNAVAILABLE: i32 = 69;
const CONFIGURATION: i32 = 78;

/// A folder with a configuration that can run here.
struct Scene {
    folder: tempfile::TempDir,
}

impl Scene {
    fn new(more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let user = Command::new("id").arg("-un").output().unwrap();
        let user = String::from_utf8(user.stdout).unwrap();
        let text = format!(
            "capture.interfaces = [\"lo\"]\ncapture.workers = 1\nmetrics.listen = \"\"\nevents.file = \"{}\"\n\
             privilege.user = \"{}\"\n{more}",
            folder.path().join("eve.json").display(),
            user.trim()
        );
        fs::write(folder.path().join("vigie.toml"), text).unwrap();
        Self { folder }
    }

    fn write(&self, name: &str, text: &str) -> &Self {
        fs::write(self.folder.path().join(name), text).unwrap();
        self
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.folder.path().join(name)).unwrap()
    }

    /// Runs a command with the configuration: exit code, standard output, standard error, without the folder's name.
    fn vigie(&self, arguments: &[&str]) -> (i32, String, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vigie"));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("VIGIE_") {
                command.env_remove(name);
            }
        }
        command.args(arguments).env("VIGIE_CONFIG", self.folder.path().join("vigie.toml"));
        command.env("VIGIE_PRIVACY__AUDIT_FILE", self.folder.path().join("audit.jsonl"));
        let Output { status, stdout, stderr } = command.output().unwrap();
        let folder = format!("{}/", self.folder.path().display());
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().replace(&folder, "");
        (status.code().unwrap(), text(stdout), text(stderr))
    }
}

const ADD: [&str; 14] = [
    "derogation",
    "add",
    "--who",
    "10.20.0.7",
    "--service",
    "tiktok",
    "--until",
    "2099-12-31",
    "--reason",
    "institutional account",
    "--approver",
    "secretary-general",
    "--reference",
    "SG-17",
];

#[test]
fn derogations_are_added_listed_and_ended() {
    let scene = Scene::new("[policy]\nderogations = \"derogations.toml\"\n");
    let (code, text, _) = scene.vigie(&ADD);
    assert_eq!(code, SUCCESS, "{text}");
    let id = text.split(' ').next().unwrap().to_owned();
    assert!(text.contains(" added: 10.20.0.7 may use tiktok from 20") && text.contains(" to 2099-12-31; "), "{text}");
    let register = scene.folder.path().join("derogations.toml");
    assert_eq!(fs::metadata(&register).unwrap().permissions().mode() & 0o777, 0o600);

    let (code, text, _) = scene.vigie(&["derogation", "list"]);
    let line = text.lines().find(|line| line.starts_with(&id)).unwrap();
    assert!(code == SUCCESS && line.contains("active, ") && line.ends_with("secretary-general  SG-17"), "{text}");
    let (_, json, _) = scene.vigie(&["derogation", "list", "--json", "--as-of", "2100-01-01"]);
    let entry: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&entry["state"], &entry["who"][0]), (&"expired".into(), &"10.20.0.7".into()));

    let before = scene.read("derogations.toml");
    scene.write("derogations.toml", &before.replace("[[derogation]]", "# asked for on paper\n[[derogation]]"));
    let (code, text, _) = scene.vigie(&["derogation", "end", &id]);
    assert!(code == SUCCESS && text.starts_with(&format!("{id} ends on 20")), "{text}");
    let after = scene.read("derogations.toml");
    assert!(after.contains("# asked for on paper\n[[derogation]]") && after.contains("ended = \"20"), "{after}");
    assert_eq!(scene.vigie(&["derogation", "end", &id]).0, USAGE, "it has ended");
    let audit = scene.read("audit.jsonl");
    let lines: Vec<&str> = audit.lines().collect();
    assert_eq!(lines.len(), 2, "one for each change: {audit}");
    for (line, act) in lines.iter().zip(["derogation-added", "derogation-ended"]) {
        let expected = format!(r#""metadata":{{"audit":["{act}"],"derogation":["{id}"]"#);
        assert!(line.contains(&expected) && line.contains(r#""gid":8"#), "{line}");
        assert!(!line.contains("10.20.0.7"), "an audit line has no address: {line}");
    }
}

#[test]
fn without_an_audit_line_the_register_stays_as_it_is() {
    let scene = Scene::new("[policy]\nderogations = \"derogations.toml\"\n");
    fs::create_dir(scene.folder.path().join("audit.jsonl")).unwrap();
    let (code, _, error) = scene.vigie(&ADD);
    assert!(code == UNAVAILABLE && error.contains("no audit line can be written to audit.jsonl"), "{error}");
    assert!(!scene.folder.path().join("derogations.toml").exists());
}

#[test]
fn what_makes_no_sense_is_refused() {
    let scene = Scene::new("[policy]\nderogations = \"derogations.toml\"\n");
    let add = |more: &[&str]| scene.vigie(&[&ADD[..], more].concat());
    for (more, code, expected) in [
        (&["--from", "2020-01-01"][..], USAGE, "--from: backdated: the entry was added on "),
        (&["--from", "soon"], USAGE, "not a day; write it like \"2026-11-27\""),
        (&["--who", "somebody"], USAGE, "not an address, prefix or MAC address; write one such as 10.20.0.7"),
        (&["--service", "tictok"], CONFIGURATION, "no signature has this service; did you mean \"tiktok\"?"),
        (&["--register", "/no/such/folder/x.toml"], UNAVAILABLE, "cannot be written: No such file or directory"),
    ] {
        let (found, _, error) = add(more);
        assert!(found == code && error.contains(expected) && error.lines().count() == 1, "{found} {error}");
    }
    for (option, empty, expected) in [
        ("--reason", " ", "not a line of text; give one with something in it"),
        ("--approver", "", "it is empty; say it in words"),
        ("--reference", " ", "it is empty; say it in words"),
    ] {
        let mut words = ADD.to_vec();
        let place = words.iter().position(|word| *word == option).unwrap();
        words[place + 1] = empty;
        let (code, _, error) = scene.vigie(&words);
        assert!(code == USAGE && error.contains(expected), "{code} {error}");
    }
    assert!(!scene.folder.path().join("derogations.toml").exists());
    let (code, _, error) = Scene::new("").vigie(&ADD);
    assert!(
        code == CONFIGURATION && error.contains("the policy has no register; set it, or give --register"),
        "{error}"
    );
    for (text, expected) in [
        ("[[derogation]]\nid = 1\n", "derogations.toml:1: derogation.who: who, services, from, until, added, reason, "),
        (
            "[[derogation]]\nid = 1\nwho = []\nservices = []\nfrom = \"2026-11-01\"\nuntil = \"2026-11-02\"\nadded = \"2026-11-01\"\nreason = \"r\"\napprover = \"a\"\nreference = \"n\"\n",
            "derogations.toml:2: derogation.id: expected text",
        ),
    ] {
        scene.write("derogations.toml", text);
        let (code, _, error) = scene.vigie(&["derogation", "list"]);
        assert!(code == CONFIGURATION && error.contains(expected) && error.lines().count() == 1, "{error}");
    }
}

#[test]
fn check_shows_the_policy() {
    let scene = Scene::new(
        "[policy]\nassets = \"assets.csv\"\nderogations = \"derogations.toml\"\n[[ban]]\nuse = \"fr\"\n[[ban]]\nuse = \
         \"be-wallonia\"\n[[scope]]\nname = \"hq\"\nkind = \"official\"\nprefixes = [\"10.0.0.0/8\", \"2001:db8::/32\"]\n\
         vlans = [7]\n[privacy]\ndpia_reference = \"DPIA-7\"\nnotice_date = \"2026-01-01\"\n\
         staff_consultation_date = 2026-01-02\n",
    );
    scene.write("assets.csv", "prefix,label\n10.0.0.7,phone\n10.0.0.8,phone-2\n");
    assert_eq!(scene.vigie(&ADD).0, SUCCESS);
    let (code, text, _) = scene.vigie(&["check"]);
    assert_eq!(code, SUCCESS, "{text}");
    for line in [
        "policy: ban \"fr\": in force from 2023-03-24, covers tiktok, netflix, king",
        "policy: ban \"be-wallonia\": in force, review overdue from 2023-03-16, covers tiktok",
        "policy: scope \"hq\": official, 2 prefixes, 1 VLAN, a device is known by: address",
        "policy: 2 assets; all other clients: out of scope",
        "privacy: impact assessment, notice and consultation are recorded",
    ] {
        assert!(text.lines().any(|known| known == line), "no {line:?} in {text}");
    }
    assert!(text.contains("policy: derogation \"20") && text.contains("SG-17 by secretary-general\n"), "{text}");
    assert!(text.contains("policy: warning: the review of the ban \"be-wallonia\" was due by 2023-12-31"), "{text}");
    assert!(!text.contains("10.20.0.7"), "who is exempt stands in the register only");
}

#[test]
fn check_says_what_applies_without_a_policy_and_what_the_law_asks() {
    let (code, text, _) = Scene::new("").vigie(&["check"]);
    assert_eq!(code, SUCCESS, "{text}");
    assert!(text.contains(
        "policy: no ban is configured, so the built-in policy applies: every client counts as an official device; ban: fr; \
         watched: all of ByteDance's services\n"
    ), "{text}");
    assert!(text.contains("privacy: warning: not set: privacy.dpia_reference, privacy.notice_date, "), "{text}");
}

#[test]
fn records_of_all_traffic_need_a_day_until_which_they_are_allowed() {
    let types = "events.types = [\"tls\", \"stats\"]\n[privacy]\n";
    for (debug_until, expected) in [
        ("", Some("remove them, or set privacy.debug_until to the last day of a test")),
        ("debug_until = 2020-01-01\n", Some("remove them: privacy.debug_until = 2020-01-01 is past")),
        ("debug_until = 2099-01-01\n", None),
    ] {
        let (code, text, _) = Scene::new(&format!("{types}{debug_until}")).vigie(&["check"]);
        let what = "privacy: error: events.types has tls, which record the traffic of everybody; ";
        assert_eq!(code, if expected.is_some() { CONFIGURATION } else { SUCCESS }, "{text}");
        assert_eq!(text.contains(what), expected.is_some(), "{text}");
        assert!(expected.is_none_or(|mend| text.contains(mend)), "{text}");
    }
}

#[test]
fn a_wrong_policy_stops_check_and_run_before_anything_starts() {
    let scene = Scene::new("[policy]\nassets = \"assets.csv\"\n");
    scene.write("assets.csv", "prefix\n10.0.0.0/33\n");
    let expected =
        "assets.csv:2: prefix = \"10.0.0.0/33\": a prefix has 0 to 32 bits; write 10.0.0.0/N with N up to 32";
    let (code, text, _) = scene.vigie(&["check"]);
    assert!(code == CONFIGURATION && text.contains(&format!("policy: error: {expected}")), "{text}");
    let (code, _, error) = scene.vigie(&["run"]);
    assert!(code == CONFIGURATION && error.contains(expected), "{error}");
    assert!(
        error.ends_with("vigie: 1 error in the policy; mend what stands above; 'vigie check' checks everything\n"),
        "{error}"
    );
    assert!(!scene.folder.path().join("eve.json").exists());
}
