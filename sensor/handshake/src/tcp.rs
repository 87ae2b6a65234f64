//! Follows a TCP connection until its client's hello is read. Both directions are read, since the client's may not be
//! known. If the hello has no name, the server's certificate may have one. DNS over TCP is read message by message.

mod beginnings;
mod checksums;
mod requests;
mod split;

use super::dns::{self, DnsStream};
pub use super::held::HeldSegment;
use super::held::HeldSegments;
use super::http::HttpConnection;
use super::opening::{Desync, Opening};
use super::server_side::ServerSide;
use super::stream::{Findings, Stream};
use super::tls::ClientHello;
use super::{Counts, Limits};
use beginnings::OtherBeginning;
use vigie_decode::Segment;
use vigie_flow::Side;

pub use super::server_side::{Certificate, is_hello_retry_request};
pub use split::{Addition, SplitHello};

/// Zeros that fill a frame of 60 bytes up behind the shortest headers of IPv4 and TCP, and some more.
const PADDING_BYTES_MAX: usize = 18;

/// First bytes of a client: until its server has answered, they are kept though they hold nothing known, since decoys may have
/// taken the place of what follows.
const BEGINNING_BYTES_MAX: usize = 24 * 1024;

/// What becomes of a segment.
enum Admission {
    /// It counts.
    Admitted {
        /// It came with another hop limit than the SYN.
        has_other_hop_limit: bool,
    },
    /// Its checksum is wrong, and nothing else.
    WrongChecksum,
    /// It does not count.
    Void,
}

/// A connection whose hello is awaited.
#[derive(Debug, Default)]
pub struct TcpInspector {
    low: Stream,
    high: Stream,
    segments: u32,
    /// Those of them that carry no first bytes.
    segments_beyond: u16,
    is_given_up: bool,
    /// Side and acknowledgment number of the last segment with payload: the other side's bytes go on there.
    acknowledged: Option<(Side, u32)>,
    server: Option<Box<ServerSide>>,
    dns: Option<Box<[DnsStream; 2]>>,
    http: Option<Box<HttpConnection>>,
    opening: Option<Opening>,
    /// Other places where the client's bytes may begin, the oldest first.
    others: Vec<OtherBeginning>,
    /// Readings that were tried of those that gave their place up.
    tried_of_others: u16,
    /// The server has asked for another hello.
    is_retried: bool,
    /// The client's first bytes were read, and its server took them.
    is_inside: bool,
    /// Segments of the client with a wrong checksum, which the server may acknowledge.
    held: Option<Box<HeldSegments>>,
}

// Every connection that is being opened has one: what few need is boxed.
const _: () = assert!(size_of::<TcpInspector>() <= 400);

impl TcpInspector {
    /// Bytes of memory held, those of the struct itself among them.
    pub fn memory_bytes(&self) -> usize {
        size_of::<Self>()
            + self.low.memory_bytes()
            + self.high.memory_bytes()
            + self.server.as_ref().map_or(0, |server| server.memory_bytes())
            + self.http.as_ref().map_or(0, |http| http.memory_bytes())
            + self.dns.as_ref().map_or(0, |streams| streams.iter().map(DnsStream::memory_bytes).sum())
            + self.held.as_ref().map_or(0, |held| held.memory_bytes())
            + self.others.iter().map(OtherBeginning::memory_bytes).sum::<usize>()
    }

    /// Bytes of memory that a segment of one side may change.
    #[inline]
    pub fn memory_bytes_of(&self, side: Side) -> usize {
        let stream = match side {
            Side::Low => self.low.memory_bytes(),
            Side::High => self.high.memory_bytes(),
        };
        let others = self.others.iter().map(OtherBeginning::memory_bytes).sum::<usize>();
        stream + others + self.held.as_ref().map_or(0, |held| held.memory_bytes())
    }

    /// Starts over and keeps the memory.
    pub fn reset(&mut self) {
        self.low.reset();
        self.high.reset();
        (self.segments, self.segments_beyond) = (0, 0);
        self.is_given_up = false;
        self.acknowledged = None;
        self.server = None;
        self.dns = None;
        self.http = None;
        self.opening = None;
        self.others.clear();
        self.tried_of_others = 0;
        (self.is_retried, self.is_inside) = (false, false);
        self.held = None;
    }

    fn stream(&mut self, side: Side) -> &mut Stream {
        match side {
            Side::Low => &mut self.low,
            Side::High => &mut self.high,
        }
    }

    const fn stream_of(&self, side: Side) -> &Stream {
        match side {
            Side::Low => &self.low,
            Side::High => &self.high,
        }
    }

    /// The side's bytes begin at this sequence number.
    pub fn begin(&mut self, side: Side, first_byte: u32) {
        self.stream(side).begin(first_byte);
    }

    /// The side's bytes begin at this sequence number, as its SYN-ACK told; ignored if payload of that side came before.
    pub fn begin_answer(&mut self, side: Side, first_byte: u32) {
        let stream = self.stream(side);
        if stream.is_empty() {
            stream.begin(first_byte);
        }
    }

    /// Whether DNS was found on the connection.
    #[inline]
    pub const fn carries_dns(&self) -> bool {
        self.dns.is_some()
    }

    /// Whether a connection on the port of DNS carries DNS: any that does not begin like TLS. As a message length (RFC 1035
    /// §4.2.2), TLS's first two bytes would announce more than 5 kB.
    pub fn is_dns(&self, payload: &[u8]) -> bool {
        let has_room = |stream: &Stream| stream.is_empty() || stream.only_bytes().is_some_and(|bytes| bytes.len() == 2);
        self.dns.is_some() || has_room(&self.low) && has_room(&self.high) && !matches!(payload, [0x16] | [0x16, 3, ..])
    }

    /// Takes a segment with payload of a DNS connection and visits the messages that it completes (RFC 1035 §4.2.2).
    pub fn dns(&mut self, side: Side, segment: &Segment<'_>, limits: &Limits, visit: impl FnMut(&dns::Message<'_>)) {
        if self.dns.is_none() {
            // The length of a message may have come in a segment of its own, which shows nothing.
            let streams = [&self.low, &self.high]
                .map(|stream| DnsStream::new(stream.known_start(), stream.only_bytes().unwrap_or_default()));
            self.dns = Some(Box::new(streams));
        }
        let Some([low, high]) = self.dns.as_deref_mut() else { return };
        let stream = match side {
            Side::Low => low,
            Side::High => high,
        };
        stream.segment(segment, limits.stream_bytes_max, visit);
    }

    /// Whether no hello is expected any more.
    pub fn is_done(&self) -> bool {
        self.is_given_up || self.low.is_done() && self.high.is_done()
    }

    /// Whether one side has more to show after a segment that showed nothing: another reading of bytes that contradict each
    /// other, or requests of HTTP. True too if no hello is expected any more.
    pub fn may_show_more(&self, side: Side) -> bool {
        let stream = self.stream_of(side);
        self.is_done() || stream.has_versions() || stream.is_http() || self.has_other_beginnings() || stream.has_left()
    }

    /// Takes a segment with payload from one side; if there is a hello in it, that side is the client. A segment that the
    /// server surely drops shows nothing.
    pub fn segment<'a>(
        &'a mut self,
        side: Side,
        segment: &Segment<'a>,
        limits: &Limits,
        counts: &mut Counts,
    ) -> Findings<'a> {
        if self.has_other_beginnings() {
            self.note_going_on(side, segment, limits);
        }
        if self.is_read_elsewhere(side, segment) && !self.read_elsewhere(side, segment, limits, counts) {
            return Findings::default();
        }
        // The checksum of a whole hello is tested only if an event shows it: see `is_void_hello`.
        let tests_checksum = !(self.stream(side).is_empty() && is_whole_record(segment.payload));
        let has_other_hop_limit = match self.admit(side, segment, tests_checksum, counts) {
            Admission::Admitted { has_other_hop_limit } => has_other_hop_limit,
            Admission::WrongChecksum => {
                self.hold(side, segment, limits, counts);
                return Findings::default();
            }
            Admission::Void => return Findings::default(),
        };
        self.count_segment(side, segment);
        if self.held.as_ref().is_some_and(|held| held.overlaps(segment)) {
            self.drop_held(counts);
        }
        self.acknowledged = segment.acknowledgment().map(|number| (side, number));
        if self.segments as usize > limits.undecided_segments_max {
            counts.undecided_segments += 1;
            self.is_given_up = true;
            let hello = self.take_partial_hello(limits).map(|(_, hello)| hello);
            return Findings { hello, ..Findings::default() };
        }
        if self.stream_of(side.opposite()).has_begun() {
            self.stream(side).note_answer();
        }
        self.stream(side).segment(segment, has_other_hop_limit, limits, counts)
    }

    /// Takes a segment from the client after its hello was reported. Another version of its bytes shows in
    /// [`next_reading`](Self::next_reading). False if the server surely drops it.
    pub fn late_segment(&mut self, side: Side, segment: &Segment<'_>, limits: &Limits, counts: &mut Counts) -> bool {
        self.count_segment(side, segment);
        if self.is_read_elsewhere(side, segment) && !self.read_elsewhere(side, segment, limits, counts) {
            return false;
        }
        let has_other_hop_limit = match self.admit(side, segment, true, counts) {
            Admission::Admitted { has_other_hop_limit } => has_other_hop_limit,
            Admission::WrongChecksum => {
                counts.count_void(Desync::CHECKSUM);
                return false;
            }
            Admission::Void => return false,
        };
        self.stream(side).late_segment(segment, has_other_hop_limit, limits, counts);
        true
    }

    /// What another reading of one side's contradicting bytes shows, until there is none left.
    pub fn next_reading(&mut self, side: Side, limits: &Limits, counts: &mut Counts) -> Option<Findings<'_>> {
        if self.has_other_beginnings() {
            self.share_reported_names(side);
        }
        if self.stream(side).find_readings(limits, counts) {
            return self.stream(side).found_reading(limits);
        }
        if self.has_other_beginnings() || self.stream_of(side).has_left() {
            return self.next_reading_elsewhere(side, limits, counts);
        }
        None
    }

    /// Whether one side's bytes are kept, which later segments could contradict.
    pub fn holds_bytes(&self, side: Side) -> bool {
        self.stream_of(side).holds_bytes()
    }

    /// Whether what it holds may be needed again after its hello was reported.
    pub fn must_be_kept(&self) -> bool {
        self.low.holds_bytes() || self.high.holds_bytes() || self.has_other_beginnings()
    }

    /// Segments with payload that were taken.
    pub const fn segments(&self) -> u32 {
        self.segments
    }

    /// Those of them that carry no first bytes of the client.
    pub const fn segments_beyond(&self) -> u16 {
        self.segments_beyond
    }

    #[inline]
    fn count_segment(&mut self, side: Side, segment: &Segment<'_>) {
        self.segments += 1;
        self.segments_beyond = self.segments_beyond.saturating_add(u16::from(!self.is_of_beginning(side, segment)));
    }

    /// Frees all but the bytes that later segments could contradict.
    pub fn keep_bytes(&mut self) {
        self.low.keep_bytes();
        self.high.keep_bytes();
    }

    /// Whether one side's hello was reported, or none is expected.
    pub fn is_done_with(&self, side: Side) -> bool {
        self.stream_of(side).is_done()
    }

    /// Whether a segment carries some of the client's first bytes.
    fn is_of_beginning(&self, side: Side, segment: &Segment<'_>) -> bool {
        self.opening.is_some_and(|opening| {
            let distance = segment.sequence.wrapping_sub(opening.client_first()) as usize;
            opening.client() == side && distance < BEGINNING_BYTES_MAX
        })
    }

    /// Whether a message of one side has begun, from wherever it is read, of which more may come.
    pub fn is_amid_message(&self, side: Side) -> bool {
        self.stream_of(side).is_amid_message() || self.is_amid_message_elsewhere(side)
    }

    /// A hello was reported, and another one is awaited, of this connection or of one that was opened elsewhere.
    pub fn await_another_hello(&mut self) {
        (self.segments, self.segments_beyond) = (0, 0);
        self.is_given_up = false;
        (self.server, self.dns, self.http) = (None, None, None);
    }

    /// The server has asked the client for another hello, which begins at this sequence number: read that.
    pub fn await_second_hello(&mut self, client: Side, first_byte: u32) {
        (self.is_retried, self.is_inside) = (true, true);
        let stream = self.stream(client);
        stream.reset();
        stream.begin(first_byte);
        if self.server.is_some() {
            self.await_certificate(client, 0);
        }
    }

    /// Whether a segment stands at one side's first byte, and that side is read from another place.
    pub fn is_before_reading(&self, side: Side, segment: &Segment<'_>) -> bool {
        if self.is_retried {
            return false;
        }
        let stream = self.stream_of(side);
        let first_byte = self.opening.filter(|opening| opening.client() == side).map(|opening| opening.client_first());
        first_byte == Some(segment.sequence) && stream.first_byte() != first_byte && !stream.is_http()
    }

    /// Reads one side anew from where it began.
    pub fn restart(&mut self, side: Side) {
        self.stream(side).reset();
        let opening = self.opening.filter(|opening| opening.client() == side && !self.is_retried);
        if let Some(opening) = opening {
            self.begin(side, opening.client_first());
        }
    }

    /// How the connection was opened, if its SYN was seen.
    pub const fn opening(&self) -> Option<Opening> {
        self.opening
    }

    /// How the connection was opened, to be noted more of.
    pub const fn opening_mut(&mut self) -> Option<&mut Opening> {
        self.opening.as_mut()
    }

    /// Why bytes of the connection contradict each other, as far as segments proved void show it.
    pub fn desync(&self) -> Desync {
        self.opening.map(|opening| opening.desync()).unwrap_or_default()
    }

    /// Why a hello contradicts one that was reported before, in other segments.
    pub fn desync_of_hellos(&self) -> Desync {
        if self.is_retried {
            return Desync::HELLOS;
        }
        let mut desync = Desync::OVERLAP;
        if self.opening.is_some_and(|opening| opening.has_hop_limits()) {
            desync.add(Desync::TTL);
        }
        desync
    }

    /// Whether a segment counts. What the server surely drops does not, nor does padding.
    #[inline]
    fn admit(&mut self, side: Side, segment: &Segment<'_>, tests_checksum: bool, counts: &mut Counts) -> Admission {
        let is_first =
            self.opening.is_some_and(|opening| opening.client() == side && opening.client_first() == segment.sequence);
        if is_first && is_padding(segment) && self.stream(side).is_empty() {
            return Admission::Void;
        }
        let Some(opening) = self.opening.as_mut().filter(|opening| opening.client() == side) else {
            return Admission::Admitted { has_other_hop_limit: false };
        };
        match opening.why_void(segment, tests_checksum) {
            None => Admission::Admitted { has_other_hop_limit: opening.note_hop_limit(segment) },
            Some(Desync::CHECKSUM) => Admission::WrongChecksum,
            Some(reason) => {
                counts.count_void(reason);
                Admission::Void
            }
        }
    }

    /// Frees one side's memory that is not needed any more. Call it after the last [`Findings`] were used.
    pub fn free_unused(&mut self, side: Side) {
        let is_client = self.opening.is_some_and(|opening| opening.client() == side);
        let keeps_beginning = is_client
            && self.stream_of(side).length() <= BEGINNING_BYTES_MAX
            && !self.stream_of(side.opposite()).has_begun();
        self.stream(side).free_unused(keeps_beginning);
    }

    /// Whether part of a hello may have come that was not reported.
    pub fn has_partial_hello(&self) -> bool {
        self.low.has_partial_hello() || self.high.has_partial_hello()
    }

    /// The hello without its tail, if its name is there and was not reported yet.
    pub fn take_partial_hello(&mut self, limits: &Limits) -> Option<(Side, ClientHello<'_>)> {
        let Self { low, high, .. } = self;
        let from_low = low.take_partial_hello(limits).map(|hello| (Side::Low, hello));
        let from_high = high.take_partial_hello(limits).map(|hello| (Side::High, hello));
        from_low.or(from_high)
    }

    /// From now on reads the server's side for its certificate, after the hello that was found last. `caller_bytes` of memory
    /// are charged to the flow meanwhile. The client's bytes are kept until the server answers: the hello may be a decoy.
    pub fn await_certificate(&mut self, client: Side, caller_bytes: usize) {
        let origin = self.acknowledged.filter(|&(side, _)| side == client).map(|(_, number)| number);
        let origin = origin.or_else(|| self.stream(client.opposite()).known_start());
        self.stream(client.opposite()).release();
        (self.acknowledged, self.dns, self.http, self.held) = (None, None, None, None);
        self.is_given_up = false;
        self.server = Some(Box::new(ServerSide::new(client, origin, caller_bytes)));
    }

    /// The server's certificate is not awaited any more, since the client showed a name.
    pub fn stop_awaiting_certificate(&mut self) {
        self.server = None;
    }

    /// Whether the server's certificate is awaited.
    pub const fn awaits_certificate(&self) -> bool {
        self.server.is_some()
    }

    /// Whether the server whose certificate is awaited has sent something: then the client's hello is no decoy.
    pub fn is_answered(&self) -> bool {
        self.server.as_ref().is_some_and(|server| server.has_begun())
    }

    /// Takes a segment of the server while its certificate is awaited.
    pub fn certificate_segment(&mut self, side: Side, segment: &Segment<'_>, limits: &Limits) -> Certificate<'_> {
        if !self.is_answered() {
            self.stream(side.opposite()).release();
        }
        self.server.as_deref_mut().map_or(Certificate::None, |server| server.segment(side, segment, limits))
    }
}

/// Whether a payload is one whole TLS record with a handshake message (RFC 8446 §5.1).
fn is_whole_record(payload: &[u8]) -> bool {
    matches!(*payload, [0x16, 3, _, high, low, ..] if payload.len() == 5 + usize::from(u16::from_be_bytes([high, low])))
}

/// Whether a segment is an acknowledgment with the padding of an Ethernet frame behind it (IEEE 802.3 §3.2.8), which some
/// stacks count as payload. It stands where the client's first bytes will.
fn is_padding(segment: &Segment<'_>) -> bool {
    segment.payload.len() <= PADDING_BYTES_MAX
        && segment.flags == Segment::ACK
        && segment.payload.iter().all(|byte| *byte == 0)
}

/// Whether a connection with this hello may show a certificate in clear: TLS 1.2 at most (RFC 8446 §4.4.2).
pub fn may_show_certificate(hello: &ClientHello<'_>) -> bool {
    !hello.offers_tls13()
}
