//! Frames: a payload behind TCP, UDP or ICMP, IP and Ethernet headers with the right lengths and checksums, and ARP.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use etherparse::err::packet::BuildVecWriteError;
use etherparse::{
    ArpHardwareId, ArpOperation, ArpPacket, EtherType, Ethernet2Header, PacketBuilder, PacketBuilderStep, TcpHeader,
    TcpOptionElement,
};

/// The two ends of a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ends {
    pub client: IpAddr,
    pub client_port: u16,
    pub server: IpAddr,
    pub server_port: u16,
}

/// A TCP header without its ports.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segment {
    pub sequence: u32,
    pub acknowledged: u32,
    pub flags: u8,
    /// Milliseconds of the timestamps option (RFC 7323 §3).
    pub clock: u32,
}

pub(super) const FIN: u8 = 1;
pub(super) const SYN: u8 = 2;
pub(super) const PUSH: u8 = 8;
pub(super) const ACK: u8 = 16;

const HOP_LIMIT: u8 = 64;
const TCP_WINDOW: u16 = 0x01f6;
/// Ethernet's shortest frame, without the check sequence.
const FRAME_BYTES_MIN: usize = 60;
const ROUTER: [u8; 6] = [2, 0xff, 0, 0, 0, 1];

/// Writes a TCP segment from one end to the other.
pub(super) fn tcp(frame: &mut Vec<u8>, ends: &Ends, from_client: bool, segment: &Segment, payload: &[u8]) {
    use TcpOptionElement::{MaximumSegmentSize, Noop, SelectiveAcknowledgementPermitted, Timestamp, WindowScale};
    let (source, destination) = ports(ends, from_client);
    let mut header = TcpHeader::new(source, destination, segment.sequence, TCP_WINDOW);
    header.acknowledgment_number = segment.acknowledged;
    header.fin = segment.flags & FIN != 0;
    header.syn = segment.flags & SYN != 0;
    header.psh = segment.flags & PUSH != 0;
    header.ack = segment.flags & ACK != 0;
    let timestamps = Timestamp(segment.clock, segment.clock.wrapping_sub(20));
    // Both lists are shorter than the 40 bytes that options may have.
    let _ = if header.syn {
        let first = [MaximumSegmentSize(1460), SelectiveAcknowledgementPermitted];
        header.set_options(&[&first[..], &[timestamps, Noop, WindowScale(7)]].concat())
    } else {
        header.set_options(&[Noop, Noop, timestamps])
    };
    write(frame, |frame| addressed(ends, from_client).tcp_header(header).write_to_vec(frame, payload));
}

/// Writes a UDP datagram from one end to the other.
pub(super) fn udp(frame: &mut Vec<u8>, ends: &Ends, from_client: bool, payload: &[u8]) {
    let (source, destination) = ports(ends, from_client);
    write(frame, |frame| addressed(ends, from_client).udp(source, destination).write_to_vec(frame, payload));
}

/// Writes an ICMP echo request, or its reply (RFC 792, RFC 4443 §4).
pub(super) fn echo(frame: &mut Vec<u8>, ends: &Ends, from_client: bool, number: u16, payload: &[u8]) {
    let packet = addressed(ends, from_client);
    let id = ends.client_port;
    write(frame, |frame| match (ends.client, from_client) {
        (IpAddr::V4(_), true) => packet.icmpv4_echo_request(id, number).write_to_vec(frame, payload),
        (IpAddr::V4(_), false) => packet.icmpv4_echo_reply(id, number).write_to_vec(frame, payload),
        (IpAddr::V6(_), true) => packet.icmpv6_echo_request(id, number).write_to_vec(frame, payload),
        (IpAddr::V6(_), false) => packet.icmpv6_echo_reply(id, number).write_to_vec(frame, payload),
    });
}

/// Writes an ARP request of a client for its router (RFC 826).
pub(super) fn arp(frame: &mut Vec<u8>, client: Ipv4Addr) {
    let [a, b, ..] = client.octets();
    let sender = mac(client.into());
    let request = ArpPacket::new(
        ArpHardwareId::ETHERNET,
        EtherType::IPV4,
        ArpOperation::REQUEST,
        &sender,
        &client.octets(),
        &[0; 6],
        &[a, b, 0, 1],
    );
    // The addresses have the lengths that their types ask for.
    let Ok(request) = request else { return };
    write(frame, |frame| PacketBuilder::ethernet2(sender, [0xff; 6]).arp(request).write_to_vec(frame));
    frame.resize(FRAME_BYTES_MIN, 0);
}

fn write(frame: &mut Vec<u8>, into: impl FnOnce(&mut Vec<u8>) -> Result<(), BuildVecWriteError>) {
    frame.clear();
    // Only a payload that is longer than an IP packet can be is refused, and none is.
    let _ = into(frame);
}

/// A frame up to the IP header.
fn addressed(ends: &Ends, from_client: bool) -> PacketBuilderStep<etherparse::IpHeaders> {
    let client = mac(ends.client);
    let (from, to) = if from_client { (client, ROUTER) } else { (ROUTER, client) };
    let frame: PacketBuilderStep<Ethernet2Header> = PacketBuilder::ethernet2(from, to);
    let (source, destination) = if from_client { (ends.client, ends.server) } else { (ends.server, ends.client) };
    match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => frame.ipv4(source.octets(), destination.octets(), HOP_LIMIT),
        _ => frame.ipv6(v6(source).octets(), v6(destination).octets(), HOP_LIMIT),
    }
}

fn ports(ends: &Ends, from_client: bool) -> (u16, u16) {
    if from_client { (ends.client_port, ends.server_port) } else { (ends.server_port, ends.client_port) }
}

/// A locally administered address.
fn mac(address: IpAddr) -> [u8; 6] {
    let [.., a, b, c, d] = v6(address).octets();
    [2, 0, a, b, c, d]
}

fn v6(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const V4: Ends = Ends {
        client: IpAddr::V4(Ipv4Addr::new(10, 1, 2, 3)),
        client_port: 40_000,
        server: IpAddr::V4(Ipv4Addr::new(198, 18, 4, 5)),
        server_port: 443,
    };

    /// The one's complement sum of 16-bit words (RFC 1071), which is 0xffff over data with its checksum.
    fn sum(parts: &[&[u8]]) -> u16 {
        let bytes = parts.concat();
        let words = bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |&low| u32::from(low)));
        let mut sum: u32 = words.sum();
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        sum as u16
    }

    #[test]
    fn checksums_add_up() {
        let v6 = Ends { client: "2001:db8::1".parse().unwrap(), server: "2001:2::1".parse().unwrap(), ..V4 };
        let segment = Segment { sequence: 7, acknowledged: 9, flags: ACK, clock: 1_000 };
        let mut frame = Vec::new();
        for length in [0, 1, 2, 7, 8, 1_447] {
            tcp(&mut frame, &V4, false, &segment, &vec![0xa7; length]);
            assert_eq!(sum(&[&frame[14..34]]), 0xffff);
            let body = &frame[34..];
            assert_eq!(sum(&[&frame[26..34], &[0, 6], &(body.len() as u16).to_be_bytes(), body]), 0xffff);
            udp(&mut frame, &v6, true, &vec![0xa7; length]);
            let body = &frame[54..];
            assert_eq!(sum(&[&frame[22..54], &[0, 17], &(body.len() as u16).to_be_bytes(), body]), 0xffff);
        }
    }

    #[test]
    fn a_syn_has_the_options_that_linux_sends() {
        let mut frame = Vec::new();
        let segment = Segment { sequence: 7, acknowledged: 0, flags: SYN, clock: 0x0102_0304 };
        tcp(&mut frame, &V4, true, &segment, &[]);
        assert_eq!(frame[54..], [2, 4, 5, 0xb4, 4, 2, 8, 10, 1, 2, 3, 4, 1, 2, 2, 0xf0, 1, 3, 3, 7]);
    }
}
