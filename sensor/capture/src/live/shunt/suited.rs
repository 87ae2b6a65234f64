//! Whether the XDP program may have an interface at all.

use std::fs;
use std::net::IpAddr;
use std::path::Path;

use super::program::Purpose;
use super::refusal::error;
use crate::CaptureError;
use crate::live::interfaces::Interface;
use vigie_wire::LinkType;

/// Where the system names the interfaces that lie on another one, such as a bridge or a VLAN.
const INTERFACES: &str = "/sys/class/net";

/// # Errors
/// Why packets of the interface cannot be had for this purpose, and what mends that.
pub(super) fn suits(interface: &Interface, purpose: Purpose) -> Result<(), CaptureError> {
    let name = &interface.name;
    if interface.link_type.is_some_and(|link_type| link_type != LinkType::ETHERNET) {
        let reason = match purpose {
            Purpose::Shunt | Purpose::Filter { .. } => {
                format!("packets of its link type ({}) cannot be shunted", interface.kind)
            }
            Purpose::Sockets => format!("frames of its link type ({}) cannot be had by XDP", interface.kind),
        };
        return Err(error(name, &reason, purpose.otherwise()));
    }
    match purpose {
        // First whether it is meant at all: what mends the other thing changes the card.
        Purpose::Shunt => {
            let mend = "set capture.shunt = \"pass\"";
            carries_nothing_else(interface, "with capture.shunt = \"drop\"", "would lose packets", mend)?;
            keeps_tags(interface, "its packets cannot be shunted while the card takes VLAN tags out")
        }
        Purpose::Sockets => {
            let outcome = "would get no packets any more";
            carries_nothing_else(interface, "with capture.backend = \"xdp\"", outcome, purpose.otherwise())?;
            keeps_tags(interface, "the card takes VLAN tags out, and XDP does not see them")
        }
        // It sees the tag that was taken out, and takes nothing from anybody.
        Purpose::Filter { .. } => Ok(()),
    }
}

/// Whether VLAN tags are in their place. One that the card has taken out is out of an XDP program's sight: flows of several VLANs
/// would be one.
fn keeps_tags(interface: &Interface, reason: &str) -> Result<(), CaptureError> {
    let name = &interface.name;
    match interface.offloads.rx_vlan {
        Some(true) => Err(error(name, reason, format!("ethtool -K {name} rxvlan off"))),
        _ => Ok(()),
    }
}

/// Whether nobody but the sensor needs the packets of an interface: this machine does not get those that the program keeps.
fn carries_nothing_else(interface: &Interface, with: &str, outcome: &str, mend: &str) -> Result<(), CaptureError> {
    let name = &interface.name;
    let cut_off = |whose: String| {
        let mend = format!("{mend}, or name an interface that carries a copy of the traffic");
        Err(error(name, &format!("{with} {whose} {outcome}"), mend))
    };
    if interface.kind == "loopback" {
        return cut_off("this machine itself".to_owned());
    }
    if let Some((address, prefix)) = interface.addresses.iter().find(|(address, _)| !is_link_local(*address)) {
        return cut_off(format!("its address {address}/{prefix}"));
    }
    match uppers(&Path::new(INTERFACES).join(name)).first() {
        Some(upper) => cut_off(format!("{upper}, which lies on it,")),
        None => Ok(()),
    }
}

/// An address that the system gives by itself, also to an interface of a tap.
fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(_) => false,
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

/// The interfaces that lie on an interface; none if the system does not tell them.
fn uppers(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    names.filter_map(|name| name.strip_prefix("upper_").map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tap() -> Interface {
        Interface { name: "tap0".to_owned(), kind: "Ethernet".to_owned(), ..Interface::default() }
    }

    fn why(interface: &Interface) -> String {
        suits(interface, Purpose::Sockets).map_or_else(|error| error.to_string(), |()| String::new())
    }

    #[test]
    fn an_interface_that_this_machine_needs_is_refused() {
        assert_eq!(why(&tap()), "");
        let with = |address: &str| Interface { addresses: vec![(address.parse().unwrap(), 24)], ..tap() };
        assert_eq!(why(&with("fe80::1")), "");
        let refused = why(&with("192.0.2.7"));
        assert!(refused.contains("its address 192.0.2.7/24 would get no packets"), "{refused}");
        assert!(refused.contains("set capture.backend = \"ring\""), "{refused}");
        assert!(why(&with("2001:db8::1")).contains("2001:db8::1/24"));
        assert!(suits(&tap(), Purpose::Shunt).is_ok());
        let refused = suits(&with("192.0.2.7"), Purpose::Shunt).unwrap_err().to_string();
        assert!(refused.contains("its address 192.0.2.7/24 would lose packets"), "{refused}");
        assert!(refused.contains("set capture.shunt = \"pass\""), "{refused}");
        let passed = suits(&with("192.0.2.7"), Purpose::Filter { snap_bytes: 1 });
        assert!(passed.is_ok(), "{passed:?}");
        assert!(why(&Interface { kind: "loopback".to_owned(), ..tap() }).contains("this machine itself"));
    }

    #[test]
    fn interfaces_that_lie_on_it_are_found() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(uppers(folder.path()), [""; 0]);
        std::fs::create_dir(folder.path().join("upper_br0")).unwrap();
        std::fs::create_dir(folder.path().join("queues")).unwrap();
        assert_eq!(uppers(folder.path()), ["br0"]);
    }

    #[test]
    fn tags_must_stay_in_place() {
        let mut interface = tap();
        interface.offloads.rx_vlan = Some(true);
        assert!(why(&interface).contains("ethtool -K tap0 rxvlan off"));
        interface.addresses = vec![("192.0.2.7".parse().unwrap(), 24)];
        assert!(why(&interface).contains("192.0.2.7/24 would get no packets"), "a card in use is not to be changed");
    }
}
