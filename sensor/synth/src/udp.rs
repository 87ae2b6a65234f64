//! Openings of UDP conversations: QUIC, DNS and NTP.

use std::net::IpAddr;

use super::conversation::{Content, PlannedPacket, Transport};
use super::hello::{self, Over};
use super::quic::Opening;
use super::random::Random;
use super::{dns, names};

/// QUIC up to the client's second flight.
pub(super) fn quic(
    name: &str,
    banned: bool,
    post_quantum: bool,
    random: &mut Random,
) -> (Transport, Vec<PlannedPacket>) {
    let connection = Opening::new(random);
    let message = hello::message(name, Over::Quic(&connection.client_id), post_quantum, random);
    let content = Content { hello_quic: true, post_quantum, banned, ..Content::default() };
    quic_with(connection, &message, content, random)
}

/// As [`quic`], with this ClientHello.
pub(super) fn quic_with(
    connection: Opening,
    message: &[u8],
    content: Content,
    random: &mut Random,
) -> (Transport, Vec<PlannedPacket>) {
    let datagrams = match (content.post_quantum, random.once_in(4)) {
        (false, _) => 1,
        (true, false) => 2,
        (true, true) => 3,
    };
    let mut flight = connection.hello(message, datagrams, random);
    if random.once_in(20) {
        random.shuffle(&mut flight);
    }
    let last = flight.pop().unwrap_or_default();
    let mut opening: Vec<PlannedPacket> = flight
        .into_iter()
        .map(|datagram| PlannedPacket { is_piece: true, ..PlannedPacket::client(datagram) })
        .collect();
    opening.push(PlannedPacket { content, ..PlannedPacket::client(last) });
    opening.push(PlannedPacket::server(connection.answer(random)));
    opening.push(PlannedPacket::client(connection.finish(random)));
    let ids = [connection.client_id, connection.server_id.to_vec()];
    (Transport::Quic { ids }, opening)
}

/// A query and its answer.
pub(super) fn dns(name: &str, address: IpAddr, random: &mut Random) -> Vec<PlannedPacket> {
    let id = random.number() as u16;
    let alias = if random.once_in(3) { random.choose(names::HARMLESS).copied() } else { None };
    let content = Content { dns_answer: true, ..Content::default() };
    vec![
        PlannedPacket::client(dns::message(id, name, address, None)),
        PlannedPacket { content, ..PlannedPacket::server(dns::message(id, name, address, Some(alias))) },
    ]
}

/// A request for the time and its answer (RFC 5905 §7.3).
pub(super) fn ntp(random: &mut Random) -> Vec<PlannedPacket> {
    let message = |first: u8, random: &mut Random| {
        let mut message = vec![first, 2, 6, 0xec];
        message.extend([0; 8]);
        random.noise(36, &mut message);
        message
    };
    vec![PlannedPacket::client(message(0x23, random)), PlannedPacket::server(message(0x24, random))]
}
