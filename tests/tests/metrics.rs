//! Metrics against the worker that they tell of, and the endpoint against real clients: curl, with keys by OpenSSL.
//! Where those are not installed the tests say so and pass.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;

use vigie::settings::Limits;
use vigie::telemetry::families::TABLES;
use vigie::telemetry::worker_counts::{WORKER_COUNTS, worker_count};
use vigie::telemetry::{MonitoredSensor, Shared, Thresholds, documentation};
use vigie::worker::{EventTypes, Share, Worker};
use vigie_flow::HashKey;
use vigie_handshake::address_names::{AddressNames, Limits as NameLimits};
use vigie_metrics::{Server, ServerOptions, Serving};
use vigie_signatures::Bundle;
use vigie_skip::skipped;

#[test]
fn every_count_of_a_worker_has_its_place_among_the_families() {
    let limits = Limits { flows_max: 1024, ..Limits::default() };
    let names = Arc::new(AddressNames::new(NameLimits {
        entries_max: 16,
        ttl_min_s: 1,
        ttl_max_s: 2,
        ..NameLimits::default()
    }));
    let worker = Worker::new(&limits, EventTypes::default(), Bundle::builtin(), names, HashKey::REPLAY, Share::ALL);
    let told: Vec<(&str, &str)> = worker.all_counts().iter().map(|&(family, reason, _)| (family, reason)).collect();
    let unmapped: Vec<_> = told.iter().filter(|(family, reason)| worker_count(family, reason).is_none()).collect();
    assert!(unmapped.is_empty(), "give these a line in WORKER_COUNTS: {unmapped:?}");
    let mut once = HashSet::new();
    let twice: Vec<_> = told.iter().filter(|pair| !once.insert(**pair)).collect();
    assert!(twice.is_empty(), "told twice: {twice:?}");
    let stale: Vec<_> =
        WORKER_COUNTS.iter().filter(|(family, reason, ..)| !once.contains(&(*family, *reason))).collect();
    assert!(stale.is_empty(), "no worker tells these: {stale:?}");
}

#[test]
fn every_family_is_documented() {
    let listing = documentation();
    for family in TABLES.concat() {
        assert!(listing.contains(&format!("| `{}` | {} |", family.name, family.kind.as_str())), "{family:?}");
    }
}

/// Whether a program is there; says so if it is not.
fn has(program: &str, argument: &str) -> bool {
    let is_there = Command::new(program).arg(argument).output().is_ok_and(|output| output.status.success());
    if !is_there {
        skipped(format_args!("{program} is not installed"));
    }
    is_there
}

fn openssl(folder: &Path, arguments: &str) {
    let output = Command::new("openssl").args(arguments.split(' ')).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&output.stderr));
}

/// An authority `ca`, a server's key for 127.0.0.1 and a client's, signed by it.
fn keys(folder: &Path) {
    let new = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2";
    openssl(folder, &format!("req -x509 {new} -subj /CN=ca -keyout ca.key -out ca.crt"));
    fs::write(folder.join("server.ext"), "subjectAltName=IP:127.0.0.1\n").unwrap();
    fs::write(folder.join("client.ext"), "extendedKeyUsage=clientAuth\n").unwrap();
    for who in ["server", "client"] {
        openssl(
            folder,
            &format!("req {} -subj /CN={who} -keyout {who}.key -out {who}.csr", new.replace(" -days 2", "")),
        );
        let sign = "-CA ca.crt -CAkey ca.key -CAcreateserial -days 2";
        openssl(folder, &format!("x509 -req -in {who}.csr {sign} -extfile {who}.ext -out {who}.crt"));
    }
}

fn serve(web_config: &Path) -> Serving {
    let shared = Shared::new("tap", &[], 1).unwrap();
    let options = ServerOptions { web_config: Some(web_config.to_owned()), ..ServerOptions::default() };
    let sensor = MonitoredSensor::new(shared, Thresholds::default());
    Server::bind("127.0.0.1:0".parse().unwrap(), options, sensor).unwrap().serve().unwrap()
}

fn curl(folder: &Path, serving: &Serving, arguments: &str) -> Output {
    let url = format!("https://{}/metrics", serving.address());
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--fail", "--max-time", "20", "--noproxy", "*", "--cacert", "ca.crt"]);
    command.args(arguments.split(' ').filter(|argument| !argument.is_empty())).arg(url);
    command.current_dir(folder).output().unwrap()
}

/// Curl got the metrics, or ended with this code (curl(1), EXIT CODES).
#[track_caller]
fn assert_curl(output: &Output, exits: &[i32]) {
    let code = output.status.code().unwrap();
    assert!(exits.contains(&code), "{code} and not {exits:?}: {}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(code == 0, String::from_utf8_lossy(&output.stdout).contains("\nvigie_build_info{"));
}

const DONE: &[i32] = &[0];
/// The handshake fails, or the other side closes after it: TLS 1.3 tells of a missing certificate only then.
const TLS_REFUSED: &[i32] = &[35, 52, 55, 56];
const HTTP_ERROR: &[i32] = &[22];
const WRONG_PEER: &[i32] = &[60];

#[test]
fn curl_comes_in_over_tls_with_a_certificate_and_a_password_and_not_without() {
    if !has("curl", "--version") || !has("openssl", "version") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    keys(folder);
    let web = folder.join("web.yml");
    // The password is "secret".
    let hash = "$2b$04$zOxOaqrip0jwP6stnTr7weU6C3Q11757br4asAgLHbbgBW2ZLk6wi";
    let tls = "tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n";
    fs::write(&web, tls).unwrap();
    let serving = serve(&web);
    assert_curl(&curl(folder, &serving, ""), DONE);
    assert_curl(&curl(folder, &serving, "--tls-max 1.2"), DONE);
    // From here on it changes while it runs.
    fs::write(&web, format!("{tls}  min_version: TLS13\nbasic_auth_users:\n  bob: {hash}\n")).unwrap();
    assert_curl(&curl(folder, &serving, "--tls-max 1.2 -u bob:secret"), TLS_REFUSED);
    assert_curl(&curl(folder, &serving, ""), HTTP_ERROR);
    assert_curl(&curl(folder, &serving, "-u bob:Secret"), HTTP_ERROR);
    assert_curl(&curl(folder, &serving, "-u eve:secret"), HTTP_ERROR);
    assert_curl(&curl(folder, &serving, "-u bob:secret"), DONE);
    let verified = "  client_ca_file: ca.crt\n  client_auth_type: RequireAndVerifyClientCert\n";
    fs::write(&web, format!("{tls}{verified}")).unwrap();
    assert_curl(&curl(folder, &serving, ""), TLS_REFUSED);
    assert_curl(&curl(folder, &serving, "--cert client.crt --key client.key"), DONE);
    fs::write(&web, format!("{tls}{}", verified.replace("RequireAndVerifyClientCert", "VerifyClientCertIfGiven")))
        .unwrap();
    assert_curl(&curl(folder, &serving, ""), DONE);
    // Only the keys change: another authority's.
    let other = tempfile::tempdir().unwrap();
    keys(other.path());
    for file in ["server.crt", "server.key"] {
        fs::copy(other.path().join(file), folder.join(file)).unwrap();
    }
    assert_curl(&curl(folder, &serving, ""), WRONG_PEER);
    fs::copy(other.path().join("ca.crt"), folder.join("ca.crt")).unwrap();
    assert_curl(&curl(folder, &serving, ""), DONE);
    serving.stop();
}

#[test]
fn a_key_that_does_not_go_with_its_certificate_is_refused_with_file_line_and_mend() {
    if !has("openssl", "version") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    keys(folder.path());
    let web = folder.path().join("web.yml");
    fs::write(&web, "# ours\ntls_server_config:\n  cert_file: server.crt\n  key_file: client.key\n").unwrap();
    let error = Server::check(&web).unwrap_err().to_string();
    assert!(error.contains("web.yml:2: tls_server_config.key_file: does not match "), "{error}");
    fs::write(&web, "tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n").unwrap();
    Server::check(&web).unwrap();
}
