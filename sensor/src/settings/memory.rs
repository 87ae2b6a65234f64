//! The memory that the sensor needs at most with given settings.

use std::mem::size_of;

use super::Settings;
use crate::event::Event;
use vigie_capture::live::Backend;
use vigie_capture::live::shunt::table_bytes;
use vigie_flow::FlowEntry;
use vigie_journal::BUFFER_BYTES;

/// Most bytes of a flow without a name that waits for the answers of DNS.
pub(crate) const WAITING_FLOW_BYTES_MAX: usize = 3_072;
/// Most bytes of a shunted flow that has ended and waits for its last counts.
pub(crate) const ENDING_FLOW_BYTES: usize = 352;
/// Most bytes of a worker's alerts that are held because their client has too many.
pub(crate) const HELD_ALERTS_BYTES_MAX: usize = 5 << 20;
/// Bytes of the program itself: code, signatures, policy, stacks, and what the allocator keeps for itself.
const PROGRAM_BYTES: u64 = 64 << 20;
/// What AF_XDP needs beside a ring: this share of it, generously.
const XDP_OVERHEAD_SHARE: u64 = 8;
/// Bytes of tag and age for each flow.
const FLOW_TAG_BYTES: u64 = 4;
/// Bytes of a flow's record besides those that `reassembly_bytes_max` limits.
const RECORD_BYTES: u64 = 112;
/// Bytes of an address that has a name: its entry, and a name of usual length.
const ADDRESS_NAME_BYTES: u64 = 112;
/// Bytes of an episode of usual size: a client and service, some families with their names.
const EPISODE_BYTES: u64 = 1_024;
/// Bytes of an open incident with all lists full.
const INCIDENT_BYTES: u64 = 2_048;
/// Bytes of a sighted flow whose bytes are added up.
const SIGHTED_FLOW_BYTES: u64 = 384;
/// Bytes of a host that is known by its link-layer address.
const NEIGHBOUR_BYTES: u64 = 256;

/// Bytes by use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryNeed {
    /// The program itself, without what limits bound.
    pub program_bytes: u64,
    /// Rings shared with the kernel; they are allocated at the start and cannot be swapped.
    pub rings_bytes: u64,
    /// The shunt, if there is one: its table, which is allocated at the start and cannot be swapped, and what the workers note of
    /// the flows in it.
    pub shunt_bytes: u64,
    /// Flow tables of all workers; they fill as flows arrive.
    pub tables_bytes: u64,
    /// Handshakes, fragments and names when every limit is reached.
    pub work_bytes: u64,
    /// Events that wait to be written when they cannot be.
    pub events_bytes: u64,
    /// Episodes, incidents, and the flows and sightings that belong to them, when every limit is reached.
    pub judgement_bytes: u64,
}

impl MemoryNeed {
    /// The need of these settings.
    pub fn of(settings: &Settings) -> Self {
        let (capture, limits) = (&settings.capture, &settings.limits);
        let workers = capture.workers as u64;
        let rings = match capture.backend {
            Backend::Ring | Backend::Xdp | Backend::Auto => workers.saturating_mul(capture.interfaces.len() as u64),
            Backend::Pcap => capture.interfaces.len() as u64,
        };
        let ring_bytes = capture.ring_bytes as u64;
        let ring_bytes = match capture.backend {
            Backend::Ring | Backend::Pcap => ring_bytes,
            // The kernel keeps an entry of two rings and a buffer's description for each frame of 2 KiB.
            Backend::Xdp | Backend::Auto => ring_bytes.saturating_add(ring_bytes / XDP_OVERHEAD_SHARE),
        };
        // The table has a sixth more slots than flows.
        let slots = (limits.flows_max as u64).saturating_add(limits.flows_max as u64 / 6);
        let table = slots.saturating_mul(size_of::<FlowEntry>() as u64 + FLOW_TAG_BYTES);
        let records = (limits.records_max.min(limits.flows_max) as u64).saturating_mul(RECORD_BYTES);
        let waiting = if workers > 1 { limits.waiting_flows_max as u64 } else { 0 };
        let waiting = waiting.saturating_mul(WAITING_FLOW_BYTES_MAX as u64);
        let each = [records, limits.reassembly_bytes_max as u64, limits.fragment_bytes_max as u64, waiting];
        let each = each.into_iter().fold(0_u64, u64::saturating_add);
        let names = (limits.address_names_max as u64).saturating_mul(ADDRESS_NAME_BYTES);
        let neighbours = (limits.neighbours_max as u64).saturating_mul(NEIGHBOUR_BYTES);
        let shared = names.saturating_add(neighbours);
        let shunted_flows = capture.shunt_options(limits.shunt_flows_max).and_then(|options| options.flows_max);
        Self {
            program_bytes: PROGRAM_BYTES,
            rings_bytes: rings.saturating_mul(ring_bytes),
            shunt_bytes: shunted_flows.map_or(0, |flows_max| {
                let ending = (limits.shunt_ending_flows_max as u64).saturating_mul(ENDING_FLOW_BYTES as u64);
                let states = slots.saturating_mul(2);
                table_bytes(flows_max).saturating_add(workers.saturating_mul(states.saturating_add(ending)))
            }),
            tables_bytes: workers.saturating_mul(table),
            work_bytes: workers.saturating_mul(each).saturating_add(shared),
            events_bytes: events_bytes(settings, workers),
            judgement_bytes: judgement_bytes(settings),
        }
    }

    /// All of it.
    pub const fn total_bytes(&self) -> u64 {
        self.program_bytes
            .saturating_add(self.rings_bytes)
            .saturating_add(self.shunt_bytes)
            .saturating_add(self.tables_bytes)
            .saturating_add(self.work_bytes)
            .saturating_add(self.events_bytes)
            .saturating_add(self.judgement_bytes)
    }
}

fn judgement_bytes(settings: &Settings) -> u64 {
    let judgement = &settings.judgement;
    let of = |count: usize, bytes: u64| (count as u64).saturating_mul(bytes);
    of(judgement.episodes_max, EPISODE_BYTES)
        .saturating_add(of(judgement.incidents_max, INCIDENT_BYTES))
        .saturating_add(of(judgement.flows_max, SIGHTED_FLOW_BYTES))
        .saturating_add(judgement.ordering_bytes_max as u64)
        .saturating_add(judgement.waiting_bytes_max as u64)
}

/// Channel, queues of the workers, alerts that stand for others, and the writer's buffer.
fn events_bytes(settings: &Settings, workers: u64) -> u64 {
    let events = &settings.events;
    let place = size_of::<Event>() as u64;
    let queue = |events_max: usize, bytes_max: usize| (events_max as u64).saturating_mul(place) + bytes_max as u64;
    let held = if events.alerts_per_minute_max > 0 { HELD_ALERTS_BYTES_MAX as u64 } else { 0 };
    let each = queue(events.pending_events_max, events.pending_bytes_max).saturating_add(held);
    let channel = queue(events.channel_events_max, events.channel_bytes_max);
    workers.saturating_mul(each).saturating_add(channel).saturating_add(4 * BUFFER_BYTES as u64)
}
