//! Segments of a client with a wrong checksum: decoys, which the server drops, and true ones that the capture damaged, which
//! the server acknowledges.

use vigie_tests::hello::Hello;
use vigie_tests::packets::{ACK, CLIENT, SERVER, SYN, tcp_acknowledging};
use vigie_tests::replay::Replay;
use vigie_tests::tape::Tape;
use vigie_tests::tcp::Connection;

use super::http::get;
use super::{NAME, alert, assert_told_once, none, orders, tls};

const OTHER: &str = "www.example.org";
const SERVER_HELLO: &[u8] = b"\x16\x03\x03\0\x04\x0e\0\0\0";

/// The frame with another TCP checksum.
fn damaged(mut frame: Vec<u8>) -> Vec<u8> {
    frame[14 + 20 + 16] ^= 0x55;
    frame
}

/// The replay of a connection whose client sends these segments, after which the server sends one that acknowledges so many
/// bytes.
fn answered(connection: &Connection, segments: impl IntoIterator<Item = Vec<u8>>, acknowledged: usize) -> Replay {
    let answer = connection.from_server_acknowledging(0, acknowledged, SERVER_HELLO);
    Tape::of(connection.opening()).then(segments).then([answer]).replay()
}

#[test]
fn what_the_server_acknowledges_was_sent() {
    let connection = Connection::default();
    let stream = Hello::post_quantum(NAME).record();
    let length = stream.len();
    let whole = damaged(connection.from_client(0, &stream));
    assert_told_once(&answered(&connection, [whole.clone()], length), "one segment");
    assert_told_once(&answered(&connection, [whole.clone(), whole.clone()], length), "one segment, twice");
    for bytes in [0, 1, length - 1] {
        assert_eq!(answered(&connection, [whole.clone()], bytes).said(), none(), "{bytes} of {length} acknowledged");
    }
    let pieces = [0..500, 500..1_000, 1_000..length];
    for bad in [vec![0], vec![1], vec![2], vec![0, 1], vec![1, 2], vec![0, 2], vec![0, 1, 2]] {
        for order in orders(pieces.len()) {
            let segments = order.iter().map(|&place| {
                let frame = connection.from_client(pieces[place].start, &stream[pieces[place].clone()]);
                if bad.contains(&place) { damaged(frame) } else { frame }
            });
            assert_told_once(&answered(&connection, segments, length), &format!("{bad:?} damaged, {order:?}"));
        }
    }
}

#[test]
fn a_damaged_request_is_read() {
    let connection = Connection::default().to_port(80);
    let request = get(NAME);
    let replay = answered(&connection, [damaged(connection.from_client(0, &request))], request.len());
    let server = connection.server;
    assert_eq!(replay.alerted(), [format!("http-host {CLIENT} > {server} {NAME}: tiktok")]);
}

#[test]
fn a_decoy_is_dropped_as_the_server_drops_it() {
    let connection = Connection::default();
    let (decoy, stream) = (Hello::post_quantum(NAME).record(), Hello::post_quantum(OTHER).record());
    let length = stream.len();
    let decoy = |from: usize, to: usize| damaged(connection.from_client(from, &decoy[from..to]));
    let truth = |from: usize, to: usize| connection.from_client(from, &stream[from..to]);
    for (what, segments) in [
        ("before", vec![decoy(0, length - 2), truth(0, length)]),
        ("after", vec![truth(0, length), decoy(0, length - 2)]),
        ("before, in two parts", vec![decoy(0, 700), decoy(700, length - 2), truth(0, 700), truth(700, length)]),
        ("between", vec![truth(0, 700), decoy(0, length - 2), truth(700, length)]),
        ("between, behind what came", vec![truth(0, 700), decoy(700, length - 2), truth(700, length)]),
        ("between, before what came", vec![truth(700, length), decoy(0, 700), truth(0, 700)]),
    ] {
        let replay = answered(&connection, segments, length);
        assert_eq!((replay.said(), replay.alerted()), (tls(OTHER), none()), "{what}");
    }
    // Of the true hello a part was lost; the decoy covers what came.
    let replay = answered(&connection, [truth(0, 700), decoy(0, length - 2)], length);
    assert_eq!(replay.alerted(), none());
    // Nobody answers.
    assert_eq!(Tape::of(connection.opening()).then([decoy(0, length - 2)]).replay().alerted(), none());
}

#[test]
fn of_syn_acks_that_differ_the_client_may_take_any() {
    let connection = Connection::default();
    let hello = Hello::to(NAME).record();
    let numbers = (5_000_000, connection.client_isn.wrapping_add(1));
    let other_syn_ack = tcp_acknowledging(SERVER, CLIENT, numbers, SYN | ACK, b"");
    let truth = connection.from_client_acknowledging(0, 0, &hello);
    for order in orders(2) {
        let answers = [connection.syn_ack(), other_syn_ack.clone()];
        let answers = order.iter().map(|&place| answers[place].clone());
        let tape = Tape::of([connection.syn()]).then(answers).then([truth.clone()]);
        assert_eq!(tape.replay().alerted(), alert("tls-sni", NAME), "{order:?}");
    }
    // With one answer the acknowledgment proves a decoy.
    let decoy = Tape::of([connection.syn(), other_syn_ack]).then([truth]);
    assert_eq!(decoy.replay().alerted(), none());
}
