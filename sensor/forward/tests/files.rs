//! Delivery to files, and what concerns every receiver: cursors, crashes, reloads, ends, errors.

// Clippy knows only functions marked as tests, which may panic.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use common::{HttpServer, Place, free_port, numbers, until, until_all};

fn file(place: &Place) -> String {
    format!("[[receiver]]\nname = \"file\"\nkind = \"file\"\npath = {:?}\n", place.path("eve.json"))
}

#[test]
fn every_line_arrives_once_and_as_it_is() {
    let place = Place::new();
    place.append(0..2_500);
    place.configure(&file(&place));
    let output = place.once();
    assert!(output.status.success(), "{output:?}");
    let journal = fs::read(place.path("journal/00000001.jsonl")).unwrap();
    assert_eq!(fs::read(place.path("eve.json")).unwrap(), journal);
    place.append(2_500..2_510);
    assert!(place.once().status.success());
    let found = numbers(&fs::read_to_string(place.path("eve.json")).unwrap());
    assert!(found.iter().copied().eq(0..2_510), "{} events", found.len());
}

#[test]
fn a_receiver_gets_only_what_it_asked_for() {
    let place = Place::new();
    let journal = "{\"event_type\":\"stats\",\"stats\":{\"uptime\":1}}\nno event\n{\"event_type\":\"alert\",\"alert\":{\"gid\":1}}\n";
    fs::write(place.path("journal/00000001.jsonl"), journal).unwrap();
    fs::write(place.path("journal/seals.jsonl"), "{\"seq\":0,\"sha256\":\"ab\"}\n").unwrap();
    place.configure(&(file(&place) + "events = [\"coverage\", \"seals\"]\n"));
    let output = place.once();
    assert!(output.status.success(), "{output:?}");
    let text = fs::read_to_string(place.path("eve.json")).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 2, "{text}");
    assert!(lines[0].contains("stats") && lines[1].contains("\"seal\":[\"{\\\"seq\\\":0"), "{text}");
    assert_eq!(fs::read_to_string(place.path("state/file.rejected.jsonl")).unwrap(), "no event\n");
    assert!(place.once().status.success());
    assert_eq!(fs::read_to_string(place.path("eve.json")).unwrap(), text, "nothing is sent twice");
}

#[test]
fn rotation_and_deletion_of_the_file_lose_nothing() {
    let place = Place::new();
    place.append(0..10);
    place.configure(&file(&place));
    let running = place.start();
    let eve = place.path("eve.json");
    until_all(&eve, 10);
    fs::rename(&eve, place.path("eve.json.1")).unwrap();
    running.signal("HUP");
    until("new file", || eve.exists().then_some(()));
    place.append(10..20);
    until("new events", || (numbers(&fs::read_to_string(&eve).ok()?).len() == 10).then_some(()));
    assert!(numbers(&fs::read_to_string(&eve).unwrap()).into_iter().eq(10..20));
    fs::remove_file(&eve).unwrap();
    until("new file", || eve.exists().then_some(()));
    place.append(20..30);
    until("new events", || (numbers(&fs::read_to_string(&eve).ok()?).len() == 10).then_some(()));
    assert!(running.end() < Duration::from_secs(10));
}

#[test]
fn a_torn_line_is_cut_and_comes_again() {
    let place = Place::new();
    place.append(0..3);
    place.configure(&file(&place));
    fs::write(place.path("eve.json"), "{\"whole\":1}\n{\"torn").unwrap();
    assert!(place.once().status.success());
    let text = fs::read_to_string(place.path("eve.json")).unwrap();
    assert!(text.starts_with("{\"whole\":1}\n{\"timestamp\""), "{text}");
    assert!(numbers(&text).into_iter().eq(0..3));
}

#[test]
fn kills_make_duplicates_and_no_holes() {
    let place = Place::new();
    place.configure(&file(&place));
    let mut written = 0;
    for _ in 0..5 {
        let running = place.start();
        for _ in 0..20 {
            place.append(written..written + 100);
            written += 100;
            std::thread::sleep(Duration::from_millis(5));
        }
        running.kill();
    }
    let running = place.start();
    let found = until_all(&place.path("eve.json"), written);
    running.end();
    // In order, apart from where a kill made it begin again.
    let steps_back = found.windows(2).filter(|pair| pair[1] <= pair[0]).count();
    assert!(steps_back <= 5, "{steps_back}");
}

#[test]
fn a_receiver_that_fails_does_not_disturb_another() {
    let place = Place::new();
    place.append(0..100);
    let nobody = format!(
        "[[receiver]]\nname = \"away\"\nkind = \"webhook\"\nurl = \"http://127.0.0.1:{}/\"\n\
         [[receiver]]\nname = \"unknown\"\nkind = \"syslog\"\nserver = \"no-such-host.invalid:514\"\ntransport = \"tcp\"\n",
        free_port()
    );
    place.configure(&(nobody + &file(&place)));
    let running = place.start();
    until_all(&place.path("eve.json"), 100);
    place.until_log("receiver away: 127.0.0.1:");
    place.until_log("connection refused; nothing listens there");
    place.until_log("receiver unknown: the host no-such-host.invalid is unknown");
    assert!(running.end() < Duration::from_secs(10));
    assert_eq!(place.log().matches("receiver away: ").count(), 1, "each fault is told once: {}", place.log());
}

#[test]
fn a_journal_that_comes_later_is_read_then() {
    let place = Place::new();
    fs::remove_dir(place.path("journal")).unwrap();
    place.configure(&file(&place));
    let check = place.check();
    let told = String::from_utf8(check.stdout).unwrap();
    assert!(told.contains("journal: there is no journal at ") && told.contains("does vigie run here"), "{told}");
    assert_eq!(check.status.code(), Some(69));
    let running = place.start();
    place.until_log("there is no journal at");
    fs::create_dir(place.path("journal")).unwrap();
    place.append(0..10);
    until_all(&place.path("eve.json"), 10);
    place.until_log("receiver file: works again");
    running.end();
}

#[test]
fn a_folder_that_cannot_be_written_is_told_and_mended_without_a_restart() {
    if !common::has("setpriv", "util-linux") {
        return;
    }
    let place = Place::new();
    place.append(0..10);
    fs::create_dir(place.path("out")).unwrap();
    let out = place.path("out/eve.json");
    place.configure(&format!("[[receiver]]\nname = \"file\"\nkind = \"file\"\npath = {out:?}\n"));
    for (name, mode) in [(".", 0o755), ("state", 0o777), ("out", 0o555)] {
        fs::set_permissions(place.path(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    let log = fs::File::create(place.path("log")).unwrap();
    let mut command = std::process::Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups", common::PROGRAM, "--config"]);
    let probe = std::process::Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", common::PROGRAM, "--version"])
        .output();
    if !probe.is_ok_and(|output| output.status.success()) {
        vigie_skip::skipped(
            "another user cannot run the program; run the tests as root, from a folder that all may read",
        );
        return;
    }
    let running = common::Running(command.arg(place.path("forward.toml")).stderr(log).spawn().unwrap());
    place.until_log("permission denied; give this program's user the right to write there");
    fs::set_permissions(place.path("out"), fs::Permissions::from_mode(0o777)).unwrap();
    until_all(&out, 10);
    running.end();
}

#[test]
fn a_reload_takes_receivers_up_and_a_wrong_one_does_not() {
    let place = Place::new();
    place.append(0..10);
    place.configure(&file(&place));
    let running = place.start();
    until_all(&place.path("eve.json"), 10);
    place.configure("[[receiver]]\nname = \"a\"\n");
    running.signal("HUP");
    place.until_log("forward.toml:11: receiver.kind: kind is missing");
    place.append(10..20);
    until_all(&place.path("eve.json"), 20);
    let second = format!("[[receiver]]\nname = \"second\"\nkind = \"file\"\npath = {:?}\n", place.path("second.json"));
    place.configure(&(file(&place) + &second));
    running.signal("HUP");
    until_all(&place.path("second.json"), 20);
    assert!(numbers(&fs::read_to_string(place.path("eve.json")).unwrap()).into_iter().eq(0..20));
    running.end();
}

#[test]
fn the_end_comes_within_ten_seconds_while_a_receiver_hangs() {
    let place = Place::new();
    place.append(0..10);
    let server = HttpServer::start(|_| {
        std::thread::sleep(Duration::from_secs(30));
        (200, String::new())
    });
    place.configure(&format!(
        "[[receiver]]\nname = \"slow\"\nkind = \"webhook\"\nurl = \"http://{}/\"\n",
        server.address
    ));
    let running = place.start();
    std::thread::sleep(Duration::from_millis(700));
    let took = running.end();
    assert!(took < Duration::from_secs(10), "{took:?}");
}

#[test]
fn metrics_are_there_from_the_start() {
    let place = Place::new();
    place.append(0..10);
    place.configure(&file(&place));
    let port = free_port();
    let address = format!("metrics.listen=127.0.0.1:{port}");
    let log = fs::File::create(place.path("log")).unwrap();
    let running = common::Running(place.command().args(["--set", &address]).stderr(log).spawn().unwrap());
    common::until_listens(port);
    let get = |path: &str| {
        use std::io::{Read, Write};
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    };
    until("events in the metrics", || {
        get("/metrics").contains("vigie_forward_events_total{receiver=\"file\"} 10").then_some(())
    });
    until("no lag", || get("/metrics").contains("vigie_forward_lag_events{receiver=\"file\"} 0").then_some(()));
    let text = get("/metrics");
    for series in [
        "vigie_forward_errors_total{receiver=\"file\",kind=\"unknown_host\"} 0",
        "vigie_forward_events_set_aside_total{receiver=\"file\",by=\"receiver\"} 0",
        "vigie_forward_lost_segments_total{receiver=\"file\"} 0",
        "vigie_forward_lag_seconds{receiver=\"file\"} 0",
        "vigie_forward_failing{receiver=\"file\"} 0",
    ] {
        assert!(text.lines().any(|line| line == series), "no {series} in {text}");
    }
    assert!(get("/readyz").starts_with("HTTP/1.1 200"));
    running.end();
}

#[test]
fn a_clock_that_jumps_stops_nothing() {
    const LIBRARIES: [&str; 2] = ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu"];
    let libraries = LIBRARIES.map(|folder| format!("{folder}/faketime/libfaketime.so.1"));
    let Some(library) = libraries.iter().find(|path| Path::new(path).exists()) else {
        vigie_skip::skipped("libfaketime is not installed; install the package libfaketime");
        return;
    };
    let place = Place::new();
    place.configure(&file(&place));
    let clock = place.path("clock");
    fs::write(&clock, "+0").unwrap();
    let log = fs::File::create(place.path("log")).unwrap();
    let mut command = place.command();
    command.env("LD_PRELOAD", library).env("FAKETIME_TIMESTAMP_FILE", &clock).env("FAKETIME_NO_CACHE", "1");
    command.env("FAKETIME_DONT_FAKE_MONOTONIC", "1").env("DONT_FAKE_MONOTONIC", "1");
    let running = common::Running(command.stderr(log).spawn().unwrap());
    for (jump, count) in [("+0", 100), ("-3650d", 200), ("+3650d", 300), ("+0", 400)] {
        fs::write(&clock, jump).unwrap();
        place.append(count - 100..count);
        until_all(&place.path("eve.json"), count);
    }
    running.end();
    let found = numbers(&fs::read_to_string(place.path("eve.json")).unwrap());
    assert!(found.into_iter().eq(0..400), "{}", place.log());
}

#[test]
fn a_second_program_with_the_same_cursors_is_refused() {
    let place = Place::new();
    place.append(0..10);
    place.configure(&file(&place));
    let running = place.start();
    until_all(&place.path("eve.json"), 10);
    let second = place.once();
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert_eq!(second.status.code(), Some(69), "{said}");
    assert!(said.contains("another vigie-forward uses this folder (state.folder); stop it first"), "{said}");
    assert!(place.check().status.success(), "a check changes nothing, and disturbs nobody");
    running.end();
    assert!(place.once().status.success());
}

#[test]
fn a_journal_that_somebody_deletes_and_a_seal_that_is_no_text_stop_nothing() {
    let place = Place::new();
    place.append(0..100);
    place.configure(&(file(&place) + "events = [\"incidents\", \"seals\"]\n"));
    let found = || numbers(&fs::read_to_string(place.path("eve.json")).unwrap_or_default());
    let running = place.start();
    until("the first events", || (found().len() == 100).then_some(()));
    fs::remove_dir_all(place.path("journal")).unwrap();
    fs::create_dir(place.path("journal")).unwrap();
    fs::write(place.path("journal/seals.jsonl"), b"\xff\xfe\n").unwrap();
    place.append(200..300);
    until("the events of the new journal", || (found().len() == 200).then_some(()));
    running.end();
    assert!(found().into_iter().eq((0..100).chain(200..300)));
    assert!(place.log().contains("the journal does not have the event at the cursor"), "{}", place.log());
    assert_eq!(fs::read(place.path("state/file.rejected.jsonl")).unwrap(), b"\xff\xfe\n");
}
