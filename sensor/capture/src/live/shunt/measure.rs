//! Runs the shunt's program on frames without an interface (`BPF_PROG_TEST_RUN`), and makes such frames: for tests, and to
//! measure what it costs.

use std::error::Error;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::bpf::{self, MAPPABLE, MapKind, MapSpec, ProgramKind};
use super::grace::Grace;
use super::packet::TagKey;
use super::program::{Constants, Loaded, load, possible_processors};
use super::table::{LINE_WORDS, Shared, lines_for};
use super::{COUNTS_WORDS, INTERFACES_MAX, ShuntTable};

/// The program for measurements, made from `xdp/shunt.c` too: each packet gets another source address.
static OBJECT: &[u8] = include_bytes!("../../../xdp/shunt_measure.o");
const ORDER: &str = "measure_order";
const LRU: &str = "measure_lru";
/// The kernel runs the program as if the frame came from the loopback, which is the first interface of a namespace.
pub(super) const INTERFACES: [u32; INTERFACES_MAX] = {
    let mut interfaces = [0; INTERFACES_MAX];
    interfaces[0] = 1;
    interfaces
};

/// Which table the program looks flows up in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Table {
    /// None: every packet is dropped.
    None = 0,
    /// The shunt's.
    Shunt = 1,
    /// The kernel's hash table.
    LruHash = 2,
}

/// An Ethernet header, which the kernel takes from the front of a frame on which it runs a filter of sockets.
const TAKEN_BYTES: usize = 14;
/// What a filter gives for a frame that it lets up.
const SNAP_BYTES: u32 = 65_535;
const DROPPED: u32 = 1;
const UP: u32 = 2;

/// A program, loaded and not attached.
pub struct Measure {
    loaded: Loaded,
    program: ProgramKind,
    shared: Arc<Shared>,
}

impl Measure {
    /// Loads the program as it is in use, with a table for so many flows.
    ///
    /// # Errors
    /// The kernel refuses the program.
    pub fn load(flows_max: usize) -> Result<Self, Box<dyn Error + Send + Sync>> {
        Self::load_for(ProgramKind::Xdp, flows_max, INTERFACES)
    }

    pub(super) fn load_for(
        program: ProgramKind,
        flows_max: usize,
        interfaces: [u32; INTERFACES_MAX],
    ) -> Result<Self, Box<dyn Error + Send + Sync>> {
        let snap_bytes = (program == ProgramKind::SocketFilter).then_some(SNAP_BYTES);
        let constants = Constants { interfaces, snap_bytes, ..constants(flows_max)? };
        Self::new(load(super::program::OBJECT, &constants, &[], &[])?, &constants)
    }

    /// Loads the program for measurements, with tables for so many flows. `sources` are the IPv4 source addresses of the packets
    /// of a run, one after the other; their number is a power of two.
    ///
    /// # Errors
    /// The kernel refuses the program.
    pub fn load_varied(table: Table, flows_max: usize, sources: &[u32]) -> Result<Self, Box<dyn Error + Send + Sync>> {
        let constants = constants(flows_max)?;
        let entries = sources.len().max(1) as u32;
        let more =
            [("table", (table as u32).to_ne_bytes().to_vec()), ("order_mask", (entries - 1).to_ne_bytes().to_vec())];
        let order =
            MapSpec { name: ORDER, kind: MapKind::Array, key_bytes: 4, value_bytes: 4, entries, flags: MAPPABLE };
        let lru = MapSpec {
            name: LRU,
            kind: MapKind::LruHash,
            key_bytes: 8,
            value_bytes: 8,
            entries: flows_max as u32,
            flags: 0,
        };
        let loaded = load(OBJECT, &constants, &more, &[order, lru])?;
        // An array map has elements of eight bytes at least: an address for each word.
        let order = loaded.map(ORDER, entries as usize)?;
        for (word, source) in order.words().iter().zip(sources) {
            word.store(u64::from(source.to_be()), Ordering::Relaxed);
        }
        Self::new(loaded, &constants)
    }

    fn new(loaded: Loaded, constants: &Constants) -> Result<Self, Box<dyn Error + Send + Sync>> {
        let flows = loaded.map("shunt_flows", constants.lines as usize * LINE_WORDS)?;
        let counts = loaded.map("shunt_counts", INTERFACES_MAX * constants.processors * COUNTS_WORDS)?;
        let shared = Arc::new(Shared::new(flows, Arc::new(counts), constants.key, Grace::default()));
        Ok(Self { loaded, program: constants.program(), shared })
    }

    /// A hold on the table.
    pub fn table(&self) -> ShuntTable {
        ShuntTable::new(Arc::clone(&self.shared))
    }

    /// Frees what was retired.
    pub fn pass_grace(&self) {
        self.shared.grace.round(|| ());
    }

    /// Puts directions into the kernel's hash table.
    ///
    /// # Errors
    /// The table refuses them.
    pub fn fill_lru(&mut self, hashes: impl Iterator<Item = u64>) -> Result<(), Box<dyn Error + Send + Sync>> {
        let (spec, map) = self.loaded.find(LRU)?;
        for hash in hashes {
            bpf::update(map.as_fd(), spec, &hash.to_ne_bytes(), &[0; 8])?;
        }
        Ok(())
    }

    /// Runs the program so often on a frame: its last verdict (1: dropped, 2: up), and nanoseconds of a run.
    ///
    /// # Errors
    /// The kernel does not run it.
    pub fn run(&mut self, frame: &[u8], repeat: u32) -> Result<(u32, u32), Box<dyn Error + Send + Sync>> {
        let program = self.loaded.program.as_fd();
        match self.program {
            ProgramKind::Xdp => Ok(bpf::test_run(program, frame, repeat)?),
            ProgramKind::SocketFilter => {
                let (bytes, time_ns) = bpf::test_run(program, &[&[0; TAKEN_BYTES], frame].concat(), repeat)?;
                Ok((if bytes == 0 { DROPPED } else { UP }, time_ns))
            }
        }
    }
}

fn constants(flows_max: usize) -> io::Result<Constants> {
    let key = TagKey { low: 0x0123_4567_89ab_cdef, high: 0xfedc_ba98_7654_3210 };
    let processors = possible_processors()?;
    let (lines, interfaces) = (lines_for(flows_max), INTERFACES);
    Ok(Constants { key, lines, processors, interfaces, shunts: true, sockets: None, snap_bytes: None })
}

/// A frame that the program may shunt if it has two tags of VLANs at most: TCP data, or a datagram of UDP, with a payload of
/// 65 000 bytes at most. It goes from port 40 000 of a host of 10.0.0.0/24 or 2001:db8::/120 to port 443.
pub fn ordinary_frame(vlans: &[u16], is_v6: bool, is_udp: bool, host: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![2; 12];
    for vlan in vlans {
        frame.extend([0x81, 0]);
        frame.extend(vlan.to_be_bytes());
    }
    let header_bytes = if is_udp { 8 } else { 20 };
    let length = (header_bytes + payload.len()) as u16;
    let protocol = if is_udp { 17 } else { 6 };
    if is_v6 {
        frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
        frame.extend(length.to_be_bytes());
        frame.extend([protocol, 64]);
        frame.extend([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, host]);
        frame.extend([0x20, 1, 0xd, 0xb8, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
    } else {
        frame.extend([8, 0, 0x45, 0]);
        frame.extend((20 + length).to_be_bytes());
        frame.extend([0, 0, 0x40, 0, 64, protocol, 0, 0, 10, 0, 0, host, 8, 8, 4, 4]);
    }
    frame.extend([0x9c, 0x40, 0x01, 0xbb]);
    if is_udp {
        frame.extend(length.to_be_bytes());
        frame.extend([0, 0]);
    } else {
        frame.extend([0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x10, 1, 0, 0, 0, 0, 0]);
    }
    frame.extend(payload);
    frame
}
