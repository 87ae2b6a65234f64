//! Reads captures: a source of frames goes in, events come out in the order of their packets. The events are the same for
//! any number of workers.
//!
//! With one worker, [`read`] and [`read_parallel`] feed it directly. With several, each thread of `threads.rs` runs a
//! worker; `blocks.rs` hands out the blocks of the capture, and `merge.rs` brings the events into one order.

mod blocks;
mod merge;
mod threads;

use std::ops::ControlFlow;
use std::sync::Arc;

use vigie_signatures::Bundle;

use crate::event::Event;
use crate::settings::Limits;
use crate::worker::{Counter, EventTypes, Share, Worker};
use vigie_capture::{CaptureError, Position, Source, SourceStatistics};
use vigie_flow::HashKey;
use vigie_handshake::address_names::{self, AddressNames};

/// Events that may be collected before they are handed over.
const COLLECTED_EVENTS_MAX: usize = 1_024;

/// Settings of a replay.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The limits of a worker.
    pub limits: Limits,
    /// The events to emit besides alerts.
    pub event_types: EventTypes,
}

/// The totals of a replay.
#[derive(Clone, Debug, Default)]
pub struct Totals {
    /// Frames read.
    pub frames: u64,
    /// Bytes of those frames on the wire.
    pub bytes: u64,
    /// Packets with a transport layer.
    pub packets: u64,
    /// Flows opened.
    pub flows: u64,
    /// Hellos over TCP.
    pub hellos_tls: u64,
    /// Hellos over QUIC.
    pub hellos_quic: u64,
    /// Hellos over DTLS.
    pub hellos_dtls: u64,
    /// Hosts that requests of HTTP and SOCKS, or load balancers, named in clear text.
    pub hosts_in_clear: u64,
    /// DNS answers.
    pub dns_answers: u64,
    /// Flows that matched a signature.
    pub sightings: u64,
    /// Time of the earliest frame; 0 if there was none.
    pub first_seen_ns: u64,
    /// Time of the latest frame.
    pub last_seen_ns: u64,
    /// The statistics of the source.
    pub source: SourceStatistics,
    /// All counts that are not 0: family, reason, count.
    pub counters: Vec<(&'static str, &'static str, u64)>,
}

/// The progress of a replay since the last call.
pub struct Progress<'n> {
    /// New events, in order. The receiver takes them out.
    pub events: &'n mut Vec<Event>,
    /// How far the source is read.
    pub position: Position,
    /// The names of the interfaces met so far, by interface number; empty for an interface without a name.
    pub interfaces: &'n [String],
}

/// Reads `source` to its end with one worker.
///
/// # Errors
/// The source cannot be read.
pub fn read(
    source: &mut dyn Source,
    settings: &Settings,
    bundle: Arc<Bundle>,
    on_event: &mut dyn FnMut(Event),
) -> Result<Totals, CaptureError> {
    let mut replay = Replay::new(source, settings, bundle, Share::ALL);
    while replay.next_batch(source, on_event)? {}
    replay.worker.finish(on_event);
    Ok(totals(&[replay], source.statistics()))
}

/// Reads `source` to its end with several workers, or until `on_progress` breaks. The first error ends the replay; it is
/// returned beside the totals up to then.
pub fn read_parallel(
    workers: usize,
    source: &mut (dyn Source + Send),
    settings: &Settings,
    bundle: &Arc<Bundle>,
    on_progress: &mut dyn FnMut(Progress<'_>) -> ControlFlow<()>,
) -> (Totals, Option<CaptureError>) {
    if workers <= 1 {
        return read_with_one(source, settings, bundle, on_progress);
    }
    let replay = |index| {
        let share = Share { index: index as u32, count: workers as u32 };
        Replay::new(source, settings, Arc::clone(bundle), share)
    };
    let replays: Vec<Replay> = (0..workers).map(replay).collect();
    let (replays, error) = threads::run(source, replays, settings.limits.decode(), on_progress);
    (totals(&replays, source.statistics()), error)
}

fn read_with_one(
    source: &mut dyn Source,
    settings: &Settings,
    bundle: &Arc<Bundle>,
    on_progress: &mut dyn FnMut(Progress<'_>) -> ControlFlow<()>,
) -> (Totals, Option<CaptureError>) {
    let mut replay = Replay::new(source, settings, Arc::clone(bundle), Share::ALL);
    let (mut events, mut interfaces) = (Vec::new(), Vec::new());
    let error = loop {
        let has_more = match replay.next_batch(source, &mut |event| events.push(event)) {
            Ok(has_more) => has_more,
            Err(error) => break Some(error),
        };
        add_interface_names(&mut interfaces, source);
        let progress = Progress { events: &mut events, position: source.position(), interfaces: &interfaces };
        if on_progress(progress).is_break() || !has_more {
            break None;
        }
    };
    replay.worker.finish(&mut |event| {
        events.push(event);
        if events.len() >= COLLECTED_EVENTS_MAX {
            // The replay is over anyway.
            let _ = on_progress(Progress { events: &mut events, position: source.position(), interfaces: &interfaces });
        }
    });
    let _ = on_progress(Progress { events: &mut events, position: source.position(), interfaces: &interfaces });
    (totals(&[replay], source.statistics()), error)
}

/// A worker that reads a capture.
struct Replay {
    worker: Worker,
}

impl Replay {
    fn new(source: &dyn Source, settings: &Settings, bundle: Arc<Bundle>, share: Share) -> Self {
        let names = Arc::new(AddressNames::new(address_names::Limits {
            entries_max: settings.limits.address_names_max,
            neighbours_max: settings.limits.neighbours_max,
            ..address_names::Limits::default()
        }));
        let mut limits = settings.limits.clone();
        // All workers together have room for as many flows as a single one.
        limits.flows_max = limits.flows_max.min(flows_possible(source)).div_ceil(share.count as usize);
        let worker = Worker::new(&limits, settings.event_types, bundle, names, HashKey::REPLAY, share);
        Self { worker: worker.with_growing_table() }
    }

    /// Reads one batch. False at the end.
    fn next_batch(&mut self, source: &mut dyn Source, on_event: &mut dyn FnMut(Event)) -> Result<bool, CaptureError> {
        source.next_batch(&mut |frames| self.worker.batch(frames, on_event))
    }
}

/// Adds the names of the interfaces that the source met since the last call.
fn add_interface_names(names: &mut Vec<String>, source: &dyn Source) {
    while names.len() < source.interfaces()
        && let Ok(next) = u16::try_from(names.len())
    {
        names.push(source.interface_name(next).unwrap_or_default().to_owned());
    }
}

/// The number of flows that a source can contain at most, since each takes a packet. A small capture gets a small table.
fn flows_possible(source: &dyn Source) -> usize {
    /// A pcap record header and the shortest packet with ports.
    const PACKET_BYTES_MIN: u64 = 16 + 28;
    /// The compression ratio of an extreme capture.
    const COMPRESSION_MAX: u64 = 64;
    match source.position().bytes_total {
        Some(bytes) => {
            usize::try_from(bytes.saturating_mul(COMPRESSION_MAX) / PACKET_BYTES_MIN + 16).unwrap_or(usize::MAX)
        }
        None => usize::MAX,
    }
}

/// Adds up the workers' counts. What every worker counts alike is taken from the first.
fn totals(replays: &[Replay], source: SourceStatistics) -> Totals {
    let Some(first) = replays.first() else { return Totals::default() };
    let sum = |counter: Counter| replays.iter().map(|replay| replay.worker.counters().get(counter)).sum();
    let mut counters = first.worker.all_counts();
    for replay in replays.iter().skip(1) {
        for (count, (family, _, more)) in counters.iter_mut().zip(replay.worker.all_counts()) {
            if !matches!(family, "decode_error" | "fragment") {
                count.2 += more;
            }
        }
    }
    counters.retain(|&(_, _, count)| count > 0);
    let (first_seen_ns, last_seen_ns) = source.seen_ns.unwrap_or_default();
    Totals {
        frames: sum(Counter::Frames),
        bytes: sum(Counter::Bytes),
        packets: sum(Counter::Packets),
        flows: sum(Counter::Flows),
        hellos_tls: sum(Counter::HellosTls),
        hellos_quic: sum(Counter::HellosQuic),
        hellos_dtls: sum(Counter::HellosDtls),
        hosts_in_clear: [Counter::HttpHosts, Counter::HttpConnects, Counter::SocksRequests, Counter::ProxyAuthorities]
            .map(sum)
            .iter()
            .sum(),
        dns_answers: sum(Counter::DnsAnswers),
        sightings: sum(Counter::Sightings),
        first_seen_ns,
        last_seen_ns,
        source,
        counters,
    }
}
