//! Batches of frames, worked on in steps: while the headers of some frames are parsed, the lines of the flow table are fetched
//! for those before them.

use std::ops::Range;

use arrayvec::ArrayVec;
use vigie_capture::{BATCH_FRAMES_MAX, Block};
use vigie_decode::{DecodeError, Decoded};
use vigie_flow::headers::PacketKind;
use vigie_flow::{FlowEntry, PacketHeaders, PrimaryBucket, Probe, Side, Slot};
use vigie_wire::Frame;

use super::flows::SETTLED;
use super::headers::{Fetching, headers_of};
use super::packet::When;
use super::{Counter, Look, Worker};
use crate::event::Event;

/// How many frames of a batch have their turn before the lines are needed that were fetched for them.
const STEP_FRAMES: usize = 32;

/// Where the flow of a frame may stand in the table.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Stand {
    primary: PrimaryBucket,
    slot: Option<Slot>,
    /// Place among the [`Deeper`] if a glance was not enough.
    deeper: u8,
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

impl Worker {
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
    pub(super) fn look<'f>(
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
    pub(super) fn decode<'f>(&self, frame: &Frame<'f>) -> Result<Decoded<'f>, DecodeError> {
        vigie_decode::decode(frame, &self.decode_limits)
    }
}

#[inline]
fn within<'v, T>(values: &'v [T], span: &Range<usize>) -> &'v [T] {
    values.get(span.clone()).unwrap_or_default()
}

#[inline]
fn within_mut<'v, T>(values: &'v mut [T], span: &Range<usize>) -> &'v mut [T] {
    values.get_mut(span.clone()).unwrap_or_default()
}
