//! What stands beside the project's own captures: the truth files, the invented internet, and the README's table of what
//! should alert.

use std::collections::HashMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// The captures.
pub const CAPTURES: [&str; 7] =
    ["browsing.pcapng", "curl.pcap", "dns.pcap", "nosni.pcap", "openssl.pcap", "proxies.pcap", "quic.pcap"];

/// Where the captures are.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("captures")
}

/// A capture's path.
pub fn capture(name: &str) -> PathBuf {
    folder().join(name)
}

/// A name on a flow.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Named {
    /// `tls`, `quic`, `dtls`, or of a clear text `http-host`, `http-connect`, `socks4a`, `socks5`.
    pub proto: String,
    /// Client's end.
    pub client: SocketAddr,
    /// Server's end.
    pub server: SocketAddr,
    /// In lower case; `None` for a hello without a name.
    pub name: Option<String>,
}

/// Every hello of a capture.
pub fn hellos(capture: &str) -> Vec<Named> {
    named("truth.tsv", capture)
}

/// Every name in clear text of a capture.
pub fn clear_text(capture: &str) -> Vec<Named> {
    named("truth-clear.tsv", capture)
}

fn named(file: &str, capture: &str) -> Vec<Named> {
    let rows = tsv(file).into_iter().filter(|row| row[0] == capture);
    rows.map(|row| Named {
        proto: row[1].clone(),
        client: end(&row[2], &row[3]),
        server: end(&row[4], &row[5]),
        name: name(&row[6]),
    })
    .collect()
}

/// Every DNS answer of a capture: `CLIENT < SERVER question type rcode answers`.
pub fn dns(capture: &str) -> Vec<String> {
    let rows = tsv("truth-dns.tsv").into_iter().filter(|row| row[0] == capture);
    rows.map(|row| {
        // The offers of an HTTPS record are not in the sensor's records.
        let answers: Vec<&str> = row[7].split(',').filter(|answer| !answer.starts_with("alpn=")).collect();
        let answers = if answers.is_empty() { "-".to_owned() } else { answers.join(",") };
        format!("{} {} < {} {} {} {} {answers}", row[1], row[2], row[3], row[4].to_lowercase(), row[5], row[6])
    })
    .collect()
}

/// A host of the invented internet.
#[derive(Clone, Debug)]
pub struct Host {
    /// Its service, if it belongs to one that is known.
    pub service: Option<String>,
    /// Whether contacting it should alert.
    pub alerts: bool,
    /// `app`, `web`, `embed` or `undetermined`.
    pub verdict: Option<String>,
}

/// The invented internet.
pub fn hosts() -> HashMap<String, Host> {
    let rows = tsv("lab/hosts.tsv").into_iter();
    rows.map(|row| (row[0].clone(), Host { service: name(&row[4]), alerts: row[5] == "yes", verdict: name(&row[6]) }))
        .collect()
}

/// A row of the README's table of what is inside.
#[derive(Clone, Debug)]
pub struct Described {
    /// What stands where.
    pub named: Named,
    /// Whether it should alert.
    pub alerts: bool,
    /// Why; for a hello without a name it begins with the evidence.
    pub why: String,
}

/// The README's table of a capture.
pub fn described(capture: &str) -> Vec<Described> {
    let text = fs::read_to_string(folder().join("README.md")).unwrap();
    let tables = text.split_once("<!-- contents -->").unwrap().1;
    let table = tables.split("### ").find(|table| table.lines().next() == Some(capture)).unwrap_or_default();
    let rows = table.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| proto"));
    rows.map(|line| {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let ends = |cell: &str| cell.split_once(" : ").map(|(address, port)| end(address, port)).unwrap();
        Described {
            named: Named {
                proto: cells[0].to_owned(),
                client: ends(cells[1]),
                server: ends(cells[2]),
                name: name(cells[3]),
            },
            alerts: cells[4] == "**yes**",
            why: cells[5].to_owned(),
        }
    })
    .collect()
}

fn tsv(file: &str) -> Vec<Vec<String>> {
    let text = fs::read_to_string(folder().join(file)).unwrap();
    let rows = text.lines().filter(|line| !line.starts_with('#'));
    rows.map(|line| line.split('\t').map(str::to_owned).collect()).collect()
}

fn name(cell: &str) -> Option<String> {
    (cell != "-").then(|| cell.to_lowercase())
}

fn end(address: &str, port: &str) -> SocketAddr {
    SocketAddr::new(address.parse().unwrap(), port.parse().unwrap())
}
