//! An episode: the contacts of one client with one service without a longer silence, as sets and sums.

use serde::{Deserialize, Serialize};
use vigie_signatures::{Class, Confidence, Rule, Trait};

use crate::recent_names::{NameKey, RecentNames};
use crate::{Answered, Contact, Destinations, Sighting, Stack, Thresholds};

/// Families of names kept of an episode; contacts of further ones are counted only.
pub const FAMILIES_MAX: usize = 32;
/// Different names kept of a family.
pub const NAMES_MAX: usize = 4;
/// Family of names that an application contacts when it starts for the first time.
const BOOT: &str = "boot";

/// Names of a family that were contacted.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Family {
    /// The class of its signatures.
    #[serde(with = "crate::state::word")]
    pub class: Class,
    /// The family.
    pub name: Box<str>,
    /// An application contacts them when it starts for the first time, and then not again.
    pub is_first_start: bool,
    /// Some of the names, in the order in which they were first contacted.
    pub names: Vec<Box<str>>,
}

/// What was seen of a client and a service without a longer silence.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Episode {
    /// First sighting, nanoseconds since the Unix epoch.
    pub first_ns: u64,
    /// Last sighting.
    pub last_ns: u64,
    /// Flows.
    pub flows: u32,
    /// Bytes server → client of all flows.
    pub bytes_to_client: u64,
    /// Bytes client → server of all flows.
    pub bytes_to_server: u64,
    /// Bytes server → client of the class `media`.
    pub media_bytes: u64,
    /// Where they went.
    #[serde(default)]
    pub destinations: Destinations,
    families: Vec<Family>,
    native_hellos: u32,
    native_hellos_of_browsers: u32,
    is_desktop: bool,
    has_desktop_name: bool,
    own_interface: Vec<Box<str>>,
    flows_answered: u32,
    flows_unanswered: u32,
    has_sure_name: bool,
    #[serde(skip)]
    recent: RecentNames,
}

/// What else is known of the client while the episode lasts.
#[derive(Clone, Debug, Default)]
pub struct Around<'a> {
    /// The resolver of the owner's applications was contacted.
    pub resolver: bool,
    /// The names of a first start belong to another service of the owner.
    pub boot_is_of_another: bool,
    /// Names of a first start that are under another service of the owner, and belong to this one.
    pub more_boot: Vec<String>,
    /// Another service of the owner has a verdict of its own.
    pub other_service: bool,
    /// A lone native family of an earlier episode, and the seconds since.
    pub earlier: Option<(&'a str, u64)>,
}

/// The sums that a verdict compares with thresholds, as far as they matter to it.
#[derive(PartialEq, Eq)]
struct Compared {
    is_preview: bool,
    is_watching: bool,
    is_long_playback: bool,
    is_browser: bool,
    is_desktop: bool,
    attempt: Option<bool>,
}

impl Episode {
    /// An episode that begins with `sighting`.
    pub fn new(sighting: &Sighting<'_>) -> Self {
        let mut episode = Self { first_ns: sighting.time_ns, last_ns: sighting.time_ns, ..Self::default() };
        episode.take(sighting);
        episode
    }

    /// Adds a sighting, which may come a little out of order. True if the verdict can be another one now.
    pub fn add(&mut self, sighting: &Sighting<'_>, thresholds: &Thresholds) -> bool {
        let before = self.compared(thresholds);
        self.take(sighting) || before != self.compared(thresholds)
    }

    /// Adds a sighting. True if it brought a name, a family or proof that was not known.
    fn take(&mut self, sighting: &Sighting<'_>) -> bool {
        self.first_ns = self.first_ns.min(sighting.time_ns);
        self.last_ns = self.last_ns.max(sighting.time_ns);
        self.bytes_to_client = self.bytes_to_client.saturating_add(sighting.bytes_to_client);
        self.bytes_to_server = self.bytes_to_server.saturating_add(sighting.bytes_to_server);
        self.destinations.add(sighting);
        if sighting.rule.class == Class::Media {
            self.media_bytes = self.media_bytes.saturating_add(sighting.bytes_to_client);
        }
        match sighting.answered {
            Answered::Yes => self.flows_answered = self.flows_answered.saturating_add(1),
            Answered::No => self.flows_unanswered = self.flows_unanswered.saturating_add(1),
            Answered::Unknown => {}
        }
        match sighting.contact {
            Contact::MoreBytes => return false,
            Contact::DnsQuestion => {}
            Contact::Flow => self.flows = self.flows.saturating_add(1),
        }
        self.has_sure_name |= sighting.rule.confidence > Confidence::Low;
        if sighting.rule.class == Class::Native {
            self.native_hello(sighting);
        }
        let is_proof = sighting.rule.class == Class::Native
            && sighting.stack == Stack::App
            && sighting.rule.has(Trait::OwnInterface);
        if self.recent.has_or_add(NameKey::of(sighting, is_proof)) {
            return false;
        }
        let is_new_proof = is_proof && push_new(&mut self.own_interface, sighting.name);
        self.name(sighting.rule, sighting.name) || is_new_proof
    }

    fn native_hello(&mut self, sighting: &Sighting<'_>) {
        let is_browser = sighting.stack == Stack::Browser;
        self.native_hellos = self.native_hellos.saturating_add(1);
        self.native_hellos_of_browsers = self.native_hellos_of_browsers.saturating_add(is_browser.into());
        if sighting.rule.has(Trait::Desktop) {
            self.has_desktop_name = true;
            self.is_desktop |= is_browser;
        }
    }

    fn name(&mut self, rule: &Rule, name: &str) -> bool {
        let class = rule.class;
        let has_room = self.families.len() < FAMILIES_MAX;
        let known = self.families.iter_mut().find(|known| known.class == class && *known.name == *rule.family);
        match known {
            Some(known) => push_new(&mut known.names, name),
            None if has_room => {
                self.families.push(Family {
                    class,
                    name: rule.family.as_str().into(),
                    is_first_start: *rule.family == *BOOT && !rule.has(Trait::EveryStart),
                    names: vec![name.into()],
                });
                true
            }
            None => false,
        }
    }

    fn compared(&self, thresholds: &Thresholds) -> Compared {
        Compared {
            is_preview: self.flows <= thresholds.preview_flows_max,
            is_watching: self.media_bytes >= thresholds.in_use_media_bytes,
            is_long_playback: self.is_long_playback(thresholds),
            is_browser: self.is_browser(),
            is_desktop: self.is_desktop,
            attempt: self.attempt(),
        }
    }

    /// The families of a class, in the order in which they were first contacted.
    pub fn families(&self, class: Class) -> impl Iterator<Item = &Family> {
        self.families.iter().filter(move |family| family.class == class)
    }

    /// All families.
    pub fn all_families(&self) -> &[Family] {
        &self.families
    }

    /// Names that an application contacts when it starts for the first time.
    pub fn boot_names(&self) -> impl Iterator<Item = &str> {
        let families = self.families(Class::Native).filter(|family| family.is_first_start);
        families.flat_map(|family| &family.names).map(|name| &**name)
    }

    /// Native families, those of a first start not counted.
    pub fn interfaces(&self) -> impl Iterator<Item = &Family> {
        self.families(Class::Native).filter(|family| !family.is_first_start)
    }

    /// The native family, if there is one only.
    pub fn lone_interface(&self) -> Option<&str> {
        let mut interfaces = self.interfaces();
        let lone = interfaces.next()?;
        interfaces.next().is_none().then_some(&*lone.name)
    }

    /// Whether a program is known by names of a first start alone, which may yet turn out to be another service's.
    pub fn rests_on_first_start(&self) -> bool {
        self.boot_names().next().is_some() && self.interfaces().next().is_none()
    }

    /// Whether nothing but names of a first start speaks for a program: they may belong to another service.
    pub fn has_only_first_start_names(&self) -> bool {
        self.rests_on_first_start() && !self.has(Class::NativeLikely)
    }

    /// Whether names other than those of a first start speak for a program.
    pub fn has_program(&self) -> bool {
        self.interfaces().next().is_some() || self.has(Class::NativeLikely)
    }

    /// Whether it consists of infrastructure that services share.
    pub fn is_shared(&self) -> bool {
        self.families.iter().all(|family| matches!(family.class, Class::Infra | Class::Resolver))
    }

    /// Whether a name of the class was contacted.
    pub fn has(&self, class: Class) -> bool {
        self.families(class).next().is_some()
    }

    /// Names of a class that were kept.
    pub fn names(&self, class: Class) -> Vec<String> {
        self.families(class).flat_map(|family| &family.names).map(|name| String::from(&**name)).collect()
    }

    /// Whether all native names were contacted by a current browser.
    pub const fn is_browser(&self) -> bool {
        self.native_hellos > 0 && self.native_hellos == self.native_hellos_of_browsers
    }

    /// Whether a name was contacted that a desktop program contacts with the TLS stack of a browser.
    pub const fn has_desktop_name(&self) -> bool {
        self.has_desktop_name
    }

    /// Whether such a name was contacted with such a stack.
    pub const fn is_desktop(&self) -> bool {
        self.is_desktop
    }

    /// Whether a name is of the service for sure, and does not only look like it.
    pub const fn has_sure_name(&self) -> bool {
        self.has_sure_name
    }

    /// Names of the service's own interface that were contacted with the TLS stack of its applications.
    pub fn own_interface(&self) -> Vec<String> {
        self.own_interface.iter().map(|name| String::from(&**name)).collect()
    }

    /// Whether nothing was answered; `None` where that is not known.
    pub const fn attempt(&self) -> Option<bool> {
        match (self.flows_answered, self.flows_unanswered) {
            (1.., _) => Some(false),
            (0, unanswered) if unanswered > 0 && unanswered >= self.flows => Some(true),
            (0, _) => None,
        }
    }

    /// How long it has lasted, seconds.
    pub const fn length_s(&self) -> u64 {
        self.last_ns.saturating_sub(self.first_ns) / 1_000_000_000
    }

    /// Whether so much was played for so long that a player is no better explanation than the site.
    pub const fn is_long_playback(&self, thresholds: &Thresholds) -> bool {
        self.length_s() > thresholds.player_length_s && self.bytes_to_client > thresholds.player_bytes
    }
}

fn push_new(names: &mut Vec<Box<str>>, name: &str) -> bool {
    let is_new = names.len() < NAMES_MAX && !names.iter().any(|known| **known == *name);
    if is_new {
        names.push(name.into());
    }
    is_new
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{Client, Origin};
    use vigie_signatures::Bundle;

    fn episode(contacts: &[(&str, &str)]) -> Episode {
        let rule = Bundle::builtin().name("tnc16-normal-no1a.tiktokv.eu").map(|rule| Rule::clone(rule)).unwrap();
        let (client, origin) = (Client::Mac([2; 6]), Origin::unknown());
        let (service, owner): (Arc<str>, Arc<str>) = ("tiktok".into(), "ByteDance".into());
        let mut episode = Episode::default();
        for (family, name) in contacts {
            let rule = Rule { family: (*family).to_owned(), ..rule.clone() };
            let seen = Sighting::of_flow((&client, &origin), (&service, &owner), &rule, name);
            let sighting = Sighting { time_ns: 1, ..seen };
            episode.add(&sighting, &Thresholds::default());
        }
        episode
    }

    #[test]
    fn families_and_names_are_bounded() {
        let families: Vec<String> = (0..FAMILIES_MAX + 3).map(|number| format!("family-{number}")).collect();
        let contacts: Vec<(&str, &str)> = families.iter().map(|family| (family.as_str(), "x.example")).collect();
        let many = episode(&contacts);
        assert_eq!((many.all_families().len(), many.flows as usize), (FAMILIES_MAX, FAMILIES_MAX + 3));
        let names = ["a", "b", "a", "c", "d", "e"].map(|name| ("tnc", name));
        assert_eq!(episode(&names).names(Class::Native), ["a", "b", "c", "d"]);
    }
}
