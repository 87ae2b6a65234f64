//! Step 1: the headers of a frame, parsed into the key and hash of its flow.

use std::slice::Windows;

use super::DNS_PORT;
use super::dns::is_dns_elsewhere;
use vigie_decode::{DecodeError, DecodeLimits, Decoded, Packet, Transport};
use vigie_flow::memory::prefetch;
use vigie_flow::{HashKey, PacketHeaders};
use vigie_wire::Frame;

/// The headers of a frame are prefetched this many frames before they are parsed.
const PREFETCH_FRAMES: usize = 12;

/// The parsed headers of a frame.
#[derive(Clone, Copy, Debug)]
pub struct ParsedFrame {
    /// [`PacketHeaders::NONE`] if the frame has no packet of a flow.
    pub(super) headers: PacketHeaders,
    /// Hash of the flow key.
    pub(super) hash: u64,
    /// Index of the frame in its block.
    pub(super) index: u32,
    /// [`PacketHeaders::read`] understood the frame, so the decoder is not needed.
    pub(super) is_plain: bool,
    /// The frame is of DNS on another port than that of DNS.
    pub(super) is_dns_elsewhere: bool,
    /// The worker that gets the frame owns its flow. Otherwise it gets the frame for the clock or for DNS.
    pub(super) is_owned: bool,
}

impl ParsedFrame {
    /// No frame yet.
    pub const EMPTY: Self = Self {
        headers: PacketHeaders::NONE,
        hash: 0,
        index: 0,
        is_plain: false,
        is_dns_elsewhere: false,
        is_owned: true,
    };

    /// Sets the index of the frame in its block.
    pub const fn set_index(&mut self, index: u32) {
        self.index = index;
    }

    /// The same frame, for a worker that owns its flow or does not.
    pub const fn with_owned(&self, is_owned: bool) -> Self {
        Self { is_owned, ..*self }
    }

    /// Whether every worker needs the frame: DNS, whose answers all workers remember, and what is not one packet of one
    /// flow, since a fragment may complete a packet of any flow, and an aggregate may hold several.
    pub fn is_for_every_worker(&self) -> bool {
        let key = &self.headers.key;
        key.protocol == PacketHeaders::NONE.key.protocol || key.has_port(DNS_PORT) || self.is_dns_elsewhere
    }

    /// The number of the worker that owns the flow, of so many.
    #[inline]
    pub fn owner(&self, workers: u32) -> u32 {
        owner(self.hash, workers)
    }
}

/// Parses the headers of frames for workers that share them. `parsed` must have room for all frames.
pub fn parse_headers(frames: &[Frame<'_>], parsed: &mut [ParsedFrame], limits: &DecodeLimits, secret: &HashKey) {
    HeaderPrefetch::first(frames);
    let mut prefetch = HeaderPrefetch::new(frames, 0);
    for (frame, parsed) in frames.iter().zip(parsed) {
        prefetch.advance();
        parsed.is_plain = parsed.headers.read(frame);
        let payload = if parsed.is_plain {
            parsed.headers.payload(frame)
        } else {
            let decoded = vigie_decode::decode(frame, limits);
            parsed.headers = headers_of(&decoded);
            match &decoded {
                Ok(Decoded::Packet(Packet { transport: Transport::Tcp(segment), .. })) => segment.payload,
                Ok(Decoded::Packet(Packet { transport: Transport::Udp(datagram), .. })) => datagram.payload,
                _ => &[],
            }
        };
        parsed.is_dns_elsewhere = is_dns_elsewhere(&parsed.headers.key, payload);
        parsed.hash = parsed.headers.key.hash(secret);
    }
}

/// The number of the worker that owns a flow. Uses other bits of the hash than the flow table does.
#[inline]
pub(super) const fn owner(hash: u64, workers: u32) -> u32 {
    (((hash.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) * workers as u64) >> 32) as u32
}

/// The headers of a decoded frame.
pub(super) fn headers_of(decoded: &Result<Decoded<'_>, DecodeError>) -> PacketHeaders {
    match decoded {
        Ok(Decoded::Packet(packet)) => PacketHeaders::of_packet(packet),
        Ok(Decoded::Fragment(_) | Decoded::Aggregate(_)) | Err(_) => PacketHeaders::NONE,
    }
}

/// Prefetches the headers of frames before they are parsed: the first cache line [`PREFETCH_FRAMES`] ahead, and at half
/// that distance, when the first line is there to tell the length, the line in which the headers end.
pub(super) struct HeaderPrefetch<'v, 'f> {
    ahead: Windows<'v, Frame<'f>>,
}

impl<'v, 'f> HeaderPrefetch<'v, 'f> {
    /// For the frames from `start` on. [`first`](Self::first) prefetches the frames before the window.
    pub(super) fn new(frames: &'v [Frame<'f>], start: usize) -> Self {
        let ahead = frames.get(start + PREFETCH_FRAMES / 2..).unwrap_or_default();
        Self { ahead: ahead.windows(PREFETCH_FRAMES / 2 + 1) }
    }

    /// Prefetches the first frames of a batch.
    pub(super) fn first(frames: &[Frame<'_>]) {
        frames.iter().take(PREFETCH_FRAMES).for_each(|frame| prefetch(frame.data, 0));
    }

    /// Moves on by one frame.
    #[inline(always)]
    pub(super) fn advance(&mut self) {
        /// Offset of the TCP flags behind Ethernet and IPv4.
        const IPV4_END: usize = 47;
        /// The same behind a VLAN tag and IPv6.
        const LONGEST_END: usize = 71;
        if let Some([near, .., far]) = self.ahead.next() {
            prefetch(far.data, 0);
            let is_v4 = near.data.get(12) == Some(&8);
            prefetch(near.data, if is_v4 { IPV4_END } else { LONGEST_END });
        }
    }
}
