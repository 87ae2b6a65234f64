//! Delivery by HTTP: busy receivers, wrong passwords, rejected events, certificates, and Alertmanager itself. Neither Elasticsearch
//! nor OpenSearch is in a registry: in their place stands osmem, a server that others wrote to stand for OpenSearch in tests. It knows
//! mappings, `_bulk` and templates as OpenSearch does, but no data streams and no ingest pipelines.

// Clippy knows only functions marked as tests, which may panic.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use std::fs;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use common::{Authority, HttpServer, Place, Request, Running, free_port, has, numbers, until};

fn webhook(url: &str, more: &str) -> String {
    format!("[[receiver]]\nname = \"hook\"\nkind = \"webhook\"\nurl = \"{url}\"\n{more}")
}

#[test]
fn a_busy_receiver_is_asked_again_and_loses_nothing() {
    let place = Place::new();
    place.append(0..2_500);
    let taken = Arc::new(Mutex::new(Vec::new()));
    let (seen, mut count) = (Arc::clone(&taken), 0);
    let server = HttpServer::start(move |request: &Request| {
        count += 1;
        match count % 3 {
            1 => (429, "Retry-After: 0\n\n".to_owned()),
            2 => (503, "\n\nat lunch".to_owned()),
            _ => {
                seen.lock().unwrap().extend(numbers(&request.body));
                (200, String::new())
            }
        }
    });
    place.configure(&webhook(&format!("http://{}/x", server.address), ""));
    let running = place.start();
    until("all events", || (taken.lock().unwrap().len() >= 2_500).then_some(()));
    running.end();
    assert!(taken.lock().unwrap().iter().copied().eq(0..2_500));
    assert!(place.log().contains("is busy (503); it says: at lunch"), "{}", place.log());
}

#[test]
fn a_wrong_password_is_told_once_and_never_shown() {
    let place = Place::new();
    place.append(0..10);
    let secret = place.path("password");
    fs::write(&secret, "wrong-sesame\n").unwrap();
    let taken = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&taken);
    let server = HttpServer::start(move |request: &Request| {
        // dmlnaWU6b3BlbnNlc2FtZQ== is vigie:opensesame.
        if request.head.contains("Basic dmlnaWU6b3BlbnNlc2FtZQ==") {
            seen.lock().unwrap().extend(numbers(&request.body));
            return (200, String::new());
        }
        // It repeats what it refuses.
        (401, format!("\n\n{} wrong-sesame", request.head))
    });
    let keys = format!("user = \"vigie\"\npassword_file = {secret:?}\n");
    place.configure(&webhook(&format!("http://{}/x?token=urlsesame", server.address), &keys));
    let running = place.start();
    place.until_log("refuses who we say we are (401); check user and password_file, or token_file");
    fs::write(&secret, "opensesame\n").unwrap();
    until("all events", || (taken.lock().unwrap().len() >= 10).then_some(()));
    place.until_log("receiver hook: works again");
    running.end();
    let check = place.check();
    let state = fs::read_to_string(place.path("state/hook.cursor.json")).unwrap();
    let shown =
        place.log() + &String::from_utf8_lossy(&check.stdout) + &String::from_utf8_lossy(&check.stderr) + &state;
    for secret in ["sesame", "d3Jvbmc", "b3BlbnNlc2FtZQ"] {
        assert!(!shown.contains(secret), "{shown}");
    }
    assert_eq!(shown.matches("(401)").count(), 1, "{shown}");
}

#[test]
fn a_rejected_event_is_set_aside_and_the_others_arrive() {
    let place = Place::new();
    place.append(0..100);
    let taken = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&taken);
    let server = HttpServer::start(move |request: &Request| {
        let found = numbers(&request.body);
        if found.contains(&42) {
            return (400, "\n\nnot that one".to_owned());
        }
        seen.lock().unwrap().extend(found);
        (200, String::new())
    });
    place.configure(&webhook(&format!("http://{}/", server.address), ""));
    let running = place.start();
    until("all other events", || (taken.lock().unwrap().len() >= 99).then_some(()));
    running.end();
    assert!(taken.lock().unwrap().iter().copied().eq((0..100).filter(|number| *number != 42)));
    let aside = fs::read_to_string(place.path("state/hook.rejected.jsonl")).unwrap();
    assert_eq!(aside, common::line(42) + "\n");
    assert!(place.log().contains("an event was rejected and is in "), "{}", place.log());
}

#[test]
fn certificates_are_verified() {
    let place = Place::new();
    let Some(authority) = Authority::new(&place) else { return };
    authority.sign("good", "IP:127.0.0.1", true);
    authority.sign("expired", "IP:127.0.0.1", false);
    authority.sign("other", "DNS:other.example", true);
    place.append(0..10);
    let ca = format!("ca_file = {:?}\n", place.path("ca.pem"));
    for (certificate, keys, expected) in [
        ("expired", &*ca, "has expired, at 2021-01-01T00:00:00Z; the server needs a new one"),
        ("other", &ca, "not for 127.0.0.1; correct the host"),
        ("good", "", "is signed by an authority that is not known here; name its certificate in ca_file"),
        ("good", &ca, ""),
    ] {
        let port = free_port();
        let mut server = Command::new("openssl");
        server.args(["s_server", "-www", "-accept", &port.to_string()]);
        server.args(["-cert", &format!("{certificate}.pem"), "-key", &format!("{certificate}.key")]);
        server.current_dir(place.folder.path()).stdout(Stdio::null()).stderr(Stdio::null());
        let _server = Running(server.spawn().unwrap());
        common::until_listens(port);
        place.configure(&webhook(&format!("https://127.0.0.1:{port}/"), &format!("timeout_s = 2\n{keys}")));
        let output = place.once();
        let told = String::from_utf8(output.stderr).unwrap();
        // A request goes through to a server that does not know POST only where the certificate is right.
        match expected {
            "" => assert!(!told.contains("certificate"), "{told}"),
            expected => assert!(told.contains(expected), "{certificate}: {told}"),
        }
    }
}

/// nginx with TLS before a server of ours.
fn nginx(place: &Place, behind: std::net::SocketAddr) -> (u16, Running) {
    let port = free_port();
    let work = place.folder.path().display();
    let config = format!(
        "daemon off;\nmaster_process off;\npid {work}/nginx.pid;\nerror_log {work}/nginx.log;\nevents {{}}\nhttp {{\n\
         access_log off;\nclient_body_temp_path {work}/body;\nproxy_temp_path {work}/proxy;\nfastcgi_temp_path {work}/f;\n\
         uwsgi_temp_path {work}/u;\nscgi_temp_path {work}/s;\nserver {{ listen 127.0.0.1:{port} ssl;\n\
         ssl_certificate {work}/server.pem; ssl_certificate_key {work}/server.key;\n\
         location / {{ client_max_body_size 10m; proxy_pass http://{behind}; }} }} }}\n"
    );
    fs::write(place.path("nginx.conf"), config).unwrap();
    let mut command = Command::new("/usr/sbin/nginx");
    command.arg("-c").arg(place.path("nginx.conf")).arg("-e").arg(place.path("nginx.log"));
    let running = Running(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    common::until_listens(port);
    (port, running)
}

#[test]
fn events_arrive_over_tls_with_our_own_authority_and_through_a_proxy() {
    if !has("nginx", "nginx-light") {
        return;
    }
    let place = Place::new();
    let Some(authority) = Authority::new(&place) else { return };
    authority.sign("server", "DNS:localhost", true);
    place.append(0..2_500);
    let taken = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&taken);
    let server = HttpServer::start(move |request: &Request| {
        seen.lock().unwrap().extend(numbers(&request.body));
        (200, String::new())
    });
    let (port, _nginx) = nginx(&place, server.address);
    let ca = format!("ca_file = {:?}\n", place.path("ca.pem"));
    place.configure(&webhook(&format!("https://localhost:{port}/events"), &ca));
    let output = place.once();
    assert!(output.status.success(), "{output:?}");
    assert!(taken.lock().unwrap().iter().copied().eq(0..2_500));
    if !has("tinyproxy", "tinyproxy-bin") {
        return;
    }
    place.append(2_500..2_600);
    let proxy = free_port();
    let with_proxy = format!("{ca}proxy = \"http://127.0.0.1:{proxy}\"\ntimeout_s = 5\n");
    place.configure(&webhook(&format!("https://localhost:{port}/events"), &with_proxy));
    // Not around a proxy that is not there.
    let output = place.once();
    assert_eq!(output.status.code(), Some(69), "{output:?}");
    assert_eq!(taken.lock().unwrap().len(), 2_500);
    let log = place.path("proxy.log");
    let config =
        format!("Port {proxy}\nListen 127.0.0.1\nMaxClients 10\nTimeout 60\nLogFile {log:?}\nLogLevel Connect\n");
    fs::write(place.path("proxy.conf"), config).unwrap();
    let mut command = Command::new("tinyproxy");
    command.arg("-d").arg("-c").arg(place.path("proxy.conf"));
    let _proxy = Running(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    common::until_listens(proxy);
    let output = place.once();
    assert!(output.status.success(), "{output:?}");
    assert!(taken.lock().unwrap().iter().copied().eq(0..2_600));
    let log = fs::read_to_string(log).unwrap();
    assert!(log.contains(&format!("CONNECT localhost:{port}")), "{log}");
}

#[test]
fn alertmanager_holds_incidents() {
    let Some(program) = ["prometheus-alertmanager", "alertmanager"]
        .into_iter()
        .find(|name| std::path::Path::new("/usr/bin").join(name).exists())
    else {
        has("prometheus-alertmanager", "prometheus-alertmanager");
        return;
    };
    let place = Place::new();
    // Of an incident that began long ago, Alertmanager would see only the end.
    let now = Command::new("date").args(["-u", "+%Y-%m-%dT%H:%M:%S.000000+0000"]).output().unwrap();
    let now = String::from_utf8(now.stdout).unwrap();
    let text = (common::line(1) + "\n").replace("2026-11-27T18:58:14.000000+0000", now.trim());
    fs::write(place.path("journal/00000001.jsonl"), text).unwrap();
    fs::write(place.path("am.yml"), "route:\n  receiver: none\nreceivers:\n  - name: none\n").unwrap();
    let port = free_port();
    let mut server = Command::new(program);
    server.arg(format!("--web.listen-address=127.0.0.1:{port}"));
    server.args(["--config.file=am.yml", "--storage.path=am", "--cluster.listen-address="]);
    server.current_dir(place.folder.path()).stdout(Stdio::null()).stderr(Stdio::null());
    let _server = Running(server.spawn().unwrap());
    common::until_listens(port);
    place.configure(&webhook(&format!("http://127.0.0.1:{port}/api/v2/alerts"), "format = \"alertmanager\"\n"));
    let output = place.once();
    assert!(output.status.success(), "{output:?}");
    let alerts = until("alert", || {
        use std::io::{Read, Write};
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).ok()?;
        write!(stream, "GET /api/v2/alerts HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        text.contains("VigieIncident").then_some(text)
    });
    assert!(alerts.contains("\"incident\":\"k7q2m-4x9d0-f\"") && alerts.contains("\"sensor\":\"tap\""), "{alerts}");
}

/// A server that is compatible with OpenSearch, and its port. None, and told so, where it is not installed.
fn open_search() -> Option<(Running, u16)> {
    let python = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/python/receivers/lib");
    let versions = fs::read_dir(python).into_iter().flatten().filter_map(Result::ok);
    let programs = versions.map(|version| version.path().join("site-packages/osmem_server/bin/osmem-server"));
    let Some(program) = programs.into_iter().find(|program| program.exists()) else {
        vigie_skip::skipped("there is no server like OpenSearch; sensor/forward/tests/receivers/install installs one");
        return None;
    };
    let port = free_port();
    let mut server = Command::new(program);
    server.args(["-addr", &format!("127.0.0.1:{port}"), "-no-stdin-watch", "-no-ja"]);
    let running = Running(server.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    common::until_listens(port);
    Some((running, port))
}

/// The answer to a request with a body of JSON.
fn ask(port: u16, method: &str, path: &str, body: &serde_json::Value) -> serde_json::Value {
    use std::io::{Read, Write};
    let body = body.to_string();
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    write!(
        stream,
        "{method} {path} HTTP/1.0\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    serde_json::from_str(text.split_once("\r\n\r\n").unwrap().1).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn open_search_holds_each_event_once_and_waits_for_what_it_lacks() {
    let Some((_server, port)) = open_search() else { return };
    let mut template: serde_json::Value =
        serde_json::from_str(include_str!("../../deploy/siem/elastic/index-template.json")).unwrap();
    template.as_object_mut().unwrap().remove("data_stream");
    assert_eq!(ask(port, "PUT", "/_index_template/vigie", &template)["acknowledged"], true);
    let place = Place::new();
    place.append(0..2_500);
    let keys = "format = \"elasticsearch\"\nencoding = \"ecs\"\nindex = \"vigie-events\"\n";
    place.configure(&webhook(&format!("http://127.0.0.1:{port}/_bulk"), keys));
    let running = place.start();
    // The template names a pipeline, which is not there: the events wait.
    place.until_log("has no ingest pipeline of that name; install it, or take");
    template["template"]["settings"].as_object_mut().unwrap().remove("index.default_pipeline");
    assert_eq!(ask(port, "PUT", "/_index_template/vigie", &template)["acknowledged"], true);
    let count =
        |query| ask(port, "POST", "/vigie-events/_count", &serde_json::json!({ "query": query }))["count"].as_u64();
    let all = || count(serde_json::json!({"match_all": {}}));
    until("all events", || (all() == Some(2_500)).then_some(()));
    running.end();
    // A sensor that tells other types than the mapping has: its event is set aside, and the next one arrives.
    let odd =
        common::line(9_000).replace("\"severity\":2", "\"severity\":2,\"context\":{\"vigie\":{\"flows\":\"many\"}}");
    let text = format!("{odd}\n{}\n", common::line(9_001));
    fs::write(place.path("journal/00000002.jsonl"), text).unwrap();
    // All of it again: what is there stands there once.
    fs::remove_file(place.path("state/hook.cursor.json")).unwrap();
    let running = place.start();
    until("the last event", || (all() == Some(2_501)).then_some(()));
    let aside = || fs::read_to_string(place.path("state/hook.rejected.jsonl")).ok();
    let aside = until("the event that it refuses", || aside().filter(|text| text.ends_with('\n')));
    running.end();
    let range = serde_json::json!({"term": {"source.ip": "10.0.0.0/8"}});
    assert_eq!(count(range), Some(2_501), "the fields have the types of the mapping");
    assert_eq!(aside, odd + "\n", "{}", place.log());
    assert!(place.log().contains("failed to parse field [vigie.flows] of type [long]"), "{}", place.log());
}
