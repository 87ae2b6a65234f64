//! Loads the XDP program and attaches it to interfaces. Says in words what the kernel refuses.

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use super::bpf::{self, MAPPABLE, MapKind, MapSpec, READ_ONLY};
use super::memory::SharedWords;
use super::object::Object;
use super::packet::TagKey;
use super::table::{LINE_WORDS, line_shift, lines_for};
use super::{Attached, COUNTS_WORDS, INTERFACES_MAX, ShuntOptions};
use crate::CaptureError;
use crate::live::interfaces::{Interface, list};
use crate::live::link::Links;
use vigie_wire::LinkType;

/// Made from `xdp/shunt.c`, as `make -C xdp check` proves.
pub(super) static OBJECT: &[u8] = include_bytes!("../../../xdp/shunt.o");
const PROGRAM: &str = "shunt";
const FLOWS: &str = "shunt_flows";
const COUNTS: &str = "shunt_counts";
/// The processors that the machine may have, as ranges.
const PROCESSORS: &str = "/sys/devices/system/cpu/possible";

/// The program in the kernel. When it is dropped, it goes from all interfaces.
#[derive(Debug)]
pub(super) struct Program {
    loaded: Loaded,
    /// The links to the interfaces, which end with their descriptors.
    _links: Vec<OwnedFd>,
    attached: Vec<Attached>,
    passed_over: Vec<String>,
    lines: u64,
    processors: usize,
}

/// The values that are constant once the program is loaded.
pub(super) struct Constants {
    pub(super) key: TagKey,
    pub(super) lines: u64,
    pub(super) processors: usize,
    pub(super) interfaces: [u32; INTERFACES_MAX],
}

impl Program {
    /// Loads the program for the interfaces that exist, and attaches it.
    pub(super) fn attach(options: &ShuntOptions, key: &TagKey) -> Result<Self, CaptureError> {
        let first = options.interfaces.first().map(String::as_str).unwrap_or_default();
        let processors = processors(first)?;
        let (attached, passed_over) = find(&options.interfaces)?;
        let mut interfaces = [0; INTERFACES_MAX];
        for (place, attached) in interfaces.iter_mut().zip(&attached) {
            *place = attached.index;
        }
        let lines = lines_for(options.flows_max);
        let constants = Constants { key: *key, lines, processors, interfaces };
        let loaded = load(OBJECT, &constants, &[], &[]).map_err(|refusal| refusal.of(first))?;
        let attach = |to: &Attached| {
            bpf::attach(loaded.program.as_fd(), to.index).map_err(|error| not_attached(&to.name, error))
        };
        let links = attached.iter().map(attach).collect::<Result<_, _>>()?;
        Ok(Self { loaded, _links: links, attached, passed_over, lines, processors })
    }

    pub(super) fn attached(&self) -> Vec<Attached> {
        self.attached.clone()
    }

    pub(super) fn passed_over(&self) -> &[String] {
        &self.passed_over
    }

    pub(super) const fn processors(&self) -> usize {
        self.processors
    }

    /// The table of flows.
    pub(super) fn map_flows(&self) -> Result<SharedWords, CaptureError> {
        self.map(FLOWS, self.lines as usize * LINE_WORDS)
    }

    /// The counts of all processors, for each interface.
    pub(super) fn map_counts(&self) -> Result<SharedWords, CaptureError> {
        self.map(COUNTS, INTERFACES_MAX * self.processors * COUNTS_WORDS)
    }

    fn map(&self, name: &str, words: usize) -> Result<SharedWords, CaptureError> {
        let first = self.attached.first().map_or("", |attached| attached.name.as_str());
        self.loaded.map(name, words).map_err(|error| Refusal::from(error).of(first))
    }
}

/// What keeps these interfaces from being shunted, as far as that can be known without attaching anything to them.
pub fn check(options: &ShuntOptions) -> Vec<CaptureError> {
    let first = options.interfaces.first().map(String::as_str).unwrap_or_default();
    let known = list();
    let named = known.iter().filter(|interface| options.interfaces.contains(&interface.name));
    let unsuited = named.filter_map(|interface| suits(interface).err());
    let loads = || {
        let constants = Constants {
            key: TagKey { low: 0, high: 0 },
            lines: lines_for(0),
            processors: processors(first)?,
            interfaces: [0; INTERFACES_MAX],
        };
        load(OBJECT, &constants, &[], &[]).map_err(|refusal| refusal.of(first))
    };
    unsuited.chain(loads().err()).collect()
}

impl Constants {
    fn values(&self) -> [(&'static str, Vec<u8>); 6] {
        let Self { key, lines, processors, interfaces } = self;
        [
            ("key_low", key.low.to_ne_bytes().to_vec()),
            ("key_high", key.high.to_ne_bytes().to_vec()),
            ("line_shift", line_shift(*lines).to_ne_bytes().to_vec()),
            ("line_mask", ((*lines - 1) as u32).to_ne_bytes().to_vec()),
            ("processors", (*processors as u32).to_ne_bytes().to_vec()),
            ("interfaces", interfaces.iter().flat_map(|index| index.to_ne_bytes()).collect()),
        ]
    }

    fn maps(&self) -> [MapSpec; 2] {
        let array = |name, words, entries| {
            let value_bytes = (words * size_of::<u64>()) as u32;
            MapSpec { name, kind: MapKind::Array, key_bytes: 4, value_bytes, entries, flags: MAPPABLE }
        };
        [
            array(FLOWS, LINE_WORDS, self.lines as u32),
            array(COUNTS, COUNTS_WORDS, (INTERFACES_MAX * self.processors) as u32),
        ]
    }
}

/// A program and its maps in the kernel.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) program: OwnedFd,
    maps: Vec<(MapSpec, OwnedFd)>,
}

impl Loaded {
    /// A map by its name.
    pub(super) fn find(&self, name: &str) -> io::Result<&(MapSpec, OwnedFd)> {
        let found = self.maps.iter().find(|(spec, _)| spec.name == name);
        found.ok_or_else(|| io::Error::other("the object has no such map"))
    }

    /// Maps a map of so many words.
    pub(super) fn map(&self, name: &str, words: usize) -> io::Result<SharedWords> {
        SharedWords::map(self.find(name)?.1.as_fd(), words)
    }
}

/// Loads the program of an object. `more` are constants and maps of an object that has further ones.
pub(super) fn load(
    object: &[u8],
    constants: &Constants,
    more_constants: &[(&'static str, Vec<u8>)],
    more_maps: &[MapSpec],
) -> Result<Loaded, Refusal> {
    let odd = || Refusal::from(io::Error::other("the object is not the one that this program was written for"));
    let mut object = Object::read(object).ok_or_else(odd)?;
    for (name, value) in constants.values().iter().chain(more_constants) {
        if !object.set(name, value) {
            return Err(odd());
        }
    }
    let specs = constants.maps();
    let made = specs.iter().chain(more_maps).map(|spec| Ok((*spec, bpf::make_map(spec)?)));
    let maps = made.collect::<io::Result<Vec<_>>>()?;
    // The program knows them as constants only if nobody can change them any more.
    let values = MapSpec {
        name: "shunt_constants",
        kind: MapKind::Array,
        key_bytes: 4,
        value_bytes: object.constants().len() as u32,
        entries: 1,
        flags: READ_ONLY,
    };
    let held = bpf::make_map(&values)?;
    bpf::update(held.as_fd(), &values, &[0; 4], object.constants())?;
    bpf::freeze(held.as_fd())?;
    let number = |name: &str| maps.iter().find(|(spec, _)| spec.name == name).map(|(_, map)| map.as_raw_fd());
    let instructions = object.linked(held.as_raw_fd(), number).ok_or_else(odd)?;
    let program = bpf::load(PROGRAM, &instructions, object.license());
    let program = program.map_err(|(error, log)| Refusal { error, log })?;
    Ok(Loaded { program, maps })
}

/// Why the kernel does not load the program.
#[derive(Debug)]
pub(super) struct Refusal {
    error: io::Error,
    /// What it says of the instructions.
    log: String,
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        Self { error, log: String::new() }
    }
}

impl Refusal {
    /// As the error of an interface.
    fn of(&self, name: &str) -> CaptureError {
        const RIGHTS: &str =
            "start as root or with CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON, or set capture.shunt = \"off\"";
        const OFF: &str = "set capture.shunt = \"off\"";
        let (reason, mend) = match self.error.raw_os_error() {
            Some(libc::EPERM) => ("no permission to load the shunt's program".to_owned(), RIGHTS),
            // The verifier refuses arithmetic with addresses to those who lack CAP_PERFMON.
            Some(libc::EACCES) => (format!("the kernel refuses the shunt's program: {}", self.last_line()), RIGHTS),
            Some(libc::EINVAL | libc::ENOSYS) if self.log.is_empty() => {
                ("this kernel does not load the shunt's program; it needs Linux 5.18".to_owned(), OFF)
            }
            Some(libc::ENOMEM) => ("no memory for the shunt's table".to_owned(), "make limits.shunt_flows_max smaller"),
            _ => (format!("the shunt's program cannot be loaded: {}: {}", self.error, self.last_line()), OFF),
        };
        error(name, &reason, mend)
    }

    /// The last line of what the kernel says; statistics come behind it.
    fn last_line(&self) -> &str {
        let mut lines = self.log.lines().rev().map(str::trim);
        lines.find(|line| !line.is_empty() && !line.starts_with("processed ")).unwrap_or("it gives no reason")
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, text: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(text, "{}: {}", self.error, self.last_line())
    }
}

impl std::error::Error for Refusal {}

/// How many processors the machine may have: their numbers are below that.
pub(super) fn possible_processors() -> io::Result<usize> {
    let ranges = fs::read_to_string(PROCESSORS)?;
    let last = ranges.trim().rsplit([',', '-']).next().and_then(|number| number.parse::<usize>().ok());
    last.map(|last| last + 1).ok_or_else(|| io::Error::other(format!("{PROCESSORS} says {ranges:?}")))
}

fn processors(first: &str) -> Result<usize, CaptureError> {
    possible_processors().map_err(|error| Refusal::from(error).of(first))
}

/// The interfaces that exist and can be shunted, and the names of those that do not exist.
fn find(names: &[String]) -> Result<(Vec<Attached>, Vec<String>), CaptureError> {
    let known = list();
    let (mut attached, mut passed_over) = (Vec::new(), Vec::new());
    for name in names {
        let interface = known.iter().find(|interface| interface.name == *name);
        let links = || Links::open().and_then(|mut links| links.find(name));
        match (interface, links().map_err(|error| Refusal::from(error).of(name))?) {
            (Some(interface), Some(link)) => {
                suits(interface)?;
                attached.push(Attached { name: name.clone(), index: link.index });
            }
            _ => passed_over.push(name.clone()),
        }
    }
    Ok((attached, passed_over))
}

/// Whether packets of an interface can be shunted at all.
pub(super) fn suits(interface: &Interface) -> Result<(), CaptureError> {
    // A tag that the card has taken out is out of the program's sight: flows of several VLANs would be one.
    if interface.offloads.rx_vlan == Some(true) {
        let name = &interface.name;
        return Err(error(
            name,
            "its packets cannot be shunted while the card takes VLAN tags out",
            format!("ethtool -K {name} rxvlan off"),
        ));
    }
    if interface.link_type.is_some_and(|link_type| link_type != LinkType::ETHERNET) {
        let reason = format!("packets of its link type ({}) cannot be shunted", interface.kind);
        return Err(error(&interface.name, &reason, "set capture.shunt = \"off\""));
    }
    Ok(())
}

fn not_attached(name: &str, cause: io::Error) -> CaptureError {
    match cause.raw_os_error() {
        Some(libc::EBUSY) => {
            let reason = "another XDP program is attached to it";
            error(name, reason, "end the program that attached it ('ip link' shows it), or set capture.shunt = \"off\"")
        }
        Some(libc::EOPNOTSUPP) => {
            let reason = "its driver cannot run the shunt's program";
            error(name, reason, "set capture.shunt = \"off\"; the generic mode, which any driver has, does not pay")
        }
        _ => Refusal::from(cause).of(name),
    }
}

fn error(name: &str, reason: &str, mend: impl Into<String>) -> CaptureError {
    CaptureError::Interface { interface: name.to_owned(), reason: reason.to_owned(), mend: mend.into() }
}
