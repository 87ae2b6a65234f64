//! An episode: what one client and one service said until a longer silence, as sets and sums.

use vigie_signatures::{Class, Rule, Trait};

use crate::{Answered, Contact, Sighting, Stack};

/// Families of names kept of an episode; further ones are counted as flows only.
const FAMILIES_MAX: usize = 32;
/// Family of names that an application contacts when it starts for the first time.
const BOOT: &str = "boot";
/// Different names kept of a family.
const NAMES_MAX: usize = 4;

/// Names of a family that were contacted.
#[derive(Clone, Debug)]
pub struct Family {
    /// The class of its signatures.
    pub class: Class,
    /// The family.
    pub name: Box<str>,
    /// An application contacts them when it starts for the first time, and then not again.
    pub is_first_start: bool,
    /// Some of the names, in the order in which they were first contacted.
    pub names: Vec<Box<str>>,
}

/// What was seen of a client and a service without a longer silence.
#[derive(Clone, Debug)]
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
    families: Vec<Family>,
    native_hellos: u32,
    native_hellos_of_browsers: u32,
    has_desktop_name: bool,
    own_interface: Vec<Box<str>>,
    flows_answered: u32,
    flows_unanswered: u32,
    says_something: bool,
}

/// What else is known of the client while the episode lasts.
#[derive(Clone, Copy, Debug, Default)]
pub struct Around<'a> {
    /// The resolver of the owner's applications was contacted.
    pub resolver: bool,
    /// Another service of the owner has native names, first starts not counted.
    pub other_native: bool,
    /// Another service of the owner has names of a first start, and no other native names.
    pub other_boot: bool,
    /// Another service of the owner has a verdict of its own.
    pub other_service: bool,
    /// A lone native family of an earlier episode, and the seconds since.
    pub earlier: Option<(&'a str, u64)>,
}

impl Episode {
    /// An episode that begins with `sighting`.
    pub fn new(sighting: &Sighting<'_>) -> Self {
        let mut episode = Self {
            first_ns: sighting.time_ns,
            last_ns: sighting.time_ns,
            flows: 0,
            bytes_to_client: 0,
            bytes_to_server: 0,
            media_bytes: 0,
            families: Vec::new(),
            native_hellos: 0,
            native_hellos_of_browsers: 0,
            has_desktop_name: false,
            own_interface: Vec::new(),
            flows_answered: 0,
            flows_unanswered: 0,
            says_something: false,
        };
        episode.add(sighting);
        episode
    }

    /// Adds a sighting. Sightings may come a little out of order.
    pub fn add(&mut self, sighting: &Sighting<'_>) {
        self.first_ns = self.first_ns.min(sighting.time_ns);
        self.last_ns = self.last_ns.max(sighting.time_ns);
        self.bytes_to_client = self.bytes_to_client.saturating_add(sighting.bytes_to_client);
        self.bytes_to_server = self.bytes_to_server.saturating_add(sighting.bytes_to_server);
        if sighting.rule.class == Class::Media {
            self.media_bytes = self.media_bytes.saturating_add(sighting.bytes_to_client);
        }
        match sighting.answered {
            Answered::Yes => self.flows_answered = self.flows_answered.saturating_add(1),
            Answered::No => self.flows_unanswered = self.flows_unanswered.saturating_add(1),
            Answered::Unknown => {}
        }
        match sighting.contact {
            Contact::MoreBytes => return,
            // Whoever only asks for a name proves no application; a site's name shows a person on the site all the same.
            Contact::DnsQuestion if sighting.rule.class != Class::Site => return,
            Contact::DnsQuestion => {}
            Contact::Flow => {
                self.flows = self.flows.saturating_add(1);
                self.hello(sighting);
            }
        }
        self.says_something |= sighting.rule.alone;
        self.name(sighting.rule, sighting.name);
    }

    fn hello(&mut self, sighting: &Sighting<'_>) {
        if sighting.rule.class != Class::Native {
            return;
        }
        self.native_hellos = self.native_hellos.saturating_add(1);
        self.has_desktop_name |= sighting.rule.has(Trait::Desktop);
        match sighting.stack {
            Stack::Browser => self.native_hellos_of_browsers = self.native_hellos_of_browsers.saturating_add(1),
            Stack::App if sighting.rule.has(Trait::OwnInterface) => push_new(&mut self.own_interface, sighting.name),
            Stack::App | Stack::Other => {}
        }
    }

    fn name(&mut self, rule: &Rule, name: &str) {
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
            }
            None => {}
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

    /// Whether any of its names says something without others beside it.
    pub const fn says_something(&self) -> bool {
        self.says_something
    }

    /// How long it has lasted, seconds.
    pub const fn length_s(&self) -> u64 {
        self.last_ns.saturating_sub(self.first_ns) / 1_000_000_000
    }
}

fn push_new(names: &mut Vec<Box<str>>, name: &str) {
    if names.len() < NAMES_MAX && !names.iter().any(|known| **known == *name) {
        names.push(name.into());
    }
}
