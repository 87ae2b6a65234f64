//! All interleavings of a worker with the XDP program, over few flows: the worker's half is the real one, the program's is a
//! model in which each access to the memory is a step. Between any two changes that the worker makes, any number of steps of
//! the program's runs and of the thread that waits may come. That each step is seen by all at once is what atomic operations
//! and the orderings in `table.rs` give; what is searched for here is an order of steps that counts a packet wrong.
#![allow(clippy::indexing_slicing, clippy::unwrap_used)]

use std::cell::RefCell;
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

/// A processor and the packets that it gets, by their direction.
struct Processor {
    packets: Vec<usize>,
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
        let direction = processor.packets[processor.next];
        let count = |slot: usize| self.shared.slot(slot).unwrap().1.raw();
        processor.run = match processor.run {
            Run::Begins => self.shared.find(self.hashes[direction]).map_or(Run::Begins, Run::Found),
            Run::Found(slot) if count(slot).load(Ordering::SeqCst) & CLOSED == 0 => Run::Counts(slot),
            Run::Found(_) => Run::Begins,
            Run::Counts(slot) => {
                count(slot).fetch_add((1 << BYTE_BITS) + 100, Ordering::SeqCst);
                self.shunted[direction] += 1;
                Run::Begins
            }
        };
        if processor.run == Run::Begins {
            processor.next += 1;
        }
    }
}

/// Runs a worker with all interleavings: how many there are, and how many counted a packet wrong.
fn all(
    packets: &[&[usize]],
    waits: bool,
    worker: impl Fn(&mut ShuntTable, &[Direction], &dyn Fn(), &mut [u64]),
) -> (u64, u64) {
    let directions = neighbours();
    let mut choices: Vec<(usize, usize)> = Vec::new();
    let (mut interleavings, mut wrong) = (0, 0);
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
        let forced = Rc::clone(&others);
        let mut counted = vec![0; directions.len()];
        worker(&mut table, &directions, &|| assert!(forced.borrow_mut().step(false), "nobody can go on"), &mut counted);
        steps::set(None);
        let mut others = others.borrow_mut();
        interleavings += 1;
        wrong += u64::from(counted != others.shunted);
        choices = std::mem::take(&mut others.choices);
        choices.truncate(others.at);
        // The next order of steps: the last choice that has another one left takes that.
        while choices.last().is_some_and(|&(choice, count)| choice + 1 == count) {
            choices.pop();
        }
        match choices.last_mut() {
            Some((choice, _)) => *choice += 1,
            None => return (interleavings, wrong),
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

/// A slot goes from one flow to another while a processor counts packets of both.
fn slot_changes_hands(table: &mut ShuntTable, directions: &[Direction], go_on: &dyn Fn(), counted: &mut [u64]) {
    for (place, direction) in directions.iter().enumerate() {
        assert_eq!(table.insert(direction, 0), Insertion::Inserted);
        counted[place] += table.retire(direction, 0).unwrap().packets;
        counted[place] += freed(table, go_on).packets;
    }
}

#[test]
fn no_order_of_steps_counts_a_packet_wrong() {
    for packets in [&[&[0, 1][..]][..], &[&[0, 1], &[0]], &[&[0], &[1]]] {
        let (interleavings, wrong) = all(packets, true, slot_changes_hands);
        println!("{packets:?}: {interleavings} orders of steps");
        assert!(interleavings > 500, "{interleavings}");
        assert_eq!(wrong, 0, "of {interleavings}");
    }
    let (interleavings, wrong) = all(&[&[0], &[0]], true, |table, directions, go_on, counted| {
        table.insert(&directions[0], 0);
        counted[0] += table.take(&directions[0]).unwrap().packets;
        counted[0] += table.retire(&directions[0], 0).unwrap().packets;
        counted[0] += freed(table, go_on).packets;
    });
    assert!(interleavings > 1_000, "{interleavings}");
    assert_eq!(wrong, 0, "of {interleavings}");
}

#[test]
fn without_the_wait_the_model_finds_packets_counted_wrong() {
    let (interleavings, wrong) = all(&[&[0, 1]], false, slot_changes_hands);
    assert!(wrong > 0, "of {interleavings}");
}
