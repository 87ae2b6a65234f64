//! The system's interfaces, and their properties that matter to a capture.

use std::net::IpAddr;

use pnet::datalink::{self, NetworkInterface};

use super::link::Links;
use super::system::Device;
use vigie_wire::LinkType;

/// An interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Its MAC address, written with colons.
    pub mac: Option<String>,
    /// Its addresses, each with its prefix length.
    pub addresses: Vec<(IpAddr, u8)>,
    /// It is set up.
    pub is_up: bool,
    /// It has a carrier.
    pub has_carrier: bool,
    /// It is in promiscuous mode.
    pub is_promiscuous: bool,
    /// The link type of its frames; none if it is not supported.
    pub link_type: Option<LinkType>,
    /// Its kind in words.
    pub kind: String,
    /// Its MTU.
    pub mtu: u32,
    /// Its speed in Mbit/s, if the driver tells it.
    pub speed_mbit: Option<u32>,
    /// The driver's name, if it tells it.
    pub driver: Option<String>,
    /// Its offloads.
    pub offloads: Offloads,
}

/// Changes that the card or the system makes to frames before they are captured; none where unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offloads {
    /// Generic receive offload: the system merges received segments.
    pub gro: Option<bool>,
    /// Large receive offload: the card merges received segments.
    pub lro: Option<bool>,
    /// Generic segmentation offload: the system splits sent segments after they were captured.
    pub gso: Option<bool>,
    /// TCP segmentation offload: the card splits sent segments.
    pub tso: Option<bool>,
    /// The card takes VLAN tags out. That does no harm: capture puts them back.
    pub rx_vlan: Option<bool>,
}

impl Interface {
    /// The offloads that falsify a capture, by their names for `ethtool -K`. Merged segments differ from the wire in number
    /// and length. On the loopback no offload does harm.
    pub fn harmful_offloads(&self) -> Vec<&'static str> {
        let merged = [("gro", self.offloads.gro), ("lro", self.offloads.lro)];
        match self.kind.as_str() {
            "loopback" => Vec::new(),
            _ => merged.iter().filter(|(_, is_on)| *is_on == Some(true)).map(|(name, _)| *name).collect(),
        }
    }

    /// The command that switches the harmful offloads off.
    pub fn mend_command(&self) -> Option<String> {
        let harmful = self.harmful_offloads();
        let switches: String = harmful.iter().map(|name| format!(" {name} off")).collect();
        (!harmful.is_empty()).then(|| format!("ethtool -K {}{switches}", self.name))
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

/// All interfaces, in the system's order. Properties that the system does not tell are left out.
pub fn list() -> Vec<Interface> {
    let mut links = Links::open().ok();
    let interfaces = datalink::interfaces();
    interfaces.into_iter().map(|found| describe(found, links.as_mut())).collect()
}

fn describe(found: NetworkInterface, links: Option<&mut Links>) -> Interface {
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
        assert!(loopback.mtu > 0 && loopback.mac.is_none() && loopback.mend_command().is_none(), "{loopback:?}");
    }

    #[test]
    fn one_command_switches_all_harmful_offloads_off() {
        let offloads = Offloads { gro: Some(true), lro: Some(true), tso: Some(true), ..Offloads::default() };
        let mut interface = Interface { name: "eth0".to_owned(), offloads, ..Interface::default() };
        assert_eq!(interface.mend_command().as_deref(), Some("ethtool -K eth0 gro off lro off"));
        interface.offloads.gro = Some(false);
        assert_eq!(interface.mend_command().as_deref(), Some("ethtool -K eth0 lro off"));
        interface.offloads.lro = None;
        assert_eq!((interface.mend_command(), interface.state()), (None, "down"));
    }
}
