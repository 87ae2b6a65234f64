//! Decoys that no header proves void: the server alone knows which bytes it took, so every name has to be told.

use vigie_tests::hello::Hello;
use vigie_tests::replay::Replay;
use vigie_tests::tape::Tape;
use vigie_tests::tcp::Connection;

use super::{NAME, alert};

const OTHER: &str = "www.example.org";

/// Where the server_name extension of a record begins (RFC 6066 §3).
fn server_name_extension(record: &[u8]) -> usize {
    let name = record.windows(NAME.len()).position(|bytes| bytes == NAME.as_bytes()).unwrap();
    name - 9
}

fn desync_of_alerts(replay: &Replay) -> Vec<&str> {
    replay.alerts().flat_map(|alert| alert.desync.words()).collect()
}

#[test]
fn a_decoy_without_a_name_hides_no_hello() {
    let connection = Connection::default();
    for hello in [Hello::to(NAME), Hello::to(NAME).tls12()] {
        let truth = hello.record();
        let at = server_name_extension(&truth);
        // An extension of another kind.
        let mut decoy = truth.clone();
        decoy[at + 1] = 0x99;
        let whole = 0..truth.len();
        let false_piece = |range: std::ops::Range<usize>| connection.from_client(range.start, &decoy[range]);
        let true_piece = |range: std::ops::Range<usize>| connection.from_client(range.start, &truth[range]);
        let (head, tail) = (0..at, at..truth.len());
        let (first, second) = (0..60, 60..truth.len());
        for (what, segments) in [
            ("whole", vec![false_piece(whole.clone()), true_piece(whole.clone())]),
            ("whole, the truth in two", vec![false_piece(whole), true_piece(head.clone()), true_piece(tail.clone())]),
            ("its tail", vec![true_piece(head.clone()), false_piece(tail.clone()), true_piece(tail.clone())]),
            (
                "its tail, the true one in two",
                vec![true_piece(head), false_piece(tail), true_piece(at..at + 9), true_piece(at + 9..truth.len())],
            ),
            (
                "in two, as the truth",
                vec![
                    false_piece(first.clone()),
                    false_piece(second.clone()),
                    true_piece(first.clone()),
                    true_piece(second.clone()),
                ],
            ),
            (
                "in two, backwards",
                vec![false_piece(second.clone()), false_piece(first.clone()), true_piece(second), true_piece(first)],
            ),
        ] {
            let replay = Tape::of(connection.opening()).then(segments).replay();
            assert_eq!(replay.alerted(), alert("tls-sni", NAME), "{what}");
            assert_eq!(desync_of_alerts(&replay), ["overlap"], "{what}");
        }
    }
}

#[test]
fn decoys_with_another_hop_limit_are_told_as_such() {
    let connection = Connection::between("[2001:db8::1]:40000".parse().unwrap(), "[2001:db8::2]:443".parse().unwrap());
    let request = |host: &str| format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n").into_bytes();
    let hello = |name: &str| Hello::to(name).record();
    for say in [&hello as &dyn Fn(&str) -> Vec<u8>, &request] {
        for names in [[OTHER, "decoy.example.net", NAME], [OTHER, NAME, "decoy.example.net"]] {
            let segments = names.map(|name| {
                let mut frame = connection.from_client(0, &say(name));
                // The true one comes from where the SYN came from.
                frame[14 + 7] = if name == NAME { frame[14 + 7] } else { 3 };
                frame
            });
            let replay = Tape::of(connection.opening()).then(segments).replay();
            assert_eq!(replay.alerts().count(), 1, "{names:?}");
            assert!(desync_of_alerts(&replay).contains(&"ttl"), "{names:?}: {:?}", desync_of_alerts(&replay));
        }
    }
}
