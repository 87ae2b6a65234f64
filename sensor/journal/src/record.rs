//! Event records: what an event says, in addresses, strings and numbers. All text is borrowed, so making a record to
//! encode it copies nothing.

use std::net::IpAddr;

/// One event.
#[derive(Clone, Debug)]
pub struct Record<'a> {
    /// Time of the packet, nanoseconds since the Unix epoch.
    pub timestamp_ns: u64,
    /// Number of the packet's frame, from 1; `None` for an event that is not about one packet.
    pub frame_number: Option<u64>,
    /// Name of the sensor.
    pub host: Option<&'a str>,
    /// The flow.
    pub flow: Flow<'a>,
    /// What happened on it.
    pub body: Body<'a>,
    /// Which of its texts are not whole.
    pub truncated: Truncated,
}

/// What happened on a flow.
#[derive(Clone, Debug)]
// A record is made, encoded and dropped: boxing the large variant would only cost an allocation.
#[allow(clippy::large_enum_variant)]
pub enum Body<'a> {
    /// The flow matched a signature.
    Alert(Alert<'a>),
    /// A hello was read.
    Hello(Hello<'a>),
    /// An HTTP request was read.
    Http(HttpRequest<'a>),
    /// A DNS answer was read.
    Dns(DnsAnswer<'a>),
    /// The flow ended.
    FlowEnd(FlowEnd),
}

/// A flow and its counts so far. Its source is the client, its destination the server.
#[derive(Clone, Debug)]
pub struct Flow<'a> {
    /// The same on every replay; at most 2^53 - 1.
    pub id: u64,
    /// Who opened the flow; a pseudonym, if `pseudonym_period` is given.
    pub client: IpAddr,
    /// The period whose key made the client's pseudonym. Its port and the community id are not written then: from them and
    /// other logs the address could be found.
    pub pseudonym_period: Option<&'a str>,
    /// The client's port.
    pub client_port: u16,
    /// Who was contacted.
    pub server: IpAddr,
    /// The server's port.
    pub server_port: u16,
    /// IP protocol number.
    pub protocol: u8,
    /// Capture interface; `None` where it has no name.
    pub interface: Option<&'a str>,
    /// VLAN identifiers, outermost first.
    pub vlans: &'a [u16],
    /// The outermost tunnel.
    pub tunnel: Option<Tunnel<'a>>,
    /// First packet, nanoseconds since the Unix epoch.
    pub first_seen_ns: u64,
    /// Last packet, nanoseconds since the Unix epoch.
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

/// An HTTP request.
#[derive(Clone, Copy, Debug)]
pub struct HttpRequest<'a> {
    /// The host that it is for.
    pub hostname: &'a str,
    /// Its method, if that is known.
    pub method: Option<&'a str>,
}

/// A tunnel around a flow.
#[derive(Clone, Debug)]
pub struct Tunnel<'a> {
    /// Kind of tunnel, such as `vxlan`.
    pub kind: &'a str,
    /// The protocol that carries it, such as `UDP`.
    pub carrier: &'a str,
    /// Sender of the outer packet; `None` for tunnels below IP.
    pub source: Option<IpAddr>,
    /// Receiver of the outer packet.
    pub destination: Option<IpAddr>,
    /// How many tunnels are nested, this one included.
    pub depth: u8,
}

/// A flow that matched a signature.
#[derive(Clone, Debug)]
pub struct Alert<'a> {
    /// The signature.
    pub signature: Signature<'a>,
    /// How the flow was recognised, such as `tls-sni`.
    pub evidence: &'a str,
    /// Application protocol in Suricata's words.
    pub app_proto: &'a str,
    /// The name that matched; `None` for an address.
    pub name: Option<&'a str>,
    /// What was sent in place of the name, if it is no host name but reads as one.
    pub name_as_sent: Option<&'a str>,
    /// Autonomous system of the server.
    pub server_asn: Option<u32>,
    /// ISO 3166-1 alpha-2 code of the country to which the server's address is registered.
    pub server_country: Option<&'a str>,
    /// The hello, if the flow had one.
    pub hello: Option<Hello<'a>>,
    /// Why bytes of the connection contradict each other; empty where they do not.
    pub desync: Vec<&'a str>,
    /// Facts of the incident that the alert belongs to; empty ones are left out.
    pub incident: &'a [(&'static str, Vec<String>)],
    /// Later alerts of the same client and signature for which this one stands.
    pub summarised: u64,
}

/// A signature, and the rule of it that matched.
#[derive(Clone, Debug)]
pub struct Signature<'a> {
    /// Signature id.
    pub id: u32,
    /// What the signature says, such as `vigie TikTok: app in use`.
    pub text: &'a str,
    /// 1 is the most severe.
    pub severity: u8,
    /// Service, such as `tiktok`.
    pub service: &'a str,
    /// Service as people call it, such as `TikTok`.
    pub service_name: &'a str,
    /// What the host is for.
    pub role: &'a str,
    /// Who contacts the name.
    pub class: &'a str,
    /// Which part of a program contacts it.
    pub family: &'a str,
    /// What the contact says for itself alone.
    pub verdict: &'a str,
    /// How sure the rule is.
    pub confidence: &'a str,
    /// How the rule matches, such as `suffix`.
    pub match_kind: &'a str,
    /// The rule as its file has it.
    pub rule: &'a str,
    /// Where the rule comes from.
    pub sources: &'a [String],
    /// Date of the rule's last review.
    pub reviewed: &'a str,
}

/// What carried a hello.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HelloTransport {
    /// TLS records over TCP.
    Tls,
    /// DTLS over UDP.
    Dtls,
    /// QUIC, with its version number (a gQUIC version as four ASCII bytes, `0x51303436` is Q046).
    Quic(u32),
}

/// A ClientHello, or a gQUIC CHLO.
#[derive(Clone, Debug)]
pub struct Hello<'a> {
    /// What carried it.
    pub transport: HelloTransport,
    /// Server name.
    pub server_name: Option<&'a str>,
    /// Protocols offered, in order.
    pub alpn: &'a [String],
    /// Highest TLS version offered, as on the wire (`0x0304` is TLS 1.3); 0 for a CHLO.
    pub version: u16,
    /// JA4 of the client.
    pub ja4: Option<&'a str>,
    /// Encrypted ClientHello: `grease`, `ambiguous` or `offered`.
    pub ech: Option<&'a str>,
    /// The end of the hello was not seen.
    pub partial: bool,
    /// User agent of a CHLO.
    pub user_agent: Option<&'a str>,
}

/// Texts that were longer than an event may hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Truncated {
    /// The server name.
    pub server_name: bool,
    /// The list of protocols.
    pub alpn: bool,
    /// The user agent.
    pub user_agent: bool,
    /// What was sent in place of a name.
    pub name_as_sent: bool,
    /// The records of a DNS answer.
    pub answers: bool,
}

/// A DNS answer.
#[derive(Clone, Debug)]
pub struct DnsAnswer<'a> {
    /// Transaction id.
    pub id: u16,
    /// Header flags (RFC 1035 §4.1.1).
    pub flags: u16,
    /// Question name.
    pub question: &'a str,
    /// Question type.
    pub question_type: u16,
    /// Resource records of the answer section.
    pub answers: Vec<DnsRecord<'a>>,
}

/// A resource record of a DNS answer.
#[derive(Clone, Debug)]
pub struct DnsRecord<'a> {
    /// Owner name.
    pub name: &'a str,
    /// Record type.
    pub record_type: u16,
    /// Time to live, seconds.
    pub ttl_s: u32,
    /// Data in printable form.
    pub data: &'a str,
}

/// How a flow ended.
#[derive(Clone, Copy, Debug)]
pub struct FlowEnd {
    /// Why.
    pub reason: FlowEndReason,
    /// The flow had matched a signature.
    pub alerted: bool,
}

/// Why a flow ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlowEndReason {
    /// No packet came for longer than the limit, or both sides closed it.
    Timeout,
    /// The capture ended, or the sensor stopped.
    Shutdown,
    /// The flow table had no more room for it.
    Evicted,
}

/// A change of an incident.
#[derive(Clone, Debug)]
pub struct Incident<'a> {
    /// When, nanoseconds since the Unix epoch.
    pub timestamp_ns: u64,
    /// The client, where its address stands for it.
    pub client_address: Option<IpAddr>,
    /// By kind of change.
    pub signature_id: u32,
    /// What happened, in a few words.
    pub signature: &'a str,
    /// 1 is the most severe.
    pub severity: u8,
    /// Facts of one word or text each; empty ones are left out.
    pub facts: &'a [(&'static str, &'a str)],
    /// Facts of several texts; empty ones are left out.
    pub lists: &'a [(&'static str, &'a [Box<str>])],
    /// How often the incident was told, from 1.
    pub revision: u32,
    /// Flows.
    pub flows: u64,
    /// Bytes client → server.
    pub bytes_to_server: u64,
    /// Bytes server → client.
    pub bytes_to_client: u64,
    /// Why, for programs: the id of each reason, and the names or families that it is about.
    pub reason_ids: &'a [(&'static str, &'a [String])],
    /// Regions in the names, with their bytes server → client and back.
    pub region_bytes: &'a [(Box<str>, u64, u64)],
    /// First contact.
    pub first_ns: u64,
    /// Last contact.
    pub last_ns: u64,
    /// Alerts that were not written, since there were too many in a minute.
    pub alerts_left_out: u64,
    /// Of one that closed, what the sensor covered meanwhile, if that is known.
    pub coverage: Option<SpanCoverage>,
}

/// What a sensor covered in a span of time, of its interfaces the one that saw least.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SpanCoverage {
    /// Length of the span.
    pub span_s: u64,
    /// Time in which the sensor ran and could see nothing.
    pub blind_s: u64,
    /// Time in which the sensor did not run.
    pub off_s: u64,
    /// Packets seen.
    pub packets: u64,
    /// Packets dropped.
    pub drops: u64,
    /// Hellos of clients in scope.
    pub hellos: u64,
    /// Those without a server name.
    pub hellos_nameless: u64,
    /// Those with an ECH extension.
    pub hellos_ech: u64,
}

impl SpanCoverage {
    /// Of a million parts of the span those in which the sensor could see. One that it missed is never nothing.
    pub fn seen_ppm(&self) -> u64 {
        let seen_s = self.span_s.saturating_sub(self.blind_s).saturating_sub(self.off_s);
        seen_s.saturating_mul(1_000_000).checked_div(self.span_s).unwrap_or(0)
    }

    /// Packets dropped, of a million. One dropped packet is never 0.
    pub fn drops_ppm(&self) -> u64 {
        parts_per_million(self.drops, self.packets)
    }
}

/// What somebody did that concerns people's data.
#[derive(Clone, Debug)]
pub struct Audit<'a> {
    /// When, nanoseconds since the Unix epoch.
    pub timestamp_ns: u64,
    /// By kind of act.
    pub signature_id: u32,
    /// What happened, in a few words.
    pub signature: &'a str,
    /// Its facts; empty ones are left out.
    pub facts: &'a [(&'static str, String)],
}

/// What a sensor counted since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// When, nanoseconds since the Unix epoch.
    pub timestamp_ns: u64,
    /// Seconds since the start.
    pub uptime_s: u64,
    /// Packets that the kernel gave, and those that it had to drop.
    pub kernel_packets: u64,
    /// Packets that the kernel dropped because the sensor was too slow.
    pub kernel_drops: u64,
    /// Packets that interfaces dropped.
    pub kernel_ifdrops: u64,
    /// Packets read.
    pub packets: u64,
    /// Their bytes on the wire.
    pub bytes: u64,
    /// Packets that could not be decoded.
    pub invalid: u64,
    /// Flows opened.
    pub flows: u64,
    /// Flows in the tables.
    pub flows_active: u64,
    /// Alerts.
    pub alerts: u64,
    /// Alerts that could not be written.
    pub alerts_lost: u64,
}

/// What a sensor covered on one interface in a minute, or in a part of one: also an absence of findings needs its evidence.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    /// The end of the window, nanoseconds since the Unix epoch.
    pub timestamp_ns: u64,
    /// The interface.
    pub interface: String,
    /// Seconds since the start of the sensor.
    pub uptime_s: u64,
    /// Packets that the kernel gave or dropped, since the start.
    pub kernel_packets: u64,
    /// Those that the kernel dropped, since the start.
    pub kernel_drops: u64,
    /// Packets that the interface dropped, since the start.
    pub kernel_ifdrops: u64,
    /// Length of the window; 0 at the start of the sensor.
    pub window_s: u64,
    /// Time within the window in which nothing could be seen; a part of a second counts as one.
    pub blind_s: u64,
    /// Packets seen in the window.
    pub packets: u64,
    /// Packets that the kernel dropped in the window, because the sensor was too slow.
    pub drops_ring: u64,
    /// Packets that the interface dropped in the window.
    pub drops_interface: u64,
    /// Hellos of clients in scope in the window.
    pub hellos: u64,
    /// Those without a server name.
    pub hellos_nameless: u64,
    /// Those with an ECH extension.
    pub hellos_ech: u64,
    /// Hash of the policy in use.
    pub policy: String,
    /// Hash of the signatures in use.
    pub signatures: String,
    /// Devices of the asset list, and those of them that were seen this month (UTC); told once an hour, so that nobody's arrival can
    /// be read from it.
    pub assets: Option<(u64, u64)>,
    /// What else there is to say of the window, such as `sensor_started` and `interface_down`.
    pub words: Vec<&'static str>,
}

impl Coverage {
    /// Packets dropped, of a million. One dropped packet is never 0.
    pub fn drops_ppm(&self) -> u64 {
        parts_per_million(self.drops_ring.saturating_add(self.drops_interface), self.packets)
    }
}

fn parts_per_million(dropped: u64, seen: u64) -> u64 {
    let all = dropped.saturating_add(seen);
    if all == 0 { 0 } else { dropped.saturating_mul(1_000_000).div_ceil(all) }
}
