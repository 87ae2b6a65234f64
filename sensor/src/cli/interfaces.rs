//! `vigie interfaces`: the network interfaces, offloads that disturb a capture, and the command that turns them off.

use clap::Args;
use clap_complete::ArgValueCompleter;

use super::exit::{Exit, Failure};
use super::table::{self, Left, Right};
use super::terminal::{Style, Terminal, print};
use super::words::counted;
use vigie_capture::live::interfaces::{Interface, list};
use vigie_journal::json::Object;

/// `vigie interfaces`.
#[derive(Args, Debug)]
#[command(
    long_about = "List the network interfaces: state, link type, MTU, speed, addresses, and the offloads that disturb a \
                  capture. Of the interfaces that are named, it also prints the command that turns the offloads off. Needs no \
                  privileges.",
    after_help = "Examples:\n  vigie interfaces\n  vigie interfaces eth1 eth2\n  \
                  vigie interfaces --json eth1 eth2 | jq -r 'select(.mend) | .mend' | sudo sh"
)]
pub struct InterfacesArguments {
    /// List these interfaces only, such as both legs of a tap, with the commands for them.
    #[arg(value_name = "NAME", add = ArgValueCompleter::new(super::generate::completions::interfaces))]
    pub names: Vec<String>,

    /// Print one JSON object per line.
    #[arg(long)]
    pub json: bool,
}

/// Runs the command.
///
/// # Errors
/// An interface does not exist, or the standard output cannot be written to.
pub fn run(arguments: &InterfacesArguments, terminal: Terminal) -> Result<Exit, Failure> {
    let interfaces = named(list(), &arguments.names)?;
    let are_named = !arguments.names.is_empty();
    print(&match arguments.json {
        true => json(&interfaces, are_named),
        false => terminal.fitted(text(&interfaces, are_named, terminal.stdout_style())),
    })?;
    Ok(Exit::Success)
}

/// The interfaces of these names, in the order of the names; all where none is named.
fn named(interfaces: Vec<Interface>, names: &[String]) -> Result<Vec<Interface>, Failure> {
    if names.is_empty() {
        return Ok(interfaces);
    }
    let find = |name: &String| {
        let known = || interfaces.iter().map(|interface| interface.name.as_str()).collect::<Vec<_>>().join(", ");
        let unknown = || {
            Failure::new(
                Exit::Unavailable,
                format!("there is no interface \"{name}\""),
                format!("there are {}", known()),
            )
        };
        interfaces.iter().find(|interface| interface.name == *name).cloned().ok_or_else(unknown)
    };
    names.iter().map(find).collect()
}

/// A table for people, and below it the commands that turn offloads off. Commands are for named interfaces only: the one
/// that a person manages the machine over is not to be changed because it was listed.
fn text(interfaces: &[Interface], are_named: bool, style: Style) -> String {
    let mut table = table::with_headings([
        ("NAME", Left),
        ("STATE", Left),
        ("LINK", Left),
        ("MTU", Right),
        ("SPEED", Right),
        ("DRIVER", Left),
        ("OFFLOADS", Left),
        ("ADDRESSES", Left),
    ]);
    for interface in interfaces {
        let or_dash = |text: String| if text.is_empty() { "-".to_owned() } else { text };
        table.add_row([
            interface.name.clone(),
            interface.state().to_owned(),
            match interface.link_type {
                Some(_) => interface.kind.clone(),
                None => format!("{} (not supported)", interface.kind),
            },
            interface.mtu.to_string(),
            or_dash(interface.speed_mbit.map(speed).unwrap_or_default()),
            or_dash(interface.driver.clone().unwrap_or_default()),
            or_dash(interface.harmful_offloads().join(" ")),
            or_dash(addresses(interface).join(" ")),
        ]);
    }
    let mut text = table::fitting_text(table, style, &[3, 5, 4]);
    let commands: Vec<String> = interfaces.iter().filter_map(Interface::mend_command).collect();
    if !commands.is_empty() {
        text.push_str("\nThese offloads merge segments before they are captured. ");
        match are_named {
            true => {
                text.push_str("Turn them off:\n");
                commands.iter().for_each(|command| text.push_str(&format!("  {command}\n")));
            }
            false => text.push_str("Name the interfaces of a tap for the commands:\n  vigie interfaces NAME...\n"),
        }
    }
    text.push_str(&format!("\n{}\n", counted(interfaces.len() as u64, "interface")));
    text
}

fn addresses(interface: &Interface) -> Vec<String> {
    interface.addresses.iter().map(|(address, bits)| format!("{address}/{bits}")).collect()
}

/// `1 Gbit/s`, `2500 Mbit/s`.
fn speed(mbit: u32) -> String {
    if mbit >= 1000 && mbit.is_multiple_of(1000) { format!("{} Gbit/s", mbit / 1000) } else { format!("{mbit} Mbit/s") }
}

/// One object per line; with commands if the interfaces were named.
fn json(interfaces: &[Interface], are_named: bool) -> String {
    let mut out = Vec::new();
    for interface in interfaces {
        let mut object = Object::open(&mut out);
        object.text("name", &interface.name);
        object.text("state", interface.state());
        object.text("kind", &interface.kind);
        object.text_or_null("link_type", interface.link_type.map(|link_type| link_type.name()));
        object.text_or_null("mac", interface.mac.as_deref());
        object.number("mtu", u64::from(interface.mtu));
        if let Some(speed) = interface.speed_mbit {
            object.number("speed_mbit", u64::from(speed));
        }
        object.text_or_null("driver", interface.driver.as_deref());
        object.texts("addresses", addresses(interface).iter().map(String::as_str));
        object.truth("promiscuous", interface.is_promiscuous);
        let offloads = &interface.offloads;
        let known = [
            ("gro", offloads.gro),
            ("lro", offloads.lro),
            ("gso", offloads.gso),
            ("tso", offloads.tso),
            ("rx_vlan", offloads.rx_vlan),
        ];
        for (name, is_on) in known.iter().filter_map(|(name, is_on)| Some((name, (*is_on)?))) {
            object.truth(name, is_on);
        }
        object.text_or_null("mend", interface.mend_command().filter(|_| are_named).as_deref());
        object.close();
        out.push(b'\n');
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use vigie_capture::live::interfaces::Offloads;
    use vigie_wire::LinkType;

    #[test]
    fn a_table_and_the_commands_below_it() {
        let interface = |name: &str| Interface {
            name: name.to_owned(),
            is_up: true,
            has_carrier: true,
            link_type: Some(LinkType::ETHERNET),
            kind: "Ethernet".to_owned(),
            mtu: 1500,
            ..Interface::default()
        };
        let interfaces = [
            Interface {
                speed_mbit: Some(10_000),
                driver: Some("ixgbe".to_owned()),
                addresses: vec![("192.0.2.1".parse().unwrap(), 24), ("2001:db8::1".parse().unwrap(), 64)],
                offloads: Offloads { gro: Some(true), ..Offloads::default() },
                ..interface("eth0")
            },
            Interface { link_type: None, kind: "infiniband".to_owned(), speed_mbit: Some(2500), ..interface("ib0") },
        ];
        let expected = "\
NAME  STATE  LINK                         MTU        SPEED  DRIVER  OFFLOADS  ADDRESSES
eth0  up     Ethernet                    1500    10 Gbit/s  ixgbe   gro       192.0.2.1/24 2001:db8::1/64
ib0   up     infiniband (not supported)  1500  2500 Mbit/s  -       -         -

These offloads merge segments before they are captured. Turn them off:
  ethtool -K eth0 gro off

2 interfaces
";
        let style = Style { width: 120, colour: false };
        assert_eq!(text(&interfaces, true, style), expected);
        let unnamed = text(&interfaces, false, style);
        assert!(unnamed.contains("  vigie interfaces NAME...\n") && !unnamed.contains("ethtool"), "{unnamed}");
        assert!(json(&interfaces, true).contains("\"mend\":\"ethtool -K eth0 gro off\""));
        assert!(!json(&interfaces, false).contains("ethtool"));
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert_eq!(named(interfaces.to_vec(), &names(&["ib0"])).unwrap()[0].name, "ib0");
        let failure = named(interfaces.to_vec(), &names(&["eth0", "eth7"])).unwrap_err();
        assert_eq!(failure.to_string(), "vigie: there is no interface \"eth7\"; there are eth0, ib0");
    }
}
