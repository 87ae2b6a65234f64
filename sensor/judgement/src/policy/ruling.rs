//! What a policy says about one contact: whom it concerns, and under which bans.

use std::net::{IpAddr, Ipv4Addr};

use smallvec::SmallVec;
use time::Date;

use super::asset::{Asset, Mac};
use super::ban::{BanInUse, Cover, Outcome};
use super::{Derogation, ScopeKind};
use crate::{Client, Kind, Origin};

/// Who contacted a service, and when.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// When, nanoseconds since the Unix epoch.
    pub time_ns: u64,
    /// Innermost address of the client.
    pub address: IpAddr,
    /// Hardware address that the tap saw; a router's, unless the tap is in the access network.
    pub mac: Option<Mac>,
    /// Innermost VLAN.
    pub vlan: Option<u16>,
    /// Capture interface; empty if there is none.
    pub interface: &'a str,
}

impl<'a> Subject<'a> {
    /// Who is at an origin. A client without an address is in no prefix.
    pub fn of(origin: &'a Origin, time_ns: u64) -> Self {
        Self {
            time_ns,
            address: origin.address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
            mac: origin.mac.map(Mac),
            vlan: origin.vlan,
            interface: origin.interface.as_deref().unwrap_or_default(),
        }
    }
}

/// What a policy says about a contact. What names no client must not be recorded with one.
#[derive(Clone, Debug)]
pub enum Ruling<'p> {
    /// Of a guest, a personal device or a client that no scope names.
    OutOfScope,
    /// All bans that cover it are lifted for the client; this is the derogation from the first.
    Excused(&'p Derogation),
    /// No ban in force covers service and client.
    NotBanned,
    /// Covered, but it cannot be said which device it was.
    Counted(Counted<'p>),
    /// Covered.
    Judged(Judged<'p>),
}

/// Why a contact is counted for its site only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted<'p> {
    /// Many devices share the address.
    Shared {
        /// Where; empty if no scope or asset says it.
        site: &'p str,
    },
}

/// A contact under a ban.
#[derive(Clone, Debug)]
pub struct Judged<'p> {
    /// What stands for the device.
    pub identity: Client,
    /// What kind of device.
    pub kind: ScopeKind,
    /// Name of the scope; empty if an asset or nothing else names the client.
    pub scope: &'p str,
    /// Where; empty if not known.
    pub site: &'p str,
    /// Whose device; empty if not known.
    pub ministry: &'p str,
    /// The entry of the asset list.
    pub asset: Option<Asset<'p>>,
    /// The bans, at least one, in the order of the policy.
    pub bans: CoveringBans<'p>,
}

impl<'p> Judged<'p> {
    /// Name of the device in the asset list; empty if it has none.
    pub fn label(&self) -> &'p str {
        self.asset.map_or("", |asset| asset.label)
    }
}

/// The bans that cover a contact. Nearly always one or two do, and a list on the heap costs more than they.
pub type CoveringBans<'p> = SmallVec<[Covering<'p>; 2]>;

/// A ban that covers a contact.
#[derive(Clone, Copy, Debug)]
pub struct Covering<'p> {
    /// The ban.
    pub ban: &'p BanInUse,
    /// The day in the ban's time zone.
    pub day: Date,
    pub(super) cover: Cover,
}

impl Covering<'_> {
    /// What a verdict means under the ban on that day.
    pub fn outcome(&self, kind: Kind) -> Outcome {
        self.ban.outcome(kind, self.day, self.cover)
    }
}
