//! The cases of `tests/cases`: packets in, incidents out.

// Clippy knows only functions marked as tests.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use vigie_tests::daemon::binary;
use vigie_tests::hello::{Hello, application_data};
use vigie_tests::packets::tagged;
use vigie_tests::tape::pcap;
use vigie_tests::tcp::Connection;
use vigie_wire::LinkType;

const SECOND_NS: u64 = 1_000_000_000;
/// Between two packets of a flow.
const STEP_NS: u64 = 1_000_000;
/// Tag protocol of IEEE 802.1Q.
const VLAN_TAG: u16 = 0x8100;

fn cases() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases");
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut folders: Vec<PathBuf> = entries.filter(|path| path.is_dir()).collect();
    folders.sort();
    folders
}

/// Seconds since 1970 of `2026-11-27T09:00:00Z`.
fn seconds(text: &str) -> u64 {
    let numbers: Vec<i64> = text.split(['-', 'T', ':', 'Z']).filter_map(|part| part.parse().ok()).collect();
    let [year, month, day, hour, minute, second] = numbers[..] else { panic!("{text} is not a time") };
    // Days from civil: March is the first month of a year, so that leap days come last.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1 - 719_468;
    u64::try_from(((days * 24 + hour) * 60 + minute) * 60 + second).unwrap()
}

/// The packets of a case's flows, in the order of time.
fn packets(case: &Path) -> Vec<u8> {
    let text = fs::read_to_string(case.join("flows.tsv")).unwrap();
    let mut frames: Vec<(u64, Vec<u8>)> = Vec::new();
    let mut port = 40_000;
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let [time, client, name, features] = line.split('\t').collect::<Vec<_>>()[..] else { panic!("{line}") };
        let feature = |wanted: &str| {
            let mut features = features.split(',').map(|feature| feature.split_once('=').unwrap_or((feature, "1")));
            features.find(|(name, _)| *name == wanted).map(|(_, value)| value.parse::<u64>().unwrap())
        };
        let client: IpAddr = client.parse().unwrap();
        let server: IpAddr = if client.is_ipv4() { "192.0.2.1" } else { "2001:db8:ffff::1" }.parse().unwrap();
        for round in 0..feature("times").unwrap_or(1) {
            port += 1;
            let connection = Connection::between(SocketAddr::new(client, port), SocketAddr::new(server, 443));
            let hello = Hello::to(name).record();
            let one_way = feature("one-way").is_some();
            let mut flow = vec![connection.syn()];
            if !one_way {
                flow.push(connection.syn_ack());
            }
            flow.push(connection.from_client(0, &hello));
            if !one_way {
                flow.push(connection.from_server(0, &application_data(400)));
            }
            flow.push(connection.fin(hello.len()));
            let start_ns = (seconds(time) + round * feature("every").unwrap_or(1)) * SECOND_NS;
            for (place, frame) in flow.into_iter().enumerate() {
                let mut frame = frame;
                if let Some(device) = feature("mac") {
                    set_client_mac(&mut frame, client, u8::try_from(device).unwrap());
                }
                let frame = match feature("vlan") {
                    Some(vlan) => tagged(&frame, &[(VLAN_TAG, u16::try_from(vlan).unwrap())]),
                    None => frame,
                };
                frames.push((start_ns + place as u64 * STEP_NS, frame));
            }
        }
    }
    frames.sort_by_key(|(time_ns, _)| *time_ns);
    pcap(LinkType::ETHERNET, &frames)
}

/// Gives the client's end of a frame the hardware address 02:00:00:00:00 and a last byte.
fn set_client_mac(frame: &mut [u8], client: IpAddr, device: u8) {
    // The source address of the IP header behind the Ethernet header.
    let is_from_client = match client {
        IpAddr::V4(client) => frame[26..30] == client.octets(),
        IpAddr::V6(client) => frame[22..38] == client.octets(),
    };
    let place = if is_from_client { 6 } else { 0 };
    frame[place..place + 6].copy_from_slice(&[2, 0, 0, 0, 0, device]);
}

/// What the sensor says about a case: every line of an incident, in short.
fn incidents(case: &Path) -> (Vec<Value>, String) {
    // A repository keeps no such mode, and a key that others can read is refused.
    let key = case.join("period-key");
    if key.exists() {
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    }
    let mut command = Command::new(binary());
    command.args(["read", "--json", "--policy"]).arg(case.join("policy.toml")).arg(case.join("input.pcap"));
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}: {}", case.display(), String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let events = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let of_incident = events.filter(|event| event["alert"]["gid"] == 7);
    let short = of_incident.map(|event| {
        let alert = &event["alert"];
        let first = |key: &str| alert["metadata"][key][0].clone();
        let client = if first("client").is_null() { event["src_ip"].clone() } else { first("client") };
        json!({
            "timestamp": event["timestamp"], "state": first("incident_state"), "client": client,
            "service": first("service"), "ban": first("ban"), "verdict": first("verdict"), "kind": first("kind"),
            "severity": alert["severity"], "flows": alert["context"]["vigie"]["flows"]
        })
    });
    (short.collect(), text)
}

fn lines(values: &[Value]) -> String {
    values.iter().map(|value| format!("{value}\n")).collect()
}

#[test]
fn the_packets_are_those_of_the_flows() {
    assert!(cases().len() >= 18);
    for case in cases() {
        assert!(fs::read_to_string(case.join("README.md")).unwrap().starts_with("# "), "{}", case.display());
        assert!(fs::read(case.join("input.pcap")).unwrap() == packets(&case), "{}", case.display());
    }
}

#[test]
fn packets_give_the_expected_incidents() {
    let mut wrong = Vec::new();
    for case in cases() {
        let expected = fs::read_to_string(case.join("expected.jsonl")).unwrap();
        let (found, _) = incidents(&case);
        if lines(&found) != expected {
            wrong.push(format!("{}\n{}", case.display(), lines(&found)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn clients_out_of_scope_or_excused_stand_nowhere() {
    for (case, client) in [("guest-network", "10.1.0.66"), ("guest-network", "10.9.0.67"), ("nat", "10.1.255.1")] {
        let (_, text) = incidents(&Path::new(env!("CARGO_MANIFEST_DIR")).join("cases").join(case));
        let hex: String = client.split('.').map(|byte| format!("{:02x}", byte.parse::<u8>().unwrap())).collect();
        assert!(text.contains("\"gid\":7") && !text.contains(client) && !text.contains(&hex), "{case}: {text}");
    }
}

#[test]
#[ignore = "writes the inputs and the expected incidents anew"]
fn write_inputs_and_expected_incidents() {
    for case in cases() {
        fs::write(case.join("input.pcap"), packets(&case)).unwrap();
        fs::write(case.join("expected.jsonl"), lines(&incidents(&case).0)).unwrap();
    }
}
