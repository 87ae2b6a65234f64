//! Reassembly of fragments in any order, and its limits.

use super::partial::{PIECES_MAX, Piece};
use super::*;
use proptest::prelude::*;

fn fragment(identification: u32, offset: usize, more: bool, payload: &[u8]) -> Fragment<'_> {
    Fragment {
        source: Address::v4([10, 0, 0, 1]),
        destination: Address::v4([10, 0, 0, 2]),
        identification,
        protocol: 17,
        is_v6: false,
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

#[test]
fn pieces_join_in_any_order() {
    let whole = bytes(100);
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        let mut fragments = Reassembler::new(FragmentLimits::default());
        let mut joined = None;
        for piece in order {
            assert!(joined.is_none());
            let end = (piece * 40 + 40).min(100);
            joined = fragments.insert(&fragment(1, piece * 40, piece < 2, &whole[piece * 40..end]), 0);
        }
        let datagram = joined.unwrap();
        assert_eq!((datagram.payload.as_slice(), datagram.protocol), (whole.as_slice(), 17));
        assert_eq!((fragments.datagrams(), fragments.bytes_held()), (0, 0));
        fragments.recycle(datagram);
        assert_eq!(*fragments.counts(), FragmentCounts { fragments: 3, joined: 1, ..FragmentCounts::default() });
    }
}

#[test]
fn the_first_copy_of_a_byte_stays() {
    let mut fragments = Reassembler::new(FragmentLimits::default());
    assert!(fragments.insert(&fragment(1, 8, true, b"BBBBBBBB"), 0).is_none());
    assert!(fragments.insert(&fragment(1, 8, true, b"bbbbbbbb"), 0).is_none());
    assert!(fragments.insert(&fragment(1, 0, true, b"AAAAAAAAxxxxxxxxCCCCCCCC"), 0).is_none());
    let datagram = fragments.insert(&fragment(1, 16, false, b"ccccccccD"), 0).unwrap();
    assert_eq!(datagram.payload, b"AAAAAAAABBBBBBBBCCCCCCCCD");
    assert_eq!(fragments.counts().overlapping, 3);
}

#[test]
fn a_datagram_has_one_end() {
    let mut fragments = Reassembler::new(FragmentLimits::default());
    fragments.insert(&fragment(1, 16, true, b"CCCCCCCC"), 0);
    assert!(fragments.insert(&fragment(1, 8, false, b"early"), 0).is_none());
    fragments.insert(&fragment(1, 24, false, b"DDD"), 0);
    fragments.insert(&fragment(1, 24, false, b"DD"), 0);
    fragments.insert(&fragment(1, 32, true, b"EEEEEEEE"), 0);
    assert_eq!(fragments.counts().conflicting, 3);
    assert_eq!(fragments.insert(&fragment(1, 0, true, &[b'A'; 16]), 0).unwrap().payload.len(), 27);
}

#[test]
fn fragments_with_different_keys_are_different_datagrams() {
    let mut fragments = Reassembler::new(FragmentLimits::default());
    let first = fragment(1, 0, true, b"AAAAAAAA");
    let last = fragment(1, 8, false, b"B");
    fragments.insert(&first, 0);
    let (mut vlan, mut network) = (Encapsulation::default(), Encapsulation::default());
    (vlan.vlans[0], vlan.vlan_count, network.network) = (7, 1, 7);
    for other in [
        Fragment { source: Address::v4([10, 0, 0, 3]), ..last },
        Fragment { destination: Address::v4([10, 0, 0, 3]), ..last },
        Fragment { identification: 2, ..last },
        Fragment { protocol: 6, ..last },
        Fragment { encapsulation: vlan, ..last },
        Fragment { encapsulation: network, ..last },
    ] {
        assert!(fragments.insert(&other, 0).is_none());
    }
    assert!(fragments.insert(&last, 0).is_some());
    assert_eq!(fragments.datagrams(), 6);
}

#[test]
fn in_ipv6_the_first_fragment_names_the_protocol() {
    for order in [[0, 1], [1, 0]] {
        let mut fragments = Reassembler::new(FragmentLimits::default());
        let pieces = [
            Fragment { is_v6: true, protocol: 6, ..fragment(1, 0, true, b"AAAAAAAA") },
            Fragment { is_v6: true, protocol: 60, ..fragment(1, 8, false, b"B") },
        ];
        assert!(fragments.insert(&pieces[order[0]], 0).is_none());
        assert_eq!(fragments.insert(&pieces[order[1]], 0).unwrap().protocol, 6);
    }
}

#[test]
fn unusable_fragments_take_no_slot_and_are_counted() {
    let mut fragments = Reassembler::new(FragmentLimits::default());
    fragments.insert(&Fragment { truncated: true, ..fragment(1, 0, true, b"AAAAAAAA") }, 0);
    fragments.insert(&fragment(1, 65_528, true, b"AAAAAAAA"), 0);
    fragments.insert(&fragment(1, 8, true, b"AAAA"), 0);
    fragments.insert(&fragment(1, 8, false, b""), 0);
    let expected = FragmentCounts { fragments: 4, truncated: 1, too_large: 1, empty: 2, ..FragmentCounts::default() };
    assert_eq!((fragments.datagrams(), *fragments.counts()), (0, expected));
}

#[test]
fn a_fragment_of_odd_length_joins_with_the_one_that_repeats_its_end() {
    let mut fragments = Reassembler::new(FragmentLimits::default());
    fragments.insert(&fragment(1, 0, true, b"AAAAAAAAAAA"), 0);
    assert_eq!(fragments.insert(&fragment(1, 8, false, b"BBBB"), 0).unwrap().payload, b"AAAAAAAABBBB");
}

#[test]
fn the_oldest_is_evicted_first() {
    let limits = FragmentLimits { fragment_datagrams_max: 3, ..FragmentLimits::default() };
    let mut fragments = Reassembler::new(limits);
    for identification in 1..=3 {
        fragments.insert(&fragment(identification, 0, true, b"AAAAAAAA"), u64::from(identification));
    }
    assert!(fragments.insert(&fragment(2, 8, false, b"B"), 4).is_some());
    fragments.insert(&fragment(4, 0, true, b"AAAAAAAA"), 5);
    fragments.insert(&fragment(5, 0, true, b"AAAAAAAA"), 6);
    assert_eq!((fragments.counts().evicted, fragments.datagrams()), (1, 3));
    for (identification, known) in [(3, true), (4, true), (5, true)] {
        let joined = fragments.insert(&fragment(identification, 8, false, b"B"), 7);
        assert_eq!(joined.is_some(), known, "{identification}");
    }
    assert!(fragments.insert(&fragment(1, 8, false, b"B"), 7).is_none());
}

#[test]
fn datagrams_wait_as_long_as_the_limit_says() {
    let limits = FragmentLimits { fragment_timeout_ms: 10, ..FragmentLimits::default() };
    let mut fragments = Reassembler::new(limits);
    fragments.insert(&fragment(1, 0, true, b"AAAAAAAA"), 0);
    fragments.insert(&fragment(2, 0, true, b"AAAAAAAA"), 5_000_000);
    assert!(fragments.insert(&fragment(1, 8, false, b"B"), 10_000_001).is_none());
    assert!(fragments.insert(&fragment(2, 8, false, b"B"), 15_000_000).is_some());
    fragments.expire(30_000_000);
    assert_eq!((fragments.counts().timed_out, fragments.datagrams(), fragments.bytes_held()), (2, 0, 0));
}

#[test]
fn a_flood_holds_no_more_than_the_limits() {
    let limits =
        FragmentLimits { fragment_datagrams_max: 100, fragment_bytes_max: 200_000, ..FragmentLimits::default() };
    let mut fragments = Reassembler::new(limits);
    let payload = bytes(1480);
    for identification in 0..1000 {
        fragments.insert(&fragment(identification, 60_000, true, &payload[..8]), 0);
        assert!(fragments.bytes_held() <= 100 * (POOLED_BYTES_MAX + 192));
    }
    assert_eq!((fragments.datagrams(), fragments.counts().evicted), (100, 900));
    for identification in 0..3000 {
        for piece in 0..10 {
            fragments.insert(&fragment(identification, piece * 2000, true, &payload), 0);
            assert!(fragments.bytes_held() <= 200_000 + PIECES_MAX * size_of::<Piece>());
        }
    }
    assert!(fragments.counts().evicted_for_bytes > 2900, "{:?}", fragments.counts());
    assert!(fragments.slots.len() <= 100);
}

#[test]
fn a_datagram_bigger_than_all_memory_is_given_up() {
    let limits = FragmentLimits { fragment_bytes_max: 4000, ..FragmentLimits::default() };
    let mut fragments = Reassembler::new(limits);
    let payload = bytes(1480);
    for piece in 0..9 {
        assert!(fragments.insert(&fragment(1, piece * 1480, piece < 8, &payload), 0).is_none());
    }
    assert!(fragments.counts().evicted_for_bytes > 0);
}

#[test]
fn a_datagram_of_too_many_pieces_is_refused_piece_by_piece() {
    let mut fragments = Reassembler::new(FragmentLimits::default());
    for piece in 0..=PIECES_MAX {
        fragments.insert(&fragment(1, 16 + piece * 16, true, b"AAAAAAAA"), 0);
    }
    assert_eq!((fragments.counts().too_many_pieces, fragments.datagrams()), (1, 1));
    let mut in_order = Reassembler::new(FragmentLimits::default());
    for piece in 0..8000 {
        in_order.insert(&fragment(1, piece * 8, true, b"AAAAAAAA"), 0);
    }
    assert_eq!(in_order.insert(&fragment(1, 64_000, false, b"B"), 0).unwrap().payload.len(), 64_001);
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
            if let Some(datagram) = fragments.insert(&fragment(1, start, end < length, &whole[start..end]), 0) {
                joined = Some(datagram);
                break;
            }
        }
        prop_assert_eq!(joined.map(|datagram| datagram.payload), Some(whole));
        prop_assert_eq!(fragments.bytes_held(), 0);
    }
}
