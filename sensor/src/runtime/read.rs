//! Replays frames from a source through workers.

use std::sync::Arc;

use vigie_signatures::Bundle;

use super::counters::Counter;
use super::limits::Limits;
use super::told::Wanted;
use super::worker::Worker;
use crate::alert::Event;
use crate::capture::{CaptureError, Source};
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
    /// All counts: family, reason, count.
    pub counters: Vec<(&'static str, &'static str, u64)>,
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
    let names = Arc::new(AddressNames::new(address_names::Limits {
        entries_max: settings.limits.address_names_max,
        ..address_names::Limits::default()
    }));
    let mut worker = Worker::new(&settings.limits, settings.wanted, bundle, Arc::clone(&names), HashKey::REPLAY);
    let (mut first_seen_ns, mut last_seen_ns) = (u64::MAX, 0);
    while source.next_batch(&mut |frames| {
        for frame in frames {
            first_seen_ns = first_seen_ns.min(frame.timestamp_ns);
            last_seen_ns = last_seen_ns.max(frame.timestamp_ns);
        }
        worker.batch(frames, on_event);
    })? {}
    worker.finish(on_event);
    let counters = worker.counters();
    Ok(Totals {
        frames: counters.get(Counter::Frames),
        bytes: counters.get(Counter::Bytes),
        packets: counters.get(Counter::Packets),
        flows: counters.get(Counter::Flows),
        hellos_tls: counters.get(Counter::HellosTls),
        hellos_quic: counters.get(Counter::HellosQuic),
        hellos_dtls: counters.get(Counter::HellosDtls),
        dns_answers: counters.get(Counter::DnsAnswers),
        alerts: counters.get(Counter::Alerts),
        first_seen_ns: if last_seen_ns == 0 { 0 } else { first_seen_ns },
        last_seen_ns,
        counters: worker
            .all_counts()
            .into_iter()
            .chain([("limit", "address_names_max", names.refused())])
            .filter(|&(_, _, count)| count > 0)
            .collect(),
    })
}
