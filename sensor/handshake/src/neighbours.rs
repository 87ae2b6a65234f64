//! Which IP addresses stand behind a link-layer address, so that a host that asks DNS over IPv4 and connects over IPv6, or
//! the other way round, is one client. Bounded, and shared by all workers.
//!
//! A router forwards the traffic of many hosts under its own link-layer address. So an address with more than one IPv4
//! address behind it, or more IPv6 addresses than a host uses, is a router's, and joins nothing. Whoever asks must make sure
//! that the packet at hand was sent by a host on the link: see [`is_initial_hop_limit`].

use std::hash::BuildHasher;
use std::sync::Mutex;

use arrayvec::ArrayVec;
use foldhash::quality::RandomState;
use vigie_decode::Address;

/// A link-layer address of Ethernet.
pub type MacAddress = [u8; 6];

/// IPv6 addresses of a host: link-local, stable, and the temporary ones of some days (RFC 8981 §3.4).
const V6_ADDRESSES_MAX: usize = 8;
/// Hosts of one bucket, of which the one that was silent longest is evicted.
const BUCKET_HOSTS: usize = 8;
/// A host that was silent for so long is forgotten: its addresses may be another's.
const SILENCE_MAX_NS: u64 = 3_600_000_000_000;

/// Whether a packet with this hop limit comes from its sender directly: those that systems begin with (64, 128 and 255) are
/// reduced by each router (RFC 1812 §5.3.1).
pub const fn is_initial_hop_limit(hop_limit: u8) -> bool {
    matches!(hop_limit, 64 | 128 | 255)
}

/// Whether a link-layer address can be that of one host: neither a group's (IEEE 802, the lowest bit of the first byte) nor
/// empty.
pub const fn is_of_one_host(mac: MacAddress) -> bool {
    mac[0] & 1 == 0 && !matches!(mac, [0, 0, 0, 0, 0, 0])
}

/// The hosts on the link that asked DNS.
#[derive(Debug)]
pub struct Neighbours<S: BuildHasher = RandomState> {
    buckets: Box<[Mutex<Bucket>]>,
    hasher: S,
}

type Bucket = Vec<Neighbour>;

#[derive(Debug)]
struct Neighbour {
    mac: MacAddress,
    is_router: bool,
    v4: Option<Address>,
    v6: ArrayVec<Address, V6_ADDRESSES_MAX>,
    last_seen_ns: u64,
}

impl<S: BuildHasher> Neighbours<S> {
    /// No hosts yet, and room for so many, rounded up to whole buckets of 8.
    pub fn new(hosts_max: usize, hasher: S) -> Self {
        let buckets = (0..hosts_max.div_ceil(BUCKET_HOSTS).max(1)).map(|_| Mutex::default()).collect();
        Self { buckets, hasher }
    }

    /// Notes that packets to an IP address go to this link-layer address. True if another host was evicted for it.
    pub fn insert(&self, mac: MacAddress, address: Address, now_ns: u64) -> bool {
        let Some(Ok(mut bucket)) = self.bucket(mac).map(Mutex::lock) else { return false };
        if let Some(known) = bucket.iter_mut().find(|known| known.mac == mac) {
            if now_ns.saturating_sub(known.last_seen_ns) > SILENCE_MAX_NS {
                *known = Neighbour::new(mac, now_ns);
            }
            known.add(address, now_ns);
            return false;
        }
        let mut neighbour = Neighbour::new(mac, now_ns);
        neighbour.add(address, now_ns);
        if bucket.len() < BUCKET_HOSTS {
            bucket.push(neighbour);
            return false;
        }
        if let Some(stalest) = bucket.iter_mut().min_by_key(|known| known.last_seen_ns) {
            *stalest = neighbour;
        }
        true
    }

    /// The other addresses of the host with this link-layer address.
    pub fn others(
        &self,
        mac: MacAddress,
        address: Address,
        now_ns: u64,
    ) -> ArrayVec<Address, { V6_ADDRESSES_MAX + 1 }> {
        let Some(Ok(bucket)) = self.bucket(mac).map(Mutex::lock) else { return ArrayVec::new() };
        let is_usable = |known: &&Neighbour| {
            known.mac == mac && !known.is_router && now_ns.saturating_sub(known.last_seen_ns) <= SILENCE_MAX_NS
        };
        let Some(known) = bucket.iter().find(is_usable) else { return ArrayVec::new() };
        // A second IPv4 address is another host's.
        let is_contradicted = is_v4(address) && known.v4.is_some_and(|v4| v4 != address);
        let all = known.v4.into_iter().chain(known.v6.iter().copied()).filter(|_| !is_contradicted);
        all.filter(|&other| other != address).collect()
    }

    fn bucket(&self, mac: MacAddress) -> Option<&Mutex<Bucket>> {
        let hash = self.hasher.hash_one(mac);
        // The high half of the product spreads the hash evenly without a division.
        self.buckets.get(((u128::from(hash) * self.buckets.len() as u128) >> 64) as usize)
    }
}

impl Neighbour {
    fn new(mac: MacAddress, now_ns: u64) -> Self {
        Self { mac, is_router: false, v4: None, v6: ArrayVec::new(), last_seen_ns: now_ns }
    }

    fn add(&mut self, address: Address, now_ns: u64) {
        self.last_seen_ns = self.last_seen_ns.max(now_ns);
        if is_v4(address) {
            self.is_router |= *self.v4.get_or_insert(address) != address;
        } else if !self.v6.contains(&address) {
            self.is_router |= self.v6.try_push(address).is_err();
        }
    }
}

const fn is_v4(address: Address) -> bool {
    address.ip().is_ipv4()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: MacAddress = [2, 0, 0, 0, 0, 1];
    const SECOND: u64 = 1_000_000_000;

    fn v4(last: u8) -> Address {
        Address::v4([10, 1, 2, last])
    }

    fn v6(last: u8) -> Address {
        let mut bytes = [0; 16];
        (bytes[0], bytes[1], bytes[15]) = (0x20, 1, last);
        Address::v6(bytes)
    }

    fn hosts() -> Neighbours {
        Neighbours::new(64, RandomState::default())
    }

    #[test]
    fn addresses_of_one_host_are_joined() {
        let hosts = hosts();
        assert!(hosts.others(MAC, v6(1), 0).is_empty());
        hosts.insert(MAC, v4(3), 0);
        hosts.insert(MAC, v6(1), 0);
        hosts.insert(MAC, v6(1), 0);
        assert_eq!(hosts.others(MAC, v6(2), 1).as_slice(), [v4(3), v6(1)]);
        assert_eq!(hosts.others(MAC, v4(3), 1).as_slice(), [v6(1)]);
        assert!(hosts.others([2, 0, 0, 0, 0, 2], v6(2), 1).is_empty());
        assert!(hosts.others(MAC, v4(4), 1).is_empty(), "a second IPv4 address is another host's");
        assert!(hosts.others(MAC, v6(2), SILENCE_MAX_NS + SECOND).is_empty(), "it was silent too long");
    }

    #[test]
    fn a_router_joins_nothing() {
        let hosts = hosts();
        hosts.insert(MAC, v4(3), 0);
        hosts.insert(MAC, v4(4), 0);
        assert!(hosts.others(MAC, v6(1), 1).is_empty());
        let other = [2, 0, 0, 0, 0, 2];
        assert!(!(1..=V6_ADDRESSES_MAX as u8).any(|last| hosts.insert(other, v6(last), 0)));
        assert_eq!(hosts.others(other, v4(3), 1).len(), V6_ADDRESSES_MAX);
        hosts.insert(other, v6(99), 0);
        assert!(hosts.others(other, v4(3), 1).is_empty());
        hosts.insert(MAC, v4(5), 2 * SILENCE_MAX_NS);
        assert_eq!(
            hosts.others(MAC, v6(1), 2 * SILENCE_MAX_NS).as_slice(),
            [v4(5)],
            "after a long silence it begins anew"
        );
    }

    #[test]
    fn hosts_are_bounded() {
        let hosts = Neighbours::new(BUCKET_HOSTS, RandomState::default());
        let insert = |last: u8| hosts.insert([2, 0, 0, 0, 0, last], v4(last), u64::from(last));
        assert!(!(0..BUCKET_HOSTS as u8).any(insert));
        assert!(insert(BUCKET_HOSTS as u8));
        assert!(hosts.others([2, 0, 0, 0, 0, 0], v6(1), 9).is_empty(), "the stalest was evicted");
        assert_eq!(hosts.others([2, 0, 0, 0, 0, 1], v6(1), 9).as_slice(), [v4(1)]);
    }

    #[test]
    fn routers_reduce_hop_limits_and_groups_are_no_hosts() {
        assert!([64, 128, 255].into_iter().all(is_initial_hop_limit));
        assert!(![0, 1, 63, 127, 254].into_iter().any(is_initial_hop_limit));
        assert!(is_of_one_host(MAC));
        assert!(!is_of_one_host([1, 0, 0x5e, 0, 0, 0xfb]) && !is_of_one_host([0; 6]) && !is_of_one_host([0xff; 6]));
    }
}
