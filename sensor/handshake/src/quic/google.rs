//! Google's QUIC before the IETF's: frames, the hash over unencrypted packets, and the CHLO message with its tags. Versions
//! Q024 to Q050; only what a client sends to open a connection.

use super::header::Clear;
use vigie_wire::Cursor;

/// Bytes of the hash in front of the frames of an unencrypted packet.
pub(super) const HASH_BYTES: usize = 12;

/// The tag that a client's first message starts with.
pub(super) const CHLO: &[u8; 4] = b"CHLO";

/// The first version whose frames are big-endian.
const BIG_ENDIAN_SINCE: u8 = 39;

/// The last version with a byte of private flags in front of the frames, and entropy in its STOP_WAITING frames.
const PRIVATE_FLAGS_UNTIL: u8 = 33;

/// Versions that may write STREAM frames as `11FSSOOD` and ACK frames as `101NLLMM`, as the first drafts of the IETF do
/// (draft-ietf-quic-transport-01 §8.1, §8.13). Q041 does; the others are told by what the bytes make sense as.
const IETF_STREAM_FRAMES: std::ops::RangeInclusive<u8> = 40..=42;

/// The last version before CRYPTO frames replaced stream 1.
const STREAM_1_UNTIL: u8 = 46;

/// A client hello of Google's QUIC, as far as its bytes are known.
#[derive(Clone, Copy, Debug)]
pub struct Chlo<'a> {
    version: u32,
    message: &'a [u8],
    complete: bool,
}

impl<'a> Chlo<'a> {
    /// A view of `bytes`, if they start as a CHLO does.
    pub(super) fn view(version: u32, bytes: &'a [u8]) -> Option<Self> {
        if !bytes.starts_with(CHLO) {
            return None;
        }
        let mut chlo = Self { version, message: bytes, complete: false };
        if let Some(total) = chlo.announced() {
            chlo.complete = total <= bytes.len();
            chlo.message = bytes.get(..total).unwrap_or(bytes);
        }
        Some(chlo)
    }

    /// The version as the packet wrote it: `Q043` as four letters.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// Whether the message is known to its end.
    pub fn complete(&self) -> bool {
        self.complete
    }

    /// The server name, if it has arrived.
    pub fn sni(&self) -> Option<&'a [u8]> {
        self.tag(*b"SNI\0")
    }

    /// The client's user agent.
    pub fn user_agent(&self) -> Option<&'a [u8]> {
        self.tag(*b"UAID")
    }

    /// The version that the client first tried.
    pub fn first_version(&self) -> Option<&'a [u8]> {
        self.tag(*b"VER\0")
    }

    /// The kind of proof that the client demands of the server (`X509`).
    pub fn proof_demand(&self) -> Option<&'a [u8]> {
        self.tag(*b"PDMD")
    }

    /// The value of a tag, if it has arrived.
    pub fn tag(&self, wanted: [u8; 4]) -> Option<&'a [u8]> {
        let (entries, values) = self.entries()?;
        let mut start = 0;
        for entry in entries {
            let (tag, end) = entry_of(entry)?;
            if tag == wanted {
                return values.get(start..end);
            }
            start = end;
        }
        None
    }

    /// The table of tags as far as it is known, and the values behind it: the end of each value counts from there.
    fn entries(&self) -> Option<(&'a [[u8; 8]], &'a [u8])> {
        let (count, rest) = self.count()?;
        let (table, values) = rest.split_at(rest.len().min(count * 8));
        Some((table.as_chunks().0, values))
    }

    fn count(&self) -> Option<(usize, &'a [u8])> {
        let mut cursor = Cursor::new(self.message);
        cursor.skip(CHLO.len())?;
        let count = usize::from(u16::from_le_bytes(cursor.array()?));
        cursor.skip(2)?;
        Some((count, cursor.rest()))
    }

    /// How long the message is, once its table is known.
    fn announced(&self) -> Option<usize> {
        let (count, rest) = self.count()?;
        let table = rest.get(..count * 8)?.as_chunks().0;
        let end = table.last().and_then(entry_of).map_or(0, |(_, end)| end);
        end.checked_add(8 + count * 8)
    }
}

fn entry_of(entry: &[u8; 8]) -> Option<([u8; 4], usize)> {
    let mut cursor = Cursor::new(entry);
    Some((cursor.array()?, usize::try_from(u32::from_le_bytes(cursor.array()?)).ok()?))
}

/// The frames of an unencrypted packet: none if nothing stands behind its hash.
pub(super) fn clear_frames<'a>(packet: &Clear<'a>) -> Option<&'a [u8]> {
    let mut cursor = Cursor::new(packet.bytes.get(packet.hash_at..)?);
    cursor.skip(HASH_BYTES)?;
    if packet.number <= PRIVATE_FLAGS_UNTIL {
        // The second bit announces a forward error correction group.
        let flags = cursor.u8()?;
        cursor.skip(usize::from(flags >> 1 & 1))?;
    }
    Some(cursor.rest())
}

/// Whether the hash of an unencrypted packet is right: FNV-1a of 128 bits over header and frames, and in later versions a
/// word for the side, of which 96 bits are sent. Tells a piece of the handshake from a packet that is encrypted.
pub(super) fn hash_is_right(packet: &Clear<'_>) -> bool {
    let Some((header, rest)) = packet.bytes.split_at_checked(packet.hash_at) else {
        return false;
    };
    let Some((sent, frames)) = rest.split_first_chunk::<HASH_BYTES>() else {
        return false;
    };
    let plain = fnv(fnv(FNV_BASIS, header), frames);
    let is_sent = |hash: u128| hash.to_le_bytes().starts_with(sent);
    is_sent(plain) || is_sent(fnv(plain, b"Client"))
}

const FNV_BASIS: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
const FNV_PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;

fn fnv(basis: u128, bytes: &[u8]) -> u128 {
    bytes.iter().fold(basis, |hash, &byte| (hash ^ u128::from(byte)).wrapping_mul(FNV_PRIME))
}

/// Reads one frame of Google's format; calls `found` for handshake data.
pub(super) fn frame<'a>(
    cursor: &mut Cursor<'a>,
    version: u8,
    packet_number_bytes: usize,
    found: &mut impl FnMut(u64, &'a [u8]),
) -> Option<()> {
    match cursor.u8()? {
        kind @ 0x80.. if IETF_STREAM_FRAMES.contains(&version) => ietf_frame(cursor, kind, version, found),
        kind @ 0x80.. => stream(cursor, kind, version, found),
        kind @ 0x40..0x80 if version > PRIVATE_FLAGS_UNTIL => acknowledgement(cursor, kind),
        // CRYPTO, in Google's numbering and in the IETF's.
        0x06 | 0x08 if version > STREAM_1_UNTIL => {
            let offset = cursor.varint()?;
            let length = usize::try_from(cursor.varint()?).ok()?;
            found(offset, cursor.take(length)?);
            Some(())
        }
        // WINDOW_UPDATE, BLOCKED.
        0x04 => cursor.skip(12),
        0x05 => cursor.skip(4),
        // STOP_WAITING.
        0x06 => cursor.skip(packet_number_bytes + usize::from(version <= PRIVATE_FLAGS_UNTIL)),
        // PING.
        0x07 => Some(()),
        _ => None,
    }
}

/// The rest of a STREAM frame, `1fdoooss`: its data belong to the handshake if it is stream 1.
fn stream<'a>(cursor: &mut Cursor<'a>, kind: u8, version: u8, found: &mut impl FnMut(u64, &'a [u8])) -> Option<()> {
    let number = |cursor: &mut Cursor<'a>, bytes: usize| -> Option<u64> {
        let mut number = 0_u64;
        for (place, &byte) in cursor.take(bytes)?.iter().enumerate() {
            number = match version {
                BIG_ENDIAN_SINCE.. => number << 8 | u64::from(byte),
                _ => number | u64::from(byte) << (8 * place),
            };
        }
        Some(number)
    };
    let id = number(cursor, usize::from(kind & 3) + 1)?;
    let offset_bits = usize::from(kind >> 2 & 7);
    let offset = number(cursor, if offset_bits == 0 { 0 } else { offset_bits + 1 })?;
    let length = match kind & 0x20 {
        0 => cursor.remaining(),
        _ => usize::try_from(number(cursor, 2)?).ok()?,
    };
    // A packet that the capture has cut still shows the start of its data.
    let data = cursor.take(length.min(cursor.remaining()))?;
    if id == 1 && version <= STREAM_1_UNTIL {
        found(offset, data);
    }
    Some(())
}

/// The rest of a frame of [`IETF_STREAM_FRAMES`]. In Google's own format, `11…` would be a STREAM frame that ends its stream,
/// which a client's stream 1 never does, and `101…` one with a length, which is believed if it is of stream 1.
fn ietf_frame<'a>(cursor: &mut Cursor<'a>, kind: u8, version: u8, found: &mut impl FnMut(u64, &'a [u8])) -> Option<()> {
    let start = *cursor;
    match kind {
        0xc0.. => {
            // Drafts differ in whether the length stands in front of the identifier.
            let orders = [false, true].map(|length_first| ietf_stream(start, kind, length_first));
            let frame = orders.into_iter().flatten().find(|frame| frame.id == 1)?;
            *cursor = frame.rest;
            found(frame.offset, frame.data);
            Some(())
        }
        0xa0..0xc0 => {
            let mut is_stream_1 = false;
            let read = stream(cursor, kind, version, &mut |offset, data| {
                is_stream_1 = true;
                found(offset, data);
            });
            if is_stream_1 {
                return read;
            }
            *cursor = start;
            ietf_acknowledgement(cursor, kind)
        }
        _ => stream(cursor, kind, version, found),
    }
}

/// A STREAM frame in the format of the IETF's first drafts.
struct IetfStream<'a> {
    id: u64,
    offset: u64,
    data: &'a [u8],
    rest: Cursor<'a>,
}

/// Reads the rest of a STREAM frame `11FSSOOD`.
fn ietf_stream(mut cursor: Cursor<'_>, kind: u8, length_first: bool) -> Option<IetfStream<'_>> {
    let number = |cursor: &mut Cursor<'_>, bytes: usize| -> Option<u64> {
        Some(cursor.take(bytes)?.iter().fold(0, |number, &byte| number << 8 | u64::from(byte)))
    };
    let has_length = kind & 1 != 0;
    let mut length = None;
    if has_length && length_first {
        length = Some(usize::from(cursor.u16()?));
    }
    let id = number(&mut cursor, usize::from(kind >> 3 & 3) + 1)?;
    let offset_bytes = [0, 2, 4, 8].get(usize::from(kind >> 1 & 3)).copied().unwrap_or(0);
    let offset = number(&mut cursor, offset_bytes)?;
    if has_length && !length_first {
        length = Some(usize::from(cursor.u16()?));
    }
    // A packet that the capture has cut still shows the start of its data.
    let data = cursor.take(length.unwrap_or(usize::MAX).min(cursor.remaining()))?;
    Some(IetfStream { id, offset, data, rest: cursor })
}

/// The rest of an ACK frame `101NLLMM` (draft-ietf-quic-transport-01 §8.13).
fn ietf_acknowledgement(cursor: &mut Cursor<'_>, kind: u8) -> Option<()> {
    let bytes_of = |bits: u8| [1, 2, 4, 6].get(usize::from(bits & 3)).copied().unwrap_or(1);
    let block_bytes = bytes_of(kind);
    let blocks = if kind & 0x10 != 0 { usize::from(cursor.u8()?) } else { 0 };
    let timestamps = usize::from(cursor.u8()?);
    cursor.skip(bytes_of(kind >> 2) + 2)?;
    cursor.skip(block_bytes + blocks * (1 + block_bytes))?;
    match timestamps {
        0 => Some(()),
        timestamps => cursor.skip(5 + (timestamps - 1) * 3),
    }
}

/// The rest of an ACK frame, `01ntllmm`, since Q034.
fn acknowledgement(cursor: &mut Cursor<'_>, kind: u8) -> Option<()> {
    let bytes_of = |bits: u8| [1, 2, 4, 6].get(usize::from(bits & 3)).copied().unwrap_or(1);
    let block_bytes = bytes_of(kind);
    cursor.skip(bytes_of(kind >> 2) + 2)?;
    let blocks = if kind & 0x20 != 0 { usize::from(cursor.u8()?) } else { 0 };
    cursor.skip(block_bytes + blocks * (1 + block_bytes))?;
    match usize::from(cursor.u8()?) {
        0 => Some(()),
        timestamps => cursor.skip(5 + (timestamps - 1) * 3),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::quic::frames::{Framing, walk};

    /// A CHLO with these tags.
    pub(in super::super) fn chlo(tags: &[(&[u8; 4], &[u8])]) -> Vec<u8> {
        let mut message = [&CHLO[..], &(tags.len() as u16).to_le_bytes(), &[0, 0]].concat();
        let mut end = 0;
        for (tag, value) in tags {
            end += value.len() as u32;
            message.extend_from_slice(*tag);
            message.extend_from_slice(&end.to_le_bytes());
        }
        tags.iter().for_each(|(_, value)| message.extend_from_slice(value));
        message
    }

    /// A client's unencrypted packet, its hash right.
    pub(in super::super) fn packet(header: &[u8], frames: &[u8], word: &[u8]) -> Vec<u8> {
        let hash = fnv(fnv(fnv(FNV_BASIS, header), frames), word).to_le_bytes();
        [header, &hash[..HASH_BYTES], frames].concat()
    }

    #[test]
    fn tags_are_read_as_soon_as_their_bytes_have_come() {
        let message = chlo(&[(b"PAD\0", &[b'-'; 50]), (b"SNI\0", b"example.com"), (b"UAID", b"Chrome")]);
        let whole = Chlo::view(0, &message).unwrap();
        assert!(whole.complete());
        assert_eq!(whole.sni(), Some(&b"example.com"[..]));
        assert_eq!(whole.user_agent(), Some(&b"Chrome"[..]));
        assert_eq!(whole.proof_demand(), None);
        for end in CHLO.len()..message.len() {
            let part = Chlo::view(0, &message[..end]).unwrap();
            assert!(!part.complete());
            assert_eq!(part.sni().is_some(), end >= message.len() - b"Chrome".len(), "{end}");
        }
    }

    #[test]
    fn a_table_that_lies_yields_nothing() {
        let mut backwards = chlo(&[(b"PAD\0", b"abcdef"), (b"SNI\0", b"")]);
        backwards[8 + 8 + 4] = 2;
        assert_eq!(Chlo::view(0, &backwards).unwrap().sni(), None);
        let mut far = chlo(&[(b"SNI\0", b"abc")]);
        far[8 + 4..8 + 8].fill(0xff);
        assert_eq!(Chlo::view(0, &far).unwrap().sni(), None);
        assert!(!Chlo::view(0, &far).unwrap().complete());
    }

    #[test]
    fn stream_1_of_q041_in_the_format_of_the_first_drafts() {
        let hello = chlo(&[(b"SNI\0", b"example.com")]);
        let length = (hello.len() as u16).to_be_bytes();
        // STREAM without offset or length; with both, in either order; Google's own format; behind an ACK and a PING.
        let cases: [Vec<u8>; 5] = [
            [&[0b1100_0000, 1][..], &hello].concat(),
            [&[0b1100_1011, 0, 1, 0, 0, length[0], length[1]][..], &hello, &[0; 9]].concat(),
            [&[0b1100_1011, length[0], length[1], 0, 1, 0, 0][..], &hello, &[0; 9]].concat(),
            [&[0b1010_0000, 1, length[0], length[1]][..], &hello, &[0; 9]].concat(),
            [&[0b1010_0000, 0, 9, 1, 1, 9, 0x07, 0b1100_0001, 1, length[0], length[1]][..], &hello].concat(),
        ];
        for (number, frames) in cases.iter().enumerate() {
            for version in [40, 41, 42] {
                let mut pieces = Vec::new();
                walk(Framing::Google { version }, frames, 1, |offset, data| pieces.push((offset, data))).unwrap();
                assert_eq!(pieces, [(0, &hello[..])], "case {number}, version {version}");
            }
        }
    }

    #[test]
    fn stream_1_is_found_behind_the_frames_that_may_precede_it() {
        for (version, length) in [(38, [2, 0]), (43, [0, 2])] {
            let frames = [
                &[0x07, 0x04][..],
                &[1; 12],
                &[0x06, 9, 9],
                &[0x60 | 0b01, 1, 0, 0, 1, 3, 3, 4, 4, 4, 2, 1, 2, 3, 4, 5, 6, 7, 8],
                &[0xa0, 0x03, length[0], length[1], b'n', b'o'],
                &[0xa4, 0x01, length[0], length[1], length[0], length[1], b'c', b'd'],
                &[0x80, 0x01, b'a', b'b'],
            ]
            .concat();
            let mut pieces = Vec::new();
            walk(Framing::Google { version }, &frames, 2, |offset, data| pieces.push((offset, data))).unwrap();
            assert_eq!(pieces, [(2, &b"cd"[..]), (0, &b"ab"[..])], "version {version}");
        }
    }
}
