//! Step 3: handle a packet that the fast path did not settle. Fragments are reassembled, the flow is found or added, and
//! the payload goes to `tcp.rs` or `udp.rs`.

use vigie_decode::fragments::{Datagram, Fragment, Origin};
use vigie_decode::{Address, DecodeError, Decoded, Encapsulation, Segment, Transport};
use vigie_flow::{FlowEntry, FlowKey, Lookup, PacketHeaders, Side, Slot};
use vigie_wire::Frame;

use super::dns::is_dns_packet;
use super::flows::{DISPUTED, FOREIGN, SETTLED, WATCHED};
use super::{Counter, OwnCounts, ParsedFrame, Worker};
use crate::event::{Event, FlowEnd, Order};

/// When and where a frame was captured.
#[derive(Clone, Copy, Debug)]
pub(super) struct FrameInfo {
    pub(super) timestamp_ns: u64,
    pub(super) number: u64,
    pub(super) wire_length: u32,
    pub(super) interface: u16,
}

impl FrameInfo {
    pub(super) const fn of(frame: &Frame<'_>) -> Self {
        Self {
            timestamp_ns: frame.timestamp_ns,
            number: frame.number,
            wire_length: frame.wire_length,
            interface: frame.interface,
        }
    }
}

/// The frame that several packets are from, and the order of their events.
struct PacketSource {
    frame: FrameInfo,
    at_frame: u64,
    last_frame: u64,
    /// Packets handled so far.
    packets: u16,
}

impl PacketSource {
    const fn of(frame: &Frame<'_>) -> Self {
        Self { frame: FrameInfo::of(frame), at_frame: frame.number, last_frame: u64::MAX, packets: 0 }
    }

    /// The order of the next packet's events. Each packet has room for its own, so that their order does not depend on which
    /// worker handles it.
    fn next_order(&mut self) -> Order {
        let ordinal = u32::from(self.packets) << 16;
        self.packets = self.packets.saturating_add(1);
        Order { at_frame: self.at_frame, last_frame: self.last_frame, ordinal }
    }
}

/// A packet and the key of its flow.
#[derive(Clone, Copy)]
pub(super) struct FlowPacket<'p> {
    pub(super) frame: FrameInfo,
    pub(super) key: &'p FlowKey,
    /// The end of the flow that sent the packet.
    pub(super) side: Side,
    pub(super) hash: u64,
    pub(super) transport: Transport<'p>,
    pub(super) encapsulation: EncapsulationSource<'p>,
}

/// Where to read the VLANs and tunnels of a packet. Only the first packet of a flow needs them.
#[derive(Clone, Copy)]
pub(super) enum EncapsulationSource<'p> {
    /// The frame is plain.
    Frame(&'p Frame<'p>),
    /// The frame was decoded to this one packet.
    DecodedFrame(&'p Frame<'p>, &'p Encapsulation),
    /// The packet is one of several of a frame, or was reassembled.
    Decoded(&'p Encapsulation),
}

impl FlowPacket<'_> {
    pub(super) fn encapsulation(&self) -> Encapsulation {
        match self.encapsulation {
            EncapsulationSource::Frame(frame) => PacketHeaders::encapsulation(frame),
            EncapsulationSource::DecodedFrame(_, encapsulation) | EncapsulationSource::Decoded(encapsulation) => {
                *encapsulation
            }
        }
    }

    /// The destination address.
    pub(super) const fn destination(&self) -> Address {
        match self.side {
            Side::Low => self.key.high,
            Side::High => self.key.low,
        }
    }

    /// Source port and destination port.
    pub(super) const fn ports(&self) -> (u16, u16) {
        match self.side {
            Side::Low => (self.key.low_port(), self.key.high_port()),
            Side::High => (self.key.high_port(), self.key.low_port()),
        }
    }
}

impl Worker {
    /// Handles a frame. `decoded` is `None` for a plain one.
    pub(super) fn handle_frame<'f>(
        &mut self,
        frame: &Frame<'f>,
        parsed: &ParsedFrame,
        decoded: Option<&Result<Decoded<'f>, DecodeError>>,
        slot: Option<Slot>,
        emit: &mut dyn FnMut(Event),
    ) {
        self.advance_clock(frame, emit);
        let ParsedFrame { headers, hash, .. } = parsed;
        let (transport, encapsulation) = match decoded {
            None => match headers.transport(frame) {
                Some(transport) => (transport, EncapsulationSource::Frame(frame)),
                None => return,
            },
            Some(Ok(Decoded::Packet(packet))) => {
                (packet.transport, EncapsulationSource::DecodedFrame(frame, &packet.encapsulation))
            }
            Some(several) => return self.handle_decoded(&mut PacketSource::of(frame), several, emit),
        };
        let (key, side, hash) = (&headers.key, headers.side, *hash);
        let frame = FrameInfo::of(frame);
        self.order = Order { at_frame: frame.number, last_frame: u64::MAX, ordinal: 0 };
        self.handle_packet(&FlowPacket { frame, key, side, hash, transport, encapsulation }, slot, emit);
    }

    fn count_decode_error(&mut self, error: DecodeError) {
        if let Some(count) = self.decode_errors.get_mut(error.index()) {
            *count += 1;
        }
    }

    /// Handles what a frame or a reassembled datagram was decoded to, which may be several packets. The recursion ends, because
    /// each reassembly and each tunnel counts as a level of encapsulation.
    #[cold]
    fn handle_decoded(
        &mut self,
        source: &mut PacketSource,
        decoded: &Result<Decoded<'_>, DecodeError>,
        emit: &mut dyn FnMut(Event),
    ) {
        match decoded {
            Ok(Decoded::Packet(packet)) => {
                let (key, side) = FlowKey::of(packet);
                let packet = FlowPacket {
                    frame: source.frame,
                    key: &key,
                    side,
                    hash: self.table.hash(&key),
                    transport: packet.transport,
                    encapsulation: EncapsulationSource::Decoded(&packet.encapsulation),
                };
                self.order = source.next_order();
                self.handle_packet(&packet, None, emit);
            }
            Ok(Decoded::Aggregate(aggregate)) => {
                for subframe in *aggregate {
                    source.frame.wire_length = subframe.wire_length;
                    self.handle_decoded(source, &subframe.decoded, emit);
                }
            }
            Ok(Decoded::Fragment(fragment)) => self.handle_fragment(source, fragment, emit),
            Err(error) => self.count_decode_error(*error),
        }
    }

    /// Reassembles fragments, and handles all readings of the datagram when it is complete.
    fn handle_fragment(&mut self, source: &mut PacketSource, fragment: &Fragment<'_>, emit: &mut dyn FnMut(Event)) {
        let FrameInfo { timestamp_ns, number, interface, .. } = source.frame;
        let mut readings = self.reassembler.insert(fragment, &Origin { timestamp_ns, frame_number: number, interface });
        while let Some(datagram) = self.reassembler.next_reading(&mut readings) {
            self.handle_datagram(source, datagram, emit);
        }
    }

    fn handle_datagram(&mut self, source: &mut PacketSource, datagram: Datagram, emit: &mut dyn FnMut(Event)) {
        let decoded = vigie_decode::decode_reassembled(&datagram, &self.decode_limits);
        let was_disputed = self.is_disputed;
        self.is_disputed |= datagram.is_disputed;
        self.handle_decoded(source, &decoded, emit);
        self.is_disputed = was_disputed;
        self.reassembler.recycle(datagram);
    }

    /// Handles the first parts of datagrams whose other fragments did not come in time.
    pub(super) fn end_expired_datagrams(&mut self, now_ns: u64, at_frame: u64, emit: &mut dyn FnMut(Event)) {
        let mut parts = 0;
        while let Some(datagram) = self.reassembler.next_expired(now_ns) {
            parts = self.handle_first_part(datagram, at_frame, parts, emit);
        }
    }

    /// Handles the first parts of all datagrams that were not completed.
    pub(super) fn end_all_datagrams(&mut self, emit: &mut dyn FnMut(Event)) {
        let mut parts = 0;
        while let Some(datagram) = self.reassembler.next_remaining() {
            parts = self.handle_first_part(datagram, u64::MAX - 1, parts, emit);
        }
    }

    /// Handles the first part of a datagram, after so many packets in others; gives their number.
    fn handle_first_part(
        &mut self,
        datagram: Datagram,
        at_frame: u64,
        packets: u16,
        emit: &mut dyn FnMut(Event),
    ) -> u16 {
        let Origin { timestamp_ns, frame_number, interface } = datagram.origin;
        let wire_length = datagram.payload.len() as u32;
        let mut source = PacketSource {
            frame: FrameInfo { timestamp_ns, number: frame_number, wire_length, interface },
            at_frame,
            // After the flows that timed out, before what the frame itself shows.
            last_frame: u64::MAX - 1,
            packets,
        };
        self.handle_datagram(&mut source, datagram, emit);
        source.packets
    }

    /// Handles a packet if the worker owns its flow, or if it is DNS.
    fn handle_packet(&mut self, packet: &FlowPacket<'_>, slot: Option<Slot>, emit: &mut dyn FnMut(Event)) {
        if !self.share.owns(packet.hash) {
            if is_dns_packet(packet) {
                self.handle_foreign_dns(packet, emit);
            }
            return;
        }
        self.counters.add(Counter::Packets, 1);
        #[cfg(debug_assertions)]
        assert!(self.panic_port.is_none_or(|port| !packet.key.has_port(port)), "a test asks for this panic");
        self.handle_flow_packet(packet, slot, emit);
    }

    /// Handles a DNS packet that another worker owns: its answers are remembered, but nothing of its flow is counted or
    /// emitted.
    #[cold]
    fn handle_foreign_dns(&mut self, packet: &FlowPacket<'_>, emit: &mut dyn FnMut(Event)) {
        self.own_counts = Some(self.counts());
        self.handle_flow_packet(packet, None, emit);
        if let Some(own) = self.own_counts.take() {
            self.set_counts(own);
        }
    }

    /// Ends other flows than the packet's, to make room: they are counted and told even if the packet is another worker's.
    pub(super) fn make_room(&mut self, end: impl FnOnce(&mut Self)) {
        let Some(own) = self.own_counts.take() else { return end(self) };
        self.set_counts(own);
        end(self);
        self.own_counts = Some(self.counts());
    }

    /// The packet being handled belongs to another worker's flow.
    pub(super) const fn is_foreign(&self) -> bool {
        self.own_counts.is_some()
    }

    fn counts(&self) -> OwnCounts {
        (self.counters.values(), self.handshake_counters.clone())
    }

    fn set_counts(&mut self, (values, handshake): OwnCounts) {
        self.counters.set_values(values);
        self.handshake_counters = handshake;
    }

    /// Finds or adds the flow of a packet, counts the packet there, and inspects its payload.
    fn handle_flow_packet(&mut self, packet: &FlowPacket<'_>, slot: Option<Slot>, emit: &mut dyn FnMut(Event)) {
        let slot = self.find_or_open_flow(packet, slot, emit);
        let Some(entry) = self.table.get_mut(slot) else { return };
        let counter = match packet.side {
            Side::Low => &mut entry.from_low,
            Side::High => &mut entry.from_high,
        };
        let is_full = FlowEntry::count(counter, packet.frame.wire_length);
        if self.is_disputed {
            entry.marks |= DISPUTED;
        }
        let (marks, record_id) = (entry.marks, entry.record);
        if is_full {
            self.move_counts_to_record(slot);
        }
        match &packet.transport {
            Transport::Tcp(segment) => {
                let is_syn = segment.flags & (Segment::SYN | Segment::ACK) == Segment::SYN;
                if marks & SETTLED != 0 && !is_syn {
                    self.update_last_seen(record_id, &packet.frame);
                    return if marks & WATCHED != 0 {
                        self.watch_segment(packet, segment, slot, emit)
                    };
                }
                self.handle_tcp(packet, segment, slot, emit);
            }
            Transport::Udp(datagram) => {
                if marks & SETTLED != 0 {
                    if !self.opens_another_connection(slot, packet.side, datagram.payload) {
                        return self.update_last_seen(record_id, &packet.frame);
                    }
                    self.restart_flow(slot, packet, FlowEnd::Timeout, emit);
                }
                self.handle_udp(packet, datagram, slot, emit);
            }
            // No other transport carries a hello.
            Transport::Other => {
                self.set_mark(slot, SETTLED);
                if self.event_types.flows {
                    self.record_of(slot, packet, emit);
                }
            }
        }
    }

    #[inline]
    fn find_or_open_flow(&mut self, packet: &FlowPacket<'_>, slot: Option<Slot>, emit: &mut dyn FnMut(Event)) -> Slot {
        let epoch = self.epoch as u8;
        let lookup = match slot {
            Some(slot) => Lookup::Known(slot),
            None => self.table.find_or_insert(packet.key, packet.hash, epoch),
        };
        match lookup {
            Lookup::Known(slot) => {
                if epoch.wrapping_sub(self.table.touch(slot, epoch)) > self.idle_epochs {
                    self.counters.add(Counter::FlowsTimedOut, 1);
                    self.restart_flow(slot, packet, FlowEnd::Timeout, emit);
                }
                slot
            }
            Lookup::New(slot) => {
                self.open_flow(slot, packet);
                slot
            }
            Lookup::Replaced(slot, old) => {
                self.make_room(|worker| {
                    worker.counters.add(Counter::FlowsEvicted, u64::from(old.marks & FOREIGN == 0));
                    worker.end_flow(slot, &old, FlowEnd::Evicted, emit);
                });
                self.open_flow(slot, packet);
                slot
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::Arc;

    use vigie_flow::HashKey;
    use vigie_handshake::address_names::AddressNames;
    use vigie_signatures::Bundle;
    use vigie_wire::LinkType;

    use super::*;
    use crate::event::Fact;
    use crate::settings::Limits;
    use crate::worker::{EventTypes, Share};

    /// A datagram over IPv4, without checksums.
    fn datagram(client: u16, port: u16) -> Vec<u8> {
        let payload = b"\x00\x01\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01a\x00\x00\x01\x00\x01";
        let udp_length = 8 + payload.len() as u16;
        let mut bytes = vec![0x45, 0, 0, udp_length as u8 + 20, 0, 0, 0, 0, 64, 17, 0, 0];
        bytes.extend([10, 0]);
        bytes.extend(client.to_be_bytes());
        bytes.extend([192, 0, 2, 53]);
        bytes.extend([40_000, port, udp_length, 0].iter().flat_map(|number: &u16| number.to_be_bytes()));
        bytes.extend(payload);
        bytes
    }

    /// A frame so many nanoseconds after the first.
    fn frame(number: u64, after_ns: u16, data: &[u8]) -> Frame<'_> {
        Frame {
            timestamp_ns: 1_700_000_000_000_000_000 + u64::from(after_ns),
            number,
            wire_length: data.len() as u32,
            link_type: LinkType::IPV4,
            interface: 0,
            data,
        }
    }

    #[test]
    fn flows_that_make_room_for_dns_of_another_worker_are_told() {
        const FLOWS: u16 = 3_000;
        let mut limits = Limits::default();
        limits.set("flows_max", 64).unwrap();
        let names = Arc::new(AddressNames::new(Default::default()));
        let mut ended = HashMap::<Address, u32>::new();
        for index in 0..2 {
            let event_types = EventTypes { flows: true, ..EventTypes::default() };
            let share = Share { index, count: 2 };
            let mut worker =
                Worker::new(&limits, event_types, Bundle::builtin(), Arc::clone(&names), HashKey::REPLAY, share);
            let mut own = 0_u64;
            let mut emit = |event: Event| {
                if let Fact::FlowEnd(flow, ..) = event.fact {
                    own += 1;
                    *ended.entry(flow.client).or_default() += 1;
                }
            };
            for number in 0..FLOWS {
                // One of five is for a port that has nothing to do with names.
                let data = datagram(number, if number % 5 == 0 { 9_999 } else { 53 });
                worker.batch(&[frame(u64::from(number) + 1, number, &data)], &mut emit);
            }
            worker.finish(&mut emit);
            let values = worker.counters.values();
            assert_eq!(values[Counter::Flows as usize], own);
            assert!(values[Counter::FlowsEvicted as usize] > own / 2, "the table was too large for the test");
        }
        assert_eq!(ended.len(), usize::from(FLOWS));
        assert!(ended.values().all(|&times| times == 1));
    }

    #[test]
    fn a_growing_table_keeps_the_flows_and_their_records() {
        const FLOWS: u16 = 50_000;
        let names = Arc::new(AddressNames::new(Default::default()));
        let event_types = EventTypes { flows: true, ..EventTypes::default() };
        let mut worker =
            Worker::new(&Limits::default(), event_types, Bundle::builtin(), names, HashKey::REPLAY, Share::ALL)
                .with_growing_table();
        let first_slots = worker.flows().1;
        let mut ended = HashMap::<Address, Vec<u64>>::new();
        let mut emit = |event: Event| {
            if let Fact::FlowEnd(flow, ..) = event.fact {
                ended.entry(flow.client).or_default().push(flow.packets_to_server);
            }
        };
        for round in 0..2 {
            for number in 0..FLOWS {
                let data = datagram(number, 9_999);
                worker.batch(&[frame(round * u64::from(FLOWS) + u64::from(number) + 1, number, &data)], &mut emit);
            }
        }
        let (flows, slots) = worker.flows();
        assert!(
            flows == usize::from(FLOWS) && slots > 2 * first_slots,
            "{flows} flows, {first_slots} slots, then {slots}"
        );
        worker.finish(&mut emit);
        assert_eq!(ended.len(), usize::from(FLOWS));
        assert!(ended.values().all(|packets| *packets == [2]));
    }
}
