//! Openings of TCP conversations: TLS 1.3 with a short or a post-quantum hello, and clear HTTP.

use super::conversation::{Planned, Tells, Wrapping, record};
use super::hello::{self, Over};
use super::packet::{ACK, SYN};
use super::random::Random;

/// Payload bytes of a full segment, with the time stamp option.
const SEGMENT_BYTES: usize = 1_448;

/// How the data of a conversation is wrapped.
pub(super) fn wrapping(is_tls: bool, random: &mut Random) -> Wrapping {
    Wrapping::Tcp { sequences: [random.number() as u32, random.number() as u32], is_tls }
}

/// TLS up to both sides' Finished.
pub(super) fn tls(name: &str, banned: bool, post_quantum: bool, random: &mut Random) -> Vec<Planned> {
    let mut opening = three_way();
    let message = hello::message(name, Over::Tcp, post_quantum, random);
    // Behind the message's header, version, random and the length of the session id itself.
    let session_id = message.get(39..71).unwrap_or_default().to_vec();
    let mut hello = vec![22, 3, 1];
    hello.extend((message.len() as u16).to_be_bytes());
    hello.extend(message);
    // Some clients write a short hello in two pieces, to get past filters that look at the first only.
    let piece_bytes = if random.once_in(25) { random.within(1..300) } else { SEGMENT_BYTES };
    let (first, rest) = hello.split_at(piece_bytes.min(hello.len()));
    let mut pieces: Vec<&[u8]> = [first].into_iter().chain(rest.chunks(SEGMENT_BYTES)).collect();
    let tells = Tells { hello_tls: true, post_quantum, banned, ..Tells::default() };
    let last = pieces.pop().unwrap_or_default();
    opening.extend(pieces.into_iter().map(|piece| Planned { is_piece: true, ..Planned::client(piece.to_vec()) }));
    opening.push(Planned { tells, ..Planned::client(last.to_vec()) });
    opening.push(Planned { flags: ACK, ..Planned::default() });
    let answer = hello::answer(&session_id, random);
    let mut flight = vec![22, 3, 3, 0, answer.len() as u8];
    flight.extend(answer);
    flight.extend([20, 3, 3, 0, 1, 1]);
    let sealed = random.within(2_000..4_200);
    flight.extend(record(23, sealed, random));
    opening.extend(flight.chunks(SEGMENT_BYTES).map(|piece| Planned::server(piece.to_vec())));
    opening.push(Planned { from_client: true, flags: ACK, ..Planned::default() });
    let mut finished = vec![20, 3, 3, 0, 1, 1];
    finished.extend(record(23, 53, random));
    opening.push(Planned::client(finished));
    opening
}

/// A request in clear.
pub(super) fn http(name: &str, banned: bool, random: &mut Random) -> Vec<Planned> {
    let mut opening = three_way();
    let request = format!(
        "GET /{:08x} HTTP/1.1\r\nHost: {name}\r\nUser-Agent: synth/1\r\nAccept: */*\r\n\r\n",
        random.number() as u32
    );
    let tells = Tells { http_host: true, banned, ..Tells::default() };
    opening.push(Planned { tells, ..Planned::client(request.into_bytes()) });
    let mut answer = b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nConnection: close\r\n\r\n".to_vec();
    random.noise(900, &mut answer);
    opening.push(Planned::server(answer));
    opening
}

fn three_way() -> Vec<Planned> {
    vec![
        Planned { from_client: true, flags: SYN, ..Planned::default() },
        Planned { flags: SYN | ACK, ..Planned::default() },
        Planned { from_client: true, flags: ACK, ..Planned::default() },
    ]
}
