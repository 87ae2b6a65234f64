//! Loads the XDP program and attaches it to interfaces: to shunt, to hand packets to AF_XDP sockets, or both. Says in words
//! what the kernel refuses.

use std::collections::hash_map::RandomState;
use std::fs;
use std::hash::BuildHasher;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use super::bpf::{self, MAPPABLE, MapKind, MapSpec, Mode, READ_ONLY};
use super::memory::SharedWords;
use super::object::Object;
use super::packet::TagKey;
use super::suited::suits;
use super::table::{LINE_WORDS, line_shift, lines_for};
use super::{COUNTS_WORDS, INTERFACES_MAX};
use crate::CaptureError;
use crate::live::interfaces::list;
use crate::live::link::Links;
use crate::live::system::Device;

/// Made from `xdp/shunt.c`, as `make -C xdp check` proves.
pub(super) static OBJECT: &[u8] = include_bytes!("../../../xdp/shunt.o");
const PROGRAM: &str = "shunt";
const FLOWS: &str = "shunt_flows";
const COUNTS: &str = "shunt_counts";
const SOCKETS: &str = "shunt_sockets";
/// The processors that the machine may have, as ranges.
const PROCESSORS: &str = "/sys/devices/system/cpu/possible";

/// What the program is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Purpose {
    /// To shunt settled flows in front of packet sockets.
    Shunt,
    /// To hand packets to AF_XDP sockets; it may shunt too.
    Sockets,
}

impl Purpose {
    /// How to do without it.
    pub(in super::super) const fn otherwise(self) -> &'static str {
        match self {
            Self::Shunt => "set capture.shunt = \"off\"",
            Self::Sockets => "set capture.backend = \"ring\"",
        }
    }

    /// The program in words.
    const fn program(self) -> &'static str {
        match self {
            Self::Shunt => "the shunt's program",
            Self::Sockets => "the program for AF_XDP sockets",
        }
    }

    /// The first kernel that has what it uses.
    const fn kernel(self) -> &'static str {
        match self {
            Self::Shunt => "Linux 5.18",
            Self::Sockets => "Linux 6.1 with AF_XDP sockets (CONFIG_XDP_SOCKETS)",
        }
    }
}

/// What a program is to do.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct ProgramOptions<'o> {
    pub(in super::super) interfaces: &'o [String],
    /// Flows that can be shunted, if any are to be.
    pub(in super::super) flows_max: Option<usize>,
    pub(in super::super) purpose: Purpose,
}

/// An interface with the program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct Attached {
    pub(in super::super) name: String,
    pub(in super::super) index: u32,
    /// Queues in which its packets are received.
    pub(in super::super) queues: u32,
}

/// The program in the kernel. When it is dropped, it goes from all interfaces.
#[derive(Debug)]
pub(in super::super) struct Program {
    loaded: Loaded,
    /// The links to the interfaces, which end with their descriptors.
    links: Vec<(OwnedFd, Mode)>,
    attached: Vec<Attached>,
    passed_over: Vec<String>,
    constants: Constants,
    purpose: Purpose,
}

/// The values that are constant once the program is loaded.
#[derive(Clone, Debug)]
pub(super) struct Constants {
    pub(super) key: TagKey,
    pub(super) lines: u64,
    pub(super) processors: usize,
    pub(super) interfaces: [u32; INTERFACES_MAX],
    pub(super) shunts: bool,
    /// Of AF_XDP sockets, if packets go to such.
    pub(super) sockets: Option<Sockets>,
}

/// The sockets that packets go to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sockets {
    /// Of each interface, one for each queue.
    queues: u32,
    /// By what a time stamp is known.
    mark: u64,
}

impl Program {
    /// Loads the program for the interfaces that exist, and attaches it.
    pub(super) fn attach(options: &ProgramOptions<'_>, key: &TagKey) -> Result<Self, CaptureError> {
        let (purpose, first) = (options.purpose, options.interfaces.first().map_or("", String::as_str));
        let (attached, passed_over) = find(options.interfaces, purpose)?;
        let mut interfaces = [0; INTERFACES_MAX];
        for (place, attached) in interfaces.iter_mut().zip(&attached) {
            *place = attached.index;
        }
        let queues = attached.iter().map(|attached| attached.queues).max().unwrap_or_default();
        let constants = Constants {
            key: *key,
            lines: lines_for(options.flows_max.unwrap_or_default()),
            processors: processors(first, purpose)?,
            interfaces,
            shunts: options.flows_max.is_some(),
            sockets: (purpose == Purpose::Sockets).then(|| Sockets { queues, mark: random_mark() }),
        };
        let loaded = load(OBJECT, &constants, &[], &[]).map_err(|refusal| refusal.of(first, purpose))?;
        let links = attached.iter().map(|to| attach(&loaded, to, purpose)).collect::<Result<_, _>>()?;
        Ok(Self { loaded, links, attached, passed_over, constants, purpose })
    }

    pub(in super::super) fn attached(&self) -> &[Attached] {
        &self.attached
    }

    /// Whether it runs in the driver of an interface.
    pub(in super::super) fn is_native(&self, place: usize) -> bool {
        self.links.get(place).is_some_and(|(_, mode)| *mode == Mode::Native)
    }

    /// By what a time stamp in front of a frame is known; none if packets do not go to AF_XDP sockets.
    pub(in super::super) fn stamp_mark(&self) -> Option<u64> {
        self.constants.sockets.map(|sockets| sockets.mark)
    }

    /// Has packets of a queue of an interface go to this AF_XDP socket.
    pub(in super::super) fn hand_to(&self, socket: BorrowedFd<'_>, place: usize, queue: u32) -> io::Result<()> {
        let (spec, map) = self.loaded.find(SOCKETS)?;
        let queues = self.constants.sockets.map_or(0, |sockets| sockets.queues);
        let key = place as u32 * queues + queue;
        bpf::update(map.as_fd(), spec, &key.to_ne_bytes(), &socket.as_raw_fd().to_ne_bytes())
    }

    pub(in super::super) fn passed_over(&self) -> &[String] {
        &self.passed_over
    }

    pub(super) const fn processors(&self) -> usize {
        self.constants.processors
    }

    /// The table of flows.
    pub(super) fn map_flows(&self) -> Result<SharedWords, CaptureError> {
        self.map(FLOWS, self.constants.lines as usize * LINE_WORDS)
    }

    /// The counts of all processors, for each interface.
    pub(super) fn map_counts(&self) -> Result<SharedWords, CaptureError> {
        self.map(COUNTS, INTERFACES_MAX * self.constants.processors * COUNTS_WORDS)
    }

    fn map(&self, name: &str, words: usize) -> Result<SharedWords, CaptureError> {
        let first = self.attached.first().map_or("", |attached| attached.name.as_str());
        self.loaded.map(name, words).map_err(|error| Refusal::from(error).of(first, self.purpose))
    }
}

/// What keeps the program from serving these interfaces, as far as that can be known without attaching anything to them.
pub(in super::super) fn check(interfaces: &[String], purpose: Purpose) -> Vec<CaptureError> {
    let first = interfaces.first().map(String::as_str).unwrap_or_default();
    let known = list();
    let named = known.iter().filter(|interface| interfaces.contains(&interface.name));
    let unsuited = named.filter_map(|interface| suits(interface, purpose).err());
    let loads = || {
        let constants = Constants {
            key: TagKey { low: 0, high: 0 },
            lines: lines_for(0),
            processors: processors(first, purpose)?,
            interfaces: [0; INTERFACES_MAX],
            shunts: purpose == Purpose::Shunt,
            sockets: (purpose == Purpose::Sockets).then_some(Sockets { queues: 1, mark: 0 }),
        };
        load(OBJECT, &constants, &[], &[]).map_err(|refusal| refusal.of(first, purpose))
    };
    unsuited.chain(loads().err()).collect()
}

fn attach(loaded: &Loaded, to: &Attached, purpose: Purpose) -> Result<(OwnedFd, Mode), CaptureError> {
    let in_mode = |mode| Ok((bpf::attach(loaded.program.as_fd(), to.index, mode)?, mode));
    let attached = match (in_mode(Mode::Native), purpose) {
        (Err(error), Purpose::Sockets) if is_unknown_to_driver(&error) => in_mode(Mode::Generic),
        (outcome, _) => outcome,
    };
    attached.map_err(|error: io::Error| not_attached(&to.name, error, purpose))
}

/// Whether the driver cannot run XDP programs.
fn is_unknown_to_driver(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EOPNOTSUPP)
}

fn random_mark() -> u64 {
    RandomState::new().hash_one(0_u64)
}

impl Constants {
    fn values(&self) -> [(&'static str, Vec<u8>); 10] {
        let Self { key, lines, processors, interfaces, shunts, sockets } = self;
        let Sockets { queues, mark } = sockets.unwrap_or(Sockets { queues: 0, mark: 0 });
        [
            ("key_low", key.low.to_ne_bytes().to_vec()),
            ("key_high", key.high.to_ne_bytes().to_vec()),
            ("line_shift", line_shift(*lines).to_ne_bytes().to_vec()),
            ("line_mask", ((*lines - 1) as u32).to_ne_bytes().to_vec()),
            ("processors", (*processors as u32).to_ne_bytes().to_vec()),
            ("interfaces", interfaces.iter().flat_map(|index| index.to_ne_bytes()).collect()),
            ("shunts", u32::from(*shunts).to_ne_bytes().to_vec()),
            ("to_sockets", u32::from(sockets.is_some()).to_ne_bytes().to_vec()),
            ("queues", queues.to_ne_bytes().to_vec()),
            ("stamp_mark", mark.to_ne_bytes().to_vec()),
        ]
    }

    fn maps(&self) -> Vec<MapSpec> {
        let array = |name, words, entries| {
            let value_bytes = (words * size_of::<u64>()) as u32;
            MapSpec { name, kind: MapKind::Array, key_bytes: 4, value_bytes, entries, flags: MAPPABLE }
        };
        let mut maps = vec![
            array(FLOWS, LINE_WORDS, self.lines as u32),
            array(COUNTS, COUNTS_WORDS, (INTERFACES_MAX * self.processors) as u32),
        ];
        maps.extend(self.sockets.map(|sockets| MapSpec {
            name: SOCKETS,
            kind: MapKind::Sockets,
            key_bytes: 4,
            value_bytes: 4,
            entries: INTERFACES_MAX as u32 * sockets.queues.max(1),
            flags: 0,
        }));
        maps
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
    // What hands packets to sockets is left out where there are none, and its map with it; but the kernel wants some map there.
    let is_it = |spec: &MapSpec, name: &str| {
        spec.name == if constants.sockets.is_none() && name == SOCKETS { COUNTS } else { name }
    };
    let number = |name: &str| maps.iter().find(|(spec, _)| is_it(spec, name)).map(|(_, map)| map.as_raw_fd());
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
    fn of(&self, name: &str, purpose: Purpose) -> CaptureError {
        let (program, otherwise) = (purpose.program(), purpose.otherwise());
        let rights = || format!("start as root or with CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON, or {otherwise}");
        let is_old = self.log.is_empty() || ["unknown func", "invalid func"].iter().any(|said| self.log.contains(said));
        let (reason, mend) = match self.error.raw_os_error() {
            Some(libc::EPERM) => (format!("no permission to load {program}"), rights()),
            // The verifier refuses arithmetic with addresses to those who lack CAP_PERFMON.
            Some(libc::EACCES) => (format!("the kernel refuses {program}: {}", self.last_line()), rights()),
            Some(libc::EINVAL | libc::ENOSYS) if is_old => {
                (format!("this kernel does not load {program}; it needs {}", purpose.kernel()), otherwise.to_owned())
            }
            Some(libc::ENOMEM) => {
                ("no memory for the shunt's table".to_owned(), "make limits.shunt_flows_max smaller".to_owned())
            }
            _ => (format!("{program} cannot be loaded: {}: {}", self.error, self.last_line()), otherwise.to_owned()),
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

fn processors(first: &str, purpose: Purpose) -> Result<usize, CaptureError> {
    possible_processors().map_err(|error| Refusal::from(error).of(first, purpose))
}

/// The interfaces that exist and suit, and the names of those that do not exist.
fn find(names: &[String], purpose: Purpose) -> Result<(Vec<Attached>, Vec<String>), CaptureError> {
    let known = list();
    let (mut attached, mut passed_over) = (Vec::new(), Vec::new());
    for name in names {
        let interface = known.iter().find(|interface| interface.name == *name);
        let links = || Links::open().and_then(|mut links| links.find(name));
        match (interface, links().map_err(|error| Refusal::from(error).of(name, purpose))?) {
            (Some(interface), Some(link)) => {
                suits(interface, purpose)?;
                let queues = Device::new(name).ok().and_then(|device| device.receive_queues()).unwrap_or(1);
                attached.push(Attached { name: name.clone(), index: link.index, queues });
            }
            _ => passed_over.push(name.clone()),
        }
    }
    Ok((attached, passed_over))
}

fn not_attached(name: &str, cause: io::Error, purpose: Purpose) -> CaptureError {
    let otherwise = purpose.otherwise();
    match cause.raw_os_error() {
        Some(libc::EBUSY) => {
            let mend = format!("end the program that attached it ('ip link' shows it), or {otherwise}");
            error(name, "another XDP program is attached to it", mend)
        }
        Some(libc::EOPNOTSUPP) => {
            let reason = format!("its driver cannot run {}", purpose.program());
            error(name, &reason, format!("{otherwise}; the generic mode, which any driver has, does not pay"))
        }
        _ => Refusal::from(cause).of(name, purpose),
    }
}

pub(super) fn error(name: &str, reason: &str, mend: impl Into<String>) -> CaptureError {
    CaptureError::Interface { interface: name.to_owned(), reason: reason.to_owned(), mend: mend.into() }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    /// A call of `bpf_ktime_get_tai_ns`, which Linux 6.1 has, and what an older kernel makes of it: a call of nothing.
    const CALL: [u8; 8] = [0x85, 0, 0, 0, 208, 0, 0, 0];
    const CALL_OF_NOTHING: [u8; 8] = [0x85, 0, 0, 0, 0xff, 0xff, 0, 0];

    /// The shunt alone loads on kernels that do not have what AF_XDP needs: the kernel leaves out what is not used.
    #[test]
    fn without_sockets_their_calls_are_not_needed() {
        let constants = |sockets| Constants {
            key: TagKey { low: 1, high: 2 },
            lines: lines_for(0),
            processors: possible_processors().unwrap(),
            interfaces: [0; INTERFACES_MAX],
            shunts: true,
            sockets,
        };
        if let Err(refusal) = load(OBJECT, &constants(None), &[], &[]) {
            return vigie_skip::skipped(format_args!("the XDP program cannot be loaded: {refusal}"));
        }
        let mut object = OBJECT.to_vec();
        let place = object.windows(CALL.len()).position(|bytes| bytes == CALL).unwrap();
        object[place..place + CALL.len()].copy_from_slice(&CALL_OF_NOTHING);
        load(&object, &constants(None), &[], &[]).unwrap();
        let refusal = load(&object, &constants(Some(Sockets { queues: 1, mark: 0 })), &[], &[]).unwrap_err();
        let said = refusal.of("tap0", Purpose::Sockets).to_string();
        assert!(said.contains("Linux 6.1") && said.contains("capture.backend = \"ring\""), "{said}: {refusal}");
    }
}
