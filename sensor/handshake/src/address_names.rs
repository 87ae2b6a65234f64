//! Maps a client and a server address to the name under which a DNS answer last gave the client that address. Shared by
//! all workers and bounded; entries expire by packet time. The meaning of a name is decided elsewhere.

use std::hash::BuildHasher;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use arrayvec::ArrayVec;
use dashmap::DashMap;
use foldhash::quality::RandomState;

use super::dns;
use super::neighbours::Neighbours;
use vigie_decode::Address;

/// Entries in one bucket. A look-up, or the search for an expired entry to replace, covers one bucket.
const BUCKET_ENTRIES: usize = 32;

const NANOSECONDS: u64 = 1_000_000_000;

/// Bounds of an [`AddressNames`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How many entries are kept, rounded up to whole buckets of 32. An entry takes 64 bytes and a share of its name,
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

/// Server addresses and the names that clients were given them for.
///
/// An entry belongs to one client. Addresses of content networks serve thousands of names, so an answer to one client
/// says nothing about another client's flow to the same address: that would accuse people of what their neighbour
/// does. For the same client and address the latest answer counts. Answers stored without a client (a sensor that
/// stands behind the resolver sees the resolver as the only asker) serve clients that have no entry of their own.
///
/// When the bucket of a new entry is full, an expired entry makes room, else the new one is refused and counted; so a
/// flood of answers cannot displace what is in use.
#[derive(Debug)]
pub struct AddressNames<S: BuildHasher + Clone = RandomState> {
    buckets: DashMap<u32, Bucket, S>,
    bucket_count: u32,
    limits: Limits,
    hasher: S,
    neighbours: Neighbours,
    entries: AtomicUsize,
    has_answers_to_anyone: AtomicBool,
    refused: AtomicU64,
}

/// Entries, and a byte of each one's hash, so that most comparisons can be skipped.
#[derive(Debug, Default)]
struct Bucket {
    tags: ArrayVec<u8, BUCKET_ENTRIES>,
    entries: Vec<Entry>,
}

impl Bucket {
    fn place(&self, tag: u8, client: Option<Address>, address: Address) -> Option<usize> {
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

    /// Removes an expired entry, if there is one.
    fn make_room(&mut self, now_ns: u64) -> bool {
        let Some(expired) = self.entries.iter().position(|entry| entry.expires_ns <= now_ns) else { return false };
        self.entries.swap_remove(expired);
        self.tags.swap_pop(expired);
        true
    }
}

#[derive(Debug)]
struct Entry {
    client: Option<Address>,
    address: Address,
    name: Arc<str>,
    expires_ns: u64,
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
            refused: AtomicU64::new(0),
        }
    }

    /// Stores all addresses of a response that went to `client`. The name is allocated once for all of them.
    pub fn insert_answer(&self, client: Option<Address>, answer: &dns::Message<'_>, now_ns: u64) {
        let mut shared: Option<Arc<str>> = None;
        answer.addresses(|name, address, ttl_s| {
            let name = shared.get_or_insert_with(|| Arc::from(name));
            self.store(client, address, ttl_s, now_ns, name, || name.clone());
        });
    }

    /// Notes that `client` was told `address` for `name`. False if it was refused.
    pub fn insert(&self, client: Option<Address>, address: IpAddr, name: &str, ttl_s: u32, now_ns: u64) -> bool {
        self.store(client, address, ttl_s, now_ns, name, || Arc::from(name))
    }

    /// The name under which `client` was last told `address`, or anyone if answers came without a client.
    pub fn lookup(&self, client: Option<Address>, address: Address, now_ns: u64) -> Option<Arc<str>> {
        let find = |client| {
            let (bucket, tag) = self.bucket_of(client, address);
            let bucket = self.buckets.get(&bucket)?;
            let entry = bucket.entries.get(bucket.place(tag, client, address)?)?;
            (entry.expires_ns > now_ns).then(|| entry.name.clone())
        };
        client
            .and_then(|client| find(Some(client)))
            .or_else(|| if self.has_answers_to_anyone.load(Ordering::Relaxed) { find(None) } else { None })
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

    /// How many entries were refused for want of room.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    fn store(
        &self,
        client: Option<Address>,
        address: IpAddr,
        ttl_s: u32,
        now_ns: u64,
        name: &str,
        own: impl FnOnce() -> Arc<str>,
    ) -> bool {
        // DNS filters answer with these for blocked names: they are no server's address.
        if address.is_unspecified() || address.is_loopback() || address.is_multicast() {
            return false;
        }
        if client.is_none() {
            self.has_answers_to_anyone.store(true, Ordering::Relaxed);
        }
        let address = Address::from(address);
        let ttl_s = ttl_s.min(self.limits.ttl_max_s).max(self.limits.ttl_min_s);
        let expires_ns = now_ns.saturating_add(u64::from(ttl_s) * NANOSECONDS);
        let (bucket, tag) = self.bucket_of(client, address);
        let mut bucket = self.buckets.entry(bucket).or_default();
        let place = bucket.place(tag, client, address);
        if let Some(known) = place.and_then(|place| bucket.entries.get_mut(place)) {
            if *known.name != *name {
                known.name = own();
            }
            known.expires_ns = expires_ns;
            return true;
        }
        if !bucket.tags.is_full() {
            self.entries.fetch_add(1, Ordering::Relaxed);
        } else if !bucket.make_room(now_ns) {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return false;
        }
        bucket.add(tag, Entry { client, address, name: own(), expires_ns });
        true
    }

    /// The number of a bucket, and the tag in it.
    fn bucket_of(&self, client: Option<Address>, address: Address) -> (u32, u8) {
        let hash = self.hasher.hash_one((client, address));
        // The high half of the product spreads the hash evenly without a division.
        let bucket = ((hash & 0xffff_ffff) * u64::from(self.bucket_count)) >> 32;
        (bucket as u32, (hash >> 32) as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = NANOSECONDS;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([203, 0, 113, last])
    }

    fn client(last: u8) -> Option<Address> {
        Some(Address::v4([10, 0, 0, last]))
    }

    fn name(names: &AddressNames, who: Option<Address>, server: u8, now_ns: u64) -> Option<String> {
        names.lookup(who, address(server).into(), now_ns).map(|name| name.to_string())
    }

    #[test]
    fn a_name_is_its_clients_own() {
        let names = AddressNames::new(Limits::default());
        assert!(names.insert(client(1), address(7), "www.tiktok.com", 20, 0));
        assert_eq!(name(&names, client(1), 7, 1).as_deref(), Some("www.tiktok.com"));
        assert_eq!(name(&names, client(2), 7, 1), None);
        assert_eq!(name(&names, client(1), 8, 1), None);
        assert!(names.insert(client(1), address(7), "www.example.com", 20, 1));
        assert_eq!(name(&names, client(1), 7, 2).as_deref(), Some("www.example.com"), "the latest counts");
        assert_eq!(names.len(), 1);
    }

    #[test]
    fn answers_without_a_client_serve_those_who_have_none_of_their_own() {
        let names = AddressNames::new(Limits::default());
        names.insert(None, address(7), "for.all", 20, 0);
        names.insert(client(1), address(7), "for.one", 20, 0);
        assert_eq!(name(&names, client(1), 7, 1).as_deref(), Some("for.one"));
        assert_eq!(name(&names, client(2), 7, 1).as_deref(), Some("for.all"));
        assert_eq!(name(&names, None, 7, 1).as_deref(), Some("for.all"));
    }

    #[test]
    fn names_live_between_the_limits() {
        let limits = Limits { ttl_min_s: 300, ttl_max_s: 3600, ..Limits::default() };
        let names = AddressNames::new(limits);
        names.insert(client(1), address(1), "short", 0, 5 * SECOND);
        names.insert(client(1), address(2), "long", u32::MAX, 5 * SECOND);
        assert!(name(&names, client(1), 1, 305 * SECOND - 1).is_some());
        assert!(name(&names, client(1), 1, 305 * SECOND).is_none());
        assert!(name(&names, client(1), 2, 3605 * SECOND - 1).is_some());
        assert!(name(&names, client(1), 2, 3605 * SECOND).is_none());
        names.insert(client(1), address(1), "late", u32::MAX, u64::MAX);
        assert_eq!(name(&names, client(1), 1, u64::MAX - 1).as_deref(), Some("late"));
    }

    #[test]
    fn a_full_map_refuses_until_something_expires() {
        let names = AddressNames::new(Limits { entries_max: 1, ..Limits::default() });
        for server in 1..=BUCKET_ENTRIES as u8 {
            assert!(names.insert(client(1), address(server), "a", 300, u64::from(server)));
        }
        assert!(!names.insert(client(1), address(100), "b", 300, 100));
        assert_eq!((names.len(), names.refused()), (BUCKET_ENTRIES, 1));
        assert!(names.insert(client(1), address(5), "renewed", 300, 300 * SECOND), "known ones are still renewed");
        assert!(names.insert(client(1), address(100), "b", 300, 300 * SECOND + 1), "the first has expired");
        assert!(!names.insert(client(1), address(101), "c", 300, 300 * SECOND + 1), "only the first");
        assert_eq!((names.len(), names.refused()), (BUCKET_ENTRIES, 2));
        assert_eq!(name(&names, client(1), 100, 301 * SECOND).as_deref(), Some("b"));
    }

    #[test]
    fn what_filters_answer_names_nobody() {
        let names = AddressNames::new(Limits::default());
        for blocked in ["0.0.0.0", "127.0.0.1", "::", "::1"] {
            assert!(!names.insert(client(1), blocked.parse().unwrap(), "tiktok.com", 60, 0));
        }
        assert!(names.is_empty() && names.refused() == 0);
    }

    #[test]
    fn addresses_of_an_answer_share_their_name() {
        let names = AddressNames::new(Limits::default());
        let answer = b"\x1a\x2b\x81\x80\0\x01\0\x02\0\0\0\0\x06TikTok\x03com\0\0\x01\0\x01\
            \xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04\xcb\0\x71\x01\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04\xcb\0\x71\x02";
        names.insert_answer(client(1), &dns::Message::parse(answer).unwrap(), 0);
        let first = names.lookup(client(1), address(1).into(), 1).unwrap();
        let second = names.lookup(client(1), address(2).into(), 1).unwrap();
        assert_eq!(&*first, "tiktok.com");
        assert!(Arc::ptr_eq(&first, &second));
    }

    #[test]
    fn many_entries_spread_over_the_buckets() {
        let names = AddressNames::new(Limits { entries_max: 32_768, ..Limits::default() });
        for server in 0..16_384_u32 {
            names.insert(client(1), IpAddr::from((0x0b00_0000 + server).to_be_bytes()), "a", 60, 0);
        }
        assert!(names.refused() < 40, "half full, {} refused", names.refused());
        assert_eq!(names.len() as u64 + names.refused(), 16_384);
    }
}
