//! The innermost packet of a frame: addresses, ports, transport, and the encapsulation around it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::checksum::NetworkHeader;
use super::segment::{Segment, UdpDatagram};

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
    /// Source port; 0 where the transport has none. Of ICMP the message type.
    pub source_port: u16,
    /// Destination port; 0 where the transport has none. Of ICMP the type that answers, or is answered by, the message; the
    /// message's code if there is none.
    pub destination_port: u16,
    /// IP protocol number of the innermost packet.
    pub protocol: u8,
    /// The headers around the innermost packet.
    pub encapsulation: Encapsulation,
    /// The transport header and its payload.
    pub transport: Transport<'a>,
}

/// VLAN identifiers stored per frame.
pub const VLANS_MAX: usize = 3;

/// The headers around the innermost packet: VLANs and tunnels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Encapsulation {
    /// VLAN identifiers, outermost first; only `vlan_count` of them are set.
    pub vlans: [u16; VLANS_MAX],
    /// How many of `vlans` are set.
    pub vlan_count: u8,
    /// How many tunnels are around the packet.
    pub tunnel_depth: u8,
    /// The outermost tunnel.
    pub tunnel: Option<Tunnel>,
    /// The virtual network, so that equal inner 5-tuples of different customers stay apart: a hash over VNI (VXLAN, GENEVE),
    /// GRE key, PBB I-SID and the like; 0 without any. Identifiers that differ by direction (GTP TEID, L2TP session, ERSPAN
    /// session) are not part of it.
    pub network: u32,
}

impl Encapsulation {
    /// The innermost VLAN.
    pub fn innermost_vlan(&self) -> Option<u16> {
        self.vlans.get(..usize::from(self.vlan_count)).and_then(<[u16]>::last).copied()
    }
}

/// The outermost tunnel around a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tunnel {
    /// Its kind.
    pub kind: TunnelKind,
    /// Sender of the outer packet; `None` for tunnels below IP (PPPoE, MPLS, PBB).
    pub source: Option<Address>,
    /// Receiver of the outer packet.
    pub destination: Option<Address>,
}

/// Kinds of tunnels. Events name them by [`TunnelKind::as_str`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
#[rustfmt::skip]
pub enum TunnelKind {
    Ipip, SixInFour, FourInSix, Gre, Erspan, Vxlan, VxlanGpe, Geneve, GtpU, Teredo, L2tp, Pppoe, Mpls, Pbb, EoIp, Nsh, Capwap, Wccp, Esp,
    EtherIp, Gue, Trill, Tzsp, Lisp, Ayiya, JMirror, HpErm,
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
            Self::Trill => "trill", Self::Tzsp => "tzsp", Self::Lisp => "lisp", Self::Ayiya => "ayiya",
            Self::JMirror => "jmirror", Self::HpErm => "hp-erm",
        }
    }
}

/// The transport of a packet.
#[derive(Clone, Copy, Debug)]
pub enum Transport<'a> {
    /// A TCP segment.
    Tcp(Segment<'a>),
    /// A UDP datagram.
    Udp(UdpDatagram<'a>),
    /// Any other protocol; it is not decoded.
    Other,
}

impl<'a> Transport<'a> {
    /// The IP header in front of a segment or datagram.
    pub const fn network(&self) -> Option<NetworkHeader<'a>> {
        match self {
            Self::Tcp(segment) => Some(segment.network()),
            Self::Udp(datagram) => Some(datagram.network()),
            Self::Other => None,
        }
    }
}
