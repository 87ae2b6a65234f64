//! What judgement is given: one flow that matched a signature, in plain values.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use vigie_signatures::Rule;

/// Who contacted a service. Which of these stands for a device is the operator's word.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
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

impl fmt::Display for Client {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(formatter),
            Self::Mac([a, b, c, d, e, f]) => {
                write!(formatter, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}")
            }
            Self::Prefix64(prefix) => write!(formatter, "{}/64", Ipv6Addr::from_bits(u128::from(*prefix) << 64)),
            Self::Name(name) => name.fmt(formatter),
        }
    }
}

/// Where a contact came from, as far as the tap or the log shows it. The policy reads scope and identity from it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// Innermost address; none where another tool has only a name for the client.
    pub address: Option<IpAddr>,
    /// Hardware address; a router's, unless the tap is in the access network.
    pub mac: Option<[u8; 6]>,
    /// Innermost VLAN.
    pub vlan: Option<u16>,
    /// Capture interface.
    pub interface: Option<Arc<str>>,
}

impl Origin {
    /// An address of which nothing else is known.
    pub const fn address(address: IpAddr) -> Self {
        Self { address: Some(address), mac: None, vlan: None, interface: None }
    }

    /// Nothing is known.
    pub const fn unknown() -> Self {
        Self { address: None, mac: None, vlan: None, interface: None }
    }
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
    /// Where it came from.
    pub origin: &'a Origin,
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
    /// Country to which the server's address is registered, two letters (ISO 3166-1).
    pub server_country: Option<&'a str>,
    /// Whether the connection is not encrypted.
    pub is_cleartext: bool,
}

impl<'s> Sighting<'s> {
    /// A flow at the epoch of which nothing more is known.
    pub const fn of_flow(
        (client, origin): (&'s Client, &'s Origin),
        (service, owner): (&'s Arc<str>, &'s Arc<str>),
        rule: &'s Rule,
        name: &'s str,
    ) -> Self {
        Self {
            time_ns: 0,
            client,
            origin,
            service,
            owner,
            rule,
            name,
            contact: Contact::Flow,
            stack: Stack::Other,
            answered: Answered::Unknown,
            bytes_to_client: 0,
            bytes_to_server: 0,
            server_country: None,
            is_cleartext: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_read_as_the_field_writes_them() {
        for (client, text) in [
            (Client::Address("192.0.2.1".parse().unwrap()), "192.0.2.1"),
            (Client::Mac([2, 0, 0x5e, 0xff, 0, 1]), "02:00:5e:ff:00:01"),
            (Client::Prefix64(0x2001_0db8_0000_0001), "2001:db8:0:1::/64"),
            (Client::Name("phone-7".into()), "phone-7"),
        ] {
            assert_eq!(client.to_string(), text);
        }
    }
}
