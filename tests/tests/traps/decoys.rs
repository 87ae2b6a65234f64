//! Decoys that no header proves void: the server alone knows which bytes it took, so every name has to be told.

use vigie_tests::hello::{Hello, record};
use vigie_tests::packets::{ACK, SYN, tcp, tcp_acknowledging, tcp_urgent};
use vigie_tests::replay::Replay;
use vigie_tests::tape::Tape;
use vigie_tests::tcp::Connection;

use super::http::get;
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
fn a_piece_that_agrees_with_one_decoy_contradicts_another() {
    let connection = Connection::default().to_port(80);
    for (decoy, truth, cut) in
        [(get(OTHER), get(NAME), 5), (Hello::to("www.decoys.com").record(), Hello::to(NAME).record(), 4)]
    {
        // The first bytes of what is out of order are overwritten by those that come in order.
        let overlapping = [&b"xxx"[..], &truth[cut..]].concat();
        let segments = [
            connection.from_client(0, &decoy),
            connection.from_client(cut - 3, &overlapping),
            connection.from_client(0, &truth[..cut]),
        ];
        let told = Tape::of(connection.opening()).then(segments).replay().alerted();
        assert!(told.iter().any(|alert| alert.contains(NAME)), "{told:?}");
    }
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
    let hello = |name: &str| Hello::to(name).record();
    for say in [&hello as &dyn Fn(&str) -> Vec<u8>, &get] {
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

#[test]
fn a_second_hello_that_the_server_asked_for_may_name_another() {
    // A HelloRetryRequest (RFC 8446 §4.1.3).
    const RANDOM: [u8; 32] = [
        0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91, 0xc2, 0xa2,
        0x11, 0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
    ];
    let retry =
        [&b"\x02\0\0\x34\x03\x03"[..], &RANDOM, b"\0\x13\x01\0\0\x0c\0\x2b\0\x02\x03\x04\0\x33\0\x02\0\x17"].concat();
    let retry = record(&retry);
    let connection = Connection::default();
    for (what, first) in [("another name", Hello::to(OTHER)), ("no name", Hello::nameless())] {
        for change_cipher_spec in [&b""[..], b"\x14\x03\x03\0\x01\x01"] {
            let first = first.record();
            let second = [change_cipher_spec, &Hello::to(NAME).record()].concat();
            let pieces: [&[usize]; 2] = [&[0], &[0, 70]];
            for cuts in pieces {
                let mut tape = Tape::of(connection.opening()).then([
                    connection.from_client(0, &first),
                    connection.from_server_acknowledging(0, first.len(), &retry),
                ]);
                tape.extend(cuts.iter().enumerate().map(|(number, &from)| {
                    let to = cuts.get(number + 1).copied().unwrap_or(second.len());
                    connection.from_client_acknowledging(first.len() + from, retry.len(), &second[from..to])
                }));
                let replay = tape.replay();
                assert_eq!(replay.alerted(), alert("tls-sni", NAME), "{what}, {cuts:?}");
                assert_eq!(desync_of_alerts(&replay), ["hellos"], "{what}, {cuts:?}");
            }
        }
    }
}

#[test]
fn an_urgent_byte_in_a_whole_hello_may_be_taken_out() {
    let connection = Connection::default();
    let hello = Hello::to(NAME).record();
    let name = server_name_extension(&hello) + 9;
    for place in [name + 4, name + 7, name + NAME.len() - 1] {
        let before = [&hello[..place], b"Z"].concat();
        let (from, to) = (connection.client, connection.server);
        let frame = tcp_urgent(from, to, (connection.client_isn + 1, 0), &before, &hello[place..]);
        let replay = Tape::of(connection.opening()).then([frame]).replay();
        assert_eq!(replay.alerted(), alert("tls-sni", NAME), "{place}");
        assert_eq!(desync_of_alerts(&replay), ["urgent"], "{place}");
    }
}

#[test]
fn a_syn_elsewhere_is_a_decoy_where_the_client_goes_on_as_before() {
    let connection = Connection::default();
    let elsewhere = connection.isn(2_000_000_000);
    let hello = Hello::to(NAME).record();
    let piece = |range: std::ops::Range<usize>| connection.from_client_acknowledging(range.start, 0, &hello[range]);
    let decoy = elsewhere.from_client_acknowledging(0, 0, &Hello::to(OTHER).record());
    let (first, second) = (0..60, 60..hello.len());
    for (what, segments) in [
        ("before the hello", vec![elsewhere.syn(), piece(first.clone()), piece(second.clone())]),
        ("within the hello", vec![piece(first.clone()), elsewhere.syn(), piece(second.clone())]),
        ("with data behind it", vec![elsewhere.syn(), decoy, piece(first), piece(second)]),
    ] {
        let replay = Tape::of(connection.opening()).then(segments).replay();
        assert_eq!(replay.alerted(), alert("tls-sni", NAME), "{what}");
        assert_eq!(desync_of_alerts(&replay), ["syn-flag"], "{what}");
    }
    // The same ports again: the server answers, or the client goes on there.
    let again = elsewhere.segments(&hello, 60);
    let answered = Tape::of(connection.opening()).then([elsewhere.syn(), elsewhere.syn_ack()]).then(again.clone());
    let alone = Tape::of(connection.opening()).then([elsewhere.syn()]).then(again);
    for (what, tape) in [("answered", answered), ("the client alone", alone)] {
        let replay = tape.replay();
        assert_eq!(replay.alerted(), alert("tls-sni", NAME), "{what}");
        assert_eq!(desync_of_alerts(&replay), [""; 0], "{what}");
    }
}

#[test]
fn a_syn_ack_of_the_client_does_not_swap_the_roles() {
    let connection = Connection::default();
    let hello = Hello::post_quantum(NAME).record();
    let (client, server) = (connection.client, connection.server);
    for number in [connection.client_isn, 5] {
        let decoy = tcp_acknowledging(client, server, (number, connection.server_isn + 1), SYN | ACK, b"");
        let (syn, syn_ack) = (connection.syn(), connection.syn_ack());
        for (what, opening) in [
            ("before the SYN", vec![decoy.clone(), syn.clone(), syn_ack.clone()]),
            ("after the SYN", vec![syn.clone(), decoy.clone(), syn_ack.clone()]),
            ("after the answer", vec![syn.clone(), syn_ack, decoy.clone()]),
            ("one way, before", vec![decoy.clone(), syn.clone()]),
            ("one way, after", vec![syn, decoy]),
        ] {
            for size in [hello.len(), 700] {
                let replay = Tape::of(opening.clone()).then(connection.segments(&hello, size)).replay();
                assert_eq!(replay.alerted(), alert("tls-sni", NAME), "{what}, in pieces of {size}");
            }
        }
    }
}

#[test]
fn a_syn_elsewhere_before_the_answer_hides_no_hello() {
    let connection = Connection::default();
    let hello = Hello::post_quantum(NAME).record();
    for isn in [2_000_000_000, connection.client_isn + 1, connection.client_isn + 70_000, connection.client_isn - 500] {
        let elsewhere = connection.isn(isn);
        for (what, opening) in [
            ("before", vec![elsewhere.syn(), connection.syn(), connection.syn_ack()]),
            ("after", vec![connection.syn(), elsewhere.syn(), connection.syn_ack()]),
            ("around", vec![elsewhere.syn(), connection.syn(), elsewhere.syn(), connection.syn_ack()]),
            ("one way, before", vec![elsewhere.syn(), connection.syn()]),
            ("one way, after", vec![connection.syn(), elsewhere.syn()]),
            ("one way, around", vec![elsewhere.syn(), connection.syn(), elsewhere.syn()]),
        ] {
            for size in [hello.len(), 700] {
                let replay = Tape::of(opening.clone()).then(connection.segments(&hello, size)).replay();
                assert_eq!(replay.alerted(), alert("tls-sni", NAME), "{isn}, {what}, in pieces of {size}");
            }
        }
    }
}

#[test]
fn a_syn_elsewhere_with_a_hello_of_its_own_hides_no_other() {
    let connection = Connection::default();
    let elsewhere = connection.isn(2_000_000_000);
    let (truth, decoy) = (Hello::post_quantum(NAME).record(), Hello::to(OTHER).record());
    for size in [truth.len(), 700] {
        let truth = connection.segments(&truth, size);
        let decoy_here = connection.from_client(0, &decoy);
        let decoy_there = elsewhere.from_client(0, &decoy);
        for (what, segments) in [
            ("one way", vec![connection.syn(), elsewhere.syn(), decoy_there.clone()]),
            ("one way, first", vec![elsewhere.syn(), connection.syn(), decoy_there.clone()]),
            ("answered", vec![connection.syn(), connection.syn_ack(), elsewhere.syn(), decoy_there]),
            ("after a decoy", vec![connection.syn(), connection.syn_ack(), decoy_here.clone(), elsewhere.syn()]),
            ("one way, after a decoy", vec![connection.syn(), decoy_here, elsewhere.syn()]),
        ] {
            let replay = Tape::of(segments).then(truth.clone()).replay();
            assert_eq!(replay.alerted(), alert("tls-sni", NAME), "{what}, in pieces of {size}");
        }
    }
}

#[test]
fn a_whole_decoy_hides_no_hello_in_small_pieces() {
    let connection = Connection::default();
    let opening = vec![connection.syn(), connection.syn_ack()];
    for (truth, decoy) in [
        (Hello::to(NAME).record(), Hello::to(OTHER).record()),
        (Hello::post_quantum(NAME).record(), Hello::to(OTHER).record()),
        (Hello::to(NAME).record(), Hello::post_quantum(OTHER).record()),
    ] {
        for size in [1, 2, 5, 10, 40, 100] {
            let decoy = connection.from_client(0, &decoy);
            let replay = Tape::of(opening.clone()).then([decoy]).then(connection.segments(&truth, size)).replay();
            assert_eq!(replay.alerted(), alert("tls-sni", NAME), "{} bytes in pieces of {size}", truth.len());
        }
    }
}

#[test]
fn junk_hides_no_hello_and_no_request_in_small_pieces() {
    let connection = Connection::default();
    let opening = vec![connection.syn(), connection.syn_ack()];
    let noise: Vec<u8> = (0_u32..600).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8 | 0x80).collect();
    for (truth, evidence, junks) in [
        (Hello::to(NAME).record(), "tls-sni", vec![vec![0; 600], noise.clone(), get(OTHER)]),
        (Hello::post_quantum(NAME).record(), "tls-sni", vec![vec![0; 600], noise.clone(), get(OTHER)]),
        (get(NAME), "http-host", vec![vec![0; 600], noise, Hello::to(OTHER).record()]),
    ] {
        for (junk, size) in junks.iter().flat_map(|junk| [1, 5, 10, 40, 100].map(|size| (junk, size))) {
            let junk = connection.from_client(0, junk);
            let replay = Tape::of(opening.clone()).then([junk]).then(connection.segments(&truth, size)).replay();
            assert_eq!(replay.alerted(), alert(evidence, NAME), "{} bytes in pieces of {size}", truth.len());
        }
    }
}

#[test]
fn a_byte_in_front_of_the_first_hides_no_name() {
    let connection = Connection::default();
    for (stream, evidence) in [
        (Hello::to(NAME).record(), "tls-sni"),
        (Hello::post_quantum(NAME).record(), "tls-sni"),
        (get(NAME), "http-host"),
    ] {
        for (cut, byte) in [1, 2, 5, 10, 20, 36].into_iter().flat_map(|cut| [0, 0x16, b'x'].map(|byte| (cut, byte))) {
            let (client, server) = (connection.client, connection.server);
            let front = [&[byte], &stream[..cut]].concat();
            let front = tcp(client, server, connection.client_isn, ACK, &front);
            let rest = connection.from_client(cut, &stream[cut..]);
            let replay = Tape::of(connection.opening()).then([front, rest]).replay();
            assert_eq!(replay.alerted(), alert(evidence, NAME), "{evidence} cut at {cut} behind {byte:#x}");
        }
    }
}

#[test]
fn no_packet_elsewhere_ends_the_search_behind_a_repeated_decoy() {
    let connection = Connection::default();
    let decoys = |count| (0..count).map(|_| connection.from_client(0, &Hello::to(OTHER).record()));
    let opening = vec![connection.syn(), connection.syn_ack()];
    for offset in [10_000_000, 30_000] {
        let elsewhere = connection.from_client(offset, &[0; 400]);
        let truth = connection.segments(&Hello::post_quantum(NAME).record(), 600);
        let replay = Tape::of(opening.clone()).then(decoys(40)).then([elsewhere]).then(truth).replay();
        assert_eq!(replay.alerted(), alert("tls-sni", NAME), "{offset}");
    }
}

#[test]
fn a_decoy_of_all_bytes_behind_the_first_piece_hides_no_name() {
    let connection = Connection::default();
    let hello = Hello::to(NAME).record();
    for decoy in [vec![0; 517], Hello::post_quantum(OTHER).record()] {
        for pieces in [4, 12, 24] {
            let first = connection.from_client(0, &hello[..1]);
            let rest = hello[1..].chunks(hello.len() / pieces).scan(1, |offset, piece| {
                let frame = connection.from_client(*offset, piece);
                *offset += piece.len();
                Some(frame)
            });
            let decoy = connection.from_client(0, &decoy);
            let replay = Tape::of(vec![connection.syn(), connection.syn_ack(), first, decoy]).then(rest).replay();
            let told = replay.alerted();
            assert!(told.contains(&alert("tls-sni", NAME)[0]), "{pieces} pieces: {told:?}");
        }
    }
}
