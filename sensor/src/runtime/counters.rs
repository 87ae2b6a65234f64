//! What a worker counts. One table gives each counter its family, its label and its place.

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
    /// Hellos with a server name.
    HellosNamed: "hello_outcome", "name";
    /// Hellos without a server name.
    HellosNameless: "hello_outcome", "no_name";
    /// Hellos with an ECH extension.
    HellosEch: "hello_outcome", "ech";
    /// Hellos whose tail never came.
    HellosPartial: "hello_outcome", "incomplete";
    /// Names that are no host names.
    NamesOdd: "hello_outcome", "not_a_host_name";
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
