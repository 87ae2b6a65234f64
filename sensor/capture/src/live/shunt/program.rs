//! Loads the XDP program and attaches it to interfaces: to shunt, to hand packets to AF_XDP sockets, or both; or loads the filter that
//! packet sockets attach themselves. Who may not load it takes the one that was loaded for it ([`pinned`]).

use std::collections::hash_map::RandomState;
use std::fs::{self, File};
use std::hash::BuildHasher;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::Ordering;

use nix::fcntl::Flock;

use super::bpf::{self, MAPPABLE, MapKind, MapSpec, Mode, ProgramKind, READ_ONLY};
use super::memory::SharedWords;
use super::object::Object;
use super::packet::TagKey;
use super::pinned::{self, Taken};
use super::refusal::{Refusal, not_attached};
use super::suited::suits;
use super::table::{LINE_WORDS, line_shift, lines_for};
use super::{COUNTS_WORDS, INTERFACES_MAX};
use crate::CaptureError;
use crate::live::interfaces::list;
use crate::live::link::Links;
use crate::live::system::{Device, retry_while_busy};

/// Made from `xdp/shunt.c`, as `make -C xdp check` proves.
pub(super) static OBJECT: &[u8] = include_bytes!("../../../xdp/shunt.o");
pub(super) const PROGRAM: &str = "shunt";
pub(super) const CONSTANTS: &str = "shunt_constants";
/// A program that has just ended may be on its interface for a moment, as a process that was being started then still has it.
const BUSY_RETRIES: u32 = 25;
const FLOWS: &str = "shunt_flows";
const COUNTS: &str = "shunt_counts";
const SOCKETS: &str = "shunt_sockets";
/// The processors that the machine may have, as ranges.
const PROCESSORS: &str = "/sys/devices/system/cpu/possible";

/// What the program is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To shunt settled flows at the driver, in front of packet sockets.
    Shunt,
    /// To hand packets to AF_XDP sockets; it may shunt too.
    Sockets,
    /// To shunt settled flows in front of packet sockets, and pass them to everybody else.
    Filter {
        /// Bytes of a frame that a socket gets.
        snap_bytes: u32,
    },
}

impl Purpose {
    /// How to do without it.
    pub(in super::super) const fn otherwise(self) -> &'static str {
        match self {
            Self::Shunt | Self::Filter { .. } => "set capture.shunt = \"off\"",
            Self::Sockets => "set capture.backend = \"ring\"",
        }
    }

    /// The program in words.
    pub(super) const fn program(self) -> &'static str {
        match self {
            Self::Shunt => "the shunt's program",
            Self::Filter { .. } => "the shunt's filter",
            Self::Sockets => "the program for AF_XDP sockets",
        }
    }

    /// The first kernel that has what it uses.
    pub(super) const fn kernel(self) -> &'static str {
        match self {
            Self::Shunt => "Linux 5.18",
            Self::Filter { .. } => "Linux 5.12",
            Self::Sockets => "Linux 6.1 with AF_XDP sockets (CONFIG_XDP_SOCKETS)",
        }
    }

    const fn snap_bytes(self) -> Option<u32> {
        match self {
            Self::Filter { snap_bytes } => Some(snap_bytes),
            Self::Shunt | Self::Sockets => None,
        }
    }
}

/// What a program is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramOptions {
    /// The names of the interfaces. Those that do not exist are passed over.
    pub interfaces: Vec<String>,
    /// Flows that the table has room for, both directions of each, if flows are to be shunted.
    pub flows_max: Option<usize>,
    /// What it is for.
    pub purpose: Purpose,
}

impl ProgramOptions {
    /// To hand packets of these interfaces to AF_XDP sockets, without a shunt.
    pub const fn for_sockets(interfaces: Vec<String>) -> Self {
        Self { interfaces, flows_max: None, purpose: Purpose::Sockets }
    }

    pub(super) fn first(&self) -> &str {
        self.interfaces.first().map_or("", String::as_str)
    }
}

/// How a sensor with the rights of this process comes by the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProgramAccess {
    /// It loads it.
    Loads,
    /// It takes the one that was loaded for it, and is pinned in this folder.
    Pinned(&'static str),
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
    /// Keeps other sensors from the program's maps, if it was loaded for all of them.
    _lock: Option<Flock<File>>,
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
    /// Bytes of a frame that a packet socket gets, if it is a filter of such.
    pub(super) snap_bytes: Option<u32>,
}

/// The sockets that packets go to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sockets {
    /// Of each interface, one for each queue.
    pub(super) queues: u32,
    /// By what a time stamp is known.
    pub(super) mark: u64,
}

/// A program as it is to be, and where.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) constants: Constants,
    attached: Vec<Attached>,
    pub(super) passed_over: Vec<String>,
}

impl Wanted {
    /// The program for the interfaces that exist.
    pub(super) fn new(options: &ProgramOptions, key: &TagKey) -> Result<Self, CaptureError> {
        let purpose = options.purpose;
        let (attached, passed_over) = find(&options.interfaces, purpose)?;
        let mut interfaces = [0; INTERFACES_MAX];
        for (place, attached) in interfaces.iter_mut().zip(&attached) {
            *place = attached.index;
        }
        let queues = attached.iter().map(|attached| attached.queues).max().unwrap_or_default();
        let constants = Constants {
            key: *key,
            lines: lines_for(options.flows_max.unwrap_or_default()),
            processors: processors(options.first(), purpose)?,
            interfaces,
            shunts: options.flows_max.is_some(),
            sockets: (purpose == Purpose::Sockets).then(|| Sockets { queues, mark: random_mark() }),
            snap_bytes: purpose.snap_bytes(),
        };
        Ok(Self { constants, attached, passed_over })
    }
}

impl Program {
    /// Loads the program for the interfaces that exist, or takes the one that was loaded for this process, and attaches it. A
    /// [filter](Self::filter) is to be attached to sockets.
    pub(super) fn attach(options: &ProgramOptions, key: &TagKey) -> Result<Self, CaptureError> {
        let (purpose, first) = (options.purpose, options.first());
        let Wanted { constants, attached, passed_over } = Wanted::new(options, key)?;
        let (loaded, constants, lock) = match load(OBJECT, &constants, &[], &[]) {
            Ok(loaded) => (loaded, constants, None),
            Err(refusal) if refusal.is_lack_of_rights() => {
                let taken = pinned::take(&constants).map_err(|lack| lack.of(first, purpose))?;
                let Taken { loaded, constants, lock } = taken.ok_or_else(|| refusal.of(first, purpose))?;
                (loaded, constants, Some(lock))
            }
            Err(refusal) => return Err(refusal.of(first, purpose)),
        };
        let links = match purpose {
            Purpose::Filter { .. } => Vec::new(),
            Purpose::Shunt | Purpose::Sockets => {
                attached.iter().map(|to| attach(&loaded, to, purpose)).collect::<Result<_, _>>()?
            }
        };
        Ok(Self { loaded, links, attached, passed_over, constants, purpose, _lock: lock })
    }

    pub(in super::super) fn attached(&self) -> &[Attached] {
        &self.attached
    }

    /// Whether it runs in the driver of an interface.
    pub(in super::super) fn is_native(&self, place: usize) -> bool {
        self.links.get(place).is_some_and(|(_, mode)| *mode == Mode::Native)
    }

    /// The filter of packet sockets, if it is one.
    pub(in super::super) fn filter(&self) -> Option<BorrowedFd<'_>> {
        matches!(self.purpose, Purpose::Filter { .. }).then(|| self.loaded.program.as_fd())
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

    /// The key of the table's tags.
    pub(super) const fn key(&self) -> TagKey {
        self.constants.key
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

/// How a sensor would come by the program, or what keeps the program from serving these interfaces, as far as that can be known
/// without attaching anything to them.
pub(in super::super) fn check(options: &ProgramOptions) -> Result<ProgramAccess, Vec<CaptureError>> {
    let (purpose, first) = (options.purpose, options.first());
    let known = list();
    let named = known.iter().filter(|interface| options.interfaces.contains(&interface.name));
    let unsuited: Vec<_> = named.filter_map(|interface| suits(interface, purpose).err()).collect();
    let access = || {
        let constants = Constants {
            key: TagKey { low: 0, high: 0 },
            lines: lines_for(0),
            processors: processors(first, purpose)?,
            interfaces: [0; INTERFACES_MAX],
            shunts: purpose != Purpose::Sockets,
            sockets: (purpose == Purpose::Sockets).then_some(Sockets { queues: 1, mark: 0 }),
            snap_bytes: purpose.snap_bytes(),
        };
        let refusal = match load(OBJECT, &constants, &[], &[]) {
            Ok(_) => return Ok(ProgramAccess::Loads),
            Err(refusal) => refusal,
        };
        // An interface that does not suit is told already.
        let pinned = if refusal.is_lack_of_rights() && unsuited.is_empty() { pinned::check(options)? } else { None };
        pinned.map(ProgramAccess::Pinned).ok_or_else(|| refusal.of(first, purpose))
    };
    match access() {
        Ok(access) if unsuited.is_empty() => Ok(access),
        outcome => Err(unsuited.into_iter().chain(outcome.err()).collect()),
    }
}

fn attach(loaded: &Loaded, to: &Attached, purpose: Purpose) -> Result<(OwnedFd, Mode), CaptureError> {
    let in_mode = |mode| {
        let link = retry_while_busy(BUSY_RETRIES, || bpf::attach(loaded.program.as_fd(), to.index, mode));
        Ok((link?, mode))
    };
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
    /// The program that they are for.
    pub(super) const fn program(&self) -> ProgramKind {
        if self.snap_bytes.is_some() { ProgramKind::SocketFilter } else { ProgramKind::Xdp }
    }

    pub(super) fn values(&self) -> [(&'static str, Vec<u8>); 11] {
        let Self { key, lines, processors, interfaces, shunts, sockets, snap_bytes } = self;
        let Sockets { queues, mark } = sockets.unwrap_or(Sockets { queues: 0, mark: 0 });
        [
            ("shunts", u32::from(*shunts).to_ne_bytes().to_vec()),
            ("to_sockets", u32::from(sockets.is_some()).to_ne_bytes().to_vec()),
            ("key_low", key.low.to_ne_bytes().to_vec()),
            ("key_high", key.high.to_ne_bytes().to_vec()),
            ("line_shift", line_shift(*lines).to_ne_bytes().to_vec()),
            ("line_mask", ((*lines - 1) as u32).to_ne_bytes().to_vec()),
            ("processors", (*processors as u32).to_ne_bytes().to_vec()),
            ("interfaces", interfaces.iter().flat_map(|index| index.to_ne_bytes()).collect()),
            ("queues", queues.to_ne_bytes().to_vec()),
            ("stamp_mark", mark.to_ne_bytes().to_vec()),
            ("snap_bytes", snap_bytes.unwrap_or_default().to_ne_bytes().to_vec()),
        ]
    }

    pub(super) fn maps(&self) -> Vec<MapSpec> {
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
    pub(super) maps: Vec<(MapSpec, OwnedFd)>,
    /// Its constants.
    pub(super) constants: OwnedFd,
}

impl Loaded {
    /// A map by its name.
    pub(super) fn find(&self, name: &str) -> io::Result<&(MapSpec, OwnedFd)> {
        let found = self.maps.iter().find(|(spec, _)| spec.name == name);
        found.ok_or_else(|| io::Error::other("the object has no such map"))
    }

    /// Clears what was in the table and in the counts.
    pub(super) fn clear(&self) -> io::Result<()> {
        for (spec, map) in self.maps.iter().filter(|(spec, _)| spec.flags & MAPPABLE != 0) {
            let words = spec.entries as usize * spec.value_bytes as usize / size_of::<u64>();
            SharedWords::map(map.as_fd(), words)?.words().iter().for_each(|word| word.store(0, Ordering::Relaxed));
        }
        Ok(())
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
    let mut object = Object::read(object, constants.program()).ok_or_else(odd)?;
    for (name, value) in constants.values().iter().chain(more_constants) {
        if !object.set(name, value) {
            return Err(odd());
        }
    }
    let specs = constants.maps();
    let made = specs.iter().chain(more_maps).map(|spec| Ok((*spec, bpf::make_map(spec)?)));
    let maps = made.collect::<io::Result<Vec<_>>>()?;
    // The program knows them as constants only if nobody can change them any more.
    let spec = constants_spec(&object);
    let held = bpf::make_map(&spec)?;
    bpf::update(held.as_fd(), &spec, &[0; 4], &object.constants())?;
    bpf::freeze(held.as_fd())?;
    // What hands packets to sockets is left out where there are none, and its map with it; but the kernel wants some map there.
    let is_it = |spec: &MapSpec, name: &str| {
        spec.name == if constants.sockets.is_none() && name == SOCKETS { COUNTS } else { name }
    };
    let number = |name: &str| maps.iter().find(|(spec, _)| is_it(spec, name)).map(|(_, map)| map.as_raw_fd());
    let instructions = object.linked(held.as_raw_fd(), number).ok_or_else(odd)?;
    let program = bpf::load(constants.program(), PROGRAM, &instructions, object.license());
    let program = program.map_err(|(error, log)| Refusal { error, log })?;
    Ok(Loaded { program, maps, constants: held })
}

/// The map of an object's constants.
pub(super) fn constants_spec(object: &Object<'_>) -> MapSpec {
    let value_bytes = object.constants().len() as u32;
    MapSpec { name: CONSTANTS, kind: MapKind::Array, key_bytes: 4, value_bytes, entries: 1, flags: READ_ONLY }
}

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
            snap_bytes: None,
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
