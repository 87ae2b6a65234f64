//! The flow table under insertion, eviction, removal and sweeps.

use super::*;
use proptest::prelude::*;
use vigie_decode::Address;

fn key(number: u32) -> FlowKey {
    let client = Address::v4(number.to_be_bytes());
    FlowKey::between((client, 40_000, Address::v4([198, 51, 100, 1]), 443), 0, 6).0
}

/// Removes the flows without a packet for more than ten epochs; gives how many they were.
fn sweep_idle(table: &mut FlowTable, epoch: u8) -> usize {
    let mut gone = 0;
    table.sweep_ranges().for_each(|buckets| table.sweep(buckets, epoch, 10, false, |_, _| gone += 1));
    gone
}

#[test]
fn finds_what_was_inserted_and_nothing_else() {
    // Below its limit, where it would evict now and then.
    let mut table = FlowTable::new(1500, HashKey::REPLAY);
    for number in 0..1000 {
        let key = key(number);
        let hash = table.hash(&key);
        assert!(table.find(&key, hash).is_none());
        assert!(matches!(table.find_or_insert(&key, hash, 1), Lookup::New(_)));
    }
    assert_eq!(table.len(), 1000);
    for number in 0..1000 {
        let key = key(number);
        let slot = table.find(&key, table.hash(&key)).unwrap();
        assert_eq!(table.get(slot).unwrap().key(), key);
    }
    assert!(table.find(&key(1000), table.hash(&key(1000))).is_none());
}

#[test]
fn a_table_at_its_limit_loses_next_to_nothing() {
    let mut table = FlowTable::new(60_000, HashKey::REPLAY);
    let wanted = 60_000;
    let mut replaced = 0;
    for number in 0..wanted {
        let key = key(number);
        let hash = table.hash(&key);
        replaced += u32::from(matches!(table.find_or_insert(&key, hash, 1), Lookup::Replaced(..)));
    }
    assert!(replaced * 500 < wanted, "{replaced} of {wanted} in {} slots", table.capacity());
}

#[test]
fn displaced_flows_are_found_and_leave_no_trace() {
    let mut table = FlowTable::new(6_000, HashKey::REPLAY);
    for round in 0..3 {
        let keys: Vec<_> = (0..6_000).map(|number| key(round * 10_000 + number)).collect();
        for key in &keys {
            table.find_or_insert(key, table.hash(key), 1);
        }
        let elsewhere: u32 = table.buckets.iter().map(|bucket| bucket.displaced_elsewhere).sum();
        let here: u32 = table.buckets.iter().map(|bucket| bucket.displaced_here.count_ones()).sum();
        assert!(elsewhere == here && here > 100, "{elsewhere} elsewhere, {here} here");
        let missing = keys.iter().filter(|key| table.find(key, table.hash(key)).is_none()).count();
        assert!(missing <= 12, "{missing}");
        // Half of them one by one, the others by a sweep.
        for key in keys.iter().step_by(2) {
            if let Some(slot) = table.find(key, table.hash(key)) {
                assert_eq!(table.remove(slot).unwrap().key(), *key);
            }
        }
        sweep_idle(&mut table, 100);
        assert_eq!(table.len(), 0);
        assert!(table.buckets.iter().all(|bucket| bucket.displaced_elsewhere == 0 && bucket.displaced_here == 0));
    }
}

#[test]
fn the_stalest_flow_is_evicted() {
    let mut table = FlowTable::new(1, HashKey::REPLAY);
    let mut epoch = 0;
    let mut number = 0;
    let gone = loop {
        let key = key(number);
        let hash = table.hash(&key);
        if let Lookup::Replaced(_, gone) = table.find_or_insert(&key, hash, epoch) {
            break gone;
        }
        number += 1;
        epoch += 1;
    };
    assert_eq!(gone.key(), key(0));
    assert_eq!(table.len(), table.capacity());
}

#[test]
fn a_sweep_removes_the_idle_and_leaves_the_others() {
    let mut table = FlowTable::new(100, HashKey::REPLAY);
    for number in 0..20 {
        let key = key(number);
        let hash = table.hash(&key);
        table.find_or_insert(&key, hash, 250);
    }
    let kept = table.find(&key(3), table.hash(&key(3))).unwrap();
    assert_eq!(table.touch(kept, 4), 250);
    let gone = sweep_idle(&mut table, 5);
    assert_eq!((gone, table.len()), (19, 1));
    assert!(table.find(&key(3), table.hash(&key(3))).is_some());
    assert!(table.remove(kept).is_some() && table.remove(kept).is_none());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Whatever the order of packets, removals and sweeps: each sweep removes those that are idle, and no others.
    #[test]
    fn sweeps_agree_with_a_plain_list(
        epochs in prop::collection::vec(prop::collection::vec((0..400_u32, any::<bool>()), 0..60), 1..600),
    ) {
        let mut table = FlowTable::new(3_000, HashKey::REPLAY);
        let mut last_packets = std::collections::BTreeMap::new();
        for (number, packets) in epochs.into_iter().enumerate() {
            let epoch = number as u8;
            last_packets.retain(|_, last| number - *last <= 10);
            sweep_idle(&mut table, epoch);
            prop_assert_eq!(table.len(), last_packets.len());
            for (flow, is_removed) in packets {
                let key = key(flow);
                let hash = table.hash(&key);
                if is_removed {
                    let removed = table.find(&key, hash).and_then(|slot| table.remove(slot));
                    prop_assert_eq!(removed.is_some(), last_packets.remove(&flow).is_some());
                    continue;
                }
                if let Lookup::Known(slot) = table.find_or_insert(&key, hash, epoch) {
                    table.touch(slot, epoch);
                }
                last_packets.insert(flow, number);
            }
        }
        let left: Vec<_> = last_packets.keys().filter(|flow| table.find(&key(**flow), table.hash(&key(**flow))).is_none()).collect();
        prop_assert!(left.is_empty(), "{:?}", left);
    }
}

#[test]
fn a_table_that_grows_keeps_its_flows() {
    const FLOWS: u32 = 100_000;
    let mut table = FlowTable::growing(200_000, HashKey::REPLAY);
    let mut sizes = vec![table.capacity()];
    for number in 0..FLOWS {
        let (key, epoch) = (key(number), (number / 1_000) as u8);
        let hash = table.hash(&key);
        let Lookup::New(slot) = table.find_or_insert(&key, hash, epoch) else { panic!("{number} has no room") };
        table.get_mut(slot).unwrap().record = number + 1;
        if table.is_crowded() {
            let mut slots = std::collections::HashMap::new();
            table.grow(epoch, |entry, slot| assert!(slots.insert(entry.record, slot).is_none()));
            assert_eq!(slots.len(), number as usize + 1);
            let is_there = |(record, slot): (&u32, &Slot)| table.get(*slot).unwrap().record == *record;
            assert!(slots.iter().all(is_there));
            sizes.push(table.capacity());
        }
    }
    assert_eq!(table.len(), FLOWS as usize);
    for number in 0..FLOWS {
        let key = key(number);
        let slot = table.find(&key, table.hash(&key)).unwrap();
        assert_eq!(
            (table.last_epoch(slot), table.get(slot).unwrap().record),
            (Some((number / 1_000) as u8), number + 1)
        );
    }
    assert!(sizes.len() > 2 && sizes.is_sorted(), "{sizes:?}");
    assert!(sizes.last() <= Some(&FlowTable::new(200_000, HashKey::REPLAY).capacity()));
    // The last epoch is 99: the flows of nine epochs had a packet within ten.
    assert_eq!(sweep_idle(&mut table, 101), 90_000 + 1_000);
    assert_eq!(table.len(), 9_000);
}
