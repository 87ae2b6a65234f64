//! Runs the shunt's program on frames without an interface (`BPF_PROG_TEST_RUN`): for tests, and to measure what it costs.
#![allow(unsafe_code)]

use std::error::Error;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use aya::Ebpf;

use super::grace::Grace;
use super::packet::TagKey;
use super::program::{Constants, LINE_WORDS, load, map, xdp};
use super::table::{Shared, lines_for};
use super::{COUNTS_WORDS, INTERFACES_MAX, ShuntTable};

/// The program for measurements, made from `xdp/shunt.c` too: each packet gets another source address.
static OBJECT: &[u8] = aya::include_bytes_aligned!("../../../xdp/shunt_measure.o");
const ORDER: &str = "measure_order";
const LRU: &str = "measure_lru";
/// The kernel runs the program as if the frame came from the loopback, which is the first interface of a namespace.
const INTERFACES: [u32; INTERFACES_MAX] = {
    let mut interfaces = [0; INTERFACES_MAX];
    interfaces[0] = 1;
    interfaces
};
const PROG_TEST_RUN: libc::c_long = 10;

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

/// The program, loaded and not attached.
pub struct Measure {
    ebpf: Ebpf,
    shared: Arc<Shared>,
}

/// The arguments of `BPF_PROG_TEST_RUN` (`union bpf_attr`, linux/bpf.h).
#[repr(C)]
#[derive(Default)]
struct TestRun {
    program: u32,
    retval: u32,
    data_size_in: u32,
    data_size_out: u32,
    data_in: u64,
    data_out: u64,
    repeat: u32,
    duration_ns: u32,
    rest: [u64; 8],
}

impl Measure {
    /// Loads the program as it is in use, with a table for so many flows.
    ///
    /// # Errors
    /// The kernel refuses the program.
    pub fn load(flows_max: usize) -> Result<Self, Box<dyn Error + Send + Sync>> {
        let constants = constants(flows_max)?;
        Self::new(load(super::program::OBJECT, &constants, |_| ())?, &constants)
    }

    /// Loads the program for measurements, with tables for so many flows. `sources` are the IPv4 source addresses of the packets
    /// of a run, one after the other; their number is a power of two.
    ///
    /// # Errors
    /// The kernel refuses the program.
    pub fn load_varied(table: Table, flows_max: usize, sources: &[u32]) -> Result<Self, Box<dyn Error + Send + Sync>> {
        let constants = constants(flows_max)?;
        let (which, order) = (table as u32, sources.len().max(1) as u32);
        let ebpf = load(OBJECT, &constants, |loader| {
            // Leaked: a loader borrows its constants for as long as it lives, and a measurement loads few.
            let (which, order_mask) = (Box::leak(Box::new(which)), Box::leak(Box::new(order - 1)));
            loader.override_global("table", &*which, true).override_global("order_mask", &*order_mask, true);
            loader.map_max_entries(ORDER, order).map_max_entries(LRU, flows_max as u32);
        })?;
        // An array map has elements of eight bytes at least: an address for each word.
        let order = map(&ebpf, ORDER, sources.len().max(1))?;
        for (word, source) in order.words().iter().zip(sources) {
            word.store(u64::from(source.to_be()), Ordering::Relaxed);
        }
        Self::new(ebpf, &constants)
    }

    fn new(mut ebpf: Ebpf, constants: &Constants) -> Result<Self, Box<dyn Error + Send + Sync>> {
        xdp(&mut ebpf)?.load()?;
        let flows = map(&ebpf, "shunt_flows", constants.lines as usize * LINE_WORDS)?;
        let counts = map(&ebpf, "shunt_counts", INTERFACES_MAX * constants.processors * COUNTS_WORDS)?;
        let shared = Arc::new(Shared::new(flows, Arc::new(counts), constants.key, Grace::default()));
        Ok(Self { ebpf, shared })
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
        let map = self.ebpf.map_mut(LRU).ok_or("no such map")?;
        let mut map: aya::maps::HashMap<_, u64, u64> = map.try_into()?;
        for hash in hashes {
            map.insert(hash, 0, 0)?;
        }
        Ok(())
    }

    /// Runs the program so often on a frame: its last verdict (1: dropped, 2: goes up), and nanoseconds of a run.
    ///
    /// # Errors
    /// The kernel does not run it.
    pub fn run(&mut self, frame: &[u8], repeat: u32) -> Result<(u32, u32), Box<dyn Error + Send + Sync>> {
        let program = xdp(&mut self.ebpf)?;
        let mut arguments = TestRun {
            program: program.fd()?.as_fd().as_raw_fd() as u32,
            data_size_in: frame.len() as u32,
            data_in: frame.as_ptr() as u64,
            repeat,
            ..TestRun::default()
        };
        // SAFETY: the arguments have the layout that the kernel expects and outlive the call; `data_in` and its length are the
        // frame's, which the kernel only reads. No output is asked for.
        let outcome = unsafe { libc::syscall(libc::SYS_bpf, PROG_TEST_RUN, &raw mut arguments, size_of::<TestRun>()) };
        match outcome {
            0 => Ok((arguments.retval, arguments.duration_ns)),
            _ => Err(io::Error::last_os_error().into()),
        }
    }
}

fn constants(flows_max: usize) -> io::Result<Constants> {
    let key = TagKey { low: 0x0123_4567_89ab_cdef, high: 0xfedc_ba98_7654_3210 };
    let processors = aya::util::nr_cpus().map_err(|(_, error)| error)?;
    Ok(Constants { key, lines: lines_for(flows_max), processors, interfaces: INTERFACES })
}
