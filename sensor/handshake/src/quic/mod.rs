//! QUIC, from the datagrams of one UDP flow to the bytes of its ClientHello: versions 1 and 2, the drafts since 17, mvfst,
//! and Google's own from Q024 to T051. Decrypts clients' Initials only, with the keys that anyone can derive (RFC 9001
//! §5.2). It does not parse the hello, and follows no connection beyond it.
//!
//! [`looks_like_quic`] is the cheap test for any UDP payload; a [`Connection`] is for flows that passed it.

mod connection;
mod frames;
mod google;
mod header;
mod keys;
mod versions;

#[cfg(test)]
pub(crate) mod build;
#[cfg(test)]
mod tests;

pub use connection::{CONNECTIONS_MAX, Connection};
pub use google::Chlo;
pub use header::{connection_ids, looks_like_quic};
pub use keys::Scratch;

/// Whether a server's datagram has the client begin anew: Version Negotiation or Retry (RFC 9000 §17.2.1, §17.2.5).
pub fn asks_for_another_initial(payload: &[u8]) -> bool {
    matches!(header::split(payload), Some((header::Packet::VersionNegotiation | header::Packet::Retry, _)))
}

/// What a connection may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuicLimits {
    /// Bytes of the handshake stream that are kept, from its start.
    pub crypto_bytes_max: usize,
    /// Versions kept of a connection's handshake stream.
    pub stream_versions_max: usize,
    /// Failed decryptions in a row after which a flow is given up.
    pub attempts_max: u16,
}

impl Default for QuicLimits {
    fn default() -> Self {
        Self { crypto_bytes_max: 32 * 1024, stream_versions_max: 8, attempts_max: 16 }
    }
}

/// Counts by kind. One per worker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QuicCounters {
    /// Initial packets seen, opened or not.
    pub initials: u64,
    /// Initials opened.
    pub opened: u64,
    /// Failed decryptions: wrong keys, wrong tag, junk.
    pub open_failures: u64,
    /// Key sets derived.
    pub keys_derived: u64,
    /// Initials skipped because they go to a known client.
    pub from_server: u64,
    /// Initials of a version that is not known, greased ones included.
    pub unknown_versions: u64,
    /// Packets that reach beyond their datagram or are too short to decrypt.
    pub cut: u64,
    /// Version Negotiation packets.
    pub version_negotiations: u64,
    /// Retry packets.
    pub retries: u64,
    /// Initials whose frames were read only up to an invalid one.
    pub odd_frames: u64,
    /// Unencrypted packets of Google's that carry handshake bytes.
    pub clear: u64,
    /// Pieces beyond `crypto_bytes_max`.
    pub crypto_too_far: u64,
    /// Pieces dropped because the stream had too many gaps already.
    pub crypto_too_many_gaps: u64,
    /// Packets left out because they contradict all versions that are kept of their handshake stream.
    pub stream_versions_exceeded: u64,
    /// Connections on one flow evicted for newer ones.
    pub connections_evicted: u64,
    /// Flows given up after `attempts_max` failed decryptions.
    pub given_up: u64,
}

/// What a datagram brought.
#[derive(Clone, Copy, Debug)]
pub enum Progress<'a> {
    /// Neither this datagram nor an earlier one held a known packet.
    NotQuic,
    /// No new byte of a hello.
    Nothing,
    /// More of a ClientHello is known than before.
    Hello(Hello<'a>),
    /// More of a hello of Google's QUIC is known than before.
    Chlo(Chlo<'a>),
    /// Too many failed decryptions: the flow is given up.
    GivenUp,
}

/// A ClientHello of TLS as far as its bytes are known from the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hello<'a> {
    /// The version in the header of the packet that was opened last.
    pub version: u32,
    /// The body of the handshake message, without its type and length.
    pub message: &'a [u8],
    /// How long the body says that it is.
    pub announced: usize,
    /// Whether `message` is all of it.
    pub complete: bool,
}
