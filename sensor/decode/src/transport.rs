//! TCP and UDP: ports, lengths, and the captured payload.

use etherparse::UdpHeaderSlice;

use super::ip::IpHeader;
use super::segment::FIXED_HEADER_LENGTH;
use super::state::DecodeState;
use super::{DecodeError, Decoded, Packet, Segment, Transport, UdpDatagram, icmp, udp_tunnel};

pub(super) const TCP: u8 = 6;
pub(super) const UDP: u8 = 17;

/// A TCP segment (RFC 9293 §3.1). If its capture ends within the options, ports, sequence number and flags are read.
#[inline]
pub(super) fn tcp<'a>(
    payload: &'a [u8],
    ip_header: &IpHeader<'a>,
    state: &DecodeState,
) -> Result<Decoded<'a>, DecodeError> {
    let &[s0, s1, d0, d1] = payload.first_chunk().ok_or(DecodeError::TcpTruncated)?;
    let segment = match Segment::parse(payload, ip_header.payload_length, ip_header.network) {
        Some(segment) => segment,
        None if payload.len() < FIXED_HEADER_LENGTH => return Err(DecodeError::TcpTruncated),
        None => return Err(DecodeError::TcpMalformed),
    };
    let ports = (u16::from_be_bytes([s0, s1]), u16::from_be_bytes([d0, d1]));
    Ok(packet(TCP, ports, Transport::Tcp(segment), ip_header, state))
}

/// A UDP datagram (RFC 768), or the packet that it tunnels.
#[inline]
pub(super) fn udp<'a>(
    payload: &'a [u8],
    ip_header: &IpHeader<'a>,
    state: &mut DecodeState,
) -> Result<Decoded<'a>, DecodeError> {
    let header = UdpHeaderSlice::from_slice(payload).map_err(|_| DecodeError::UdpTruncated)?;
    let header_length = header.slice().len();
    // Zero: a jumbogram (RFC 2675 §4) or segmentation offload.
    let end = match usize::from(header.length()) {
        0 => payload.len(),
        length if length < header_length => return Err(DecodeError::UdpMalformed),
        length => length.min(payload.len()),
    };
    let ports = (header.source_port(), header.destination_port());
    let data = payload.get(header_length..end).unwrap_or_default();
    if udp_tunnel::may_be(ports, data)
        && let Some(inner) = udp_tunnel::open(ports, data, ip_header, state)
    {
        return inner;
    }
    Ok(packet(UDP, ports, Transport::Udp(UdpDatagram::new(header.slice(), data, ip_header.network)), ip_header, state))
}

/// A transport that is not decoded; ports where they stand as in TCP.
pub(super) fn other<'a>(protocol: u8, payload: &[u8], ip_header: &IpHeader<'a>, state: &DecodeState) -> Decoded<'a> {
    const DCCP: u8 = 33;
    const SCTP: u8 = 132;
    const UDP_LITE: u8 = 136;
    let ports = match (protocol, payload) {
        (icmp::V4 | icmp::V6, &[message, code, ..]) => icmp::ports(protocol, message, code),
        (DCCP | SCTP | UDP_LITE, &[s0, s1, d0, d1, ..]) => (u16::from_be_bytes([s0, s1]), u16::from_be_bytes([d0, d1])),
        _ => (0, 0),
    };
    packet(protocol, ports, Transport::Other, ip_header, state)
}

#[inline]
pub(super) fn packet<'a>(
    protocol: u8,
    (source_port, destination_port): (u16, u16),
    transport: Transport<'a>,
    ip_header: &IpHeader<'a>,
    state: &DecodeState,
) -> Decoded<'a> {
    Decoded::Packet(Packet {
        source: ip_header.source,
        destination: ip_header.destination,
        source_port,
        destination_port,
        protocol,
        encapsulation: state.encapsulation(),
        transport,
    })
}
