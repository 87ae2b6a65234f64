//! Made-up traffic: the egress of an organisation as a tap would see it, byte for byte the same for the same seed. For
//! benches, for tests of a tap, and for trying the sensor out where no real traffic may be looked at.
//!
//! In: a seed and a profile. Out: frames with times, one by one ([`Traffic`]), and counts of what is in them, so that a
//! reader can be checked against them. [`ministry`] makes a working day of a ministry instead, with the truth of who ran which
//! application, so that judgement can be checked. [`pcap`] has the headers of a capture file.
//!
//! Not here: nothing is sent or written; the caller does that. Clients and servers have addresses that nobody owns
//! (RFC 1918, RFC 2544, RFC 3849, RFC 5180). Encrypted content is noise.
//!
//! etherparse builds the headers. TLS, QUIC and DNS messages are built here, since no kept library writes odd ones (GREASE,
//! shuffled extensions and CRYPTO frames) from a seed.

mod conversation;
mod dns;
mod hello;
pub mod ministry;
pub mod names;
mod packet;
pub mod pcap;
mod quic;
mod random;
mod stack;
mod tcp;
mod traffic;
mod udp;

pub use traffic::{Profile, Settings, Traffic, TrafficCounts};
