//! Reassembly of fragments of IP (RFC 791 §3.2, RFC 8200 §4.5) and CAPWAP (RFC 5415 §3.4) in a bounded cache: in any order,
//! duplicated, overlapping.
//!
//! Where fragments contradict each other, in their bytes or in the datagram's end, hosts differ in what they make of it. So
//! every reading of the datagram is given, the one of the first copies first, up to a limit. A complete datagram stays in the
//! cache for a while, because the fragment that contradicts it may come later. Fragments with a wrong IP header checksum are
//! dropped, as every receiver drops them.
//!
//! Of a datagram that cannot be completed, because the capture was truncated or fragments never came, the part before the
//! first gap is given.
//!
//! Bytes are stored in order of arrival, so memory follows what was received and not what an offset claims.

mod incomplete;
mod reassembler;
mod slots;
#[cfg(test)]
mod tests;

use super::checksum::StoredHeader;
use super::{Address, Encapsulation, NetworkHeader};

pub use reassembler::{Readings, Reassembler};

/// Limits of the reassembly cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FragmentLimits {
    /// Datagrams at once.
    pub fragment_datagrams_max: usize,
    /// Memory of the whole cache, bytes.
    pub fragment_bytes_max: usize,
    /// Readings of one datagram.
    pub fragment_versions_max: usize,
    /// How long after its first fragment a datagram is given up, milliseconds.
    pub fragment_timeout_ms: u64,
    /// How long after its first fragment a complete datagram is kept for fragments that contradict it, milliseconds.
    pub fragment_completed_ms: u64,
}

impl Default for FragmentLimits {
    fn default() -> Self {
        Self {
            fragment_datagrams_max: 4096,
            fragment_bytes_max: 16 << 20,
            fragment_versions_max: 8,
            fragment_timeout_ms: 30_000,
            fragment_completed_ms: 1_000,
        }
    }
}

/// What fragments are parts of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Carried {
    /// The payload of an IP packet.
    Ip {
        /// IP protocol number; in IPv6 that of the first fragment counts.
        protocol: u8,
        /// IPv6.
        is_v6: bool,
    },
    /// The payload of a CAPWAP data message.
    Capwap {
        /// An 802.11 frame, not an Ethernet frame.
        is_wifi: bool,
    },
}

/// Where a fragment was captured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// Capture time, nanoseconds since the Unix epoch.
    pub timestamp_ns: u64,
    /// Number of the frame.
    pub frame_number: u64,
    /// Capture interface.
    pub interface: u16,
}

/// A fragment of a datagram.
#[derive(Clone, Copy, Debug)]
pub struct Fragment<'a> {
    /// Sender.
    pub source: Address,
    /// Receiver.
    pub destination: Address,
    /// Identification field, the same in all fragments of a datagram.
    pub identification: u32,
    /// What the datagram is.
    pub carried: Carried,
    /// Offset of the payload in the datagram, bytes.
    pub offset: u32,
    /// More fragments follow.
    pub more: bool,
    /// The capture holds less of the payload than was on the wire.
    pub truncated: bool,
    /// The captured payload.
    pub payload: &'a [u8],
    /// The headers around the fragment.
    pub encapsulation: Encapsulation,
    pub(super) depth: u8,
    pub(super) network: NetworkHeader<'a>,
}

/// A reassembled datagram, to be decoded by [`decode_reassembled`](super::decode_reassembled).
#[derive(Clone, Debug)]
pub struct Datagram {
    /// Sender.
    pub source: Address,
    /// Receiver.
    pub destination: Address,
    /// What the datagram is.
    pub carried: Carried,
    /// The headers around the fragments.
    pub encapsulation: Encapsulation,
    /// The payload, or the part of it before the first gap.
    pub payload: Vec<u8>,
    /// Fragments contradict each other: there are other readings.
    pub is_disputed: bool,
    /// Where the first of its fragments was captured.
    pub origin: Origin,
    pub(super) depth: u8,
    pub(super) network: StoredHeader,
    /// Length of the payload, as far as is known.
    pub(super) length: usize,
}

impl Datagram {
    /// Whether only the part before the first gap is known.
    pub const fn is_truncated(&self) -> bool {
        self.payload.len() < self.length
    }
}

/// What became of fragments, and which limits were hit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FragmentCounts {
    /// Fragments seen.
    pub fragments: u64,
    /// Datagrams that were completed.
    pub joined: u64,
    /// Further readings of completed datagrams.
    pub other_readings: u64,
    /// Readings not given because only the first copies have a right transport checksum.
    pub void_readings: u64,
    /// Datagrams given up because fragments were missing for too long.
    pub timed_out: u64,
    /// Datagrams that were never completed, of which the first part was read.
    pub partial: u64,
    /// Datagrams evicted, oldest first, because there were too many.
    pub evicted: u64,
    /// Datagrams evicted, oldest first, because all together had too many bytes.
    pub evicted_for_bytes: u64,
    /// Fragments that reach beyond the largest possible datagram.
    pub too_large: u64,
    /// Fragments not stored because their datagram was in too many pieces.
    pub too_many_pieces: u64,
    /// Fragments whose contradictions were not stored because their datagram had too many readings.
    pub too_many_versions: u64,
    /// Fragments with bytes that had been received before.
    pub overlapping: u64,
    /// Fragments with other bytes than had been received before.
    pub differing: u64,
    /// Fragments that contradict the datagram's end.
    pub conflicting: u64,
    /// Fragments of which the capture holds only a part.
    pub truncated: u64,
    /// Fragments without payload.
    pub empty: u64,
    /// Fragments dropped because the checksum of their IP header is wrong.
    pub bad_checksum: u64,
}

impl FragmentCounts {
    /// All counts with their family and reason.
    #[rustfmt::skip]
    pub const fn labelled(&self) -> [(&'static str, &'static str, u64); 17] {
        [
            ("fragment", "seen", self.fragments),
            ("fragment", "joined", self.joined),
            ("fragment", "other_readings", self.other_readings),
            ("fragment", "void_readings", self.void_readings),
            ("fragment", "timed_out", self.timed_out),
            ("fragment", "partial", self.partial),
            ("limit", "fragment_datagrams_max", self.evicted),
            ("limit", "fragment_bytes_max", self.evicted_for_bytes),
            ("fragment", "too_large", self.too_large),
            ("limit", "fragment_pieces_max", self.too_many_pieces),
            ("limit", "fragment_versions_max", self.too_many_versions),
            ("fragment", "overlapping", self.overlapping),
            ("fragment", "differing", self.differing),
            ("fragment", "conflicting", self.conflicting),
            ("fragment", "truncated", self.truncated),
            ("fragment", "empty", self.empty),
            ("fragment", "bad_checksum", self.bad_checksum),
        ]
    }
}

/// The fields that all fragments of one datagram share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    source: Address,
    destination: Address,
    identification: u32,
    carried: Carried,
    encapsulation: Encapsulation,
    /// The IP header checksums are wrong. Such fragments never complete a datagram of others.
    is_suspect: bool,
}

impl Key {
    fn new(fragment: &Fragment<'_>, is_suspect: bool) -> Self {
        Self {
            source: fragment.source,
            destination: fragment.destination,
            identification: fragment.identification,
            carried: match fragment.carried {
                // Fragments of IPv6 need not agree on the protocol (RFC 8200 §4.5).
                Carried::Ip { is_v6: true, .. } => Carried::Ip { protocol: 0, is_v6: true },
                carried => carried,
            },
            encapsulation: fragment.encapsulation,
            is_suspect,
        }
    }
}
