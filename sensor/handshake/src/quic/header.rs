//! The long headers of QUIC and Google's public header: where a packet starts, where it ends, and its type. Decrypts
//! nothing.

use arrayvec::ArrayVec;

use super::versions::{self, Dialect, Kind, Schedule};
use vigie_wire::Cursor;

/// The longest connection id of the versions that we open (RFC 9000 §17.2).
pub(super) const CONNECTION_ID_BYTES_MAX: usize = 20;

/// The shortest destination connection id that a client may choose for its first Initial (RFC 9000 §7.2).
const FIRST_CONNECTION_ID_BYTES_MIN: usize = 8;

/// The least size of a datagram with a client's Initial (RFC 9000 §14.1); required only of unknown versions.
const INITIAL_DATAGRAM_BYTES_MIN: usize = 1200;

/// Bytes after the start of the packet number that a protected packet has at least: the sample's end (RFC 9001 §5.4.2).
const SAMPLE_END: usize = 20;

/// An owned connection id.
pub(super) type ConnectionId = ArrayVec<u8, CONNECTION_ID_BYTES_MAX>;

/// A copy of a connection id whose length the header parser checked.
pub(super) fn keep(id: &[u8]) -> ConnectionId {
    id.iter().copied().take(CONNECTION_ID_BYTES_MAX).collect()
}

/// A protected packet whose keys come from a connection id.
#[derive(Clone, Copy, Debug)]
pub(super) struct Initial<'a> {
    pub(super) version: u32,
    pub(super) dialect: Dialect,
    pub(super) schedules: &'static [Schedule],
    pub(super) destination: &'a [u8],
    pub(super) source: &'a [u8],
    /// The packet from its first byte to the end of its tag.
    pub(super) bytes: &'a [u8],
    /// Where in `bytes` the packet number starts.
    pub(super) number_at: usize,
}

/// A handshake packet of Google's before it was encrypted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clear<'a> {
    pub(super) version: u32,
    /// The number in the version's name: 43 of Q043.
    pub(super) number: u8,
    pub(super) destination: &'a [u8],
    /// The packet, header included.
    pub(super) bytes: &'a [u8],
    /// Where in `bytes` the hash starts.
    pub(super) hash_at: usize,
    pub(super) packet_number_bytes: usize,
}

/// One packet of a datagram.
#[derive(Clone, Copy, Debug)]
pub(super) enum Packet<'a> {
    Initial(Initial<'a>),
    Clear(Clear<'a>),
    /// 0-RTT or Handshake.
    Opaque,
    Retry,
    VersionNegotiation,
    /// The header is sound, but the packet reaches beyond the datagram or is too short to decrypt.
    Cut,
}

/// The fields that all long headers share (RFC 8999 §5.1), and the cursor behind them.
struct Long<'a> {
    first: u8,
    version: u32,
    dialect: Dialect,
    destination: &'a [u8],
    source: &'a [u8],
    cursor: Cursor<'a>,
}

impl<'a> Long<'a> {
    #[inline]
    fn read(bytes: &'a [u8]) -> Option<Self> {
        let mut cursor = Cursor::new(bytes);
        let first = cursor.u8()?;
        if first & 0x80 == 0 {
            return None;
        }
        let version = cursor.u32()?;
        let dialect = versions::dialect(version);
        let (destination, source);
        if dialect.nibble_lengths {
            let lengths = cursor.u8()?;
            destination = cursor.take(nibble_length(lengths >> 4))?;
            source = cursor.take(nibble_length(lengths & 0x0f))?;
        } else {
            destination = cursor.vector8()?;
            source = cursor.vector8()?;
        }
        if destination.len() > CONNECTION_ID_BYTES_MAX || source.len() > CONNECTION_ID_BYTES_MAX {
            return None;
        }
        Some(Self { first, version, dialect, destination, source, cursor })
    }
}

/// A connection id length of the drafts before 22: zero, or three more than is written.
const fn nibble_length(nibble: u8) -> usize {
    if nibble == 0 { 0 } else { nibble as usize + 3 }
}

/// The packet at the start of `bytes`, and what follows it; none if nothing there is a packet that we know.
#[inline]
pub(super) fn split(bytes: &[u8]) -> Option<(Packet<'_>, &[u8])> {
    if bytes.first()? & 0x80 == 0 {
        return public_header(bytes).map(|clear| (Packet::Clear(clear), Default::default()));
    }
    let long = Long::read(bytes)?;
    if long.version == 0 {
        return lists_versions(long.cursor.rest()).then_some((Packet::VersionNegotiation, &[]));
    }
    match long.dialect.kind(long.first) {
        Kind::Initial(schedules) => initial(bytes, long, schedules),
        Kind::Opaque => {
            let mut cursor = long.cursor;
            let length = cursor.varint()?;
            let Some(_) = usize::try_from(length).ok().and_then(|length| cursor.take(length)) else {
                return Some((Packet::Cut, &[]));
            };
            Some((Packet::Opaque, cursor.rest()))
        }
        Kind::Retry => Some((Packet::Retry, &[])),
        Kind::Clear => long_clear(bytes, long).map(|clear| (Packet::Clear(clear), Default::default())),
    }
}

fn initial<'a>(bytes: &'a [u8], long: Long<'a>, schedules: &'static [Schedule]) -> Option<(Packet<'a>, &'a [u8])> {
    let mut cursor = long.cursor;
    let token_length = cursor.varint()?;
    cursor.skip(usize::try_from(token_length).ok()?)?;
    let length = usize::try_from(cursor.varint()?).ok()?;
    let number_at = bytes.len() - cursor.remaining();
    let Some((packet, rest)) = number_at.checked_add(length).and_then(|end| bytes.split_at_checked(end)) else {
        return Some((Packet::Cut, &[]));
    };
    if length < SAMPLE_END {
        return Some((Packet::Cut, rest));
    }
    let initial = Initial {
        version: long.version,
        dialect: long.dialect,
        schedules,
        destination: long.destination,
        source: long.source,
        bytes: packet,
        number_at,
    };
    Some((Packet::Initial(initial), rest))
}

/// Q044 and Q046: a packet number of four bytes (Q046 says how many), then the hash.
fn long_clear<'a>(bytes: &'a [u8], long: Long<'a>) -> Option<Clear<'a>> {
    let packet_number_bytes = if long.first == 0xff { 4 } else { usize::from(long.first & 3) + 1 };
    let hash_at = bytes.len() - long.cursor.remaining() + packet_number_bytes;
    Some(Clear {
        version: long.version,
        number: version_number(long.version)?,
        destination: long.destination,
        bytes,
        hash_at,
        packet_number_bytes,
    })
}

/// Google's public header, with the version that only clients send, and a connection id of eight bytes.
#[inline]
fn public_header(bytes: &[u8]) -> Option<Clear<'_>> {
    let mut cursor = Cursor::new(bytes);
    let flags = cursor.u8()?;
    // A version, no reset, eight bytes of connection id.
    if flags & 0x8b != 0x09 {
        return None;
    }
    let destination = cursor.take(8)?;
    let version = cursor.u32()?;
    let number = version_number(version)?;
    let packet_number_bytes = match flags >> 4 & 3 {
        0 => 1,
        1 => 2,
        2 => 4,
        _ => 6,
    };
    let hash_at = bytes.len() - cursor.remaining() + packet_number_bytes;
    Some(Clear { version, number, destination, bytes, hash_at, packet_number_bytes })
}

/// The number in a version of the form `Q0..`.
fn version_number(version: u32) -> Option<u8> {
    match version.to_be_bytes() {
        [b'Q', b'0', tens @ b'0'..=b'9', ones @ b'0'..=b'9'] => Some((tens - b'0') * 10 + (ones - b'0')),
        _ => None,
    }
}

/// Whether `list` is that of a Version Negotiation packet: whole, and with a version that we know (RFC 9000 §17.2.1).
fn lists_versions(list: &[u8]) -> bool {
    let (versions, rest) = list.as_chunks::<4>();
    rest.is_empty() && versions.iter().take(32).any(|version| versions::dialect(u32::from_be_bytes(*version)).known)
}

/// Destination and source connection ids of a long header.
#[inline]
pub fn connection_ids(payload: &[u8]) -> Option<(&[u8], &[u8])> {
    let long = Long::read(payload)?;
    Some((long.destination, long.source))
}

/// A cheap first test for any UDP payload on any port: whether a [`super::Connection`] should see it.
///
/// It requires a known version, a greased one, or all signs of a client's Initial, and lengths that fit. Everything that
/// could be decrypted passes.
#[inline]
pub fn looks_like_quic(payload: &[u8]) -> bool {
    let Some(&first) = payload.first() else {
        return false;
    };
    if first & 0x80 == 0 {
        return first & 0x09 == 0x09 && public_header(payload).is_some();
    }
    let Some(long) = Long::read(payload) else {
        return false;
    };
    if long.version == 0 {
        return lists_versions(long.cursor.rest());
    }
    if long.dialect.known {
        return true;
    }
    let greased = versions::is_greased(long.version);
    if !greased
        && (payload.len() < INITIAL_DATAGRAM_BYTES_MIN || long.destination.len() < FIRST_CONNECTION_ID_BYTES_MIN)
    {
        return false;
    }
    matches!(split(payload), Some((Packet::Initial(_), _)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn junk_is_turned_away_by_its_first_bytes() {
        let dns = b"\x8a\x01\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x07example\x03com\x00\x00\x01\x00\x01";
        let stun = b"\x00\x01\x00\x00\x21\x12\xa4\x42aaaabbbbcccc";
        let rtp = [&b"\x80\x60\x12\x34\x00\x00\x10\x00\xde\xad\xbe\xef"[..], &[0x55; 1300]].concat();
        let dtls = b"\x16\xfe\xfd\x00\x00\x00\x00\x00\x00\x00\x00\x00\x40";
        let short_header = [&[0x45][..], &[7; 1199]].concat();
        for junk in [&dns[..], &stun[..], &rtp, &dtls[..], &short_header, b"", b"\xc0", b"\xc0\0\0\0\x01\x15"] {
            assert!(!looks_like_quic(junk), "{junk:02x?}");
        }
    }

    #[test]
    fn version_negotiation_is_known_by_its_list() {
        let packet = b"\x9a\0\0\0\0\x01a\x02bc\x1a\x2a\x3a\x4a\0\0\0\x01";
        assert!(looks_like_quic(packet));
        assert!(matches!(split(packet), Some((Packet::VersionNegotiation, []))));
        assert!(!looks_like_quic(&packet[..packet.len() - 1]));
        assert!(!looks_like_quic(&packet[..packet.len() - 4]));
    }

    #[test]
    fn drafts_before_22_write_both_lengths_in_a_byte() {
        let mut packet = b"\xc0\xff\0\0\x12\x50abcdefgh\0\x14".to_vec();
        packet.extend([9; 20]);
        let Some((Packet::Initial(initial), [])) = split(&packet) else { panic!("no Initial") };
        assert_eq!((initial.destination, initial.source), (&b"abcdefgh"[..], &b""[..]));
        assert_eq!(initial.number_at, 16);
    }

    #[test]
    fn a_packet_that_reaches_beyond_the_datagram_is_cut() {
        let mut packet = b"\xc0\0\0\0\x01\x08abcdefgh\0\0\x40\x40".to_vec();
        packet.extend([9; 63]);
        assert!(matches!(split(&packet), Some((Packet::Cut, []))));
        packet.push(9);
        assert!(matches!(split(&packet), Some((Packet::Initial(_), []))));
    }

    proptest! {
        #[test]
        fn splitting_arbitrary_bytes_always_ends(bytes in proptest::collection::vec(any::<u8>(), 0..200), version in 0_u32..2) {
            let mut bytes = bytes;
            if let Some(field) = bytes.get_mut(1..5) {
                field.copy_from_slice(&version.to_be_bytes());
            }
            looks_like_quic(&bytes);
            let mut rest = &bytes[..];
            while let Some((_, after)) = split(rest) {
                prop_assert!(after.len() < rest.len());
                rest = after;
            }
        }
    }
}
