//! Why a frame gave no packet. Errors are counted by kind and not logged per frame.

use std::fmt;

/// Why decoding failed: the layer, and what was wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum DecodeError {
    /// The link type is not supported.
    LinkUnsupported,
    /// The link header is cut short.
    LinkTruncated,
    /// The link header contradicts itself.
    LinkMalformed,
    /// ARP, LLDP, a discovery or management frame: something other than IP.
    NotIp,
    /// The link layer is encrypted (802.11 WEP/WPA, MACsec, PPP ECP).
    Encrypted,
    /// A tag or label between link and network layer is cut short.
    ShimTruncated,
    /// A tag or label contradicts itself.
    ShimMalformed,
    /// The IPv4 header is cut short.
    Ipv4Truncated,
    /// Version, header length or total length of an IPv4 header is wrong.
    Ipv4Malformed,
    /// The IPv6 header is cut short.
    Ipv6Truncated,
    /// Version or length of an IPv6 header is wrong.
    Ipv6Malformed,
    /// An extension or authentication header is cut short.
    ExtensionTruncated,
    /// The TCP header is cut short.
    TcpTruncated,
    /// The TCP data offset is wrong.
    TcpMalformed,
    /// The UDP header is cut short.
    UdpTruncated,
    /// The UDP length is wrong.
    UdpMalformed,
    /// A tunnel header is cut short.
    TunnelTruncated,
    /// A tunnel header contradicts itself.
    TunnelMalformed,
    /// The tunnel's version or kind of payload is not supported.
    TunnelUnsupported,
    /// More tags, extension headers or nested tunnels than the limits allow.
    TooDeep,
}

impl DecodeError {
    /// All of them, in the order of [`index`](Self::index).
    #[rustfmt::skip]
    pub const ALL: [Self; 20] = [
        Self::LinkUnsupported, Self::LinkTruncated, Self::LinkMalformed, Self::NotIp, Self::Encrypted,
        Self::ShimTruncated, Self::ShimMalformed, Self::Ipv4Truncated, Self::Ipv4Malformed, Self::Ipv6Truncated,
        Self::Ipv6Malformed, Self::ExtensionTruncated, Self::TcpTruncated, Self::TcpMalformed, Self::UdpTruncated,
        Self::UdpMalformed, Self::TunnelTruncated, Self::TunnelMalformed, Self::TunnelUnsupported, Self::TooDeep,
    ];

    /// How many there are.
    pub const COUNT: usize = Self::ALL.len();

    /// Place in a table of counters, below [`COUNT`](Self::COUNT).
    #[inline]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The label of the counter, stable.
    #[rustfmt::skip]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::LinkUnsupported => "link-unsupported", Self::LinkTruncated => "link-truncated",
            Self::LinkMalformed => "link-malformed", Self::NotIp => "not-ip", Self::Encrypted => "encrypted",
            Self::ShimTruncated => "shim-truncated", Self::ShimMalformed => "shim-malformed",
            Self::Ipv4Truncated => "ipv4-truncated", Self::Ipv4Malformed => "ipv4-malformed",
            Self::Ipv6Truncated => "ipv6-truncated", Self::Ipv6Malformed => "ipv6-malformed",
            Self::ExtensionTruncated => "extension-truncated", Self::TcpTruncated => "tcp-truncated",
            Self::TcpMalformed => "tcp-malformed", Self::UdpTruncated => "udp-truncated",
            Self::UdpMalformed => "udp-malformed", Self::TunnelTruncated => "tunnel-truncated",
            Self::TunnelMalformed => "tunnel-malformed", Self::TunnelUnsupported => "tunnel-unsupported",
            Self::TooDeep => "too-deep",
        }
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl std::error::Error for DecodeError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_error_has_its_own_place_and_label() {
        for (index, error) in DecodeError::ALL.into_iter().enumerate() {
            assert_eq!(error.index(), index);
            assert!(DecodeError::ALL.iter().filter(|other| other.as_str() == error.as_str()).count() == 1);
        }
    }
}
