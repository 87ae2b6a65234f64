//! Replays frames of a source through workers. For several of them the `relay` says who works on what; the same events come
//! out in the same order for any number of workers, put together by `merge`.

mod merge;
mod relay;

use std::sync::Arc;
use std::thread;

use crossbeam_channel::{Receiver, Sender, bounded};
use vigie_signatures::Bundle;

use self::merge::Merge;
use self::relay::{Lane, Presence, Relay};
use crate::config::Limits;
use crate::event::Event;
use crate::worker::{Counter, EventTypes, Share, Worker};
use vigie_capture::{CaptureError, Position, Source, SourceStatistics};
use vigie_flow::HashKey;
use vigie_handshake::address_names::{self, AddressNames};

/// How a replay is to be done.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// What a worker may spend.
    pub limits: Limits,
    /// Which records are written besides alerts.
    pub wanted: EventTypes,
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
    Ok(totals(&[replay], source.statistics()))
}

/// Replays a capture by so many workers. The first error ends the replay, and comes back beside what was read until then.
pub fn read_by(
    workers: usize,
    source: &mut (dyn Source + Send),
    settings: &Settings,
    bundle: &Arc<Bundle>,
    on_news: &mut dyn FnMut(News<'_>) -> GoOn,
) -> (Totals, Option<CaptureError>) {
    if workers <= 1 {
        return read_alone(source, settings, bundle, on_news);
    }
    let replay = |index| {
        let share = Share { index: index as u32, count: workers as u32 };
        Replay::new(source, settings, Arc::clone(bundle), share)
    };
    let replays: Vec<Replay> = (0..workers).map(replay).collect();
    let (relay, lanes) = Relay::new(source, workers, settings.limits.decode());
    let replays: Vec<Replay> = thread::scope(|scope| {
        let mut receivers = Vec::new();
        let mut threads = Vec::new();
        for (lane, replay) in lanes.into_iter().zip(replays) {
            let (sender, receiver) = bounded(CHANNEL_PARCELS_MAX);
            receivers.push(receiver);
            let relay = &relay;
            threads.push(scope.spawn(move || run(relay, lane, replay, &sender)));
        }
        gather(receivers, on_news);
        threads.into_iter().filter_map(|thread| thread.join().ok()).collect()
    });
    let error = relay.take_error();
    drop(relay);
    (totals(&replays, source.statistics()), error)
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
        name_interfaces(&mut interfaces, source);
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
    (totals(&[replay], source.statistics()), error)
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
    interfaces: Arc<[String]>,
}

/// A worker's thread: works on its frames of the capture to its end, or until nobody listens any more.
fn run(relay: &Relay<'_>, mut lane: Lane, mut replay: Replay, sender: &Sender<Parcel>) -> Replay {
    let mut presence = Presence::new(relay, lane.index);
    let mut events = Vec::new();
    let mut handed_over_at = 0;
    while let Some(pack) = lane.next(relay) {
        replay.worker.batch_of(&pack.block, pack.looks_for(lane.index), &mut |event| events.push(event));
        presence.is_at_the_end = pack.is_last;
        if pack.is_last {
            replay.worker.finish(&mut |event| events.push(event));
        }
        let is_due = pack.next_frame >= handed_over_at + PARCEL_FRAMES || events.len() >= PARCEL_EVENTS_MAX;
        if is_due || pack.is_last {
            handed_over_at = pack.next_frame;
            let parcel = Parcel {
                events: std::mem::take(&mut events),
                complete_below: if pack.is_last { u64::MAX } else { pack.next_frame },
                position: pack.position,
                interfaces: Arc::clone(&pack.interfaces),
            };
            // Nobody listening is no error: the replay was cut short.
            if sender.send(parcel).is_err() || pack.is_last {
                return replay;
            }
        }
        lane.done(relay, pack);
    }
    replay
}

/// Takes what the workers hand over, always from the one that is furthest behind, and tells it in order.
fn gather(receivers: Vec<Receiver<Parcel>>, on_news: &mut dyn FnMut(News<'_>) -> GoOn) {
    let mut merge = Merge::new(receivers.len());
    let mut events = Vec::new();
    let mut interfaces: Arc<[String]> = Arc::new([]);
    while let Some(behind) = merge.furthest_behind() {
        let Some(Ok(parcel)) = receivers.get(behind).map(Receiver::recv) else {
            // The thread is gone without a last word; what it had told is kept.
            merge.end(behind);
            continue;
        };
        if parcel.interfaces.len() > interfaces.len() {
            interfaces = parcel.interfaces;
        }
        merge.add(behind, parcel.events, parcel.complete_below);
        merge.take(&mut events);
        if on_news(News { events: &mut events, position: parcel.position, interfaces: &interfaces }) == GoOn::No {
            return;
        }
    }
}

/// One worker on its way through a capture.
struct Replay {
    worker: Worker,
    names: Arc<AddressNames>,
}

impl Replay {
    fn new(source: &dyn Source, settings: &Settings, bundle: Arc<Bundle>, share: Share) -> Self {
        let names = Arc::new(AddressNames::new(address_names::Limits {
            entries_max: settings.limits.address_names_max,
            ..address_names::Limits::default()
        }));
        let mut limits = settings.limits.clone();
        // All workers together follow as many flows as one alone.
        limits.flows_max = limits.flows_max.min(flows_possible(source)).div_ceil(share.count as usize);
        let worker = Worker::new(&limits, settings.wanted, bundle, Arc::clone(&names), HashKey::REPLAY, share);
        Self { worker, names }
    }

    /// One batch. False at the end.
    fn step(&mut self, source: &mut dyn Source, on_event: &mut dyn FnMut(Event)) -> Result<bool, CaptureError> {
        source.next_batch(&mut |frames| self.worker.batch(frames, on_event))
    }
}

/// Adds the names of interfaces met since the last time.
fn name_interfaces(names: &mut Vec<String>, source: &dyn Source) {
    while names.len() < source.interfaces()
        && let Ok(next) = u16::try_from(names.len())
    {
        names.push(source.interface_name(next).unwrap_or_default().to_owned());
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

/// Adds up the workers. What all of them see is taken from the first.
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
    counters.push(("limit", "address_names_max", first.names.refused()));
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
        dns_answers: sum(Counter::DnsAnswers),
        alerts: sum(Counter::Alerts),
        first_seen_ns,
        last_seen_ns,
        source,
        counters,
    }
}
