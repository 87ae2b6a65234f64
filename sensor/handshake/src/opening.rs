//! What the opening of a TCP connection showed, and which later segments of its client it proves void: a receiver drops
//! them, so what they carry was never said (RFC 9293 §3.10.7.4). Tools that evade inspection send such segments as decoys.
//!
//! Where nothing proves which of two segments counts, both are read: see [`versions`](crate::versions).

use vigie_decode::{CheckedOptions, Checksum, Segment};
use vigie_flow::Side;

/// How far beyond the server's first byte an acknowledgment may lie while a hello is awaited.
const ACKNOWLEDGED_BYTES_MAX: i32 = 1 << 24;

/// The most data that a SYN carries: what fits into a datagram.
const SYN_DATA_BYTES_MAX: u32 = 1 << 16;

/// How far the timestamps of a connection's SYNs may lie apart. Farther ones show no order.
const SYN_TICKS_MAX: u32 = 1 << 26;

/// Why bytes of a connection contradict each other. A set of these is kept for each connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Desync(u16);

/// Declares the reasons: constant and word, in order.
macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $NAME:ident = $bit:literal, $word:literal;)+) => {
        impl Desync {
            $($(#[doc = $doc])+ pub const $NAME: Self = Self(1 << $bit);)+

            /// All reasons with their words in events.
            pub const ALL: &[(Self, &str)] = &[$((Self::$NAME, $word)),+];
        }
    };
}

reasons! {
    /// The client sent a segment with a wrong checksum.
    CHECKSUM = 0, "checksum";
    /// A segment with data had no ACK flag.
    NO_ACK = 1, "no-ack";
    /// A segment within the connection had the SYN flag.
    SYN_FLAG = 2, "syn-flag";
    /// A segment had an MD5 option that the SYN had not (RFC 2385).
    MD5 = 3, "md5";
    /// A segment had an old timestamp (RFC 7323 §5.3).
    PAWS = 4, "paws";
    /// A segment acknowledged what the server cannot have sent.
    ACK_WINDOW = 5, "ack-window";
    /// Data of the SYN was not acknowledged.
    SYN_DATA = 6, "syn-data";
    /// Segments of the client that contradict each other had different hop limits.
    TTL = 7, "ttl";
    /// Segments of the client contradict each other.
    OVERLAP = 8, "overlap";
    /// A byte was sent as urgent data, which a receiver may take out of the stream.
    URGENT = 9, "urgent";
    /// Hellos with different names came before the server answered, or after it had asked for another hello.
    HELLOS = 10, "hellos";
    /// Fragments of an IP datagram contradict each other.
    FRAGMENTS = 11, "fragments";
}

impl Desync {
    /// Those for which a server surely drops a segment, with their words in metrics.
    pub const VOID: &[(Self, &str)] = &[
        (Self::CHECKSUM, "checksum"),
        (Self::NO_ACK, "no-ack"),
        (Self::SYN_FLAG, "syn-flag"),
        (Self::MD5, "md5"),
        (Self::PAWS, "paws"),
        (Self::ACK_WINDOW, "ack-window"),
    ];

    /// No reason.
    pub const NONE: Self = Self(0);

    /// Whether there is none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Adds reasons.
    pub const fn add(&mut self, more: Self) {
        self.0 |= more.0;
    }

    /// Whether all of `wanted` are among these.
    pub const fn has(self, wanted: Self) -> bool {
        self.0 & wanted.0 == wanted.0
    }

    /// The words of all reasons in the set.
    pub fn words(self) -> impl Iterator<Item = &'static str> {
        Self::ALL.iter().filter(move |(reason, _)| self.has(*reason)).map(|(_, word)| *word)
    }
}

const CLIENT_IS_HIGH: u8 = 1;
const IS_ANSWERED: u8 = 2;
const CHECKSUM_RIGHT: u8 = 4;
const HAS_TIMESTAMPS: u8 = 8;
const HAS_MD5: u8 = 16;
const HAS_DATA: u8 = 32;
const ANY_ACKNOWLEDGMENT: u8 = 64;
const HOP_LIMITS_DIFFER: u8 = 128;

/// What the SYN and the SYN-ACK of a connection showed.
#[derive(Clone, Copy, Debug)]
pub struct Opening {
    client_first: u32,
    server_first: u32,
    /// The timestamp of the SYN, if it had one. Those of later segments prove nothing: each may be a decoy, from the future.
    timestamp: u32,
    desync: Desync,
    hop_limit: u8,
    facts: u8,
}

impl Opening {
    /// What a SYN shows; `client` is the side that sent it.
    pub fn new(client: Side, syn: &Segment<'_>) -> Self {
        let mut facts = if client == Side::High { CLIENT_IS_HIGH } else { 0 };
        let mut timestamp = 0;
        let options = syn.checked_options();
        if let Some(value) = options.timestamp {
            timestamp = value;
            facts |= HAS_TIMESTAMPS;
        }
        if options.has_md5 {
            facts |= HAS_MD5;
        }
        if !syn.payload.is_empty() {
            facts |= HAS_DATA;
        }
        if syn.checksum() == Checksum::Right && syn.network().checksum() != Checksum::Wrong {
            facts |= CHECKSUM_RIGHT;
        }
        Self {
            client_first: syn.sequence.wrapping_add(1),
            server_first: 0,
            timestamp,
            desync: Desync::default(),
            hop_limit: syn.network().hop_limit().unwrap_or(0),
            facts,
        }
    }

    /// This SYN's opening, or what it and an earlier SYN of the same connection show together. Either may be a decoy, so a later
    /// segment is void only if both prove it.
    pub const fn after(self, earlier: &Self) -> Self {
        if self.client_first != earlier.client_first || (self.facts ^ earlier.facts) & CLIENT_IS_HIGH != 0 {
            return self;
        }
        let mut both = *earlier;
        both.facts =
            (earlier.facts | self.facts & (HAS_MD5 | HAS_DATA)) & (self.facts | !(CHECKSUM_RIGHT | HAS_TIMESTAMPS));
        let ticks = self.timestamp.wrapping_sub(earlier.timestamp) as i32;
        if ticks < 0 {
            both.timestamp = self.timestamp;
        }
        if ticks.unsigned_abs() > SYN_TICKS_MAX {
            both.facts &= !HAS_TIMESTAMPS;
        }
        both.desync.add(self.desync);
        both
    }

    const fn is(&self, fact: u8) -> bool {
        self.facts & fact != 0
    }

    /// The side that opened the connection.
    pub const fn client(&self) -> Side {
        if self.is(CLIENT_IS_HIGH) { Side::High } else { Side::Low }
    }

    /// Sequence number of the client's first byte.
    pub const fn client_first(&self) -> u32 {
        self.client_first
    }

    /// Whether a segment's payload begins with the client's first byte. None with urgent data is told to.
    pub const fn is_at_first_byte(&self, sender: Side, segment: &Segment<'_>) -> bool {
        self.client_first == segment.sequence
            && segment.flags & (Segment::SYN | Segment::URG) == 0
            && self.is(CLIENT_IS_HIGH) == matches!(sender, Side::High)
    }

    /// Sequence number of the server's first byte, if the SYN-ACK was seen.
    pub const fn server_first(&self) -> Option<u32> {
        if self.is(IS_ANSWERED) { Some(self.server_first) } else { None }
    }

    /// Takes the SYN-ACK. Without timestamps in it the connection uses none.
    pub fn answer(&mut self, syn_ack: &Segment<'_>) {
        let server_first = syn_ack.sequence.wrapping_add(1);
        if self.is(IS_ANSWERED) && self.server_first != server_first {
            self.facts |= ANY_ACKNOWLEDGMENT;
        }
        self.server_first = server_first;
        self.facts |= IS_ANSWERED;
        if self.is(HAS_TIMESTAMPS) && syn_ack.checked_options().timestamp.is_none() {
            self.facts &= !HAS_TIMESTAMPS;
        }
    }

    /// Whether a segment with the SYN flag cannot belong to this connection: it is established, and the segment, with data
    /// as no common stack sends it, begins another (RFC 5961 §4).
    pub fn is_forged_syn(&self, sender: Side, segment: &Segment<'_>) -> bool {
        let is_same = sender == self.client()
            && segment.flags & Segment::ACK == 0
            && segment.sequence.wrapping_add(1) == self.client_first;
        self.is(IS_ANSWERED) && sender == self.client() && !is_same && !segment.payload.is_empty()
    }

    /// Whether a SYN opens this connection again elsewhere. Either may be a decoy: the later one counts when the server answers
    /// it, or the client goes on there. In an established connection the server answers with a challenge alone (RFC 5961 §4).
    pub fn doubts(&self, again: &Self) -> bool {
        self.client() == again.client() && self.client_first != again.client_first
    }

    /// Whether both SYNs open the same connection.
    pub fn is_of_same_syn(&self, again: &Self) -> bool {
        self.client() == again.client() && self.client_first == again.client_first
    }

    /// Whether a segment acknowledges what this connection's server sent. Another connection's would begin elsewhere.
    pub fn is_acknowledged_by(&self, segment: &Segment<'_>) -> bool {
        let bytes = segment.acknowledgment().map(|number| number.wrapping_sub(self.server_first) as i32);
        self.is(IS_ANSWERED) && bytes.is_some_and(|bytes| (0..=ACKNOWLEDGED_BYTES_MAX).contains(&bytes))
    }

    /// Whether a SYN-ACK answers this opening: it may acknowledge data of the SYN. Made-up captures acknowledge 0.
    pub fn is_answered_by(&self, syn_ack: &Segment<'_>) -> bool {
        let acknowledgment = syn_ack.acknowledgment();
        acknowledgment.is_some_and(|number| number == 0 || number.wrapping_sub(self.client_first) <= SYN_DATA_BYTES_MAX)
    }

    /// Whether the SYN had data that this SYN-ACK does not acknowledge: the server did not take it (RFC 9293 §3.10.7.4).
    pub fn has_void_data(&self, syn_ack: &Segment<'_>) -> bool {
        self.is(HAS_DATA) && syn_ack.acknowledgment() == Some(self.client_first)
    }

    /// Why bytes of this connection contradict each other, as far as was seen.
    pub const fn desync(&self) -> Desync {
        self.desync
    }

    /// Forgets that a checksum was wrong.
    pub(crate) const fn forget_checksum(&mut self) {
        self.desync.0 &= !Desync::CHECKSUM.0;
    }

    /// Notes a reason.
    pub const fn note(&mut self, reason: Desync) {
        self.desync.add(reason);
    }

    /// Whether a segment of the client came with another hop limit than the SYN; then that is noted.
    pub fn note_hop_limit(&mut self, segment: &Segment<'_>) -> bool {
        let is_other =
            segment.network().hop_limit().is_some_and(|hop_limit| self.hop_limit != 0 && hop_limit != self.hop_limit);
        if is_other {
            self.facts |= HOP_LIMITS_DIFFER;
        }
        is_other
    }

    /// Whether a segment of the client came with another hop limit than the SYN.
    pub const fn has_hop_limits(&self) -> bool {
        self.is(HOP_LIMITS_DIFFER)
    }

    /// Why a server drops this segment of the client, if it surely does. The checksum costs a look at all bytes and is
    /// tested where `tests_checksum` says so.
    pub fn why_void(&mut self, segment: &Segment<'_>, tests_checksum: bool) -> Option<Desync> {
        let options = segment.checked_options();
        let mut reason = self.header_fault(segment, &options);
        if reason.is_none() && tests_checksum && self.has_wrong_checksum(segment) {
            reason = Some(Desync::CHECKSUM);
        }
        reason.inspect(|reason| self.note(*reason))
    }

    /// Whether a server that took this opening drops this segment of the client; nothing is noted.
    pub(crate) fn is_void(&self, segment: &Segment<'_>) -> bool {
        self.header_fault(segment, &segment.checked_options()).is_some() || self.has_wrong_checksum(segment)
    }

    /// From now on no acknowledgment and no timestamp proves a segment void: the connection may have gone on for long.
    pub(crate) const fn forget_windows(&mut self) {
        self.facts = self.facts & !HAS_TIMESTAMPS | ANY_ACKNOWLEDGMENT;
    }

    /// Whether a server drops this segment for its checksum. A wrong one proves nothing where the SYN's was wrong too:
    /// then the capture was rewritten.
    pub fn has_wrong_checksum(&self, segment: &Segment<'_>) -> bool {
        self.is(CHECKSUM_RIGHT)
            && (segment.checksum() == Checksum::Wrong || segment.network().checksum() == Checksum::Wrong)
    }

    /// Whether a server drops this segment for its checksum; then that is noted.
    pub fn is_void_for_its_checksum(&mut self, segment: &Segment<'_>) -> bool {
        let is_void = self.has_wrong_checksum(segment);
        if is_void {
            self.note(Desync::CHECKSUM);
        }
        is_void
    }

    fn header_fault(&self, segment: &Segment<'_>, options: &CheckedOptions) -> Option<Desync> {
        if segment.flags & Segment::SYN != 0 {
            let is_retransmission = segment.sequence.wrapping_add(1) == self.client_first;
            return (self.is(IS_ANSWERED) && !is_retransmission).then_some(Desync::SYN_FLAG);
        }
        if segment.flags & Segment::ACK == 0 {
            return Some(Desync::NO_ACK);
        }
        // Made-up captures acknowledge 0, or the number of the SYN-ACK. Of SYN-ACKs that differ, a middlebox's or those of a
        // server that keeps no state, the client may have taken any.
        if !self.is(ANY_ACKNOWLEDGMENT)
            && let (Some(first), Some(acknowledgment)) = (self.server_first(), segment.acknowledgment())
            && acknowledgment != 0
            && !(-1..=ACKNOWLEDGED_BYTES_MAX).contains(&(acknowledgment.wrapping_sub(first) as i32))
        {
            return Some(Desync::ACK_WINDOW);
        }
        if options.has_md5 && !self.is(HAS_MD5) {
            return Some(Desync::MD5);
        }
        // Serial number arithmetic (RFC 7323 §5.2).
        if let Some(value) = options.timestamp
            && self.is(HAS_TIMESTAMPS)
            && (value.wrapping_sub(self.timestamp) as i32) < 0
        {
            return Some(Desync::PAWS);
        }
        None
    }
}
