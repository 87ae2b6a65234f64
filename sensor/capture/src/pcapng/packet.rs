//! Packet blocks: enhanced, simple and obsolete (draft-ietf-opsawg-pcapng §4.3, §4.4, appendix A).

use super::{BLOCK_HEADER_BYTES, Block, ENHANCED_PACKET, OBSOLETE_PACKET, Pcapng, SIMPLE_PACKET};
use crate::FRAME_BYTES_MAX;
use crate::record::Record;
use vigie_wire::LinkType;

/// What a packet block holds.
pub(super) enum Packet {
    Record(Record),
    /// A frame of an interface that the section does not describe. The record only counts it.
    NoInterface(Record),
    Damaged(&'static str),
}

impl Pcapng {
    #[inline]
    pub(super) fn packet(&mut self, block: Block<'_>) -> Packet {
        self.packet_with(block, block.body.len())
    }

    /// The record of the block at the start of `rest`, which ends within the block, with the bytes that are there.
    pub(crate) fn cut_record(&mut self, rest: &[u8]) -> Option<Record> {
        let (header, body) = rest.split_first_chunk::<BLOCK_HEADER_BYTES>()?;
        let &[k0, k1, k2, k3, ..] = header;
        let kind = if self.is_understood { self.order.u32([k0, k1, k2, k3]) } else { 0 };
        let fixed = match kind {
            ENHANCED_PACKET | OBSOLETE_PACKET => 20,
            SIMPLE_PACKET => 4,
            _ => return None,
        };
        let there = u32::try_from(body.len().checked_sub(fixed).filter(|&there| there > 0)?).ok()?;
        let block = Block { kind, length: usize::MAX, body };
        let mut record = match self.packet_with(block, usize::MAX) {
            Packet::Record(record) | Packet::NoInterface(record) => record,
            Packet::Damaged(_) => return None,
        };
        record.start = record.start.saturating_add(BLOCK_HEADER_BYTES);
        record.length = record.length.min(there);
        Some(record)
    }

    /// The record of a packet block whose body should have `body_length` bytes. Its start counts from that of the body.
    #[inline]
    fn packet_with(&mut self, block: Block<'_>, body_length: usize) -> Packet {
        if block.kind == SIMPLE_PACKET {
            return self.simple_packet(block.body, body_length);
        }
        let Some(&[i0, i1, i2, i3, h0, h1, h2, h3, t0, t1, t2, t3, c0, c1, c2, c3, w0, w1, w2, w3]) =
            block.body.first_chunk::<20>()
        else {
            return Packet::Damaged("a packet block too short; it and what follows are not read");
        };
        let order = self.order;
        // The obsolete block has an interface number of 16 bits, and a count of lost frames in the other 16.
        let interface = if block.kind == ENHANCED_PACKET {
            order.u32([i0, i1, i2, i3]) as usize
        } else {
            usize::from(order.u16([i0, i1]))
        };
        let ticks = u64::from(order.u32([h0, h1, h2, h3])) << 32 | u64::from(order.u32([t0, t1, t2, t3]));
        let captured = order.u32([c0, c1, c2, c3]);
        let wire = order.u32([w0, w1, w2, w3]);
        if captured as usize > FRAME_BYTES_MAX || captured as usize > body_length - 20 {
            return Packet::Damaged(
                "a frame longer than its block or than any can be; it and what follows are not read",
            );
        }
        let Some(interface) = self.interfaces.get(interface) else {
            return Packet::NoInterface(self.no_interface(wire));
        };
        self.last_timestamp_ns = interface.clock.nanoseconds(ticks);
        Packet::Record(interface.record(self.last_timestamp_ns, 20, captured, wire))
    }

    /// The simple packet block tells neither interface nor time nor captured length.
    fn simple_packet(&self, body: &[u8], body_length: usize) -> Packet {
        let Some(&[w0, w1, w2, w3]) = body.first_chunk::<4>() else {
            return Packet::Damaged("a packet block too short; it and what follows are not read");
        };
        let wire = self.order.u32([w0, w1, w2, w3]);
        let Some(interface) = self.interfaces.first() else {
            return Packet::NoInterface(self.no_interface(wire));
        };
        let room = u32::try_from(body_length - 4).unwrap_or(u32::MAX);
        let captured = wire.min(interface.frame_bytes_max).min(room);
        if captured as usize > FRAME_BYTES_MAX {
            return Packet::Damaged("a frame longer than any can be; it and what follows are not read");
        }
        Packet::Record(interface.record(self.last_timestamp_ns, 4, captured, wire))
    }

    fn no_interface(&self, wire_length: u32) -> Record {
        Record {
            timestamp_ns: self.last_timestamp_ns,
            start: 0,
            length: 0,
            wire_length,
            link_type: LinkType(u16::MAX),
            interface: u16::MAX,
            supported: false,
        }
    }
}
