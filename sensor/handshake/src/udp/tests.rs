use super::*;
use crate::quic::build::{Initial, client_hello, crypto};
use crate::tls::build::{Hello as TlsHello, dtls_fragment, dtls_record};

/// A flow and what a worker lends to it.
#[derive(Default)]
struct Flow {
    inspector: UdpInspector,
    scratch: Scratch,
    counts: Counts,
    is_rewritten: bool,
    /// Of the hello that was reported last.
    desync: Desync,
}

/// The header of a datagram with this checksum.
const fn header(payload: &[u8], checksum: [u8; 2]) -> [u8; 8] {
    let [high, low] = (8 + payload.len() as u16).to_be_bytes();
    [0x9c, 0x40, 1, 0xbb, high, low, checksum[0], checksum[1]]
}

impl Flow {
    /// The names that a datagram brings; `-` for a hello without one.
    fn say(&mut self, side: Side, payload: &[u8]) -> Vec<String> {
        self.say_with(side, payload, [0, 0])
    }

    /// The same with a checksum of which the receiver sees that it is wrong.
    fn say_wrong(&mut self, side: Side, payload: &[u8]) -> Vec<String> {
        self.say_with(side, payload, [0x12, 0x34])
    }

    fn say_with(&mut self, side: Side, payload: &[u8], checksum: [u8; 2]) -> Vec<String> {
        const NETWORK: [u8; 20] = *b"\x45\0\0\0\0\0\0\0\x40\x11\0\0\x0a\0\0\x01\xc0\0\x02\x50";
        let header = header(payload, checksum);
        let datagram = UdpDatagram::new(&header, payload, vigie_decode::NetworkHeader::new(&NETWORK));
        let mut names = Vec::new();
        let limits = Limits::default();
        let is_rewritten = self.is_rewritten;
        let mut lent = Lent { scratch: &mut self.scratch, limits: &limits, counts: &mut self.counts, is_rewritten };
        self.inspector.datagram(side, &datagram, &mut lent, &mut |hello, desync| {
            self.desync = desync;
            names.push(name_of(hello));
        });
        names
    }

    fn finish(&mut self) -> Vec<String> {
        let mut names = Vec::new();
        let limits = Limits::default();
        let is_rewritten = self.is_rewritten;
        let mut lent = Lent { scratch: &mut self.scratch, limits: &limits, counts: &mut self.counts, is_rewritten };
        self.inspector.finish(&mut lent, &mut |hello, _| names.push(name_of(hello)));
        names
    }
}

fn name_of(hello: &Hello<'_>) -> String {
    hello.name().map_or("-".to_owned(), |name| String::from_utf8(name.to_vec()).unwrap())
}

const CLIENT: Side = Side::High;
const SERVER: Side = Side::Low;

fn hello_message(name: &str) -> Vec<u8> {
    client_hello(&TlsHello::post_quantum(name).body())
}

/// An Initial with a part of a hello's message, to this connection id.
fn initial_with(id: [u8; 8], number: u64, message: &[u8], part: std::ops::Range<usize>) -> Vec<u8> {
    let frames = crypto(message, part);
    Initial { number, ..Initial::default() }.connection(&id).frames(&frames).seal()
}

/// The datagrams of a hello, in two Initials.
fn hello(id: u8, name: &str) -> [Vec<u8>; 2] {
    let message = hello_message(name);
    [initial_with([id; 8], 0, &message, 0..1000), initial_with([id; 8], 1, &message, 1000..message.len())]
}

/// A hello in one Initial.
fn short_hello(id: u8, name: &str) -> Vec<u8> {
    let message = client_hello(&TlsHello::to(name).body());
    initial_with([id; 8], 0, &message, 0..message.len())
}

fn dtls(name: Option<&str>, sequence: u16) -> Vec<u8> {
    let hello = name.map_or_else(TlsHello::default, TlsHello::to);
    let body = TlsHello { version: 0xfefd, cookie: Some(vec![]), ..hello }.body();
    dtls_record(22, [0xfe, 0xff], 0, 0, &dtls_fragment(1, sequence, &body, 0, body.len()))
}

#[test]
fn all_names_are_reported_until_the_server_answers() {
    let mut flow = Flow::default();
    let [first, second] = hello(1, "true.example");
    assert_eq!(flow.say(CLIENT, &first), [""; 0]);
    for decoy in 0..6 {
        let name = format!("decoy{decoy}.example");
        assert_eq!(flow.say(CLIENT, &short_hello(10 + decoy, &name)), [name]);
    }
    assert!(flow.desync.has(Desync::HELLOS));
    assert_eq!(flow.say(CLIENT, &second), ["true.example"]);
    assert_eq!(flow.say(CLIENT, &short_hello(30, "TRUE.example")), [""; 0], "the same name again");
    assert!(!flow.inspector.is_done());
    flow.say(SERVER, &[0x40; 50]);
    assert!(flow.inspector.is_done());
}

#[test]
fn a_server_that_asks_for_another_hello_has_not_answered() {
    // HelloVerifyRequest with a cookie (RFC 6347 §4.2.1).
    let verify = dtls_record(22, [0xfe, 0xff], 0, 0, &dtls_fragment(3, 0, b"\xfe\xff\x02ab", 0, 5));
    let mut flow = Flow::default();
    assert_eq!(flow.say(CLIENT, &dtls(Some("first.example"), 0)), ["first.example"]);
    assert_eq!(flow.say(SERVER, &verify), [""; 0]);
    assert_eq!(flow.say(CLIENT, &dtls(Some("second.example"), 1)), ["second.example"]);
    assert!(flow.desync.has(Desync::HELLOS) && !flow.inspector.is_done());
    // Version Negotiation, Retry.
    let negotiation = b"\x80\0\0\0\0\x01a\x08\x01\x01\x01\x01\x01\x01\x01\x01\0\0\0\x01";
    let retry = b"\xf0\0\0\0\x01\x01a\x01btoken and an integrity tag";
    for again in [&negotiation[..], &retry[..]] {
        let mut flow = Flow::default();
        assert_eq!(flow.say(CLIENT, &short_hello(1, "first.example")), ["first.example"]);
        assert_eq!(flow.say(SERVER, again), [""; 0]);
        assert!(!flow.inspector.is_done(), "{}", again.escape_ascii());
        assert_eq!(flow.say(CLIENT, &short_hello(2, "second.example")), ["second.example"]);
        flow.say(SERVER, &[0x40; 50]);
        assert!(flow.inspector.is_done());
    }
}

#[test]
fn decoys_to_the_same_connection_id() {
    let mut flow = Flow::default();
    assert_eq!(flow.say(CLIENT, &short_hello(1, "decoy.example")), ["decoy.example"]);
    assert_eq!(flow.say(CLIENT, &short_hello(1, "first.example")), ["first.example"]);
    let [first, second] = hello(1, "second.example");
    assert_eq!(flow.say(CLIENT, &second), [""; 0]);
    assert_eq!(flow.say(CLIENT, &first), ["second.example"]);
    // False first parts before and behind the true one.
    let mut flow = Flow::default();
    let [false_first, _] = hello(1, "wrong0.example");
    let [true_first, last] = hello(1, "right0.example");
    for part in [&false_first, &true_first, &false_first] {
        assert_eq!(flow.say(CLIENT, part), [""; 0]);
    }
    let names = flow.say(CLIENT, &last);
    assert!(names.contains(&"right0.example".to_owned()), "{names:?}");
}

#[test]
fn another_protocol_before_the_true_one() {
    let mut flow = Flow::default();
    assert_eq!(flow.say(CLIENT, &dtls(Some("decoy.example"), 0)), ["decoy.example"]);
    assert_eq!(flow.say(CLIENT, &dtls(Some("decoy.example"), 0)), [""; 0]);
    assert_eq!(flow.say(CLIENT, &short_hello(1, "true.example")), ["true.example"]);
    let mut flow = Flow::default();
    assert_eq!(flow.say(CLIENT, &short_hello(1, "decoy.example")), ["decoy.example"]);
    assert_eq!(flow.say(CLIENT, &dtls(Some("true.example"), 0)), ["true.example"]);
}

#[test]
fn the_second_hello_of_dtls_may_have_the_name() {
    let mut flow = Flow::default();
    assert_eq!(flow.say(CLIENT, &dtls(None, 0)), ["-"]);
    assert_eq!(flow.say(SERVER, b"\x16\xfe\xff\0\0\0\0\0\0\0\0\0\x03\x03\0\0"), [""; 0]);
    assert_eq!(flow.say(CLIENT, &dtls(Some("second.example"), 1)), ["second.example"]);
    assert!(flow.desync.is_empty(), "the name came with the second hello");
    flow.say(SERVER, &[0x16; 50]);
    assert!(flow.inspector.is_done());
}

#[test]
fn a_one_way_flow_is_followed_for_a_while() {
    let mut flow = Flow::default();
    assert_eq!(flow.say(CLIENT, &short_hello(1, "one-way.example")), ["one-way.example"]);
    for _ in 0..WATCHED_DATAGRAMS_MAX {
        assert!(!flow.inspector.is_done());
        flow.say(CLIENT, &[0x40; 100]);
    }
    assert!(flow.inspector.is_done());
}

#[test]
fn a_hello_without_its_tail_is_reported_in_the_end() {
    let message = hello_message("partial.example");
    let name_end = message.windows(15).position(|window| window == b"partial.example").unwrap() + 15;
    let datagram = initial_with([1; 8], 0, &message, 0..1000);
    let rest = initial_with([1; 8], 1, &message, 1000..name_end);
    let mut flow = Flow::default();
    assert_eq!([flow.say(CLIENT, &datagram), flow.say(CLIENT, &rest)].concat(), [""; 0]);
    assert!(flow.inspector.may_have_hello());
    assert_eq!(flow.finish(), ["partial.example"]);
    let mut flow = Flow::default();
    flow.say(CLIENT, &datagram);
    flow.say(CLIENT, &rest);
    let names: Vec<_> = (0..STALLED_DATAGRAMS_MAX).flat_map(|_| flow.say(CLIENT, &[0x40; 60])).collect();
    assert_eq!(names, ["partial.example"]);
    let more: Vec<_> =
        (STALLED_DATAGRAMS_MAX..WATCHED_DATAGRAMS_MAX).flat_map(|_| flow.say(CLIENT, &[0x40; 60])).collect();
    assert_eq!(more, [""; 0]);
    assert!(flow.inspector.is_done());
}

#[test]
fn hellos_with_a_wrong_checksum_are_void_if_others_are_right() {
    // Before the true one, behind it.
    let mut flow = Flow::default();
    for number in 0..6 {
        assert_eq!(flow.say_wrong(CLIENT, &short_hello(number, "void.example")), [""; 0]);
    }
    assert_eq!(flow.say(CLIENT, &short_hello(1, "true.example")), ["true.example"]);
    assert_eq!(flow.say_wrong(CLIENT, &short_hello(2, "void.example")), [""; 0]);
    assert!(flow.desync.has(Desync::CHECKSUM) && !flow.desync.has(Desync::HELLOS));
    assert!(flow.counts.void_segments[0] > HELD_DATAGRAMS_MAX as u64);
}

#[test]
fn wrong_checksums_that_the_server_answers_are_the_captures_fault() {
    let mut flow = Flow::default();
    let [first, second] = hello(1, "rewritten.example");
    assert_eq!(flow.say_wrong(CLIENT, &first), [""; 0]);
    assert_eq!(flow.say_wrong(CLIENT, &second), [""; 0]);
    assert_eq!(flow.say_wrong(SERVER, &[0x40; 50]), ["rewritten.example"]);
    assert!(flow.inspector.is_done());
    // At the end of the flow.
    let mut flow = Flow::default();
    assert_eq!(flow.say_wrong(CLIENT, &short_hello(1, "rewritten.example")), [""; 0]);
    assert!(flow.inspector.may_have_hello());
    assert_eq!(flow.finish(), ["rewritten.example"]);
    // One-way.
    let mut flow = Flow::default();
    assert_eq!(flow.say_wrong(CLIENT, &short_hello(1, "rewritten.example")), [""; 0]);
    let names: Vec<_> = (0..STALLED_DATAGRAMS_MAX).flat_map(|_| flow.say_wrong(CLIENT, &[0x40; 60])).collect();
    assert_eq!(names, ["rewritten.example"]);
}

#[test]
fn wrong_checksums_prove_nothing_in_a_rewritten_capture() {
    let mut flow = Flow::default();
    assert_eq!(flow.say_wrong(CLIENT, &short_hello(1, "first.example")), [""; 0]);
    flow.is_rewritten = true;
    assert_eq!(flow.say_wrong(CLIENT, &short_hello(2, "second.example")), ["first.example", "second.example"]);
    assert_eq!(flow.counts.void_segments[0], 0);
}

#[test]
fn hellos_in_datagrams_of_a_socks_relay() {
    let relayed = |payload: &[u8]| [b"\0\0\0\x01\xc0\0\x02\x50\x01\xbb", payload].concat();
    let [first, second] = hello(1, "relayed.example");
    let mut flow = Flow::default();
    assert_eq!(flow.say(CLIENT, &relayed(&first)), [""; 0]);
    assert_eq!(flow.say(CLIENT, &relayed(&second)), ["relayed.example"]);
    assert!(may_hold_hello(&relayed(&dtls(None, 0))).is_some());
    assert!(may_hold_hello(&relayed(b"text")).is_none());
}

#[test]
fn names_and_memory_are_bounded() {
    let mut flow = Flow::default();
    let names: usize =
        (0..200_u8).map(|number| flow.say(CLIENT, &short_hello(number, &format!("n{number}.example"))).len()).sum();
    assert_eq!(names, Limits::default().udp_hellos_max);
    assert!(flow.counts.hellos_exceeded > 0);
    assert!(flow.inspector.memory_bytes() < 64 << 10, "{}", flow.inspector.memory_bytes());
    flow.inspector.reset();
    assert_eq!(flow.say(CLIENT, &short_hello(1, "again.example")), ["again.example"]);
}
