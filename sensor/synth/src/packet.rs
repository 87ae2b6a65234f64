//! Frames: Ethernet, IPv4 or IPv6, TCP or UDP or ICMP around a payload, with right lengths and checksums (RFC 1071).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

pub(super) const TCP: u8 = 6;
pub(super) const UDP: u8 = 17;

/// The two ends of a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ends {
    pub client: IpAddr,
    pub client_port: u16,
    pub server: IpAddr,
    pub server_port: u16,
}

/// What a TCP header says besides the ports.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segment {
    pub sequence: u32,
    pub acknowledged: u32,
    pub flags: u8,
    /// Milliseconds of the time stamp option (RFC 7323 §3).
    pub clock: u32,
}

pub(super) const FIN: u8 = 1;
pub(super) const SYN: u8 = 2;
pub(super) const PUSH: u8 = 8;
pub(super) const ACK: u8 = 16;

/// Writes a TCP segment from one end to the other.
pub(super) fn tcp(frame: &mut Vec<u8>, ends: &Ends, from_client: bool, segment: &Segment, payload: &[u8]) {
    let mut options = Vec::with_capacity(20);
    if segment.flags & SYN != 0 {
        options.extend([2, 4, 5, 0xb4, 4, 2, 8, 10]);
    } else {
        options.extend([1, 1, 8, 10]);
    }
    options.extend(segment.clock.to_be_bytes());
    options.extend(segment.clock.wrapping_sub(20).to_be_bytes());
    if segment.flags & SYN != 0 {
        options.extend([1, 3, 3, 7]);
    }
    let (source, destination) = ports(ends, from_client);
    let header_bytes = 20 + options.len();
    let start = begin(frame, ends, from_client, TCP, header_bytes + payload.len());
    frame.extend(source.to_be_bytes());
    frame.extend(destination.to_be_bytes());
    frame.extend(segment.sequence.to_be_bytes());
    frame.extend(segment.acknowledged.to_be_bytes());
    frame.extend([(header_bytes as u8 / 4) << 4, segment.flags, 0x01, 0xf6, 0, 0, 0, 0]);
    frame.extend(options);
    frame.extend(payload);
    close(frame, ends, TCP, start, 16);
}

/// Writes a UDP datagram from one end to the other.
pub(super) fn udp(frame: &mut Vec<u8>, ends: &Ends, from_client: bool, payload: &[u8]) {
    let (source, destination) = ports(ends, from_client);
    let start = begin(frame, ends, from_client, UDP, 8 + payload.len());
    frame.extend(source.to_be_bytes());
    frame.extend(destination.to_be_bytes());
    frame.extend((8 + payload.len() as u16).to_be_bytes());
    frame.extend([0, 0]);
    frame.extend(payload);
    close(frame, ends, UDP, start, 6);
}

/// Writes an ICMP echo request, or its reply (RFC 792, RFC 4443 §4).
pub(super) fn echo(frame: &mut Vec<u8>, ends: &Ends, from_client: bool, number: u16, payload: &[u8]) {
    let (protocol, kind) = match (ends.client, from_client) {
        (IpAddr::V4(_), true) => (1, 8),
        (IpAddr::V4(_), false) => (1, 0),
        (IpAddr::V6(_), true) => (58, 128),
        (IpAddr::V6(_), false) => (58, 129),
    };
    let start = begin(frame, ends, from_client, protocol, 8 + payload.len());
    frame.extend([kind, 0, 0, 0]);
    frame.extend(ends.client_port.to_be_bytes());
    frame.extend(number.to_be_bytes());
    frame.extend(payload);
    close(frame, ends, protocol, start, 2);
}

/// Writes an ARP request of a client for its router (RFC 826).
pub(super) fn arp(frame: &mut Vec<u8>, client: Ipv4Addr) {
    let [a, b, ..] = client.octets();
    let sender = mac(client.into());
    frame.clear();
    frame.extend([0xff; 6]);
    frame.extend(sender);
    frame.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
    frame.extend(sender);
    frame.extend(client.octets());
    frame.extend([0, 0, 0, 0, 0, 0, a, b, 0, 1]);
    // Ethernet's least length, without the check sequence.
    frame.resize(60, 0);
}

fn ports(ends: &Ends, from_client: bool) -> (u16, u16) {
    if from_client { (ends.client_port, ends.server_port) } else { (ends.server_port, ends.client_port) }
}

/// A locally administered address.
fn mac(address: IpAddr) -> [u8; 6] {
    let [.., a, b, c, d] = match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    };
    [2, 0, a, b, c, d]
}

const ROUTER: [u8; 6] = [2, 0xff, 0, 0, 0, 1];

/// Begins a frame up to the transport header, and tells where that starts.
fn begin(frame: &mut Vec<u8>, ends: &Ends, from_client: bool, protocol: u8, length: usize) -> usize {
    frame.clear();
    let client = mac(ends.client);
    let (to, from) = if from_client { (ROUTER, client) } else { (client, ROUTER) };
    frame.extend(to);
    frame.extend(from);
    let (source, destination) = if from_client { (ends.client, ends.server) } else { (ends.server, ends.client) };
    match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            frame.extend([8, 0]);
            let start = frame.len();
            frame.extend([0x45, 0]);
            frame.extend((20 + length as u16).to_be_bytes());
            frame.extend([0, 0, 0x40, 0, 64, protocol, 0, 0]);
            frame.extend(source.octets());
            frame.extend(destination.octets());
            let sum = checksum(0, frame.get(start..).unwrap_or_default());
            put(frame, start + 10, sum);
        }
        _ => {
            frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
            frame.extend((length as u16).to_be_bytes());
            frame.extend([protocol, 64]);
            frame.extend(v6(source).octets());
            frame.extend(v6(destination).octets());
        }
    }
    frame.len()
}

fn v6(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    }
}

/// Writes the transport's checksum, `at` bytes behind its start.
fn close(frame: &mut [u8], ends: &Ends, protocol: u8, start: usize, at: usize) {
    let body = frame.get(start..).unwrap_or_default();
    let pseudo: u64 = match (ends.client, ends.server) {
        (IpAddr::V4(_), IpAddr::V4(_)) if protocol == 1 => 0,
        (IpAddr::V4(client), IpAddr::V4(server)) => words(&client.octets()) + words(&server.octets()),
        (client, server) => words(&v6(client).octets()) + words(&v6(server).octets()),
    };
    let pseudo = if protocol == 1 { 0 } else { pseudo + u64::from(protocol) + body.len() as u64 };
    let sum = match checksum(pseudo, body) {
        // Zero would say that there is none (RFC 768).
        0 if protocol == UDP => 0xffff,
        sum => sum,
    };
    put(frame, start + at, sum);
}

fn put(frame: &mut [u8], at: usize, sum: u16) {
    if let Some(place) = frame.get_mut(at..at + 2) {
        place.copy_from_slice(&sum.to_be_bytes());
    }
}

fn checksum(start: u64, bytes: &[u8]) -> u16 {
    let mut sum = start + words(bytes);
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// The sum of all pairs of bytes, four pairs at a time.
fn words(bytes: &[u8]) -> u64 {
    let mut eights = bytes.chunks_exact(8);
    let mut sum = 0_u64;
    for eight in &mut eights {
        let word = eight.try_into().map_or(0, u64::from_be_bytes);
        sum += (word >> 32) + (word & 0xffff_ffff);
    }
    let rest = eights.remainder().chunks(2).map(|pair| match *pair {
        [high, low] => u64::from(u16::from_be_bytes([high, low])),
        [high] => u64::from(high) << 8,
        _ => 0,
    });
    sum + rest.sum::<u64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum_of_all(pseudo: &[u8], body: &[u8]) -> u16 {
        checksum(words(pseudo), body)
    }

    #[test]
    fn checksums_add_up() {
        let v4 = Ends {
            client: [10, 1, 2, 3].into(),
            client_port: 40_000,
            server: [198, 18, 4, 5].into(),
            server_port: 443,
        };
        let segment = Segment { sequence: 7, acknowledged: 9, flags: ACK, clock: 1_000 };
        for length in [0, 1, 2, 7, 8, 1_447] {
            let mut frame = Vec::new();
            tcp(&mut frame, &v4, false, &segment, &vec![0xa7; length]);
            assert_eq!(checksum(0, &frame[14..34]), 0);
            let body = &frame[34..];
            let pseudo = [&frame[26..34], &[0, TCP], &(body.len() as u16).to_be_bytes()].concat();
            assert_eq!(sum_of_all(&pseudo, body), 0);
            let v6 = Ends { client: "2001:db8::1".parse().unwrap(), server: "2001:2::1".parse().unwrap(), ..v4 };
            udp(&mut frame, &v6, true, &vec![0xa7; length]);
            let body = &frame[54..];
            let pseudo = [&frame[22..54], &[0, UDP], &(body.len() as u16).to_be_bytes()].concat();
            assert_eq!(sum_of_all(&pseudo, body), 0);
        }
    }

    #[test]
    fn words_are_summed_as_rfc_1071_shows() {
        assert_eq!(checksum(0, &[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), !0xddf2);
    }
}
