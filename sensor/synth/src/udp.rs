//! Openings of UDP conversations: QUIC, DNS and NTP.

use std::net::IpAddr;

use super::conversation::{Planned, Tells, Wrapping};
use super::hello::{self, Over};
use super::quic::Opening;
use super::random::Random;
use super::{dns, names};

/// QUIC up to the client's second flight.
pub(super) fn quic(name: &str, banned: bool, post_quantum: bool, random: &mut Random) -> (Wrapping, Vec<Planned>) {
    let connection = Opening::new(random);
    let message = hello::message(name, Over::Quic(&connection.client_id), post_quantum, random);
    let datagrams = match (post_quantum, random.once_in(4)) {
        (false, _) => 1,
        (true, false) => 2,
        (true, true) => 3,
    };
    let mut flight = connection.hello(&message, datagrams, random);
    if random.once_in(20) {
        random.shuffle(&mut flight);
    }
    let tells = Tells { hello_quic: true, post_quantum, banned, ..Tells::default() };
    let last = flight.pop().unwrap_or_default();
    let mut opening: Vec<Planned> =
        flight.into_iter().map(|datagram| Planned { is_piece: true, ..Planned::client(datagram) }).collect();
    opening.push(Planned { tells, ..Planned::client(last) });
    opening.push(Planned::server(connection.answer(random)));
    opening.push(Planned::client(connection.finish(random)));
    let ids = [connection.client_id, connection.server_id.to_vec()];
    (Wrapping::Quic { ids }, opening)
}

/// A query and its answer.
pub(super) fn dns(name: &str, address: IpAddr, random: &mut Random) -> Vec<Planned> {
    let id = random.number() as u16;
    let alias = if random.once_in(3) { random.choose(names::HARMLESS).copied() } else { None };
    let tells = Tells { dns_answer: true, ..Tells::default() };
    vec![
        Planned::client(dns::message(id, name, address, None)),
        Planned { tells, ..Planned::server(dns::message(id, name, address, Some(alias))) },
    ]
}

/// The time asked for, and told (RFC 5905 §7.3).
pub(super) fn ntp(random: &mut Random) -> Vec<Planned> {
    let message = |first: u8, random: &mut Random| {
        let mut message = vec![first, 2, 6, 0xec];
        message.extend([0; 8]);
        random.noise(36, &mut message);
        message
    };
    vec![Planned::client(message(0x23, random)), Planned::server(message(0x24, random))]
}
