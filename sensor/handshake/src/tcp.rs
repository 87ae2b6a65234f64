//! Follows a TCP connection until its client's hello is read. Both directions are read, since the client's may not be
//! known. If the hello has no name, the server's certificate may have one. DNS over TCP is read message by message.

use super::stream::{Findings, Stream};
use super::tls::certificate::Names;
use super::tls::{ClientHello, ServerStep, ServerStream};
use super::{Counts, Limits, dns};
use vigie_decode::Segment;
use vigie_flow::Side;
use vigie_wire::assembly::Assembly;

/// The server's direction, read for its certificate.
#[derive(Debug, Default)]
struct ServerSide {
    stream: ServerStream,
    assembly: Assembly,
    origin: Option<u32>,
    segments: u8,
    /// Memory that the caller keeps for this flow until the certificate is there.
    caller_bytes: usize,
}

impl ServerSide {
    fn memory_bytes(&self) -> usize {
        size_of::<Self>() + self.caller_bytes + self.stream.memory_bytes() + self.assembly.capacity()
    }
}

/// TLS 1.3 on the wire (RFC 8446 §4.2.1).
const TLS_1_3: u16 = 0x0304;
/// Segments of the server after which its certificate is given up.
const SERVER_SEGMENTS_MAX: u8 = 64;

/// A connection whose hello is awaited.
#[derive(Debug, Default)]
pub struct TcpInspector {
    low: Stream,
    high: Stream,
    segments: u32,
    is_given_up: bool,
    server: Option<Box<ServerSide>>,
    dns: Option<Box<[DnsStream; 2]>>,
}

// Every connection that is being opened has one: what few need is boxed.
const _: () = assert!(size_of::<TcpInspector>() <= 320);

/// One direction of a DNS connection.
#[derive(Debug, Default)]
struct DnsStream {
    origin: Option<u32>,
    assembly: Assembly,
}

impl DnsStream {
    fn memory_bytes(&self) -> usize {
        size_of::<Self>() + self.assembly.capacity()
    }
}

impl TcpInspector {
    /// Bytes of memory held, those of the struct itself among them.
    pub fn memory_bytes(&self) -> usize {
        size_of::<Self>()
            + self.low.memory_bytes()
            + self.high.memory_bytes()
            + self.server.as_ref().map_or(0, |server| server.memory_bytes())
            + self.dns.as_ref().map_or(0, |streams| streams.iter().map(DnsStream::memory_bytes).sum())
    }

    /// Bytes of memory held for one side.
    #[inline]
    pub fn memory_bytes_of(&self, side: Side) -> usize {
        match side {
            Side::Low => self.low.memory_bytes(),
            Side::High => self.high.memory_bytes(),
        }
    }

    /// Starts over and keeps the memory.
    pub fn reset(&mut self) {
        self.low.reset();
        self.high.reset();
        self.segments = 0;
        self.is_given_up = false;
        self.server = None;
        self.dns = None;
    }

    fn stream(&mut self, side: Side) -> &mut Stream {
        match side {
            Side::Low => &mut self.low,
            Side::High => &mut self.high,
        }
    }

    /// The side's bytes begin at this sequence number.
    pub fn begin(&mut self, side: Side, first_byte: u32) {
        self.stream(side).begin(first_byte);
    }

    /// The side's bytes begin at this sequence number, as its SYN-ACK told; ignored if payload of that side came before.
    pub fn begin_answer(&mut self, side: Side, first_byte: u32) {
        let stream = self.stream(side);
        if stream.is_empty() {
            stream.begin(first_byte);
        }
    }

    /// Whether a connection on the port of DNS carries DNS: any that does not begin like TLS. As a message length (RFC 1035
    /// §4.2.2), TLS's first two bytes would announce more than 5 kB.
    pub fn is_dns(&self, payload: &[u8]) -> bool {
        self.dns.is_some() || self.low.is_empty() && self.high.is_empty() && !matches!(payload, [0x16] | [0x16, 3, ..])
    }

    /// Takes a segment with payload of a DNS connection and visits the messages that it completes (RFC 1035 §4.2.2).
    pub fn dns(
        &mut self,
        side: Side,
        segment: &Segment<'_>,
        limits: &Limits,
        mut visit: impl FnMut(&dns::Message<'_>),
    ) {
        let [low, high] = &mut **self.dns.get_or_insert_default();
        let stream = match side {
            Side::Low => low,
            Side::High => high,
        };
        let origin = *stream.origin.get_or_insert(segment.sequence);
        let Ok(offset) = usize::try_from(segment.sequence.wrapping_sub(origin) as i32) else { return };
        if stream.assembly.insert(offset, segment.payload, limits.stream_bytes_max).is_err() {
            // Resynchronise at the next segment.
            stream.assembly.clear();
            stream.origin = None;
            return;
        }
        let (messages, consumed) = dns::tcp_messages(stream.assembly.contiguous());
        for message in messages.filter_map(dns::Message::parse) {
            visit(&message);
        }
        if consumed > 0 {
            stream.assembly.rebase(consumed);
            stream.origin = Some(origin.wrapping_add(consumed as u32));
        }
    }

    /// Whether no hello is expected any more.
    pub fn is_done(&self) -> bool {
        self.is_given_up || self.low.is_done() && self.high.is_done()
    }

    /// Takes a segment with payload from one side; if there is a hello in it, that side is the client.
    pub fn segment<'a>(
        &'a mut self,
        side: Side,
        segment: &Segment<'a>,
        limits: &Limits,
        counts: &mut Counts,
    ) -> Findings<'a> {
        self.segments += 1;
        if self.segments as usize > limits.undecided_segments_max {
            counts.undecided_segments += 1;
            self.is_given_up = true;
            let hello = self.take_partial_hello(limits).map(|(_, hello)| hello);
            return Findings { name: None, hello };
        }
        self.stream(side).segment(segment, limits, counts)
    }

    /// Frees one side's memory that is not needed any more. Call it after the last [`Findings`] were used.
    pub fn free_unused(&mut self, side: Side) {
        self.stream(side).free_unused();
    }

    /// Whether part of a hello may have come that was not reported.
    pub fn has_partial_hello(&self) -> bool {
        self.low.has_partial_hello() || self.high.has_partial_hello()
    }

    /// The hello without its tail, if its name is there and was not reported yet.
    pub fn take_partial_hello(&mut self, limits: &Limits) -> Option<(Side, ClientHello<'_>)> {
        let Self { low, high, .. } = self;
        let from_low = low.take_partial_hello(limits).map(|hello| (Side::Low, hello));
        let from_high = high.take_partial_hello(limits).map(|hello| (Side::High, hello));
        from_low.or(from_high)
    }

    /// From now on reads the server's side for its certificate. `caller_bytes` of memory are charged to the flow meanwhile.
    pub fn await_certificate(&mut self, caller_bytes: usize) {
        self.reset();
        self.low.release();
        self.high.release();
        self.server = Some(Box::new(ServerSide { caller_bytes, ..ServerSide::default() }));
    }

    /// Whether the server's certificate is awaited.
    pub const fn awaits_certificate(&self) -> bool {
        self.server.is_some()
    }

    /// Takes a segment of the server. The names of its certificate, once; `None` while they may still come.
    pub fn server_segment(&mut self, segment: &Segment<'_>, limits: &Limits) -> Option<Names> {
        let server = self.server.as_deref_mut()?;
        server.segments = server.segments.saturating_add(1);
        if server.segments > SERVER_SEGMENTS_MAX {
            return Some(Names::default());
        }
        let origin = match server.origin {
            Some(origin) => origin,
            None if matches!(segment.payload, [0x16, 3, 0..=4, _, _, 2, ..]) => *server.origin.insert(segment.sequence),
            None => return None,
        };
        let offset = usize::try_from(segment.sequence.wrapping_sub(origin) as i32).ok()?;
        let _ = server.assembly.insert(offset, segment.payload, limits.stream_bytes_max);
        loop {
            match server.stream.advance(server.assembly.contiguous(), limits.stream_bytes_max) {
                ServerStep::Hello(_) => {}
                ServerStep::More => return None,
                ServerStep::Names(names) => return Some(names),
                ServerStep::Stopped(_) => return Some(Names::default()),
            }
        }
    }
}

/// Whether a connection with this hello may show a certificate in clear: TLS 1.2 at most (RFC 8446 §4.4.2).
pub fn may_show_certificate(hello: &ClientHello<'_>) -> bool {
    (1..TLS_1_3).contains(&hello.highest_version())
}
