//! Delivery to the real systemd-journald, in a mount namespace of its own.
// Clippy knows only functions marked as tests, which may panic.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use std::path::Path;
use std::process::{Command, Stdio};

use common::{Place, Running, numbers, until};

const JOURNALD: &str = "/lib/systemd/systemd-journald";

/// A journald that keeps everything under a /run of its own.
fn journald() -> Option<Running> {
    if !Path::new(JOURNALD).exists() || !Path::new("/usr/bin/journalctl").exists() {
        vigie_skip::skipped("systemd-journald is not installed; install the package systemd");
        return None;
    }
    let script =
        format!("mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/journal /run/log/journal && exec {JOURNALD}");
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", &script]).stdout(Stdio::null()).stderr(Stdio::null());
    let mut running = Running(command.spawn().unwrap());
    let socket = format!("/proc/{}/root/run/systemd/journal/socket", running.0.id());
    let is_there = until("journald, or its end", || {
        let is_there = Path::new(&socket).exists() && !is_ours(&running);
        (is_there || running.0.try_wait().unwrap().is_some()).then_some(is_there)
    });
    if !is_there {
        vigie_skip::skipped("journald cannot have a mount namespace here; run the tests as root");
        return None;
    }
    Some(running)
}

/// Whether the process still sees the /run of this one.
fn is_ours(running: &Running) -> bool {
    let namespace = |process: &str| std::fs::read_link(format!("/proc/{process}/ns/mnt")).ok();
    namespace("self") == namespace(&running.0.id().to_string())
}

#[test]
fn journald_holds_every_event_and_its_end_is_told() {
    let Some(running) = journald() else { return };
    let root = format!("/proc/{}/root/run", running.0.id());
    let place = Place::new();
    place.append(0..300);
    let receiver =
        |socket: &str| format!("[[receiver]]\nname = \"journald\"\nkind = \"journald\"\nsocket = \"{socket}\"\n");
    place.configure(&receiver("/nowhere/socket"));
    let check = place.check();
    assert!(String::from_utf8_lossy(&check.stdout).contains("there is no such socket"), "{check:?}");
    place.configure(&receiver(&format!("{root}/systemd/journal/socket")));
    let output = place.once();
    assert!(output.status.success(), "{output:?}");
    let journal = until("all events", || {
        let mut command = Command::new("journalctl");
        command.args(["--no-pager", "-o", "json", "-D", &format!("{root}/log/journal"), "SYSLOG_IDENTIFIER=vigie"]);
        let text = String::from_utf8(command.output().unwrap().stdout).unwrap();
        (text.lines().count() >= 300).then_some(text)
    });
    let mut found = Vec::new();
    for entry in journal.lines() {
        assert!(entry.contains("\"PRIORITY\":\"4\"") && entry.contains("\"VIGIE_CLASS\":\"incident\""), "{entry}");
        found.extend(numbers(&entry.replace("\\\"", "\"")));
    }
    assert!(found.into_iter().eq(0..300));
    running.kill();
    place.append(300..310);
    let output = place.once();
    assert!(String::from_utf8_lossy(&output.stderr).contains("receiver journald: "), "{output:?}");
}
