//! What leaves a worker: events, each a fact about a flow. [`record`](crate::record) makes the journal's records from
//! them.

use std::sync::Arc;

use vigie_signatures::Rule;

use vigie_decode::{Address, Encapsulation};
use vigie_handshake::tls::Ja4Raw;

/// What tells a flow and what it carried until now.
#[derive(Clone, Debug)]
pub struct Flow {
    /// Stable for the flow, the same on every replay; fits a signed 64-bit integer.
    pub id: u64,
    /// Who opened the flow.
    pub client: Address,
    /// Client's port.
    pub client_port: u16,
    /// Who was contacted.
    pub server: Address,
    /// Server's port.
    pub server_port: u16,
    /// IP protocol number.
    pub protocol: u8,
    /// VLANs and tunnels around the packet that told the most.
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

pub use crate::detect::Evidence;
pub use vigie_handshake::dns::{DnsAnswer, DnsRecord};

/// Encrypted Client Hello on a hello (RFC 9849).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ech {
    /// What a client sends that has no configuration for the server.
    Grease,
    /// By its shape either; GREASE far more often.
    Ambiguous,
    /// By its shape the real thing: the server name in clear is a provider's.
    Offered,
}

/// Over what a hello came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HelloTransport {
    /// TLS records over TCP.
    Tcp,
    /// DTLS over UDP.
    Dtls,
    /// QUIC, with its version number (gQUIC's as four ASCII bytes, `0x51303436` is Q046).
    Quic(u32),
}

/// A ClientHello (or gQUIC CHLO), owned.
#[derive(Clone, Debug)]
pub struct Hello {
    /// Over what it came.
    pub transport: HelloTransport,
    /// The server name as written in events: normalised if it is a host name, else escaped as it stood.
    pub server_name: Option<String>,
    /// Protocols offered, in order, escaped where not ASCII.
    pub alpn: Vec<String>,
    /// Highest version offered, GREASE left out, as on the wire (`0x0304` is TLS 1.3); 0 for gQUIC crypto.
    pub version: u16,
    /// JA4 of the client, to be hashed when it is written; `None` while the hello is incomplete, and for gQUIC crypto.
    pub ja4: Option<Ja4Raw>,
    /// ECH extension seen.
    pub ech: Option<Ech>,
    /// The hello's tail never came: what stands here is what its first part said.
    pub partial: bool,
    /// User agent of a gQUIC CHLO.
    pub user_agent: Option<String>,
}

impl Hello {
    /// Bytes of memory held, those of the struct itself among them.
    pub fn memory_bytes(&self) -> usize {
        let text = |text: &Option<String>| text.as_ref().map_or(0, String::capacity);
        let protocols = self.alpn.iter().map(|protocol| size_of::<String>() + protocol.capacity()).sum::<usize>();
        let ja4 = self.ja4.as_ref().map_or(0, Ja4Raw::memory_bytes);
        size_of::<Self>() + text(&self.server_name) + text(&self.user_agent) + protocols + ja4
    }
}

/// A flow that matched a rule.
#[derive(Clone, Debug)]
pub struct Alert {
    /// The flow until the packet that told.
    pub flow: Flow,
    /// By what it was recognised.
    pub evidence: Evidence,
    /// The name that matched, normalised; `None` for an address.
    pub name: Option<String>,
    /// The rule that answered.
    pub rule: Arc<Rule>,
    /// The hello, if the flow had one.
    pub hello: Option<Hello>,
}

/// Why a flow's record was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlowEnd {
    /// Idle for longer than the limit, or both sides closed it.
    Timeout,
    /// The capture ended, or the sensor stopped.
    Shutdown,
    /// Its place in the flow table was needed, or that of its record.
    Evicted,
}

/// What leaves a worker.
#[derive(Clone, Debug)]
pub enum Fact {
    /// A flow matched.
    Alert(Box<Alert>),
    /// A hello was read; event type `tls` or `quic`.
    Hello(Box<Flow>, Box<Hello>),
    /// A DNS answer was read.
    Dns(Box<Flow>, Box<DnsAnswer>),
    /// A flow ended; `alerted` tells the rule that it had matched.
    FlowEnd(Box<Flow>, FlowEnd, Option<Arc<Rule>>),
}

/// The order in which events are written: by the frame at which they were told; there, flows that ended before it first, by
/// their last frames; then as they were told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Order {
    /// Frame being worked on; the highest number at the end of all.
    pub told_at: u64,
    /// Last frame of a flow that fell silent; the highest number for what the frame itself told.
    pub last_frame: u64,
    /// Place among the rest.
    pub ordinal: u32,
}

/// A fact and the packet that gave it.
#[derive(Clone, Debug)]
pub struct Event {
    /// Time of the packet, nanoseconds since the epoch.
    pub timestamp_ns: u64,
    /// Number of the frame, from 1.
    pub frame_number: u64,
    /// Place among all events, whichever worker tells it.
    pub order: Order,
    /// What was seen.
    pub fact: Fact,
}
