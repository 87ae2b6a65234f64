//! One worker: frames in, events out, run to completion. It owns its flow table, records and counters; a packet never
//! leaves it. Frames are worked on in batches, in steps: while some are decoded and hashed, the lines of the flow table are fetched
//! for those before them. Time is the packets' own.

mod close;
mod listen;
mod look;

use std::ops::Range;
use std::sync::Arc;

use arrayvec::ArrayVec;
use vigie_signatures::{Bundle, Rule};

use crate::alert::{Alert, DnsAnswer, Event, Fact, Flow, FlowEnd, Hello, HelloTransport, Order};
use crate::detect::{self, Evidence, Judged, Match};
use crate::runtime::counters::{Counter, Counters};
use crate::runtime::limits::Limits;
use crate::runtime::records::{Dialogue, Placed, Record, Records};
use crate::runtime::told::{Told, Wanted};
use vigie_capture::{BATCH_FRAMES_MAX, Block};
use vigie_decode::fragments::{Fragment, Reassembler};
use vigie_decode::{Address, DecodeError, DecodeLimits, Decoded, Encapsulation, Segment, Transport};
use vigie_flow::headers::PacketKind;
use vigie_flow::{FlowEntry, FlowKey, FlowTable, HashKey, Lookup, PacketHeaders, PrimaryBucket, Probe, Side, Slot};
use vigie_handshake::address_names::AddressNames;
use vigie_handshake::tcp::TcpDialogue;
use vigie_handshake::udp::UdpDialogue;
use vigie_handshake::{dns, dtls, quic, udp};
use vigie_wire::Frame;

use look::{Fetching, headers_of, owner};
pub use look::{Look, look_at_all};

/// Seconds of one step of the flows' age.
const EPOCH_S: u64 = 4;
const EPOCH_NS: u64 = EPOCH_S * 1_000_000_000;
/// How many frames of a batch have their turn before the lines are needed that were fetched for them.
const STEP_FRAMES: usize = 32;
/// Nothing more is expected of the flow.
const SETTLED: u8 = 1;
/// The client is the key's high end.
const CLIENT_IS_HIGH: u8 = 2;
/// Who is the client was told by the flow, not guessed from ports.
const CLIENT_KNOWN: u8 = 4;
/// Something was carried.
const PAYLOAD: u8 = 8;
/// The flow is another worker's, followed only for the names that DNS tells in it.
const FOREIGN: u8 = 16;
/// UDP and TCP port of DNS (RFC 1035 §4.2.1).
const DNS_PORT: u16 = 53;
/// The least that a datagram with a client's Initial has (RFC 9000 §14.1).
const QUIC_INITIAL_BYTES_MIN: usize = 1200;
/// Bytes that a dialogue may hold to be kept for the next flow.
const POOLED_BYTES_MAX: usize = 8_192;
/// Dialogues that are kept for the next flow instead of being given back.
const POOL_MAX: usize = 128;

/// When and where a packet was seen.
#[derive(Clone, Copy, Debug)]
struct When {
    timestamp_ns: u64,
    number: u64,
    wire_length: u32,
    interface: u16,
}

impl When {
    const fn of(frame: &Frame<'_>) -> Self {
        Self {
            timestamp_ns: frame.timestamp_ns,
            number: frame.number,
            wire_length: frame.wire_length,
            interface: frame.interface,
        }
    }
}

/// Where the flow of a frame may stand in the table.
#[derive(Clone, Copy, Debug, Default)]
struct Stand {
    primary: PrimaryBucket,
    slot: Option<Slot>,
    /// Place among the [`Deeper`] if a glance was not enough.
    deeper: u8,
}

/// A packet that comes to its flow.
#[derive(Clone, Copy)]
struct Arrival<'p> {
    when: When,
    key: &'p FlowKey,
    side: Side,
    hash: u64,
    transport: Transport<'p>,
    wrapping: Wrapping<'p>,
}

/// Where to learn what stands around a packet, which is asked only of a flow's first.
#[derive(Clone, Copy)]
enum Wrapping<'p> {
    /// In the frame, for which a glance was enough.
    OfFrame(&'p Frame<'p>),
    /// The packet was decoded.
    Decoded(&'p Encapsulation),
}

impl Arrival<'_> {
    fn encapsulation(&self) -> Encapsulation {
        match self.wrapping {
            Wrapping::OfFrame(frame) => PacketHeaders::encapsulation(frame),
            Wrapping::Decoded(encapsulation) => *encapsulation,
        }
    }

    /// The receiver's address.
    const fn destination(&self) -> Address {
        match self.side {
            Side::Low => self.key.high,
            Side::High => self.key.low,
        }
    }

    /// The sender's port and the receiver's.
    const fn ports(&self) -> (u16, u16) {
        match self.side {
            Side::Low => (self.key.low_port(), self.key.high_port()),
            Side::High => (self.key.high_port(), self.key.low_port()),
        }
    }
}

/// The end of the epoch of a time, nanoseconds since the Unix epoch: then flows that fell silent are looked for.
pub const fn epoch_end_ns(timestamp_ns: u64) -> u64 {
    (timestamp_ns / EPOCH_NS + 1).saturating_mul(EPOCH_NS)
}

/// Which frames of a batch have their turn: while some are looked at, the lines of those before are on their way.
struct Steps {
    /// To be looked at.
    look: Range<usize>,
    /// Whose homes were fetched meanwhile.
    find: Range<usize>,
    /// Whose flows were.
    pass: Range<usize>,
}

impl Steps {
    /// All steps of a batch.
    fn of(frames: usize) -> impl Iterator<Item = Self> {
        let span = move |start: usize| start.min(frames)..(start + STEP_FRAMES).min(frames);
        let none = 0..0;
        (0..frames + 2 * STEP_FRAMES).step_by(STEP_FRAMES).map(move |start| Self {
            look: span(start),
            find: start.checked_sub(STEP_FRAMES).map_or(none.clone(), span),
            pass: start.checked_sub(2 * STEP_FRAMES).map_or(none.clone(), span),
        })
    }
}

/// Places of frames whose flows may be away from home.
type Away = ArrayVec<usize, STEP_FRAMES>;

#[inline]
fn within<'v, T>(values: &'v [T], span: &Range<usize>) -> &'v [T] {
    values.get(span.clone()).unwrap_or_default()
}

#[inline]
fn within_mut<'v, T>(values: &'v mut [T], span: &Range<usize>) -> &'v mut [T] {
    values.get_mut(span.clone()).unwrap_or_default()
}

/// What frames come down to for which a glance was not enough.
type Deeper<'f> = ArrayVec<Result<Decoded<'f>, DecodeError>, BATCH_FRAMES_MAX>;

/// What came of a packet that may have nothing to tell.
enum Passed {
    /// It had nothing to tell, and is counted.
    Counted,
    /// It is another worker's.
    Elsewhere,
    /// There is more to it. The slot of its flow, if that is known.
    Unsettled(Option<Slot>),
}

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
    wanted: Wanted,
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
    tcp_pool: Vec<Box<TcpDialogue>>,
    #[allow(clippy::vec_box)]
    udp_pool: Vec<Box<UdpDialogue>>,
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
        wanted: Wanted,
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

    /// Takes a batch of frames.
    pub fn batch(&mut self, frames: &[Frame<'_>], emit: &mut dyn FnMut(Event)) {
        let (mut looks, mut stands) = (std::mem::take(&mut self.looks), std::mem::take(&mut self.stands));
        for frames in frames.chunks(BATCH_FRAMES_MAX) {
            let (mut deeper, mut away) = (Deeper::new(), Away::new());
            Fetching::begin(frames);
            for steps in Steps::of(frames.len()) {
                self.find_slots_away(&mut away, &looks, &mut stands);
                self.look(frames, &steps.look, &mut looks, &mut stands, &mut deeper);
                self.find_slots(&steps.find, &looks, &mut stands, &mut away);
                self.pass_all(frames, &steps.pass, &looks, &stands, &deeper, emit);
            }
        }
        (self.looks, self.stands) = (looks, stands);
    }

    /// Takes those frames of a block of which there are looks, by this worker or another.
    pub fn batch_of(&mut self, block: &Block, looks: &[Look], emit: &mut dyn FnMut(Event)) {
        let mut stands = std::mem::take(&mut self.stands);
        for looks in looks.chunks(BATCH_FRAMES_MAX) {
            let (mut frames, mut away) = (ArrayVec::<_, BATCH_FRAMES_MAX>::new(), Away::new());
            for steps in Steps::of(looks.len()) {
                self.find_slots_away(&mut away, looks, &mut stands);
                for (look, stand) in within(looks, &steps.look).iter().zip(within_mut(&mut stands, &steps.look)) {
                    stand.primary = self.table.primary_bucket(look.hash);
                    frames.extend(block.frame(look.place as usize));
                }
                self.find_slots(&steps.find, looks, &mut stands, &mut away);
                self.pass_all(&frames, &steps.pass, looks, &stands, &Deeper::new(), emit);
            }
        }
        self.stands = stands;
    }

    /// Finds the flows of some frames, as far as a frame is a packet, and has their homes fetched.
    #[inline]
    fn look<'f>(
        &self,
        frames: &[Frame<'f>],
        span: &Range<usize>,
        looks: &mut [Look],
        stands: &mut [Stand],
        deeper: &mut Deeper<'f>,
    ) {
        let mut fetching = Fetching::new(frames, span.start);
        let room = within_mut(looks, span).iter_mut().zip(within_mut(stands, span));
        for (frame, (look, stand)) in within(frames, span).iter().zip(room) {
            fetching.step();
            look.is_plain = look.headers.read(frame);
            if !look.is_plain {
                stand.deeper = deeper.len() as u8;
                look.headers = self.look_deeper(frame, deeper);
            }
            look.hash = self.table.hash(&look.headers.key);
            stand.primary = self.table.primary_bucket(look.hash);
        }
    }

    /// The flow of a packet for which a glance was not enough.
    #[cold]
    #[inline(never)]
    fn look_deeper<'f>(&self, frame: &Frame<'f>, deeper: &mut Deeper<'f>) -> PacketHeaders {
        let decoded = vigie_decode::decode(frame, &self.decode_limits);
        let headers = headers_of(&decoded);
        // There is room: a batch has no more frames.
        let _ = deeper.try_push(decoded);
        headers
    }

    /// Finds the slots of frames whose homes were fetched; the lines of their flows are fetched.
    #[inline]
    fn find_slots(&self, span: &Range<usize>, looks: &[Look], stands: &mut [Stand], away: &mut Away) {
        let stands = within_mut(stands, span).iter_mut().zip(within(looks, span));
        for (place, (stand, look)) in (span.start..).zip(stands) {
            stand.slot = None;
            match self.table.probe_primary(stand.primary, look.hash) {
                Probe::TagMatch(slot) => stand.slot = Some(slot),
                Probe::Absent => {}
                // There is room: a step has no more frames.
                Probe::MaybeDisplaced => {
                    let _ = away.try_push(place);
                }
            }
        }
    }

    /// Finds the slots of frames that may be away from home, as was told a step before.
    #[inline]
    fn find_slots_away(&self, away: &mut Away, looks: &[Look], stands: &mut [Stand]) {
        for place in away.drain(..) {
            if let (Some(stand), Some(look)) = (stands.get_mut(place), looks.get(place)) {
                stand.slot = self.table.probe_alternate(stand.primary, look.hash);
            }
        }
    }

    /// Takes some of the frames, in order.
    #[inline]
    fn pass_all(
        &mut self,
        frames: &[Frame<'_>],
        span: &Range<usize>,
        looks: &[Look],
        stands: &[Stand],
        deeper: &Deeper<'_>,
        emit: &mut dyn FnMut(Event),
    ) {
        let frames = within(frames, span);
        // What is rarer is told apart, so that it costs the others nothing.
        let (mut bytes, mut others, mut uncounted) = (0, 0, 0);
        let told = within(looks, span).iter().zip(within(stands, span));
        for (frame, (look, stand)) in frames.iter().zip(told) {
            bytes += u64::from(frame.wire_length);
            let passed = if look.is_own {
                self.pass(frame, look, stand)
            } else {
                others += 1;
                bytes -= u64::from(frame.wire_length);
                self.pass_other(frame, look, emit)
            };
            match passed {
                Passed::Counted => {}
                Passed::Elsewhere => uncounted += 1,
                Passed::Unsettled(slot) => {
                    uncounted += 1;
                    let late;
                    let decoded = if look.is_plain {
                        None
                    } else if let Some(decoded) = deeper.get(usize::from(stand.deeper)) {
                        Some(decoded)
                    } else {
                        // Another worker decoded it.
                        late = self.decode(frame);
                        Some(&late)
                    };
                    self.unsettled(frame, look, decoded, slot, emit);
                }
            }
        }
        let count = frames.len() as u64;
        self.counters.add(Counter::Packets, count - uncounted);
        self.counters.add(Counter::Frames, count - others);
        self.counters.add(Counter::Bytes, bytes);
    }

    /// Takes a frame of another worker's flow.
    #[cold]
    fn pass_other(&mut self, frame: &Frame<'_>, look: &Look, emit: &mut dyn FnMut(Event)) -> Passed {
        if look.is_for_all() {
            return Passed::Unsettled(None);
        }
        self.advance(frame, emit);
        Passed::Elsewhere
    }

    /// Counts a packet that has nothing to tell: of a settled flow, or empty.
    #[inline]
    fn pass(&mut self, frame: &Frame<'_>, look: &Look, stand: &Stand) -> Passed {
        if frame.timestamp_ns >= self.epoch_ends_ns {
            return Passed::Unsettled(None);
        }
        let headers = &look.headers;
        let (epoch, idle_epochs) = (self.epoch as u8, self.idle_epochs);
        let slot = match stand.slot {
            Some(slot) => slot,
            // A flow that is no older than the batch was not there when the batch was looked at.
            None => match self.table.probe_primary(stand.primary, look.hash) {
                Probe::TagMatch(slot) => slot,
                Probe::MaybeDisplaced | Probe::Absent => return Passed::Unsettled(None),
            },
        };
        let Some((entry, last)) = self.table.confirm(slot, stand.primary, &headers.key) else {
            return Passed::Unsettled(None);
        };
        // Asked first what is nearly always so; which packets carry something nobody can foresee.
        let is_counted_only = if entry.marks & SETTLED != 0 {
            headers.kind != PacketKind::MayOpen
        } else {
            headers.kind == PacketKind::PureAck && (entry.record != 0 || !self.wanted.flows)
        };
        if !is_counted_only || epoch.wrapping_sub(*last) > idle_epochs {
            return Passed::Unsettled(Some(slot));
        }
        if *last != epoch {
            *last = epoch;
        }
        let counter = match headers.side {
            Side::Low => &mut entry.from_low,
            Side::High => &mut entry.from_high,
        };
        let is_full = FlowEntry::count(counter, frame.wire_length);
        let record = entry.record;
        if is_full {
            self.spill(slot);
        }
        if record != 0 {
            self.seen(record, &When::of(frame));
        }
        Passed::Counted
    }

    #[cold]
    #[inline(never)]
    fn decode<'f>(&self, frame: &Frame<'f>) -> Result<Decoded<'f>, DecodeError> {
        vigie_decode::decode(frame, &self.decode_limits)
    }

    /// Takes a frame with more to it than to be counted. It was decoded before if a glance was not enough.
    fn unsettled<'f>(
        &mut self,
        frame: &Frame<'f>,
        look: &Look,
        decoded: Option<&Result<Decoded<'f>, DecodeError>>,
        slot: Option<Slot>,
        emit: &mut dyn FnMut(Event),
    ) {
        self.advance(frame, emit);
        let Look { headers, hash, .. } = look;
        let (transport, wrapping) = match decoded {
            None => match headers.transport(frame) {
                Some(transport) => (transport, Wrapping::OfFrame(frame)),
                None => return,
            },
            Some(Ok(Decoded::Packet(packet))) => (packet.transport, Wrapping::Decoded(&packet.encapsulation)),
            Some(Ok(Decoded::Fragment(fragment))) => return self.fragment(frame, fragment, emit),
            Some(Err(error)) => return self.count_unreadable(*error),
        };
        let (key, side, hash) = (&headers.key, headers.side, *hash);
        self.packet(&Arrival { when: When::of(frame), key, side, hash, transport, wrapping }, slot, emit);
    }

    fn count_unreadable(&mut self, error: DecodeError) {
        if let Some(count) = self.unreadable.get_mut(error.index()) {
            *count += 1;
        }
    }

    /// Ends all flows, telling what was pending.
    pub fn finish(&mut self, emit: &mut dyn FnMut(Event)) {
        self.order.told_at = u64::MAX;
        self.sweep(true, FlowEnd::Shutdown, emit);
    }

    /// Joins fragments, and goes on with the datagram when it is whole; which may again be a fragment, of a packet
    /// within: each join counts as a header of encapsulation, so this ends.
    #[cold]
    fn fragment(&mut self, frame: &Frame<'_>, fragment: &Fragment<'_>, emit: &mut dyn FnMut(Event)) {
        let Some(datagram) = self.fragments.insert(fragment, frame.timestamp_ns) else { return };
        match vigie_decode::decode_reassembled(&datagram, &self.decode_limits) {
            Ok(Decoded::Packet(packet)) => {
                let (key, side) = FlowKey::of(&packet);
                let (hash, wrapping) = (self.table.hash(&key), Wrapping::Decoded(&packet.encapsulation));
                let when = When::of(frame);
                self.packet(
                    &Arrival { when, key: &key, side, hash, transport: packet.transport, wrapping },
                    None,
                    emit,
                );
            }
            Ok(Decoded::Fragment(inner)) => self.fragment(frame, &inner, emit),
            Err(error) => self.count_unreadable(error),
        }
        self.fragments.recycle(datagram);
    }

    /// Brings the clock to a packet's time, and ends the flows that fell silent meanwhile.
    #[inline]
    fn advance(&mut self, frame: &Frame<'_>, emit: &mut dyn FnMut(Event)) {
        if frame.timestamp_ns >= self.epoch_ends_ns {
            self.begin_epoch(frame.timestamp_ns, frame.number, emit);
        }
    }

    /// Brings the clock to a time while there are no packets.
    pub fn pass_time(&mut self, timestamp_ns: u64, emit: &mut dyn FnMut(Event)) {
        if timestamp_ns >= self.epoch_ends_ns {
            self.begin_epoch(timestamp_ns, self.order.told_at, emit);
        }
    }

    #[cold]
    #[inline(never)]
    fn begin_epoch(&mut self, timestamp_ns: u64, told_at: u64, emit: &mut dyn FnMut(Event)) {
        let epoch = timestamp_ns / EPOCH_NS;
        // Beyond the idle time every flow is idle; so ages of one byte never wrap unseen.
        let all = epoch - self.epoch > u64::from(self.idle_epochs);
        self.epoch = epoch;
        self.epoch_ends_ns = epoch_end_ns(timestamp_ns);
        self.order = Order { told_at, last_frame: u64::MAX, ordinal: 0 };
        self.sweep(all, FlowEnd::Timeout, emit);
    }

    #[cold]
    fn sweep(&mut self, all: bool, reason: FlowEnd, emit: &mut dyn FnMut(Event)) {
        let mut swept = std::mem::take(&mut self.swept);
        let mut ended = 0;
        for buckets in self.table.sweep_ranges() {
            let told = swept.len();
            self.table.sweep(buckets, self.epoch as u8, self.idle_epochs, all, |slot, entry| {
                ended += u64::from(entry.marks & FOREIGN == 0);
                if entry.record != 0 {
                    swept.push((u64::from(entry.record), slot));
                }
            });
            self.close_all_silent(&mut swept, told);
        }
        if reason == FlowEnd::Timeout {
            self.counters.add(Counter::FlowsTimedOut, ended);
        }
        // In the order of the flows' last packets, whatever their places in the table.
        for (number, _) in &mut swept {
            *number = self.records.get(*number as u32).map_or(0, |record| record.last_frame);
        }
        swept.sort_unstable_by_key(|&(last_frame, _)| last_frame);
        let order = self.order;
        for (last_frame, slot) in swept.drain(..) {
            // Its slot is free, but nobody took it yet.
            let Some(entry) = self.table.get(slot).copied() else { continue };
            self.order = Order { told_at: order.told_at, last_frame, ordinal: 0 };
            self.close(&entry, reason, emit);
        }
        self.order = order;
        self.swept = swept;
    }

    /// Lets those go of the flows that left the table, told by their records and where they stood, from a place on, that have
    /// nothing to tell: most, and it does not matter when they go.
    fn close_all_silent(&mut self, swept: &mut Vec<(u64, Slot)>, from: usize) {
        /// How many before its turn a record is fetched.
        const FETCHED_RECORDS: usize = 12;
        let mut kept = from;
        for place in from..swept.len() {
            // Their records lie far apart.
            if let Some(&(number, _)) = swept.get(place + FETCHED_RECORDS) {
                self.records.fetch(number as u32);
            }
            let Some(&flow) = swept.get(place) else { break };
            let Some(entry) = self.table.get(flow.1).copied() else { continue };
            if !self.close_silent(&entry)
                && let Some(place) = swept.get_mut(kept)
            {
                *place = flow;
                kept += 1;
            }
        }
        swept.truncate(kept);
    }

    fn packet(&mut self, arrival: &Arrival<'_>, slot: Option<Slot>, emit: &mut dyn FnMut(Event)) {
        self.order = Order { told_at: arrival.when.number, last_frame: u64::MAX, ordinal: 0 };
        if !self.share.owns(arrival.hash) {
            if arrival.key.has_port(DNS_PORT) {
                self.foreign(arrival);
            }
            return;
        }
        self.counters.add(Counter::Packets, 1);
        self.own(arrival, slot, emit);
    }

    /// A packet of DNS that is another worker's: followed for the names that it tells, but not told.
    #[cold]
    fn foreign(&mut self, arrival: &Arrival<'_>) {
        let (counters, handshake_counters) = (self.counters.clone(), self.handshake_counters.clone());
        self.is_muted = true;
        self.own(arrival, None, &mut |_| {});
        self.is_muted = false;
        (self.counters, self.handshake_counters) = (counters, handshake_counters);
    }

    fn own(&mut self, arrival: &Arrival<'_>, slot: Option<Slot>, emit: &mut dyn FnMut(Event)) {
        let epoch = self.epoch as u8;
        let found = match slot {
            Some(slot) => Lookup::Known(slot),
            None => self.table.find_or_insert(arrival.key, arrival.hash, epoch),
        };
        let slot = match found {
            Lookup::Known(slot) => {
                if epoch.wrapping_sub(self.table.touch(slot, epoch)) > self.idle_epochs {
                    self.counters.add(Counter::FlowsTimedOut, 1);
                    self.reopen(slot, arrival, FlowEnd::Timeout, emit);
                }
                slot
            }
            Lookup::New(slot) => {
                self.open(slot, arrival);
                slot
            }
            Lookup::Replaced(slot, old) => {
                self.counters.add(Counter::FlowsEvicted, 1);
                self.close(&old, FlowEnd::Evicted, emit);
                self.open(slot, arrival);
                slot
            }
        };
        let Some(entry) = self.table.get_mut(slot) else { return };
        let counter = match arrival.side {
            Side::Low => &mut entry.from_low,
            Side::High => &mut entry.from_high,
        };
        let is_full = FlowEntry::count(counter, arrival.when.wire_length);
        let (marks, number) = (entry.marks, entry.record);
        if is_full {
            self.spill(slot);
        }
        match arrival.transport {
            Transport::Tcp(segment) => {
                let is_syn = segment.flags & (Segment::SYN | Segment::ACK) == Segment::SYN;
                if marks & SETTLED != 0 && !is_syn {
                    return self.seen(number, &arrival.when);
                }
                self.tcp(arrival, &segment, slot, emit);
            }
            Transport::Udp(payload) => {
                if marks & SETTLED != 0 {
                    if !self.is_another_connection(slot, arrival.side, payload) {
                        return self.seen(number, &arrival.when);
                    }
                    self.reopen(slot, arrival, FlowEnd::Timeout, emit);
                }
                self.udp(arrival, payload, slot, emit);
            }
            // No hello comes over anything else.
            Transport::Other => {
                self.mark(slot, SETTLED);
                self.seen(number, &arrival.when);
            }
        }
    }

    /// Notes the time of a packet on the flow's record, if it has one.
    #[inline]
    fn seen(&mut self, number: u32, when: &When) {
        if number != 0
            && let Some(record) = self.records.get_mut(number)
        {
            record.last_seen_ns = record.last_seen_ns.max(when.timestamp_ns);
            record.last_frame = when.number;
        }
    }

    /// A flow's first packet: who is the client, as far as it tells.
    fn open(&mut self, slot: Slot, arrival: &Arrival<'_>) {
        self.counters.add(Counter::Flows, 1);
        let (client, known) = client_side(arrival);
        if let Some(entry) = self.table.get_mut(slot) {
            let known = if known { CLIENT_KNOWN } else { 0 };
            entry.marks = mark_client(known | if self.is_muted { FOREIGN } else { 0 }, client);
        }
    }

    /// Ends the flow in a slot and lets another one begin there, of the same 5-tuple.
    fn reopen(&mut self, slot: Slot, arrival: &Arrival<'_>, reason: FlowEnd, emit: &mut dyn FnMut(Event)) {
        let Some(entry) = self.table.get_mut(slot) else { return };
        let old = *entry;
        (entry.marks, entry.spare, entry.record, entry.from_low, entry.from_high) = (0, 0, 0, 0, 0);
        self.close(&old, reason, emit);
        self.open(slot, arrival);
    }

    /// Empties the small counters of a flow into its record; a flow without one starts over.
    #[cold]
    fn spill(&mut self, slot: Slot) {
        let Some(entry) = self.table.get_mut(slot) else { return };
        let counted = [FlowEntry::counted(entry.from_low), FlowEntry::counted(entry.from_high)];
        (entry.from_low, entry.from_high) = (0, 0);
        if let Some(record) = self.records.get_mut(entry.record) {
            for (total, more) in record.spilled.get_or_insert_default().iter_mut().zip(counted) {
                total.0 += more.0;
                total.1 += more.1;
            }
        }
    }

    /// The number of the flow's record, which is made if there was none.
    #[inline]
    fn record(&mut self, slot: Slot, arrival: &Arrival<'_>, emit: &mut dyn FnMut(Event)) -> u32 {
        let number = self.table.get(slot).map_or(0, |entry| entry.record);
        if number == 0 {
            return self.new_record(slot, arrival, emit);
        }
        self.seen(number, &arrival.when);
        number
    }

    #[cold]
    #[inline(never)]
    fn new_record(&mut self, slot: Slot, arrival: &Arrival<'_>, emit: &mut dyn FnMut(Event)) -> u32 {
        let when = &arrival.when;
        let record = Record {
            slot,
            first_seen_ns: when.timestamp_ns,
            last_seen_ns: when.timestamp_ns,
            last_frame: when.number,
            interface: when.interface,
            encapsulation: self.records.tunnels.encapsulation(arrival.encapsulation()),
            spilled: None,
            dialogue: Dialogue::Over,
            nameless: None,
            rule: None,
        };
        let number = match self.records.add(record) {
            Placed::At(number) => number,
            Placed::Instead(number, old) => {
                self.counters.add(Counter::RecordsEvicted, 1);
                self.forget(*old, emit);
                number
            }
            Placed::Full => {
                self.counters.add(Counter::RecordsExhausted, 1);
                0
            }
        };
        if let Some(entry) = self.table.get_mut(slot) {
            entry.record = number;
        }
        number
    }
}

impl Worker {
    fn emit(&mut self, timestamp_ns: u64, frame_number: u64, fact: Fact, emit: &mut dyn FnMut(Event)) {
        self.order.ordinal += 1;
        emit(Event { timestamp_ns, frame_number, order: self.order, fact });
    }
}

fn mark_client(marks: u8, client: Side) -> u8 {
    match client {
        Side::Low => marks & !CLIENT_IS_HIGH,
        Side::High => marks | CLIENT_IS_HIGH,
    }
}

/// Who is the client by a flow's first packet, and whether that is certain: the SYN tells, else the lower port serves.
fn client_side(arrival: &Arrival<'_>) -> (Side, bool) {
    let side = arrival.side;
    if let Transport::Tcp(segment) = arrival.transport
        && segment.flags & Segment::SYN != 0
    {
        let answers = segment.flags & Segment::ACK != 0;
        return (if answers { side.opposite() } else { side }, true);
    }
    let serves = |port: u16| port < 1024;
    let (source, destination) = arrival.ports();
    let client = if serves(source) && !serves(destination) { side.opposite() } else { side };
    (client, false)
}

/// What is known of a flow, told from the client's end.
fn flow_of(entry: &FlowEntry, record: Option<&Record>, when: &When) -> Flow {
    let key = entry.key();
    let mut from_low = FlowEntry::counted(entry.from_low);
    let mut from_high = FlowEntry::counted(entry.from_high);
    if let Some(record) = record {
        let [low, high] = record.spilled.as_deref().copied().unwrap_or_default();
        from_low = (from_low.0 + low.0, from_low.1 + low.1);
        from_high = (from_high.0 + high.0, from_high.1 + high.1);
    }
    let first_seen_ns = record.map_or(when.timestamp_ns, |record| record.first_seen_ns);
    let low = (key.low, key.low_port(), from_low);
    let high = (key.high, key.high_port(), from_high);
    let (client, server) = if entry.marks & CLIENT_IS_HIGH != 0 { (high, low) } else { (low, high) };
    Flow {
        id: key.stable_id(first_seen_ns),
        client: client.0,
        client_port: client.1,
        server: server.0,
        server_port: server.1,
        protocol: key.protocol,
        encapsulation: record.map(|record| (&record.encapsulation).into()).unwrap_or_default(),
        interface: when.interface,
        first_seen_ns,
        last_seen_ns: record.map_or(when.timestamp_ns, |record| record.last_seen_ns),
        packets_to_server: client.2.0,
        packets_to_client: server.2.0,
        bytes_to_server: client.2.1,
        bytes_to_client: server.2.1,
    }
}
