//! The interfaces of the system, and what of them matters to a capture.

use std::net::IpAddr;

use super::link::Links;
use super::system::Device;
use vigie_wire::LinkType;

/// An interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Its hardware address, written with colons.
    pub mac: Option<String>,
    /// Its addresses, each with the bits of its network.
    pub addresses: Vec<(IpAddr, u8)>,
    /// It was set up.
    pub is_up: bool,
    /// Something is at its other end.
    pub has_carrier: bool,
    /// It receives what is not addressed to it.
    pub is_promiscuous: bool,
    /// The link type of its frames; none if they are not understood.
    pub link_type: Option<LinkType>,
    /// What kind of link it is, in words.
    pub kind: String,
    /// Bytes of a packet at most.
    pub mtu: u32,
    /// Speed in Mbit/s, if the driver tells.
    pub speed_mbit: Option<u32>,
    /// The driver, if it tells.
    pub driver: Option<String>,
    /// What the card or the system does with frames before they are seen.
    pub offloads: Offloads,
}

/// What is done with frames before they are seen; none where it is unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offloads {
    /// The system merges segments that it receives.
    pub gro: Option<bool>,
    /// The card merges segments that it receives.
    pub lro: Option<bool>,
    /// The system cuts segments that it sends only after they were seen.
    pub gso: Option<bool>,
    /// The card cuts segments that it sends.
    pub tso: Option<bool>,
    /// The card takes VLAN tags out. That does no harm: they are put back.
    pub rx_vlan: Option<bool>,
}

impl Interface {
    /// The offloads that hurt a capture, by the names that `ethtool -K` takes. Merged segments are not what was on the
    /// wire: their number and lengths are others. On a loopback, where nothing is received, none hurts.
    pub fn hurting(&self) -> Vec<&'static str> {
        let merged = [("gro", self.offloads.gro), ("lro", self.offloads.lro)];
        match self.kind.as_str() {
            "loopback" => Vec::new(),
            _ => merged.iter().filter(|(_, is_on)| *is_on == Some(true)).map(|(name, _)| *name).collect(),
        }
    }

    /// The command that switches off what hurts.
    pub fn mend(&self) -> Option<String> {
        let hurting = self.hurting();
        let switches: String = hurting.iter().map(|name| format!(" {name} off")).collect();
        (!hurting.is_empty()).then(|| format!("ethtool -K {}{switches}", self.name))
    }

    /// Its state in a word.
    pub const fn state(&self) -> &'static str {
        match (self.is_up, self.has_carrier) {
            (false, _) => "down",
            (true, false) => "no-carrier",
            (true, true) => "up",
        }
    }
}

/// All interfaces, in the system's order. What cannot be found out is left out.
pub fn list() -> Vec<Interface> {
    let mut links = Links::open().ok();
    let interfaces = pnet_datalink::interfaces();
    interfaces.into_iter().map(|found| describe(found, links.as_mut())).collect()
}

fn describe(found: pnet_datalink::NetworkInterface, links: Option<&mut Links>) -> Interface {
    let has = |flag: libc::c_int| found.flags & flag.cast_unsigned() != 0;
    let link = links.and_then(|links| links.find(&found.name).ok().flatten());
    let device = Device::new(&found.name).ok();
    let device = device.as_ref();
    Interface {
        mac: found.mac.filter(|mac| !mac.is_zero()).map(|mac| mac.to_string()),
        addresses: found.ips.iter().map(|network| (network.ip(), network.prefix())).collect(),
        is_up: has(libc::IFF_UP),
        has_carrier: has(libc::IFF_RUNNING),
        is_promiscuous: has(libc::IFF_PROMISC),
        link_type: link.as_ref().and_then(|link| link.link_type()),
        kind: link.as_ref().map_or_else(|| "unknown".to_owned(), |link| link.kind()),
        mtu: link.as_ref().map_or(0, |link| link.mtu),
        speed_mbit: device.and_then(Device::speed_mbit),
        driver: device.and_then(Device::driver),
        offloads: Offloads {
            gro: device.and_then(Device::gro),
            lro: device.and_then(Device::lro),
            gso: device.and_then(Device::gso),
            tso: device.and_then(Device::tso),
            rx_vlan: device.and_then(Device::rx_vlan),
        },
        name: found.name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_is_listed() {
        let interfaces = list();
        let loopback = interfaces.iter().find(|interface| interface.name == "lo").unwrap();
        assert_eq!((loopback.link_type, loopback.kind.as_str()), (Some(LinkType::ETHERNET), "loopback"));
        assert!(loopback.mtu > 0 && loopback.mac.is_none() && loopback.mend().is_none(), "{loopback:?}");
    }

    #[test]
    fn what_hurts_is_mended_by_one_command() {
        let offloads = Offloads { gro: Some(true), lro: Some(true), tso: Some(true), ..Offloads::default() };
        let mut interface = Interface { name: "eth0".to_owned(), offloads, ..Interface::default() };
        assert_eq!(interface.mend().as_deref(), Some("ethtool -K eth0 gro off lro off"));
        interface.offloads.gro = Some(false);
        assert_eq!(interface.mend().as_deref(), Some("ethtool -K eth0 lro off"));
        interface.offloads.lro = None;
        assert_eq!((interface.mend(), interface.state()), (None, "down"));
    }
}
