//! `vigie check` and `vigie generate` as people and scripts meet them.

// Clippy knows only functions marked as tests.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use vigie_skip::skipped;

const SUCCESS: i32 = 0;
const USAGE: i32 = 64;
const UNAVAILABLE: i32 = 69;
const CONFIGURATION: i32 = 78;

fn vigie(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vigie"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("VIGIE_") {
            command.env_remove(name);
        }
    }
    command.args(arguments).envs(environment.iter().copied()).output().unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().expect("the command ends by itself")
}

/// Who runs the tests: a user that exists everywhere.
fn me() -> String {
    let output = Command::new("id").arg("-un").output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// A folder with a configuration that can run here: loopback, events beside it, metrics on a free port.
struct Scene {
    folder: tempfile::TempDir,
}

impl Scene {
    fn new(more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let events = folder.path().join("eve.json");
        let text = format!(
            "capture.interfaces = [\"lo\"]\ncapture.workers = 1\nmetrics.listen = \"\"\nevents.file = \"{}\"\n\
             privilege.user = \"{}\"\n{more}\n",
            events.display(),
            me()
        );
        fs::write(folder.path().join("vigie.toml"), text).unwrap();
        Self { folder }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("vigie.toml")
    }

    fn check(&self, arguments: &[&str]) -> Output {
        self.check_in(arguments, &[])
    }

    fn check_in(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Output {
        let path = self.path();
        let mut line = vec!["check", "--config", path.to_str().unwrap()];
        line.extend(arguments);
        vigie(&line, environment)
    }
}

#[test]
fn a_configuration_that_can_run_says_what_would() {
    let output = Scene::new("").check(&[]);
    let text = out(&output);
    assert_eq!(code(&output), SUCCESS, "{text}");
    for line in
        ["interface: lo is up, MTU 65536", "  capture: lo with rings of 67 MB, fanout addresses", "metrics: not served"]
    {
        assert!(text.lines().any(|known| known == line), "no {line:?} in {text}");
    }
    assert!(text.contains("\nsignatures: ") && text.contains("\nwould run as "), "{text}");
    assert!(text.lines().last().unwrap().starts_with("can run; 0 errors"), "{text}");
    assert!(output.stderr.is_empty());
}

#[test]
fn every_error_is_a_line_and_the_code_is_that_of_a_configuration() {
    let scene = Scene::new("capture.ring_bytes = \"64MiB\"\nlog.levl = \"info\"");
    // Another user than root, of whom would be warned.
    let environment = [("VIGIE_LIMITS__FLOWS_MAX", "many"), ("VIGIE_PRIVILEGE__USER", "nobody")];
    let output = scene.check_in(&["--set", "log.format=xml"], &environment);
    assert_eq!(code(&output), CONFIGURATION);
    let file = scene.path();
    let file = file.display();
    let expected = format!(
        "{file}:6: capture.ring_bytes = \"64MiB\": expected a number of bytes; write 67108864\n\
         {file}:7: log.levl: unknown key; did you mean log.level?\n\
         VIGIE_LIMITS__FLOWS_MAX: limits.flows_max = many: expected a whole number; the default is 1_048_576\n\
         --set: log.format = xml: expected text or json; the default is \"text\"\n\
         cannot run; 4 errors, 0 warnings\n"
    );
    assert_eq!(out(&output), expected);
}

#[test]
fn what_is_missing_is_unavailable() {
    let scene = Scene::new("capture.wait_for_interfaces = false");
    let output = scene.check(&["--interface", "no-such0"]);
    assert_eq!(code(&output), UNAVAILABLE);
    assert!(out(&output).contains("interface: error: no-such0 does not exist; "), "{}", out(&output));
    assert!(!out(&output).contains("would run"));

    let output = scene.check(&["--set", "privilege.user=no-such-user"]);
    assert_eq!(code(&output), UNAVAILABLE);
    assert!(out(&output).contains("user: error: user \"no-such-user\" does not exist; useradd --system"));

    let output = scene.check(&["--events-file", "/no/such/folder/eve.json"]);
    assert_eq!(code(&output), UNAVAILABLE);
    assert!(out(&output).contains("events: error: /no/such/folder does not exist; install -d -o "));

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let output = scene.check(&["--metrics-listen", &address]);
    assert_eq!(code(&output), UNAVAILABLE);
    assert!(out(&output).contains(&format!("metrics: error: {address} is in use; ")), "{}", out(&output));
}

#[test]
fn wrong_signatures_and_filters_are_a_wrong_configuration() {
    let scene = Scene::new("");
    fs::write(scene.folder.path().join("bad.toml"), "nonsense = [\n").unwrap();
    let setting = format!("signatures.folder={}", scene.folder.path().display());
    let output = scene.check(&["--set", &setting]);
    assert_eq!(code(&output), CONFIGURATION, "{}", out(&output));
    assert!(out(&output).contains("signatures: error: ") && out(&output).contains("bad.toml:"), "{}", out(&output));

    let output = scene.check(&["--set", "capture.bpf=prt 443"]);
    assert_eq!(code(&output), CONFIGURATION);
    assert!(out(&output).contains("filter: error: --set: capture.bpf = \"prt 443\": "), "{}", out(&output));
    assert_eq!(code(&scene.check(&["--set", "capture.bpf=tcp port 443"])), SUCCESS);
}

#[test]
fn check_and_run_name_file_line_and_key() {
    let base = "capture.interfaces = [\"lo\"]\n";
    for (more, expected) in [
        ("capture.bpf = \"prt 443\"\n", ":6: capture.bpf = \"prt 443\": "),
        (
            "[log]\nlevel = \"info\"\nlevel = \"warn\"\n",
            ":8: level: this key is set a second time; keep one of the two",
        ),
        (
            "[log]\nlevel = \"info\"\n[log]\nformat = \"json\"\n",
            ":8: log: this section begins a second time; put its keys under one heading",
        ),
        (base, ":6: interfaces: this key is set a second time; keep one of the two"),
    ] {
        // Five lines stand before.
        let scene = Scene::new(more.trim_end());
        let expected = format!("{}{expected}", scene.path().display());
        let output = scene.check(&[]);
        assert_eq!(code(&output), CONFIGURATION, "{}", out(&output));
        assert!(out(&output).contains(&expected), "no {expected:?} in {}", out(&output));
        let path = scene.path();
        let output = vigie(&["run", "--config", path.to_str().unwrap()], &[]);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(code(&output), CONFIGURATION, "{told}");
        assert!(told.contains(&expected), "no {expected:?} in {told}");
    }
    let output = vigie(&["run", "--interface", "lo", "--workers", "x", "--config", "/dev/null"], &[]);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(code(&output), CONFIGURATION, "{told}");
    assert!(told.starts_with("--workers: capture.workers = x: expected a whole number"), "{told}");
}

#[test]
fn later_layers_win_and_json_says_where_from() {
    let scene = Scene::new("log.level = \"warn\"\nlog.format = \"json\"");
    let output = scene.check_in(
        &["--json", "--workers", "2", "--set", "log.level=debug"],
        &[("VIGIE_LOG__LEVEL", "error"), ("VIGIE_SENSOR__NAME", "tap-9")],
    );
    assert_eq!(code(&output), SUCCESS, "{}", out(&output));
    let object: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&object["can_run"], &object["exit"]), (&true.into(), &0.into()));
    let settings = &object["settings"];
    for (key, value, origin) in [
        ("log.level", "\"debug\"", "--set".to_owned()),
        ("log.format", "\"json\"", format!("{}:7", scene.path().display())),
        ("sensor.name", "\"tap-9\"", "VIGIE_SENSOR__NAME".to_owned()),
        ("capture.workers", "2", "--workers".to_owned()),
        ("capture.snap_bytes", "262_144", "default".to_owned()),
    ] {
        assert_eq!(settings[key]["value"], value, "{key}");
        assert_eq!(settings[key]["origin"], origin, "{key}");
    }
    assert!(object["memory"]["total_bytes"].as_u64().unwrap() > 134_217_728);
    assert!(object["needs"].as_array().unwrap().iter().any(|need| need["part"] == "user" && need["severity"] == "ok"));

    let output = scene.check(&["--json", "--workers", "many", "--set", "privilege.user=nobody"]);
    assert_eq!(code(&output), CONFIGURATION);
    let object: Value = serde_json::from_slice(&output.stdout).unwrap();
    let finding = &object["configuration"][0];
    assert_eq!((&finding["key"], &finding["origin"]), (&"capture.workers".into(), &"--workers".into()));
    assert_eq!((&object["can_run"], &finding["severity"]), (&false.into(), &"error".into()));
}

#[test]
fn the_file_may_be_named_by_the_environment_and_must_exist() {
    let scene = Scene::new("");
    let path = scene.path();
    assert_eq!(code(&vigie(&["check"], &[("VIGIE_CONFIG", path.to_str().unwrap())])), SUCCESS);
    let output = vigie(&["check", "--config", "/no/such/vigie.toml"], &[]);
    assert_eq!(code(&output), CONFIGURATION);
    assert!(out(&output).starts_with("/no/such/vigie.toml: cannot be read: "), "{}", out(&output));
    assert_eq!(code(&vigie(&["check", "--set", "workers"], &[])), USAGE);
    assert_eq!(code(&vigie(&["generate"], &[])), USAGE);
}

#[test]
fn a_user_without_rights_cannot_write_events() {
    let scene = Scene::new("");
    if me() != "root" {
        return skipped("only the superuser can ask for another user");
    }
    fs::set_permissions(scene.folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let output = scene.check(&["--set", "privilege.user=nobody"]);
    assert_eq!(code(&output), UNAVAILABLE, "{}", out(&output));
    assert!(out(&output).contains("events: error: nobody may not write in /"), "{}", out(&output));
    fs::set_permissions(scene.folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
    assert_eq!(code(&scene.check(&["--set", "privilege.user=nobody"])), SUCCESS);
    assert!(!Path::new(&scene.folder.path().join("eve.json")).exists(), "a check leaves nothing behind");
}

#[test]
fn the_generated_file_is_a_configuration() {
    let output = vigie(&["generate", "config"], &[]);
    assert_eq!(code(&output), SUCCESS);
    let scene = Scene::new("");
    let path = scene.folder.path().join("default.toml");
    fs::write(&path, &output.stdout).unwrap();
    let file = path.to_str().unwrap();
    // Nothing is chosen yet: that is told, and nothing else.
    let output = vigie(&["check", "--config", file], &[]);
    assert_eq!(code(&output), CONFIGURATION);
    let expected = format!(
        "{file}: capture.interfaces = []: there is nothing to listen on; name an interface, such as [\"eth1\"]\n\
         cannot run; 1 error, 0 warnings\n"
    );
    assert_eq!(out(&output), expected);
    let user = format!("privilege.user={}", me());
    let journal = format!("journal.folder={}", scene.folder.path().join("journal").display());
    let line = ["check", "--config", file, "--interface", "lo", "--set", &user, "--metrics-listen", "", "--set"];
    let output = vigie(&[&line[..], &[&journal]].concat(), &[]);
    assert_eq!(code(&output), SUCCESS, "{}", out(&output));
}

#[test]
fn completions_manual_and_reference() {
    for (line, says) in [
        (&["generate", "completions", "bash"][..], "_vigie"),
        (&["generate", "man"], ".TH vigie 1"),
        (&["generate", "reference"], "## [capture]"),
        (&["generate", "metrics"], "| `vigie_capture_packets_total` |"),
    ] {
        let output = vigie(line, &[]);
        assert_eq!(code(&output), SUCCESS);
        assert!(out(&output).contains(says), "{line:?}");
    }
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(code(&vigie(&["generate", "man", "--folder", folder.path().to_str().unwrap()], &[])), SUCCESS);
    assert!(folder.path().join("vigie-check.1").exists());
    for entry in fs::read_dir(folder.path()).unwrap().map(Result::unwrap) {
        let page = fs::read_to_string(entry.path()).unwrap();
        let is_of_file = entry.file_name() == "vigie.toml.5";
        for section in ["EXAMPLES", "EXIT STATUS", "FILES", "SEE ALSO"] {
            let heading = format!(".SH {section}");
            let is_there = page.lines().any(|line| line.replace('"', "") == heading);
            assert!(is_there || (is_of_file && section == "EXIT STATUS"), "{:?} has no {section}", entry.path());
        }
    }
    assert_eq!(code(&vigie(&["generate", "man", "--folder", "/no/such/folder"], &[])), UNAVAILABLE);
}

/// What a shell is offered for the last of these words.
fn completed(words: &[&str]) -> Vec<String> {
    let last = (words.len() - 1).to_string();
    let environment = [
        ("_VIGIE_COMPLETE", "bash"),
        ("_CLAP_IFS", "\n"),
        ("_CLAP_COMPLETE_INDEX", &last),
        ("_CLAP_COMPLETE_COMP_TYPE", "9"),
        ("_CLAP_COMPLETE_SPACE", "true"),
    ];
    let output = vigie(&[&["--"], words].concat(), &environment);
    assert_eq!(code(&output), SUCCESS, "{words:?}");
    out(&output).lines().map(str::to_owned).collect()
}

#[test]
fn completions_know_limits_settings_and_interfaces() {
    for (words, wanted) in [
        (&["vigie", "read", "--limit", ""][..], "flows_max="),
        (&["vigie", "read", "--limit", "address"], "address_names_max="),
        (&["vigie", "run", "--set", ""], "capture.interfaces="),
        (&["vigie", "check", "--set", "events."], "events.file="),
        (&["vigie", "run", "-i", ""], "lo"),
        (&["vigie", "run", "--interface", "l"], "lo"),
        (&["vigie", "interfaces", ""], "lo"),
        (&["vigie", "read", "--events", ""], "sighting"),
        (&["vigie", "s"], "signatures"),
    ] {
        let offered = completed(words);
        assert!(offered.iter().any(|word| word == wanted), "{words:?}: {offered:?}");
        let begun = words.last().unwrap();
        assert!(offered.iter().all(|word| word.starts_with(begun)), "{words:?}: {offered:?}");
    }
    for shell in ["bash", "zsh", "fish"] {
        assert!(out(&vigie(&["generate", "completions", shell], &[])).contains("_VIGIE_COMPLETE"), "{shell}");
    }
}

/// Makes a named pipe to which nobody writes.
fn pipe(folder: &Path, name: &str) -> String {
    let path = folder.join(name);
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    path.to_str().unwrap().to_owned()
}

#[test]
fn a_pipe_in_place_of_a_file_is_an_error_and_no_wait() {
    let scene = Scene::new("");
    let folder = scene.folder.path();
    let (certificate, web) = (pipe(folder, "certificate.pem"), folder.join("web.yml"));
    let tls = format!("tls_server_config:\n  cert_file: {certificate}\n  key_file: {certificate}\n");
    fs::write(&web, tls).unwrap();
    let signatures = folder.join("signatures");
    fs::create_dir(&signatures).unwrap();
    pipe(&signatures, "pipe.toml");
    let web_pipe = pipe(folder, "pipe.yml");
    for (set, told) in [
        (format!("metrics.web_config={web_pipe}"), "is not a file"),
        (format!("metrics.web_config={}", web.display()), "it is not a regular file"),
        (format!("policy.assets={}", pipe(folder, "assets.csv")), "it is not a regular file"),
        (format!("policy.derogations={}", pipe(folder, "derogations.toml")), "it is not a regular file"),
        (format!("signatures.folder={}", signatures.display()), "is not a regular file"),
    ] {
        let output = scene.check(&["--set", &set, "--set", "metrics.listen=127.0.0.1:0"]);
        let text = out(&output);
        assert_ne!(code(&output), SUCCESS, "{set}: {text}");
        assert!(text.contains("error") && text.contains(told), "{set}: {text}");
    }
    let (path, set) = (scene.path(), format!("metrics.web_config={web_pipe}"));
    let line = ["run", "--config", path.to_str().unwrap(), "--set", &set, "--set", "metrics.listen=127.0.0.1:0"];
    let output = vigie(&line, &[]);
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(code(&output) != SUCCESS && told.contains("it is not a regular file"), "{told}");
    let configuration = pipe(folder, "pipe.toml");
    let output = vigie(&["check", "--config", &configuration], &[]);
    assert_eq!(code(&output), CONFIGURATION);
    assert!(out(&output).contains("it is a pipe to which nobody writes"), "{}", out(&output));
    let output = vigie(&["run", "--config", &configuration], &[]);
    assert_eq!(code(&output), CONFIGURATION, "{}", String::from_utf8_lossy(&output.stderr));
}
