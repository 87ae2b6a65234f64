//! The whole of it, from datagrams to hellos: the RFCs' vectors, hellos cut and shuffled in every way, decoys and junk.

use proptest::prelude::*;

use super::build::{Initial, client_hello, crypto};
use super::google::tests::{chlo, packet};
use super::versions::Schedule;
use super::*;
use vigie_flow::Side;

const V2: u32 = 0x6b33_43cf;

/// A connection with all that it is lent.
#[derive(Default)]
struct Tap {
    connection: Connection,
    scratch: Scratch,
    limits: QuicLimits,
    counters: QuicCounters,
}

impl Tap {
    fn take(&mut self, datagram: &[u8]) -> Progress<'_> {
        self.connection.datagram(Side::Low, datagram, &mut self.scratch, &self.limits, &mut self.counters)
    }

    /// The hello that a datagram brought: version, body, whether complete.
    fn hello(&mut self, datagram: &[u8]) -> Option<(u32, Vec<u8>, bool)> {
        match self.take(datagram) {
            Progress::Hello(hello) => Some((hello.version, hello.message.to_vec(), hello.complete)),
            _ => None,
        }
    }
}

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.chars().filter_map(|digit| digit.to_digit(16).map(|digit| digit as u8)).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

/// A body that no cut or shuffle leaves the same.
fn body(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at * 7 + at / 251) as u8).collect()
}

/// An Initial with the whole of a hello.
fn simple(hello: &[u8]) -> Initial {
    Initial::default().frames(&crypto(hello, 0..hello.len()))
}

/// The CRYPTO frame of RFC 9001 §A.2, which RFC 9369 §A.2 repeats.
const VECTOR_FRAME: &str = "
    060040f1010000ed0303ebf8fa56f12939b9584a3896472ec40bb863cfd3e868 04fe3a47f06a2b69484c00000413011302010000c000000010000e00000b6578
    616d706c652e636f6dff01000100000a00080006001d00170018001000070005 04616c706e000500050100000000003300260024001d00209370b2c9caa47fba
    baf4559fedba753de171fa71f50f1ce15d43e994ec74d748002b000302030400 0d0010000e0403050306030203080408050806002d00020101001c0002400100
    3900320408ffffffffffffffff05048000ffff07048000ffff08011001048000 75300901100f088394c8f03e51570806048000ffff";

/// The CRYPTO frame of draft-ietf-quic-tls-29 §A.2.
const VECTOR_FRAME_DRAFT_29: &str = "
    060040c4010000c003036660261ff947cea49cce6cfad687f457cf1b14531ba1 4131a0e8f309a1d0b9c4000006130113031302010000910000000b0009000006
    736572766572ff01000100000a00140012001d00170018001901000101010201 03010400230000003300260024001d00204cfdfcd178b784bf328cae793b136f
    2aedce005ff183d7bb1495207236647037002b0003020304000d0020001e0403 05030603020308040805080604010501060102010402050206020202002d0002
    0101001c00024001";

/// Our sealing gives the vectors' own bytes (their start, and their tag where it is given), so opening it is opening them.
#[test]
fn the_vectors_of_the_rfcs() {
    for (version, frame, start, tag) in [
        (
            versions::V1,
            VECTOR_FRAME,
            "c000000001088394c8f03e5157080000449e7b9aec34d1b1c98dd7689fb8ec11d242b123dc9b",
            "e221af44860018ab0856972e194cd934",
        ),
        (
            V2,
            VECTOR_FRAME,
            "d76b3343cf088394c8f03e5157080000449ea0c95e82ffe67b6abcdb4298b485dd04de806071bf03",
            "a18b2faa745b6fe189cf772a9f84cbfc",
        ),
        (
            0xff00_001d,
            VECTOR_FRAME_DRAFT_29,
            "c5ff00001d088394c8f03e5157080000449e4a95245bfb66bc5f93032b7ddd89fe0ff15d9c4f7050",
            "",
        ),
    ] {
        let frame = hex(frame);
        let datagram = Initial::default().version(version).frames(&frame).seal();
        assert_eq!(datagram.len(), 1200);
        assert!(datagram.starts_with(&hex(start)) && datagram.ends_with(&hex(tag)), "{version:x}");
        assert!(looks_like_quic(&datagram));
        let mut tap = Tap::default();
        assert_eq!(tap.hello(&datagram), Some((version, frame[8..].to_vec(), true)));
        assert!(matches!(tap.take(&datagram), Progress::Nothing), "a retransmission is not news");
    }
}

#[test]
fn every_version_opens_with_each_of_its_schedules() {
    let hello = client_hello(&body(300));
    for version in (0xff00_0011..=0xff00_0022).chain(0xface_b000..=0xface_b00f).chain([1, V2, 0x709a_50c4, 0xff02_0000])
    {
        let datagram = simple(&hello).version(version).seal();
        assert!(looks_like_quic(&datagram), "{version:x}");
        assert_eq!(Tap::default().hello(&datagram), Some((version, hello[4..].to_vec(), true)), "{version:x}");
    }
    for name in [b"T050", b"T051"] {
        let version = u32::from_be_bytes(*name);
        assert!(Tap::default().hello(&simple(&hello).version(version).seal()).is_some());
    }
    let older = simple(&hello).version(0x709a_50c4).seal_by(Schedule::V2Draft, 0xd0);
    assert!(Tap::default().hello(&older).is_some());
}

#[test]
fn unknown_and_greased_versions_get_a_try_with_the_keys_of_1_of_the_drafts_and_of_2() {
    let hello = client_hello(&body(300));
    for version in [0x0a0a_0a0a, 0x1a2a_3a4a, 2, 0x1234_5678] {
        for (schedule, first, tries) in [(Schedule::V1, 0xc0, 1), (Schedule::Draft29, 0xc0, 2), (Schedule::V2, 0xd0, 1)]
        {
            let datagram = simple(&hello).version(version).seal_by(schedule, first);
            assert!(looks_like_quic(&datagram));
            let mut tap = Tap::default();
            assert!(tap.hello(&datagram).is_some());
            assert_eq!((tap.counters.unknown_versions, tap.counters.keys_derived), (1, tries));
            tap.take(&datagram);
            assert_eq!(tap.counters.open_failures, tries - 1, "the second time the keys are known");
        }
    }
    let mut short = simple(&hello);
    short.padded_to = 0;
    assert!(!looks_like_quic(&short.version(0x1234_5678).seal_by(Schedule::V1, 0xc0)));
}

#[test]
fn a_greased_fixed_bit_a_token_and_a_short_number_change_nothing() {
    let hello = client_hello(&body(300));
    let initial = Initial { grease: 0x40, token: vec![5; 70], number: 1, number_bytes: 1, ..simple(&hello) };
    assert!(Tap::default().hello(&initial.seal()).is_some());
}

#[test]
fn coalesced_packets_are_walked_and_anything_may_follow_them() {
    let hello = client_hello(&body(900));
    let first = Initial { padded_to: 0, ..Initial::default().frames(&crypto(&hello, 450..904)) }.seal();
    let second = Initial { padded_to: 0, number: 3, ..Initial::default().frames(&crypto(&hello, 0..450)) }.seal();
    let opaque =
        |first: u8| [&[first, 0, 0, 0, 1, 8][..], &first.to_be_bytes().repeat(8), &[0, 0x40, 30], &[9; 30]].concat();
    let datagram = [first, opaque(0xd0), opaque(0xe0), second, vec![0x47; 50]].concat();
    assert_eq!(Tap::default().hello(&datagram), Some((1, hello[4..].to_vec(), true)));
    let cut = &datagram[..datagram.len() - 51];
    let mut tap = Tap::default();
    assert_eq!(tap.hello(cut), None);
    assert_eq!((tap.counters.cut, tap.counters.opened), (1, 1));
}

#[test]
fn the_hello_is_told_as_far_as_it_is_known() {
    let hello = client_hello(&body(1000));
    let part = |range| Initial::default().frames(&crypto(&hello, range)).seal();
    let mut tap = Tap::default();
    assert!(tap.hello(&part(500..1004)).is_none());
    assert!(tap.hello(&part(0..3)).is_none());
    assert_eq!(tap.hello(&part(0..300)), Some((1, hello[4..300].to_vec(), false)));
    assert!(tap.hello(&part(10..280)).is_none());
    assert_eq!(tap.hello(&part(290..510)), Some((1, hello[4..].to_vec(), true)));
    assert!(tap.hello(&part(0..1004)).is_none());
}

#[test]
fn what_follows_the_hello_in_its_stream_is_left_out() {
    let stream = [client_hello(&body(200)), client_hello(&body(100))].concat();
    let datagram = simple(&stream).seal();
    assert_eq!(Tap::default().hello(&datagram), Some((1, body(200), true)));
}

#[test]
fn junk_servers_and_decoys_before_the_initial_do_not_hide_it() {
    let hello = client_hello(&body(700));
    let real = simple(&hello).seal();
    let decoy = simple(&client_hello(&body(50))).connection(b"a decoy!").seal();
    let mut corrupt = simple(&hello).connection(b"corrupted").seal();
    corrupt[700] ^= 1;
    let server = Initial { source: b"server".to_vec(), ..simple(&hello).connection(b"of client") };
    let mut server = server.seal();
    server[900] ^= 1;
    let mut tap = Tap::default();
    for junk in [&b"\xff\xff"[..], &corrupt, &server, b"", &[0xc0; 1200], &corrupt] {
        assert!(tap.hello(junk).is_none());
    }
    assert_eq!(tap.hello(&decoy), Some((1, body(50), true)));
    assert_eq!(tap.hello(&real), Some((1, body(700), true)));
}

#[test]
fn connections_on_one_flow_are_not_mixed() {
    let (one, two) = (client_hello(&[1; 600]), client_hello(&[2; 600]));
    let part = |hello: &[u8], id: &[u8], range| Initial::default().connection(id).frames(&crypto(hello, range)).seal();
    let mut tap = Tap::default();
    assert!(tap.hello(&part(&one, b"first one", 300..604)).is_none());
    assert_eq!(tap.hello(&part(&two, b"second one", 0..300)), Some((1, vec![2; 296], false)));
    assert_eq!(tap.hello(&part(&one, b"first one", 0..300)), Some((1, vec![1; 600], true)));
    assert_eq!(tap.hello(&part(&two, b"second one", 300..604)), Some((1, vec![2; 600], true)));
    let both = |id: &[u8], hello: &[u8]| Initial { padded_to: 0, ..simple(hello).connection(id) }.seal();
    let datagram = [both(b"third one", &one), both(b"fourth one", &two)].concat();
    assert_eq!(tap.hello(&datagram), Some((1, vec![1; 600], true)));
    assert!(matches!(tap.connection.more(), Progress::Hello(hello) if hello.message == [2; 600]));
    assert!(matches!(tap.connection.more(), Progress::Nothing));
    assert!(tap.hello(&both(b"fifth one", &one)).is_some());
    assert_eq!(tap.counters.connections_evicted, 1);
}

#[test]
fn the_id_changes_once_the_server_has_answered_and_the_keys_stay() {
    let hello = client_hello(&body(1500));
    let client = Initial { source: b"clnt".to_vec(), ..Initial::default() };
    let first = client.clone().frames(&crypto(&hello, 0..1000));
    let second = Initial { destination: b"srv".to_vec(), number: 3, ..client.frames(&crypto(&hello, 1000..1504)) };
    let server = Initial { source: b"srv".to_vec(), ..Initial::default().connection(b"clnt") }.seal();
    let mut tap = Tap::default();
    assert_eq!(tap.hello(&first.seal()).map(|(_, message, complete)| (message.len(), complete)), Some((996, false)));
    let Tap { connection, scratch, limits, counters } = &mut tap;
    assert!(matches!(connection.datagram(Side::High, &server, scratch, limits, counters), Progress::Nothing));
    assert_eq!(tap.hello(&second.seal()), Some((1, body(1500), true)));
    let expected = QuicCounters { initials: 3, opened: 2, keys_derived: 1, from_server: 1, ..QuicCounters::default() };
    assert_eq!(tap.counters, expected);
}

#[test]
fn a_retry_changes_the_keys() {
    let hello = client_hello(&body(1500));
    let first = Initial::default().frames(&crypto(&hello, 0..1000));
    let retry = [&b"\xf0\0\0\0\x01\0\x08new one!token"[..], &[7; 16]].concat();
    let again = first.clone().connection(b"new one!");
    let rest = Initial { number: 3, ..Initial::default().connection(b"new one!").frames(&crypto(&hello, 1000..1504)) };
    let mut tap = Tap::default();
    assert!(tap.hello(&first.seal()).is_some());
    assert!(tap.hello(&retry).is_none());
    assert!(tap.hello(&again.seal()).is_some());
    assert_eq!(tap.hello(&rest.seal()), Some((1, body(1500), true)));
    assert_eq!((tap.counters.retries, tap.counters.keys_derived), (1, 2));
}

/// RFC 9369 §4.1: after the server has chosen version 2, the client's Initials use its keys, of the id as before.
#[test]
fn a_compatible_version_negotiation_changes_the_version_in_mid_hello() {
    let hello = client_hello(&body(1500));
    let first = Initial::default().frames(&crypto(&hello, 0..1000));
    let second = Initial { destination: b"srv".to_vec(), number: 3, ..Initial::default() }.version(V2);
    let second = second.frames(&crypto(&hello, 1000..1504));
    let mut tap = Tap::default();
    assert!(tap.hello(&first.seal()).is_some());
    assert_eq!(tap.hello(&second.seal()), Some((V2, body(1500), true)));
}

#[test]
fn version_negotiation_leads_to_a_second_first_flight() {
    let hello = client_hello(&body(500));
    let mut tap = Tap::default();
    assert!(tap.hello(&[0xc0; 1200]).is_none());
    assert!(matches!(tap.take(b"\x80\0\0\0\0\0\x08abcdefgh\0\0\0\x01\x6b\x33\x43\xcf"), Progress::Nothing));
    assert!(tap.hello(&simple(&hello).version(V2).seal()).is_some());
    assert_eq!(tap.counters.version_negotiations, 1);
}

#[test]
fn a_flood_of_garbage_is_given_up_and_a_reset_begins_anew() {
    let hello = client_hello(&body(500));
    let mut tap = Tap::default();
    for number in 0..100_u8 {
        let mut garbage = simple(&hello).connection(&[number; 8]).seal();
        garbage[1000] ^= 1;
        tap.take(&garbage);
    }
    let real = simple(&hello).seal();
    assert!(matches!(tap.take(&real), Progress::GivenUp));
    assert_eq!((tap.counters.open_failures, tap.counters.keys_derived, tap.counters.given_up), (16, 16, 1));
    assert!(tap.connection.memory_bytes() < 16 * 1024);
    tap.connection.reset();
    assert!(tap.hello(&real).is_some());
}

#[test]
fn an_idle_connection_is_small_and_a_recycled_one_keeps_little() {
    assert!(size_of::<Connection>() <= 64);
    let mut tap = Tap::default();
    let far = [&[0x06][..], &build::varint(30_000), &[1, 7]].concat();
    for id in [b"first id", b"secondid", b"third id", b"fourthid"] {
        tap.take(&Initial::default().connection(id).frames(&far).seal());
    }
    assert!(tap.connection.memory_bytes() > 100_000);
    tap.connection.reset();
    assert!(tap.connection.memory_bytes() < 6 * 1024);
}

#[test]
fn a_stream_that_is_no_hello_or_too_long_is_bounded() {
    let mut tap = Tap::default();
    assert!(matches!(tap.take(&simple(&[2, 0, 0, 9, 9, 9, 9]).seal()), Progress::Nothing));
    let far = [&[0x06][..], &[0xff; 8], &[1, 7], &[0x06, 0x80, 0, 0x80, 0, 1, 7]].concat();
    tap.take(&Initial { number: 4, ..Initial::default() }.connection(b"elsewhere").frames(&far).seal());
    assert_eq!(tap.counters.crypto_too_far, 2);
    let scattered: Vec<u8> = (0..80).flat_map(|at| crypto(&[7; 200], 2 * at + 1..2 * at + 2)).collect();
    tap.take(&Initial::default().connection(b"scattered").frames(&scattered).seal());
    assert_eq!(tap.counters.crypto_too_many_gaps, 16);
}

fn google_hello() -> Vec<u8> {
    chlo(&[(b"PAD\0", &[b'-'; 900]), (b"SNI\0", b"example.com"), (b"UAID", &[b'u'; 900]), (b"PDMD", b"X509")])
}

/// A packet under the public header, with a STREAM frame of stream 1.
fn public(version: &[u8; 4], number: u8, message: &[u8], range: std::ops::Range<usize>, word: &[u8]) -> Vec<u8> {
    let mut frames = vec![];
    let big_endian = *version >= *b"Q039";
    let bytes = |value: usize| if big_endian { (value as u16).to_be_bytes() } else { (value as u16).to_le_bytes() };
    if *version <= *b"Q033" {
        frames.push(0);
    }
    frames.extend([0xa4, 1]);
    frames.extend(bytes(range.start));
    frames.extend(bytes(range.len()));
    frames.extend(&message[range]);
    frames.extend([0; 40]);
    packet(&[&b"\x09clientid"[..], version, &[number]].concat(), &frames, word)
}

#[test]
fn a_chlo_of_several_packets_under_the_public_header() {
    let message = google_hello();
    for (version, word) in
        [(b"Q024", &b""[..]), (b"Q033", b""), (b"Q034", b""), (b"Q039", b"Client"), (b"Q043", b"Client")]
    {
        let first = public(version, 1, &message, 0..1000, word);
        let second = public(version, 2, &message, 1000..message.len(), word);
        let mut tap = Tap::default();
        assert!(looks_like_quic(&first));
        assert!(
            matches!(tap.take(&first), Progress::Chlo(chlo) if chlo.sni() == Some(b"example.com") && !chlo.complete())
        );
        let mut encrypted = second.clone();
        encrypted[40] ^= 1;
        assert!(matches!(tap.take(&encrypted), Progress::Nothing));
        let Progress::Chlo(chlo) = tap.take(&second) else { panic!("{version:?}") };
        assert!(chlo.complete() && chlo.proof_demand() == Some(b"X509") && chlo.version().to_be_bytes() == *version);
        let mut late = Tap::default();
        assert!(matches!(late.take(&second), Progress::Nothing));
        assert!(matches!(late.take(&first), Progress::Chlo(chlo) if chlo.complete()));
    }
}

#[test]
fn a_chlo_under_a_long_header_and_in_an_initial() {
    let message = google_hello();
    let frames = [&[0xa0, 1][..], &1000_u16.to_be_bytes(), &message[..1000]].concat();
    for header in [&b"\xffQ044\x50clientid\0\0\0\x01"[..], b"\xc3Q046\x50clientid\0\0\0\x01"] {
        let datagram = packet(header, &frames, b"Client");
        assert!(looks_like_quic(&datagram));
        assert!(matches!(Tap::default().take(&datagram), Progress::Chlo(chlo) if chlo.sni() == Some(b"example.com")));
    }
    let crypto = [&[0x08, 0][..], &build::varint(1000), &message[..1000]].concat();
    for name in [b"Q048", b"Q050"] {
        let datagram = Initial::default().version(u32::from_be_bytes(*name)).frames(&crypto).seal();
        assert!(matches!(Tap::default().take(&datagram), Progress::Chlo(chlo) if chlo.sni() == Some(b"example.com")));
    }
}

#[test]
fn a_second_chlo_serves_where_the_first_was_missed() {
    let message = google_hello();
    let stream = [&[7; 500][..], &message].concat();
    let datagram = public(b"Q043", 3, &stream, 500..stream.len(), b"Client");
    assert!(matches!(Tap::default().take(&datagram), Progress::Chlo(chlo) if chlo.complete()));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn any_cut_shuffle_and_overlap_over_packets_and_datagrams_gives_the_hello(
        length in 1_usize..6000,
        piece in prop_oneof![Just(1_usize), 2..60_usize, 60..1100_usize],
        overlap in 0_usize..20,
        order in any::<u64>(),
        per_packet in 1_usize..30,
        per_datagram in 1_usize..3,
        version in prop_oneof![Just(1_u32), Just(V2), Just(0xff00_001d), Just(0xface_b002)],
        padding in 0_usize..3,
    ) {
        // The first kilobyte at most in one-byte pieces: islands are bounded, so their order is nearly that of the stream.
        let length = if piece == 1 { length.min(1000) } else { length };
        let hello = client_hello(&body(length));
        let mut pieces: Vec<Vec<u8>> = (0..hello.len()).step_by(piece)
            .map(|start| [vec![0; padding], crypto(&hello, start..(start + piece + overlap).min(hello.len())), vec![1]].concat())
            .collect();
        shuffle(&mut pieces, order, 50);
        let packets: Vec<Vec<u8>> = pieces.chunks(per_packet).enumerate()
            .map(|(number, frames)| Initial { number: number as u64, padded_to: 0, ..Initial::default() }
                .version(version).frames(&frames.concat()).seal())
            .collect();
        let mut tap = Tap::default();
        let mut told = 0;
        let mut complete = false;
        for datagram in packets.chunks(per_datagram) {
            if let Some((_, message, whole)) = tap.hello(&datagram.concat()) {
                prop_assert!(!complete && message.len() > told);
                prop_assert_eq!(&message[..], &hello[4..][..message.len()]);
                (told, complete) = (message.len(), whole);
            }
        }
        prop_assert!(complete && told == length);
        prop_assert_eq!(tap.counters.open_failures, 0);
    }

    #[test]
    fn arbitrary_datagrams_never_panic(
        datagrams in proptest::collection::vec((proptest::collection::vec(any::<u8>(), 0..80), 0_usize..8), 1..20),
    ) {
        let starts = [&b""[..], b"\xc0\0\0\0\x01\x08", b"\xd0\x6b\x33\x43\xcf\x00", b"\x09clientidQ043\x01", b"\xc0Q046\x50",
            b"\x80\0\0\0\0", b"\xc0\xff\0\0\x12\x50", b"\xffQ044\x50clientid"];
        let mut tap = Tap::default();
        for (bytes, start) in datagrams {
            let datagram = [starts[start], &bytes].concat();
            looks_like_quic(&datagram);
            tap.take(&datagram);
        }
    }

    #[test]
    fn arbitrary_frames_never_panic(
        frames in proptest::collection::vec(any::<u8>(), 0..400),
        version in prop_oneof![Just(1_u32), Just(u32::from_be_bytes(*b"Q050")), Just(u32::from_be_bytes(*b"T051"))],
        clear in prop_oneof![Just(&b"Q024"), Just(&b"Q043")],
    ) {
        Tap::default().take(&Initial::default().version(version).frames(&frames).seal());
        let header = [&b"\x39clientid"[..], &clear[..], &[1; 6]].concat();
        Tap::default().take(&packet(&header, &frames, b""));
        let start = [&b"CHLO"[..], &frames].concat();
        let Some(chlo) = Chlo::view(0, &start) else { panic!("a CHLO") };
        chlo.sni();
    }
}

/// Moves pieces about, none by more than `reach` places.
fn shuffle(pieces: &mut [Vec<u8>], seed: u64, reach: usize) {
    let mut state = seed;
    for window in pieces.chunks_mut(reach) {
        for at in (1..window.len()).rev() {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            window.swap(at, (state >> 33) as usize % (at + 1));
        }
    }
}
