//! Replays frames from sources through workers.
//!
//! Several workers read the same capture side by side: each has a source of its own and decodes every packet, but follows only
//! its share of the flows. So no packet crosses threads, and since all see the same packets in the same order, the
//! same events come out in the same order for any number of workers.

mod merge;

use std::sync::Arc;
use std::thread;

use crossbeam_channel::{Receiver, Sender, bounded};
use vigie_signatures::Bundle;

use self::merge::Merge;
use super::counters::Counter;
use super::limits::Limits;
use super::told::Wanted;
use super::worker::{Share, Worker};
use crate::alert::Event;
use crate::capture::{CaptureError, Frame, Position, Source, SourceStatistics};
use crate::flow::HashKey;
use crate::handshake::address_names::{self, AddressNames};

/// How a replay is to be done.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// What a worker may spend.
    pub limits: Limits,
    /// Which records are written besides alerts.
    pub wanted: Wanted,
}

/// What a replay came to.
#[derive(Clone, Debug, Default)]
pub struct Totals {
    /// Frames read.
    pub frames: u64,
    /// Their bytes on the wire.
    pub bytes: u64,
    /// Packets followed.
    pub packets: u64,
    /// Flows opened.
    pub flows: u64,
    /// Hellos over TCP.
    pub hellos_tls: u64,
    /// Hellos over QUIC.
    pub hellos_quic: u64,
    /// Hellos over DTLS.
    pub hellos_dtls: u64,
    /// DNS answers.
    pub dns_answers: u64,
    /// Alerts.
    pub alerts: u64,
    /// Earliest frame; 0 if there was none.
    pub first_seen_ns: u64,
    /// Latest frame.
    pub last_seen_ns: u64,
    /// What the source said of itself.
    pub source: SourceStatistics,
    /// All counts that are not 0: family, reason, count.
    pub counters: Vec<(&'static str, &'static str, u64)>,
}

/// What a replay brought since it last said something.
pub struct News<'n> {
    /// Events, in order.
    pub events: &'n mut Vec<Event>,
    /// How far the reading is.
    pub position: Position,
    /// Names of the capture's interfaces met until now, by their numbers; empty where one has none.
    pub interfaces: &'n [String],
}

/// Whether a replay is to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GoOn {
    /// To the end.
    Yes,
    /// What comes cannot be used any more.
    No,
}

/// Replays `source` to its end; events come in the order of their packets.
///
/// # Errors
/// When the source cannot be read.
pub fn read(
    source: &mut dyn Source,
    settings: &Settings,
    bundle: Arc<Bundle>,
    on_event: &mut dyn FnMut(Event),
) -> Result<Totals, CaptureError> {
    let mut replay = Replay::new(source, settings, bundle, Share::ALL);
    while replay.step(source, on_event)? {}
    replay.worker.finish(on_event);
    replay.statistics = source.statistics();
    Ok(totals(&[replay]))
}

/// Replays a capture, of which each worker gets a source of its own. The first error ends the replay, and comes back beside
/// what was read until then.
pub fn read_side_by_side(
    mut sources: Vec<Box<dyn Source + Send>>,
    settings: &Settings,
    bundle: &Arc<Bundle>,
    on_news: &mut dyn FnMut(News<'_>) -> GoOn,
) -> (Totals, Option<CaptureError>) {
    if let [source] = sources.as_mut_slice() {
        return read_alone(&mut **source, settings, bundle, on_news);
    }
    let count = sources.len() as u32;
    thread::scope(|scope| {
        let mut receivers = Vec::new();
        let mut threads = Vec::new();
        for (index, source) in sources.into_iter().enumerate() {
            let (sender, receiver) = bounded(CHANNEL_PARCELS_MAX);
            let share = Share { index: index as u32, count };
            receivers.push(receiver);
            threads.push(scope.spawn(move || run(source, settings, Arc::clone(bundle), share, &sender)));
        }
        let error = gather(receivers, on_news);
        let replays: Vec<Replay> = threads.into_iter().filter_map(|thread| thread.join().ok()).collect();
        (totals(&replays), error)
    })
}

fn read_alone(
    source: &mut dyn Source,
    settings: &Settings,
    bundle: &Arc<Bundle>,
    on_news: &mut dyn FnMut(News<'_>) -> GoOn,
) -> (Totals, Option<CaptureError>) {
    let mut replay = Replay::new(source, settings, Arc::clone(bundle), Share::ALL);
    let (mut events, mut interfaces) = (Vec::new(), Vec::new());
    let error = loop {
        let more = match replay.step(source, &mut |event| events.push(event)) {
            Ok(more) => more,
            Err(error) => break Some(error),
        };
        name_interfaces(&mut interfaces, replay.interface_highest, source);
        let news = News { events: &mut events, position: source.position(), interfaces: &interfaces };
        if on_news(news) == GoOn::No || !more {
            break None;
        }
    };
    replay.worker.finish(&mut |event| {
        events.push(event);
        if events.len() >= PARCEL_EVENTS_MAX {
            on_news(News { events: &mut events, position: source.position(), interfaces: &interfaces });
        }
    });
    on_news(News { events: &mut events, position: source.position(), interfaces: &interfaces });
    replay.statistics = source.statistics();
    (totals(&[replay]), error)
}

/// Frames after which a worker tells how far it is.
const PARCEL_FRAMES: u64 = 4_096;
/// Events after which it does so anyway.
const PARCEL_EVENTS_MAX: usize = 1_024;
/// Parcels of a worker that wait.
const CHANNEL_PARCELS_MAX: usize = 16;

/// What a worker hands over from time to time.
struct Parcel {
    events: Vec<Event>,
    /// All events told at frames below this number were handed over.
    complete_below: u64,
    position: Position,
    interfaces: Vec<String>,
    error: Option<CaptureError>,
}

/// A worker's thread: reads its source to the end, or until nobody listens any more.
fn run(
    mut source: Box<dyn Source + Send>,
    settings: &Settings,
    bundle: Arc<Bundle>,
    share: Share,
    sender: &Sender<Parcel>,
) -> Replay {
    let mut replay = Replay::new(&*source, settings, bundle, share);
    let mut events = Vec::new();
    let mut interfaces = Vec::new();
    let mut handed_over_at = 0;
    let error = loop {
        match replay.step(&mut *source, &mut |event| events.push(event)) {
            Ok(true) => {}
            Ok(false) => break None,
            Err(error) => break Some(error),
        }
        if replay.next_frame >= handed_over_at + PARCEL_FRAMES || events.len() >= PARCEL_EVENTS_MAX {
            handed_over_at = replay.next_frame;
            name_interfaces(&mut interfaces, replay.interface_highest, &*source);
            let parcel = Parcel {
                events: std::mem::take(&mut events),
                complete_below: replay.next_frame,
                position: source.position(),
                interfaces: interfaces.clone(),
                error: None,
            };
            if sender.send(parcel).is_err() {
                return replay;
            }
        }
    };
    replay.worker.finish(&mut |event| events.push(event));
    name_interfaces(&mut interfaces, replay.interface_highest, &*source);
    // Nobody listening is no error: the replay was cut short.
    replay.statistics = source.statistics();
    let _ = sender.send(Parcel { events, complete_below: u64::MAX, position: source.position(), interfaces, error });
    replay
}

/// Takes what the workers hand over, always from the one that is furthest behind, and tells it in order.
fn gather(receivers: Vec<Receiver<Parcel>>, on_news: &mut dyn FnMut(News<'_>) -> GoOn) -> Option<CaptureError> {
    let mut merge = Merge::new(receivers.len());
    let mut events = Vec::new();
    let mut error = None;
    let mut interfaces: Vec<String> = Vec::new();
    while let Some(behind) = merge.furthest_behind() {
        let Some(Ok(parcel)) = receivers.get(behind).map(Receiver::recv) else {
            // The thread is gone without a last word; what it had told is kept.
            merge.end(behind);
            continue;
        };
        error = error.or(parcel.error);
        if parcel.interfaces.len() > interfaces.len() {
            interfaces = parcel.interfaces;
        }
        merge.add(behind, parcel.events, parcel.complete_below);
        merge.take(&mut events);
        if on_news(News { events: &mut events, position: parcel.position, interfaces: &interfaces }) == GoOn::No {
            return error;
        }
    }
    error
}

/// One worker on its way through a capture.
struct Replay {
    worker: Worker,
    names: Arc<AddressNames>,
    next_frame: u64,
    interface_highest: Option<u16>,
    first_seen_ns: u64,
    last_seen_ns: u64,
    statistics: SourceStatistics,
}

impl Replay {
    fn new(source: &dyn Source, settings: &Settings, bundle: Arc<Bundle>, share: Share) -> Self {
        let names = Arc::new(AddressNames::new(address_names::Limits {
            entries_max: settings.limits.address_names_max,
            ..address_names::Limits::default()
        }));
        let mut limits = settings.limits.clone();
        limits.flows_max = limits.flows_max.min(flows_possible(source));
        let worker = Worker::new(&limits, settings.wanted, bundle, Arc::clone(&names), HashKey::REPLAY, share);
        Self {
            worker,
            names,
            next_frame: 0,
            interface_highest: None,
            first_seen_ns: u64::MAX,
            last_seen_ns: 0,
            statistics: SourceStatistics::default(),
        }
    }

    /// One batch. False at the end.
    fn step(&mut self, source: &mut dyn Source, on_event: &mut dyn FnMut(Event)) -> Result<bool, CaptureError> {
        source.next_batch(&mut |frames| {
            self.note(frames);
            self.worker.batch(frames, on_event);
        })
    }

    #[inline]
    fn note(&mut self, frames: &[Frame<'_>]) {
        for frame in frames {
            self.first_seen_ns = self.first_seen_ns.min(frame.timestamp_ns);
            self.last_seen_ns = self.last_seen_ns.max(frame.timestamp_ns);
            self.interface_highest = self.interface_highest.max(Some(frame.interface));
        }
        if let Some(last) = frames.last() {
            self.next_frame = last.number + 1;
        }
    }
}

fn name_interfaces(interfaces: &mut Vec<String>, highest: Option<u16>, source: &dyn Source) {
    while let Some(next) =
        u16::try_from(interfaces.len()).ok().filter(|next| highest.is_some_and(|highest| *next <= highest))
    {
        interfaces.push(source.interface_name(next).unwrap_or_default().to_owned());
    }
}

/// How many flows a source can hold at most: each takes a packet. Small captures need no big table.
fn flows_possible(source: &dyn Source) -> usize {
    /// A record header and the shortest packet that has ports.
    const PACKET_BYTES_MIN: u64 = 16 + 28;
    /// What compression may hide.
    const COMPRESSION_MAX: u64 = 64;
    match source.position().bytes_total {
        Some(bytes) => {
            usize::try_from(bytes.saturating_mul(COMPRESSION_MAX) / PACKET_BYTES_MIN + 16).unwrap_or(usize::MAX)
        }
        None => usize::MAX,
    }
}

/// Adds up the workers. What each of them counts of all packets is taken from the first.
fn totals(replays: &[Replay]) -> Totals {
    let Some(first) = replays.first() else { return Totals::default() };
    let sum = |counter: Counter| replays.iter().map(|replay| replay.worker.counters().get(counter)).sum();
    let common = |counter: Counter| first.worker.counters().get(counter);
    let mut counters = first.worker.all_counts();
    for replay in replays.iter().skip(1) {
        for (count, (family, _, more)) in counters.iter_mut().zip(replay.worker.all_counts()) {
            if !matches!(family, "capture" | "decode" | "decode_error" | "fragment") {
                count.2 += more;
            }
        }
    }
    counters.push(("limit", "address_names_max", first.names.refused()));
    counters.retain(|&(_, _, count)| count > 0);
    Totals {
        frames: common(Counter::Frames),
        bytes: common(Counter::Bytes),
        packets: common(Counter::Packets),
        flows: sum(Counter::Flows),
        hellos_tls: sum(Counter::HellosTls),
        hellos_quic: sum(Counter::HellosQuic),
        hellos_dtls: sum(Counter::HellosDtls),
        dns_answers: sum(Counter::DnsAnswers),
        alerts: sum(Counter::Alerts),
        first_seen_ns: if first.next_frame == 0 { 0 } else { first.first_seen_ns },
        last_seen_ns: first.last_seen_ns,
        source: first.statistics.clone(),
        counters,
    }
}
