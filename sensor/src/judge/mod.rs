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
use line::{Contact, FlowBytes, FlowEnd, FlowKey, Record, What};

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
    /// Bytes of contacts that wait at most, with what belongs to them.
    pub waiting_bytes_max: usize,
    /// Flows of which the end is awaited at most.
    pub flows_max: usize,
    /// DNS servers remembered at most.
    pub resolvers_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            disorder_s: 60,
            flow_wait_s: 3_600,
            waiting_max: 1 << 19,
            waiting_bytes_max: 512 << 20,
            flows_max: 1 << 18,
            resolvers_max: 1 << 16,
        }
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

/// What belongs to a contact.
pub trait Payload {
    /// Its bytes on the heap: who sends the packets chooses how many.
    fn memory_bytes(&self) -> usize;
}

impl Payload for () {
    fn memory_bytes(&self) -> usize {
        0
    }
}

/// A contact that waits for its turn, and what belongs to it.
#[derive(Debug)]
struct Waiting<P> {
    /// Contacts of the same time keep the order in which they came.
    number: u64,
    contact: Contact,
    payload: Option<P>,
}

impl<P> Waiting<P> {
    const fn turn(&self) -> (u64, u64) {
        (self.contact.time_ns, self.number)
    }
}

impl<P: Payload> Waiting<P> {
    /// Bytes on the heap.
    fn memory_bytes(&self) -> usize {
        size_of::<Self>() + self.contact.name.len() + self.payload.as_ref().map_or(0, Payload::memory_bytes)
    }
}

impl<P> PartialEq for Waiting<P> {
    fn eq(&self, other: &Self) -> bool {
        self.turn() == other.turn()
    }
}

impl<P> Eq for Waiting<P> {}

impl<P> PartialOrd for Waiting<P> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<P> Ord for Waiting<P> {
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

/// A flow whose end is awaited.
#[derive(Debug)]
struct OpenFlow {
    contact: Contact,
    /// Bytes that were given out.
    bytes_to_client: u64,
    bytes_to_server: u64,
    /// An answer was given out.
    is_answered: bool,
}

/// Puts contacts into order, and adds the bytes of their flows. With each goes a payload of the caller's.
#[derive(Debug)]
pub struct Contacts<P = ()> {
    limits: Limits,
    waiting: BinaryHeap<Reverse<Waiting<P>>>,
    waiting_bytes: usize,
    number: u64,
    /// Time of the newest line.
    newest_ns: u64,
    /// Time of the newest contact that was given out.
    given_ns: u64,
    /// Whether lines name their flows, so that the ends of these may follow.
    has_flows: bool,
    open: Flows<OpenFlow>,
    named: Flows<()>,
    /// Servers of DNS: what they ask, others asked them.
    resolvers: HashSet<IpAddr, RandomState>,
    /// Minutes in which some server answered: so that direction was seen.
    answered_minutes: BTreeSet<u64>,
    counts: Counts,
}

/// Takes a sighting, and the payload of its contact.
pub type Sighted<'s, P = ()> = dyn FnMut(&Sighting<'_>, Option<P>) + 's;

impl<P: Payload> Contacts<P> {
    /// None yet.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            waiting: BinaryHeap::new(),
            waiting_bytes: 0,
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
    pub fn take(&mut self, record: Record, payload: Option<P>, sighted: &mut Sighted<'_, P>) {
        self.newest_ns = self.newest_ns.max(record.logged_ns);
        match record.what {
            What::Contact(contact) => self.contact(*contact, payload),
            What::FlowEnd(end) => self.flow_end(end),
            What::FlowBytes(bytes) => self.flow_bytes(&bytes),
            What::Named(flow) => self.counts.flows_forgotten += self.named.insert(flow, (), self.limits.flows_max),
        }
        self.give_due(sighted);
    }

    /// Time has gone on: gives out what has waited long enough. Servers' packets are on the tap if `both_directions` are.
    pub fn pass_time(&mut self, now_ns: u64, both_directions: bool, sighted: &mut Sighted<'_, P>) {
        self.newest_ns = self.newest_ns.max(now_ns);
        if both_directions {
            self.answered_minutes.insert(now_ns / MINUTE_NS);
        }
        self.give_due(sighted);
    }

    /// What was read so far, and what limits cost.
    pub const fn counts(&self) -> &Counts {
        &self.counts
    }

    /// The input has ended: gives out all that waits.
    pub fn finish(&mut self, sighted: &mut Sighted<'_, P>) {
        while let Some(waiting) = self.pop() {
            self.give(&waiting.contact, waiting.payload, sighted);
        }
    }

    fn contact(&mut self, contact: Contact, payload: Option<P>) {
        match (contact.kind, contact.flow) {
            (Kind::DnsQuestion, _) => {
                if let Some(server) = contact.server.filter(|_| self.resolvers.len() < self.limits.resolvers_max) {
                    self.resolvers.insert(server);
                }
            }
            (Kind::Flow, Some(flow)) => {
                self.has_flows = true;
                // Further requests on a connection, or a second line for its hello, are no second flow.
                let known = self.open.known.get(&flow);
                if known.is_some_and(|known| known.contact.name == contact.name) {
                    return;
                }
                let open = OpenFlow {
                    contact: contact.clone(),
                    // Bytes count once, also where a flow has several names.
                    bytes_to_client: known.map_or(contact.bytes_to_client, |known| known.bytes_to_client),
                    bytes_to_server: known.map_or(contact.bytes_to_server, |known| known.bytes_to_server),
                    is_answered: contact.answered == Answered::Yes,
                };
                self.counts.flows_forgotten += self.open.insert(flow, open, self.limits.flows_max);
            }
            _ => {}
        }
        self.wait(contact, payload);
    }

    fn flow_end(&mut self, mut end: FlowEnd) {
        self.has_flows = true;
        if end.answered == Answered::Yes {
            self.answered_minutes.insert(end.start_ns / MINUTE_NS);
        }
        let nameless = end.nameless.take();
        let is_named = self.named.known.remove(&end.flow).is_some();
        let contact = match self.open.known.remove(&end.flow) {
            Some(open) => open.contact,
            None => {
                let Some(contact) = nameless.filter(|_| !is_named) else { return };
                self.wait(Contact::clone(&contact), None);
                *contact
            }
        };
        self.wait_for_bytes(&contact, &end);
    }

    /// Adds the bytes of a flow since they were last told.
    fn flow_bytes(&mut self, bytes: &FlowBytes) {
        let Some(open) = self.open.known.get_mut(&bytes.flow) else { return };
        let to_client = bytes.bytes_to_client.saturating_sub(open.bytes_to_client);
        let to_server = bytes.bytes_to_server.saturating_sub(open.bytes_to_server);
        let answered = match bytes.answered {
            Answered::Yes if open.is_answered => Answered::Unknown,
            Answered::No if open.is_answered => Answered::Unknown,
            answered => answered,
        };
        open.is_answered |= bytes.answered == Answered::Yes;
        (open.bytes_to_client, open.bytes_to_server) = (bytes.bytes_to_client, bytes.bytes_to_server);
        let contact = match bytes.is_end {
            true => self.open.known.remove(&bytes.flow).map(|open| open.contact),
            false => Some(open.contact.clone()),
        };
        let tells_something = to_client + to_server > 0 || answered != Answered::Unknown;
        if let Some(contact) = contact.filter(|_| tells_something) {
            let more = Contact {
                time_ns: bytes.time_ns,
                kind: Kind::MoreBytes,
                answered,
                bytes_to_client: to_client,
                bytes_to_server: to_server,
                ..contact
            };
            self.wait(more, None);
        }
    }

    /// Adds the bytes of a flow, as a sensor tells them: every minute, and at its end.
    fn wait_for_bytes(&mut self, contact: &Contact, end: &FlowEnd) {
        let length_ns = end.end_ns.saturating_sub(end.start_ns).min(FLOW_MINUTES_MAX * MINUTE_NS);
        let minutes = length_ns.div_ceil(MINUTE_NS);
        let parts = if minutes > FINE_MINUTES_MAX { minutes.div_ceil(COARSE_MINUTES) } else { minutes.max(1) };
        let share = |total: u64, part: u64| (u128::from(total) * u128::from(part) / u128::from(parts)) as u64;
        for part in 1..=parts {
            let bytes = |total| share(total, part) - share(total, part - 1);
            let more = Contact {
                time_ns: end.start_ns + share(length_ns, part),
                kind: Kind::MoreBytes,
                answered: if part == 1 { end.answered } else { Answered::Unknown },
                bytes_to_client: bytes(end.bytes_to_client),
                bytes_to_server: bytes(end.bytes_to_server),
                ..contact.clone()
            };
            self.wait(more, None);
        }
    }

    fn wait(&mut self, contact: Contact, payload: Option<P>) {
        self.counts.late += u64::from(contact.time_ns < self.given_ns && contact.kind != Kind::MoreBytes);
        self.number += 1;
        let waiting = Waiting { number: self.number, contact, payload };
        self.waiting_bytes += waiting.memory_bytes();
        self.waiting.push(Reverse(waiting));
    }

    /// The contact whose turn is next waits no longer.
    fn pop(&mut self) -> Option<Waiting<P>> {
        let Reverse(waiting) = self.waiting.pop()?;
        self.waiting_bytes -= waiting.memory_bytes();
        Some(waiting)
    }

    /// Gives out the contacts whose turn has come.
    fn give_due(&mut self, sighted: &mut Sighted<'_, P>) {
        let wait_s = if self.has_flows { self.limits.flow_wait_s } else { self.limits.disorder_s };
        let due_ns = self.newest_ns.saturating_sub(wait_s.saturating_mul(SECOND_NS));
        while let Some(Reverse(first)) = self.waiting.peek() {
            let is_due = first.contact.time_ns < due_ns;
            let Limits { waiting_max, waiting_bytes_max, .. } = self.limits;
            if !is_due && self.waiting.len() <= waiting_max && self.waiting_bytes <= waiting_bytes_max {
                break;
            }
            self.counts.hurried += u64::from(!is_due);
            let Some(waiting) = self.pop() else { break };
            self.give(&waiting.contact, waiting.payload, sighted);
        }
    }

    fn give(&mut self, contact: &Contact, payload: Option<P>, sighted: &mut Sighted<'_, P>) {
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
            rule: &contact.rule,
            name: &contact.name,
            contact: contact.kind,
            stack: contact.stack,
            answered: self.answered(contact),
            bytes_to_client: contact.bytes_to_client,
            bytes_to_server: contact.bytes_to_server,
            server_country: contact.server.filter(|_| contact.kind == Kind::Flow).and_then(country),
            is_cleartext: contact.is_cleartext,
        };
        sighted(&sighting, payload);
    }

    /// Whether a contact was answered. That no answer was logged tells something only where others were answered in that
    /// minute: else that direction may not be on the tap.
    fn answered(&mut self, contact: &Contact) -> Answered {
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
