//! Traps that sensors fall into, one small case each: what is on the wire, and what has to be said of it. The packets are
//! built by hand; real ones are in the captures.

mod adversary;
mod checksums;
mod decoys;
mod flows;
mod http;
mod names;
mod preludes;
mod quic;
mod tcp;
mod windows;

use vigie_tests::packets::{CLIENT, SERVER};
use vigie_tests::replay::Replay;

/// A name that alerts.
const NAME: &str = "www.tiktok.com";

/// The line for one whole hello over TCP between the usual two.
fn tls(name: &str) -> Vec<String> {
    vec![format!("tls {CLIENT} > {SERVER} {name}")]
}

/// The line for one whole hello over QUIC between the usual two.
fn quic(name: &str) -> Vec<String> {
    vec![format!("quic {CLIENT} > {SERVER} {name}")]
}

/// The line for one alert between the usual two.
fn alert(evidence: &str, name: &str) -> Vec<String> {
    vec![format!("{evidence} {CLIENT} > {SERVER} {name}: tiktok")]
}

/// No line.
fn none() -> Vec<String> {
    Vec::new()
}

/// One hello for [`NAME`] and its alert, and nothing else.
fn assert_told_once(replay: &Replay, what: &str) {
    assert_eq!(replay.said(), tls(NAME), "{what}");
    assert_eq!(replay.alerted(), alert("tls-sni", NAME), "{what}");
}

/// All orders of so many things.
fn orders(count: usize) -> Vec<Vec<usize>> {
    match count {
        0 => vec![vec![]],
        _ => orders(count - 1)
            .into_iter()
            .flat_map(|order| {
                (0..count).map(move |place| {
                    let mut longer = order.clone();
                    longer.insert(place, count - 1);
                    longer
                })
            })
            .collect(),
    }
}
