//! The worker turns frames into events. One worker follows its flows from the first packet to the last, and shares neither
//! flow table nor records nor counters with anybody, so that no packet waits for a lock.
//!
//! It reads no clock, file or socket: time is the time of the packets, so a capture that is replayed gives the same events.
//!
//! A packet goes through these files, from top to bottom:
//!
//! 1. `headers.rs` parses the headers of the frame, and hashes the key of its flow.
//! 2. `batch.rs` finds the flow in the table. Most packets belong to settled flows; they are counted, and done.
//! 3. `packet.rs` takes the other packets: it decodes tunnels, reassembles fragments, and finds or adds the flow.
//! 4. `tcp.rs` and `udp.rs` inspect the payload for a hello or a name in clear text, `dns.rs` for answers, `certificate.rs` for the
//!    server's names where the hello hides its own, `watch.rs` for a hello that contradicts the one before it.
//! 5. `findings.rs` matches the name against the signatures.
//! 6. `report.rs` emits the events, and settles the flow.
//!
//! `shunt.rs` has settled flows counted and dropped before they come here, `neighbours.rs` joins the addresses of a host,
//! `waiting.rs` has the flows whose name may still come with DNS.
//! `flows.rs` has what a flow is in the table, `records.rs` the records that some flows have besides, `clock.rs` finds the
//! flows that have timed out, `close.rs` ends them. `counters.rs` lists what is counted.
//!
//! Not here: where frames come from (`vigie_capture`), how bytes are parsed (`vigie_decode`, `vigie_handshake`), and where
//! events go ([`read`](crate::read), [`run`](crate::run)).

mod batch;
mod certificate;
mod clock;
mod close;
mod counters;
mod dns;
mod findings;
mod flows;
mod headers;
mod neighbours;
mod packet;
mod records;
mod report;
mod requests;
mod shunt;
mod tcp;
mod udp;
mod waiting;
mod watch;

use std::cell::Cell;
use std::collections::HashSet;
use std::sync::Arc;

use foldhash::fast::RandomState;
use vigie_capture::BATCH_FRAMES_MAX;
use vigie_decode::fragments::Reassembler;
use vigie_decode::{Address, DecodeError, DecodeLimits};
use vigie_flow::{FlowTable, HashKey, Slot};
use vigie_handshake::address_names::AddressNames;
use vigie_handshake::neighbours::MacAddress;
use vigie_handshake::quic;
use vigie_handshake::tcp::{SplitHello, TcpInspector};
use vigie_handshake::udp::UdpInspector;
use vigie_signatures::Bundle;

use batch::TablePosition;
use clock::{EPOCH_NS, EPOCH_S};
use headers::owner;
use neighbours::ClientMacs;
use records::Records;
use shunt::Shunt;
use waiting::Waiting;

use crate::event::{Flow, Order};
use crate::settings::Limits;

pub use clock::epoch_end_ns;
pub use counters::{Counter, Counters, HelloCounts, HelloSeen};
pub use findings::EventTypes;
pub use headers::{ParsedFrame, parse_headers};

/// UDP and TCP port of DNS (RFC 1035 §4.2.1).
const DNS_PORT: u16 = 53;

/// The flows that a worker owns, where several workers share a capture.
///
/// Each worker also receives the frames that begin an epoch, so that all clocks agree, and those
/// [for every worker](ParsedFrame::is_for_every_worker), so that all know the same DNS answers.
#[derive(Clone, Copy, Debug)]
pub struct Share {
    /// The number of the worker, from 0.
    pub index: u32,
    /// The number of workers.
    pub count: u32,
}

impl Share {
    /// One worker owns all flows.
    pub const ALL: Self = Self { index: 0, count: 1 };

    #[inline]
    fn owns(self, hash: u64) -> bool {
        self.count == 1 || owner(hash, self.count) == self.index
    }
}

/// Whether the client of a flow is in scope, by the flow and the client's hardware address if it is known.
pub type HelloScope = Arc<dyn Fn(&Flow, Option<MacAddress>) -> bool + Send + Sync>;

/// Counts of flows, and of handshakes.
type OwnCounts = ([u64; Counter::ALL.len()], vigie_handshake::Counts);

/// One worker. Frames go into [`batch`](Self::batch), events come out.
pub struct Worker {
    limits: Limits,
    event_types: EventTypes,
    bundle: Arc<Bundle>,
    names: Arc<AddressNames>,
    table: FlowTable,
    records: Records,
    waiting: Waiting,
    /// None unless settled flows are shunted.
    shunt: Option<Box<Shunt>>,
    reassembler: Reassembler,
    decode_limits: DecodeLimits,
    handshake_limits: vigie_handshake::Limits,
    counters: Counters,
    handshake_counters: vigie_handshake::Counts,
    decode_errors: [u64; DecodeError::COUNT],
    /// Epochs of [`EPOCH_S`] since the Unix epoch; never goes back.
    epoch: u64,
    /// The end of the epoch, as packets are stamped.
    epoch_ends_ns: u64,
    /// When the bytes of sighted flows were last told, as packets are stamped.
    bytes_told_ns: u64,
    /// Clients whose flows ended in this epoch, if they are told.
    ended_clients: HashSet<Address, RandomState>,
    /// Some flow had packets in both directions since the last epoch began.
    both_directions_seen: bool,
    /// What is added to the time stamps of packets, so that the epochs go on when the clock that stamps them is set.
    clock_shift_ns: i64,
    /// A flow without a packet for more epochs than this has timed out.
    idle_epochs: u8,
    secret: HashKey,
    share: Share,
    client_macs: ClientMacs,
    /// Whose hellos are counted for the coverage; none if everybody's are.
    hello_scope: Option<HelloScope>,
    /// Clients whose hello the scope is asked about. Apart from the others, which must not make room for them.
    scope_macs: ClientMacs,
    /// The order of the next event.
    order: Order,
    /// Number of the frame that is being decoded, 0 for none.
    decoding: Cell<u64>,
    /// Packets from or to this port panic, so that a test can see what becomes of the worker.
    #[cfg(debug_assertions)]
    panic_port: Option<u16>,
    /// What was counted for the worker's own flows, while a packet of another worker's flow is handled.
    own_counts: Option<OwnCounts>,
    /// The packet being handled is from fragments that contradict each other.
    is_disputed: bool,
    /// Inspectors to be reused. They are boxed because records hold them in boxes.
    #[allow(clippy::vec_box)]
    tcp_pool: Vec<Box<TcpInspector>>,
    #[allow(clippy::vec_box)]
    split_pool: Vec<Box<SplitHello>>,
    #[allow(clippy::vec_box)]
    udp_pool: Vec<Box<UdpInspector>>,
    quic_scratch: quic::Scratch,
    /// Tunnels that begin in the segment at hand.
    tunnel_depth: u8,
    /// Bytes that all inspectors hold together.
    inspection_bytes: usize,
    /// Buffer for a sweep: the flows that end, each with the id of its record, later with its last frame.
    swept: Vec<(u64, Slot)>,
    /// Buffers for a batch.
    parsed: Vec<ParsedFrame>,
    positions: Vec<TablePosition>,
}

impl Worker {
    /// A worker with an empty table for `flows_max` flows. Workers that share `names` learn from each other's DNS answers.
    pub fn new(
        limits: &Limits,
        event_types: EventTypes,
        bundle: Arc<Bundle>,
        names: Arc<AddressNames>,
        secret: HashKey,
        share: Share,
    ) -> Self {
        // A flow has one record at most.
        let records_max = if event_types.flows { limits.flows_max } else { limits.records_max.min(limits.flows_max) };
        Self {
            event_types: EventTypes { texts: limits.texts(), ..event_types },
            bundle,
            names,
            table: FlowTable::new(limits.flows_max, secret),
            records: Records::new(records_max),
            waiting: Waiting::default(),
            shunt: None,
            reassembler: Reassembler::new(limits.fragments()),
            decode_limits: limits.decode(),
            handshake_limits: limits.handshake(),
            limits: limits.clone(),
            counters: Counters::default(),
            handshake_counters: vigie_handshake::Counts::default(),
            decode_errors: [0; DecodeError::COUNT],
            epoch: 0,
            epoch_ends_ns: EPOCH_NS,
            bytes_told_ns: 0,
            ended_clients: HashSet::default(),
            both_directions_seen: false,
            clock_shift_ns: 0,
            idle_epochs: (limits.idle_timeout_s as u64 / EPOCH_S).clamp(1, 200) as u8,
            secret,
            share,
            client_macs: ClientMacs::default(),
            hello_scope: None,
            scope_macs: ClientMacs::default(),
            order: Order { at_frame: 0, last_frame: u64::MAX, ordinal: 0 },
            decoding: Cell::new(0),
            #[cfg(debug_assertions)]
            panic_port: None,
            own_counts: None,
            is_disputed: false,
            tcp_pool: Vec::new(),
            split_pool: Vec::new(),
            udp_pool: Vec::new(),
            quic_scratch: quic::Scratch::default(),
            tunnel_depth: 0,
            inspection_bytes: 0,
            swept: Vec::new(),
            parsed: vec![ParsedFrame::EMPTY; BATCH_FRAMES_MAX],
            positions: vec![TablePosition::default(); BATCH_FRAMES_MAX],
        }
    }

    /// Has the flow table begin small, and grow up to its limit.
    pub fn with_growing_table(mut self) -> Self {
        self.table = FlowTable::growing(self.limits.flows_max, self.secret);
        self
    }

    /// Allocates the memory of the flow table now, so that a running sensor's first packets do not wait for it.
    pub fn populate(&mut self) {
        self.table.populate();
    }

    /// Begins with an empty flow table and counts of 0, after a panic has left flows in an unknown state. Flows that wait for
    /// names, and the clock, are kept.
    pub fn start_anew(&mut self) {
        let shunt = self.shunt_anew();
        // First, so that there is memory for one table only.
        self.table = FlowTable::new(1, self.secret);
        let (bundle, names) = (Arc::clone(&self.bundle), Arc::clone(&self.names));
        let new = Self::new(&self.limits, self.event_types, bundle, names, self.secret, self.share);
        *self = Self {
            waiting: std::mem::take(&mut self.waiting),
            shunt,
            counters: self.counters.start_anew(),
            hello_scope: self.hello_scope.take(),
            epoch: self.epoch,
            epoch_ends_ns: self.epoch_ends_ns,
            clock_shift_ns: self.clock_shift_ns,
            #[cfg(debug_assertions)]
            panic_port: self.panic_port,
            ..new
        };
        self.populate();
    }

    /// The number of the frame that is being decoded, 0 for none.
    pub fn frame_in_decoding(&self) -> u64 {
        self.decoding.get()
    }

    /// The number of the frame that was handled last.
    pub const fn frame_in_handling(&self) -> u64 {
        self.order.at_frame
    }

    /// Counts frames that were not counted because of a panic.
    pub fn count_frames(&mut self, frames: u64, bytes: u64) {
        self.counters.add(Counter::Frames, frames);
        self.counters.add(Counter::Bytes, bytes);
    }

    /// From now on, packets from or to this port panic.
    #[cfg(debug_assertions)]
    pub const fn panic_at_port(&mut self, port: u16) {
        self.panic_port = Some(port);
    }

    /// Bytes that all inspectors hold together, as they were accounted for, and as they are.
    #[cfg(debug_assertions)]
    pub fn inspected_bytes(&self) -> (usize, usize) {
        (self.inspection_bytes, self.records.inspected_bytes())
    }

    /// The worker's own counts.
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Replaces the signatures. Flows that were sighted keep their rule.
    pub fn use_signatures(&mut self, bundle: Arc<Bundle>) {
        self.bundle = bundle;
    }

    /// Counts only the hellos of clients in this scope for the coverage; those of all clients if there is none.
    pub fn count_hellos_of(&mut self, scope: Option<HelloScope>) {
        self.hello_scope = scope;
    }

    /// The number of flows in the table, and of its slots.
    pub fn flows(&self) -> (usize, usize) {
        (self.table.len(), self.table.capacity())
    }

    /// All counts with their family and reason, including those of decoding, reassembly and handshakes.
    pub fn all_counts(&self) -> Vec<(&'static str, &'static str, u64)> {
        let own = Counter::ALL.iter().map(|&counter| {
            let (family, reason) = counter.label();
            (family, reason, self.counters.get(counter))
        });
        let decode_errors = DecodeError::ALL
            .iter()
            .zip(self.decode_errors)
            .map(|(error, count)| ("decode_error", error.as_str(), count));
        let fragments = self.reassembler.counts().labelled();
        let handshakes = self.handshake_counters.labelled();
        own.chain(decode_errors).chain(fragments).chain(handshakes).collect()
    }
}
