//! The program in the kernel against the worker's half: what it parses, counts and closes. Skips where it cannot be loaded.
#![allow(clippy::indexing_slicing, clippy::unwrap_used)]

use std::cell::RefCell;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::bpf::ProgramKind;
use super::measure::{INTERFACES, Measure, ordinary_frame};
use super::*;

const DROPPED: u32 = 1;
const UP: u32 = 2;
const PROGRAMS: [ProgramKind; 2] = [ProgramKind::Xdp, ProgramKind::SocketFilter];

/// Has a direction shunted.
fn shunt(table: &mut ShuntTable, direction: &Direction, epoch: u8) {
    let inserted = insert(table, direction, epoch);
    assert_eq!(table.open(inserted), Opening::Opened);
}

fn insert(table: &mut ShuntTable, direction: &Direction, epoch: u8) -> Inserted {
    let Insertion::Inserted(inserted) = table.insert(table.hash(direction), epoch) else { panic!("it has no place") };
    inserted
}

/// The XDP program, and the filter of sockets.
fn loaded() -> Vec<Measure> {
    let load = |program| match Measure::load_for(program, 4_096, INTERFACES) {
        Ok(measure) => Some(measure),
        Err(error) => {
            vigie_skip::skipped(format_args!("the program ({program:?}) cannot be loaded: {error}"));
            None
        }
    };
    PROGRAMS.into_iter().filter_map(load).collect()
}

/// On an interface that it was not loaded for the program lets everything up, whoever attaches it there.
#[test]
fn other_interfaces_are_let_alone() {
    if loaded().len() < PROGRAMS.len() {
        return;
    }
    PROGRAMS.into_iter().for_each(lets_other_interfaces_alone);
}

fn lets_other_interfaces_alone(program: ProgramKind) {
    let frame = ordinary_frame(&[], false, false, 1, b"payload");
    let verdict = |interfaces| {
        let mut measure = Measure::load_for(program, 4_096, interfaces).unwrap();
        shunt(&mut measure.table(), &Direction::of_frame(&frame).unwrap().0, 0);
        measure.run(&frame, 1).unwrap().0
    };
    let all_but_it: [u32; INTERFACES_MAX] = std::array::from_fn(|place| place as u32 + 2);
    assert_eq!(verdict(all_but_it), UP);
    for place in [0, INTERFACES_MAX - 1] {
        let mut with_it = all_but_it;
        with_it[place] = 1;
        assert_eq!(verdict(with_it), DROPPED);
    }
}

/// Of each frame the program says what `Direction::of_frame` says, and they know it by the same tag.
#[test]
fn the_program_parses_as_the_worker_does() {
    loaded().into_iter().for_each(parses_as_the_worker_does);
}

fn parses_as_the_worker_does(measure: Measure) {
    let (table, measure) = (RefCell::new(measure.table()), RefCell::new(measure));
    let mut shunted = 0;
    let strategy = (
        (vec(0..16_u16, 0..4), any::<bool>(), any::<bool>(), any::<u8>()),
        vec(any::<u8>(), 0..64),
        vec((12..90_usize, any::<u8>()), 0..3),
        prop_oneof![Just(200_usize), 14..120_usize],
    );
    let mut runner = TestRunner::new(Config { cases: 3_000, failure_persistence: None, ..Config::default() });
    runner
        .run(&strategy, |((vlans, is_v6, is_udp, host), payload, changes, kept)| {
            let mut bytes = ordinary_frame(&vlans, is_v6, is_udp, host, &payload);
            for (place, value) in changes {
                if let Some(byte) = bytes.get_mut(place) {
                    *byte = value;
                }
            }
            bytes.truncate(kept);
            let (mut table, mut measure) = (table.borrow_mut(), measure.borrow_mut());
            let read = Direction::of_frame(&bytes);
            if let Some((direction, _)) = &read {
                shunt(&mut table, direction, 7);
            }
            let (verdict, _) = measure.run(&bytes, 1).unwrap();
            match read {
                Some((direction, closes)) => {
                    prop_assert_eq!(verdict, if closes { UP } else { DROPPED });
                    let counted = table.retire(&direction, 0).unwrap();
                    prop_assert_eq!(counted.is_closed, closes);
                    let expected = if closes { (0, 0) } else { (1, bytes.len() as u64) };
                    prop_assert_eq!((counted.packets, counted.bytes), expected);
                    measure.pass_grace();
                    let done = table.grace_done();
                    let freed = table.next_freed(done).unwrap();
                    prop_assert_eq!((freed.counted.packets, freed.counted.bytes), (0, 0));
                }
                None => prop_assert_eq!(verdict, UP),
            }
            Ok(())
        })
        .unwrap();
    // That the frames are not all odd.
    let (mut table, mut measure) = (table.into_inner(), measure.into_inner());
    for vlans in [&[][..], &[10], &[10, 11]] {
        for (is_v6, is_udp) in [(false, false), (false, true), (true, false), (true, true)] {
            let bytes = ordinary_frame(vlans, is_v6, is_udp, 200, &[0x40; 32]);
            let (direction, closes) = Direction::of_frame(&bytes).unwrap();
            assert!(!closes);
            shunt(&mut table, &direction, 7);
            shunted += u32::from(measure.run(&bytes, 1).unwrap().0 == DROPPED);
        }
    }
    assert_eq!(shunted, 12);
}

#[test]
fn what_opens_or_ends_a_connection_closes_its_direction() {
    loaded().iter_mut().for_each(closes_what_opens_or_ends);
}

fn closes_what_opens_or_ends(measure: &mut Measure) {
    let mut table = measure.table();
    table.set_epoch(9);
    let tcp = ordinary_frame(&[], false, false, 1, &[1; 100]);
    let flags = 14 + 20 + 13;
    let (direction, _) = Direction::of_frame(&tcp).unwrap();
    for flag in [1, 2, 4] {
        shunt(&mut table, &direction, 7);
        assert_eq!(table.insert(table.hash(&direction), 7), Insertion::Known);
        assert_eq!(table.last_epoch(table.hash(&direction)), Some(7));
        assert_eq!(measure.run(&tcp, 5).unwrap().0, DROPPED);
        assert_eq!(table.last_epoch(table.hash(&direction)), Some(9));
        let mut ending = tcp.clone();
        ending[flags] |= flag;
        assert_eq!(measure.run(&ending, 1).unwrap().0, UP);
        assert_eq!(measure.run(&tcp, 1).unwrap().0, UP);
        let counted = table.retire(&direction, 0).unwrap();
        assert_eq!(counted, Counted { packets: 5, bytes: 5 * tcp.len() as u64, epoch: 9, is_closed: true });
        assert!(table.awaits_grace() && table.next_freed(table.grace_done()).is_none());
        measure.pass_grace();
        assert!(table.next_freed(table.grace_done()).is_some() && !table.awaits_grace());
    }
    for (first, verdict) in [(0x40, DROPPED), (0xc3, UP), (22, UP), (0x60, UP)] {
        let udp = ordinary_frame(&[], true, true, 1, &[first; 40]);
        let (direction, _) = Direction::of_frame(&ordinary_frame(&[], true, true, 1, &[0x40; 40])).unwrap();
        shunt(&mut table, &direction, 7);
        assert_eq!(measure.run(&udp, 1).unwrap().0, verdict, "{first:#x}");
        table.retire(&direction, 0).unwrap();
    }
}

/// Before a direction is opened, its packets go up, and one that may open a connection keeps it from being opened.
#[test]
fn directions_that_are_not_open_go_up_and_can_be_closed() {
    loaded().iter_mut().for_each(lets_up_what_is_not_open);
}

fn lets_up_what_is_not_open(measure: &mut Measure) {
    let mut table = measure.table();
    let data = ordinary_frame(&[], false, false, 1, &[1; 100]);
    let mut syn = data.clone();
    syn[14 + 20 + 13] = 2;
    let (direction, _) = Direction::of_frame(&data).unwrap();
    let inserted = insert(&mut table, &direction, 7);
    assert_eq!(measure.run(&data, 3).unwrap().0, UP);
    assert_eq!(table.take(&direction), Some(Counted { epoch: 7, ..Counted::default() }));
    assert_eq!(measure.run(&syn, 1).unwrap().0, UP);
    assert_eq!(table.open(inserted), Opening::Closed);
    assert_eq!(measure.run(&data, 1).unwrap().0, UP);
    let closed = Counted { epoch: 7, is_closed: true, ..Counted::default() };
    assert_eq!(table.retire(&direction, 0), Some(closed));
    assert_eq!(table.open(inserted), Opening::Gone);
    measure.pass_grace();
    assert_eq!(table.next_freed(table.grace_done()).map(|freed| freed.counted.packets), Some(0));
    shunt(&mut table, &direction, 7);
    assert_eq!(table.open(inserted), Opening::Gone, "inserted anew");
    assert_eq!(measure.run(&data, 3).unwrap().0, DROPPED);
    assert_eq!(table.take(&direction).unwrap().packets, 3);
}

/// Nothing wraps: a direction whose counts are nearly full goes up until they are taken.
#[test]
fn full_counts_go_up_until_they_are_taken() {
    loaded().iter_mut().for_each(lets_up_full_counts);
}

fn lets_up_full_counts(measure: &mut Measure) {
    let mut table = measure.table();
    let tcp = ordinary_frame(&[], false, false, 1, &[1; 1_000]);
    let (direction, _) = Direction::of_frame(&tcp).unwrap();
    shunt(&mut table, &direction, 0);
    measure.run(&tcp, (1 << 21) - 1).unwrap();
    assert_eq!(measure.run(&tcp, 1).unwrap().0, DROPPED);
    assert_eq!(measure.run(&tcp, 1).unwrap().0, UP);
    let counted = table.take(&direction).unwrap();
    assert_eq!((counted.packets, counted.bytes), (1 << 21, (1 << 21) * tcp.len() as u64));
    assert_eq!(measure.run(&tcp, 1).unwrap().0, DROPPED);
    assert_eq!(table.take(&direction).unwrap().packets, 1);
}

#[test]
fn a_table_holds_as_many_flows_as_it_says() {
    let Some(measure) = loaded().pop() else { return };
    let mut table = measure.table();
    let direction = |host: u32| Direction {
        source: 0xffff_0a00_0000 + u128::from(host),
        destination: 0xffff_0808_0808,
        source_port: 40_000,
        destination_port: 443,
        network: 0,
        protocol: 6,
    };
    let full = (0..8_192).filter(|&host| table.insert(table.hash(&direction(host)), 0) == Insertion::Full).count();
    assert!(full < 8_192 / 10, "{full} found no place at full load");
    let half = (0..4_096).filter(|&host| table.take(&direction(host)).is_none()).count();
    assert!(half < 16, "{half} found no place at half load");
}
