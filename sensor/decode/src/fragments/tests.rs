//! Reassembly of fragments in any order, the readings of forged ones, and its limits.

use super::incomplete::PIECES_MAX;
use super::*;
use proptest::prelude::*;

fn fragment(identification: u32, offset: usize, more: bool, payload: &[u8]) -> Fragment<'_> {
    Fragment {
        source: Address::v4([10, 0, 0, 1]),
        destination: Address::v4([10, 0, 0, 2]),
        identification,
        carried: Carried::Ip { protocol: 17, is_v6: false },
        offset: offset as u32,
        more,
        truncated: false,
        payload,
        encapsulation: Encapsulation::default(),
        depth: 0,
        network: NetworkHeader::default(),
    }
}

fn bytes(length: usize) -> Vec<u8> {
    (0..length).map(|index| (index / 8) as u8 ^ index as u8).collect()
}

/// Adds a fragment; gives all readings of the datagram that it completes.
fn readings(fragments: &mut Reassembler, fragment: &Fragment<'_>, now_ns: u64) -> Vec<Datagram> {
    while let Some(expired) = fragments.next_expired(now_ns) {
        fragments.recycle(expired);
    }
    let mut readings = fragments.insert(fragment, &Origin { timestamp_ns: now_ns, ..Origin::default() });
    std::iter::from_fn(|| fragments.next_reading(&mut readings)).collect()
}

/// As [`readings`], of which there is one at most.
fn insert(fragments: &mut Reassembler, fragment: &Fragment<'_>, now_ns: u64) -> Option<Datagram> {
    let mut all = readings(fragments, fragment, now_ns);
    assert!(all.len() <= 1, "{all:?}");
    all.pop()
}

/// The payloads of datagrams, as text.
fn texts(datagrams: &[Datagram]) -> Vec<&str> {
    datagrams.iter().map(|datagram| std::str::from_utf8(&datagram.payload).unwrap()).collect()
}

/// All fragments of before have been given up.
const LATER_NS: u64 = 31_000_000_000;

#[test]
fn pieces_join_in_any_order() {
    let whole = bytes(100);
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        let mut fragments = Reassembler::new(FragmentLimits::default());
        let mut joined = None;
        for piece in order {
            assert!(joined.is_none());
            let end = (piece * 40 + 40).min(100);
            joined = insert(&mut fragments, &fragment(1, piece * 40, piece < 2, &whole[piece * 40..end]), 0);
        }
        let datagram = joined.unwrap();
        assert_eq!(
            (datagram.payload.as_slice(), datagram.carried),
            (whole.as_slice(), Carried::Ip { protocol: 17, is_v6: false })
        );
        assert_eq!((fragments.datagrams(), fragments.completed_datagrams()), (0, 1));
        fragments.recycle(datagram);
        assert_eq!(*fragments.counts(), FragmentCounts { fragments: 3, joined: 1, ..FragmentCounts::default() });
    }
}

#[test]
fn every_reading_of_overlapping_fragments_is_given_the_first_copies_first() {
    let mut fragments = Reassembler::new(FragmentLimits::default());
    assert!(insert(&mut fragments, &fragment(1, 8, true, b"BBBBBBBB"), 0).is_none());
    assert!(insert(&mut fragments, &fragment(1, 8, true, b"bbbbbbbb"), 0).is_none());
    assert!(insert(&mut fragments, &fragment(1, 0, true, b"AAAAAAAAxxxxxxxxCCCCCCCC"), 0).is_none());
    let all = readings(&mut fragments, &fragment(1, 16, false, b"ccccccccD"), 0);
    assert_eq!(
        texts(&all),
        [
            "AAAAAAAABBBBBBBBCCCCCCCCD",
            "AAAAAAAAbbbbbbbbCCCCCCCCD",
            "AAAAAAAAxxxxxxxxCCCCCCCCD",
            "AAAAAAAABBBBBBBBccccccccD",
            "AAAAAAAAbbbbbbbbccccccccD",
            "AAAAAAAAxxxxxxxxccccccccD",
        ]
    );
    assert!(all.iter().all(|datagram| datagram.is_disputed));
    let counts = fragments.counts();
    assert_eq!((counts.overlapping, counts.differing, counts.joined, counts.other_readings), (3, 3, 1, 5));
}

#[test]
fn a_copy_that_comes_after_completion_is_read_too() {
    // A forged fragment, then the true ones.
    let mut fragments = Reassembler::new(FragmentLimits::default());
    assert!(insert(&mut fragments, &fragment(1, 8, false, b"forged"), 0).is_none());
    let first = readings(&mut fragments, &fragment(1, 0, true, b"AAAAAAAA"), 1);
    assert_eq!((texts(&first), first[0].is_disputed), (vec!["AAAAAAAAforged"], false));
    let second = readings(&mut fragments, &fragment(1, 8, false, b"B true"), 2);
    assert_eq!((texts(&second), second[0].is_disputed), (vec!["AAAAAAAAB true"], true));
    // The same fragments again are nothing new.
    assert!(readings(&mut fragments, &fragment(1, 8, false, b"B true"), 3).is_empty());
    assert!(readings(&mut fragments, &fragment(1, 8, false, b"forged"), 3).is_empty());
    // When all are forgotten, it is another datagram.
    assert!(insert(&mut fragments, &fragment(1, 8, false, b"again"), LATER_NS).is_none());
    assert_eq!(texts(&readings(&mut fragments, &fragment(1, 0, true, b"BBBBBBBB"), LATER_NS)), ["BBBBBBBBagain"]);
    assert_eq!((fragments.counts().joined, fragments.counts().other_readings), (2, 1));
}

#[test]
fn a_datagram_may_have_several_ends() {
    let mut fragments = Reassembler::new(FragmentLimits::default());
    insert(&mut fragments, &fragment(1, 16, true, b"CCCCCCCC"), 0);
    assert!(insert(&mut fragments, &fragment(1, 8, false, b"early"), 0).is_none());
    insert(&mut fragments, &fragment(1, 24, false, b"DDD"), 0);
    insert(&mut fragments, &fragment(1, 24, false, b"DD"), 0);
    insert(&mut fragments, &fragment(1, 32, true, b"EEEEEEEE"), 0);
    assert_eq!(fragments.counts().conflicting, 4);
    let all = readings(&mut fragments, &fragment(1, 0, true, b"AAAAAAAAAAAAAAAA"), 0);
    assert!(texts(&all).contains(&"AAAAAAAAearlyAAACCCCCCCCDDD"), "{:?}", texts(&all));
    assert!(texts(&all).contains(&"AAAAAAAAAAAAAAAACCCCCCCCDDD"), "{:?}", texts(&all));
    assert!(texts(&all).contains(&"AAAAAAAAearly") && texts(&all).contains(&"AAAAAAAAearlyAAACCCCCCCCDD"));
}

#[test]
fn readings_are_bounded_and_their_limit_is_counted() {
    let limits = FragmentLimits { fragment_versions_max: 2, ..FragmentLimits::default() };
    let mut fragments = Reassembler::new(limits);
    for copy in [b"AAAAAAAA", b"BBBBBBBB", b"CCCCCCCC", b"DDDDDDDD"] {
        insert(&mut fragments, &fragment(1, 0, true, copy), 0);
    }
    assert_eq!(fragments.counts().too_many_versions, 0);
    insert(&mut fragments, &fragment(1, 0, true, b"EEEEEEEE"), 0);
    assert_eq!(fragments.counts().too_many_versions, 1);
    assert_eq!(texts(&readings(&mut fragments, &fragment(1, 8, false, b"x"), 0)), ["AAAAAAAAx", "BBBBBBBBx"]);
    assert_eq!(fragments.counts().too_many_versions, 2);
}

#[test]
fn an_identification_in_use_again_is_another_datagram() {
    let mut fragments = Reassembler::new(FragmentLimits::default());
    let mut send = |letter: u8| {
        let whole = [letter; 8 * 8];
        let pieces = (0..8).map(|piece| fragment(1, piece * 8, piece < 7, &whole[piece * 8..piece * 8 + 8]));
        pieces.flat_map(|piece| readings(&mut fragments, &piece, 0)).any(|datagram| datagram.payload == whole)
    };
    assert!(send(b'a') && send(b'b') && send(b'c'));
    assert_eq!((fragments.datagrams(), fragments.completed_datagrams(), fragments.counts().joined), (0, 1, 3));
}

#[test]
fn a_reading_with_a_wrong_checksum_is_void_beside_one_with_a_right_one() {
    // UDP from port 40000 to port 53, and the checksum of the first copies.
    let ip = *b"\x45\x00\x00\x73\x00\x00\x40\x00\x40\x11\xb8\x61\xc0\xa8\x00\x01\xc0\xa8\x00\xc7";
    let header = |checksum: u16| {
        let [high, low] = checksum.to_be_bytes();
        [0x9c, 0x40, 0, 53, 0, 12, high, low]
    };
    let sum: u32 = 0xc0a8 + 0x0001 + 0xc0a8 + 0x00c7 + 17 + 12 + 0x9c40 + 53 + 12 + 0x7472 + 0x7565;
    let right = !((sum & 0xffff) as u16 + (sum >> 16) as u16);
    for (checksum, given) in [(right, vec!["true"]), (right ^ 1, vec!["true", "fake"])] {
        let header = header(checksum);
        let with = |fragment| Fragment { network: NetworkHeader::new(&ip), ..fragment };
        let mut fragments = Reassembler::new(FragmentLimits::default());
        insert(&mut fragments, &with(fragment(1, 8, false, b"true")), 0);
        insert(&mut fragments, &with(fragment(1, 8, false, b"fake")), 0);
        let all = readings(&mut fragments, &with(fragment(1, 0, true, &header)), 0);
        assert_eq!(
            all.iter().map(|datagram| &datagram.payload[8..]).collect::<Vec<_>>(),
            given.iter().map(|text| text.as_bytes()).collect::<Vec<_>>()
        );
        assert_eq!(fragments.counts().void_readings, u64::from(given.len() == 1));
    }
}

#[test]
fn fragments_with_a_wrong_header_checksum_complete_no_datagram_of_others() {
    let right = *b"\x45\x00\x00\x73\x00\x00\x40\x00\x40\x11\xb8\x61\xc0\xa8\x00\x01\xc0\xa8\x00\xc7";
    let mut wrong = right;
    wrong[11] ^= 1;
    let (right, wrong) = (NetworkHeader::new(&right), NetworkHeader::new(&wrong));
    let with = |network, fragment| Fragment { network, ..fragment };
    let mut fragments = Reassembler::new(FragmentLimits::default());
    // First of all, before anything is known of the capture.
    assert!(insert(&mut fragments, &with(wrong, fragment(1, 8, false, b"forged")), 0).is_none());
    assert!(insert(&mut fragments, &with(right, fragment(1, 0, true, b"AAAAAAAA")), 0).is_none());
    assert_eq!(texts(&readings(&mut fragments, &with(right, fragment(1, 8, false, b"B true")), 0)), ["AAAAAAAAB true"]);
    // After a right one, they are not even stored.
    assert!(insert(&mut fragments, &with(wrong, fragment(1, 0, true, b"AAAAAAAA")), 0).is_none());
    assert_eq!(fragments.counts().bad_checksum, 1);
    // In a capture without any right ones, they mean nothing.
    let mut fragments = Reassembler::new(FragmentLimits::default());
    insert(&mut fragments, &with(wrong, fragment(1, 8, false, b"B")), 0);
    assert_eq!(texts(&readings(&mut fragments, &with(wrong, fragment(1, 0, true, b"AAAAAAAA")), 0)), ["AAAAAAAAB"]);
}

#[test]
fn the_first_part_is_read_when_the_rest_never_comes() {
    let mut fragments = Reassembler::new(FragmentLimits::default());
    insert(&mut fragments, &fragment(1, 0, true, b"AAAAAAAABBBBBBBB"), 0);
    insert(&mut fragments, &fragment(1, 24, true, b"DDDDDDDD"), 0);
    insert(&mut fragments, &fragment(2, 8, true, b"without a start."), 0);
    assert!(fragments.next_expired(1_000_000_000).is_none());
    let part = fragments.next_expired(31_000_000_000).unwrap();
    assert_eq!((texts(std::slice::from_ref(&part)), part.is_truncated()), (vec!["AAAAAAAABBBBBBBB"], true));
    assert!(fragments.next_expired(31_000_000_000).is_none());
    assert_eq!((fragments.counts().partial, fragments.counts().timed_out, fragments.datagrams()), (1, 2, 0));
    insert(&mut fragments, &fragment(3, 0, true, b"AAAAAAAA"), 0);
    assert_eq!(texts(&[fragments.next_remaining().unwrap()]), ["AAAAAAAA"]);
    assert!(fragments.next_remaining().is_none());
}

#[test]
fn the_first_part_is_read_at_once_when_the_capture_is_truncated() {
    let truncated = |fragment| Fragment { truncated: true, ..fragment };
    let mut fragments = Reassembler::new(FragmentLimits::default());
    let part = insert(&mut fragments, &truncated(fragment(1, 0, true, b"AAAAAAAAB")), 0).unwrap();
    assert_eq!((texts(std::slice::from_ref(&part)), part.is_truncated()), (vec!["AAAAAAAAB"], true));
    assert!(insert(&mut fragments, &truncated(fragment(1, 800, false, b"E")), 0).is_none());
    assert!(fragments.next_remaining().is_none());
    // The first one may be whole.
    assert!(insert(&mut fragments, &fragment(2, 0, true, b"AAAAAAAA"), 0).is_none());
    let part = insert(&mut fragments, &truncated(fragment(2, 8, false, b"BBB")), 0).unwrap();
    assert_eq!(texts(&[part]), ["AAAAAAAABBB"]);
    assert_eq!((fragments.counts().truncated, fragments.counts().partial), (3, 2));
}

#[test]
fn fragments_with_different_keys_are_different_datagrams() {
    let mut fragments = Reassembler::new(FragmentLimits::default());
    let first = fragment(1, 0, true, b"AAAAAAAA");
    let last = fragment(1, 8, false, b"B");
    insert(&mut fragments, &first, 0);
    let (mut vlan, mut network) = (Encapsulation::default(), Encapsulation::default());
    (vlan.vlans[0], vlan.vlan_count, network.network) = (7, 1, 7);
    for other in [
        Fragment { source: Address::v4([10, 0, 0, 3]), ..last },
        Fragment { destination: Address::v4([10, 0, 0, 3]), ..last },
        Fragment { identification: 2, ..last },
        Fragment { carried: Carried::Ip { protocol: 6, is_v6: false }, ..last },
        Fragment { encapsulation: vlan, ..last },
        Fragment { encapsulation: network, ..last },
    ] {
        assert!(insert(&mut fragments, &other, 0).is_none());
    }
    assert!(insert(&mut fragments, &last, 0).is_some());
    assert_eq!(fragments.datagrams(), 6);
}

#[test]
fn in_ipv6_the_first_fragment_names_the_protocol() {
    for order in [[0, 1], [1, 0]] {
        let mut fragments = Reassembler::new(FragmentLimits::default());
        let pieces = [
            Fragment { carried: Carried::Ip { protocol: 6, is_v6: true }, ..fragment(1, 0, true, b"AAAAAAAA") },
            Fragment { carried: Carried::Ip { protocol: 60, is_v6: true }, ..fragment(1, 8, false, b"B") },
        ];
        assert!(insert(&mut fragments, &pieces[order[0]], 0).is_none());
        assert_eq!(
            insert(&mut fragments, &pieces[order[1]], 0).unwrap().carried,
            Carried::Ip { protocol: 6, is_v6: true }
        );
    }
}

#[test]
fn unusable_fragments_take_no_slot_and_are_counted() {
    let mut fragments = Reassembler::new(FragmentLimits::default());
    insert(&mut fragments, &Fragment { truncated: true, ..fragment(1, 0, true, b"") }, 0);
    insert(&mut fragments, &fragment(1, 65_528, true, b"AAAAAAAA"), 0);
    insert(&mut fragments, &fragment(1, 8, true, b"AAAA"), 0);
    insert(&mut fragments, &fragment(1, 8, false, b""), 0);
    let expected = FragmentCounts { fragments: 4, truncated: 1, too_large: 1, empty: 3, ..FragmentCounts::default() };
    assert_eq!((fragments.datagrams(), *fragments.counts()), (0, expected));
}

#[test]
fn a_fragment_of_odd_length_joins_with_the_one_that_repeats_its_end() {
    let mut fragments = Reassembler::new(FragmentLimits::default());
    insert(&mut fragments, &fragment(1, 0, true, b"AAAAAAAAAAA"), 0);
    assert_eq!(insert(&mut fragments, &fragment(1, 8, false, b"BBBB"), 0).unwrap().payload, b"AAAAAAAABBBB");
}

#[test]
fn the_oldest_is_evicted_first() {
    let limits = FragmentLimits { fragment_datagrams_max: 3, ..FragmentLimits::default() };
    let mut fragments = Reassembler::new(limits);
    for identification in 1..=3 {
        insert(&mut fragments, &fragment(identification, 0, true, b"AAAAAAAA"), u64::from(identification));
    }
    assert!(insert(&mut fragments, &fragment(2, 8, false, b"B"), 4).is_some());
    insert(&mut fragments, &fragment(4, 0, true, b"AAAAAAAA"), 5);
    insert(&mut fragments, &fragment(5, 0, true, b"AAAAAAAA"), 6);
    assert_eq!((fragments.counts().evicted, fragments.datagrams()), (1, 3));
    for (identification, known) in [(3, true), (4, true), (5, true)] {
        let joined = insert(&mut fragments, &fragment(identification, 8, false, b"B"), 7);
        assert_eq!(joined.is_some(), known, "{identification}");
    }
    assert!(insert(&mut fragments, &fragment(1, 8, false, b"B"), 7).is_none());
}

#[test]
fn datagrams_wait_as_long_as_the_limit_says() {
    let limits = FragmentLimits { fragment_timeout_ms: 10, ..FragmentLimits::default() };
    let mut fragments = Reassembler::new(limits);
    insert(&mut fragments, &fragment(1, 0, true, b"AAAAAAAA"), 0);
    insert(&mut fragments, &fragment(2, 0, true, b"AAAAAAAA"), 5_000_000);
    assert!(insert(&mut fragments, &fragment(1, 8, false, b"B"), 10_000_001).is_none());
    assert!(insert(&mut fragments, &fragment(2, 8, false, b"B"), 15_000_000).is_some());
    while fragments.next_expired(30_000_000).is_some() {}
    let counts = (fragments.counts().timed_out, fragments.datagrams(), fragments.completed_datagrams());
    assert_eq!(counts, (2, 0, 0));
}

#[test]
fn a_flood_holds_no_more_than_the_limits() {
    let limits =
        FragmentLimits { fragment_datagrams_max: 100, fragment_bytes_max: 200_000, ..FragmentLimits::default() };
    let mut fragments = Reassembler::new(limits);
    let payload = bytes(1480);
    for identification in 0..1000 {
        insert(&mut fragments, &fragment(identification, 60_000, true, &payload[..8]), 0);
        assert!(fragments.bytes_held() <= 200_000);
    }
    assert_eq!((fragments.datagrams(), fragments.counts().evicted), (100, 900));
    for identification in 0..3000 {
        for piece in 0..10 {
            insert(&mut fragments, &fragment(identification, piece * 2000, true, &payload), 0);
            assert!(fragments.bytes_held() <= 200_000);
        }
    }
    assert!(fragments.counts().evicted_for_bytes > 2900, "{:?}", fragments.counts());
    // Complete datagrams, those with many pieces, and those with contradictions count too.
    for identification in 0..500 {
        for piece in (0..300).rev() {
            readings(&mut fragments, &fragment(identification, piece * 8, piece < 299, &payload[..8]), 0);
            readings(&mut fragments, &fragment(identification, piece * 8, true, &payload[8..16]), 0);
            assert!(fragments.bytes_held() <= 200_000);
        }
    }
    assert!(fragments.counts().joined > 0);
}

#[test]
fn a_flood_without_end_evicts_no_more_than_it_must() {
    let mut fragments = Reassembler::new(FragmentLimits { fragment_bytes_max: 1 << 20, ..FragmentLimits::default() });
    for identification in 0..4000 {
        insert(&mut fragments, &fragment(identification, 0, true, b"AAAAAAAA"), 0);
    }
    let bytes_each = fragments.bytes_held() / fragments.datagrams();
    assert!(bytes_each < 700, "{bytes_each}");
    assert!(fragments.bytes_held() > 700_000, "{}", fragments.bytes_held());
}

#[test]
fn a_datagram_bigger_than_all_memory_is_given_up() {
    let limits = FragmentLimits { fragment_bytes_max: 4000, ..FragmentLimits::default() };
    let mut fragments = Reassembler::new(limits);
    let payload = bytes(1480);
    for piece in 0..9 {
        assert!(insert(&mut fragments, &fragment(1, piece * 1480, piece < 8, &payload), 0).is_none());
    }
    assert!(fragments.counts().evicted_for_bytes > 0);
}

#[test]
fn a_datagram_of_too_many_pieces_is_refused_piece_by_piece() {
    let mut fragments = Reassembler::new(FragmentLimits::default());
    for piece in 0..=PIECES_MAX {
        insert(&mut fragments, &fragment(1, 16 + piece * 16, true, b"AAAAAAAA"), 0);
    }
    assert_eq!((fragments.counts().too_many_pieces, fragments.datagrams()), (1, 1));
    let mut in_order = Reassembler::new(FragmentLimits::default());
    for piece in 0..8000 {
        insert(&mut in_order, &fragment(1, piece * 8, true, b"AAAAAAAA"), 0);
    }
    assert_eq!(insert(&mut in_order, &fragment(1, 64_000, false, b"B"), 0).unwrap().payload.len(), 64_001);
}

proptest! {
    #[test]
    fn any_cut_any_order_any_overlap_gives_the_datagram(
        length in 1_usize..4000,
        cuts in proptest::collection::vec((0_usize..500, 1_usize..80), 0..60),
        rotation in any::<prop::sample::Index>(),
    ) {
        let whole = bytes(length);
        let mut pieces: Vec<(usize, usize)> = cuts
            .into_iter()
            .map(|(start, eighths)| (start * 8, start * 8 + eighths * 8))
            .filter(|&(_, end)| end < length)
            .collect();
        // What makes it whole for certain: every eighth from the front on, and the end.
        let last = (length - 1) / 8 * 8;
        pieces.extend((0..last).step_by(240).map(|start| (start, (start + 240).min(last))));
        pieces.push((last, length));
        let count = pieces.len();
        pieces.rotate_left(rotation.index(count));
        let mut fragments = Reassembler::new(FragmentLimits::default());
        let mut joined = None;
        for (start, end) in pieces {
            if let Some(datagram) = insert(&mut fragments, &fragment(1, start, end < length, &whole[start..end]), 0) {
                joined = Some(datagram);
                break;
            }
        }
        prop_assert_eq!(joined.map(|datagram| datagram.payload), Some(whole));
        prop_assert_eq!(fragments.datagrams(), 0);
    }
}
