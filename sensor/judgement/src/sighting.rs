//! What judgement is given: one flow that matched a signature, in plain values.

use std::net::IpAddr;
use std::sync::Arc;

use vigie_signatures::Rule;

/// Who contacted a service. Which of these stands for a device is the operator's word.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Client {
    /// An address.
    Address(IpAddr),
    /// The hardware address, where the tap sees the access network.
    Mac([u8; 6]),
    /// A network that belongs to one device: the first 64 bits of its addresses.
    Prefix64(u64),
    /// Another tool's word for a client.
    Name(Arc<str>),
}

/// Whether the server answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answered {
    /// Bytes came back.
    Yes,
    /// Both directions were seen, and nothing came back, or a refusal did.
    No,
    /// The server's direction was not seen.
    Unknown,
}

/// What the client's fingerprint says about its TLS stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stack {
    /// That of a current browser.
    Browser,
    /// That of the service's own applications.
    App,
    /// Another, or none was seen.
    Other,
}

/// What the sighting is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contact {
    /// A flow to the service.
    Flow,
    /// More bytes of a flow that was sighted before.
    MoreBytes,
    /// A name that the client asked of DNS, without a flow.
    DnsQuestion,
}

/// One contact of a client with a service.
#[derive(Clone, Debug)]
pub struct Sighting<'a> {
    /// When, nanoseconds since the Unix epoch.
    pub time_ns: u64,
    /// Who.
    pub client: &'a Client,
    /// The service that the contact counts for, by the key of its signatures.
    pub service: &'a Arc<str>,
    /// Who owns the service: evidence of one of an owner's services can support another.
    pub owner: &'a Arc<str>,
    /// The signature that matched.
    pub rule: &'a Rule,
    /// The name that matched; empty for an address.
    pub name: &'a str,
    /// What the sighting is of.
    pub contact: Contact,
    /// The client's TLS stack.
    pub stack: Stack,
    /// Whether the server answered.
    pub answered: Answered,
    /// Bytes server → client since the flow was last sighted.
    pub bytes_to_client: u64,
    /// Bytes client → server since the flow was last sighted.
    pub bytes_to_server: u64,
}
