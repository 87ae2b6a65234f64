//! The shunt: an XDP program at the network driver that counts and drops the packets of settled flows, so that the kernel
//! and the workers have no work with them. Everything else goes up to the packet sockets as before. Where the machine needs the
//! packets, too, a filter of the packet sockets does the same for these alone.
//!
//! * In: interfaces, and from each worker the directions of flows of which it needs nothing more.
//! * Out: what was counted of each direction; packets and bytes that were shunted on each interface.
//! * Not here: which flows are settled (that is the worker's), and frames (those that go up come by the rings).
//!
//! `program` loads and attaches `xdp/shunt.c`, also for AF_XDP sockets without a shunt; `pinned` loads it for a sensor that may
//! not, and takes it there; `suited` says which interfaces it may have, `refusal` what the kernel refuses; `object` reads what
//! clang made of that, `bpf` has the calls of the kernel.
//! `table` is the half of the table that workers write, `packet` what the program reads in a frame, `grace` the wait before
//! a slot is used again, `memory` the memory shared with the program. `measure` runs the program on frames without an
//! interface.
//!
//! To load needs CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON; to attach needs the program. Afterwards nothing needs a system call but
//! the wait.

mod bpf;
mod grace;
pub mod measure;
mod memory;
mod object;
mod packet;
pub mod pinned;
pub(super) mod program;
mod refusal;
mod suited;
mod table;
#[cfg(test)]
mod tests;

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use self::grace::Grace;
use self::memory::SharedWords;
use self::packet::TagKey;
use self::program::{Attached, Program};
use self::table::Shared;
use crate::CaptureError;

pub use self::packet::Direction;
pub use self::program::{ProgramAccess, ProgramOptions, Purpose};
pub use self::table::{Counted, Freed, Inserted, Insertion, Opening, ShuntTable, table_bytes};

/// Interfaces that a shunt can have.
pub const INTERFACES_MAX: usize = 16;
/// Words of the counts of a processor on an interface: packets and bytes shunted, the epoch, packets for which there was no
/// AF_XDP socket.
const COUNTS_WORDS: usize = 8;
/// Which of them the workers write.
const EPOCH_WORD: usize = 2;

/// A shunt in use. It ends when this is dropped; then all packets go up.
#[derive(Debug)]
pub struct Shunt {
    program: Arc<Program>,
    shared: Arc<Shared>,
    counts: ShuntCounts,
}

/// What was shunted, to be read by any thread.
#[derive(Clone, Debug)]
pub struct ShuntCounts {
    shared: Arc<Shared>,
    counts: ProgramCounts,
}

/// What the program counted.
#[derive(Clone, Debug)]
pub(super) struct ProgramCounts {
    words: Arc<SharedWords>,
    interfaces: Arc<[Attached]>,
    processors: usize,
}

/// Packets and bytes on an interface, as its driver saw them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InterfaceShunt {
    /// Packets that were counted and dropped.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Packets that were to go to an AF_XDP socket, but came in a queue that has none.
    pub unclaimed_packets: u64,
}

/// How a sensor would come by the program.
///
/// # Errors
/// What keeps these interfaces from being shunted, as far as that can be known without attaching anything to them.
pub fn check(options: &ProgramOptions) -> Result<ProgramAccess, Vec<CaptureError>> {
    program::check(options)
}

impl Shunt {
    /// Loads the program, or takes the one that was loaded for this process ([`pinned`]), and attaches it to the interfaces that
    /// exist.
    ///
    /// # Errors
    /// The kernel, the driver of an interface or the rights of this process do not suffice.
    pub fn attach(options: &ProgramOptions) -> Result<Self, CaptureError> {
        let program = Arc::new(attach(options)?);
        let counts = ProgramCounts::of_program(&program)?;
        let shared = Shared::new(program.map_flows()?, Arc::clone(&counts.words), program.key(), Grace::default());
        let shared = Arc::new(shared);
        let counts = ShuntCounts { shared: Arc::clone(&shared), counts };
        Ok(Self { program, shared, counts })
    }

    pub(super) fn program(&self) -> Arc<Program> {
        Arc::clone(&self.program)
    }

    /// A worker's hold on the table.
    pub fn table(&self) -> ShuntTable {
        ShuntTable::new(Arc::clone(&self.shared))
    }

    /// What was shunted.
    pub fn counts(&self) -> ShuntCounts {
        self.counts.clone()
    }

    /// Interfaces whose packets are not shunted, because they did not exist.
    pub fn passed_over(&self) -> &[String] {
        self.program.passed_over()
    }

    /// Frees retired slots until `stop`; for a thread that is no worker.
    pub fn grace(&self) -> impl FnOnce(&AtomicBool) + Send + use<> {
        let shared = Arc::clone(&self.shared);
        move |stop| shared.grace.run(stop)
    }
}

/// Loads the program, or takes the one that was loaded for this process, and attaches it, with a shunt or without one.
pub(super) fn attach(options: &ProgramOptions) -> Result<Program, CaptureError> {
    Program::attach(options, &random_key())
}

fn random_key() -> TagKey {
    let random = RandomState::new();
    TagKey { low: random.hash_one(0_u64), high: random.hash_one(1_u64) }
}

impl ShuntCounts {
    /// The counts of an interface; none if its packets are not shunted.
    pub fn of(&self, interface: &str) -> Option<InterfaceShunt> {
        self.counts.of(interface)
    }

    /// Whether packets of the interface with this number are shunted. An interface that was made anew has another number.
    pub fn is_attached(&self, interface: &str, index: u32) -> bool {
        let interfaces = &self.counts.interfaces;
        interfaces.iter().any(|attached| attached.name == interface && attached.index == index)
    }

    /// Directions of flows in the table, retired ones too, and its slots.
    pub fn slots(&self) -> (u64, u64) {
        (self.shared.slots_in_use(), self.shared.slots())
    }
}

impl ProgramCounts {
    /// The counts of a program.
    ///
    /// # Errors
    /// They cannot be mapped.
    pub(super) fn of_program(program: &Program) -> Result<Self, CaptureError> {
        let words = Arc::new(program.map_counts()?);
        Ok(Self { words, interfaces: program.attached().into(), processors: program.processors() })
    }

    /// The counts of an interface; none if the program is not there.
    pub(super) fn of(&self, interface: &str) -> Option<InterfaceShunt> {
        let place = self.interfaces.iter().position(|attached| attached.name == interface)?;
        let bytes_of_interface = self.processors * COUNTS_WORDS;
        let words = self.words.words().get(place * bytes_of_interface..(place + 1) * bytes_of_interface)?;
        let mut sum = InterfaceShunt::default();
        for counts in words.chunks(COUNTS_WORDS) {
            if let [packets, bytes, _, unclaimed_packets, ..] = counts {
                sum.packets += packets.load(Ordering::Relaxed);
                sum.bytes += bytes.load(Ordering::Relaxed);
                sum.unclaimed_packets += unclaimed_packets.load(Ordering::Relaxed);
            }
        }
        Some(sum)
    }
}
