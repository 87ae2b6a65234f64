//! All interleavings of a worker with the XDP program, over few flows: the worker's half is the real one, the program's is a
//! model in which each access to the memory is a step. Between any two changes that the worker makes, any number of steps of
//! the program's runs and of the thread that waits may come. That each step is seen by all at once is what atomic operations
//! and the orderings in `table.rs` give; what is searched for here is an order of steps that counts a packet wrong, or shunts
//! the hello of a connection that the worker has not seen begin.
#![allow(clippy::indexing_slicing, clippy::unwrap_used)]

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use super::super::memory::steps;
use super::*;

/// What a run of the program does with one packet (`xdp/shunt.c`).
#[derive(Clone, Copy, Debug, PartialEq)]
enum Run {
    /// It has not read the table.
    Begins,
    /// It has read the tag in this slot.
    Found(usize),
    /// It has read the count, and found it open.
    Counts(usize),
}

/// A packet.
#[derive(Clone, Copy, Debug)]
struct Packet {
    direction: usize,
    /// It may open or end a connection.
    closes: bool,
}

/// An ordinary packet of a direction.
const fn data(direction: usize) -> Packet {
    Packet { direction, closes: false }
}

/// One that may open a connection.
const fn syn(direction: usize) -> Packet {
    Packet { direction, closes: true }
}

/// A processor and the packets that it gets.
struct Processor {
    packets: Vec<Packet>,
    next: usize,
    run: Run,
}

/// The program's processors and the thread that waits.
struct Others {
    shared: Arc<Shared>,
    hashes: Vec<u64>,
    processors: Vec<Processor>,
    /// Packets of each direction that were shunted.
    shunted: Vec<u64>,
    /// The round under way, and which processors' runs must be over before it ends.
    round: Option<(u64, Vec<Option<usize>>)>,
    /// Packets of the first processor that went up and that the worker has not seen.
    ring: VecDeque<usize>,
    /// Packets that were shunted although the worker had not seen an earlier one that may have opened their connection.
    lost: u64,
    /// Which of the possible steps was taken at each point, and how many there were.
    choices: Vec<(usize, usize)>,
    at: usize,
    /// Without the wait, to see that the model finds what it is there for.
    waits: bool,
}

impl Others {
    /// Takes a step, or several, or none, as the choices say.
    fn act(&mut self) {
        while self.step(true) {}
    }

    /// Takes one of the possible steps. False if none is possible, or if none was chosen where that may be.
    fn step(&mut self, may_pass: bool) -> bool {
        let mut possible: Vec<usize> = (0..self.processors.len())
            .filter(|&cpu| self.processors[cpu].next < self.processors[cpu].packets.len())
            .collect();
        if self.may_wait() {
            possible.push(usize::MAX);
        }
        if possible.is_empty() {
            return false;
        }
        let count = possible.len() + usize::from(may_pass);
        if self.at == self.choices.len() {
            self.choices.push((0, count));
        }
        let choice = self.choices[self.at].0;
        assert_eq!(self.choices[self.at].1, count);
        self.at += 1;
        match possible.get(if may_pass { choice.wrapping_sub(1) } else { choice }) {
            None => return false,
            Some(&usize::MAX) => self.wait(),
            Some(&cpu) => self.run(cpu),
        }
        true
    }

    fn may_wait(&self) -> bool {
        match &self.round {
            None => self.shared.grace.is_wanted(),
            Some((_, runs)) => {
                !self.waits
                    || runs.iter().zip(&self.processors).all(|(run, cpu)| run.is_none_or(|packet| cpu.next > packet))
            }
        }
    }

    fn wait(&mut self) {
        match self.round.take() {
            Some((number, _)) => self.shared.grace.end(number),
            None => {
                let under_way = |cpu: &Processor| (cpu.run != Run::Begins).then_some(cpu.next);
                let runs = self.processors.iter().map(under_way).collect();
                self.round = self.shared.grace.begin().map(|number| (number, runs));
            }
        }
    }

    fn run(&mut self, cpu: usize) {
        let processor = &mut self.processors[cpu];
        let number = processor.next;
        let packet = processor.packets[number];
        let count = |slot: usize| self.shared.slot(slot).unwrap().1.raw();
        let is_open = |slot: usize| count(slot).load(Ordering::SeqCst) & (OPEN | CLOSED) == OPEN;
        let mut is_shunted = false;
        processor.run = match processor.run {
            Run::Begins => self.shared.find(self.hashes[packet.direction]).map_or(Run::Begins, Run::Found),
            Run::Found(slot) if packet.closes => {
                count(slot).fetch_or(CLOSED, Ordering::SeqCst);
                Run::Begins
            }
            Run::Found(slot) if is_open(slot) => Run::Counts(slot),
            Run::Found(_) => Run::Begins,
            Run::Counts(slot) => {
                count(slot).fetch_add((1 << BYTE_BITS) + 100, Ordering::SeqCst);
                self.shunted[packet.direction] += 1;
                is_shunted = true;
                Run::Begins
            }
        };
        if processor.run != Run::Begins {
            return;
        }
        processor.next += 1;
        if cpu > 0 {
            return;
        }
        if is_shunted {
            self.lost += u64::from(self.ring.iter().any(|&earlier| processor.packets[earlier].closes));
        } else {
            self.ring.push_back(number);
        }
    }
}

/// Runs a worker with all interleavings: how many there are, and how many counted a packet wrong.
fn all(
    packets: &[&[Packet]],
    waits: bool,
    worker: impl Fn(&mut ShuntTable, &[Direction], &dyn Fn(), &mut [u64]),
) -> (u64, u64) {
    let (mut interleavings, mut wrong) = (0, 0);
    let outcome = |others: &Others, counted: &[u64]| {
        interleavings += 1;
        wrong += u64::from(counted != others.shunted);
    };
    with_all_orders(
        packets,
        waits,
        |table, directions, others, counted| {
            worker(table, directions, &|| assert!(others.borrow_mut().step(false), "nobody can go on"), counted);
        },
        outcome,
    );
    (interleavings, wrong)
}

/// Runs a worker with all interleavings. `outcome` gets the others as they are in the end, and what the worker counted.
fn with_all_orders(
    packets: &[&[Packet]],
    waits: bool,
    worker: impl Fn(&mut ShuntTable, &[Direction], &RefCell<Others>, &mut [u64]),
    mut outcome: impl FnMut(&Others, &[u64]),
) {
    let directions = neighbours();
    let mut choices: Vec<(usize, usize)> = Vec::new();
    loop {
        let words = Arc::new(SharedWords::own(super::super::COUNTS_WORDS));
        let flows = SharedWords::own(8 * LINE_WORDS);
        let shared = Arc::new(Shared::new(flows, words, TagKey { low: 1, high: 2 }, Grace::default()));
        let mut table = ShuntTable::new(Arc::clone(&shared));
        let processors =
            packets.iter().map(|packets| Processor { packets: packets.to_vec(), next: 0, run: Run::Begins });
        let others = Rc::new(RefCell::new(Others {
            hashes: directions.iter().map(|direction| table.hash(direction)).collect(),
            processors: processors.collect(),
            shunted: vec![0; directions.len()],
            ring: VecDeque::new(),
            lost: 0,
            round: None,
            choices: std::mem::take(&mut choices),
            at: 0,
            waits,
            shared,
        }));
        let acting = Rc::clone(&others);
        steps::set(Some(Box::new(move || {
            // Not while the others change words themselves.
            if let Ok(mut others) = acting.try_borrow_mut() {
                others.act();
            }
        })));
        let mut counted = vec![0; directions.len()];
        worker(&mut table, &directions, &others, &mut counted);
        steps::set(None);
        let mut others = others.borrow_mut();
        outcome(&others, &counted);
        choices = std::mem::take(&mut others.choices);
        choices.truncate(others.at);
        // The next order of steps: the last choice that has another one left takes that.
        while choices.last().is_some_and(|&(choice, count)| choice + 1 == count) {
            choices.pop();
        }
        match choices.last_mut() {
            Some((choice, _)) => *choice += 1,
            None => return,
        }
    }
}

/// Two directions that take the same slot when the table is empty.
fn neighbours() -> Vec<Direction> {
    let key = TagKey { low: 1, high: 2 };
    let of = |port| Direction {
        source: 1,
        destination: 2,
        source_port: port,
        destination_port: 443,
        network: 0,
        protocol: 6,
    };
    let home = |direction: &Direction| direction.hash(&key) >> line_shift(8);
    let first = of(1);
    let second = (2..1_000).map(of).find(|other| home(other) == home(&first)).unwrap();
    vec![first, second]
}

fn freed(table: &mut ShuntTable, go_on: &dyn Fn()) -> Counted {
    loop {
        if let Some(freed) = table.next_freed(table.grace_done()) {
            return freed.counted;
        }
        go_on();
    }
}

/// Has a direction shunted.
fn begin(table: &mut ShuntTable, direction: &Direction) -> Opening {
    let Insertion::Inserted(inserted) = table.insert(table.hash(direction), 0) else { panic!("it has no place") };
    table.open(inserted)
}

/// A slot goes from one flow to another while a processor counts packets of both.
fn slot_changes_hands(table: &mut ShuntTable, directions: &[Direction], go_on: &dyn Fn(), counted: &mut [u64]) {
    for (place, direction) in directions.iter().enumerate() {
        // Without the wait, a late packet of the other one may have been added to the number.
        let _ = begin(table, direction);
        counted[place] += table.retire(direction, 0).unwrap().packets;
        counted[place] += freed(table, go_on).packets;
    }
}

#[test]
fn no_order_of_steps_counts_a_packet_wrong() {
    let sorts: [&[&[Packet]]; 3] =
        [&[&[data(0), data(1)]], &[&[data(0), data(1)], &[data(0)]], &[&[data(0)], &[data(1)]]];
    for packets in sorts {
        let (interleavings, wrong) = all(packets, true, slot_changes_hands);
        println!("{packets:?}: {interleavings} orders of steps");
        assert!(interleavings > 500, "{interleavings}");
        assert_eq!(wrong, 0, "of {interleavings}");
    }
    let (interleavings, wrong) = all(&[&[data(0)], &[data(0)]], true, |table, directions, go_on, counted| {
        assert_eq!(begin(table, &directions[0]), Opening::Opened);
        counted[0] += table.take(&directions[0]).unwrap().packets;
        counted[0] += table.retire(&directions[0], 0).unwrap().packets;
        counted[0] += freed(table, go_on).packets;
    });
    assert!(interleavings > 1_000, "{interleavings}");
    assert_eq!(wrong, 0, "of {interleavings}");
}

#[test]
fn without_the_wait_the_model_finds_packets_counted_wrong() {
    let (interleavings, wrong) = all(&[&[data(0), data(1)]], false, slot_changes_hands);
    assert!(wrong > 0, "of {interleavings}");
}

/// A connection begins anew with the same ports while the worker is behind: its first packet went up before the direction
/// was inserted, its hello comes later. How many orders there are, in how many something is shunted, and in how many a packet
/// whose connection the worker has not seen begin.
fn begins_anew(opens_at_once: bool) -> (u64, u64, u64) {
    let packets = [data(0), syn(0), data(0), data(0), data(0)];
    let (mut orders, mut shunts, mut lost) = (0, 0, 0);
    let worker = |table: &mut ShuntTable, directions: &[Direction], others: &RefCell<Others>, _: &mut [u64]| {
        let direction = &directions[0];
        // The insertion, and the first packet that comes after it.
        let (mut inserted, mut is_open): (Option<(Inserted, usize)>, bool) = (None, false);
        loop {
            let next = others.borrow_mut().ring.front().copied();
            let Some(number) = next else {
                if others.borrow_mut().step(false) {
                    continue;
                }
                return;
            };
            if packets[number].closes {
                table.retire(direction, 0);
                (inserted, is_open) = (None, false);
            } else if let Some((insertion, first)) = inserted {
                if !is_open && number >= first {
                    is_open = table.open(insertion) == Opening::Opened;
                    if !is_open {
                        table.retire(direction, 0);
                        inserted = None;
                    }
                }
            } else if let Insertion::Inserted(insertion) = table.insert(table.hash(direction), 0) {
                // A run that is under way may have looked for the tag before it was there.
                let others = others.borrow();
                let is_under_way = others.processors[0].run != Run::Begins;
                inserted = Some((insertion, others.processors[0].next + usize::from(is_under_way)));
                drop(others);
                is_open = opens_at_once && table.open(insertion) == Opening::Opened;
            }
            others.borrow_mut().ring.pop_front();
        }
    };
    with_all_orders(&[&packets], true, worker, |others, _| {
        orders += 1;
        shunts += u64::from(others.shunted[0] > 0);
        lost += u64::from(others.lost > 0);
    });
    (orders, shunts, lost)
}

#[test]
fn no_order_of_steps_shunts_a_connection_that_the_worker_has_not_seen_begin() {
    let (orders, shunts, lost) = begins_anew(false);
    println!("{orders} orders of steps, {shunts} with packets shunted");
    assert!(orders > 100 && shunts > 0, "{orders}, {shunts}");
    assert_eq!(lost, 0, "of {orders}");
    assert!(begins_anew(true).2 > 0, "the model does not find what it is there for");
}
