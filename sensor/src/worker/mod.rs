//! The worker follows flows: frames go in, events come out. It owns its flow table, flow records and counters and shares
//! none of them, so it takes no lock. It reads no clock: time is the time of the packets.
//!
//! One packet takes this way:
//! 1. `headers.rs`: parse the frame's headers into the flow key, and hash it.
//! 2. `batch.rs`: find the flow in the table. Frames are worked on in batches, so that the memory of the next frames'
//!    flows is fetched meanwhile. A packet of a settled flow is counted here, and that is all.
//! 3. `packet.rs`: decode what is not plain, join fragments, find or add the flow.
//! 4. `tcp.rs`, `udp.rs`: follow the handshake of a flow that is not settled; `dns.rs`: remember which names resolve to an address.
//! 5. `findings.rs`: match the hello or the name against the signatures.
//! 6. `report.rs`: emit the events.
//!
//! `flows.rs` opens flows and keeps their state, `close.rs` ends them, `clock.rs` finds the flows that have timed out.
//! `records.rs` are for the flows that need more than an entry in the table.

mod batch;
mod clock;
mod close;
mod counters;
mod dns;
mod findings;
mod flows;
mod headers;
mod packet;
mod records;
mod report;
mod tcp;
mod udp;

use std::sync::Arc;

use vigie_capture::BATCH_FRAMES_MAX;
use vigie_decode::fragments::Reassembler;
use vigie_decode::{DecodeError, DecodeLimits};
use vigie_flow::{FlowTable, HashKey, Slot};
use vigie_handshake::address_names::AddressNames;
use vigie_handshake::quic;
use vigie_handshake::tcp::TcpInspector;
use vigie_handshake::udp::UdpInspector;
use vigie_signatures::Bundle;

use batch::Stand;
use clock::{EPOCH_NS, EPOCH_S};
use headers::owner;
use records::Records;

use crate::config::Limits;
use crate::event::Order;

pub use clock::epoch_end_ns;
pub use counters::{Counter, Counters};
pub use findings::EventTypes;
pub use headers::{Look, look_at_all};

/// UDP and TCP port of DNS (RFC 1035 §4.2.1).
const DNS_PORT: u16 = 53;

/// Which flows of a capture are a worker's own, where several read it. Each also sees the frames that begin an epoch and those
/// that are [for all](Look::is_for_all), so that all clocks agree and all know what DNS told.
#[derive(Clone, Copy, Debug)]
pub struct Share {
    /// Number of the worker, from 0.
    pub index: u32,
    /// How many there are.
    pub count: u32,
}

impl Share {
    /// All flows.
    pub const ALL: Self = Self { index: 0, count: 1 };

    #[inline]
    fn owns(self, hash: u64) -> bool {
        self.count == 1 || owner(hash, self.count) == self.index
    }
}

/// One worker and all that it owns.
pub struct Worker {
    limits: Limits,
    wanted: EventTypes,
    bundle: Arc<Bundle>,
    names: Arc<AddressNames>,
    table: FlowTable,
    records: Records,
    fragments: Reassembler,
    decode_limits: DecodeLimits,
    handshake_limits: vigie_handshake::Limits,
    counters: Counters,
    handshake_counters: vigie_handshake::Counts,
    unreadable: [u64; DecodeError::COUNT],
    /// Steps of [`EPOCH_S`] since the Unix epoch; never goes back.
    epoch: u64,
    epoch_ends_ns: u64,
    idle_epochs: u8,
    share: Share,
    /// What orders the next event.
    order: Order,
    /// What is told now is another worker's to tell.
    is_muted: bool,
    /// Boxed as in the records, between which and here they move.
    #[allow(clippy::vec_box)]
    tcp_pool: Vec<Box<TcpInspector>>,
    #[allow(clippy::vec_box)]
    udp_pool: Vec<Box<UdpInspector>>,
    scratch: quic::Scratch,
    /// Bytes that dialogues hold for reassembly.
    held_bytes: usize,
    /// Room for the flows that a sweep ends: their records, later their last frames, and where they stood.
    swept: Vec<(u64, Slot)>,
    /// Room for what a first look at a batch tells.
    looks: Vec<Look>,
    stands: Vec<Stand>,
}

impl Worker {
    /// A worker with an empty flow table for `flows_max` flows.
    pub fn new(
        limits: &Limits,
        wanted: EventTypes,
        bundle: Arc<Bundle>,
        names: Arc<AddressNames>,
        secret: HashKey,
        share: Share,
    ) -> Self {
        // No flow has two records.
        let records_max = if wanted.flows { limits.flows_max } else { limits.records_max.min(limits.flows_max) };
        Self {
            wanted,
            bundle,
            names,
            table: FlowTable::new(limits.flows_max, secret),
            records: Records::new(records_max),
            fragments: Reassembler::new(limits.fragments()),
            decode_limits: limits.decode(),
            handshake_limits: limits.handshake(),
            limits: limits.clone(),
            counters: Counters::default(),
            handshake_counters: vigie_handshake::Counts::default(),
            unreadable: [0; DecodeError::COUNT],
            epoch: 0,
            epoch_ends_ns: EPOCH_NS,
            idle_epochs: (limits.idle_timeout_s as u64 / EPOCH_S).clamp(1, 200) as u8,
            share,
            order: Order { told_at: 0, last_frame: u64::MAX, ordinal: 0 },
            is_muted: false,
            tcp_pool: Vec::new(),
            udp_pool: Vec::new(),
            scratch: quic::Scratch::default(),
            held_bytes: 0,
            swept: Vec::new(),
            looks: vec![Look::NOTHING; BATCH_FRAMES_MAX],
            stands: vec![Stand::default(); BATCH_FRAMES_MAX],
        }
    }

    /// Takes the memory of the flow table now and not when flows come: a running sensor's first packets find it there.
    pub fn populate(&mut self) {
        self.table.populate();
    }

    /// What was counted.
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Goes on with other signatures. Flows that matched keep the rule that they matched.
    pub fn use_signatures(&mut self, bundle: Arc<Bundle>) {
        self.bundle = bundle;
    }

    /// Flows in the table, and its slots.
    pub fn flows(&self) -> (usize, usize) {
        (self.table.len(), self.table.capacity())
    }

    /// All counts with their family and reason, those of decoding, fragments and handshakes among them.
    pub fn all_counts(&self) -> Vec<(&'static str, &'static str, u64)> {
        let own = Counter::ALL.iter().map(|&counter| {
            let (family, reason) = counter.label();
            (family, reason, self.counters.get(counter))
        });
        let unreadable =
            DecodeError::ALL.iter().zip(self.unreadable).map(|(error, count)| ("decode_error", error.as_str(), count));
        let fragments = self.fragments.counts().labelled();
        let handshake = self.handshake_counters.labelled();
        own.chain(unreadable).chain(fragments).chain(handshake).collect()
    }
}
