//! A working day of a ministry: some people run applications, visit sites, or read pages with pixels and players; guests do
//! so in a network of their own, and some officials by a derogation; all do their ordinary work beside it. Frames come out
//! in the order of time, and with them the truth ([`Ministry::truth`]) and the policy to judge by.
//!
//! Names are drawn from the families of the signature files (`sets.rs`), or come from the caller ([`NameSet`]). Memory grows
//! with the people and with the flows that are open at once, not with the day.

mod generate;
mod people;
mod plan;
mod policy;
mod sets;
mod truth;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use vigie_signatures::Bundle;

use crate::conversation::{Content, Conversation, Transport};
use crate::hello::Over;
use crate::packet::Ends;
use crate::quic::Opening;
use crate::random::Random;
use crate::stack::{self, Stack};
use crate::{names, tcp, udp};
use people::{GUEST_VLAN, People, Person};
use plan::Session;
pub use policy::MARK;
use sets::Catalogue;
use truth::Truths;
pub use truth::{Truth, TruthWord};

/// 2026-11-24, 07:00 in Paris.
const START_NS: u64 = 1_795_500_000 * SECOND_NS;
/// The day, as texts write it.
const DAY: &str = "2026-11-24";
/// Twelve hours.
const LENGTH_NS: u64 = 12 * 3_600 * SECOND_NS;
const SECOND_NS: u64 = 1_000_000_000;
const MILLISECOND_NS: u64 = 1_000_000;
/// Ordinary conversations of a person in a day, on average.
const ORDINARY_PER_PERSON: u64 = 24;
/// Least and most packets of data in a conversation.
const DATA_PACKETS: (usize, usize) = (2, 60);
/// People for whom the counts of the day are meant; others have their share.
const PEOPLE_USUAL: u64 = 5_000;

/// Which use of a service a set of names shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// The application runs.
    App,
    /// A person is on the site.
    Web,
    /// Somebody else's page embeds the service.
    Embed,
}

/// Names that one use of a service contacts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameSet {
    /// What the set shows.
    pub truth: Use,
    /// Key of the service; none for pages of others, which may embed several.
    pub service: Option<String>,
    /// The names as they are sent.
    pub names: Vec<String>,
}

/// Settings of a day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The same seed gives the same bytes.
    pub seed: u64,
    /// How many people there are, guests among them.
    pub clients: u32,
    /// Sets of names to use instead of drawn ones; of a use without sets they are drawn.
    pub sets: Vec<NameSet>,
}

/// Fewest people of a ministry, and most.
pub const CLIENTS_MIN: u32 = 20;
/// See [`CLIENTS_MIN`].
pub const CLIENTS_MAX: u32 = 500_000;

/// How many do what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Counts {
    app_users: u32,
    visitors: u32,
    page_views: u32,
    excused: u32,
    guests: u32,
}

impl Counts {
    fn of(clients: u32) -> Self {
        let share = |count: u64| (count * u64::from(clients)).div_ceil(PEOPLE_USUAL).max(1) as u32;
        Self {
            app_users: share(60),
            visitors: share(40),
            page_views: share(900),
            excused: share(25),
            guests: share(20),
        }
    }
}

/// Counts of what was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DayCounts {
    /// Frames.
    pub frames: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Conversations begun.
    pub flows: u64,
}

/// What happens next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Next {
    /// A person begins an ordinary conversation.
    Ordinary(Person),
    /// A session begins.
    Session(usize),
    /// An open conversation sends a packet.
    Packet(usize),
}

/// A conversation that is open.
#[derive(Debug)]
struct Open {
    conversation: Conversation,
    vlan: Option<u16>,
}

/// A day, frame by frame.
#[derive(Debug)]
pub struct Ministry {
    random: Random,
    people: People,
    catalogue: Catalogue,
    given: plan::GivenSets,
    sessions: Vec<Session>,
    queue: BinaryHeap<Reverse<(u64, Next)>>,
    open: Vec<Option<Open>>,
    free: Vec<usize>,
    truths: Truths,
    counts: DayCounts,
}

impl Ministry {
    /// A day from its beginning.
    ///
    /// # Errors
    /// The place of the first set whose service the signatures do not know, and that service.
    pub fn new(settings: &Settings, bundle: Arc<Bundle>) -> Result<Self, (usize, String)> {
        let catalogue = Catalogue::new(bundle);
        for (place, set) in settings.sets.iter().enumerate() {
            if let Some(service) = set.service.as_ref().filter(|service| !catalogue.knows(service)) {
                return Err((place, service.clone()));
            }
        }
        let mut random = Random::new(settings.seed);
        let clients = settings.clients.clamp(CLIENTS_MIN, CLIENTS_MAX);
        let settings = Settings { clients, ..settings.clone() };
        let counts = Counts::of(clients);
        let mut people = People::new(&settings, &counts, &mut random);
        let given = plan::GivenSets::new(&settings.sets, &mut random);
        let sessions = plan::sessions(&mut people, &counts, &catalogue, &given, &mut random);
        let mut queue = BinaryHeap::with_capacity(people.all().len() + sessions.len());
        for person in people.all() {
            queue.push(Reverse((START_NS + pause(&mut random), Next::Ordinary(person))));
        }
        for (place, session) in sessions.iter().enumerate() {
            queue.push(Reverse((session.time_ns, Next::Session(place))));
        }
        let mut truths = Truths::default();
        for person in people.excused() {
            truths.without_record(people.address(*person), "derogation");
        }
        for person in people.guests(counts.guests) {
            truths.without_record(people.address(person), "guest");
        }
        let (open, free, counts) = (Vec::new(), Vec::new(), DayCounts::default());
        Ok(Self { random, people, catalogue, given, sessions, queue, open, free, truths, counts })
    }

    /// Counts of what was made so far.
    pub const fn counts(&self) -> &DayCounts {
        &self.counts
    }

    /// Replaces the contents of `frame` by the next frame. Returns its time in nanoseconds since the Unix epoch; none when
    /// the day is over.
    pub fn frame(&mut self, frame: &mut Vec<u8>) -> Option<u64> {
        loop {
            let Reverse((now_ns, next)) = self.queue.pop()?;
            match next {
                Next::Ordinary(person) => {
                    self.ordinary(person, now_ns);
                    let again_ns = now_ns + pause(&mut self.random);
                    if again_ns < START_NS + LENGTH_NS {
                        self.queue.push(Reverse((again_ns, Next::Ordinary(person))));
                    }
                }
                Next::Session(place) => self.session(place, now_ns),
                Next::Packet(place) => {
                    if self.packet(place, now_ns, frame) {
                        return Some(now_ns);
                    }
                }
            }
        }
    }

    /// What the frames so far should be judged to be, by client and service.
    pub fn truth(&self) -> Vec<Truth> {
        self.truths.list(DAY)
    }

    /// The contacts of a session begin, one after the other.
    fn session(&mut self, place: usize, now_ns: u64) {
        let Some(session) = self.sessions.get(place) else { return };
        let (person, of) = (session.person, session.of);
        let set = match session.given.and_then(|given| self.given.get(of, given)) {
            Some(set) => set.clone(),
            None => self.catalogue.draw(of, session.service.as_deref(), &mut self.random),
        };
        let client = self.people.address(person);
        if session.is_recorded {
            self.truths.add(client, &set, &self.catalogue);
        }
        let stack = if of == Use::App { Stack::App } else { Stack::Browser };
        let mut start_ns = now_ns;
        for name in &set.names {
            start_ns = self.contact(person, client, name, stack, start_ns);
            start_ns += self.random.within(50..900) as u64 * MILLISECOND_NS;
        }
    }

    /// A conversation with a name begins, often behind a question for its address. Returns when it does.
    fn contact(&mut self, person: Person, client: IpAddr, name: &str, stack: Stack, start_ns: u64) -> u64 {
        let mut start_ns = start_ns;
        let ends = self.ends(client, server(name, client.is_ipv6()), 443);
        let random = &mut self.random;
        if random.once_in(2) && is_host_name(name) {
            let opening = udp::dns(name, ends.server, random);
            let question = Conversation::new(resolver(ends), Transport::Udp, opening, 0);
            self.begin(person, question, start_ns);
            start_ns += self.random.within(60..120) as u64 * MILLISECOND_NS;
        }
        let random = &mut self.random;
        let data = random.heavy_tailed(DATA_PACKETS.0, DATA_PACKETS.1);
        let post_quantum = stack == Stack::Browser;
        let conversation = if post_quantum && random.once_in(3) {
            let connection = Opening::new(random);
            let message = stack::message(stack, name, Over::Quic(&connection.client_id), random);
            let content = Content { hello_quic: true, post_quantum, ..Content::default() };
            let (transport, opening) = udp::quic_with(connection, &message, content, random);
            Conversation::new(ends, transport, opening, data)
        } else {
            let message = stack::message(stack, name, Over::Tcp, random);
            let content = Content { hello_tls: true, post_quantum, ..Content::default() };
            let transport = tcp::transport(true, random);
            Conversation::new(ends, transport, tcp::tls_with(&message, content, random), data)
        };
        self.begin(person, conversation, start_ns);
        start_ns
    }

    /// A conversation that has nothing to do with any service.
    fn ordinary(&mut self, person: Person, now_ns: u64) {
        let client = self.people.address(person);
        let name = self.random.choose(names::HARMLESS).copied().unwrap_or("www.example.com");
        let ends = self.ends(client, server(name, client.is_ipv6()), 443);
        let random = &mut self.random;
        let data = random.heavy_tailed(DATA_PACKETS.0, DATA_PACKETS.1);
        let conversation = match random.below(100) {
            0..35 => {
                let message = stack::message(Stack::Browser, name, Over::Tcp, random);
                let content = Content { hello_tls: true, post_quantum: true, ..Content::default() };
                let transport = tcp::transport(true, random);
                Conversation::new(ends, transport, tcp::tls_with(&message, content, random), data)
            }
            35..50 => {
                let post_quantum = random.once_in(2);
                let transport = tcp::transport(true, random);
                Conversation::new(ends, transport, tcp::tls(name, false, post_quantum, random), data)
            }
            50..70 => {
                let (transport, opening) = udp::quic(name, false, true, random);
                Conversation::new(ends, transport, opening, data)
            }
            70..97 => {
                let opening = udp::dns(name, ends.server, random);
                Conversation::new(resolver(ends), Transport::Udp, opening, 0)
            }
            _ => {
                let transport = tcp::transport(false, random);
                let ends = Ends { server_port: 80, ..ends };
                Conversation::new(ends, transport, tcp::http(name, false, random), data)
            }
        };
        self.begin(person, conversation, now_ns);
    }

    fn begin(&mut self, person: Person, conversation: Conversation, start_ns: u64) {
        self.counts.flows += 1;
        let vlan = self.people.is_guest(person).then_some(GUEST_VLAN);
        let open = Some(Open { conversation, vlan });
        let place = match self.free.pop() {
            Some(place) => {
                if let Some(free) = self.open.get_mut(place) {
                    *free = open;
                }
                place
            }
            None => {
                self.open.push(open);
                self.open.len() - 1
            }
        };
        self.queue.push(Reverse((start_ns, Next::Packet(place))));
    }

    /// Writes the next packet of a conversation. False if there is none.
    fn packet(&mut self, place: usize, now_ns: u64, frame: &mut Vec<u8>) -> bool {
        let Some(slot) = self.open.get_mut(place) else { return false };
        let Some(open) = slot else { return false };
        open.conversation.next(now_ns, &mut self.random, frame);
        if let Some(vlan) = open.vlan {
            tag(frame, vlan);
        }
        if open.conversation.is_over() {
            *slot = None;
            self.free.push(place);
        } else {
            let gap_ns = self.random.within(200_000..25_000_000) as u64;
            self.queue.push(Reverse((now_ns + gap_ns, Next::Packet(place))));
        }
        self.counts.frames += 1;
        self.counts.bytes += frame.len() as u64;
        true
    }

    /// The ends of a new conversation: no client uses a port again within 28 000 flows.
    fn ends(&self, client: IpAddr, server: IpAddr, server_port: u16) -> Ends {
        let client_port = 0x8000 | (self.counts.flows.wrapping_mul(0x9e37) & 0x7fff) as u16;
        Ends { client, client_port, server, server_port }
    }
}

/// The time between two ordinary conversations of a person.
fn pause(random: &mut Random) -> u64 {
    random.below((2 * LENGTH_NS / ORDINARY_PER_PERSON) as usize) as u64
}

/// The server of a name.
fn server(name: &str, is_v6: bool) -> IpAddr {
    // The default hasher of a new program has fixed keys.
    let mut hasher = DefaultHasher::new();
    name.to_ascii_lowercase().hash(&mut hasher);
    let hash = hasher.finish();
    if is_v6 {
        return IpAddr::V6(Ipv6Addr::from_bits(0x2001_0002 << 96 | u128::from(hash)));
    }
    IpAddr::V4(Ipv4Addr::from_bits(0xc612_0000 | (hash as u32 & 0x1_ffff)))
}

/// The same client and the ministry's resolver.
fn resolver(ends: Ends) -> Ends {
    let server = match ends.client {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::new(198, 19, 255, 53)),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::from_bits(0x2001_0002 << 96 | 0x35)),
    };
    Ends { server, server_port: 53, ..ends }
}

/// Whether DNS can carry a name (RFC 1035 §2.3.4).
fn is_host_name(name: &str) -> bool {
    name.len() <= 253 && name.is_ascii() && name.split('.').all(|label| (1..=63).contains(&label.len()))
}

/// Puts a tag of IEEE 802.1Q behind the addresses.
fn tag(frame: &mut Vec<u8>, vlan: u16) {
    let [high, low] = vlan.to_be_bytes();
    if frame.len() >= 12 {
        frame.splice(12..12, [0x81, 0x00, high, low]);
    }
}
