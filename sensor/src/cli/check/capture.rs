//! What capture requires of the machine: interfaces without offloads that disturb it, a filter that compiles, file
//! descriptors.

use std::fs;
use std::path::Path;

use super::requirements::Requirement;
use crate::cli::run::{FILTER_MEND, wrong_filter};
use crate::cli::words::{bytes, counted, quoted};
use crate::settings::{Capture, MemoryNeed, Settings};
use vigie_capture::CaptureError;
use vigie_capture::live::interfaces::{Interface, list};
use vigie_capture::live::shunt::{ProgramAccess, ProgramOptions, Purpose, check, pinned, table_bytes};
use vigie_capture::live::{Backend, LiveOptions, State, xdp};

/// Where the system tells of each interface.
const INTERFACES: &str = "/sys/class/net";
/// File descriptors beside those of capture sockets, workers and metrics connections.
const DESCRIPTORS_OTHER: u64 = 64;
/// Queues that an interface may have.
const QUEUES_OF_INTERFACE: u64 = 64;
/// File descriptors of a worker.
const DESCRIPTORS_PER_WORKER: u64 = 2;

/// All requirements of capture.
pub(super) fn all(settings: &Settings, filter_origin: &str) -> Vec<Requirement> {
    let Decided { settings, of_service, told } = without_auto(settings);
    let (settings, of_service) = (&settings, of_service.as_ref());
    let options = settings.capture.live_options();
    let mut requirements: Vec<Requirement> =
        options_requirement(&options, settings.capture.workers).into_iter().chain(told).collect();
    let known = list();
    let interfaces = &settings.capture.interfaces;
    let waits = options.wait_for_interfaces && options.backend != Backend::Xdp;
    requirements.extend(interfaces.iter().flat_map(|name| interface(name, &known, waits)));
    requirements.extend(interfaces.iter().filter_map(|name| numa(name, &settings.capture.cpus, Path::new(INTERFACES))));
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    requirements.extend(sockets(settings, of_service));
    requirements.extend(locked_memory(settings, &limits, may_lock_memory()));
    requirements.extend(shunt(settings, of_service, &known));
    requirements.extend(filter(options.bpf.as_deref(), filter_origin));
    requirements.push(descriptors(settings, limit_of(&limits, "Max open files")));
    requirements
}

/// What `auto` comes to.
struct Decided {
    /// The settings of a sensor that this process would start.
    settings: Settings,
    /// What the program is to do that is loaded for the service, if it needs one.
    of_service: Option<ProgramOptions>,
    told: Vec<Requirement>,
}

/// Decides `auto`, as far as that can be done without attaching anything to an interface.
fn without_auto(settings: &Settings) -> Decided {
    const PART: &str = "backend";
    let (capture, flows_max) = (&settings.capture, settings.limits.shunt_flows_max);
    if capture.backend != Backend::Auto {
        let of_service = capture.program_options(flows_max);
        return Decided { settings: settings.clone(), of_service, told: Vec::new() };
    }
    let by = |backend| Capture { backend, ..capture.clone() };
    let by_xdp = by(Backend::Xdp);
    let obstacle = by_xdp
        .program_options(flows_max)
        .and_then(|program| xdp::obstacle_so_far(&by_xdp.live_options(), capture.workers, &program));
    let (backend, of_service, told) = match obstacle {
        Some(obstacle) => {
            (Backend::Ring, Backend::Ring, vec![format!("packet sockets will be used, since {obstacle}")])
        }
        None if !xdp::may_load() => {
            (Backend::Xdp, Backend::Xdp, vec!["AF_XDP will be used, for which the program was loaded".to_owned()])
        }
        None => {
            let (of_service, said) = decided_for_service(&capture.interfaces);
            let here = "AF_XDP will be used, if nothing stands against it at the start";
            (Backend::Xdp, of_service, vec![here.to_owned(), said.to_owned()])
        }
    };
    Decided {
        settings: Settings { capture: by(backend), ..settings.clone() },
        of_service: by(of_service).program_options(flows_max),
        told: told.into_iter().map(|what| Requirement::ok(PART, what)).collect(),
    }
}

/// What `auto` comes to for the service, which may not load the program, as it is loaded now; and that in words.
fn decided_for_service(interfaces: &[String]) -> (Backend, &'static str) {
    match pinned::is_for_sockets(interfaces.first().map_or("", String::as_str)) {
        Ok(Some(true)) => (
            Backend::Xdp,
            "for the service vigie-xdp.service decides at each start; the program is loaded for AF_XDP now",
        ),
        Ok(Some(false)) => (
            Backend::Ring,
            "for the service vigie-xdp.service decides at each start; the program is loaded for packet sockets now \
             ('journalctl -u vigie-xdp' says why)",
        ),
        Ok(None) | Err(_) => (
            Backend::Ring,
            "for the service vigie-xdp.service decides at its start; if that is not enabled, packet sockets will be used",
        ),
    }
}

/// What live capture requires of its options.
fn options_requirement(options: &LiveOptions, workers: usize) -> Option<Requirement> {
    options.check(workers).err().map(|error| Requirement::misconfigured("capture", error.to_string(), ""))
}

fn interface(name: &str, known: &[Interface], waits: bool) -> Vec<Requirement> {
    const PART: &str = "interface";
    let unusable = |message: String, mend: String| match waits {
        true => Requirement::warning(PART, format!("{message}; the sensor waits for it"), mend),
        false => Requirement::unavailable(PART, message, mend),
    };
    let Some(interface) = known.iter().find(|interface| interface.name == name) else {
        return vec![unusable(format!("{name} does not exist"), "'vigie interfaces' lists the interfaces".to_owned())];
    };
    let mut requirements = vec![match interface.state() {
        down if down == State::Down.as_str() => {
            unusable(format!("{name} is down"), format!("ip link set dev {} up", quoted(name)))
        }
        dark if dark == State::NoCarrier.as_str() => {
            Requirement::warning(PART, format!("{name} has no carrier"), "check the cable and the other end")
        }
        _ if interface.link_type.is_none() && interface.kind != "unknown" => {
            let message = format!("{name} has an unsupported link type ({})", interface.kind);
            Requirement::unavailable(PART, message, "'vigie interfaces' lists the supported ones")
        }
        _ => Requirement::ok(PART, format!("{name} is up, MTU {}", interface.mtu)),
    }];
    if let Some(command) = interface.mend_command() {
        let offloads = interface.harmful_offloads().join(" and ");
        requirements.push(Requirement::warning(
            PART,
            format!("{name} has {offloads} on, which merge segments before they are captured"),
            command,
        ));
    }
    requirements
}

/// Whether the workers run on the NUMA node of an interface's card, as far as the system tells it.
fn numa(name: &str, cpus: &[usize], interfaces: &Path) -> Option<Requirement> {
    let told = |file: &str| fs::read_to_string(interfaces.join(name).join("device").join(file)).ok();
    let node: u32 = told("numa_node")?.trim().parse().ok()?;
    let near = told("local_cpulist")?;
    let near = near.trim();
    let far: Vec<String> = cpus.iter().filter(|&&cpu| !is_in_list(cpu, near)).map(ToString::to_string).collect();
    (!far.is_empty()).then(|| {
        let what =
            format!("{name} is on NUMA node {node}, whose CPUs are {near}; capture.cpus names {}", far.join(", "));
        Requirement::warning("numa", what, "name CPUs of that node in capture.cpus")
    })
}

/// Whether a list of numbers and ranges, as the system writes it, has a number.
fn is_in_list(number: usize, list: &str) -> bool {
    list.split(',').any(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        first.parse().is_ok_and(|first| number >= first) && last.parse().is_ok_and(|last| number <= last)
    })
}

/// What AF_XDP requires, if it is to be used.
fn sockets(settings: &Settings, of_service: Option<&ProgramOptions>) -> Vec<Requirement> {
    const PART: &str = "xdp";
    let capture = &settings.capture;
    if capture.backend != Backend::Xdp {
        return Vec::new();
    }
    let Some(options) = capture.program_options(settings.limits.shunt_flows_max) else { return Vec::new() };
    let mib = MemoryNeed::of(settings).rings_bytes >> 20;
    program(PART, (&options, of_service), xdp::check(&options), &format!("its rings take {mib} MiB of locked memory"))
}

/// What came of a check of the XDP program, of this process's sensor and of the service, and what memory it goes with.
fn program(
    part: &'static str,
    (options, of_service): (&ProgramOptions, Option<&ProgramOptions>),
    checked: Result<ProgramAccess, Vec<CaptureError>>,
    memory: &str,
) -> Vec<Requirement> {
    let interfaces = options.interfaces.join(", ");
    let rest = match options.purpose {
        Purpose::Filter { .. } => memory.to_owned(),
        Purpose::Shunt | Purpose::Sockets => format!("{memory}; whether the driver runs it, the start shows"),
    };
    match checked {
        Ok(ProgramAccess::Loads) => {
            let loads = Requirement::ok(part, format!("{interfaces}: the program loads; {rest}"));
            std::iter::once(loads).chain(of_service.map(|options| for_service(part, options))).collect()
        }
        Ok(ProgramAccess::Pinned(folder)) => {
            vec![Requirement::ok(part, format!("{interfaces}: the program is loaded, in {folder}; {rest}"))]
        }
        Err(lacking) => lacking.into_iter().map(|error| lacks(part, error)).collect(),
    }
}

/// Whether the program is loaded for the service, which may not load it itself. Who starts the sensor as root does without.
fn for_service(part: &'static str, options: &ProgramOptions) -> Requirement {
    match pinned::check(options) {
        Ok(Some(folder)) => Requirement::ok(part, format!("the program is loaded for the service, in {folder}")),
        Ok(None) => {
            let what = "the program is not loaded for the service; vigie-xdp.service does that when the service starts";
            Requirement::warning(part, what, "systemctl enable vigie-xdp.service, unless it is enabled")
        }
        Err(CaptureError::Interface { interface, reason, mend }) => {
            Requirement::warning(part, format!("{interface}: {reason}"), mend)
        }
        Err(error) => Requirement::warning(part, error.to_string(), ""),
    }
}

/// Whether the limit of locked memory suffices for the rings of AF_XDP. As of descriptors, a low limit is this shell's.
fn locked_memory(settings: &Settings, limits: &str, is_exempt: bool) -> Option<Requirement> {
    let needed = MemoryNeed::of(settings).rings_bytes;
    let limit = limit_of(limits, "Max locked memory").filter(|&limit| limit < needed)?;
    if settings.capture.backend != Backend::Xdp || is_exempt {
        return None;
    }
    let what = format!("{} of locked memory are needed, {} are allowed in this shell", bytes(needed), bytes(limit));
    Some(Requirement::warning("xdp", what, "ulimit -l unlimited, or LimitMEMLOCK=infinity in the unit"))
}

/// Whether this process has CAP_IPC_LOCK (capabilities(7)), as root has.
fn may_lock_memory() -> bool {
    const IPC_LOCK: u64 = 1 << 14;
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    effective.and_then(|set| u64::from_str_radix(set.trim(), 16).ok()).is_some_and(|set| set & IPC_LOCK != 0)
}

/// What the shunt requires, if there is to be one.
fn shunt(settings: &Settings, of_service: Option<&ProgramOptions>, known: &[Interface]) -> Vec<Requirement> {
    const PART: &str = "shunt";
    let flows_max = settings.limits.shunt_flows_max;
    let Some(options) = settings.capture.shunt_options(flows_max) else { return Vec::new() };
    let flows = counted(flows_max as u64, "flow");
    let table = format!("its table of {flows} takes {} MiB", table_bytes(flows_max) >> 20);
    let mut requirements = match options.purpose {
        // The program is that for AF_XDP, of which it is said.
        Purpose::Sockets => vec![Requirement::ok(PART, table)],
        Purpose::Shunt | Purpose::Filter { .. } => program(PART, (&options, of_service), check(&options), &table),
    };
    let is_missing = |name: &&String| !known.iter().any(|interface| interface.name == **name);
    requirements.extend(options.interfaces.iter().filter(is_missing).map(|name| {
        let what = format!("{name} does not exist, and is not shunted until the sensor is started with it");
        Requirement::warning(PART, what, "systemctl restart vigie, when it is there")
    }));
    requirements
}

fn lacks(part: &'static str, error: CaptureError) -> Requirement {
    match error {
        CaptureError::Interface { interface, reason, mend } => {
            Requirement::unavailable(part, format!("{interface}: {reason}"), mend)
        }
        other => Requirement::unavailable(part, other.to_string(), ""),
    }
}

/// Whether libpcap compiles the filter for Ethernet.
fn filter(expression: Option<&str>, origin: &str) -> Option<Requirement> {
    const PART: &str = "filter";
    let expression = expression?;
    let compiled = pcap::Capture::dead(pcap::Linktype::ETHERNET).and_then(|dead| dead.compile(expression, true));
    Some(match compiled {
        Ok(program) => {
            Requirement::ok(PART, format!("{expression}: {} instructions", program.get_instructions().len()))
        }
        Err(error) => {
            Requirement::misconfigured(PART, wrong_filter(origin, expression, &error.to_string()), FILTER_MEND)
        }
    })
}

/// Whether the limit of open files suffices. A low limit is a warning only: it is this shell's, not the service's.
fn descriptors(settings: &Settings, limit: Option<u64>) -> Requirement {
    const PART: &str = "descriptors";
    let capture = &settings.capture;
    let (workers, interfaces) = (capture.workers as u64, capture.interfaces.len() as u64);
    let sockets = match capture.backend {
        // How many queues an interface has is known at the start only.
        Backend::Xdp => interfaces * QUEUES_OF_INTERFACE,
        Backend::Auto | Backend::Ring | Backend::Pcap => workers * interfaces * (1 + capture.spare_sockets as u64),
    };
    let needed =
        sockets + DESCRIPTORS_PER_WORKER * workers + DESCRIPTORS_OTHER + settings.metrics.connections_max as u64;
    match limit {
        Some(limit) if needed > limit => {
            let mend =
                format!("ulimit -n {needed}, or LimitNOFILE={needed} in the unit, or a smaller capture.spare_sockets");
            Requirement::warning(PART, format!("{needed} are needed, {limit} are allowed in this shell"), mend)
        }
        Some(limit) => Requirement::ok(PART, format!("{needed} are needed, {limit} are allowed")),
        None => Requirement::ok(PART, format!("{needed} are needed")),
    }
}

/// A soft limit in /proc/self/limits (proc(5)); `None` if unlimited.
fn limit_of(limits: &str, name: &str) -> Option<u64> {
    let rest = limits.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::exit::Exit;
    use vigie_capture::live::interfaces::Offloads;
    use vigie_wire::LinkType;

    #[test]
    fn workers_far_from_the_card_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let device = folder.path().join("eth1/device");
        fs::create_dir_all(&device).unwrap();
        let told = |cpus: &[usize]| numa("eth1", cpus, folder.path()).map(|requirement| requirement.to_string());
        assert_eq!(told(&[0]), None, "a card of no node");
        fs::write(device.join("numa_node"), "1\n").unwrap();
        fs::write(device.join("local_cpulist"), "16-23,48\n").unwrap();
        assert_eq!(told(&[]), None);
        assert_eq!(told(&[16, 23, 48]), None);
        let what = "numa: warning: eth1 is on NUMA node 1, whose CPUs are 16-23,48; capture.cpus names 15, 24, 49; name CPUs of \
                    that node in capture.cpus";
        assert_eq!(told(&[15, 16, 24, 49]).as_deref(), Some(what));
        fs::write(device.join("numa_node"), "-1\n").unwrap();
        assert_eq!(told(&[0]), None, "a machine of one node");
    }

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

    fn lines(requirements: &[Requirement]) -> Vec<String> {
        requirements.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn interfaces_are_up_down_missing_or_disturbed() {
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
        let all = |waits| names.iter().flat_map(|name| interface(name, &known, waits)).collect::<Vec<_>>();
        let expected = [
            "interface: up0 is up, MTU 1500",
            "interface: warning: down0 is down; the sensor waits for it; ip link set dev down0 up",
            "interface: warning: dark0 has no carrier; check the cable and the other end",
            "interface: error: ib0 has an unsupported link type (infiniband); 'vigie interfaces' lists the supported ones",
            "interface: gro0 is up, MTU 1500",
            "interface: warning: gro0 has gro and lro on, which merge segments before they are captured; ethtool -K gro0 \
             gro off lro off",
            "interface: warning: none0 does not exist; the sensor waits for it; 'vigie interfaces' lists the interfaces",
        ];
        assert_eq!(lines(&all(true)), expected);
        let strict = all(false);
        assert_eq!((strict[1].exit(), strict[6].exit()), (Exit::Unavailable, Exit::Unavailable));
        assert_eq!(strict[1].to_string(), "interface: error: down0 is down; ip link set dev down0 up");
    }

    #[test]
    fn filters_and_options_are_checked() {
        assert_eq!(filter(None, ""), None);
        assert_eq!(filter(Some("tcp port 443"), "").unwrap().exit(), Exit::Success);
        let wrong = filter(Some("tcp prt 443"), "vigie.toml:7").unwrap();
        assert_eq!(wrong.exit(), Exit::Configuration);
        assert!(wrong.to_string().contains("vigie.toml:7: capture.bpf = \"tcp prt 443\": "), "{wrong}");
        let mut settings = Settings::default();
        settings.capture.interfaces = vec!["eth0".to_owned()];
        assert_eq!(options_requirement(&settings.capture.live_options(), 1), None);
        settings.capture.block_bytes = 5000;
        let requirement = options_requirement(&settings.capture.live_options(), 1).unwrap();
        assert!(
            requirement.exit() == Exit::Configuration && requirement.to_string().contains("5000 is not a power of two"),
            "{requirement}"
        );
    }

    #[test]
    fn descriptors_are_counted() {
        let limits = "Limit  Soft Limit  Hard Limit  Units\nMax open files            100  4096  files\n";
        assert_eq!(limit_of(limits, "Max open files"), Some(100));
        assert_eq!(limit_of("Max open files  unlimited  unlimited  files\n", "Max open files"), None);
        let mut settings = Settings::default();
        settings.capture.interfaces = vec!["a".to_owned(), "b".to_owned()];
        (settings.capture.workers, settings.capture.spare_sockets, settings.metrics.connections_max) = (4, 8, 32);
        // 4 workers with 2 interfaces of 9 sockets, and 2 of their own; 64; 32 connections.
        assert_eq!(descriptors(&settings, Some(176)).to_string(), "descriptors: 176 are needed, 176 are allowed");
        let requirement = descriptors(&settings, Some(175)).to_string();
        assert!(
            requirement
                .starts_with("descriptors: warning: 176 are needed, 175 are allowed in this shell; ulimit -n 176"),
            "{requirement}"
        );
        assert_eq!(descriptors(&settings, None).exit(), Exit::Success);
    }

    #[test]
    fn locked_memory_is_needed_for_af_xdp_only() {
        let mut settings = Settings::default();
        settings.capture.interfaces = vec!["a".to_owned()];
        settings.capture.workers = 1;
        let limits = "Max locked memory         8388608              8388608              bytes     \n";
        assert_eq!(locked_memory(&settings, limits, false), None);
        settings.capture.backend = Backend::Xdp;
        let said = locked_memory(&settings, limits, false).unwrap().to_string();
        let expected = "xdp: warning: 75 MB of locked memory are needed, 8.3 MB are allowed in this shell; ulimit -l \
                        unlimited, or LimitMEMLOCK=infinity in the unit";
        assert_eq!(said, expected);
        assert_eq!(locked_memory(&settings, limits, true), None);
        assert_eq!(locked_memory(&settings, "Max locked memory  unlimited  unlimited  bytes\n", false), None);
    }
}
