//! From a frame to the innermost packet: link layer, tags, tunnels, IP, transport. Pure functions over bytes,
//! nothing is allocated; fragments are handed out to be joined by [`Fragments`](fragments::Fragments).
//!
//! The common path (Ethernet, IP, TCP or UDP) reads its headers by `etherparse`'s single slices; all that is rarer
//! stands in functions of its own, and each layer there calls the next: `descent` bounds how deep that can go.

mod descent;
mod error;
pub mod fragments;
mod gre;
mod ip;
mod link;
mod shim;
mod transport;
mod tunnel;
mod udp_tunnel;
mod wifi;

#[cfg(test)]
mod tests;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use vigie_wire::{Frame, LinkType};

use descent::Descent;
pub use error::DecodeError;
use fragments::Fragment;
pub use udp_tunnel::may_be_tunnel_port;

/// How far decoding goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeLimits {
    /// Headers of encapsulation opened in one frame, joins of fragments counted too.
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

/// What a frame comes down to.
#[derive(Clone, Copy, Debug)]
pub enum Decoded<'a> {
    /// A whole packet.
    Packet(Packet<'a>),
    /// A fragment of an IP datagram; its transport header may be in another one.
    Fragment(Fragment<'a>),
}

/// Decodes a captured frame down to its innermost packet.
///
/// # Errors
/// What stopped it. A transport that is not known is no error but [`Transport::Other`].
#[inline]
pub fn decode<'a>(frame: &Frame<'a>, limits: &DecodeLimits) -> Result<Decoded<'a>, DecodeError> {
    let cut = frame.wire_length as usize > frame.data.len();
    let mut descent = Descent::bare(limits, cut);
    if frame.link_type == LinkType::ETHERNET {
        link::ethernet(frame.data, &mut descent)
    } else {
        link::other(frame.link_type, frame.data, &mut descent)
    }
}

/// Decodes an IP packet, version told by its first nibble, that stood in `encapsulation`.
///
/// # Errors
/// As [`decode`].
pub fn decode_ip<'a>(
    bytes: &'a [u8],
    encapsulation: Encapsulation,
    limits: &DecodeLimits,
) -> Result<Decoded<'a>, DecodeError> {
    ip::any(bytes, &mut Descent::new(limits, encapsulation, encapsulation.tunnel_depth, false))
}

/// Decodes what joined fragments gave. It may hold a tunnel, or be a fragment again; every join counts as one
/// header of encapsulation.
///
/// # Errors
/// As [`decode`].
pub fn decode_reassembled<'a>(
    datagram: &'a fragments::Datagram,
    limits: &DecodeLimits,
) -> Result<Decoded<'a>, DecodeError> {
    let mut descent = Descent::new(limits, datagram.encapsulation, datagram.depth, false);
    descent.deepen()?;
    let ends = ip::Ends {
        source: datagram.source,
        destination: datagram.destination,
        v6: datagram.v6,
        announced: datagram.payload.len(),
    };
    ip::upper(datagram.protocol, &datagram.payload, &ends, &mut descent)
}

/// An IP address in sixteen bytes; IPv4 as mapped by RFC 4291 §2.5.5.2.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address(pub u128);

impl Address {
    /// An IPv4 address from its four bytes.
    #[inline]
    pub const fn v4(bytes: [u8; 4]) -> Self {
        Self(0xffff_0000_0000 | u32::from_be_bytes(bytes) as u128)
    }

    /// An IPv6 address from its sixteen bytes.
    #[inline]
    pub const fn v6(bytes: [u8; 16]) -> Self {
        Self(u128::from_be_bytes(bytes))
    }

    /// The address as the standard library knows it; IPv4-mapped comes out as IPv4.
    pub const fn ip(self) -> IpAddr {
        if self.0 >> 32 == 0xffff {
            IpAddr::V4(Ipv4Addr::from_bits(self.0 as u32))
        } else {
            IpAddr::V6(Ipv6Addr::from_bits(self.0))
        }
    }
}

impl From<IpAddr> for Address {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(v4) => Self::v4(v4.octets()),
            IpAddr::V6(v6) => Self::v6(v6.octets()),
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.ip().fmt(formatter)
    }
}

/// The innermost packet of a frame.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    /// Innermost sender.
    pub source: Address,
    /// Innermost receiver.
    pub destination: Address,
    /// Zero where the transport has no ports.
    pub source_port: u16,
    /// Zero where the transport has no ports.
    pub destination_port: u16,
    /// IP protocol number of the innermost packet.
    pub protocol: u8,
    /// What stood around the innermost packet.
    pub encapsulation: Encapsulation,
    /// The transport header's facts and what it carries.
    pub transport: Transport<'a>,
}

/// How many VLAN identifiers of a frame are kept.
pub const VLANS_MAX: usize = 3;

/// What stood around the innermost packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Encapsulation {
    /// VLAN identifiers, outermost first; only `vlan_count` of them are set.
    pub vlans: [u16; VLANS_MAX],
    /// How many of `vlans` are set.
    pub vlan_count: u8,
    /// How many tunnels were opened.
    pub tunnel_depth: u8,
    /// The outermost tunnel.
    pub tunnel: Option<Tunnel>,
    /// Distinguishes equal inner 5-tuples in different virtual networks: zero without any, else a hash over
    /// VNI (VXLAN, GENEVE), GRE key, PBB I-SID and the like. Identifiers that differ by direction (GTP TEID,
    /// L2TP session, ERSPAN session) do not enter.
    pub network: u32,
}

/// The outermost tunnel around a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tunnel {
    /// What kind.
    pub kind: TunnelKind,
    /// Sender of the outer packet; `None` for tunnels below IP (PPPoE, MPLS, PBB).
    pub source: Option<Address>,
    /// Receiver of the outer packet.
    pub destination: Option<Address>,
}

/// Kinds of tunnels. The names written in events are those of [`TunnelKind::as_str`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
#[rustfmt::skip]
pub enum TunnelKind {
    Ipip, SixInFour, FourInSix, Gre, Erspan, Vxlan, VxlanGpe, Geneve, GtpU, Teredo, L2tp, Pppoe, Mpls, Pbb, EoIp, Nsh, Capwap, Wccp, Esp,
    EtherIp, Gue, Trill,
}

impl TunnelKind {
    /// Lower-case name, stable.
    #[rustfmt::skip]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ipip => "ipip", Self::SixInFour => "6in4", Self::FourInSix => "4in6", Self::Gre => "gre",
            Self::Erspan => "erspan", Self::Vxlan => "vxlan", Self::VxlanGpe => "vxlan-gpe", Self::Geneve => "geneve",
            Self::GtpU => "gtp-u", Self::Teredo => "teredo", Self::L2tp => "l2tp", Self::Pppoe => "pppoe",
            Self::Mpls => "mpls", Self::Pbb => "pbb", Self::EoIp => "eoip", Self::Nsh => "nsh", Self::Capwap => "capwap",
            Self::Wccp => "wccp", Self::Esp => "esp", Self::EtherIp => "etherip", Self::Gue => "gue",
            Self::Trill => "trill",
        }
    }
}

/// What the innermost packet carries.
#[derive(Clone, Copy, Debug)]
pub enum Transport<'a> {
    /// A TCP segment.
    Tcp(Segment<'a>),
    /// The payload of a UDP datagram.
    Udp(&'a [u8]),
    /// Anything else; not followed further.
    Other,
}

/// A TCP segment, as much of it as was captured.
#[derive(Clone, Copy, Debug)]
pub struct Segment<'a> {
    /// Sequence number of the first payload byte (SYN not subtracted).
    pub sequence: u32,
    /// The flag byte of the header: FIN 1, SYN 2, RST 4, PSH 8, ACK 16.
    pub flags: u8,
    /// Captured payload.
    pub payload: &'a [u8],
}

impl Segment<'_> {
    /// FIN flag.
    pub const FIN: u8 = 1;
    /// SYN flag.
    pub const SYN: u8 = 2;
    /// RST flag.
    pub const RST: u8 = 4;
    /// ACK flag.
    pub const ACK: u8 = 16;
}
