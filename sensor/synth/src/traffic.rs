//! The mix: which conversations begin, how long they last, and whose packet is next.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::conversation::{Conversation, Planned, Tells, Wrapping};
use super::packet::Ends;
use super::random::Random;
use super::{names, tcp, udp};

/// Time of the first frame: 2026-11-22, midnight.
const START_NS: u64 = 1_795_305_600_000_000_000;
/// Nanoseconds from one frame to the next on average: 100 000 frames a second.
const GAP_NS: usize = 10_000;
/// Until as many conversations are open as wanted, one packet in this many opens one.
const FILLING: usize = 17;

/// How many conversations begin.
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
    /// One packet in how many opens a flow.
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

/// What the traffic is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The same seed gives the same bytes.
    pub seed: u64,
    /// How many conversations begin.
    pub profile: Profile,
    /// How many are open at once, about.
    pub flows: usize,
    /// One contacted name in this many is under ban; 0 for none.
    pub banned_one_in: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { seed: 1, profile: Profile::Mixed, flows: 1_000, banned_one_in: 200 }
    }
}

/// What was made until now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Made {
    /// Frames.
    pub frames: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Conversations begun.
    pub flows: u64,
    /// Hellos over TCP, told to their last byte.
    pub hellos_tls: u64,
    /// Hellos over QUIC, told to their last byte.
    pub hellos_quic: u64,
    /// Those of both with a post-quantum key share.
    pub hellos_post_quantum: u64,
    /// DNS answers.
    pub dns_answers: u64,
    /// Requests in clear with a host.
    pub http_hosts: u64,
    /// Hellos and requests for a name under ban.
    pub banned: u64,
}

/// Made-up traffic, frame by frame, without end.
#[derive(Debug)]
pub struct Traffic {
    settings: Settings,
    random: Random,
    now_ns: u64,
    open: Vec<Conversation>,
    /// Whose packet came last.
    last: usize,
    is_filled: bool,
    made: Made,
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
            made: Made::default(),
        }
    }

    /// What was made until now.
    pub const fn made(&self) -> &Made {
        &self.made
    }

    /// Writes the next frame in place of what stands in `frame`, and gives its time in nanoseconds since the Unix epoch.
    pub fn frame(&mut self, frame: &mut Vec<u8>) -> u64 {
        let chosen = self.choose();
        self.send(chosen, frame)
    }

    /// As [`frame`](Self::frame), but only of hellos that are half told; `None` when all are whole. For a clean end.
    pub fn frame_of_half_told(&mut self, frame: &mut Vec<u8>) -> Option<u64> {
        let half_told = self.open.iter().position(Conversation::is_half_told)?;
        Some(self.send(half_told, frame))
    }

    fn send(&mut self, chosen: usize, frame: &mut Vec<u8>) -> u64 {
        self.now_ns += 1 + self.random.below(2 * GAP_NS) as u64;
        if let Some(conversation) = self.open.get_mut(chosen) {
            let tells = conversation.next(self.now_ns, &mut self.random, frame);
            let is_over = conversation.is_over();
            self.count(tells, frame.len());
            if is_over {
                self.open.swap_remove(chosen);
            }
        }
        self.last = chosen;
        self.now_ns
    }

    fn count(&mut self, tells: Tells, bytes: usize) {
        let made = &mut self.made;
        made.frames += 1;
        made.bytes += bytes as u64;
        made.hellos_tls += u64::from(tells.hello_tls);
        made.hellos_quic += u64::from(tells.hello_quic);
        made.hellos_post_quantum += u64::from(tells.post_quantum);
        made.dns_answers += u64::from(tells.dns_answer);
        made.http_hosts += u64::from(tells.http_host);
        made.banned += u64::from(tells.banned);
    }

    /// The place of the conversation that is next: a new one, the last one again, or any.
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
            self.made.flows += 1;
            return self.open.len() - 1;
        }
        // Packets come in trains, those of an opening most of all.
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
        let (client, client_port) = client(self.made.flows, is_v6);
        let server = server(name_number, random.below(4) as u32, is_v6);
        let ends = Ends { client, client_port, server, server_port: 443 };
        let (least, most) = self.settings.profile.data_packets();
        let data = random.heavy_tailed(least, most);
        match random.below(100) {
            0..40 => {
                let post_quantum = random.below(40) < 24;
                let wrapping = tcp::wrapping(true, random);
                Conversation::new(ends, wrapping, tcp::tls(name, banned, post_quantum, random), data)
            }
            40..64 => {
                let post_quantum = random.below(24) < 16;
                let (wrapping, opening) = udp::quic(name, banned, post_quantum, random);
                Conversation::new(ends, wrapping, opening, data)
            }
            64..67 => {
                let wrapping = tcp::wrapping(false, random);
                let ends = Ends { server_port: 80, ..ends };
                Conversation::new(ends, wrapping, tcp::http(name, banned, random), data)
            }
            67..93 => {
                let opening = udp::dns(name, server, random);
                Conversation::new(service(ends, 53), Wrapping::Udp, opening, 0)
            }
            93..96 => Conversation::new(service(ends, 123), Wrapping::Udp, udp::ntp(random), 0),
            96..98 => {
                let pings = 2 * random.within(1..5);
                let ping =
                    |number| Planned { from_client: number % 2 == 0, payload: vec![0x61; 48], ..Planned::default() };
                Conversation::new(ends, Wrapping::Echo { number: 1 }, (0..pings).map(ping).collect(), 0)
            }
            _ => {
                let client = match client {
                    IpAddr::V4(v4) => v4,
                    IpAddr::V6(_) => Ipv4Addr::new(10, 0, 0, 2),
                };
                let request = Planned { from_client: true, ..Planned::default() };
                Conversation::new(ends, Wrapping::Arp(client), vec![request], 0)
            }
        }
    }
}

/// A name to be contacted, its number, and whether it is under ban.
fn name(random: &mut Random, banned_one_in: usize) -> (u32, &'static str, bool) {
    let banned = banned_one_in > 0 && random.once_in(banned_one_in);
    let list = if banned { names::BANNED } else { names::HARMLESS };
    // The lesser of two: names at the front are contacted more often.
    let place = random.below(list.len()).min(random.below(list.len()));
    let number = place + if banned { names::HARMLESS.len() } else { 0 };
    (number as u32, list.get(place).copied().unwrap_or("www.example.com"), banned)
}

/// A client and a port that no flow had before: 4 096 clients with 32 768 ports each, in an order that looks random.
fn client(flow: u64, is_v6: bool) -> (IpAddr, u16) {
    // Multiplication by an odd number is one to one.
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

/// The same client at the organisation's own server for a service.
fn service(ends: Ends, port: u16) -> Ends {
    let server = match ends.client {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::from_bits(0xc613_ff00 + u32::from(port))),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::from_bits(0x2001_0002_0000_ffff_0000_0000_0000_0000 + u128::from(port))),
    };
    Ends { server, server_port: port, ..ends }
}
