//! The portable backend: libpcap. It has one worker. Frames are copied, since libpcap shows them one at a time, and merged
//! by time batch by batch. libpcap puts VLAN tags back by itself. An interface that was deleted, or that libpcap gave up, is
//! opened again only while that is permitted.

use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::time::{Duration, Instant};

use ::pcap::{Active, Capture, Precision};
use arrayvec::ArrayVec;

use super::link::{CHECK_EVERY, Link, Links};
use super::system::{PollEntry, poll};
use super::tap::{refused, unsupported};
use super::{Changes, InterfaceCounts, LiveOptions, State};
use crate::{BATCH_FRAMES_MAX, CaptureError, SourceStatistics};
use vigie_wire::{Frame, LinkType};

/// Bytes of the arena at the start; it grows to what a batch needs.
const ARENA_BYTES: usize = BATCH_FRAMES_MAX * 2048;

/// All interfaces, opened by libpcap.
pub(super) struct Libpcap {
    options: LiveOptions,
    handles: Vec<Handle>,
    counts: Vec<InterfaceCounts>,
    changes: Changes,
    links: Links,
    checked: Instant,
    arena: Vec<u8>,
    frames: u64,
    captured_bytes: u64,
}

#[derive(Default)]
struct Handle {
    open: Option<OpenCapture>,
    /// The number of the link that was opened last.
    index: u32,
    openings: u64,
}

struct OpenCapture {
    capture: Capture<Active>,
    link_type: LinkType,
    received: u32,
    dropped: u32,
    interface_dropped: u32,
}

/// A frame that was copied into the arena.
struct CopiedFrame {
    timestamp_ns: u64,
    wire_length: u32,
    interface: u16,
    link_type: LinkType,
    start: usize,
    length: usize,
}

impl Libpcap {
    pub(super) fn open(options: &LiveOptions) -> Result<Self, CaptureError> {
        let first = options.interfaces.first().map(String::as_str).unwrap_or_default();
        let counts = options.interfaces.iter().map(|name| InterfaceCounts { name: name.clone(), ..Default::default() });
        let mut libpcap = Self {
            options: options.clone(),
            handles: options.interfaces.iter().map(|_| Handle::default()).collect(),
            counts: counts.collect(),
            changes: Changes::default(),
            links: Links::open().map_err(|error| refused(first, &error))?,
            checked: Instant::now(),
            arena: Vec::with_capacity(ARENA_BYTES),
            frames: 0,
            captured_bytes: 0,
        };
        for place in 0..options.interfaces.len() {
            libpcap.check_interface(place)?;
        }
        if let Some(counts) = libpcap.counts.iter().find(|counts| matches!(counts.state, State::Missing | State::Down))
            && !options.wait_for_interfaces
        {
            return Err(CaptureError::Interface {
                interface: counts.name.clone(),
                reason: format!("it is {}", counts.state.as_str()),
                mend: "'vigie interfaces' lists them".to_owned(),
            });
        }
        Ok(libpcap)
    }

    /// The sockets of the interfaces that are open.
    pub(super) fn descriptors(&self) -> Vec<RawFd> {
        let open = self.handles.iter().filter_map(|handle| handle.open.as_ref());
        open.map(|open| open.capture.as_fd().as_raw_fd()).collect()
    }

    pub(super) fn counts(&self) -> &[InterfaceCounts] {
        &self.counts
    }

    pub(super) fn changes(&mut self) -> &mut Changes {
        &mut self.changes
    }

    pub(super) fn statistics(&self) -> SourceStatistics {
        SourceStatistics { frames: self.frames, bytes: self.captured_bytes, ..SourceStatistics::default() }
    }

    pub(super) fn next_batch(&mut self, visit: &mut dyn FnMut(&[Frame<'_>])) {
        if self.checked.elapsed() >= CHECK_EVERY {
            self.check_interfaces();
        }
        if !self.visit_ready(visit) {
            self.wait();
            self.visit_ready(visit);
        }
    }

    /// Asks for the states of the interfaces, opens those that have appeared, and asks libpcap for its counts.
    pub(super) fn check_interfaces(&mut self) {
        self.checked = Instant::now();
        self.links.changed();
        for place in 0..self.handles.len() {
            if let Err(error) = self.check_interface(place)
                && let Some(counts) = self.counts.get_mut(place)
            {
                let why = match error {
                    CaptureError::Interface { reason, mend, .. } => format!("{reason}; {mend}"),
                    other => other.to_string(),
                };
                self.changes.update(place, counts, State::Refused, &why);
            }
        }
    }

    fn check_interface(&mut self, place: usize) -> Result<(), CaptureError> {
        let (Some(handle), Some(counts)) = (self.handles.get_mut(place), self.counts.get_mut(place)) else {
            return Ok(());
        };
        let link = self.links.find(&counts.name).map_err(|error| refused(&counts.name, &error))?;
        count_drops(handle, counts);
        if link.as_ref().is_none_or(|link| link.index != handle.index) {
            handle.open = None;
        }
        let Some(link) = link else {
            self.changes.update(place, counts, State::Missing, "");
            return Ok(());
        };
        if handle.open.is_none() && link.is_up() {
            handle.open = Some(open(&counts.name, &link, &self.options)?);
            handle.index = link.index;
            handle.openings += 1;
            counts.reopened = handle.openings - 1;
        }
        let state = match (link.is_up(), link.has_carrier()) {
            (false, _) => State::Down,
            (true, false) => State::NoCarrier,
            (true, true) => State::Up,
        };
        self.changes.update(place, counts, state, "");
        Ok(())
    }

    fn visit_ready(&mut self, visit: &mut dyn FnMut(&[Frame<'_>])) -> bool {
        let mut copied: ArrayVec<CopiedFrame, BATCH_FRAMES_MAX> = ArrayVec::new();
        self.arena.clear();
        let share = (BATCH_FRAMES_MAX / self.handles.len().max(1)).max(1);
        for (place, (handle, counts)) in self.handles.iter_mut().zip(&mut self.counts).enumerate() {
            let until = (copied.len() + share).min(BATCH_FRAMES_MAX);
            while copied.len() < until
                && let Some(open) = &mut handle.open
            {
                match open.capture.next_packet() {
                    Ok(packet) => copied.push(copy(&mut self.arena, &packet, place, open.link_type)),
                    Err(::pcap::Error::TimeoutExpired | ::pcap::Error::NoMorePackets) => break,
                    Err(_) => {
                        // The interface went down or away. It is opened again once it is up.
                        count_drops(handle, counts);
                        handle.open = None;
                    }
                }
            }
        }
        // Frames of equal time are sorted by their place in the arena, so each interface's frames stay in their order.
        copied.sort_unstable_by_key(|frame| (frame.timestamp_ns, frame.start));
        let mut batch: ArrayVec<Frame<'_>, BATCH_FRAMES_MAX> = ArrayVec::new();
        for frame in &copied {
            let data = self.arena.get(frame.start..frame.start + frame.length).unwrap_or_default();
            if let Some(counts) = self.counts.get_mut(usize::from(frame.interface)) {
                counts.frames += 1;
                counts.bytes += u64::from(frame.wire_length);
                counts.truncated += u64::from(frame.length < frame.wire_length as usize);
            }
            self.frames += 1;
            self.captured_bytes += frame.length as u64;
            batch.push(Frame {
                timestamp_ns: frame.timestamp_ns,
                number: self.frames,
                wire_length: frame.wire_length,
                link_type: frame.link_type,
                interface: frame.interface,
                data,
            });
        }
        if !batch.is_empty() {
            visit(&batch);
        }
        !batch.is_empty()
    }

    /// Waits for frames. libpcap's own wait would not end without one, so it is set not to wait.
    fn wait(&mut self) {
        let mut entries: ArrayVec<PollEntry, 64> = ArrayVec::new();
        entries.push(PollEntry::readable(Some(self.links.changes())));
        for handle in &self.handles {
            let descriptor = handle.open.as_ref().map(|open| open.capture.as_fd());
            if entries.try_push(PollEntry::readable(descriptor)).is_err() {
                break;
            }
        }
        if poll(&mut entries, self.options.wait_ms).is_err() {
            std::thread::sleep(Duration::from_millis(1));
        }
        if entries.first().is_some_and(PollEntry::is_readable) {
            self.check_interfaces();
        }
    }
}

impl std::fmt::Debug for Libpcap {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Libpcap").field("counts", &self.counts).finish_non_exhaustive()
    }
}

fn open(name: &str, link: &Link, options: &LiveOptions) -> Result<OpenCapture, CaptureError> {
    let link_type = link.link_type().ok_or_else(|| unsupported(name, link))?;
    let failed = |error: ::pcap::Error| {
        let text = match error {
            ::pcap::Error::PcapError(text) => text,
            other => other.to_string(),
        };
        // libpcap reports a lack of permission only in words.
        match text.contains("permission") || text.contains("Operation not permitted") {
            true => refused(name, &io::Error::from_raw_os_error(libc::EPERM)),
            false => refused(name, &io::Error::other(text)),
        }
    };
    let mut capture = Capture::from_device(name)
        .map_err(failed)?
        .promisc(options.promiscuous)
        .snaplen(options.snap_bytes as i32)
        .buffer_size(options.ring_bytes_per_worker as i32)
        .timeout(options.block_timeout_ms as i32)
        .precision(Precision::Nano)
        .open()
        .map_err(failed)?
        .setnonblock()
        .map_err(failed)?;
    let number = u32::try_from(capture.get_datalink().0).unwrap_or(u32::MAX);
    if LinkType::from_file(number) != link_type {
        return Err(unsupported(name, link));
    }
    if let Some(expression) = &options.bpf {
        capture.filter(expression, true).map_err(|error| CaptureError::Filter {
            expression: expression.clone(),
            link_type: link_type.name(),
            reason: error.to_string(),
        })?;
    }
    Ok(OpenCapture { capture, link_type, received: 0, dropped: 0, interface_dropped: 0 })
}

fn copy(arena: &mut Vec<u8>, packet: &::pcap::Packet<'_>, place: usize, link_type: LinkType) -> CopiedFrame {
    let start = arena.len();
    arena.extend_from_slice(packet.data);
    // With nanosecond precision the field named for microseconds holds nanoseconds.
    let (seconds, nanoseconds) = (packet.header.ts.tv_sec, packet.header.ts.tv_usec);
    CopiedFrame {
        timestamp_ns: seconds.cast_unsigned() * 1_000_000_000 + nanoseconds.cast_unsigned(),
        wire_length: packet.header.len.max(packet.data.len() as u32),
        interface: place as u16,
        link_type,
        start,
        length: packet.data.len(),
    }
}

/// Adds what libpcap counted since it was last asked. Its counts wrap at 2^32.
fn count_drops(handle: &mut Handle, counts: &mut InterfaceCounts) {
    let Some(open) = &mut handle.open else { return };
    let Ok(now) = open.capture.stats() else { return };
    counts.dropped += u64::from(now.dropped.wrapping_sub(open.dropped));
    counts.interface_dropped += u64::from(now.if_dropped.wrapping_sub(open.interface_dropped));
    (open.received, open.dropped, open.interface_dropped) = (now.received, now.dropped, now.if_dropped);
}
