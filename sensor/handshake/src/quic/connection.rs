//! State of a UDP flow while its QUIC hello is awaited: for each connection id that keys were derived from, the keys and
//! the reassembled CRYPTO stream. Bounded, and small until the first Initial.

use arrayvec::ArrayVec;

use super::frames::{self, Framing};
use super::google::{self, Chlo};
use super::header::{self, Clear, ConnectionId, Initial, Packet};
use super::keys::{Keys, Scratch};
use super::versions::Schedule;
use super::{Hello, Progress, QuicCounters, QuicLimits};
use vigie_flow::Side;
use vigie_wire::assembly::{Assembly, InsertError};

/// How many connections, real ones or decoys, are followed on one flow at a time.
pub const CONNECTIONS_MAX: usize = 4;

/// Memory that a stream keeps for the next connection; nearly all hellos need less.
const SPARE_STREAM_BYTES_MAX: usize = 8 * 1024;

/// Room for the pieces of a first packet, which padding may make longer than they are.
const EXPECTED_BYTES_MAX: usize = 1_200;

/// Bytes of type and length in front of a TLS handshake message (RFC 8446 §4).
const MESSAGE_HEADER_BYTES: usize = 4;

/// The TLS handshake type of a ClientHello.
const CLIENT_HELLO: u8 = 1;

/// The QUIC side of one UDP flow. Either direction's datagrams may be fed to it, from any point on.
#[derive(Debug, Default)]
pub struct Connection {
    candidates: ArrayVec<Box<Candidate>, CONNECTIONS_MAX>,
    spare: Option<Box<Candidate>>,
    failures: u16,
    given_up: bool,
}

impl Connection {
    /// Takes one datagram that a side sent, and returns what it brought. If that is a hello, ask [`Connection::more`] for
    /// another.
    pub fn datagram(
        &mut self,
        side: Side,
        payload: &[u8],
        scratch: &mut Scratch,
        limits: &QuicLimits,
        counters: &mut QuicCounters,
    ) -> Progress<'_> {
        let mut rest = payload;
        let mut known = !self.candidates.is_empty();
        while !self.given_up
            && let Some((packet, after)) = header::split(rest)
        {
            known = true;
            rest = after;
            match packet {
                Packet::Initial(packet) => self.initial(side, &packet, scratch, limits, counters),
                Packet::Clear(packet) => self.clear(&packet, limits, counters),
                Packet::Opaque => {}
                Packet::Retry => counters.retries += 1,
                Packet::VersionNegotiation => counters.version_negotiations += 1,
                Packet::Cut => counters.cut += 1,
            }
        }
        match self.unreported() {
            Some(at) => self.report(at),
            None if self.given_up => Progress::GivenUp,
            None if known => Progress::Nothing,
            None => Progress::NotQuic,
        }
    }

    /// A further hello of the same datagram: only of a datagram that coalesces packets of several connections.
    pub fn more(&mut self) -> Progress<'_> {
        match self.unreported() {
            Some(at) => self.report(at),
            None => Progress::Nothing,
        }
    }

    /// Visits the hellos that are not known to their end, and were not reported so.
    pub fn partial_hellos(&self, visit: &mut dyn FnMut(&Hello<'_>)) {
        for candidate in &self.candidates {
            for stream in std::iter::once(&candidate.stream).chain(&candidate.versions) {
                if !stream.is_reported
                    && let Some(hello) = hello_of(candidate.version, stream.bytes.contiguous())
                {
                    visit(&hello);
                }
            }
        }
    }

    /// Whether a part of a hello was decrypted, be it one behind a gap.
    pub fn has_begun(&self) -> bool {
        self.candidates.iter().any(|candidate| !candidate.stream.bytes.is_empty())
    }

    /// Starts over and keeps memory for the next flow.
    pub fn reset(&mut self) {
        if let Some(mut candidate) = self.candidates.pop() {
            candidate.clear();
            self.spare = Some(candidate);
        }
        self.candidates.clear();
        self.failures = 0;
        self.given_up = false;
    }

    /// Bytes of memory held, besides those of the struct itself.
    pub fn memory_bytes(&self) -> usize {
        self.candidates.iter().chain(&self.spare).map(|candidate| candidate.memory_bytes()).sum()
    }

    /// Decrypts an Initial with the keys that may fit: those of its own destination id, those of connections that were
    /// decrypted before (the id changes once the server has answered, RFC 9000 §7.2), and new ones (a first packet, or the
    /// first after a Retry, RFC 9001 §5.2).
    fn initial(
        &mut self,
        side: Side,
        packet: &Initial<'_>,
        scratch: &mut Scratch,
        limits: &QuicLimits,
        counters: &mut QuicCounters,
    ) {
        counters.initials += 1;
        counters.unknown_versions += u64::from(!packet.dialect.known);
        let own = self.candidates.iter().position(|candidate| candidate.destination.as_slice() == packet.destination);
        if own.is_none() && self.candidates.iter().any(|candidate| candidate.is_answered_by(side, packet)) {
            counters.from_server += 1;
            return;
        }
        let others = (0..self.candidates.len()).filter(|&at| Some(at) != own);
        let mut candidates: ArrayVec<usize, CONNECTIONS_MAX> = own.into_iter().chain(others).collect();
        candidates
            .retain(|&mut at| Some(at) == own || self.candidates.get(at).is_some_and(|candidate| candidate.proven));
        for at in candidates {
            if self.open(at, side, packet, scratch, limits, counters) {
                return;
            }
        }
        if own.is_none() && !self.given_up {
            let at = self.new_candidate(packet.destination, counters);
            self.open(at, side, packet, scratch, limits, counters);
        }
    }

    /// Tries one candidate with each schedule of the packet's version. True if the packet was opened.
    fn open(
        &mut self,
        at: usize,
        side: Side,
        packet: &Initial<'_>,
        scratch: &mut Scratch,
        limits: &QuicLimits,
        counters: &mut QuicCounters,
    ) -> bool {
        let Some(candidate) = self.candidates.get_mut(at) else {
            return false;
        };
        // The schedule that decrypted a packet before comes first, then the version's own order.
        let is_unknown = !packet.dialect.known;
        let of_others = scratch.opened_unknown.filter(|_| is_unknown);
        let before = candidate.opened_by.or(of_others).filter(|schedule| packet.schedules.contains(schedule));
        let others = packet.schedules.iter().copied().filter(|&schedule| Some(schedule) != before);
        for schedule in before.into_iter().chain(others) {
            if self.failures >= limits.attempts_max {
                counters.given_up += u64::from(!self.given_up);
                self.given_up = true;
                return false;
            }
            if candidate.open(schedule, packet, scratch, limits, counters) {
                candidate.sender.get_or_insert(side);
                counters.opened += 1;
                self.failures = 0;
                if is_unknown {
                    scratch.opened_unknown = Some(schedule);
                }
                return true;
            }
            counters.open_failures += 1;
            self.failures += 1;
        }
        false
    }

    /// Takes the handshake bytes of an unencrypted packet, if it has any. The start of a CHLO is recognised by its tag;
    /// later packets must have a right hash, since encrypted packets have the same header.
    fn clear(&mut self, packet: &Clear<'_>, limits: &QuicLimits, counters: &mut QuicCounters) {
        let (Some(frames), 8) = (google::clear_frames(packet), packet.destination.len()) else {
            return;
        };
        let framing = Framing::Google { version: packet.number };
        let (mut starts, mut continues) = (false, false);
        frames::walk(framing, frames, packet.packet_number_bytes, |_, data| match data.starts_with(google::CHLO) {
            true => starts = true,
            false => continues = true,
        });
        if !(starts || continues && google::hash_is_right(packet)) {
            return;
        }
        counters.clear += 1;
        let own = self.candidates.iter().position(|candidate| candidate.destination.as_slice() == packet.destination);
        let at = own.unwrap_or_else(|| self.new_candidate(packet.destination, counters));
        if let Some(candidate) = self.candidates.get_mut(at) {
            candidate.proven = true;
            candidate.version = packet.version;
            candidate.gather(framing, frames, packet.packet_number_bytes, limits, counters);
        }
    }

    /// A new candidate with this id; evicts the least useful one if all places are taken.
    fn new_candidate(&mut self, destination: &[u8], counters: &mut QuicCounters) -> usize {
        let evicted = self.candidates.is_full().then(|| {
            counters.connections_evicted += 1;
            let useless = self.candidates.iter().position(|candidate| !candidate.proven);
            let idle = || self.candidates.iter().position(|candidate| candidate.stream.bytes.is_empty());
            let reported = || self.candidates.iter().position(|candidate| candidate.is_reported());
            let place = useless.or_else(idle).or_else(reported).unwrap_or(0);
            self.candidates.remove(place)
        });
        let mut candidate = evicted.or_else(|| self.spare.take()).unwrap_or_default();
        candidate.clear();
        candidate.destination = header::keep(destination);
        // There is room: one was removed if all places were taken.
        let _ = self.candidates.try_push(candidate);
        self.candidates.len() - 1
    }

    /// The first candidate that knows more of its hello than it has reported.
    fn unreported(&self) -> Option<usize> {
        self.candidates.iter().position(|candidate| candidate.has_unreported())
    }

    fn report(&mut self, at: usize) -> Progress<'_> {
        self.candidates.get_mut(at).map_or(Progress::Nothing, |candidate| candidate.report())
    }
}

/// A possible connection: the destination id that its keys come from, and what was decrypted with them.
#[derive(Debug, Default)]
struct Candidate {
    destination: ConnectionId,
    /// The client's own id, to which the server's packets go.
    source: ConnectionId,
    /// Who sent the packets that were opened.
    sender: Option<Side>,
    version: u32,
    /// Whether any packet was opened with its keys.
    proven: bool,
    opened_by: Option<Schedule>,
    keys: Option<(Schedule, Keys)>,
    /// Keys of another schedule, for a compatible version negotiation: few connections have them.
    other_keys: Option<Box<(Schedule, Keys)>>,
    largest_number: Option<u64>,
    stream: CryptoStream,
    /// Other versions of the stream, where packets contradict each other: whichever the server keeps is among them.
    versions: Vec<CryptoStream>,
}

impl Candidate {
    /// Resets all but the memory.
    fn clear(&mut self) {
        let mut bytes = std::mem::take(&mut self.stream.bytes);
        bytes.clear();
        if bytes.capacity() > SPARE_STREAM_BYTES_MAX {
            bytes = Assembly::default();
        }
        (self.keys, self.other_keys) = (None, None);
        self.destination.clear();
        self.source.clear();
        self.stream = CryptoStream { bytes, ..CryptoStream::default() };
        self.versions = Vec::new();
        (self.version, self.proven, self.opened_by, self.largest_number) = (0, false, None, None);
        self.sender = None;
    }

    /// Bytes of memory held.
    fn memory_bytes(&self) -> usize {
        let others = self.versions.iter().map(|stream| size_of::<CryptoStream>() + stream.bytes.capacity());
        let other_keys = self.other_keys.as_deref().map_or(0, size_of_val);
        size_of::<Self>() + other_keys + self.stream.bytes.capacity() + others.sum::<usize>()
    }

    fn streams(&mut self) -> impl Iterator<Item = &mut CryptoStream> {
        std::iter::once(&mut self.stream).chain(&mut self.versions)
    }

    /// Whether all that can be known of its hellos was reported.
    fn is_reported(&self) -> bool {
        self.stream.is_reported && self.versions.iter().all(|stream| stream.is_reported)
    }

    fn has_unreported(&self) -> bool {
        self.stream.has_unreported() || self.versions.iter().any(CryptoStream::has_unreported)
    }

    /// What is known of the hello in the first stream that knows more than it reported.
    fn report(&mut self) -> Progress<'_> {
        let version = self.version;
        let stream = self.streams().find(|stream| stream.has_unreported());
        stream.map_or(Progress::Nothing, |stream| stream.report(version))
    }

    /// Whether a packet goes to this connection's client. The client itself keeps its source id (RFC 9000 §7.2).
    fn is_answered_by(&self, side: Side, packet: &Initial<'_>) -> bool {
        self.sender.is_some_and(|sender| sender != side)
            && packet.destination == self.source.as_slice()
            && packet.source != self.source.as_slice()
    }

    /// Decrypts a packet and takes its handshake bytes.
    fn open(
        &mut self,
        schedule: Schedule,
        packet: &Initial<'_>,
        scratch: &mut Scratch,
        limits: &QuicLimits,
        counters: &mut QuicCounters,
    ) -> bool {
        let largest = self.largest_number;
        let Some(keys) = self.keys(schedule, scratch, counters) else {
            return false;
        };
        let Some(opened) = keys.open(packet.bytes, packet.number_at, largest, &mut scratch.buffer) else {
            return false;
        };
        self.largest_number = largest.max(Some(opened.number));
        if !self.proven {
            self.proven = true;
            self.source = header::keep(packet.source);
        }
        self.opened_by = Some(schedule);
        self.version = packet.version;
        self.gather(packet.dialect.framing, opened.frames, opened.number_bytes, limits, counters);
        true
    }

    /// The keys of a schedule, derived at the first call.
    fn keys(&mut self, schedule: Schedule, scratch: &Scratch, counters: &mut QuicCounters) -> Option<&Keys> {
        let is_known = |keys: Option<&(Schedule, Keys)>| keys.is_some_and(|(known, _)| *known == schedule);
        if !is_known(self.keys.as_ref()) && !is_known(self.other_keys.as_deref()) {
            counters.keys_derived += 1;
            let keys = (schedule, Keys::client(&scratch.salts, schedule, &self.destination)?);
            match self.keys {
                None => self.keys = Some(keys),
                Some(_) => self.other_keys = Some(Box::new(keys)),
            }
        }
        let mut both = self.keys.iter().chain(self.other_keys.as_deref());
        both.find(|(known, _)| *known == schedule).map(|(_, keys)| keys)
    }

    /// Adds the handshake bytes of some frames to the stream, or to a version of their own if they contradict it.
    fn gather(
        &mut self,
        framing: Framing,
        frames: &[u8],
        packet_number_bytes: usize,
        limits: &QuicLimits,
        counters: &mut QuicCounters,
    ) {
        let fits = |stream: &CryptoStream| {
            let mut fits = true;
            frames::walk(framing, frames, packet_number_bytes, |offset, data| fits &= stream.fits(offset, data));
            fits
        };
        if self.stream.bytes.is_empty() || self.versions.is_empty() && fits(&self.stream) {
            let whole = self.stream.gather(framing, frames, packet_number_bytes, limits, counters);
            counters.odd_frames += u64::from(whole.is_none());
            return;
        }
        let mut fits_any = false;
        for stream in self.streams().filter(|stream| fits(stream)) {
            fits_any = true;
            stream.gather(framing, frames, packet_number_bytes, limits, counters);
        }
        if !fits_any {
            self.add_version(
                |stream, counters| {
                    stream.gather(framing, frames, packet_number_bytes, limits, counters);
                },
                limits,
                counters,
            );
        }
    }

    /// Adds versions of the stream for a packet that fits none: what the packet leaves open may be as in each of them, or come
    /// anew. Versions that were reported make room for others.
    fn add_version(
        &mut self,
        gather: impl Fn(&mut CryptoStream, &mut QuicCounters),
        limits: &QuicLimits,
        counters: &mut QuicCounters,
    ) {
        let is_full = |versions: &[CryptoStream]| versions.len() + 1 >= limits.stream_versions_max;
        if is_full(&self.versions) && !self.versions.iter().any(|version| version.is_reported) {
            counters.stream_versions_exceeded += 1;
            return;
        }
        let mut anew = CryptoStream { base: self.stream.base, ..CryptoStream::default() };
        gather(&mut anew, counters);
        let mut added = Vec::new();
        if !hello_of(self.version, anew.bytes.contiguous()).is_some_and(|hello| hello.complete) {
            for known in std::iter::once(&self.stream).chain(&self.versions) {
                let mut version = CryptoStream { base: self.stream.base, ..CryptoStream::default() };
                gather(&mut version, counters);
                let _ = version.bytes.insert(0, known.bytes.contiguous(), limits.crypto_bytes_max);
                let is_new = |other: &CryptoStream| other.bytes.contiguous() != version.bytes.contiguous();
                if is_new(&anew) && added.iter().all(is_new) {
                    added.push(version);
                }
            }
        }
        added.push(anew);
        for version in added {
            if is_full(&self.versions) {
                let Some(place) = self.versions.iter().position(|version| version.is_reported) else {
                    counters.stream_versions_exceeded += 1;
                    return;
                };
                self.versions.swap_remove(place);
            }
            self.versions.push(version);
        }
    }
}

/// The handshake bytes that a client sent, in order.
#[derive(Debug, Default)]
struct CryptoStream {
    bytes: Assembly,
    /// Offset in the handshake stream of the message that is reassembled.
    base: u64,
    /// How many bytes of the stream [`report`](Self::report) has seen.
    reported_bytes: usize,
    /// Whether the whole hello was reported, or the stream is not that of a hello.
    is_reported: bool,
}

impl CryptoStream {
    /// Whether bytes may belong to this stream: none differs from one known at the same place, and those of a stream that is
    /// complete are all known.
    fn fits(&self, offset: u64, data: &[u8]) -> bool {
        let Some(offset) = offset.checked_sub(self.base).and_then(|offset| usize::try_from(offset).ok()) else {
            return true;
        };
        let is_known = offset.saturating_add(data.len()) <= self.bytes.contiguous().len();
        !self.bytes.contradicts(offset, data) && (!self.is_reported || is_known)
    }

    fn gather(
        &mut self,
        framing: Framing,
        frames: &[u8],
        packet_number_bytes: usize,
        limits: &QuicLimits,
        counters: &mut QuicCounters,
    ) -> Option<()> {
        if self.is_reported {
            return Some(());
        }
        let (stream, base) = (&mut self.bytes, &mut self.base);
        if stream.is_empty() {
            // Clients cut a hello into many pieces, in any order: they take no more room than the packet.
            stream.expect(frames.len().min(EXPECTED_BYTES_MAX));
        }
        frames::walk(framing, frames, packet_number_bytes, |offset, data| {
            // A later message of the stream, where the first was missed: its tag says that it starts here.
            if stream.is_empty() && data.starts_with(google::CHLO) {
                *base = offset;
            }
            let Some(offset) = offset.checked_sub(*base) else {
                return;
            };
            let offset = usize::try_from(offset).unwrap_or(usize::MAX);
            match stream.insert(offset, data, limits.crypto_bytes_max) {
                Ok(_) => {}
                Err(InsertError::BeyondLimit) => counters.crypto_too_far += 1,
                Err(InsertError::TooManyIslands) => counters.crypto_too_many_gaps += 1,
            }
        })
    }

    fn has_unreported(&self) -> bool {
        let known = self.bytes.contiguous().len();
        !self.is_reported && known > self.reported_bytes && known > MESSAGE_HEADER_BYTES
    }

    /// What is known of the hello; from then on only what is more.
    fn report(&mut self, version: u32) -> Progress<'_> {
        let known = self.bytes.contiguous();
        self.reported_bytes = known.len();
        if let Some(chlo) = Chlo::view(version, known) {
            self.is_reported = chlo.complete();
            return Progress::Chlo(chlo);
        }
        match hello_of(version, known) {
            Some(hello) => {
                self.is_reported = hello.complete;
                Progress::Hello(hello)
            }
            None => {
                self.is_reported = true;
                Progress::Nothing
            }
        }
    }
}

/// The ClientHello at the start of a handshake stream, as far as it is known.
fn hello_of(version: u32, known: &[u8]) -> Option<Hello<'_>> {
    let (&[CLIENT_HELLO, high, middle, low], body) = known.split_first_chunk()? else { return None };
    let announced = u32::from_be_bytes([0, high, middle, low]) as usize;
    let message = body.get(..announced).unwrap_or(body);
    Some(Hello { version, message, announced, complete: message.len() == announced })
}
