//! Follows a UDP flow until its client's hello is read: QUIC, Google's QUIC or DTLS.

use super::dtls::{self, DtlsHello, DtlsStep};
use super::quic::{self, Chlo, Connection, Progress, Scratch};
use super::tls::ClientHello;
use super::{Counts, Limits};

/// Datagrams without progress after which a hello with a name is reported without its tail.
const STALLED_DATAGRAMS_MAX: u8 = 8;

/// The least that a datagram with a client's Initial has (RFC 9000 §14.1).
const QUIC_INITIAL_BYTES_MIN: usize = 1200;

/// Whether a datagram is of a handshake although its port is another protocol's.
pub fn opens_a_handshake(payload: &[u8]) -> bool {
    dtls::looks_like_dtls(payload) || payload.len() >= QUIC_INITIAL_BYTES_MIN && quic::looks_like_quic(payload)
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

/// A flow whose hello is awaited.
#[derive(Debug, Default)]
pub struct UdpInspector {
    quic: Connection,
    /// Allocated with the first datagram of DTLS.
    dtls: Option<Box<DtlsHello>>,
    /// A QUIC hello that lacks its tail: version, announced length, bytes.
    partial: Option<(u32, usize, Vec<u8>)>,
    datagrams: u32,
    stalled_datagrams: u8,
    is_done: bool,
}

// Every flow whose hello is awaited has one: what few need is boxed.
const _: () = assert!(size_of::<UdpInspector>() <= 128);

impl UdpInspector {
    /// Bytes of memory held, those of the struct itself among them.
    pub fn memory_bytes(&self) -> usize {
        size_of::<Self>()
            + self.quic.memory_bytes()
            + self.dtls.as_ref().map_or(0, |dtls| size_of::<DtlsHello>() + dtls.memory_bytes())
            + self.partial.as_ref().map_or(0, |partial| partial.2.capacity())
    }

    /// Starts over and keeps the memory.
    pub fn reset(&mut self) {
        self.quic.reset();
        if let Some(dtls) = &mut self.dtls {
            **dtls = DtlsHello::default();
        }
        self.partial = None;
        self.datagrams = 0;
        self.stalled_datagrams = 0;
        self.is_done = false;
    }

    /// Whether no hello is expected any more.
    pub const fn is_done(&self) -> bool {
        self.is_done
    }

    /// Takes a datagram; returns the hello that it completed.
    pub fn datagram<'a>(
        &'a mut self,
        payload: &'a [u8],
        scratch: &mut Scratch,
        limits: &Limits,
        counts: &mut Counts,
    ) -> Option<Hello<'a>> {
        self.datagrams += 1;
        if self.datagrams as usize > limits.undecided_datagrams_max {
            counts.undecided_datagrams += 1;
            return self.take_partial_hello();
        }
        if quic::looks_like_quic(payload) {
            return self.quic_datagram(payload, scratch, limits, counts);
        }
        if dtls::looks_like_dtls(payload) {
            return match self.dtls.get_or_insert_default().datagram(payload, limits.hello_bytes_max) {
                DtlsStep::Hello(hello) if hello.is_complete() => {
                    self.is_done = true;
                    Some(Hello::Dtls(hello))
                }
                DtlsStep::Hello(_) | DtlsStep::More | DtlsStep::NotDtls => None,
            };
        }
        None
    }

    fn quic_datagram<'a>(
        &'a mut self,
        payload: &[u8],
        scratch: &mut Scratch,
        limits: &Limits,
        counts: &mut Counts,
    ) -> Option<Hello<'a>> {
        let Self { quic, partial, stalled_datagrams, is_done, datagrams, .. } = self;
        match quic.datagram(payload, scratch, &limits.quic, &mut counts.quic) {
            Progress::NotQuic => None,
            Progress::Nothing => {
                let waited = partial.is_some() && {
                    *stalled_datagrams = stalled_datagrams.saturating_add(1);
                    *stalled_datagrams >= STALLED_DATAGRAMS_MAX
                };
                *is_done = waited;
                if waited { partial_hello(partial.as_ref()) } else { None }
            }
            Progress::GivenUp => {
                *is_done = true;
                partial_hello(partial.as_ref())
            }
            Progress::Chlo(chlo) => {
                if !chlo.complete() && chlo.sni().is_none() {
                    *datagrams = 0;
                    return None;
                }
                *is_done = true;
                Some(Hello::Chlo(chlo))
            }
            Progress::Hello(hello) => {
                // The limit is for flows without progress.
                *datagrams = 0;
                let view = ClientHello::parse(hello.message, hello.announced).ok()?;
                if hello.complete {
                    *is_done = true;
                    return Some(Hello::Quic(hello.version, view));
                }
                if view.server_name().is_some() {
                    let held = partial.get_or_insert_with(Default::default);
                    held.0 = hello.version;
                    held.1 = hello.announced;
                    held.2.clear();
                    held.2.extend_from_slice(hello.message);
                }
                None
            }
        }
    }

    /// Whether [`take_partial_hello`](Self::take_partial_hello) may return a hello.
    pub const fn has_partial_hello(&self) -> bool {
        !self.is_done && (self.partial.is_some() || self.dtls.is_some())
    }

    /// The hello without its tail, if its name is there and was not reported yet.
    pub fn take_partial_hello(&mut self) -> Option<Hello<'_>> {
        if self.is_done {
            return None;
        }
        self.is_done = true;
        let Self { partial, dtls, .. } = self;
        partial_hello(partial.as_ref()).or_else(|| {
            let hello = dtls.as_mut()?.so_far()?;
            hello.server_name().is_some().then_some(Hello::Dtls(hello))
        })
    }
}

fn partial_hello(partial: Option<&(u32, usize, Vec<u8>)>) -> Option<Hello<'_>> {
    let (version, announced, message) = partial?;
    ClientHello::parse(message, *announced).ok().map(|hello| Hello::Quic(*version, hello))
}
