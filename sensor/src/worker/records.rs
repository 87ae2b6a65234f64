//! Flow records: for the flows that need more than an entry in the table, which are those under inspection and those that
//! raised an alert. The number of records is bounded; when all are in use, the stalest is evicted.

use std::sync::Arc;

use arrayvec::ArrayVec;
use vigie_signatures::Rule;

use super::flows::{CLIENT_IS_HIGH, NAMED, SETTLED};

use crate::event::Hello;
use vigie_decode::{Address, Encapsulation, Tunnel, VLANS_MAX};
use vigie_flow::memory::{prefer_huge_pages, prefetch_whole};
use vigie_flow::{FlowEntry, FlowTable, Slot};
use vigie_handshake::http::HttpConnection;
use vigie_handshake::opening::Opening;
use vigie_handshake::tcp::{SplitHello, TcpInspector};
use vigie_handshake::udp::UdpInspector;

/// Records that a search for the stalest compares.
const CANDIDATES: usize = 16;

/// Tunnels that new flows can share.
const RECENT_TUNNELS: usize = 8;

/// A connection without payload counts as this much staler than it is. So a SYN flood evicts its own connections first,
/// and otherwise only what has been silent.
const OPENING_PENALTY_NS: i64 = 30_000_000_000;

/// A flow whose server has sent nothing counts as this much staler than it is, and twice as much if no hello has begun in it:
/// anybody can forge packets, but not the answers of others.
const ONE_WAY_PENALTY_NS: i64 = 15_000_000_000;

/// A flow whose name was reported counts as this much staler than it is: more than any that has yet to show one.
const NAMED_PENALTY_NS: i64 = 120_000_000_000;

/// A client may have so many of the records that a search compares; more of them count as staler.
const SHARE_MAX: usize = 4;
const CLIENT_PENALTY_NS: i64 = 60_000_000_000;

/// The inspection of a flow's payload.
#[derive(Debug, Default)]
pub enum Inspection {
    /// Not begun, or done.
    #[default]
    None,
    /// A TCP connection is open, but had no payload yet.
    Opening(Opening),
    /// Of a TCP connection no more came than parts of a hello in order.
    SplitHello(Box<SplitHello>),
    /// TCP.
    Tcp(Box<TcpInspector>),
    /// HTTP after its first request.
    Http(Box<HttpConnection>),
    /// UDP.
    Udp(Box<UdpInspector>),
}

impl Inspection {
    /// Whether a part of a hello may have come that was not reported.
    pub fn has_partial_hello(&self) -> bool {
        match self {
            Self::None | Self::Opening(_) | Self::Http(_) => false,
            Self::SplitHello(split) => split.has_partial_hello(),
            Self::Tcp(inspector) => inspector.has_partial_hello(),
            Self::Udp(inspector) => inspector.may_have_hello(),
        }
    }

    /// How a TCP connection was opened, if that is known and still of use.
    pub fn opening_mut(&mut self) -> Option<&mut Opening> {
        match self {
            Self::Opening(opening) => Some(opening),
            Self::SplitHello(split) => split.opening_mut(),
            Self::Tcp(inspector) => inspector.opening_mut(),
            Self::Http(http) => http.opening_mut(),
            Self::None | Self::Udp(_) => None,
        }
    }

    /// Bytes of memory that the parts of a hello hold.
    #[inline]
    pub fn split_bytes(&self) -> usize {
        if let Self::SplitHello(split) = self { split.memory_bytes() } else { 0 }
    }

    /// Bytes of memory that it holds.
    #[cfg(debug_assertions)]
    fn memory_bytes(&self) -> usize {
        match self {
            Self::None | Self::Opening(_) => 0,
            Self::SplitHello(split) => split.memory_bytes(),
            Self::Tcp(inspector) => inspector.memory_bytes(),
            Self::Http(http) => http.memory_bytes(),
            Self::Udp(inspector) => inspector.memory_bytes(),
        }
    }

    /// Prefetches its state, which is in a box.
    #[inline]
    fn prefetch(&self) {
        match self {
            Self::None | Self::Opening(_) => {}
            Self::SplitHello(split) => prefetch_whole(std::slice::from_ref(&**split), 0),
            Self::Tcp(inspector) => prefetch_whole(std::slice::from_ref(&**inspector), 0),
            Self::Http(http) => prefetch_whole(std::slice::from_ref(&**http), 0),
            Self::Udp(inspector) => prefetch_whole(std::slice::from_ref(&**inspector), 0),
        }
    }

    /// Whether bytes are held.
    const fn holds_bytes(&self) -> bool {
        matches!(self, Self::SplitHello(_) | Self::Tcp(_) | Self::Http(_) | Self::Udp(_))
    }

    /// Whether a hello has begun.
    fn has_begun(&self) -> bool {
        match self {
            Self::Udp(inspector) => inspector.has_begun(),
            _ => self.has_partial_hello(),
        }
    }
}

/// An [`Encapsulation`] in less memory. Flows in the same tunnel share it.
#[derive(Clone, Debug)]
pub struct StoredEncapsulation {
    vlans: [u16; VLANS_MAX],
    vlan_count: u8,
    tunnel_depth: u8,
    network: u32,
    tunnel: Option<Arc<Tunnel>>,
}

impl From<&StoredEncapsulation> for Encapsulation {
    fn from(stored: &StoredEncapsulation) -> Self {
        Self {
            vlans: stored.vlans,
            vlan_count: stored.vlan_count,
            tunnel_depth: stored.tunnel_depth,
            tunnel: stored.tunnel.as_deref().copied(),
            network: stored.network,
        }
    }
}

/// The tunnels of recent flows, in which the next flows are likely to come.
#[derive(Debug, Default)]
pub struct RecentTunnels {
    tunnels: [Option<Arc<Tunnel>>; RECENT_TUNNELS],
    oldest: usize,
}

impl RecentTunnels {
    /// The encapsulation, stored.
    #[inline]
    pub fn store(&mut self, encapsulation: Encapsulation) -> StoredEncapsulation {
        let Encapsulation { vlans, vlan_count, tunnel_depth, tunnel, network } = encapsulation;
        let tunnel = tunnel.map(|tunnel| self.share(tunnel));
        StoredEncapsulation { vlans, vlan_count, tunnel_depth, network, tunnel }
    }

    /// The tunnel, shared with recent flows in an equal one.
    #[cold]
    fn share(&mut self, tunnel: Tunnel) -> Arc<Tunnel> {
        if let Some(known) = self.tunnels.iter().flatten().find(|known| ***known == tunnel) {
            return Arc::clone(known);
        }
        let tunnel = Arc::new(tunnel);
        if let Some(place) = self.tunnels.get_mut(self.oldest) {
            *place = Some(Arc::clone(&tunnel));
        }
        self.oldest = (self.oldest + 1) % RECENT_TUNNELS;
        tunnel
    }
}

/// The record of a flow.
#[derive(Debug)]
pub struct FlowRecord {
    /// The flow's slot in the table.
    pub slot: Slot,
    /// Time of the first packet.
    pub first_seen_ns: u64,
    /// Time of the last packet.
    pub last_seen_ns: u64,
    /// Frame number of the last packet.
    pub last_frame: u64,
    /// Interface of the first packet.
    pub interface: u16,
    /// Half of the hash of the last name that was reported of a TCP flow; 0 for none.
    pub reported_name: u16,
    /// Encapsulation of the first packet.
    pub encapsulation: StoredEncapsulation,
    /// Packets and bytes of the low and the high end, moved here before the packed counts of the table overflowed.
    pub earlier_counts: Option<Box<[(u64, u64); 2]>>,
    /// The inspection of the payload.
    pub inspection: Inspection,
    /// A hello without a usable name, while the server's certificate is awaited.
    pub hello: Option<Box<Hello>>,
    /// The rule under which the flow was sighted.
    pub sighted: Option<Arc<Rule>>,
}

const _: () = assert!(size_of::<FlowRecord>() <= 104 && size_of::<Option<FlowRecord>>() <= 104);

impl FlowRecord {
    /// Whether both ends sent packets that are in the earlier counts.
    pub fn had_both_directions(&self) -> bool {
        self.earlier_counts.as_deref().is_some_and(|[low, high]| low.0 > 0 && high.0 > 0)
    }
}

/// The flow records of one worker. The table stores the id of a flow's record: its place plus one, 0 for none.
#[derive(Debug)]
pub struct Records {
    records: Vec<Option<FlowRecord>>,
    /// Ids that can be used again.
    free: Vec<u32>,
    records_max: usize,
    /// Where the next search for the stalest begins.
    clock_hand: usize,
    /// Tunnels that the records share.
    pub tunnels: RecentTunnels,
}

/// The result of [`Records::insert`], with the id of the new record.
#[derive(Debug)]
pub enum Insertion {
    /// The record is added.
    Added(u32),
    /// The record is added, and this other one was evicted for it.
    Evicted(u32, Box<FlowRecord>),
    /// No record could be evicted.
    Full,
}

impl Records {
    /// Room for `records_max` records. This reserves addresses; memory is taken as it is needed.
    pub fn new(records_max: usize) -> Self {
        let mut records = Vec::with_capacity(records_max);
        prefer_huge_pages(records.spare_capacity_mut());
        Self { records, free: Vec::new(), records_max, clock_hand: 0, tunnels: RecentTunnels::default() }
    }

    /// The record of an id, to be changed.
    #[inline]
    pub fn get_mut(&mut self, id: u32) -> Option<&mut FlowRecord> {
        self.records.get_mut((id as usize).checked_sub(1)?)?.as_mut()
    }

    /// The record of an id.
    pub fn get(&self, id: u32) -> Option<&FlowRecord> {
        self.records.get((id as usize).checked_sub(1)?)?.as_ref()
    }

    /// The records of flows that were sighted.
    pub fn sighted(&self) -> impl Iterator<Item = &FlowRecord> {
        self.records.iter().flatten().filter(|record| record.sighted.is_some())
    }

    /// Bytes that the inspections of all records hold together.
    #[cfg(debug_assertions)]
    pub fn inspected_bytes(&self) -> usize {
        self.records.iter().flatten().map(|record| record.inspection.memory_bytes()).sum()
    }

    /// Prefetches a record.
    #[inline]
    pub fn prefetch(&self, id: u32) {
        prefetch_whole(&self.records, (id as usize).wrapping_sub(1));
    }

    /// Adds a record.
    #[inline]
    pub fn insert(&mut self, record: FlowRecord, table: &FlowTable) -> Insertion {
        let mut evicted = None;
        let id = match self.free.pop() {
            Some(id) => id,
            None if self.records.len() < self.records_max => {
                self.records.push(None);
                self.records.len() as u32
            }
            None => {
                let Some(id) = self.stalest(table, |_| true).pop() else { return Insertion::Full };
                evicted = self.remove(id).map(Box::new);
                self.free.pop();
                id
            }
        };
        let Some(place) = self.records.get_mut((id as usize).wrapping_sub(1)) else { return Insertion::Full };
        *place = Some(record);
        evicted.map_or(Insertion::Added(id), |evicted| Insertion::Evicted(id, evicted))
    }

    /// Removes a record.
    pub fn remove(&mut self, id: u32) -> Option<FlowRecord> {
        let record = self.records.get_mut((id as usize).checked_sub(1)?)?.take();
        if record.is_some() {
            self.free.push(id);
        }
        record
    }

    /// The clock that stamps the packets was set by so many nanoseconds.
    pub fn clock_was_set(&mut self, by_ns: i64) {
        for record in self.records.iter_mut().flatten() {
            record.last_seen_ns = record.last_seen_ns.saturating_add_signed(by_ns);
        }
    }

    /// Removes a record, and gives back its inspection only.
    pub fn discard(&mut self, id: u32) -> Inspection {
        let Some(place) = (id as usize).checked_sub(1).and_then(|place| self.records.get_mut(place)) else {
            return Inspection::None;
        };
        let inspection = place.as_mut().map(|record| std::mem::take(&mut record.inspection));
        if inspection.is_some() {
            *place = None;
            self.free.push(id);
        }
        inspection.unwrap_or_default()
    }

    /// Records that may be given up and whose inspection holds bytes, as [`stalest`](Self::stalest) gives them.
    pub fn stalest_with_bytes(&mut self, table: &FlowTable) -> Stalest {
        self.stalest(table, |record| record.inspection.holds_bytes())
    }

    /// The next [`CANDIDATES`] records that may be given up. The stalest is the one which is longest without a packet, where what a
    /// flood looks like counts as staler. Those of sighted flows are among them, or a flood of such flows would leave no room for
    /// others.
    #[cold]
    fn stalest(&mut self, table: &FlowTable, may_evict: impl Fn(&FlowRecord) -> bool) -> Stalest {
        let mut places: ArrayVec<usize, CANDIDATES> = ArrayVec::new();
        for _ in 0..self.records.len().min(CANDIDATES * 64) {
            if places.is_full() {
                break;
            }
            let place = self.clock_hand;
            self.clock_hand = if place + 1 < self.records.len() { place + 1 } else { 0 };
            if let Some(Some(record)) = self.records.get(place)
                && may_evict(record)
            {
                // Entries and inspectors are scattered over memory: they come together.
                table.prefetch(record.slot);
                record.inspection.prefetch();
                places.push(place);
            }
        }
        let candidate = |&place: &usize| {
            let record = self.records.get(place).and_then(Option::as_ref)?;
            Some(Candidate::new(place, record, table))
        };
        let candidates: ArrayVec<Candidate, CANDIDATES> = places.iter().filter_map(candidate).collect();
        // Nearly all clients differ, which short hashes tell without a comparison of addresses.
        let hashes: ArrayVec<u32, CANDIDATES> = candidates.iter().map(|candidate| fold(candidate.client)).collect();
        let of_client = |client: Address| {
            let hash = fold(client);
            let alike: u32 = hashes.iter().map(|&other| u32::from(other == hash)).sum();
            match alike as usize > SHARE_MAX {
                true => candidates.iter().filter(|other| other.client == client).count(),
                false => 1,
            }
        };
        let staleness = |candidate: &Candidate| {
            let penalty_ns = if of_client(candidate.client) > SHARE_MAX { CLIENT_PENALTY_NS } else { 0 };
            (candidate.as_if_seen_ns.saturating_sub(penalty_ns), candidate.place as u32 + 1)
        };
        Stalest(candidates.iter().map(staleness).collect())
    }
}

/// Records that may be given up: when the last packet of each came, as if, and its id.
#[derive(Debug)]
pub struct Stalest(ArrayVec<(i64, u32), CANDIDATES>);

impl Stalest {
    /// Takes out the stalest. Few are taken of all: that costs less than to sort them.
    pub fn pop(&mut self) -> Option<u32> {
        let (place, _) = self.0.iter().enumerate().min_by_key(|(_, candidate)| **candidate)?;
        self.0.swap_pop(place).map(|(_, id)| id)
    }
}

/// The same for equal addresses, and hardly ever for others.
const fn fold(address: Address) -> u32 {
    let half = (address.0 >> 64) as u64 ^ address.0 as u64;
    (half >> 32) as u32 ^ half as u32
}

/// An inspection that held `before` bytes holds `now`.
pub const fn remeasure(inspection_bytes: &mut usize, before: usize, now: usize) {
    *inspection_bytes = (*inspection_bytes + now).saturating_sub(before);
}

/// A record that may be given up.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    place: usize,
    client: Address,
    /// When its last packet came, or earlier if it looks like a flood.
    as_if_seen_ns: i64,
}

impl Candidate {
    fn new(place: usize, record: &FlowRecord, table: &FlowTable) -> Self {
        let Some(entry) = table.get(record.slot) else { return Self { place, client: Address(0), as_if_seen_ns: 0 } };
        let key = entry.key();
        let client = if entry.marks & CLIENT_IS_HIGH != 0 { key.high } else { key.low };
        let is_both_ways = record.earlier_counts.is_some()
            || [entry.from_low, entry.from_high].into_iter().all(|counter| FlowEntry::counted(counter).0 > 0);
        let penalty_ns = match &record.inspection {
            // Nothing of it is inspected any more: as a flow in progress of which one side is seen, the older one goes.
            Inspection::None => ONE_WAY_PENALTY_NS,
            // The name was reported; only another version of it is looked for.
            _ if entry.marks & (SETTLED | NAMED) != 0 => NAMED_PENALTY_NS,
            Inspection::Opening(_) => OPENING_PENALTY_NS,
            inspection if !inspection.has_begun() => ONE_WAY_PENALTY_NS * 2,
            _ if !is_both_ways => ONE_WAY_PENALTY_NS,
            _ => 0,
        };
        let last_seen_ns = i64::try_from(record.last_seen_ns).unwrap_or(i64::MAX);
        Self { place, client, as_if_seen_ns: last_seen_ns.saturating_sub(penalty_ns) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vigie_decode::{Address, TunnelKind};

    fn tunnelled(source: Option<Address>, destination: Option<Address>) -> Encapsulation {
        let tunnel = Some(Tunnel { kind: TunnelKind::Vxlan, source, destination });
        Encapsulation { vlans: [100, 7, 0], vlan_count: 2, tunnel_depth: 1, tunnel, network: 42 }
    }

    #[test]
    fn a_stored_encapsulation_is_read_back_unchanged() {
        let (near, far) = (Address::v4([192, 0, 2, 1]), Address::v6([0x20; 16]));
        let cases = [
            Encapsulation::default(),
            tunnelled(Some(near), Some(far)),
            tunnelled(None, Some(near)),
            tunnelled(Some(far), None),
            tunnelled(None, None),
        ];
        let mut tunnels = RecentTunnels::default();
        for encapsulation in cases.iter().cycle().take(20) {
            assert_eq!(Encapsulation::from(&tunnels.store(*encapsulation)), *encapsulation);
        }
    }

    #[test]
    fn flows_in_equal_tunnels_share_one() {
        let mut tunnels = RecentTunnels::default();
        let far = |number: usize| tunnelled(None, Some(Address::v4([10, 0, 0, number as u8])));
        let stored: Vec<_> = (0..100).map(|flow| tunnels.store(far(flow % RECENT_TUNNELS))).collect();
        let first = stored[0].tunnel.as_ref().unwrap();
        assert_eq!(Arc::strong_count(first), 1 + stored.len().div_ceil(RECENT_TUNNELS));
        // Newer tunnels replace it.
        (0..RECENT_TUNNELS).for_each(|other| drop(tunnels.store(far(100 + other))));
        assert!(!Arc::ptr_eq(first, tunnels.store(far(0)).tunnel.as_ref().unwrap()));
    }
}
