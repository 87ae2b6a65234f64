//! An interface and its rings, shared by all workers. Each time the interface appears, the rings of all workers are opened
//! together and in the same order; then every worker claims its own.
//!
//! Opening a packet socket needs CAP_NET_RAW, which is given up after the start; binding one does not. An interface that
//! goes down and comes up again needs neither: the kernel resumes its sockets by itself, in the order in which they were
//! opened, so the order of the workers in the fanout group stays the same. An interface that is deleted and created anew
//! has a new number, and a socket in a group cannot be bound to it. Therefore spare sockets are opened at the start. Each
//! new interface uses up one for each worker; a single worker has no group, and gets its spare back.
//!
//! **The fanout group.** The kernel chooses the worker by its place in the group. By default it does so with a program that takes
//! only the IP addresses ([`fanout_program`](super::fanout_program)), so both directions of a flow, all fragments of its packets
//! and whole tunnels come to one worker, whichever interface they use. With the kernel's own hash of addresses and ports, later
//! fragments are hashed by their addresses alone and may come to another worker than the rest of their flow, and the two
//! directions of VXLAN, GENEVE and GTP-U have different ports. Two options of the kernel are not used. It could reassemble
//! fragments before it hashes (PACKET_FANOUT_FLAG_DEFRAG); but then the frames would not be those on the wire, only IPv4 would be
//! served, and an attacker could exhaust the system's memory for fragments. It could give frames to another worker when a ring
//! is full (PACKET_FANOUT_FLAG_ROLLOVER); but that worker would not know their flows.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::sync::{Mutex, PoisonError};

use super::fanout_program::by_addresses;
use super::link::Link;
use super::program::{DROP_ALL, FilterPrograms};
use super::ring::Ring;
use super::system::{Device, PacketSocket, RingLayout};
use super::{Fanout, LiveOptions, Timestamps};
use crate::CaptureError;
use vigie_wire::LinkType;

/// An interface and what is needed to open it.
#[derive(Debug)]
pub(super) struct Tap {
    name: String,
    number: u16,
    layout: RingLayout,
    fanout: Fanout,
    timestamps: Timestamps,
    promiscuous: bool,
    workers: usize,
    shared: Mutex<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    /// How often the rings were opened.
    generation: u64,
    /// For each worker the rings that it has not claimed yet, with their generation.
    unclaimed: Vec<VecDeque<(u64, Ring)>>,
    spares: Vec<PacketSocket>,
}

impl Tap {
    /// An interface with nothing opened yet.
    pub(super) fn new(name: &str, number: u16, options: &LiveOptions, workers: usize) -> Self {
        let unclaimed = (0..workers).map(|_| VecDeque::new()).collect();
        Self {
            name: name.to_owned(),
            number,
            layout: options.layout(),
            fanout: options.fanout,
            timestamps: options.timestamps,
            promiscuous: options.promiscuous,
            workers,
            shared: Mutex::new(Shared { generation: 0, unclaimed, spares: Vec::new() }),
        }
    }

    /// Opens the rings of all workers.
    ///
    /// # Errors
    /// They cannot be opened.
    pub(super) fn open_first(&self, link: &Link, programs: &FilterPrograms) -> Result<(), CaptureError> {
        let shared = &mut *self.lock();
        self.open_rings(shared, link, programs)
    }

    /// Opens spare sockets for this many openings.
    ///
    /// # Errors
    /// Packet sockets are not permitted.
    pub(super) fn reserve(&self, openings: usize) -> Result<(), CaptureError> {
        let mut shared = self.lock();
        while shared.spares.len() < openings * self.workers {
            shared.spares.push(PacketSocket::open().map_err(|error| refused(&self.name, &error))?);
        }
        Ok(())
    }

    /// The spare sockets, and those of rings that were not claimed yet.
    pub(super) fn reserved(&self) -> Vec<RawFd> {
        let shared = self.lock();
        let unclaimed = shared.unclaimed.iter().flatten().map(|(_, ring)| ring.as_fd().as_raw_fd());
        unclaimed.chain(shared.spares.iter().map(|socket| socket.as_fd().as_raw_fd())).collect()
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// How often it can still be opened without privileges.
    pub(super) fn spares(&self) -> usize {
        self.lock().spares.len() / self.workers
    }

    /// Takes the rings of a worker that it does not have yet, oldest first. If there are none newer than `generation`, the
    /// worker's last, new ones are opened for all workers.
    ///
    /// # Errors
    /// They cannot be opened.
    pub(super) fn claim(
        &self,
        worker: usize,
        generation: u64,
        link: &Link,
        programs: &FilterPrograms,
    ) -> Result<VecDeque<(u64, Ring)>, CaptureError> {
        let shared = &mut *self.lock();
        if shared.generation <= generation {
            self.open_rings(shared, link, programs)?;
        }
        Ok(shared.unclaimed.get_mut(worker).map(std::mem::take).unwrap_or_default())
    }

    /// Takes back a ring whose interface is gone. Its socket becomes a spare if it is in no group.
    pub(super) fn give_back(&self, ring: Ring) {
        if self.workers == 1
            && let Ok(socket) = ring.into_socket()
        {
            self.lock().spares.push(socket);
        }
    }

    fn open_rings(&self, shared: &mut Shared, link: &Link, programs: &FilterPrograms) -> Result<(), CaptureError> {
        let rings = self.open(&mut shared.spares, link, programs)?;
        shared.generation += 1;
        for (unclaimed, ring) in shared.unclaimed.iter_mut().zip(rings) {
            unclaimed.push_back((shared.generation, ring));
        }
        Ok(())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens a ring for each worker.
    fn open(
        &self,
        spares: &mut Vec<PacketSocket>,
        link: &Link,
        programs: &FilterPrograms,
    ) -> Result<Vec<Ring>, CaptureError> {
        let failed = |error: &io::Error| refused(&self.name, error);
        let link_type = link.link_type().ok_or_else(|| unsupported(&self.name, link))?;
        let program = programs.program(link_type, link.is_loopback(), &[&self.name])?;
        if self.timestamps == Timestamps::Hardware {
            Device::new(&self.name)
                .and_then(|device| device.timestamp_all())
                .map_err(|error| no_hardware_timestamps(&self.name, &error))?;
        }
        let mut rings = Vec::with_capacity(self.workers);
        let made = self.prepare(&mut rings, spares, link_type);
        // Until all have joined the group, none lets a frame pass: several would see it.
        let joined = made.and_then(|()| self.bind(&rings, link)).and_then(|()| self.join(&rings));
        if let Err((error, may_be_reused)) = joined {
            if may_be_reused {
                spares.extend(rings.into_iter().filter_map(|ring| ring.into_socket().ok()));
            }
            return Err(failed(&error));
        }
        for ring in &rings {
            programs.attach(ring.socket(), program.as_deref()).map_err(|error| failed(&error))?;
        }
        Ok(rings)
    }

    /// Makes a ring for each worker, which receives nothing yet. The error tells whether the rings can be used again.
    fn prepare(
        &self,
        rings: &mut Vec<Ring>,
        spares: &mut Vec<PacketSocket>,
        link_type: LinkType,
    ) -> Result<(), (io::Error, bool)> {
        let reusable = |error| (error, true);
        while rings.len() < self.workers {
            // Spares go first: opening a socket without the right to may be fatal under a system call filter.
            let socket = match spares.pop() {
                Some(socket) => socket,
                None => PacketSocket::open().map_err(reusable)?,
            };
            socket.attach(&DROP_ALL).map_err(reusable)?;
            if self.timestamps == Timestamps::Hardware {
                socket.use_hardware_timestamps().map_err(reusable)?;
            }
            match Ring::new(socket, self.layout, self.number, link_type) {
                Ok(ring) => rings.push(ring),
                Err((socket, error)) => {
                    spares.push(socket);
                    return Err(reusable(error));
                }
            }
        }
        Ok(())
    }

    fn bind(&self, rings: &[Ring], link: &Link) -> Result<(), (io::Error, bool)> {
        for ring in rings {
            let bound = ring.socket().bind(link.index).and_then(|()| match self.promiscuous {
                true => ring.socket().set_promiscuous(link.index),
                false => Ok(()),
            });
            bound.map_err(|error| (error, true))?;
        }
        Ok(())
    }

    /// Makes the rings' sockets a fanout group, in the order of the workers. A single one needs none.
    fn join(&self, rings: &[Ring]) -> Result<(), (io::Error, bool)> {
        let [first, others @ ..] = rings else { return Ok(()) };
        if others.is_empty() {
            return Ok(());
        }
        let (mode, members) = (self.fanout.mode(), rings.len() as u32);
        let group = first.socket().create_group(mode, members).map_err(|error| (error, true))?;
        if self.fanout == Fanout::Addresses {
            first.socket().set_fanout_program(&by_addresses()).map_err(|error| (error, true))?;
        }
        others
            .iter()
            .try_for_each(|ring| ring.socket().join_group(group, mode, members))
            .map_err(|error| (error, false))
    }
}

/// The error for an interface that cannot be captured.
pub(super) fn refused(name: &str, error: &io::Error) -> CaptureError {
    let (reason, mend) = match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => (
            "no permission to open a packet socket".to_owned(),
            "start as root or with CAP_NET_RAW; if it was made anew more often than spare_sockets allows, restart the sensor",
        ),
        Some(libc::ENOMEM) => {
            ("no memory for the ring".to_owned(), "make ring_bytes_per_worker or block_bytes smaller")
        }
        Some(libc::EMFILE | libc::ENFILE) => {
            ("too many files are open".to_owned(), "raise LimitNOFILE, or make spare_sockets smaller")
        }
        Some(libc::ENODEV | libc::ENXIO) => ("it has gone".to_owned(), "see 'vigie interfaces'"),
        _ => (error.to_string(), "see 'vigie interfaces'"),
    };
    CaptureError::Interface { interface: name.to_owned(), reason, mend: mend.to_owned() }
}

pub(super) fn unsupported(name: &str, link: &Link) -> CaptureError {
    CaptureError::Interface {
        interface: name.to_owned(),
        reason: format!("its link type ({}) is not supported", link.kind()),
        mend: "listen on the interface that carries it".to_owned(),
    }
}

fn no_hardware_timestamps(name: &str, error: &io::Error) -> CaptureError {
    let (reason, mend) = match error.raw_os_error() {
        Some(libc::EPERM) => (
            "hardware timestamps are not switched on, and may not be".to_owned(),
            format!("start with CAP_NET_ADMIN, or run 'hwstamp_ctl -i {name} -r 1' beforehand"),
        ),
        Some(libc::EOPNOTSUPP | libc::EINVAL | libc::ERANGE) => (
            "it cannot give every frame a hardware timestamp".to_owned(),
            "set timestamps = \"kernel\"; 'ethtool -T' tells what a card can do".to_owned(),
        ),
        _ => (format!("hardware timestamps: {error}"), "set timestamps = \"kernel\"".to_owned()),
    };
    CaptureError::Interface { interface: name.to_owned(), reason, mend }
}
