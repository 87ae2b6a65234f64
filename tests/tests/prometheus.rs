//! Prometheus itself reads what the sensor writes: `promtool` checks names, rules and their unit tests, and a real server
//! scrapes the endpoint and fires a rule. Where Prometheus is not installed the tests say so and pass.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use prometheus::proto::MetricType;
use serde_json::Value;
use vigie::detect::Evidence;
use vigie::telemetry::families::{TABLES, UNMAPPED};
use vigie::telemetry::worker_counts::WORKER_COUNTS;
use vigie::telemetry::{CaptureCounts, Loss, MonitoredSensor, Phase, Shared, SignatureFacts, Thresholds};
use vigie_metrics::exposition::Format;
use vigie_metrics::server::{HTTP_REFUSED, HTTP_REQUESTS};
use vigie_metrics::{Family, Kind, Server, ServerOptions, registry};
use vigie_signatures::Bundle;
use vigie_skip::skipped;
use vigie_tests::daemon::{Running, get};
use vigie_tests::prometheus::query;

fn deployed(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../sensor/deploy/prometheus").join(name)
}

fn dashboard() -> Value {
    serde_json::from_slice(&fs::read(deployed("grafana-dashboard.json")).unwrap()).unwrap()
}

/// All values of `key`, at any depth.
fn texts<'v>(value: &'v Value, key: &str, found: &mut Vec<&'v str>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value.as_str() {
                    Some(text) if name == key => found.push(text),
                    _ => texts(value, key, found),
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|value| texts(value, key, found)),
        _ => {}
    }
}

/// The words of a text that could be names of ours; those with a colon are recorded by rules.
fn metric_names(text: &str) -> BTreeSet<&str> {
    let words = text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_' && letter != ':');
    words
        .filter(|word| word.starts_with("vigie_") || word.starts_with("process_") || word.contains(":vigie_"))
        .collect()
}

/// Those of `names` that neither the table nor a recording rule has.
fn unknown<'n>(names: &BTreeSet<&'n str>, recorded: &BTreeSet<&str>) -> Vec<&'n str> {
    let is_known = |name: &str| {
        TABLES.concat().iter().any(|family| {
            let rest = name.strip_prefix(family.name);
            let parts: &[&str] = if family.kind == Kind::Histogram { &["_bucket", "_sum", "_count"] } else { &[""] };
            rest.is_some_and(|rest| parts.contains(&rest))
        })
    };
    names.iter().copied().filter(|name| !recorded.contains(name) && !is_known(name)).collect()
}

#[test]
fn rules_and_dashboard_use_only_metrics_that_exist() {
    let rules = fs::read_to_string(deployed("vigie.rules.yml")).unwrap();
    let tests = fs::read_to_string(deployed("vigie.rules.test.yml")).unwrap();
    let recorded: BTreeSet<&str> =
        rules.lines().filter_map(|line| line.trim().strip_prefix("- record: ")).map(str::trim).collect();
    assert!(recorded.len() >= 4, "{recorded:?}");
    let dashboard = dashboard();
    let (mut queries, mut shown) = (Vec::new(), Vec::new());
    for key in ["expr", "query", "definition"] {
        texts(&dashboard, key, &mut queries);
    }
    texts(&dashboard, "title", &mut shown);
    assert!(queries.len() > 40 && shown.len() > 30);
    for (what, text) in [("rules", &rules), ("tests", &tests), ("dashboard", &queries.join("\n"))] {
        let names = metric_names(text);
        assert!(names.len() > 10, "{what}: {names:?}");
        assert_eq!(unknown(&names, &recorded), Vec::<&str>::new(), "{what}");
    }
    // The comparison can fail.
    let wrong = metric_names("rate(vigie_flows_total[5m]) + vigie_alert_latency_seconds + instance:vigie_x:rate5m");
    assert_eq!(unknown(&wrong, &recorded).len(), 3);
}

#[test]
fn every_alert_has_a_unit_test_and_says_what_to_do() {
    let rules = fs::read_to_string(deployed("vigie.rules.yml")).unwrap();
    let tests = fs::read_to_string(deployed("vigie.rules.test.yml")).unwrap();
    let alerts: Vec<&str> = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(alerts.len() >= 15);
    for alert in &alerts {
        let named = format!("alertname: {alert}\n");
        let expected =
            |(at, _): &(usize, &str)| tests[*at..].lines().nth(1).is_some_and(|line| line.trim() == "exp_alerts:");
        let fired = tests.match_indices(&named).filter(expected);
        assert!(fired.count() >= 1, "{alert} is never seen to fire");
        assert!(tests.contains(&format!("alertname: {alert}}}")), "{alert} is never seen not to fire");
    }
    for word in ["severity: ", "summary: ", "description: "] {
        assert_eq!(rules.matches(word).count(), alerts.len(), "{word}");
    }
}

/// A sensor to which everything has happened once.
fn eventful() -> Arc<Shared> {
    let labels: Vec<(&str, &str)> = WORKER_COUNTS.iter().map(|&(family, reason, ..)| (family, reason)).collect();
    let shared = Shared::new("tap", &labels, 2).unwrap();
    let bundle = Bundle::builtin();
    shared.signatures(SignatureFacts::of(&bundle));
    shared.policy("0123");
    for worker in 0..2 {
        let cells = shared.worker(worker).unwrap();
        cells.publish(1..=labels.len() as u64);
        cells.flows(5, 1_000);
        cells.channel(1, 64, 2);
        cells.busy(Duration::from_millis(30), Duration::from_millis(100));
        cells.progressed(shared.now_ms());
        let counts = CaptureCounts { packets: 1_000, bytes: 64_000, dropped_ring: 7, dropped_sensor: 2 };
        shared.capture(worker, "eth0").publish(&counts);
    }
    shared.interface("eth0").dropped(4);
    shared.interface("eth0").reopened();
    let rule = bundle.rules().first().unwrap();
    shared.alert_written(rule, Evidence::QuicSni, Some(Duration::from_millis(3)));
    shared.service_bytes(&"tiktok".into(), "Norway", 1_000, 100);
    shared.alerts_lost(Loss::Evicted, 1);
    shared.events_dropped(Loss::ChannelFull, 1);
    shared.sink("journal").wrote(1, 700);
    shared.sink("journal").failed();
    shared.reloaded(true);
    shared.watchdog(true);
    shared.enter(Phase::Running);
    shared
}

fn monitored(shared: &Arc<Shared>) -> Arc<MonitoredSensor> {
    MonitoredSensor::new(Arc::clone(shared), Thresholds::default())
}

/// Families that a quiet scrape need not have: those of the endpoint and of defects.
const MAY_LACK: [Family; 3] = [HTTP_REQUESTS, HTTP_REFUSED, UNMAPPED];

#[test]
fn what_is_exported_is_what_the_table_says() {
    let families = registry(monitored(&eventful()), Arc::default()).unwrap().gather();
    let exported: BTreeMap<&str, _> = families.iter().map(|family| (family.name(), family)).collect();
    for family in TABLES.concat() {
        let Some(found) = exported.get(family.name) else {
            assert!(MAY_LACK.contains(&family), "{} is not exported", family.name);
            continue;
        };
        assert_eq!(found.help(), family.help);
        let kind = match family.kind {
            Kind::Counter => MetricType::COUNTER,
            Kind::Gauge => MetricType::GAUGE,
            Kind::Histogram => MetricType::HISTOGRAM,
        };
        assert_eq!(found.get_field_type(), kind, "{}", family.name);
        let mut expected = family.labels.to_vec();
        expected.sort_unstable();
        for metric in found.get_metric() {
            let mut labels: Vec<&str> = metric.get_label().iter().map(|label| label.name()).collect();
            labels.sort_unstable();
            assert_eq!(labels, expected, "{}", family.name);
        }
    }
    assert_eq!(exported.len(), TABLES.concat().len() - MAY_LACK.len(), "something is exported that the table has not");
    // Two workers, summed: sent = seen + drops.
    let text = String::from_utf8(Format::Text.encode(&families).unwrap()).unwrap();
    for line in [
        "vigie_capture_packets_total{interface=\"eth0\"} 2000",
        "vigie_capture_drops_total{interface=\"eth0\",reason=\"interface\"} 4",
        "vigie_capture_drops_total{interface=\"eth0\",reason=\"ring\"} 14",
        "vigie_capture_drops_total{interface=\"eth0\",reason=\"sensor\"} 4",
        "vigie_worker_drops_total{worker=\"1\"} 9",
        "vigie_worker_frames_total{worker=\"0\"} 1",
        "vigie_worker_busy_ratio{worker=\"0\"} 0.3",
        "vigie_decoded_packets_total 6",
        "vigie_alert_latency_seconds_bucket{le=\"0.005\"} 1",
        "vigie_alert_latency_seconds_bucket{le=\"0.0025\"} 0",
    ] {
        assert!(text.lines().any(|known| known == line), "no {line} in {text}");
    }
}

/// Whether a program of Prometheus is there; says so if it is not.
fn has(program: &str) -> bool {
    let is_there = Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success());
    if !is_there {
        skipped(format_args!("{program} is not installed (Debian package prometheus)"));
    }
    is_there
}

/// Runs promtool with this on its standard input; its output if all is well.
fn promtool(arguments: &[&str], input: &[u8]) {
    let mut command = Command::new("promtool");
    command
        .args(arguments)
        .current_dir(deployed(""))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // Who needs no input may be gone before it was offered.
    let _ = child.stdin.take().unwrap().write_all(input);
    let output = child.wait_with_output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && err.is_empty(), "promtool {arguments:?}: {out}{err}");
}

#[test]
fn promtool_accepts_metrics_rules_and_dashboard() {
    if !has("promtool") {
        return;
    }
    let families = registry(monitored(&eventful()), Arc::default()).unwrap().gather();
    promtool(&["check", "metrics"], &Format::Text.encode(&families).unwrap());
    promtool(&["check", "rules", "vigie.rules.yml"], b"");
    promtool(&["test", "rules", "vigie.rules.test.yml"], b"");
    // The dashboard's queries, with Grafana's variables filled in, as rules.
    let dashboard = dashboard();
    let mut queries = Vec::new();
    texts(&dashboard, "expr", &mut queries);
    let mut rules = String::from("groups:\n- name: dashboard\n  rules:\n");
    for (number, query) in queries.iter().enumerate() {
        let query = query.replace("$__rate_interval", "5m").replace("$job", ".*").replace("$instance", ".*");
        assert!(!query.contains('$'), "{query}");
        rules.push_str(&format!("  - record: query_{number}\n    expr: '{query}'\n"));
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("dashboard.yml");
    fs::write(&file, rules).unwrap();
    promtool(&["check", "rules", file.to_str().unwrap()], b"");
}

#[test]
fn prometheus_scrapes_the_endpoint_and_a_rule_fires() {
    if !has("prometheus") {
        return;
    }
    let shared = eventful();
    let server = Server::bind("127.0.0.1:0".parse().unwrap(), ServerOptions::default(), monitored(&shared)).unwrap();
    let serving = server.serve().unwrap();
    let folder = tempfile::tempdir().unwrap();
    // A port that was free a moment ago.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let config = format!(
        "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\nrule_files: ['{}']\nscrape_configs:\n\
         - job_name: vigie\n  static_configs: [{{targets: ['{}']}}]\n",
        deployed("vigie.rules.yml").canonicalize().unwrap().display(),
        serving.address()
    );
    fs::write(folder.path().join("prometheus.yml"), config).unwrap();
    let child = Command::new("prometheus")
        .args(["--config.file=prometheus.yml", "--storage.tsdb.path=data"])
        .arg(format!("--web.listen-address={address}"))
        .current_dir(folder.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let _running = Running(child.unwrap());
    assert_eq!(query(address, "up{job=\"vigie\"} == 1"), "1");
    assert_eq!(query(address, "vigie_capture_packets_total{interface=\"eth0\"}"), "2000");
    assert_eq!(query(address, "sum(vigie_capture_drops_total)"), "22");
    assert_eq!(query(address, "vigie_alert_latency_seconds_count"), "1");
    assert_eq!(
        query(
            address,
            "vigie_alert_latency_seconds_bucket{le=\"1.0\"} or vigie_alert_latency_seconds_bucket{le=\"1\"}"
        ),
        "1"
    );
    // It asked for OpenMetrics and took what it got, types and units among it.
    let targets = get(address, "/api/v1/targets/metadata?metric=vigie_alert_latency_seconds");
    assert!(targets.contains("\"unit\":\"seconds\"") && targets.contains("\"type\":\"histogram\""), "{targets}");
    shared.reloaded(false);
    assert_eq!(query(address, "ALERTS{alertname=\"VigieReloadFailed\",alertstate=\"firing\"}"), "1");
    serving.stop();
    assert_eq!(query(address, "up{job=\"vigie\"} == 0"), "0");
    assert_eq!(query(address, "ALERTS{alertname=\"VigieSensorDown\",alertstate=\"pending\"}"), "1");
}
