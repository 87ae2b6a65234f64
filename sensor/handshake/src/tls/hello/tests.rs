use proptest::prelude::*;

use super::*;
use crate::tls::build::{Hello, alpn, ech_outer, server_name, server_names, unhex, vector16};
use crate::tls::ech::Ech;

/// RFC 8448 §3, the ClientHello of the simple 1-RTT handshake.
const RFC_8448: &str = "
    01 00 00 c0 03 03 cb 34 ec b1 e7 81 63 ba 1c 38 c6 da cb 19 6a 6d ff a2 1a 8d 99 12 ec 18 a2 ef
    62 83 02 4d ec e7 00 00 06 13 01 13 03 13 02 01 00 00 91 00 00 00 0b 00 09 00 00 06 73 65 72 76
    65 72 ff 01 00 01 00 00 0a 00 14 00 12 00 1d 00 17 00 18 00 19 01 00 01 01 01 02 01 03 01 04 00
    23 00 00 00 33 00 26 00 24 00 1d 00 20 99 38 1d e5 60 e4 bd 43 d2 3d 8e 43 5a 7d ba fe b3 c0 6e
    51 c1 3c ae 4d 54 13 69 1e 52 9a af 2c 00 2b 00 03 02 03 04 00 0d 00 20 00 1e 04 03 05 03 06 03
    02 03 08 04 08 05 08 06 04 01 05 01 06 01 02 01 04 02 05 02 06 02 02 02 00 2d 00 02 01 01 00 1c
    00 02 40 01";

fn name_of(hello: &Hello) -> Option<Vec<u8>> {
    let body = hello.body();
    ClientHello::parse(&body, body.len()).unwrap().server_name().map(<[u8]>::to_vec)
}

#[test]
fn the_hello_of_rfc_8448() {
    let message = unhex(RFC_8448);
    let body = &message[4..];
    let hello = ClientHello::parse(body, body.len()).unwrap();
    assert!(hello.is_complete() && !hello.is_malformed() && hello.server_name_is_certain());
    assert_eq!(hello.server_name(), Some(&b"server"[..]));
    assert_eq!((hello.legacy_version(), hello.highest_version()), (0x0303, 0x0304));
    assert_eq!(hello.cipher_suites(), [0x13, 1, 0x13, 3, 0x13, 2]);
    assert_eq!((hello.session_id(), hello.compression()), (&[][..], &[0][..]));
    let kinds: Vec<u16> = hello.extensions().map(|extension| extension.kind).collect();
    assert_eq!(kinds, [0, 0xff01, 10, 35, 51, 43, 13, 45, 28]);
    assert_eq!(hello.key_share_groups().collect::<Vec<_>>(), [0x1d]);
    assert_eq!(hello.signature_algorithms().next(), Some(0x0403));
    assert_eq!(hello.signature_algorithms().count(), 15);
    assert!(!hello.is_post_quantum() && !hello.offers_resumption() && hello.ech().is_none());
    assert_eq!(hello.alpn().count(), 0);
}

#[test]
fn all_that_a_browser_says() {
    let body = Hello::post_quantum("www.example.org").body();
    assert!(body.len() > 1700);
    let hello = ClientHello::parse(&body, body.len()).unwrap();
    assert_eq!(hello.server_name(), Some(&b"www.example.org"[..]));
    assert_eq!(hello.alpn().collect::<Vec<_>>(), [&b"h2"[..], b"http/1.1"]);
    assert_eq!(hello.highest_version(), 0x0304);
    assert!(hello.is_post_quantum());
    assert_eq!(hello.key_share_groups().collect::<Vec<_>>(), [0x0a0a, 0x11ec, 0x001d]);
    assert_eq!(hello.ech().map(|ech| ech.judge()), Some(Ech::Ambiguous));
}

#[test]
fn which_name_counts() {
    let of = |data| name_of(&Hello::default().with(0, data));
    assert_eq!(of(server_names(&[(0, b"first"), (0, b"second")])), Some(b"first".to_vec()));
    assert_eq!(of(server_names(&[(7, b"other"), (0, b"host")])), Some(b"host".to_vec()));
    assert_eq!(of(server_names(&[(7, b"other")])), None);
    assert_eq!(of(server_names(&[(0, b""), (0, b"behind an empty one")])), None);
    assert_eq!(of(vec![]), None);
    assert_eq!(of(server_name(&[b'a'; 255])), Some(vec![b'a'; 255]));
    assert_eq!(of(server_name(b"\xff\x00 bytes")), Some(b"\xff\x00 bytes".to_vec()));
    // A list longer than its extension, a name longer than its list, a list with a tail.
    assert_eq!(of([&[0, 9][..], &server_name(b"name")[2..]].concat()), None);
    assert_eq!(of([&[0, 6][..], &server_name(b"name")[2..]].concat()), None);
    assert_eq!(of([&server_name(b"name")[..], &[9]].concat()), Some(b"name".to_vec()));
    let many: Vec<(u8, &[u8])> = vec![(1, b"x"); SERVER_NAME_ENTRIES_MAX];
    assert_eq!(of(server_names(&[&many[1..], &[(0, b"last")]].concat())), Some(b"last".to_vec()));
    assert_eq!(of(server_names(&[&many[..], &[(0, b"too late")]].concat())), None);
    let twice = Hello::to("first").with(0, server_name(b"second"));
    assert_eq!(name_of(&twice), Some(b"first".to_vec()));
}

#[test]
fn a_malformed_extension_loses_nothing_before_it() {
    let hello = Hello::to("kept.example").with(16, alpn(&[b"h2"])).with(43, vec![2, 3, 4]);
    let mut body = hello.body();
    let length_of_last = body.len() - 4;
    body[length_of_last] = 0x7f;
    let hello = ClientHello::parse(&body, body.len()).unwrap();
    assert!(hello.is_malformed() && hello.is_complete() && hello.server_name_is_certain());
    assert_eq!(hello.server_name(), Some(&b"kept.example"[..]));
    assert_eq!(hello.alpn().next(), Some(&b"h2"[..]));
    assert_eq!(hello.highest_version(), 0x0303);
    // Without a name before it, nothing is certain.
    let mut body = Hello::default().with(43, vec![2, 3, 4]).with(0, server_name(b"lost")).body();
    let at = body.len() - 4 - server_name(b"lost").len() - 4;
    body[at] = 0x7f;
    let hello = ClientHello::parse(&body, body.len()).unwrap();
    assert!(hello.server_name().is_none() && !hello.server_name_is_certain());
}

#[test]
fn bytes_behind_the_list_and_a_list_beyond_the_message() {
    let body = Hello::to("name.example").body();
    let longer = [&body[..], &[1, 2, 3]].concat();
    let hello = ClientHello::parse(&longer, longer.len()).unwrap();
    assert!(hello.is_malformed() && hello.is_complete() && hello.server_name().is_some());
    // What lies behind the announced end is another message's.
    let hello = ClientHello::parse(&longer, body.len()).unwrap();
    assert!(!hello.is_malformed() && hello.is_complete());
    let hello = ClientHello::parse(&body, body.len() - 1).unwrap();
    assert!(hello.is_malformed() && hello.server_name().is_none());
}

#[test]
fn a_hello_without_extensions_is_whole() {
    let body = Hello::default().body();
    let bare = &body[..body.len() - 2];
    let hello = ClientHello::parse(bare, bare.len()).unwrap();
    assert!(hello.is_complete() && hello.server_name_is_certain() && !hello.is_malformed());
    let one_byte_more = &body[..body.len() - 1];
    assert!(ClientHello::parse(one_byte_more, one_byte_more.len()).unwrap().is_malformed());
}

#[test]
fn what_is_no_hello() {
    let error = |body: &[u8]| ClientHello::parse(body, body.len()).unwrap_err();
    assert!(matches!(error(&[3, 3]), HelloError::Overrun { field: "random", .. }));
    let mut body = Hello::to("x").body();
    body[34] = 33;
    assert_eq!(error(&body), HelloError::SessionId { had: 33 });
    let mut body = Hello::to("x").body();
    body[34 + 33 + 1] = 7;
    assert_eq!(error(&body), HelloError::CipherSuites { had: 7 });
    body[34 + 33] = 7;
    assert!(matches!(error(&body), HelloError::Overrun { field: "cipher suites", .. }));
}

#[test]
fn versions() {
    let of = |version: u16, list: &[u8]| {
        let hello = Hello { version, ..Hello::default() };
        let list = [&[list.len() as u8][..], list].concat();
        let body = hello.with(43, list).body();
        ClientHello::parse(&body, body.len()).unwrap().highest_version()
    };
    assert_eq!(of(0x0303, &[0xfa, 0xfa, 3, 3, 3, 4, 3, 2]), 0x0304);
    assert_eq!(of(0x0303, &[0x7f, 0x1c, 3, 3]), 0x7f1c);
    assert_eq!(of(0xfefd, &[0xfe, 0xfd, 0xfe, 0xfc]), 0xfefc);
    assert_eq!(of(0x0302, &[0xca, 0xca]), 0x0302);
}

#[test]
fn resumption_early_data_and_drafts_of_ech() {
    let has = |hello: Hello| {
        let body = hello.body();
        let hello = ClientHello::parse(&body, body.len()).unwrap();
        (hello.offers_resumption(), hello.offers_early_data(), hello.ech())
    };
    assert_eq!(has(Hello::default().with(35, vec![])), (false, false, None));
    assert_eq!(has(Hello::default().with(35, vec![1; 40])), (true, false, None));
    assert_eq!(has(Hello::default().with(42, vec![]).with(41, vec![0; 4])), (true, true, None));
    assert_eq!(has(Hello::default().with(0xffce, vec![1])).2, Some(EchExtension::Esni));
    let both = Hello::default().with(0xfe0a, vec![1]).with(0xfe0d, ech_outer(1, 1, 32, 239));
    assert_eq!(has(both).2.map(|ech| ech.judge()), Some(Ech::Grease));
}

/// The first host name by tls-parser, an empty one being none; `None` if it does not parse the hello.
fn second_opinion(body: &[u8]) -> Option<Option<Vec<u8>>> {
    let (rest, hello) = tls_parser::parse_tls_handshake_client_hello(body).ok()?;
    let extensions = hello.ext.unwrap_or_default();
    let (behind, extensions) = tls_parser::parse_tls_client_hello_extensions(extensions).ok()?;
    if !rest.is_empty() || !behind.is_empty() {
        return None;
    }
    let lists = extensions.iter().filter_map(|extension| match extension {
        tls_parser::TlsExtension::SNI(list) => Some(list),
        _ => None,
    });
    let mut names = lists.filter_map(|list| list.iter().find(|(kind, _)| kind.0 == 0).map(|(_, name)| name.to_vec()));
    Some(names.find(|name| !name.is_empty()))
}

fn any_hello() -> impl Strategy<Value = Hello> {
    let name = proptest::collection::vec(any::<u8>(), 0..40).prop_map(|name| (0, server_name(&name)));
    // Only what tls-parser does not look into: it gives up the list at content that it does not understand.
    let opaque = (
        prop_oneof![Just(35_u16), Just(0xfe0d), Just(0x0a0a), 0x4000_u16..0x7000],
        proptest::collection::vec(any::<u8>(), 0..60),
    );
    let protocols = Just((16_u16, alpn(&[b"h2", b"h3"])));
    let other = prop_oneof![opaque, protocols, Just((43, vec![2, 3, 4])), Just((13, vec![0, 2, 4, 3]))];
    (proptest::collection::vec(other, 0..6), name, any::<prop::sample::Index>(), any::<bool>()).prop_map(
        |(mut extensions, name, place, named)| {
            if named {
                extensions.insert(place.index(extensions.len() + 1), name);
            }
            Hello { extensions, ..Hello::default() }
        },
    )
}

proptest! {
    #[test]
    fn tls_parser_reads_the_same_name(hello in any_hello()) {
        let body = hello.body();
        let ours = ClientHello::parse(&body, body.len()).unwrap();
        prop_assert!(!ours.is_malformed());
        prop_assert_eq!(second_opinion(&body), Some(ours.server_name().map(<[u8]>::to_vec)));
    }

    #[test]
    fn tls_parser_reads_the_same_name_from_what_still_parses(
        hello in any_hello(), place in any::<prop::sample::Index>(), byte in any::<u8>(),
    ) {
        let mut body = hello.body();
        let at = place.index(body.len());
        body[at] = byte;
        let ours = ClientHello::parse(&body, body.len());
        if let (Some(name), Ok(ours)) = (second_opinion(&body), ours) {
            prop_assert_eq!(ours.server_name().map(<[u8]>::to_vec), name);
        }
    }

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400), announced in 0_usize..500) {
        if let Ok(hello) = ClientHello::parse(&bytes, announced) {
            let _ = (hello.alpn().count(), hello.is_post_quantum(), hello.ech(), hello.highest_version());
            prop_assert!(hello.extensions().count() <= bytes.len());
        }
        let _ = HelloScan::dtls().advance(&bytes, announced);
    }

    #[test]
    fn a_growing_body_tells_the_same_as_a_whole_one(
        hello in any_hello(), steps in proptest::collection::vec(1_usize..50, 1..30),
    ) {
        let body = hello.body();
        let mut scan = HelloScan::default();
        let mut there = 0;
        for step in steps.iter().cycle() {
            there = (there + step).min(body.len());
            let grown = scan.advance(&body[..there], body.len()).unwrap();
            let at_once = ClientHello::parse(&body[..there], body.len()).unwrap();
            prop_assert_eq!(grown.server_name(), at_once.server_name());
            prop_assert_eq!(grown.extensions().count(), at_once.extensions().count());
            prop_assert_eq!(grown.is_complete(), there == body.len());
            if there == body.len() {
                break;
            }
        }
    }
}

#[test]
fn the_name_is_told_if_and_only_if_its_bytes_are_there() {
    for hello in [Hello::to("iff.example"), Hello::post_quantum("iff.example")] {
        let body = hello.body();
        let end = body.windows(11).position(|window| window == b"iff.example").unwrap() + 11;
        let mut scan = HelloScan::default();
        for cut in 0..=body.len() {
            let hello = scan.advance(&body[..cut], body.len()).unwrap();
            assert_eq!(hello.server_name().is_some(), cut >= end, "cut at {cut}");
            assert_eq!(hello.server_name_is_certain(), cut >= end, "cut at {cut}");
            assert_eq!(hello.is_complete(), cut == body.len());
        }
    }
}

#[test]
fn a_recorded_hello_of_curl() {
    let record = unhex(include_str!("../testdata/curl_7_88.hex"));
    let body = &record[9..];
    let hello = ClientHello::parse(body, body.len()).unwrap();
    assert!(hello.is_complete() && !hello.is_malformed());
    assert_eq!(hello.server_name(), Some(&b"curl.example.org"[..]));
    assert_eq!(hello.alpn().collect::<Vec<_>>(), [&b"h2"[..], b"http/1.1"]);
    assert_eq!(hello.highest_version(), 0x0304);
    assert!(!hello.is_post_quantum());
}

#[test]
fn lists_of_odd_bytes_end_before_them() {
    let body = Hello::default().with(13, vector16(&[4, 3, 8])).body();
    let hello = ClientHello::parse(&body, body.len()).unwrap();
    assert_eq!(hello.signature_algorithms().collect::<Vec<_>>(), [0x0403]);
}
