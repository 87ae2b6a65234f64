//! Where the client's bytes may begin. A SYN elsewhere may be a decoy, and so may a segment that looks like the beginning where
//! the first bytes are missing. So bytes are read from every place where they may begin, each with a [`Stream`] of its own:
//! one is followed like any connection's, of the others every reading is tried.

use vigie_decode::Segment;
use vigie_flow::Side;

use super::TcpInspector;
use crate::name_hash::name_hash;
use crate::opening::{Desync, Opening};
use crate::stream::{Findings, Stream};
use crate::{Counts, Limits};

/// Of how many streams the readings are tried for all other beginnings together.
const READINGS_OF_STREAMS: usize = 2;

/// Another place where the client's bytes may begin: behind another SYN, or behind the one that counts while its stream is
/// read elsewhere.
#[derive(Debug)]
pub(super) struct OtherBeginning {
    opening: Opening,
    /// Its SYN came after the one that counts.
    is_later: bool,
    stream: Stream,
}

impl OtherBeginning {
    fn new(opening: Opening, is_later: bool) -> Self {
        let mut stream = Stream::default();
        stream.begin(opening.client_first());
        Self { opening, is_later, stream }
    }

    /// Bytes of memory held, those of the struct itself among them.
    pub(super) fn memory_bytes(&self) -> usize {
        size_of::<Self>() + self.stream.memory_bytes()
    }

    /// Takes a segment of the client, if a server that took this opening may take it.
    fn segment(&mut self, segment: &Segment<'_>, limits: &Limits, counts: &mut Counts) {
        let is_syn = segment.flags & Segment::SYN != 0;
        let distance = segment.sequence.wrapping_add(is_syn.into()).wrapping_sub(self.opening.client_first()) as i32;
        let may_hold = match is_syn {
            true => distance == 0,
            false => distance.unsigned_abs() as usize <= limits.stream_bytes_max,
        };
        if may_hold && !self.opening.is_void(segment) {
            let has_other_hop_limit = self.opening.note_hop_limit(segment);
            self.stream.hold(segment, has_other_hop_limit, limits, counts);
        }
    }
}

impl TcpInspector {
    /// Whether the client's bytes may begin elsewhere too.
    #[inline]
    pub const fn has_other_beginnings(&self) -> bool {
        !self.others.is_empty()
    }

    /// Whether a segment has to be [read elsewhere](Self::read_elsewhere).
    #[inline]
    pub(super) fn is_read_elsewhere(&self, side: Side, segment: &Segment<'_>) -> bool {
        self.has_other_beginnings() || self.stream_of(side).has_left() || self.lacks_beginning(side, segment)
    }

    /// Has a segment of the client read from the other places where its bytes may begin. Its first byte becomes one of them when it
    /// comes again and no stream [begins like it](Self::lacks_beginning). False if the segment is another SYN: it belongs nowhere else.
    #[cold]
    pub(super) fn read_elsewhere(
        &mut self,
        side: Side,
        segment: &Segment<'_>,
        limits: &Limits,
        counts: &mut Counts,
    ) -> bool {
        let Some(opening) = self.opening.filter(|opening| opening.client() == side) else { return true };
        self.take_left_beginning(side, limits, counts);
        if self.lacks_beginning(side, segment) && !self.is_exhausted_elsewhere(limits) {
            self.add_beginning(OtherBeginning::new(opening, false), limits, counts);
        }
        for other in self.others.iter_mut().filter(|other| other.opening.client() == side) {
            other.segment(segment, limits, counts);
        }
        segment.flags & Segment::SYN == 0 || segment.sequence.wrapping_add(1) == opening.client_first()
    }

    /// Whether a segment at the client's first byte may begin a message there, and no stream that begins there goes on like it:
    /// each is read elsewhere, has dropped what came there before, or holds other bytes.
    #[inline]
    pub(super) fn lacks_beginning(&self, side: Side, segment: &Segment<'_>) -> bool {
        let first_byte = self.opening.filter(|opening| opening.client() == side).map(|opening| opening.client_first());
        !self.is_inside
            && first_byte == Some(segment.sequence)
            && !self.stream_of(side).may_begin_with(segment)
            && crate::prelude::may_begin(segment.payload)
            && !self.others.iter().any(|other| other.stream.may_begin_with(segment))
    }

    /// Goes on in the stream from the known beginning that was left for another place.
    pub(super) fn take_left_beginning(&mut self, side: Side, limits: &Limits, counts: &mut Counts) {
        let Some(stream) = self.stream(side).take_left() else { return };
        let opening = self.opening.filter(|opening| opening.client() == side);
        if let Some(opening) = opening.filter(|opening| stream.first_byte() == Some(opening.client_first())) {
            self.add_beginning(OtherBeginning { opening, is_later: false, stream: *stream }, limits, counts);
        }
    }

    /// From now on reads one side from this sequence number, as if the connection began there.
    pub fn begin_inside(&mut self, side: Side, first_byte: u32, opening: Option<Opening>) {
        self.begin(side, first_byte);
        (self.opening, self.is_inside) = (opening, true);
    }

    /// From now on reads the client from this sequence number, where a tunnel begins. If the server has not answered, what began
    /// the tunnel may be a decoy: then the first bytes are read on too.
    pub fn continue_at(&mut self, client: Side, first_byte: u32, limits: &Limits) {
        let is_answered = self.stream_of(client.opposite()).has_begun();
        let (opening, mut others) = (self.opening, std::mem::take(&mut self.others));
        let mut hosts = self.http.as_ref().map(|http| http.hosts().to_vec()).unwrap_or_default();
        self.visit_hosts(client, limits, &mut |host| hosts.push(name_hash(host.name)));
        let mut stream = std::mem::take(self.stream(client));
        self.reset();
        self.begin_inside(client, first_byte, opening);
        let begins_here = |opening: &Opening| stream.known_start() == Some(opening.client_first());
        let Some(opening) = opening.filter(|opening| opening.client() == client && !is_answered) else { return };
        if begins_here(&opening) {
            stream.hold_all(&hosts);
            others.push(OtherBeginning { opening, is_later: false, stream });
        }
        (self.others, self.is_inside) = (others, false);
    }

    /// Whether a message of one side has begun, at another place, of which more may come.
    pub(super) fn is_amid_message_elsewhere(&self, side: Side) -> bool {
        self.others.iter().any(|other| other.opening.client() == side && other.stream.is_read_amid_message())
    }

    fn add_beginning(&mut self, other: OtherBeginning, limits: &Limits, counts: &mut Counts) {
        if self.others.len() >= limits.stream_versions_max {
            counts.stream_versions += 1;
            let oldest = self.others.remove(0);
            let tried = u16::try_from(1 + oldest.stream.tried_readings()).unwrap_or(u16::MAX);
            self.tried_of_others = self.tried_of_others.saturating_add(tried);
        }
        self.others.push(other);
    }

    /// What another reading from another beginning shows, until there is none left.
    #[cold]
    pub(super) fn next_reading_elsewhere(
        &mut self,
        side: Side,
        limits: &Limits,
        counts: &mut Counts,
    ) -> Option<Findings<'_>> {
        self.take_left_beginning(side, limits, counts);
        if self.is_exhausted_elsewhere(limits) {
            return None;
        }
        let place = self
            .others
            .iter_mut()
            .position(|other| other.opening.client() == side && other.stream.find_readings(limits, counts));
        counts.stream_readings += u64::from(self.is_exhausted_elsewhere(limits));
        self.others.get_mut(place?)?.stream.found_reading(limits)
    }

    /// Whether no more readings from other beginnings are tried.
    fn is_exhausted_elsewhere(&self, limits: &Limits) -> bool {
        let tried: usize = self.others.iter().map(|other| other.stream.tried_readings()).sum();
        tried.saturating_add(self.tried_of_others as usize)
            >= READINGS_OF_STREAMS.saturating_mul(limits.stream_readings_max)
    }

    /// Has no stream of one side give a name that was reported of another.
    #[cold]
    pub(super) fn share_reported_names(&mut self, side: Side) {
        let others = self.others.iter().filter(|other| other.opening.client() == side);
        let streams = others.map(|other| &other.stream).chain([self.stream_of(side)]);
        let mut reported: Vec<u32> = streams.flat_map(Stream::reported_names).collect();
        reported.sort_unstable();
        reported.dedup();
        self.stream(side).mark_reported(&reported);
        self.others.iter_mut().for_each(|other| other.stream.mark_reported(&reported));
    }

    /// Where the client goes on tells which of several SYNs were decoys.
    #[cold]
    pub fn note_going_on(&mut self, side: Side, segment: &Segment<'_>, limits: &Limits) {
        let Some(opening) = self.opening.filter(|opening| opening.client() == side) else { return };
        if segment.flags & Segment::SYN != 0 {
            return;
        }
        let distance = |opening: Opening| segment.sequence.wrapping_sub(opening.client_first()) as usize;
        let is_near = |opening: Opening| distance(opening) < limits.stream_bytes_max;
        let is_acknowledged = opening.is_acknowledged_by(segment);
        let is_reached = self.stream(side).is_reached_by(segment.sequence);
        let place_by = |fits: &dyn Fn(Opening) -> bool| {
            self.others.iter().rposition(|other| other.opening.client() == side && fits(other.opening))
        };
        let stays = is_acknowledged || distance(opening) == 0 || is_reached;
        let there = match stays {
            true => None,
            false if is_near(opening) => place_by(&|other| distance(other) == 0),
            false => place_by(&is_near),
        };
        if let Some(place) = there {
            let is_later = self.others.get(place).is_some_and(|other| other.is_later);
            self.follow(place, !is_later);
        } else if (is_acknowledged || is_near(opening))
            && self.others.iter().any(|other| other.is_later)
            && let Some(opening) = &mut self.opening
        {
            opening.note(Desync::SYN_FLAG);
        }
    }

    /// From now on follows the stream from another beginning; the one that was followed is `is_later` than that.
    fn follow(&mut self, place: usize, is_later: bool) {
        let OtherBeginning { opening, stream, .. } = self.others.remove(place);
        let followed = std::mem::replace(self.stream(opening.client()), stream);
        if let Some(known) = self.opening.replace(opening) {
            self.others.push(OtherBeginning { opening: known, is_later, stream: followed });
        }
    }

    /// The connection was opened like this: both sides' streams begin here.
    pub fn open(&mut self, opening: Opening) {
        self.begin(opening.client(), opening.client_first());
        if let Some(server_first) = opening.server_first() {
            self.begin(opening.client().opposite(), server_first);
        }
        self.opening = Some(opening);
    }

    /// The connection is opened again, by another SYN or by the same one.
    pub fn open_again(&mut self, opening: Opening, limits: &Limits, counts: &mut Counts) {
        if self.opening.is_none_or(|known| !known.doubts(&opening)) {
            return self.reopen(opening);
        }
        let known = self.others.iter().position(|other| other.opening.is_of_same_syn(&opening));
        let mut other = match known {
            Some(place) => self.others.remove(place),
            None => OtherBeginning::new(opening, true),
        };
        (other.opening, other.is_later) = (opening.after(&other.opening), true);
        self.add_beginning(other, limits, counts);
    }

    fn reopen(&mut self, opening: Opening) {
        self.begin(opening.client(), opening.client_first());
        self.opening = Some(self.opening.map_or(opening, |known| opening.after(&known)));
        self.note_syn_again(opening);
    }

    /// Takes note of another SYN of a connection whose hello was reported: the one before may have been a decoy.
    pub fn note_syn_again(&mut self, syn: Opening) {
        let others = self.others.iter_mut().map(|other| &mut other.opening);
        for known in self.opening.iter_mut().chain(others).filter(|known| known.is_of_same_syn(&syn)) {
            *known = syn.after(known);
        }
    }

    /// The server answers the opening.
    pub fn answer(&mut self, server: Side, syn_ack: &Segment<'_>) {
        // Made-up captures acknowledge 0, which decides nothing.
        let acknowledgment = syn_ack.acknowledgment().filter(|&number| number != 0);
        let answers_this = self.opening.is_some_and(|known| acknowledgment == Some(known.client_first()));
        let is_answered = |opening: &Opening| opening.client() != server && opening.is_answered_by(syn_ack);
        let is_surely_answered =
            |opening: &Opening| opening.client() != server && acknowledgment == Some(opening.client_first());
        let surely_answered = self.others.iter().rposition(|other| is_surely_answered(&other.opening));
        let answered = surely_answered.or_else(|| self.others.iter().rposition(|other| is_answered(&other.opening)));
        if let Some(place) = answered.filter(|_| acknowledgment.is_some() && !answers_this) {
            self.follow(place, false);
            if surely_answered.is_some() {
                self.others.clear();
            }
        }
        if let Some(opening) = self.opening.as_mut().filter(|opening| opening.client() != server) {
            opening.answer(syn_ack);
            if opening.has_void_data(syn_ack) && self.segments <= 1 {
                opening.note(Desync::SYN_DATA);
                let (client, first_byte) = (opening.client(), opening.client_first());
                self.others.retain(|other| other.opening.client_first() != first_byte);
                self.stream(client).reset();
                self.begin(client, first_byte);
            }
        }
        self.begin_answer(server, syn_ack.sequence.wrapping_add(1));
    }
}
