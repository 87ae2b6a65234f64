//! Traffic made up from a seed: the egress of an organisation as a tap would see it, byte for byte the same for the
//! same seed. For benches, for tests of a tap, and for trying the sensor out where no traffic may be looked at.
//!
//! [`Traffic`] gives frames one by one and counts what it told in them, so that a reader can be held to it. Clients and
//! servers have addresses that nobody owns (RFC 1918, RFC 2544, RFC 3849, RFC 5180); what is encrypted is noise. Nothing
//! is sent anywhere: writing the frames down is the caller's.

mod conversation;
mod dns;
mod hello;
pub mod names;
mod packet;
pub mod pcap;
mod quic;
mod random;
mod tcp;
mod traffic;
mod udp;

pub use traffic::{Made, Profile, Settings, Traffic};
