//! What a worker with the limits that it has unless told otherwise takes: 128 MiB with its flow table and the program itself, whatever
//! undecided flows come, a flood of each kind by itself. Not covered: waiting fragments and names told by DNS, which have
//! limits of their own.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use vigie::settings::Limits;
use vigie::worker::{EventTypes, Share, Worker};
use vigie_capture::Source;
use vigie_flow::{FlowEntry, HashKey};
use vigie_handshake::address_names::{self, AddressNames};
use vigie_signatures::Bundle;
use vigie_tests::hello::{Hello, record};
use vigie_tests::memory::{Counting, measure};
use vigie_tests::packets::{SERVER, udp};
use vigie_tests::quic::{Initial, crypto};
use vigie_tests::tape::Generator;
use vigie_tests::tcp::Connection;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// All that may be resident.
const BUDGET_BYTES: usize = 128 << 20;
/// The program, its libraries and the signatures, as measured (11.6 MiB) and a little more.
const PROGRAM_BYTES: usize = 12 << 20;
/// What the allocator adds to each piece of memory, as a share of all pieces: 16 bytes to pieces of some hundred, and what lies
/// free between them.
const ALLOCATOR_SHARE: usize = 8;
/// Flows of a flood, more than may be followed at once.
const FLOWS: u32 = 150_000;
/// So that no flow times out.
const NANOSECONDS_BETWEEN_FRAMES: u64 = 1_000;

/// The frames of the flow between these.
type Flow<'f> = dyn Fn(SocketAddr) -> Vec<Vec<u8>> + 'f;

/// Floods a worker with such flows; `is_much` tells whether what they say is too much before they are too many.
fn flood(what: &str, is_much: bool, flow: &Flow<'_>) {
    let limits = Limits::default();
    let names = Arc::new(AddressNames::new(address_names::Limits::default()));
    let from = |flow_number| SocketAddr::new(Ipv4Addr::from_bits(0x0a00_0000 + flow_number).into(), 50_000);
    let mut frames = (0..FLOWS).flat_map(|flow_number| flow(from(flow_number)));
    let count = u64::from(FLOWS) * flow(from(0)).len() as u64;
    let mut tape = Generator::new(count, NANOSECONDS_BETWEEN_FRAMES, |_| frames.next().unwrap());
    let mut events = 0;
    let work = || {
        let mut worker =
            Worker::new(&limits, EventTypes::default(), Bundle::builtin(), names, HashKey::REPLAY, Share::ALL);
        while tape.next_batch(&mut |frames| worker.batch(frames, &mut |_| events += 1)).unwrap() {}
        worker.all_counts()
    };
    let (counts, _, heap_bytes) = measure(work);
    let count = |reason| counts.iter().find(|count| (count.0, count.1) == ("limit", reason)).map_or(0, |count| count.2);
    let bites = (count("reassembly_bytes_max"), count("records_max"));
    println!("{what}: {} kB on the heap at most, limits bit {bites:?} times", heap_bytes / 1_000);
    let table_bytes = (limits.flows_max + limits.flows_max / 6) * (size_of::<FlowEntry>() + 4);
    let resident_bytes = PROGRAM_BYTES + table_bytes + heap_bytes + heap_bytes / ALLOCATOR_SHARE;
    assert!(resident_bytes <= BUDGET_BYTES, "{what}: {resident_bytes} bytes");
    assert_eq!(bites.0 > 0, is_much, "{what}");
    assert!(bites.0 + bites.1 > 0, "{what}: the flood reached no limit");
    assert_eq!(events, 0, "{what}");
}

fn tcp(from: SocketAddr) -> Connection {
    Connection::between(from, SERVER)
}

#[test]
fn connections_that_only_open() {
    flood("openings", false, &|from| tcp(from).opening());
}

#[test]
fn connections_that_open_again_elsewhere() {
    for syns in [2, 5, 40] {
        flood(&format!("{syns} SYNs each"), true, &|from| {
            (0..syns).map(|number| tcp(from).isn(number * 100_000_000).syn()).collect()
        });
    }
}

#[test]
fn hellos_of_which_half_came() {
    let stream = Hello::post_quantum("www.example.org").record();
    flood("half hellos", true, &|from| vec![tcp(from).syn(), tcp(from).from_client(0, &stream[..900])]);
    let stream = Hello::post_quantum("www.example.org").records(300);
    flood("half hellos in small records", true, &|from| {
        vec![tcp(from).syn(), tcp(from).from_client(0, &stream[..900])]
    });
}

#[test]
fn streams_without_a_beginning() {
    flood("unknown protocols from their middle", true, &|from| {
        vec![tcp(from).from_client(9_000, &[b'.'; 700]), tcp(from).from_server(5_000, &[b'.'; 1_300])]
    });
    flood("unknown protocols", true, &|from| {
        let frames = [tcp(from).from_client(0, &[b'.'; 700]), tcp(from).from_server(0, &[b'.'; 1_300])];
        [tcp(from).opening(), frames.to_vec()].concat()
    });
}

#[test]
fn streams_full_of_holes() {
    flood("holes", true, &|from| vec![tcp(from).syn(), tcp(from).from_client(40_000, b"far away")]);
}

#[test]
fn streams_that_lead_to_no_hello() {
    let answer = [&b"HTTP/1.1 200 OK\r\n\r\n"[..], &[b'.'; 1_300]].concat();
    flood("answers without questions", true, &|from| {
        (0..4).map(|place| tcp(from).from_server(place * answer.len(), &answer)).collect()
    });
}

#[test]
fn certificates_that_never_come() {
    let hello = Hello::nameless().tls12().record();
    let flight =
        record(&[&[2, 0, 0, 70, 3, 3][..], &[5; 32], &[0, 0xc0, 0x2b, 0, 0, 30, 0xff, 0xff, 0, 26], &[0; 26]].concat());
    flood("certificates", true, &|from| {
        [tcp(from).saying(&hello), vec![tcp(from).from_server(0, &flight), tcp(from).from_server(30_000, b"far away")]]
            .concat()
    });
}

#[test]
fn messages_of_dns_over_tcp_of_which_half_came() {
    flood("DNS", true, &|from| {
        let connection = tcp(from).to_port(53);
        vec![connection.syn(), connection.from_client(0, &[&[4, 0][..], &[0; 700]].concat())]
    });
}

#[test]
fn quic_of_which_half_came() {
    let message = Hello::post_quantum("www.example.org").message();
    flood("half hellos in QUIC", true, &|from| {
        vec![udp(from, SERVER, &Initial::new(b"origin id", &crypto(&message, 0..900)).datagram())]
    });
    let mut garbage = vec![0xc3, 0, 0, 0, 1, 8, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 0x44, 0x9e];
    garbage.resize(1_200, 0x5a);
    flood("garbage Initials", true, &|from| vec![udp(from, SERVER, &garbage)]);
}

#[test]
fn datagrams_of_nothing_known() {
    flood("datagrams", false, &|from| vec![udp(from, SERVER, b"game traffic")]);
}
