//! The table of shunted flows: the half of it that workers write. The XDP program's half is in `xdp/shunt.c`.
//!
//! A slot is two words: the tag of one direction of a flow, and what was counted there. Workers and program use them at the
//! same time, without a lock:
//!
//! * *Insert*: a free slot is taken by compare-and-swap; its count becomes a number, and then its tag that of the direction.
//!   As long as the count has such a number, packets go up, and the program notes those that may open or end a connection.
//! * *Open*: the number is replaced by an open count of 0, unless the program has noted something. From then on packets are
//!   shunted. The worker does this when it has seen all packets from before the insertion: a packet among them may have opened
//!   a connection, whose hello must not be dropped.
//! * *Take*: the count is swapped for 0. The program adds atomically, so nothing is lost or counted twice.
//! * *Retire*: the tag is swapped for one that matches nothing, and the count taken. A run of the program that read the tag
//!   before may still add to the count, so the slot waits until no such run can exist ([`Grace`]). What was added meanwhile
//!   is taken then, and the slot is free.
//!
//! Only the worker of a flow takes and retires its slots.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::grace::Grace;
use super::memory::{SharedWords, Word};
use super::packet::{Direction, TagKey, tag_of};

/// Slots of a line, and words of a slot and of a line.
const LINE_SLOTS: usize = 4;
const SLOT_WORDS: usize = 2;
pub(super) const LINE_WORDS: usize = LINE_SLOTS * SLOT_WORDS;
/// Lines from its home on in which a tag may stand.
const LINES: u64 = 4;
/// The tag of a slot that is retired and not free yet.
const RETIRED: u64 = 2;
const TAG_BITS: u32 = 56;
const TAG_MASK: u64 = (1 << TAG_BITS) - 1;
const OPEN: u64 = 1 << 62;
const CLOSED: u64 = 1 << 63;
const PACKETS_MASK: u64 = (1 << 22) - 1;
const BYTE_BITS: u32 = 40;
/// The numbers of insertions are below that.
const NUMBERS: u64 = 1 << 39;

/// A line is fetched so many retired slots before its own is freed.
const FREED_AHEAD: usize = 16;

/// What was counted of one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Packets.
    pub packets: u64,
    /// Their bytes on the wire.
    pub bytes: u64,
    /// The worker's epoch at the last packet, or when the direction was inserted.
    pub epoch: u8,
    /// The program saw a packet that may open or end a connection; since then it lets all packets up.
    pub is_closed: bool,
}

impl Counted {
    /// The counts of a direction that was inserted. It has none before it is opened.
    const fn of_direction(count: u64, tag_word: u64) -> Self {
        Self::new(if count & OPEN == 0 { count & CLOSED } else { count }, tag_word)
    }

    const fn new(count: u64, tag_word: u64) -> Self {
        Self {
            packets: count >> BYTE_BITS & PACKETS_MASK,
            bytes: count & ((1 << BYTE_BITS) - 1),
            epoch: (tag_word >> TAG_BITS) as u8,
            is_closed: count & CLOSED != 0,
        }
    }
}

/// A direction in the table, as it was inserted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inserted {
    slot: usize,
    /// No other insertion has it, so whoever finds it in the slot knows that this direction is still there.
    number: u64,
}

/// What became of an insertion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Insertion {
    /// The program shunts the direction as soon as it is [opened](ShuntTable::open).
    Inserted(Inserted),
    /// It is in the table already.
    Known,
    /// There is no free slot where it may stand.
    Full,
}

/// What became of an opening.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// From now on the program shunts the direction.
    Opened,
    /// Meanwhile the program saw a packet that may open or end a connection. All packets go up.
    Closed,
    /// The direction is not in the table any more, or it was inserted anew.
    Gone,
}

/// A direction whose slot is free again, and what was counted since it was retired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Freed {
    /// Its number among all that this worker has retired.
    pub number: u64,
    /// The number that the worker gave it.
    pub owner: u64,
    /// Its hash.
    pub hash: u64,
    /// What was counted last.
    pub counted: Counted,
}

#[derive(Debug)]
struct Retired {
    slot: usize,
    number: u64,
    owner: u64,
    hash: u64,
    ticket: u64,
}

/// What all workers share.
#[derive(Debug)]
pub(super) struct Shared {
    flows: SharedWords,
    /// The counts of all processors, in which the epoch stands.
    counts: Arc<SharedWords>,
    key: TagKey,
    pub(super) grace: Grace,
    slots_in_use: AtomicU64,
    insertions: AtomicU64,
}

impl Shared {
    pub(super) const fn new(flows: SharedWords, counts: Arc<SharedWords>, key: TagKey, grace: Grace) -> Self {
        Self { flows, counts, key, grace, slots_in_use: AtomicU64::new(0), insertions: AtomicU64::new(0) }
    }

    fn lines(&self) -> u64 {
        (self.flows.words().len() / LINE_WORDS) as u64
    }

    pub(super) fn slots(&self) -> u64 {
        self.lines() * LINE_SLOTS as u64
    }

    pub(super) fn slots_in_use(&self) -> u64 {
        self.slots_in_use.load(Ordering::Relaxed)
    }

    /// The tag word and the count of a slot.
    fn slot(&self, slot: usize) -> Option<(&Word, &Word)> {
        match self.flows.words().get(slot * SLOT_WORDS..)? {
            [tag, count, ..] => Some((tag, count)),
            _ => None,
        }
    }

    /// The slots in which a hash may stand.
    fn places(&self, hash: u64) -> impl Iterator<Item = usize> + use<> {
        let lines = self.lines();
        let home = hash >> line_shift(lines);
        (0..LINES).flat_map(move |step| {
            let line = ((home + step) & (lines - 1)) as usize;
            (0..LINE_SLOTS).map(move |place| line * LINE_SLOTS + place)
        })
    }

    fn find(&self, hash: u64) -> Option<usize> {
        let tag = tag_of(hash);
        let mut places = self.places(hash);
        places.find(|&slot| self.slot(slot).is_some_and(|(word, _)| word.load(Ordering::Relaxed) & TAG_MASK == tag))
    }
}

/// By how much a hash is shifted to its home line, of so many; they are a power of two, and at least two.
pub(super) const fn line_shift(lines: u64) -> u32 {
    lines.leading_zeros() + 1
}

/// Lines for so many flows of two directions.
pub(super) const fn lines_for(flows: usize) -> u64 {
    let lines = (flows as u64 * 2).div_ceil(LINE_SLOTS as u64).next_power_of_two();
    if lines < 8 { 8 } else { lines }
}

/// Bytes of the table for so many flows.
pub const fn table_bytes(flows: usize) -> u64 {
    lines_for(flows) * (LINE_WORDS * size_of::<u64>()) as u64
}

/// One worker's hold on the table.
#[derive(Debug)]
pub struct ShuntTable {
    shared: Arc<Shared>,
    retired: VecDeque<Retired>,
    retirements: u64,
}

impl ShuntTable {
    pub(super) const fn new(shared: Arc<Shared>) -> Self {
        Self { shared, retired: VecDeque::new(), retirements: 0 }
    }

    /// A hash of a direction that is another one at each start. Directions with equal hashes are the same.
    pub fn hash(&self, direction: &Direction) -> u64 {
        direction.hash(&self.shared.key)
    }

    /// Fetches the lines in which the direction with this hash may stand, to be inserted or retired soon.
    #[inline]
    pub fn prefetch(&self, hash: u64) {
        let lines = self.shared.lines();
        let home = hash >> line_shift(lines);
        self.shared.flows.prefetch_to_write(home as usize * LINE_WORDS);
        for step in 1..LINES {
            self.shared.flows.prefetch_to_read(((home + step) & (lines - 1)) as usize * LINE_WORDS);
        }
    }

    /// Fetches the line in which the direction with this hash stands most likely, to be looked at soon.
    #[inline]
    pub fn prefetch_to_read(&self, hash: u64) {
        let home = hash >> line_shift(self.shared.lines());
        self.shared.flows.prefetch_to_read(home as usize * LINE_WORDS);
    }

    /// Fetches the line of a direction, to be opened soon.
    #[inline]
    pub fn prefetch_inserted(&self, inserted: Inserted) {
        self.shared.flows.prefetch_to_write(inserted.slot * SLOT_WORDS);
    }

    /// Puts the direction with this hash into the table, which had a packet in this epoch.
    pub fn insert(&mut self, hash: u64, epoch: u8) -> Insertion {
        let shared = &*self.shared;
        if shared.find(hash).is_some() {
            return Insertion::Known;
        }
        let word = tag_of(hash) | u64::from(epoch) << TAG_BITS;
        for slot in shared.places(hash) {
            let Some((tag, count)) = shared.slot(slot) else { continue };
            if tag.load(Ordering::Relaxed) == 0 && tag.replace(0, RETIRED).is_ok() {
                let number = 1 + shared.insertions.fetch_add(1, Ordering::Relaxed) % (NUMBERS - 1);
                // Not open, as it was before: whoever finds the tag, but an older count, lets the packet up too.
                count.store(number, Ordering::Relaxed);
                tag.store(word, Ordering::Release);
                shared.slots_in_use.fetch_add(1, Ordering::Relaxed);
                return Insertion::Inserted(Inserted { slot, number });
            }
        }
        Insertion::Full
    }

    /// Has the program shunt a direction. All its packets that the program let up before the insertion were seen by the worker.
    pub fn open(&mut self, inserted: Inserted) -> Opening {
        let Inserted { slot, number } = inserted;
        let Some((_, count)) = self.shared.slot(slot) else { return Opening::Gone };
        match count.replace(number, OPEN) {
            Ok(()) => Opening::Opened,
            Err(other) if other == number | CLOSED => Opening::Closed,
            Err(_) => Opening::Gone,
        }
    }

    /// The epoch of the last packet of the direction with this hash.
    pub fn last_epoch(&self, hash: u64) -> Option<u8> {
        let slot = self.shared.find(hash)?;
        let (tag, _) = self.shared.slot(slot)?;
        Some((tag.load(Ordering::Relaxed) >> TAG_BITS) as u8)
    }

    /// Takes what was counted of a direction since the last time.
    pub fn take(&mut self, direction: &Direction) -> Option<Counted> {
        let slot = self.shared.find(self.hash(direction))?;
        let (tag, count) = self.shared.slot(slot)?;
        let now = count.load(Ordering::Relaxed);
        // The number of a direction that is not open must stay.
        let taken = if now & OPEN == 0 { now } else { count.fetch_and(OPEN | CLOSED, Ordering::AcqRel) };
        Some(Counted::of_direction(taken, tag.load(Ordering::Relaxed)))
    }

    /// Takes a direction out, and what was counted of it so far. The rest comes with [`next_freed`](Self::next_freed), and
    /// `owner` with it.
    pub fn retire(&mut self, direction: &Direction, owner: u64) -> Option<Counted> {
        let hash = self.hash(direction);
        let slot = self.shared.find(hash)?;
        let (tag, count) = self.shared.slot(slot)?;
        // Before the ticket is asked for, so that each run of the program that still knows the tag began before the round.
        let word = tag.swap(RETIRED, Ordering::SeqCst);
        let counted = Counted::of_direction(count.fetch_and(CLOSED, Ordering::AcqRel), word);
        let ticket = self.shared.grace.ticket();
        self.retired.push_back(Retired { slot, number: self.retirements, owner, hash, ticket });
        self.retirements += 1;
        Some(counted)
    }

    /// How many directions this worker has retired so far.
    pub const fn retirements(&self) -> u64 {
        self.retirements
    }

    /// Whether a retired slot is not free yet.
    pub fn awaits_grace(&self) -> bool {
        !self.retired.is_empty()
    }

    /// How far the waiting is; see [`next_freed`](Self::next_freed).
    pub fn grace_done(&self) -> u64 {
        self.shared.grace.done()
    }

    /// The round after which all that was retired so far is free.
    pub fn ticket(&self) -> u64 {
        self.retired.back().map_or(0, |retired| retired.ticket)
    }

    /// Frees the slot that was retired first, if the waiting was over for it at `done`. What is said of it is final.
    pub fn next_freed(&mut self, done: u64) -> Option<Freed> {
        if let Some(later) = self.retired.get(FREED_AHEAD) {
            self.shared.flows.prefetch_to_write(later.slot * SLOT_WORDS);
        }
        let retired = {
            self.retired.front().filter(|retired| retired.ticket <= done)?;
            self.retired.pop_front()?
        };
        let (tag, count) = self.shared.slot(retired.slot)?;
        let counted = Counted::new(count.swap(0, Ordering::AcqRel), tag.load(Ordering::Relaxed));
        // `Release`: who takes the slot finds the count 0.
        tag.store(0, Ordering::Release);
        self.shared.slots_in_use.fetch_sub(1, Ordering::Relaxed);
        Some(Freed { number: retired.number, owner: retired.owner, hash: retired.hash, counted })
    }

    /// Tells the program the epoch of the packets to come.
    pub fn set_epoch(&self, epoch: u8) {
        for counts in self.shared.counts.words().chunks(super::COUNTS_WORDS) {
            if let Some(word) = counts.get(super::EPOCH_WORD) {
                word.store(u64::from(epoch), Ordering::Relaxed);
            }
        }
    }
}

#[cfg(test)]
mod model;
