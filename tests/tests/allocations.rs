//! What a packet costs in allocations: none on flows of which nothing more is expected, which most packets belong to, and
//! none for a new flow with a hello in one segment that no rule answers for, once the worker is warm.

use std::net::SocketAddr;
use std::sync::Arc;

use vigie::settings::Limits;
use vigie::worker::{EventTypes, Share, Worker};
use vigie_capture::BATCH_FRAMES_MAX;
use vigie_flow::HashKey;
use vigie_handshake::address_names::{self, AddressNames};
use vigie_signatures::Bundle;
use vigie_tests::dns;
use vigie_tests::hello::{Hello, application_data};
use vigie_tests::memory::{Counting, measure};
use vigie_tests::packets::{ACK, CLIENT, SERVER, tagged, udp, vxlan};
use vigie_tests::quic::{Initial, crypto, hello_datagram};
use vigie_tests::tape::frame;
use vigie_tests::tcp::Connection;
use vigie_wire::Frame;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// A worker, and the time.
struct Bench {
    worker: Worker,
    frames: u64,
    events: u64,
}

impl Bench {
    fn new() -> Self {
        let limits = Limits { flows_max: 1 << 16, ..Limits::default() };
        let names = Arc::new(AddressNames::new(address_names::Limits::default()));
        let secret = HashKey::REPLAY;
        let worker = Worker::new(&limits, EventTypes::default(), Bundle::builtin(), names, secret, Share::ALL);
        Self { worker, frames: 0, events: 0 }
    }

    /// How often the worker allocates for these frames, which come a millisecond apart.
    fn allocations(&mut self, frames: &[Vec<u8>]) -> u64 {
        let first = self.frames;
        let time = |number: u64| 1_795_219_200_000_000_000 + number * 1_000_000;
        let frames: Vec<Frame<'_>> =
            frames.iter().zip(first..).map(|(data, number)| frame(time(number), number, data)).collect();
        self.frames += frames.len() as u64;
        let Self { worker, events, .. } = self;
        let batches = || frames.chunks(BATCH_FRAMES_MAX).for_each(|batch| worker.batch(batch, &mut |_| *events += 1));
        measure(batches).1
    }
}

/// Packets in both directions after a connection's hello, of all kinds that come on a settled connection.
fn tcp_later(connection: &Connection) -> Vec<Vec<u8>> {
    let data = application_data(1_000);
    let frames = (1..200_usize).flat_map(|place| {
        [
            connection.from_client(place * 1_400, &data),
            connection.from_server(place * 1_400, &data),
            connection.from_server(place * 1_400, b"\x16\x03\x03\0\x10 looks like a handshake"),
            connection.from_client(place * 1_400, b""),
            connection.from_client_with(0, ACK, &Hello::to("another.example").record()),
        ]
    });
    frames.chain([connection.syn(), connection.syn_ack(), connection.fin(300_000)]).collect()
}

fn udp_later(client: SocketAddr, server: SocketAddr) -> Vec<Vec<u8>> {
    let answer = Initial::answer(b"origin id", b"server's").datagram();
    let frames = (0..200_u8).flat_map(|place| {
        [
            udp(client, server, &[0x40 | place & 0x3f; 900]),
            udp(server, client, &[0x40 | place & 0x3f; 1_200]),
            udp(server, client, &answer),
            udp(client, server, &[place; 30]),
            udp(
                client,
                server,
                &[0xe0 | place & 0xf, 0, 0, 0, 1, 8, b's', b'e', b'r', b'v', b'e', b'r', b'\'', b's', 0],
            ),
        ]
    });
    frames.collect()
}

#[test]
fn settled_connections_cost_no_allocation() {
    for (what, opening) in [
        ("no rule answers", Hello::to("www.example.org").record()),
        ("it alerted", Hello::to("www.tiktok.com").record()),
        ("no name", Hello::nameless().record()),
        ("clear HTTP", b"GET / HTTP/1.1\r\nHost: www.example.org\r\n\r\n".to_vec()),
        ("another protocol", b"SSH-2.0-OpenSSH_9.9\r\n".to_vec()),
    ] {
        let mut bench = Bench::new();
        let connection = Connection::default();
        bench.allocations(&connection.saying(&opening));
        // What is no TLS is listened to until the server's side is known for one.
        let answers = [&b"HTTP/1.1 200 OK\r\n\r\n"[..], b"SSH-2.0-OpenSSH_9.9\r\n"];
        let answer = answers[usize::from(opening.starts_with(b"SSH"))];
        bench.allocations(&(0..10).map(|place| connection.from_server(place * 108, answer)).collect::<Vec<_>>());
        assert_eq!(bench.allocations(&tcp_later(&connection)), 0, "{what}");
        assert_eq!(bench.events, u64::from(what == "it alerted"), "{what}");
    }
}

#[test]
fn settled_quic_flows_cost_no_allocation() {
    for (what, name) in [("no rule answers", "www.example.org"), ("it alerted", "www.tiktok.com")] {
        let mut bench = Bench::new();
        let hello = udp(CLIENT, SERVER, &hello_datagram(b"origin id", &Hello::to(name).message()));
        bench.allocations(&answered_datagrams(CLIENT, vec![hello]));
        assert_eq!(bench.allocations(&udp_later(CLIENT, SERVER)), 0, "{what}");
    }
}

#[test]
fn tags_and_tunnels_cost_no_allocation() {
    let connection = Connection::default();
    let (near, far) = ("198.51.100.1".parse().unwrap(), "198.51.100.2".parse().unwrap());
    let wrap = |frames: Vec<Vec<u8>>| -> Vec<Vec<u8>> {
        frames.iter().map(|frame| tagged(&vxlan(frame, 42, near, far), &[(0x88a8, 7), (0x8100, 8)])).collect()
    };
    let mut bench = Bench::new();
    bench.allocations(&wrap(connection.saying(&Hello::to("www.example.org").record())));
    bench.allocations(&wrap(vec![connection.from_server(0, b"\x16\x03\x03\0\x04\x02\0\0\0")]));
    assert_eq!(bench.allocations(&wrap(tcp_later(&connection))), 0);
}

#[test]
fn what_is_not_followed_costs_no_allocation() {
    let arp = [&[0xff; 12][..], &[8, 6, 0, 1, 8, 0, 6, 4, 0, 1], &[0; 40]].concat();
    let mut icmp = udp(CLIENT, SERVER, &[0; 40]);
    icmp[23] = 1;
    let frames: Vec<Vec<u8>> =
        (0..500).flat_map(|count| [arp.clone(), icmp.clone(), vec![0; count % 60], icmp[..30].to_vec()]).collect();
    let mut bench = Bench::new();
    bench.allocations(&[icmp.clone()]);
    assert_eq!(bench.allocations(&frames), 0);
}

/// A kind of new flow: the packets of the flow with a number.
type NewFlow = fn(u16) -> Vec<Vec<u8>>;

fn client(number: u16) -> SocketAddr {
    SocketAddr::new(CLIENT.ip(), number)
}

/// Datagrams of a client, and the server's answer: until then another hello may follow, which counts as much as the first.
fn answered_datagrams(client: SocketAddr, mut frames: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    frames.push(udp(SERVER, client, &Initial::answer(b"origin id", b"server's").datagram()));
    frames
}

fn quic_in_two(number: u16) -> Vec<Vec<u8>> {
    let message = Hello::post_quantum("www.example.org").message();
    let initial = |range, place| Initial::new(&number.to_be_bytes().repeat(4), &crypto(&message, range)).number(place);
    let initials = [initial(0..1_000, 0), initial(1_000..message.len(), 1)];
    answered_datagrams(
        client(number),
        initials.map(|initial| udp(client(number), SERVER, &initial.datagram())).to_vec(),
    )
}

/// A connection, and the server's answer: until then the hello's bytes are kept, in case that the client contradicts them.
fn answered(port: u16, say: impl Fn(&Connection) -> Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    let connection = Connection::default().port(port);
    let mut frames = say(&connection);
    frames.push(connection.from_server(0, b"\x16\x03\x03\0\x04\x02\0\0\0"));
    frames
}

#[test]
fn new_flows_cost_next_to_no_allocation_once_the_worker_is_warm() {
    // With how many allocations each may cost: the state of a hello that is not whole at once is one, clear text and
    // records joined are some more.
    let kinds: [(u64, &str, NewFlow); 7] = [
        (0, "TLS", |number| {
            answered(number, |connection| connection.saying(&Hello::to("www.example.org").alpn(&["h2"]).record()))
        }),
        (1, "TLS in two segments", |number| {
            answered(number, |connection| {
                let segments = connection.segments(&Hello::post_quantum("www.example.org").record(), 1_000);
                [connection.opening(), segments].concat()
            })
        }),
        (7, "TLS in small records", |number| {
            answered(number, |connection| connection.saying(&Hello::to("www.example.org").records(16)))
        }),
        (0, "QUIC", |number| {
            let id = number.to_be_bytes().repeat(4);
            let hello = hello_datagram(&id, &Hello::to("www.example.org").message());
            answered_datagrams(client(number), vec![udp(client(number), SERVER, &hello)])
        }),
        (0, "QUIC in two Initials", quic_in_two),
        (2, "clear HTTP", |number| {
            Connection::default().port(number).saying(b"GET / HTTP/1.1\r\nHost: www.example.org\r\n\r\n")
        }),
        (0, "UDP of another kind", |number| vec![udp(client(number), SERVER, b"game traffic"); 60]),
    ];
    const FLOWS: u16 = 500;
    /// Lists that grow once in a while.
    const GROWTH: u64 = 5;
    for (most, what, flow) in kinds {
        let mut bench = Bench::new();
        let flows = |numbers: std::ops::Range<u16>| -> Vec<Vec<u8>> { numbers.flat_map(flow).collect() };
        bench.allocations(&flows(1_000..1_000 + FLOWS));
        let warm = bench.allocations(&flows(10_000..10_000 + FLOWS));
        println!("{what}: {:.2} allocations a flow", f64::from(warm as u32) / f64::from(FLOWS));
        assert!(
            warm <= (most * u64::from(FLOWS)).saturating_add(GROWTH) && (most > 0 || warm == 0),
            "{what}: {warm} for {FLOWS} flows"
        );
        assert_eq!(bench.events, 0, "{what}");
    }
}

/// An answer's name is one allocation, shared by all its addresses.
#[test]
fn dns_answers_cost_a_few() {
    let mut bench = Bench::new();
    let answers: Vec<Vec<u8>> =
        (0..100).map(|last| dns::told(CLIENT.ip(), "www.example.org", [192, 0, 2, last].into())).collect();
    let (new, again) = (bench.allocations(&answers), bench.allocations(&answers));
    println!("DNS: {new} allocations for 100 new answers, {again} for the same again");
    assert!(new < 500 && again < 150, "{new} {again}");
}
