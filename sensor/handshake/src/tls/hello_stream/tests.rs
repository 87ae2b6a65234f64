use proptest::prelude::*;

use super::*;
use crate::tls::build::{Hello, message, record, records, unhex, vector16};

const BYTES_MAX: usize = 16 << 10;

/// What a stream tells that comes in pieces of these sizes, repeated: name, completeness, memory for joining.
fn read_in_pieces(stream: &[u8], sizes: &[usize]) -> (Option<Vec<u8>>, bool, usize) {
    let mut state = HelloStream::default();
    let (mut there, mut told) = (0, (None, false));
    for size in sizes.iter().cycle() {
        there = (there + size).min(stream.len());
        match state.advance(&stream[..there], BYTES_MAX) {
            HelloStep::Hello(hello) => told = (hello.server_name().map(<[u8]>::to_vec), hello.is_complete()),
            HelloStep::More => {}
            HelloStep::Stopped(stop) => panic!("{stop:?} after {there} of {} bytes", stream.len()),
        }
        if there == stream.len() {
            break;
        }
    }
    (told.0, told.1, state.records.joined.capacity())
}

fn stop_of(stream: &[u8]) -> Option<Stop> {
    match HelloStream::default().advance(stream, BYTES_MAX) {
        HelloStep::Stopped(stop) => Some(stop),
        _ => None,
    }
}

#[test]
fn a_hello_in_one_record_is_never_copied() {
    let record = Hello::post_quantum("one.example").record();
    let name = Some(b"one.example".to_vec());
    assert_eq!(read_in_pieces(&record, &[record.len()]), (name.clone(), true, 0));
    assert_eq!(read_in_pieces(&record, &[1]), (name.clone(), true, 0));
    assert_eq!(hello_in_one_record(&record).unwrap().server_name().map(<[u8]>::to_vec), name);
    let with_more_behind = [&record[..], &[20, 3, 3, 0, 1, 1]].concat();
    assert_eq!(hello_in_one_record(&with_more_behind).unwrap().server_name().map(<[u8]>::to_vec), name);
    for cut in 0..record.len() {
        assert!(hello_in_one_record(&record[..cut]).is_none());
    }
}

#[test]
fn small_records_of_all_sizes() {
    let message = Hello::post_quantum("small.example").message();
    for size in [1, 2, 3, 4, 5, 16, 32, 500, message.len() - 1] {
        let stream = records(&message, size);
        for piece in [1, 7, 1460] {
            let (name, complete, _) = read_in_pieces(&stream, &[piece]);
            assert_eq!((name.as_deref(), complete), (Some(&b"small.example"[..]), true), "{size}, {piece}");
        }
        assert!(hello_in_one_record(&stream).is_none());
    }
}

#[test]
fn the_name_is_told_as_soon_as_its_bytes_are_there() {
    let message = Hello::post_quantum("soon.example").message();
    let end_in_message = message.windows(12).position(|window| window == b"soon.example").unwrap() + 12;
    for size in [16_usize, 700, 4000] {
        let stream = records(&message, size);
        let end = end_in_message + 5 * end_in_message.div_ceil(size);
        let mut state = HelloStream::default();
        for cut in 0..=stream.len() {
            let named = match state.advance(&stream[..cut], BYTES_MAX) {
                HelloStep::Hello(hello) => hello.server_name().is_some(),
                _ => false,
            };
            assert_eq!(named, cut >= end, "records of {size}, cut at {cut}");
        }
    }
}

#[test]
fn other_records_before_the_hello_and_within_it() {
    let hello = Hello::to("behind.example");
    let change = record(20, &[1]);
    let warning = record(21, &[1, 112]);
    let before = [&change[..], &warning, &record(22, &[]), &hello.record()].concat();
    let message = hello.message();
    let within = [&record(22, &message[..30])[..], &warning, &change, &record(22, &message[30..])].concat();
    for stream in [before, within] {
        for piece in [1, 9999] {
            let (name, complete, _) = read_in_pieces(&stream, &[piece]);
            assert_eq!((name.as_deref(), complete), (Some(&b"behind.example"[..]), true));
        }
    }
}

#[test]
fn several_messages_in_a_record() {
    let messages = [message(4, b"ticket"), message(5, b""), Hello::to("third.example").message()];
    for size in [1, 7, 16, 9999] {
        let stream = records(&messages.concat(), size);
        let mut walk = Records::default();
        let mut seen = Vec::new();
        for there in 0..=stream.len() {
            while let Step::Message(message) = walk.message(&stream[..there], BYTES_MAX)
                && message.is_complete()
            {
                seen.push((message.kind, message.body.to_vec()));
                walk.skip(&stream[..there]);
            }
        }
        assert_eq!(seen.iter().map(|(kind, _)| *kind).collect::<Vec<_>>(), [4, 5, 1], "{size}");
        assert_eq!(seen[0].1, b"ticket");
        assert_eq!(seen[2].1, Hello::to("third.example").body());
    }
}

#[test]
fn versions_of_records_and_hello_are_ignored() {
    // RFC 8446 §5.1 and §4.1.2.
    for version in [0x0300_u16, 0x0305, 0x037f, 0x03ff, 0x0400, 0x0001] {
        let hello = Hello { version, ..Hello::to("version.example") };
        let mut stream = records(&hello.message(), 50);
        for record in 0..stream.len().div_ceil(55) {
            stream[55 * record + 1..55 * record + 3].copy_from_slice(&version.to_be_bytes());
        }
        for piece in [1, 60, 9999] {
            let (name, complete, _) = read_in_pieces(&stream, &[piece]);
            assert_eq!((name.as_deref(), complete), (Some(&b"version.example"[..]), true), "{version:x}");
        }
        let mut whole = hello.record();
        whole[1..3].copy_from_slice(&version.to_be_bytes());
        assert_eq!(hello_in_one_record(&whole).unwrap().server_name(), Some(&b"version.example"[..]));
    }
}

#[test]
fn why_a_stream_stops() {
    assert_eq!(stop_of(b"GET / HTTP/1.1\r\n"), Some(Stop::NotTls));
    assert_eq!(stop_of(&[22, 0x47]), Some(Stop::NotTls));
    assert_eq!(stop_of(&[22, 3, 1, 0x48, 1]), Some(Stop::NotTls));
    assert_eq!(stop_of(&record(23, &[1, 2, 3])), Some(Stop::Encrypted));
    assert_eq!(stop_of(&record(22, &message(16, &[0; 40]))), Some(Stop::OtherMessage));
    assert_eq!(stop_of(&record(22, &message(1, &[3, 3]))), Some(Stop::Malformed));
    assert_eq!(stop_of(&[&record(22, &[1, 0])[..], b"junk!"].concat()), Some(Stop::NotTls));
    assert_eq!(stop_of(&[]), None);
    assert_eq!(stop_of(&[22, 3]), None);
}

#[test]
fn a_hello_longer_than_may_be_held_tells_its_beginning() {
    let hello = Hello::to("long.example").with(21, vec![0; 20_000]);
    let stream = records(&hello.message(), 4096);
    let mut state = HelloStream::default();
    for there in (0..stream.len()).step_by(100) {
        if let HelloStep::Hello(hello) = state.advance(&stream[..there], 1000) {
            assert!(!hello.is_complete());
        }
    }
    let HelloStep::Hello(hello) = state.advance(&stream, 1000) else { panic!("no hello") };
    assert_eq!(hello.server_name(), Some(&b"long.example"[..]));
    assert!(!hello.is_complete());
    assert!(state.is_cut(1000));
    assert!(state.records.joined.capacity() <= 2000);
}

#[test]
fn a_recorded_hello_of_openssl() {
    let stream = unhex(include_str!("../testdata/openssl_3_0.hex"));
    let hello = hello_in_one_record(&stream).unwrap();
    assert_eq!(hello.server_name(), Some(&b"s-client.example.org"[..]));
    assert_eq!(hello.alpn().collect::<Vec<_>>(), [&b"h2"[..], b"http/1.1"]);
}

proptest! {
    #[test]
    fn any_cut_into_records_and_segments_gives_the_same_name(
        record_sizes in proptest::collection::vec(1_usize..400, 1..20),
        pieces in proptest::collection::vec(1_usize..300, 1..20),
    ) {
        let message = Hello::post_quantum("any-cut.example").message();
        let (mut rest, mut stream) = (&message[..], Vec::new());
        for size in record_sizes.iter().cycle() {
            let (head, tail) = rest.split_at((*size).min(rest.len()));
            stream.extend(record(22, head));
            rest = tail;
            if rest.is_empty() {
                break;
            }
        }
        let (name, complete, _) = read_in_pieces(&stream, &pieces);
        prop_assert_eq!(name.as_deref(), Some(&b"any-cut.example"[..]));
        prop_assert!(complete);
    }

    #[test]
    fn no_bytes_panic_and_memory_is_bounded(
        pieces in proptest::collection::vec((18_u8..26, proptest::collection::vec(any::<u8>(), 0..60)), 0..20),
        tail in proptest::collection::vec(any::<u8>(), 0..20), bytes_max in 0_usize..200,
    ) {
        let mut stream: Vec<u8> = pieces.iter().flat_map(|(kind, content)| record(*kind, content)).collect();
        stream.extend(tail);
        let (mut state, mut walk) = (HelloStream::default(), Records::default());
        for there in 0..=stream.len() {
            state.advance(&stream[..there], bytes_max);
            walk.message(&stream[..there], bytes_max);
            walk.skip(&stream[..there]);
        }
        prop_assert!(walk.joined.len() <= bytes_max.max(4) && state.records.joined.len() <= bytes_max.max(4));
    }
}

#[test]
fn hostile_lists_byte_by_byte_cost_linear_time() {
    // Thousands of empty extensions, a long server_name list without a host name, one-byte records: each look
    // at the stream goes on where the last one stopped, so this ends at once instead of after minutes.
    let mut hello = Hello { extensions: vec![(0x4242, vec![]); 12_000], ..Hello::default() };
    hello.extensions.push((0, vector16(&[1, 0, 0].repeat(5000))));
    let stream = records(&hello.message(), 1);
    let mut state = HelloStream::default();
    for there in 0..=stream.len() {
        state.advance(&stream[..there], 1 << 17);
    }
    assert!(matches!(state.advance(&stream, 1 << 17), HelloStep::Hello(hello) if hello.is_complete()));
}
