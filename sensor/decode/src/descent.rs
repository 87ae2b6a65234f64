//! What is carried from the outermost header of a frame down to the innermost: the encapsulation as it grows, and how
//! much deeper decoding may go.

use super::{Address, DecodeError, DecodeLimits, Encapsulation, Tunnel, TunnelKind, VLANS_MAX};

/// How often, in one frame, a payload that names no type may be read in a second way. Bounds the work that a
/// frame made of ambiguous headers can ask for.
const SECOND_GUESSES_MAX: u8 = 4;

/// The state of one frame's decoding.
#[derive(Clone, Copy, Debug)]
pub(super) struct Descent<'l> {
    pub limits: &'l DecodeLimits,
    encapsulation: Encapsulation,
    /// Nothing is noted in `encapsulation` yet. Most packets stay bare: theirs need not be copied from here.
    bare: bool,
    /// Sender and receiver of the IP packet that the current header stands in.
    pub outer: Option<(Address, Address)>,
    /// Headers of encapsulation so far, joins of fragments included.
    pub depth: u8,
    /// The capture holds less of the frame than was on the wire.
    pub cut: bool,
    /// Inside a tunnel that is recognised by its port alone: the inner packet has to fit.
    pub strict: bool,
    second_guesses: u8,
    tags_left: u8,
}

impl<'l> Descent<'l> {
    #[inline]
    pub fn new(limits: &'l DecodeLimits, encapsulation: Encapsulation, depth: u8, cut: bool) -> Self {
        Self {
            limits,
            encapsulation,
            bare: false,
            outer: None,
            depth,
            cut,
            strict: false,
            second_guesses: SECOND_GUESSES_MAX,
            tags_left: limits.tags_max,
        }
    }

    /// The start of a frame.
    #[inline]
    pub fn bare(limits: &'l DecodeLimits, cut: bool) -> Self {
        Self { bare: true, ..Self::new(limits, Encapsulation::default(), 0, cut) }
    }

    /// What stood around the current header.
    #[inline]
    pub fn encapsulation(&self) -> Encapsulation {
        if self.bare { Encapsulation::default() } else { self.encapsulation }
    }

    /// Goes one header of encapsulation deeper.
    pub fn deepen(&mut self) -> Result<(), DecodeError> {
        if self.depth >= self.limits.tunnel_depth_max {
            return Err(DecodeError::TooDeep);
        }
        self.depth += 1;
        Ok(())
    }

    /// Passes one more tag, label or other header that is no tunnel. Every way from one header back to the same
    /// code goes through here or through [`deepen`](Self::deepen), which is what bounds the recursion.
    pub fn pass_tag(&mut self) -> Result<(), DecodeError> {
        self.tags_left = self.tags_left.checked_sub(1).ok_or(DecodeError::TooDeep)?;
        Ok(())
    }

    /// Opens a tunnel.
    pub fn open(&mut self, kind: TunnelKind) -> Result<(), DecodeError> {
        self.deepen()?;
        self.bare = false;
        self.encapsulation.tunnel_depth = self.encapsulation.tunnel_depth.saturating_add(1);
        if self.encapsulation.tunnel.is_none() {
            let (source, destination) = self.outer.unzip();
            self.encapsulation.tunnel = Some(Tunnel { kind, source, destination });
        }
        Ok(())
    }

    /// Notes a VLAN tag. Identifier 0 is a priority tag and names no VLAN (802.1Q §9.6).
    pub fn vlan(&mut self, tag: u16) {
        let id = tag & 0x0fff;
        let place = self.encapsulation.vlans.get_mut(usize::from(self.encapsulation.vlan_count));
        if let (Some(place), 1..) = (place, id) {
            self.bare = false;
            *place = id;
            self.encapsulation.vlan_count += 1;
        }
        debug_assert!(usize::from(self.encapsulation.vlan_count) <= VLANS_MAX);
    }

    /// Notes the identifier of a virtual network. Never gives 0, which means none.
    pub fn network(&mut self, kind: TunnelKind, id: u32) {
        self.bare = false;
        let seed = self.encapsulation.network.rotate_left(5) ^ (kind as u32 + 1).wrapping_mul(0x85eb_ca6b);
        let mixed = (seed ^ id).wrapping_mul(0x9e37_79b1);
        self.encapsulation.network = (mixed ^ mixed >> 15).max(1);
    }

    /// Reads a payload in one way and, if that fails, in another.
    pub fn either<T>(
        &mut self,
        first: impl FnOnce(&mut Self) -> Result<T, DecodeError>,
        second: impl FnOnce(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<T, DecodeError> {
        let before = *self;
        let error = match first(self) {
            Err(error) if error != DecodeError::TooDeep => error,
            done => return done,
        };
        self.back_to(&before);
        let Some(left) = self.second_guesses.checked_sub(1) else {
            return Err(error);
        };
        self.second_guesses = left;
        second(self).map_err(|_| error)
    }

    /// Takes back what a failed attempt noted, but not the guesses that it used up.
    pub fn back_to(&mut self, before: &Self) {
        let second_guesses = self.second_guesses;
        *self = *before;
        self.second_guesses = second_guesses;
    }
}
