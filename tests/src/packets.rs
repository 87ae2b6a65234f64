//! Frames built by hand: Ethernet, tags, IPv4 and IPv6, fragments, TCP, UDP, VXLAN. Checksums are right, so that other
//! programs read the frames too.

use std::net::{IpAddr, SocketAddr};

/// A client, for tests that need no particular one.
pub const CLIENT: SocketAddr = SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1)), 40_000);
/// A server in a documentation range, about which nothing is known.
pub const SERVER: SocketAddr = SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1)), 443);

/// TCP's FIN flag.
pub const FIN: u8 = 1;
/// TCP's SYN flag.
pub const SYN: u8 = 2;
/// TCP's RST flag.
pub const RST: u8 = 4;
/// TCP's ACK flag.
pub const ACK: u8 = 16;
/// TCP's URG flag.
pub const URG: u8 = 32;

const TCP: u8 = 6;
const UDP: u8 = 17;
const FRAGMENT: u8 = 44;
const VXLAN_PORT: u16 = 4789;
/// Where an Ethernet header ends.
const ETHERNET_BYTES: usize = 14;

/// A TCP segment in IP in Ethernet.
pub fn tcp(from: SocketAddr, to: SocketAddr, sequence: u32, flags: u8, payload: &[u8]) -> Vec<u8> {
    tcp_acknowledging(from, to, (sequence, 0), flags, payload)
}

/// A TCP segment with a sequence and an acknowledgment number, in IP in Ethernet.
pub fn tcp_acknowledging(
    from: SocketAddr,
    to: SocketAddr,
    (sequence, acknowledgment): (u32, u32),
    flags: u8,
    payload: &[u8],
) -> Vec<u8> {
    let mut segment = ports(from, to);
    segment.extend(sequence.to_be_bytes());
    segment.extend(acknowledgment.to_be_bytes());
    segment.extend([0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
    segment.extend(payload);
    seal(&mut segment, 16, from.ip(), to.ip(), TCP);
    ethernet(&ip(from.ip(), to.ip(), TCP, &segment))
}

/// A TCP segment with a timestamps option (RFC 7323 §3.2), in IP in Ethernet.
pub fn tcp_at(
    from: SocketAddr,
    to: SocketAddr,
    (sequence, acknowledgment): (u32, u32),
    flags: u8,
    timestamp: u32,
    payload: &[u8],
) -> Vec<u8> {
    let mut segment = ports(from, to);
    segment.extend(sequence.to_be_bytes());
    segment.extend(acknowledgment.to_be_bytes());
    segment.extend([0x80, flags, 0xff, 0xff, 0, 0, 0, 0, 1, 1, 8, 10]);
    segment.extend(timestamp.to_be_bytes());
    segment.extend([0, 0, 0, 1]);
    segment.extend(payload);
    seal(&mut segment, 16, from.ip(), to.ip(), TCP);
    ethernet(&ip(from.ip(), to.ip(), TCP, &segment))
}

/// A TCP segment with an acknowledgment number and one urgent byte, the last of `payload` in front of `behind`.
pub fn tcp_urgent(from: SocketAddr, to: SocketAddr, numbers: (u32, u32), payload: &[u8], behind: &[u8]) -> Vec<u8> {
    let mut segment = ports(from, to);
    segment.extend(numbers.0.to_be_bytes());
    segment.extend(numbers.1.to_be_bytes());
    let [high, low] = u16::try_from(payload.len()).unwrap().to_be_bytes();
    segment.extend([0x50, ACK | URG, 0xff, 0xff, 0, 0, high, low]);
    segment.extend([payload, behind].concat());
    seal(&mut segment, 16, from.ip(), to.ip(), TCP);
    ethernet(&ip(from.ip(), to.ip(), TCP, &segment))
}

/// A UDP datagram in IP in Ethernet.
pub fn udp(from: SocketAddr, to: SocketAddr, payload: &[u8]) -> Vec<u8> {
    ethernet(&ip(from.ip(), to.ip(), UDP, &udp_datagram(from, to, payload)))
}

/// A UDP datagram in IP fragments, each with at most `size` bytes of it, in Ethernet; `size` is a multiple of 8.
pub fn udp_in_fragments(from: SocketAddr, to: SocketAddr, payload: &[u8], id: u16, size: usize) -> Vec<Vec<u8>> {
    assert!(size.is_multiple_of(8));
    let datagram = udp_datagram(from, to, payload);
    let last = datagram.len().div_ceil(size) - 1;
    let pieces = datagram.chunks(size).enumerate();
    pieces.map(|(place, piece)| fragment(from.ip(), to.ip(), piece, id, place * size, place < last)).collect()
}

/// One IP fragment of a UDP datagram, in Ethernet.
pub fn fragment(from: IpAddr, to: IpAddr, piece: &[u8], id: u16, offset: usize, more: bool) -> Vec<u8> {
    let offset = u16::try_from(offset).unwrap();
    let mut packet = match from {
        IpAddr::V4(_) => ip(from, to, UDP, piece),
        IpAddr::V6(_) => {
            let mut header = vec![UDP, 0];
            header.extend((offset | u16::from(more)).to_be_bytes());
            header.extend(u32::from(id).to_be_bytes());
            return ethernet(&ip(from, to, FRAGMENT, &[&header, piece].concat()));
        }
    };
    packet[4..6].copy_from_slice(&id.to_be_bytes());
    packet[6..8].copy_from_slice(&((offset / 8) | (u16::from(more) << 13)).to_be_bytes());
    ip_checksum(&mut packet);
    ethernet(&packet)
}

/// An IP packet of the version that the addresses have.
pub fn ip(from: IpAddr, to: IpAddr, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let length = |extra: usize| u16::try_from(payload.len() + extra).unwrap().to_be_bytes();
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let [high, low] = length(20);
            let mut packet = vec![0x45, 0, high, low, 0, 0, 0x40, 0, 64, protocol, 0, 0];
            packet.extend(from.octets());
            packet.extend(to.octets());
            ip_checksum(&mut packet);
            packet.extend(payload);
            packet
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let [high, low] = length(0);
            let mut packet = vec![0x60, 0, 0, 0, high, low, protocol, 64];
            packet.extend(from.octets());
            packet.extend(to.octets());
            packet.extend(payload);
            packet
        }
        _ => panic!("{from} and {to} are of different versions"),
    }
}

/// An IP packet in Ethernet.
pub fn ethernet(packet: &[u8]) -> Vec<u8> {
    let ethertype: u16 = if packet[0] >> 4 == 4 { 0x0800 } else { 0x86dd };
    [&[2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1][..], &ethertype.to_be_bytes(), packet].concat()
}

/// An Ethernet frame with VLAN tags put in, outermost first: tag protocol and VLAN.
pub fn tagged(frame: &[u8], tags: &[(u16, u16)]) -> Vec<u8> {
    let mut tagged = frame[..12].to_vec();
    for (protocol, vlan) in tags {
        tagged.extend(protocol.to_be_bytes());
        tagged.extend(vlan.to_be_bytes());
    }
    tagged.extend(&frame[12..]);
    tagged
}

/// An Ethernet frame in VXLAN (RFC 7348) between two tunnel ends.
pub fn vxlan(frame: &[u8], network: u32, from: IpAddr, to: IpAddr) -> Vec<u8> {
    let payload = [&[8, 0, 0, 0][..], &(network << 8).to_be_bytes(), frame].concat();
    udp(SocketAddr::new(from, 51_234), SocketAddr::new(to, VXLAN_PORT), &payload)
}

/// An IPv4 frame as captured before segmentation by the network card: its total length is 0.
pub fn without_length(mut frame: Vec<u8>) -> Vec<u8> {
    frame[ETHERNET_BYTES + 2..ETHERNET_BYTES + 4].fill(0);
    frame
}

fn ports(from: SocketAddr, to: SocketAddr) -> Vec<u8> {
    [from.port().to_be_bytes(), to.port().to_be_bytes()].concat()
}

fn udp_datagram(from: SocketAddr, to: SocketAddr, payload: &[u8]) -> Vec<u8> {
    let mut datagram = ports(from, to);
    datagram.extend(u16::try_from(8 + payload.len()).unwrap().to_be_bytes());
    datagram.extend([0, 0]);
    datagram.extend(payload);
    seal(&mut datagram, 6, from.ip(), to.ip(), UDP);
    datagram
}

/// Writes the checksum of a transport's bytes, pseudo header included.
fn seal(bytes: &mut [u8], at: usize, from: IpAddr, to: IpAddr, protocol: u8) {
    let mut sum = u64::from(protocol) + bytes.len() as u64 + words(bytes);
    for address in [from, to] {
        sum += match address {
            IpAddr::V4(address) => words(&address.octets()),
            IpAddr::V6(address) => words(&address.octets()),
        };
    }
    // Nothing but all ones stands for a sum of zero: zero is UDP's word for "not computed" (RFC 768).
    let sum = match folded(sum) {
        0 => 0xffff,
        sum => sum,
    };
    bytes[at..at + 2].copy_from_slice(&sum.to_be_bytes());
}

fn ip_checksum(packet: &mut [u8]) {
    packet[10..12].fill(0);
    let sum = folded(words(&packet[..20]));
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
}

fn words(bytes: &[u8]) -> u64 {
    let word = |pair: &[u8]| u64::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]));
    bytes.chunks(2).map(word).sum()
}

fn folded(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}
