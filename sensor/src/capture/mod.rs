//! Frames, and where they come from. A [`Source`] gives them in batches whose bytes stay valid while the batch is
//! being worked on; nothing is copied on the way.

/// How many frames a batch holds at most.
pub const BATCH_FRAMES_MAX: usize = 64;

/// A frame as captured.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// Capture time, nanoseconds since the Unix epoch.
    pub timestamp_ns: u64,
    /// Place in the capture, from 1, over all its files.
    pub number: u64,
    /// Length on the wire in bytes; `data` may be shorter.
    pub wire_length: u32,
    /// What the first header is.
    pub link_type: LinkType,
    /// Which interface of the capture saw it, from 0.
    pub interface: u16,
    /// The captured bytes, from the link header on.
    pub data: &'a [u8],
}

/// A link-layer header type, by its number in the pcap file format (tcpdump.org/linktypes.html).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LinkType(pub u16);

impl LinkType {
    /// BSD loopback, address family in host byte order of the capturing machine.
    pub const NULL: Self = Self(0);
    /// Ethernet.
    pub const ETHERNET: Self = Self(1);
    /// PPP, with or without HDLC framing in front.
    pub const PPP: Self = Self(9);
    /// PPP in HDLC-like framing.
    pub const PPP_HDLC: Self = Self(50);
    /// PPPoE session payload header first.
    pub const PPPOE: Self = Self(51);
    /// Raw IP, version told by its first nibble.
    pub const RAW: Self = Self(101);
    /// Cisco HDLC.
    pub const C_HDLC: Self = Self(104);
    /// OpenBSD loopback, address family in network byte order.
    pub const LOOP: Self = Self(108);
    /// Linux cooked v1.
    pub const LINUX_SLL: Self = Self(113);
    /// Raw IPv4.
    pub const IPV4: Self = Self(228);
    /// Raw IPv6.
    pub const IPV6: Self = Self(229);
    /// Linux cooked v2.
    pub const LINUX_SLL2: Self = Self(276);
}
