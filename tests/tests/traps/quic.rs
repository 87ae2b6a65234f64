//! A hello over QUIC: spread over Initials, shuffled, among junk and decoys, in connections one after another.

use vigie_tests::hello::Hello;
use vigie_tests::packets::{CLIENT, SERVER, udp, udp_in_fragments};
use vigie_tests::quic::{Initial, V1, V2, crypto, hello_datagram};
use vigie_tests::replay::Replay;
use vigie_tests::tape::Tape;

use super::{NAME, alert, orders, quic};

const ID: &[u8] = b"\x83\x94\xc8\xf0\x3e\x51\x57\x08";
const OTHER_ID: &[u8] = b"another!";
const SERVER_ID: &[u8] = b"server's";

pub fn from_client(payload: &[u8]) -> Vec<u8> {
    udp(CLIENT, SERVER, payload)
}

fn from_server(payload: &[u8]) -> Vec<u8> {
    udp(SERVER, CLIENT, payload)
}

fn assert_told_once(replay: &Replay, what: &str) {
    assert_eq!(replay.said(), quic(NAME), "{what}");
    assert_eq!(replay.alerted(), alert("quic-sni", NAME), "{what}");
}

/// A hello's message in one Initial for each of these ranges.
fn initials(message: &[u8], cuts: &[usize]) -> Vec<Vec<u8>> {
    let ends = cuts.iter().skip(1).copied().chain([message.len()]);
    let ranges = cuts.iter().zip(ends).map(|(&start, end)| start..end);
    ranges.zip(0..).map(|(range, number)| Initial::new(ID, &crypto(message, range)).number(number).datagram()).collect()
}

#[test]
fn every_version_with_and_without_the_server() {
    let message = Hello::to(NAME).alpn(&["h3"]).message();
    for version in [V1, V2, 0x0a1a_2a3a] {
        let frames = crypto(&message, 0..message.len());
        let hello = from_client(&Initial::new(ID, &frames).version(version).datagram());
        let what = format!("version {version:#x}");
        assert_told_once(&Tape::of([hello.clone()]).replay(), &what);
        let answer = from_server(&Initial::answer(ID, SERVER_ID).datagram());
        assert_told_once(&Tape::of([hello.clone(), answer.clone()]).replay(), &what);
        assert_told_once(&Tape::of([answer, hello]).replay(), &format!("{what}, the server first"));
    }
}

#[test]
fn a_decoy_that_is_sent_many_times_hides_no_hello() {
    let (truth, other) = (Hello::to(NAME).message(), Hello::to("www.example.org").message());
    let datagram = |id, message: &[u8]| from_client(&Initial::new(id, &crypto(message, 0..message.len())).datagram());
    for times in [1, 8, 11, 40] {
        let decoys = std::iter::repeat_n(datagram(OTHER_ID, &other), times);
        let told = Tape::of(decoys).then([datagram(ID, &truth)]).replay().alerted();
        assert_eq!(told, alert("quic-sni", NAME), "{times} times");
    }
    for junk in [vec![0; 64], [&[0xc3, 0, 0, 0, 1][..], &[0x5a; 615]].concat()] {
        let decoys = std::iter::repeat_n(from_client(&junk), 20);
        let told = Tape::of([datagram(OTHER_ID, &other)]).then(decoys).then([datagram(ID, &truth)]).replay().alerted();
        assert_eq!(told, alert("quic-sni", NAME), "junk behind a decoy");
    }
}

#[test]
fn initials_in_any_order_and_twice() {
    let message = Hello::post_quantum(NAME).message();
    let datagrams = initials(&message, &[0, 100, 900, 1_500]);
    for order in orders(datagrams.len()) {
        let shuffled = order.iter().map(|&place| from_client(&datagrams[place]));
        assert_told_once(&Tape::of(shuffled.clone()).replay(), &format!("{order:?}"));
        let doubled = shuffled.flat_map(|frame| [frame.clone(), frame]);
        assert_told_once(&Tape::of(doubled).replay(), &format!("{order:?}, each twice"));
    }
    let all = datagrams.iter().map(|datagram| from_client(datagram));
    assert_told_once(&Tape::of(all.clone()).then(all).replay(), "all sent again");
}

#[test]
fn small_crypto_frames_shuffled_among_pings() {
    let message = Hello::to(NAME).message();
    let starts: Vec<usize> = (0..message.len()).step_by(7).collect();
    let piece = |&start: &usize| crypto(&message, start..(start + 7).min(message.len()));
    for (what, order) in [
        ("forwards", starts.clone()),
        ("backwards", starts.iter().rev().copied().collect()),
        ("every other one first", starts.iter().step_by(2).chain(starts.iter().skip(1).step_by(2)).copied().collect()),
    ] {
        // PING is 1, PADDING is 0, and an ACK of packet 0 may stand anywhere.
        let frames: Vec<u8> =
            order.iter().flat_map(|start| [&[1, 0, 0, 2, 0, 0, 0, 0][..], &piece(start)].concat()).collect();
        assert_told_once(&Tape::of([from_client(&Initial::new(ID, &frames).datagram())]).replay(), what);
    }
}

#[test]
fn initials_share_a_datagram() {
    let message = Hello::to(NAME).message();
    let half = message.len() / 2;
    let first = Initial::new(ID, &crypto(&message, 0..half)).sealed(0);
    let second = Initial::new(ID, &crypto(&message, half..message.len())).number(1).sealed(900);
    let together = [&second[..], &first, &[0; 40]].concat();
    assert_told_once(&Tape::of([from_client(&together)]).replay(), "two Initials, and rubbish behind them");
}

#[test]
fn junk_before_the_initial() {
    let hello = from_client(&hello_datagram(ID, &Hello::to(NAME).message()));
    for (what, junk) in [
        ("text", &b"hello?"[..]),
        ("one byte", &[0]),
        ("a short header", &[0x55; 300]),
        ("a long header of nothing", &[0xff; 1_200]),
        ("a version 1 header of nothing", &[&[0xc3, 0, 0, 0, 1, 8][..], &[9; 1_300]].concat()),
        ("STUN", &[0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]),
    ] {
        for count in [1, 5, 12] {
            let tape = Tape::of(vec![from_client(junk); count]).then([hello.clone()]);
            assert_told_once(&tape.replay(), &format!("{count} times {what}"));
            let tape = Tape::of(vec![from_server(junk); count]).then([hello.clone()]);
            assert_told_once(&tape.replay(), &format!("{count} times {what} from the server"));
        }
    }
}

#[test]
fn decoys_of_another_connection() {
    let message = Hello::post_quantum(NAME).message();
    let datagrams = initials(&message, &[0, 900]);
    let ping = Initial::new(OTHER_ID, &[1]).datagram();
    let mut corrupt = Initial::new(OTHER_ID, &crypto(&message, 0..900)).datagram();
    corrupt[600] ^= 1;
    let other_keys = {
        // Keys of one id under the header of another: nobody can open it.
        let sealed = Initial { destination: ID.to_vec(), ..Initial::new(OTHER_ID, &[1]) };
        sealed.datagram()
    };
    let half_a_hello =
        Initial::new(OTHER_ID, &crypto(&Hello::post_quantum("decoy.example").message(), 0..40)).datagram();
    for (what, decoy) in [
        ("another's PING", ping),
        ("a broken one", corrupt),
        ("wrong keys", other_keys),
        ("half a hello", half_a_hello),
    ] {
        for place in 0..2 {
            let mut frames: Vec<Vec<u8>> = datagrams.iter().map(|datagram| from_client(datagram)).collect();
            frames.insert(place, from_client(&decoy));
            assert_told_once(&Tape::of(frames).replay(), &format!("{what} at {place}"));
        }
    }
}

#[test]
fn the_id_changes_once_the_server_has_answered() {
    let message = Hello::post_quantum(NAME).message();
    let first = Initial::new(ID, &crypto(&message, 0..900)).datagram();
    let answer = Initial::answer(ID, SERVER_ID).datagram();
    let later = Initial { destination: SERVER_ID.to_vec(), ..Initial::new(ID, &crypto(&message, 900..message.len())) };
    let frames = [from_client(&first), from_server(&answer), from_client(&later.number(1).datagram())];
    assert_told_once(&Tape::of(frames).replay(), "the rest goes to the server's id");
}

#[test]
fn a_retry_changes_the_keys() {
    let message = Hello::to(NAME).message();
    let first = hello_datagram(ID, &message);
    let retry = [&[0xf0, 0, 0, 0, 1, 6][..], b"client", &[8], SERVER_ID, &[7; 40]].concat();
    let again = hello_datagram(SERVER_ID, &message);
    let frames = [from_client(&first), from_server(&retry), from_client(&again)];
    assert_told_once(&Tape::of(frames.clone()).replay(), "one hello, sent again after a Retry");
    assert_told_once(&Tape::of(frames[1..].to_vec()).replay(), "the first Initial was not seen");
}

#[test]
fn connections_one_after_another_between_the_same_ports() {
    let answer = |origin: &[u8], id: &[u8]| from_server(&Initial::answer(origin, id).datagram());
    let second = Hello::post_quantum("www.capcut.com").message();
    let small = Hello::to("www.capcut.com").message();
    for (what, later) in [
        ("a hello in one Initial", vec![hello_datagram(OTHER_ID, &small)]),
        ("a hello in two Initials", {
            let initial = |range, number| Initial::new(OTHER_ID, &crypto(&second, range)).number(number).datagram();
            vec![initial(0..1_000, 0), initial(1_000..second.len(), 1)]
        }),
    ] {
        let tape = Tape::of([from_client(&hello_datagram(ID, &Hello::to(NAME).message())), answer(ID, SERVER_ID)]);
        let tape = tape.then([from_client(&[0x40; 60]), from_server(&[0x41; 900])]);
        let tape = tape.then(later.iter().map(|datagram| from_client(datagram))).then([answer(OTHER_ID, b"its next")]);
        let replay = tape.replay();
        assert_eq!(replay.said(), [quic(NAME), quic("www.capcut.com")].concat(), "{what}");
        let alerts = [alert("quic-sni", NAME), vec![format!("quic-sni {CLIENT} > {SERVER} www.capcut.com: capcut")]];
        assert_eq!(replay.alerted(), alerts.concat(), "{what}");
    }
}

/// A client that missed the server's answer, which the sensor saw, sends its Initial again, padded anew.
#[test]
fn an_initial_sent_again_after_the_answer_is_no_other_connection() {
    let message = Hello::post_quantum(NAME).message();
    let all: Vec<Vec<u8>> = initials(&message, &[0, 900]).iter().map(|datagram| from_client(datagram)).collect();
    let answer = from_server(&Initial::answer(ID, SERVER_ID).datagram());
    let again = Initial::new(ID, &crypto(&message, 0..900)).number(2).datagram();
    let tape = Tape::of(all.clone()).then([answer.clone(), from_client(&again)]).then([answer]).then(all);
    let replay = tape.replay();
    assert_told_once(&replay, "sent again");
    assert_eq!(replay.totals.flows, 1);
}

#[test]
fn a_hello_whose_tail_never_comes_is_told_as_partial() {
    let message = Hello::to(NAME).with_tail(2_000).message();
    let first = || Tape::of([from_client(&Initial::new(ID, &crypto(&message, 0..1_000)).datagram())]);
    let partial = vec![format!("{} (partial)", quic(NAME)[0])];
    for (what, tape) in [
        ("the capture ends", first()),
        ("the flow falls silent", first().then_silence(1_000).then([udp(SERVER, SERVER, b"else")])),
        ("it is sent again and again", first().then((0..20).flat_map(|_| first_again(&message)))),
        ("the connection goes on", first().then((0..200).map(|count| from_client(&[0x40 | count as u8 & 0x1f; 90])))),
    ] {
        let replay = tape.replay();
        assert_eq!(replay.said(), partial, "{what}");
        assert_eq!(replay.alerted(), alert("quic-sni", NAME), "{what}");
    }
}

fn first_again(message: &[u8]) -> Vec<Vec<u8>> {
    vec![from_client(&Initial::new(ID, &crypto(message, 0..1_000)).datagram())]
}

#[test]
fn an_initial_in_ip_fragments() {
    let hello = hello_datagram(ID, &Hello::to(NAME).message());
    let fragments = udp_in_fragments(CLIENT, SERVER, &hello, 7, 400);
    assert_eq!(fragments.len(), 4);
    for order in orders(fragments.len()) {
        let tape = Tape::of(order.iter().map(|&place| fragments[place].clone()));
        assert_told_once(&tape.replay(), &format!("{order:?}"));
    }
}

#[test]
fn a_decoys_packet_number_hides_no_hello() {
    let (truth, decoy) = (Hello::post_quantum(NAME).message(), Hello::to("www.example.org").message());
    let hello = initials(&truth, &[0, 900]);
    for number in [200, 0x7fff_ffff, u32::MAX] {
        for frames in [vec![1], crypto(&decoy, 0..decoy.len())] {
            let decoy = Initial::new(ID, &frames).number(number).datagram();
            for place in 0..2 {
                let mut datagrams = hello.clone();
                datagrams.insert(place, decoy.clone());
                let tape = Tape::of(datagrams.iter().map(|datagram| from_client(datagram)));
                assert_eq!(tape.replay().alerted(), alert("quic-sni", NAME), "number {number} at {place}");
            }
        }
    }
}

#[test]
fn a_decoy_whose_source_id_is_the_hellos_destination_id_hides_it_not() {
    let (truth, decoy) = (Hello::post_quantum(NAME).message(), Hello::to("www.example.org").message());
    let hello = initials(&truth, &[0, 900]);
    for frames in [vec![1], crypto(&decoy, 0..decoy.len()), crypto(&decoy, 0..40)] {
        let decoy = Initial { source: ID.to_vec(), ..Initial::new(OTHER_ID, &frames) }.datagram();
        let tape = Tape::of([from_client(&decoy)]).then(hello.iter().map(|datagram| from_client(datagram)));
        assert_eq!(tape.replay().alerted(), alert("quic-sni", NAME), "{frames:?}");
    }
}

#[test]
fn connections_that_say_nothing_do_not_push_out_the_hello() {
    let hello = initials(&Hello::post_quantum(NAME).message(), &[0, 900]);
    let pings = (0..12).map(|number| from_client(&Initial::new(&[number; 8], &[1]).datagram()));
    let tape = Tape::of([from_client(&hello[0])]).then(pings).then([from_client(&hello[1])]);
    assert_told_once(&tape.replay(), "between its halves");
}
