//! The endpoint as clients meet it, in clear text; TLS with real clients is tried in the whole-sensor tests.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use super::*;
use crate::metrics::{CaptureCounts, Phase, SignatureFacts};

fn shared() -> Arc<Shared> {
    let shared = Shared::new("tap <1>", &[("flow", "evicted"), ("flow", "vanished")], 2).unwrap();
    for (worker, evicted) in [(0, 3), (1, 4)] {
        shared.worker(worker).unwrap().publish([evicted, 1]);
    }
    shared
}

fn serve(shared: &Arc<Shared>, limits: ServerLimits) -> Serving {
    let options = ServerOptions { limits, ..ServerOptions::default() };
    Server::bind("127.0.0.1:0".parse().unwrap(), options, Arc::clone(shared)).unwrap().serve().unwrap()
}

/// All that comes back for these bytes until the other side closes.
fn ask(serving: &Serving, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(serving.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(bytes).unwrap();
    let mut answer = Vec::new();
    // A reset after the answer is as good as an end.
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8(answer).unwrap()
}

fn get(serving: &Serving, path: &str, headers: &str) -> String {
    ask(serving, format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n").as_bytes())
}

#[test]
fn each_path_answers() {
    let shared = shared();
    let serving = serve(&shared, ServerLimits::default());
    let metrics = get(&serving, "/metrics", "");
    assert!(metrics.starts_with("HTTP/1.1 200 ") && metrics.contains("text/plain; version=0.0.4"), "{metrics}");
    assert!(metrics.contains("\nvigie_flows_ended_total{reason=\"evicted\"} 7\n"), "workers are summed");
    assert!(metrics.contains("\nvigie_unmapped_total{family=\"flow\",reason=\"vanished\"} 2\n"));
    assert!(metrics.contains("\nvigie_worker_flows{worker=\"1\"} 0\n"));
    let open = get(&serving, "/metrics", "Accept: application/openmetrics-text;version=1.0.0,*/*;q=0.1\r\n");
    assert!(open.contains("application/openmetrics-text; version=1.0.0") && open.ends_with("# EOF\n"), "{open}");
    assert!(open.contains("# TYPE vigie_flows_ended counter\n") && open.contains("\nvigie_flows_ended_total{"));
    let page = get(&serving, "/", "");
    assert!(
        page.contains("tap &lt;1&gt;") && page.contains("href=\"metrics\"") && page.contains("text/html"),
        "{page}"
    );
    assert!(get(&serving, "/metrics/", "").starts_with("HTTP/1.1 404 "));
    let post = ask(&serving, b"POST /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    assert!(post.starts_with("HTTP/1.1 405 ") && post.to_ascii_lowercase().contains("allow: get, head"), "{post}");
    let head = ask(&serving, b"HEAD /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 200 ") && head.contains("content-length: ") && head.ends_with("\r\n\r\n"));
    let counted = get(&serving, "/metrics", "");
    assert!(counted.contains("vigie_http_requests_total{path=\"other\",code=\"404\"} 1\n"), "{counted}");
    assert!(counted.contains("vigie_http_requests_total{path=\"/metrics\",code=\"405\"} 1\n"), "{counted}");
    serving.stop();
}

/// Asks again until the answer is this, at most for some seconds.
fn until(serving: &Serving, path: &str, says: &[&str]) -> String {
    let began = Instant::now();
    loop {
        let answer = get(serving, path, "");
        if says.iter().all(|word| answer.contains(word)) {
            return answer;
        }
        assert!(began.elapsed() < Duration::from_secs(10), "{says:?} not in {answer}");
        thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn readiness_and_health_tell_why_not() {
    let shared = shared();
    let thresholds = Thresholds { stall_max: Duration::from_millis(300), ..Thresholds::default() };
    let options = ServerOptions { thresholds, ..ServerOptions::default() };
    let server = Server::bind("127.0.0.1:0".parse().unwrap(), options, Arc::clone(&shared)).unwrap();
    let serving = server.serve().unwrap();
    until(&serving, "/readyz", &["503", "starting: the sensor is starting\n", "signatures_missing: "]);
    shared.signatures(SignatureFacts::of(&vigie_signatures::Bundle::builtin()));
    let mut facts = shared.signature_facts().unwrap().0;
    facts.newest_review = Some(crate::metrics::shared::epoch_seconds(std::time::SystemTime::now()) as i64);
    shared.signatures(facts);
    shared.interface("eth0").up(false);
    shared.capture(0, "eth0").publish(&CaptureCounts { packets: 1, ..CaptureCounts::default() });
    shared.enter(Phase::Running);
    for worker in 0..2 {
        shared.worker(worker).unwrap().progressed(u64::MAX);
    }
    let answer = until(&serving, "/readyz", &["503", "not ready\ninterface_down: interface eth0 is down"]);
    assert!(!answer.contains("starting"), "{answer}");
    until(&serving, "/readyz?format=json", &["application/json", r#"{"ready":false,"reasons":[{"reason":"interface_"#]);
    until(&serving, "/metrics", &["vigie_ready 0\n", "vigie_not_ready{reason=\"interface_down\"} 1\n"]);
    shared.interface("eth0").up(true);
    until(&serving, "/readyz", &["HTTP/1.1 200 ", "\r\n\r\nready\n"]);
    until(&serving, "/metrics", &["vigie_ready 1\n"]);
    until(&serving, "/healthz", &["HTTP/1.1 200 ", "\r\n\r\nhealthy\n"]);
    shared.worker(1).unwrap().progressed(0);
    until(&serving, "/healthz", &["HTTP/1.1 503 ", "worker_stalled: worker 1 has not moved for"]);
    until(&serving, "/healthz?format=json", &[r#"{"healthy":false,"stalled":[{"worker":1,"seconds":"#]);
    until(&serving, "/readyz", &["HTTP/1.1 503 ", "worker_stalled: worker 1"]);
    serving.stop();
}

#[test]
fn who_is_slow_or_greedy_is_closed_and_counted() {
    let shared = shared();
    let short = Duration::from_millis(300);
    let limits = ServerLimits { connections_max: 2, header_timeout: short, ..ServerLimits::default() };
    let serving = serve(&shared, limits);
    let began = Instant::now();
    assert!(!ask(&serving, b"GET / HTTP/1.1\r\nHost").starts_with("HTTP/1.1 200"), "a request that does not end");
    assert!(!ask(&serving, b"").starts_with("HTTP/1.1 200"), "a request that does not begin");
    assert!(began.elapsed() < Duration::from_secs(5));
    let long = format!("X: {}\r\n", "a".repeat(20_000));
    assert!(get(&serving, "/", &long).starts_with("HTTP/1.1 431 "), "headers beyond their bytes");
    assert!(get(&serving, "/", &"X: a\r\n".repeat(100)).starts_with("HTTP/1.1 431 "), "headers beyond their number");
    let waiting: Vec<TcpStream> = (0..2).map(|_| TcpStream::connect(serving.address()).unwrap()).collect();
    thread::sleep(Duration::from_millis(50));
    assert_eq!(get(&serving, "/", ""), "", "one connection too many");
    drop(waiting);
    let metrics = until(&serving, "/metrics", &["refused_total{reason=\"too_many\"}"]);
    assert!(metrics.contains("refused_total{reason=\"timeout\"}"), "{metrics}");
    serving.stop();
}

#[test]
fn who_takes_nothing_of_the_answer_is_closed() {
    let shared = shared();
    let limits =
        ServerLimits { connections_max: 1, write_timeout: Duration::from_millis(300), ..ServerLimits::default() };
    let serving = serve(&shared, limits);
    let mut stream = TcpStream::connect(serving.address()).unwrap();
    stream.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
    // Enough answers to fill the buffers of both sides; the writing ends when the other side stops to read.
    while stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").is_ok() {}
    until(&serving, "/metrics", &["HTTP/1.1 200 "]);
    serving.stop();
}

#[test]
fn an_address_in_use_is_refused_with_a_mend() {
    let shared = shared();
    let serving = serve(&shared, ServerLimits::default());
    let error = Server::bind(serving.address(), ServerOptions::default(), shared).err().unwrap().to_string();
    assert!(error.starts_with("cannot listen on 127.0.0.1:") && error.contains("; give another address"), "{error}");
    serving.stop();
}

#[test]
fn passwords_are_asked_for_everywhere() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("web.yml");
    std::fs::write(&file, format!("basic_auth_users:\n  bob: {}\n", bcrypt::hash("secret", 4).unwrap())).unwrap();
    let options = ServerOptions { web_config: Some(file), ..ServerOptions::default() };
    let server = Server::bind("127.0.0.1:0".parse().unwrap(), options, shared()).unwrap();
    let serving = server.serve().unwrap();
    for path in ["/", "/metrics", "/healthz", "/readyz", "/nowhere"] {
        let answer = get(&serving, path, "");
        assert!(answer.starts_with("HTTP/1.1 401 ") && answer.contains("www-authenticate: Basic"), "{answer}");
    }
    // bob:secret and bob:Secret.
    assert!(get(&serving, "/metrics", "Authorization: Basic Ym9iOnNlY3JldA==\r\n").starts_with("HTTP/1.1 200 "));
    assert!(get(&serving, "/metrics", "Authorization: Basic Ym9iOlNlY3JldA==\r\n").starts_with("HTTP/1.1 401 "));
    serving.stop();
}
