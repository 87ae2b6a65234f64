//! What a flow says of itself in clear: TLS and QUIC hellos, DTLS, DNS, HTTP, SOCKS. Bytes in, facts out.
//!
//! [`tcp`] and [`udp`] follow a flow until its hello is read; the parsers stand beside them.

pub mod evidence;
pub mod address_names;
pub mod dns;
pub mod http;
pub mod prelude;
pub mod socks;
pub mod tls;
pub mod dtls;
pub mod quic;

pub mod stream;
pub mod tcp;
pub mod udp;

pub use evidence::Evidence;
use quic::{QuicCounters, QuicLimits};

/// What a handshake may cost.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Bytes of one direction of a TCP connection that are kept while looking for its hello.
    pub stream_bytes_max: usize,
    /// Bytes of a hello.
    pub hello_bytes_max: usize,
    /// Bytes of clear text before a hello.
    pub prelude_bytes_max: usize,
    /// TCP segments with payload after which a flow without a hello is left alone.
    pub undecided_segments_max: usize,
    /// UDP datagrams without progress after which a flow without a hello is left alone.
    pub undecided_datagrams_max: usize,
    /// QUIC's own.
    pub quic: QuicLimits,
}

/// What bit, and what QUIC met.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// Pieces beyond `stream_bytes_max`.
    pub stream_too_long: u64,
    /// Pieces that would have been one island too many.
    pub stream_too_torn: u64,
    /// Flows left alone at `undecided_segments_max`.
    pub undecided_segments: u64,
    /// Flows left alone at `undecided_datagrams_max`.
    pub undecided_datagrams: u64,
    /// QUIC's own.
    pub quic: QuicCounters,
}

impl Counts {
    /// All counts with their family and reason.
    #[rustfmt::skip]
    pub fn labelled(&self) -> Vec<(&'static str, &'static str, u64)> {
        let quic = &self.quic;
        vec![
            ("limit", "stream_bytes_max", self.stream_too_long),
            ("limit", "stream_islands_max", self.stream_too_torn),
            ("limit", "undecided_segments_max", self.undecided_segments),
            ("limit", "undecided_datagrams_max", self.undecided_datagrams),
            ("limit", "quic_crypto_bytes_max", quic.crypto_too_far),
            ("limit", "quic_crypto_islands_max", quic.crypto_too_scattered),
            ("limit", "quic_origins_max", quic.origins_evicted),
            ("limit", "quic_attempts_max", quic.given_up),
            ("quic", "initials", quic.initials),
            ("quic", "opened", quic.opened),
            ("quic", "open_failures", quic.open_failures),
            ("quic", "keys_derived", quic.keys_derived),
            ("quic", "from_server", quic.from_server),
            ("quic", "unknown_versions", quic.unknown_versions),
            ("quic", "cut", quic.cut),
            ("quic", "version_negotiations", quic.version_negotiations),
            ("quic", "retries", quic.retries),
            ("quic", "odd_frames", quic.odd_frames),
            ("quic", "clear", quic.clear),
        ]
    }
}
