//! The sensor as its endpoint shows it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use vigie_metrics::{Server, ServerOptions, Serving};

use super::*;

fn sensor() -> Arc<Shared> {
    let shared = Shared::new("tap <1>", &[("flow", "evicted"), ("flow", "vanished")], 2).unwrap();
    for (worker, evicted) in [(0, 3), (1, 4)] {
        shared.worker(worker).unwrap().publish([evicted, 1]);
    }
    shared
}

fn serve(shared: &Arc<Shared>, thresholds: Thresholds) -> Serving {
    let sensor = MonitoredSensor::new(Arc::clone(shared), thresholds);
    Server::bind("127.0.0.1:0".parse().unwrap(), ServerOptions::default(), sensor).unwrap().serve().unwrap()
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
fn metrics_and_start_page_show_the_sensor() {
    let serving = serve(&sensor(), Thresholds::default());
    let metrics = get(&serving, "/metrics", "");
    assert!(metrics.contains("\nvigie_flows_ended_total{reason=\"evicted\"} 7\n"), "workers are summed");
    assert!(metrics.contains("\nvigie_unmapped_total{family=\"flow\",reason=\"vanished\"} 2\n"));
    assert!(metrics.contains("\nvigie_worker_flows{worker=\"1\"} 0\n"));
    let open = get(&serving, "/metrics", "Accept: application/openmetrics-text;version=1.0.0,*/*;q=0.1\r\n");
    assert!(open.contains("# TYPE vigie_flows_ended counter\n") && open.contains("\nvigie_flows_ended_total{"));
    let page = get(&serving, "/", "");
    assert!(page.contains("<title>vigie tap &lt;1&gt;</title>") && page.contains("<p>Sensor tap &lt;1&gt;, version "));
    serving.stop();
}

#[test]
fn readiness_and_health_say_why_not() {
    let shared = sensor();
    let thresholds = Thresholds { stall_max: Duration::from_millis(300), ..Thresholds::default() };
    let serving = serve(&shared, thresholds);
    until(&serving, "/readyz", &["503", "starting: the sensor is starting\n", "signatures_missing: "]);
    shared.signatures(SignatureFacts::of(&vigie_signatures::Bundle::builtin()));
    let mut facts = shared.signature_facts().unwrap().0;
    facts.newest_review = Some(shared::epoch_seconds(std::time::SystemTime::now()) as i64);
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
