//! An interface as all workers share it: its rings are opened for all of them together and in the same order, each
//! time it appears, and every worker fetches its own.
//!
//! Opening a packet socket needs CAP_NET_RAW, which is given up after the start; binding one does not. An interface
//! that goes down and comes up again needs neither: the kernel takes its sockets in again by itself, in the order in
//! which they were opened, so that the group of workers stays in order too. One that is deleted and made again has a new
//! number, to which no socket of a group can be bound. So spare sockets are opened at the start. Each time the interface
//! is made anew, one for each worker is spent; a worker that is alone has no group, and gets its spare back.
//!
//! **The group.** The kernel's symmetric hash of addresses and ports chooses the worker by its place in the group, so
//! both directions of a flow, on whichever interface, come to the same worker. All fragments of a datagram come to one
//! worker too: they are hashed by their addresses alone. The kernel could join fragments before it hashes
//! (PACKET_FANOUT_FLAG_DEFRAG); it is not asked to, since frames would then be others than those on the wire, and not
//! as many, only IPv4 would be served, and an attacker could exhaust the system's memory for fragments. Nor do frames
//! go to another worker if a ring is full (PACKET_FANOUT_FLAG_ROLLOVER): that worker would not know their flows. VXLAN,
//! GENEVE and GTP-U are hashed by their outer ports, which differ by direction: tunnels want one worker.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::sync::{Mutex, PoisonError};

use super::link::Link;
use super::program::{NOTHING, Programs};
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
    /// How often rings were opened.
    generation: u64,
    /// Rings that their worker has not fetched yet, with their generation.
    parked: Vec<VecDeque<(u64, Ring)>>,
    spares: Vec<PacketSocket>,
}

impl Tap {
    /// An interface of which nothing is opened yet.
    pub(super) fn new(name: &str, number: u16, options: &LiveOptions, workers: usize) -> Self {
        let parked = (0..workers).map(|_| VecDeque::new()).collect();
        Self {
            name: name.to_owned(),
            number,
            layout: options.layout(),
            fanout: options.fanout,
            timestamps: options.timestamps,
            promiscuous: options.promiscuous,
            workers,
            shared: Mutex::new(Shared { generation: 0, parked, spares: Vec::new() }),
        }
    }

    /// Opens the rings of all workers, for each to be fetched.
    ///
    /// # Errors
    /// They cannot be opened.
    pub(super) fn open_first(&self, link: &Link, programs: &Programs) -> Result<(), CaptureError> {
        let shared = &mut *self.lock();
        self.park(shared, link, programs)
    }

    /// Lays in sockets for so many openings.
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

    /// The sockets in reserve, and those of rings that their worker has not fetched yet.
    pub(super) fn reserved(&self) -> Vec<RawFd> {
        let shared = self.lock();
        let parked = shared.parked.iter().flatten().map(|(_, ring)| ring.as_fd().as_raw_fd());
        parked.chain(shared.spares.iter().map(|socket| socket.as_fd().as_raw_fd())).collect()
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// How often it could be opened once more.
    pub(super) fn spares(&self) -> usize {
        self.lock().spares.len() / self.workers
    }

    /// The rings of a worker that it does not have yet, oldest first. If there are none newer than `generation`, which
    /// it has and which is dead, they are opened for all workers.
    ///
    /// # Errors
    /// They cannot be opened.
    pub(super) fn fetch(
        &self,
        worker: usize,
        generation: u64,
        link: &Link,
        programs: &Programs,
    ) -> Result<VecDeque<(u64, Ring)>, CaptureError> {
        let shared = &mut *self.lock();
        if shared.generation <= generation {
            self.park(shared, link, programs)?;
        }
        Ok(shared.parked.get_mut(worker).map(std::mem::take).unwrap_or_default())
    }

    /// Takes a dead ring back, to use its socket again if it is in no group.
    pub(super) fn give_back(&self, ring: Ring) {
        if self.workers == 1
            && let Ok(socket) = ring.into_socket()
        {
            self.lock().spares.push(socket);
        }
    }

    fn park(&self, shared: &mut Shared, link: &Link, programs: &Programs) -> Result<(), CaptureError> {
        let rings = self.open(&mut shared.spares, link, programs)?;
        shared.generation += 1;
        for (parked, ring) in shared.parked.iter_mut().zip(rings) {
            parked.push_back((shared.generation, ring));
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
        programs: &Programs,
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
        // Until all are in their places, none lets anything pass: a frame would be seen by several.
        let joined = made.and_then(|()| self.bind(&rings, link)).and_then(|()| self.join(&rings));
        if let Err((error, may_be_reused)) = joined {
            if may_be_reused {
                spares.extend(rings.into_iter().filter_map(|ring| ring.into_socket().ok()));
            }
            return Err(failed(&error));
        }
        for ring in &rings {
            match &program {
                Some(program) => ring.socket().attach(program),
                None => ring.socket().detach(),
            }
            .map_err(|error| failed(&error))?;
        }
        Ok(rings)
    }

    /// Makes a ring for each worker. It receives nothing yet. The error tells whether the rings may be used again.
    fn prepare(
        &self,
        rings: &mut Vec<Ring>,
        spares: &mut Vec<PacketSocket>,
        link_type: LinkType,
    ) -> Result<(), (io::Error, bool)> {
        let reusable = |error| (error, true);
        while rings.len() < self.workers {
            // Asking for a new one when it is not permitted may be the end under a system call filter.
            let socket = match spares.pop() {
                Some(socket) => socket,
                None => PacketSocket::open().map_err(reusable)?,
            };
            socket.attach(&NOTHING).map_err(reusable)?;
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
                true => ring.socket().be_promiscuous(link.index),
                false => Ok(()),
            });
            bound.map_err(|error| (error, true))?;
        }
        Ok(())
    }

    /// Makes the rings' sockets a group, in the order of the workers. One alone needs none.
    fn join(&self, rings: &[Ring]) -> Result<(), (io::Error, bool)> {
        let [first, others @ ..] = rings else { return Ok(()) };
        if others.is_empty() {
            return Ok(());
        }
        let (mode, members) = (self.fanout.mode(), rings.len() as u32);
        let group = first.socket().found_group(mode, members).map_err(|error| (error, true))?;
        others
            .iter()
            .try_for_each(|ring| ring.socket().join_group(group, mode, members))
            .map_err(|error| (error, false))
    }
}

/// The interface cannot be listened to, and what would mend it.
pub(super) fn refused(name: &str, error: &io::Error) -> CaptureError {
    let (reason, mend) = match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => (
            "no permission to open a packet socket".to_owned(),
            "start as root or with CAP_NET_RAW; later, when an interface was made anew too often, restart",
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
