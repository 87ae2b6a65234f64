//! A hello over TCP, cut, shuffled, doubled, lost in part, and with odd packets around it.

use vigie::event::Fact;
use vigie_tests::hello::{Hello, application_data, record};
use vigie_tests::packets::{CLIENT, RST, SERVER, SYN, tcp, without_length};
use vigie_tests::tape::Tape;
use vigie_tests::tcp::Connection;

use super::{NAME, alert, assert_told_once, orders, tls};

/// The bytes of `stream` in segments that begin at these offsets.
fn cut_at(connection: &Connection, stream: &[u8], cuts: &[usize]) -> Vec<Vec<u8>> {
    let ends = cuts.iter().skip(1).copied().chain([stream.len()]);
    cuts.iter().zip(ends).map(|(&start, end)| connection.from_client(start, &stream[start..end])).collect()
}

#[test]
fn segments_in_any_order_with_and_without_the_opening() {
    let connection = Connection::default();
    let stream = Hello::post_quantum(NAME).record();
    assert!(stream.len() > 1_460);
    let segments = cut_at(&connection, &stream, &[0, 3, 700, 1_400]);
    for order in orders(segments.len()) {
        let shuffled = || order.iter().map(|&place| segments[place].clone());
        assert_told_once(&Tape::of(connection.opening()).then(shuffled()).replay(), &format!("{order:?}"));
        assert_told_once(&Tape::of(shuffled()).replay(), &format!("{order:?} without the opening"));
    }
}

#[test]
fn overlaps_in_any_order() {
    let connection = Connection::default();
    let stream = Hello::post_quantum(NAME).record();
    let end = stream.len();
    let pieces = [0..600, 400..1_200, 300..500, 1_000..end, 599..1_001];
    for order in orders(pieces.len()) {
        let frames = order.iter().map(|&place| {
            let piece = pieces[place].clone();
            connection.from_client(piece.start, &stream[piece])
        });
        assert_told_once(&Tape::of(connection.opening()).then(frames).replay(), &format!("{order:?}"));
    }
}

#[test]
fn one_record_however_often_it_is_sent() {
    let connection = Connection::default();
    let stream = Hello::post_quantum(NAME).record();
    let segments = cut_at(&connection, &stream, &[0, 700, 1_400]);
    let thrice = segments.iter().flat_map(|segment| vec![segment.clone(); 3]);
    assert_told_once(&Tape::of(connection.opening()).then(thrice).replay(), "each segment thrice");
    let again = Tape::of(connection.opening()).then(segments.clone()).then(segments.clone()).then(segments);
    assert_told_once(&again.replay(), "the whole hello thrice");
    let mirrored = connection.saying(&stream).into_iter().flat_map(|frame| [frame.clone(), frame]);
    assert_told_once(&Tape::of(mirrored).replay(), "a mirror port that shows all twice");
}

#[test]
fn a_hole_filled_last_is_no_zeros_and_no_loss() {
    let connection = Connection::default();
    let stream = Hello::to(NAME).padded_to(1_800).record();
    let segments = connection.segments(&stream, 150);
    for hole in 0..segments.len() {
        let others =
            segments.iter().enumerate().filter(|(place, _)| *place != hole).map(|(_, segment)| segment.clone());
        // The last piece before the hole is filled comes twice: no count of bytes may take it for the missing one.
        let again = segments[(hole + 1) % segments.len()].clone();
        let tape = Tape::of(connection.opening()).then(others).then([again, segments[hole].clone()]);
        assert_told_once(&tape.replay(), &format!("segment {hole} last"));
    }
}

#[test]
fn a_hello_alone_suffices() {
    let connection = Connection::default();
    let hello = connection.from_client(0, &Hello::to(NAME).record());
    assert_told_once(&Tape::of([hello.clone()]).replay(), "nothing but the hello");
    assert_told_once(&Tape::of([connection.syn(), hello.clone()]).replay(), "a tap that sees only the client");
    let later = (1..20).map(|place| connection.from_client(place * 2_000, &application_data(900)));
    assert_told_once(&Tape::of([hello]).then(later).replay(), "a tap that sees only the client, and its data");
}

#[test]
fn the_hello_is_told_with_its_own_packet() {
    let connection = Connection::default();
    let tape = Tape::of(connection.saying(&Hello::to(NAME).record()));
    let replay = tape.then([connection.from_server(0, b"\x15\x03\x03\0\x02\x02\x28")]).replay();
    let told = replay.events.iter().filter(|event| !matches!(event.fact, Fact::FlowEnd(..)));
    assert_eq!(told.map(|event| event.frame_number).collect::<Vec<_>>(), [4, 4]);
}

#[test]
fn the_server_may_be_seen_first() {
    let hello = Hello::to(NAME).record();
    for server_port in [443, 50_000] {
        let connection = Connection::default().to_port(server_port);
        let line = format!("tls {CLIENT} > {} {NAME}", connection.server);
        for (what, first) in [
            ("its answer to the SYN", connection.syn_ack()),
            ("a bare acknowledgement", connection.from_server(0, b"")),
            ("data of an earlier connection", connection.from_server(0, &application_data(500))),
            ("a greeting", connection.from_server(0, b"welcome\r\n")),
        ] {
            let replay = Tape::of([first, connection.from_client(0, &hello)]).replay();
            assert_eq!(replay.said(), std::slice::from_ref(&line), "{what}, port {server_port}");
            assert_eq!(replay.alerts().count(), 1, "{what}, port {server_port}");
        }
    }
}

#[test]
fn a_syn_sent_again_may_begin_elsewhere() {
    let hello = Hello::post_quantum(NAME).record();
    let (first, second) = (Connection::default().isn(1_000), Connection::default().isn(3_000_000_000));
    let mut tape = Tape::of([first.syn(), second.syn(), second.syn_ack()]);
    tape.extend(second.segments(&hello, 1_000).into_iter().rev());
    assert_told_once(&tape.replay(), "a new number after a SYN sent again");
    let mut tape = Tape::of([first.syn(), first.from_client(0, &hello[..500]), second.syn()]);
    tape.extend(second.segments(&hello, 1_000));
    assert_told_once(&tape.replay(), "a new number after some bytes");
}

#[test]
fn a_syn_may_carry_data() {
    let connection = Connection::default();
    let stream = Hello::post_quantum(NAME).record();
    let whole = connection.syn_with(&Hello::to(NAME).record());
    assert_told_once(&Tape::of([whole.clone()]).replay(), "the whole hello in the SYN");
    assert_told_once(&Tape::of([whole.clone(), whole]).replay(), "the same SYN twice");
    for order in orders(2) {
        let pieces = [connection.syn_with(&stream[..500]), connection.from_client(500, &stream[500..])];
        let tape = Tape::of(order.iter().map(|&place| pieces[place].clone()));
        assert_told_once(&tape.replay(), &format!("the first bytes in the SYN, {order:?}"));
    }
    let refused = Tape::of([connection.syn_with(&stream[..500]), connection.syn_ack()]);
    let refused = refused.then(connection.segments(&stream, 1_000));
    assert_told_once(&refused.replay(), "data in the SYN that the server did not take");
}

#[test]
fn sequence_numbers_wrap() {
    let stream = Hello::post_quantum(NAME).record();
    for before_zero in [1, 2, 500, 1_000, 1_001, stream.len() as u32] {
        let connection = Connection::default().isn(0_u32.wrapping_sub(before_zero));
        let segments = cut_at(&connection, &stream, &[0, 500, 1_000]);
        for order in orders(segments.len()) {
            let shuffled = || order.iter().map(|&place| segments[place].clone());
            let what = format!("{before_zero} before zero, {order:?}");
            assert_told_once(&Tape::of(connection.opening()).then(shuffled()).replay(), &what);
            assert_told_once(&Tape::of(shuffled()).replay(), &what);
        }
    }
}

#[test]
fn a_total_length_of_zero_is_the_network_cards() {
    let connection = Connection::default();
    let frames = connection.saying(&Hello::to(NAME).padded_to(9_000).record()).into_iter().map(without_length);
    assert_told_once(&Tape::of(frames).replay(), "all lengths are zero");
}

#[test]
fn one_byte_at_a_time() {
    let connection = Connection::default();
    for (what, stream) in [
        ("one record", Hello::to(NAME).record()),
        ("records of one byte", Hello::to(NAME).records(1)),
        ("records of 16 bytes, a tail", Hello::to(NAME).with_tail(100).records(16)),
    ] {
        let segments = connection.segments(&stream, 1);
        assert_told_once(&Tape::of(connection.opening()).then(segments.clone()).replay(), what);
        assert_told_once(
            &Tape::of(connection.opening()).then(segments.clone().into_iter().rev()).replay(),
            &format!("{what}, backwards"),
        );
        assert_told_once(&Tape::of(segments).replay(), &format!("{what}, without the opening"));
    }
}

#[test]
fn records_of_any_size() {
    let hello = Hello::to(NAME).alpn(&["h2"]);
    for size in 1..hello.message().len() {
        let replay = Tape::of(Connection::default().saying(&hello.records(size))).replay();
        assert_told_once(&replay, &format!("records of {size} bytes"));
        assert_eq!(replay.hellos().next().unwrap().1.alpn, ["h2"], "records of {size} bytes");
    }
}

#[test]
fn several_messages_may_share_a_record() {
    let hello = [Hello::to(NAME).message(), vec![0xfe, 0, 0, 1, 0]].concat();
    assert_told_once(&Tape::of(Connection::default().saying(&record(&hello))).replay(), "a message behind the hello");
}

#[test]
fn a_name_at_the_end_of_a_long_hello() {
    let connection = Connection::default();
    for (bytes, record_bytes) in [(9_000, 16_384), (9_000, 512), (24_000, 16_384)] {
        let what = format!("{bytes} bytes in records of {record_bytes}");
        let segments = connection.segments(&Hello::to(NAME).padded_to(bytes).records(record_bytes), 1_460);
        assert_told_once(&Tape::of(connection.opening()).then(segments.clone()).replay(), &what);
        assert_told_once(&Tape::of(segments.clone()).replay(), &format!("{what}, without the opening"));
        let backwards = Tape::of(connection.opening()).then(segments.into_iter().rev());
        assert_told_once(&backwards.replay(), &format!("{what}, backwards"));
    }
}

#[test]
fn a_hello_whose_tail_never_comes_is_told_as_partial() {
    let connection = Connection::default();
    let stream = Hello::to(NAME).with_tail(3_000).record();
    let begun = || Tape::of(connection.opening()).then([connection.from_client(0, &stream[..1_460])]);
    let partial = vec![format!("{} (partial)", tls(NAME)[0])];
    for (what, tape) in [
        ("the capture ends", begun()),
        ("the client ends it", begun().then([connection.fin(1_460)])),
        ("the flow falls silent", begun().then_silence(1_000).then([Connection::default().port(1).syn()])),
        ("what follows comes", begun().then((3..13).map(|place| connection.from_client(place * 1_460, &[0; 1_460])))),
    ] {
        let replay = tape.replay();
        assert_eq!(replay.said(), partial, "{what}");
        assert_eq!(replay.alerted(), alert("tls-sni", NAME), "{what}");
        assert!(replay.hellos().next().unwrap().1.ja4.is_none(), "{what}");
    }
    // One that is longer than any may be is told too.
    let endless = Hello::to(NAME).with_tail(60_000).records(16_000);
    let replay = Tape::of(connection.opening()).then(connection.segments(&endless, 1_460)).replay();
    assert_eq!((replay.said(), replay.alerted()), (partial, alert("tls-sni", NAME)), "60 kB");
    // And one whose tail comes is whole, however late.
    let whole = begun()
        .then([connection.from_client(2_920, &stream[2_920..]), connection.from_client(1_460, &stream[1_460..2_920])]);
    assert_told_once(&whole.replay(), "the tail comes out of order");
}

#[test]
fn forged_and_stray_packets_do_not_end_the_search() {
    let connection = Connection::default();
    let stream = Hello::post_quantum(NAME).record();
    let (first, second) = (connection.from_client(0, &stream[..600]), connection.from_client(600, &stream[600..]));
    for (what, odd) in [
        ("a reset from the server's side", tcp(SERVER, CLIENT, 5, RST, b"")),
        ("a reset from the client's side", tcp(CLIENT, SERVER, 5, RST, b"")),
        ("the end, ahead of the bytes before it", connection.fin(stream.len())),
        ("bytes far away", connection.from_client(1_000_000, b"far away")),
        ("bytes long before", connection.from_client_with(0, 16, b"").splice_sequence(0x8000_0000)),
        ("a SYN of the server without ACK", tcp(SERVER, CLIENT, 9, SYN, b"")),
        ("no flags at all", connection.from_client_with(0, 0, b"")),
    ] {
        let tape = Tape::of(connection.opening()).then([first.clone(), odd, second.clone()]);
        assert_told_once(&tape.replay(), what);
    }
}

/// A frame with another sequence number.
trait SpliceSequence {
    fn splice_sequence(self, sequence: u32) -> Self;
}

impl SpliceSequence for Vec<u8> {
    fn splice_sequence(mut self, sequence: u32) -> Self {
        self[14 + 20 + 4..14 + 20 + 8].copy_from_slice(&sequence.to_be_bytes());
        self
    }
}
