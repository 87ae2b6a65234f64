//! Pieces of work, each by its name: what a packet of a settled flow, a new flow, a hello, an answer of DNS, a look-up
//! and an alert cost, and the reading of a whole capture. The same for `instructions`, which counts, and for the bench
//! `paths`, which takes times.
#![allow(clippy::expect_used)]

pub mod handshakes;
pub mod lookups;
pub mod worker;

/// A piece of work that can be done again and again.
pub trait Workload {
    /// How many operations one run does.
    fn operations(&self) -> u64;

    /// What must be done before a run, and does not count.
    fn prepare(&mut self) {}

    /// Does the work.
    fn run(&mut self);
}

/// How a workload is built.
pub type Build = fn() -> Box<dyn Workload>;

/// All workloads: name, what one operation is, and how it is built.
#[rustfmt::skip]
pub const ALL: &[(&str, &str, Build)] = &[
    ("settled-packet", "packet of one of 1 000 settled flows, batched", || Box::new(worker::Settled::new())),
    ("flow-tls", "flow: TCP opening and a short hello, in a worker", || Box::new(worker::NewFlows::tls())),
    ("flow-tls-pq", "flow: TCP opening and a post-quantum hello in two segments", || Box::new(worker::NewFlows::tls_post_quantum())),
    ("flow-quic", "flow: one Initial, in a worker", || Box::new(worker::NewFlows::quic())),
    ("flow-quic-three", "flow: a hello over three Initials, in a worker", || Box::new(worker::NewFlows::quic_three())),
    ("flow-dns", "flow: query and answer, in a worker", || Box::new(worker::NewFlows::dns())),
    ("hello", "short hello: name, ALPN, ECH", || Box::new(handshakes::Tls::short())),
    ("hello-pq", "post-quantum hello in one piece: name, ALPN, ECH", || Box::new(handshakes::Tls::post_quantum())),
    ("hello-pq-split", "post-quantum hello over two segments, put together", || Box::new(handshakes::Split::new())),
    ("ja4", "JA4 of a short hello", || Box::new(handshakes::Fingerprint::new())),
    ("quic-initial", "datagram with a whole hello: keys, opening, name", || Box::new(handshakes::Quic::one())),
    ("quic-three", "hello over three datagrams: keys, opening, name", || Box::new(handshakes::Quic::three())),
    ("dns-answer", "answer parsed and remembered", || Box::new(handshakes::Dns::new())),
    ("lookup-miss", "name that no built-in signature knows", || Box::new(lookups::Lookup::builtin_miss())),
    ("lookup-hit", "name that a built-in signature knows", || Box::new(lookups::Lookup::builtin_hit())),
    ("lookup-miss-1k", "unknown name, 1 000 rules", || Box::new(lookups::Lookup::synthetic(1_000, false))),
    ("lookup-hit-1k", "known name, 1 000 rules", || Box::new(lookups::Lookup::synthetic(1_000, true))),
    ("lookup-miss-100k", "unknown name, 100 000 rules", || Box::new(lookups::Lookup::synthetic(100_000, false))),
    ("lookup-hit-100k", "known name, 100 000 rules", || Box::new(lookups::Lookup::synthetic(100_000, true))),
    ("lookup-miss-1m", "unknown name, 1 000 000 rules", || Box::new(lookups::Lookup::synthetic(1_000_000, false))),
    ("lookup-hit-1m", "known name, 1 000 000 rules", || Box::new(lookups::Lookup::synthetic(1_000_000, true))),
    ("alert-encode", "alert as a line of EVE JSON", || Box::new(worker::Encode::new())),
    ("read-mixed", "packet of a made-up capture, file to alerts", || Box::new(worker::Read::mixed())),
    ("read-handshakes", "packet of a made-up capture, one in 17 opening a flow", || Box::new(worker::Read::handshakes())),
];

/// The workload of a name.
pub fn build(name: &str) -> Option<Box<dyn Workload>> {
    ALL.iter().find(|(known, ..)| *known == name).map(|(.., build)| build())
}
