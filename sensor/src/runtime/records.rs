//! Records of the flows that are worth more than a line in the table: handshakes being followed, and flows that
//! matched. A slab of bounded size; when it is full the stalest record gives way.

use std::sync::Arc;

use vigie_signatures::Rule;

use crate::alert::Hello;
use crate::decode::Envelope;
use crate::flow::{FlowKey, Side, Slot};
use crate::handshake::tcp::TcpDialogue;
use crate::handshake::udp::UdpDialogue;

/// How many records a search for the stalest looks at.
const CANDIDATES: usize = 16;

/// By how much a connection on which nothing was said counts as longer without a packet than it is. So a flood of
/// openings displaces itself, and openings displace only what fell silent.
const UNSAID_HANDICAP_NS: u64 = 30_000_000_000;

/// What is being followed on a flow.
#[derive(Debug, Default)]
pub enum Dialogue {
    /// Nothing (any more).
    #[default]
    Over,
    /// Nothing was said yet: a TCP connection that is being opened; the sequence number of its first byte.
    Opening(Side, u32),
    /// TCP.
    Tcp(Box<TcpDialogue>),
    /// UDP.
    Udp(Box<UdpDialogue>),
}

/// A flow under observation.
#[derive(Debug)]
pub struct Record {
    /// Where the flow stands in the table.
    pub slot: Slot,
    /// What tells the flow.
    pub key: FlowKey,
    /// First packet.
    pub first_seen_ns: u64,
    /// Last packet.
    pub last_seen_ns: u64,
    /// Last packet's frame.
    pub last_frame: u64,
    /// Interface of the first packet.
    pub interface: u16,
    /// What stood around the first packet.
    pub envelope: Envelope,
    /// Packets and bytes taken over from the table's small counters: low end, high end.
    pub spilled: [(u64, u64); 2],
    /// Handshake under way.
    pub dialogue: Dialogue,
    /// A hello that named nobody, while the server's certificate is awaited.
    pub nameless: Option<Box<Hello>>,
    /// The rule that the flow matched and alerted under.
    pub rule: Option<Arc<Rule>>,
}

/// The records of one worker.
#[derive(Debug)]
pub struct Records {
    records: Vec<Option<Record>>,
    free: Vec<u32>,
    records_max: usize,
    hand: usize,
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
        Self { records: Vec::with_capacity(records_max), free: Vec::new(), records_max, hand: 0 }
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

    /// Adds a record.
    pub fn add(&mut self, record: Record) -> Placed {
        if let Some(number) = self.free.pop() {
            self.put(number, record);
            return Placed::At(number);
        }
        if self.records.len() < self.records_max {
            self.records.push(Some(record));
            return Placed::At(self.records.len() as u32);
        }
        let Some(number) = self.stalest(|_| true) else { return Placed::Full };
        match self.remove(number) {
            Some(old) => {
                self.free.pop();
                self.put(number, record);
                Placed::Instead(number, Box::new(old))
            }
            None => Placed::Full,
        }
    }

    fn put(&mut self, number: u32, record: Record) {
        if let Some(place) = self.records.get_mut((number as usize).wrapping_sub(1)) {
            *place = Some(record);
        }
    }

    /// Takes a record out.
    pub fn remove(&mut self, number: u32) -> Option<Record> {
        let record = self.records.get_mut((number as usize).checked_sub(1)?)?.take();
        if record.is_some() {
            self.free.push(number);
        }
        record
    }

    /// The stalest of the records whose dialogue holds bytes.
    pub fn stalest_holder(&mut self) -> Option<u32> {
        self.stalest(|record| matches!(record.dialogue, Dialogue::Tcp(_) | Dialogue::Udp(_)))
    }

    /// Among the next records in turn that may go, the one longest without a packet, where a connection on which nothing
    /// was said counts as stale early. Flows that matched go too when they are the stalest, or a flood of matches would
    /// leave no room for what comes after.
    fn stalest(&mut self, may_go: impl Fn(&Record) -> bool) -> Option<u32> {
        let length = self.records.len();
        let mut best: Option<(u64, usize)> = None;
        for step in 0..length {
            if step >= CANDIDATES && best.is_some() || step >= CANDIDATES * 64 {
                break;
            }
            let place = (self.hand + step) % length;
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
        self.hand = (self.hand + CANDIDATES) % length.max(1);
        best.map(|(_, place)| place as u32 + 1)
    }
}
