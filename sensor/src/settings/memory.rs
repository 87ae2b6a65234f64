//! The memory that the sensor needs at most with given settings.

use std::mem::size_of;

use super::Settings;
use vigie_capture::live::Backend;
use vigie_flow::FlowEntry;

/// Bytes of tag and age for each flow.
const FLOW_TAG_BYTES: u64 = 4;
/// Bytes of a flow's record besides those that `reassembly_bytes_max` limits.
const RECORD_BYTES: u64 = 112;
/// Bytes of an address that has a name: its entry, and a name of usual length.
const ADDRESS_NAME_BYTES: u64 = 112;
/// Bytes of a host that is known by its link-layer address.
const NEIGHBOUR_BYTES: u64 = 256;

/// Bytes by use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryNeed {
    /// Rings shared with the kernel; they are allocated at the start and cannot be swapped.
    pub rings_bytes: u64,
    /// Flow tables of all workers; they fill as flows arrive.
    pub tables_bytes: u64,
    /// Handshakes, fragments and names when every limit is reached.
    pub work_bytes: u64,
}

impl MemoryNeed {
    /// The need of these settings.
    pub fn of(settings: &Settings) -> Self {
        let (capture, limits) = (&settings.capture, &settings.limits);
        let workers = capture.workers as u64;
        let rings = match capture.backend {
            Backend::Ring => workers.saturating_mul(capture.interfaces.len() as u64),
            Backend::Pcap => capture.interfaces.len() as u64,
        };
        // The table has a sixth more slots than flows.
        let slots = (limits.flows_max as u64).saturating_add(limits.flows_max as u64 / 6);
        let table = slots.saturating_mul(size_of::<FlowEntry>() as u64 + FLOW_TAG_BYTES);
        let records = (limits.records_max.min(limits.flows_max) as u64).saturating_mul(RECORD_BYTES);
        let each = [records, limits.reassembly_bytes_max as u64, limits.fragment_bytes_max as u64];
        let each = each.into_iter().fold(0_u64, u64::saturating_add);
        let names = (limits.address_names_max as u64).saturating_mul(ADDRESS_NAME_BYTES);
        let neighbours = (limits.neighbours_max as u64).saturating_mul(NEIGHBOUR_BYTES);
        let shared = names.saturating_add(neighbours);
        Self {
            rings_bytes: rings.saturating_mul(capture.ring_bytes as u64),
            tables_bytes: workers.saturating_mul(table),
            work_bytes: workers.saturating_mul(each).saturating_add(shared),
        }
    }

    /// All of it.
    pub const fn total_bytes(&self) -> u64 {
        self.rings_bytes.saturating_add(self.tables_bytes).saturating_add(self.work_bytes)
    }
}
