//! What tells two flows apart, and the keyed hash over it.

use ring::rand::{SecureRandom, SystemRandom};

use vigie_decode::{Address, Encapsulation, Packet, VLANS_MAX};

/// Which end of a flow's key a packet came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The end whose address (then port) is the smaller number.
    Low,
    /// The other end.
    High,
}

impl Side {
    /// The end at the other side.
    pub const fn opposite(self) -> Self {
        match self {
            Self::Low => Self::High,
            Self::High => Self::Low,
        }
    }
}

/// The largest flow id: all whole numbers up to it are exact in JSON (RFC 8259 §6).
pub const FLOW_ID_MAX: u64 = (1 << 53) - 1;

/// The innermost 5-tuple, the same for both directions, and the virtual network it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct FlowKey {
    /// The end with the smaller address, then port.
    pub low: Address,
    /// The other end.
    pub high: Address,
    /// Both ports and the virtual network, in one word: what is compared and hashed as one is kept as one.
    pub(super) ports_and_network: u64,
    /// IP protocol number.
    pub protocol: u8,
}

impl FlowKey {
    /// The key of a packet's flow, and from which end of it the packet came.
    #[inline]
    pub fn of(packet: &Packet<'_>) -> (Self, Side) {
        let ends = (packet.source, packet.source_port, packet.destination, packet.destination_port);
        Self::between(ends, network(&packet.encapsulation), packet.protocol)
    }

    /// The key of a flow between a sender and a receiver, and which end of it the sender is.
    #[inline]
    pub(super) fn between(
        (source, source_port, destination, destination_port): (Address, u16, Address, u16),
        network: u32,
        protocol: u8,
    ) -> (Self, Side) {
        if (source, source_port) <= (destination, destination_port) {
            let ports_and_network = join(source_port, destination_port, network);
            (Self { low: source, high: destination, ports_and_network, protocol }, Side::Low)
        } else {
            let ports_and_network = join(destination_port, source_port, network);
            (Self { low: destination, high: source, ports_and_network, protocol }, Side::High)
        }
    }

    /// Port of `low`.
    #[inline]
    pub const fn low_port(&self) -> u16 {
        self.ports_and_network as u16
    }

    /// Port of `high`.
    #[inline]
    pub const fn high_port(&self) -> u16 {
        (self.ports_and_network >> 16) as u16
    }

    /// The number of the virtual network: VLANs and tunnel identifiers, folded; 0 without any.
    #[inline]
    pub const fn network(&self) -> u32 {
        (self.ports_and_network >> 32) as u32
    }

    /// Whether one of the ports is `port`.
    #[inline]
    pub const fn has_port(&self, port: u16) -> bool {
        self.low_port() == port || self.high_port() == port
    }

    /// A number for the flow that is the same on every machine and replay, given the time of its first packet. It stands in
    /// events, whose readers may take numbers for floating-point ones: it has 53 bits.
    pub fn stable_id(&self, first_seen_ns: u64) -> u64 {
        let [a, b, c] = [0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344, 0xa409_3822_299f_31d0];
        let (first, second, rest) = (self.fold_low(a, b), self.fold_high(c, first_seen_ns), self.ports_and_network);
        let last = second ^ u64::from(self.protocol) ^ fold(rest ^ first_seen_ns, a | 1);
        fold(first ^ rest ^ c, last) & FLOW_ID_MAX
    }

    /// Keyed hash: multiplications folded to their halves, every word of the key under its own secret.
    #[inline]
    pub fn hash(&self, secret: &HashKey) -> u64 {
        let [a, b, c, d] = secret.0;
        let (first, second) = (self.fold_low(a, b), self.fold_high(c, d));
        fold(first ^ self.ports_and_network ^ c, second ^ u64::from(self.protocol) ^ a)
    }

    #[inline]
    fn fold_low(&self, a: u64, b: u64) -> u64 {
        fold((self.low.0 as u64) ^ a, (self.high.0 as u64) ^ b)
    }

    #[inline]
    fn fold_high(&self, c: u64, d: u64) -> u64 {
        fold((self.low.0 >> 64) as u64 ^ c, (self.high.0 >> 64) as u64 ^ d)
    }
}

/// The secret of the hash: chosen anew at each start, so that nobody can choose collisions.
#[derive(Clone, Copy, Debug)]
pub struct HashKey(pub [u64; 4]);

impl HashKey {
    /// A secret of a running sensor.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub fn random() -> Result<Self, ring::error::Unspecified> {
        let random = SystemRandom::new();
        let mut words = [0; 4];
        for word in &mut words {
            let mut bytes = [0; 8];
            random.fill(&mut bytes)?;
            *word = u64::from_ne_bytes(bytes);
        }
        Ok(Self(words))
    }

    /// The fixed secret of replays, where a run must give the same bytes as the last.
    pub const REPLAY: Self = Self([0x452821e638d01377, 0xbe5466cf34e90c6c, 0xc0ac29b7c97c50dd, 0x3f84d5b5b5470917]);
}

/// Ports of the low and the high end and the virtual network (VLANs and tunnel identifiers, folded; 0 without any).
#[inline]
pub(super) const fn join(low_port: u16, high_port: u16, network: u32) -> u64 {
    low_port as u64 | (high_port as u64) << 16 | (network as u64) << 32
}

#[inline]
fn fold(left: u64, right: u64) -> u64 {
    let product = u128::from(left) * u128::from(right);
    (product as u64) ^ (product >> 64) as u64
}

#[inline]
fn network(encapsulation: &Encapsulation) -> u32 {
    if encapsulation.vlan_count == 0 {
        return encapsulation.network;
    }
    network_of_vlans(encapsulation.vlans) ^ encapsulation.network
}

/// The virtual network of VLAN identifiers, of which there is one at least.
#[inline]
pub(super) fn network_of_vlans([outer, middle, inner]: [u16; VLANS_MAX]) -> u32 {
    let tags = u64::from(outer) | u64::from(middle) << 16 | u64::from(inner) << 32 | 1 << 63;
    fold(tags, 0x9e37_79b9_7f4a_7c15) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use vigie_decode::Transport;

    fn packet(source: u128, destination: u128, source_port: u16, destination_port: u16) -> Packet<'static> {
        Packet {
            source: Address(source),
            destination: Address(destination),
            source_port,
            destination_port,
            protocol: 6,
            encapsulation: Encapsulation::default(),
            transport: Transport::Other,
        }
    }

    #[test]
    fn vlans_and_networks_part_flows() {
        let plain = packet(1, 2, 3, 4);
        let mut tagged = plain;
        tagged.encapsulation.vlans = [7, 0, 0];
        tagged.encapsulation.vlan_count = 1;
        let mut tunnelled = plain;
        tunnelled.encapsulation.network = 7;
        let keys = [plain, tagged, tunnelled].map(|packet| FlowKey::of(&packet).0);
        assert!(keys[0] != keys[1] && keys[1] != keys[2] && keys[0] != keys[2]);
    }

    #[test]
    fn low_bits_of_the_hash_spread() {
        let mut buckets = [0_u32; 256];
        for host in 0..65_536_u128 {
            let (key, _) = FlowKey::of(&packet(0xffff_0a00_0000 + host, 0xffff_0808_0808, 40_000, 443));
            buckets[(key.hash(&HashKey::REPLAY) & 255) as usize] += 1;
        }
        assert!(buckets.iter().all(|&count| (170..350).contains(&count)), "{buckets:?}");
    }

    #[test]
    fn ports_spread_too() {
        let mut buckets = [0_u32; 256];
        for port in 0..=u16::MAX {
            let (key, _) = FlowKey::of(&packet(0xffff_0a00_0001, 0xffff_0808_0808, port, 443));
            buckets[(key.hash(&HashKey::REPLAY) >> 56) as usize] += 1;
        }
        assert!(buckets.iter().all(|&count| (170..350).contains(&count)), "{buckets:?}");
    }

    proptest! {
        #[test]
        fn flow_ids_are_exact_in_floating_point(a: u128, b: u128, p: u16, q: u16, first_seen_ns: u64) {
            let id = FlowKey::of(&packet(a, b, p, q)).0.stable_id(first_seen_ns);
            prop_assert!(id <= FLOW_ID_MAX);
            prop_assert_eq!(id as f64 as u64, id);
        }

        #[test]
        fn both_directions_have_one_key(a: u128, b: u128, p: u16, q: u16) {
            let (there, side) = FlowKey::of(&packet(a, b, p, q));
            let (back, other) = FlowKey::of(&packet(b, a, q, p));
            prop_assert_eq!(there, back);
            prop_assert!((a, p) == (b, q) || side == other.opposite());
            prop_assert_eq!(there.hash(&HashKey::REPLAY), back.hash(&HashKey::REPLAY));
        }
    }
}
