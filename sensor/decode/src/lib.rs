//! From a frame to its innermost packet: link layer, tags, tunnels, IP, transport.
//!
//! * In: a [`Frame`], or the bytes of an IP packet.
//! * Out: a [`Packet`] with its payload and the [`Encapsulation`] around it, several of them in one [`Aggregate`], a
//!   [`Fragment`], or the [`DecodeError`] that says why none. [`fragments`] reassembles datagrams, which are then decoded in
//!   turn.
//! * Not here: flows, TCP streams, and all protocols above TCP and UDP.
//!
//! Pure functions over bytes without allocation; only the reassembly of fragments has state. The common path (Ethernet, IP,
//! TCP or UDP) reads its headers with `etherparse`'s single slices. Each rarer layer has a function of its own that calls
//! the next; `state` bounds how deep that goes. A new link type goes to `link_type` or `capture_header`, a new EtherType to
//! `link`, a new tunnel to the module of the protocol below it: `gre`, `tunnel` (IP protocol numbers), `udp_tunnel`, or
//! `shim` (between link layer and IP).

#![forbid(unsafe_code)]

mod aggregate;
mod capture_header;
mod capwap;
mod checksum;
mod error;
pub mod fragments;
mod gre;
mod icmp;
mod ip;
mod link;
mod link_type;
mod mirror;
mod packet;
mod segment;
mod shim;
mod state;
mod transport;
mod tunnel;
mod udp_tunnel;
mod wifi;

#[cfg(test)]
mod tests;

use vigie_wire::{Frame, LinkType};

pub use aggregate::{Aggregate, Subframe};
pub use checksum::{Checksum, ChecksumHistory, NetworkHeader};
pub use error::DecodeError;
use fragments::{Carried, Fragment};
pub use packet::{Address, Encapsulation, Packet, Transport, Tunnel, TunnelKind, VLANS_MAX};
pub use segment::{CheckedOptions, Segment, UdpDatagram};
use state::DecodeState;
pub use udp_tunnel::may_be_tunnel_port;

/// How many headers decoding reads in one frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeLimits {
    /// Encapsulating headers in one frame; reassembled fragments count as one.
    pub tunnel_depth_max: u8,
    /// Tags, MPLS labels and other headers between link layer and IP, in the whole frame.
    pub tags_max: u8,
    /// Extension headers in one IP packet.
    pub extension_headers_max: u8,
}

impl Default for DecodeLimits {
    fn default() -> Self {
        Self { tunnel_depth_max: 8, tags_max: 32, extension_headers_max: 64 }
    }
}

/// The result of decoding a frame.
#[derive(Clone, Copy, Debug)]
pub enum Decoded<'a> {
    /// A whole packet.
    Packet(Packet<'a>),
    /// A fragment of a datagram or frame; its headers may be in another one.
    Fragment(Fragment<'a>),
    /// Several packets that share the frame.
    Aggregate(Aggregate<'a>),
}

/// Decodes a captured frame down to its innermost packet.
///
/// # Errors
/// Why there is no packet. A transport that is not known is no error but [`Transport::Other`].
#[inline]
pub fn decode<'a>(frame: &Frame<'a>, limits: &DecodeLimits) -> Result<Decoded<'a>, DecodeError> {
    let truncated = frame.wire_length as usize > frame.data.len();
    let mut state = DecodeState::start(*limits, truncated);
    if frame.link_type == LinkType::ETHERNET {
        link::ethernet(frame.data, &mut state)
    } else {
        link_type::decode(frame.link_type, frame.data, &mut state)
    }
}

/// Decodes an IP packet of either version that stood in `encapsulation`.
///
/// # Errors
/// As [`decode`].
pub fn decode_ip<'a>(
    bytes: &'a [u8],
    encapsulation: Encapsulation,
    limits: &DecodeLimits,
) -> Result<Decoded<'a>, DecodeError> {
    ip::any(bytes, &mut DecodeState::new(*limits, encapsulation, encapsulation.tunnel_depth, false))
}

/// Decodes a reassembled datagram. It may hold a tunnel, or be a fragment again; every reassembly counts as one
/// encapsulating header.
///
/// # Errors
/// As [`decode`].
pub fn decode_reassembled<'a>(
    datagram: &'a fragments::Datagram,
    limits: &DecodeLimits,
) -> Result<Decoded<'a>, DecodeError> {
    let mut state = DecodeState::new(*limits, datagram.encapsulation, datagram.depth, datagram.is_truncated());
    state.count_encapsulation()?;
    match datagram.carried {
        Carried::Ip { protocol, is_v6 } => {
            let ip_header = ip::IpHeader {
                source: datagram.source,
                destination: datagram.destination,
                is_v6,
                payload_length: datagram.length,
                network: datagram.network.get(),
            };
            ip::upper(protocol, &datagram.payload, &ip_header, &mut state)
        }
        Carried::Capwap { is_wifi } => {
            state.outer = Some((datagram.source, datagram.destination));
            capwap::payload_of(is_wifi, &datagram.payload, &mut state)
        }
    }
}
