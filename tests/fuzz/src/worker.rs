//! Packets of a few flows through a whole worker: inspections, records, time-outs, evictions.

use std::sync::Arc;

use vigie::event::{Event, Fact};
use vigie::settings::Limits;
use vigie::worker::{EventTypes, Share, Worker};
use vigie_flow::HashKey;
use vigie_handshake::address_names::AddressNames;
use vigie_signatures::Bundle;
use vigie_wire::{Frame, LinkType};

use super::input::Input;

/// A packet as the input describes it: flow, side, flags, place in the stream, payload.
fn packet(input: &mut Input<'_>) -> Vec<u8> {
    let (which, flags, place) = (input.u8(), input.u8(), input.u8());
    let length = usize::from(input.u8());
    let payload = input.bytes(length);
    let (client, server) = ([10, 0, 0, which & 3], [71, 18, 4, 10]);
    let (source, destination) = if which & 4 == 0 { (client, server) } else { (server, client) };
    let (client_port, server_port) = (40_000_u16, if which & 8 == 0 { 443_u16 } else { 53 });
    let ports = if which & 4 == 0 { [client_port, server_port] } else { [server_port, client_port] };
    let mut transport: Vec<u8> = ports.iter().flat_map(|port| port.to_be_bytes()).collect();
    let protocol = if which & 16 == 0 {
        transport.extend((u32::from(place) * 7).wrapping_sub(64).to_be_bytes());
        transport.extend([0, 0, 0, 0, 0x50, flags, 0, 0, 0, 0, 0, 0]);
        6
    } else {
        transport.extend((payload.len() as u16 + 8).to_be_bytes());
        transport.extend([0, 0]);
        17
    };
    transport.extend(payload);
    let total = (transport.len() as u16 + 20).to_be_bytes();
    let fragment = if which & 0x60 == 0x60 { [0x20 | (place >> 7), place & 0x7f] } else { [0, 0] };
    let mut bytes = vec![0x45, 0, total[0], total[1], 0, which, fragment[0], fragment[1], 64, protocol, 0, 0];
    bytes.extend(source);
    bytes.extend(destination);
    bytes.extend(transport);
    bytes
}

/// The events of one worker among several.
fn events(packets: &[(u64, Vec<u8>)], share: Share, flows_max: usize) -> Vec<Event> {
    let mut limits = Limits::default();
    for (name, value) in [("flows_max", flows_max), ("records_max", flows_max), ("stream_bytes_max", 1_024)] {
        limits.set(name, value).expect("a limit");
    }
    let names = Arc::new(AddressNames::new(Default::default()));
    let event_types = EventTypes { tls: true, quic: true, http: true, dns: true, flows: true, ..EventTypes::default() };
    let mut worker = Worker::new(&limits, event_types, Bundle::builtin(), names, HashKey::REPLAY, share);
    let mut events = Vec::new();
    for (number, (timestamp_ns, data)) in packets.iter().enumerate() {
        let frame = Frame {
            timestamp_ns: *timestamp_ns,
            number: number as u64 + 1,
            wire_length: data.len() as u32,
            link_type: LinkType::IPV4,
            interface: 0,
            data,
        };
        worker.batch(&[frame], &mut |event| events.push(event));
    }
    worker.finish(&mut |event| events.push(event));
    assert!(events.windows(2).all(|pair| pair[0].order < pair[1].order), "events come in order");
    events
}

/// Any packets: one worker, and two that share it, which must tell the same; and one with next to no room.
pub fn packets(data: &[u8]) {
    let mut input = Input::new(data);
    let mut clock_ns = 1_700_000_000_000_000_000_u64;
    let mut packets = Vec::new();
    while !input.is_empty() && packets.len() < 256 {
        clock_ns += 1 << (input.u8() & 39).min(38);
        packets.push((clock_ns, packet(&mut input)));
    }
    let text = |event: &Event| format!("{:?} {event:?}", event.order);
    let alone: Vec<String> = events(&packets, Share::ALL, 1_024).iter().map(text).collect();
    let mut both: Vec<Event> = (0..2).flat_map(|index| events(&packets, Share { index, count: 2 }, 1_024)).collect();
    both.sort_by_key(|event| event.order);
    assert_eq!(alone, both.iter().map(text).collect::<Vec<_>>());
    // A packet may bring several requests; the shortest that matches a signature has more bytes than this.
    const REQUEST_BYTES_MIN: usize = 10;
    let bytes: usize = packets.iter().map(|(_, data)| data.len()).sum();
    let cramped = events(&packets, Share::ALL, 16);
    let sightings = cramped.iter().filter(|event| matches!(event.fact, Fact::Sighting(_))).count();
    assert!(sightings <= packets.len() + bytes / REQUEST_BYTES_MIN, "{sightings} of {bytes} bytes");
}
