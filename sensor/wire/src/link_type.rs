//! Link-layer header types: their numbers in capture files, their names, and which of them are understood.

/// A link-layer header type, by its number in the pcap file format (tcpdump.org/linktypes.html).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LinkType(pub u16);

impl LinkType {
    /// BSD loopback, address family in host byte order of the capturing machine.
    pub const NULL: Self = Self(0);
    /// Ethernet.
    pub const ETHERNET: Self = Self(1);
    /// Token Ring, IEEE 802.5.
    pub const TOKEN_RING: Self = Self(6);
    /// ARCNET, header as BSD writes it.
    pub const ARCNET_BSD: Self = Self(7);
    /// PPP, with or without HDLC framing in front.
    pub const PPP: Self = Self(9);
    /// FDDI, ANSI INCITS 166.
    pub const FDDI: Self = Self(10);
    /// PPP in HDLC-like framing.
    pub const PPP_HDLC: Self = Self(50);
    /// PPPoE session payload header first.
    pub const PPPOE: Self = Self(51);
    /// Symantec Enterprise Firewall.
    pub const SYMANTEC_FIREWALL: Self = Self(99);
    /// LLC over ATM, RFC 2684.
    pub const ATM_RFC1483: Self = Self(100);
    /// Raw IP, version told by its first nibble.
    pub const RAW: Self = Self(101);
    /// Cisco HDLC.
    pub const C_HDLC: Self = Self(104);
    /// Wi-Fi, IEEE 802.11 header first.
    pub const IEEE802_11: Self = Self(105);
    /// Frame Relay.
    pub const FRAME_RELAY: Self = Self(107);
    /// OpenBSD loopback, address family in network byte order.
    pub const LOOP: Self = Self(108);
    /// OpenBSD IPsec interface: address family, SPI, flags.
    pub const ENC: Self = Self(109);
    /// Linux cooked v1.
    pub const LINUX_SLL: Self = Self(113);
    /// Log of the packet filter of BSD.
    pub const PFLOG: Self = Self(117);
    /// Wi-Fi, Prism or AVS header in front of the IEEE 802.11 header.
    pub const IEEE802_11_PRISM: Self = Self(119);
    /// IP over Fibre Channel, RFC 2625.
    pub const IP_OVER_FC: Self = Self(122);
    /// SunATM.
    pub const SUNATM: Self = Self(123);
    /// Wi-Fi, radiotap header in front of the IEEE 802.11 header.
    pub const IEEE802_11_RADIOTAP: Self = Self(127);
    /// ARCNET, header as Linux writes it.
    pub const ARCNET_LINUX: Self = Self(129);
    /// IP over FireWire, header as macOS writes it.
    pub const IP_OVER_IEEE1394: Self = Self(138);
    /// Reserved for private use; macOS writes PKTAP with it.
    pub const USER2: Self = Self(149);
    /// Wi-Fi, AVS header in front of the IEEE 802.11 header.
    pub const IEEE802_11_AVS: Self = Self(163);
    /// Juniper header, Ethernet with PPPoE.
    pub const JUNIPER_PPPOE: Self = Self(167);
    /// Juniper header, EtherType, PPPoE.
    pub const JUNIPER_PPPOE_ATM: Self = Self(168);
    /// Juniper header, Ethernet.
    pub const JUNIPER_ETHER: Self = Self(178);
    /// Juniper header, PPP.
    pub const JUNIPER_PPP: Self = Self(179);
    /// Juniper header, Frame Relay.
    pub const JUNIPER_FRAME_RELAY: Self = Self(180);
    /// Juniper header, Cisco HDLC.
    pub const JUNIPER_CHDLC: Self = Self(181);
    /// Per-packet information, then a frame of the link type that it names.
    pub const PPI: Self = Self(192);
    /// Extensible record format of Endace cards.
    pub const ERF: Self = Self(197);
    /// PPP after a byte that tells the direction.
    pub const PPP_WITH_DIRECTION: Self = Self(204);
    /// Cisco HDLC after a byte that tells the direction.
    pub const C_HDLC_WITH_DIRECTION: Self = Self(205);
    /// Frame Relay after a byte that tells the direction.
    pub const FRAME_RELAY_WITH_DIRECTION: Self = Self(206);
    /// MPLS label stack first.
    pub const MPLS: Self = Self(219);
    /// Solaris ipnet header, then IP.
    pub const IPNET: Self = Self(226);
    /// Raw IPv4.
    pub const IPV4: Self = Self(228);
    /// Raw IPv6.
    pub const IPV6: Self = Self(229);
    /// Linux netfilter log messages.
    pub const NFLOG: Self = Self(239);
    /// Header of Hilscher netANALYZER, then Ethernet.
    pub const NETANALYZER: Self = Self(240);
    /// Header of Hilscher netANALYZER, preamble, then Ethernet.
    pub const NETANALYZER_TRANSPARENT: Self = Self(241);
    /// IP over InfiniBand, RFC 4391.
    pub const IP_OVER_INFINIBAND: Self = Self(242);
    /// Protocol data units that Wireshark exported.
    pub const UPPER_PDU: Self = Self(252);
    /// Apple PKTAP header, then a frame of the link type that it names.
    pub const PKTAP: Self = Self(258);
    /// Ethernet in a passive optical network, preamble first.
    pub const EPON: Self = Self(259);
    /// Ethernet mPackets, IEEE 802.3br, preamble first.
    pub const ETHERNET_MPACKET: Self = Self(274);
    /// Linux cooked v2.
    pub const LINUX_SLL2: Self = Self(276);

    /// The link types whose frames are decoded, by number.
    #[rustfmt::skip]
    pub const SUPPORTED: [Self; 50] = [
        Self::NULL, Self::ETHERNET, Self::TOKEN_RING, Self::ARCNET_BSD, Self::PPP, Self::FDDI, Self::PPP_HDLC,
        Self::PPPOE, Self::SYMANTEC_FIREWALL, Self::ATM_RFC1483, Self::RAW, Self::C_HDLC, Self::IEEE802_11,
        Self::FRAME_RELAY, Self::LOOP, Self::ENC, Self::LINUX_SLL, Self::PFLOG, Self::IEEE802_11_PRISM,
        Self::IP_OVER_FC, Self::SUNATM, Self::IEEE802_11_RADIOTAP, Self::ARCNET_LINUX, Self::IP_OVER_IEEE1394,
        Self::USER2, Self::IEEE802_11_AVS, Self::JUNIPER_PPPOE, Self::JUNIPER_PPPOE_ATM, Self::JUNIPER_ETHER,
        Self::JUNIPER_PPP, Self::JUNIPER_FRAME_RELAY, Self::JUNIPER_CHDLC, Self::PPI, Self::ERF,
        Self::PPP_WITH_DIRECTION, Self::C_HDLC_WITH_DIRECTION, Self::FRAME_RELAY_WITH_DIRECTION, Self::MPLS,
        Self::IPNET, Self::IPV4, Self::IPV6, Self::NFLOG, Self::NETANALYZER, Self::NETANALYZER_TRANSPARENT,
        Self::IP_OVER_INFINIBAND, Self::UPPER_PDU, Self::PKTAP, Self::EPON, Self::ETHERNET_MPACKET, Self::LINUX_SLL2,
    ];

    /// The link type of a file's header field. Its upper half tells the length of a frame check sequence, or is
    /// reserved (draft-ietf-opsawg-pcap §4). Some systems wrote numbers of their own for raw IP and for LLC over ATM.
    pub const fn from_file(field: u32) -> Self {
        match field as u16 {
            11 => Self::ATM_RFC1483,
            12 | 14 => Self::RAW,
            number => Self(number),
        }
    }

    /// Whether frames of this type are decoded.
    pub fn is_supported(self) -> bool {
        Self::SUPPORTED.contains(&self)
    }

    /// The registered name, `unknown` if there is none here.
    pub fn name(self) -> &'static str {
        NAMES
            .binary_search_by_key(&self.0, |&(number, _)| number)
            .ok()
            .and_then(|place| NAMES.get(place))
            .map_or("unknown", |&(_, name)| name)
    }
}

/// Names of the registered link types that are met in the field, by number.
#[rustfmt::skip]
const NAMES: &[(u16, &str)] = &[
    (0, "NULL"), (1, "ETHERNET"), (2, "EXP_ETHERNET"), (3, "AX25"), (4, "PRONET"), (5, "CHAOS"), (6, "IEEE802_5"),
    (7, "ARCNET_BSD"), (8, "SLIP"), (9, "PPP"), (10, "FDDI"), (50, "PPP_HDLC"), (51, "PPP_ETHER"),
    (99, "SYMANTEC_FIREWALL"), (100, "ATM_RFC1483"), (101, "RAW"), (104, "C_HDLC"), (105, "IEEE802_11"),
    (106, "ATM_CLIP"), (107, "FRELAY"), (108, "LOOP"), (109, "ENC"), (113, "LINUX_SLL"), (114, "LTALK"),
    (117, "PFLOG"), (119, "IEEE802_11_PRISM"), (122, "IP_OVER_FC"), (123, "SUNATM"), (127, "IEEE802_11_RADIOTAP"),
    (129, "ARCNET_LINUX"), (130, "JUNIPER_MLPPP"), (131, "JUNIPER_MLFR"), (132, "JUNIPER_ES"),
    (133, "JUNIPER_GGSN"), (134, "JUNIPER_MFR"), (135, "JUNIPER_ATM2"), (136, "JUNIPER_SERVICES"),
    (137, "JUNIPER_ATM1"), (138, "APPLE_IP_OVER_IEEE1394"), (139, "MTP2_WITH_PHDR"), (140, "MTP2"), (141, "MTP3"),
    (142, "SCCP"), (143, "DOCSIS"), (144, "LINUX_IRDA"), (149, "USER2"), (163, "IEEE802_11_AVS"), (165, "BACNET_MS_TP"),
    (166, "PPP_PPPD"), (167, "JUNIPER_PPPOE"), (168, "JUNIPER_PPPOE_ATM"), (169, "GPRS_LLC"), (170, "GPF_T"), (171, "GPF_F"), (177, "LINUX_LAPD"), (178, "JUNIPER_ETHER"), (179, "JUNIPER_PPP"),
    (180, "JUNIPER_FRELAY"), (181, "JUNIPER_CHDLC"), (182, "MFR"),
    (187, "BLUETOOTH_HCI_H4"), (189, "USB_LINUX"), (192, "PPI"), (195, "IEEE802_15_4_WITHFCS"), (196, "SITA"),
    (197, "ERF"), (201, "BLUETOOTH_HCI_H4_WITH_PHDR"), (202, "AX25_KISS"), (203, "LAPD"), (204, "PPP_WITH_DIR"),
    (205, "C_HDLC_WITH_DIR"), (206, "FRELAY_WITH_DIR"), (209, "IPMB_LINUX"), (212, "LIN"),
    (215, "IEEE802_15_4_NONASK_PHY"), (219, "MPLS"), (220, "USB_LINUX_MMAPPED"), (224, "FC_2"), (225, "FC_2_WITH_FRAME_DELIMS"),
    (226, "IPNET"), (227, "CAN_SOCKETCAN"), (228, "IPV4"), (229, "IPV6"), (230, "IEEE802_15_4_NOFCS"), (231, "DBUS"),
    (235, "DVB_CI"), (236, "MUX27010"), (237, "STANAG_5066_D_PDU"), (239, "NFLOG"), (240, "NETANALYZER"),
    (241, "NETANALYZER_TRANSPARENT"), (242, "IPOIB"), (243, "MPEG_2_TS"), (244, "NG40"), (245, "NFC_LLCP"),
    (247, "INFINIBAND"), (248, "SCTP"), (249, "USBPCAP"), (250, "RTAC_SERIAL"), (251, "BLUETOOTH_LE_LL"),
    (252, "WIRESHARK_UPPER_PDU"), (253, "NETLINK"), (254, "BLUETOOTH_LINUX_MONITOR"),
    (255, "BLUETOOTH_BREDR_BB"), (256, "BLUETOOTH_LE_LL_WITH_PHDR"), (257, "PROFIBUS_DL"), (258, "PKTAP"),
    (259, "EPON"), (260, "IPMI_HPM_2"), (261, "ZWAVE_R1_R2"), (262, "ZWAVE_R3"), (263, "WATTSTOPPER_DLM"),
    (264, "ISO_14443"), (265, "RDS"), (266, "USB_DARWIN"), (268, "SDLC"), (270, "LORATAP"), (271, "VSOCK"),
    (272, "NORDIC_BLE"), (273, "DOCSIS31_XRA31"), (274, "ETHERNET_MPACKET"), (275, "DISPLAYPORT_AUX"),
    (276, "LINUX_SLL2"), (278, "OPENVIZSLA"), (279, "EBHSCR"), (280, "VPP_DISPATCH"), (281, "DSA_TAG_BRCM"),
    (282, "DSA_TAG_BRCM_PREPEND"), (283, "IEEE802_15_4_TAP"), (284, "DSA_TAG_DSA"), (285, "DSA_TAG_EDSA"),
    (286, "ELEE"), (287, "Z_WAVE_SERIAL"), (288, "USB_2_0"), (289, "ATSC_ALP"), (290, "ETW"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_in_order_of_their_numbers_and_found() {
        assert!(NAMES.is_sorted_by(|a, b| a.0 < b.0));
        assert_eq!(LinkType(107).name(), "FRELAY");
        assert_eq!(LinkType(8224).name(), "unknown");
        for link_type in LinkType::SUPPORTED {
            assert_ne!(link_type.name(), "unknown", "{link_type:?}");
        }
        assert!(LinkType::SUPPORTED.is_sorted_by_key(|link_type| link_type.0));
    }

    #[test]
    fn the_upper_half_of_the_field_is_not_the_type() {
        assert_eq!(LinkType::from_file(0x0200_0001), LinkType::ETHERNET);
        assert_eq!(LinkType::from_file(0x2400_0071), LinkType::LINUX_SLL);
        assert_eq!(LinkType::from_file(12), LinkType::RAW);
        assert_eq!(LinkType::from_file(14), LinkType::RAW);
        assert_eq!(LinkType::from_file(11), LinkType::ATM_RFC1483);
        assert!(!LinkType::from_file(0x0020_2020).is_supported());
    }
}
