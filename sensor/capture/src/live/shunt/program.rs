//! Loads the XDP program and attaches it to interfaces, by `aya`. Says in words what the kernel refuses.

use std::error::Error;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use aya::maps::Map;
use aya::programs::{Xdp, XdpMode};
use aya::{Ebpf, EbpfLoader};

use super::memory::SharedWords;
use super::packet::TagKey;
use super::table::{line_shift, lines_for};
use super::{Attached, COUNTS_WORDS, INTERFACES_MAX, ShuntOptions};
use crate::CaptureError;
use crate::live::interfaces::{Interface, list};
use crate::live::link::Links;

/// Made from `xdp/shunt.c`, as `make -C xdp check` proves.
pub(super) static OBJECT: &[u8] = aya::include_bytes_aligned!("../../../xdp/shunt.o");
const PROGRAM: &str = "shunt";
const FLOWS: &str = "shunt_flows";
const COUNTS: &str = "shunt_counts";
/// Words of a line of the table.
pub(super) const LINE_WORDS: usize = 8;

/// The program in the kernel. When it is dropped, it goes from all interfaces.
#[derive(Debug)]
pub(super) struct Program {
    ebpf: Ebpf,
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
        let mut ebpf = load(OBJECT, &constants, |_| ()).map_err(|error| refused(first, error.as_ref()))?;
        let xdp = xdp(&mut ebpf).map_err(|error| refused(first, error.as_ref()))?;
        xdp.load().map_err(|error| refused(first, &error))?;
        for interface in &attached {
            xdp.attach_to_if_index(interface.index, XdpMode::Driver)
                .map_err(|error| not_attached(&interface.name, &error))?;
        }
        Ok(Self { ebpf, attached, passed_over, lines, processors })
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
        map(&self.ebpf, name, words).map_err(|error| refused(first, &error))
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
        let mut ebpf = load(OBJECT, &constants, |_| ()).map_err(|error| refused(first, error.as_ref()))?;
        let xdp = xdp(&mut ebpf).map_err(|error| refused(first, error.as_ref()))?;
        xdp.load().map_err(|error| refused(first, &error))
    };
    unsuited.chain(loads().err()).collect()
}

/// Reads the object, makes its maps, and sets its constants. `more` sets those of another object.
pub(super) fn load(
    object: &[u8],
    constants: &Constants,
    more: impl FnOnce(&mut EbpfLoader<'_>),
) -> Result<Ebpf, Box<dyn Error + Send + Sync>> {
    let Constants { key, lines, processors, interfaces } = constants;
    let (shift, mask) = (line_shift(*lines), (*lines - 1) as u32);
    let (processors, counts) = (*processors as u32, (INTERFACES_MAX * *processors) as u32);
    let mut loader = EbpfLoader::new();
    loader
        .override_global("key_low", &key.low, true)
        .override_global("key_high", &key.high, true)
        .override_global("line_shift", &shift, true)
        .override_global("line_mask", &mask, true)
        .override_global("processors", &processors, true)
        .override_global("interfaces", interfaces, true)
        .map_max_entries(FLOWS, *lines as u32)
        .map_max_entries(COUNTS, counts);
    more(&mut loader);
    Ok(loader.load(object)?)
}

/// The program of an object.
pub(super) fn xdp(ebpf: &mut Ebpf) -> Result<&mut Xdp, Box<dyn Error + Send + Sync>> {
    let program = ebpf.program_mut(PROGRAM).ok_or("the object has no program")?;
    Ok(program.try_into()?)
}

/// Maps a map of an object.
pub(super) fn map(ebpf: &Ebpf, name: &str, words: usize) -> io::Result<SharedWords> {
    let descriptor: Option<BorrowedFd<'_>> = match ebpf.map(name) {
        Some(Map::Array(data)) => Some(data.fd().as_fd()),
        _ => None,
    };
    SharedWords::map(descriptor.ok_or_else(|| io::Error::other("the object has no such map"))?, words)
}

fn processors(first: &str) -> Result<usize, CaptureError> {
    aya::util::nr_cpus().map_err(|(_, error)| refused(first, &error))
}

/// The interfaces that exist and can be shunted, and the names of those that do not exist.
fn find(names: &[String]) -> Result<(Vec<Attached>, Vec<String>), CaptureError> {
    let known = list();
    let (mut attached, mut passed_over) = (Vec::new(), Vec::new());
    for name in names {
        let interface = known.iter().find(|interface| interface.name == *name);
        let links = || Links::open().and_then(|mut links| links.find(name));
        match (interface, links().map_err(|error| refused(name, &error))?) {
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
    if interface.kind != "ethernet" && interface.kind != "unknown" {
        let reason = format!("packets of its link type ({}) cannot be shunted", interface.kind);
        return Err(error(&interface.name, &reason, "set capture.shunt = \"off\""));
    }
    Ok(())
}

/// The number of the system's error, wherever it stands in the chain of errors.
fn system_error(error: &(dyn Error + 'static)) -> Option<i32> {
    let mut error = Some(error);
    while let Some(this) = error {
        if let Some(code) = this.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error) {
            return Some(code);
        }
        error = this.source();
    }
    None
}

fn refused(name: &str, cause: &(dyn Error + 'static)) -> CaptureError {
    let (reason, mend) = match system_error(cause) {
        Some(libc::EPERM | libc::EACCES) => (
            "no permission to load the shunt's program".to_owned(),
            "start as root or with CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON, or set capture.shunt = \"off\"",
        ),
        Some(libc::EINVAL | libc::ENOSYS) => (
            "this kernel does not load the shunt's program; it needs Linux 5.18".to_owned(),
            "set capture.shunt = \"off\"",
        ),
        Some(libc::ENOMEM) => ("no memory for the shunt's table".to_owned(), "make limits.shunt_flows_max smaller"),
        _ => (format!("the shunt's program cannot be loaded: {}", chain(cause)), "set capture.shunt = \"off\""),
    };
    error(name, &reason, mend)
}

fn not_attached(name: &str, cause: &(dyn Error + 'static)) -> CaptureError {
    match system_error(cause) {
        Some(libc::EBUSY) => {
            let reason = "another XDP program is attached to it";
            error(name, reason, "end the program that attached it ('ip link' shows it), or set capture.shunt = \"off\"")
        }
        Some(libc::EOPNOTSUPP) => {
            let reason = "its driver cannot run the shunt's program";
            error(name, reason, "set capture.shunt = \"off\"; the generic mode, which any driver has, does not pay")
        }
        _ => refused(name, cause),
    }
}

fn error(name: &str, reason: &str, mend: impl Into<String>) -> CaptureError {
    CaptureError::Interface { interface: name.to_owned(), reason: reason.to_owned(), mend: mend.into() }
}

/// An error and its causes in one line.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(this) = cause {
        text = format!("{text}: {}", this.to_string().trim().replace('\n', " "));
        cause = this.source();
    }
    text
}
