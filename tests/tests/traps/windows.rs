//! Timestamps and acknowledgments of a client: those that the server surely refuses, and those that prove nothing.

use vigie_tests::hello::Hello;
use vigie_tests::packets::{ACK, SYN, tcp_at};
use vigie_tests::tape::Tape;
use vigie_tests::tcp::Connection;

use super::http::get;
use super::{NAME, alert, none};

const OTHER: &str = "www.example.org";
/// The timestamp of the SYN.
const BEGIN: u32 = u32::MAX - 2;

/// A segment of the client that is sent so long after the SYN, in ticks.
fn after(connection: &Connection, ticks: i32, offset: usize, payload: &[u8]) -> Vec<u8> {
    let numbers = (connection.client_isn + 1 + offset as u32, connection.server_isn + 1);
    tcp_at(connection.client, connection.server, numbers, ACK, BEGIN.wrapping_add_signed(ticks), payload)
}

fn syn(connection: &Connection, ticks: i32) -> Vec<u8> {
    let timestamp = BEGIN.wrapping_add_signed(ticks);
    tcp_at(connection.client, connection.server, (connection.client_isn, 0), SYN, timestamp, b"")
}

fn syn_ack(connection: &Connection) -> Vec<u8> {
    let numbers = (connection.server_isn, connection.client_isn + 1);
    tcp_at(connection.server, connection.client, numbers, SYN | ACK, 1, b"")
}

fn opening(connection: &Connection) -> Vec<Vec<u8>> {
    vec![syn(connection, 0), syn_ack(connection)]
}

fn damaged(mut frame: Vec<u8>) -> Vec<u8> {
    frame[14 + 20 + 16] ^= 0x55;
    frame
}

#[test]
fn a_decoy_from_the_future_hides_no_name() {
    let connection = Connection::default();
    let (truth, decoy) = (Hello::post_quantum(NAME).record(), Hello::post_quantum(OTHER).record());
    let truth = |from: usize, to: usize| after(&connection, 5, from, &truth[from..to]);
    let decoy = |from: usize, to: usize| after(&connection, 600_000, from, &decoy[from..to]);
    let end = Hello::post_quantum(NAME).record().len();
    for (what, segments) in [
        ("whole", vec![decoy(0, end), truth(0, end)]),
        ("whole, the truth in two", vec![decoy(0, end), truth(0, 700), truth(700, end)]),
        ("in two", vec![decoy(0, 700), decoy(700, end), truth(0, 700), truth(700, end)]),
        ("the first part", vec![decoy(0, 700), truth(0, 700), truth(700, end)]),
        ("the rest", vec![truth(0, 700), decoy(700, end), truth(700, end)]),
        ("the rest, first", vec![decoy(700, end), truth(0, 700), truth(700, end)]),
    ] {
        let ways = [
            segments.clone(),
            segments.into_iter().map(|frame| if is_late(&frame) { damaged(frame) } else { frame }).collect(),
        ];
        for (way, segments) in ways.into_iter().enumerate() {
            let replay = Tape::of(opening(&connection)).then(segments).replay();
            assert_eq!(replay.alerted(), alert("tls-sni", NAME), "{what}, {way}");
        }
    }
    let (truth, decoy) = (get(NAME), get(OTHER));
    let segments = [after(&connection, 600_000, 0, &decoy), after(&connection, 5, 0, &truth)];
    let replay = Tape::of(opening(&connection)).then(segments).replay();
    assert_eq!(replay.alerted(), alert("http-host", NAME));
}

/// Whether a frame's timestamp is that of a decoy.
fn is_late(frame: &[u8]) -> bool {
    let timestamp = u32::from_be_bytes(frame[14 + 20 + 24..][..4].try_into().unwrap());
    timestamp.wrapping_sub(BEGIN) > 1_000
}

#[test]
fn a_syn_from_the_future_hides_no_hello() {
    let connection = Connection::default();
    let hello = after(&connection, 5, 0, &Hello::to(NAME).record());
    let (truth, decoy, answer) = (syn(&connection, 0), syn(&connection, 600_000), syn_ack(&connection));
    for (what, opening) in [
        ("before", [decoy.clone(), truth.clone(), answer.clone()]),
        ("after", [truth.clone(), decoy.clone(), answer.clone()]),
        ("after the answer", [truth, answer, decoy]),
    ] {
        let replay = Tape::of(opening).then([hello.clone()]).replay();
        assert_eq!(replay.alerted(), alert("tls-sni", NAME), "{what}");
    }
}

#[test]
fn what_is_older_than_the_syn_is_dropped() {
    let connection = Connection::default();
    let (decoy, truth) = (Hello::to(NAME).record(), Hello::to(OTHER).record());
    let segments = [after(&connection, -600_000, 0, &decoy), after(&connection, 5, 0, &truth)];
    let replay = Tape::of(opening(&connection)).then(segments).replay();
    assert_eq!(replay.alerted(), none());
}

#[test]
fn requests_count_however_long_the_connection_lasts() {
    let connection = Connection::default().to_port(80);
    let first = get(OTHER);
    let told = [format!("http-host {} > {} {NAME}: tiktok", connection.client, connection.server)];
    for bytes in [1_000, 17 << 20, (3_u32 << 30) as usize] {
        let later = connection.from_client_acknowledging(first.len(), bytes, &get(NAME));
        let segments = [connection.from_client(0, &first), connection.from_server(0, b"HTTP/1.1 200 OK\r\n"), later];
        let replay = Tape::of(connection.opening()).then(segments).replay();
        assert_eq!(replay.alerted(), told, "after {bytes} bytes of answers");
    }
    for ticks in [1_000, i32::MAX, i32::MIN, -1] {
        let later = after(&connection, ticks, first.len(), &get(NAME));
        let segments = [after(&connection, 5, 0, &first), connection.from_server(0, b"HTTP/1.1 200 OK\r\n"), later];
        let replay = Tape::of(opening(&connection)).then(segments).replay();
        assert_eq!(replay.alerted(), told, "{ticks} ticks later");
    }
}
