//! What the command suggests to type is safe: it changes nothing that the user did not name for vigie.

// Clippy knows only functions marked as tests.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

fn vigie(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_vigie")).args(arguments).output().unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// The mends of a check with these settings, run for a user who owns nothing.
fn mends(settings: &[&str]) -> Vec<String> {
    let mut arguments = vec!["check", "--json", "--config", "/dev/null", "--interface", "lo"];
    for setting in ["privilege.user=nobody", "metrics.listen="].iter().chain(settings) {
        arguments.extend(["--set", setting]);
    }
    let report: Value = serde_json::from_str(&out(&vigie(&arguments))).unwrap();
    let all = report["needs"].as_array().unwrap().iter().chain(report["configuration"].as_array().unwrap());
    all.map(|finding| finding["mend"].as_str().unwrap().to_owned()).filter(|mend| !mend.is_empty()).collect()
}

/// Words that change who owns a file or may use it, or run what another program prints.
const HARMFUL: [&str; 7] = ["chown ", "chgrp ", "chmod ", "rm -", "setfacl", "| sh", "usermod"];

fn assert_harmless(mend: &str) {
    assert!(HARMFUL.iter().all(|harmful| !mend.contains(harmful)), "{mend}");
    // A folder is made only where there is none.
    if let Some((_, command)) = mend.split_once("install -d ") {
        let folder = command.split_whitespace().last().unwrap().trim_matches('\'');
        assert!(!Path::new(folder).exists(), "{mend}");
    }
}

#[test]
fn no_folder_or_file_of_others_is_given_to_the_sensor() {
    let files =
        ["/eve.json", "/etc/eve.json", "/root/eve.json", "/var/log/eve.json", "/usr/bin/eve.json", "/etc/passwd"];
    for file in files {
        let mends = mends(&[&format!("events.file={file}")]);
        let mend =
            mends.iter().find(|mend| mend.contains("events.file")).unwrap_or_else(|| panic!("{file}: {mends:?}"));
        assert!(mend.contains("belongs to nobody") || mend.contains("a file"), "{mend}");
        mends.iter().for_each(|mend| assert_harmless(mend));
    }
    // A folder that does not exist harms nobody; its name is one word whatever is in it.
    let folder = tempfile::tempdir().unwrap();
    let odd = folder.path().join("a b; $(reboot)");
    let mends = mends(&[&format!("events.file={}", odd.join("eve.json").display())]);
    let expected = format!("install -d -o nobody -g nobody -m 0750 '{}'", odd.display());
    assert!(mends.contains(&expected), "{mends:?}");
}

#[test]
fn a_secret_of_others_is_copied_and_not_opened() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("web.yml");
    fs::write(&file, "").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mends = mends(&[&format!("metrics.listen={free}"), &format!("metrics.web_config={}", file.display())]);
    mends.iter().for_each(|mend| assert_harmless(mend));
    let copy = format!("install -D -g nobody -m 0640 {} /etc/vigie/web.yml", file.display());
    assert!(mends.iter().any(|mend| mend.ends_with(&copy)), "{mends:?}");
}

#[test]
fn commands_for_interfaces_are_for_those_that_were_named() {
    assert!(!out(&vigie(&["interfaces"])).contains("ethtool"));
    assert!(!out(&vigie(&["interfaces", "--json"])).contains("ethtool"));
    let output = vigie(&["interfaces", "no-such-tap"]);
    assert_eq!(output.status.code(), Some(69));
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(errors.starts_with("vigie: there is no interface \"no-such-tap\"; there are "), "{errors}");
    assert_eq!(vigie(&["interfaces", "--json", "lo"]).status.code(), Some(0));
    // What pipes commands into a shell names interfaces.
    for command in ["read", "run", "check", "explain", "signatures", "interfaces", "synth", "generate"] {
        for line in out(&vigie(&[command, "--help"])).lines().filter(|line| line.contains("| sudo sh")) {
            assert!(line.contains("eth1 eth2"), "{line}");
        }
    }
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        match path.extension() {
            _ if path.is_dir() => sources(&path, found),
            Some(extension) if extension == "rs" && !path.ends_with("tests.rs") => found.push(path),
            _ => {}
        }
    }
}

/// No message of any part does what the tests above look for in those that a check can bring out.
#[test]
fn no_message_suggests_what_harms() {
    let mut files = Vec::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for part in fs::read_dir(root).unwrap().flatten().filter(|entry| entry.file_name() != "tests") {
        if part.path().is_dir() {
            sources(&part.path(), &mut files);
        }
    }
    assert!(files.len() > 100, "{}", files.len());
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let text = text.split("#[cfg(test)]").next().unwrap();
        for line in text.lines().filter(|line| !line.trim_start().starts_with("//") && line.contains('"')) {
            assert!(HARMFUL.iter().all(|harmful| !line.contains(harmful)), "{}: {line}", file.display());
        }
    }
}

/// An unprivileged user learns that the check's answer is not about a start by himself.
#[test]
fn a_check_by_an_unprivileged_user_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let events = format!("events.file={}/eve.json", folder.path().display());
    let me = out(&Command::new("id").arg("-un").output().unwrap()).trim().to_owned();
    let user = format!("privilege.user={me}");
    let check = ["check", "--config", "/dev/null", "--interface", "lo", "--set", &events, "--set", "metrics.listen="];
    let unprivileged = ["--bounding-set=-all", "--inh-caps=-all", "--", env!("CARGO_BIN_EXE_vigie")];
    let mut command = Command::new("setpriv");
    if me != "root" {
        command = Command::new(env!("CARGO_BIN_EXE_vigie"));
    } else {
        command.args(unprivileged);
    }
    let Ok(output) = command.args(check).args(["--set", &user]).output() else {
        return vigie_skip::skipped("setpriv is not installed (Debian package util-linux)");
    };
    let text = out(&output);
    assert!(
        text.contains("privilege: warning: capture: unavailable: opening capture sockets needs CAP_NET_RAW"),
        "{text}"
    );
    assert!(text.ends_with(" warnings\n") || text.ends_with(" warning\n"), "{text}");
    assert!(
        text.lines().last().unwrap().starts_with("can run as the service or as root, but not as this user; "),
        "{text}"
    );
    assert_eq!(output.status.code(), Some(0));
}

/// The commit is there in a release build from a checkout only.
#[test]
fn the_version_tells_the_commit_if_it_is_known() {
    let text = out(&vigie(&["--version"]));
    let rest = text.trim_end().strip_prefix(concat!("vigie ", env!("CARGO_PKG_VERSION"))).unwrap();
    if !rest.is_empty() {
        let commit = rest.strip_prefix(" (").and_then(|rest| rest.strip_suffix(')')).unwrap();
        let commit = commit.strip_suffix("-dirty").unwrap_or(commit);
        assert!(commit.len() >= 12 && commit.bytes().all(|byte| byte.is_ascii_hexdigit()), "{text}");
    }
}
