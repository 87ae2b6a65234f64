//! Settled flows whose packets the XDP program counts and drops ([`vigie_capture::live::shunt`]), so that the worker has no
//! work with them.
//!
//! Each direction of a settled flow is inserted at the end of the batch in which one of its packets comes up, so that its line of
//! the table has come from memory by then. It is opened when all packets from before have come: a connection that began anew
//! among them must be known first. What was counted there joins the counts of the flow's
//! record: once a minute for a sighted flow, when the program has closed the direction, and when the flow
//! ends. A flow is not idle while one of its directions moves. When a flow ends, its directions are retired; its event waits
//! until no packet can be added to them any more.
//!
//! `ending` has the flows whose events wait.
//!
//! Packets that come up although their direction is inserted were in the ring before, or are not ordinary, or follow one that
//! closed the direction.

mod ending;

use std::collections::VecDeque;

use arrayvec::ArrayVec;
use vigie_capture::BATCH_FRAMES_MAX;
use vigie_capture::live::shunt::{Counted, Direction, Inserted, Insertion, Opening, ShuntTable};
use vigie_decode::may_be_tunnel_port;
use vigie_flow::memory::prefetch;
use vigie_flow::{FlowEntry, FlowKey, FlowTable, PacketHeaders, Side, Slot};
use vigie_wire::Frame;

use self::ending::EndingFlow;
use super::clock::EPOCH_NS;
use super::flows::{SETTLED, WATCHED};
use super::records::{FlowRecord, Records};
use super::{Counter, Worker};

/// State of a flow: this direction is inserted.
const FROM_LOW: u16 = 1;
const FROM_HIGH: u16 = 2;
const INSERTED: u16 = FROM_LOW | FROM_HIGH;
/// State of a flow: a direction was retired, so its last packets may be counted later.
const RETIRED: u16 = 4;
/// The upper bits of a flow's state: so many packets come up before the next attempt.
const ONE_PACKET: u16 = 16;
/// Packets until the next attempt after a connection may have ended or a packet came up that should not.
const AGAIN_AFTER: u16 = 64 * ONE_PACKET;
/// The same when the table had no room.
const ROOM_AFTER: u16 = 1_024 * ONE_PACKET;
/// The same when the program would not take the packet.
const ORDINARY_AFTER: u16 = 4_095 * ONE_PACKET;
/// A slot's epoch may be this far ahead of the worker's: each worker tells its own.
const EPOCHS_AHEAD_MAX: u8 = 8;

/// The time stamps of packets may be so much out of order, and so much later than the program saw the packets.
const DISORDER_NS: u64 = 10_000_000;

/// A line of the table is fetched so many directions before its own is opened, and so many flows before theirs are retired.
const OPENED_AHEAD: usize = 16;
const RETIRED_AHEAD: usize = 8;
const RETIRED_AT_ONCE: usize = 256;

/// The shunt, as one worker uses it.
pub(super) struct Shunt {
    table: ShuntTable,
    /// What is inserted of the flow in each slot of the flow table.
    states: Vec<u16>,
    /// Directions that are to be inserted at the end of the batch, when the lines of the table have come from memory.
    offered: ArrayVec<Offered, BATCH_FRAMES_MAX>,
    /// Directions that are inserted and not open, in the order of their insertions.
    held: VecDeque<Held>,
    ending: VecDeque<EndingFlow>,
    /// The last round of waiting whose slots were freed.
    grace_done: u64,
}

/// Flows whose lines of the table are fetched, with the hashes of their directions.
type Fetched = ArrayVec<(Slot, ArrayVec<u64, 2>), 32>;

/// A direction that is to be inserted.
struct Offered {
    slot: Slot,
    side: Side,
    direction: Direction,
    hash: u64,
}

/// A direction that is inserted and not open.
struct Held {
    slot: Slot,
    inserted: Inserted,
    /// When it had been inserted; 0 if that is not known yet.
    since_ns: u64,
}

/// How epochs of the program become times.
#[derive(Clone, Copy)]
struct Epochs {
    now: u64,
    shift_ns: i64,
}

impl Epochs {
    /// How many epochs ago.
    const fn age(self, epoch: u8) -> u8 {
        let age = (self.now as u8).wrapping_sub(epoch);
        if age > u8::MAX - EPOCHS_AHEAD_MAX { 0 } else { age }
    }

    /// When an epoch began, as packets are stamped.
    const fn start_ns(self, epoch: u8) -> u64 {
        let start_ns = self.now.saturating_sub(self.age(epoch) as u64).saturating_mul(EPOCH_NS);
        start_ns.saturating_add_signed(self.shift_ns.saturating_neg())
    }
}

impl Shunt {
    /// Whether a direction of the flow in a slot is in the table.
    pub(super) fn has(&self, slot: Slot) -> bool {
        self.states.get(slot.index()).is_some_and(|state| state & INSERTED != 0)
    }

    /// Fetches the state of the flow in a slot.
    #[inline]
    pub(super) fn prefetch_state(&self, slot: Slot) {
        prefetch(&self.states, slot.index());
    }

    fn state(&mut self, slot: Slot) -> Option<&mut u16> {
        self.states.get_mut(slot.index())
    }

    /// The flows that have a direction in the table.
    fn inserted(&self) -> impl Iterator<Item = Slot> {
        let inserted = self.states.iter().enumerate().filter(|(_, state)| **state & INSERTED != 0);
        inserted.map(|(index, _)| Slot::at(index))
    }

    /// Fetches the lines of a flow's directions.
    fn prefetch(&self, slot: Slot, entry: &FlowEntry) {
        let state = self.states.get(slot.index()).copied().unwrap_or_default();
        sides(state).for_each(|side| self.table.prefetch(self.table.hash(&direction(&entry.key(), side))));
    }

    /// Takes what was counted of a flow that goes on.
    fn take(&mut self, slot: Slot, entry: &FlowEntry, records: &mut Records, epochs: Epochs) {
        let state = self.state(slot).map_or(0, |state| *state);
        for side in sides(state) {
            if let Some(counted) = self.table.take(&direction(&entry.key(), side)) {
                add(records.get_mut(entry.record), side, &counted, epochs);
            }
        }
    }

    /// Retires the directions of a flow. How many there were.
    fn retire(&mut self, slot: Slot, entry: &FlowEntry, records: &mut Records, epochs: Epochs) -> u64 {
        let state = self.state(slot).map_or(0, |state| *state);
        let mut retired = 0;
        for side in sides(state) {
            let owner = (slot.index() as u64) << 1 | u64::from(side == Side::High);
            if let Some(counted) = self.table.retire(&direction(&entry.key(), side), owner) {
                add(records.get_mut(entry.record), side, &counted, epochs);
                retired += 1;
            }
        }
        if state & INSERTED != 0
            && let Some(state) = self.state(slot)
        {
            *state = *state & !INSERTED | RETIRED;
        }
        retired
    }

    /// The hashes of a flow's directions, whose lines are fetched to be read.
    fn fetch(&self, slot: Slot, entry: &FlowEntry) -> ArrayVec<u64, 2> {
        let state = self.states.get(slot.index()).copied().unwrap_or_default();
        let hashes: ArrayVec<u64, 2> =
            sides(state).map(|side| self.table.hash(&direction(&entry.key(), side))).collect();
        hashes.iter().for_each(|&hash| self.table.prefetch_to_read(hash));
        hashes
    }

    /// Gives flows the epoch of their last shunted packet, if they are not idle by that.
    fn keep(&self, fetched: &mut Fetched, table: &mut FlowTable, epochs: Epochs, idle_epochs: u8) {
        for (slot, hashes) in fetched.drain(..) {
            let last = hashes.iter().filter_map(|&hash| self.table.last_epoch(hash));
            if let Some(last) = last.min_by_key(|&epoch| epochs.age(epoch))
                && epochs.age(last) <= idle_epochs
            {
                table.touch(slot, last);
            }
        }
    }
}

impl Worker {
    /// From now on, packets of settled flows are shunted.
    pub fn use_shunt(&mut self, table: ShuntTable) {
        table.set_epoch(self.epoch as u8);
        let states = vec![0; self.table.capacity()];
        let (offered, held, ending) = (ArrayVec::new(), VecDeque::new(), VecDeque::new());
        self.shunt = Some(Box::new(Shunt { table, states, offered, held, ending, grace_done: 0 }));
    }

    const fn epochs(&self) -> Epochs {
        Epochs { now: self.epoch, shift_ns: self.clock_shift_ns }
    }

    /// Tells the program in which epoch the packets to come are.
    pub(super) fn tell_shunt_epoch(&self) {
        if let Some(shunt) = &self.shunt {
            shunt.table.set_epoch(self.epoch as u8);
        }
    }

    /// A slot of the flow table has another flow.
    #[inline]
    pub(super) fn forget_shunted(&mut self, slot: Slot) {
        if let Some(state) = self.shunt.as_mut().and_then(|shunt| shunt.state(slot)) {
            *state = 0;
        }
    }

    /// A packet of a settled flow came up: its direction is inserted, if it can be.
    #[inline(never)]
    pub(super) fn offer_to_shunt(&mut self, slot: Slot, frame: &Frame<'_>, headers: &PacketHeaders) {
        let epochs = self.epochs();
        let Self { shunt, table, records, counters, .. } = self;
        let Some(shunt) = shunt else { return };
        let Some(state) = shunt.state(slot) else { return };
        let is_inserted = *state & bit(headers.side) != 0;
        if *state & INSERTED != 0 && matches!(Direction::of_frame(frame.data), Some((_, true))) {
            *state = (*state % ONE_PACKET) | AGAIN_AFTER;
            let Some(entry) = table.get(slot) else { return };
            let retired = shunt.retire(slot, entry, records, epochs);
            return counters.add(Counter::ShuntRetired, retired);
        }
        if *state >= ONE_PACKET {
            *state -= ONE_PACKET;
        } else if is_inserted {
            *state |= AGAIN_AFTER;
            let direction = direction(&headers.key, headers.side);
            let counted = shunt.table.take(&direction);
            let Some(entry) = table.get(slot) else { return };
            if let Some(counted) = counted {
                add(records.get_mut(entry.record), headers.side, &counted, epochs);
            }
            if counted.is_none_or(|counted| counted.is_closed) {
                let retired = shunt.retire(slot, entry, records, epochs);
                counters.add(Counter::ShuntRetired, retired);
            }
        } else {
            let direction = direction(&headers.key, headers.side);
            match Direction::of_frame(frame.data) {
                // In a tunnel the key is that of the inner packet, which the program does not see.
                Some((read, false)) if read == direction && !may_be_tunnel(&direction) => {
                    let hash = shunt.table.hash(&direction);
                    shunt.table.prefetch(hash);
                    // Never full: a batch has no more frames.
                    let _ = shunt.offered.try_push(Offered { slot, side: headers.side, direction, hash });
                }
                Some((_, true)) => *state |= AGAIN_AFTER,
                _ => *state |= ORDINARY_AFTER,
            }
        }
    }

    /// Inserts the directions of the flows that are still settled.
    #[inline]
    pub(super) fn insert_offered(&mut self) {
        let epoch = self.epoch as u8;
        let Self { shunt, table, counters, .. } = self;
        let Some(Shunt { table: shunted, states, offered, held, .. }) = shunt.as_deref_mut() else { return };
        for Offered { slot, side, direction: offered, hash } in offered.drain(..) {
            let (Some(entry), Some(state)) = (table.get(slot), states.get_mut(slot.index())) else { continue };
            // A later packet of the batch may have been the first of another connection, or of the same direction.
            let is_settled = entry.marks & (SETTLED | WATCHED) == SETTLED && direction(&entry.key(), side) == offered;
            if !is_settled || *state >= ONE_PACKET || *state & bit(side) != 0 {
                continue;
            }
            match shunted.insert(hash, epoch) {
                Insertion::Inserted(inserted) => {
                    *state |= bit(side);
                    held.push_back(Held { slot, inserted, since_ns: 0 });
                    counters.add(Counter::ShuntInserted, 1);
                }
                Insertion::Known => *state |= AGAIN_AFTER,
                Insertion::Full => {
                    *state |= ROOM_AFTER;
                    counters.add(Counter::ShuntFull, 1);
                }
            }
        }
    }

    /// Whether settled flows are shunted.
    pub const fn shunts(&self) -> bool {
        self.shunt.is_some()
    }

    /// Opens the directions that were inserted before the packets which the worker has seen by now, stamped up to `seen_ns`.
    /// `now_ns` is the time now, of the clock that stamps them.
    pub fn open_shunted(&mut self, seen_ns: u64, now_ns: u64) {
        let epochs = self.epochs();
        let Self { shunt, table, records, counters, .. } = self;
        let Some(shunt) = shunt.as_deref_mut() else { return };
        // Their insertion was a little earlier.
        shunt
            .held
            .iter_mut()
            .rev()
            .take_while(|held| held.since_ns == 0)
            .for_each(|held| held.since_ns = now_ns.max(1));
        while shunt.held.front().is_some_and(|held| held.since_ns.saturating_add(DISORDER_NS) < seen_ns)
            && let Some(held) = shunt.held.pop_front()
        {
            if let Some(later) = shunt.held.get(OPENED_AHEAD) {
                shunt.table.prefetch_inserted(later.inserted);
            }
            if shunt.table.open(held.inserted) == Opening::Closed
                && let Some(entry) = table.get(held.slot)
            {
                let retired = shunt.retire(held.slot, entry, records, epochs);
                counters.add(Counter::ShuntRetired, retired);
                if let Some(state) = shunt.state(held.slot) {
                    *state = (*state % ONE_PACKET) | AGAIN_AFTER;
                }
            }
        }
    }

    /// Before a sweep: gives flows that are idle by the flow table, but not by the shunt, the time of their last packet there.
    pub(super) fn keep_shunted_flows(&mut self) {
        let (epochs, idle_epochs) = (self.epochs(), self.idle_epochs);
        let Self { shunt, table, .. } = self;
        let Some(shunt) = shunt else { return };
        // The flows of some may end now.
        shunt.offered.clear();
        let mut fetched = Fetched::new();
        for slot in shunt.inserted() {
            let is_idle = table.last_epoch(slot).is_some_and(|last| epochs.age(last) > idle_epochs);
            if is_idle && let Some(entry) = table.get(slot) {
                fetched.push((slot, shunt.fetch(slot, entry)));
                if fetched.is_full() {
                    shunt.keep(&mut fetched, table, epochs, idle_epochs);
                }
            }
        }
        shunt.keep(&mut fetched, table, epochs, idle_epochs);
    }

    /// Takes what was counted of the sighted flows.
    pub(super) fn take_sighted_flows(&mut self) {
        let epochs = self.epochs();
        let Self { shunt, table, records, .. } = self;
        let Some(shunt) = shunt else { return };
        let sighted: Vec<Slot> = records.sighted().map(|record| record.slot).collect();
        for slot in sighted {
            if let Some(entry) = table.get(slot) {
                shunt.take(slot, entry, records, epochs);
            }
        }
    }

    /// Retires the directions of flows that left the table.
    pub(super) fn retire_flows(&mut self, flows: &[(Slot, FlowEntry)]) {
        for (index, (slot, entry)) in flows.iter().enumerate() {
            if let (Some((later, entry)), Some(shunt)) = (flows.get(index + RETIRED_AHEAD), &self.shunt) {
                shunt.prefetch(*later, entry);
            }
            self.retire_flow(*slot, entry);
        }
    }

    /// Retires the directions of a flow.
    pub(super) fn retire_flow(&mut self, slot: Slot, entry: &FlowEntry) {
        let epochs = self.epochs();
        if let Some(shunt) = &mut self.shunt {
            let retired = shunt.retire(slot, entry, &mut self.records, epochs);
            self.counters.add(Counter::ShuntRetired, retired);
        }
    }

    /// Retires the directions of all flows, as before the end of the worker.
    pub fn retire_all_flows(&mut self) {
        let shunted: Vec<Slot> = self.shunt.iter().flat_map(|shunt| shunt.inserted()).collect();
        for slots in shunted.chunks(RETIRED_AT_ONCE) {
            let flows = slots.iter().filter_map(|&slot| Some((slot, *self.table.get(slot)?)));
            self.retire_flows(&flows.collect::<ArrayVec<_, RETIRED_AT_ONCE>>());
        }
    }

    /// Begins anew with the same table and no flow. What was shunted of the flows before is counted for nobody.
    pub(super) fn shunt_anew(&mut self) -> Option<Box<Shunt>> {
        self.retire_all_flows();
        let mut shunt = self.shunt.take()?;
        shunt.states.fill(0);
        shunt.offered.clear();
        shunt.held.clear();
        Some(shunt)
    }
}

const fn bit(side: Side) -> u16 {
    match side {
        Side::Low => FROM_LOW,
        Side::High => FROM_HIGH,
    }
}

/// The ends whose packets are shunted.
fn sides(state: u16) -> impl Iterator<Item = Side> {
    [Side::Low, Side::High].into_iter().filter(move |&side| state & bit(side) != 0)
}

/// Whether another packet of the direction may have one of another flow in it.
fn may_be_tunnel(direction: &Direction) -> bool {
    const UDP: u8 = 17;
    direction.protocol == UDP && may_be_tunnel_port(direction.source_port, direction.destination_port)
}

/// The direction of a flow's packets from one end.
const fn direction(key: &FlowKey, from: Side) -> Direction {
    let low = (key.low.0, key.low_port());
    let high = (key.high.0, key.high_port());
    let (source, destination) = match from {
        Side::Low => (low, high),
        Side::High => (high, low),
    };
    Direction {
        source: source.0,
        destination: destination.0,
        source_port: source.1,
        destination_port: destination.1,
        network: key.network(),
        protocol: key.protocol,
    }
}

/// Adds what was shunted to a flow's record. A flow without a record has no event that could show it.
fn add(record: Option<&mut FlowRecord>, from: Side, counted: &Counted, epochs: Epochs) {
    let Some(record) = record.filter(|_| counted.packets > 0) else { return };
    let [low, high] = &mut **record.earlier_counts.get_or_insert_default();
    let total = if from == Side::Low { low } else { high };
    total.0 += counted.packets;
    total.1 += counted.bytes;
    record.last_seen_ns = record.last_seen_ns.max(epochs.start_ns(counted.epoch));
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use vigie_capture::live::shunt::measure::ordinary_frame;
    use vigie_decode::{DecodeLimits, Decoded};
    use vigie_flow::headers::PacketKind;
    use vigie_wire::LinkType;

    fn decoded(data: &[u8]) -> Option<PacketHeaders> {
        let wire_length = data.len() as u32;
        let frame =
            Frame { timestamp_ns: 1, number: 1, wire_length, link_type: LinkType::ETHERNET, interface: 0, data };
        match vigie_decode::decode(&frame, &DecodeLimits::default()) {
            Ok(Decoded::Packet(packet)) => Some(PacketHeaders::of_packet(&packet)),
            _ => None,
        }
    }

    #[test]
    fn ordinary_frames_can_be_shunted() {
        for vlans in [&[][..], &[0], &[10], &[0, 10], &[10, 11]] {
            for (is_v6, is_udp) in [(false, false), (false, true), (true, false), (true, true)] {
                let bytes = ordinary_frame(vlans, is_v6, is_udp, 1, &[0x41; 32]);
                let headers = decoded(&bytes).unwrap();
                assert_eq!(Direction::of_frame(&bytes), Some((direction(&headers.key, headers.side), false)));
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]
        /// What the program may drop is for the worker a packet of the same flow, of which a settled flow needs nothing.
        #[test]
        fn no_packet_is_shunted_that_the_worker_needs(
            (vlans, is_v6, is_udp) in (vec(0..4_u16, 0..4), any::<bool>(), any::<bool>()),
            payload in vec(any::<u8>(), 0..64),
            changes in vec((12..100_usize, any::<u8>()), 0..4),
            kept in 14..200_usize,
        ) {
            let mut bytes = ordinary_frame(&vlans, is_v6, is_udp, 1, &payload);
            for (place, value) in changes {
                if let Some(byte) = bytes.get_mut(place) {
                    *byte = value;
                }
            }
            bytes.truncate(kept);
            if let Some((read, closes)) = Direction::of_frame(&bytes)
                && !may_be_tunnel(&read)
            {
                let headers = decoded(&bytes);
                prop_assert!(headers.is_some());
                let headers = headers.unwrap();
                prop_assert_eq!(direction(&headers.key, headers.side), read);
                prop_assert!(closes || headers.kind != PacketKind::MayOpen);
            }
        }
    }
}
