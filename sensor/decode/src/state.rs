//! The state of one frame's decoding: the encapsulation read so far, and how many more headers may follow.

use super::{Address, DecodeError, DecodeLimits, Encapsulation, Tunnel, TunnelKind, VLANS_MAX};

/// How often, in one frame, a payload without a type field may be read in a second way. Bounds the work that a frame
/// made of ambiguous headers can ask for.
const SECOND_GUESSES_MAX: u8 = 4;

/// The state of one frame's decoding.
#[derive(Clone, Copy, Debug)]
pub(super) struct DecodeState {
    pub limits: DecodeLimits,
    encapsulation: Encapsulation,
    /// `encapsulation` is still empty. That is so for most packets, which then need no copy of it.
    is_bare: bool,
    /// Sender and receiver of the IP packet around the current header.
    pub outer: Option<(Address, Address)>,
    /// Encapsulating headers so far, reassembled fragments included.
    pub depth: u8,
    /// The capture holds less of the frame than was on the wire.
    pub truncated: bool,
    /// Inside a tunnel that only a port number indicates: the inner packet has to be plausible.
    pub strict: bool,
    second_guesses: u8,
    tags_left: u8,
}

impl DecodeState {
    #[inline]
    pub fn new(limits: DecodeLimits, encapsulation: Encapsulation, depth: u8, truncated: bool) -> Self {
        Self {
            limits,
            encapsulation,
            is_bare: false,
            outer: None,
            depth,
            truncated,
            strict: false,
            second_guesses: SECOND_GUESSES_MAX,
            tags_left: limits.tags_max,
        }
    }

    /// The state at the start of a frame.
    #[inline]
    pub fn start(limits: DecodeLimits, truncated: bool) -> Self {
        Self { is_bare: true, ..Self::new(limits, Encapsulation::default(), 0, truncated) }
    }

    /// The encapsulation of the current header.
    #[inline]
    pub fn encapsulation(&self) -> Encapsulation {
        if self.is_bare { Encapsulation::default() } else { self.encapsulation }
    }

    /// Counts one more encapsulating header.
    pub fn count_encapsulation(&mut self) -> Result<(), DecodeError> {
        if self.depth >= self.limits.tunnel_depth_max {
            return Err(DecodeError::TooDeep);
        }
        self.depth += 1;
        Ok(())
    }

    /// Counts one more tag, label or other header that is no tunnel. Every recursion passes here or through
    /// [`count_encapsulation`](Self::count_encapsulation), which bounds its depth.
    pub fn count_tag(&mut self) -> Result<(), DecodeError> {
        self.tags_left = self.tags_left.checked_sub(1).ok_or(DecodeError::TooDeep)?;
        Ok(())
    }

    /// Enters a tunnel.
    pub fn enter_tunnel(&mut self, kind: TunnelKind) -> Result<(), DecodeError> {
        self.count_encapsulation()?;
        self.is_bare = false;
        self.encapsulation.tunnel_depth = self.encapsulation.tunnel_depth.saturating_add(1);
        if self.encapsulation.tunnel.is_none() {
            let (source, destination) = self.outer.unzip();
            self.encapsulation.tunnel = Some(Tunnel { kind, source, destination });
        }
        Ok(())
    }

    /// Adds a VLAN tag. Identifier 0 is a priority tag, not a VLAN (802.1Q §9.6).
    pub fn add_vlan(&mut self, tag: u16) {
        let id = tag & 0x0fff;
        let place = self.encapsulation.vlans.get_mut(usize::from(self.encapsulation.vlan_count));
        if let (Some(place), 1..) = (place, id) {
            self.is_bare = false;
            *place = id;
            self.encapsulation.vlan_count += 1;
        }
        debug_assert!(usize::from(self.encapsulation.vlan_count) <= VLANS_MAX);
    }

    /// Adds the identifier of a virtual network. The sum is never 0, which means none.
    pub fn add_network(&mut self, kind: TunnelKind, id: u32) {
        self.is_bare = false;
        let seed = self.encapsulation.network.rotate_left(5) ^ (kind as u32 + 1).wrapping_mul(0x85eb_ca6b);
        let mixed = (seed ^ id).wrapping_mul(0x9e37_79b1);
        self.encapsulation.network = (mixed ^ mixed >> 15).max(1);
    }

    /// Reads a payload in one way and, if that fails, in another.
    pub fn try_either<T>(
        &mut self,
        first: impl FnOnce(&mut Self) -> Result<T, DecodeError>,
        second: impl FnOnce(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<T, DecodeError> {
        let before = *self;
        let error = match first(self) {
            Err(error) if error != DecodeError::TooDeep => error,
            done => return done,
        };
        self.restore(&before);
        let Some(left) = self.second_guesses.checked_sub(1) else {
            return Err(error);
        };
        self.second_guesses = left;
        second(self).map_err(|_| error)
    }

    /// Restores the state from before a failed attempt, but not the second guesses that the attempt used up.
    pub fn restore(&mut self, before: &Self) {
        let second_guesses = self.second_guesses;
        *self = *before;
        self.second_guesses = second_guesses;
    }
}
