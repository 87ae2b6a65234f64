//! A UDP flow until its client's hello is read, be it QUIC's, Google's or DTLS's.

use super::dtls::{self, DtlsHello, DtlsStep};
use super::quic::{self, Chlo, Connection, Progress, Scratch};
use super::tls::ClientHello;
use super::{Counts, Limits};

/// Datagrams after the name's in which the hello's tail may come before the hello is told without it.
const PATIENCE: u8 = 8;

/// The least that a datagram with a client's Initial has (RFC 9000 §14.1).
const QUIC_INITIAL_BYTES_MIN: usize = 1200;

/// Whether a datagram on a port of another protocol is of a handshake all the same.
pub fn opens_a_handshake(payload: &[u8]) -> bool {
    dtls::looks_like_dtls(payload) || payload.len() >= QUIC_INITIAL_BYTES_MIN && quic::looks_like_quic(payload)
}

/// A hello that came in datagrams.
#[derive(Debug)]
pub enum Hello<'a> {
    /// TLS in QUIC of this version.
    Quic(u32, ClientHello<'a>),
    /// Google's own handshake.
    Chlo(Chlo<'a>),
    /// DTLS.
    Dtls(ClientHello<'a>),
}

/// A flow whose hello is awaited.
#[derive(Debug, Default)]
pub struct UdpInspector {
    quic: Connection,
    /// Made with the first datagram of DTLS.
    dtls: Option<Box<DtlsHello>>,
    /// A QUIC hello whose tail is not there: version, length announced, bytes.
    partial: Option<(u32, usize, Vec<u8>)>,
    datagrams: u32,
    patience: u8,
    is_done: bool,
}

// There are as many as flows whose hello is awaited: what few need stands in memory of its own.
const _: () = assert!(size_of::<UdpInspector>() <= 128);

impl UdpInspector {
    /// Bytes of memory held, those of the struct itself among them.
    pub fn memory_bytes(&self) -> usize {
        size_of::<Self>()
            + self.quic.memory_bytes()
            + self.dtls.as_ref().map_or(0, |dtls| size_of::<DtlsHello>() + dtls.memory_bytes())
            + self.partial.as_ref().map_or(0, |partial| partial.2.capacity())
    }

    /// Forgets all, keeps the memory.
    pub fn reset(&mut self) {
        self.quic.reset();
        if let Some(dtls) = &mut self.dtls {
            **dtls = DtlsHello::default();
        }
        self.partial = None;
        self.datagrams = 0;
        self.patience = 0;
        self.is_done = false;
    }

    /// Whether no hello is expected any more.
    pub const fn is_done(&self) -> bool {
        self.is_done
    }

    /// Takes a datagram; a hello if it is there now.
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
        let Self { quic, partial, patience, is_done, datagrams, .. } = self;
        match quic.datagram(payload, scratch, &limits.quic, &mut counts.quic) {
            Progress::NotQuic => None,
            Progress::Nothing => {
                let waited = partial.is_some() && {
                    *patience = patience.saturating_add(1);
                    *patience >= PATIENCE
                };
                *is_done = waited;
                if waited { concluded(partial.as_ref()) } else { None }
            }
            Progress::GivenUp => {
                *is_done = true;
                concluded(partial.as_ref())
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
                // Progress: the limit is for flows that bring none.
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

    /// Whether [`take_partial_hello`](Self::take_partial_hello) may have something to tell.
    pub const fn has_partial_hello(&self) -> bool {
        !self.is_done && (self.partial.is_some() || self.dtls.is_some())
    }

    /// The hello without its tail, if a name was read of one that was not told yet.
    pub fn take_partial_hello(&mut self) -> Option<Hello<'_>> {
        if self.is_done {
            return None;
        }
        self.is_done = true;
        let Self { partial, dtls, .. } = self;
        concluded(partial.as_ref()).or_else(|| {
            let hello = dtls.as_mut()?.so_far()?;
            hello.server_name().is_some().then_some(Hello::Dtls(hello))
        })
    }
}

fn concluded(partial: Option<&(u32, usize, Vec<u8>)>) -> Option<Hello<'_>> {
    let (version, announced, message) = partial?;
    ClientHello::parse(message, *announced).ok().map(|hello| Hello::Quic(*version, hello))
}
