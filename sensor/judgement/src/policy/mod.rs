//! The policy: which bans apply, to whose devices, who is exempt, and what stands for a device.
//!
//! * In: the parts, as the operator configured them ([`PolicyParts`]), then a [`Subject`] and a service.
//! * Out: a [`Ruling`]. A ruling never names a client that the policy does not cover.
//! * It does not read files, decide verdicts ([`crate::decide`]) or remember anything: a policy is immutable, and a
//!   changed configuration makes a new one.

mod asset;
mod ban;
mod derogation;
mod notice;
mod prefix;
mod refusal;
mod ruling;
mod scope;
#[cfg(test)]
mod tests;
mod words;
mod zone;

use std::net::IpAddr;

use time::Date;
use vigie_signatures::{Bans, Service};

pub use asset::{ASSET_TEXT_BYTES_MAX, ASSETS_MAX, Asset, AssetKey, Assets, AssetsBuilder, Mac};
pub use ban::{BanChoices, BanInUse, Outcome};
pub use derogation::{Derogation, DerogationState, WARNING_DAYS, Who};
pub use notice::Notice;
pub use prefix::Prefix;
pub use refusal::Refusal;
pub use ruling::{Counted, Covering, CoveringBans, Judged, Ruling, Subject};
pub use scope::{IdentityRule, Scope, ScopeKind};
pub use zone::Zone;

use crate::{Client, Origin};
use derogation::{Exempt, Register};
use scope::Scopes;

/// The ban that applies where the operator named none.
const BUILTIN_BAN: &str = "fr";

/// What a policy is made of.
#[derive(Debug, Default)]
pub struct PolicyParts {
    /// The bans in use.
    pub bans: Vec<BanInUse>,
    /// The scopes.
    pub scopes: Vec<Scope>,
    /// The kind of clients that no scope and no asset names. None: official if no scope and no asset names devices that
    /// bans can cover, else out of scope.
    pub unlisted: Option<ScopeKind>,
    /// The asset list.
    pub assets: Assets,
    /// The register of derogations.
    pub derogations: Vec<Derogation>,
}

/// Bans, scopes, assets and derogations: one immutable snapshot.
#[derive(Debug)]
pub struct Policy {
    bans: Vec<BanInUse>,
    scopes: Scopes,
    unlisted: ScopeKind,
    assets: Assets,
    register: Register,
    as_of: Option<Date>,
    has_builtin_bans: bool,
}

impl Policy {
    /// A policy of these parts. Without bans the built-in ones apply: that of France, and all services of ByteDance are
    /// watched. So a new sensor is never silent about them.
    ///
    /// # Errors
    /// The numbers of two scopes that name the same prefix and nothing else, the earlier first.
    pub fn new(parts: PolicyParts) -> Result<Self, (usize, usize)> {
        let PolicyParts { bans, scopes, unlisted, assets, derogations } = parts;
        let is_device = |kind: ScopeKind| !kind.is_out();
        let names_devices = scopes.iter().any(|scope| is_device(scope.kind)) || assets.kinds().any(is_device);
        let otherwise = if names_devices { ScopeKind::Guest } else { ScopeKind::Official };
        let has_builtin_bans = bans.is_empty();
        Ok(Self {
            bans: if has_builtin_bans { builtin_bans() } else { bans },
            unlisted: unlisted.unwrap_or(otherwise),
            scopes: Scopes::new(scopes)?,
            assets,
            register: Register::new(derogations),
            as_of: None,
            has_builtin_bans,
        })
    }

    /// The built-in policy: every client counts as an official device, and the built-in bans apply.
    pub fn builtin() -> Self {
        Self {
            bans: builtin_bans(),
            scopes: Scopes::default(),
            unlisted: ScopeKind::Official,
            assets: Assets::default(),
            register: Register::default(),
            as_of: None,
            has_builtin_bans: true,
        }
    }

    /// The policy as it judges on a day, whatever the time of a packet.
    #[must_use]
    pub fn as_of(self, day: Option<Date>) -> Self {
        Self { as_of: day, ..self }
    }

    /// Whether its bans are the built-in ones, since the operator named none.
    pub const fn has_builtin_bans(&self) -> bool {
        self.has_builtin_bans
    }

    /// Bans and clients in a few words.
    pub fn summary(&self) -> String {
        let ids = |watch: bool| {
            let used = self.bans.iter().filter(|used| used.is_watch() == watch);
            used.map(|used| if watch { watched(used) } else { used.ban().id.clone() }).collect::<Vec<_>>()
        };
        let clients = match (self.scopes.all(), self.assets.len(), self.unlisted.is_out()) {
            ([], 0, false) => "every client counts as an official device".to_owned(),
            (scopes, assets, is_out) => {
                let others = if is_out { "out of scope" } else { self.unlisted.as_str() };
                format!("{} scopes, {assets} assets, all others {others}", scopes.len())
            }
        };
        let (bans, watched) = (ids(false), ids(true));
        let mut parts = vec![clients];
        match bans.as_slice() {
            [] => parts.push("no ban".to_owned()),
            [ban] => parts.push(format!("ban: {ban}")),
            bans => parts.push(format!("bans: {}", bans.join(", "))),
        }
        if !watched.is_empty() {
            parts.push(format!("watched: {}", watched.join(", ")));
        }
        parts.join("; ")
    }

    /// The bans in use.
    pub fn bans(&self) -> &[BanInUse] {
        &self.bans
    }

    /// The scopes.
    pub fn scopes(&self) -> &[Scope] {
        self.scopes.all()
    }

    /// The kind of clients that no scope and no asset names.
    pub const fn unlisted(&self) -> ScopeKind {
        self.unlisted
    }

    /// The asset list.
    pub const fn assets(&self) -> &Assets {
        &self.assets
    }

    /// The register of derogations.
    pub fn derogations(&self) -> &[Derogation] {
        self.register.all()
    }

    /// The day of a time in a zone, or the day as of which the policy judges.
    pub fn day(&self, zone: &Zone, time_ns: u64) -> Date {
        self.as_of.unwrap_or_else(|| zone.day_at(time_ns))
    }

    /// Whether a time lies before every ban in use; what is watched has no beginning.
    pub fn is_before_every_ban(&self, time_ns: u64) -> bool {
        let mut bans = self.bans.iter().filter(|used| !used.is_watch()).peekable();
        bans.peek().is_some()
            && bans.all(|used| used.ban().in_force.is_some_and(|first| self.day(used.zone(), time_ns) < first))
    }

    /// What the policy says about a contact.
    pub fn rule<'p>(&'p self, subject: &Subject<'_>, service: &Service) -> Ruling<'p> {
        let Some(standing) = self.standing(subject) else { return Ruling::OutOfScope };
        let mut bans = self.covering(subject.time_ns, service, standing.kind);
        if bans.is_empty() {
            return Ruling::NotBanned;
        }
        let label = standing.asset.map_or("", |asset| asset.label);
        let exempt = Exempt { address: subject.address, mac: subject.mac, label };
        let mut derogation = None;
        bans.retain(|&mut covering| {
            let excusing = self.register.excusing(&exempt, &service.key, &covering.ban.ban().id, covering.day);
            derogation = derogation.or(excusing);
            excusing.is_none()
        });
        match (bans.is_empty(), derogation) {
            (true, Some(derogation)) => Ruling::Excused(derogation),
            (true, None) => Ruling::NotBanned,
            (false, _) => match standing.identity(subject) {
                None => Ruling::Counted(Counted::Shared { site: standing.site }),
                Some(identity) => Ruling::Judged(standing.judged(identity, bans)),
            },
        }
    }

    /// Whether every client is in scope, whoever it is.
    pub fn has_all_in_scope(&self) -> bool {
        !self.unlisted.is_out()
            && !self.scopes.all().iter().any(|scope| scope.kind.is_out())
            && !self.assets.kinds().any(ScopeKind::is_out)
    }

    /// Whether a client is in scope: a ban may cover it.
    pub fn has_in_scope(&self, subject: &Subject<'_>) -> bool {
        self.standing(subject).is_some()
    }

    /// Whether something of a contact with a service may be recorded, if only that it was: not of a guest, nor under a
    /// derogation.
    pub fn may_record(&self, origin: &Origin, service: &Service, time_ns: u64) -> bool {
        let ruling = self.rule(&Subject::of(origin, time_ns), service);
        matches!(ruling, Ruling::NotBanned | Ruling::Judged(_))
    }

    /// The bans in force that cover a service and a kind of device. If a ban covers the service, the watch does not count.
    fn covering(&self, time_ns: u64, service: &Service, kind: ScopeKind) -> CoveringBans<'_> {
        let covering = self.bans.iter().filter(|used| used.ban().covers(service)).filter_map(|used| {
            let cover = used.cover(kind)?;
            let day = self.day(used.zone(), time_ns);
            used.state_at(day).judges().then_some(Covering { ban: used, day, cover })
        });
        let mut bans: CoveringBans<'_> = covering.collect();
        if bans.iter().any(|covering| !covering.ban.is_watch()) {
            bans.retain(|covering| !covering.ban.is_watch());
        }
        bans
    }

    /// What the policy knows of a client; none if it is out of scope.
    ///
    /// A listed MAC address answers first: it is a device. Then a scope of guests that names VLAN or interface, since
    /// guests may have addresses that are listed elsewhere. Then the listed prefix, then the other scopes.
    fn standing(&self, subject: &Subject<'_>) -> Option<Standing<'_>> {
        let device = subject.mac.and_then(|mac| self.assets.by_mac(mac));
        let by_link = self.scopes.by_link(subject.address, subject.vlan, subject.interface);
        if device.is_none() && by_link.is_some_and(|scope| scope.kind.is_out()) {
            return None;
        }
        let asset = device.or_else(|| self.assets.by_address(subject.address));
        let scope = by_link.or_else(|| self.scopes.by_prefix(subject.address));
        let listed = asset.map(|asset| asset.kind.or(scope.map(|scope| scope.kind)).unwrap_or(ScopeKind::Official));
        let kind = listed.or(scope.map(|scope| scope.kind)).unwrap_or(self.unlisted);
        if kind.is_out() {
            return None;
        }
        Some(Standing::new(kind, asset, scope, device.is_some()))
    }
}

/// The bans that apply where the operator named none.
fn builtin_bans() -> Vec<BanInUse> {
    let known = Bans::builtin();
    let used = known.get(BUILTIN_BAN).into_iter().chain(known.watched());
    used.filter_map(|ban| BanInUse::new(ban, BanChoices::default()).ok()).collect()
}

/// What is watched, in words.
fn watched(used: &BanInUse) -> String {
    let ban = used.ban();
    let owners = ban.owners.iter().map(|owner| format!("all of {owner}'s services"));
    let words: Vec<String> = owners.chain(ban.services.iter().cloned()).collect();
    if words.is_empty() { ban.id.clone() } else { words.join(", ") }
}

/// What a policy knows of a client.
struct Standing<'p> {
    kind: ScopeKind,
    scope: &'p str,
    site: &'p str,
    ministry: &'p str,
    asset: Option<Asset<'p>>,
    identity: IdentityRule,
}

impl<'p> Standing<'p> {
    fn new(kind: ScopeKind, asset: Option<Asset<'p>>, scope: Option<&'p Scope>, is_listed_mac: bool) -> Self {
        let of_scope = |text: fn(&Scope) -> Option<&str>| scope.and_then(text).unwrap_or_default();
        let or_scope =
            |text: Option<&'p str>, otherwise: &'p str| text.filter(|text| !text.is_empty()).unwrap_or(otherwise);
        let identity = scope.map_or(IdentityRule::Address, |scope| scope.identity);
        Self {
            kind,
            scope: scope.map_or("", |scope| &scope.name),
            site: or_scope(asset.map(|asset| asset.site), of_scope(|scope| scope.site.as_deref())),
            ministry: or_scope(asset.map(|asset| asset.ministry), of_scope(|scope| scope.ministry.as_deref())),
            asset,
            identity: if is_listed_mac { IdentityRule::Mac } else { identity },
        }
    }

    /// What stands for the device; none where many share an address.
    fn identity(&self, subject: &Subject<'_>) -> Option<Client> {
        let address = subject.address.to_canonical();
        match (self.identity, address, subject.mac) {
            (IdentityRule::Shared, ..) => None,
            (IdentityRule::Mac, _, Some(mac)) => Some(Client::Mac(mac.0)),
            (IdentityRule::PrefixPerDevice, IpAddr::V6(address), _) => {
                Some(Client::Prefix64((address.to_bits() >> 64) as u64))
            }
            _ => Some(Client::Address(address)),
        }
    }

    fn judged(self, identity: Client, bans: CoveringBans<'p>) -> Judged<'p> {
        let Self { kind, scope, site, ministry, asset, .. } = self;
        Judged { identity, kind, scope, site, ministry, asset, bans }
    }
}
