//! Step 2: find the flows of a batch of frames in the table. This is the fast path, on which most packets end: a packet of
//! a settled flow is counted, and nothing else happens.
//!
//! A batch runs through a pipeline of three steps, 32 frames each. While headers are parsed, the hash buckets of the 32
//! frames before are on their way from memory to the cache, and the flow entries of the 32 before those.

use std::ops::Range;

use arrayvec::ArrayVec;
use vigie_capture::{BATCH_FRAMES_MAX, Block};
use vigie_decode::{DecodeError, Decoded};
use vigie_flow::headers::PacketKind;
use vigie_flow::{FlowEntry, PacketHeaders, PrimaryBucket, Probe, Side, Slot};
use vigie_wire::Frame;

use super::flows::{CLIENT_IS_HIGH, REQUESTS, SETTLED, WATCHED};
use super::headers::{HeaderPrefetch, headers_of};
use super::packet::FrameInfo;
use super::{Counter, ParsedFrame, Worker};
use crate::event::Event;

/// Frames of one pipeline step: enough time for a cache line to arrive.
const STEP_FRAMES: usize = 32;

/// Where to look for the flow of a frame in the table.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct TablePosition {
    primary: PrimaryBucket,
    /// The slot of the flow, if the probes found one.
    slot: Option<Slot>,
    /// Index in the [`DecodedFrames`], unless the frame is plain.
    decoded: u8,
}

/// The frames of a batch that each step of the pipeline works on.
struct PipelineStep {
    /// Parse the headers, and prefetch the hash buckets.
    parse: Range<usize>,
    /// Probe the hash buckets, and prefetch the flow entries.
    find: Range<usize>,
    /// Count the packets, or handle them.
    handle: Range<usize>,
}

impl PipelineStep {
    /// All steps of a batch.
    fn all(frames: usize) -> impl Iterator<Item = Self> {
        let range = move |start: usize| start.min(frames)..(start + STEP_FRAMES).min(frames);
        let none = 0..0;
        (0..frames + 2 * STEP_FRAMES).step_by(STEP_FRAMES).map(move |start| Self {
            parse: range(start),
            find: start.checked_sub(STEP_FRAMES).map_or(none.clone(), range),
            handle: start.checked_sub(2 * STEP_FRAMES).map_or(none.clone(), range),
        })
    }
}

/// Indices of frames whose flows may be displaced to their alternate buckets.
type Displaced = ArrayVec<usize, STEP_FRAMES>;

/// Frames that are not plain, decoded.
type DecodedFrames<'f> = ArrayVec<Result<Decoded<'f>, DecodeError>, BATCH_FRAMES_MAX>;

/// What the fast path did with a packet.
enum FastPath {
    /// The packet is counted; nothing is left to do.
    Counted,
    /// Another worker owns the packet.
    NotOwned,
    /// The packet has to be handled. The slot of its flow, if it is known.
    Handle(Option<Slot>),
}

impl Worker {
    /// Processes a batch of frames. `emit` receives the events.
    pub fn batch(&mut self, frames: &[Frame<'_>], emit: &mut dyn FnMut(Event)) {
        if self.shunt.is_some() { self.batch_of::<true>(frames, emit) } else { self.batch_of::<false>(frames, emit) }
    }

    /// Processes a batch of frames, where settled flows are shunted or not.
    #[inline(always)]
    fn batch_of<const SHUNTS: bool>(&mut self, frames: &[Frame<'_>], emit: &mut dyn FnMut(Event)) {
        let (mut parsed, mut positions) = (std::mem::take(&mut self.parsed), std::mem::take(&mut self.positions));
        for frames in frames.chunks(BATCH_FRAMES_MAX) {
            let (mut decoded, mut displaced) = (DecodedFrames::new(), Displaced::new());
            self.grow_table_if_crowded();
            HeaderPrefetch::first(frames);
            for step in PipelineStep::all(frames.len()) {
                self.find_displaced_flows(&mut displaced, &parsed, &mut positions);
                self.parse_headers(frames, &step.parse, &mut parsed, &mut positions, &mut decoded);
                self.find_flows(&step.find, &parsed, &mut positions, &mut displaced);
                if SHUNTS {
                    self.prefetch_shunt_states(slice(&positions, &step.find));
                }
                self.handle_packets::<SHUNTS>(frames, &step.handle, &parsed, &positions, &decoded, emit);
            }
            if SHUNTS {
                self.insert_offered();
            }
        }
        (self.parsed, self.positions) = (parsed, positions);
    }

    /// Processes the frames of a block that are in `parsed`: their headers were parsed before, by this worker or another.
    pub fn parsed_batch(&mut self, block: &Block, parsed: &[ParsedFrame], emit: &mut dyn FnMut(Event)) {
        let mut positions = std::mem::take(&mut self.positions);
        for parsed in parsed.chunks(BATCH_FRAMES_MAX) {
            let (mut frames, mut displaced) = (ArrayVec::<_, BATCH_FRAMES_MAX>::new(), Displaced::new());
            self.grow_table_if_crowded();
            for step in PipelineStep::all(parsed.len()) {
                self.find_displaced_flows(&mut displaced, parsed, &mut positions);
                let step_positions = slice_mut(&mut positions, &step.parse);
                for (parsed, position) in slice(parsed, &step.parse).iter().zip(step_positions) {
                    position.primary = self.table.primary_bucket(parsed.hash);
                    frames.extend(block.frame(parsed.index as usize));
                }
                self.find_flows(&step.find, parsed, &mut positions, &mut displaced);
                self.handle_packets::<false>(&frames, &step.handle, parsed, &positions, &DecodedFrames::new(), emit);
            }
        }
        self.positions = positions;
    }

    /// Makes a growing table larger in time. Slots change, so it is done between batches.
    #[inline]
    fn grow_table_if_crowded(&mut self) {
        if self.table.is_crowded() {
            self.grow_table();
        }
    }

    #[cold]
    fn grow_table(&mut self) {
        let Self { table, records, .. } = self;
        table.grow(self.epoch as u8, |entry, slot| {
            if let Some(record) = records.get_mut(entry.record) {
                record.slot = slot;
            }
        });
    }

    /// Parses the headers of some frames, and prefetches the hash buckets of their flows.
    #[inline]
    fn parse_headers<'f>(
        &self,
        frames: &[Frame<'f>],
        range: &Range<usize>,
        parsed: &mut [ParsedFrame],
        positions: &mut [TablePosition],
        decoded: &mut DecodedFrames<'f>,
    ) {
        let mut prefetch = HeaderPrefetch::new(frames, range.start);
        let results = slice_mut(parsed, range).iter_mut().zip(slice_mut(positions, range));
        for (frame, (parsed, position)) in slice(frames, range).iter().zip(results) {
            prefetch.advance();
            parsed.is_plain = parsed.headers.read(frame);
            if !parsed.is_plain {
                position.decoded = decoded.len() as u8;
                parsed.headers = self.decode_headers(frame, decoded);
            }
            parsed.hash = self.table.hash(&parsed.headers.key);
            position.primary = self.table.primary_bucket(parsed.hash);
        }
    }

    /// Decodes a frame that is not plain.
    #[cold]
    #[inline(never)]
    fn decode_headers<'f>(&self, frame: &Frame<'f>, decoded: &mut DecodedFrames<'f>) -> PacketHeaders {
        self.decoding.set(frame.number);
        let result = vigie_decode::decode(frame, &self.decode_limits);
        self.decoding.set(0);
        let headers = headers_of(&result);
        // Never full: a batch has no more frames.
        let _ = decoded.try_push(result);
        headers
    }

    /// Probes the hash buckets of some frames, and prefetches the flow entries.
    #[inline]
    fn find_flows(
        &self,
        range: &Range<usize>,
        parsed: &[ParsedFrame],
        positions: &mut [TablePosition],
        displaced: &mut Displaced,
    ) {
        let positions = slice_mut(positions, range).iter_mut().zip(slice(parsed, range));
        for (index, (position, parsed)) in (range.start..).zip(positions) {
            position.slot = None;
            match self.table.probe_primary(position.primary, parsed.hash) {
                Probe::TagMatch(slot) => position.slot = Some(slot),
                Probe::Absent => {}
                // Never full: a step has no more frames.
                Probe::MaybeDisplaced => {
                    let _ = displaced.try_push(index);
                }
            }
        }
    }

    /// Prefetches what the shunt has of some flows.
    #[inline]
    fn prefetch_shunt_states(&self, positions: &[TablePosition]) {
        if let Some(shunt) = &self.shunt {
            positions.iter().filter_map(|position| position.slot).for_each(|slot| shunt.prefetch_state(slot));
        }
    }

    /// Probes the alternate buckets, one step after [`find_flows`](Self::find_flows) prefetched them.
    #[inline]
    fn find_displaced_flows(&self, displaced: &mut Displaced, parsed: &[ParsedFrame], positions: &mut [TablePosition]) {
        for index in displaced.drain(..) {
            if let (Some(position), Some(parsed)) = (positions.get_mut(index), parsed.get(index)) {
                position.slot = self.table.probe_alternate(position.primary, parsed.hash);
            }
        }
    }

    /// Handles the packets of some frames, in order.
    #[inline]
    fn handle_packets<const SHUNTS: bool>(
        &mut self,
        frames: &[Frame<'_>],
        range: &Range<usize>,
        parsed: &[ParsedFrame],
        positions: &[TablePosition],
        decoded: &DecodedFrames<'_>,
        emit: &mut dyn FnMut(Event),
    ) {
        let frames = slice(frames, range);
        // The rarer cases are counted, and subtracted, so that the common case costs nothing.
        let (mut bytes, mut not_owned, mut not_counted) = (0, 0, 0);
        let results = slice(parsed, range).iter().zip(slice(positions, range));
        for (frame, (parsed, position)) in frames.iter().zip(results) {
            bytes += u64::from(frame.wire_length);
            let fast_path = if parsed.is_owned {
                self.count_packet::<SHUNTS>(frame, parsed, position)
            } else {
                not_owned += 1;
                bytes -= u64::from(frame.wire_length);
                self.skip_packet(frame, parsed, emit)
            };
            match fast_path {
                FastPath::Counted => {}
                FastPath::NotOwned => not_counted += 1,
                FastPath::Handle(slot) => {
                    not_counted += 1;
                    let late;
                    let decoded = if parsed.is_plain {
                        None
                    } else if let Some(decoded) = decoded.get(usize::from(position.decoded)) {
                        Some(decoded)
                    } else {
                        // The worker that parsed the headers kept no more than those.
                        late = self.decode(frame);
                        Some(&late)
                    };
                    self.handle_frame(frame, parsed, decoded, slot, emit);
                }
            }
        }
        let count = frames.len() as u64;
        self.counters.add(Counter::Packets, count - not_counted);
        self.counters.add(Counter::Frames, count - not_owned);
        self.counters.add(Counter::Bytes, bytes);
    }

    /// The fast path: counts a packet of a settled flow, or one without payload.
    #[inline]
    fn count_packet<const SHUNTS: bool>(
        &mut self,
        frame: &Frame<'_>,
        parsed: &ParsedFrame,
        position: &TablePosition,
    ) -> FastPath {
        if frame.timestamp_ns >= self.epoch_ends_ns {
            return FastPath::Handle(None);
        }
        let headers = &parsed.headers;
        let epoch = self.epoch as u8;
        let slot = match position.slot {
            Some(slot) => slot,
            // A packet of the same batch may have opened the flow after the probe.
            None => match self.table.probe_primary(position.primary, parsed.hash) {
                Probe::TagMatch(slot) => slot,
                Probe::MaybeDisplaced | Probe::Absent => return FastPath::Handle(None),
            },
        };
        let Some((entry, last_epoch)) = self.table.confirm(slot, position.primary, &headers.key) else {
            return FastPath::Handle(None);
        };
        // The predictable branch comes first; whether a packet has a payload is not predictable.
        let is_settled = entry.marks & (SETTLED | WATCHED) == SETTLED;
        let has_nothing_to_say = if is_settled {
            headers.kind != PacketKind::MayOpen
        } else {
            headers.kind == PacketKind::PureAck && (entry.record != 0 || !self.event_types.flows)
                || is_answer(entry.marks, headers.side) && headers.kind != PacketKind::MayOpen
        };
        if !has_nothing_to_say {
            return FastPath::Handle(Some(slot));
        }
        if *last_epoch != epoch {
            if epoch.wrapping_sub(*last_epoch) > self.idle_epochs {
                return FastPath::Handle(Some(slot));
            }
            *last_epoch = epoch;
        }
        let counter = match headers.side {
            Side::Low => &mut entry.from_low,
            Side::High => &mut entry.from_high,
        };
        let is_full = FlowEntry::count(counter, frame.wire_length);
        let record_id = entry.record;
        if is_full {
            self.move_counts_to_record(slot);
        }
        if record_id != 0 {
            self.update_last_seen(record_id, &FrameInfo::of(frame));
        }
        if SHUNTS && is_settled {
            self.offer_to_shunt(slot, frame, headers);
        }
        FastPath::Counted
    }

    /// A frame of another worker's flow advances the clock; DNS and fragments are handled.
    #[cold]
    fn skip_packet(&mut self, frame: &Frame<'_>, parsed: &ParsedFrame, emit: &mut dyn FnMut(Event)) -> FastPath {
        if parsed.is_for_every_worker() {
            return FastPath::Handle(None);
        }
        self.advance_clock(frame, emit);
        FastPath::NotOwned
    }

    #[cold]
    #[inline(never)]
    fn decode<'f>(&self, frame: &Frame<'f>) -> Result<Decoded<'f>, DecodeError> {
        vigie_decode::decode(frame, &self.decode_limits)
    }
}

/// Whether a packet is the server's on a flow of which only the client's requests are read.
#[inline]
const fn is_answer(marks: u8, side: Side) -> bool {
    let client_is_high = marks & CLIENT_IS_HIGH != 0;
    const BOTH: u8 = WATCHED | REQUESTS;
    marks & BOTH == BOTH && client_is_high != matches!(side, Side::High)
}

#[inline]
fn slice<'v, T>(values: &'v [T], range: &Range<usize>) -> &'v [T] {
    values.get(range.clone()).unwrap_or_default()
}

#[inline]
fn slice_mut<'v, T>(values: &'v mut [T], range: &Range<usize>) -> &'v mut [T] {
    values.get_mut(range.clone()).unwrap_or_default()
}
