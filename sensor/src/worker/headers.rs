//! The headers of frames, parsed: whose flow each frame is of, as far as it is a packet.

use std::slice::Windows;

use super::DNS_PORT;
use vigie_decode::{DecodeError, DecodeLimits, Decoded};
use vigie_flow::memory::prefetch;
use vigie_flow::{HashKey, PacketHeaders};
use vigie_wire::Frame;

/// How many frames before its turn a frame's headers are fetched.
const AHEAD_FRAMES: usize = 12;

/// What a first look at a frame told.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    pub(super) headers: PacketHeaders,
    pub(super) hash: u64,
    /// Place of the frame in its block.
    pub(super) place: u32,
    /// A glance was enough.
    pub(super) is_plain: bool,
    /// The flow is that of the worker that gets the frame, which otherwise only wants to know of it.
    pub(super) is_own: bool,
}

impl Look {
    /// At nothing yet.
    pub const NOTHING: Self = Self { headers: PacketHeaders::NONE, hash: 0, place: 0, is_plain: false, is_own: true };

    /// Says where in its block the frame is.
    pub const fn set_place(&mut self, place: u32) {
        self.place = place;
    }

    /// The same, for a worker that follows the flow or does not.
    pub const fn of(&self, is_own: bool) -> Self {
        Self { is_own, ..*self }
    }

    /// Whether every worker wants to see the frame: DNS, which tells names, and what is no packet of a flow, as fragments
    /// are, which may become one.
    pub fn is_for_all(&self) -> bool {
        let key = &self.headers.key;
        key.protocol == PacketHeaders::NONE.key.protocol || key.has_port(DNS_PORT)
    }

    /// Which of so many workers follows the flow.
    #[inline]
    pub fn owner(&self, workers: u32) -> u32 {
        owner(self.hash, workers)
    }
}

/// Looks at frames for workers that share them. There must be room for as many looks; what was there is forgotten.
pub fn look_at_all(frames: &[Frame<'_>], looks: &mut [Look], limits: &DecodeLimits, secret: &HashKey) {
    Fetching::begin(frames);
    let mut fetching = Fetching::new(frames, 0);
    for (frame, look) in frames.iter().zip(looks) {
        fetching.step();
        look.is_plain = look.headers.read(frame);
        if !look.is_plain {
            look.headers = headers_of(&vigie_decode::decode(frame, limits));
        }
        look.hash = look.headers.key.hash(secret);
    }
}

/// Which of so many workers follows a flow. Other bits than those that choose places in the table.
#[inline]
pub(super) const fn owner(hash: u64, workers: u32) -> u32 {
    (((hash.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) * workers as u64) >> 32) as u32
}

pub(super) fn headers_of(decoded: &Result<Decoded<'_>, DecodeError>) -> PacketHeaders {
    match decoded {
        Ok(Decoded::Packet(packet)) => PacketHeaders::of_packet(packet),
        Ok(Decoded::Fragment(_)) | Err(_) => PacketHeaders::NONE,
    }
}

/// Has the headers of frames fetched some time before their turn: where they begin, and half of that time before, when that is
/// there to tell how long they are, where they end.
pub(super) struct Fetching<'v, 'f> {
    coming: Windows<'v, Frame<'f>>,
}

impl<'v, 'f> Fetching<'v, 'f> {
    /// For frames that have their turn from `start` on; the first were [begun](Self::begin).
    pub(super) fn new(frames: &'v [Frame<'f>], start: usize) -> Self {
        let coming = frames.get(start + AHEAD_FRAMES / 2..).unwrap_or_default();
        Self { coming: coming.windows(AHEAD_FRAMES / 2 + 1) }
    }

    /// Before the first of all has its turn.
    pub(super) fn begin(frames: &[Frame<'_>]) {
        frames.iter().take(AHEAD_FRAMES).for_each(|frame| prefetch(frame.data, 0));
    }

    /// One frame has its turn.
    #[inline(always)]
    pub(super) fn step(&mut self) {
        /// Where the flags of TCP stand, behind Ethernet and IPv4.
        const IPV4_END: usize = 47;
        /// And behind a VLAN tag and IPv6.
        const LONGEST_END: usize = 71;
        if let Some([half_way, .., begun]) = self.coming.next() {
            prefetch(begun.data, 0);
            let is_v4 = half_way.data.get(12) == Some(&8);
            prefetch(half_way.data, if is_v4 { IPV4_END } else { LONGEST_END });
        }
    }
}
