//! Scopes: which clients a ban can cover, by prefix, VLAN and interface, and what stands for a device there.

use std::net::IpAddr;

use super::prefix::{Prefix, PrefixTable, PrefixTableBuilder};
use super::words::words;

words! {
    /// What kind of devices a scope has.
    ScopeKind {
        /// Owned, issued or paid by the body.
        Official = "official",
        /// Official devices in a zone where findings weigh more.
        Sensitive = "sensitive",
        /// With access to internal networks, whoever owns them.
        Connected = "connected",
        /// Enrolled in the body's device management, whoever owns them.
        Enrolled = "enrolled",
        /// Of contractors, used under a contract.
        Contractor = "contractor",
        /// Of guests: out of scope, nothing is recorded.
        Guest = "guest",
        /// Of members of staff, in private: out of scope, nothing is recorded.
        Personal = "personal",
    }
}

impl ScopeKind {
    /// Whether nothing is recorded of its clients.
    pub const fn is_out(self) -> bool {
        matches!(self, Self::Guest | Self::Personal)
    }
}

words! {
    /// What stands for one device in a network.
    IdentityRule {
        /// Its address.
        Address = "address",
        /// Its hardware address: the tap sees the access network.
        Mac = "mac",
        /// The first 64 bits of its IPv6 addresses: each device has a prefix of its own.
        PrefixPerDevice = "prefix_per_device",
        /// Nothing: an address is that of many devices (NAT, proxy, resolver).
        Shared = "shared",
    }
}

/// Clients of one kind. Each list that is not empty must have the client's prefix, VLAN or interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    /// Name for people.
    pub name: String,
    /// What kind of devices.
    pub kind: ScopeKind,
    /// What stands for a device.
    pub identity: IdentityRule,
    /// Prefixes of the clients.
    pub prefixes: Vec<Prefix>,
    /// VLANs, the innermost of a packet.
    pub vlans: Vec<u16>,
    /// Capture interfaces.
    pub interfaces: Vec<String>,
    /// Where the devices are.
    pub site: Option<String>,
    /// Whose devices they are.
    pub ministry: Option<String>,
}

impl Scope {
    /// Whether it names VLANs or interfaces; such scopes answer before those that name prefixes only.
    pub(super) const fn is_by_link(&self) -> bool {
        !self.vlans.is_empty() || !self.interfaces.is_empty()
    }

    /// How closely it fits a client: lists that have the client, then the bits of the longest prefix. None if it does not.
    fn fit(&self, address: IpAddr, vlan: Option<u16>, interface: &str) -> Option<(u8, u8)> {
        let mut links = 0;
        if !self.vlans.is_empty() {
            vlan.filter(|vlan| self.vlans.contains(vlan))?;
            links += 1;
        }
        if !self.interfaces.is_empty() {
            self.interfaces.iter().find(|name| *name == interface)?;
            links += 1;
        }
        if self.prefixes.is_empty() {
            return (links > 0).then_some((links, 0));
        }
        let bits = self.prefixes.iter().filter(|prefix| prefix.contains(address)).map(|prefix| prefix.bits()).max()?;
        Some((links + 1, bits))
    }
}

/// All scopes of a policy.
#[derive(Debug, Default)]
pub(super) struct Scopes {
    scopes: Vec<Scope>,
    by_link: Vec<u32>,
    by_prefix: PrefixTable,
}

impl Scopes {
    /// The scopes, or the numbers of two that name the same prefix and nothing else.
    pub(super) fn new(scopes: Vec<Scope>) -> Result<Self, (usize, usize)> {
        let mut builder = PrefixTableBuilder::default();
        let mut by_link = Vec::new();
        for (scope, number) in scopes.iter().zip(0..) {
            match scope.is_by_link() {
                true => by_link.push(number),
                false => scope.prefixes.iter().for_each(|prefix| builder.add(*prefix, number)),
            }
        }
        let by_prefix = builder.build().map_err(|(one, other)| (one as usize, other as usize))?;
        Ok(Self { scopes, by_link, by_prefix })
    }

    pub(super) fn all(&self) -> &[Scope] {
        &self.scopes
    }

    fn get(&self, number: u32) -> Option<&Scope> {
        self.scopes.get(number as usize)
    }

    /// The scope of a client that names its VLAN or interface. Of several the one that fits most closely, then the first.
    pub(super) fn by_link(&self, address: IpAddr, vlan: Option<u16>, interface: &str) -> Option<&Scope> {
        let fits = self.by_link.iter().filter_map(|number| {
            let scope = self.get(*number)?;
            Some((scope.fit(address, vlan, interface)?, scope))
        });
        let best = fits.reduce(|best, other| if other.0 > best.0 { other } else { best });
        best.map(|(_, scope)| scope)
    }

    /// The scope with the longest prefix, of those that name prefixes only.
    pub(super) fn by_prefix(&self, address: IpAddr) -> Option<&Scope> {
        self.get(self.by_prefix.find(address)?)
    }
}
