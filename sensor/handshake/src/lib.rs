//! Reads what a flow discloses in clear before encryption starts: the names, versions and fingerprints of its handshake.
//!
//! **In:** the payload of TCP segments with their sequence numbers ([`tcp::TcpInspector`]) and of UDP datagrams
//! ([`udp::UdpInspector`]), one instance a flow, from any point of the flow on; DNS messages ([`dns`]).
//!
//! **Out:** the ClientHello of TLS, QUIC and DTLS with server name, ALPN, ECH and JA4 ([`tls`], [`quic`], [`dtls`]); host
//! names of HTTP/1 and SOCKS requests ([`http`], [`socks`]); the names in a server's certificate
//! ([`tls::certificate`]); addresses and names of DNS answers ([`dns`], [`address_names`]), and which addresses one host has ([`neighbours`]).
//!
//! **Not here:** no decryption beyond QUIC Initials, whose keys are public (RFC 9001 §5.2); no content after the
//! handshake; no verdict on a name, which belongs to the signatures; no I/O and no clock. Link and network headers are
//! `vigie-decode`'s, flows are `vigie-flow`'s.
//!
//! Every limit is in [`Limits`], with a counter in [`Counts`] that tells when it bites.

#![forbid(unsafe_code)]

pub mod evidence;
pub mod neighbours;
pub mod address_names;
pub mod dns;
pub mod http;
pub mod prelude;
pub mod socks;
pub mod tls;
pub mod dtls;
pub mod quic;

pub mod opening;
pub mod name_hash;
mod held;
mod stage;
pub mod stream;
mod server_side;
pub mod tcp;
pub mod udp;
pub mod versions;

pub use evidence::Evidence;
use http::{HttpLimit, HttpLimits};
use quic::{QuicCounters, QuicLimits};

/// Bounds on the memory and work that one flow may take.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Bytes kept of one direction of a TCP connection while its hello is awaited.
    pub stream_bytes_max: usize,
    /// Bytes of a hello.
    pub hello_bytes_max: usize,
    /// Bytes of clear text before a hello.
    pub prelude_bytes_max: usize,
    /// TCP segments with payload after which a flow without a hello is given up.
    pub undecided_segments_max: usize,
    /// Contradicting pieces kept of one direction of a TCP connection; at most 31.
    pub stream_versions_max: usize,
    /// Attempts to read those pieces as a hello, for each direction; one on each 16 KiB of a long stream counts.
    pub stream_readings_max: usize,
    /// UDP datagrams without progress after which a flow without a hello is given up.
    pub undecided_datagrams_max: usize,
    /// Hellos with different names of one UDP flow.
    pub udp_hellos_max: usize,
    /// Limits of HTTP.
    pub http: HttpLimits,
    /// Limits of QUIC.
    pub quic: QuicLimits,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            stream_bytes_max: 48 * 1024,
            hello_bytes_max: 32 * 1024,
            prelude_bytes_max: 8 * 1024,
            undecided_segments_max: 16_384,
            stream_versions_max: 16,
            stream_readings_max: 256,
            undecided_datagrams_max: 48,
            udp_hellos_max: 16,
            http: HttpLimits::default(),
            quic: QuicLimits::default(),
        }
    }
}

/// How often each limit was reached, and what QUIC flows contained.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// Pieces beyond `stream_bytes_max`.
    pub stream_too_long: u64,
    /// Pieces dropped because the stream had too many gaps already.
    pub stream_too_many_gaps: u64,
    /// Pieces of a stream that contradict it, beyond those that are kept.
    pub stream_versions: u64,
    /// Streams of which not all readings were tried.
    pub stream_readings: u64,
    /// Segments and datagrams that the server surely dropped, by the reason's place in [`Desync::VOID`](opening::Desync::VOID).
    pub void_segments: [u64; opening::Desync::VOID.len()],
    /// Flows given up at `undecided_segments_max`.
    pub undecided_segments: u64,
    /// Flows given up at `undecided_datagrams_max`.
    pub undecided_datagrams: u64,
    /// Connections given up at `http_head_bytes_max`.
    pub http_head_bytes: u64,
    /// Connections given up at `http_requests_max`.
    pub http_requests: u64,
    /// Hosts forgotten at `http_hosts_max`, which may be reported again.
    pub http_hosts: u64,
    /// Connections given up at `http_lost_segments_max`.
    pub http_lost_segments: u64,
    /// Hellos of UDP flows left out because `udp_hellos_max` different names were reported.
    pub hellos_exceeded: u64,
    /// Counters of QUIC.
    pub quic: QuicCounters,
}

impl Counts {
    pub(crate) const fn count_http_limit(&mut self, limit: HttpLimit) {
        match limit {
            HttpLimit::HeadBytes => self.http_head_bytes += 1,
            HttpLimit::Requests => self.http_requests += 1,
        }
    }

    /// Counts a segment or datagram that the server surely dropped.
    pub fn count_void(&mut self, reason: opening::Desync) {
        let place = opening::Desync::VOID.iter().position(|(known, _)| *known == reason);
        if let Some(count) = place.and_then(|place| self.void_segments.get_mut(place)) {
            *count += 1;
        }
    }

    /// All counts with their family and reason.
    #[rustfmt::skip]
    pub fn labelled(&self) -> Vec<(&'static str, &'static str, u64)> {
        let quic = &self.quic;
        let mut labelled = vec![
            ("limit", "stream_bytes_max", self.stream_too_long),
            ("limit", "stream_islands_max", self.stream_too_many_gaps),
            ("limit", "stream_versions_max", self.stream_versions),
            ("limit", "stream_readings_max", self.stream_readings),
            ("limit", "undecided_segments_max", self.undecided_segments),
            ("limit", "undecided_datagrams_max", self.undecided_datagrams),
            ("limit", "http_head_bytes_max", self.http_head_bytes),
            ("limit", "http_requests_max", self.http_requests),
            ("limit", "http_hosts_max", self.http_hosts),
            ("limit", "http_lost_segments_max", self.http_lost_segments),
            ("limit", "udp_hellos_max", self.hellos_exceeded),
            ("limit", "quic_crypto_bytes_max", quic.crypto_too_far),
            ("limit", "quic_crypto_islands_max", quic.crypto_too_many_gaps),
            ("limit", "quic_origins_max", quic.connections_evicted),
            ("limit", "quic_stream_versions_max", quic.stream_versions_exceeded),
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
        ];
        let void = opening::Desync::VOID.iter().zip(self.void_segments);
        labelled.extend(void.map(|((_, word), count)| ("void_segment", *word, count)));
        labelled
    }
}
