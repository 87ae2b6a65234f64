//! A client that tries to hide a name: among what reaches the server it sends packets that do not, of any form and at any
//! place. Whatever they are, the name is told.

use proptest::prelude::*;
use proptest::sample::select;
use vigie_tests::hello::Hello;
use vigie_tests::packets::{ACK, FIN, RST, SYN, tcp_at};
use vigie_tests::quic::{Initial, crypto};
use vigie_tests::tape::Tape;
use vigie_tests::tcp::Connection;

use super::NAME;
use super::http::get;
use super::quic::from_client;

const OTHER: &str = "www.example.org";
/// Where IPv4's TTL and the checksum of TCP are in a frame.
const TTL_AT: usize = 14 + 8;
const IP_CHECKSUM_AT: usize = 14 + 10;
const TCP_CHECKSUM_AT: usize = 14 + 20 + 16;
/// Timestamp of the SYN.
const BEGIN: u32 = 4_000_000_000;

/// A packet that the server does not get or does not take.
#[derive(Clone, Debug)]
struct Decoy {
    flags: u8,
    /// Beside the client's first byte.
    offset: i32,
    /// Beside the server's first byte.
    acknowledged: i32,
    ticks: i32,
    /// Which bytes of the decoy's stream it carries.
    carried: std::ops::Range<usize>,
    /// Lower than the SYN's, so that the packet ends on its way.
    is_short_lived: bool,
    has_wrong_checksum: bool,
}

impl Decoy {
    fn frame(&self, connection: &Connection, stream: &[u8]) -> Vec<u8> {
        let at = |first: u32, offset: i32| first.wrapping_add(1).wrapping_add_signed(offset);
        let numbers = (at(connection.client_isn, self.offset), at(connection.server_isn, self.acknowledged));
        let end = self.carried.end.min(stream.len());
        let carried = &stream[self.carried.start.min(end)..end];
        let ticks = BEGIN.wrapping_add_signed(self.ticks);
        let mut frame = tcp_at(connection.client, connection.server, numbers, self.flags, ticks, carried);
        if self.is_short_lived {
            frame[TTL_AT] -= 10;
            // 10 less in the high byte of a word is 0x0a00 more in the sum's complement.
            let sum = u32::from(u16::from_be_bytes([frame[IP_CHECKSUM_AT], frame[IP_CHECKSUM_AT + 1]])) + 0x0a00;
            let folded = ((sum & 0xffff) + (sum >> 16)) as u16;
            frame[IP_CHECKSUM_AT..IP_CHECKSUM_AT + 2].copy_from_slice(&folded.to_be_bytes());
        }
        if self.has_wrong_checksum {
            frame[TCP_CHECKSUM_AT] ^= 0x55;
        }
        frame
    }
}

fn decoy() -> impl Strategy<Value = Decoy> {
    let offset = prop_oneof![
        4 => Just(0),
        2 => select(vec![-1, 1, 60, 700, 1_400, 9_000, 45_000, -10_000, 70_000, -66_000, 1_000_000_000, i32::MIN, i32::MAX]),
        1 => -2_000..2_000_i32
    ];
    let acknowledged = select(vec![0, 0, 0, -1, 1, -66_000, 1_000, 1_000_000, i32::MAX]);
    let ticks = select(vec![0, 3, 3, 600_000, -600_000, i32::MAX]);
    let carried = select(vec![0..0, 0..9_000, 0..9_000, 0..700, 700..9_000, 0..1, 0..60, 60..9_000, 400..900]);
    let flags = select(vec![ACK, ACK, ACK, ACK | 8, 0, SYN, SYN, SYN | ACK, RST, RST | ACK, FIN | ACK, ACK | 32]);
    (flags, offset, acknowledged, ticks, carried, (any::<bool>(), any::<bool>())).prop_map(
        |(flags, offset, acknowledged, ticks, carried, (is_short_lived, has_wrong_checksum))| Decoy {
            flags,
            offset,
            acknowledged,
            ticks,
            carried,
            is_short_lived: is_short_lived || !has_wrong_checksum,
            has_wrong_checksum,
        },
    )
}

/// What the decoys of a connection say.
#[derive(Clone, Copy, Debug)]
enum Saying {
    LongHello,
    Hello,
    NamelessHello,
    Request,
    Connect,
    Text,
    Zeros(usize),
}

impl Saying {
    fn stream(self) -> Vec<u8> {
        match self {
            Self::LongHello => Hello::post_quantum(OTHER).record(),
            Self::Hello => Hello::to(OTHER).record(),
            Self::NamelessHello => Hello::nameless().record(),
            Self::Request => get(OTHER),
            Self::Connect => format!("CONNECT {OTHER}:443 HTTP/1.1\r\n\r\n").into_bytes(),
            Self::Text => b"EHLO example.org\r\n".repeat(300),
            Self::Zeros(bytes) => vec![0; bytes],
        }
    }
}

/// A connection with decoys, each with its place among the client's packets and what it says.
#[derive(Clone, Debug)]
struct Case {
    decoys: Vec<(usize, Decoy, Saying)>,
    cuts: Vec<usize>,
    is_answered: bool,
    is_http: bool,
}

impl Case {
    fn frames(&self) -> Vec<Vec<u8>> {
        let connection = Connection::default().to_port(if self.is_http { 80 } else { 443 });
        let truth = if self.is_http { get(NAME) } else { Hello::post_quantum(NAME).record() };
        let mut ends: Vec<usize> = self.cuts.iter().map(|cut| cut % truth.len()).filter(|&cut| cut > 0).collect();
        ends.extend([truth.len()]);
        ends.sort_unstable();
        ends.dedup();
        let of_truth = |flags, offset: i32, carried: &[u8]| {
            let numbers = (connection.client_isn.wrapping_add_signed(offset), connection.server_isn + 1);
            tcp_at(connection.client, connection.server, numbers, flags, BEGIN + 1 + offset as u32 / 100, carried)
        };
        let (client, server) = (connection.client, connection.server);
        let syn_ack = tcp_at(server, client, (connection.server_isn, connection.client_isn + 1), SYN | ACK, 7, b"");
        let mut frames = vec![tcp_at(client, server, (connection.client_isn, 0), SYN, BEGIN, b"")];
        frames.extend(self.is_answered.then_some(syn_ack));
        frames.push(of_truth(ACK, 1, b""));
        let mut start = 0;
        for end in ends {
            frames.push(of_truth(ACK | 8, 1 + start as i32, &truth[start..end]));
            start = end;
        }
        for (place, decoy, says) in &self.decoys {
            let place = (*place).min(frames.len() - 1);
            frames.insert(place, decoy.frame(&connection, &says.stream()));
        }
        frames
    }
}

fn case() -> impl Strategy<Value = Case> {
    let says = prop_oneof![
        Just(Saying::LongHello),
        Just(Saying::Hello),
        Just(Saying::NamelessHello),
        Just(Saying::Request),
        Just(Saying::Connect),
        Just(Saying::Text),
        select(vec![1_000, 9_000]).prop_map(Saying::Zeros),
    ];
    let decoys = prop::collection::vec((0..9_usize, decoy(), says), 1..4);
    let cuts = prop::collection::vec(1..1_600_usize, 0..4);
    (decoys, cuts, any::<bool>(), any::<bool>()).prop_map(|(decoys, cuts, is_answered, is_http)| Case {
        decoys,
        cuts,
        is_answered,
        is_http,
    })
}

/// A decoy in front of a hello or request in many small pieces.
fn case_of_small_pieces() -> impl Strategy<Value = Case> {
    (case(), prop::collection::vec(1..1_600_usize, 4..40)).prop_map(|(mut case, cuts)| {
        const PLACES_IN_FRONT: usize = 2;
        case.decoys.truncate(1);
        case.decoys.iter_mut().for_each(|(place, ..)| *place = (*place).min(PLACES_IN_FRONT));
        Case { cuts, ..case }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, ..ProptestConfig::default() })]

    #[test]
    fn no_decoys_of_tcp_hide_the_name(case in case()) {
        // A mix of both names may be told for the true one: which bytes the server takes is not known.
        let told = Tape::of(case.frames()).replay().alerted();
        prop_assert!(told.iter().any(|alert| alert.ends_with(": tiktok")), "{told:?}");
    }

    #[test]
    fn no_decoy_in_front_hides_a_name_in_small_pieces(case in case_of_small_pieces()) {
        let told = Tape::of(case.frames()).replay().alerted();
        prop_assert!(told.iter().any(|alert| alert.ends_with(": tiktok")), "{told:?}");
    }

    #[test]
    fn no_decoys_of_quic_hide_the_name(
        decoys in prop::collection::vec((0..4_usize, 0..4_usize, 0..3_usize, any::<u32>(), 0..5_usize), 1),
        cut in 1..1_500_usize,
    ) {
        let ids: [&[u8]; 4] = [b"\x83\x94\xc8\xf0\x3e\x51\x57\x08", b"another!", b"client", b"third one"];
        let (truth, other) = (Hello::post_quantum(NAME).message(), Hello::to(OTHER).message());
        let pieces = [crypto(&truth, 0..cut), crypto(&truth, cut..truth.len())];
        let mut datagrams: Vec<Vec<u8>> =
            pieces.iter().zip(0..).map(|(frames, number)| Initial::new(ids[0], frames).number(number).datagram()).collect();
        for (place, destination, source, number, says) in decoys {
            let frames = match says {
                0 => vec![1],
                1 => crypto(&other, 0..other.len()),
                2 => crypto(&other, 0..40),
                3 => crypto(&other, 40..other.len()),
                _ => vec![0x1c, 0, 0, 0],
            };
            let decoy = Initial { source: ids[source].to_vec(), number, ..Initial::new(ids[destination], &frames) };
            datagrams.insert(place.min(datagrams.len() - 1), decoy.datagram());
        }
        let told = Tape::of(datagrams.iter().map(|datagram| from_client(datagram))).replay().alerted();
        prop_assert!(told.iter().any(|alert| alert.contains(NAME)), "{told:?}");
    }
}
