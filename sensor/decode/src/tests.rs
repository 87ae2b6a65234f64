//! Frames built by hand, layer by layer, and frames of anything at all.

use proptest::prelude::*;

use super::fragments::{FragmentLimits, Origin, Reassembler};
use super::*;

const CLIENT: [u8; 4] = [192, 0, 2, 1];
const SERVER: [u8; 4] = [198, 51, 100, 2];
const CLIENT_PORT: u16 = 50_000;
const SERVER_PORT: u16 = 443;
const HELLO: &[u8] = b"\xc0hello from the inside, long enough to be cut";

fn join(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

fn ethernet(ethertype: u16, payload: &[u8]) -> Vec<u8> {
    join(&[&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2], &ethertype.to_be_bytes(), payload])
}

fn tag(id: u16, ethertype: u16, payload: &[u8]) -> Vec<u8> {
    join(&[&(0x6000 | id).to_be_bytes(), &ethertype.to_be_bytes(), payload])
}

fn snap(ethertype: u16, payload: &[u8]) -> Vec<u8> {
    join(&[&[0xaa, 0xaa, 3, 0, 0, 0], &ethertype.to_be_bytes(), payload])
}

fn v4_with(source: [u8; 4], destination: [u8; 4], protocol: u8, place: u16, options: &[u8], payload: &[u8]) -> Vec<u8> {
    v4_identified(0x1234, source, destination, protocol, place, options, payload)
}

fn v4_identified(
    identification: u16,
    source: [u8; 4],
    destination: [u8; 4],
    protocol: u8,
    place: u16,
    options: &[u8],
    payload: &[u8],
) -> Vec<u8> {
    let header_length = 20 + options.len();
    let total = (header_length + payload.len()) as u16;
    let mut header = vec![0x40 | (header_length / 4) as u8, 0];
    header.extend(total.to_be_bytes());
    header.extend(identification.to_be_bytes());
    header.extend(place.to_be_bytes());
    header.extend([64, protocol, 0, 0]);
    header.extend(source);
    header.extend(destination);
    header.extend(options);
    let sum: u32 = header.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    let sum = !((sum & 0xffff) + (sum >> 16)) as u16;
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    join(&[&header, payload])
}

fn v4(protocol: u8, payload: &[u8]) -> Vec<u8> {
    v4_with(CLIENT, SERVER, protocol, 0x4000, &[], payload)
}

/// An outer IPv4 packet, between two tunnel ends.
fn outer(protocol: u8, payload: &[u8]) -> Vec<u8> {
    v4_with([10, 0, 0, 1], [10, 0, 0, 2], protocol, 0, &[], payload)
}

fn v6_ends() -> ([u8; 16], [u8; 16]) {
    let mut ends = [[0; 16]; 2];
    for (end, last) in ends.iter_mut().zip(1..) {
        end[..4].copy_from_slice(&[0x20, 1, 0x0d, 0xb8]);
        end[15] = last;
    }
    (ends[0], ends[1])
}

fn v6_between(source: [u8; 16], destination: [u8; 16], next: u8, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u16).to_be_bytes();
    join(&[&[0x60, 0, 0, 0, length[0], length[1], next, 64], &source, &destination, payload])
}

fn v6(next: u8, payload: &[u8]) -> Vec<u8> {
    let (source, destination) = v6_ends();
    v6_between(source, destination, next, payload)
}

fn udp(source: u16, destination: u16, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() + 8) as u16;
    join(&[&source.to_be_bytes(), &destination.to_be_bytes(), &length.to_be_bytes(), &[0, 0], payload])
}

fn tcp(offset: u8, payload: &[u8]) -> Vec<u8> {
    let mut segment = join(&[&CLIENT_PORT.to_be_bytes(), &SERVER_PORT.to_be_bytes(), &[1, 2, 3, 4, 0, 0, 0, 9]]);
    segment.extend([offset << 4, Segment::ACK, 1, 0, 0, 0, 0, 0]);
    segment.extend(payload);
    segment
}

/// The packet that all tunnels of these tests carry.
fn inner4() -> Vec<u8> {
    v4(17, &udp(CLIENT_PORT, SERVER_PORT, HELLO))
}

fn inner6() -> Vec<u8> {
    v6(17, &udp(CLIENT_PORT, SERVER_PORT, HELLO))
}

fn inner_frame() -> Vec<u8> {
    ethernet(0x0800, &inner4())
}

fn frame(link_type: u16, data: &[u8]) -> Frame<'_> {
    let wire_length = data.len() as u32;
    Frame { timestamp_ns: 0, number: 1, wire_length, link_type: LinkType(link_type), interface: 0, data }
}

fn run(link_type: u16, data: &[u8]) -> Result<Decoded<'_>, DecodeError> {
    decode(&frame(link_type, data), &DecodeLimits::default())
}

fn packet(link_type: u16, data: &[u8]) -> Packet<'_> {
    match run(link_type, data) {
        Ok(Decoded::Packet(packet)) => packet,
        other => panic!("{other:?} of {data:02x?}"),
    }
}

fn error(link_type: u16, data: &[u8]) -> DecodeError {
    run(link_type, data).unwrap_err()
}

/// Asserts that `data` comes down to the packet of [`inner4`] or [`inner6`].
#[track_caller]
fn comes_down_to_the_inner(
    link_type: u16,
    data: &[u8],
    kind: Option<TunnelKind>,
    depth: u8,
    vlans: &[u16],
) -> Encapsulation {
    let packet = packet(link_type, data);
    let (source6, destination6) = v6_ends();
    let ends = (packet.source, packet.destination);
    assert!(
        ends == (Address::v4(CLIENT), Address::v4(SERVER)) || ends == (Address::v6(source6), Address::v6(destination6)),
        "{packet:?}"
    );
    assert_eq!((packet.source_port, packet.destination_port, packet.protocol), (CLIENT_PORT, SERVER_PORT, 17));
    assert!(matches!(packet.transport, Transport::Udp(UdpDatagram { payload: HELLO, .. })), "{packet:?}");
    let encapsulation = packet.encapsulation;
    assert_eq!(encapsulation.tunnel.map(|tunnel| tunnel.kind), kind);
    assert_eq!(encapsulation.tunnel_depth, depth);
    assert_eq!(&encapsulation.vlans[..usize::from(encapsulation.vlan_count)], vlans);
    encapsulation
}

#[test]
fn plain_ethernet_carries_both_versions_and_both_transports() {
    comes_down_to_the_inner(1, &inner_frame(), None, 0, &[]);
    comes_down_to_the_inner(1, &ethernet(0x86dd, &inner6()), None, 0, &[]);
    let data = ethernet(0x0800, &v4(6, &tcp(5, b"payload")));
    let packet = packet(1, &data);
    let Transport::Tcp(segment) = packet.transport else { panic!("{packet:?}") };
    assert_eq!((segment.sequence, segment.flags, segment.payload), (0x0102_0304, Segment::ACK, &b"payload"[..]));
    assert_eq!((packet.source_port, packet.destination_port), (CLIENT_PORT, SERVER_PORT));
}

#[test]
fn a_trailer_is_no_payload() {
    let padded = join(&[&inner_frame(), &[0xee; 9]]);
    comes_down_to_the_inner(1, &padded, None, 0, &[]);
    let padded = join(&[&ethernet(0x86dd, &inner6()), &[0xee; 9]]);
    comes_down_to_the_inner(1, &padded, None, 0, &[]);
}

#[test]
fn tags_are_passed_and_three_are_kept() {
    for ethertype in [0x8100, 0x88a8, 0x9100, 0x9200] {
        comes_down_to_the_inner(1, &ethernet(ethertype, &tag(7, 0x0800, &inner4())), None, 0, &[7]);
    }
    let five =
        (1..=5).rev().fold((0x0800, inner4()), |(ethertype, payload), id| (0x8100, tag(id, ethertype, &payload)));
    comes_down_to_the_inner(1, &ethernet(five.0, &five.1), None, 0, &[1, 2, 3]);
    comes_down_to_the_inner(1, &ethernet(0x8100, &tag(0, 0x0800, &inner4())), None, 0, &[]);
    let length = snap(0x0800, &inner4());
    comes_down_to_the_inner(1, &ethernet(0x8100, &tag(9, length.len() as u16, &length)), None, 0, &[9]);
    let many = (0..40).fold((0x0800, inner4()), |(ethertype, payload), _| (0x8100, tag(1, ethertype, &payload)));
    assert_eq!(error(1, &ethernet(many.0, &many.1)), DecodeError::TooDeep);
    for (ethertype, header) in [
        (0x8909, &[1, 1, 0, 1, 0, 5][..]),
        (0x8926, &[0x80, 1, 0, 1]),
        (0x893f, &[0, 0, 0, 1, 0, 0]),
        (0x88e5, &[0, 0, 0, 0, 0, 1]),
        (0x892f, &[0, 0x50, 0, 9]),
        (0x8988, &[1, 2, 3, 4, 5, 6]),
        (0xd28b, &[0, 1, 0, 0x20, 0, 0, 0, 0, 0, 0]),
        (0xd28b, &[0, 1, 1, 0x10, 0, 0, 0, 0, 0, 0, 0, 0]),
        (0x88e5, &[0x20, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0, 1]),
    ] {
        let data = ethernet(ethertype, &join(&[header, &[0x08, 0], &inner4()]));
        comes_down_to_the_inner(1, &data, None, 0, &[]);
    }
    assert_eq!(error(1, &ethernet(0x88e5, &[0x0c; 60])), DecodeError::Encrypted);
}

#[test]
fn llc_comes_with_and_without_snap() {
    for llc in [snap(0x0800, &inner4()), join(&[&[6, 6, 3], &inner4()]), join(&[&[0xfe, 0xfe, 3, 0xcc], &inner4()])] {
        comes_down_to_the_inner(1, &ethernet(llc.len() as u16, &llc), None, 0, &[]);
    }
    let bridged = join(&[&[0xaa, 0xaa, 3, 0, 0x80, 0xc2, 0, 7], &inner_frame()]);
    comes_down_to_the_inner(1, &ethernet(bridged.len() as u16, &bridged), None, 0, &[]);
    assert_eq!(error(1, &ethernet(38, &[0x42; 38])), DecodeError::NotIp);
    assert_eq!(error(1, &ethernet(0x0806, &[0; 28])), DecodeError::NotIp);
}

#[test]
fn shims_below_ip_are_tunnels_without_addresses() {
    let label = |label: u32, bottom: u32| (label << 12 | bottom << 8 | 64).to_be_bytes();
    let pppoe = |payload: &[u8]| join(&[&[0x11, 0, 0, 1, 0xff, 0xff], payload]);
    let itag = [0, 0, 0x27, 0x10];
    for (kind, ethertype, payload) in [
        (TunnelKind::Mpls, 0x8847, join(&[&label(16, 1), &inner4()])),
        (TunnelKind::Mpls, 0x8848, join(&[&label(16, 0), &label(17, 0), &label(18, 1), &inner6()])),
        (TunnelKind::Mpls, 0x8847, join(&[&label(16, 1), &[0; 4], &inner_frame()])),
        (TunnelKind::Mpls, 0x8847, join(&[&label(16, 1), &inner_frame()])),
        (TunnelKind::Pppoe, 0x8864, pppoe(&join(&[&[0, 0x21], &inner4()]))),
        (TunnelKind::Pppoe, 0x8864, pppoe(&join(&[&[0x57], &inner6()]))),
        (TunnelKind::Pppoe, 0x8864, pppoe(&join(&[&[0, 0x31, 0, 1], &inner_frame()]))),
        (TunnelKind::Pppoe, 0x8864, pppoe(&join(&[&[0, 0x3d, 0xc0, 0, 0, 1, 0x21], &inner4()]))),
        (TunnelKind::Pbb, 0x88e7, join(&[&itag, &inner_frame()])),
        (TunnelKind::Nsh, 0x894f, join(&[&[0x0f, 0xc6, 1, 3, 0, 0, 1, 255], &[0; 16], &inner_frame()])),
        (TunnelKind::Nsh, 0x894f, join(&[&[0x0f, 0xc2, 2, 1, 0, 0, 1, 255], &inner4()])),
        (TunnelKind::Trill, 0x22f3, join(&[&[0, 0x45, 0, 1, 0, 2, 9, 9, 9, 9], &inner_frame()])),
    ] {
        let encapsulation = comes_down_to_the_inner(1, &ethernet(ethertype, &payload), Some(kind), 1, &[]);
        assert_eq!(encapsulation.tunnel, Some(Tunnel { kind, source: None, destination: None }));
        assert_eq!(encapsulation.network != 0, kind == TunnelKind::Pbb);
    }
    comes_down_to_the_inner(1, &ethernet(0x8903, &join(&[&[0x10, 0x20], &inner_frame()])), None, 0, &[]);
    assert_eq!(error(1, &ethernet(0x8864, &[0x11, 9, 0, 0, 0, 0])), DecodeError::NotIp);
    // A pseudo-wire whose addresses look like IP and like a control word.
    let mut like_ip = join(&[&label(16, 1), &inner_frame()]);
    for first in [0x45, 0x60, 0x00] {
        like_ip[4] = first;
        comes_down_to_the_inner(1, &ethernet(0x8847, &like_ip), Some(TunnelKind::Mpls), 1, &[]);
    }
}

#[test]
fn every_link_type_finds_its_packet() {
    let ppp = join(&[&[0xff, 3, 0, 0x21], &inner4()]);
    let llc = snap(0x0800, &inner4());
    let wifi = |control: [u8; 2], header: usize| join(&[&control, &vec![0; header - 2], &llc]);
    let radiotap = |header: &[u8], frame: &[u8]| join(&[header, frame]);
    let attribute =
        |kind: u8, payload: &[u8]| join(&[&((payload.len() + 4) as u16).to_le_bytes(), &[kind, 0], payload]);
    let padded = join(&[&[0x88, 2], &[0; 26], &llc]);
    let aggregate = join(&[&[0x88, 1], &[0; 22], &[0x80, 0], &[0; 12], &(llc.len() as u16).to_be_bytes(), &llc]);
    let pktap = |link_type: u32, is_big: bool| {
        let words = [108, 1, link_type].map(|word: u32| if is_big { word.to_be_bytes() } else { word.to_le_bytes() });
        join(&[&words.concat(), &[0; 96]])
    };
    let exported = |dissector: &[u8], port_type: u8| {
        let port = |tag: u8, port: u16| join(&[&[0, tag, 0, 4, 0, 0], &port.to_be_bytes()]);
        let name = join(&[&[0, 12, 0, dissector.len() as u8], dissector]);
        let addresses = join(&[&[0, 20, 0, 4], &CLIENT, &[0, 21, 0, 4], &SERVER]);
        let ports = join(&[&[0, 24, 0, 4, 0, 0, 0, port_type], &port(25, CLIENT_PORT), &port(26, SERVER_PORT)]);
        join(&[&name, &addresses, &ports, &[0, 0, 0, 0], HELLO])
    };
    for (link_type, data) in [
        (0, join(&[&[2, 0, 0, 0], &inner4()])),
        (0, join(&[&[0, 0, 0, 2], &inner4()])),
        (0, join(&[&[30, 0, 0, 0], &inner6()])),
        (0, join(&[&[0x0f, 0, 8, 0], &inner4()])),
        (108, join(&[&[0, 0, 0, 24], &inner6()])),
        (108, join(&[&[0, 0, 0, 28], &inner6()])),
        (108, join(&[&[10, 0, 0, 0], &inner6()])),
        (109, join(&[&[2, 0, 0, 0], &[0; 8], &inner4()])),
        (9, ppp.clone()),
        (9, join(&[&[0x21], &inner4()])),
        (50, ppp.clone()),
        (50, join(&[&[0x0f, 0, 0x08, 0], &inner4()])),
        (204, join(&[&[1], &ppp])),
        (104, join(&[&[0x8f, 0, 0x86, 0xdd], &inner6()])),
        (107, join(&[&[0x18, 0x41, 3, 0xcc], &inner4()])),
        (107, join(&[&[0x18, 0x41, 3, 0, 0x80, 0, 0, 0, 8, 0], &inner4()])),
        (107, join(&[&[0x18, 0x41, 8, 0], &inner4()])),
        (10, join(&[&[0; 13], &llc])),
        (12, inner4()),
        (101, inner4()),
        (101, inner6()),
        (228, inner4()),
        (229, inner6()),
        (113, join(&[&[0; 14], &[8, 0], &inner4()])),
        (113, join(&[&[0; 14], &[0, 4], &llc])),
        (276, join(&[&[0x86, 0xdd], &[0; 18], &inner6()])),
        (105, wifi([0x08, 1], 24)),
        (105, wifi([0x88, 2], 26)),
        (105, wifi([0x08, 3], 30)),
        (105, wifi([0x88, 0x83], 36)),
        (105, aggregate),
        (127, radiotap(&[0, 0, 8, 0, 0, 0, 0, 0], &wifi([0x08, 2], 24))),
        (127, radiotap(&[0, 0, 9, 0, 2, 0, 0, 0, 0x20], &padded)),
        (127, radiotap(&[0, 0, 25, 0, 3, 0, 0, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x20], &padded)),
        (119, join(&[&[0; 144], &wifi([0x08, 1], 24)])),
        (163, join(&[&[0; 4], &[0, 0, 0, 64], &[0; 56], &wifi([0x08, 1], 24)])),
        (192, join(&[&[0, 0, 8, 0, 105, 0, 0, 0], &wifi([0x08, 1], 24)])),
        (226, join(&[&[0; 24], &inner6()])),
        (
            239,
            join(&[
                &[2, 0, 0, 0],
                &attribute(1, &[8, 0, 3, 0]),
                &attribute(10, b"x\0"),
                &[0; 2],
                &attribute(9, &inner4()),
            ]),
        ),
        (240, join(&[&[0; 4], &inner_frame()])),
        (241, join(&[&[0; 4], &[0x55; 7], &[0xd5], &inner_frame()])),
        (6, join(&[&[0x10, 0x40, 2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1], &llc])),
        (6, join(&[&[0x10, 0x40, 2, 0, 0, 0, 0, 2, 0x82, 0, 0, 0, 0, 1, 6, 0x30, 0, 0x12, 0, 0x20], &llc])),
        (7, join(&[&[1, 2, 212, 0, 0, 1], &inner4()])),
        (7, join(&[&[1, 2, 240], &inner4()])),
        (129, join(&[&[1, 2, 0, 0, 212, 0, 0, 1], &inner4()])),
        (129, join(&[&[1, 2, 0, 0, 196, 0, 0, 1], &inner6()])),
        (129, join(&[&[1, 2, 0, 0, 240], &inner4()])),
        (129, join(&[&[1, 2, 0, 0, 212, 0xff, 0, 0, 212, 0, 0, 1], &inner4()])),
        (99, join(&[&[192, 0, 2, 9, 0, 0, 8, 0], &[0; 36], &inner4()])),
        (99, join(&[&[192, 0, 2, 9, 0, 0, 0, 0, 0, 0, 0x86, 0xdd], &[0; 44], &inner6()])),
        (100, llc.clone()),
        (117, join(&[&[61, 2, 0, 0], b"em0", &[0; 57], &inner4()])),
        (117, join(&[&[100, 24, 0, 0], &[0; 96], &inner6()])),
        (119, join(&[&[0x80, 0x21, 0x10, 1, 0, 0, 0, 64], &[0; 56], &wifi([0x08, 1], 24)])),
        (122, join(&[&[0; 16], &llc])),
        (123, join(&[&[0x82, 0, 0, 32], &llc])),
        (123, join(&[&[0x81, 0, 0, 32, 0, 1], &inner_frame()])),
        (138, join(&[&[0; 16], &[8, 0], &inner4()])),
        (149, join(&[&pktap(1, false), &inner_frame()])),
        (258, join(&[&pktap(1, false), &inner_frame()])),
        (258, join(&[&pktap(12, false), &inner4()])),
        (258, join(&[&pktap(0, true), &[30, 0, 0, 0], &inner6()])),
        (258, join(&[&pktap(192, false), &[0, 0, 8, 0, 1, 0, 0, 0], &inner_frame()])),
        (178, join(&[&[0x4d, 0x47, 0x43, 1], &inner_frame()])),
        (178, join(&[&[0x4d, 0x47, 0x43, 0x81, 0, 6, 1, 1, 9, 3, 1, 9], &inner_frame()])),
        (178, join(&[&[0x4d, 0x47, 0x43, 2, 2, 0, 0, 0], &inner4()])),
        (179, join(&[&[0x4d, 0x47, 0x43, 0], &ppp])),
        (180, join(&[&[0x4d, 0x47, 0x43, 0, 0x18, 0x41, 3, 0xcc], &inner4()])),
        (181, join(&[&[0x4d, 0x47, 0x43, 1, 0x0f, 0, 8, 0], &inner4()])),
        (197, join(&[&[0; 8], &[2, 4, 0, 0, 0, 0, 0, 0], &[0, 0], &inner_frame()])),
        (197, join(&[&[0; 8], &[0x82, 4, 0, 0, 0, 0, 0, 0], &[0x83; 8], &[3; 8], &[0, 0], &inner_frame()])),
        (197, join(&[&[0; 8], &[1, 4, 0, 0, 0, 0, 0, 0], &[0x0f, 0, 8, 0], &inner4()])),
        (197, join(&[&[0; 8], &[1, 4, 0, 0, 0, 0, 0, 0], &ppp])),
        (197, join(&[&[0; 8], &[22, 4, 0, 0, 0, 0, 0, 0], &inner4()])),
        (205, join(&[&[1, 0x0f, 0, 8, 0], &inner4()])),
        (206, join(&[&[1, 0x18, 0x41, 3, 0xcc], &inner4()])),
        (242, join(&[&[0; 40], &[8, 0, 0, 0], &inner4()])),
        (242, join(&[&[0x86, 0xdd, 0, 0], &inner6()])),
        (252, join(&[&[0, 12, 0, 4], b"ip\0\0", &[0, 0, 0, 0], &inner4()])),
        (252, join(&[&[0, 12, 0, 16], b"eth_withoutfcs\0\0", &[0, 0, 0, 0], &inner_frame()])),
        (252, exported(b"quic\0\0\0\0", 3)),
        (259, join(&[&[0x55, 0x55, 0xd5, 0x55, 0x55, 0, 0, 0], &inner_frame()])),
        (274, join(&[&[0x55; 7], &[0xd5], &inner_frame()])),
        (274, join(&[&[0x55; 6], &[0xe6], &inner_frame()])),
    ] {
        comes_down_to_the_inner(link_type, &data, None, 0, &[]);
    }
    let pppoe = join(&[&[0x11, 0, 0, 1, 0, 0], &ppp]);
    let pppoe_frame = join(&[&[0x4d, 0x47, 0x43, 1], &ethernet(0x8864, &pppoe)]);
    comes_down_to_the_inner(167, &pppoe_frame, Some(TunnelKind::Pppoe), 1, &[]);
    let pppoe_payload = join(&[&[0x4d, 0x47, 0x43, 1, 0x88, 0x64], &pppoe]);
    comes_down_to_the_inner(168, &pppoe_payload, Some(TunnelKind::Pppoe), 1, &[]);
    assert_eq!(error(149, &inner_frame()), DecodeError::LinkUnsupported);
    assert_eq!(error(178, &inner_frame()), DecodeError::LinkMalformed);
    assert_eq!(error(274, &join(&[&[0x55; 6], &[0x61, 0xe6], &inner_frame()])), DecodeError::NotIp);
    let nested = (0..40).fold(inner_frame(), |inner, _| join(&[&[0, 0, 8, 0, 192, 0, 0, 0], &inner]));
    assert_eq!(error(192, &nested), DecodeError::TooDeep);
    comes_down_to_the_inner(51, &join(&[&[0x11, 0, 0, 1, 0, 0], &ppp]), Some(TunnelKind::Pppoe), 1, &[]);
    comes_down_to_the_inner(219, &join(&[&[0, 1, 1, 64], &inner4()]), Some(TunnelKind::Mpls), 1, &[]);
    assert_eq!(error(105, &wifi([0x08, 0x41], 24)), DecodeError::Encrypted);
    assert_eq!(error(105, &[0x80; 40]), DecodeError::NotIp);
    assert_eq!(error(0xfff, &inner_frame()), DecodeError::LinkUnsupported);
}

#[test]
fn all_packets_of_an_aggregate_are_read() {
    let other = v4_with(SERVER, CLIENT, 6, 0x4000, &[], &tcp(5, b"reply"));
    let subframe = |packet: &[u8]| {
        let llc = snap(0x0800, packet);
        let mut bytes = join(&[&[0; 12], &(llc.len() as u16).to_be_bytes(), &llc]);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    };
    let frame_of = |subframes: &[Vec<u8>]| join(&[&[0x88, 1], &[0; 22], &[0x80, 0], &subframes.concat()]);
    let arp = join(&[&[0; 12], &[0, 8], &snap(0x0806, &[]), &[0; 2]]);
    let data = frame_of(&[subframe(&other), arp.clone(), subframe(&inner4())]);
    let Ok(Decoded::Aggregate(aggregate)) = run(105, &data) else { panic!() };
    let subframes: Vec<_> = aggregate.collect();
    assert_eq!(subframes.len(), 3);
    let Ok(Decoded::Packet(first)) = subframes[0].decoded else { panic!() };
    assert_eq!((first.source, first.protocol), (Address::v4(SERVER), 6));
    assert_eq!(subframes[1].decoded.as_ref().unwrap_err(), &DecodeError::NotIp);
    let Ok(Decoded::Packet(last)) = subframes[2].decoded else { panic!() };
    assert!(matches!(last.transport, Transport::Udp(UdpDatagram { payload: HELLO, .. })));
    assert_eq!(subframes[2].wire_length as usize, 14 + 8 + inner4().len());
    // One of several that can be read is a packet as any other; of none the first tells why.
    comes_down_to_the_inner(105, &frame_of(&[arp.clone(), subframe(&inner4())]), None, 0, &[]);
    assert_eq!(error(105, &frame_of(&[arp.clone(), arp])), DecodeError::NotIp);
    // Also in tunnels.
    let capwap = join(&[&[0, 0x10, 3, 0, 0, 0, 0, 0], &data]);
    let outer = outer(17, &udp(40_000, 5247, &capwap));
    let Ok(Decoded::Aggregate(aggregate)) = run(228, &outer) else { panic!() };
    let Some(Subframe { decoded: Ok(Decoded::Packet(packet)), .. }) = aggregate.last() else { panic!() };
    assert_eq!(packet.encapsulation.tunnel.map(|tunnel| tunnel.kind), Some(TunnelKind::Capwap));
}

#[test]
fn fragments_of_capwap_are_joined() {
    let message = join(&[&[0x88, 1], &[0; 24], &snap(0x0800, &inner4())]);
    let fragment = |source: u16, offset: u16, last: bool| {
        let end = if last { message.len() } else { usize::from(offset) + 48 };
        let flags = 0x80 | if last { 0x40 } else { 0 };
        let header = join(&[&[0, 0x10, 3, flags, 0x12, 0x34], &offset.to_be_bytes()]);
        outer(17, &udp(source, 5247, &join(&[&header, &message[usize::from(offset)..end]])))
    };
    let mut fragments = Reassembler::new(FragmentLimits::default());
    let frames = [fragment(40_000, 48, true), fragment(41_000, 0, false), fragment(40_000, 0, false)];
    let encapsulation = follow(&mut fragments, 228, &frames).unwrap();
    let (source, destination) = (Some(Address::v4([10, 0, 0, 1])), Some(Address::v4([10, 0, 0, 2])));
    assert_eq!(encapsulation.tunnel, Some(Tunnel { kind: TunnelKind::Capwap, source, destination }));
    assert_eq!((encapsulation.tunnel_depth, fragments.datagrams()), (1, 1));
}

#[test]
fn lengths_that_lie_lose_nothing() {
    let mut offloaded = inner_frame();
    offloaded[16..18].fill(0);
    comes_down_to_the_inner(1, &offloaded, None, 0, &[]);
    let mut offloaded = ethernet(0x86dd, &inner6());
    offloaded[18..20].fill(0);
    comes_down_to_the_inner(1, &offloaded, None, 0, &[]);
    for length in [0_u16, 9999] {
        let mut datagram = udp(CLIENT_PORT, SERVER_PORT, HELLO);
        datagram[4..6].copy_from_slice(&length.to_be_bytes());
        comes_down_to_the_inner(228, &v4(17, &datagram), None, 0, &[]);
    }
    let mut datagram = udp(CLIENT_PORT, SERVER_PORT, HELLO);
    datagram[5] = 8 + 4;
    let data = v4(17, &datagram);
    assert!(matches!(packet(228, &data).transport, Transport::Udp(datagram) if datagram.payload == &HELLO[..4]));
    datagram[5] = 7;
    assert_eq!(error(228, &v4(17, &datagram)), DecodeError::UdpMalformed);
    let mut short = inner4();
    short[2..4].copy_from_slice(&[0, 19]);
    assert_eq!(error(228, &short), DecodeError::Ipv4Malformed);
    assert_eq!(error(228, &v4(6, &tcp(4, b"x"))), DecodeError::TcpMalformed);
    assert_eq!(error(228, &v4(6, &tcp(15, b"x"))), DecodeError::TcpMalformed);
}

#[test]
fn a_capture_cut_in_the_options_keeps_the_ports() {
    let whole = v4(6, &tcp(10, &[1; 30]));
    let data = &whole[..20 + 24];
    let packet = packet(228, data);
    assert_eq!((packet.source_port, packet.destination_port), (CLIENT_PORT, SERVER_PORT));
    assert!(matches!(packet.transport, Transport::Tcp(Segment { sequence: 0x0102_0304, payload: &[], .. })));
    assert_eq!(error(228, &whole[..20 + 19]), DecodeError::TcpTruncated);
}

#[test]
fn options_and_extension_headers_are_passed() {
    let datagram = udp(CLIENT_PORT, SERVER_PORT, HELLO);
    comes_down_to_the_inner(228, &v4_with(CLIENT, SERVER, 17, 0, &[1; 40], &datagram), None, 0, &[]);
    let authentication = |next: u8| join(&[&[next, 4, 0, 0], &[0; 20]]);
    comes_down_to_the_inner(228, &v4(51, &join(&[&authentication(17), &datagram])), None, 0, &[]);
    let mut chain = datagram.clone();
    let mut next = 17;
    for (kind, length) in [(60, 16), (51, 24), (44, 8), (43, 8), (135, 8), (139, 40), (140, 8), (60, 8), (0, 8)] {
        let mut header = vec![0; length];
        header[0] = next;
        header[1] = if kind == 51 { 4 } else { (length / 8 - 1) as u8 };
        if kind == 44 {
            header[1] = 0;
        }
        chain = join(&[&header, &chain]);
        next = kind;
    }
    comes_down_to_the_inner(229, &v6(0, &chain), None, 0, &[]);
    let endless = (0..100).fold(datagram, |chain, _| join(&[&[60, 0, 0, 0, 0, 0, 0, 0], &chain]));
    assert_eq!(error(229, &v6(60, &endless)), DecodeError::TooDeep);
    assert_eq!(error(229, &v6(60, &[17, 9, 0, 0])), DecodeError::ExtensionTruncated);
}

#[test]
fn a_source_route_names_the_final_receiver() {
    let datagram = udp(CLIENT_PORT, SERVER_PORT, HELLO);
    let (client, server) = v6_ends();
    let hop = [0xfc; 16];
    for (kind, segments) in [(0, [hop, server]), (4, [server, hop])] {
        let route = |left: u8| join(&[&[17, 4, kind, left, 1, 0, 0, 0], &segments[0], &segments[1], &datagram]);
        comes_down_to_the_inner(229, &v6_between(client, hop, 43, &route(1)), None, 0, &[]);
        comes_down_to_the_inner(229, &v6_between(client, server, 43, &route(0)), None, 0, &[]);
    }
}

#[test]
fn an_ipv4_source_route_names_the_final_receiver() {
    let datagram = udp(CLIENT_PORT, SERVER_PORT, HELLO);
    let hop = [10, 9, 9, 9];
    for kind in [131, 137] {
        let route = |pointer: u8, end: [u8; 4]| join(&[&[1, kind, 11, pointer], &hop, &end]);
        comes_down_to_the_inner(228, &v4_with(CLIENT, hop, 17, 0, &route(4, SERVER), &datagram), None, 0, &[]);
        comes_down_to_the_inner(228, &v4_with(CLIENT, SERVER, 17, 0, &route(12, hop), &datagram), None, 0, &[]);
    }
    for broken in [[131, 1, 4, 0], [131, 40, 4, 0], [131, 3, 4, 0], [7, 0, 0, 0]] {
        comes_down_to_the_inner(228, &v4_with(CLIENT, SERVER, 17, 0, &broken, &datagram), None, 0, &[]);
    }
}

#[test]
fn transports_that_are_not_followed_are_no_error() {
    let data = v4(132, &[0x12, 0x34, 0x56, 0x78, 0, 0, 0, 0]);
    let sctp = packet(228, &data);
    assert_eq!((sctp.source_port, sctp.destination_port, sctp.protocol), (0x1234, 0x5678, 132));
    assert!(matches!(sctp.transport, Transport::Other));
    for (version, data) in [(228, v4(1, &[8, 0, 0, 0])), (229, v6(58, &[128, 0, 0, 0])), (229, v6(59, &[]))] {
        assert!(matches!(packet(version, &data).transport, Transport::Other));
    }
    // A bare acknowledgement of PPTP, a keep-alive of GRE, an L2TPv3 control message.
    for (protocol, payload) in [(47, &[0x20, 0x81, 0x88, 0x0b, 0, 0, 0, 1][..]), (47, &[0; 4]), (115, &[0; 12])] {
        let data = v4(protocol, payload);
        let packet = packet(228, &data);
        assert_eq!((packet.protocol, packet.encapsulation), (protocol, Encapsulation::default()));
    }
}

/// Tunnels over IP: their kind, protocol number and payload, and whether they name a network.
fn tunnels_over_ip() -> Vec<(TunnelKind, u8, Vec<u8>, bool)> {
    let gre = |flags: u16, protocol: u16, rest: &[u8]| join(&[&flags.to_be_bytes(), &protocol.to_be_bytes(), rest]);
    let label = [0, 1, 1, 64];
    let key = [0, 0, 0, 7];
    let any = [9; 4];
    let aruba = |control: &[u8], length: usize| join(&[control, &vec![0; length - 2], &snap(0x0800, &inner4())]);
    let erspan3 = |last: u8, rest: &[u8]| join(&[&any, &[0x20, 1, 0, 1], &[0; 7], &[last], rest]);
    vec![
        (TunnelKind::Ipip, 4, inner4(), false),
        (TunnelKind::SixInFour, 41, inner6(), false),
        (TunnelKind::Mpls, 137, join(&[&label, &inner4()]), false),
        (TunnelKind::EtherIp, 97, join(&[&[0x30, 0], &inner_frame()]), false),
        (TunnelKind::L2tp, 115, join(&[&any, &inner_frame()]), false),
        (TunnelKind::L2tp, 115, join(&[&any, &[1; 4], &inner_frame()]), false),
        (TunnelKind::L2tp, 115, join(&[&any, &[1; 8], &[0; 4], &inner_frame()]), false),
        (TunnelKind::Gre, 47, gre(0, 0x0800, &inner4()), false),
        (TunnelKind::Gre, 47, gre(0xb000, 0x86dd, &join(&[&any, &key, &any, &inner6()])), true),
        (TunnelKind::Gre, 47, gre(0x4000, 0x0800, &join(&[&any, &[8, 0, 0, 4], &any, &[0; 4], &inner4()])), false),
        (TunnelKind::Gre, 47, gre(0x2000, 0x6558, &join(&[&key, &inner_frame()])), true),
        (TunnelKind::Gre, 47, gre(0, 0x8847, &join(&[&label, &inner4()])), false),
        (TunnelKind::Gre, 47, gre(0, 0x6559, &join(&[&[0x18, 0x41, 3, 0xcc], &inner4()])), false),
        (TunnelKind::Gre, 47, gre(0, 0x880b, &join(&[&[0xff, 3, 0, 0x21], &inner4()])), false),
        (TunnelKind::Gre, 47, gre(0x3001, 0x880b, &join(&[&any, &any, &[0xff, 3, 0, 0x21], &inner4()])), false),
        (TunnelKind::Gre, 47, gre(0x3081, 0x880b, &join(&[&any, &any, &any, &[0x21], &inner4()])), false),
        (TunnelKind::EoIp, 47, gre(0x2001, 0x6400, &join(&[&any, &inner_frame()])), true),
        (TunnelKind::Wccp, 47, gre(0, 0x883e, &inner4()), false),
        (TunnelKind::Wccp, 47, gre(0, 0x883e, &join(&[&[0, 0, 1, 0], &inner4()])), false),
        (TunnelKind::Wccp, 47, gre(0, 0x883e, &join(&[&[0x40, 0, 1, 0], &inner4()])), false),
        (TunnelKind::Erspan, 47, gre(0, 0x88be, &inner_frame()), false),
        (
            TunnelKind::Erspan,
            47,
            gre(0x1000, 0x88be, &join(&[&any, &[0x10, 1, 0, 1, 0, 0, 0, 0], &inner_frame()])),
            false,
        ),
        (TunnelKind::Erspan, 47, gre(0, 0x88be, &join(&[&[0x10, 1, 0, 1, 0, 0, 0, 0], &inner_frame()])), false),
        (TunnelKind::Erspan, 47, gre(0x1000, 0x22eb, &erspan3(0, &inner_frame())), false),
        (TunnelKind::Erspan, 47, gre(0, 0x22eb, &erspan3(0, &inner_frame())[4..]), false),
        (TunnelKind::Gre, 47, gre(0, 0x8200, &aruba(&[0x88, 1], 26)), false),
        (TunnelKind::Gre, 47, gre(0, 0x8240, &aruba(&[0x08, 2], 24)), false),
        (TunnelKind::Gre, 47, gre(0, 0x8370, &aruba(&[0x88, 2], 26)), false),
        (TunnelKind::Gre, 47, gre(0, 0x9000, &aruba(&[0x88, 1], 26)), false),
        (TunnelKind::Erspan, 47, gre(0x1000, 0x22eb, &erspan3(1, &join(&[&[5; 8], &inner_frame()]))), false),
    ]
}

/// Tunnels over UDP, by the receiver's port.
fn tunnels_over_udp() -> Vec<(TunnelKind, u16, Vec<u8>, bool)> {
    let gtp = |flags: u8, rest: &[u8]| join(&[&[flags, 255], &(rest.len() as u16).to_be_bytes(), &[0, 0, 0, 9], rest]);
    let l2tp = |flags: [u8; 2], rest: &[u8]| join(&[&flags, rest]);
    let ppp = join(&[&[0xff, 3, 0, 0x21], &inner4()]);
    let authentication = join(&[&[0, 1, 2, 3], &[7; 5], &[8; 8], &[0]]);
    let origin = [0, 0, 1, 2, 3, 4, 5, 6];
    let ayiya = |identity: u8, signature: u8, packet: &[u8]| {
        let length = (1 << (identity >> 4)) + usize::from(signature >> 4) * 4;
        join(&[&[identity, signature, 0x11, 41, 0x65, 0x53, 0xf1, 0], &vec![5; length], packet])
    };
    let wifi = |control: [u8; 2], sequence: [u8; 2]| join(&[&control, &[0; 20], &sequence, &snap(0x0800, &inner4())]);
    vec![
        (TunnelKind::Vxlan, 4789, join(&[&[8, 0, 0, 0, 0, 0, 7, 0], &inner_frame()]), true),
        (TunnelKind::Vxlan, 8472, join(&[&[0x88, 0, 0, 9, 0, 0, 7, 0], &inner_frame()]), true),
        (TunnelKind::VxlanGpe, 4790, join(&[&[0x0c, 0, 0, 2, 0, 0, 7, 0], &inner6()]), true),
        (TunnelKind::VxlanGpe, 4789, join(&[&[0x0c, 0, 0, 3, 0, 0, 7, 0], &inner_frame()]), true),
        (TunnelKind::Geneve, 6081, join(&[&[0, 0, 0x65, 0x58, 0, 0, 7, 0], &inner_frame()]), true),
        (TunnelKind::Vxlan, 4789, join(&[&[8, 0, 0, 0, 0, 0, 7, 1], &inner_frame()]), true),
        (TunnelKind::Vxlan, 4789, join(&[&[0xfb, 1, 2, 3, 0, 0, 7, 0xff], &inner_frame()]), true),
        (TunnelKind::Vxlan, 4789, join(&[&[0x0c, 0, 0, 0, 0, 0, 7, 0], &inner_frame()]), true),
        (TunnelKind::Vxlan, 4789, join(&[&[0, 0, 0, 0, 0, 0, 7, 0], &inner_frame()]), false),
        (TunnelKind::VxlanGpe, 4790, join(&[&[0x8f, 5, 6, 1, 0, 0, 7, 9], &inner4()]), true),
        (TunnelKind::Geneve, 6081, join(&[&[0, 0x3f, 0x65, 0x58, 0, 0, 7, 0xff], &inner_frame()]), true),
        (TunnelKind::Gre, 4754, join(&[&[0, 0, 0x08, 0], &inner4()]), false),
        (TunnelKind::Gre, 4754, join(&[&[0x20, 0, 0x65, 0x58, 0, 0, 0, 7], &inner_frame()]), true),
        (TunnelKind::Lisp, 4341, join(&[&[0xc0, 1, 2, 3, 0, 0, 0, 1], &inner4()]), false),
        (TunnelKind::Lisp, 4341, join(&[&[0x88, 1, 2, 3, 0, 0, 7, 1], &inner6()]), true),
        (TunnelKind::Lisp, 4341, join(&[&[0x0c, 0, 0, 3, 0, 0, 7, 1], &inner_frame()]), true),
        (TunnelKind::Ayiya, 5072, ayiya(0x44, 0x52, &inner6()), false),
        (TunnelKind::Ayiya, 5072, ayiya(0x41, 0x52, &inner4()), false),
        (TunnelKind::Ayiya, 5072, ayiya(0x01, 0x02, &inner4()), false),
        (TunnelKind::HpErm, 7932, join(&[&[0, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], &inner_frame()]), false),
        (TunnelKind::JMirror, 30_030, join(&[&[0x40, 0, 0, 1, 0, 0, 0, 1], &inner4()]), false),
        (TunnelKind::JMirror, 30_030, join(&[&[0x40, 0, 0, 1, 0, 0, 0, 1], &inner6()]), false),
        (TunnelKind::JMirror, 30_030, join(&[&[0x40, 0, 0, 1, 0, 0, 0, 1], &ppp]), false),
        (TunnelKind::Tzsp, 37_008, join(&[&[1, 0, 0, 1, 1], &inner_frame()]), false),
        (TunnelKind::Tzsp, 37_008, join(&[&[1, 1, 0, 1, 0, 10, 1, 0xc4, 41, 2, 0, 7, 1], &inner_frame()]), false),
        (TunnelKind::Tzsp, 37_008, join(&[&[1, 0, 0, 18, 1], &wifi([0x08, 1], [0x10, 0])]), false),
        (TunnelKind::Geneve, 6081, join(&[&[2, 0x40, 0x08, 0, 0, 0, 7, 0], &[3; 8], &inner4()]), true),
        (TunnelKind::GtpU, 2152, gtp(0x30, &inner4()), false),
        (TunnelKind::GtpU, 2152, gtp(0x32, &join(&[&[0, 1, 0, 0], &inner6()])), false),
        (TunnelKind::GtpU, 2152, gtp(0x34, &join(&[&[0, 0, 0, 0x85, 1, 0, 9, 0x40, 1, 1, 1, 0], &inner4()])), false),
        (TunnelKind::GtpU, 2152, gtp(0x30, &inner_frame()), false),
        (TunnelKind::Teredo, 3544, inner6(), false),
        (TunnelKind::Teredo, 3544, join(&[&authentication, &origin, &inner6()]), false),
        (TunnelKind::L2tp, 1701, l2tp([0, 2], &join(&[&[0, 1, 0, 2], &ppp])), false),
        (TunnelKind::L2tp, 1701, l2tp([0x0a, 2], &join(&[&[0, 1, 0, 2, 0, 0, 0, 0, 0, 2, 0, 0], &ppp])), false),
        (TunnelKind::L2tp, 1701, l2tp([0x40, 2], &join(&[&[0, ppp.len() as u8 + 8, 0, 1, 0, 2], &ppp])), false),
        (TunnelKind::L2tp, 1701, l2tp([0, 3], &join(&[&[0, 0, 0, 0, 0, 1], &inner_frame()])), false),
        (TunnelKind::Mpls, 6635, join(&[&[0, 1, 1, 64], &inner4()]), false),
        (TunnelKind::Gue, 6080, join(&[&[0, 4, 0, 0], &inner4()]), false),
        (TunnelKind::Gue, 6080, inner6(), false),
        (TunnelKind::Capwap, 5247, join(&[&[0, 0x10, 0, 0, 0, 0, 0, 0], &inner_frame()]), false),
        (TunnelKind::Capwap, 5247, join(&[&[0, 0x10, 3, 0, 0, 0, 0, 0], &wifi([0x08, 1], [0x10, 1])]), false),
        (TunnelKind::Capwap, 5247, join(&[&[0, 0x10, 3, 0, 0, 0, 0, 0], &wifi([1, 0x08], [1, 0x10])]), false),
    ]
}

#[test]
fn tunnels_over_ip_are_opened() {
    let (source, destination) = (Some(Address::v4([10, 0, 0, 1])), Some(Address::v4([10, 0, 0, 2])));
    for (kind, protocol, payload, network) in tunnels_over_ip() {
        let data = ethernet(0x8100, &tag(5, 0x0800, &outer(protocol, &payload)));
        let depth = if payload.starts_with(&[0, 0, 0x88, 0x47]) { 2 } else { 1 };
        let encapsulation = comes_down_to_the_inner(1, &data, Some(kind), depth, &[5]);
        assert_eq!(encapsulation.tunnel, Some(Tunnel { kind, source, destination }));
        assert_eq!(encapsulation.network != 0, network, "{kind:?}");
    }
    comes_down_to_the_inner(229, &v6_between([1; 16], [2; 16], 4, &inner4()), Some(TunnelKind::FourInSix), 1, &[]);
    comes_down_to_the_inner(229, &v6_between([1; 16], [2; 16], 41, &inner6()), Some(TunnelKind::Ipip), 1, &[]);
    comes_down_to_the_inner(229, &v6_between([1; 16], [2; 16], 143, &inner_frame()), Some(TunnelKind::EtherIp), 1, &[]);
}

#[test]
fn tunnels_over_udp_are_opened() {
    let (source, destination) = (Some(Address::v4([10, 0, 0, 1])), Some(Address::v4([10, 0, 0, 2])));
    for (kind, port, payload, network) in tunnels_over_udp() {
        let data = ethernet(0x0800, &outer(17, &udp(40_000, port, &payload)));
        let encapsulation = comes_down_to_the_inner(1, &data, Some(kind), 1, &[]);
        assert_eq!(encapsulation.tunnel, Some(Tunnel { kind, source, destination }));
        assert_eq!(encapsulation.network != 0, network, "{kind:?}");
        let data = v6_between([1; 16], [2; 16], 17, &udp(40_000, port, &payload));
        comes_down_to_the_inner(229, &data, Some(kind), 1, &[]);
        // Some send from that port to another one.
        let data = outer(17, &udp(port, 55_555, &payload));
        comes_down_to_the_inner(228, &data, Some(kind), 1, &[]);
    }
    let mut ends = v6_ends();
    ends.1[..8].copy_from_slice(&[0x20, 1, 0, 0, 1, 2, 3, 4]);
    let data = outer(17, &udp(40_000, 50_000, &v6_between(ends.0, ends.1, 6, &tcp(5, b""))));
    assert_eq!(packet(228, &data).encapsulation.tunnel.unwrap().kind, TunnelKind::Teredo);
}

#[test]
fn a_port_alone_makes_no_tunnel() {
    let ports = [1701, 2152, 3544, 4341, 4754, 4789, 4790, 5072, 5247, 6080, 6081, 6635, 7932, 8472, 30_030, 37_008];
    let (source, destination) = (Address::v4([10, 0, 0, 1]), Address::v4([10, 0, 0, 2]));
    let is_plain = |data: &[u8], payload: &[u8]| {
        let packet = packet(228, data);
        assert_eq!(
            (packet.source, packet.destination, packet.encapsulation),
            (source, destination, Encapsulation::default())
        );
        assert!(matches!(packet.transport, Transport::Udp(plain) if plain.payload == payload), "{packet:?}");
    };
    for port in ports {
        for payload in [HELLO, b"", b"\x08", &[0; 100], &[0xff; 100], &[0x45; 100]] {
            is_plain(&outer(17, &udp(40_000, port, payload)), payload);
            is_plain(&outer(17, &udp(port, 443, payload)), payload);
        }
    }
    // What stands inside does not hold together: header bytes, or the packet.
    for (_, port, payload, _) in tunnels_over_udp() {
        let cut = &payload[..payload.len() - HELLO.len() - 30];
        is_plain(&outer(17, &udp(40_000, port, cut)), cut);
    }
    let mut short = join(&[&[8, 0, 0, 0, 0, 0, 7, 0], &inner_frame()]);
    short[8 + 14 + 3] += 1;
    is_plain(&outer(17, &udp(40_000, 4789, &short)), &short);
}

#[test]
fn networks_tell_equal_packets_apart() {
    let network = |vni: u8| {
        let vxlan = join(&[&[8, 0, 0, 0, 0, 0, vni, 0], &inner_frame()]);
        packet(228, &outer(17, &udp(40_000, 4789, &vxlan))).encapsulation.network
    };
    let networks: std::collections::BTreeSet<u32> = (0..=255).map(network).collect();
    assert_eq!(networks.len(), 256);
    assert_eq!(network(7), network(7));
    let teid = |teid: u8| {
        let gtp = join(&[&[0x30, 255, 0, inner4().len() as u8, 0, 0, 0, teid], &inner4()]);
        packet(228, &outer(17, &udp(40_000, 2152, &gtp))).encapsulation.network
    };
    assert_eq!((teid(1), teid(2)), (0, 0));
}

#[test]
fn nesting_is_bounded() {
    let nested = |count: usize| (0..count).fold(inner4(), |packet, _| outer(4, &packet));
    comes_down_to_the_inner(228, &nested(8), Some(TunnelKind::Ipip), 8, &[]);
    assert_eq!(error(228, &nested(9)), DecodeError::TooDeep);
    let vxlan = |packet: Vec<u8>| {
        outer(17, &udp(40_000, 4789, &join(&[&[8, 0, 0, 0, 0, 0, 7, 0], &ethernet(0x0800, &packet)])))
    };
    comes_down_to_the_inner(228, &(0..8).fold(inner4(), |packet, _| vxlan(packet)), Some(TunnelKind::Vxlan), 8, &[]);
    assert_eq!(error(228, &(0..9).fold(inner4(), |packet, _| vxlan(packet))), DecodeError::TooDeep);
    // Headers that are no tunnels, one in the other through all of a frame.
    let bridges = |header: &[u8]| {
        let frame = (0..60_000 / (header.len() + 14))
            .fold(inner_frame(), |inner, _| ethernet(0x8870, &join(&[header, &inner])));
        error(1, &frame)
    };
    assert_eq!(bridges(&[0xaa, 0xaa, 3, 0, 0x80, 0xc2, 0, 7]), DecodeError::TooDeep);
    let fabric = (0..3000).fold(inner_frame(), |inner, _| ethernet(0x8903, &join(&[&[0, 0], &inner])));
    assert_eq!(error(1, &fabric), DecodeError::TooDeep);
}

/// All fragments given one after the other; what comes of the last.
fn follow(fragments: &mut Reassembler, link_type: u16, frames: &[Vec<u8>]) -> Option<Encapsulation> {
    let limits = DecodeLimits::default();
    // Datagrams of earlier calls are no longer kept: the same identification is another datagram.
    assert!(fragments.next_expired(u64::MAX).is_none());
    let mut last = None;
    for data in frames {
        assert!(last.is_none(), "whole before its last fragment");
        let mut datagram;
        let mut decoded = decode(&frame(link_type, data), &limits).unwrap();
        while let Decoded::Fragment(fragment) = decoded {
            let mut readings = fragments.insert(&fragment, &Origin::default());
            let Some(joined) = fragments.next_reading(&mut readings) else { break };
            datagram = joined;
            decoded = decode_reassembled(&datagram, &limits).unwrap();
        }
        if let Decoded::Packet(packet) = decoded {
            assert_eq!((packet.source_port, packet.destination_port), (CLIENT_PORT, SERVER_PORT));
            assert!(matches!(packet.transport, Transport::Udp(UdpDatagram { payload: HELLO, .. })), "{packet:?}");
            last = Some(packet.encapsulation);
        }
    }
    last
}

fn v4_fragments(source: [u8; 4], protocol: u8, payload: &[u8], size: usize) -> Vec<Vec<u8>> {
    let count = payload.len().div_ceil(size);
    // Different datagrams have different identifications.
    let identification = payload.iter().fold(0, |sum: u16, &byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
    (0..count)
        .map(|index| {
            let more = if index + 1 < count { 0x2000 } else { 0 };
            let piece = &payload[index * size..payload.len().min(index * size + size)];
            v4_identified(identification, source, SERVER, protocol, (index * size / 8) as u16 | more, &[], piece)
        })
        .collect()
}

fn v6_fragments(next: u8, payload: &[u8], size: usize) -> Vec<Vec<u8>> {
    v6_fragments_of(5, next, payload, size)
}

fn v6_fragments_of(identification: u8, next: u8, payload: &[u8], size: usize) -> Vec<Vec<u8>> {
    let count = payload.len().div_ceil(size);
    (0..count)
        .map(|index| {
            let place = (index * size) as u16 | u16::from(index + 1 < count);
            let piece = &payload[index * size..payload.len().min(index * size + size)];
            let header = join(&[&[next, 0], &place.to_be_bytes(), &[0, 0, 0, identification], piece]);
            v6(60, &join(&[&[44, 0, 1, 4, 0, 0, 0, 0], &header]))
        })
        .collect()
}

#[test]
fn fragments_are_joined_and_followed() {
    let datagram = udp(CLIENT_PORT, SERVER_PORT, HELLO);
    let mut fragments = Reassembler::new(FragmentLimits::default());
    let plain = Some(Encapsulation::default());
    assert_eq!(follow(&mut fragments, 228, &v4_fragments(CLIENT, 17, &datagram, 16)), plain);
    let mut backwards = v4_fragments(CLIENT, 17, &datagram, 8);
    backwards.reverse();
    assert_eq!(follow(&mut fragments, 228, &backwards), plain);
    assert_eq!(follow(&mut fragments, 229, &v6_fragments(17, &datagram, 16)), plain);
    // Behind the fragment header more extension headers may stand.
    let options = join(&[&[17, 0, 1, 4, 0, 0, 0, 0], &datagram]);
    assert_eq!(follow(&mut fragments, 229, &v6_fragments(60, &options, 24)), plain);
    assert_eq!((fragments.counts().joined, fragments.datagrams()), (4, 0));
}

#[test]
fn fragments_in_tunnels_and_tunnels_in_fragments_are_joined() {
    let datagram = udp(CLIENT_PORT, SERVER_PORT, HELLO);
    let mut fragments = Reassembler::new(FragmentLimits::default());
    let inside: Vec<_> = v4_fragments(CLIENT, 17, &datagram, 24).iter().map(|packet| outer(4, packet)).collect();
    assert_eq!(follow(&mut fragments, 228, &inside).unwrap().tunnel_depth, 1);
    let vxlan = udp(40_000, 4789, &join(&[&[8, 0, 0, 0, 0, 0, 7, 0], &inner_frame()]));
    let outside = v4_fragments([10, 0, 0, 1], 17, &vxlan, 24);
    let encapsulation = follow(&mut fragments, 228, &outside).unwrap();
    assert_eq!(encapsulation.tunnel.unwrap().source, Some(Address::v4([10, 0, 0, 1])));
    // Both: fragments of a tunnel that carries fragments.
    let both: Vec<_> = v4_fragments(CLIENT, 17, &datagram, 24)
        .iter()
        .flat_map(|packet| v4_fragments([10, 0, 0, 9], 4, packet, 16))
        .collect();
    assert_eq!(follow(&mut fragments, 228, &both).unwrap().tunnel_depth, 1);
    // A datagram of fragments that is itself a fragment.
    let twice: Vec<_> = [(0_u16, true), (24, false)]
        .iter()
        .flat_map(|&(start, more)| {
            let end = if more { start + 24 } else { datagram.len() as u16 };
            let piece = &datagram[usize::from(start)..usize::from(end)];
            let header = [&[17, 0][..], &(start | u16::from(more)).to_be_bytes(), &[0, 0, 0, 77]];
            v6_fragments_of(start as u8, 44, &join(&[&header.concat(), piece]), 16)
        })
        .collect();
    assert_eq!(follow(&mut fragments, 229, &twice), Some(Encapsulation::default()));
}

#[test]
fn joins_count_as_encapsulation() {
    let limits = DecodeLimits { tunnel_depth_max: 2, ..DecodeLimits::default() };
    let whole = udp(CLIENT_PORT, SERVER_PORT, HELLO);
    for (tunnels, fits) in [(1, true), (2, false)] {
        let mut fragments = Reassembler::new(FragmentLimits::default());
        let mut joined = None;
        for packet in v4_fragments(CLIENT, 17, &whole, 24) {
            let data = (0..tunnels).fold(packet, |packet, _| outer(4, &packet));
            let Ok(Decoded::Fragment(fragment)) = decode(&frame(228, &data), &limits) else { panic!() };
            let mut readings = fragments.insert(&fragment, &Origin::default());
            joined = fragments.next_reading(&mut readings);
        }
        match decode_reassembled(&joined.unwrap(), &limits) {
            Ok(Decoded::Packet(packet)) => assert!(fits && packet.encapsulation.tunnel_depth == 1),
            other => assert!(!fits && matches!(other, Err(DecodeError::TooDeep))),
        }
    }
}

#[test]
fn a_fragment_truncated_by_the_capture_gives_its_part_of_the_packet() {
    let datagram = udp(CLIENT_PORT, SERVER_PORT, HELLO);
    let data = v4_with(CLIENT, SERVER, 17, 0x2000, &[], &datagram);
    let Ok(Decoded::Fragment(fragment)) = run(228, &data[..20 + 8 + 11]) else { panic!() };
    assert!(fragment.truncated);
    let mut fragments = Reassembler::new(FragmentLimits::default());
    let mut readings = fragments.insert(&fragment, &Origin::default());
    let part = fragments.next_reading(&mut readings).unwrap();
    let Ok(Decoded::Packet(packet)) = decode_reassembled(&part, &DecodeLimits::default()) else { panic!() };
    assert!(matches!(packet.transport, Transport::Udp(part) if part.payload == &HELLO[..11]));
    assert_eq!((packet.source_port, packet.destination_port), (CLIENT_PORT, SERVER_PORT));
    assert_eq!((fragments.counts().truncated, fragments.datagrams()), (1, 0));
}

#[test]
fn a_frame_cut_anywhere_gives_what_is_there() {
    let gtp = join(&[&[0x30, 255], &(inner4().len() as u16).to_be_bytes(), &[0, 0, 0, 9], &inner4()]);
    let gre = join(&[
        &[0x20, 0, 0x65, 0x58, 0, 0, 0, 7],
        &ethernet(0x8100, &tag(3, 0x0800, &outer(17, &udp(9, 2152, &gtp)))),
    ]);
    let whole = ethernet(0x88a8, &tag(1, 0x8847, &join(&[&[0, 1, 1, 64], &v6(47, &gre)])));
    comes_down_to_the_inner(1, &whole, Some(TunnelKind::Mpls), 3, &[1, 3]);
    let hello_starts = whole.len() - HELLO.len();
    for length in 0..whole.len() {
        let cut = Frame { wire_length: whole.len() as u32, ..frame(1, &whole[..length]) };
        match decode(&cut, &DecodeLimits::default()) {
            Ok(Decoded::Packet(packet)) if length >= hello_starts => {
                assert!(
                    matches!(packet.transport, Transport::Udp(datagram) if datagram.payload == &HELLO[..length - hello_starts])
                );
                assert_eq!(packet.encapsulation.tunnel_depth, 3);
            }
            // The inner packet cannot be told yet: the outer one is given.
            Ok(Decoded::Packet(packet)) => assert_eq!(packet.destination_port, 2152, "{length}"),
            Ok(other) => panic!("{other:?}"),
            Err(_) => assert!(length < hello_starts - 8 - 20 - 8, "{length}"),
        }
    }
}

#[test]
fn a_joined_packet_of_ip_decodes_by_its_version() {
    let limits = DecodeLimits::default();
    let encapsulation = Encapsulation { network: 5, ..Encapsulation::default() };
    for bytes in [inner4(), inner6()] {
        let Ok(Decoded::Packet(packet)) = decode_ip(&bytes, encapsulation, &limits) else { panic!() };
        assert_eq!((packet.encapsulation, packet.destination_port), (encapsulation, SERVER_PORT));
    }
    assert_eq!(decode_ip(&[0x50; 40], encapsulation, &limits).unwrap_err(), DecodeError::NotIp);
}

/// Every link type that is read, and some that are not.
fn link_types() -> Vec<u16> {
    LinkType::SUPPORTED.iter().map(|link_type| link_type.0).chain([2, 12, 14, 0xfff]).collect()
}

fn all_frames() -> Vec<Vec<u8>> {
    let over_ip = tunnels_over_ip().into_iter().map(|(_, protocol, payload, _)| outer(protocol, &payload));
    let over_udp = tunnels_over_udp().into_iter().map(|(_, port, payload, _)| outer(17, &udp(9, port, &payload)));
    over_ip.chain(over_udp).map(|packet| ethernet(0x8100, &tag(4, 0x0800, &packet))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn no_bytes_bring_it_down(
        link_type in prop::sample::select(link_types()),
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        cut in any::<bool>(),
    ) {
        let frame = Frame { wire_length: bytes.len() as u32 + u32::from(cut), ..frame(link_type, &bytes) };
        let _ = decode(&frame, &DecodeLimits::default());
    }

    #[test]
    fn no_damage_to_a_frame_brings_it_down(
        which in any::<prop::sample::Index>(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        length in any::<prop::sample::Index>(),
    ) {
        let frames = all_frames();
        let mut bytes = frames[which.index(frames.len())].clone();
        for (place, value) in damage {
            let place = place.index(bytes.len());
            bytes[place] = value;
        }
        let cut = Frame { wire_length: bytes.len() as u32, ..frame(1, &bytes[..length.index(bytes.len() + 1)]) };
        for frame in [cut, frame(1, &bytes)] {
            let limits = DecodeLimits::default();
            let mut fragments = Reassembler::new(FragmentLimits::default());
            if let Ok(Decoded::Fragment(fragment)) = decode(&frame, &limits)
                && let mut readings = fragments.insert(&fragment, &Origin::default())
                && let Some(datagram) = fragments.next_reading(&mut readings)
            {
                let _ = decode_reassembled(&datagram, &limits);
            }
        }
    }
}
