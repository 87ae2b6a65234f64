//! What capture needs of the machine: interfaces, what hurts on them, a filter that can be compiled, file descriptors.

use std::fs;

use super::needs::Need;
use crate::config::Settings;
use vigie_capture::live::interfaces::{Interface, list};
use vigie_capture::live::{LiveOptions, State};

/// File descriptors for what is neither a capture socket, nor a worker's own, nor a connection of the endpoint.
const DESCRIPTORS_BESIDES: u64 = 64;
/// File descriptors of a worker.
const DESCRIPTORS_OF_A_WORKER: u64 = 2;

/// All needs of capture.
pub(super) fn all(settings: &Settings) -> Vec<Need> {
    let options = settings.capture.live_options();
    let mut needs: Vec<Need> = options_need(&options, settings.capture.workers).into_iter().collect();
    let known = list();
    let interfaces = &settings.capture.interfaces;
    needs.extend(interfaces.iter().flat_map(|name| interface(name, &known, options.wait_for_interfaces)));
    needs.extend(filter(options.bpf.as_deref()));
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    needs.push(descriptors(settings, descriptors_max(&limits)));
    needs
}

/// What live capture itself says of its options.
fn options_need(options: &LiveOptions, workers: usize) -> Option<Need> {
    options.check(workers).err().map(|error| Need::wrong("capture", error.to_string(), ""))
}

fn interface(name: &str, known: &[Interface], waits: bool) -> Vec<Need> {
    const PART: &str = "interface";
    let lacks = |says: String, mend: String| match waits {
        true => Need::oddly(PART, format!("{says}, and is waited for"), mend),
        false => Need::missing(PART, says, mend),
    };
    let Some(interface) = known.iter().find(|interface| interface.name == name) else {
        return vec![lacks(format!("{name} does not exist"), "'vigie interfaces' lists what does".to_owned())];
    };
    let mut needs = vec![match interface.state() {
        down if down == State::Down.as_str() => lacks(format!("{name} is down"), format!("ip link set dev {name} up")),
        dark if dark == State::NoCarrier.as_str() => {
            Need::oddly(PART, format!("{name} has no carrier"), "check the cable and the other end")
        }
        _ if interface.link_type.is_none() && interface.kind != "unknown" => {
            let says = format!("{name} has frames that are not understood ({})", interface.kind);
            Need::missing(PART, says, "'vigie interfaces' lists those that are")
        }
        _ => Need::well(PART, format!("{name} is up, MTU {}", interface.mtu)),
    }];
    if let Some(command) = interface.mend_command() {
        let hurting = interface.harmful_offloads().join(" and ");
        needs.push(Need::oddly(
            PART,
            format!("{name} has {hurting} on: segments are merged before they are seen"),
            command,
        ));
    }
    needs
}

/// Whether libpcap understands the filter, on an Ethernet.
fn filter(expression: Option<&str>) -> Option<Need> {
    const PART: &str = "filter";
    let expression = expression?;
    let compiled = pcap::Capture::dead(pcap::Linktype::ETHERNET).and_then(|dead| dead.compile(expression, true));
    Some(match compiled {
        Ok(program) => Need::well(PART, format!("{expression}: {} instructions", program.get_instructions().len())),
        Err(error) => Need::wrong(PART, format!("{expression}: {error}"), "see pcap-filter(7)"),
    })
}

/// Whether so many files may be open. A limit that is too low is no error: it is this shell's, not the service's.
fn descriptors(settings: &Settings, most: Option<u64>) -> Need {
    const PART: &str = "descriptors";
    let capture = &settings.capture;
    let (workers, interfaces) = (capture.workers as u64, capture.interfaces.len() as u64);
    let sockets = workers * interfaces * (1 + capture.spare_sockets as u64);
    let need =
        sockets + DESCRIPTORS_OF_A_WORKER * workers + DESCRIPTORS_BESIDES + settings.metrics.connections_max as u64;
    match most {
        Some(most) if need > most => {
            let mend =
                format!("ulimit -n {need}, or LimitNOFILE={need} in the unit, or a smaller capture.spare_sockets");
            Need::oddly(PART, format!("{need} are needed, and {most} are allowed here"), mend)
        }
        Some(most) => Need::well(PART, format!("{need} are needed, of {most}")),
        None => Need::well(PART, format!("{need} are needed")),
    }
}

/// The limit in force of proc(5)'s `limits`; none where there is none.
fn descriptors_max(limits: &str) -> Option<u64> {
    let rest = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    rest.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::exit::Exit;
    use vigie_capture::live::interfaces::Offloads;
    use vigie_wire::LinkType;

    fn found(name: &str) -> Interface {
        Interface {
            name: name.to_owned(),
            is_up: true,
            has_carrier: true,
            link_type: Some(LinkType::ETHERNET),
            kind: "ethernet".to_owned(),
            mtu: 1500,
            ..Interface::default()
        }
    }

    fn lines(needs: &[Need]) -> Vec<String> {
        needs.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn interfaces_are_up_down_missing_or_hurt() {
        let known = [
            found("up0"),
            Interface { is_up: false, ..found("down0") },
            Interface { has_carrier: false, ..found("dark0") },
            Interface { link_type: None, kind: "infiniband".to_owned(), ..found("ib0") },
            Interface {
                offloads: Offloads { gro: Some(true), lro: Some(true), ..Offloads::default() },
                ..found("gro0")
            },
        ];
        let names = ["up0", "down0", "dark0", "ib0", "gro0", "none0"];
        let told = |waits| names.iter().flat_map(|name| interface(name, &known, waits)).collect::<Vec<_>>();
        let expected = [
            "interface: up0 is up, MTU 1500",
            "interface: warning: down0 is down, and is waited for; ip link set dev down0 up",
            "interface: warning: dark0 has no carrier; check the cable and the other end",
            "interface: error: ib0 has frames that are not understood (infiniband); 'vigie interfaces' lists those that \
             are",
            "interface: gro0 is up, MTU 1500",
            "interface: warning: gro0 has gro and lro on: segments are merged before they are seen; ethtool -K gro0 gro \
             off lro off",
            "interface: warning: none0 does not exist, and is waited for; 'vigie interfaces' lists what does",
        ];
        assert_eq!(lines(&told(true)), expected);
        let strict = told(false);
        assert_eq!((strict[1].exit(), strict[6].exit()), (Exit::Unavailable, Exit::Unavailable));
        assert_eq!(strict[1].to_string(), "interface: error: down0 is down; ip link set dev down0 up");
    }

    #[test]
    fn filters_and_options_are_tried() {
        assert_eq!(filter(None), None);
        assert_eq!(filter(Some("tcp port 443")).unwrap().exit(), Exit::Success);
        assert_eq!(filter(Some("tcp prt 443")).unwrap().exit(), Exit::Configuration);
        let mut settings = Settings::default();
        settings.capture.interfaces = vec!["eth0".to_owned()];
        assert_eq!(options_need(&settings.capture.live_options(), 1), None);
        settings.capture.block_bytes = 5000;
        let need = options_need(&settings.capture.live_options(), 1).unwrap();
        assert!(
            need.exit() == Exit::Configuration && need.to_string().contains("5000 is not a power of two"),
            "{need}"
        );
    }

    #[test]
    fn descriptors_are_counted() {
        let limits = "Limit  Soft Limit  Hard Limit  Units\nMax open files            100  4096  files\n";
        assert_eq!(descriptors_max(limits), Some(100));
        assert_eq!(descriptors_max("Max open files  unlimited  unlimited  files\n"), None);
        let mut settings = Settings::default();
        settings.capture.interfaces = vec!["a".to_owned(), "b".to_owned()];
        (settings.capture.workers, settings.capture.spare_sockets, settings.metrics.connections_max) = (4, 8, 32);
        // 4 workers with 2 interfaces of 9 sockets, and 2 of their own; 64; 32 connections.
        assert_eq!(descriptors(&settings, Some(176)).to_string(), "descriptors: 176 are needed, of 176");
        let need = descriptors(&settings, Some(175)).to_string();
        assert!(
            need.starts_with("descriptors: warning: 176 are needed, and 175 are allowed here; ulimit -n 176"),
            "{need}"
        );
        assert_eq!(descriptors(&settings, None).exit(), Exit::Success);
    }
}
