//! What is deployed with the console fits it: its units, its user, and what it is linked with.

// Clippy knows only functions marked as tests.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn deployed(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy").join(name)
}

#[test]
fn the_unit_exposes_next_to_nothing() {
    let unit = deployed("systemd/vigie-console.service");
    let mut analyse = Command::new("systemd-analyze");
    // Tenths: 0.3 at most.
    analyse.args(["security", "--offline=true", "--no-pager", "--threshold=3"]).arg(&unit);
    match analyse.output() {
        Ok(output) if !String::from_utf8_lossy(&output.stderr).contains("unrecognized") => {
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            let last = said.lines().last().unwrap_or_default();
            assert!(output.status.success(), "{last}{}", String::from_utf8_lossy(&output.stderr));
        }
        _ => vigie_skip::skipped("systemd-analyze is missing; apt-get install systemd"),
    }
}

#[test]
fn unit_socket_and_user_belong_together() {
    let read = |name: &str| fs::read_to_string(deployed(name)).unwrap();
    let (unit, socket, users) = (
        read("systemd/vigie-console.service"),
        read("systemd/vigie-console.socket"),
        read("sysusers.d/vigie-console.conf"),
    );
    let setting = |name: &str| unit.lines().find_map(|line| line.strip_prefix(name)).unwrap().to_owned();
    assert_eq!(setting("ExecStart="), "/usr/bin/vigie-console --config /etc/vigie-console/console.toml");
    assert!(users.contains(&format!("u {} ", setting("User="))) && users.contains("m vigie-console vigie-journal"));
    assert!(socket.contains(&format!("SocketGroup={}", setting("Group="))));
    assert_eq!(setting("StateDirectory="), "vigie-console");
}

#[test]
fn the_console_is_linked_with_no_parser_of_packets() {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let mut tree = Command::new(cargo);
    tree.args(["tree", "-p", "vigie-console", "-e", "normal", "--prefix", "none", "--offline", "--locked"]);
    let output = tree.current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    let names = String::from_utf8(output.stdout).unwrap();
    assert!(names.contains("vigie-journal"), "{names}{}", String::from_utf8_lossy(&output.stderr));
    for parser in ["vigie-capture", "vigie-decode", "vigie-flow", "vigie-handshake", "openssl", "aws-lc"] {
        assert!(!names.contains(parser), "{parser}");
    }
}
