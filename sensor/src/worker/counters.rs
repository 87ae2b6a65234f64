//! The counters of a worker. One table gives each counter its metric family and its reason label.

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

            /// The metric family of the counter, and the reason that labels it there.
            pub const fn label(self) -> (&'static str, &'static str) {
                match self { $(Self::$variant => ($family, $reason)),+ }
            }
        }
    };
}

counters! {
    /// Frames that the worker received.
    Frames: "capture", "frames";
    /// Bytes of those frames on the wire.
    Bytes: "capture", "bytes";
    /// Packets with a transport layer.
    Packets: "decode", "packets";
    /// Flows opened.
    Flows: "flow", "opened";
    /// Flows that timed out.
    FlowsTimedOut: "flow", "timed_out";
    /// Flows evicted from a full table.
    FlowsEvicted: "flow", "evicted";
    /// Records evicted for others.
    RecordsEvicted: "limit", "records_max";
    /// Flows without a record, because none could be evicted.
    RecordsExhausted: "limit", "records_exhausted";
    /// Inspections evicted because all of them together held too many bytes.
    ReassemblyBytes: "limit", "reassembly_bytes_max";
    /// Hosts forgotten for others.
    NeighboursEvicted: "limit", "neighbours_max";
    /// Server names cut in events.
    NamesCut: "limit", "event_name_bytes_max";
    /// ALPN lists cut in events.
    AlpnCut: "limit", "event_alpn_bytes_max";
    /// User agents cut in events.
    UserAgentsCut: "limit", "event_user_agent_bytes_max";
    /// DNS answers cut in events.
    AnswersCut: "limit", "event_answers_bytes_max";
    /// Addresses of DNS answers that displaced another one, or found no room.
    AddressNames: "limit", "address_names_max";
    /// Flows without a name that could not wait for DNS answers, because too many waited.
    WaitingFlows: "limit", "waiting_flows_max";
    /// Flows without a name that waited for long enough for workers that are behind.
    NamesOverdue: "limit", "names_wait_ms";
    /// Directions of flows of which no place was found in the shunt.
    ShuntFull: "limit", "shunt_flows_max";
    /// Ended flows whose event went out without their last shunted packets, because too many waited for these.
    ShuntEndingFlows: "limit", "shunt_ending_flows_max";
    /// Directions of flows that were shunted from then on.
    ShuntInserted: "shunt", "inserted";
    /// Directions of flows that were shunted no more.
    ShuntRetired: "shunt", "retired";
    /// ClientHellos over TCP.
    HellosTls: "hello", "tls";
    /// ClientHellos over QUIC, gQUIC's CHLO among them.
    HellosQuic: "hello", "quic";
    /// ClientHellos over DTLS.
    HellosDtls: "hello", "dtls";
    /// Hellos over TCP with a server name.
    TlsWithName: "hello_tls", "name";
    /// Hellos over TCP without a server name.
    TlsWithoutName: "hello_tls", "no_name";
    /// Hellos over TCP with an ECH extension.
    TlsEch: "hello_tls", "ech";
    /// Hellos over TCP whose end never came.
    TlsIncomplete: "hello_tls", "incomplete";
    /// Hellos over TCP whose server name is not a host name.
    TlsNotAHostName: "hello_tls", "not_a_host_name";
    /// Hellos over QUIC with a server name.
    QuicWithName: "hello_quic", "name";
    /// Hellos over QUIC without a server name.
    QuicWithoutName: "hello_quic", "no_name";
    /// Hellos over QUIC with an ECH extension.
    QuicEch: "hello_quic", "ech";
    /// Hellos over QUIC whose end never came.
    QuicIncomplete: "hello_quic", "incomplete";
    /// Hellos over QUIC whose server name is not a host name.
    QuicNotAHostName: "hello_quic", "not_a_host_name";
    /// Hellos over DTLS with a server name.
    DtlsWithName: "hello_dtls", "name";
    /// Hellos over DTLS without a server name.
    DtlsWithoutName: "hello_dtls", "no_name";
    /// Hellos over DTLS with an ECH extension.
    DtlsEch: "hello_dtls", "ech";
    /// Hellos over DTLS whose end never came.
    DtlsIncomplete: "hello_dtls", "incomplete";
    /// Hellos over DTLS whose server name is not a host name.
    DtlsNotAHostName: "hello_dtls", "not_a_host_name";
    /// Hellos over QUIC version 1 (RFC 9000).
    QuicV1: "quic_version", "v1";
    /// Hellos over QUIC version 2 (RFC 9369).
    QuicV2: "quic_version", "v2";
    /// Hellos over QUIC of an IETF draft.
    QuicDraft: "quic_version", "draft";
    /// Hellos over Google's QUIC.
    QuicGoogle: "quic_version", "google";
    /// Hellos over QUIC of any other version.
    QuicOther: "quic_version", "other";
    /// HTTP requests with a host.
    HttpHosts: "clear_text", "http_host";
    /// CONNECT requests.
    HttpConnects: "clear_text", "http_connect";
    /// SOCKS requests.
    SocksRequests: "clear_text", "socks";
    /// PROXY headers with the name that the client asked for.
    ProxyAuthorities: "clear_text", "proxy_authority";
    /// Server certificates with names.
    Certificates: "clear_text", "tls_certificate";
    /// DNS answers.
    DnsAnswers: "dns", "answers";
    /// Flows that matched a rule.
    Matches: "match", "flows";
    /// Flows that matched a rule that raises no alert by itself.
    MatchesNotAlerting: "match", "not_alerting";
    /// Sightings: flows that matched a signature that is not silenced.
    Sightings: "sighting", "emitted";
}

/// The counters for hellos over one transport.
#[derive(Clone, Copy, Debug)]
pub struct HelloCounters {
    /// All hellos.
    pub all: Counter,
    /// With a server name.
    pub with_name: Counter,
    /// Without a server name.
    pub without_name: Counter,
    /// With an ECH extension.
    pub ech: Counter,
    /// Whose end never came.
    pub incomplete: Counter,
    /// Whose server name is not a host name.
    pub not_a_host_name: Counter,
    /// Of this QUIC version.
    pub version: Option<Counter>,
}

impl HelloCounters {
    /// The counters for a transport.
    pub const fn of(transport: HelloTransport) -> Self {
        match transport {
            HelloTransport::Tcp => Self {
                all: Counter::HellosTls,
                with_name: Counter::TlsWithName,
                without_name: Counter::TlsWithoutName,
                ech: Counter::TlsEch,
                incomplete: Counter::TlsIncomplete,
                not_a_host_name: Counter::TlsNotAHostName,
                version: None,
            },
            HelloTransport::Quic(version) => Self {
                all: Counter::HellosQuic,
                with_name: Counter::QuicWithName,
                without_name: Counter::QuicWithoutName,
                ech: Counter::QuicEch,
                incomplete: Counter::QuicIncomplete,
                not_a_host_name: Counter::QuicNotAHostName,
                version: Some(quic_version(version)),
            },
            HelloTransport::Dtls => Self {
                all: Counter::HellosDtls,
                with_name: Counter::DtlsWithName,
                without_name: Counter::DtlsWithoutName,
                ech: Counter::DtlsEch,
                incomplete: Counter::DtlsIncomplete,
                not_a_host_name: Counter::DtlsNotAHostName,
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
        // "Q" or "T" and three digits, in ASCII.
        0x5130_3030..=0x5139_3939 | 0x5430_3030..=0x5439_3939 => Counter::QuicGoogle,
        _ => Counter::QuicOther,
    }
}

/// What is counted of a hello.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HelloSeen {
    /// It has a server name.
    pub has_name: bool,
    /// It has an ECH extension.
    pub has_ech: bool,
}

/// Hellos of clients in scope that came over one interface, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HelloCounts {
    /// All of them.
    pub hellos: u64,
    /// Without a server name.
    pub nameless: u64,
    /// With an ECH extension.
    pub ech: u64,
}

/// The counts of one worker. Whoever shows them adds up the workers.
#[derive(Clone, Debug)]
pub struct Counters {
    counts: [u64; Counter::ALL.len()],
    /// Hellos of each interface, by its number. Sources bound the numbers.
    hellos: Vec<HelloCounts>,
}

impl Default for Counters {
    fn default() -> Self {
        Self { counts: [0; Counter::ALL.len()], hellos: Vec::new() }
    }
}

impl Counters {
    /// Adds to a counter.
    #[inline]
    pub fn add(&mut self, counter: Counter, amount: u64) {
        if let Some(count) = self.counts.get_mut(counter as usize) {
            *count = count.wrapping_add(amount);
        }
    }

    /// The count of a counter.
    pub fn get(&self, counter: Counter) -> u64 {
        self.counts.get(counter as usize).copied().unwrap_or(0)
    }

    /// Counts a hello that came over an interface.
    pub fn add_hello(&mut self, interface: u16, hello: HelloSeen) {
        let place = usize::from(interface);
        if self.hellos.len() <= place {
            self.hellos.resize(place + 1, HelloCounts::default());
        }
        if let Some(counts) = self.hellos.get_mut(place) {
            counts.hellos += 1;
            counts.nameless += u64::from(!hello.has_name);
            counts.ech += u64::from(hello.has_ech);
        }
    }

    /// Hellos of each interface, by its number; those after the last one had none.
    pub fn hellos(&self) -> &[HelloCounts] {
        &self.hellos
    }

    /// Counts of 0, but for the hellos of each interface, which go on.
    pub fn start_anew(&mut self) -> Self {
        Self { hellos: std::mem::take(&mut self.hellos), ..Self::default() }
    }

    /// The value of each counter.
    pub const fn values(&self) -> [u64; Counter::ALL.len()] {
        self.counts
    }

    /// Sets each counter.
    pub const fn set_values(&mut self, values: [u64; Counter::ALL.len()]) {
        self.counts = values;
    }

    /// Adds all counts of another worker.
    pub fn absorb(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(other.counts) {
            *count = count.wrapping_add(more);
        }
    }
}
