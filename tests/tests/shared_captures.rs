//! Published captures of other projects with an oracle that several decoders agreed on: every name that has to be found
//! is, on its flow and in its direction, and no other. The captures are not part of this repository: where they are not
//! beside it, the test says so and passes.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use vigie_skip::skipped;
use vigie_tests::replay::{self, client, server};

/// Names that have to be found, by the oracle's class. Those of other classes may be reported, and need not be.
const REQUIRED: [&str; 5] = ["core", "http-connect", "socks", "starttls", "proxy-protocol"];
/// How long a capture may take in a development build on a busy machine; the longest has some megabytes.
const FILE_TIME_MAX: Duration = Duration::from_secs(5);

/// Client's and server's end, and the name: how the oracle and the sensor's record agree.
type Key = (IpAddr, u16, IpAddr, u16, String);

fn folder() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/captures/dev");
    if !folder.join("oracle-dev.jsonl").exists() {
        skipped(format_args!("the published captures are not at {}", folder.display()));
        return None;
    }
    Some(folder)
}

fn oracle(folder: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(folder.join("oracle-dev.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// What one capture came to.
#[derive(Debug, Default)]
struct Score {
    /// By class: how many are there, how many were found.
    found: BTreeMap<String, (usize, usize)>,
    misses: Vec<String>,
    inventions: Vec<String>,
    unreadable: Option<String>,
    took: Duration,
}

fn canonical(name: &str) -> String {
    name.to_lowercase().trim_end_matches('.').to_owned()
}

fn address(text: &str) -> IpAddr {
    text.parse::<IpAddr>().unwrap().to_canonical()
}

/// The oracle's names of a capture, each with the class that demands the most.
fn names(capture: &Value) -> HashMap<Key, String> {
    let mut names: HashMap<Key, String> = HashMap::new();
    for entry in capture["entries"].as_array().unwrap() {
        let Some(name) = entry["sni"].as_str() else { continue };
        let port = |field: &str| u16::try_from(entry[field].as_u64().unwrap()).unwrap();
        let end = |field: &str| address(entry[field].as_str().unwrap());
        let key = (end("src"), port("sport"), end("dst"), port("dport"), canonical(name));
        let class = entry["cls"].as_str().unwrap();
        let known = names.entry(key).or_insert_with(|| class.to_owned());
        if REQUIRED.contains(&class) && !REQUIRED.contains(&known.as_str()) {
            *known = class.to_owned();
        }
    }
    names
}

fn score(folder: &Path, capture: &Value) -> Score {
    let path = capture["pcap"].as_str().unwrap();
    let names = names(capture);
    let start = Instant::now();
    let replay = replay::file(&folder.join(path), &replay::everything_named());
    let mut score = Score { took: start.elapsed(), ..Score::default() };
    let mut reported = HashSet::new();
    match replay {
        Ok(replay) => {
            for (flow, hello) in replay.hellos() {
                let Some(name) = hello.server_name.as_deref().filter(|name| !name.is_empty()) else { continue };
                let (client, server) = (client(flow), server(flow));
                let key = (client.ip(), client.port(), server.ip(), server.port(), canonical(name));
                if !names.contains_key(&key) {
                    score.inventions.push(format!("{path}: {client} > {server} {name}"));
                }
                reported.insert(key);
            }
        }
        Err(error) => score.unreadable = Some(error.to_string()),
    }
    for (key, class) in &names {
        let (there, found) = score.found.entry(class.clone()).or_default();
        *there += 1;
        *found += usize::from(reported.contains(key));
        if REQUIRED.contains(&class.as_str()) && !reported.contains(key) {
            score.misses.push(format!("{path}: {class} {key:?}"));
        }
    }
    score
}

/// All captures, on all processors.
fn scores(folder: &Path, oracle: &[Value]) -> Vec<Score> {
    let (next, scores) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(capture) = oracle.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let score = score(folder, capture);
                    scores.lock().unwrap().push(score);
                }
            });
        }
    });
    scores.into_inner().unwrap()
}

#[test]
fn every_name_that_must_be_found_is_and_none_is_invented() {
    let Some(folder) = folder() else { return };
    let oracle = oracle(&folder);
    let start = Instant::now();
    let scores = scores(&folder, &oracle);
    assert_eq!(scores.len(), oracle.len(), "a capture brought a thread down");

    let mut found: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    for (class, (there, hit)) in scores.iter().flat_map(|score| &score.found) {
        let total = found.entry(class.clone()).or_default();
        *total = (total.0 + there, total.1 + hit);
    }
    println!("{} captures in {:.1} s", scores.len(), start.elapsed().as_secs_f32());
    for (class, (there, hit)) in &found {
        println!("{class}: {hit} of {there}");
    }
    for score in &scores {
        score.misses.iter().for_each(|miss| println!("MISS {miss}"));
        score.inventions.iter().for_each(|invention| println!("INVENTED {invention}"));
        score.unreadable.iter().for_each(|error| println!("unreadable: {error}"));
    }
    let slowest = scores.iter().map(|score| score.took).max().unwrap();
    println!("slowest: {slowest:?}");

    for class in REQUIRED {
        let (there, hit) = found[class];
        assert!(there > 0 && hit == there, "{class}: {hit} of {there}");
    }
    assert_eq!(scores.iter().map(|score| score.inventions.len()).sum::<usize>(), 0);
    assert!(slowest < FILE_TIME_MAX, "{slowest:?}");
}
