//! Follows a UDP flow until its client's hello is read: QUIC, Google's QUIC or DTLS, also inside datagrams of a SOCKS5
//! relay.
//!
//! A flow is followed until its server answers. Until then the client may have sent decoys, in the same protocol or another
//! one, and which hello the server takes cannot be told: all are reported, each name once. A hello without a name is no
//! end either, since DTLS clients often say the name in their second hello only.

use arrayvec::ArrayVec;

use super::dtls::{self, DtlsHello, DtlsStep};
use super::name_hash::name_hash;
use super::opening::Desync;
use super::quic::{self, Chlo, Connection, Progress, Scratch};
use super::socks::Relayed;
use super::tls::ClientHello;
use super::{Counts, Limits};
use vigie_decode::{Checksum, UdpDatagram};
use vigie_flow::Side;

/// Datagrams without progress after which a hello with a name is reported without its tail.
const STALLED_DATAGRAMS_MAX: u8 = 8;

/// Datagrams without progress after which a flow whose hello was reported is not followed any more: decoys, each sent several
/// times, may come before the true hello.
const WATCHED_DATAGRAMS_MAX: u8 = 32;

/// How many datagrams with a wrong checksum are held until it is clear whether that is the capture's fault.
const HELD_DATAGRAMS_MAX: usize = 4;

/// The least that a datagram with a client's Initial has (RFC 9000 §14.1).
const QUIC_INITIAL_BYTES_MIN: usize = 1200;

/// Whether a datagram is of a handshake although its port is another protocol's.
pub fn opens_a_handshake(payload: &[u8]) -> bool {
    dtls::looks_like_dtls(payload) || payload.len() >= QUIC_INITIAL_BYTES_MIN && quic::looks_like_quic(payload)
}

/// The part of a payload that may hold a hello: behind the header of a SOCKS5 relay, if there is one.
#[inline]
pub fn may_hold_hello(payload: &[u8]) -> Option<&[u8]> {
    let is_handshake = |payload: &[u8]| quic::looks_like_quic(payload) || dtls::looks_like_dtls(payload);
    if is_handshake(payload) {
        return Some(payload);
    }
    Relayed::parse(payload).map(|relayed| relayed.payload).filter(|payload| is_handshake(payload))
}

/// A hello that came in datagrams.
#[derive(Debug)]
pub enum Hello<'a> {
    /// TLS in QUIC of this version.
    Quic(u32, ClientHello<'a>),
    /// The client hello of Google's QUIC.
    Chlo(Chlo<'a>),
    /// DTLS.
    Dtls(ClientHello<'a>),
}

impl<'a> Hello<'a> {
    fn name(&self) -> Option<&'a [u8]> {
        match self {
            Self::Quic(_, hello) | Self::Dtls(hello) => hello.server_name(),
            Self::Chlo(chlo) => chlo.sni(),
        }
    }

    fn is_complete(&self) -> bool {
        match self {
            Self::Quic(_, hello) | Self::Dtls(hello) => hello.is_complete(),
            Self::Chlo(chlo) => chlo.complete(),
        }
    }
}

/// Who receives the hellos of a flow, and why others contradict them.
pub type Visit<'v> = &'v mut dyn FnMut(&Hello<'_>, Desync);

/// What a worker lends to the inspection of a datagram.
pub struct Lent<'l> {
    /// For decryption.
    pub scratch: &'l mut Scratch,
    /// Bounds.
    pub limits: &'l Limits,
    /// Counts.
    pub counts: &'l mut Counts,
    /// Whether the addresses of the capture were rewritten, so that wrong checksums prove nothing.
    pub is_rewritten: bool,
}

/// A flow whose hello is awaited.
#[derive(Debug, Default)]
pub struct UdpInspector {
    quic: Connection,
    /// Allocated with the first datagram of DTLS.
    dtls: Option<Box<DtlsHello>>,
    /// Payloads with a wrong checksum, allocated with the first. They are the capture's fault, or decoys.
    held: Option<Box<ArrayVec<Box<[u8]>, HELD_DATAGRAMS_MAX>>>,
    /// Who sent the first hello or held payload.
    client: Option<Side>,
    reported: Reported,
    datagrams: u32,
    /// Memory that the caller keeps for the flow.
    charged_bytes: u32,
    stalled_datagrams: u8,
    /// A hello has a name and lacks its tail.
    has_partial_hello: bool,
    is_done: bool,
}

// Every flow whose hello is awaited has one: what few need is boxed.
const _: () = assert!(size_of::<UdpInspector>() <= 144);

impl UdpInspector {
    /// Bytes of memory held, those of the struct itself among them.
    pub fn memory_bytes(&self) -> usize {
        let held = self.held.as_ref().map_or(0, |held| held.iter().map(|payload| payload.len()).sum::<usize>() + 72);
        size_of::<Self>()
            + self.quic.memory_bytes()
            + self.dtls.as_ref().map_or(0, |dtls| size_of::<DtlsHello>() + dtls.memory_bytes())
            + self.reported.others.capacity() * size_of::<u32>()
            + held
            + self.charged_bytes as usize
    }

    /// Starts over and keeps the memory.
    pub fn reset(&mut self) {
        self.quic.reset();
        if let Some(dtls) = &mut self.dtls {
            **dtls = DtlsHello::default();
        }
        (self.held, self.client, self.reported, self.charged_bytes) = (None, None, Reported::default(), 0);
        (self.datagrams, self.stalled_datagrams, self.has_partial_hello, self.is_done) = (0, 0, false, false);
    }

    /// Whether no hello is expected any more.
    pub const fn is_done(&self) -> bool {
        self.is_done
    }

    /// Who sent the first hello, if one was seen.
    pub const fn client(&self) -> Option<Side> {
        self.client
    }

    /// Whether a hello has begun.
    pub fn has_begun(&self) -> bool {
        self.client.is_some() || self.quic.has_begun()
    }

    /// Charges memory to the flow that the caller keeps for it.
    pub const fn charge(&mut self, bytes: usize) {
        self.charged_bytes = bytes as u32;
    }

    /// Takes a datagram of either side and visits the hellos that it completed, if their names are new.
    pub fn datagram(&mut self, side: Side, datagram: &UdpDatagram<'_>, lent: &mut Lent<'_>, visit: Visit<'_>) {
        if self.client.is_some_and(|client| client != side) {
            return self.answer(datagram.payload, lent, visit);
        }
        self.datagrams += 1;
        if self.datagrams as usize > lent.limits.undecided_datagrams_max {
            lent.counts.undecided_datagrams += 1;
            self.finish_partial(lent, visit);
            self.is_done = true;
            return;
        }
        let Some(payload) = may_hold_hello(datagram.payload) else { return self.note_stall(lent, visit) };
        if !lent.is_rewritten && datagram.checksum() == Checksum::Wrong {
            return self.hold(side, payload, lent);
        }
        if lent.is_rewritten {
            self.release_held(lent, visit);
        } else if let Some(held) = self.held.take() {
            // The sender computes checksums, so these were meant to be dropped by the receiver (RFC 1122 §4.1.3.4).
            held.iter().for_each(|_| self.note_void(lent));
        }
        self.handshake(side, payload, lent, visit);
    }

    /// Takes note that the server sent something: what reached it decides, so no decoy follows, unless the server asks for
    /// another hello.
    fn answer(&mut self, payload: &[u8], lent: &mut Lent<'_>, visit: Visit<'_>) {
        self.release_held(lent, visit);
        if self.reported.has_hello && !self.reported.awaits_second && !asks_for_another_hello(payload) {
            self.finish_partial(lent, visit);
            self.is_done = true;
        } else {
            self.note_stall(lent, visit);
        }
    }

    /// Takes note of a payload that its receiver drops.
    fn note_void(&mut self, lent: &mut Lent<'_>) {
        lent.counts.count_void(Desync::CHECKSUM);
        self.reported.desync.add(Desync::CHECKSUM);
    }

    /// Holds a payload with a wrong checksum, unless hellos with right ones were seen.
    fn hold(&mut self, side: Side, payload: &[u8], lent: &mut Lent<'_>) {
        if self.reported.has_hello || self.has_partial_hello {
            return self.note_void(lent);
        }
        self.client = Some(side);
        // Of too many the first stay: they are the hello, if the capture is at fault.
        let _ = self.held.get_or_insert_default().try_push(payload.into());
    }

    /// Inspects the payloads that were held: no right checksum was seen, so the wrong ones are the capture's fault.
    fn release_held(&mut self, lent: &mut Lent<'_>, visit: Visit<'_>) {
        let (Some(held), Some(client)) = (self.held.take(), self.client) else { return };
        for payload in *held {
            self.handshake(client, &payload, lent, visit);
        }
    }

    /// Counts a datagram without progress.
    fn note_stall(&mut self, lent: &mut Lent<'_>, visit: Visit<'_>) {
        let is_waiting = self.has_partial_hello || self.reported.has_hello || self.held.is_some();
        self.stalled_datagrams = self.stalled_datagrams.saturating_add(u8::from(is_waiting));
        if self.stalled_datagrams >= STALLED_DATAGRAMS_MAX {
            self.release_held(lent, visit);
            self.finish_partial(lent, visit);
            self.is_done |= self.stalled_datagrams >= WATCHED_DATAGRAMS_MAX;
        }
    }

    fn handshake(&mut self, side: Side, payload: &[u8], lent: &mut Lent<'_>, visit: Visit<'_>) {
        let is_quic = quic::looks_like_quic(payload);
        let has_progress = if is_quic {
            self.quic_datagram(side, payload, lent, visit)
        } else {
            self.dtls_datagram(side, payload, lent, visit)
        };
        if has_progress {
            // The limits are for flows without progress.
            (self.datagrams, self.stalled_datagrams) = (0, 0);
        } else if payload.len() < QUIC_INITIAL_BYTES_MIN || !is_quic {
            self.note_stall(lent, visit);
        }
        // Else it may be a decoy that is sent many times before the true hello; `undecided_datagrams_max` bounds those.
    }

    fn quic_datagram(&mut self, side: Side, payload: &[u8], lent: &mut Lent<'_>, visit: Visit<'_>) -> bool {
        let Self { quic, reported, has_partial_hello, client, .. } = self;
        let mut has_progress = false;
        let mut progress = quic.datagram(side, payload, lent.scratch, &lent.limits.quic, &mut lent.counts.quic);
        loop {
            let hello = match progress {
                Progress::NotQuic | Progress::Nothing => return has_progress,
                Progress::GivenUp => {
                    self.finish_partial(lent, visit);
                    self.is_done = true;
                    return has_progress;
                }
                Progress::Chlo(chlo) => Some(Hello::Chlo(chlo)),
                Progress::Hello(hello) => {
                    let view = ClientHello::parse(hello.message, hello.announced).ok();
                    view.map(|view| Hello::Quic(hello.version, view))
                }
            };
            has_progress = true;
            *client = client.or(Some(side));
            match hello {
                Some(hello) if hello.is_complete() => {
                    reported.report(&hello, lent.limits.udp_hellos_max, lent.counts, visit)
                }
                // Google's hellos are padded at the end, behind the name.
                Some(hello @ Hello::Chlo(_)) if hello.name().is_some() => {
                    reported.report(&hello, lent.limits.udp_hellos_max, lent.counts, visit)
                }
                Some(hello) => *has_partial_hello |= hello.name().is_some(),
                None => {}
            }
            progress = quic.more();
        }
    }

    fn dtls_datagram(&mut self, side: Side, payload: &[u8], lent: &mut Lent<'_>, visit: Visit<'_>) -> bool {
        let Self { dtls, reported, has_partial_hello, client, .. } = self;
        let dtls = dtls.get_or_insert_default();
        let step = dtls.datagram(payload, lent.limits.hello_bytes_max, &mut |hello| {
            reported.report(&Hello::Dtls(*hello), lent.limits.udp_hellos_max, lent.counts, visit);
        });
        *client = client.or(Some(side));
        if step == DtlsStep::MoreFragments
            && let Some(hello) = dtls.so_far()
        {
            if hello.is_complete() {
                reported.report(&Hello::Dtls(hello), lent.limits.udp_hellos_max, lent.counts, visit);
            } else {
                *has_partial_hello |= hello.server_name().is_some();
            }
        }
        step != DtlsStep::Nothing
    }

    /// Whether [`finish`](Self::finish) may visit a hello.
    pub const fn may_have_hello(&self) -> bool {
        !self.is_done && (self.has_partial_hello || self.held.is_some())
    }

    /// Visits the hellos in payloads that were held, and those that lack their tail but have a name, if that is new: for the
    /// end of a flow.
    pub fn finish(&mut self, lent: &mut Lent<'_>, visit: Visit<'_>) {
        if !self.is_done {
            self.release_held(lent, visit);
            self.finish_partial(lent, visit);
        }
    }

    fn finish_partial(&mut self, lent: &mut Lent<'_>, visit: Visit<'_>) {
        if self.is_done || !self.has_partial_hello {
            return;
        }
        let Lent { limits, counts, .. } = lent;
        self.has_partial_hello = false;
        let Self { quic, dtls, reported, .. } = self;
        let mut report = |hello: &Hello<'_>| {
            if hello.name().is_some() {
                reported.report(hello, limits.udp_hellos_max, counts, visit);
            }
        };
        quic.partial_hellos(&mut |hello| {
            if let Ok(view) = ClientHello::parse(hello.message, hello.announced) {
                report(&Hello::Quic(hello.version, view));
            }
        });
        if let Some(hello) = dtls.as_mut().and_then(|dtls| dtls.so_far()) {
            report(&Hello::Dtls(hello));
        }
    }
}

/// Whether a server's datagram, maybe behind the header of a SOCKS5 relay, asks for another hello.
fn asks_for_another_hello(payload: &[u8]) -> bool {
    let payload = Relayed::parse(payload).map_or(payload, |relayed| relayed.payload);
    dtls::is_hello_verify_request(payload) || quic::asks_for_another_initial(payload)
}

/// What was reported of a flow.
#[derive(Debug, Default)]
struct Reported {
    /// Hashes of the names: of most flows there is one.
    first: Option<u32>,
    others: Vec<u32>,
    has_hello: bool,
    /// Only hellos of DTLS without a name were reported: the name may be in the second one, behind HelloVerifyRequest.
    awaits_second: bool,
    /// Why hellos contradict each other.
    desync: Desync,
}

impl Reported {
    /// Visits a hello, unless one with the same name was visited before.
    #[inline]
    fn report(&mut self, hello: &Hello<'_>, hellos_max: usize, counts: &mut Counts, visit: Visit<'_>) {
        let name = hello.name().map_or(0, name_hash);
        if self.first == Some(name) || self.others.contains(&name) {
            return;
        }
        if usize::from(self.first.is_some()) + self.others.len() >= hellos_max {
            counts.hellos_exceeded += 1;
            return;
        }
        match self.first {
            None => self.first = Some(name),
            Some(_) => self.others.push(name),
        }
        if self.others.len() > usize::from(self.awaits_second) {
            self.desync.add(Desync::HELLOS);
        }
        self.awaits_second = hello.name().is_none() && matches!(hello, Hello::Dtls(_)) && self.others.is_empty();
        self.has_hello = true;
        visit(hello, self.desync);
    }
}

#[cfg(test)]
mod tests;
