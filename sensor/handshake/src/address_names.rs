//! Maps a client and a server address to the name under which a DNS answer last gave the client that address. Shared by
//! all workers and bounded; entries expire by packet time. The meaning of a name is decided elsewhere.

use std::hash::BuildHasher;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};

use arrayvec::ArrayVec;
use dashmap::DashMap;
use foldhash::quality::RandomState;

use super::dns;
use super::neighbours::Neighbours;
use vigie_decode::Address;

/// Entries in one bucket. A look-up, or the search for an entry to displace, covers one bucket.
const BUCKET_ENTRIES: usize = 32;

const NANOSECONDS: u64 = 1_000_000_000;

/// Bounds of an [`AddressNames`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How many entries are kept, rounded up to whole buckets of 32. An entry takes 80 bytes and a share of its name,
    /// which has at most 253.
    pub entries_max: usize,
    /// A name stays usable at least so long. Answers of content networks live for 20 to 60 seconds, but applications
    /// and browsers keep what they resolved for longer, and connections follow late.
    pub ttl_min_s: u32,
    /// A name is forgotten after so long, whatever the answer says.
    pub ttl_max_s: u32,
    /// How many hosts are known by their link-layer address, rounded up to whole buckets of 8.
    pub neighbours_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { entries_max: 262_144, ttl_min_s: 300, ttl_max_s: 86_400, neighbours_max: 16_384 }
    }
}

/// How long an entry that nobody used is kept before any other may take its place.
const FRESH_NS: u64 = 300 * NANOSECONDS;

/// Whether the query for an answer was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Query {
    /// No: somebody may have forged the answer, or only this direction is seen.
    Unseen,
    /// Yes.
    Seen,
}

/// Server addresses and the names that clients were given them for.
///
/// An entry belongs to one client. Addresses of content networks serve thousands of names, so an answer to one client
/// says nothing about another client's flow to the same address: that would accuse people of what their neighbour
/// does. For the same client and address the latest answer counts. Answers stored without a client (a sensor that
/// stands behind the resolver sees the resolver as the only asker) serve clients that have no entry of their own.
///
/// A look-up is for a time, and answers after that time do not count: workers read their packets independently of each
/// other, so a later answer may be stored before an earlier flow is looked up.
///
/// When the bucket of a new entry is full, another one makes room: an expired entry, else an answer that nobody asked for,
/// else one that is old and was not used. Among equals it is one of the client with the most entries, so a flood of
/// answers to one client displaces that client's own. An answer without a query cannot displace fresh ones with a query.
#[derive(Debug)]
pub struct AddressNames<S: BuildHasher + Clone = RandomState> {
    buckets: DashMap<u32, Bucket, S>,
    bucket_count: u32,
    limits: Limits,
    hasher: S,
    neighbours: Neighbours,
    entries: AtomicUsize,
    has_answers_to_anyone: AtomicBool,
    displaced: AtomicU64,
    refused: AtomicU64,
}

/// Entries, and a byte of each one's hash, so that most comparisons can be skipped.
#[derive(Debug, Default)]
struct Bucket {
    tags: ArrayVec<u8, BUCKET_ENTRIES>,
    entries: Vec<Entry>,
}

impl Bucket {
    fn place(&self, tag: u8, client: Address, address: Address) -> Option<usize> {
        memchr::memchr_iter(tag, &self.tags).find(|&place| {
            self.entries.get(place).is_some_and(|entry| entry.client == client && entry.address == address)
        })
    }

    /// Adds an entry, for which there has to be room.
    fn add(&mut self, tag: u8, entry: Entry) {
        if self.tags.try_push(tag).is_ok() {
            self.entries.push(entry);
        }
    }

    fn remove(&mut self, place: usize) {
        self.entries.swap_remove(place);
        self.tags.swap_pop(place);
    }

    /// The entry that makes room for another one of this client; none if all are worth more.
    fn displaceable(&self, client: Address, query: Query, now_ns: u64) -> Option<usize> {
        let worth = |entry: &Entry| entry.worth(now_ns);
        let least = self.entries.iter().map(worth).min()?;
        if least > Worth::of(query) {
            return None;
        }
        let mut clients: ArrayVec<(Address, usize), BUCKET_ENTRIES> = ArrayVec::new();
        for entry in self.entries.iter().filter(|entry| worth(entry) == least) {
            match clients.iter_mut().find(|known| known.0 == entry.client) {
                Some(known) => known.1 += 1,
                None => {
                    // Never full: a bucket has no more entries.
                    let _ = clients.try_push((entry.client, 1 + usize::from(entry.client == client)));
                }
            }
        }
        let most = clients.iter().map(|known| known.1).max()?;
        let has_most = |entry: &Entry| clients.contains(&(entry.client, most));
        let candidates = self.entries.iter().enumerate();
        let candidates = candidates.filter(|(_, entry)| worth(entry) == least && has_most(entry));
        candidates.min_by_key(|(_, entry)| (entry.is_used(), entry.active_ns())).map(|(place, _)| place)
    }
}

/// What an entry is worth, the least first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Worth {
    Expired,
    NotAskedFor,
    /// Asked for, but long ago, and not used since.
    Old,
    Fresh,
}

impl Worth {
    const fn of(query: Query) -> Self {
        match query {
            Query::Unseen => Self::NotAskedFor,
            Query::Seen => Self::Fresh,
        }
    }
}

#[derive(Debug)]
struct Entry {
    /// [`ANYONE`] for an answer without a client.
    client: Address,
    address: Address,
    name: Arc<str>,
    /// Since when the address has this name.
    since_ns: u64,
    expires_ns: u64,
    /// The name before.
    earlier: Option<Box<EarlierName>>,
    /// When it was last told or used, in seconds.
    active_s: AtomicU32,
    is_used: AtomicBool,
    query: Query,
}

/// The name that an address had before the present one.
#[derive(Debug)]
struct EarlierName {
    name: Arc<str>,
    since_ns: u64,
    expires_ns: u64,
}

/// Stands for a client where answers come without one.
const ANYONE: Address = Address(0);

impl Entry {
    fn worth(&self, now_ns: u64) -> Worth {
        if self.expires_ns <= now_ns {
            Worth::Expired
        } else if self.query == Query::Unseen {
            Worth::NotAskedFor
        } else if self.active_ns().saturating_add(FRESH_NS) < now_ns {
            Worth::Old
        } else {
            Worth::Fresh
        }
    }

    fn active_ns(&self) -> u64 {
        u64::from(self.active_s.load(Ordering::Relaxed)) * NANOSECONDS
    }

    fn is_used(&self) -> bool {
        self.is_used.load(Ordering::Relaxed)
    }

    fn set_active(&self, now_ns: u64) {
        self.active_s.store(seconds(now_ns), Ordering::Relaxed);
    }

    /// The name at a time.
    fn name_at(&self, now_ns: u64) -> Option<&Arc<str>> {
        if self.since_ns <= now_ns {
            return (self.expires_ns > now_ns).then_some(&self.name);
        }
        let earlier = self.earlier.as_ref().filter(|earlier| earlier.since_ns <= now_ns && earlier.expires_ns > now_ns);
        earlier.map(|earlier| &earlier.name)
    }

    /// Another answer for the same client and address.
    fn renew(&mut self, name: &str, own: impl FnOnce() -> Arc<str>, query: Query, now_ns: u64, expires_ns: u64) {
        self.query = self.query.max(query);
        self.set_active(now_ns);
        if *self.name == *name {
            self.expires_ns = if now_ns >= self.since_ns { expires_ns } else { self.expires_ns.max(expires_ns) };
            self.since_ns = self.since_ns.min(now_ns);
        } else if now_ns >= self.since_ns {
            let name = std::mem::replace(&mut self.name, own());
            let earlier = EarlierName { name, since_ns: self.since_ns, expires_ns: self.expires_ns };
            self.earlier = Some(Box::new(earlier));
            (self.since_ns, self.expires_ns) = (now_ns, expires_ns);
        } else if self.earlier.as_ref().is_none_or(|earlier| earlier.since_ns <= now_ns) {
            // Another worker was faster with a later answer.
            self.earlier = Some(Box::new(EarlierName { name: own(), since_ns: now_ns, expires_ns }));
        }
    }
}

fn seconds(ns: u64) -> u32 {
    u32::try_from(ns / NANOSECONDS).unwrap_or(u32::MAX)
}

impl AddressNames {
    /// An empty map, its hash keyed at random so that nobody can choose what shares a bucket.
    pub fn new(limits: Limits) -> Self {
        Self::with_hasher(limits, RandomState::default())
    }
}

impl<S: BuildHasher + Clone> AddressNames<S> {
    /// An empty map with a hash of the caller's choice.
    pub fn with_hasher(limits: Limits, hasher: S) -> Self {
        let bucket_count = u32::try_from(limits.entries_max.div_ceil(BUCKET_ENTRIES)).unwrap_or(u32::MAX).max(1);
        Self {
            buckets: DashMap::with_hasher(hasher.clone()),
            bucket_count,
            limits,
            hasher,
            neighbours: Neighbours::new(limits.neighbours_max, RandomState::default()),
            entries: AtomicUsize::new(0),
            has_answers_to_anyone: AtomicBool::new(false),
            displaced: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        }
    }

    /// Stores all addresses of a response that went to `client`. The name is allocated once for all of them. Returns how
    /// many times there was no room, so that an entry was displaced or refused.
    pub fn insert_answer(&self, client: Option<Address>, query: Query, answer: &dns::Message<'_>, now_ns: u64) -> u64 {
        let name = answer.question().and_then(|question| question.name.name());
        name.map_or(0, |name| self.insert_answer_of(name.as_str(), client, query, answer, now_ns))
    }

    /// The same, where the name of the answer's question was read before.
    pub fn insert_answer_of(
        &self,
        name: &str,
        client: Option<Address>,
        query: Query,
        answer: &dns::Message<'_>,
        now_ns: u64,
    ) -> u64 {
        let mut shared: Option<Arc<str>> = None;
        let mut without_room = 0;
        answer.addresses_of(name, |name, address, ttl_s| {
            let own = || Arc::clone(shared.get_or_insert_with(|| Arc::from(name)));
            let stored = self.store(client, address, ttl_s, query, now_ns, name, own);
            without_room += u64::from(matches!(stored, Stored::Displacing | Stored::Refused));
        });
        without_room
    }

    /// Notes that `client` was told `address` for `name`. False if it was refused.
    pub fn insert(
        &self,
        client: Option<Address>,
        address: IpAddr,
        name: &str,
        ttl_s: u32,
        query: Query,
        now_ns: u64,
    ) -> bool {
        let stored = self.store(client, address, ttl_s, query, now_ns, name, || Arc::from(name));
        matches!(stored, Stored::Added | Stored::Displacing)
    }

    /// The name under which `client` was last told `address` at that time, or anyone if answers came without a client.
    pub fn lookup(&self, client: Option<Address>, address: Address, now_ns: u64) -> Option<Arc<str>> {
        let find = |client| {
            let (bucket, tag) = self.bucket_of(client, address);
            let bucket = self.buckets.get(&bucket)?;
            let entry = bucket.entries.get(bucket.place(tag, client, address)?)?;
            let name = entry.name_at(now_ns)?.clone();
            entry.is_used.store(true, Ordering::Relaxed);
            entry.set_active(now_ns);
            Some(name)
        };
        client
            .and_then(find)
            .or_else(|| if self.has_answers_to_anyone.load(Ordering::Relaxed) { find(ANYONE) } else { None })
    }

    /// The clock that stamps the packets was set by so many nanoseconds.
    pub fn clock_was_set(&self, by_ns: i64) {
        let set = |time_ns: &mut u64| *time_ns = time_ns.saturating_add_signed(by_ns);
        for mut bucket in self.buckets.iter_mut() {
            for entry in &mut bucket.entries {
                entry.set_active(entry.active_ns().saturating_add_signed(by_ns));
                [&mut entry.since_ns, &mut entry.expires_ns].into_iter().for_each(set);
                if let Some(earlier) = &mut entry.earlier {
                    [&mut earlier.since_ns, &mut earlier.expires_ns].into_iter().for_each(set);
                }
            }
        }
    }

    /// The hosts that answers went to.
    pub const fn neighbours(&self) -> &Neighbours {
        &self.neighbours
    }

    /// How many entries are held, expired ones included.
    pub fn len(&self) -> usize {
        self.entries.load(Ordering::Relaxed)
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many entries were displaced by others, expired ones left out.
    pub fn displaced(&self) -> u64 {
        self.displaced.load(Ordering::Relaxed)
    }

    /// How many entries were refused for want of room.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    #[allow(clippy::too_many_arguments)]
    fn store(
        &self,
        client: Option<Address>,
        address: IpAddr,
        ttl_s: u32,
        query: Query,
        now_ns: u64,
        name: &str,
        own: impl FnOnce() -> Arc<str>,
    ) -> Stored {
        // DNS filters answer with these for blocked names: they are no server's address.
        if address.is_unspecified() || address.is_loopback() || address.is_multicast() {
            return Stored::NoServer;
        }
        if client.is_none() {
            self.has_answers_to_anyone.store(true, Ordering::Relaxed);
        }
        let (client, address) = (client.unwrap_or(ANYONE), Address::from(address));
        let ttl_s = ttl_s.min(self.limits.ttl_max_s).max(self.limits.ttl_min_s);
        let expires_ns = now_ns.saturating_add(u64::from(ttl_s) * NANOSECONDS);
        let (bucket, tag) = self.bucket_of(client, address);
        let mut bucket = self.buckets.entry(bucket).or_default();
        let place = bucket.place(tag, client, address);
        if let Some(known) = place.and_then(|place| bucket.entries.get_mut(place)) {
            known.renew(name, own, query, now_ns, expires_ns);
            return Stored::Added;
        }
        let mut stored = Stored::Added;
        if !bucket.tags.is_full() {
            self.entries.fetch_add(1, Ordering::Relaxed);
        } else if let Some(place) = bucket.displaceable(client, query, now_ns) {
            if bucket.entries.get(place).is_some_and(|entry| entry.expires_ns > now_ns) {
                self.displaced.fetch_add(1, Ordering::Relaxed);
                stored = Stored::Displacing;
            }
            bucket.remove(place);
        } else {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return Stored::Refused;
        }
        bucket.add(
            tag,
            Entry {
                client,
                address,
                name: own(),
                since_ns: now_ns,
                expires_ns,
                earlier: None,
                active_s: AtomicU32::new(seconds(now_ns)),
                is_used: AtomicBool::new(false),
                query,
            },
        );
        stored
    }

    /// The number of a bucket, and the tag in it.
    fn bucket_of(&self, client: Address, address: Address) -> (u32, u8) {
        let hash = self.hasher.hash_one((client, address));
        // The high half of the product spreads the hash evenly without a division.
        let bucket = ((hash & 0xffff_ffff) * u64::from(self.bucket_count)) >> 32;
        (bucket as u32, (hash >> 32) as u8)
    }
}

/// What became of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stored {
    Added,
    /// Another one had to go that had not expired.
    Displacing,
    Refused,
    NoServer,
}

#[cfg(test)]
mod tests;
