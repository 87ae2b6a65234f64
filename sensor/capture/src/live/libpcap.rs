//! The portable backend: libpcap. It has one worker. Frames are copied, since libpcap shows them one at a time, and
//! joined by time batch by batch. It puts VLAN tags back by itself. An interface that was deleted, or that libpcap
//! gave up, is opened again only while that is permitted.

use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use ::pcap::{Active, Capture, Precision};
use arrayvec::ArrayVec;

use super::link::{Link, Links};
use super::system::{Awaited, wait};
use super::tap::{refused, unsupported};
use super::{Changes, InterfaceCounts, LiveOptions, State};
use crate::{BATCH_FRAMES_MAX, CaptureError, SourceStatistics};
use vigie_wire::{Frame, LinkType};

const LOOK_AFTER_EVERY: Duration = Duration::from_millis(250);
/// Bytes for which the arena has room at the start; it grows to what a batch needs.
const ARENA_BYTES: usize = BATCH_FRAMES_MAX * 2048;

/// All interfaces by libpcap.
pub(super) struct Libpcap {
    options: LiveOptions,
    handles: Vec<Handle>,
    counts: Vec<InterfaceCounts>,
    changes: Changes,
    links: Links,
    looked_after: Instant,
    arena: Vec<u8>,
    frames: u64,
    captured_bytes: u64,
}

#[derive(Default)]
struct Handle {
    open: Option<Open>,
    /// The link that was opened last.
    index: u32,
    openings: u64,
}

struct Open {
    capture: Capture<Active>,
    link_type: LinkType,
    received: u32,
    dropped: u32,
    interface_dropped: u32,
}

/// A frame in the arena.
struct Kept {
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
            looked_after: Instant::now(),
            arena: Vec::with_capacity(ARENA_BYTES),
            frames: 0,
            captured_bytes: 0,
        };
        for place in 0..options.interfaces.len() {
            libpcap.look_at(place)?;
        }
        if let Some(counts) = libpcap.counts.iter().find(|counts| matches!(counts.state, State::Missing | State::Down))
            && !options.wait_for_interfaces
        {
            return Err(CaptureError::Interface {
                interface: counts.name.clone(),
                reason: format!("it is {}", counts.state.word()),
                mend: "'vigie interfaces' lists them".to_owned(),
            });
        }
        Ok(libpcap)
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
        if self.looked_after.elapsed() >= LOOK_AFTER_EVERY {
            self.look_after();
        }
        if !self.visit_ready(visit) {
            self.wait();
            self.visit_ready(visit);
        }
    }

    /// Looks how the interfaces are, opens those that have come, and asks libpcap for its counts.
    pub(super) fn look_after(&mut self) {
        self.looked_after = Instant::now();
        self.links.changed();
        for place in 0..self.handles.len() {
            if let Err(error) = self.look_at(place)
                && let Some(counts) = self.counts.get_mut(place)
            {
                let why = match error {
                    CaptureError::Interface { reason, mend, .. } => format!("{reason}; {mend}"),
                    other => other.to_string(),
                };
                self.changes.note(place, counts, State::Refused, &why);
            }
        }
    }

    fn look_at(&mut self, place: usize) -> Result<(), CaptureError> {
        let (Some(handle), Some(counts)) = (self.handles.get_mut(place), self.counts.get_mut(place)) else {
            return Ok(());
        };
        let link = self.links.find(&counts.name).map_err(|error| refused(&counts.name, &error))?;
        count_drops(handle, counts);
        if link.as_ref().is_none_or(|link| link.index != handle.index) {
            handle.open = None;
        }
        let Some(link) = link else {
            self.changes.note(place, counts, State::Missing, "");
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
        self.changes.note(place, counts, state, "");
        Ok(())
    }

    fn visit_ready(&mut self, visit: &mut dyn FnMut(&[Frame<'_>])) -> bool {
        let mut kept: ArrayVec<Kept, BATCH_FRAMES_MAX> = ArrayVec::new();
        self.arena.clear();
        let share = (BATCH_FRAMES_MAX / self.handles.len().max(1)).max(1);
        for (place, (handle, counts)) in self.handles.iter_mut().zip(&mut self.counts).enumerate() {
            let until = (kept.len() + share).min(BATCH_FRAMES_MAX);
            while kept.len() < until
                && let Some(open) = &mut handle.open
            {
                match open.capture.next_packet() {
                    Ok(packet) => kept.push(keep(&mut self.arena, &packet, place, open.link_type)),
                    Err(::pcap::Error::TimeoutExpired | ::pcap::Error::NoMorePackets) => break,
                    Err(_) => {
                        // It went down or away; once it is up it is opened again.
                        count_drops(handle, counts);
                        handle.open = None;
                    }
                }
            }
        }
        // By place in the arena where the time is the same: each interface's frames stay in their order.
        kept.sort_unstable_by_key(|frame| (frame.timestamp_ns, frame.start));
        let mut batch: ArrayVec<Frame<'_>, BATCH_FRAMES_MAX> = ArrayVec::new();
        for frame in &kept {
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

    /// libpcap's own wait would not end without frames, so it is told not to wait.
    fn wait(&mut self) {
        let mut awaited: ArrayVec<Awaited, 64> = ArrayVec::new();
        awaited.push(Awaited::readable(Some(self.links.changes())));
        for handle in &self.handles {
            let descriptor = handle.open.as_ref().map(|open| open.capture.as_fd());
            if awaited.try_push(Awaited::readable(descriptor)).is_err() {
                break;
            }
        }
        if wait(&mut awaited, self.options.wait_ms).is_err() {
            std::thread::sleep(Duration::from_millis(1));
        }
        if awaited.first().is_some_and(Awaited::is_readable) {
            self.look_after();
        }
    }
}

impl std::fmt::Debug for Libpcap {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Libpcap").field("counts", &self.counts).finish_non_exhaustive()
    }
}

fn open(name: &str, link: &Link, options: &LiveOptions) -> Result<Open, CaptureError> {
    let link_type = link.link_type().ok_or_else(|| unsupported(name, link))?;
    let failed = |error: ::pcap::Error| {
        let text = match error {
            ::pcap::Error::PcapError(text) => text,
            other => other.to_string(),
        };
        // libpcap tells of permissions in words only.
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
    Ok(Open { capture, link_type, received: 0, dropped: 0, interface_dropped: 0 })
}

fn keep(arena: &mut Vec<u8>, packet: &::pcap::Packet<'_>, place: usize, link_type: LinkType) -> Kept {
    let start = arena.len();
    arena.extend_from_slice(packet.data);
    // With nanosecond precision the field for microseconds holds nanoseconds.
    let (seconds, nanoseconds) = (packet.header.ts.tv_sec, packet.header.ts.tv_usec);
    Kept {
        timestamp_ns: seconds.cast_unsigned() * 1_000_000_000 + nanoseconds.cast_unsigned(),
        wire_length: packet.header.len.max(packet.data.len() as u32),
        interface: place as u16,
        link_type,
        start,
        length: packet.data.len(),
    }
}

/// Adds what libpcap counted since it was last asked; its counts go on from 0 after 2^32 - 1.
fn count_drops(handle: &mut Handle, counts: &mut InterfaceCounts) {
    let Some(open) = &mut handle.open else { return };
    let Ok(now) = open.capture.stats() else { return };
    counts.dropped += u64::from(now.dropped.wrapping_sub(open.dropped));
    counts.interface_dropped += u64::from(now.if_dropped.wrapping_sub(open.interface_dropped));
    (open.received, open.dropped, open.interface_dropped) = (now.received, now.dropped, now.if_dropped);
}
