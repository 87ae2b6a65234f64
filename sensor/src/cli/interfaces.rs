//! `vigie interfaces`: what can be listened to, what of it hurts a capture, and the command that mends it.

use clap::Args;

use super::exit::{Exit, Failure};
use super::summary::{Look, paint};
use super::terminal::{Terminal, print};
use super::words::{Columns, Side, counted};
use vigie_capture::live::interfaces::{Interface, list};
use vigie_journal::json::Object;

/// `vigie interfaces`.
#[derive(Args, Debug)]
#[command(
    long_about = "Lists the network interfaces: state, link type, MTU, speed, addresses, and the offloads that hurt a \
                  capture, each with the command that switches it off. No privilege is needed.",
    after_help = "Examples:\n  vigie interfaces\n  vigie interfaces --json | jq -r 'select(.mend) | .mend' | sudo sh"
)]
pub struct InterfacesArguments {
    /// One JSON object a line.
    #[arg(long)]
    pub json: bool,
}

/// Runs the command.
///
/// # Errors
/// The standard output cannot be written to.
pub fn run(arguments: &InterfacesArguments, terminal: Terminal) -> Result<Exit, Failure> {
    let interfaces = list();
    print(&if arguments.json { json(&interfaces) } else { table(&interfaces, terminal.stdout_look()) })?;
    Ok(Exit::Success)
}

/// A table for people, and below it what is to be done.
fn table(interfaces: &[Interface], look: Look) -> String {
    let mut columns = Columns::new(&[
        ("NAME", Side::Left),
        ("STATE", Side::Left),
        ("LINK", Side::Left),
        ("MTU", Side::Right),
        ("SPEED", Side::Right),
        ("DRIVER", Side::Left),
        ("HURTS", Side::Left),
        ("ADDRESSES", Side::Left),
    ]);
    for interface in interfaces {
        let dash = || "-".to_owned();
        let addresses: Vec<String> =
            interface.addresses.iter().map(|(address, bits)| format!("{address}/{bits}")).collect();
        columns.row(vec![
            interface.name.clone(),
            interface.state().to_owned(),
            match interface.link_type {
                Some(_) => interface.kind.clone(),
                None => format!("{} (not supported)", interface.kind),
            },
            interface.mtu.to_string(),
            interface.speed_mbit.map_or_else(dash, speed),
            interface.driver.clone().unwrap_or_else(dash),
            Some(interface.harmful_offloads().join(" ")).filter(|list| !list.is_empty()).unwrap_or_else(dash),
            Some(addresses.join(" ")).filter(|list| !list.is_empty()).unwrap_or_else(dash),
        ]);
    }
    let mut text = String::new();
    for (place, line) in columns.lines().enumerate() {
        text.push_str(&if place == 0 { paint(look, "1", &line) } else { line });
        text.push('\n');
    }
    let mends: Vec<String> = interfaces.iter().filter_map(Interface::mend_command).collect();
    if !mends.is_empty() {
        text.push_str("\nOn the interfaces of a tap, switch off what merges segments before they are seen:\n");
        mends.iter().for_each(|mend| text.push_str(&format!("  {mend}\n")));
    }
    text.push_str(&format!("\n{}\n", counted(interfaces.len() as u64, "interface")));
    text
}

/// `1 Gbit/s`, `2500 Mbit/s`.
fn speed(mbit: u32) -> String {
    if mbit >= 1000 && mbit.is_multiple_of(1000) { format!("{} Gbit/s", mbit / 1000) } else { format!("{mbit} Mbit/s") }
}

/// One object a line.
fn json(interfaces: &[Interface]) -> String {
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
        let addresses: Vec<String> =
            interface.addresses.iter().map(|(address, bits)| format!("{address}/{bits}")).collect();
        object.texts("addresses", addresses.iter().map(String::as_str));
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
        object.text_or_null("mend", interface.mend_command().as_deref());
        object.close();
        out.push(b'\n');
    }
    String::from_utf8_lossy(&out).into_owned()
}
