//! Real clients through a mirrored port: curl, OpenSSL and Chromium talk to nginx and, where there is a Python with
//! aioquic, to a QUIC server. What the running sensor alerts of is what reading a simultaneous capture gives. Clients that
//! are not installed are left out, and the test says so; without tcpdump, nginx or network namespaces it passes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use serde_json::Value;
use vigie_skip::skipped;
use vigie_tests::daemon::{Daemon, Folder, PATIENCE, Running, SIGHTINGS, binary, has, is_sighting, until};
use vigie_tests::network::Namespace;

const LAB: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/captures/lab");

/// The invented internet, as the captures' recording knows it.
struct Host {
    name: String,
    addresses: Vec<String>,
    is_banned: bool,
}

impl Host {
    fn all() -> Vec<Self> {
        let table = fs::read_to_string(Path::new(LAB).join("hosts.tsv")).unwrap();
        let lines = table.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
        lines
            .map(|line| {
                let cells: Vec<&str> = line.split('\t').collect();
                let addresses = cells[1].split(',').map(str::to_owned).collect();
                Self { name: cells[0].to_owned(), addresses, is_banned: cells[5] == "yes" }
            })
            .collect()
    }

    fn address(&self) -> &str {
        &self.addresses[0]
    }
}

/// Client, office and server, joined; a copy of what passes at the client's port comes out of `mon1` in the office.
struct Network {
    client: Namespace,
    office: Namespace,
    server: Namespace,
}

impl Network {
    fn new(hosts: &[Host]) -> Option<Self> {
        let network = Self { client: Namespace::new()?, office: Namespace::new()?, server: Namespace::new()? };
        let Self { client, office, server } = &network;
        client.cable("eth0", office, "port0");
        server.cable("eth0", office, "port1");
        office.run("ip link add bridge type bridge mcast_snooping 0; ip link set bridge up");
        office.run("ip link set port0 master bridge; ip link set port1 master bridge");
        office.pair("mon0", "mon1");
        if !office.mirror("port0", "mon0") {
            skipped("this kernel cannot mirror a port");
            return None;
        }
        client.run("ip link set lo up; ip address add 10.66.0.11/24 dev eth0; ip route add default via 10.66.0.1");
        server.run(
            "ip link set lo up; ip address add 10.66.0.1/24 dev eth0; echo 0 >/proc/sys/net/ipv6/conf/lo/disable_ipv6",
        );
        for address in hosts.iter().flat_map(|host| &host.addresses) {
            server.run(&format!("ip address add {address} dev lo"));
        }
        Some(network)
    }
}

fn spawn(mut command: Command, log: &Path) -> Running {
    let log = fs::File::create(log).unwrap();
    command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
    Running(command.spawn().unwrap())
}

/// A certificate for all hosts, where the QUIC server looks for one for each.
fn certificates(folder: &Folder, hosts: &[Host]) -> PathBuf {
    let names: Vec<String> = hosts.iter().map(|host| format!("DNS:{}", host.name)).collect();
    let certificates = folder.path("certificates");
    fs::create_dir(&certificates).unwrap();
    let mut command = Command::new("openssl");
    command.args([
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "10",
    ]);
    command.args(["-keyout", "leaf.key", "-out", "all.pem", "-subj", "/CN=lab", "-addext"]);
    command.arg(format!("subjectAltName={}", names.join(","))).current_dir(&certificates);
    assert!(command.output().unwrap().status.success());
    for host in hosts {
        fs::copy(certificates.join("all.pem"), certificates.join(format!("{}.pem", host.name))).unwrap();
    }
    certificates
}

fn nginx(network: &Network, folder: &Folder) -> Running {
    let configuration = "user root; daemon off; pid nginx.pid; worker_processes 1; events {}\nhttp { access_log off;\n\
        client_body_temp_path a; proxy_temp_path b; fastcgi_temp_path c; uwsgi_temp_path d; scgi_temp_path e;\n\
        server { listen 80; listen 443 ssl http2; ssl_protocols TLSv1.2 TLSv1.3;\n\
        ssl_certificate certificates/all.pem; ssl_certificate_key certificates/leaf.key;\n\
        location / { default_type text/html; return 200 \"<link rel=icon href=data:,>in the lab\"; } } }\n";
    folder.write("nginx.conf", configuration);
    let mut command = network.server.command("nginx");
    command.args(["-p", &folder.text_path(""), "-c", &folder.text_path("nginx.conf"), "-e", "stderr"]);
    let running = spawn(command, &folder.path("nginx.log"));
    until("nginx", PATIENCE, || network.server.can_run("ss -Hltn sport = :443 | grep -q .").then_some(()));
    running
}

/// A QUIC server, where there is a Python for it.
fn quic_server(network: &Network, folder: &Folder, certificates: &Path) -> Option<Running> {
    let python = std::env::var("VIGIE_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let has_aioquic = Command::new(&python).args(["-c", "import aioquic"]).output();
    if !has_aioquic.is_ok_and(|output| output.status.success()) {
        skipped("in part: there is no Python with aioquic for a QUIC server; VIGIE_PYTHON=PROGRAM names one");
        return None;
    }
    for host in Host::all() {
        folder.write(&format!("pages/{}/index.html", host.name), "in the lab\n");
    }
    let mut command = network.server.command(&python);
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    command.args([&format!("{LAB}/quic_server.py"), certificates.to_str().unwrap(), &folder.text_path("pages")]);
    let running = spawn(command, &folder.path("quic.log"));
    until("the QUIC server", PATIENCE, || network.server.can_run("ss -Hlun sport = :443 | grep -q .").then_some(()));
    Some(running)
}

/// Runs a client to its end, or for some seconds.
fn client(network: &Network, seconds: u32, program: &str, arguments: &[&str]) -> String {
    let mut command = network.client.command("timeout");
    command.arg(seconds.to_string()).arg(program).args(arguments).stdin(Stdio::null());
    let output = command.output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn curl(network: &Network, host: &Host, more: &[&str]) {
    let url = format!("https://{}/", host.name);
    let resolve = format!("{}:443:{}", host.name, host.address());
    let page = client(network, 10, "curl", &[&["-sk", "--resolve", &resolve, &url][..], more].concat());
    assert!(page.contains("in the lab"), "{url} {more:?}: {page:?}");
}

fn chromium(network: &Network, folder: &Folder, hosts: &[Host], names: &[&str], more: &[&str]) -> String {
    let map = |name: &&str| {
        let host = hosts.iter().find(|host| host.name == *name).unwrap();
        format!("MAP {name} {}", host.address())
    };
    let maps: Vec<String> = names.iter().map(map).collect();
    let rules = format!("--host-resolver-rules={},MAP * ~NOTFOUND", maps.join(","));
    let profile = format!("--user-data-dir={}", folder.text_path(&format!("profile-{}", names.join("-"))));
    // Over QUIC nothing else makes it trust a key.
    let key = "openssl pkey -in leaf.key -pubout -outform der | openssl dgst -sha256 -binary | base64";
    let key = Command::new("sh").args(["-c", key]).current_dir(folder.path("certificates")).output().unwrap();
    let key = format!("--ignore-certificate-errors-spki-list={}", String::from_utf8_lossy(&key.stdout).trim());
    let url = format!("https://{}/", names[0]);
    let mut arguments = vec!["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"];
    arguments.extend(["--disable-background-networking", "--disable-component-update", "--disable-default-apps"]);
    arguments.extend(["--disable-extensions", "--no-pings", "--dump-dom"]);
    arguments.extend([rules.as_str(), profile.as_str(), key.as_str()]);
    arguments.extend(more);
    arguments.push(&url);
    client(network, 30, "chromium", &arguments)
}

/// Everything that the clients do; the banned names among it.
fn browse(network: &Network, folder: &Folder, hosts: &[Host], has_quic_server: bool) -> BTreeSet<String> {
    let mut banned = BTreeSet::new();
    for (number, host) in hosts.iter().enumerate() {
        curl(network, host, if number % 2 == 0 { &["--tlsv1.3"] } else { &["--tls-max", "1.2", "--http1.1"] });
        if host.is_banned {
            banned.insert(host.name.clone());
        }
    }
    let site = hosts.iter().find(|host| host.name == "www.tiktok.com").unwrap();
    // Asks the proxy for a tunnel, which it is denied: the question is what counts.
    let proxy = format!("http://{}:80", hosts.last().unwrap().address());
    client(network, 5, "curl", &["-sk", "-x", &proxy, "https://www.tiktok.com/"]);
    client(network, 5, "curl", &["-s", "-x", &proxy, "http://www.tiktok.com/"]);
    let connect = format!("{}:443", site.address());
    for more in [&["-tls1_3"][..], &["-tls1_2"], &["-groups", "P-384:X25519"]] {
        let arguments = ["s_client", "-connect", &connect, "-servername", "www.tiktok.com"];
        client(network, 5, "openssl", &[&arguments[..], more].concat());
    }
    client(network, 5, "openssl", &["s_client", "-connect", &connect, "-servername", "www.example.org"]);
    if has("chromium") {
        for name in ["www.capcut.com", "www.example.org"] {
            let page = chromium(network, folder, hosts, &[name], &["--disable-quic"]);
            assert!(page.contains("in the lab"), "chromium {name}: {page:?}");
        }
        for name in ["tiktok.com", "mytiktok.com"] {
            let force = format!("--origin-to-force-quic-on={name}:443");
            let page = chromium(network, folder, hosts, &[name], &["--enable-quic", &force]);
            // Only one of them has a server for QUIC, if Python has.
            let is_answered = page.contains("in the lab");
            println!("chromium over QUIC to {name}: {}", if is_answered { "answered" } else { "not answered" });
            assert!(is_answered || name != "tiktok.com" || !has_quic_server, "{page:?}");
        }
    }
    banned
}

/// Alerts without what cannot be the same: a worker's frame numbers, a run's own secret, the sensor's and the interface's
/// names. Times stand apart, in microseconds.
fn comparable(events: impl IntoIterator<Item = Value>) -> Vec<(Value, [i64; 3])> {
    let mut alerts = Vec::new();
    for mut event in events.into_iter().filter(is_sighting) {
        let fields = event.as_object_mut().unwrap();
        for field in ["pcap_cnt", "flow_id", "host", "in_iface"] {
            fields.remove(field);
        }
        let times = [fields["timestamp"].take(), fields["flow"]["start"].take(), fields["flow"]["end"].take()];
        alerts.push((event, times.map(|time| microseconds(time.as_str().unwrap()))));
    }
    alerts.sort_by_key(|(alert, _)| {
        (alert["src_port"].as_u64(), alert["proto"].to_string(), alert["alert"]["metadata"].to_string())
    });
    alerts
}

/// Of the day, which is enough: the time in `2026-11-21T23:42:23.431206+0000`.
fn microseconds(time: &str) -> i64 {
    let number = |range: std::ops::Range<usize>| -> i64 { time[range].parse().unwrap() };
    ((number(11..13) * 60 + number(14..16)) * 60 + number(17..19)) * 1_000_000 + number(20..26)
}

#[test]
fn what_real_clients_do_is_alerted_of_as_from_a_capture() {
    if !["tcpdump", "nginx", "curl", "openssl", "tc", "ss"].into_iter().all(has) {
        return;
    }
    let hosts = Host::all();
    let Some(network) = Network::new(&hosts) else { return };
    let folder = Folder::new();
    let certificates = certificates(&folder, &hosts);
    let _nginx = nginx(&network, &folder);
    let quic = quic_server(&network, &folder, &certificates);

    let capture = folder.text_path("mirror.pcap");
    let mut command = network.office.command("tcpdump");
    command.args([
        "-i",
        "mon1",
        "-n",
        "-U",
        // Else what came in its last second is not among what it says it captured.
        "--immediate-mode",
        "-Z",
        "root",
        "-B",
        "65536",
        "--time-stamp-precision=nano",
        "-w",
        &capture,
    ]);
    let mut tcpdump = spawn(command, &folder.path("tcpdump.log"));
    let log = || fs::read_to_string(folder.path("tcpdump.log")).unwrap_or_default();
    until("tcpdump", PATIENCE, || log().contains("listening on").then_some(()));
    let daemon = Daemon::start(&network.office, &folder, &[&["-i", "mon1", "--workers", "2"][..], &SIGHTINGS].concat());

    let banned = browse(&network, &folder, &hosts, quic.is_some());
    thread::sleep(Duration::from_millis(500));
    let (seen_before, _) = daemon.scrape(&network.office).packets_and_drops();
    network.office.run(&format!("kill -INT {}", tcpdump.0.id()));
    tcpdump.0.wait().unwrap();
    let (seen_after, dropped) = daemon.scrape(&network.office).packets_and_drops();
    let said = daemon.stop();
    assert!(log().contains("\n0 packets dropped by kernel"), "{}", log());
    let captured: u64 = log().lines().find_map(|line| line.strip_suffix(" packets captured")?.parse().ok()).unwrap();
    println!("{captured} packets captured; {}", said.lines().last().unwrap_or_default());
    // The hosts still look for one another now and then while the one listener stops before the other.
    assert!((seen_before..=seen_after).contains(&captured), "{captured} of {seen_before} to {seen_after}");
    assert_eq!(dropped, 0);

    let read = Command::new(binary()).args(["read", "--json", "--events", "sighting", &capture]).output().unwrap();
    assert!(read.status.success(), "{}", String::from_utf8_lossy(&read.stderr));
    let read = String::from_utf8(read.stdout).unwrap();
    let expected = comparable(read.lines().map(|line| serde_json::from_str(line).unwrap()));
    let live: Vec<Value> = folder.alerts().into_iter().filter(is_sighting).collect();
    let mut evidence = BTreeMap::<String, usize>::new();
    let mut names = BTreeSet::new();
    for alert in &live {
        let metadata = &alert["alert"]["metadata"];
        *evidence.entry(metadata["evidence"][0].as_str().unwrap().to_owned()).or_default() += 1;
        names.extend(metadata["name"][0].as_str().map(str::to_owned));
    }
    println!("{} alerts: {evidence:?}", live.len());
    let live = comparable(live);
    assert_eq!(live.len(), expected.len(), "live: {live:#?}\nread: {expected:#?}");
    for ((live, live_times), (expected, expected_times)) in live.iter().zip(&expected) {
        assert_eq!(live, expected);
        // Each listener's copy may be stamped for itself.
        let near = |(one, other): (&i64, &i64)| (one - other).abs() < 10_000;
        assert!(live_times.iter().zip(expected_times).all(near), "{live_times:?} {expected_times:?}: {live}");
    }
    // The others are of names that only support these.
    assert!(names.is_superset(&banned), "{names:?}");
    assert!(live.len() >= banned.len() + 5, "{} alerts", live.len());
    // Without a server the socket is refused before the second half of the hello is sent.
    if quic.is_some() && has("chromium") {
        assert!(evidence.keys().any(|kind| kind.contains("quic")), "{evidence:?}");
    }
}
