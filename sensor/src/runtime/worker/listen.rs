//! What a worker does with the payload of a flow that is not settled: it lets the flow's dialogue listen, judges what
//! was said, and tells it.

use super::*;

impl Worker {
    pub(super) fn tcp(
        &mut self,
        arrival: &Arrival<'_>,
        segment: &Segment<'_>,
        slot: Slot,
        emit: &mut dyn FnMut(Event),
    ) {
        if segment.flags & Segment::SYN != 0 && !self.syn(arrival, segment, slot, emit) {
            return;
        }
        let ends = segment.flags & (Segment::FIN | Segment::RST) != 0;
        if segment.payload.is_empty() && !ends {
            if self.wanted.flows {
                self.record(slot, arrival, emit);
            }
            return;
        }
        let number = self.record(slot, arrival, emit);
        if number == 0 {
            return;
        }
        if !segment.payload.is_empty() {
            self.mark(slot, PAYLOAD);
            self.tcp_payload(arrival, segment, slot, number, emit);
        }
        if ends {
            self.tell_partial(&arrival.when, slot, number, emit);
        }
    }

    /// A connection opens, perhaps on the 5-tuple of another. False for the opening, sent again, of one that is settled.
    fn syn(&mut self, arrival: &Arrival<'_>, segment: &Segment<'_>, slot: Slot, emit: &mut dyn FnMut(Event)) -> bool {
        let side = arrival.side;
        if segment.flags & Segment::ACK != 0 {
            self.answer(segment, slot, side);
            return true;
        }
        let Some(entry) = self.table.get(slot) else { return false };
        let opening = mark_of(&segment.sequence.to_be_bytes());
        if entry.marks & SETTLED != 0 {
            if entry.spare == opening {
                self.seen(entry.record, &arrival.when);
                return false;
            }
            self.reopen(slot, arrival, FlowEnd::Timeout, emit);
        }
        if let Some(entry) = self.table.get_mut(slot) {
            entry.spare = opening;
        }
        self.set_client(slot, side);
        let number = self.record(slot, arrival, emit);
        let first_byte = segment.sequence.wrapping_add(1);
        if let Some(record) = self.records.get_mut(number) {
            match &mut record.dialogue {
                Dialogue::Tcp(dialogue) => dialogue.begin(side, first_byte),
                Dialogue::Over | Dialogue::Opening(..) | Dialogue::Udp(_) => {
                    record.dialogue = Dialogue::Opening(side, first_byte, None);
                }
            }
        }
        true
    }

    /// A connection's opening is answered: that side's bytes are no client's of which the beginning was missed.
    fn answer(&mut self, segment: &Segment<'_>, slot: Slot, side: Side) {
        let Some(entry) = self.table.get_mut(slot) else { return };
        entry.marks = mark_client(entry.marks, side.opposite()) | CLIENT_KNOWN;
        let first_byte = segment.sequence.wrapping_add(1);
        match self.records.get_mut(entry.record).map(|record| &mut record.dialogue) {
            Some(Dialogue::Opening(client, _, answer)) if *client != side => *answer = Some(first_byte),
            Some(Dialogue::Tcp(dialogue)) => dialogue.begin_answer(side, first_byte),
            _ => {}
        }
    }

    fn tcp_payload(
        &mut self,
        arrival: &Arrival<'_>,
        segment: &Segment<'_>,
        slot: Slot,
        number: u32,
        emit: &mut dyn FnMut(Event),
    ) {
        let (when, side) = (&arrival.when, arrival.side);
        let Self {
            records,
            tcp_pool,
            handshake_limits,
            handshake_counters,
            bundle,
            names,
            counters,
            wanted,
            held_bytes,
            ..
        } = self;
        let Some(record) = records.get_mut(number) else { return };
        if !matches!(record.dialogue, Dialogue::Tcp(_)) {
            let mut dialogue = tcp_pool.pop().unwrap_or_default();
            *held_bytes += dialogue.capacity();
            if let Dialogue::Opening(client, first_byte, answer) = record.dialogue {
                dialogue.begin(client, first_byte);
                if let Some(first_byte) = answer {
                    dialogue.begin(client.opposite(), first_byte);
                }
            }
            record.dialogue = Dialogue::Tcp(dialogue);
        }
        let Dialogue::Tcp(dialogue) = &mut record.dialogue else { return };
        if dialogue.awaits_certificate() {
            let held_before = dialogue.capacity();
            let names = dialogue.server_segment(segment, handshake_limits);
            *held_bytes = (*held_bytes + dialogue.capacity()).saturating_sub(held_before);
            match names {
                Some(names) => self.certificate(when, slot, number, &names, emit),
                None => self.keep_within_memory(emit),
            }
            return;
        }
        if arrival.key.has_port(DNS_PORT) && dialogue.speaks_dns(segment.payload) {
            let held_before = dialogue.capacity();
            let client = arrival.destination();
            let mut answers =
                Answers { names, counters, wanted: *wanted, client, now_ns: when.timestamp_ns, owned: Vec::new() };
            dialogue.dns(side, segment, handshake_limits, |message| answers.take(message));
            let owned = answers.owned;
            *held_bytes = (*held_bytes + dialogue.capacity()).saturating_sub(held_before);
            self.tell_answers(when, slot, number, owned, emit);
            return self.keep_within_memory(emit);
        }
        let held_before = dialogue.capacity_for(side);
        let heard = dialogue.segment(side, segment, handshake_limits, handshake_counters);
        let name = heard.name.map(|(kind, name)| Told::clear_text(kind, name, bundle, counters));
        let has_name = name.is_some();
        let tell = |hello: &_| Told::hello(hello, HelloTransport::Tcp, bundle, *wanted, counters);
        let hello = heard.hello.as_ref().map(tell);
        let is_over = dialogue.is_over();
        // What ends here keeps its memory for the next flow.
        if !is_over && hello.is_none() {
            dialogue.relinquish(side);
        }
        *held_bytes = (*held_bytes + dialogue.capacity_for(side)).saturating_sub(held_before);
        if let Some(told) = name {
            self.set_client(slot, side);
            self.tell(when, slot, number, told, emit);
        }
        match hello {
            Some(told) => {
                self.set_client(slot, side);
                self.told_hello(when, slot, number, told, emit);
            }
            None if is_over && has_name => self.settle(slot, number),
            None if is_over => self.settle_nameless(when, slot, number, None, emit),
            None => self.keep_within_memory(emit),
        }
    }

    pub(super) fn udp(&mut self, arrival: &Arrival<'_>, payload: &[u8], slot: Slot, emit: &mut dyn FnMut(Event)) {
        let (when, side) = (&arrival.when, arrival.side);
        self.mark(slot, PAYLOAD);
        if arrival.key.has_port(DNS_PORT) && !udp::opens_a_handshake(payload) {
            return self.udp_dns(arrival, payload, slot, emit);
        }
        let number = self.record(slot, arrival, emit);
        let has_dialogue = self.records.get(number).is_some_and(|record| matches!(record.dialogue, Dialogue::Udp(_)));
        if !has_dialogue && !quic::looks_like_quic(payload) && !dtls::looks_like_dtls(payload) {
            return self.no_hello(when, slot, number, emit);
        }
        let Self {
            records,
            udp_pool,
            handshake_limits,
            handshake_counters,
            scratch,
            bundle,
            counters,
            wanted,
            held_bytes,
            ..
        } = self;
        let Some(record) = records.get_mut(number) else { return };
        if !matches!(record.dialogue, Dialogue::Udp(_)) {
            let dialogue = udp_pool.pop().unwrap_or_default();
            *held_bytes += dialogue.capacity();
            record.dialogue = Dialogue::Udp(dialogue);
        }
        let Dialogue::Udp(dialogue) = &mut record.dialogue else { return };
        let held_before = dialogue.capacity();
        let hello = dialogue.datagram(payload, scratch, handshake_limits, handshake_counters);
        let told = hello.map(|hello| udp_hello(&hello, bundle, *wanted, counters));
        *held_bytes = (*held_bytes + dialogue.capacity()).saturating_sub(held_before);
        let is_over = dialogue.is_over();
        match told {
            Some(told) => {
                self.set_client(slot, side);
                self.note_connection(slot, payload);
                self.told_hello(when, slot, number, told, emit);
            }
            None if is_over => self.settle_nameless(when, slot, number, None, emit),
            None => self.keep_within_memory(emit),
        }
    }

    /// A datagram that no hello is in; after many of them none is expected.
    fn no_hello(&mut self, when: &When, slot: Slot, number: u32, emit: &mut dyn FnMut(Event)) {
        let Some(entry) = self.table.get_mut(slot) else { return };
        entry.spare = entry.spare.saturating_add(1);
        if usize::from(entry.spare) >= self.limits.undecided_datagrams_max {
            entry.spare = 0;
            self.handshake_counters.undecided_datagrams += 1;
            self.tell_partial(when, slot, number, emit);
            if self.table.get(slot).is_some_and(|entry| entry.marks & SETTLED == 0) {
                self.settle_nameless(when, slot, number, None, emit);
            }
        }
    }

    /// A datagram of DNS: its answers are remembered. Such a flow never settles.
    fn udp_dns(&mut self, arrival: &Arrival<'_>, payload: &[u8], slot: Slot, emit: &mut dyn FnMut(Event)) {
        let (when, side) = (&arrival.when, arrival.side);
        let number = if self.wanted.flows { self.record(slot, arrival, emit) } else { 0 };
        let Some(message) = dns::Message::parse(payload) else { return };
        let client = if message.is_response() { side.opposite() } else { side };
        self.set_client(slot, client);
        let mut answers = Answers {
            names: &self.names,
            counters: &mut self.counters,
            wanted: self.wanted,
            client: arrival.destination(),
            now_ns: when.timestamp_ns,
            owned: Vec::new(),
        };
        answers.take(&message);
        let owned = answers.owned;
        self.tell_answers(when, slot, number, owned, emit);
    }

    fn tell_answers(
        &mut self,
        when: &When,
        slot: Slot,
        number: u32,
        answers: Vec<DnsAnswer>,
        emit: &mut dyn FnMut(Event),
    ) {
        for answer in answers {
            let Some(entry) = self.table.get(slot) else { return };
            let flow = flow_of(entry, self.records.get(number), when);
            self.emit(when.timestamp_ns, when.number, Fact::Dns(Box::new(flow), Box::new(answer)), emit);
        }
    }

    /// Whether a datagram of a settled flow opens another QUIC connection: a client's Initial to a connection id that is
    /// neither the server's, which is noted from the server's own long headers, nor that of the hello that was told,
    /// which may be sent again.
    #[inline]
    pub(super) fn is_another_connection(&mut self, slot: Slot, side: Side, payload: &[u8]) -> bool {
        if payload.first().is_none_or(|&first| first & 0xc0 != 0xc0) {
            return false;
        }
        let Some(entry) = self.table.get_mut(slot) else { return false };
        let Some((destination, source)) = quic::connection_ids(payload) else { return false };
        let [of_server, of_hello] = entry.spare.to_be_bytes();
        let is_client = (entry.marks & CLIENT_IS_HIGH != 0) == (side == Side::High);
        if !is_client {
            entry.spare = u16::from_be_bytes([half_mark_of(source), of_hello]);
            return false;
        }
        let mark = half_mark_of(destination);
        of_server != 0 && payload.len() >= QUIC_INITIAL_BYTES_MIN && mark != of_server && mark != of_hello
    }

    /// Notes to which connection id a hello went.
    fn note_connection(&mut self, slot: Slot, payload: &[u8]) {
        if let (Some(entry), Some((destination, _))) = (self.table.get_mut(slot), quic::connection_ids(payload)) {
            entry.spare = u16::from_be_bytes([0, half_mark_of(destination)]);
        }
    }

    /// A hello was told: the flow is settled, unless the server's certificate may tell what the hello did not.
    fn told_hello(&mut self, when: &When, slot: Slot, number: u32, told: Told, emit: &mut dyn FnMut(Event)) {
        let nameless = if told.hides_name { told.hello.clone() } else { None };
        let (hides_name, may_show_certificate) = (told.hides_name, told.may_show_certificate);
        self.tell(when, slot, number, told, emit);
        if may_show_certificate
            && let Some(record) = self.records.get_mut(number)
            && let Dialogue::Tcp(dialogue) = &mut record.dialogue
        {
            let held_before = dialogue.capacity();
            dialogue.await_certificate(nameless.as_ref().map_or(0, Hello::memory_bytes));
            record.nameless = nameless.map(Box::new);
            self.held_bytes = (self.held_bytes + dialogue.capacity()).saturating_sub(held_before);
        } else if hides_name {
            self.settle_nameless(when, slot, number, nameless, emit);
        } else {
            self.settle(slot, number);
        }
    }

    fn certificate(&mut self, when: &When, slot: Slot, number: u32, names: &[String], emit: &mut dyn FnMut(Event)) {
        self.counters.add(Counter::Certificates, u64::from(!names.is_empty()));
        let hello = self.records.get_mut(number).and_then(|record| record.nameless.take()).map(|hello| *hello);
        let matched = names.iter().find_map(|name| {
            let name = name.strip_prefix("*.").unwrap_or(name);
            match detect::by_name(&self.bundle, name.as_bytes(), Evidence::TlsCertificate) {
                Judged::Matched(matched) if matched.rule.raises_alert() => Some(matched),
                _ => None,
            }
        });
        match matched {
            Some(matched) => {
                self.tell(when, slot, number, Told { matched: Some(matched), hello, ..Told::default() }, emit);
                self.settle(slot, number);
            }
            None => self.settle_nameless(when, slot, number, hello, emit),
        }
    }

    /// Nothing more will be said, and no name was: what DNS told the client of this server, then whose the server's
    /// address is.
    fn settle_nameless(
        &mut self,
        when: &When,
        slot: Slot,
        number: u32,
        hello: Option<Hello>,
        emit: &mut dyn FnMut(Event),
    ) {
        let told = self.table.get(slot).and_then(|entry| self.without_a_name(entry, when.timestamp_ns, hello));
        if let Some(told) = told {
            self.tell(when, slot, number, told, emit);
        }
        self.settle(slot, number);
    }

    /// What is known of a flow that told no name.
    pub(super) fn without_a_name(&self, entry: &FlowEntry, now_ns: u64, hello: Option<Hello>) -> Option<Told> {
        let matched = self.match_without_a_name(entry, now_ns)?;
        Some(Told { matched: Some(matched), hello, ..Told::default() })
    }

    /// What a flow that told no name matches.
    pub(super) fn match_without_a_name(&self, entry: &FlowEntry, now_ns: u64) -> Option<Match> {
        let key = entry.key();
        let (client, server) =
            if entry.marks & CLIENT_IS_HIGH != 0 { (key.high, key.low) } else { (key.low, key.high) };
        let by_dns = || {
            let name = self.names.lookup(Some(client), server, now_ns)?;
            match detect::by_name(&self.bundle, name.as_bytes(), Evidence::Dns) {
                Judged::Matched(matched) => Some(matched),
                Judged::Unmatched | Judged::NotAHostName => None,
            }
        };
        by_dns().or_else(|| detect::by_address(&self.bundle, server))
    }

    fn tell(&mut self, when: &When, slot: Slot, number: u32, told: Told, emit: &mut dyn FnMut(Event)) {
        if !told.is_worth_telling() {
            self.count_match(&told);
            return;
        }
        let (Some(entry), Some(record)) = (self.table.get(slot), self.records.get_mut(number)) else { return };
        let mut rule = record.rule.take();
        let flow = flow_of(entry, Some(record), when);
        self.tell_of(&flow, &mut rule, (when.timestamp_ns, when.number), told, emit);
        if let Some(record) = self.records.get_mut(number) {
            record.rule = rule;
        }
    }

    fn count_match(&mut self, told: &Told) {
        if let Some(matched) = &told.matched {
            self.counters.add(Counter::Matches, 1);
            self.counters.add(Counter::MatchesSilent, u64::from(!matched.rule.raises_alert()));
        }
    }

    /// Writes what was told of a flow: the hello's own record if wanted, and the alert if the rule raises one and the
    /// flow has none yet, which `alerted` keeps.
    pub(super) fn tell_of(
        &mut self,
        flow: &Flow,
        alerted: &mut Option<Arc<Rule>>,
        (timestamp_ns, number): (u64, u64),
        told: Told,
        emit: &mut dyn FnMut(Event),
    ) {
        self.count_match(&told);
        let Told { hello, is_wanted, matched, .. } = told;
        if is_wanted && let Some(hello) = &hello {
            let fact = Fact::Hello(Box::new(flow.clone()), Box::new(hello.clone()));
            self.emit(timestamp_ns, number, fact, emit);
        }
        let Some(Match { rule, evidence, name }) = matched.filter(|matched| matched.rule.raises_alert()) else {
            return;
        };
        if alerted.is_none() {
            *alerted = Some(Arc::clone(&rule));
            self.counters.add(Counter::Alerts, 1);
            let alert = Alert { flow: flow.clone(), evidence, name, rule, hello };
            self.emit(timestamp_ns, number, Fact::Alert(Box::new(alert)), emit);
        }
    }

    /// Tells a hello whose tail will not come any more.
    fn tell_partial(&mut self, when: &When, slot: Slot, number: u32, emit: &mut dyn FnMut(Event)) {
        let Self { records, handshake_limits, bundle, counters, wanted, .. } = self;
        let Some(record) = records.get_mut(number) else { return };
        let Some((client, told)) = partial(&mut record.dialogue, handshake_limits, bundle, *wanted, counters) else {
            return;
        };
        if let Some(client) = client {
            self.set_client(slot, client);
        }
        self.told_hello(when, slot, number, told, emit);
    }

    /// Nothing more is expected of a flow; its record stays only if it matched, or if every flow is to be written.
    fn settle(&mut self, slot: Slot, number: u32) {
        self.mark(slot, SETTLED);
        let Some(record) = self.records.get_mut(number) else { return };
        let dialogue = std::mem::take(&mut record.dialogue);
        let is_kept = self.wanted.flows || record.rule.is_some();
        self.give_back(dialogue);
        if !is_kept {
            self.records.remove(number);
            if let Some(entry) = self.table.get_mut(slot) {
                entry.record = 0;
            }
        }
    }

    /// Keeps a dialogue's memory for the next flow, if it is modest.
    pub(super) fn give_back(&mut self, dialogue: Dialogue) {
        match dialogue {
            Dialogue::Tcp(mut dialogue) => {
                let capacity = dialogue.capacity();
                self.held_bytes = self.held_bytes.saturating_sub(capacity);
                if self.tcp_pool.len() < POOL_MAX && capacity <= POOLED_BYTES_MAX {
                    dialogue.reset();
                    self.tcp_pool.push(dialogue);
                }
            }
            Dialogue::Udp(mut dialogue) => {
                let capacity = dialogue.capacity();
                self.held_bytes = self.held_bytes.saturating_sub(capacity);
                if self.udp_pool.len() < POOL_MAX && capacity <= POOLED_BYTES_MAX {
                    dialogue.reset();
                    self.udp_pool.push(dialogue);
                }
            }
            Dialogue::Over | Dialogue::Opening(..) => {}
        }
    }

    /// Drops the stalest handshakes while all together hold too much.
    fn keep_within_memory(&mut self, emit: &mut dyn FnMut(Event)) {
        while self.held_bytes > self.limits.reassembly_bytes_max {
            let Some(number) = self.records.stalest_holder() else { return };
            let Some(record) = self.records.remove(number) else { return };
            self.counters.add(Counter::ReassemblyBytes, 1);
            self.forget(record, emit);
        }
    }

    pub(super) fn mark(&mut self, slot: Slot, mark: u8) {
        if let Some(entry) = self.table.get_mut(slot) {
            entry.marks |= mark;
        }
    }

    fn set_client(&mut self, slot: Slot, client: Side) {
        if let Some(entry) = self.table.get_mut(slot) {
            entry.marks = mark_client(entry.marks, client) | CLIENT_KNOWN;
        }
    }
}

/// Takes DNS answers: into the map of names, and as records if they are wanted.
struct Answers<'w> {
    names: &'w AddressNames,
    counters: &'w mut Counters,
    wanted: Wanted,
    client: Address,
    now_ns: u64,
    owned: Vec<DnsAnswer>,
}

impl Answers<'_> {
    fn take(&mut self, message: &dns::Message<'_>) {
        if !message.is_response() {
            return;
        }
        self.counters.add(Counter::DnsAnswers, 1);
        self.names.insert_answer(Some(self.client), message, self.now_ns);
        if self.wanted.dns {
            self.owned.extend(message.to_answer());
        }
    }
}

/// Sixteen bits of what tells a connection from another of the same ends, never 0.
fn mark_of(id: &[u8]) -> u16 {
    let mixed =
        id.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    ((mixed >> 32) as u16).max(1)
}

/// Eight bits of it, where two have to be kept; one connection in 128 is then taken for the one before it.
fn half_mark_of(id: &[u8]) -> u8 {
    (mark_of(id) as u8).max(1)
}

fn udp_hello(hello: &udp::Hello<'_>, bundle: &Bundle, wanted: Wanted, counters: &mut Counters) -> Told {
    match hello {
        udp::Hello::Quic(version, hello) => {
            Told::hello(hello, HelloTransport::Quic(*version), bundle, wanted, counters)
        }
        udp::Hello::Dtls(hello) => Told::hello(hello, HelloTransport::Dtls, bundle, wanted, counters),
        udp::Hello::Chlo(chlo) => Told::chlo(chlo, bundle, wanted, counters),
    }
}

/// What a dialogue heard of a hello whose tail will not come, and from whom if that is known.
pub(super) fn partial(
    dialogue: &mut Dialogue,
    limits: &vigie_handshake::Limits,
    bundle: &Bundle,
    wanted: Wanted,
    counters: &mut Counters,
) -> Option<(Option<Side>, Told)> {
    match dialogue {
        Dialogue::Tcp(dialogue) => {
            let (side, hello) = dialogue.conclude(limits)?;
            Some((Some(side), Told::hello(&hello, HelloTransport::Tcp, bundle, wanted, counters)))
        }
        Dialogue::Udp(dialogue) => {
            let hello = dialogue.conclude()?;
            Some((None, udp_hello(&hello, bundle, wanted, counters)))
        }
        Dialogue::Over | Dialogue::Opening(..) => None,
    }
}
