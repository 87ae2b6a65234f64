//! Prometheus scrapes a running sensor: `promtool` accepts what it answers, and the rules for drops fire when drops are
//! forced. Where Prometheus or network namespaces are missing the tests say so and pass.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use vigie_tests::daemon::{Daemon, Folder, Running, has};
use vigie_tests::known;
use vigie_tests::network::{Namespace, Sender};
use vigie_tests::prometheus;

const RULES: &str = "../sensor/deploy/prometheus/vigie.rules.yml";
const SERVER: ([u8; 4], u16) = ([127, 0, 0, 1], 9090);

#[test]
fn it_is_scraped_and_forced_drops_fire_the_rules() {
    if !has("prometheus") || !has("promtool") {
        return;
    }
    let Some(namespace) = Namespace::new() else { return };
    namespace.pair("out0", "tap0");
    let folder = Folder::new();
    let mut arguments = vec!["-i", "tap0", "--workers", "2"];
    for setting in ["capture.ring_bytes=131072", "capture.block_bytes=65536", "capture.snap_bytes=2048"] {
        arguments.extend(["--set", setting]);
    }
    let daemon = Daemon::start(&namespace, &folder, &arguments);
    let send = |first: usize| {
        let frames: Vec<Vec<u8>> =
            (first..first + 3_000).flat_map(|number| known::says(number, "www.capcut.com")).collect();
        namespace.inside(|| Sender::new("out0").send(frames.iter().map(Vec::as_slice)));
        frames.len() as u64
    };
    let first: Vec<Vec<u8>> = (0..20).flat_map(|number| known::says(number, "www.capcut.com")).collect();
    namespace.inside(|| Sender::new("out0").send(first.iter().map(Vec::as_slice)));
    let scrape = daemon.scrape_until(&namespace, "alerts", |scrape| scrape.sum("vigie_alerts_total", &[]) == 20);
    let mut promtool = namespace.command("promtool");
    folder.write("scrape", &scrape.0);
    promtool.args(["check", "metrics"]).stdin(fs::File::open(folder.path("scrape")).unwrap());
    let output = promtool.output().unwrap();
    let told = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success() && told.is_empty(), "{told}");

    // The rules as they are shipped, but for their patience.
    let rules = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(RULES)).unwrap();
    folder.write("vigie.rules.yml", &rules.replace("for: 2m", "for: 1s"));
    folder.write(
        "prometheus.yml",
        "global: {scrape_interval: 1s, evaluation_interval: 1s}\nrule_files: [vigie.rules.yml]\nscrape_configs:\n\
         - job_name: vigie\n  static_configs: [{targets: ['127.0.0.1:19843']}]\n",
    );
    let mut command = namespace.command("prometheus");
    command
        .args(["--config.file=prometheus.yml", "--storage.tsdb.path=data", "--web.listen-address=127.0.0.1:9090"])
        .current_dir(folder.path("."))
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let _prometheus = Running(command.spawn().unwrap());
    let query = |asked: &str| namespace.inside(|| prometheus::query(SERVER.into(), asked));
    assert_eq!(query("up{job=\"vigie\"} == 1"), "1");
    assert_eq!(query("sum(vigie_alerts_total)"), "20");
    query("count_over_time(up{job=\"vigie\"}[1m]) >= 2");

    daemon.signal(libc::SIGSTOP);
    let sent = 80 + send(1_000);
    daemon.signal(libc::SIGCONT);
    for rule in ["VigieDrops", "VigieDropsHeavy"] {
        assert_eq!(query(&format!("ALERTS{{alertname=\"{rule}\",alertstate=\"firing\"}}")), "1");
    }
    let sum = "sum(vigie_capture_packets_total) + sum(vigie_capture_drops_total{reason=\"ring\"})";
    assert_eq!(query(&format!("{sum} == {sent}")), sent.to_string());
    let lost = query("sum(vigie_capture_drops_total{reason=\"ring\"})");
    println!("{sent} sent, {lost} dropped; VigieDrops and VigieDropsHeavy fire");
    daemon.stop();
    assert_eq!(query("up{job=\"vigie\"} == 0"), "0");
}
