//! A packet that has something to tell: fragments are joined, its flow is found or added, and the handshake goes on.

use vigie_decode::fragments::Fragment;
use vigie_decode::{Address, DecodeError, Decoded, Encapsulation, Segment, Transport, UdpDatagram};
use vigie_flow::{FlowEntry, FlowKey, Lookup, PacketHeaders, Side, Slot};
use vigie_wire::Frame;

use super::flows::SETTLED;
use super::{Counter, DNS_PORT, Look, Worker};
use crate::event::{Event, FlowEnd, Order};

/// When and where a packet was seen.
#[derive(Clone, Copy, Debug)]
pub(super) struct When {
    pub(super) timestamp_ns: u64,
    pub(super) number: u64,
    pub(super) wire_length: u32,
    pub(super) interface: u16,
}

impl When {
    pub(super) const fn of(frame: &Frame<'_>) -> Self {
        Self {
            timestamp_ns: frame.timestamp_ns,
            number: frame.number,
            wire_length: frame.wire_length,
            interface: frame.interface,
        }
    }
}

/// A packet that comes to its flow.
#[derive(Clone, Copy)]
pub(super) struct Arrival<'p> {
    pub(super) when: When,
    pub(super) key: &'p FlowKey,
    pub(super) side: Side,
    pub(super) hash: u64,
    pub(super) transport: Transport<'p>,
    pub(super) wrapping: Wrapping<'p>,
}

/// Where to learn what stands around a packet, which is asked only of a flow's first.
#[derive(Clone, Copy)]
pub(super) enum Wrapping<'p> {
    /// In the frame, for which a glance was enough.
    OfFrame(&'p Frame<'p>),
    /// The packet was decoded.
    Decoded(&'p Encapsulation),
}

impl Arrival<'_> {
    pub(super) fn encapsulation(&self) -> Encapsulation {
        match self.wrapping {
            Wrapping::OfFrame(frame) => PacketHeaders::encapsulation(frame),
            Wrapping::Decoded(encapsulation) => *encapsulation,
        }
    }

    /// The receiver's address.
    pub(super) const fn destination(&self) -> Address {
        match self.side {
            Side::Low => self.key.high,
            Side::High => self.key.low,
        }
    }

    /// The sender's port and the receiver's.
    pub(super) const fn ports(&self) -> (u16, u16) {
        match self.side {
            Side::Low => (self.key.low_port(), self.key.high_port()),
            Side::High => (self.key.high_port(), self.key.low_port()),
        }
    }
}

impl Worker {
    /// Takes a frame with more to it than to be counted. It was decoded before if a glance was not enough.
    pub(super) fn unsettled<'f>(
        &mut self,
        frame: &Frame<'f>,
        look: &Look,
        decoded: Option<&Result<Decoded<'f>, DecodeError>>,
        slot: Option<Slot>,
        emit: &mut dyn FnMut(Event),
    ) {
        self.advance(frame, emit);
        let Look { headers, hash, .. } = look;
        let (transport, wrapping) = match decoded {
            None => match headers.transport(frame) {
                Some(transport) => (transport, Wrapping::OfFrame(frame)),
                None => return,
            },
            Some(Ok(Decoded::Packet(packet))) => (packet.transport, Wrapping::Decoded(&packet.encapsulation)),
            Some(Ok(Decoded::Fragment(fragment))) => return self.fragment(frame, fragment, emit),
            Some(Err(error)) => return self.count_unreadable(*error),
        };
        let (key, side, hash) = (&headers.key, headers.side, *hash);
        self.packet(&Arrival { when: When::of(frame), key, side, hash, transport, wrapping }, slot, emit);
    }

    fn count_unreadable(&mut self, error: DecodeError) {
        if let Some(count) = self.unreadable.get_mut(error.index()) {
            *count += 1;
        }
    }

    /// Joins fragments, and goes on with the datagram when it is whole; which may again be a fragment, of a packet
    /// within: each join counts as a header of encapsulation, so this ends.
    #[cold]
    fn fragment(&mut self, frame: &Frame<'_>, fragment: &Fragment<'_>, emit: &mut dyn FnMut(Event)) {
        let Some(datagram) = self.fragments.insert(fragment, frame.timestamp_ns) else { return };
        match vigie_decode::decode_reassembled(&datagram, &self.decode_limits) {
            Ok(Decoded::Packet(packet)) => {
                let (key, side) = FlowKey::of(&packet);
                let (hash, wrapping) = (self.table.hash(&key), Wrapping::Decoded(&packet.encapsulation));
                let when = When::of(frame);
                self.packet(
                    &Arrival { when, key: &key, side, hash, transport: packet.transport, wrapping },
                    None,
                    emit,
                );
            }
            Ok(Decoded::Fragment(inner)) => self.fragment(frame, &inner, emit),
            Err(error) => self.count_unreadable(error),
        }
        self.fragments.recycle(datagram);
    }

    pub(super) fn packet(&mut self, arrival: &Arrival<'_>, slot: Option<Slot>, emit: &mut dyn FnMut(Event)) {
        self.order = Order { told_at: arrival.when.number, last_frame: u64::MAX, ordinal: 0 };
        if !self.share.owns(arrival.hash) {
            if arrival.key.has_port(DNS_PORT) {
                self.foreign(arrival);
            }
            return;
        }
        self.counters.add(Counter::Packets, 1);
        self.own(arrival, slot, emit);
    }

    /// A packet of DNS that is another worker's: followed for the names that it tells, but not told.
    #[cold]
    fn foreign(&mut self, arrival: &Arrival<'_>) {
        let (counters, handshake_counters) = (self.counters.clone(), self.handshake_counters.clone());
        self.is_muted = true;
        self.own(arrival, None, &mut |_| {});
        self.is_muted = false;
        (self.counters, self.handshake_counters) = (counters, handshake_counters);
    }

    pub(super) fn own(&mut self, arrival: &Arrival<'_>, slot: Option<Slot>, emit: &mut dyn FnMut(Event)) {
        let epoch = self.epoch as u8;
        let found = match slot {
            Some(slot) => Lookup::Known(slot),
            None => self.table.find_or_insert(arrival.key, arrival.hash, epoch),
        };
        let slot = match found {
            Lookup::Known(slot) => {
                if epoch.wrapping_sub(self.table.touch(slot, epoch)) > self.idle_epochs {
                    self.counters.add(Counter::FlowsTimedOut, 1);
                    self.reopen(slot, arrival, FlowEnd::Timeout, emit);
                }
                slot
            }
            Lookup::New(slot) => {
                self.open(slot, arrival);
                slot
            }
            Lookup::Replaced(slot, old) => {
                self.counters.add(Counter::FlowsEvicted, 1);
                self.close(&old, FlowEnd::Evicted, emit);
                self.open(slot, arrival);
                slot
            }
        };
        let Some(entry) = self.table.get_mut(slot) else { return };
        let counter = match arrival.side {
            Side::Low => &mut entry.from_low,
            Side::High => &mut entry.from_high,
        };
        let is_full = FlowEntry::count(counter, arrival.when.wire_length);
        let (marks, number) = (entry.marks, entry.record);
        if is_full {
            self.spill(slot);
        }
        match arrival.transport {
            Transport::Tcp(segment) => {
                let is_syn = segment.flags & (Segment::SYN | Segment::ACK) == Segment::SYN;
                if marks & SETTLED != 0 && !is_syn {
                    return self.seen(number, &arrival.when);
                }
                self.tcp(arrival, &segment, slot, emit);
            }
            Transport::Udp(UdpDatagram { payload, .. }) => {
                if marks & SETTLED != 0 {
                    if !self.is_another_connection(slot, arrival.side, payload) {
                        return self.seen(number, &arrival.when);
                    }
                    self.reopen(slot, arrival, FlowEnd::Timeout, emit);
                }
                self.udp(arrival, payload, slot, emit);
            }
            // No hello comes over anything else.
            Transport::Other => {
                self.mark(slot, SETTLED);
                self.seen(number, &arrival.when);
            }
        }
    }
}
