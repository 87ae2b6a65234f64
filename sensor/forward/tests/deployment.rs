//! What is shipped: the unit exposes little, and its file of receivers is valid.
// Clippy knows only functions marked as tests, which may panic.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::path::Path;
use std::process::Command;

/// Highest exposure of the unit by `systemd-analyze security`, in tenths.
const EXPOSURE_MAX: &str = "--threshold=10";

#[test]
fn the_unit_exposes_little() {
    let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/systemd/vigie-forward.service");
    let mut command = Command::new("systemd-analyze");
    let output = command.args(["security", "--offline=yes", "--no-pager", EXPOSURE_MAX]).arg(unit).output();
    let Ok(output) = output else {
        vigie_skip::skipped("systemd-analyze is not installed; install the package systemd");
        return;
    };
    let told = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    if told.contains("unrecognized option") {
        vigie_skip::skipped("systemd-analyze knows no --offline; install systemd 250 or newer");
        return;
    }
    assert!(output.status.success() && told.contains("Overall exposure level"), "{told}");
}

/// What the program needs of the system, written to the unit and to the list of users.
#[test]
fn the_unit_runs_the_program_as_its_user() {
    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy");
    let unit = std::fs::read_to_string(deploy.join("systemd/vigie-forward.service")).unwrap();
    let users = std::fs::read_to_string(deploy.join("sysusers.d/vigie-forward.conf")).unwrap();
    for line in ["User=vigie-forward", "StateDirectory=vigie-forward", "CapabilityBoundingSet=", "ProtectSystem=strict"]
    {
        assert!(unit.lines().any(|known| known == line), "{line}");
    }
    assert!(users.contains("\nu vigie-forward ") && users.contains("\nm vigie-forward vigie-journal"), "{users}");
}

#[test]
fn the_shipped_file_is_the_one_that_the_program_prints() {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/forward.toml");
    let shipped = std::fs::read_to_string(shipped).unwrap();
    let mend = "vigie-forward --print-config > sensor/deploy/forward.toml";
    let program = env!("CARGO_BIN_EXE_vigie-forward");
    let printed = Command::new(program).args(["generate", "config"]).output().unwrap();
    assert_eq!(String::from_utf8(printed.stdout).unwrap(), shipped);
    assert_eq!(Command::new(program).arg("frobnicate").output().unwrap().status.code(), Some(64));
    assert!(shipped == vigie_forward::program::default_file(), "it differs; {mend}");
}
