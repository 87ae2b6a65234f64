//! The events that a worker emits, each a fact about a flow. [`record`](crate::record) makes the records of the journal
//! from them.

mod saved;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use vigie_handshake::opening::Desync;
use vigie_signatures::Rule;

use vigie_decode::{Address, Encapsulation};
use vigie_handshake::tls::Ja4Raw;

/// A flow, with its counts up to the event.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Flow {
    /// Identifier of the flow, the same on every replay; at most 2^53 - 1.
    pub id: u64,
    /// Address that opened the flow.
    #[serde(with = "saved::address")]
    pub client: Address,
    /// Port of the client.
    pub client_port: u16,
    /// Address that was contacted.
    #[serde(with = "saved::address")]
    pub server: Address,
    /// Port of the server.
    pub server_port: u16,
    /// IP protocol number.
    pub protocol: u8,
    /// VLANs and tunnels around the first packet that was inspected.
    #[serde(with = "saved::encapsulation")]
    pub encapsulation: Encapsulation,
    /// Capture interface, from 0.
    pub interface: u16,
    /// First packet, nanoseconds since the epoch.
    pub first_seen_ns: u64,
    /// Last packet, nanoseconds since the epoch.
    pub last_seen_ns: u64,
    /// Packets client → server.
    pub packets_to_server: u64,
    /// Packets server → client.
    pub packets_to_client: u64,
    /// Bytes on the wire client → server, link header included.
    pub bytes_to_server: u64,
    /// Bytes on the wire server → client.
    pub bytes_to_client: u64,
}

use crate::text::BoundedText;

pub use self::saved::SavedSighting;
pub use crate::detect::Evidence;
pub use vigie_handshake::dns::{DnsAnswer, DnsRecord};

/// The Encrypted ClientHello extension of a hello (RFC 9849).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ech {
    /// GREASE: the client has no ECH configuration of the server.
    Grease,
    /// GREASE or real; its shape fits both, and GREASE is far more frequent.
    Ambiguous,
    /// Real: the visible server name is that of a provider.
    Offered,
}

/// What carried a hello.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum HelloTransport {
    /// TLS records over TCP.
    Tcp,
    /// DTLS over UDP.
    Dtls,
    /// QUIC, with its version number (a gQUIC version as four ASCII bytes, `0x51303436` is Q046).
    Quic(u32),
}

/// A ClientHello, or a gQUIC CHLO.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Hello {
    /// What carried it.
    pub transport: HelloTransport,
    /// The server name as written to events: normalised if it is a host name, else escaped.
    pub server_name: Option<String>,
    /// Protocols offered, in order, escaped where not ASCII.
    pub alpn: Vec<String>,
    /// Highest version offered, GREASE left out, as on the wire (`0x0304` is TLS 1.3); 0 for gQUIC crypto.
    pub version: u16,
    /// JA4 of the client, hashed when the event is written; `None` for an incomplete hello, and for gQUIC crypto.
    #[serde(with = "saved::ja4")]
    pub ja4: Option<Ja4Raw>,
    /// The ECH extension, if there is one.
    pub ech: Option<Ech>,
    /// The end of the hello was not seen; the fields are those of its first part.
    pub partial: bool,
    /// User agent of a gQUIC CHLO.
    pub user_agent: Option<String>,
    /// Which of its texts were cut.
    pub cut: CutTexts,
}

/// The texts of a hello that were longer than events may hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CutTexts {
    /// The server name.
    pub server_name: bool,
    /// The list of protocols.
    pub alpn: bool,
    /// The user agent.
    pub user_agent: bool,
}

impl Hello {
    /// Bytes of memory used, the struct included.
    pub fn memory_bytes(&self) -> usize {
        let text = |text: &Option<String>| text.as_ref().map_or(0, String::capacity);
        let protocols = self.alpn.iter().map(|protocol| size_of::<String>() + protocol.capacity()).sum::<usize>();
        let ja4 = self.ja4.as_ref().map_or(0, Ja4Raw::memory_bytes);
        size_of::<Self>() + text(&self.server_name) + text(&self.user_agent) + protocols + ja4
    }
}

/// An HTTP request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpRequest {
    /// The host that it is for: normalised if it is a host name, else escaped.
    pub host: String,
    /// Its method, if that is known.
    pub method: Option<String>,
}

/// A flow that matched a rule, or a name of a rule that was asked of DNS.
#[derive(Clone, Debug)]
pub struct Sighting {
    /// The flow up to the packet that matched.
    pub flow: Flow,
    /// Link-layer address of the client, where no router stands between.
    pub client_mac: Option<[u8; 6]>,
    /// What the rule matched on.
    pub evidence: Evidence,
    /// The name that matched, normalised; `None` if the address matched.
    pub name: Option<String>,
    /// What was sent in place of the name, escaped, if it is no host name but reads as one.
    pub name_as_sent: Option<BoundedText>,
    /// The rule that matched.
    pub rule: Arc<Rule>,
    /// The hello, if the flow had one.
    pub hello: Option<Hello>,
    /// Why other bytes of the connection contradict those that matched.
    pub desync: Desync,
    /// Later sightings of the same client and signature for which this one stands, because they were too many.
    pub summarised: u64,
}

/// Why a flow ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlowEnd {
    /// The flow was idle for longer than the limit, or its 5-tuple was reused.
    Timeout,
    /// The capture ended, or the sensor stopped.
    Shutdown,
    /// The flow, or its record, was evicted for another one.
    Evicted,
}

/// What an event says.
#[derive(Clone, Debug)]
pub enum Fact {
    /// A flow matched a rule.
    Sighting(Box<Sighting>),
    /// A client asked DNS for a name that a rule matches; the flow is that of DNS.
    Question(Box<Sighting>),
    /// A hello names a host that no signature knows, although the server is in the prefix of this one.
    Candidate(Box<Flow>, Box<str>, Arc<Rule>),
    /// More bytes of a flow that was sighted: told once a minute of packet time while it goes on.
    FlowBytes(Box<Flow>),
    /// Clients whose flows ended since the last one.
    Clients(Box<[Address]>),
    /// The worker has emitted all events before this time. Whether servers' packets were seen since the last one.
    Clock {
        /// Flows had packets in both directions.
        both_directions: bool,
    },
    /// A hello was read; event type `tls` or `quic`.
    Hello(Box<Flow>, Box<Hello>),
    /// An HTTP request names a host that the flow's requests did not name before.
    Http(Box<Flow>, Box<HttpRequest>),
    /// A DNS answer was read.
    Dns(Box<Flow>, Box<DnsAnswer>),
    /// A flow ended, for this reason; the rule that it matched, if it was sighted.
    FlowEnd(Box<Flow>, FlowEnd, Option<Arc<Rule>>),
}

/// The order in which events are written: by the frame at which the worker emitted them. At one frame, the flows that timed
/// out come first, by their last frames, then what the frame itself showed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Order {
    /// The frame that the worker was at; the highest number at the end.
    pub at_frame: u64,
    /// The last frame of a flow that timed out; the highest number for what the frame itself showed.
    pub last_frame: u64,
    /// Position among events that are equal so far.
    pub ordinal: u32,
}

/// An event, and the packet that caused it.
#[derive(Clone, Debug)]
pub struct Event {
    /// Time of the packet, in nanoseconds since the Unix epoch.
    pub timestamp_ns: u64,
    /// Number of the frame, from 1.
    pub frame_number: u64,
    /// Position among the events of all workers.
    pub order: Order,
    /// What the event says.
    pub fact: Fact,
}

impl Event {
    /// Bytes of memory used, the struct included.
    pub fn memory_bytes(&self) -> usize {
        let fact = match &self.fact {
            Fact::Sighting(sighting) | Fact::Question(sighting) => {
                let name = sighting.name.as_ref().map_or(0, String::capacity);
                size_of::<Sighting>() + name + sighting.hello.as_ref().map_or(0, Hello::memory_bytes)
            }
            Fact::Hello(_, hello) => size_of::<Flow>() + hello.memory_bytes(),
            Fact::Http(_, request) => {
                let method = request.method.as_ref().map_or(0, String::capacity);
                size_of::<Flow>() + size_of::<HttpRequest>() + request.host.capacity() + method
            }
            Fact::Dns(_, answer) => size_of::<Flow>() + answer.memory_bytes(),
            Fact::Candidate(_, name, _) => size_of::<Flow>() + name.len(),
            Fact::FlowEnd(..) | Fact::FlowBytes(_) => size_of::<Flow>(),
            Fact::Clients(clients) => size_of_val(&**clients),
            Fact::Clock { .. } => 0,
        };
        size_of::<Self>() + fact
    }
}
