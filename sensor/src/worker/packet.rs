//! Step 3: handle a packet that the fast path did not settle. Fragments are reassembled, the flow is found or added, and
//! the payload goes to `tcp.rs` or `udp.rs`.

use vigie_decode::fragments::Fragment;
use vigie_decode::{Address, DecodeError, Decoded, Encapsulation, Segment, Transport};
use vigie_flow::{FlowEntry, FlowKey, Lookup, PacketHeaders, Side, Slot};
use vigie_wire::Frame;

use super::flows::{SETTLED, WATCHED};
use super::{Counter, DNS_PORT, ParsedFrame, Worker};
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
    /// The frame was decoded.
    Decoded(&'p Encapsulation),
}

impl FlowPacket<'_> {
    pub(super) fn encapsulation(&self) -> Encapsulation {
        match self.encapsulation {
            EncapsulationSource::Frame(frame) => PacketHeaders::encapsulation(frame),
            EncapsulationSource::Decoded(encapsulation) => *encapsulation,
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
                (packet.transport, EncapsulationSource::Decoded(&packet.encapsulation))
            }
            Some(Ok(Decoded::Fragment(fragment))) => return self.handle_fragment(frame, fragment, emit),
            Some(Err(error)) => return self.count_decode_error(*error),
        };
        let (key, side, hash) = (&headers.key, headers.side, *hash);
        let frame = FrameInfo::of(frame);
        self.handle_packet(&FlowPacket { frame, key, side, hash, transport, encapsulation }, slot, emit);
    }

    fn count_decode_error(&mut self, error: DecodeError) {
        if let Some(count) = self.decode_errors.get_mut(error.index()) {
            *count += 1;
        }
    }

    /// Reassembles fragments, and handles the datagram when it is complete. The datagram may hold a fragment of an inner
    /// packet. The recursion ends, because each reassembly counts as a level of encapsulation.
    #[cold]
    fn handle_fragment(&mut self, frame: &Frame<'_>, fragment: &Fragment<'_>, emit: &mut dyn FnMut(Event)) {
        let Some(datagram) = self.fragments.insert(fragment, frame.timestamp_ns) else { return };
        match vigie_decode::decode_reassembled(&datagram, &self.decode_limits) {
            Ok(Decoded::Packet(packet)) => {
                let (key, side) = FlowKey::of(&packet);
                let packet = FlowPacket {
                    frame: FrameInfo::of(frame),
                    key: &key,
                    side,
                    hash: self.table.hash(&key),
                    transport: packet.transport,
                    encapsulation: EncapsulationSource::Decoded(&packet.encapsulation),
                };
                self.handle_packet(&packet, None, emit);
            }
            Ok(Decoded::Fragment(inner)) => self.handle_fragment(frame, &inner, emit),
            Err(error) => self.count_decode_error(error),
        }
        self.fragments.recycle(datagram);
    }

    /// Handles a packet if the worker owns its flow, or if it is DNS.
    fn handle_packet(&mut self, packet: &FlowPacket<'_>, slot: Option<Slot>, emit: &mut dyn FnMut(Event)) {
        self.order = Order { at_frame: packet.frame.number, last_frame: u64::MAX, ordinal: 0 };
        if !self.share.owns(packet.hash) {
            if packet.key.has_port(DNS_PORT) {
                self.handle_foreign_dns(packet);
            }
            return;
        }
        self.counters.add(Counter::Packets, 1);
        self.handle_flow_packet(packet, slot, emit);
    }

    /// Handles a DNS packet that another worker owns: its answers are remembered, but nothing is counted or emitted.
    #[cold]
    fn handle_foreign_dns(&mut self, packet: &FlowPacket<'_>) {
        let (counters, handshake_counters) = (self.counters.clone(), self.handshake_counters.clone());
        self.is_foreign = true;
        self.handle_flow_packet(packet, None, &mut |_| {});
        self.is_foreign = false;
        (self.counters, self.handshake_counters) = (counters, handshake_counters);
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
        let (marks, record_id) = (entry.marks, entry.record);
        if is_full {
            self.move_counts_to_record(slot);
        }
        match packet.transport {
            Transport::Tcp(segment) => {
                let is_syn = segment.flags & (Segment::SYN | Segment::ACK) == Segment::SYN;
                if marks & SETTLED != 0 && !is_syn {
                    self.update_last_seen(record_id, &packet.frame);
                    return if marks & WATCHED != 0 {
                        self.watch_segment(packet, &segment, slot, emit)
                    };
                }
                self.handle_tcp(packet, &segment, slot, emit);
            }
            Transport::Udp(datagram) => {
                if marks & SETTLED != 0 {
                    if !self.opens_another_connection(slot, packet.side, datagram.payload) {
                        return self.update_last_seen(record_id, &packet.frame);
                    }
                    self.restart_flow(slot, packet, FlowEnd::Timeout, emit);
                }
                self.handle_udp(packet, &datagram, slot, emit);
            }
            // No other transport carries a hello.
            Transport::Other => {
                self.set_mark(slot, SETTLED);
                self.update_last_seen(record_id, &packet.frame);
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
                self.counters.add(Counter::FlowsEvicted, 1);
                self.close_flow(&old, FlowEnd::Evicted, emit);
                self.open_flow(slot, packet);
                slot
            }
        }
    }
}
