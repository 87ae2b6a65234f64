//! Handshakes apart from the worker: bytes to name.

use std::hint::black_box;

use vigie_decode::{Address, NetworkHeader, Segment, Transport, UdpDatagram};
use vigie_flow::Side;
use vigie_handshake::address_names::{self, AddressNames, Query};
use vigie_handshake::dns::Message;
use vigie_handshake::quic::Scratch;
use vigie_handshake::tcp::TcpInspector;
use vigie_handshake::tls::{ClientHello, Ja4, Ja4Transport, hello_in_one_record};
use vigie_handshake::udp::{Hello, Lent, UdpInspector};
use vigie_handshake::{Counts, Limits};

use super::Workload;
use crate::samples::{Kind, Opening, openings};

const SAMPLES: usize = 256;

/// The client's TCP payloads of an opening.
fn segments(opening: &Opening) -> Vec<(u32, Vec<u8>)> {
    let packets = opening.iter().filter_map(|sample| sample.packet());
    packets
        .filter_map(|packet| match packet.transport {
            Transport::Tcp(segment) if !segment.payload.is_empty() => {
                Some((segment.sequence, segment.payload.to_vec()))
            }
            _ => None,
        })
        .collect()
}

fn datagrams(opening: &Opening) -> Vec<Vec<u8>> {
    let packets = opening.iter().filter_map(|sample| sample.packet());
    packets
        .filter_map(|packet| match packet.transport {
            Transport::Udp(datagram) => Some(datagram.payload.to_vec()),
            _ => None,
        })
        .collect()
}

/// All that is asked of a hello but its fingerprint.
fn ask(hello: &ClientHello<'_>) -> usize {
    let name = hello.server_name().map_or(0, <[u8]>::len);
    let protocols = hello.alpn().count();
    let ech = hello.ech().map_or(0, |ech| ech.judge() as usize + 1);
    name + protocols + ech + usize::from(hello.highest_version())
}

/// Hellos in one record in one piece.
pub struct Tls(Vec<Vec<u8>>);

impl Tls {
    /// Without a post-quantum share.
    pub fn short() -> Self {
        Self::of(Kind::Tls)
    }

    /// With one.
    pub fn post_quantum() -> Self {
        Self::of(Kind::TlsPostQuantum)
    }

    fn of(kind: Kind) -> Self {
        let openings = openings(kind, SAMPLES, 0);
        Self(
            openings
                .iter()
                .map(|opening| segments(opening).into_iter().flat_map(|(_, bytes)| bytes).collect())
                .collect(),
        )
    }
}

impl Workload for Tls {
    fn operations(&self) -> u64 {
        self.0.len() as u64
    }

    fn run(&mut self) {
        for record in &self.0 {
            let hello = hello_in_one_record(black_box(record)).expect("a whole hello");
            black_box(ask(&hello));
        }
    }
}

/// Fingerprints of hellos.
pub struct Fingerprint(Tls);

impl Fingerprint {
    /// Of short ones.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Self(Tls::short())
    }
}

impl Workload for Fingerprint {
    fn operations(&self) -> u64 {
        self.0.operations()
    }

    fn run(&mut self) {
        for record in &self.0.0 {
            let hello = hello_in_one_record(record).expect("a whole hello");
            black_box(Ja4::of(black_box(&hello), Ja4Transport::Tcp));
        }
    }
}

/// Hellos over two segments.
pub struct Split {
    flows: Vec<Vec<(u32, Vec<u8>)>>,
    inspector: TcpInspector,
    limits: Limits,
    counts: Counts,
}

impl Split {
    /// Post-quantum ones.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        let flows = openings(Kind::TlsPostQuantum, SAMPLES, 0).iter().map(segments).collect();
        let limits = vigie::settings::Limits::default().handshake();
        Self { flows, inspector: TcpInspector::default(), limits, counts: Counts::default() }
    }
}

impl Workload for Split {
    fn operations(&self) -> u64 {
        self.flows.len() as u64
    }

    fn run(&mut self) {
        for pieces in &self.flows {
            self.inspector.reset();
            self.inspector.begin(Side::Low, pieces.first().expect("a piece").0);
            let mut told = 0;
            for (sequence, payload) in pieces {
                let segment = Segment::without_header(*sequence, Segment::ACK, payload);
                let said = self.inspector.segment(Side::Low, &segment, &self.limits, &mut self.counts);
                told += said.hello.map_or(0, |hello| ask(&hello));
            }
            assert!(told > 0, "every hello is told");
        }
    }
}

/// Hellos over QUIC.
pub struct Quic {
    flows: Vec<Vec<Vec<u8>>>,
    inspector: UdpInspector,
    scratch: Scratch,
    limits: Limits,
    counts: Counts,
}

impl Quic {
    /// In one datagram.
    pub fn one() -> Self {
        Self::of(Kind::Quic)
    }

    /// In three datagrams.
    pub fn three() -> Self {
        Self::of(Kind::QuicThree)
    }

    fn of(kind: Kind) -> Self {
        Self {
            flows: openings(kind, SAMPLES / 4, 0).iter().map(datagrams).collect(),
            inspector: UdpInspector::default(),
            scratch: Scratch::new(),
            limits: vigie::settings::Limits::default().handshake(),
            counts: Counts::default(),
        }
    }
}

impl Workload for Quic {
    fn operations(&self) -> u64 {
        self.flows.len() as u64
    }

    fn run(&mut self) {
        for flow in &self.flows {
            self.inspector.reset();
            let mut told = 0;
            for datagram in flow {
                let Self { inspector, scratch, limits, counts, .. } = self;
                let datagram = UdpDatagram::new(&[], datagram, NetworkHeader::default());
                inspector.datagram(
                    Side::Low,
                    &datagram,
                    &mut Lent { scratch, limits, counts, is_rewritten: false },
                    &mut |hello, _| {
                        if let Hello::Quic(_, hello) = hello {
                            told += ask(hello);
                        }
                    },
                );
            }
            assert!(told > 0, "every hello is told");
        }
    }
}

/// Answers of DNS.
pub struct Dns {
    answers: Vec<(Address, Vec<u8>)>,
    names: AddressNames,
}

impl Dns {
    /// For harmless names.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        let openings = openings(Kind::Dns, SAMPLES, 0);
        let answers = openings.iter().filter_map(|opening| {
            let packet = opening.last()?.packet()?;
            match packet.transport {
                Transport::Udp(datagram) => Some((packet.destination, datagram.payload.to_vec())),
                _ => None,
            }
        });
        Self { answers: answers.collect(), names: AddressNames::new(address_names::Limits::default()) }
    }
}

impl Workload for Dns {
    fn operations(&self) -> u64 {
        self.answers.len() as u64
    }

    fn run(&mut self) {
        for (client, answer) in &self.answers {
            let message = Message::parse(black_box(answer)).expect("an answer");
            self.names.insert_answer(Some(*client), Query::Seen, &message, crate::ring::NOW_NS);
        }
        assert!(!self.names.is_empty());
    }
}
