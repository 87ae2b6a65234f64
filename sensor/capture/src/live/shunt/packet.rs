//! The packets that the XDP program can shunt, and the tags by which it knows their flows. This is the program's own parser
//! and hash (`xdp/shunt.c`) once more: a test runs both over the same frames.

/// Bits of a hash that are the tag.
const TAG_MASK: u64 = (1 << 56) - 1;
const VLAN: u16 = 0x8100;
const SERVICE_VLAN: u16 = 0x88a8;
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
/// Addresses of IPv4 are written as those of IPv6 (RFC 4291 §2.5.5.2).
const MAPPED: u128 = 0xffff_0000_0000;

/// The secret of the tags.
#[derive(Clone, Copy, Debug)]
pub(super) struct TagKey {
    pub(super) low: u64,
    pub(super) high: u64,
}

/// One direction of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Direction {
    /// Source address; those of IPv4 are mapped to IPv6.
    pub source: u128,
    /// Destination address.
    pub destination: u128,
    /// Source port.
    pub source_port: u16,
    /// Destination port.
    pub destination_port: u16,
    /// Number of the virtual network; 0 for none.
    pub network: u32,
    /// IP protocol number.
    pub protocol: u8,
}

impl Direction {
    /// The direction of an Ethernet frame, and whether the frame may open or end a connection. `None` if the program lets
    /// such a frame up.
    pub fn of_frame(data: &[u8]) -> Option<(Self, bool)> {
        let (ethernet, mut rest) = data.split_first_chunk::<14>()?;
        let mut ether_type = u16::from_be_bytes([ethernet[12], ethernet[13]]);
        let (mut vlans, mut shift) = (0_u64, 0);
        for _ in 0..2 {
            if ether_type != VLAN && ether_type != SERVICE_VLAN {
                break;
            }
            let (&[t0, t1, e0, e1], behind) = rest.split_first_chunk::<4>()?;
            let id = u16::from_be_bytes([t0, t1]) & 0x0fff;
            // 0 is a priority tag and names no VLAN (802.1Q §9.6).
            if id != 0 {
                vlans |= u64::from(id) << shift;
                shift += 16;
            }
            (ether_type, rest) = (u16::from_be_bytes([e0, e1]), behind);
        }
        let network = if vlans == 0 { 0 } else { network_of(vlans) };
        let (source, destination, protocol, announced, upper) = match ether_type {
            IPV4 => read_v4(rest)?,
            IPV6 => read_v6(rest)?,
            _ => return None,
        };
        let closes = read_upper(upper, announced, protocol)?;
        let &[s0, s1, d0, d1] = upper.first_chunk::<4>()?;
        let (source_port, destination_port) = (u16::from_be_bytes([s0, s1]), u16::from_be_bytes([d0, d1]));
        Some((Self { source, destination, source_port, destination_port, network, protocol }, closes))
    }

    /// The keyed hash of the direction: SipHash-1-3 over addresses, ports, virtual network if there is one, and protocol.
    pub(super) fn hash(&self, key: &TagKey) -> u64 {
        let mut hash = Hash::new(key);
        let bytes: u64 = if is_v4(self.source) && is_v4(self.destination) {
            let source = (self.source as u32).swap_bytes();
            let destination = (self.destination as u32).swap_bytes();
            hash.word(u64::from(source) | u64::from(destination) << 32);
            13
        } else {
            for address in [self.source, self.destination] {
                let address = address.swap_bytes();
                hash.word(address as u64);
                hash.word((address >> 64) as u64);
            }
            37
        };
        let ports = u64::from(self.source_port.swap_bytes()) | u64::from(self.destination_port.swap_bytes()) << 16;
        let protocol = u64::from(self.protocol);
        if self.network != 0 {
            hash.word(ports | u64::from(self.network) << 32);
            hash.end(protocol | (bytes + 4) << 56)
        } else {
            hash.end(ports | protocol << 32 | bytes << 56)
        }
    }
}

/// The tag of a hash: odd, so that it is neither 0 nor 2.
pub(super) const fn tag_of(hash: u64) -> u64 {
    (hash | 1) & TAG_MASK
}

const fn is_v4(address: u128) -> bool {
    address >> 32 == MAPPED >> 32
}

/// Source, destination, protocol, bytes announced behind the header, and those that are there.
type Network<'p> = (u128, u128, u8, usize, &'p [u8]);

fn read_v4(packet: &[u8]) -> Option<Network<'_>> {
    let (header, upper) = packet.split_first_chunk::<20>()?;
    // Version 4 without options, not fragmented (RFC 791 §3.1).
    if header[0] != 0x45 || u16::from_be_bytes([header[6], header[7]]) & 0x3fff != 0 {
        return None;
    }
    let announced = usize::from(u16::from_be_bytes([header[2], header[3]])).checked_sub(20)?;
    let source = u32::from_be_bytes([header[12], header[13], header[14], header[15]]);
    let destination = u32::from_be_bytes([header[16], header[17], header[18], header[19]]);
    Some((MAPPED | u128::from(source), MAPPED | u128::from(destination), header[9], announced, upper))
}

fn read_v6(packet: &[u8]) -> Option<Network<'_>> {
    let (header, upper) = packet.split_first_chunk::<40>()?;
    let announced = usize::from(u16::from_be_bytes([header[4], header[5]]));
    if header[0] >> 4 != 6 || announced == 0 {
        return None;
    }
    let (addresses, _) = header.get(8..)?.split_first_chunk::<32>()?;
    let (source, destination) = addresses.split_at(16);
    let source = u128::from_be_bytes(source.try_into().ok()?);
    let destination = u128::from_be_bytes(destination.try_into().ok()?);
    // The key of such a flow is that of one over IPv4.
    if is_v4(source) && is_v4(destination) {
        return None;
    }
    Some((source, destination, header[6], announced, upper))
}

/// Whether a TCP segment or UDP datagram may open or end a connection; `None` if it is not ordinary.
fn read_upper(upper: &[u8], announced: usize, protocol: u8) -> Option<bool> {
    match protocol {
        6 => {
            let header = upper.first_chunk::<20>()?;
            let length = usize::from(header[12] >> 4) * 4;
            if length < 20 || length > announced || length > upper.len() {
                return None;
            }
            // FIN, SYN, RST (RFC 9293 §3.1).
            Some(header[13] & 7 != 0)
        }
        17 => {
            let header = upper.first_chunk::<9>()?;
            let first = header[8];
            // What begins as IPv6 may be Teredo.
            if announced < 9 || u16::from_be_bytes([header[4], header[5]]) < 9 || first >> 4 == 6 {
                return None;
            }
            // A QUIC long header (RFC 9000 §17.2), or a handshake record of DTLS (RFC 6347 §4.1).
            Some(first >= 0xc0 || first == 22)
        }
        _ => None,
    }
}

/// The number of the virtual network in the key of a flow.
fn network_of(vlans: u64) -> u32 {
    let product = u128::from(vlans | 1 << 63) * 0x9e37_79b9_7f4a_7c15;
    product as u32 ^ (product >> 64) as u32
}

/// SipHash-1-3 of whole words; the last one has the length in its upper byte.
struct Hash {
    a: u64,
    b: u64,
    c: u64,
    d: u64,
}

impl Hash {
    const fn new(key: &TagKey) -> Self {
        Self {
            a: key.low ^ 0x736f_6d65_7073_6575,
            b: key.high ^ 0x646f_7261_6e64_6f6d,
            c: key.low ^ 0x6c79_6765_6e65_7261,
            d: key.high ^ 0x7465_6462_7974_6573,
        }
    }

    const fn round(&mut self) {
        self.a = self.a.wrapping_add(self.b);
        self.b = self.b.rotate_left(13) ^ self.a;
        self.a = self.a.rotate_left(32);
        self.c = self.c.wrapping_add(self.d);
        self.d = self.d.rotate_left(16) ^ self.c;
        self.a = self.a.wrapping_add(self.d);
        self.d = self.d.rotate_left(21) ^ self.a;
        self.c = self.c.wrapping_add(self.b);
        self.b = self.b.rotate_left(17) ^ self.c;
        self.c = self.c.rotate_left(32);
    }

    const fn word(&mut self, word: u64) {
        self.d ^= word;
        self.round();
        self.a ^= word;
    }

    const fn end(mut self, last: u64) -> u64 {
        self.word(last);
        self.c ^= 0xff;
        self.round();
        self.round();
        self.round();
        self.a ^ self.b ^ self.c ^ self.d
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hash::Hasher;

    fn direction(is_v6: bool, network: u32) -> Direction {
        let (source, destination) = if is_v6 {
            (0x2001_0db8_0000_0000_0000_0000_0000_0001, 0x2001_0db8_0102_0304_0506_0708_090a_0b0c)
        } else {
            (MAPPED | 0x0a01_0203, MAPPED | 0x0808_0404)
        };
        Direction { source, destination, source_port: 40_000, destination_port: 443, network, protocol: 17 }
    }

    /// The standard library's hasher is SipHash-1-3 with a key of zeros.
    #[test]
    fn the_hash_is_siphash_1_3() {
        for (is_v6, network) in [(false, 0), (true, 0), (false, 7), (true, 0xdead_beef)] {
            let direction = direction(is_v6, network);
            let mut bytes = Vec::new();
            for address in [direction.source, direction.destination] {
                let address = address.to_be_bytes();
                bytes.extend_from_slice(if is_v6 { &address } else { &address[12..] });
            }
            bytes.extend(direction.source_port.to_be_bytes());
            bytes.extend(direction.destination_port.to_be_bytes());
            if network != 0 {
                bytes.extend(network.to_le_bytes());
            }
            bytes.push(17);
            #[allow(deprecated)]
            let mut reference = std::collections::hash_map::DefaultHasher::new();
            reference.write(&bytes);
            assert_eq!(direction.hash(&TagKey { low: 0, high: 0 }), reference.finish(), "{direction:?}");
        }
    }

    #[test]
    fn tags_are_never_those_of_free_slots() {
        for hash in [0, 1, 2, 3, u64::MAX] {
            assert!(tag_of(hash) & 1 == 1 && tag_of(hash) >> 56 == 0);
        }
    }
}
