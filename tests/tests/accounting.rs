//! What the inspections of a worker hold is accounted for, whatever comes: or memory would grow, or the sensor would set
//! inspections free that have room.

// Only then does a worker tell what it holds.
#![cfg(debug_assertions)]

use std::net::SocketAddr;
use std::sync::Arc;

use proptest::prelude::*;
use proptest::sample::select;
use vigie::settings::Limits;
use vigie::worker::{EventTypes, Share, Worker};
use vigie_flow::HashKey;
use vigie_handshake::address_names::{self, AddressNames};
use vigie_signatures::Bundle;
use vigie_tests::hello::Hello;
use vigie_tests::packets::{ACK, FIN, RST, SYN, tcp_at};
use vigie_tests::tape::frame;
use vigie_tests::tcp::Connection;

/// A segment of one of a few connections.
#[derive(Clone, Debug)]
struct Piece {
    port: u16,
    is_from_client: bool,
    flags: u8,
    /// Beside the first byte of the sender.
    offset: i32,
    /// Beside the first byte of the other side.
    acknowledged: i32,
    says: usize,
    carried: std::ops::Range<usize>,
    has_wrong_checksum: bool,
}

impl Piece {
    fn frame(&self, streams: &[Vec<u8>]) -> Vec<u8> {
        let server_port = [443, 80, 53][usize::from(self.port % 3)];
        let connection = Connection::default().port(50_000 + self.port).to_port(server_port);
        let (client, server): (SocketAddr, SocketAddr) = (connection.client, connection.server);
        let (from, to, first, other_first) = match self.is_from_client {
            true => (client, server, connection.client_isn, connection.server_isn),
            false => (server, client, connection.server_isn, connection.client_isn),
        };
        let at = |first: u32, offset: i32| first.wrapping_add(1).wrapping_add_signed(offset);
        let stream = &streams[self.says % streams.len()];
        let end = self.carried.end.min(stream.len());
        let carried = &stream[self.carried.start.min(end)..end];
        let numbers = (at(first, self.offset), at(other_first, self.acknowledged));
        let mut frame = tcp_at(from, to, numbers, self.flags, 5, carried);
        if self.has_wrong_checksum {
            frame[14 + 20 + 16] ^= 0x55;
        }
        frame
    }
}

fn streams() -> Vec<Vec<u8>> {
    let hello_tls12 = Hello::nameless().tls12().record();
    let certificate = [&[0x16, 3, 3, 0, 90, 2, 0, 0, 70, 3, 3][..], &[5; 300]].concat();
    let mut retry = vec![0x16, 3, 3, 0, 90, 2, 0, 0, 86, 3, 3];
    retry.extend([
        0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91, 0xc2, 0xa2,
        0x11, 0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
    ]);
    retry.extend([0; 52]);
    vec![
        Hello::post_quantum("www.example.org").record(),
        Hello::to("www.tiktok.com").record(),
        hello_tls12,
        certificate,
        retry,
        b"GET / HTTP/1.1\r\nHost: www.example.org\r\n\r\n".to_vec(),
        [&b"GET / HTTP/1.1\r\nHost: vk.com\r\nX: "[..], &[b'x'; 1_300]].concat(),
        b"POST / HTTP/1.1\r\nHost: vk.com\r\nContent-Length: 20\r\n\r\n".repeat(4),
        [&b"CONNECT www.example.com:443 HTTP/1.1\r\n\r\n"[..], &Hello::to("vk.com").record()].concat(),
        b"EHLO example.org\r\n".repeat(60),
        vec![0; 1_400],
        [&[4, 0][..], &[1; 700]].concat(),
    ]
}

fn piece() -> impl Strategy<Value = Piece> {
    let offset = prop_oneof![
        6 => Just(0),
        3 => select(vec![-1, 1, 2, 41, 517, 700, 1_400, 2_800, 9_000, 45_000, -10_000, 100_000_000]),
        1 => -2_000..2_000_i32
    ];
    let flags = select(vec![ACK, ACK, ACK, ACK, ACK | 8, SYN, SYN, SYN | ACK, SYN | ACK, RST, FIN | ACK, ACK | 32]);
    let acknowledged = select(vec![0, 0, 0, 1, 517, 700, 1_400, 2_000, 100_000_000]);
    let carried =
        select(vec![0..0, 0..9_000, 0..9_000, 0..9_000, 0..700, 700..9_000, 0..1, 0..60, 60..9_000, 400..900]);
    let numbers = (offset, acknowledged);
    (0..3_u16, prop::bool::weighted(0.75), flags, numbers, 0..12_usize, carried, prop::bool::weighted(0.1)).prop_map(
        |(port, is_from_client, flags, (offset, acknowledged), says, carried, has_wrong_checksum)| Piece {
            port,
            is_from_client,
            flags,
            offset,
            acknowledged,
            says,
            carried,
            has_wrong_checksum,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn what_inspections_hold_is_accounted_for(pieces in prop::collection::vec(piece(), 1..40)) {
        let streams = streams();
        let names = Arc::new(AddressNames::new(address_names::Limits::default()));
        let limits = Limits { flows_max: 64, records_max: 64, ..Limits::default() };
        let mut worker =
            Worker::new(&limits, EventTypes::default(), Bundle::builtin(), names, HashKey::REPLAY, Share::ALL);
        for (number, piece) in pieces.iter().enumerate() {
            let bytes = piece.frame(&streams);
            let frame = frame(1_795_219_200_000_000_000 + number as u64 * 1_000_000, number as u64, &bytes);
            worker.batch(&[frame], &mut |_| {});
            let (accounted, held) = worker.inspected_bytes();
            prop_assert_eq!(accounted, held, "behind piece {}", number);
        }
    }
}
