//! Openings of TCP conversations: TLS 1.3 with a short or a post-quantum hello, and clear HTTP.

use super::conversation::{Content, PlannedPacket, Transport, record};
use super::hello::{self, Over};
use super::packet::{ACK, SYN};
use super::random::Random;

/// Payload bytes of a full segment, with the time stamp option.
const SEGMENT_BYTES: usize = 1_448;

/// The transport of a conversation over TCP.
pub(super) fn transport(is_tls: bool, random: &mut Random) -> Transport {
    Transport::Tcp { sequences: [random.number() as u32, random.number() as u32], is_tls }
}

/// TLS up to both sides' Finished.
pub(super) fn tls(name: &str, banned: bool, post_quantum: bool, random: &mut Random) -> Vec<PlannedPacket> {
    let message = hello::message(name, Over::Tcp, post_quantum, random);
    let content = Content { hello_tls: true, post_quantum, banned, ..Content::default() };
    tls_with(&message, content, random)
}

/// As [`tls`], with this ClientHello.
pub(super) fn tls_with(message: &[u8], content: Content, random: &mut Random) -> Vec<PlannedPacket> {
    let mut opening = three_way();
    // Behind the header, the version, the random and the length of the session id.
    let session_id = message.get(39..71).unwrap_or_default().to_vec();
    let mut hello = vec![22, 3, 1];
    hello.extend((message.len() as u16).to_be_bytes());
    hello.extend(message);
    // Some clients split a short hello in two, to get past filters that look only at the first segment.
    let piece_bytes = if random.once_in(25) { random.within(1..300) } else { SEGMENT_BYTES };
    let (first, rest) = hello.split_at(piece_bytes.min(hello.len()));
    let mut pieces: Vec<&[u8]> = [first].into_iter().chain(rest.chunks(SEGMENT_BYTES)).collect();
    let last = pieces.pop().unwrap_or_default();
    opening.extend(
        pieces.into_iter().map(|piece| PlannedPacket { is_piece: true, ..PlannedPacket::client(piece.to_vec()) }),
    );
    opening.push(PlannedPacket { content, ..PlannedPacket::client(last.to_vec()) });
    opening.push(PlannedPacket { flags: ACK, ..PlannedPacket::default() });
    let answer = hello::answer(&session_id, random);
    let mut flight = vec![22, 3, 3, 0, answer.len() as u8];
    flight.extend(answer);
    flight.extend([20, 3, 3, 0, 1, 1]);
    let sealed = random.within(2_000..4_200);
    flight.extend(record(23, sealed, random));
    opening.extend(flight.chunks(SEGMENT_BYTES).map(|piece| PlannedPacket::server(piece.to_vec())));
    opening.push(PlannedPacket { from_client: true, flags: ACK, ..PlannedPacket::default() });
    let mut finished = vec![20, 3, 3, 0, 1, 1];
    finished.extend(record(23, 53, random));
    opening.push(PlannedPacket::client(finished));
    opening
}

/// A clear request and its answer.
pub(super) fn http(name: &str, banned: bool, random: &mut Random) -> Vec<PlannedPacket> {
    let mut opening = three_way();
    let request = format!(
        "GET /{:08x} HTTP/1.1\r\nHost: {name}\r\nUser-Agent: synth/1\r\nAccept: */*\r\n\r\n",
        random.number() as u32
    );
    let content = Content { http_host: true, banned, ..Content::default() };
    opening.push(PlannedPacket { content, ..PlannedPacket::client(request.into_bytes()) });
    let mut answer = b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nConnection: close\r\n\r\n".to_vec();
    random.noise(900, &mut answer);
    opening.push(PlannedPacket::server(answer));
    opening
}

fn three_way() -> Vec<PlannedPacket> {
    vec![
        PlannedPacket { from_client: true, flags: SYN, ..PlannedPacket::default() },
        PlannedPacket { flags: SYN | ACK, ..PlannedPacket::default() },
        PlannedPacket { from_client: true, flags: ACK, ..PlannedPacket::default() },
    ]
}
