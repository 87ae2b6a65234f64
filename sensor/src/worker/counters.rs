//! What a worker counts. One table gives each counter its family, its label and its place.

use crate::event::HelloTransport;

/// Declares the counters: `variant: family, reason`.
macro_rules! counters {
    ($($(#[doc = $doc:literal])+ $variant:ident: $family:literal, $reason:literal;)+) => {
        /// A counter of a worker.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Counter { $($(#[doc = $doc])+ $variant),+ }

        impl Counter {
            /// All counters, in order.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The family it belongs to, and the reason within.
            pub const fn label(self) -> (&'static str, &'static str) {
                match self { $(Self::$variant => ($family, $reason)),+ }
            }
        }
    };
}

counters! {
    /// Frames given to the worker.
    Frames: "capture", "frames";
    /// Bytes on the wire of those frames.
    Bytes: "capture", "bytes";
    /// Packets with a transport layer that were followed.
    Packets: "decode", "packets";
    /// Flows opened.
    Flows: "flow", "opened";
    /// Flows ended by silence.
    FlowsTimedOut: "flow", "timed_out";
    /// Flows that gave way to others in a full table.
    FlowsEvicted: "flow", "evicted";
    /// Handshakes that gave way to others.
    RecordsEvicted: "limit", "records_max";
    /// Flows that found no free record.
    RecordsExhausted: "limit", "records_exhausted";
    /// Handshakes dropped because together they held too many bytes.
    ReassemblyBytes: "limit", "reassembly_bytes_max";
    /// ClientHellos over TCP.
    HellosTls: "hello", "tls";
    /// ClientHellos over QUIC, gQUIC's CHLO among them.
    HellosQuic: "hello", "quic";
    /// ClientHellos over DTLS.
    HellosDtls: "hello", "dtls";
    /// Hellos over TCP with a server name.
    TlsNamed: "hello_tls", "name";
    /// Hellos over TCP without a server name.
    TlsNameless: "hello_tls", "no_name";
    /// Hellos over TCP with an ECH extension.
    TlsEch: "hello_tls", "ech";
    /// Hellos over TCP whose tail never came.
    TlsPartial: "hello_tls", "incomplete";
    /// Hellos over TCP with a name that is no host name.
    TlsOdd: "hello_tls", "not_a_host_name";
    /// Hellos over QUIC with a server name.
    QuicNamed: "hello_quic", "name";
    /// Hellos over QUIC without a server name.
    QuicNameless: "hello_quic", "no_name";
    /// Hellos over QUIC with an ECH extension.
    QuicEch: "hello_quic", "ech";
    /// Hellos over QUIC whose tail never came.
    QuicPartial: "hello_quic", "incomplete";
    /// Hellos over QUIC with a name that is no host name.
    QuicOdd: "hello_quic", "not_a_host_name";
    /// Hellos over DTLS with a server name.
    DtlsNamed: "hello_dtls", "name";
    /// Hellos over DTLS without a server name.
    DtlsNameless: "hello_dtls", "no_name";
    /// Hellos over DTLS with an ECH extension.
    DtlsEch: "hello_dtls", "ech";
    /// Hellos over DTLS whose tail never came.
    DtlsPartial: "hello_dtls", "incomplete";
    /// Hellos over DTLS with a name that is no host name.
    DtlsOdd: "hello_dtls", "not_a_host_name";
    /// Hellos over QUIC of version 1 (RFC 9000).
    QuicV1: "quic_version", "v1";
    /// Hellos over QUIC of version 2 (RFC 9369).
    QuicV2: "quic_version", "v2";
    /// Hellos over QUIC of a draft's version.
    QuicDraft: "quic_version", "draft";
    /// Hellos over QUIC of a version of Google's QUIC.
    QuicGoogle: "quic_version", "google";
    /// Hellos over QUIC of another version.
    QuicOther: "quic_version", "other";
    /// HTTP requests with a host.
    HttpHosts: "clear_text", "http_host";
    /// CONNECT requests.
    HttpConnects: "clear_text", "http_connect";
    /// SOCKS requests.
    SocksRequests: "clear_text", "socks";
    /// Server certificates read for their names.
    Certificates: "clear_text", "tls_certificate";
    /// DNS answers.
    DnsAnswers: "dns", "answers";
    /// Flows that matched a rule.
    Matches: "match", "flows";
    /// Flows that matched a rule that does not alert by itself.
    MatchesSilent: "match", "not_alerting";
    /// Alerts.
    Alerts: "alert", "written";
}

/// Where hellos of one transport are counted.
#[derive(Clone, Copy, Debug)]
pub struct HelloCounters {
    /// All of them.
    pub seen: Counter,
    /// With a server name.
    pub named: Counter,
    /// Without one.
    pub nameless: Counter,
    /// With an ECH extension.
    pub ech: Counter,
    /// Without their tail.
    pub partial: Counter,
    /// With a name that is no host name.
    pub odd: Counter,
    /// Of this version of QUIC.
    pub version: Option<Counter>,
}

impl HelloCounters {
    /// Those of a transport.
    pub const fn of(transport: HelloTransport) -> Self {
        match transport {
            HelloTransport::Tcp => Self {
                seen: Counter::HellosTls,
                named: Counter::TlsNamed,
                nameless: Counter::TlsNameless,
                ech: Counter::TlsEch,
                partial: Counter::TlsPartial,
                odd: Counter::TlsOdd,
                version: None,
            },
            HelloTransport::Quic(version) => Self {
                seen: Counter::HellosQuic,
                named: Counter::QuicNamed,
                nameless: Counter::QuicNameless,
                ech: Counter::QuicEch,
                partial: Counter::QuicPartial,
                odd: Counter::QuicOdd,
                version: Some(quic_version(version)),
            },
            HelloTransport::Dtls => Self {
                seen: Counter::HellosDtls,
                named: Counter::DtlsNamed,
                nameless: Counter::DtlsNameless,
                ech: Counter::DtlsEch,
                partial: Counter::DtlsPartial,
                odd: Counter::DtlsOdd,
                version: None,
            },
        }
    }
}

const fn quic_version(version: u32) -> Counter {
    match version {
        0x0000_0001 => Counter::QuicV1,
        0x6b33_43cf => Counter::QuicV2,
        0xff00_0000..=0xff00_ffff => Counter::QuicDraft,
        // Q or T and digits, in ASCII.
        0x5130_3030..=0x5139_3939 | 0x5430_3030..=0x5439_3939 => Counter::QuicGoogle,
        _ => Counter::QuicOther,
    }
}

/// The counts of one worker; plain numbers, added up by whoever shows them.
#[derive(Clone, Debug)]
pub struct Counters {
    counts: [u64; Counter::ALL.len()],
}

impl Default for Counters {
    fn default() -> Self {
        Self { counts: [0; Counter::ALL.len()] }
    }
}

impl Counters {
    /// Adds `amount` to a counter.
    #[inline]
    pub fn add(&mut self, counter: Counter, amount: u64) {
        if let Some(count) = self.counts.get_mut(counter as usize) {
            *count = count.wrapping_add(amount);
        }
    }

    /// What a counter holds.
    pub fn get(&self, counter: Counter) -> u64 {
        self.counts.get(counter as usize).copied().unwrap_or(0)
    }

    /// Adds all counts of another worker.
    pub fn absorb(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(other.counts) {
            *count = count.wrapping_add(more);
        }
    }
}
