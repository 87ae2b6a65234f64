//! The mix of conversations: which ones begin, how long they last, and which one sends the next packet.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::conversation::{Content, Conversation, PlannedPacket, Transport};
use super::packet::Ends;
use super::random::Random;
use super::{names, tcp, udp};

/// Time of the first frame: 2026-11-22, midnight.
const START_NS: u64 = 1_795_305_600_000_000_000;
/// Nanoseconds from one frame to the next on average: 100 000 frames a second.
const GAP_NS: usize = 10_000;
/// One packet in this many opens a conversation until enough are open.
const FILLING: usize = 17;

/// How often conversations begin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Profile {
    /// One packet in 17 opens a flow: many more than at most taps, to show what handshakes cost.
    Handshakes,
    /// One packet in 60.
    #[default]
    Mixed,
    /// One packet in 2 000, once the flows are open: to show what settled flows cost.
    Settled,
}

impl Profile {
    /// How many packets there are for each one that opens a flow.
    const fn packets_per_flow(self) -> usize {
        match self {
            Self::Handshakes => 17,
            Self::Mixed => 60,
            Self::Settled => 2_000,
        }
    }

    /// Least and most packets of data in a flow.
    const fn data_packets(self) -> (usize, usize) {
        match self {
            Self::Handshakes => (4, 2_000),
            Self::Mixed => (20, 50_000),
            Self::Settled => (1_000, 1_000_000),
        }
    }
}

/// Settings of the traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The same seed gives the same bytes.
    pub seed: u64,
    /// How often conversations begin.
    pub profile: Profile,
    /// About how many are open at once.
    pub flows: usize,
    /// One contacted name in this many is banned; 0 for none.
    pub banned_one_in: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { seed: 1, profile: Profile::Mixed, flows: 1_000, banned_one_in: 200 }
    }
}

/// Counts of what was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TrafficCounts {
    /// Frames.
    pub frames: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Conversations begun.
    pub flows: u64,
    /// Complete hellos over TCP.
    pub hellos_tls: u64,
    /// Complete hellos over QUIC.
    pub hellos_quic: u64,
    /// Hellos of both with a post-quantum key share.
    pub hellos_post_quantum: u64,
    /// DNS answers.
    pub dns_answers: u64,
    /// Clear HTTP requests with a host.
    pub http_hosts: u64,
    /// Hellos and requests for a banned name.
    pub banned: u64,
}

/// Made-up traffic, frame by frame, without end.
#[derive(Debug)]
pub struct Traffic {
    settings: Settings,
    random: Random,
    now_ns: u64,
    open: Vec<Conversation>,
    /// The conversation that sent the last packet.
    last: usize,
    is_filled: bool,
    counts: TrafficCounts,
}

impl Traffic {
    /// Traffic from its beginning.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            random: Random::new(settings.seed),
            now_ns: START_NS,
            open: Vec::new(),
            last: 0,
            is_filled: false,
            counts: TrafficCounts::default(),
        }
    }

    /// Counts of what was made so far.
    pub const fn counts(&self) -> &TrafficCounts {
        &self.counts
    }

    /// Replaces the contents of `frame` by the next frame. Returns its time in nanoseconds since the Unix epoch.
    pub fn frame(&mut self, frame: &mut Vec<u8>) -> u64 {
        let chosen = self.choose();
        self.send(chosen, frame)
    }

    /// As [`frame`](Self::frame), but only for hellos that are not complete; `None` when all are. For a clean end.
    pub fn frame_of_unfinished_hello(&mut self, frame: &mut Vec<u8>) -> Option<u64> {
        let unfinished = self.open.iter().position(Conversation::is_hello_unfinished)?;
        Some(self.send(unfinished, frame))
    }

    fn send(&mut self, chosen: usize, frame: &mut Vec<u8>) -> u64 {
        self.now_ns += 1 + self.random.below(2 * GAP_NS) as u64;
        if let Some(conversation) = self.open.get_mut(chosen) {
            let content = conversation.next(self.now_ns, &mut self.random, frame);
            let is_over = conversation.is_over();
            self.count(content, frame.len());
            if is_over {
                self.open.swap_remove(chosen);
            }
        }
        self.last = chosen;
        self.now_ns
    }

    fn count(&mut self, content: Content, bytes: usize) {
        let counts = &mut self.counts;
        counts.frames += 1;
        counts.bytes += bytes as u64;
        counts.hellos_tls += u64::from(content.hello_tls);
        counts.hellos_quic += u64::from(content.hello_quic);
        counts.hellos_post_quantum += u64::from(content.post_quantum);
        counts.dns_answers += u64::from(content.dns_answer);
        counts.http_hosts += u64::from(content.http_host);
        counts.banned += u64::from(content.banned);
    }

    /// The index of the conversation that sends next: a new one, the last one again, or any.
    fn choose(&mut self) -> usize {
        self.is_filled |= self.open.len() >= self.settings.flows;
        let packets_per_flow = if self.is_filled { self.settings.profile.packets_per_flow() } else { FILLING };
        if self.open.is_empty() || self.random.once_in(packets_per_flow) {
            if self.open.len() >= self.settings.flows.max(1) {
                let leaving = self.random.below(self.open.len());
                if let Some(leaving) = self.open.get_mut(leaving) {
                    leaving.end();
                }
            }
            let conversation = self.begin();
            self.open.push(conversation);
            self.counts.flows += 1;
            return self.open.len() - 1;
        }
        // Packets come in bursts, most of all those of an opening.
        if let Some(last) = self.open.get(self.last)
            && self.random.below(100) < if last.is_opening() { 60 } else { 45 }
        {
            return self.last;
        }
        self.random.below(self.open.len())
    }

    fn begin(&mut self) -> Conversation {
        let random = &mut self.random;
        let is_v6 = random.once_in(5);
        let (name_number, name, banned) = name(random, self.settings.banned_one_in);
        let (client, client_port) = client(self.counts.flows, is_v6);
        let server = server(name_number, random.below(4) as u32, is_v6);
        let ends = Ends { client, client_port, server, server_port: 443 };
        let (least, most) = self.settings.profile.data_packets();
        let data = random.heavy_tailed(least, most);
        match random.below(100) {
            0..40 => {
                let post_quantum = random.below(40) < 24;
                let transport = tcp::transport(true, random);
                Conversation::new(ends, transport, tcp::tls(name, banned, post_quantum, random), data)
            }
            40..64 => {
                let post_quantum = random.below(24) < 16;
                let (transport, opening) = udp::quic(name, banned, post_quantum, random);
                Conversation::new(ends, transport, opening, data)
            }
            64..67 => {
                let transport = tcp::transport(false, random);
                let ends = Ends { server_port: 80, ..ends };
                Conversation::new(ends, transport, tcp::http(name, banned, random), data)
            }
            67..93 => {
                let opening = udp::dns(name, server, random);
                Conversation::new(service(ends, 53), Transport::Udp, opening, 0)
            }
            93..96 => Conversation::new(service(ends, 123), Transport::Udp, udp::ntp(random), 0),
            96..98 => {
                let pings = 2 * random.within(1..5);
                let ping = |number| PlannedPacket {
                    from_client: number % 2 == 0,
                    payload: vec![0x61; 48],
                    ..PlannedPacket::default()
                };
                Conversation::new(ends, Transport::Echo { number: 1 }, (0..pings).map(ping).collect(), 0)
            }
            _ => {
                let client = match client {
                    IpAddr::V4(v4) => v4,
                    IpAddr::V6(_) => Ipv4Addr::new(10, 0, 0, 2),
                };
                let request = PlannedPacket { from_client: true, ..PlannedPacket::default() };
                Conversation::new(ends, Transport::Arp(client), vec![request], 0)
            }
        }
    }
}

/// A name to contact, its number, and whether it is banned.
fn name(random: &mut Random, banned_one_in: usize) -> (u32, &'static str, bool) {
    let banned = banned_one_in > 0 && random.once_in(banned_one_in);
    let list = if banned { names::BANNED } else { names::HARMLESS };
    // The smaller of two random numbers: names at the front are contacted more often.
    let place = random.below(list.len()).min(random.below(list.len()));
    let number = place + if banned { names::HARMLESS.len() } else { 0 };
    (number as u32, list.get(place).copied().unwrap_or("www.example.com"), banned)
}

/// A client and a port that no flow had before: 4 096 clients with 32 768 ports each, in pseudorandom order.
fn client(flow: u64, is_v6: bool) -> (IpAddr, u16) {
    // Multiplication by an odd number is a bijection.
    let place = (flow.wrapping_mul(0x5851_f42d_4c95_7f2d) & 0x7ff_ffff) as u32;
    let host = place >> 15;
    let address = if is_v6 {
        IpAddr::V6(Ipv6Addr::from_bits(0x2001_0db8_0001_0000_0000_0000_0000_0000 + u128::from(host + 0x10)))
    } else {
        IpAddr::V4(Ipv4Addr::from_bits(0x0a01_0000 + ((host / 250) << 8) + host % 250 + 2))
    };
    (address, 0x8000 | (place & 0x7fff) as u16)
}

/// One of the servers of a name.
fn server(name_number: u32, replica: u32, is_v6: bool) -> IpAddr {
    let host = name_number * 4 + replica + 1;
    if is_v6 {
        IpAddr::V6(Ipv6Addr::from_bits(0x2001_0002_0000_0000_0000_0000_0000_0000 + u128::from(host)))
    } else {
        IpAddr::V4(Ipv4Addr::from_bits(0xc612_0000 + host))
    }
}

/// The same client and the organisation's own server for a service.
fn service(ends: Ends, port: u16) -> Ends {
    let server = match ends.client {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::from_bits(0xc613_ff00 + u32::from(port))),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::from_bits(0x2001_0002_0000_ffff_0000_0000_0000_0000 + u128::from(port))),
    };
    Ends { server, server_port: port, ..ends }
}
