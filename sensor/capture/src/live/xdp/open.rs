//! Opens the queues of all workers: checks the interfaces, loads the program, binds a socket to each queue.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Instant;

use super::super::link::{Link, Links};
use super::super::rings::not_there;
use super::super::shunt::program::{self, Attached, Program, Purpose};
use super::super::shunt::{ProgramAccess, ProgramCounts, ProgramOptions, Shunt, attach};
use super::super::system::{PacketSocket, XskSocket};
use super::super::tap::refused;
use super::super::{Changes, InterfaceCounts, LiveOptions};
use super::queue::{Queue, QueueOptions, Step, chunk_bytes_for, frame_bytes_max};
use super::{Sockets, Tap};
use crate::CaptureError;

/// The link-layer header of a frame, with two VLAN tags.
const LINK_BYTES: u32 = 22;
/// Chunks of a queue at least: as many frames as a driver hands over at once.
const CHUNKS_MIN: usize = 64;

/// How a sensor would come by the program.
///
/// # Errors
/// What keeps these interfaces from being captured by AF_XDP, as far as that can be known without attaching anything to them.
pub fn check(options: &ProgramOptions) -> Result<ProgramAccess, Vec<CaptureError>> {
    let first = options.interfaces.first().map_or("", String::as_str);
    let socket = XskSocket::open().map_err(|error| not_opened(first, Step::Socket, &error));
    match (program::check(options), socket) {
        (access, Ok(_)) => access,
        (access, Err(error)) => Err(access.err().into_iter().flatten().chain([error]).collect()),
    }
}

/// What all workers have.
struct Shared {
    program: Arc<Program>,
    promiscuous: Arc<Vec<PacketSocket>>,
    dropped: Arc<[AtomicU64]>,
    program_counts: ProgramCounts,
}

/// A queue for its worker.
struct Opened {
    worker: usize,
    queue: Queue,
}

impl Sockets {
    /// Opens the queues of all workers. The program is that of the shunt, if there is one.
    ///
    /// # Errors
    /// An interface is missing or cannot be captured, or the kernel, its driver or the rights of this process do not suffice.
    pub(in super::super) fn open(
        options: &LiveOptions,
        workers: usize,
        shunt: Option<&Shunt>,
    ) -> Result<Vec<Self>, CaptureError> {
        let program = match shunt {
            Some(shunt) => shunt.program(),
            None => Arc::new(attach(&ProgramOptions::for_sockets(options.interfaces.clone()))?),
        };
        if let Some(name) = program.passed_over().first() {
            return Err(missing(name));
        }
        let mut opened = Vec::new();
        let (mut taps, mut promiscuous) = (Vec::new(), Vec::new());
        for (place, attached) in program.attached().iter().enumerate() {
            let before = opened.len();
            let link = open_queues(options, workers, &program, (place, attached), &mut opened)?;
            taps.push(Tap {
                index: attached.index,
                how: how(&program, (place, attached), opened.get(before..).unwrap_or_default(), workers, link.mtu),
                is_unstamped: false,
                unclaimed_before: 0,
                unclaimed: 0,
                link_dropped_before: link.dropped,
                link: None,
            });
            if options.promiscuous {
                let socket =
                    PacketSocket::open().and_then(|socket| socket.set_promiscuous(attached.index).map(|()| socket));
                promiscuous.push(socket.map_err(|error| refused(&attached.name, &error))?);
            }
        }
        let counts = ProgramCounts::of_program(&program)?;
        for (tap, attached) in taps.iter_mut().zip(program.attached()) {
            tap.unclaimed_before = counts.of(&attached.name).map_or(0, |seen| seen.unclaimed_packets);
        }
        let shared = Shared {
            program,
            promiscuous: Arc::new(promiscuous),
            dropped: taps.iter().map(|_| AtomicU64::new(0)).collect(),
            program_counts: counts,
        };
        let mut workers: Vec<Self> =
            (0..workers).map(|worker| Self::new(options, worker, &shared, taps.clone())).collect::<Result<_, _>>()?;
        for Opened { worker, queue } in opened {
            if let Some(sockets) = workers.get_mut(worker) {
                sockets.queues.push(queue);
            }
        }
        workers.iter_mut().for_each(|sockets| sockets.check_interfaces(true));
        Ok(workers)
    }

    fn new(options: &LiveOptions, worker: usize, shared: &Shared, taps: Vec<Tap>) -> Result<Self, CaptureError> {
        let Shared { program, promiscuous, dropped, program_counts } = shared;
        let first = options.interfaces.first().map_or("", String::as_str);
        let counts = options.interfaces.iter();
        let now = Instant::now();
        Ok(Self {
            _program: Arc::clone(program),
            promiscuous: Arc::clone(promiscuous),
            worker,
            queues: Vec::new(),
            taps,
            counts: counts.map(|name| InterfaceCounts { name: name.clone(), ..Default::default() }).collect(),
            changes: Changes::default(),
            links: Links::open().map_err(|error| refused(first, &error))?,
            poll_entries: Vec::new(),
            program_counts: program_counts.clone(),
            dropped: Arc::clone(dropped),
            shunt: None,
            checked: now,
            state_asked: now,
            frames: 0,
            captured_bytes: 0,
            wait_ms: options.wait_ms,
        })
    }
}

/// Opens the queues of an interface. The link as it was before comes back.
fn open_queues(
    options: &LiveOptions,
    workers: usize,
    program: &Program,
    (place, attached): (usize, &Attached),
    opened: &mut Vec<Opened>,
) -> Result<Link, CaptureError> {
    let name = &attached.name;
    let link = Links::open().and_then(|mut links| links.find(name)).map_err(|error| refused(name, &error))?;
    let link = link.unwrap_or_default();
    let chunk_bytes = chunk_bytes_for(link.mtu.saturating_add(LINK_BYTES));
    for queue in 0..attached.queues {
        let worker = queue as usize % workers;
        let of_queue = QueueOptions {
            index: attached.index,
            queue,
            interface: place as u16,
            chunks: chunks(options.ring_bytes_per_worker, queues_of(worker, attached.queues, workers), chunk_bytes),
            chunk_bytes,
            copied: !program.is_native(place),
            snap_bytes: options.snap_bytes,
            stamp_mark: program.stamp_mark().unwrap_or_default(),
        };
        let queue = Queue::open(&of_queue).map_err(|(step, error)| not_opened(name, step, &error))?;
        program.hand_to(queue.as_fd(), place, of_queue.queue).map_err(|error| not_opened(name, Step::Bind, &error))?;
        opened.push(Opened { worker, queue });
    }
    Ok(link)
}

/// How many of so many queues a worker has.
const fn queues_of(worker: usize, queues: u32, workers: usize) -> usize {
    (queues as usize).saturating_sub(worker).div_ceil(workers)
}

/// Chunks of a queue, if a worker has so many bytes for so many queues: a power of two.
fn chunks(bytes: usize, queues: usize, chunk_bytes: u32) -> u32 {
    let most = (bytes / queues.max(1) / chunk_bytes as usize).max(CHUNKS_MIN);
    1 << most.ilog2()
}

/// How an interface is captured, in words.
fn how(
    program: &Program,
    (place, attached): (usize, &Attached),
    opened: &[Opened],
    workers: usize,
    mtu: u32,
) -> String {
    let is_zero_copy = !opened.is_empty() && opened.iter().all(|opened| opened.queue.is_zero_copy());
    let has_huge_pages = opened.iter().any(|opened| opened.queue.has_huge_pages());
    let mut how = format!(
        "AF_XDP, {}, {}, {}, {} queue{}",
        if program.is_native(place) {
            "in the driver"
        } else {
            "in the kernel's generic mode since its driver has no XDP"
        },
        if is_zero_copy { "zero-copy" } else { "frames are copied" },
        if has_huge_pages { "huge pages" } else { "pages of 4 KiB" },
        attached.queues,
        if attached.queues == 1 { "" } else { "s" },
    );
    let queues = attached.queues as usize;
    if queues < workers {
        let name = &attached.name;
        how += &format!(
            ", so {} of {workers} workers get nothing from it; set capture.workers = {queues}, or 'ethtool -L {name} \
             combined {workers}'",
            workers - queues
        );
    }
    let longest = frame_bytes_max(chunk_bytes_for(u32::MAX));
    if mtu.saturating_add(LINK_BYTES) > longest {
        how += &format!("; frames of more than {longest} bytes are dropped and counted, and its MTU is {mtu}");
    }
    how
}

/// The error of an interface that does not exist.
pub(super) fn missing(name: &str) -> CaptureError {
    let mend = "'vigie interfaces' lists them; capture.backend = \"xdp\" cannot wait for one".to_owned();
    not_there(name, "there is no such interface", mend)
}

fn not_opened(name: &str, step: Step, error: &io::Error) -> CaptureError {
    let ring = format!("{} and run 'systemctl restart vigie'", Purpose::Sockets.otherwise());
    let (reason, mend) = match (step, error.raw_os_error()) {
        (_, Some(libc::EPERM | libc::EACCES)) => (
            "no permission to open an AF_XDP socket".to_owned(),
            format!("start as root, or with CAP_NET_RAW where vigie-xdp.service has loaded the program, or {ring}"),
        ),
        // systemd answers so too.
        (Step::Socket, Some(libc::EAFNOSUPPORT)) => (
            "this kernel has no AF_XDP sockets (CONFIG_XDP_SOCKETS), or the unit does not allow them".to_owned(),
            format!("add AF_XDP to RestrictAddressFamilies= of the unit, if it is not there, or {ring}"),
        ),
        (Step::Memory, Some(libc::ENOBUFS)) => (
            "the limit of locked memory does not allow its rings".to_owned(),
            format!(
                "set LimitMEMLOCK=infinity in the unit ('ulimit -l unlimited' in a shell), or make capture.ring_bytes \
                 smaller, or {ring}"
            ),
        ),
        (Step::Memory, Some(libc::ENOMEM)) => {
            ("no memory for its rings".to_owned(), format!("make capture.ring_bytes smaller, or {ring}"))
        }
        (Step::Bind, Some(libc::EBUSY)) => (
            "another program has an AF_XDP socket on one of its queues".to_owned(),
            format!("end that program, or {ring}"),
        ),
        (Step::Bind, Some(libc::ENETDOWN)) => {
            ("it is down".to_owned(), format!("run 'ip link set {name} up', or {ring}"))
        }
        (_, Some(libc::ENODEV | libc::ENXIO)) => ("it has gone".to_owned(), "see 'vigie interfaces'".to_owned()),
        _ => (format!("AF_XDP: {error}"), ring),
    };
    CaptureError::Interface { interface: name.to_owned(), reason, mend }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_divided_among_the_queues_of_a_worker() {
        assert_eq!([0, 1, 2].map(|worker| queues_of(worker, 7, 3)), [3, 2, 2]);
        assert_eq!([0, 1, 2].map(|worker| queues_of(worker, 1, 3)), [1, 0, 0]);
        assert_eq!(
            [(64 << 20, 1), (64 << 20, 3), (8_192, 1)].map(|(bytes, queues)| chunks(bytes, queues, 2_048)),
            [32_768, 8_192, 64]
        );
        assert_eq!(chunks((64 << 20) - 1, 1, 2_048), 16_384);
    }

    #[test]
    fn a_chunk_has_room_for_frames_of_the_mtu() {
        assert_eq!([1_522, 1_792, 1_793, 9_022].map(chunk_bytes_for), [2_048, 2_048, 4_096, 4_096]);
        assert_eq!(frame_bytes_max(4_096), 3_840);
    }
}
