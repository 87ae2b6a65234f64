//! The endpoint as clients see it, in clear text; TLS with real clients is tried in the whole-sensor tests.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use super::*;
use crate::monitored::locked;
use crate::{Family, Identity, Reason, Scrape, Stalled};

mod example {
    crate::families! {
        EVENTS: Counter, "example_events_total", ["worker"], "Events.";
    }
}

/// A program that is as its test wants it.
#[derive(Default)]
struct Example {
    reasons: Mutex<Vec<Reason>>,
    stalled: Mutex<Vec<Stalled>>,
    samples: Mutex<u64>,
    panics: AtomicBool,
}

impl Monitored for Example {
    fn identity(&self) -> Identity {
        let name = "a <1> & b".to_owned();
        Identity { program: "example", role: "Forwarder", name, version: "1.2.3", readiness: "whether it can send" }
    }

    fn families(&self) -> &'static [Family] {
        example::FAMILIES
    }

    fn collect(&self, scrape: &mut Scrape) {
        scrape.add(example::EVENTS, &["1"], 7);
    }

    fn sample(&self) {
        assert!(!self.panics.load(Ordering::Relaxed), "a test asks for this panic");
        *locked(&self.samples) += 1;
    }

    fn not_ready(&self) -> Vec<Reason> {
        locked(&self.reasons).clone()
    }

    fn stalled(&self) -> Vec<Stalled> {
        locked(&self.stalled).clone()
    }
}

fn serve(program: &Arc<Example>, limits: ServerLimits) -> Serving {
    let options = ServerOptions { limits, ..ServerOptions::default() };
    let program: Arc<dyn Monitored> = Arc::<Example>::clone(program);
    Server::bind("127.0.0.1:0".parse().unwrap(), options, program).unwrap().serve().unwrap()
}

/// Everything that comes back for these bytes until the other side closes.
fn ask(serving: &Serving, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(serving.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(bytes).unwrap();
    let mut answer = Vec::new();
    // A reset after the response counts as its end.
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8(answer).unwrap()
}

fn get(serving: &Serving, path: &str, headers: &str) -> String {
    ask(serving, format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n").as_bytes())
}

#[test]
fn each_path_answers() {
    let serving = serve(&Arc::default(), ServerLimits::default());
    let metrics = get(&serving, "/metrics", "");
    assert!(metrics.starts_with("HTTP/1.1 200 ") && metrics.contains("text/plain; version=0.0.4"), "{metrics}");
    assert!(metrics.contains("\nexample_events_total{worker=\"1\"} 7\n"), "{metrics}");
    assert!(metrics.contains("\nprocess_threads ") && metrics.contains("\nvigie_web_config_reloads_total{"));
    let open = get(&serving, "/metrics", "Accept: application/openmetrics-text;version=1.0.0,*/*;q=0.1\r\n");
    assert!(open.contains("application/openmetrics-text; version=1.0.0") && open.ends_with("# EOF\n"), "{open}");
    assert!(open.contains("# TYPE example_events counter\n") && open.contains("\nexample_events_total{"));
    let page = get(&serving, "/", "");
    assert!(
        page.contains("<title>example a &lt;1&gt; &amp; b</title>")
            && page.contains("Forwarder a &lt;1&gt; &amp; b, version 1.2.3.")
            && page.contains("/readyz</a>: whether it can send<")
            && page.contains("href=\"metrics\"")
            && page.contains("text/html"),
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
fn readiness_and_health_say_why_not() {
    let program = Arc::<Example>::default();
    let serving = serve(&program, ServerLimits::default());
    until(&serving, "/readyz", &["HTTP/1.1 200 ", "\r\n\r\nready\n"]);
    until(&serving, "/healthz", &["HTTP/1.1 200 ", "\r\n\r\nhealthy\n"]);
    locked(&program.reasons).push(Reason { code: "starting", detail: "it is starting".to_owned() });
    until(&serving, "/readyz", &["503", "not ready\nstarting: it is starting\n"]);
    let json = r#"{"ready":false,"reasons":[{"reason":"starting","detail":"it is starting"}]}"#;
    until(&serving, "/readyz?format=json", &["application/json", json]);
    locked(&program.stalled).push(Stalled { worker: 1, age: Duration::from_secs(12) });
    until(&serving, "/healthz", &["HTTP/1.1 503 ", "not healthy\nworker_stalled: worker 1 has not moved for 12 s\n"]);
    let json = r#"{"healthy":false,"stalled":[{"worker":1,"seconds":12}]}"#;
    until(&serving, "/healthz?format=json", &[json]);
    let began = Instant::now();
    while *locked(&program.samples) < 2 {
        assert!(began.elapsed() < Duration::from_secs(10), "readiness is not sampled");
        thread::sleep(Duration::from_millis(20));
    }
    serving.stop();
}

#[test]
fn slow_and_greedy_clients_are_closed_and_counted() {
    let short = Duration::from_millis(300);
    let limits = ServerLimits { connections_max: 2, header_timeout: short, ..ServerLimits::default() };
    let serving = serve(&Arc::default(), limits);
    let began = Instant::now();
    assert!(!ask(&serving, b"GET / HTTP/1.1\r\nHost").starts_with("HTTP/1.1 200"), "a request that does not end");
    assert!(!ask(&serving, b"").starts_with("HTTP/1.1 200"), "a request that does not begin");
    assert!(began.elapsed() < Duration::from_secs(5));
    let long = format!("X: {}\r\n", "a".repeat(20_000));
    assert!(get(&serving, "/", &long).starts_with("HTTP/1.1 431 "), "too many header bytes");
    assert!(get(&serving, "/", &"X: a\r\n".repeat(100)).starts_with("HTTP/1.1 431 "), "too many headers");
    let waiting: Vec<TcpStream> = (0..2).map(|_| TcpStream::connect(serving.address()).unwrap()).collect();
    thread::sleep(Duration::from_millis(50));
    assert!(get(&serving, "/", "").starts_with("HTTP/1.1 200 "), "those that say nothing make room");
    drop(waiting);
    let metrics = until(&serving, "/metrics", &["refused_total{reason=\"too_many\"}"]);
    assert!(metrics.contains("refused_total{reason=\"timeout\"}"), "{metrics}");
    serving.stop();
}

#[test]
fn many_slow_connections_keep_no_scrape_out() {
    let limits = ServerLimits { connections_max: 8, ..ServerLimits::default() };
    let serving = serve(&Arc::default(), limits);
    let slow = || {
        let mut stream = TcpStream::connect(serving.address()).unwrap();
        let _ = stream.write_all(b"GET /metrics HTTP/1.1\r\nHo");
        stream
    };
    let mut slow_ones: Vec<TcpStream> = Vec::new();
    for scrape in 0..20 {
        slow_ones.extend((0..30).map(|_| slow()));
        let metrics = get(&serving, "/metrics", "");
        assert!(metrics.starts_with("HTTP/1.1 200 "), "scrape {scrape}: {metrics}");
    }
    serving.stop();
}

#[test]
fn a_client_that_reads_nothing_is_closed() {
    let limits =
        ServerLimits { connections_max: 1, write_timeout: Duration::from_millis(300), ..ServerLimits::default() };
    let serving = serve(&Arc::default(), limits);
    let mut stream = TcpStream::connect(serving.address()).unwrap();
    stream.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
    // Enough responses to fill the buffers of both sides; writing fails when the other side stops reading.
    while stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").is_ok() {}
    until(&serving, "/metrics", &["HTTP/1.1 200 "]);
    serving.stop();
}

#[test]
fn an_address_in_use_is_refused_with_a_mend() {
    let serving = serve(&Arc::default(), ServerLimits::default());
    let error =
        Server::bind(serving.address(), ServerOptions::default(), Arc::<Example>::default()).err().unwrap().to_string();
    assert!(error.starts_with("cannot listen on 127.0.0.1:") && error.contains("; give another address"), "{error}");
    serving.stop();
}

#[test]
fn every_path_requires_the_password() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("web.yml");
    std::fs::write(&file, format!("basic_auth_users:\n  bob: {}\n", bcrypt::hash("secret", 4).unwrap())).unwrap();
    let options = ServerOptions { web_config: Some(file), ..ServerOptions::default() };
    let server = Server::bind("127.0.0.1:0".parse().unwrap(), options, Arc::<Example>::default()).unwrap();
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

#[test]
fn an_endpoint_whose_task_panics_does_not_run() {
    let program = Arc::<Example>::default();
    let serving = serve(&program, ServerLimits::default());
    assert!(get(&serving, "/healthz", "").contains("200 OK") && serving.is_running());
    program.panics.store(true, Ordering::Relaxed);
    let began = Instant::now();
    while serving.is_running() {
        assert!(began.elapsed() < Duration::from_secs(20), "the panic is not noticed");
        thread::sleep(Duration::from_millis(20));
    }
    serving.stop();
}
