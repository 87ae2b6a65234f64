//! The command as people and scripts meet it: what is written where, and the exit codes.

// Clippy knows only functions marked as tests.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

const SUCCESS: i32 = 0;
const FOUND: i32 = 1;
const USAGE: i32 = 64;
const BAD_DATA: i32 = 65;
const UNAVAILABLE: i32 = 69;
const CONFIGURATION: i32 = 78;

fn vigie(arguments: &[&str]) -> Output {
    fed(arguments, b"")
}

/// Runs the command with this on its standard input.
fn fed(arguments: &[&str], input: &[u8]) -> Output {
    let mut child = command(arguments).stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let feeding = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().unwrap();
    // A command that needs no input may be gone before it was offered.
    let _ = feeding.join().unwrap();
    output
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vigie"));
    command.args(arguments).env_remove("VIGIE_SENSOR_NAME").stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn captures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/captures")
}

fn capture(name: &str) -> String {
    captures().join(name).to_str().unwrap().to_owned()
}

fn expected(name: &str) -> String {
    fs::read_to_string(captures().join("expected").join(format!("{name}.jsonl"))).unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().expect("the command ends by itself")
}

/// A failure is one line that begins with the command's name, and nothing on the standard output.
fn assert_fails(output: &Output, exit: i32, says: &str) {
    let line = err(output);
    assert_eq!(code(output), exit, "{line}");
    assert!(line.starts_with("vigie: ") && line.ends_with('\n') && line.lines().count() == 1, "{line:?}");
    assert!(line.contains(says), "{line:?} does not say {says:?}");
    assert_eq!(out(output), "");
}

fn scratch() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

/// A file of `bytes` in `folder`.
fn file(folder: &tempfile::TempDir, name: &str, bytes: &[u8]) -> String {
    let path = folder.path().join(name);
    fs::write(&path, bytes).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn json_is_the_events_and_nothing_else() {
    for name in ["browsing.pcapng", "curl.pcap", "dns.pcap", "nosni.pcap", "proxies.pcap", "quic.pcap"] {
        let output = vigie(&["read", "--json", "--events", "sighting", &capture(name)]);
        assert_eq!((code(&output), err(&output).as_str()), (SUCCESS, ""), "{name}");
        assert_eq!(out(&output), expected(name), "{name}");
    }
}

#[test]
fn the_summary_is_for_people() {
    let output = vigie(&["read", &capture("browsing.pcapng")]);
    assert_eq!((code(&output), err(&output).as_str()), (SUCCESS, ""));
    let text = out(&output);
    for word in ["TikTok", "app", "10.66.0.11", "web", "10.66.0.12"] {
        assert!(text.contains(word), "no {word} in {text}");
    }
    // Nobody who read a page that embeds the service, or did nothing; no harmless name; no colour without a terminal.
    for word in ["10.66.0.13", "10.66.0.14", "example.org", "mytiktok", "\u{1b}"] {
        assert!(!text.contains(word), "{word} in {text}");
    }
    assert_eq!(out(&vigie(&["read", "--quiet", &capture("browsing.pcapng")])), "");
}

#[test]
fn alerts_fail_only_on_demand() {
    let (loud, calm) = (capture("curl.pcap"), capture("dns.pcap"));
    assert_eq!(code(&vigie(&["read", "--quiet", &loud])), SUCCESS);
    assert_eq!(code(&vigie(&["read", "--quiet", "--fail-on-alert", &loud])), FOUND);
    assert_eq!(code(&vigie(&["read", "--quiet", "--fail-on-alert", &calm])), SUCCESS);
    assert_eq!(code(&vigie(&["read", "--json", "--events", "sighting", "--fail-on-alert", &calm, &loud])), FOUND);
}

#[test]
fn events_are_chosen_by_type() {
    let types = |events: &str| -> Vec<String> {
        let output = vigie(&["read", "--json", "--events", events, &capture("quic.pcap"), &capture("openssl.pcap")]);
        assert_eq!(code(&output), SUCCESS, "{}", err(&output));
        let mut types: Vec<String> = out(&output)
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap()["event_type"].as_str().unwrap().to_owned())
            .collect();
        types.sort();
        types.dedup();
        types
    };
    assert_eq!(types("alert"), ["alert"]);
    assert_eq!(types("tls"), ["tls"]);
    assert_eq!(types("quic,dns"), ["dns", "quic"]);
    assert_eq!(types("alert,tls,quic,dns,flow"), ["alert", "dns", "flow", "quic", "tls"]);
    assert_fails(&vigie(&["read", "--events", "smtp", &capture("quic.pcap")]), USAGE, "smtp");
}

#[test]
fn the_standard_input_may_be_a_capture() {
    let bytes = fs::read(capture("curl.pcap")).unwrap();
    for bytes in [bytes.clone(), gzip(&bytes), zstd::encode_all(&bytes[..], 3).unwrap()] {
        let output = fed(&["read", "--json", "--events", "sighting", "-"], &bytes);
        assert_eq!((code(&output), err(&output).as_str()), (SUCCESS, ""));
        assert_eq!(out(&output), expected("curl.pcap"));
    }
    assert_fails(
        &fed(&["read", "--json", "--events", "sighting", "-"], b"neither pcap nor pcapng"),
        BAD_DATA,
        "not a pcap",
    );
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn compressed_captures_are_told_by_their_contents() {
    let folder = scratch();
    for name in ["quic.pcap", "browsing.pcapng"] {
        let bytes = fs::read(capture(name)).unwrap();
        let compressed = [
            ("a.gz", gzip(&bytes)),
            ("a.zst", zstd::encode_all(&bytes[..], 3).unwrap()),
            ("misnamed.pcap", gzip(&bytes)),
        ];
        for (path, bytes) in compressed {
            let output = vigie(&["read", "--json", "--events", "sighting", &file(&folder, path, &bytes)]);
            assert_eq!((code(&output), err(&output).as_str()), (SUCCESS, ""), "{path}");
            assert_eq!(out(&output), expected(name), "{path}");
        }
    }
}

#[test]
fn events_may_go_to_a_file_which_is_appended_to() {
    let folder = scratch();
    let target = folder.path().join("events.json");
    for _ in 0..2 {
        let output =
            vigie(&["read", "--events", "sighting", "--output", target.to_str().unwrap(), &capture("curl.pcap")]);
        assert_eq!((code(&output), out(&output).as_str()), (SUCCESS, ""), "{}", err(&output));
    }
    assert_eq!(fs::read_to_string(&target).unwrap(), expected("curl.pcap").repeat(2));
    let nowhere = folder.path().join("no/such/folder/events.json");
    assert_fails(&vigie(&["read", "-o", nowhere.to_str().unwrap(), &capture("curl.pcap")]), UNAVAILABLE, "no/such");
}

#[test]
fn the_sensors_name_stands_in_events() {
    let by_option = vigie(&["read", "--json", "--events", "sighting", "--sensor-name", "tap 1", &capture("curl.pcap")]);
    let by_environment = command(&["read", "--json", "--events", "sighting", &capture("curl.pcap")])
        .env("VIGIE_SENSOR_NAME", "tap 1")
        .output()
        .unwrap();
    assert_eq!(out(&by_option), out(&by_environment));
    assert!(out(&by_option).lines().all(|line| line.contains(r#""host":"tap 1""#)));
}

#[test]
fn a_filter_leaves_the_rest_out() {
    let output =
        vigie(&["read", "--json", "--events", "sighting", "--bpf", "host 10.66.0.13", &capture("browsing.pcapng")]);
    assert_eq!(code(&output), SUCCESS, "{}", err(&output));
    let lines = out(&output);
    assert!(lines.contains("analytics.tiktok.com"));
    assert!(lines.lines().all(|line| line.contains(r#""src_ip":"10.66.0.13""#)), "{lines}");
    assert_fails(&vigie(&["read", "--bpf", "host and", &capture("curl.pcap")]), USAGE, "host and");
}

#[test]
fn what_cannot_be_read_is_told_in_one_line() {
    let folder = scratch();
    let missing = folder.path().join("missing.pcap");
    assert_fails(&vigie(&["read", missing.to_str().unwrap()]), UNAVAILABLE, "missing.pcap");
    assert_fails(&vigie(&["read", folder.path().to_str().unwrap()]), UNAVAILABLE, "directory");
    assert_fails(&vigie(&["read", "/nowhere/*.pcap"]), UNAVAILABLE, "*.pcap");
    assert_fails(&vigie(&["read", &file(&folder, "text.pcap", b"This is no capture at all.")]), BAD_DATA, "text.pcap");
    assert_fails(&vigie(&["read", &file(&folder, "empty.pcap", b"")]), BAD_DATA, "empty.pcap");
    // One bad file among good ones: nothing is half done.
    assert_fails(
        &vigie(&["read", "--json", "--events", "sighting", &capture("curl.pcap"), missing.to_str().unwrap()]),
        UNAVAILABLE,
        "missing",
    );
}

/// After a failure nothing may sound as if all had been looked at.
fn assert_no_all_clear(text: &str) {
    assert!(!text.contains("No banned or watched service"), "{text}");
    assert!(text.contains("Not everything was read") || text.contains("Nothing was read"), "{text}");
}

#[test]
fn one_bad_file_among_good_ones_is_told_and_the_good_ones_are_read() {
    let folder = scratch();
    let bad = file(&folder, "notes.pcap", b"This is no capture at all.");
    let output = vigie(&["read", "--json", "--events", "sighting", &bad, &capture("curl.pcap")]);
    assert_eq!((code(&output), out(&output)), (BAD_DATA, expected("curl.pcap")));
    let lines = err(&output);
    assert!(lines.contains("1 of 2 files were not read") && lines.contains("notes.pcap"), "{lines}");
    let output = vigie(&["read", &bad, &capture("dns.pcap"), "--bpf", "port 9"]);
    assert_eq!(code(&output), BAD_DATA);
    let text = out(&output);
    assert_no_all_clear(&text);
    assert!(text.contains("notes.pcap: not a pcap or pcapng capture"), "{text}");
}

#[test]
fn damage_within_a_capture_is_no_all_clear() {
    let folder = scratch();
    let mut bytes = fs::read(capture("dns.pcap")).unwrap();
    bytes.truncate(24);
    bytes.extend([1, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff, 0x7f, 0, 0, 0, 0]);
    let damaged = file(&folder, "damaged.pcap", &bytes);
    let text = out(&vigie(&["read", &damaged]));
    assert_no_all_clear(&text);
    assert!(text.contains("damaged.pcap"), "{text}");
    for fail in ["--fail-on-alert", "--fail-on-incident"] {
        let output = vigie(&["read", "--quiet", fail, &damaged]);
        assert_fails(&output, BAD_DATA, "1 of 1 files are damaged");
    }
    assert_eq!(code(&vigie(&["read", "--quiet", "--fail-on-alert", &damaged, &capture("curl.pcap")])), FOUND);
}

#[test]
fn a_directory_gives_the_captures_in_it() {
    let folder = scratch();
    fs::copy(capture("quic.pcap"), folder.path().join("b.pcap")).unwrap();
    fs::copy(capture("curl.pcap"), folder.path().join("a.pcap")).unwrap();
    file(&folder, "notes.txt", b"This is no capture at all.");
    let output = vigie(&["read", "--json", "--events", "sighting", folder.path().to_str().unwrap()]);
    let lines = err(&output);
    assert_eq!(code(&output), SUCCESS, "{lines}");
    assert_eq!(
        out(&output),
        out(&vigie(&["read", "--json", "--events", "sighting", &capture("curl.pcap"), &capture("quic.pcap")]))
    );
    assert!(lines.lines().count() == 1 && lines.contains("notes.txt"), "{lines}");
}

#[test]
fn more_files_at_one_time_than_may_be_open() {
    let folder = scratch();
    for number in 0..1100 {
        fs::hard_link(capture("dns.pcap"), folder.path().join(format!("{number}.pcap")))
            .or_else(|_| fs::copy(capture("dns.pcap"), folder.path().join(format!("{number}.pcap"))).map(drop))
            .unwrap();
    }
    let script = "ulimit -n 1024; exec \"$0\" read \"$1\"";
    let output =
        Command::new("sh").args(["-c", script, env!("CARGO_BIN_EXE_vigie")]).arg(folder.path()).output().unwrap();
    let (text, lines) = (out(&output), err(&output));
    assert_eq!(code(&output), SUCCESS, "{lines}{text}");
    assert!(!text.contains("Not read") && !text.contains("Warnings"), "{text}");
    let packets = |text: &str| {
        let line = text.lines().nth(2).unwrap();
        line.split(' ').next().unwrap().replace(|c: char| !c.is_ascii_digit(), "").parse::<u64>().unwrap()
    };
    assert_eq!(packets(&text), 1100 * packets(&out(&vigie(&["read", &capture("dns.pcap")]))));
}

#[test]
fn an_interrupt_prints_what_was_seen_so_far() {
    let mut child =
        command(&["read", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(&fs::read(capture("curl.pcap")).unwrap()).unwrap();
    // The pipe stays open: without the interrupt the command would wait for more.
    std::thread::sleep(std::time::Duration::from_millis(500));
    let killed = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    let output = child.wait_with_output().unwrap();
    drop(input);
    let text = out(&output);
    assert_eq!(code(&output), 130, "{text}{}", err(&output));
    assert!(text.contains("CapCut") && text.contains("interrupted"), "{text}");
}

#[test]
fn an_unknown_link_type_is_told_in_one_line() {
    let folder = scratch();
    let mut bytes = fs::read(capture("curl.pcap")).unwrap();
    bytes[20..24].copy_from_slice(&147_u32.to_le_bytes());
    let path = file(&folder, "private.pcap", &bytes);
    assert_fails(&vigie(&["read", "--json", "--events", "sighting", &path]), BAD_DATA, "link type 147");
}

#[test]
fn a_capture_cut_in_its_last_packet_is_read_as_far_as_it_goes() {
    let folder = scratch();
    for name in ["curl.pcap", "browsing.pcapng"] {
        let bytes = fs::read(capture(name)).unwrap();
        let path = file(&folder, name, &bytes[..bytes.len() - 5]);
        let output = vigie(&["read", "--json", "--events", "sighting", &path]);
        assert_eq!(code(&output), SUCCESS, "{name}");
        assert_eq!(out(&output), expected(name), "{name}");
        let warning = err(&output);
        assert!(warning.starts_with("vigie: ") && warning.lines().count() == 1, "{warning:?}");
        assert!(warning.contains(name) && warning.contains("at byte"), "{warning:?}");
        assert_eq!(err(&vigie(&["read", "--json", "--events", "sighting", "--quiet", &path])), "", "{name}");
        assert!(out(&vigie(&["read", &path])).contains("at byte"), "{name}: the summary tells it too");
    }
}

#[test]
fn any_number_of_workers_and_any_order_of_files() {
    let (one, two) = (capture("curl.pcap"), capture("quic.pcap"));
    let alone = out(&vigie(&["read", "--json", "--events", "sighting", &one, &two]));
    assert_eq!(alone.lines().count(), expected("curl.pcap").lines().count() + expected("quic.pcap").lines().count());
    for arguments in [&[&one, &two, "--workers=3"], &[&two, &one, "--workers=1"], &[&two, &one, "--workers=2"]] {
        let arguments: Vec<&str> =
            ["read", "--json", "--events", "sighting"].into_iter().chain(arguments.iter().copied()).collect();
        assert_eq!(out(&vigie(&arguments)), alone, "{arguments:?}");
    }
}

#[test]
fn many_blocks_by_many_workers() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    // The first two are of the same time, and so merged frame by frame.
    for (name, seed, packets) in [("a", "1", "30000"), ("b", "2", "20000"), ("c", "1", "60000")] {
        let made =
            vigie(&["synth", "--packets", packets, "--seed", seed, "--profile", "handshakes", "-o", &path(name)]);
        assert_eq!(code(&made), SUCCESS, "{}", err(&made));
    }
    for captures in [vec![path("c")], vec![path("a"), path("b")]] {
        let read = |workers: &str| {
            let mut arguments = vec!["read", "--json", "--events", "alert,tls,quic,dns,flow", "--workers", workers];
            arguments.extend(captures.iter().map(String::as_str));
            out(&vigie(&arguments))
        };
        let alone = read("1");
        assert!(alone.lines().count() > 5_000, "{}", alone.lines().count());
        for workers in ["2", "3", "8"] {
            assert!(read(workers) == alone, "{captures:?} by {workers}");
        }
    }
    let bytes = std::fs::read(path("c")).unwrap();
    let piped = |workers| out(&fed(&["read", "--json", "--events", "sighting", "--workers", workers, "-"], &bytes));
    assert_eq!(piped("3"), piped("1"));
}

#[test]
fn explain_answers_in_json_one_object_a_line() {
    let output = vigie(&["explain", "--json", "tiktok.com", "api16-normal-no1a.tiktokv.eu", "mytiktok.com"]);
    assert_eq!((code(&output), err(&output).as_str()), (SUCCESS, ""));
    let answers: Vec<Value> = out(&output).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(answers.len(), 3);
    assert_eq!(answers[0]["query"], "tiktok.com");
    assert_eq!(answers[0]["service"], "tiktok");
    assert_eq!(answers[1]["verdict"], "app");
    assert!(answers[2]["service"].is_null(), "{}", answers[2]);
}

#[test]
fn explain_takes_what_analysts_paste() {
    let text = out(&vigie(&["explain", "hxxps://www[.]tiktok[.]com/@user?a=b", "*.tiktokv.com:443"]));
    assert!(text.contains("Looked up as www.tiktok.com.") && text.contains("Looked up as tiktokv.com."), "{text}");
    let text = out(&vigie(&["explain", "www.tik\u{442}\u{43e}\u{43a}.com"]));
    assert!(text.contains("looks like tiktok.com, but has the letters \u{442} (U+0442)"), "{text}");
    let text = out(&vigie(&["explain", "tiktok"]));
    assert!(text.contains("TikTok is a service: key tiktok, owner ByteDance (CN)"), "{text}");
    let text = out(&vigie(&["explain", "T13D1516H2_8DAAF6152771_E5627EFA2AB1", "71.18.4.10:443"]));
    assert!(text.contains("(fingerprint t13d1516h2_8daaf6152771_e5627efa2ab1)"), "{text}");
    assert!(text.contains("Looked up as 71.18.4.10."), "{text}");
    // The same as a terminal or a log shows it.
    let text = out(&vigie(&["explain", "www.xn--tik-eedtx.com", "tiktokk.com", "https://"]));
    assert!(text.contains("looks like tiktok.com, but has the letters \u{442} (U+0442)"), "{text}");
    assert!(text.contains("Near miss: TikTok (suffix tiktok.com)") && !text.contains("Looked up as ."), "{text}");
    let json = out(&vigie(&["explain", "--json", "*.tiktokv.com", "mytiktok.com"]));
    let answers: Vec<Value> = json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(!answers[0]["sources"].as_array().unwrap().is_empty() && answers[0]["note"].is_string(), "{json}");
    assert_eq!(answers[1]["near"][0]["rule"], "tiktok.com", "{json}");
}

#[test]
fn time_that_goes_back_is_told() {
    let folder = scratch();
    let mut bytes = fs::read(capture("curl.pcap")).unwrap();
    // The second of the second record: after the file's header, and the first record.
    let second = 24 + 16 + u32::from_le_bytes(bytes[32..36].try_into().unwrap()) as usize;
    let seconds = u32::from_le_bytes(bytes[second..second + 4].try_into().unwrap()) - 7_200;
    bytes[second..second + 4].copy_from_slice(&seconds.to_le_bytes());
    let path = file(&folder, "back.pcap", &bytes);
    let output = vigie(&["read", "--json", &path]);
    assert_eq!(code(&output), SUCCESS);
    assert!(
        err(&output).contains("back.pcap: at byte ") && err(&output).contains("time goes back: 1 frame is earlier")
    );
    assert!(out(&vigie(&["read", &path])).contains("time goes back"), "the summary tells it too");
}

#[test]
fn signatures_that_say_nothing_are_told() {
    let empty = scratch();
    let path = empty.path().to_str().unwrap();
    let output = vigie(&["read", "--signatures", path, &capture("curl.pcap")]);
    assert_eq!(code(&output), SUCCESS);
    assert!(err(&output).contains("has no *.toml file; check the path"), "{}", err(&output));
    file(&empty, "own.toml", b"service = \"own\"\nname = \"Own\"\nbase = 7990000\nreviewed = \"2026-11-01\"\n");
    let output = vigie(&["explain", "--signatures", path, "tiktok.com"]);
    assert!(err(&output).contains("own.toml:1: service \"own\" has no rules"), "{}", err(&output));
    let text = out(&vigie(&["signatures", "verify", path]));
    assert!(text.contains("has no rules") && text.contains("1 warning"), "{text}");
}

#[test]
fn events_need_a_place_to_go() {
    assert_fails(&vigie(&["read", "--events", "flow", &capture("curl.pcap")]), USAGE, "add --json or --output FILE");
    assert_eq!(code(&vigie(&["read", "--events", "alert", &capture("curl.pcap")])), SUCCESS);
}

#[test]
fn explain_reads_queries_from_the_standard_input() {
    let output = fed(&["explain", "--json", "-"], b"www.tiktok.com\n71.18.248.20\n\nexample.org\n");
    assert_eq!(code(&output), SUCCESS, "{}", err(&output));
    let queries: Vec<Value> =
        out(&output).lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["query"].clone()).collect();
    // An empty line has its answer too, so that answers stay in step with questions.
    assert_eq!(queries, ["www.tiktok.com", "71.18.248.20", "", "example.org"]);
    let text = out(&vigie(&["explain", "www.tiktok.com"]));
    assert!(text.contains("TikTok") && !text.contains('\u{1b}'), "{text}");
}

#[test]
fn signatures_are_listed_verified_and_refused() {
    assert!(out(&vigie(&["signatures", "list"])).contains("TikTok"));
    let listed = out(&vigie(&["signatures", "list", "--json"]));
    assert!(listed.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()) && listed.lines().count() > 10);
    assert_eq!(code(&vigie(&["signatures", "verify"])), SUCCESS);
    let folder = scratch();
    file(&folder, "bad.toml", b"this is = no [signature");
    let path = folder.path().to_str().unwrap();
    assert_eq!(code(&vigie(&["signatures", "verify", path])), CONFIGURATION);
    assert_eq!(code(&vigie(&["read", "--signatures", path, &capture("curl.pcap")])), CONFIGURATION);
    assert_eq!(code(&vigie(&["explain", "--signatures", path, "tiktok.com"])), CONFIGURATION);
}

#[test]
fn wrong_usage_is_told_in_one_line() {
    assert_fails(&vigie(&["read"]), USAGE, "FILE");
    assert_fails(&vigie(&["read", "--no-such-option", "a"]), USAGE, "--no-such-option");
    assert_fails(&vigie(&["frobnicate"]), USAGE, "'frobnicate'; 'vigie --help' lists the commands");
    assert_fails(&vigie(&["signatures", "lst"]), USAGE, "'list' ('vigie signatures --help' lists all)");
    assert_fails(&vigie(&["read", "--workers", "-1", "a"]), USAGE, "invalid value '-1' for '--workers <N>'");
    let unset = command(&["read", "a"]).env("VIGIE_SENSOR_NAME", "").output().unwrap();
    assert_fails(&unset, USAGE, "VIGIE_SENSOR_NAME");
    assert_fails(&vigie(&["read", "--workers", "0", "a"]), USAGE, "--workers");
    assert_fails(
        &vigie(&["read", "--workers", "x", "a"]),
        USAGE,
        "write a number from 1 to 1024; try 'vigie read --help'",
    );
    assert_fails(&vigie(&["read", "--sensor-name", "", "a"]), USAGE, "write a name of 1 to 255 characters");
    assert_fails(&vigie(&["read", "--limit", "flows_max", "a"]), USAGE, "NAME=NUMBER");
    let help = vigie(&["--help"]);
    assert_eq!(code(&help), SUCCESS);
    assert!(out(&help).contains("read") && out(&help).contains("Exit codes"), "{}", out(&help));
    assert!(out(&vigie(&["--version"])).starts_with("vigie "));
}

/// Whoever takes only the first line ends the command quietly, with the code that it had anyway.
#[test]
fn a_reader_that_goes_away_is_no_error() {
    let folder = scratch();
    // More than fits into a pipe: the same capture under many names.
    let bytes = fs::read(capture("browsing.pcapng")).unwrap();
    for number in 0..40 {
        file(&folder, &format!("{number}.pcapng"), &bytes);
    }
    let pattern = folder.path().join("*.pcapng");
    let arguments = ["read", "--json", "--events", "alert,tls,dns,flow", pattern.to_str().unwrap()];
    let mut child = command(&arguments).spawn().unwrap();
    let mut reader = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    drop(reader);
    let mut errors = String::new();
    child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
    assert_eq!((child.wait().unwrap().code(), errors.as_str()), (Some(SUCCESS), ""));
    assert!(serde_json::from_str::<Value>(&line).is_ok(), "{line}");
}

#[test]
fn sightings_are_all_flows_that_matched() {
    let of = |types: &str| {
        let output = vigie(&["read", "--json", "--events", types, &capture("browsing.pcapng")]);
        assert_eq!(output.status.code(), Some(SUCCESS), "{}", err(&output));
        out(&output).lines().map(ToOwned::to_owned).collect::<Vec<String>>()
    };
    let flow = |line: &String| serde_json::from_str::<Value>(line).unwrap()["flow_id"].as_u64();
    let (alerts, sightings) = (of("alert"), of("sighting"));
    let sighted: Vec<Option<u64>> = sightings.iter().map(flow).collect();
    let alerted: Vec<Option<u64>> = alerts.iter().map(flow).filter(Option::is_some).collect();
    assert!(!alerted.is_empty() && alerted.len() < sighted.len(), "{alerts:#?}");
    assert!(alerted.iter().all(|flow| sighted.contains(flow)), "{alerts:#?}");
    // Incidents have no flow.
    assert!(alerted.len() < alerts.len());
    assert_eq!(of("alert,sighting").len(), alerts.len() + sightings.len());
}
