//! The logs of other tools: lines of Suricata, of Zeek or plain JSON go in, sightings in the order of time come out.
//!
//! [`files`] reads the logs together, in the order in which their lines were logged, [`mod@line`] parses a line, and
//! [`Contacts`] puts the contacts into the order of their times and adds the bytes that the end of a flow tells. It judges
//! nothing. Each queue is bounded, and what a bound cost is counted.

pub mod files;
pub mod line;
pub mod time;

use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeSet, BinaryHeap, HashMap, HashSet, VecDeque};
use std::net::IpAddr;

use foldhash::fast::RandomState;
use vigie_judgement::{Answered, Client, Contact as Kind, Sighting};

use crate::country::country;
use line::{Contact, FlowEnd, FlowKey, Record, What};

const SECOND_NS: u64 = 1_000_000_000;
const MINUTE_NS: u64 = 60 * SECOND_NS;
/// Bytes of a flow that is longer than this many minutes come less often.
const FINE_MINUTES_MAX: u64 = 64;
/// Minutes between bytes of a long flow: less than the silence that ends an episode.
const COARSE_MINUTES: u64 = 4;
/// A flow that is longer than this counts as that long, minutes.
const FLOW_MINUTES_MAX: u64 = 1_440;

/// How much waits, and for how long.
#[derive(Clone, Debug)]
pub struct Limits {
    /// How much out of order lines may be, seconds.
    pub disorder_s: u64,
    /// How long a contact waits for the end of its flow, seconds.
    pub flow_wait_s: u64,
    /// Contacts that wait at most.
    pub waiting_max: usize,
    /// Flows of which the end is awaited at most.
    pub flows_max: usize,
    /// DNS servers remembered at most.
    pub resolvers_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { disorder_s: 60, flow_wait_s: 3_600, waiting_max: 1 << 19, flows_max: 1 << 18, resolvers_max: 1 << 16 }
    }
}

/// What was read, and what limits cost.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Contacts with a service.
    pub contacts: u64,
    /// Contacts that came too late to be put into order.
    pub late: u64,
    /// Contacts that were judged before their time, since too many waited.
    pub hurried: u64,
    /// Flows whose end was no longer awaited, since there were too many.
    pub flows_forgotten: u64,
}

/// A contact that waits for its turn.
#[derive(Debug)]
struct Waiting<'r> {
    /// Contacts of the same time keep the order in which they came.
    number: u64,
    contact: Contact<'r>,
}

impl Waiting<'_> {
    const fn turn(&self) -> (u64, u64) {
        (self.contact.time_ns, self.number)
    }
}

impl PartialEq for Waiting<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.turn() == other.turn()
    }
}

impl Eq for Waiting<'_> {}

impl PartialOrd for Waiting<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Waiting<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.turn().cmp(&other.turn())
    }
}

/// Flows that wait for something, the oldest forgotten first where there are too many.
#[derive(Debug)]
struct Flows<T> {
    known: HashMap<FlowKey, T, RandomState>,
    order: VecDeque<FlowKey>,
}

impl<T> Flows<T> {
    fn new() -> Self {
        Self { known: HashMap::default(), order: VecDeque::new() }
    }

    /// Adds a flow; the number of flows that were forgotten for it.
    fn insert(&mut self, flow: FlowKey, value: T, flows_max: usize) -> u64 {
        self.known.insert(flow, value);
        self.order.push_back(flow);
        let mut forgotten = 0;
        while self.known.len() > flows_max {
            let Some(oldest) = self.order.pop_front() else { break };
            forgotten += u64::from(self.known.remove(&oldest).is_some());
        }
        // Flows that ended are still in the order.
        if self.order.len() > 2 * flows_max {
            self.order.retain(|flow| self.known.contains_key(flow));
        }
        forgotten
    }
}

/// Puts contacts into order, and adds the bytes of their flows.
#[derive(Debug)]
pub struct Contacts<'r> {
    limits: Limits,
    waiting: BinaryHeap<Reverse<Waiting<'r>>>,
    number: u64,
    /// Time of the newest line.
    newest_ns: u64,
    /// Time of the newest contact that was given out.
    given_ns: u64,
    /// Whether lines name their flows, so that the ends of these may follow.
    has_flows: bool,
    open: Flows<Contact<'r>>,
    named: Flows<()>,
    /// Servers of DNS: what they ask, others asked them.
    resolvers: HashSet<IpAddr, RandomState>,
    /// Minutes in which some server answered: so that direction was seen.
    answered_minutes: BTreeSet<u64>,
    counts: Counts,
}

/// Takes a sighting, and the flow that it is of, if it is of a new one.
pub type Sighted<'s> = dyn FnMut(&Sighting<'_>, Option<FlowKey>) + 's;

impl<'r> Contacts<'r> {
    /// None yet.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            waiting: BinaryHeap::new(),
            number: 0,
            newest_ns: 0,
            given_ns: 0,
            has_flows: false,
            open: Flows::new(),
            named: Flows::new(),
            resolvers: HashSet::default(),
            answered_minutes: BTreeSet::new(),
            counts: Counts::default(),
        }
    }

    /// Takes what a line says, and gives out what has waited long enough.
    pub fn take(&mut self, record: Record<'r>, sighted: &mut Sighted<'_>) {
        self.newest_ns = self.newest_ns.max(record.logged_ns);
        match record.what {
            What::Contact(contact) => self.contact(*contact),
            What::FlowEnd(end) => self.flow_end(end),
            What::Named(flow) => self.counts.flows_forgotten += self.named.insert(flow, (), self.limits.flows_max),
        }
        self.give_due(sighted);
    }

    /// The input has ended: gives out all that waits.
    pub fn finish(mut self, sighted: &mut Sighted<'_>) -> Counts {
        while let Some(Reverse(waiting)) = self.waiting.pop() {
            self.give(&waiting.contact, sighted);
        }
        self.counts
    }

    fn contact(&mut self, contact: Contact<'r>) {
        match (contact.kind, contact.flow) {
            (Kind::DnsQuestion, _) => {
                if let Some(server) = contact.server.filter(|_| self.resolvers.len() < self.limits.resolvers_max) {
                    self.resolvers.insert(server);
                }
            }
            (Kind::Flow, Some(flow)) => {
                self.has_flows = true;
                // Further requests on a connection, or a second line for its hello, are no second flow.
                if self.open.known.get(&flow).is_some_and(|known| known.name == contact.name) {
                    return;
                }
                self.counts.flows_forgotten += self.open.insert(flow, contact.clone(), self.limits.flows_max);
            }
            _ => {}
        }
        self.wait(contact);
    }

    fn flow_end(&mut self, mut end: FlowEnd<'r>) {
        self.has_flows = true;
        if end.answered == Answered::Yes {
            self.answered_minutes.insert(end.start_ns / MINUTE_NS);
        }
        let nameless = end.nameless.take();
        let is_named = self.named.known.remove(&end.flow).is_some();
        let contact = match self.open.known.remove(&end.flow) {
            Some(contact) => contact,
            None => {
                let Some(contact) = nameless.filter(|_| !is_named) else { return };
                self.wait(Contact::clone(&contact));
                *contact
            }
        };
        self.wait_for_bytes(&contact, &end);
    }

    /// Adds the bytes of a flow, as a sensor tells them: every minute, and at its end.
    fn wait_for_bytes(&mut self, contact: &Contact<'r>, end: &FlowEnd<'_>) {
        let length_ns = end.end_ns.saturating_sub(end.start_ns).min(FLOW_MINUTES_MAX * MINUTE_NS);
        let minutes = length_ns.div_ceil(MINUTE_NS);
        let parts = if minutes > FINE_MINUTES_MAX { minutes.div_ceil(COARSE_MINUTES) } else { minutes.max(1) };
        let share = |total: u64, part: u64| (u128::from(total) * u128::from(part) / u128::from(parts)) as u64;
        for part in 1..=parts {
            let bytes = |total| share(total, part) - share(total, part - 1);
            self.wait(Contact {
                time_ns: end.start_ns + share(length_ns, part),
                name: Box::default(),
                kind: Kind::MoreBytes,
                answered: if part == 1 { end.answered } else { Answered::Unknown },
                bytes_to_client: bytes(end.bytes_to_client),
                bytes_to_server: bytes(end.bytes_to_server),
                ..contact.clone()
            });
        }
    }

    fn wait(&mut self, contact: Contact<'r>) {
        self.counts.late += u64::from(contact.time_ns < self.given_ns && contact.kind != Kind::MoreBytes);
        self.number += 1;
        self.waiting.push(Reverse(Waiting { number: self.number, contact }));
    }

    /// Gives out the contacts whose turn has come.
    fn give_due(&mut self, sighted: &mut Sighted<'_>) {
        let wait_s = if self.has_flows { self.limits.flow_wait_s } else { self.limits.disorder_s };
        let due_ns = self.newest_ns.saturating_sub(wait_s.saturating_mul(SECOND_NS));
        while let Some(Reverse(first)) = self.waiting.peek() {
            let is_due = first.contact.time_ns < due_ns;
            if !is_due && self.waiting.len() <= self.limits.waiting_max {
                break;
            }
            self.counts.hurried += u64::from(!is_due);
            let Some(Reverse(waiting)) = self.waiting.pop() else { break };
            self.give(&waiting.contact, sighted);
        }
    }

    fn give(&mut self, contact: &Contact<'_>, sighted: &mut Sighted<'_>) {
        self.given_ns = self.given_ns.max(contact.time_ns);
        let is_resolver = match &contact.client {
            Client::Address(address) => self.resolvers.contains(address),
            _ => false,
        };
        if contact.kind == Kind::DnsQuestion && is_resolver {
            return;
        }
        self.counts.contacts += u64::from(contact.kind != Kind::MoreBytes);
        let sighting = Sighting {
            time_ns: contact.time_ns,
            client: &contact.client,
            origin: &contact.origin,
            service: &contact.attribution.service,
            owner: &contact.attribution.owner,
            rule: contact.rule,
            name: &contact.name,
            contact: contact.kind,
            stack: contact.stack,
            answered: self.answered(contact),
            bytes_to_client: contact.bytes_to_client,
            bytes_to_server: contact.bytes_to_server,
            server_country: contact.server.filter(|_| contact.kind == Kind::Flow).and_then(country),
            is_cleartext: contact.is_cleartext,
        };
        sighted(&sighting, contact.flow.filter(|_| contact.kind == Kind::Flow));
    }

    /// Whether a contact was answered. That no answer was logged tells something only where others were answered in that
    /// minute: else that direction may not be on the tap.
    fn answered(&mut self, contact: &Contact<'_>) -> Answered {
        let minute = contact.time_ns / MINUTE_NS;
        while self.answered_minutes.first().is_some_and(|first| first + FLOW_MINUTES_MAX < minute) {
            self.answered_minutes.pop_first();
        }
        let is_told = contact.flow.is_none() || contact.kind == Kind::Flow;
        let is_seen = || self.answered_minutes.range(minute.saturating_sub(1)..=minute + 1).next().is_some();
        match contact.answered {
            Answered::No if !is_told && !is_seen() => Answered::Unknown,
            answered => answered,
        }
    }
}

#[cfg(test)]
mod tests;
