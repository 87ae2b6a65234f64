//! What the fuzzer does with the bytes that it makes up. Each target hands them to one parser and states what must hold
//! for *any* bytes: nothing panics, memory stays bounded, and what is said does not depend on how the bytes were cut.
//!
//! The same functions replay the committed seeds and crashes in an ordinary test (`tests/tests/fuzz_crashes.rs`).

mod clear_text;
mod frames;
mod input;
mod quic;
mod signatures;
mod tcp;
mod tls;
mod worker;

/// A target: bytes in, a panic out if something does not hold.
pub type Target = fn(&[u8]);

/// All targets by name.
pub const TARGETS: &[(&str, Target)] = &[
    ("address_names", clear_text::address_names),
    ("capture", frames::capture),
    ("certificate", tls::certificate),
    ("decode", frames::decode),
    ("dns", clear_text::dns),
    ("dtls", tls::dtls),
    ("fragments", frames::fragments),
    ("http", clear_text::http),
    ("http_segments", clear_text::http_segments),
    ("names", signatures::names),
    ("prelude", clear_text::prelude),
    ("quic", quic::datagrams),
    ("server_hello", tls::server_hello),
    ("signatures", signatures::bundle),
    ("socks", clear_text::socks),
    ("tcp_versions", tcp::versions),
    ("tls_hello", tls::hello),
    ("tls_records", tls::records),
    ("udp_flow", quic::flow),
    ("worker", worker::packets),
];

/// Runs the target of this name.
pub fn run(name: &str, data: &[u8]) {
    let target = TARGETS.iter().find(|(known, _)| *known == name);
    target.expect("a target of this name").1(data);
}
