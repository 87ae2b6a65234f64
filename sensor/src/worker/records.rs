//! Records of the flows that are worth more than a line in the table: handshakes being followed, and flows that
//! matched. A slab of bounded size; when it is full the stalest record gives way.

use std::sync::Arc;

use vigie_signatures::Rule;

use crate::event::Hello;
use vigie_decode::{Encapsulation, Tunnel, VLANS_MAX};
use vigie_flow::memory::{prefer_huge_pages, prefetch_whole};
use vigie_flow::{Side, Slot};
use vigie_handshake::tcp::TcpInspector;
use vigie_handshake::udp::UdpInspector;

/// How many records a search for the stalest looks at.
const CANDIDATES: usize = 16;

/// How many tunnels are shared by the flows in them.
const RECENT_TUNNELS: usize = 8;

/// By how much a connection on which nothing was said counts as longer without a packet than it is. So a flood of
/// openings displaces itself, and openings displace only what fell silent.
const UNSAID_HANDICAP_NS: u64 = 30_000_000_000;

/// What is being followed on a flow.
#[derive(Debug, Default)]
pub enum Dialogue {
    /// Nothing (any more).
    #[default]
    Over,
    /// Nothing was said yet: a TCP connection that is being opened; the sequence number of its first byte, and of the first of
    /// the answer if the opening was answered.
    Opening(Side, u32, Option<u32>),
    /// TCP.
    Tcp(Box<TcpInspector>),
    /// UDP.
    Udp(Box<UdpInspector>),
}

impl Dialogue {
    /// Whether a part of a hello may have come that was not told.
    pub fn has_partial_hello(&self) -> bool {
        match self {
            Self::Over | Self::Opening(..) => false,
            Self::Tcp(dialogue) => dialogue.has_partial_hello(),
            Self::Udp(dialogue) => dialogue.has_partial_hello(),
        }
    }
}

/// An encapsulation in less room: for as long as the flow is followed.
#[derive(Clone, Debug)]
pub struct StoredEncapsulation {
    vlans: [u16; VLANS_MAX],
    vlan_count: u8,
    tunnel_depth: u8,
    network: u32,
    /// Few flows are tunnelled, or all in the same few tunnels.
    tunnel: Option<Arc<Tunnel>>,
}

impl From<&StoredEncapsulation> for Encapsulation {
    fn from(kept: &StoredEncapsulation) -> Self {
        Self {
            vlans: kept.vlans,
            vlan_count: kept.vlan_count,
            tunnel_depth: kept.tunnel_depth,
            tunnel: kept.tunnel.as_deref().copied(),
            network: kept.network,
        }
    }
}

/// The tunnels of the flows last opened, which the next are likely to come in.
#[derive(Debug, Default)]
pub struct Tunnels {
    recent: [Option<Arc<Tunnel>>; RECENT_TUNNELS],
    oldest: usize,
}

impl Tunnels {
    /// The same tunnel, with those before that are equal.
    #[cold]
    fn kept(&mut self, tunnel: Tunnel) -> Arc<Tunnel> {
        if let Some(known) = self.recent.iter().flatten().find(|known| ***known == tunnel) {
            return Arc::clone(known);
        }
        let tunnel = Arc::new(tunnel);
        if let Some(place) = self.recent.get_mut(self.oldest) {
            *place = Some(Arc::clone(&tunnel));
        }
        self.oldest = (self.oldest + 1) % RECENT_TUNNELS;
        tunnel
    }

    /// An encapsulation, to be kept.
    #[inline]
    pub fn encapsulation(&mut self, encapsulation: Encapsulation) -> StoredEncapsulation {
        let Encapsulation { vlans, vlan_count, tunnel_depth, tunnel, network } = encapsulation;
        let tunnel = tunnel.map(|tunnel| self.kept(tunnel));
        StoredEncapsulation { vlans, vlan_count, tunnel_depth, network, tunnel }
    }
}

/// A flow under observation.
#[derive(Debug)]
pub struct Record {
    /// Where the flow stands in the table.
    pub slot: Slot,
    /// First packet.
    pub first_seen_ns: u64,
    /// Last packet.
    pub last_seen_ns: u64,
    /// Last packet's frame.
    pub last_frame: u64,
    /// Interface of the first packet.
    pub interface: u16,
    /// What stood around the first packet.
    pub encapsulation: StoredEncapsulation,
    /// Packets and bytes taken over from the table's small counters, of the few flows that filled them: low end, high end.
    pub spilled: Option<Box<[(u64, u64); 2]>>,
    /// Handshake under way.
    pub dialogue: Dialogue,
    /// A hello that named nobody, while the server's certificate is awaited.
    pub nameless: Option<Box<Hello>>,
    /// The rule that the flow matched and alerted under.
    pub rule: Option<Arc<Rule>>,
}

const _: () = assert!(size_of::<Record>() <= 96 && size_of::<Option<Record>>() <= 96);

/// The records of one worker.
#[derive(Debug)]
pub struct Records {
    records: Vec<Option<Record>>,
    free: Vec<u32>,
    records_max: usize,
    hand: usize,
    /// What the records' encapsulations share.
    pub tunnels: Tunnels,
}

/// What became of a wish for a record.
#[derive(Debug)]
pub enum Placed {
    /// It stands at this number.
    At(u32),
    /// It stands at this number, where the stalest record had to go.
    Instead(u32, Box<Record>),
    /// No record could give way.
    Full,
}

impl Records {
    /// Room for `records_max` records: addresses, for which memory is taken as it is needed.
    pub fn new(records_max: usize) -> Self {
        let mut records = Vec::with_capacity(records_max);
        prefer_huge_pages(records.spare_capacity_mut());
        Self { records, free: Vec::new(), records_max, hand: 0, tunnels: Tunnels::default() }
    }

    /// The record at a number, as the table keeps it: one above the place, 0 for none.
    #[inline]
    pub fn get_mut(&mut self, number: u32) -> Option<&mut Record> {
        self.records.get_mut((number as usize).checked_sub(1)?)?.as_mut()
    }

    /// The record at a number.
    pub fn get(&self, number: u32) -> Option<&Record> {
        self.records.get((number as usize).checked_sub(1)?)?.as_ref()
    }

    /// Has a record fetched that is wanted soon.
    #[inline]
    pub fn fetch(&self, number: u32) {
        let place = (number as usize).wrapping_sub(1);
        prefetch_whole(&self.records, place);
    }

    /// Adds a record.
    #[inline]
    pub fn add(&mut self, record: Record) -> Placed {
        let mut old = None;
        let number = match self.free.pop() {
            Some(number) => number,
            None if self.records.len() < self.records_max => {
                self.records.push(None);
                self.records.len() as u32
            }
            None => {
                let Some(number) = self.stalest(|_| true) else { return Placed::Full };
                old = self.remove(number).map(Box::new);
                self.free.pop();
                number
            }
        };
        let Some(place) = self.records.get_mut((number as usize).wrapping_sub(1)) else { return Placed::Full };
        *place = Some(record);
        old.map_or(Placed::At(number), |old| Placed::Instead(number, old))
    }

    /// Takes a record out.
    pub fn remove(&mut self, number: u32) -> Option<Record> {
        let record = self.records.get_mut((number as usize).checked_sub(1)?)?.take();
        if record.is_some() {
            self.free.push(number);
        }
        record
    }

    /// Drops a record; what was being followed comes back.
    pub fn discard(&mut self, number: u32) -> Dialogue {
        let Some(place) = (number as usize).checked_sub(1).and_then(|place| self.records.get_mut(place)) else {
            return Dialogue::Over;
        };
        let dialogue = place.as_mut().map(|record| std::mem::take(&mut record.dialogue));
        if dialogue.is_some() {
            *place = None;
            self.free.push(number);
        }
        dialogue.unwrap_or_default()
    }

    /// The stalest of the records whose dialogue holds bytes.
    pub fn stalest_holder(&mut self) -> Option<u32> {
        self.stalest(|record| matches!(record.dialogue, Dialogue::Tcp(_) | Dialogue::Udp(_)))
    }

    /// Among the next records in turn that may go, the one longest without a packet, where a connection on which nothing
    /// was said counts as stale early. Flows that matched go too when they are the stalest, or a flood of matches would
    /// leave no room for what comes after.
    #[cold]
    fn stalest(&mut self, may_go: impl Fn(&Record) -> bool) -> Option<u32> {
        let mut best: Option<(u64, usize)> = None;
        for step in 0..self.records.len().min(CANDIDATES * 64) {
            if step >= CANDIDATES && best.is_some() {
                break;
            }
            let place = self.hand;
            self.hand = if place + 1 < self.records.len() { place + 1 } else { 0 };
            let Some(Some(record)) = self.records.get(place) else { continue };
            if !may_go(record) {
                continue;
            }
            let handicap_ns = if matches!(record.dialogue, Dialogue::Opening(..)) { UNSAID_HANDICAP_NS } else { 0 };
            let candidate = (record.last_seen_ns.saturating_sub(handicap_ns), place);
            if best.is_none_or(|best| candidate < best) {
                best = Some(candidate);
            }
        }
        best.map(|(_, place)| place as u32 + 1)
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
    fn an_envelope_comes_back_as_it_was_kept() {
        let (near, far) = (Address::v4([192, 0, 2, 1]), Address::v6([0x20; 16]));
        let cases = [
            Encapsulation::default(),
            tunnelled(Some(near), Some(far)),
            tunnelled(None, Some(near)),
            tunnelled(Some(far), None),
            tunnelled(None, None),
        ];
        let mut tunnels = Tunnels::default();
        for encapsulation in cases.iter().cycle().take(20) {
            assert_eq!(Encapsulation::from(&tunnels.encapsulation(*encapsulation)), *encapsulation);
        }
    }

    #[test]
    fn flows_of_one_tunnel_share_it() {
        let mut tunnels = Tunnels::default();
        let far = |number: usize| tunnelled(None, Some(Address::v4([10, 0, 0, number as u8])));
        let kept: Vec<_> = (0..100).map(|flow| tunnels.encapsulation(far(flow % RECENT_TUNNELS))).collect();
        let first = kept[0].tunnel.as_ref().unwrap();
        assert_eq!(Arc::strong_count(first), 1 + kept.len().div_ceil(RECENT_TUNNELS));
        // Others displace it.
        (0..RECENT_TUNNELS).for_each(|other| drop(tunnels.encapsulation(far(100 + other))));
        assert!(!Arc::ptr_eq(first, tunnels.encapsulation(far(0)).tunnel.as_ref().unwrap()));
    }
}
