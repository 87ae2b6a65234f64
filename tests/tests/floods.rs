//! Floods that would fill any memory, one packet of theirs for each of real traffic: the sensor stays within its limits,
//! counts each bite, and goes on to recognise the real flows. The least shares are those measured (all of them; 99 % among
//! streams full of holes, 97 % among garbage from everywhere) less a margin.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::LazyLock;

use vigie::event::{Event, Fact};
use vigie::read::{self, Settings};
use vigie::settings::Limits;
use vigie_signatures::Bundle;
use vigie_tests::hello::Hello;
use vigie_tests::memory::{Counting, measure};
use vigie_tests::packets::{SERVER, fragment, udp};
use vigie_tests::quic::{Initial, crypto};
use vigie_tests::replay;
use vigie_tests::tape::Generator;
use vigie_tests::tcp::Connection;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const NAME: &str = "www.tiktok.com";
/// Packets of the flood, and as many of real flows.
const PACKETS: u64 = 200_000;
/// Real flows that are opened before the first of them says anything.
const FLOWS_AT_ONCE: u64 = 200;
const FRAMES_PER_FLOW: u64 = 4;
/// Nanoseconds between packets: slow, as the limits are small, so that tables fill in minutes as big ones do in a flood.
const STEP_NS: u64 = 2_000_000;
/// Address of the client of the first real flow, 10.1.0.0; the others follow.
const FIRST_CLIENT: u32 = 0x0a01_0000;

/// Limits small enough for the floods to reach them.
fn settings() -> Settings {
    let limits = Limits {
        flows_max: 8_192,
        records_max: 2_048,
        reassembly_bytes_max: 4 << 20,
        fragment_datagrams_max: 256,
        fragment_bytes_max: 1 << 20,
        address_names_max: 1_024,
        ..Limits::default()
    };
    Settings { limits, ..Settings::default() }
}

/// What the records and the inspectors of all `records_max` handshakes may take, besides the bytes that wait for others:
/// a few kilobytes each, and what a worker always has.
const MEMORY_BYTES_MAX: usize = 12 << 20;

static SHORT: LazyLock<Vec<u8>> = LazyLock::new(|| Hello::to(NAME).record());
static LONG: LazyLock<Vec<u8>> = LazyLock::new(|| Hello::post_quantum(NAME).record());
static MESSAGE: LazyLock<Vec<u8>> = LazyLock::new(|| Hello::post_quantum(NAME).message());

/// Frame `step` of real flow `number`: TLS in one segment, TLS in two, or QUIC in two Initials.
fn real(number: u64, step: u64) -> Vec<u8> {
    let client = Ipv4Addr::from_bits(FIRST_CLIENT + u32::try_from(number).unwrap());
    let connection = Connection::between(SocketAddr::new(client.into(), 50_000), SERVER).isn(number as u32 * 77_777);
    if number % 3 == 2 {
        let message = &*MESSAGE;
        let range = match step {
            0 => 0..1_000,
            1 => 1_000..message.len(),
            _ => return udp(connection.server, connection.client, &[0x40; 60]),
        };
        let initial = Initial::new(&number.to_be_bytes(), &crypto(message, range)).number(step as u32);
        return udp(connection.client, connection.server, &initial.datagram());
    }
    let stream = if number.is_multiple_of(3) { &*SHORT } else { &*LONG };
    let half = stream.len() / 2;
    match step {
        0 => connection.syn(),
        1 => connection.syn_ack(),
        2 if number.is_multiple_of(3) => connection.from_client(0, stream),
        2 => connection.from_client(0, &stream[..half]),
        _ if number.is_multiple_of(3) => connection.from_server(0, &[0x15, 3, 3, 0, 2, 2, 40]),
        _ => connection.from_client(half, &stream[half..]),
    }
}

/// The real frame at this place: `FLOWS_AT_ONCE` flows take turns.
fn real_frame(place: u64) -> Vec<u8> {
    let round = FLOWS_AT_ONCE * FRAMES_PER_FLOW;
    let (group, within) = (place / round, place % round);
    real(group * FLOWS_AT_ONCE + within % FLOWS_AT_ONCE, within / FLOWS_AT_ONCE)
}

/// A number that looks like chance, the same on each run.
fn chance(seed: u64) -> u64 {
    let mut mixed = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// Anybody, from anywhere.
fn anybody(number: u64) -> SocketAddr {
    let chance = chance(number);
    // 16.0.0.0/4: neither the real clients nor the server.
    let address = Ipv4Addr::from_bits(0x1000_0000 | (chance as u32 & 0x0fff_ffff));
    SocketAddr::new(address.into(), (chance >> 40) as u16 | 1_024)
}

/// Reads a flood among real traffic, of which at least `share_min` of the flows have to be recognised, and in whose totals
/// one can look up how often something was counted.
fn flood_with(what: &str, share_min: f64, mut flood: impl FnMut(u64) -> Vec<u8>) -> impl Fn(&str, &str) -> u64 {
    let mut source = Generator::new(2 * PACKETS, STEP_NS, |number| {
        if number.is_multiple_of(2) { flood(number / 2) } else { real_frame(number / 2) }
    });
    let flows = PACKETS / FRAMES_PER_FLOW;
    let mut alerts = vec![0_u32; usize::try_from(flows).unwrap()];
    let mut on_event = |event: Event| {
        if let Fact::Sighting(alert) = event.fact {
            let IpAddr::V4(client) = alert.flow.client.ip() else { panic!("{what}: {alert:?}") };
            alerts[(client.to_bits() - FIRST_CLIENT) as usize] += 1;
        }
    };
    let read = || read::read(&mut source, &settings(), Bundle::builtin(), &mut on_event).unwrap();
    let (totals, _, bytes) = measure(read);
    let recognised = alerts.iter().filter(|&&alerts| alerts > 0).count();
    let share = recognised as f64 / flows as f64;
    println!("{what}: {:.2} % of {flows} flows recognised, {} kB held at most", share * 100.0, bytes / 1_000);
    totals.counters.iter().for_each(|(family, reason, count)| println!("  {family} {reason}: {count}"));
    assert!(alerts.iter().all(|&alerts| alerts <= 1), "{what}: a flow alerted twice");
    assert!(bytes < MEMORY_BYTES_MAX, "{what}: {bytes} bytes");
    assert!(share >= share_min, "{what}: {share}");
    move |family, reason| replay::count(&totals, family, reason)
}

#[test]
fn real_flows_alone() {
    let count = flood_with("no flood", 1.0, |number| {
        let connection = Connection::default().port(number as u16 % 1_000);
        connection.from_server(number as usize, &[0x17, 3, 3, 0, 50])
    });
    assert_eq!(count("limit", "reassembly_bytes_max"), 0);
}

#[test]
fn connections_opened_from_everywhere() {
    let count = flood_with("SYN flood", 0.99, |number| Connection::between(anybody(number), SERVER).syn());
    assert!(count("flow", "evicted") > PACKETS / 2);
    assert!(count("limit", "records_max") > PACKETS / 2);
}

#[test]
fn hellos_never_completed() {
    let stream = Hello::post_quantum("www.example.org").record();
    let count = flood_with("half hellos", 0.99, |number| {
        Connection::between(anybody(number), SERVER).from_client(0, &stream[..900])
    });
    assert!(count("limit", "reassembly_bytes_max") + count("limit", "records_max") > PACKETS / 2);
}

#[test]
fn streams_full_of_holes() {
    let count = flood_with("streams full of holes", 0.97, |number| {
        // Five hundred streams grow side by side.
        let connection = Connection::between(anybody(number % 500 + number / 50_000 * 500), SERVER);
        match number / 500 % 100 {
            0 => connection.syn(),
            piece => connection.from_client(piece as usize * 400, b"\x16\x03\x01"),
        }
    });
    assert!(count("limit", "reassembly_bytes_max") > 0);
}

/// A client's Initial of the right shape that no keys open.
fn garbage(number: u64) -> Vec<u8> {
    let mut garbage = vec![0xc3, 0, 0, 0, 1, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x44, 0x9e];
    garbage[6..14].copy_from_slice(&chance(number).to_be_bytes());
    garbage.resize(1_200, 0x5a);
    garbage
}

#[test]
fn garbage_initials_from_everywhere() {
    let count =
        flood_with("garbage Initials from everywhere", 0.93, |number| udp(anybody(number), SERVER, &garbage(number)));
    assert!(count("quic", "open_failures") > PACKETS / 2);
    assert!(count("limit", "records_max") + count("limit", "reassembly_bytes_max") > PACKETS / 2);
}

#[test]
fn garbage_initials_of_few() {
    let count =
        flood_with("garbage Initials of few", 0.99, |number| udp(anybody(number % 50), SERVER, &garbage(number)));
    // Each of the fifty is tried a few times, then left alone.
    assert!(count("quic", "open_failures") < 50 * 100);
    assert_eq!(count("limit", "quic_attempts_max"), 50);
}

#[test]
fn fragments_never_completed() {
    let count = flood_with("fragments without end", 0.99, |number| {
        fragment(anybody(number).ip(), SERVER.ip(), &[0; 1_400], number as u16, 0, true)
    });
    let bites = ["fragment_datagrams_max", "fragment_bytes_max"].map(|limit| count("limit", limit));
    assert!(bites.iter().sum::<u64>() > PACKETS / 2, "{bites:?}");
}

#[test]
fn answers_for_everybody() {
    let count = flood_with("DNS answers", 0.99, |number| {
        vigie_tests::dns::told(anybody(number).ip(), "www.example.org", anybody(number + 1).ip())
    });
    assert!(count("limit", "address_names_max") > PACKETS / 2);
}
