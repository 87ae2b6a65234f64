//! One flow of the table: its key and its counters in one cache line.

use super::super::key::FlowKey;
use vigie_decode::Address;

/// A flow: one cache line.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub struct FlowEntry {
    low: u128,
    high: u128,
    ports_and_network: u64,
    protocol: u8,
    /// Flag bits of the owner, such as which end is the client.
    pub marks: u8,
    /// A small number of the owner; the table does not read it.
    pub spare: u16,
    /// Number of the owner's record of this flow; 0 if it has none.
    pub record: u32,
    /// Packets (upper 21 bits) and bytes (lower 43 bits) from the low end.
    pub from_low: u64,
    /// Packets and bytes from the high end.
    pub from_high: u64,
}

const _: () = assert!(size_of::<FlowEntry>() == 64);

/// Bits of a packed counter that count bytes.
const BYTE_BITS: u32 = 43;

impl FlowEntry {
    /// A flow without packets.
    pub(super) const fn new(key: &FlowKey) -> Self {
        Self {
            low: key.low.0,
            high: key.high.0,
            ports_and_network: key.ports_and_network,
            protocol: key.protocol,
            marks: 0,
            spare: 0,
            record: 0,
            from_low: 0,
            from_high: 0,
        }
    }

    /// The flow's key.
    pub const fn key(&self) -> FlowKey {
        FlowKey {
            low: Address(self.low),
            high: Address(self.high),
            ports_and_network: self.ports_and_network,
            protocol: self.protocol,
        }
    }

    /// Whether this is the flow of `key`.
    #[inline]
    pub(super) fn has_key(&self, key: &FlowKey) -> bool {
        // One branch over all fields: they are nearly always equal.
        let addresses = (self.low ^ key.low.0) | (self.high ^ key.high.0);
        let rest = (self.ports_and_network ^ key.ports_and_network) | u64::from(self.protocol ^ key.protocol);
        addresses as u64 | (addresses >> 64) as u64 | rest == 0
    }

    /// Counts one packet of `bytes` (at most 2^20 of them: segments that the system joined are longer than any packet) on a
    /// packed counter. True when the owner must empty the counter, which is after 2^20 packets: at most 2^40 bytes, so it has
    /// not wrapped.
    #[inline]
    pub fn count(counter: &mut u64, bytes: u32) -> bool {
        *counter = counter.wrapping_add((1 << BYTE_BITS) | u64::from(bytes.min(1 << 20)));
        *counter >> 63 != 0
    }

    /// Packets and bytes of a packed counter.
    pub const fn counted(counter: u64) -> (u64, u64) {
        (counter >> BYTE_BITS, counter & ((1 << BYTE_BITS) - 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packed_counters_ask_to_be_emptied_in_time() {
        let mut counter = 0;
        let mut packets = 0_u64;
        while !FlowEntry::count(&mut counter, 65_535) {
            packets += 1;
        }
        let (counted, bytes) = FlowEntry::counted(counter);
        assert_eq!(counted, packets + 1);
        assert_eq!(bytes, counted * 65_535);
    }

    #[test]
    fn joined_segments_count_in_full() {
        for longest in [65_549, 188_590, 1 << 20] {
            let mut counter = 0;
            let mut packets = 1;
            while !FlowEntry::count(&mut counter, longest) {
                packets += 1;
            }
            assert_eq!(FlowEntry::counted(counter), (packets, packets * u64::from(longest)));
        }
    }
}
